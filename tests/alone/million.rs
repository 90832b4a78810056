//! Very many names are loaded, a million in a long run; what people's own tools see of it.
// tidy: long because each way to ask is set up and judged beside the others.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name, RecordType},
};
use nxdp_lab::{
    check::{CheckedFrame, check_frame},
    dig::{DigAnswer, dig},
    filter::{self, Filter},
    frame::{ETHERTYPE_SERVICE_VLAN, UdpChecksum, UdpFrame},
    frame_watch::FrameWatch,
    lab::{self, CLIENT_INTERFACE, LAN_INTERFACE, Lab},
    length::short_or_long,
    namespace::Namespace,
    query::Query,
    raw_socket::RawSocket,
    responder::{Responder, ipv4_of, ipv6_of},
    vlan_stub::VlanStub,
};
use serde_json::Value;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(5);
const MILLION: u64 = 1_000_000;
/// Names of a short run.
const SLICE: u64 = 100_000;
/// Names sampled from the large lists.
const SAMPLES: usize = 60;

const OURS: &str = "||suffix.nxdp-show.example^\n|exact.nxdp-show.example^\n\
                    @@||allowed.suffix.nxdp-show.example^\n";

/// A lab with a filter that holds very many names.
struct Loaded {
    filter: Filter,
    lab: Lab,
    responder: Responder,
    lists: Vec<PathBuf>,
    _folder: TempDir,
}

impl Loaded {
    fn start(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lab = Lab::new().unwrap();
        // Then every checksum on the wire is final, and every frame can be judged.
        lab.switch_offload(lab.resolver(), lab::RESOLVER_INTERFACE, "tx", false)
            .unwrap();
        let responder = lab.start_responder().unwrap();
        let lists = lists(folder.path());
        let mut arguments = vec!["--mode".into(), mode.into()];
        for list in &lists {
            arguments.extend(["--list".into(), list.as_os_str().to_owned()]);
        }
        let filter = Filter::start(&lab, folder.path(), &arguments).unwrap();
        let status = filter.status().unwrap();
        assert!(status["names"].as_u64().unwrap() >= count(), "{status}");
        assert_eq!(status["interfaces"][0]["mode"], mode);
        Self {
            filter,
            lab,
            responder,
            lists,
            _folder: folder,
        }
    }
}

fn count() -> u64 {
    short_or_long(SLICE, MILLION)
}

/// Two lists of our own, and in a long run real ones with a million names; made-up ones where there are
/// none.
fn lists(folder: &Path) -> Vec<PathBuf> {
    let ours = folder.join("ours.txt");
    fs::write(&ours, OURS).unwrap();
    let data = std::env::var_os("NXDP_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let real = [
        "lists/maltrail/domains.txt.gz",
        "lists/blocklistproject/adguard/tracking.txt",
    ]
    .map(|list| data.join(list));
    if count() == MILLION && real.iter().all(|list| list.is_file()) {
        return [vec![ours], real.to_vec()].concat();
    }
    eprintln!("made-up names, not those of {}", data.display());
    let synthetic = folder.join("synthetic.txt");
    let mut text = String::new();
    for number in 0..count() {
        let site = number % 4999;
        writeln!(text, "host{number}.site{site}.nxdp-synthetic.example").unwrap();
    }
    fs::write(&synthetic, text).unwrap();
    vec![ours, synthetic]
}

/// A name of 255 bytes on the wire that ends in `suffix`.
fn longest(suffix: &str) -> String {
    let mut name = suffix.to_owned();
    // On the wire a name has two bytes more than its text without the last dot.
    while name.len() < 253 {
        let label = (252 - name.len()).min(63);
        // What is left must be no label at all, or one with a dot.
        let label = if 252 - name.len() - label == 1 {
            label - 1
        } else {
            label
        };
        name = format!("{}.{name}", "l".repeat(label));
    }
    assert_eq!(name.len(), 253);
    name
}

/// A name of 127 labels, the most that there can be, and its suffix of two labels.
fn most_labels() -> (String, &'static str) {
    (vec!["l"; 127].join("."), "l.l")
}

struct Case {
    name: String,
    list: Option<&'static str>,
}

