//! Root at work in folders of the service user: nothing becomes root's, and no link leads root elsewhere.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink},
    path::Path,
    time::Duration,
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use nxdp_lab::{
    lab::Lab,
    query::Query,
    roles::{Roles, SERVICE_USER, wait_for},
};

use crate::fixture::lab;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
const BLOCKED: &str = "blocked.nxdp-show.example";
/// A list with an address that nobody answers on.
const URL: &str = "[[list]]\nurl = 'https://127.0.0.1:9/ads.txt'\nname = 'ads'\n\
                   [fetch]\ncache = 'state/lists'\nallow_private = ['127.0.0.1/32']\n";

fn roles<'a>(lab: &'a Lab, more: &str) -> Roles<'a> {
    let roles = Roles::new(lab, more).unwrap();
    roles.write_list("||blocked.nxdp-show.example^\n").unwrap();
    roles
}

fn is_blocked(lab: &Lab, name: &str) -> bool {
    let query = Query::new(name, RecordType::A).unwrap().timeout(SOON);
    lab.ask_v4(&query).unwrap().outcome() == ResponseCode::NXDomain
}

fn service_user() -> u32 {
    let user = nix::unistd::User::from_name(SERVICE_USER).unwrap().unwrap();
    user.uid.as_raw()
}

/// Everything below a folder that is not the service user's.
fn not_the_services(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let metadata = fs::symlink_metadata(entry.path()).unwrap();
        if metadata.uid() != service_user() {
            found.push(entry.path().display().to_string());
        }
        if metadata.is_dir() {
            found.extend(not_the_services(&entry.path()));
        }
    }
    found
}

/// A file of root's that nobody else may read or write.
fn secret(roles: &Roles<'_>) -> std::path::PathBuf {
    let secret = roles.path("secret");
    fs::write(&secret, "root's alone").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    secret
}

fn is_untouched(secret: &Path) -> bool {
    let found = fs::metadata(secret).unwrap();
    let owner = (found.uid(), found.gid(), found.mode() & 0o777);
    owner == (0, 0, 0o600) && fs::read_to_string(secret).unwrap() == "root's alone"
}

#[test]
fn an_update_by_root_leaves_the_copies_to_the_daemon() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, URL);
    let (code, text) = roles.run("update", &[]).unwrap();
    assert_eq!(
        (code, text.contains("list 'ads' from")),
        (1, true),
        "{text}"
    );
    assert!(roles.state().join("lists").is_dir());
    assert_eq!(not_the_services(&roles.state()), Vec::<String>::new());
    roles.load(&[]).unwrap();
    let _daemon = roles.daemon().unwrap();
    assert!(roles.status().unwrap()["refresh_stopped"].is_null());
}

#[test]
fn refreshes_that_ended_are_told_everywhere_and_begin_again_by_themselves() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, URL);
    let cache = roles.state().join("lists");
    fs::create_dir(&cache).unwrap();
    chown(&cache, Some(0), Some(0)).unwrap();
    roles.load(&[]).unwrap();
    let daemon = roles.daemon().unwrap();
    daemon
        .wait_for_line(0, "lists are not refreshed", SOON)
        .unwrap();
    for verb in ["status", "lists"] {
        let told = roles.ask(verb).unwrap();
        let why = told["refresh_stopped"].as_str().unwrap_or_default();
        assert!(why.contains("ermission denied"), "{verb}: {told}");
    }
    assert!(has_metric(&roles, "nxdp_refresh_stopped 1"));
    chown(&cache, Some(service_user()), None).unwrap();
    let resumed = |status: &Value| status["refresh_stopped"].is_null();
    roles.wait_for_status("refreshes", resumed).unwrap();
    assert!(has_metric(&roles, "nxdp_refresh_stopped 0"));
}

/// Whether a metric without labels has a value.
fn has_metric(roles: &Roles<'_>, sample: &str) -> bool {
    metrics_of(roles).lines().any(|line| line == sample)
}

fn metrics_of(roles: &Roles<'_>) -> String {
    // It takes no configuration.
    let program = roles.command("metrics", &[]).get_program().to_owned();
    let mut command = std::process::Command::new(program);
    command.arg("metrics").arg("--socket").arg(roles.socket());
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

#[test]
fn overrides_that_the_daemon_cannot_read_stay_in_force_and_are_not_written_over() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    roles.load(&[]).unwrap();
    let mut daemon = roles.daemon().unwrap();
    roles
        .say(&format!("allow {BLOCKED} --reason trial"))
        .unwrap();
    roles.say("pause --for 2h").unwrap();
    roles.say("resume").unwrap();
    daemon.end(Signal::SIGTERM, SOON).unwrap();
    let journal = roles.state().join("overrides");
    let said = fs::read(&journal).unwrap();
    chown(&journal, Some(0), Some(0)).unwrap();
    fs::set_permissions(&journal, fs::Permissions::from_mode(0o600)).unwrap();
    let _daemon = roles.daemon().unwrap();
    assert!(!is_blocked(&lab, BLOCKED), "what was in force stays");
    let status = roles.status().unwrap();
    let why = status["overrides_error"].as_str().unwrap();
    assert!(why.contains("ermission denied"), "{status}");
    assert!(has_metric(&roles, "nxdp_overrides_unreadable 1"));
    let refused = roles
        .say("block free.nxdp-show.example --reason trial")
        .unwrap_err();
    assert!(
        refused.to_string().contains("must not be lost"),
        "{refused}"
    );
    assert_eq!(fs::read(&journal).unwrap(), said);
    roles.say("reload").unwrap();
    assert!(!is_blocked(&lab, BLOCKED));
    chown(&journal, Some(service_user()), None).unwrap();
    let read = |status: &Value| status["overrides_error"].is_null();
    let status = roles.wait_for_status("the overrides", read).unwrap();
    assert_eq!(status["overrides"]["count"], 1, "{status}");
    roles.say("override remove 1").unwrap();
    wait_for("the block", || Ok(is_blocked(&lab, BLOCKED))).unwrap();
}

