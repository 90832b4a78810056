//! The frame that is judged: bytes at offsets, each access checked.

use crate::{
    maps::PART_BYTES,
    scratch::{FrameBytes, HEADERS_MAX_BYTES},
};

/// Most bytes that are copied to behind a kept part of a query.
pub const BEHIND_MAX_BYTES: usize = size_of::<FrameBytes>() - HEADERS_MAX_BYTES - PART_BYTES;

/// One Ethernet frame, as the driver or a test hands it over.
///
/// There is no way to borrow the bytes: the kernel's verifier accepts a read
/// only right behind a comparison with the end of the frame.
pub trait Frame {
    /// Bytes in the frame.
    fn len_bytes(&self) -> usize;

    /// Index of the interface that the frame came in by.
    fn interface(&self) -> u32;

    /// Whether packets to other ports than that of DNS matter: some policy refuses bypasses.
    fn watches_bypasses(&self) -> bool;

    /// The `N` bytes at `at`; `None` if the frame ends before.
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// Copies `len` bytes from `from` to position `to` of `bytes`; `None` if they do not fit.
    fn load(&self, from: usize, len: usize, bytes: &mut FrameBytes, to: usize) -> Option<()>;

    /// Copies `len` bytes, at most [`BEHIND_MAX_BYTES`], from `from` to behind [`HEADERS_MAX_BYTES`]: to
    /// position `to` of `bytes`, at most that and [`PART_BYTES`].
    fn load_behind(&self, from: usize, len: usize, bytes: &mut FrameBytes, to: usize)
    -> Option<()>;

    /// Replaces the `N` bytes at `at`; `None` if the frame ends before.
    fn write<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()>;

    /// Makes the frame the `len` bytes from position `from` of `bytes`; `None` if there is no room.
    ///
    /// The frame grows or shrinks at its start: drivers keep room for that in
    /// front of every frame, but not always behind it.
    fn replace(&mut self, bytes: &FrameBytes, from: usize, len: usize) -> Option<()>;
}

/// A frame in a buffer of this process, with room behind it for an answer.
#[derive(Debug)]
pub struct BufferFrame<'a> {
    buffer: &'a mut [u8],
    len: usize,
    interface: u32,
    watches_bypasses: bool,
}

impl<'a> BufferFrame<'a> {
    /// Takes the first `len` bytes of `buffer` as a frame.
    ///
    /// # Panics
    ///
    /// If the buffer is shorter than `len`.
    pub fn new(buffer: &'a mut [u8], len: usize) -> Self {
        assert!(len <= buffer.len(), "a frame lies within its buffer");
        Self {
            buffer,
            len,
            interface: 0,
            watches_bypasses: false,
        }
    }

    /// Lets packets to the ports of encrypted transports matter.
    pub fn watching_bypasses(self) -> Self {
        Self {
            watches_bypasses: true,
            ..self
        }
    }

    /// Lets the frame come in by the interface with this index.
    pub fn from_interface(self, interface: u32) -> Self {
        Self { interface, ..self }
    }

    /// The frame as it is now.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Frame for BufferFrame<'_> {
    fn len_bytes(&self) -> usize {
        self.len
    }

    fn interface(&self) -> u32 {
        self.interface
    }

    fn watches_bypasses(&self) -> bool {
        self.watches_bypasses
    }

    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes().get(at..)?.first_chunk().copied()
    }

    fn load(&self, from: usize, len: usize, bytes: &mut FrameBytes, to: usize) -> Option<()> {
        let source = self.bytes().get(from..)?.get(..len)?;
        bytes.get_mut(to..)?.get_mut(..len)?.copy_from_slice(source);
        Some(())
    }

    fn load_behind(
        &self,
        from: usize,
        len: usize,
        bytes: &mut FrameBytes,
        to: usize,
    ) -> Option<()> {
        self.load(from, len, bytes, to)
    }

    fn write<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        let place = self.buffer.get_mut(..self.len)?.get_mut(at..)?;
        place.get_mut(..N)?.copy_from_slice(&bytes);
        Some(())
    }

    fn replace(&mut self, bytes: &FrameBytes, from: usize, len: usize) -> Option<()> {
        let source = bytes.get(from..)?.get(..len)?;
        self.buffer.get_mut(..len)?.copy_from_slice(source);
        self.len = len;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_knows_where_it_came_from_and_what_matters() {
        let mut buffer = [0; 8];
        let frame = BufferFrame::new(&mut buffer, 4);
        assert_eq!((frame.len_bytes(), frame.interface()), (4, 0));
        assert!(!frame.watches_bypasses());
        let frame = frame.from_interface(7).watching_bypasses();
        assert_eq!((frame.len_bytes(), frame.interface()), (4, 7));
        assert!(frame.watches_bypasses());
    }

    #[test]
    fn nothing_is_read_or_written_beyond_the_end() {
        let mut buffer = [1, 2, 3, 4, 5, 6, 7, 8];
        let mut frame = BufferFrame::new(&mut buffer, 4);
        assert_eq!(frame.read(1), Some([2, 3, 4]));
        assert_eq!(frame.read::<3>(2), None);
        assert_eq!(frame.write(3, [9, 9]), None);
        assert_eq!(frame.write(2, [9, 9]), Some(()));
        assert_eq!(frame.bytes(), [1, 2, 9, 9]);
        let mut copy: FrameBytes = [0; size_of::<FrameBytes>()];
        assert_eq!(frame.load(1, 4, &mut copy, 0), None);
        assert_eq!(frame.load_behind(1, 3, &mut copy, 5), Some(()));
        assert_eq!(copy[4..9], [0, 2, 9, 9, 0]);
        // There is room for eight bytes, whatever the frame had.
        assert_eq!(frame.replace(&copy, 5, 9), None);
        assert_eq!(frame.replace(&copy, 5, 3), Some(()));
        assert_eq!(frame.bytes(), [2, 9, 9]);
    }
}
