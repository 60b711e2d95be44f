//! How do frames become bytes?
//!
//! crc mode chains payloads by reference between the small pieces around them; secure mode copies them
//! once into the gather list's arena and seals them there. With aws-lc-rs, large payloads are sealed from
//! where they are into memory of their own.

use bytes::{BufMut, BytesMut};

use super::frame::{Banner, Frame, MessageFrame, Tag};
use super::preamble::Preamble;
use super::{
    BANNER_PREFIX, LATE_ABORTED, LATE_COMPLETE, LATE_FLAG_ABORTED, MAX_SEGMENTS, MESSAGE_HEADER_LEN, Method,
    PREAMBLE_LEN, Revision, compress, fields,
};
use crate::chunks::Chunks;
use crate::crc::{SEGMENT_SEED, crc32c};
use crate::error::Unencodable;
use crate::payload::Payload;

#[cfg(feature = "secure")]
use super::aead::{Keys, Sealed, TAG_LEN};
#[cfg(feature = "secure")]
use super::preamble::{INLINE, pad16};
#[cfg(feature = "secure")]
use crate::Side;

/// The alignment that senders suggest: 8, and a page for data.
const ALIGNMENTS: [u16; MAX_SEGMENTS] = [8, 8, 8, 4096];

/// Long payloads are copied in steps of this many bytes: within the L2 cache, libc's memcpy has a faster way.
#[cfg(feature = "secure")]
const COPY_STEP: usize = 256 << 10;

/// From this length on, aws-lc seals a payload in one piece from where it is: about where that is not slower
/// even if it needs new memory.
#[cfg(feature = "secure")]
const APART_FROM: usize = 128 << 10;

/// What frames are compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The method that both sides agreed on.
    pub method: Method,
    /// Frames with fewer bytes in their segments go plain (`ms_osd_compress_min_size`, 1024 by default).
    pub min_size: u32,
}

/// Encodes one direction of a v2 connection.
///
/// ```
/// use cephwire_codec::{Chunks, v2::{Encoder, Frame}};
/// let mut encoder = Encoder::new();
/// let mut out = Chunks::new();
/// encoder.encode(&Frame::Ack(7), &mut out)?;
/// assert_eq!(bytes::Buf::remaining(&out), 32 + 8 + 4); // preamble, payload, crc
/// # Ok::<(), cephwire_codec::Unencodable>(())
/// ```
#[derive(Debug, Default)]
pub struct Encoder {
    revision: Revision,
    compression: Option<Compression>,
    #[cfg(feature = "secure")]
    sealed: Option<Sealed>,
    scratch: BytesMut,
}

/// The segments of a frame, about to be framed.
struct Segments<'a> {
    tag: Tag,
    first: &'a [u8],
    rest: [&'a Payload; MAX_SEGMENTS - 1],
    compressed: bool,
    /// Segments after the first are sent as zeros, and the receiver drops the frame.
    aborted: bool,
}

impl Encoder {
    /// An encoder for 2.1 in crc mode.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the framing, known from both banners, before the first frame.
    pub fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// Sets what frames are compressed with from here on.
    pub fn set_compression(&mut self, compression: Option<Compression>) {
        self.compression = compression;
    }

    /// Everything from here on is sealed: called right after AUTH_DONE. `from` is the side that sends.
    ///
    /// # Errors
    /// Gives the keys back if there are some already: a second start would repeat nonces.
    #[cfg(feature = "secure")]
    pub fn set_keys(&mut self, keys: Keys, from: Side) -> Result<(), Keys> {
        if self.sealed.is_some() {
            return Err(keys);
        }
        self.sealed = Some(Sealed::new(&keys, from, self.revision));
        Ok(())
    }

    /// Appends a frame. [`Frame::Aborted`] appends nothing.
    ///
    /// # Errors
    /// When the nonces are used up or a part is too long for its length field; nothing is appended then.
    pub fn encode(&mut self, frame: &Frame, out: &mut Chunks) -> Result<(), Unencodable> {
        let tag = match frame {
            Frame::Banner(banner) => {
                put_banner(banner, out);
                return Ok(());
            }
            Frame::Aborted(_) => return Ok(()),
            Frame::Message(message) => return self.encode_message(message, out),
            control => control.tag().unwrap_or(Tag::Wait),
        };
        let mut payload = std::mem::take(&mut self.scratch);
        payload.clear();
        fields::write(frame, &mut payload);
        let none = Payload::new();
        let result = self.compressed_or_plain(tag, &payload, [&none; 3], out);
        self.scratch = payload;
        result
    }

