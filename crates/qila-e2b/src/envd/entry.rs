//! Entries of directories as E2B describes them, and paths as it writes them.
use super::limit;
use super::wire::filesystem::{EntryInfo, FileType, Timestamp};
use crate::connect::Fault;
use qila_api::{Entry, EntryKind};

/// A path as the node reads it: `~` is the home directory, where relative paths begin too.
pub(super) fn path(text: &str) -> Result<&str, String> {
    if text.len() > limit::PATH {
        return Err(format!("a path may have {} bytes", limit::PATH));
    }
    if text.contains('\0') {
        return Err("a path has no zero byte".into());
    }
    Ok(match text {
        "" | "~" | "~/" => ".",
        _ => match text.strip_prefix("~/") {
            // `~//etc` is not `/etc`.
            Some(rest) => match rest.trim_start_matches('/') {
                "" => ".",
                rest => rest,
            },
            None => text,
        },
    })
}

/// The same, for Connect.
pub(super) fn sound(text: &str) -> Result<&str, Fault> {
    path(text).map_err(Fault::invalid)
}

fn kind(entry: &Entry) -> FileType {
    // A link is what it leads to; one that leads nowhere is a link.
    let kind = match entry.kind {
        EntryKind::Link => entry.target_kind.unwrap_or(EntryKind::Link),
        other => other,
    };
    match kind {
        EntryKind::File => FileType::File,
        EntryKind::Directory => FileType::Directory,
        EntryKind::Link => FileType::Symlink,
        EntryKind::Other => FileType::Unspecified,
    }
}

/// Permission bits as `ls` writes them, with Go's letter for a link.
fn permissions(entry: &Entry) -> String {
    let mut text = String::with_capacity(10);
    text.push(match entry.kind {
        EntryKind::File | EntryKind::Other => '-',
        EntryKind::Directory => 'd',
        EntryKind::Link => 'L',
    });
    for (bit, letter) in (0..9).rev().zip("rwxrwxrwx".chars()) {
        text.push(if entry.mode >> bit & 1 == 1 { letter } else { '-' });
    }
    text
}

/// An entry as envd describes it.
pub(super) fn info(entry: Entry) -> EntryInfo {
    EntryInfo {
        kind: kind(&entry).into(),
        permissions: permissions(&entry),
        size: i64::try_from(entry.size).unwrap_or(i64::MAX),
        mode: entry.mode & 0o7777,
        modified_time: Some(Timestamp::from_ms(entry.modified_ms)),
        name: entry.name,
        path: entry.path,
        owner: entry.owner,
        group: entry.group,
        symlink_target: entry.target,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_where_they_should() {
        for (given, read) in [
            ("", "."),
            ("~", "."),
            ("~/a", "a"),
            ("~//etc", "etc"),
            ("/a", "/a"),
            ("a/b", "a/b"),
            ("~a", "~a"),
        ] {
            assert_eq!(path(given), Ok(read), "{given}");
        }
        assert!(path("a\0b").is_err() && path(&"a".repeat(5000)).is_err());
    }

    #[test]
    fn entries_are_described() {
        let mut entry = Entry {
            name: "a".into(),
            path: "/a".into(),
            kind: EntryKind::File,
            target_kind: None,
            target: None,
            size: 3,
            mode: 0o640,
            owner: "user".into(),
            group: "user".into(),
            modified_ms: 1500,
        };
        let file = info(entry.clone());
        assert_eq!((file.kind, file.permissions.as_str()), (1, "-rw-r-----"));
        let json = serde_json::to_value(&file).unwrap();
        assert_eq!(json["type"], "FILE_TYPE_FILE");
        assert_eq!(json["size"], "3");
        assert_eq!(json["modifiedTime"], "1970-01-01T00:00:01.500Z");
        entry.kind = EntryKind::Link;
        assert_eq!(info(entry.clone()).kind, 3);
        entry.target_kind = Some(EntryKind::Directory);
        assert_eq!(info(entry).kind, 2);
    }
}
