//! Lists from servers that do not mean well: the copy that was there stays, the error
//! says why, and the exit code tells.

use std::{fs, net::SocketAddr, time::Duration};

use crate::list_desk::{Desk, GOOD, assert_ends, gzip, names, zstd_of};
use nxdp_lab::list_server::{Identity, ListServer, Reply, Request};
use serde_json::Value;

/// What a server does, and what is said of it.
struct Hostile {
    what: &'static str,
    reply: Box<dyn Fn(&Request) -> Reply + Send>,
    fetch: &'static str,
    says: &'static str,
}

fn hostile(
    what: &'static str,
    says: &'static str,
    reply: impl Fn(&Request) -> Reply + Send + 'static,
) -> Hostile {
    Hostile {
        what,
        reply: Box::new(reply),
        fetch: "",
        says,
    }
}

fn bounded(
    what: &'static str,
    fetch: &'static str,
    says: &'static str,
    reply: impl Fn(&Request) -> Reply + Send + 'static,
) -> Hostile {
    Hostile {
        fetch,
        ..hostile(what, says, reply)
    }
}

fn assert_all_are_refused(table: Vec<Hostile>) {
    for case in table {
        let desk = Desk::with_copy();
        let (before, files) = (fs::read(desk.copy()).unwrap(), desk.files());
        desk.server.say(case.reply);
        desk.configure(case.fetch);
        let output = desk.update();
        println!("{}: {}", case.what, String::from_utf8_lossy(&output.stderr));
        assert_ends(&output, 1, case.says);
        assert_ends(&output, 1, "list 'ads' from https://127.0.0.1:");
        assert_eq!(fs::read(desk.copy()).unwrap(), before, "{}", case.what);
        assert_eq!(desk.files(), files, "{}", case.what);
        assert!(desk.blocks("good.example"), "{}", case.what);
        let account = desk.account();
        assert_eq!(account["last_try"]["outcome"], "failed", "{}", case.what);
        assert_eq!(account["rules"], 2);
        // And it is forgiven.
        desk.server.say(|_| Reply::ok("||better.example^\n"));
        desk.configure("");
        assert_ends(&desk.update(), 0, "");
        assert_eq!(desk.text(), "||better.example^\n", "{}", case.what);
    }
}

#[test]
fn a_list_that_does_not_arrive_whole_is_no_list() {
    let long = || names(2_000);
    assert_all_are_refused(vec![
        hostile(
            "ends too early",
            "the connection ended before the list did",
            |_| Reply::raw("200 OK", &["Content-Length: 9999"], GOOD),
        ),
        hostile(
            "is cut off",
            "the connection ended before the list did",
            |_| Reply::raw("200 OK", &["Content-Length: 9999"], GOOD).cut(),
        ),
        hostile(
            "lacks the last chunk",
            "the connection ended before the list did",
            |_| Reply::chunked(GOOD.as_bytes(), 10, false),
        ),
        hostile("has no length", "does not say how long the list is", |_| {
            Reply::raw("200 OK", &["Connection: close"], GOOD)
        }),
        hostile("is a cut archive", "read list after", move |_| {
            let packed = gzip(long().as_bytes());
            Reply::ok(&packed[..packed.len() / 2])
        }),
        hostile("is a damaged archive", "corrupt", |_| {
            let mut packed = gzip(names(2_000).as_bytes());
            let middle = packed.len() / 2;
            packed[middle..middle + 40].fill(0x55);
            Reply::with("200 OK", &["Content-Encoding: gzip"], packed)
        }),
        hostile("is a part", "answered 206", |_| {
            Reply::with(
                "206 Partial Content",
                &["Content-Range: bytes 0-9/100"],
                GOOD,
            )
        }),
        bounded(
            "drips",
            "timeout = \"1s\"",
            "the whole list took longer than 1s",
            |_| Reply::ok(GOOD).dripping(Duration::from_millis(50)),
        ),
        hostile("is no HTTP", "read from 127.0.0.1", |_| {
            Reply::raw("", &[], "SSH-2.0-x\r\n")
        }),
        hostile("has too many headers", "read from 127.0.0.1", |_| {
            let header = format!("X: {}", "x".repeat(1000));
            Reply::with("200 OK", &vec![header.as_str(); 200], GOOD)
        }),
    ]);
}

