//! Where does the next frame begin, in bytes without a known beginning?
//!
//! Only a checksum is proof: the crc of a v2 preamble, or of a v1 message's header. So a secure stream, and
//! v1's small items before the first message, cannot be found again.

use cephwire_codec::crc::crc32c;
use cephwire_codec::v1;
use cephwire_codec::v2::{PREAMBLE_LEN, Preamble, Revision, Tag};

use super::record::Protocol;

/// The bytes that must be there to prove a boundary, or to say which revision of v2 it is.
pub(super) const NEEDED: usize = 512;

/// A frame boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Boundary {
    /// Bytes before it.
    pub skipped: usize,
    /// What begins there.
    pub found: Found,
}

/// What begins at a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A message of v1.
    V1,
    /// A frame of v2.
    V2(Revision),
}

/// The first boundary in `bytes` that begins before `until`, of `protocol` if it is known.
pub(super) fn find(bytes: &[u8], until: usize, protocol: Option<Protocol>) -> Option<Boundary> {
    let wanted = |this| protocol.is_none_or(|protocol| protocol == this);
    (0..until.min(bytes.len())).find_map(|skipped| {
        let here = bytes.get(skipped..)?;
        let found = None
            .or_else(|| wanted(Protocol::V1).then(|| v1_message(here))?)
            .or_else(|| wanted(Protocol::V2).then(|| v2_frame(here))?)?;
        Some(Boundary { skipped, found })
    })
}

fn v1_message(bytes: &[u8]) -> Option<Found> {
    const COVERED: usize = v1::MESSAGE_HEADER_LEN - 4;
    let (tag, rest) = bytes.split_first()?;
    if *tag != v1::Tag::Msg as u8 {
        return None;
    }
    let (covered, rest) = rest.split_first_chunk::<COVERED>()?;
    // The crc of zeros is zero, and proves nothing.
    let proved =
        crc32c(0, covered).to_le_bytes() == *rest.first_chunk()? && covered.iter().any(|byte| *byte != 0);
    proved.then_some(Found::V1)
}

fn v2_frame(bytes: &[u8]) -> Option<Found> {
    let (preamble, rest) = bytes.split_first_chunk::<PREAMBLE_LEN>()?;
    // Nearly every place fails here, at the price of a crc of 28 bytes.
    Tag::from_number(*preamble.first()?)?;
    let preamble = Preamble::parse(preamble, 0).ok()?;
    Some(Found::V2(revision(&preamble, rest)))
}

/// 2.1 has the crc of the first segment right behind it.
fn revision(preamble: &Preamble, rest: &[u8]) -> Revision {
    let len = preamble.segments().next().unwrap_or_default() as usize;
    if len == 0 {
        return Revision::V2_1;
    }
    let first = rest.get(..len).zip(rest.get(len..).and_then(<[u8]>::first_chunk));
    match first {
        Some((segment, crc)) if crc32c(u32::MAX, segment).to_le_bytes() != *crc => Revision::V2_0,
        _ => Revision::V2_1,
    }
}
