//! Policies in the configuration's words: who asks, what is blocked then, and when.

use std::{
    collections::BTreeMap,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use filter_common::{
    address::{Mac, MacText, mac_from_text},
    selector::{Key, Selector, mac_key, vlan_key},
};
use ipnet::IpNet;
use jiff::{civil::Time, tz::TimeZone};
use serde::{Deserialize, Deserializer, de};

use super::{AnswerChoice, Config, EdeCode, Error};
use crate::schedule::Days;

/// Name of the policy of everybody whom no other one names.
pub const DEFAULT_POLICY: &str = "default";
/// Name of the category of names by which clients find ways around the filter.
pub const BYPASS_CATEGORY: &str = "bypass";
/// Longest name of a policy, in bytes.
const NAME_MAX_BYTES: usize = 63;

/// The table `[policy.NAME]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// Categories that are blocked; every one by default.
    pub block: Option<Vec<String>>,
    /// What a client gets for a blocked name, unless its list says otherwise.
    pub answer: Option<AnswerChoice>,
    /// INFO-CODE of the extended error (RFC 8914); the configuration's by default.
    pub ede: Option<EdeCode>,
    /// Who it is for.
    pub clients: Vec<ClientMatch>,
    /// Files of further clients, one a line.
    pub client_files: Vec<PathBuf>,
    /// Whoever asks these addresses.
    pub destinations: Vec<IpAddr>,
    /// No list is looked at.
    pub unfiltered: bool,
    /// What would be blocked passes and is counted.
    pub observe: bool,
    /// Ways around the filter are refused.
    pub block_bypass: bool,
    /// When it is different.
    pub schedule: Option<ScheduleConfig>,
}

/// The table `[policy.NAME.schedule]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// IANA name of the time zone; the machine's by default.
    pub time_zone: Option<ZoneName>,
    /// Times at which something else is blocked.
    #[serde(rename = "span")]
    pub spans: Vec<SpanConfig>,
}

/// One of `[[policy.NAME.schedule.span]]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct SpanConfig {
    /// Days on which it starts; every day by default.
    #[serde(default)]
    pub days: DaysChoice,
    /// When it starts.
    #[serde(deserialize_with = "start_time")]
    pub from: ClockTime,
    /// When it ends; on the next day if that is not after the start.
    pub to: ClockTime,
    /// Categories that are blocked then.
    #[serde(default)]
    pub block: Vec<String>,
    /// Categories that are not blocked then.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// Who a policy is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClientMatch {
    /// A station on the link.
    Mac(Mac),
    /// A range of addresses.
    Prefix(IpNet),
    /// A VLAN.
    Vlan(u16),
    /// Whatever comes in by an interface.
    Interface(String),
}

/// How a client is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectedBy<'a> {
    /// In the table of a selector.
    Key(Selector, Key),
    /// By the longest prefix.
    Prefix(IpNet),
    /// By the index that the interface of this name has.
    Interface(&'a str),
}

impl ClientMatch {
    /// How the client is looked up.
    pub fn selected_by(&self) -> SelectedBy<'_> {
        match self {
            Self::Mac(mac) => SelectedBy::Key(Selector::Mac, mac_key(*mac)),
            Self::Vlan(number) => SelectedBy::Key(Selector::Vlan, vlan_key(*number)),
            Self::Prefix(prefix) => SelectedBy::Prefix(*prefix),
            Self::Interface(name) => SelectedBy::Interface(name),
        }
    }

    /// Reads `02:00:5e:10:00:01`, `192.0.2.0/24`, `2001:db8::7`, `vlan:10` or `interface:eth1`.
    ///
    /// # Errors
    ///
    /// With what is expected instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(number) = text.strip_prefix("vlan:") {
            let number = number.parse().ok();
            return match number.filter(|number| (1..4095).contains(number)) {
                Some(number) => Ok(Self::Vlan(number)),
                None => Err(format!("'{text}': VLANs are numbered from 1 to 4094")),
            };
        }
        if let Some(name) = text.strip_prefix("interface:") {
            return match name.len() {
                1..16 => Ok(Self::Interface(name.to_owned())),
                _ => Err(format!("'{text}': names of interfaces have 1 to 15 bytes")),
            };
        }
        if let Some(mac) = mac_from_text(text) {
            return Ok(Self::Mac(mac));
        }
        match prefix(text) {
            Ok(prefix) if prefix.prefix_len() == 0 => Err(format!(
                "'{text}' is everybody: say it in [policy.{DEFAULT_POLICY}]"
            )),
            Ok(prefix) => Ok(Self::Prefix(prefix)),
            Err(NoPrefix::Other) => Err(format!(
                "'{text}' is no client: write a MAC address, an address, a prefix, \"vlan:10\" or \"interface:eth1\""
            )),
            Err(why) => Err(format!("'{text}' {why}")),
        }
    }
}

