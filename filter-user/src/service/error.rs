//! Why a service ends, or does not start.

use filter_kernel::features;
use filter_lists::image::ImageError;

use super::{kernel_handle, reload::PrepareError, socket};
use crate::{enforcement, fetch, metrics, querylog};

/// Why the service ended early or did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Configuration or lists cannot be used.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Policies or overrides cannot be put in force.
    #[error(transparent)]
    Enforcement(#[from] enforcement::Error),
    /// The kernel side failed.
    #[error(transparent)]
    Kernel(#[from] filter_kernel::Error),
    /// The maps cannot be changed.
    #[error(transparent)]
    KernelHandle(#[from] kernel_handle::Error),
    /// The interfaces cannot be listed.
    #[error(transparent)]
    Interfaces(#[from] features::Error),
    /// Changes of interfaces cannot be heard of.
    #[error("listen for changes of interfaces")]
    Monitor(#[source] std::io::Error),
    /// Lists cannot be fetched at all.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// A list was asked for that does not exist, or is nobody's to fetch.
    #[error("{0}")]
    NoSuchList(String),
    /// The control socket cannot be opened.
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// Metrics cannot be listened for.
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    /// The query log cannot be kept.
    #[error(transparent)]
    QueryLog(#[from] querylog::Error),
    /// The last image cannot be kept.
    #[error("keep the active lists for the next start; they stay in force")]
    State(#[from] ImageError),
    /// Something stands in the way of filtering.
    #[error(
        "attach to {0}; `--force`, or `force = true` in the configuration, attaches all the same"
    )]
    Obstacle(features::Obstacle),
    /// Some interfaces are not filtered.
    #[error("attach to {}: not filtered", .0.join(", "))]
    NotAttached(Vec<String>),
    /// Signals cannot be received.
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
    /// A task of this process died.
    #[error("compile in the background")]
    Background(#[source] tokio::task::JoinError),
}
