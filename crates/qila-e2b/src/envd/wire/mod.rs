//! Messages of envd's two services, as Rust types. Names and numbers are those of the wire; both encodings read and write the
//! same types. The shape of the JSON is protobuf's: bytes in base64, 64-bit numbers and enumerations as text.
pub(crate) mod filesystem;
mod json;
pub(crate) mod process;
