//! `qila kill`.
use crate::args::Kill;
use crate::fail::Fail;
use crate::home::Home;
use crate::run::evidence::Evidence;
use crate::state;
use qila_types::EventKind;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long to wait for a run to end, in tenths of a second: its own grace period and some time to clean up.
const PATIENCE: u32 = 150;

/// `qila kill`.
pub(crate) fn kill(args: &Kill) -> Result<u8, Fail> {
    let home = Home::open()?;
    let run = state::find(&home, &args.run)?;
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
    // The agent is stopped even where that cannot be recorded: it is the safe side.
    let event = EventKind::Kill {
        by_uid: rustix::process::getuid().as_raw(),
    };
    let recorded = Evidence::of(&home, &run.id).record(vec![event]);
    let signal = if args.now { Signal::USR1 } else { Signal::TERM };
    pidfd_send_signal(&pidfd, signal)
        .map_err(|e| Fail::new(format!("run {} cannot be stopped: {e}", run.id)))?;
    for _ in 0..PATIENCE {
        if !run.is_running() {
            let unrecorded = format!("run {} was stopped, but not the order for it recorded: ", run.id);
            return recorded.map(|()| 0).map_err(|f| f.prefix(&unrecorded).code(1));
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    Err(Fail::new(format!("run {} has not ended yet", run.id))
        .hint("qila kill --now")
        .code(1))
}
