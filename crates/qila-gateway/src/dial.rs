//! Dialling: the gateway resolves names itself, and refuses where they must not lead.
use crate::addresses::{Inner, inner};
use crate::config::Upstream;
use crate::destination::Destination;
use hickory_resolver::TokioResolver;
use qila_policy::model::HostName;
use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest time for one address to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest time for a name to be resolved.
const RESOLVE: Duration = Duration::from_secs(10);
/// Most addresses of one name that are tried.
const TRIES: usize = 4;

/// Why nothing was dialled, or nothing answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    /// The name leads inward: recorded as a denial.
    #[error("{0}")]
    Forbidden(String),
    /// The name does not resolve, or nobody answers.
    #[error("{0}")]
    Unreachable(String),
}

/// Opens connections.
pub(crate) struct Dialler {
    upstreams: Vec<Upstream>,
    resolver: OnceCell<TokioResolver>,
}

impl Dialler {
    /// With the operator's own word on where names are.
    pub(crate) fn new(upstreams: Vec<Upstream>) -> Dialler {
        Dialler {
            upstreams,
            resolver: OnceCell::new(),
        }
    }

    /// Opens a connection to what the policy names.
    pub(crate) async fn dial(&self, to: &Destination, port: u16) -> Result<TcpStream, DialError> {
        connect(to, self.addresses(to, port).await?).await
    }

    /// Opens a connection to whom the policy names as a provider of credentials. No agent has a say in where that is, so that
    /// it may be of a private network, or of this host where the policy says so itself; never of a link or a cloud's metadata.
    pub(crate) async fn provider(&self, to: &Destination, port: u16) -> Result<TcpStream, DialError> {
        let place = |ip: IpAddr| SocketAddr::new(ip, port);
        let addresses = match to {
            Destination::Address(ip) if ip.is_loopback() => vec![place(*ip)],
            Destination::Address(_) => self.addresses(to, port).await?,
            Destination::Name(name) => match self.told(name, port) {
                Some(address) => vec![address],
                None if name.as_str() == "localhost" => {
                    vec![
                        place(Ipv4Addr::LOCALHOST.into()),
                        place(Ipv6Addr::LOCALHOST.into()),
                    ]
                }
                None => {
                    let found = self.resolve(name).await?;
                    let may = |ip: &IpAddr| inner(*ip) != Some(Inner::Local);
                    let outer: Vec<IpAddr> = found.iter().copied().filter(may).collect();
                    if outer.is_empty() && !found.is_empty() {
                        let why = format!(
                            "{name} leads to this host, its link or its cloud, where no provider is asked"
                        );
                        return Err(DialError::Forbidden(why));
                    }
                    outer.into_iter().map(place).collect()
                }
            },
        };
        connect(to, addresses).await
    }

    /// The operator's own word on where a name is.
    fn told(&self, name: &HostName, port: u16) -> Option<SocketAddr> {
        let named = |u: &&Upstream| u.name == *name && u.port.is_none_or(|p| p == port);
        self.upstreams.iter().find(named).map(|u| u.address)
    }

    async fn addresses(&self, to: &Destination, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        match to {
            Destination::Name(name) => {
                if let Some(address) = self.told(name, port) {
                    return Ok(vec![address]);
                }
                let found = self.resolve(name).await?;
                outer(name, &found).map(|ips| ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
            }
            // The policy names the address itself: a private one is then meant, this host or its link never is.
            Destination::Address(ip) => match inner(*ip) {
                Some(Inner::Local) => Err(DialError::Forbidden(format!(
                    "{ip} is of this host, its link or its cloud, and is never dialled"
                ))),
                Some(Inner::Private) | None => Ok(vec![SocketAddr::new(*ip, port)]),
            },
        }
    }

    async fn resolve(&self, name: &HostName) -> Result<Vec<IpAddr>, DialError> {
        let wrong = |e: String| DialError::Unreachable(format!("resolving {name}: {e}"));
        if self.resolver.get().is_none() {
            let made = TokioResolver::builder_tokio()
                .and_then(|b| b.build())
                .map_err(|e| wrong(e.to_string()))?;
            let _ = self.resolver.set(made);
        }
        let resolver = self.resolver.get().ok_or_else(|| wrong("no resolver".into()))?;
        // With the final dot no search list applies: what is asked for is what the policy names.
        let found = timeout(RESOLVE, resolver.lookup_ip(format!("{name}.")))
            .await
            .map_err(|_| wrong("no answer".into()))?
            .map_err(|e| wrong(e.to_string()))?;
        let mut ips: Vec<IpAddr> = found.iter().collect();
        ips.sort_by_key(IpAddr::is_ipv6);
        Ok(ips)
    }
}

async fn connect(to: &Destination, addresses: Vec<SocketAddr>) -> Result<TcpStream, DialError> {
    let mut last = DialError::Unreachable(format!("{to} has no address"));
    for address in addresses.into_iter().take(TRIES) {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(e)) => last = DialError::Unreachable(format!("connecting to {to}: {e}")),
            Err(_) => last = DialError::Unreachable(format!("connecting to {to}: no answer")),
        }
    }
    Err(last)
}

/// What of a name's addresses may be dialled.
fn outer(name: &HostName, found: &[IpAddr]) -> Result<Vec<IpAddr>, DialError> {
    let outer: Vec<IpAddr> = found.iter().copied().filter(|ip| inner(*ip).is_none()).collect();
    if outer.is_empty() && !found.is_empty() {
        let all: Vec<String> = found.iter().map(IpAddr::to_string).collect();
        return Err(DialError::Forbidden(format!(
            "{name} leads to {}, which is not of the public internet; an operator who means it says `--upstream {name}=ADDRESS:PORT`",
            all.join(", ")
        )));
    }
    Ok(outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_never_leads_inward() {
        let name = HostName::parse("rebind.example.org").unwrap();
        let ips = |list: &[&str]| list.iter().map(|t| t.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(
            outer(&name, &ips(&["127.0.0.1", "8.8.8.8"])),
            Ok(ips(&["8.8.8.8"]))
        );
        for inner in [
            &["127.0.0.1"][..],
            &["10.1.1.1", "169.254.169.254"],
            &["::ffff:8.8.8.8"],
        ] {
            assert!(
                matches!(outer(&name, &ips(inner)), Err(DialError::Forbidden(_))),
                "{inner:?}"
            );
        }
        assert_eq!(outer(&name, &[]), Ok(Vec::new()));
    }
}
