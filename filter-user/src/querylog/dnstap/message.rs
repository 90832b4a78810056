//! A query as a dnstap message (dnstap.proto of <https://dnstap.info>, in the public domain).

use std::{net::IpAddr, time::UNIX_EPOCH};

use filter_common::reason::{Action, Reason};
use prost::Message as _;

use crate::querylog::{Entry, entry::Protocol};

/// A payload; of its kinds there is one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Dnstap {
    /// Who wrote it.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub identity: Option<Vec<u8>>,
    /// The writer's version.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub version: Option<Vec<u8>>,
    /// [`TYPE_MESSAGE`].
    #[prost(int32, required, tag = "15")]
    pub kind: i32,
    /// The message.
    #[prost(message, optional, tag = "14")]
    pub message: Option<Message>,
}

/// A DNS message and what is known of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    /// [`CLIENT_QUERY`].
    #[prost(int32, required, tag = "1")]
    pub kind: i32,
    /// 1 for IPv4, 2 for IPv6.
    #[prost(int32, optional, tag = "2")]
    pub socket_family: Option<i32>,
    /// 1 for UDP, 2 for TCP.
    #[prost(int32, optional, tag = "3")]
    pub socket_protocol: Option<i32>,
    /// Who asked.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub query_address: Option<Vec<u8>>,
    /// Who was asked.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub response_address: Option<Vec<u8>>,
    /// The asking port.
    #[prost(uint32, optional, tag = "6")]
    pub query_port: Option<u32>,
    /// The asked port.
    #[prost(uint32, optional, tag = "7")]
    pub response_port: Option<u32>,
    /// When, in seconds of the UNIX epoch.
    #[prost(uint64, optional, tag = "8")]
    pub query_time_sec: Option<u64>,
    /// The rest of it, in nanoseconds.
    #[prost(fixed32, optional, tag = "9")]
    pub query_time_nsec: Option<u32>,
    /// The query.
    #[prost(bytes = "vec", optional, tag = "10")]
    pub query_message: Option<Vec<u8>>,
    /// What the operator's rules did.
    #[prost(message, optional, tag = "15")]
    pub policy: Option<Policy>,
}

/// What the operator's rules did.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Policy {
    /// Whose rules.
    #[prost(string, optional, tag = "1")]
    pub kind: Option<String>,
    /// Which rule: the name of its list.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub rule: Option<Vec<u8>>,
    /// [`ACTION_NXDOMAIN`] and others.
    #[prost(int32, optional, tag = "3")]
    pub action: Option<i32>,
    /// [`MATCH_QNAME`].
    #[prost(int32, optional, tag = "4")]
    pub matched: Option<i32>,
}

/// `Dnstap.Type.MESSAGE`.
pub const TYPE_MESSAGE: i32 = 1;
/// `Message.Type.CLIENT_QUERY`.
pub const CLIENT_QUERY: i32 = 5;
/// `Policy.Match.QNAME`.
pub const MATCH_QNAME: i32 = 1;
/// `Policy.Action.NXDOMAIN`.
pub const ACTION_NXDOMAIN: i32 = 1;
/// `Policy.Action.NODATA`.
pub const ACTION_NODATA: i32 = 2;
/// `Policy.Action.PASS`.
pub const ACTION_PASS: i32 = 3;
/// `Policy.Action.DROP`.
pub const ACTION_DROP: i32 = 4;
/// `Policy.Action.TRUNCATE`.
pub const ACTION_TRUNCATE: i32 = 5;
/// `Policy.Action.LOCAL_DATA`.
pub const ACTION_LOCAL_DATA: i32 = 6;

/// Port of DNS servers.
const DNS_PORT: u32 = 53;

