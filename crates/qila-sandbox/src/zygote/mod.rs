//! Zygotes: a warm program that is forked, copy-on-write, into sandboxes that were made beneath its own.
//!
//! A sandbox that is to receive a fork has its first process made in the user and process namespaces of the zygote's sandbox
//! ([`bear_beneath`]). Its user namespace is then a child of the zygote's, made by the same user: to the kernel, the zygote's
//! processes own it, and may enter it without a capability of their own. Nothing else in the zygote's sandbox changes hands.
//!
//! What a zygote is asked is a [`Request`]; what it answers is said by its fork to the guest of the sandbox that it is in.
//! See `docs/zygotes.md` for the whole protocol; any program that speaks it can be a zygote. [`PYTHON`] is ours for Python.
mod birth;
mod cage;
mod filter;
mod request;

pub use birth::bear_beneath;
pub use cage::{one_wall, warm};
pub use request::{MAX_REQUEST, Request, RequestError};

/// A Python program that imports the modules that its arguments name, and then is a zygote: `python3 -c PYTHON MODULE…`.
pub const PYTHON: &str = include_str!("driver.py");
