//! A fork can do nothing that a program started in the same sandbox cannot, and reaches neither its zygote nor other forks.
use crate::bench::{Bench, in_namespace};
use qila_sys::pass;
use qila_wire::served::Answer;
use rustix::fd::AsFd;
use rustix::process::{Pid, Signal, kill_process};

/// Everything by which the kernel tells processes apart in what they may do.
const WHO: &str = r#"
import os, re, resource
status = dict(l.split(":\t", 1) for l in open("/proc/self/status").read().splitlines() if ":\t" in l)
for name in ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "PPid", "TracerPid", "Umask", "Cpus_allowed", "SigBlk", "SigIgn"]:
    print(name, status.get(name))
for name in sorted(os.listdir("/proc/self/ns")):
    print(name, os.readlink("/proc/self/ns/" + name))
print(open("/proc/self/mountinfo").read())
print(open("/proc/self/cgroup").read())
print(open("/proc/self/uid_map").read(), open("/proc/self/gid_map").read(), open("/proc/self/setgroups").read())
fds = {}
for fd in os.listdir("/proc/self/fd"):
    try:
        fds[fd] = re.sub(r"\d+", "N", os.readlink("/proc/self/fd/" + fd))
    except OSError:
        pass
print(sorted(fds.items()))
print([(n, resource.getrlimit(getattr(resource, n))) for n in dir(resource) if n.startswith("RLIMIT_")])
print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), os.getcwd(), os.readlink("/proc/self/root"))
print(sorted(os.environ.items()))
print(open("/proc/self/oom_score_adj").read(), os.nice(0), os.uname().nodename)
print(re.sub(r"\d+", "N", str(os.stat("/proc/self/mem").st_uid)), os.stat("/proc/self").st_uid == os.getuid())
"#;

pub fn same_rights(bench: &mut Bench) {
    let (above, zygote) = bench.zygote(&["re", "resource"]);
    let served = bench.beneath(&above);
    let started = served.start(&["/usr/bin/python3", "-c", WHO]).finish();
    let forked = served
        .fork(&zygote, served.exec(&["python3", "-c", WHO]))
        .0
        .finish();
    assert_eq!((started.code, started.err.as_str()), (Some(0), ""));
    assert_eq!((forked.code, forked.err.as_str()), (Some(0), ""));
    for (a, b) in started.out.lines().zip(forked.out.lines()) {
        assert_eq!(a, b);
    }
    assert_eq!(started.out, forked.out);
    assert!(
        started.out.contains("NoNewPrivs 1\nSeccomp 2\nPPid 1\n"),
        "{}",
        started.out
    );
    assert!(started.out.contains("CapBnd 0000000000000000"), "{}", started.out);
}

/// What a program may try. Each line is what came of one attempt.
const TRY: &str = r#"
import ctypes, errno, os, socket, signal
libc = ctypes.CDLL(None, use_errno=True)
def sys(name, *args):
    answer = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    print(name, "ok" if answer >= 0 else errno.errorcode[ctypes.get_errno()])
def py(name, work):
    try:
        print(name, work())
    except OSError as e:
        print(name, errno.errorcode.get(e.errno))
    except ValueError as e:
        print(name, e)
own = os.open("/proc/self/ns/user", os.O_RDONLY)
sys("setns", 308, own, 0)
sys("setns to the first", 308, os.pidfd_open(1), 0x10000000)
for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000):
    sys("unshare", 272, flag)
