//! Real packets, as others captured them, and changes of them: host and kernel agree, and every
//! answer is one.
//!
//! `NXDP_CAPTURES` names a folder with pcap files, looked through to its bottom;
//! [docs/fuzzing.md](../../docs/fuzzing.md) tells where some are. They have licences of their own and
//! are not in this repository: without them the test says that it is skipped.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use filter_common::reason::Action;
use hickory_proto::op::Message;
use nxdp_lab::{
    check::check_frame,
    engines::{HostEngine, KernelEngine, Verdict, compile_texts},
    host_tables::HostTables,
    mutate::{Random, mutate},
    segment::Segment,
};
use pcap_file::{DataLink, pcap::PcapReader};

/// Changed copies of each frame.
const CHANGES: usize = 200;
/// Bytes that every changed copy keeps: TEST_RUN takes no shorter frame.
const LEAST: usize = 14;

/// Every name is blocked, so that as much as can be is answered.
const LIST: &str = "||com^\n||net^\n||org^\n||arpa^\n||de^\n||se^\n||uk^\n||cn^\n||edu^\n||info^\n||localdomain^\n";

#[test]
fn host_and_kernel_agree_on_captured_packets_and_changes_of_them() {
    let Some(folder) = std::env::var_os("NXDP_CAPTURES") else {
        println!("skipped: NXDP_CAPTURES names no folder with captures");
        return;
    };
    let frames = frames(Path::new(&folder));
    assert!(
        !frames.is_empty(),
        "no Ethernet frames in {}",
        folder.display()
    );
    let image = compile_texts(&[("list", LIST)]).unwrap();
    let mut kernel = KernelEngine::new(&image).unwrap();
    // With the kernel's key: connections are told apart by a keyed hash.
    let tables = HostTables::like(&mut kernel.filter().maps, image.records(), None).unwrap();
    let mut host = HostEngine::over(tables);
    let mut random = Random::new(0x6e78_6470);
    let mut reasons = BTreeMap::<&str, usize>::new();
    let mut tried = 0;
    for frame in &frames {
        for number in 0..=CHANGES {
            let mut bytes = frame.clone();
            if number > 0 {
                mutate(&mut bytes, LEAST, &mut random);
            }
            let verdict = host.judge(&bytes);
            // Each goes through both: what was answered over TCP is remembered.
            assert_eq!(verdict, kernel.judge(&bytes).unwrap(), "{bytes:02x?}");
            check(&bytes, &verdict);
            *reasons.entry(verdict.reason.name()).or_default() += 1;
            tried += 1;
        }
    }
    println!(
        "{} captured frames, {tried} tried: {reasons:#?}",
        frames.len()
    );
}

fn check(frame: &[u8], verdict: &Verdict) {
    match verdict.reason.action() {
        Action::Transmit => {
            let message = message(&verdict.frame);
            let message = message.unwrap_or_else(|error| panic!("{error}: {frame:02x?}"));
            // A connection that is over is confirmed without one.
            if !message.is_empty() {
                let message = Message::from_vec(&message).unwrap();
                assert_eq!(message.queries.len(), 1, "{frame:02x?}");
            }
        }
        Action::Drop => assert_eq!(verdict.frame, frame),
        Action::Pass => {}
    }
}

/// The message in an answer whose lengths and checksums are right.
fn message(frame: &[u8]) -> anyhow::Result<Vec<u8>> {
    let no_datagram = match check_frame(frame) {
        Ok(answer) => return Ok(answer.payload),
        Err(error) => error,
    };
    let segment = Segment::read(frame).with_context(|| no_datagram.to_string())?;
    // Two bytes tell the length (RFC 1035 §4.2.2).
    Ok(segment.payload.get(2..).unwrap_or_default().to_vec())
}

/// Whole Ethernet frames of every capture below a folder.
fn frames(folder: &Path) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    collect(folder, &mut files);
    files.sort();
    files.iter().flat_map(|file| frames_of(file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "pcap")
        {
            files.push(path);
        }
    }
}

/// The frames of a capture; none of one that is damaged or of another link.
fn frames_of(file: &Path) -> Vec<Vec<u8>> {
    let Ok(mut reader) = PcapReader::new(BufReader::new(File::open(file).unwrap())) else {
        return Vec::new();
    };
    if reader.header().datalink != DataLink::ETHERNET {
        return Vec::new();
    }
    let mut frames = Vec::new();
    while let Some(Ok(packet)) = reader.next_packet() {
        // TEST_RUN takes no shorter ones, and no larger ones than a page holds.
        if (LEAST..=1500).contains(&packet.data.len())
            && packet.data.len() as u32 == packet.orig_len
        {
            frames.push(packet.data.into_owned());
        }
    }
    frames
}
