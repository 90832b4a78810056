//! What an image knows of a list as a whole.

use filter_common::rule::AnswerKind;

use crate::rule::Answer;

/// What is true of every rule of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListInfo {
    /// What people call it.
    pub name: String,
    /// Where it came from: a path or a URL.
    pub path: String,
    /// Categories its rules belong to, one bit each; no bit means that no policy selects it.
    pub categories: u64,
    /// What people call the category that the list belongs to.
    pub category: Option<String>,
    /// Answer of all blocks and rewrites, whatever they say themselves; `None` leaves it to
    /// them, and to the settings for those that say nothing.
    pub answer: Option<Answer>,
    /// EDE INFO-CODE (RFC 8914 §4); 0 leaves it to the settings.
    pub ede_code: u8,
    /// EXTRA-TEXT (RFC 8914 §2), at most 60 bytes.
    pub ede_text: Option<String>,
    /// TTL of answers in seconds; 0 leaves it to the settings.
    pub ttl_s: u32,
    /// Serial number of its SOA, if it is a policy zone with one.
    pub serial: Option<u32>,
}

impl ListInfo {
    /// Whether its rules only count what they would block.
    pub fn observes(&self) -> bool {
        let answer = self.answer.as_ref();
        answer.is_some_and(|answer| answer.kind == AnswerKind::Observe)
    }

    /// A list of every category without wishes of its own.
    pub fn new(name: &str, path: &str) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            categories: u64::MAX,
            category: None,
            answer: None,
            ede_code: 0,
            ede_text: None,
            ttl_s: 0,
            serial: None,
        }
    }
}
