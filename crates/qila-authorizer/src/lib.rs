//! The one decision engine: a Permit compiled to Cedar, sliced per action; pure.
#![forbid(unsafe_code)]
