//! A running filter keeps its lists fresh, and keeps what it has when it cannot.
// tidy: long because each test is a story of one filter and its server, by the same few helpers.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use nxdp_lab::{
    filter::{self, Filter},
    lab::Lab,
    list_server::{Identity, ListServer, Reply},
    process::Stream,
    query::Query,
    responder::Responder,
};
use serde_json::Value;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(30);
const URL_PORT: u16 = 4443;

/// A lab whose router fetches from a server on itself.
struct Router {
    lab: Lab,
    _responder: Responder,
    identity: Identity,
    folder: TempDir,
}

impl Router {
    /// With one list named `ads`, and more keys of it.
    fn new(list: &str) -> Self {
        let lab = Lab::new().unwrap();
        let responder = lab.start_responder().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::of(&["127.0.0.1"]).unwrap();
        fs::write(folder.path().join("ca.pem"), identity.pem()).unwrap();
        let config = format!(
            "[[list]]\nurl = \"https://127.0.0.1:{URL_PORT}/ads.txt\"\n{list}\n\
             [fetch]\ncache = \"cache\"\nca_file = \"ca.pem\"\nallow_private = [\"127.0.0.1/32\"]\n"
        );
        fs::write(folder.path().join("nxdp.toml"), config).unwrap();
        Self {
            lab,
            _responder: responder,
            identity,
            folder,
        }
    }

    fn add_to_config(&self, text: &str) {
        let path = self.path("nxdp.toml");
        let before = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{before}{text}")).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn serve(&self, list: &str) -> ListServer {
        let address = SocketAddr::from(([127, 0, 0, 1], URL_PORT));
        let start = || ListServer::start(address, Some(&self.identity));
        let server = self.lab.router().run(start).unwrap().unwrap();
        let list = list.to_owned();
        server.say(move |_| Reply::ok(&list));
        server
    }

    fn arguments(&self) -> [String; 2] {
        [
            "--config".to_owned(),
            self.path("nxdp.toml").display().to_string(),
        ]
    }

    fn start(&self) -> Filter {
        Filter::start(&self.lab, self.folder.path(), &self.arguments()).unwrap()
    }

    fn rcode(&self, name: &str) -> ResponseCode {
        let query = Query::new(name, RecordType::A).unwrap();
        self.lab.ask_v4(&query).unwrap().outcome()
    }

    fn assert_blocked(&self, blocked: &str, clean: &str) {
        assert_eq!(self.rcode(blocked), ResponseCode::NXDomain, "{blocked}");
        assert_eq!(self.rcode(clean), ResponseCode::NoError, "{clean}");
    }

