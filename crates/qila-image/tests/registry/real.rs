//! Debian's docker-registry, started and ended by each test.
use super::{Made, block, digest, file, get, layers, list, made, plain, store};
use qila_image::{Auth, PullError, Reference, pull};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Registry {
    child: Child,
    host: String,
}

impl Registry {
    /// None where it is not installed.
    fn start(at: &Path) -> Option<Registry> {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let mut registry = Registry::begin(at)?;
            while registry.child.try_wait().unwrap().is_none() {
                // Whoever was given its port may be another registry.
                let answer = registry.ask("GET", "/v2/", "", b"");
                let own = format!("X-Own: {}\r\n", at.display());
                if answer.is_some_and(|(status, head)| status == 200 && head.contains(&own)) {
                    return Some(registry);
                }
                assert!(Instant::now() < until, "it does not answer");
                std::thread::sleep(Duration::from_millis(50));
            }
            // Somebody else has taken the port meanwhile: with another one, again.
            assert!(Instant::now() < until, "it does not start");
        }
    }

    fn begin(at: &Path) -> Option<Registry> {
        let host = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .to_string();
        let config = at.join("registry.yml");
        let root = at.join("registry");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\nhttp: {{addr: '{host}', secret: x, headers: {{X-Own: ['{}']}}}}\nlog: {{level: error}}\n",
            root.display(),
            at.display()
        );
        std::fs::write(&config, text).unwrap();
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match started {
            Ok(child) => Some(Registry { child, host }),
            Err(e) => {
                println!("skipped: registries: docker-registry: {e}");
                None
            }
        }
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut tcp = TcpStream::connect(&self.host).ok()?;
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        tcp.write_all(head.as_bytes()).ok()?;
        tcp.write_all(body).ok()?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer))
    }

    fn put(&self, name: &str, tag: &str, image: &Made) {
        for blob in &image.blobs {
            let (status, answer) = self
                .ask("POST", &format!("/v2/{name}/blobs/uploads/"), "", b"")
                .unwrap();
            assert_eq!(status, 202, "{answer}");
            let to = answer.lines().find_map(|l| l.strip_prefix("Location: ")).unwrap();
            let to = to.split_once(&self.host).map_or(to, |(_, path)| path);
            let to = format!("{to}&digest={}", digest(blob));
            let kind = "Content-Type: application/octet-stream\r\n";
            assert_eq!(self.ask("PUT", &to, kind, blob).unwrap().0, 201);
        }
        self.name(name, tag, "manifest", &image.manifest);
    }

    fn name(&self, name: &str, tag: &str, kind: &str, bytes: &[u8]) {
        let kind = format!("Content-Type: application/vnd.oci.image.{kind}.v1+json\r\n");
        let (status, answer) = self
            .ask("PUT", &format!("/v2/{name}/manifests/{tag}"), &kind, bytes)
            .unwrap();
        assert_eq!(status, 201, "{answer}");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn by_tag_and_by_digest_and_not_again() {
    let dir = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::start(dir.path()) else {
        return;
    };
    let image = made(&[&[file("a", b"first")], &[file("b", b"second")]]);
    registry.put("team/app", "v1", &image);
    let (host, options) = (&registry.host, || plain(&[&registry.host]));
    let pulled = get(
        dir.path(),
        &format!("{host}/team/app:v1"),
        Auth::Anonymous,
        options(),
    )
    .unwrap();
    assert_eq!(
        (pulled.digest.as_str(), pulled.image.fresh),
        (digest(&image.manifest).as_str(), 2)
    );
    assert_eq!(
        pulled.fetched,
        image.blobs.iter().map(|b| b.len() as u64).sum::<u64>()
    );
    assert_eq!(std::fs::read(pulled.image.lower[0].join("b")).unwrap(), b"second");
    assert_eq!(pulled.image.config.cmd, ["/bin/x"]);
    let pinned = format!("{host}/team/app@{}", pulled.digest);
    let again = get(dir.path(), &pinned, Auth::Anonymous, options()).unwrap();
    assert_eq!(
        (again.fetched, again.image.fresh, &again.image.lower),
        (0, 0, &pulled.image.lower)
    );
    assert_eq!(
        std::fs::read_dir(dir.path().join("store/refs")).unwrap().count(),
        2
    );
    for (name, why) in [
        (format!("team/app@{}", digest(b"none")), "404"),
        ("team/app:v2".into(), "404"),
        ("team/none:v1".into(), "404"),
    ] {
        let error = get(dir.path(), &format!("{host}/{name}"), Auth::Anonymous, options()).unwrap_err();
        assert!(error.is_unknown() && error.to_string().contains(why), "{error}");
    }
    // The tag means another image tomorrow, the digest never.
    registry.put(
        "team/app",
        "v1",
        &made(&[&[file("a", b"first")], &[file("b", b"third")]]),
    );
    let moved = get(
        dir.path(),
        &format!("{host}/team/app:v1"),
        Auth::Anonymous,
        options(),
    )
    .unwrap();
    assert_eq!(
        (moved.image.fresh, layers(dir.path())),
        (1, 3),
        "the layer beneath is here"
    );
    assert_eq!(std::fs::read(moved.image.lower[0].join("b")).unwrap(), b"third");
    let pinned = get(dir.path(), &pinned, Auth::Anonymous, options()).unwrap();
    assert_eq!(pinned.image.lower, pulled.image.lower);
}

#[test]
fn of_a_list_the_image_for_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::start(dir.path()) else {
        return;
    };
    let image = made(&[&[file("a", b"ours")]]);
    registry.put("x", "one", &image);
    let list = list(&image);
    registry.name("x", "many", "index", &list);
    let pulled = get(
        dir.path(),
        &format!("{}/x:many", registry.host),
        Auth::Anonymous,
        plain(&[&registry.host]),
    )
    .unwrap();
    assert_eq!(
        (pulled.digest, pulled.image.digest.clone()),
        (digest(&list), digest(&image.manifest))
    );
}

