//! Files to a sandbox elsewhere, and files and lists of files from it. What its agent chose (names, kinds, sizes) decides nothing here.
use super::http::{Host, escaped, gone, nothing};
use super::list::text;
use super::meter::Meter;
use crate::fail::Fail;
use crate::policy::print;
use crate::ps::harmless;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Method;
use hyper::body::Frame;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use tokio::sync::mpsc;

/// Bytes of a file sent at once.
const PIECE: usize = 128 * 1024;
/// Most files and directories of one copy.
const MOST: usize = 100_000;
/// Most bytes of one copy out of a sandbox: a file with holes costs its agent nothing, and whoever fetches it a disk.
const MOST_BYTES: u64 = 64 << 30;
/// Levels that a daemon lists at once.
const DEEPEST: usize = 64;

pub(crate) fn under(id: &str, what: &str, path: &str) -> String {
    format!("/v1/sandboxes/{}/files{what}?path={}", escaped(id), escaped(path))
}

/// The name of a file here as the daemon can be told it.
fn utf8(path: &Path, name: Option<&std::ffi::OsStr>) -> Result<String, Fail> {
    let name = name.and_then(std::ffi::OsStr::to_str).map(str::to_owned);
    name.ok_or_else(|| {
        Fail::new(format!("{} has no name that is UTF-8", path.display()))
            .hint("rename it, or copy what it is in")
    })
}

fn reading(path: &Path) -> impl Fn(std::io::Error) -> Fail {
    move |e| Fail::io("reading", path, e)
}

/// Copies a file or a directory into a sandbox, as `docker cp` does: into `to` if that is a directory there. `within`: the content
/// of the directory, not the directory.
pub(crate) async fn up(
    host: &Host,
    id: &str,
    from: &Path,
    to: &str,
    within: bool,
    meter: &mut Meter,
) -> Result<(), Fail> {
    let kind = std::fs::metadata(from).map_err(reading(from))?;
    let to = if to.is_empty() { "." } else { to };
    let there = stat(host, id, to).await?;
    let into_it = to.ends_with('/') || there.is_some_and(|entry| text(&entry, "kind") == "directory");
    let at = if into_it && !within {
        let whole = std::path::absolute(from).map_err(reading(from))?;
        format!("{}/{}", to.trim_end_matches('/'), utf8(from, whole.file_name())?)
    } else {
        to.to_owned()
    };
    if !kind.is_dir() {
        return file_up(host, id, from, &at, meter).await;
    }
    let mut left = vec![(from.to_owned(), at)];
    let mut seen = 0;
    while let Some((dir, at)) = left.pop() {
        if at != "." {
            make_dir(host, id, &at).await?;
        }
        for entry in std::fs::read_dir(&dir).map_err(reading(&dir))? {
            let entry = entry.map_err(reading(&dir))?;
            seen += 1;
            if seen > MOST {
                return Err(
                    Fail::new(format!("{} has more than {MOST} entries", from.display()))
                        .hint("pack it: tar -c DIR | qila sandbox exec ID -- tar -x"),
                );
            }
            let path = entry.path();
            let kind = entry.file_type().map_err(reading(&path))?;
            let inner = format!("{at}/{}", utf8(&path, Some(&entry.file_name()))?);
            if kind.is_dir() {
                left.push((path, inner));
            } else if kind.is_file() {
                file_up(host, id, &path, &inner, meter).await?;
            } else {
                // Where a link leads here means nothing there.
                eprintln!("qila: left out: {}, which is no file", path.display());
            }
        }
    }
    Ok(())
}

async fn make_dir(host: &Host, id: &str, path: &str) -> Result<(), Fail> {
    let at = format!("/v1/sandboxes/{}/files/mkdir", escaped(id));
    match host
        .json(Method::POST, &at, Some(&serde_json::json!({"path": path})))
        .await
    {
        Ok(_) => Ok(()),
        Err(e) => match stat(host, id, path).await {
            // It is there.
            Ok(Some(entry)) if text(&entry, "kind") == "directory" => Ok(()),
            _ => Err(e),
        },
    }
}

async fn stat(host: &Host, id: &str, path: &str) -> Result<Option<Value>, Fail> {
    host.look(&under(id, "/stat", path)).await
}

