//! Real lists, compiled and asked again, against sets of their names.
//!
//! The lists are found through `NXDP_DATA`; without them there is nothing to test.

use std::{collections::HashSet, env, fs, io::Read, path::PathBuf};

use filter_common::{name::Name, rule::Scope};
use filter_lists::{
    compile::{ListBuilder, Options, compile},
    image::{Decision, Image, ListInfo, walk},
    rule::Rule,
};

fn data() -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = env::var_os("NXDP_DATA").map_or(default, PathBuf::from);
    if data.join("lists").is_dir() {
        return Some(data);
    }
    eprintln!(
        "skipped: no lists in {}; set NXDP_DATA to their folder",
        data.display()
    );
    None
}

fn unpacked(path: PathBuf) -> String {
    let mut text = String::new();
    let packed = fs::read(path).unwrap();
    flate2::read::GzDecoder::new(&packed[..])
        .read_to_string(&mut text)
        .unwrap();
    text
}

fn names_of(text: &str) -> impl Iterator<Item = (u32, Name)> {
    let lines = text.lines().enumerate();
    lines.filter_map(|(at, line)| {
        Some((at as u32 + 1, Name::from_text(line.trim().as_bytes()).ok()?))
    })
}

/// Every plain list with its label; every second one is meant with subdomains.
fn lists(data: &std::path::Path) -> Vec<(String, Scope, String)> {
    let mut paths: Vec<_> = fs::read_dir(data.join("lists/blocklistproject/domains"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut texts: Vec<_> = paths
        .iter()
        .map(|path| {
            (
                path.display().to_string(),
                fs::read_to_string(path).unwrap(),
            )
        })
        .collect();
    texts.push((
        "maltrail".to_owned(),
        unpacked(data.join("lists/maltrail/domains.txt.gz")),
    ));
    let scopes = [Scope::Suffix, Scope::Exact].into_iter().cycle();
    texts
        .into_iter()
        .zip(scopes)
        .map(|((label, text), scope)| (label, scope, text))
        .collect()
}

fn decision(image: &Image, name: &Name) -> Decision {
    match walk(image.records(), name, 1, u64::MAX) {
        Some(_) => Decision::Block,
        None => Decision::None,
    }
}

#[test]
fn every_listed_name_is_blocked_and_no_popular_one_by_accident() {
    let Some(data) = data() else { return };
    let lists = lists(&data);
    let (mut exact, mut suffix) = (HashSet::new(), HashSet::new());
    let mut builders = Vec::new();
    for (label, scope, text) in &lists {
        let mut builder = ListBuilder::new(ListInfo::new(label, label));
        for (line, name) in names_of(text) {
            builder.rule(line, &Rule::block(name, *scope));
            let set = if *scope == Scope::Exact {
                &mut exact
            } else {
                &mut suffix
            };
            set.insert(name.as_wire().to_vec());
        }
        builders.push(builder);
    }
    let popular = fs::read_to_string(data.join("names/cloudflare-top100k.txt")).unwrap();
    let tranco = unpacked(data.join("names/tranco-1m.txt.gz"));
    let popular: Vec<_> = names_of(&popular)
        .chain(names_of(&tranco))
        .map(|(_, name)| name)
        .collect();
    let options = Options {
        check_names: &popular,
        ..Options::default()
    };
    let image = compile(&builders.iter().collect::<Vec<_>>(), &options).unwrap();
    let expected = |name: &Name| {
        let mut at = Some(*name);
        let mut covered = exact.contains(name.as_wire());
        while let Some(name) = at {
            covered |= suffix.contains(name.as_wire());
            at = name.parent();
        }
        if covered {
            Decision::Block
        } else {
            Decision::None
        }
    };
    let listed = lists
        .iter()
        .flat_map(|(_, _, text)| names_of(text))
        .map(|(_, name)| name);
    for name in listed {
        assert_eq!(decision(&image, &name), Decision::Block, "{name}");
    }
    let mut blocked = 0;
    for name in &popular {
        let below = Name::from_wire(&[b"\x01x", name.as_wire()].concat()).unwrap();
        for name in [name, &below] {
            assert_eq!(decision(&image, name), expected(name), "{name}");
        }
        blocked += u32::from(decision(&image, name) == Decision::Block);
    }
    // Real lists block some real names, or the loop above proves nothing.
    assert!(blocked > 100, "{blocked}");
    let report = image.report();
    assert_eq!(
        report.total.rules as usize,
        builders.iter().map(ListBuilder::rule_count).sum::<usize>()
    );
    assert!(
        report.bytes_per_name() <= 12.0,
        "{}",
        report.bytes_per_name()
    );
}

#[test]
fn every_listed_name_leads_back_to_its_list_and_line() {
    let Some(data) = data() else { return };
    let mut lists = lists(&data);
    lists.truncate(6);
    let mut builders = Vec::new();
    for (label, scope, text) in &lists {
        let mut builder = ListBuilder::new(ListInfo::new(label, label));
        names_of(text).for_each(|(line, name)| builder.rule(line, &Rule::block(name, *scope)));
        builders.push(builder);
    }
    let image = compile(&builders.iter().collect::<Vec<_>>(), &Options::default()).unwrap();
    for (number, (_, _, text)) in lists.iter().enumerate() {
        for (line, name) in names_of(text).step_by(7) {
            let wire = name.as_wire();
            let rows = image.provenance().rules_of(&wire[..wire.len() - 1]);
            assert!(
                rows.iter()
                    .any(|row| row.list() == number && row.line == line),
                "{name}"
            );
        }
    }
}
