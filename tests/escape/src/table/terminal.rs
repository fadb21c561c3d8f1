//! Terminals: typing into the shell that waits behind the sandbox.
use crate::case::{Attack, Need, Promise, Scene};
use crate::policy::Policy;
use crate::stage::Stage;
use std::io;

/// The launcher on a terminal, and after it something that reads one line from there: what the attack typed.
fn typed(s: &mut Stage, redirect: &str) -> io::Result<Scene> {
    let token = s.token()?;
    let argv = s.argv("tty", &["push", &token])?;
    let mut scene = s.or_harness(&Policy::new(), argv).without_claims();
    let script = format!("\"$@\" {redirect}; line=$(timeout --foreground 4 head -n1); echo \"TYPED:$line\"");
    scene.wrap = vec![
        s.tool("tty")?,
        "pty".into(),
        "15".into(),
        "/bin/sh".into(),
        "-c".into(),
        script,
        "sh".into(),
    ];
    Ok(scene.judge_output(&format!("TYPED:{token}")))
}

/// Whatever `/dev/console` is inside, neither it nor a link in its place leads to the host.
fn console(s: &mut Stage) -> io::Result<Scene> {
    let dir = s.host("console")?;
    let target = dir.join("target");
    std::fs::write(&target, "before")?;
    let token = s.token()?;
    let path = target.to_string_lossy().into_owned();
    if s.twin {
        let argv = s.argv("files", &["write", &path, &token, &s.ws().to_string_lossy()])?;
        let scene = Scene::new(
            crate::case::Place::Sandbox(Policy::new().write(&dir).text()),
            argv,
        )
        .without_claims();
        return Ok(scene.judge(move |_| {
            (std::fs::read(&target).ok().as_deref() != Some(b"before")).then(|| "written".into())
        }));
    }
    let argv = s.argv("tty", &["console", &path, &token])?;
    let mut scene = s.or_outside(&Policy::new().read(&dir), argv).without_claims();
    scene.wrap = vec![s.tool("tty")?, "pty".into(), "10".into()];
    Ok(scene.judge(move |_| {
        (std::fs::read(&target).ok()? != b"before").then(|| "the console led to the host".into())
    }))
}

const fn attack(
    name: &'static str,
    item: &'static str,
    needs: &'static [Need],
    stage: fn(&mut Stage) -> io::Result<Scene>,
) -> Attack {
    Attack {
        name,
        promise: Promise::P1,
        item,
        needs,
        may_refuse: false,
        stage,
    }
}

pub(super) const ATTACKS: &[Attack] = &[
    attack("tiocsti", "TIOCSTI", &[Need::Root], |s| typed(s, "")),
    attack("tiocsti-beside-pipes", "TIOCSTI", &[Need::Root], |s| {
        typed(s, "</dev/null | cat")
    }),
    attack("console-link", "`/dev/console` bind race", &[], console),
];
