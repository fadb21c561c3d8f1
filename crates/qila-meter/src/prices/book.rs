//! One file of prices.
use super::glob;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Largest file.
const MAX_BYTES: usize = 1 << 20;
/// Most entries of one file, and names of one entry.
const MAX_ENTRIES: usize = 4096;
const MAX_NAMES: usize = 64;
/// Highest price, in dollars for a million tokens or for one call.
const MAX_PRICE: f64 = 1e6;

/// Why a file of prices is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PricesError {
    /// Not the YAML that is wanted. The text names the line.
    #[error("the prices are not as they must be: {0}")]
    Syntax(String),
    /// Too large.
    #[error("a file of prices has at most {MAX_BYTES} bytes")]
    TooLarge,
    /// Something in an entry cannot be.
    #[error("prices of `{model}`: {what}")]
    Entry {
        /// The first name of the entry.
        model: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// Prices in millionths of a dollar for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// New input.
    pub input: u64,
    /// Input read from the provider's cache.
    pub cached_input: u64,
    /// Input written to the cache, kept for its usual time.
    pub cache_write: u64,
    /// Input written to the cache, kept longer; none where that is not offered.
    pub cache_write_long: Option<u64>,
    /// Output, reasoning included.
    pub output: u64,
    /// Audio in the input; none where there is no price of its own.
    pub audio_input: Option<u64>,
    /// Audio in the output; none where there is no price of its own.
    pub audio_output: Option<u64>,
}

/// What tools that the provider runs may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hosted {
    /// How often the model is asked within one call at most. No provider promises a number: it is the operator's to choose.
    pub rounds: u64,
    /// The fee for one use of a tool, in millionths of a dollar.
    pub call: u64,
}

/// An entry: what is known of the models that its names match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Patterns of names.
    pub names: Vec<String>,
    /// Prices; none where only the limits are known.
    pub rates: Option<Rates>,
    /// Prices of a call whose input is longer than so many tokens.
    pub above: Option<(u64, Rates)>,
    /// The context window, in tokens.
    pub context: Option<u64>,
    /// Most tokens of one answer.
    pub max_output: Option<u64>,
    /// Factors of surcharges, in thousandths.
    pub surcharges: BTreeMap<String, u64>,
    /// Tools that the provider runs.
    pub hosted: Option<Hosted>,
}

