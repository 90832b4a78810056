//! Interfaces on which a filter would be attached and silent: refused with words, or told.
#![allow(clippy::unwrap_used)]

use std::{process::Command, time::Duration};

use hickory_proto::rr::RecordType;
use nxdp_lab::{
    filter::binary,
    lab::{LAN_INTERFACE, Lab},
    namespace::Namespace,
    process::Process,
    query::Query,
    raw_socket::RawSocket,
    responder::Responder,
    roles::{Roles, wait_for},
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);

/// Starts the filter on one interface.
fn start(namespace: &Namespace, folder: &std::path::Path, arguments: &[&str]) -> Process {
    std::fs::write(folder.join("list.txt"), "||blocked.example^\n").unwrap();
    let mut command = Command::new(binary().unwrap());
    command.arg("run").args(arguments);
    command.arg("--list").arg(folder.join("list.txt"));
    command.arg("--socket").arg(folder.join("control.sock"));
    namespace.spawn(command).unwrap()
}

fn refused(namespace: &Namespace, arguments: &[&str], says: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut process = start(namespace, folder.path(), arguments);
    let status = process.wait(SOON).unwrap().expect("it ends");
    let text = process.text(nxdp_lab::process::Stream::Err);
    assert!(!status.success(), "{text}");
    for part in says.iter().chain(&["--force"]) {
        assert!(text.contains(part), "{arguments:?}: {text} lacks {part}");
    }
}

