//! Random texts that only the host knows.
use std::fs::File;
use std::io::{self, Read};

/// A random text of `bytes` bytes in hexadecimal, from the kernel.
pub fn random(bytes: usize) -> io::Result<String> {
    let mut raw = vec![0; bytes];
    File::open("/dev/urandom")?.read_exact(&mut raw)?;
    Ok(raw.iter().map(|b| format!("{b:02x}")).collect())
}
