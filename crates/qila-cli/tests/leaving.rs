//! Runs leave nothing behind, however they end.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
use common::{Place, everywhere, out};

#[test]
fn nothing_is_left_behind() {
    everywhere(|place, tier| {
        let mut child = place
            .run("offline", tier, &["sh", "-c", "sleep 100 & sleep 1"])
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(500));
        note_ids(place);
        assert!(child.wait().unwrap().success());
        assert!(
            place.runs().is_empty(),
            "a run that changed nothing keeps nothing: {:?}",
            place.runs()
        );
        assert!(cgroups(place).is_empty(), "{:?}", cgroups(place));
    });
}

/// Cgroups of this place's runs, by the ids noted while they ran.
fn cgroups(place: &Place) -> Vec<String> {
    let args = ["-c", "find /sys/fs/cgroup -maxdepth 6 -type d -name 'qila-*'"];
    let found = std::process::Command::new("sh").args(args).output().unwrap();
    let ids: Vec<String> = std::fs::read_to_string(place.path("ids"))
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    out(&found)
        .lines()
        .filter(|l| ids.iter().any(|id| l.ends_with(id.as_str())))
        .map(str::to_owned)
        .collect()
}

/// Notes the ids of the runs that are going on.
fn note_ids(place: &Place) {
    let ids: Vec<String> = place
        .runs()
        .iter()
        .filter_map(|r| Some(r.file_name()?.to_str()?.to_owned()))
        .collect();
    assert!(!ids.is_empty(), "a run is going on");
    std::fs::write(place.path("ids"), ids.join("\n")).unwrap();
}

#[test]
fn a_run_killed_before_it_had_a_name_is_taken_back() {
    everywhere(|place, tier| {
        assert!(place.sh("offline", tier, "true").status.success());
        for (id, age) in [("01m846s8xapkq1b4ajdz", 60), ("01m846s8xapkq1b4ajd0", 0)] {
            let dir = place.path("state/runs").join(id);
            std::fs::create_dir(&dir).unwrap();
            place.give(&dir);
            let when = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
            std::fs::File::open(&dir).unwrap().set_modified(when).unwrap();
        }
        assert!(place.sh("offline", tier, "true").status.success());
        let left: Vec<_> = place
            .runs()
            .iter()
            .filter_map(|r| r.file_name()?.to_str().map(str::to_owned))
            .collect();
        assert_eq!(
            left,
            ["01m846s8xapkq1b4ajd0"],
            "one being made stays, one left goes"
        );
    });
}

#[test]
fn killing_qila_ends_the_agent() {
    everywhere(|place, tier| {
        let token = format!("{}", 100_000 + std::process::id());
        let mut child = place.run("offline", tier, &["sleep", &token]).spawn().unwrap();
        let sleeping = || {
            let found = std::process::Command::new("pgrep")
                .args(["-x", "-f", &format!("sleep {token}")])
                .output();
            !out(&found.unwrap()).trim().is_empty()
        };
        let until = |wanted: bool| {
            (0..100).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(50));
                sleeping() == wanted
            })
        };
        assert!(until(true), "the agent never started");
        note_ids(place);
        // Through setpriv the child is qila itself: it execs.
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(until(false), "the agent outlived qila");
        let clean = || {
            (0..60).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(50));
                cgroups(place).is_empty()
            })
        };
        assert!(clean(), "cgroups outlived qila: {:?}", cgroups(place));
        // The next run takes the dead one's directory back.
        assert!(place.sh("offline", tier, "true").status.success());
        assert!(place.runs().is_empty(), "{:?}", place.runs());
    });
}
