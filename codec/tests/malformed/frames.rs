//! v2's banner, preambles, segments and epilogues in crc mode.

use cephwire_codec::crc::{SEGMENT_SEED, crc32c};
use cephwire_codec::v2::{Decoder, Frame, MessageFrame, Method, Preamble, Revision, Tag};
use cephwire_codec::{Flags, Flaw, Limits, Message, Timestamp};

use crate::mode::{MODES, Mode};
use crate::{Expected, accept, in_preamble, refuse, with};

const V2_0: Mode = MODES[0];
const V2_1: Mode = MODES[1];
const BANNER: &[u8; 26] = b"ceph v2\n\x10\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

#[test]
fn banners_must_begin_right_and_be_long_enough() {
    for (at, byte) in BANNER[..8].iter().enumerate() {
        let flaw = Flaw::Value { expected: (*byte).into(), found: b'!'.into() };
        let bytes = with(BANNER, at, b"!");
        refuse("prefix", Decoder::new, &bytes, ("banner", "prefix", at as u64, flaw));
    }
    let flaw = Flaw::Value { expected: b'2'.into(), found: b'0'.into() };
    refuse("the banner of v1", Decoder::new, b"ceph v027", ("banner", "prefix", 6, flaw));
    for found in [0, 15] {
        let flaw = Flaw::TooShort { expected: 16, found };
        let bytes = with(BANNER, 8, &[found as u8]);
        refuse("short", Decoder::new, &bytes, ("banner", "length", 8, flaw));
    }
    let tight = || {
        let mut decoder = Decoder::new();
        decoder.set_limits(Limits { handshake: 20, ..Limits::default() });
        decoder
    };
    let flaw = Flaw::TooLong { limit: 20, found: 21 };
    refuse("long", tight, &with(BANNER, 8, &[21]), ("banner", "length", 8, flaw));
}

#[test]
fn longer_banners_are_accepted() {
    for more in [0, 8, 1000, usize::from(u16::MAX) - 16] {
        let len = (16 + more as u16).to_le_bytes();
        let bytes = [&with(BANNER, 8, &len)[..], &vec![0xaa; more]].concat();
        let frames = accept("longer", Decoder::new(), &bytes);
        let [Frame::Banner(banner)] = &frames[..] else { panic!("{more:?}") };
        assert_eq!((banner.supported.bits(), banner.required.bits()), (1, 0));
    }
}

#[test]
fn preambles_are_checked() {
    let (limit, over) = (16 << 20, (16u32 << 20) + 1);
    let data = (64u32 << 20) + 1;
    let too_long = |limit: u64, found: u32| Flaw::TooLong { limit, found: found.into() };
    for mode in [V2_0, V2_1] {
        let ping = mode.bytes(&keepalive());
        let message = mode.bytes(&message());
        let sum = crc32c(0, &ping[..28]);
        let crc = Flaw::Crc { expected: sum, found: sum ^ 1 };
        let found = |found| Flaw::Unknown { found };
        let segments = |found| Flaw::Range { least: 1, most: 4, found };
        let empty = Flaw::Range { least: 1, most: u32::MAX.into(), found: 0 };
        let header = |found| Flaw::Value { expected: 41, found };
        let altered = |at, other: &[u8]| in_preamble(&message, at, other);
        let rows: Vec<(&str, Vec<u8>, Expected)> = vec![
            ("crc", with(&ping, 28, &[ping[28] ^ 1]), ("preamble", "crc", 28, crc)),
            ("no segment", in_preamble(&ping, 1, &[0]), ("preamble", "num_segments", 1, segments(0))),
            ("5 segments", in_preamble(&ping, 1, &[5]), ("preamble", "num_segments", 1, segments(5))),
            ("255 segments", in_preamble(&ping, 1, &[255]), ("preamble", "num_segments", 1, segments(255))),
            (
                "empty segment 1",
                altered(1, &[2, 41, 0, 0, 0, 8, 0, 0, 0, 0, 0]),
                ("preamble", "last segment", 8, empty),
            ),
            (
                "empty segment 2",
                altered(1, &[3, 41, 0, 0, 0, 8, 0, 3, 0, 0, 0, 8, 0, 0]),
                ("preamble", "last segment", 14, empty),
            ),
            ("empty segment 3", altered(20, &[0; 4]), ("preamble", "last segment", 20, empty)),
            ("tag 0", in_preamble(&ping, 0, &[0]), ("preamble", "tag", 0, found(0))),
            ("tag 23", in_preamble(&ping, 0, &[23]), ("preamble", "tag", 0, found(23))),
            ("tag 99", in_preamble(&ping, 0, &[99]), ("preamble", "tag", 0, found(99))),
            // On purpose unlike Ceph, which accepts these and takes the last segment for the payload (conformance §4.1):
            // what comes before it nobody would read, no peer sends it, and a stranger could announce four times as
            // much.
            (
                "control frame of 2 segments",
                in_preamble(&ping, 1, &[2, 8, 0, 0, 0, 8, 0, 8, 0, 0, 0, 8, 0]),
                ("KEEPALIVE2", "num_segments", 1, Flaw::Value { expected: 1, found: 2 }),
            ),
            (
                "control frame of 4 segments",
                altered(0, &[18]),
                ("KEEPALIVE2", "num_segments", 1, Flaw::Value { expected: 1, found: 4 }),
            ),
            ("header of 40", altered(2, &[40]), ("MESSAGE", "header length", 2, header(40))),
            ("header of 42", altered(2, &[42]), ("MESSAGE", "header length", 2, header(42))),
            ("header of 0", altered(2, &[0]), ("MESSAGE", "header length", 2, header(0))),
            ("front", altered(8, &over.to_le_bytes()), ("MESSAGE", "front length", 8, too_long(limit, over))),
            (
                "middle",
                altered(14, &over.to_le_bytes()),
                ("MESSAGE", "middle length", 14, too_long(limit, over)),
            ),
            (
                "data",
                altered(20, &data.to_le_bytes()),
                ("MESSAGE", "data length", 20, too_long(64 << 20, data)),
            ),
            (
                "control payload",
                in_preamble(&ping, 2, &65537u32.to_le_bytes()),
                ("KEEPALIVE2", "segment length", 2, too_long(65536, 65537)),
            ),
            ("compressed", altered(26, &[1]), ("MESSAGE", "flags", 26, Flaw::NotCompressible)),
            (
                "compressed control frame",
                in_preamble(&ping, 26, &[1]),
                ("KEEPALIVE2", "flags", 26, Flaw::NotCompressible),
            ),
        ];
        for (name, bytes, expected) in rows {
            let name = format!("{name}, {}", mode.name);
            refuse(&name, || mode.decoder(), &bytes, expected);
            // The same behind another frame, further on in a stream.
            let (frame, field, offset, flaw) = expected;
            let bytes = [&ping[..], &bytes].concat();
            let moved = (frame, field, 1000 + ping.len() as u64 + offset, flaw);
            refuse(&name, || Decoder::mid_stream(mode.revision, 1000), &bytes, moved);
        }
        let brotli = || {
            let mut decoder = mode.decoder();
            decoder.set_compression(Some(Method::BROTLI));
            decoder
        };
        refuse("brotli", brotli, &altered(26, &[1]), ("MESSAGE", "flags", 26, Flaw::NotCompressible));
    }
}

