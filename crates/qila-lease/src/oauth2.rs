//! OAuth 2.0: client credentials and refresh tokens (RFC 6749), and revocation (RFC 7009).
use crate::call::{Call, form};
use crate::error::{MintError, RevokeError};
use crate::hidden::Hidden;
use crate::origin::{Minted, life};
use crate::reply::json;
use crate::revocation::Revocation;
use crate::url::Url;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use qila_policy::model::Oauth2;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use zeroize::Zeroizing;

const NAME: &str = "the token endpoint";
const HINT: &str = "check the client, its secret and the scope";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Client {
    id: String,
    secret: Option<Hidden>,
}

impl Client {
    /// With a secret as basic authentication, each part encoded as a form's (section 2.3.1); without one by name.
    fn sign<'a>(&'a self, call: Call, mut fields: Vec<(&'a str, &'a str)>) -> Call {
        match &self.secret {
            Some(secret) => {
                let pair = Zeroizing::new(format!("{}:{}", *form(&self.id), *form(secret.expose())));
                let basic = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_str())));
                call.header("authorization", &basic).form(&fields)
            }
            None => {
                fields.push(("client_id", &self.id));
                call.form(&fields)
            }
        }
    }
}

/// A token endpoint.
#[derive(Debug)]
pub(crate) struct Source {
    url: Url,
    revoke: Option<Url>,
    client: Client,
    scope: Option<String>,
    refresh: Option<Hidden>,
    /// Another, that is good instead of it from now on.
    rotated: RefCell<Option<Hidden>>,
}

#[derive(Deserialize)]
struct Token {
    access_token: Hidden,
    token_type: String,
    expires_in: Option<u64>,
    refresh_token: Option<Hidden>,
}

impl Source {
    pub(crate) fn new(
        oauth2: &Oauth2,
        secret: Option<Hidden>,
        refresh: Option<Hidden>,
    ) -> Result<Source, MintError> {
        let revoke = oauth2.revoke_url.as_ref();
        Ok(Source {
            url: Url::of(&oauth2.token_url).ok_or(MintError::Url)?,
            revoke: revoke.map(|url| Url::of(url).ok_or(MintError::Url)).transpose()?,
            client: Client {
                id: oauth2.client_id.clone(),
                secret,
            },
            scope: oauth2.scope.clone(),
            refresh,
            rotated: RefCell::default(),
        })
    }

    /// The refresh token that is good instead of the one that was given.
    pub(crate) fn rotated(&self) -> Option<Hidden> {
        self.rotated.borrow().clone()
    }

    pub(crate) fn call(&self) -> Call {
        let rotated = self.rotated.borrow();
        let mut fields = match rotated.as_ref().or(self.refresh.as_ref()) {
            Some(token) => vec![("grant_type", "refresh_token"), ("refresh_token", token.expose())],
            None => vec![("grant_type", "client_credentials")],
        };
        if let Some(scope) = &self.scope {
            fields.push(("scope", scope));
        }
        self.client.sign(Call::new("POST", self.url.clone()), fields)
    }

    pub(crate) fn read(&self, status: u16, body: &[u8]) -> Result<Minted, MintError> {
        if status != 200 {
            return Err(MintError::refused(NAME, status, body, HINT));
        }
        let token: Token = json(NAME, body)?;
        let newer = token.refresh_token.filter(|_| self.refresh.is_some());
        if let Some(newer) = newer.filter(|n| Some(n) != self.refresh.as_ref()) {
            self.rotated.replace(Some(newer));
        }
        let revocation = self.revoke.as_ref().map(|url| {
            Revocation::Oauth2(Granted {
                url: url.clone(),
                client: self.client.clone(),
                token: token.access_token.clone(),
            })
        });
        // Only now: what was rotated is in force whatever else is wrong, and what was minted is to be taken back.
        if !token.token_type.eq_ignore_ascii_case("bearer") {
            return Err(MintError::reply(
                NAME,
                "a token that is no bearer token",
                revocation,
            ));
        }
        if token.expires_in == Some(0) {
            return Err(MintError::reply(NAME, "a token that is over already", revocation));
        }
        Ok(Minted {
            value: SecretString::from(token.access_token.expose()),
            life: token.expires_in.and_then(life),
            revocation,
        })
    }
}

/// A token that was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    url: Url,
    client: Client,
    token: Hidden,
}

impl Granted {
    pub(crate) fn call(&self) -> Call {
        let fields = vec![
            ("token", self.token.expose()),
            ("token_type_hint", "access_token"),
        ];
        self.client.sign(Call::new("POST", self.url.clone()), fields)
    }

    /// An unknown token is answered with 200 as well (section 2.2).
    pub(crate) fn read(&self, status: u16, body: &[u8]) -> Result<(), RevokeError> {
        match status {
            200 | 204 => Ok(()),
            _ => Err(RevokeError::of("the revocation endpoint", status, body)),
        }
    }
}
