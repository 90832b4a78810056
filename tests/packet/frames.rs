//! Frames made by hand go through the lab as they would over a wire.

use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use nxdp_lab::{
    check::check_frame,
    frame::{ETHERTYPE_SERVICE_VLAN, ETHERTYPE_VLAN, Extension, Tag, UdpChecksum, UdpFrame},
    lab::{self, Lab},
    query::Query,
    raw_socket::RawSocket,
};

const SOON: Duration = Duration::from_secs(2);

fn query(name: &str, record_type: RecordType) -> Query {
    Query::new(name, record_type).unwrap()
}

/// Every shape of frame that the kernel's own stack accepts must reach the responder
/// and be answered: so the builder's headers, lengths and checksums are right.
#[test]
fn frames_made_by_hand_are_answered_by_the_kernel_and_the_responder() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    // Makes the router know the client's hardware address, and the resolver the router's.
    lab.ask_v4(&query("warm.example", RecordType::A)).unwrap();
    lab.ask_v6(&query("warm.example", RecordType::A)).unwrap();
    let socket = lab.client_socket().unwrap();
    let dns = |id| query("frame.example", RecordType::A).edns().to_bytes(id);
    let cases = [
        ("ipv4", UdpFrame::query_v4(40_001, &dns(1))),
        (
            "ipv4, no udp checksum",
            UdpFrame::query_v4(40_002, &dns(2)).udp_checksum(UdpChecksum::Absent),
        ),
        (
            "ipv4, one option",
            UdpFrame::query_v4(40_003, &dns(3)).ipv4_options(&[0x94, 4, 0, 0]),
        ),
        ("ipv6", UdpFrame::query_v6(40_004, &dns(4))),
        (
            "ipv6, destination options",
            UdpFrame::query_v6(40_005, &dns(5)).extension(Extension::DestinationOptions(8)),
        ),
        (
            "ipv6, long chain",
            UdpFrame::query_v6(40_006, &dns(6))
                .extension(Extension::HopByHop(24))
                .extension(Extension::DestinationOptions(512))
                .extension(Extension::Fragment {
                    offset: 0,
                    more: false,
                }),
        ),
    ];
    for (port, (what, frame)) in (40_001..).zip(cases) {
        socket.send(&frame.build()).unwrap();
        let answer = socket
            .receive_until(SOON, |frame| {
                // The responder's kernel leaves the checksum to the device: read the port, not the sum.
                let ports = frame
                    .bytes
                    .windows(4)
                    .any(|window| window == [[0, 53], u16::to_be_bytes(port)].concat());
                ports.then(|| frame.clone())
            })
            .unwrap();
        assert!(answer.is_some(), "{what}: no answer");
    }
}

#[test]
fn the_kernel_drops_a_frame_with_a_wrong_udp_checksum() {
    let lab = Lab::new().unwrap();
    let responder = lab.start_responder().unwrap();
    lab.ask_v4(&query("warm.example", RecordType::A)).unwrap();
    let socket = lab.client_socket().unwrap();
    let dns = query("frame.example", RecordType::A).to_bytes(1);
    for checksum in [UdpChecksum::Wrong, UdpChecksum::Right] {
        socket
            .send(
                &UdpFrame::query_v4(40_000, &dns)
                    .udp_checksum(checksum)
                    .build(),
            )
            .unwrap();
    }
    let end = Instant::now() + SOON;
    while responder.received().udp < 2 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(
        responder.received().udp,
        2,
        "the warm query and the right frame"
    );
}

#[test]
fn tagged_and_session_frames_arrive_as_they_were_sent() {
    let lab = Lab::new().unwrap();
    let sender = lab.client_socket().unwrap();
    let receiver = RawSocket::open(lab.router(), lab::LAN_INTERFACE).unwrap();
    let dns = query("frame.example", RecordType::A).to_bytes(7);
    let plain = || UdpFrame::query_v4(40_000, &dns);
    let cases = [
        plain(),
        plain().vlan(7),
        plain().tag(ETHERTYPE_SERVICE_VLAN, 0x2000 | 100).vlan(4094),
        plain().vlan(7).vlan(8),
        plain().pppoe(0x1234),
        UdpFrame::query_v6(40_000, &dns).vlan(9).pppoe(1),
    ];
    for frame in cases {
        let sent = frame.build();
        sender.send(&sent).unwrap();
        let same = receiver
            .receive_until(SOON, |frame| (frame.bytes == sent).then_some(()))
            .unwrap();
        assert!(same.is_some(), "{frame:?} did not arrive unchanged");
        assert!(
            check_frame(&sent).is_ok(),
            "{frame:?}: {:?}",
            check_frame(&sent)
        );
    }
}

#[test]
fn a_frame_that_the_kernel_answers_for_the_filter_passes_the_check() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    // With the offload off the responder's kernel computes every checksum itself.
    lab.switch_offload(lab.resolver(), lab::RESOLVER_INTERFACE, "tx", false)
        .unwrap();
    let socket = lab.client_socket().unwrap();
    for reply in [
        lab.ask_v4(&query("sum.example", RecordType::A)),
        lab.ask_v6(&query("sum.example", RecordType::A)),
    ] {
        let reply = reply.unwrap();
        let frame = socket
            .receive_until(SOON, |frame| {
                frame.bytes.ends_with(&reply.bytes).then(|| frame.clone())
            })
            .unwrap()
            .expect("the answer came over the wire");
        assert!(frame.checksum_is_final);
        let checked = check_frame(&frame.bytes).unwrap();
        assert_eq!(
            (checked.source_mac, checked.destination_mac),
            (lab::LAN_MAC, lab::CLIENT_MAC)
        );
        assert_eq!(
            (checked.source.port(), checked.tags.as_slice()),
            (53, &[] as &[Tag])
        );
        assert_eq!(checked.payload, reply.bytes);
    }
}

#[test]
fn a_lone_tag_is_reported_with_its_own_ethertype() {
    let lab = Lab::new().unwrap();
    let sender = lab.client_socket().unwrap();
    let receiver = RawSocket::open(lab.router(), lab::LAN_INTERFACE).unwrap();
    for ethertype in [ETHERTYPE_VLAN, ETHERTYPE_SERVICE_VLAN] {
        let sent = UdpFrame::query_v4(1, b"").tag(ethertype, 5).build();
        sender.send(&sent).unwrap();
        let tags = receiver
            .receive_until(SOON, |frame| {
                check_frame(&frame.bytes).ok().map(|frame| frame.tags)
            })
            .unwrap();
        assert_eq!(
            tags,
            Some(vec![Tag {
                ethertype,
                control: 5
            }])
        );
    }
}
