//! What a run leaves in the evidence log, and when: P4 of the design.
//!
//! | event | durable |
//! |---|---|
//! | `launch` | before the agent's first instruction; if it cannot be written, nothing is started |
//! | `refused` | after nothing was started |
//! | decisions of the gateway | when [`Evidence::record`] returns, before they take effect |
//! | `limit`, `exit` | before the summary is printed and the run's directory removed |
//! | `reclaimed`, `exit` of a dead run | before its directory is removed |
//!
//! The log is opened after every helper process was forked, so that none of them inherits it.
use super::supervise::Ending;
use crate::budgets::dollars;
use crate::fail::{Fail, chain};
use crate::home::Home;
use crate::line::counted;
use crate::state::Meta;
use qila_evidence::{Log, LogError};
use qila_plan::Plan;
use qila_policy::Policy;
use qila_policy::model::Resources;
use qila_types::{Event, EventKind, Outcome, RunId, StopReason, Usage};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, fsync, mkdirat, openat, statat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Name of the directory under `$QILA_HOME`.
const NAME: &str = "evidence";
const FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// The evidence of one run. Opens the log when it is first needed.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    home: &'a Home,
    run: RunId,
    log: Option<Log>,
    /// Whether the launch is on the disk.
    launched: bool,
    /// Whether the agent was started.
    started: bool,
    resources: Resources,
    /// Leases of each credential that the log has and that have not ended in it.
    leases: BTreeMap<String, u64>,
    /// Credentials that a provider takes back, or does not.
    minted: BTreeSet<String>,
    /// Those that it did not.
    unrevoked: BTreeSet<String>,
    tally: Tally,
}

/// Accesses that the gateway decided on, as the log has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Allowed.
    pub allowed: u64,
    /// Denied.
    pub denied: u64,
    /// Calls of models.
    pub calls: u64,
    /// Tokens that they used.
    pub tokens: u64,
    /// What they cost, in millionths of a dollar.
    pub micros: u64,
    /// Of the calls: without a known price.
    pub unpriced: u64,
}

impl Tally {
    fn count(&mut self, kind: &EventKind) {
        match kind {
            EventKind::Decision(d) if d.allowed => self.allowed += 1,
            EventKind::Decision(_) => self.denied += 1,
            EventKind::ModelCall(call) => {
                self.calls += 1;
                self.tokens = self.tokens.saturating_add(call.input).saturating_add(call.output);
                self.micros = self.micros.saturating_add(call.micros.unwrap_or(0));
                self.unpriced += u64::from(call.micros.is_none());
            }
            _ => {}
        }
    }
}

impl Tally {
    /// What was spent on models, for a person; none where none was called.
    pub(crate) fn spent(&self) -> Option<String> {
        let unpriced = match self.unpriced {
            0 => String::new(),
            n => format!(" (and {} of unknown price)", counted(n, "call")),
        };
        (self.calls > 0).then(|| {
            let (calls, money) = (counted(self.calls, "call"), dollars(self.micros));
            format!("{calls} of models: {} tokens, {money}{unpriced}", self.tokens)
        })
    }
}

/// Where the log lies.
pub(crate) fn path(home: &Home) -> PathBuf {
    home.path().join(NAME)
}

/// The log's directory, open; none if nothing was ever recorded.
pub(crate) fn directory(home: &Home) -> Result<Option<OwnedFd>, Fail> {
    match openat(home.dir(), NAME, FLAGS, Mode::empty()) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(Fail::io("opening", &path(home), e.into())),
    }
}

