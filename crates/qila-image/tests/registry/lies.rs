//! Registries that lie, and what is kept from them.
use super::fake::{Contents, Fake, answer, honest, none, ok};
use super::{Made, block, digest, file, get, layers, made, plain, store};
use qila_image::{Auth, Limits, Options, Progress, PullError, Reference, Store, pull};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(super) fn contents(image: &Made) -> Contents {
    let mut all: Contents = image.blobs.iter().map(|b| (digest(b), b.clone())).collect();
    all.insert("latest".into(), image.manifest.clone());
    all.insert(digest(&image.manifest), image.manifest.clone());
    all
}

pub(super) fn image() -> Made {
    made(&[&[
        file("a", &[b'a'; 5000]),
        file("b", &(0..200).collect::<Vec<u8>>()),
    ]])
}

/// What comes of an image whose layer is answered so.
fn layer_answered(say: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> String {
    let dir = tempfile::tempdir().unwrap();
    let image = image();
    let (all, layer) = (contents(&image), image.blobs[1].clone());
    let name = digest(&layer);
    let rest = honest(all);
    let fake = Fake::start(Box::new(move |path, head| {
        if path.ends_with(&name) {
            say(&layer)
        } else {
            rest(path, head)
        }
    }));
    let error = get(
        dir.path(),
        &format!("{}/x", fake.host),
        Auth::Anonymous,
        plain(&[&fake.host]),
    )
    .map(drop);
    assert_eq!(layers(dir.path()), usize::from(error.is_ok()));
    error.map_or_else(|e| e.to_string(), |()| "pulled".into())
}

#[test]
fn blobs_that_are_not_what_they_are_called() {
    assert_eq!(layer_answered(ok), "pulled");
    let other = layer_answered(|b| ok(&vec![b'x'; b.len()]));
    assert!(other.contains("has the digest"), "{other}");
    let more = layer_answered(|b| ok(&[b, b"x"].concat()));
    assert!(more.contains("more than"), "{more}");
    let less = layer_answered(|b| ok(&b[..b.len() - 1]));
    assert!(less.contains("ended after"), "{less}");
    // It says that it is as long as it should be, and is cut off.
    let cut = layer_answered(|b| {
        let whole = ok(b);
        whole[..whole.len() - 7].to_vec()
    });
    assert!(cut.contains("asking 127.0.0.1"), "{cut}");
    // It says that it is short, or nothing of its length, and goes on.
    let lies = layer_answered(|b| [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n".as_slice(), b].concat());
    assert!(lies.contains("ended after 10 of"), "{lies}");
    let endless = layer_answered(|b| [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &b.repeat(1000)].concat());
    assert!(endless.contains("more than"), "{endless}");
    let part = layer_answered(|b| answer("206 Partial Content", "Content-Range: bytes 3-9/10\r\n", b));
    assert!(part.contains("not asked for"), "{part}");
    let status = layer_answered(|_| answer("500 Internal Server Error", "", b""));
    assert!(status.contains("answers 500"), "{status}");
    let no_http = layer_answered(|_| b"SSH-2.0-OpenSSH\r\n".to_vec());
    assert!(no_http.contains("asking 127.0.0.1"), "{no_http}");
}

#[test]
fn a_blob_that_was_cut_off_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let image = image();
    let (layer, rest) = (image.blobs[1].clone(), honest(contents(&image)));
    let (name, size) = (digest(&layer), layer.len());
    let fake = Fake::start(Box::new(move |path, head| {
        if !path.ends_with(&name) {
            return rest(path, head);
        }
        let from = head
            .lines()
            .find_map(|l| l.strip_prefix("range: bytes="))
            .map_or(0, |r| r.trim_end_matches('-').parse().unwrap());
        let to = (from + size / 3 + 1).min(size);
        let length = size - from;
        let status = if from == 0 {
            "200 OK".into()
        } else {
            format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}",
                size - 1
            )
        };
        [
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n").as_bytes(),
            &layer[from..to],
        ]
        .concat()
    }));
    let pulled = get(
        dir.path(),
        &format!("{}/x", fake.host),
        Auth::Anonymous,
        plain(&[&fake.host]),
    )
    .unwrap();
    assert_eq!(
        std::fs::read(pulled.image.lower[0].join("a")).unwrap(),
        [b'a'; 5000]
    );
    let ranges = fake
        .heads()
        .iter()
        .filter(|h| h.contains("range: bytes="))
        .count();
    assert_eq!(ranges, 2, "{:?}", fake.heads());
}

