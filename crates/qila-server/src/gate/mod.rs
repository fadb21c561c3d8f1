//! What every request of the native API passes: a name of its own, its place among the others, a key, the tenant's rate.
mod caller;
mod rate;
mod record;
mod share;

pub(crate) use caller::{Admin, Caller, bound_control, require_key, who};
pub(crate) use rate::Rates;
pub(crate) use record::{Place, record};
pub(crate) use share::{Share, Shares};
