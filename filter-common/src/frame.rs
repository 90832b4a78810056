//! The frame that is judged: bytes at offsets, each access checked.

use crate::scratch::Message;

/// One Ethernet frame, as the driver or a test hands it over.
///
/// There is no way to borrow the bytes: the kernel's verifier accepts a read
/// only right behind a comparison with the end of the frame.
pub trait Frame {
    /// Bytes in the frame.
    fn len_bytes(&self) -> usize;

    /// The `N` bytes at `at`; `None` if the frame ends before.
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// Replaces the `N` bytes at `at`; `None` if the frame ends before.
    fn write<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()>;

    /// Copies the `len` bytes at `at` to the start of `message`; `len` is 1 to 512.
    fn load(&self, at: usize, len: usize, message: &mut Message) -> Option<()>;

    /// Copies the first `len` bytes of `message` to `at`; `len` is 1 to 512.
    fn store(&mut self, at: usize, len: usize, message: &Message) -> Option<()>;

    /// Makes the frame `len` bytes long; `None` if there is no room.
    fn resize(&mut self, len: usize) -> Option<()>;
}

/// A frame in a buffer of this process, with room behind it for an answer.
#[derive(Debug)]
pub struct BufferFrame<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> BufferFrame<'a> {
    /// Takes the first `len` bytes of `buffer` as a frame.
    ///
    /// # Panics
    ///
    /// If the buffer is shorter than `len`.
    pub fn new(buffer: &'a mut [u8], len: usize) -> Self {
        assert!(len <= buffer.len(), "a frame lies within its buffer");
        Self { buffer, len }
    }

    /// The frame as it is now.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    fn place(&mut self, at: usize, len: usize) -> Option<&mut [u8]> {
        self.buffer[..self.len].get_mut(at..at.checked_add(len)?)
    }
}

impl Frame for BufferFrame<'_> {
    fn len_bytes(&self) -> usize {
        self.len
    }

    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes().get(at..)?.first_chunk().copied()
    }

    fn write<const N: usize>(&mut self, at: usize, bytes: [u8; N]) -> Option<()> {
        self.place(at, N)?.copy_from_slice(&bytes);
        Some(())
    }

    fn load(&self, at: usize, len: usize, message: &mut Message) -> Option<()> {
        let bytes = self.bytes().get(at..)?.get(..len)?;
        message.get_mut(..len)?.copy_from_slice(bytes);
        Some(())
    }

    fn store(&mut self, at: usize, len: usize, message: &Message) -> Option<()> {
        self.place(at, len)?.copy_from_slice(message.get(..len)?);
        Some(())
    }

    fn resize(&mut self, len: usize) -> Option<()> {
        if len > self.buffer.len() {
            return None;
        }
        self.len = len;
        Some(())
    }
}
