//! Reading what is hidden, by every alias.
use crate::case::{Attack, Need, Promise, Scene};
use crate::policy::Policy;
use crate::stage::Stage;
use std::fs;
use std::io;
use std::path::PathBuf;

/// A hidden file beside readable ones: the directory is readable, the file in it is not. For the twin, it is.
struct Hidden {
    dir: PathBuf,
    file: PathBuf,
    text: String,
    policy: Policy,
}

fn hidden(s: &Stage) -> io::Result<Hidden> {
    let dir = s.host("readable")?;
    fs::create_dir_all(dir.join("private"))?;
    fs::write(dir.join("allowed"), "allowed")?;
    let file = dir.join("private/secret");
    let text = s.secret(&file)?;
    let base = Policy::new().read(&dir);
    let policy = if s.twin {
        base
    } else {
        base.hide(dir.join("private"))
    };
    Ok(Hidden {
        dir,
        file,
        text,
        policy,
    })
}

/// The attack against the hidden file; the twin where the policy lets it be read.
fn on_hidden(s: &mut Stage, args: impl Fn(&Hidden, &Stage) -> Vec<String>) -> io::Result<Scene> {
    let h = hidden(s)?;
    let mut argv = vec![s.program("files")?];
    argv.extend(args(&h, s));
    Ok(s.or_allowed(h.policy.clone(), h.policy.clone(), argv)
        .without_claims()
        .judge_output(&h.text))
}

