//! How are frames compressed on the wire?
//!
//! Each non-empty segment is compressed alone, before its crc or sealing; the preamble then has flag
//! `EARLY_DATA_COMPRESSED` and the compressed lengths. Ceph wraps the blocks of each method in its own way
//! (`src/compressor/*`):
//!
//! | method | a compressed segment |
//! |---|---|
//! | snappy | a raw snappy block (it begins with its inflated length) |
//! | zlib | one byte (0: which implementation made it), then raw deflate |
//! | zstd | `u32` inflated length, then a zstd frame |
//! | lz4 | `u32` n, n × (`u32` inflated, `u32` compressed), then n raw blocks, each of which may refer to those before |
//!
//! The inflated size is bounded before anything is produced: by the limit of its segment, and by the
//! greatest ratio that the method can reach, so that a few bytes cannot reserve much.

use std::fmt;

/// A compression method, by its number on the wire.
///
/// Ceph: `Compressor::CompressionAlgorithm` in `src/compressor/Compressor.h`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Method(pub u32);

impl Method {
    /// No compression.
    pub const NONE: Self = Self(0);
    /// Snappy; feature `snappy`.
    pub const SNAPPY: Self = Self(1);
    /// Deflate; feature `zlib`.
    pub const ZLIB: Self = Self(2);
    /// Zstandard; feature `zstd`.
    pub const ZSTD: Self = Self(3);
    /// LZ4; feature `lz4`.
    pub const LZ4: Self = Self(4);
    /// Brotli, an option when Ceph is built; not supported here.
    pub const BROTLI: Self = Self(5);

    const NAMES: [(Self, &'static str); 6] = [
        (Self::NONE, "none"),
        (Self::SNAPPY, "snappy"),
        (Self::ZLIB, "zlib"),
        (Self::ZSTD, "zstd"),
        (Self::LZ4, "lz4"),
        (Self::BROTLI, "brotli"),
    ];

    /// The methods that this build can inflate and produce.
    pub const SUPPORTED: &'static [Self] = &[
        #[cfg(feature = "snappy")]
        Self::SNAPPY,
        #[cfg(feature = "zlib")]
        Self::ZLIB,
        #[cfg(feature = "zstd")]
        Self::ZSTD,
        #[cfg(feature = "lz4")]
        Self::LZ4,
    ];

    /// The name that Ceph's options use.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(method, _)| *method == self).map(|(_, name)| *name)
    }

    /// Whether this build can inflate and produce it.
    #[must_use]
    pub fn is_supported(self) -> bool {
        Self::SUPPORTED.contains(&self)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown({})", self.0),
        }
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a segment could not be inflated.
#[cfg_attr(
    not(any(feature = "snappy", feature = "zlib", feature = "zstd", feature = "lz4")),
    expect(dead_code, reason = "without any method there is one way to fail")
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Not a block of this method.
    Broken,
    /// It inflates, or says that it does, to more than the limit.
    TooLong { found: u64 },
    /// The method is not built in.
    Unsupported,
}

/// The most wire bytes that a segment with this limit may have when compressed: methods add a little
/// to what they cannot shrink.
pub(crate) fn bound(limit: u32) -> u64 {
    u64::from(limit) + u64::from(limit) / 64 + 1024
}

/// Inflates a segment of at most `limit` bytes.
pub(crate) fn inflate(method: Method, block: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    match method {
        #[cfg(feature = "snappy")]
        Method::SNAPPY => snappy::inflate(block, limit),
        #[cfg(feature = "zlib")]
        Method::ZLIB => zlib::inflate(block, limit),
        #[cfg(feature = "zstd")]
        Method::ZSTD => zstandard::inflate(block, limit),
        #[cfg(feature = "lz4")]
        Method::LZ4 => lz4::inflate(block, limit),
        _ => {
            let _ = (block, limit);
            Err(Failure::Unsupported)
        }
    }
}

/// Compresses a segment, or gives nothing if the method fails or is not built in.
pub(crate) fn deflate(method: Method, plain: &[u8]) -> Option<Vec<u8>> {
    match method {
        #[cfg(feature = "snappy")]
        Method::SNAPPY => snap::raw::Encoder::new().compress_vec(plain).ok(),
        #[cfg(feature = "zlib")]
        Method::ZLIB => zlib::deflate(plain),
        #[cfg(feature = "zstd")]
        Method::ZSTD => zstandard::deflate(plain),
        #[cfg(feature = "lz4")]
        Method::LZ4 => lz4::deflate(plain),
        _ => {
            let _ = plain;
            None
        }
    }
}

/// Refuses an inflated length above the limit, or above what `most` says the block can hold.
#[cfg(any(feature = "snappy", feature = "zstd", feature = "lz4"))]
fn check(announced: u64, limit: usize, most: u64) -> Result<usize, Failure> {
    if announced > limit as u64 {
        Err(Failure::TooLong { found: announced })
    } else if announced > most {
        Err(Failure::Broken)
    } else {
        Ok(announced as usize)
    }
}

#[cfg(feature = "snappy")]
mod snappy {
    use super::{Failure, check};

    /// Three bytes copy at most 64.
    const RATIO: u64 = 22;

    pub(super) fn inflate(block: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let announced = snap::raw::decompress_len(block).map_err(|_| Failure::Broken)?;
        check(announced as u64, limit, block.len() as u64 * RATIO)?;
        snap::raw::Decoder::new().decompress_vec(block).map_err(|_| Failure::Broken)
    }
}

