//! Attacks that claim to break a promise, judged from outside the sandbox.
#![forbid(unsafe_code)]
