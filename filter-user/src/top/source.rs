//! Where the numbers come from: the control socket, asked by two threads.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    channel,
    model::{Sample, Words},
};
use crate::{
    control::{self, Response, Verb},
    querylog::LogRequest,
    service::error_chain,
};

/// Queries before the first one that are counted too: the screen is not empty at once.
const RECENT: u32 = 1000;
/// How long to wait before a query log that ended is followed again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What the threads bring. They end with the process.
pub(super) struct Source {
    /// What the filter says, once an interval.
    pub(super) samples: mpsc::Receiver<Result<Sample, String>>,
    /// What the query log says, as it comes.
    pub(super) words: SharedWords,
}

/// Counted by one thread, shown by another.
#[derive(Clone, Default)]
pub(super) struct SharedWords(Arc<Mutex<Words>>);

impl SharedWords {
    pub(super) fn lock(&self) -> MutexGuard<'_, Words> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    pub(super) fn start(socket: PathBuf, interval: Duration) -> io::Result<Self> {
        let (sender, samples) = channel();
        let words = SharedWords::default();
        let (log_socket, log_words) = (socket.clone(), words.clone());
        thread::Builder::new()
            .name("nxdp-samples".to_owned())
            .spawn(move || ask_again_and_again(&socket, interval, &sender))?;
        thread::Builder::new()
            .name("nxdp-follow".to_owned())
            .spawn(move || follow(&log_socket, &log_words))?;
        Ok(Self { samples, words })
    }
}

/// Asks a filter what it does.
pub(super) fn sample(socket: &Path) -> Result<Sample, control::Error> {
    let Response::Status(status) = control::ask(socket, Verb::Status)? else {
        return Err(control::Error::OtherAnswer);
    };
    let Response::Stats(stats) = control::ask(socket, Verb::Stats)? else {
        return Err(control::Error::OtherAnswer);
    };
    Ok(Sample {
        at: Instant::now(),
        status,
        stats,
    })
}

fn ask_again_and_again(
    socket: &Path,
    interval: Duration,
    samples: &mpsc::Sender<Result<Sample, String>>,
) {
    loop {
        thread::sleep(interval);
        let sample = sample(socket).map_err(|error| error_chain(&error));
        if samples.blocking_send(sample).is_err() {
            return;
        }
    }
}

fn follow(socket: &Path, words: &SharedWords) {
    let mut request = LogRequest {
        last: RECENT,
        follow: true,
        blocked: false,
        client: None,
    };
    loop {
        let followed = control::follow(socket, request);
        words.lock().refused = match &followed {
            Err(control::Error::Refused(why)) => Some(why.clone()),
            // Whether anybody is there is shown by the samples.
            _ => None,
        };
        if let Ok((_, lines)) = followed {
            for line in lines.map_while(Result::ok) {
                words.lock().add(&line);
            }
            // Those that came before were counted.
            request.last = 0;
        }
        thread::sleep(RETRY_INTERVAL);
    }
}