/// What comes of a manifest that is answered so.
fn manifest_answered(reference: &str, say: Vec<u8>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let rest = honest(contents(&image()));
    let fake = Fake::start(Box::new(move |path, head| {
        if path.contains("/manifests/") {
            say.clone()
        } else {
            rest(path, head)
        }
    }));
    let done = get(
        dir.path(),
        &format!("{}/{reference}", fake.host),
        Auth::Anonymous,
        plain(&[&fake.host]),
    );
    done.map_or_else(|e| e.to_string(), |_| "pulled".into())
}

#[test]
fn manifests_that_are_none() {
    let good = image().manifest;
    assert_eq!(manifest_answered("x", ok(&good)), "pulled");
    let other = manifest_answered(&format!("x@{}", digest(b"other")), ok(&good));
    assert!(other.contains("has the digest"), "{other}");
    let said = format!("Docker-Content-Digest: {}\r\n", digest(b"other"));
    let said = manifest_answered("x", answer("200 OK", &said, &good));
    assert!(said.contains("and the registry says"), "{said}");
    let large = manifest_answered("x", ok(&vec![b' '; (4 << 20) + 1]));
    assert!(large.contains("more than 4194304 bytes"), "{large}");
    let endless = manifest_answered(
        "x",
        [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &vec![b' '; 6 << 20]].concat(),
    );
    assert!(endless.contains("more than 4194304 bytes"), "{endless}");
    for bad in [
        &b""[..],
        b"{}",
        b"[]",
        b"<html>",
        b"{\"schemaVersion\":1,\"fsLayers\":[]}",
    ] {
        let error = manifest_answered("x", ok(bad));
        assert!(error.contains("is not of an OCI image"), "{error}");
    }
    let none_for_us = manifest_answered("x", ok(b"{\"manifests\":[{\"digest\":\"sha256:0\",\"size\":1,\"platform\":{\"os\":\"linux\",\"architecture\":\"s390x\"}}]}"));
    assert!(none_for_us.contains("no image for linux/"), "{none_for_us}");
    let path = manifest_answered(
        "x",
        ok(String::from_utf8(good.clone())
            .unwrap()
            .replace("sha256:", "sha256:../")
            .as_bytes()),
    );
    assert!(path.contains("only sha256 digests"), "{path}");
    let huge = String::from_utf8(good)
        .unwrap()
        .replace("\"size\":", "\"size\":9999999999999");
    let huge = manifest_answered("x", ok(huge.as_bytes()));
    assert!(huge.contains("more than"), "{huge}");
    let head = [
        b"HTTP/1.1 200 OK\r\nX: ".as_slice(),
        &vec![b'x'; 1 << 20],
        b"\r\n\r\n",
    ]
    .concat();
    let head = manifest_answered("x", head);
    assert!(head.contains("asking 127.0.0.1"), "{head}");
}

#[test]
fn a_redirect_leads_nowhere_that_it_may_not() {
    let to = |location: &str| {
        let location = format!("Location: {location}\r\n");
        manifest_answered("x", answer("307 Temporary Redirect", &location, b""))
    };
    for (location, why) in [
        ("http://169.254.169.254/latest/meta-data", "without TLS"),
        ("https://169.254.169.254/", "link or of a metadata"),
        ("https://127.0.0.1:1/", "nobody named"),
        ("https://[::ffff:10.0.0.1]/", "nobody named"),
        ("http://localhost:1/", "without TLS"),
        ("file:///etc/passwd", "nowhere"),
        ("//evil/", "nowhere"),
        ("https://user:pass@example.com/", "nowhere"),
        ("/v2/x/manifests/latest", "without end"),
    ] {
        let error = to(location);
        assert!(error.contains(why), "{location}: {error}");
    }
}

