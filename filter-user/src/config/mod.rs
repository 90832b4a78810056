//! What the operator says: one TOML file, or the same as flags.
//!
//! Owns the words and their defaults; knows neither clap nor the kernel.

mod category;
mod error;
mod fetch;
mod guard;
mod limit;
mod observe;
mod policy;
mod words;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use filter_common::layout::{CONTROL_ODD_PASSES, CONTROL_STRANGERS_PASS};
use filter_lists::{
    compile::CATEGORY_MAX,
    input,
    list::{self, Format, ScopePolicy},
};
use ipnet::IpNet;
use serde::Deserialize;

pub(crate) use self::fetch::{redacted, without_credentials};
pub use self::{
    category::CategoryConfig,
    error::Error,
    fetch::{CACHE_DEFAULT, FetchConfig, ListUrl, REFRESH_DEFAULT, Span},
    guard::{AllowConfig, GuardConfig, MustBlock},
    limit::LimitConfig,
    observe::{LogConfig, LogQueries, MetricsConfig},
    policy::{
        BYPASS_CATEGORY, BypassConfig, ClientMatch, DEFAULT_POLICY, NoPrefix, PolicyConfig,
        ScheduleConfig, SelectedBy, SpanConfig, prefix,
    },
    words::{AnswerChoice, EdeCode, ModeChoice, Refusal},
};

/// Seconds for which an answer may be cached, unless the configuration says otherwise.
pub const TTL_DEFAULT_S: u32 = 60;
/// Most seconds that a TTL can say (RFC 2181 §8): resolvers take a longer one for zero.
pub const TTL_MAX_S: u32 = i32::MAX as u32;
/// Where a running nxdp listens for `nxdp status`, unless told otherwise.
pub const SOCKET_DEFAULT: &str = "/run/nxdp/control.sock";
/// Where the configuration is, unless told otherwise.
pub const CONFIG_DEFAULT: &str = "/etc/nxdp/nxdp.toml";
/// Where overrides are kept, unless told otherwise.
pub const OVERRIDES_DEFAULT: &str = "/var/lib/nxdp/overrides";

/// A whole configuration.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Interfaces that face the clients.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// Prefixes of clients that may be answered, besides private addresses and the
    /// prefixes on the interfaces themselves.
    #[serde(default, deserialize_with = "policy::prefixes")]
    pub clients: Vec<IpNet>,
    /// Where the program runs.
    #[serde(default)]
    pub mode: ModeChoice,
    /// Whether interfaces are attached to in spite of a known obstacle.
    #[serde(default)]
    pub force: bool,
    /// What a client gets for a blocked name, unless its list says otherwise.
    #[serde(default)]
    pub answer: AnswerChoice,
    /// Seconds for which an answer may be cached.
    pub ttl_s: Option<u32>,
    /// INFO-CODE of the extended error (RFC 8914) in an answer; Blocked by default.
    pub ede: Option<EdeCode>,
    /// What becomes of blocked queries that are odd, and of those that hide their question.
    #[serde(default)]
    pub odd: Refusal,
    /// What becomes of blocked queries of those who are no clients.
    #[serde(default)]
    pub strangers: Refusal,
    /// How many answers a client prefix may cause.
    #[serde(default)]
    pub limit: LimitConfig,
    /// The control socket.
    pub socket: Option<PathBuf>,
    /// Who may use it.
    #[serde(default)]
    pub control: ControlConfig,
    /// The journal of overrides.
    pub overrides: Option<PathBuf>,
    /// The lists.
    #[serde(default, rename = "list")]
    pub lists: Vec<ListConfig>,
    /// Categories of the operator's own names, by name.
    #[serde(default, rename = "category")]
    pub custom: BTreeMap<String, CategoryConfig>,
    /// What is blocked for whom, by name.
    #[serde(default, rename = "policy")]
    pub policies: BTreeMap<String, PolicyConfig>,
    /// What policies with `block_bypass` refuse.
    #[serde(default)]
    pub bypass: BypassConfig,
    /// What must hold before lists go live.
    #[serde(default)]
    pub guard: GuardConfig,
    /// Where metrics are read.
    #[serde(default)]
    pub metrics: MetricsConfig,
    /// Which queries are told of, and where.
    #[serde(default)]
    pub log: LogConfig,
    /// How lists with an address are fetched.
    #[serde(default)]
    pub fetch: FetchConfig,
}

