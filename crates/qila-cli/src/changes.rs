//! `qila diff`, `qila apply`, `qila discard`.
use crate::args::{Apply, Diff, Discard};
use crate::fail::{Fail, chain};
use crate::home::Home;
use crate::policy::print;
use crate::run::evidence::Evidence;
use crate::run::janitor;
use crate::state::{self, RunDir};
use qila_types::EventKind;
use qila_workspace::{ApplyOptions, Risky, RunError, RunLayer, Style, write_diff, write_stat};
use std::io::Write;
use std::path::{Path, PathBuf};

fn failed(error: &dyn std::error::Error) -> Fail {
    Fail::new(chain(error)).code(1)
}

/// The run, which must have ended.
fn ended(home: &Home, named: &str) -> Result<RunDir, Fail> {
    let run = state::find(home, named).map_err(|f| f.code(1))?;
    if run.is_running() {
        let hint = format!("wait for it, or `qila kill {}`", run.id);
        return Err(Fail::new(format!("run {} is still going on", run.id))
            .hint(hint)
            .code(1));
    }
    janitor::settle(home, &run).map_err(|f| f.code(1))?;
    Ok(run)
}

fn layer(run: &RunDir) -> Result<RunLayer, Fail> {
    let workspace = run.workspace().map_err(|e| {
        let path = run.meta().and_then(|m| m.workspace).unwrap_or_default();
        Fail::io("opening the workspace", Path::new(&path), e.into())
            .hint("put it back where it was")
            .code(1)
    })?;
    let Some(workspace) = workspace else {
        return Err(failed(&RunError::NoLayer));
    };
    RunLayer::open(run.dir(), workspace).map_err(|e| failed(&e))
}

/// `qila diff`.
pub(crate) fn diff(args: &Diff) -> Result<u8, Fail> {
    let home = Home::open()?;
    let run = ended(&home, &args.run)?;
    let layer = layer(&run)?;
    let changes = layer.changes().map_err(|e| failed(&e))?;
    if args.json {
        print(
            &serde_json::json!({"run": run.id, "changes": changes.entries, "skipped": changes.skipped})
                .to_string(),
        );
        return Ok(0);
    }
    // A terminal obeys what it is shown; a patch needs the bytes as they are.
    let style = if rustix::termios::isatty(rustix::stdio::stdout()) {
        Style::TERMINAL
    } else {
        Style::default()
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let write = if args.stat { write_stat } else { write_diff };
    write(layer.layer(), &changes, style, &mut out).map_err(|e| failed(&e))?;
    out.flush().map_err(|e| failed(&e))?;
    Ok(0)
}

/// `qila apply`.
pub(crate) fn apply(args: &Apply) -> Result<u8, Fail> {
    let home = Home::open()?;
    let run = ended(&home, &args.run)?;
    let layer = layer(&run)?;
    let root = run
        .meta()
        .and_then(|m| m.workspace)
        .map(PathBuf::from)
        .unwrap_or_default();
    let within = |path: &PathBuf| path.strip_prefix(&root).unwrap_or(path).to_owned();
    let options = ApplyOptions {
        paths: (!args.paths.is_empty()).then(|| args.paths.iter().map(within).collect()),
        risky: match (args.include_risky, args.skip_risky) {
            (true, _) => Risky::Include,
            (_, true) => Risky::Leave,
            _ => Risky::Refuse,
        },
        overwrite: args.overwrite,
    };
    let mut evidence = Evidence::of(&home, &run.id);
    evidence
        .open()
        .map_err(|f| f.prefix("nothing was applied: ").code(1))?;
    let applied = layer.apply(&options).map_err(|e| failed(&e))?;
    let event = EventKind::Apply {
        paths: u64::try_from(applied.changes.len()).unwrap_or(u64::MAX),
        digest: applied.digest.clone(),
    };
    evidence.record(vec![event]).map_err(|f| {
        f.prefix("the changes were applied, but that is not recorded: ")
            .code(1)
    })?;
    if args.json {
        print(&serde_json::json!({"run": run.id, "applied": applied}).to_string());
        return Ok(0);
    }
    print(&format!(
        "applied {}, {} left in the layer",
        crate::line::counted(applied.changes.len() as u64, "change"),
        applied.left
    ));
    for skipped in &applied.skipped {
        print(&format!(
            "never applied: {}",
            qila_workspace::quote_path(&skipped.path)
        ));
    }
    Ok(0)
}

/// `qila discard`.
pub(crate) fn discard(args: &Discard) -> Result<u8, Fail> {
    let home = Home::open()?;
    let run = ended(&home, &args.run)?;
    Evidence::of(&home, &run.id)
        .record(vec![EventKind::Discard])
        .map_err(|f| f.prefix("nothing was discarded: ").code(1))?;
    match RunLayer::discard(run.dir()) {
        Ok(_) | Err(RunError::NoLayer | RunError::Discarded) => run.remove(&home).map(|()| 0),
        Err(e) => Err(failed(&e)),
    }
}
