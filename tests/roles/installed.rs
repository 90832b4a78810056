//! An installed filter that something goes wrong with: lists that outgrow it, an interface that refuses, a
//! daemon that is dead, a reload that fails.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, chown},
    process::Command,
    time::Duration,
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use nxdp_lab::{
    lab::{LAN_INTERFACE, Lab},
    process::Process,
    query::Query,
    roles::{Roles, SERVICE_USER, wait_for},
};

use crate::fixture::{attached_program, lab};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
const LIST: &str = "||blocked.nxdp-show.example^\n";
const BLOCKED: &str = "blocked.nxdp-show.example";
const FREE: &str = "free.nxdp-show.example";

fn roles<'a>(lab: &'a Lab, more: &str) -> Roles<'a> {
    let roles = Roles::new(lab, more).unwrap();
    roles.write_list(LIST).unwrap();
    roles
}

fn is_blocked(lab: &Lab, name: &str) -> bool {
    let query = Query::new(name, RecordType::A).unwrap().timeout(SOON);
    match lab.ask_v4(&query).unwrap().outcome() {
        ResponseCode::NXDomain => true,
        ResponseCode::NoError => false,
        other => panic!("{name}: {other}"),
    }
}

fn names(count: u32) -> String {
    let names = (0..count).map(|n| format!("||n{n}.nxdp-show.example^\n"));
    names.collect()
}

/// A filter whose daemon was killed.
fn dead(roles: &Roles<'_>) -> u64 {
    roles.load(&[]).unwrap();
    let image = roles.state().join("last.image");
    let written = || {
        fs::metadata(&image)
            .map(|found| found.ino())
            .unwrap_or_default()
    };
    let of_load = written();
    let mut daemon = roles.daemon().unwrap();
    wait_for("the image on disk", || Ok(written() != of_load)).unwrap();
    let pid = u64::from(daemon.id());
    daemon.end(Signal::SIGKILL, SOON).unwrap();
    pid
}

/// `nxdp load` with the capabilities of its unit.
fn load_as_the_unit_does(roles: &Roles<'_>) -> (i32, String) {
    let mut command = Command::new("setpriv");
    let sets = "-all,+bpf,+net_admin,+perfmon,+chown,+setuid,+setgid,+dac_override";
    command.args([
        "--bounding-set",
        sets,
        "--inh-caps=-all",
        "--pdeathsig",
        "TERM",
    ]);
    let load = roles.command("load", &[]);
    command.arg(load.get_program()).args(load.get_args());
    roles.run_command(command).unwrap()
}

#[test]
fn load_needs_no_more_than_its_unit_gives_however_often_it_is_done() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    let mut daemon = None;
    let mut programs = Vec::new();
    for _ in 0..3 {
        let (code, text) = load_as_the_unit_does(&roles);
        assert_eq!(code, 0, "{text}");
        assert!(is_blocked(&lab, BLOCKED));
        programs.push(attached_program(&lab).unwrap());
        // From here on the pins are the daemon's, and it runs.
        daemon.get_or_insert_with(|| roles.daemon().unwrap());
    }
    programs.dedup();
    assert_eq!(programs.len(), 3, "each load puts a new program in force");
    let last = programs[2];
    let status = roles
        .wait_for_status("the new program", |status| status["program"]["id"] == last)
        .unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let loaded = status["program"]["loaded_at_s"].as_u64().unwrap();
    assert!(now.unwrap().as_secs() - loaded < 60, "{status}");
    assert_eq!(status["program"]["tag"].as_str().unwrap().len(), 16);
}

#[test]
fn a_pin_with_another_mode_is_set_right_without_more_capabilities() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    roles.load(&[]).unwrap();
    let change = roles.pins().join("change");
    let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(&change, open).unwrap();
    let (code, text) = load_as_the_unit_does(&roles);
    assert_eq!(code, 0, "{text}");
    let found = fs::metadata(&change).unwrap();
    let service = nix::unistd::User::from_name(SERVICE_USER).unwrap().unwrap();
    assert_eq!(
        (found.uid(), found.mode() & 0o777),
        (service.uid.as_raw(), 0o700)
    );
}

#[test]
fn a_list_that_grows_threefold_twice_gets_room_each_time_without_a_reload() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    roles.load(&[]).unwrap();
    let _daemon = roles.daemon().unwrap();
    for count in [100_000, 300_000, 900_000] {
        roles.write_list(&names(count)).unwrap();
        let waits = |status: &Value| status["wanted_table_bytes"].is_u64();
        roles.wait_for_status("the wish", waits).unwrap();
        roles.load(&["--as-asked"]).unwrap();
        let grown = |status: &Value| status["names"] == count;
        roles.wait_for_status("the larger list", grown).unwrap();
        assert!(is_blocked(
            &lab,
            &format!("n{}.nxdp-show.example", count - 1)
        ));
        assert!(!roles.state().join("room").exists());
    }
    let text = roles.load(&["--as-asked"]).unwrap();
    assert!(text.contains("asks for no room"), "{text}");
}