#[test]
fn links_of_the_service_user_lead_no_command_of_root_anywhere() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    let secret = secret(&roles);
    let state = roles.state();
    roles.load(&[]).unwrap();
    for name in ["overrides.new", "last.image", "custom.image", "room"] {
        let _ = fs::remove_file(state.join(name));
        symlink(&secret, state.join(name)).unwrap();
    }
    // Writes the journal anew.
    let refused = roles.operate(&format!("allow {BLOCKED} --reason trial"));
    assert!(refused.is_err(), "{refused:?}");
    assert!(is_untouched(&secret) && is_blocked(&lab, BLOCKED));
    roles.operate("status").unwrap();
    for arguments in [&[][..], &["--as-asked"]] {
        let (_, text) = roles.run("load", arguments).unwrap();
        assert!(!text.contains("root's alone"), "{text}");
        assert!(is_untouched(&secret));
    }
    fs::remove_file(state.join("overrides.new")).unwrap();
    symlink(&secret, state.join("overrides")).unwrap();
    assert!(
        roles
            .operate(&format!("allow {BLOCKED} --reason trial"))
            .is_err()
    );
    assert!(is_untouched(&secret) && is_blocked(&lab, BLOCKED));
    fs::remove_file(state.join("overrides")).unwrap();
    assert!(
        roles
            .operate(&format!("allow {BLOCKED} --reason trial"))
            .is_ok()
    );
    assert!(!is_blocked(&lab, BLOCKED));
}

#[test]
fn a_folder_of_copies_that_is_a_link_leads_root_nowhere() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, URL);
    let target = roles.path("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join(".lock"), "kept").unwrap();
    let link = roles.state().join("lists");
    symlink(&target, &link).unwrap();
    lchown(&link, Some(service_user()), None).unwrap();
    let (code, text) = roles.run("update", &[]).unwrap();
    assert_eq!(
        (code, text.contains("ermission denied")),
        (1, true),
        "{text}"
    );
    let left: Vec<_> = fs::read_dir(&target).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(fs::read_to_string(target.join(".lock")).unwrap(), "kept");
}

#[test]
fn a_query_log_of_root_in_a_folder_of_the_service_user_follows_no_link() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "[log]\nqueries = 'all'\ndnstap_file = 'state/tap'\n");
    let secret = secret(&roles);
    for name in ["tap", "tap.1"] {
        symlink(&secret, roles.state().join(name)).unwrap();
    }
    let run = roles.command("run", &[]);
    let process = lab.router().spawn(run).unwrap();
    process.wait_for_line(0, "attached to", SOON).unwrap();
    assert!(is_blocked(&lab, BLOCKED));
    assert!(is_untouched(&secret));
    process.stop(SOON).unwrap();
    assert!(is_untouched(&secret));
}

#[test]
fn a_link_where_pins_are_to_be_is_refused_by_name_and_leads_root_nowhere() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    let victim = roles.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o755)).unwrap();
    let pins = roles.pins();
    let is_untouched = || {
        let found = fs::metadata(&victim).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o777),
            (0, 0, 0o755)
        );
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
    };
    for name in ["", "links", "change", "daemon", "next", "v1"] {
        let link = pins.join(name);
        let link = if name.is_empty() { pins.clone() } else { link };
        if !name.is_empty() {
            fs::create_dir(&pins).unwrap();
            chown(&pins, Some(service_user() + 1), None).unwrap();
        }
        symlink(&victim, &link).unwrap();
        let (code, told) = roles.run("load", &[]).unwrap();
        assert_eq!(code, 1, "{name}: {told}");
        let at = std::path::Path::new("/sys/fs/bpf/nxdp").join(name);
        let at = at.display().to_string();
        let expected = format!("'{}': it is a symbolic link", at.trim_end_matches('/'));
        assert!(told.contains(&expected), "{name}: {told}");
        is_untouched();
        fs::remove_file(&link).unwrap();
        if !name.is_empty() {
            fs::remove_dir_all(&pins).unwrap();
        }
    }
    assert!(!is_blocked(&lab, BLOCKED));
    roles.load(&[]).unwrap();
    assert!(is_blocked(&lab, BLOCKED));
}

#[test]
fn what_the_service_user_puts_into_its_lock_folders_keeps_no_unload_from_its_end() {
    let (lab, _responder) = lab();
    let roles = roles(&lab, "");
    roles.load(&[]).unwrap();
    for folder in ["change", "daemon"] {
        let inner = roles.pins().join(folder).join("x/y");
        fs::create_dir_all(&inner).unwrap();
        for folder in [&inner, inner.parent().unwrap()] {
            chown(folder, Some(service_user()), None).unwrap();
        }
    }
    let (code, told) = roles.run("unload", &[]).unwrap();
    assert_eq!(code, 0, "{told}");
    assert!(!roles.pins().exists());
}
