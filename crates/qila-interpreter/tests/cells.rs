//! Cells of code, asked for over HTTP as clients ask.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use serde_json::{Value, json};
use std::time::Duration;
use support::{begin, has, server, with_kernel};

#[tokio::test]
async fn python_remembers_and_says_what_it_is_asked_for() {
    let Some(server) = with_kernel().await else {
        return;
    };
    let ran = server
        .cell(
            "python",
            "import sys; x = 41; print('out'); print('err', file=sys.stderr)",
        )
        .await;
    assert_eq!(
        (ran.text("stdout"), ran.text("stderr")),
        ("out\n".into(), "err\n".into())
    );
    let ran = server.cell("python", "x + 1").await;
    assert_eq!(ran.main()["text"], "42");
    assert_eq!(ran.of("number_of_executions")[0]["execution_count"], 2);
    let ran = server.cell("python", "def f():\n    return 1 / 0\nf()").await;
    let error = ran.of("error")[0];
    assert_eq!(
        (error["name"].as_str(), error["value"].as_str()),
        (Some("ZeroDivisionError"), Some("division by zero"))
    );
    assert!(error["traceback"].as_str().unwrap().contains("ZeroDivisionError"));
    let ran = server
        .run(json!({"code": "import os; os.environ.get('A')", "env_vars": {"A": "b"}}))
        .await;
    assert_eq!(ran.main()["text"], "'b'");
    let ran = server.cell("python", "print(os.environ.get('A'))").await;
    assert_eq!(ran.text("stdout"), "None\n");
    let ran = server.cell("python", "print('x' * 20_000_000)").await;
    assert_eq!(ran.text("stdout").len(), 20_000_001);
    let ran = server
        .cell("python", "for i in range(100): print('y' * 1_000_000)")
        .await;
    assert_eq!(
        ran.of("error")[0]["name"],
        "OutputLimit",
        "what a cell says is bounded"
    );
    let ran = server.cell("python", "x").await;
    assert_eq!(ran.main()["text"], "41", "and its context goes on");
}

#[tokio::test]
async fn pictures_tables_and_the_data_in_them() {
    use base64::Engine;
    let Some(server) = with_kernel().await else {
        return;
    };
    let code = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [2, 4, 8], label='a')\nplt.title('T'); plt.xlabel('Time (s)'); plt.ylabel('V')\nplt.show()";
    let ran = server.cell("python", code).await;
    let shown = ran.of("result")[0];
    let png = base64::engine::general_purpose::STANDARD
        .decode(shown["png"].as_str().unwrap())
        .unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    let chart = &shown["chart"];
    assert_eq!(
        (chart["type"].as_str(), chart["title"].as_str()),
        (Some("line"), Some("T"))
    );
    assert_eq!(
        (chart["x_label"].as_str(), chart["x_unit"].as_str()),
        (Some("Time"), Some("s"))
    );
    assert_eq!(
        chart["elements"],
        json!([{"label": "a", "points": [[1, 2], [2, 4], [3, 8]]}])
    );
    for (code, kind, elements) in [
        (
            "plt.scatter([1], [2]); plt.show()",
            "scatter",
            json!([{"label": "", "points": [[1.0, 2.0]]}]),
        ),
        (
            "plt.bar(['p', 'q'], [3, 4]); plt.show()",
            "bar",
            json!([{"label": "p", "group": "", "value": 3}, {"label": "q", "group": "", "value": 4}]),
        ),
        (
            "plt.boxplot([[1, 2, 3, 4, 5]]); plt.show()",
            "box_and_whisker",
            Value::Null,
        ),
        (
            "plt.pie([1, 3], labels=['s', 'l']); plt.show()",
            "pie",
            Value::Null,
        ),
    ] {
        let ran = server.cell("python", code).await;
        let chart = &ran
            .of("result")
            .first()
            .unwrap_or_else(|| panic!("{code}: {ran:?}"))["chart"];
        assert_eq!(chart["type"], kind, "{ran:?}");
        if !elements.is_null() {
            assert_eq!(chart["elements"], elements);
        }
        if kind == "box_and_whisker" {
            assert_eq!(chart["elements"][0]["median"], 3.0, "{chart}");
        }
        if kind == "pie" {
            assert_eq!(chart["elements"][1]["label"], "l");
            assert!((chart["elements"][1]["angle"].as_f64().unwrap() - 270.0).abs() < 0.01);
        }
    }
    let ran = server
        .cell(
            "python",
            "import pandas as pd\npd.DataFrame({'a': [1, 2], 'b': ['x', None]})",
        )
        .await;
    let table = ran.main();
    assert!(table["html"].as_str().unwrap().contains("<table"));
    assert_eq!(table["data"], json!({"a": [1, 2], "b": ["x", null]}));
}

