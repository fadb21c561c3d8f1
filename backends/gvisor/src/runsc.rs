//! The `runsc` of this host: where it is, and which options it has.
use qila_plan::Engine;
use qila_sandbox::LaunchError;
use rustix::io::Errno;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where it is looked for: not where the caller's `PATH` says, since it is a wall.
const PLACES: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];
/// Another place, for who has several.
const VARIABLE: &str = "QILA_RUNSC";

/// The first that this user may trust.
pub(crate) fn find() -> Option<Engine> {
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    let places = PLACES.iter().map(|dir| Path::new(dir).join("runsc"));
    let all = named.into_iter().chain(places);
    let program = all
        .filter_map(|p| p.canonicalize().ok())
        .find(|p| is_trusted(p))?;
    Some(Engine {
        program: program.to_str()?.to_owned(),
        name: "gVisor's own kernel".into(),
    })
}

/// A program that only root or this user may have put there.
fn is_trusted(path: &Path) -> bool {
    let Ok(meta) = path.metadata() else { return false };
    let own = rustix::process::geteuid().as_raw();
    let mode = meta.permissions().mode();
    path.is_absolute()
        && meta.is_file()
        && mode & 0o111 != 0
        && mode & 0o022 == 0
        && (meta.uid() == 0 || meta.uid() == own)
}

/// Options that not every release has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    /// The platform that needs no ptrace.
    pub systrap: bool,
    /// Writes to the root go to an overlay unless it is switched off.
    pub overlay2: bool,
    /// The kernel opens files by itself unless that is switched off.
    pub directfs: bool,
}

/// What this release can do.
pub(crate) fn options(program: &str) -> Result<Options, LaunchError> {
    let asked = Command::new(program)
        .arg("flags")
        .env_clear()
        .stdin(Stdio::null())
        .output();
    let step = |errno| LaunchError::Step {
        step: format!("asking {program} for its options"),
        errno,
    };
    let said = asked.map_err(|e| step(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
    let text = [said.stdout, said.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    if !text.contains("-platform") || !text.contains("-network") {
        return Err(step(Errno::NOEXEC));
    }
    Ok(Options {
        systrap: text.contains("systrap"),
        overlay2: text.contains("-overlay2"),
        directfs: text.contains("-directfs"),
    })
}
