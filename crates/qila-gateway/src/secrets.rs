//! Real values of credentials: read here, held here, placed from here.
use crate::config::{Config, Placeholder};
use qila_inspect::mask::Masker;
use qila_inspect::placeholder::Finder;
use qila_policy::model::{Credential, Placement, SecretRef, Source};
use secrecy::{ExposeSecret, SecretString};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use zeroize::Zeroize;

/// Longest value in bytes.
const MAX: usize = 16 * 1024;
/// Shortest value in bytes: anything shorter would be found everywhere in what is masked.
const MIN: usize = 8;
/// Longest time that a program may take to print one.
const PATIENCE: Duration = Duration::from_secs(30);

/// One credential in force.
pub(crate) struct Secret {
    /// Name in the policy.
    pub(crate) name: String,
    /// Where it goes.
    pub(crate) placement: Placement,
    /// What the agent holds.
    pub(crate) placeholder: String,
    value: SecretString,
}

impl Secret {
    /// The real value. For placing it into a request, and for nothing else.
    pub(crate) fn value(&self) -> &str {
        self.value.expose_secret()
    }
}

/// All credentials of a run, in the policy's order.
pub(crate) struct Secrets {
    all: Vec<Secret>,
    masker: Option<Masker>,
    /// For names of headers, which know no case.
    names: Option<Masker>,
    finder: Option<Finder>,
}

/// A value that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the credential `{name}` ({source_text}) {what}")]
pub(crate) struct SecretError {
    name: String,
    source_text: String,
    what: String,
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

impl Secrets {
    /// Reads every value.
    pub(crate) fn read(config: &Config) -> Result<Secrets, SecretError> {
        let credentials = &config.permit.policy().credentials;
        let mut all = Vec::with_capacity(credentials.len());
        for credential in credentials {
            let fail = |what: String| SecretError {
                name: credential.name.clone(),
                source_text: credential.source.to_string(),
                what,
            };
            let mut text = value(&credential.source, config).map_err(fail)?;
            let checked = check(&text, &credential.placement).map_err(fail);
            let value = SecretString::from(text.as_str());
            text.zeroize();
            checked?;
            let placeholder = config
                .placeholders
                .iter()
                .find(|p: &&Placeholder| p.credential == credential.name)
                .map(|p| p.text.clone())
                .ok_or_else(|| fail("has no placeholder".into()))?;
            all.push(Secret {
                name: credential.name.clone(),
                placement: credential.placement.clone(),
                placeholder,
                value,
            });
        }
        let values: Vec<&[u8]> = all.iter().map(|s: &Secret| s.value().as_bytes()).collect();
        let none = |_| SecretError {
            name: String::new(),
            source_text: String::new(),
            what: "cannot be masked".into(),
        };
        let mut lower: Vec<Vec<u8>> = values.iter().map(|v| v.to_ascii_lowercase()).collect();
        let (masker, names) = match values.is_empty() {
            true => (None, None),
            false => {
                let lower: Vec<&[u8]> = lower.iter().map(Vec::as_slice).collect();
                let names = Masker::new(&lower).map_err(none)?;
                (Some(Masker::new(&values).map_err(none)?), Some(names))
            }
        };
        lower.zeroize();
        let placeholders: Vec<&[u8]> = all.iter().map(|s| s.placeholder.as_bytes()).collect();
        let finder = match placeholders.is_empty() {
            true => None,
            false => Some(Finder::new(&placeholders).map_err(none)?),
        };
        drop((values, placeholders));
        Ok(Secrets {
            all,
            masker,
            names,
            finder,
        })
    }

    /// Names of all, in the policy's order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|s| s.name.as_str())
    }

    /// The credential at a position of the policy.
    pub(crate) fn get(&self, index: usize) -> Option<&Secret> {
        self.all.get(index)
    }

    /// Finds the real values, in any usual encoding, to mask them.
    pub(crate) fn masker(&self) -> Option<&Masker> {
        self.masker.as_ref()
    }

    /// Whether a real value is in the name of a header.
    pub(crate) fn is_in_name(&self, name: &str) -> bool {
        self.names.as_ref().is_some_and(|n| n.finds(name.as_bytes()))
    }

    /// Finds placeholders, in any usual encoding.
    pub(crate) fn finder(&self) -> Option<&Finder> {
        self.finder.as_ref()
    }
}

/// What the value must be, to be placed without becoming anything else.
fn check(text: &str, placement: &Placement) -> Result<(), String> {
    if text.len() < MIN {
        return Err(format!(
            "is shorter than {MIN} bytes, too short to be told from other text"
        ));
    }
    if text.len() > MAX {
        return Err(format!("is longer than {MAX} bytes"));
    }
    let header = |b: u8| (0x21..0x7f).contains(&b) || b == b' ';
    let token = |b: u8| (0x21..0x7f).contains(&b);
    let ok = match placement {
        Placement::Bearer | Placement::Query(_) | Placement::SigV4 => text.bytes().all(token),
        Placement::Header(_) => text.bytes().all(header) && text.trim() == text,
        Placement::Basic { .. } => !text.chars().any(char::is_control),
    };
    if ok {
        Ok(())
    } else {
        Err("holds characters that cannot be sent where the policy places it".into())
    }
}

fn value(source: &Source, config: &Config) -> Result<String, String> {
    let mut text = match source {
        Source::Env(name) => std::env::var(name).map_err(|e| match e {
            std::env::VarError::NotPresent => "is not set".to_owned(),
            std::env::VarError::NotUnicode(_) => "is not text".to_owned(),
        })?,
        Source::File(path) => {
            let path = path
                .resolve(config.home.as_deref(), config.workspace.as_deref())
                .ok_or("lies beneath a directory that is not known")?;
            let file = std::fs::File::open(&path).map_err(|e| format!("cannot be read: {e}"))?;
            if !file.metadata().map_err(|e| e.to_string())?.is_file() {
                return Err("is not a regular file".into());
            }
            read(file)?
        }
        Source::Command(words) => command(words)?,
        Source::Vault(_) | Source::Oauth2(_) | Source::Aws(_) | Source::GithubApp(_) => {
            return Err("is of a kind that this gateway cannot mint".into());
        }
    };
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
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
    fn values_that_could_become_something_else_are_refused() {
        assert!(check("sk-live-123456", &Placement::Bearer).is_ok());
        for (bad, placement) in [
            ("short", Placement::Bearer),
            ("sk-live\r\nx-admin: 1", Placement::Bearer),
            ("sk live 123456", Placement::Bearer),
            ("sk-live-123\n456", Placement::Header("x".into())),
            ("sk-live-\u{e9}\u{e9}\u{e9}", Placement::Header("x".into())),
            ("pass\u{0}word-1", Placement::Basic { username: "u".into() }),
        ] {
            assert!(check(bad, &placement).is_err(), "{bad:?}");
        }
    }

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