#[cfg(feature = "zlib")]
mod zlib {
    use super::Failure;
    use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

    /// Which implementation made the block: the generic one. Readers skip it.
    const FLAVOUR: u8 = 0;

    pub(super) fn inflate(block: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let (_flavour, stream) = block.split_first().ok_or(Failure::Broken)?;
        let mut inflater = Decompress::new(false);
        let mut plain = Vec::with_capacity((4 * stream.len()).min(limit).max(64));
        loop {
            let rest = stream.get(inflater.total_in() as usize..).unwrap_or_default();
            let before = (inflater.total_in(), plain.len());
            let status = inflater.decompress_vec(rest, &mut plain, FlushDecompress::Finish);
            if plain.len() > limit {
                return Err(Failure::TooLong { found: plain.len() as u64 });
            }
            match status {
                Ok(Status::StreamEnd) => return Ok(plain),
                // Full: twice the room. The limit gets one byte more, to see that it is exceeded.
                Ok(_) if plain.len() == plain.capacity() => {
                    let more = plain.len().max(64).min(limit + 1 - plain.len());
                    plain.reserve_exact(more);
                }
                Ok(_) if (inflater.total_in(), plain.len()) != before => {}
                _ => return Err(Failure::Broken),
            }
        }
    }

    pub(super) fn deflate(plain: &[u8]) -> Option<Vec<u8>> {
        let mut compressor = Compress::new(Compression::default(), false);
        // Deflate's worst case is five bytes per 16 KiB and a little for the stream.
        let mut block = Vec::with_capacity(plain.len() + plain.len() / 1024 + 64);
        block.push(FLAVOUR);
        let status = compressor.compress_vec(plain, &mut block, FlushCompress::Finish).ok()?;
        (status == Status::StreamEnd).then_some(block)
    }
}

#[cfg(feature = "zstd")]
mod zstandard {
    use super::{Failure, check};

    /// The shortest block of a frame has 4 bytes and stands for 128 KiB at most.
    const BLOCK: u64 = 4;
    const BLOCK_MOST: u64 = 128 << 10;
    /// Ceph's default level (`compressor_zstd_level`).
    const LEVEL: i32 = 1;

    pub(super) fn inflate(block: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let (announced, frame) = block.split_first_chunk().ok_or(Failure::Broken)?;
        let most = (frame.len() as u64 / BLOCK + 1) * BLOCK_MOST;
        let len = check(u64::from(u32::from_le_bytes(*announced)), limit, most)?;
        // Into a buffer of the whole size at once: the streaming form would reserve the frame's window.
        let plain = zstd::bulk::decompress(frame, len).map_err(|_| Failure::Broken)?;
        if plain.len() == len { Ok(plain) } else { Err(Failure::Broken) }
    }

    pub(super) fn deflate(plain: &[u8]) -> Option<Vec<u8>> {
        let frame = zstd::bulk::compress(plain, LEVEL).ok()?;
        let mut block = u32::try_from(plain.len()).ok()?.to_le_bytes().to_vec();
        block.extend_from_slice(&frame);
        Some(block)
    }
}

#[cfg(feature = "lz4")]
mod lz4 {
    use super::{Failure, check};
    use lz4_flex::block::{compress, decompress_into_with_dict};

    /// One byte of a match's length stands for 255 bytes.
    const RATIO: u64 = 255;

    pub(super) fn inflate(block: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let (count, rest) = block.split_first_chunk().ok_or(Failure::Broken)?;
        let count = u32::from_le_bytes(*count) as usize;
        let (table, mut blocks) =
            rest.split_at_checked(count.checked_mul(8).ok_or(Failure::Broken)?).ok_or(Failure::Broken)?;
        let pairs = || table.as_chunks::<8>().0.iter().map(|pair| lengths(*pair));
        let total: u64 = pairs().map(|(original, _)| u64::from(original)).sum();
        let len = check(total, limit, blocks.len() as u64 * RATIO)?;
        let mut plain = vec![0; len];
        let mut done = 0;
        for (original, compressed) in pairs() {
            let (this, next) = blocks.split_at_checked(compressed as usize).ok_or(Failure::Broken)?;
            blocks = next;
            let (before, room) = plain.split_at_mut_checked(done).ok_or(Failure::Broken)?;
            let room = room.get_mut(..original as usize).ok_or(Failure::Broken)?;
            let written = decompress_into_with_dict(this, room, before).map_err(|_| Failure::Broken)?;
            if written != room.len() {
                return Err(Failure::Broken);
            }
            done += written;
        }
        Ok(plain)
    }

    fn lengths(pair: [u8; 8]) -> (u32, u32) {
        let both = u64::from_le_bytes(pair);
        (both as u32, (both >> 32) as u32)
    }

    pub(super) fn deflate(plain: &[u8]) -> Option<Vec<u8>> {
        let body = compress(plain);
        let mut block = 1u32.to_le_bytes().to_vec();
        block.extend_from_slice(&u32::try_from(plain.len()).ok()?.to_le_bytes());
        block.extend_from_slice(&u32::try_from(body.len()).ok()?.to_le_bytes());
        block.extend_from_slice(&body);
        Some(block)
    }
}
