//! Programs: their streams, input, terminals, signals and times.
use crate::support::{Client, Reading, envelope, envelopes, until};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn text(events: &[Value], stream: &str) -> String {
    let bytes = events.iter().filter_map(|e| e["event"]["data"][stream].as_str());
    bytes
        .map(|b| String::from_utf8_lossy(&STANDARD.decode(b).unwrap()).into_owned())
        .collect()
}

fn end(events: &[Value]) -> &Value {
    events
        .iter()
        .map(|e| &e["event"]["end"])
        .find(|e| !e.is_null())
        .expect("an end")
}

/// Starts a program and answers its stream after the first event, and its number.
async fn start(c: &Client, id: &str, more: Value, headers: &[(&str, &str)]) -> (Reading, u64) {
    let mut message = json!({"process": {"cmd": "/bin/sh", "args": ["-c", "cat"]}});
    message
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let mut reading = Reading::new(
        c.open(Client::stream(id, "process.Process/Start", headers, message))
            .await,
    );
    let (_, first) = reading.next().await.unwrap();
    let pid = first["event"]["start"]["pid"]
        .as_u64()
        .unwrap_or_else(|| panic!("{first}"));
    (reading, pid)
}

async fn listed(c: &Client, id: &str) -> Vec<u64> {
    let list = c.call(id, "process.Process/List", json!({})).await.json();
    list["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["pid"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn streams_and_ends_are_told() {
    let c = Client::new();
    let id = c.sandbox().await;
    let events = c.run(&id, "echo out; echo err >&2; exit 3", &[]).await;
    assert!(events[0]["event"]["start"]["pid"].as_u64().unwrap() > 0);
    assert_eq!(
        (text(&events, "stdout").as_str(), text(&events, "stderr").as_str()),
        ("out\n", "err\n")
    );
    let last = end(&events);
    assert_eq!((&last["exitCode"], &last["exited"]), (&json!(3), &json!(true)));
    assert_eq!(
        (&last["status"], &last["error"]),
        (&json!("exit status 3"), &json!("exit status 3"))
    );
    assert_eq!(events.last().unwrap(), &json!({}));
    let killed = c.run(&id, "kill -9 $$", &[]).await;
    assert_eq!(end(&killed)["exitCode"], -1);
    assert_eq!(end(&killed)["status"], "signal: killed");
    let fine = c.run(&id, "true", &[]).await;
    assert_eq!(end(&fine)["exitCode"], 0);
    assert!(end(&fine).get("error").is_none());
}

#[tokio::test]
async fn variables_and_directories_are_given() {
    let c = Client::new();
    let new = json!({"templateID": "base", "envVars": {"A": "sandbox", "B": "sandbox"}});
    let id = c.ask("POST", "/sandboxes", Some(new)).await.json()["sandboxID"]
        .as_str()
        .unwrap()
        .to_owned();
    c.call(&id, "filesystem.Filesystem/MakeDir", json!({"path": "sub"}))
        .await;
    let process =
        json!({"cmd": "/bin/sh", "args": ["-c", "echo $A $B; pwd"], "envs": {"B": "own"}, "cwd": "~/sub"});
    let request = Client::stream(
        &id,
        "process.Process/Start",
        &[],
        json!({"process": process, "stdin": false}),
    );
    let events: Vec<Value> = envelopes(&c.envd(request).await.bytes)
        .iter()
        .map(|(_, m)| serde_json::from_slice(m).unwrap())
        .collect();
    let said = text(&events, "stdout");
    assert!(
        said.starts_with("sandbox own\n") && said.trim_end().ends_with("/sub"),
        "{said}"
    );
    let envs = Request::get("/envs")
        .header("e2b-sandbox-id", &id)
        .body(Body::empty())
        .unwrap();
    assert_eq!(c.envd(envs).await.json()["A"], "sandbox");
    for (user, good) in [("user:", true), ("root:", true), ("daemon:", false)] {
        let basic = format!("Basic {}", STANDARD.encode(user));
        let message = json!({"process": {"cmd": "/bin/true"}});
        let request = Client::stream(
            &id,
            "process.Process/Start",
            &[("authorization", &basic)],
            message,
        );
        assert_eq!(
            c.envd(request).await.status.as_u16(),
            if good { 200 } else { 401 },
            "{user}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_so() {
    let c = Client::new();
    let id = c.sandbox().await;
    for process in [
        json!({"cmd": "/none/such"}),
        json!({"cmd": "/bin/sh", "cwd": "none"}),
        json!({"cmd": ""}),
        json!(null),
    ] {
        let request = Client::stream(&id, "process.Process/Start", &[], json!({"process": process}));
        let answer = c.envd(request).await;
        let all = envelopes(&answer.bytes);
        assert_eq!(
            (answer.status.as_u16(), all.len(), all[0].0),
            (200, 1, 2),
            "{process}"
        );
        let last: Value = serde_json::from_slice(&all[0].1).unwrap();
        assert_eq!(last["error"]["code"], "invalid_argument", "{process}: {last}");
    }
}

#[tokio::test]
async fn input_is_sent_closed_and_streamed() {
    let c = Client::new();
    let id = c.sandbox().await;
    let (mut reading, pid) = start(&c, &id, json!({"stdin": true, "tag": "cat"}), &[]).await;
    let which = json!({"pid": pid});
    let bytes = json!({"process": which, "input": {"stdin": STANDARD.encode("one")}});
    assert_eq!(
        c.call(&id, "process.Process/SendInput", bytes).await.json(),
        json!({})
    );
    assert_eq!(
        reading.next().await.unwrap().1["event"]["data"]["stdout"],
        STANDARD.encode("one")
    );
    let mut stream = envelope(
        json!({"start": {"process": {"tag": "cat"}}})
            .to_string()
            .as_bytes(),
    );
    for message in [
        json!({"keepalive": {}}),
        json!({"data": {"input": {"stdin": STANDARD.encode("two")}}}),
    ] {
        stream.extend(envelope(message.to_string().as_bytes()));
    }
    // In pieces that respect no envelope.
    let pieces: Vec<_> = stream
        .chunks(7)
        .map(|p| Ok::<_, std::io::Error>(Bytes::copy_from_slice(p)))
        .collect();
    let request = Request::post("/process.Process/StreamInput")
        .header("e2b-sandbox-id", &id)
        .header("content-type", "application/connect+json")
        .body(Body::from_stream(futures_util::stream::iter(pieces)))
        .unwrap();
    let all = envelopes(&c.envd(request).await.bytes);
    assert_eq!(
        all.iter().map(|(f, m)| (*f, &m[..])).collect::<Vec<_>>(),
        [(0, &b"{}"[..]), (2, &b"{}"[..])]
    );
    assert_eq!(
        reading.next().await.unwrap().1["event"]["data"]["stdout"],
        STANDARD.encode("two")
    );
    assert_eq!(
        c.call(&id, "process.Process/CloseStdin", json!({"process": which}))
            .await
            .status,
        200
    );
    assert_eq!(reading.next().await.unwrap().1["event"]["end"]["exitCode"], 0);
    assert_eq!(reading.next().await.unwrap().0, 2);
    assert!(reading.next().await.is_none());
    let late = c
        .call(
            &id,
            "process.Process/SendInput",
            json!({"process": which, "input": {"stdin": ""}}),
        )
        .await;
    assert_eq!(
        (late.status.as_u16(), &late.json()["code"]),
        (404, &json!("not_found"))
    );
}

#[tokio::test]
async fn terminals_have_a_size_and_take_input() {
    let c = Client::new();
    let id = c.sandbox().await;
    let process = json!({"cmd": "/bin/sh", "args": ["-c", "stty size; read x; stty size"]});
    let more = json!({"process": process, "pty": {"size": {"rows": 7, "cols": 33}}});
    let (mut reading, pid) = start(&c, &id, more, &[]).await;
    let mut said = String::new();
    let mut hear = async |reading: &mut Reading, until: &str| {
        while !said.contains(until) {
            let (_, event) = reading.next().await.expect("more to come");
            let bytes = STANDARD
                .decode(event["event"]["data"]["pty"].as_str().unwrap_or_default())
                .unwrap();
            said.push_str(&String::from_utf8_lossy(&bytes));
        }
    };
    hear(&mut reading, "7 33").await;
    let which = json!({"pid": pid});
    let size = json!({"process": which, "pty": {"size": {"rows": 9, "cols": 44}}});
    assert_eq!(c.call(&id, "process.Process/Update", size).await.status, 200);
    let line = json!({"process": which, "input": {"pty": STANDARD.encode("\n")}});
    c.call(&id, "process.Process/SendInput", line).await;
    hear(&mut reading, "9 44").await;
    let wrong = json!({"process": which, "pty": {"size": {"rows": 10_001, "cols": 44}}});
    assert_eq!(
        c.call(&id, "process.Process/Update", wrong).await.json()["code"],
        "invalid_argument"
    );
}

#[tokio::test]
async fn a_client_that_goes_leaves_the_program() {
    let c = Client::new();
    let id = c.sandbox().await;
    let process = json!({"cmd": "/bin/sh", "args": ["-c", "while :; do echo tick; sleep 0.02; done"]});
    let (reading, pid) = start(&c, &id, json!({"process": process, "tag": "ticks"}), &[]).await;
    drop(reading);
    // A moment in which it could be ended.
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(listed(&c, &id).await, [pid]);
    let again = Client::stream(
        &id,
        "process.Process/Connect",
        &[],
        json!({"process": {"tag": "ticks"}}),
    );
    let mut reading = Reading::new(c.open(again).await);
    assert_eq!(reading.next().await.unwrap().1["event"]["start"]["pid"], pid);
    // On a busy machine, several come at once.
    let said = text(&[reading.next().await.unwrap().1], "stdout");
    assert_eq!(said.replace("tick\n", ""), "", "{said}");
    assert!(!said.is_empty());
    let kill = json!({"process": {"pid": pid}, "signal": "SIGNAL_SIGKILL"});
    assert_eq!(
        c.call(&id, "process.Process/SendSignal", kill.clone())
            .await
            .status,
        200
    );
    let end = loop {
        let (_, event) = reading.next().await.unwrap();
        if !event["event"]["end"].is_null() {
            break event["event"]["end"].clone();
        }
    };
    assert_eq!(end["status"], "signal: killed");
    assert_eq!(
        c.call(&id, "process.Process/SendSignal", kill).await.json()["code"],
        "not_found"
    );
    let odd = json!({"process": {"pid": pid}, "signal": 11});
    assert_eq!(
        c.call(&id, "process.Process/SendSignal", odd).await.json()["code"],
        "invalid_argument"
    );
}

#[tokio::test]
async fn the_time_of_a_call_is_the_programs() {
    let c = Client::new();
    let id = c.sandbox().await;
    let begun = Instant::now();
    let events = c
        .run(&id, "echo early; sleep 60", &[("connect-timeout-ms", "3000")])
        .await;
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(text(&events, "stdout"), "early\n");
    assert_eq!(events.last().unwrap()["error"]["code"], "deadline_exceeded");
    until("its end", async || listed(&c, &id).await.is_empty()).await;
    // Its client gone, it still has no more time than it was given.
    let process = json!({"cmd": "/bin/sleep", "args": ["60"]});
    let (reading, pid) = start(
        &c,
        &id,
        json!({"process": process}),
        &[("connect-timeout-ms", "5000")],
    )
    .await;
    drop(reading);
    assert_eq!(listed(&c, &id).await, [pid]);
    until("its end", async || listed(&c, &id).await.is_empty()).await;
    // Of a mere listener, only the listening ends.
    let (_reading, pid) = start(
        &c,
        &id,
        json!({"process": {"cmd": "/bin/sleep", "args": ["60"]}}),
        &[],
    )
    .await;
    let listen = Client::stream(
        &id,
        "process.Process/Connect",
        &[("connect-timeout-ms", "200")],
        json!({"process": {"pid": pid}}),
    );
    let all = envelopes(&c.envd(listen).await.bytes);
    assert!(String::from_utf8_lossy(&all.last().unwrap().1).contains("deadline_exceeded"));
    assert_eq!(listed(&c, &id).await, [pid]);
}

#[tokio::test]
async fn beyond_so_many_programs_without_a_client_they_have_no_time() {
    let c = Client::new();
    let id = c.sandbox().await;
    let process = json!({"cmd": "/bin/sleep", "args": ["600"]});
    for n in 0..=256 {
        let timed = [("connect-timeout-ms", "600000")];
        let (reading, _) = start(&c, &id, json!({"process": process}), &timed).await;
        drop(reading);
        if n == 255 {
            assert_eq!(listed(&c, &id).await.len(), 256);
        }
    }
    until("one is too many", async || listed(&c, &id).await.len() == 256).await;
    // One that has ended makes room, once that is seen.
    let gone = listed(&c, &id).await[0];
    let kill = json!({"process": {"pid": gone}, "signal": "SIGNAL_SIGKILL"});
    c.call(&id, "process.Process/SendSignal", kill).await;
    let ends = || json!({"process": {"cmd": "/bin/sleep", "args": ["600"]}, "tag": "more"});
    let has_room = async || {
        let (reading, pid) = start(&c, &id, ends(), &[("connect-timeout-ms", "600000")]).await;
        drop(reading);
        tokio::time::sleep(Duration::from_millis(200)).await;
        listed(&c, &id).await.contains(&pid)
    };
    until("there is room again", has_room).await;
    c.ask("DELETE", &format!("/sandboxes/{id}"), None).await;
}

#[tokio::test]
async fn silence_has_signs_of_life() {
    let c = Client::new();
    let id = c.sandbox().await;
    let events = c.run(&id, "sleep 1.3", &[("keepalive-ping-interval", "1")]).await;
    assert!(
        events.iter().any(|e| e["event"]["keepalive"] == json!({})),
        "{events:?}"
    );
}

#[tokio::test]
async fn who_reads_slowly_holds_back_nobody_else() {
    let c = Client::new();
    let id = c.sandbox().await;
    let process = json!({"cmd": "/bin/sh", "args": ["-c", "yes | head -c 50000000"]});
    let (_slow, _) = start(&c, &id, json!({"process": process}), &[]).await;
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(text(&c.run(&id, "echo quick", &[]).await, "stdout"), "quick\n");
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn a_sandbox_that_is_paused_or_gone_is_not_found() {
    let c = Client::new();
    let id = c.sandbox().await;
    let (mut reading, _) = start(&c, &id, json!({"stdin": true}), &[]).await;
    c.ask("POST", &format!("/sandboxes/{id}/pause"), None).await;
    let health = || {
        Request::get("/health")
            .header("e2b-sandbox-id", &id)
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(c.envd(health()).await.status, 502);
    let list = c.call(&id, "process.Process/List", json!({})).await;
    assert_eq!(list.json()["code"], "unavailable");
    assert!(list.text().contains("was not found"), "{}", list.text());
    c.ask(
        "POST",
        &format!("/sandboxes/{id}/connect"),
        Some(json!({"timeout": 60})),
    )
    .await;
    assert_eq!(c.envd(health()).await.status, 204);
    c.ask("DELETE", &format!("/sandboxes/{id}"), None).await;
    let gone = c.call(&id, "process.Process/List", json!({})).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["code"]), (502, &json!(502)));
    assert_eq!(gone.json()["message"], "The sandbox was not found");
    // Its streams end.
    while let Some((flags, _)) = reading.next().await {
        if flags == 2 {
            break;
        }
    }
}
