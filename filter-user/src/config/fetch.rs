//! Where lists are fetched from and within which bounds, in the configuration's words.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use filter_lists::list;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use url::Url;
use xxhash_rust::xxh3::xxh3_64;

use super::{Config, Error, ListConfig};

/// Where copies of fetched lists are kept, unless the configuration says otherwise.
pub const CACHE_DEFAULT: &str = "/var/lib/nxdp/lists";
/// How old a copy may get before its address is asked again, unless the list says otherwise.
pub const REFRESH_DEFAULT: Span = Span(Duration::from_secs(12 * 60 * 60));

/// ClientFacts more often than this is no refreshing.
const REFRESH_MIN: Span = Span(Duration::from_secs(1));
/// As many characters of a list's name stand in the name of its copy.
const NAME_CHARS: usize = 40;
const MIB: u64 = 1 << 20;
/// What stands for the part of an address behind its path, in which a token may be.
const HIDDEN: &str = "...";

/// The table `[fetch]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct FetchConfig {
    /// Folder of the copies.
    pub cache: PathBuf,
    /// Longest time that one list may take from the first byte to the last.
    pub timeout: Span,
    /// Most bytes on the wire, in MiB.
    pub max_transfer_mib: u64,
    /// Most bytes of text, in MiB.
    pub max_text_mib: u64,
    /// Highest ratio of text to bytes on the wire.
    pub max_ratio: u64,
    /// Most lines.
    pub max_lines: u64,
    /// Most rules.
    pub max_rules: u64,
    /// Whether addresses that begin with `http:` are fetched and redirected to.
    pub allow_http: bool,
    /// Prefixes that are no public addresses, and may be connected to all the same.
    #[serde(deserialize_with = "super::policy::prefixes")]
    pub allow_private: Vec<IpNet>,
    /// Certificates (PEM) that are trusted besides those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            cache: CACHE_DEFAULT.into(),
            timeout: Span(Duration::from_secs(2 * 60)),
            max_transfer_mib: 64,
            max_text_mib: list::DECODED_MAX_BYTES / MIB,
            max_ratio: list::RATIO_MAX,
            max_lines: 20_000_000,
            max_rules: 20_000_000,
            allow_http: false,
            allow_private: Vec::new(),
            ca_file: None,
        }
    }
}

impl FetchConfig {
    /// Makes paths relative to `folder`.
    pub(super) fn relocate(&mut self, folder: &Path) {
        self.cache = folder.join(&self.cache);
        self.ca_file = self.ca_file.as_ref().map(|file| folder.join(file));
    }

    /// Checks what the types cannot say.
    pub(super) fn check(&self, config: &Config) -> Result<(), Error> {
        let ceilings = [
            (
                "max_text_mib",
                self.max_text_mib,
                list::DECODED_MAX_BYTES / MIB,
            ),
            ("max_ratio", self.max_ratio, list::RATIO_MAX),
        ];
        for (key, value, max) in ceilings {
            if value > max {
                return Err(Error::AboveCeiling { key, value, max });
            }
        }
        for (at, list) in config.lists.iter().enumerate() {
            self.check_list(list)?;
            let is_same =
                |other: &&ListConfig| other.url == list.url && other.name() == list.name();
            if list.url.is_some() && config.lists[..at].iter().any(|other| is_same(&other)) {
                return Err(Error::ListTwice { name: list.name() });
            }
        }
        Ok(())
    }

    fn check_list(&self, list: &ListConfig) -> Result<(), Error> {
        let name = || list.name();
        match (&list.url, list.path.as_os_str().is_empty()) {
            (None, true) => return Err(Error::NoSource),
            (Some(_), false) => return Err(Error::TwoSources { name: name() }),
            (Some(url), true) if !url.is_https() && !self.allow_http => {
                return Err(Error::PlainHttp { name: name() });
            }
            _ => {}
        }
        match list.refresh {
            Some(_) if list.url.is_none() => Err(Error::RefreshOfFile { name: name() }),
            Some(span) if span < REFRESH_MIN => Err(Error::RefreshTooOften { name: name() }),
            _ => Ok(()),
        }
    }
}

impl Config {
    /// Says where the copies of lists with an address are.
    pub(super) fn place_copies(&mut self) {
        for list in &mut self.lists {
            if let Some(url) = &list.url {
                list.path = self.fetch.cache.join(copy_name(&list.name(), url));
            }
        }
    }
}

/// A name for people, made unique by the address: another address is another copy.
fn copy_name(name: &str, url: &ListUrl) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    let plain: String = name
        .chars()
        .take(NAME_CHARS)
        .map(|letter| if is_plain(letter) { letter } else { '_' })
        .collect();
    format!("{plain}-{:016x}.zst", xxh3_64(url.0.as_str().as_bytes()))
}

/// The address of a list: `https:` or `http:`, with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListUrl(Url);

impl ListUrl {
    /// Understands an address.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .map_err(|error| format!("'{}' is no address: {error}", redacted(text)))?;
        if !matches!(url.scheme(), "https" | "http") {
            return Err(format!(
                "'{}': lists are fetched by https (or http, with `allow_http`), not by {}; write files as `path`",
                redacted(text),
                url.scheme()
            ));
        }
        Ok(Self(url))
    }

    /// The address.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The last part of the path, as a file would be called.
    pub fn file_name(&self) -> Option<&str> {
        let mut segments = self.0.path_segments()?;
        segments.rfind(|segment| !segment.is_empty())
    }

    fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// What the list is called if nobody says otherwise.
    pub(super) fn list_name(&self) -> String {
        let host = || self.0.host_str().unwrap_or("list");
        let file = self.file_name().map(|file| {
            let stem = Path::new(file).file_stem();
            stem.map_or(file.into(), |stem| stem.to_string_lossy())
        });
        file.map_or_else(|| host().to_owned(), std::borrow::Cow::into_owned)
    }
}

