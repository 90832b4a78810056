//! The control socket: how another process asks a running nxdp what it does.
//!
//! A Unix stream socket that only its owner's group may use, and only some may change something with. A request is one
//! line of JSON, `{"version":1,"verb":"status"}`; the answer is one line too, and for the
//! query log as many more as there are queries to tell of.
//! This module owns the words; what they do is the service's business.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use filter_kernel::features::Obstacle;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{
    config::LogQueries,
    enforcement::{EnforcementStatus, Outcome, Request as OverridesRequest},
    fetch::Accounts,
    pipeline::ListOutcome,
    querylog::{LogHeader, LogLine, LogRequest, LogStats},
};

/// Version of the words on the socket.
pub const PROTOCOL_VERSION: u32 = 1;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// And one that waits until lists are in force.
const RELOAD_PATIENCE: Duration = Duration::from_secs(600);
/// Longest request, in bytes.
pub const REQUEST_MAX_BYTES: u64 = 32 * 1024 * 1024;

/// A request.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct Request {
    /// [`PROTOCOL_VERSION`].
    pub version: u32,
    /// What is asked.
    pub verb: Verb,
}

/// What can be asked.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// What is attached and which generation is active.
    Status,
    /// The counters.
    Stats,
    /// The counters and more as OpenMetrics text.
    Metrics,
    /// The query log.
    Log(LogRequest),
    /// To log other queries from now on; the answer is that to [`Verb::Stats`].
    Logging(LogQueries),
    /// What an operator says of overrides and pauses.
    Overrides(OverridesRequest),
    /// To read the lists again; the answer is that to [`Verb::Status`], before they are read.
    Reload,
    /// The same; the answer comes when they are in force, or says why they are not.
    ReloadAndWait,
    /// The lists: how old they are, and when they are asked for again.
    Lists,
    /// To ask for lists now; the answer is [`Verb::Lists`]'s, before anything came.
    Update {
        /// The name of one, or all with an address.
        list: Option<String>,
    },
}

/// What asking takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It only tells something.
    Read,
    /// It tells who asked for what.
    Names,
    /// It changes something.
    Change,
}

impl Verb {
    /// What it takes to ask this.
    pub const fn access(&self) -> Access {
        match self {
            Self::Status
            | Self::Stats
            | Self::Metrics
            | Self::Lists
            | Self::Overrides(OverridesRequest::List) => Access::Read,
            Self::Log(_) => Access::Names,
            Self::Overrides(_)
            | Self::Reload
            | Self::ReloadAndWait
            | Self::Update { .. }
            | Self::Logging(_) => Access::Change,
        }
    }
}

/// An answer: what was asked for, or why not.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "lowercase")]
#[allow(
    clippy::large_enum_variant,
    reason = "one lives at a time, for as long as it is written"
)]
pub enum Response {
    /// To [`Verb::Status`] and [`Verb::Reload`].
    Status(Status),
    /// To [`Verb::Stats`].
    Stats(Stats),
    /// To [`Verb::Metrics`].
    Metrics(String),
    /// To [`Verb::Log`]: one [`crate::querylog::LogLine`] a line follows.
    Log(LogHeader),
    /// To [`Verb::Overrides`].
    Overrides(Outcome),
    /// To [`Verb::Lists`] and [`Verb::Update`].
    Lists(Accounts),
    /// The request was not understood or failed.
    Error(String),
}

