//! E2B's network configuration as a wish to the node, and what of it cannot be one.
use super::caller::Caller;
use super::error::Refusal;
use qila_api::NetworkWish;
use serde::Deserialize;
use serde_json::Value;

/// Entries of a list at most.
const ENTRIES: usize = 256;
/// Longest entry: a host name.
const ENTRY: usize = 255;
/// Every address there is.
const ALL: &str = "0.0.0.0/0";

/// `network` of a sandbox that is to be made.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Network {
    pub allow_public_traffic: Option<bool>,
    allow_out: Option<Vec<String>>,
    deny_out: Option<Vec<String>>,
    dns_servers: Option<Value>,
    egress_proxy: Option<Value>,
    mask_request_host: Option<Value>,
    https_ports: Option<Value>,
    rules: Option<Value>,
}

fn is_something(value: &Option<Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

fn entries(name: &str, list: Option<Vec<String>>) -> Result<Vec<String>, Refusal> {
    let list = list.unwrap_or_default();
    if list.len() > ENTRIES || list.iter().any(|e| e.is_empty() || e.len() > ENTRY) {
        let what = format!("`network.{name}` has up to {ENTRIES} entries of 1 to {ENTRY} bytes");
        return Err(Refusal::bad(what));
    }
    Ok(list)
}

impl Network {
    /// What a sandbox with this configuration wishes for.
    pub(super) fn wish(self, internet: Option<bool>) -> Result<NetworkWish, Refusal> {
        for (name, value, why) in [
            // A list without any would leave names unresolved, and is no list that can be had either.
            (
                "dnsServers",
                self.dns_servers.is_some_and(|v| !v.is_null()),
                "names are resolved by the gateway",
            ),
            (
                "egressProxy",
                is_something(&self.egress_proxy),
                "the gateway dials what the policy names itself",
            ),
            (
                "maskRequestHost",
                is_something(&self.mask_request_host),
                "the host of a request is not rewritten",
            ),
            (
                "httpsPorts",
                is_something(&self.https_ports),
                "all ports are reached over the server's own TLS",
            ),
            (
                "rules",
                is_something(&self.rules),
                "headers and credentials are put in by the template's policy",
            ),
        ] {
            if value {
                return Err(Refusal::bad(format!("`network.{name}` is not there: {why}")));
            }
        }
        let (mut allow, mut deny) = (
            entries("allowOut", self.allow_out)?,
            entries("denyOut", self.deny_out)?,
        );
        let closed = internet == Some(false) || deny.iter().any(|e| e == ALL);
        let open = allow.iter().any(|e| e == ALL);
        deny.retain(|e| e != ALL);
        allow.retain(|e| e != ALL);
        if open {
            // Everything that the template's policy lets out, but what is denied.
            allow.clear();
        }
        // What is in both lists is allowed, as E2B says it.
        deny.retain(|e| !allow.contains(e));
        Ok(NetworkWish {
            internet: (closed && !open && allow.is_empty()).then_some(false),
            allow,
            deny,
        })
    }
}

/// `PUT …/network`: what a running sandbox may reach is fixed when it is made.
pub(super) async fn update(_: Caller) -> Refusal {
    Refusal::bad("the network of a sandbox is fixed when it is made: make another one")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wish(network: Value, internet: Option<bool>) -> Result<NetworkWish, Refusal> {
        serde_json::from_value::<Network>(network).unwrap().wish(internet)
    }

    fn made(internet: Option<bool>, allow: &[&str], deny: &[&str]) -> NetworkWish {
        let list = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        NetworkWish {
            internet,
            allow: list(allow),
            deny: list(deny),
        }
    }

    #[test]
    fn configurations_become_wishes() {
        for (network, internet, expected) in [
            (json!({}), None, made(None, &[], &[])),
            (json!({}), Some(true), made(None, &[], &[])),
            (json!({}), Some(false), made(Some(false), &[], &[])),
            (json!({"denyOut": [ALL]}), None, made(Some(false), &[], &[])),
            (
                json!({"denyOut": [ALL], "allowOut": ["a.com"]}),
                None,
                made(None, &["a.com"], &[]),
            ),
            (
                json!({"allowOut": ["a.com"]}),
                Some(false),
                made(None, &["a.com"], &[]),
            ),
            (
                json!({"allowOut": ["1.1.1.1"], "denyOut": ["1.1.1.1", "2.2.2.2"]}),
                None,
                made(None, &["1.1.1.1"], &["2.2.2.2"]),
            ),
            (
                json!({"allowOut": [ALL], "denyOut": [ALL, "2.2.2.2"]}),
                None,
                made(None, &[], &["2.2.2.2"]),
            ),
            (
                json!({"rules": {}, "dnsServers": null, "egressProxy": null, "httpsPorts": []}),
                None,
                made(None, &[], &[]),
            ),
        ] {
            assert_eq!(wish(network.clone(), internet).unwrap(), expected, "{network}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for network in [
            json!({"dnsServers": ["1.1.1.1"]}),
            json!({"dnsServers": []}),
            json!({"egressProxy": {"address": "a:1"}}),
            json!({"maskRequestHost": "localhost:${PORT}"}),
            json!({"httpsPorts": [8443]}),
            json!({"rules": {"a.com": []}}),
            json!({"allowOut": [""]}),
            json!({"denyOut": vec!["a"; 257]}),
        ] {
            assert!(wish(network.clone(), None).is_err(), "{network}");
        }
    }
}
