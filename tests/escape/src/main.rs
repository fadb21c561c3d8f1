//! Runs the attacks and prints what came of them.
#![forbid(unsafe_code)]
use qila_escape::case::Attack;
use qila_escape::compile::Programs;
use qila_escape::matrix::{Row, Verdict, run_all};
use qila_escape::stage::Context;
use qila_escape::target::{BY_NAME, TIERS, Target, find_qila};
use qila_escape::user::{User, own_uid};
use qila_escape::world::{World, enter};
use qila_escape::{canary, host, table};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const USAGE: &str = "usage: qila-escape [--target qila|bwrap (as `user` only)] [--tier T] [--user root|user] [--only TEXT] [--jobs N] [--markdown FILE] [--list]";

#[derive(Default)]
struct Options {
    bwrap: bool,
    tier: Option<String>,
    user: Option<String>,
    only: Vec<String>,
    jobs: usize,
    list: bool,
    markdown: Option<PathBuf>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        // Most of an attack is waiting.
        jobs: std::thread::available_parallelism().map_or(2, |n| (n.get() * 3).min(8)),
        ..Options::default()
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--target" => options.bwrap = value()? == "bwrap",
            "--tier" => options.tier = Some(value()?),
            "--user" => options.user = Some(value()?),
            "--only" => options.only.push(value()?),
            "--jobs" => options.jobs = value()?.parse().map_err(|_| USAGE.to_owned())?,
            "--markdown" => options.markdown = Some(PathBuf::from(value()?)),
            "--list" => options.list = true,
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

/// A copy of the command, and of what lies beside it under its name, that the suite may let be attacked.
fn copied(bin: &Path, to: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(bin.parent().unwrap_or(Path::new(".")))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let program = entry
            .metadata()
            .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        if program && name.starts_with("qila") && !name.starts_with("qila-escape") {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    let name = bin.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(to.join(name))
}

fn word(verdict: &Verdict, good: &str, bad: &str) -> String {
    match verdict {
        Verdict::Good => good.to_owned(),
        Verdict::Bad(_) => bad.to_owned(),
        Verdict::Refused(_) => "refused".to_owned(),
        Verdict::Known(_) => "known".to_owned(),
        Verdict::Untried(_) => "UNTRIED".to_owned(),
        Verdict::Skipped(_) => "skipped".to_owned(),
    }
}

fn show(row: &Row) {
    let (attack, twin) = (
        word(&row.attack, "held", "BROKEN"),
        word(&row.twin, "works", "DEAD"),
    );
    println!(
        "{:<36} {:<3} {:<10} {:<5} {:<8} {:<8}",
        row.name, row.promise, row.target, row.user, attack, twin
    );
    for (half, verdict) in [("attack", &row.attack), ("twin", &row.twin)] {
        match verdict {
            Verdict::Bad(why) | Verdict::Refused(why) | Verdict::Untried(why) | Verdict::Known(why) => {
                println!("    {half}: {why}");
            }
            // At the start of a line, where `test.sh` counts them.
            Verdict::Skipped(why) if half == "attack" => {
                println!("skipped: {} ({}, {}): {why}", row.name, row.target, row.user);
            }
            _ => {}
        }
    }
}

/// The last lines: counts, and whether all is well.
fn summary(rows: &[Row], left: &[String]) -> bool {
    let count = |pick: fn(&Row) -> &Verdict, want: fn(&Verdict) -> bool| {
        rows.iter().filter(|r| want(pick(r))).count()
    };
    let attack: fn(&Row) -> &Verdict = |r| &r.attack;
    let twin: fn(&Row) -> &Verdict = |r| &r.twin;
    let good: fn(&Verdict) -> bool = |v| *v == Verdict::Good;
    let bad: fn(&Verdict) -> bool = |v| matches!(v, Verdict::Bad(_));
    let refused: fn(&Verdict) -> bool = |v| matches!(v, Verdict::Refused(_));
    let skipped: fn(&Verdict) -> bool = |v| matches!(v, Verdict::Skipped(_));
    let mut names: Vec<_> = rows.iter().map(|r| r.name).collect();
    names.sort_unstable();
    names.dedup();
    let untried: fn(&Verdict) -> bool = |v| matches!(v, Verdict::Untried(_));
    let known: fn(&Verdict) -> bool = |v| matches!(v, Verdict::Known(_));
    let (broken, dead) = (count(attack, bad), count(twin, untried));
    let untried = count(attack, untried);
    println!();
    println!(
        "{} attacks, {} rows: {} held, {broken} broken, {untried} not tried, {} known breaches, {} refused by clause, {} skipped",
        names.len(),
        rows.len(),
        count(attack, good),
        count(attack, known),
        count(attack, refused),
        count(attack, skipped)
    );
    println!(
        "twins: {} work, {dead} dead, {} refused by clause, {} skipped",
        count(twin, good),
        count(twin, refused),
        count(twin, skipped)
    );
    left.iter().for_each(|trace| println!("left behind: {trace}"));
    broken == 0 && untried == 0 && dead == 0 && left.is_empty()
}

fn targets(options: &Options, scratch: &Path, user: User) -> io::Result<Vec<Target>> {
    if options.bwrap {
        return Ok(vec![Target::Bwrap]);
    }
    let Some(found) = find_qila() else {
        return Ok(Vec::new());
    };
    let bin = copied(&found, &scratch.join(format!("bin-{}", user.name())))?;
    let wanted = |tier: &&&str| options.tier.as_deref().is_none_or(|t| t == **tier);
    let named = |tier: &&&str| options.tier.as_deref() == Some(**tier);
    Ok(TIERS
        .iter()
        .filter(wanted)
        .chain(BY_NAME.iter().filter(named))
        .map(|&tier| Target::Qila {
            bin: bin.clone(),
            tier,
        })
        .collect())
}

fn all(options: &Options) -> io::Result<bool> {
    enter()?;
    let scratch = std::env::var_os("ESCAPE_SCRATCH").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let scratch = scratch.join(format!("qila-escape-{}", canary::random(4)?));
    fs::create_dir_all(&scratch)?;
    fs::set_permissions(&scratch, fs::Permissions::from_mode(0o755))?;
    let world = Arc::new(World::open(&scratch)?);
    let programs = Programs::build()?;
    let before = host::traces(&scratch);
    let users = if own_uid() == 0 {
        vec![User::Root, User::Unprivileged]
    } else {
        vec![User::Unprivileged]
    };
    let wanted = |attack: &&'static Attack| {
        options.only.is_empty() || options.only.iter().any(|o| attack.name.contains(o.as_str()))
    };
    let mut work = Vec::new();
    for user in users {
        // Root in a peer that keeps root's rights would change the host's own kernel.
        if options.bwrap && user == User::Root {
            continue;
        }
        if options.user.as_deref().is_some_and(|name| name != user.name()) {
            continue;
        }
        for target in targets(options, &scratch, user)? {
            let cx = Context {
                target,
                user,
                world: world.clone(),
                programs: programs.clone(),
                scratch: scratch.clone(),
            };
            work.extend(table::all().into_iter().filter(wanted).map(|a| (a, cx.clone())));
        }
    }
    if work.is_empty() {
        println!("skipped: no `qila` command; build it, or name it in QILA_BIN");
        return Ok(true);
    }
    println!(
        "{:<36} {:<3} {:<10} {:<5} {:<8} {:<8}",
        "attack", "of", "target", "user", "attack", "twin"
    );
    let rows = run_all(work, options.jobs, show);
    let mut left = host::traces(&scratch);
    left.retain(|trace| !before.contains(trace));
    if !left.is_empty() {
        // A sandbox of somebody else's may have been at work just now: what stays is what is left behind.
        std::thread::sleep(Duration::from_secs(5));
        let still = host::traces(&scratch);
        left.retain(|trace| still.contains(trace));
    }
    if let Some(path) = &options.markdown {
        fs::write(path, qila_escape::markdown::table(&rows))?;
    }
    if std::env::var_os("ESCAPE_KEEP").is_none() {
        let _ = fs::remove_dir_all(&scratch);
    }
    Ok(summary(&rows, &left))
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    if options.list {
        table::all()
            .iter()
            .for_each(|a| println!("{:<36} {:?} {}", a.name, a.promise, a.item));
        return ExitCode::SUCCESS;
    }
    match all(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the suite could not run: {error}");
            ExitCode::from(3)
        }
    }
}