impl fmt::Display for ClientMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => MacText(*mac).fmt(f),
            Self::Prefix(prefix) if prefix.prefix_len() == prefix.max_prefix_len() => {
                write!(f, "{}", prefix.addr())
            }
            Self::Prefix(prefix) => write!(f, "{prefix}"),
            Self::Vlan(number) => write!(f, "vlan:{number}"),
            Self::Interface(name) => write!(f, "interface:{name}"),
        }
    }
}

impl<'de> Deserialize<'de> for ClientMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// Weekdays in the configuration's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaysChoice(pub Days);

impl Default for DaysChoice {
    fn default() -> Self {
        Self(Days::EVERY)
    }
}

impl<'de> Deserialize<'de> for DaysChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<String>::deserialize(deserializer)?;
        if words.is_empty() {
            return Err(de::Error::custom("no day: leave `days` out for every day"));
        }
        Days::parse(&words).map(Self).map_err(de::Error::custom)
    }
}

/// A time of day, `HH:MM`; `24:00` is the midnight at which a day ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockTime(pub Time);

impl ClockTime {
    fn parse(text: &str) -> Option<Self> {
        let (hour, minute) = text.split_once(':')?;
        if hour.len() != 2 || minute.len() != 2 {
            return None;
        }
        let (hour, minute) = (hour.parse().ok()?, minute.parse().ok()?);
        let hour = if (hour, minute) == (24, 0) { 0 } else { hour };
        Time::new(hour, minute, 0, 0).ok().map(Self)
    }
}

impl<'de> Deserialize<'de> for ClockTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("'{text}' is no time: write HH:MM")))
    }
}

/// Reads when a span starts, on its day: `24:00` is none of that day's times.
fn start_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ClockTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text == "24:00" {
        return Err(de::Error::custom(
            "a span starts at 24:00, where its day ends: write 00:00 and the day after",
        ));
    }
    ClockTime::deserialize(de::value::StringDeserializer::new(text))
}

/// A time zone by its IANA name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneName(pub TimeZone);

impl<'de> Deserialize<'de> for ZoneName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        TimeZone::get(&text).map(Self).map_err(|_| {
            de::Error::custom(format!(
                "'{text}' is no time zone: write an IANA name such as Europe/Berlin"
            ))
        })
    }
}

/// The table `[bypass]`: what policies with `block_bypass` refuse besides port 853.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct BypassConfig {
    /// Addresses and prefixes of further resolvers that answer over HTTPS.
    pub resolvers: Vec<Resolver>,
    /// Whether the built-in ones are refused.
    pub built_in_resolvers: bool,
}

impl Default for BypassConfig {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            built_in_resolvers: true,
        }
    }
}

/// An address or a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolver(pub IpNet);

impl<'de> Deserialize<'de> for Resolver {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match prefix(&text) {
            Ok(prefix) if prefix.prefix_len() > 0 => Ok(Self(prefix)),
            Ok(_) | Err(NoPrefix::Other) => Err(de::Error::custom(format!(
                "'{text}' is no resolver: write an address or a prefix"
            ))),
            Err(why) => Err(de::Error::custom(format!("'{text}' {why}"))),
        }
    }
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPrefix {
    /// It looks like something else.
    #[error("is neither an address nor a prefix")]
    Other,
    /// It could mean an address or the whole range.
    #[error("has bits behind its length: write {} for the range, or {} for the one address", .0.trunc(), .0.addr())]
    HostBits(IpNet),
    /// IPv4 addresses are looked up in the form ::ffff:192.0.2.1.
    #[error(
        "covers every IPv4 address too: write 2000::/3 for all public IPv6 addresses, fc00::/7 for private ones"
    )]
    BothFamilies,
}

/// Reads a prefix; an address is one of full length.
///
/// # Errors
///
/// When it is none, or not certainly the one that was meant.
pub fn prefix(text: &str) -> Result<IpNet, NoPrefix> {
    let prefix = text.parse::<IpNet>();
    let prefix = prefix.or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let prefix = prefix.map_err(|_| NoPrefix::Other)?;
    if prefix.trunc() != prefix {
        return Err(NoPrefix::HostBits(prefix));
    }
    let is_wide = (1..=80).contains(&prefix.prefix_len());
    match prefix {
        IpNet::V6(v6) if is_wide && v6.addr().is_unspecified() => Err(NoPrefix::BothFamilies),
        _ => Ok(prefix),
    }
}

/// Reads a list of prefixes, each as [`prefix`] does.
pub(super) fn prefixes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let read =
        |text: &String| prefix(text).map_err(|why| de::Error::custom(format!("'{text}' {why}")));
    texts.iter().map(read).collect()
}

/// Makes paths relative to `folder`.
pub(super) fn relocate(policies: &mut BTreeMap<String, PolicyConfig>, folder: &Path) {
    let files = policies
        .values_mut()
        .flat_map(|policy| &mut policy.client_files);
    for file in files {
        *file = folder.join(&*file);
    }
}

