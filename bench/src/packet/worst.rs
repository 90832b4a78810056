//! Frames that somebody could think of to make the filter work hard.
//!
//! Names by the number and length of their labels and by where they leave the
//! rules, times the ways to wrap them, times EDNS.

use nxdp_lab::{
    cases::Message,
    frame::{ETHERTYPE_SERVICE_VLAN, Extension, UdpFrame},
};

/// Labels under which the table has a rule at every depth that does not apply to A queries:
/// a walk that never ends early and never decides.
pub(crate) const TOWER: &str = "t";
/// The top of the tower of rules with labels of 63 bytes.
const LONG: &str = "lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll";

/// The rules that the frames aim at.
pub(crate) fn rules() -> String {
    let mut rules = String::new();
    let mut push = |name: String, modifier: &str| {
        rules.push_str("||");
        rules.push_str(&name);
        rules.push('^');
        rules.push_str(modifier);
        rules.push('\n');
    };
    push(vec!["d"; 127].join("."), "");
    for depth in 2..=127 {
        push(vec![TOWER; depth].join("."), "$dnstype=AAAA");
    }
    push(vec!["b"; 127].join("."), "");
    for depth in 2..127 {
        push(vec!["b"; depth].join("."), "$dnstype=AAAA");
    }
    for depth in 2..=3 {
        push(vec![LONG; depth].join("."), "$dnstype=AAAA");
    }
    push(format!("{}.{}", "m".repeat(61), [LONG; 3].join(".")), "");
    rules
}

/// Every frame with what it is; `blocked` is a name with a rule of its own.
pub(crate) fn frames(blocked: &str) -> Vec<(String, Vec<u8>)> {
    let mut frames = Vec::new();
    for (what, name) in names(blocked) {
        for (edns, message) in messages(&name) {
            for (wrapped, frame) in wraps(&message.bytes()) {
                frames.push((format!("{what}, {edns}, {wrapped}"), frame));
            }
        }
    }
    frames
}

fn names(blocked: &str) -> Vec<(String, String)> {
    let mut names = vec![
        ("the deepest rule".into(), vec!["d"; 127].join(".")),
        (
            "the deepest rule in capitals".into(),
            vec!["D"; 127].join("."),
        ),
        (
            "127 labels, the first unknown".into(),
            format!("e.{}", vec!["d"; 126].join(".")),
        ),
        (
            "a tower of 127 rules that do not apply".into(),
            vec![TOWER; 127].join("."),
        ),
        (
            "a tower of 126 rules and one that does".into(),
            vec!["b"; 127].join("."),
        ),
        (
            "rules with labels of 63 bytes".into(),
            format!("{}.{}", "m".repeat(61), [LONG; 3].join(".")),
        ),
    ];
    for label in [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63] {
        let label_text = "y".repeat(label);
        let count = (253 - blocked.len()) / (label + 1);
        names.push((
            format!("{count} labels of {label} below a rule"),
            format!("{}{blocked}", format!("{label_text}.").repeat(count)),
        ));
        let count = 254 / (label + 1);
        names.push((
            format!("{count} unknown labels of {label}"),
            vec![label_text; count].join("."),
        ));
    }
    for count in [2, 3, 16, 64, 126] {
        names.push((
            format!("the first {count} names of a tower"),
            format!("z.{}", vec![TOWER; count].join(".")),
        ));
    }
    names
}

fn messages(name: &str) -> Vec<(&'static str, Message)> {
    let plain = Message::new(name);
    vec![
        ("no EDNS", plain.clone()),
        ("EDNS", plain.clone().opt(0x8000, &[])),
        (
            "EDNS with 20 options",
            plain.clone().opt(0, &[0, 100, 0, 0].repeat(20)),
        ),
        (
            "EDNS with 100 bytes of padding",
            plain
                .clone()
                .opt(0, &[&[0, 12, 0, 100][..], &[0; 100]].concat()),
        ),
        (
            "EDNS with 1 kB of padding",
            plain.opt(0, &[&[0, 12, 4, 0][..], &[0; 1024]].concat()),
        ),
    ]
}

fn wraps(payload: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let (v4, v6) = (
        UdpFrame::query_v4(40_000, payload),
        UdpFrame::query_v6(40_000, payload),
    );
    let headers = |count| {
        let frame = v6.clone();
        (0..count).fold(frame, |f, _| f.extension(Extension::DestinationOptions(8)))
    };
    let tagged = |frame: &UdpFrame| frame.clone().tag(ETHERTYPE_SERVICE_VLAN, 5).vlan(7);
    let list = [
        ("IPv4", v4.clone()),
        ("IPv6", v6.clone()),
        ("IPv6 in QinQ and PPPoE", tagged(&v6).pppoe(9)),
        (
            "IPv4 with 40 bytes of options in QinQ and PPPoE",
            tagged(&v4).pppoe(9).ipv4_options(&[1; 40]),
        ),
        ("six extension headers", headers(6)),
    ];
    list.map(|(what, frame)| (what, frame.build())).to_vec()
}
