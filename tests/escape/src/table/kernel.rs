//! The kernel's knobs, devices, mounts, keys and calls.
use crate::case::{Attack, Need, Place, Promise, Scene};
use crate::policy::Policy;
use crate::stage::Stage;
use std::fs;
use std::io;
use std::path::Path;

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Only a twin writes, to its stand-in.
fn poke(twin: bool) -> &'static [&'static str] {
    if twin {
        &["poke-stand-in", "written"]
    } else {
        &["poke"]
    }
}

fn value(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// Opens knobs of the host for writing, and writes nothing: a knob of this host is never changed by a test. The twin opens
/// and writes a file that stands in for a knob, where the policy lets it.
fn knobs(s: &mut Stage, knobs: &[&str]) -> io::Result<Scene> {
    let stand_in = s.host("knob")?.join("stand-in");
    fs::write(&stand_in, "core")?;
    let dir = s.host("knob")?;
    let paths: Vec<String> = if s.twin {
        vec![text(&stand_in)]
    } else {
        knobs.iter().map(|k| (*k).to_owned()).collect()
    };
    let mut argv = s.argv("kernel", poke(s.twin))?;
    argv.extend(paths.iter().cloned());
    let before: Vec<_> = paths.iter().map(|p| (p.clone(), value(p))).collect();
    let kept = crate::host::Knobs::remember(&paths);
    let scene = s
        .or_allowed(Policy::new(), Policy::new().write(dir), argv)
        .keep(kept);
    Ok(scene.judge(move |_| {
        before
            .iter()
            .find(|(path, was)| value(path) != *was)
            .map(|(path, _)| format!("{path} has changed on the host"))
    }))
}

fn all_writable(s: &mut Stage) -> io::Result<Scene> {
    let dir = if s.twin {
        text(&s.host("knobs")?)
    } else {
        "/proc/sys".to_owned()
    };
    fs::write(s.host("knobs")?.join("knob"), "1")?;
    let argv = s.argv("kernel", &["writable", &dir])?;
    let policy = Policy::new().write(s.host("knobs")?);
    let mut scene = s.or_allowed(Policy::new(), policy, argv);
    scene.argv = vec![
        "/bin/sh".into(),
        "-c".into(),
        "echo ATTEMPT; \"$@\"".into(),
        "sh".into(),
    ];
    scene.argv.extend(s.argv("kernel", &["writable", &dir])?);
    Ok(scene)
}

fn devices(s: &mut Stage) -> io::Result<Scene> {
    let names = [
        "/dev/mem",
        "/dev/kmem",
        "/dev/port",
        "/dev/kmsg",
        "/proc/kcore",
        "/dev/vda",
        "/dev/sda",
        "/dev/vsock",
        "/dev/kvm",
        "/dev/fuse",
        "/dev/loop-control",
        "/dev/mapper/control",
        "/dev/input/event0",
    ];
    let argv = s.argv(
        "kernel",
        &[
            &["open"][..],
            if s.twin { &["/dev/kmsg"][..] } else { &names[..] },
        ]
        .concat(),
    )?;
    Ok(s.or_harness(&Policy::new(), argv))
}

fn node(s: &mut Stage) -> io::Result<Scene> {
    let at = text(&s.ws().join("node"));
    // The twin makes the node of /dev/null: harmless, and by the same call.
    let argv = s.argv("kernel", &["mknod", &at, "1", if s.twin { "3" } else { "1" }])?;
    Ok(s.or_harness(&Policy::new(), argv))
}

fn mount(s: &mut Stage) -> io::Result<Scene> {
    let dir = s.host("ro")?;
    fs::write(dir.join("victim"), "before")?;
    let token = s.token()?;
    let argv = s.argv("kernel", &["mount", &text(&dir), "victim", &token])?;
    let file = dir.join("victim");
    let scene = s.or_allowed(Policy::new().read(&dir), Policy::new().write(&dir), argv);
    let scene = scene
        .judge(move |_| (fs::read(&file).ok()? != b"before").then(|| "a read-only file has changed".into()));
    Ok(scene)
}

fn pivot(s: &mut Stage) -> io::Result<Scene> {
    let dir = s.host("far")?;
    let canary = s.secret(&dir.join("secret"))?;
    let argv = s.argv("kernel", &["pivot", &text(&dir.join("secret"))])?;
    Ok(s.or_harness(&Policy::new(), argv).judge_output(&canary))
}

fn agents() -> Vec<String> {
    let groups = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    groups
        .map(|e| e.path().join("release_agent"))
        .filter(|p| p.exists())
        .map(|p| text(&p))
        .collect()
}

fn release_agent(s: &mut Stage) -> io::Result<Scene> {
    let dir = s.host("agent")?;
    let stand_in = dir.join("release_agent");
    fs::write(&stand_in, "")?;
    let paths: Vec<String> = if s.twin { vec![text(&stand_in)] } else { agents() };
    let mut argv = s.argv("kernel", if s.twin { poke(true) } else { &["release-agent"] })?;
    argv.extend(paths.iter().cloned());
    let before: Vec<_> = paths.iter().map(|p| (p.clone(), value(p))).collect();
    let kept = crate::host::Knobs::remember(&paths);
    let scene = s
        .or_allowed(Policy::new(), Policy::new().write(dir), argv)
        .keep(kept);
    Ok(scene.judge(move |_| {
        before
            .iter()
            .find(|(path, was)| value(path) != *was)
            .map(|(path, _)| format!("{path} has changed on the host"))
    }))
}

fn sysrq_lines() -> usize {
    let dmesg = std::process::Command::new("/bin/dmesg")
        .output()
        .map(|o| o.stdout)
        .unwrap_or_default();
    String::from_utf8_lossy(&dmesg)
        .lines()
        .filter(|l| l.contains("sysrq: "))
        .count()
}

/// No key is ever sent.
fn sysrq(s: &mut Stage) -> io::Result<Scene> {
    let stand_in = s.host("knob")?.join("trigger");
    fs::write(&stand_in, "")?;
    let path = if s.twin {
        text(&stand_in)
    } else {
        "/proc/sysrq-trigger".into()
    };
    let argv = s.argv("kernel", &[poke(s.twin), &[&path]].concat())?;
    let lines = sysrq_lines();
    let scene = s.or_allowed(Policy::new(), Policy::new().write(s.host("knob")?), argv);
    Ok(scene
        .judge(move |_| (sysrq_lines() > lines).then(|| "the kernel's log answers".into()))
        .judge(move |_| (fs::read(&stand_in).ok()? == b"written").then(|| "the stand-in was written".into())))
}

/// A root file system whose `/proc`, `/dev` and `/sys` are links that lead the launcher's own writes and mounts astray.
fn hostile_base(s: &mut Stage, console: bool) -> io::Result<Scene> {
    use std::os::unix::fs::symlink;
    let base = s.dir.join("base");
    for dir in ["bin", "usr", "etc", "tmp/fake/self", "home", "dev"] {
        fs::create_dir_all(base.join(dir))?;
    }
    s.copy("kernel-static", &base.join("bin/attack"))?;
    let target = s.host("astray")?;
    fs::write(target.join("victim"), "before")?;
    if !s.twin {
        if console {
            symlink(target.join("victim"), base.join("dev/console"))?;
            symlink(target.join("victim"), base.join("dev/null"))?;
            symlink(target.join("victim"), base.join("dev/ptmx"))?;
            symlink(&target, base.join("dev/shm"))?;
            symlink(&target, base.join("dev/pts"))?;
            symlink(&target, base.join("sys"))?;
        } else {
            symlink("/tmp/fake", base.join("proc"))?;
            for name in [
                "attr",
                "uid_map",
                "gid_map",
                "setgroups",
                "oom_score_adj",
                "timerslack_ns",
            ] {
                symlink(target.join("victim"), base.join("tmp/fake/self").join(name))?;
            }
            symlink(target.join("victim"), base.join("etc/resolv.conf"))?;
            symlink(target.join("victim"), base.join("etc/hosts"))?;
            symlink(&target, base.join("run"))?;
        }
    } else {
        fs::create_dir_all(base.join("proc"))?;
    }
    // What the program does inside matters little: the launcher's own steps are what the links go for.
    let argv = [
        "/bin/attack",
        "poke",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger-none",
        "/etc/hosts",
        "/dev/console",
    ];
    let mut policy = Policy::new().filesystem(&format!("base: {{directory: \"{}\"}}", text(&base)));
    if s.twin {
        policy = policy.write(&target);
    }
    let victim = target.join("victim");
    let core = value("/proc/sys/kernel/core_pattern");
    let mut argv: Vec<String> = argv.iter().map(|a| (*a).to_owned()).collect();
    if s.twin {
        argv = ["/bin/attack", "poke-stand-in", "written"]
            .map(str::to_owned)
            .to_vec();
        argv.push(text(&victim));
    }
    let (dir, count) = (target.clone(), fs::read_dir(&target)?.count());
    let mut scene = Scene::new(Place::Sandbox(policy.text()), argv);
    // The console that the sandbox's own terminal lends may be written: the claims say nothing here.
    scene = scene.without_claims();
    scene.launches = 3;
    scene = scene.keep(crate::host::Knobs::remember(&[
        "/proc/sys/kernel/core_pattern".to_owned()
    ]));
    Ok(scene.judge(move |_| {
        let changed =
            fs::read(&victim).ok()? != b"before" || fs::read_dir(&dir).map_or(0, Iterator::count) != count;
        changed
            .then(|| "a link in the base led a write to the host".into())
            .or_else(|| {
                (value("/proc/sys/kernel/core_pattern") != core).then(|| "core_pattern has changed".into())
            })
    }))
}

fn keyring(s: &mut Stage) -> io::Result<Scene> {
    let canary = s.token()?;
    let argv = s.argv("kernel", &["key-find"])?;
    let mut scene = s.or_outside(&Policy::new(), argv).judge_output(&canary);
    scene.wrap = vec![s.tool("kernel")?, "key-plant".into(), canary];
    Ok(scene)
}

fn host_name(s: &mut Stage) -> io::Result<Scene> {
    let argv = s.argv("kernel", &["hostname"])?;
    let mut scene = s.or_harness(&Policy::new(), argv);
    if s.twin {
        // A name space of its own: the host keeps its name, and the program's claim is the evidence.
        scene.wrap = vec!["/usr/bin/unshare".into(), "--uts".into()];
        return Ok(scene);
    }
    let before = value("/proc/sys/kernel/hostname");
    Ok(scene.judge(move |_| {
        (value("/proc/sys/kernel/hostname") != before).then(|| "the host's name has changed".into())
    }))
}

fn call(s: &mut Stage, name: &str) -> io::Result<Scene> {
    let argv = s.argv("kernel", &["call", name])?;
    Ok(s.or_harness(&Policy::new(), argv))
}

fn compat(s: &mut Stage) -> io::Result<Scene> {
    let mut argv = vec![
        "/bin/sh".to_owned(),
        "-c".into(),
        "echo ATTEMPT; \"$@\"".into(),
        "sh".into(),
    ];
    argv.extend(s.argv("kernel", &["compat"])?);
    Ok(s.or_outside(&Policy::new(), argv))
}

/// Setting up the directories that `poke` mounts at needs nothing of the host.
const NONE: &[Need] = &[];

const fn attack(
    name: &'static str,
    item: &'static str,
    needs: &'static [Need],
    stage: fn(&mut Stage) -> io::Result<Scene>,
) -> Attack {
    Attack {
        name,
        promise: Promise::P1,
        item,
        needs,
        may_refuse: false,
        stage,
    }
}

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        may_refuse: true,
        ..attack("base-console-links", "`/dev/console` bind race", NONE, |s| {
            hostile_base(s, true)
        })
    },
    Attack {
        may_refuse: true,
        ..attack("base-proc-links", "procfs write redirect", NONE, |s| {
            hostile_base(s, false)
        })
    },
    attack("proc-sys-writable", "procfs write redirect", NONE, all_writable),
    attack("core-pattern", "core_pattern", NONE, |s| {
        knobs(
            s,
            &[
                "/proc/sys/kernel/core_pattern",
                "/proc/sys/kernel/modprobe",
                "/proc/sys/kernel/hotplug",
                "/sys/kernel/uevent_helper",
                "/proc/sys/fs/binfmt_misc/register",
            ],
        )
    }),
    attack("release-agent", "release_agent", NONE, release_agent),
    attack("sysrq", "sysrq", &[Need::Tool("/bin/dmesg")], sysrq),
    attack(
        "dev-mem",
        "`/dev/mem` (assert that the open fails)",
        &[Need::Root],
        devices,
    ),
    attack(
        "device-node",
        "`/dev/mem` (assert that the open fails)",
        &[Need::Root],
        node,
    ),
    attack("mount", "mount", NONE, mount),
    attack("pivot-root", "pivot_root", &[Need::Root], pivot),
    attack("keyring", "keyring", NONE, keyring),
    attack("host-name", "mount", &[Need::Root], host_name),
    attack("call-bpf", "io_uring open/connect", &[Need::Root], |s| {
        call(s, "bpf")
    }),
    attack("call-perf", "io_uring open/connect", &[Need::Root], |s| {
        call(s, "perf")
    }),
    attack("call-userfaultfd", "io_uring open/connect", &[Need::Root], |s| {
        call(s, "userfaultfd")
    }),
    attack("call-syslog", "sysrq", &[Need::Root], |s| call(s, "syslog")),
    attack(
        "call-module",
        "core_pattern",
        &[Need::Root, Need::Knob("/proc/sys/kernel/modules_disabled", "0")],
        |s| call(s, "module"),
    ),
    attack("call-swapoff", "core_pattern", &[Need::Root], |s| {
        call(s, "swapoff")
    }),
    attack("call-fanotify", "mount", &[Need::Root], |s| call(s, "fanotify")),
    attack("call-compat", "nested user namespace", NONE, compat),
];
