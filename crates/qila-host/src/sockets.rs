//! Unix sockets in directories that an agent may write itself: whoever listens there is of the host.
use crate::error::HostError;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Most files and directories that are looked at.
const MAX: usize = 2_000_000;
/// Most sockets.
const MAX_SOCKETS: usize = 256;

/// The sockets beneath directories, links not followed. What cannot be looked into might hold some: it is an error.
pub(crate) fn beneath(directories: &[String]) -> Result<Vec<String>, HostError> {
    let mut found = Vec::new();
    let mut rest: Vec<PathBuf> = directories.iter().map(PathBuf::from).collect();
    rest.retain(|d| d.is_dir());
    let mut seen = 0usize;
    while let Some(directory) = rest.pop() {
        let fail = |source| HostError::Unreadable {
            path: directory.clone(),
            source,
        };
        for entry in std::fs::read_dir(&directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let kind = entry.file_type().map_err(fail)?;
            seen += 1;
            if seen > MAX {
                return Err(too_many(
                    &directory,
                    &format!("more than {MAX} files to look for sockets in"),
                ));
            }
            if kind.is_dir() {
                rest.push(entry.path());
            } else if kind.is_socket() {
                let path = entry.path();
                let text = path
                    .to_str()
                    .ok_or_else(|| too_many(&path, "a socket whose name is not UTF-8"))?;
                found.push(text.to_owned());
            }
        }
        if found.len() > MAX_SOCKETS {
            return Err(too_many(
                &directory,
                &format!("more than {MAX_SOCKETS} sockets of this host"),
            ));
        }
    }
    found.sort();
    Ok(found)
}

fn too_many(directory: &Path, what: &str) -> HostError {
    HostError::Unsearchable {
        path: directory.to_owned(),
        what: what.to_owned(),
    }
}
