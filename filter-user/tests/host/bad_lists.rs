//! One bad list costs the others nothing.

use std::{fmt::Write as _, fs, os::unix::fs::MetadataExt as _, path::Path};

use filter_common::name::Name;
use filter_lists::{image::Decision, list::Kind};
use filter_user::{
    config::Config,
    pipeline::{Compiled, Error, Replacement, Request, Sources},
};

fn decision(compiled: &Compiled, text: &str) -> Decision {
    let name = Name::from_text(text.as_bytes()).unwrap();
    compiled.image.query(&name, 1, u64::MAX).decision
}

fn config(folder: &Path, text: &str) -> Config {
    let path = folder.join("nxdp.toml");
    fs::write(&path, text).unwrap();
    Config::read(&path).unwrap()
}

/// Two lists with addresses, and candidates for both: the second one is `bad`.
fn with_candidates(bad: &str, is_needed: bool) -> Result<Compiled, Error> {
    let folder = tempfile::tempdir().unwrap();
    let config = config(
        folder.path(),
        "[fetch]\ncache = \"cache\"\n\
         [[list]]\nurl = \"https://lists.example/good.txt\"\n\
         [[list]]\nurl = \"https://lists.example/bad.txt\"\n",
    );
    fs::create_dir(folder.path().join("cache")).unwrap();
    let texts = ["||new.example^\n", bad];
    let candidates: Vec<_> = config
        .lists
        .iter()
        .zip(texts)
        .map(|(list, text)| {
            fs::write(&list.path, "||old.example^\n").unwrap();
            let file = list.path.with_extension("candidate");
            fs::write(&file, text).unwrap();
            Replacement {
                path: list.path.clone(),
                file,
            }
        })
        .collect();
    let request = Request {
        replacements: &candidates,
        ..Request::default()
    };
    Sources::default().compile_with(&config, &request, is_needed, &|_| {})
}

#[test]
fn a_fetched_list_that_is_too_much_work_is_refused_and_the_others_go_on() {
    let mut bad = String::new();
    let mut skipped = "b.a.example|".repeat(300);
    skipped.pop();
    for _ in 0..900 {
        writeln!(bad, "||a.example^$denyallow={skipped}").unwrap();
    }
    let compiled = with_candidates(&bad, false).unwrap();
    assert_eq!(decision(&compiled, "new.example"), Decision::Block);
    assert_eq!(decision(&compiled, "old.example"), Decision::Block);
    assert_eq!(compiled.refused.len(), 1);
    let refused = &compiled.refused[0];
    assert!(
        refused.path.to_string_lossy().contains("bad"),
        "{refused:?}"
    );
    assert!(refused.why.contains("$denyallow"), "{refused:?}");
}

#[test]
fn a_fetched_list_that_became_unreadable_or_empty_is_refused_and_the_others_go_on() {
    for (bad, why) in [("a\0b\n", "NUL"), ("# nothing\n", "no rule")] {
        let compiled = with_candidates(bad, false).unwrap();
        assert_eq!(decision(&compiled, "new.example"), Decision::Block);
        assert!(
            compiled.refused[0].why.contains(why),
            "{:?}",
            compiled.refused
        );
    }
}

#[test]
fn a_fetched_list_with_more_rules_than_fit_is_taken_and_costs_others_nothing() {
    let mut bad = "||bad.example^\n".to_owned();
    for i in 0..40 {
        writeln!(
            bad,
            "||new.example^$dnsrewrite=NOERROR,dnstype=TYPE{}",
            300 + i
        )
        .unwrap();
    }
    let compiled = with_candidates(&bad, false).unwrap();
    assert!(compiled.refused.is_empty());
    assert_eq!(decision(&compiled, "new.example"), Decision::Block);
    assert_eq!(decision(&compiled, "bad.example"), Decision::Block);
    let report = &compiled.lists[1].report;
    assert_eq!(report.by_kind.of(Kind::Unsupported), 25);
    let told = report
        .samples
        .iter()
        .any(|sample| sample.reason.starts_with("no room"));
    assert!(told, "{:?}", report.samples);
}

#[test]
fn lists_with_an_address_lead_nobody_anywhere_unless_the_configuration_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let text =
        "||accounts.example^$dnsrewrite=203.0.113.66\n203.0.113.66 bank.example\n||ads.example^\n";
    let seen = |list: &str| {
        let toml = format!("[fetch]\ncache = \"cache\"\n[[list]]\n{list}\n");
        let config = config(folder.path(), &toml);
        fs::create_dir_all(folder.path().join("cache")).unwrap();
        fs::write(&config.lists[0].path, text).unwrap();
        let compiled = Sources::default().compile(&config, &Request::default(), &|_| {});
        let compiled = compiled.unwrap();
        let names = ["accounts.example", "bank.example", "ads.example"];
        let blocked = names.map(|name| decision(&compiled, name) == Decision::Block);
        (
            blocked,
            compiled.lists[0].report.by_kind.of(Kind::Unsupported),
        )
    };
    let url = "url = \"https://lists.example/l.txt\"";
    let (all, ads_alone) = (([true; 3], 0), ([false, false, true], 2));
    assert_eq!(seen(url), ads_alone);
    assert_eq!(seen(&format!("{url}\nrewrites = true")), all);
    // Where the operator chose the answer, the list's addresses say nothing.
    assert_eq!(seen(&format!("{url}\nanswer = \"nxdomain\"")), all);
    assert_eq!(seen("path = \"l.txt\""), all);
    assert_eq!(seen("path = \"l.txt\"\nrewrites = false"), ads_alone);
}

#[test]
fn a_zone_of_answer_triggers_alone_says_why_it_has_no_rule() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "[[list]]\npath = \"z.rpz\"\n");
    let zone = "$TTL 60\n$ORIGIN z.example.\n@ SOA ns. root. 1 2 3 4 5\n@ NS ns.\n@ TXT \"x\"\n\
        32.1.2.0.192.rpz-ip CNAME .\nns.bad.example.rpz-nsdname CNAME .\n";
    fs::write(folder.path().join("z.rpz"), zone).unwrap();
    let error = Sources::default().compile(&config, &Request::default(), &|_| {});
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("line 6: trigger that needs the answer"),
        "{error}"
    );
}

#[test]
fn a_file_that_was_written_in_place_at_the_same_time_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "[[list]]\npath = \"l.txt\"\n");
    let path = folder.path().join("l.txt");
    fs::write(&path, "one.example\n").unwrap();
    let before = fs::metadata(&path).unwrap();
    let sources = Sources::default();
    let compile = || {
        sources
            .compile(&config, &Request::default(), &|_| {})
            .unwrap()
    };
    compile();
    fs::write(&path, "two.example\n").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    let after = fs::metadata(&path).unwrap();
    let of = |m: &fs::Metadata| (m.ino(), m.len(), m.mtime(), m.mtime_nsec());
    assert_eq!(of(&before), of(&after));
    assert_eq!(decision(&compile(), "two.example"), Decision::Block);
    assert_eq!(sources.reads(), 2);
    // Whoever asks for it gets it read, whatever its times say.
    sources.forget();
    compile();
    assert_eq!(sources.reads(), 3);
}