#[test]
fn who_asks_is_told_to_the_registry_alone() {
    let dir = tempfile::tempdir().unwrap();
    let image = image();
    // Blobs are elsewhere.
    let store = Fake::start(honest(contents(&image)));
    let (there, rest) = (store.host.clone(), honest(contents(&image)));
    let registry = Fake::start(Box::new(move |path, head| {
        if path.starts_with("/token?service=s%20x&scope=repository%3Ax%3Apull") {
            let known = head.contains("authorization: Basic dXNlcjpwYXNz");
            return if known {
                ok(b"{\"token\":\"given\"}")
            } else {
                answer("401 Unauthorized", "", b"")
            };
        }
        if !head.contains("authorization: Bearer given") {
            let host = head.lines().find_map(|l| l.strip_prefix("host: ")).unwrap();
            let ask = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\",service=\"s x\"\r\n");
            return answer("401 Unauthorized", &ask, b"");
        }
        if path.contains("/blobs/") {
            return answer(
                "307 Temporary Redirect",
                &format!("Location: http://{there}{path}\r\n"),
                b"",
            );
        }
        rest(path, head)
    }));
    let options = || plain(&[&registry.host, &store.host]);
    let reference = format!("{}/x", registry.host);
    let config = dir.path().join("config.json");
    let auth = |text: &str| {
        std::fs::write(&config, text).unwrap();
        Auth::from_docker_config(&config, &registry.host)
    };
    let denied = get(dir.path(), &reference, Auth::Anonymous, options()).unwrap_err();
    assert!(denied.is_unknown(), "{denied}");
    let wrong = auth(&format!(
        "{{\"auths\":{{\"{}\":{{\"auth\":\"dXNlcjp4\"}}}}}}",
        registry.host
    ))
    .unwrap();
    assert!(
        get(dir.path(), &reference, wrong, options())
            .unwrap_err()
            .is_unknown()
    );
    let known = auth(&format!(
        "{{\"credHelpers\":{{\"x\":\"y\"}},\"auths\":{{\"https://{}/\":{{\"auth\":\"dXNlcjpwYXNz\"}}}}}}",
        registry.host
    ));
    get(dir.path(), &reference, known.unwrap(), options()).unwrap();
    assert!(store.heads().len() == 2 && store.heads().iter().all(|h| !h.contains("authorization")));
    // Nobody, and what is no configuration; its text is not told.
    assert!(matches!(auth("{}"), Ok(Auth::Anonymous)));
    assert!(matches!(
        Auth::from_docker_config(&dir.path().join("none"), "x"),
        Ok(Auth::Anonymous)
    ));
    for bad in [
        "{\"auths\":\"hush\"}".to_owned(),
        format!("{{\"auths\":{{\"{}\":{{\"auth\":\"hush!\"}}}}}}", registry.host),
    ] {
        let error = auth(&bad).err().unwrap().to_string();
        assert!(
            error.contains("config.json") && !error.contains("hush"),
            "{error}"
        );
    }
}

#[test]
fn a_token_is_not_asked_for_where_it_may_not_be() {
    let image = image();
    for (realm, why) in [
        ("http://127.0.0.1:1/token", "without TLS"),
        ("https://127.0.0.1:1/token", "nobody named"),
        ("https://169.254.169.254/", "link or of a metadata"),
        ("/token", "names no server"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let rest = honest(contents(&image));
        let ask = format!("WWW-Authenticate: Bearer realm=\"{realm}\"\r\n");
        let fake = Fake::start(Box::new(move |path, head| match head.contains("authorization") {
            true => rest(path, head),
            false => answer("401 Unauthorized", &ask, b""),
        }));
        let auth = Auth::Basic {
            user: "user".into(),
            password: "pass".to_owned().into(),
        };
        let error = get(
            dir.path(),
            &format!("{}/x", fake.host),
            auth,
            plain(&[&fake.host]),
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains(why) || (realm == "/token" && error.contains("without a host")),
            "{realm}: {error}"
        );
    }
}

#[test]
fn over_tls_only_with_a_certificate_that_somebody_vouches_for() {
    let dir = tempfile::tempdir().unwrap();
    let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
    let (certificate, pem) = (key.cert.der().clone(), key.cert.pem());
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], private)
            .unwrap();
    let fake = Fake::over(honest(contents(&image())), Some(Arc::new(config)));
    let options = |named: bool, ca: bool| Options {
        registries: named.then(|| fake.host.clone()).into_iter().collect(),
        ca: ca.then(|| pem.clone().into_bytes()),
        ..Options::default()
    };
    let reference = format!("{}/x", fake.host);
    let unnamed = get(dir.path(), &reference, Auth::Anonymous, options(false, true)).unwrap_err();
    assert!(matches!(unnamed, PullError::Forbidden { .. }), "{unnamed}");
    let unknown = get(dir.path(), &reference, Auth::Anonymous, options(true, false))
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("TLS:") && unknown.contains("ertificate"),
        "{unknown}"
    );
    get(dir.path(), &reference, Auth::Anonymous, options(true, true)).unwrap();
}

