//! Large messages, and where their data is put.

use bytes::BytesMut;
use cephwire_codec::v2::{self, Frame, MessageFrame, Revision};
use cephwire_codec::{Limits, Message, Payload, Room, v1};

use crate::mode::MODES;
use crate::{message, v1_bytes, v1_message};

/// From here on segments are read into memory of their own.
const DIRECT: usize = 32 << 10;
/// A read that does not end where a segment does.
const READ: usize = 10_007;
const PAGE: usize = 4096;

#[test]
fn large_messages_come_through_in_every_room() {
    for (front, middle, data) in sizes() {
        let frame = message(front, middle, data);
        for mode in MODES {
            let bytes = mode.bytes(&Frame::Message(frame.clone()));
            for n in 0..4 {
                let mut decoder = mode.decoder();
                let found = read_v2(&mut decoder, &bytes, room(n, data));
                assert_eq!(found, frame, "{} {front} {middle} {data}, room {n}", mode.name);
                assert_eq!(decoder.last().len, bytes.len() as u64);
            }
        }
        let sent = v1_message(front, middle, data);
        let bytes = v1_bytes(&sent);
        for n in 0..4 {
            let mut decoder = open();
            let found = read_v1(&mut decoder, &bytes, room(n, data));
            assert_eq!(found, frame.message, "v1 {front} {middle} {data}, room {n}");
        }
    }
}

#[test]
fn a_posted_buffer_comes_back_as_the_data() {
    for data in [DIRECT, 100_000, 1 << 20] {
        for more in [0, 1, PAGE, 1 << 20] {
            let plain = MODES.iter().find(|mode| mode.name == "rev1-crc").unwrap();
            let frame = message(40_000, 50, data);
            let bytes = plain.bytes(&Frame::Message(frame.clone()));
            let posted = BytesMut::with_capacity(data + more);
            let at = posted.as_ptr();
            let found = read_v2(&mut plain.decoder(), &bytes, Room::Posted(posted));
            is_posted(found.message.data, at, &frame.message.data);

            let posted = BytesMut::with_capacity(data + more);
            let at = posted.as_ptr();
            let bytes = v1_bytes(&v1_message(40_000, 50, data));
            let found = read_v1(&mut open(), &bytes, Room::Posted(posted));
            is_posted(found.data, at, &frame.message.data);
        }
    }
}

/// One piece, in that memory, and the caller is its only owner.
fn is_posted(data: Payload, at: *const u8, expected: &Payload) {
    assert_eq!(&data, expected);
    assert_eq!(data.pieces().len(), 1);
    let data = data.into_bytes();
    assert_eq!(data.as_ptr(), at);
    let data = data.try_into_mut().unwrap();
    assert_eq!((data.as_ptr(), data.len()), (at, expected.len()));
}

#[test]
fn a_posted_buffer_that_does_not_fit_is_not_used() {
    let plain = MODES.iter().find(|mode| mode.name == "rev1-crc").unwrap();
    let rows: [(&str, usize, usize, &[u8]); 4] = [
        ("too little room", 100_000, 99_999, b""),
        ("no room at all", 100_000, 0, b""),
        ("not empty", 100_000, 200_000, b"x"),
        ("small data", DIRECT - 1, DIRECT, b""),
    ];
    for (name, data, capacity, filled) in rows {
        let frame = message(10, 0, data);
        let bytes = plain.bytes(&Frame::Message(frame.clone()));
        let (posted, kept) = kept(capacity, filled);
        let found = read_v2(&mut plain.decoder(), &bytes, Room::Posted(posted));
        is_elsewhere(name, &found.message, &frame.message, &kept, capacity);

        let (posted, kept) = self::kept(capacity, filled);
        let found = read_v1(&mut open(), &v1_bytes(&v1_message(10, 0, data)), Room::Posted(posted));
        is_elsewhere(name, &found, &frame.message, &kept, capacity);
    }
    // Where the header is not verified before the data, or the data is sealed.
    for mode in MODES.iter().filter(|mode| mode.revision == Revision::V2_0 || mode.secure) {
        let frame = message(10, 0, 100_000);
        let bytes = mode.bytes(&Frame::Message(frame.clone()));
        let (posted, kept) = kept(100_000, b"");
        let found = read_v2(&mut mode.decoder(), &bytes, Room::Posted(posted));
        is_elsewhere(mode.name, &found.message, &frame.message, &kept, 100_000);
    }
    // Data that has arrived already.
    let frame = message(10, 0, 100_000);
    let mut decoder = plain.decoder();
    decoder.feed(&plain.bytes(&Frame::Message(frame.clone())));
    let (posted, kept) = kept(100_000, b"");
    let found = read_v2(&mut decoder, &[], Room::Posted(posted));
    is_elsewhere("arrived", &found.message, &frame.message, &kept, 100_000);
}

/// A buffer, and a part before it that keeps its memory alive when the buffer is dropped.
fn kept(capacity: usize, filled: &[u8]) -> (BytesMut, BytesMut) {
    let mut buf = BytesMut::zeroed(1 + capacity);
    let kept = buf.split_to(1);
    buf.clear();
    buf.extend_from_slice(filled);
    (buf, kept)
}

