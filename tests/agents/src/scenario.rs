//! An agent mends the project: outside any sandbox, and inside one.
use crate::agent::Agent;
use crate::canary::{Key, Search, Sight, look, survivors};
use crate::host::{self, Mode};
use crate::judge::{self, Report};
use crate::model::{Hook, ModelServer};
use crate::project;
use crate::qila::{Finished, Qila, finish, run_id};
use crate::skip::Skip;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

/// The directories and secrets of one scenario.
struct Stage {
    scratch: tempfile::TempDir,
    key: Key,
    decoy: Key,
    mode: Mode,
}

impl Stage {
    fn set(mode: Mode) -> Stage {
        let stage = Stage {
            scratch: host::scratch(),
            key: Key::random(),
            decoy: Key::random(),
            mode,
        };
        project::copy(&stage.project());
        for dir in ["home", "state", "fixtures"] {
            std::fs::create_dir(stage.path(dir)).unwrap();
        }
        for name in ["probe.py", "client.py"] {
            std::fs::copy(host::fixtures().join(name), stage.fixtures().join(name)).unwrap();
        }
        std::fs::write(stage.fixtures().join("decoy"), stage.decoy.expose()).unwrap();
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn project(&self) -> PathBuf {
        self.path("project")
    }

    fn fixtures(&self) -> PathBuf {
        self.path("fixtures")
    }

    fn policy(&self, agent: Agent) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("policies/{}.yaml", agent.name()));
        let text = std::fs::read_to_string(source).unwrap();
        let text = text
            .replace("@TOOLS@", host::tools().to_str().unwrap())
            .replace("@FIXTURES@", self.fixtures().to_str().unwrap())
            .replace("@DECOY@", self.decoy.expose());
        let path = self.path("policy.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

/// Outside any sandbox, with this key: what the agent does when nothing is in its way. The twin of [`inside`], and the
/// proof that script, project and server are sound.
fn outside(agent: Agent, stage: &Stage, key: &str) -> (ModelServer, Finished) {
    let script = agent.script(&stage.fixtures());
    let server = ModelServer::start(agent.dialect(), &stage.key, script, Box::new(|_| ()));
    let ca = stage.path("ca.pem");
    std::fs::write(&ca, server.ca_pem()).unwrap();
    let words = agent.command(&stage.fixtures());
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .current_dir(stage.project())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", stage.path("home"))
        .env("QILA_DECOY", stage.decoy.expose())
        .env(agent.key_variable(), key)
        .envs(agent.outside(server.address(), &ca, &stage.path("home")));
    (server, finish(command))
}

fn here() -> Mode {
    if host::uid() == 0 {
        Mode::Root
    } else {
        Mode::Unprivileged
    }
}

/// The agent finishes the task without Qila, and everything that later looks for the key finds it there.
pub fn works_outside(agent: Agent) -> Result<(), Skip> {
    agent.available(here())?;
    let stage = Stage::set(here());
    let (server, finished) = outside(agent, &stage, stage.key.expose());
    assert!(finished.status.success(), "{}", finished.text());
    judge::conversation(agent, &server, false);
    project::fixed_and_nothing_else(&stage.project()).unwrap();
    assert!(project::passes(&stage.project()));
    let report = Report::of(&server);
    for secret in [&stage.key, &stage.decoy] {
        let places = report.places(secret);
        for kind in ["environ", "memory"] {
            assert!(
                places.iter().any(|p| p.starts_with(kind)),
                "the probe does not see {kind}: {report:?}"
            );
        }
    }
    let search = Search::of(&stage.key);
    assert!(
        search.hits(finished.stdout.as_bytes()),
        "the echo is not seen: {}",
        finished.text()
    );
    Ok(())
}

/// A placeholder gets an agent nowhere without the gateway: the server's check of the key can fail.
pub fn placeholder_fails_outside(agent: Agent) -> Result<(), Skip> {
    agent.available(here())?;
    let stage = Stage::set(here());
    let (server, _) = outside(agent, &stage, "placeholder");
    let seen = server.seen();
    assert!(
        !seen.is_empty() && seen.iter().all(|e| !e.real_key && e.status == 401),
        "{seen:?}"
    );
    assert!(project::fixed_and_nothing_else(&stage.project()).is_err());
    Ok(())
}

/// The agent finishes the task inside, and nothing there ever held the key.
pub fn works_inside(agent: Agent, tier: &str, mode: Mode) -> Result<(), Skip> {
    mode.available()?;
    let binary = host::qila()?;
    mode.reaches(&binary)?;
    agent.available(mode)?;
    let stage = Stage::set(mode);
    let (key, decoy) = (Search::of(&stage.key), Search::of(&stage.decoy));
    let sight = Arc::new(Mutex::new(Sight::default()));
    let server = ModelServer::start(
        agent.dialect(),
        &stage.key,
        agent.script(&stage.fixtures()),
        watcher(&stage, Arc::clone(&sight)),
    );

    let qila = Qila {
        binary,
        mode,
        state: stage.path("state"),
        home: stage.path("home"),
        directory: stage.project(),
    };
    let finished = run(agent, tier, &stage, &qila, &server);
    let sight = sight.lock().unwrap().clone();

    assert!(finished.status.success(), "{}", finished.text());
    let run = run_id(&finished);
    judge::conversation(agent, &server, true);
    key_was_never_inside(&stage, &Report::of(&server), &sight, &key, &finished);
    assert_eq!(survivors(&decoy), Vec::<u32>::new(), "processes left behind");
    layer_and_apply(&stage, &qila, &run);
    evidence(agent, &stage, &qila, &run, &server);
    let found = key.beneath(stage.scratch.path());
    assert!(found.is_empty(), "the key lies in {found:?}");
    Ok(())
}

/// Looks into the sandbox's processes at each request of the agent, which waits meanwhile.
fn watcher(stage: &Stage, sight: Arc<Mutex<Sight>>) -> Hook {
    let (key, decoy) = (Search::of(&stage.key), Search::of(&stage.decoy));
    Box::new(move |_| {
        let seen = look(&key, &decoy);
        sight.lock().unwrap().merge(seen);
    })
}

fn run(agent: Agent, tier: &str, stage: &Stage, qila: &Qila, server: &ModelServer) -> Finished {
    let (policy, ca) = (stage.policy(agent), stage.path("ca.pem"));
    std::fs::write(&ca, server.ca_pem()).unwrap();
    stage.mode.own(stage.scratch.path());
    let mut command = qila.command();
    command
        .env(agent.key_variable(), stage.key.expose())
        .args(["run", "--json", "--isolation", tier, "--policy"])
        .arg(policy)
        .arg("--upstream")
        .arg(format!("{}:443={}", agent.dialect().host(), server.address()))
        .arg("--upstream-ca")
        .arg(ca)
        .arg("--")
        .args(agent.command(&stage.fixtures()));
    finish(command)
}

fn key_was_never_inside(stage: &Stage, report: &Report, sight: &Sight, key: &Search, finished: &Finished) {
    // From inside: the decoy is seen in every kind of place, the key in none.
    let decoys = report.places(&stage.decoy);
    for kind in ["environ", "memory", "files"] {
        assert!(
            decoys.iter().any(|p| p.starts_with(kind)),
            "the probe does not see {kind}: {report:?}"
        );
        assert!(report.looked(kind) > 0, "{report:?}");
    }
    assert_eq!(
        report.places(&stage.key),
        Vec::<String>::new(),
        "the key is inside: {report:?}"
    );
    assert_ne!(
        report.collector(),
        "connected",
        "a host that no rule allows was reached"
    );

    // From outside: the memory of every process in the sandbox, while the gateway held the key.
    assert!(
        sight.key.is_empty(),
        "the key is in the memory of {:?}",
        sight.key
    );
    if sight.decoy.is_empty() {
        let reason = format!("no process's memory could be read from outside: {sight:?}");
        assert_ne!(host::uid(), 0, "{reason}");
        Skip::because(reason).report("memory seen from outside");
    } else if !sight.unread.is_empty() {
        let reason = format!("the memory of {:?} could not be read", sight.unread);
        Skip::because(reason).report("memory seen from outside");
    }

    // The echoes of the key, in a header and in the text, were masked.
    for (name, text) in [("output", &finished.stdout), ("error output", &finished.stderr)] {
        assert!(!key.hits(text.as_bytes()), "the key is in the agent's {name}");
    }
    assert!(
        finished.stdout.contains("the key you sent is"),
        "no echo was seen at all: {}",
        finished.text()
    );
}

fn layer_and_apply(stage: &Stage, qila: &Qila, run: &str) {
    let project = stage.project();
    assert!(
        !project::passes(&project),
        "the host's project changed before apply"
    );
    let diff = qila.call(&["diff", run]);
    assert!(diff.status.success(), "{}", diff.text());
    let marked = |mark: &str, line: &str| diff.stdout.lines().any(|l| l == format!("{mark}{line}"));
    assert!(
        marked("-", project::WRONG) && marked("+", project::RIGHT),
        "{}",
        diff.text()
    );
    let files: Vec<_> = diff.stdout.lines().filter(|l| l.starts_with("+++ ")).collect();
    assert!(
        files.len() == 1 && files[0].contains(project::FILE),
        "{}",
        diff.text()
    );

    let apply = qila.call(&["apply", run]);
    assert!(apply.status.success(), "{}", apply.text());
    project::fixed_and_nothing_else(&project).unwrap();
    assert!(project::passes(&project));
}

fn evidence(agent: Agent, stage: &Stage, qila: &Qila, run: &str, server: &ModelServer) {
    let log = qila.call(&["log", run, "--json"]);
    assert!(log.status.success(), "{}", log.text());
    judge::recorded(agent, &log.stdout, server.seen().len());

    let verify = qila.call(&["audit", "verify"]);
    assert!(verify.status.success(), "{}", verify.text());

    let files = judge::evidence_files(&qila.state);
    assert!(!files.is_empty(), "no evidence beneath {}", qila.state.display());
    let largest = files.iter().max_by_key(|f| f.metadata().unwrap().len()).unwrap();
    let copy = Qila {
        state: stage.path("copy"),
        ..qila.clone()
    };
    // The evidence alone: a directory of overlayfs beside it is closed even to its owner.
    std::fs::create_dir(&copy.state).unwrap();
    let status = Command::new("cp")
        .arg("-a")
        .args([qila.state.join("evidence"), copy.state.join("evidence")])
        .status()
        .unwrap();
    assert!(status.success());
    stage.mode.own(&copy.state);
    // The copy itself is sound; with one byte flipped it is not.
    assert!(copy.call(&["audit", "verify"]).status.success());
    let target = copy.state.join(largest.strip_prefix(&qila.state).unwrap());
    let mut bytes = std::fs::read(&target).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&target, bytes).unwrap();
    let verify = copy.call(&["audit", "verify"]);
    assert!(
        !verify.status.success(),
        "a flipped byte in {} is not found: {}",
        target.display(),
        verify.text()
    );
}