async fn file_up(host: &Host, id: &str, from: &Path, to: &str, meter: &mut Meter) -> Result<(), Fail> {
    let mut file = std::fs::File::open(from).map_err(reading(from))?;
    let mode = file.metadata().map_err(reading(from))?.permissions().mode() & 0o777;
    let (give, take) = mpsc::channel::<std::io::Result<Bytes>>(4);
    let (count, mut counted) = mpsc::channel::<usize>(64);
    // Read by a thread that may wait for the disk.
    let reader = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut buffer = vec![0u8; PIECE];
        loop {
            let piece = match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => Bytes::copy_from_slice(buffer.get(..n).unwrap_or(&[])),
                // What is not whole must not become a file there: the request breaks off.
                Err(e) => {
                    let told = std::io::Error::new(e.kind(), e.to_string());
                    let _ = give.blocking_send(Err(e)); // if nobody listens, the request has failed already
                    return Err(told);
                }
            };
            let n = piece.len();
            if give.blocking_send(Ok(piece)).is_err() {
                return Ok(());
            }
            let _ = count.try_send(n); // for the eye only
        }
    });
    let frames = stream::unfold(take, |mut take| async move {
        let piece = take.recv().await?;
        Some((piece.map(Frame::data), take))
    });
    let path = format!("{}&mode={mode:o}", under(id, "", to));
    let request = host
        .request(Method::PUT, &path)
        .header("content-type", "application/octet-stream")
        .body(BodyExt::boxed(StreamBody::new(Box::pin(frames))))
        .map_err(|e| Fail::new(e.to_string()))?;
    let mut asking = std::pin::pin!(host.ask(request));
    let answer = loop {
        tokio::select! {
            answer = &mut asking => break answer,
            Some(n) = counted.recv() => meter.bytes(n),
        }
    };
    // The reason on this side explains that on the other.
    match answer {
        Ok(answer) => {
            super::http::whole(answer.into_body()).await?;
            reader
                .await
                .map_err(|e| Fail::new(e.to_string()))?
                .map_err(reading(from))?;
        }
        Err(fail) => {
            if let Ok(Err(e)) = reader.await {
                return Err(Fail::io("reading", from, e));
            }
            return Err(fail);
        }
    }
    while let Ok(n) = counted.try_recv() {
        meter.bytes(n);
    }
    meter.file();
    Ok(())
}

/// Copies a file or a directory out of a sandbox; `within`: the content of the directory, not the directory.
pub(crate) async fn down(
    host: &Host,
    id: &str,
    from: &str,
    to: &Path,
    within: bool,
    meter: &mut Meter,
) -> Result<(), Fail> {
    let from = if from.is_empty() { "." } else { from };
    let entry = stat(host, id, from).await?;
    let entry = entry.ok_or_else(|| Fail::new(format!("there is no {} in the sandbox", harmless(from))))?;
    let is_dir = text(&entry, "kind") == "directory" || text(&entry, "target_kind") == "directory";
    // What the person named here may be behind a link; what is beneath it may not.
    let root = if to.is_dir() && !(within && is_dir) {
        to.join(safe(text(&entry, "name"))?)
    } else {
        to.to_owned()
    };
    if !is_dir {
        return file_down(host, id, from, &root, mode(&entry), meter).await;
    }
    let top = text(&entry, "path").trim_end_matches('/').to_owned();
    let list = host
        .json(
            Method::GET,
            &format!("{}&depth={DEEPEST}", under(id, "/list", from)),
            None,
        )
        .await?;
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    if items.len() > MOST {
        return Err(
            Fail::new(format!("{} has more than {MOST} entries", harmless(from)))
                .hint("pack it: qila sandbox exec ID -- tar -c DIR | tar -x"),
        );
    }
    std::fs::create_dir_all(&root).map_err(|e| Fail::io("making", &root, e))?;
    for item in items {
        let path = text(item, "path");
        let relative = path.strip_prefix(top.as_str()).map(|p| p.trim_start_matches('/'));
        let relative = safe(relative.unwrap_or(path))?;
        let into = root.join(&relative);
        match text(item, "kind") {
            "directory" if relative.components().count() >= DEEPEST => {
                return Err(Fail::new(format!(
                    "{} is more than {DEEPEST} directories down",
                    harmless(path)
                ))
                .hint("copy it by itself"));
            }
            "directory" => directory(&root, &relative)?,
            "file" => {
                directory(&root, relative.parent().unwrap_or(Path::new("")))?;
                file_down(host, id, path, &into, mode(item), meter).await?;
            }
            _ => eprintln!("qila: left out: {}, which is no file", harmless(path)),
        }
    }
    Ok(())
}

