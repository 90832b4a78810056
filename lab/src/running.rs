//! `nxdp run` at work in a lab, by files in a folder of its own: what most tests begin with.
#![allow(
    clippy::unwrap_used,
    reason = "a test whose filter cannot start has failed"
)]

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    filter::Filter,
    lab::{self, Lab},
    query::{Query, Reply},
    responder::Responder,
};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A lab with a responder, a running filter, and the folder of its files.
#[derive(Debug)]
pub struct Running {
    /// The filter; it ends before the lab goes.
    pub filter: Filter,
    /// Where it runs.
    pub lab: Lab,
    /// The resolver behind it.
    pub responder: Responder,
    /// Its files, and its control socket.
    pub folder: TempDir,
}

impl Running {
    /// Starts it with these files, by name and text, and arguments. An argument that is the name of a
    /// file stands for its path.
    pub fn start(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = folder_with(files);
        let lab = Lab::new().unwrap();
        let responder = lab.start_responder().unwrap();
        Self::in_lab(lab, responder, folder, arguments)
    }

    /// The same in a lab in which neighbours know each other, so that no counter sees how they meet.
    pub fn start_warm(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = folder_with(files);
        let lab = Lab::new().unwrap();
        let responder = lab.start_responder().unwrap();
        for server in [lab::DNS_V4, lab::DNS_V6] {
            let warm = Query::new("warm.example", RecordType::A).unwrap();
            warm.ask_from(lab.client(), server).unwrap();
        }
        Self::in_lab(lab, responder, folder, arguments)
    }

    /// The same in a lab that was made before, over a folder that has its files.
    pub fn in_lab(lab: Lab, responder: Responder, folder: TempDir, arguments: &[&str]) -> Self {
        let path_or_word = |argument: &&str| match folder.path().join(argument) {
            path if path.is_file() => path.into_os_string(),
            _ => argument.into(),
        };
        let arguments: Vec<_> = arguments.iter().map(path_or_word).collect();
        Self {
            filter: Filter::start(&lab, folder.path(), &arguments).unwrap(),
            lab,
            responder,
            folder,
        }
    }

    /// A file in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Puts a file in the place of another, as updaters do: nobody ever sees half of it.
    pub fn replace(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// Has everything read again.
    pub fn hang_up(&self) {
        self.filter.process().signal(Signal::SIGHUP).unwrap();
    }

    /// What the client is told over IPv4.
    pub fn ask(&self, name: &str) -> Reply {
        let query = Query::new(name, RecordType::A).unwrap().timeout(PATIENCE);
        self.lab.ask_v4(&query).unwrap()
    }

    /// Its answer's code.
    pub fn rcode(&self, name: &str) -> ResponseCode {
        self.ask(name).outcome()
    }

    /// Fails unless a name is blocked.
    #[track_caller]
    pub fn assert_blocked(&self, name: &str) {
        assert_eq!(self.rcode(name), ResponseCode::NXDomain, "{name}");
    }
}

/// A folder that others may look into, with these files.
fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}
