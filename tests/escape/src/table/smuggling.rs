//! Request smuggling: a second request hidden where the gateway and the upstream may disagree on the first one's end.
use crate::case::{Attack, Need, Promise, Scene};
use crate::hosts::sink;
use crate::policy::Policy;
use crate::smuggle::asks_for;
use crate::stage::Stage;
use std::io;

/// `{no}` in the payload is the smuggled request, `{n}` its length, `{x}` its length in hexadecimal, `{h}` the host.
fn smuggle(s: &mut Stage, payload: &str) -> io::Result<Scene> {
    let listener = s.tcp(s.cx.world.public, sink())?;
    let (name, token) = (s.name("smuggle", s.cx.world.public)?, s.token()?);
    let port = listener.port();
    let host = format!("{name}:{port}");
    let forbidden = format!("GET /no/{token} HTTP/1.1\\r\\nHost: {host}\\r\\nX: y\\r\\n\\r\\n");
    // C escapes: each `\r` and `\n` is one byte.
    let length = forbidden.len() - forbidden.matches('\\').count();
    let text = payload
        .replace("{no}", &forbidden)
        .replace("{n+5}", &(length + 5).to_string())
        .replace("{n}", &length.to_string())
        .replace("{x}", &format!("{length:x}"))
        .replace("{h}", &host);
    let argv = s.argv("net", &["send", &name, &port.to_string(), &text])?;
    let policy = Policy::new().allow(&name, port, ", methods: [GET, POST], paths: [\"/ok/**\"]");
    let alive = s.alive("http", &name, &listener)?;
    let scene = s.or_outside(&policy, argv).without_claims().alive(alive);
    Ok(scene.judge(move |_| {
        let path = format!("/no/{token}");
        let seen = listener.arrivals.all().iter().any(|bytes| asks_for(bytes, &path));
        seen.then(|| "the upstream could read a request that the rule forbids".into())
    }))
}

const fn attack(name: &'static str, stage: fn(&mut Stage) -> io::Result<Scene>) -> Attack {
    Attack {
        name,
        promise: Promise::P3,
        item: "request smuggling (CL/TE)",
        needs: &[Need::World, Need::Tool("/usr/bin/curl")],
        may_refuse: false,
        stage,
    }
}

pub(super) const ATTACKS: &[Attack] = &[
    attack("smuggle-pipelined", |s| {
        smuggle(s, "GET /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\n\\r\\n{no}")
    }),
    attack("smuggle-cl-te", |s| {
        smuggle(
            s,
            "POST /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nContent-Length: {n+5}\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n{no}",
        )
    }),
    attack("smuggle-te-cl", |s| {
        smuggle(
            s,
            "POST /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nTransfer-Encoding: chunked\\r\\nContent-Length: 4\\r\\n\\r\\n{x}\\r\\n{no}\\r\\n0\\r\\n\\r\\n",
        )
    }),
    attack("smuggle-te-space", |s| {
        smuggle(
            s,
            "POST /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nTransfer-Encoding : chunked\\r\\nContent-Length: {n+5}\\r\\n\\r\\n0\\r\\n\\r\\n{no}",
        )
    }),
    attack("smuggle-te-obscured", |s| {
        smuggle(
            s,
            "POST /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nTransfer-Encoding: xchunked\\r\\nContent-Length: {n+5}\\r\\n\\r\\n0\\r\\n\\r\\n{no}",
        )
    }),
    attack("smuggle-te-folded", |s| {
        smuggle(
            s,
            "POST /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nTransfer-Encoding:\\r\\n chunked\\r\\nContent-Length: {n+5}\\r\\n\\r\\n0\\r\\n\\r\\n{no}",
        )
    }),
    attack("smuggle-te-twice", |s| {
        smuggle(
            s,
            "POST /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nTransfer-Encoding: chunked\\r\\nTransfer-Encoding: identity\\r\\nContent-Length: {n+5}\\r\\n\\r\\n0\\r\\n\\r\\n{no}",
        )
    }),
    attack("smuggle-cl-twice", |s| {
        smuggle(
            s,
            "POST /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nContent-Length: {n}\\r\\nContent-Length: 0\\r\\n\\r\\n{no}",
        )
    }),
    attack("smuggle-cl-sign", |s| {
        smuggle(
            s,
            "POST /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nContent-Length: +{n}\\r\\nContent-Length: 0\\r\\n\\r\\n{no}",
        )
    }),
    attack("smuggle-bare-lf", |s| {
        smuggle(s, "GET /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nX: y\\n\\n{no}")
    }),
    attack("smuggle-bare-cr", |s| {
        smuggle(
            s,
            "GET /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nX: y\\r\\rGET /ok/2 HTTP/1.1\\r\\n\\r\\n{no}",
        )
    }),
    attack("smuggle-chunk-size", |s| {
        smuggle(
            s,
            "POST /ok/1 HTTP/1.1\\r\\nHost: {h}\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0;\\n x\\r\\n\\r\\n{no}",
        )
    }),
    attack("smuggle-http-10", |s| {
        smuggle(
            s,
            "POST /ok/1 HTTP/1.0\\r\\nHost: {h}\\r\\nConnection: keep-alive\\r\\nTransfer-Encoding: chunked\\r\\nContent-Length: {n+5}\\r\\n\\r\\n0\\r\\n\\r\\n{no}",
        )
    }),
];
