//! What encoders refuse, and frames that they compress.

use bytes::{Buf as _, Bytes};
use cephwire_codec::v2::{Compression, Encoder, Frame, MessageFrame, Method, Revision};
use cephwire_codec::{Chunks, Message, Payload, Unencodable, v1};

use crate::message;
use crate::mode::{MODES, encoded};

/// More than 4 GiB, but of one piece many times over.
#[test]
fn parts_longer_than_their_length_field_are_not_encoded() {
    let piece = Bytes::from(vec![0; 64 << 20]);
    let long = Payload::from(vec![piece; 64]);
    let found = 1u64 << 32;
    for (n, field) in ["front", "middle", "data"].into_iter().enumerate() {
        let mut message = Message::default();
        *[&mut message.front, &mut message.middle, &mut message.data][n] = long.clone();
        let limit = u64::from(u32::MAX);
        for mode in MODES {
            let frame = MessageFrame { message: message.clone(), ..MessageFrame::default() };
            let mut out = Chunks::new();
            let expected = Unencodable::TooLong { frame: "MESSAGE", field, limit, found };
            assert_eq!(mode.encoder().encode_message(&frame, &mut out), Err(expected.clone()));
            assert_eq!(mode.encoder().encode_aborted(&frame, &mut out), Err(expected));
            assert!(out.is_empty(), "{}", mode.name);
        }
        let frame = v1::MessageFrame { message, ..v1::MessageFrame::default() };
        let mut out = Chunks::new();
        let expected = Unencodable::TooLong { frame: "MSG", field, limit, found };
        assert_eq!(v1::Encoder::new().encode_message(&frame, &mut out), Err(expected.clone()));
        assert_eq!(v1::Encoder::new().encode_aborted(&frame, &mut out), Err(expected));
        assert!(out.is_empty());
    }
}

#[test]
fn only_a_message_with_payload_can_be_given_up() {
    for mode in MODES {
        let (mut encoder, mut out) = (mode.encoder(), Chunks::new());
        let result = encoder.encode_aborted(&message(0, 0, 0), &mut out);
        let (expected, frame) = match mode.revision {
            Revision::V2_0 => (Ok(()), Some(Frame::Aborted(cephwire_codec::v2::Tag::Message))),
            Revision::V2_1 => (Err(Unencodable::NothingToAbort), None),
        };
        assert_eq!(result, expected, "{}", mode.name);
        let mut decoder = mode.decoder();
        decoder.feed(&out.take_pieces().concat());
        assert_eq!(decoder.next_frame().unwrap(), frame, "{}", mode.name);
        // The nonce of what was not written is not used up.
        decoder.feed(&encoded(&mut encoder, &Frame::Ack(1)));
        assert_eq!(decoder.next_frame().unwrap(), Some(Frame::Ack(1)), "{}", mode.name);
    }
}

#[test]
fn an_aborted_frame_is_not_encoded_again() {
    let mut out = Chunks::new();
    Encoder::new().encode(&Frame::Aborted(cephwire_codec::v2::Tag::Message), &mut out).unwrap();
    v1::Encoder::new().encode(&v1::Frame::Aborted { seq: 1 }, &mut out).unwrap();
    assert_eq!(out.remaining(), 0);
}

#[test]
fn aborted_messages_of_any_size_leave_the_stream_whole() {
    for mode in MODES {
        for (front, middle, data) in [(1, 0, 0), (0, 1, 0), (40_000, 0, 5), (3, 33_000, 100_000)] {
            let (mut encoder, mut out) = (mode.encoder(), Chunks::new());
            encoder.encode_aborted(&message(front, middle, data), &mut out).unwrap();
            let mut decoder = mode.decoder();
            for piece in out.take_pieces().concat().chunks(5_003) {
                assert_eq!(decoder.next_frame().unwrap(), None);
                decoder.feed(piece);
            }
            let aborted = Frame::Aborted(cephwire_codec::v2::Tag::Message);
            assert_eq!(decoder.next_frame().unwrap(), Some(aborted));
            decoder.feed(&encoded(&mut encoder, &Frame::Ack(1)));
            assert_eq!(decoder.next_frame().unwrap(), Some(Frame::Ack(1)), "{}", mode.name);
        }
    }
}

#[test]
fn compressed_frames_come_through() {
    assert_eq!(
        Method::SUPPORTED.is_empty(),
        !cfg!(any(feature = "snappy", feature = "zlib", feature = "zstd", feature = "lz4"))
    );
    for &method in Method::SUPPORTED {
        for mode in MODES {
            let (mut encoder, mut decoder) = (mode.encoder(), mode.decoder());
            encoder.set_compression(Some(Compression { method, min_size: 1024 }));
            decoder.set_compression(Some(method));
            for (front, middle, data) in
                [(983, 0, 0), (982, 0, 0), (0, 0, 5_000), (3, 40_000, 0), (40_000, 33_000, 100_000)]
            {
                let frame = Frame::Message(message(front, middle, data));
                decoder.feed(&encoded(&mut encoder, &frame));
                assert!(decoder.next_frame().unwrap() == Some(frame), "{method} {} {front}", mode.name);
                let compressed = decoder.last().preamble.is_compressed();
                assert_eq!(compressed, 41 + front + middle + data >= 1024, "{method} {}", mode.name);
            }
            let frame = Frame::AuthReplyMore(Bytes::from(vec![1; 5_000]));
            decoder.feed(&encoded(&mut encoder, &frame));
            assert_eq!(decoder.next_frame().unwrap(), Some(frame));
            assert!(decoder.last().preamble.is_compressed());
            // An empty payload stays what it is.
            encoder.set_compression(Some(Compression { method, min_size: 0 }));
            decoder.feed(&encoded(&mut encoder, &Frame::Wait));
            assert_eq!(decoder.next_frame().unwrap(), Some(Frame::Wait));
            assert!(!decoder.last().preamble.is_compressed());
        }
    }
}

/// A method that this build lacks is not used; the frame goes plain.
#[test]
fn frames_go_plain_if_the_method_is_not_there() {
    let mut encoder = Encoder::new();
    for method in [Method::NONE, Method::BROTLI, Method(99)] {
        encoder.set_compression(Some(Compression { method, min_size: 0 }));
        let frame = Frame::Message(message(5_000, 0, 0));
        assert_eq!(encoded(&mut encoder, &frame), MODES[1].bytes(&frame));
    }
}
