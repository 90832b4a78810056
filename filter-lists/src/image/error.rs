//! Why an image cannot be read or written.

use std::{
    io,
    path::{Path, PathBuf},
};

use filter_common::layout::LAYOUT_VERSION;
use thiserror::Error;

use super::FORMAT_VERSION;

/// Why an image cannot be read or written.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The file could not be read.
    #[error("read image {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("write image {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is wrong with the contents of a file.
    #[error("read image {path}: {reason}", path = path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        reason: Box<ImageError>,
    },
    /// The input ended or failed.
    #[error("cannot be read to its end: {0}")]
    Input(io::Error),
    /// Something else.
    #[error("not an nxdp image; `nxdp compile` makes one")]
    NotAnImage,
    /// Written on a machine of the other byte order.
    #[error("made on a machine of another byte order; compile it on this machine")]
    OtherByteOrder,
    /// Of another format.
    #[error(
        "has format {found}, this nxdp reads {FORMAT_VERSION}; compile it again with this nxdp"
    )]
    Format {
        /// The file's format version.
        found: u32,
    },
    /// Of another layout.
    #[error(
        "has table layout {found}, this nxdp loads {LAYOUT_VERSION}; compile it again with this nxdp"
    )]
    Layout {
        /// The file's layout version.
        found: u32,
    },
    /// Shorter than it says.
    #[error("truncated: {len} bytes of {expected}; copy or compile it again")]
    Truncated {
        /// Bytes there are.
        len: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// Far longer than what is on the disk.
    #[error("announces {len} bytes, nearly all of which are holes; copy or compile it again")]
    Holes {
        /// Its length.
        len: u64,
    },
    /// More than this machine can hold.
    #[error("needs {bytes} bytes of memory, which this machine does not have")]
    NoMemory {
        /// How many for one section.
        bytes: usize,
    },
    /// A checksum does not fit.
    #[error("damaged in its {0} section; copy or compile it again")]
    Damaged(&'static str),
    /// The parts contradict each other.
    #[error("inconsistent: {0}; compile it again")]
    Inconsistent(&'static str),
    /// The descriptive part cannot be understood.
    #[error("its description cannot be read: {0}; compile it again")]
    Meta(serde_json::Error),
}

impl ImageError {
    /// The error as one of a file.
    pub(super) fn in_file(self, path: &Path) -> Self {
        Self::InFile {
            path: path.to_owned(),
            reason: Box::new(self),
        }
    }
}
