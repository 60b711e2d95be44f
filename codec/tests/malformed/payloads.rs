//! The payloads of v2's control frames: cut anywhere, or followed by more.

use bytes::Bytes;
use cephwire_codec::crc::{SEGMENT_SEED, crc32c};
use cephwire_codec::v2::{
    AuthBadMethod, AuthDone, AuthRequest, ClientIdent, CompressionDone, CompressionRequest, Decoder, Frame,
    Hello, Method, Preamble, Revision, ServerIdent, SessionReconnect, Tag,
};
use cephwire_codec::{AddrVec, EntityAddr, EntityType, Features, Flaw, Timestamp};

use crate::accept;
use crate::mode::MODES;

/// The fields of a payload in order, with their lengths.
type Fields = Vec<(&'static str, usize)>;

#[test]
fn every_shorter_payload_is_refused_at_the_field_it_lacks() {
    let mut cut = 0;
    for (frame, fields) in frames() {
        let tag = frame.tag().unwrap();
        let payload = payload(&frame);
        let ends = fields.iter().scan(0, |end, (field, len)| {
            let start = *end;
            *end += len;
            Some((*field, start, *end))
        });
        let ends: Vec<(&str, usize, usize)> = ends.collect();
        assert_eq!(ends.last().map_or(0, |(.., end)| *end), payload.len(), "{frame:?}");
        for short in 0..payload.len() {
            let (field, start, _) = ends.iter().find(|(.., end)| short < *end).unwrap();
            let mut decoder = Decoder::mid_stream(Revision::V2_1, 0);
            decoder.feed(&framed(tag, &payload[..short]));
            let error = decoder.next_frame().unwrap_err();
            assert_eq!((error.frame, error.field), (tag.name(), *field), "{short} bytes of {frame:?}");
            // In a vector, an address begins before the count's demand is met.
            let in_vector = *field == "struct_len" && ends.iter().any(|(field, ..)| *field == "count");
            let start = if in_vector { 12 } else { *start };
            assert!((32 + start..=32 + short).contains(&(error.offset as usize)), "{short}: {error}");
            let Flaw::TooShort { expected, found } = error.flaw else { panic!("{error:?}") };
            assert!(found < expected && found <= short as u64, "{short}: {error}");
            assert_eq!(decoder.next_frame(), Err(error));
            cut += 1;
        }
    }
    assert_eq!(cut, 530);
}

#[test]
fn bytes_behind_the_known_fields_are_ignored() {
    for (frame, _) in frames() {
        let tag = frame.tag().unwrap();
        for more in [1, 3, 100] {
            let bytes = framed(tag, &[&payload(&frame)[..], &vec![0xaa; more]].concat());
            let decoder = Decoder::mid_stream(Revision::V2_1, 0);
            assert_eq!(accept(tag.name(), decoder, &bytes), std::slice::from_ref(&frame));
        }
    }
}

/// A count that needs more bytes than there are is refused before anything is reserved for it.
#[test]
fn counts_are_compared_with_the_bytes_that_are_there() {
    let count = u32::MAX.to_le_bytes();
    let rows: [(Tag, &str, Vec<u8>, u64); 6] = [
        (Tag::AuthRequest, "preferred_modes", [&[0; 4], &count[..]].concat(), 4),
        (Tag::AuthBadMethod, "allowed_methods", [&[0; 8], &count[..]].concat(), 4),
        (Tag::AuthBadMethod, "allowed_modes", [&[0; 12], &count[..]].concat(), 4),
        (Tag::CompressionRequest, "methods", [&[1], &count[..]].concat(), 4),
        (Tag::ClientIdent, "count", [&[2], &count[..]].concat(), 19),
        (Tag::SessionReconnect, "count", [&[2], &count[..]].concat(), 19),
    ];
    for (tag, field, payload, size) in rows {
        let bytes = framed(tag, &[&payload[..], &[0; 30]].concat());
        let mut decoder = Decoder::mid_stream(Revision::V2_1, 0);
        decoder.feed(&bytes);
        let error = decoder.next_frame().unwrap_err();
        let expected = (tag.name(), field, 32 + payload.len() as u64 - 4, u64::from(u32::MAX) * size);
        let Flaw::TooShort { expected: needed, .. } = error.flaw else { panic!("{error:?}") };
        assert_eq!((error.frame, error.field, error.offset, needed), expected);
    }
    for (tag, before) in [(Tag::AuthReplyMore, 0), (Tag::AuthRequestMore, 0), (Tag::AuthDone, 12)] {
        let bytes = framed(tag, &[&vec![0; before], &count[..], b"short"].concat());
        let flaw = Flaw::TooShort { expected: u32::MAX.into(), found: 5 };
        let expected = (tag.name(), "payload", 36 + before as u64, flaw);
        crate::refuse("blob", || Decoder::mid_stream(Revision::V2_1, 0), &bytes, expected);
    }
}

/// Booleans are true unless 0, as in Ceph.
#[test]
fn any_byte_but_zero_is_true() {
    for byte in 0..=u8::MAX {
        let frames =
            accept("full", Decoder::mid_stream(Revision::V2_1, 0), &framed(Tag::SessionReset, &[byte]));
        assert_eq!(frames, [Frame::SessionReset { full: byte != 0 }]);
    }
}

/// One frame of each tag that can be too short: all but WAIT and MESSAGE.
fn frames() -> Vec<(Frame, Fields)> {
    const ADDR: [(&str, usize); 4] =
        [("marker", 1), ("struct_v", 1), ("struct_compat", 1), ("struct_len", 4 + 28)];
    // The count of a vector wants 19 bytes behind it for its one address, of 35.
    const ADDRS: [(&str, usize); 3] = [("marker", 1), ("count", 4 + 19), ("struct_len", 16)];
    const IDENT: [(&str, usize); 4] =
        [("gid", 8), ("global_seq", 8), ("features_supported", 8), ("features_required", 8)];
    let addr: EntityAddr = "v2:1.2.3.4:3300/5".parse().unwrap();
    let blob = Bytes::from_static(b"payload");
    let frames: Vec<(Frame, Fields)> = vec![
        (
            Frame::Hello(Hello { entity_type: EntityType::OSD, peer_addr: addr }),
            [&[("entity_type", 1)], &ADDR[..]].concat(),
        ),
        (
            Frame::AuthRequest(AuthRequest { method: 2, preferred_modes: vec![2, 1], payload: blob.clone() }),
            vec![("method", 4), ("preferred_modes", 12), ("payload", 11)],
        ),
        (
            Frame::AuthBadMethod(AuthBadMethod {
                method: 1,
                result: -95,
                allowed_methods: vec![2],
                allowed_modes: vec![2, 1],
            }),
            vec![("method", 4), ("result", 4), ("allowed_methods", 8), ("allowed_modes", 12)],
        ),
        (Frame::AuthReplyMore(blob.clone()), vec![("payload", 11)]),
        (Frame::AuthRequestMore(blob.clone()), vec![("payload", 11)]),
        (
            Frame::AuthDone(AuthDone { global_id: 7, mode: 2, payload: blob }),
            vec![("global_id", 8), ("mode", 4), ("payload", 11)],
        ),
        (Frame::AuthSignature([7; 32]), vec![("signature", 32)]),
        (
            Frame::ClientIdent(ClientIdent {
                addrs: AddrVec::from(addr),
                target: addr,
                gid: -1,
                global_seq: 1,
                features_supported: Features(3),
                features_required: Features(1),
                flags: 1,
                cookie: 9,
            }),
            [&ADDRS[..], &ADDR, &IDENT, &[("flags", 8), ("cookie", 8)]].concat(),
        ),
        (
            Frame::ServerIdent(ServerIdent {
                addrs: AddrVec::from(addr),
                gid: 1,
                global_seq: 2,
                features_supported: Features(3),
                features_required: Features(1),
                flags: 1,
                cookie: 9,
            }),
            [&ADDRS[..], &IDENT, &[("flags", 8), ("cookie", 8)]].concat(),
        ),
        (Frame::IdentMissingFeatures(Features(4)), vec![("features", 8)]),
        (
            Frame::SessionReconnect(SessionReconnect {
                addrs: AddrVec::from(addr),
                client_cookie: 1,
                server_cookie: 2,
                global_seq: 3,
                connect_seq: 4,
                msg_seq: 5,
            }),
            [
                &ADDRS[..],
                &[("client_cookie", 8), ("server_cookie", 8), ("global_seq", 8)],
                &[("connect_seq", 8), ("msg_seq", 8)],
            ]
            .concat(),
        ),
        (Frame::SessionReset { full: true }, vec![("full", 1)]),
        (Frame::SessionRetry(3), vec![("connect_seq", 8)]),
        (Frame::SessionRetryGlobal(3), vec![("global_seq", 8)]),
        (Frame::SessionReconnectOk(3), vec![("msg_seq", 8)]),
        (Frame::Keepalive2(Timestamp { sec: 1, nsec: 2 }), vec![("stamp", 8)]),
        (Frame::Keepalive2Ack(Timestamp { sec: 1, nsec: 2 }), vec![("stamp", 8)]),
        (Frame::Ack(3), vec![("seq", 8)]),
        (
            Frame::CompressionRequest(CompressionRequest { compress: true, methods: vec![Method::ZSTD] }),
            vec![("compress", 1), ("methods", 8)],
        ),
        (
            Frame::CompressionDone(CompressionDone { compress: true, method: Method::ZSTD }),
            vec![("compress", 1), ("method", 4)],
        ),
    ];
    assert_eq!(frames.len(), Tag::ALL.len() - 2);
    frames
}

/// The payload of a control frame.
fn payload(frame: &Frame) -> Vec<u8> {
    let bytes = MODES[0].bytes(frame);
    bytes[32..bytes.len() - 17].to_vec()
}

/// A control frame of 2.1 with this payload.
fn framed(tag: Tag, payload: &[u8]) -> Vec<u8> {
    let preamble = Preamble::new(tag as u8, [payload.len() as u32, 0, 0, 0], [8, 0, 0, 0]);
    let crc = crc32c(SEGMENT_SEED, payload).to_le_bytes();
    [&preamble.to_bytes()[..], payload, if payload.is_empty() { &[] } else { &crc }].concat()
}
