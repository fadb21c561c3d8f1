//! More than a daemon can take: requests by the thousand, a full disk, two daemons on one directory, clients that vanish.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use bytes::Bytes;
use qila_agents::host::{self, Mode};
use qila_agents::skip::Skip;
use qila_serve_tests::{Client, Daemon, Events, env, tell};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

fn here() -> Mode {
    if Mode::Root.available().is_ok() {
        Mode::Root
    } else {
        Mode::Unprivileged
    }
}

fn started(what: &str, more: &[&str]) -> Option<Daemon> {
    Daemon::start(here(), more).map_err(|skip| skip.report(what)).ok()
}

/// Every one is answered; what was acknowledged is there, and nothing else. `QILA_REQUESTS` says how many (10,000).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_at_once() {
    const ROOM: usize = 24;
    let Some(mut daemon) = started("a flood", &["--max-sandboxes", "24"]) else {
        return;
    };
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let most = limit.maximum.unwrap_or(u64::MAX).saturating_sub(200);
    let requests = env("QILA_REQUESTS", 10_000).min(most);
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for n in 0..requests {
        let mut client = daemon.client().patient(Duration::from_secs(100));
        all.spawn(async move {
            match n % 100 {
                0 => client.ask("POST", "/v1/sandboxes", &json!({})).await,
                _ => client.ask("GET", "/v1/sandboxes?limit=1", &Value::Null).await,
            }
        });
    }
    let answers = all.join_all().await;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut made = Vec::new();
    for answer in answers {
        let name = match &answer {
            Ok(answer) => answer.status.to_string(),
            Err(why) => why.rsplit(": ").next().unwrap_or(why).to_owned(),
        };
        *counts.entry(name).or_default() += 1;
        let Ok(answer) = answer else { continue };
        match answer.status {
            200 => {}
            201 => made.push(answer.json()["id"].as_str().unwrap().to_owned()),
            429 => {
                let after = answer.headers.get("retry-after").expect("when to come again");
                assert!(after.to_str().unwrap().parse::<u64>().unwrap() >= 1);
            }
            _ => panic!("{} {}", answer.status, answer.text()),
        }
    }
    tell(&format!(
        "flood: {requests} requests at once in {:.1} s: {counts:?}",
        begun.elapsed().as_secs_f64()
    ));
    assert!(
        counts.keys().all(|name| name.parse::<u16>().is_ok()),
        "some had no answer: {counts:?}"
    );
    assert!(made.len() <= ROOM, "more than there is room for: {}", made.len());
    tokio::time::sleep(Duration::from_secs(2)).await; // the tenant's rate
    let mut client = daemon.client();
    let mut there = client.sandboxes().await;
    there.sort();
    made.sort();
    assert_eq!(there, made, "what was acknowledged is there, and nothing else");
    let marks = daemon.marks();
    for id in made {
        client.delete(&id).await;
    }
    tokio::task::block_in_place(|| daemon.end_clean(&marks));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_on_one_directory_refuses() {
    let Some(daemon) = started("two daemons", &[]) else {
        return;
    };
    let id = daemon.client().create(&json!({})).await;
    let second = daemon
        .command(SocketAddr::from(([127, 0, 0, 1], 0)))
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another `qila serve` uses"), "{said}");
    assert!(second.stdout.is_empty(), "no key is shown");
    let mut client = daemon.client();
    assert_eq!(client.shell(&id, "echo here").await["stdout"], "here\n");
    client.delete(&id).await;
}

