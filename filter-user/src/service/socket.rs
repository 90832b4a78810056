//! The service's side of the control socket.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{
        FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream, unix::UCred},
    sync::mpsc,
    task::JoinHandle,
};

use super::{
    connections::{ConnectionPermit, Connections},
    peers::Peers,
};
use crate::{
    config::Config,
    control::{PROTOCOL_VERSION, REQUEST_MAX_BYTES, Request, Response, Verb},
    identity,
    querylog::LogRequest,
};

/// How long a client may take for its line, and for the answer: thousands of overrides make
/// long ones. Neither keeps the filter from its work.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest request, in bytes, of those who may change nothing: none of theirs is long.
const QUESTION_MAX_BYTES: u64 = 16 * 1024;
/// How long nobody is accepted when that failed.
const PAUSE: Duration = Duration::from_millis(500);
/// Requests that wait for an answer; more clients wait with theirs.
const WAITING_MAX: usize = 16;

/// Why the control socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another nxdp answers there.
    #[error(
        "open control socket '{0}': another nxdp is running; stop it or name another socket with `--socket`"
    )]
    InUse(PathBuf),
    /// A file that is no socket is there.
    #[error(
        "open control socket '{0}': there is something that is no socket, and stays; name another one with `--socket`"
    )]
    Taken(PathBuf),
    /// A group of the configuration is not there.
    #[error(
        "open the control socket: there is no group '{0}'; `groupadd --system {0}`, or name another one in [control]"
    )]
    NoGroup(String),
    /// The file system refused.
    #[error("open control socket '{path}': name another one with `--socket`")]
    Open {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The open socket; its file goes when it is dropped.
///
/// A task of its own accepts and reads: what else the service does in between
/// must not cut a client off in the middle of its request.
pub(super) struct Socket {
    asked: mpsc::Receiver<Asked>,
    listening: JoinHandle<()>,
    path: PathBuf,
}

/// A client and its request, or why it is none.
pub(super) struct Asked {
    stream: UnixStream,
    verb: Result<Verb, String>,
    /// When its connection was accepted.
    accepted: Instant,
    /// Held until the answer is sent.
    permit: ConnectionPermit,
}

impl Asked {
    /// A client that asked for the query log, which is told without end and counts its readers
    /// itself; any other one as it is.
    pub(super) fn for_log(self) -> Result<(UnixStream, LogRequest), Self> {
        match self.verb {
            Ok(Verb::Log(request)) => Ok((self.stream, request)),
            _ => Err(self),
        }
    }
}

impl Asked {
    /// Whether it waits until lists are read again.
    pub(super) fn waits_for_reload(&self) -> bool {
        self.verb == Ok(Verb::ReloadAndWait)
    }
}

impl Socket {
    /// Opens the socket, taking the place of one that nobody answers on.
    pub(super) fn open(config: &Config) -> Result<Self, Error> {
        let path = config.socket();
        let peers = Peers::of(&config.control).map_err(Error::NoGroup)?;
        // A longer path could be opened by way of its folder, but no client could name it.
        let open = |source| Error::Open {
            path: path.to_owned(),
            source,
        };
        std::os::unix::net::SocketAddr::from_pathname(path).map_err(open)?;
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Error::InUse(path.to_owned()));
        }
        // A socket that nobody answers on is replaced; whatever else is there is somebody's.
        if fs::symlink_metadata(path).is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(Error::Taken(path.to_owned()));
        }
        let listener = bind(path, peers.group()).map_err(open)?;
        let (sender, asked) = mpsc::channel(WAITING_MAX);
        Ok(Self {
            asked,
            listening: tokio::spawn(listen(listener, Arc::new(peers), sender)),
            path: path.to_owned(),
        })
    }

    /// The next client with its request; nothing is lost if the wait is given up.
    pub(super) async fn accept(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }

    /// Answers what was accepted.
    pub(super) fn reply(asked: Asked, answer: impl FnOnce(Verb, Instant) -> Response) {
        let Asked {
            mut stream,
            verb,
            accepted,
            mut permit,
        } = asked;
        let answer = |verb| match permit.check_room() {
            Ok(()) => answer(verb, accepted),
            Err(why) => Response::Error(why),
        };
        let response = verb.map_or_else(Response::Error, answer);
        // Written out here and not where it is sent: what waits is bytes that are counted.
        let Some(line) = line_of(&response) else {
            return;
        };
        permit.take_bytes(line.capacity());
        drop(response);
        tokio::spawn(async move {
            // A client that left does not concern the filter.
            let _ = tokio::time::timeout(PATIENCE, stream.write_all(&line)).await;
            drop(permit);
        });
    }
}

fn line_of(response: &Response) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(response).ok()?;
    line.push(b'\n');
    Some(line)
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.listening.abort();
        // Already gone is as good.
        let _ = identity::as_owner(&self.path, || fs::remove_file(&self.path));
    }
}

