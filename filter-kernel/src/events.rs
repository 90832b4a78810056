//! The ring through which the program tells of single queries.

use std::{
    fmt, io,
    os::fd::{AsFd, BorrowedFd},
};

use aya::maps::{MapData, RingBuf};
use filter_common::layout::Event;
use rustix::event::{PollFd, PollFlags, poll};

/// A ring of events. It has one reader: what was read is gone.
pub struct EventRing(RingBuf<MapData>);

impl EventRing {
    pub(crate) fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// Blocks until there are events or `stop` is closed; whether it is.
    pub fn wait(&self, stop: BorrowedFd<'_>) -> io::Result<bool> {
        let mut files = [
            PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stop, PollFlags::IN),
        ];
        match poll(&mut files, None) {
            Ok(_) => Ok(!files[1].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves `max` events at most to the end of `events`.
    pub fn take(&mut self, events: &mut Vec<Event>, max: usize) {
        for _ in 0..max {
            let Some(item) = self.0.next() else { return };
            // The program writes whole events; anything else would be of another layout.
            if let Ok(event) = bytemuck::try_pod_read_unaligned(&item) {
                events.push(event);
            }
        }
    }
}

impl fmt::Debug for EventRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventRing")
    }
}
