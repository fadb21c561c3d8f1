//! The `filesystem` clause.
use super::draft::Marks;
use super::reader::{Path, Reader};
use super::tree::{Node, Value};
use super::{form, keys};
use crate::error::Problem;
use crate::model::{Base, Filesystem, PolicyPath, WorkspaceMode};
use std::collections::HashSet;
use std::hash::Hash;

const MODES: &[(&str, WorkspaceMode)] = &[
    ("layer", WorkspaceMode::Layer),
    ("direct", WorkspaceMode::Direct),
    ("read_only", WorkspaceMode::ReadOnly),
    ("none", WorkspaceMode::None),
];

pub(crate) fn filesystem(
    r: &mut Reader<'_>,
    node: Option<&Node>,
    path: &Path<'_>,
    marks: &mut Marks,
) -> Filesystem {
    let mut out = Filesystem {
        base: Base::Host,
        workspace: WorkspaceMode::Layer,
        read: Vec::new(),
        write: Vec::new(),
        hide: Vec::new(),
    };
    let Some(node) = node else { return out };
    let f = r.fields(node, path, keys::FILESYSTEM);
    if let Some(node) = f.get("base") {
        out.base = base(r, node, &path.key("base")).unwrap_or(Base::Host);
    }
    if let Some(node) = f.get("workspace") {
        out.workspace = r
            .word(node, &path.key("workspace"), MODES)
            .unwrap_or(WorkspaceMode::Layer);
    }
    let mut paths = |key: &str| unique(r.each(f.get(key), &path.key(key), policy_path));
    (out.read, marks.read) = paths("read");
    (out.write, marks.write) = paths("write");
    (out.hide, marks.hide) = paths("hide");
    out
}

/// A path in one of its three forms.
pub(super) fn policy_path(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<PolicyPath> {
    r.form(
        node,
        path,
        "a path: absolute, `~/…` or `./…`, without `..` or a trailing `/`",
        form::path,
    )
    .map(PolicyPath)
}

fn base(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Base> {
    if !matches!(node.value, Value::Map(_)) {
        return r.word(node, path, &[("host", ())]).map(|()| Base::Host);
    }
    let f = r.fields(node, path, keys::BASE);
    match (f.get("directory"), f.get("oci_layout")) {
        (Some(node), None) => policy_path(r, node, &path.key("directory")).map(Base::Directory),
        (None, Some(node)) => policy_path(r, node, &path.key("oci_layout")).map(Base::OciLayout),
        (Some(_), Some(_)) => {
            r.problem(
                f.at,
                path,
                Problem::Exclusive {
                    one: "directory",
                    other: "oci_layout",
                },
            );
            None
        }
        (None, None) => {
            r.problem(f.at, path, Problem::Missing { key: "directory" });
            None
        }
    }
}

/// The first of each equal pair, with its place: a repetition is harmless.
pub(super) fn unique<T: Clone + Eq + Hash, M>(list: Vec<(T, M)>) -> (Vec<T>, Vec<M>) {
    let mut seen = HashSet::with_capacity(list.len());
    list.into_iter()
        .filter(|(value, _)| seen.insert(value.clone()))
        .unzip()
}
