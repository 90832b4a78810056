//! The names that are asked for: what blocks them, and what a nameserver has for them.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::cases::wire;

/// Address of every blocked name, and of nothing else.
pub(super) const LEAK_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 66, 66);
/// The same over IPv6.
pub(super) const LEAK_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x6666, 0, 0, 0, 0, 0x6666);
/// What other records of blocked names hold, and nothing else.
pub(super) const LEAK_WORD: &str = "xleakx";
/// Address of the names that nobody blocks.
pub(super) const CLEAN_V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// What blocks them.
pub(super) const LIST: &str = "\
||blocked.lab.example^
|exact.lab.example^
||xn--mnchen-3ya.lab.example^
||one.two.three.four.five.deep.lab.example^
";

/// The owners of data that the list blocks with all that is below them.
pub(super) const SUFFIXES: [&str; 3] = [
    "blocked.lab.example",
    "xn--mnchen-3ya.lab.example",
    "one.two.three.four.five.deep.lab.example",
];
/// The owner of data that is blocked alone.
pub(super) const EXACT: &str = "exact.lab.example";
/// Owners of data that nobody blocks, with all that is below them.
pub(super) const CLEAN: [&str; 2] = ["free.lab.example", "deep.lab.example"];

/// Names that are blocked and have data, in wire format.
pub(super) fn blocked() -> Vec<Vec<u8>> {
    let long = [63, 63, 63, 41].map(|len| "l".repeat(len)).join(".");
    let deep = "d.".repeat(117);
    let below = [
        "www.blocked.lab.example".to_owned(),
        "a.b.c.d.e.f.blocked.lab.example".to_owned(),
        "_dns._udp.blocked.lab.example".to_owned(),
        "ads.xn--mnchen-3ya.lab.example".to_owned(),
        "six.one.two.three.four.five.deep.lab.example".to_owned(),
        format!("{long}.blocked.lab.example"),
        format!("{deep}blocked.lab.example"),
    ];
    let owners = SUFFIXES.into_iter().chain([EXACT]).map(str::to_owned);
    owners.chain(below).map(|name| wire(&name)).collect()
}

/// Names that nobody blocks and that have data.
pub(super) fn clean() -> Vec<Vec<u8>> {
    let below = ["www.free.lab.example", "blocked.free.lab.example"];
    let names = CLEAN.into_iter().chain(below);
    names.map(wire).collect()
}

/// The zone of the root, with `server` as its nameserver: nothing is asked elsewhere.
pub(super) fn zone(server: Ipv4Addr) -> String {
    let mut zone = format!(
        "$TTL 300\n. SOA ns.lab.example. nobody.invalid. 1 3600 600 86400 60\n. NS ns.lab.example.\n\
         ns.lab.example. A {server}\n"
    );
    // Writing to a string does not fail.
    for name in SUFFIXES {
        let _written = write!(zone, "{}{}", records(name), records(&format!("*.{name}")));
    }
    zone += &records(EXACT);
    for name in CLEAN {
        let _written = writeln!(zone, "{name}. A {CLEAN_V4}\n*.{name}. A {CLEAN_V4}");
    }
    zone
}

/// Records of several types for a blocked name: each shows that it is one.
fn records(owner: &str) -> String {
    format!(
        "{owner}. A {LEAK_V4}\n{owner}. AAAA {LEAK_V6}\n{owner}. TXT \"{LEAK_WORD}\"\n\
         {owner}. MX 10 {LEAK_WORD}.\n{owner}. SRV 1 1 1 {LEAK_WORD}.\n\
         {owner}. HTTPS 1 {LEAK_WORD}. alpn=h2\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::{HostEngine, compile_texts};
    use crate::{cases::Message, frame::UdpFrame};
    use filter_common::reason::Reason;

    #[test]
    fn every_blocked_name_is_blocked_and_no_clean_one_is() {
        let mut host = HostEngine::new(&compile_texts(&[("odd", LIST)]).unwrap());
        let mut reason = |qname: &Vec<u8>| {
            let mut message = Message::new("");
            message.qname.clone_from(qname);
            host.judge(&UdpFrame::query_v4(40_000, &message.bytes()).build())
                .reason
        };
        for name in blocked() {
            let reason = reason(&name);
            let is_blocked = matches!(reason, Reason::NxDomain | Reason::NoData);
            assert!(is_blocked, "{name:?}: {reason:?}");
        }
        for name in clean() {
            assert_eq!(reason(&name), Reason::NoRule, "{name:?}");
        }
        assert!(blocked().iter().any(|name| name.len() == 255));
    }
}
