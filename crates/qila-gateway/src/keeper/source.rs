//! Reading what a policy says a secret is read from.
use crate::secrets::MAX;
use qila_policy::model::{Credential, PolicyPath, SecretRef};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use zeroize::{Zeroize, Zeroizing};

/// Longest time that a program may take to print one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where `~` and relative paths begin.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) home: Option<String>,
    pub(crate) workspace: Option<String>,
}

/// Whether the source of a credential is there, without reading its value: a variable that is set, a file that exists, a
/// program (which is always tried).
pub fn available(credential: &Credential, home: Option<&str>, workspace: Option<&str>) -> bool {
    credential.source.secrets().iter().all(|secret| match secret {
        SecretRef::Env(name) => std::env::var_os(name).is_some_and(|v| !v.is_empty()),
        SecretRef::File(path) => path
            .resolve(home, workspace)
            .is_some_and(|p| std::path::Path::new(&p).exists()),
        SecretRef::Command(_) => true,
    })
}

/// Reads one, without the newline that it may end with.
pub(crate) fn value(secret: &SecretRef, places: &Places) -> Result<Zeroizing<String>, String> {
    let mut text = match secret {
        SecretRef::Env(name) => std::env::var(name).map_err(|e| match e {
            std::env::VarError::NotPresent => "is not set".to_owned(),
            std::env::VarError::NotUnicode(_) => "is not text".to_owned(),
        })?,
        SecretRef::File(path) => file(path, places)?,
        SecretRef::Command(words) => command(words)?,
    };
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(Zeroizing::new(text))
}

fn file(path: &PolicyPath, places: &Places) -> Result<String, String> {
    let path = path
        .resolve(places.home.as_deref(), places.workspace.as_deref())
        .ok_or("lies beneath a directory that is not known")?;
    let file = std::fs::File::open(&path).map_err(|e| format!("cannot be read: {e}"))?;
    if !file.metadata().map_err(|e| e.to_string())?.is_file() {
        return Err("is not a regular file".into());
    }
    read(file)
}

fn read(from: impl Read) -> Result<String, String> {
    let mut text = String::with_capacity(MAX + 2);
    let bound = u64::try_from(MAX + 2).unwrap_or(u64::MAX);
    from.take(bound)
        .read_to_string(&mut text)
        .map_err(|e| format!("cannot be read: {e}"))?;
    Ok(text)
}

fn command(words: &[String]) -> Result<String, String> {
    let (program, arguments) = words.split_first().ok_or("names no program")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("cannot be started: {e}"))?;
    let out = child.stdout.take().ok_or("has no output")?;
    // Ended from outside if it takes too long: reading then ends by itself.
    let deadline = Instant::now() + PATIENCE;
    rustix::io::ioctl_fionbio(&out, true).map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    let outcome = gather(&out, &mut bytes, deadline);
    if outcome.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    outcome?;
    if !status.success() {
        bytes.zeroize();
        return Err(format!("failed with {status}"));
    }
    String::from_utf8(bytes).map_err(|e| {
        e.into_bytes().zeroize();
        "did not print text".to_owned()
    })
}

fn gather(out: &std::process::ChildStdout, bytes: &mut Vec<u8>, deadline: Instant) -> Result<(), String> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("took longer than {} s", PATIENCE.as_secs()));
        }
        let timeout = Timespec::try_from(left).map_err(|e| e.to_string())?;
        let mut fds = [PollFd::new(out, PollFlags::IN)];
        poll(&mut fds, Some(&timeout)).map_err(|e| e.to_string())?;
        let mut buffer = [0u8; 1024];
        match rustix::io::read(out, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => bytes.extend(buffer.get(..n).unwrap_or(&[])),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(e) => return Err(format!("cannot be read: {e}")),
        }
        buffer.zeroize();
        if bytes.len() > MAX + 1 {
            return Err(format!("printed more than {MAX} bytes"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gives_its_output_or_a_reason() {
        let words = |w: &[&str]| w.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            command(&words(&["echo", "real-value-1"])),
            Ok("real-value-1\n".into())
        );
        assert!(command(&words(&["false"])).unwrap_err().contains("failed"));
        assert!(
            command(&words(&["/nonexistent/x"]))
                .unwrap_err()
                .contains("started")
        );
        assert!(command(&words(&["yes"])).unwrap_err().contains("more than"));
    }
}
