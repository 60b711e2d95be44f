//! Does every frame survive its framing, whatever its size and however its bytes come in?
//!
//! What Ceph's own test of frames leaves open: every length around the first 48 bytes, empty parts
//! between others, byte-by-byte feeding, segments in memory of their own, odd drivers.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "framing/drivers.rs"]
mod drivers;
#[path = "framing/encoding.rs"]
mod encoding;
#[path = "vectors/mode.rs"]
mod mode;
#[path = "framing/rooms.rs"]
mod rooms;

use bytes::Bytes;
use cephwire_codec::v2::{Frame, MessageFrame, Progress, Revision, Tag};
use cephwire_codec::{Chunks, Header, Message, Payload, Room, v1};
use mode::{MODES, encoded};

/// Around 0, 48 and 64: where secure 2.1 goes from one GCM message to two, and where blocks end.
#[test]
fn control_payloads_of_every_length_come_through() {
    for mode in MODES {
        let (mut encoder, mut decoder) = (mode.encoder(), mode.decoder());
        for len in 0..=130 {
            let frame = Frame::AuthReplyMore(Bytes::from(vec![len as u8; len]));
            let bytes = encoded(&mut encoder, &frame);
            for byte in &bytes[..bytes.len() - 1] {
                decoder.feed(&[*byte]);
                assert_eq!(decoder.next_frame().unwrap(), None, "{} {len}", mode.name);
            }
            decoder.feed(&bytes[bytes.len() - 1..]);
            assert_eq!(decoder.next_frame().unwrap(), Some(frame), "{} {len}", mode.name);
            assert_eq!(decoder.last().len, bytes.len() as u64);
        }
    }
}

/// WAIT has one empty segment, and in 2.1 then neither it nor its crc is there.
#[test]
fn an_empty_payload_is_a_frame() {
    for mode in MODES {
        let bytes = mode.bytes(&Frame::Wait);
        let len = match (mode.revision, mode.secure) {
            (Revision::V2_0, false) => 49,
            (Revision::V2_0, true) => 64,
            (Revision::V2_1, false) => 32,
            (Revision::V2_1, true) => 96,
        };
        assert_eq!((bytes.len(), bytes.len() as u64), (len, len as u64));
        let mut decoder = mode.decoder();
        decoder.feed(&[&bytes[..], &[0]].concat());
        assert_eq!(decoder.next_frame().unwrap(), Some(Frame::Wait));
        assert!(decoder.has_partial());
    }
}

/// Empty parts stay between others and are dropped at the end.
#[test]
fn messages_with_any_parts_missing_come_through() {
    for mode in MODES {
        for (front, middle, data) in (0..8).map(|bits| (3 * (bits & 1), 5 * (bits >> 1 & 1), 7 * (bits >> 2)))
        {
            let frame = Frame::Message(message(front, middle, data));
            let mut decoder = mode.decoder();
            decoder.feed(&mode.bytes(&frame));
            assert_eq!(decoder.next_frame().unwrap(), Some(frame), "{} {front} {middle} {data}", mode.name);
            let segments = match (front, middle, data) {
                (0, 0, 0) => 1,
                (_, 0, 0) => 2,
                (_, _, 0) => 3,
                _ => 4,
            };
            assert_eq!(decoder.last().preamble.num_segments, segments);
            let alignments = [8, 8, 8, 4096];
            assert_eq!(decoder.last().preamble.alignments[..segments.into()], alignments[..segments.into()]);
        }
    }
}

