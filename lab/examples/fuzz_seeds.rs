//! Writes the seeds of the fuzz targets from the tables of cases: `fuzz_seeds fuzz/seeds`.

use std::{collections::BTreeSet, fs, io, path::Path};

use nxdp_lab::{
    cases,
    conformance::{self, BLOCKED},
    frame::UdpFrame,
};
use serde::Deserialize;

/// The table of lines that the parsers are tested against.
const GOLDEN_LINES: &str = include_str!("../../filter-lists/tests/golden/lines.toml");

#[derive(Deserialize)]
struct Golden {
    case: Vec<GoldenLine>,
}

/// What a seed needs of a golden line.
#[derive(Deserialize)]
struct GoldenLine {
    line: String,
    format: Option<String>,
}

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).unwrap_or("fuzz/seeds".into());
    let folder = Path::new(&folder);
    let by_case = cases::all().into_iter().map(|case| case.frame);
    let by_table = conformance::all(BLOCKED).into_iter();
    let by_table = by_table.map(|case| UdpFrame::query_v4(40_000, &case.message).build());
    write(&folder.join("core_filter"), by_case.chain(by_table))?;
    // A query type, then one byte a label.
    let names = [
        &[0, 0][..],
        &[1, 1, 0],
        &[0, 2, 1, 0],
        &[1, 3, 2, 1, 0],
        &[2, 2, 1, 1],
        &[0, 0, 1, 0, 4],
        &[3, 5, 2],
        &[0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2],
    ];
    write(
        &folder.join("core_verdict"),
        names.into_iter().map(<[u8]>::to_vec),
    )?;
    let labels = [1, 8, 9, 16, 17, 63].map(|len| vec![b'A'; 24 + len]);
    write(&folder.join("core_hash"), labels.into_iter())?;
    // How the rest is meant, then edits of a sound image: where, how, what.
    let edits = [
        &[1, 0, 0, 0, 0][..],
        &[3, 0, 0x40, 1, 1, 0, 0x80, 0, 0xff],
        &[3, 0, 0xc0, 2, 0],
    ];
    write(&folder.join("image"), edits.into_iter().map(<[u8]>::to_vec))?;
    lists(folder)
}

/// Golden lines go to the parser of their format; those that are written alike in several, to both of these.
fn lists(folder: &Path) -> io::Result<()> {
    let golden: Golden = toml::from_str(GOLDEN_LINES).map_err(io::Error::other)?;
    let of = |target: &str, wanted: &dyn Fn(&GoldenLine) -> bool| {
        let lines = golden.case.iter().filter(|case| wanted(case));
        let lines = lines.map(|case| case.line.clone().into_bytes());
        write(&folder.join(target), lines)
    };
    let is = |format| move |case: &GoldenLine| case.format.as_deref() == format;
    of("list_dnsmasq", &is(Some("dnsmasq")))?;
    of("list_unbound", &is(Some("unbound")))?;
    of("list_rpz", &is(Some("rpz")))?;
    of("list_mixed", &is(None))?;
    of("list_adguard", &is_adguard)?;
    // The formats that one line gives away.
    of("list_any", &|case| case.format.is_some())
}

fn is_adguard(case: &GoldenLine) -> bool {
    match case.format.as_deref() {
        None => case.line.contains(['|', '$', '^', '*']),
        Some(format) => format == "adguard",
    }
}

/// Writes each input once, under its number.
fn write(folder: &Path, inputs: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut written = BTreeSet::new();
    for input in inputs {
        if written.insert(input.clone()) {
            fs::write(folder.join(format!("{:03}", written.len())), &input)?;
        }
    }
    println!("{}: {} seeds", folder.display(), written.len());
    Ok(())
}
