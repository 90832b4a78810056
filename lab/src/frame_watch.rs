//! Looks at every frame that arrives at an interface while something else goes on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, bail};

use crate::{
    check::{CheckedFrame, FrameError, check_frame},
    raw_socket::RawSocket,
};

/// How long nothing must have come for the wire to be silent.
const SILENCE: Duration = Duration::from_millis(100);

/// A running watch.
#[derive(Debug)]
pub struct FrameWatch {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Result<Vec<CheckedFrame>>>,
}

impl FrameWatch {
    /// Starts to check what the socket receives.
    ///
    /// Offloads of whoever sends must be off: a checksum that is still to be computed is a wrong one.
    pub fn start(socket: RawSocket) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || watch(&socket, &stopped));
        Self { stop, thread }
    }

    /// Waits for silence and hands back the UDP frames that came.
    ///
    /// # Errors
    /// Fails when one of them had a wrong length or checksum.
    pub fn finish(self) -> Result<Vec<CheckedFrame>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("it panicked"))?
    }
}

fn watch(socket: &RawSocket, stop: &AtomicBool) -> Result<Vec<CheckedFrame>> {
    let mut frames = Vec::new();
    loop {
        let Some(frame) = socket.receive(SILENCE)? else {
            if stop.load(Ordering::Relaxed) {
                return Ok(frames);
            }
            continue;
        };
        match check_frame(&frame.bytes) {
            Ok(checked) => frames.push(checked),
            Err(FrameError::NotUdp(what)) if is_neighbour_talk(&what) => {}
            Err(error) => bail!(anyhow!(error).context(format!("{:02x?}", frame.bytes))),
        }
    }
}

/// ARP, and ICMPv6 with its neighbour discovery, with or without a hop-by-hop header.
fn is_neighbour_talk(what: &str) -> bool {
    ["ethertype 0x0806", "ip protocol 58"].contains(&what)
}
