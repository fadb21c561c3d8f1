//! `cargo xtask test`: every test, as root and as an unprivileged user, with skips counted.
mod binaries;
mod collect;
mod unprivileged;

use std::path::PathBuf;
use std::process::Command;

use crate::error::Error;
use crate::metadata::Metadata;
use crate::tables::{STAGES, UNIT_LIMIT, UNPRIVILEGED};
use crate::{shell, tree};
use binaries::TestBinary;
use collect::{Collector, Tally};
use unprivileged::Account;

/// Builds everything, runs every pass, and ends with the count of all of them.
pub fn run(arguments: &[String]) -> Result<bool, Error> {
    if let Some(option) = arguments.iter().find(|word| word.starts_with('-')) {
        return Err(Error::Usage(format!("`test` knows no option `{option}`")));
    }
    let metadata = Metadata::read()?;
    let mut binaries = binaries::build(&metadata, arguments)?;
    // Only the stages run the release build; it takes minutes.
    let qila = match binaries.iter().any(|binary| stage(&binary.package).is_some()) {
        true => tree::release_qila(&metadata)?,
        false => None,
    };
    // The stages that judge the whole come after the parts that they judge.
    binaries.sort_by_key(|binary| stage(&binary.package).unwrap_or(0));
    let logs = metadata.target_folder.join("xtask-test");
    shell::make_folder(&logs)?;
    let session = Session { qila, logs };

    let mut total = Tally::default();
    let user = if shell::is_root() { "root" } else { "unprivileged" };
    for binary in &binaries {
        total.add(session.one(binary, user, None)?);
    }
    if arguments.is_empty() {
        total.add(session.doctests(user)?);
    }
    if shell::is_root() {
        session.unprivileged(&binaries, &mut total)?;
    } else {
        total.skip("every test as root: this user is not root");
    }
    print!("{total}");
    Ok(total.failed == 0)
}

/// The place of a package among the stages, from 1.
fn stage(package: &str) -> Option<usize> {
    STAGES
        .iter()
        .position(|(name, _)| *name == package)
        .map(|place| place + 1)
}

/// What all passes share.
struct Session {
    qila: Option<PathBuf>,
    logs: PathBuf,
}

impl Session {
    fn unprivileged(&self, binaries: &[TestBinary], total: &mut Tally) -> Result<(), Error> {
        let chosen = binaries
            .iter()
            .filter(|binary| UNPRIVILEGED.contains(&binary.package.as_str()));
        let account = match Account::open()? {
            Ok(account) => account,
            Err(reason) => {
                total.skip(&format!("every test as an unprivileged user: {reason}"));
                return Ok(());
            }
        };
        for binary in chosen {
            if account.can_run(&binary.executable) {
                total.add(self.one(binary, "unprivileged", Some(&account))?);
            } else {
                let name = binary.title();
                total.skip(&format!(
                    "{name} as an unprivileged user: that user cannot reach the build folder"
                ));
            }
        }
        Ok(())
    }

    fn one(&self, binary: &TestBinary, user: &str, account: Option<&Account>) -> Result<Tally, Error> {
        let limit = STAGES
            .iter()
            .find(|(name, _)| *name == binary.package)
            .map_or(UNIT_LIMIT, |(_, limit)| *limit);
        let mut command = limited(limit);
        match account {
            Some(account) => account.wrap(&mut command, &binary.executable),
            None => drop(command.arg(&binary.executable)),
        }
        binary.prepare(&mut command);
        command.arg("--show-output");
        self.judge(command, &binary.title(), user)
    }

    fn doctests(&self, user: &str) -> Result<Tally, Error> {
        let mut command = limited(UNIT_LIMIT);
        command
            .args(["cargo", "test", "--workspace", "--doc", "--quiet"])
            .current_dir(tree::root());
        self.judge(command, "documentation", user)
    }

    /// Runs one test program, keeps its output, shows it when it fails, and counts.
    fn judge(&self, mut command: Command, title: &str, user: &str) -> Result<Tally, Error> {
        if let Some(qila) = &self.qila {
            command.env("QILA_BIN", qila);
        }
        let mut output = Vec::new();
        let mut collector = Collector::new(&format!("{title} ({user})"));
        let start = std::time::Instant::now();
        let status = shell::lines(&mut command, |line| {
            collector.line(line);
            output.push(line.to_owned());
        })?;
        let tally = collector.finish(status.success(), status.code() == Some(TIMED_OUT));
        let log = self
            .logs
            .join(format!("{}-{user}.log", title.replace(['/', ' '], "-")));
        std::fs::write(&log, output.join("\n")).map_err(Error::file("write", &log))?;
        println!(
            "{title} ({user}): {}, {:.1} s",
            tally.counts(),
            start.elapsed().as_secs_f32()
        );
        if tally.failed > 0 {
            output.iter().for_each(|line| println!("    {line}"));
            println!("    (kept in {})", log.display());
        }
        Ok(tally)
    }
}

/// What `timeout` answers when the time was up.
const TIMED_OUT: i32 = 124;

/// The start of a command under a time limit: a test that hangs is a failure, and not a stopped CI.
fn limited(seconds: u64) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", &seconds.to_string()]);
    command
}
