//! A real HTTPS server for lists, which says whatever a test wants, however wrong.
//!
//! TLS is rustls with a certificate made on the spot; HTTP is written by hand,
//! because no library would send what hostile servers do.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::Result;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use socket2::SockRef;

/// A client that says nothing for so long is left alone.
const PATIENCE: Duration = Duration::from_secs(20);

/// Identities made so far.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// How often the accepting thread looks whether it is over.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A request, as far as servers of lists look at it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The path.
    pub path: String,
    /// The headers, by their names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// What is sent, and how.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    pause: Option<Duration>,
    is_cut: bool,
}

impl Reply {
    /// An honest answer.
    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::with("200 OK", &[], body)
    }

    /// A status, more headers, a length and a body.
    pub fn with(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Self {
        let length = format!("Content-Length: {}", body.as_ref().len());
        let headers = [headers, &[&length]].concat();
        Self::raw(status, &headers, body)
    }

    /// A status and a place.
    pub fn redirect(to: &str) -> Self {
        Self::with("302 Found", &[&format!("Location: {to}")], "")
    }

    /// A status, headers and a body, whatever they are.
    pub fn raw(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Self {
        let mut head = format!("HTTP/1.1 {status}\r\n");
        for header in headers {
            head.push_str(&format!("{header}\r\n"));
        }
        head.push_str("\r\n");
        Self {
            bytes: [head.as_bytes(), body.as_ref()].concat(),
            ..Self::default()
        }
    }

    /// A body in chunks of a size; without the last chunk unless it is `whole`.
    pub fn chunked(body: &[u8], chunk: usize, whole: bool) -> Self {
        let mut chunks = Vec::new();
        for part in body.chunks(chunk) {
            chunks.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            chunks.extend_from_slice(part);
            chunks.extend_from_slice(b"\r\n");
        }
        if whole {
            chunks.extend_from_slice(b"0\r\n\r\n");
        }
        Self::raw("200 OK", &["Transfer-Encoding: chunked"], chunks)
    }

    /// A pause after every byte.
    pub fn dripping(mut self, pause: Duration) -> Self {
        self.pause = Some(pause);
        self
    }

    /// The connection ends without the end that TLS has (RFC 8446 §6.1).
    pub fn cut(mut self) -> Self {
        self.is_cut = true;
        self
    }

    fn send(&self, stream: &mut impl Write) -> io::Result<()> {
        let Some(pause) = self.pause else {
            stream.write_all(&self.bytes)?;
            return stream.flush();
        };
        for byte in &self.bytes {
            stream.write_all(std::slice::from_ref(byte))?;
            stream.flush()?;
            thread::sleep(pause);
        }
        Ok(())
    }
}

/// Whom the server claims to be.
#[derive(Clone, Debug)]
pub struct Identity {
    config: Arc<ServerConfig>,
    pem: String,
}

impl Identity {
    /// A certificate for names and addresses.
    pub fn of(names: &[&str]) -> Result<Self> {
        Self::made(names, |_| {})
    }

    /// The same, long expired.
    pub fn expired(names: &[&str]) -> Result<Self> {
        Self::made(names, |params| {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        })
    }

    fn made(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Result<Self> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        // Two that sign themselves by one name would be taken for each other.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("nxdp test {number}");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = rustls::crypto::ring::default_provider();
        let config = ServerConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(Self {
            config: Arc::new(config),
            pem: certificate.pem(),
        })
    }

    /// The certificate, for those who are to trust it.
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

type Script = Box<dyn Fn(&Request) -> Reply + Send>;

#[derive(Default)]
struct Shared {
    script: Mutex<Option<Script>>,
    requests: Mutex<Vec<Request>>,
    is_over: AtomicBool,
}

/// A server; dropping it closes its port.
pub struct ListServer {
    address: SocketAddr,
    is_tls: bool,
    shared: Arc<Shared>,
    accepting: Option<thread::JoinHandle<()>>,
}

impl ListServer {
    /// Starts one in the network namespace of the calling thread; without an identity it
    /// speaks plain HTTP.
    ///
    /// # Errors
    /// Fails when the port cannot be had.
    pub fn start(address: SocketAddr, identity: Option<&Identity>) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        // Nobody outside of a namespace could wake a thread that waits inside.
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let config = identity.map(|identity| Arc::clone(&identity.config));
        let is_tls = config.is_some();
        let for_thread = Arc::clone(&shared);
        let accepting = thread::spawn(move || accept(&listener, config.as_ref(), &for_thread));
        Ok(Self {
            address,
            is_tls,
            shared,
            accepting: Some(accepting),
        })
    }

    /// What it says from now on.
    pub fn say(&self, script: impl Fn(&Request) -> Reply + Send + 'static) {
        *lock(&self.shared.script) = Some(Box::new(script));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An address of something on it.
    pub fn url(&self, host: &str, path: &str) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{host}:{}{path}", self.address.port())
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }
}

impl Drop for ListServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(accepting) = self.accepting.take() {
            let _ended = accepting.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, config: Option<&Arc<ServerConfig>>, shared: &Arc<Shared>) {
    while !shared.is_over.load(Ordering::Relaxed) {
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(LOOK_INTERVAL);
            continue;
        };
        let (config, shared) = (config.cloned(), Arc::clone(shared));
        // A client that leaves in the middle is what many tests are about.
        thread::spawn(move || {
            let _left = serve(stream, config, &shared);
        });
    }
    // Closing alone leaves it listening as long as a child that another test forks in this process
    // meanwhile holds a copy; who is next could not have the address.
    let _closed = SockRef::from(listener).shutdown(Shutdown::Read);
}

fn serve(stream: TcpStream, config: Option<Arc<ServerConfig>>, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(config) = config else {
        let mut stream = stream;
        converse(&mut stream, shared)?;
        return Ok(());
    };
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(connection, stream);
    let is_cut = converse(&mut stream, shared)?;
    if !is_cut {
        stream.conn.send_close_notify();
        stream.flush()?;
    }
    Ok(())
}

/// One request and one reply; hands back whether the connection is to be cut.
fn converse<S: Read + Write>(stream: &mut S, shared: &Shared) -> io::Result<bool> {
    let request = read_request(stream)?;
    lock(&shared.requests).push(request.clone());
    let reply = lock(&shared.script).as_ref().map(|script| script(&request));
    let reply = reply.unwrap_or_else(|| Reply::with("404 Not Found", &[], ""));
    reply.send(stream)?;
    Ok(reply.is_cut)
}

fn read_request(stream: &mut impl Read) -> io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Ok(Request { path, headers })
}
