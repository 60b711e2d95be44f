//! How are frames in secure mode read?
//!
//! They are decrypted where they were received: one contiguous buffer for each GCM message.

use bytes::{Buf, Bytes, BytesMut};

use super::super::aead::TAG_LEN;
use super::super::preamble::{INLINE, Preamble, pad16};
use super::super::{LATE_FLAG_ABORTED, MAX_SEGMENTS, PREAMBLE_LEN, Revision, Tag, fields};
use super::{Decoder, Progress};
use crate::error::{Flaw, Malformed};
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
        let Some(mut text) = self.intake.contiguous(len) else { return Ok(None) };
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::super::aead::Sealed;
    use super::super::super::{Encoder, Frame, Keys, MessageFrame};
    use super::*;

    /// A receiver counts as the sender must: what is sealed with a nonce that was there before is refused.
    #[test]
    fn frames_beyond_the_last_nonce_are_refused() {
        let mut message = MessageFrame::default();
        message.message.front = vec![1; 10].into();
        let frames = [Frame::Ack(1), Frame::AuthReplyMore(vec![1; 60].into()), Frame::Message(message)];
        let error = |frame, offset| Malformed::new(frame, "nonce", offset, Flaw::Exhausted);
        // Frames of 96, 96 + 32 and 96 + 48 bytes; in 2.0 of 80, 128 and 128.
        let rev1 = [
            (0, error("frame", 0)),
            (1, error("frame", 96)),
            (2, error("AUTH_REPLY_MORE", 192)),
            (3, error("frame", 224)),
            (4, error("MESSAGE", 320)),
        ];
        let rev0 = [(0, error("ACK", 0)), (1, error("AUTH_REPLY_MORE", 80)), (2, error("MESSAGE", 208))];
        for (revision, rows) in [(Revision::V2_1, &rev1[..]), (Revision::V2_0, &rev0)] {
            let mut secret = [3; 40];
            secret.get_mut(..16).unwrap().fill(1);
            let mut encoder = Encoder::new();
            encoder.set_revision(revision);
            assert!(encoder.set_keys(Keys::from_secret(&secret).unwrap(), crate::Side::Client).is_ok());
            let mut out = crate::Chunks::new();
            frames.iter().for_each(|frame| encoder.encode(frame, &mut out).unwrap());
            let bytes = out.take_pieces().concat();
            for (left, expected) in rows {
                let mut decoder = Decoder::mid_stream(revision, 0);
                decoder.sealed = Some(Sealed::with_left(revision, *left));
                decoder.feed(&bytes);
                let whole = frames.iter().take_while(|_| decoder.next_frame().is_ok()).count();
                assert!(whole <= usize::from(*left));
                assert_eq!(decoder.next_frame(), Err(expected.clone()), "{left}");
                assert_eq!(decoder.next_frame(), Err(expected.clone()), "{left}");
            }
            // With enough of them, the same bytes are the frames.
            let mut decoder = Decoder::mid_stream(revision, 0);
            decoder.sealed = Some(Sealed::with_left(revision, 5));
            decoder.feed(&bytes);
            for frame in &frames {
                assert_eq!(decoder.next_frame().unwrap().as_ref(), Some(frame));
            }
        }
    }
}
