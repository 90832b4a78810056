//! One request after the other, over connections to admitted addresses only.
//!
//! Owns the client library, redirections, trust and time limits. What comes
//! back is a response whose body has yet to be read, and believed.

use std::{
    fmt, io,
    time::{Duration, Instant, SystemTime},
};

use ureq::{
    Agent, Body, Proxy, Timeout,
    http::{HeaderMap, Response, header},
    tls::{RootCerts, TlsConfig},
    unversioned::transport::DefaultConnector,
};
use url::Url;

use super::{
    Error,
    gate::Gate,
    retry::RETRY_AFTER_MAX,
    trust::{certificates, distrust},
};
use crate::config::{FetchConfig, Span, without_credentials};

/// So many redirections are followed.
const REDIRECTS_MAX: usize = 5;
/// How long a host may take to be found, to accept a connection, and between two bytes.
const RESOLVE_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(10);
const SILENCE_MAX: Duration = Duration::from_secs(30);

const USER_AGENT: &str = concat!("nxdp/", env!("CARGO_PKG_VERSION"));

/// What a server said about the copy that we have (RFC 9110 §8.8).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Validators {
    /// The entity tag.
    pub etag: Option<String>,
    /// When the server changed the list, in its words.
    pub last_modified: Option<String>,
}

/// An answer that is worth looking at.
pub(super) enum Answer {
    /// Our copy is what the server has.
    NotModified,
    /// The list.
    List(Incoming),
}

/// A list on its way.
pub(super) struct Incoming {
    pub(super) host: String,
    pub(super) validators: Validators,
    pub(super) length: Option<u64>,
    pub(super) body: Body,
}

/// Asks for lists.
pub(super) struct Client {
    certificates: RootCerts,
    gate: Gate,
    allow_http: bool,
    timeout: Span,
}

impl Client {
    /// A client that trusts the certificates there are now and uses the proxy of the environment.
    pub(super) fn new(config: &FetchConfig) -> Result<Self, Error> {
        Ok(Self {
            certificates: certificates(config.ca_file.as_deref())?,
            gate: Gate::new(Proxy::try_from_env(), &config.allow_private),
            allow_http: config.allow_http,
            timeout: config.timeout,
        })
    }

