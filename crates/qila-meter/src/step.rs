//! One call of a model as a step of a trace.
use crate::api::Api;
use crate::content::Stored;
use crate::prices::Settled;
use crate::request::Request;
use crate::response::{Outcome, Part};
use crate::usage::{MicroUsd, Usage};
use serde::{Deserialize, Serialize};

/// A call of a model, ready to be stored: what was said is redacted, or only its hash is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// When the request was sent, in milliseconds since 1970.
    pub at_ms: u64,
    /// The host it was sent to.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The API.
    pub api: Api,
    /// The model asked for.
    pub model: String,
    /// The model that answered, where it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_model: Option<String>,
    /// The provider's id of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_id: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Most tokens asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u64>,
    /// Status of the response; 0 where none came.
    pub status: u16,
    /// Kind of the error, empty where it has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it used.
    pub usage: Usage,
    /// Whether the provider told the usage to the end; else it is the worst case.
    pub exact: bool,
    /// What it cost; none where the model has no prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micro_usd: Option<MicroUsd>,
    /// From the request to the end of the response.
    pub latency_ms: u64,
    /// From the request to the first piece of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_token_ms: Option<u64>,
    /// The answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<StepChoice>,
    /// Parts of the answers that were too many to keep.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepChoice {
    /// Why the model stopped, in the provider's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// What it said. Without contents where nothing is to be kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<StepPart>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum StepPart {
    /// Text.
    Text {
        /// The text, or its hash.
        content: Stored,
    },
    /// Reasoning.
    Reasoning {
        /// The reasoning, or its hash.
        content: Stored,
    },
    /// A call of a tool.
    ToolCall {
        /// The provider's id of the call.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// The tool.
        name: String,
        /// Its arguments, or their hash; none where nothing is to be kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arguments: Option<Stored>,
        /// The provider runs it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        hosted: bool,
    },
}

/// What the caller knows of a call, and this crate does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// When the request was sent, in milliseconds since 1970.
    pub at_ms: u64,
    /// The host it was sent to.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// Status of the response; 0 where none came.
    pub status: u16,
    /// From the request to the end of the response.
    pub latency_ms: u64,
    /// From the request to the first piece of the answer.
    pub first_token_ms: Option<u64>,
}

impl Step {
    /// A step from what was asked, answered and settled. Every text that a model or a server chose goes through `redact` before it is
    /// in the step: what was said, arguments, names of tools, ids.
    pub fn new(
        call: &Circumstances<'_>,
        request: &Request,
        outcome: &Outcome,
        settled: &Settled,
        redact: &dyn Fn(&mut Vec<u8>),
    ) -> Step {
        let clean = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            redact(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let part = |part: &Part| match part {
            Part::Text(content) => content.stored(redact).map(|content| StepPart::Text { content }),
            Part::Reasoning(content) => content
                .stored(redact)
                .map(|content| StepPart::Reasoning { content }),
            Part::ToolCall(call) => Some(StepPart::ToolCall {
                id: call.id.as_deref().map(clean),
                name: clean(&call.name),
                arguments: call.arguments.stored(redact),
                hosted: call.hosted,
            }),
        };
        Step {
            at_ms: call.at_ms,
            host: call.host.to_owned(),
            port: call.port,
            api: request.api,
            model: clean(&request.model),
            response_model: outcome.model.as_deref().map(clean),
            response_id: outcome.id.as_deref().map(clean),
            stream: request.stream,
            max_output: request.max_output,
            status: call.status,
            error: outcome.error.as_deref().map(clean),
            usage: settled.usage,
            exact: settled.exact,
            cost_micro_usd: settled.cost,
            latency_ms: call.latency_ms,
            first_token_ms: call.first_token_ms,
            choices: outcome
                .choices
                .iter()
                .map(|choice| StepChoice {
                    finish_reason: choice.finish_reason.as_deref().map(clean),
                    parts: choice.parts.iter().filter_map(part).collect(),
                })
                .collect(),
            left_out: outcome.left_out,
        }
    }

    /// The calls of tools.
    pub fn tool_calls(&self) -> impl Iterator<Item = (&str, Option<&Stored>)> {
        self.choices
            .iter()
            .flat_map(|c| &c.parts)
            .filter_map(|part| match part {
                StepPart::ToolCall { name, arguments, .. } => Some((name.as_str(), arguments.as_ref())),
                StepPart::Text { .. } | StepPart::Reasoning { .. } => None,
            })
    }
}
