//! Authority as a value: nothing runs on a [`Policy`], only on a [`Permit`].
use crate::model::{HostPattern, Policy};
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
        Ok(Permit { policy })
    }

    /// The policy as permitted.
    pub fn policy(&self) -> &Policy {
        &self.policy
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
