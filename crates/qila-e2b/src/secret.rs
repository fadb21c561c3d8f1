//! What is shown to be let in to one sandbox: its access token, or a signature made with it.
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What a signed URL is for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    /// A download.
    Read,
    /// An upload.
    Write,
}

/// A signature as it comes in a URL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    pub operation: Operation,
    /// The path as the URL says it; empty if it says none.
    pub path: &'a str,
    /// The user as the URL says it; empty if it says none.
    pub user: &'a str,
    /// Unix seconds after which it is void.
    pub expires: Option<i64>,
    pub signature: &'a str,
}

/// Whether two secrets are the same, in a time that does not tell where they differ.
pub(crate) fn same(shown: &str, real: &SecretString) -> bool {
    // Of digests, so that not even the length is told.
    let (a, b) = (
        Sha256::digest(shown.as_bytes()),
        Sha256::digest(real.expose_secret().as_bytes()),
    );
    a.ct_eq(&b).into()
}

/// Whether the signature was made with this token. That it has not expired is another question.
pub(crate) fn is_signed(signed: &Signed<'_>, token: &SecretString) -> bool {
    let mut digest = Sha256::new();
    let operation: &[u8] = match signed.operation {
        Operation::Read => b"read",
        Operation::Write => b"write",
    };
    for part in [
        signed.path.as_bytes(),
        b":",
        operation,
        b":",
        signed.user.as_bytes(),
        b":",
    ] {
        digest.update(part);
    }
    digest.update(token.expose_secret().as_bytes());
    if let Some(expires) = signed.expires {
        digest.update(format!(":{expires}").as_bytes());
    }
    let real = format!("v1_{}", STANDARD_NO_PAD.encode(digest.finalize()));
    real.as_bytes()
        .ct_eq(signed.signature.trim_end_matches('=').as_bytes())
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_all_that_it_names() {
        let token = SecretString::from("token");
        // base64(sha256("/a:read:user:token:100")), as `printf … | openssl dgst -sha256 -binary | base64` says it.
        let digest = Sha256::digest(b"/a:read:user:token:100");
        let signature = format!("v1_{}", STANDARD_NO_PAD.encode(digest));
        let good = Signed {
            operation: Operation::Read,
            path: "/a",
            user: "user",
            expires: Some(100),
            signature: &signature,
        };
        assert!(is_signed(&good, &token));
        assert!(!is_signed(
            &Signed {
                operation: Operation::Write,
                ..good
            },
            &token
        ));
        assert!(!is_signed(&Signed { path: "/b", ..good }, &token));
        assert!(!is_signed(&Signed { user: "", ..good }, &token));
        assert!(!is_signed(
            &Signed {
                expires: Some(101),
                ..good
            },
            &token
        ));
        assert!(!is_signed(
            &Signed {
                expires: None,
                ..good
            },
            &token
        ));
        assert!(!is_signed(
            &Signed {
                signature: "",
                ..good
            },
            &token
        ));
        assert!(!is_signed(&good, &SecretString::from("other")));
    }

    #[test]
    fn tokens_are_compared_whole() {
        let token = SecretString::from("token");
        assert!(same("token", &token));
        assert!(!same("toke", &token) && !same("tokens", &token) && !same("", &token));
    }
}
