//! HashiCorp Vault's HTTP API: KV version 1 and 2, and dynamic secrets with a lease of their own.
use crate::call::Call;
use crate::error::{MintError, RevokeError};
use crate::hidden::Hidden;
use crate::origin::{Minted, life};
use crate::reply::{json, says};
use crate::revocation::Revocation;
use crate::url::Url;
use qila_policy::model::Vault;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroize;

const NAME: &str = "Vault";
const HINT: &str = "check the path, the token and its policy";

/// Where Vault is and who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Access {
    url: Url,
    namespace: Option<String>,
    token: Hidden,
}

impl Access {
    fn call(&self, method: &'static str, path: &str) -> Call {
        let call = Call::new(method, self.url.join(path))
            .header("x-vault-request", "true")
            .header("x-vault-token", self.token.expose());
        match &self.namespace {
            Some(namespace) => call.header("x-vault-namespace", namespace),
            None => call,
        }
    }
}

/// A secret of Vault's.
#[derive(Debug)]
pub(crate) struct Source {
    access: Access,
    path: String,
    field: String,
}

#[derive(Deserialize)]
struct Secret {
    #[serde(default)]
    lease_id: String,
    #[serde(default)]
    lease_duration: u64,
    data: Option<Map<String, Value>>,
}

impl Source {
    pub(crate) fn new(vault: &Vault, token: Hidden) -> Result<Source, MintError> {
        Ok(Source {
            access: Access {
                url: Url::of(&vault.address).ok_or(MintError::Url)?,
                namespace: vault.namespace.clone(),
                token,
            },
            path: vault.path.clone(),
            field: vault.field.clone(),
        })
    }

    pub(crate) fn call(&self) -> Call {
        self.access.call("GET", &format!("/v1/{}", self.path))
    }

    pub(crate) fn read(&self, status: u16, body: &[u8]) -> Result<Minted, MintError> {
        if status != 200 {
            return Err(MintError::refused(NAME, status, body, HINT));
        }
        let mut secret: Secret = json(NAME, body)?;
        let value = secret.data.as_ref().and_then(|data| self.field(data));
        let value = value.map(SecretString::from);
        secret.data.iter_mut().for_each(wipe);
        let lease = (!secret.lease_id.is_empty()).then(|| Lease {
            access: self.access.clone(),
            id: secret.lease_id.clone(),
        });
        let life = lease.as_ref().and_then(|_| life(secret.lease_duration));
        let revocation = lease.map(Revocation::Vault);
        match value {
            Some(value) => Ok(Minted {
                value,
                life,
                revocation,
            }),
            None => {
                let what = format!("a secret without a text in the field `{}`", self.field);
                Err(MintError::reply(NAME, &what, revocation))
            }
        }
    }

    fn field<'a>(&self, data: &'a Map<String, Value>) -> Option<&'a str> {
        // KV version 2 has its fields one level down, beside what it says of the version.
        let versioned = match (data.get("data"), data.get("metadata")) {
            (Some(Value::Object(inner)), Some(Value::Object(_))) => Some(inner),
            _ => None,
        };
        versioned.unwrap_or(data).get(&self.field)?.as_str()
    }
}

fn wipe(data: &mut Map<String, Value>) {
    for (_, value) in data.iter_mut() {
        match value {
            Value::String(text) => text.zeroize(),
            Value::Object(inner) => wipe(inner),
            _ => {}
        }
    }
}

/// A lease of a dynamic secret's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    access: Access,
    id: String,
}

impl Lease {
    pub(crate) fn call(&self) -> Call {
        self.access
            .call("PUT", "/v1/sys/leases/revoke")
            .json(&serde_json::json!({"lease_id": self.id, "sync": true}))
    }

    pub(crate) fn read(&self, status: u16, body: &[u8]) -> Result<(), RevokeError> {
        match status {
            200 | 204 => Ok(()),
            // It is over already.
            400 if says(body, &["lease not found", "invalid lease"]) => Ok(()),
            _ => Err(RevokeError::of(NAME, status, body)),
        }
    }
}