    /// Appends a message: [`encode`](Self::encode) without a [`Frame`] around it.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    #[inline]
    pub fn encode_message(&mut self, frame: &MessageFrame, out: &mut Chunks) -> Result<(), Unencodable> {
        let header = fields::write_message_header(frame);
        let message = &frame.message;
        self.compressed_or_plain(Tag::Message, &header, [&message.front, &message.middle, &message.data], out)
    }

    /// Appends a message as its sender leaves it that gave it up after the header: everything else
    /// zeros, marked as aborted. The receiver drops it, and its sequence number is not used.
    ///
    /// # Errors
    /// As [`encode`](Self::encode); and in 2.1, a message without any payload cannot be aborted.
    pub fn encode_aborted(&mut self, frame: &MessageFrame, out: &mut Chunks) -> Result<(), Unencodable> {
        let message = &frame.message;
        if self.revision == Revision::V2_1 && message.payload_len() == 0 {
            return Err(Unencodable::NothingToAbort);
        }
        let first = &fields::write_message_header(frame)[..];
        let rest = [&message.front, &message.middle, &message.data];
        self.frame(&Segments { tag: Tag::Message, first, rest, compressed: false, aborted: true }, out)
    }

    fn compressed_or_plain(
        &mut self,
        tag: Tag,
        first: &[u8],
        rest: [&Payload; MAX_SEGMENTS - 1],
        out: &mut Chunks,
    ) -> Result<(), Unencodable> {
        if let Some(compression) = self.compression
            && let Some((first, [front, middle, data])) = compress_all(compression, first, rest)
        {
            let rest = [&front, &middle, &data];
            return self.frame(&Segments { tag, first: &first, rest, compressed: true, aborted: false }, out);
        }
        self.frame(&Segments { tag, first, rest, compressed: false, aborted: false }, out)
    }

    fn frame(&mut self, segments: &Segments<'_>, out: &mut Chunks) -> Result<(), Unencodable> {
        let preamble = segments.preamble()?;
        #[cfg(feature = "secure")]
        if let Some(sealed) = &mut self.sealed {
            return match self.revision {
                Revision::V2_0 => segments.seal_v2_0(&preamble, sealed, out),
                Revision::V2_1 => segments.seal_v2_1(&preamble, sealed, out),
            };
        }
        match self.revision {
            Revision::V2_0 => segments.plain_v2_0(&preamble, out),
            Revision::V2_1 => segments.plain_v2_1(&preamble, out),
        }
        Ok(())
    }
}

fn put_banner(banner: &Banner, out: &mut Chunks) {
    out.put_slice(&BANNER_PREFIX);
    out.put_slice(&16u16.to_le_bytes());
    out.put_slice(&banner.supported.0.to_le_bytes());
    out.put_slice(&banner.required.0.to_le_bytes());
}

/// Every non-empty segment compressed; nothing if the frame is too short or a segment fails.
fn compress_all(
    compression: Compression,
    first: &[u8],
    rest: [&Payload; MAX_SEGMENTS - 1],
) -> Option<(Vec<u8>, [Payload; MAX_SEGMENTS - 1])> {
    let total = first.len() + rest.iter().map(|segment| segment.len()).sum::<usize>();
    if total < compression.min_size as usize || total == 0 {
        return None;
    }
    let first = if first.is_empty() { Vec::new() } else { compress::deflate(compression.method, first)? };
    let mut compressed: [Payload; MAX_SEGMENTS - 1] = Default::default();
    for (to, from) in compressed.iter_mut().zip(rest).filter(|(_, from)| !from.is_empty()) {
        *to = compress::deflate(compression.method, &from.clone().into_bytes())?.into();
    }
    Some((first, compressed))
}

