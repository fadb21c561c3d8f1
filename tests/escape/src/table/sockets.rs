//! Unix sockets of the host, descriptors that travel, and families that go round the network's lock.
use crate::case::{Attack, Need, Promise, Scene};
use crate::hosts::UnixHost;
use crate::policy::Policy;
use crate::stage::Stage;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

fn abstract_name(s: &mut Stage) -> io::Result<Scene> {
    let name = format!("qila-escape-{}", s.token()?);
    let (listener, token) = (UnixHost::at_name(&name)?, s.token()?);
    let argv = s.argv("sockets", &["say", &format!("@{name}"), &token])?;
    Ok(s.or_outside(&Policy::new(), argv)
        .judge(move |_| listener.arrivals.saw(&token, "an abstract socket")))
}

/// A listener at a path, reached from outside by the twin. `place` makes the path and the policy under which it is seen.
fn pathname(
    s: &mut Stage,
    place: fn(&Stage) -> io::Result<(PathBuf, Policy)>,
    datagram: bool,
) -> io::Result<Scene> {
    let (path, policy) = place(s)?;
    let listener = if datagram {
        UnixHost::datagram(&path)?
    } else {
        UnixHost::at_path(&path)?
    };
    let token = s.token()?;
    let argv = s.argv("sockets", &["say", &path.to_string_lossy(), &token])?;
    Ok(s.or_outside(&policy, argv)
        .judge(move |_| listener.arrivals.saw(&token, "a socket of the host")))
}

fn unlisted(s: &Stage) -> io::Result<(PathBuf, Policy)> {
    Ok((s.host("run")?.join("s"), Policy::new()))
}

fn readable(s: &Stage) -> io::Result<(PathBuf, Policy)> {
    let dir = s.host("run")?;
    Ok((dir.join("s"), Policy::new().read(dir)))
}

fn in_workspace(s: &Stage) -> io::Result<(PathBuf, Policy)> {
    Ok((s.ws().join("s"), Policy::new()))
}

fn in_direct_workspace(s: &Stage) -> io::Result<(PathBuf, Policy)> {
    Ok((s.ws().join("s"), Policy::new().filesystem("workspace: direct")))
}

fn in_writable(s: &Stage) -> io::Result<(PathBuf, Policy)> {
    let dir = s.host("run")?;
    Ok((dir.join("s"), Policy::new().write(dir)))
}

