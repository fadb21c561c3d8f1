//! A network that the harness invents: a namespace of its own, whose loopback device holds public, private and metadata
//! addresses, so that every address an attack could want has a real listener, and nothing ever leaves the machine.
use crate::hosts::{Authority, NameServer};
use crate::user::own_uid;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

const MARK: &str = "QILA_ESCAPE_WORLD";

/// Addresses and names of the invented network.
pub struct World {
    /// The name server; none where the harness could not make a network.
    pub names: Option<NameServer>,
    /// A public address, for hosts that a policy allows.
    pub public: IpAddr,
    /// Another, for hosts that no policy allows.
    pub other: IpAddr,
    /// A private address.
    pub private: IpAddr,
    /// The address of cloud metadata services.
    pub metadata: IpAddr,
    /// A public IPv6 address.
    pub public6: IpAddr,
    /// A resolver that no sandbox is told of.
    pub resolver: IpAddr,
    /// The authority that signs for the listeners.
    pub authority: Authority,
    /// Its certificate.
    pub authority_file: PathBuf,
}

const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);
const OTHER: Ipv4Addr = Ipv4Addr::new(45, 33, 32, 156);
const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
const PUBLIC6: Ipv6Addr = Ipv6Addr::new(0x2606, 0x2800, 0x220, 1, 0, 0, 0, 0x34);

/// As root, starts this program again in a network namespace of its own. Returns if there already, or if not root.
pub fn enter() -> io::Result<()> {
    if own_uid() != 0 || std::env::var_os(MARK).is_some() {
        return Ok(());
    }
    let addresses: String = [PUBLIC, OTHER, PRIVATE, METADATA, RESOLVER]
        .iter()
        .map(|ip| format!("ip addr add {ip}/32 dev lo\n"))
        .collect();
    let script = format!(
        "set -e\nip link set lo up\n{addresses}ip -6 addr add {PUBLIC6}/128 dev lo nodad || true\nip route add default dev lo\n\
         d=$(mktemp -d)\nmount -t tmpfs -o mode=755 tmpfs $d\necho 'nameserver 127.0.0.1' > $d/f\nchmod 644 $d/f\nmount --bind $d/f /etc/resolv.conf\numount -l $d\nrmdir $d\nexec \"$@\"\n"
    );
    let error = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            &script,
            "sh",
        ])
        .args(std::env::args_os())
        .env(MARK, "1")
        .exec();
    Err(error)
}

impl World {
    /// The world of this process.
    pub fn open(scratch: &std::path::Path) -> io::Result<World> {
        let authority = Authority::new()?;
        let authority_file = scratch.join("authority.pem");
        std::fs::write(&authority_file, authority.pem())?;
        let made = std::env::var_os(MARK).is_some();
        let ip = |v4: Ipv4Addr| IpAddr::from(if made { v4 } else { Ipv4Addr::LOCALHOST });
        let names = match made {
            true => Some(NameServer::start(&[Ipv4Addr::LOCALHOST.into(), RESOLVER.into()])?),
            false => None,
        };
        Ok(World {
            names,
            public: ip(PUBLIC),
            other: ip(OTHER),
            private: ip(PRIVATE),
            metadata: ip(METADATA),
            public6: if made {
                PUBLIC6.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            },
            resolver: ip(RESOLVER),
            authority,
            authority_file,
        })
    }

    /// The name server, which attacks that need a world have.
    pub fn names(&self) -> io::Result<&NameServer> {
        self.names
            .as_ref()
            .ok_or_else(|| io::Error::other("no network of the harness's own"))
    }
}
