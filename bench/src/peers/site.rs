//! A server's folder: its list and its configuration, gone with the value.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use tempfile::TempDir;

use super::catalogue::Peer;
use crate::rig::traffic::blocked_name;

/// Where one server lives.
pub(super) struct Site {
    folder: TempDir,
    /// The interface that queries arrive on.
    pub(super) device: String,
    pub(super) names: u32,
}

impl Site {
    /// Writes the list and the configuration.
    pub(super) fn new(peer: &Peer, device: &str, names: u32) -> Result<Self> {
        let site = Self {
            folder: tempfile::tempdir()?,
            device: device.to_owned(),
            names,
        };
        site.prepare_list(peer, 0)?;
        site.replace_list()?;
        fs::write(site.config(), (peer.config)(&site))?;
        Ok(site)
    }

    /// Writes another list, with one more name, beside the one there is.
    pub(super) fn prepare_list(&self, peer: &Peer, serial: u32) -> Result<()> {
        let more = (serial > 0).then(|| Self::more_name(serial));
        let mut names = (0..self.names).map(blocked_name).chain(more);
        fs::write(self.path("list.new"), (peer.list)(&mut names, serial))?;
        Ok(())
    }

    /// The name that is in no list but the one with this serial.
    pub(super) fn more_name(serial: u32) -> String {
        format!("more{serial}.nxdp-bench.example")
    }

    /// Puts the new list in place, at once.
    pub(super) fn replace_list(&self) -> Result<()> {
        Ok(fs::rename(self.path("list.new"), self.list())?)
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn list(&self) -> PathBuf {
        self.path("list")
    }

    pub(super) fn config(&self) -> PathBuf {
        self.path("config")
    }
}