    fn wait_until_blocked(&self, name: &str) {
        let end = Instant::now() + SOON;
        while self.rcode(name) != ResponseCode::NXDomain {
            assert!(Instant::now() < end, "{name} is not blocked after {SOON:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn nxdp(filter: &Filter, arguments: &[&str]) -> Output {
    let mut command = Command::new(filter::binary().unwrap());
    command.args(arguments).arg("--socket").arg(filter.socket());
    command.output().unwrap()
}

fn account(filter: &Filter) -> Value {
    let output = nxdp(filter, &["lists", "--json"]);
    let accounts: Value = serde_json::from_slice(&output.stdout).unwrap();
    accounts["lists"][0].clone()
}

fn assert_ends(output: &Output, code: i32, needle: &str) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert!(err.contains(needle), "{needle:?} is not in: {err}");
}

#[test]
fn an_update_takes_effect_and_what_is_refused_does_not() {
    let router = Router::new("");
    let server = router.serve("||one.example^\n");
    let mut filter = router.start();
    router.assert_blocked("www.one.example", "two.example");

    server.say(|_| Reply::ok("||two.example^\n"));
    let output = nxdp(&filter, &["update"]);
    assert_ends(&output, 0, "");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "ads: new, 1 rules\n"
    );
    router.assert_blocked("two.example", "one.example");

    server.say(|_| Reply::ok("<html>Sign in</html>"));
    assert_ends(&nxdp(&filter, &["update", "--list", "ads"]), 1, "HTML page");
    let before = filter.status().unwrap();
    assert_eq!(before["last_error"], Value::Null);

    server.say(|_| Reply::ok("||three.example^\n||com^\n"));
    assert_ends(&nxdp(&filter, &["update"]), 1, "com: ");
    let status = filter.status().unwrap();
    assert!(
        status["last_error"]
            .as_str()
            .unwrap()
            .contains("[[guard.allow]]"),
        "{status}"
    );
    assert_eq!(status["generation"], before["generation"]);
    assert_eq!(account(&filter)["last_try"]["outcome"], "refused");
    router.assert_blocked("two.example", "three.example");

    assert_ends(
        &nxdp(&filter, &["update", "--list", "nobody"]),
        1,
        "there are ads",
    );
    filter.process_mut().end(Signal::SIGTERM, SOON).unwrap();
}

#[test]
fn a_start_without_a_network_filters_with_the_copies_and_says_so() {
    let router = Router::new("refresh = \"1s\"");
    let server = router.serve("||one.example^\n");
    let mut filter = router.start();
    drop(server);
    filter.process_mut().end(Signal::SIGTERM, SOON).unwrap();
    let filter = router.start();
    router.assert_blocked("www.one.example", "two.example");
    let process = filter.process();
    let said = process
        .wait_for_line(0, "starting from the copy of ", SOON)
        .unwrap();
    assert!(
        said.text.contains("https://127.0.0.1:4443/ads.txt"),
        "{}",
        said.text
    );
    let said = process
        .wait_for_line(0, "Connection refused (os error 111); the copy of ", SOON)
        .unwrap();
    assert!(
        said.text.contains("ago stays in force; next try in "),
        "{}",
        said.text
    );
    router.assert_blocked("www.one.example", "two.example");
    // It comes back by itself.
    let _server = router.serve("||two.example^\n");
    router.wait_until_blocked("two.example");
    assert_eq!(account(&filter)["last_try"]["outcome"], "new");
}

#[test]
fn lists_are_asked_for_again_by_themselves_unless_their_server_wants_patience() {
    let router = Router::new("refresh = \"1s\"");
    let server = router.serve("||one.example^\n");
    let filter = router.start();
    server.say(|_| Reply::ok("||two.example^\n"));
    router.wait_until_blocked("two.example");
    assert_eq!(router.rcode("one.example"), ResponseCode::NoError);
    let generation = filter.status().unwrap()["generation"].clone();
    // The same text again is no reason to compile.
    let asked = server.requests().len();
    let end = Instant::now() + SOON;
    while server.requests().len() < asked + 3 {
        assert!(Instant::now() < end, "nobody asked");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(filter.status().unwrap()["generation"], generation);
    server.say(|_| Reply::with("503 Service Unavailable", &["Retry-After: 3600"], ""));
    filter
        .process()
        .wait_for_line(0, "answered 503", SOON)
        .unwrap();
    let wait_s = account(&filter)["next_refresh_s"].as_u64().unwrap();
    assert!((3590..=3960).contains(&wait_s), "{wait_s}");
    let text = nxdp(&filter, &["lists"]).stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        text.contains("failed") && text.contains("answered 503"),
        "{text}"
    );
}

#[test]
fn without_any_copy_there_is_nothing_to_start_with() {
    let router = Router::new("");
    let mut filter = Filter::spawn(&router.lab, router.folder.path(), &router.arguments()).unwrap();
    let status = filter.process_mut().wait(SOON).unwrap().unwrap();
    assert_eq!(status.code(), Some(1));
    let err = filter.process().text(Stream::Err);
    assert!(err.contains("Connection refused"), "{err}");
    assert!(
        err.contains("no list can be read: open list 'ads'"),
        "{err}"
    );
    assert!(!err.contains("attached"), "{err}");
}

#[test]
fn what_is_refused_at_the_first_start_is_told() {
    let router = Router::new("");
    let _server = router.serve("||one.example^\n||com^\n");
    let mut filter = Filter::spawn(&router.lab, router.folder.path(), &router.arguments()).unwrap();
    let status = filter.process_mut().wait(SOON).unwrap().unwrap();
    assert_eq!(status.code(), Some(1));
    let err = filter.process().text(Stream::Err);
    assert!(
        err.contains("com: ") && err.contains("[[guard.allow]]"),
        "{err}"
    );
}

#[test]
fn a_list_that_never_came_is_left_out_until_it_comes() {
    let router = Router::new("");
    fs::write(router.path("ours.txt"), "||ours.example^\n").unwrap();
    router.add_to_config("[[list]]\npath = \"ours.txt\"\n");
    let filter = router.start();
    let said = filter
        .process()
        .wait_for_line(0, "nothing of it is filtered", SOON)
        .unwrap();
    assert!(said.text.contains("Connection refused"), "{}", said.text);
    router.assert_blocked("ours.example", "one.example");
    let _server = router.serve("||one.example^\n");
    assert_ends(&nxdp(&filter, &["update"]), 0, "");
    router.assert_blocked("one.example", "two.example");
    router.assert_blocked("ours.example", "two.example");
}

#[test]
fn a_copy_that_rotted_is_left_out_and_fetched_again() {
    let router = Router::new("");
    fs::write(router.path("ours.txt"), "||ours.example^\n").unwrap();
    router.add_to_config("[[list]]\npath = \"ours.txt\"\n");
    let server = router.serve("||one.example^\n");
    let mut filter = router.start();
    filter.process_mut().end(Signal::SIGTERM, SOON).unwrap();
    drop(server);
    let copy = PathBuf::from(account_path(&router));
    let mut bytes = fs::read(&copy).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&copy, bytes).unwrap();

