//! Why a list was not fetched.

use std::{io, net::IpAddr, path::PathBuf, time::Duration};

use filter_lists::list;

use crate::config::Span;

/// Why a list was not fetched; the copy fetched before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of the copies cannot be used.
    #[error(
        "use cache folder '{path}': let this user write there, or name another `cache` in [fetch]"
    )]
    Cache {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process fetches into the folder.
    #[error(
        "use cache folder '{0}': another nxdp fetches into it; ask that one with `nxdp update --socket PATH`, or name another `cache` in [fetch]"
    )]
    InUse(PathBuf),
    /// A file in the folder cannot be written.
    #[error("write '{path}'")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The system has no thread to spare.
    #[error("start a thread to fetch lists: {0}")]
    Thread(String),
    /// The operator's certificates cannot be used.
    #[error("read certificates '{path}': {reason}; `ca_file` in [fetch] names a file in PEM form")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is nobody to trust.
    #[error(
        "find trusted certificates: there are none on this machine; install ca-certificates, or name a file with `ca_file` in [fetch]"
    )]
    NoCertificates,
    /// The host is on a network that lists do not come from.
    #[error(
        "connect to {host}: {address} is no public address; if the list is meant to come from there, add its prefix to `allow_private` in [fetch]"
    )]
    PrivateAddress {
        /// The host in the address.
        host: String,
        /// One of its addresses.
        address: IpAddr,
    },
    /// The host cannot be talked to.
    #[error("connect to {host}: {reason}")]
    Connect {
        /// The host in the address.
        host: String,
        /// Why.
        reason: String,
    },
    /// The host is not who it should be.
    #[error("trust {host}: {reason}")]
    Certificate {
        /// The host in the address.
        host: String,
        /// Why, and the way out.
        reason: String,
    },
    /// It took too long.
    #[error(
        "wait for {host}: {doing} took longer than {limit}; a slow line wants a longer `timeout` in [fetch]"
    )]
    TooSlow {
        /// The host in the address.
        host: String,
        /// What was waited for.
        doing: &'static str,
        /// How long.
        limit: Span,
    },
    /// The server broke the protocol, or off.
    #[error("read from {host}: {reason}")]
    Broken {
        /// The host in the address.
        host: String,
        /// How.
        reason: String,
    },
    /// The server has something else to say.
    #[error("{host} answered {status}{}", told(*status))]
    Status {
        /// The host in the address.
        host: String,
        /// The status code (RFC 9110 §15).
        status: u16,
        /// When the server wants to be asked again at the earliest.
        retry_after: Option<Duration>,
    },
    /// A redirection that is not followed.
    #[error("redirected to {to}: {reason}")]
    Redirect {
        /// Where to.
        to: String,
        /// Why not.
        reason: &'static str,
    },
    /// The answer cannot be told from a part of itself.
    #[error(
        "{host} does not say how long the list is: a part of it could not be told from the whole"
    )]
    NoLength {
        /// The host in the address.
        host: String,
    },
    /// The answer is packed in a way that was not asked for.
    #[error("list is encoded as '{0}', which was not asked for: only gzip and zstd are")]
    Encoding(String),
    /// More bytes than allowed.
    #[error("list is larger than {max_mib} MiB {what}: raise `{key}` in [fetch] if that is right")]
    TooLarge {
        /// The bound.
        max_mib: u64,
        /// Which bytes.
        what: &'static str,
        /// The key that bounds them.
        key: &'static str,
    },
    /// Packed so well that it may be meant to fill a memory.
    #[error("list unpacks to more than {0} times its size: no list of names does")]
    Bomb(u64),
    /// Packed in layers.
    #[error("list is packed more than twice: its publisher has to mend that")]
    Nested,
    /// The text is no list at all.
    #[error(transparent)]
    Content(#[from] list::Error),
    /// The text has more of something than allowed.
    #[error("list has {count} {what}, more than {max}: raise `{key}` in [fetch] if that is right")]
    TooMany {
        /// How many.
        count: u64,
        /// Of what.
        what: &'static str,
        /// How many may be.
        max: u64,
        /// The key that bounds them.
        key: &'static str,
    },
    /// Nothing in it, or nothing that is understood.
    #[error("list has no rule in {lines} lines{}", shown(first.as_deref()))]
    NoRule {
        /// Lines read.
        lines: u64,
        /// The first line that was not understood, and why.
        first: Option<String>,
    },
    /// More is wrong with it than right.
    #[error("list has {invalid} invalid lines and {rules} rules: it looks like something else{}", shown(first.as_deref()))]
    MostlyInvalid {
        /// Lines that are not understood.
        invalid: u64,
        /// Rules.
        rules: u64,
        /// The first line that was not understood, and why.
        first: Option<String>,
    },
}

impl Error {
    /// When the server wants to be asked again at the earliest.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What a status means for a list.
fn told(status: u16) -> &'static str {
    match status {
        401 | 403 => ": it does not give the list to us",
        404 | 410 => ": the list is not there; look for its new address",
        429 => ": asked too often",
        500..=599 => ": it has a problem of its own",
        _ => ", which is no list",
    }
}

fn shown(first: Option<&str>) -> String {
    first.map_or_else(String::new, |first| format!("; {first}"))
}
