//! Templates: what sandboxes are made from.
use serde::{Deserialize, Serialize};

/// Where a template's files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The host's own system directories.
    Host,
    /// A directory of the host that holds a root file system.
    Directory(String),
    /// An OCI image: `docker.io/library/python:3.12`, or one with `@sha256:…`.
    Image(String),
    /// An OCI image layout on this host.
    Layout(String),
    /// A snapshot of a sandbox.
    Snapshot(String),
}

/// Whether a template can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum TemplateState {
    /// Its image is being fetched, or its pool filled for the first time.
    Building,
    /// It can.
    Ready,
    /// It cannot.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Its id.
    pub id: String,
    /// Names by which it is asked for.
    pub names: Vec<String>,
    /// Whether every tenant may use it.
    pub public: bool,
    /// Where its files come from.
    pub source: Source,
    /// Whether its image is pulled with what whoever runs the node has logged in to: for admins alone.
    #[serde(default)]
    pub host_login: bool,
    /// A directory of the host whose files a new sandbox has in its home from the beginning.
    pub files: Option<String>,
    /// Its policy, as YAML or as the name of a preset.
    pub policy: String,
    /// Run by a shell in every new sandbox.
    pub start: Option<String>,
    /// Run by a shell until it succeeds; only then a new sandbox is ready.
    pub ready: Option<String>,
    /// Sandboxes kept ready.
    pub pool: u32,
    /// A program that is kept warm, of which each sandbox can have forks.
    #[serde(default)]
    pub zygote: Option<Zygote>,
    /// Seconds until the end of a sandbox that named no time.
    pub timeout_s: u64,
    /// Whether it can be used.
    pub state: TemplateState,
    /// When it was made, in Unix milliseconds.
    pub made_ms: u64,
}

/// A Python that is started once, and forked into sandboxes: they share its memory until they write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zygote {
    /// Modules that it has imported.
    pub preload: Vec<String>,
}
