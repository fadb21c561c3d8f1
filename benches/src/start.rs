//! Rows on starting: Qila and its peers run `true`, in turn.
use serde_json::json;

use crate::docker::Docker;
use crate::peers;
use crate::qila::Qila;
use crate::report::{Row, Target};
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
        ],
    ),
    (
        "process",
        "offline `true`, process tier",
        &[("bwrap", Target::AtMost(0.8))],
    ),
    (
        "gateway",
        "`true` with the gateway and one credential, container tier",
        &[("bwrap", Target::AtMost(1.5))],
    ),
];

/// Measures every start row.
pub fn rows(scratch: &Scratch, qila: &Result<Qila, String>, runs: usize) -> Result<Vec<Row>, String> {
    let docker = Docker::start(scratch);
    let mut programs = vec![Program::new("true", &scratch.folder, ["true"])];
    let mut absent: Vec<(&str, String)> = Vec::new();
    let mut offer = |name: &'static str, found: Result<Program, String>| match found {
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
    offer("bwrap", peers::bwrap(scratch));
    offer("runc", peers::oci(scratch, "runc"));
    offer("crun", peers::oci(scratch, "crun"));
    offer(
        "docker",
        docker
            .as_ref()
            .map(|docker| docker.run(scratch))
            .map_err(Clone::clone),
    );

    let measured = interleave(&programs, runs, Program::time);
    let of = |name: &str| -> Result<&Samples, String> {
        if let Some((_, reason)) = absent.iter().find(|(known, _)| *known == name) {
            return Err(reason.clone());
        }
        let place = programs
            .iter()
            .position(|program| program.name == name)
            .ok_or("not measured")?;
        measured
            .get(place)
            .ok_or("not measured")?
            .as_ref()
            .map_err(Clone::clone)
    };
    let mut rows = Vec::new();
    for (name, title, against) in ROWS {
        for (peer, target) in *against {
            let row_name = format!("{title} ÷ {peer}");
            rows.push(match (of(name), of(peer)) {
                (Ok(ours), Ok(theirs)) => {
                    let ratio = Ratio::new(ours, theirs);
                    let detail = json!({"qila_ms": ours.summary(), "peer_ms": theirs.summary(), "ratio": ratio.summary()});
                    Row::measured(row_name, *target, "×", ratio.of_medians, detail)
                }
                (Err(reason), _) | (_, Err(reason)) => Row::skipped(row_name, *target, "×", reason),
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
        "docker",
    ] {
        let row_name = format!("whole process: {name}, median");
        rows.push(match of(name) {
            Ok(samples) => Row::measured(row_name, Target::None, "ms", samples.median(), samples.summary()),
            Err(reason) => Row::skipped(row_name, Target::None, "ms", reason),
        });
    }
    Ok(rows)
}

fn own(scratch: &Scratch, qila: &Qila, name: &'static str) -> Result<Program, String> {
    let workspace = scratch.sub("empty")?;
    Ok(match name {
        "process" => qila.run(
            name,
            &workspace,
            &["--policy", "offline", "--isolation", "process"],
            &["true"],
        ),
        "gateway" => {
            let policy = qila.gateway_policy(scratch)?;
            qila.run(
                name,
                &workspace,
                &["--policy", &policy, "--isolation", "container"],
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
