//! Starting the agent: every restriction is put on between fork and exec, in the order that each needs.
use alloc::ffi::CString;
use alloc::vec::Vec;
use qila_sys::fork::{self, exit_now};
use qila_sys::landlock::{Ruleset, fs as right};
use qila_sys::seccomp::Instruction;
use qila_sys::{caps, exec, seccomp, signal};
use qila_wire::{Landlock, Limit, LimitKind, Reach};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};

/// How long one turn of waiting for a program to be started takes, and how many there may be: 5 s.
const TURN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};
const TURNS: u32 = 50;

/// The agent's first process.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Its process id, which is also that of its session and process group.
    pub pid: Pid,
}

/// A program, and all that is put around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    /// Command and arguments.
    pub argv: &'a [Vec<u8>],
    /// Environment, as `NAME=value`.
    pub env: &'a [Vec<u8>],
    /// Working directory.
    pub cwd: &'a [u8],
    /// Resource limits.
    pub limits: &'a [Limit],
    /// Processors; empty means any.
    pub cpus: &'a [u32],
    /// Landlock rules, where the guest is not under them itself.
    pub landlock: Option<&'a Landlock>,
    /// Seccomp filter.
    pub filter: &'a [u8],
    /// Whether it is an engine: it keeps capabilities, and of the Landlock rules only those for ports are put on it.
    pub engine: bool,
    /// Whether there is no capability to give up: nothing is asked of a kernel that may not know how.
    pub bare: bool,
}

/// Forks and execs. `terminal` is the agent's end of its terminal, if it has one; `streams` are its standard streams, if they are
/// not the guest's own.
///
/// An error is the agent's own: its program could not be started.
pub(crate) fn start(
    start: &Around<'_>,
    terminal: Option<&OwnedFd>,
    streams: Option<[BorrowedFd<'_>; 3]>,
) -> Result<Agent, Errno> {
    let (told, teller) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match fork::plain()? {
        None => {
            let errno = become_agent(start, terminal, streams);
            let _ = rustix::io::write(&teller, &errno.raw_os_error().to_ne_bytes());
            exit_now(127)
        }
        Some(pid) => {
            drop(teller);
            until_told(pid, &told)?;
            let mut raw = [0u8; 4];
            // The pipe closes without a word when exec succeeds.
            match rustix::io::retry_on_intr(|| rustix::io::read(&told, &mut raw)) {
                Ok(4) => Err(Errno::from_raw_os_error(i32::from_ne_bytes(raw))),
                Ok(_) => Ok(Agent { pid }),
                Err(e) => Err(e),
            }
        }
    }
}

/// Becomes the agent, in the session and with the streams that there are. Returns only on failure.
pub(crate) fn replace(start: &Around<'_>) -> Errno {
    match restricted(start) {
        Ok((argv, env)) => run_program(start, &argv, &env),
        Err(e) => e,
    }
}

/// Until a child has become its program, or says why not. Until then a program of its sandbox may stop it, which nobody may wait
/// for: it is woken, and ended if that is of no use.
fn until_told(child: Pid, told: &OwnedFd) -> Result<(), Errno> {
    for _ in 0..TURNS {
        match poll(&mut [PollFd::new(told, PollFlags::IN)], Some(&TURN)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(e) => return Err(e),
        }
        kill_process(child, Signal::CONT)?; // it is not reaped before this ends
    }
    kill_process(child, Signal::KILL)?;
    Err(Errno::AGAIN)
}

type Streams<'a> = Option<[BorrowedFd<'a>; 3]>;

fn become_agent(start: &Around<'_>, terminal: Option<&OwnedFd>, streams: Streams<'_>) -> Errno {
    match prepare(start, terminal, streams) {
        Ok((argv, env)) => run_program(start, &argv, &env),
        Err(e) => e,
    }
}

type Strings = Vec<CString>;

fn prepare(
    start: &Around<'_>,
    terminal: Option<&OwnedFd>,
    streams: Streams<'_>,
) -> Result<(Strings, Strings), Errno> {
    rustix::process::setsid()?;
    if let Some([input, output, error]) = streams {
        rustix::stdio::dup2_stdin(input)?;
        rustix::stdio::dup2_stdout(output)?;
        rustix::stdio::dup2_stderr(error)?;
    }
    if let Some(terminal) = terminal {
        rustix::process::ioctl_tiocsctty(terminal)?;
        rustix::stdio::dup2_stdin(terminal)?;
        rustix::stdio::dup2_stdout(terminal)?;
        rustix::stdio::dup2_stderr(terminal)?;
    }
    restricted(start)
}

