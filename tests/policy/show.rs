//! A filter that runs by a configuration, as an operator handles it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use hickory_proto::{op::ResponseCode, rr::RecordType};
use nix::sys::signal::Signal;
use nxdp_lab::{
    filter::{self, Filter},
    lab::Lab,
    query::Query,
    responder::Responder,
};
use serde_json::Value;
use tempfile::TempDir;

/// The list of [`Show::with_overrides`].
pub const LIST: &str = "||blocked.nxdp-show.example^\n||other.nxdp-show.example^$important\n";
/// A name that it blocks.
pub const BLOCKED: &str = "blocked.nxdp-show.example";

const SOON: Duration = Duration::from_secs(20);

/// A lab with a filter that runs by the configuration in its folder.
pub struct Show {
    filter: Option<Filter>,
    /// Where it runs.
    pub lab: Lab,
    _responder: Responder,
    /// Configuration, list and journal.
    pub folder: TempDir,
}

impl Show {
    /// Starts with a configuration and the list `list.txt`; overrides are kept in `state/overrides`.
    pub fn start(mode: &str, config: &str, list: &str) -> Self {
        Self::start_with(mode, config, list, &[])
    }

    /// The same with further files in the folder.
    pub fn start_with(mode: &str, config: &str, list: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("list.txt", list)].iter().chain(files) {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let mut show = Self::in_folder(folder, mode, config);
        show.begin();
        show
    }

    /// With a configuration, beside what is in the folder; nothing runs yet.
    pub fn in_folder(folder: TempDir, mode: &str, config: &str) -> Self {
        let lab = Lab::new().unwrap();
        let responder = lab.start_responder().unwrap();
        let show = Self {
            filter: None,
            lab,
            _responder: responder,
            folder,
        };
        show.configure(mode, config);
        show
    }

    /// Starts with a list of one category and a policy for the client's IPv4 prefix.
    pub fn with_overrides(mode: &str) -> Self {
        let config = "[[list]]\npath = 'list.txt'\ncategory = 'ads'\n\
                      [policy.kids]\nclients = ['10.53.1.0/24']\n";
        Self::start(mode, config, LIST)
    }

    /// Writes a configuration; it takes effect at the next start or SIGHUP.
    pub fn configure(&self, mode: &str, config: &str) {
        let head = format!("mode = '{mode}'\noverrides = 'state/overrides'\n");
        fs::write(self.config(), head + config).unwrap();
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("nxdp.toml")
    }

    /// Starts the filter, again if it ran before.
    pub fn begin(&mut self) {
        let config = self.config();
        let arguments = ["--config", config.to_str().unwrap()];
        self.filter = Some(Filter::start(&self.lab, self.folder.path(), &arguments).unwrap());
    }

    /// The running filter.
    pub fn filter(&self) -> &Filter {
        self.filter.as_ref().unwrap()
    }

    /// Ends the filter; [`Self::begin`] starts it again.
    pub fn kill(&mut self, signal: Signal) {
        let mut filter = self.filter.take().unwrap();
        let status = filter.process_mut().end(signal, SOON).unwrap();
        assert_eq!(status.success(), signal != Signal::SIGKILL);
    }

    /// The journal of overrides.
    pub fn journal(&self) -> PathBuf {
        self.folder.path().join("state/overrides")
    }

    /// Runs `nxdp` with the words of a line.
    pub fn run(&self, line: &str) -> Output {
        let mut command = Command::new(filter::binary().unwrap());
        command.args(line.split_whitespace());
        command.arg("--socket").arg(self.filter().socket());
        command.output().unwrap()
    }

    /// What `nxdp` with the words of a line prints, without a running one.
    pub fn run_alone(&self, line: &str) -> String {
        let mut command = Command::new(filter::binary().unwrap());
        let output = command.args(line.split_whitespace()).output().unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `nxdp` with the words of a line tells as JSON.
    pub fn nxdp(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}: {error}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Why `nxdp` refuses a line.
    pub fn refused(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(!output.status.success(), "{line}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// What the client gets over IPv4.
    pub fn rcode(&self, name: &str) -> ResponseCode {
        let query = Query::new(name, RecordType::A).unwrap().timeout(SOON);
        self.lab.ask_v4(&query).unwrap().outcome()
    }

    /// Whether the client is blocked over IPv4.
    pub fn is_blocked(&self, name: &str) -> bool {
        match self.rcode(name) {
            ResponseCode::NXDomain => true,
            ResponseCode::NoError => false,
            other => panic!("{name}: {other}"),
        }
    }

    /// What it gets over IPv6.
    pub fn rcode_v6(&self, name: &str) -> ResponseCode {
        let query = Query::new(name, RecordType::A).unwrap().timeout(SOON);
        self.lab.ask_v6(&query).unwrap().outcome()
    }
}