#[test]
fn no_more_room_is_made_than_a_quarter_of_the_memory_whoever_asks() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    roles.load(&[]).unwrap();
    let daemon = roles.daemon().unwrap();
    let before = roles.status().unwrap()["table_bytes"].clone();
    for wish in ["4000000000 4000000000\n", "4000000000\n", "-1 -1\n", "\n"] {
        fs::write(roles.state().join("room"), wish).unwrap();
        let (code, text) = roles.run("load", &["--as-asked"]).unwrap();
        assert_eq!(code, 1, "{wish}: {text}");
    }
    // A link leads nowhere that the service user could not go.
    let secret = roles.path("secret");
    fs::write(&secret, "20000 20000\n").unwrap();
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    fs::set_permissions(&secret, mode).unwrap();
    fs::remove_file(roles.state().join("room")).unwrap();
    std::os::unix::fs::symlink(&secret, roles.state().join("room")).unwrap();
    let (code, text) = roles.run("load", &["--as-asked"]).unwrap();
    assert_eq!(
        (code, text.contains("ermission denied")),
        (1, true),
        "{text}"
    );
    assert_eq!(roles.status().unwrap()["table_bytes"], before);
    drop(daemon);
}

#[test]
fn a_first_table_is_made_by_the_memory_and_not_by_the_lists_alone() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    let mut command = roles.command("load", &[]);
    let given: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let at = given
        .iter()
        .position(|word| word == "--table-bytes")
        .unwrap();
    command = Command::new(command.get_program());
    command.args(&given[..at]).args(&given[at + 2..]);
    let (code, text) = roles.run_command(command).unwrap();
    assert_eq!(code, 0, "{text}");
    let _daemon = roles.daemon().unwrap();
    let table = roles.status().unwrap()["table_bytes"].as_u64().unwrap();
    // No machine that tests run on has less than 256 MiB.
    assert!((4 << 20..=32 << 20).contains(&table), "{table}");
    roles.write_list(&names(100_000)).unwrap();
    let grown = |status: &Value| status["names"] == 100_000;
    roles.wait_for_status("the larger list", grown).unwrap();
}

#[test]
fn an_interface_that_refuses_keeps_neither_the_others_nor_the_daemon_from_work() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    // No driver runs it natively there.
    let both = ["-i", "lo", "-i", LAN_INTERFACE];
    let (code, text) = roles.run("load", &both).unwrap();
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("attach to lo: not filtered"), "{text}");
    assert!(is_blocked(&lab, BLOCKED));
    let daemon = roles
        .spawn_daemon(&["-i", "lo", "-i", LAN_INTERFACE])
        .unwrap();
    daemon.wait_for_line(0, " active: ", SOON).unwrap();
    let status = roles.status().unwrap();
    let state = |name: &str| {
        let mut interfaces = status["interfaces"].as_array().unwrap().iter();
        interfaces.find(|found| found["interface"] == name).unwrap()["state"].clone()
    };
    assert_eq!(
        (state("lo"), state(LAN_INTERFACE)),
        ("unfiltered".into(), "attached".into())
    );
    // Again, over a running daemon: nothing that is in force is given up.
    assert_eq!(roles.run("load", &both).unwrap().0, 3);
    assert!(is_blocked(&lab, BLOCKED));
}

#[test]
fn without_a_daemon_root_sees_what_is_in_force() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    dead(&roles);
    assert!(is_blocked(&lab, BLOCKED));
    let status = roles.operate("status").unwrap();
    assert_eq!((&status["pid"], &status["names"]), (&0.into(), &1.into()));
    assert_eq!(status["interfaces"][0]["interface"], LAN_INTERFACE);
    assert_eq!(status["interfaces"][0]["state"], "attached");
    assert_eq!(status["lists"][0]["name"], "list", "{status}");
    assert!(status["program"]["id"].as_u64() > Some(0), "{status}");
    let networks = status["clients"]["on_link"].as_object();
    let is_there = |name: &serde_json::Value| name == LAN_INTERFACE;
    assert!(
        networks.is_some_and(|networks| networks.values().any(is_there)),
        "{status}"
    );
    let stats = roles.operate("stats").unwrap();
    assert_eq!(stats["packets"]["answer_nxdomain"], 1, "{stats}");
}

