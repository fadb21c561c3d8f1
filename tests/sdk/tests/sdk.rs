//! Each program that uses an SDK, as one test. `QILA_SDK_ONLY` makes only the checks whose name has that text.
#![allow(clippy::unwrap_used, clippy::panic)]
use qila_agents::skip::Skip;
use qila_sdk_tests::{Outcome, Part, Server, run, tools};
use std::sync::{Mutex, PoisonError};

/// Times are looked at: one after the other.
static TURN: Mutex<()> = Mutex::new(());

fn made(part: Part, template: impl FnOnce(&Server) -> Result<String, Skip>) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let name = part.name();
    let checks = Server::start().and_then(|server| {
        let template = template(&server)?;
        let checks = run(part, &server, &template)?;
        if checks.iter().any(|c| matches!(c.outcome, Outcome::Failed(_))) {
            println!("the server's log:\n{}", server.log());
        }
        Ok(checks)
    });
    let checks = match checks {
        Ok(checks) => checks,
        Err(skip) => return skip.report(&name),
    };
    let mut failed = Vec::new();
    for check in &checks {
        match &check.outcome {
            Outcome::Ok => println!("ok: {}", check.name),
            Outcome::Skipped(why) => Skip::because(why.clone()).report(&check.name),
            Outcome::Failed(why) => failed.push(format!("{}:\n    {why}", check.name)),
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} checks failed:\n{}",
        failed.len(),
        checks.len(),
        failed.join("\n")
    );
    let some = std::env::var_os("QILA_SDK_ONLY").is_some();
    assert!(some || !checks.is_empty(), "{name} made no checks");
}

fn base(_: &Server) -> Result<String, Skip> {
    Ok("base".into())
}

/// A template whose Python has ipykernel, numpy, pandas and matplotlib.
fn with_python(server: &Server) -> Result<String, Skip> {
    let qila = qila_agents::host::qila()?;
    let help = std::process::Command::new(qila)
        .args(["interpret", "--help"])
        .output()
        .unwrap();
    if !help.status.success() {
        return Err(Skip::because("this build has no interpreter"));
    }
    let inside = tools().join("inside");
    match inside.join("stamp").exists() {
        true => Ok(server.with_python(&inside).to_owned()),
        false => Err(Skip::because("no Python for the inside: run tests/sdk/setup.sh")),
    }
}

#[test]
fn python_commands() {
    made(Part::Python("commands"), base);
}

#[test]
fn python_terminals() {
    made(Part::Python("terminals"), base);
}

#[test]
fn python_files() {
    made(Part::Python("files"), base);
}

#[test]
fn python_lifecycle() {
    made(Part::Python("lifecycle"), base);
}

#[test]
fn python_asynchronous() {
    made(Part::Python("asynchronous"), base);
}

#[test]
fn python_crash() {
    made(Part::Python("crash"), base);
}

#[test]
fn node_sandboxes() {
    made(Part::Node("sandboxes"), base);
}

#[test]
fn python_interpreter() {
    made(Part::Python("interpreter"), with_python);
}

#[test]
fn python_agents() {
    made(Part::Python("agents"), with_python);
}

#[test]
fn node_interpreter() {
    made(Part::Node("interpreter"), with_python);
}
