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
};

use crate::control::{PROTOCOL_VERSION, REQUEST_MAX_BYTES, Request, Response, Verb};

/// How long a client may take for its line; the filter does not wait for it longer.
const PATIENCE: Duration = Duration::from_millis(500);

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
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Opens the socket, taking the place of one that nobody answers on.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Error::InUse(path.to_owned()));
        }
        bind(path)
            .map(|listener| Self {
                listener,
                path: path.to_owned(),
            })
            .map_err(|source| Error::Open {
                path: path.to_owned(),
                source,
            })
    }

    /// The next client and its request; `None` in place of what is not one.
    pub(super) async fn accept(&self) -> Option<(UnixStream, Result<Verb, String>)> {
        let (mut stream, _) = self.listener.accept().await.ok()?;
        let verb = tokio::time::timeout(PATIENCE, request(&mut stream))
            .await
            .ok()?;
        Some((stream, verb))
    }

    /// Answers what was accepted.
    pub(super) async fn reply(
        &self,
        asked: Option<(UnixStream, Result<Verb, String>)>,
        answer: impl FnOnce(Verb) -> Response,
    ) {
        let Some((mut stream, verb)) = asked else {
            return;
        };
        let response = verb.map_or_else(Response::Error, answer);
        let Ok(mut line) = serde_json::to_vec(&response) else {
            return;
        };
        line.push(b'\n');
        // A client that left does not concern the filter.
        let _ = tokio::time::timeout(PATIENCE, stream.write_all(&line)).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = fs::remove_file(&self.path);
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