#[test]
fn without_a_daemon_root_allows_blocks_and_pauses_and_the_next_daemon_goes_on_with_it() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "policy.kids = { clients = ['192.0.2.0/24'] }\n");
    dead(&roles);
    assert!(is_blocked(&lab, BLOCKED) && !is_blocked(&lab, FREE));
    roles
        .operate(&format!("allow {BLOCKED} --reason trial"))
        .unwrap();
    assert!(!is_blocked(&lab, BLOCKED));
    roles
        .operate(&format!("block {FREE} --reason trial"))
        .unwrap();
    assert!(is_blocked(&lab, FREE));
    roles.operate("pause --for 1h").unwrap();
    assert!(!is_blocked(&lab, FREE));
    roles.operate("pause --policy kids --for 1h").unwrap();
    let unknown = roles.operate("pause --policy nobody --for 1h").unwrap_err();
    assert!(
        unknown
            .to_string()
            .contains("no policy 'nobody'; there are: default, kids"),
        "{unknown}"
    );
    roles.operate("resume").unwrap();
    assert!(is_blocked(&lab, FREE) && !is_blocked(&lab, BLOCKED));
    let told = roles.operate("overrides").unwrap();
    assert_eq!(told["overrides"].as_array().unwrap().len(), 3, "{told}");
    let owner = fs::metadata(roles.state()).unwrap().uid();
    assert_eq!(
        fs::metadata(roles.state().join("overrides")).unwrap().uid(),
        owner
    );

    let _daemon = roles.daemon().unwrap();
    assert!(is_blocked(&lab, FREE) && !is_blocked(&lab, BLOCKED));
    let told = roles.ask("overrides").unwrap();
    assert_eq!(told["overrides"].as_array().unwrap().len(), 3, "{told}");
    let status = roles.status().unwrap();
    let kids = &status["policies"][1];
    assert_eq!(kids["name"], "kids");
    assert!(kids["paused_until"].is_string(), "{status}");
}

#[test]
fn a_configuration_that_is_wrong_keeps_root_from_no_override() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "policy.kids = { clients = ['10.53.1.0/24'] }\n");
    dead(&roles);
    roles
        .operate(&format!("allow {BLOCKED} --policy kids --reason trial"))
        .unwrap();
    assert!(!is_blocked(&lab, BLOCKED));
    fs::write(roles.config(), "what = [").unwrap();
    roles
        .operate(&format!("block {FREE} --reason trial"))
        .unwrap();
    assert!(is_blocked(&lab, FREE));
    assert!(
        !is_blocked(&lab, BLOCKED),
        "what was said to a policy holds on"
    );
}

#[test]
fn without_a_daemon_others_are_told_who_may_and_a_hung_one_is_left_alone() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    dead(&roles);
    let as_user = |socket: &std::path::Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "games", "--regid", "games", "--clear-groups"]);
        let status = roles.command("status", &["--socket"]);
        command
            .arg(status.get_program())
            .args(status.get_args())
            .arg(socket);
        roles.run_command(command).unwrap()
    };
    let (code, text) = as_user(&roles.path("none.sock"));
    assert_eq!(
        (code, text.contains("in force without one: root may")),
        (1, true),
        "{text}"
    );
    let daemon = roles.daemon().unwrap();
    // Nobody but the owner may pass through its folder.
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    fs::set_permissions(roles.state(), mode).unwrap();
    let (code, text) = as_user(&roles.socket());
    assert_eq!(
        (code, text.contains("permission denied")),
        (1, true),
        "{text}"
    );
    fs::remove_file(roles.socket()).unwrap();
    let held = roles
        .operate(&format!("allow {BLOCKED} --reason trial"))
        .unwrap_err();
    assert!(
        held.to_string().contains("a daemon uses this filter"),
        "{held}"
    );
    drop(daemon);
}

#[test]
fn a_reload_tells_its_outcome_unless_nobody_waits() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    roles.load(&[]).unwrap();
    let _daemon = roles.daemon().unwrap();
    roles.write_list("||other.nxdp-show.example^\n").unwrap();
    let status = roles.say("reload").unwrap();
    assert!(is_blocked(&lab, "other.nxdp-show.example"), "{status}");
    let generation = status["generation"].as_u64().unwrap();
    roles.write_list("no list at all\n").unwrap();
    let failed = roles.say("reload").unwrap_err().to_string();
    assert!(failed.contains("no rule in 1 lines"), "{failed}");
    roles.say("reload --no-wait").unwrap();
    // Several wait for the same one, and each hears of one that began after it asked.
    roles.write_list(LIST).unwrap();
    std::thread::scope(|scope| {
        let waits = [(); 5].map(|()| scope.spawn(|| roles.say("reload").unwrap()));
        for wait in waits {
            let told = wait.join().unwrap();
            assert!(told["generation"].as_u64() > Some(generation), "{told}");
            assert!(told["last_error"].is_null(), "{told}");
        }
    });
    assert!(is_blocked(&lab, BLOCKED));
}

