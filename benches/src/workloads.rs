//! Real work inside a sandbox ÷ the same work outside, timed by the same stop-watch.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::bulk::own_copy;
use crate::qila::{Qila, policy};
use crate::report::{Missing, Row, Target};
use crate::scratch::{Scratch, find};
use crate::stats::Ratio;
use crate::timing::{Program, interleave};

/// Files of the repository that `git status` looks at.
const FILES: usize = 20_000;
/// Tests that pytest runs.
const TESTS: usize = 500;

/// A prepared workspace, the command to run in it, and the host paths that it reads besides the system's.
struct Work {
    folder: PathBuf,
    command: Vec<String>,
    read: Vec<String>,
    /// Whether it can be run twice in one sandbox and do the same again.
    repeats: bool,
}

type Prepare = fn(&Scratch) -> Result<Work, String>;

const WORK: &[(&str, Prepare)] = &[
    ("`git status` on 20,000 files", git),
    ("`cargo build` of a small crate", cargo),
    ("pytest of 500 tests", pytest),
];

/// Measures every workload: the work alone, which is judged, and the whole process, for comparison.
pub fn rows(scratch: &Scratch, qila: &Result<Qila, Missing>, runs: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, prepare) in WORK {
        let title = format!("{name}, inside ÷ outside");
        let target = Target::AtMost(1.03);
        match qila
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|qila| Ok((qila, prepare(scratch).map_err(Missing::Absent)?)))
            .and_then(|(qila, work)| Ok(measure(scratch, qila, &work, runs)?))
        {
            Ok(Compares { work, whole, again }) => {
                rows.push(Row::ratio(&title, target, &work.0, work.1));
                rows.push(Row::ratio(
                    format!("{title}, start included"),
                    Target::None,
                    &whole.0,
                    whole.1,
                ));
                // A new layer knows no file yet: the first look at each costs, the second does not.
                rows.extend(again.map(|again| {
                    let title = format!("{title}, a second time in the same sandbox");
                    Row::ratio(title, Target::None, &again.0, again.1)
                }));
            }
            Err(missing) => rows.push(Row::without(title, target, "×", missing)),
        }
    }
    rows
}

type Compared = (Ratio, serde_json::Value);

type Once = fn(&Program) -> Result<f64, crate::timing::Failed>;

/// The comparisons of one workload.
struct Compares {
    /// The work alone, timed inside.
    work: Compared,
    /// The whole process, start included.
    whole: Compared,
    /// The work alone, the second time.
    again: Option<Compared>,
}

fn measure(scratch: &Scratch, qila: &Qila, work: &Work, runs: usize) -> Result<Compares, String> {
    let watch = own_copy(&work.folder)?;
    let read = json!(work.read);
    let text = format!(
        "version: 1\nextends: offline\nresources: {{processes: 512}}\nfilesystem: {{read: {read}}}\n"
    );
    let policy = policy(scratch, "workload", &text)?;
    let compare = |how: &str, once: Once| -> Result<Compared, String> {
        let mut words = vec![watch.as_str(), how];
        words.extend(work.command.iter().map(String::as_str));
        let options = ["--policy", &policy, "--isolation", "container"];
        let inside = qila.run("inside", &work.folder, &options, &words);
        let outside = Program::new("outside", &work.folder, words);
        let mut measured = interleave(&[inside, outside], runs, |program| {
            // Outside, what the last run left would make this one shorter; inside, the layer is new each time.
            drop(std::fs::remove_dir_all(work.folder.join("target")));
            once(program)
        })
        .into_iter();
        let ours = measured.next().ok_or("not measured")??;
        let theirs = measured.next().ok_or("not measured")??;
        let ratio = Ratio::new(&ours, &theirs);
        let detail =
            json!({"inside_ms": ours.summary(), "outside_ms": theirs.summary(), "ratio": ratio.summary()});
        Ok((ratio, detail))
    };
    let again = work
        .repeats
        .then(|| compare("again", Program::printed))
        .transpose()?;
    Ok(Compares {
        work: compare("timed", Program::printed)?,
        whole: compare("timed", Program::time)?,
        again,
    })
}

