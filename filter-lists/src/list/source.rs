//! The bytes of a list, unpacked if they are packed, within bounds.

use std::{
    cell::Cell,
    fmt,
    io::{self, BufReader, Read},
    rc::Rc,
};

/// Most bytes of one list after unpacking.
pub const DECODED_MAX_BYTES: u64 = 1 << 30;
/// Highest ratio of unpacked to packed bytes; real lists stay below 30.
pub const RATIO_MAX: u64 = 250;

/// Unpacked bytes that every list may have whatever the ratio.
const RATIO_FREE_BYTES: u64 = 1 << 20;
/// Highest window of a zstd frame, as a power of two: 32 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const PACKED_BUFFER_BYTES: usize = 32 * 1024;

/// How much may come out of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most bytes after unpacking.
    pub decoded_bytes: u64,
    /// Highest ratio of unpacked to packed bytes, above the first MiB.
    pub ratio: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            decoded_bytes: DECODED_MAX_BYTES,
            ratio: RATIO_MAX,
        }
    }
}

impl Bounds {
    /// Which bound so many bytes out of so many packed ones break.
    pub fn excess(self, packed_bytes: u64, decoded_bytes: u64) -> Option<Excess> {
        let by_ratio = RATIO_FREE_BYTES.max(packed_bytes.saturating_mul(self.ratio));
        if decoded_bytes > self.decoded_bytes {
            Some(Excess::Size)
        } else {
            (decoded_bytes > by_ratio).then_some(Excess::Ratio)
        }
    }
}

/// Which bound a list broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    Size,
    Ratio,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Size => "too many bytes",
            Self::Ratio => "packed too well",
        })
    }
}

impl std::error::Error for Excess {}

/// Whether bytes that begin with `head` are packed.
pub fn is_packed(head: &[u8]) -> bool {
    head.starts_with(&GZIP_MAGIC) || head.starts_with(&ZSTD_MAGIC)
}

/// A reader of the plain text behind `reader`; gzip and zstd show by their first bytes.
pub fn open<'r, R: Read + 'r>(
    mut reader: R,
    bounds: Bounds,
) -> io::Result<Bounded<Box<dyn Read + 'r>>> {
    let mut magic = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut magic)?;
    let packed = Rc::new(Cell::new(0));
    let is_gzip = magic.starts_with(&GZIP_MAGIC);
    let is_zstd = magic.starts_with(&ZSTD_MAGIC);
    let counted = Counted {
        inner: io::Cursor::new(magic).chain(reader),
        taken: packed.clone(),
    };
    let inner: Box<dyn Read + 'r> = if is_gzip {
        let buffered = BufReader::with_capacity(PACKED_BUFFER_BYTES, counted);
        Box::new(flate2::bufread::MultiGzDecoder::new(buffered))
    } else if is_zstd {
        let mut decoder = zstd::Decoder::new(counted)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Box::new(decoder)
    } else {
        Box::new(counted)
    };
    Ok(Bounded {
        inner,
        bounds,
        given: 0,
        packed,
    })
}

/// Counts what is read through it.
struct Counted<R> {
    inner: R,
    taken: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.taken.set(self.taken.get() + read as u64);
        Ok(read)
    }
}

/// Fails with [`Excess`] where the unpacked bytes leave the bounds.
pub struct Bounded<R> {
    inner: R,
    bounds: Bounds,
    given: u64,
    packed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.given += read as u64;
        match self.bounds.excess(self.packed.get(), self.given) {
            Some(excess) => Err(io::Error::other(excess)),
            None => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn unpack(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        open(bytes, Bounds::default())?.read_to_end(&mut text)?;
        Ok(text)
    }

    #[test]
    fn packed_and_plain_bytes_give_the_same_text() {
        let text = b"0.0.0.0 ads.example\n";
        let two_members = [gzip(text), gzip(text)].concat();
        assert_eq!(unpack(text).unwrap(), text);
        assert_eq!(unpack(&gzip(text)).unwrap(), text);
        assert_eq!(unpack(&two_members).unwrap(), [&text[..], text].concat());
        assert_eq!(
            unpack(&zstd::encode_all(&text[..], 3).unwrap()).unwrap(),
            text
        );
        assert_eq!(unpack(b"").unwrap(), b"");
    }

    #[test]
    fn what_unpacks_too_well_is_refused() {
        let zeros = vec![b' '; 4 << 20];
        for packed in [gzip(&zeros), zstd::encode_all(&zeros[..], 3).unwrap()] {
            let error = unpack(&packed).map(|text| text.len()).unwrap_err();
            assert_eq!(error.downcast::<Excess>().unwrap(), Excess::Ratio);
        }
    }

    #[test]
    fn a_truncated_archive_is_an_error() {
        let packed = gzip(&b"ads.example\n".repeat(100));
        assert!(unpack(&packed[..packed.len() - 9]).is_err());
    }
}
