//! Memory of idle intercepted connections: what Qila's processes grow by while so many are held.
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use super::ways::{Load, Way, Ways};
use crate::memory;
use crate::report::{Missing, Row, Target};

/// Time for buffers of the last request to be given back.
const SETTLE: Duration = Duration::from_millis(300);

/// Measures the row: with all of them, less what the same run takes with one.
pub fn row(ways: &Ways, load: &Load) -> Row {
    let title = format!("memory per idle intercepted connection, of {}", load.connections);
    let target = Target::AtMost(48.0);
    let one = Load {
        connections: 1,
        ..*load
    };
    let both = resident(ways, &one).and_then(|one| Ok((one, resident(ways, load)?)));
    match both {
        Ok((one, all)) => {
            let each = all.saturating_sub(one) as f64 / load.connections.saturating_sub(1).max(1) as f64;
            Row::measured(
                title,
                target,
                "KiB",
                each,
                json!({"with_one_kib": one, "with_all_kib": all, "of": "VmRSS of all of Qila's processes"}),
            )
        }
        Err(missing) => Row::without(title, target, "KiB", missing),
    }
}

fn resident(ways: &Ways, load: &Load) -> Result<u64, Missing> {
    let program = ways.program(Way::Qila, load)?;
    let mut command = program.command();
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let out = child.stdout.take().ok_or("no output")?;
    let mut lines = BufReader::new(out).lines().map_while(Result::ok);
    let held = lines.any(|line| line == "held");
    std::thread::sleep(SETTLE);
    let seen = memory::resident(child.id(), "qila-bench");
    let confirmed = lines.any(|line| line.contains("\"held\""));
    let status = child.wait().map_err(|error| error.to_string())?;
    match held && confirmed && status.success() && seen > 0 {
        true => Ok(seen),
        false => Err(format!("the connections were not all held: {status}").into()),
    }
}
