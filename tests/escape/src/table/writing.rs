//! Writing where the policy gives nothing to write.
use crate::case::{Attack, Input, Promise, Scene};
use crate::host;
use crate::policy::Policy;
use crate::stage::Stage;
use crate::target::Target;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Judges a directory of the host: nothing in it may have changed.
fn judge_dir(scene: Scene, dir: &Path, file: &Path) -> io::Result<Scene> {
    let (before, count) = (fs::read(file)?, fs::read_dir(dir)?.count());
    let (dir, file) = (dir.to_owned(), file.to_owned());
    Ok(scene.without_claims().judge(move |_| {
        if fs::read(&file).ok().as_ref() != Some(&before) {
            return Some("the file of the host has changed".into());
        }
        (fs::read_dir(&dir).map_or(0, Iterator::count) != count)
            .then(|| "the directory of the host has changed".into())
    }))
}

fn outside(s: &Stage) -> io::Result<(PathBuf, PathBuf)> {
    let dir = s.host("out")?;
    let file = dir.join("victim");
    fs::write(&file, "before")?;
    Ok((dir, file))
}

fn unlisted(s: &mut Stage) -> io::Result<Scene> {
    let (dir, file) = outside(s)?;
    let argv = s.argv("files", &["write", &text(&file), &s.token()?, &text(&s.ws())])?;
    judge_dir(
        s.or_allowed(Policy::new(), Policy::new().write(&dir), argv),
        &dir,
        &file,
    )
}

fn read_only(s: &mut Stage) -> io::Result<Scene> {
    let (dir, file) = outside(s)?;
    let argv = s.argv("files", &["write", &text(&file), &s.token()?, &text(&s.ws())])?;
    judge_dir(
        s.or_allowed(Policy::new().read(&dir), Policy::new().write(&dir), argv),
        &dir,
        &file,
    )
}

fn layer(s: &mut Stage) -> io::Result<Scene> {
    let (dir, file) = (s.ws(), s.ws().join("tracked"));
    fs::write(&file, "before")?;
    let argv = s.argv("files", &["write", &text(&file), &s.token()?, &text(&s.ws())])?;
    let direct = Policy::new().filesystem("workspace: direct");
    judge_dir(s.or_allowed(Policy::new(), direct, argv), &dir, &file)
}

fn system(s: &mut Stage) -> io::Result<Scene> {
    let (dir, file) = outside(s)?;
    let token = s.token()?;
    let target = if s.twin {
        text(&file)
    } else {
        format!("/etc/{token}")
    };
    let argv = s.argv("files", &["write", &target, &token, &text(&s.ws())])?;
    let scene = s.or_allowed(Policy::new(), Policy::new().write(&dir), argv);
    let scene = judge_dir(scene, &dir, &file)?;
    Ok(scene.judge(move |_| {
        let left = Path::new(&target).exists() && target.starts_with("/etc/");
        let _ = if left { fs::remove_file(&target) } else { Ok(()) };
        left.then(|| "a file was made in /etc".into())
    }))
}

fn executable(s: &mut Stage) -> io::Result<Scene> {
    let token = s.token()?;
    let bin = match &s.cx.target {
        Target::Qila { bin, .. } => bin.clone(),
        Target::Bwrap => PathBuf::from("/usr/bin/bwrap"),
    };
    if s.twin {
        // A program of the host that stops running soon: the way of CVE-2019-5736.
        let copy = s.dir.join("tools/short");
        fs::copy("/bin/sleep", &copy)?;
        let child = s.accomplice(&[text(&copy), "1".into()], None)?;
        let argv = s.argv("files", &["exe", &token, &child.0.id().to_string()])?;
        let reaped = std::sync::Mutex::new(child);
        std::thread::sleep(std::time::Duration::from_millis(50));
        let before = fs::read(&copy)?;
        return Ok(s
            .or_outside(&Policy::new(), argv)
            .without_claims()
            .keep(reaped)
            .judge(move |_| {
                (fs::read(&copy).ok()? != before).then(|| "the program's file has changed".into())
            }));
    }
    let before = fs::read(&bin)?;
    let argv = s.argv("files", &["exe", &token])?;
    Ok(s.or_outside(&Policy::new(), argv).judge(move |_| {
        (fs::read(&bin).ok()? != before).then(|| "the launcher's own file has changed".into())
    }))
}

