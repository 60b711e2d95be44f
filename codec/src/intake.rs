//! How do bytes come in, and who owns their memory?
//!
//! A driver asks for a buffer ([`Intake::lend`]), lets the socket fill it and gives it back
//! ([`Intake::accept`]). Small things are read ahead into a block and cut out of it as slices; once a
//! large segment is announced, the buffers lent are that segment's own memory:
//!
//! ```text
//!           block (4…64 KiB)                                direct segment
//!   ┌───────────┬───────────┬──────────────┐        ┌──────────────┬───────────────────┐
//!   │ frames    │ partial   │ lent to the  │        │ arrived,     │ lent to the       │
//!   │ cut off   │ frame     │ socket       │        │ crc running  │ socket            │
//!   └───────────┴───────────┴──────────────┘        └──────────────┴───────────────────┘
//! ```
//!
//! Memory is reserved for bytes that have arrived and at most [`Limits::ahead`](crate::Limits::ahead)
//! more, half for the block and half for the segment: a segment longer than that grows by pieces,
//! however long its header says it is.

use bytes::{Buf, Bytes, BytesMut};

use crate::crc::crc32c;
use crate::payload::Payload;

/// The first block of a stream, and of one that was idle.
const BLOCK_LEAST: usize = 4 << 10;
/// The largest block: a read of more than this is not faster.
const BLOCK_MOST: usize = 64 << 10;
/// Segments from this size on are read into memory of their own.
pub(crate) const DIRECT: usize = 32 << 10;
/// Where the data of a message would like to begin, [`Room::Aligned`].
const PAGE: usize = 4096;

/// Bytes read and not yet decoded.
#[derive(Debug)]
pub(crate) struct Intake {
    block: BytesMut,
    /// The memory that the block was reserved with; less and less of it is left as frames are cut off.
    held: usize,
    /// The size of the next block.
    next: usize,
    /// Bytes of the buffer that is lent, to see whether it comes back full.
    lent: usize,
    /// Stream offset of the block's first byte; with a direct segment, of what follows that.
    offset: u64,
    direct: Option<Box<Direct>>,
    /// Bytes that the block may reserve ahead, and that the direct segment may: half of the limit each.
    share: usize,
    record: Option<Record>,
}

/// The bytes of decoded frames, and of what is decoded of the next one.
#[derive(Debug, Default)]
struct Record {
    bytes: Vec<u8>,
    /// How many of them belong to whole frames.
    whole: usize,
}

/// Bytes that have arrived.
enum Run {
    /// A part of the block.
    Ahead(BytesMut),
    /// Memory of their own, and their crc.
    Own(Vec<BytesMut>, u32),
}

/// A large segment on its way into its own memory.
#[derive(Debug)]
struct Direct {
    /// Pieces that are full.
    done: Vec<BytesMut>,
    /// The piece being filled.
    piece: BytesMut,
    /// Bytes that it had room for at first.
    size: usize,
    /// Bytes still to come for the whole segment.
    left: usize,
    /// The crc of what has arrived; nothing is computed for sealed segments.
    crc: Option<u32>,
}

/// Which memory a large segment goes to.
#[derive(Debug, Default)]
pub enum Room {
    /// The decoder's own.
    #[default]
    Own,
    /// The decoder's own, its first byte at this offset of a page (modulo 4096): a message's `data_off`.
    /// A hint: it is followed for data of 32 KiB or more that is read as one piece, so only if half of
    /// [`Limits::ahead`](crate::Limits::ahead) has room for it and a page.
    Aligned(u16),
    /// The caller's: an empty buffer with room for the whole segment. It comes back as the message's
    /// data. It is not used with too little room, nor for data below 32 KiB or data that has arrived
    /// already, nor for v2's 2.0, sealed or compressed frames.
    Posted(BytesMut),
}

