//! The worst case before a call, and what it came to.
use super::Prices;
use super::book::{Price, Rates};
use crate::Api;
use crate::request::{ADDED, Request};
use crate::response::{MAX_CHOICES, Outcome};
use crate::usage::{MicroUsd, Usage};

/// Why a call has no worst case: what to add to the prices file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unbounded {
    /// The model has no prices.
    #[error(
        "no prices are known for the model `{model}`: add an entry with `input` and `output` to the prices file"
    )]
    NoPrices {
        /// The model.
        model: String,
    },
    /// The body does not bound the input.
    #[error(
        "`{what}` is not bounded by the request, and no context window is known for the model `{model}`: add `context` to its entry in the prices file"
    )]
    NoContext {
        /// The model.
        model: String,
        /// What is not bounded.
        what: String,
    },
    /// The body does not bound the output.
    #[error(
        "the request does not limit its output, and no longest output is known for the model `{model}`: add `max_output` to its entry in the prices file"
    )]
    NoMaxOutput {
        /// The model.
        model: String,
    },
    /// The provider runs a tool.
    #[error(
        "the provider runs the tool `{tool}` as often as it likes: leave it out, or add `hosted` to the entry of `{model}` in the prices file"
    )]
    Hosted {
        /// The model.
        model: String,
        /// The tool.
        tool: String,
    },
    /// A surcharge of unknown height.
    #[error(
        "no factor is known for `{surcharge}` of the model `{model}`: add it to `surcharges` in its entry in the prices file"
    )]
    NoSurcharge {
        /// The model.
        model: String,
        /// The surcharge.
        surcharge: String,
    },
    /// The cache is asked to keep longer, at an unknown price.
    #[error(
        "no price is known for keeping the cache of `{model}` longer: add `cache_write_long` to its entry in the prices file"
    )]
    NoLongCache {
        /// The model.
        model: String,
    },
    /// The provider may choose another model.
    #[error("`{key}` lets the provider choose another model, of another price")]
    OtherModels {
        /// The key.
        key: &'static str,
    },
}

/// The most that a call can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worst {
    /// Tokens of input.
    pub input: u64,
    /// Tokens of output.
    pub output: u64,
    /// Uses of tools that the provider runs.
    pub hosted_calls: u64,
}

impl Worst {
    /// Input and output.
    pub fn tokens(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

/// What a call came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Its usage; where that was not told, the worst case.
    pub usage: Usage,
    /// Its cost; none where the model has no prices.
    pub cost: Option<MicroUsd>,
    /// The figures are the provider's final ones. Else they are the worst case, or more where the provider told more.
    pub exact: bool,
}

impl Prices {
    /// The most tokens that a call can use. Prices need not be known, limits only where the request sets none.
    pub fn worst(&self, request: &Request) -> Result<Worst, Unbounded> {
        let price = self.find(&request.model);
        let model = || request.model.clone();
        let context = price.and_then(|p| p.context);
        let read = request.body_bytes.saturating_add(ADDED);
        let input = match (&request.beyond, context) {
            (None, Some(context)) if request.api != Api::OpenaiEmbeddings => read.min(context),
            (None, _) => read,
            (Some(_), Some(context)) => context,
            (Some(what), None) => {
                return Err(Unbounded::NoContext {
                    model: model(),
                    what: what.clone(),
                });
            }
        };
        let output = if request.api == Api::OpenaiEmbeddings {
            0
        } else {
            let each = request.max_output.or(price.and_then(|p| p.max_output));
            let each = each.ok_or_else(|| Unbounded::NoMaxOutput { model: model() })?;
            each.saturating_mul(request.choices)
                .saturating_add(request.extra_output)
        };
        let Some(tool) = &request.hosted else {
            return Ok(Worst {
                input,
                output,
                hosted_calls: 0,
            });
        };
        // Each round reads up to a full window and answers up to the limit.
        match (price.and_then(|p| p.hosted), context) {
            (Some(hosted), Some(context)) => Ok(Worst {
                input: context.saturating_mul(hosted.rounds),
                output: output.saturating_mul(hosted.rounds),
                hosted_calls: hosted.rounds,
            }),
            _ => Err(Unbounded::Hosted {
                model: model(),
                tool: tool.clone(),
            }),
        }
    }

    /// The most that a call can cost, given the most that it can use.
    pub fn worst_cost(&self, request: &Request, worst: &Worst) -> Result<MicroUsd, Unbounded> {
        let model = || request.model.clone();
        if let Some(key) = request.other_models {
            return Err(Unbounded::OtherModels { key });
        }
        let price = self.find(&request.model);
        let (Some(price), Some(base)) = (price, price.and_then(|p| p.rates)) else {
            return Err(Unbounded::NoPrices { model: model() });
        };
        if request.long_cache && base.cache_write_long.is_none() {
            return Err(Unbounded::NoLongCache { model: model() });
        }
        let mut factor = 1000;
        for name in &request.surcharges {
            let more = price.surcharges.get(name).ok_or_else(|| Unbounded::NoSurcharge {
                model: model(),
                surcharge: name.clone(),
            })?;
            factor = times(factor, *more);
        }
        let rates = price.rates_for(worst.input).unwrap_or(base);
        // Of all kinds of input and output, the dearest that the call may have.
        let audio = |rate: Option<u64>| rate.filter(|_| request.audio).unwrap_or(0);
        let input = rates
            .input
            .max(rates.cached_input)
            .max(rates.cache_write)
            .max(if request.long_cache {
                rates.cache_write_long.unwrap_or(0)
            } else {
                0
            })
            .max(audio(rates.audio_input));
        let output = rates.output.max(audio(rates.audio_output));
        let tokens = [(worst.input, input), (worst.output, output)];
        Ok(sum(&tokens, factor).saturating_add(price.fees(worst.hosted_calls)))
    }

