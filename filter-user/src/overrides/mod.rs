//! What the operator said of single names: at once, for a time, with a reason.
//!
//! An override outranks every list. [`OverrideSet`] knows which there are and which
//! takes the place of which; [`Journal`] keeps them on disk; [`Tree`] turns them
//! into the records that the kernel walks, and a change of them into writes
//! that take effect as one.

mod guarded;
mod journal;
mod records;
mod set;
mod transition;
mod tree;

use std::{fmt, net::IpAddr};

use filter_common::{
    address::{Mac, MacText, mac_from_text},
    name::Name,
    rule::Scope,
};
use filter_lists::list;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use self::{
    guarded::{GuardedNames, Wanted},
    journal::{Error as JournalError, Journal},
    records::Records,
    set::{OverrideChange, OverrideSet, Refused},
    transition::{Difference, Transition},
    tree::{Entry, Tree},
};

/// One override.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Override {
    /// Its number, by which it is removed.
    pub id: u32,
    /// What was said.
    #[serde(flatten)]
    pub spec: OverrideSpec,
    /// When it was said.
    pub created: Timestamp,
}

/// What an operator says of a name.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct OverrideSpec {
    /// What is to happen.
    pub action: OverrideAction,
    /// To which name; the root for [`OverrideAction::Pause`].
    pub name: OverrideName,
    /// Whether names below it are meant too.
    pub scope: OverrideScope,
    /// For whom.
    #[serde(default, rename = "for")]
    pub clients: OverrideClients,
    /// When it ends; never by default.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Where it is asked for or discussed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// It is meant though the configuration says that the name must be blocked, or must not be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub against_guard: bool,
}

/// What an override does.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum OverrideAction {
    /// Lets a name through.
    Allow,
    /// Blocks a name.
    Block,
    /// Blocks nothing for a time.
    Pause,
}

impl OverrideAction {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Block => "block",
            Self::Pause => "pause",
        }
    }
}

/// Which names an override is for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum OverrideScope {
    /// The name only.
    Exact,
    /// The name and all below.
    #[default]
    Suffix,
}

impl From<OverrideScope> for Scope {
    fn from(scope: OverrideScope) -> Self {
        match scope {
            OverrideScope::Exact => Self::Exact,
            OverrideScope::Suffix => Self::Suffix,
        }
    }
}

/// For whom an override is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OverrideClients {
    /// Everybody.
    #[default]
    Everybody,
    /// Clients of a policy.
    Policy(String),
    /// One client on the link.
    Mac(Mac),
    /// One address.
    Address(IpAddr),
}

impl OverrideClients {
    /// Reads a client: a MAC address or an address.
    pub fn client(text: &str) -> Option<Self> {
        match mac_from_text(text) {
            Some(mac) => Some(Self::Mac(mac)),
            None => text.parse().ok().map(Self::Address),
        }
    }
}

impl fmt::Display for OverrideClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("everybody"),
            Self::Policy(name) => write!(f, "policy {name}"),
            Self::Mac(mac) => write!(f, "client {}", MacText(*mac)),
            Self::Address(address) => write!(f, "client {address}"),
        }
    }
}

impl Serialize for OverrideClients {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OverrideClients {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let clients = match text.split_once(' ') {
            None if text == "everybody" => Some(Self::Everybody),
            Some(("policy", name)) => Some(Self::Policy(name.to_owned())),
            Some(("client", client)) => Self::client(client),
            _ => None,
        };
        clients.ok_or_else(|| {
            de::Error::custom(format!(
                "'{text}' is nobody: write \"everybody\", \"policy NAME\", \"client MAC\" or \"client ADDRESS\""
            ))
        })
    }
}

/// A name without its unused bytes: there may be many.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OverrideName(Box<[u8]>);

impl OverrideName {
    /// The labels in wire format, root label included.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The name.
    pub fn name(&self) -> Name {
        // It was made of one.
        Name::from_wire(&self.0).unwrap_or(Name::ROOT)
    }
}

impl From<&Name> for OverrideName {
    fn from(name: &Name) -> Self {
        Self(name.as_wire().into())
    }
}

impl fmt::Display for OverrideName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            [0] => f.write_str("."),
            _ => write!(f, "{}", self.name()),
        }
    }
}

impl fmt::Debug for OverrideName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for OverrideName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OverrideName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "." {
            return Ok(Self::from(&Name::ROOT));
        }
        match list::name(&text) {
            Ok(name) => Ok(Self::from(&name)),
            Err(reason) => Err(de::Error::custom(format!("read name '{text}': {reason}"))),
        }
    }
}
