//! What this program does when it runs inside a sandbox: time a command, or pull bytes.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

/// `again CMD…`: runs it twice and prints the milliseconds of the second time, when what is cached is cached.
pub fn again(words: &[String]) -> Result<(), String> {
    timed(words).and_then(|()| timed(words))
}

/// `timed CMD…`: runs it once and prints milliseconds.
pub fn timed(words: &[String]) -> Result<(), String> {
    let (program, rest) = words.split_first().ok_or("`timed` needs a command")?;
    let start = Instant::now();
    let status = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    let taken = start.elapsed();
    match status {
        Ok(status) if status.success() => println!("{:.3}", taken.as_secs_f64() * 1e3),
        Ok(status) => return Err(format!("`{}` ended with {status}", words.join(" "))),
        Err(error) => return Err(format!("cannot start `{program}`: {error}")),
    }
    Ok(())
}

/// `pull ADDRESS:PORT BYTES`: reads so many bytes and prints MiB/s, from the first byte on.
pub fn pull(words: &[String]) -> Result<(), String> {
    let [address, bytes] = words else {
        return Err("`pull` needs an address and a number of bytes".to_owned());
    };
    let bytes: u64 = bytes.parse().map_err(|_| "not a number of bytes")?;
    let mut stream =
        TcpStream::connect(address).map_err(|error| format!("cannot connect to {address}: {error}"))?;
    stream
        .write_all(crate::relay::REQUEST)
        .map_err(|error| error.to_string())?;
    let mut buffer = vec![0u8; 1 << 18];
    // The first byte ends the connection's own cost, which another row measures.
    stream
        .read_exact(&mut [0u8; 1])
        .map_err(|error| error.to_string())?;
    let start = Instant::now();
    let mut left = bytes.saturating_sub(1);
    while left > 0 {
        match stream.read(&mut buffer) {
            Ok(0) => return Err(format!("the connection ended {left} bytes early")),
            Ok(count) => left = left.saturating_sub(count as u64),
            Err(error) => return Err(error.to_string()),
        }
    }
    println!(
        "{:.3}",
        bytes as f64 / (1 << 20) as f64 / start.elapsed().as_secs_f64()
    );
    Ok(())
}