impl PolicyConfig {
    /// Checks what the types cannot say of the policy with this name.
    pub(super) fn check(&self, name: &str, config: &Config) -> Result<(), Error> {
        let is_in_names = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=NAME_MAX_BYTES).contains(&name.len()) || !name.bytes().all(is_in_names) {
            return Err(Error::PolicyName(name.to_owned()));
        }
        let has_clients = !self.clients.is_empty() || !self.client_files.is_empty();
        if name == DEFAULT_POLICY && (has_clients || !self.destinations.is_empty()) {
            return Err(Error::DefaultPolicyClients);
        }
        if self.unfiltered
            && let Some(key) = self.set_besides_unfiltered()
        {
            return Err(Error::Unfiltered {
                policy: name.to_owned(),
                key,
            });
        }
        for category in self.categories_named() {
            config.check_category(name, category)?;
        }
        Ok(())
    }

    /// The first key that an unfiltered policy has no use for.
    fn set_besides_unfiltered(&self) -> Option<&'static str> {
        let keys = [
            ("block", self.block.is_some()),
            ("answer", self.answer.is_some()),
            ("ede", self.ede.is_some()),
            ("observe", self.observe),
            ("block_bypass", self.block_bypass),
            ("schedule", self.schedule.is_some()),
        ];
        keys.into_iter().find(|(_, set)| *set).map(|(key, _)| key)
    }

    /// Every category that the policy names somewhere.
    fn categories_named(&self) -> impl Iterator<Item = &String> {
        let spans = self.schedule.iter().flat_map(|schedule| &schedule.spans);
        let at_times = spans.flat_map(|span| span.block.iter().chain(&span.allow));
        self.block.iter().flatten().chain(at_times)
    }
}

impl Config {
    /// Whether some policy refuses ways around the filter.
    pub fn blocks_bypass(&self) -> bool {
        self.policies.values().any(|policy| policy.block_bypass)
    }

    fn check_category(&self, policy: &str, category: &str) -> Result<(), Error> {
        let known = self.categories();
        if known.contains(&category) {
            return Ok(());
        }
        let likeness = |word: &&str| strsim::jaro_winkler(category, word);
        let nearest = known
            .iter()
            .copied()
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        Err(Error::PolicyCategory {
            policy: policy.to_owned(),
            category: category.to_owned(),
            nearest: nearest.map(str::to_owned),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_by_its_form_and_written_as_it_is_read() {
        for text in [
            "02:00:5e:10:00:01",
            "192.0.2.0/24",
            "192.0.2.7",
            "2001:db8::/32",
            "2001:db8::7",
            "vlan:10",
            "interface:eth1.10",
        ] {
            assert_eq!(ClientMatch::parse(text).unwrap().to_string(), text);
        }
        let spellings = [
            ("02-00-5E-10-00-01", "02:00:5e:10:00:01"),
            ("192.0.2.7/32", "192.0.2.7"),
        ];
        for (text, canonical) in spellings {
            assert_eq!(ClientMatch::parse(text).unwrap().to_string(), canonical);
        }
    }

    #[test]
    fn what_is_no_client_is_refused_with_a_way_out() {
        for (text, hint) in [
            ("eth1", "interface:eth1"),
            ("vlan:0", "1 to 4094"),
            ("vlan:4095", "1 to 4094"),
            ("interface:", "1 to 15"),
            ("02:00:5e:10:00", "MAC address"),
            (
                "192.168.7.9/24",
                "write 192.168.7.0/24 for the range, or 192.168.7.9",
            ),
            ("2001:db8::1/64", "2001:db8::/64"),
            ("::/1", "2000::/3"),
            ("::/80", "every IPv4 address"),
            ("0.0.0.0/0", "[policy.default]"),
            ("::/0", "[policy.default]"),
        ] {
            let error = ClientMatch::parse(text).unwrap_err();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn a_span_does_not_start_where_its_day_ends() {
        let span =
            |from| toml::from_str::<SpanConfig>(&format!("from = \"{from}\"\nto = \"24:00\""));
        assert_eq!(span("06:30").unwrap().to, span("00:00").unwrap().from);
        let error = span("24:00").unwrap_err().to_string();
        assert!(error.contains("the day after"), "{error}");
    }

    #[test]
    fn midnight_has_two_spellings_and_half_a_time_is_none() {
        let time = |text| ClockTime::parse(text).map(|time| time.0);
        assert_eq!(time("24:00"), time("00:00"));
        assert_eq!(time("06:30"), Time::new(6, 30, 0, 0).ok());
        for wrong in ["6:30", "24:01", "06:60", "0630", "06:30:00", "-1:00"] {
            assert_eq!(time(wrong), None, "{wrong}");
        }
    }
}