/// The payload for `entry`, encoded.
pub(super) fn encode(entry: &Entry, identity: &str) -> Vec<u8> {
    Dnstap {
        identity: Some(identity.into()),
        version: Some(concat!("nxdp ", env!("CARGO_PKG_VERSION")).into()),
        kind: TYPE_MESSAGE,
        message: Some(message(entry)),
    }
    .encode_to_vec()
}

fn message(entry: &Entry) -> Message {
    let time = entry.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Message {
        kind: CLIENT_QUERY,
        socket_family: Some(if entry.client.is_ipv4() { 1 } else { 2 }),
        socket_protocol: Some(match entry.protocol {
            Protocol::Udp => 1,
            Protocol::Tcp => 2,
        }),
        query_address: Some(octets(entry.client.ip())),
        response_address: Some(octets(entry.server)),
        query_port: Some(entry.client.port().into()),
        response_port: Some(DNS_PORT),
        query_time_sec: Some(time.as_secs()),
        query_time_nsec: Some(time.subsec_nanos()),
        query_message: Some(query(entry)),
        policy: policy(entry),
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

/// The question in a message of its own (RFC 1035 §4.1).
///
/// The kernel tells of the question only, so identifier and EDNS are not those that the
/// client sent: the identifier is 0, RD is set, and there is no OPT.
fn query(entry: &Entry) -> Vec<u8> {
    const HEADER: [u8; 12] = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const CLASS_IN: [u8; 2] = [0, 1];
    [
        &HEADER[..],
        &entry.qname,
        &entry.qtype.to_be_bytes(),
        &CLASS_IN,
    ]
    .concat()
}

fn policy(entry: &Entry) -> Option<Policy> {
    let is_decided = entry.list.is_some() || entry.override_id != 0;
    is_decided.then(|| Policy {
        kind: Some("nxdp".to_owned()),
        rule: Some(match &entry.list {
            Some(list) => list.as_bytes().into(),
            None => format!("override {}", entry.override_id).into(),
        }),
        action: action(entry.reason),
        matched: Some(MATCH_QNAME),
    })
}

/// The dnstap action that says the same; for REFUSED there is none.
fn action(reason: Reason) -> Option<i32> {
    match reason {
        Reason::NxDomain => Some(ACTION_NXDOMAIN),
        Reason::NoData => Some(ACTION_NODATA),
        Reason::Address => Some(ACTION_LOCAL_DATA),
        Reason::Truncated | Reason::Slipped => Some(ACTION_TRUNCATE),
        Reason::Refused => None,
        other => match other.action() {
            Action::Pass => Some(ACTION_PASS),
            Action::Drop => Some(ACTION_DROP),
            Action::Transmit => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::querylog::entry::tests::entry;

    #[test]
    fn what_is_written_reads_back_with_question_and_policy() {
        let entry = entry("Ads.Example", Reason::NxDomain);
        let read = Dnstap::decode(&encode(&entry, "router")[..]).unwrap();
        assert_eq!(read.identity.as_deref(), Some(&b"router"[..]));
        let message = read.message.unwrap();
        assert_eq!((read.kind, message.kind), (TYPE_MESSAGE, CLIENT_QUERY));
        assert_eq!(message.query_address.as_deref(), Some(&[192, 0, 2, 7][..]));
        let policy = message.policy.unwrap();
        assert_eq!(policy.rule.as_deref(), Some(&b"ads"[..]));
        assert_eq!(policy.action, Some(ACTION_NXDOMAIN));
        let query = message.query_message.unwrap();
        let query = domain::base::Message::from_octets(&query[..]).unwrap();
        let question = query.sole_question().unwrap();
        assert_eq!(question.qname().to_string(), "Ads.Example");
        assert_eq!(question.qtype(), domain::base::Rtype::A);
        assert!(query.header().rd() && query.header().id() == 0);
    }

    #[test]
    fn a_query_that_no_rule_is_for_has_no_policy() {
        let mut entry = entry("clean.example", Reason::NoRule);
        entry.list = None;
        assert_eq!(message(&entry).policy, None);
    }
}