/// The listener comes when the agent is already at work.
fn later(
    s: &mut Stage,
    place: fn(&Stage) -> io::Result<(PathBuf, Policy)>,
    make: fn(&Path) -> io::Result<UnixHost>,
) -> io::Result<Scene> {
    let (path, policy) = place(s)?;
    let (ready, token, prog) = (path.with_extension("ready"), s.token()?, s.program("sockets")?);
    let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
    let script = "echo ATTEMPT; : > \"$1\"; for i in $(seq 100); do [ -S \"$2\" ] && break; sleep 0.05; done; sleep 0.1; exec \"$0\" say \"$2\" \"$3\"";
    let argv = [
        "/bin/sh",
        "-c",
        script,
        &prog,
        &text(&ready),
        &text(&path),
        &token,
    ]
    .map(str::to_owned);
    let listener = Arc::new(Mutex::new(None));
    let held = listener.clone();
    std::thread::spawn(move || {
        for _ in 0..1500 {
            if ready.exists() {
                *held.lock().unwrap_or_else(PoisonError::into_inner) = make(&path).ok();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let allowed = policy.clone().network("unix_sockets: true");
    Ok(s.or_allowed(policy, allowed, argv.to_vec())
        .without_claims()
        .judge(move |_| {
            let held = listener.lock().unwrap_or_else(PoisonError::into_inner);
            held.as_ref()?.arrivals.saw(&token, "a socket of the host")
        }))
}

/// A listener of the host hands a descriptor of a hidden file to whoever connects.
fn given_fd(s: &mut Stage) -> io::Result<Scene> {
    let hidden = s.host("hidden")?.join("secret");
    let canary = s.secret(&hidden)?;
    let path = s.host("giver")?.join("s");
    let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
    let giver = s.accomplice(
        &[s.tool("sockets")?, "give".into(), text(&path), text(&hidden)],
        Some(&path),
    )?;
    let argv = s.argv("sockets", &["say", &text(&path), "hello"])?;
    let policy = Policy::new().read(s.host("giver")?);
    Ok(s.or_outside(&policy, argv)
        .without_claims()
        .judge_output(&canary)
        .keep(giver))
}

/// Standard input is a socket in which a descriptor waits.
fn fd_in_stdin(s: &mut Stage) -> io::Result<Scene> {
    let hidden = s.host("hidden")?.join("secret");
    let canary = s.secret(&hidden)?;
    let argv = s.argv("sockets", &["stdin", "-"])?;
    let mut scene = s
        .or_outside(&Policy::new(), argv)
        .without_claims()
        .judge_output(&canary);
    scene.wrap = vec![
        s.tool("sockets")?,
        "launch".into(),
        hidden.to_string_lossy().into_owned(),
    ];
    Ok(scene)
}

/// Families that must not open at all. The twin opens the one that the kernel of this host surely has.
fn families(s: &mut Stage, names: &[&str], sure: &str) -> io::Result<Scene> {
    let mut argv = s.argv("sockets", &["family"])?;
    match s.twin {
        true => argv.push(sure.to_owned()),
        false => argv.extend(names.iter().map(|n| (*n).to_owned())),
    }
    Ok(s.or_harness(&Policy::new(), argv))
}

const fn attack(
    name: &'static str,
    item: &'static str,
    promise: Promise,
    needs: &'static [Need],
    stage: fn(&mut Stage) -> io::Result<Scene>,
) -> Attack {
    Attack {
        name,
        promise,
        item,
        needs,
        may_refuse: false,
        stage,
    }
}

const ABSTRACT: &str = "abstract and pathname unix sockets of the host";
const FAMILIES: &str = "raw, packet, netlink, vsock and UDP sockets";
use Promise::{P1, P3};

pub(super) const ATTACKS: &[Attack] = &[
    attack("unix-abstract", ABSTRACT, P3, &[], abstract_name),
    attack("unix-unlisted", ABSTRACT, P3, &[], |s| {
        pathname(s, unlisted, false)
    }),
    attack("unix-readable", ABSTRACT, P3, &[], |s| {
        pathname(s, readable, false)
    }),
    attack("unix-readable-datagram", ABSTRACT, P3, &[], |s| {
        pathname(s, readable, true)
    }),
    attack("unix-workspace", ABSTRACT, P3, &[], |s| {
        pathname(s, in_workspace, false)
    }),
    attack("unix-direct-workspace", ABSTRACT, P3, &[], |s| {
        pathname(s, in_direct_workspace, false)
    }),
    attack("unix-writable", ABSTRACT, P3, &[], |s| {
        pathname(s, in_writable, false)
    }),
    attack("unix-direct-later", ABSTRACT, P3, &[], |s| {
        later(s, in_direct_workspace, UnixHost::at_path)
    }),
    attack("unix-direct-later-datagram", ABSTRACT, P3, &[], |s| {
        later(s, in_direct_workspace, UnixHost::datagram)
    }),
    attack("unix-writable-later", ABSTRACT, P3, &[], |s| {
        later(s, in_writable, UnixHost::at_path)
    }),
    attack("scm-rights-listener", "SCM_RIGHTS", P1, &[], given_fd),
    attack("scm-rights-stdin", "SCM_RIGHTS", P1, &[], fd_in_stdin),
    attack("socket-raw", FAMILIES, P3, &[Need::Root], |s| {
        families(s, &["raw"], "raw")
    }),
    attack("socket-packet", FAMILIES, P3, &[Need::Root], |s| {
        families(s, &["packet"], "packet")
    }),
    attack("socket-netlink", FAMILIES, P3, &[], |s| {
        families(s, &["netfilter", "audit", "uevent", "key"], "uevent")
    }),
    attack("socket-vsock", FAMILIES, P3, &[], |s| {
        families(s, &["vsock"], "vsock")
    }),
    attack("socket-alg", FAMILIES, P1, &[], |s| families(s, &["alg"], "udp")),
    attack("socket-other", FAMILIES, P3, &[], |s| {
        families(
            s,
            &[
                "xdp",
                "tipc",
                "smc",
                "rds",
                "can",
                "bluetooth",
                "sctp",
                "dccp",
                "kcm",
                "qipcrtr",
            ],
            "udp",
        )
    }),
];
