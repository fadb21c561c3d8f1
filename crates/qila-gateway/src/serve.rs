//! The gateway's process, from the fork to the end of the run.
use crate::ca::Authority;
use crate::config::{Config, Order};
use crate::confine;
use crate::connection;
use crate::dial::Dialler;
use crate::dns;
use crate::door::Door;
use crate::gate::{Gate, Parts, Rules};
use crate::link::{Down, MAX_PACKET, Up, decode, encode};
use crate::recorder::Recorder;
use crate::secrets::{Secrets, renew};
use crate::spend::Spending;
use crate::tls::Outward;
use qila_sys::{caps, exec, pass};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

/// Most connections at a time; further ones wait in the kernel.
const CONNECTIONS: usize = 512;

/// Most bytes of what it is told to do.
const MAX_ORDER: u64 = 16 << 20;

/// What stops a gateway from starting.
struct Failure {
    what: String,
    hint: String,
}

fn failure(what: impl std::fmt::Display, hint: &str) -> Failure {
    Failure {
        what: what.to_string(),
        hint: hint.to_owned(),
    }
}

/// Runs to the end. Answers the exit code.
pub(crate) fn process(config: Config, link: OwnedFd) -> i32 {
    match start(config, &link) {
        Ok((parts, listeners)) => match serve(parts, &link, listeners) {
            Ok(()) => 0,
            Err(e) => {
                say(&link, &failure(format!("confining itself: {e}"), "qila doctor"));
                1
            }
        },
        Err(failure) => {
            say(&link, &failure);
            1
        }
    }
}

/// A panic ends the process, and with it the run, which then says why: what else it left undone nobody knows.
fn last_words(link: &OwnedFd) -> Result<(), rustix::io::Errno> {
    let link = rustix::io::fcntl_dupfd_cloexec(link, 3)?;
    std::panic::set_hook(Box::new(move |panic| {
        let what: String = format!("it panicked: {panic}").chars().take(1000).collect();
        say(&link, &failure(what, ""));
        qila_sys::fork::exit_now(1)
    }));
    Ok(())
}

fn say(link: &OwnedFd, failure: &Failure) {
    let (what, hint) = (failure.what.clone(), failure.hint.clone());
    if let Ok(packet) = encode(&Up::Failed { what, hint }) {
        let _ = pass::send(link, &packet, &[]); // a launcher that is gone needs no reason
    }
}

/// What is needed to make a [`Gate`] once a runtime exists.
struct Ready {
    rules: Rules,
    secrets: Secrets,
    dialler: Dialler,
    outward: Outward,
    authority: Option<Authority>,
    door: Option<Door>,
    spending: Option<Spending>,
    prices: Option<String>,
}

/// TCP, and DNS over UDP and TCP where there is a sandbox to ask.
type Listeners = (OwnedFd, Option<(OwnedFd, OwnedFd)>);

fn start(config: Config, link: &OwnedFd) -> Result<(Ready, Listeners), Failure> {
    let system = |e: rustix::io::Errno| failure(format!("starting the gateway: {e}"), "qila doctor");
    caps::die_with_parent().map_err(system)?;
    // A session of its own: the terminal's signals are not for it; and no stream of the caller's is held open.
    rustix::process::setsid().map_err(system)?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(system)?;
    rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&null))
        .and_then(|()| rustix::stdio::dup2_stderr(&null))
        .map_err(system)?;
    std::mem::forget(null); // closed with all others in a moment
    exec::close_all_but(link.as_fd()).map_err(system)?;
    last_words(link).map_err(system)?;
    confine::no_core().map_err(system)?;
    let secrets = Secrets::read(&config)
        .map_err(|e| failure(e, "set it, or mark the credential `optional: true` in the policy"))?;
    let intercepts = config
        .permit
        .policy()
        .network
        .allow
        .iter()
        .any(|r| r.intercepts());
    let authority = intercepts
        .then(|| match &config.authority {
            Some(key) => Authority::from_pem(key),
            None => Authority::new(),
        })
        .transpose()
        .map_err(|e| failure(e, ""))?;
    let clauses = &config.permit.policy().budgets;
    let spending = (!clauses.is_empty())
        .then(|| Spending::open(clauses, &config.budgets))
        .transpose()
        .map_err(|e| {
            failure(
                format!("budgets: {e}"),
                "set QILA_HOME to a directory that you may write",
            )
        })?;
    if let Some(text) = &config.prices {
        let read = qila_meter::Prices::none().with(text).map(drop);
        read.map_err(|e| {
            failure(
                format!("--prices: {e}"),
                "see `crates/qila-meter/prices.yaml` for the form",
            )
        })?;
    }
    let parts = Ready {
        rules: Rules::of(&config.permit, 1).map_err(|e| failure(e, "qila policy check"))?,
        secrets,
        dialler: Dialler::new(config.upstreams),
        outward: Outward::new(&config.upstream_ca).map_err(|e| failure(e, "check --upstream-ca"))?,
        authority,
        spending,
        prices: config.prices,
        door: config.proxy_password.as_deref().map(|p| Door::new(p)),
    };
    let ca = parts.authority.as_ref().map(Authority::pem).unwrap_or_default();
    let ready = encode(&Up::Ready { ca }).map_err(system)?;
    pass::send(link, &ready, &[]).map_err(system)?;
    let mut buffer = vec![0u8; MAX_PACKET];
    let (n, fds) = pass::receive(link, &mut buffer).map_err(system)?;
    let told = decode::<Down>(buffer.get(..n).unwrap_or(&[]));
    let mut fds = fds.into_iter();
    let listeners = match (told, fds.next(), fds.next(), fds.next()) {
        (Ok(Down::Listen), Some(tcp), Some(udp), Some(dns)) => (tcp, Some((udp, dns))),
        (Ok(Down::Listen), Some(tcp), None, _) if parts.door.is_some() => (tcp, None),
        _ => return Err(failure("the gateway was given nothing to listen on", "")),
    };
    Ok((parts, listeners))
}

