//! The `network` clause.
use super::draft::Marks;
use super::filesystem::unique;
use super::reader::{Path, Reader};
use super::tree::{Mark, Node, Value};
use super::{form, keys, resources};
use crate::error::Problem;
use crate::model::{HostPattern, NetRule, Network, NetworkRates, PathGlob};

/// Where a rule is reached when it names no port.
const DEFAULT_PORT: u16 = 443;

pub(crate) fn network(
    r: &mut Reader<'_>,
    node: Option<&Node>,
    path: &Path<'_>,
    marks: &mut Marks,
) -> Network {
    let mut out = Network {
        allow: Vec::new(),
        rates: NetworkRates::default(),
        loopback: true,
        unix_sockets: None,
    };
    let Some(node) = node else { return out };
    let f = r.fields(node, path, keys::NETWORK);
    if let Some(node) = f.get("loopback") {
        out.loopback = r.flag(node, &path.key("loopback")).unwrap_or(false);
    }
    if let Some(node) = f.get("unix_sockets") {
        out.unix_sockets = Some(r.flag(node, &path.key("unix_sockets")).unwrap_or(false));
    }
    if let Some(node) = f.get("rates") {
        out.rates = rates(r, node, &path.key("rates"));
    }
    let mut credential_marks = Vec::new();
    let rules = r.each(f.get("allow"), &path.key("allow"), |r, node, path| {
        let (rule, at) = rule(r, node, path)?;
        credential_marks.push((rule.clone(), at));
        Some(rule)
    });
    (out.allow, marks.allow) = unique(rules);
    marks.allow_credential = unique(credential_marks).1;
    out
}

fn rates(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> NetworkRates {
    let f = r.fields(node, path, keys::RATES);
    let mut rate = |key| {
        f.get(key)
            .and_then(|n| r.unit(n, &path.key(key), "a rate such as `60/min`"))
    };
    let (connections, requests) = (rate("connections"), rate("requests"));
    let mut bytes = |key| {
        f.get(key)
            .and_then(|n| resources::byte_rate(r, n, &path.key(key)))
    };
    NetworkRates {
        connections,
        requests,
        upload: bytes("upload"),
        download: bytes("download"),
    }
}

/// A rule, short or long, and the place of its credential's name.
fn rule(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<(NetRule, Mark)> {
    if !matches!(node.value, Value::Map(_)) {
        let rule = NetRule {
            host: host(r, node, path)?,
            ports: vec![DEFAULT_PORT],
            methods: None,
            paths: None,
            credential: None,
            rate: None,
        };
        return Some((rule, node.at));
    }
    let f = r.fields(node, path, keys::RULE);
    let host = match f.get("host") {
        Some(node) => host(r, node, &path.key("host")),
        None => {
            r.problem(f.at, path, Problem::Missing { key: "host" });
            None
        }
    };
    let ports = ports(r, &f, path);
    let methods = some_of(
        r,
        f.get("methods"),
        &path.key("methods"),
        "the list of methods",
        |r, n, p| r.form(n, p, "an HTTP method in upper case, such as `GET`", form::method),
    );
    let paths = some_of(
        r,
        f.get("paths"),
        &path.key("paths"),
        "the list of paths",
        |r, n, p| {
            let wanted = "a path such as `/v1/**`: it starts with `/`, without `..`, `?`, `#` or `%`, and `**` is a whole part";
            r.form(n, p, wanted, form::path_glob).map(PathGlob)
        },
    );
    let credential = f.get("credential").and_then(|n| {
        r.form(
            n,
            &path.key("credential"),
            "a name of a credential",
            form::credential_name,
        )
    });
    let rate = f
        .get("rate")
        .and_then(|n| r.unit(n, &path.key("rate"), "a rate such as `60/min`"));
    let at = f.get("credential").map_or(node.at, |n| n.at);
    Some((
        NetRule {
            host: host?,
            ports,
            methods,
            paths,
            credential,
            rate,
        },
        at,
    ))
}

/// A host, as rules and credentials name it.
pub(super) fn host(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<HostPattern> {
    let text = r.text(node, path, "a host")?;
    HostPattern::parse(text)
        .map_err(|e| r.problem(node.at, path, e))
        .ok()
}

fn ports(r: &mut Reader<'_>, f: &super::reader::Fields<'_>, path: &Path<'_>) -> Vec<u16> {
    let port = |r: &mut Reader<'_>, n: &Node, p: &Path<'_>| {
        r.number(n, p, 1, 65_535).and_then(|v| u16::try_from(v).ok())
    };
    match (f.entry("port"), f.get("ports")) {
        (None, None) => vec![DEFAULT_PORT],
        (Some(one), Some(_)) => {
            r.problem(
                one.key_at,
                path,
                Problem::Exclusive {
                    one: "port",
                    other: "ports",
                },
            );
            Vec::new()
        }
        (Some(one), None) => port(r, &one.value, &path.key("port")).into_iter().collect(),
        (None, Some(list)) => {
            let found = some_of(r, Some(list), &path.key("ports"), "the list of ports", port);
            let mut ports = found.unwrap_or_default();
            ports.sort_unstable();
            ports.dedup();
            ports
        }
    }
}

/// A list that must not be empty where it is given: nobody can say whether `methods: []` means none or any.
fn some_of<T: PartialEq>(
    r: &mut Reader<'_>,
    node: Option<&Node>,
    path: &Path<'_>,
    what: &'static str,
    read: impl FnMut(&mut Reader<'_>, &Node, &Path<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let node = node?;
    if matches!(&node.value, Value::Seq(items) if items.is_empty()) {
        r.problem(node.at, path, Problem::Empty { what });
    }
    let mut out: Vec<T> = r
        .each(Some(node), path, read)
        .into_iter()
        .map(|(v, _)| v)
        .collect();
    // `dedup` drops neighbours only; a repetition elsewhere costs nothing but a comparison.
    out.dedup();
    Some(out)
}
