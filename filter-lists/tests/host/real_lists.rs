//! The list parsers against real lists, where there are any.

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
};

use filter_lists::{
    list::{Format, Kind, Options, Report, parse},
    rule::Rule,
};

/// The folder of real lists; `None`, told aloud, where there is none.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("NXDP_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let lists = folder.join("lists");
    if lists.is_dir() {
        return Some(lists);
    }
    eprintln!(
        "skipped: no real lists at {} (set NXDP_DATA)",
        lists.display()
    );
    None
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("read folder") {
        let path = entry.expect("read folder").path();
        if path.is_dir() {
            files_below(&path, files);
        // An archive is many lists in one file, and no format of a list.
        } else if !path.to_string_lossy().ends_with(".tar.gz") {
            files.push(path);
        }
    }
    files.sort();
}

fn read_file(path: &Path) -> (Report, BTreeSet<Box<[u8]>>) {
    let mut names = BTreeSet::new();
    let options = Options {
        file_name: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        ..Options::default()
    };
    let file = File::open(path).expect("open list");
    let report = parse(file, &options, &mut |_, rule: &Rule| {
        names.insert(rule.name.as_wire().into());
    });
    let report = report.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (report, names)
}

#[test]
fn counts_add_up_for_every_real_list() {
    let Some(lists) = data() else { return };
    let mut files = Vec::new();
    files_below(&lists, &mut files);
    assert!(files.len() > 50, "only {} lists", files.len());
    for path in files {
        let (report, names) = read_file(&path);
        assert_eq!(report.by_kind.total(), report.lines, "{}", path.display());
        assert!(!names.is_empty(), "{}", path.display());
        let invalid = report.by_kind.of(Kind::Invalid);
        assert!(
            invalid * 100 <= report.lines,
            "{}: {report:#?}",
            path.display()
        );
    }
}

#[test]
fn a_real_list_has_the_same_names_in_every_format() {
    let Some(lists) = data() else { return };
    let family = lists.join("blocklistproject");
    let mut compared = 0;
    let mut files = Vec::new();
    files_below(&family.join("domains"), &mut files);
    for path in files {
        let file_name = path.file_name().unwrap();
        let (_, expected) = read_file(&path);
        for (folder, format) in [
            ("hosts", Format::Hosts),
            ("adguard", Format::Adguard),
            ("dnsmasq", Format::Dnsmasq),
        ] {
            let other = family.join(folder).join(file_name);
            // Not every list comes in every format, and one was made on another day.
            if !other.exists() || (folder == "hosts" && file_name == "crypto.txt") {
                continue;
            }
            let (report, names) = read_file(&other);
            assert_eq!(report.format, format, "{}", other.display());
            let missing: Vec<_> = expected.symmetric_difference(&names).collect();
            assert!(missing.is_empty(), "{}: {missing:?}", other.display());
            compared += 1;
        }
    }
    assert!(compared > 40, "only {compared} lists compared");
}

#[test]
fn a_real_list_has_the_same_names_as_zone_and_configuration() {
    let Some(lists) = data() else { return };
    let folder = lists.join("dns-zone-blacklist");
    let (report, expected) = read_file(&folder.join("unbound.conf"));
    assert_eq!(report.format, Format::Unbound);
    for (file, format) in [
        ("unbound-data.conf", Format::Unbound),
        ("dnsmasq.conf", Format::Dnsmasq),
        ("rpz.zone", Format::Rpz),
    ] {
        let (report, names) = read_file(&folder.join(file));
        assert_eq!(report.format, format);
        assert_eq!(names, expected, "{file}");
    }
}

/// `cargo test --release -p filter-lists --test host real_lists -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn lines_a_second() {
    let Some(lists) = data() else { return };
    for file in [
        "blocklistproject/domains/phishing.txt",
        "blocklistproject/domains/tracking.txt",
        "blocklistproject/hosts/redirect.txt",
        "blocklistproject/adguard/tracking.txt",
        "blocklistproject/dnsmasq/redirect.txt",
        "dns-zone-blacklist/unbound.conf",
        "dns-zone-blacklist/rpz.zone",
        "maltrail/domains.txt.gz",
    ] {
        let bytes = std::fs::read(lists.join(file)).unwrap();
        let mut best = f64::MAX;
        let mut lines = 0;
        for _ in 0..10 {
            let start = std::time::Instant::now();
            let mut labels = 0u64;
            let report = parse(&bytes[..], &Options::default(), &mut |_, rule: &Rule| {
                labels += u64::from(rule.name.as_wire()[0]);
            });
            std::hint::black_box(labels);
            lines = report.unwrap().lines;
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{file} {:.2} M lines/s", lines as f64 / best / 1e6);
    }
}