    let _server = router.serve("||one.example^\n");
    let filter = router.start();
    filter
        .process()
        .wait_for_line(0, "read list ", SOON)
        .unwrap();
    router.wait_until_blocked("one.example");
    assert_eq!(account(&filter)["last_try"]["outcome"], "new");
}

#[test]
fn a_copy_that_rots_while_its_rules_are_in_force_takes_none_of_them_away() {
    let router = Router::new("");
    fs::write(router.path("ours.txt"), "||ours.example^\n").unwrap();
    router.add_to_config("[[list]]\npath = \"ours.txt\"\n");
    let server = router.serve("||one.example^\n");
    let filter = router.start();
    drop(server);
    fs::write(account_path(&router), "not packed, and no list").unwrap();
    fs::write(
        router.path("ours.txt"),
        "||ours.example^\n||more.example^\n",
    )
    .unwrap();
    let said = filter
        .process()
        .wait_for_line(0, "what is in force stays", SOON)
        .unwrap();
    assert!(said.text.contains("ads"), "{}", said.text);
    router.assert_blocked("one.example", "more.example");

    let _server = router.serve("||one.example^\n");
    router.wait_until_blocked("more.example");
    router.assert_blocked("one.example", "two.example");
}

fn account_path(router: &Router) -> String {
    let mut command = Command::new(filter::binary().unwrap());
    let output = command
        .args(["lists", "--json", "--socket", "none.sock", "--config"])
        .arg(router.path("nxdp.toml"))
        .output()
        .unwrap();
    let accounts: Value = serde_json::from_slice(&output.stdout).unwrap();
    accounts["lists"][0]["path"].as_str().unwrap().to_owned()
}

#[test]
fn a_list_that_the_configuration_gains_is_fetched_and_one_that_it_loses_is_gone() {
    let router = Router::new("");
    let server = router.serve("");
    server.say(|request| match request.path.as_str() {
        "/ads.txt" => Reply::ok("||one.example^\n"),
        _ => Reply::ok("||two.example^\n"),
    });
    let filter = router.start();
    router.assert_blocked("one.example", "two.example");
    let before = fs::read_to_string(router.path("nxdp.toml")).unwrap();
    router.add_to_config(&format!(
        "[[list]]\nurl = \"https://127.0.0.1:{URL_PORT}/more.txt\"\n"
    ));
    filter.process().signal(Signal::SIGHUP).unwrap();
    router.wait_until_blocked("two.example");
    router.assert_blocked("one.example", "three.example");

    fs::write(router.path("nxdp.toml"), before).unwrap();
    let generation = filter.status().unwrap()["generation"].clone();
    filter.process().signal(Signal::SIGHUP).unwrap();
    let swapped = |status: &Value| status["generation"] != generation;
    filter.wait_for_status("the swap", swapped).unwrap();
    router.assert_blocked("one.example", "two.example");
    let output = nxdp(&filter, &["update", "--list", "more"]);
    assert_ends(
        &output,
        1,
        "no list with a `url` is called 'more': there are ads",
    );
    // Another folder of copies is another life.
    let moved = fs::read_to_string(router.path("nxdp.toml")).unwrap();
    fs::write(
        router.path("nxdp.toml"),
        moved.replace("\"cache\"", "\"other\""),
    )
    .unwrap();
    filter.process().signal(Signal::SIGHUP).unwrap();
    let refused = |status: &Value| status["last_error"].is_string();
    let status = filter.wait_for_status("the refusal", refused).unwrap();
    assert!(
        status["last_error"]
            .as_str()
            .unwrap()
            .contains("`fetch.cache`"),
        "{status}"
    );
    router.assert_blocked("one.example", "two.example");
}