#[test]
fn limits_are_the_greatest_lengths() {
    let limits = Limits { front: 3, middle: 1, data: 5, handshake: 8, ..Limits::default() };
    for mode in MODES {
        for (field, at, limits, ok) in [
            ("", 0, limits, true),
            ("front length", 8, Limits { front: 2, ..limits }, false),
            ("middle length", 14, Limits { middle: 0, ..limits }, false),
            ("data length", 20, Limits { data: 4, ..limits }, false),
        ] {
            let decoder = || {
                let mut decoder = mode.decoder();
                decoder.set_limits(limits);
                decoder
            };
            let bytes = mode.bytes(&message());
            if ok {
                assert_eq!(accept(field, decoder(), &bytes), [message()]);
                assert_eq!(accept(field, decoder(), &mode.bytes(&keepalive())), [keepalive()]);
            } else {
                let (limit, found) = match field {
                    "front length" => (2, 3),
                    "middle length" => (0, 1),
                    _ => (4, 5),
                };
                refuse(field, decoder, &bytes, ("MESSAGE", field, at, Flaw::TooLong { limit, found }));
            }
        }
        let decoder = || {
            let mut decoder = mode.decoder();
            decoder.set_limits(Limits { handshake: 7, ..Limits::default() });
            decoder
        };
        let flaw = Flaw::TooLong { limit: 7, found: 8 };
        refuse("handshake", decoder, &mode.bytes(&keepalive()), ("KEEPALIVE2", "segment length", 2, flaw));
    }
}

#[test]
fn every_segment_has_its_crc() {
    // The segment's first byte, and its crc's.
    let rev0 = [(32, "segment crc", 83), (73, "front crc", 87), (76, "middle crc", 91), (77, "data crc", 95)];
    let rev1 = [(32, "header crc", 73), (77, "front crc", 87), (80, "middle crc", 91), (81, "data crc", 95)];
    for (mode, rows) in [(V2_0, rev0), (V2_1, rev1)] {
        let bytes = mode.bytes(&message());
        assert_eq!(bytes.len(), 99);
        for (segment, field, at) in rows {
            let sent = u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
            let wrong = with(&bytes, at, &(sent ^ 1).to_le_bytes());
            let flaw = Flaw::Crc { expected: sent, found: sent ^ 1 };
            refuse(field, || mode.decoder(), &wrong, ("MESSAGE", field, at as u64, flaw));

            let wrong = with(&bytes, segment, &[bytes[segment] ^ 0x80]);
            let mut decoder = mode.decoder();
            decoder.feed(&wrong);
            let error = decoder.next_frame().unwrap_err();
            assert_eq!((error.field, error.offset), (field, at as u64));
            assert!(matches!(error.flaw, Flaw::Crc { found, expected } if found == sent && expected != sent));

            // A tool may look at it all the same.
            let mut decoder = mode.decoder();
            decoder.set_lenient(true);
            decoder.feed(&wrong);
            assert!(matches!(decoder.next_frame().unwrap(), Some(Frame::Message(_))));
            assert!(decoder.last().bad_crc);
        }
        let bytes = mode.bytes(&keepalive());
        let at = if mode == V2_0 { 41 } else { 40 };
        let sent = u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
        let flaw = Flaw::Crc { expected: sent, found: sent ^ 1 };
        let wrong = with(&bytes, at, &(sent ^ 1).to_le_bytes());
        refuse("control", || mode.decoder(), &wrong, ("KEEPALIVE2", "segment crc", at as u64, flaw));
    }
}

