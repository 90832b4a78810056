//! Single values in the configuration's words.

use std::fmt;

use filter_common::rule::AnswerKind;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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

impl From<ModeChoice> for filter_kernel::features::Mode {
    fn from(mode: ModeChoice) -> Self {
        match mode {
            ModeChoice::Native => Self::Native,
            ModeChoice::Skb => Self::Skb,
        }
    }
}

/// An answer in the configuration's words: every kind that says something without an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerChoice(AnswerKind);

impl AnswerChoice {
    /// Every choice.
    pub fn all() -> impl Iterator<Item = Self> {
        let kinds = AnswerKind::ALL.into_iter();
        kinds.filter(|kind| !kind.needs_address()).map(Self)
    }

    /// The choice with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::all().find(|choice| choice.word() == word)
    }

    /// The word for it.
    pub const fn word(self) -> &'static str {
        self.0.word()
    }

    /// What the client gets, in a few words.
    pub fn meaning(self) -> &'static str {
        self.0.meaning().trim_end_matches('.')
    }
}

impl Default for AnswerChoice {
    fn default() -> Self {
        Self(AnswerKind::NxDomain)
    }
}

impl fmt::Display for AnswerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl From<AnswerChoice> for AnswerKind {
    fn from(choice: AnswerChoice) -> Self {
        choice.0
    }
}

impl Serialize for AnswerChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de> Deserialize<'de> for AnswerChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Self::from_word(&word).ok_or_else(|| {
            let known: Vec<_> = Self::all().map(|choice| format!("`{choice}`")).collect();
            let known = known.join(", ");
            de::Error::custom(format!("unknown variant `{word}`, expected one of {known}"))
        })
    }
}

/// What becomes of blocked queries that get no answer, in the configuration's words.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Refusal {
    /// They do not pass.
    #[default]
    Drop,
    /// They pass and are counted.
    Pass,
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
        for choice in AnswerChoice::all() {
            let file: File = toml::from_str(&format!("answer = '{choice}'")).unwrap();
            assert_eq!(file.answer, choice);
        }
    }
    #[test]
    fn an_answer_that_needs_an_address_is_no_choice() {
        assert_eq!(AnswerChoice::from_word("address"), None);
        let unknown = toml::from_str::<toml::Table>("answer = 'address'").unwrap();
        let error = AnswerChoice::deserialize(unknown["answer"].clone()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("expected one of `nxdomain`, `nodata`"),
            "{error}"
        );
    }
}