/// Who may use the control socket, besides root and the user that the service runs as.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ControlConfig {
    /// Group that may read; that of the service by default.
    pub group: Option<String>,
    /// Group that may change something; none by default.
    pub admin_group: Option<String>,
}

/// One list.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ListConfig {
    /// The file; relative to the configuration file, or to the working directory for flags.
    /// Of a list with an address, its copy in the cache.
    #[serde(default)]
    pub path: PathBuf,
    /// The address that the list is fetched from.
    pub url: Option<ListUrl>,
    /// How old a copy may get before the address is asked again.
    pub refresh: Option<Span>,
    /// Name in answers, counters and explanations; the file name without ending by default.
    pub name: Option<String>,
    /// Format; detected by default.
    pub format: Option<Format>,
    /// Whether rules match as their format says, or all as one scope.
    pub scope: Option<ScopePolicy>,
    /// Category, by which policies choose lists; a list without one belongs to every category.
    pub category: Option<String>,
    /// Whether lines may answer with an address of their own; by default those of files may, those
    /// of lists with an address may not.
    pub rewrites: Option<bool>,
    /// Answer of all blocks of this list, whatever its lines say; what they say by default.
    pub answer: Option<AnswerChoice>,
    /// Seconds for which an answer may be cached; the configuration's by default.
    pub ttl_s: Option<u32>,
    /// INFO-CODE of the extended error; the configuration's by default.
    pub ede: Option<EdeCode>,
    /// EXTRA-TEXT of the extended error (RFC 8914), 60 bytes at most; the list's name by default.
    pub text: Option<String>,
    /// Whether it may have no rule at all; else that is an error, for mostly it is the wrong file.
    #[serde(default)]
    pub may_be_empty: bool,
}

impl ListConfig {
    /// A list of which only the file is known.
    pub fn of_path(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            url: None,
            refresh: None,
            name: None,
            format: None,
            scope: None,
            category: None,
            rewrites: None,
            answer: None,
            ttl_s: None,
            ede: None,
            text: None,
            may_be_empty: false,
        }
    }

    /// The name, given or taken from the address or file.
    pub fn name(&self) -> String {
        let of_file = || {
            let stem = self.path.file_stem().unwrap_or(self.path.as_os_str());
            stem.to_string_lossy().into_owned()
        };
        let own = || self.url.as_ref().map_or_else(of_file, ListUrl::list_name);
        self.name.clone().unwrap_or_else(own)
    }

    /// Where the list comes from: its address or its file.
    pub fn source(&self) -> String {
        let file = || self.path.to_string_lossy().into_owned();
        self.url.as_ref().map_or_else(file, ListUrl::to_string)
    }

    /// Whether lines may answer with an address of their own.
    ///
    /// Where the operator chose the answer, no line leads anybody anywhere.
    fn takes_rewrites(&self) -> bool {
        self.answer.is_some() || self.rewrites.unwrap_or(self.url.is_none())
    }

    /// Checks that what is printed of a list stays on its line.
    fn check_words(&self) -> Result<(), Error> {
        let words = [Some(self.name()), self.category.clone(), self.text.clone()];
        let mut words = words.into_iter().flatten();
        match words.find(|word| word.contains(char::is_control)) {
            Some(word) => Err(Error::ControlCharacter { word }),
            None => Ok(()),
        }
    }

    /// How the list is to be parsed.
    pub fn parse_options(&self) -> list::Options {
        let of_file = || Some(self.path.file_name()?.to_string_lossy().into_owned());
        let of_url = |url: &ListUrl| url.file_name().map(str::to_owned);
        list::Options {
            format: self.format,
            scope: self.scope.unwrap_or_default(),
            only_blocks: !self.takes_rewrites(),
            file_name: self.url.as_ref().map_or_else(of_file, of_url),
        }
    }
}

