//! Real values of credentials: read or minted here, held here, placed from here.
mod live;
pub(crate) mod renew;

use crate::config::{Config, Placeholder};
use crate::keeper::{Had, Keeper, Places, Setup, Task, value};
pub(crate) use live::Held;
use live::Live;
use qila_inspect::mask::MaskError;
use qila_inspect::placeholder::Finder;
use qila_lease::Hidden;
use qila_lease::sigv4::Keys;
use qila_policy::model::{Placement, Placements, SecretRef, Source};
use secrecy::SecretString;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Longest value in bytes.
pub(crate) const MAX: usize = 16 * 1024;
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
    /// The lease of each value that a provider takes back.
    leases: RefCell<BTreeMap<usize, u64>>,
    /// When each first value is over, where it ends before the run.
    ends: BTreeMap<usize, (Instant, Duration)>,
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
        if let Source::Aws(_) = self.source {
            return self.keys(text);
        }
        for place in self.placement.iter() {
            check(text, place).map_err(|what| self.fail(what))?;
        }
        Ok(Held::Text(SecretString::from(text)))
    }

    /// Keys to sign with, a NUL between their parts: text that can stand in a header, and is long enough to be told from other
    /// text.
    fn keys(&self, text: &str) -> Result<Held, SecretError> {
        let mut parts = Vec::new();
        for part in text.split('\0') {
            check(part, &Placement::Bearer).map_err(|what| self.fail(format!("has a part that {what}")))?;
            parts.push(Hidden::from(part));
        }
        let mut parts = parts.into_iter();
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(id), Some(secret), session, None) => Ok(Held::Keys(Keys { id, secret, session })),
            _ => Err(self.fail("has not two or three parts")),
        }
    }

    /// How long a value lasts that was given so long.
    fn life(&self, given: Option<Duration>) -> Option<Duration> {
        match (self.ttl, given) {
            (Some(ttl), Some(given)) => Some(ttl.min(given)),
            (ttl, given) => ttl.or(given),
        }
    }
}

/// How the value of a credential is had, and whether that is for the keeper to do from the beginning.
fn task(source: &Source) -> (Task, bool) {
    match source {
        Source::Env(name) => (Task::Text(SecretRef::Env(name.clone())), false),
        Source::File(path) => (Task::Text(SecretRef::File(path.clone())), false),
        Source::Command(words) => (Task::Text(SecretRef::Command(words.clone())), false),
        Source::Aws(aws) => (Task::Keys(aws.clone()), true),
        Source::Vault(_) | Source::Oauth2(_) | Source::GithubApp(_) => (Task::Mint(source.clone()), true),
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
        let (mut entries, mut tasks, mut first) = (Vec::new(), Vec::new(), Vec::new());
        for (at, credential) in credentials.iter().enumerate() {
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
            let (task, from_keeper) = task(&credential.source);
            if from_keeper {
                first.push(at);
            }
            tasks.push((
                entry.name.clone(),
                (from_keeper || entry.ttl.is_some()).then_some(task),
            ));
            entries.push(entry);
        }
        let keeper = match tasks.iter().any(|(_, task)| task.is_some()) {
            false => None,
            true => {
                let setup = Setup {
                    tasks,
                    places: places.clone(),
                    upstreams: config.upstreams.clone(),
                    upstream_ca: config.upstream_ca.clone(),
                    leases: config.leases.clone(),
                };
                let keeper = Keeper::start(setup);
                Some(keeper.map_err(|e| SecretError::All(format!("read: {e}")))?)
            }
        };
        let mut from_keeper = match &keeper {
            Some(keeper) if !first.is_empty() => keeper
                .first(&first)
                .map_err(|e| SecretError::All(format!("had: {e}")))?,
            _ => BTreeMap::new(),
        };
        let since = Instant::now();
        let (mut held, mut leases, mut ends) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (at, entry) in entries.iter().enumerate() {
            let had = match (from_keeper.remove(&at), task(&entry.source)) {
                (Some(had), _) => had,
                (None, (Task::Text(secret), _)) => value(&secret, &places).map(|text| Had {
                    text,
                    life: None,
                    lease: None,
                }),
                (None, _) => Err("cannot be had".into()),
            };
            let had = had.map_err(|what| entry.fail(what))?;
            held.push(entry.held(&had.text)?);
            leases.extend(had.lease.map(|lease| (at, lease)));
            ends.extend(entry.life(had.life).map(|life| (at, (since, life))));
        }
        let unmasked = |e: MaskError| SecretError::All(format!("masked: {e}"));
        let placeholders: Vec<&[u8]> = entries.iter().map(|e| e.placeholder.as_bytes()).collect();
        let finder = match placeholders.is_empty() {
            true => None,
            false => Some(Finder::new(&placeholders).map_err(unmasked)?),
        };
        Ok(Secrets {
            live: RefCell::new(Rc::new(Live::new(held).map_err(unmasked)?)),
            entries,
            finder,
            keeper,
            over: RefCell::default(),
            leases: RefCell::new(leases),
            ends,
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

    /// Puts another value in force, for every request that begins from now on; never one that was revoked. Answers the lease of
    /// the one before.
    fn put(&self, at: usize, held: Held, lease: Option<u64>) -> Result<Option<u64>, String> {
        if self.is_over(at) {
            return Err(REVOKED.into());
        }
        let live = self.live().with(at, held).map_err(|e| e.to_string())?;
        *self.live.borrow_mut() = Rc::new(live);
        let mut leases = self.leases.borrow_mut();
        Ok(match lease {
            Some(lease) => leases.insert(at, lease),
            None => leases.remove(&at),
        })
    }

    /// The keeper, if there is one.
    pub(crate) fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    /// Names of those that were minted and that no provider takes back.
    pub(crate) fn ending(&self) -> Vec<String> {
        let leases = self.leases.borrow();
        let own = |at: usize| !leases.contains_key(&at) && !self.is_over(at);
        let minted = self.entries.iter().enumerate().filter(|(_, e)| e.source.mints());
        minted
            .filter(|(at, _)| own(*at))
            .map(|(_, e)| e.name.clone())
            .collect()
    }

    /// The lease of a credential that its provider takes back; from here on it is the caller's to do.
    pub(crate) fn lease(&self, at: usize) -> Option<u64> {
        self.leases.borrow_mut().remove(&at)
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
