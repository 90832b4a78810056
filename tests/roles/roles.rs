//! The two roles: what loads and ends, and what fills it without a privilege.

use std::{collections::BTreeMap, fs, process::Command, time::Duration};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;

use crate::fixture::{attached_program, lab};
use nxdp_lab::{
    lab::{LAN_INTERFACE, Lab},
    process::{Process, Stream},
    query::Query,
    roles::{Roles, SERVICE_USER, wait_for},
};

const SOON: Duration = Duration::from_secs(10);

fn roles<'a>(lab: &'a Lab, list: &str) -> Roles<'a> {
    let roles = Roles::new(lab, "").unwrap();
    roles.write_list(list).unwrap();
    roles
}

fn rcode(lab: &Lab, name: &str) -> ResponseCode {
    let query = Query::new(name, RecordType::A).unwrap();
    lab.ask_v4(&query).unwrap().outcome()
}

/// Capability sets of every thread of a process, by their names in /proc.
fn capabilities(process: &Process) -> BTreeMap<String, u64> {
    let mut sets = BTreeMap::new();
    let tasks = fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
    for task in tasks.flatten() {
        // A thread may end in between.
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        for line in status.lines().filter(|line| line.starts_with("Cap")) {
            let (name, value) = line.split_once(':').unwrap();
            *sets.entry(name.to_owned()).or_default() |=
                u64::from_str_radix(value.trim(), 16).unwrap();
        }
    }
    sets
}

#[test]
fn a_daemon_without_any_capability_swaps_and_answers() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||first.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    let daemon = roles.daemon().unwrap();
    assert_eq!(
        rcode(&lab, "first.nxdp-show.example"),
        ResponseCode::NXDomain
    );
    let generation = roles.status().unwrap()["generation"].as_u64().unwrap();

    roles.write_list("||second.nxdp-show.example^\n").unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    let mut seen = BTreeMap::new();
    wait_for("the swap", || {
        seen.extend(capabilities(&daemon));
        Ok(roles.status()?["generation"].as_u64() > Some(generation))
    })
    .unwrap();
    assert_eq!(
        rcode(&lab, "second.nxdp-show.example"),
        ResponseCode::NXDomain
    );
    assert_eq!(
        rcode(&lab, "first.nxdp-show.example"),
        ResponseCode::NoError
    );
    let names = ["CapAmb", "CapBnd", "CapEff", "CapInh", "CapPrm"];
    assert_eq!(seen, names.map(|name| (name.to_owned(), 0)).into());
}

#[test]
fn a_daemon_swaps_though_it_sees_a_read_only_file_system() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    // As ProtectKernelTunables= of systemd does.
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c"]);
    command.args(["mount -o remount,bind,ro /sys/fs/bpf && exec \"$@\"", "sh"]);
    let daemon = roles.daemon_command(&[], &[]);
    command.arg(daemon.get_program()).args(daemon.get_args());
    let daemon = lab.router().spawn(command).unwrap();
    daemon.wait_for_line(0, " active: ", SOON).unwrap();
    let mounts = fs::read_to_string(format!("/proc/{}/mounts", daemon.id())).unwrap();
    let bpf = mounts
        .lines()
        .rfind(|line| line.contains("/sys/fs/bpf "))
        .unwrap();
    assert!(bpf.contains(" ro,"), "{bpf}");
}

#[test]
fn a_daemon_that_root_starts_drops_what_it_has() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    // Without capabilities root is a user like others.
    std::os::unix::fs::chown(roles.state(), Some(0), Some(0)).unwrap();
    roles.load(&["--user", "root"]).unwrap();
    let daemon = lab.router().spawn(roles.command("daemon", &[])).unwrap();
    daemon.wait_for_line(0, " active: ", SOON).unwrap();
    let sets = capabilities(&daemon);
    for name in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(sets[name], 0, "{name}");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"));
}

#[test]
fn what_was_active_before_a_boot_is_active_before_any_daemon() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||old.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    drop(roles.daemon().unwrap());
    // After a boot nothing is pinned, and the list cannot be had.
    roles.run("unload", &[]).unwrap();
    fs::remove_file(roles.list()).unwrap();
    assert_eq!(rcode(&lab, "old.nxdp-show.example"), ResponseCode::NoError);
    roles.load(&[]).unwrap();
    assert_eq!(rcode(&lab, "old.nxdp-show.example"), ResponseCode::NXDomain);
}

