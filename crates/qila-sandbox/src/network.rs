//! The locked network, from inside its namespace.
use qila_plan::NetworkPlan;
use qila_sys::{netlink, nft};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Ipv4Addr, SocketAddrV4, SocketFlags, SocketType, bind, listen, socket_with, sockopt,
};

/// Connections waiting to be accepted by the gateway; further ones are refused by the kernel.
const BACKLOG: i32 = 256;

/// Sets the namespace up. Answers the gateway's listeners: TCP, DNS over UDP, DNS over TCP; none if there is no gateway.
pub(crate) fn lock(plan: &NetworkPlan) -> Result<Option<[OwnedFd; 3]>, (&'static str, Errno)> {
    let named = |step: &'static str| move |e| (step, e);
    match *plan {
        NetworkPlan::Closed { loopback } => {
            netlink::loopback_up(false).map_err(named("bringing loopback up"))?;
            if !loopback {
                nft::install(nft::Lock {
                    tcp: None,
                    dns: None,
                    loopback,
                })
                .map_err(named("closing loopback"))?;
            }
            Ok(None)
        }
        NetworkPlan::Locked {
            loopback, tcp, dns, ..
        } => {
            netlink::loopback_up(true).map_err(named("bringing loopback up"))?;
            nft::install(nft::Lock {
                tcp: Some(tcp),
                dns: Some(dns),
                loopback,
            })
            .map_err(named("installing the network lock (nf_tables, nf_nat)"))?;
            let listeners = || {
                Ok([
                    listener(SocketType::STREAM, tcp)?,
                    listener(SocketType::DGRAM, dns)?,
                    listener(SocketType::STREAM, dns)?,
                ])
            };
            listeners()
                .map(Some)
                .map_err(named("opening the gateway's listeners"))
        }
    }
}

fn listener(kind: SocketType, port: u16) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, kind, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    if kind == SocketType::STREAM {
        listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}
