//! What a node remembers: tenants, keys, sandboxes, snapshots, templates, events; in SQLite.
#![forbid(unsafe_code)]
