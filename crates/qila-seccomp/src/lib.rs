//! Seccomp filters as data: an allow-list by name, a few checked arguments, and a small compiler to classic BPF; pure.
#![forbid(unsafe_code)]

mod bpf;
mod table;

pub use bpf::{Insn, compile};

use qila_policy::model::{SyscallBase, Syscalls};
use std::collections::BTreeMap;

/// A processor that there is a table for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arch {
    /// `AUDIT_ARCH_*` as the kernel reports it to a filter.
    pub audit: u32,
}

impl Arch {
    /// The processor that this program was built for, if there is a table for it.
    pub fn native() -> Option<Arch> {
        if cfg!(target_arch = "x86_64") {
            Some(Arch { audit: 0xC000_003E })
        } else if cfg!(target_arch = "aarch64") {
            Some(Arch { audit: 0xC000_00B7 })
        } else {
            None
        }
    }
}

/// What a tier needs beyond the policy.
#[derive(Debug, Clone, Copy)]
pub struct Flags {
    /// The tier shares System V IPC and message queues with the host.
    pub deny_sysv_ipc: bool,
    /// Memory is accounted by sampling, which sees no file in memory that is not on a mount.
    pub deny_memory_files: bool,
    /// Processor affinity is what bounds the processors.
    pub deny_setaffinity: bool,
    /// Internet sockets may be made; the network lock decides what they reach.
    pub allow_inet: bool,
}

/// What happens on one system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    Allow,
    /// It fails with this error number.
    Errno(u16),
    /// Its arguments decide.
    Check(Check),
}

/// Which arguments decide, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Argument `arg` must have none of the bits.
    NoBits {
        /// Number of the argument.
        arg: u8,
        /// Bits refused.
        bits: u32,
    },
    /// Argument `arg`, masked, must be one of the values.
    OneOf {
        /// Number of the argument.
        arg: u8,
        /// Bits looked at.
        mask: u32,
        /// Values allowed.
        values: &'static [u32],
    },
    /// Argument `arg` must be none of the values.
    NoneOf {
        /// Number of the argument.
        arg: u8,
        /// Values refused.
        values: &'static [u32],
    },
    /// `socket`: family, type and protocol.
    Socket {
        /// Whether internet families are allowed.
        inet: bool,
    },
}

/// Why there is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The policy names a call that does not exist.
    #[error("there is no system call `{0}` in the list for this processor")]
    Unknown(String),
    /// The policy allows a call that leads out of the sandbox.
    #[error("`{0}` cannot be allowed: {1}")]
    Never(String, &'static str),
    /// The program would be longer than the kernel takes.
    #[error("the filter has {0} instructions, over the kernel's limit of 4096")]
    TooLong(usize),
}

/// A filter as data: what happens on each call that is not simply unknown (`ENOSYS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub(crate) actions: BTreeMap<u32, Action>,
}

/// `EPERM`.
pub(crate) const EPERM: u16 = 1;
/// `ENOSYS`.
pub(crate) const ENOSYS: u16 = 38;