fn is_elsewhere(name: &str, found: &Message, expected: &Message, kept: &BytesMut, capacity: usize) {
    assert_eq!(found, expected, "{name}");
    let start = kept.as_ptr() as usize;
    for piece in found.data.pieces() {
        assert!(!(start..=start + capacity).contains(&(piece.as_ptr() as usize)), "{name}");
    }
}

#[test]
fn data_is_one_piece_if_the_limit_allows_it() {
    for data in [DIRECT, 100_000, 1 << 20] {
        let frame = message(100, 0, data);
        let limits = |ahead: usize| Limits { ahead: ahead as u32, ..Limits::default() };
        for mode in MODES {
            let bytes = mode.bytes(&Frame::Message(frame.clone()));
            for (limits, pieces) in [(limits(2 * data), 1), (Limits::default(), data.div_ceil(DIRECT))] {
                let mut decoder = mode.decoder();
                decoder.set_limits(limits);
                let found = read_v2(&mut decoder, &bytes, Room::Own).message;
                assert_eq!(found, frame.message, "{}", mode.name);
                // A sealed message is opened in one buffer.
                let pieces = if mode.secure { 1 } else { pieces };
                assert_eq!(found.data.pieces().len(), pieces, "{} {data}", mode.name);
            }
        }
        let mut decoder = open();
        decoder.set_limits(limits(2 * data));
        let found = read_v1(&mut decoder, &v1_bytes(&v1_message(100, 0, data)), Room::Own);
        assert_eq!(found.data.pieces().len(), 1);
    }
}

#[test]
fn data_is_aligned_where_it_is_one_piece_of_its_own() {
    for data in [DIRECT, 100_000] {
        for at in [0, 1, 512, 4095, 4096, 5000] {
            let limits = Limits { ahead: (2 * (data + PAGE)) as u32, ..Limits::default() };
            let plain = MODES.iter().find(|mode| mode.name == "rev1-crc").unwrap();
            let frame = message(10, 0, data);
            let mut decoder = plain.decoder();
            decoder.set_limits(limits);
            let bytes = plain.bytes(&Frame::Message(frame.clone()));
            let found = read_v2(&mut decoder, &bytes, Room::Aligned(at)).message;
            assert_eq!(found, frame.message);
            assert_eq!(found.data.pieces().len(), 1);
            assert_eq!(found.data.pieces()[0].as_ptr() as usize % PAGE, usize::from(at) % PAGE);

            let mut decoder = open();
            decoder.set_limits(limits);
            let found = read_v1(&mut decoder, &v1_bytes(&v1_message(10, 0, data)), Room::Aligned(at));
            assert_eq!(found, frame.message);
            assert_eq!(found.data.pieces()[0].as_ptr() as usize % PAGE, usize::from(at) % PAGE);
        }
    }
}

fn sizes() -> Vec<(usize, usize, usize)> {
    let mut sizes = Vec::new();
    for front in [0, 100, 40_000] {
        for middle in [0, 50, 33_000] {
            for data in [0, 1, DIRECT - 1, DIRECT, 100_000] {
                sizes.push((front, middle, data));
            }
        }
        sizes.push((front, 50, 1 << 20));
    }
    sizes
}

fn room(n: usize, data: usize) -> Room {
    match n {
        0 => Room::Own,
        1 => Room::Aligned(512),
        2 => Room::Posted(BytesMut::with_capacity(data)),
        _ => Room::Posted(BytesMut::with_capacity(data / 2)),
    }
}

/// Reads a message as from a socket, its data into `room`.
fn read_v2(decoder: &mut v2::Decoder, mut bytes: &[u8], room: Room) -> MessageFrame {
    let mut room = Some(room);
    loop {
        match decoder.next().unwrap() {
            v2::Progress::Frame(Frame::Message(frame)) => return frame,
            v2::Progress::Announced(_) => decoder.proceed(room.take().unwrap()),
            v2::Progress::More => {
                let mut buf = decoder.recv_buf();
                let (now, later) = bytes.split_at(READ.min(buf.capacity()).min(bytes.len()));
                assert!(!now.is_empty());
                buf.extend_from_slice(now);
                decoder.received(buf);
                bytes = later;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn read_v1(decoder: &mut v1::Decoder, mut bytes: &[u8], room: Room) -> Message {
    let mut room = Some(room);
    loop {
        match decoder.next().unwrap() {
            v1::Progress::Frame(v1::Frame::Message(frame)) => return frame.message,
            v1::Progress::Announced(_) => decoder.proceed(room.take().unwrap()),
            v1::Progress::More => {
                let mut buf = decoder.recv_buf();
                let (now, later) = bytes.split_at(READ.min(buf.capacity()).min(bytes.len()));
                assert!(!now.is_empty());
                buf.extend_from_slice(now);
                decoder.received(buf);
                bytes = later;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn open() -> v1::Decoder {
    let mut decoder = v1::Decoder::new();
    decoder.expect(v1::Expect::Open);
    decoder
}