#[test]
fn a_pull_that_is_dropped_stops_and_one_is_told_how_far_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..1_000_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let image = made(&[&[file("large", &noise)]]);
    let fake = Fake::start(honest(contents(&image)));
    let reference = Reference::parse(&format!("{}/x", fake.host)).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let (send, mut first) = tokio::sync::mpsc::unbounded_channel();
    let seen = Arc::clone(&told);
    let mut options = plain(&[&fake.host]);
    let large = image.blobs[1].len() as u64;
    options.progress = Some(Arc::new(move |progress: Progress| {
        let partly = matches!(progress, Progress::Fetching { size, .. } if size == large);
        seen.lock().unwrap().push(progress);
        if partly {
            let _ = send.send(());
            std::thread::sleep(Duration::from_millis(20));
        }
    }));
    block(async {
        tokio::select! {
            _ = pull(reference.clone(), store(dir.path()), Auth::Anonymous, options.clone()) => panic!("not yet"),
            _ = first.recv() => {}
        }
    });
    // Whoever takes the image away waits for it to have stopped.
    let begun = Instant::now();
    store(dir.path()).sweep(&[]).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert_eq!(layers(dir.path()), 0);
    block(pull(reference, store(dir.path()), Auth::Anonymous, options)).unwrap();
    let told = told.lock().unwrap();
    assert!(
        matches!(&told[0], Progress::Resolved { layers: 1, bytes, .. } if *bytes == large),
        "{:?}",
        told[0]
    );
    assert!(told.contains(&Progress::Unpacking) && told.len() < 300);
}

#[test]
fn what_is_pulled_is_bounded_like_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let image = made(&[&[file("zeros", &vec![0u8; 1 << 20])]]);
    let fake = Fake::start(honest(contents(&image)));
    let limits = Limits {
        bytes: 1 << 19,
        ..Limits::default()
    };
    let small = Arc::new(Store::open(&dir.path().join("store"), limits).unwrap());
    let reference = Reference::parse(&format!("{}/x", fake.host)).unwrap();
    let error = block(pull(reference, small, Auth::Anonymous, plain(&[&fake.host])))
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than 524288 bytes"), "{error}");
    assert_eq!(layers(dir.path()), 0);
    let gone = Fake::start(Box::new(|_, _| none()));
    assert!(
        get(
            dir.path(),
            &format!("{}/x", gone.host),
            Auth::Anonymous,
            plain(&[&gone.host])
        )
        .unwrap_err()
        .is_unknown()
    );
}

#[test]
fn a_pull_that_is_dropped_while_nothing_comes_stops() {
    let dir = tempfile::tempdir().unwrap();
    let image = image();
    let (name, rest) = (digest(&image.blobs[1]), honest(contents(&image)));
    let (send, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let fake = Fake::start(Box::new(move |path, head| {
        if path.ends_with(&name) {
            let _ = send.send(());
            std::thread::sleep(Duration::from_secs(8));
        }
        rest(path, head)
    }));
    let reference = Reference::parse(&format!("{}/x", fake.host)).unwrap();
    block(async {
        tokio::select! {
            _ = pull(reference, store(dir.path()), Auth::Anonymous, plain(&[&fake.host])) => panic!("not yet"),
            _ = asked.recv() => {}
        }
    });
    let begun = Instant::now();
    store(dir.path()).sweep(&[]).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4));
}
