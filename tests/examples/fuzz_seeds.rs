//! Writes the seeds of the fuzz targets from the tables of cases: `fuzz_seeds fuzz/seeds`.

use std::{collections::BTreeSet, fs, io, path::Path};

use nxdp_tests::{
    cases,
    conformance::{self, BLOCKED},
    frame::UdpFrame,
};

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
    write(&folder.join("core_hash"), labels.into_iter())
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
