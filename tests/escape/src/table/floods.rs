//! Too much of everything, under a limit of the policy. The twin stays below the limit and must come through.
use crate::case::{Attack, Need, Promise, Scene};
use crate::host;
use crate::outcome::Outcome;
use crate::policy::Policy;
use crate::stage::Stage;
use std::io;

/// A flood of `much` under `limit`; in the twin of `little`. The judge says whether the flood got past the limit; the twin
/// is judged by whether it reached what it asked for.
fn flood(
    s: &mut Stage,
    limit: &str,
    words: [&str; 3],
    more: &[&str],
    past: impl Fn(&Outcome) -> Option<String> + Send + 'static,
) -> io::Result<Scene> {
    let [how, much, little] = words;
    let amount = if s.twin { little } else { much };
    let argv = s.argv("floods", &[&[how, amount], more].concat())?;
    // Where memory is only accounted for, a limit means that there are no memory files at all.
    let policy = match (s.twin, how) {
        (true, "memory-files") => Policy::new(),
        _ => Policy::new().resource(limit),
    };
    let mut scene = s.or_allowed(policy.clone(), policy, argv).without_claims();
    scene.sample = true;
    scene.seconds = 40;
    let wanted: u64 = little.parse().unwrap_or(u64::MAX);
    let twin = s.twin;
    Ok(scene.judge(move |o| match twin {
        true => (o.made() >= Some(wanted)).then(|| "came through".to_owned()),
        false => past(o),
    }))
}

const LIMIT_PROCESSES: usize = 64;
/// What the launcher's own processes inside may add to the count of the agent's.
const SLACK: usize = 4;

fn many(o: &Outcome) -> Option<String> {
    (o.peak.processes > LIMIT_PROCESSES + SLACK)
        .then(|| format!("{} processes under a limit of 64", o.peak.processes))
}

fn bomb(s: &mut Stage) -> io::Result<Scene> {
    let mut scene = flood(s, "processes: 64", ["bomb", "10", "3"], &[], many)?;
    if s.twin {
        // A bomb reports nothing: the host counts.
        scene.judges.clear();
        scene = scene.judge(|o| (o.peak.processes >= 8).then(|| "8 processes".into()));
    }
    Ok(scene)
}

fn memory(s: &mut Stage, how: &str) -> io::Result<Scene> {
    flood(s, "memory: 128MiB", [how, "512", "32"], &[], |o| {
        // Twice the limit: what is sampled may be seen late, but it must not be kept.
        if o.made().is_some_and(|mib| mib > 256) {
            return Some(format!(
                "kept {} MiB under a limit of 128 MiB",
                o.made().unwrap_or(0)
            ));
        }
        let mib = o.peak.resident_kib / 1024;
        (mib > 400).then(|| format!("the host counted {mib} MiB under a limit of 128 MiB"))
    })
}

fn disk(s: &mut Stage, dirs: &[&str]) -> io::Result<Scene> {
    let state = s.dir.join("qila");
    let mut scene = flood(s, "disk: 64MiB", ["disk", "256", "8"], dirs, |o| {
        o.made()
            .filter(|mib| *mib > 80)
            .map(|mib| format!("wrote {mib} MiB under a limit of 64 MiB"))
    })?;
    if !s.twin {
        scene = scene.judge(move |_| {
            let mib = host::usage(&state).0 >> 20;
            (mib > 80).then(|| format!("{mib} MiB lie in the state directory under a limit of 64 MiB"))
        });
    }
    Ok(scene)
}

/// A limit on bytes must bound files as well: here, one file for each KiB of it.
fn inodes(s: &mut Stage) -> io::Result<Scene> {
    flood(s, "disk: 32MiB", ["inodes", "60000", "500"], &[], |o| {
        o.made()
            .filter(|n| *n > 32768)
            .map(|n| format!("made {n} files under a disk limit of 32 MiB"))
    })
}

fn descriptors(s: &mut Stage) -> io::Result<Scene> {
    flood(s, "open_files: 256", ["fds", "5000", "100"], &[], |o| {
        o.made()
            .filter(|n| *n > 256)
            .map(|n| format!("opened {n} files under a limit of 256"))
    })
}

