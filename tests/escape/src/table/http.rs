//! Requests that name one host and mean another: metadata services, TLS names, tunnels.
use crate::case::{Attack, Need, Promise, Scene};
use crate::hosts::{Reply, TcpHost, sink};
use crate::policy::Policy;
use crate::stage::Stage;
use std::io;
use std::sync::Arc;

/// A shell script with its end marked, so that a silent failure still shows that it ran.
pub(super) fn shell(script: &str) -> Vec<String> {
    vec![
        "/bin/sh".into(),
        "-c".into(),
        format!("echo ATTEMPT; {script}; echo ATTEMPT done"),
    ]
}

const CURL: &str = "curl -sk --max-time 5";

/// The metadata address in one of its spellings, while some other host is allowed.
fn metadata(s: &mut Stage, spelling: &str) -> io::Result<Scene> {
    let listener = s.tcp(s.cx.world.metadata, sink())?;
    let port = listener.port();
    let name = s.name("gate", s.cx.world.public)?;
    let payload =
        "GET /latest/meta-data/ HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\nConnection: close\\r\\n\\r\\n";
    let argv = s.argv("net", &["send", spelling, &port.to_string(), payload])?;
    let policy = Policy::new().allow(&name, port, "");
    let (policy, alive) = s.live(policy)?;
    Ok(s.or_outside(&policy, argv)
        .without_claims()
        .alive(alive)
        .judge(move |_| listener.reached("the metadata address")))
}

