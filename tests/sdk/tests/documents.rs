//! Both committed descriptions against a running server, by a tool that makes up requests: no answer is a server's failure, and
//! those of E2B's API have the described shape. `QILA_SDK_EXAMPLES` says how many requests are made up for each operation.
#![allow(clippy::unwrap_used, clippy::panic)]
use qila_agents::skip::Skip;
use qila_sdk_tests::{Server, tools};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(400);

fn holds(name: &str, document: &str, checks: &str, examples: &str) {
    let program = tools().join("venv/bin/schemathesis");
    if !program.exists() {
        return Skip::because("no schemathesis: run tests/sdk/setup.sh").report(name);
    }
    let server = match Server::start() {
        Ok(server) => server,
        Err(skip) => return skip.report(name),
    };
    let document = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(document);
    let examples = std::env::var("QILA_SDK_EXAMPLES").unwrap_or_else(|_| examples.to_owned());
    let said = server.scratch.path().join("said");
    let mut child = Command::new(program)
        .arg("run")
        .arg(document.canonicalize().unwrap())
        .args(["--url", &format!("http://{}", server.key.address)])
        .args(["--header", &format!("X-API-Key: {}", server.key.secret)])
        // The same requests each time, and nothing kept of them.
        .args([
            "--checks",
            checks,
            "--max-examples",
            &examples,
            "--seed",
            "1",
            "--generation-database",
            "none",
        ])
        .args(["--workers", "2", "--no-color"])
        .current_dir(server.scratch.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&said).unwrap())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let until = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > until => {
                child.kill().unwrap();
                let _ = child.wait();
                panic!("{name}: it took more than {} s", PATIENCE.as_secs());
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let said = std::fs::read_to_string(said).unwrap();
    assert!(status.success(), "{name}: {said}\n{}", server.log());
    // Without requests nothing would have failed.
    assert!(
        said.contains(" generated, ") && said.contains(" passed"),
        "{name}: {said}"
    );
    println!("ok: {name}");
}

#[test]
fn the_api_that_e2bs_sdks_speak() {
    let checks =
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    holds("e2b/document", "e2b.openapi.json", checks, "12");
}

#[test]
fn the_native_api() {
    holds("native/document", "openapi.json", "not_a_server_error", "3");
}
