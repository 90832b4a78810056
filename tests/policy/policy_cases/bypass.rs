//! Encrypted transports that policies refuse, through both bodies of the core.

use std::net::SocketAddr;

use filter_common::reason::Reason;
use filter_user::enforcement::Request;
use jiff::Timestamp;
use nxdp_lab::{
    engines::Verdict,
    frame::UdpFrame,
    policy_cases::{Client, POLICIES, SAID},
    segment::Segment,
};

use super::{World, datagram, segment, socket, spec};

#[test]
fn encrypted_transports_are_refused_to_those_whose_policy_says_so_unless_they_are_paused() {
    let mut world = World::new(POLICIES);
    let [kid, paused, observed, other] =
        ["10.1.9.9", "10.1.4.4", "10.8.0.9", "10.9.0.2"].map(unlisted_mac);
    let pause = SAID
        .iter()
        .filter(|said| said.clients.ends_with("10.1.4.4"));
    let now = Timestamp::now();
    world.apply(Request::Add(pause.map(|said| spec(said, now)).collect()));
    let mut host = world.host();
    for (from, to, over_udp, over_tcp) in [
        (
            kid,
            "10.0.0.9:853",
            Reason::BypassDropped,
            Reason::BypassReset,
        ),
        (
            kid,
            "10.0.0.3:443",
            Reason::BypassDropped,
            Reason::BypassReset,
        ),
        (kid, "10.0.0.9:443", Reason::OtherPort, Reason::OtherPort),
        (kid, "10.0.0.9:80", Reason::OtherPort, Reason::OtherPort),
        (paused, "10.0.0.9:853", Reason::OtherPort, Reason::OtherPort),
        (
            observed,
            "10.0.0.9:853",
            Reason::BypassObserved,
            Reason::BypassObserved,
        ),
        (
            observed,
            "10.0.0.3:443",
            Reason::BypassObserved,
            Reason::BypassObserved,
        ),
        (
            observed,
            "10.0.0.9:443",
            Reason::OtherPort,
            Reason::OtherPort,
        ),
        (other, "10.0.0.3:853", Reason::OtherPort, Reason::OtherPort),
    ] {
        let to: SocketAddr = to.parse().unwrap();
        let udp = world.judge(&mut host, &datagram(from, to, &[0; 40]));
        let opening = segment(from, to, Segment::new(false, "S", &[]));
        let tcp = world.judge(&mut host, &opening);
        assert_eq!(
            (udp.reason, tcp.reason),
            (over_udp, over_tcp),
            "{from:?} {to}"
        );
    }
}

/// A client whose MAC address says nothing.
fn unlisted_mac(address: &'static str) -> Client {
    Client {
        mac: 2,
        address,
        vlan: 0,
    }
}

/// Puts destination options of 8 bytes (RFC 8200 §4.6) in front of what IPv6 carries.
fn behind_options(mut frame: Vec<u8>) -> Vec<u8> {
    let carried = std::mem::replace(&mut frame[20], 60);
    let len = u16::from_be_bytes([frame[18], frame[19]]) + 8;
    frame[18..20].copy_from_slice(&len.to_be_bytes());
    frame.splice(54..54, [carried, 0, 1, 4, 0, 0, 0, 0]);
    frame
}

#[test]
fn no_source_port_and_no_extension_header_is_a_way_around() {
    let mut world = World::new(POLICIES);
    let mut host = world.host();
    let encrypted = |address| socket(address, 853);
    let datagram = |from, to| UdpFrame::new(from, to, &[0; 40]).build();
    let opening = |source: SocketAddr, destination| {
        let segment = Segment::new(source.is_ipv6(), "S", &[]);
        Segment {
            source,
            destination,
            ..segment
        }
        .build()
    };
    for (client, expected) in [
        ("10.1.9.9", Reason::BypassDropped),
        ("10.8.0.9", Reason::BypassObserved),
        ("10.9.0.2", Reason::OtherPort),
    ] {
        let ports = [0, 7, 13, 19, 37, 53, 464];
        let over_udp = ports.map(|port| datagram(socket(client, port), encrypted("10.0.0.9")));
        let over_tcp = opening(socket(client, 0), encrypted("10.0.0.9"));
        for frame in over_udp.into_iter().chain([over_tcp]) {
            let verdict = world.judge(&mut host, &frame);
            assert_eq!(verdict, Verdict::as_it_came(expected, frame), "{client}");
        }
    }
    for (client, expected) in [
        ("fd00:1::9", Reason::BypassDropped),
        ("fd00:9::9", Reason::OtherPort),
    ] {
        let (from, to) = (socket(client, 40_000), encrypted("fd00::9"));
        for frame in [datagram(from, to), opening(from, to)].map(behind_options) {
            let verdict = world.judge(&mut host, &frame);
            assert_eq!(verdict, Verdict::as_it_came(expected, frame), "{client}");
        }
    }
}
