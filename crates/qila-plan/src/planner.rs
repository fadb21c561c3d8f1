//! Making a plan, or refusing to.
use crate::capabilities::Capabilities;
use crate::environment::{Caller, assemble};
use crate::facts::{Availability, HostFacts};
use crate::network::NetworkPlan;
use crate::plan::{Enforcement, Namespace, Plan, Walls};
use crate::refusal::Refusal;
use crate::view::{CA_BUNDLE, CA_CERTIFICATE};
use crate::{landlock, limits, view};
use qila_policy::Permit;
use qila_policy::model::Policy;
use qila_types::Tier;

/// What a plan is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What is permitted.
    pub permit: &'a Permit,
    /// What the host offers.
    pub facts: &'a HostFacts,
    /// Who asks, and for what.
    pub caller: &'a Caller,
    /// Environment variables that carry placeholders.
    pub placeholders: &'a [(String, String)],
    /// Clauses that the operator is ready to go without.
    pub allow_unenforced: &'a [String],
}

/// Keeps account of what enforces each clause, and of the first that nothing does.
pub(crate) struct Ledger<'a> {
    tier: Tier,
    allowed: &'a [String],
    enforced: Vec<Enforcement>,
    unenforced: Vec<String>,
    refusal: Option<Refusal>,
}

impl Ledger<'_> {
    pub(crate) fn enforced(&mut self, clause: &'static str, by: &str, weaker: bool) {
        self.enforced.push(limits::entry(clause, by, weaker));
    }

    pub(crate) fn refuse(&mut self, clause: &'static str, reason: String, fix: String) {
        let short = clause.rsplit('.').next().unwrap_or(clause);
        if self.allowed.iter().any(|a| a == clause || a == short) {
            self.unenforced.push(clause.to_owned());
        } else if self.refusal.is_none() {
            self.refusal = Some(Refusal {
                clause: clause.into(),
                tier: self.tier,
                reason,
                fix,
                nearest: None,
            });
        }
    }
}

/// Plans for one tier.
pub fn plan(caps: &Capabilities, request: &Request<'_>) -> Result<Plan, Refusal> {
    let Request {
        permit,
        facts,
        caller,
        ..
    } = request;
    let policy = permit.policy();
    let fixed = |clause: &str, reason: String, fix: String| Refusal {
        clause: clause.into(),
        tier: caps.tier,
        reason,
        fix,
        nearest: None,
    };
    if let Some(missing) = &caps.missing {
        return Err(fixed("isolation", missing.reason.clone(), missing.fix.clone()));
    }
    if let (Some(_), Some(engine)) = (&caller.seat, &caps.engine) {
        let reason = format!("a sandbox that is served cannot be made in {} yet", engine.name);
        let fix = "use `isolation: container`".into();
        return Err(fixed("isolation", reason, fix));
    }
    if let Availability::No { reason, fix } = &facts.user_namespaces {
        return Err(fixed("isolation", reason.clone(), fix.clone()));
    }
    let mut ledger = Ledger {
        tier: caps.tier,
        allowed: request.allow_unenforced,
        enforced: Vec::new(),
        unenforced: Vec::new(),
        refusal: None,
    };
    let network = NetworkPlan::of(&policy.network);
    if policy.network.rates != qila_policy::model::NetworkRates::default() {
        let by = match network.has_gateway() {
            true => "token buckets in the gateway",
            false => "nothing leaves, so that no rate can be exceeded",
        };
        ledger.enforced("network.rates", by, false);
    }
    let fs = &policy.filesystem;
    let mut limits = limits::limits(
        &policy.resources,
        fs.workspace,
        caps,
        facts,
        &caller.run,
        &mut ledger,
    );
    if caller.seat.is_some() && caps.makes(Namespace::Cgroup) {
        limits.cgroup.shared(&facts.cgroups, &caller.run);
        limits.cgroup.freezer(&facts.cgroups, &caller.run);
    }
    let view = view::build(caps.tier, policy, facts, caller, &network, limits.scratch)?;
    let timers = limits::timers(&policy.resources, &mut limits, &view, &mut ledger);
    if facts.landlock_abi == 0 {
        let fix = "enable Landlock (`lsm=landlock,…` on the kernel command line; Linux 5.13 or later)";
        ledger.refuse("filesystem", "this kernel has no Landlock".into(), fix.into());
    }
    if !policy.network.loopback && facts.landlock_abi < 4 {
        let reason = format!(
            "Landlock ABI {} cannot bound TCP ports; 4 or later is needed",
            facts.landlock_abi
        );
        ledger.refuse("network.loopback", reason, "use Linux 6.7 or later".into());
    }
    let mut landlock = landlock::rules(facts.landlock_abi, &view, &network, &policy.network);
    if let Some(seat) = &caller.seat {
        landlock::renewable(&mut landlock, &seat.home);
    }
    let unix = unix_sockets(policy, caps, &view, &mut ledger);
    let (filter, syscalls) =
        filter(policy, caps, &limits, unix).map_err(|e| fixed("syscalls", e, String::new()))?;
    let engine_filter = match &caps.engine {
        Some(_) => {
            bytes(&qila_seccomp::Spec::for_engine()).map_err(|e| fixed("syscalls", e, String::new()))?
        }
        None => Vec::new(),
    };
    describe(policy, caps, &network, facts, &mut ledger);
    if let Some(refusal) = ledger.refusal {
        return Err(refusal);
    }
    let environment = assemble(
        &policy.environment,
        caller,
        request.facts.unpacked.as_ref().and_then(|i| i.path.as_deref()),
        &view.home,
        request.placeholders,
        &own(caps.tier, &network),
    );
    Ok(Plan {
        walls: Walls {
            tier: caps.tier,
            uid: facts.uid,
            gid: facts.gid,
            namespaces: caps.namespaces.to_vec(),
            view,
            network,
            cgroup: limits.cgroup,
            engine: caps.engine.clone(),
        },
        argv: caller.argv.clone(),
        cwd: caller.cwd.clone(),
        limits: limits.each,
        cpus: limits.cpus,
        landlock,
        filter,
        engine_filter,
        syscalls,
        accounting: limits.accounting,
        timers,
        environment,
        terminal: caller.terminal.is_some(),
        enforced: ledger.enforced,
        unenforced: ledger.unenforced,
    })
}

