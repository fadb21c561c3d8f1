//! The `network` clause.
use super::draft::Marks;
use super::filesystem::unique;
use super::reader::{Path, Reader};
use super::tree::{Node, Value};
use super::{keys, resources, rule};
use crate::error::Problem;
use crate::model::{HostPattern, Network, NetworkRates};
use qila_types::{Flow, Rate};
use std::num::{NonZeroU32, NonZeroU64};

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
    let mut part_marks = Vec::new();
    let rules = r.each(f.get("allow"), &path.key("allow"), |r, node, path| {
        let (rule, parts) = rule::rule(r, node, path)?;
        part_marks.push((rule.clone(), parts));
        Some(rule)
    });
    (out.allow, marks.allow) = unique(rules);
    marks.allow_parts = unique(part_marks).1;
    out
}

fn rates(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> NetworkRates {
    let f = r.fields(node, path, keys::RATES);
    let mut count = |key| f.get(key).and_then(|n| rate(r, n, &path.key(key)));
    let (connections, requests) = (count("connections"), count("requests"));
    let mut bytes = |key| f.get(key).and_then(|n| flow(r, n, &path.key(key)));
    NetworkRates {
        connections,
        requests,
        upload: bytes("upload"),
        download: bytes("download"),
    }
}

/// `60/min`, or `{limit: 60/min, burst: 10}`.
pub(super) fn rate(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Rate> {
    const WANTED: &str = "a rate such as `60/min`";
    if !matches!(node.value, Value::Map(_)) {
        return r.unit(node, path, WANTED);
    }
    let (limit, burst) = limited(r, node, path)?;
    let mut rate: Rate = r.unit(limit, &path.key("limit"), WANTED)?;
    if let Some(node) = burst {
        let n = r.number(node, &path.key("burst"), 1, u32::MAX.into())?;
        rate.burst = u32::try_from(n).ok().and_then(NonZeroU32::new);
    }
    Some(rate)
}

/// `10MiB/s`, or `{limit: 10MiB/s, burst: 1MiB}`.
fn flow(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Flow> {
    if !matches!(node.value, Value::Map(_)) {
        let flow: Flow = r.unit(node, path, "a byte rate such as `10MiB/s`")?;
        return resources::nonzero(r, node, path, flow.limit.0).then_some(flow);
    }
    let (limit, burst) = limited(r, node, path)?;
    let mut flow = Flow::from(resources::byte_rate(r, limit, &path.key("limit"))?);
    if let Some(node) = burst {
        let bytes = resources::size(r, node, &path.key("burst"))?;
        flow.burst = NonZeroU64::new(bytes.0);
    }
    Some(flow)
}

/// The two parts of a limit that is written as a map.
fn limited<'n>(r: &mut Reader<'_>, node: &'n Node, path: &Path<'_>) -> Option<(&'n Node, Option<&'n Node>)> {
    let f = r.fields(node, path, keys::BURST);
    let Some(limit) = f.get("limit") else {
        r.problem(f.at, path, Problem::Missing { key: "limit" });
        return None;
    };
    Some((limit, f.get("burst")))
}

/// A host, as rules and credentials name it.
pub(super) fn host(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<HostPattern> {
    let text = r.text(node, path, "a host")?;
    HostPattern::parse(text)
        .map_err(|e| r.problem(node.at, path, e))
        .ok()
}

/// A list that must not be empty where it is given: nobody can say whether `methods: []` means none or any.
pub(super) fn some_of<T: PartialEq>(
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
