//! SIGHUP takes a new configuration over as a whole, or says why not and keeps the old one.

use std::{fs, time::Duration};

use hickory_proto::op::ResponseCode;
use nix::sys::signal::Signal;
use nxdp_lab::{
    filter::Filter,
    lab::{self, Lab},
    process::Stream,
    running::Running,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
const OLD: &str = "old.nxdp-show.example";
const NEW: &str = "new.nxdp-show.example";
/// One list, which blocks [`OLD`].
const FIRST: &str = "[[list]]\npath = 'old.txt'\n";
/// Another list, which blocks [`NEW`], and another answer.
const SECOND: &str = "answer = 'null'\n[[list]]\npath = 'new.txt'\n";

/// A filter that runs by the first configuration.
fn filter() -> Running {
    let (old, new) = (format!("||{OLD}^\n"), format!("||{NEW}^\n"));
    let files = [("old.txt", &*old), ("new.txt", &new), ("nxdp.toml", FIRST)];
    Running::start(&files, &["--mode", "skb", "--config", "nxdp.toml"])
}

fn hang_up_with(show: &Running, config: &str) {
    show.write("nxdp.toml", config);
    show.hang_up();
}

fn wait_for_generation(show: &Running, generation: u64) -> Value {
    let wanted = |status: &Value| status["generation"] == generation;
    let what = format!("generation {generation}");
    show.filter.wait_for_status(&what, wanted).unwrap()
}

fn rcodes(show: &Running) -> [ResponseCode; 2] {
    [OLD, NEW].map(|name| show.ask(name).outcome())
}

/// The first address in the answer for [`NEW`].
fn address(show: &Running) -> String {
    show.ask(NEW).answers()[0].data.to_string()
}

#[test]
fn lists_and_answers_of_a_new_configuration_come_into_force_together() {
    let show = filter();
    assert_eq!(
        rcodes(&show),
        [ResponseCode::NXDomain, ResponseCode::NoError]
    );
    assert_ne!(address(&show), "0.0.0.0");
    hang_up_with(&show, SECOND);
    let status = wait_for_generation(&show, 2);
    assert_eq!(status["lists"][0]["name"], "new", "{status}");
    assert_eq!(status["lists"].as_array().unwrap().len(), 1);
    assert_eq!(rcodes(&show), [ResponseCode::NoError; 2]);
    assert_eq!(address(&show), "0.0.0.0");
    // The list that came is watched, the one that went is not.
    show.write("old.txt", "not a name at all\n");
    show.write("new.txt", &format!("||{OLD}^\n||{NEW}^\n"));
    let status = wait_for_generation(&show, 3);
    assert_eq!(
        (&status["names"], &status["last_error"]),
        (&2.into(), &Value::Null)
    );
    assert_eq!(show.ask(OLD).answers()[0].data.to_string(), "0.0.0.0");
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing_and_is_told() {
    let show = filter();
    show.write("com.txt", "||com^\n");
    let bad = [
        ("answer = 'nul'\n", "did you mean `null`?"),
        ("answer = 'null'\n[[list]\n", "nxdp.toml"),
        ("answer = 'null'\n", "no list given"),
        ("answer = 'null'\n[[list]]\npath = 'gone.txt'\n", "gone.txt"),
        (
            "answer = 'null'\n[[list]]\npath = 'com.txt'\n",
            "top-level domain",
        ),
        (
            "answer = 'null'\n[guard]\nmust_not_block = ['gone']\n[[list]]\npath = 'new.txt'\n",
            "open names",
        ),
    ];
    for (config, why) in bad {
        let line = show.filter.process().lines().len();
        hang_up_with(&show, config);
        let told = show.filter.process().wait_for_line(line, why, SOON);
        let failed = show
            .filter
            .process()
            .wait_for_line(line, "reload failed", SOON);
        assert!(
            failed
                .unwrap()
                .text
                .contains("configuration and lists loaded before stay in force")
        );
        told.unwrap();
        let status = show.filter.status().unwrap();
        assert!(
            status["last_error"].as_str().unwrap().contains(why),
            "{status}"
        );
        assert_eq!(status["generation"], 1);
        assert_eq!(
            rcodes(&show),
            [ResponseCode::NXDomain, ResponseCode::NoError],
            "{config}"
        );
    }
    // A list that changes is still read by the configuration in force.
    show.write("old.txt", &format!("||{OLD}^\n||{NEW}^\n"));
    wait_for_generation(&show, 2);
    assert_eq!(rcodes(&show), [ResponseCode::NXDomain; 2]);
    hang_up_with(&show, SECOND);
    assert_eq!(wait_for_generation(&show, 3)["last_error"], Value::Null);
}

#[test]
fn what_flags_say_stays_whatever_the_configuration_becomes() {
    let show = filter();
    hang_up_with(
        &show,
        &format!("mode = 'native'\ninterfaces = ['wan0']\n{FIRST}"),
    );
    let status = wait_for_generation(&show, 2);
    assert_eq!(status["last_error"], Value::Null);
    let attached = &status["interfaces"][0];
    assert_eq!(
        (&attached["interface"], &attached["mode"]),
        (&"lan0".into(), &"skb".into())
    );
}

#[test]
fn a_configuration_that_needs_a_restart_says_so_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let lab = Lab::new().unwrap();
    let config = folder.path().join("nxdp.toml");
    fs::write(folder.path().join("old.txt"), format!("||{OLD}^\n")).unwrap();
    fs::write(&config, format!("mode = 'skb'\n{FIRST}")).unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    let filter = Filter::start(&lab, folder.path(), &arguments).unwrap();
    fs::write(
        &config,
        format!("mode = 'native'\nanswer = 'null'\n{FIRST}"),
    )
    .unwrap();
    filter.process().signal(Signal::SIGHUP).unwrap();
    let refused = |status: &Value| status["last_error"].is_string();
    let status = filter.wait_for_status("the refusal", refused).unwrap();
    let told = status["last_error"].as_str().unwrap();
    assert!(
        told.contains("changes `mode`") && told.contains("restart"),
        "{told}"
    );
    assert_eq!(status["interfaces"][0]["mode"], "skb");
    assert_eq!(status["generation"], 1);
}

#[test]
fn a_hangup_while_lists_are_read_is_not_forgotten() {
    let show = filter();
    let many: String = (0..300_000)
        .map(|number| format!("||n{number}.nxdp-show.example^\n"))
        .collect();
    show.write("many.txt", &many);
    let large = format!("{SECOND}[[list]]\npath = 'many.txt'\n");
    hang_up_with(&show, &large);
    show.filter
        .process()
        .wait_for_line(0, "reloading: SIGHUP", SOON)
        .unwrap();
    hang_up_with(&show, SECOND);
    let settled = |status: &Value| status["names"] == 1 && status["lists"][0]["name"] == "new";
    show.filter
        .wait_for_status("the last configuration", settled)
        .unwrap();
    assert_eq!(rcodes(&show), [ResponseCode::NoError; 2]);
}

#[test]
fn clients_of_a_new_configuration_are_answered_and_old_ones_are_not() {
    let show = filter();
    // A client with a public address, which is answered only when it is listed.
    let from = "203.0.113.9";
    show.lab
        .client()
        .ip_batch(&format!(
            "address add {from}/32 dev {}\nroute replace default via 10.53.1.1 src {from}\n",
            lab::CLIENT_INTERFACE
        ))
        .unwrap();
    show.lab
        .router()
        .ip_batch(&format!("route add {from}/32 dev {}\n", lab::LAN_INTERFACE))
        .unwrap();
    let strangers_pass = format!("strangers = 'pass'\n{FIRST}");
    hang_up_with(&show, &strangers_pass);
    wait_for_generation(&show, 2);
    assert_eq!(
        show.ask(OLD).outcome(),
        ResponseCode::NoError,
        "a stranger's query passes"
    );
    hang_up_with(&show, &format!("clients = ['203.0.113.0/24']\n{FIRST}"));
    wait_for_generation(&show, 3);
    assert_eq!(show.ask(OLD).outcome(), ResponseCode::NXDomain);
    hang_up_with(&show, "clients = ['203.0.113.0/24'");
    let line = show
        .filter
        .process()
        .wait_for_line(0, "reload failed", SOON);
    line.unwrap();
    assert_eq!(show.ask(OLD).outcome(), ResponseCode::NXDomain);
    hang_up_with(&show, &strangers_pass);
    wait_for_generation(&show, 4);
    assert_eq!(show.ask(OLD).outcome(), ResponseCode::NoError);
    assert!(!show.filter.process().text(Stream::Err).contains("panicked"));
}
