//! What a supervisor that speaks systemd's protocol is told (sd_notify(3)); without one, nothing.

use sd_notify::{NotifyState, notify};

/// The service answers, and what was active goes on.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The service goes round its loop; asked for by `WatchdogSec=`.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// What the service does, for `systemctl status`.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

/// The service is about to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    // A supervisor that does not listen finds out by itself.
    let _ = notify(state);
}
