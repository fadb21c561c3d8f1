//! `qila serve`: sandboxes of this machine for whoever has a key.
mod logs;

use crate::budgets;
use crate::fail::{Fail, chain};
use crate::home::Home;
use crate::key::{self, DEFAULT, SERVE};
use crate::policy::print;
use crate::run::evidence;
use clap::Args;
use logs::Logs;
use qila_api::Tenant;
use qila_node::{Launcher, Machine};
use qila_server::{BeforePort, Config, Keyring, Minted, Missing, NotFound, ServeError, for_e2b};
use qila_store::Store;
use qila_types::Millis;
use rustix::process::{Resource, getrlimit, setrlimit};
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// `qila serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen. Port 0: one that is free. May be repeated.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3000")]
    listen: Vec<SocketAddr>,
    /// Certificate chain (PEM). Its names should hold for `*.DOMAIN`, too, for ports of sandboxes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Domain beneath which `PORT-ID.DOMAIN` is a port of a sandbox. `PORT-ID.localhost` always is.
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// Listen without TLS where others can reach it: behind a proxy that has it, say.
    #[arg(long)]
    insecure: bool,
    /// Each request as one JSON object on standard error.
    #[arg(long)]
    json_logs: bool,
    /// Most sandboxes at once, of all tenants.
    #[arg(long, value_name = "N", default_value_t = 4096)]
    max_sandboxes: u32,
    /// How long requests under way may go on when it is told to end. Sandboxes live on.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    drain: Millis,
    /// The program that runs cells of code in sandboxes: a static one. Default: this one.
    #[arg(long, value_name = "FILE")]
    interpreter: Option<PathBuf>,
    /// Registry on this host or a private network that images may come from; with `http://` before it one on loopback without TLS.
    /// May be repeated.
    #[arg(long, value_name = "HOST[:PORT]")]
    registry: Vec<String>,
    /// File of prices of models (YAML), which go before the built-in ones.
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Reach a host of policies at this address instead of the one that its name resolves to. May be repeated.
    #[arg(long, value_name = "NAME[:PORT]=ADDR:PORT")]
    upstream: Vec<String>,
    /// File of further CA certificates (PEM) to verify upstreams against. May be repeated.
    #[arg(long, value_name = "FILE")]
    upstream_ca: Vec<PathBuf>,
}

/// `qila serve`.
pub(crate) fn serve(args: &ServeArgs) -> Result<u8, Fail> {
    let home = Home::open()?;
    home.subdir(SERVE)?;
    for upstream in &args.upstream {
        upstream
            .parse::<qila_gateway::Upstream>()
            .map_err(|e| Fail::new(format!("--upstream {upstream}: {e}")).code(2))?;
    }
    let prices = budgets::prices(args.prices.as_ref())?;
    let guest = qila_embedded::open(home.dir())
        .map_err(|e| Fail::io("leaving the guest in", home.path(), e.into()))?;
    // Before any thread exists, and before anything is open that it must not hold.
    let launcher = Launcher::start(guest).map_err(|e| Fail::new(format!("starting the launcher: {e}")))?;
    // Not for the launcher, whose children are sandboxes.
    many_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Fail::new(format!("starting threads: {e}")))?;
    let done = runtime.block_on(run(args, &home, launcher, prices));
    // What still runs in the background has been waited for as long as it was to be.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn run(args: &ServeArgs, home: &Home, launcher: Launcher, prices: Option<String>) -> Result<u8, Fail> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(|e| Fail::io("resolving", path, e));
    let store = key::open(home)?;
    let (machine, found) = Machine::start(qila_node::Config {
        state: home.path().to_owned(),
        launcher,
        store: store.clone(),
        log: evidence::open(home)?,
        quotas: Arc::new(Keyring(store.clone())),
        most: args.max_sandboxes,
        interpreter: match &args.interpreter {
            Some(path) => Some(absolute(path)?),
            None => itself(),
        },
        registries: args.registry.clone(),
        upstreams: args.upstream.clone(),
        upstream_ca: args.upstream_ca.iter().map(absolute).collect::<Result<_, _>>()?,
        prices,
        user_home: std::env::var("HOME").ok(),
    })
    .await
    .map_err(|e| Fail::new(format!("starting the node: {}", chain(&e))))?;
    if found != qila_node::Found::default() {
        let (adopted, settled, removed) = (found.adopted, found.settled, found.removed);
        eprintln!(
            "qila: from before: {adopted} sandboxes go on, {settled} had ended, {removed} half-made were removed"
        );
    }
    let first = first_key(&store).await?;
    let logs = Logs::start(args.json_logs).map_err(|e| Fail::new(format!("starting the log: {e}")))?;
    let config = config(args, Arc::new(machine.clone()), store.clone(), &logs);
    let ended = end().map_err(|e| Fail::new(format!("taking over signals: {e}")))?;
    let ready = |addresses: &[SocketAddr]| welcome(args, addresses, first.as_ref());
    let served = qila_server::serve(config, ended, ready).await;
    if let (Err(_), Some(minted)) = (&served, &first) {
        // It was never shown: the start that serves makes another.
        store.revoke_key(&minted.id).await.map_err(key::failed)?;
    }
    machine.abandon().await;
    let report = served.map_err(not_served)?;
    logs.end();
    if report.cut_off > 0 {
        eprintln!("qila: {} connections were cut off", report.cut_off);
    }
    Ok(0)
}

