//! Running one program, and reading what became of its checks.
use crate::place::Part;
use crate::server::Server;
use qila_agents::skip::Skip;
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How long one program may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What became of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Ok,
    /// It could not be made, for this reason.
    Skipped(String),
    /// It does not hold.
    Failed(String),
}

/// A check and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// `LANGUAGE/PART/CHECK`.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
}

fn read(line: &str) -> Option<Checked> {
    let (name, rest) = line.strip_prefix("check ")?.split_once(' ')?;
    let (word, why) = rest.split_once(' ').unwrap_or((rest, ""));
    let outcome = match word {
        "ok" => Outcome::Ok,
        "skipped" => Outcome::Skipped(why.to_owned()),
        _ => Outcome::Failed(why.replace(" | ", "\n    ")),
    };
    Some(Checked {
        name: name.to_owned(),
        outcome,
    })
}

/// Runs a program against a server, and answers its checks. A program that does not come to its end is a check that failed.
///
/// # Errors
/// What it needs is not installed.
pub fn run(part: Part, server: &Server, template: &str) -> Result<Vec<Checked>, Skip> {
    let mut command = part.command(server.scratch.path())?;
    let url = format!("http://{}", server.key.address);
    command
        .env("E2B_API_URL", &url)
        .env("E2B_SANDBOX_URL", &url)
        .env("E2B_API_KEY", &server.key.secret);
    command
        .env("QILA_SDK_TEMPLATE", template)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command.envs(server.successor());
    for variable in [
        "E2B_DEBUG",
        "E2B_DOMAIN",
        "E2B_ACCESS_TOKEN",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env_remove(variable);
    }
    let errors = std::fs::File::create(server.scratch.path().join("errors")).unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .expect("it starts");
    let mut out = child.stdout.take().unwrap();
    let reading = std::thread::spawn(move || {
        let mut said = String::new();
        let _ = out.read_to_string(&mut said);
        said
    });
    let until = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > until {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = reading.join().unwrap();
    let mut checks: Vec<_> = said.lines().filter_map(read).collect();
    if !said.lines().any(|line| line == format!("done {}", part.name())) {
        let errors = std::fs::read_to_string(server.scratch.path().join("errors")).unwrap_or_default();
        checks.push(Checked {
            name: part.name(),
            outcome: Outcome::Failed(format!("it did not come to its end:\n{said}\n{errors}")),
        });
    }
    Ok(checks)
}
