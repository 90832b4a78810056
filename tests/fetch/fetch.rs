//! Lists from servers: whose word is taken, how what comes is packed, kept, and not asked
//! for again, and what happens when something breaks on this side.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::list_desk::{Desk, GOOD, assert_ends, gzip, names, zstd_of};
use nxdp_lab::{
    filter,
    list_server::{ListServer, Reply, Request},
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
/// Ends spread over the time that an update takes.
const KILLS: u32 = 40;

#[test]
fn lists_come_plain_packed_for_the_way_packed_as_files_and_both() {
    let desk = Desk::new();
    desk.configure("");
    let text = |number: u32| format!("||n{number}.example^\n{}", names(300));
    type Packed = (&'static str, fn(&[u8]) -> Vec<u8>);
    let ways: [Packed; 7] = [
        ("X-Plain: 1", <[u8]>::to_vec),
        ("Content-Encoding: gzip", gzip),
        ("Content-Encoding: zstd", zstd_of),
        ("Content-Type: application/gzip", gzip),
        ("Content-Type: application/zstd", zstd_of),
        ("Content-Encoding: gzip", |text| gzip(&zstd_of(text))),
        ("Content-Encoding: identity", <[u8]>::to_vec),
    ];
    for (number, (header, pack)) in (0u32..).zip(ways) {
        let body = pack(text(number).as_bytes());
        desk.server
            .say(move |_| Reply::with("200 OK", &[header, "X-Nothing: 1"], &body));
        let output = desk.update();
        assert_ends(&output, 0, "");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "ads: new, 301 rules\n",
            "{header}"
        );
        assert_eq!(desk.text(), text(number), "{header}");
        assert!(desk.blocks(&format!("n{number}.example")));
    }
    let body = text(9);
    desk.server
        .say(move |_| Reply::chunked(body.as_bytes(), 1000, true));
    assert_ends(&desk.update(), 0, "");
    assert_eq!(desk.text(), text(9));
    let requests = desk.server.requests();
    assert_eq!(requests[0].headers["accept-encoding"], "zstd, gzip");
    assert!(requests[0].headers["user-agent"].starts_with("nxdp/"));
}

#[test]
fn what_did_not_change_is_not_sent_again() {
    for (header, condition) in [
        ("ETag: \"v1\"", "if-none-match"),
        ("ETag: W/\"v1\"", "if-none-match"),
        (
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT",
            "if-modified-since",
        ),
    ] {
        let desk = Desk::new();
        desk.configure("");
        desk.server
            .say(move |request| match request.headers.get(condition) {
                Some(known) if header.ends_with(known.as_str()) => {
                    Reply::raw("304 Not Modified", &[], "")
                }
                _ => Reply::with("200 OK", &[header], GOOD),
            });
        assert_ends(&desk.update(), 0, "");
        let before = desk.account();
        for _ in 0..2 {
            let output = desk.update();
            assert_ends(&output, 0, "");
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                "ads: unchanged, 2 rules\n"
            );
        }
        let after = desk.account();
        assert_eq!(after["last_try"]["outcome"], "unchanged");
        assert_eq!(after["fetched_s"], before["fetched_s"]);
        assert!(after["checked_s"].as_u64() >= before["checked_s"].as_u64());
        // Whoever loses the copy gets the list.
        fs::remove_file(desk.copy()).unwrap();
        assert_ends(&desk.update(), 0, "");
        assert_eq!(desk.text(), GOOD);
    }
}

#[test]
fn the_same_text_without_a_tag_is_no_new_list() {
    let desk = Desk::with_copy();
    let before = fs::metadata(desk.copy()).unwrap().modified().unwrap();
    desk.server.say(|_| Reply::ok(gzip(GOOD.as_bytes())));
    let output = desk.update();
    assert_ends(&output, 0, "");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "ads: unchanged, 2 rules\n"
    );
    assert_eq!(
        fs::metadata(desk.copy()).unwrap().modified().unwrap(),
        before
    );
}

#[test]
fn a_304_that_was_not_asked_for_is_no_list() {
    let desk = Desk::new();
    desk.configure("");
    desk.server.say(|_| Reply::raw("304 Not Modified", &[], ""));
    assert_ends(&desk.update(), 1, "answered 304");
}

