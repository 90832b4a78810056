//! As many categories, policies and clients as there can be, in the running filter.

use std::{fmt::Write as _, fs, net::Ipv4Addr, path::Path, process::Command, time::Instant};

use crate::show::Show;
use hickory_proto::op::ResponseCode;
use nxdp_lab::{filter::binary, length::short_or_long};
use serde_json::Value;

/// Client prefixes in force; what is refused is as much as there can be and more in any case.
fn prefixes() -> u32 {
    short_or_long(50_000, 1_000_000)
}

/// MAC addresses in force.
fn macs() -> u32 {
    short_or_long(10_000, MACS_MAX)
}

const MACS_MAX: u32 = 100_000;
const POLICIES: u32 = 4096;
const CATEGORIES: u32 = 64;

/// As much of everything as there can be; the lab's client is one of the million prefixes.
fn write_everything(folder: &Path) -> String {
    let mut config = String::new();
    for number in 0..CATEGORIES {
        fs::write(
            folder.join(format!("c{number}.txt")),
            format!("c{number}.nxdp-show.example\n"),
        )
        .unwrap();
        writeln!(
            config,
            "[[list]]\npath = 'c{number}.txt'\ncategory = 'c{number}'"
        )
        .unwrap();
    }
    let mut clients = vec![String::new(); POLICIES as usize];
    for number in 0..prefixes() {
        let address = Ipv4Addr::from(0x0a35_0100 + number);
        writeln!(clients[(number % POLICIES) as usize], "{address}").unwrap();
    }
    let addresses: String = (0..macs()).map(mac_of).collect();
    for (number, text) in clients.iter_mut().enumerate() {
        // 10.53.1.2 has the third one.
        if number == 0 {
            text.push_str(&addresses);
        }
        fs::write(folder.join(format!("p{number}.clients")), text).unwrap();
        writeln!(
            config,
            "[policy.p{number}]\nclient_files = ['p{number}.clients']\nblock = ['c{}']",
            number % CATEGORIES as usize
        )
        .unwrap();
    }
    config
}

/// The line of a client file.
fn mac_of(number: u32) -> String {
    let [_, a, b, c] = number.to_be_bytes();
    format!("06:00:00:{a:02x}:{b:02x}:{c:02x}\n")
}

#[test]
fn everything_up_to_its_limit_is_in_force_and_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = write_everything(folder.path());
    let mut show = Show::in_folder(folder, "native", &config);
    let start = Instant::now();
    show.begin();
    eprintln!(
        "{} prefixes, {} MACs, {POLICIES} policies, {CATEGORIES} categories: {:?} to the first packet",
        prefixes(),
        macs(),
        start.elapsed()
    );
    assert_eq!(show.rcode("c2.nxdp-show.example"), ResponseCode::NXDomain);
    assert_eq!(show.rcode("c3.nxdp-show.example"), ResponseCode::NoError);
    // The default policy has all of them.
    assert_eq!(
        show.rcode_v6("c3.nxdp-show.example"),
        ResponseCode::NXDomain
    );
    let status = show.filter().status().unwrap();
    assert_eq!(status["policies"].as_array().unwrap().len(), 4097);
    let began = Instant::now();
    let account = checked(&show.config());
    eprintln!("nxdp check takes {:?}", began.elapsed());
    let row = |number: usize| account["policies"][number]["clients"].clone();
    assert_eq!(row(0)["prefixes"], 0);
    let sum: u64 = (0..4097)
        .map(|number| row(number)["prefixes"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, u64::from(prefixes()));
    assert!((0..4097).any(|number| row(number)["MACs"] == macs()));

    let said = Instant::now();
    show.nxdp("allow c2.nxdp-show.example --policy p2 --reason r");
    eprintln!("an override takes {:?}", said.elapsed());
    assert_eq!(show.rcode("c2.nxdp-show.example"), ResponseCode::NoError);

    for (more, why) in [
        ("[policy.more]\n", "4097 policies, at most 4096"),
        (
            "[[list]]\npath = 'c0.txt'\nname = 'more'\ncategory = 'c64'\n",
            "65 categories, at most 64",
        ),
    ] {
        assert_refused(&show, &format!("{config}{more}"), why);
    }
    let clients = show.folder.path().join("p1.clients");
    let text = fs::read_to_string(&clients).unwrap();
    let many: String = (prefixes()..1_060_000)
        .map(|number| format!("{}\n", Ipv4Addr::from(0x0b00_0000 + number)))
        .collect();
    fs::write(&clients, format!("{text}{many}")).unwrap();
    assert_refused(&show, &config, "1060000 client prefixes, at most 1048576");
    let many: String = (macs()..=MACS_MAX).map(mac_of).collect();
    fs::write(&clients, format!("{text}{many}")).unwrap();
    assert_refused(&show, &config, "100001 MAC addresses, at most 100000");
    fs::write(&clients, &text).unwrap();
    if macs() == MACS_MAX {
        other_macs_find_no_room_beside_those_in_force(&show, &config);
    }
    assert_eq!(show.rcode("c2.nxdp-show.example"), ResponseCode::NoError);
    assert_eq!(
        show.rcode_v6("c3.nxdp-show.example"),
        ResponseCode::NXDomain
    );
}

/// New clients come before old ones leave.
fn other_macs_find_no_room_beside_those_in_force(show: &Show, config: &str) {
    let clients = show.folder.path().join("p0.clients");
    let others = fs::read_to_string(&clients)
        .unwrap()
        .replace("06:00:00:", "0a:00:00:");
    fs::write(&clients, others).unwrap();
    assert_refused(show, config, "200000 MAC addresses before and after");
}

/// Has the running filter read a configuration, which it must refuse and say why.
fn assert_refused(show: &Show, config: &str, why: &str) {
    show.configure("native", config);
    show.run("reload");
    let is_told = |status: &Value| {
        status["last_error"]
            .as_str()
            .is_some_and(|error| error.contains(why))
    };
    let status = show.filter().wait_for_status(why, is_told).unwrap();
    assert_eq!(status["policies"].as_array().unwrap().len(), 4097);
}

fn checked(config: &Path) -> Value {
    let output = Command::new(binary().unwrap())
        .args(["check", "--json", "--config"])
        .arg(config)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).unwrap()
}