#[test]
fn a_list_that_would_fill_memory_or_disk_is_no_list() {
    let zeros = || vec![b' '; 8 << 20];
    assert_all_are_refused(vec![
        hostile("a gzip bomb", "unpacks to more than 250 times", move |_| {
            Reply::ok(gzip(&zeros()))
        }),
        hostile(
            "a zstd bomb on the way",
            "unpacks to more than 250 times",
            move |_| Reply::with("200 OK", &["Content-Encoding: zstd"], zstd_of(&zeros())),
        ),
        bounded(
            "a bomb by a lower ratio",
            "max_ratio = 2",
            "more than 2 times",
            |_| {
                let text = names(1).repeat(40_000);
                Reply::ok(zstd_of(text.as_bytes()))
            },
        ),
        hostile(
            "one line for ever",
            "unpacks to more than 250 times",
            |_| Reply::ok(names(1).repeat(100_000)),
        ),
        hostile("three layers", "packed more than twice", |_| {
            Reply::ok(gzip(&zstd_of(&gzip(GOOD.as_bytes()))))
        }),
        bounded(
            "too long by its header",
            "max_transfer_mib = 1",
            "larger than 1 MiB on the wire",
            |_| Reply::raw("200 OK", &["Content-Length: 1048577"], GOOD),
        ),
        bounded(
            "too long in chunks",
            "max_transfer_mib = 1",
            "larger than 1 MiB on the wire",
            |_| Reply::chunked(names(40_000).as_bytes(), 16_000, true),
        ),
        bounded(
            "too long unpacked",
            "max_text_mib = 1",
            "larger than 1 MiB unpacked",
            |_| Reply::ok(gzip(names(40_000).as_bytes())),
        ),
        bounded(
            "too many lines",
            "max_lines = 99",
            "100 lines, more than 99",
            |_| Reply::ok(names(100)),
        ),
        bounded(
            "too many rules",
            "max_rules = 99",
            "100 rules, more than 99",
            |_| Reply::ok(names(100)),
        ),
        hostile(
            "an encoding that was not asked for",
            "encoded as 'br'",
            |_| Reply::with("200 OK", &["Content-Encoding: br"], GOOD),
        ),
    ]);
}

#[test]
fn something_else_than_a_list_is_no_list() {
    assert_all_are_refused(vec![
        hostile("a page", "HTML page", |_| {
            let page = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n";
            Reply::with("200 OK", &["Content-Type: text/html"], page)
        }),
        hostile("a packed page", "HTML page", |_| {
            Reply::ok(gzip(b"\n <html><p>Welcome to the hotel</p></html>"))
        }),
        hostile("JSON", "no rule in 1 lines", |_| {
            Reply::ok("{\"error\": \"not found\"}\n")
        }),
        hostile("prose", "no rule", |_| {
            Reply::ok("Dear customer,\nyour line was closed.\n")
        }),
        hostile("nothing", "no rule in 0 lines", |_| Reply::ok("")),
        hostile("comments", "no rule in 2 lines", |_| {
            Reply::ok("! a\n! b\n")
        }),
        hostile("one line that is too long", "line 1: ", |_| {
            Reply::ok("a.example ".repeat(1000))
        }),
        hostile(
            "mostly something else",
            "3 invalid lines and 1 rules",
            |_| Reply::ok("a.example\n<<<\n{{{\n)))\n"),
        ),
        hostile("binary", "NUL byte", |_| Reply::ok(b"a.example\n\0\0\0\n")),
        hostile("UTF-16", "UTF-16", |_| Reply::ok(b"\xff\xfea\0.\0b\0\n\0")),
        hostile("terminal codes", "cannot be in a name", |_| {
            Reply::ok("\x1b[2J\x1b[31m ,;: x\n")
        }),
    ]);
}

#[test]
fn a_server_that_refuses_is_told_by_its_status() {
    assert_all_are_refused(vec![
        hostile("gone", "answered 404: the list is not there", |_| {
            Reply::with("404 Not Found", &[], GOOD)
        }),
        hostile("forbidden", "answered 403", |_| {
            Reply::with("403 Forbidden", &[], GOOD)
        }),
        hostile("asked too often", "answered 429: asked too often", |_| {
            Reply::with("429 Too Many Requests", &["Retry-After: 3600"], "")
        }),
        hostile("overloaded", "answered 503", |_| {
            Reply::with("503 Service Unavailable", &[], "")
        }),
        hostile("nothing to say", "answered 204", |_| {
            Reply::raw("204 No Content", &[], "")
        }),
    ]);
}

