//! Real values of credentials: read or minted here, held here, placed from here.
mod keeper;
mod live;
pub(crate) mod renew;
mod source;

pub use source::available;

use crate::config::{Config, Placeholder};
use keeper::Keeper;
pub(crate) use live::Held;
use live::Live;
use qila_inspect::mask::MaskError;
use qila_inspect::placeholder::Finder;
use qila_lease::Hidden;
use qila_lease::sigv4::Keys;
use qila_policy::model::{Aws, Placement, Placements, SecretRef, Source};
use secrecy::SecretString;
use source::{Places, value};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest value in bytes.
const MAX: usize = 16 * 1024;
/// Shortest value in bytes: anything shorter would be found everywhere in what is masked.
const MIN: usize = 8;

/// Why there is no value any more.
const REVOKED: &str = "it was revoked";

/// One credential of the run, without its value.
pub(crate) struct Entry {
    /// Name in the policy.
    pub(crate) name: String,
    /// Where it goes.
    pub(crate) placement: Placements,
    /// What the agent holds.
    pub(crate) placeholder: String,
    /// Where it comes from.
    pub(crate) source: Source,
    /// How long a value is used before it is had anew.
    ttl: Option<Duration>,
}

/// All credentials of a run, in the policy's order. Their values may change; which there are may not.
pub(crate) struct Secrets {
    entries: Vec<Entry>,
    finder: Option<Finder>,
    live: RefCell<Rc<Live>>,
    keeper: Option<Keeper>,
    /// Those that are out of force for good.
    over: RefCell<BTreeSet<usize>>,
}

/// Values that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretError {
    /// One.
    #[error("the credential `{name}` ({source_text}) {what}")]
    One {
        /// Name in the policy.
        name: String,
        /// Where it comes from.
        source_text: String,
        /// What is the matter with it.
        what: String,
    },
    /// All of them together.
    #[error("the credentials cannot be {0}")]
    All(String),
}

impl Entry {
    fn fail(&self, what: impl Into<String>) -> SecretError {
        SecretError::One {
            name: self.name.clone(),
            source_text: self.source.to_string(),
            what: what.into(),
        }
    }

    /// A value, if it can stand where the policy places it.
    fn held(&self, text: &str) -> Result<Held, SecretError> {
        for place in self.placement.iter() {
            check(text, place).map_err(|what| self.fail(what))?;
        }
        Ok(Held::Text(SecretString::from(text)))
    }
}

impl Secrets {
    /// Has every value. To be called while there is one thread only, and before the walls are up.
    pub(crate) fn read(config: &Config) -> Result<Secrets, SecretError> {
        let credentials = &config.permit.policy().credentials;
        let places = Places {
            home: config.home.clone(),
            workspace: config.workspace.clone(),
        };
        let (mut entries, mut held, mut again) = (Vec::new(), Vec::new(), Vec::new());
        for credential in credentials {
            let named = |p: &&Placeholder| p.credential == credential.name;
            let placeholder = config.placeholders.iter().find(named);
            let entry = Entry {
                name: credential.name.clone(),
                placement: credential.placement.clone(),
                placeholder: placeholder.map(|p| p.text.clone()).unwrap_or_default(),
                source: credential.source.clone(),
                ttl: credential.ttl.map(|ttl| Duration::from_millis(ttl.0)),
            };
            if placeholder.is_none() {
                return Err(entry.fail("has no placeholder"));
            }
            let read = |secret: &SecretRef| value(secret, &places).map_err(|what| entry.fail(what));
            match (&credential.source, plain(&credential.source)) {
                (_, Some(secret)) => {
                    held.push(entry.held(&read(&secret)?)?);
                    again.push(entry.ttl.map(|_| secret));
                }
                (Source::Aws(aws), None) => {
                    held.push(keys(&entry, aws, read)?);
                    again.push(None);
                }
                _ => return Err(entry.fail("is of a kind that this gateway cannot mint")),
            }
            entries.push(entry);
        }
        let unmasked = |e: MaskError| SecretError::All(format!("masked: {e}"));
        let placeholders: Vec<&[u8]> = entries.iter().map(|e| e.placeholder.as_bytes()).collect();
        let finder = match placeholders.is_empty() {
            true => None,
            false => Some(Finder::new(&placeholders).map_err(unmasked)?),
        };
        let keeper = match again.iter().any(Option::is_some) {
            true => {
                let keeper = Keeper::start(&again, &places);
                Some(keeper.map_err(|e| SecretError::All(format!("read again later: {e}")))?)
            }
            false => None,
        };
        Ok(Secrets {
            live: RefCell::new(Rc::new(Live::new(held).map_err(unmasked)?)),
            entries,
            finder,
            keeper,
            over: RefCell::default(),
        })
    }