/// After every byte, what belongs to frames and what is left of the next one make up what arrived.
#[test]
fn offsets_count_frames_and_the_rest_is_partial() {
    for mode in MODES {
        let mut encoder = mode.encoder();
        let frames = [
            Frame::Wait,
            Frame::Message(message(3, 0, 5)),
            Frame::AuthReplyMore(Bytes::from(vec![1; 90])),
            Frame::Message(message(0, 40_000, 0)),
            Frame::Ack(1),
        ];
        let (mut decoder, mut arrived, mut done) = (mode.decoder(), 0, 0);
        for frame in frames {
            let bytes = encoded(&mut encoder, &frame);
            for (n, byte) in bytes.iter().enumerate() {
                decoder.feed(&[*byte]);
                arrived += 1;
                let found = loop {
                    // Announced and not proceeded with is partial, too.
                    match decoder.next().unwrap() {
                        Progress::Announced(announcement) => {
                            assert_eq!(Some(announcement.tag), frame.tag());
                            assert_eq!((decoder.offset(), decoder.partial_len()), (done, arrived - done));
                            assert!(decoder.has_partial());
                            decoder.proceed(Room::Own);
                        }
                        Progress::More => break None,
                        Progress::Frame(frame) => break Some(frame),
                    }
                };
                assert_eq!(found.is_some(), n + 1 == bytes.len(), "{} {n}", mode.name);
                if found.is_some() {
                    done = arrived;
                }
                assert_eq!(
                    (decoder.offset(), decoder.partial_len()),
                    (done, arrived - done),
                    "{}",
                    mode.name
                );
                assert_eq!(decoder.has_partial(), found.is_none());
            }
        }
    }
}

#[test]
fn offsets_count_the_items_of_v1_too() {
    let (mut decoder, mut arrived, mut done) = (v1::Decoder::new(), 0, 0);
    decoder.expect(v1::Expect::Open);
    let frames = [v1_message(3, 0, 5), v1::Frame::Ack(1), v1_message(0, 40_000, 0), v1::Frame::Keepalive];
    for frame in frames {
        let bytes = v1_bytes(&frame);
        for (n, byte) in bytes.iter().enumerate() {
            decoder.feed(&[*byte]);
            arrived += 1;
            let found = loop {
                match decoder.next().unwrap() {
                    v1::Progress::Announced(_) => {
                        assert_eq!((decoder.offset(), decoder.partial_len()), (done, arrived - done));
                        decoder.proceed(Room::Own);
                    }
                    v1::Progress::More => break None,
                    v1::Progress::Frame(frame) => break Some(frame),
                }
            };
            assert_eq!(found.is_some(), n + 1 == bytes.len(), "{n}");
            if found.is_some() {
                done = arrived;
            }
            assert_eq!((decoder.offset(), decoder.partial_len()), (done, arrived - done), "{n}");
        }
    }
}

/// What is announced stays so until it may come in; 2.1 knows the header by then.
#[test]
fn frames_wait_behind_their_announcement() {
    for mode in MODES {
        let frame = message(3, 4, 5);
        let mut decoder = mode.decoder();
        decoder.feed(&mode.bytes(&Frame::Message(frame.clone())));
        for _ in 0..3 {
            let Progress::Announced(announcement) = decoder.next().unwrap() else {
                panic!("{:?}", mode.name)
            };
            assert_eq!((announcement.tag, announcement.lengths), (Tag::Message, [41, 3, 4, 5]));
            assert!(!announcement.compressed);
            let known = (mode.revision == Revision::V2_1).then_some((1, frame.message.header));
            assert_eq!(announcement.message, known);
        }
        decoder.proceed(Room::Own);
        let Progress::Frame(found) = decoder.next().unwrap() else { panic!("{:?}", mode.name) };
        assert_eq!(found, Frame::Message(frame));
        // Nothing is announced now, so nothing is let in.
        decoder.proceed(Room::Own);
        assert!(matches!(decoder.next().unwrap(), Progress::More));
    }
}

/// Parts of these lengths, each byte different from its neighbours.
fn message(front: usize, middle: usize, data: usize) -> MessageFrame {
    let header = Header { tid: 77, priority: 127, version: 3, data_off: 512, ..Header::default() };
    let part =
        |len: usize, step: usize| Payload::from((0..len).map(|i| (i * step) as u8).collect::<Vec<u8>>());
    let message = Message { header, front: part(front, 3), middle: part(middle, 5), data: part(data, 7) };
    MessageFrame { seq: 1, ack_seq: 2, message, ..MessageFrame::default() }
}

fn v1_message(front: usize, middle: usize, data: usize) -> v1::Frame {
    let message = message(front, middle, data).message;
    v1::Frame::Message(v1::MessageFrame { seq: 1, message, ..v1::MessageFrame::default() })
}

fn v1_bytes(frame: &v1::Frame) -> Vec<u8> {
    let mut out = Chunks::new();
    v1::Encoder::new().encode(frame, &mut out).unwrap();
    out.take_pieces().concat()
}