sys("mount", 165, b"none", b"/tmp", b"tmpfs", 0, 0)
sys("umount", 166, b"/etc/shadow", 2)
sys("chroot", 161, b"/tmp")
sys("bpf", 321, 0, 0, 0)
sys("keyctl", 250, 0, 0, 0)
sys("perf", 298, 0, 0, 0, 0, 0)
sys("ptrace the first", 101, 16, 1, 0, 0)
sys("kill the first", 62, 1, 9)
sys("hold the first's descriptors", 438, os.pidfd_open(1), 0, 0)
sys("bring capabilities back", 157, 24, 0, 0, 0, 0)
sys("ambient", 157, 47, 2, 21, 0, 0)
py("the first's root", lambda: os.listdir("/proc/1/root"))
py("the first's memory", lambda: open("/proc/1/mem", "rb").read(1))
py("the first's environment", lambda: open("/proc/1/environ", "rb").read(1))
py("processes", lambda: sorted(int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()))
py("write /etc", lambda: open("/etc/x", "w"))
py("write /usr", lambda: open("/usr/x", "w"))
py("shadow", lambda: open("/etc/shadow").read())
py("write /proc", lambda: open("/proc/sys/kernel/core_pattern", "w"))
py("oom", lambda: open("/proc/self/oom_score_adj", "w").write("-500"))
py("uid map", lambda: open("/proc/self/uid_map", "w").write("0 0 1"))
py("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
py("packet socket", lambda: socket.socket(17, socket.SOCK_RAW))
py("netfilter", lambda: socket.socket(16, socket.SOCK_RAW, 12))
py("connect out", lambda: socket.create_connection(("198.51.100.1", 80), 1))
py("set the host's name", lambda: socket.sethostname("x"))
py("mknod", lambda: os.mknod("/tmp/dev", 0o20600, 0x103))
py("chown", lambda: (open("/tmp/f", "w"), os.chown("/tmp/f", 12345, 12345)))
py("set-uid file", lambda: os.chmod("/tmp/f", 0o4755))
py("cgroups", lambda: os.listdir("/sys/fs/cgroup"))
py("raise a limit", lambda: __import__("resource").setrlimit(7, (1 << 20, 1 << 20)))
py("exec gains nothing", lambda: os.popen("grep -E 'Cap(Prm|Bnd)|Seccomp:' /proc/self/status").read().split())
"#;

pub fn same_attempts(bench: &mut Bench) {
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: attempts of a fork: written in the numbers of another processor");
        return;
    }
    let (above, zygote) = bench.zygote(&["ctypes"]);
    let served = bench.beneath(&above);
    let started = served.start(&["/usr/bin/python3", "-c", TRY]).finish();
    let forked = served
        .fork(&zygote, served.exec(&["python3", "-c", TRY]))
        .0
        .finish();
    assert_eq!((started.code, started.err.as_str()), (Some(0), ""));
    assert_eq!((forked.code, forked.err.as_str()), (Some(0), ""));
    for (a, b) in started.out.lines().zip(forked.out.lines()) {
        println!("  {b}");
        assert_eq!(a, b);
    }
    assert_eq!(started.out, forked.out);
    assert!(
        started.out.contains("setns EPERM\n") && started.out.contains("mount EPERM\n"),
        "{}",
        started.out
    );
}

/// Two forks of one zygote, in two sandboxes, and the zygote.
pub fn apart(bench: &mut Bench) {
    let (above, zygote) = bench.zygote(&["ctypes"]);
    let (one, two) = (bench.beneath(&above), bench.beneath(&above));
    let sleep = "import time\nsecret = 'x' * 100\nprint('here', flush=True)\ntime.sleep(100)";
    let (line, _) = one.fork(&zygote, one.exec(&["python3", "-c", sleep]));
    let look = "import os\nfor n in range(1, 200):\n  for w in ('kill', 'open'):\n    try:\n      os.kill(n, 0) if w == 'kill' else os.pidfd_open(n)\n      print(w, n)\n    except OSError: pass\nprint(sorted(p for p in os.listdir('/proc') if p.isdigit()) == sorted({'1', str(os.getpid())}), os.path.exists('/home/user/mine'))\nprint([os.readlink('/proc/self/fd/%d' % n).split(':')[0] for n in range(3)])";
    let said = two.fork(&zygote, two.exec(&["python3", "-c", look])).0.finish();
    let own: Vec<_> = said
        .out
        .lines()
        .filter(|l| l.starts_with("kill") || l.starts_with("open"))
        .collect();
    // Itself and PID 1, and neither the zygote nor the other fork.
    assert_eq!(own.len(), 4, "{said:?}");
    assert!(
        said.out.contains("True False\n['/dev/null', 'pipe', 'pipe']\n"),
        "{said:?}"
    );
    assert_eq!(line_alive(&one), 2);
    drop(line);
    // The zygote's own sandbox has its program and nothing of theirs: no file, no descriptor.
    let fds = std::fs::read_dir(format!("/proc/{}/fd", host_pid(&above))).map(Iterator::count);
    if let Ok(fds) = fds {
        assert!(fds <= 5, "{fds} descriptors are left in the zygote");
    }
}

fn line_alive(served: &crate::bench::Served) -> usize {
    match std::fs::read_link(format!("/proc/{}/ns/pid", served.pid)) {
        Ok(namespace) => in_namespace(&namespace).len(),
        Err(_) => 2, // an unprivileged caller may not look at a guest; as root it may
    }
}

