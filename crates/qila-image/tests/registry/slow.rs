//! Registries that take their time, and who waits for them.
use super::fake::{Fake, Say, honest};
use super::lies::{contents, image};
use super::{block, digest, file, get, layers, made, plain, store};
use qila_image::{Auth, Limits, PullError, Reference, Store, pull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// A registry that does not say one blob until it may.
fn withholding(name: String, rest: Say) -> (Fake, Arc<AtomicBool>, UnboundedReceiver<()>) {
    let (send, asked) = tokio::sync::mpsc::unbounded_channel();
    let may = Arc::new(AtomicBool::new(false));
    let said = Arc::clone(&may);
    let fake = Fake::start(Box::new(move |path, head| {
        if path.ends_with(&name) {
            let _ = send.send(());
            let until = Instant::now() + Duration::from_secs(40);
            while !said.load(Ordering::Relaxed) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        rest(path, head)
    }));
    (fake, may, asked)
}

#[test]
fn a_pull_that_takes_too_long_ends() {
    let dir = tempfile::tempdir().unwrap();
    let image = image();
    let (fake, may, _) = withholding(digest(&image.blobs[1]), honest(contents(&image)));
    let limits = Limits {
        pull: Duration::from_secs(1),
        ..Limits::default()
    };
    let hurried = Arc::new(Store::open(&dir.path().join("store"), limits).unwrap());
    let reference = Reference::parse(&format!("{}/x", fake.host)).unwrap();
    let begun = Instant::now();
    let error = block(pull(reference, hurried, Auth::Anonymous, plain(&[&fake.host]))).unwrap_err();
    assert!(matches!(error, PullError::TimedOut(_)), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    may.store(true, Ordering::Relaxed);
    get(
        dir.path(),
        &format!("{}/x", fake.host),
        Auth::Anonymous,
        plain(&[&fake.host]),
    )
    .unwrap();
    assert_eq!(
        std::fs::read_dir(dir.path().join("store/slots")).unwrap().count(),
        0
    );
}

#[test]
fn nobody_waits_for_another_blob_that_does_not_come() {
    let dir = tempfile::tempdir().unwrap();
    let slow = image();
    let layer = digest(&slow.blobs[1]);
    // As alike as can be found soon.
    let other = (0..100_000)
        .map(|n| made(&[&[file("a", n.to_string().as_bytes())]]))
        .find(|made| digest(&made.blobs[1])[..9] == layer[..9])
        .unwrap();
    let (fake, may, mut asked) = withholding(layer, honest(contents(&slow)));
    let quick = Fake::start(honest(contents(&other)));
    let named = |fake: &Fake| Reference::parse(&format!("{}/x", fake.host)).unwrap();
    let all = [fake.host.as_str(), quick.host.as_str()];
    let begun = Instant::now();
    block(async {
        let waits = tokio::spawn(pull(
            named(&fake),
            store(dir.path()),
            Auth::Anonymous,
            plain(&all),
        ));
        asked.recv().await.unwrap();
        pull(named(&quick), store(dir.path()), Auth::Anonymous, plain(&all))
            .await
            .unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20));
        may.store(true, Ordering::Relaxed);
        waits.await.unwrap().unwrap();
    });
    assert_eq!(layers(dir.path()), 2);
}
