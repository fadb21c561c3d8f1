//! `qila gateway`: the gateway alone, as a proxy for programs that are in no sandbox of Qila's.
//!
//! They can go round it: it holds their keys and keeps count, but it is no wall.
use crate::args::Serve;
use crate::budgets;
use crate::fail::Fail;
use crate::gateways::Place;
use crate::home::Home;
use crate::leases;
use crate::load;
use crate::policy::print;
use crate::run::evidence::{Evidence, digest};
use crate::run::outside::Outside;
use crate::run::witness::Witness;
use crate::run::{janitor, new_id, plan};
use qila_gateway::{Gateway, Rewrite, USER};
use qila_plan::{CA_BUNDLE_VARIABLES, CA_VARIABLES};
use qila_sys::signal::SignalFd;
use qila_types::EventKind;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::fs::{Mode, OFlags, fchmod, open};
use rustix::io::Errno;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const HUP: i32 = 1;
const INT: i32 = 2;
const TERM: i32 = 15;
/// Largest bundle of certificates in bytes.
const MAX_BUNDLE: u64 = 8 << 20;

/// `qila gateway`.
pub(crate) fn gateway(args: &Serve) -> Result<u8, Fail> {
    let policy = load::load(&args.policy)?;
    let home = Home::open()?;
    janitor::sweep(&home)?;
    let outside = Outside::new(policy, plan::home()?, None)?;
    if outside.permit.policy().network.allow.is_empty() {
        return Err(
            Fail::new("this policy lets nothing out, so that there is nothing to be a gateway for")
                .hint("name hosts under `network.allow`")
                .clause("network.allow"),
        );
    }
    let listener = TcpListener::bind(args.listen).map_err(|e| {
        Fail::new(format!("listening on {}: {e}", args.listen)).hint("choose another --listen")
    })?;
    let address = listener
        .local_addr()
        .map_err(|e| Fail::new(format!("listening: {e}")))?;
    let nonblocking = listener.set_nonblocking(true);
    nonblocking.map_err(|e| Fail::new(format!("listening: {e}")))?;
    let password = password()?;
    let id = new_id()?;
    let place = Place::make(&home, &id, outside.leases())?;
    let agent = budgets::agent(args.agent.as_deref(), &args.policy);
    let files = budgets::files(&home, &id, place.path(), &agent, &outside.permit.policy().budgets)?;
    let prices = budgets::prices(args.prices.as_ref())?;
    let proxy = Some(password.clone());
    let leases = leases::place(&home, &id, outside.permit.policy())?;
    let config = outside.config(&args.upstream, &args.upstream_ca, proxy, files, prices, leases);
    let mut gateway = Gateway::start(config).map_err(|e| Fail::new(format!("starting the gateway: {e}")))?;
    let ca = gateway.ready().map_err(|e| Fail::new(e.what).hint(e.hint))?;
    let files = Files::write(place, &ca)?;
    let mut evidence = Evidence::of(&home, &id);
    evidence.minted_by(outside.permit.policy());
    let mut kinds = vec![EventKind::GatewayStarted {
        policy_digest: digest(outside.permit.policy()),
        address: address.to_string(),
    }];
    let held = outside.leases().into_iter();
    kinds.extend(held.map(|credential| EventKind::LeaseCreated { credential }));
    evidence.record(kinds)?;
    gateway
        .listen(&[listener.as_fd()])
        .map_err(|e| Fail::new(format!("the gateway could not be told to listen: {e}")))?;
    drop(listener); // the gateway's alone from here on
    let variables = variables(address, &password, &files, &outside);
    say(args, id.as_str(), address, &variables);
    drop((password, variables));
    let mut witness = Witness::new(Some(gateway), &mut evidence);
    let served = serve(args, &outside, &mut witness);
    // Whatever became of it: what it had done by then is written down.
    let heard = witness.close();
    let mut kinds = evidence.revoked();
    kinds.push(EventKind::GatewayEnded);
    let folded = budgets::fold(&home, &id);
    let recorded = evidence.record(kinds);
    evidence.warn();
    served.and(heard).and(recorded).and(folded)?;
    if !args.quiet {
        let tally = evidence.tally();
        if let Some(spent) = evidence.tally().spent() {
            eprintln!("qila: {spent}");
        }
        eprintln!(
            "qila: {} accesses allowed, {} denied; see `qila log {id}`",
            tally.allowed, tally.denied
        );
    }
    Ok(0)
}

fn password() -> Result<Zeroizing<String>, Fail> {
    let mut random = Zeroizing::new([0u8; 16]);
    getrandom::fill(random.as_mut()).map_err(|e| Fail::new(format!("no random numbers: {e}")))?;
    Ok(Zeroizing::new(
        random.iter().map(|b| format!("{b:02x}")).collect(),
    ))
}

