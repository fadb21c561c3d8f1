//! Budgets and traces.
use super::{Duration, Host, Money, Size, TokensText};
use schemars::JsonSchema;

/// A bound on one quantity: the worst case is reserved before a request and settled from its answer, so that it is never
/// overrun. Exactly one of `money`, `tokens`, `requests` and `bytes`.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Budget {
    /// Money that calls to models cost.
    money: Option<Money>,
    /// Tokens of models, in and out.
    tokens: Option<TokensForm>,
    /// Requests (connections, where TLS passes through).
    #[schemars(range(min = 1))]
    requests: Option<u64>,
    /// Bytes, sent and received.
    bytes: Option<Size>,
    /// Whose spending is added up: that of the `run` (the default), of all runs of the `agent` (`qila run --agent NAME`), or of
    /// the run at each `host` by itself.
    per: Option<PerForm>,
    /// Spending at these hosts only, which some rule must allow. Not with `per: host`.
    host: Option<Host>,
    /// The window, 1s to 366d, after which it begins anew. Default: it never does.
    window: Option<Duration>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum TokensForm {
    Number(u64),
    Text(TokensText),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum PerForm {
    Run,
    Agent,
    Host,
}

/// What is kept of calls to models. Model, tokens, cost, latency and the names of tools always are.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Traces {
    /// Text and reasoning: their `hash` (the default), themselves (`keep`, redacted), or `none`.
    content: Option<Content>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Content {
    Hash,
    Keep,
    None,
}