/// Puts on all that is put around a program.
fn restricted(start: &Around<'_>) -> Result<(Strings, Strings), Errno> {
    let argv = strings(start.argv)?;
    let env = strings(start.env)?;
    let cwd = CString::new(start.cwd.to_vec()).map_err(|_| Errno::INVAL)?;
    rustix::process::chdir(cwd.as_c_str())?;
    for limit in start.limits {
        apply(*limit)?;
    }
    if !start.cpus.is_empty() {
        let mut set = rustix::thread::CpuSet::new();
        for cpu in start.cpus {
            set.set(usize::try_from(*cpu).unwrap_or(usize::MAX).min(1023));
        }
        rustix::thread::sched_setaffinity(None, &set)?;
    }
    if !start.engine && !start.bare {
        caps::drop_all().or_else(already_dropped)?;
    }
    caps::no_new_privs()?;
    match start.landlock {
        Some(rules) if start.engine => close_ports(rules)?,
        Some(rules) => confine(rules)?,
        None => {}
    }
    signal::reset_all()?;
    exec::cloexec_from(3)?;
    seccomp::load(&instructions(start.filter))?;
    Ok((argv, env))
}

/// The launcher's child gave up every capability before the guest was started, with the securebits locked: doing so again
/// may be refused, and says that there is nothing left to give up.
fn already_dropped(error: Errno) -> Result<(), Errno> {
    if error == Errno::PERM { Ok(()) } else { Err(error) }
}

fn strings(list: &[Vec<u8>]) -> Result<Strings, Errno> {
    list.iter()
        .map(|s| CString::new(s.clone()).map_err(|_| Errno::INVAL))
        .collect()
}

fn apply(limit: Limit) -> Result<(), Errno> {
    let resource = match limit.what {
        LimitKind::OpenFiles => Resource::Nofile,
        LimitKind::Processes => Resource::Nproc,
        LimitKind::FileSize => Resource::Fsize,
        LimitKind::AddressSpace => Resource::As,
        LimitKind::Data => Resource::Data,
        LimitKind::Core => Resource::Core,
    };
    // A limit that the caller is already under stays.
    let ceiling = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let value = Some(limit.value.min(ceiling));
    setrlimit(
        resource,
        Rlimit {
            current: value,
            maximum: value,
        },
    )
}

/// Puts Landlock rules on the calling process, for good.
pub(crate) fn confine(rules: &Landlock) -> Result<(), Errno> {
    if rules.abi == 0 {
        return Ok(()); // the operator chose to go without; the plan says so
    }
    let set = Ruleset::new(rules.abi, rules.connect.is_some())?;
    for (path, reach) in &rules.paths {
        let path = CString::new(path.clone()).map_err(|_| Errno::INVAL)?;
        let fd = open(path.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let directory = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode).is_dir();
        let mut rights = match reach {
            Reach::List => right::READ_DIR,
            Reach::Read => right::READ_FILE | right::READ_DIR | right::EXECUTE,
            Reach::Write => {
                right::all(rules.abi) & !(right::MAKE_CHAR | right::MAKE_BLOCK | right::IOCTL_DEV)
            }
            Reach::Device => {
                right::READ_FILE | right::WRITE_FILE | right::READ_DIR | right::TRUNCATE | right::IOCTL_DEV
            }
        };
        if !directory {
            rights &= right::FILE;
        }
        set.allow_path(fd.as_fd(), rights)?;
    }
    for port in rules.connect.iter().flatten() {
        set.allow_connect(*port)?;
    }
    set.restrict_self()
}

/// Puts the rules for ports on the calling process, for good, and no others.
fn close_ports(rules: &Landlock) -> Result<(), Errno> {
    let Some(ports) = &rules.connect else {
        return Ok(());
    };
    let set = Ruleset::ports(rules.abi)?;
    for port in ports {
        set.allow_connect(*port)?;
    }
    set.restrict_self()
}

fn instructions(filter: &[u8]) -> Vec<Instruction> {
    filter
        .chunks_exact(8)
        .filter_map(|c| {
            let [a, b, jt, jf, k0, k1, k2, k3] = *<&[u8; 8]>::try_from(c).ok()?;
            Some(Instruction {
                code: u16::from_ne_bytes([a, b]),
                jt,
                jf,
                k: u32::from_ne_bytes([k0, k1, k2, k3]),
            })
        })
        .collect()
}

/// Looks the program up as a shell does and becomes it.
fn run_program(start: &Around<'_>, argv: &[CString], env: &[CString]) -> Errno {
    let Some(name) = start.argv.first() else {
        return Errno::NOENT;
    };
    if name.is_empty() {
        return Errno::NOENT;
    }
    if name.contains(&b'/') {
        return CString::new(name.clone()).map_or(Errno::INVAL, |p| exec::exec_path(&p, argv, env));
    }
    let path = start
        .env
        .iter()
        .find_map(|e| e.strip_prefix(b"PATH="))
        .unwrap_or(b"/usr/bin:/bin");
    let mut worst = Errno::NOENT;
    for dir in path.split(|b| *b == b':') {
        let dir = if dir.is_empty() { b"." } else { dir };
        let candidate = [dir, b"/", name].concat();
        let Ok(candidate) = CString::new(candidate) else {
            continue;
        };
        match exec::exec_path(&candidate, argv, env) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => worst = Errno::ACCESS,
            other => return other,
        }
    }
    worst
}
