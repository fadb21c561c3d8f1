//! Packets that should not leave, whatever carries them.
use crate::case::{Alive, Attack, Need, Promise, Scene};
use crate::hosts::{UdpHost, sink};
use crate::policy::Policy;
use crate::stage::Stage;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// A policy under which the gateway exists, and something may be reached: an attack must not profit from that.
fn gateway(s: &Stage) -> io::Result<(Policy, Option<Alive>)> {
    match s.live(Policy::new())? {
        (_, None) => Ok((Policy::new().allow("gate.test", 443, ""), None)),
        live => Ok(live),
    }
}

/// A listener at an address that no rule names; `how` gives the program's way there.
fn to(s: &mut Stage, ip: IpAddr, how: &str) -> io::Result<Scene> {
    let (listener, token) = (s.tcp(ip, sink())?, s.token()?);
    let address = listener.address.ip().to_string();
    let argv = s.argv("net", &[how, &address, &listener.port().to_string(), &token])?;
    let (policy, alive) = gateway(s)?;
    Ok(s.or_outside(&policy, argv)
        .alive(alive)
        .judge(move |_| listener.reached("a listener that no rule names")))
}

fn udp(s: &mut Stage, ip: IpAddr) -> io::Result<Scene> {
    let (listener, token) = (UdpHost::start(ip)?, s.token()?);
    let address = listener.address.ip().to_string();
    let argv = s.argv(
        "net",
        &["udp", &address, &listener.address.port().to_string(), &token],
    )?;
    let (policy, alive) = gateway(s)?;
    Ok(s.or_outside(&policy, argv)
        .alive(alive)
        .judge(move |_| listener.arrivals.saw(&token, "a UDP listener")))
}

/// UDP to a host whose TCP port is allowed.
fn udp_beside(s: &mut Stage) -> io::Result<Scene> {
    let (listener, token) = (UdpHost::start(s.cx.world.public)?, s.token()?);
    let port = listener.address.port();
    let name = s.name("both", s.cx.world.public)?;
    let argv = s.argv("net", &["udp", &name, &port.to_string(), &token])?;
    let (policy, alive) = s.live(Policy::new().allow(&name, port, ""))?;
    Ok(s.or_outside(&policy, argv)
        .alive(alive)
        .judge(move |_| listener.arrivals.saw(&token, "a UDP listener")))
}

/// The gateway's own listeners, asked directly: without an original destination they must lead nowhere.
fn gateway_direct(s: &mut Stage) -> io::Result<Scene> {
    let local = s.tcp(Ipv4Addr::LOCALHOST.into(), sink())?;
    let token = s.token()?;
    let payload = format!(
        "GET http://127.0.0.1:{0}/{token} HTTP/1.1\\r\\nHost: 127.0.0.1:{0}\\r\\n\\r\\n",
        local.port()
    );
    let argv = s.argv("net", &["scan", &payload])?;
    let (policy, alive) = gateway(s)?;
    let mut scene = s.or_outside(&policy, argv).alive(alive);
    if s.twin {
        scene.argv = s.argv("net", &["send", "127.0.0.1", &local.port().to_string(), &payload])?;
    }
    scene.seconds = 60;
    Ok(scene.judge(move |_| local.reached("the host's own loopback")))
}

fn ring(s: &mut Stage) -> io::Result<Scene> {
    let (listener, token) = (s.tcp(s.cx.world.other, sink())?, s.token()?);
    let address = listener.address.ip().to_string();
    let argv = s.argv(
        "kernel",
        &["ring-connect", &address, &listener.port().to_string(), &token],
    )?;
    let (policy, alive) = gateway(s)?;
    Ok(s.or_outside(&policy, argv)
        .alive(alive)
        .judge(move |_| listener.reached("a listener that no rule names")))
}

fn netlink(s: &mut Stage) -> io::Result<Scene> {
    let argv = s.argv("net", &["netlink"])?;
    let (policy, alive) = gateway(s)?;
    let mut scene = s.or_harness(&policy, argv).alive(alive);
    if s.twin {
        // A namespace of its own: the harness's must stay as it is.
        scene.wrap = vec!["/usr/bin/unshare".into(), "--net".into()];
    }
    Ok(scene)
}

fn ping(s: &mut Stage) -> io::Result<Scene> {
    let argv = s.argv("net", &["ping", &s.cx.world.other.to_string()])?;
    let (policy, alive) = gateway(s)?;
    Ok(s.or_harness(&policy, argv).alive(alive))
}

const fn attack(
    name: &'static str,
    item: &'static str,
    needs: &'static [Need],
    stage: fn(&mut Stage) -> io::Result<Scene>,
) -> Attack {
    Attack {
        name,
        promise: Promise::P3,
        item,
        needs,
        may_refuse: false,
        stage,
    }
}

const SOCKETS: &str = "raw, packet, netlink, vsock and UDP sockets";
const WORLD: &[Need] = &[Need::World, Need::Tool("/usr/bin/curl")];

pub(super) const ATTACKS: &[Attack] = &[
    attack("tcp-unlisted", SOCKETS, &[], |s| to(s, s.cx.world.other, "send")),
    attack("tcp-host-loopback", SOCKETS, &[], |s| {
        to(s, Ipv4Addr::LOCALHOST.into(), "send")
    }),
    attack("tcp-fast-open", SOCKETS, WORLD, |s| {
        to(s, s.cx.world.other, "fastopen")
    }),
    attack("tcp-multipath", SOCKETS, WORLD, |s| {
        to(s, s.cx.world.other, "mptcp")
    }),
    attack("udp-unlisted", SOCKETS, &[], |s| udp(s, s.cx.world.other)),
    attack("udp-beside-rule", SOCKETS, WORLD, udp_beside),
    attack("icmp-echo", SOCKETS, WORLD, ping),
    attack("netlink-walls", SOCKETS, &[Need::Root], netlink),
    attack(
        "io-uring-connect",
        "io_uring open/connect",
        &[Need::Knob("/proc/sys/kernel/io_uring_disabled", "0")],
        ring,
    ),
    attack("ipv6-tcp", "IPv6", WORLD, |s| to(s, s.cx.world.public6, "send")),
    attack("ipv6-udp", "IPv6", WORLD, |s| udp(s, s.cx.world.public6)),
    attack("gateway-direct", "metadata address", &[], gateway_direct),
];
