//! Who may use a gateway that listens for everybody: whoever knows its password.
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

/// Name of the user in `Proxy-Authorization`.
pub const USER: &str = "qila";

/// The value of `Proxy-Authorization` that opens a gateway.
pub(crate) struct Door(Zeroizing<String>);

impl Door {
    /// Opened by this password.
    pub(crate) fn new(password: &str) -> Door {
        let pair = Zeroizing::new(format!("{USER}:{password}"));
        Door(Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes())))
    }

    /// Whether a header's value opens it. How long the answer takes says nothing of how much was right.
    pub(crate) fn opens(&self, value: &[u8]) -> bool {
        let Some((scheme, given)) = value.split_at_checked(6) else {
            return false;
        };
        let given = given.trim_ascii();
        if !scheme.eq_ignore_ascii_case(b"basic ") || given.len() != self.0.len() {
            return false;
        }
        let differs = given
            .iter()
            .zip(self.0.bytes())
            .fold(0u8, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(differs) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_opens() {
        let door = Door::new("secret");
        let right = format!("Basic {}", BASE64_STANDARD.encode("qila:secret"));
        assert!(door.opens(right.as_bytes()));
        assert!(door.opens(right.replace("Basic", "bAsIc").as_bytes()));
        for wrong in [
            String::new(),
            "Basic".into(),
            right.replace("Basic", "Bearer"),
            format!("Basic {}", BASE64_STANDARD.encode("qila:secreT")),
            format!("Basic {}", BASE64_STANDARD.encode("other:secret")),
            format!("{right}x"),
        ] {
            assert!(!door.opens(wrong.as_bytes()), "{wrong}");
        }
    }
}