fn stdio(s: &mut Stage, which: &str) -> io::Result<Scene> {
    let token = s.token()?;
    let dir = s.host("stdio")?;
    let (input, output) = (dir.join("input"), dir.join("output"));
    let secret = s.secret(&output)?;
    fs::write(&input, "the input as it was")?;
    let argv = s.argv("files", &["stdio", &token])?;
    let mut scene = s.or_outside(&Policy::new(), argv).without_claims();
    scene.input = Input::File(input.clone());
    if which == "input" {
        return Ok(scene.judge(move |_| {
            (fs::read(&input).ok()? != b"the input as it was").then(|| "the input file has changed".into())
        }));
    }
    scene.output = Some(output.clone());
    Ok(scene.judge(move |_| {
        let all = fs::read_to_string(&output).ok()?;
        let rest = all.strip_prefix(secret.as_str());
        match rest {
            None => Some("what the output file held before has changed".into()),
            Some(rest) => rest
                .contains(&secret)
                .then(|| "the output file was read back".into()),
        }
    }))
}

/// Qila's own state, beside the workspace: neither read nor written.
fn state(s: &mut Stage) -> io::Result<Scene> {
    let dir = s.dir.join("qila");
    let (canary, file) = (s.dir.join("qila/canary"), s.dir.join("qila/canary"));
    let secret = s.secret(&canary)?;
    let token = s.token()?;
    let argv = s.argv("files", &["write", &text(&file), &token, &text(&s.ws())])?;
    let before = fs::read(&canary)?;
    let scene = s
        .or_outside(&Policy::new(), argv)
        .without_claims()
        .judge_output(&secret);
    Ok(scene.judge(move |_| {
        (fs::read(&file).ok().as_ref() != Some(&before))
            .then(|| "Qila's state was changed from inside".into())
            .or_else(|| {
                // The layer keeps what the agent wrote, below names of its own; a path of the state itself must not.
                dir.join("canary.new")
                    .exists()
                    .then(|| host::holds(&dir, token.as_bytes()).unwrap_or_default())
            })
    }))
}

/// A set-uid file in a directory of the host that the agent may write: whoever runs it there becomes its owner.
fn set_id(s: &mut Stage, policy: fn(&Path) -> Policy) -> io::Result<Scene> {
    let dir = s.host("shared")?;
    let mut argv = s.argv("files", &["setid"])?;
    let place = if policy(&dir).text().contains("direct") {
        s.ws()
    } else {
        dir.clone()
    };
    argv.splice(
        0..0,
        ["/bin/sh", "-c", "cd \"$0\" && exec \"$@\"", &text(&place)].map(str::to_owned),
    );
    Ok(s.or_outside(&policy(&dir), argv)
        .without_claims()
        .judge(move |_| {
            let made = fs::read_dir(&place).ok()?.flatten().find(|e| {
                e.metadata()
                    .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o6000 != 0)
            })?;
            Some(format!("{} is set-uid on the host", made.path().display()))
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
        needs: &[],
        may_refuse: false,
        stage,
    }
}

pub(super) const ATTACKS: &[Attack] = &[
    attack("write-unlisted", "writing outside", Promise::P1, unlisted),
    attack("write-read-only", "writing outside", Promise::P1, read_only),
    attack("write-through-layer", "writing outside", Promise::P1, layer),
    attack("write-system", "writing outside", Promise::P1, system),
    attack(
        "write-launcher-image",
        "`/proc/self/exe` overwrite",
        Promise::P1,
        executable,
    ),
    attack("write-stdin-file", "open fd inheritance", Promise::P1, |s| {
        stdio(s, "input")
    }),
    attack("read-stdout-file", "open fd inheritance", Promise::P1, |s| {
        stdio(s, "output")
    }),
    attack("set-id-direct-workspace", "setuid binary", Promise::P1, |s| {
        set_id(s, |_| Policy::new().filesystem("workspace: direct"))
    }),
    attack("set-id-writable", "setuid binary", Promise::P1, |s| {
        set_id(s, |dir| Policy::new().write(dir))
    }),
    attack("write-evidence", "writing outside", Promise::P8, state),
];
