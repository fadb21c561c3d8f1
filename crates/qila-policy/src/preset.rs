//! The built-in policies.
mod offline;

use crate::error::PolicyError;
use crate::model::Policy;
use crate::parse::{NoFiles, parse};

/// A built-in policy, as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name, as `extends` and `--policy` use it.
    pub name: &'static str,
    /// Who it is for, in one line.
    pub summary: &'static str,
    /// Its policy.yaml.
    pub text: &'static str,
}

/// Every built-in policy. Each asks only for what an unprivileged user of a stock distribution can have enforced.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "offline",
        summary: "the workspace through a layer, no network at all",
        text: include_str!("../presets/offline.yaml"),
    },
    Preset {
        name: "coding-agent",
        summary: "a coding agent: model APIs with keys it never holds, package registries, source hosting",
        text: include_str!("../presets/coding-agent.yaml"),
    },
    Preset {
        name: "code-interpreter",
        summary: "code that a model wrote, run for its answer: no workspace, no network, small limits",
        text: include_str!("../presets/code-interpreter.yaml"),
    },
    Preset {
        name: "web-research",
        summary: "an agent that reads a list of reference sites and writes notes",
        text: include_str!("../presets/web-research.yaml"),
    },
];

/// The built-in policy with this name.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|p| p.name == name)
}

/// The built-in policy with this name, read. Quicker than [`parse`] on its text where that matters most.
pub fn policy(name: &str) -> Option<Result<Policy, PolicyError>> {
    let preset = find(name)?;
    Some(match preset.name {
        "offline" => Ok(offline::policy()),
        _ => parse(&format!("built-in {}", preset.name), preset.text, &mut NoFiles),
    })
}

/// Their names, for messages.
pub(crate) fn names() -> String {
    PRESETS
        .iter()
        .map(|p| format!("`{}`", p.name))
        .collect::<Vec<_>>()
        .join(", ")
}
