//! The `credentials` clause.
use super::draft::Marks;
use super::filesystem::unique;
use super::network::host;
use super::reader::{Path, Reader, short};
use super::tree::{Entry, Node, Value};
use super::{form, keys};
use crate::error::Problem;
use crate::model::{Credential, Placement, Source};

/// Most arguments of a command that prints a credential.
const MAX_ARGUMENTS: usize = 64;
const SOURCE: &str = "a source: `env:NAME`, `file:PATH` or `{command: [PROGRAM, ARGUMENT]}`";

pub(crate) fn credentials(
    r: &mut Reader<'_>,
    node: Option<&Node>,
    path: &Path<'_>,
    marks: &mut Marks,
) -> Vec<Credential> {
    let Some(node) = node else { return Vec::new() };
    let mut out = Vec::new();
    for entry in r.entries(node, path) {
        let own = path.key(&entry.key);
        if !form::credential_name(&entry.key) {
            let wanted = "a name of a credential: letters, digits, `-` and `_`";
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
        let before = r.diagnostics.len();
        let found = credential(r, entry, &own);
        if let Some((credential, hosts, env)) = found
            && r.diagnostics.len() == before
        {
            out.push((credential, entry.key_at, hosts, env));
        }
    }
    // By name: the order of a map's keys means nothing.
    out.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    let mut list = Vec::with_capacity(out.len());
    for (credential, at, hosts, env) in out {
        list.push(credential);
        marks.credentials.push(at);
        marks.credential_hosts.push(hosts);
        marks.credential_env.push(env);
    }
    list
}

type Places = Vec<super::tree::Mark>;

fn credential(r: &mut Reader<'_>, entry: &Entry, path: &Path<'_>) -> Option<(Credential, Places, Places)> {
    let f = r.fields(&entry.value, path, keys::CREDENTIAL);
    let source = f.get("source").map(|n| source(r, n, &path.key("source")));
    let placement = f
        .get("placement")
        .map(|n| placement(r, n, &path.key("placement")));
    let hosts_node = f.get("hosts");
    let (hosts, host_marks) = unique(r.each(hosts_node, &path.key("hosts"), host));
    if let Some(node) = hosts_node
        && matches!(&node.value, Value::Seq(items) if items.is_empty())
    {
        r.problem(
            node.at,
            &path.key("hosts"),
            Problem::Empty {
                what: "the list of hosts",
            },
        );
    }
    let wanted = "a name of an environment variable";
    let (env, env_marks) = unique(r.each(f.get("env"), &path.key("env"), |r, n, p| {
        r.form(n, p, wanted, form::variable)
    }));
    let optional = f
        .get("optional")
        .and_then(|n| r.flag(n, &path.key("optional")))
        .unwrap_or(false);
    for (key, missing) in [
        ("source", source.is_none()),
        ("placement", placement.is_none()),
        ("hosts", hosts_node.is_none()),
    ] {
        if missing && matches!(entry.value.value, Value::Map(_)) {
            r.problem(entry.key_at, path, Problem::Missing { key });
        }
    }
    let name = entry.key.clone();
    let credential = Credential {
        name,
        source: source??,
        placement: placement??,
        hosts,
        env,
        optional,
    };
    Some((credential, host_marks, env_marks))
}

fn source(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Source> {
    if matches!(node.value, Value::Map(_)) {
        let f = r.fields(node, path, keys::SOURCE);
        let Some(list) = f.get("command") else {
            r.problem(f.at, path, Problem::Missing { key: "command" });
            return None;
        };
        return command(r, list, &path.key("command"));
    }
    let text = r.text(node, path, SOURCE)?;
    if let Some(name) = text.strip_prefix("env:").filter(|n| form::variable(n)) {
        return Some(Source::Env(name.to_owned()));
    }
    if let Some(file) = text.strip_prefix("file:").filter(|f| form::path(f)) {
        return Some(Source::File(crate::model::PolicyPath(file.to_owned())));
    }
    r.problem(node.at, path, Problem::Source);
    None
}

fn command(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Source> {
    let words = r.each(Some(node), path, |r, n, p| {
        r.form(n, p, "an argument without NUL", form::argument)
    });
    let words: Vec<String> = words.into_iter().map(|(w, _)| w).collect();
    let Some(program) = words.first() else {
        r.problem(node.at, path, Problem::Empty { what: "the command" });
        return None;
    };
    if words.len() > MAX_ARGUMENTS {
        r.problem(
            node.at,
            path,
            Problem::TooMany {
                what: "arguments",
                most: MAX_ARGUMENTS,
            },
        );
        return None;
    }
    // A bare name is looked up in PATH; a relative path would depend on where Qila was started.
    if program.is_empty() || (program.contains('/') && !form::path(program)) {
        let wanted = "a program: a name, an absolute path or `~/…`";
        r.problem(
            node.at,
            path,
            Problem::Form {
                text: short(program),
                wanted,
            },
        );
        return None;
    }
    Some(Source::Command(words))
}

fn placement(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Placement> {
    if !matches!(node.value, Value::Map(_)) {
        return r.word(node, path, &[("bearer", ())]).map(|()| Placement::Bearer);
    }
    let f = r.fields(node, path, keys::PLACEMENT);
    let given: Vec<&'static str> = ["header", "basic", "query"]
        .into_iter()
        .filter(|k| f.get(k).is_some())
        .collect();
    match given.as_slice() {
        [] => {
            r.problem(f.at, path, Problem::Missing { key: "header" });
            None
        }
        ["header"] => header(r, f.get("header")?, &path.key("header")),
        ["basic"] => {
            let wanted = "a user name without `:`";
            let username = r.form(f.get("basic")?, &path.key("basic"), wanted, form::basic_user)?;
            Some(Placement::Basic { username })
        }
        ["query"] => {
            let wanted = "a name of a query parameter";
            r.form(f.get("query")?, &path.key("query"), wanted, form::query_name)
                .map(Placement::Query)
        }
        [one, other, ..] => {
            r.problem(f.at, path, Problem::Exclusive { one, other });
            None
        }
        [_] => None,
    }
}

fn header(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Placement> {
    let name = r
        .form(node, path, "a name of a header", form::header)?
        .to_ascii_lowercase();
    if form::reserved_header(&name) {
        r.problem(node.at, path, Problem::ReservedHeader(name));
        return None;
    }
    Some(Placement::Header(name))
}
