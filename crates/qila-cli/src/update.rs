//! `qila update` and `qila revoke`: what changes for a run that goes on.
use crate::args::{Revoke, Update};
use crate::fail::Fail;
use crate::home::Home;
use crate::leases;
use crate::load;
use crate::run::change::{self, Ask, Wish};
use crate::state;
use qila_gateway::Outcome;
use qila_types::RunId;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long to wait for the run's answer, in hundredths of a second; longer where it asks providers first.
const PATIENCE: u32 = 1000;
const PROVIDERS: u32 = 4500;

/// `qila update`.
pub(crate) fn update(args: &Update) -> Result<u8, Fail> {
    let bundle = load::bundle(&args.policy)?;
    let home = Home::open()?;
    let run = tell(&home, &args.run, Ask::Rules(Box::new(bundle)))?;
    println!("run {run} goes on under the changed rules");
    Ok(0)
}

/// `qila revoke`.
pub(crate) fn revoke(args: &Revoke) -> Result<u8, Fail> {
    let home = Home::open()?;
    if let Some(run) = leases::find(&home, &args.run)?
        && let Some(outcomes) = leases::take_back(&home, &run)?
    {
        return left(&run, &outcomes);
    }
    let run = tell(
        &home,
        &args.run,
        Ask::Revoke(args.credentials.iter().cloned().collect()),
    )?;
    match args.credentials.as_slice() {
        [] => println!("run {run} goes on without any credential"),
        names => println!("run {run} goes on without {}", names.join(", ")),
    }
    Ok(0)
}

/// What became of what a run had left at providers.
fn left(run: &RunId, outcomes: &[Outcome]) -> Result<u8, Fail> {
    let mut all = true;
    for Outcome { credential, why } in outcomes {
        all &= why.is_none();
        match why {
            None => println!("{credential}: revoked"),
            Some(why) => println!("{credential}: NOT REVOKED: {why}"),
        }
    }
    match all {
        true => Ok(0),
        false => Err(
            Fail::new(format!("run {run} has left what is not taken back yet"))
                .hint("it is tried again when `qila` is started; or revoke it at its provider")
                .code(1),
        ),
    }
}

/// Tells a run, and waits until it has done what it was told.
fn tell(home: &Home, named: &str, what: Ask) -> Result<RunId, Fail> {
    let run = state::find(home, named)?;
    let revokes = matches!(what, Ask::Revoke(_));
    let gone = || {
        Fail::new(format!("run {} is not running", run.id))
            .hint("see `qila ps`")
            .code(1)
    };
    if !run.is_running() {
        return Err(gone());
    }
    let pid = run
        .meta()
        .and_then(|m| Pid::from_raw(i32::try_from(m.pid).ok()?))
        .ok_or_else(gone)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    // Still locked after the descriptor was opened: the process behind it is the one that holds the lock.
    if !run.is_running() {
        return Err(gone());
    }
    let id = change::number()?;
    change::ask(&run, &Wish { id, what })?;
    pidfd_send_signal(&pidfd, Signal::USR2)
        .map_err(|e| Fail::new(format!("run {} cannot be told: {e}", run.id)))?;
    for _ in 0..if revokes { PROVIDERS } else { PATIENCE } {
        if let Some(answer) = change::answer(&run).filter(|a| a.id == id) {
            return match answer.refused {
                None => Ok(run.id),
                Some(why) if revokes => Err(Fail::new(format!("run {}: {why}", run.id)).code(1)),
                Some(why) => Err(Fail::new(format!("run {} goes on as before: {why}", run.id)).code(1)),
            };
        }
        if !run.is_running() {
            return Err(gone());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(Fail::new(format!("run {} does not answer", run.id))
        .hint("`qila log` tells whether the change was recorded")
        .code(1))
}
