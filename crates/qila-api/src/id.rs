//! Names of things.
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: up to 64 of a-z, 0-9, `-` and `_`, beginning with a letter or digit")]
pub struct BadId(String);

fn sound(text: &str) -> bool {
    let first = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let all = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    first && text.len() <= 64 && text.bytes().all(all)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Reads one: safe as a file name, as a part of a URL and as a part of a host name.
            pub fn parse(text: &str) -> Result<$name, BadId> {
                if sound(text) { Ok($name(text.to_owned())) } else { Err(BadId(text.chars().take(80).collect())) }
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<$name, BadId> {
                $name::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Names a sandbox on a node.
    SandboxId
}
id! {
    /// Names a snapshot on a node.
    SnapshotId
}
id! {
    /// Names a tenant: whoever holds its keys, and nobody else, sees what is its.
    Tenant
}

/// A process as the sandbox counts: its process id inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId(pub u32);
