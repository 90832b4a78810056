//! The image file: a head, then four sections on 64-byte boundaries.
//!
//! ```text
//! head     magic, versions, byte order, place, length and checksum of each section, its own checksum
//! records  what the kernel gets, byte for byte
//! starts   where the partitions of the provenance start
//! rows     provenance, 16 bytes a rule
//! meta     lists, shapes, report, as JSON
//! ```
//!
//! Integers are in the byte order of the machine. The checksums find damage,
//! not forgery: whoever can write the file decides what is blocked. The file
//! holds the hash key and is readable by its owner only.

use std::{
    fs::{File, Metadata},
    io::{self, BufWriter, Read, Write},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use bytemuck::{Pod, Zeroable};
use filter_common::layout::{LAYOUT_VERSION, Record};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Image, ImageError,
    meta::{ListForm, Meta, ShapeForm},
    validate::validate,
};
use crate::{
    input::open_regular,
    provenance::{Provenance, Row},
};

/// Version of the file's format; a reader refuses every other one.
pub const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"nxdp\x89img";
const BYTE_ORDER: u32 = 0x0102_0304;
const ALIGNMENT: u64 = 64;
const SECTION_NAMES: [&str; 4] = ["records", "starts", "rows", "meta"];

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Head {
    magic: [u8; 8],
    format: u32,
    layout: u32,
    byte_order: u32,
    reserved: u32,
    sections: [Section; 4],
    /// Of all bytes before it.
    checksum: u64,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Section {
    start: u64,
    len: u64,
    checksum: u64,
}

impl Image {
    /// How the names of images start that are still being written.
    pub const PARTIAL_PREFIX: &str = ".nxdp-partial-";

    /// Writes the image to `path`: wholly or not at all, readable by its owner only.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written to or is full.
    pub fn save(&self, path: &Path) -> Result<(), ImageError> {
        let failed = |source| ImageError::Write {
            path: path.to_owned(),
            source,
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let file = tempfile::Builder::new()
            .prefix(Self::PARTIAL_PREFIX)
            .tempfile_in(folder)
            .map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 20, file.as_file());
        self.write_to(&mut out).map_err(failed)?;
        out.flush().map_err(failed)?;
        drop(out);
        file.as_file().sync_all().map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        // The rename is lasting once the folder is written.
        File::open(folder)
            .and_then(|f| f.sync_all())
            .map_err(failed)
    }

    /// Writes the bytes of an image file.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let meta = serde_json::to_vec(&Meta {
            lists: self.lists.iter().map(ListForm::of).collect(),
            shapes: self.shapes.iter().map(ShapeForm::of).collect(),
            report: self.report.clone(),
        })?;
        let parts: [&[u8]; 4] = [
            bytemuck::cast_slice(&self.records),
            bytemuck::cast_slice(&self.provenance.starts),
            bytemuck::cast_slice(&self.provenance.rows),
            &meta,
        ];
        let head = head_of(parts);
        out.write_all(bytemuck::bytes_of(&head))?;
        let mut at = size_of::<Head>() as u64;
        for (section, bytes) in head.sections.iter().zip(parts) {
            out.write_all(&[0; ALIGNMENT as usize][..(section.start - at) as usize])?;
            out.write_all(bytes)?;
            at = section.start + section.len;
        }
        Ok(())
    }

    /// Reads the image at `path`.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is no image, is truncated or damaged, or is of another version.
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let failed = |source| ImageError::Read {
            path: path.to_owned(),
            source,
        };
        // Whoever keeps the image must not be able to keep a load that starts from it waiting.
        let mut file = open_regular(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let len = metadata.len();
        let read = match is_mostly_holes(&metadata) {
            true => Err(ImageError::Holes { len }),
            false => Self::read_from(&mut file, len),
        };
        read.map_err(|error| error.in_file(path))
    }

    /// Reads an image of `len` bytes.
    ///
    /// # Errors
    ///
    /// As [`Image::open`].
    pub fn read_from(input: &mut impl Read, len: u64) -> Result<Self, ImageError> {
        let head = read_head(input, len)?;
        let mut at = size_of::<Head>() as u64;
        let mut records: Vec<Record> = Vec::new();
        let mut starts: Vec<u32> = Vec::new();
        let mut rows: Vec<Row> = Vec::new();
        let mut meta: Vec<u8> = Vec::new();
        read_section(input, &head, 0, &mut at, &mut records)?;
        read_section(input, &head, 1, &mut at, &mut starts)?;
        read_section(input, &head, 2, &mut at, &mut rows)?;
        read_section(input, &head, 3, &mut at, &mut meta)?;
        let meta: Meta = serde_json::from_slice(&meta).map_err(ImageError::Meta)?;
        let lists: Option<Vec<_>> = meta.lists.into_iter().map(ListForm::read).collect();
        let shapes: Option<Vec<_>> = meta.shapes.into_iter().map(ShapeForm::read).collect();
        let image = Self {
            records,
            lists: lists.ok_or(ImageError::Inconsistent("a list has an unknown answer"))?,
            shapes: shapes.ok_or(ImageError::Inconsistent("a rule has an unknown form"))?,
            provenance: Provenance { starts, rows },
            report: meta.report,
        };
        validate(&image).map_err(ImageError::Inconsistent)?;
        Ok(image)
    }
}

