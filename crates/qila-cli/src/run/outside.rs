//! What a run has outside its sandbox: the gateway, and what the agent holds instead of credentials.
use super::Job;
use crate::budgets;
use crate::fail::Fail;
use crate::leases;
use qila_gateway::{BudgetFile, Config, Gateway, Leases, Placeholder, Upstream};
use qila_policy::model::Policy;
use qila_policy::{Constitution, Permit};
use std::collections::BTreeSet;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Everything that a gateway is made of, before there is one.
pub(crate) struct Outside {
    /// What the agent may do.
    pub permit: Permit,
    /// Optional credentials that this host does not have.
    pub absent: BTreeSet<String>,
    placeholders: Vec<Placeholder>,
    home: Option<String>,
    workspace: Option<String>,
}

impl Outside {
    /// Leaves out optional credentials that this host does not have, and makes a placeholder for each of the others.
    pub(crate) fn new(
        policy: Policy,
        home: Option<String>,
        workspace: Option<String>,
    ) -> Result<Outside, Fail> {
        let absent: BTreeSet<String> = policy
            .credentials
            .iter()
            .filter(|c| !qila_gateway::available(c, home.as_deref(), workspace.as_deref()))
            .map(|c| c.name.clone())
            .collect();
        let policy = policy.without_credentials(&absent).map_err(|e| {
            Fail::new(e.to_string())
                .hint("provide it, or write `optional: true` to do without it and its rules")
        })?;
        let permit = Permit::grant(policy, &Constitution::default()).map_err(|e| Fail::new(e.to_string()))?;
        let placeholders = permit.policy().credentials.iter().map(|c| {
            let mut random = [0u8; 20];
            getrandom::fill(&mut random).map_err(|e| Fail::new(format!("no random numbers: {e}")))?;
            Ok(Placeholder::new(&c.name, random))
        });
        let placeholders = placeholders.collect::<Result<_, Fail>>()?;
        Ok(Outside {
            permit,
            absent,
            placeholders,
            home,
            workspace,
        })
    }

    /// Names of the credentials that the gateway will hold.
    pub(crate) fn leases(&self) -> Vec<String> {
        self.placeholders.iter().map(|p| p.credential.clone()).collect()
    }

    /// The variables that hold a placeholder inside.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let credentials = &self.permit.policy().credentials;
        credentials
            .iter()
            .zip(&self.placeholders)
            .flat_map(|(c, p)| c.env.iter().map(|name| (name.clone(), p.text.clone())))
            .collect()
    }

    /// What a gateway is started with.
    pub(crate) fn config(
        &self,
        upstreams: &[Upstream],
        upstream_ca: &[PathBuf],
        proxy_password: Option<Zeroizing<String>>,
        budgets: Vec<BudgetFile>,
        prices: Option<String>,
        leases: Option<Leases>,
    ) -> Config {
        let cwd = std::env::current_dir().unwrap_or_default();
        Config {
            permit: self.permit.clone(),
            placeholders: self.placeholders.clone(),
            upstreams: upstreams.to_vec(),
            upstream_ca: upstream_ca.iter().map(|p| cwd.join(p)).collect(),
            proxy_password,
            budgets,
            prices,
            leases,
            authority: None,
            home: self.home.clone(),
            workspace: self.workspace.clone(),
        }
    }

    /// Starts the gateway, if anything may leave at all.
    pub(crate) fn gateway(&self, job: &Job<'_>) -> Result<Option<Gateway>, Fail> {
        let (plan, args) = (job.plan, job.args);
        if !plan.network().has_gateway() {
            return Ok(None);
        }
        let agent = budgets::agent(args.agent.as_deref(), &args.policy);
        let clauses = &self.permit.policy().budgets;
        let files = budgets::files(job.home, &job.dir.id, job.dir.path(), &agent, clauses)?;
        let prices = budgets::prices(args.prices.as_ref())?;
        let leases = leases::place(job.home, &job.dir.id, self.permit.policy())?;
        let config = self.config(&args.upstream, &args.upstream_ca, None, files, prices, leases);
        let started = Gateway::start(config);
        started
            .map(Some)
            .map_err(|e| Fail::new(format!("starting the gateway: {e}")))
    }
}
