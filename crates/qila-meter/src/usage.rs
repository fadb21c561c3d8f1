//! How many tokens a call used.
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a call used, in tokens. Every provider's figures are brought into this one form:
///
/// | field | OpenAI chat | OpenAI responses | Anthropic | Gemini (`usageMetadata`) |
/// |---|---|---|---|---|
/// | `input` | `prompt_tokens` | `input_tokens` | `input_tokens` + both cache figures | `promptTokenCount` + `toolUsePromptTokenCount` |
/// | `cached_input` | `prompt_tokens_details.cached_tokens` | `input_tokens_details.cached_tokens` | `cache_read_input_tokens` | `cachedContentTokenCount` |
/// | `cache_write` | `….cache_write_tokens` | `….cache_write_tokens` | `cache_creation_input_tokens` less the next | |
/// | `cache_write_long` | | | `cache_creation.ephemeral_1h_input_tokens` | |
/// | `output` | `completion_tokens` | `output_tokens` | `output_tokens` | `candidatesTokenCount` + `thoughtsTokenCount` |
/// | `reasoning` | `completion_tokens_details.reasoning_tokens` | `output_tokens_details.reasoning_tokens` | `output_tokens_details.thinking_tokens` | `thoughtsTokenCount` |
/// | `audio_input` | `prompt_tokens_details.audio_tokens` | | | `promptTokensDetails[modality = AUDIO]` |
///
/// Where a total (`total_tokens`, `totalTokenCount`) is larger than its parts, the rest counts as output: some servers leave
/// reasoning out of the parts. Anthropic's `usage.iterations` (compaction, server tools) is summed, and the larger of the sum and
/// the outer figure taken, since the outer one leaves some iterations out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// All tokens of the input: new, cached and written to a cache, of all kinds.
    pub input: u64,
    /// Of the input: read from the provider's cache.
    #[serde(default)]
    pub cached_input: u64,
    /// Of the input: written to the provider's cache, kept for its usual time.
    #[serde(default)]
    pub cache_write: u64,
    /// Of the input: written to the provider's cache, kept longer (an hour at Anthropic).
    #[serde(default)]
    pub cache_write_long: u64,
    /// Of the input: audio.
    #[serde(default)]
    pub audio_input: u64,
    /// All tokens of the output, reasoning and audio included.
    pub output: u64,
    /// Of the output: reasoning.
    #[serde(default)]
    pub reasoning: u64,
    /// Of the output: audio.
    #[serde(default)]
    pub audio_output: u64,
    /// Tools that the provider ran and asks a fee for, such as web searches.
    #[serde(default)]
    pub hosted_calls: u64,
}

impl Usage {
    /// Input and output.
    pub fn tokens(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    /// The larger of both, figure by figure.
    #[must_use]
    pub fn max(&self, other: &Usage) -> Usage {
        Usage {
            input: self.input.max(other.input),
            cached_input: self.cached_input.max(other.cached_input),
            cache_write: self.cache_write.max(other.cache_write),
            cache_write_long: self.cache_write_long.max(other.cache_write_long),
            audio_input: self.audio_input.max(other.audio_input),
            output: self.output.max(other.output),
            reasoning: self.reasoning.max(other.reasoning),
            audio_output: self.audio_output.max(other.audio_output),
            hosted_calls: self.hosted_calls.max(other.hosted_calls),
        }
    }
}

/// Money, in millionths of a US dollar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

impl MicroUsd {
    /// The sum, or the largest amount.
    #[must_use]
    pub fn saturating_add(self, other: MicroUsd) -> MicroUsd {
        MicroUsd(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for MicroUsd {
    /// `1.25 USD`; never fewer than two decimals.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.0 % 1_000_000);
        let (cents, rest) = decimals.split_at_checked(2).unwrap_or((&decimals, ""));
        write!(
            f,
            "{}.{cents}{} USD",
            self.0 / 1_000_000,
            rest.trim_end_matches('0')
        )
    }
}

/// The figures of one response as the provider spells them. Of each, the largest that was ever told: a stream repeats and
/// raises its figures, a key may stand twice, and a figure that falls is not believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub total: Option<u64>,
    pub cached: Option<u64>,
    pub cache_write: Option<u64>,
    pub cache_write_5m: Option<u64>,
    pub cache_write_1h: Option<u64>,
    pub reasoning: Option<u64>,
    pub audio_input: Option<u64>,
    pub audio_output: Option<u64>,
    /// Gemini: what its tools read.
    pub tool_input: Option<u64>,
    pub hosted: Option<u64>,
}

/// Keeps the larger.
pub(crate) fn larger(slot: &mut Option<u64>, value: u64) {
    *slot = Some(slot.map_or(value, |old| old.max(value)));
}

impl Figures {
    /// Whether both ends of a call were told.
    pub(crate) fn told(&self) -> bool {
        self.input.is_some() && (self.output.is_some() || self.total.is_some())
    }

