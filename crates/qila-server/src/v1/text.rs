//! Bytes in JSON: as text where they are UTF-8, else in base64.
use crate::problem::Problem;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a text stands for bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encoding {
    /// As it is.
    #[default]
    Utf8,
    /// Base64 with padding.
    Base64,
}

/// As text.
pub(crate) fn text(bytes: &[u8]) -> (String, Encoding) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), Encoding::Utf8),
        Err(_) => (STANDARD.encode(bytes), Encoding::Base64),
    }
}

/// As bytes.
pub(crate) fn bytes(text: String, encoding: Encoding) -> Result<Vec<u8>, Problem> {
    match encoding {
        Encoding::Utf8 => Ok(text.into_bytes()),
        Encoding::Base64 => STANDARD
            .decode(text)
            .map_err(|e| Problem::invalid(format!("no base64: {e}"))),
    }
}
