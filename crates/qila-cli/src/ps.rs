//! `qila ps`.
use crate::args::Ps;
use crate::fail::Fail;
use crate::home::Home;
use crate::policy::print;
use crate::state;

/// Whether printing this character can move the cursor, change colours, or reorder or hide other text.
pub(crate) fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Replaces what would mislead a terminal or its reader.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if misleads(c) {
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
