//! One list in several formats: the same verdicts, but for what the formats force.
//!
//! The forced differences are those of the last section of
//! `docs/blocklist-formats.md`. Real families of lists are found through
//! `NXDP_DATA`.

#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use filter_common::{name::Name, rule::Scope};
use filter_user::{
    config::{Config, ListConfig},
    image::{Image, walk},
    list::{Options, ScopePolicy, parse},
    pipeline::{Guarding, Request, Sources},
    rule::Rule,
};

fn data() -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("NXDP_DATA").map_or(default, PathBuf::from);
    if data.join("lists").is_dir() {
        return Some(data.join("lists"));
    }
    eprintln!(
        "skipped: no lists in {}; set NXDP_DATA to their folder",
        data.display()
    );
    None
}

fn image(path: &Path, scope: ScopePolicy) -> Arc<Image> {
    let list = ListConfig {
        scope: Some(scope),
        ..ListConfig::of_path(path)
    };
    let config = Config {
        lists: vec![list],
        ..Config::default()
    };
    let request = Request {
        guarding: Guarding::Skip,
        ..Request::default()
    };
    let compiled = Sources::default().compile(&config, &request, &|_| {});
    compiled.unwrap().image
}

/// The names of a list.
fn names(path: &Path) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    let file = fs::File::open(path).unwrap();
    let parsed = parse(file, &Options::default(), &mut |_, rule: &Rule| {
        names.insert(rule.name.as_wire().to_vec());
    });
    parsed.unwrap();
    names
}

/// Each name with its parent and a child that no list has.
fn family_of(wire: &[u8]) -> impl Iterator<Item = Name> {
    let name = Name::from_wire(wire).unwrap();
    let child = Name::from_wire(&[b"\x0cnxdp-probe-1", wire].concat()).ok();
    [Some(name), name.parent(), child].into_iter().flatten()
}

/// What the list of names means if each is of this scope: the slow, obvious way.
fn expected(names: &BTreeSet<Vec<u8>>, asked: &Name, scope: Scope) -> bool {
    let mut above = asked.parent();
    let mut below = false;
    while let Some(name) = above {
        below |= names.contains(name.as_wire());
        above = name.parent();
    }
    names.contains(asked.as_wire()) || scope == Scope::Suffix && below
}

/// Holds a file against the names that all formats of its list have.
fn hold(names: &BTreeSet<Vec<u8>>, path: &Path, as_format: Scope) -> usize {
    let mut compared = 0;
    for (policy, scope) in [
        (ScopePolicy::AsFormat, as_format),
        (ScopePolicy::Exact, Scope::Exact),
        (ScopePolicy::Suffix, Scope::Suffix),
    ] {
        let image = image(path, policy);
        for asked in names.iter().flat_map(|wire| family_of(wire)) {
            let blocked = walk(image.records(), &asked, 1, u64::MAX).is_some();
            let wanted = expected(names, &asked, scope);
            assert_eq!(blocked, wanted, "{asked} in {} as {policy}", path.display());
            compared += 1;
        }
    }
    compared
}

#[test]
fn a_real_list_gives_the_same_verdicts_as_hosts_plain_adguard_and_dnsmasq() {
    let Some(lists) = data() else { return };
    let family = lists.join("blocklistproject");
    let (mut files, mut compared) = (0, 0);
    for entry in fs::read_dir(family.join("domains")).unwrap() {
        let plain = entry.unwrap().path();
        let names = names(&plain);
        for (folder, as_format) in [
            ("domains", Scope::Exact),
            ("hosts", Scope::Exact),
            ("adguard", Scope::Suffix),
            ("dnsmasq", Scope::Suffix),
        ] {
            let path = family.join(folder).join(plain.file_name().unwrap());
            // Not every list comes in every format, and one was made on another day.
            let other_day = folder == "hosts" && path.ends_with("crypto.txt");
            if path.exists() && !other_day {
                compared += hold(&names, &path, as_format);
                files += 1;
            }
        }
    }
    println!("{files} files, {compared} verdicts");
    assert!(files > 50 && compared > 1_000_000, "{files} {compared}");
}

#[test]
fn a_real_list_gives_the_same_verdicts_as_zone_and_configurations() {
    let Some(lists) = data() else { return };
    let folder = lists.join("dns-zone-blacklist");
    let names = names(&folder.join("unbound.conf"));
    let mut compared = 0;
    // The zone has `d` and `*.d` for each name, which together are a suffix.
    for file in [
        "unbound.conf",
        "unbound-data.conf",
        "dnsmasq.conf",
        "rpz.zone",
    ] {
        compared += hold(&names, &folder.join(file), Scope::Suffix);
    }
    println!("{compared} verdicts");
    assert!(compared > 1_000_000, "{compared}");
}
