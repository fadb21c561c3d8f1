//! Folders that a run uses and removes.
use std::path::{Path, PathBuf};

/// A folder for everything that a run makes; it goes when this does.
#[derive(Debug)]
pub struct Scratch {
    /// The folder.
    pub folder: PathBuf,
    /// Whether this process is root.
    pub root: bool,
}

impl Scratch {
    /// Makes the folder under `out`: on the build's disk, so that durable writes cost what they cost in life.
    pub fn new(out: &Path) -> std::io::Result<Scratch> {
        let folder = std::path::absolute(out)?.join(format!("scratch-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Scratch {
            folder,
            root: rustix::process::geteuid().is_root(),
        })
    }

    /// Makes a folder inside.
    pub fn sub(&self, name: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&path)
            .map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("note: cannot remove {}: {error}", self.folder.display());
        }
    }
}

/// Finds a program on `PATH` or in the system folders.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}
