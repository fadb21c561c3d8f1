//! A registry as whoever asks it sees it: manifests and blobs of one repository.
use super::Options;
use super::auth::Auth;
use super::challenge::{Challenge, escape, parse};
use super::connect::Connector;
use super::error::PullError;
use super::exchange::{Answer, Ask, get};
use super::host_of;
use super::reference::Reference;
use crate::layout::MAX_DOCUMENT;
use crate::shelf::{named, sha256};
use http::{HeaderValue, Uri};
use serde::Deserialize;
use zeroize::Zeroizing;

/// Largest answer of a server that gives tokens.
const MAX_TOKEN: u64 = 64 * 1024;
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// One repository of a registry.
pub(super) struct Client<'a> {
    connector: Connector,
    reference: &'a Reference,
    auth: &'a Auth,
    authorization: Option<HeaderValue>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

impl<'a> Client<'a> {
    pub(super) fn new(
        reference: &'a Reference,
        auth: &'a Auth,
        options: &Options,
    ) -> Result<Client<'a>, PullError> {
        Ok(Client {
            connector: Connector::new(options)?,
            reference,
            auth,
            authorization: match auth {
                Auth::Bearer(_) => auth.header(),
                _ => None,
            },
        })
    }

    fn uri(&self, kind: &str, name: &str) -> Result<Uri, PullError> {
        let (server, repository) = (self.reference.server(), &self.reference.repository);
        let scheme = self.connector.scheme(server);
        let uri = format!("{scheme}://{server}/v2/{repository}/{kind}/{name}");
        uri.parse().map_err(|_| PullError::Reference {
            reference: self.reference.to_string(),
            why: "its address is malformed".into(),
        })
    }

    async fn ask(&mut self, uri: Uri, accept: Option<&'static str>, from: u64) -> Result<Answer, PullError> {
        for last in [false, true] {
            let ask = Ask {
                accept,
                authorization: self.authorization.clone(),
                from,
            };
            let answer = get(&self.connector, uri.clone(), &ask).await?;
            let status = answer.head.status.as_u16();
            if matches!(status, 200 | 206) {
                return Ok(answer);
            }
            let challenge = answer.text("www-authenticate").and_then(parse);
            match challenge {
                Some(challenge) if status == 401 && !last => self.answer(&uri, challenge).await?,
                _ => {
                    return Err(PullError::Status {
                        host: host_of(&uri)?,
                        status,
                        what: uri.path().to_owned(),
                    });
                }
            }
        }
        Err(PullError::Options("no answer".into()))
    }

    /// Gets what the registry wants to see.
    async fn answer(&mut self, asked: &Uri, challenge: Challenge) -> Result<(), PullError> {
        let (realm, service) = match challenge {
            Challenge::Basic => {
                self.authorization = self.auth.header();
                return Ok(());
            }
            Challenge::Bearer { realm, service } => (realm, service),
        };
        let host = host_of(asked)?;
        let failed = |why: &str| PullError::Exchange {
            host: host.clone(),
            why: why.to_owned(),
        };
        let scope = escape(&format!("repository:{}:pull", self.reference.repository));
        let mark = if realm.contains('?') { '&' } else { '?' };
        let service = service
            .map(|s| format!("service={}&", escape(&s)))
            .unwrap_or_default();
        let uri: Uri = format!("{realm}{mark}{service}scope={scope}")
            .parse()
            .map_err(|_| failed("it names no server that gives tokens"))?;
        // A registry without TLS is on this host, and so is who gives its tokens.
        if uri.scheme_str() != Some("https") && host_of(&uri)? != host {
            return Err(failed("tokens would be asked for without TLS"));
        }
        let ask = Ask {
            authorization: self.auth.header(),
            ..Ask::default()
        };
        let answer = get(&self.connector, uri.clone(), &ask).await?;
        if answer.head.status.as_u16() != 200 {
            return Err(PullError::Status {
                host: host_of(&uri)?,
                status: answer.head.status.as_u16(),
                what: "a token".into(),
            });
        }
        let bytes = Zeroizing::new(answer.whole(MAX_TOKEN, "a token").await?);
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| failed("its token is not one"))?;
        let token = token.token.or(token.access_token).map(Zeroizing::new);
        let token = token.ok_or_else(|| failed("its token is not one"))?;
        let value = Zeroizing::new(format!("Bearer {}", *token));
        let mut value = HeaderValue::from_str(&value).map_err(|_| failed("its token is not one"))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(())
    }

    /// A manifest, or a list of them, by tag or digest: its bytes and its digest.
    pub(super) async fn manifest(
        &mut self,
        name: &str,
        size: Option<u64>,
    ) -> Result<(Vec<u8>, String), PullError> {
        let wrong = |why: String| PullError::Content {
            what: name.to_owned(),
            why,
        };
        let most = size.unwrap_or(MAX_DOCUMENT);
        if most > MAX_DOCUMENT {
            return Err(wrong(format!("it has more than {MAX_DOCUMENT} bytes")));
        }
        let answer = self.ask(self.uri("manifests", name)?, Some(MANIFESTS), 0).await?;
        let said = answer.text("docker-content-digest").map(str::to_owned);
        let bytes = answer.whole(most, name).await?;
        let digest = named(&sha256(&bytes));
        if name.starts_with("sha256:") && name != digest {
            return Err(wrong(format!("it has the digest {digest}")));
        }
        if let Some(said) = said.filter(|s| s.starts_with("sha256:") && *s != digest) {
            return Err(wrong(format!(
                "it has the digest {digest}, and the registry says {}",
                said.escape_debug()
            )));
        }
        Ok((bytes, digest))
    }

    /// A blob, from a byte on. The answer says whether it begins there.
    pub(super) async fn blob(&mut self, digest: &str, from: u64) -> Result<(Answer, bool), PullError> {
        let answer = self.ask(self.uri("blobs", digest)?, None, from).await?;
        let range = answer.text("content-range");
        let there = range.is_some_and(|r| {
            r.strip_prefix("bytes ")
                .is_some_and(|r| r.starts_with(&format!("{from}-")))
        });
        let partial = answer.head.status.as_u16() == 206;
        if partial && !(there && from > 0) {
            return Err(PullError::Content {
                what: digest.to_owned(),
                why: "a part came that was not asked for".into(),
            });
        }
        Ok((answer, partial))
    }
}
