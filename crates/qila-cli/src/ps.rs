//! `qila ps`.
use crate::args::Ps;
use crate::fail::Fail;
use crate::home::Home;
use crate::policy::print;
use crate::state;

/// Replaces what would move a terminal's cursor or change its colours.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// `qila ps`.
pub(crate) fn ps(args: &Ps) -> Result<u8, Fail> {
    let home = Home::open()?;
    if !args.json {
        print(&format!("{:20}  {:9}  {:9}  COMMAND", "RUN", "STATE", "TIER"));
    }
    for run in state::list(&home) {
        let running = run.is_running();
        let Some(meta) = run.meta() else { continue };
        if !running && !args.all {
            continue;
        }
        let state = if running {
            "running"
        } else {
            meta.ended.as_deref().unwrap_or("orphaned")
        };
        if args.json {
            let value = serde_json::json!({"run": run.id, "state": state, "pid": running.then_some(meta.pid),
                "tier": meta.tier, "command": meta.command, "workspace": meta.workspace, "started_ms": meta.started_ms});
            print(&value.to_string());
        } else {
            print(&format!(
                "{:20}  {state:9}  {:9}  {}",
                run.id,
                meta.tier,
                harmless(&meta.command.join(" "))
            ));
        }
    }
    Ok(0)
}
