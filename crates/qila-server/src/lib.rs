//! The HTTP face of a node: the native API, keys and tenants, ports of sandboxes, health and metrics.
#![forbid(unsafe_code)]
