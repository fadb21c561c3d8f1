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
    /// Unix sockets that can be given an address may be made; without this only connected pairs may.
    pub allow_unix: bool,
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
    /// Where the flags say that a file is made, its mode must not be set-uid or set-gid.
    Creation {
        /// Number of the argument that holds the flags of `open`.
        flags: u8,
        /// Number of the argument that holds the mode.
        mode: u8,
    },
    /// `socketpair` where no unix socket may reach a name: the two ends of a stream stay each other's, those of datagrams do not.
    PairedStream,
    /// `socket`: family, type and protocol.
    Socket {
        /// Whether internet families are allowed.
        inet: bool,
        /// Whether unix sockets are allowed.
        unix: bool,
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
/// `O_CREAT` and the bit of `O_TMPFILE` of its own: the flags with which `open` looks at its mode.
pub(crate) const CREATING: u32 = 0x40_0040;
/// Set-uid and set-gid.
pub(crate) const SET_ID: u32 = 0o6000;
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
                unix: flags.allow_unix,
            }),
        );
        if !flags.allow_unix {
            actions.insert(table::SOCKETPAIR, Action::Check(Check::PairedStream));
        }
        for (number, _, _) in table::NEVER {
            actions.insert(*number, Action::Errno(EPERM));
        }
        // Their arguments lie in memory, where they can change after a look: flags, and the mode of a new file. Callers fall
        // back to `clone` and `openat`.
        actions.insert(table::CLONE3, Action::Errno(ENOSYS));
        actions.insert(table::OPENAT2, Action::Errno(ENOSYS));
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
            if matches!(number, table::CLONE3 | table::OPENAT2) {
                return Err(Error::Never(
                    name.clone(),
                    "no filter can look at its arguments, which lie in memory",
                ));
            }
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

    /// The filter of an engine: a program of the host that makes a sandbox for the agent inside ours, and is trusted no further
    /// than that takes.
    pub fn for_engine() -> Spec {
        let plain = table::ALLOWED.iter().map(|(number, _)| *number);
        let checked = table::CHECKED.iter().map(|(number, ..)| *number);
        let more = [table::SOCKET, table::SOCKETPAIR, table::CLONE3, table::OPENAT2];
        let mut actions: BTreeMap<u32, Action> = plain
            .chain(checked)
            .chain(more)
            .chain(table::ENGINE.iter().map(|(number, _)| *number))
            .map(|number| (number, Action::Allow))
            .collect();
        for (number, ..) in table::NEVER {
            actions.entry(*number).or_insert(Action::Errno(EPERM));
        }
        Spec { actions }
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
            Check::Creation { flags, mode } => at(*flags) & CREATING == 0 || at(*mode) & SET_ID == 0,
            Check::PairedStream => at(0) == 1 && matches!(at(1) & 0xf, 1 | 5),
            Check::Socket { inet, unix } => match at(0) {
                1 => *unix,
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
        allow_unix: true,
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
    fn no_call_makes_a_set_uid_file() {
        let s = spec(&[], &[], PLAIN).unwrap();
        let (creat, tmpfile) = (0o101, 0x41_0002);
        for bits in [0o4755, 0o2755, 0o6000] {
            for flags in [creat, tmpfile] {
                let made = s.decide(number("openat"), [0, 0, flags, bits, 0, 0]);
                assert_eq!(made, Action::Errno(EPERM), "{flags:o} {bits:o}");
            }
            // Without them the mode is whatever the register holds.
            assert_eq!(s.decide(number("openat"), [0, 0, 2, bits, 0, 0]), Action::Allow);
            let node = s.decide(number("mknodat"), [0, 0, 0o100_000 | bits, 0, 0, 0]);
            assert_eq!(node, Action::Errno(EPERM), "mknodat {bits:o}");
        }
        for (flags, mode) in [(creat, 0o1777), (tmpfile, 0o600)] {
            assert_eq!(
                s.decide(number("openat"), [0, 0, flags, mode, 0, 0]),
                Action::Allow
            );
        }
        assert_eq!(
            s.decide(number("mknodat"), [0, 0, 0o100_644, 0, 0, 0]),
            Action::Allow
        );
        assert_eq!(s.decide(number("openat2"), [0; 6]), Action::Errno(ENOSYS));
        assert!(matches!(spec(&["openat2"], &[], PLAIN), Err(Error::Never(..))));
        if cfg!(target_arch = "x86_64") {
            let made = s.decide(number("open"), [0, creat, 0o4755, 0, 0, 0]);
            assert_eq!(made, Action::Errno(EPERM));
            assert_eq!(s.decide(number("open"), [0, 0, 0o4755, 0, 0, 0]), Action::Allow);
            let made = s.decide(number("creat"), [0, 0o4755, 0, 0, 0, 0]);
            assert_eq!(made, Action::Errno(EPERM));
        }
    }

    #[test]
    fn flags_and_deny_take_away() {
        let flags = Flags {
            deny_sysv_ipc: true,
            deny_memory_files: true,
            deny_setaffinity: true,
            allow_inet: false,
            allow_unix: false,
        };
        let s = spec(&[], &["getcwd"], flags).unwrap();
        for name in ["memfd_create", "shmget", "mq_open", "sched_setaffinity", "getcwd"] {
            assert_eq!(s.decide(number(name), [0; 6]), Action::Errno(EPERM), "{name}");
        }
        assert_eq!(s.decide(table::SOCKET, [2, 1, 0, 0, 0, 0]), Action::Errno(EPERM));
        assert!(spec(&["shmget"], &[], flags).is_err());
        assert_eq!(s.decide(table::SOCKET, [1, 1, 0, 0, 0, 0]), Action::Errno(EPERM));
        // An end of a datagram pair can be sent from to any name; an end of a stream cannot be connected again.
        for (kind, want) in [(1, Action::Allow), (5, Action::Allow), (2, Action::Errno(EPERM))] {
            let pair = s.decide(table::SOCKETPAIR, [1, kind | 0x80000, 0, 0, 0, 0]);
            assert_eq!(pair, want, "{kind}");
        }
    }

    #[test]
    fn the_program_agrees_with_the_data() {
        let arch = Arch::native().unwrap();
        for spec in [
            spec(&[], &[], PLAIN).unwrap(),
            spec(&[], &["read"], PLAIN).unwrap(),
            spec(
                &[],
                &[],
                Flags {
                    allow_unix: false,
                    ..PLAIN
                },
            )
            .unwrap(),
        ] {
            let program = compile(&spec, arch).unwrap();
            assert!(program.len() < 1500, "{}", program.len());
            let words = [
                0u32,
                1,
                2,
                3,
                5,
                10,
                16,
                17,
                38,
                40,
                0x5412,
                0x541C,
                0x1000_0000,
                0x40,
                0x40_0000,
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
