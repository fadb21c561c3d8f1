//! The end of a run: recorded, taken back, summed up.
use super::Job;
use super::evidence::{Evidence, Tally};
use super::execute::Live;
use super::supervise::Ending;
use crate::fail::Fail;
use crate::home::Home;
use crate::line::counted;
use crate::state::{Left, Meta, RunDir};
use qila_plan::Plan;

/// Exit code of a run that a limit ended.
const LIMIT: u8 = 124;

/// Removes the directory of a run that changed nothing: it leaves nothing. Answers what the others left.
fn clear(home: &Home, dir: &RunDir) -> Result<Left, Fail> {
    let left = dir.left();
    if left == Left::Nothing {
        dir.remove(home)?;
    }
    Ok(left)
}

/// Records the end, takes back what is left, and says how it went.
pub(super) fn finish(
    job: &Job<'_>,
    mut meta: Meta,
    live: Result<Live, Fail>,
    mut evidence: Evidence<'_>,
) -> Result<u8, Fail> {
    let (home, dir, plan) = (job.home, job.dir, job.plan);
    // While the kernel takes the namespaces down.
    let recorded = match &live {
        Ok(live) => evidence.ended(&live.ending),
        Err(fail) => evidence.failed(fail),
    };
    if let Err(unrecorded) = recorded
        && evidence.is_launched()
    {
        // The directory stays as that of a run without an end: whoever sweeps next records what became of it.
        return Err(live.and_then(Live::end).err().unwrap_or(unrecorded));
    }
    let tally = evidence.tally();
    evidence.warn();
    let folded = crate::budgets::fold(home, &dir.id);
    let (left, ended) = match live {
        Ok(live) if live.sandbox.is_alone() => (clear(home, dir)?, live.end()),
        other => {
            let ended = other.and_then(Live::end);
            (clear(home, dir)?, ended)
        }
    };
    let kept = left != Left::Nothing;
    let ending = match ended {
        Ok(ending) => ending,
        Err(fail) => {
            if kept {
                meta.ended = Some("failed".into());
                dir.write_meta(&meta)?;
            }
            return Err(fail);
        }
    };
    folded?;
    if kept {
        meta.ended = Some("ended".into());
        dir.write_meta(&meta)?;
    }
    let code = match (&ending.limit, ending.code, ending.signal) {
        (Some(_), _, _) => LIMIT,
        (None, Some(code), _) => u8::try_from(code & 0xff).unwrap_or(1),
        (None, None, Some(signal)) => u8::try_from(128 + (signal & 0x7f)).unwrap_or(255),
        (None, None, None) => 1,
    };
    if job.args.json {
        let value = serde_json::json!({"run": dir.id, "tier": plan.tier(), "exit": code, "signal": ending.signal,
            "stopped": ending.limit.as_ref().map(|l| &l.words), "wall_ms": ending.wall_ms, "cpu_ms": ending.cpu_ms,
            "peak_memory": ending.peak_memory, "output_bytes": ending.output, "changes": kept,
            "changed": if let Left::Changes(n) = left { Some(n) } else { None },
            "allowed": tally.allowed, "denied": tally.denied,
            "model_calls": tally.calls, "tokens": tally.tokens, "micro_usd": tally.micros,
            "unenforced": plan.unenforced()});
        eprintln!("{value}");
    } else if !job.args.quiet || ending.limit.is_some() {
        summary(dir, plan, &ending, tally, code, left);
    }
    Ok(code)
}

fn summary(dir: &RunDir, plan: &Plan, ending: &Ending, tally: Tally, code: u8, left: Left) {
    if let Some(limit) = &ending.limit {
        eprintln!("qila: stopped: {}", limit.words);
    }
    let mib = ending.peak_memory.div_ceil(1 << 20);
    eprintln!(
        "qila: run {} · {} · exit {code} · {:.1} s, {:.1} s cpu, {mib} MiB peak",
        dir.id,
        plan.tier(),
        ending.wall_ms as f64 / 1000.0,
        ending.cpu_ms as f64 / 1000.0,
    );
    if let Some(spent) = tally.spent() {
        eprintln!("qila: {spent}");
    }
    if plan.network().has_gateway() {
        let Tally { allowed, denied, .. } = tally;
        eprintln!(
            "qila: {allowed} accesses allowed, {denied} denied; see `qila log {}`",
            dir.id
        );
    }
    for clause in plan.unenforced() {
        eprintln!("qila: NOT ENFORCED: {clause}");
    }
    let what = match left {
        Left::Nothing => return,
        Left::Changes(n) => counted(n, "change"),
        Left::Unknown => "what cannot be counted".to_owned(),
    };
    eprintln!(
        "qila: {what} in the layer, the workspace is as it was; see `qila diff {0}`, keep with `qila apply {0}`",
        dir.id
    );
}
