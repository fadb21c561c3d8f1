//! Cells of code run one after another in contexts, inside a sandbox, with rich results.
#![forbid(unsafe_code)]
