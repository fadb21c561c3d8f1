//! Images built from a Dockerfile by `buildah`, where it is installed: the one helper program, and never a tenant's to ask for.
//!
//! What a Dockerfile runs is run with the rights of whoever builds (`--isolation chroot` is no wall), so only an operator's own is
//! built. The result is a layout like any other, and trusted no more.
use qila_workspace::remove_tree;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, open};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

/// Longest line that is passed on, in bytes, and lines that an error tells.
const MAX_LINE: u64 = 4096;
const LAST_LINES: usize = 20;
/// Lines that wait to be passed on.
const QUEUE: usize = 256;
const PAUSE: Duration = Duration::from_millis(50);
/// How long is read what was printed before the program ended, which what it left running may add to.
const LAST: Duration = Duration::from_secs(5);
/// Directories that are gone once the image is built.
const OWN: [&str; 4] = ["root", "run", "tmp", "home"];

/// Who is told each line that the build prints; called on the build's own thread.
pub type Lines = Arc<dyn Fn(&str) + Send + Sync>;

/// What is built.
#[derive(Clone)]
pub struct Build {
    /// Directory that `COPY` copies from.
    pub context: PathBuf,
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// The program.
    pub buildah: PathBuf,
    /// Directory for the build's own files and the layout; it must not be there, and is not afterwards if the build fails.
    pub work: PathBuf,
    /// How long it may take.
    pub timeout: Duration,
    /// Who is told what it prints.
    pub lines: Option<Lines>,
}

/// Why no image was built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The program is not there.
    #[error("there is no {}: install the package `buildah`", .0.display())]
    Absent(PathBuf),
    /// It says no.
    #[error("buildah ended with {status}:\n{last}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it printed last.
        last: String,
    },
    /// It took too long.
    #[error("the build was not done within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// Whoever asked for it no longer waits.
    #[error("the build was stopped")]
    Stopped,
    /// A file or a process.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

