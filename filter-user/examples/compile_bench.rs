//! Compiles real names and prints time and memory: `compile_bench COUNT [LISTS [exact]]`.
//!
//! Reads plain lists from the folder in `NXDP_DATA`; more names than it holds
//! are made by numbering real ones. Two rules of three cover subdomains, or none with `exact`.

use std::{env, fs, io::Read, path::PathBuf, process::ExitCode};

use filter_common::{name::Name, rule::Scope};
use filter_user::{
    compile::{ListBuilder, ListInfo, Options, compile},
    guard::Guards,
    image::{Diff, Image, ImageError},
    rule::Rule,
};

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let number = |at: usize| args.get(at).and_then(|arg| arg.parse::<usize>().ok());
    let (count, list_count) = (number(0).unwrap_or(1_000_000), number(1).unwrap_or(4));
    let all_exact = args.get(2).is_some_and(|arg| arg == "exact");
    let texts = real_texts();
    if texts.is_empty() {
        eprintln!(
            "no lists: set NXDP_DATA to a folder with lists/maltrail and lists/blocklistproject"
        );
        return ExitCode::from(2);
    }
    let before_kib = status_kib("VmRSS:");
    let start = cpu_s();
    let mut lists: Vec<_> = (0..list_count.max(1))
        .map(|i| ListBuilder::new(ListInfo::new(&format!("list-{i}"), "memory")))
        .collect();
    feed(&texts, count, all_exact, &mut lists);
    let fed_s = cpu_s() - start;
    let lists_bytes: usize = lists.iter().map(ListBuilder::memory_bytes).sum();
    let start = cpu_s();
    let borrowed: Vec<_> = lists.iter().collect();
    let image = match compile(&borrowed, &Options::default()) {
        Ok(image) => image,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let merge_s = cpu_s() - start;
    let report = image.report();
    println!("rules {} count", report.total.rules);
    println!("names {} count", report.names);
    println!("nodes {} count", report.nodes);
    println!("redundant {} count", report.total.redundant);
    println!("duplicate {} count", report.total.duplicate);
    println!("feed {fed_s:.3} s");
    println!("merge {merge_s:.3} s");
    println!("lists {lists_bytes} bytes");
    println!("kernel {} bytes", report.kernel_bytes);
    println!("kernel_per_name {:.2} bytes", report.bytes_per_name());
    println!(
        "in_second_bucket {:.2} percent",
        100.0 * report.in_second_bucket as f64 / (report.names + report.nodes) as f64
    );
    println!(
        "provenance_per_rule {:.2} bytes",
        size_of_val(image.provenance().rows()) as f64 / report.total.rules as f64
    );
    println!("texts_rss {before_kib} KiB");
    println!(
        "peak_rss_above_texts {} KiB",
        status_kib("VmHWM:").saturating_sub(before_kib)
    );
    match after(&borrowed, &image) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What is done with an image once it is there.
fn after(lists: &[&ListBuilder], image: &Image) -> Result<(), ImageError> {
    let path = env::temp_dir().join(format!("nxdp-compile-bench-{}.img", std::process::id()));
    let timed = |what: &str, start: f64| println!("{what} {:.3} s", cpu_s() - start);
    let start = cpu_s();
    image.save(&path)?;
    timed("save", start);
    let start = cpu_s();
    let reopened = Image::open(&path);
    timed("open", start);
    let removed = fs::remove_file(&path);
    let reopened = reopened?;
    removed.map_err(|source| ImageError::Write { path, source })?;
    let start = cpu_s();
    let findings = Guards::default().check(lists, &reopened, None);
    timed("guards", start);
    println!("findings {} count", findings.len());
    let start = cpu_s();
    let diff = Diff::between(image, &reopened);
    timed("diff", start);
    println!(
        "diff_changed {} count",
        diff.total.changed + diff.total.added + diff.total.removed
    );
    Ok(())
}

/// Feeds `count` rules, line by line in turn to every list, with numbered names after the real ones.
fn feed(texts: &[String], count: usize, all_exact: bool, lists: &mut [ListBuilder]) {
    let mut fed = 0;
    let list_count = lists.len();
    for round in 0.. {
        for text in texts {
            for (at, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let name = match round {
                    0 => Name::from_text(line.as_bytes()),
                    _ => Name::from_text(format!("n{round}.{line}").as_bytes()),
                };
                let Ok(name) = name else { continue };
                let scope = if all_exact || at % 3 == 0 {
                    Scope::Exact
                } else {
                    Scope::Suffix
                };
                lists[at % list_count].rule(at as u32 + 1, &Rule::block(name, scope));
                fed += 1;
                if fed == count {
                    return;
                }
            }
        }
    }
}

fn real_texts() -> Vec<String> {
    let data = env::var_os("NXDP_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let mut texts = Vec::new();
    if let Ok(packed) = fs::read(data.join("lists/maltrail/domains.txt.gz")) {
        let mut text = String::new();
        if flate2::read::GzDecoder::new(&packed[..])
            .read_to_string(&mut text)
            .is_ok()
        {
            texts.push(text);
        }
    }
    let Ok(folder) = fs::read_dir(data.join("lists/blocklistproject/domains")) else {
        return texts;
    };
    let mut paths: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    texts.extend(
        paths
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok()),
    );
    texts
}

/// Seconds of processor time of this thread: other work on the machine does not count.
fn cpu_s() -> f64 {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let on_cpu_ns = schedstat.split_whitespace().next();
    on_cpu_ns
        .and_then(|ns| ns.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e9
}

fn status_kib(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}
