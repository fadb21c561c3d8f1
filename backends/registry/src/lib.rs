//! The one place that names the backends.
#![forbid(unsafe_code)]
