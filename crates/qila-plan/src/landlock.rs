//! Landlock rules from the view: each entry again, as a second wall.
use crate::network::{DNS_PORT, GATEWAY_PORT, NetworkPlan};
use crate::view::{View, ViewEntry};
use qila_policy::model::Network;
use qila_wire::{Landlock, Reach};

pub(crate) fn rules(abi: u32, view: &View, network: &NetworkPlan, policy: &Network) -> Landlock {
    let mut paths: Vec<(Vec<u8>, Reach)> = Vec::new();
    let mut put = |path: &str, reach| paths.push((path.as_bytes().to_vec(), reach));
    // The root is a private one: what it lists is what the view has, hidden directories being covered and empty.
    put("/", Reach::List);
    for entry in &view.entries {
        match entry {
            ViewEntry::Host { target, writable, .. } => {
                put(target, if *writable { Reach::Write } else { Reach::Read })
            }
            ViewEntry::Layer { target, .. } | ViewEntry::Scratch { target, .. } => put(target, Reach::Write),
            ViewEntry::Image { target } | ViewEntry::Injected { target, .. } => put(target, Reach::Read),
            ViewEntry::Proc { .. } => put("/proc", Reach::Read),
            ViewEntry::Dev { devices } => {
                put("/dev", Reach::Read);
                for device in devices {
                    put(&format!("/dev/{device}"), Reach::Device);
                }
                put("/dev/ptmx", Reach::Device);
                put("/dev/pts", Reach::Device);
            }
            ViewEntry::Link { .. } | ViewEntry::Hidden { .. } => {}
        }
    }
    Landlock {
        abi,
        paths,
        connect: ports(network, policy),
    }
}

/// The home of a sandbox that is served may be mounted anew while it runs, with another root: the rule stands on what it is
/// mounted in, which is a directory of the private root with nothing else in it that could be written.
pub(crate) fn renewable(rules: &mut Landlock, home: &str) {
    if let Some((above, _)) = home.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
        rules.paths.push((above.as_bytes().to_vec(), Reach::Write));
    }
}

/// Ports are closed where programs inside may not talk to each other. Loopback and a named host cannot be told apart by a
/// port, so that a sandbox with loopback of its own is left to the network lock.
fn ports(network: &NetworkPlan, policy: &Network) -> Option<Vec<u16>> {
    match network {
        NetworkPlan::Closed { loopback: true } | NetworkPlan::Locked { loopback: true, .. } => None,
        NetworkPlan::Closed { loopback: false } => Some(Vec::new()),
        NetworkPlan::Locked { loopback: false, .. } => {
            let mut ports: Vec<u16> = policy
                .allow
                .iter()
                .flat_map(|r| r.ports.iter().copied())
                .collect();
            ports.extend([GATEWAY_PORT, DNS_PORT]);
            ports.sort_unstable();
            ports.dedup();
            Some(ports)
        }
    }
}
