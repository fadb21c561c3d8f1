//! Compiles the attack programs, once for each run of the suite.
use crate::target::target_dir;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the compiled programs lie.
#[derive(Debug, Clone)]
pub struct Programs(PathBuf);

/// The sources, one family each.
pub const FAMILIES: &[&str] = &["files", "proc", "kernel", "sockets", "net", "tty", "floods"];

impl Programs {
    /// Compiles all of them; static ones too, for a root file system that has no libraries.
    pub fn build() -> io::Result<Programs> {
        let dir = target_dir().join("escape/bin");
        std::fs::create_dir_all(&dir)?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("attacks");
        for family in FAMILIES {
            for (name, more) in [
                ((*family).to_owned(), &[][..]),
                (format!("{family}-static"), &["-static"][..]),
            ] {
                let partial = dir.join(format!("{name}.{}", std::process::id()));
                let out = Command::new("cc")
                    .args(["-O1", "-Wall", "-Wno-unused-result", "-o"])
                    .arg(&partial)
                    .arg(sources.join(format!("{family}.c")))
                    .args(["-lpthread", "-lutil"])
                    .args(more)
                    .output()?;
                if !out.status.success() && more.is_empty() {
                    return Err(io::Error::other(
                        String::from_utf8_lossy(&out.stderr).into_owned(),
                    ));
                }
                if out.status.success() {
                    std::fs::rename(&partial, dir.join(name))?;
                }
            }
        }
        Ok(Programs(dir))
    }

    /// A compiled program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}