impl Intake {
    pub(crate) fn new(offset: u64, ahead: usize) -> Self {
        Self {
            block: BytesMut::new(),
            held: 0,
            next: BLOCK_LEAST,
            lent: 0,
            offset,
            direct: None,
            share: share(ahead),
            record: None,
        }
    }

    pub(crate) fn set_ahead(&mut self, ahead: usize) {
        self.share = share(ahead);
    }

    /// An empty buffer with room, to be filled from the stream.
    pub(crate) fn lend(&mut self) -> BytesMut {
        let lent = match &mut self.direct {
            Some(direct) if direct.left > 0 => direct.lend(self.share),
            _ => {
                self.make_room();
                spare(&mut self.block)
            }
        };
        self.lent = lent.capacity();
        lent
    }

    fn make_room(&mut self) {
        let len = self.block.len();
        if self.lent > 0 && len > 0 {
            // What was lent last was dropped: nobody else has the room behind the partial frame.
            let _ = self.block.try_reclaim(self.lent);
        }
        if len == 0 && self.held > 2 * self.next {
            // Idle after a rush: let the large block go.
            self.block = BytesMut::new();
        }
        if self.block.capacity() - len < BLOCK_LEAST / 2 {
            // A new block, with the partial frame moved to its start; BytesMut::reserve would double.
            // Only a long frame (above the default limits) makes it grow by more than the share.
            let size = self.next.min(self.share).max(len / 4);
            let mut block = BytesMut::with_capacity(len + size);
            block.extend_from_slice(&self.block);
            self.held = len + size;
            self.block = block;
        }
    }

    /// Takes a lent buffer back with what the socket put into it (perhaps nothing).
    pub(crate) fn accept(&mut self, mut filled: BytesMut) {
        let lent = std::mem::take(&mut self.lent);
        if let Some(direct) = self.direct.as_mut().filter(|direct| direct.left > 0) {
            // A driver may have grown the buffer: what is beyond the segment belongs to the block.
            let beyond = (filled.len() > direct.left).then(|| filled.split_off(direct.left));
            if let Some(record) = &mut self.record {
                record.bytes.extend_from_slice(&filled);
            }
            direct.accept(filled);
            let Some(beyond) = beyond else { return };
            filled = beyond;
        } else if filled.len() >= lent && lent > 0 {
            self.next = (self.next * 2).min(BLOCK_MOST);
        } else if filled.len() < lent / 8 {
            self.next = (self.next / 2).max(BLOCK_LEAST);
        }
        self.block.unsplit(filled);
    }