/// The same, with a twin that only works where the program is root outside.
fn on_hidden_or_outside(s: &mut Stage, args: impl Fn(&Hidden, &Stage) -> Vec<String>) -> io::Result<Scene> {
    let h = hidden(s)?;
    let mut argv = vec![s.program("files")?];
    argv.extend(args(&h, s));
    let mut scene = s
        .or_harness(&h.policy, argv)
        .without_claims()
        .judge_output(&h.text);
    if s.twin {
        // Its mounts end with it.
        scene.wrap = ["/usr/bin/unshare", "--mount", "--propagation", "private"]
            .map(str::to_owned)
            .to_vec();
    }
    Ok(scene)
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

fn fd_inherit(s: &mut Stage) -> io::Result<Scene> {
    let h = hidden(s)?;
    let argv = s.argv("files", &["fds", "secret", &text(&h.file)])?;
    let mut scene = s
        .or_outside(&h.policy, argv)
        .without_claims()
        .judge_output(&h.text);
    let script = format!(
        "exec 7<'{}' 8<'{}' 9</; exec \"$@\"",
        text(&h.file),
        text(&h.dir.join("private"))
    );
    scene.wrap = vec!["/bin/sh".into(), "-c".into(), script, "sh".into()];
    Ok(scene)
}

fn cwd(s: &mut Stage) -> io::Result<Scene> {
    let h = hidden(s)?;
    let argv = s.argv("files", &["cwd", "secret"])?;
    let mut scene = s
        .or_outside(&h.policy, argv)
        .without_claims()
        .judge_output(&h.text);
    scene.cwd = Some(h.dir.join("private"));
    Ok(scene)
}

fn unlisted(s: &mut Stage) -> io::Result<Scene> {
    let dir = s.host("unlisted")?;
    let file = dir.join("secret");
    let canary = s.secret(&file)?;
    let argv = s.argv("files", &["roots", &text(&file)])?;
    Ok(s.or_allowed(Policy::new(), Policy::new().read(&dir), argv)
        .without_claims()
        .judge_output(&canary))
}

fn home(s: &mut Stage) -> io::Result<Scene> {
    let dir = s.home().join(".ssh");
    fs::create_dir_all(&dir)?;
    let file = dir.join("id_ed25519");
    let canary = s.secret(&file)?;
    let argv = s.argv("files", &["read", &text(&file)])?;
    Ok(s.or_allowed(Policy::new(), Policy::new().read("~/.ssh"), argv)
        .without_claims()
        .judge_output(&canary))
}

fn in_workspace(s: &mut Stage, args: &[&str]) -> io::Result<Scene> {
    fs::create_dir_all(s.ws().join("parent/masked"))?;
    let canary = s.secret(&s.ws().join("parent/masked/secret"))?;
    let argv = s.argv("files", args)?;
    let policy = Policy::new().hide("./parent/masked");
    Ok(s.or_allowed(policy, Policy::new(), argv)
        .without_claims()
        .judge_output(&canary))
}

fn rename_parent(s: &mut Stage) -> io::Result<Scene> {
    in_workspace(s, &["rename-parent", "parent", "parent2", "masked/secret"])
}

fn masked_roots(s: &mut Stage) -> io::Result<Scene> {
    let path = text(&s.ws().join("parent/masked/secret"));
    in_workspace(s, &["roots", &path])
}

/// An accomplice on the host, such as an earlier run with `--direct`, swaps the masked path for a link and back while
/// the sandbox is being set up.
fn mask_race(s: &mut Stage) -> io::Result<Scene> {
    let target = s.host("target")?;
    let canary = s.secret(&target.join("secret"))?;
    let masked = s.ws().join("masked");
    let policy = Policy::new().hide("./masked");
    let argv = s.argv("files", &["read", "masked/secret"])?;
    if s.twin {
        std::os::unix::fs::symlink(&target, &masked)?;
        return Ok(Scene::new(
            crate::case::Place::Sandbox(Policy::new().read(&target).text()),
            argv,
        )
        .without_claims()
        .judge_output(&canary));
    }
    fs::create_dir(&masked)?;
    fs::create_dir(s.ws().join("empty"))?;
    let script = format!(
        "cd '{}'; while :; do mv -T masked d 2>/dev/null; ln -sfnT '{}' masked; rm -f masked; mv -T d masked; done",
        text(&s.ws()),
        text(&target)
    );
    let swapper = s.accomplice(&["/bin/sh".into(), "-c".into(), script], None)?;
    let mut scene = Scene::new(crate::case::Place::Sandbox(policy.text()), argv)
        .without_claims()
        .judge_output(&canary)
        .keep(swapper);
    scene.launches = 12;
    Ok(scene)
}

fn handle(s: &mut Stage) -> io::Result<Scene> {
    let h = hidden(s)?;
    let out = std::process::Command::new(s.tool("files")?)
        .arg("make-handle")
        .arg(&h.file)
        .output()?;
    let hex = String::from_utf8_lossy(&out.stdout).into_owned();
    let argv = s.argv("files", &["handle", &hex, &text(&s.ws())])?;
    Ok(s.or_harness(&h.policy, argv)
        .without_claims()
        .judge_output(&h.text))
}

fn ring(s: &mut Stage) -> io::Result<Scene> {
    let h = hidden(s)?;
    let argv = s.argv("kernel", &["ring-open", &text(&h.file)])?;
    // The twin is outside: a ring is denied inside, whatever it would open. There the claims do not count.
    let scene = s.or_outside(&h.policy, argv).judge_output(&h.text);
    Ok(if s.twin { scene.without_claims() } else { scene })
}

pub(super) const ATTACKS: &[Attack] = &[
    attack("hidden-direct", "reading hidden files", &[], |s| {
        on_hidden(s, |h, _| vec!["read".into(), text(&h.file)])
    }),
    attack("hidden-home", "reading hidden files", &[], home),
    attack("hidden-unlisted", "reading hidden files", &[], unlisted),
    attack("hidden-proc-root", "`/proc/*/root`", &[], |s| {
        on_hidden(s, |h, _| vec!["roots".into(), text(&h.file)])
    }),
    attack("hidden-bind", "bind", &[Need::Root], |s| {
        on_hidden_or_outside(s, |h, s| {
            vec!["bind".into(), text(&h.file), text(&s.ws().join("m"))]
        })
    }),
    attack("hidden-hard-link", "hard link", &[], |s| {
        let h = hidden(s)?;
        let argv = s.argv("files", &["link", &text(&h.file), &text(&s.ws().join("linked"))])?;
        let scene = s
            .or_outside(&h.policy, argv)
            .without_claims()
            .judge_output(&h.text);
        let (file, linked) = (h.file.clone(), s.ws().join("linked"));
        let twin = s.twin;
        Ok(scene
            .judge(move |_| (!twin && !file.exists()).then(|| "the hidden file is gone".into()))
            .judge(move |_| {
                linked
                    .exists()
                    .then(|| "a link to it lies in the workspace".into())
            }))
    }),
    attack("hidden-symlink-swap", "symlink swap", &[], |s| {
        on_hidden(s, |h, s| {
            vec![
                "swap".into(),
                text(&h.file),
                text(&h.dir.join("allowed")),
                text(&s.ws().join("race")),
            ]
        })
    }),
    attack("hidden-open-fd", "open fd inheritance", &[], fd_inherit),
    attack("hidden-cwd", "cwd via `/proc/self/fd`", &[], cwd),
    attack("hidden-by-handle", "reading hidden files", &[Need::Root], handle),
    attack(
        "hidden-io-uring",
        "io_uring open",
        &[Need::Knob("/proc/sys/kernel/io_uring_disabled", "0")],
        ring,
    ),
    attack(
        "masked-parent-renamed",
        "masked-path symlink race",
        &[],
        rename_parent,
    ),
    attack("masked-by-alias", "masked-path symlink race", &[], masked_roots),
    Attack {
        may_refuse: true,
        ..attack(
            "masked-swap-at-launch",
            "masked-path symlink race",
            &[],
            mask_race,
        )
    },
];

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
