//! policy.yaml to a typed [`Policy`], and a [`Policy`] under the [`Constitution`] to a [`Permit`]; pure.
//!
//! [`parse`] reads a policy; files that it extends come through the caller's [`PolicySource`]. Nothing here opens a file
//! or looks at the environment or the clock.
#![forbid(unsafe_code)]

mod bundle;
mod canonical;
pub mod cedar;
mod clause;
mod contradiction;
mod credentials;
mod error;
pub mod explain;
mod live;
pub mod model;
mod parse;
mod permit;
pub mod preset;
mod schema;

pub use bundle::Bundle;
pub use canonical::canonical;
pub use clause::{ClauseId, UnknownClause};
pub use credentials::MissingCredential;
pub use error::{Contradiction, Diagnostic, LoadError, PolicyError, Problem};
pub use model::Policy;
pub use parse::tree::MAX_BYTES;
pub use parse::{Loaded, NoFiles, Origin, PolicySource, VERSION, parse};
pub use permit::{Constitution, Permit, PermitError};
pub use schema::{reference, schema};

/// The fuzzer's way in: any bytes are a policy or an error, and a policy has a stable canonical text and explanation.
#[doc(hidden)]
pub fn fuzz_parse(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match parse("policy.yaml", text, &mut NoFiles) {
        Ok(policy) => {
            assert_eq!(canonical(&policy), canonical(&policy.clone()));
            assert!(!explain::sentences(&policy).is_empty());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
