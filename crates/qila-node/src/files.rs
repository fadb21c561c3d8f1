//! Files in a sandbox.
use crate::fault;
use crate::guest;
use crate::live::Live;
use qila_api::{ApiError, Change, Entry, EntryKind, FileEvent, Kind, Reader, Result, Watch, Writer};
use qila_wire::served::{Answer, Ask, Change as Changed, Entry as Found, Kind as What, PIECE, Say};
use rustix::fs::FileType;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

/// Longest path in bytes.
const MAX_PATH: usize = 4096;
/// Most entries of one listing.
const MAX_ENTRIES: usize = 100_000;
/// Bytes of a file read at once.
const READ: usize = 256 * 1024;
/// Events that wait for whoever watches.
const NEWS: usize = 1024;

fn path(text: &str) -> Result<Vec<u8>> {
    if text.len() > MAX_PATH || text.contains('\0') {
        return Err(ApiError::invalid(
            "that is no path: up to 4096 bytes, none of them zero",
        ));
    }
    Ok(text.as_bytes().to_vec())
}

fn kind(what: What) -> EntryKind {
    match what {
        What::File => EntryKind::File,
        What::Directory => EntryKind::Directory,
        What::Link => EntryKind::Link,
        What::Other => EntryKind::Other,
    }
}

/// There is one user inside, whatever its number on the host; all else is the system's.
fn owner(id: u32, own: u32) -> String {
    if id == own { "user".into() } else { "root".into() }
}

fn entry(found: Found) -> Entry {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let path = text(&found.path);
    Entry {
        name: path
            .rsplit('/')
            .next()
            .filter(|n| !n.is_empty())
            .unwrap_or("/")
            .to_owned(),
        kind: kind(found.kind),
        target_kind: found.target_kind.map(kind),
        target: found.target.as_deref().map(text),
        size: found.size,
        mode: found.mode,
        owner: owner(found.uid, rustix::process::geteuid().as_raw()),
        group: owner(found.gid, rustix::process::getegid().as_raw()),
        modified_ms: found.modified_ms,
        path,
    }
}

fn confused() -> ApiError {
    fault::internal("listening to a guest", &"it answered something else")
}

async fn one(live: &Live, ask: Ask) -> Result<Entry> {
    match guest::request(&live.dir, &ask).await.map_err(fault::guest)?.1 {
        Answer::Entry(found) => Ok(entry(found)),
        _ => Err(confused()),
    }
}

pub(crate) async fn stat(live: &Live, at: &str) -> Result<Entry> {
    one(live, Ask::Stat(path(at)?)).await
}

pub(crate) async fn make_dir(live: &Live, at: &str) -> Result<Entry> {
    one(live, Ask::MakeDir(path(at)?)).await
}

pub(crate) async fn rename(live: &Live, from: &str, to: &str) -> Result<Entry> {
    let (from, to) = (path(from)?, path(to)?);
    one(live, Ask::Rename { from, to }).await
}

pub(crate) async fn remove(live: &Live, at: &str) -> Result<()> {
    let asked = guest::request(&live.dir, &Ask::Remove(path(at)?)).await;
    match asked.map_err(fault::guest) {
        Err(e) if e.kind == Kind::NotFound => Ok(()),
        other => other.map(drop),
    }
}

pub(crate) async fn list(live: &Live, at: &str, depth: u32) -> Result<Vec<Entry>> {
    let ask = Ask::List {
        path: path(at)?,
        depth,
    };
    let mut line = guest::ask(&live.dir, &ask).await.map_err(fault::guest)?;
    let mut out = Vec::new();
    loop {
        match line.hear().await.map_err(fault::guest)? {
            Answer::Entry(found) => out.push(entry(found)),
            Answer::Done => break,
            _ => return Err(confused()),
        }
        if out.len() > MAX_ENTRIES {
            return Err(
                ApiError::invalid(format!("there are more than {MAX_ENTRIES} entries"))
                    .hint("list fewer levels"),
            );
        }
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(out)
}

/// Reads a file. The guest hands a descriptor out, which is all that is believed of what it says.
pub(crate) async fn read(live: &Live, at: &str, offset: u64) -> Result<Reader> {
    let ask = Ask::Read {
        path: path(at)?,
        offset,
    };
    let (mut line, answer) = guest::request(&live.dir, &ask).await.map_err(fault::guest)?;
    let Answer::Entry(found) = answer else {
        return Err(confused());
    };
    let fd = line.descriptor().map_err(fault::guest)?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| fault::internal("looking at a file", &e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(confused());
    }
    let mut entry = entry(found);
    entry.size = u64::try_from(stat.st_size).unwrap_or(0);
    let mut file = tokio::fs::File::from_std(fd.into());
    file.set_max_buf_size(READ);
    Ok(Reader {
        entry,
        bytes: Box::pin(file),
    })
}

pub(crate) async fn write(live: &Live, at: &str, mode: Option<u32>, mut bytes: Writer) -> Result<Entry> {
    let ask = Ask::Write {
        path: path(at)?,
        mode: mode.map(|m| m & 0o777),
    };
    let (mut line, _) = guest::request(&live.dir, &ask).await.map_err(fault::guest)?;
    let mut buffer = vec![0u8; PIECE];
    loop {
        let n = bytes
            .read(&mut buffer)
            .await
            .map_err(|e| ApiError::invalid(format!("the file broke off: {e}")))?;
        let piece = buffer.get(..n).unwrap_or(&[]).to_vec();
        let say = if n == 0 { Say::End } else { Say::Bytes(piece) };
        if let Err(e) = line.say(&say).await {
            // It says why before it closes: that is worth more than the broken pipe.
            return Err(fault::guest(line.hear().await.err().unwrap_or(e)));
        }
        if n == 0 {
            break;
        }
    }
    match line.hear().await.map_err(fault::guest)? {
        Answer::Entry(found) => Ok(entry(found)),
        _ => Err(confused()),
    }
}

pub(crate) async fn watch(live: &Live, at: &str, recursive: bool) -> Result<Watch> {
    let ask = Ask::Watch {
        path: path(at)?,
        recursive,
    };
    let (mut line, _) = guest::request(&live.dir, &ask).await.map_err(fault::guest)?;
    let (give, events) = mpsc::channel(NEWS);
    tokio::spawn(async move {
        loop {
            let said = tokio::select! {
                said = line.hear() => said,
                () = give.closed() => return,
            };
            let Ok(Answer::Changed { name, change }) = said else {
                return;
            };
            let change = match change {
                Changed::Create => Change::Create,
                Changed::Write => Change::Write,
                Changed::Remove => Change::Remove,
                Changed::Rename => Change::Rename,
                Changed::Chmod => Change::Chmod,
            };
            let name = String::from_utf8_lossy(&name).into_owned();
            // One that lags is let go, so that nothing grows.
            if give.try_send(FileEvent { name, change }).is_err() {
                return;
            }
        }
    });
    Ok(Watch { events })
}