impl Spec {
    /// The filter of a policy.
    pub fn from_policy(policy: &Syscalls, flags: Flags) -> Result<Spec, Error> {
        let mut actions = BTreeMap::new();
        for (number, _) in table::ALLOWED {
            actions.insert(*number, Action::Allow);
        }
        for (number, _, check, _) in table::CHECKED {
            actions.insert(*number, Action::Check(*check));
        }
        actions.insert(
            table::SOCKET,
            Action::Check(Check::Socket {
                inet: flags.allow_inet,
            }),
        );
        for (number, _, _) in table::NEVER {
            actions.insert(*number, Action::Errno(EPERM));
        }
        // Its flags lie in memory, where they can change after a look; libc falls back to `clone`.
        actions.insert(table::CLONE3, Action::Errno(ENOSYS));
        let mut deny = |list: &[u32]| {
            for number in list {
                actions.insert(*number, Action::Errno(EPERM));
            }
        };
        if policy.base == SyscallBase::Strict {
            deny(table::NOT_STRICT);
            deny(table::SYSV_IPC);
        }
        if flags.deny_sysv_ipc {
            deny(table::SYSV_IPC);
        }
        if flags.deny_setaffinity {
            deny(table::AFFINITY);
        }
        if flags.deny_memory_files {
            deny(table::MEMORY_FILES);
            deny(table::SYSV_IPC);
        }
        for name in &policy.allow {
            if let Some((_, _, why)) = table::NEVER.iter().find(|(_, n, _)| n == name) {
                return Err(Error::Never(name.clone(), why));
            }
            let number = table::number(name).ok_or_else(|| Error::Unknown(name.clone()))?;
            let sysv = flags.deny_sysv_ipc || flags.deny_memory_files;
            let memory = flags.deny_memory_files && table::MEMORY_FILES.contains(&number);
            let withheld = memory || (sysv && table::SYSV_IPC.contains(&number));
            let bound = flags.deny_setaffinity && table::AFFINITY.contains(&number);
            if withheld || bound {
                return Err(Error::Never(
                    name.clone(),
                    "the tier enforces another clause by denying it",
                ));
            }
            if table::ALLOWED.iter().any(|(n, _)| *n == number) {
                actions.insert(number, Action::Allow);
            }
        }
        for name in &policy.deny {
            let number = table::number(name).ok_or_else(|| Error::Unknown(name.clone()))?;
            actions.insert(number, Action::Errno(EPERM));
        }
        Ok(Spec { actions })
    }

    /// What happens on a call, given the low words of its arguments.
    pub fn decide(&self, number: u32, args: [u32; 6]) -> Action {
        match self.actions.get(&number) {
            None => Action::Errno(ENOSYS),
            Some(Action::Check(check)) => {
                if check.passes(args) {
                    Action::Allow
                } else {
                    Action::Errno(EPERM)
                }
            }
            Some(other) => *other,
        }
    }
}

