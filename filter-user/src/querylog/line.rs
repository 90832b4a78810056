//! The words of the query log on the control socket.

use std::{fmt, net::IpAddr, time::SystemTime};

use domain::base::Rtype;
use filter_common::{
    address::MacText,
    reason::{Action, Reason},
};
use serde::{Deserialize, Serialize};

use super::Entry;
use filter_lists::rule::ClientAddress;

use crate::config::LogQueries;

/// What is wanted of the query log.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct LogRequest {
    /// How many of the last queries are told first.
    pub last: u32,
    /// Whether those that come are told too, until the reader leaves.
    pub follow: bool,
    /// Whether those that merely pass are left out.
    pub blocked: bool,
    /// Whose queries; everybody's by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientAddress>,
}

/// What the query log tells of at all.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct LogHeader {
    /// Version of this object and of the lines.
    pub version: u32,
    /// Which queries are told of.
    pub queries: LogQueries,
    /// Of those that pass, one of so many.
    pub sample: u32,
}

/// One line of the query log.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum LogLine {
    /// A query.
    Query(Box<QueryLine>),
    /// Queries that are missing before the next line.
    Lost(LostLine),
}

/// One query.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct QueryLine {
    /// When, in UTC (RFC 3339).
    pub time: String,
    /// Who asked, as much of the address as the configuration wants told.
    pub client: IpAddr,
    /// The client's port.
    pub port: u16,
    /// The client on the link; left out where addresses are truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Who was asked.
    pub server: IpAddr,
    /// `udp` or `tcp`.
    pub protocol: String,
    /// The interface.
    pub interface: String,
    /// VLAN identifier, if tagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The qname in lower case, without the dot at its end.
    pub name: String,
    /// The query type.
    #[serde(rename = "type")]
    pub qtype: String,
    /// What became of the query.
    pub outcome: Outcome,
    /// Why: the name of the counter that counted it.
    pub reason: String,
    /// The client's policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The list whose rule won.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<String>,
    /// Number of the override that decided.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub override_id: Option<u32>,
    /// Number of the generation that judged.
    pub generation: u32,
}

/// Queries that are missing.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct LostLine {
    /// How many.
    pub lost: u64,
    /// `ring`: nxdp did not read them in time; `reader`: whoever follows the log did not.
    pub at: String,
}

/// What became of a query, in short.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Answered or dropped.
    Blocked,
    /// Passed, though a rule would have blocked it.
    Observed,
    /// Passed.
    Passed,
}

impl Outcome {
    /// The outcome for this reason.
    pub fn of(reason: Reason) -> Self {
        match (reason.action(), reason) {
            (Action::Drop | Action::Transmit, _) => Self::Blocked,
            (Action::Pass, Reason::Observed) => Self::Observed,
            (Action::Pass, _) => Self::Passed,
        }
    }
}

/// What became of the query log itself.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct LogStats {
    /// Which queries are told of.
    pub queries: LogQueries,
    /// Of those that pass, one of so many.
    pub sample: u32,
    /// Queries that were told of since the start.
    pub told: u64,
    /// Queries for which the ring of events had no room.
    pub lost: u64,
    /// Where dnstap goes.
    pub dnstap: Vec<TapStats>,
}

/// What became of dnstap in one place.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct TapStats {
    /// The file or socket.
    pub target: String,
    /// Frames that were written.
    pub written: u64,
    /// Frames that were not.
    pub lost: u64,
    /// Whether the file is open, the socket connected.
    pub open: bool,
}

impl QueryLine {
    /// The words for a query.
    pub fn of(entry: &Entry) -> Self {
        let owned = |text: &std::sync::Arc<str>| text.to_string();
        Self {
            time: humantime::format_rfc3339_millis(entry.time).to_string(),
            client: entry.client.ip(),
            port: entry.client.port(),
            mac: entry.mac.map(|mac| MacText(mac).to_string()),
            server: entry.server,
            protocol: entry.protocol.to_string(),
            interface: entry.interface.to_string(),
            vlan: (entry.vlan != 0).then_some(entry.vlan),
            name: entry.name_text(),
            qtype: Rtype::from_int(entry.qtype).to_string(),
            outcome: Outcome::of(entry.reason),
            reason: entry.reason.name().to_owned(),
            policy: entry.policy.as_ref().map(owned),
            list: entry.list.as_ref().map(owned),
            override_id: (entry.override_id != 0).then_some(entry.override_id),
            generation: entry.generation,
        }
    }

    /// When, as a time; `None` if it makes no sense.
    pub fn time(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.time).ok()
    }
}

impl fmt::Display for QueryLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time,
            client,
            qtype,
            name,
            reason,
            ..
        } = self;
        write!(f, "{time} {client} {qtype} {name} {reason}")?;
        if let Some(list) = &self.list {
            write!(f, " list={list}")?;
        }
        if let Some(policy) = self.policy.as_deref().filter(|name| *name != "default") {
            write!(f, " policy={policy}")?;
        }
        if let Some(id) = self.override_id {
            write!(f, " override={id}")?;
        }
        Ok(())
    }
}

impl fmt::Display for LostLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.at.as_str() {
            "ring" => "they came faster than nxdp read them",
            _ => "they came faster than this reader took them",
        };
        write!(f, "{} queries are missing here: {why}", self.lost)
    }
}
