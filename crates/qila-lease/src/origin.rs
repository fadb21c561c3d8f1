//! Where a short-lived credential comes from.
use crate::call::Call;
use crate::error::MintError;
use crate::hidden::Hidden;
use crate::revocation::Revocation;
use crate::url::Url;
use crate::{github, oauth2, vault};
use qila_policy::model::{GithubApp, Oauth2, Vault};
use secrecy::SecretString;
use std::time::Duration;

/// A provider that mints, and the secrets with which it is asked.
#[derive(Debug)]
pub struct Origin(Kind);

#[derive(Debug)]
enum Kind {
    Vault(vault::Source),
    Oauth2(oauth2::Source),
    Github(Box<github::Source>),
}

/// Longest life that is taken at its word, in seconds.
const LONGEST: u64 = 366 * 24 * 3600;

/// A life of so many seconds; none says nothing.
pub(crate) fn life(seconds: u64) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.min(LONGEST)))
}

/// What was minted.
#[derive(Debug)]
pub struct Minted {
    /// The value.
    pub value: SecretString,
    /// How long the provider lets it live; none where it does not say.
    pub life: Option<Duration>,
    /// How it is taken back; none where this provider cannot.
    pub revocation: Option<Revocation>,
}

impl Origin {
    /// A secret of Vault's.
    pub fn vault(vault: &Vault, token: Hidden) -> Result<Origin, MintError> {
        vault::Source::new(vault, token).map(|s| Origin(Kind::Vault(s)))
    }

    /// A token endpoint.
    pub fn oauth2(
        oauth2: &Oauth2,
        client_secret: Option<Hidden>,
        refresh_token: Option<Hidden>,
    ) -> Result<Origin, MintError> {
        oauth2::Source::new(oauth2, client_secret, refresh_token).map(|s| Origin(Kind::Oauth2(s)))
    }

    /// An installation of a GitHub App.
    pub fn github(app: &GithubApp, private_key: &Hidden) -> Result<Origin, MintError> {
        github::Source::new(app, private_key).map(|s| Origin(Kind::Github(Box::new(s))))
    }

    /// What to send, at a time in Unix seconds.
    pub fn call(&self, now: u64) -> Result<Call, MintError> {
        match &self.0 {
            Kind::Vault(s) => Ok(s.call()),
            Kind::Oauth2(s) => Ok(s.call()),
            Kind::Github(s) => s.call(now),
        }
    }

    /// Another refresh token, which is the only good one since the last answer, whatever else was wrong with that.
    pub fn rotated(&self) -> Option<Hidden> {
        match &self.0 {
            Kind::Oauth2(s) => s.rotated(),
            Kind::Vault(_) | Kind::Github(_) => None,
        }
    }

    /// Reads what came back.
    pub fn read(&self, status: u16, body: &[u8], now: u64) -> Result<Minted, MintError> {
        match &self.0 {
            Kind::Vault(s) => s.read(status, body),
            Kind::Oauth2(s) => s.read(status, body),
            Kind::Github(s) => github::read(&s.api, status, body, now),
        }
    }
}

/// Feeds hostile bytes to the readers.
pub(crate) fn fuzz(status: u16, body: &[u8]) {
    use qila_policy::model::ServiceUrl;
    let url = || ServiceUrl("https://a.test".into());
    let vault = Vault {
        address: url(),
        path: "secret/data/x".into(),
        field: "key".into(),
        token: qila_policy::model::SecretRef::Env("T".into()),
        namespace: None,
    };
    let oauth2 = Oauth2 {
        token_url: url(),
        client_id: "x".into(),
        client_secret: None,
        scope: None,
        refresh_token: None,
        revoke_url: Some(url()),
    };
    let origins = [
        Origin::vault(&vault, "token".into()),
        Origin::oauth2(&oauth2, None, Some("refresh".into())),
    ];
    for origin in origins.into_iter().flatten() {
        let _ = origin.read(status, body, 0);
    }
    if let Some(api) = Url::of(&url()) {
        let _ = github::read(&api, status, body, 0);
    }
}
