//! Unmodified third-party agents at work inside the sandbox.
#![forbid(unsafe_code)]
