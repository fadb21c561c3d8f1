//! The `credentials` clause.
use super::draft::Marks;
use super::filesystem::unique;
use super::network::host;
use super::reader::{Path, Reader, short};
use super::tree::{Entry, Node, Value};
use super::{form, keys, resources, source};
use crate::error::{Contradiction, Problem};
use crate::model::{Credential, Placement, Placements, Source};
use qila_types::Millis;

/// Longest life that a policy may give a lease, in hours.
const MAX_TTL_HOURS: u64 = 24;

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
    let source = f.get("source").map(|n| source::source(r, n, &path.key("source")));
    let placement = f
        .get("placement")
        .map(|n| placements(r, n, &path.key("placement")));
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
    let ttl = f.get("ttl").and_then(|n| ttl(r, n, &path.key("ttl")));
    if let (Some(Some(source)), Some(Some(placement)), Some(node)) = (&source, &placement, f.get("placement"))
    {
        signs(r, node, &path.key("placement"), source, placement);
    }
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
        ttl,
    };
    Some((credential, host_marks, env_marks))
}

fn ttl(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Millis> {
    let time: Millis = r.unit(node, path, "a duration such as `15m`")?;
    if time.0 > MAX_TTL_HOURS * 3_600_000 {
        let (text, wanted) = (time.to_string(), "24h at most: a lease is short-lived");
        r.problem(node.at, path, Problem::Form { text, wanted });
        return None;
    }
    resources::nonzero(r, node, path, time.0).then_some(time)
}

/// Keys that sign are placed by signing, and nothing else is.
fn signs(r: &mut Reader<'_>, node: &Node, path: &Path<'_>, source: &Source, placement: &Placements) {
    let (keys, signs) = (matches!(source, Source::Aws(_)), placement.signs());
    if signs && !keys {
        r.problem(node.at, path, Contradiction::SignsWithoutKeys);
    }
    if keys && !signs {
        r.problem(node.at, path, Contradiction::KeysUnsigned);
    }
}

/// One place, or a list of them.
fn placements(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Placements> {
    let Value::Seq(items) = &node.value else {
        return placement(r, node, path).map(Placements::from);
    };
    let read = r.each(Some(node), path, placement);
    if read.len() != items.len() {
        return None; // each that is wrong has been named
    }
    let places = Placements::new(read.into_iter().map(|(place, _)| place).collect());
    if places.is_none() {
        let text = "this list".to_owned();
        let wanted = "at least one place, none of them twice, and `sigv4` only by itself";
        r.problem(node.at, path, Problem::Form { text, wanted });
    }
    places
}

fn placement(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Placement> {
    if !matches!(node.value, Value::Map(_)) {
        let words = [("bearer", Placement::Bearer), ("sigv4", Placement::SigV4)];
        let names: Vec<(&str, usize)> = words.iter().enumerate().map(|(i, (w, _))| (*w, i)).collect();
        let at = r.word(node, path, &names)?;
        return words.into_iter().nth(at).map(|(_, placement)| placement);
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
