//! Who asks a registry.
use super::error::PullError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// Largest configuration file in bytes.
const MAX_FILE: u64 = 1 << 20;
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Who asks a registry.
#[derive(Clone, Default)]
pub enum Auth {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// Somebody with a password or a token in its place.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// Somebody with a token that the registry itself takes.
    Bearer(SecretString),
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default, deserialize_with = "secret")]
    auth: Option<Zeroizing<String>>,
}

fn secret<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Option::<String>::deserialize(from).map(|s| s.map(Zeroizing::new))
}

impl Auth {
    /// What a Docker configuration (`config.json`) holds for a registry, in its `auths`; nobody, where there is no such file or
    /// entry. Helper programs, which it may name, are not run.
    pub fn from_docker_config(file: &Path, registry: &str) -> Result<Auth, PullError> {
        let wrong = |why: String| PullError::Options(format!("{}: {why}", file.display()));
        let mut bytes = Zeroizing::new(Vec::new());
        match std::fs::File::open(file) {
            Ok(open) => open
                .take(MAX_FILE)
                .read_to_end(&mut bytes)
                .map_err(|e| wrong(e.to_string()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Auth::Anonymous),
            Err(e) => return Err(wrong(e.to_string())),
        };
        // What is wrong is told by its place: the text itself may be a secret.
        let known: File = serde_json::from_slice(&bytes).map_err(|e| {
            wrong(format!(
                "line {}, column {}: no such configuration",
                e.line(),
                e.column()
            ))
        })?;
        let same = |key: &str| {
            let host = key
                .strip_prefix("https://")
                .or_else(|| key.strip_prefix("http://"))
                .unwrap_or(key);
            host.trim_end_matches('/') == registry || (registry == "docker.io" && key == HUB_KEY)
        };
        let found = known
            .auths
            .into_iter()
            .find(|(key, _)| same(key))
            .and_then(|(_, entry)| entry.auth);
        let Some(auth) = found else {
            return Ok(Auth::Anonymous);
        };
        let decoded = STANDARD.decode(auth.as_bytes()).map(Zeroizing::new);
        let decoded = decoded.map_err(|_| wrong(format!("what it holds for {registry} is not base64")))?;
        let text = std::str::from_utf8(&decoded).ok().and_then(|t| t.split_once(':'));
        let (user, password) =
            text.ok_or_else(|| wrong(format!("what it holds for {registry} is not NAME:PASSWORD")))?;
        Ok(Auth::Basic {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned().into(),
        })
    }

    /// The value of an `Authorization` header; none for nobody.
    pub(super) fn header(&self) -> Option<http::HeaderValue> {
        let text = Zeroizing::new(match self {
            Auth::Anonymous => return None,
            Auth::Basic { user, password } => {
                let pair = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
                format!("Basic {}", STANDARD.encode(pair.as_bytes()))
            }
            Auth::Bearer(token) => format!("Bearer {}", token.expose_secret()),
        });
        let mut value = http::HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}
