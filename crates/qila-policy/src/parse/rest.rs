//! The clauses `isolation`, `syscalls` and `environment`.
use super::draft::Marks;
use super::filesystem::unique;
use super::reader::{Path, Reader, short};
use super::tree::{Node, Value};
use super::{form, keys};
use crate::error::Problem;
use crate::model::{Environment, SyscallBase, Syscalls};
use qila_types::Tier;
use std::collections::BTreeMap;

const BASES: &[(&str, SyscallBase)] = &[("default", SyscallBase::Default), ("strict", SyscallBase::Strict)];

/// `auto` or the name of a tier.
pub(crate) fn isolation(r: &mut Reader<'_>, node: Option<&Node>, path: &Path<'_>) -> Option<Tier> {
    let mut words: Vec<(&str, Option<Tier>)> = vec![("auto", None)];
    words.extend(Tier::ALL.into_iter().map(|t| (t.as_str(), Some(t))));
    r.word(node?, path, &words).flatten()
}

pub(crate) fn syscalls(
    r: &mut Reader<'_>,
    node: Option<&Node>,
    path: &Path<'_>,
    marks: &mut Marks,
) -> Syscalls {
    let mut out = Syscalls {
        base: SyscallBase::Default,
        allow: Vec::new(),
        deny: Vec::new(),
    };
    let Some(node) = node else { return out };
    if !matches!(node.value, Value::Map(_)) {
        out.base = r.word(node, path, BASES).unwrap_or(SyscallBase::Strict);
        return out;
    }
    let f = r.fields(node, path, keys::SYSCALLS);
    if let Some(node) = f.get("base") {
        out.base = r
            .word(node, &path.key("base"), BASES)
            .unwrap_or(SyscallBase::Strict);
    }
    let mut names = |key| {
        let read = |r: &mut Reader<'_>, n: &Node, p: &Path<'_>| {
            r.form(n, p, "a name of a system call", form::syscall)
        };
        unique(r.each(f.get(key), &path.key(key), read))
    };
    out.allow = names("allow").0;
    (out.deny, marks.syscalls_deny) = names("deny");
    out
}

pub(crate) fn environment(
    r: &mut Reader<'_>,
    node: Option<&Node>,
    path: &Path<'_>,
    marks: &mut Marks,
) -> Environment {
    let Some(node) = node else {
        return Environment::default();
    };
    let f = r.fields(node, path, keys::ENVIRONMENT);
    let wanted = "a name of an environment variable, or the beginning of one and `*`";
    let pass = r.each(f.get("pass"), &path.key("pass"), |r, n, p| {
        r.form(n, p, wanted, form::variable_pattern)
    });
    let (pass, at) = unique(pass);
    marks.pass = at;
    let set = match f.get("set") {
        Some(node) => set(r, node, &path.key("set"), marks),
        None => BTreeMap::new(),
    };
    Environment { pass, set }
}

fn set(r: &mut Reader<'_>, node: &Node, path: &Path<'_>, marks: &mut Marks) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for entry in r.entries(node, path) {
        let own = path.key(&entry.key);
        if !form::variable(&entry.key) {
            let wanted = "a name of an environment variable";
            r.problem(
                entry.key_at,
                &own,
                Problem::Form {
                    text: short(&entry.key),
                    wanted,
                },
            );
            continue;
        }
        let value = r.form(
            &entry.value,
            &own,
            "a value of at most 32 KiB without NUL",
            form::variable_value,
        );
        if let Some(value) = value {
            marks.set.push((entry.key.clone(), entry.key_at));
            out.insert(entry.key.clone(), value);
        }
    }
    out
}