/// An allowed host answers with a redirect to the metadata address, and the client follows.
fn redirect(s: &mut Stage) -> io::Result<Scene> {
    let metadata = s.tcp(s.cx.world.metadata, sink())?;
    let location = format!("http://{}/latest/", metadata.address);
    let answer = format!(
        "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let reply: Reply = Arc::new(move |_| vec![answer.clone().into_bytes()]);
    let host = s.tcp(s.cx.world.public, reply)?;
    let name = s.name("redirect", s.cx.world.public)?;
    let argv = shell(&format!("{CURL} -L http://{name}:{}/", host.port()));
    let policy = Policy::new().allow(&name, host.port(), ", methods: [GET]");
    let alive = s.alive("http", &name, &host)?;
    let scene = s
        .or_outside(&policy, argv)
        .without_claims()
        .alive(alive)
        .keep(host);
    Ok(scene.judge(move |_| metadata.reached("the metadata address")))
}

/// An allowed request whose own text names another host, by line, by header, or by both.
fn host_confusion(s: &mut Stage, payload: &str) -> io::Result<Scene> {
    let (allowed, other) = (
        s.tcp(s.cx.world.public, sink())?,
        s.tcp(s.cx.world.metadata, sink())?,
    );
    let token = s.token()?;
    let name = s.name("allowed", s.cx.world.public)?;
    let port = allowed.port().to_string();
    let text = payload
        .replace("{other}", &other.address.to_string())
        .replace("{name}", &format!("{name}:{port}"))
        .replace("{token}", &token);
    let argv = s.argv("net", &["send", &name, &port, &text])?;
    let policy = Policy::new().allow(
        &name,
        allowed.port(),
        ", methods: [GET, POST], paths: [\"/ok/**\"]",
    );
    let (seen, alive) = (allowed.arrivals.clone(), s.alive("http", &name, &allowed)?);
    let scene = s
        .or_outside(&policy, argv)
        .without_claims()
        .alive(alive)
        .keep(allowed);
    // An upstream that serves several names, or that is itself a proxy, would obey what it is told: it must not be told.
    Ok(scene
        .judge(move |_| other.reached("another host"))
        .judge(move |_| seen.saw(&token, "the allowed host, which was not asked for")))
}

/// TLS to one name by the address of another, or with a request for another inside.
fn tls_names(s: &mut Stage, sni: &str, host: &str, intercepted: bool) -> io::Result<Scene> {
    let (allowed_name, other_name) = (
        s.name("allowed", s.cx.world.public)?,
        s.name("other", s.cx.world.public)?,
    );
    let config = s.cx.world.authority.server(&[&allowed_name, &other_name])?;
    // One machine serves both names: whoever reaches it with the other name has fronted a domain.
    let listener = TcpHost::start(s.cx.world.public, Some(config), sink())?;
    let token = s.token()?;
    let pick = |which: &str| {
        if which == "other" {
            other_name.clone()
        } else {
            allowed_name.clone()
        }
    };
    let port = listener.port();
    let script = format!(
        "printf 'GET /{token} HTTP/1.1\\r\\nHost: {}:{port}\\r\\nConnection: close\\r\\n\\r\\n' | timeout 6 openssl s_client -quiet -connect {allowed_name}:{port} -servername {} 2>&1",
        pick(host),
        pick(sni)
    );
    let more = if intercepted { ", methods: [GET]" } else { "" };
    let policy = Policy::new().allow(&allowed_name, port, more);
    let alive = s.alive("https", &allowed_name, &listener)?;
    let mut scene = s
        .or_outside(&policy, shell(&script))
        .without_claims()
        .alive(alive);
    scene.flags = s.trust();
    Ok(scene.judge(move |_| {
        listener
            .arrivals
            .saw(&token, "a host under a name that no rule names")
    }))
}

/// No name at all in the greeting, on a rule that is not for addresses.
fn tls_nameless(s: &mut Stage) -> io::Result<Scene> {
    let name = s.name("allowed", s.cx.world.public)?;
    let listener = s.tls(&name, s.cx.world.public, sink())?;
    let (port, token) = (listener.port(), s.token()?);
    let script = format!(
        "printf 'GET /{token} HTTP/1.1\\r\\nHost: {name}:{port}\\r\\nConnection: close\\r\\n\\r\\n' | timeout 6 openssl s_client -quiet -noservername -connect {}:{port} 2>&1",
        s.cx.world.public
    );
    let policy = Policy::new().allow(&name, port, "");
    let alive = s.alive("https", &name, &listener)?;
    let mut scene = s
        .or_outside(&policy, shell(&script))
        .without_claims()
        .alive(alive);
    scene.flags = s.trust();
    Ok(scene.judge(move |_| listener.arrivals.saw(&token, "a host reached by its address")))
}

/// The upstream's certificate is for another name: the gateway must not speak to it.
fn wrong_certificate(s: &mut Stage) -> io::Result<Scene> {
    let name = s.name("allowed", s.cx.world.public)?;
    let listener = s.tls(
        if s.twin { &name } else { "impostor.test" },
        s.cx.world.public,
        sink(),
    )?;
    let (port, token) = (listener.port(), s.token()?);
    let policy = Policy::new().allow(&name, port, ", methods: [GET]");
    let mut scene = s
        .or_allowed(
            policy.clone(),
            policy,
            shell(&format!("{CURL} https://{name}:{port}/{token}")),
        )
        .without_claims();
    scene.flags = s.trust();
    Ok(scene.judge(move |_| listener.arrivals.saw(&token, "a host with another's certificate")))
}

/// A method or path that the rule does not name.
fn outside_rule(s: &mut Stage, flags: &str, path: &str) -> io::Result<Scene> {
    let name = s.name("allowed", s.cx.world.public)?;
    let listener = s.tls(&name, s.cx.world.public, sink())?;
    let (port, token) = (listener.port(), s.token()?);
    let path = path.replace("{token}", &token);
    let policy = Policy::new().allow(&name, port, ", methods: [GET], paths: [\"/ok/**\"]");
    let mut scene = s
        .or_outside(
            &policy,
            shell(&format!(
                "{CURL} --path-as-is {flags} 'https://{name}:{port}{path}'"
            )),
        )
        .without_claims()
        .alive(s.alive("https", &name, &listener)?);
    scene.flags = s.trust();
    Ok(scene.judge(move |_| listener.arrivals.saw(&token, "the host, outside the rule")))
}

const fn attack(
    name: &'static str,
    item: &'static str,
    stage: fn(&mut Stage) -> io::Result<Scene>,
) -> Attack {
    Attack {
        name,
        promise: Promise::P3,
        item,
        needs: &[
            Need::World,
            Need::Tool("/usr/bin/curl"),
            Need::Tool("/usr/bin/openssl"),
        ],
        may_refuse: false,
        stage,
    }
}

const DECIMAL: &str = "metadata address in decimal";
const SNI: &str = "SNI ≠ Host";
const CONNECT: &str = "CONNECT smuggling";

pub(super) const ATTACKS: &[Attack] = &[
    attack("metadata-plain", DECIMAL, |s| metadata(s, "169.254.169.254")),
    attack("metadata-decimal", DECIMAL, |s| metadata(s, "2852039166")),
    attack("metadata-octal", "metadata address in octal", |s| {
        metadata(s, "0251.0376.0251.0376")
    }),
    attack("metadata-hex", "metadata address in octal", |s| {
        metadata(s, "0xa9fea9fe")
    }),
    attack("metadata-mapped", "metadata address in IPv6-mapped form", |s| {
        metadata(s, "::ffff:169.254.169.254")
    }),
    attack("metadata-redirect", "metadata address in redirect form", redirect),
    attack("absolute-form", CONNECT, |s| {
        host_confusion(
            s,
            "GET http://{other}/ok/{token} HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n",
        )
    }),
    attack("host-header", SNI, |s| {
        host_confusion(
            s,
            "GET /ok/{token} HTTP/1.1\\r\\nHost: {other}\\r\\nConnection: close\\r\\n\\r\\n",
        )
    }),
    attack("host-twice", SNI, |s| {
        host_confusion(
            s,
            "GET /ok/{token} HTTP/1.1\\r\\nHost: {name}\\r\\nHost: {other}\\r\\nConnection: close\\r\\n\\r\\n",
        )
    }),
    attack("connect-tunnel", CONNECT, |s| {
        host_confusion(
            s,
            "CONNECT {other} HTTP/1.1\\r\\nHost: {other}\\r\\nX-Token: {token}\\r\\n\\r\\nGET / HTTP/1.1\\r\\nHost: {other}\\r\\n\\r\\n",
        )
    }),
    attack("connect-allowed-host", CONNECT, |s| {
        host_confusion(
            s,
            "CONNECT {name} HTTP/1.1\\r\\nHost: {name}\\r\\nX-Token: {token}\\r\\n\\r\\nGET / HTTP/1.1\\r\\nHost: {other}\\r\\n\\r\\n",
        )
    }),
    attack("upgrade-tunnel", CONNECT, |s| {
        host_confusion(
            s,
            "GET /ok/x HTTP/1.1\\r\\nHost: {name}\\r\\nUpgrade: h2c\\r\\nConnection: Upgrade, HTTP2-Settings\\r\\nHTTP2-Settings: AAMAAABkAAQAAP__\\r\\n\\r\\nPRI * HTTP/2.0 {token}\\r\\n\\r\\n",
        )
    }),
    attack("tls-other-sni", SNI, |s| tls_names(s, "other", "other", false)),
    attack("tls-other-sni-intercepted", SNI, |s| {
        tls_names(s, "other", "other", true)
    }),
    attack("tls-host-inside", SNI, |s| tls_names(s, "allowed", "other", true)),
    attack("tls-no-sni", SNI, tls_nameless),
    attack("tls-wrong-certificate", SNI, wrong_certificate),
    attack("rule-method", CONNECT, |s| {
        outside_rule(s, "-X DELETE", "/ok/{token}")
    }),
    attack("rule-path", CONNECT, |s| outside_rule(s, "", "/no/{token}")),
    attack("rule-path-dots", CONNECT, |s| {
        outside_rule(s, "", "/ok/../no/{token}")
    }),
    attack("rule-path-encoded", CONNECT, |s| {
        outside_rule(s, "", "/ok/%2e%2e/no/{token}")
    }),
    attack("rule-path-encoded-slash", CONNECT, |s| {
        outside_rule(s, "", "/ok%2f..%2f..%2fno/{token}")
    }),
];
