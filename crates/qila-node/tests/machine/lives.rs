//! What sandboxes go through.
use crate::cases::{Bench, code, finish, run, sandbox, shell, tenant};
use bytes::Bytes;
use qila_api::{
    Attach, Create, Exec, Input, Kind, NetworkWish, Node, OnTimeout, Output, Select, Size, State, Template,
    Tenant,
};
use std::time::{Duration, Instant};

pub async fn hello(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let (status, out, err) = run(
        &node,
        &made.id,
        "echo $HOME; pwd; id -u; cat /proc/self/status | grep CapEff; echo oops >&2; exit 3",
    )
    .await;
    assert_eq!((status, err.as_str()), (code(3), "oops\n"));
    assert!(out.starts_with("/home/user\n/home/user\n"), "{out}");
    assert!(out.contains("CapEff:\t0000000000000000"), "{out}");
    let other = Tenant::parse("two").unwrap();
    assert_eq!(node.get(&other, &made.id).await.unwrap_err().kind, Kind::NotFound);
    assert!(!node.kill(&other, &made.id).await.unwrap());
    assert!(node.kill(&tenant(), &made.id).await.unwrap());
    assert!(!node.kill(&tenant(), &made.id).await.unwrap());
    assert_eq!(
        node.get(&tenant(), &made.id).await.unwrap_err().kind,
        Kind::NotFound
    );
    let missing = node
        .create(&tenant(), Create::from_template("nothing"))
        .await
        .unwrap_err();
    assert_eq!(missing.kind, Kind::NotFound);
}

pub async fn streams(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let exec = Exec {
        argv: vec!["cat".into()],
        input: true,
        environment: [("A".to_owned(), "b".to_owned())].into(),
        ..Exec::default()
    };
    let process = node.exec(&tenant(), &made.id, exec).await.unwrap();
    let input = process.input.clone();
    let text = "x".repeat(9_000_000);
    let feed = async {
        input.send(Input::Bytes(Bytes::from(text.clone()))).await.unwrap();
        input.send(Input::End).await.unwrap();
    };
    let ((), (status, out, _)) = tokio::join!(feed, finish(process));
    assert_eq!((status, out.len()), (code(0), text.len()));
    let gone = node
        .exec(
            &tenant(),
            &made.id,
            Exec {
                argv: vec!["no-such-program".into()],
                ..Exec::default()
            },
        )
        .await
        .unwrap_err();
    assert_eq!(gone.kind, Kind::NotFound);
    node.kill(&tenant(), &made.id).await.unwrap();
}

pub async fn terminal(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let exec = Exec {
        terminal: Some(Size { rows: 30, cols: 100 }),
        input: true,
        ..shell("stty size; read x; stty size; echo got $x")
    };
    let process = node.exec(&tenant(), &made.id, exec).await.unwrap();
    let which = Select::Pid(process.pid);
    node.tell(
        &tenant(),
        &made.id,
        &which,
        Input::Resize(Size { rows: 20, cols: 50 }),
    )
    .await
    .unwrap();
    node.tell(
        &tenant(),
        &made.id,
        &which,
        Input::Bytes(Bytes::from_static(b"hey\n")),
    )
    .await
    .unwrap();
    let (status, out, _) = finish(process).await;
    assert_eq!(status, code(0));
    assert!(out.contains("20 50") && out.contains("got hey"), "{out}");
    node.kill(&tenant(), &made.id).await.unwrap();
}

pub async fn signals(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let exec = Exec {
        tag: Some("napper".into()),
        ..shell("sleep 60 & sleep 60")
    };
    let process = node.exec(&tenant(), &made.id, exec).await.unwrap();
    let listed = node.processes(&tenant(), &made.id).await.unwrap();
    assert_eq!((listed.len(), listed[0].exec.tag.as_deref()), (1, Some("napper")));
    node.tell(
        &tenant(),
        &made.id,
        &Select::Tag("napper".into()),
        Input::Signal(15),
    )
    .await
    .unwrap();
    let (status, ..) = finish(process).await;
    assert_eq!(status.signal, Some(15));
    // Each of the group dies by itself, not all at once.
    let look = "for i in $(seq 100); do ps -e | grep -q sleep || exit 0; sleep 0.05; done; ps -e";
    let (status, out, _) = run(&node, &made.id, look).await;
    assert_eq!((status, out.as_str()), (code(0), ""), "the whole group was told");
    let unknown = node
        .tell(
            &tenant(),
            &made.id,
            &Select::Tag("nobody".into()),
            Input::Signal(15),
        )
        .await
        .unwrap_err();
    assert_eq!(unknown.kind, Kind::NotFound);
    node.kill(&tenant(), &made.id).await.unwrap();
}

pub async fn background(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let process = node
        .exec(
            &tenant(),
            &made.id,
            shell("for i in 1 2 3; do echo $i; sleep 0.1; done; exit 7"),
        )
        .await
        .unwrap();
    let pid = process.pid;
    drop(process);
    let again = node
        .attach(&tenant(), &made.id, &Select::Pid(pid), Attach::From(0))
        .await
        .unwrap();
    let (status, out, _) = finish(again).await;
    assert_eq!((status, out.as_str()), (code(7), "1\n2\n3\n"));
    node.kill(&tenant(), &made.id).await.unwrap();
}

