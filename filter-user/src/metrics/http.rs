//! Metrics over HTTP: `GET /metrics` on a loopback address, and nothing else.
//!
//! A task of its own speaks HTTP; it asks the service for the text and hands it on.
//! A client that dawdles is cut off. Only a few are served at once, and the one that has been
//! there longest makes room for the next: connections that say nothing keep nobody out.

use std::{collections::VecDeque, convert::Infallible, io, net::SocketAddr, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// Clients that are served at once.
const CLIENTS_MAX: usize = 32;
/// Clients that wait for the text at once; more wait with their request.
const ASKED_MAX: usize = 8;
/// How long a client may take for everything.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long nobody is accepted when that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Why metrics cannot be read over HTTP.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("listen for metrics on {address}: choose another address in `metrics.listen`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An open listener; dropping it closes it.
#[derive(Debug)]
pub struct Listener {
    asked: mpsc::Receiver<Asked>,
    task: JoinHandle<()>,
}

/// A client that waits for the text.
pub type Asked = oneshot::Sender<String>;

impl Listener {
    /// Listens on `address`, which the configuration knows to be a loopback one.
    pub async fn open(address: SocketAddr) -> Result<Self, Error> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|source| Error::Listen { address, source })?;
        let (sender, asked) = mpsc::channel(ASKED_MAX);
        Ok(Self {
            asked,
            task: tokio::spawn(accept(listener, sender)),
        })
    }

    /// The next client; nothing is lost if the wait is given up.
    pub async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            None => std::future::pending().await,
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, asked: mpsc::Sender<Asked>) {
    let mut clients: VecDeque<JoinHandle<()>> = VecDeque::with_capacity(CLIENTS_MAX);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                clients.retain(|client| !client.is_finished());
                if clients.len() == CLIENTS_MAX
                    && let Some(oldest) = clients.pop_front()
                {
                    // Who has something to ask does so at once, and has long been served.
                    oldest.abort();
                }
                let asked = asked.clone();
                clients.push_back(tokio::spawn(async move {
                    let _ = tokio::time::timeout(PATIENCE, serve(stream, asked)).await;
                }));
            }
            // Mostly no descriptor is free; one will be.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, asked: mpsc::Sender<Asked>) {
    let service = service_fn(|request| answer(request, &asked));
    // A client that left or spoke something else does not concern the filter.
    let _ = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: Request<Incoming>,
    asked: &mpsc::Sender<Asked>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match text(asked).await {
            Some(text) => response(StatusCode::OK, super::CONTENT_TYPE, text),
            None => plain(StatusCode::SERVICE_UNAVAILABLE, "nxdp is ending\n"),
        },
        (_, "/metrics") => {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "");
            let methods = HeaderValue::from_static("GET, HEAD");
            refusal.headers_mut().insert(ALLOW, methods);
            refusal
        }
        _ => plain(StatusCode::NOT_FOUND, "metrics are at /metrics\n"),
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain", text)
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

async fn text(asked: &mpsc::Sender<Asked>) -> Option<String> {
    let (sender, text) = oneshot::channel();
    asked.send(sender).await.ok()?;
    text.await.ok()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn scrape(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn connections_that_say_nothing_keep_nobody_from_the_metrics() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, asked) = mpsc::channel(ASKED_MAX);
        let mut open = Listener {
            asked,
            task: tokio::spawn(accept(listener, sender)),
        };
        let mut idle = Vec::new();
        for _ in 0..3 * CLIENTS_MAX {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let served = async {
            let hand_out = async {
                let _ = open.next().await.send("nxdp_generation 7\n".to_owned());
            };
            tokio::join!(scrape(address), hand_out).0
        };
        let text = tokio::time::timeout(PATIENCE / 2, served).await.unwrap();
        assert!(text.ends_with("nxdp_generation 7\n"), "{text}");
    }
}
