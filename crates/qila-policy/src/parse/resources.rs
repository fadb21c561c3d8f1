//! The `resources` clause.
use super::keys;
use super::reader::{Path, Reader};
use super::tree::{Node, Value};
use crate::model::{DiskLimit, MemoryLimit, Resources};
use qila_types::{ByteRate, Bytes, Millis};

/// Most processes, threads or open files that a policy may name: what the kernel's own counters hold.
const MAX_COUNT: u64 = 4_194_304;

pub(crate) fn resources(r: &mut Reader<'_>, node: Option<&Node>, path: &Path<'_>) -> Resources {
    let Some(node) = node else {
        return Resources::default();
    };
    let f = r.fields(node, path, keys::RESOURCES);
    let count = |r: &mut Reader<'_>, key| {
        f.get(key)
            .and_then(|n| r.number(n, &path.key(key), 1, MAX_COUNT))
            .and_then(|v| u32::try_from(v).ok())
    };
    let processes = count(r, "processes");
    let open_files = count(r, "open_files");
    let memory = f
        .get("memory")
        .and_then(|n| bytes_or_hard(r, n, &path.key("memory")));
    let disk = f.get("disk").and_then(|n| bytes_or_hard(r, n, &path.key("disk")));
    let (disk_read, disk_write) = match f.get("disk_io") {
        None => (None, None),
        Some(node) => {
            let path = path.key("disk_io");
            let io = r.fields(node, &path, keys::DISK_IO);
            let mut rate = |key| io.get(key).and_then(|n| byte_rate(r, n, &path.key(key)));
            (rate("read"), rate("write"))
        }
    };
    Resources {
        cpu: f
            .get("cpu")
            .and_then(|n| r.unit(n, &path.key("cpu"), "a number of cores")),
        memory: memory.map(|(bytes, hard)| MemoryLimit { bytes, hard }),
        processes,
        open_files,
        disk: disk.map(|(bytes, hard)| DiskLimit { bytes, hard }),
        disk_read,
        disk_write,
        wall_time: f.get("wall_time").and_then(|n| {
            let path = path.key("wall_time");
            let time: Millis = r.unit(n, &path, "a duration such as `30m`")?;
            nonzero(r, n, &path, time.0).then_some(time)
        }),
        output: f.get("output").and_then(|n| size(r, n, &path.key("output"))),
    }
}

/// `2GiB` or `{hard: 2GiB}`.
fn bytes_or_hard(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<(Bytes, bool)> {
    if !matches!(node.value, Value::Map(_)) {
        return size(r, node, path).map(|b| (b, false));
    }
    let f = r.fields(node, path, keys::HARD);
    match f.get("hard") {
        Some(node) => size(r, node, &path.key("hard")).map(|b| (b, true)),
        None => {
            r.problem(f.at, path, crate::error::Problem::Missing { key: "hard" });
            None
        }
    }
}

/// A size above zero.
pub(super) fn size(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Bytes> {
    let bytes: Bytes = r.unit(node, path, "a size such as `2GiB`")?;
    nonzero(r, node, path, bytes.0).then_some(bytes)
}

/// A byte rate above zero.
pub(super) fn byte_rate(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<ByteRate> {
    let rate: ByteRate = r.unit(node, path, "a byte rate such as `10MiB/s`")?;
    nonzero(r, node, path, rate.0).then_some(rate)
}

/// A limit of nothing is a mistake, and some mechanisms read zero as "no limit".
pub(super) fn nonzero(r: &mut Reader<'_>, node: &Node, path: &Path<'_>, value: u64) -> bool {
    if value == 0 {
        let text = match &node.value {
            Value::Scalar(t) => super::reader::short(t),
            _ => String::new(),
        };
        r.problem(
            node.at,
            path,
            crate::error::Problem::Form {
                text,
                wanted: "more than zero",
            },
        );
    }
    value != 0
}
