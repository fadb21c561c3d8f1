//! Plays a scene: starts the launcher, watches from the host, ends what does not end, and collects what is to be judged.
use crate::case::{Input, Place, Scene};
use crate::host;
use crate::outcome::{Outcome, Peak};
use crate::stage::Stage;
use crate::user::own_uid;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// First bytes of an output that are kept for the judges.
const KEPT: usize = 2 << 20;

fn command(stage: &Stage, scene: &Scene, argv: &[String]) -> io::Result<Command> {
    let mut all = match scene.place {
        Place::OutsideAsHarness => Vec::new(),
        _ => stage.cx.user.prefix(own_uid()),
    };
    // An outer limit, should a limit under attack not hold: the floods have ceilings of their own as well.
    all.extend(["/usr/bin/prlimit", "--core=0", "--nproc=4000", "--"].map(str::to_owned));
    all.extend(argv.iter().cloned());
    let (first, rest) = all.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(first);
    command
        .args(rest)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", stage.home())
        .env("QILA_HOME", stage.dir.join("qila"))
        .env("TERM", "xterm")
        .env("LANG", "C.UTF-8")
        .envs(scene.env.iter().map(|(k, v)| (k, v)))
        .current_dir(scene.cwd.clone().unwrap_or_else(|| stage.ws()));
    Ok(command)
}

fn reader(mut from: impl Read + Send + 'static) -> JoinHandle<(Vec<u8>, u64)> {
    thread::spawn(move || {
        let (mut kept, mut total, mut buffer) = (Vec::new(), 0, vec![0; 1 << 16]);
        while let Ok(n) = from.read(&mut buffer) {
            if n == 0 {
                break;
            }
            total += n as u64;
            let room = KEPT.saturating_sub(kept.len());
            kept.extend_from_slice(buffer.get(..n.min(room)).unwrap_or_default());
        }
        (kept, total)
    })
}

/// Waits, and ends the whole process group when the time is over.
fn wait(child: &mut Child, seconds: u64) -> io::Result<(Option<i32>, bool)> {
    let end = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status.code(), false));
        }
        if Instant::now() > end {
            host::kill(&format!("-{}", child.id()));
            child.wait()?;
            return Ok((None, true));
        }
        thread::sleep(Duration::from_millis(4));
    }
}

fn sampler(comm: String, go: Arc<AtomicBool>) -> JoinHandle<Peak> {
    thread::spawn(move || {
        let mut peak = Peak::default();
        while go.load(Ordering::Relaxed) {
            let now = host::sample(&comm);
            peak.processes = peak.processes.max(now.processes);
            peak.resident_kib = peak.resident_kib.max(now.resident_kib);
            peak.descriptors = peak.descriptors.max(now.descriptors);
            if now.processes > now.zombies_at_end {
                peak.zombies_at_end = now.zombies_at_end;
            }
            thread::sleep(Duration::from_millis(25));
        }
        peak
    })
}

/// Plays the scene once.
pub fn play(stage: &Stage, scene: &Scene) -> io::Result<Outcome> {
    let launcher = match &scene.place {
        Place::Sandbox(policy) => {
            let file = stage.dir.join("policy.yaml");
            std::fs::write(&file, policy)?;
            let quiet = scene.after.is_empty();
            stage
                .cx
                .target
                .command(&file, &stage.ws(), &scene.flags, quiet, &scene.argv)
        }
        Place::Outside | Place::OutsideAsHarness => scene.argv.clone(),
    };
    stage.hand_over()?;
    let argv: Vec<String> = scene.wrap.iter().cloned().chain(launcher).collect();
    let mut command = command(stage, scene, &argv)?;
    command.process_group(0).stderr(Stdio::piped());
    command.stdin(match &scene.input {
        Input::Null => Stdio::null(),
        Input::File(path) => File::open(path)?.into(),
    });
    command.stdout(match &scene.output {
        Some(path) => File::options().append(true).open(path)?.into(),
        None => Stdio::piped(),
    });
    let mut child = start(&mut command)?;
    let stdout = child.stdout.take().map(reader);
    let stderr = child.stderr.take().map(reader);
    let go = Arc::new(AtomicBool::new(true));
    let samples = scene.sample.then(|| sampler(stage.comm.clone(), go.clone()));
    let (code, timed_out) = wait(&mut child, scene.seconds)?;
    go.store(false, Ordering::Relaxed);
    let mut outcome = Outcome {
        code,
        timed_out,
        ..Outcome::default()
    };
    outcome.peak = samples.and_then(|s| s.join().ok()).unwrap_or_default();
    outcome.left = host::settle(&stage.comm, Duration::from_millis(1500));
    host::kill_all(&stage.comm);
    // Whatever else of the group still holds a pipe open must not hold the suite up.
    host::kill(&format!("-{}", child.id()));
    if let Some((bytes, total)) = stdout.and_then(|h| h.join().ok()) {
        outcome.stdout = bytes;
        outcome.stdout_total = total;
    }
    outcome.stderr = stderr
        .and_then(|h| h.join().ok())
        .map(|(bytes, _)| bytes)
        .unwrap_or_default();
    // What was sent last may still be on its way into a listener's record.
    thread::sleep(Duration::from_millis(80));
    if stage.cx.target.is_qila() && matches!(scene.place, Place::Sandbox(_)) {
        afterwards(stage, scene, &mut outcome)?;
    }
    Ok(outcome)
}

/// Starts a command. A program that was just made may be open for writing in a fork of a neighbour that has not execed yet.
fn start(command: &mut Command) -> io::Result<std::process::Child> {
    for _ in 0..100 {
        match command.spawn() {
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy => {
                thread::sleep(Duration::from_millis(20))
            }
            other => return other,
        }
    }
    command.spawn()
}

/// Runs the commands that read what the run left.
fn afterwards(stage: &Stage, scene: &Scene, outcome: &mut Outcome) -> io::Result<()> {
    let text = String::from_utf8_lossy(&outcome.stderr).into_owned();
    let id = text
        .rsplit_once("\"run\":")
        .and_then(|(_, rest)| rest.split('"').nth(1))
        .unwrap_or("");
    if id.is_empty() && !scene.after.is_empty() {
        outcome
            .after
            .extend_from_slice(b"[no run id on standard error]\n");
    }
    for args in &scene.after {
        let crate::target::Target::Qila { bin, .. } = &stage.cx.target else {
            continue;
        };
        let words = args.iter().map(|a| if a == "RUN" { id } else { a });
        let line: Vec<&str> = std::iter::once(bin.to_str().unwrap_or("")).chain(words).collect();
        let mut argv = vec!["/usr/bin/timeout".to_owned(), "20".into()];
        if args.first().is_some_and(|a| a == "diff") {
            // As a person sees it: into a pipe it is a patch, whose bytes must be those of the files.
            argv.extend(["/usr/bin/script", "-qec", &line.join(" "), "/dev/null"].map(str::to_owned));
        } else {
            argv.extend(line.iter().map(|w| (*w).to_owned()));
        }
        let out = command(stage, scene, &argv)?.stdin(Stdio::null()).output()?;
        outcome.after.extend_from_slice(&out.stdout);
        outcome.after.extend_from_slice(&out.stderr);
        outcome
            .after
            .extend_from_slice(format!("\n[{} ended: {}]\n", args.join(" "), out.status).as_bytes());
    }
    Ok(())
}
