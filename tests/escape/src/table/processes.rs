//! Other processes, other namespaces, and rights that should not come back.
use crate::case::{Attack, Need, Promise, Scene};
use crate::policy::Policy;
use crate::stage::{Running, Stage};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::Mutex;

/// A process of the host, of the same user, with a canary in its memory.
struct Victim {
    child: Running,
    pid: String,
    address: String,
    canary: String,
}

fn victim(s: &Stage) -> io::Result<Victim> {
    let canary = s.token()?;
    let said = s.dir.join("home/said");
    let argv = [
        s.tool("proc")?,
        "victim".into(),
        said.to_string_lossy().into_owned(),
        canary.clone(),
        "60".into(),
    ];
    let child = s.accomplice(&argv, Some(&said))?;
    let text = fs::read_to_string(&said)?;
    let (pid, address) = text.split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
    Ok(Victim {
        child,
        pid: pid.to_owned(),
        address: address.to_owned(),
        canary,
    })
}

/// Against a process of the host by its pid, as if it could be guessed.
fn on_victim(s: &mut Stage, how: &str) -> io::Result<Scene> {
    let v = victim(s)?;
    let argv = s.argv("proc", &[how, &v.pid, &v.address])?;
    // Inside, a pid of the host may happen to be one's own: only the canary, or its first word, tells.
    let peeked = v.canary.chars().take(16).collect::<String>();
    Ok(s.or_outside(&Policy::new(), argv)
        .without_claims()
        .judge_output(&peeked)
        .keep(v.child))
}

/// Against every process that is seen inside, the guest among them. The twin has a bystander to find outside.
fn on_all(s: &mut Stage, how: &str) -> io::Result<Scene> {
    let v = victim(s)?;
    let who = if s.twin { v.pid.as_str() } else { "all" };
    let argv = s.argv("proc", &[how, who, &v.address])?;
    Ok(s.or_outside(&Policy::new(), argv).keep(v.child))
}

fn kill(s: &mut Stage, args: &[&str]) -> io::Result<Scene> {
    let v = victim(s)?;
    let host = fs::read_link("/proc/self/ns/pid")?.to_string_lossy().into_owned();
    let args: Vec<&str> = match args {
        [one] if !s.twin => vec![one, &host],
        _ => vec!["kill", &v.pid],
    };
    let argv = s.argv("proc", &args)?;
    let child = Mutex::new(v.child);
    let scene = s.or_outside(&Policy::new(), argv);
    Ok(scene.judge(move |_| match child.lock().ok()?.0.try_wait() {
        Ok(None) => None,
        _ => Some("a process of the host was killed".into()),
    }))
}

/// The process group reaches across pid namespaces: a bystander shares the launcher's.
fn kill_group(s: &mut Stage) -> io::Result<Scene> {
    let mark = s.dir.join("home/bystander");
    let script = format!(
        "(trap '' HUP; sleep 3; echo alive > '{0}') >/dev/null 2>&1 & \"$@\"; sleep 3.5; test -e '{0}' && echo LIVED",
        mark.to_string_lossy()
    );
    let argv = s.argv("proc", &["kill-group"])?;
    let mut scene = s.or_outside(&Policy::new(), argv);
    scene.wrap = vec!["/bin/sh".into(), "-c".into(), script, "sh".into()];
    Ok(scene.judge(move |_| (!mark.exists()).then(|| "a process of the launcher's group was killed".into())))
}

fn setns(s: &mut Stage) -> io::Result<Scene> {
    let v = victim(s)?;
    let name = format!("qila-escape-{}", s.token()?);
    let listener = crate::hosts::UnixHost::at_name(&name)?;
    let token = s.token()?;
    let argv = s.argv("proc", &["setns", &v.pid, &name, &token])?;
    let mut scene = s.or_harness(&Policy::new(), argv);
    // Namespaces of the host, inherited as open descriptors.
    let script = "exec 7</proc/self/ns/net 8</proc/self/ns/mnt 9</proc/self/ns/user; exec \"$@\"";
    scene.wrap = vec!["/bin/sh".into(), "-c".into(), script.into(), "sh".into()];
    Ok(scene
        .judge(move |_| listener.arrivals.saw(&token, "an abstract socket of the host"))
        .keep(v.child))
}

