//! Rows on starting: Qila and its peers run `true`, in turn.
use serde_json::json;

use crate::docker::Docker;
use crate::peers;
use crate::qila::Qila;
use crate::relay;
use crate::report::{Missing, Row, Target};
use crate::scratch::Scratch;
use crate::stats::{Ratio, Samples};
use crate::timing::{Program, interleave};

/// What a row is divided by, and what it must reach against each.
type Peers = &'static [(&'static str, Target)];

/// Qila's row names and which peers each is held to.
const ROWS: &[(&str, &str, Peers)] = &[
    (
        "container",
        "offline `true`, container tier",
        &[
            ("bwrap", Target::AtMost(1.0)),
            ("runc", Target::AtMost(0.25)),
            ("docker", Target::AtMost(0.02)),
            ("crun", Target::None),
            ("podman", Target::None),
            ("nono", Target::None),
        ],
    ),
    (
        "process",
        "offline `true`, process tier",
        &[("bwrap", Target::AtMost(0.8)), ("nono", Target::None)],
    ),
    (
        "gateway",
        "`true` with the gateway and one credential, container tier",
        &[("bwrap", Target::AtMost(1.5))],
    ),
];

/// Measures every start row.
pub fn rows(scratch: &Scratch, qila: &Result<Qila, Missing>, runs: usize) -> Result<Vec<Row>, String> {
    let docker = Docker::start(scratch);
    let mut programs = vec![Program::new("true", &scratch.folder, ["true"])];
    let mut absent: Vec<(&str, Missing)> = Vec::new();
    let mut offer = |name: &'static str, found: Result<Program, Missing>| match found {
        Ok(program) => programs.push(program),
        Err(reason) => absent.push((name, reason)),
    };
    for (name, ..) in ROWS {
        offer(
            name,
            qila.as_ref()
                .map_err(Clone::clone)
                .and_then(|qila| own(scratch, qila, name)),
        );
    }
    for (name, found) in [
        ("bwrap", peers::bwrap(scratch)),
        ("runc", peers::oci(scratch, "runc")),
        ("crun", peers::oci(scratch, "crun")),
        ("nono", peers::nono(scratch)),
        ("podman", peers::podman(scratch)),
        (
            "docker",
            docker
                .as_ref()
                .map(|docker| docker.run(scratch))
                .map_err(Clone::clone),
        ),
    ] {
        offer(name, found.map_err(Missing::Absent));
    }

    let measured = interleave(&programs, runs, Program::time);
    let of = |name: &str| -> Result<&Samples, Missing> {
        if let Some((_, missing)) = absent.iter().find(|(known, _)| *known == name) {
            return Err(missing.clone());
        }
        // A peer that does not run here is a peer less; Qila not running is a finding.
        let failed = |why: &String| match ROWS.iter().any(|(own, ..)| *own == name) {
            true => Missing::Broken(why.clone()),
            false => Missing::Absent(why.clone()),
        };
        let place = programs
            .iter()
            .position(|program| program.name == name)
            .ok_or("not measured")?;
        measured
            .get(place)
            .ok_or("not measured")?
            .as_ref()
            .map_err(failed)
    };
    let mut rows = Vec::new();
    for (name, title, against) in ROWS {
        for (peer, target) in *against {
            let row_name = format!("{title} ÷ {peer}");
            rows.push(match (of(name), of(peer)) {
                (Ok(ours), Ok(theirs)) => {
                    let ratio = Ratio::new(ours, theirs);
                    let detail = json!({"qila_ms": ours.summary(), "peer_ms": theirs.summary(), "ratio": ratio.summary()});
                    Row::ratio(row_name, *target, &ratio, detail)
                }
                (Err(missing), _) | (_, Err(missing)) => Row::without(row_name, *target, "×", missing),
            });
        }
    }
    for name in [
        "true",
        "container",
        "process",
        "gateway",
        "bwrap",
        "crun",
        "runc",
        "nono",
        "podman",
        "docker",
    ] {
        let row_name = format!("whole process: {name}");
        rows.push(match of(name) {
            Ok(samples) => Row::measured(row_name, Target::None, "ms", samples.median(), samples.summary())
                .with_tail(samples.percentile(0.95)),
            Err(missing) => Row::without(row_name, Target::None, "ms", missing),
        });
    }
    Ok(rows)
}

fn own(scratch: &Scratch, qila: &Qila, name: &'static str) -> Result<Program, Missing> {
    let workspace = scratch.sub("empty")?;
    Ok(match name {
        "process" => qila.run(
            name,
            &workspace,
            &["--policy", "offline", "--isolation", "process"],
            &["true"],
        ),
        "gateway" => {
            // Nobody connects to it: what is measured is a gateway that stands ready.
            let upstream = relay::source(0).map_err(|error| error.to_string())?;
            let options = qila.with_gateway(scratch, upstream)?;
            qila.run(
                name,
                &workspace,
                &options.each_ref().map(String::as_str),
                &["true"],
            )
        }
        _ => qila.run(
            name,
            &workspace,
            &["--policy", "offline", "--isolation", "container"],
            &["true"],
        ),
    })
}
