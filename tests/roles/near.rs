//! Clients with public addresses whose networks are not on the attached device itself.
#![allow(clippy::unwrap_used)]

use std::{net::IpAddr, process::Command, time::Duration};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nxdp_lab::{
    filter::binary,
    lab::{CLIENT_INTERFACE, DNS_V4, DNS_V6, LAN_INTERFACE, Lab},
    process::Process,
    query::Query,
    roles::{Roles, wait_for},
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
const BLOCKED: &str = "a.nxdp-show.example";
const LIST: &str = "||a.nxdp-show.example^\n";
const BRIDGE: &str = "br0";
const PUBLIC: [&str; 2] = ["203.0.114.2", "2001:db8:77::2"];
const RENUMBERED: &str = "2001:db8:99::2";

/// A lab whose client is behind the port of a bridge, which has the addresses.
fn bridged() -> Lab {
    let lab = Lab::new().unwrap();
    lab.router()
        .ip_batch(&format!(
            "link add {BRIDGE} type bridge\nlink set {BRIDGE} up\n\
             address del 10.53.1.1/24 dev {LAN_INTERFACE}\n\
             address del fd00:53:1::1/64 dev {LAN_INTERFACE}\n\
             link set {LAN_INTERFACE} master {BRIDGE}\n\
             address add 10.53.1.1/24 dev {BRIDGE}\n\
             address add fd00:53:1::1/64 dev {BRIDGE} nodad\n"
        ))
        .unwrap();
    lab
}

/// Gives router and client an address of their own in a network, on the bridge and behind it.
fn number(lab: &Lab, network: &str, len: u8) {
    let on = |host: &str, device: &str| {
        let nodad = if network.contains(':') { "nodad" } else { "" };
        format!("address add {network}{host}/{len} dev {device} {nodad}\n")
    };
    lab.router().ip_batch(&on("1", BRIDGE)).unwrap();
    lab.client().ip_batch(&on("2", CLIENT_INTERFACE)).unwrap();
}

fn publish(lab: &Lab) {
    number(lab, "203.0.114.", 24);
    number(lab, "2001:db8:77::", 64);
}

fn renumber(lab: &Lab) {
    number(lab, "2001:db8:99::", 64);
    let old = format!("address del 2001:db8:77::1/64 dev {BRIDGE}\n");
    lab.router().ip_batch(&old).unwrap();
}

/// What a client with this address gets for a blocked name, once packets flow at all.
fn answer_to(lab: &Lab, source: &str) -> ResponseCode {
    let source: IpAddr = source.parse().unwrap();
    let server = if source.is_ipv4() { DNS_V4 } else { DNS_V6 };
    let query = Query::new(BLOCKED, RecordType::A).unwrap();
    let query = query
        .from_address(source)
        .timeout(Duration::from_millis(300));
    let mut answer = None;
    wait_for("an answer", || {
        answer = query.ask_from(lab.client(), server).ok();
        Ok(answer.is_some())
    })
    .unwrap();
    answer.unwrap().outcome()
}

fn is_blocked(lab: &Lab, source: &str) -> bool {
    answer_to(lab, source) == ResponseCode::NXDomain
}

fn becomes_blocked(lab: &Lab, source: &str) {
    wait_for("the address to be a client's", || {
        Ok(is_blocked(lab, source))
    })
    .unwrap();
}

/// Runs the filter in one process, on one interface.
struct Run {
    process: Process,
    folder: tempfile::TempDir,
}

fn start(lab: &Lab, interface: &str, mode: &str, more: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("list.txt"), LIST).unwrap();
    let mut command = Command::new(binary().unwrap());
    command.args([
        "run",
        "-i",
        interface,
        "--mode",
        mode,
        "--answers-per-s",
        "0",
    ]);
    command.arg("--list").arg(folder.path().join("list.txt"));
    command
        .arg("--socket")
        .arg(folder.path().join("control.sock"));
    let process = lab.router().spawn({
        command.args(more);
        command
    });
    Run {
        process: process.unwrap(),
        folder,
    }
}

impl Run {
    fn says(&self, what: &str) {
        self.process.wait_for_line(0, what, SOON).unwrap();
    }

