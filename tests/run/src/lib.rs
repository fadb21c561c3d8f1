//! What `qila run` promises, judged from outside. The tests are in `tests/`.
#![forbid(unsafe_code)]
