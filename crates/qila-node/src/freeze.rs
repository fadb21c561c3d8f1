//! Making a sandbox stand still, and letting it go on.
use crate::fault::internal;
use crate::guest;
use crate::live::Live;
use qila_api::{ApiError, Kind, Result};
use qila_plan::{CgroupPlan, Freezer};
use qila_wire::served::Ask;
use std::time::{Duration, Instant};

/// How long the kernel may take until everything stands still.
const PATIENCE: Duration = Duration::from_secs(5);

fn write(freezer: &Freezer, what: &str) -> std::io::Result<()> {
    std::fs::write(&freezer.file, what)
}

/// Whether the kernel says that everything stands still.
fn still(freezer: &Freezer) -> std::io::Result<bool> {
    if freezer.file.ends_with("cgroup.freeze") {
        let events = freezer.file.trim_end_matches("cgroup.freeze").to_owned() + "cgroup.events";
        return Ok(std::fs::read_to_string(events)?.lines().any(|l| l == "frozen 1"));
    }
    Ok(std::fs::read_to_string(&freezer.file)?.trim() == freezer.freeze)
}

/// Makes every process of a sandbox stand still; on return they do.
pub(crate) async fn freeze(live: &Live) -> Result<()> {
    let plan = live.look(|r| r.cgroup.clone());
    let Some(freezer) = &plan.freezer else {
        // The guest goes on: it is what can be asked to let them go on.
        return signal(live, true).await;
    };
    let fail = |e: std::io::Error| internal("making a sandbox stand still", &e);
    write(freezer, &freezer.freeze).map_err(fail)?;
    let begun = Instant::now();
    while !still(freezer).map_err(fail)? {
        if begun.elapsed() > PATIENCE {
            thaw(&plan);
            return Err(ApiError::new(Kind::Timeout, "the sandbox does not stand still"));
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    // Memory of what stands still is of use to others, where the kernel can be asked for it.
    if let Some(dir) = plan
        .used
        .as_deref()
        .and_then(|f| f.strip_suffix("/memory.current"))
    {
        let used = std::fs::read_to_string(format!("{dir}/memory.current")).unwrap_or_default();
        let _ = std::fs::write(format!("{dir}/memory.reclaim"), used.trim()); // as much as there is to be had
    }
    Ok(())
}

/// Lets everything go on, where a freezer holds it.
pub(crate) fn thaw(plan: &CgroupPlan) {
    if let Some(freezer) = &plan.freezer
        && let Err(e) = write(freezer, &freezer.thaw)
        && e.kind() != std::io::ErrorKind::NotFound
    {
        eprintln!("qila: letting a sandbox go on: {e}");
    }
}

/// Lets every process of a sandbox go on.
pub(crate) async fn go_on(live: &Live) -> Result<()> {
    let plan = live.look(|r| r.cgroup.clone());
    match &plan.freezer {
        Some(freezer) => write(freezer, &freezer.thaw).map_err(|e| internal("letting a sandbox go on", &e)),
        None => signal(live, false).await,
    }
}

async fn signal(live: &Live, still: bool) -> Result<()> {
    let asked = guest::request(&live.dir, &Ask::Still(still)).await;
    asked.map(drop).map_err(crate::fault::guest)
}
