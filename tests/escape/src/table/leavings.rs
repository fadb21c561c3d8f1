//! What an agent leaves behind for Qila's own commands to stumble over: `diff`, `apply`, `log`.
use crate::case::{Attack, Need, Place, Promise, Scene};
use crate::policy::Policy;
use crate::stage::Stage;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// Bytes that would drive a terminal, with the scene's token in them so that they cannot come from elsewhere.
fn driving(token: &str) -> Vec<Vec<u8>> {
    let starts: [&[u8]; 9] = [
        b"\x1b]0;",
        b"\x1b[2J",
        b"\x1b[31m",
        b"\xc2\x9b31m",
        b"\x9b31m",
        b"a\r",
        b"a\x08",
        b"\xe2\x80\xae",
        b"\x1bP",
    ];
    starts
        .iter()
        .map(|start| [start, token.as_bytes()].concat())
        .collect()
}

/// File names, link targets and content with terminal escape sequences, shown by `diff` and `log`.
fn escapes(s: &mut Stage) -> io::Result<Scene> {
    let token = s.token()?;
    let argv = s.argv("files", &["names", &token])?;
    let mut scene = s.or_outside(&Policy::new(), argv).without_claims();
    scene.after = vec![
        words("diff RUN"),
        words("diff RUN --stat"),
        words("log RUN"),
        words("log RUN --json"),
        words("ps"),
    ];
    let (ws, twin) = (s.ws(), s.twin);
    Ok(scene.judge(move |o| match twin {
        // Outside, the names themselves are there to be listed.
        true => fs::read_dir(&ws)
            .ok()?
            .flatten()
            .any(|e| e.file_name().to_string_lossy().contains('\x1b'))
            .then(|| "listed".into()),
        false => driving(&token)
            .iter()
            .any(|b| o.after_shows(b))
            .then(|| "a name came out as it is".into()),
    }))
}

/// The command's own arguments, and a name that it looks up, in the log.
fn escapes_in_log(s: &mut Stage) -> io::Result<Scene> {
    let token = s.token()?;
    let script = format!(
        "echo ATTEMPT; printf 'GET /\\033]0;{token}\\007 HTTP/1.1\\r\\nHost: \\033[2J{token}\\r\\n\\r\\n' | timeout 2 cat"
    );
    let mut scene = Scene::new(
        Place::Sandbox(Policy::new().text()),
        vec!["/bin/sh".into(), "-c".into(), script],
    );
    scene.argv.push(format!("\x1b]0;{token}\x07"));
    if s.twin {
        scene.place = Place::Outside;
        scene.argv = vec!["/bin/echo".into(), format!("\x1b]0;{token}\x07")];
    }
    scene.after = vec![words("log RUN"), words("log"), words("ps")];
    let twin = s.twin;
    Ok(scene.without_claims().judge(move |o| match twin {
        true => o.shows(&format!("\x1b]0;{token}")).then(|| "shown".into()),
        false => driving(&token)
            .iter()
            .any(|b| o.after_shows(b))
            .then(|| "an argument came out as it is".into()),
    }))
}

/// Links out of the workspace, a directory turned into a link, and a setuid bit, all applied.
fn apply(s: &mut Stage) -> io::Result<Scene> {
    let outside = s.host("outside")?;
    let victim = outside.join("victim");
    fs::write(&victim, "before")?;
    fs::create_dir_all(s.ws().join("d"))?;
    fs::write(s.ws().join("d/victim"), "in the workspace")?;
    let token = s.token()?;
    let text = |p: &std::path::Path| p.to_string_lossy().into_owned();
    let program = s.program("files")?;
    let argv = vec![program.clone(), "leave".into(), text(&outside), token, program];
    let mut scene = s.or_outside(&Policy::new(), argv).without_claims();
    scene.after = vec![words("apply RUN"), words("apply RUN"), words("audit verify")];
    let (ws, count) = (s.ws(), fs::read_dir(&outside)?.count());
    Ok(scene.judge(move |_| {
        if fs::read(&victim).ok()? != b"before" || fs::read_dir(&outside).ok()?.count() != count {
            return Some("apply wrote outside the workspace".into());
        }
        let bits = ws.join("suid").symlink_metadata().map_or(0, |m| m.mode());
        (bits & 0o6000 != 0).then(|| "apply made a setuid file".into())
    }))
}

/// The workspace on the host is changed by nothing but `apply`; a run that is only diffed leaves it alone.
fn sparse(s: &mut Stage) -> io::Result<Scene> {
    let argv = s.argv("files", &["sparse"])?;
    let mut scene = s.or_outside(&Policy::new(), argv).without_claims();
    scene.after = vec![words("diff RUN --stat"), words("diff RUN")];
    let (ws, twin) = (s.ws(), s.twin);
    Ok(scene.judge(move |o| match twin {
        true => ws
            .join("huge")
            .metadata()
            .ok()
            .filter(|m| m.len() > 1 << 30)
            .map(|_| "a huge file".into()),
        false if o.after.len() > 1 << 20 => Some("diff printed a file without content".into()),
        // `timeout` ends with 124: the command read through a terabyte of nothing.
        false => o
            .after_shows(b"exit status: 124]")
            .then(|| "diff did not end".into()),
    }))
}

const fn attack(
    name: &'static str,
    item: &'static str,
    promise: Promise,
    stage: fn(&mut Stage) -> io::Result<Scene>,
) -> Attack {
    Attack {
        name,
        promise,
        item,
        needs: &[Need::QilaTools],
        may_refuse: false,
        stage,
    }
}

const NAMES: &str = "terminal escape sequences in file names shown by `diff` and `log`";

pub(super) const ATTACKS: &[Attack] = &[
    attack("escapes-in-names", NAMES, Promise::P4, escapes),
    attack("escapes-in-arguments", NAMES, Promise::P4, escapes_in_log),
    attack("apply-astray", "setuid binary", Promise::P8, apply),
    attack("sparse-diff", "zip-bomb in the workspace", Promise::P8, sparse),
];
