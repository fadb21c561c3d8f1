//! Installation tokens of GitHub Apps.
use crate::call::Call;
use crate::error::{MintError, RevokeError};
use crate::hidden::Hidden;
use crate::origin::{Minted, life};
use crate::reply::json;
use crate::revocation::Revocation;
use crate::url::Url;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use qila_policy::model::GithubApp;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const NAME: &str = "GitHub";
const HINT: &str = "check the App's id, its key, and that it is installed with these permissions";
const VERSION: &str = "2022-11-28";
/// An App's own token: from a minute ago, for clocks differ, and for nine more, of ten that are allowed.
const EARLIER: u64 = 60;
const LATER: u64 = 540;
/// Longest private key in PEM, in bytes.
const MAX_KEY: usize = 16 * 1024;

/// An installation.
pub(crate) struct Source {
    pub(crate) api: Url,
    app: u64,
    installation: u64,
    key: RsaKeyPair,
    wish: serde_json::Value,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GitHub App {}, installation {}", self.app, self.installation)
    }
}

#[derive(Deserialize)]
struct Token {
    token: Hidden,
    expires_at: String,
}

impl Source {
    pub(crate) fn new(app: &GithubApp, key: &Hidden) -> Result<Source, MintError> {
        let mut wish = serde_json::Map::new();
        if !app.repositories.is_empty() {
            wish.insert("repositories".into(), app.repositories.iter().cloned().collect());
        }
        if !app.permissions.is_empty() {
            let all = app
                .permissions
                .iter()
                .map(|(name, access)| (name.clone(), access.as_str().into()));
            wish.insert("permissions".into(), serde_json::Value::Object(all.collect()));
        }
        Ok(Source {
            api: Url::of(&app.api).ok_or(MintError::Url)?,
            app: app.app_id,
            installation: app.installation_id,
            key: read_key(key.expose()).ok_or(MintError::Key)?,
            wish: wish.into(),
        })
    }

    pub(crate) fn call(&self, now: u64) -> Result<Call, MintError> {
        let claims = serde_json::json!({
            "iat": now.saturating_sub(EARLIER), "exp": now.saturating_add(LATER), "iss": self.app.to_string()});
        let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        let head = part(r#"{"alg":"RS256","typ":"JWT"}"#);
        let signed = format!("{head}.{}", part(&claims.to_string()));
        let mut signature = vec![0; self.key.public().modulus_len()];
        let random = SystemRandom::new();
        self.key
            .sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
            .map_err(|_| MintError::Key)?;
        let jwt = Zeroizing::new(format!(
            "Bearer {signed}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(signature)
        ));
        let path = format!("/app/installations/{}/access_tokens", self.installation);
        Ok(headers(Call::new("POST", self.api.join(&path)), &jwt).json(&self.wish))
    }
}

/// Reads the answer of an API.
pub(crate) fn read(api: &Url, status: u16, body: &[u8], now: u64) -> Result<Minted, MintError> {
    if status != 201 {
        return Err(MintError::refused(NAME, status, body, HINT));
    }
    let token: Token = json(NAME, body)?;
    let revocation = Some(Revocation::Github(Installed {
        api: api.clone(),
        token: token.token.clone(),
    }));
    match seconds(&token.expires_at).and_then(|end| life(end.saturating_sub(now))) {
        Some(life) => Ok(Minted {
            value: SecretString::from(token.token.expose()),
            life: Some(life),
            revocation,
        }),
        None => {
            let what = "a token whose end cannot be read or is past";
            Err(MintError::reply(NAME, what, revocation))
        }
    }
}

fn headers(call: Call, authorization: &str) -> Call {
    let mut call = call
        .header("authorization", authorization)
        .header("x-github-api-version", VERSION);
    for (name, value) in &mut call.headers {
        if *name == "accept" {
            *value = "application/vnd.github+json".into();
        }
    }
    call
}

/// PKCS#1 (as GitHub gives it) or PKCS#8.
fn read_key(pem: &str) -> Option<RsaKeyPair> {
    if pem.len() > MAX_KEY {
        return None;
    }
    let der = |label: &str| -> Option<Zeroizing<Vec<u8>>> {
        let (begin, end) = (
            format!("-----BEGIN {label}-----"),
            format!("-----END {label}-----"),
        );
        let (_, rest) = pem.split_once(&begin)?;
        let (text, _) = rest.split_once(&end)?;
        let text: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|c| !c.is_ascii_whitespace()).collect());
        BASE64_STANDARD.decode(text.as_str()).ok().map(Zeroizing::new)
    };
    match der("RSA PRIVATE KEY") {
        Some(der) => RsaKeyPair::from_der(&der).ok(),
        None => RsaKeyPair::from_pkcs8(&der("PRIVATE KEY")?).ok(),
    }
}

/// Unix seconds of `2026-07-11T22:14:10Z`, written so and no other way.
fn seconds(text: &str) -> Option<u64> {
    const FORM: &[u8] = b"0000-00-00T00:00:00Z";
    let fits = |(b, form): (u8, u8)| match form {
        b'0' => b.is_ascii_digit(),
        _ => b == form,
    };
    if text.len() != FORM.len() || !text.bytes().zip(FORM.iter().copied()).all(fits) {
        return None;
    }
    let number = |at: std::ops::Range<usize>| text.get(at)?.parse::<u64>().ok();
    let [year, month, day] = [number(0..4)?, number(5..7)?, number(8..10)?];
    let [hour, minute, second] = [number(11..13)?, number(14..16)?, number(17..19)?];
    let exists = year >= 1970
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    exists.then(|| crate::sigv4::days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// A token of an installation, which revokes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    api: Url,
    token: Hidden,
}

impl Installed {
    pub(crate) fn call(&self) -> Call {
        let bearer = Zeroizing::new(format!("Bearer {}", self.token.expose()));
        headers(Call::new("DELETE", self.api.join("/installation/token")), &bearer)
    }

    pub(crate) fn read(&self, status: u16, body: &[u8]) -> Result<(), RevokeError> {
        match status {
            // 401: it is worth nothing any more.
            204 | 401 => Ok(()),
            _ => Err(RevokeError::of(NAME, status, body)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn times_are_read() {
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(seconds("2016-07-11T22:14:10Z"), Some(1_468_275_250));
        assert_eq!(seconds("2024-02-29T12:00:00Z"), Some(1_709_208_000));
        for bad in [
            "",
            "2016-07-11",
            "2016-07-11T22:14:10",
            "2016-13-11T22:14:10Z",
            "2016-7--11T1:1:1Z",
            "2016-07-11T22:14:+1Z",
            "2016-07-11t22:14:10Z",
            "2016-07-11T22:14:10+00:00",
            "x-y-zTa:b:cZ",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
