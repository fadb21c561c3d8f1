//! Minting at providers and taking back: what was minted is remembered before it is used.
use super::book::{Book, BookError};
use super::message::{Had, Left};
use super::rotated::Place;
use super::send::Ways;
use super::source::{Places, value};
use crate::config::Leases;
use qila_lease::journal::Record;
use qila_lease::{Hidden, MintError, Origin, Revocation};
use qila_policy::model::{Oauth2, SecretRef, Source};
use secrecy::ExposeSecret;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// When a lease is given up of which the provider does not say how long it lasts.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Unix seconds.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// What can still be taken back.
struct Lease {
    credential: String,
    revocation: Revocation,
    until: u64,
}

/// Mints for one run.
pub(super) struct Mint {
    ways: Ways,
    places: Places,
    dir: PathBuf,
    book: RefCell<Option<Book>>,
    last: Cell<u64>,
    open: RefCell<BTreeMap<u64, Rc<Lease>>>,
    /// Asked for, and the answer is not known.
    unknown: RefCell<BTreeMap<u64, String>>,
}

impl Mint {
    /// Begins the journal.
    pub(super) fn new(
        ways: Ways,
        places: Places,
        leases: &Leases,
        first: &Record,
    ) -> Result<Mint, BookError> {
        Ok(Mint {
            ways,
            places,
            dir: leases.dir.clone(),
            book: RefCell::new(Some(Book::create(leases, first)?)),
            last: Cell::new(0),
            open: RefCell::default(),
            unknown: RefCell::default(),
        })
    }

    fn write(&self, record: &Record) -> Result<(), String> {
        match self.book.borrow().as_ref() {
            Some(book) => book.write(record).map_err(|e| e.to_string()),
            None => Err("the run has ended".into()),
        }
    }

    /// A secret that leads to another; a program that prints one may take its time.
    async fn secret(&self, of: &SecretRef) -> Result<Hidden, String> {
        let (secret, places) = (of.clone(), self.places.clone());
        let read = tokio::task::spawn_blocking(move || value(&secret, &places)).await;
        let text = read
            .map_err(|e| e.to_string())?
            .map_err(|what| format!("{of} {what}"))?;
        match text.is_empty() {
            true => Err(format!("{of} is empty")),
            false => Ok(text.as_str().into()),
        }
    }

    async fn optional(&self, of: Option<&SecretRef>) -> Result<Option<Hidden>, String> {
        match of {
            Some(secret) => self.secret(secret).await.map(Some),
            None => Ok(None),
        }
    }

    /// The place of a refresh token, and the newest.
    async fn refresh(&self, of: &Oauth2) -> Result<(Option<Place>, Option<Hidden>), String> {
        let Some(original) = self.optional(of.refresh_token.as_ref()).await? else {
            return Ok((None, None));
        };
        let place = Place::lock(&self.dir, of, &original).await?;
        let newest = place.newest()?;
        Ok((Some(place), Some(newest.unwrap_or(original))))
    }

    /// A value of a provider's.
    pub(super) async fn value(&self, credential: &str, source: &Source) -> Result<Had, String> {
        let wrong = |e: MintError| e.to_string();
        // What is asked with is read each time: it may be short-lived itself.
        let (origin, place) = match source {
            Source::Vault(vault) => (Origin::vault(vault, self.secret(&vault.token).await?), None),
            Source::GithubApp(app) => (Origin::github(app, &self.secret(&app.private_key).await?), None),
            Source::Oauth2(oauth2) => {
                let secret = self.optional(oauth2.client_secret.as_ref()).await?;
                let (place, refresh) = self.refresh(oauth2).await?;
                (Origin::oauth2(oauth2, secret, refresh), place)
            }
            Source::Env(_) | Source::File(_) | Source::Command(_) | Source::Aws(_) => {
                return Err("is not minted".into());
            }
        };
        let origin = origin.map_err(wrong)?;
        let id = self.last.get().saturating_add(1);
        self.last.set(id);
        let (began, asked_at) = (Instant::now(), now());
        let call = origin.call(asked_at).map_err(wrong)?;
        self.write(&Record::Asking {
            id,
            credential: credential.to_owned(),
        })?;
        self.unknown.borrow_mut().insert(id, credential.to_owned());
        let (status, body) = match self.ways.send(&call).await {
            Ok(reply) => reply,
            Err(e) => {
                if !e.sent {
                    self.over(id)?;
                }
                return Err(e.to_string());
            }
        };
        let read = origin.read(status, &body, asked_at);
        // Whatever else is wrong with the answer: the old one is worth nothing any more.
        let kept = match (origin.rotated(), &place) {
            (Some(newer), Some(place)) => place.keep(&newer),
            _ => Ok(()),
        };
        let left = match &read {
            Ok(minted) => minted.revocation.clone(),
            Err(e) => e.left().cloned(),
        };
        let life = read.as_ref().ok().and_then(|m| m.life);
        let lease = match left {
            None => {
                self.over(id)?;
                None
            }
            Some(revocation) => {
                let until = asked_at.saturating_add(life.unwrap_or(LONGEST).as_secs());
                self.minted(id, credential, revocation, until)?;
                Some(id)
            }
        };
        match (read, kept) {
            (Ok(minted), Ok(())) => Ok(Had {
                text: Zeroizing::new(minted.value.expose_secret().to_owned()),
                life: life.map(|l| l.saturating_sub(began.elapsed())),
                lease,
            }),
            (read, kept) => {
                if let Some(id) = lease {
                    let _ = self.retire(id).await; // else tried again at the end
                }
                Err(read.err().map_or_else(|| kept.err().unwrap_or_default(), wrong))
            }
        }
    }

