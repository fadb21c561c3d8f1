//! Requests to AWS, signed anew: the agent signs with its placeholder, the gateway with the real keys.
use super::credential::Misplaced;
use super::exchange::Exchange;
use super::metered::Sent;
use super::refusal::Refusal;
use crate::secrets::{Entry, Held};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use qila_lease::sigv4::{self, Keys, Payload, Request, Scope, Theirs};
use qila_policy::model::Source;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the gateway writes itself.
const OURS: [&str; 4] = [
    "authorization",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
];

/// A request whose signature was taken off, to be signed anew.
pub(super) struct Signing {
    keys: Keys,
    region: String,
    service: String,
    /// What the agent said of the body; without it the body has to be known as a whole.
    sent: Option<sigv4::Sent>,
}

/// Takes the agent's signature off a request, if it was made with the placeholder.
pub(super) fn take(secret: Option<(&Entry, &Held)>, parts: &mut Parts) -> Result<Option<Signing>, Misplaced> {
    let Some((entry, held)) = secret else {
        return Ok(None);
    };
    let Source::Aws(aws) = &entry.source else {
        return Ok(None);
    };
    let mut all = parts.headers.get_all(header::AUTHORIZATION).iter();
    let Some(said) = all.next().filter(|v| v.as_bytes().starts_with(b"AWS4-")) else {
        return Ok(None);
    };
    if all.next().is_some() {
        return Err(Misplaced::Violation("the header of a credential stands twice"));
    }
    let body = parts.headers.get("x-amz-content-sha256");
    let theirs = Theirs::read(said.as_bytes(), body.map(HeaderValue::as_bytes));
    let theirs = theirs.map_err(|e| Misplaced::Gone(e.to_string()))?;
    if theirs.id != entry.placeholder {
        return Ok(None);
    }
    let keys = match held {
        Held::Keys(keys) => keys.clone(),
        other => {
            let why = other.text().err().unwrap_or("it is no key to sign with");
            let name = &entry.name;
            return Err(Misplaced::Gone(format!(
                "the credential `{name}` has no value: {why}"
            )));
        }
    };
    for name in OURS {
        parts.headers.remove(name);
    }
    Ok(Some(Signing {
        keys,
        region: aws.region.clone(),
        service: aws.service.clone(),
        sent: theirs.sent,
    }))
}

impl Signing {
    /// Whether the whole body has to be there.
    pub(super) fn needs_body(&self) -> bool {
        self.sent.is_none()
    }

    /// Signs a request that is otherwise ready to be sent.
    pub(super) fn sign(&self, exchange: &Exchange, parts: &mut Parts, body: &Sent) -> Result<(), Refusal> {
        let refuse = |why: &str| Refusal::new(StatusCode::FORBIDDEN, "qila_credential", why);
        let payload = match (self.sent, body) {
            (Some(sent), _) => Payload::Said(sent),
            (None, Sent::Whole(bytes)) => Payload::Whole(bytes),
            (None, Sent::Stream(_)) => return Err(refuse("the body is not known as a whole")),
        };
        let authority = exchange.authority();
        let host = parts.headers.get(header::HOST);
        let host = host.map_or(authority.as_bytes(), |h| h.as_bytes());
        let signed =
            |name: &str| name.starts_with("x-amz-") || name == "content-type" || name == "content-md5";
        let others = (parts.headers.iter())
            .filter(|(name, _)| signed(name.as_str()))
            .map(|(name, value)| (name.as_str(), value.as_bytes()));
        let headers: Vec<(&str, &[u8])> = std::iter::once(("host", host)).chain(others).collect();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| refuse("this host's clock is before 1970"))?;
        let request = Request {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query(),
            headers: &headers,
            payload,
        };
        let scope = Scope {
            region: &self.region,
            service: &self.service,
        };
        let set = sigv4::sign(&self.keys, scope, now.as_secs(), &request);
        for (name, value) in set.map_err(|e| refuse(&e.to_string()))? {
            let value = HeaderValue::from_str(&value);
            let mut value = value.map_err(|_| refuse("the keys cannot stand in a header"))?;
            value.set_sensitive(true);
            parts.headers.insert(HeaderName::from_static(name), value);
        }
        Ok(())
    }
}