fn serve(ready: Ready, link: &OwnedFd, listeners: Listeners) -> std::io::Result<()> {
    let room = confine::connections(CONNECTIONS);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    confine::confine()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let (tcp, dns) = listeners;
        let tcp = TcpListener::from_std(tcp.into())?;
        let parts = Parts {
            secrets: ready.secrets,
            recorder: Recorder::new(rustix::io::fcntl_dupfd_cloexec(link, 3)?)?,
            dialler: ready.dialler,
            outward: ready.outward,
            authority: ready.authority,
            door: ready.door,
            spending: ready.spending,
            prices: ready.prices,
        };
        let gate = Rc::new(Gate::new(ready.rules, parts));
        if let Some((udp, tcp)) = dns {
            let (udp, tcp) = (
                UdpSocket::from_std(udp.into())?,
                TcpListener::from_std(tcp.into())?,
            );
            tokio::task::spawn_local(dns::udp(gate.clone(), udp));
            tokio::task::spawn_local(dns::tcp(gate.clone(), tcp));
        }
        renew::begin(&gate);
        tokio::task::spawn_local(accept(gate.clone(), tcp, room));
        // The launcher gone means the run gone: nothing is decided any more that nobody records.
        let told = gate.clone();
        let recording = gate.clone();
        tokio::task::spawn_local(async move { recording.recorder.drain().await });
        let obeying = move |file| {
            let gate = told.clone();
            tokio::task::spawn_local(async move {
                let error = obey(&gate, file).await.err();
                // A launcher that is gone is noticed where it is listened to.
                let _ = gate.recorder.changed(error).await;
            });
        };
        if gate.recorder.listen(obeying).await {
            // Told to stop: what is under way is settled, what was minted taken back, and the last word on it is said.
            gate.end();
            gate.take_back().await;
            gate.recorder.flush().await;
            qila_sys::fork::exit_now(0);
        }
        Ok(())
    })
}

/// Reads what it is told to do, and does it.
async fn obey(gate: &Gate, file: OwnedFd) -> Result<(), String> {
    use std::io::{Read, Seek};
    let mut text = Vec::new();
    let mut file = std::fs::File::from(file);
    file.rewind().map_err(|e| e.to_string())?;
    file.take(MAX_ORDER)
        .read_to_end(&mut text)
        .map_err(|e| e.to_string())?;
    match serde_json::from_slice(&text).map_err(|e| e.to_string())? {
        Order::Rules(rewrite) => gate.change(rewrite.permit()?),
        Order::Revoke(names) => gate.revoke(&names).await,
    }
}

async fn accept(gate: Rc<Gate>, listener: TcpListener, room: usize) {
    let room = Arc::new(Semaphore::new(room));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let gate = gate.clone();
                tokio::task::spawn_local(async move {
                    let _ = connection::serve(gate, stream).await;
                    drop(permit);
                });
            }
            // Out of descriptors, most likely: the next one may find some.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}
