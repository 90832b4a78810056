//! The service's side of the control socket.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::mpsc,
    task::JoinHandle,
};

use crate::control::{PROTOCOL_VERSION, REQUEST_MAX_BYTES, Request, Response, Verb};

/// How long a client may take for its line, and for the answer: thousands of overrides make
/// long ones. Neither keeps the filter from its work.
const PATIENCE: Duration = Duration::from_secs(5);
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
}

impl Socket {
    /// Opens the socket, taking the place of one that nobody answers on.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Error::InUse(path.to_owned()));
        }
        let listener = bind(path).map_err(|source| Error::Open {
            path: path.to_owned(),
            source,
        })?;
        let (sender, asked) = mpsc::channel(WAITING_MAX);
        Ok(Self {
            asked,
            listening: tokio::spawn(listen(listener, sender)),
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
    pub(super) fn reply(asked: Asked, answer: impl FnOnce(Verb) -> Response) {
        let mut stream = asked.stream;
        let response = asked.verb.map_or_else(Response::Error, answer);
        tokio::spawn(async move {
            let Ok(mut line) = serde_json::to_vec(&response) else {
                return;
            };
            line.push(b'\n');
            // A client that left does not concern the filter.
            let _ = tokio::time::timeout(PATIENCE, stream.write_all(&line)).await;
        });
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.listening.abort();
        // Already gone is as good.
        let _ = fs::remove_file(&self.path);
    }
}

async fn listen(listener: UnixListener, asked: mpsc::Sender<Asked>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(read(stream, asked.clone()));
            }
            // Mostly no descriptor is free; one will be.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Reads one request and hands it on; who does not finish its line in time is cut off.
async fn read(mut stream: UnixStream, asked: mpsc::Sender<Asked>) {
    if let Ok(verb) = tokio::time::timeout(PATIENCE, request(&mut stream)).await {
        // The service that would have answered may have ended.
        let _ = asked.send(Asked { stream, verb }).await;
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

async fn request(stream: &mut UnixStream) -> Result<Verb, String> {
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(REQUEST_MAX_BYTES));
    reader
        .read_line(&mut line)
        .await
        .map_err(|error| format!("read the request: {error}"))?;
    let request: Request =
        serde_json::from_str(&line).map_err(|error| format!("parse the request: {error}"))?;
    if request.version != PROTOCOL_VERSION {
        return Err(format!(
            "request of version {}: this nxdp speaks version {PROTOCOL_VERSION}",
            request.version
        ));
    }
    Ok(request.verb)
}
