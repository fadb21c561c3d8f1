//! Messages to bytes and back, in the two encodings that a client may choose from.
use super::{Code, Fault};
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a client can say.
pub(crate) trait Said: Message + DeserializeOwned + Default + 'static {}
impl<T: Message + DeserializeOwned + Default + 'static> Said for T {}

/// What it is answered.
pub(crate) trait Reply: Message + Serialize + 'static {}
impl<T: Message + Serialize + 'static> Reply for T {}

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// Protobuf's JSON mapping.
    Json,
    /// Protobuf.
    Proto,
}

impl Codec {
    /// Reads a message. Fields that are not known are passed over, as both encodings ask for.
    pub(crate) fn read<T: Said>(self, bytes: &[u8]) -> Result<T, Fault> {
        match self {
            Codec::Proto => T::decode(bytes).map_err(|e| Fault::invalid(format!("not such a message: {e}"))),
            Codec::Json if bytes.is_empty() => Err(Fault::invalid("an empty body is no JSON")),
            Codec::Json => {
                let mut value: Value =
                    serde_json::from_slice(bytes).map_err(|e| Fault::invalid(format!("not JSON: {e}")))?;
                if !value.is_object() {
                    return Err(Fault::invalid("a message is a JSON object"));
                }
                without_nulls(&mut value);
                T::deserialize(value).map_err(|e| Fault::invalid(format!("not such a message: {e}")))
            }
        }
    }

    /// Writes a message.
    pub(crate) fn write<T: Reply>(self, message: &T) -> Result<Vec<u8>, Fault> {
        match self {
            Codec::Proto => Ok(message.encode_to_vec()),
            Codec::Json => serde_json::to_vec(message)
                .map_err(|_| Fault::new(Code::Internal, "the answer cannot be written as JSON")),
        }
    }
}

/// In protobuf's JSON a null is a field that is not there. The depth is bounded by the parser.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, v| !v.is_null());
            fields.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
