//! What a gateway is started with.
use qila_policy::model::HostName;
use qila_policy::{Bundle, Constitution, Permit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use zeroize::Zeroizing;

/// What a gateway is started with.
#[derive(Debug)]
pub struct Config {
    /// What is allowed. Every credential in it has a [`Placeholder`].
    pub permit: Permit,
    /// What the agent holds instead of each credential, in the order of the policy's credentials.
    pub placeholders: Vec<Placeholder>,
    /// The operator's own word on where names are.
    pub upstreams: Vec<Upstream>,
    /// Files of further CA certificates (PEM) that upstreams are verified against, beside the host's.
    pub upstream_ca: Vec<PathBuf>,
    /// Where the accounts of each of the policy's budgets are kept.
    pub budgets: Vec<BudgetFile>,
    /// Prices of models that go before the built-in ones, as YAML.
    pub prices: Option<String>,
    /// A proxy for programs that are in no sandbox, and its password.
    pub proxy_password: Option<Zeroizing<String>>,
    /// Where it is remembered what providers minted.
    pub leases: Option<Leases>,
    /// Key of the sandbox's certificate authority, as PEM, where it was made before; else one is made.
    pub authority: Option<Zeroizing<String>>,
    /// Home directory of the caller, to find files of credentials.
    pub home: Option<String>,
    /// Workspace on the host, likewise.
    pub workspace: Option<String>,
}

/// Where it is remembered what providers minted for a run, until it is taken back.
#[derive(Debug, Clone)]
pub struct Leases {
    /// The directory, for all runs.
    pub dir: PathBuf,
    /// The run's id: the name of its journal there.
    pub run: String,
}

/// The accounts of one budget.
#[derive(Debug, Clone)]
pub struct BudgetFile {
    /// The file.
    pub path: PathBuf,
    /// Who reserves in it: the run's id.
    pub owner: [u8; 20],
}

/// Rules that are to replace those of a running gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rewrite {
    /// Where they stand.
    pub policy: Bundle,
    /// Optional credentials that the run was started without.
    pub absent: BTreeSet<String>,
}

/// What a running gateway is told to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Other rules come into force.
    Rules(Box<Rewrite>),
    /// Credentials by name, or all of them if none is named, go out of force for good.
    Revoke(BTreeSet<String>),
}

impl Rewrite {
    /// The permit, as it would be given to a gateway at its start.
    pub fn permit(&self) -> Result<Permit, String> {
        let policy = self.policy.policy().map_err(|e| e.to_string())?;
        let policy = policy
            .without_credentials(&self.absent)
            .map_err(|e| e.to_string())?;
        Permit::grant(policy, &Constitution::default()).map_err(|e| e.to_string())
    }
}

/// What the agent holds instead of a credential: worth nothing anywhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholder {
    /// Name of the credential in the policy.
    pub credential: String,
    /// Its text: letters and digits, with at least 128 random bits, made for this run only.
    pub text: String,
}

impl Placeholder {
    /// Makes one from random bytes.
    pub fn new(credential: &str, random: [u8; 20]) -> Placeholder {
        let hex: String = random.iter().map(|b| format!("{b:02x}")).collect();
        Placeholder {
            credential: credential.to_owned(),
            text: format!("qila0placeholder0{hex}"),
        }
    }
}

/// The operator's own word on where a name is reached. It beats resolution, and the refusal of private addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Host name as the agent uses it.
    pub name: HostName,
    /// Port as the agent uses it; none means any.
    pub port: Option<u16>,
    /// Where to dial.
    pub address: SocketAddr,
}

/// Why a text is not an [`Upstream`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not NAME[:PORT]=ADDRESS:PORT, such as `api.example.org:443=127.0.0.1:8443`")]
pub struct UpstreamError(String);

impl FromStr for Upstream {
    type Err = UpstreamError;
    fn from_str(text: &str) -> Result<Upstream, UpstreamError> {
        let wrong = || UpstreamError(text.chars().take(80).collect());
        let (left, right) = text.split_once('=').ok_or_else(wrong)?;
        let (name, port) = match left.split_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| wrong())?)),
            None => (left, None),
        };
        Ok(Upstream {
            name: HostName::parse(name).ok_or_else(wrong)?,
            port,
            address: right.parse().map_err(|_| wrong())?,
        })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.port.map_or(String::new(), |p| format!(":{p}"));
        write!(f, "{}{port}={}", self.name, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_are_read_strictly() {
        let read: Upstream = "API.example.org:443=127.0.0.1:8443".parse().unwrap();
        assert_eq!(
            (read.name.as_str(), read.port, read.address.port()),
            ("api.example.org", Some(443), 8443)
        );
        assert_eq!(read.to_string(), "api.example.org:443=127.0.0.1:8443");
        assert_eq!(read.to_string().parse(), Ok(read));
        for bad in [
            "",
            "a=b",
            "a:x=127.0.0.1:1",
            "127.0.0.1=127.0.0.1:1",
            "a=127.0.0.1",
            "a:70000=1.2.3.4:5",
        ] {
            assert!(bad.parse::<Upstream>().is_err(), "{bad}");
        }
    }
}