impl Segments<'_> {
    #[inline]
    fn preamble(&self) -> Result<Preamble, Unencodable> {
        let first = self.first.len();
        let mut lengths =
            [u32::try_from(first).map_err(|_| too_long(self.tag, MAX_SEGMENTS, first))?, 0, 0, 0];
        let [_, rest @ ..] = &mut lengths;
        for (n, (len, segment)) in rest.iter_mut().zip(self.rest).enumerate() {
            *len = u32::try_from(segment.len()).map_err(|_| too_long(self.tag, n, segment.len()))?;
        }
        let mut preamble = Preamble::new(self.tag as u8, lengths, ALIGNMENTS);
        if self.compressed {
            preamble.flags = Preamble::COMPRESSED;
        }
        Ok(preamble)
    }

    /// The segments after the first that exist.
    fn used(&self, preamble: &Preamble) -> impl Iterator<Item = &Payload> {
        self.rest.into_iter().take(usize::from(preamble.num_segments) - 1)
    }

    /// Appends a segment and returns its crc.
    #[inline]
    fn put_segment(&self, segment: &Payload, out: &mut Chunks) -> u32 {
        if self.aborted {
            return put_zeros(segment.len(), out);
        }
        let mut crc = SEGMENT_SEED;
        for piece in segment.pieces() {
            crc = crc32c(crc, piece);
            out.put(piece);
        }
        crc
    }

    #[inline]
    fn plain_v2_1(&self, preamble: &Preamble, out: &mut Chunks) {
        let head = out.room(PREAMBLE_LEN + MESSAGE_HEADER_LEN.max(self.first.len()) + 4);
        head.put_slice(&preamble.to_bytes());
        if !self.first.is_empty() {
            head.put_slice(self.first);
            head.put_u32_le(crc32c(SEGMENT_SEED, self.first));
        }
        if preamble.num_segments > 1 {
            let mut epilogue = [0; 13];
            let [status, crcs @ ..] = &mut epilogue;
            *status = if self.aborted { LATE_ABORTED } else { LATE_COMPLETE };
            for (slot, segment) in crcs.as_chunks_mut().0.iter_mut().zip(self.used(preamble)) {
                *slot = self.put_segment(segment, out).to_le_bytes();
            }
            out.put_slice(&epilogue);
        }
    }

    fn plain_v2_0(&self, preamble: &Preamble, out: &mut Chunks) {
        out.put_slice(&preamble.to_bytes());
        out.put_slice(self.first);
        let mut epilogue = [0; 17];
        let [flags, crcs @ ..] = &mut epilogue;
        *flags = if self.aborted { LATE_FLAG_ABORTED } else { 0 };
        let ([first, rest @ ..], []) = crcs.as_chunks_mut::<4>() else { return };
        *first = crc32c(SEGMENT_SEED, self.first).to_le_bytes();
        for (slot, segment) in rest.iter_mut().zip(self.used(preamble)) {
            *slot = self.put_segment(segment, out).to_le_bytes();
        }
        out.put_slice(&epilogue);
    }
}

/// Secure mode: text is gathered at the end of the arena, and sealed there; or large payloads apart, `aead/apart.rs`.
#[cfg(feature = "secure")]
impl Segments<'_> {
    fn seal_v2_1(
        &self,
        preamble: &Preamble,
        sealed: &mut Sealed,
        out: &mut Chunks,
    ) -> Result<(), Unencodable> {
        let lengths = preamble.wire_lengths(Revision::V2_1, true);
        let [second, ..] = lengths.segments;
        let several = preamble.num_segments > 1;
        let messages = 1 + u64::from(second > 0) + u64::from(several);
        if sealed.left(messages) < messages {
            return Err(crate::Exhausted.into());
        }
        let head = lengths.preamble + second;
        let rest = lengths.total() - head;
        let text = out.room(if self.large(preamble).is_some() { head } else { lengths.total() } as usize);
        let (inline, more) = self.first.split_at_checked(INLINE as usize).unwrap_or((self.first, &[]));
        let start = text.len();
        text.put_slice(&preamble.to_bytes());
        text.put_slice(inline);
        text.put_bytes(0, INLINE as usize - inline.len());
        seal_from(start, sealed, text)?;
        if second > 0 {
            let start = text.len();
            put_padded(more, text);
            seal_from(start, sealed, text)?;
        }
        if several {
            self.seal_segments(Revision::V2_1, rest as usize, preamble, sealed, out)?;
        }
        Ok(())
    }

    fn seal_v2_0(
        &self,
        preamble: &Preamble,
        sealed: &mut Sealed,
        out: &mut Chunks,
    ) -> Result<(), Unencodable> {
        if sealed.left(1) < 1 {
            return Err(crate::Exhausted.into());
        }
        let len = preamble.wire_lengths(Revision::V2_0, true).total() as usize;
        self.seal_segments(Revision::V2_0, len, preamble, sealed, out)
    }

    /// Seals the GCM message that ends with the epilogue, `len` bytes: in 2.0 all, in 2.1 what follows segment 0.
    fn seal_segments(
        &self,
        revision: Revision,
        len: usize,
        preamble: &Preamble,
        sealed: &mut Sealed,
        out: &mut Chunks,
    ) -> Result<(), Unencodable> {
        let mut end = [0; 16];
        let [status, ..] = &mut end;
        *status = match (revision, self.aborted) {
            (Revision::V2_0, false) => 0,
            (Revision::V2_0, true) => LATE_FLAG_ABORTED,
            (Revision::V2_1, false) => LATE_COMPLETE,
            (Revision::V2_1, true) => LATE_ABORTED,
        };
        #[cfg(feature = "aws-lc-rs")]
        if let Some(large) = self.large(preamble) {
            let mut before = BytesMut::with_capacity(len - large.len());
            let segments = self.used(preamble).take(usize::from(preamble.num_segments) - 2);
            self.put_text(revision, preamble, segments, &mut before);
            out.put(&sealed.seal_apart(&before, large, end)?);
            return Ok(());
        }
        let text = out.room(len);
        let start = text.len();
        self.put_text(revision, preamble, self.used(preamble), text);
        text.put_slice(&end);
        seal_from(start, sealed, text)
    }

    /// The last segment, if it is sealed from where it is.
    fn large(&self, preamble: &Preamble) -> Option<&bytes::Bytes> {
        let able = cfg!(feature = "aws-lc-rs") && !self.aborted;
        match self.used(preamble).last()?.pieces() {
            [piece] if able && piece.len() >= APART_FROM => Some(piece),
            _ => None,
        }
    }

    fn put_text<'a>(
        &self,
        revision: Revision,
        preamble: &Preamble,
        segments: impl Iterator<Item = &'a Payload>,
        text: &mut BytesMut,
    ) {
        if revision == Revision::V2_0 {
            text.put_slice(&preamble.to_bytes());
            put_padded(self.first, text);
        }
        for segment in segments {
            let len = segment.len();
            if self.aborted {
                text.put_bytes(0, len);
            } else {
                let steps = segment.pieces().iter().flat_map(|piece| piece.chunks(COPY_STEP));
                steps.for_each(|step| text.put_slice(step));
            }
            text.put_bytes(0, pad16(len as u64) as usize - len);
        }
    }
}

