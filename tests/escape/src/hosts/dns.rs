//! A small name server that records every question and answers from a table that the attacks fill.
use super::Running;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The answers to successive questions for a name, by address family; the last one repeats.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// What successive address questions get.
    pub rounds: Vec<Vec<IpAddr>>,
}

#[derive(Debug, Default)]
struct Zone {
    names: BTreeMap<String, (Answers, usize)>,
    asked: Vec<(SocketAddr, String)>,
}

/// The name server: one table, several addresses.
#[derive(Debug, Clone)]
pub struct NameServer {
    zone: Arc<Mutex<Zone>>,
    _running: Arc<Running>,
}

impl NameServer {
    /// Serves at port 53 of every address, by UDP and TCP.
    pub fn start(addresses: &[IpAddr]) -> io::Result<NameServer> {
        let zone = Arc::new(Mutex::new(Zone::default()));
        let running = Running::new();
        for &ip in addresses {
            let at = SocketAddr::new(ip, 53);
            let (udp, tcp) = (UdpSocket::bind(at)?, TcpListener::bind(at)?);
            let (of_udp, of_tcp) = (zone.clone(), zone.clone());
            let (go, go_tcp) = (running.0.clone(), running.0.clone());
            udp.set_read_timeout(Some(Duration::from_millis(100)))?;
            thread::spawn(move || {
                let mut buffer = [0; 2048];
                while go.load(Ordering::Relaxed) {
                    let Ok((n, from)) = udp.recv_from(&mut buffer) else {
                        continue;
                    };
                    if let Some(answer) = answer(&of_udp, at, buffer.get(..n).unwrap_or_default()) {
                        let _ = udp.send_to(&answer, from);
                    }
                }
            });
            tcp.set_nonblocking(true)?;
            thread::spawn(move || {
                while go_tcp.load(Ordering::Relaxed) {
                    let Ok((mut stream, _)) = tcp.accept() else {
                        thread::sleep(Duration::from_millis(10));
                        continue;
                    };
                    let zone = of_tcp.clone();
                    thread::spawn(move || {
                        let _ = stream.set_nonblocking(false);
                        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
                        let mut length = [0; 2];
                        if stream.read_exact(&mut length).is_err() {
                            return;
                        }
                        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                        if stream.read_exact(&mut question).is_err() {
                            return;
                        }
                        if let Some(answer) = answer(&zone, at, &question) {
                            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX).to_be_bytes();
                            let _ = stream.write_all(&length).and_then(|()| stream.write_all(&answer));
                        }
                    });
                }
            });
        }
        Ok(NameServer {
            zone,
            _running: Arc::new(running),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Zone> {
        self.zone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a name known.
    pub fn name(&self, name: &str, rounds: Vec<Vec<IpAddr>>) {
        self.lock()
            .names
            .insert(name.to_ascii_lowercase(), (Answers { rounds }, 0));
    }

    /// The judge's sentence if any server was asked for a name that holds the token.
    pub fn asked(&self, token: &str) -> Option<String> {
        let token = token.to_ascii_lowercase();
        let zone = self.lock();
        let (at, name) = zone.asked.iter().find(|(_, name)| name.contains(&token))?;
        Some(format!("the name server at {at} was asked for {name}"))
    }
}

/// Reads the question's name; none if it is no plain question.
fn question(message: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase());
        at += length;
        if labels.len() > 127 {
            return None;
        }
    }
    let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

fn answer(zone: &Mutex<Zone>, at: SocketAddr, message: &[u8]) -> Option<Vec<u8>> {
    let (name, kind, end) = question(message)?;
    let mut zone = zone.lock().unwrap_or_else(PoisonError::into_inner);
    zone.asked.push((at, name.clone()));
    let mut found = Vec::new();
    let known = zone.names.get_mut(&name);
    let exists = known.is_some();
    if let Some((answers, round)) = known {
        let last = answers.rounds.len().saturating_sub(1);
        let ips = answers
            .rounds
            .get((*round).min(last))
            .cloned()
            .unwrap_or_default();
        // A resolver asks for both families at once: a round ends with the one that had an answer.
        let fits = |ip: &IpAddr| (kind == 1 && ip.is_ipv4()) || (kind == 28 && ip.is_ipv6());
        found = ips.into_iter().filter(fits).collect();
        if !found.is_empty() {
            *round += 1;
        }
    }
    let mut out = message.get(..end)?.to_vec();
    let code = if exists { 0 } else { 3 };
    let head = [
        0x85,
        0x80 | code,
        0,
        1,
        0,
        u8::try_from(found.len()).ok()?,
        0,
        0,
        0,
        0,
    ];
    out.get_mut(2..12)?.copy_from_slice(&head);
    for ip in found {
        let (kind, bytes) = match ip {
            IpAddr::V4(v4) => (1u8, v4.octets().to_vec()),
            IpAddr::V6(v6) => (28, v6.octets().to_vec()),
        };
        // Time to live 0: the next use asks again, which is what rebinding lives on.
        out.extend_from_slice(&[
            0xc0,
            12,
            0,
            kind,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            u8::try_from(bytes.len()).ok()?,
        ]);
        out.extend_from_slice(&bytes);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &str, kind: u8) -> Vec<u8> {
        let mut m = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            m.push(label.len() as u8);
            m.extend_from_slice(label.as_bytes());
        }
        m.extend_from_slice(&[0, 0, kind, 0, 1]);
        m
    }

    #[test]
    fn rounds_advance_and_the_unknown_is_denied() {
        let zone = Mutex::new(Zone::default());
        let at = SocketAddr::from(([127, 0, 0, 1], 53));
        let ip = |n| IpAddr::from([n, 0, 0, 1]);
        zone.lock().unwrap().names.insert(
            "a.test".into(),
            (
                Answers {
                    rounds: vec![vec![ip(1)], vec![ip(2)]],
                },
                0,
            ),
        );
        let tail = |m: Vec<u8>| m[m.len() - 4];
        assert_eq!(tail(answer(&zone, at, &ask("A.test", 1)).unwrap()), 1);
        assert_eq!(answer(&zone, at, &ask("a.test", 28)).unwrap()[7], 0);
        assert_eq!(tail(answer(&zone, at, &ask("a.test", 1)).unwrap()), 2);
        assert_eq!(tail(answer(&zone, at, &ask("a.test", 1)).unwrap()), 2);
        assert_eq!(answer(&zone, at, &ask("b.test", 1)).unwrap()[3] & 15, 3);
        assert!(answer(&zone, at, &[0; 13]).is_none());
    }
}
