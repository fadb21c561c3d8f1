//! From what went wrong to what is said of it.
use crate::guest::LineError;
use qila_api::{ApiError, Kind};
use qila_plan::Refusal;
use qila_sandbox::LaunchError;
use rustix::io::Errno;
use std::fmt::Display;

/// A failure of the node itself. What exactly is for its log.
pub(crate) fn internal(what: &str, why: &dyn Display) -> ApiError {
    eprintln!("qila: {what}: {why}");
    ApiError::new(Kind::Internal, format!("the node failed: {what}"))
}

/// The policy cannot be enforced here, or not as it stands.
pub(crate) fn refused(refusal: &Refusal) -> ApiError {
    let mut hint = refusal.fix.clone();
    if let Some(tier) = refusal.nearest {
        let also = format!("the {tier} tier can");
        hint = if hint.is_empty() {
            also
        } else {
            format!("{hint}; {also}")
        };
    }
    let error = ApiError::new(Kind::Refused, refusal.to_string()).clause(refusal.clause.as_str());
    if hint.is_empty() { error } else { error.hint(hint) }
}

/// A sandbox could not be made.
pub(crate) fn launch(error: &LaunchError) -> ApiError {
    match error {
        LaunchError::Step {
            errno: Errno::NOSPC, ..
        } => ApiError::new(Kind::NoSpace, "the node's disk is full"),
        LaunchError::Step {
            errno: Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN,
            ..
        } => busy(),
        other => internal("making a sandbox", other),
    }
}

/// The machine has no room for now.
pub(crate) fn busy() -> ApiError {
    let retry_after = std::time::Duration::from_secs(1);
    ApiError::new(Kind::Busy { retry_after }, "the node is busy; try again")
}

/// A guest did not do what it was asked.
pub(crate) fn guest(error: LineError) -> ApiError {
    match error {
        LineError::Failed { what, errno } => said(&what, errno),
        LineError::Closed | LineError::Broken(_) => ApiError::new(Kind::Gone, "the sandbox has ended"),
        LineError::Confused(why) => internal("listening to a guest", &why),
    }
}

/// What a system call inside said, in the words of whoever asked.
fn said(what: &str, errno: Errno) -> ApiError {
    let kind = match errno {
        Errno::NOENT | Errno::SRCH => Kind::NotFound,
        Errno::NOSPC | Errno::DQUOT => Kind::NoSpace,
        Errno::EXIST | Errno::NOTEMPTY | Errno::PIPE | Errno::CONNREFUSED | Errno::NOTTY => Kind::Conflict,
        Errno::AGAIN | Errno::NOMEM | Errno::MFILE | Errno::NFILE => {
            let text = format!("{what}: the sandbox has reached a limit ({errno})");
            return ApiError::new(Kind::Conflict, text)
                .clause("resources")
                .hint("end something in it, or use a template with larger limits");
        }
        Errno::FBIG => {
            return ApiError::new(Kind::NoSpace, format!("{what}: {errno}")).clause("resources.disk");
        }
        Errno::TIMEDOUT => Kind::Timeout,
        _ => Kind::Invalid,
    };
    ApiError::new(kind, format!("{what}: {errno}"))
}

/// The node could not write down what it knows.
pub(crate) fn store(error: &qila_store::StoreError) -> ApiError {
    match error {
        qila_store::StoreError::NoSpace => ApiError::new(Kind::NoSpace, "the node's disk is full"),
        qila_store::StoreError::Busy => busy(),
        other => internal("its state cannot be read or written", other),
    }
}