    /// Names of all, in the policy's order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|e| e.name.as_str())
    }

    /// The credential at a position of the policy.
    pub(crate) fn get(&self, at: usize) -> Option<&Entry> {
        self.entries.get(at)
    }

    /// The values in force now.
    pub(crate) fn live(&self) -> Rc<Live> {
        self.live.borrow().clone()
    }

    /// Finds placeholders, in any usual encoding.
    pub(crate) fn finder(&self) -> Option<&Finder> {
        self.finder.as_ref()
    }

    /// Puts another value in force, for every request that begins from now on; never one that was revoked.
    fn put(&self, at: usize, held: Held) -> Result<(), String> {
        if self.is_over(at) {
            return Err(REVOKED.into());
        }
        let live = self.live().with(at, held).map_err(|e| e.to_string())?;
        *self.live.borrow_mut() = Rc::new(live);
        Ok(())
    }

    /// Puts a credential out of force until there is another value.
    fn lapse(&self, at: usize, why: &str) {
        if !self.is_over(at) {
            self.drop_value(at, why);
        }
    }

    /// Puts a credential out of force for good. False: it was already, or there is none.
    pub(crate) fn revoke(&self, at: usize) -> bool {
        let ends = at < self.entries.len() && self.over.borrow_mut().insert(at);
        if ends {
            self.drop_value(at, REVOKED);
        }
        ends
    }

    fn drop_value(&self, at: usize, why: &str) {
        let live = self.live().without(at, Held::Gone(why.to_owned()));
        *self.live.borrow_mut() = Rc::new(live);
    }

    /// Whether it was revoked.
    pub(crate) fn is_over(&self, at: usize) -> bool {
        self.over.borrow().contains(&at)
    }
}

/// Keys to sign with: text that can stand in a header, and is long enough to be told from other text.
fn keys(
    entry: &Entry,
    aws: &Aws,
    read: impl Fn(&SecretRef) -> Result<Zeroizing<String>, SecretError>,
) -> Result<Held, SecretError> {
    let part = |secret: &SecretRef| {
        let text = read(secret)?;
        check(&text, &Placement::Bearer).map_err(|what| entry.fail(format!("{what}: {secret}")))?;
        Ok(Hidden::from(text.as_str()))
    };
    Ok(Held::Keys(Keys {
        id: part(&aws.access_key_id)?,
        secret: part(&aws.secret_access_key)?,
        session: aws.session_token.as_ref().map(part).transpose()?,
    }))
}

/// What is read as it stands.
fn plain(source: &Source) -> Option<SecretRef> {
    match source {
        Source::Env(_) | Source::File(_) | Source::Command(_) => source.secrets().pop(),
        Source::Vault(_) | Source::Oauth2(_) | Source::Aws(_) | Source::GithubApp(_) => None,
    }
}

/// What the value must be, to be placed without becoming anything else.
fn check(text: &str, placement: &Placement) -> Result<(), String> {
    if text.len() < MIN {
        return Err(format!(
            "is shorter than {MIN} bytes, too short to be told from other text"
        ));
    }
    if text.len() > MAX {
        return Err(format!("is longer than {MAX} bytes"));
    }
    let header = |b: u8| (0x21..0x7f).contains(&b) || b == b' ';
    let token = |b: u8| (0x21..0x7f).contains(&b);
    let ok = match placement {
        Placement::Bearer | Placement::Query(_) | Placement::SigV4 => text.bytes().all(token),
        Placement::Header(_) => text.bytes().all(header) && text.trim() == text,
        Placement::Basic { .. } => !text.chars().any(char::is_control),
    };
    if ok {
        Ok(())
    } else {
        Err("holds characters that cannot be sent where the policy places it".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_could_become_something_else_are_refused() {
        assert!(check("sk-live-123456", &Placement::Bearer).is_ok());
        for (bad, placement) in [
            ("short", Placement::Bearer),
            ("sk-live\r\nx-admin: 1", Placement::Bearer),
            ("sk live 123456", Placement::Bearer),
            ("sk-live-123\n456", Placement::Header("x".into())),
            ("sk-live-\u{e9}\u{e9}\u{e9}", Placement::Header("x".into())),
            ("pass\u{0}word-1", Placement::Basic { username: "u".into() }),
        ] {
            assert!(check(bad, &placement).is_err(), "{bad:?}");
        }
    }
}
