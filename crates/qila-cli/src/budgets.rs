//! Where the accounts of budgets are kept: those of a run in its directory, those of an agent under `$QILA_HOME/budgets`.
use crate::fail::{Fail, chain};
use crate::home::Home;
use qila_gateway::BudgetFile;
use qila_policy::model::Budget;
use qila_types::RunId;
use std::path::{Path, PathBuf};

const NAME: &str = "budgets";
/// Largest file of prices in bytes.
const MAX_PRICES: u64 = 1 << 20;

/// The file of each budget.
pub(crate) fn files(
    home: &Home,
    run: &RunId,
    dir: &Path,
    agent: &str,
    budgets: &[Budget],
) -> Result<Vec<BudgetFile>, Fail> {
    let files = qila_gateway::accounts(&home.path().join(NAME), run, dir, agent, budgets);
    files.map_err(|e| Fail::new(format!("keeping accounts in {}", chain(&e))))
}

/// Spends in full what a run that is no more had reserved in accounts of agents.
pub(crate) fn fold(home: &Home, run: &RunId) -> Result<(), Fail> {
    let folded = qila_gateway::fold_accounts(&home.path().join(NAME), run);
    folded.map_err(|e| Fail::new(format!("settling what run {run} had reserved: {}", chain(&e))))
}

/// The operator's own prices.
pub(crate) fn prices(path: Option<&PathBuf>) -> Result<Option<String>, Fail> {
    use std::io::Read;
    let Some(path) = path else { return Ok(None) };
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|f| f.take(MAX_PRICES).read_to_string(&mut text));
    read.map_err(|e| Fail::io("reading prices from", path, e))?;
    Ok(Some(text))
}

/// The name of an agent that was given none: its policy's.
pub(crate) fn agent(named: Option<&str>, policy: &str) -> String {
    let file = || {
        Path::new(policy)
            .file_stem()
            .map(|s| s.to_string_lossy().into_owned())
    };
    named
        .map(str::to_owned)
        .or_else(file)
        .unwrap_or_else(|| policy.to_owned())
}

/// Money, for a person: all digits that count.
pub(crate) fn dollars(micros: u64) -> String {
    format!("{}.{:06} USD", micros / 1_000_000, micros % 1_000_000)
}
