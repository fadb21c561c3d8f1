//! `qila doctor`.
use crate::args::Doctor;

use crate::fail::Fail;
use crate::policy::print;
use qila_plan::{Availability, CgroupFacts, HostFacts};
use std::path::Path;

/// One thing that was looked at.
struct Finding {
    what: &'static str,
    ok: bool,
    says: String,
    fix: String,
}

/// `qila doctor`.
pub(crate) fn doctor(args: &Doctor) -> Result<u8, Fail> {
    let facts = qila_host::collect(&qila_host::Look {
        base: Path::new("/"),
        paths: &[],
        unpacked: None,
        writable: &[],
        storage: &[],
    })
    .map_err(|e| Fail::new(crate::fail::chain(&e)))?;
    let findings = findings(&facts);
    let tiers = qila_backends::capabilities();
    let usable = matches!(facts.user_namespaces, Availability::Yes) && facts.landlock_abi > 0;
    if args.json {
        let list: Vec<_> = findings
            .iter()
            .map(|f| serde_json::json!({"what": f.what, "ok": f.ok, "says": f.says, "fix": f.fix}))
            .collect();
        let names: Vec<_> = tiers
            .iter()
            .map(|t| {
                let why = t.missing.as_ref().map(|m| &m.reason);
                serde_json::json!({
                    "tier": t.tier, "usable": usable && t.missing.is_none(), "missing": why, "engine": t.engine,
                    "by_name": t.by_name,
                })
            })
            .collect();
        print(&serde_json::json!({"facts": facts, "findings": list, "tiers": names}).to_string());
        return Ok(u8::from(!usable));
    }
    for f in &findings {
        print(&format!(
            "{} {:18} {}",
            if f.ok { "ok  " } else { "MISS" },
            f.what,
            f.says
        ));
        if !f.fix.is_empty() {
            print(&format!("     {:18} fix: {}", "", f.fix));
        }
    }
    for tier in &tiers {
        let ok = usable && tier.missing.is_none();
        let mut says = tier.tier.to_string();
        if let Some(engine) = &tier.engine {
            says = format!("{says}: {}", engine.program);
        }
        if let Some(missing) = &tier.missing {
            says = format!("{says}: {}", missing.reason);
        }
        print(&format!(
            "{} {:18} {says}",
            if ok { "ok  " } else { "MISS" },
            "tier"
        ));
        if let Some(missing) = &tier.missing {
            print(&format!("     {:18} fix: {}", "", missing.fix));
        }
    }
    Ok(u8::from(!usable))
}

fn findings(facts: &HostFacts) -> Vec<Finding> {
    let abi = facts.landlock_abi;
    let (ns_ok, ns_says, ns_fix) = match &facts.user_namespaces {
        Availability::Yes => (true, "can be made".to_owned(), String::new()),
        Availability::No { reason, fix } => (false, reason.clone(), fix.clone()),
    };
    let (cg_ok, cg_says, cg_fix) = match &facts.cgroups {
        CgroupFacts::V2 { parent, controllers } => (
            true,
            format!("v2 under {parent}: {}", controllers.join(" ")),
            String::new(),
        ),
        CgroupFacts::V1 { parents } => (
            true,
            format!("v1: {}", parents.keys().cloned().collect::<Vec<_>>().join(" ")),
            String::new(),
        ),
        CgroupFacts::None { reason, fix } => (
            false,
            format!("{reason}: memory is accounted by the guest, `hard` is refused"),
            fix.clone(),
        ),
    };
    let fix = if abi == 0 {
        "enable Landlock: lsm=landlock,… on the kernel command line, Linux 5.13 or later"
    } else {
        ""
    };
    vec![
        Finding {
            what: "kernel",
            ok: true,
            says: facts.kernel.clone(),
            fix: String::new(),
        },
        Finding {
            what: "user namespaces",
            ok: ns_ok,
            says: ns_says,
            fix: ns_fix,
        },
        Finding {
            what: "Landlock",
            ok: abi > 0,
            says: format!("ABI {abi}"),
            fix: fix.into(),
        },
        Finding {
            what: "cgroups",
            ok: cg_ok,
            says: cg_says,
            fix: cg_fix,
        },
    ]
}
