//! `qila log`: what was recorded.
use crate::args::Log;
use crate::fail::{Fail, chain};
use crate::home::Home;
use crate::line::line;
use crate::ps::misleads;
use crate::run::evidence;
use qila_evidence::{Entry, Reader, Traces, ocsf};
use qila_types::{EventKind, RunId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::AsFd;
use std::io::Write;
use std::time::Duration;

/// Time between two looks for more.
const LOOK: Duration = Duration::from_millis(100);

fn broken(what: &str, error: &dyn std::error::Error) -> Fail {
    Fail::new(format!("{what}: {}", chain(error)))
        .hint("qila audit verify")
        .code(1)
}

/// `qila log`.
pub(crate) fn log(args: &Log) -> Result<u8, Fail> {
    let home = Home::open()?;
    let Some(dir) = evidence::directory(&home)? else {
        let nothing = Fail::new(format!(
            "nothing was recorded yet in {}",
            evidence::path(&home).display()
        ));
        return Err(nothing.hint("start something with `qila run`").code(1));
    };
    let read = || Reader::open(dir.as_fd()).map_err(|e| broken("reading the log", &e));
    let mut reader = match &args.run {
        Some(named) => read()?.only(choose(read()?, named)?),
        None => read()?,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut damaged = false;
    let mut traces = args.otlp.then(Traces::default);
    loop {
        match reader.next() {
            Some(Ok(entry)) => {
                if let Some(traces) = &mut traces {
                    if let Some(event) = entry.event() {
                        traces.add(entry.index, &event);
                    }
                    continue;
                }
                if writeln!(out, "{}", shown(args, &entry)).is_err() {
                    return Ok(0); // the reader went away
                }
            }
            Some(Err(e)) => {
                // What came before it is shown first; what comes behind it is still read.
                let _ = out.flush();
                eprintln!("{}", broken("reading the log", &e));
                damaged = true;
            }
            None if args.follow => {
                if out.flush().is_err() || is_deaf() {
                    return Ok(0);
                }
                std::thread::sleep(LOOK);
            }
            None => break,
        }
    }
    if let Some(traces) = traces {
        let _ = writeln!(out, "{}", escaped(&traces.document().to_string()));
    }
    let _ = out.flush();
    Ok(u8::from(damaged))
}

/// Whether nobody reads our output any more: one who follows may have nothing to write for long.
fn is_deaf() -> bool {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let stdout = rustix::stdio::stdout();
    let mut fds = [PollFd::from_borrowed_fd(stdout, PollFlags::empty())];
    poll(&mut fds, Some(&now)).is_ok() && fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR))
}

fn shown(args: &Log, entry: &Entry) -> String {
    let event = entry.event();
    match (&event, args.ocsf, args.json) {
        (Some(event), true, _) => escaped(&ocsf(event).to_string()),
        (Some(event), false, false) => line(event),
        // Of a kind that this version does not know, or as it was signed.
        _ => {
            let json = String::from_utf8_lossy(&entry.json);
            let rest = json.strip_prefix('{').unwrap_or_default();
            escaped(&format!("{{\"record\":{},{rest}", entry.index))
        }
    }
}

/// JSON in which nothing moves a terminal's cursor: such characters stand only inside its texts.
fn escaped(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if misleads(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// The run that is meant: `latest`, or the one whose id starts with the text.
fn choose(mut reader: Reader, named: &str) -> Result<RunId, Fail> {
    if let Ok(run) = RunId::parse(named) {
        return Ok(run);
    }
    let mut found: Option<RunId> = None;
    for entry in reader.by_ref().flatten() {
        let Some(event) = entry.event() else { continue };
        let Some(run) = event.run else { continue };
        if named == "latest" {
            if matches!(event.kind, EventKind::Launch { .. } | EventKind::Refused { .. }) {
                found = Some(run);
            }
        } else if !named.is_empty() && run.as_str().starts_with(named) {
            if found.as_ref().is_some_and(|other| *other != run) {
                let text = named.escape_default();
                return Err(Fail::new(format!("`{text}` is the beginning of several runs"))
                    .hint("give more of the id; `qila log` has them all")
                    .code(1));
            }
            found = Some(run);
        }
    }
    found.ok_or_else(|| {
        Fail::new(format!(
            "there is no evidence of a run `{}`",
            named.escape_default()
        ))
        .hint("`qila log` without a name shows all")
        .code(1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_for_a_terminal_says_the_same_and_moves_nothing() {
        let text = "a\u{7f}\u{9b}\u{202e}\u{e0001}\n\"\\ü";
        let json = serde_json::json!({ "name": text }).to_string();
        let safe = escaped(&json);
        assert!(!safe.chars().any(misleads), "{safe:?}");
        let back: serde_json::Value = serde_json::from_str(&safe).unwrap();
        assert_eq!(back["name"], text);
    }
}
