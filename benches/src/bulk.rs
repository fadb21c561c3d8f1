//! Bulk TCP from inside a sandbox through the pass-through gateway, against one splice relay on loopback.
use serde_json::json;

use crate::qila::{Qila, policy};
use crate::relay;
use crate::report::{Missing, Row, Target};
use crate::scratch::Scratch;
use crate::stats::Ratio;
use crate::timing::{Program, interleave};

/// Bytes of one pull.
const BYTES: u64 = 256 << 20;

/// Measures the row.
pub fn rows(scratch: &Scratch, qila: &Result<Qila, Missing>, runs: usize) -> Vec<Row> {
    let title = "bulk TCP through the pass-through gateway ÷ one splice relay";
    let target = Target::AtLeast(0.9);
    vec![match measure(scratch, qila, runs, title, target) {
        Ok(row) => row,
        Err(missing) => Row::without(title, target, "×", missing),
    }]
}

fn measure(
    scratch: &Scratch,
    qila: &Result<Qila, Missing>,
    runs: usize,
    title: &str,
    target: Target,
) -> Result<Row, Missing> {
    let workspace = scratch.sub("bulk")?;
    let client = own_copy(&workspace)?;
    let source = relay::source(BYTES).map_err(|error| error.to_string())?;
    let relay = relay::relay(source).map_err(|error| error.to_string())?;
    let bytes = BYTES.to_string();
    let plain = Program::new("relay", &workspace, [&client, "pull", &relay.to_string(), &bytes]);
    let mut programs = vec![plain];
    let ours = qila.as_ref().map_err(Clone::clone).and_then(|qila| {
        qila.has_gateway()?;
        let text =
            "version: 1\nextends: offline\nnetwork:\n  allow:\n    - host: bulk.test\n      ports: [9000]\n";
        let policy = policy(scratch, "bulk", text)?;
        let upstream = format!("--upstream=bulk.test:9000={source}");
        let options = ["--policy", &policy, "--isolation", "container", &upstream];
        Ok(qila.run(
            "gateway",
            &workspace,
            &options,
            &[&client, "pull", "bulk.test:9000", &bytes],
        ))
    });
    let absent: Option<Missing> = ours.map(|program| programs.push(program)).err();
    let mut measured = interleave(&programs, runs, Program::printed).into_iter();
    let theirs = measured.next().ok_or("not measured")??;
    println!("note: splice relay alone: {:.0} MiB/s", theirs.median());
    if let Some(missing) = absent {
        return Err(missing);
    }
    let ours = measured.next().ok_or("not measured")??;
    let ratio = Ratio::new(&ours, &theirs);
    let detail =
        json!({"qila_mib_s": ours.summary(), "relay_mib_s": theirs.summary(), "ratio": ratio.summary()});
    // Of speeds the slow end is the tail.
    let tail = ours.percentile(0.05) / theirs.percentile(0.05);
    Ok(Row::measured(title, target, "×", ratio.of_medians, detail).with_tail(tail))
}

/// Copies this program into a workspace, where the sandbox can see it.
pub fn own_copy(workspace: &std::path::Path) -> Result<String, String> {
    let copy = workspace.join("qila-bench");
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    std::fs::copy(own, &copy).map_err(|error| format!("cannot write {}: {error}", copy.display()))?;
    Ok(copy.display().to_string())
}
