//! Compressed segments: broken ones, and ones that inflate to too much.

use cephwire_codec::crc::{SEGMENT_SEED, crc32c};
use cephwire_codec::v2::{Compression, Decoder, Frame, MessageFrame, Method, Preamble, Revision, Tag};
use cephwire_codec::{Flaw, Limits, Message};

use crate::mode::{MODES, encoded};
use crate::refuse;

/// Blocks that no limit saves: each with what is wrong with it.
const BROKEN: [(Method, &str, &[u8]); 23] = [
    (Method::SNAPPY, "no length", &[0x80]),
    (Method::SNAPPY, "length of 6 bytes", &[0xff; 6]),
    (Method::SNAPPY, "nothing behind the length", &[5]),
    (Method::SNAPPY, "literal past the end", &[5, 0x10, 1, 2]),
    (Method::SNAPPY, "copy from before the start", &[5, 0x05, 9]),
    (Method::SNAPPY, "shorter than announced", &[5, 0x04, 1, 2]),
    (Method::SNAPPY, "more than three bytes can copy", &[0xe8, 0x07, 0xfe, 1, 0]),
    (Method::ZLIB, "no stream", &[0]),
    (Method::ZLIB, "a block type that does not exist", &[0, 0x07]),
    (Method::ZLIB, "cut", &[0, 0x4b, 0x4c]),
    (Method::ZLIB, "stored with another complement", &[0, 1, 6, 0, 0, 0, 1, 2, 3, 4, 5, 6]),
    (Method::ZSTD, "no length", &[1, 0, 0]),
    (Method::ZSTD, "no frame", &[1, 0, 0, 0]),
    (Method::ZSTD, "another magic", b"\x01\0\0\0\x28\xb5\x2f\xfe\x20\x01\x09\0\0\x78"),
    (
        Method::ZSTD,
        "longer than announced",
        b"\x95\0\0\0\x28\xb5\x2f\xfd\x20\x96\x55\0\0\x18\x61\x62\x63\x01\0\x29\x37\x04",
    ),
    (
        Method::ZSTD,
        "shorter than announced",
        b"\x97\0\0\0\x28\xb5\x2f\xfd\x20\x96\x55\0\0\x18\x61\x62\x63\x01\0\x29\x37\x04",
    ),
    (Method::ZSTD, "more than a block can hold", &[1, 0, 4, 0, 0, 0, 0]),
    (Method::LZ4, "no count", &[1, 0, 0]),
    (Method::LZ4, "fewer lengths than counted", &[2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]),
    (Method::LZ4, "count of all bits", &[0xff; 12]),
    (Method::LZ4, "more than a byte can stand for", &[1, 0, 0, 0, 0, 4, 0, 0, 2, 0, 0, 0, 0x10, 0x78]),
    (Method::LZ4, "block past the end", &[1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0x10, 0x78]),
    (Method::LZ4, "shorter than announced", &[1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0x10, 0x78]),
];

#[test]
fn broken_blocks_are_refused_by_the_name_of_their_method() {
    for (method, name, block) in BROKEN {
        for revision in [Revision::V2_0, Revision::V2_1] {
            let bytes = framed(revision, Tag::AuthReplyMore, block);
            let name = format!("{method}: {name}");
            let (field, offset, flaw) = match method.is_supported() {
                true => ("segment length", 32, Flaw::Inflate { method: method.name().unwrap() }),
                false => ("flags", 26, Flaw::NotCompressible),
            };
            let limits = Limits { handshake: 1 << 20, ..Limits::default() };
            let decoder = || decoder(revision, method, limits);
            refuse(&name, decoder, &bytes, ("AUTH_REPLY_MORE", field, offset, flaw));
        }
    }
}

/// What announces too much is refused for that alone, before it is looked at.
#[test]
fn announced_lengths_above_the_limit_are_refused() {
    let most = 65536u64;
    let rows: [(Method, Vec<u8>, u64); 3] = [
        (Method::SNAPPY, vec![0xff, 0xff, 0xff, 0xff, 0x0f], u32::MAX.into()),
        (Method::ZSTD, vec![0xff; 40], u32::MAX.into()),
        (Method::LZ4, [&[2, 0, 0, 0], &[0xff; 16][..]].concat(), 2 * u64::from(u32::MAX)),
    ];
    for (method, block, found) in rows.into_iter().filter(|(method, ..)| method.is_supported()) {
        let bytes = framed(Revision::V2_1, Tag::AuthReplyMore, &block);
        let expected = ("AUTH_REPLY_MORE", "segment length", 32, Flaw::TooLong { limit: most, found });
        refuse("announced", || decoder(Revision::V2_1, method, Limits::default()), &bytes, expected);
    }
}

