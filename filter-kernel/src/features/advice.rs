//! What to do about what was found.

use super::{
    Features, Interface, Mode, ObstacleKind, Offload, Peer, drivers, kernel::Kernel,
    obstacle::largest_native_mtu_bytes,
};

/// Says what to do, the most important first, the command to start last.
pub(super) fn advise(features: &Features) -> Vec<String> {
    let mut advice = kernel_advice(&features.kernel);
    let interface = &features.interface;
    advice.extend(stacking_advice(interface));
    advice.extend(sibling_advice(interface));
    let Some(mode) = features.expected.mode else {
        advice.push(format!(
            "{} cannot be filtered: {}; choose the interface that carries its packets",
            interface.name, features.expected.because
        ));
        return advice;
    };
    if !interface.is_up {
        advice.push(format!(
            "switch it on: ip link set dev {} up",
            interface.name
        ));
    }
    advice.extend(owner_advice(features));
    advice.extend(obstacle_advice(features));
    if mode == Mode::Native {
        advice.extend(native_advice(features));
    }
    advice.push(format!(
        "start: nxdp run --interface {} --mode {mode} --list FILE",
        interface.name
    ));
    advice
}

fn kernel_advice(kernel: &Kernel) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(shortcoming) = kernel.shortcoming() {
        advice.push(format!("take another kernel: {shortcoming}"));
    }
    if kernel.has_jit == Some(false) {
        advice.push("switch the BPF translator on, or every packet costs many times more: sysctl net.core.bpf_jit_enable=1".to_owned());
    }
    advice
}

/// What is told here in other words already is left out.
fn obstacle_advice(features: &Features) -> Vec<String> {
    let is_told = |kind| matches!(kind, ObstacleKind::Peer | ObstacleKind::LargePackets);
    let obstacles = features.obstacles.iter();
    let new = obstacles.filter(|obstacle| !is_told(obstacle.kind));
    new.map(|obstacle| match &obstacle.remedy {
        Some(remedy) => format!("{}: {remedy}", obstacle.says),
        None => obstacle.says.clone(),
    })
    .collect()
}

/// Virtual devices see packets late or only some of them; those below see all.
fn stacking_advice(interface: &Interface) -> Option<String> {
    let name = &interface.name;
    match (interface.driver.as_deref(), &interface.parent) {
        (Some("bridge"), _) if !interface.ports.is_empty() => Some(format!(
            "a bridge shows the filter only what is for this machine; attach to its ports instead: {}",
            interface.ports.join(", ")
        )),
        (Some("bond" | "team"), _) if !interface.ports.is_empty() => Some(format!(
            "native mode on {name} needs it on all its ports: {}",
            interface.ports.join(", ")
        )),
        (Some("vlan"), Some(parent)) => Some(format!(
            "attach to {parent} instead of {name}: the filter reads VLAN tags, and sees packets earlier there"
        )),
        (Some("macvlan" | "ipvlan" | "macsec"), Some(parent)) => Some(format!(
            "{parent}, which is below {name}, sees packets earlier"
        )),
        _ => None,
    }
}

/// The kernel hands frames between macvlans of one device straight to the other one.
fn sibling_advice(interface: &Interface) -> Option<String> {
    let others = interface.macvlans.join(", ");
    (!others.is_empty()).then(|| {
        format!(
            "queries between devices on the same card do not pass {}: where a resolver or a client is on one of \
             {others}, attach to the resolver's too, with --mode skb",
            interface.name
        )
    })
}

fn owner_advice(features: &Features) -> Vec<String> {
    let name = &features.interface.name;
    let advice = features.attached.iter().map(|program| {
        let program_name = program.name.as_deref().unwrap_or("of unknown name");
        format!(
            "program {} ({program_name}) is attached in {} mode: end its owner, or detach it with `ip link set dev {name} {} off`",
            program.id,
            program.mode,
            match program.mode {
                Mode::Native => "xdpdrv",
                Mode::Skb => "xdpgeneric",
                Mode::Hardware => "xdpoffload",
            }
        )
    });
    advice.collect()
}

fn native_advice(features: &Features) -> Vec<String> {
    let interface = &features.interface;
    let name = &interface.name;
    let in_the_way = features.offloads.iter().filter(|offload| offload.is_on);
    let mut advice: Vec<String> = in_the_way.map(offload_advice).collect();
    if interface.driver.as_deref().is_some_and(drivers::restarts) {
        advice.push(format!(
            "the driver takes {name} down and up again when the program is attached or detached: its link is away for \
             a moment"
        ));
    }
    if interface.mtu_bytes > largest_native_mtu_bytes() {
        advice.push(format!(
            "packets of {} bytes do not fit one page and most drivers then refuse native mode: ip link set dev {name} mtu 1500, or --mode skb",
            interface.mtu_bytes
        ));
    }
    advice.extend(queue_advice(interface));
    if let Some(peer) = &interface.peer {
        advice.extend(peer_advice(name, peer));
    }
    advice
}

fn offload_advice(offload: &Offload) -> String {
    let Offload { name, harm, .. } = offload;
    match &offload.remedy {
        Some(remedy) => format!("{remedy}: {name} {harm}"),
        None => format!("{name} {harm}; it cannot be switched off here ([fixed])"),
    }
}

/// The driver ena gives every receive queue a queue of its own for sending from XDP.
fn queue_advice(interface: &Interface) -> Option<String> {
    let most = interface.queues_max?;
    let is_short =
        interface.driver.as_deref() == Some("ena") && interface.rx_queues * 2 > most && most > 1;
    is_short.then(|| {
        let half = most / 2;
        format!(
            "half of the queues must be free for answers: ethtool -L {} combined {half}",
            interface.name
        )
    })
}