fn head_of(parts: [&[u8]; 4]) -> Head {
    let mut end = size_of::<Head>() as u64;
    let sections = parts.map(|bytes| {
        let start = end.next_multiple_of(ALIGNMENT);
        end = start + bytes.len() as u64;
        Section {
            start,
            len: bytes.len() as u64,
            checksum: xxh3_64(bytes),
        }
    });
    let mut head = Head {
        magic: MAGIC,
        format: FORMAT_VERSION,
        layout: LAYOUT_VERSION,
        byte_order: BYTE_ORDER,
        reserved: 0,
        sections,
        checksum: 0,
    };
    head.checksum = checksum_of(&head);
    head
}

fn checksum_of(head: &Head) -> u64 {
    let bytes = bytemuck::bytes_of(head);
    xxh3_64(&bytes[..bytes.len() - size_of::<u64>()])
}

fn read_head(input: &mut impl Read, len: u64) -> Result<Head, ImageError> {
    let mut head = Head::zeroed();
    if len < size_of::<Head>() as u64 {
        // A file that is cut inside its head may still be told from one that is something else.
        let mut start = [0; MAGIC.len()];
        let known = input.read_exact(&mut start).is_ok() && start == MAGIC;
        let expected = size_of::<Head>() as u64;
        return Err(if known {
            ImageError::Truncated { len, expected }
        } else {
            ImageError::NotAnImage
        });
    }
    input
        .read_exact(bytemuck::bytes_of_mut(&mut head))
        .map_err(ImageError::Input)?;
    if head.magic != MAGIC {
        return Err(ImageError::NotAnImage);
    }
    if head.byte_order == BYTE_ORDER.swap_bytes() {
        return Err(ImageError::OtherByteOrder);
    }
    if head.format != FORMAT_VERSION {
        return Err(ImageError::Format { found: head.format });
    }
    if head.checksum != checksum_of(&head) {
        return Err(ImageError::Damaged("head"));
    }
    if head.layout != LAYOUT_VERSION {
        return Err(ImageError::Layout { found: head.layout });
    }
    match end_of_sections(&head) {
        Some(end) if end > len => Err(ImageError::Truncated { len, expected: end }),
        Some(end) if end == len => Ok(head),
        _ => Err(ImageError::Damaged("head")),
    }
}

/// Where the last section ends, if each follows the one before.
fn end_of_sections(head: &Head) -> Option<u64> {
    let mut end = size_of::<Head>() as u64;
    for section in &head.sections {
        if section.start != end.checked_next_multiple_of(ALIGNMENT)? {
            return None;
        }
        end = section.start.checked_add(section.len)?;
    }
    Some(end)
}

/// Whether a file announces far more than its disk holds: an image is written whole, and reading
/// holes would fill the memory with zeros.
///
/// File systems that compress have no holes but few blocks, and some tell of none for short files.
fn is_mostly_holes(metadata: &Metadata) -> bool {
    const BLOCK_BYTES: u64 = 512;
    const RATIO_MAX: u64 = 64;
    const SHORT_BYTES: u64 = 16 << 20;
    let on_disk = metadata.blocks().saturating_mul(BLOCK_BYTES * RATIO_MAX);
    metadata.len() > on_disk.max(SHORT_BYTES)
}

/// Reads the next section into `out`; `at` is the position in the file, at most one alignment before it.
fn read_section<T: Pod>(
    input: &mut impl Read,
    head: &Head,
    number: usize,
    at: &mut u64,
    out: &mut Vec<T>,
) -> Result<(), ImageError> {
    let section = head.sections[number];
    let damaged = damaged_section(number);
    let unit = size_of::<T>() as u64;
    if !section.len.is_multiple_of(unit) {
        return Err(damaged);
    }
    let gap = section.start - *at;
    let mut padding = [0; ALIGNMENT as usize];
    input
        .read_exact(&mut padding[..gap as usize])
        .map_err(ImageError::Input)?;
    if padding != [0; ALIGNMENT as usize] {
        return Err(damaged);
    }
    let count = usize::try_from(section.len / unit).map_err(|_| damaged_section(number))?;
    read_into(out, count, input)?;
    *at = section.start + section.len;
    if xxh3_64(bytemuck::cast_slice(out)) == section.checksum {
        Ok(())
    } else {
        Err(damaged)
    }
}

fn damaged_section(number: usize) -> ImageError {
    ImageError::Damaged(SECTION_NAMES[number])
}

/// Reads `count` values piece by piece: no more memory is used than there are bytes to read, and
/// what does not fit the memory at all is an error.
fn read_into<T: Pod>(
    out: &mut Vec<T>,
    count: usize,
    input: &mut impl Read,
) -> Result<(), ImageError> {
    const PIECE_BYTES: usize = 1 << 20;
    out.try_reserve_exact(count)
        .map_err(|_| ImageError::NoMemory {
            bytes: count.saturating_mul(size_of::<T>()),
        })?;
    while out.len() < count {
        let read = out.len();
        out.resize(count.min(read + PIECE_BYTES / size_of::<T>()), T::zeroed());
        let piece: &mut [u8] = bytemuck::cast_slice_mut(&mut out[read..]);
        input.read_exact(piece).map_err(ImageError::Input)?;
    }
    Ok(())
}
