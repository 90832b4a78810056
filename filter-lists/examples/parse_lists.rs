//! Parses lists, prints the account of each and the speed.
//!
//! `cargo run --release -p filter-lists --example parse_lists -- FILE...`

use std::{error::Error, fs::File, time::Instant};

use filter_lists::{
    list::{Kind, Options, parse},
    rule::Rule,
};

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let options = Options {
            file_name: Some(path.clone()),
            ..Options::default()
        };
        let start = Instant::now();
        let mut wire_bytes = 0;
        let report = parse(File::open(&path)?, &options, &mut |_, rule: &Rule| {
            wire_bytes += rule.name.as_wire().len();
        })?;
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{path}: {}, {} lines, {} rules, {wire_bytes} bytes of names, {:.2} M lines/s",
            report.format,
            report.lines,
            report.rules,
            report.lines as f64 / seconds / 1e6
        );
        for kind in Kind::ALL {
            if report.by_kind.of(kind) > 0 {
                println!("  {kind:12} {}", report.by_kind.of(kind));
            }
        }
        for sample in report.samples {
            let (line, column) = (sample.line, sample.column);
            println!(
                "  {line}:{column} {}: {}: {}",
                sample.kind, sample.reason, sample.text
            );
        }
    }
    Ok(())
}