fn special_cases() -> Vec<Case> {
    let blocked = [
        "suffix.nxdp-show.example".to_owned(),
        "www.suffix.nxdp-show.example".to_owned(),
        "wWw.SuFFiX.nxdp-SHOW.eXample".to_owned(),
        "exact.nxdp-show.example".to_owned(),
        "EXACT.nxdp-show.example".to_owned(),
        longest("suffix.nxdp-show.example"),
        format!("{}.suffix.nxdp-show.example", vec!["l"; 110].join(".")),
    ];
    let clean = [
        "nxdp-show.example".to_owned(),
        "xsuffix.nxdp-show.example".to_owned(),
        "www.exact.nxdp-show.example".to_owned(),
        "allowed.suffix.nxdp-show.example".to_owned(),
        "www.Allowed.suffix.nxdp-show.example".to_owned(),
        longest("clean.nxdp-show.example"),
        most_labels().0,
    ];
    let with = |list| move |name| Case { name, list };
    blocked
        .into_iter()
        .map(with(Some("ours")))
        .chain(clean.into_iter().map(with(None)))
        .collect()
}

/// Names of the large lists of which `nxdp query` says that they are blocked, spread over each list.
fn sampled_names(show: &Loaded) -> Vec<String> {
    let mut names = Vec::new();
    for list in &show.lists[1..] {
        let text = Command::new("gzip").arg("-dcf").arg(list).output().unwrap();
        let text = String::from_utf8_lossy(&text.stdout).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('!')).collect();
        let step = (lines.len() / SAMPLES).max(1);
        let sample = lines.into_iter().step_by(step);
        names.extend(sample.map(|line| line.trim_matches(['|', '^']).to_owned()));
    }
    names.retain(|name| Name::from_ascii(name).is_ok() && !name.starts_with('-'));
    let judged = judge(&show.lists, &names);
    let blocked: Vec<String> = judged
        .iter()
        .filter(|judged| judged["verdict"] == "block")
        .map(|judged| judged["name"].as_str().unwrap().to_owned())
        .collect();
    assert!(blocked.len() >= SAMPLES, "{} of {SAMPLES}", blocked.len());
    blocked
}

