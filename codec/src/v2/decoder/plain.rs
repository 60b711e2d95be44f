//! How are frames in crc mode read?

use super::super::preamble::Preamble;
use super::super::{
    LATE_ABORTED, LATE_COMPLETE, LATE_FLAG_ABORTED, MAX_SEGMENTS, PREAMBLE_LEN, Revision, Tag, fields,
};
use super::{Decoder, Progress};
use crate::crc::{SEGMENT_SEED, crc32c};
use crate::error::{Flaw, Malformed};
use crate::intake::Room;
use crate::parse;
use crate::payload::Payload;

impl Decoder {
    pub(super) fn plain_preamble(&mut self) -> Result<Progress, Malformed> {
        let offset = self.intake.offset();
        let here = self.intake.bytes();
        let Some(bytes) = here.first_chunk::<PREAMBLE_LEN>() else { return Ok(Progress::More) };
        let preamble = Preamble::parse(bytes, offset)?;
        let tag = self.check(&preamble, offset)?;
        self.body.preamble = preamble;
        let mut header = None;
        let mut crc = 0;
        if tag == Tag::Message && self.revision == Revision::V2_1 {
            // Verified and read before the frame is announced.
            let len = preamble.lengths.first().map_or(0, |len| *len as usize);
            let after = here.get(PREAMBLE_LEN..).unwrap_or_default();
            let Some((segment, found)) =
                after.split_at_checked(len).and_then(|(segment, rest)| Some((segment, rest.first_chunk()?)))
            else {
                return Ok(Progress::More);
            };
            crc = u32::from_le_bytes(*found);
            let at = offset + (PREAMBLE_LEN + len) as u64;
            self.body.bad_crc = self.crc_differs("header crc", crc32c(SEGMENT_SEED, segment), crc, at)?;
            if !preamble.is_compressed() {
                let segment = parse::structure(tag.name(), offset + 32, segment, fields::message_header)?;
                header = Some(segment);
            }
        } else {
            self.body.bad_crc = false;
        }
        self.body.crcs = [crc, 0, 0, 0];
        self.announce(tag, preamble, offset, header)
    }

    pub(super) fn plain_body(&mut self) -> Result<Progress, Malformed> {
        let aborted = match self.revision {
            Revision::V2_0 => self.body_v2_0()?,
            Revision::V2_1 => self.body_v2_1()?,
        };
        match aborted {
            Some(aborted) => self.finish(aborted).map(Progress::Frame),
            None => Ok(Progress::More),
        }
    }

    /// Reads segments and epilogue; whether the frame was aborted, or nothing while bytes are missing.
    fn body_v2_1(&mut self) -> Result<Option<bool>, Malformed> {
        let several = self.body.preamble.num_segments > 1;
        if self.body.at == 0 {
            let len = self.body.preamble.lengths.first().map_or(0, |len| *len as usize);
            if self.body.header.is_some() {
                self.intake.skip(PREAMBLE_LEN + len + 4);
            } else {
                let total = PREAMBLE_LEN + if len > 0 { len + 4 } else { 0 };
                let Some(mut whole) = self.intake.take(total) else { return Ok(None) };
                let mut segment = whole.split_off(PREAMBLE_LEN);
                if len > 0 {
                    let crc = segment.split_off(len);
                    let found = crc.first_chunk().map_or(0, |crc| u32::from_le_bytes(*crc));
                    let at = self.body.offset + (PREAMBLE_LEN + len) as u64;
                    let bad = self.crc_differs("segment crc", crc32c(SEGMENT_SEED, &segment), found, at)?;
                    self.body.bad_crc |= bad;
                    self.set_segment(0, segment.freeze().into(), found);
                }
            }
            self.body.at = 1;
        }
        if !several {
            return Ok(Some(false));
        }
        if !self.collect_segments()? {
            return Ok(None);
        }
        let at = self.intake.offset();
        let Some([status, crcs @ ..]) = self.intake.bytes().first_chunk::<13>().copied() else {
            return Ok(None);
        };
        let aborted = self.late_status(status, at)?;
        self.check_crcs(1, &crcs, at + 1)?;
        self.intake.skip(13);
        Ok(Some(aborted))
    }

