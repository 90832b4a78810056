//! The commands that read lists and images, as a user calls them; only the last case, which
//! watches a running filter refuse a list, needs root.
// tidy: long because each case is a list, a command and what it must say.

use std::{fs, io::Write as _, process::Command, time::Duration};

use crate::folder::Folder;

use nix::sys::signal::Signal;
use nxdp_lab::{
    filter::binary,
    lab::{LAN_INTERFACE, Lab},
};
use serde_json::Value;

const ADS: &str = "||ads.example^\n||tracker.example^\n@@||good.ads.example^\n";

#[test]
fn compile_is_reproducible_and_query_reads_what_it_wrote() {
    let folder = Folder::with(&[("ads.txt", ADS)]);
    for image in ["a.img", "b.img"] {
        folder
            .run(&format!("compile ads.txt --seed 7 -o {image}"))
            .ended(0);
    }
    folder.run("compile ads.txt --seed 8 -o c.img").ended(0);
    let bytes = |name: &str| fs::read(folder.0.path().join(name)).unwrap();
    assert_eq!(bytes("a.img"), bytes("b.img"));
    assert_ne!(bytes("a.img"), bytes("c.img"));
    let from_image = folder.run("query --image a.img x.ads.example good.ads.example other.example");
    let from_list = folder.run("query --list ads.txt x.ads.example good.ads.example other.example");
    from_image.ended(0).says(&[
        "block  x.ads.example  by ||ads.example^ (ads, ads.txt:1)",
        "allow  good.ads.example  by @@||good.ads.example^ (ads, ads.txt:3)",
        "none   other.example",
    ]);
    assert_eq!(from_image.out, from_list.out);
}

#[test]
fn a_damaged_truncated_or_foreign_image_is_refused_with_the_reason() {
    let folder = Folder::with(&[("ads.txt", ADS)]);
    folder.run("compile ads.txt -o a.img").ended(0);
    let whole = fs::read(folder.0.path().join("a.img")).unwrap();
    folder.write("cut.img", &whole[..whole.len() - 1]);
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    folder.write("damaged.img", &damaged);
    let mut future = whole.clone();
    future[8] = future[8].wrapping_add(1);
    folder.write("future.img", &future);
    for (image, reason) in [
        ("cut.img", "truncated"),
        ("damaged.img", "damaged"),
        ("future.img", "has format"),
        ("ads.txt", "not an nxdp image"),
    ] {
        folder
            .run(&format!("query --image {image} a.example"))
            .ended(1)
            .says(&[image, reason]);
    }
}