fn judge(lists: &[PathBuf], names: &[String]) -> Vec<Value> {
    let mut child = Command::new(filter::binary().unwrap())
        .args(["query", "--json", "-", "--list"])
        .args(lists)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(names.join("\n").as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let lines = output.stdout.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect()
}

/// How the client asks.
#[derive(Clone, Copy, Debug)]
struct Way {
    server: &'static str,
    record_type: &'static str,
    edns: bool,
}

const WAYS: [Way; 4] = [
    Way {
        server: "@10.53.2.53",
        record_type: "A",
        edns: true,
    },
    Way {
        server: "@10.53.2.53",
        record_type: "AAAA",
        edns: false,
    },
    Way {
        server: "@fd00:53:2::53",
        record_type: "AAAA",
        edns: true,
    },
    Way {
        server: "@fd00:53:2::53",
        record_type: "A",
        edns: false,
    },
];

fn ask(client: &Namespace, way: Way, names: &[&str]) -> Vec<DigAnswer> {
    let edns = if way.edns { "+edns=0" } else { "+noedns" };
    let mut arguments = vec![way.server, edns, "+nocookie"];
    for name in names {
        arguments.extend([*name, way.record_type]);
    }
    let answers = dig(client, &arguments).unwrap();
    assert_eq!(answers.len(), names.len(), "{way:?}");
    answers
}

fn assert_blocked(name: &str, way: Way, list: Option<&str>, answer: &DigAnswer) {
    // NODATA, if names below are not blocked.
    let is_denied = ["NXDOMAIN", "NOERROR"].contains(&answer.status.as_str());
    assert!(is_denied, "{name} {way:?}: {answer:?}");
    assert_eq!(answer.flags, "qr rd ra", "{name} {way:?}");
    assert_eq!(answer.name, format!("{name}."), "echoed in its own case");
    assert!(answer.answers.is_empty(), "{answer:?}");
    assert_eq!(answer.authorities.len(), 1, "{name} {way:?}: {answer:?}");
    assert!(answer.authorities[0].starts_with("SOA "), "{answer:?}");
    assert_eq!(answer.has_opt, way.edns, "{name} {way:?}: {answer:?}");
    let error = answer.extended_error.as_deref();
    if way.edns {
        let error = error.unwrap_or_else(|| panic!("{name}: no extended error"));
        assert!(error.starts_with("15 (Blocked): ("), "{name}: {error}");
        if let Some(list) = list {
            assert_eq!(error, format!("15 (Blocked): ({list})"), "{name}");
        }
    } else {
        assert_eq!(error, None, "{name}");
    }
}

fn assert_answered(name: &str, way: Way, answer: &DigAnswer) {
    let parsed = Name::from_ascii(name).unwrap();
    let expected = match way.record_type {
        "A" => ipv4_of(&parsed).to_string(),
        _ => ipv6_of(&parsed).to_string(),
    };
    assert_eq!(answer.status, "NOERROR", "{name} {way:?}: {answer:?}");
    assert_eq!(answer.answers, [expected], "{name} {way:?}");
    assert_eq!(answer.extended_error, None, "{name} {way:?}");
}

/// Asks for all special cases in all ways; hands back how many were blocked and how many not.
fn ask_special_cases(client: &Namespace) -> (usize, usize) {
    let (mut blocked, mut clean) = (0, 0);
    for way in WAYS {
        let cases = special_cases();
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        for (case, answer) in cases.iter().zip(ask(client, way, &names)) {
            if case.list.is_some() {
                assert_blocked(&case.name, way, case.list, &answer);
                blocked += 1;
            } else {
                assert_answered(&case.name, way, &answer);
                clean += 1;
            }
        }
    }
    (blocked, clean)
}

fn ask_samples(show: &Loaded) -> usize {
    let names = sampled_names(show);
    for way in [WAYS[0], WAYS[3]] {
        for names in names.chunks(30) {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for (name, answer) in names.iter().zip(ask(show.lab.client(), way, &names)) {
                assert_blocked(name, way, None, &answer);
            }
        }
    }
    2 * names.len()
}

/// Whether it is NXDOMAIN or NODATA, either of which a blocked name gets.
fn is_denied(message: &Message) -> bool {
    let code = message.metadata.response_code;
    code == ResponseCode::NXDomain || code == ResponseCode::NoError && message.answers.is_empty()
}

/// Every blocked answer is a frame that was seen to be right on the wire.
fn assert_all_seen(watch: FrameWatch, blocked: usize, clean: usize) {
    let frames = watch.finish().unwrap();
    let answers: Vec<bool> = frames
        .iter()
        .filter(|frame| frame.source.port() == 53)
        .map(|frame| is_denied(&Message::from_vec(&frame.payload).unwrap()))
        .collect();
    let of = |wanted| answers.iter().filter(|denied| **denied == wanted).count();
    assert_eq!(of(true), blocked);
    assert_eq!(of(false), clean);
}

fn dig_sees_very_many_names_blocked(mode: &str) {
    let show = Loaded::start(mode);
    let watch = FrameWatch::start(show.lab.client_socket().unwrap());
    let (mut blocked, clean) = ask_special_cases(show.lab.client());
    blocked += ask_samples(&show);
    assert_all_seen(watch, blocked, clean);
    assert_eq!(
        show.responder.received().udp,
        clean as u64,
        "blocked queries do not reach the resolver"
    );
    let answered =
        ["answer_nxdomain", "answer_nodata"].map(|name| show.filter.counter(name).unwrap());
    assert_eq!(answered.iter().sum::<u64>(), blocked as u64);
}

#[test]
fn dig_sees_very_many_names_blocked_in_native_mode() {
    dig_sees_very_many_names_blocked("native");
}

#[test]
fn dig_sees_very_many_names_blocked_in_generic_mode() {
    dig_sees_very_many_names_blocked("skb");
}

fn dig_inside_a_vlan(mode: &str) {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new().unwrap();
    lab.switch_offload(lab.resolver(), lab::RESOLVER_INTERFACE, "tx", false)
        .unwrap();
    let _responder = lab.start_responder().unwrap();
    let _vlan = [
        VlanStub::attach(lab.client(), CLIENT_INTERFACE, 7).unwrap(),
        VlanStub::attach(lab.router(), LAN_INTERFACE, 7).unwrap(),
    ];
    let lists = lists(folder.path());
    let mut arguments = vec!["--mode".into(), mode.into()];
    for list in &lists {
        arguments.extend(["--list".into(), list.as_os_str().to_owned()]);
    }
    let _filter = Filter::start(&lab, folder.path(), &arguments).unwrap();
    let watch = FrameWatch::start(lab.client_socket().unwrap());
    let (blocked, clean) = ask_special_cases(lab.client());
    let frames = watch.finish().unwrap();
    let answers: Vec<_> = frames
        .iter()
        .filter(|frame| frame.source.port() == 53)
        .collect();
    assert_eq!(answers.len(), blocked + clean);
    for answer in answers {
        let tags: Vec<u16> = answer.tags.iter().map(|tag| tag.control).collect();
        assert_eq!(tags, [7], "{answer:?}");
    }
}

#[test]
fn dig_sees_names_blocked_inside_a_vlan_in_native_mode() {
    dig_inside_a_vlan("native");
}

#[test]
fn dig_sees_names_blocked_inside_a_vlan_in_generic_mode() {
    dig_inside_a_vlan("skb");
}

/// One way to wrap a datagram, with its name.
type Wrapping = (&'static str, fn(UdpFrame) -> UdpFrame);

fn wrappings() -> Vec<Wrapping> {
    vec![
        ("plain", |frame| frame),
        ("vlan", |frame| frame.vlan(0xa007)),
        ("service vlan", |frame| {
            frame.tag(ETHERTYPE_SERVICE_VLAN, 100)
        }),
        ("qinq", |frame| {
            frame.tag(ETHERTYPE_SERVICE_VLAN, 0x2064).vlan(4094)
        }),
        ("two vlans", |frame| frame.vlan(1).vlan(2)),
        ("pppoe", |frame| frame.pppoe(0x1234)),
        ("pppoe in a vlan", |frame| frame.vlan(7).pppoe(1)),
        ("pppoe in qinq", |frame| {
            frame.tag(ETHERTYPE_SERVICE_VLAN, 3).vlan(4).pppoe(0xffff)
        }),
        ("pseudo-header checksum", |frame| {
            frame.udp_checksum(UdpChecksum::PseudoHeader)
        }),
        ("pseudo-header checksum in a vlan", |frame| {
            frame.udp_checksum(UdpChecksum::PseudoHeader).vlan(9)
        }),
        ("no checksum, ipv4 only", |frame| {
            frame.udp_checksum(UdpChecksum::Absent)
        }),
    ]
}

fn assert_answer_to(sent: &CheckedFrame, id: u16, answer: &CheckedFrame, what: &str) {
    assert_eq!(answer.tags, sent.tags, "{what}");
    assert_eq!(answer.pppoe_session, sent.pppoe_session, "{what}");
    assert_eq!(
        (answer.source_mac, answer.destination_mac),
        (sent.destination_mac, sent.source_mac),
        "{what}"
    );
    assert_eq!(
        (answer.source, answer.destination),
        (sent.destination, sent.source),
        "{what}"
    );
    let message = Message::from_vec(&answer.payload).unwrap();
    assert_eq!(message.metadata.id, id, "{what}");
    assert!(is_denied(&message), "{what}");
    assert_eq!(message.authorities.len(), 1, "{what}");
}

/// What the sender meant, whatever its checksum says.
fn meant(frame: &UdpFrame) -> CheckedFrame {
    let right = frame.clone().udp_checksum(UdpChecksum::Right);
    check_frame(&right.build()).unwrap()
}

fn wrapped_queries_are_answered_in_kind(mode: &str) {
    let show = Loaded::start(mode);
    let client = show.lab.client_socket().unwrap();
    let router = RawSocket::open(show.lab.router(), LAN_INTERFACE).unwrap();
    let mut id = 0;
    for (wrapping, wrap) in wrappings() {
        for case in special_cases() {
            let query = Query::new(&case.name, RecordType::A).unwrap().edns();
            for base in [UdpFrame::query_v4, UdpFrame::query_v6] {
                id += 1;
                let frame = wrap(base(30_000 + id, &query.to_bytes(id)));
                let sent = meant(&frame);
                if sent.source.is_ipv6() && wrapping.ends_with("ipv4 only") {
                    continue;
                }
                let what = format!("{wrapping}, {}, {}", case.name, sent.source);
                client.send(&frame.build()).unwrap();
                if case.list.is_some() {
                    let answer = client.receive_until(SOON, |answer| {
                        let checked = check_frame(&answer.bytes);
                        let port = u16::to_be_bytes(30_000 + id);
                        let is_ours = answer.bytes.windows(2).any(|bytes| bytes == port);
                        // A frame that is ours and not right is a failure, not another frame.
                        is_ours.then(|| checked.unwrap_or_else(|error| panic!("{what}: {error}")))
                    });
                    let answer = answer.unwrap().unwrap_or_else(|| panic!("{what}: silence"));
                    assert_answer_to(&sent, id, &answer, &what);
                } else {
                    let bytes = frame.build();
                    let passed =
                        router.receive_until(SOON, |passed| (passed.bytes == bytes).then_some(()));
                    assert!(passed.unwrap().is_some(), "{what}: not passed unchanged");
                }
            }
        }
    }
}

#[test]
fn queries_in_vlans_and_sessions_are_answered_in_kind_in_native_mode() {
    wrapped_queries_are_answered_in_kind("native");
}

#[test]
fn queries_in_vlans_and_sessions_are_answered_in_kind_in_generic_mode() {
    wrapped_queries_are_answered_in_kind("skb");
}
