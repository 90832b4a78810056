//! A server for one list, and a folder in which `nxdp update` keeps its copy.

// Each test program uses another part of it.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Output},
};

use nxdp_lab::{
    filter,
    list_server::{Identity, ListServer, Reply},
};
use serde_json::Value;
use tempfile::TempDir;

/// The list that desks begin with.
pub const GOOD: &str = "! good\n||good.example^\n||second.example^\n";

/// A server, and a folder with a configuration and a cache.
pub struct Desk {
    /// Speaks for the lists.
    pub server: ListServer,
    /// Whom it claims to be.
    pub identity: Identity,
    /// Where configuration and cache are.
    pub folder: TempDir,
}

impl Desk {
    /// Of a server that is who it claims to be.
    pub fn new() -> Self {
        Self::with(Identity::of(&["localhost", "127.0.0.1", "127.0.0.2"]).unwrap())
    }

    pub fn with(identity: Identity) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Every loopback address, so that what must not be connected to would answer.
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let server = ListServer::start(any, Some(&identity)).unwrap();
        fs::write(folder.path().join("ca.pem"), identity.pem()).unwrap();
        Self {
            server,
            identity,
            folder,
        }
    }

    /// A desk that has a copy of [`GOOD`].
    pub fn with_copy() -> Self {
        let desk = Self::new();
        desk.server
            .say(|_| Reply::with("200 OK", &["ETag: \"good\""], GOOD));
        desk.configure("");
        assert_ends(&desk.update(), 0, "");
        desk
    }

    /// A list at the server's first address, which is admitted, and more keys of `[fetch]`.
    pub fn configure(&self, fetch: &str) {
        self.configure_list(&self.server.url("127.0.0.1", "/lists/ads.txt"), fetch, "");
    }

    pub fn configure_list(&self, url: &str, fetch: &str, list: &str) {
        let mut text = format!(
            "overrides = \"overrides\"\n[[list]]\nurl = \"{url}\"\nname = \"ads\"\n{list}\n[fetch]\ncache = \"cache\"\n"
        );
        for (key, value) in [
            ("ca_file", "\"ca.pem\""),
            ("allow_private", "[\"127.0.0.1/32\"]"),
        ] {
            if !fetch.contains(key) {
                writeln!(text, "{key} = {value}").unwrap();
            }
        }
        fs::write(self.folder.path().join("nxdp.toml"), text + fetch).unwrap();
    }

    pub fn nxdp(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(filter::binary().unwrap());
        command.args(arguments).current_dir(self.folder.path());
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command
    }

    pub fn update_command(&self) -> Command {
        self.nxdp(&["update", "--config", "nxdp.toml", "--socket", "none.sock"])
    }

    pub fn update(&self) -> Output {
        self.update_command().output().unwrap()
    }

    /// What `nxdp lists` tells of the list.
    pub fn account(&self) -> Value {
        let arguments = [
            "lists",
            "--json",
            "--config",
            "nxdp.toml",
            "--socket",
            "none.sock",
        ];
        let output = self.nxdp(&arguments).output().unwrap();
        assert_ends(&output, 0, "");
        let accounts: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(accounts["version"], 1);
        accounts["lists"][0].clone()
    }

    pub fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("cache")).unwrap();
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    pub fn copy(&self) -> PathBuf {
        let mut files = self.files().into_iter();
        files
            .find(|path| path.extension().is_some_and(|ending| ending == "zst"))
            .unwrap()
    }

    /// What is in the copy.
    pub fn text(&self) -> String {
        let packed = fs::read(self.copy()).unwrap();
        String::from_utf8(zstd::decode_all(&packed[..]).unwrap()).unwrap()
    }

    pub fn blocks(&self, name: &str) -> bool {
        let output = self
            .nxdp(&["query", name, "--config", "nxdp.toml"])
            .output()
            .unwrap();
        assert_ends(&output, 0, "");
        String::from_utf8_lossy(&output.stdout).starts_with("block")
    }
}

pub fn assert_ends(output: &Output, code: i32, needle: &str) {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert!(err.contains(needle), "{needle:?} is not in: {err}");
    assert!(!err.contains("panicked"), "{err}");
    assert!(
        !err.contains('\x1b'),
        "a server wrote to the terminal: {err:?}"
    );
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

/// Names without a pattern that packs well.
pub fn names(count: u64) -> String {
    let mut text = String::new();
    for number in 0..count {
        let word = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        writeln!(
            text,
            "||{word:016x}{:016x}.example^",
            word.rotate_left(29) ^ 0x5bd1
        )
        .unwrap();
    }
    text
}
