//! What a gateway is started from, in a form that can be handed to the launcher.
use crate::narrow::narrow;
use qila_gateway::{BudgetFile, Config, Gateway, Leases, Placeholder, Rewrite, Upstream};
use qila_policy::{Constitution, Permit};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What a gateway is started from: texts only. The values of credentials are read by the gateway itself.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct GatewayWish {
    /// The policy, and the optional credentials that are left out.
    pub rules: Rewrite,
    /// What of it is left.
    pub narrowed: qila_api::NetworkWish,
    /// What stands inside for each credential.
    pub placeholders: Vec<(String, String)>,
    /// Where names are, by the operator's word.
    pub upstreams: Vec<String>,
    /// Further certificates.
    pub upstream_ca: Vec<PathBuf>,
    /// Files of the accounts of each budget, and who reserves in them.
    pub budgets: Vec<(PathBuf, String)>,
    /// Prices that go before the built-in ones.
    pub prices: Option<String>,
    /// Directory of the journals of leases, and the name of this one's.
    pub leases: Option<(PathBuf, String)>,
    /// Key of the sandbox's certificate authority.
    pub authority: Option<String>,
    /// Home directory of whoever runs the node.
    pub home: Option<String>,
}

/// Why a gateway cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WishError {
    #[error("{0}")]
    Policy(String),
    #[error("{0}")]
    Upstream(#[from] qila_gateway::UpstreamError),
    #[error("the owner of a budget is no id")]
    Owner,
    #[error("forking the gateway: {0}")]
    Fork(Errno),
}

impl GatewayWish {
    /// Starts it.
    pub(crate) fn start(self) -> Result<Gateway, WishError> {
        let mut policy = self.rules.permit().map_err(WishError::Policy)?.policy().clone();
        narrow(&mut policy, &self.narrowed).map_err(|e| WishError::Policy(e.message))?;
        let permit =
            Permit::grant(policy, &Constitution::default()).map_err(|e| WishError::Policy(e.to_string()))?;
        let placeholder = |(credential, text)| Placeholder { credential, text };
        let upstreams = self.upstreams.iter().map(|u| u.parse::<Upstream>());
        let budget = |(path, owner): (PathBuf, String)| {
            let owner = owner.as_bytes().try_into().map_err(|_| WishError::Owner)?;
            Ok::<_, WishError>(BudgetFile { path, owner })
        };
        let config = Config {
            permit,
            placeholders: self.placeholders.into_iter().map(placeholder).collect(),
            upstreams: upstreams.collect::<Result<_, _>>()?,
            upstream_ca: self.upstream_ca,
            budgets: self.budgets.into_iter().map(budget).collect::<Result<_, _>>()?,
            prices: self.prices,
            proxy_password: None,
            authority: self.authority.map(Zeroizing::new),
            leases: self.leases.map(|(dir, run)| Leases { dir, run }),
            home: self.home,
            workspace: None,
        };
        Gateway::start(config).map_err(WishError::Fork)
    }
}
