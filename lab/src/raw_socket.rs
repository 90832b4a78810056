//! Whole Ethernet frames, sent and received on one interface.

use std::{
    io,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    net::if_::if_nametoindex,
    sys::socket::{setsockopt, sockopt::RcvBufForce},
};
use socket2::Socket;

use crate::{namespace::Namespace, sys};

/// Longest frame that is received whole: a jumbo frame with its headers.
const FRAME_BYTES_MAX: usize = 9216;

/// A packet socket on one interface.
///
/// It receives every frame that arrives there, also those for other stations; those
/// that leave only if it was opened by [`RawSocket::open_both_ways`].
#[derive(Debug)]
pub struct RawSocket {
    socket: Socket,
}

/// A frame as it came over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedFrame {
    /// From the destination address to the end of the payload, VLAN tags included.
    pub bytes: Vec<u8>,
    /// False when the sender's kernel left the transport checksum to a device that
    /// does not exist (CHECKSUM_PARTIAL); checking such a frame's UDP checksum is of no use.
    pub checksum_is_final: bool,
}

impl RawSocket {
    /// Opens a socket on an interface of a namespace. Needs CAP_NET_RAW there.
    pub fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        Self::open_as(namespace, interface, false)
    }

    /// The same for a socket that sees the frames that leave, too.
    pub fn open_both_ways(namespace: &Namespace, interface: &str) -> Result<Self> {
        Self::open_as(namespace, interface, true)
    }

    fn open_as(namespace: &Namespace, interface: &str, sees_outgoing: bool) -> Result<Self> {
        let socket = namespace
            .run(|| sys::packet_socket(if_nametoindex(interface)?, sees_outgoing))?
            .with_context(|| format!("cannot open {interface} in {}", namespace.name()))?;
        Ok(Self { socket })
    }

    /// Makes room for frames that come while nobody listens. Needs CAP_NET_ADMIN.
    pub fn widen(&self, bytes: usize) -> Result<()> {
        setsockopt(&self.socket, RcvBufForce, &bytes).context("make room for frames")
    }

    /// Sends a frame as it is.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let sent = self.socket.send(frame)?;
        if sent == frame.len() {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "sent {sent} of {} bytes",
                frame.len()
            )))
        }
    }

    /// Receives the next frame; `None` when none came in time.
    pub fn receive(&self, timeout: Duration) -> io::Result<Option<ReceivedFrame>> {
        // A timeout of zero would mean "for ever" to the kernel.
        self.socket
            .set_read_timeout(Some(timeout.max(Duration::from_millis(1))))?;
        let mut frame = vec![0; FRAME_BYTES_MAX];
        let mut control = [0; 128];
        match sys::receive(&self.socket, &mut frame, &mut control) {
            Ok((frame_len, control_len)) => {
                frame.truncate(frame_len);
                Ok(Some(restore(frame, &control[..control_len])))
            }
            Err(error) if is_timeout(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Receives until `wanted` finds what it looks for; `None` when the time is over.
    pub fn receive_until<T>(
        &self,
        timeout: Duration,
        mut wanted: impl FnMut(&ReceivedFrame) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let end = Instant::now() + timeout;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            if let Some(found) = self.receive(left)?.as_ref().and_then(&mut wanted) {
                return Ok(Some(found));
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// Puts back the VLAN tag that the kernel moved from the frame into its metadata.
fn restore(mut bytes: Vec<u8>, control: &[u8]) -> ReceivedFrame {
    let metadata = auxiliary_data(control);
    if let Some(metadata) = metadata
        && metadata.status & libc::TP_STATUS_VLAN_VALID != 0
        && bytes.len() >= 12
    {
        let ethertype = if metadata.status & libc::TP_STATUS_VLAN_TPID_VALID == 0 {
            libc::ETH_P_8021Q as u16
        } else {
            metadata.vlan_ethertype
        };
        let tag = [ethertype.to_be_bytes(), metadata.vlan_control.to_be_bytes()].concat();
        bytes.splice(12..12, tag);
    }
    let partial =
        metadata.is_some_and(|metadata| metadata.status & libc::TP_STATUS_CSUMNOTREADY != 0);
    ReceivedFrame {
        bytes,
        checksum_is_final: !partial,
    }
}

/// The fields of the kernel's `struct tpacket_auxdata` that matter here.
#[derive(Clone, Copy)]
struct Metadata {
    status: u32,
    vlan_control: u16,
    vlan_ethertype: u16,
}

/// Finds the PACKET_AUXDATA message: a `struct cmsghdr` (length, level, type) and its data.
fn auxiliary_data(control: &[u8]) -> Option<Metadata> {
    let header_len = size_of::<libc::cmsghdr>();
    let mut rest = control;
    while rest.len() >= header_len {
        let len = usize::from_ne_bytes(rest[..8].try_into().ok()?);
        let level = i32::from_ne_bytes(rest[8..12].try_into().ok()?);
        let kind = i32::from_ne_bytes(rest[12..16].try_into().ok()?);
        let data = rest.get(header_len..len)?;
        if (level, kind) == (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            return Some(Metadata {
                status: u32::from_ne_bytes(data.get(..4)?.try_into().ok()?),
                vlan_control: u16::from_ne_bytes(data.get(16..18)?.try_into().ok()?),
                vlan_ethertype: u16::from_ne_bytes(data.get(18..20)?.try_into().ok()?),
            });
        }
        rest = rest.get(len.next_multiple_of(size_of::<usize>())..)?;
    }
    None
}
