//! Values that protobuf's JSON writes in a way of its own.

/// Bytes as base64; both alphabets are read, with and without padding.
pub(super) mod base64 {
    use ::base64::Engine as _;
    use ::base64::alphabet::{STANDARD, URL_SAFE};
    use ::base64::engine::general_purpose::STANDARD as PADDED;
    use ::base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&PADDED.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        let alphabet = if text.contains(['-', '_']) {
            &URL_SAFE
        } else {
            &STANDARD
        };
        GeneralPurpose::new(alphabet, LENIENT)
            .decode(&text)
            .map(Bytes::from)
            .map_err(D::Error::custom)
    }
}

/// 64-bit numbers as text.
pub(super) mod long {
    use serde::Serializer;

    pub(crate) fn serialize<S: Serializer>(number: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }
}

/// Enumerations as names.
macro_rules! names {
    ($module:ident, $of:ty) => {
        pub(super) mod $module {
            use super::*;
            use serde::Serializer;

            pub(crate) fn serialize<S: Serializer>(number: &i32, to: S) -> Result<S::Ok, S::Error> {
                match <$of>::try_from(*number) {
                    Ok(known) => to.serialize_str(known.as_str_name()),
                    Err(_) => to.serialize_i32(*number),
                }
            }
        }
    };
}
pub(super) use names;