/// This very program, which runs cells of code where it is started as `qila interpret`. None: it could not be started in a
/// sandbox, being linked to libraries of this host.
fn itself() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?;
    let mut head = [0u8; 4096];
    let n = std::fs::File::open(&path)
        .and_then(|mut f| std::io::Read::read(&mut f, &mut head))
        .ok()?;
    // The path of the loader stands near the beginning of what needs one.
    let linked = head.get(..n)?.windows(3).any(|w| w == b"/ld");
    (!linked).then_some(path)
}

fn config(args: &ServeArgs, node: Arc<dyn qila_api::Node>, store: Store, logs: &Logs) -> Config {
    let interpreter = Arc::new(qila_e2b::Interpreter::new(Arc::clone(&node)));
    let before: BeforePort = Arc::new(move |id, port| {
        let interpreter = Arc::clone(&interpreter);
        Box::pin(async move { interpreter.before_port(&id, port).await })
    });
    let not_found: NotFound = Arc::new(|id, port, what| match what {
        Missing::Sandbox => qila_e2b::sandbox_not_found(id),
        Missing::Port => qila_e2b::nothing_listens(id, port),
    });
    let keys = Arc::new(Keyring(store.clone()));
    let mut config = Config::new(Arc::clone(&node), store);
    config.listen = args.listen.clone();
    config.tls = args.tls_cert.clone().zip(args.tls_key.clone());
    config.insecure = args.insecure;
    config.domain = args.domain.clone();
    config.drain = Duration::from_millis(args.drain.0);
    config.envd = Some(qila_e2b::envd(Arc::clone(&node)));
    config.control = Some(qila_e2b::control(node, keys, args.domain.clone()));
    config.before_port = Some(before);
    config.not_found = Some(not_found);
    config.log = Some(logs.sink());
    config
}

fn not_served(error: ServeError) -> Fail {
    let hint = match &error {
        ServeError::Clear(_) => {
            "give --tls-cert and --tls-key, or --insecure if something in front of it has TLS"
        }
        ServeError::Listen { .. } => "--listen takes another address",
        _ => "",
    };
    Fail::new(chain(&error)).hint(hint)
}

/// As many open files as there may be: each connection is one, and a sandbox has several.
fn many_files() -> Result<(), Fail> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).map_err(|e| Fail::new(format!("raising the limit of open files: {e}")))
}

/// An admin key, if there is none of anybody's.
async fn first_key(store: &Store) -> Result<Option<Minted>, Fail> {
    if store.has_keys().await.map_err(key::failed)? {
        return Ok(None);
    }
    let tenant = Tenant::parse(DEFAULT).map_err(|e| Fail::new(e.to_string()))?;
    key::new(store, &tenant, "made by the first start", true, None)
        .await
        .map(Some)
}

/// Says where it is, and the first key, this once.
fn welcome(args: &ServeArgs, addresses: &[SocketAddr], first: Option<&Minted>) {
    let scheme = if args.tls_cert.is_some() { "https" } else { "http" };
    for address in addresses {
        eprintln!("qila: serving at {scheme}://{address}");
    }
    let (Some(minted), Some(address)) = (first, addresses.first()) else {
        return;
    };
    eprintln!("qila: this admin key is shown once; `qila key new` makes others:");
    let url = match &args.domain {
        Some(domain) => format!("{scheme}://{domain}:{}", address.port()),
        None => format!("{scheme}://{address}"),
    };
    let key = for_e2b(&minted.secret);
    print(&format!(
        "export E2B_API_URL={url}\nexport E2B_SANDBOX_URL={url}\nexport E2B_API_KEY={}",
        key.expose_secret()
    ));
}

/// Waits until it is told to end: interrupted, terminated, or its terminal is gone.
fn end() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
        eprintln!("qila: ending; sandboxes live on");
    })
}
