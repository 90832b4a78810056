//! How far reading is, over all lists.

use std::{
    io::{self, Read},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use filter_lists::input::Input;

use super::Progress;
use crate::config::ListConfig;

/// Counts bytes over all lists and tells.
pub(super) struct Meter<'a, P> {
    done_bytes: AtomicU64,
    total_bytes: u64,
    progress: &'a P,
}

impl<'a, P: Fn(Progress) + Sync> Meter<'a, P> {
    pub(super) fn new(lists: &[ListConfig], progress: &'a P) -> Self {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        Self {
            done_bytes: AtomicU64::new(0),
            total_bytes: lists.iter().map(|list| size(&list.path)).sum(),
            progress,
        }
    }

    pub(super) fn skip(&self, list: &ListConfig, bytes: u64) {
        self.add(&list.name(), bytes);
    }

    fn add(&self, list: &str, bytes: u64) {
        let done_bytes = self.done_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.progress)(Progress {
            list: list.to_owned(),
            done_bytes,
            total_bytes: self.total_bytes,
        });
    }
}

/// A file whose reading is counted.
pub(super) struct Metered<'a, P> {
    pub(super) file: Input,
    pub(super) meter: &'a Meter<'a, P>,
    pub(super) name: String,
}

impl<P: Fn(Progress) + Sync> Read for Metered<'_, P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read(buffer)?;
        self.meter.add(&self.name, bytes as u64);
        Ok(bytes)
    }
}
