//! Dates.

/// Days from 1970-01-01 to a day of the Gregorian calendar, from 1970 on.
pub(crate) fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March: a leap day is then the last of its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year.saturating_sub(1), month + 9)
    };
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    (before + (month * 153 + 2) / 5 + day.saturating_sub(1)).saturating_sub(719_468)
}

/// `20150830T123600Z`.
pub(super) fn stamp(now: u64) -> String {
    let (whole, rest) = (now / 86_400, now % 86_400);
    let mut year = 1970 + whole / 366;
    while days(year + 1, 1, 1) <= whole {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= whole {
        month += 1;
    }
    let day = whole - days(year, month, 1) + 1;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (now, text) in [
            (0, "19700101T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(stamp(now), text);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for n in 0..100_000 {
            assert_eq!(days(year, month, day), n);
            assert_eq!(stamp(n * 86_400), format!("{year:04}{month:02}{day:02}T000000Z"));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
