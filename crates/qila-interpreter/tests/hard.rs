//! Clients that leave, do not read or ask for too much; cells and kernels that do what they should not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{begin, server, with_kernel};

async fn rest(body: hyper::body::Incoming) -> String {
    let all = tokio::time::timeout(Duration::from_secs(30), body.collect()).await;
    String::from_utf8(all.expect("it ends").unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn a_context_that_is_restarted_or_removed_ends_what_runs_and_waits_in_it() {
    let server = server("no-python").await;
    let (_, made) = server.ask("POST", "/contexts", json!({"language": "bash"})).await;
    let id = made["id"].as_str().unwrap();
    let runs = begin(
        &server,
        json!({"code": "trap '' INT; x=1; echo on; while :; do :; done", "context_id": id}),
    )
    .await;
    let (_, waits) = server
        .send(
            "POST",
            "/execute",
            json!({"code": "echo never", "context_id": id}),
        )
        .await;
    let begun = Instant::now();
    let (status, answer) = server
        .ask("POST", &format!("/contexts/{id}/restart"), Value::Null)
        .await;
    assert_eq!(status, 200, "{answer}");
    for body in [runs, waits] {
        let text = rest(body).await;
        assert!(
            text.contains("ContextEnded") && text.contains("restarted") && !text.contains("never"),
            "{text}"
        );
    }
    let ran = server.run(json!({"code": "echo [$x]", "context_id": id})).await;
    assert_eq!(ran.text("stdout"), "[]\n");
    let runs = begin(&server, json!({"code": "echo on; sleep 100", "context_id": id})).await;
    assert_eq!(
        server
            .ask("DELETE", &format!("/contexts/{id}"), Value::Null)
            .await
            .0,
        204
    );
    let text = rest(runs).await;
    assert!(text.contains("removed"), "{text}");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "nothing waits for a cell that never ends"
    );
}

#[tokio::test]
async fn a_cell_whose_client_left_before_its_turn_is_not_run() {
    let server = server("no-python").await;
    let first = begin(&server, json!({"code": "echo on; sleep 2", "language": "bash"})).await;
    let (_, second) = server
        .send(
            "POST",
            "/execute",
            json!({"code": "touch ran", "language": "bash"}),
        )
        .await;
    drop(second);
    assert!(rest(first).await.contains("end_of_execution"));
    let ran = server.cell("bash", "ls").await;
    assert_eq!(ran.text("stdout"), "", "it left nothing");
}

#[tokio::test]
async fn queues_and_contexts_are_bounded() {
    let server = server("no-python").await;
    let code = "echo on; until [ -e go ]; do sleep 0.1; done";
    let mut held = vec![begin(&server, json!({"code": code, "language": "bash"})).await];
    for n in 0..33 {
        let (status, body) = server
            .send("POST", "/execute", json!({"code": "true", "language": "bash"}))
            .await;
        assert_eq!(status, if n < 32 { 200 } else { 429 }, "{n}");
        held.push(body);
    }
    std::fs::write(server.home.path().join("go"), "").unwrap();
    held.pop(); // the one that was refused
    for body in held {
        assert!(rest(body).await.contains("end_of_execution"));
    }
    for n in 0..64 {
        let (status, _) = server.ask("POST", "/contexts", json!({"language": "bash"})).await;
        assert_eq!(
            status,
            if n < 62 { 200 } else { 429 },
            "{n}: two are there by themselves"
        );
    }
    let big = "#".repeat(17 << 20);
    let stream = server
        .try_send("POST", "/execute", json!({"code": big, "language": "bash"}))
        .await;
    assert!(stream.is_none_or(|status| status == 413), "{stream:?}");
}

#[tokio::test]
async fn what_a_shell_may_not_be_given_is_refused_and_where_it_writes_is_its_own_affair() {
    let server = server("no-python").await;
    for env in [
        json!({"a b": "1"}),
        json!({"a[$(touch x)]": "1"}),
        json!({"": "1"}),
        json!({"a": "\u{0}"}),
    ] {
        let (status, _) = server
            .ask(
                "POST",
                "/execute",
                json!({"code": "true", "language": "bash", "env_vars": env}),
            )
            .await;
        assert_eq!(status, 400, "{env}");
    }
    let ran = server.cell("bash", "echo a\u{0}b").await;
    assert_eq!(ran.of("error")[0]["name"], "SyntaxError");
    assert!(
        server
            .cell("bash", "exec >/dev/null 2>&1; echo hidden")
            .await
            .of("error")
            .is_empty()
    );
    let ran = server.cell("bash", "echo still hidden; false").await;
    assert_eq!((ran.text("stdout").as_str(), ran.of("error").len()), ("", 1));
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_nothing_of_what_a_kernel_publishes() {
    let Some(server) = with_kernel().await else {
        return;
    };
    let code = "print('on', flush=True)\nfor i in range(20000):\n    print(i, flush=True)\nopen('done', 'w').close()";
    let body = begin(&server, json!({"code": code})).await;
    let begun = Instant::now();
    while !server.home.path().join("done").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the cell does not wait for its client"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let lines: Vec<Value> = rest(body)
        .await
        .lines()
        .filter_map(|l| serde_json::from_str(l).ok())
        .collect();
    let said: String = lines
        .iter()
        .filter(|l| l["type"] == "stdout")
        .filter_map(|l| l["text"].as_str())
        .collect();
    let numbers: Vec<u32> = said.lines().filter_map(|l| l.parse().ok()).collect();
    let last: Vec<u32> = (20000 - 10000..20000).collect();
    assert!(numbers.ends_with(&last), "{} numbers", numbers.len());
    assert!(numbers.windows(2).all(|w| w[0] + 1 == w[1]), "in their order");
    assert_eq!(lines.last().unwrap()["type"], "end_of_execution");
}

#[tokio::test]
async fn an_interruption_that_is_lost_is_followed_by_another() {
    let Some(server) = with_kernel().await else {
        return;
    };
    // Counted by a handler: an exception could come before the `try` that waits for it.
    let code = "import signal, time\nn = 0\ndef count(*_):\n    global n\n    n += 1\n\
                before = signal.signal(signal.SIGINT, count)\nprint('on', flush=True)\n\
                while n < 2: time.sleep(0.05)\nsignal.signal(signal.SIGINT, before)";
    drop(begin(&server, json!({"code": code})).await);
    let ran = server.cell("python", "n").await;
    assert_eq!(ran.main()["text"], "2", "{ran:?}");
}

#[tokio::test]
async fn what_a_cell_leaves_running_does_not_disturb_the_next() {
    let Some(server) = with_kernel().await else {
        return;
    };
    let code = "import threading, time\nstop = False\ndef chat():\n    while not stop: print('chat', flush=True)\nt = threading.Thread(target=chat); t.start()";
    server.cell("python", code).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ran = server.cell("python", "6 * 7").await;
    assert_eq!(ran.main()["text"], "42");
    assert!(ran.of("error").is_empty(), "{ran:?}");
    let ran = server.cell("python", "stop = True; t.join()").await;
    assert!(ran.of("error").is_empty(), "{ran:?}");
}

#[tokio::test]
async fn a_kernel_that_makes_no_sense_fails_its_cell_and_no_more() {
    let Some(server) = with_kernel().await else {
        return;
    };
    let ran = server.cell("python", "x = 1\nfrom IPython.display import display\ndisplay({'text/plain': 5, 'image/png': [1]}, raw=True)\ndisplay({'application/x-own': {'a': 1}}, raw=True)").await;
    assert!(
        ran.of("result")
            .iter()
            .any(|r| r["extra"]["application/x-own"]["a"] == 1),
        "{ran:?}"
    );
    // What is not signed with the kernel's key, or is no message at all, is not believed.
    let code = "k = get_ipython().kernel\nk.iopub_socket.send_multipart([b'x', b'<IDS|MSG>', b'no', b'{}', b'{}', b'{}', b'{}'])\nk.iopub_socket.send_multipart([b'y'])\nx + 1";
    let ran = server.cell("python", code).await;
    assert_eq!(ran.of("error")[0]["name"], "MalformedMessage", "{ran:?}");
    assert_eq!(ran.main()["text"], "2");
    let ran = server
        .cell(
            "python",
            "%reset -f\nprint(sorted(n for n in dir() if 'qila' in n))",
        )
        .await;
    assert_eq!(ran.text("stdout").lines().last(), Some("[]"), "{ran:?}");
    let ran = server
        .run(json!({"code": "import os; os.environ['A']", "env_vars": {"A": "b"}}))
        .await;
    assert_eq!(ran.main()["text"], "'b'", "{ran:?}");
    let ran = server
        .cell(
            "python",
            "import sys\nfor _ in range(1000): sys.__stderr__.write('x' * 1000)\n'through'",
        )
        .await;
    assert_eq!(
        ran.main()["text"],
        "'through'",
        "a kernel's own words do not stop it"
    );
}

#[tokio::test]
async fn a_kernel_that_ends_had_said_what_it_said() {
    let Some(server) = with_kernel().await else {
        return;
    };
    // What it says just before may not have left it: ZeroMQ sends when it can.
    let code = "import os, time\nprint('on', flush=True)\nwhile not os.path.exists('heard'): time.sleep(0.05)\nos._exit(3)";
    let body = begin(&server, json!({"code": code})).await;
    std::fs::write(server.home.path().join("heard"), "").unwrap();
    assert!(rest(body).await.contains("ContextEnded"));
    let ran = server.cell("python", "import os, stat\nfrom ipykernel.kernelapp import IPKernelApp\nd = os.path.dirname(IPKernelApp.instance().connection_file)\nprint(oct(stat.S_IMODE(os.stat(d).st_mode)), 'connection.json' in os.listdir(d), len(os.listdir(d)))\nprint(d)").await;
    assert!(ran.text("stderr").contains("new one"));
    let text = ran.text("stdout");
    assert_eq!(
        text.lines().next(),
        Some("0o700 False 5"),
        "only its user may speak to it"
    );
    let place = std::path::PathBuf::from(text.lines().last().unwrap());
    assert!(place.exists());
    assert_eq!(
        server.ask("DELETE", "/contexts/default", Value::Null).await.0,
        204
    );
    let begun = Instant::now();
    while place.exists() {
        assert!(begun.elapsed() < Duration::from_secs(5), "its sockets go with it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn without_ipykernel_a_cell_says_what_to_install() {
    use std::os::unix::fs::PermissionsExt;
    if !support::has("/usr/bin/python3", &["--version"]) {
        println!("skipped: there is no /usr/bin/python3");
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let bare = place.path().join("bare");
    std::fs::write(&bare, "#!/bin/sh\nexec /usr/bin/python3 -I -S \"$@\"\n").unwrap();
    std::fs::set_permissions(&bare, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = server(bare.to_str().unwrap()).await;
    let ran = server.cell("python", "1").await;
    let error = ran.of("error")[0]["value"].as_str().unwrap().to_owned();
    assert!(error.contains("pip install ipykernel"), "{error}");
    assert_eq!(server.cell("bash", "echo on").await.text("stdout"), "on\n");
}
