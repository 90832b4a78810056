//! `nxdp top`: the running filter on a terminal, renewed every second.
//!
//! Knows nothing but what the control socket says: status and counters, and names and
//! clients from the query log, where it is on. Whatever ends it (a key, a signal, a
//! panic), the terminal is left as it was found.

mod heavy;
mod model;
mod screen;
mod source;
mod view;

use std::{path::PathBuf, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use self::{
    model::Model,
    screen::Key,
    source::{SharedWords, Source},
};
pub use self::{model::Sample, screen::Screen};
use crate::control;

/// Why there is no top.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody would see it.
    #[error("nxdp top needs a terminal; `nxdp stats --json` and `nxdp metrics` print numbers")]
    NoTerminal,
    /// The terminal failed.
    #[error("draw on the terminal")]
    Terminal(#[source] std::io::Error),
    /// Signals cannot be received, or a thread cannot be started.
    #[error("watch keys and signals")]
    Watch(#[source] std::io::Error),
    /// No filter answers.
    #[error(transparent)]
    Control(#[from] control::Error),
}

/// Shows the filter that listens on `socket` until a key or a signal ends it.
pub async fn run(socket: PathBuf, interval: Duration) -> Result<(), Error> {
    let mut signals = Signals::new().map_err(Error::Watch)?;
    // Told before the terminal changes, where it is read like any other error.
    let first = source::sample(&socket)?;
    let mut screen = Screen::open()?;
    let mut keys = screen::keys().map_err(Error::Watch)?;
    let mut source = Source::start(socket, interval).map_err(Error::Watch)?;
    let mut model = Model::default();
    model.take(Ok(first));
    loop {
        screen.draw(&model, &source.words)?;
        tokio::select! {
            () = signals.end() => return Ok(()),
            key = keys.recv() => match key {
                Some(Key::Quit) | None => return Ok(()),
                Some(key) => press(key, &mut model, &source.words),
            },
            sample = source.samples.recv() => match sample {
                Some(sample) => model.take(sample),
                None => return Ok(()),
            },
        }
    }
}

fn press(key: Key, model: &mut Model, words: &SharedWords) {
    match key {
        Key::Clear => words.lock().clear(),
        Key::Pause => model.pause(),
        Key::Quit | Key::Redraw => {}
    }
}

/// The signals that end it.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn end(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// A channel between a thread and the loop above.
fn channel<T>() -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
    mpsc::channel(16)
}
