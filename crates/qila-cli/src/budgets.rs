//! Where the accounts of budgets are kept: those of a run in its directory, those of an agent under `$QILA_HOME/budgets`.
use crate::fail::Fail;
use crate::home::Home;
use qila_budget::{Ledger, Owner, SystemClock};
use qila_gateway::BudgetFile;
use qila_policy::model::{Budget, Per};
use qila_types::RunId;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

const NAME: &str = "budgets";
/// Largest file of prices in bytes.
const MAX_PRICES: u64 = 1 << 20;

/// As the accounts know a run.
fn owner(run: &RunId) -> Owner {
    let mut owner = [0; 20];
    owner
        .iter_mut()
        .zip(run.as_str().bytes())
        .for_each(|(to, from)| *to = from);
    owner
}

/// The file of each budget. A limit may be changed without beginning anew; what is counted may not.
pub(crate) fn files(
    home: &Home,
    run: &RunId,
    dir: &Path,
    agent: &str,
    budgets: &[Budget],
) -> Result<Vec<BudgetFile>, Fail> {
    let shared = |b: &&Budget| b.per == Per::Agent;
    if budgets.iter().any(|b| shared(&b)) {
        home.subdir(NAME)?;
    }
    let path = |at: usize, budget: &Budget| -> PathBuf {
        if budget.per != Per::Agent {
            return dir.join(format!("budget-{at}"));
        }
        let window = budget.window.map_or(0, |w| w.0);
        let host = budget.host.as_ref().map(ToString::to_string).unwrap_or_default();
        let text = format!("{agent}\0{}\0{host}", budget.amount.what());
        let digest: String = Sha256::digest(text).iter().map(|b| format!("{b:02x}")).collect();
        home.path().join(NAME).join(format!("{digest}-{window}"))
    };
    let file = |(at, budget)| BudgetFile {
        path: path(at, budget),
        owner: owner(run),
    };
    Ok(budgets.iter().enumerate().map(file).collect())
}

/// Spends in full what a run that is no more had reserved in accounts of agents.
pub(crate) fn fold(home: &Home, run: &RunId) -> Result<(), Fail> {
    let dir = home.path().join(NAME);
    let Ok(entries) = std::fs::read_dir(&dir) else {
        return Ok(()); // there is no such account
    };
    let fail = |what: String| Fail::new(format!("settling what run {run} had reserved: {what}"));
    let clock = SystemClock::new().map_err(|e| fail(e.to_string()))?;
    for entry in entries {
        let path = entry.map_err(|e| Fail::io("reading", &dir, e))?.path();
        let window = path
            .file_name()
            .and_then(|n| n.to_str()?.rsplit_once('-')?.1.parse::<u64>().ok());
        let Some(window) = window else { continue };
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|e| Fail::io("opening", &path, e))?;
        let budget = qila_budget::Budget {
            name: String::new(),
            quantity: qila_budget::Quantity::Requests,
            limit: 0,
            window_ms: (window > 0).then_some(window),
        };
        let mut ledger = Ledger::open(vec![(budget, file)], owner(run), Box::new(clock), false);
        ledger.fold(&owner(run)).map_err(|e| fail(e.to_string()))?;
    }
    Ok(())
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
