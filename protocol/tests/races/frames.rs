//! Where does a batch of bytes fall apart into frames?

use cephwire_protocol::Version;
use cephwire_protocol::codec::v2::{BANNER_PREFIX, PREAMBLE_LEN, Preamble, Revision, Tag};

/// The frames of what one side wrote at once. In v1, what belongs to the handshake stays together.
pub(crate) fn split(version: Version, bytes: &[u8]) -> Vec<Vec<u8>> {
    match version {
        Version::V1 => split_v1(bytes),
        Version::V2 => split_v2(bytes),
    }
}

fn split_v2(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let len = if bytes.starts_with(&BANNER_PREFIX) {
            BANNER_PREFIX.len() + 2 + 16
        } else {
            let preamble: &[u8; PREAMBLE_LEN] = bytes.first_chunk().unwrap();
            Preamble::parse(preamble, 0).unwrap().wire_lengths(Revision::V2_1, false).total() as usize
        };
        let (frame, rest) = bytes.split_at(len);
        frames.push(frame.to_vec());
        bytes = rest;
    }
    frames
}

/// Items, or SEQ's answer (8 bytes) or a reply (26) and then items.
fn split_v1(bytes: &[u8]) -> Vec<Vec<u8>> {
    for first in [0, 8, 26] {
        let Some((handshake, rest)) = bytes.split_at_checked(first) else { continue };
        let Some(items) = items_v1(rest) else { continue };
        let handshake = Some(handshake.to_vec()).filter(|bytes| !bytes.is_empty());
        return handshake.into_iter().chain(items).collect();
    }
    vec![bytes.to_vec()]
}

fn items_v1(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut items = Vec::new();
    while let Some(tag) = bytes.first() {
        let len = match tag {
            // Header and footer; the messages here have no payload.
            7 => 1 + 53 + 21,
            8 | 14 | 15 => 9,
            9 => 1,
            _ => return None,
        };
        let (item, rest) = bytes.split_at_checked(len)?;
        items.push(item.to_vec());
        bytes = rest;
    }
    Some(items)
}

/// What a frame is called.
pub(crate) fn name(version: Version, frame: &[u8]) -> String {
    let tag = frame.first().copied().unwrap_or_default();
    match version {
        Version::V2 if frame.starts_with(&BANNER_PREFIX) => "banner".to_owned(),
        Version::V2 => Tag::from_number(tag).map_or_else(|| tag.to_string(), |tag| tag.name().to_owned()),
        Version::V1 => format!("{tag} and {} bytes", frame.len() - 1),
    }
}