/// The kernel empties the ring of a veth end for frames sent back at once only when
/// that end has an XDP program; receive offload alone leaves them there until other
/// traffic comes by. And a VLAN tag that the sender keeps beside the frame never
/// reaches a native program.
fn peer_advice(name: &str, peer: &Peer) -> Vec<String> {
    let stuck = "answers get stuck unless that end has an XDP program too, if only one that passes everything; or use --mode skb";
    match peer {
        Peer::Elsewhere => vec![format!(
            "the other end of {name} is in another namespace: {stuck}. If VLAN tags come from there, switch txvlan off there"
        )],
        Peer::Here {
            name: peer,
            has_native_program,
            has_tag_offload,
            ..
        } => {
            let stuck = (!has_native_program)
                .then(|| format!("the other end of {name} is {peer}: {stuck}"));
            let tags = (*has_tag_offload == Some(true))
                .then(|| format!("if VLAN tags come from {peer}, answers would leave untagged: ethtool -K {peer} txvlan off"));
            stuck.into_iter().chain(tags).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::{AttachedProgram, Expectation, FEATURES_VERSION, OnLink};

    fn native(driver: &str) -> Features {
        Features {
            version: FEATURES_VERSION,
            kernel: Kernel::of_version("6.12.0", Some(true)),
            interface: Interface {
                name: "eth7".to_owned(),
                driver: Some(driver.to_owned()),
                is_up: true,
                mtu_bytes: 1500,
                ..Interface::default()
            },
            expected: Expectation {
                mode: Some(Mode::Native),
                because: String::new(),
            },
            offloads: Vec::new(),
            attached: Vec::new(),
            clients: OnLink::new(),
            obstacles: Vec::new(),
            advice: Vec::new(),
        }
    }

    fn text(features: &Features) -> String {
        advise(features).join("\n")
    }

    #[test]
    fn with_nothing_in_the_way_there_is_only_the_command_to_start() {
        assert_eq!(
            advise(&native("mlx5_core")),
            ["start: nxdp run --interface eth7 --mode native --list FILE"]
        );
    }

    #[test]
    fn offloads_count_only_while_they_are_on_and_in_native_mode() {
        let mut features = native("ixgbe");
        let offload = |is_on| Offload {
            name: "rx-lro",
            is_on,
            harm: "harms",
            remedy: Some("ethtool -K eth7 lro off".to_owned()),
        };
        features.offloads = vec![offload(false)];
        assert!(!text(&features).contains("ethtool"));
        features.offloads = vec![offload(true)];
        assert!(text(&features).contains("ethtool -K eth7 lro off"));
        features.expected.mode = Some(Mode::Skb);
        assert!(!text(&features).contains("ethtool"));
    }

    #[test]
    fn a_program_that_owns_the_hook_is_named_with_the_way_to_detach_it() {
        let mut features = native("igc");
        features.attached = vec![AttachedProgram {
            id: 42,
            mode: Mode::Skb,
            name: Some("xdp_fw".to_owned()),
        }];
        let text = text(&features);
        assert!(
            text.contains("42 (xdp_fw)") && text.contains("ip link set dev eth7 xdpgeneric off"),
            "{text}"
        );
    }

    #[test]
    fn large_packets_old_kernels_and_a_missing_translator_are_told() {
        let mut features = native("igc");
        features.interface.mtu_bytes = 9000;
        features.kernel = Kernel::of_version("5.10.0", Some(false));
        let text = text(&features);
        assert!(
            text.contains("mtu 1500")
                && text.contains("older than 6.1")
                && text.contains("bpf_jit_enable"),
            "{text}"
        );
    }

    #[test]
    fn a_bridge_sends_the_reader_to_its_ports_and_a_vlan_to_its_parent() {
        let mut features = native("bridge");
        features.interface.ports = vec!["eth1".to_owned(), "eth2".to_owned()];
        assert!(text(&features).contains("eth1, eth2"));
        let mut features = native("vlan");
        features.interface.parent = Some("eth1".to_owned());
        assert!(text(&features).contains("attach to eth1"));
    }

    #[test]
    fn what_cannot_be_switched_off_gets_no_command_and_a_restart_is_told() {
        let mut features = native("igc");
        features.offloads = vec![Offload {
            name: "rx-vlan-hw-parse",
            is_on: true,
            harm: "harms",
            remedy: None,
        }];
        let text = text(&features);
        assert!(
            text.contains("[fixed]") && !text.contains("ethtool -K"),
            "{text}"
        );
        assert!(text.contains("down and up again"), "{text}");
    }

    #[test]
    fn siblings_whose_frames_pass_by_are_told() {
        let mut features = native("igc");
        features.interface.macvlans = vec!["mv0".to_owned(), "mv1".to_owned()];
        assert!(text(&features).contains("mv0, mv1"));
    }

    #[test]
    fn ena_needs_half_of_its_queues_free() {
        let mut features = native("ena");
        (features.interface.rx_queues, features.interface.queues_max) = (4, Some(4));
        assert!(text(&features).contains("ethtool -L eth7 combined 2"));
        features.interface.rx_queues = 2;
        assert!(!text(&features).contains("ethtool -L"));
    }

    #[test]
    fn what_cannot_be_filtered_gets_no_command_to_start() {
        let mut features = native("ppp");
        features.expected = Expectation {
            mode: None,
            because: "why".to_owned(),
        };
        assert!(!text(&features).contains("nxdp run"));
    }
}
