//! v1: the handshake's structures, items, messages.

use cephwire_codec::crc::crc32c;
use cephwire_codec::v1::{Decoder, Encoder, Expect, Frame, Framing, MessageFrame};
use cephwire_codec::{Chunks, Flags, Flaw, Limits, Malformed, Message, Room};

use crate::{Expected, with};

const CONNECT: [u8; 33] = [0; 33];

#[test]
fn the_handshake_is_checked() {
    let value = |expected: u8, found: u8| Flaw::Value { expected: expected.into(), found: found.into() };
    let too_long = |found: u32| Flaw::TooLong { limit: 65536, found: found.into() };
    let mut reply = vec![0; 26];
    reply[0] = 13;
    let limit = 65537u32.to_le_bytes();
    let mut rows: Vec<(String, Expect, Vec<u8>, Expected)> = Vec::new();
    for at in 0..9 {
        let flaw = value(b"ceph v027"[at], b'!');
        let bytes = with(b"ceph v027", at, b"!");
        rows.push(("banner".into(), Expect::Banner, bytes, ("banner", "prefix", at as u64, flaw)));
    }
    rows.push((
        "the banner of v2".into(),
        Expect::Banner,
        b"ceph v2\n\x10\0".to_vec(),
        ("banner", "prefix", 6, value(b'0', b'2')),
    ));
    for marker in [1, 2, 255] {
        let expected = ("address", "marker", 0, value(0, marker));
        rows.push(("address".into(), Expect::Address, vec![marker], expected));
        rows.push(("address".into(), Expect::Address, with(&[0; 136], 0, &[marker]), expected));
    }
    let authorizer = ("connect", "authorizer_len", 28, too_long(65537));
    rows.push(("connect".into(), Expect::Connect, with(&CONNECT, 28, &limit), authorizer));
    let authorizer = ("connect", "authorizer_len", 28, too_long(u32::MAX));
    rows.push(("connect".into(), Expect::Connect, with(&CONNECT, 28, &[0xff; 4]), authorizer));
    let authorizer = ("connect_reply", "authorizer_len", 21, too_long(65537));
    rows.push(("reply".into(), Expect::Reply, with(&reply, 21, &limit), authorizer));
    for tag in (0..=u8::MAX).filter(|tag| !matches!(tag, 1..=5 | 10..=13 | 16)) {
        let expected = ("connect_reply", "tag", 0, Flaw::Unknown { found: tag.into() });
        rows.push((format!("reply {tag}"), Expect::Reply, with(&reply, 0, &[tag]), expected));
    }
    for (name, expect, bytes, expected) in rows {
        refuse(&name, expect, Framing::default(), Limits::default(), &bytes, expected);
    }
}

#[test]
fn items_of_other_tags_are_refused() {
    for tag in (0..=u8::MAX).filter(|tag| !matches!(tag, 6..=9 | 14 | 15)) {
        let expected = ("item", "tag", 9, Flaw::Unknown { found: tag.into() });
        let bytes = [&[8, 1, 0, 0, 0, 0, 0, 0, 0], &[tag][..]].concat();
        refuse("item", Expect::Open, Framing::default(), Limits::default(), &bytes, expected);
    }
}