#[test]
fn redirections_are_followed_and_passwords_stay_where_they_belong() {
    let desk = Desk::new();
    desk.server.say(|request| match request.path.as_str() {
        "/1" => Reply::redirect("/a/2"),
        "/a/2" => Reply::redirect("3"),
        "/a/3" => {
            let host = request.headers["host"].replace("127.0.0.1", "127.0.0.2");
            Reply::redirect(&format!("https://{host}/4"))
        }
        _ => Reply::ok(GOOD),
    });
    let url = desk
        .server
        .url("127.0.0.1", "/1")
        .replace("https://", "https://me:secret@");
    desk.configure_list(&url, "allow_private = [\"127.0.0.0/8\"]\n", "");
    assert_ends(&desk.update(), 0, "");
    assert_eq!(desk.text(), GOOD);
    let authorized = |request: &Request| request.headers.get("authorization").cloned();
    let sent: Vec<_> = desk.server.requests().iter().map(authorized).collect();
    let secret = Some("Basic bWU6c2VjcmV0".to_owned());
    assert_eq!(sent, [secret.clone(), secret.clone(), secret, None]);
    assert!(
        !desk.account()["source"]
            .as_str()
            .unwrap()
            .contains("secret")
    );
}

#[test]
fn plain_http_is_for_those_who_ask_for_it() {
    let desk = Desk::new();
    let plain = ListServer::start(SocketAddr::from(([127, 0, 0, 1], 0)), None).unwrap();
    plain.say(|_| Reply::ok(GOOD));
    let url = plain.url("127.0.0.1", "/x");
    desk.configure_list(&url, "", "");
    assert_ends(&desk.update(), 2, "allow_http = true");
    desk.configure_list(&url, "allow_http = true\n", "");
    assert_ends(&desk.update(), 0, "");
    assert_eq!(desk.text(), GOOD);
}

#[test]
fn a_server_that_wants_patience_is_remembered() {
    let desk = Desk::with_copy();
    desk.server
        .say(|_| Reply::with("429 Too Many Requests", &["Retry-After: 7200"], ""));
    assert_ends(&desk.update(), 1, "asked too often");
    let memory = desk
        .files()
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "json"));
    let memory: Value = serde_json::from_slice(&fs::read(memory.unwrap()).unwrap()).unwrap();
    let wait = memory["not_before_s"].as_u64().unwrap() - memory["last"]["at_s"].as_u64().unwrap();
    assert!((7199..=7201).contains(&wait), "{memory}");
    // An operator who asks is no machine that asks too often.
    desk.server.say(|_| Reply::ok("||better.example^\n"));
    assert_ends(&desk.update(), 0, "");
    assert_eq!(desk.text(), "||better.example^\n");
}

#[test]
fn what_the_guards_refuse_leaves_the_copy() {
    let desk = Desk::new();
    desk.configure("");
    let first = format!("||good.example^\n{}", names(500));
    let text = first.clone();
    desk.server.say(move |_| Reply::ok(&text));
    assert_ends(&desk.update(), 0, "");
    // A length that is too small makes a part a whole: only the guards can tell.
    let text = first.clone();
    desk.server
        .say(move |_| Reply::raw("200 OK", &["Content-Length: 4372"], &text));
    let output = desk.update();
    assert_ends(&output, 1, "ads: went from 501 to 100 rules at once");
    assert_ends(&output, 1, "[[guard.allow]]");
    assert_eq!(desk.account()["last_try"]["outcome"], "refused");
    assert_eq!(desk.text(), first);
    desk.server
        .say(|_| Reply::ok("||co.uk^\n||good.example^\n".repeat(100)));
    assert_ends(&desk.update(), 1, "co.uk");
    assert_eq!(desk.text(), first);
    // The override is for whoever means this version and no other.
    desk.server.say(move |_| Reply::ok(names(100)));
    let err = String::from_utf8_lossy(&desk.update().stderr).into_owned();
    let digest = err.lines().find(|line| line.contains("digest = ")).unwrap();
    desk.configure(&format!(
        "[[guard.allow]]\nname = \"ads\"\nreason = \"they cleaned up\"\n{digest}\n"
    ));
    assert_ends(&desk.update(), 0, "");
    assert_eq!(desk.text(), names(100));
}

#[test]
fn one_list_that_is_refused_keeps_no_other_out() {
    let desk = Desk::new();
    let mut text =
        "[fetch]\ncache = \"cache\"\nca_file = \"ca.pem\"\nallow_private = [\"127.0.0.1/32\"]\n"
            .to_owned();
    for name in ["one", "two", "three"] {
        let url = desk.server.url("127.0.0.1", &format!("/{name}"));
        writeln!(text, "[[list]]\nurl = \"{url}\"").unwrap();
    }
    fs::write(desk.folder.path().join("nxdp.toml"), text).unwrap();
    desk.server.say(|request| match request.path.as_str() {
        "/one" => Reply::ok("||one.example^\n"),
        "/two" => Reply::ok("||com^\n"),
        _ => Reply::with("500 Internal Server Error", &[], ""),
    });
    let output = desk.update();
    assert_ends(&output, 1, "list 'two' from https://127.0.0.1");
    assert_ends(&output, 1, "list 'three' from https://127.0.0.1");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "one: new, 1 rules\ntwo: refused\nthree: failed\n");
    let paths: Vec<_> = desk
        .server
        .requests()
        .iter()
        .map(|request| request.path.clone())
        .collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    // Only the one that is asked for is fetched.
    let output = desk
        .update_command()
        .args(["--list", "two"])
        .output()
        .unwrap();
    assert_ends(&output, 1, "com: ");
    assert_eq!(desk.server.requests().len(), 4);
    let output = desk
        .update_command()
        .args(["--list", "four"])
        .output()
        .unwrap();
    assert_ends(
        &output,
        1,
        "no list with a `url` is called 'four': there are one, two, three",
    );
    let query = desk
        .nxdp(&["query", "one.example", "--config", "nxdp.toml"])
        .output()
        .unwrap();
    assert_ends(&query, 1, "there is no copy of https://127.0.0.1");
    assert_ends(&query, 1, "`nxdp update`");
}

