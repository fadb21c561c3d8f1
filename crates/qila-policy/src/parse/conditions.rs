//! Conditions of a rule on the head of a request, and its expert condition.
use super::form;
use super::reader::{Path, Reader, short};
use super::tree::{Mark, Node};
use crate::error::Problem;
use crate::model::{Condition, NetRule, TextGlob};
use std::collections::BTreeMap;

/// Most conditions of one kind in a rule.
pub(super) const MOST: usize = 64;
/// What a pattern over a text is, for messages.
const GLOB: &str =
    "a pattern: `*` is any text, `?` one character, `[0-9]` one of a class; at most 16 `*` and 256 bytes";

type Conditions = (BTreeMap<String, TextGlob>, Vec<Mark>);

/// A pattern over one text.
pub(super) fn glob(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<TextGlob> {
    let text = r.form(node, path, GLOB, form::text_glob)?;
    TextGlob::parse(&text)
}

/// Conditions on query parameters.
pub(super) fn query(r: &mut Reader<'_>, node: Option<&Node>, path: &Path<'_>) -> Conditions {
    named(
        r,
        node,
        path,
        "the map of query conditions",
        |r, name, at, path| {
            check(
                r,
                name,
                at,
                path,
                "a name of a query parameter",
                form::condition_name,
            )
        },
    )
}

/// Conditions on headers.
pub(super) fn headers(r: &mut Reader<'_>, node: Option<&Node>, path: &Path<'_>) -> Conditions {
    named(
        r,
        node,
        path,
        "the map of header conditions",
        |r, name, at, path| {
            if form::own_header(&name.to_ascii_lowercase()) {
                r.problem(at, path, Problem::OwnHeader(short(name)));
                return false;
            }
            check(
                r,
                name,
                at,
                path,
                "a name of a header in lower case",
                form::lower_header,
            )
        },
    )
}

/// Conditions on the arguments of a tool; it may have none.
pub(super) fn arguments(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> BTreeMap<String, TextGlob> {
    each(r, node, path, |r, name, at, path| {
        check(r, name, at, path, "a name of an argument", form::condition_name)
    })
    .0
}

fn check(
    r: &mut Reader<'_>,
    name: &str,
    at: Mark,
    path: &Path<'_>,
    wanted: &'static str,
    form: fn(&str) -> bool,
) -> bool {
    if !form(name) {
        let text = short(name);
        r.problem(at, path, Problem::Form { text, wanted });
    }
    form(name)
}

fn named(
    r: &mut Reader<'_>,
    node: Option<&Node>,
    path: &Path<'_>,
    what: &'static str,
    good: impl Fn(&mut Reader<'_>, &str, Mark, &Path<'_>) -> bool,
) -> Conditions {
    let Some(node) = node else {
        return Conditions::default();
    };
    let before = r.diagnostics.len();
    let found = each(r, node, path, good);
    if found.0.is_empty() && r.diagnostics.len() == before {
        r.problem(node.at, path, Problem::Empty { what });
    }
    found
}

fn each(
    r: &mut Reader<'_>,
    node: &Node,
    path: &Path<'_>,
    good: impl Fn(&mut Reader<'_>, &str, Mark, &Path<'_>) -> bool,
) -> Conditions {
    let entries = r.entries(node, path);
    if entries.len() > MOST {
        let what = "conditions of one kind";
        r.problem(node.at, path, Problem::TooMany { what, most: MOST });
        return Conditions::default();
    }
    let mut found = BTreeMap::new();
    for entry in entries {
        let own = path.key(&entry.key);
        if good(r, &entry.key, entry.key_at, &own)
            && let Some(glob) = glob(r, &entry.value, &own)
        {
            found.insert(entry.key.clone(), (glob, entry.key_at));
        }
    }
    // In the order of the names, as in the rule.
    let marks = found.values().map(|(_, at)| *at).collect();
    (
        found.into_iter().map(|(name, (glob, _))| (name, glob)).collect(),
        marks,
    )
}

/// An expert condition of a rule whose other parts were read.
pub(super) fn when(r: &mut Reader<'_>, node: &Node, path: &Path<'_>, rule: &NetRule) -> Option<Condition> {
    let text = r.text(node, path, "a Cedar condition")?;
    if text.len() > crate::cedar::MAX_CONDITION {
        let problem = Problem::Condition(format!("it is longer than {} bytes", crate::cedar::MAX_CONDITION));
        r.problem(node.at, path, problem);
        return None;
    }
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.chars().any(odd) {
        let problem = Problem::Condition("it holds a control character".to_owned());
        r.problem(node.at, path, problem);
        return None;
    }
    if text.trim().is_empty() {
        r.problem(
            node.at,
            path,
            Problem::Empty {
                what: "the condition",
            },
        );
        return None;
    }
    crate::cedar::compile(text, rule)
        .map_err(|said| r.problem(node.at, path, Problem::Condition(said)))
        .ok()
}
