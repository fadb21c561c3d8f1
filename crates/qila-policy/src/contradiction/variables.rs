//! Environment variables: one meaning each, and no real value passed on.
use super::Found;
use crate::error::Contradiction;
use crate::model::SecretRef;
use crate::parse::Draft;
use std::collections::HashMap;

pub(super) fn find(draft: &Draft, out: &mut Vec<Found>) {
    let policy = &draft.policy;
    let mut owner: HashMap<&str, &str> = HashMap::new();
    for (credential, marks) in policy.credentials.iter().zip(&draft.marks.credential_env) {
        let clause = format!("credentials.{}.env", credential.name);
        for (variable, at) in credential.env.iter().zip(marks) {
            if let Some(one) = owner.insert(variable, &credential.name) {
                let (one, other) = (one.to_owned(), credential.name.clone());
                let variable = variable.clone();
                out.push((
                    *at,
                    clause.clone(),
                    Contradiction::VariableTwice { variable, one, other },
                ));
            }
        }
    }
    for (variable, at) in &draft.marks.set {
        if let Some(credential) = owner.get(variable.as_str()) {
            let (variable, credential) = (variable.clone(), (*credential).to_owned());
            out.push((
                *at,
                "environment.set".to_owned(),
                Contradiction::VariableSet { variable, credential },
            ));
        }
    }
    for (pattern, at) in policy.environment.pass.iter().zip(&draft.marks.pass) {
        for credential in &policy.credentials {
            let secrets = credential.source.secrets();
            let sources = secrets.iter().filter_map(|secret| match secret {
                SecretRef::Env(name) => Some(name),
                SecretRef::File(_) | SecretRef::Command(_) => None,
            });
            let mut names = credential.env.iter().chain(sources);
            if let Some(variable) = names.find(|v| crate::model::pattern_matches(pattern, v)) {
                let contradiction = Contradiction::VariablePassed {
                    pattern: pattern.clone(),
                    variable: variable.clone(),
                    credential: credential.name.clone(),
                };
                out.push((*at, "environment.pass".to_owned(), contradiction));
                break;
            }
        }
    }
}
