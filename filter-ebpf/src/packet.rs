//! Raw packet memory behind the [`Frame`] of `filter-common`.

use core::hint::black_box;

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_md,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use filter_common::{
    frame::{BEHIND_MAX_BYTES, Frame},
    maps::PART_BYTES,
    scratch::{FrameBytes, HEADERS_MAX_BYTES, MESSAGE_MAX_BYTES},
};

use crate::maps;

/// The frame of one program run.
pub struct Packet<'a> {
    ctx: &'a XdpContext,
}

impl<'a> Packet<'a> {
    /// Borrows the context of this run.
    #[inline(always)]
    pub fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }

    /// Asks for the second cache line of the frame while the first is looked at: a query is in both.
    #[inline(always)]
    pub fn touch(&self) {
        if let Some(byte) = self.bytes::<1>(64) {
            // SAFETY: as in `read`.
            unsafe { byte.read_volatile() };
        }
    }

    /// The `N` bytes at `at`, compared with the end of the frame.
    #[inline(always)]
    fn bytes<const N: usize>(&self, at: usize) -> Option<*mut [u8; N]> {
        let start = self.ctx.data() + at;
        if start + N > self.ctx.data_end() {
            return None;
        }
        Some(start as *mut [u8; N])
    }
}

impl Frame for Packet<'_> {
    #[inline(always)]
    fn len_bytes(&self) -> usize {
        self.ctx.data_end() - self.ctx.data()
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        self.ctx.ingress_ifindex() as u32
    }

    #[inline(always)]
    fn watches_bypasses(&self) -> bool {
        maps::watches_bypasses()
    }

    #[inline(always)]
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let bytes = self.bytes(at)?;
        // SAFETY: `bytes` found N bytes before data_end; byte arrays need no alignment.
        Some(unsafe { *bytes })
    }

    #[inline(always)]
    fn load(&self, from: usize, len: usize, bytes: &mut FrameBytes, to: usize) -> Option<()> {
        let last = len.checked_sub(1)?;
        let status = load_bytes(
            self.ctx.as_ptr().cast(),
            bytes,
            from as u64,
            to as u64,
            last as u64,
        );
        (status == 0).then_some(())
    }

    #[inline(always)]
    fn load_behind(
        &self,
        from: usize,
        len: usize,
        bytes: &mut FrameBytes,
        to: usize,
    ) -> Option<()> {
        let last = len.checked_sub(1)?;
        let status = load_behind(
            self.ctx.as_ptr().cast(),
            bytes,
            from as u64,
            to as u64,
            last as u64,
        );
        (status == 0).then_some(())
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        // SAFETY: the helper reads so many bytes of this stack, and checks the frame's side.
        let status = unsafe {
            bpf_xdp_store_bytes(
                self.ctx.as_ptr().cast(),
                at as u32,
                bytes.as_ptr().cast_mut().cast(),
                N as u32,
            )
        };
        (status == 0).then_some(())
    }

    #[inline(always)]
    fn replace(&mut self, bytes: &FrameBytes, from: usize, len: usize) -> Option<()> {
        let last = len.checked_sub(1)?;
        let status = replace_frame(self.ctx.as_ptr().cast(), bytes, from as u64, last as u64);
        (status == 0).then_some(())
    }
}

/// Copies `last + 1` bytes of the frame from `from` to position `to` of `bytes`; 0 if it did.
///
/// A function of its own: with the registers to itself, it uses each bound where it compared it.
/// Linux 6.1 forgets the bound of what was put aside in between. No global one, as those in
/// [`stages`](crate::stages): the verifier knows the context of a global function by the kernel's own
/// BTF, which kernels without CONFIG_DEBUG_INFO_BTF do not have.
/// A length is told by its last byte, so that the verifier knows it is never 0.
#[inline(never)]
extern "C" fn load_bytes(
    ctx: *mut xdp_md,
    bytes: *mut FrameBytes,
    from: u64,
    to: u64,
    last: u64,
) -> i64 {
    // Opaque, or the compiler finds both bounds kept by the caller, where the verifier does not.
    let (to, last) = (black_box(to), black_box(last));
    if !is_within(to, last) {
        return REFUSED;
    }
    // SAFETY: `is_within` keeps `to` inside `bytes`.
    let place = unsafe { bytes.cast::<u8>().add(to as usize) };
    // SAFETY: `is_within` keeps the bytes from there inside `bytes`; the helper checks the
    // frame's side.
    unsafe { bpf_xdp_load_bytes(ctx, from as u32, place.cast(), last as u32 + 1) }
}

