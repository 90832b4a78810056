//! The few system calls of the lab that no crate offers safely.
//!
//! All unsafe code of this package is here.
#![allow(unsafe_code)]

use std::{
    io,
    mem::{MaybeUninit, size_of},
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Command,
};

use nix::{
    sys::{prctl, ptrace, signal::Signal},
    unistd::Pid,
};
use socket2::{Domain, MaybeUninitSlice, MsgHdrMut, SockAddr, SockAddrStorage, Socket, Type};

/// Makes the command's process receive SIGTERM when the thread that spawned it ends,
/// even when that is by SIGKILL.
pub(crate) fn end_with_parent(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; this
    // closure makes one prctl system call and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| prctl::set_pdeathsig(Signal::SIGTERM).map_err(io::Error::from));
    }
}

/// Number and arguments of the system call that a traced thread is about to make; `None`
/// if it stopped for another reason.
pub(crate) fn entered_call(process: Pid) -> nix::Result<Option<(u64, [u64; 6])>> {
    let info = ptrace::syscall_info(process)?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(None);
    }
    // SAFETY: the kernel says that it filled this field of the union.
    let entry = unsafe { info.u.entry };
    Ok(Some((entry.nr, entry.args)))
}

/// Opens a socket that sees and sends the whole frames of one interface of the
/// calling thread's namespace, whoever they are for, and reports stripped VLAN tags
/// beside each frame. Those that leave are seen only if that is asked for.
pub(crate) fn packet_socket(interface_index: u32, sees_outgoing: bool) -> io::Result<Socket> {
    // Protocol 0: the socket sees nothing before it is bound to its interface.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
    set_option(&socket, libc::PACKET_AUXDATA, 1 as libc::c_int)?;
    let ignored = libc::c_int::from(!sees_outgoing);
    set_option(&socket, libc::PACKET_IGNORE_OUTGOING, ignored)?;
    set_option(
        &socket,
        libc::PACKET_ADD_MEMBERSHIP,
        promiscuous(interface_index),
    )?;
    socket.bind(&link_layer_address(interface_index))?;
    Ok(socket)
}

fn promiscuous(interface_index: u32) -> libc::packet_mreq {
    libc::packet_mreq {
        mr_ifindex: interface_index.cast_signed(),
        mr_type: libc::PACKET_MR_PROMISC as libc::c_ushort,
        mr_alen: 0,
        mr_address: [0; 8],
    }
}

fn set_option<T: Copy>(socket: &Socket, option: libc::c_int, value: T) -> io::Result<()> {
    // SAFETY: the pointer and the length describe `value`, which outlives the call;
    // the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn link_layer_address(interface_index: u32) -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is plain data, smaller than and aligned as the storage,
    // and all-zero is one of its values.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as libc::sa_family_t;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface_index.cast_signed();
    // SAFETY: the family says AF_PACKET and the storage holds an address of it, of that length.
    unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) }
}

/// Receives one message into `frame` and its control messages into `control`, and
/// hands back how many bytes of each were written.
pub(crate) fn receive(
    socket: &Socket,
    frame: &mut [u8],
    control: &mut [u8],
) -> io::Result<(usize, usize)> {
    let mut buffers = [MaybeUninitSlice::new(maybe_uninit(frame))];
    let mut message = MsgHdrMut::new()
        .with_buffers(&mut buffers)
        .with_control(maybe_uninit(control));
    let frame_len = socket.recvmsg(&mut message, 0)?;
    Ok((frame_len, message.control_len()))
}

fn maybe_uninit(bytes: &mut [u8]) -> &mut [MaybeUninit<u8>] {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`. Only the kernel writes through
    // the result, bytes that are initialised, so `bytes` stays initialised.
    unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) }
}
