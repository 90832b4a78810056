//! The signals that the service understands.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the service understands.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) -> SignalMeaning {
        tokio::select! {
            _ = self.interrupt.recv() => SignalMeaning::Stop,
            _ = self.terminate.recv() => SignalMeaning::Stop,
            _ = self.hangup.recv() => SignalMeaning::Reload,
        }
    }

    /// Waits for the order to stop; while nothing is loaded there is nothing to reload.
    pub(super) async fn stop(&mut self) {
        while self.next().await != SignalMeaning::Stop {}
    }
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalMeaning {
    Stop,
    Reload,
}