/// As [`load_bytes`], but to behind a kept part of a query, and with bounds for that.
#[inline(never)]
extern "C" fn load_behind(
    ctx: *mut xdp_md,
    bytes: *mut FrameBytes,
    from: u64,
    to: u64,
    last: u64,
) -> i64 {
    if bytes.is_null() || to > BEHIND_AT_MOST || last >= BEHIND_MAX_BYTES as u64 {
        return REFUSED;
    }
    // SAFETY: `to` is inside `bytes`, as just compared.
    let place = unsafe { bytes.cast::<u8>().add(to as usize) };
    // SAFETY: so are the bytes from there, of which there are fewer than behind the greatest `to`; the
    // helper checks the frame's side.
    unsafe { bpf_xdp_load_bytes(ctx, from as u32, place.cast(), last as u32 + 1) }
}

/// The greatest position that [`load_behind`] loads to.
const BEHIND_AT_MOST: u64 = (HEADERS_MAX_BYTES + PART_BYTES) as u64;
const _: () = assert!(BEHIND_AT_MOST as usize + BEHIND_MAX_BYTES <= size_of::<FrameBytes>());

/// Makes the frame the `last + 1` bytes from position `from` of `bytes`; 0 if it did.
///
/// A function of its own, and no global one, for the reasons of [`load_bytes`].
#[inline(never)]
extern "C" fn replace_frame(
    ctx: *mut xdp_md,
    bytes: *const FrameBytes,
    from: u64,
    last: u64,
) -> i64 {
    // As in `load_bytes`.
    let (from, last) = (black_box(from), black_box(last));
    if !is_within(from, last) {
        return REFUSED;
    }
    // SAFETY: the context of a running program.
    let context = unsafe { &*ctx };
    let (start, end) = (context.data, context.data_end);
    // Opaque, or the difference of two packet pointers is taken in 32 bits, which the
    // verifier prohibits.
    let now = black_box(end as usize - start as usize);
    // SAFETY: the helper checks the room; no pointer into the packet is kept across it.
    if unsafe { bpf_xdp_adjust_head(ctx, now as i32 - (last as i32 + 1)) } != 0 {
        return REFUSED;
    }
    // SAFETY: `is_within` keeps `from` inside `bytes`.
    let source = unsafe { bytes.cast::<u8>().add(from as usize) };
    // SAFETY: `is_within` keeps the bytes from there inside `bytes`, which the helper only
    // reads; it checks the frame's side.
    unsafe { bpf_xdp_store_bytes(ctx, 0, source.cast_mut().cast(), last as u32 + 1) }
}

/// What no helper returns.
const REFUSED: i64 = 1;

/// Whether the bytes from `at` to `at + last` keep inside a [`FrameBytes`], as both do apart.
#[inline(always)]
const fn is_within(at: u64, last: u64) -> bool {
    at <= HEADERS_MAX_BYTES as u64 && last < FRAME_MAX_BYTES
}

/// Longest run of bytes that is loaded or stored.
const FRAME_MAX_BYTES: u64 = (HEADERS_MAX_BYTES + MESSAGE_MAX_BYTES) as u64;
const _: () = assert!(HEADERS_MAX_BYTES as u64 + FRAME_MAX_BYTES <= size_of::<FrameBytes>() as u64);
