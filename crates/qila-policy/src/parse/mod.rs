//! policy.yaml to a typed [`Policy`]: read every file, check each by itself, lay them over each other, check the whole.
mod body;
mod budgets;
mod conditions;
mod credentials;
mod draft;
mod extends;
mod filesystem;
mod form;
pub(crate) mod keys;
mod merge;
mod network;
mod reader;
mod resources;
mod rest;
mod rule;
mod source;
pub(crate) mod tree;

pub(crate) use draft::{Draft, Marks, RuleMarks};
pub use extends::{Loaded, NoFiles, Origin, PolicySource};

use crate::error::{Diagnostic, PolicyError, Problem};
use crate::model::Policy;
use reader::{Path, Reader};
use tree::{Mark, Node};

/// The version of policy.yaml that this crate reads.
pub const VERSION: &str = "1";

/// Reads a policy from its text.
///
/// `name` is the file as messages show it and as [`Origin`] hands it to `source`, which loads the files that `extends`
/// names; built-in policies need no source. All problems found are in the error, at most twenty.
pub fn parse(name: &str, text: &str, source: &mut dyn PolicySource) -> Result<Policy, PolicyError> {
    let loaded = extends::load(name, text, source)?;
    let sources = loaded.sources;
    // Each file is right by itself, whatever lies over it.
    let mut drafts = Vec::with_capacity(1);
    let mut problems = Vec::new();
    for layer in &loaded.layers {
        let mut reader = Reader::new(&sources);
        drafts.push(policy(&mut reader, layer));
        problems.extend(reader.diagnostics);
    }
    PolicyError::from_list(problems)?;
    let draft = match (drafts.pop(), loaded.layers.len()) {
        (Some(only), 1) => only,
        _ => {
            let mut reader = Reader::new(&sources);
            let whole = loaded.layers.into_iter().reduce(merge::merge);
            let draft = whole.map(|whole| policy(&mut reader, &whole));
            PolicyError::from_list(reader.diagnostics)?;
            draft.ok_or_else(|| missing(&sources))?
        }
    };
    let found = crate::contradiction::find(&draft);
    let place = |(at, clause, c): (Mark, String, crate::error::Contradiction)| {
        Diagnostic::new(&sources, at, clause, Problem::Contradiction(c))
    };
    PolicyError::from_list(found.into_iter().map(place).collect())?;
    Ok(draft.policy)
}

fn missing(sources: &[crate::error::SourceText]) -> PolicyError {
    let at = Mark {
        source: 0,
        line: 1,
        column: 1,
        width: 0,
    };
    PolicyError::new(
        Diagnostic::new(sources, at, String::new(), Problem::NoVersion),
        None,
    )
}

fn policy(r: &mut Reader<'_>, node: &Node) -> Draft {
    let root = Path::Root;
    let f = r.fields(node, &root, keys::ROOT);
    let mut marks = Marks::default();
    let policy = Policy {
        isolation: rest::isolation(r, f.get("isolation"), &root.key("isolation")),
        resources: resources::resources(r, f.get("resources"), &root.key("resources")),
        filesystem: filesystem::filesystem(r, f.get("filesystem"), &root.key("filesystem"), &mut marks),
        network: network::network(r, f.get("network"), &root.key("network"), &mut marks),
        credentials: credentials::credentials(r, f.get("credentials"), &root.key("credentials"), &mut marks),
        budgets: budgets::budgets(r, f.get("budgets"), &root.key("budgets"), &mut marks),
        traces: budgets::traces(r, f.get("traces"), &root.key("traces")),
        syscalls: rest::syscalls(r, f.get("syscalls"), &root.key("syscalls"), &mut marks),
        environment: rest::environment(r, f.get("environment"), &root.key("environment"), &mut marks),
    };
    Draft { policy, marks }
}