/// Until told to end. A hang-up makes it read its policy again.
fn serve(args: &Serve, outside: &Outside, witness: &mut Witness<'_, '_>) -> Result<(), Fail> {
    let signals =
        SignalFd::new(&[HUP, INT, TERM]).map_err(|e| Fail::new(format!("taking over signals: {e}")))?;
    loop {
        let mut fds = vec![PollFd::new(&signals, PollFlags::IN)];
        fds.extend(
            witness
                .link()
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
        );
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(Fail::new(format!("waiting for the gateway: {e}"))),
        }
        let spoke = fds.last().is_some_and(|f| !f.revents().is_empty());
        drop(fds);
        if spoke && let Some(Err(why)) = witness.hear()? {
            eprintln!("qila: the gateway goes on under the old rules: {why}");
        }
        while let Some(signal) = signals.next() {
            if signal != HUP {
                return Ok(());
            }
            if let Err(fail) = again(args, outside, witness) {
                eprintln!("qila: the gateway goes on under the old rules: {fail}");
            }
        }
    }
}

fn again(args: &Serve, outside: &Outside, witness: &mut Witness<'_, '_>) -> Result<(), Fail> {
    let rewrite = Rewrite {
        policy: load::bundle(&args.policy)?,
        absent: outside.absent.clone(),
    };
    let permit = rewrite.permit().map_err(Fail::new)?;
    let by = rustix::process::getuid().as_raw();
    witness.change(rewrite, digest(permit.policy()), by)
}

/// Certificates for programs to trust, for as long as the gateway runs.
struct Files {
    place: Place,
    ca: Option<(PathBuf, PathBuf)>,
}

impl Files {
    /// The gateway's own CA by itself and beside the host's; nothing where nothing is intercepted.
    fn write(place: Place, ca: &str) -> Result<Files, Fail> {
        let mut files = Files { place, ca: None };
        if ca.is_empty() {
            return Ok(files);
        }
        let mut bundle = Vec::new();
        for known in qila_host::ca_bundles(Path::new("/")).iter().take(1) {
            use std::io::Read;
            let read = std::fs::File::open(known).and_then(|f| f.take(MAX_BUNDLE).read_to_end(&mut bundle));
            read.map_err(|e| Fail::io("reading", Path::new(known), e))?;
        }
        bundle.push(b'\n');
        bundle.extend_from_slice(ca.as_bytes());
        let dir = files.place.path();
        let (own, all) = (dir.join("ca.pem"), dir.join("ca-bundle.pem"));
        for (path, text) in [(&own, ca.as_bytes()), (&all, bundle.as_slice())] {
            put(path, text).map_err(|e| Fail::io("writing", path, e))?;
        }
        files.ca = Some((own, all));
        Ok(files)
    }
}

fn put(path: &Path, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = open(path, flags, Mode::RUSR | Mode::WUSR)?;
    fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    std::fs::File::from(fd).write_all(text)
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.place.path()); // nothing secret is in it
    }
}

fn variables(
    address: SocketAddr,
    password: &str,
    files: &Files,
    outside: &Outside,
) -> Vec<(String, Zeroizing<String>)> {
    let url = format!("http://{USER}:{password}@{address}");
    let mut out: Vec<(String, Zeroizing<String>)> =
        ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"]
            .map(|name| (name.to_owned(), Zeroizing::new(url.clone())))
            .into();
    let mut more = |name: &str, value: String| out.push((name.to_owned(), Zeroizing::new(value)));
    // Node reads the proxy's variables only when asked to.
    more("NODE_USE_ENV_PROXY", "1".into());
    if let Some((own, all)) = &files.ca {
        CA_BUNDLE_VARIABLES
            .iter()
            .for_each(|name| more(name, all.display().to_string()));
        CA_VARIABLES
            .iter()
            .for_each(|name| more(name, own.display().to_string()));
    }
    for (name, placeholder) in outside.variables() {
        more(&name, placeholder);
    }
    out
}

/// What a program is to be started with, for a shell to read.
fn say(args: &Serve, id: &str, address: SocketAddr, variables: &[(String, Zeroizing<String>)]) {
    if args.json {
        let all: serde_json::Map<String, serde_json::Value> = variables
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        print(
            &serde_json::json!({"gateway": id, "address": address.to_string(), "environment": all})
                .to_string(),
        );
    } else {
        let lines: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("export {name}='{}'", value.replace('\'', "'\\''")))
            .collect();
        print(&lines.join("\n"));
    }
    if !args.quiet {
        eprintln!(
            "qila: gateway {id} listens on {address}; it ends with Ctrl-C and reads its policy again at SIGHUP"
        );
        if !address.ip().is_loopback() {
            eprintln!(
                "qila: whoever can read along on the way to {address} learns its password: it is HTTP without TLS"
            );
        }
    }
}
