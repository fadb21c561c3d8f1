//! Netlink messages: built here, sent and acknowledged here; no helper program.
use crate::Result;
use alloc::vec;
use alloc::vec::Vec;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

/// Netlink protocol number of routing.
pub(crate) const ROUTE: u32 = 0;
/// Netlink protocol number of netfilter.
pub(crate) const NETFILTER: u32 = 12;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;

/// A run of netlink messages.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    seq: u32,
    acks: usize,
}

/// One message or attribute whose length is filled in when it is closed.
#[must_use]
pub(crate) struct Open(usize);

impl Batch {
    /// Starts a message. `ack` asks the kernel to confirm it.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, ack: bool, header: &[u8]) -> Open {
        let at = self.bytes.len();
        self.seq += 1;
        let flags = flags | NLM_F_REQUEST | if ack { NLM_F_ACK } else { 0 };
        self.acks += usize::from(ack);
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.seq.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.raw(header);
        Open(at)
    }

    /// Starts a nested attribute.
    pub(crate) fn nest(&mut self, kind: u16) -> Open {
        const NLA_F_NESTED: u16 = 0x8000;
        let at = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NLA_F_NESTED).to_ne_bytes());
        Open(at)
    }

    /// Fills in a message's length.
    pub(crate) fn end_message(&mut self, open: Open) {
        let len = u32::try_from(self.bytes.len() - open.0).unwrap_or(u32::MAX);
        if let Some(slot) = self.bytes.get_mut(open.0..open.0 + 4) {
            slot.copy_from_slice(&len.to_ne_bytes());
        }
    }

    /// Fills in an attribute's length.
    pub(crate) fn end_nest(&mut self, open: Open) {
        let len = u16::try_from(self.bytes.len() - open.0).unwrap_or(u16::MAX);
        if let Some(slot) = self.bytes.get_mut(open.0..open.0 + 2) {
            slot.copy_from_slice(&len.to_ne_bytes());
        }
    }

    /// Appends an attribute.
    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.bytes.extend(len.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.raw(value);
    }

    /// Appends a text attribute, ended by a zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    /// Appends a number in network order.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    fn raw(&mut self, value: &[u8]) {
        self.bytes.extend(value);
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }

    /// Sends everything as one datagram and waits for every confirmation that was asked for.
    pub(crate) fn run(&self, protocol: u32) -> Result<()> {
        let socket = open(protocol)?;
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&socket, &self.bytes, SendFlags::empty(), &kernel)?;
        let mut left = self.acks;
        let mut buffer = [0u8; 8192];
        while left > 0 {
            let (n, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
            let mut rest = buffer.get(..n).unwrap_or(&[]);
            while let Some((kind, body, tail)) = next(rest) {
                if kind == NLMSG_ERROR {
                    let code = body
                        .get(..4)
                        .and_then(|b| b.try_into().ok())
                        .map_or(0, i32::from_ne_bytes);
                    if code != 0 {
                        return Err(Errno::from_raw_os_error(code.saturating_neg()));
                    }
                    left = left.saturating_sub(1);
                }
                rest = tail;
            }
        }
        Ok(())
    }
}

fn next(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(16..len)?;
    Some((kind, body, bytes.get(len.next_multiple_of(4)..).unwrap_or(&[])))
}

fn open(protocol: u32) -> Result<OwnedFd> {
    let protocol = rustix::net::Protocol::from_raw(match core::num::NonZeroU32::new(protocol) {
        Some(p) => p,
        None => {
            return socket_with(
                AddressFamily::NETLINK,
                SocketType::RAW,
                SocketFlags::CLOEXEC,
                None,
            );
        }
    });
    socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(protocol),
    )
}

const LO: u32 = 1;

/// Brings the namespace's own `lo` up, which gives it 127.0.0.1/8 and ::1; with `default_route`, everything IPv4 is routed
/// onto it.
pub fn loopback_up(default_route: bool) -> Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const RTM_NEWROUTE: u16 = 24;
    const IFF_UP: u32 = 1;
    let mut batch = Batch::default();
    let mut link = vec![0u8; 4];
    link.extend(LO.to_ne_bytes());
    link.extend(IFF_UP.to_ne_bytes());
    link.extend(IFF_UP.to_ne_bytes());
    let open = batch.message(RTM_NEWLINK, 0, true, &link);
    batch.end_message(open);
    if default_route {
        // family inet, no prefix, table main, protocol static, scope host, type unicast
        let route = [2u8, 0, 0, 0, 254, 4, 254, 1, 0, 0, 0, 0];
        let open = batch.message(RTM_NEWROUTE, NLM_F_CREATE, true, &route);
        batch.attr(4, &LO.to_ne_bytes()); // RTA_OIF
        // Answers must find their way back over loopback, which is all that the filter lets through.
        batch.attr(7, &[127, 0, 0, 1]); // RTA_PREFSRC
        batch.end_message(open);
    }
    batch.run(ROUTE)
}