#[test]
fn each_part_has_its_own_limit_when_inflated() {
    let message = message();
    let exact = Limits { front: 1000, middle: 2000, data: 3000, ..Limits::default() };
    for &method in Method::SUPPORTED {
        for mode in MODES {
            let bytes = {
                let mut encoder = mode.encoder();
                encoder.set_compression(Some(Compression { method, min_size: 0 }));
                encoded(&mut encoder, &message)
            };
            for (field, limits, limit) in [
                ("", exact, 0),
                ("front length", Limits { front: 999, ..exact }, 999),
                ("middle length", Limits { middle: 1999, ..exact }, 1999),
                ("data length", Limits { data: 2999, ..exact }, 2999),
            ] {
                let mut decoder = mode.decoder();
                decoder.set_limits(limits);
                decoder.set_compression(Some(method));
                decoder.feed(&bytes);
                if field.is_empty() {
                    assert_eq!(decoder.next_frame().unwrap().as_ref(), Some(&message));
                    continue;
                }
                let error = decoder.next_frame().unwrap_err();
                assert_eq!((error.frame, error.field), ("MESSAGE", field), "{method} {}", mode.name);
                assert_eq!(error.flaw, Flaw::TooLong { limit, found: limit + 1 }, "{method} {}", mode.name);
                if !mode.secure {
                    // The offset is that of the compressed segment.
                    let lengths = bytes[2..26]
                        .chunks_exact(6)
                        .map(|segment| u64::from(u16::from_le_bytes([segment[0], segment[1]])));
                    let n = ["front length", "middle length", "data length"].iter().position(|f| *f == field);
                    let crc = if mode.revision == Revision::V2_1 { 4 } else { 0 };
                    let before: u64 = lengths.take(n.unwrap() + 1).sum();
                    assert_eq!(error.offset, 32 + before + crc, "{method} {}", mode.name);
                }
            }
        }
    }
}

/// The compressed length itself is bounded by the limit and a little.
#[test]
fn compressed_lengths_have_limits_too() {
    for &method in Method::SUPPORTED {
        let limit = 65536 + 65536 / 64 + 1024;
        let mut preamble = Preamble::new(Tag::AuthReplyMore as u8, [limit + 1, 0, 0, 0], [8, 0, 0, 0]);
        preamble.flags = Preamble::COMPRESSED;
        let flaw = Flaw::TooLong { limit: limit.into(), found: u64::from(limit) + 1 };
        let expected = ("AUTH_REPLY_MORE", "segment length", 2, flaw);
        let decoder = || decoder(Revision::V2_1, method, Limits::default());
        refuse("bound", decoder, &preamble.to_bytes(), expected);
    }
}

#[test]
fn a_header_that_inflates_to_another_length_is_refused() {
    for &method in Method::SUPPORTED {
        for revision in [Revision::V2_0, Revision::V2_1] {
            // The only byte is an x; see testdata/vectors/compressed.txt.
            let block: &[u8] = match method {
                Method::SNAPPY => &[1, 0, 0x78],
                Method::ZLIB => &[0, 0xab, 0, 0],
                Method::ZSTD => b"\x01\0\0\0\x28\xb5\x2f\xfd\x20\x01\x09\0\0\x78",
                _ => &[1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0x10, 0x78],
            };
            let flaw = Flaw::Value { expected: 41, found: 1 };
            let decoder = || decoder(revision, method, Limits::default());
            let bytes = framed(revision, Tag::Message, block);
            refuse("header", decoder, &bytes, ("MESSAGE", "header length", 32, flaw));
        }
    }
}

/// A method that is taken back while its frame is on the way: nobody does that, but it must not pass.
#[test]
fn a_method_that_is_gone_when_the_frame_is_there_refuses_it() {
    for &method in Method::SUPPORTED {
        let bytes = framed(Revision::V2_1, Tag::AuthReplyMore, &[1, 0, 0x78]);
        let mut decoder = decoder(Revision::V2_1, method, Limits::default());
        decoder.feed(&bytes);
        decoder.next().unwrap();
        decoder.proceed(cephwire_codec::Room::Own);
        decoder.set_compression(None);
        assert_eq!(decoder.next_frame().unwrap_err().flaw, Flaw::NotCompressible);
    }
}

fn decoder(revision: Revision, method: Method, limits: Limits) -> Decoder {
    let mut decoder = Decoder::mid_stream(revision, 0);
    decoder.set_compression(Some(method));
    decoder.set_limits(limits);
    decoder
}

/// A compressed frame of one segment.
fn framed(revision: Revision, tag: Tag, block: &[u8]) -> Vec<u8> {
    let mut preamble = Preamble::new(tag as u8, [block.len() as u32, 0, 0, 0], [8, 0, 0, 0]);
    preamble.flags = Preamble::COMPRESSED;
    let crc = crc32c(SEGMENT_SEED, block).to_le_bytes();
    let head = preamble.to_bytes();
    match revision {
        Revision::V2_0 => [&head, block, &[0], &crc, &[0; 12]].concat(),
        Revision::V2_1 => [&head, block, &crc].concat(),
    }
}

fn message() -> Frame {
    let message = Message {
        front: vec![b'F'; 1000].into(),
        middle: vec![b'M'; 2000].into(),
        data: vec![b'D'; 3000].into(),
        ..Message::default()
    };
    Frame::Message(MessageFrame { seq: 1, message, ..MessageFrame::default() })
}
