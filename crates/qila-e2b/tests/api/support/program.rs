//! Children of this host as programs of a sandbox.
use bytes::Bytes;
use qila_api::{ApiError, Exec, Input, Kind, Output, Process, ProcessId, Result, Status};
use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdin, Command};
use tokio::sync::{Notify, mpsc};

/// Output that waits for whoever listens; beyond, the oldest is lost.
const KEPT: usize = 4096;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Output>,
    listener: Option<mpsc::Sender<Output>>,
}

pub struct Running {
    pub pid: u32,
    pub exec: Exec,
    queue: Mutex<Queue>,
    notify: Notify,
    stdin: tokio::sync::Mutex<Option<ChildStdin>>,
    terminal: Option<std::fs::File>,
    pub ended: Mutex<bool>,
}

pub fn signal(pid: u32, number: i32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    let signal = rustix::process::Signal::from_named_raw(number).unwrap();
    // One that has no group of its own yet is alone.
    if rustix::process::kill_process_group(pid, signal).is_err() {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

impl Running {
    pub fn start(home: &Path, exec: Exec, environment: Vec<(String, String)>) -> Result<Arc<Running>> {
        // A session of its own, so that its group can be signalled and a terminal be its.
        let mut command = Command::new("setsid");
        if exec.terminal.is_some() {
            command.arg("-c");
        }
        command
            .args(&exec.argv)
            .env_clear()
            .envs(environment)
            .env("HOME", home);
        command
            .env("PATH", std::env::var("PATH").unwrap())
            .envs(&exec.environment);
        let cwd = exec.cwd.as_ref().map_or(home.to_owned(), |dir| home.join(dir));
        let program = exec.argv[0].clone();
        let known = program.contains('/') && !Path::new(&program).exists();
        if !cwd.is_dir() || known {
            return Err(ApiError::not_found(format!(
                "`{program}` or its directory is not in the sandbox"
            )));
        }
        command.current_dir(cwd);
        let mut terminal = None;
        if let Some(size) = exec.terminal {
            use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
            let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
            grantpt(&master).unwrap();
            unlockpt(&master).unwrap();
            let name = ptsname(&master, Vec::new()).unwrap();
            let name = name.into_string().unwrap();
            let slave = || {
                std::fs::File::options()
                    .read(true)
                    .write(true)
                    .open(&name)
                    .unwrap()
            };
            resize(&master, size);
            command.stdin(slave()).stdout(slave()).stderr(slave());
            terminal = Some(std::fs::File::from(master));
        } else {
            command.stdin(if exec.input { Stdio::piped() } else { Stdio::null() });
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let mut child = command.spawn().map_err(|e| ApiError::not_found(e.to_string()))?;
        drop(command);
        let running = Arc::new(Running {
            pid: child.id().unwrap(),
            exec,
            queue: Mutex::default(),
            notify: Notify::new(),
            stdin: tokio::sync::Mutex::new(child.stdin.take()),
            terminal: terminal.as_ref().map(|t| t.try_clone().unwrap()),
            ended: Mutex::new(false),
        });
        let mut readers = Vec::new();
        if let Some(out) = child.stdout.take() {
            readers.push(tokio::spawn(pump(running.clone(), out, Output::Stdout)));
        }
        if let Some(err) = child.stderr.take() {
            readers.push(tokio::spawn(pump(running.clone(), err, Output::Stderr)));
        }
        if let Some(mut terminal) = terminal {
            let running = running.clone();
            readers.push(tokio::task::spawn_blocking(move || {
                let mut buffer = [0; 4096];
                while let Ok(n @ 1..) = std::io::Read::read(&mut terminal, &mut buffer) {
                    running.say(Output::Terminal(Bytes::copy_from_slice(&buffer[..n])));
                }
            }));
        }
        let last = running.clone();
        tokio::spawn(async move {
            let status = child.wait().await.unwrap();
            for reader in readers {
                let _ = reader.await;
            }
            *last.ended.lock().unwrap() = true;
            last.say(Output::Ended(Status {
                code: status.code(),
                signal: status.signal(),
            }));
        });
        Ok(running)
    }

    fn say(&self, output: Output) {
        let mut queue = self.queue.lock().unwrap();
        if queue.waiting.len() >= KEPT {
            queue.waiting.pop_front();
        }
        queue.waiting.push_back(output);
        self.notify.notify_one();
    }

    /// What comes out from now on, to a new listener.
    pub fn listen(self: &Arc<Running>, now: bool) -> Process {
        let (give, output) = mpsc::channel(1);
        let (input, mut take) = mpsc::channel(4);
        {
            let mut queue = self.queue.lock().unwrap();
            if now {
                queue.waiting.retain(|o| matches!(o, Output::Ended(_)));
            }
            queue.listener = Some(give.clone());
        }
        self.notify.notify_one();
        let me = self.clone();
        tokio::spawn(async move {
            loop {
                let next = {
                    let mut queue = me.queue.lock().unwrap();
                    if !queue.listener.as_ref().is_some_and(|l| l.same_channel(&give)) {
                        return;
                    }
                    queue.waiting.pop_front()
                };
                let Some(next) = next else {
                    tokio::select! {
                        () = me.notify.notified() => continue,
                        () = give.closed() => return,
                    }
                };
                let last = matches!(next, Output::Ended(_));
                if give.send(next).await.is_err() || last {
                    me.queue.lock().unwrap().listener = None;
                    return;
                }
            }
        });
        let me = self.clone();
        tokio::spawn(async move {
            while let Some(said) = take.recv().await {
                let _ = me.tell(said).await;
            }
        });
        Process {
            pid: ProcessId(self.pid),
            output,
            input,
        }
    }

    pub async fn tell(&self, what: Input) -> Result<()> {
        match (what, &self.terminal) {
            (Input::Bytes(bytes), Some(terminal)) => std::io::Write::write_all(&mut &*terminal, &bytes)
                .map_err(|e| ApiError::invalid(e.to_string())),
            (Input::Bytes(bytes), None) => {
                let mut stdin = self.stdin.lock().await;
                let stdin = stdin
                    .as_mut()
                    .ok_or_else(|| ApiError::new(Kind::Conflict, "it has no input"))?;
                stdin
                    .write_all(&bytes)
                    .await
                    .map_err(|e| ApiError::new(Kind::Conflict, e.to_string()))
            }
            (Input::End, _) => {
                self.stdin.lock().await.take();
                Ok(())
            }
            (Input::Resize(size), Some(terminal)) => {
                resize(terminal, size);
                Ok(())
            }
            (Input::Resize(_), None) => Err(ApiError::new(Kind::Conflict, "it has no terminal")),
            (Input::Signal(number), _) => {
                signal(self.pid, number);
                Ok(())
            }
        }
    }
}

fn resize(terminal: impl std::os::fd::AsFd, size: qila_api::Size) {
    let size = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size).unwrap();
}

async fn pump(running: Arc<Running>, mut from: impl tokio::io::AsyncRead + Unpin, how: fn(Bytes) -> Output) {
    let mut buffer = vec![0; 16384];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        running.say(how(Bytes::copy_from_slice(&buffer[..n])));
    }
}
