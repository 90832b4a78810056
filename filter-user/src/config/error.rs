//! Why a configuration cannot be used.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use filter_lists::{compile::CATEGORY_MAX, list};

/// How alike a wrong word and a known one must be to be told together, of 1.
const LIKENESS_MIN: f64 = 0.6;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("read configuration '{path}'")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no valid configuration.
    #[error("parse configuration '{path}': {reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why, and what may have been meant.
        reason: String,
    },
    /// Nothing to attach to.
    #[error(
        "no interface given: name one with `--interface IF` or `interfaces = [\"IF\"]`; `ip link` lists them"
    )]
    NoInterface,
    /// Nothing to block.
    #[error(
        "no list given: name one with `--list FILE`, a `[[list]]` table with `path` or `url`, or a `[category.NAME]` table with `names`"
    )]
    NoList,
    /// A custom category without a file.
    #[error("category.{0}: `names` is empty: write the files with its names")]
    CategoryWithoutNames(String),
    /// A custom category that would be the built-in one.
    #[error(
        "[category.{name}]: that is the built-in category of ways around the filter: give it another name",
        name = super::BYPASS_CATEGORY
    )]
    CustomBypass,
    /// A list that comes from nowhere.
    #[error("a [[list]] has neither `path` nor `url`: write where it comes from")]
    NoSource,
    /// A list that comes from two places.
    #[error("list '{name}' has both `path` and `url`: write two lists, or one of them")]
    TwoSources {
        /// The list.
        name: String,
    },
    /// Two lists that would share a copy.
    #[error("list '{name}' is given twice with the same address: give one another `name`")]
    ListTwice {
        /// The list.
        name: String,
    },
    /// An address that anybody on the way can answer for.
    #[error(
        "list '{name}': whoever is on the way can change what comes by http: write https, or `allow_http = true` in [fetch]"
    )]
    PlainHttp {
        /// The list.
        name: String,
    },
    /// A file that is to be refreshed.
    #[error("list '{name}' has `refresh` but no `url`: files are read again when they change")]
    RefreshOfFile {
        /// The list.
        name: String,
    },
    /// A refresh that never rests.
    #[error("list '{name}': refresh is shorter than a second: write \"12h\" or \"1day\"")]
    RefreshTooOften {
        /// The list.
        name: String,
    },
    /// A bound above what the parser allows.
    #[error("fetch.{key} is {value}, at most {max} is possible: write less")]
    AboveCeiling {
        /// The key.
        key: &'static str,
        /// Its value.
        value: u64,
        /// The highest possible one.
        max: u64,
    },
    /// A text that no answer can carry.
    #[error(
        "list '{name}': text of {len} bytes is too long for an answer: shorten it to {max} bytes"
    )]
    LongText {
        /// The list.
        name: String,
        /// Length of the text in bytes.
        len: usize,
        /// Longest possible, in bytes.
        max: usize,
    },
    /// A TTL that resolvers take for zero.
    #[error("{key} is {value}, at most {max} is possible (RFC 2181 §8): write less", max = super::TTL_MAX_S)]
    LongTtl {
        /// Where it is written.
        key: String,
        /// Its value, in seconds.
        value: u32,
    },
    /// A word that could forge a line where it is printed.
    #[error("the list word {word:?} has a control character: leave it out")]
    ControlCharacter {
        /// The name, category or text.
        word: String,
    },
    /// A token bucket that cannot be.
    #[error(
        "limit: answers_per_s and burst are at most {max}, and burst is at least 1 unless answers_per_s is 0",
        max = super::LimitConfig::MAX
    )]
    Limit,
    /// More categories than a policy can tell apart.
    #[error(
        "lists have {count} categories, at most {CATEGORY_MAX} can be told apart: give some lists the same one"
    )]
    TooManyCategories {
        /// Number of distinct categories.
        count: usize,
    },
    /// Names for a category that no list has.
    #[error(
        "guard.must_block names the category '{0}', which no list has: write it as a list's `category`"
    )]
    UnknownCategory(String),
    /// A policy's name cannot be written on a command line.
    #[error("policy '{0}': names of policies have 1 to 63 letters, digits, `-` and `_`")]
    PolicyName(String),
    /// The default policy needs no clients.
    #[error(
        "policy.default has clients: it is for everybody whom no other policy names; give them a policy of another name"
    )]
    DefaultPolicyClients,
    /// An unfiltered policy that filters.
    #[error("policy '{policy}' is unfiltered and has `{key}`: leave one of both out")]
    Unfiltered {
        /// The policy.
        policy: String,
        /// What contradicts.
        key: &'static str,
    },
    /// A policy chooses lists by a category that none has.
    #[error(
        "policy '{policy}' names the category '{category}', which no list has{}",
        nearest.as_ref().map_or_else(
            || ": write it as a list's `category`".to_owned(),
            |nearest| format!("; did you mean '{nearest}'?"),
        )
    )]
    PolicyCategory {
        /// The policy.
        policy: String,
        /// The category.
        category: String,
        /// The category of a list that is most like it.
        nearest: Option<String>,
    },
    /// Clients that two policies claim.
    #[error("{what} belongs to policy {first} and to policy {second}: leave it out of one")]
    TwoPolicies {
        /// The client or destination.
        what: String,
        /// One policy, with file and line where a file says so.
        first: String,
        /// The other one.
        second: String,
    },
    /// More of something than the kernel's tables hold.
    #[error("policies name {count} {what}, at most {max} fit: join some, or leave some out")]
    TooMany {
        /// What of.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A line of a file of clients is none.
    #[error("read clients '{path}': line {line}: {reason}")]
    Client {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A file of clients cannot be read.
    #[error("read clients '{path}'")]
    ReadClients {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The machine does not say where it is.
    #[error(
        "find the time zone of this machine: write `time_zone` into the schedule of policy '{0}'"
    )]
    NoTimeZone(String),
    /// An override that names nothing or gives no reason.
    #[error(
        "guard.allow for '{0}' has no reason: say in `reason` why the guard may be overridden there"
    )]
    NoReason(String),
    /// A permission for a list that is none.
    #[error(
        "guard.allow: there is no list '{list}': write its `name`, or the name of its file without ending"
    )]
    AllowOfNoList {
        /// The list.
        list: String,
    },
    /// A permission for a kind of findings that is given for single names only.
    #[error(
        "guard.allow: kind '{kind}' is not accepted for a whole list: accept single names by `name`; \
         `single-label`, `public-suffix` and `private-suffix` can be"
    )]
    AllowOfKind {
        /// The kind.
        kind: &'static str,
    },
    /// A permission that does not say what it is for, or says it twice.
    #[error("guard.allow ('{reason}'): write `name` alone, or `list` and `kind` together")]
    AllowOfWhat {
        /// Its reason, by which it is found.
        reason: String,
    },
    /// Metrics would be open to other machines.
    #[error(
        "metrics.listen is {address}: only loopback addresses such as 127.0.0.1:9153 are listened on; put a proxy that asks for credentials in front for other machines"
    )]
    MetricsNotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// More bits than an address has.
    #[error("log.{key} is {bits}: an address has {max} bits; write how many of them are kept")]
    LongPrefix {
        /// The key.
        key: &'static str,
        /// Its value.
        bits: u8,
        /// Bits of an address.
        max: u8,
    },
    /// One of none.
    #[error("log.sample is 0: write 1 to tell of every query, 100 for one of a hundred")]
    NoSample,
    /// A file that would be put aside at once.
    #[error("log.dnstap_file_mib is 0: write the size in MiB at which the file is put aside")]
    NoDnstapSize,
    /// A place for dnstap, but nothing to write there.
    #[error(
        "log.dnstap_file or log.dnstap_socket is given, but log.queries is \"off\": write queries = \"blocked\" or \"all\""
    )]
    DnstapOfNothing,
    /// A file of names cannot be read.
    #[error("open names '{path}'")]
    OpenNames {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of names is no such file.
    #[error("read names '{path}'")]
    ReadNames {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: list::Error,
    },
    /// A line that is no name, where each one counts.
    #[error("read names '{path}': line {line}: {reason}; write one name a line, comments behind #")]
    Name {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u32,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    pub(super) fn parse(path: &Path, error: &toml::de::Error) -> Self {
        // It shows the line, in which an address may have a token.
        let mut reason = super::redacted(error.to_string().trim_end());
        if let Some(word) = nearest(error.message()) {
            reason.push_str(&format!("; did you mean `{word}`?"));
        }
        Self::Parse {
            path: path.to_owned(),
            reason,
        }
    }
}

/// The known word that is most like the unknown one; both stand in back quotes in serde's message.
fn nearest(message: &str) -> Option<&str> {
    let is_unknown = ["unknown field ", "unknown variant "]
        .iter()
        .any(|start| message.contains(start));
    let mut words = message.split('`').skip(1).step_by(2);
    let wrong = words.next().filter(|_| is_unknown)?;
    let likeness = |word: &str| strsim::jaro_winkler(wrong, word);
    words
        .filter(|word| likeness(word) >= LIKENESS_MIN)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_found_and_a_strange_one_has_none() {
        let message = "unknown field `categry`, expected one of `path`, `category`, `text`";
        assert_eq!(nearest(message), Some("category"));
        let message = "unknown field `zzz`, expected one of `path`, `category`";
        assert_eq!(nearest(message), None);
        assert_eq!(nearest("missing field `path`"), None);
    }
}
