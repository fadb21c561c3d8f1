//! `qila interpret`: what runs cells of code, started by a node inside a sandbox.
use crate::fail::{Fail, chain};

/// Serves until it is killed.
pub(crate) fn interpret() -> Result<u8, Fail> {
    let with = qila_interpreter::Interpret::default();
    qila_interpreter::main(&with)
        .map(|()| 0)
        .map_err(|e| Fail::new(chain(&e)))
}
