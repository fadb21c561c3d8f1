//! How often, and how much of it at once.
use crate::units::{ByteRate, Bytes, Millis, UnitError, bad, text_serde};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

/// Between a rate and its burst, in text.
const BURST: &str = " burst ";

/// A count per window of time, written `60/min`, `5/s`, `1000/h` or `10/30s`, and with a burst `60/min burst 10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    /// How many in one window.
    pub count: u32,
    /// The window.
    pub per: Millis,
    /// How many may come at once; none means as many as in one window.
    pub burst: Option<NonZeroU32>,
}

impl Rate {
    /// A rate whose burst is one window's worth.
    pub const fn new(count: u32, per: Millis) -> Rate {
        Rate {
            count,
            per,
            burst: None,
        }
    }

    /// How many may come at once.
    pub fn at_once(&self) -> u32 {
        self.burst.map_or(self.count, NonZeroU32::get)
    }
}

impl FromStr for Rate {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wanted = "a rate such as `60/min`, `5/s` or `1000/h`";
        let (rate, burst) = match text.split_once(BURST) {
            Some((rate, burst)) => (rate, Some(burst.parse().map_err(|_| bad(text, wanted))?)),
            None => (text, None),
        };
        let (count, window) = rate.split_once('/').ok_or_else(|| bad(text, wanted))?;
        let count: u32 = count.parse().map_err(|_| bad(text, wanted))?;
        let spelled = if window.starts_with(|c: char| c.is_ascii_digit()) {
            window.to_owned()
        } else {
            format!("1{window}")
        };
        let per: Millis = spelled.parse().map_err(|_| bad(text, wanted))?;
        if count == 0 || per.0 == 0 {
            return Err(bad(text, wanted));
        }
        Ok(Rate { count, per, burst })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.per.0 {
            1_000 => write!(f, "{}/s", self.count),
            60_000 => write!(f, "{}/min", self.count),
            3_600_000 => write!(f, "{}/h", self.count),
            _ => write!(f, "{}/{}", self.count, self.per),
        }?;
        match self.burst {
            Some(burst) => write!(f, "{BURST}{burst}"),
            None => Ok(()),
        }
    }
}
text_serde!(Rate);

/// A byte rate and how many bytes may come at once, written `10MiB/s` or `10MiB/s burst 1MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Flow {
    /// Bytes per second.
    pub limit: ByteRate,
    /// Bytes at once; none means as many as in one second.
    pub burst: Option<NonZeroU64>,
}

impl Flow {
    /// How many bytes may come at once.
    pub fn at_once(&self) -> u64 {
        self.burst.map_or(self.limit.0, NonZeroU64::get)
    }
}

impl From<ByteRate> for Flow {
    fn from(limit: ByteRate) -> Flow {
        Flow { limit, burst: None }
    }
}

impl FromStr for Flow {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wanted = "a byte rate such as `10MiB/s`";
        let fail = || bad(text, wanted);
        let (limit, burst) = match text.split_once(BURST) {
            Some((limit, burst)) => {
                let bytes: Bytes = burst.parse().map_err(|_| fail())?;
                (limit, Some(NonZeroU64::new(bytes.0).ok_or_else(fail)?))
            }
            None => (text, None),
        };
        let limit: ByteRate = limit.parse().map_err(|_| fail())?;
        Ok(Flow { limit, burst })
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.limit)?;
        match self.burst {
            Some(burst) => write!(f, "{BURST}{}", Bytes(burst.get())),
            None => Ok(()),
        }
    }
}
text_serde!(Flow);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_parse_and_print() {
        assert_eq!("60/min".parse(), Ok(Rate::new(60, Millis(60_000))));
        assert_eq!("10/30s".parse(), Ok(Rate::new(10, Millis(30_000))));
        for (text, at_once) in [
            ("60/min", 60),
            ("5/s", 5),
            ("10/30s", 10),
            ("3/h", 3),
            ("60/min burst 10", 10),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.to_string().as_str(), rate.at_once()), (text, at_once));
        }
        for (text, at_once) in [("1KiB/s", 1024), ("1KiB/s burst 2MiB", 2 << 20)] {
            let flow: Flow = text.parse().unwrap();
            assert_eq!((flow.to_string().as_str(), flow.at_once()), (text, at_once));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "0/s",
            "1/0s",
            "x/s",
            "1",
            "1/parsec",
            "1/s burst 0",
            "1/s burst",
            "1/s burst -1",
            "1/s  burst 1",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text:?}");
        }
        for text in ["1KiB", "1KiB/s burst 0B", "1KiB/s burst 1", "burst 1KiB"] {
            assert!(text.parse::<Flow>().is_err(), "{text:?}");
        }
    }
}
