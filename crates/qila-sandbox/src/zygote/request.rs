//! What a zygote is asked: to put a copy of itself into a sandbox, under everything that a program started there is under.
use super::cage::UNSCOPED;
use qila_plan::{Namespace, Walls};
use qila_sys::landlock::fs as right;
use qila_wire::served::{Cage, Exec};
use qila_wire::{Landlock, Limit, LimitKind, Reach};
use serde::Serialize;
use std::str::Utf8Error;

/// Largest request in bytes: a zygote reads no more.
pub const MAX_REQUEST: usize = 160 * 1024;

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// A text of it is not UTF-8, in which requests are written.
    #[error("{0} is not UTF-8: {1}")]
    NotText(&'static str, Utf8Error),
    /// It is too long.
    #[error("it has {0} bytes, over the limit of {MAX_REQUEST}")]
    TooLarge(usize),
    /// It cannot be written.
    #[error("writing it: {0}")]
    Unwritable(#[from] serde_json::Error),
    /// Forks have no terminal.
    #[error("a fork of a zygote has pipes, no terminal")]
    Terminal,
}

/// A request, as it is written: JSON in one packet, with descriptors: the sandbox's first process; standard input, output and error;
/// the door to its guest; and those doors of cgroups (see [`crate::doors`]) that `doors` counts.
#[derive(Debug, Serialize)]
pub struct Request<'a> {
    version: u32,
    /// Namespaces to enter, as `setns` takes them.
    namespaces: u32,
    doors: usize,
    /// Number of the resource and its value.
    limits: Vec<(u32, u64)>,
    cpus: &'a [u32],
    landlock: Option<Rules<'a>>,
    /// Seccomp filter, in hexadecimal.
    filter: String,
    argv: Vec<&'a str>,
    env: Vec<&'a str>,
    cwd: &'a str,
}

/// Landlock rules in the kernel's numbers.
#[derive(Debug, Serialize)]
struct Rules<'a> {
    abi: u32,
    /// Rights on files that are handled, and on ports.
    files: u64,
    ports: u64,
    /// A path, rights on it if it is a directory, and if it is not.
    paths: Vec<(&'a str, u64, u64)>,
    connect: &'a [u16],
}

impl<'a> Request<'a> {
    /// For a sandbox of these walls, whose guest was told of this cage (see [`one_wall`](super::one_wall)).
    pub fn new(walls: &Walls, cage: &'a Cage, exec: &'a Exec) -> Result<Request<'a>, RequestError> {
        if exec.terminal.is_some() {
            return Err(RequestError::Terminal);
        }
        let texts = |what, list: &'a [Vec<u8>]| list.iter().map(|t| text(what, t)).collect::<Result<_, _>>();
        Ok(Request {
            version: 1,
            namespaces: walls.namespaces().iter().fold(0, |all, n| all | flag(*n)),
            doors: walls.cgroup().join.len(),
            limits: cage.limits.iter().map(number).collect(),
            cpus: &cage.cpus,
            landlock: rules(&cage.landlock)?,
            filter: cage.filter.iter().map(|b| format!("{b:02x}")).collect(),
            argv: texts("an argument", &exec.argv)?,
            env: texts("a variable", &exec.env)?,
            cwd: text("the working directory", &exec.cwd)?,
        })
    }

    /// As it is sent.
    pub fn packet(&self) -> Result<Vec<u8>, RequestError> {
        let bytes = serde_json::to_vec(self)?;
        match bytes.len() {
            0..=MAX_REQUEST => Ok(bytes),
            n => Err(RequestError::TooLarge(n)),
        }
    }
}

fn text<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, RequestError> {
    std::str::from_utf8(bytes).map_err(|e| RequestError::NotText(what, e))
}

/// `CLONE_NEW*`.
fn flag(namespace: Namespace) -> u32 {
    match namespace {
        Namespace::User => 0x1000_0000,
        Namespace::Mount => 0x0002_0000,
        Namespace::Pid => 0x2000_0000,
        Namespace::Net => 0x4000_0000,
        Namespace::Ipc => 0x0800_0000,
        Namespace::Uts => 0x0400_0000,
        Namespace::Cgroup => 0x0200_0000,
    }
}

/// `RLIMIT_*`.
fn number(limit: &Limit) -> (u32, u64) {
    let what = match limit.what {
        LimitKind::FileSize => 1,
        LimitKind::Data => 2,
        LimitKind::Core => 4,
        LimitKind::Processes => 6,
        LimitKind::OpenFiles => 7,
        LimitKind::AddressSpace => 9,
    };
    (what, limit.value)
}

fn rules(landlock: &Landlock) -> Result<Option<Rules<'_>>, RequestError> {
    if landlock.abi == 0 {
        return Ok(None); // the operator chose to go without; the plan says so
    }
    let abi = landlock.abi.min(UNSCOPED);
    // The same as the guest gives itself.
    let rights = |reach: &Reach| match reach {
        Reach::List => right::READ_DIR,
        Reach::Read => right::READ_FILE | right::READ_DIR | right::EXECUTE,
        Reach::Write => right::all(abi) & !(right::MAKE_CHAR | right::MAKE_BLOCK | right::IOCTL_DEV),
        Reach::Device => {
            right::READ_FILE | right::WRITE_FILE | right::READ_DIR | right::TRUNCATE | right::IOCTL_DEV
        }
    };
    let mut paths = Vec::with_capacity(landlock.paths.len());
    for (path, reach) in &landlock.paths {
        let rights = rights(reach) & right::all(abi);
        paths.push((text("a path", path)?, rights, rights & right::FILE));
    }
    Ok(Some(Rules {
        abi,
        files: right::all(abi),
        ports: if landlock.connect.is_some() && abi >= 4 {
            3
        } else {
            0
        },
        paths,
        connect: landlock.connect.as_deref().unwrap_or(&[]),
    }))
}
