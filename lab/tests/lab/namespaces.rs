//! The lab itself: packets flow, nothing stays behind.

use std::{
    fs, net::IpAddr, os::unix::process::ExitStatusExt, path::PathBuf, process::Command,
    time::Duration,
};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, RecordType},
};
use nix::sys::signal::Signal;
use nxdp_lab::{
    lab::{self, Lab},
    process::Stream,
    query::{Query, QueryError, Reply, Transport},
    responder::{COUNT_NAME, Received, ipv4_of, ipv6_of},
};

const SOON: Duration = Duration::from_secs(2);

fn query(name: &str, record_type: RecordType) -> Query {
    Query::new(name, record_type).unwrap()
}

fn addresses(reply: &Reply) -> Vec<IpAddr> {
    let address = |data: &RData| data.ip_addr();
    reply
        .answers()
        .iter()
        .filter_map(|record| address(&record.data))
        .collect()
}

#[test]
fn the_responder_answers_over_both_families_and_both_transports() {
    let lab = Lab::new().unwrap();
    let responder = lab.start_responder().unwrap();
    let name = Name::from_ascii("www.example.").unwrap();
    for transport in [Transport::Udp, Transport::Tcp] {
        let a = lab
            .ask_v4(&query("www.example", RecordType::A).over(transport))
            .unwrap();
        assert_eq!(addresses(&a), [IpAddr::from(ipv4_of(&name))]);
        let aaaa = lab
            .ask_v6(&query("www.example", RecordType::AAAA).over(transport))
            .unwrap();
        assert_eq!(addresses(&aaaa), [IpAddr::from(ipv6_of(&name))]);
    }
    assert_eq!(
        responder.received(),
        Received {
            udp: 2,
            tcp: 2,
            malformed: 0
        }
    );
}

#[test]
fn the_case_of_a_name_comes_back_and_does_not_change_its_address() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    let mixed = query("wwww.example", RecordType::A).mixed_case();
    assert_eq!(mixed.name().to_ascii(), "wWwW.eXaMpLe.");
    let reply = lab.ask_v4(&mixed).unwrap();
    let plain = lab.ask_v4(&query("wwww.example", RecordType::A)).unwrap();
    assert_eq!(addresses(&reply), addresses(&plain));
}

#[test]
fn opt_comes_back_only_when_it_was_sent() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    assert!(
        !lab.ask_v4(&query("a.example", RecordType::A))
            .unwrap()
            .has_opt()
    );
    assert!(
        lab.ask_v4(&query("a.example", RecordType::A).edns())
            .unwrap()
            .has_opt()
    );
}

#[test]
fn a_type_that_no_name_has_gets_nodata_with_soa() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    let reply = lab.ask_v4(&query("a.example", RecordType::HTTPS)).unwrap();
    assert_eq!(reply.rcode(), ResponseCode::NoError);
    assert!(reply.answers().is_empty() && reply.soa().is_some());
    assert!(reply.extended_error().is_none());
}

#[test]
fn the_responder_tells_what_it_received() {
    let lab = Lab::new().unwrap();
    let _responder = lab.start_responder().unwrap();
    lab.ask_v4(&query("a.example", RecordType::A)).unwrap();
    lab.ask_v6(&query("b.example", RecordType::A)).unwrap();
    let reply = lab.ask_v4(&query(COUNT_NAME, RecordType::TXT)).unwrap();
    let RData::TXT(text) = &reply.answers()[0].data else {
        panic!("not TXT: {:?}", reply.answers());
    };
    assert_eq!(&*text.txt_data[0], b"udp=2");
}

#[test]
fn a_silent_resolver_is_a_timeout_and_not_an_answer() {
    let lab = Lab::new().unwrap();
    // Bound but never read: no port-unreachable message comes either.
    let _socket = lab
        .resolver()
        .run(|| std::net::UdpSocket::bind(lab::DNS_V4))
        .unwrap()
        .unwrap();
    let result = lab.ask_v4(&query("a.example", RecordType::A).timeout(Duration::from_millis(100)));
    assert!(matches!(result, Err(QueryError::TimedOut(_))), "{result:?}");
}

#[test]
fn labs_do_not_see_each_other() {
    let (first, second) = (Lab::new().unwrap(), Lab::new().unwrap());
    let one = first.start_responder().unwrap();
    let other = second.start_responder().unwrap();
    first.ask_v4(&query("a.example", RecordType::A)).unwrap();
    assert_eq!((one.received().udp, other.received().udp), (1, 0));
}

#[test]
fn a_dropped_lab_ends_its_processes_and_namespaces() {
    let lab = Lab::new().unwrap();
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    let process = lab.router().spawn(sleep).unwrap();
    let pid = process.id();
    let inode = |path: &str| fs::read_link(path).unwrap();
    let inside = inode(&format!("/proc/{pid}/ns/net"));
    assert_ne!(inside, inode("/proc/self/ns/net"));
    assert_eq!(inside, inode(&lab.router().path().display().to_string()));
    drop(process);
    drop(lab);
    assert!(
        !fs::exists(format!("/proc/{pid}")).unwrap(),
        "the process is gone"
    );
    assert!(
        !namespaces_of_processes().contains(&inside),
        "nobody is in the namespace"
    );
}

#[test]
fn a_process_dies_with_the_namespace_value_that_started_it() {
    let lab = Lab::new().unwrap();
    let mut sleep = Command::new("sleep");
    sleep.arg("1000");
    let mut process = lab.client().spawn(sleep).unwrap();
    drop(lab);
    let status = process.wait(SOON).unwrap().expect("it ended");
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32));
}

#[test]
fn the_responder_binary_counts_and_ends_on_sigint() {
    let lab = Lab::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nxdp-lab"));
    command.args([
        "responder",
        "--listen",
        "10.53.2.53:53",
        "--listen",
        "[fd00:53:2::53]:53",
    ]);
    let mut responder = lab.resolver().spawn(command).unwrap();
    responder.wait_for_line(0, "listens", SOON).unwrap();
    let server = lab::DNS_V6.to_string();
    let client = env!("CARGO_BIN_EXE_nxdp-lab");
    let printed = lab
        .client()
        .output(
            client,
            &[
                "query",
                "x.example",
                "--server",
                &server,
                "--type",
                "AAAA",
                "--edns",
                "--mixed-case",
            ],
        )
        .unwrap();
    assert!(
        printed.contains("rcode NOERROR") && printed.contains("2001:db8:"),
        "{printed}"
    );
    let status = responder.end(Signal::SIGINT, SOON).unwrap();
    assert!(status.success());
    assert_eq!(responder.text(Stream::Out), "udp 1\ntcp 0\nmalformed 0\n");
}

fn namespaces_of_processes() -> Vec<PathBuf> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read_link(entry.path().join("ns/net")).ok())
        .collect()
}
