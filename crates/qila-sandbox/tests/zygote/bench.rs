//! What all cases share: sandboxes, made as a node makes them, and channels to their guests.
use qila_plan::{Caller, Capabilities, Namespace, Plan, Request, Seat, wanted_paths};
use qila_policy::{Constitution, NoFiles, Permit, parse};
use qila_sandbox::zygote::{self, bear_beneath, one_wall, warm};
use qila_sandbox::{Ground, Sandbox, Stdio, bear, doors, sweep_cgroup};
use qila_sys::pass;
use qila_types::Tier;
use qila_wire::served::{Answer, Ask, Cage, Exec, Say, Source, frame, unframe};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt,
};
use rustix::process::{Signal, pidfd_send_signal};
use std::path::{Path, PathBuf};
use std::time::Duration;

const HOME: &str = "/home/user";
/// Longest that anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Bench {
    keep: tempfile::TempDir,
    guest: OwnedFd,
    made: u32,
    /// Where numpy is, if it is.
    pub numpy: Option<String>,
}

/// A sandbox that serves.
pub struct Served {
    pub first: OwnedFd,
    pub pid: i32,
    pub cage: Cage,
    pub plan: Plan,
    pub environment: Vec<Vec<u8>>,
    dir: PathBuf,
    pub handle: OwnedFd,
}

