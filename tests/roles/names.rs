//! Which interface a name means, in a service that runs: other names, new names, and policies for them.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::Command,
    time::Duration,
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nxdp_lab::{
    filter::binary,
    lab::{CLIENT_INTERFACE, CLIENT_V4, DNS_V4, LAN_INTERFACE, Lab},
    process::Process,
    query::Query,
    roles::{Roles, wait_for},
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
const BLOCKED: &str = "a.nxdp-show.example";
const LIST: &str = "||a.nxdp-show.example^\n";
/// A name that udev would give the interface beside its own.
const OTHER_NAME: &str = "enp3s0f1uplan";
const NEW_NAME: &str = "garden0";
/// A client whose address is public: one only by the network on the interface.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 114, 2);

/// Nothing is blocked but for those who come by the interface with the other name.
const POLICIES: &str = "\
[policy.default]
block = []
[policy.lan]
clients = [\"interface:enp3s0f1uplan\"]
block = [\"ads\"]
";

fn lab() -> Lab {
    let lab = Lab::new().unwrap();
    lab.router()
        .ip_batch(&format!(
            "link property add dev {LAN_INTERFACE} altname {OTHER_NAME}\n\
             address add 203.0.114.1/24 dev {LAN_INTERFACE}\n"
        ))
        .unwrap();
    lab.client()
        .ip_batch(&format!("address add {PUBLIC}/24 dev {CLIENT_INTERFACE}\n"))
        .unwrap();
    lab
}

fn is_blocked(lab: &Lab, source: Ipv4Addr) -> bool {
    let query = Query::new(BLOCKED, RecordType::A).unwrap();
    let query = query.from_address(IpAddr::V4(source));
    let reply = query.ask_from(lab.client(), DNS_V4).unwrap();
    reply.outcome() == ResponseCode::NXDomain
}

fn both_are_blocked(lab: &Lab) -> bool {
    [CLIENT_V4, PUBLIC]
        .into_iter()
        .all(|source| is_blocked(lab, source))
}

/// Both clients are blocked now and, what is found out late, some looks of the service later.
fn both_stay_blocked(lab: &Lab) {
    for _ in 0..8 {
        assert!(both_are_blocked(lab));
        std::thread::sleep(Duration::from_millis(400));
    }
}

fn ip(lab: &Lab, line: &str) {
    lab.router().ip_batch(&format!("{line}\n")).unwrap();
}

/// The interface as `nxdp status` tells of it.
fn told(status: &Value, name: &str) -> bool {
    let expected = json!({
        "interface": name, "configured_as": OTHER_NAME, "mode": "native", "state": "attached",
    });
    status["interfaces"] == json!([expected])
}

fn run(lab: &Lab, folder: &std::path::Path) -> Process {
    std::fs::write(folder.join("list.txt"), LIST).unwrap();
    let config = format!(
        "interfaces = [\"{OTHER_NAME}\"]\nsocket = \"{}\"\n{POLICIES}\
         [limit]\nanswers_per_s = 0\n[[list]]\npath = \"list.txt\"\ncategory = \"ads\"\n",
        folder.join("control.sock").display()
    );
    std::fs::write(folder.join("nxdp.toml"), config).unwrap();
    let mut command = Command::new(binary().unwrap());
    command.arg("run").arg("--config");
    command.arg(folder.join("nxdp.toml"));
    let run = lab.router().spawn(command).unwrap();
    run.wait_for_line(0, "attached to", SOON).unwrap();
    run
}

fn status(folder: &std::path::Path) -> Value {
    let mut command = Command::new(binary().unwrap());
    command.args(["status", "--json", "--socket"]);
    command.arg(folder.join("control.sock"));
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

#[test]
fn run_follows_an_interface_through_its_other_and_its_new_names() {
    let lab = lab();
    let _responder = lab.start_responder().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let _run = run(&lab, folder.path());
    let becomes = |name: &str| {
        wait_for(name, || Ok(told(&status(folder.path()), name))).unwrap();
        both_stay_blocked(&lab);
    };
    wait_for("the policy", || Ok(both_are_blocked(&lab))).unwrap();
    becomes(LAN_INTERFACE);
    ip(&lab, &format!("link set {LAN_INTERFACE} name {NEW_NAME}"));
    becomes(NEW_NAME);
    // Nothing has the name that the configuration gives it any more.
    ip(
        &lab,
        &format!("link property del dev {NEW_NAME} altname {OTHER_NAME}"),
    );
    becomes(NEW_NAME);
}

#[test]
fn the_daemon_and_the_keeper_follow_an_interface_through_its_names() {
    let lab = lab();
    let _responder = lab.start_responder().unwrap();
    let roles = Roles::new(&lab, "").unwrap();
    let config = std::fs::read_to_string(roles.config()).unwrap();
    let config = config.replace("[guard]", &format!("{POLICIES}[guard]")) + "category = \"ads\"\n";
    std::fs::write(roles.config(), config).unwrap();
    roles.write_list(LIST).unwrap();
    let named = ["-i", OTHER_NAME];
    roles.load(&named).unwrap();
    let daemon = roles.spawn_daemon(&named).unwrap();
    daemon.wait_for_line(0, " active: ", SOON).unwrap();
    let watch = [&named[..], &["--watch"]].concat();
    let keeper = roles.command("attach", &watch);
    let _keeper = lab.router().spawn(keeper).unwrap();
    wait_for("the policy", || Ok(both_are_blocked(&lab))).unwrap();
    for (change, name) in [
        (
            format!("link set {LAN_INTERFACE} name {NEW_NAME}"),
            NEW_NAME,
        ),
        (
            format!("link property del dev {NEW_NAME} altname {OTHER_NAME}"),
            NEW_NAME,
        ),
    ] {
        ip(&lab, &change);
        roles
            .wait_for_status(name, |status| told(status, name))
            .unwrap();
        both_stay_blocked(&lab);
    }
}

#[test]
fn another_interface_that_takes_the_name_is_the_one_that_is_meant() {
    let lab = lab();
    let _responder = lab.start_responder().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = run(&lab, folder.path());
    wait_for("the policy", || Ok(both_are_blocked(&lab))).unwrap();
    let lines = run.lines().len();
    ip(
        &lab,
        &format!("link property del dev {LAN_INTERFACE} altname {OTHER_NAME}"),
    );
    ip(
        &lab,
        &format!("link add {OTHER_NAME} type veth peer name far0"),
    );
    let attached = format!("attached to {OTHER_NAME}");
    run.wait_for_line(lines, &attached, SOON).unwrap();
    // The first one stays attached, but the policy is not for it any more.
    wait_for("the policy to follow the name", || {
        Ok(!is_blocked(&lab, CLIENT_V4))
    })
    .unwrap();
    let states: Vec<Value> = status(folder.path())["interfaces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| found["interface"].clone())
        .collect();
    assert_eq!(states, [json!(LAN_INTERFACE), json!(OTHER_NAME)]);
}