#[derive(Debug, Clone)]
pub(crate) struct Book {
    entries: Vec<Price>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    models: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    names: Vec<String>,
    input: Option<f64>,
    cached_input: Option<f64>,
    cache_write: Option<f64>,
    cache_write_long: Option<f64>,
    output: Option<f64>,
    audio_input: Option<f64>,
    audio_output: Option<f64>,
    above: Option<Above>,
    context: Option<u64>,
    max_output: Option<u64>,
    #[serde(default)]
    surcharges: BTreeMap<String, f64>,
    hosted: Option<HostedEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Above {
    tokens: u64,
    input: f64,
    cached_input: Option<f64>,
    cache_write: Option<f64>,
    cache_write_long: Option<f64>,
    output: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostedEntry {
    rounds: u64,
    call: f64,
}

impl Book {
    pub(crate) fn parse(yaml: &str) -> Result<Book, PricesError> {
        if yaml.len() > MAX_BYTES {
            return Err(PricesError::TooLarge);
        }
        let mut options = serde_saphyr::Options::default();
        options.duplicate_keys = serde_saphyr::options::DuplicateKeyPolicy::Error;
        options.merge_keys = serde_saphyr::options::MergeKeyPolicy::Error;
        options.strict_booleans = true;
        options.with_snippet = false;
        let file: File = serde_saphyr::from_str_with_options(yaml, options).map_err(|error| {
            let text = error.without_snippet().to_string();
            PricesError::Syntax(
                text.lines()
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(200)
                    .collect(),
            )
        })?;
        if file.version != 1 {
            return Err(PricesError::Syntax("`version` must be 1".to_owned()));
        }
        if file.models.len() > MAX_ENTRIES {
            return Err(PricesError::TooLarge);
        }
        let entries = file
            .models
            .into_iter()
            .map(entry)
            .collect::<Result<Vec<Price>, PricesError>>()?;
        let mut all: Vec<&String> = entries.iter().flat_map(|e| &e.names).collect();
        all.sort();
        if let Some([twice, ..]) = all.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(PricesError::Entry {
                model: (*twice).clone(),
                what: "the name stands twice",
            });
        }
        Ok(Book { entries })
    }

    pub(crate) fn find(&self, model: &str) -> Option<&Price> {
        let weight = |e: &Price| {
            let fits = e.names.iter().filter(|name| glob::matches(name, model));
            fits.map(|name| glob::weight(name)).max()
        };
        self.entries
            .iter()
            .filter_map(|e| Some((weight(e)?, e)))
            .max_by_key(|(weight, _)| *weight)
            .map(|(_, e)| e)
    }
}

fn entry(e: Entry) -> Result<Price, PricesError> {
    let model = e.names.first().cloned().unwrap_or_default();
    let bad = |what| PricesError::Entry {
        model: model.clone(),
        what,
    };
    if e.names.is_empty() || e.names.len() > MAX_NAMES {
        return Err(bad("it needs 1 to 64 names"));
    }
    if e.names.iter().any(|n| n.is_empty() || n.len() > crate::MAX_NAME) {
        return Err(bad("a name has 1 to 256 bytes"));
    }
    let price = |dollars: f64| {
        micro(dollars).ok_or_else(|| bad("a price is a number from 0 to 1000000 with at most six decimals"))
    };
    let maybe = |dollars: Option<f64>| dollars.map(price).transpose();
    let rates = match (e.input, e.output) {
        (Some(input), output) => {
            let input = price(input)?;
            Some(Rates {
                input,
                cached_input: maybe(e.cached_input)?.unwrap_or(input),
                cache_write: maybe(e.cache_write)?.unwrap_or(input),
                cache_write_long: maybe(e.cache_write_long)?,
                output: maybe(output)?.unwrap_or(0),
                audio_input: maybe(e.audio_input)?,
                audio_output: maybe(e.audio_output)?,
            })
        }
        (None, None) => {
            let stray = [
                e.cached_input,
                e.cache_write,
                e.cache_write_long,
                e.audio_input,
                e.audio_output,
            ];
            if stray.iter().any(Option::is_some)
                || e.above.is_some()
                || e.hosted.is_some()
                || !e.surcharges.is_empty()
            {
                return Err(bad("prices need `input`"));
            }
            None
        }
        (None, Some(_)) => return Err(bad("prices need `input`")),
    };
    let above = match (e.above, rates) {
        (Some(a), Some(base)) => {
            let input = price(a.input)?;
            let long = Rates {
                input,
                cached_input: maybe(a.cached_input)?.unwrap_or(input),
                cache_write: maybe(a.cache_write)?.unwrap_or(input),
                cache_write_long: maybe(a.cache_write_long)?,
                output: price(a.output)?,
                // Audio has one price, and it is never less than that of a text of that length.
                audio_input: base.audio_input.map(|p| p.max(input)),
                audio_output: base.audio_output,
            };
            let dearer = long.input >= base.input
                && long.cached_input >= base.cached_input
                && long.cache_write >= base.cache_write
                && long.cache_write_long.is_some() == base.cache_write_long.is_some()
                && long.cache_write_long >= base.cache_write_long
                && long.output >= base.output;
            if !dearer {
                return Err(bad(
                    "`above` needs every price that the entry has, and none may be lower",
                ));
            }
            Some((a.tokens, long))
        }
        _ => None,
    };
    let surcharges = e
        .surcharges
        .into_iter()
        .map(|(name, factor)| {
            let milli = micro(factor).filter(|m| m % 1000 == 0 && (1_000_000..=100_000_000).contains(m));
            let known = name.split_once(':').is_some_and(|(kind, value)| {
                matches!(kind, "service_tier" | "speed" | "inference_geo") && !value.is_empty()
            });
            match milli {
                Some(m) if known => Ok((name, m / 1000)),
                Some(_) => Err(bad(
                    "a surcharge is named `service_tier:…`, `speed:…` or `inference_geo:…`",
                )),
                None => Err(bad(
                    "a surcharge is a factor from 1 to 100 with at most three decimals",
                )),
            }
        })
        .collect::<Result<_, _>>()?;
    let hosted = match e.hosted {
        Some(h) if (1..=1000).contains(&h.rounds) => Some(Hosted {
            rounds: h.rounds,
            call: price(h.call)?,
        }),
        Some(_) => return Err(bad("`rounds` is a number from 1 to 1000")),
        None => None,
    };
    if e.context == Some(0) || e.max_output == Some(0) {
        return Err(bad("a limit is not 0"));
    }
    Ok(Price {
        names: e.names,
        rates,
        above,
        context: e.context,
        max_output: e.max_output,
        surcharges,
        hosted,
    })
}

/// Dollars as millionths, where that is exact.
fn micro(dollars: f64) -> Option<u64> {
    if !(0.0..=MAX_PRICE).contains(&dollars) {
        return None;
    }
    let scaled = dollars * 1e6;
    let whole = scaled.round();
    // The nearest float to a number of six decimals is off by far less than this.
    ((scaled - whole).abs() < 1e-3).then_some(whole as u64)
}