#[test]
fn the_first_load_compiles_the_lists_as_the_service_user() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    let text = roles.load(&[]).unwrap();
    assert_eq!(
        rcode(&lab, "a.nxdp-show.example"),
        ResponseCode::NXDomain,
        "{text}"
    );
    use std::os::unix::fs::MetadataExt as _;
    let image = fs::metadata(roles.state().join("last.image")).unwrap();
    assert_eq!(image.uid(), fs::metadata(roles.state()).unwrap().uid());
}

#[test]
fn a_load_without_image_and_list_passes_everything_and_says_so() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "no list at all\n");
    let text = roles.load(&[]).unwrap();
    assert!(text.contains("every name passes"), "{text}");
    assert_eq!(rcode(&lab, "a.nxdp-show.example"), ResponseCode::NoError);
    assert!(attached_program(&lab).is_some());
}

#[test]
fn a_daemon_goes_on_where_the_one_before_it_was() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    let mut first = roles.daemon().unwrap();
    for _ in 0..3 {
        rcode(&lab, "a.nxdp-show.example");
    }
    let before = roles.status().unwrap()["generation"].as_u64().unwrap();
    first.end(Signal::SIGKILL, SOON).unwrap();
    rcode(&lab, "a.nxdp-show.example");
    let _second = roles.daemon().unwrap();
    let after = roles.status().unwrap()["generation"].as_u64().unwrap();
    assert_eq!(after, before + 1);
    let answered = roles.ask("stats").unwrap()["packets"]["answer_nxdomain"].as_u64();
    assert_eq!(
        answered,
        Some(4),
        "those asked while no daemon ran are counted too"
    );
}

#[test]
fn there_is_one_daemon() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    let _daemon = roles.daemon().unwrap();
    let mut second = roles
        .spawn_daemon(&["--socket", "/tmp/nxdp-none.sock"])
        .unwrap();
    assert_eq!(second.wait(SOON).unwrap().unwrap().code(), Some(1));
    assert!(
        second
            .text(Stream::Err)
            .contains("another daemon uses this filter")
    );
}

#[test]
fn a_daemon_before_any_load_says_what_to_do() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    let mut daemon = roles.spawn_daemon(&[]).unwrap();
    assert_eq!(daemon.wait(SOON).unwrap().unwrap().code(), Some(1));
    assert!(daemon.text(Stream::Err).contains("run `nxdp load` first"));
}

#[test]
fn a_list_that_does_not_fit_asks_for_room_and_goes_in_force_when_there_is() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||small.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    let daemon = roles.daemon().unwrap();
    let many: String = (0..150_000)
        .map(|n| format!("||n{n}.nxdp-show.example^\n"))
        .collect();
    roles.write_list(&many).unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    let status = roles
        .wait_for_status("the refusal", |status| status["last_error"].is_string())
        .unwrap();
    assert_eq!(
        rcode(&lab, "small.nxdp-show.example"),
        ResponseCode::NXDomain
    );
    let error = status["last_error"].as_str().unwrap();
    let by_hand = error.split_once("`nxdp load ").unwrap().1;
    let by_hand = by_hand.split_once('`').unwrap().0;
    let config = format!("--config {}", roles.config().display());
    assert!(by_hand.starts_with(&config), "{error}");
    let names = by_hand.rsplit_once("--names ").unwrap().1;
    assert!(names.parse::<u32>().unwrap() >= 150_000, "{error}");
    let wanted = status["wanted_table_bytes"].as_u64().unwrap();
    assert!(wanted > status["table_bytes"].as_u64().unwrap(), "{status}");

    let text = roles.load(&["--as-asked"]).unwrap();
    assert!(text.contains("the table has room for"), "{text}");
    let status = roles
        .wait_for_status("the larger list", |status| status["names"] == 150_000)
        .unwrap();
    assert_eq!(status["table_bytes"].as_u64(), Some(wanted));
    assert!(status["wanted_table_bytes"].is_null(), "{status}");
    assert!(status["last_error"].is_null(), "{status}");
    assert_eq!(
        rcode(&lab, "n149999.nxdp-show.example"),
        ResponseCode::NXDomain
    );
    assert_eq!(
        rcode(&lab, "small.nxdp-show.example"),
        ResponseCode::NoError
    );
}

/// The kernel's numbers of the pinned maps.
fn pinned_maps(roles: &Roles<'_>) -> Vec<u32> {
    let pins = roles.pinned().into_iter();
    let maps = pins.filter(|pin| pin.contains("/maps/"));
    maps.map(|pin| {
        let map = aya::maps::MapData::from_pin(roles.pins().join(pin)).unwrap();
        map.info().unwrap().id()
    })
    .collect()
}