    fn body_v2_0(&mut self) -> Result<Option<bool>, Malformed> {
        if self.body.at == 0 && self.intake.offset() == self.body.offset {
            self.intake.skip(PREAMBLE_LEN);
        }
        if !self.collect_segments()? {
            return Ok(None);
        }
        let at = self.intake.offset();
        let Some([flags, crcs @ ..]) = self.intake.bytes().first_chunk::<17>().copied() else {
            return Ok(None);
        };
        self.check_crcs(0, &crcs, at + 1)?;
        self.intake.skip(17);
        Ok(Some(flags & LATE_FLAG_ABORTED != 0))
    }

    /// Collects the segments from `body.at` on with their crcs; whether all are there.
    fn collect_segments(&mut self) -> Result<bool, Malformed> {
        let preamble = self.body.preamble;
        for len in preamble.segments().skip(self.body.at) {
            // Only data goes where the caller wants it, and only if it arrives as it is.
            let data = self.body.at == MAX_SEGMENTS - 1 && self.body.header.is_some();
            let room = if data { &mut self.body.room } else { &mut Room::Own };
            let Some((segment, crc)) = self.intake.segment(len as usize, Some(SEGMENT_SEED), room) else {
                return Ok(false);
            };
            self.set_segment(self.body.at, segment, crc);
            self.body.at += 1;
        }
        Ok(true)
    }

    pub(super) fn set_segment(&mut self, n: usize, segment: Payload, crc: u32) {
        if let (Some(slot), Some(sum)) = (self.body.segments.get_mut(n), self.body.crcs.get_mut(n)) {
            *slot = segment;
            *sum = crc;
        }
    }

    /// Compares the crcs of the epilogue, which begin with segment `first`'s, with those of the segments.
    fn check_crcs(&mut self, first: usize, announced: &[u8], offset: u64) -> Result<(), Malformed> {
        const FIELDS: [&str; MAX_SEGMENTS] = ["segment crc", "front crc", "middle crc", "data crc"];
        let count = usize::from(self.body.preamble.num_segments);
        for n in first..count {
            let announced = announced.get(4 * (n - first)..).and_then(<[u8]>::first_chunk);
            let (Some(found), Some(&computed), Some(field)) =
                (announced, self.body.crcs.get(n), FIELDS.get(n))
            else {
                continue;
            };
            let found = u32::from_le_bytes(*found);
            let bad = self.crc_differs(field, computed, found, offset + 4 * (n - first) as u64)?;
            self.body.bad_crc |= bad;
            if let Some(slot) = self.body.crcs.get_mut(n) {
                *slot = found;
            }
        }
        Ok(())
    }

    /// Whether a crc is wrong, which only lenient decoders live with.
    fn crc_differs(
        &self,
        field: &'static str,
        expected: u32,
        found: u32,
        at: u64,
    ) -> Result<bool, Malformed> {
        if expected == found || self.lenient {
            return Ok(expected != found);
        }
        let frame = Tag::from_number(self.body.preamble.tag).map_or("frame", Tag::name);
        Err(Malformed::new(frame, field, at, Flaw::Crc { expected, found }))
    }

    /// late_status of 2.1: whether the frame was aborted.
    pub(super) fn late_status(&self, status: u8, offset: u64) -> Result<bool, Malformed> {
        match status & 0x0f {
            LATE_COMPLETE => Ok(false),
            LATE_ABORTED => Ok(true),
            _ => {
                let flaw = Flaw::Value { expected: LATE_COMPLETE.into(), found: status.into() };
                Err(Malformed::new("epilogue", "late_status", offset, flaw))
            }
        }
    }
}
