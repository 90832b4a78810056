//! Where VLAN tags are taken off before the program sees them, nothing is answered, and nothing blocked passes.

use std::{
    fs,
    time::{Duration, Instant},
};

use aya::programs::XdpMode;
use hickory_proto::rr::RecordType;
use nxdp_lab::{
    filter::Filter,
    frame::UdpFrame,
    lab::Lab,
    process::Stream,
    query::Query,
    raw_socket::RawSocket,
    xdp_stub::{StubAction, XdpStub},
};

const SOON: Duration = Duration::from_secs(10);
/// How long an answer that comes at all takes at most.
const SHORT: Duration = Duration::from_millis(200);

/// Both ends of a trunk are on the router, so that it sees the offloads of the far one.
const NEAR: &str = "trunk0";
const FAR: &str = "trunk1";

fn blocked_query() -> Vec<u8> {
    let query = Query::new("www.blocked.example", RecordType::A).unwrap();
    UdpFrame::query_v4(40_000, &query.to_bytes(7)).build()
}

fn is_answered(socket: &RawSocket) -> bool {
    socket.send(&blocked_query()).unwrap();
    let answer = socket.receive_until(SHORT, |frame| {
        let ports = [0, 53, 0x9c, 0x40];
        frame
            .bytes
            .windows(4)
            .any(|bytes| bytes == ports)
            .then_some(())
    });
    answer.unwrap().is_some()
}

fn assert_soon(mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "not within {SOON:?}");
    }
}

#[test]
fn blocked_queries_are_dropped_where_tags_are_taken_off_until_they_are_not() {
    let lab = Lab::new().unwrap();
    let router = lab.router();
    router
        .ip_batch(&format!(
            "link add {NEAR} type veth peer name {FAR}\nlink set {NEAR} up\nlink set {FAR} up\n"
        ))
        .unwrap();
    let vlan = format!("link add link {NEAR} name {NEAR}.10 type vlan id 10\n");
    if let Err(error) = router.ip_batch(&vlan) {
        // `tests/policy/policy_cases.rs` shows what the core does, `features::tags` what it is told.
        assert!(
            format!("{error:#}").contains("Unknown device type"),
            "{error:#}"
        );
        eprintln!("skipped: this kernel has no VLAN devices (8021q)");
        return;
    }
    let _stub = XdpStub::attach(router, FAR, StubAction::Pass, XdpMode::Driver).unwrap();
    let socket = RawSocket::open(router, FAR).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.txt");
    fs::write(&list, "||blocked.example^\n").unwrap();
    let arguments = [
        "--interface",
        NEAR,
        "--force",
        "--list",
        list.to_str().unwrap(),
    ];
    let filter = Filter::start(&lab, folder.path(), &arguments).unwrap();

    let said = filter
        .process()
        .wait_for_line(0, "VLAN tags are taken off", SOON)
        .unwrap();
    assert!(said.text.contains(&format!("ethtool -K {FAR} txvlan off")));
    assert!(!is_answered(&socket));
    assert_eq!(filter.counter("drop_tag_offload").unwrap(), 1);
    assert_eq!(filter.counter("answer_nxdomain").unwrap(), 0);

    lab.switch_offload(router, FAR, "txvlan", false).unwrap();
    assert_soon(|| is_answered(&socket));
    lab.switch_offload(router, FAR, "txvlan", true).unwrap();
    assert_soon(|| !is_answered(&socket));
    let err = filter.process().text(Stream::Err);
    assert_eq!(err.matches("VLAN tags are taken off").count(), 2, "{err}");
}
