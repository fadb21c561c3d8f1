//! The schema that every permit is validated against.
use super::quoted;
use crate::model::{Condition, NetRule};
use std::collections::BTreeSet;

/// Names that the rules of a policy look at: Cedar's records have fixed names, so the schema is made from these.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Query parameters.
    pub query: BTreeSet<String>,
    /// Headers, in lower case.
    pub headers: BTreeSet<String>,
    /// Arguments of tools.
    pub arguments: BTreeSet<String>,
}

impl Names {
    /// Those of some rules.
    pub fn of<'a>(rules: impl IntoIterator<Item = &'a NetRule>) -> Names {
        let mut names = Names::default();
        for rule in rules {
            names.query.extend(rule.query.keys().cloned());
            names.headers.extend(rule.headers.keys().cloned());
            let tools = rule.mcp.iter().flat_map(|m| m.tools.iter().flatten());
            let arguments = tools.flat_map(|(_, arguments)| arguments.keys().cloned());
            names.arguments.extend(arguments);
            if let Some(reads) = rule.when.as_ref().map(Condition::reads) {
                names.query.extend(reads.query.iter().cloned());
                names.headers.extend(reads.headers.iter().cloned());
                names.arguments.extend(reads.arguments.iter().cloned());
            }
        }
        names
    }
}

fn record(names: &BTreeSet<String>) -> String {
    let fields: Vec<String> = names.iter().map(|n| format!("{}?: String", quoted(n))).collect();
    match fields.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {} }}", fields.join(", ")),
    }
}

/// The schema, with these names in its records.
pub fn schema(names: &Names) -> String {
    let (query, headers, arguments) = (
        record(&names.query),
        record(&names.headers),
        record(&names.arguments),
    );
    format!(
        r#"namespace Qila {{
  entity Run;
  entity Network;
  entity Credential;
  type Target = {{ host?: String, address?: ipaddr, port?: Long }};
  type GraphQl = {{ kind: String, operation?: String, fields: Set<String> }};
  type Mcp = {{ kind: String, method: String, tool?: String, arguments: {arguments} }};
  type Request = {{
    host?: String, address?: ipaddr, port: Long,
    method: String, path: String, globs: Set<String>, matched: Set<String>,
    query: {query},
    headers: {headers},
    body: String, body_size?: Long, upgrade: Bool, graphql?: GraphQl, mcp?: Mcp
  }};
  type Message = {{ host?: String, address?: ipaddr, port: Long, method: String, matched: Set<String> }};
  action "resolve", "connect" appliesTo {{ principal: Run, resource: Network, context: Target }};
  action "http" appliesTo {{ principal: Run, resource: Network, context: Request }};
  action "mcp_server" appliesTo {{ principal: Run, resource: Network, context: Message }};
  action "use_credential" appliesTo {{ principal: Run, resource: Credential, context: Target }};
}}
"#
    )
}
