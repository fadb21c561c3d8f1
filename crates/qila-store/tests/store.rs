//! What the store keeps, tells apart and refuses.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]
use qila_api::{Event, Quota, SandboxId, Tenant};
use qila_store::{Claim, EVENTS_KEPT, Kind, NewKey, Put, Store, StoreError};
use std::collections::BTreeMap;
use std::time::Instant;

fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

fn fresh() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("state.db")).unwrap();
    (directory, store)
}

fn event(seq: u64) -> Event {
    Event {
        seq,
        time_ms: 1,
        sandbox: SandboxId::parse("box").unwrap(),
        kind: "created".to_owned(),
        fields: BTreeMap::new(),
    }
}

fn new_key(id: &str, whose: &str, expires_ms: Option<u64>) -> NewKey {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(id.bytes()) {
        *to = from;
    }
    NewKey {
        id: id.to_owned(),
        tenant: tenant(whose),
        hash,
        name: "for a test".to_owned(),
        admin: false,
        expires_ms,
    }
}

#[tokio::test]
async fn documents_are_kept_by_kind_and_id() {
    let (directory, store) = fresh();
    let a = tenant("a");
    store.put(Kind::Sandbox, "x", &a, b"one".to_vec()).await.unwrap();
    store.put(Kind::Snapshot, "x", &a, b"two".to_vec()).await.unwrap();
    store
        .put(Kind::Sandbox, "x", &a, b"three".to_vec())
        .await
        .unwrap();
    let path = directory.path().join("state.db");
    let again = Store::open(&path).unwrap();
    let all = again.all(Kind::Sandbox).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].body, b"three");
    assert_eq!(
        again.get(Kind::Snapshot, "x").await.unwrap().unwrap().body,
        b"two"
    );
    assert!(again.remove(Kind::Sandbox, "x").await.unwrap());
    assert!(!again.remove(Kind::Sandbox, "x").await.unwrap());
    assert!(store.all(Kind::Sandbox).await.unwrap().is_empty());
    use std::os::unix::fs::PermissionsExt;
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let mode = std::fs::metadata(directory.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_spoils_nothing_beside_it() {
    let (_directory, store) = fresh();
    let put = |id: &str, size| Put {
        kind: Kind::Template,
        id: id.to_owned(),
        tenant: tenant("a"),
        body: vec![0; size],
    };
    let refused = store
        .put_all(vec![put("small", 1), put("large", (1 << 20) + 1)])
        .await;
    assert!(matches!(refused, Err(StoreError::TooLarge(_))), "{refused:?}");
    assert!(store.all(Kind::Template).await.unwrap().is_empty());
    store
        .put_all(vec![put("small", 1), put("just", 1 << 20)])
        .await
        .unwrap();
    assert_eq!(store.all(Kind::Template).await.unwrap().len(), 2);
}

#[tokio::test]
async fn events_have_numbers_of_their_own_and_the_old_are_forgotten() {
    let (_directory, store) = fresh();
    let (a, b) = (tenant("a"), tenant("b"));
    assert_eq!(store.last_event().await.unwrap(), 0);
    store
        .tell(vec![
            (a.clone(), event(1)),
            (b.clone(), event(2)),
            (a.clone(), event(3)),
        ])
        .await
        .unwrap();
    let seqs = |events: Vec<Event>| events.into_iter().map(|e| e.seq).collect::<Vec<_>>();
    assert_eq!(seqs(store.events(&a, 0, 10).await.unwrap()), [1, 3]);
    assert_eq!(seqs(store.events(&a, 1, 10).await.unwrap()), [3]);
    assert_eq!(seqs(store.events(&a, 0, 1).await.unwrap()), [1]);
    let twice = store
        .tell(vec![(a.clone(), event(4)), (a.clone(), event(3))])
        .await;
    assert!(matches!(twice, Err(StoreError::Exists(_))), "{twice:?}");
    assert_eq!(store.last_event().await.unwrap(), 3, "all of them or none");

    let far = 512 * 1000;
    store
        .tell(vec![
            (a.clone(), event(far - EVENTS_KEPT)),
            (a.clone(), event(far)),
        ])
        .await
        .unwrap();
    assert_eq!(seqs(store.events(&a, 0, 10).await.unwrap()), [far]);
    assert_eq!(store.last_event().await.unwrap(), far);
}

#[tokio::test]
async fn a_claim_is_given_once() {
    let (directory, store) = fresh();
    let a = tenant("a");
    assert_eq!(store.claim(&a, "k", [1; 32]).await.unwrap(), Claim::New);
    assert_eq!(store.claim(&a, "k", [1; 32]).await.unwrap(), Claim::Pending);
    assert_eq!(store.claim(&a, "k", [2; 32]).await.unwrap(), Claim::Conflict);
    assert_eq!(store.claim(&tenant("b"), "k", [2; 32]).await.unwrap(), Claim::New);
    // Another store of a process that is alive releases nothing.
    let other = Store::open(&directory.path().join("state.db")).unwrap();
    assert_eq!(other.claim(&a, "k", [1; 32]).await.unwrap(), Claim::Pending);
    store.finish(&a, "k", Some(b"answer".to_vec())).await.unwrap();
    store.finish(&a, "k", None).await.unwrap();
    assert_eq!(
        other.claim(&a, "k", [1; 32]).await.unwrap(),
        Claim::Done(b"answer".to_vec())
    );
    store.finish(&tenant("b"), "k", None).await.unwrap();
    assert_eq!(store.claim(&tenant("b"), "k", [3; 32]).await.unwrap(), Claim::New);
}

#[tokio::test]
async fn claims_of_the_dead_and_of_the_day_before_are_released() {
    let (directory, store) = fresh();
    let (a, path) = (tenant("a"), directory.path().join("state.db"));
    store.claim(&a, "dead", [1; 32]).await.unwrap();
    store.claim(&a, "old", [1; 32]).await.unwrap();
    store.finish(&a, "old", Some(vec![1])).await.unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    db.execute("UPDATE claim SET owner = '1 1 elsewhere' WHERE key = 'dead'", [])
        .unwrap();
    db.execute(
        "UPDATE claim SET made_ms = made_ms - 86400000 WHERE key = 'old'",
        [],
    )
    .unwrap();
    let next = Store::open(&path).unwrap();
    assert_eq!(next.claim(&a, "dead", [2; 32]).await.unwrap(), Claim::New);
    assert_eq!(next.claim(&a, "old", [2; 32]).await.unwrap(), Claim::New);
}

#[tokio::test]
async fn a_revoked_key_is_unknown_at_once_in_every_process() {
    let (directory, store) = fresh();
    let a = tenant("a");
    let unknown = store.add_key(new_key("k", "a", None)).await;
    assert!(matches!(unknown, Err(StoreError::NoTenant(_))), "{unknown:?}");
    store.put_tenant(a.clone(), Quota::NONE).await.unwrap();
    assert!(!store.has_keys().await.unwrap());
    store.add_key(new_key("k", "a", None)).await.unwrap();
    store.add_key(new_key("gone", "a", Some(1))).await.unwrap();
    let again = store.add_key(new_key("k", "a", None)).await;
    assert!(matches!(again, Err(StoreError::Exists(_))), "{again:?}");
    let hash = new_key("k", "a", None).hash;
    assert_eq!(store.by_hash(&hash).unwrap().unwrap().tenant, a);
    assert!(
        store.by_hash(&new_key("gone", "a", None).hash).unwrap().is_none(),
        "it has ended"
    );
    assert_eq!(store.keys(&a).await.unwrap().len(), 2);

    let begun = Instant::now();
    for _ in 0..1000 {
        store.by_hash(&hash).unwrap().unwrap();
    }
    let each = begun.elapsed() / 1000;
    println!("  {each:?} a look-up");

    let other = Store::open(&directory.path().join("state.db")).unwrap();
    assert!(other.revoke_key("k").await.unwrap());
    assert!(store.by_hash(&hash).unwrap().is_none());
    assert!(!store.revoke_key("k").await.unwrap());
}

#[tokio::test]
async fn a_tenant_with_sandboxes_stays_and_one_without_takes_its_keys_along() {
    let (_directory, store) = fresh();
    let a = tenant("a");
    let small = Quota {
        sandboxes: 2,
        ..Quota::NONE
    };
    assert_eq!(store.quota_of(&a).unwrap(), None);
    store.put_tenant(a.clone(), Quota::NONE).await.unwrap();
    assert_eq!(store.quota_of(&a).unwrap(), Some(Quota::NONE));
    store.add_key(new_key("k", "a", None)).await.unwrap();
    store.put_tenant(a.clone(), small).await.unwrap();
    assert_eq!(store.quota_of(&a).unwrap(), Some(small));
    assert_eq!(
        store.keys(&a).await.unwrap().len(),
        1,
        "another quota takes no key away"
    );
    store.put(Kind::Sandbox, "s", &a, vec![]).await.unwrap();
    assert!(matches!(store.remove_tenant(&a).await, Err(StoreError::InUse(_))));
    store.remove(Kind::Sandbox, "s").await.unwrap();
    assert!(store.remove_tenant(&a).await.unwrap());
    assert!(store.by_hash(&new_key("k", "a", None).hash).unwrap().is_none());
    assert_eq!(store.quota_of(&a).unwrap(), None);
    assert!(store.tenants().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_transactions() {
    let (_directory, store) = fresh();
    let one_by_one = Instant::now();
    for n in 0..200 {
        store
            .put(Kind::Sandbox, &format!("alone-{n}"), &tenant("a"), vec![0; 200])
            .await
            .unwrap();
    }
    let alone = one_by_one.elapsed() / 200;
    let together = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for w in 0..64 {
        let store = store.clone();
        writers.spawn(async move {
            for n in 0..50 {
                store
                    .put(Kind::Sandbox, &format!("w{w}-{n}"), &tenant("a"), vec![0; 200])
                    .await
                    .unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let each = together.elapsed() / (64 * 50);
    println!("one by one {alone:?} each, 64 writers {each:?} each");
    assert_eq!(store.all(Kind::Sandbox).await.unwrap().len(), 200 + 64 * 50);
    store.check().await.unwrap();
}

#[test]
fn a_damaged_file_a_later_schema_and_another_programs_file_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(
        at("text"),
        "this is no database, and longer than a header is".repeat(100),
    )
    .unwrap();
    assert!(matches!(Store::open(&at("text")), Err(StoreError::Corrupt(_))));

    drop(Store::open(&at("newer")).unwrap());
    rusqlite::Connection::open(at("newer"))
        .unwrap()
        .pragma_update(None, "user_version", 999)
        .unwrap();
    let newer = Store::open(&at("newer"));
    assert!(
        matches!(newer, Err(StoreError::TooNew { found: 999, known: 1 })),
        "{newer:?}"
    );

    rusqlite::Connection::open(at("other"))
        .unwrap()
        .execute("CREATE TABLE mine (x)", [])
        .unwrap();
    assert!(matches!(Store::open(&at("other")), Err(StoreError::Corrupt(_))));
    let mine = rusqlite::Connection::open(at("other")).unwrap();
    mine.execute("INSERT INTO mine VALUES (1)", []).unwrap();

    assert!(matches!(
        Store::open(&at("no/such/directory")),
        Err(StoreError::File { .. })
    ));
}

#[tokio::test]
async fn damage_in_the_middle_is_found() {
    let (directory, store) = fresh();
    for n in 0..50 {
        store
            .put(Kind::Sandbox, &format!("s{n}"), &tenant("a"), vec![7; 3000])
            .await
            .unwrap();
    }
    drop(store);
    let path = directory.path().join("state.db");
    let checkpoint = rusqlite::Connection::open(&path).unwrap();
    checkpoint
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(checkpoint);
    let mut bytes = std::fs::read(&path).unwrap();
    let from = bytes.len() / 2;
    for byte in bytes.iter_mut().skip(from).take(40_000) {
        *byte = 0xa5;
    }
    std::fs::write(&path, bytes).unwrap();
    let store = Store::open(&path).unwrap();
    let found = store.check().await;
    assert!(matches!(found, Err(StoreError::Corrupt(_))), "{found:?}");
    let read = store.all(Kind::Sandbox).await;
    assert!(matches!(read, Err(StoreError::Corrupt(_))), "{read:?}");
}
