//! Interfaces come, go and change their names; whoever attaches notices and tells.

use std::time::Duration;

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nxdp_lab::{
    filter::Filter,
    guest::{GUEST_INTERFACE, Guest},
    lab::{LAN_INTERFACE, Lab, WAN_INTERFACE},
    process::{Process, Stream},
    query::Query,
    roles::{Roles, wait_for},
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);
const BLOCKED: &str = "a.nxdp-show.example";
const LIST: &str = "||a.nxdp-show.example^\n";
const BOTH: [&str; 4] = ["-i", LAN_INTERFACE, "-i", GUEST_INTERFACE];

/// The states of the interfaces that `nxdp status` tells, by name.
fn states(status: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let interfaces = status["interfaces"].as_array().unwrap().iter();
    let mut states: Vec<_> = interfaces
        .map(|found| (text(&found["interface"]), text(&found["state"])))
        .collect();
    states.sort();
    states
}

fn named(states: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |&(name, state): &(&str, &str)| (name.to_owned(), state.to_owned());
    states.iter().map(owned).collect()
}

#[test]
fn run_attaches_again_to_an_interface_that_comes_back() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    let guest = Guest::new(&lab).unwrap();
    guest.replug().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.txt");
    std::fs::write(&list, LIST).unwrap();
    let arguments = ["-i", GUEST_INTERFACE, "--list", list.to_str().unwrap()];
    let filter = Filter::start(&lab, folder.path(), &arguments).unwrap();
    assert_eq!(guest.first_answer(BLOCKED).unwrap(), ResponseCode::NXDomain);
    for _ in 0..3 {
        let lines = filter.process().lines().len();
        guest.replug().unwrap();
        let says = |what: &str| filter.process().wait_for_line(lines, what, SOON).unwrap();
        says("lan1 lost the program or is gone");
        says("attached to lan1 in native mode");
        assert_eq!(guest.first_answer(BLOCKED).unwrap(), ResponseCode::NXDomain);
    }
    let is_whole = |status: &Value| {
        states(status) == named(&[(LAN_INTERFACE, "attached"), (GUEST_INTERFACE, "attached")])
    };
    filter.wait_for_status("both interfaces", is_whole).unwrap();
}

#[test]
fn a_renamed_interface_stays_filtered_and_is_told() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list.txt");
    std::fs::write(&list, LIST).unwrap();
    let filter = Filter::start(&lab, folder.path(), &["--list", list.to_str().unwrap()]).unwrap();
    lab.router()
        .ip_batch(&format!("link set {LAN_INTERFACE} name garden0\n"))
        .unwrap();
    let said = "lan0 is called garden0 now and stays attached";
    filter.process().wait_for_line(0, said, SOON).unwrap();
    let query = Query::new(BLOCKED, RecordType::A).unwrap();
    assert_eq!(
        lab.ask_v4(&query).unwrap().outcome(),
        ResponseCode::NXDomain
    );
    let status = filter.status().unwrap();
    assert_eq!(states(&status), named(&[("garden0", "attached")]));
    assert_eq!(
        status["interfaces"][0]["configured_as"],
        json!(LAN_INTERFACE)
    );
}

#[test]
fn clients_that_other_packets_reach_by_another_way_are_told() {
    let lab = Lab::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("list.txt"), LIST).unwrap();
    lab.router()
        .ip_batch(&format!(
            "route add 198.51.100.0/24 dev {WAN_INTERFACE}\nroute add 203.0.113.0/24 dev {LAN_INTERFACE}\n"
        ))
        .unwrap();
    let config = folder.path().join("nxdp.toml");
    let clients = "clients = ['198.51.100.0/24', '203.0.113.0/24']";
    std::fs::write(&config, format!("{clients}\n[[list]]\npath = 'list.txt'\n")).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let filter = Filter::start(&lab, folder.path(), &arguments).unwrap();
    let err = filter.process().text(Stream::Err);
    let said = format!("packets to clients in 198.51.100.0/24 leave by {WAN_INTERFACE}");
    assert!(
        err.contains(&said) && !err.contains("in 203.0.113.0/24"),
        "{err}"
    );
}

fn keeper(lab: &Lab, roles: &Roles<'_>) -> Process {
    let arguments = [&BOTH[..], &["--watch"]].concat();
    lab.router()
        .spawn(roles.command("attach", &arguments))
        .unwrap()
}

#[test]
fn the_daemon_tells_what_is_not_filtered_and_attach_mends_it() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    let guest = Guest::new(&lab).unwrap();
    let roles = Roles::new(&lab, "").unwrap();
    roles.write_list(LIST).unwrap();
    roles.load(&[&BOTH[..], &["--absent-ok"]].concat()).unwrap();
    let daemon = roles.spawn_daemon(&BOTH).unwrap();
    let becomes = |state: &str| {
        let expected = named(&[(LAN_INTERFACE, "attached"), (GUEST_INTERFACE, state)]);
        roles
            .wait_for_status(state, |status| states(status) == expected)
            .unwrap();
    };
    becomes("absent");
    guest.replug().unwrap();
    becomes("unfiltered");
    daemon
        .wait_for_line(0, "lan1 is not filtered: `nxdp attach`", SOON)
        .unwrap();
    let (code, text) = roles.run("attach", &BOTH).unwrap();
    assert_eq!(code, 0, "{text}");
    becomes("attached");
    assert_eq!(guest.first_answer(BLOCKED).unwrap(), ResponseCode::NXDomain);
    guest.unplug().unwrap();
    becomes("absent");
    let (code, text) = roles.run("attach", &BOTH).unwrap();
    assert_eq!(code, 1);
    assert!(text.contains("attach to lan1: not filtered"), "{text}");
}

#[test]
fn the_keeper_does_not_stand_in_the_way_of_unload() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    let guest = Guest::new(&lab).unwrap();
    let roles = Roles::new(&lab, "").unwrap();
    roles.write_list(LIST).unwrap();
    roles.load(&[]).unwrap();
    let keeper = keeper(&lab, &roles);
    guest.replug().unwrap();
    keeper.wait_for_line(0, "attached to lan1", SOON).unwrap();
    let (code, text) = roles.run("unload", &[]).unwrap();
    assert_eq!(code, 0, "{text}");
    keeper.wait_for_line(0, "nothing is loaded", SOON).unwrap();
    // The keeper may be faster than this test.
    let lines = keeper.text(Stream::Err).matches("attached to lan1").count();
    roles.load(&[]).unwrap();
    wait_for("the keeper", || {
        Ok(keeper.text(Stream::Err).matches("attached to lan1").count() > lines)
    })
    .unwrap();
    assert_eq!(guest.first_answer(BLOCKED).unwrap(), ResponseCode::NXDomain);
}

#[test]
fn a_mode_that_cannot_change_without_a_gap_stays_and_is_told() {
    let lab = Lab::new().unwrap();
    let roles = Roles::new(&lab, "").unwrap();
    roles.write_list(LIST).unwrap();
    roles.load(&[]).unwrap();
    let text = roles.load(&["--mode", "skb"]).unwrap();
    assert!(
        text.contains("lan0 stays in native mode; for skb mode"),
        "{text}"
    );
    let _daemon = roles.spawn_daemon(&["--mode", "skb"]).unwrap();
    let expected = json!([{"interface": "lan0", "mode": "native", "state": "attached"}]);
    roles
        .wait_for_status("the interface", |status| status["interfaces"] == expected)
        .unwrap();
}