#[test]
fn an_end_in_the_middle_leaves_the_copy_and_the_next_try_sweeps_up() {
    let desk = Desk::with_copy();
    let copy = fs::read(desk.copy()).unwrap();
    let slow = names(4_000);
    desk.server
        .say(move |_| Reply::ok(&slow).dripping(Duration::from_millis(5)));
    let begun = |path: &Path| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(".fetch-")
    };
    let mut child = desk
        .update_command()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + SOON;
    // That of the state is there for a moment only.
    let is_begun = || {
        let files = desk.files();
        thread::sleep(Duration::from_millis(50));
        (files.iter()).any(|path| begun(path) && path.exists())
    };
    while !is_begun() {
        assert!(Instant::now() < end, "no file was begun");
    }
    // Another one does not disturb it.
    assert_ends(&desk.update(), 1, "another nxdp fetches into it");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        desk.files().iter().any(|path| begun(path)),
        "it was in the middle"
    );
    assert_eq!(fs::read(desk.copy()).unwrap(), copy);
    assert!(desk.blocks("good.example"));
    desk.server.say(|_| Reply::ok("||better.example^\n"));
    assert_ends(&desk.update(), 0, "");
    assert!(
        !desk.files().iter().any(|path| begun(path)),
        "{:?}",
        desk.files()
    );
    assert_eq!(desk.text(), "||better.example^\n");
}

#[test]
fn an_end_at_any_moment_leaves_a_whole_copy() {
    let desk = Desk::new();
    desk.configure("");
    let list_of = |number: u32| format!("||n{number}.example^\n{}", names(2_000));
    let begin = |number| {
        let text = list_of(number);
        desk.server.say(move |_| Reply::ok(&text));
        let mut command = desk.update_command();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    let start = Instant::now();
    assert!(begin(0).wait().unwrap().success());
    let whole = start.elapsed();
    let (mut before, mut replaced) = (list_of(0), 0);
    for step in 1..=KILLS {
        let mut child = begin(step);
        thread::sleep(whole * step / KILLS * 5 / 4);
        // It may have ended by itself.
        let _ended = child.kill().and_then(|()| child.wait());
        let now = desk.text();
        assert!(
            now == before || now == list_of(step),
            "after {step} of {KILLS}"
        );
        assert!(desk.blocks(now.lines().next().unwrap().trim_matches(['|', '^'])));
        replaced += u32::from(now != before);
        before = now;
    }
    println!("{replaced} of {KILLS} were done before their end");
    assert!(replaced < KILLS, "none was ended in the middle");
    assert_ends(&desk.update(), 0, "");
    assert_eq!(desk.files().len(), 2, "{:?}", desk.files());
}

#[test]
fn a_full_disk_leaves_the_copy() {
    let desk = Desk::with_copy();
    let copy = fs::read(desk.copy()).unwrap();
    desk.server.say(|_| Reply::ok(names(20_000)));
    // A small disk of its own, which goes with the process that has it.
    let binary = filter::binary().unwrap();
    let script = format!(
        "cp -r cache kept && mount -t tmpfs -o size=64k none cache && cp kept/* cache/ && \
         {} update --config nxdp.toml --socket none.sock; code=$?; \
         cmp kept/*.zst cache/*.zst && test -z \"$(ls -A cache | grep fetch-)\" && exit $code; exit 99",
        binary.display()
    );
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", &script])
        .current_dir(desk.folder.path());
    let output = command.output().unwrap();
    assert_ends(&output, 1, "No space left on device");
    assert_eq!(fs::read(desk.copy()).unwrap(), copy);
}

#[test]
fn a_copy_that_rotted_is_noticed_and_fetched_again() {
    let desk = Desk::with_copy();
    let mut bytes = fs::read(desk.copy()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(desk.copy(), bytes).unwrap();
    let query = desk
        .nxdp(&["query", "good.example", "--config", "nxdp.toml"])
        .output()
        .unwrap();
    assert_ends(&query, 1, "read list");
    fs::remove_file(desk.copy()).unwrap();
    assert_ends(&desk.update(), 0, "");
    assert!(desk.blocks("good.example"));
}