#[test]
fn an_image_by_hand_leaves_own_names_in_force() {
    let (lab, _responder) = lab();
    let category = "[category.homework]\nnames = ['homework.txt']\n";
    let roles = roles(&lab, category);
    fs::write(roles.path("homework.txt"), "own.nxdp-show.example\n").unwrap();
    roles.load(&[]).unwrap();
    let _daemon = roles.daemon().unwrap();
    assert!(is_blocked(&lab, "own.nxdp-show.example"));
    // One that knows nothing of them, and uses their bit for something else.
    let other = roles.path("other.txt");
    fs::write(&other, "||other.nxdp-show.example^\n").unwrap();
    let config = roles.path("other.toml");
    fs::write(&config, "[[list]]\npath = 'other.txt'\ncategory = 'else'\n").unwrap();
    let image = roles.path("other.image");
    let mut compile = Command::new(roles.command("compile", &[]).get_program());
    compile
        .arg("compile")
        .arg("--config")
        .arg(config)
        .arg("-o")
        .arg(&image);
    let (code, text) = roles.run_command(compile).unwrap();
    assert_eq!(code, 0, "{text}");
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    fs::set_permissions(&image, mode).unwrap();
    let text = roles.load(&["--image", image.to_str().unwrap()]).unwrap();
    assert!(is_blocked(&lab, "other.nxdp-show.example"), "{text}");
    assert!(is_blocked(&lab, "own.nxdp-show.example"), "{text}");
}

#[test]
fn a_daemon_that_is_started_by_hand_finds_the_folder_of_its_socket() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    let text = fs::read_to_string(roles.config()).unwrap();
    let socket = roles.path("run/control.sock");
    let own = roles.socket().display().to_string();
    fs::write(
        roles.config(),
        text.replace(&own, &socket.display().to_string()),
    )
    .unwrap();
    roles.load(&[]).unwrap();
    let daemon: Process = roles.spawn_daemon(&[]).unwrap();
    daemon.wait_for_line(0, " active: ", SOON).unwrap();
    assert!(socket.exists());
    let made = fs::metadata(roles.path("run")).unwrap();
    let service = nix::unistd::User::from_name(SERVICE_USER).unwrap().unwrap();
    assert_eq!(
        (made.uid(), made.mode() & 0o777),
        (service.uid.as_raw(), 0o750)
    );
}

#[test]
fn an_image_of_holes_is_passed_over_for_the_next_source() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    dead(&roles);
    roles.run("unload", &[]).unwrap();
    let image = roles.state().join("last.image");
    let (mut bytes, owner) = (
        fs::read(&image).unwrap(),
        fs::metadata(&image).unwrap().uid(),
    );
    // The head announces a last section that ends far behind the file's bytes.
    announce(&mut bytes, 8 << 40);
    bytes.truncate(4096);
    fs::write(&image, &bytes).unwrap();
    fs::File::options()
        .write(true)
        .open(&image)
        .unwrap()
        .set_len(8 << 40)
        .unwrap();
    chown(&image, Some(owner), None).unwrap();
    let text = roles.load(&[]).unwrap();
    assert!(text.contains("holes"), "{text}");
    assert!(is_blocked(&lab, BLOCKED), "the lists are compiled: {text}");
}

/// Makes the head of an image say that it ends at `end`, with a checksum that fits.
fn announce(image: &mut [u8], end: u64) {
    /// Magic, three versions and a reserved word; then place, length and checksum of four sections.
    const SECTIONS_AT: usize = 8 + 4 * 4;
    const SECTION_BYTES: usize = 3 * 8;
    let last = SECTIONS_AT + 3 * SECTION_BYTES;
    let start = u64::from_ne_bytes(image[last..last + 8].try_into().unwrap());
    image[last + 8..last + 16].copy_from_slice(&(end - start).to_ne_bytes());
    let checksum_at = SECTIONS_AT + 4 * SECTION_BYTES;
    let checksum = xxhash_rust::xxh3::xxh3_64(&image[..checksum_at]);
    image[checksum_at..checksum_at + 8].copy_from_slice(&checksum.to_ne_bytes());
}