#[test]
fn two_at_once_fetch_each_blob_once() {
    let dir = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::start(dir.path()) else {
        return;
    };
    let noise: Vec<u8> = (0..3_000_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let image = made(&[&[file("large", &noise)], &[file("b", b"b")]]);
    registry.put("x", "one", &image);
    let reference = Reference::parse(&format!("{}/x:one", registry.host)).unwrap();
    let all = block(async {
        let pulls: Vec<_> = (0..4)
            .map(|_| {
                tokio::spawn(pull(
                    reference.clone(),
                    store(dir.path()),
                    Auth::Anonymous,
                    plain(&[&registry.host]),
                ))
            })
            .collect();
        let mut all = Vec::new();
        for pull in pulls {
            all.push(pull.await.unwrap().unwrap());
        }
        all
    });
    let came: u64 = all.iter().map(|p| p.fetched).sum();
    assert_eq!(came, image.blobs.iter().map(|b| b.len() as u64).sum::<u64>());
    assert_eq!(all.iter().map(|p| p.image.fresh).sum::<usize>(), 2);
    assert_eq!(layers(dir.path()), 2);
}

#[test]
fn layers_that_images_share_come_once_and_go_with_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::start(dir.path()) else {
        return;
    };
    let base = [
        file("usr/lib/base", b"base"),
        (&b"lib"[..], b'2', &b"usr/lib"[..], 0o777, &b""[..]),
    ];
    let (x, y) = (
        made(&[&base, &[file("x", b"x")]]),
        made(&[&base, &[file("y", b"y")]]),
    );
    // Only unpacked over its base does this one mean what it says.
    let z = made(&[&base, &[file("lib/z", b"z")]]);
    for (name, image) in [("x", &x), ("y", &y), ("z", &z)] {
        registry.put(name, "latest", image);
    }
    let pull = |name: &str| {
        get(
            dir.path(),
            &format!("{}/{name}", registry.host),
            Auth::Anonymous,
            plain(&[&registry.host]),
        )
        .unwrap()
    };
    let (first, second) = (pull("x"), pull("y"));
    assert_eq!(
        (first.image.fresh, second.image.fresh, layers(dir.path())),
        (2, 1, 3)
    );
    assert_eq!(second.fetched, (y.blobs[0].len() + y.blobs[2].len()) as u64);
    let third = pull("z");
    assert_eq!(third.image.lower.len(), 1);
    assert_eq!(
        std::fs::read(third.image.lower[0].join("usr/lib/z")).unwrap(),
        b"z"
    );
    assert_eq!(
        third.fetched,
        z.blobs.iter().map(|b| b.len() as u64).sum::<u64>(),
        "its base once more"
    );
    let keep = [second.image.digest.clone()];
    drop((first, second, third));
    let swept = store(dir.path()).sweep(&keep).unwrap();
    assert_eq!((swept.images, layers(dir.path())), (2, 2));
    assert_eq!(
        std::fs::read_dir(dir.path().join("store/blobs/sha256"))
            .unwrap()
            .count(),
        0
    );
    let again = pull("y");
    assert_eq!((again.fetched, again.image.fresh), (0, 0));
}

#[test]
fn a_registry_on_this_host_that_nobody_named_is_not_asked() {
    let dir = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::start(dir.path()) else {
        return;
    };
    registry.put("x", "latest", &made(&[&[]]));
    let error = get(
        dir.path(),
        &format!("{}/x", registry.host),
        Auth::Anonymous,
        plain(&[]),
    )
    .unwrap_err();
    assert!(
        matches!(&error, PullError::Forbidden { why, .. } if why.contains("nobody named")),
        "{error}"
    );
    get(
        dir.path(),
        &format!("{}/x", registry.host),
        Auth::Anonymous,
        plain(&[&registry.host]),
    )
    .unwrap();
}
