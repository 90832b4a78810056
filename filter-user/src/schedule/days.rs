//! Sets of weekdays, in words.

use std::fmt;

use jiff::civil::Weekday;

const NAMES: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// A set of weekdays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(u8);

/// A word that names no weekdays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no weekday: write mon, tue, wed, thu, fri, sat, sun, or a range such as sun-thu")]
pub struct DaysError(pub String);

impl Days {
    /// All seven.
    pub const EVERY: Self = Self(0x7f);

    /// Reads days (`mon`) and ranges (`sun-thu`), which may go around the end of the week.
    ///
    /// # Errors
    ///
    /// On the first word that is neither.
    pub fn parse(words: &[impl AsRef<str>]) -> Result<Self, DaysError> {
        let mut days = Self(0);
        for word in words {
            let word = word.as_ref();
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let bounds = number(first).zip(number(last));
            let (first, last) = bounds.ok_or_else(|| DaysError(word.to_owned()))?;
            let count = (last + 7 - first) % 7 + 1;
            for day in first..first + count {
                days.0 |= 1 << (day % 7);
            }
        }
        Ok(days)
    }

    /// Whether a day is in the set.
    pub fn contains(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }

    #[cfg(test)]
    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::EVERY {
            return f.write_str("every day");
        }
        let names = NAMES.iter().filter(|(_, day)| self.contains(*day));
        let names: Vec<&str> = names.map(|(name, _)| *name).collect();
        f.write_str(&names.join(","))
    }
}

fn number(name: &str) -> Option<usize> {
    let name = name.trim().to_ascii_lowercase();
    NAMES.iter().position(|(known, _)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_go_around_the_end_of_the_week() {
        for (words, days) in [
            (&["mon"][..], "mon"),
            (&["sun-thu"], "mon,tue,wed,thu,sun"),
            (&["Sat-Sun", "wed"], "wed,sat,sun"),
            (&["mon-sun"], "every day"),
            (&["fri-fri"], "fri"),
        ] {
            assert_eq!(Days::parse(words).unwrap().to_string(), days);
        }
    }

    #[test]
    fn a_word_that_is_no_day_is_named() {
        for wrong in ["", "monday", "mon-", "mon-fri-sun", "8"] {
            assert_eq!(
                Days::parse(&["tue", wrong]),
                Err(DaysError(wrong.to_owned()))
            );
        }
    }
}
