//! What becomes of a policy whose optional credentials are not there.
use crate::model::{Policy, PolicyPath, SecretRef};
use std::collections::BTreeSet;

/// A credential without `optional: true` has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("credential `{name}` has no value: {source_text} gives none, and the credential is not `optional`")]
pub struct MissingCredential {
    /// Its name.
    pub name: String,
    /// Where the value was looked for.
    pub source_text: String,
}

impl Policy {
    /// The policy without the credentials named in `absent`, whose sources gave no value.
    ///
    /// An optional credential goes, with its placement, its placeholder variables and every rule that uses it: what such
    /// a rule allowed is then denied, because no rule allows it. One that is not optional is an error.
    pub fn without_credentials(mut self, absent: &BTreeSet<String>) -> Result<Policy, MissingCredential> {
        for credential in &self.credentials {
            if absent.contains(&credential.name) && !credential.optional {
                let source_text = credential.source.to_string();
                return Err(MissingCredential {
                    name: credential.name.clone(),
                    source_text,
                });
            }
        }
        let defined = |name: &String| absent.contains(name);
        self.network
            .allow
            .retain(|rule| !rule.credential.as_ref().is_some_and(defined));
        self.credentials.retain(|c| !absent.contains(&c.name));
        Ok(self)
    }

    /// Files outside that hold real values: whatever else the policy shows, these are never seen inside.
    pub fn secret_files(&self) -> impl Iterator<Item = PolicyPath> {
        let secrets = self.credentials.iter().flat_map(|c| c.source.secrets());
        secrets.filter_map(|secret| match secret {
            SecretRef::File(path) => Some(path),
            SecretRef::Env(_) | SecretRef::Command(_) => None,
        })
    }
}