    /// Asks for a list, unless it is still what `known` was said of.
    pub(super) fn ask(&self, url: &Url, known: &Validators) -> Result<Answer, Error> {
        let end = Instant::now() + self.timeout.0;
        let mut url = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let response = self.request(&url, known, end)?;
            let status = response.status();
            let asked = *known != Validators::default();
            if status.as_u16() == 304 && asked {
                return Ok(Answer::NotModified);
            }
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return self.judge(&url, response).map(Answer::List);
            }
            url = self.follow(&url, response.headers())?;
        }
        Err(redirect(&url, "that was one redirection too many"))
    }

    fn request(
        &self,
        url: &Url,
        known: &Validators,
        end: Instant,
    ) -> Result<Response<Body>, Error> {
        self.gate.check_literal(url)?;
        let config = Agent::config_builder()
            .tls_config(self.tls())
            .proxy(self.gate.proxy())
            .user_agent(USER_AGENT)
            .accept("text/plain, */*;q=0.5")
            .accept_encoding("zstd, gzip")
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(0)
            .timeout_resolve(Some(RESOLVE_MAX))
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_recv_response(Some(SILENCE_MAX))
            .timeout_per_read(Some(SILENCE_MAX))
            .timeout_global(Some(end.saturating_duration_since(Instant::now())))
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), self.gate.clone());
        let mut request = agent.get(url.as_str());
        let conditions = [
            (header::IF_NONE_MATCH, &known.etag),
            (header::IF_MODIFIED_SINCE, &known.last_modified),
        ];
        for (name, value) in conditions {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request.call().map_err(|error| self.told(&host(url), error))
    }

    fn tls(&self) -> TlsConfig {
        let provider = rustls::crypto::ring::default_provider();
        TlsConfig::builder()
            .root_certs(self.certificates.clone())
            .unversioned_rustls_crypto_provider(provider.into())
            .build()
    }

    fn follow(&self, from: &Url, headers: &HeaderMap) -> Result<Url, Error> {
        let location = headers.get(header::LOCATION);
        let text = location.and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        let to = text.and_then(|text| from.join(text).ok());
        let Some(to) = to else {
            return Err(redirect(from, "it does not say where to"));
        };
        match to.scheme() {
            "https" => Ok(to),
            "http" if self.allow_http => Ok(to),
            "http" => Err(redirect(
                &to,
                "whoever is on the way can change what comes by http; `allow_http` in [fetch] allows it",
            )),
            _ => Err(redirect(&to, "lists are fetched by https only")),
        }
    }

    fn judge(&self, url: &Url, response: Response<Body>) -> Result<Incoming, Error> {
        let host = host(url);
        let (parts, body) = response.into_parts();
        let text = |name| Some(parts.headers.get(name)?.to_str().ok()?.to_owned());
        if parts.status.as_u16() != 200 {
            return Err(Error::Status {
                host,
                status: parts.status.as_u16(),
                retry_after: text(header::RETRY_AFTER).and_then(|text| retry_after(&text)),
            });
        }
        // RFC 9112 §6.3: without a length and not chunked, the end of the connection is the
        // end of the list, whoever ended it.
        let length = text(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let is_chunked =
            text(header::TRANSFER_ENCODING).is_some_and(|text| text.ends_with("chunked"));
        if length.is_none() && !is_chunked {
            return Err(Error::NoLength { host });
        }
        match text(header::CONTENT_ENCODING).as_deref() {
            None | Some("" | "identity" | "gzip" | "x-gzip" | "zstd") => {}
            Some(other) => return Err(Error::Encoding(other.escape_debug().to_string())),
        }
        Ok(Incoming {
            host,
            validators: Validators {
                etag: text(header::ETAG),
                last_modified: text(header::LAST_MODIFIED),
            },
            length,
            body,
        })
    }

    /// Why a request or the reading of its body failed.
    pub(super) fn told(&self, host: &str, error: ureq::Error) -> Error {
        let host = host.to_owned();
        match error {
            ureq::Error::Timeout(timeout) => self.too_slow(host, timeout),
            ureq::Error::Other(other) => match other.downcast::<Error>() {
                Ok(own) => *own,
                Err(other) => broken(host, &other),
            },
            ureq::Error::Rustls(error) => distrust(host, &error),
            ureq::Error::Io(error) => of_io(host, &error),
            ureq::Error::HostNotFound => Error::Connect {
                host,
                reason: "there is no such host".to_owned(),
            },
            ureq::Error::ConnectProxyFailed(reason) => Error::Connect { host, reason },
            other => broken(host, &other),
        }
    }

    fn too_slow(&self, host: String, timeout: Timeout) -> Error {
        let (doing, limit) = match timeout {
            Timeout::Resolve => ("looking it up", Span(RESOLVE_MAX)),
            Timeout::Connect => ("connecting", Span(CONNECT_MAX)),
            Timeout::RecvResponse | Timeout::PerRead => ("the next byte", Span(SILENCE_MAX)),
            _ => ("the whole list", self.timeout),
        };
        Error::TooSlow { host, doing, limit }
    }
}

fn of_io(host: String, error: &io::Error) -> Error {
    let inner = error.get_ref();
    if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return distrust(host, error);
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => broken(host, &"the connection ended before the list did"),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => broken(host, error),
        _ => Error::Connect {
            host,
            reason: error.to_string(),
        },
    }
}

fn broken(host: String, reason: &dyn fmt::Display) -> Error {
    Error::Broken {
        host,
        reason: reason.to_string(),
    }
}

fn redirect(to: &Url, reason: &'static str) -> Error {
    Error::Redirect {
        to: without_credentials(to).to_string(),
        reason,
    }
}

pub(super) fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// Seconds, or a date (RFC 9110 §10.2.3).
fn retry_after(text: &str) -> Option<Duration> {
    let seconds = text.trim().parse().ok().map(Duration::from_secs);
    let until = || {
        let date = httpdate::parse_http_date(text.trim()).ok()?;
        Some(date.duration_since(SystemTime::now()).unwrap_or_default())
    };
    Some(seconds.or_else(until)?.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_asked_for_in_seconds_or_until_a_date_and_is_bounded() {
        assert_eq!(retry_after(" 120 "), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("999999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:37 GMT"),
            Some(Duration::ZERO)
        );
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(600));
        let wait = retry_after(&soon).unwrap();
        assert!((590..=600).contains(&wait.as_secs()), "{wait:?}");
        assert_eq!(retry_after("later"), None);
    }
}
