//! The small project with a failing test, and the fix.
use crate::host::fixtures;
use std::path::Path;
use std::process::Command;

/// What the agents are asked.
pub const TASK: &str = "The test suite of this project fails. Run it, mend ledger.py, and run it again.";
/// Runs the project's tests; leaves no compiled files behind.
pub const RUN_TESTS: &str = "python3 -B -m unittest 2>&1";
/// The file to be mended.
pub const FILE: &str = "ledger.py";
/// The wrong line.
pub const WRONG: &str = "    return [share] * people";
/// The right one.
pub const RIGHT: &str = "    return [share + (i < total % people) for i in range(people)]";

/// Copies the project to `to`, which must not exist yet.
pub fn copy(to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(fixtures().join("project")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// The wrong line's replacement as a shell command.
pub fn fix_command() -> String {
    let escape = |s: &str| s.replace('[', r"\[").replace(']', r"\]").replace('*', r"\*");
    format!("sed -i 's/^{}$/{RIGHT}/' {FILE} && cat {FILE}", escape(WRONG))
}

/// Whether the project's tests pass, run on the host and outside any sandbox.
pub fn passes(dir: &Path) -> bool {
    let mut command = Command::new("/usr/bin/python3");
    let output = command
        .args(["-B", "-m", "unittest"])
        .current_dir(dir)
        .output()
        .unwrap();
    output.status.success()
}

/// Whether exactly the fix was made: every other file is as it was, none came and none went.
pub fn fixed_and_nothing_else(dir: &Path) -> Result<(), String> {
    let names = |d: &Path| {
        let all = std::fs::read_dir(d)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    };
    let original = fixtures().join("project");
    let (was, is) = (names(&original), names(dir));
    if was != is {
        return Err(format!("files were {was:?} and are {is:?}"));
    }
    for name in was {
        let mut expected = std::fs::read_to_string(original.join(&name)).unwrap();
        if name == FILE {
            expected = expected.replace(WRONG, RIGHT);
        }
        if std::fs::read_to_string(dir.join(&name)).unwrap() != expected {
            return Err(format!("{name} is not as expected"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fails_before_the_fix_and_passes_after_it() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("project");
        copy(&dir);
        assert!(!passes(&dir));
        assert!(fixed_and_nothing_else(&dir).is_err());
        let status = Command::new("sh")
            .args(["-c", &fix_command()])
            .current_dir(&dir)
            .output()
            .unwrap()
            .status;
        assert!(status.success());
        assert!(passes(&dir));
        fixed_and_nothing_else(&dir).unwrap();
        std::fs::write(dir.join("extra"), "").unwrap();
        assert!(fixed_and_nothing_else(&dir).is_err());
    }
}