fn check_ttl(key: &str, ttl_s: Option<u32>) -> Result<(), Error> {
    match ttl_s {
        Some(value) if value > TTL_MAX_S => Err(Error::LongTtl {
            key: key.to_owned(),
            value,
        }),
        _ => Ok(()),
    }
}

impl Config {
    /// Whether some client of a policy is a VLAN.
    pub fn has_vlan_policies(&self) -> bool {
        let mut clients = self.policies.values().flat_map(|policy| &policy.clients);
        clients.any(|client| matches!(client, ClientMatch::Vlan(_)))
    }

    /// Reads a file; paths in it become relative to its folder.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = input::text(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| Error::parse(path, &error))?;
        config.check()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for list in &mut config.lists {
            list.path = folder.join(&list.path);
        }
        config.guard.relocate(folder);
        config.log.relocate(folder);
        category::relocate(&mut config.custom, folder);
        policy::relocate(&mut config.policies, folder);
        if let Some(overrides) = &mut config.overrides {
            *overrides = folder.join(&*overrides);
        }
        config.fetch.relocate(folder);
        config.place_copies();
        Ok(config)
    }

    /// Checks what the types cannot say.
    pub fn check(&self) -> Result<(), Error> {
        self.limit.check()?;
        self.metrics.check()?;
        self.log.check()?;
        let max = filter_common::layout::TEXT_MAX_BYTES;
        category::check(self)?;
        check_ttl("ttl_s", self.ttl_s)?;
        for list in self.lists.iter().chain(&self.custom_lists()) {
            check_ttl(&format!("list '{}': ttl_s", list.name()), list.ttl_s)?;
            list.check_words()?;
            match &list.text {
                Some(text) if text.len() > max => {
                    return Err(Error::LongText {
                        name: list.name(),
                        len: text.len(),
                        max,
                    });
                }
                _ => {}
            }
        }
        match self.categories().len() {
            count if count > CATEGORY_MAX => return Err(Error::TooManyCategories { count }),
            _ => {}
        }
        for (name, policy) in &self.policies {
            policy.check(name, self)?;
        }
        self.guard.check(self)?;
        self.fetch.check(self)
    }

    /// Whether there is nothing to filter by.
    pub fn is_without_lists(&self) -> bool {
        self.lists.is_empty() && self.custom.is_empty()
    }

    /// The categories of the lists and of the operator's own names, the built-in one included if it is in use.
    pub fn categories(&self) -> Vec<&str> {
        let built_in = self.blocks_bypass().then_some(BYPASS_CATEGORY);
        let of_lists = self.lists.iter().map(|list| list.category.as_deref());
        let mut names: Vec<&str> = Vec::new();
        let custom = self.custom.keys().map(String::as_str);
        for name in of_lists.flatten().chain(custom).chain(built_in) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The files whose change is to be noticed: lists, and clients of policies. Those of custom
    /// categories are [`Self::custom_files`].
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        let lists = self.lists.iter().filter(|list| list.url.is_none());
        let policies = self.policies.values();
        lists
            .map(|list| &list.path)
            .chain(policies.flat_map(|policy| &policy.client_files))
            .cloned()
    }

    /// What the program lets by that it would refuse, as flags of the control record.
    pub fn passing_flags(&self) -> u32 {
        let flags = [
            (self.odd, CONTROL_ODD_PASSES),
            (self.strangers, CONTROL_STRANGERS_PASS),
        ];
        let passing = flags.iter().filter(|(word, _)| *word == Refusal::Pass);
        passing.fold(0, |all, (_, flag)| all | flag)
    }

    /// The control socket, given or by default.
    pub fn socket(&self) -> &Path {
        self.socket
            .as_deref()
            .unwrap_or_else(|| Path::new(SOCKET_DEFAULT))
    }

    /// The journal of overrides, given or by default.
    pub fn overrides(&self) -> &Path {
        self.overrides
            .as_deref()
            .unwrap_or_else(|| Path::new(OVERRIDES_DEFAULT))
    }
}