#[test]
fn only_two_late_statuses_exist() {
    let bytes = V2_1.bytes(&message());
    for status in 0..=u8::MAX {
        let bytes = with(&bytes, 86, &[status]);
        match status & 0x0f {
            0x0e => assert_eq!(accept("complete", V2_1.decoder(), &bytes), [message()]),
            0x01 => assert_eq!(accept("aborted", V2_1.decoder(), &bytes), [Frame::Aborted(Tag::Message)]),
            _ => {
                let flaw = Flaw::Value { expected: 0x0e, found: status.into() };
                refuse("late_status", || V2_1.decoder(), &bytes, ("epilogue", "late_status", 86, flaw));
            }
        }
    }
    // In 2.0 they are flags, of which one is known.
    let bytes = V2_0.bytes(&message());
    for flags in 0..=u8::MAX {
        let frame = if flags & 1 == 0 { message() } else { Frame::Aborted(Tag::Message) };
        assert_eq!(accept("flags", V2_0.decoder(), &with(&bytes, 82, &[flags])), [frame]);
    }
}

#[test]
fn what_ceph_does_not_look_at_is_accepted() {
    for mode in [V2_0, V2_1] {
        let (ping, whole) = (mode.bytes(&keepalive()), mode.bytes(&message()));
        let rows: Vec<(&str, Vec<u8>, Frame)> = vec![
            ("reserved byte", in_preamble(&ping, 27, &[0xff]), keepalive()),
            ("other flags", in_preamble(&ping, 26, &[0xfe]), keepalive()),
            ("odd alignment", in_preamble(&ping, 6, &[3, 0]), keepalive()),
            ("no alignment", in_preamble(&ping, 6, &[0, 0]), keepalive()),
            ("unused descriptors", in_preamble(&ping, 8, &[0xff; 18]), keepalive()),
            ("alignments of a message", in_preamble(&whole, 24, &[0xff, 0xff]), message()),
        ];
        for (name, bytes, frame) in rows {
            assert_eq!(accept(name, mode.decoder(), &bytes), [frame], "{name}");
        }
    }
    // The crcs of segments that do not exist.
    let Frame::Message(mut short) = message() else { return };
    (short.message.middle, short.message.data) = Default::default();
    let frame = Frame::Message(short);
    let bytes = V2_1.bytes(&frame);
    let bytes = with(&bytes, bytes.len() - 8, &[0xaa; 8]);
    assert_eq!(accept("2.1", V2_1.decoder(), &bytes), std::slice::from_ref(&frame));
    let bytes = V2_0.bytes(&frame);
    let bytes = with(&bytes, bytes.len() - 8, &[0xaa; 8]);
    assert_eq!(accept("2.0", V2_0.decoder(), &bytes), [frame]);
}

/// In 2.1 an empty first segment has no crc, so the frame is its preamble alone.
#[test]
fn a_compressed_message_without_header_is_refused_at_once() {
    let mut preamble = Preamble::new(Tag::Message as u8, [0, 4, 0, 0], [8; 4]);
    preamble.flags = Preamble::COMPRESSED;
    let flaw = Flaw::Value { expected: 41, found: 0 };
    for (revision, method) in [Revision::V2_0, Revision::V2_1]
        .into_iter()
        .flat_map(|r| Method::SUPPORTED.iter().map(move |m| (r, *m)))
    {
        let decoder = || {
            let mut decoder = Decoder::mid_stream(revision, 0);
            decoder.set_compression(Some(method));
            decoder
        };
        let none = SEGMENT_SEED.to_le_bytes();
        for bytes in [&preamble.to_bytes()[..], &[&preamble.to_bytes()[..], &none].concat()] {
            refuse("no header", decoder, bytes, ("MESSAGE", "header length", 2, flaw));
        }
    }
}

fn keepalive() -> Frame {
    Frame::Keepalive2(Timestamp { sec: 0x0102_0304, nsec: 0x0506_0708 })
}

/// Four segments of 41, 3, 1 and 5 bytes.
fn message() -> Frame {
    let message = Message {
        front: b"abc".to_vec().into(),
        middle: b"-".to_vec().into(),
        data: b"12345".to_vec().into(),
        ..Message::default()
    };
    Frame::Message(MessageFrame { seq: 1, flags: Flags(3), message, ..MessageFrame::default() })
}
