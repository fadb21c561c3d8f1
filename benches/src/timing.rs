//! Whole-process timing: from before the process is made until after it has been waited for.
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::stats::Samples;

/// A command line that can be run again and again.
#[derive(Debug, Clone)]
pub struct Program {
    /// What the tables call it.
    pub name: &'static str,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Variables added to the environment.
    pub variables: Vec<(String, String)>,
    /// Where it runs.
    pub folder: PathBuf,
}

/// A measured program that failed; a timing of a failure is worth nothing.
#[derive(Debug, thiserror::Error)]
#[error("`{line}` ended with {status}: {message}")]
pub struct Failed {
    line: String,
    status: String,
    message: String,
}

impl Program {
    /// A program to be run in that folder.
    pub fn new<S: Into<String>>(
        name: &'static str,
        folder: impl Into<PathBuf>,
        words: impl IntoIterator<Item = S>,
    ) -> Program {
        let words = words.into_iter().map(Into::into).collect();
        Program {
            name,
            words,
            variables: Vec::new(),
            folder: folder.into(),
        }
    }

    /// The command, not yet started.
    pub fn command(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command.args(words).current_dir(&self.folder).stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it once and returns milliseconds. The standard library uses `posix_spawn` or `vfork` semantics here, so
    /// the size of this process does not show in the figure.
    pub fn time(&self) -> Result<f64, Failed> {
        let mut command = self.command();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        let status = command.status();
        let taken = start.elapsed();
        match status {
            Ok(status) if status.success() => Ok(taken.as_secs_f64() * 1e3),
            Ok(status) => Err(self.failed(status.to_string(), self.last_words())),
            Err(error) => Err(self.failed("no start".to_owned(), error.to_string())),
        }
    }

    /// Runs it once and returns the number that it prints: what the program itself measured.
    pub fn printed(&self) -> Result<f64, Failed> {
        let output = self
            .command()
            .output()
            .map_err(|error| self.failed("no start".to_owned(), error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let number = text.lines().rev().find_map(|line| line.trim().parse().ok());
        match number {
            Some(number) if output.status.success() => Ok(number),
            _ => Err(self.failed(output.status.to_string(), last_line(&output.stderr))),
        }
    }

    fn last_words(&self) -> String {
        self.command()
            .output()
            .map(|output| last_line(&output.stderr))
            .unwrap_or_default()
    }

    fn failed(&self, status: String, message: String) -> Failed {
        let mut line = self.words.join(" ");
        line.truncate(
            line.char_indices()
                .nth(160)
                .map_or(line.len(), |(index, _)| index),
        );
        Failed {
            line,
            status,
            message,
        }
    }
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no message")
        .chars()
        .take(200)
        .collect()
}

/// Runs the programs in turn, A B C, B C A, C A B …, so that none always follows the same one, and returns each one's samples or why it dropped out.
///
/// A program that fails in the warm-up drops out and does not disturb the rest.
pub fn interleave(
    programs: &[Program],
    runs: usize,
    once: impl Fn(&Program) -> Result<f64, Failed>,
) -> Vec<Result<Samples, String>> {
    const WARM_UP: usize = 3;
    let mut results: Vec<Result<Samples, String>> = programs.iter().map(|_| Ok(Samples::default())).collect();
    for round in 0..runs + WARM_UP.min(runs) {
        for turn in 0..programs.len() {
            let place = (round + turn) % programs.len();
            let (Some(program), Some(result)) = (programs.get(place), results.get_mut(place)) else {
                continue;
            };
            let Ok(samples) = result else { continue };
            match once(program) {
                Ok(_) if round < WARM_UP.min(runs) => {}
                Ok(value) => samples.0.push(value),
                Err(error) => *result = Err(error.to_string()),
            }
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_drops_out_and_the_rest_go_on() {
        let good = Program::new("good", "/", ["true"]);
        let bad = Program::new("bad", "/", ["sh", "-c", "echo no way >&2; exit 3"]);
        let results = interleave(&[good, bad], 4, Program::time);
        assert_eq!(results[0].as_ref().expect("runs").0.len(), 4);
        let reason = results[1].as_ref().expect_err("fails");
        assert!(
            reason.contains("exit status: 3") && reason.contains("no way"),
            "{reason}"
        );
    }

    #[test]
    fn nobody_always_follows_the_same_program() {
        let programs = ["a", "b", "c"].map(|name| Program::new(name, "/", ["true"]));
        let order = std::cell::RefCell::new(String::new());
        interleave(&programs, 1, |program| {
            order.borrow_mut().push_str(program.name);
            Ok(1.0)
        });
        assert_eq!(order.into_inner(), "abcbca");
    }

    #[test]
    fn the_printed_number_is_the_last_one() {
        let program = Program::new("x", "/", ["sh", "-c", "echo hello; echo 2.5; echo done"]);
        assert_eq!(program.printed().expect("prints"), 2.5);
        assert!(Program::new("x", "/", ["true"]).printed().is_err());
    }
}