/// The log's directory, made the first time. Its name is durable before anything in it is.
fn make(home: &Home) -> Result<OwnedFd, Errno> {
    match mkdirat(home.dir(), NAME, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    let dir = openat(home.dir(), NAME, FLAGS, Mode::empty())?;
    fsync(home.dir())?;
    // The state directory may be new itself. One that may be passed but not read cannot be synced by us.
    match openat(home.dir(), "..", FLAGS, Mode::empty()) {
        Ok(above) => match fsync(&above) {
            Ok(()) | Err(Errno::INVAL) => {}
            Err(e) => return Err(e),
        },
        Err(Errno::ACCESS) => {}
        Err(e) => return Err(e),
    }
    Ok(dir)
}

/// Opens the log, making it the first time.
pub(crate) fn open(home: &Home) -> Result<Log, Fail> {
    let io = |e: Errno| {
        Fail::io("evidence cannot be kept in", &path(home), e.into())
            .hint("make it a directory that you may write, or set QILA_HOME elsewhere")
    };
    let there = openat(home.dir(), NAME, FLAGS, Mode::empty());
    let dir = match there {
        // One whose making was cut off may not have a durable name yet.
        Ok(dir) if statat(&dir, "log", AtFlags::SYMLINK_NOFOLLOW).is_ok() => dir,
        Ok(_) | Err(Errno::NOENT) => make(home).map_err(io)?,
        Err(e) => return Err(io(e)),
    };
    Log::open(rustix::fd::AsFd::as_fd(&dir)).map_err(|e| unwritten(home, &e))
}

/// SHA-256 of a resolved policy, in hexadecimal.
pub(crate) fn digest(policy: &Policy) -> String {
    let digest = Sha256::digest(qila_policy::canonical(policy));
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

fn unwritten(home: &Home, error: &LogError) -> Fail {
    let dir = path(home);
    let dir = dir.display();
    let hint = match error {
        LogError::NoSpace { .. } => format!("make room for {dir}, or set QILA_HOME elsewhere"),
        LogError::Insecure { .. } => format!("chmod -R go-rwx {dir}"),
        LogError::Corrupt { .. } | LogError::KeyMissing | LogError::Key { .. } => {
            format!("qila audit verify; then move {dir} aside, and a new log is begun")
        }
        LogError::Busy => format!("look for a stopped qila that holds {dir}/lock"),
        _ => format!("look after the disk under {dir}, or set QILA_HOME elsewhere"),
    };
    Fail::new(format!("evidence cannot be written: {}", chain(error))).hint(hint)
}

impl<'a> Evidence<'a> {
    /// Of this run. Touches nothing yet.
    pub(crate) fn of(home: &'a Home, run: &RunId) -> Evidence<'a> {
        Evidence {
            home,
            run: run.clone(),
            log: None,
            launched: false,
            started: false,
            resources: Resources::default(),
            leases: BTreeMap::new(),
            minted: BTreeSet::new(),
            unrevoked: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    /// Opens the log, so that a later [`Evidence::record`] has less to fail of. No process may be forked afterwards.
    pub(crate) fn open(&mut self) -> Result<&mut Log, Fail> {
        if self.log.is_none() {
            self.log = Some(open(self.home)?);
        }
        self.log
            .as_mut()
            .ok_or_else(|| Fail::new("the evidence log is not open"))
    }

    /// Records what happened. On return it is on the disk, together and in this order.
    ///
    /// After an error nothing of it may take effect, and the run has to end: return the error.
    pub(crate) fn record(&mut self, kinds: Vec<EventKind>) -> Result<(), Fail> {
        if kinds.is_empty() {
            return Ok(());
        }
        let (mut tally, mut leases) = (self.tally, self.leases.clone());
        let mut unrevoked = Vec::new();
        for kind in &kinds {
            tally.count(kind);
            count(&mut leases, kind);
            if let EventKind::LeaseUnrevoked { credential, reason } = kind {
                unrevoked.push(format!("{credential}: {reason}"));
            }
        }
        let (time_ms, run) = (super::now_ms(), Some(self.run.clone()));
        let stamp = |kind| Event {
            time_ms,
            run: run.clone(),
            kind,
        };
        let events: Vec<Event> = kinds.into_iter().map(stamp).collect();
        let home = self.home;
        if let Err(e) = self.open()?.append(&events) {
            // A log that failed once has to be opened again before it takes anything.
            self.log = None;
            return Err(unwritten(home, &e));
        }
        (self.tally, self.leases) = (tally, leases);
        self.unrevoked.extend(unrevoked);
        Ok(())
    }

    /// Says, for a person, what providers have not taken back.
    pub(crate) fn warn(&self) {
        for said in &self.unrevoked {
            eprintln!(
                "qila: NOT REVOKED: {said}; it is tried again when `qila` is started, or by `qila revoke {}`",
                self.run
            );
        }
    }

    /// How many accesses were allowed and denied, by what was recorded.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Credentials of this policy that are minted are revoked by their providers alone, not by the end of the gateway.
    pub(crate) fn minted_by(&mut self, policy: &Policy) {
        let minted = policy.credentials.iter().filter(|c| c.source.mints());
        self.minted = minted.map(|c| c.name.clone()).collect();
    }

    /// Records that the agent is about to be started.
    pub(crate) fn launch(&mut self, policy: &Policy, plan: &Plan, meta: &Meta) -> Result<(), Fail> {
        self.minted_by(policy);
        self.resources = policy.resources.clone();
        let launch = EventKind::Launch {
            tier: *plan.tier(),
            policy_digest: digest(policy),
            plan_digest: plan.digest(),
            command: meta.command.clone(),
            workspace: meta.workspace.clone(),
            unenforced: plan.unenforced().to_vec(),
        };
        let leases = meta.leases.iter().cloned();
        let leases = leases.map(|credential| EventKind::LeaseCreated { credential });
        let kinds = std::iter::once(launch).chain(leases).collect();
        self.record(kinds)
            .map_err(|fail| fail.prefix("refused, nothing was started: ").clause("evidence"))?;
        self.launched = true;
        Ok(())
    }

    /// From here on a failure that names no clause is the end of a run, not a refusal.
    pub(crate) fn started(&mut self) {
        self.started = true;
    }

    /// Whether the log has a launch of this run, which then needs an end.
    pub(crate) fn is_launched(&self) -> bool {
        self.launched
    }

    /// The end of every lease that the log has no end of.
    pub(crate) fn revoked(&self) -> Vec<EventKind> {
        let open = self.leases.iter().filter(|(_, n)| **n > 0);
        let names: Vec<String> = open.map(|(name, _)| name.clone()).collect();
        let (minted, held): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| self.minted.contains(name));
        let silent = minted.into_iter().map(|credential| EventKind::LeaseUnrevoked {
            credential,
            reason: "the gateway has ended before its provider had answered; it is tried again".into(),
        });
        revoked(&held).into_iter().chain(silent).collect()
    }

    /// Records how the agent ended.
    pub(crate) fn ended(&mut self, ending: &Ending) -> Result<(), Fail> {
        let mut kinds = self.revoked();
        let reason = match &ending.limit {
            Some(reached) => {
                let (clause, limit) = (reached.clause.to_owned(), self.limit(reached.clause));
                kinds.push(EventKind::Limit {
                    clause: clause.clone(),
                    limit: limit.clone(),
                    stopped: true,
                });
                StopReason::Limit { clause, limit }
            }
            None if ending.told => StopReason::Killed,
            None => StopReason::Finished,
        };
        kinds.push(EventKind::Exit {
            outcome: Outcome {
                code: ending.code,
                signal: ending.signal,
                reason,
            },
            usage: Usage {
                wall_ms: ending.wall_ms,
                cpu_ms: ending.cpu_ms,
                peak_memory: ending.peak_memory,
                allowed: self.tally.allowed,
                denied: self.tally.denied,
                output_bytes: ending.output,
            },
        });
        self.record(kinds).map_err(|fail| {
            let how = match (ending.code, ending.signal) {
                (Some(code), _) => format!("exit {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or_default()),
            };
            fail.prefix(&format!("the run ended ({how}), but its end is not recorded: "))
        })
    }

    /// Records that nothing was started, or that the run was ended because of a failure.
    pub(crate) fn failed(&mut self, fail: &Fail) -> Result<(), Fail> {
        let (clause, what) = (fail.clause.clone(), fail.message.clone());
        if let Some(clause) = clause.or_else(|| (!self.started).then(|| "launch".into())) {
            let reason = what.strip_prefix("refused: ").unwrap_or(&what).to_owned();
            let mut kinds = self.revoked();
            kinds.push(EventKind::Refused { clause, reason });
            return self.record(kinds);
        }
        let usage = Usage {
            allowed: self.tally.allowed,
            denied: self.tally.denied,
            ..Usage::default()
        };
        let mut kinds = self.revoked();
        kinds.push(exit(StopReason::FailedClosed { what }, usage));
        self.record(kinds)
    }

    /// Records what was found of a run whose supervisor vanished.
    pub(crate) fn orphaned(&mut self, leases: &[String], found: Vec<String>) -> Result<(), Fail> {
        let mut kinds = revoked(leases);
        kinds.push(exit(StopReason::Orphaned, Usage::default()));
        kinds.push(EventKind::Reclaimed { found });
        self.record(kinds)
    }

    /// The same of a gateway alone.
    pub(crate) fn gateway_orphaned(&mut self, leases: &[String], found: Vec<String>) -> Result<(), Fail> {
        let mut kinds = revoked(leases);
        kinds.push(EventKind::GatewayEnded);
        kinds.push(EventKind::Reclaimed { found });
        self.record(kinds)
    }

    /// A limit as the policy has it.
    fn limit(&self, clause: &str) -> String {
        let of = &self.resources;
        match clause {
            "resources.memory" => of.memory.map(|m| m.bytes.to_string()),
            "resources.disk" => of.disk.map(|d| d.bytes.to_string()),
            "resources.wall_time" => of.wall_time.map(|t| t.to_string()),
            "resources.output" => of.output.map(|b| b.to_string()),
            _ => None,
        }
        .unwrap_or_default()
    }
}

fn count(leases: &mut BTreeMap<String, u64>, kind: &EventKind) {
    match kind {
        EventKind::LeaseCreated { credential } => {
            *leases.entry(credential.clone()).or_default() += 1;
        }
        EventKind::LeaseRevoked { credential } | EventKind::LeaseUnrevoked { credential, .. } => {
            let open = leases.get_mut(credential);
            open.into_iter().for_each(|n| *n = n.saturating_sub(1));
        }
        _ => {}
    }
}

/// The gateway that held the credentials is gone, and what the agent held is worth nothing any more.
fn revoked(leases: &[String]) -> Vec<EventKind> {
    let leases = leases.iter().cloned();
    leases
        .map(|credential| EventKind::LeaseRevoked { credential })
        .collect()
}

fn exit(reason: StopReason, usage: Usage) -> EventKind {
    let outcome = Outcome {
        code: None,
        signal: None,
        reason,
    };
    EventKind::Exit { outcome, usage }
}