    fn status(&self) -> Value {
        let socket = self.folder.path().join("control.sock");
        let output = Command::new(binary().unwrap())
            .args(["status", "--json", "--socket"])
            .arg(socket)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn clients_behind_a_bridge_are_filtered_on_its_port_and_on_it() {
    for (interface, mode) in [(LAN_INTERFACE, "native"), (BRIDGE, "skb")] {
        let lab = bridged();
        let _responder = lab.start_responder().unwrap();
        publish(&lab);
        for source in PUBLIC {
            assert!(
                !is_blocked(&lab, source),
                "{source} gets an answer of the resolver"
            );
        }
        let run = start(&lab, interface, mode, &[]);
        run.says("attached to");
        for source in PUBLIC {
            assert!(
                is_blocked(&lab, source),
                "{source} by {interface} in {mode} mode"
            );
        }
        renumber(&lab);
        becomes_blocked(&lab, RENUMBERED);
        let on_link = &run.status()["clients"]["on_link"];
        assert_eq!(on_link["203.0.114.0/24"], json!(BRIDGE), "{on_link}");
        assert_eq!(on_link["2001:db8:99::/64"], json!(BRIDGE), "{on_link}");
        assert_eq!(on_link["2001:db8:77::/64"], json!(null), "{on_link}");
    }
}

#[test]
fn networks_that_come_after_the_load_are_followed_without_a_daemon() {
    let lab = bridged();
    let _responder = lab.start_responder().unwrap();
    let roles = Roles::new(&lab, "").unwrap();
    roles.write_list(LIST).unwrap();
    roles.load(&[]).unwrap();
    let watch = roles.command("attach", &["-i", LAN_INTERFACE, "--watch"]);
    let keeper = lab.router().spawn(watch).unwrap();
    keeper
        .wait_for_line(0, "clients are private", SOON)
        .unwrap();
    publish(&lab);
    for source in PUBLIC {
        becomes_blocked(&lab, source);
    }
    renumber(&lab);
    becomes_blocked(&lab, RENUMBERED);
    keeper
        .wait_for_line(0, "2001:db8:99::/64 on br0", SOON)
        .unwrap();
}

#[test]
fn the_daemon_tells_whose_blocked_queries_pass_and_which_networks_are_near() {
    let lab = bridged();
    let _responder = lab.start_responder().unwrap();
    let roles = Roles::new(&lab, "clients = ['198.51.100.0/24']").unwrap();
    roles.write_list(LIST).unwrap();
    roles.load(&[]).unwrap();
    let _daemon = roles.daemon().unwrap();
    number(&lab, "203.0.114.", 24);
    becomes_blocked(&lab, PUBLIC[0]);
    let expected = json!({"203.0.114.0/24": "br0", "10.53.1.0/24": "br0", "fd00:53:1::/64": "br0"});
    let status = roles
        .wait_for_status("the networks", |status| {
            status["clients"]["on_link"] == expected
        })
        .unwrap();
    assert_eq!(status["clients"]["listed"], json!(["198.51.100.0/24"]));
    let mut command = Command::new(binary().unwrap());
    command.args(["status", "--socket"]).arg(roles.socket());
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(
        text.contains("clients      203.0.114.0/24 on br0"),
        "{text}"
    );
}

#[test]
fn a_policy_for_a_bridge_is_for_what_comes_by_its_ports() {
    let lab = bridged();
    let _responder = lab.start_responder().unwrap();
    let policy = "[policy.open]\nclients = ['interface:br0']\nunfiltered = true\n";
    let roles = Roles::new(&lab, "").unwrap();
    roles.write_list(LIST).unwrap();
    let config = std::fs::read_to_string(roles.config()).unwrap();
    std::fs::write(roles.config(), format!("{config}{policy}")).unwrap();
    roles.load(&[]).unwrap();
    let _daemon = roles.daemon().unwrap();
    assert!(!is_blocked(&lab, "10.53.1.2"), "by the bridge's policy");
    let renamed = format!("link set {BRIDGE} name garden\n");
    lab.router().ip_batch(&renamed).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(!is_blocked(&lab, "10.53.1.2"), "it stays that bridge");
    let free = format!("link set {LAN_INTERFACE} nomaster\n");
    lab.router().ip_batch(&free).unwrap();
    lab.router()
        .ip_batch(&format!(
            "address del 10.53.1.1/24 dev garden\naddress add 10.53.1.1/24 dev {LAN_INTERFACE}\n"
        ))
        .unwrap();
    becomes_blocked(&lab, "10.53.1.2");
}

#[test]
fn an_interface_is_found_by_another_of_its_names_and_followed_when_it_is_renamed() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    let long = "enx02530001000142";
    lab.router()
        .ip_batch(&format!(
            "link property add dev {LAN_INTERFACE} altname {long}\n"
        ))
        .unwrap();
    let run = start(&lab, long, "native", &[]);
    run.says("attached to");
    lab.client()
        .ip_batch(&format!(
            "address add 203.0.114.2/24 dev {CLIENT_INTERFACE}\n"
        ))
        .unwrap();
    lab.router()
        .ip_batch(&format!(
            "link set {LAN_INTERFACE} name garden0\naddress add 203.0.114.1/24 dev garden0\n"
        ))
        .unwrap();
    becomes_blocked(&lab, "203.0.114.2");
    let interfaces = &run.status()["interfaces"];
    assert_eq!(interfaces.as_array().unwrap().len(), 1, "{interfaces}");
    assert_eq!(interfaces[0]["configured_as"], json!(long), "{interfaces}");
    assert_eq!(interfaces[0]["state"], json!("attached"), "{interfaces}");
}
