//! The node's side of zygotes, over sandboxes that this program makes itself. It has a `main` of its own: what forks sandboxes has
//! one thread.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and uses some of the modules that it is made of"
)]

#[path = "../../qila-sandbox/tests/zygote/bench.rs"]
mod bench;
#[allow(unused_imports, reason = "the node needs more of it")]
#[path = "../src/guest/mod.rs"]
mod guest;
#[path = "../src/ready.rs"]
mod ready;
#[path = "../src/zygote/mod.rs"]
mod zygote;

use bench::{Bench, Served};
use qila_api::{Input, Output};
use qila_wire::served::{Ask, Exec};
use rustix::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use zygote::{Place, Zygote, ZygoteError};

fn copy(fd: &OwnedFd) -> OwnedFd {
    fd.try_clone().unwrap()
}

fn program(above: &Served, modules: &[&str]) -> Exec {
    let argv = ["/usr/bin/python3", "-c", qila_sandbox::zygote::PYTHON];
    above.exec(&argv.iter().chain(modules).copied().collect::<Vec<_>>())
}

async fn start(above: &Served, modules: &[&str]) -> Result<Zygote, ZygoteError> {
    Zygote::start(copy(&above.handle), copy(&above.first), program(above, modules)).await
}

fn place(served: &Served) -> Place<'_> {
    Place {
        dir: &served.handle,
        first: served.first.as_fd(),
        walls: served.plan.walls(),
        cage: &served.cage,
    }
}

/// Everything that a program said, and its exit code.
async fn finish(line: guest::Line, pid: u32) -> (String, Option<i32>) {
    let mut process = guest::follow(line, pid, Some(0), None);
    process.input.send(Input::End).await.ok();
    let mut said = String::new();
    while let Some(output) = process.output.recv().await {
        match output {
            Output::Stdout(b) | Output::Stderr(b) => said += std::str::from_utf8(&b).unwrap(),
            Output::Ended(status) => return (said, status.code),
            other => panic!("{other:?}"),
        }
    }
    panic!("it did not end: {said}");
}

/// Forks, one after the other and several at once; each is a program of its sandbox.
async fn forks(bench: &mut Bench) {
    let above = bench.for_zygote();
    let zygote = start(&above, &["json"]).await.unwrap();
    assert!(zygote.is_alive().await);
    let served: Vec<_> = (0..4).map(|_| bench.beneath(&above)).collect();
    let say = |s: &Served, n: usize| s.exec(&["python3", "-c", &format!("print({n} * 2)")]);
    let (w, x, y, z) = (
        say(&served[0], 0),
        say(&served[1], 1),
        say(&served[2], 2),
        say(&served[3], 3),
    );
    let (w, x, y, z) = {
        let [p, q, r, s] = [0, 1, 2, 3].map(|n| place(&served[n]));
        tokio::join!(
            zygote.fork_into(&p, &w),
            zygote.fork_into(&q, &x),
            zygote.fork_into(&r, &y),
            zygote.fork_into(&s, &z)
        )
    };
    for (n, fork) in [w, x, y, z].into_iter().enumerate() {
        let (line, pid) = fork.unwrap();
        assert_eq!(finish(line, pid).await, (format!("{}\n", n * 2), Some(0)));
    }
    // A failure is the fork's own.
    let mut exec = served[0].exec(&["python3", "-c", "pass"]);
    exec.cwd = b"/nowhere".to_vec();
    match zygote.fork_into(&place(&served[0]), &exec).await {
        Err(ZygoteError::Line(e)) => assert!(e.to_string().contains("/nowhere"), "{e}"),
        other => panic!("{other:?}"),
    }
    exec.cwd = vec![b'/', 0xff];
    assert!(matches!(
        zygote.fork_into(&place(&served[0]), &exec).await,
        Err(ZygoteError::Request(_))
    ));
    assert!(zygote.is_alive().await);
}

/// A zygote that is gone is started anew; one that cannot become warm is said to be so, with its last words, and not tried at once.
async fn again(bench: &mut Bench) {
    let above = bench.for_zygote();
    let zygote = start(&above, &[]).await.unwrap();
    let served = bench.beneath(&above);
    let exec = served.exec(&["python3", "-c", "print(1)"]);
    for _ in 0..3 {
        guest::request(&above.handle, &Ask::Clear).await.unwrap();
        let begun = Instant::now();
        while zygote.is_alive().await {
            assert!(begun.elapsed() < bench::PATIENCE);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (line, pid) = zygote.fork_into(&place(&served), &exec).await.unwrap();
        // What is beneath is not cleared away with it.
        assert_eq!(finish(line, pid).await, ("1\n".into(), Some(0)));
    }
    match start(&above, &["no_such_module"]).await {
        Err(ZygoteError::Cold(why)) => assert!(why.contains("No module named 'no_such_module'"), "{why}"),
        other => panic!("{other:?}"),
    }
    match start(&above, &["threads_of_its_own"]).await {
        Err(ZygoteError::Cold(_)) => {}
        other => panic!("{other:?}"),
    }
    // Dropped, it ends by itself.
    drop(zygote);
    let begun = Instant::now();
    loop {
        let (_, answer) = guest::request(&above.handle, &Ask::Programs).await.unwrap();
        let qila_wire::served::Answer::Programs(all) = answer else {
            panic!()
        };
        if all.iter().all(|p| p.ended) {
            break;
        }
        assert!(begun.elapsed() < bench::PATIENCE, "{all:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn main() {
    if std::env::args().any(|a| a == "--list") {
        return;
    }
    qila_sys::signal::ignore(17);
    let mut bench = Bench::new();
    // One thread: sandboxes are forked between two looks at what is ready.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limit = Duration::from_secs(60);
    runtime.block_on(async { tokio::time::timeout(limit, forks(&mut bench)).await.unwrap() });
    println!("test forks ... ok");
    runtime.block_on(async { tokio::time::timeout(limit, again(&mut bench)).await.unwrap() });
    println!("test again ... ok\n\ntest result: ok. 2 passed");
}
