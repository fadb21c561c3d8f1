//! One redirected connection: where was it going, what does it speak, may it.
use crate::destination::Destination;
use crate::gate::{Gate, denied};
use crate::http::{self, Session};
use crate::names::is_synthetic;
use crate::prefixed::Prefixed;
use crate::spend::Spend;
use crate::spoken::{Speaks, spoken};
use crate::{proxy, relay};
use qila_authorizer::{Access as Ask, Verdict};
use qila_budget::Claim;
use qila_inspect::hello::{Hello, MAX_HELLO, client_hello};
use qila_policy::model::HostName;
use qila_types::{Access, Decision};
use rustix::net::sockopt;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::LazyConfigAcceptor;

/// Longest time that an agent may take to say the first words that a decision needs.
const FIRST_WORDS: Duration = Duration::from_secs(10);
/// Time after which a connection on which the agent says nothing is taken for a protocol in which the server speaks first.
const SERVER_FIRST: Duration = Duration::from_millis(300);

/// A connection that ends so soon after the handshake was ended because of it.
const AT_ONCE: Duration = Duration::from_secs(5);
/// For programs that trust no certificate but one.
const WAY_OUT: &str = "a rule without methods, paths and credential passes TLS through untouched";

/// Serves one connection to its end. Errors are those of sockets; decisions are recorded where they are made.
pub(crate) async fn serve(gate: Rc<Gate>, stream: TcpStream) -> std::io::Result<()> {
    let _ = stream.set_nodelay(true);
    if gate.door.is_some() {
        return proxy::serve(gate, stream).await;
    }
    let to = sockopt::ip_original_dst(&stream);
    let here = stream.local_addr()?;
    let (ip, port) = match to {
        Ok(to) => (*to.ip(), to.port()),
        // Never redirected: the agent connected to the gateway itself.
        Err(_) => return proxy::serve(gate, stream).await,
    };
    if ip.is_loopback() && port == here.port() {
        return proxy::serve(gate, stream).await;
    }
    let destination = if is_synthetic(ip) {
        let name = gate.names.borrow().name(ip).cloned();
        match name {
            Some(name) => Destination::Name(name),
            None => {
                let access = connect(&Destination::Address(ip.into()), port);
                let decision = denied(access, "this address stands for no name that was looked up");
                let _ = gate.recorder.noted(decision).await;
                reset(&stream);
                return Ok(());
            }
        }
    } else {
        Destination::Address(ip.into())
    };
    route(gate, Vec::new(), stream, destination, port).await
}

