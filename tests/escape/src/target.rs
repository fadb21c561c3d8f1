//! What is attacked: Qila on one of its tiers, or a peer.
use std::path::{Path, PathBuf};

/// The tiers of Qila under attack. A new tier is one word here.
pub const TIERS: &[&str] = &["process", "container"];
/// Tiers that are attacked when they are named: `--tier gvisor`.
pub const BY_NAME: &[&str] = &["gvisor"];

/// What is attacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `qila run` on a tier.
    Qila {
        /// The command.
        bin: PathBuf,
        /// The tier.
        tier: &'static str,
    },
    /// bubblewrap with everything unshared: a peer that shows what the suite finds elsewhere.
    Bwrap,
}

impl Target {
    /// Its name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Target::Qila { tier, .. } => tier,
            Target::Bwrap => "bwrap",
        }
    }

    /// Whether the target is Qila.
    pub fn is_qila(&self) -> bool {
        matches!(self, Target::Qila { .. })
    }

    /// The launcher's argument vector.
    pub fn command(
        &self,
        policy: &Path,
        workspace: &Path,
        flags: &[String],
        quiet: bool,
        argv: &[String],
    ) -> Vec<String> {
        let text = |p: &Path| p.to_string_lossy().into_owned();
        let (ws, mut out) = (text(workspace), Vec::new());
        match self {
            Target::Qila { bin, tier } => {
                out.extend([
                    text(bin),
                    "run".into(),
                    if quiet { "-q" } else { "--json" }.into(),
                ]);
                out.extend([
                    "--policy".into(),
                    text(policy),
                    "--isolation".into(),
                    (*tier).into(),
                    "--workspace".into(),
                    ws,
                ]);
                out.extend(flags.iter().cloned());
            }
            Target::Bwrap => {
                let words = "/usr/bin/bwrap --unshare-all --die-with-parent --ro-bind / / --proc /proc --dev /dev --tmpfs /tmp";
                out.extend(words.split(' ').map(str::to_owned));
                out.extend(["--bind".into(), ws.clone(), ws.clone(), "--chdir".into(), ws]);
            }
        }
        out.push("--".into());
        out.extend(argv.iter().cloned());
        out
    }
}

/// Finds the `qila` command: `$QILA_BIN`, else the newest one that cargo built.
pub fn find_qila() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("QILA_BIN") {
        return Some(PathBuf::from(given)).filter(|p| p.is_file());
    }
    let root = target_dir();
    let mut places = vec![root.join("release/qila"), root.join("debug/qila")];
    for entry in std::fs::read_dir(&root).ok()?.flatten() {
        places.push(entry.path().join("release/qila"));
        places.push(entry.path().join("debug/qila"));
    }
    let built = |p: &PathBuf| p.metadata().ok()?.modified().ok();
    places.into_iter().filter(|p| p.is_file()).max_by_key(built)
}

/// Cargo's target directory.
pub fn target_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("CARGO_TARGET_DIR") {
        return PathBuf::from(dir);
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target")
}
