//! Files of a directory of this host as files of a sandbox.
use qila_api::{ApiError, Change, Entry, EntryKind, FileEvent, Kind, Result, Watch};
use std::collections::BTreeMap;
use std::fs::{FileType, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

pub fn fail(error: &std::io::Error) -> ApiError {
    use std::io::ErrorKind as E;
    let kind = match error.kind() {
        E::NotFound => Kind::NotFound,
        E::AlreadyExists | E::IsADirectory | E::NotADirectory => Kind::Conflict,
        E::StorageFull => Kind::NoSpace,
        _ => Kind::Internal,
    };
    ApiError::new(kind, error.to_string())
}

/// A path beneath the home; nothing else of this host is any test's business.
pub fn within(home: &Path, path: &str) -> Result<PathBuf> {
    let full = home.join(path);
    let plain = full.components().all(|c| !matches!(c, Component::ParentDir));
    if !full.starts_with(home) || !plain {
        return Err(ApiError::not_found(format!(
            "path `{path}` is not in the sandbox"
        )));
    }
    Ok(full.components().collect())
}

fn kind(of: FileType) -> EntryKind {
    match of {
        t if t.is_file() => EntryKind::File,
        t if t.is_dir() => EntryKind::Directory,
        t if t.is_symlink() => EntryKind::Link,
        _ => EntryKind::Other,
    }
}

pub fn entry(path: &Path) -> Result<Entry> {
    let meta: Metadata = path.symlink_metadata().map_err(|e| fail(&e))?;
    let target = path
        .read_link()
        .ok()
        .map(|t| path.parent().unwrap().join(t).to_string_lossy().into_owned());
    Ok(Entry {
        name: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        path: path.to_string_lossy().into_owned(),
        kind: kind(meta.file_type()),
        target_kind: target
            .as_ref()
            .and_then(|_| path.metadata().ok())
            .map(|m| kind(m.file_type())),
        target,
        size: meta.size(),
        mode: meta.mode() & 0o7777,
        owner: "user".into(),
        group: "user".into(),
        modified_ms: meta.mtime() * 1000,
    })
}

pub fn walk(dir: &Path, depth: u32, all: &mut Vec<Entry>) -> Result<()> {
    let mut names: Vec<_> = std::fs::read_dir(dir)
        .map_err(|e| fail(&e))?
        .map(|e| e.unwrap().path())
        .collect();
    names.sort();
    for path in names {
        let one = entry(&path)?;
        let deeper = depth > 1 && one.kind == EntryKind::Directory;
        all.push(one);
        if deeper {
            walk(&path, depth - 1, all)?;
        }
    }
    Ok(())
}

type Seen = BTreeMap<String, (bool, SystemTime, u64, u32)>;

fn look(dir: &Path, recursive: bool) -> Option<Seen> {
    let mut all = Vec::new();
    walk(dir, if recursive { 16 } else { 1 }, &mut all).ok()?;
    let one = |e: &Entry| {
        let meta = Path::new(&e.path).symlink_metadata().ok()?;
        let name = Path::new(&e.path)
            .strip_prefix(dir)
            .ok()?
            .to_string_lossy()
            .into_owned();
        Some((
            name,
            (meta.is_dir(), meta.modified().ok()?, meta.len(), meta.mode()),
        ))
    };
    Some(all.iter().filter_map(one).collect())
}

/// Looks again and again: slow, and enough to see that events arrive.
pub fn watch(dir: PathBuf, recursive: bool) -> Result<Watch> {
    let mut before =
        look(&dir, recursive).ok_or_else(|| ApiError::not_found("there is no such directory"))?;
    let (give, events) = mpsc::channel(256);
    tokio::spawn(async move {
        while !give.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let Some(now) = look(&dir, recursive) else { return };
            let mut said = Vec::new();
            for (name, seen) in &now {
                match before.get(name) {
                    None => {
                        said.push((name, Change::Create));
                        if !seen.0 {
                            said.push((name, Change::Write));
                        }
                    }
                    Some(was) if was.3 != seen.3 => said.push((name, Change::Chmod)),
                    Some(was) if !seen.0 && was != seen => said.push((name, Change::Write)),
                    Some(_) => {}
                }
            }
            said.extend(
                before
                    .keys()
                    .filter(|n| !now.contains_key(*n))
                    .map(|n| (n, Change::Remove)),
            );
            for (name, change) in said {
                let event = FileEvent {
                    name: name.clone(),
                    change,
                };
                if give.send(event).await.is_err() {
                    return;
                }
            }
            before = now;
        }
    });
    Ok(Watch { events })
}