    /// Whether anything was told.
    pub(crate) fn any(&self) -> bool {
        self.input.is_some() || self.output.is_some() || self.total.is_some()
    }

    /// Brought into the common form. `apart`: the input excludes what was read from and written to the cache (Anthropic).
    /// `thoughts`: the output excludes reasoning (Gemini).
    pub(crate) fn usage(&self, apart: bool, thoughts: bool) -> Usage {
        let n = |v: Option<u64>| v.unwrap_or(0);
        let cached_input = n(self.cached);
        let long = n(self.cache_write_1h);
        let written = n(self.cache_write).max(long.saturating_add(n(self.cache_write_5m)));
        let parts = cached_input.saturating_add(written);
        let input = n(self.input).saturating_add(n(self.tool_input));
        let input = if apart {
            input.saturating_add(parts)
        } else {
            input.max(parts)
        };
        let input = input.max(n(self.audio_input));
        let reasoning = n(self.reasoning);
        let output = n(self.output);
        let output = if thoughts {
            output.saturating_add(reasoning)
        } else {
            output.max(reasoning)
        };
        let output = output
            .max(n(self.audio_output))
            .max(n(self.total).saturating_sub(input));
        Usage {
            input,
            cached_input,
            cache_write: written.saturating_sub(long),
            cache_write_long: long,
            audio_input: n(self.audio_input),
            output,
            reasoning,
            audio_output: n(self.audio_output),
            hosted_calls: n(self.hosted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_prints() {
        for (micro, text) in [
            (0, "0.00 USD"),
            (1, "0.000001 USD"),
            (1_250_000, "1.25 USD"),
            (12_300, "0.0123 USD"),
        ] {
            assert_eq!(MicroUsd(micro).to_string(), text);
        }
        assert_eq!(MicroUsd(u64::MAX).saturating_add(MicroUsd(1)), MicroUsd(u64::MAX));
    }

    #[test]
    fn figures_agree_or_the_larger_counts() {
        let hidden = Figures {
            input: Some(758),
            output: Some(102),
            total: Some(1725),
            ..Figures::default()
        };
        assert_eq!(
            hidden.usage(false, false).output,
            967,
            "what a total holds beyond its parts is output"
        );
        let absurd = Figures {
            input: Some(1),
            output: Some(u64::MAX),
            total: Some(5),
            cached: Some(9),
            ..Figures::default()
        };
        let usage = absurd.usage(false, false);
        assert_eq!(
            (usage.input, usage.output, usage.tokens()),
            (9, u64::MAX, u64::MAX)
        );
        let cache = Figures {
            input: Some(10),
            output: Some(1),
            cached: Some(100),
            cache_write: Some(30),
            cache_write_1h: Some(20),
            ..Figures::default()
        };
        let usage = cache.usage(true, false);
        assert_eq!(
            (usage.input, usage.cache_write, usage.cache_write_long),
            (140, 10, 20)
        );
    }
}