fn system<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> BuildError {
    let what = what.into();
    move |source| BuildError::System {
        what,
        source: source.into(),
    }
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Builds an image: the directory of a layout that holds it, within `work`, for [`crate::Store::layout`] to read and whoever asked
/// to remove. A build that is dropped is ended.
pub async fn build(build: Build) -> Result<PathBuf, BuildError> {
    let stop = Arc::new(AtomicBool::new(false));
    let guard = StopOnDrop(Arc::clone(&stop));
    let done = tokio::task::spawn_blocking(move || run(&build, &stop)).await;
    drop(guard);
    done.map_err(|e| BuildError::System {
        what: "building".into(),
        source: std::io::Error::other(e.to_string()),
    })?
}

fn run(build: &Build, stop: &AtomicBool) -> Result<PathBuf, BuildError> {
    if !build.buildah.is_file() {
        return Err(BuildError::Absent(build.buildah.clone()));
    }
    // Absolute, so that none is mistaken for an option, and for a name that `buildah` would fetch.
    let real = |path: &Path| std::fs::canonicalize(path).map_err(system(path.display().to_string()));
    let (context, dockerfile) = (real(&build.context)?, real(&build.dockerfile)?);
    let at = build.work.display().to_string();
    mkdirat(CWD, &build.work, Mode::RWXU).map_err(system(at.clone()))?;
    let work = real(&build.work)?;
    let until = Instant::now() + build.timeout;
    let made = || -> Result<PathBuf, BuildError> {
        for name in OWN {
            mkdirat(CWD, work.join(name), Mode::RWXU).map_err(system(at.clone()))?;
        }
        let layout = work.join("layout");
        let mut bud = command(build, &work);
        bud.args([
            "bud",
            "--isolation",
            "chroot",
            "--format",
            "oci",
            "--layers=false",
            "--tag",
            "qila-build",
            "--file",
        ]);
        bud.arg(&dockerfile).arg(&context);
        finish(bud, build, until, stop)?;
        let mut push = command(build, &work);
        push.args(["push", "qila-build"])
            .arg(format!("oci:{}:latest", layout.display()));
        finish(push, build, until, stop)?;
        Ok(layout)
    };
    let made = made();
    let removed = match &made {
        Ok(_) => OWN.iter().try_for_each(|name| remove(&work, name)),
        Err(_) => work
            .parent()
            .zip(work.file_name())
            .map_or(Ok(()), |(above, name)| remove(above, name)),
    };
    made.and_then(|layout| removed.map(|()| layout))
}

fn remove(dir: &Path, name: impl AsRef<OsStr>) -> Result<(), BuildError> {
    let what = format!("removing {}", dir.join(name.as_ref()).display());
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let open = open(dir, flags, Mode::empty()).map_err(system(what.clone()))?;
    let removed = remove_tree(&open, name.as_ref()).map(drop);
    removed.map_err(|e| system(what)(std::io::Error::other(e.to_string())))
}

/// With storage of its own, and an environment of its own: nothing of the caller's is passed on.
fn command(build: &Build, work: &Path) -> Command {
    let mut command = Command::new(&build.buildah);
    command
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", work.join("home"))
        .env("TMPDIR", work.join("tmp"))
        .env("XDG_RUNTIME_DIR", work.join("run"))
        .arg("--root")
        .arg(work.join("root"))
        .arg("--runroot")
        .arg(work.join("run"))
        // The one that needs nothing of the host.
        .args(["--storage-driver", "vfs"])
        .current_dir(work)
        .stdin(Stdio::null());
    command
}

fn finish(mut command: Command, build: &Build, until: Instant, stop: &AtomicBool) -> Result<(), BuildError> {
    let (read, write) = std::io::pipe().map_err(system("making a pipe"))?;
    let other = write.try_clone().map_err(system("making a pipe"))?;
    let spawned = command.stdout(write).stderr(other).process_group(0).spawn();
    drop(command); // and with it this end of the pipe
    let mut child = Group(spawned.map_err(system(format!("starting {}", build.buildah.display())))?);
    let (send, lines) = mpsc::sync_channel(QUEUE);
    let over = StopOnDrop(Arc::default());
    let patient = Patient(read, Arc::clone(&over.0));
    let reader = std::thread::spawn(move || forward(patient, &send));
    let mut last = VecDeque::new();
    let mut tell = |line: String| {
        if let Some(lines) = &build.lines {
            lines(&line);
        }
        last.push_back(line);
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    };
    let status = loop {
        match lines.recv_timeout(PAUSE) {
            Ok(line) => tell(line),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(PAUSE),
        }
        if stop.load(Ordering::Relaxed) {
            return Err(BuildError::Stopped);
        }
        if Instant::now() >= until {
            return Err(BuildError::TimedOut(build.timeout));
        }
        if let Some(status) = child.0.try_wait().map_err(system("waiting for buildah"))? {
            break status;
        }
    };
    drop(child);
    // What has left the program's group may hold the pipe all the same.
    let last_until = until.min(Instant::now() + LAST);
    while let Ok(line) = lines.recv_timeout(PAUSE) {
        tell(line);
        if stop.load(Ordering::Relaxed) {
            return Err(BuildError::Stopped);
        }
        if Instant::now() >= last_until {
            break;
        }
    }
    drop((lines, over));
    let _ = reader.join(); // it has nothing to tell
    if status.success() {
        return Ok(());
    }
    let last: Vec<String> = last.into();
    Err(BuildError::Failed {
        status,
        last: last.join("\n"),
    })
}

/// Ends the program and all that it started, unless it has ended.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL); // gone is what it is to be
        }
        let _ = self.0.wait();
    }
}

/// A pipe that ends when nobody reads it any more, whoever holds its other end.
struct Patient(PipeReader, Arc<AtomicBool>);

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let pause = Timespec::try_from(PAUSE).map_err(std::io::Error::other)?;
        while !self.1.load(Ordering::Relaxed) {
            if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&pause))? > 0 {
                return self.0.read(buffer);
            }
        }
        Ok(0)
    }
}

/// Lines, as a terminal can be shown them.
fn forward(pipe: Patient, to: &mpsc::SyncSender<String>) {
    let mut from = BufReader::new(pipe);
    loop {
        let mut line = Vec::new();
        match from.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let line = String::from_utf8_lossy(&line)
            .trim_end()
            .escape_debug()
            .to_string();
        if to.send(line).is_err() {
            return;
        }
    }
}