fn still_there(maps: &[u32]) -> Vec<u32> {
    let loaded = aya::maps::loaded_maps().flatten().map(|map| map.id());
    loaded.filter(|id| maps.contains(id)).collect()
}

#[test]
fn unload_leaves_nothing_and_can_be_said_twice() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    let program = attached_program(&lab).unwrap();
    assert!(roles.pinned().iter().any(|pin| pin.ends_with("maps/TABLE")));
    let maps = pinned_maps(&roles);
    assert!(maps.len() > 5, "{maps:?}");
    let (code, text) = roles.run("unload", &[]).unwrap();
    assert_eq!(
        (code, text.contains("nothing is left")),
        (0, true),
        "{text}"
    );
    assert_eq!(attached_program(&lab), None);
    assert!(!roles.pins().exists());
    let loaded = aya::programs::loaded_programs().flatten();
    assert!(
        loaded
            .map(|found| u64::from(found.id()))
            .all(|id| id != program)
    );
    assert_eq!(still_there(&maps), Vec::<u32>::new());
    assert_eq!(rcode(&lab, "a.nxdp-show.example"), ResponseCode::NoError);
    assert_eq!(roles.run("unload", &[]).unwrap().0, 0);
}

#[test]
fn a_daemon_outlives_unload_and_follows_the_next_load() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    let daemon = roles.daemon().unwrap();
    let maps = pinned_maps(&roles);
    let (code, text) = roles.run("unload", &[]).unwrap();
    assert_eq!(code, 0, "{text}");
    let are_held = text.contains("maps that the running daemon has open");
    assert!(are_held && !still_there(&maps).is_empty(), "{text}");
    daemon.wait_for_line(0, "nothing is loaded", SOON).unwrap();
    roles.load(&[]).unwrap();
    roles.write_list("||b.nxdp-show.example^\n").unwrap();
    daemon.signal(Signal::SIGHUP).unwrap();
    wait_for("the swap", || {
        Ok(rcode(&lab, "b.nxdp-show.example") == ResponseCode::NXDomain)
    })
    .unwrap();
    wait_for("the end of the maps before", || {
        Ok(still_there(&maps).is_empty())
    })
    .unwrap();
}

#[test]
fn loading_twice_keeps_the_attachment_and_renews_the_program() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    let (pins, program) = (roles.pinned(), attached_program(&lab).unwrap());
    roles.load(&[]).unwrap();
    assert_eq!(roles.pinned(), pins);
    assert_ne!(attached_program(&lab).unwrap(), program);
}

#[test]
fn an_interface_that_is_not_there_fails_the_load_unless_it_may_come_later() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    let both = ["-i", LAN_INTERFACE, "-i", "ppp0"];
    let (code, text) = roles.run("load", &both).unwrap();
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("attach to ppp0: not filtered"), "{text}");
    assert_eq!(rcode(&lab, "a.nxdp-show.example"), ResponseCode::NXDomain);
    let (code, _) = roles
        .run("load", &[&both[..], &["--absent-ok"]].concat())
        .unwrap();
    assert_eq!(code, 0);
}

#[test]
fn a_user_that_is_not_there_is_told_before_anything_is_made() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    let (code, text) = roles
        .run("load", &["--user", "nobody-of-that-name"])
        .unwrap();
    assert_eq!(code, 1);
    assert!(
        text.contains("useradd --system nobody-of-that-name"),
        "{text}"
    );
    assert!(!roles.pins().exists());
}

#[test]
fn pins_belong_to_the_service_user_but_attachments_to_root() {
    use std::os::unix::fs::MetadataExt as _;
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    let service = nix::unistd::User::from_name(SERVICE_USER).unwrap().unwrap();
    for pin in roles.pinned() {
        let metadata = fs::metadata(roles.pins().join(&pin)).unwrap();
        let owner = if pin.starts_with("links/") {
            0
        } else {
            service.uid.as_raw()
        };
        assert_eq!(
            (metadata.uid(), metadata.mode() & 0o777),
            (owner, 0o600),
            "{pin}"
        );
    }
    let root = fs::metadata(roles.pins()).unwrap();
    assert_eq!((root.uid(), root.mode() & 0o777), (0, 0o750));
}

#[test]
fn a_killed_daemon_leaves_no_partial_image_behind() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||a.nxdp-show.example^\n");
    roles.load(&[]).unwrap();
    let left = roles.state().join(".nxdp-partial-left");
    fs::write(&left, "half an image").unwrap();
    let _daemon = roles.daemon().unwrap();
    wait_for("the image", || {
        Ok(roles.state().join("last.image").exists())
    })
    .unwrap();
    assert!(!left.exists());
}

