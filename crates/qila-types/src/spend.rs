//! What an agent may spend: money and tokens.
use crate::units::{UnitError, bad, text_serde};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Micro-dollars in a dollar.
const MICRO: u64 = 1_000_000;
/// Digits behind the point that a micro-dollar has.
const DIGITS: usize = 6;

/// An amount of money in millionths of a US dollar, written `5 USD` or `0.25 USD`. Never a float: what is spent adds up exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Money(pub u64);

impl FromStr for Money {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wanted = "an amount of money such as `5 USD` or `0.25 USD`";
        micros(text).map(Money).ok_or_else(|| bad(text, wanted))
    }
}

fn micros(text: &str) -> Option<u64> {
    let number = text.strip_suffix(" USD")?;
    let (whole, part) = match number.split_once('.') {
        Some((whole, part)) if (1..=DIGITS).contains(&part.len()) => (whole, part),
        Some(_) => return None,
        None => (number, "0"),
    };
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return None;
    }
    let part: u64 = format!("{part:0<DIGITS$}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(MICRO)?.checked_add(part)
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / MICRO, self.0 % MICRO);
        if part == 0 {
            return write!(f, "{whole} USD");
        }
        let part = format!("{part:0DIGITS$}");
        write!(f, "{whole}.{} USD", part.trim_end_matches('0'))
    }
}
text_serde!(Money);

/// A number of tokens of a model, written `1000000`, `500k` or `2M`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tokens(pub u64);

impl FromStr for Tokens {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let fail = || bad(text, "a number of tokens such as `200000`, `200k` or `2M`");
        let (number, factor) = match text.as_bytes().last() {
            Some(b'k') => (text.trim_end_matches('k'), 1_000),
            Some(b'M') => (text.trim_end_matches('M'), 1_000_000),
            _ => (text, 1),
        };
        // One suffix, and digits alone before it: `u64` would take a sign.
        let plain = number.bytes().all(|b| b.is_ascii_digit()) && number.len() + 1 >= text.len();
        let value: u64 = number.parse().map_err(|_| fail())?;
        let value = value.checked_mul(factor).filter(|_| plain);
        value.map(Tokens).ok_or_else(fail)
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
text_serde!(Tokens);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_and_tokens_parse_and_print() {
        for (text, micros) in [
            ("5 USD", 5_000_000),
            ("0.25 USD", 250_000),
            ("0.000001 USD", 1),
            ("1200.5 USD", 1_200_500_000),
        ] {
            assert_eq!(text.parse(), Ok(Money(micros)));
            assert_eq!(Money(micros).to_string(), text);
        }
        assert_eq!("5.00 USD".parse(), Ok(Money(5_000_000)));
        for (text, tokens) in [("1000000", 1_000_000), ("500k", 500_000), ("2M", 2_000_000)] {
            assert_eq!(text.parse(), Ok(Tokens(tokens)));
        }
        assert_eq!(Tokens(500_000).to_string().parse(), Ok(Tokens(500_000)));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "5",
            "5 EUR",
            "5USD",
            "$5",
            "-5 USD",
            "+5 USD",
            "5. USD",
            ".5 USD",
            "0.0000001 USD",
            "1e3 USD",
            "18446744073710 USD",
            "5  USD",
        ] {
            assert!(text.parse::<Money>().is_err(), "{text:?}");
        }
        for text in [
            "",
            "k",
            "-1",
            "+1",
            "1.5k",
            "1kk",
            "1kM",
            "1e6",
            "1 000",
            "18446744073709551615k",
        ] {
            assert!(text.parse::<Tokens>().is_err(), "{text:?}");
        }
    }
}
