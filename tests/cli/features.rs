//! What `nxdp features` finds out about interfaces of every kind this kernel can make.

use aya::programs::XdpMode;
use filter_kernel::features::{AttachedProgram, Error, Features, Mode, Peer, XdpAbility, inspect};
use nxdp_lab::{
    lab::{LAN_INTERFACE, Lab},
    namespace::Namespace,
    xdp_stub::{StubAction, XdpStub},
};

fn look(namespace: &Namespace, interface: &str) -> Features {
    namespace
        .run(|| inspect(interface, |id| Some(format!("program{id}"))))
        .unwrap()
        .unwrap()
}

fn namespace_with(links: &str) -> Namespace {
    let namespace = Namespace::new("features").unwrap();
    namespace.ip_batch(links).unwrap();
    namespace
}

fn with_pair() -> Namespace {
    namespace_with("link add near type veth peer name far\nlink set near up\nlink set far up\n")
}

fn advice(features: &Features) -> String {
    features.advice.join("\n")
}

#[test]
fn a_missing_interface_is_answered_with_those_that_are_there() {
    let namespace = with_pair();
    let error = namespace
        .run(|| inspect("eth9", |_| None))
        .unwrap()
        .unwrap_err();
    let text = error.to_string();
    let Error::NoSuchInterface { mut existing, .. } = error else {
        panic!("{text}");
    };
    existing.sort();
    assert_eq!(existing, ["far", "lo", "near"]);
    assert!(text.contains("eth9") && text.contains("near"), "{text}");
}

#[test]
fn a_veth_end_runs_native_programs_and_its_peer_needs_one_too() {
    let namespace = with_pair();
    let features = look(&namespace, "near");
    assert_eq!(features.interface.driver.as_deref(), Some("veth"));
    assert_eq!(features.expected.mode, Some(Mode::Native));
    // Kernels before 6.3 do not tell.
    let abilities = features.interface.xdp_abilities.as_ref();
    assert!(abilities.is_none_or(|abilities| abilities.contains(&XdpAbility::Basic)));
    assert!(
        advice(&features).contains("the other end of near is far"),
        "{features}"
    );
    let _stub = XdpStub::attach(&namespace, "far", StubAction::Pass, XdpMode::Driver).unwrap();
    let features = look(&namespace, "near");
    assert!(
        matches!(&features.interface.peer, Some(Peer::Here { name, has_native_program: true, .. }) if name == "far")
    );
    assert!(!advice(&features).contains("get stuck"), "{features}");
}

#[test]
fn offloads_of_the_peer_are_seen_as_they_are_switched() {
    let namespace = with_pair();
    for on in [true, false] {
        let state = if on { "on" } else { "off" };
        namespace
            .output("ethtool", &["-K", "far", "gro", state, "txvlan", state])
            .unwrap();
        let features = look(&namespace, "near");
        let Some(Peer::Here {
            has_receive_offload,
            has_tag_offload,
            ..
        }) = features.interface.peer
        else {
            panic!("{features}");
        };
        assert_eq!((has_receive_offload, has_tag_offload), (Some(on), Some(on)));
        assert_eq!(
            advice(&features).contains("ethtool -K far txvlan off"),
            on,
            "{features}"
        );
    }
}

#[test]
fn a_peer_in_another_namespace_is_told_as_such() {
    let lab = Lab::new().unwrap();
    let features = look(lab.router(), LAN_INTERFACE);
    assert_eq!(features.interface.peer, Some(Peer::Elsewhere));
    assert!(features.interface.is_up && features.interface.mtu_bytes == 1500);
    assert!(features.attached.is_empty());
}

#[test]
fn attached_programs_are_told_with_mode_id_and_name_until_they_are_gone() {
    let namespace = with_pair();
    for (attach, mode) in [(XdpMode::Driver, Mode::Native), (XdpMode::Skb, Mode::Skb)] {
        let stub = XdpStub::attach(&namespace, "near", StubAction::Pass, attach).unwrap();
        let features = look(&namespace, "near");
        let [
            AttachedProgram {
                id,
                mode: found,
                name,
            },
        ] = features.attached.as_slice()
        else {
            panic!("{features}");
        };
        assert_eq!(
            (*found, name.as_deref()),
            (mode, Some(format!("program{id}").as_str()))
        );
        assert!(
            advice(&features).contains(&format!(
                "program {id} (program{id}) is attached in {mode} mode"
            )),
            "{features}"
        );
        drop(stub);
        assert!(look(&namespace, "near").attached.is_empty());
    }
}

#[test]
fn a_large_mtu_stands_in_the_way_of_native_mode() {
    let namespace = with_pair();
    assert!(!advice(&look(&namespace, "near")).contains("mtu"));
    namespace.ip_batch("link set near mtu 9000\n").unwrap();
    assert!(advice(&look(&namespace, "near")).contains("ip link set dev near mtu 1500"));
}

#[test]
fn an_interface_that_is_down_is_to_be_switched_on() {
    let namespace = namespace_with("link add near type veth peer name far\n");
    let features = look(&namespace, "near");
    assert!(!features.interface.is_up && advice(&features).contains("ip link set dev near up"));
}

#[test]
fn a_bridge_names_its_ports_and_is_generic() {
    let namespace = namespace_with(
        "link add near type veth peer name far\nlink add br0 type bridge\nlink set near master br0\n",
    );
    let features = look(&namespace, "br0");
    assert_eq!(
        (features.interface.ports.as_slice(), features.expected.mode),
        (&["near".to_owned()][..], Some(Mode::Skb))
    );
    assert!(advice(&features).contains("attach to its ports instead: near"));
}

#[test]
fn a_macvlan_names_the_interface_below_it() {
    let namespace = namespace_with(
        "link add near type veth peer name far\nlink add link near name mac0 type macvlan\n",
    );
    let features = look(&namespace, "mac0");
    assert_eq!(features.interface.parent.as_deref(), Some("near"));
    assert_eq!(features.interface.peer, None);
}

#[test]
fn a_tunnel_without_ethernet_headers_cannot_be_filtered() {
    let namespace = namespace_with("tuntap add dev tun0 mode tun\ntuntap add dev tap0 mode tap\n");
    let features = look(&namespace, "tun0");
    assert_eq!(features.expected.mode, None);
    assert!(!advice(&features).contains("nxdp run"), "{features}");
    assert!(look(&namespace, "tap0").expected.mode.is_some());
}

#[test]
fn the_report_for_programs_holds_what_the_report_for_people_says() {
    let namespace = with_pair();
    let features = look(&namespace, "near");
    let json = serde_json::to_value(&features).unwrap();
    assert_eq!(
        (&json["version"], &json["expected"]["mode"]),
        (&1.into(), &"native".into())
    );
    assert_eq!(json["interface"]["peer"]["here"]["name"], "far");
    let text = features.to_string();
    for step in &features.advice {
        assert!(text.contains(step.as_str()), "{text}");
    }
    assert!(
        text.contains(features.kernel.release.as_str()) && text.contains("veth"),
        "{text}"
    );
}