/// What a running nxdp does.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
pub struct Status {
    /// Version of this object.
    pub version: u32,
    /// Process id; 0 where no process runs, and the filter is in force without one.
    pub pid: u32,
    /// Seconds since the program was attached.
    pub uptime_s: u64,
    /// Where it is attached.
    pub interfaces: Vec<Attachment>,
    /// Number of the active generation; it counts the loads since the start.
    pub generation: u32,
    /// Distinct names with a rule.
    pub names: u32,
    /// Bytes of kernel memory that the active generation takes.
    pub generation_bytes: u64,
    /// Bytes of kernel memory of the table map, with room for the next generation.
    pub table_bytes: u64,
    /// Kernel memory of the active generation a name, in bytes.
    pub bytes_per_name: f64,
    /// The lists of the active generation.
    pub lists: Vec<ListStatus>,
    /// Custom categories, if there are any.
    #[serde(default)]
    pub custom: Option<CustomStatus>,
    /// Why the last reload failed, if it did; the generation before it is active.
    pub last_error: Option<String>,
    /// Reloads since the start.
    #[serde(default)]
    pub reloads: Reloads,
    /// Who counts as a client.
    #[serde(default)]
    pub clients: ClientsStatus,
    /// The program in the kernel, where it is pinned.
    #[serde(default)]
    pub program: Option<ProgramStatus>,
    /// Bytes of the table that the lists need, if there is no room for them.
    #[serde(default)]
    pub wanted_table_bytes: Option<u64>,
    /// Why lists are not fetched any more, if so.
    #[serde(default)]
    pub refresh_stopped: Option<String>,
    /// Why overrides could not be read, if so; what was in force of them stays.
    #[serde(default)]
    pub overrides_error: Option<String>,
    /// Policies and overrides.
    #[serde(default, flatten)]
    pub enforcement: EnforcementStatus,
}

/// What tells the loaded program from the one before.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct ProgramStatus {
    /// The kernel's number, as `bpftool prog show id` takes it.
    pub id: u32,
    /// A hash of its instructions, as `bpftool` shows it.
    pub tag: String,
    /// When it was loaded, in seconds of the UNIX epoch; 0 if the kernel does not tell.
    pub loaded_at_s: u64,
}

/// What became of the reloads.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct Reloads {
    /// Those that made a new generation active.
    pub done: u64,
    /// Those that changed nothing.
    pub failed: u64,
    /// When this process last made a generation active, in seconds of the UNIX epoch; 0 if it did not yet.
    pub done_at_s: u64,
}

/// One interface in use.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct Attachment {
    /// Name of the interface.
    pub interface: String,
    /// `native` or `skb`.
    pub mode: String,
    /// Whether it is filtered.
    #[serde(default)]
    pub state: AttachmentState,
    /// The name that the configuration has for it, where it has another one now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_as: Option<String>,
    /// What keeps it from being filtered as the configuration says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obstacles: Vec<Obstacle>,
}

/// Who counts as a client, beside private addresses.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct ClientsStatus {
    /// Networks behind the filtered interfaces, each with the interface that it is on.
    pub on_link: BTreeMap<IpNet, String>,
    /// Prefixes of the configuration.
    pub listed: Vec<IpNet>,
    /// Blocked queries of others in the last minute.
    pub strangers_last_minute: u64,
}

/// Whether an interface is filtered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AttachmentState {
    /// The program is attached.
    #[default]
    Attached,
    /// There is no such interface.
    Absent,
    /// There is one, and the program is not attached to it.
    Unfiltered,
    /// The program is attached and does not see its frames.
    Unseen,
}

/// What is in force of custom categories.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
pub struct CustomStatus {
    /// Number of their active generation; 0 if there is none.
    pub generation: u32,
    /// Distinct names with a rule.
    pub names: u32,
    /// Bytes of kernel memory that the generation takes.
    pub generation_bytes: u64,
    /// Their files.
    pub lists: Vec<ListStatus>,
    /// When this process last put them in force, in seconds of the UNIX epoch; 0 if it did not yet.
    pub done_at_s: u64,
    /// How long that took, in milliseconds: reading, compiling, checking and switching.
    pub took_ms: f64,
    /// Why their last change was refused, if it was; the names before it are in force.
    pub last_error: Option<String>,
}

/// One list of the active generation.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct ListStatus {
    /// Name.
    pub name: String,
    /// File.
    pub path: PathBuf,
    /// Rules read from it.
    pub rules: u64,
}

impl ListStatus {
    /// What is told of a list by the account of its lines.
    pub fn of(list: &ListOutcome) -> Self {
        Self {
            name: list.name.clone(),
            path: list.path.clone(),
            rules: list.report.rules,
        }
    }
}

