//! Every check in one command.
#![forbid(unsafe_code)]
