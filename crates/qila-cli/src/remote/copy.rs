//! Files to and from a sandbox elsewhere.
use super::http::{Host, escaped};
use super::list::text;
use crate::fail::Fail;
use crate::policy::print;
use crate::ps::harmless;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::Method;
use hyper::body::Frame;
use serde_json::Value;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::path::{Component, Path, PathBuf};
use tokio::sync::mpsc;

/// Bytes of a file sent at once.
const PIECE: usize = 128 * 1024;
/// Most files and directories of one copy.
const MOST: usize = 100_000;

fn under(id: &str, what: &str, path: &str) -> String {
    format!("/v1/sandboxes/{}/files{what}?path={}", escaped(id), escaped(path))
}

/// Copies a file or a directory into a sandbox; `within`: the content of the directory, not the directory.
pub(crate) async fn up(host: &Host, id: &str, from: &Path, to: &str, within: bool) -> Result<(), Fail> {
    let fail = |path: &Path, e: std::io::Error| Fail::io("reading", path, e);
    let kind = std::fs::metadata(from).map_err(|e| fail(from, e))?;
    if !kind.is_dir() {
        let name = from.file_name().unwrap_or_default().to_string_lossy();
        let into = if to.is_empty() || to.ends_with('/') {
            format!("{to}{name}")
        } else {
            to.to_owned()
        };
        return file_up(host, id, from, &into).await;
    }
    let base = match (within, to) {
        (true, to) => to.to_owned(),
        (false, "" | ".") => from
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        (false, to) => to.to_owned(),
    };
    let mut left = vec![(from.to_owned(), base)];
    let mut seen = 0;
    while let Some((dir, at)) = left.pop() {
        if at != "." {
            make_dir(host, id, &at).await?;
        }
        for entry in std::fs::read_dir(&dir).map_err(|e| fail(&dir, e))? {
            let entry = entry.map_err(|e| fail(&dir, e))?;
            seen += 1;
            if seen > MOST {
                return Err(Fail::new(format!(
                    "{} has more than {MOST} entries",
                    from.display()
                )));
            }
            let kind = entry.file_type().map_err(|e| fail(&entry.path(), e))?;
            let inner = format!("{at}/{}", entry.file_name().to_string_lossy());
            if kind.is_dir() {
                left.push((entry.path(), inner));
            } else if kind.is_file() {
                file_up(host, id, &entry.path(), &inner).await?;
            } else {
                // Where a link leads here means nothing there.
                eprintln!("qila: left out: {}, which is no file", entry.path().display());
            }
        }
    }
    Ok(())
}

async fn make_dir(host: &Host, id: &str, path: &str) -> Result<(), Fail> {
    let made = host
        .json(
            Method::POST,
            &format!("/v1/sandboxes/{}/files/mkdir", escaped(id)),
            Some(&serde_json::json!({"path": path})),
        )
        .await;
    match made {
        Ok(_) => Ok(()),
        // It is there.
        Err(e) => match stat(host, id, path).await {
            Ok(entry) if text(&entry, "kind") == "directory" => Ok(()),
            _ => Err(e),
        },
    }
}

async fn stat(host: &Host, id: &str, path: &str) -> Result<Value, Fail> {
    host.json(Method::GET, &under(id, "/stat", path), None).await
}