#[test]
fn redirections_lead_to_admitted_addresses_over_https_only() {
    let port = |request: &Request| {
        request.headers["host"]
            .rsplit(':')
            .next()
            .unwrap()
            .to_owned()
    };
    let to = move |place: &'static str| {
        move |request: &Request| {
            // Whoever follows gets a list.
            match request.headers["host"].starts_with("127.0.0.1")
                && request.path == "/lists/ads.txt"
            {
                true => Reply::redirect(&place.replace("PORT", &port(request))),
                false => Reply::ok("||stolen.example^\n"),
            }
        }
    };
    assert_all_are_refused(vec![
        hostile(
            "to another loopback address",
            "127.0.0.2 is no public address",
            to("https://127.0.0.2:PORT/x"),
        ),
        hostile(
            "to IPv6 loopback",
            "::1 is no public address",
            to("https://[::1]:PORT/x"),
        ),
        hostile(
            "to a mapped address",
            "no public address",
            to("https://[::ffff:127.0.0.2]:PORT/x"),
        ),
        hostile(
            "to a number",
            "127.0.0.2 is no public address",
            to("https://2130706434:PORT/x"),
        ),
        hostile(
            "to http",
            "can change what comes by http",
            to("http://127.0.0.1:PORT/x"),
        ),
        hostile(
            "to a file",
            "lists are fetched by https only",
            to("file:///etc/passwd"),
        ),
        hostile("to nowhere", "does not say where to", |_| {
            Reply::with("302 Found", &[], "")
        }),
        hostile(
            "round and round",
            "one redirection too many",
            to("/lists/ads.txt"),
        ),
    ]);
}

#[test]
fn a_name_is_judged_by_what_it_resolves_to() {
    let desk = Desk::new();
    desk.server.say(
        |request| match request.headers["host"].starts_with("localhost") {
            false => {
                let port = request.headers["host"].rsplit(':').next().unwrap();
                Reply::redirect(&format!("https://localhost:{port}/x"))
            }
            true => Reply::ok(GOOD),
        },
    );
    let localhost = desk.server.url("localhost", "/x");
    desk.configure_list(&localhost, "allow_private = []\n", "");
    assert_ends(&desk.update(), 1, "connect to localhost: ");
    assert_ends(&desk.update(), 1, "is no public address");
    assert_eq!(desk.server.requests().len(), 0);

    let other = desk.server.url("127.0.0.2", "/x");
    desk.configure_list(&other, "allow_private = [\"127.0.0.2/32\"]\n", "");
    assert_ends(
        &desk.update(),
        1,
        "connect to localhost: 127.0.0.1 is no public address",
    );
    assert_eq!(desk.server.requests().len(), 1);

    desk.configure_list(&other, "allow_private = [\"127.0.0.0/8\"]\n", "");
    assert_ends(&desk.update(), 0, "");
    assert_eq!(desk.text(), GOOD);
}

#[test]
fn a_server_that_is_somebody_else_is_not_believed() {
    let wrong = Desk::with(Identity::of(&["other.example"]).unwrap());
    wrong.server.say(|_| Reply::ok(GOOD));
    wrong.configure("");
    assert_ends(
        &wrong.update(),
        1,
        "trust 127.0.0.1: invalid peer certificate",
    );
    let expired = Desk::with(Identity::expired(&["127.0.0.1"]).unwrap());
    expired.server.say(|_| Reply::ok(GOOD));
    expired.configure("");
    assert_ends(&expired.update(), 1, "is the clock of this machine right?");
    let unknown = Desk::new();
    unknown.server.say(|_| Reply::ok(GOOD));
    let another = Identity::of(&["127.0.0.1"]).unwrap();
    fs::write(unknown.folder.path().join("another.pem"), another.pem()).unwrap();
    unknown.configure("ca_file = \"another.pem\"\n");
    assert_ends(
        &unknown.update(),
        1,
        "with `ca_file` in [fetch] if you trust it",
    );
    for desk in [wrong, expired, unknown] {
        assert_eq!(desk.server.requests().len(), 0, "nothing was asked of it");
        assert_eq!(desk.account()["bytes"], Value::Null);
    }
}

#[test]
fn certificates_that_are_none_are_told_as_such() {
    let desk = Desk::new();
    fs::write(desk.folder.path().join("empty.pem"), "hello\n").unwrap();
    desk.configure("ca_file = \"empty.pem\"\n");
    assert_ends(&desk.update(), 1, "empty.pem': no certificate in it");
    desk.configure("ca_file = \"nowhere.pem\"\n");
    assert_ends(&desk.update(), 1, "nowhere.pem': No such file");
}

#[test]
fn a_server_that_is_gone_leaves_the_copy() {
    let desk = Desk::with_copy();
    let Desk {
        server,
        identity,
        folder,
    } = desk;
    let address = server.address();
    drop(server);
    let idle = ListServer::start(SocketAddr::from(([127, 0, 0, 3], 0)), Some(&identity)).unwrap();
    let desk = Desk {
        server: idle,
        identity,
        folder,
    };
    let output = desk.update();
    assert_ends(&output, 1, "connect to 127.0.0.1: Connection refused");
    assert_ends(
        &output,
        1,
        &format!("from https://127.0.0.1:{}/lists/ads.txt", address.port()),
    );
    assert_eq!(desk.text(), GOOD);
    assert!(desk.blocks("good.example"));
}
