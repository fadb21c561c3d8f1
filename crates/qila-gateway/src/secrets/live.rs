//! The values in force at one moment, and what finds them in what comes back.
use qila_inspect::mask::{MAX_SECRETS, MaskError, Masker};
use qila_lease::sigv4::Keys;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

/// Values of one credential that are out of force and still looked for: an upstream may say them again.
const PAST: usize = 4;

/// What is held of one credential.
#[derive(Clone)]
pub(crate) enum Held {
    /// Its value.
    Text(SecretString),
    /// Keys to sign with.
    Keys(Keys),
    /// Nothing any more, and why.
    Gone(String),
}

impl Held {
    /// The real value, for placing it into a request, and for nothing else; or why there is none.
    pub(crate) fn text(&self) -> Result<&str, &str> {
        match self {
            Held::Text(text) => Ok(text.expose_secret()),
            Held::Keys(_) => Err("it is there to sign with"),
            Held::Gone(why) => Err(why),
        }
    }

    /// All of it that must never come back.
    fn secrets(&self) -> Vec<SecretString> {
        match self {
            Held::Text(text) => vec![text.clone()],
            Held::Keys(keys) => [&keys.id, &keys.secret]
                .into_iter()
                .chain(&keys.session)
                .map(|part| SecretString::from(part.expose()))
                .collect(),
            Held::Gone(_) => Vec::new(),
        }
    }
}

/// All values at one moment. Whoever works with it may go on doing so while others come into force.
pub(crate) struct Live {
    held: Vec<Held>,
    past: Vec<Vec<SecretString>>,
    masker: Option<Masker>,
    /// For names of headers, which know no case.
    names: Option<Masker>,
}

impl Live {
    /// The first values.
    pub(super) fn new(held: Vec<Held>) -> Result<Live, MaskError> {
        let past = held.iter().map(|_| Vec::new()).collect();
        Live::of(held, past)
    }

    /// The same with another value of one credential. The old one is looked for as before; where there is no room for both,
    /// there is no other value.
    pub(super) fn with(&self, at: usize, value: Held) -> Result<Live, MaskError> {
        let mut live = self.without(at, value);
        let others = live.past.iter().enumerate().filter(|(n, _)| *n != at);
        let others: usize = others.map(|(_, past)| past.len()).sum();
        let now: usize = live.held.iter().map(|h| h.secrets().len()).sum();
        let room = MAX_SECRETS.checked_sub(now + others).ok_or(MaskError::Many)?;
        if let Some(past) = live.past.get_mut(at) {
            if room == 0 && !past.is_empty() {
                return Err(MaskError::Many);
            }
            let many = past.len().saturating_sub(room.min(PAST));
            past.drain(..many);
        }
        Live::of(live.held, live.past)
    }

    /// The same with nothing, or nothing new, of one credential: all that was looked for is looked for on.
    pub(super) fn without(&self, at: usize, value: Held) -> Live {
        let mut live = Live {
            held: self.held.clone(),
            past: self.past.clone(),
            masker: self.masker.clone(),
            names: self.names.clone(),
        };
        let now: Vec<SecretString> = value.secrets();
        let same = |a: &SecretString, b: &SecretString| a.expose_secret() == b.expose_secret();
        let old = live.held.get_mut(at).map(|place| std::mem::replace(place, value));
        if let (Some(old), Some(past)) = (old, live.past.get_mut(at)) {
            past.extend(old.secrets());
            // Each once, where it was last; what is in force is looked for anyway.
            let all = std::mem::take(past);
            for (n, secret) in all.iter().enumerate() {
                let again = all
                    .iter()
                    .skip(n + 1)
                    .chain(&now)
                    .any(|other| same(secret, other));
                if !again {
                    past.push(secret.clone());
                }
            }
        }
        live
    }

    fn of(held: Vec<Held>, past: Vec<Vec<SecretString>>) -> Result<Live, MaskError> {
        let now: Vec<SecretString> = held.iter().flat_map(Held::secrets).collect();
        let all: Vec<&[u8]> = (now.iter().chain(past.iter().flatten()))
            .map(|s| s.expose_secret().as_bytes())
            .collect();
        let lower: Vec<Zeroizing<Vec<u8>>> = all
            .iter()
            .map(|s| Zeroizing::new(s.to_ascii_lowercase()))
            .collect();
        let lower: Vec<&[u8]> = lower.iter().map(|s| s.as_slice()).collect();
        let any = !held.is_empty();
        let masker = any.then(|| Masker::new(&all)).transpose()?;
        let names = any.then(|| Masker::new(&lower)).transpose()?;
        Ok(Live {
            held,
            past,
            masker,
            names,
        })
    }

    /// What is held of the credential at a position of the policy.
    pub(crate) fn held(&self, at: usize) -> Option<&Held> {
        self.held.get(at)
    }

    /// Finds real values, in any usual encoding, to mask them; none where there are no credentials.
    pub(crate) fn masker(&self) -> Option<&Masker> {
        self.masker.as_ref()
    }

    /// Whether a real value is in the name of a header.
    pub(crate) fn is_in_name(&self, name: &str) -> bool {
        self.names.as_ref().is_some_and(|n| n.finds(name.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Held {
        Held::Text(SecretString::from(value))
    }

    fn masked(live: &Live, value: &str) -> bool {
        live.masker().unwrap().finds(value.as_bytes())
    }

    #[test]
    fn an_old_value_is_looked_for_after_a_new_one_has_come() {
        let first = Live::new(vec![text("value-one-1"), text("other-key-1")]).unwrap();
        let second = first.with(0, text("value-two-2")).unwrap();
        assert_eq!(second.held(0).unwrap().text(), Ok("value-two-2"));
        for value in ["value-one-1", "value-two-2", "other-key-1"] {
            assert!(masked(&second, value), "{value}");
        }
        assert!(!masked(&first, "value-two-2"));
        let none = second.without(0, Held::Gone("revoked".into()));
        assert_eq!(none.held(0).unwrap().text(), Err("revoked"));
        assert!(masked(&none, "value-one-1") && masked(&none, "value-two-2"));
    }

    #[test]
    fn what_is_looked_for_is_bounded_and_nothing_is_forgotten_at_once() {
        let mut one = Live::new(vec![text("value-0000"), text("revoked-one")]).unwrap();
        one = one.without(1, Held::Gone("it was revoked".into()));
        for n in 0..10 {
            one = one.with(0, text(&format!("newer-{n:04}"))).unwrap();
            // The same again is nothing new.
            one = one.with(0, text(&format!("newer-{n:04}"))).unwrap();
        }
        assert!(masked(&one, "newer-0005") && !masked(&one, "newer-0004"));
        assert!(masked(&one, "revoked-one"));
        // Without room for the old value beside the new one, there is no new one.
        let full = Live::new((0..MAX_SECRETS).map(|n| text(&format!("value-{n:04}"))).collect()).unwrap();
        assert_eq!(full.with(0, text("newer-0000")).err(), Some(MaskError::Many));
        assert!(full.with(0, text("value-0000")).is_ok());
        let gone = full.without(0, Held::Gone("it was revoked".into()));
        assert!(masked(&gone, "value-0000"));
    }
}
