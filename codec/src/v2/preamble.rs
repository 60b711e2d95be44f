//! What does a frame's preamble say, and how long is the frame on the wire?
//!
//! ```text
//!  0   1   2          8          14         20         26      27        28    32
//!  ┌───┬───┬──────────┬──────────┬──────────┬──────────┬───────┬──────────┬─────┐
//!  │tag│num│seg 0     │seg 1     │seg 2     │seg 3     │flags  │reserved  │crc  │
//!  └───┴───┴──────────┴──────────┴──────────┴──────────┴───────┴──────────┴─────┘
//!            each u32 length, u16 alignment (a hint)             crc of 0..28, seed 0
//! ```
//!
//! Lengths are without padding, crc and tag; of a compressed frame they are the compressed ones.
//! Ceph: `preamble_block_t` in `src/msg/async/frames_v2.h`.

use super::{MAX_SEGMENTS, PREAMBLE_LEN, Revision};
use crate::crc::crc32c;
use crate::error::{Flaw, Malformed};

/// The decoded preamble of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Preamble {
    /// Which frame it is: [`Tag`](super::Tag)'s number.
    pub tag: u8,
    /// How many segments the frame has, 1 to 4.
    pub num_segments: u8,
    /// Their lengths in bytes; 0 for those that do not exist.
    pub lengths: [u32; MAX_SEGMENTS],
    /// The alignments that the sender suggests for them.
    pub alignments: [u16; MAX_SEGMENTS],
    /// Bit 0: [`COMPRESSED`](Self::COMPRESSED).
    pub flags: u8,
    /// 0; other values are let through, as by Ceph.
    pub reserved: u8,
}

/// Where the bytes of a frame are: the columns of Ceph's own test of frame lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireLengths {
    /// The preamble; in secure 2.1 with the first 48 bytes of segment 0 and a tag.
    pub preamble: u64,
    /// What each segment adds, with its padding, crc or tag.
    pub segments: [u64; MAX_SEGMENTS],
    /// Epilogue, with its tag in secure mode.
    pub epilogue: u64,
}

impl WireLengths {
    /// The whole frame.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.preamble + self.segments.iter().sum::<u64>() + self.epilogue
    }
}

impl Preamble {
    /// Flag `EARLY_DATA_COMPRESSED`: every segment of the frame is compressed.
    pub const COMPRESSED: u8 = 1;

    /// A preamble for segments of these lengths: trailing empty ones are dropped, one always stays.
    #[must_use]
    pub fn new(tag: u8, lengths: [u32; MAX_SEGMENTS], alignments: [u16; MAX_SEGMENTS]) -> Self {
        let used = lengths.iter().rposition(|len| *len > 0).map_or(1, |last| last + 1);
        let mut preamble = Self { tag, num_segments: used as u8, lengths, ..Self::default() };
        preamble.alignments.iter_mut().zip(alignments).take(used).for_each(|(to, from)| *to = from);
        preamble
    }

    /// Whether the segments are compressed.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.flags & Self::COMPRESSED != 0
    }

    /// The lengths of the segments that exist.
    pub fn segments(&self) -> impl Iterator<Item = u32> + '_ {
        self.lengths.iter().copied().take(usize::from(self.num_segments))
    }

    /// Reads and checks a preamble at stream offset `offset`.
    ///
    /// # Errors
    /// A wrong crc, no segment or more than four, or a last one that is empty.
    #[inline]
    pub fn parse(bytes: &[u8; PREAMBLE_LEN], offset: u64) -> Result<Self, Malformed> {
        let [checked @ .., c0, c1, c2, c3] = bytes;
        let (found, expected) = (u32::from_le_bytes([*c0, *c1, *c2, *c3]), crc32c(0, checked));
        let wrong = |field, at: u64, flaw| Err(Malformed::new("preamble", field, offset + at, flaw));
        if found != expected {
            return wrong("crc", 28, Flaw::Crc { expected, found });
        }
        let [tag, num_segments, descriptors @ .., flags, reserved] = *checked;
        let mut preamble = Self { tag, num_segments, flags, reserved, ..Self::default() };
        let slots = preamble.lengths.iter_mut().zip(&mut preamble.alignments);
        for (descriptor, (len, alignment)) in descriptors.as_chunks::<6>().0.iter().zip(slots) {
            let [a, b, c, d, low, high] = *descriptor;
            *len = u32::from_le_bytes([a, b, c, d]);
            *alignment = u16::from_le_bytes([low, high]);
        }
        if !(1..=MAX_SEGMENTS as u8).contains(&num_segments) {
            let flaw = Flaw::Range { least: 1, most: MAX_SEGMENTS as u64, found: u64::from(num_segments) };
            return wrong("num_segments", 1, flaw);
        }
        // Descriptors beyond the count are not looked at.
        preamble.lengths.iter_mut().skip(usize::from(num_segments)).for_each(|len| *len = 0);
        if num_segments > 1 && preamble.segments().last() == Some(0) {
            let at = 2 + 6 * (u64::from(num_segments) - 1);
            return wrong("last segment", at, Flaw::Range { least: 1, most: u64::from(u32::MAX), found: 0 });
        }
        Ok(preamble)
    }

    /// The 32 bytes on the wire, with their crc.
    #[must_use]
    #[inline]
    pub fn to_bytes(&self) -> [u8; PREAMBLE_LEN] {
        let mut bytes = [0; PREAMBLE_LEN];
        let [head @ .., c0, c1, c2, c3] = &mut bytes;
        let [tag, num_segments, descriptors @ .., flags, reserved] = &mut *head;
        (*tag, *num_segments, *flags, *reserved) = (self.tag, self.num_segments, self.flags, self.reserved);
        let fields = self.lengths.iter().zip(&self.alignments);
        for (descriptor, (len, alignment)) in descriptors.as_chunks_mut::<6>().0.iter_mut().zip(fields) {
            let ([a, b, c, d], [low, high]) = (len.to_le_bytes(), alignment.to_le_bytes());
            *descriptor = [a, b, c, d, low, high];
        }
        [*c0, *c1, *c2, *c3] = crc32c(0, head).to_le_bytes();
        bytes
    }

    /// How many bytes each part of the frame has on the wire.
    #[must_use]
    pub fn wire_lengths(&self, revision: Revision, secure: bool) -> WireLengths {
        let count = usize::from(self.num_segments);
        let mut segments = self.lengths.map(u64::from);
        let (preamble, epilogue) = match (revision, secure) {
            (Revision::V2_0, false) => (32, 17),
            (Revision::V2_0, true) => {
                segments.iter_mut().for_each(|len| *len = pad16(*len));
                (32, 32)
            }
            (Revision::V2_1, false) => {
                if let [first, ..] = &mut segments
                    && *first > 0
                {
                    *first += 4;
                }
                (32, if count > 1 { 13 } else { 0 })
            }
            (Revision::V2_1, true) => {
                segments.iter_mut().for_each(|len| *len = pad16(*len));
                let [first, ..] = &mut segments;
                *first = if *first > INLINE { *first - INLINE + 16 } else { 0 };
                (96, if count > 1 { 32 } else { 0 })
            }
        };
        WireLengths { preamble, segments, epilogue }
    }
}

/// Bytes of segment 0 that are sealed together with the preamble (secure 2.1).
pub(crate) const INLINE: u64 = 48;

/// Rounded up to the cipher's block.
pub(crate) const fn pad16(len: u64) -> u64 {
    len.next_multiple_of(16)
}
