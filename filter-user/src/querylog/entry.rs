//! One query as the log keeps it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::SystemTime,
};

use filter_common::{layout::Event, reason::Reason};

use crate::config::LogConfig;

/// One query that was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub time: SystemTime,
    /// Who asked, truncated as configured.
    pub client: SocketAddr,
    /// Who asked on the link; none where addresses are truncated.
    pub mac: Option<[u8; 6]>,
    /// Who was asked, on port 53.
    pub server: IpAddr,
    /// How.
    pub protocol: Protocol,
    /// The interface's name.
    pub interface: Arc<str>,
    /// VLAN identifier; 0 means untagged.
    pub vlan: u16,
    /// The qname in wire form, as it was asked.
    pub qname: Box<[u8]>,
    /// The query type.
    pub qtype: u16,
    /// What became of it.
    pub reason: Reason,
    /// The client's policy.
    pub policy: Option<Arc<str>>,
    /// The list whose rule won.
    pub list: Option<Arc<str>>,
    /// Number of the override that decided; 0 means none.
    pub override_id: u32,
    /// Number of the generation.
    pub generation: u32,
}

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// In a datagram.
    Udp,
    /// In a stream.
    Tcp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

/// What the numbers of an event stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Policies by number; the first one is the default.
    pub policies: Vec<Arc<str>>,
    /// Lists by number, from [`Self::first_list`] on.
    pub lists: Vec<Arc<str>>,
    /// Number of the first list.
    pub first_list: u32,
}

impl Entry {
    /// What an event says; `None` if it is of another layout.
    pub fn of(
        event: &Event,
        time: SystemTime,
        interface: Arc<str>,
        names: &Names,
        config: &LogConfig,
    ) -> Option<Self> {
        let client = config.truncate(address(event.source));
        let named = |names: &[Arc<str>], number: u32| names.get(number as usize).cloned();
        Some(Self {
            time,
            client: SocketAddr::new(client, event.port),
            mac: (!config.is_truncating()).then_some(event.mac),
            server: address(event.destination),
            protocol: if event.protocol == PROTOCOL_TCP {
                Protocol::Tcp
            } else {
                Protocol::Udp
            },
            interface,
            vlan: event.vlan,
            qname: event.qname.get(..event.qname_len.into())?.into(),
            qtype: event.qtype,
            reason: Reason::from_number(event.reason)?,
            policy: named(&names.policies, event.policy),
            list: if event.rule == 0 {
                None
            } else {
                let number = event.list.checked_sub(names.first_list);
                number.and_then(|number| named(&names.lists, number))
            },
            override_id: event.override_id,
            generation: event.generation,
        })
    }

    /// The qname for people: lower case, without the dot at its end, odd bytes escaped (RFC 4343 §2.1).
    pub fn name_text(&self) -> String {
        match domain::base::Name::from_octets(self.qname.as_ref()) {
            Ok(name) if name.is_root() => ".".to_owned(),
            Ok(name) => name.to_string().to_ascii_lowercase(),
            Err(_) => format!("\\# {}", self.qname.len()),
        }
    }
}

/// IANA's number of TCP.
const PROTOCOL_TCP: u8 = 6;

fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use bytemuck::Zeroable as _;

    /// What was told of a query for `name` by 192.0.2.7.
    pub(in crate::querylog) fn entry(name: &str, reason: Reason) -> Entry {
        entry_of(&event(name, reason), &LogConfig::default()).unwrap()
    }

    fn event(name: &str, reason: Reason) -> Event {
        let mut event = Event::zeroed();
        let mapped = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped();
        event.source = mapped("192.0.2.7").octets();
        event.destination = mapped("192.0.2.53").octets();
        event.mac = [2, 0, 0, 0, 0, 7];
        event.port = 40_000;
        event.qtype = 1;
        event.protocol = 17;
        event.policy = 1;
        event.rule = 9;
        event.reason = reason as u8;
        let mut wire = Vec::new();
        for label in name.split('.') {
            wire.push(label.len() as u8);
            wire.extend(label.as_bytes());
        }
        wire.push(0);
        event.qname[..wire.len()].copy_from_slice(&wire);
        event.qname_len = wire.len() as u8;
        event
    }

    fn entry_of(event: &Event, config: &LogConfig) -> Option<Entry> {
        let names = Names {
            policies: vec!["default".into(), "kids".into()],
            lists: vec!["ads".into()],
            first_list: 0,
        };
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500);
        Entry::of(event, time, "lan0".into(), &names, config)
    }

    #[test]
    fn numbers_become_names_and_mapped_addresses_ipv4() {
        let entry = entry("Ads.Example", Reason::NxDomain);
        assert_eq!(entry.client.to_string(), "192.0.2.7:40000");
        assert_eq!(entry.server.to_string(), "192.0.2.53");
        assert_eq!(entry.name_text(), "ads.example");
        assert_eq!(entry.policy.as_deref(), Some("kids"));
        assert_eq!(entry.list.as_deref(), Some("ads"));
        assert_eq!(entry.mac, Some([2, 0, 0, 0, 0, 7]));
    }

    #[test]
    fn without_a_rule_the_list_number_means_nothing() {
        let mut event = event("clean.example", Reason::NoRule);
        event.rule = 0;
        let entry = entry_of(&event, &LogConfig::default()).unwrap();
        assert_eq!(entry.list, None);
    }

    #[test]
    fn a_truncated_client_is_not_told_apart_by_its_hardware_address() {
        let config = LogConfig {
            truncate_ipv4: 24,
            ..LogConfig::default()
        };
        let entry = entry_of(&event("ads.example", Reason::NxDomain), &config).unwrap();
        assert_eq!(entry.client.ip().to_string(), "192.0.2.0");
        assert_eq!(entry.mac, None);
    }

    #[test]
    fn an_event_with_an_unknown_reason_is_none() {
        let mut event = event("ads.example", Reason::NxDomain);
        event.reason = 254;
        assert_eq!(entry_of(&event, &LogConfig::default()), None);
    }

    #[test]
    fn odd_names_stay_on_one_line() {
        assert_eq!(
            entry("a\nb.example", Reason::NoRule).name_text(),
            "a\\010b.example"
        );
        let mut root = entry("x", Reason::NoRule);
        root.qname = [0].into();
        assert_eq!(root.name_text(), ".");
        root.qname = [5, 1].into();
        assert_eq!(root.name_text(), "\\# 2");
    }
}