pub async fn pause(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let mut process = node
        .exec(
            &tenant(),
            &made.id,
            shell("while :; do echo tick; sleep 0.02; done"),
        )
        .await
        .unwrap();
    process.output.recv().await.unwrap();
    let begun = Instant::now();
    assert_eq!(
        node.pause(&tenant(), &made.id).await.unwrap().state,
        State::Paused
    );
    println!("  pause: {:?}", begun.elapsed());
    assert_eq!(
        node.pause(&tenant(), &made.id).await.unwrap().state,
        State::Paused
    );
    // What was on the way is taken; then nothing comes.
    while tokio::time::timeout(Duration::from_millis(150), process.output.recv())
        .await
        .is_ok()
    {}
    let spoken = node.exec(&tenant(), &made.id, shell("true")).await.unwrap_err();
    assert_eq!(spoken.kind, Kind::Conflict);
    let begun = Instant::now();
    assert_eq!(
        node.resume(&tenant(), &made.id, None).await.unwrap().state,
        State::Running
    );
    println!("  resume: {:?}", begun.elapsed());
    let said = tokio::time::timeout(Duration::from_secs(5), process.output.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(said, Output::Stdout(_)));
    // Whoever asked goes away: what was begun is finished.
    let becomes = async |state| {
        let begun = Instant::now();
        while node.get(&tenant(), &made.id).await.unwrap().state != state {
            assert!(begun.elapsed() < Duration::from_secs(10), "it is not {state:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (one, id) = (tenant(), made.id.clone());
    let _ = tokio::time::timeout(Duration::ZERO, node.pause(&one, &id)).await;
    becomes(State::Paused).await;
    let _ = tokio::time::timeout(Duration::ZERO, node.resume(&one, &id, None)).await;
    becomes(State::Running).await;
    assert_eq!(run(&node, &id, "true").await.0, code(0));
    node.pause(&tenant(), &made.id).await.unwrap();
    assert!(
        node.kill(&tenant(), &made.id).await.unwrap(),
        "a paused one can be ended"
    );
}

pub async fn timeouts(bench: &Bench) {
    let node = bench.node().await;
    let wish = Create {
        timeout: Some(Duration::from_millis(300)),
        ..Create::from_template("base")
    };
    let short = node.create(&tenant(), wish.clone()).await.unwrap();
    let paused = node
        .create(
            &tenant(),
            Create {
                on_timeout: OnTimeout::Pause,
                auto_resume: true,
                ..wish.clone()
            },
        )
        .await
        .unwrap();
    let longer = Create {
        timeout: Some(Duration::from_secs(30)),
        ..wish
    };
    let extended = node.create(&tenant(), longer).await.unwrap();
    let least = extended.ends_ms + 20_000;
    let one = tenant();
    let set = |seconds, only_extend| {
        node.set_timeout(&one, &extended.id, Duration::from_secs(seconds), only_extend)
    };
    assert!(set(60, true).await.unwrap().ends_ms > least);
    assert!(set(1, true).await.unwrap().ends_ms > least, "only extended");
    let begun = Instant::now();
    while node.get(&tenant(), &short.id).await.is_ok()
        || node.get(&tenant(), &paused.id).await.unwrap().state != State::Paused
    {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(
        node.get(&tenant(), &short.id).await.unwrap_err().kind,
        Kind::NotFound
    );
    assert_eq!(
        node.get(&tenant(), &extended.id).await.unwrap().state,
        State::Running
    );
    assert!(set(0, false).await.unwrap().ends_ms < least, "and shortened");
    while node.get(&tenant(), &extended.id).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(40));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let over = set(60, false).await.unwrap_err();
    assert_eq!(over.kind, Kind::NotFound);
    let (status, ..) = run(&node, &paused.id, "true").await;
    assert_eq!(status, code(0), "it comes back by itself");
    node.kill(&tenant(), &paused.id).await.unwrap();
}

pub async fn limits(bench: &Bench) {
    let node = bench.node().await;
    let template = Template {
        id: "small".into(),
        policy: "version: 1\nresources: {memory: 64MiB, processes: 20, disk: 32MiB, output: 100KiB}\nfilesystem: {workspace: layer}\n".into(),
        ..template()
    };
    node.put_template(&tenant(), template).await.unwrap();
    let made = node
        .create(&tenant(), Create::from_template("small"))
        .await
        .unwrap();
    let (status, ..) = run(&node, &made.id, "python3 -c 'x = bytearray(200 << 20)' || exit 9").await;
    assert!(status.code == Some(9) || status.signal.is_some(), "{status:?}");
    let process = node.exec(&tenant(), &made.id, shell("yes")).await.unwrap();
    let (status, out, _) = finish(process).await;
    assert!(
        status.signal == Some(9) && out.len() < 400_000,
        "{status:?} after {} bytes",
        out.len()
    );
    let _ = node
        .exec(
            &tenant(),
            &made.id,
            shell("dd if=/dev/zero of=big bs=1M count=16; dd if=/dev/zero of=big2 bs=1M count=16"),
        )
        .await
        .unwrap();
    let ended = async {
        while node.get(&tenant(), &made.id).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended)
        .await
        .expect("what fills its disk is ended");
    node.remove_template(&tenant(), "small").await.unwrap();
}

pub async fn processes(bench: &Bench) {
    let node = bench.node().await;
    let template = Template {
        id: "few".into(),
        policy: "version: 1\nresources: {processes: 20}\nfilesystem: {workspace: layer}\n".into(),
        ..template()
    };
    node.put_template(&tenant(), template).await.unwrap();
    let made = node
        .create(&tenant(), Create::from_template("few"))
        .await
        .unwrap();
    let many = "n=0; while [ $n -lt 50 ]; do sleep 60 >/dev/null 2>&1 & n=$((n+1)); echo $n; done";
    let (status, out, err) = run(&node, &made.id, many).await;
    let last: u32 = out.lines().last().unwrap().parse().unwrap();
    assert!(
        status != code(0) && (10..20).contains(&last),
        "{status:?} {last} {err}"
    );
    node.kill(&tenant(), &made.id).await.unwrap();
    node.remove_template(&tenant(), "few").await.unwrap();
}

pub async fn quotas(bench: &Bench) {
    let node = bench.node().await;
    let poor = Tenant::parse("poor").unwrap();
    let ask = || node.create(&poor, Create::from_template("base"));
    let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
    let all = [a, b, c, d];
    assert_eq!(all.iter().filter(|r| r.is_ok()).count(), 2);
    assert!(
        all.iter()
            .filter_map(|r| r.as_ref().err())
            .all(|e| e.kind == Kind::Quota)
    );
    for made in all.into_iter().flatten() {
        node.kill(&poor, &made.id).await.unwrap();
    }
    let again = ask().await.unwrap();
    node.kill(&poor, &again.id).await.unwrap();
}

pub fn template() -> Template {
    Template {
        host_login: false,
        id: "t".into(),
        names: Vec::new(),
        public: false,
        source: qila_api::Source::Host,
        files: None,
        policy: "version: 1\nfilesystem: {workspace: layer}\n".into(),
        start: None,
        ready: None,
        pool: 0,
        zygote: None,
        timeout_s: 60,
        state: qila_api::TemplateState::Ready,
        made_ms: 0,
    }
}

pub async fn adopted(bench: &Bench) {
    let node = bench.node().await;
    let made = sandbox(&node).await;
    let still = sandbox(&node).await;
    let dead = sandbox(&node).await;
    let process = node
        .exec(
            &tenant(),
            &made.id,
            shell("echo before; sleep 0.5; echo after; exit 5"),
        )
        .await
        .unwrap();
    let pid = process.pid;
    node.pause(&tenant(), &still.id).await.unwrap();
    // As if the node's process were killed: what it held is dropped without a word. A node that was told to forget its sandboxes
    // does not end them.
    drop(process);
    node.abandon().await;
    drop(node);
    bench.forget();
    let (node, found) = bench.start().await;
    assert!(found.adopted >= 3, "{found:?}");
    assert_eq!(node.get(&tenant(), &still.id).await.unwrap().state, State::Paused);
    node.resume(&tenant(), &still.id, None).await.unwrap();
    let (status, ..) = run(&node, &still.id, "true").await;
    assert_eq!(status, code(0));
    let again = node
        .attach(&tenant(), &made.id, &Select::Pid(pid), Attach::From(0))
        .await
        .unwrap();
    let (status, out, _) = finish(again).await;
    assert_eq!(
        (status, out.as_str()),
        (code(5), "before\nafter\n"),
        "nothing was lost"
    );
    for id in [made.id, still.id, dead.id] {
        node.kill(&tenant(), &id).await.unwrap();
    }
}

pub async fn closed_network(bench: &Bench) {
    let node = bench.node().await;
    let wish = Create {
        network: NetworkWish {
            internet: Some(false),
            ..NetworkWish::default()
        },
        ..Create::from_template("base")
    };
    let made = node.create(&tenant(), wish).await.unwrap();
    let (status, ..) = run(
        &node,
        &made.id,
        "python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 80), 3)' 2>/dev/null",
    )
    .await;
    assert_eq!(status, code(1));
    let open = sandbox(&node).await;
    let (_, out, _) = run(&node, &open.id, "python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 80), 3).recv(1)' 2>&1; getent hosts example.com; echo $?").await;
    assert!(
        out.ends_with("2\n"),
        "a name that no rule has is not there: {out}"
    );
    let server = node
        .exec(&tenant(), &open.id, shell("exec python3 -m http.server 8000"))
        .await
        .unwrap();
    let mut stream = loop {
        match node.connect(&tenant(), &open.id, 8000).await {
            Ok(stream) => break stream,
            Err(e) => assert_eq!(e.kind, Kind::Conflict),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.0 200"), "{text}");
    drop(server);
    node.kill(&tenant(), &made.id).await.unwrap();
    node.kill(&tenant(), &open.id).await.unwrap();
}
