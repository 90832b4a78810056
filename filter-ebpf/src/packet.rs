//! Raw packet memory behind the [`Frame`] of `filter-common`.

use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{bpf_xdp_adjust_tail, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use filter_common::{
    frame::Frame,
    scratch::{MESSAGE_MAX_BYTES, Message},
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
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let bytes = self.bytes(at)?;
        // SAFETY: `bytes` found N bytes before data_end; byte arrays need no alignment.
        Some(unsafe { *bytes })
    }

    #[inline(always)]
    fn write<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        let place = self.bytes(at)?;
        // SAFETY: as in `read`; the driver gave this program the frame to change.
        unsafe { *place = bytes };
        Some(())
    }

    #[inline(always)]
    fn load(&self, at: usize, len: usize, message: &mut Message) -> Option<()> {
        if len == 0 || len > MESSAGE_MAX_BYTES {
            return None;
        }
        // SAFETY: `message` has room for `len` bytes; the helper checks the frame's side.
        let status = unsafe {
            bpf_xdp_load_bytes(
                self.ctx.as_ptr().cast(),
                at as u32,
                message.as_mut_ptr().cast(),
                len as u32,
            )
        };
        (status == 0).then_some(())
    }

    #[inline(always)]
    fn store(&mut self, at: usize, len: usize, message: &Message) -> Option<()> {
        if len == 0 || len > MESSAGE_MAX_BYTES {
            return None;
        }
        // SAFETY: `message` holds `len` bytes; the helper checks the frame's side and only reads.
        let status = unsafe {
            bpf_xdp_store_bytes(
                self.ctx.as_ptr().cast(),
                at as u32,
                message.as_ptr().cast_mut().cast(),
                len as u32,
            )
        };
        (status == 0).then_some(())
    }

    #[inline(always)]
    fn resize(&mut self, len: usize) -> Option<()> {
        let delta = len as i32 - self.len_bytes() as i32;
        // SAFETY: the helper checks the room; every access after it reads the bounds again.
        let status = unsafe { bpf_xdp_adjust_tail(self.ctx.as_ptr().cast(), delta) };
        (status == 0).then_some(())
    }
}
