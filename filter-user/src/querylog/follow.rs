//! The query log as one reader on the control socket sees it.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::broadcast::{
        Receiver,
        error::{RecvError, TryRecvError},
    },
};

use filter_lists::rule::ClientAddress;

use super::{Entry, Error, LogHeader, LogLine, LogRequest, LostLine, Outcome, QueryLine, QueryLog};
use crate::config::LogQueries;

/// Bytes that are sent at once.
const BLOCK_BYTES: usize = 32 * 1024;
/// How often is looked whether the ring lost something.
const LOSS_INTERVAL: Duration = Duration::from_secs(1);

impl QueryLog {
    /// Tells a reader what it asked for, until it leaves or has everything.
    ///
    /// `respond` says in the words of the conversation what comes, or why nothing does.
    pub async fn tell<R: Serialize>(
        self,
        stream: UnixStream,
        request: LogRequest,
        respond: fn(Result<LogHeader, Error>) -> R,
    ) {
        // A reader that left does not concern the filter.
        let _ = self.answer(stream, request, respond).await;
    }

    async fn answer<R: Serialize>(
        self,
        mut stream: UnixStream,
        request: LogRequest,
        respond: fn(Result<LogHeader, Error>) -> R,
    ) -> io::Result<()> {
        let admitted = self.admit();
        let (permit, opening) = match admitted {
            Ok(permit) => (Some(permit), Ok(self.header())),
            Err(error) => (None, Err(error)),
        };
        let line = line_of(&respond(opening))?;
        stream.write_all(&line).await?;
        if permit.is_none() {
            return Ok(());
        }
        let lost = self.0.lost.load(Ordering::Relaxed);
        let (last, entries) = self.recent(request.last as usize);
        let mut follower = Follower {
            log: &self,
            request,
            lost,
            block: Vec::new(),
        };
        for entry in last {
            follower.push(&entry)?;
        }
        stream.write_all(&follower.block).await?;
        follower.block.clear();
        if request.follow {
            follower.follow(stream, entries).await?;
        }
        drop(permit);
        Ok(())
    }

    fn admit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Error> {
        if self.queries() == LogQueries::Off {
            return Err(Error::Off);
        }
        Arc::clone(&self.0.followers)
            .try_acquire_owned()
            .map_err(|_| Error::TooManyFollowers)
    }
}

/// What is to be told next.
struct Follower<'a> {
    log: &'a QueryLog,
    request: LogRequest,
    /// Losses of the ring that were told of.
    lost: u64,
    block: Vec<u8>,
}

impl Follower<'_> {
    /// Tells what comes, until the reader closes its end.
    async fn follow(
        &mut self,
        mut stream: UnixStream,
        mut entries: Receiver<Arc<Entry>>,
    ) -> io::Result<()> {
        let mut said = [0; 64];
        loop {
            tokio::select! {
                received = entries.recv() => self.take(received, &mut entries)?,
                read = stream.read(&mut said) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
                () = tokio::time::sleep(LOSS_INTERVAL) => {}
            }
            self.tell_ring_losses()?;
            if !self.block.is_empty() {
                stream.write_all(&self.block).await?;
                self.block.clear();
            }
        }
    }

    /// Takes one entry and those that wait behind it, as far as they fit into a block.
    fn take(
        &mut self,
        received: Result<Arc<Entry>, RecvError>,
        entries: &mut Receiver<Arc<Entry>>,
    ) -> io::Result<()> {
        match received {
            Ok(entry) => self.push(&entry)?,
            Err(RecvError::Lagged(count)) => self.push_lost(count, "reader")?,
            // The log itself lives as long as its followers.
            Err(RecvError::Closed) => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        while self.block.len() < BLOCK_BYTES {
            match entries.try_recv() {
                Ok(entry) => self.push(&entry)?,
                Err(TryRecvError::Lagged(count)) => self.push_lost(count, "reader")?,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        Ok(())
    }

    fn push(&mut self, entry: &Entry) -> io::Result<()> {
        if self.request.blocked && Outcome::of(entry.reason) == Outcome::Passed {
            return Ok(());
        }
        if (self.request.client).is_some_and(|client| !self.is_of(entry, client)) {
            return Ok(());
        }
        let line = LogLine::Query(Box::new(QueryLine::of(entry)));
        self.block.extend(line_of(&line)?);
        Ok(())
    }

    /// Whether a client asked, as far as the log may know: addresses may be truncated in it.
    fn is_of(&self, entry: &Entry, client: ClientAddress) -> bool {
        match client {
            ClientAddress::Ip(address) => self.log.0.config.truncate(address) == entry.client.ip(),
            ClientAddress::Mac(mac) => entry.mac == Some(mac),
        }
    }

    fn tell_ring_losses(&mut self) -> io::Result<()> {
        let lost = self.log.0.lost.load(Ordering::Relaxed);
        match lost.saturating_sub(self.lost) {
            0 => Ok(()),
            more => {
                self.lost = lost;
                self.push_lost(more, "ring")
            }
        }
    }

    fn push_lost(&mut self, lost: u64, at: &str) -> io::Result<()> {
        let line = LogLine::Lost(LostLine {
            lost,
            at: at.to_owned(),
        });
        self.block.extend(line_of(&line)?);
        Ok(())
    }
}

fn line_of(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
