//! How are frames in secure mode read?
//!
//! They are decrypted where they were received: one contiguous buffer for each GCM message.

use bytes::{Buf, Bytes, BytesMut};

use super::super::aead::TAG_LEN;
use super::super::preamble::{INLINE, Preamble, pad16};
use super::super::{LATE_FLAG_ABORTED, MAX_SEGMENTS, PREAMBLE_LEN, Revision, Tag, fields};
use super::{Decoder, Progress};
use crate::error::{Flaw, Malformed};
use crate::intake::{DIRECT, Room};
use crate::parse;

impl Decoder {
    pub(super) fn sealed_preamble(&mut self) -> Result<Progress, Malformed> {
        let offset = self.intake.offset();
        let Some(sealed) = &mut self.sealed else { return Ok(Progress::More) };
        let exhausted = |_| Malformed::new("frame", "nonce", offset, Flaw::Exhausted);
        let preamble = match self.revision {
            Revision::V2_0 => {
                let Some(bytes) = self.intake.bytes().first_chunk() else { return Ok(Progress::More) };
                Preamble::parse(&sealed.peek(*bytes), offset)?
            }
            Revision::V2_1 => {
                const FIRST: usize = PREAMBLE_LEN + INLINE as usize;
                let Some(bytes) = self.intake.bytes_mut(FIRST + TAG_LEN) else { return Ok(Progress::More) };
                let Some((text, gcm_tag)) = bytes.split_last_chunk_mut() else { return Ok(Progress::More) };
                if !sealed.open(text, gcm_tag).map_err(exhausted)? {
                    return Err(Malformed::new(
                        "preamble",
                        "tag of preamble",
                        offset + FIRST as u64,
                        Flaw::Seal,
                    ));
                }
                let (preamble, inline) = text.split_first_chunk().unwrap_or((&[0; PREAMBLE_LEN], &[]));
                self.body.inline = inline.first_chunk().copied().unwrap_or([0; INLINE as usize]);
                Preamble::parse(preamble, offset)?
            }
        };
        let tag = self.check(&preamble, offset)?;
        let mut header = None;
        if self.revision == Revision::V2_1 {
            self.intake.skip(PREAMBLE_LEN + INLINE as usize + TAG_LEN);
            if tag == Tag::Message && !preamble.is_compressed() {
                let inline = &self.body.inline;
                header = Some(parse::structure(tag.name(), offset + 32, inline, fields::message_header)?);
            }
        }
        self.body.crcs = [0; MAX_SEGMENTS];
        self.body.bad_crc = false;
        self.announce(tag, preamble, offset, header)
    }

    pub(super) fn sealed_body(&mut self) -> Result<Progress, Malformed> {
        let lengths = self.body.preamble.wire_lengths(self.revision, true);
        let [first, rest @ ..] = lengths.segments;
        if self.revision == Revision::V2_0 {
            let Some(mut text) = self.open(lengths.total(), "frame")? else { return Ok(Progress::More) };
            let at = self.body.offset;
            // Read already, by looking ahead: the same bytes, now known to be genuine.
            text.advance(PREAMBLE_LEN.min(text.len()));
            let flags = self.cut_segments(0, &mut text);
            let aborted = flags.ok_or_else(|| short(at))? & LATE_FLAG_ABORTED != 0;
            return self.finish(aborted).map(Progress::Frame);
        }
        if self.body.at == 0 {
            let len = self.body.preamble.lengths.first().map_or(0, |len| *len as usize);
            if first > 0 {
                let Some(more) = self.open(first, "segment")? else { return Ok(Progress::More) };
                let mut segment = BytesMut::with_capacity(len);
                segment.extend_from_slice(&self.body.inline);
                segment.extend_from_slice(&more);
                segment.truncate(len);
                self.set_segment(0, segment.freeze().into(), 0);
            } else if self.body.header.is_none() {
                let inline = self.body.inline.get(..len).unwrap_or_default();
                let segment = Bytes::copy_from_slice(inline);
                self.set_segment(0, segment.into(), 0);
            }
            self.body.at = 1;
        }
        if self.body.preamble.num_segments == 1 {
            return self.finish(false).map(Progress::Frame);
        }
        let total = rest.iter().sum::<u64>() + lengths.epilogue;
        let Some(mut text) = self.open(total, "segments")? else { return Ok(Progress::More) };
        let at = self.intake.offset() - (16 + TAG_LEN) as u64;
        let status = self.cut_segments(1, &mut text).ok_or_else(|| short(at))?;
        let aborted = self.late_status(status, at)?;
        self.finish(aborted).map(Progress::Frame)
    }

    /// Collects and decrypts a GCM message of `len` bytes, its tag included; nothing while it is not there.
    fn open(&mut self, len: u64, what: &'static str) -> Result<Option<BytesMut>, Malformed> {
        let len = len as usize;
        let mut text = if self.intake.is_direct() {
            let Some((pieces, _)) = self.intake.take_direct() else { return Ok(None) };
            contiguous(pieces)
        } else if len >= DIRECT && self.intake.bytes().len() < len {
            self.intake.begin_direct(len, Room::Own, None);
            let Some((pieces, _)) = self.intake.take_direct() else { return Ok(None) };
            contiguous(pieces)
        } else {
            let Some(text) = self.intake.take(len) else { return Ok(None) };
            text
        };
        let end = self.intake.offset();
        let frame = Tag::from_number(self.body.preamble.tag).map_or("frame", Tag::name);
        let tag = text.split_off(len.saturating_sub(TAG_LEN));
        let (Some(sealed), Some(tag)) = (&mut self.sealed, tag.first_chunk()) else { return Ok(None) };
        match sealed.open(&mut text, tag) {
            Ok(true) => Ok(Some(text)),
            Ok(false) => Err(Malformed::new(frame, what, end - TAG_LEN as u64, Flaw::Seal)),
            Err(_) => Err(Malformed::new(frame, "nonce", end - len as u64, Flaw::Exhausted)),
        }
    }

    /// Cuts the segments from `first` on out of decrypted text; what follows them is the epilogue, whose
    /// first byte is returned.
    fn cut_segments(&mut self, first: usize, text: &mut BytesMut) -> Option<u8> {
        let lengths = self.body.preamble.lengths;
        for (n, len) in lengths.iter().enumerate().skip(first) {
            let padded = pad16(u64::from(*len)) as usize;
            if padded > text.len() {
                return None;
            }
            let mut segment = text.split_to(padded);
            segment.truncate(*len as usize);
            self.set_segment(n, segment.freeze().into(), 0);
        }
        text.first().copied()
    }
}

/// Cannot happen: the text was collected by the same lengths that cut it.
fn short(offset: u64) -> Malformed {
    Malformed::new("epilogue", "late_status", offset, Flaw::TooShort { expected: 1, found: 0 })
}

/// One buffer of all pieces: they are copied only if there are several, see [`Limits::ahead`].
fn contiguous(mut pieces: Vec<BytesMut>) -> BytesMut {
    if pieces.len() == 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(pieces.iter().map(BytesMut::len).sum());
    for piece in pieces {
        whole.extend_from_slice(&piece);
    }
    whole
}