/// The chosen plan, and why no stronger tier was chosen.
#[derive(Debug)]
pub struct Chosen {
    /// The plan.
    pub plan: Plan,
    /// Stronger tiers that refused.
    pub passed_over: Vec<Refusal>,
}

/// Plans for the tier that the policy names, or for the strongest that can enforce the whole policy.
pub fn choose(tiers: &[Capabilities], request: &Request<'_>) -> Result<Chosen, Refusal> {
    let named = request.permit.policy().isolation;
    let mut strongest_first: Vec<&Capabilities> = tiers.iter().collect();
    strongest_first.sort_by_key(|c| std::cmp::Reverse(c.tier));
    if let Some(tier) = named {
        let Some(caps) = strongest_first.iter().find(|c| c.tier == tier) else {
            return Err(Refusal {
                clause: "isolation".into(),
                tier,
                reason: "this build has no such backend".into(),
                fix: "use `isolation: auto`".into(),
                nearest: tiers.iter().map(|c| c.tier).max(),
            });
        };
        return match plan(caps, request) {
            Ok(plan) => Ok(Chosen {
                plan,
                passed_over: Vec::new(),
            }),
            Err(mut refusal) => {
                let able = strongest_first
                    .iter()
                    .filter(|c| c.tier != tier && plan_with(c, request).is_ok());
                refusal.nearest = able
                    .map(|c| c.tier)
                    .min_by_key(|t| (*t as i32 - tier as i32).abs());
                Err(refusal)
            }
        };
    }
    let mut passed_over = Vec::new();
    for caps in strongest_first {
        if let (Some(why), None) = (caps.by_name, &caps.missing) {
            passed_over.push(Refusal {
                clause: "isolation".into(),
                tier: caps.tier,
                reason: why.into(),
                fix: format!("`isolation: {}` uses it", caps.tier),
                nearest: None,
            });
            continue;
        }
        match plan(caps, request) {
            Ok(plan) => return Ok(Chosen { plan, passed_over }),
            Err(refusal) => passed_over.push(refusal),
        }
    }
    // The first that is not merely missing says most.
    let best = passed_over
        .iter()
        .position(|r| r.clause != "isolation")
        .unwrap_or(0);
    if passed_over.is_empty() {
        return Err(Refusal {
            clause: "isolation".into(),
            tier: Tier::Process,
            reason: "this build has no backend".into(),
            fix: String::new(),
            nearest: None,
        });
    }
    Err(passed_over.swap_remove(best))
}

fn plan_with(caps: &Capabilities, request: &Request<'_>) -> Result<Plan, Refusal> {
    plan(caps, request)
}

