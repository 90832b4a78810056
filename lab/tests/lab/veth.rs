//! What the lab's veth pairs do with frames that an XDP program sends back.

use std::time::Duration;

use aya::programs::XdpMode;
use nxdp_lab::{
    frame::UdpFrame,
    lab::{self, LAN_INTERFACE, Lab},
    xdp_stub::{StubAction, XdpStub},
};

fn send_back(lab: &Lab, mode: XdpMode) -> XdpStub {
    XdpStub::attach(lab.router(), LAN_INTERFACE, StubAction::SendBack, mode).unwrap()
}

/// Whether a frame that the client sends comes back to it within `wait`.
fn comes_back(lab: &Lab, frame: &[u8], wait: Duration) -> bool {
    let socket = lab.client_socket().unwrap();
    socket.send(frame).unwrap();
    let same = socket.receive_until(wait, |received| (received.bytes == frame).then_some(()));
    same.unwrap().is_some()
}

/// A frame to which nothing but the program itself could answer.
fn lone_frame() -> Vec<u8> {
    UdpFrame::query_v4(40_000, b"there and back")
        .macs(lab::LAN_MAC, lab::CLIENT_MAC)
        .build()
}

const SOON: Duration = Duration::from_secs(2);
const A_MOMENT: Duration = Duration::from_millis(300);

#[test]
fn nothing_comes_back_by_itself() {
    let lab = Lab::new().unwrap();
    assert!(!comes_back(&lab, &lone_frame(), A_MOMENT));
}

#[test]
fn a_frame_sent_back_reaches_the_client_in_native_and_generic_mode() {
    let lab = Lab::new().unwrap();
    for mode in [XdpMode::Driver, XdpMode::Skb] {
        let _stub = send_back(&lab, mode);
        assert!(comes_back(&lab, &lone_frame(), SOON), "{mode:?}");
    }
}

/// The reason why the lab gives the client a program of its own.
#[test]
fn in_native_mode_a_client_without_a_program_does_not_get_the_frame() {
    let mut lab = Lab::new().unwrap();
    lab.detach_client_stub();
    lab.switch_offload(lab.client(), lab::CLIENT_INTERFACE, "gro", true)
        .unwrap();
    let stub = send_back(&lab, XdpMode::Driver);
    assert!(!comes_back(&lab, &lone_frame(), A_MOMENT));
    drop(stub);
    let _stub = send_back(&lab, XdpMode::Skb);
    assert!(comes_back(&lab, &lone_frame(), SOON));
}

#[test]
fn tags_survive_the_way_there_and_back() {
    let lab = Lab::new().unwrap();
    let _stub = send_back(&lab, XdpMode::Driver);
    let plain = || UdpFrame::query_v6(1, b"x").macs(lab::LAN_MAC, lab::CLIENT_MAC);
    for frame in [
        plain().vlan(7),
        plain().vlan(7).vlan(8),
        plain().vlan(9).pppoe(5),
    ] {
        assert!(comes_back(&lab, &frame.build(), SOON), "{frame:?}");
    }
}
