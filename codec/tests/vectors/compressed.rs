//! Do compressed segments inflate to what `compressed.txt` says?
//!
//! The segments are put into frames by hand, as the front and the data of a message; its header is the
//! table's own compressed one.

use std::fmt::Write as _;

use cephwire_codec::crc::{SEGMENT_SEED, crc32c};
use cephwire_codec::v2::{Decoder, Frame, Method, Preamble, Revision, Tag};
use cephwire_codec::{Flaw, Payload};
use sha2::{Digest as _, Sha256};

use crate::table::{rows, unhex};

#[test]
fn compressed_segments_inflate_to_their_contents() {
    let rows = rows("compressed.txt", 4);
    assert_eq!(rows.len(), 33);
    let mut inflated = 0;
    for row in &rows {
        let (method, segment) = (method(&row[1]), unhex(&row[2]));
        let header = rows.iter().find(|other| other[1] == row[1] && other[0].ends_with("-header")).unwrap();
        for revision in [Revision::V2_0, Revision::V2_1] {
            let mut decoder = Decoder::mid_stream(revision, 0);
            decoder.set_compression(Some(method));
            decoder.feed(&frame(revision, [&unhex(&header[2]), &segment, &[], &segment]));
            if !method.is_supported() {
                assert_eq!(decoder.next_frame().unwrap_err().flaw, Flaw::NotCompressible, "{row:?}");
                continue;
            }
            let Some(Frame::Message(frame)) = decoder.next_frame().unwrap() else { panic!("{row:?}") };
            assert_eq!((frame.seq, frame.message.header.tid), (1, 2), "{row:?}");
            assert!(frame.message.middle.is_empty(), "{row:?}");
            check(frame.message.front, &row[3]);
            check(frame.message.data, &row[3]);
            inflated += 1;
        }
    }
    let supported = |row: &&Vec<String>| method(&row[1]).is_supported();
    assert_eq!(inflated, 2 * rows.iter().filter(supported).count());
    assert_eq!(inflated == 66, Method::SUPPORTED.len() == 4);
}

/// A frame in crc mode with flag `EARLY_DATA_COMPRESSED`.
fn frame(revision: Revision, segments: [&[u8]; 4]) -> Vec<u8> {
    let lengths = segments.map(|segment| segment.len() as u32);
    let mut preamble = Preamble::new(Tag::Message as u8, lengths, [8, 8, 8, 4096]);
    preamble.flags = Preamble::COMPRESSED;
    let crcs = segments.map(|segment| crc32c(SEGMENT_SEED, segment).to_le_bytes());
    let head = preamble.to_bytes();
    match revision {
        Revision::V2_0 => [&head, &segments.concat()[..], &[0], &crcs.concat()].concat(),
        Revision::V2_1 => {
            let rest = segments[1..].concat();
            [&head, segments[0], &crcs[0], &rest, &[0x0e], &crcs[1..].concat()].concat()
        }
    }
}

fn method(name: &str) -> Method {
    let all = [Method::SNAPPY, Method::ZLIB, Method::ZSTD, Method::LZ4];
    all.into_iter().find(|method| method.name() == Some(name)).unwrap()
}

/// `hex:BYTES` or `sha256:LENGTH:DIGEST`.
fn check(content: Payload, expected: &str) {
    let content = content.into_bytes();
    let digest = Sha256::digest(&content).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    match expected.split_once(':').unwrap() {
        ("hex", digits) => assert_eq!(content, unhex(digits)),
        ("sha256", rest) => assert_eq!(format!("{}:{digest}", content.len()), rest),
        other => panic!("{other:?}"),
    }
}
