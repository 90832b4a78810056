//! A PPPoE session without negotiation: both ends are told its number, as if discovery and LCP were over.
//!
//! The kernel then has a ppp device over the card, and frames with PPPoE headers on the cable.
#![allow(unsafe_code)]

use std::{
    fs::{File, OpenOptions},
    io,
    mem::size_of,
    os::fd::{AsRawFd, RawFd},
};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// One end of a session; dropping it ends the session and removes its device.
#[derive(Debug)]
pub(super) struct Session {
    _socket: Socket,
    _channel: File,
    _unit: File,
    /// The device's name.
    pub(super) device: String,
}

/// `struct sockaddr_pppox` of linux/if_pppox.h for PPPoE, which is packed.
#[repr(C, packed)]
struct Address {
    family: u16,
    protocol: u32,
    session_be: u16,
    remote: [u8; 6],
    device: [u8; 16],
}

/// `struct npioctl` of linux/ppp-ioctl.h: what becomes of a network protocol.
#[repr(C)]
struct NetworkProtocol {
    protocol: libc::c_int,
    mode: libc::c_int,
}

const PPPOX_PPPOE: u32 = 0;
const PPP_IP: libc::c_int = 0x21;
const PPP_IPV6: libc::c_int = 0x57;
const PASS: libc::c_int = 0;

nix::ioctl_read!(channel_number, b't', 55, libc::c_int);
nix::ioctl_write_ptr!(attach_channel, b't', 56, libc::c_int);
nix::ioctl_write_ptr!(connect_unit, b't', 58, libc::c_int);
nix::ioctl_readwrite!(new_unit, b't', 62, libc::c_int);
nix::ioctl_write_ptr!(set_protocol_mode, b't', 75, NetworkProtocol);

impl Session {
    /// Joins the session `number` with the card `remote` over this namespace's `device`.
    ///
    /// # Errors
    /// Fails without root or when the kernel lacks PPPoE.
    pub(super) fn join(device: &str, number: u16, remote: [u8; 6]) -> Result<Self> {
        let domain = Domain::from(libc::AF_PPPOX);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::from(0)))
            .context("open a PPPoE socket")?;
        socket
            .connect(&address(device, number, remote))
            .context("join the PPPoE session")?;
        let channel = attach(socket.as_raw_fd()).context("attach the session's channel")?;
        let (unit, index) = unit(channel.as_raw_fd()).context("make the ppp device")?;
        Ok(Self {
            _socket: socket,
            _channel: channel,
            _unit: unit,
            device: format!("ppp{index}"),
        })
    }
}

fn address(device: &str, number: u16, remote: [u8; 6]) -> SockAddr {
    let mut name = [0; 16];
    name[..device.len()].copy_from_slice(device.as_bytes());
    let address = Address {
        family: libc::AF_PPPOX as u16,
        protocol: PPPOX_PPPOE,
        session_be: number.to_be(),
        remote,
        device: name,
    };
    let mut storage = SockAddrStorage::zeroed();
    let len = size_of::<Address>();
    // SAFETY: the storage is larger than this structure of plain bytes, which needs no alignment.
    unsafe {
        let to = std::ptr::from_mut(&mut storage).cast::<Address>();
        to.write_unaligned(address);
    }
    // SAFETY: these bytes are written above.
    unsafe { SockAddr::new(storage, len as libc::socklen_t) }
}

/// A descriptor of the session's channel.
fn attach(socket: RawFd) -> io::Result<File> {
    let mut number = 0;
    // SAFETY: the kernel writes one int to where the reference points.
    unsafe { channel_number(socket, &raw mut number) }?;
    let channel = open()?;
    // SAFETY: the kernel reads one int from where the reference points.
    unsafe { attach_channel(channel.as_raw_fd(), &raw const number) }?;
    Ok(channel)
}

/// A new unit over the channel that lets both network protocols through, and its number.
fn unit(channel: RawFd) -> io::Result<(File, libc::c_int)> {
    let unit = open()?;
    let mut index = -1;
    // SAFETY: the kernel reads and writes one int where the reference points.
    unsafe { new_unit(unit.as_raw_fd(), &raw mut index) }?;
    // SAFETY: the kernel reads one int from where the reference points.
    unsafe { connect_unit(channel, &raw const index) }?;
    for protocol in [PPP_IP, PPP_IPV6] {
        let mode = NetworkProtocol {
            protocol,
            mode: PASS,
        };
        // SAFETY: the kernel reads the structure where the reference points.
        unsafe { set_protocol_mode(unit.as_raw_fd(), &raw const mode) }?;
    }
    Ok((unit, index))
}

fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/ppp")
}