fn user_ns(s: &mut Stage) -> io::Result<Scene> {
    let argv = s.argv("proc", &["userns"])?;
    Ok(s.or_outside(&Policy::new(), argv))
}

fn capabilities(s: &mut Stage) -> io::Result<Scene> {
    let argv = s.argv("proc", &["caps"])?;
    Ok(s.or_harness(&Policy::new(), argv))
}

/// A program whose file gives capabilities to whoever executes it.
fn file_capabilities(s: &mut Stage) -> io::Result<Scene> {
    let dir = s.host("caps")?;
    let program = dir.join(&s.comm);
    s.copy("proc", &program)?;
    // Ownership is changed when the stage is handed over, which would strip the capabilities again.
    s.keep_owner.push(program.clone());
    std::process::Command::new("/usr/sbin/setcap")
        .arg("cap_sys_admin,cap_net_raw,cap_dac_override+ep")
        .arg(&program)
        .status()?;
    let path = program.to_string_lossy().into_owned();
    Ok(s.or_outside(&Policy::new().read(&dir), vec![path.clone(), "caps".into(), path]))
}

/// A setuid program of another user, and a file that only that user may read.
fn setuid(s: &mut Stage) -> io::Result<Scene> {
    let owner = if s.cx.user == crate::user::User::Root {
        crate::user::OTHER
    } else {
        0
    };
    let dir = s.host("suid")?;
    let (program, file) = (dir.join(&s.comm), dir.join("secret"));
    s.copy("proc", &program)?;
    let canary = s.secret(&file)?;
    for path in [&program, &file] {
        chown(path, Some(owner), Some(owner))?;
        s.keep_owner.push(path.clone());
    }
    fs::set_permissions(&program, Permissions::from_mode(0o6755))?;
    fs::set_permissions(&file, Permissions::from_mode(0o600))?;
    let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
    let argv = vec![text(&program), "who".into(), text(&file)];
    Ok(s.or_outside(&Policy::new().read(&dir), argv)
        .without_claims()
        .judge_output(&canary))
}

/// A child that leaves its session and outlives the command.
fn survivor(s: &mut Stage) -> io::Result<Scene> {
    let argv = s.argv("proc", &["survive", "30"])?;
    let scene = s.or_outside(&Policy::new(), argv).without_claims();
    Ok(scene.judge(|o| (o.left > 0).then(|| format!("{} processes outlived the run", o.left))))
}

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
    attack("nested-user-namespace", "nested user namespace", &[], user_ns),
    attack("setns", "setns", &[Need::Root], setns),
    attack("ptrace-host", "ptrace of guest and siblings", &[], |s| {
        on_victim(s, "ptrace")
    }),
    attack("ptrace-guest", "ptrace of guest and siblings", &[], |s| {
        on_all(s, "ptrace")
    }),
    attack(
        "vm-read-host",
        "`process_vm_readv` of guest and siblings",
        &[],
        |s| on_victim(s, "vmread"),
    ),
    attack(
        "vm-read-guest",
        "`process_vm_readv` of guest and siblings",
        &[],
        |s| on_all(s, "vmread"),
    ),
    attack("kill-pid", "kill by pid", &[], |s| kill(s, &["kill", ""])),
    attack("kill-everyone", "kill by pid", &[], |s| kill(s, &["kill-all"])),
    attack("kill-group", "kill by pid", &[], kill_group),
    attack("setuid-program", "setuid binary", &[Need::Root], setuid),
    attack(
        "capability-regain",
        "capability regain",
        &[Need::Root],
        capabilities,
    ),
    attack(
        "capability-file",
        "capability regain",
        &[Need::Root, Need::Tool("/usr/sbin/setcap")],
        file_capabilities,
    ),
    Attack {
        promise: Promise::P7,
        ..attack("survivor", "zombie flood", &[], survivor)
    },
];