/// Packets by reason since the program was attached.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct Stats {
    /// Version of this object.
    pub version: u32,
    /// Number of the active generation.
    pub generation: u32,
    /// Packets by the name of their reason.
    pub packets: BTreeMap<String, u64>,
    /// What became of the queries of each policy.
    #[serde(default)]
    pub policies: BTreeMap<String, PolicyStats>,
    /// Blocked queries by the list whose rule won.
    #[serde(default)]
    pub lists: BTreeMap<String, u64>,
    /// Blocked queries by category.
    #[serde(default)]
    pub categories: BTreeMap<String, u64>,
    /// What became of the query log.
    #[serde(default)]
    pub log: LogStats,
}

/// What became of the queries of one policy.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub struct PolicyStats {
    /// Queries that were judged.
    pub queries: u64,
    /// Those that were answered or dropped.
    pub blocked: u64,
}

/// Why a running nxdp did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error(
        "connect to '{path}': no nxdp is running there; start one with `nxdp run`, or name its socket with `--socket`"
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not everybody may ask.
    #[error(
        "connect to '{path}': permission denied: root, the daemon's user and the socket's group may ask (`group` of [control])"
    )]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The conversation broke.
    #[error("talk to nxdp on '{path}'")]
    Talk {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The other side is another version or no nxdp.
    #[error("understand the answer on '{path}': it is from another version of nxdp")]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// Where it stopped making sense.
        #[source]
        source: serde_json::Error,
    },
    /// The request was refused.
    #[error("{0}")]
    Refused(String),
    /// The answer is to another question.
    #[error("understand the answer: it is to another question")]
    OtherAnswer,
}

/// Asks the nxdp that listens on `path`.
pub fn ask(path: &Path, verb: Verb) -> Result<Response, Error> {
    converse(path, verb).map(|(response, _)| response)
}

/// Asks for the query log: what is told at all, and the lines.
pub fn follow(path: &Path, request: LogRequest) -> Result<(LogHeader, LogLines), Error> {
    let (response, reader) = converse(path, Verb::Log(request))?;
    let Response::Log(header) = response else {
        return Err(Error::OtherAnswer);
    };
    // Between two queries any time may pass.
    reader
        .get_ref()
        .set_read_timeout(None)
        .map_err(|source| talk(path, source))?;
    let path = path.to_owned();
    Ok((header, LogLines { path, reader }))
}

/// The lines of the query log as they come.
#[derive(Debug)]
pub struct LogLines {
    path: PathBuf,
    reader: BufReader<UnixStream>,
}

impl Iterator for LogLines {
    type Item = Result<LogLine, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(parse(&self.path, &line)),
            Err(source) => Some(Err(talk(&self.path, source))),
        }
    }
}

fn converse(path: &Path, verb: Verb) -> Result<(Response, BufReader<UnixStream>), Error> {
    let stream = UnixStream::connect(path).map_err(|source| not_connected(path, source))?;
    let mut reader = BufReader::new(stream);
    let line = exchange(&mut reader, verb).map_err(|source| talk(path, source))?;
    match parse(path, &line)? {
        Response::Error(why) => Err(Error::Refused(why)),
        response => Ok((response, reader)),
    }
}

fn not_connected(path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => Error::Denied { path },
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Error::NotRunning { path, source }
        }
        _ => Error::Talk { path, source },
    }
}

fn exchange(reader: &mut BufReader<UnixStream>, verb: Verb) -> io::Result<String> {
    let mut stream = reader.get_ref();
    let patience = match verb {
        // Lists are compiled meanwhile, on any machine.
        Verb::ReloadAndWait => RELOAD_PATIENCE,
        _ => PATIENCE,
    };
    stream.set_read_timeout(Some(patience))?;
    let request = Request {
        version: PROTOCOL_VERSION,
        verb,
    };
    let mut bytes = serde_json::to_vec(&request)?;
    bytes.push(b'\n');
    // Who refuses does not read to the end, but says why.
    let sent = stream.write_all(&bytes);
    let mut line = String::new();
    let read = reader.read_line(&mut line);
    if !line.ends_with('\n') {
        sent?;
        if read? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(line)
}

fn parse<'a, T: Deserialize<'a>>(path: &Path, line: &'a str) -> Result<T, Error> {
    serde_json::from_str(line).map_err(|source| Error::Foreign {
        path: path.to_owned(),
        source,
    })
}

fn talk(path: &Path, source: io::Error) -> Error {
    Error::Talk {
        path: path.to_owned(),
        source,
    }
}