#[cfg(feature = "secure")]
fn put_padded(bytes: &[u8], text: &mut BytesMut) {
    text.put_slice(bytes);
    text.put_bytes(0, pad16(bytes.len() as u64) as usize - bytes.len());
}

/// Encrypts what was appended from `start` on and appends its tag.
#[cfg(feature = "secure")]
fn seal_from(start: usize, sealed: &mut Sealed, text: &mut BytesMut) -> Result<(), Unencodable> {
    let tag: [u8; TAG_LEN] = sealed.seal(text.get_mut(start..).unwrap_or_default())?;
    text.put_slice(&tag);
    Ok(())
}

/// Appends zeros and returns their crc as a segment.
fn put_zeros(len: usize, out: &mut Chunks) -> u32 {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut crc = SEGMENT_SEED;
    let mut left = len;
    while left > 0 {
        let some = ZEROS.get(..left).unwrap_or(&ZEROS);
        crc = crc32c(crc, some);
        out.put_slice(some);
        left -= some.len();
    }
    crc
}

fn too_long(tag: Tag, n: usize, found: usize) -> Unencodable {
    let field = ["front", "middle", "data"].get(n).copied().unwrap_or("segment");
    Unencodable::TooLong { frame: tag.name(), field, limit: u32::MAX.into(), found: found as u64 }
}