fn git(scratch: &Scratch) -> Result<Work, String> {
    let folder = scratch.sub("git")?;
    for index in 0..FILES {
        let path = folder.join(format!("d{:03}/f{index}.txt", index % 200));
        write(&path, &format!("file {index}\n"))?;
    }
    let quiet = [
        "-c",
        "user.name=bench",
        "-c",
        "user.email=bench@qila.test",
        "-c",
        "gc.auto=0",
    ];
    for words in [
        &["init", "-q"][..],
        &["add", "-A"],
        &["commit", "-q", "-m", "files"],
        &["status"],
    ] {
        let words: Vec<&str> = std::iter::once("git")
            .chain(quiet)
            .chain(words.iter().copied())
            .collect();
        run(&folder, &words)?;
    }
    let command = ["git", "--no-optional-locks", "status", "--porcelain"];
    Ok(Work {
        folder,
        command: command.map(str::to_owned).to_vec(),
        read: Vec::new(),
        repeats: true,
    })
}

fn cargo(scratch: &Scratch) -> Result<Work, String> {
    let sysroot = run(&scratch.folder, &["rustc", "--print", "sysroot"])?;
    let folder = scratch.sub("crate")?;
    // A workspace of its own, whatever lies above the scratch folder.
    write(
        &folder.join("Cargo.toml"),
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    )?;
    let mut text = String::new();
    for index in 0..300 {
        text += &format!(
            "#[derive(Debug, Clone, PartialEq, Default)]\npub struct S{index} {{ pub a: Vec<u64>, pub b: String }}\n"
        );
        text += &format!(
            "impl S{index} {{ pub fn sum(&self) -> u64 {{ self.a.iter().map(|x| x * {index}).sum() }} }}\n"
        );
    }
    write(&folder.join("src/lib.rs"), &text)?;
    let script = format!(
        "CARGO_HOME=$PWD/.cargo-home RUSTC={sysroot}/bin/rustc exec {sysroot}/bin/cargo build -q --offline --target-dir target"
    );
    Ok(Work {
        folder,
        command: ["sh", "-c", &script].map(str::to_owned).to_vec(),
        read: vec![sysroot],
        repeats: false,
    })
}

fn pytest(scratch: &Scratch) -> Result<Work, String> {
    let probe = "import sys, pytest; print(sys.executable); print(sys.base_prefix); print(sys.prefix)";
    let folder = scratch.sub("pytest")?;
    let pythons = ["/usr/bin/python3".into(), find("python3").unwrap_or_default()];
    let found = pythons
        .iter()
        .find_map(|python: &PathBuf| run(&folder, &[&python.display().to_string(), "-c", probe]).ok());
    let found = found.ok_or("no python3 with pytest (python3-pytest)")?;
    let mut lines = found.lines();
    let python = lines.next().unwrap_or_default().to_owned();
    let read = lines
        .filter(|prefix| !prefix.starts_with("/usr"))
        .map(str::to_owned)
        .collect();
    for file in 0..10 {
        let tests = (0..TESTS / 10).map(|index| {
            format!("def test_{index}(tmp_path):\n    (tmp_path / 'x').write_text('{index}')\n    assert (tmp_path / 'x').read_text() == '{index}'\n")
        });
        write(
            &folder.join(format!("test_{file}.py")),
            &tests.collect::<String>(),
        )?;
    }
    let command = [
        &python,
        "-B",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--basetemp=target",
    ];
    Ok(Work {
        folder,
        command: command.map(str::to_owned).to_vec(),
        read,
        repeats: false,
    })
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

fn run(folder: &Path, words: &[&str]) -> Result<String, String> {
    let (program, rest) = words.split_first().ok_or("no command")?;
    let output = Command::new(program)
        .args(rest)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => Err(format!("`{}` ended with {}", words.join(" "), output.status)),
        Err(error) => Err(format!("cannot start `{program}`: {error}")),
    }
}