#[test]
fn strict_fails_on_invalid_lines_and_writes_the_report_but_no_image() {
    let folder = Folder::with(&[("mixed.txt", "||ads.example^\nhttps://a.example/x\n")]);
    folder.run("compile mixed.txt -o lax.img").ended(0);
    folder
        .run("compile mixed.txt --strict -o strict.img --report report.json")
        .ended(1)
        .says(&["1 invalid line", "--strict"]);
    assert!(!folder.0.path().join("strict.img").exists());
    let report = fs::read(folder.0.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    let sample = &report["lists"][0]["report"]["samples"][0];
    assert_eq!(
        (&sample["line"], &sample["kind"]),
        (&2.into(), &"invalid".into())
    );
}

#[test]
fn redundant_and_unsupported_lines_are_counted_where_they_are_and_add_up() {
    let list = "||ads.example^\nwww.ads.example\n! why\n||ads.example^\n\
                ||kids.example^$client=192.0.2.0/24\n0.0.0.0 www.ads.example b.example\n";
    let folder = Folder::with(&[("list.txt", list)]);
    let account = folder
        .run("compile list.txt --format adguard --json")
        .json();
    let report = &account["lists"][0]["report"];
    let by_kind = &report["by_kind"];
    let of = |kind: &str| by_kind[kind].as_u64().unwrap();
    assert_eq!(of("rule"), 2, "lines 1 and 6: {by_kind}");
    assert_eq!(of("redundant"), 2, "lines 2 and 4: {by_kind}");
    assert_eq!(of("unsupported"), 1, "line 5: {by_kind}");
    let sum: u64 = by_kind
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(Some(sum), report["lines"].as_u64());
    folder
        .run("compile list.txt --format adguard")
        .ended(0)
        .says(&[
            "list.txt:5:",
            "unsupported",
            "||kids.example^$client=192.0.2.0/24",
        ]);
}

#[test]
fn packed_lists_and_unpacked_ones_are_the_same() {
    let folder = Folder::with(&[("ads.txt", ADS)]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(ADS.as_bytes()).unwrap();
    folder.write("ads.gz", &gzip.finish().unwrap());
    folder.write("ads.zst", &zstd::encode_all(ADS.as_bytes(), 0).unwrap());
    for list in ["ads.txt", "ads.gz", "ads.zst"] {
        folder
            .run(&format!("query --list {list} x.tracker.example"))
            .ended(0)
            .says(&["block", &format!("{list}:2")]);
        let account = folder.run(&format!("compile {list} --json")).json();
        assert_eq!(account["names"], 3);
    }
}

#[test]
fn a_query_of_lists_without_a_name_is_a_wrong_use() {
    let folder = Folder::with(&[("a.txt", "||a.example^\n"), ("b.txt", "||b.example^\n")]);
    for command in ["query", "explain"] {
        folder
            .run(&format!("{command} -l a.txt b.txt"))
            .ended(2)
            .says(&["no name to ask for", "write a name"]);
        folder
            .run(&format!("{command} -l a.txt b.txt b.example"))
            .ended(0)
            .says(&["block  b.example"]);
    }
}

#[test]
fn what_is_no_list_is_named_with_the_way_out() {
    let folder = Folder::with(&[
        ("empty.txt", "# nothing\n"),
        ("page.html", "<!DOCTYPE html><html>"),
    ]);
    fs::create_dir(folder.0.path().join("lists")).unwrap();
    for (list, reason) in [
        ("lists", "it is a folder; name the files in it"),
        ("missing.txt", "there is no such file"),
        ("empty.txt", "no rule in 1 lines"),
        ("page.html", "HTML page"),
    ] {
        folder
            .run(&format!("compile {list}"))
            .ended(1)
            .says(&[list, reason]);
        folder
            .run(&format!("check {list}"))
            .ended(2)
            .says(&[list, reason]);
    }
    folder.run("check").ended(2).says(&["--list FILE"]);
}

#[test]
fn a_rule_for_a_top_level_domain_is_refused_with_its_line_and_the_way_out() {
    let mut list: String = (0..5000).map(|i| format!("||n{i}.example^\n")).collect();
    list.push_str("||com^\n");
    let folder = Folder::with(&[
        ("big.txt", &list),
        (
            "allow.toml",
            "[[guard.allow]]\nname = \"com\"\nreason = \"a test network\"\n",
        ),
        (
            "no-reason.toml",
            "[[guard.allow]]\nname = \"com\"\nreason = \" \"\n",
        ),
    ]);
    let way_out = [
        "||com^",
        "big.txt:5001",
        "[[guard.allow]]",
        "name = \"com\"",
        "reason = ",
    ];
    folder
        .run("compile big.txt -o big.img")
        .ended(1)
        .says(&way_out);
    assert!(!folder.0.path().join("big.img").exists());
    folder.run("check big.txt").ended(2).says(&way_out);
    folder
        .run("query --list big.txt a.com")
        .ended(0)
        .says(&["block  a.com"]);
    folder
        .run("compile big.txt --config allow.toml -o big.img")
        .ended(0)
        .says(&["a test network"]);
    folder
        .run("check big.txt --config no-reason.toml")
        .ended(2)
        .says(&["no reason"]);
}

#[test]
fn one_override_accepts_all_that_a_rule_hits() {
    let list = "||digicert.com^\n||ads.example^\n";
    let folder = Folder::with(&[
        ("list.txt", list),
        (
            "allow.toml",
            "[[guard.allow]]\nname = \"DigiCert.com\"\nreason = \"checked\"\n",
        ),
    ]);
    let refused = folder.run("check list.txt");
    refused
        .ended(2)
        .says(&["ocsp.digicert.com", "list.txt:1", "name = \"digicert.com\""]);
    assert_eq!(refused.err.matches("[[guard.allow]]").count(), 1);
    folder.run("check list.txt --config allow.toml").ended(0);
}

#[test]
fn names_that_must_and_must_not_be_blocked_are_held_to_their_files() {
    let config = "[[list]]\npath = \"ads.txt\"\ncategory = \"ads\"\n[guard]\n\
                  must_not_block = [\"bank.txt\"]\nmust_block = [{ category = \"ads\", file = \"ads-must.txt\" }]\n";
    let folder = Folder::with(&[
        ("ads.txt", "||ads.example^\n||bank.example^\n"),
        ("bank.txt", "# ours\nwww.bank.example\n"),
        ("ads-must.txt", "tracker.example\n"),
        ("nxdp.toml", config),
    ]);
    folder.run("check --config nxdp.toml").ended(2).says(&[
        "www.bank.example: is blocked, but",
        "bank.txt:2 says that it must not be",
        "ads.txt:2",
        "tracker.example: is not blocked",
        "ads-must.txt:1",
    ]);
    folder.write("ads.txt", b"||ads.example^\n||tracker.example^\n");
    folder.run("check --config nxdp.toml").ended(0);
    folder.write("bank.txt", b"www.bank.example\nno name here\n");
    folder
        .run("check --config nxdp.toml")
        .ended(2)
        .says(&["bank.txt", "line 2"]);
}

#[test]
fn an_order_is_held_against_what_policies_select_beside_its_category() {
    let config = "[[list]]\npath = \"orders.txt\"\ncategory = \"orders\"\n\
                  [[list]]\npath = \"malware.txt\"\ncategory = \"malware\"\n\
                  [category.mine]\nnames = [\"mine.txt\"]\n\
                  [policy.default]\nblock = [\"orders\"]\n\
                  [policy.secure]\nclients = [\"192.0.2.0/24\"]\nblock = [\"orders\", \"malware\", \"mine\"]\n\
                  [guard]\nmust_block = [{ category = \"orders\", file = \"must.txt\" }]\n";
    let folder = Folder::with(&[
        ("orders.txt", "||bad.order.example^\n"),
        ("malware.txt", "||mal.example^\n"),
        ("mine.txt", ""),
        ("must.txt", "bad.order.example\n"),
        ("nxdp.toml", config),
    ]);
    folder.run("check --config nxdp.toml").ended(0);
    for (file, line) in [
        ("malware.txt", "@@||bad.order.example^"),
        ("malware.txt", "@@||example^$important"),
        ("malware.txt", "@@||bad.order.example^$dnstype=AAAA"),
        ("malware.txt", "@@||www.bad.order.example^"),
        ("malware.txt", "||bad.order.example^$dnsrewrite=192.0.2.99"),
        ("mine.txt", "@@||bad.order.example^"),
        ("mine.txt", "@@||www.bad.order.example^"),
    ] {
        let before = std::fs::read(folder.0.path().join(file)).unwrap();
        folder.write(file, format!("||mal.example^\n{line}\n").as_bytes());
        folder.run("check --config nxdp.toml").ended(2).says(&[
            "bad.order.example: is ",
            "must.txt:1 says that",
            &format!("{file}:2"),
        ]);
        folder.write(file, &before);
    }
    // Where no policy selects both, nothing is lifted.
    folder.write("malware.txt", b"@@||bad.order.example^\n||mal.example^\n");
    let apart = config.replace("\"orders\", \"malware\", \"mine\"", "\"malware\"");
    folder.write("nxdp.toml", apart.as_bytes());
    folder.run("check --config nxdp.toml").ended(0);
}

#[test]
fn a_list_that_shrank_is_refused_against_the_image_before() {
    let names = |count: u32| {
        (0..count)
            .map(|i| format!("n{i}.example\n"))
            .collect::<String>()
    };
    let folder = Folder::with(&[("list.txt", &names(1000))]);
    folder.run("compile list.txt -o old.img").ended(0);
    folder.write("list.txt", names(400).as_bytes());
    folder
        .run("compile list.txt --previous old.img -o new.img")
        .ended(1)
        .says(&["went from 1000 to 400 rules", "name = \"list\""]);
    folder.run("compile list.txt -o new.img").ended(0);
    folder.write(
        "limits.toml",
        b"[guard]\nmax_shrink_percent = 70\n[[list]]\npath = \"list.txt\"\n",
    );
    folder
        .run("compile --config ./limits.toml --previous new.img -o again.img")
        .ended(0);
}

#[test]
fn the_override_that_a_refused_size_tells_accepts_this_size_and_not_the_next() {
    let names = |count: u32| {
        (0..count)
            .map(|i| format!("n{i}.example\n"))
            .collect::<String>()
    };
    let config = "[[list]]\npath = \"list.txt\"\n";
    let folder = Folder::with(&[("list.txt", &names(1000)), ("c.toml", config)]);
    let compile =
        |image: &str| folder.run(&format!("compile -c c.toml --previous old.img -o {image}"));
    folder.run("compile -c c.toml -o old.img").ended(0);
    folder.write("list.txt", names(400).as_bytes());
    let refused = compile("new.img");
    refused.ended(1).says(&["digest = \""]);
    let at = refused.err.find("  [[guard.allow]]").unwrap();
    let pasted = format!("{config}{}", &refused.err[at..]);
    folder.write("c.toml", pasted.as_bytes());
    compile("new.img").ended(0).says(&["overridden", "say why"]);
    folder.write("list.txt", names(399).as_bytes());
    compile("next.img")
        .ended(1)
        .says(&["went from 1000 to 399 rules"]);
}

#[test]
fn an_unknown_key_is_refused_with_the_known_one_that_was_meant() {
    let folder = Folder::with(&[("ads.txt", ADS)]);
    for (config, meant) in [
        (
            "[[list]]\npath = \"ads.txt\"\ncategry = \"ads\"\n",
            "did you mean `category`?",
        ),
        ("anwser = \"null\"\n", "did you mean `answer`?"),
        ("answer = \"nxdomian\"\n", "did you mean `nxdomain`?"),
        ("ede = \"censord\"\n", "did you mean `censored`?"),
        (
            "[guard]\nmust_not_blok = []\n",
            "did you mean `must_not_block`?",
        ),
    ] {
        folder.write("nxdp.toml", config.as_bytes());
        folder
            .run("check --config nxdp.toml --list ads.txt")
            .ended(2)
            .says(&["nxdp.toml", "unknown", meant]);
    }
}

#[test]
fn check_shows_the_lists_as_they_take_effect() {
    let config = "answer = \"null\"\n[[list]]\npath = \"ads.txt\"\nname = \"Ads\"\ncategory = \"ads\"\n\
                  answer = \"refused\"\nscope = \"exact\"\nede = 16\nttl_s = 5\ntext = \"why\"\n\
                  [[list]]\npath = \"more.txt\"\n";
    let folder = Folder::with(&[
        ("ads.txt", ADS),
        ("more.txt", "a.example\n"),
        ("c.toml", config),
    ]);
    let shown = folder.run("check -c c.toml");
    shown.ended(0);
    let row = |name: &str| {
        let line = shown
            .out
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap();
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        row("Ads")[..7],
        ["Ads", "adguard", "exact", "ads", "refused", "3", "3"]
    );
    assert_eq!(
        row("more")[..7],
        ["more", "domains", "as-format", "every", "null*", "1", "1"]
    );
    let object = folder.run("check -c c.toml --json").json();
    assert_eq!(object["lists"][0]["category"], "ads");
}

#[test]
fn explain_names_every_rule_that_touches_a_name_and_why_it_lost() {
    let list =
        "||ads.example^\n|x.ads.example^\n@@||x.ads.example^$dnstype=AAAA\n*.x.ads.example\n";
    let folder = Folder::with(&[("list.txt", list)]);
    let a = folder.run("explain --list list.txt --format adguard x.ads.example --type A");
    a.ended(0).says(&[
        "block  x.ads.example  by",
        "not by @@||x.ads.example^$dnstype=AAAA (list, list.txt:3, suffix, every category): is not for this query type",
    ]);
    let aaaa = folder.run("explain --list list.txt --format adguard x.ads.example -t AAAA");
    aaaa.ended(0).says(&[
        "allow  x.ads.example  by @@||x.ads.example^$dnstype=AAAA (list, list.txt:3, suffix, every category)",
        "not by ||ads.example^ (list, list.txt:1, suffix, every category): a rule of higher priority matches",
    ]);
    folder
        .run("explain --list list.txt x.ads.example --type NOPE")
        .ended(2)
        .says(&["NOPE", "AAAA"]);
}

#[test]
fn explain_tells_list_line_category_and_scope_of_every_rule() {
    let config = "[[list]]\npath = \"ads.txt\"\ncategory = \"ads\"\n\
                  [[list]]\npath = \"kids.txt\"\nformat = \"adguard\"\ncategory = \"kids\"\n\
                  [[list]]\npath = \"more.txt\"\nscope = \"suffix\"\n";
    let folder = Folder::with(&[
        ("c.toml", config),
        ("ads.txt", "0.0.0.0 x.example\n"),
        ("kids.txt", "||example^$client=192.0.2.0/24\n*.x.example\n"),
        ("more.txt", "x.example\n"),
    ]);
    folder
        .run("explain -c c.toml x.example --client 192.0.2.7")
        .ended(0)
        .says(&[
            "block  x.example  by |x.example^ (ads, ads.txt:1, exact, category ads)",
            "not by ||x.example^ (more, more.txt:1, suffix, every category): a rule of equal rank",
            "not by *.x.example (kids, kids.txt:2, subs, category kids): ",
            "not by ||example^$client=192.0.2.0/24 (kids, kids.txt:1, suffix, category kids): is for this client",
        ]);
    folder
        .run("explain -c c.toml x.example --client 02:00:00:00:00:01")
        .ended(0)
        .says(&["kids.txt:1, suffix, category kids): is for other clients"]);
    let object = folder.run("explain -c c.toml x.example --json").json();
    let keys = ["rule", "scope", "list", "category", "path", "line"];
    let row = |value: &Value| keys.map(|key| value[key].to_string());
    assert_eq!(object["verdict"], "block");
    assert_eq!(
        row(&object),
        [
            "\"|x.example^\"",
            "\"exact\"",
            "\"ads\"",
            "\"ads\"",
            "\"ads.txt\"",
            "1"
        ]
    );
    let others = object["others"].as_array().unwrap();
    assert_eq!(others.len(), 3);
    let of_more = others.iter().find(|other| other["list"] == "more");
    let of_more = of_more.unwrap();
    assert_eq!(row(of_more)[1..4], ["\"suffix\"", "\"more\"", "null"]);
    assert!(of_more["lost_because"].is_string());
    folder
        .run("explain -c c.toml x.example --client tablet")
        .ended(2)
        .says(&["'tablet' is no address", "192.0.2.7"]);
}

#[test]
fn query_and_explain_state_the_answer_for_the_type_that_is_asked_and_the_line_it_is_from() {
    let folder = Folder::with(&[(
        "l.txt",
        "192.0.2.3 a.test\n2001:db8::3 a.test\n||b.test^$all\n||c.test^$dnsrewrite=0.0.0.0\n",
    )]);
    for (qtype, answer) in [
        (
            "A",
            "|a.test^$answer=192.0.2.3+2001:db8::3 (l, l.txt:1)  -> 192.0.2.3",
        ),
        ("AAAA", "(l, l.txt:1)  -> 2001:db8::3"),
        ("TXT", "(l, l.txt:1)  -> nodata"),
    ] {
        let asked = folder.run(&format!("query --list l.txt --type {qtype} a.test"));
        asked.ended(0).says(&[answer]);
    }
    let far_apart = "192.0.2.3 a.test\n192.0.2.9 other.test\n2001:db8::3 a.test\n";
    folder.write("l.txt", far_apart.as_bytes());
    let of = |qtype: &str| folder.run(&format!("explain --list l.txt --type {qtype} a.test"));
    of("A").ended(0).says(&[
        "l.txt:1, exact, every category)  -> 192.0.2.3",
        "written: 192.0.2.3 a.test",
        "l.txt:3, exact, every category): gives the same answer an address of another type",
    ]);
    of("AAAA").ended(0).says(&[
        "l.txt:3, exact, every category)  -> 2001:db8::3",
        "written: 2001:db8::3 a.test",
    ]);
    let object = folder
        .run("query --list l.txt -t AAAA a.test --json")
        .json();
    assert_eq!(
        (&object["answer"], &object["line"]),
        (&"2001:db8::3".into(), &3.into())
    );
}

#[test]
fn explain_shows_rules_as_their_authors_wrote_them() {
    let folder = Folder::with(&[("l.txt", "! list\n||b.test^$all\n@@|b.test|\n")]);
    folder.run("explain --list l.txt b.test").ended(0).says(&[
        "allow  b.test  by @@|b.test^ (l, l.txt:3, exact, every category)",
        "written: @@|b.test|",
        "not by ||b.test^ (l, l.txt:2, suffix, every category)",
        "written: ||b.test^$all",
    ]);
    let object = folder.run("explain --list l.txt b.test --json").json();
    assert_eq!(object["written"], "@@|b.test|");
    assert_eq!(object["others"][0]["written"], "||b.test^$all");
    folder
        .run("query --list l.txt .")
        .ended(0)
        .says(&["none   ."]);
}

#[test]
fn diff_tells_names_where_the_list_is_at_hand_and_no_category_for_lists_of_all() {
    let config =
        "[[list]]\npath = \"every.txt\"\n[[list]]\npath = \"ads.txt\"\ncategory = \"ads\"\n";
    let folder = Folder::with(&[
        ("every.txt", "||a.example^\n"),
        ("ads.txt", "||b.example^\n"),
        ("c.toml", config),
    ]);
    folder.run("compile -c c.toml -o old.img").ended(0);
    folder.write("every.txt", b"||a.example^\n||new.example^\n");
    folder.run("compile -c c.toml -o new.img").ended(0);
    let told = folder.run("diff old.img new.img");
    told.ended(0).says(&["new: new.example"]);
    assert!(
        !told.out.contains("category 0") && !told.out.contains("new in line"),
        "{}",
        told.out
    );
    let object = folder.run("diff old.img new.img --json").json();
    assert_eq!(object["lists"]["every"]["added_names"][0], "new.example");
}

#[test]
fn one_permission_accepts_all_suffixes_of_a_list_and_shows_what_it_covers() {
    let domains = [
        "zip", "mov", "xyz", "top", "icu", "cyou", "buzz", "rest", "cfd", "sbs", "bond",
    ];
    let text: String = domains.iter().map(|name| format!("||{name}^\n")).collect();
    let list = "[[list]]\npath = \"domains.txt\"\n";
    let allow =
        "[[guard.allow]]\nlist = \"domains\"\nkind = \"single-label\"\nreason = \"meant\"\n";
    let folder = Folder::with(&[
        ("domains.txt", &text),
        ("without.toml", list),
        ("with.toml", &format!("{list}{allow}")),
        (
            "wrong.toml",
            &format!("{list}{}", allow.replace("single-label", "protected")),
        ),
        (
            "none.toml",
            &format!("{list}{}", allow.replace("domains", "other")),
        ),
    ]);
    folder
        .run("check -c without.toml")
        .ended(2)
        .says(&["kind = \"single-label\"  # 11 findings"]);
    folder.run("check -c with.toml").ended(0).says(&[
        "overridden (single-label): 11 rules of list 'domains', such as ",
        "allowed because: meant",
    ]);
    folder
        .run("check -c wrong.toml")
        .ended(2)
        .says(&["'protected' is not accepted for a whole list"]);
    folder
        .run("check -c none.toml")
        .ended(2)
        .says(&["there is no list 'other'"]);
}

#[test]
fn diff_tells_names_per_list_and_category_and_popular_verdicts() {
    let config = "[[list]]\npath = \"ads.txt\"\ncategory = \"ads\"\n";
    let folder = Folder::with(&[
        ("ads.txt", "||a.example^\n||b.example^\n"),
        ("c.toml", config),
        (
            "popular.txt",
            "1,www.b.example\n2,www.c.example\n3,other.example\n",
        ),
    ]);
    folder.run("compile -c c.toml -o old.img").ended(0);
    folder.write("ads.txt", b"||a.example^\n||c.example^\n||d.example^\n");
    folder.run("compile -c c.toml -o new.img").ended(0);
    let told = folder.run("diff old.img new.img --popular popular.txt");
    told.ended(0).says(&[
        "total: 2 -> 3 names, 2 added, 1 removed, 0 changed",
        "list ads: 2 -> 3 names, 2 added, 1 removed, 0 changed",
        "category ads: 2 -> 3 names, 2 added, 1 removed, 0 changed",
        "gone from line 2",
        "popular www.b.example: block -> none by ||b.example^ (ads, line 2)",
        "popular www.c.example: none -> block by ||c.example^ (ads, line 2)",
    ]);
    assert!(!told.out.contains("other.example"));
    let object = folder
        .run("diff old.img new.img --popular popular.txt --json")
        .json();
    assert_eq!(object["total"]["added"], 2);
    assert_eq!(object["categories"]["ads"]["removed"], 1);
    assert_eq!(object["popular"].as_array().unwrap().len(), 2);
}

#[test]
fn features_tells_about_an_interface_and_names_those_there_are() {
    let folder = Folder::with(&[]);
    let object = folder.run("features lo --json").json();
    assert_eq!(object["interface"]["name"], "lo");
    folder.run("features lo").ended(0).says(&["what to do"]);
    folder
        .run("features nowhere0")
        .ended(1)
        .says(&["nowhere0", "lo"]);
}

#[test]
fn a_running_filter_keeps_its_lists_when_the_guards_refuse_new_ones() {
    const SOON: Duration = Duration::from_secs(20);
    let names = |count: u32| {
        (0..count)
            .map(|i| format!("||n{i}.example^\n"))
            .collect::<String>()
    };
    let folder = Folder::with(&[("list.txt", &names(500))]);
    let path = |name: &str| folder.0.path().join(name);
    let lab = Lab::new().unwrap();
    let mut run = Command::new(binary().unwrap());
    run.args(["run", "--mode", "skb", "--interface", LAN_INTERFACE])
        .arg(path("list.txt"))
        .arg("--socket")
        .arg(path("nxdp.sock"));
    let mut filter = lab.router().spawn(run).unwrap();
    filter.wait_for_line(0, "attached", SOON).unwrap();
    let decisions = || {
        let status = folder.run("status --json --socket nxdp.sock").json();
        (status["generation"].clone(), status["names"].clone())
    };
    let before = decisions();
    for (text, reason) in [
        (names(500) + "||com^\n", "||com^"),
        (names(100), "went from 500 to 100 rules"),
    ] {
        let seen = filter.lines().len();
        folder.write("list.txt", text.as_bytes());
        let told = filter.wait_for_line(seen, "reload failed", SOON).unwrap();
        assert!(told.text.contains("stay in force"), "{}", told.text);
        filter.wait_for_line(seen, reason, SOON).unwrap();
        assert_eq!(decisions(), before);
    }
    let seen = filter.lines().len();
    folder.write("list.txt", names(600).as_bytes());
    filter
        .wait_for_line(seen, "generation 2 active: 600 names", SOON)
        .unwrap();
    filter.end(Signal::SIGTERM, SOON).unwrap();
}