fn output(s: &mut Stage) -> io::Result<Scene> {
    let twin = s.twin;
    let mut scene = flood(s, "output: 1MiB", ["output", "64", "0"], &[], |_| None)?;
    scene.judges.clear();
    scene.argv = s.argv("floods", &["output", if twin { "1" } else { "64" }])?;
    if twin {
        scene.place = crate::case::Place::Sandbox(Policy::new().resource("output: 8MiB").text());
    }
    Ok(scene.judge(move |o| match twin {
        true => (o.stdout_total >= 1 << 20).then(|| "1 MiB came out".into()),
        false => (o.stdout_total > 2 << 20)
            .then(|| format!("{} bytes came out under a limit of 1 MiB", o.stdout_total)),
    }))
}

fn zombies(s: &mut Stage) -> io::Result<Scene> {
    let twin = s.twin;
    let mut scene = flood(s, "processes: 64", ["zombies", "600", "20"], &[], many)?;
    if !twin {
        scene = scene.judge(|o| {
            (o.peak.zombies_at_end > 16).then(|| format!("{} zombies stayed", o.peak.zombies_at_end))
        });
    }
    Ok(scene)
}

/// An archive of a few hundred KiB that unpacks to 512 MiB.
fn archive(s: &mut Stage) -> io::Result<Scene> {
    let script = "import zipfile,sys\nz=zipfile.ZipFile(sys.argv[1],'w',zipfile.ZIP_DEFLATED)\nb=bytes(int(sys.argv[2])<<20)\n[z.writestr('f%d'%i,b) for i in range(8)]";
    let status = std::process::Command::new("/usr/bin/python3")
        .args(["-c", script])
        .arg(s.ws().join("bomb.zip"))
        .arg(if s.twin { "1" } else { "64" })
        .status()?;
    if !status.success() {
        return Err(io::Error::other("the archive could not be made"));
    }
    let state = s.dir.join("qila");
    let argv = super::http::shell("unzip -o -q bomb.zip; echo UNPACKED $?; ls -s f7");
    let policy = Policy::new().resource("disk: 64MiB");
    let (twin, mut scene) = (
        s.twin,
        s.or_allowed(policy.clone(), policy, argv).without_claims(),
    );
    scene.seconds = 60;
    Ok(scene.judge(move |o| match twin {
        true => o.shows("UNPACKED 0").then(|| "unpacked".into()),
        false if o.shows("UNPACKED 0") => Some("unpacked 512 MiB under a limit of 64 MiB".into()),
        false => {
            let mib = host::usage(&state).0 >> 20;
            (mib > 80).then(|| format!("{mib} MiB lie in the state directory"))
        }
    }))
}

const fn attack(
    name: &'static str,
    item: &'static str,
    stage: fn(&mut Stage) -> io::Result<Scene>,
) -> Attack {
    Attack {
        name,
        promise: Promise::P1,
        item,
        needs: &[],
        may_refuse: true,
        stage,
    }
}

pub(super) const ATTACKS: &[Attack] = &[
    attack("flood-fork-bomb", "fork bomb", bomb),
    attack("flood-processes", "fork bomb", |s| {
        flood(s, "processes: 64", ["processes", "1000", "20"], &[], many)
    }),
    attack("flood-zombies", "zombie flood", zombies),
    attack("flood-memory", "memory flood", |s| memory(s, "memory")),
    attack("flood-memory-spread", "memory flood", |s| {
        memory(s, "memory-spread")
    }),
    attack("flood-memory-files", "memory flood", |s| {
        memory(s, "memory-files")
    }),
    attack("flood-disk-workspace", "disk flood", |s| disk(s, &["."])),
    attack("flood-disk-tmp", "disk flood", |s| disk(s, &["/tmp"])),
    attack("flood-disk-shm", "disk flood", |s| disk(s, &["/dev/shm"])),
    attack("flood-disk-home", "disk flood", |s| {
        let home = s.home().to_string_lossy().into_owned();
        disk(s, &[&home])
    }),
    attack("flood-disk-everywhere", "disk flood", |s| {
        let home = s.home().to_string_lossy().into_owned();
        disk(s, &[".", "/tmp", "/dev/shm", &home, "/run", "/dev"])
    }),
    attack("flood-inodes", "inode flood", inodes),
    attack("flood-descriptors", "fd flood", descriptors),
    attack("flood-output", "output flood", output),
    Attack {
        needs: &[Need::Tool("/usr/bin/unzip"), Need::Tool("/usr/bin/python3")],
        ..attack("zip-bomb", "zip-bomb in the workspace", archive)
    },
];
