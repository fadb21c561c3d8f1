//! A killed process and a full disk lose nothing that was acknowledged.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
use qila_api::Tenant;
use qila_store::{Claim, Kind, Store, StoreError};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the child is told that it is the child.
const CHILD: &str = "QILA_STORE_TEST_CHILD";

fn tenant() -> Tenant {
    Tenant::parse("a").unwrap()
}

/// Not a test when run by itself: the process that is killed below.
#[tokio::test(flavor = "multi_thread")]
async fn child_that_writes_until_it_is_killed() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let store = Store::open(Path::new(&path)).unwrap();
    store
        .claim(&tenant(), &format!("by {}", std::process::id()), [0; 32])
        .await
        .unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for w in 0..8 {
        let store = store.clone();
        writers.spawn(async move {
            for n in 0..100_000_u64 {
                let id = format!("{}-{w}-{n}", std::process::id());
                store
                    .put(Kind::Sandbox, &id, &tenant(), vec![1; 300])
                    .await
                    .unwrap();
                println!("ack {id}");
            }
        });
    }
    while writers.join_next().await.is_some() {}
}

#[tokio::test]
async fn what_a_killed_process_acknowledged_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut acknowledged = Vec::new();
    let mut claims = Vec::new();
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "child_that_writes_until_it_is_killed",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        claims.push(format!("by {}", child.id()));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 40 + 60 * round;
        let mut seen = 0;
        while seen < wanted {
            let line = lines.next().expect("the child goes on").unwrap();
            // The test harness writes its own words on the same line as the first of ours.
            if let Some((_, id)) = line.split_once("ack ") {
                acknowledged.push(id.to_owned());
                seen += 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What was in the pipe had been acknowledged, too; the last line may be cut off.
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        let whole = rest.len().saturating_sub(1);
        acknowledged.extend(
            rest.iter()
                .take(whole)
                .filter_map(|l| Some(l.split_once("ack ")?.1.to_owned())),
        );
    }
    let store = Store::open(&path).unwrap();
    let there: std::collections::HashSet<_> = store
        .all(Kind::Sandbox)
        .await
        .unwrap()
        .into_iter()
        .map(|d| d.id)
        .collect();
    let lost: Vec<_> = acknowledged.iter().filter(|id| !there.contains(*id)).collect();
    assert!(
        acknowledged.len() > 1000 && lost.is_empty(),
        "{} lost of {}",
        lost.len(),
        acknowledged.len()
    );
    store.check().await.unwrap();
    for key in claims {
        assert_eq!(
            store.claim(&tenant(), &key, [9; 32]).await.unwrap(),
            Claim::New,
            "{key} was released"
        );
    }
}

struct Mounted(std::path::PathBuf);
impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_full_disk_says_so_loses_nothing_and_goes_on_when_there_is_room() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("small");
    std::fs::create_dir(&at).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    if let Err(error) = rustix::mount::mount("tmpfs", &at, "tmpfs", flags, Some(c"size=3m")) {
        println!("skipped: a small file system cannot be mounted here: {error}");
        return;
    }
    let _mounted = Mounted(at.clone());
    let store = Store::open(&at.join("state.db")).unwrap();
    std::fs::write(at.join("ballast"), vec![0; 1 << 20]).unwrap();
    let mut kept = 0;
    let refused = loop {
        match store
            .put(Kind::Sandbox, &format!("s{kept}"), &tenant(), vec![3; 8000])
            .await
        {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 1000, "the disk is small");
    };
    assert!(matches!(refused, StoreError::NoSpace), "{refused:?}");
    assert!(matches!(
        store
            .put(Kind::Sandbox, "large", &tenant(), vec![3; 1 << 20])
            .await,
        Err(StoreError::NoSpace)
    ));
    assert_eq!(
        store.all(Kind::Sandbox).await.unwrap().len(),
        kept,
        "what was acknowledged can be read"
    );
    let reopened = Store::open(&at.join("state.db")).map(drop);
    assert!(
        matches!(reopened, Ok(()) | Err(StoreError::NoSpace)),
        "{reopened:?}"
    );

    std::fs::remove_file(at.join("ballast")).unwrap();
    for n in 0..20 {
        store
            .put(Kind::Sandbox, &format!("later{n}"), &tenant(), vec![3; 8000])
            .await
            .unwrap();
    }
    assert_eq!(store.all(Kind::Sandbox).await.unwrap().len(), kept + 20);
    store.check().await.unwrap();
}
