//! The daemon is killed again and again while clients work. `QILA_KILLS` says how often (25; the whole is 200), `QILA_SEED` repeats one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use qila_agents::host::Mode;
use qila_serve_tests::{Client, Daemon, Dice, Events, Loader, env, everybody, leftovers, tell};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Clients at once.
const CLIENTS: usize = 5;
/// How long what is sure to come may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Events as somebody saw them: number, sandbox, kind.
type Seen = Vec<(u64, String, String)>;

/// The sandbox whose end is the last event. It is named here before it ends.
type Last = Arc<OnceLock<String>>;

/// Listens to events from where it was, until the last or until the daemon goes away.
async fn watch(mut client: Client, mut seen: Seen, last: Last) -> Seen {
    let after = seen.last().map_or(0, |(seq, ..)| *seq);
    // By the header as by the parameter.
    let path = format!("/v1/events?after={after}");
    let Ok(answer) = client.open("GET", &path, &[], &Value::Null).await else {
        return seen;
    };
    let mut events = Events::of(answer.into_body());
    while let Some(said) = events.next().await {
        let text = |name: &str| said.data[name].as_str().unwrap_or_default().to_owned();
        let (sandbox, kind) = (text("sandbox"), text("kind"));
        let is_last = kind == "ended" && last.get() == Some(&sandbox);
        seen.push((said.id, sandbox, kind));
        if is_last {
            break;
        }
    }
    seen
}

async fn killed(mode: Mode, kills: u64) {
    let mut daemon = match Daemon::start(mode, &[]) {
        Ok(daemon) => daemon,
        Err(skip) => return skip.report("the kills"),
    };
    let mut dice = Dice::new("crash");
    let probe = daemon
        .client()
        .ask("POST", "/v1/sandboxes", &Value::Object(Default::default()))
        .await
        .unwrap();
    if mode == Mode::Unprivileged && probe.status == 422 {
        return qila_agents::skip::Skip::because(probe.text()).report("sandboxes of an unprivileged user");
    }
    let first = probe.must(201).json()["id"].as_str().unwrap().to_owned();
    daemon.client().delete(&first).await;
    let mut loaders: Vec<Loader> = (0..CLIENTS)
        .map(|n| Loader::new(&format!("c{n}"), daemon.client(), dice.fork()))
        .collect();
    let mut seen: Seen = Vec::new();
    let mut marks = daemon.marks();
    let (begun, mut down) = (Instant::now(), Vec::new());
    let mut wrong = Vec::new();
    for _ in 0..kills {
        let mut work = JoinSet::new();
        for mut loader in loaders.drain(..) {
            work.spawn(async move {
                loader.work().await;
                loader
            });
        }
        let watching = tokio::spawn(watch(daemon.client(), std::mem::take(&mut seen), Last::default()));
        tokio::time::sleep(Duration::from_millis(20 + dice.below(600))).await;
        marks.learn();
        tokio::task::block_in_place(|| daemon.kill());
        let at = Instant::now();
        loaders = work.join_all().await;
        seen = watching.await.unwrap();
        tokio::task::block_in_place(|| daemon.again());
        down.push(at.elapsed());
        let mut checks = JoinSet::new();
        for mut loader in loaders.drain(..) {
            checks.spawn(async move {
                loader.check().await;
                loader
            });
        }
        loaders = checks.join_all().await;
        let mine: BTreeSet<String> = loaders
            .iter()
            .flat_map(|l| l.book.sandboxes.keys().cloned())
            .collect();
        for id in daemon.client().sandboxes().await {
            if !mine.contains(&id) {
                wrong.push(format!("{id} is nobody's"));
            }
        }
    }
    marks.learn();
    let last = Last::default();
    let watching = tokio::spawn(watch(daemon.client(), seen, Last::clone(&last)));
    let mut client = daemon.client();
    for loader in &mut loaders {
        for id in std::mem::take(&mut loader.book.sandboxes).into_keys() {
            client.delete(&id).await;
            loader.book.ended.insert(id);
        }
        wrong.append(&mut loader.book.wrong);
    }
    let id = client.create(&Value::Object(Default::default())).await;
    last.set(id.clone()).unwrap();
    client.delete(&id).await;
    let within = async |heard: tokio::task::JoinHandle<Seen>| {
        tokio::time::timeout(PATIENCE, heard)
            .await
            .unwrap_or_else(|_| panic!("the last event does not come"))
            .unwrap()
    };
    let stored = within(tokio::spawn(watch(daemon.client(), Seen::new(), last))).await;
    let seen = within(watching).await;
    tokio::task::block_in_place(|| daemon.terminate());
    wrong.extend(compare(&seen, &stored, &loaders));
    wrong.extend(
        tokio::task::block_in_place(|| leftovers(&marks, &daemon.home))
            .into_iter()
            .map(|l| format!("left: {l}")),
    );
    report(mode, kills, begun, &mut down, &loaders, stored.len());
    assert!(
        wrong.is_empty(),
        "{} things are wrong:\n{}\nwhat the daemons said:\n{}",
        wrong.len(),
        wrong.join("\n"),
        daemon.said().join("\n")
    );
}

/// What was told while it happened is what is remembered, in order, each once; and all that was promised was told.
fn compare(seen: &Seen, stored: &Seen, loaders: &[Loader]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, list) in [("seen", seen), ("stored", stored)] {
        for pair in list.windows(2) {
            if pair[0].0 >= pair[1].0 {
                wrong.push(format!(
                    "events as {name}: {} comes after {}",
                    pair[1].0, pair[0].0
                ));
            }
        }
    }
    let of = |list: &Seen| list.iter().cloned().collect::<BTreeSet<_>>();
    for missed in of(stored).difference(&of(seen)) {
        wrong.push(format!("the listener was never told of {missed:?}"));
    }
    for forgotten in of(seen).difference(&of(stored)) {
        wrong.push(format!("{forgotten:?} was told and is not remembered"));
    }
    for loader in loaders {
        for (ids, kind) in [(&loader.book.ever, "created"), (&loader.book.ended, "ended")] {
            for id in ids {
                let n = stored
                    .iter()
                    .filter(|(_, of, what)| of == id && what == kind)
                    .count();
                if n != 1 {
                    wrong.push(format!("{id} was told as {kind} {n} times"));
                }
            }
        }
    }
    wrong
}

fn report(mode: Mode, kills: u64, begun: Instant, down: &mut [Duration], loaders: &[Loader], events: usize) {
    down.sort();
    let mut sums: [BTreeMap<&str, u64>; 2] = [BTreeMap::new(), BTreeMap::new()];
    for loader in loaders {
        for (sum, of) in sums.iter_mut().zip([&loader.book.done, &loader.book.open]) {
            of.iter().for_each(|(what, n)| *sum.entry(what).or_default() += n);
        }
    }
    tell(&format!(
        "crash as {mode:?}: {kills} kills in {:.1} s; down {:.0} ms at the median, {:.0} at most; {events} events; \
         acknowledged {:?}; cut off {:?}",
        begun.elapsed().as_secs_f64(),
        down.get(down.len() / 2).map_or(0.0, |d| d.as_secs_f64() * 1e3),
        down.last().map_or(0.0, |d| d.as_secs_f64() * 1e3),
        sums[0],
        sums[1],
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_left_when_the_daemon_is_killed() {
    let kills = env("QILA_KILLS", 25);
    for mode in everybody() {
        // As root first; the other way into the kernel is shorter.
        let kills = if mode == Mode::Root {
            kills
        } else {
            kills.div_ceil(3)
        };
        killed(mode, kills).await;
    }
}
