//! Other rules for a running sandbox, or an end of its credentials: asked for through a file in the run's directory and a signal
//! to its launcher, which records other rules, tells the gateway, and answers through another file. No socket listens while
//! nobody asks.
use super::evidence::digest;
use super::outside::Outside;
use super::witness::Witness;
use crate::args::Run;
use crate::fail::Fail;
use crate::state::RunDir;
use qila_gateway::Rewrite;
use qila_policy::model::WorkspaceMode;
use qila_policy::{Bundle, Policy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const ASKED: &str = "change.json";
const ANSWERED: &str = "changed.json";
/// Largest of the two files in bytes.
const MAX: u64 = 16 << 20;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Wish {
    /// A number of its own.
    pub id: u64,
    /// What.
    pub what: Ask,
}

/// What a run is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// These rules instead of its own.
    Rules(Box<Bundle>),
    /// To do without these credentials from now on; without any if none is named.
    Revoke(BTreeSet<String>),
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The wish's number.
    pub id: u64,
    /// Why nothing was changed.
    pub refused: Option<String>,
}

/// A number for a wish.
pub(crate) fn number() -> Result<u64, Fail> {
    getrandom::u64().map_err(|e| Fail::new(format!("no random numbers: {e}")))
}

fn put<T: Serialize>(dir: &RunDir, name: &str, value: &T) -> Result<(), Fail> {
    let text = serde_json::to_vec(value).map_err(|e| Fail::new(e.to_string()))?;
    dir.put(name, &text)
}

/// Leaves a wish for a run.
pub(crate) fn ask(dir: &RunDir, wish: &Wish) -> Result<(), Fail> {
    put(dir, ASKED, wish)
}

/// What a run has answered last.
pub(crate) fn answer(dir: &RunDir) -> Option<Answer> {
    serde_json::from_slice(&dir.get(ANSWERED, MAX)?.0).ok()
}

/// The launcher's side.
pub(crate) struct Changes<'a> {
    dir: &'a RunDir,
    outside: &'a Outside,
    args: &'a Run,
    /// The wish that the gateway has not answered yet.
    pending: Option<u64>,
}

impl<'a> Changes<'a> {
    /// Of a run.
    pub(crate) fn new(dir: &'a RunDir, outside: &'a Outside, args: &'a Run) -> Changes<'a> {
        Changes {
            dir,
            outside,
            args,
            pending: None,
        }
    }

    /// Somebody has left a wish.
    pub(crate) fn asked(&mut self, witness: &mut Witness<'_, '_>) -> Result<(), Fail> {
        let Some((text, uid)) = self.dir.get(ASKED, MAX) else {
            return Ok(()); // a signal from somebody else
        };
        self.dir.forget(ASKED);
        let Ok(wish) = serde_json::from_slice::<Wish>(&text) else {
            return Ok(());
        };
        let id = wish.id;
        match self.begin(wish, witness, uid)? {
            None => {
                self.pending = Some(id);
                Ok(())
            }
            refused => put(self.dir, ANSWERED, &Answer { id, refused }),
        }
    }

    /// Tells the gateway, unless there is a reason not to. A gateway that cannot be told is gone, and the run with it.
    fn begin(&self, wish: Wish, witness: &mut Witness<'_, '_>, uid: u32) -> Result<Option<String>, Fail> {
        if self.pending.is_some() {
            return Ok(Some("another change is under way; try again".into()));
        }
        if witness.link().is_none() {
            return Ok(Some(match wish.what {
                Ask::Rules(_) => "it was started without a network, which cannot be given to it now".into(),
                Ask::Revoke(_) => "it was started without a network, and has no credentials".into(),
            }));
        }
        match wish.what {
            Ask::Revoke(names) => witness.revoke(names, uid).map(|()| None),
            Ask::Rules(bundle) => match self.rewrite(*bundle) {
                Ok((rewrite, policy)) => witness.change(rewrite, digest(&policy), uid).map(|()| None),
                Err(why) => Ok(Some(why)),
            },
        }
    }

    fn rewrite(&self, policy: Bundle) -> Result<(Rewrite, Policy), String> {
        let rewrite = Rewrite {
            policy,
            absent: self.outside.absent.clone(),
        };
        let mut policy = rewrite.permit()?.policy().clone();
        if let Some(tier) = self.args.isolation {
            policy.isolation = tier.named();
        }
        if self.args.direct {
            policy.filesystem.workspace = WorkspaceMode::Direct;
        }
        match self.outside.permit.policy().fixed_difference(&policy) {
            None => Ok((rewrite, policy)),
            Some(clause) => Err(format!(
                "`{clause}` differs, which holds for a whole run; only `network.allow` and `network.rates` can change"
            )),
        }
    }

    /// The gateway has answered.
    pub(crate) fn done(&mut self, outcome: Result<(), String>) -> Result<(), Fail> {
        match self.pending.take() {
            None => Ok(()),
            Some(id) => put(
                self.dir,
                ANSWERED,
                &Answer {
                    id,
                    refused: outcome.err(),
                },
            ),
        }
    }

    /// Takes both files away.
    pub(crate) fn forget(&self) {
        self.dir.forget(ASKED);
        self.dir.forget(ANSWERED);
    }
}