    /// What a usage costs. None where the model has no prices. Surcharges without a factor count as the largest that the entry has.
    pub fn cost(&self, model: &str, usage: &Usage, surcharges: &[String]) -> Option<MicroUsd> {
        let price = self.find(model)?;
        let rates = price.rates_for(usage.input)?;
        let largest = price.surcharges.values().copied().max().unwrap_or(1000);
        let factor = surcharges.iter().fold(1000, |factor, name| {
            times(factor, price.surcharges.get(name).copied().unwrap_or(largest))
        });
        let parts = usage
            .cached_input
            .saturating_add(usage.cache_write)
            .saturating_add(usage.cache_write_long)
            .saturating_add(usage.audio_input);
        let tokens = [
            (usage.input.saturating_sub(parts), rates.input),
            (usage.cached_input, rates.cached_input),
            (usage.cache_write, rates.cache_write),
            (
                usage.cache_write_long,
                rates.cache_write_long.unwrap_or(rates.cache_write),
            ),
            (usage.audio_input, rates.audio_input.unwrap_or(rates.input)),
            (usage.output.saturating_sub(usage.audio_output), rates.output),
            (usage.audio_output, rates.audio_output.unwrap_or(rates.output)),
        ];
        Some(sum(&tokens, factor).saturating_add(price.fees(usage.hosted_calls)))
    }

    /// What a call came to: its usage where the response told it to the end, else the worst case. `worst` is what
    /// [`Prices::worst`] said before the call.
    pub fn settle(&self, request: &Request, worst: &Worst, outcome: &Outcome) -> Settled {
        let mut told = outcome.usage.unwrap_or_default();
        if request.long_cache && !outcome.cache_split {
            // Not told apart: all that was written may be kept longer.
            told.cache_write_long = told.cache_write_long.max(told.cache_write);
            told.cache_write = 0;
        }
        let mut surcharges = request.surcharges.clone();
        surcharges.extend(
            outcome
                .surcharges
                .iter()
                .filter(|s| !request.surcharges.contains(s))
                .cloned(),
        );
        let answering = outcome.model.as_deref().unwrap_or(&request.model);
        let by_usage = |usage: &Usage| {
            let asked = self.cost(&request.model, usage, &surcharges);
            asked.max(self.cost(answering, usage, &surcharges))
        };
        // A stream of several answers tells one end for each, and its usage grows until the last.
        let ended = outcome
            .choices
            .iter()
            .filter(|c| c.finish_reason.is_some())
            .count() as u64;
        let open = request.api == Api::Gemini
            && outcome.stream
            && (1..request.choices.min(MAX_CHOICES)).contains(&ended);
        if (outcome.exact && !open) || outcome.free {
            return Settled {
                usage: told,
                cost: by_usage(&told),
                exact: true,
            };
        }
        let usage = told.max(&Usage {
            input: worst.input,
            output: worst.output,
            hosted_calls: worst.hosted_calls,
            ..Usage::default()
        });
        let cost = self.worst_cost(request, worst).ok();
        Settled {
            usage,
            cost: cost.max(by_usage(&told)),
            exact: false,
        }
    }
}

impl Price {
    /// The prices for an input of that length.
    fn rates_for(&self, input: u64) -> Option<Rates> {
        match self.above {
            Some((tokens, rates)) if input > tokens => Some(rates),
            _ => self.rates,
        }
    }

    fn fees(&self, calls: u64) -> MicroUsd {
        let fee = self.hosted.map_or(0, |h| h.call);
        MicroUsd(fee.saturating_mul(calls))
    }
}

/// A product of factors in thousandths, rounded up.
fn times(factor: u64, more: u64) -> u64 {
    let product = u128::from(factor) * u128::from(more);
    u64::try_from(product.div_ceil(1000)).unwrap_or(u64::MAX)
}

/// Tokens times prices for a million tokens, times a factor in thousandths, rounded up once.
fn sum(tokens: &[(u64, u64)], factor: u64) -> MicroUsd {
    let total = tokens.iter().fold(0u128, |total, (count, rate)| {
        total.saturating_add(u128::from(*count) * u128::from(*rate))
    });
    let scaled = total.saturating_mul(u128::from(factor)).div_ceil(1_000_000_000);
    MicroUsd(u64::try_from(scaled).unwrap_or(u64::MAX))
}
