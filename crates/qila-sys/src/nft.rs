//! The locked network's nftables rules, in one transaction.
use crate::Result;
use crate::netlink::{Batch, NETFILTER, NLM_F_CREATE};
use alloc::vec;

const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;
const INET: u8 = 1;
const IPV4: u8 = 2;
const LOCAL_OUT: u32 = 3;
const REG: u32 = 1;
const VERDICT: u32 = 0;
const ACCEPT: u32 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What the locked network lets through.
#[derive(Debug, Clone, Copy)]
pub struct Lock {
    /// Port on 127.0.0.1 that takes every TCP connection that leaves; none means that nothing is redirected.
    pub tcp: Option<u16>,
    /// Port on 127.0.0.1 that takes every DNS query, over UDP and TCP.
    pub dns: Option<u16>,
    /// Whether programs inside may talk to each other over loopback.
    pub loopback: bool,
}

/// Installs the rules in the calling process's network namespace.
///
/// `nat`: DNS of any destination and TCP of any destination outside 127.0.0.0/8 are redirected. `filter`: whatever is then
/// not on its way to loopback is dropped, so that UDP, raw and other protocols fail with `EPERM`.
pub fn install(lock: Lock) -> Result<()> {
    let mut b = Batch::default();
    let begin = b.message(BATCH_BEGIN, 0, false, &[0, 0, 0, SUBSYSTEM as u8]);
    b.end_message(begin);
    if lock.tcp.is_some() || lock.dns.is_some() {
        table(&mut b, IPV4, "qila_nat");
        chain(&mut b, IPV4, "qila_nat", "nat", -100, None);
    }
    if let Some(port) = lock.dns {
        for proto in [UDP, TCP] {
            rule(&mut b, IPV4, "qila_nat", |b| {
                proto_is(b, proto);
                dport_is(b, 53);
                redirect(b, port);
            });
        }
    }
    if let Some(port) = lock.tcp {
        rule(&mut b, IPV4, "qila_nat", |b| {
            proto_is(b, TCP);
            payload(b, 1, 16, 4);
            mask(b, &[255, 0, 0, 0]);
            compare(b, 1, &[127, 0, 0, 0]);
            redirect(b, port);
        });
    }
    table(&mut b, INET, "qila");
    chain(&mut b, INET, "qila", "filter", 0, Some(0));
    if lock.loopback {
        rule(&mut b, INET, "qila", |b| {
            ipv4_loopback(b);
            accept(b);
        });
        rule(&mut b, INET, "qila", |b| {
            meta(b, 15); // nfproto
            compare(b, 0, &[10]);
            payload(b, 1, 24, 16);
            compare(b, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            accept(b);
        });
    } else {
        rule(&mut b, INET, "qila", |b| {
            ipv4_loopback(b);
            established(b);
            accept(b);
        });
        for (proto, port) in [(TCP, lock.tcp), (TCP, lock.dns), (UDP, lock.dns)] {
            let Some(port) = port else { continue };
            rule(&mut b, INET, "qila", |b| {
                ipv4_loopback(b);
                proto_is(b, proto);
                dport_is(b, port);
                accept(b);
            });
        }
    }
    let end = b.message(BATCH_END, 0, false, &[0, 0, 0, SUBSYSTEM as u8]);
    b.end_message(end);
    b.run(NETFILTER)
}

fn table(b: &mut Batch, family: u8, name: &str) {
    let m = b.message(NEW_TABLE, NLM_F_CREATE, true, &[family, 0, 0, 0]);
    b.text(1, name);
    b.end_message(m);
}

fn chain(b: &mut Batch, family: u8, table: &str, kind: &str, priority: i32, policy: Option<u32>) {
    let m = b.message(NEW_CHAIN, NLM_F_CREATE, true, &[family, 0, 0, 0]);
    b.text(1, table);
    b.text(3, "out");
    let hook = b.nest(4);
    b.be32(1, LOCAL_OUT);
    b.attr(2, &priority.to_be_bytes());
    b.end_nest(hook);
    if let Some(policy) = policy {
        b.be32(5, policy);
    }
    b.text(7, kind);
    b.end_message(m);
}

fn rule(b: &mut Batch, family: u8, table: &str, expressions: impl FnOnce(&mut Batch)) {
    const APPEND: u16 = 0x800;
    let m = b.message(NEW_RULE, NLM_F_CREATE | APPEND, true, &[family, 0, 0, 0]);
    b.text(1, table);
    b.text(2, "out");
    let list = b.nest(4);
    expressions(b);
    b.end_nest(list);
    b.end_message(m);
}

fn expression(b: &mut Batch, name: &str, data: impl FnOnce(&mut Batch)) {
    let element = b.nest(1);
    b.text(1, name);
    let inner = b.nest(2);
    data(b);
    b.end_nest(inner);
    b.end_nest(element);
}

fn meta(b: &mut Batch, key: u32) {
    expression(b, "meta", |b| {
        b.be32(1, REG);
        b.be32(2, key);
    });
}

fn payload(b: &mut Batch, base: u32, offset: u32, len: u32) {
    expression(b, "payload", |b| {
        b.be32(1, REG);
        b.be32(2, base);
        b.be32(3, offset);
        b.be32(4, len);
    });
}

fn value(b: &mut Batch, kind: u16, bytes: &[u8]) {
    let nest = b.nest(kind);
    b.attr(1, bytes);
    b.end_nest(nest);
}

/// `op` 0 is equal, 1 is not equal.
fn compare(b: &mut Batch, op: u32, bytes: &[u8]) {
    expression(b, "cmp", |b| {
        b.be32(1, REG);
        b.be32(2, op);
        value(b, 3, bytes);
    });
}

fn mask(b: &mut Batch, bytes: &[u8]) {
    expression(b, "bitwise", |b| {
        b.be32(1, REG);
        b.be32(2, REG);
        b.be32(3, u32::try_from(bytes.len()).unwrap_or(0));
        value(b, 4, bytes);
        value(b, 5, &vec![0; bytes.len()]);
    });
}

fn proto_is(b: &mut Batch, proto: u8) {
    meta(b, 16); // l4proto
    compare(b, 0, &[proto]);
}

fn dport_is(b: &mut Batch, port: u16) {
    payload(b, 2, 2, 2);
    compare(b, 0, &port.to_be_bytes());
}

fn ipv4_loopback(b: &mut Batch) {
    meta(b, 15); // nfproto
    compare(b, 0, &[2]);
    payload(b, 1, 16, 4);
    mask(b, &[255, 0, 0, 0]);
    compare(b, 0, &[127, 0, 0, 0]);
}

fn established(b: &mut Batch) {
    expression(b, "ct", |b| {
        b.be32(1, REG);
        b.be32(2, 0); // state
    });
    // A register holds the state in host order; established or related.
    mask(b, &6u32.to_ne_bytes());
    compare(b, 1, &0u32.to_ne_bytes());
}

fn redirect(b: &mut Batch, port: u16) {
    expression(b, "immediate", |b| {
        b.be32(1, REG);
        value(b, 2, &port.to_be_bytes());
    });
    expression(b, "redir", |b| b.be32(1, REG));
}

fn accept(b: &mut Batch) {
    expression(b, "immediate", |b| {
        b.be32(1, VERDICT);
        let data = b.nest(2);
        let verdict = b.nest(2);
        b.be32(1, ACCEPT);
        b.end_nest(verdict);
        b.end_nest(data);
    });
}
