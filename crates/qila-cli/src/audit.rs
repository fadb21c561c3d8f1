//! `qila audit`: proving what was recorded.
use crate::args::Audit;
use crate::fail::{Fail, chain};
use crate::home::Home;
use crate::policy::print;
use crate::ps::harmless;
use crate::run::evidence;
use qila_evidence::{Report, VerifierKey, export_tiles, verify};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::io::Read;
use std::path::Path;

/// Exit code: something is wrong with the log.
const DAMAGED: u8 = 1;
/// Exit code: it could not be looked at.
const UNKNOWN: u8 = 2;
/// Longest checkpoint or key that is read.
const LONGEST: u64 = 64 * 1024;

fn failed(error: &dyn std::error::Error) -> Fail {
    Fail::new(chain(error)).code(UNKNOWN)
}

/// `qila audit`.
pub(crate) fn audit(args: &Audit) -> Result<u8, Fail> {
    match args {
        Audit::Verify {
            directory,
            checkpoint,
            key,
            json,
        } => verified(directory.as_deref(), checkpoint.as_deref(), key.as_deref(), *json),
        Audit::Checkpoint => {
            let home = Home::open()?;
            recorded(&home)?;
            print(evidence::open(&home)?.checkpoint());
            Ok(0)
        }
        Audit::Key => {
            let home = Home::open()?;
            recorded(&home)?;
            let text = read(&evidence::path(&home).join("key.pub"))?;
            let key = VerifierKey::parse(text.trim_end()).map_err(|e| failed(&e))?;
            print(&key.to_string());
            Ok(0)
        }
        Audit::Export { directory } => {
            let home = Home::open()?;
            let done = export_tiles(recorded(&home)?.as_fd(), directory).map_err(|e| failed(&e))?;
            print(&format!("{} records in {} files", done.records, done.files));
            print(&done.key);
            Ok(0)
        }
    }
}

/// The directory of a log that is there.
fn recorded(home: &Home) -> Result<OwnedFd, Fail> {
    let path = evidence::path(home);
    let nothing = || {
        Fail::new(format!("nothing was recorded yet in {}", path.display()))
            .hint("start something with `qila run`")
    };
    evidence::directory(home)
        .and_then(|dir| dir.ok_or_else(nothing))
        .map_err(|f| f.code(UNKNOWN))
}

fn read(path: &Path) -> Result<String, Fail> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
        .map_err(|e| Fail::io("reading", path, e).code(UNKNOWN))?;
    Ok(text)
}

fn verified(
    directory: Option<&Path>,
    checkpoint: Option<&Path>,
    key: Option<&str>,
    json: bool,
) -> Result<u8, Fail> {
    let dir = match directory {
        Some(path) => openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Fail::io("opening", path, e.into()).code(UNKNOWN))?,
        None => recorded(&Home::open()?)?,
    };
    let trusted = checkpoint.map(read).transpose()?;
    let report = verify(dir.as_fd(), trusted.as_deref(), key).map_err(|e| failed(&e))?;
    if json {
        let value = serde_json::to_value(&report).unwrap_or_default();
        let words: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        print(&serde_json::json!({"intact": report.intact(), "report": value, "words": words}).to_string());
    } else {
        say(&report, key.is_some(), trusted.is_some());
    }
    Ok(if report.intact() { 0 } else { DAMAGED })
}

fn say(report: &Report, keyed: bool, trusted: bool) {
    for noted in &report.noted {
        print(&format!(
            "noted: record {}: {}",
            noted.record,
            harmless(&noted.what)
        ));
    }
    if report.torn_tail > 0 {
        print(&format!(
            "noted: {} bytes of an unfinished commit at the end, of which nothing was acknowledged",
            report.torn_tail
        ));
    }
    for finding in &report.findings {
        print(&harmless(&finding.to_string()));
    }
    if report.more > 0 {
        print(&format!("and {} more", report.more));
    }
    if report.intact() {
        print(&format!(
            "intact: {} records, {} checkpoints, signed by {}",
            report.records, report.checkpoints, report.key
        ));
    } else {
        print(&format!(
            "DAMAGED: the first {} records are proved",
            report.proved
        ));
    }
    if report.intact() && !keyed {
        print("the key is the one beside the log; give one kept elsewhere with --key");
    }
    if report.intact() && !trusted {
        print(
            "records removed together with `head` show only against a checkpoint kept elsewhere: --checkpoint",
        );
    }
}
