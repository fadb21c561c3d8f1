//! The gateway's own walls: it reads what agents and upstreams send.
use qila_policy::model::{SyscallBase, Syscalls};
use qila_sys::landlock::{Ruleset, abi, fs};
use qila_sys::{caps, seccomp};
use rustix::fd::AsFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a resolver and a verifier of certificates read.
const READABLE: [&str; 10] = [
    // Where a C library is linked in, some crates find no getrandom and open these instead.
    "/dev/urandom",
    "/dev/random",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/run/systemd/resolve",
];

/// Never needed again by a process that only moves bytes between sockets.
const NEVER: [&str; 8] = [
    "execve", "execveat", "clone", "kill", "setsid", "mknodat", "fchmodat", "listen",
];

/// Descriptors that one connection may need: both sockets, and two pipes to splice through.
pub(crate) const PER_CONNECTION: u64 = 6;

/// Puts the walls up for good: no capability, no file but what is listed, no other program.
pub(crate) fn confine() -> Result<(), Errno> {
    // It never execs again: the filter below sees to that.
    caps::clear()?;
    caps::no_new_privs()?;
    let abi = abi();
    // A host without Landlock was refused by the plan already, unless its operator chose to go without.
    if abi > 0 {
        let rules = Ruleset::new(abi, false)?;
        let extra = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
        let paths = READABLE.iter().map(std::path::PathBuf::from);
        for path in paths.chain(extra.into_iter().flatten().map(Into::into)) {
            let Ok(fd) = openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) else {
                continue; // nothing there, nothing to allow
            };
            let directory = rustix::fs::fstat(&fd).is_ok_and(|s| s.st_mode & 0o170_000 == 0o040_000);
            let rights = if directory {
                fs::READ_FILE | fs::READ_DIR
            } else {
                fs::READ_FILE
            };
            rules.allow_path(fd.as_fd(), rights)?;
        }
        rules.restrict_self()?;
    }
    let list = Syscalls {
        base: SyscallBase::Default,
        allow: Vec::new(),
        deny: NEVER.iter().map(|s| (*s).to_owned()).collect(),
    };
    let flags = qila_seccomp::Flags {
        deny_sysv_ipc: true,
        deny_memory_files: true,
        deny_setaffinity: true,
        allow_inet: true,
        allow_unix: false,
    };
    let spec = qila_seccomp::Spec::from_policy(&list, flags).map_err(|_| Errno::INVAL)?;
    let arch = qila_seccomp::Arch::native().ok_or(Errno::NOSYS)?;
    let filter = qila_seccomp::compile(&spec, arch).map_err(|_| Errno::INVAL)?;
    let program: Vec<seccomp::Instruction> = filter
        .iter()
        .map(|i| seccomp::Instruction {
            code: i.code,
            jt: i.jt,
            jf: i.jf,
            k: i.k,
        })
        .collect();
    seccomp::load(&program)
}

/// Raises the bound on descriptors as far as may be. Answers how many connections that leaves room for.
pub(crate) fn connections(most: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(most)
        .unwrap_or(u64::MAX)
        .saturating_mul(PER_CONNECTION)
        + 64;
    let ceiling = limit.maximum.unwrap_or(u64::MAX);
    limit.current = Some(limit.current.unwrap_or(u64::MAX).max(wanted.min(ceiling)));
    let _ = setrlimit(Resource::Nofile, limit);
    let have = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = have.saturating_sub(64) / PER_CONNECTION;
    usize::try_from(room).unwrap_or(most).clamp(8, most)
}

/// No core file may ever hold a value.
pub(crate) fn no_core() -> Result<(), Errno> {
    caps::not_dumpable()?;
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )
}