async fn listen(listener: UnixListener, peers: Arc<Peers>, asked: mpsc::Sender<Asked>) {
    let connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match connections.take(&stream) {
                Ok(permit) => {
                    tokio::spawn(read(stream, permit, Arc::clone(&peers), asked.clone()));
                }
                Err(why) => turn_away(stream, why),
            },
            // Mostly no descriptor is free; one will be.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Says why, if that takes no time.
fn turn_away(stream: UnixStream, why: String) {
    if let Some(line) = line_of(&Response::Error(why)) {
        // Not by tokio, which does not know yet that there is room. The client may have left.
        let _ = stream
            .into_std()
            .and_then(|mut stream| stream.write_all(&line));
    }
}

/// Reads one request and hands it on; who does not finish its line in time is cut off.
async fn read(
    mut stream: UnixStream,
    mut permit: ConnectionPermit,
    peers: Arc<Peers>,
    asked: mpsc::Sender<Asked>,
) {
    let accepted = Instant::now();
    let max_bytes = match peers.may_change(permit.peer()) {
        true => REQUEST_MAX_BYTES,
        false => QUESTION_MAX_BYTES,
    };
    let request = request(&mut stream, max_bytes, &mut permit);
    if let Ok(verb) = tokio::time::timeout(PATIENCE, request).await {
        let verb = verb.and_then(|verb| admit(&peers, permit.peer(), verb));
        let asking = Asked {
            stream,
            verb,
            accepted,
            permit,
        };
        // The service that would have answered may have ended.
        let _ = asked.send(asking).await;
    }
}

/// Lets a request pass if its sender may make it.
fn admit(peers: &Peers, peer: &UCred, verb: Verb) -> Result<Verb, String> {
    match peers.refuse(peer, &verb) {
        None => Ok(verb),
        Some(why) => Err(why),
    }
}

/// Binds beside the path and moves the socket there when it has its mode: nobody can connect
/// before, and a socket that nobody answers on is replaced in one step.
fn bind(path: &Path, group: Option<u32>) -> io::Result<UnixListener> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let _owner = identity::of_owner(folder)?;
    fs::create_dir_all(folder)?;
    let own = tempfile::Builder::new()
        .prefix(".nxdp-")
        .tempdir_in(folder)?;
    let new = own.path().join("control.sock");
    let listener = UnixListener::bind(&new)?;
    if group.is_some() {
        give_to_group(&new, group)?;
    }
    fs::set_permissions(&new, fs::Permissions::from_mode(0o660))?;
    fs::rename(&new, path)?;
    Ok(listener)
}

/// Gives a socket that was just made to a group, which may take rights that its owner lacks.
fn give_to_group(socket: &Path, group: Option<u32>) -> io::Result<()> {
    match chown(socket, None, group) {
        // Root acts as the owner of the folder, who is not in the group.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let made = OpenOptions::new()
                .read(true)
                .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
                .open(socket)?;
            let found = made.metadata()?;
            // Whoever may write to the folder could have put something else there.
            if !found.file_type().is_socket() || found.nlink() != 1 {
                return Err(error);
            }
            identity::as_root(|| {
                let group = group.map(rustix::fs::Gid::from_raw);
                let of_itself = rustix::fs::AtFlags::EMPTY_PATH;
                Ok(rustix::fs::chownat(&made, "", None, group, of_itself)?)
            })
        }
        other => other,
    }
}

async fn request(
    stream: &mut UnixStream,
    max_bytes: u64,
    permit: &mut ConnectionPermit,
) -> Result<Verb, String> {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(max_bytes));
    loop {
        let bytes = reader
            .fill_buf()
            .await
            .map_err(|error| format!("read the request: {error}"))?;
        let (read, is_end) = match memchr::memchr(b'\n', bytes) {
            Some(at) => (at + 1, true),
            None => (bytes.len(), bytes.is_empty()),
        };
        line.extend_from_slice(&bytes[..read]);
        reader.consume(read);
        if line.len() as u64 > QUESTION_MAX_BYTES {
            permit.check_room()?;
            permit.take_bytes(line.capacity());
        }
        if is_end {
            break;
        }
    }
    if line.len() as u64 == max_bytes && !line.ends_with(b"\n") {
        return Err(format!(
            "read the request: it is longer than {max_bytes} bytes"
        ));
    }
    let line = str::from_utf8(&line).map_err(|error| format!("read the request: {error}"))?;
    let request: Request =
        serde_json::from_str(line).map_err(|error| format!("parse the request: {error}"))?;
    if request.version != PROTOCOL_VERSION {
        return Err(format!(
            "request of version {}: this nxdp speaks version {PROTOCOL_VERSION}",
            request.version
        ));
    }
    Ok(request.verb)
}
