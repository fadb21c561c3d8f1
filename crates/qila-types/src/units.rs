//! Quantities with their units, parsed from and printed as the policy writes them.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not a quantity of the wanted unit.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not {wanted}")]
pub struct UnitError {
    /// What was written, shortened to 64 characters.
    pub text: String,
    /// What was expected, with an example.
    pub wanted: &'static str,
}

pub(crate) fn bad(text: &str, wanted: &'static str) -> UnitError {
    UnitError {
        text: text.chars().take(64).collect(),
        wanted,
    }
}

fn split(text: &str) -> Option<(f64, u64, &str)> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    if number.is_empty() || number.starts_with('.') || number.ends_with('.') {
        return None;
    }
    let float: f64 = number.parse().ok()?;
    let whole: u64 = if number.contains('.') {
        0
    } else {
        number.parse().ok()?
    };
    Some((float, whole, unit))
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (float, whole, unit) = split(text)?;
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    if text.contains('.') {
        let value = float * factor as f64;
        (value.is_finite() && value < 9.0e15 && value.fract() == 0.0).then_some(value as u64)
    } else {
        whole.checked_mul(factor)
    }
}

macro_rules! text_serde {
    ($t:ty) => {
        impl TryFrom<String> for $t {
            type Error = UnitError;
            fn try_from(text: String) -> Result<Self, UnitError> {
                text.parse()
            }
        }
        impl From<$t> for String {
            fn from(value: $t) -> String {
                value.to_string()
            }
        }
    };
}

pub(crate) use text_serde;

const BYTE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// A number of bytes, written `512MiB`, `2GiB`, `1.5GiB` or `10MB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, BYTE_UNITS)
            .map(Bytes)
            .ok_or_else(|| bad(text, "a size such as `512MiB` or `2GiB`"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [
            ("TiB", 1u64 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
        ] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}B", self.0)
    }
}
text_serde!(Bytes);

/// A number of bytes per second, written `10MiB/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteRate(pub u64);

impl FromStr for ByteRate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wanted = "a byte rate such as `10MiB/s`";
        let amount = text.strip_suffix("/s").ok_or_else(|| bad(text, wanted))?;
        amount
            .parse::<Bytes>()
            .map(|b| ByteRate(b.0))
            .map_err(|_| bad(text, wanted))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Bytes(self.0))
    }
}
text_serde!(ByteRate);

/// A span of time in milliseconds, written `250ms`, `30s`, `5m`, `2h` or `1d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Millis(pub u64);

const TIME_UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl FromStr for Millis {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, TIME_UNITS)
            .map(Millis)
            .ok_or_else(|| bad(text, "a duration such as `30s`, `5m` or `2h`"))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}ms", self.0)
    }
}
text_serde!(Millis);

/// Processor time as thousandths of one core, written `2`, `0.5` or `250m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpus(pub u32);

impl FromStr for Cpus {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let milli = scaled(text, &[("", 1_000), ("m", 1)]).and_then(|v| u32::try_from(v).ok());
        milli
            .filter(|m| *m > 0)
            .map(Cpus)
            .ok_or_else(|| bad(text, "a number of cores such as `2`, `0.5` or `250m`"))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1_000) {
            write!(f, "{}", self.0 / 1_000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}
text_serde!(Cpus);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_parse_and_print() {
        assert_eq!("2GiB".parse(), Ok(Bytes(2 << 30)));
        assert_eq!("1.5GiB".parse(), Ok(Bytes(3 << 29)));
        assert_eq!("10MiB/s".parse(), Ok(ByteRate(10 << 20)));
        assert_eq!("30m".parse(), Ok(Millis(1_800_000)));
        assert_eq!("0.5".parse(), Ok(Cpus(500)));
        assert_eq!("250m".parse(), Ok(Cpus(250)));
        for text in ["512MiB", "2GiB", "7B"] {
            assert_eq!(text.parse::<Bytes>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "2",
            "GiB",
            "-1GiB",
            "2 GiB",
            "1e9B",
            "99999999999999999999GiB",
            "0.3B",
            "2gib",
            ".5GiB",
        ] {
            assert!(text.parse::<Bytes>().is_err(), "{text:?}");
        }
        assert!("0".parse::<Cpus>().is_err());
    }
}
