//! Every attack and its twin, over targets and users, a few at a time.
use crate::case::{Attack, Need, Place, Scene};
use crate::outcome::Outcome;
use crate::run;
use crate::stage::{Context, Stage};
use crate::user::own_uid;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// How one half of an attack ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The attack failed, as it should; or the twin succeeded, as it should.
    Good,
    /// The attack succeeded, and what was seen; or the twin failed.
    Bad(String),
    /// The launch was refused by clause, which this attack accepts.
    Refused(String),
    /// A breach that is written down in `known-breaches.txt`.
    Known(String),
    /// Nothing was tried, or nobody could have seen it: neither held nor broken, and a failure of the suite.
    Untried(String),
    /// This host lacks what it needs.
    Skipped(String),
}

/// A row of the report.
#[derive(Debug, Clone)]
pub struct Row {
    /// The attack's name.
    pub name: &'static str,
    /// The item of the attack list.
    pub item: &'static str,
    /// The promise.
    pub promise: String,
    /// The target.
    pub target: &'static str,
    /// The user.
    pub user: &'static str,
    /// The attack.
    pub attack: Verdict,
    /// Its twin.
    pub twin: Verdict,
}

fn missing(need: Need, cx: &Context) -> Option<String> {
    match need {
        Need::World if cx.world.names.is_none() => {
            Some("no network of the harness's own: it is not root".into())
        }
        Need::Root if own_uid() != 0 => Some("the harness is not root".into()),
        Need::Tool(path) if !Path::new(path).exists() => Some(format!("{path} is not installed")),
        Need::Knob(path, value) => {
            let now = std::fs::read_to_string(path).unwrap_or_default();
            (now.trim() != value).then(|| format!("{path} is not {value} on this host"))
        }
        Need::QilaTools if !cx.target.is_qila() => Some("only Qila has these commands".into()),
        _ => None,
    }
}

/// Judges one outcome. For the twin, evidence from outside is asked for wherever the attack is judged by such.
fn judge(scene: &Scene, outcome: &Outcome, twin: bool) -> Option<String> {
    let outside = scene.judges.iter().any(|j| j.outside);
    let relevant = scene.judges.iter().filter(|j| !twin || !outside || j.outside);
    relevant.filter_map(|j| (j.check)(outcome)).next()
}

fn half(attack: &Attack, cx: &Context, twin: bool) -> io::Result<Verdict> {
    let mut stage = Stage::open(cx, attack.name, twin)?;
    let scene = (attack.stage)(&mut stage)?;
    let (mut seen, mut refused, mut ran) = (None, None, false);
    for _ in 0..scene.launches {
        let outcome = run::play(&stage, &scene)?;
        let sandboxed = matches!(scene.place, Place::Sandbox(_));
        let refusal = outcome
            .refusal()
            .filter(|_| sandboxed || outcome.code == Some(127));
        if let Some(why) = refusal {
            if !attack.may_refuse || outcome.code != Some(125) {
                return Ok(Verdict::Untried(format!("did not run: {why}")));
            }
            // A race goes on: the next launch may get through.
            refused = Some(why);
            continue;
        }
        ran = true;
        if outcome.after_shows(b"ended: exit status: 2]") || outcome.after_shows(b"[no run id") {
            let text = String::from_utf8_lossy(&outcome.after)
                .chars()
                .take(200)
                .collect::<String>();
            return Ok(Verdict::Untried(format!(
                "a command that reads what the run left is missing: {text}"
            )));
        }
        if let Some(alive) = scene
            .alive
            .as_ref()
            .filter(|a| !a.arrivals.contain(a.token.as_bytes()))
        {
            let why = format!(
                "could not be tried: the allowed request to {} did not arrive",
                alive.url
            );
            return Ok(Verdict::Untried(why));
        }
        seen = seen.or_else(|| judge(&scene, &outcome, twin));
        if !twin && seen.is_none() && outcome.left > 0 {
            seen = Some(format!("{} processes were left behind", outcome.left));
        }
        let silent = outcome.stdout_total == 0 && scene.output.is_none();
        if seen.is_none() && (silent || (outcome.timed_out && !attack.name.starts_with("flood"))) {
            let why = if outcome.timed_out {
                "had to be ended"
            } else {
                "no sign that the program ran"
            };
            let text = String::from_utf8_lossy(&outcome.stderr)
                .trim()
                .chars()
                .take(200)
                .collect::<String>();
            return Ok(Verdict::Untried(format!(
                "{why} (exit {:?}) {text}",
                outcome.code
            )));
        }
        if seen.is_none() && twin && std::env::var_os("ESCAPE_SHOW").is_some() {
            eprintln!(
                "--- {}\n{}\n{}",
                attack.name,
                String::from_utf8_lossy(&outcome.stdout),
                String::from_utf8_lossy(&outcome.stderr)
            );
        }
    }
    if let Some(why) = refused.filter(|_| !ran) {
        return Ok(Verdict::Refused(why));
    }
    drop(scene);
    if std::env::var_os("ESCAPE_KEEP").is_none() {
        let _ = std::fs::remove_dir_all(&stage.dir);
    }
    Ok(match (seen, twin) {
        (None, false) | (Some(_), true) => Verdict::Good,
        (Some(what), false) => Verdict::Bad(what),
        (None, true) => Verdict::Untried("the twin failed: the check could not have seen the attack".into()),
    })
}

/// One attack and its twin.
pub fn try_one(attack: &Attack, cx: &Context) -> Row {
    let promise = format!("{:?}", attack.promise);
    let row = |attack_verdict: Verdict, twin: Verdict| Row {
        name: attack.name,
        item: attack.item,
        promise: promise.clone(),
        target: cx.target.name(),
        user: cx.user.name(),
        attack: attack_verdict,
        twin,
    };
    if let Some(reason) = attack.needs.iter().find_map(|&need| missing(need, cx)) {
        return row(Verdict::Skipped(reason.clone()), Verdict::Skipped(reason));
    }
    let play = |twin| {
        half(attack, cx, twin).unwrap_or_else(|e| Verdict::Untried(format!("the harness failed: {e}")))
    };
    // What came to nothing, on a busy host for instance, is tried once more; a breach is never tried away.
    let twice = |twin| match play(twin) {
        Verdict::Untried(_) => play(twin),
        verdict => verdict,
    };
    let first = twice(false);
    let known = crate::known::reason(attack.name, cx.target.name(), cx.user.name());
    let first = match (first, known) {
        (Verdict::Bad(_), Some(reason)) => Verdict::Known(reason.to_owned()),
        (Verdict::Good, Some(_)) => {
            Verdict::Bad("held, but known-breaches.txt names it: take the line away".into())
        }
        (other, _) => other,
    };
    row(first, twice(true))
}

/// All of them, `jobs` at a time; each row is handed to `each` when it is there.
pub fn run_all(work: Vec<(&'static Attack, Context)>, jobs: usize, each: impl Fn(&Row) + Sync) -> Vec<Row> {
    let queue = Mutex::new(work.into_iter().collect::<VecDeque<_>>());
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, 8) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((attack, cx)) = next else { break };
                    let row = try_one(attack, &cx);
                    each(&row);
                    rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
                }
            });
        }
    });
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}