/// The address without a password or a token that may be in it.
impl fmt::Display for ListUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(without_credentials(&self.0).as_str())
    }
}

impl<'de> Deserialize<'de> for ListUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// An address as it may be shown.
pub(crate) fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    // Only addresses that cannot have credentials refuse to lose them.
    let _ = url.set_password(None).and_then(|()| url.set_username(""));
    if url.query().is_some() {
        url.set_query(Some(HIDDEN));
    }
    url.set_fragment(None);
    url
}

/// A text in which every address loses what [`without_credentials`] takes.
pub(crate) fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
        let (address, after) = address.split_at(address.find(is_end).unwrap_or(address.len()));
        let host_at = address.find(['/', '?', '#']).unwrap_or(address.len());
        let (authority, path) = address.split_at(host_at);
        let host = authority.rsplit('@').next().unwrap_or_default();
        let shown = path.find(['?', '#']).unwrap_or(path.len());
        out.extend([before, host, &path[..shown]]);
        if path[shown..].starts_with('?') {
            out.extend(["?", HIDDEN]);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A length of time as people write it: `12h`, `1day 6h`, `90s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(|error| {
            de::Error::custom(format!(
                "'{text}' is no length of time: {error}; write \"12h\" or \"1day 6h\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<Config, String> {
        let mut config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check().map_err(|error| error.to_string())?;
        config.place_copies();
        Ok(config)
    }

    fn of_url(more: &str) -> Result<Config, String> {
        config(&format!(
            "[[list]]\nurl = \"https://lists.example/a/ads.txt?v=2\"\n{more}"
        ))
    }

    #[test]
    fn a_list_is_named_by_the_last_part_of_its_address_or_by_the_host() {
        let name = |text: &str| ListUrl::parse(text).unwrap().list_name();
        assert_eq!(name("https://lists.example/a/ads.txt?v=2"), "ads");
        assert_eq!(name("https://lists.example/a/ads/"), "ads");
        assert_eq!(name("https://lists.example/"), "lists.example");
    }

    #[test]
    fn another_name_or_address_is_another_copy() {
        let path = |url: &str, name: &str| {
            let text = format!("[[list]]\nurl = \"{url}\"\nname = \"{name}\"");
            config(&text).unwrap().lists[0].path.clone()
        };
        let first = path("https://a.example/x", "one/../two");
        assert!(first.starts_with(CACHE_DEFAULT), "{first:?}");
        let file = first.file_name().unwrap().to_str().unwrap();
        assert!(file.starts_with("one____two-"), "{file}");
        assert_ne!(first, path("https://b.example/x", "one/../two"));
        assert_ne!(first, path("https://a.example/x", "one"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_way_out() {
        let url = "url = \"https://a.example/x\"";
        for (text, needle) in [
            ("[[list]]".to_owned(), "neither `path` nor `url`"),
            (
                format!("[[list]]\n{url}\npath = \"x\""),
                "both `path` and `url`",
            ),
            (format!("[[list]]\n{url}\n[[list]]\n{url}"), "twice"),
            (
                "[[list]]\nurl = \"http://a.example/x\"".into(),
                "allow_http",
            ),
            (
                "[[list]]\nurl = \"file:///etc/passwd\"".into(),
                "write files as `path`",
            ),
            ("[[list]]\nurl = \"ads.txt\"".into(), "is no address"),
            (
                "[[list]]\npath = \"x\"\nrefresh = \"1h\"".into(),
                "`refresh`",
            ),
            (format!("[[list]]\n{url}\nrefresh = \"0s\""), "refresh"),
            (
                format!("[[list]]\n{url}\nrefresh = \"soon\""),
                "length of time",
            ),
            ("[fetch]\nmax_ratio = 1000".into(), "at most 250"),
            ("[fetch]\nmax_text_mib = 4096".into(), "at most 1024"),
        ] {
            let error = config(&text).unwrap_err();
            assert!(error.contains(needle), "{text}: {error}");
        }
        assert!(
            config(&format!(
                "[fetch]\nallow_http = true\n[[list]]\n{}",
                url.replace("https", "http")
            ))
            .is_ok()
        );
    }

    #[test]
    fn passwords_and_tokens_are_not_shown() {
        for (text, shown) in [
            ("https://me:secret@a.example/x", "https://a.example/x"),
            (
                "https://a.example/x?token=secret#part",
                "https://a.example/x?...",
            ),
            ("https://a.example?token=secret", "https://a.example/?..."),
        ] {
            assert_eq!(ListUrl::parse(text).unwrap().to_string(), shown);
        }
        let text = "1 | url = \"ftp://me:secret@a.example/x?token=secret\" # see https://b.example/y?z=secret";
        assert_eq!(
            redacted(text),
            "1 | url = \"ftp://a.example/x?...\" # see https://b.example/y?..."
        );
        for wrong in [
            "ftp://a.example/?token=secret",
            "https://:secret@/?token=secret",
        ] {
            let error = ListUrl::parse(wrong).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_error_in_the_line_of_an_address_does_not_show_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nxdp.toml");
        std::fs::write(
            &path,
            "[[list]]\nurl = \"ftp://a.example/x?token=secret\"\n",
        )
        .unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(
            error.contains("by https") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn lengths_of_time_are_written_as_people_do() {
        let list = of_url("refresh = \"1day 6h\"").unwrap().lists[0].clone();
        assert_eq!(list.refresh, Some(Span(Duration::from_secs(30 * 3600))));
        assert_eq!(REFRESH_DEFAULT.to_string(), "12h");
    }
}