fn null() -> OwnedFd {
    open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

impl Bench {
    pub fn new() -> Bench {
        let keep = tempfile::tempdir().unwrap();
        let home = open(keep.path(), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        std::fs::create_dir(keep.path().join("empty")).unwrap();
        let numpy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/zygote-numpy");
        let numpy = numpy.canonicalize().ok().filter(|p| p.join(".whole").exists());
        Bench {
            guest: qila_embedded::open(home.as_fd()).unwrap(),
            keep,
            made: 0,
            numpy: numpy.map(|p| p.to_str().unwrap().to_owned()),
        }
    }

    fn plan(&self, run: &str, dir: &Path) -> Plan {
        let read = self.numpy.iter().map(|p| format!("{p:?}")).collect::<String>();
        let policy = format!(
            "version: 1\nresources:\n  memory: 512MiB\n  processes: 64\n  open_files: 256\nfilesystem:\n  workspace: layer\n  read: [{read}]\n  hide: [/etc/shadow]\nenvironment:\n  set: {{LANG: C.UTF-8, PYTHONPATH: {:?}}}\n",
            self.numpy.clone().unwrap_or_default()
        );
        let policy = parse("policy.yaml", &policy, &mut NoFiles).unwrap();
        let permit = Permit::grant(policy, &Constitution::default()).unwrap();
        let facts = qila_host::collect(&qila_host::Look {
            base: Path::new("/"),
            paths: &wanted_paths(&permit, None, None),
            unpacked: None,
            writable: &[],
            storage: &[dir],
        });
        let caller = Caller {
            argv: Vec::new(),
            env: Vec::new(),
            cwd: HOME.into(),
            home: None,
            workspace: None,
            run_dir: dir.to_str().unwrap().into(),
            run: run.into(),
            terminal: None,
            seat: Some(Seat {
                home: HOME.into(),
                lower: vec![self.keep.path().join("empty").to_str().unwrap().into()],
                programs: Vec::new(),
            }),
        };
        use Namespace::*;
        let container = Capabilities {
            tier: Tier::Container,
            namespaces: &[User, Mount, Pid, Net, Ipc, Uts, Cgroup],
            controllers: &["memory", "pids", "cpu", "io"],
            missing: None,
            engine: None,
            by_name: None,
        };
        let request = Request {
            permit: &permit,
            facts: &facts.unwrap(),
            caller: &caller,
            placeholders: &[],
            allow_unenforced: &[],
        };
        qila_plan::plan(&container, &request).unwrap()
    }

    /// Makes a sandbox; beneath another, if one is given. `zygote`: it is one for a zygote.
    fn make(&mut self, above: Option<&Served>, zygote: bool) -> Served {
        self.made += 1;
        let run = format!("zy{}-{}", std::process::id(), self.made);
        let dir = self.keep.path().join(&run);
        for part in ["", "layer", "layer/upper", "layer/work"] {
            std::fs::create_dir(dir.join(part)).unwrap();
        }
        let plan = self.plan(&run, &dir);
        let walls = plan.walls();
        let stdio = Stdio {
            input: null(),
            output: null(),
            error: null(),
        };
        let ground = Ground::prepare(walls).unwrap();
        let born = match above {
            None => bear(walls, self.guest.as_fd(), &stdio, ground.birthplace()),
            Some(a) => bear_beneath(
                walls,
                self.guest.as_fd(),
                &stdio,
                ground.birthplace(),
                a.first.as_fd(),
            ),
        };
        let mut sandbox = Sandbox::of(walls, ground, born.unwrap()).unwrap();
        sandbox.go(b"").unwrap();
        let handle = open(&dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        );
        let socket = socket.unwrap();
        bind(&socket, &address(&handle)).unwrap();
        listen(&socket, 64).unwrap();
        let mut cage = one_wall(Cage {
            limits: plan.limits().to_vec(),
            landlock: plan.landlock().clone(),
            filter: plan.filter().to_vec(),
            cpus: plan.cpus().to_vec(),
            accounting: plan.accounting().clone(),
            home: HOME.as_bytes().to_vec(),
        });
        if zygote {
            cage = warm(cage, 2000).unwrap();
        }
        sandbox.serve(&cage, socket.as_fd(), &[]).unwrap();
        let pid = sandbox.pid().as_raw_nonzero().get();
        let environment = plan.environment().iter();
        Served {
            pid,
            environment: environment
                .map(|v| [&v.name[..], b"=", &v.value].concat())
                .collect(),
            first: sandbox.leave().unwrap(),
            cage,
            plan,
            dir,
            handle,
        }
    }

    /// A sandbox for a zygote, and the zygote in it.
    pub fn zygote(&mut self, modules: &[&str]) -> (Served, Zygote) {
        let served = self.for_zygote();
        let zygote = served.zygote(modules);
        (served, zygote)
    }

    /// A sandbox for a zygote.
    pub fn for_zygote(&mut self) -> Served {
        self.make(None, true)
    }

    /// A sandbox that may receive forks of a zygote.
    pub fn beneath(&mut self, above: &Served) -> Served {
        self.make(Some(above), false)
    }
}

fn address(dir: &OwnedFd) -> SocketAddrUnix {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/guest", dir.as_raw_fd())).unwrap()
}

/// The node's end of a zygote.
pub struct Zygote {
    pub link: OwnedFd,
}

/// A channel to a guest.
pub struct Line {
    fd: OwnedFd,
    got: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

/// What a program said, and how it ended.
#[derive(Debug, Default, PartialEq)]
pub struct Said {
    pub out: String,
    pub err: String,
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

impl Line {
    pub fn say(&self, say: &Say) {
        let bytes = frame(say).unwrap();
        assert_eq!(rustix::io::write(&self.fd, &bytes).unwrap(), bytes.len());
    }

    pub fn hear(&mut self) -> Option<Answer> {
        loop {
            if let Some((answer, n)) = unframe::<Answer>(&self.got).unwrap() {
                self.got.drain(..n);
                return Some(answer);
            }
            let mut buffer = vec![0; 65536];
            let (n, fds) = pass::receive_some(&self.fd, &mut buffer).unwrap();
            if n == 0 {
                return None;
            }
            self.fds.extend(fds);
            self.got.extend(&buffer[..n]);
        }
    }

    /// Takes everything until the end.
    pub fn finish(mut self) -> Said {
        let mut said = Said::default();
        while let Some(answer) = self.hear() {
            match answer {
                Answer::Output { source, bytes, at } => {
                    let text = String::from_utf8(bytes.clone()).unwrap();
                    match source {
                        Source::Err => said.err += &text,
                        _ => said.out += &text,
                    }
                    self.say(&Say::Taken(at + bytes.len() as u64));
                }
                Answer::Ended { code, signal } => {
                    self.say(&Say::Taken(u64::MAX));
                    (said.code, said.signal) = (code, signal);
                    break;
                }
                Answer::Fed => {}
                other => panic!("{other:?}"),
            }
        }
        said
    }
}

impl Served {
    pub fn ask(&self, ask: &Ask) -> Line {
        let fd = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap();
        connect(&fd, &address(&self.handle)).unwrap();
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(PATIENCE)).unwrap();
        let bytes = frame(ask).unwrap();
        assert_eq!(rustix::io::write(&fd, &bytes).unwrap(), bytes.len());
        Line {
            fd,
            got: Vec::new(),
            fds: Vec::new(),
        }
    }

    pub fn exec(&self, argv: &[&str]) -> Exec {
        Exec {
            argv: argv.iter().map(|a| a.as_bytes().to_vec()).collect(),
            env: self.environment.clone(),
            cwd: HOME.into(),
            tag: None,
            terminal: None,
            input: false,
        }
    }

    /// Starts a program as every other.
    pub fn start(&self, argv: &[&str]) -> Line {
        let mut line = self.ask(&Ask::Exec(self.exec(argv)));
        match line.hear() {
            Some(Answer::Started { .. }) => line,
            other => panic!("{other:?}"),
        }
    }

    /// Starts a zygote.
    pub fn zygote(&self, modules: &[&str]) -> Zygote {
        self.zygote_of(zygote::PYTHON, modules)
    }

    /// Starts a zygote with a driver of its own.
    pub fn zygote_of(&self, driver: &str, modules: &[&str]) -> Zygote {
        let argv: Vec<_> = ["/usr/bin/python3", "-c", driver]
            .iter()
            .chain(modules)
            .copied()
            .collect();
        let mut line = self.ask(&Ask::Zygote(self.exec(&argv)));
        let Some(Answer::Started { pid }) = line.hear() else {
            panic!("no zygote")
        };
        let zygote = Zygote {
            link: line.fds.pop().unwrap(),
        };
        sockopt::set_socket_timeout(&zygote.link, sockopt::Timeout::Recv, Some(PATIENCE)).unwrap();
        let mut word = [0; 8];
        if pass::receive(&zygote.link, &mut word).unwrap().0 != 1 {
            let mut line = self.ask(&Ask::Attach { pid, from: Some(0) });
            line.hear();
            panic!("it is not warm: {:?}", line.finish());
        }
        zygote
    }

    /// Asks the guest to expect a fork, and the zygote to make it: the channel, on which the answer has not been heard.
    pub fn asked(&self, zygote: &Zygote, exec: Exec) -> Line {
        let mut line = self.expect(exec.clone());
        let request = zygote::Request::new(self.plan.walls(), &self.cage, &exec).unwrap();
        let doors = doors(self.plan.cgroup()).unwrap();
        let all = std::iter::once(&self.first).chain(&line.fds).chain(&doors);
        let fds: Vec<_> = all.map(|fd| fd.as_fd()).collect();
        pass::send(&zygote.link, &request.packet().unwrap(), &fds).unwrap();
        line.fds.clear();
        line
    }

    /// Asks the guest to expect a fork: the channel, with the descriptors that are for the zygote.
    pub fn expect(&self, exec: Exec) -> Line {
        let mut line = self.ask(&Ask::Adopt(exec));
        assert_eq!(line.hear(), Some(Answer::Done));
        assert_eq!(line.fds.len(), 4);
        line
    }

    /// Starts a fork of a zygote.
    pub fn fork(&self, zygote: &Zygote, exec: Exec) -> (Line, u32) {
        let mut line = self.asked(zygote, exec);
        match line.hear() {
            Some(Answer::Started { pid }) => (line, pid),
            other => panic!("{other:?}"),
        }
    }
}

/// Processes whose namespace of processes is this one, as far as this user may look.
pub fn in_namespace(namespace: &Path) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap();
    let numbers = all.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    numbers
        .filter(|n: &i32| std::fs::read_link(format!("/proc/{n}/ns/pid")).is_ok_and(|link| link == namespace))
        .collect()
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = pidfd_send_signal(&self.first, Signal::KILL);
        let gone = rustix::event::PollFd::new(&self.first, rustix::event::PollFlags::IN);
        rustix::event::poll(
            &mut [gone],
            Some(&rustix::event::Timespec {
                tv_sec: 10,
                tv_nsec: 0,
            }),
        )
        .unwrap();
        for path in self.plan.cgroup().directories.iter().rev() {
            sweep_cgroup(Path::new(path)).unwrap();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
