//! Single values in the configuration's words.

use std::fmt;

use filter_common::rule::AnswerKind;
use serde::{Deserialize, Deserializer, Serialize, de};

/// Where the program runs, in the configuration's words.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ModeChoice {
    /// In the driver.
    #[default]
    Native,
    /// Behind the driver, on any device, slower.
    Skb,
}

/// An answer in the configuration's words.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AnswerChoice {
    /// NXDOMAIN with a SOA.
    #[default]
    Nxdomain,
    /// NODATA with a SOA.
    Nodata,
    /// REFUSED.
    Refused,
    /// 0.0.0.0 and ::.
    Null,
    /// TC=1: ask again over TCP.
    Truncate,
    /// No answer.
    Drop,
    /// The query passes and is counted.
    Observe,
}

impl AnswerChoice {
    /// Every choice.
    pub const ALL: [Self; 7] = [
        Self::Nxdomain,
        Self::Nodata,
        Self::Refused,
        Self::Null,
        Self::Truncate,
        Self::Drop,
        Self::Observe,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        AnswerKind::from(self).as_str()
    }

    /// What the client gets, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Nxdomain => "NXDOMAIN with a SOA",
            Self::Nodata => "No error, no data, with a SOA",
            Self::Refused => "REFUSED",
            Self::Null => "0.0.0.0 and ::",
            Self::Truncate => "TC=1: ask again over TCP",
            Self::Drop => "No answer",
            Self::Observe => "The query passes and is counted",
        }
    }
}

impl fmt::Display for AnswerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<AnswerChoice> for AnswerKind {
    fn from(choice: AnswerChoice) -> Self {
        match choice {
            AnswerChoice::Nxdomain => Self::NxDomain,
            AnswerChoice::Nodata => Self::NoData,
            AnswerChoice::Refused => Self::Refused,
            AnswerChoice::Null => Self::Null,
            AnswerChoice::Truncate => Self::Truncate,
            AnswerChoice::Drop => Self::Drop,
            AnswerChoice::Observe => Self::Observe,
        }
    }
}

/// An extended error's INFO-CODE (RFC 8914 §4): a number, or one of three words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdeCode(pub u8);

impl EdeCode {
    /// Blocked (RFC 8914 §4.16): by the policy of the operator.
    pub const BLOCKED: Self = Self(15);
    /// Censored (RFC 8914 §4.17): by an order from outside.
    pub const CENSORED: Self = Self(16);
    /// Filtered (RFC 8914 §4.18): because the client asked for it.
    pub const FILTERED: Self = Self(17);
}

impl<'de> Deserialize<'de> for EdeCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EdeVisitor)
    }
}

struct EdeVisitor;

impl de::Visitor<'_> for EdeVisitor {
    type Value = EdeCode;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"blocked\", \"censored\", \"filtered\" or a number from 1 to 255")
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<EdeCode, E> {
        match u8::try_from(number) {
            Ok(number) if number != 0 => Ok(EdeCode(number)),
            _ => Err(E::invalid_value(de::Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<EdeCode, E> {
        match word {
            "blocked" => Ok(EdeCode::BLOCKED),
            "censored" => Ok(EdeCode::CENSORED),
            "filtered" => Ok(EdeCode::FILTERED),
            _ => Err(E::unknown_variant(
                word,
                &["blocked", "censored", "filtered"],
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_one_word_in_files_flags_and_reports() {
        #[derive(Deserialize)]
        struct File {
            answer: AnswerChoice,
        }
        for choice in AnswerChoice::ALL {
            let file: File = toml::from_str(&format!("answer = '{choice}'")).unwrap();
            assert_eq!(file.answer, choice);
        }
    }
}