/// `nxdp VERB` as another user; its exit code and what it said.
fn as_user(roles: &Roles, user: &str, group: &str, verb: &str) -> (i32, String) {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", group, "--clear-groups"]);
    let asked = roles.command("", &[]);
    command.arg(asked.get_program()).args([verb, "--socket"]);
    command.arg(roles.socket());
    roles.run_command(command).unwrap()
}

#[test]
fn the_control_socket_tells_its_group_and_obeys_only_admins() {
    let (lab, _responder) = lab();
    let roles = Roles::new(&lab, "[control]\nadmin_group = \"bin\"\n").unwrap();
    roles.write_list("||a.nxdp-show.example^\n").unwrap();
    roles.load(&[]).unwrap();
    let daemon = roles.daemon().unwrap();
    // Whoever may look into the folder of the socket decides nothing here.
    let open = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    fs::set_permissions(roles.state(), open).unwrap();
    let (code, text) = as_user(&roles, "games", "nogroup", "status");
    assert_eq!(code, 0, "{text}");
    let (code, text) = as_user(&roles, "games", "nogroup", "reload");
    assert_eq!(code, 1);
    assert!(text.contains("`admin_group` of [control]"), "{text}");
    let (code, text) = as_user(&roles, "games", "nogroup", "metrics");
    assert_eq!(code, 0, "{text}");
    let (code, text) = as_user(&roles, "games", "nogroup", "log");
    assert_eq!(
        code, 1,
        "who may read counters may not read who asks for what"
    );
    assert!(text.contains("`admin_group` of [control]"), "{text}");
    let (code, _) = as_user(&roles, "games", "games", "status");
    assert_eq!(code, 1, "outside the group nobody connects");
    // The file lets nobody of this group in; the verb would.
    let everybody = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    fs::set_permissions(roles.socket(), everybody).unwrap();
    let (code, text) = as_user(&roles, "games", "games", "status");
    assert_eq!(code, 1);
    assert!(text.contains("must not ask"), "{text}");
    let (_, text) = as_user(&roles, "games", "bin", "log");
    assert!(text.contains("the query log is off"), "{text}");
    let lines = daemon.lines().len();
    let (code, text) = as_user(&roles, "games", "bin", "reload");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("is in force"), "{text}");
    daemon
        .wait_for_line(lines, "reloading: asked to", SOON)
        .unwrap();
    assert_eq!(as_user(&roles, SERVICE_USER, "games", "reload").0, 0);
    assert_eq!(as_user(&roles, "root", "root", "reload").0, 0);
}

#[test]
fn a_full_folder_of_the_state_keeps_no_load_from_its_lists() {
    let (lab, _responder) = lab();
    let more: String = (0..5_000).map(|i| format!("||n{i}.example^\n")).collect();
    let roles = roles(&lab, &format!("||blocked.nxdp-show.example^\n{more}"));
    let user = nix::unistd::User::from_name(SERVICE_USER).unwrap().unwrap();
    let mut mount = Command::new("mount");
    let options = format!("size=4k,mode=0755,uid={}", user.uid);
    mount
        .args(["-t", "tmpfs", "-o", &options, "full"])
        .arg(roles.state());
    let (code, told) = roles.run_command(mount).unwrap();
    assert_eq!(code, 0, "{told}");
    let told = roles.load(&[]).unwrap();
    assert!(told.contains("No space left"), "{told}");
    assert_eq!(
        rcode(&lab, "blocked.nxdp-show.example"),
        ResponseCode::NXDomain,
        "{told}"
    );
    let left = fs::read_dir("/run").unwrap().flatten();
    let is_ours = |entry: &fs::DirEntry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("nxdp-load-")
    };
    assert_eq!(left.filter(is_ours).count(), 0);
}

#[test]
fn a_keeper_waits_for_the_load() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "||blocked.nxdp-show.example^\n");
    let alone = roles.run("attach", &[]).unwrap();
    assert_eq!(alone.0, 1, "{}", alone.1);
    let keeper = roles.command("attach", &["--watch"]);
    let keeper = lab.router().spawn(keeper).unwrap();
    keeper
        .wait_for_line(0, "wait for `nxdp load`", SOON)
        .unwrap();
    roles.load(&["--absent-ok", "-i", "nowhere0"]).unwrap();
    // What the load leaves out, it attaches.
    let is_blocked = || Ok(rcode(&lab, "blocked.nxdp-show.example") == ResponseCode::NXDomain);
    wait_for("the attachment", is_blocked).unwrap();
}