#[cfg(all(test, feature = "secure"))]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use bytes::Buf as _;

    /// A frame is sealed whole or not at all: with too few nonces nothing is appended, and none is taken.
    #[test]
    fn nothing_is_written_without_nonces_for_the_whole_frame() {
        let (none, some) = (Payload::new(), Payload::from(vec![1; 70]));
        let alone = [&none; 3];
        let several = [&some, &none, &none];
        let large = Payload::from(vec![1; 130 << 10]);
        let large = [&some, &none, &large];
        for (revision, first, rest, needed) in [
            (Revision::V2_1, 48, alone, 1),
            (Revision::V2_1, 49, alone, 2),
            (Revision::V2_1, 48, several, 2),
            (Revision::V2_1, 49, several, 3),
            (Revision::V2_1, 48, large, 2),
            (Revision::V2_1, 49, large, 3),
            (Revision::V2_0, 48, large, 1),
            (Revision::V2_0, 48, alone, 1),
            (Revision::V2_0, 49, several, 1),
        ] {
            for left in 0..5 {
                let mut encoder = Encoder { revision, ..Encoder::default() };
                encoder.sealed = Some(Sealed::with_left(revision, left));
                let first = vec![2; first];
                let frame =
                    Segments { tag: Tag::Message, first: &first, rest, compressed: false, aborted: false };
                let mut out = Chunks::new();
                out.put_slice(b"before");
                let result = encoder.frame(&frame, &mut out);
                let still = encoder.sealed.as_ref().unwrap().left(9);
                if left < needed {
                    assert_eq!(result, Err(Unencodable::Exhausted(crate::Exhausted)), "{needed} of {left}");
                    assert_eq!((out.remaining(), still), (6, left.into()), "{needed} of {left}");
                    assert_eq!(out.take_pieces().concat(), b"before");
                } else {
                    assert_eq!(result, Ok(()), "{needed} of {left}");
                    assert_eq!(still, u64::from(left - needed));
                }
            }
        }
    }

    #[test]
    fn every_kind_of_frame_stops_at_the_end_of_the_nonces() {
        for revision in [Revision::V2_0, Revision::V2_1] {
            let mut encoder = Encoder { revision, ..Encoder::default() };
            encoder.sealed = Some(Sealed::with_left(revision, 2));
            let mut out = Chunks::new();
            assert_eq!(encoder.encode(&Frame::Ack(1), &mut out), Ok(()));
            assert_eq!(encoder.encode(&Frame::Ack(2), &mut out), Ok(()));
            let len = out.remaining();
            let mut message = MessageFrame::default();
            message.message.front = vec![1; 10].into();
            let exhausted = Err(Unencodable::Exhausted(crate::Exhausted));
            for _ in 0..3 {
                assert_eq!(encoder.encode(&Frame::Ack(3), &mut out), exhausted);
                assert_eq!(encoder.encode_message(&message, &mut out), exhausted);
                assert_eq!(encoder.encode_aborted(&message, &mut out), exhausted);
            }
            assert_eq!(out.remaining(), len);
        }
    }

    /// Data in one piece and the same in two, which is always copied, are sealed to the same bytes; and those
    /// are decoded to the same message.
    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn large_messages_look_the_same_copied_or_not() {
        use crate::{Message, v2};
        let lengths = (0..17).chain([200, 4096, 40_001]);
        let data = (APART_FROM - 1..APART_FROM + 18).chain([3 * APART_FROM + 5]);
        let cases = lengths.flat_map(|short| data.clone().map(move |data| (short, 45 + short % 7, data)));
        for (revision, from) in
            [Revision::V2_0, Revision::V2_1].map(|it| [(it, Side::Client), (it, Side::Server)]).concat()
        {
            let keys = || Keys::from_secret(&(0..64).collect::<Vec<u8>>()).unwrap();
            let encoder = || {
                let mut encoder = Encoder { revision, ..Encoder::default() };
                encoder.set_keys(keys(), from).unwrap();
                (encoder, Chunks::new())
            };
            let (mut plain, mut plain_out) = encoder();
            let (mut copying, mut copying_out) = encoder();
            let mut decoder = v2::Decoder::mid_stream(revision, 0);
            decoder.set_keys(keys(), from).unwrap();
            for (front, middle, len) in cases.clone() {
                let bytes = |len: usize| (0..len).map(|n| (n * 7 + n / 251) as u8).collect::<Vec<u8>>();
                let data = bytes::Bytes::from(bytes(len));
                let mut message = Message { front: bytes(front).into(), ..Message::default() };
                // Without a middle, and with large front only.
                match front % 3 {
                    0 => message.middle = bytes(middle).into(),
                    1 => (message.front, message.middle) = (data.clone().into(), Payload::new()),
                    _ => {}
                }
                if front % 3 != 1 {
                    message.data = data.into();
                }
                let halves = |whole: &Payload| -> Payload {
                    let mut rest = whole.clone().into_bytes();
                    let first = rest.split_to(rest.len() / 2);
                    vec![first, rest].into()
                };
                let mut frame = MessageFrame { seq: 1, message, ..MessageFrame::default() };
                plain.encode_message(&frame, &mut plain_out).unwrap();
                let sent = plain_out.take_pieces().concat();
                let expected = frame.clone();
                (frame.message.front, frame.message.data) =
                    (halves(&frame.message.front), halves(&frame.message.data));
                copying.encode_message(&frame, &mut copying_out).unwrap();
                assert!(sent == copying_out.take_pieces().concat(), "{revision:?} {front} {middle} {len}");
                let mut left = &sent[..];
                let decoded = loop {
                    let mut lent = decoder.recv_buf();
                    let (now, later) = left.split_at(lent.capacity().min(left.len()));
                    lent.extend_from_slice(now);
                    left = later;
                    decoder.received(lent);
                    match decoder.next().unwrap() {
                        v2::Progress::Frame(frame) => break frame,
                        v2::Progress::Announced(_) => decoder.proceed(crate::Room::Own),
                        v2::Progress::More => assert!(!left.is_empty()),
                    }
                };
                assert!(left.is_empty() && decoded == Frame::Message(expected));
            }
        }
    }
}