async fn file_up(host: &Host, id: &str, from: &Path, to: &str) -> Result<(), Fail> {
    use std::os::unix::fs::PermissionsExt;
    let mut file = std::fs::File::open(from).map_err(|e| Fail::io("reading", from, e))?;
    let mode = file
        .metadata()
        .map_err(|e| Fail::io("reading", from, e))?
        .permissions()
        .mode()
        & 0o777;
    let (give, take) = mpsc::channel::<Bytes>(4);
    // Read by a thread that may wait for the disk.
    let reader = tokio::task::spawn_blocking(move || -> std::io::Result<()> {
        let mut buffer = vec![0u8; PIECE];
        loop {
            let n = file.read(&mut buffer)?;
            if n == 0
                || give
                    .blocking_send(Bytes::copy_from_slice(buffer.get(..n).unwrap_or(&[])))
                    .is_err()
            {
                return Ok(());
            }
        }
    });
    let frames = stream::unfold(take, |mut take| async move {
        take.recv()
            .await
            .map(|piece| (Ok::<_, Infallible>(Frame::data(piece)), take))
    });
    let path = format!("{}&mode={mode:o}", under(id, "", to));
    let request = host
        .request(Method::PUT, &path)
        .header("content-type", "application/octet-stream");
    let request = request
        .body(BodyExt::boxed(StreamBody::new(frames)))
        .map_err(|e| Fail::new(e.to_string()))?;
    host.ask(request).await?;
    let read = reader.await.map_err(|e| Fail::new(e.to_string()))?;
    read.map_err(|e| Fail::io("reading", from, e))
}

/// Copies a file or a directory out of a sandbox.
pub(crate) async fn down(host: &Host, id: &str, from: &str, to: &Path) -> Result<(), Fail> {
    let entry = stat(host, id, from).await?;
    let name = text(&entry, "name").to_owned();
    if text(&entry, "kind") != "directory" {
        let into = if to.is_dir() {
            to.join(safe(&name)?)
        } else {
            to.to_owned()
        };
        return file_down(host, id, from, &into).await;
    }
    let root = if to.is_dir() {
        to.join(safe(&name)?)
    } else {
        to.to_owned()
    };
    let top = text(&entry, "path").to_owned();
    let list = host
        .json(
            Method::GET,
            &format!("{}&depth=64", under(id, "/list", from)),
            None,
        )
        .await?;
    let items = list
        .get("items")
        .unwrap_or(&list)
        .as_array()
        .cloned()
        .unwrap_or_default();
    std::fs::create_dir_all(&root).map_err(|e| Fail::io("making", &root, e))?;
    for item in items {
        let path = text(&item, "path").to_owned();
        let Some(relative) = path.strip_prefix(top.as_str()).map(|p| p.trim_start_matches('/')) else {
            continue;
        };
        let into = root.join(safe(relative)?);
        match text(&item, "kind") {
            "directory" => std::fs::create_dir_all(&into).map_err(|e| Fail::io("making", &into, e))?,
            "file" => file_down(host, id, &path, &into).await?,
            _ => eprintln!("qila: left out: {}, which is no file", harmless(&path)),
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

async fn file_down(host: &Host, id: &str, from: &str, to: &Path) -> Result<(), Fail> {
    use std::os::unix::fs::OpenOptionsExt;
    let fail = |e: std::io::Error| Fail::io("writing", to, e);
    let request = host
        .request(Method::GET, &under(id, "", from))
        .body(Empty::new().boxed());
    let mut body = host
        .ask(request.map_err(|e| Fail::new(e.to_string()))?)
        .await?
        .into_body();
    // Beside its place first: a copy that breaks off leaves what was there. No link is followed, whoever made it.
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let draft = to.with_file_name(format!(".{name}.qila-{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&draft)
        .map_err(fail)?;
    let written = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| Fail::new(format!("the daemon went away: {e}")))?;
            if let Ok(bytes) = frame.into_data() {
                file.write_all(&bytes).map_err(fail)?;
            }
        }
        std::fs::rename(&draft, to).map_err(fail)
    };
    let done = written.await;
    if done.is_err() {
        let _ = std::fs::remove_file(&draft); // the failure before it says more
    }
    done
}

/// `qila sandbox ls`.
pub(crate) async fn list(host: &Host, id: &str, path: &str, json: bool) -> Result<u8, Fail> {
    let list = host.json(Method::GET, &under(id, "/list", path), None).await?;
    let items = list
        .get("items")
        .unwrap_or(&list)
        .as_array()
        .cloned()
        .unwrap_or_default();
    for item in items {
        if json {
            print(&item.to_string());
            continue;
        }
        let size = item.get("size").and_then(Value::as_u64).unwrap_or(0);
        let [kind, name] = ["kind", "name"].map(|n| harmless(text(&item, n)));
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
}
