//! `qila policy`.
use crate::args::Policy;
use crate::fail::Fail;
use crate::{load, run};
use qila_policy::{Constitution, Permit, explain, preset};
use std::io::Write;

/// Prints, and takes a reader that went away for the end.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end());
}

/// `qila policy`.
pub(crate) fn policy(args: &Policy) -> Result<u8, Fail> {
    match args {
        Policy::Check { policy, json } => check(policy, *json),
        Policy::Explain {
            policy,
            isolation,
            json,
        } => explain_it(policy, *isolation, *json),
        Policy::Show { policy } => {
            print(&qila_policy::canonical(&load::load(policy)?));
            Ok(0)
        }
        Policy::Schema => {
            print(&serde_json::to_string_pretty(&qila_policy::schema()).unwrap_or_default());
            Ok(0)
        }
        Policy::List => {
            for preset in preset::PRESETS {
                print(&format!("{:18} {}", preset.name, preset.summary));
            }
            Ok(0)
        }
    }
}

fn check(named: &str, json: bool) -> Result<u8, Fail> {
    let sound = load::load(named).and_then(permit);
    if json {
        let errors: Vec<String> = sound
            .as_ref()
            .err()
            .map(|f| f.message.clone())
            .into_iter()
            .collect();
        print(&serde_json::json!({"policy": named, "ok": sound.is_ok(), "errors": errors}).to_string());
        return Ok(u8::from(sound.is_err()));
    }
    sound.map_err(|f| f.code(1))?;
    print(&format!("{named}: ok"));
    Ok(0)
}

/// Brings a policy under the constitution.
pub(crate) fn permit(policy: qila_policy::Policy) -> Result<Permit, Fail> {
    Permit::grant(policy, &Constitution::default()).map_err(|e| Fail::new(e.to_string()))
}

fn explain_it(named: &str, isolation: Option<crate::args::Tier>, json: bool) -> Result<u8, Fail> {
    let mut policy = load::load(named)?;
    if let Some(tier) = isolation {
        policy.isolation = tier.named();
    }
    let sentences = explain::sentences(&policy);
    let planned = permit(policy).and_then(|permit| run::plan::dry(&permit));
    let by = |clause: &str| {
        let plan = planned.as_ref().ok()?;
        let own = plan.enforced().iter().find(|e| e.clause == clause);
        let whole = || plan.enforced().iter().find(|e| clause.starts_with(e.clause));
        own.or_else(whole).map(|e| (e.by.clone(), e.weaker))
    };
    if json {
        let list: Vec<serde_json::Value> = sentences
            .iter()
            .map(|s| {
                let by = by(s.clause.as_str());
                serde_json::json!({"clause": s.clause.as_str(), "can": s.can, "text": s.text,
                    "by": by.as_ref().map(|b| &b.0), "weaker": by.as_ref().is_some_and(|b| b.1)})
            })
            .collect();
        let refused = planned.as_ref().err().map(|f| f.message.clone());
        print(&serde_json::json!({"policy": named, "refused": refused, "clauses": list}).to_string());
        return Ok(0);
    }
    let mut last = None;
    for s in &sentences {
        print(&format!(
            "{} {:24} {}",
            if s.can { "+" } else { "-" },
            s.clause.as_str(),
            s.text
        ));
        let by = by(s.clause.as_str());
        // One mechanism for many sentences is said once, before the others.
        if let Some((text, weaker)) = by.as_ref().filter(|_| by != last) {
            let weaker = if *weaker {
                " (weaker than a hard bound)"
            } else {
                ""
            };
            print(&format!("  {:24} by {text}{weaker}", ""));
        }
        last = by;
    }
    match &planned {
        Ok(plan) => print(&format!("\nOn this host it runs in the {} tier.", plan.tier())),
        Err(fail) => print(&format!("\nOn this host it does not run: {}", fail.message)),
    }
    Ok(0)
}
