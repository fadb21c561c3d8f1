//! Where things are: the command under test, the clients, and the directories of a session.
use qila_agents::host::{self, Mode};
use qila_agents::skip::Skip;
use std::path::{Path, PathBuf};

/// Where `setup.sh` installs the clients.
pub fn tools() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root).join("target/protocols")
}

/// The `qila` binary: `QILA_BIN`, or the newest that lies beside this program.
pub fn qila() -> Result<PathBuf, Skip> {
    if let Some(path) = std::env::var_os("QILA_BIN") {
        return Ok(PathBuf::from(path).canonicalize().expect("QILA_BIN names a file"));
    }
    let own = std::env::current_exe().unwrap();
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|d| d.join("qila"))
        .find(|p| p.is_file())
        .ok_or_else(|| Skip::because("no qila binary: build it first, or set QILA_BIN"))
}

/// The program that runs a client's script, if it is installed and this user reaches it.
pub fn runner(script: &str, mode: Mode) -> Result<Vec<String>, Skip> {
    let (program, installed, what) = match script {
        "curl_client.py" => ("/usr/bin/python3".into(), PathBuf::from("/usr/bin/curl"), "curl"),
        _ if script.ends_with(".mjs") => {
            let modules = tools().join("node/node_modules");
            (
                "/usr/bin/node".to_owned(),
                modules.join("ws/package.json"),
                "the Node clients",
            )
        }
        _ => {
            let python = tools().join("venv/bin/python3");
            (
                python.display().to_string(),
                tools().join("venv/stamp"),
                "the Python clients",
            )
        }
    };
    if !installed.exists() || !Path::new(&program).exists() {
        return Err(Skip::because(format!("no {what}: run tests/protocols/setup.sh")));
    }
    mode.reaches(Path::new(&program))?;
    Ok(vec![program])
}

/// The directories of one session.
pub struct Stage {
    /// All is beneath it; removed when dropped.
    pub scratch: tempfile::TempDir,
}

impl Stage {
    /// Fresh ones, with the scripts of the clients.
    pub fn set() -> Stage {
        let stage = Stage {
            scratch: host::scratch(),
        };
        for name in ["home", "state", "work", "in"] {
            std::fs::create_dir(stage.path(name)).unwrap();
        }
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        for entry in std::fs::read_dir(clients).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                std::fs::copy(entry.path(), stage.path("in").join(entry.file_name())).unwrap();
            }
        }
        stage
    }

    /// A path beneath it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}