#[test]
fn messages_are_checked() {
    let bytes = message(Framing::default());
    assert_eq!(bytes.len(), 1 + 53 + 9 + 21);
    let sent = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let (kib, mib) = (1u32 << 10, 1u32 << 20);
    let too_long = |limit: u32, found: u32| Flaw::TooLong { limit: limit.into(), found: found.into() };
    let header = |at: usize, other: &[u8]| {
        let bytes = with(&bytes, at, other);
        let crc = crc32c(0, &bytes[1..50]);
        with(&bytes, 50, &crc.to_le_bytes())
    };
    let longer = |at: usize, limit: u32| header(at, &(limit + 1).to_le_bytes());
    let mut rows: Vec<(&str, Vec<u8>, Expected)> = vec![
        ("front", longer(23, 16 * mib), ("MSG", "front_len", 23, too_long(16 * mib, 16 * mib + 1))),
        ("middle", longer(27, 16 * mib), ("MSG", "middle_len", 27, too_long(16 * mib, 16 * mib + 1))),
        ("data", longer(31, 64 * mib), ("MSG", "data_len", 31, too_long(64 * mib, 64 * mib + 1))),
        ("all", header(23, &[0xff; 12]), ("MSG", "front_len", 23, too_long(16 * mib, u32::MAX))),
    ];
    for (field, at) in [("header crc", 50), ("front_crc", 63), ("middle_crc", 67), ("data_crc", 71)] {
        let flaw = Flaw::Crc { expected: sent(at), found: sent(at) ^ kib };
        rows.push((
            field,
            with(&bytes, at, &(sent(at) ^ kib).to_le_bytes()),
            ("MSG", field, at as u64, flaw),
        ));
    }
    for (name, bytes, expected) in rows {
        refuse(name, Expect::Open, Framing::default(), Limits::default(), &bytes, expected);
    }
    // Each part that was altered, and a header.
    for (at, field, place) in
        [(10, "header crc", 50), (54, "front_crc", 63), (57, "middle_crc", 67), (58, "data_crc", 71)]
    {
        let mut decoder = decoder(Expect::Open, Framing::default(), Limits::default());
        decoder.feed(&with(&bytes, at, &[bytes[at] ^ 0x80]));
        let error = decoder.next_frame().unwrap_err();
        assert_eq!((error.frame, error.field, error.offset), ("MSG", field, place));
        assert!(matches!(error.flaw, Flaw::Crc { found, .. } if found == sent(place as usize)));
    }
}

#[test]
fn limits_are_the_greatest_lengths() {
    let exact = Limits { front: 3, middle: 1, data: 5, authorizer: 4, ..Limits::default() };
    let bytes = message(Framing::default());
    assert_eq!(accept(Expect::Open, Framing::default(), exact, &bytes), [frame()]);
    let too_long = |limit, found| Flaw::TooLong { limit, found };
    for (limits, expected) in [
        (Limits { front: 2, ..exact }, ("MSG", "front_len", 23, too_long(2, 3))),
        (Limits { middle: 0, ..exact }, ("MSG", "middle_len", 27, too_long(0, 1))),
        (Limits { data: 4, ..exact }, ("MSG", "data_len", 31, too_long(4, 5))),
    ] {
        refuse("limit", Expect::Open, Framing::default(), limits, &bytes, expected);
    }
    let bytes = [&with(&CONNECT, 28, &[4])[..], b"auth"].concat();
    assert_eq!(accept(Expect::Connect, Framing::default(), exact, &bytes).len(), 1);
    let expected = ("connect", "authorizer_len", 28, too_long(4, 5));
    refuse("authorizer", Expect::Connect, Framing::default(), exact, &with(&CONNECT, 28, &[5]), expected);
}