/// Whether unix sockets may be made. No wall but this one tells a socket of the host from one made inside, in a directory that
/// both write; what listened there at the launch is covered in the view.
fn unix_sockets(policy: &Policy, caps: &Capabilities, view: &view::View, ledger: &mut Ledger<'_>) -> bool {
    let shared = view.writes_host_directory();
    if let Some(engine) = &caps.engine {
        if shared && policy.network.unix_sockets == Some(true) {
            let reason = format!("{} reaches no socket of the host", engine.name);
            ledger.refuse(
                "network.unix_sockets",
                reason,
                "use `isolation: container`".into(),
            );
        }
        let by = format!("{}, in which sockets of the host are none", engine.name);
        ledger.enforced("network.unix_sockets", &by, false);
        return policy.network.unix_sockets.unwrap_or(true);
    }
    let allowed = policy.network.unix_sockets.unwrap_or(!shared);
    let (by, weaker) = match (allowed, shared) {
        (true, true) => (
            "those that the host has at the launch are covered; one that it makes later can be reached",
            true,
        ),
        (true, false) => (
            "no directory of the host is written itself; Landlock's scope for abstract names",
            false,
        ),
        (false, _) => ("seccomp: none is made but connected pairs", false),
    };
    ledger.enforced("network.unix_sockets", by, weaker);
    allowed
}

fn filter(
    policy: &Policy,
    caps: &Capabilities,
    limits: &limits::Limits,
    allow_unix: bool,
) -> Result<(Vec<u8>, String), String> {
    let flags = qila_seccomp::Flags {
        deny_sysv_ipc: !caps.makes(Namespace::Ipc),
        deny_memory_files: limits.accounting.is_some(),
        deny_setaffinity: limits.by_affinity,
        allow_inet: true,
        allow_unix,
    };
    let spec = qila_seccomp::Spec::from_policy(&policy.syscalls, flags).map_err(|e| e.to_string())?;
    let filter = bytes(&spec)?;
    let summary = format!(
        "{:?} list, {} instructions",
        policy.syscalls.base,
        filter.len() / 8
    );
    Ok((filter, summary))
}

/// A filter in the kernel's layout.
fn bytes(spec: &qila_seccomp::Spec) -> Result<Vec<u8>, String> {
    let arch = qila_seccomp::Arch::native().ok_or("no system call table for this processor")?;
    let filter = qila_seccomp::compile(spec, arch).map_err(|e| e.to_string())?;
    let mut bytes = Vec::with_capacity(filter.len() * 8);
    for i in &filter {
        bytes.extend(i.code.to_ne_bytes());
        bytes.extend([i.jt, i.jf]);
        bytes.extend(i.k.to_ne_bytes());
    }
    Ok(bytes)
}

fn describe(
    policy: &Policy,
    caps: &Capabilities,
    network: &NetworkPlan,
    facts: &HostFacts,
    ledger: &mut Ledger<'_>,
) {
    let abi = facts.landlock_abi;
    let second = match &caps.engine {
        Some(engine) => format!("{} as second wall", engine.name),
        None => format!("Landlock ABI {abi} as second wall"),
    };
    ledger.enforced(
        "filesystem",
        &format!("a private root in a mount namespace, read-only binds; {second}"),
        false,
    );
    let by = match network {
        NetworkPlan::Closed { .. } => "a network namespace without device, route or gateway",
        NetworkPlan::Locked { .. } => {
            "the locked network: nftables redirect to the gateway outside, which decides; everything else is dropped"
        }
    };
    ledger.enforced("network", by, false);
    if !policy.credentials.is_empty() {
        ledger.enforced(
            "credentials",
            "the gateway, outside the sandbox, holds the values",
            false,
        );
    }
    let ipc = if caps.makes(Namespace::Ipc) {
        ""
    } else {
        ", System V IPC denied in it"
    };
    if !policy.budgets.is_empty() {
        let by = match network.has_gateway() {
            true => {
                "the gateway: the worst case is reserved before a request leaves, what was used is settled after"
            }
            false => "nothing leaves, so that nothing is spent",
        };
        ledger.enforced("budgets", by, false);
    }
    let by = match &caps.engine {
        Some(engine) => format!(
            "{}, in it the policy's seccomp filter; around it another",
            engine.name
        ),
        None => format!("seccomp{ipc}"),
    };
    ledger.enforced("syscalls", &by, false);
    ledger.enforced("environment", "a clean environment", false);
}

/// Variables by which the usual libraries find all the authorities that they trust.
pub const CA_BUNDLE_VARIABLES: [&str; 9] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
];

/// Variables by which others find one that they trust besides their own.
pub const CA_VARIABLES: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// Variables that every agent finds.
fn own(tier: Tier, network: &NetworkPlan) -> Vec<(&'static str, String)> {
    let mut out = vec![("QILA_SANDBOX", tier.to_string())];
    if let NetworkPlan::Locked { intercepts: true, .. } = network {
        out.extend(CA_BUNDLE_VARIABLES.map(|name| (name, CA_BUNDLE.to_owned())));
        out.extend(CA_VARIABLES.map(|name| (name, CA_CERTIFICATE.to_owned())));
    }
    out
}
