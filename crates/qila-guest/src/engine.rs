//! Outside of an engine: puts down what it is to find, and looks after it as after an agent.
use crate::serve;
use alloc::ffi::CString;
use qila_wire::Engine;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

/// Runs the engine to its end.
pub(crate) fn serve(control: &OwnedFd, engine: &Engine) -> Result<(), Errno> {
    for (path, bytes) in &engine.files {
        let path = CString::new(path.clone()).map_err(|_| Errno::INVAL)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = open(path.as_c_str(), flags, Mode::from_raw_mode(0o444))?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let n = rustix::io::write(&file, rest)?;
            rest = rest.get(n..).unwrap_or(&[]);
        }
    }
    serve::serve(control, &engine.start, true)
}