#[tokio::test]
async fn data_of_figures_and_tables_is_right_or_left_out() {
    let Some(server) = with_kernel().await else {
        return;
    };
    let ran = server.cell("python", "import matplotlib.pyplot as plt, pandas as pd\nplt.plot([1, 2, 3], [1, float('inf'), float('nan')]); plt.show()").await;
    let chart = &ran.of("result")[0]["chart"];
    assert_eq!(
        chart["elements"][0]["points"],
        json!([[1, 1.0], [2, null], [3, null]]),
        "{ran:?}"
    );
    for (code, labels) in [
        ("plt.bar([0, 1], [3, 4]); plt.show()", json!(["0.0", "1.0"])),
        ("plt.barh(['a', 'b'], [3, 4]); plt.show()", json!(["a", "b"])),
        (
            "pd.DataFrame({'p': [1, 2], 'q': [3, 4]}).plot.box(); plt.show()",
            json!(["p", "q"]),
        ),
    ] {
        let ran = server.cell("python", code).await;
        let elements = ran
            .of("result")
            .into_iter()
            .find_map(|r| r["chart"]["elements"].as_array());
        let found: Value = elements
            .unwrap_or_else(|| panic!("{ran:?}"))
            .iter()
            .map(|e| e["label"].clone())
            .collect();
        assert_eq!(found, labels, "{code}");
    }
    // A picture without its data is one all the same.
    for code in [
        "plt.plot(range(200_000)); plt.show()",
        "plt.figure().add_subplot(projection='3d').scatter([1], [2], [3]); plt.show()",
    ] {
        let ran = server.cell("python", code).await;
        let shown = ran.of("result")[0];
        assert!(shown["png"].is_string(), "{code}");
        let kind = &shown["chart"]["type"];
        assert!(kind.is_null() || kind == "unknown", "{code}: {kind}");
    }
    let ran = server
        .cell(
            "python",
            "pd.DataFrame({'t': [pd.Timestamp('2024'), pd.NaT], 'f': [1.5, float('inf')]})",
        )
        .await;
    assert_eq!(
        ran.main()["data"],
        json!({"t": ["2024-01-01T00:00:00", null], "f": [1.5, null]})
    );
    for code in [
        "pd.DataFrame([[1, 2]], columns=['a', 'a'])",
        "pd.DataFrame({n: range(1000) for n in range(60)})",
    ] {
        let ran = server.cell("python", code).await;
        assert!(ran.main()["html"].as_str().unwrap().contains("<table"));
        assert!(ran.main()["data"].is_null(), "{code}");
    }
}

#[tokio::test]
async fn whoever_goes_away_interrupts_its_cell() {
    let Some(server) = with_kernel().await else {
        return;
    };
    for (language, code, after) in [
        (
            "python",
            "import time\nn = 1\nprint('on', flush=True)\ntime.sleep(100)",
            "n",
        ),
        ("bash", "n=1; echo on; sleep 100", "echo $n"),
    ] {
        drop(begin(&server, json!({"code": code, "language": language})).await);
        let begun = std::time::Instant::now();
        let ran = server.cell(language, after).await;
        assert!(begun.elapsed() < Duration::from_secs(20), "it was waited for");
        let said = format!(
            "{}{}",
            ran.text("stdout"),
            ran.of("result")
                .first()
                .map_or("", |r| r["text"].as_str().unwrap())
        );
        assert_eq!(said.trim(), "1", "{language}: {ran:?}");
    }
}