    /// It was minted: from here on it can be taken back, by this process or by whoever finds the journal.
    fn minted(&self, id: u64, credential: &str, revocation: Revocation, until: u64) -> Result<(), String> {
        let lease = Lease {
            credential: credential.to_owned(),
            revocation,
            until,
        };
        let record = Record::Minted {
            id,
            revocation: Some(lease.revocation.clone()),
            until,
        };
        self.unknown.borrow_mut().remove(&id);
        // Even if it cannot be written: at the end it is taken back.
        self.open.borrow_mut().insert(id, Rc::new(lease));
        self.write(&record)
    }

    fn over(&self, id: u64) -> Result<(), String> {
        self.unknown.borrow_mut().remove(&id);
        self.open.borrow_mut().remove(&id);
        self.write(&Record::Over { id })
    }

    /// Takes one back.
    pub(super) async fn retire(&self, id: u64) -> Result<(), String> {
        let lease = self.open.borrow().get(&id).cloned();
        let Some(lease) = lease else { return Ok(()) };
        revoke(&self.ways, &lease.revocation, lease.until).await?;
        self.over(id)
    }

    /// The gateway is gone: nobody hears what becomes of the rest.
    pub(super) fn alone(&self) {
        let _ = self.write(&Record::Alone); // then the next one takes back again what was taken back
    }

    /// Takes everything back, side by side, in the time that there is.
    pub(super) async fn finish(self: &Rc<Self>, patience: Duration) -> Vec<Left> {
        let open: Vec<(u64, Rc<Lease>)> = self
            .open
            .borrow()
            .iter()
            .map(|(id, l)| (*id, l.clone()))
            .collect();
        let each = open.into_iter().map(|(id, lease)| {
            let mint = self.clone();
            let retiring = async move { tokio::time::timeout(patience, mint.retire(id)).await };
            (lease, tokio::task::spawn_local(retiring))
        });
        let each: Vec<_> = each.collect();
        let mut out = Vec::new();
        for (lease, retiring) in each {
            let why = match retiring.await {
                Ok(Ok(done)) => done.err(),
                Ok(Err(_)) => Some(format!(
                    "the provider does not answer within {} s",
                    patience.as_secs()
                )),
                Err(e) => Some(e.to_string()),
            };
            out.push(Left {
                credential: lease.credential.clone(),
                why,
            });
        }
        let unknown = self.unknown.borrow();
        out.extend(unknown.values().map(|credential| Left {
            credential: credential.clone(),
            why: Some(super::reclaim::UNKNOWN.into()),
        }));
        out
    }

    /// Closes the journal, which goes away if nothing is left. To be called once all was said.
    pub(super) fn close(&self) {
        let nothing = self.open.borrow().is_empty();
        let book = self.book.borrow_mut().take();
        if let Some(book) = book.filter(|_| nothing) {
            let _ = book.remove(); // then the next one finds it, and nothing in it
        }
    }
}

/// Takes something back at its provider. It is asked although the time is over, for clocks differ; if it then does not do it,
/// there is nothing left to be done.
pub(super) async fn revoke(ways: &Ways, revocation: &Revocation, until: u64) -> Result<(), String> {
    let done = match ways.send(&revocation.call()).await {
        Ok((status, body)) => revocation.read(status, &body).map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    done.or_else(|why| if now() >= until { Ok(()) } else { Err(why) })
}
