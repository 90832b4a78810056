//! The file system in memory that a kernel boots into: a cpio archive of the form "newc".
//!
//! Form: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel. Several archives one
//! behind the other are one file system.

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path},
};

use anyhow::{Context as _, Result};

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive under construction.
#[derive(Default)]
pub(super) struct Initramfs {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    inode: u32,
}

impl Initramfs {
    /// Adds a file of this content, executable, and the folders it lies in.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) {
        let mut folder = String::new();
        let parts: Vec<_> = path
            .components()
            .filter(|part| matches!(part, Component::Normal(_)))
            .map(|part| part.as_os_str().to_string_lossy().into_owned())
            .collect();
        for part in &parts[..parts.len().saturating_sub(1)] {
            folder = if folder.is_empty() {
                part.clone()
            } else {
                format!("{folder}/{part}")
            };
            self.folder(&folder);
        }
        self.entry(&parts.join("/"), PROGRAM, content);
    }

    /// Adds an empty folder; once, however often it is asked for.
    pub(super) fn folder(&mut self, path: &str) {
        if self.folders.insert(path.to_owned()) {
            self.entry(path, FOLDER, &[]);
        }
    }

    /// Adds a file of this machine, at `to`.
    pub(super) fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("read {}", from.display()))?;
        self.file(to, &content);
        Ok(())
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.inode += 1;
        let size = content.len() as u32;
        let name_size = name.len() as u32 + 1;
        // inode, mode, uid, gid, links, mtime, size, device and its own number, name size, checksum
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_of_110_bytes_a_name_and_content_each_padded_to_four() {
        let mut archive = Initramfs::default();
        archive.file(Path::new("/x"), b"12345");
        assert_eq!(archive.bytes.len(), 112 + 8);
        assert_eq!(&archive.bytes[..6], b"070701");
        assert_eq!(&archive.bytes[54..62], b"00000005");
        assert_eq!(&archive.bytes[110..120], b"x\x0012345\0\0\0");
    }

    #[test]
    fn folders_come_before_what_lies_in_them_and_once() {
        let mut archive = Initramfs::default();
        archive.file(Path::new("/a/b/x"), b"");
        archive.file(Path::new("/a/b/y"), b"");
        let text = String::from_utf8(archive.finish()).unwrap();
        let places = ["a\0", "a/b\0", "a/b/x\0", "a/b/y\0", "TRAILER!!!\0"]
            .map(|name| text.match_indices(name).collect::<Vec<_>>().len());
        assert_eq!(places[1..], [1, 1, 1, 1]);
        assert!(text.find("a/b\0") < text.find("a/b/x\0"));
    }
}