impl Check {
    fn passes(&self, args: [u32; 6]) -> bool {
        let at = |i: u8| args.get(usize::from(i)).copied().unwrap_or(0);
        match self {
            Check::NoBits { arg, bits } => at(*arg) & bits == 0,
            Check::OneOf { arg, mask, values } => values.contains(&(at(*arg) & mask)),
            Check::NoneOf { arg, values } => !values.contains(&at(*arg)),
            Check::Socket { inet } => match at(0) {
                1 => true,
                2 | 10 => *inet && matches!(at(1) & 0xf, 1 | 2),
                16 => at(2) == 0,
                _ => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Flags = Flags {
        deny_sysv_ipc: false,
        deny_memory_files: false,
        deny_setaffinity: false,
        allow_inet: true,
    };

    fn spec(allow: &[&str], deny: &[&str], flags: Flags) -> Result<Spec, Error> {
        let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect();
        Spec::from_policy(
            &Syscalls {
                base: SyscallBase::Default,
                allow: list(allow),
                deny: list(deny),
            },
            flags,
        )
    }

    fn number(name: &str) -> u32 {
        table::number(name).unwrap()
    }

    #[test]
    fn what_leads_out_is_denied_and_cannot_be_allowed() {
        let default = spec(&[], &[], PLAIN).unwrap();
        for (n, name, _) in table::NEVER {
            assert_eq!(default.decide(*n, [0; 6]), Action::Errno(EPERM), "{name}");
            assert!(
                matches!(spec(&[name], &[], PLAIN), Err(Error::Never(..))),
                "{name}"
            );
        }
        assert!(matches!(
            spec(&["no_such_call"], &[], PLAIN),
            Err(Error::Unknown(_))
        ));
        assert_eq!(default.decide(9_999, [0; 6]), Action::Errno(ENOSYS));
    }

    #[test]
    fn arguments_decide_where_they_must() {
        let s = spec(&[], &[], PLAIN).unwrap();
        let newuser = 0x1000_0000;
        assert_eq!(
            s.decide(number("clone"), [newuser, 0, 0, 0, 0, 0]),
            Action::Errno(EPERM)
        );
        assert_eq!(s.decide(number("clone"), [17, 0, 0, 0, 0, 0]), Action::Allow);
        let ioctl = number("ioctl");
        assert_eq!(
            s.decide(ioctl, [0, 0x5412, 0, 0, 0, 0]),
            Action::Errno(EPERM),
            "TIOCSTI"
        );
        assert_eq!(s.decide(ioctl, [0, 0x5401, 0, 0, 0, 0]), Action::Allow);
        let socket = table::SOCKET;
        assert_eq!(s.decide(socket, [2, 1 | 0x80000, 6, 0, 0, 0]), Action::Allow);
        assert_eq!(s.decide(socket, [2, 3, 1, 0, 0, 0]), Action::Errno(EPERM), "raw");
        assert_eq!(
            s.decide(socket, [17, 3, 0, 0, 0, 0]),
            Action::Errno(EPERM),
            "packet"
        );
        assert_eq!(
            s.decide(socket, [40, 1, 0, 0, 0, 0]),
            Action::Errno(EPERM),
            "vsock"
        );
        assert_eq!(
            s.decide(socket, [16, 3, 12, 0, 0, 0]),
            Action::Errno(EPERM),
            "netfilter"
        );
        assert_eq!(
            s.decide(number("fchmodat"), [0, 0, 0o4755, 0, 0, 0]),
            Action::Errno(EPERM),
            "set-uid"
        );
    }

    #[test]
    fn flags_and_deny_take_away() {
        let flags = Flags {
            deny_sysv_ipc: true,
            deny_memory_files: true,
            deny_setaffinity: true,
            allow_inet: false,
        };
        let s = spec(&[], &["getcwd"], flags).unwrap();
        for name in ["memfd_create", "shmget", "mq_open", "sched_setaffinity", "getcwd"] {
            assert_eq!(s.decide(number(name), [0; 6]), Action::Errno(EPERM), "{name}");
        }
        assert_eq!(s.decide(table::SOCKET, [2, 1, 0, 0, 0, 0]), Action::Errno(EPERM));
        assert!(spec(&["shmget"], &[], flags).is_err());
    }

    #[test]
    fn the_program_agrees_with_the_data() {
        let arch = Arch::native().unwrap();
        for spec in [
            spec(&[], &[], PLAIN).unwrap(),
            spec(&[], &["read"], PLAIN).unwrap(),
        ] {
            let program = compile(&spec, arch).unwrap();
            assert!(program.len() < 1500, "{}", program.len());
            let words = [
                0u32,
                1,
                2,
                3,
                10,
                16,
                17,
                38,
                40,
                0x5412,
                0x541C,
                0x1000_0000,
                0o4755,
                0o020_000,
                0xffff_ffff,
                8,
            ];
            for number in 0..700u32 {
                for a in words {
                    for b in words {
                        let args = [a, b, a, b, 0, 0];
                        let want = spec.decide(number, args);
                        assert_eq!(
                            bpf::simulate(&program, arch.audit, number, args),
                            want,
                            "{number} {args:x?}"
                        );
                    }
                }
            }
            assert_eq!(
                bpf::simulate_raw(&program, 0x4000_0003, 0, [0; 6]),
                0x8000_0000,
                "another processor is killed"
            );
        }
    }

    #[test]
    fn tables_have_no_call_twice() {
        let mut all: Vec<u32> = table::ALLOWED.iter().map(|(n, _)| *n).collect();
        all.extend(table::CHECKED.iter().map(|(n, _, _, _)| *n));
        all.extend(table::NEVER.iter().map(|(n, _, _)| *n));
        let before = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), before);
    }
}