    /// Takes a copy of bytes from elsewhere.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut buf = self.lend();
            let count = buf.capacity().min(bytes.len());
            let (now, later) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
            buf.extend_from_slice(now);
            self.accept(buf);
            bytes = later;
        }
    }

    /// Stream offset of the next undecoded byte.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// What is buffered, contiguous.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.block
    }

    /// The first `len` bytes to be changed in place (decrypted), if they are there.
    #[cfg(feature = "secure")]
    pub(crate) fn bytes_mut(&mut self, len: usize) -> Option<&mut [u8]> {
        self.block.get_mut(..len)
    }

    /// Drops `len` buffered bytes.
    #[inline]
    pub(crate) fn skip(&mut self, len: usize) {
        let len = len.min(self.block.len());
        self.note(len);
        self.block.advance(len);
        self.offset += len as u64;
    }

    /// Cuts `len` buffered bytes off, if they are there.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<BytesMut> {
        if len > self.block.len() {
            return None;
        }
        self.note(len);
        self.offset += len as u64;
        Some(self.block.split_to(len))
    }

    /// The next segment, of `len` bytes, with its crc if there is a seed: a slice of what was read ahead, or
    /// in memory of its own (`room`) if it is large and not there yet. Nothing while bytes are missing;
    /// then the call is to be repeated, with the same arguments.
    #[inline]
    pub(crate) fn segment(
        &mut self,
        len: usize,
        seed: Option<u32>,
        room: &mut Room,
    ) -> Option<(Payload, u32)> {
        if len == 0 {
            return Some((Payload::new(), seed.unwrap_or_default()));
        }
        Some(match self.collect(len, seed, room)? {
            Run::Ahead(bytes) => {
                let crc = seed.map_or(0, |seed| crc32c(seed, &bytes));
                (bytes.freeze().into(), crc)
            }
            Run::Own(pieces, crc) => {
                let pieces: Vec<Bytes> = pieces.into_iter().map(BytesMut::freeze).collect();
                (pieces.into(), crc)
            }
        })
    }

    /// The next `len` bytes as one buffer; as [`segment`](Self::segment). Bytes that came in several pieces
    /// (see [`Limits::ahead`](crate::Limits::ahead)) are copied together.
    #[cfg(feature = "secure")]
    pub(crate) fn contiguous(&mut self, len: usize) -> Option<BytesMut> {
        Some(match self.collect(len, None, &mut Room::Own)? {
            Run::Ahead(bytes) => bytes,
            Run::Own(mut pieces, _) if pieces.len() == 1 => pieces.pop().unwrap_or_default(),
            Run::Own(pieces, _) => {
                let mut whole = BytesMut::with_capacity(len);
                pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
                whole
            }
        })
    }

    #[inline]
    fn collect(&mut self, len: usize, seed: Option<u32>, room: &mut Room) -> Option<Run> {
        if self.direct.is_none() {
            if len < DIRECT || len <= self.block.len() {
                return self.take(len).map(Run::Ahead);
            }
            self.begin_direct(len, std::mem::take(room), seed);
        }
        let direct = self.direct.take_if(|direct| direct.left == 0)?;
        let Direct { mut done, piece, crc, .. } = *direct;
        done.push(piece);
        Some(Run::Own(done, crc.unwrap_or_default()))
    }

    /// Begins to collect a segment of `len` bytes that is not there yet, into memory of its own;
    /// with a seed, its crc is computed as it arrives.
    fn begin_direct(&mut self, len: usize, room: Room, crc: Option<u32>) {
        let piece = match room {
            Room::Posted(buf) if buf.is_empty() && buf.capacity() >= len => buf,
            Room::Aligned(at) if len + PAGE <= self.share => aligned(len, usize::from(at)),
            _ => BytesMut::new(),
        };
        let size = piece.capacity().min(len);
        let mut direct = Direct { done: Vec::new(), piece, size, left: len, crc };
        let here = len.min(self.block.len());
        self.note(here);
        let head = self.block.split_to(here);
        // Copied (at most one block), so that the segment is whole in its own memory.
        let mut head = &head[..];
        while !head.is_empty() {
            let mut buf = direct.lend(self.share);
            let (now, later) = head.split_at_checked(buf.capacity()).unwrap_or((head, &[]));
            buf.extend_from_slice(now);
            direct.accept(buf);
            head = later;
        }
        if self.block.is_empty() {
            self.block = BytesMut::new();
        }
        // Where one large segment comes, another may follow: little of it shall be read ahead and copied.
        self.next = BLOCK_LEAST;
        self.offset += len as u64;
        self.direct = Some(Box::new(direct));
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// Bytes of the current direct segment that have not arrived.
    pub(crate) fn missing(&self) -> usize {
        self.direct.as_ref().map_or(0, |direct| direct.left)
    }

    pub(crate) fn set_record(&mut self, on: bool) {
        self.record = on.then(Record::default);
    }

    /// What was recorded so far makes whole frames.
    #[inline]
    pub(crate) fn end_frame(&mut self) {
        if let Some(record) = &mut self.record {
            record.whole = record.bytes.len();
        }
    }

    pub(crate) fn take_record(&mut self) -> Vec<u8> {
        let Some(record) = &mut self.record else { return Vec::new() };
        let rest = record.bytes.split_off(std::mem::take(&mut record.whole));
        std::mem::replace(&mut record.bytes, rest)
    }

    /// Adds the next `len` buffered bytes to the record, if one is kept.
    #[inline]
    fn note(&mut self, len: usize) {
        if let Some(record) = &mut self.record {
            record.bytes.extend_from_slice(self.block.get(..len).unwrap_or_default());
        }
    }
}