fn status(folder: &std::path::Path) -> Value {
    let mut command = Command::new(binary().unwrap());
    command
        .args(["status", "--json", "--socket"])
        .arg(folder.join("control.sock"));
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

#[test]
fn interfaces_that_cannot_be_filtered_are_refused_with_the_reason() {
    let namespace = Namespace::new("obstacles").unwrap();
    namespace
        .output("ip", &["tuntap", "add", "dev", "tun0", "mode", "tun"])
        .unwrap();
    namespace
        .ip_batch("link add ifb0 type ifb\nlink set lo up\nlink set tun0 up\n")
        .unwrap();
    for mode in ["native", "skb"] {
        let on = |interface| ["-i", interface, "--mode", mode];
        refused(
            &namespace,
            &on("lo"),
            &["lo: answers do not come back on the loopback"],
        );
        refused(
            &namespace,
            &on("tun0"),
            &["tun0: its frames have no Ethernet header"],
        );
        refused(
            &namespace,
            &on("ifb0"),
            &["ifb0: no frames come by a device of kind ifb"],
        );
    }
}

#[test]
fn queries_that_a_port_puts_together_are_told_before_a_generic_program_is_attached() {
    let namespace = Namespace::new("merging").unwrap();
    namespace
        .ip_batch(
            "link add br0 type bridge\nlink add lan1 type veth peer name far1\n\
             link set lan1 master br0\nlink set lan1 up\nlink set far1 up\nlink set br0 up\n",
        )
        .unwrap();
    for offload in ["rx-gro-list", "rx-udp-gro-forwarding"] {
        let switch = |state| {
            namespace
                .output("ethtool", &["-K", "lan1", "gro", "on", offload, state])
                .unwrap();
        };
        switch("on");
        let remedy = format!("ethtool -K lan1 {offload} off");
        refused(
            &namespace,
            &["-i", "br0", "--mode", "skb"],
            &["several queries", &remedy],
        );
        let folder = tempfile::tempdir().unwrap();
        let forced = start(
            &namespace,
            folder.path(),
            &["-i", "br0", "--mode", "skb", "--force"],
        );
        forced.wait_for_line(0, &remedy, SOON).unwrap();
        let found = || status(folder.path())["interfaces"][0]["obstacles"][0]["kind"].clone();
        assert_eq!(found(), json!("merging"));
        switch("off");
        wait_for("the obstacle to go", || Ok(found().is_null())).unwrap();
    }
}

#[test]
fn frames_that_the_program_does_not_see_are_told_within_seconds() {
    let namespace = Namespace::new("unseen").unwrap();
    // Such a device counts what is sent to it as received, and hands nothing up.
    namespace
        .ip_batch("link add ifb0 type ifb\nlink set ifb0 up\n")
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = start(
        &namespace,
        folder.path(),
        &["-i", "ifb0", "--mode", "skb", "--force"],
    );
    run.wait_for_line(0, "attached to", SOON).unwrap();
    let socket = RawSocket::open(&namespace, "ifb0").unwrap();
    let begun = std::time::Instant::now();
    wait_for("the count to be compared", || {
        socket.send(&[0xff; 60]).unwrap();
        Ok(status(folder.path())["interfaces"][0]["state"] == json!("unseen"))
    })
    .unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    run.wait_for_line(0, "the program saw none of them", SOON)
        .unwrap();
    let mut metrics = Command::new(binary().unwrap());
    metrics
        .args(["metrics", "--socket"])
        .arg(folder.path().join("control.sock"));
    let metrics = String::from_utf8(metrics.output().unwrap().stdout).unwrap();
    for line in [
        "nxdp_interface_attached{interface=\"ifb0\",mode=\"skb\"} 0",
        "nxdp_interface_obstacle{interface=\"ifb0\",kind=\"unseen\"} 1",
    ] {
        assert!(metrics.contains(line), "{metrics} lacks {line}");
    }
}

#[test]
fn a_pair_whose_other_end_has_no_program_is_told_by_run_and_load() {
    let namespace = Namespace::new("peer").unwrap();
    namespace
        .ip_batch("link add lan0 type veth peer name far0\nlink set lan0 up\nlink set far0 up\n")
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = start(&namespace, folder.path(), &["-i", "lan0"]);
    let said = "lan0: its other end far0 has no XDP program: answers get stuck";
    run.wait_for_line(0, said, SOON).unwrap();
    assert_eq!(
        status(folder.path())["interfaces"][0]["obstacles"][0]["kind"],
        json!("peer")
    );
}

#[test]
fn load_leaves_out_what_it_refuses_and_attaches_the_rest() {
    let lab = Lab::new().unwrap();
    let roles = Roles::new(&lab, "").unwrap();
    roles.write_list("||blocked.example^\n").unwrap();
    let arguments = ["-i", LAN_INTERFACE, "-i", "lo"];
    let (code, text) = roles
        .run("load", &[&arguments[..], &["--user", "nobody"]].concat())
        .unwrap();
    assert_eq!(code, 3, "in part: {text}");
    for part in [
        "attached to lan0",
        "attach to lo: answers do not come back",
        "attach to lo: not filtered",
    ] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

#[test]
fn check_prints_what_is_in_the_way_and_the_command_that_ends_it() {
    let namespace = Namespace::new("check").unwrap();
    namespace
        .ip_batch(
            "link add br0 type bridge\nlink add lan1 type veth peer name far1\n\
             link set lan1 master br0\nlink set lan1 up\nlink set far1 up\nlink set br0 up\n",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("list.txt"), "||blocked.example^\n").unwrap();
    let config = "interfaces = ['br0']\nmode = 'skb'\n[[list]]\npath = 'list.txt'\n";
    std::fs::write(folder.path().join("nxdp.toml"), config).unwrap();
    let file = folder.path().join("nxdp.toml");
    let binary = binary().unwrap();
    let check = |more: &[&str]| {
        let arguments = [&["check", "--config", file.to_str().unwrap()], more].concat();
        namespace
            .output(binary.to_str().unwrap(), &arguments)
            .unwrap()
    };
    let obstacles = || {
        let account: Value = serde_json::from_str(&check(&["--json"])).unwrap();
        account["interfaces"][0]["obstacles"].clone()
    };
    assert_eq!(obstacles(), json!([]));
    assert!(!check(&[]).contains("ethtool"));
    namespace
        .output("ethtool", &["-K", "lan1", "gro", "on", "rx-gro-list", "on"])
        .unwrap();
    let text = check(&[]);
    let line = "interface br0: lan1 puts several queries into one frame";
    let remedy = "some would be lost: ethtool -K lan1 rx-gro-list off\n";
    assert!(text.contains(line) && text.contains(remedy), "{text}");
    assert_eq!(obstacles()[0]["kind"], json!("merging"));
}

#[test]
fn queries_between_macvlans_of_one_card_pass_by_and_that_is_told() {
    let namespace = Namespace::new("siblings").unwrap();
    namespace
        .ip_batch(
            "link add lan1 type veth peer name far1\nlink set lan1 up\nlink set far1 up\n\
             link add link lan1 name mv0 type macvlan mode bridge\nlink set mv0 up\n",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let run = start(&namespace, folder.path(), &["-i", "lan1", "--mode", "skb"]);
    run.wait_for_line(0, "queries between mv0 and others of its kind", SOON)
        .unwrap();
}

#[test]
fn queries_that_a_macvlan_does_not_get_because_its_card_answers_for_it_are_told() {
    let (client, router) = (
        Namespace::new("client").unwrap(),
        Namespace::new("router").unwrap(),
    );
    router
        .ip_batch("link add lan1 type veth peer name eth1\nlink set lan1 up\n")
        .unwrap();
    let path = client.path();
    router
        .ip_batch(&format!(
            "link set eth1 netns {}\nlink add link lan1 name mv0 type macvlan mode bridge\n\
             link set mv0 up\naddress add 10.9.0.1/24 dev mv0\n",
            path.display()
        ))
        .unwrap();
    client
        .ip_batch("link set eth1 up\naddress add 10.9.0.2/24 dev eth1\n")
        .unwrap();
    for key in ["all", "default", "lan1", "mv0"] {
        let key = format!("net/ipv4/conf/{key}/rp_filter");
        router.write_sysctl(&key, "0").unwrap();
    }
    let server = "10.9.0.1:53".parse().unwrap();
    let responder = router.run(|| Responder::start(&[server], 1)).unwrap();
    let _responder = responder.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["-i", "mv0", "--mode", "skb", "--answers-per-s", "0"];
    let run = start(&router, folder.path(), &arguments);
    run.wait_for_line(0, "attached to", SOON).unwrap();
    let said = "mv0: lan1 on the same card answers ARP for the addresses of mv0, too";
    run.wait_for_line(0, said, SOON).unwrap();
    let obstacles = || status(folder.path())["interfaces"][0]["obstacles"].clone();
    assert_eq!(obstacles()[0]["kind"], json!("arp"));
    // What the words are about: the same query, by either hardware address.
    let is_blocked = |device: &str| {
        let line = router.output("ip", &["-brief", "link", "show", "dev", device]);
        let line = line.unwrap();
        let address = line.split_whitespace().nth(2).unwrap();
        let neighbour = format!("neighbour replace 10.9.0.1 dev eth1 lladdr {address}\n");
        client.ip_batch(&neighbour).unwrap();
        let query = Query::new("www.blocked.example", RecordType::A).unwrap();
        let reply = query.ask_from(&client, server);
        reply.unwrap().answers().is_empty()
    };
    assert!(is_blocked("mv0") && !is_blocked("lan1"));
    router
        .write_sysctl("net/ipv4/conf/lan1/arp_ignore", "1")
        .unwrap();
    wait_for("the obstacle to go", || Ok(obstacles().is_null())).unwrap();
}

#[test]
fn a_program_that_no_attachment_runs_is_found_and_unload_tells_of_it() {
    let lab = Lab::new().unwrap();
    let mut filter = filter_kernel::Filter::load(64).unwrap();
    let id = filter.hold().unwrap().program_id().unwrap();
    let is_found = || filter_kernel::unattached_programs().contains(&id);
    assert!(is_found());
    let roles = Roles::new(&lab, "").unwrap();
    roles.write_list("||blocked.example^\n").unwrap();
    roles.load(&[]).unwrap();
    let said = format!("program {id} is called nxdp, too, and no attachment runs it");
    let (code, text) = roles.run("unload", &[]).unwrap();
    assert!(code == 0 && text.contains(&said), "{text}");
    lab.router()
        .run(|| filter.attach(LAN_INTERFACE, filter_kernel::Mode::Skb))
        .unwrap()
        .unwrap();
    assert!(!is_found());
    roles.load(&["-i", "later0", "--absent-ok"]).unwrap();
    let (code, text) = roles.run("unload", &[]).unwrap();
    assert!(code == 0 && !text.contains(&said), "{text}");
}