/// Ends a connection as if nobody had listened.
pub(crate) fn reset(stream: &TcpStream) {
    let _ = sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

fn connect(to: &Destination, port: u16) -> Access {
    Access::Connect {
        host: to.to_string(),
        port,
    }
}

/// Records a denial and ends the connection.
async fn refuse(gate: &Gate, stream: &TcpStream, decision: Decision) {
    let _ = gate.recorder.noted(decision).await;
    reset(stream);
}

/// Takes a connection with a known destination to its end. `first` holds what was read of it already.
pub(crate) async fn route(
    gate: Rc<Gate>,
    mut first: Vec<u8>,
    stream: TcpStream,
    to: Destination,
    port: u16,
) -> std::io::Result<()> {
    let rules = gate.rules();
    let verdict = rules.authorizer.decide(&Ask::Connect {
        host: to.as_host(),
        port,
    });
    let access = connect(&to, port);
    if !verdict.allowed {
        let decision = gate.decision(access, &verdict);
        refuse(&gate, &stream, decision).await;
        return Ok(());
    }
    if rules.rates.connections.as_ref().is_some_and(|b| !b.try_take()) {
        let reason = "more connections than `network.rates.connections` allows";
        refuse(&gate, &stream, denied(access, reason)).await;
        return Ok(());
    }
    match (
        listen(&stream, &mut first, verdict.intercept).await?,
        verdict.intercept,
    ) {
        (Speaks::Http, _) => {
            let session = Session::fixed(to, port, false);
            http::serve(gate, Prefixed::new(first, stream), session).await;
        }
        (Speaks::Http2, _) => {
            let session = Session::fixed(to, port, false);
            http::serve_http2(gate, Prefixed::new(first, stream), session).await;
        }
        (Speaks::Tls, true) => return terminate(gate, Prefixed::new(first, stream), to, port).await,
        (Speaks::Nothing | Speaks::Other, true) => {
            let reason =
                "this rule names methods, paths or a credential: only HTTP is passed, in TLS or in clear";
            refuse(&gate, &stream, denied(access, reason)).await;
        }
        (spoken, false) => return pass(gate, first, stream, to, port, &verdict, spoken).await,
    }
    Ok(())
}

/// Reads until it is known what is spoken.
async fn listen(stream: &TcpStream, first: &mut Vec<u8>, patient: bool) -> std::io::Result<Speaks> {
    let patience = sleep(if patient { FIRST_WORDS } else { SERVER_FIRST });
    tokio::pin!(patience);
    let deadline = sleep(FIRST_WORDS);
    tokio::pin!(deadline);
    loop {
        match spoken(first) {
            Some(Speaks::Nothing) | None => {}
            Some(known) => return Ok(known),
        }
        tokio::select! {
            got = more(stream, first) => match got? {
                0 if first.is_empty() => return Ok(Speaks::Nothing),
                0 => return Ok(Speaks::Other),
                _ => {}
            },
            () = &mut patience, if first.is_empty() => return Ok(Speaks::Nothing),
            () = &mut deadline => return Ok(Speaks::Other),
        }
    }
}

async fn more(stream: &TcpStream, first: &mut Vec<u8>) -> std::io::Result<usize> {
    loop {
        stream.readable().await?;
        let mut buffer = [0u8; 4096];
        match stream.try_read(&mut buffer) {
            Ok(n) => {
                first.extend(buffer.get(..n).unwrap_or(&[]));
                return Ok(n);
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
}

/// Ends TLS here, and serves what is inside.
async fn terminate(gate: Rc<Gate>, stream: Prefixed, to: Destination, port: u16) -> std::io::Result<()> {
    let access = || connect(&to, port);
    let (Some(authority), Destination::Name(name)) = (&gate.authority, &to) else {
        let _ = gate
            .recorder
            .noted(denied(access(), "an address cannot be intercepted"))
            .await;
        return Ok(());
    };
    let accepted = timeout(FIRST_WORDS, LazyConfigAcceptor::new(Default::default(), stream)).await?;
    let start = match accepted {
        Ok(start) => start,
        Err(e) => {
            let _ = gate
                .recorder
                .noted(denied(access(), format!("no TLS greeting: {e}")))
                .await;
            return Ok(());
        }
    };
    let sni = start.client_hello().server_name().map(str::to_owned);
    if let Some(sni) = &sni
        && HostName::parse(sni).as_ref() != Some(name)
    {
        let shown: String = sni.chars().take(255).collect();
        let reason = format!("TLS asks for `{shown}` on a connection to {name}");
        let _ = gate.recorder.noted(denied(access(), reason)).await;
        return Ok(());
    }
    let config = match authority.serve(name) {
        Ok(config) => config,
        Err(e) => {
            let _ = gate.recorder.noted(denied(access(), e.to_string())).await;
            return Ok(());
        }
    };
    match timeout(FIRST_WORDS, start.into_stream(config)).await? {
        Ok(stream) => {
            let session = Session::fixed(to.clone(), port, true);
            let (asked, begun) = (session.asked(), Instant::now());
            match stream.get_ref().1.alpn_protocol() {
                Some(b"h2") => http::serve_http2(gate.clone(), stream, session).await,
                _ => http::serve(gate.clone(), stream, session).await,
            }
            if !asked.get() && begun.elapsed() < AT_ONCE && gate.unasked.borrow_mut().insert(name.clone()) {
                let reason = format!(
                    "the agent ended TLS without a request, as a program does that knows the key of {name}'s own certificate; {WAY_OUT}"
                );
                let _ = gate.recorder.noted(denied(access(), reason)).await;
            }
        }
        Err(e) => {
            let reason = format!(
                "TLS with the agent failed ({e}): it speaks neither HTTP/2 nor HTTP/1.1, or trusts only certificates of its own; {WAY_OUT}"
            );
            let _ = gate.recorder.noted(denied(access(), reason)).await;
        }
    }
    Ok(())
}

/// Passes bytes through: recorded, then dialled, then relayed.
async fn pass(
    gate: Rc<Gate>,
    mut first: Vec<u8>,
    stream: TcpStream,
    to: Destination,
    port: u16,
    verdict: &Verdict,
    spoken: Speaks,
) -> std::io::Result<()> {
    let access = connect(&to, port);
    if spoken == Speaks::Tls
        && let Err(reason) = agree(&stream, &mut first, &to).await?
    {
        refuse(&gate, &stream, denied(access, reason)).await;
        return Ok(());
    }
    let rules = gate.rules();
    if !rules.rates.of_rule(verdict.rule) {
        let reason = "more connections than the rule's `rate` allows";
        refuse(&gate, &stream, denied(access, reason)).await;
        return Ok(());
    }
    let spend = match spend(&gate, &to) {
        Ok(spend) => spend,
        Err(reason) => {
            refuse(&gate, &stream, denied(access, reason)).await;
            return Ok(());
        }
    };
    let decision = gate.decision(access.clone(), verdict);
    if gate.recorder.decided(decision).await.is_err() {
        reset(&stream);
        return Ok(());
    }
    let mut upstream = match gate.dialler.dial(&to, port).await {
        Ok(upstream) => upstream,
        Err(e) => {
            refuse(&gate, &stream, denied(access, e.to_string())).await;
            return Ok(());
        }
    };
    let mut stream = stream;
    if spoken == Speaks::Nothing
        && !server_first(&gate, &mut stream, &mut upstream, &mut first, &to, port).await?
    {
        return Ok(());
    }
    crate::rate::take(rules.rates.upload.as_ref(), first.len()).await;
    upstream.write_all(&first).await?;
    let relayed = relay::relay(
        &stream,
        &upstream,
        rules.rates.upload.as_ref(),
        rules.rates.download.as_ref(),
        spend.as_deref(),
    );
    tokio::select! {
        done = relayed => return done,
        why = gate.withdrawn(&to, port) => refuse(&gate, &stream, denied(access, why)).await,
    }
    reset(&upstream);
    Ok(())
}

/// What a connection costs that nobody looks into.
fn spend(gate: &Gate, to: &Destination) -> Result<Option<Rc<Spend>>, String> {
    let Some(spending) = &gate.spending else {
        return Ok(None);
    };
    if spending.bounds_calls() && qila_meter::api::is_model_host(&to.to_string()) {
        return Err("a budget counts tokens or money, and what is said to a model's host under this rule cannot be read: name methods, paths or a credential".into());
    }
    let claim = Claim {
        requests: 1,
        ..Claim::default()
    };
    spending.begin(to, claim).map(Some).map_err(|e| e.to_string())
}

/// Whether the TLS greeting names the host that the connection goes to.
async fn agree(
    stream: &TcpStream,
    first: &mut Vec<u8>,
    to: &Destination,
) -> std::io::Result<Result<(), String>> {
    let Destination::Name(name) = to else {
        return Ok(Ok(()));
    };
    let deadline = sleep(FIRST_WORDS);
    tokio::pin!(deadline);
    loop {
        match client_hello(first) {
            Hello::Complete(hello) if hello.ech => {
                return Ok(Err(
                    "TLS hides the host's name (ECH); a rule that intercepts can be used with it".into(),
                ));
            }
            Hello::Complete(hello) => {
                return Ok(match hello.sni {
                    Some(sni) if sni != *name => {
                        Err(format!("TLS asks for `{sni}` on a connection to {name}"))
                    }
                    _ => Ok(()),
                });
            }
            Hello::Malformed(what) => return Ok(Err(format!("a malformed TLS greeting: {what}"))),
            Hello::NotTls => return Ok(Err("a malformed TLS greeting".into())),
            Hello::Incomplete if first.len() >= MAX_HELLO => {
                return Ok(Err("the TLS greeting is too long".into()));
            }
            Hello::Incomplete => {}
        }
        tokio::select! {
            got = more(stream, first) => if got? == 0 {
                return Ok(Err("the connection ended within the TLS greeting".into()));
            },
            () = &mut deadline => return Ok(Err("the TLS greeting did not come to its end".into())),
        }
    }
}

/// Passes what the server says until the agent speaks, and then looks at that. False: the connection was ended.
async fn server_first(
    gate: &Gate,
    stream: &mut TcpStream,
    upstream: &mut TcpStream,
    first: &mut Vec<u8>,
    to: &Destination,
    port: u16,
) -> std::io::Result<bool> {
    let mut greeting = Vec::new();
    loop {
        tokio::select! {
            got = more(stream, first) => {
                if got? == 0 {
                    return Ok(true); // the relay passes the end on
                }
                break;
            }
            got = more(upstream, &mut greeting) => {
                if got? == 0 {
                    return Ok(true);
                }
                crate::rate::take(gate.rules().rates.download.as_ref(), greeting.len()).await;
                stream.write_all(&greeting).await?;
                greeting.clear();
            }
        }
    }
    // One that waited before it spoke is judged like one that did not.
    let spoken = listen(stream, first, true).await?;
    let wrong = match spoken {
        Speaks::Tls => agree(stream, first, to).await?.err(),
        Speaks::Http | Speaks::Http2 => {
            Some("an HTTP request after a long silence: its host cannot be checked any more".to_owned())
        }
        Speaks::Other | Speaks::Nothing => None,
    };
    if let Some(reason) = wrong {
        refuse(gate, stream, denied(connect(to, port), reason)).await;
        return Ok(false);
    }
    Ok(true)
}