fn share(ahead: usize) -> usize {
    (ahead / 2).max(BLOCK_LEAST)
}

impl Direct {
    fn lend(&mut self, ahead: usize) -> BytesMut {
        let len = self.piece.len();
        // Less than it had room for, and none left: a lent buffer was dropped. Its room is taken back; a
        // new piece for each would occupy far more than what arrived.
        if self.piece.capacity() == len && !(len < self.size && self.piece.try_reclaim(self.size - len)) {
            self.size = self.left.min(ahead);
            let full = std::mem::replace(&mut self.piece, BytesMut::with_capacity(self.size));
            if !full.is_empty() {
                self.done.push(full);
            }
        }
        let mut lent = spare(&mut self.piece);
        if lent.capacity() > self.left {
            // The socket must not read past the segment's end.
            drop(lent.split_off(self.left));
        }
        lent
    }

    fn accept(&mut self, filled: BytesMut) {
        self.left -= filled.len();
        if let Some(crc) = &mut self.crc {
            *crc = crc32c(*crc, &filled);
        }
        self.piece.unsplit(filled);
    }
}

/// Takes the room behind the bytes of `buf`.
fn spare(buf: &mut BytesMut) -> BytesMut {
    // Whole, it need not be counted by reference: one allocation less for each buffer.
    if buf.is_empty() { std::mem::take(buf) } else { buf.split_off(buf.len()) }
}

/// Room for `len` bytes whose address is `at` modulo the page size.
fn aligned(len: usize, at: usize) -> BytesMut {
    let mut buf = BytesMut::zeroed(PAGE);
    buf.reserve(len);
    let start = buf.as_ptr() as usize;
    let shift = at.wrapping_sub(start) % PAGE;
    buf.advance(shift);
    buf.clear();
    buf
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Each dropped buffer once cost a piece of its own, 32 KiB for every byte that arrived between two.
    #[test]
    fn dropped_buffers_cost_no_memory() {
        const LEN: usize = 100_000;
        let mut intake = Intake::new(0, 64 << 10);
        assert!(intake.segment(LEN, Some(0), &mut Room::Own).is_none());
        for n in 0..LEN {
            drop(intake.lend());
            let mut buf = intake.lend();
            buf.extend_from_slice(&[n as u8]);
            intake.accept(buf);
        }
        let (segment, crc) = intake.segment(LEN, Some(0), &mut Room::Own).unwrap();
        assert_eq!(segment.pieces().len(), LEN.div_ceil(32 << 10));
        let bytes = segment.into_bytes();
        assert!(bytes.iter().copied().eq((0..LEN).map(|n| n as u8)));
        assert_eq!(crc, crc32c(0, &bytes));
    }

    /// A driver need not hold memory while nothing comes: with nothing read all of it goes, and behind a partial frame
    /// the room is there again, in place.
    #[test]
    fn what_is_dropped_is_given_back() {
        let mut intake = Intake::new(0, 64 << 10);
        intake.feed(b"frame");
        assert_eq!(intake.take(5).unwrap(), b"frame"[..]);
        drop(intake.lend());
        assert_eq!(intake.block.capacity(), 0);
        intake.feed(b"half a frame");
        let at = intake.bytes().as_ptr();
        for n in 0..1000 {
            drop(intake.lend());
            intake.feed(&[n as u8]);
            assert_eq!(intake.bytes().as_ptr(), at);
        }
        assert_eq!(intake.bytes().len(), 1012);
        assert!(intake.bytes().starts_with(b"half a frame"));
    }
}
