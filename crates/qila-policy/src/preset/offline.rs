//! `offline`, ready made. It is the smallest policy and the one with which start-up is compared; reading YAML would touch
//! some thirty cold pages of code before anything else happens. A test holds it to presets/offline.yaml.
use crate::model::{
    Base, DiskLimit, Environment, Filesystem, MemoryLimit, Network, NetworkRates, Policy, PolicyPath,
    Resources, SyscallBase, Syscalls, Traces, WorkspaceMode,
};
use qila_types::{Bytes, Cpus, Millis};
use std::collections::BTreeMap;

pub(super) fn policy() -> Policy {
    let hide = ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"];
    Policy {
        isolation: None,
        resources: Resources {
            cpu: Some(Cpus(2_000)),
            memory: Some(MemoryLimit {
                bytes: Bytes(2 << 30),
                hard: false,
            }),
            processes: Some(512),
            open_files: Some(4096),
            disk: Some(DiskLimit {
                bytes: Bytes(4 << 30),
                hard: false,
            }),
            disk_read: None,
            disk_write: None,
            wall_time: Some(Millis(3_600_000)),
            output: Some(Bytes(100 << 20)),
        },
        filesystem: Filesystem {
            base: Base::Host,
            workspace: WorkspaceMode::Layer,
            read: Vec::new(),
            write: Vec::new(),
            hide: hide.into_iter().map(|p| PolicyPath(p.to_owned())).collect(),
        },
        network: Network {
            allow: Vec::new(),
            rates: NetworkRates::default(),
            loopback: true,
            unix_sockets: None,
        },
        credentials: Vec::new(),
        budgets: Vec::new(),
        traces: Traces::default(),
        syscalls: Syscalls {
            base: SyscallBase::Default,
            allow: Vec::new(),
            deny: Vec::new(),
        },
        environment: Environment {
            pass: ["LANG", "LC_*", "TERM"].into_iter().map(str::to_owned).collect(),
            set: BTreeMap::new(),
        },
    }
}