/// The zygote's number as the host counts: the other process of its sandbox.
fn host_pid(above: &crate::bench::Served) -> i32 {
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", above.pid)).unwrap_or_default();
    children
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// A process that says that it is there and is not under its walls is not taken, and ended.
pub fn not_caged(bench: &mut Bench) {
    let (above, _zygote) = bench.zygote(&[]);
    let served = bench.beneath(&above);
    // As if a fork said so: the node itself speaks through the door.
    let pretend = |word: &[u8]| {
        let mut line = served.expect(served.exec(&["x"]));
        let door = line.fds.pop().unwrap();
        pass::send(&door, word, &[]).unwrap();
        (line.hear(), door)
    };
    let word = |n: i32| [&b"r"[..], &n.to_le_bytes()].concat();
    for (word, errno) in [
        (word(1), 71),
        (word(-1), 71),
        (word(0), 71),
        (word(4999), 2),
        (b"r".to_vec(), 71),
        (b"?".to_vec(), 32),
        (vec![0; 200], 32),
    ] {
        match pretend(&word).0 {
            Some(Answer::Failed { errno: n, .. }) => assert_eq!(n, errno, "{word:?}"),
            other => panic!("{word:?}: {other:?}"),
        }
    }
    // A program that is known already.
    let mut line = served.ask(&qila_wire::served::Ask::Exec(served.exec(&["/bin/sleep", "100"])));
    let Some(Answer::Started { pid }) = line.hear() else {
        panic!()
    };
    match pretend(&word(pid.cast_signed())).0 {
        Some(Answer::Failed { errno, .. }) => assert_eq!(errno, 17),
        other => panic!("{other:?}"),
    }
    // Zygotes that forget a wall which the kernel tells of.
    for (wall, gap) in [
        ("        drop_capabilities()\n", ""),
        ("        load_filter(bytes.fromhex(request[\"filter\"]))\n", ""),
        (
            "        libc.prctl(PR_CAPBSET_DROP, ctypes.c_ulong(cap), 0, 0, 0) < 0",
            "cap >= 0",
        ),
    ] {
        let driver = qila_sandbox::zygote::PYTHON;
        let wall = wall.trim_start_matches(if gap.is_empty() { "" } else { " " });
        assert_eq!(driver.matches(wall).count(), 1, "{wall}");
        let zygote = above.zygote_of(&driver.replace(wall, gap), &[]);
        let mut line = served.asked(
            &zygote,
            served.exec(&["python3", "-c", "import time; time.sleep(100)"]),
        );
        match line.hear() {
            Some(Answer::Failed { what, errno: 1 }) => assert_eq!(what, "adopting a fork", "{wall}"),
            other => panic!("{wall}: {other:?}"),
        }
        drop(line);
        let begun = std::time::Instant::now();
        while rest(&served) > 1 {
            assert!(begun.elapsed() < crate::bench::PATIENCE, "{wall}: it is left");
        }
    }
    // One that closes the door.
    let mut line = served.expect(served.exec(&["x"]));
    line.fds.clear();
    assert!(matches!(line.hear(), Some(Answer::Failed { errno: 32, .. })));
    // The node that goes away: the fork hears that nobody takes it.
    let mut line = served.expect(served.exec(&["x"]));
    let door = line.fds.pop().unwrap();
    drop(line);
    let mut buffer = [0; 8];
    rustix::net::sockopt::set_socket_timeout(
        &door,
        rustix::net::sockopt::Timeout::Recv,
        Some(crate::bench::PATIENCE),
    )
    .unwrap();
    assert_eq!(pass::receive(door.as_fd(), &mut buffer).map(|(n, _)| n), Ok(0));
}

/// A zygote that is killed at any moment leaves nothing in a sandbox that the guest does not know.
pub fn zygote_killed(bench: &mut Bench) {
    let (above, mut zygote) = bench.zygote(&[]);
    let served = bench.beneath(&above);
    let mut whole = 0;
    for round in 0..24u64 {
        let mut line = served.asked(
            &zygote,
            served.exec(&["python3", "-c", "import time; time.sleep(100)"]),
        );
        std::thread::sleep(std::time::Duration::from_micros(round * 120));
        let host = host_pid(&above);
        if host == 0 {
            println!("skipped: killing a zygote: this kernel does not tell of children");
            return;
        }
        kill_process(Pid::from_raw(host).unwrap(), Signal::KILL).unwrap();
        match line.hear() {
            Some(Answer::Started { .. }) => whole += 1,
            Some(Answer::Failed { .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(
            served.ask(&qila_wire::served::Ask::Clear).hear(),
            Some(Answer::Done)
        );
        drop(line);
        let begun = std::time::Instant::now();
        while rest(&served) > 0 {
            assert!(
                begun.elapsed() < crate::bench::PATIENCE,
                "round {round}: something is left"
            );
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        // Another takes its place in the same sandbox.
        zygote = above.zygote(&[]);
    }
    println!("  {whole} of 24 forks were whole before their zygote was killed");
    assert_eq!(
        served
            .fork(&zygote, served.exec(&["python3", "-c", "pass"]))
            .0
            .finish()
            .code,
        Some(0)
    );
}

/// How many processes a sandbox has besides its guest, by its own count.
fn rest(served: &crate::bench::Served) -> usize {
    let count = "n=0; for d in /proc/[0-9]*; do n=$((n+1)); done; echo $n";
    let said = served.start(&["/bin/sh", "-c", count]).finish();
    said.out.trim().parse::<usize>().unwrap() - 2
}

/// With the sandbox of the zygote everything beneath ends.
pub fn above_killed(bench: &mut Bench) {
    let (above, zygote) = bench.zygote(&[]);
    let served = bench.beneath(&above);
    let (line, _) = served.fork(
        &zygote,
        served.exec(&["python3", "-c", "import time; time.sleep(100)"]),
    );
    drop(above);
    let gone = rustix::event::PollFd::new(&served.first, rustix::event::PollFlags::IN);
    let waited = rustix::event::poll(
        &mut [gone],
        Some(&rustix::event::Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        }),
    );
    assert_eq!(waited, Ok(1));
    drop(line);
}

/// A warm-up that is hostile: it enters the sandbox, keeps every capability over it, takes on no wall, and tries to change what is
/// seen or to get out.
const HOSTILE: &str = r#"
import ctypes, errno, json, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
link = socket.socket(fileno=os.dup(0))
link.send(b"w")
packet, fds, _, _ = socket.recv_fds(link, 1 << 18, 16)
def sys_(name, *args):
    answer = libc.syscall(*[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    print(name, "ok" if answer >= 0 else errno.errorcode[ctypes.get_errno()], flush=True)
def py(name, work):
    try:
        print(name, work(), flush=True)
    except OSError as e:
        print(name, errno.errorcode.get(e.errno), flush=True)
sys_("enter", 308, fds[0], json.loads(packet)["namespaces"])
if os.fork():
    os.wait()
    os._exit(0)
print([l for l in open("/proc/self/status").read().splitlines() if l.startswith("CapEff")] != ["CapEff:\t0000000000000000"], flush=True)
for name in (b"/etc/shadow", b"/proc", b"/", b"/home/user"):
    sys_("uncover " + name.decode(), 166, name, 2)
sys_("mount", 165, b"none", b"/tmp", b"tmpfs", 0, 0)
sys_("bind", 165, b"/", b"/tmp", 0, 0x5000, 0)
sys_("open_tree", 428, -100, b"/", 1)
sys_("move_mount", 429, -100, b"/", -100, b"/tmp", 0)
sys_("mount_setattr", 442, -100, b"/usr", 0, 0, 0)
sys_("pivot_root", 155, b"/tmp", b"/tmp")
sys_("chroot", 161, b"/tmp")
for flag in (0x10000000, 0x20000, 0x40000000):
    sys_("unshare", 272, flag)
sys_("handle", 304, -100, b"12345678", 0)
sys_("bpf", 321, 0, 0, 0)
sys_("sethostname", 170, b"x", 1)
py("netfilter", lambda: socket.socket(16, socket.SOCK_RAW, 12))
py("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
py("packet", lambda: socket.socket(17, socket.SOCK_RAW))
py("mknod", lambda: os.mknod("/tmp/dev", 0o20600, 0x103))
py("shadow", lambda: open("/etc/shadow").read() == "")
py("write /usr", lambda: open("/usr/x", "w"))
py("write /etc", lambda: open("/etc/x", "w"))
py("pattern", lambda: open("/proc/sys/kernel/core_pattern", "w"))
py("connect", lambda: socket.create_connection(("198.51.100.1", 80), 1))
py("another user", lambda: os.setuid(12345))
py("the host's root", lambda: sorted(os.listdir("/proc/1/root")) == sorted(os.listdir("/")))
"#;

pub fn hostile(bench: &mut Bench) {
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: a hostile warm-up: written in the numbers of another processor");
        return;
    }
    let above = bench.for_zygote();
    let zygote = above.zygote_of(HOSTILE, &[]);
    let served = bench.beneath(&above);
    let mut line = served.asked(&zygote, served.exec(&["x"]));
    // Nobody came through the door.
    assert!(matches!(line.hear(), Some(Answer::Failed { .. })));
    let Some(Answer::Programs(all)) = above.ask(&qila_wire::served::Ask::Programs).hear() else {
        panic!()
    };
    let pid = all[0].pid;
    let mut line = above.ask(&qila_wire::served::Ask::Attach { pid, from: Some(0) });
    assert_eq!(line.hear(), Some(Answer::Started { pid }));
    let said = line.finish();
    assert_eq!(said.err, "");
    let mut lines = said.out.lines();
    // It is inside, with every capability there: else the rest would show nothing.
    assert_eq!(
        (lines.next(), lines.next()),
        (Some("enter ok"), Some("True")),
        "{said:?}"
    );
    let tried: Vec<_> = lines.collect();
    assert_eq!(tried.len(), 28, "{said:?}");
    for line in tried {
        println!("  {line}");
        let (what, came) = line.rsplit_once(' ').unwrap();
        match what {
            "shadow" | "the host's root" => assert_eq!(came, "True", "{line}"),
            _ => assert!(came.starts_with('E'), "{line}"),
        }
    }
}
