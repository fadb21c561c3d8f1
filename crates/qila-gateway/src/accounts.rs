//! Where the accounts of budgets are kept: those of a run in its directory, those of an agent in a directory that all share.
use crate::config::BudgetFile;
use qila_budget::{Ledger, Owner, SystemClock};
use qila_policy::model::{Budget, Per};
use qila_types::RunId;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Why accounts cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// A directory or a file cannot be made, opened or read.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An account cannot be settled.
    #[error("{0}")]
    Settle(String),
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> AccountError {
    let path = path.to_owned();
    |source| AccountError::File { path, source }
}

/// As the accounts know a run.
fn owner(run: &RunId) -> Owner {
    let mut owner = [0; 20];
    owner
        .iter_mut()
        .zip(run.as_str().bytes())
        .for_each(|(to, from)| *to = from);
    owner
}

/// The file of each budget. A limit may be changed without beginning anew; what is counted may not. `shared` is made if it is
/// needed.
pub fn accounts(
    shared: &Path,
    run: &RunId,
    dir: &Path,
    agent: &str,
    budgets: &[Budget],
) -> Result<Vec<BudgetFile>, AccountError> {
    if budgets.iter().any(|b| b.per == Per::Agent) {
        use std::os::unix::fs::DirBuilderExt;
        match std::fs::DirBuilder::new().mode(0o700).create(shared) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(file(shared)(e)),
            _ => {}
        }
    }
    let path = |at: usize, budget: &Budget| -> PathBuf {
        if budget.per != Per::Agent {
            return dir.join(format!("budget-{at}"));
        }
        let window = budget.window.map_or(0, |w| w.0);
        let host = budget.host.as_ref().map(ToString::to_string).unwrap_or_default();
        let text = format!("{agent}\0{}\0{host}", budget.amount.what());
        let digest: String = Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect();
        shared.join(format!("{digest}-{window}"))
    };
    let account = |(at, budget)| BudgetFile {
        path: path(at, budget),
        owner: owner(run),
    };
    Ok(budgets.iter().enumerate().map(account).collect())
}

/// Spends in full what a run that is no more had reserved in accounts of agents.
pub fn fold_accounts(shared: &Path, run: &RunId) -> Result<(), AccountError> {
    let Ok(entries) = std::fs::read_dir(shared) else {
        return Ok(()); // there is no such account
    };
    let clock = SystemClock::new().map_err(|e| AccountError::Settle(e.to_string()))?;
    for entry in entries {
        let path = entry.map_err(file(shared))?.path();
        let window = path
            .file_name()
            .and_then(|n| n.to_str()?.rsplit_once('-')?.1.parse::<u64>().ok());
        let Some(window) = window else { continue };
        let opened = std::fs::OpenOptions::new().read(true).write(true).open(&path);
        let account = opened.map_err(file(&path))?;
        let budget = qila_budget::Budget {
            name: String::new(),
            quantity: qila_budget::Quantity::Requests,
            limit: 0,
            window_ms: (window > 0).then_some(window),
        };
        let mut ledger = Ledger::open(vec![(budget, account)], owner(run), Box::new(clock), false);
        ledger
            .fold(&owner(run))
            .map_err(|e| AccountError::Settle(e.to_string()))?;
    }
    Ok(())
}
