//! Sandboxes and parts of lists, as they are shown.
use crate::problem::Problem;
use qila_api::{Cursor, OnTimeout, State};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::ToSchema;

/// Longest time that can be asked for: a year.
const MAX_TIME: u64 = 366 * 24 * 3600 * 1000;

/// Whether a sandbox works.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StateView {
    /// It does.
    Running,
    /// Its processes stand still; its files are kept.
    Paused,
}

impl From<State> for StateView {
    fn from(state: State) -> StateView {
        match state {
            State::Running => StateView::Running,
            State::Paused => StateView::Paused,
        }
    }
}

/// What happens when a sandbox's time is over.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnTimeoutView {
    /// It is ended, and what it held is gone.
    #[default]
    Kill,
    /// It is paused.
    Pause,
}

impl From<OnTimeout> for OnTimeoutView {
    fn from(on: OnTimeout) -> OnTimeoutView {
        match on {
            OnTimeout::Kill => OnTimeoutView::Kill,
            OnTimeout::Pause => OnTimeoutView::Pause,
        }
    }
}

impl From<OnTimeoutView> for OnTimeout {
    fn from(on: OnTimeoutView) -> OnTimeout {
        match on {
            OnTimeoutView::Kill => OnTimeout::Kill,
            OnTimeoutView::Pause => OnTimeout::Pause,
        }
    }
}

/// A sandbox.
#[derive(Serialize, ToSchema)]
#[schema(as = Sandbox)]
pub(crate) struct SandboxView {
    /// Its name.
    pub id: String,
    /// Id of its template.
    pub template: String,
    /// Name of its template, where it has one.
    pub template_name: Option<String>,
    /// Whether it works.
    pub state: StateView,
    /// When it was made, in Unix milliseconds.
    pub started_ms: u64,
    /// When its time is over, in Unix milliseconds.
    pub ends_ms: u64,
    /// What happens then.
    pub on_timeout: OnTimeoutView,
    /// The tenant's own words about it.
    pub metadata: BTreeMap<String, String>,
    /// Processors, in thousandths.
    pub cpu_milli: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in MiB.
    pub disk_mib: u64,
    /// Isolation tier.
    pub tier: String,
    /// What has to be shown to its files and processes where no key is, if anything has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token: Option<String>,
    /// What has to be shown to its ports, if anything has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_token: Option<String>,
}

impl From<qila_api::Sandbox> for SandboxView {
    fn from(s: qila_api::Sandbox) -> SandboxView {
        let shown = |token: &secrecy::SecretString| token.expose_secret().to_owned();
        SandboxView {
            id: s.id.into(),
            template: s.template,
            template_name: s.alias,
            state: s.state.into(),
            started_ms: s.started_ms,
            ends_ms: s.ends_ms,
            on_timeout: s.on_timeout.into(),
            metadata: s.metadata,
            cpu_milli: s.cpu_milli,
            memory_mib: s.memory_mib,
            disk_mib: s.disk_mib,
            tier: s.tier,
            access_token: s.access_token.as_ref().map(shown),
            traffic_token: s.traffic_token.as_ref().map(shown),
        }
    }
}

/// Part of a list.
#[derive(Serialize, ToSchema)]
pub(crate) struct Listed<T> {
    /// Items, newest first.
    pub items: Vec<T>,
    /// What `after` has to be for the next part; absent: this is the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Listed<T> {
    pub fn of<S: Into<T>>(page: qila_api::Page<S>) -> Listed<T> {
        Listed {
            items: page.items.into_iter().map(Into::into).collect(),
            next: page.next.map(|Cursor(next)| next),
        }
    }
}

/// How many are wanted: 100, or as many as are asked for from 1 to 1,000.
pub(crate) fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(100) {
        n @ 1..=1000 => Ok(n),
        n => Err(Problem::invalid(format!("limit: {n} is not from 1 to 1000"))),
    }
}

/// Where the list goes on.
pub(crate) fn cursor(after: Option<String>) -> Result<Option<Cursor>, Problem> {
    match after {
        Some(text) if text.is_empty() || text.len() > 256 => {
            Err(Problem::invalid("after: no such place in the list"))
        }
        other => Ok(other.map(Cursor)),
    }
}

/// A time that is not too long.
pub(crate) fn time(ms: u64) -> Result<Duration, Problem> {
    if ms > MAX_TIME {
        return Err(Problem::invalid(format!("timeout_ms: at most {MAX_TIME}")));
    }
    Ok(Duration::from_millis(ms))
}
