//! The figures of `usage` and `usageMetadata`, wherever an API puts them.
use super::small::Small;
use crate::key::K;
use crate::usage::{Figures, larger};

/// Reads figures. An iteration's figures are summed within one telling, and the largest sum is kept.
#[derive(Debug, Default)]
pub(crate) struct FigureReader {
    pub(crate) figures: Figures,
    sums: [u64; 6],
    modality: Small,
    count: u64,
    pub(crate) input_now: bool,
}

/// The rest of a path behind the object of figures.
pub(crate) fn within(path: &[K]) -> Option<&[K]> {
    match path {
        [K::Usage | K::UsageMetadata, rest @ ..]
        | [K::Response | K::Message | K::XGroq, K::Usage, rest @ ..]
        | [K::Choices, K::Elem, K::Usage, rest @ ..] => Some(rest),
        _ => None,
    }
}

impl FigureReader {
    pub(crate) fn begin(&mut self, rest: &[K]) {
        match rest {
            [K::Iterations] => self.sums = [0; 6],
            [K::PromptCountDetails, K::Elem] => {
                self.modality.clear();
                self.count = 0;
            }
            _ => {}
        }
    }

    pub(crate) fn end(&mut self, rest: &[K]) {
        match rest {
            [K::Iterations] => {
                let [input, output, cached, written, five, hour] = self.sums;
                let f = &mut self.figures;
                for (slot, sum) in [
                    (&mut f.input, input),
                    (&mut f.output, output),
                    (&mut f.cached, cached),
                    (&mut f.cache_write, written),
                    (&mut f.cache_write_5m, five),
                    (&mut f.cache_write_1h, hour),
                ] {
                    if sum > 0 {
                        larger(slot, sum);
                    }
                }
            }
            [K::PromptCountDetails, K::Elem] if self.modality.is("AUDIO") => {
                larger(&mut self.figures.audio_input, self.count);
            }
            _ => {}
        }
    }

    pub(crate) fn text(&mut self, rest: &[K], piece: Option<&[u8]>) {
        if rest == [K::PromptCountDetails, K::Elem, K::Modality] {
            match piece {
                Some(piece) => self.modality.add(piece),
                None => self.modality.end(),
            }
        }
    }

    pub(crate) fn number(&mut self, rest: &[K], value: u64) {
        let f = &mut self.figures;
        let slot = match rest {
            [K::PromptTokens | K::InputTokens | K::PromptCount] => {
                self.input_now = true;
                &mut f.input
            }
            [K::CompletionTokens | K::OutputTokens | K::CandidatesCount] => &mut f.output,
            [K::TotalTokens | K::TotalCount] => &mut f.total,
            [K::CacheReadInput | K::CachedContentCount | K::PromptCacheHit | K::Cached]
            | [K::PromptDetails | K::InputDetails, K::Cached] => &mut f.cached,
            [K::CacheCreationInput] | [K::PromptDetails | K::InputDetails, K::CacheWrite] => {
                &mut f.cache_write
            }
            [K::CacheCreation, K::Ephemeral5m] => &mut f.cache_write_5m,
            [K::CacheCreation, K::Ephemeral1h] => &mut f.cache_write_1h,
            [K::ThoughtsCount]
            | [
                K::CompletionDetails | K::OutputDetails,
                K::ReasoningTokens | K::ThinkingTokens,
            ] => &mut f.reasoning,
            [K::PromptDetails | K::InputDetails, K::AudioTokens] => &mut f.audio_input,
            [K::CompletionDetails | K::OutputDetails, K::AudioTokens] => &mut f.audio_output,
            [K::ToolUsePromptCount] => &mut f.tool_input,
            [K::ServerToolUse, K::WebSearchRequests | K::WebFetchRequests] => &mut f.hosted,
            [K::PromptCountDetails, K::Elem, K::TokenCount] => {
                self.count = self.count.max(value);
                return;
            }
            [K::Iterations, K::Elem, inner @ ..] => {
                let at = match inner {
                    [K::InputTokens] => 0,
                    [K::OutputTokens] => 1,
                    [K::CacheReadInput] => 2,
                    [K::CacheCreationInput] => 3,
                    [K::CacheCreation, K::Ephemeral5m] => 4,
                    [K::CacheCreation, K::Ephemeral1h] => 5,
                    _ => return,
                };
                if let Some(sum) = self.sums.get_mut(at) {
                    *sum = sum.saturating_add(value);
                }
                return;
            }
            _ => return,
        };
        larger(slot, value);
    }
}
