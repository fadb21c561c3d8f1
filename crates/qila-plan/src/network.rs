//! The network part of a plan.
use qila_policy::model::Network;
use serde::{Deserialize, Serialize};

/// Port on the sandbox's loopback that takes every redirected TCP connection; also answers as an explicit proxy.
pub const GATEWAY_PORT: u16 = 3128;
/// Port on the sandbox's loopback that takes every DNS query.
pub const DNS_PORT: u16 = 53;

/// The network part of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkPlan {
    /// An empty namespace: no device but `lo`, no route, no rule that could let anything out.
    Closed {
        /// Whether programs inside may use loopback among themselves.
        loopback: bool,
    },
    /// Everything that leaves is redirected to listeners that the gateway holds.
    Locked {
        /// Whether programs inside may use loopback among themselves.
        loopback: bool,
        /// Port of the TCP listener.
        tcp: u16,
        /// Port of the DNS listeners.
        dns: u16,
        /// Whether TLS ends at the gateway for some rule, so that the sandbox must trust its CA.
        intercepts: bool,
    },
}

impl NetworkPlan {
    pub(crate) fn of(network: &Network) -> NetworkPlan {
        let loopback = network.loopback;
        if network.allow.is_empty() {
            return NetworkPlan::Closed { loopback };
        }
        NetworkPlan::Locked {
            loopback,
            tcp: GATEWAY_PORT,
            dns: DNS_PORT,
            intercepts: network.allow.iter().any(|r| r.intercepts()),
        }
    }

    /// Whether a gateway runs.
    pub fn has_gateway(&self) -> bool {
        matches!(self, NetworkPlan::Locked { .. })
    }
}