fn mode(entry: &Value) -> u32 {
    let mode = entry.get("mode").and_then(Value::as_u64).unwrap_or(0o644);
    // Whoever copies can read and remove it, whatever an agent made of it; set-uid and the like do not travel.
    u32::try_from(mode & 0o777).unwrap_or(0o644) | 0o600
}

/// Makes directories beneath the root, one by one: a link that lies there already is not followed.
fn directory(root: &Path, relative: &Path) -> Result<(), Fail> {
    let mut at = root.to_owned();
    for part in relative.components() {
        at.push(part);
        match std::fs::symlink_metadata(&at) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                return Err(Fail::new(format!("{} is there, and no directory", at.display()))
                    .hint("a copy follows no link; remove it, or copy elsewhere"));
            }
            Err(_) => std::fs::create_dir(&at).map_err(|e| Fail::io("making", &at, e))?,
        }
    }
    Ok(())
}

/// A path that an agent chose: it leads nowhere but down.
fn safe(path: &str) -> Result<PathBuf, Fail> {
    let path = PathBuf::from(path);
    let plain = path.components().all(|c| matches!(c, Component::Normal(_)));
    if plain && path.components().next().is_some() {
        return Ok(path);
    }
    Err(Fail::new(format!(
        "the sandbox has a path that leads astray: {}",
        harmless(&path.to_string_lossy())
    )))
}

async fn file_down(
    host: &Host,
    id: &str,
    from: &str,
    to: &Path,
    mode: u32,
    meter: &mut Meter,
) -> Result<(), Fail> {
    let fail = |e: std::io::Error| Fail::io("writing", to, e);
    let request = host.request(Method::GET, &under(id, "", from)).body(nothing());
    let request = request.map_err(|e| Fail::new(e.to_string()))?;
    let mut body = host.ask(request).await?.into_body();
    // Beside its place first: a copy that breaks off leaves what was there. No link is followed, whoever made it.
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let short: String = name.chars().take(48).collect();
    let path = to.with_file_name(format!(".{short}.qila-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)
        .map_err(fail)?;
    let draft = Draft(Some(path));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| gone(&e.to_string()))?;
        if let Ok(bytes) = frame.into_data() {
            file.write_all(&bytes).map_err(fail)?;
            meter.bytes(bytes.len());
            if meter.copied().1 > MOST_BYTES {
                return Err(
                    Fail::new(format!("more than {} GiB", MOST_BYTES >> 30)).hint("copy less at once")
                );
            }
        }
    }
    draft.keep(to).map_err(fail)?;
    meter.file();
    Ok(())
}

/// A file that is not whole yet. It goes, unless it is kept, also when a copy is interrupted.
struct Draft(Option<PathBuf>);

impl Draft {
    fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }

    fn keep(mut self, to: &Path) -> std::io::Result<()> {
        std::fs::rename(self.path(), to)?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path); // the failure before it says more
        }
    }
}

/// `qila sandbox ls`.
pub(crate) async fn list(host: &Host, id: &str, path: &str, json: bool) -> Result<u8, Fail> {
    let path = if path.is_empty() { "." } else { path };
    let list = host.json(Method::GET, &under(id, "/list", path), None).await?;
    for item in list.as_array().into_iter().flatten() {
        if json {
            print(&item.to_string());
            continue;
        }
        let size = item.get("size").and_then(Value::as_u64).unwrap_or(0);
        let [kind, name] = ["kind", "name"].map(|n| harmless(text(item, n)));
        print(&format!("{kind:9}  {size:>12}  {name}"));
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_sandbox_lead_only_down() {
        assert!(safe("a/b").is_ok());
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "."] {
            assert!(safe(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_link_that_lies_here_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        assert!(directory(&root, Path::new("link/below")).is_err());
        assert!(!outside.join("below").exists());
        assert!(directory(&root, Path::new("real/below")).is_ok());
        assert!(root.join("real/below").is_dir());
    }

    #[test]
    fn what_an_agent_made_of_a_file_does_not_travel() {
        assert_eq!(mode(&serde_json::json!({"mode": 0o4755})), 0o755);
        assert_eq!(mode(&serde_json::json!({"mode": 0})), 0o600);
    }
}
