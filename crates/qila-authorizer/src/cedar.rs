//! Asking Cedar. An error of evaluation is an error here: Cedar itself would skip the policy.
use crate::{Access, CompileError, Host, glob, text};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicyId, PolicySet, Request, RestrictedExpression,
    Schema, ValidationMode, Validator,
};
use qila_policy::model::Policy;
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// Most slices that are kept compiled.
const CACHE: usize = 4096;

/// What one compiled slice is of: an action and a rule, or a credential.
type Key = (&'static str, usize);

/// Cedar, and what was compiled so far.
#[derive(Debug)]
pub(crate) struct Engine {
    authorizer: Authorizer,
    entities: Entities,
    run: EntityUid,
    network: EntityUid,
    compiled: Mutex<HashMap<Key, Arc<PolicySet>>>,
}

fn uid(text: &str) -> Result<EntityUid, CompileError> {
    EntityUid::from_str(text).map_err(|e| CompileError(e.to_string()))
}

impl Engine {
    pub(crate) fn new() -> Result<Engine, CompileError> {
        Ok(Engine {
            authorizer: Authorizer::new(),
            entities: Entities::empty(),
            run: EntityUid::from_type_name_and_id(
                "Qila::Run".parse().map_err(|e| CompileError(format!("{e}")))?,
                cedar_policy::EntityId::new("agent"),
            ),
            network: EntityUid::from_type_name_and_id(
                "Qila::Network"
                    .parse()
                    .map_err(|e| CompileError(format!("{e}")))?,
                cedar_policy::EntityId::new("out"),
            ),
            compiled: Mutex::default(),
        })
    }

    /// Whether a rule, and the credential that goes with it, permit the access.
    pub(crate) fn ask(
        &self,
        policy: &Policy,
        rule: usize,
        credential: Option<usize>,
        access: &Access<'_>,
    ) -> Result<bool, CompileError> {
        let action = match access {
            Access::Resolve { .. } => "resolve",
            Access::Connect { .. } => "connect",
            Access::Http { .. } => "http",
        };
        let of_rule = policy
            .network
            .allow
            .get(rule)
            .ok_or_else(|| CompileError("no such rule".into()))?;
        let slice = self.slice((action, rule), || {
            text::rule(rule, of_rule)
                .into_iter()
                .find(|(a, _)| *a == action)
                .map(|(_, t)| t)
                .unwrap_or_default()
        })?;
        let globs = of_rule.paths.iter().flatten().map(|g| g.0.as_str());
        if !self.evaluate(&slice, action, self.network.clone(), context(access, globs)?)? {
            return Ok(false);
        }
        let Some(at) = credential else { return Ok(true) };
        let of = policy
            .credentials
            .get(at)
            .ok_or_else(|| CompileError("no such credential".into()))?;
        let slice = self.slice(("use_credential", at), || text::credential(of))?;
        let resource = EntityUid::from_type_name_and_id(
            "Qila::Credential"
                .parse()
                .map_err(|e| CompileError(format!("{e}")))?,
            cedar_policy::EntityId::new(&of.name),
        );
        self.evaluate(
            &slice,
            "use_credential",
            resource,
            context(access, std::iter::empty())?,
        )
    }

    fn slice(&self, key: Key, text: impl FnOnce() -> String) -> Result<Arc<PolicySet>, CompileError> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = compiled.get(&key) {
            return Ok(found.clone());
        }
        let made = Arc::new(parse(&text())?);
        if compiled.len() >= CACHE {
            compiled.clear();
        }
        compiled.insert(key, made.clone());
        Ok(made)
    }

    fn evaluate(
        &self,
        slice: &PolicySet,
        action: &str,
        resource: EntityUid,
        context: Context,
    ) -> Result<bool, CompileError> {
        let action = uid(&format!("Qila::Action::\"{action}\""))?;
        let request = Request::new(self.run.clone(), action, resource, context, None)
            .map_err(|e| CompileError(e.to_string()))?;
        let response = self.authorizer.is_authorized(&request, slice, &self.entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(CompileError(error.to_string()));
        }
        Ok(response.decision() == Decision::Allow)
    }
}

fn parse(text: &str) -> Result<PolicySet, CompileError> {
    PolicySet::from_str(text).map_err(|e| CompileError(e.to_string()))
}

fn context<'a>(access: &Access<'_>, globs: impl Iterator<Item = &'a str>) -> Result<Context, CompileError> {
    let mut pairs: Vec<(String, RestrictedExpression)> = Vec::with_capacity(4);
    let mut host = |host: Host<'_>| match host {
        Host::Name(name) => pairs.push((
            "host".into(),
            RestrictedExpression::new_string(name.as_str().into()),
        )),
        Host::Address(ip) => pairs.push(("address".into(), RestrictedExpression::new_ip(ip.to_string()))),
    };
    match *access {
        Access::Resolve { name } => host(Host::Name(name)),
        Access::Connect { host: to, port } => {
            host(to);
            pairs.push(("port".into(), RestrictedExpression::new_long(port.into())));
        }
        Access::Http {
            host: to,
            port,
            method,
            path,
        } => {
            host(to);
            pairs.push(("port".into(), RestrictedExpression::new_long(port.into())));
            pairs.push(("method".into(), RestrictedExpression::new_string(method.into())));
            let matched = globs
                .filter(|g| glob::matches(g, path))
                .map(|g| RestrictedExpression::new_string(g.into()));
            pairs.push(("globs".into(), RestrictedExpression::new_set(matched)));
        }
    }
    Context::from_pairs(pairs).map_err(|e| CompileError(e.to_string()))
}

/// Parses everything and validates it against the schema.
pub(crate) fn check(policy: &Policy) -> Result<(), CompileError> {
    let (schema, _) = Schema::from_cedarschema_str(text::SCHEMA).map_err(|e| CompileError(e.to_string()))?;
    let mut all = PolicySet::new();
    let rules = policy
        .network
        .allow
        .iter()
        .enumerate()
        .flat_map(|(at, r)| text::rule(at, r))
        .map(|(_, t)| t);
    for (at, text) in rules
        .chain(policy.credentials.iter().map(text::credential))
        .enumerate()
    {
        let one = cedar_policy::Policy::parse(Some(PolicyId::new(format!("p{at}"))), &text)
            .map_err(|e| CompileError(e.to_string()))?;
        all.add(one).map_err(|e| CompileError(e.to_string()))?;
    }
    let result = Validator::new(schema).validate(&all, ValidationMode::Strict);
    match result.validation_errors().next() {
        None => Ok(()),
        Some(e) => Err(CompileError(e.to_string())),
    }
}
