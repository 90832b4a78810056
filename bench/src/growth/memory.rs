//! Why a cold query costs more: cache lines that it reads, and what the machine takes for one.

use std::{cell::Cell, fs, hint::black_box, time::Instant};

use anyhow::Result;
use filter_common::{
    direct::Direct,
    filter::{Host, filter},
    frame::BufferFrame,
    layout::{Control, PolicyRecord, RECORD_BYTES, Record},
    maps::{Maps, OnePolicy},
    scratch::Scratch,
    table::Records,
};
use filter_lists::image::Image;

use super::{Kind, LABEL_AT, LABEL_BYTES, label_of};
use crate::report;

/// Queries whose reads are counted.
const COUNTED: u64 = 10_000;
/// Reads of a measurement of the memory.
const READS: usize = 1_000_000;
/// Room for an answer.
const FRAME_MAX_BYTES: usize = 2048;

/// The records of an image behind a control record, that count reads of buckets.
struct Counting<'a> {
    control: Record,
    image: &'a Image,
    policy: OnePolicy,
    bucket_reads: Cell<u64>,
}

impl Records for Counting<'_> {
    fn record(&self, index: u32) -> Option<&Record> {
        let Some(at) = index.checked_sub(1) else {
            return Some(&self.control);
        };
        let header = self.image.header();
        if at.wrapping_sub(header.bucket_base) < header.bucket_count {
            self.bucket_reads.set(self.bucket_reads.get() + 1);
        }
        self.image.records().get(at as usize)
    }
}

impl Maps for Counting<'_> {
    fn policy(&self, number: u32) -> Option<&PolicyRecord> {
        self.policy.policy(number)
    }
}

impl Direct for Counting<'_> {}

/// Buckets that a query of this kind reads, on average; each is one cache line.
pub(super) fn buckets_read(image: &Image, frame: &[u8], kind: &Kind, listed: u64) -> f64 {
    let control = Control {
        active: 1,
        ..Control::default()
    };
    let tables = Counting {
        control: Record(bytemuck::cast(control)),
        image,
        policy: OnePolicy::default(),
        bucket_reads: Cell::new(0),
    };
    let names = kind.names(listed);
    let mut scratch: Box<Scratch> = bytemuck::allocation::zeroed_box();
    let mut buffer = [0; FRAME_MAX_BYTES];
    let queries = COUNTED.min(names.count);
    for run in 0..queries {
        buffer[..frame.len()].copy_from_slice(frame);
        let number = names.first + run * names.step;
        buffer[LABEL_AT..LABEL_AT + LABEL_BYTES].copy_from_slice(&label_of(number));
        let mut frame = BufferFrame::new(&mut buffer, frame.len());
        filter(&mut frame, || Some(Host::new(&tables, &mut scratch)));
    }
    tables.bucket_reads.get() as f64 / queries as f64
}

/// Prints how long one read takes that depends on the one before, from memory of each size.
///
/// In pages of 4 KiB, as the kernel keeps arrays that are written through mappings.
pub(super) fn print(sizes: impl Iterator<Item = usize>) -> Result<()> {
    nix::sys::prctl::set_thp_disable(true)?;
    for bytes in sizes {
        let read_ns = read_ns(bytes.max(2 * RECORD_BYTES));
        report::value(
            &format!("memory_read_of_{}_kib", bytes / 1024),
            read_ns,
            "ns",
        );
    }
    for line in kernel_pages() {
        println!("# {line}");
    }
    Ok(())
}

/// Follows a chain through every cache line of `bytes` bytes in random order.
fn read_ns(bytes: usize) -> f64 {
    const WORDS_A_LINE: usize = RECORD_BYTES / 8;
    let lines = bytes / RECORD_BYTES;
    let mut order: Vec<usize> = (0..lines).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for i in (1..lines).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // One cycle through all of them: never itself.
        order.swap(i, (state % i as u64) as usize);
    }
    let mut memory = vec![0_usize; lines * WORDS_A_LINE];
    for (line, next) in order.iter().enumerate() {
        memory[line * WORDS_A_LINE] = next * WORDS_A_LINE;
    }
    let mut at = 0;
    for _ in 0..lines {
        at = memory[at];
    }
    let start = Instant::now();
    for _ in 0..READS {
        at = memory[at];
    }
    black_box(at);
    start.elapsed().as_nanos() as f64 / READS as f64
}

/// How the kernel keeps the largest arrays of maps: in pages of 4 KiB or in larger ones.
fn kernel_pages() -> Vec<String> {
    let text = fs::read_to_string("/proc/vmallocinfo").unwrap_or_default();
    let of_maps = |line: &&str| line.contains("map_alloc");
    let mut lines: Vec<_> = text
        .lines()
        .filter(of_maps)
        .filter_map(|line| {
            let words = line.split_once(char::is_whitespace)?.1.trim();
            let bytes: u64 = words.split_whitespace().next()?.parse().ok()?;
            Some((bytes, format!("the kernel's own account of a map: {words}")))
        })
        .collect();
    lines.sort_unstable_by(|a, b| b.cmp(a));
    lines.dedup();
    lines.into_iter().take(1).map(|(_, line)| line).collect()
}