/// A tmpfs, unmounted at the end.
struct Small(std::path::PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_nothing_acknowledged_is_lost() {
    if let Err(skip) = Mode::Root.available() {
        return skip.report("a full disk: mounting a small one");
    }
    let scratch = host::scratch();
    let home = scratch.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m,mode=755", "small"])
        .arg(&home)
        .status();
    if !mounted.is_ok_and(|s| s.success()) {
        return Skip::because("a tmpfs cannot be mounted here").report("a full disk");
    }
    let small = Small(home.clone());
    let mut daemon = match Daemon::start_in(Mode::Root, &[], scratch, home.clone()) {
        Ok(daemon) => daemon,
        Err(skip) => return skip.report("a full disk"),
    };
    let mut client = daemon.client().patient(Duration::from_secs(30));
    let id = client.create(&json!({"timeout_ms": 600_000})).await;
    let at = format!("/v1/sandboxes/{id}");
    let headers = [("content-type", "application/octet-stream")];
    client
        .raw(
            "PUT",
            &format!("{at}/files?path=kept"),
            &headers,
            Bytes::from("kept"),
        )
        .await
        .unwrap()
        .must(200);
    let filler = home.join("filler");
    // Whole pages, until there is none left.
    let filled = Command::new("dd")
        .arg("if=/dev/zero")
        .arg(format!("of={}", filler.display()))
        .args(["bs=4k", "status=none"])
        .status();
    assert!(!filled.unwrap().success(), "it is full");
    let mut said = Vec::new();
    for _ in 0..20 {
        let answer = client.ask("POST", "/v1/sandboxes", &json!({})).await.unwrap();
        said.push(answer.status);
        if answer.status == 201 {
            // It had room for one more: then this one is really there.
            let made = answer.json()["id"].as_str().unwrap().to_owned();
            client
                .ask("GET", &format!("/v1/sandboxes/{made}"), &Value::Null)
                .await
                .unwrap()
                .must(200);
            continue;
        }
        assert!(
            matches!(answer.status, 503 | 507),
            "{} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(answer.headers["content-type"], "application/problem+json");
    }
    let put = client
        .raw(
            "PUT",
            &format!("{at}/files?path=more"),
            &headers,
            Bytes::from(vec![1; 1 << 20]),
        )
        .await
        .unwrap();
    said.push(put.status);
    assert!(matches!(put.status, 507 | 503), "{}", put.text());
    tell(&format!("full disk: answered {said:?}"));
    assert!(said.iter().any(|s| *s != 201), "the disk was not full: {said:?}");
    client.ask("GET", &at, &Value::Null).await.unwrap().must(200);
    assert_eq!(client.file(&id, "kept").await, "kept");
    std::fs::remove_file(&filler).unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let new = client.create(&json!({})).await;
    assert_eq!(client.shell(&new, "echo again").await["stdout"], "again\n");
    // Also over a kill.
    tokio::task::block_in_place(|| {
        daemon.kill();
        daemon.again();
    });
    let mut client = daemon.client();
    assert_eq!(client.file(&id, "kept").await, "kept");
    for id in client.sandboxes().await {
        client.delete(&id).await;
    }
    tokio::task::block_in_place(|| daemon.terminate());
    drop(small);
}

/// Waits until the tags of the programs of a sandbox are as they should be.
async fn tags(client: &mut Client, at: &str, are: impl Fn(&[&str]) -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let all = client
            .ask("GET", &format!("{at}/processes"), &Value::Null)
            .await
            .unwrap()
            .must(200)
            .json();
        let all = all.as_array().unwrap().iter();
        let tags: Vec<_> = all.filter_map(|p| p["tag"].as_str()).collect();
        if are(&tags) {
            return;
        }
        assert!(Instant::now() < until, "{tags:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_vanish_leave_nothing_half() {
    let Some(daemon) = started("clients that vanish", &[]) else {
        return;
    };
    let mut client = daemon.client();
    let id = client.create(&json!({})).await;
    let at = format!("/v1/sandboxes/{id}");
    // A file of which only a part comes.
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let head = format!(
        "PUT {at}/files?path=half HTTP/1.1\r\nhost: a\r\nx-api-key: {}\r\ncontent-type: application/octet-stream\r\ncontent-length: 1000000\r\n\r\n",
        daemon.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[7; 100_000]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(stream);
    // A program that is to go on, one that is not, one whose answer nobody waits for.
    for (kill, tag) in [(false, "stays"), (true, "goes")] {
        let body = json!({"shell": "echo begun; exec sleep 300", "tag": tag, "kill_on_disconnect": kill});
        let opened = client
            .another()
            .open("POST", &format!("{at}/exec/stream"), &[], &body)
            .await
            .unwrap();
        let mut events = Events::of(opened.into_body());
        while events
            .within(Duration::from_secs(10))
            .await
            .expect("it begins")
            .name
            != "stdout"
        {}
    }
    let mut gone = client.another();
    let body = json!({"shell": "exec sleep 300", "tag": "asked"});
    let path = format!("{at}/exec");
    tokio::select! {
        answer = gone.ask("POST", &path, &body) => panic!("it has no end: {answer:?}"),
        () = tags(&mut client, &at, |tags| tags.contains(&"asked")) => {}
    }
    tags(&mut client, &at, |tags| tags == ["stays"]).await;
    let list = client
        .ask("GET", &format!("{at}/files/list"), &Value::Null)
        .await
        .unwrap()
        .must(200);
    assert_eq!(list.json(), json!([]), "neither the file nor a part of it");
    client.ask("DELETE", &at, &Value::Null).await.unwrap().must(204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_answered_as_such() {
    let Some(daemon) = started("bad requests", &[]) else {
        return;
    };
    let id = daemon.client().create(&json!({})).await;
    let head = format!("host: a\r\nx-api-key: {}\r\n", daemon.key);
    let json = "content-type: application/json\r\n";
    let home = daemon.home.display();
    let long = "a".repeat(400_000);
    let cases: Vec<(&str, String, &[u16])> = vec![
        ("no HTTP", "hello\r\n\r\n".into(), &[400]),
        (
            "a huge head",
            format!("GET /v1/sandboxes HTTP/1.1\r\n{head}x-long: {long}\r\n\r\n"),
            &[400, 431],
        ),
        (
            "cut JSON",
            format!("POST /v1/sandboxes HTTP/1.1\r\n{head}{json}content-length: 5\r\n\r\n{{\"a\":"),
            &[400],
        ),
        (
            "no JSON",
            format!(
                "POST /v1/sandboxes HTTP/1.1\r\n{head}content-type: text/plain\r\ncontent-length: 2\r\n\r\n{{}}"
            ),
            &[415],
        ),
        (
            "an unknown field",
            format!("POST /v1/sandboxes HTTP/1.1\r\n{head}{json}content-length: 7\r\n\r\n{{\"a\":1}}"),
            &[400, 422],
        ),
        (
            "two lengths",
            format!(
                "POST /v1/sandboxes HTTP/1.1\r\n{head}{json}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"
            ),
            &[400],
        ),
        (
            "a path upwards",
            format!(
                "GET /v1/sandboxes/{id}/files?path=../../../../../../../..{home}/serve/state.db HTTP/1.1\r\n{head}\r\n"
            ),
            &[400, 403, 404],
        ),
        (
            "an id that is none",
            format!("GET /v1/sandboxes/..%2F..%2Fx HTTP/1.1\r\n{head}\r\n"),
            &[400, 404],
        ),
        (
            "two keys",
            format!("GET /v1/sandboxes HTTP/1.1\r\n{head}x-api-key: qila_2\r\n\r\n"),
            &[401],
        ),
        (
            "a zero byte",
            format!(
                "POST /v1/sandboxes/{id}/exec HTTP/1.1\r\n{head}{json}content-length: 24\r\n\r\n{{\"argv\":[\"true\\u0000x\"]}} "
            ),
            &[400],
        ),
    ];
    for (what, request, good) in cases {
        let mut stream = TcpStream::connect(daemon.address).await.unwrap();
        // What is refused half-way is not read to its end.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = vec![0; 64];
        let n = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut answer))
            .await
            .expect(what)
            .unwrap();
        let line = String::from_utf8_lossy(&answer[..n]).into_owned();
        let status = line.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok());
        assert!(status.is_some_and(|s| good.contains(&s)), "{what}: {line}");
    }
    daemon.client().delete(&id).await;
}

/// A guest believes who speaks on its socket: nobody inside gets at it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_guests_socket_cannot_be_reached_from_inside() {
    let Some(daemon) = started("the guest's socket", &[]) else {
        return;
    };
    let mut client = daemon.client();
    let id = client.create(&json!({})).await;
    let sockets = client
        .shell(
            &id,
            "find / -path /proc -prune -o -type s -print 2>/dev/null; tail -n +2 /proc/net/unix",
        )
        .await;
    assert_eq!(sockets["stdout"], "", "there is no socket, by name or abstract");
    let opened = client
        .shell(&id, "for f in /proc/1/fd/* /proc/1/root /proc/1/cwd /proc/1/mem /proc/1/exe; do if (: <$f) 2>/dev/null || readlink $f; then echo $f; fi; done; kill -9 1; kill -0 1 && echo alive")
        .await;
    assert_eq!(
        opened["stdout"], "alive\n",
        "nothing of the guest's can be opened or named, and it does not die: {opened}"
    );
    let program = "import ctypes,os\nl=ctypes.CDLL(None,use_errno=True)\ndef t(n,*a):\n c=l.syscall(n,*a);print(n,c if c<0 else 'REACHED',ctypes.get_errno() if c<0 else '')\n\
                   p=l.syscall(434,1,0)\nfor f in range(3,40):\n  c=l.syscall(438,p,f,0)\n  if c>=0: print('REACHED',f)\nt(101,16,1,0,0)\nt(310,1,None,0,None,0,0)";
    let said = client
        .ask(
            "POST",
            &format!("/v1/sandboxes/{id}/exec"),
            &json!({"argv": ["python3", "-c", program]}),
        )
        .await
        .unwrap();
    match said.status {
        200 => {
            let said = said.json();
            let text = said["stdout"].as_str().unwrap().to_owned();
            // ptrace(2) and process_vm_readv(2) are refused, the filter or the kernel; or the program was killed for asking.
            assert!(!text.contains("REACHED"), "{text}");
            assert!(text.contains("101 -1") || said["signal"] == 31, "{said}");
        }
        _ => Skip::because("no python3 here").report("the guest's descriptors by system calls"),
    }
    let well = client.shell(&id, "echo well").await;
    assert_eq!(well["stdout"], "well\n");
    client.delete(&id).await;
}
