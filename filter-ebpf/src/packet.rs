//! Raw packet memory behind the [`Frame`] of `filter-common`.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use filter_common::{
    frame::Frame,
    scratch::{FrameBytes, HEADERS_MAX_BYTES, MESSAGE_MAX_BYTES},
};

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
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let bytes = self.bytes(at)?;
        // SAFETY: `bytes` found N bytes before data_end; byte arrays need no alignment.
        Some(unsafe { *bytes })
    }

    #[inline(always)]
    fn load(&self, from: usize, len: usize, bytes: &mut FrameBytes, to: usize) -> Option<()> {
        let (to, len) = within(to, len)?;
        // SAFETY: `within` keeps `to` inside `bytes`.
        let place = unsafe { bytes.as_mut_ptr().add(to) };
        // SAFETY: `within` keeps `len` bytes from there inside `bytes`; the helper checks the
        // frame's side.
        let status = unsafe {
            bpf_xdp_load_bytes(
                self.ctx.as_ptr().cast(),
                from as u32,
                place.cast(),
                len as u32,
            )
        };
        (status == 0).then_some(())
    }

    #[inline(always)]
    fn replace(&mut self, bytes: &FrameBytes, from: usize, len: usize) -> Option<()> {
        let (from, len) = within(from, len)?;
        // Opaque, or the difference of two packet pointers is taken in 32 bits,
        // which the verifier prohibits.
        let now = core::hint::black_box(self.len_bytes());
        let delta = now as i32 - len as i32;
        // SAFETY: the helper checks the room; no pointer into the packet is kept across it.
        if unsafe { bpf_xdp_adjust_head(self.ctx.as_ptr().cast(), delta) } != 0 {
            return None;
        }
        // SAFETY: `within` keeps `from` inside `bytes`.
        let source = unsafe { bytes.as_ptr().add(from) };
        // SAFETY: `within` keeps `len` bytes from there inside `bytes`, which the helper only
        // reads; it checks the frame's side.
        let status = unsafe {
            bpf_xdp_store_bytes(
                self.ctx.as_ptr().cast(),
                0,
                source.cast_mut().cast(),
                len as u32,
            )
        };
        (status == 0).then_some(())
    }
}

/// A position and a length that keep inside a [`FrameBytes`], in terms that the verifier follows.
#[inline(always)]
fn within(at: usize, len: usize) -> Option<(usize, usize)> {
    if at > HEADERS_MAX_BYTES || len == 0 || len > FRAME_MAX_BYTES {
        return None;
    }
    // Opaque, or the compiler concludes that the bounds below are idle. The
    // length is counted from 1, so that the verifier knows it is never 0.
    let at = core::hint::black_box(at).min(HEADERS_MAX_BYTES);
    let last = core::hint::black_box(len - 1).min(FRAME_MAX_BYTES - 1);
    Some((at, last + 1))
}

/// Longest run of bytes that is loaded or stored.
const FRAME_MAX_BYTES: usize = HEADERS_MAX_BYTES + MESSAGE_MAX_BYTES;