#[test]
fn what_is_not_checked_is_accepted() {
    let plain = Framing::default();
    let without_header = Framing { header_crc: false, ..plain };
    let without_data = Framing { data_crc: false, ..plain };
    let bytes = message(plain);
    let flags = bytes.len() - 1;
    let nocrc = with(&with(&bytes, flags, &[3]), 71, &[0; 4]);
    for (name, framing, bytes, unchecked) in [
        ("NOCRC: only the data's crc is skipped", plain, nocrc, true),
        (
            "crcs of header, front and middle are off",
            without_header,
            with(&with(&bytes, 50, &[0; 4]), 63, &[0; 8]),
            true,
        ),
        ("crc of the data is off", without_data, with(&bytes, 71, &[0; 4]), true),
        ("unknown flags", plain, with(&bytes, flags, &[0xf1]), false),
        ("a signature that nobody asked for", plain, with(&bytes, 75, &[0xaa; 8]), false),
    ] {
        let mut decoder = decoder(Expect::Open, framing, Limits::default());
        decoder.feed(&bytes);
        let Some(Frame::Message(found)) = decoder.next_frame().unwrap() else { panic!("{name:?}") };
        let Frame::Message(frame) = frame() else { return };
        assert_eq!(found.message, frame.message, "{name}");
        assert_eq!((decoder.last().unchecked, decoder.last().bad_crc), (unchecked, false), "{name}");
    }
    // But the others still hold.
    let sent = u32::from_le_bytes(*bytes[63..].first_chunk().unwrap());
    let wrong = with(&with(&bytes, flags, &[3]), 63, &[0; 4]);
    let flaw = Flaw::Crc { expected: sent, found: 0 };
    refuse("front", Expect::Open, plain, Limits::default(), &wrong, ("MSG", "front_crc", 63, flaw));
    let sent = u32::from_le_bytes(*bytes[71..].first_chunk().unwrap());
    let flaw = Flaw::Crc { expected: sent, found: 0 };
    let wrong = with(&bytes, 71, &[0; 4]);
    refuse("data", Expect::Open, without_header, Limits::default(), &wrong, ("MSG", "data_crc", 71, flaw));
    // Bytes 1 to 3 of an address, and what is behind the part of the sockaddr that is in use.
    let mut address = vec![0xaa; 136];
    address[0] = 0;
    assert_eq!(accept(Expect::Address, plain, Limits::default(), &address).len(), 1);
}

/// Nothing is decoded before it is said what comes; then bytes that were there before count.
#[test]
fn nothing_is_expected_at_first() {
    let mut decoder = Decoder::new();
    decoder.feed(b"anything");
    assert_eq!(decoder.next_frame(), Ok(None));
    decoder.expect(Expect::Seq);
    assert_eq!(decoder.next_frame(), Ok(Some(Frame::Seq(u64::from_le_bytes(*b"anything")))));
    decoder.feed(&[0]);
    assert_eq!(decoder.next_frame(), Ok(None));
}

/// The error that a decoder ends with, fed at once and byte by byte.
fn refuse(name: &str, expect: Expect, framing: Framing, limits: Limits, bytes: &[u8], expected: Expected) {
    let (frame, field, offset, flaw) = expected;
    let expected = Malformed { frame, field, offset, flaw };
    let error = |decoder: &mut Decoder| loop {
        match decoder.next_frame() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    };
    let mut whole = decoder(expect, framing, limits);
    whole.feed(bytes);
    assert_eq!(error(&mut whole).as_ref(), Some(&expected), "{name}");
    // For good, whatever comes.
    whole.feed(bytes);
    whole.expect(expect);
    whole.proceed(Room::Own);
    assert_eq!(whole.next_frame(), Err(expected.clone()), "{name}");
    assert_eq!(whole.next().err(), Some(expected.clone()), "{name}");
    let mut slow = decoder(expect, framing, limits);
    let found = bytes.iter().find_map(|byte| {
        slow.feed(&[*byte]);
        error(&mut slow)
    });
    assert_eq!(found, Some(expected), "{name}, byte by byte");
}

fn accept(expect: Expect, framing: Framing, limits: Limits, bytes: &[u8]) -> Vec<Frame> {
    let mut decoder = decoder(expect, framing, limits);
    decoder.feed(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        frames.push(frame);
    }
    assert_eq!((decoder.offset(), decoder.partial_len()), (bytes.len() as u64, 0));
    frames
}

fn decoder(expect: Expect, framing: Framing, limits: Limits) -> Decoder {
    let mut decoder = Decoder::new();
    decoder.set_framing(framing);
    decoder.set_limits(limits);
    decoder.expect(expect);
    decoder
}

fn message(framing: Framing) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.set_framing(framing);
    let mut out = Chunks::new();
    encoder.encode(&frame(), &mut out).unwrap();
    out.take_pieces().concat()
}

/// Front of 3, middle of 1, data of 5 bytes.
fn frame() -> Frame {
    let message = Message {
        front: b"abc".to_vec().into(),
        middle: b"-".to_vec().into(),
        data: b"12345".to_vec().into(),
        ..Message::default()
    };
    Frame::Message(MessageFrame { seq: 1, flags: Flags::COMPLETE, message, ..MessageFrame::default() })
}
