//! Authority as a value: nothing runs on a [`Policy`], only on a [`Permit`].
use crate::model::{Budget, HostPattern, NetRule, Policy, TraceContent};
use qila_types::{Bytes, Cpus, Millis};
use std::fmt;

/// The operator's own rules, which no policy exceeds. The default sets none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constitution {
    /// Most memory.
    pub max_memory: Option<Bytes>,
    /// Most processor time, in cores.
    pub max_cpu: Option<Cpus>,
    /// Most processes and threads.
    pub max_processes: Option<u32>,
    /// Longest run.
    pub max_wall_time: Option<Millis>,
    /// Most bytes written.
    pub max_disk: Option<Bytes>,
    /// Hosts that no rule may allow, not even as part of a wildcard or network.
    pub forbid_hosts: Vec<HostPattern>,
    /// Rules within which every rule of a policy must lie; none sets no such bound.
    pub max_allow: Option<Vec<NetRule>>,
    /// Budgets, each of which some budget of a policy must imply: they only shrink.
    pub max_budgets: Vec<Budget>,
    /// Longest life of a credential's lease.
    pub max_ttl: Option<Millis>,
    /// Most that the traces of model calls may keep.
    pub max_traces: Option<TraceContent>,
}

/// Why a policy was not permitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermitError {
    /// A limit is above the ceiling.
    #[error("{clause}: the policy asks for {asked}, the constitution allows at most {ceiling}")]
    Ceiling {
        /// The clause.
        clause: crate::ClauseId,
        /// What the policy asks for.
        asked: String,
        /// What may be had.
        ceiling: String,
    },
    /// A limit is missing where there is a ceiling: no limit is more than any.
    #[error("{clause}: the policy sets no limit, the constitution allows at most {ceiling}")]
    Unlimited {
        /// The clause.
        clause: crate::ClauseId,
        /// What may be had.
        ceiling: String,
    },
    /// A rule allows a host that is forbidden.
    #[error(
        "network.allow: `{host}` is allowed by the policy, `{forbidden}` is forbidden by the constitution"
    )]
    Host {
        /// The rule's host.
        host: HostPattern,
        /// The forbidden host.
        forbidden: HostPattern,
    },
    /// A rule allows what no rule of the constitution does.
    #[error("network.allow[{rule}]: the rule for `{host}` allows more than any rule of the constitution")]
    Rule {
        /// Its position.
        rule: usize,
        /// Its host.
        host: HostPattern,
    },
    /// No budget of the policy keeps spending within one of the constitution's.
    #[error("budgets: no budget of the policy keeps spending within {ceiling}, which the constitution sets")]
    Budget {
        /// What may be spent.
        ceiling: String,
    },
    /// A credential lives longer than it may, or as long as the run.
    #[error(
        "credentials.{credential}.ttl: the policy asks for {asked}, the constitution allows at most {ceiling}"
    )]
    Ttl {
        /// Its name.
        credential: String,
        /// What the policy asks for.
        asked: String,
        /// What may be had.
        ceiling: Millis,
    },
}

/// A policy that was checked and brought under the constitution. Only this crate makes one.
#[derive(Debug, Clone)]
pub struct Permit {
    policy: Policy,
}

impl Permit {
    /// Brings a policy under the constitution; a policy that exceeds it is refused, not narrowed.
    pub fn grant(policy: Policy, constitution: &Constitution) -> Result<Permit, PermitError> {
        use crate::ClauseId as C;
        let r = &policy.resources;
        ceiling(C::Memory, r.memory.map(|m| m.bytes), constitution.max_memory)?;
        ceiling(C::Cpu, r.cpu, constitution.max_cpu)?;
        ceiling(C::Processes, r.processes, constitution.max_processes)?;
        ceiling(C::WallTime, r.wall_time, constitution.max_wall_time)?;
        ceiling(C::Disk, r.disk.map(|d| d.bytes), constitution.max_disk)?;
        for forbidden in &constitution.forbid_hosts {
            let hit = policy
                .network
                .allow
                .iter()
                .find(|rule| rule.host.overlaps(forbidden));
            if let Some(rule) = hit {
                return Err(PermitError::Host {
                    host: rule.host.clone(),
                    forbidden: forbidden.clone(),
                });
            }
        }
        within(&policy, constitution)?;
        Ok(Permit { policy })
    }

    /// The policy as permitted.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// Rules, budgets, leases and traces.
fn within(policy: &Policy, constitution: &Constitution) -> Result<(), PermitError> {
    if let Some(ceiling) = &constitution.max_allow {
        let beyond = |rule: &NetRule| !ceiling.iter().any(|c| c.covers(rule));
        let found = policy.network.allow.iter().enumerate().find(|(_, r)| beyond(r));
        if let Some((rule, found)) = found {
            let host = found.host.clone();
            return Err(PermitError::Rule { rule, host });
        }
    }
    for ceiling in &constitution.max_budgets {
        if !policy.budgets.iter().any(|b| b.implies(ceiling)) {
            let ceiling = ceiling.to_string();
            return Err(PermitError::Budget { ceiling });
        }
    }
    for credential in &policy.credentials {
        if let Some(ceiling) = constitution.max_ttl
            && credential.ttl.is_none_or(|ttl| ttl > ceiling)
        {
            return Err(PermitError::Ttl {
                credential: credential.name.clone(),
                asked: credential
                    .ttl
                    .map_or("the run's whole life".to_owned(), |t| t.to_string()),
                ceiling,
            });
        }
    }
    match constitution.max_traces {
        Some(most) if policy.traces.content > most => Err(PermitError::Ceiling {
            clause: crate::ClauseId::Traces,
            asked: policy.traces.content.as_str().to_owned(),
            ceiling: most.as_str().to_owned(),
        }),
        _ => Ok(()),
    }
}

fn ceiling<T: PartialOrd + fmt::Display>(
    clause: crate::ClauseId,
    asked: Option<T>,
    ceiling: Option<T>,
) -> Result<(), PermitError> {
    match (asked, ceiling) {
        (_, None) => Ok(()),
        (None, Some(ceiling)) => Err(PermitError::Unlimited {
            clause,
            ceiling: ceiling.to_string(),
        }),
        (Some(asked), Some(ceiling)) if asked > ceiling => Err(PermitError::Ceiling {
            clause,
            asked: asked.to_string(),
            ceiling: ceiling.to_string(),
        }),
        _ => Ok(()),
    }
}