#[test]
fn a_list_whose_address_changes_keeps_its_names_until_it_comes_from_the_new_one() {
    let router = Router::new("name = \"b\"");
    let server = router.serve("");
    server.say(|request| match request.path.as_str() {
        "/ads.txt" => Reply::ok("||old.example^\n"),
        _ => Reply::raw("404 Not Found", &[], ""),
    });
    let filter = router.start();
    router.assert_blocked("old.example", "new.example");
    let config = fs::read_to_string(router.path("nxdp.toml")).unwrap();
    let moved = config.replace("/ads.txt", "/moved.txt");
    fs::write(router.path("nxdp.toml"), moved).unwrap();
    assert_ends(&nxdp(&filter, &["reload"]), 0, "is in force: 1 names");
    router.assert_blocked("old.example", "new.example");
    // Also for a process that never saw the address before.
    drop(filter);
    let filter = router.start();
    router.assert_blocked("old.example", "new.example");
    server.say(|_| Reply::ok("||new.example^\n"));
    assert_ends(&nxdp(&filter, &["update"]), 0, "");
    router.wait_until_blocked("new.example");
    router.assert_blocked("new.example", "old.example");
    let copies = fs::read_dir(router.path("cache")).unwrap();
    let names = copies.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = names.filter(|name| name.ends_with(".zst")).collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_list_that_never_came_from_anywhere_is_told_by_the_reload() {
    let router = Router::new("");
    let server = router.serve("");
    server.say(|request| match request.path.as_str() {
        "/ads.txt" => Reply::ok("||one.example^\n"),
        _ => Reply::raw("404 Not Found", &[], ""),
    });
    let filter = router.start();
    router.add_to_config(&format!(
        "[[list]]\nurl = \"https://127.0.0.1:{URL_PORT}/more.txt\"\n"
    ));
    assert_ends(&nxdp(&filter, &["reload"]), 0, "list 'more' has no rule");
    router.assert_blocked("one.example", "two.example");
}

#[test]
fn the_end_does_not_wait_for_a_server() {
    let router = Router::new("");
    let server = router.serve("||one.example^\n");
    let mut filter = router.start();
    server.say(|_| Reply::ok("||two.example^\n").dripping(Duration::from_secs(1)));
    let socket = filter.socket().to_owned();
    let update = thread::spawn(move || {
        let mut command = Command::new(filter::binary().unwrap());
        command
            .args(["update", "--socket"])
            .arg(socket)
            .output()
            .unwrap()
    });
    let end = Instant::now() + SOON;
    while server.requests().len() < 2 {
        assert!(Instant::now() < end, "nobody asked");
        thread::sleep(Duration::from_millis(10));
    }
    let ended = filter
        .process_mut()
        .end(Signal::SIGTERM, Duration::from_secs(5))
        .unwrap();
    assert!(ended.success(), "{ended}");
    assert_ends(&update.join().unwrap(), 1, "");
}

#[test]
fn a_list_during_whose_try_nxdp_was_ended_is_not_asked_for_again_at_once() {
    let router = Router::new("");
    let server = router.serve("||one.example^\n");
    fs::write(router.path("own.txt"), "||own.example^\n").unwrap();
    router.add_to_config("[[list]]\npath = \"own.txt\"\n");
    let mut filter = router.start();
    server.say(|_| Reply::ok("||two.example^\n").dripping(Duration::from_secs(1)));
    let mut command = Command::new(filter::binary().unwrap());
    command.args(["update", "--socket"]).arg(filter.socket());
    let mut update = command.spawn().unwrap();
    let end = Instant::now() + SOON;
    while server.requests().len() < 2 {
        assert!(Instant::now() < end, "nobody asked");
        thread::sleep(Duration::from_millis(10));
    }
    let killed = filter.process_mut().end(Signal::SIGKILL, SOON).unwrap();
    assert!(!killed.success() && !update.wait().unwrap().success());
    drop(filter);
    // A list without a copy is asked for at every start.
    for entry in fs::read_dir(router.path("cache")).unwrap().flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|ending| ending == "zst")
        {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let filter = router.start();
    router.assert_blocked("own.example", "one.example");
    assert_eq!(server.requests().len(), 2);
    let account = account(&filter);
    let why = account["last_try"]["why"].as_str().unwrap();
    assert!(why.contains("nxdp ended before it was done"), "{account}");
    assert!(
        account["next_refresh_s"].as_u64().unwrap() <= 45,
        "{account}"
    );
}

#[test]
fn a_slow_server_keeps_no_other_list_out() {
    let router = Router::new("");
    router.add_to_config(&format!(
        "[[list]]\nurl = \"https://127.0.0.1:{URL_PORT}/slow.txt\"\n"
    ));
    let server = router.serve("");
    let answer = |version: &'static str| {
        move |request: &nxdp_lab::list_server::Request| match request.path.as_str() {
            "/slow.txt" => {
                Reply::ok("||slow.example^\n".repeat(9)).dripping(Duration::from_secs(1))
            }
            _ => Reply::ok(version),
        }
    };
    // At a first start, and in a filter that runs.
    server.say(answer("||one.example^\n"));
    let filter = router.start();
    router.assert_blocked("one.example", "slow.example");
    drop(filter);
    let filter = router.start();
    server.say(answer("||two.example^\n"));
    let mut update = Command::new(filter::binary().unwrap());
    update.args(["update", "--socket"]).arg(filter.socket());
    let mut update = update.spawn().unwrap();
    router.wait_until_blocked("two.example");
    assert_eq!(router.rcode("slow.example"), ResponseCode::NoError);
    drop(filter);
    update.wait().unwrap();
}