#[tokio::test]
async fn contexts_are_apart_restarted_and_replaced_when_they_die() {
    let Some(server) = with_kernel().await else {
        return;
    };
    let (_, one) = server
        .ask("POST", "/contexts", json!({"language": "python"}))
        .await;
    let (_, two) = server
        .ask("POST", "/contexts", json!({"language": "python", "cwd": "/tmp"}))
        .await;
    assert_eq!(two["cwd"], "/tmp");
    server
        .run(json!({"code": "v = 1", "context_id": one["id"]}))
        .await;
    let ran = server.run(json!({"code": "v", "context_id": two["id"]})).await;
    assert_eq!(ran.of("error")[0]["name"], "NameError");
    let path = format!("/contexts/{}/restart", one["id"].as_str().unwrap());
    assert_eq!(server.ask("POST", &path, Value::Null).await.0, 200);
    let ran = server.run(json!({"code": "v", "context_id": one["id"]})).await;
    assert_eq!(ran.of("error")[0]["name"], "NameError");
    let ran = server.run(json!({"code": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "context_id": two["id"]})).await;
    assert_eq!(ran.of("error")[0]["name"], "ContextEnded");
    let ran = server
        .run(json!({"code": "1 + 1", "context_id": two["id"]}))
        .await;
    assert_eq!(ran.main()["text"], "2");
    assert!(ran.text("stderr").contains("new one"));
    let path = format!("/contexts/{}", two["id"].as_str().unwrap());
    assert_eq!(server.ask("DELETE", &path, Value::Null).await.0, 204);
    assert_eq!(server.ask("DELETE", &path, Value::Null).await.0, 404);
    let (_, list) = server.ask("GET", "/contexts", Value::Null).await;
    assert!(list.as_array().unwrap().iter().all(|c| c["id"] != two["id"]));
    let (status, _) = server
        .ask("POST", "/execute", json!({"code": "1", "context_id": "nothing"}))
        .await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn bash_remembers_and_fails_like_a_shell() {
    let server = server("no-python").await;
    let ran = server
        .cell(
            "bash",
            "x='two words'; cd /tmp; f() { echo $x; }; echo é; echo err >&2",
        )
        .await;
    assert_eq!(
        (ran.text("stdout"), ran.text("stderr")),
        ("é\n".into(), "err\n".into())
    );
    let ran = server.cell("bash", "f; pwd; false").await;
    assert_eq!(ran.text("stdout"), "two words\n/tmp\n");
    assert_eq!(ran.of("error")[0]["value"], "exit status 1");
    let ran = server
        .run(json!({"code": "echo $A; cat", "language": "bash", "env_vars": {"A": "1\n2"}}))
        .await;
    assert_eq!(ran.text("stdout"), "1 2\n");
    assert_eq!(server.cell("bash", "echo \"[$A]\"").await.text("stdout"), "[]\n");
    server.cell("bash", "B=1; export C=2; set -u").await;
    let env = json!({"A": "0", "B": "0", "C": "0"});
    let code = "bash -c 'echo $A$B$C'";
    for (env, told) in [(env, "000\n"), (json!({}), "2\n")] {
        let ran = server
            .run(json!({"code": code, "language": "bash", "env_vars": env}))
            .await;
        assert_eq!(ran.text("stdout"), told, "what was not exported is not again");
    }
    assert_eq!(server.cell("bash", "echo $B$C").await.text("stdout"), "12\n");
    let ran = server.cell("bash", "exit 3").await;
    assert_eq!(ran.of("error")[0]["name"], "ContextEnded");
    assert_eq!(server.cell("bash", "echo again").await.text("stdout"), "again\n");
    let ran = server.cell("python", "1").await;
    let error = ran.of("error")[0]["value"].as_str().unwrap().to_owned();
    assert!(error.contains("no-python"), "{error}");
    let (status, answer) = server
        .ask("POST", "/execute", json!({"code": "1", "language": "cobol"}))
        .await;
    assert_eq!(status, 400, "{answer}");
    let (status, _) = server.ask("POST", "/execute", json!({"kode": "1"})).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn javascript_remembers_and_awaits() {
    if !has("node", &["--version"]) {
        println!("skipped: there is no node");
        return;
    }
    let server = server("no-python").await;
    let ran = server
        .cell(
            "javascript",
            "const a = 20; let b = 1; console.log('hi'); console.error('e')",
        )
        .await;
    assert_eq!(
        (ran.text("stdout"), ran.text("stderr")),
        ("hi\n".into(), "e\n".into())
    );
    let ran = server
        .cell("javascript", "b += 1; await Promise.resolve(a * 2 + b)")
        .await;
    assert_eq!(ran.main()["text"], "42");
    let ran = server.cell("js", "({x: [1, 2]})").await;
    assert_eq!(ran.main()["json"], json!({"x": [1, 2]}));
    let ran = server.cell("javascript", "null.x").await;
    assert_eq!(ran.of("error")[0]["name"], "TypeError");
    let ran = server.cell("javascript", "function (").await;
    assert_eq!(ran.of("error")[0]["name"], "SyntaxError");
    assert_eq!(server.cell("javascript", "a").await.main()["text"], "20");
}

#[tokio::test]
async fn a_script_that_is_interrupted_leaves_what_it_had_made() {
    if !has("node", &["--version"]) {
        println!("skipped: there is no node");
        return;
    }
    let server = server("no-python").await;
    server.cell("javascript", "let n = 0").await;
    for (i, code) in [
        "n += 1; console.log('on'); await new Promise(() => {})",
        "n += 1; console.log('on'); new Promise(() => {})",
    ]
    .iter()
    .enumerate()
    {
        drop(begin(&server, json!({"code": code, "language": "javascript"})).await);
        let ran = server.cell("javascript", "n").await;
        assert_eq!(ran.main()["text"], (i + 1).to_string(), "{code}: {ran:?}");
    }
}
