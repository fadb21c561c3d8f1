//! The agents, as data: how each is started, what it is allowed, and the script its model follows.
use crate::host::{Mode, tools};
use crate::model::{Dialect, Turn};
use crate::project::{FILE, RIGHT, RUN_TESTS, TASK, WRONG, fix_command};
use crate::skip::Skip;
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// An agent, unmodified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// mini-swe-agent, from PyPI: Python, litellm, OpenAI's chat completions.
    MiniSweAgent,
    /// pi, from npm: Node, Anthropic's messages, streamed.
    Pi,
    /// `fixtures/client.py`: nothing but Python's standard library.
    Smoke,
}

impl Agent {
    /// Its name, which is also that of its policy.
    pub fn name(self) -> &'static str {
        match self {
            Agent::MiniSweAgent => "mini-swe-agent",
            Agent::Pi => "pi",
            Agent::Smoke => "smoke",
        }
    }

    /// The API that it speaks.
    pub fn dialect(self) -> Dialect {
        match self {
            Agent::MiniSweAgent | Agent::Smoke => Dialect::OpenAi,
            Agent::Pi => Dialect::Anthropic,
        }
    }

    /// The variable in which it looks for its key.
    pub fn key_variable(self) -> &'static str {
        match self.dialect() {
            Dialect::OpenAi => "OPENAI_API_KEY",
            Dialect::Anthropic => "ANTHROPIC_API_KEY",
        }
    }

    fn program(self) -> PathBuf {
        match self {
            Agent::MiniSweAgent => tools().join("venv/bin/mini"),
            Agent::Pi => tools().join("node/node_modules/.bin/pi"),
            Agent::Smoke => PathBuf::from("/usr/bin/python3"),
        }
    }

    /// Whether it is installed, and within reach of the user that is to run it.
    pub fn available(self, mode: Mode) -> Result<(), Skip> {
        let program = self.program();
        let installed = program.is_file() && (self != Agent::Pi || Path::new("/usr/bin/node").is_file());
        if !installed {
            let name = self.name();
            return Err(Skip::because(format!(
                "{name} is not installed: run tests/agents/setup.sh"
            )));
        }
        mode.reaches(&program)
    }

    /// The command line. `fixtures` is where the sandbox sees this folder's fixtures.
    pub fn command(self, fixtures: &Path) -> Vec<String> {
        let program = self.program().display().to_string();
        let client = fixtures.join("client.py").display().to_string();
        let words: &[&str] = match self {
            Agent::MiniSweAgent => &[
                &program,
                "--yolo",
                "--exit-immediately",
                "--model",
                "openai/gpt-4o",
                "--task",
                TASK,
            ],
            Agent::Pi => &[
                &program,
                "--print",
                "--no-session",
                "--provider",
                "anthropic",
                "--model",
                "claude-sonnet-4-5",
                TASK,
            ],
            Agent::Smoke => &[&program, &client, TASK],
        };
        words.iter().map(|&w| w.to_owned()).collect()
    }

    /// What the scripted model tells it: see the tests fail, mend the file, see them pass, look for secrets, finish.
    pub fn script(self, fixtures: &Path) -> Vec<Turn> {
        let tests = Turn::bash(RUN_TESTS);
        let probe = Turn::bash(format!("python3 -B {}", fixtures.join("probe.py").display()));
        let done = Turn::Say("The cents that are left over go to the first people.".into());
        let edit = |tool: &str, args| Turn::Call {
            tool: tool.into(),
            args,
        };
        match self {
            Agent::Smoke => vec![tests.clone(), Turn::bash(fix_command()), tests, probe, done],
            Agent::MiniSweAgent => {
                let submit = Turn::bash("echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT");
                vec![tests.clone(), Turn::bash(fix_command()), tests, probe, submit]
            }
            Agent::Pi => {
                let change = json!([{ "oldText": WRONG, "newText": RIGHT }]);
                vec![
                    tests.clone(),
                    edit("read", json!({ "path": FILE })),
                    edit("edit", json!({ "path": FILE, "edits": change })),
                    tests,
                    probe,
                    done,
                ]
            }
        }
    }

    /// Variables, and files beneath `home`, that point the agent to the server when there is no sandbox to do it.
    /// Whatever else it would call goes to a proxy that is not there.
    pub fn outside(self, server: SocketAddr, ca: &Path, home: &Path) -> Vec<(&'static str, String)> {
        let base = format!("https://{server}");
        let nowhere = "http://127.0.0.1:9";
        let mut set = vec![
            ("HTTPS_PROXY", nowhere.to_owned()),
            ("HTTP_PROXY", nowhere.to_owned()),
            ("NO_PROXY", "127.0.0.1".to_owned()),
        ];
        match self {
            Agent::MiniSweAgent | Agent::Smoke => {
                set.push(("OPENAI_BASE_URL", format!("{base}/v1")));
                set.push(("SSL_CERT_FILE", ca.display().to_string()));
                set.push(("LITELLM_LOCAL_MODEL_COST_MAP", "True".to_owned()));
                set.push(("MSWEA_CONFIGURED", "true".to_owned()));
            }
            Agent::Pi => {
                let models = json!({ "providers": { "anthropic": { "baseUrl": base } } });
                std::fs::write(home.join("models.json"), models.to_string()).unwrap();
                set.push(("PI_CODING_AGENT_DIR", home.display().to_string()));
                set.push(("PI_OFFLINE", "1".to_owned()));
                set.push(("NODE_EXTRA_CA_CERTS", ca.display().to_string()));
            }
        }
        set
    }
}
