//! What a person, and `git apply`, see of a layer.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test program: a panic is its verdict"
)]
mod common;
use common::{Bed, whiteout};
use qila_workspace::{Limits, Style, write_diff};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

fn text(bed: &Bed) -> String {
    String::from_utf8(bed.diff(Style::default())).unwrap()
}

#[test]
fn a_change_is_shown_with_context_as_a_unified_diff() {
    let lines = |n: u32| (1..=n).map(|i| format!("{i}\n")).collect::<String>();
    let bed = Bed::new(&[("d/f", &lines(20))]);
    bed.agent("d/f", lines(20).replace("\n10\n", "\nten\n"));
    let expected = "diff --git a/d/f b/d/f\n--- a/d/f\n+++ b/d/f\n@@ -7,7 +7,7 @@\n 7\n 8\n 9\n-10\n+ten\n 11\n 12\n 13\n";
    assert_eq!(text(&bed), expected);
    assert_eq!(
        bed.stat(),
        " d/f |     2 +-\n 1 changed, 1 insertions(+), 1 deletions(-)\n"
    );
}

#[test]
fn new_removed_binary_and_unfinished_lines_are_shown() {
    let bed = Bed::new(&[("gone", "a\nb"), ("bin", "\0\0"), ("mode", "x\n")]);
    bed.agent("new", "x\n");
    bed.agent("empty", "");
    bed.agent("bin", b"\0\0\0");
    bed.agent("mode", "x\n");
    fs::set_permissions(bed.upper.join("mode"), fs::Permissions::from_mode(0o755)).unwrap();
    whiteout(&bed.upper.join("gone"));
    symlink("new", bed.upper.join("link")).unwrap();
    fs::create_dir(bed.upper.join("dir")).unwrap();
    let shown = text(&bed);
    for part in [
        "new file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+x\n",
        "deleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n\\ No newline at end of file\n",
        "Binary files a/bin and b/bin differ (2 bytes -> 3 bytes)\n",
        "old mode 100644\nnew mode 100755\n",
        "new file mode 120000\n--- /dev/null\n+++ b/link\n@@ -0,0 +1 @@\n+new\n\\ No newline at end of file\n",
        "# new directory dir\n",
        "diff --git a/empty b/empty\nnew file mode 100644\n",
    ] {
        assert!(shown.contains(part), "{part}\n---\n{shown}");
    }
    let stat = bed.stat();
    assert!(
        stat.contains("Bin 2 bytes -> 3 bytes") && stat.contains("mode 644 -> 755"),
        "{stat}"
    );
    assert!(
        stat.ends_with(" 7 changed, 2 insertions(+), 2 deletions(-)\n"),
        "{stat}"
    );
}

#[test]
fn content_is_escaped_for_a_terminal_and_raw_for_a_patch() {
    let bed = Bed::new(&[]);
    bed.agent("f", b"\x1b[31mred\r\n\xff\tok\n\xe2\x80\xaetfel\n");
    let shown = bed.diff(Style {
        escape_content: true,
        color: false,
    });
    let shown = String::from_utf8(shown).unwrap();
    assert!(
        shown.contains("+\\u{1b}[31mred\\r\n+\\xff\tok\n+\\u{202e}tfel\n"),
        "{shown}"
    );
    assert!(bed.diff(Style::default()).windows(4).any(|w| w == b"\x1b[31"));
    let colored = String::from_utf8(bed.diff(Style::TERMINAL)).unwrap();
    assert!(
        colored.contains("\x1b[32m+\\u{1b}[31mred\\r\x1b[m\n"),
        "{colored:?}"
    );
}

#[test]
fn risky_paths_are_marked() {
    let bed = Bed::new(&[]);
    bed.agent(".vscode/tasks.json", "{}\n");
    assert!(text(&bed).contains("# risky: editors run"));
    assert!(bed.stat().contains("risky: editors run") && bed.stat().contains(", 1 risky"));
}

#[test]
fn large_files_and_long_outputs_are_summarised() {
    let bed = Bed::new(&[("large", &"x\n".repeat(600_000))]);
    bed.agent("large", "y\n".repeat(600_000));
    assert!(
        text(&bed).contains("differ (1200000 bytes, too large to show -> 1200000 bytes, too large to show)")
    );
    for i in 0..10 {
        bed.agent(format!("f{i}"), "line\n".repeat(100));
    }
    let run = bed.open().with_limits(Limits {
        diff_output: 1000,
        ..Limits::default()
    });
    let mut out = Vec::new();
    let stat = write_diff(run.layer(), &run.changes().unwrap(), Style::default(), &mut out).unwrap();
    assert!(
        stat.files == 11 && stat.not_shown >= 8 && out.len() < 3000,
        "{stat:?}"
    );
    assert!(String::from_utf8(out).unwrap().contains("more files differ"));
}

#[test]
fn worst_case_texts_end() {
    // Two large texts with no line in common, and many alike lines.
    let side = |s: &str| {
        (0..60_000)
            .map(|i| format!("{s}{}\n", i * 7919 % 60_000))
            .collect::<String>()
    };
    let bed = Bed::new(&[("f", &side("a"))]);
    bed.agent("f", side("b"));
    assert!(bed.stat().contains("60000 insertions(+), 60000 deletions(-)"));
}

#[test]
fn git_applies_the_diff_to_the_same_result() {
    if Command::new("git")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("skipped: git applies the diff: there is no git");
        return;
    }
    let bed = Bed::new(&[
        ("a", "1\n2\n3\n"),
        ("gone", "x\n"),
        ("odd \"name\n", "1\n"),
        ("type", "file\n"),
    ]);
    bed.agent("a", "1\ntwo\n3\n4");
    bed.agent("odd \"name\n", "2\n");
    bed.agent("sub/new", "new\n");
    whiteout(&bed.upper.join("gone"));
    symlink("a", bed.upper.join("type")).unwrap();
    let patch = bed.dir.path().join("patch");
    fs::write(&patch, bed.diff(Style::default())).unwrap();
    let copy = bed.dir.path().join("copy");
    assert!(
        Command::new("cp")
            .arg("-a")
            .args([&bed.work, &copy])
            .status()
            .unwrap()
            .success()
    );
    let git = Command::new("git")
        .arg("apply")
        .arg(&patch)
        .current_dir(&copy)
        .env("GIT_CEILING_DIRECTORIES", bed.dir.path())
        .output()
        .unwrap();
    assert!(git.status.success(), "{}", String::from_utf8_lossy(&git.stderr));
    bed.open().apply(&Default::default()).unwrap();
    let same = Command::new("diff")
        .arg("-r")
        .arg("--no-dereference")
        .args([&bed.work, &copy])
        .output()
        .unwrap();
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
}
