//! Asking Cedar. An error of evaluation is an error here: Cedar itself would skip the policy.
use crate::judge::Asked;
use crate::{Access, CompileError, context};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet,
    Request, Schema, ValidationMode, Validator,
};
use qila_policy::cedar::{Action, Names};
use qila_policy::model::Policy;
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// Most slices that are kept compiled.
const CACHE: usize = 4096;

/// What one compiled slice is of: an action and a rule, or a credential.
type Key = (Action, usize);

/// One permit, compiled, and the names that it looks at.
#[derive(Debug)]
struct Slice {
    permits: PolicySet,
    names: Names,
}

/// Cedar, and what was compiled so far.
#[derive(Debug)]
pub(crate) struct Engine {
    authorizer: Authorizer,
    entities: Entities,
    run: EntityUid,
    network: EntityUid,
    credential: EntityTypeName,
    actions: Vec<(Action, EntityUid)>,
    compiled: Mutex<HashMap<Key, Arc<Slice>>>,
}

fn wrong(error: impl std::fmt::Display) -> CompileError {
    CompileError(error.to_string())
}

fn entity(kind: &str, id: &str) -> Result<EntityUid, CompileError> {
    let kind = EntityTypeName::from_str(kind).map_err(wrong)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

impl Engine {
    pub(crate) fn new() -> Result<Engine, CompileError> {
        let action = |a: Action| entity("Qila::Action", a.as_str()).map(|uid| (a, uid));
        Ok(Engine {
            authorizer: Authorizer::new(),
            entities: Entities::empty(),
            run: entity("Qila::Run", "agent")?,
            network: entity("Qila::Network", "out")?,
            credential: EntityTypeName::from_str("Qila::Credential").map_err(wrong)?,
            actions: Action::ALL.into_iter().map(action).collect::<Result<_, _>>()?,
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
        asked: &Asked<'_>,
    ) -> Result<bool, CompileError> {
        let of = policy.network.allow.get(rule);
        let of = of.ok_or_else(|| wrong("no such rule"))?;
        let action = access.action();
        let slice = self.slice((action, rule), || {
            let text = qila_policy::cedar::rule(rule, of, action).unwrap_or_default();
            (text, Names::of([of]))
        })?;
        for context in context::all(of, &slice.names, access, asked)? {
            if !self.evaluate(&slice, action, self.network.clone(), context)? {
                return Ok(false);
            }
        }
        let Some(at) = credential else { return Ok(true) };
        let of = policy.credentials.get(at);
        let of = of.ok_or_else(|| wrong("no such credential"))?;
        let action = Action::UseCredential;
        let slice = self.slice((action, at), || {
            (qila_policy::cedar::credential(of), Names::default())
        })?;
        let resource = EntityUid::from_type_name_and_id(self.credential.clone(), EntityId::new(&of.name));
        self.evaluate(&slice, action, resource, context::target(access)?)
    }

    fn slice(&self, key: Key, made: impl FnOnce() -> (String, Names)) -> Result<Arc<Slice>, CompileError> {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = compiled.get(&key) {
            return Ok(found.clone());
        }
        let (text, names) = made();
        let permits = PolicySet::from_str(&text).map_err(wrong)?;
        let made = Arc::new(Slice { permits, names });
        if compiled.len() >= CACHE {
            compiled.clear();
        }
        compiled.insert(key, made.clone());
        Ok(made)
    }

    fn evaluate(
        &self,
        slice: &Slice,
        action: Action,
        resource: EntityUid,
        context: Context,
    ) -> Result<bool, CompileError> {
        let action = self.actions.iter().find(|(a, _)| *a == action);
        let action = action.ok_or_else(|| wrong("no such action"))?.1.clone();
        let request = Request::new(self.run.clone(), action, resource, context, None).map_err(wrong)?;
        let response = self
            .authorizer
            .is_authorized(&request, &slice.permits, &self.entities);
        match response.diagnostics().errors().next() {
            Some(error) => Err(wrong(error)),
            None => Ok(response.decision() == Decision::Allow),
        }
    }
}

/// Parses everything and validates it against the schema.
pub(crate) fn check(policy: &Policy) -> Result<(), CompileError> {
    let names = Names::of(&policy.network.allow);
    let text = qila_policy::cedar::schema(&names);
    let (schema, _) = Schema::from_cedarschema_str(&text).map_err(wrong)?;
    let mut all = PolicySet::new();
    for (at, text) in qila_policy::cedar::policies(policy).enumerate() {
        let id = PolicyId::new(format!("p{at}"));
        let one = cedar_policy::Policy::parse(Some(id), &text).map_err(wrong)?;
        all.add(one).map_err(wrong)?;
    }
    let result = Validator::new(schema).validate(&all, ValidationMode::Strict);
    match result.validation_errors().next() {
        None => Ok(()),
        Some(e) => Err(wrong(e)),
    }
}
