//! Do v2's frames, a handshake, a session in secure mode and aborted frames have the bytes of the tables?

use bytes::Bytes;
use cephwire_codec::v2::{Decoder, Encoder, Frame, MessageFrame, Method, Revision, Tag};
use cephwire_codec::{Chunks, EntityType, Flags, Flaw, Header, Message, MessageType, Timestamp};

use crate::mode::{MODES, Mode, encoded};
use crate::table::{rows, unhex};

#[test]
fn synthetic_frames_have_these_bytes() {
    let mut seen = 0;
    for mode in MODES {
        for (name, frame) in [
            ("keepalive2", Frame::Keepalive2(Timestamp { sec: 0x0102_0304, nsec: 0x0506_0708 })),
            ("message", Frame::Message(message(1))),
        ] {
            let bytes = row(&format!("synthetic-{name}-{}", mode.name), mode.name);
            assert_eq!(mode.bytes(&frame), bytes, "{name} {}", mode.name);
            let mut decoder = mode.decoder();
            decoder.feed(&bytes);
            assert_eq!(decoder.next_frame().unwrap(), Some(frame), "{name} {}", mode.name);
            assert_eq!(decoder.last().secure, mode.secure);
            seen += 1;
        }
    }
    assert_eq!(seen, if cfg!(feature = "secure") { 8 } else { 4 });
}

#[test]
fn a_handshake_in_crc_mode_has_these_bytes() {
    let mut seen = 0;
    for side in ["client", "server"] {
        let (mut decoder, mut encoder) = (Decoder::new(), Encoder::new());
        decoder.record(true);
        let mut sent = Vec::new();
        let frames = table()
            .into_iter()
            .filter(|(name, ..)| name == "crc-banner" || name.starts_with(&format!("crc-{side}-")));
        for (name, kind, bytes) in frames {
            assert_eq!(kind, if name == "crc-banner" { "banner" } else { "rev1-crc" });
            decoder.feed(&bytes);
            let frame = decoder.next_frame().unwrap().unwrap();
            look(&name, &frame);
            assert_eq!(encoded(&mut encoder, &frame), bytes, "{name}");
            assert_eq!(decoder.last().len, bytes.len() as u64, "{name}");
            sent.extend_from_slice(&bytes);
            seen += 1;
        }
        assert_eq!(decoder.take_record(), sent);
    }
    assert_eq!(seen, 12);
}

/// The fields of the handshake that its documentation names.
fn look(name: &str, frame: &Frame) {
    match (name, frame) {
        ("crc-banner", Frame::Banner(banner)) => {
            assert_eq!((banner.supported.bits(), banner.required.bits()), (1, 0));
        }
        ("crc-client-hello", Frame::Hello(hello)) => {
            assert_eq!(hello.entity_type, EntityType::CLIENT);
            assert_eq!(hello.peer_addr.to_string(), "v2:127.0.0.1:13300/0");
        }
        ("crc-server-hello", Frame::Hello(hello)) => {
            assert_eq!(hello.entity_type, EntityType::MON);
            assert_eq!(hello.peer_addr.to_string(), "v2:127.0.0.1:45076/0");
        }
        ("crc-client-auth-request", Frame::AuthRequest(request)) => {
            assert_eq!((request.method, &request.preferred_modes[..]), (2, &[1][..]));
            assert_eq!((request.payload[0], request.payload.len()), (10, 22));
        }
        ("crc-server-auth-reply-more", Frame::AuthReplyMore(payload)) => {
            // One byte, then the server's challenge.
            assert_eq!(payload[1..], 0xecec_6b09_f720_d40d_u64.to_le_bytes());
        }
        ("crc-client-auth-request-more", Frame::AuthRequestMore(payload)) => {
            let numbers = [0x8255_7126_659b_7836_u64, 0x6ccc_aa8d_cba1_ce88].map(u64::to_le_bytes);
            assert_eq!(payload[3..19], numbers.concat());
        }
        ("crc-server-auth-done", Frame::AuthDone(done)) => {
            assert_eq!((done.global_id, done.mode, done.payload.len()), (4130, 1, 210));
        }
        ("crc-client-client-ident", Frame::ClientIdent(ident)) => {
            assert_eq!(ident.addrs.to_string(), "127.0.0.1:0/113332596");
            assert_eq!(ident.target.to_string(), "v2:127.0.0.1:13300/0");
            assert_eq!((ident.gid, ident.global_seq, ident.flags), (-1, 1, 0));
            assert_eq!(ident.features_supported.bits(), 0x3f01_cfbd_fffd_ffff);
        }
        ("crc-server-server-ident", Frame::ServerIdent(ident)) => {
            assert_eq!(ident.addrs.0.len(), 2);
            assert_eq!((ident.gid, ident.global_seq, ident.flags, ident.cookie), (0, 35, 1, 0));
        }
        ("crc-client-auth-signature" | "crc-server-auth-signature", Frame::AuthSignature(_)) => {}
        other => panic!("{other:?}"),
    }
}

/// A frame of the session; of a message its number, its type and the length of its front.
#[cfg(feature = "secure")]
type Listed = (Tag, Option<(u64, u16, usize)>);

#[cfg(feature = "secure")]
#[test]
fn a_session_in_secure_mode_has_these_bytes() {
    use cephwire_codec::Side;
    use cephwire_codec::v2::Keys;

    let client: &[Listed] = &[
        (Tag::Hello, None),
        (Tag::AuthRequest, None),
        (Tag::AuthRequestMore, None),
        (Tag::AuthSignature, None),
        (Tag::ClientIdent, None),
        (Tag::Message, Some((1, 5, 0))),
        (Tag::Message, Some((2, 15, 48))),
    ];
    let server: &[Listed] = &[
        (Tag::Hello, None),
        (Tag::AuthReplyMore, None),
        (Tag::AuthDone, None),
        (Tag::AuthSignature, None),
        (Tag::ServerIdent, None),
        (Tag::Message, Some((1, 4, 205))),
        (Tag::Message, Some((2, 62, 4))),
        (Tag::Message, Some((3, 4, 205))),
    ];
    for (name, side, listed, len) in [
        ("secure-client-stream", Side::Client, client, 812),
        ("secure-server-stream", Side::Server, server, 1577),
    ] {
        let bytes = row(name, "stream-rev1-secure");
        assert_eq!(bytes.len(), len);
        let keys = || Keys::from_secret(&row("secure-connection-secret", "key")).unwrap();
        let (mut decoder, mut encoder) = (Decoder::new(), Encoder::new());
        let mut again = Vec::new();
        decoder.record(true);
        decoder.feed(&bytes);
        let banner = decoder.next_frame().unwrap().unwrap();
        assert!(matches!(banner, Frame::Banner(_)));
        again.extend(encoded(&mut encoder, &banner));
        for (tag, message) in listed {
            if *tag == Tag::AuthSignature {
                // What came before is the transcript; from here on everything is sealed.
                assert_eq!(decoder.take_record(), bytes[..decoder.offset() as usize]);
                assert!(decoder.set_keys(keys(), side).is_ok());
                assert!(encoder.set_keys(keys(), side).is_ok());
            }
            let frame = decoder.next_frame().unwrap().unwrap();
            assert_eq!(frame.tag(), Some(*tag));
            in_session(&frame, side, *message);
            again.extend(encoded(&mut encoder, &frame));
        }
        assert_eq!(decoder.next_frame().unwrap(), None);
        assert_eq!((decoder.offset(), decoder.has_partial()), (len as u64, false));
        assert_eq!(again, bytes);
        // A second start would repeat nonces.
        assert!(decoder.set_keys(keys(), side).is_err());
        assert!(encoder.set_keys(keys(), side).is_err());
    }
}

#[cfg(feature = "secure")]
fn in_session(frame: &Frame, side: cephwire_codec::Side, listed: Option<(u64, u16, usize)>) {
    use cephwire_codec::Side;
    let signature = |digits| <[u8; 32]>::try_from(unhex(digits)).unwrap();
    match (frame, side) {
        (Frame::AuthRequest(request), _) => assert_eq!(request.preferred_modes, [2, 1]),
        (Frame::AuthDone(done), _) => assert_eq!((done.global_id, done.mode), (4126, 2)),
        (Frame::AuthSignature(found), Side::Client) => {
            let digits = "c8171904cbb9d3e60f9f8a3fc0f7fc7de21787c24d0ae9e485932cda10b1a3dc";
            assert_eq!(*found, signature(digits));
        }
        (Frame::AuthSignature(found), Side::Server) => {
            let digits = "3b23d78e25b6184f3b04849bd12b9fe63420eea76c263a8561477ed8f6e4caad";
            assert_eq!(*found, signature(digits));
        }
        (Frame::ClientIdent(ident), _) => {
            assert_eq!((ident.cookie, ident.global_seq, ident.flags), (0xeea3_e88c_5b64_e509, 1, 0));
        }
        (Frame::ServerIdent(ident), _) => {
            assert_eq!((ident.cookie, ident.global_seq, ident.flags), (0, 31, 1));
        }
        (Frame::Message(frame), _) => {
            let message = &frame.message;
            assert_eq!(Some((frame.seq, message.header.kind.0, message.front.len())), listed);
            assert_eq!(message.payload_len(), message.front.len());
            if (frame.seq, side) == (1, Side::Server) {
                assert_eq!(frame.ack_seq, 2);
            }
        }
        _ => {}
    }
}

#[test]
fn a_frame_compressed_by_ceph_has_these_lengths() {
    let bytes = row("compressed-snappy-message", "rev1-crc");
    assert_eq!(bytes.len(), 217);
    let mut decoder = Decoder::mid_stream(Revision::V2_1, 0);
    decoder.feed(&bytes);
    assert_eq!(decoder.next_frame().unwrap_err().flaw, Flaw::NotCompressible);

    let mut decoder = Decoder::mid_stream(Revision::V2_1, 0);
    decoder.set_compression(Some(Method::SNAPPY));
    decoder.feed(&bytes);
    if !Method::SNAPPY.is_supported() {
        assert_eq!(decoder.next_frame().unwrap_err().flaw, Flaw::NotCompressible);
        return;
    }
    let Some(Frame::Message(frame)) = decoder.next_frame().unwrap() else { panic!("no message") };
    assert_eq!((frame.message.header.kind, frame.message.front.len()), (MessageType(70), 2025));
    assert_eq!(frame.message.payload_len(), 2025);
    let last = decoder.last();
    assert_eq!((last.len, last.preamble.lengths, last.preamble.flags), (217, [23, 145, 0, 0], 1));
}

#[test]
fn aborted_frames_are_dropped_and_the_next_one_follows() {
    let table: Vec<Vec<String>> = rows("aborted-frames.txt", 3);
    assert_eq!(table.len(), 6);
    for mode in MODES {
        let bytes = unhex(&table.iter().find(|row| row[1] == mode.name).unwrap()[2]);
        let mut encoder = mode.encoder();
        let mut out = Chunks::new();
        encoder.encode_aborted(&message(2), &mut out).unwrap();
        assert_eq!(out.take_pieces().concat(), bytes, "{}", mode.name);
        let next = encoded(&mut encoder, &Frame::Ack(5));

        let mut decoder = mode.decoder();
        decoder.feed(&bytes);
        assert_eq!(decoder.next_frame().unwrap(), Some(Frame::Aborted(Tag::Message)), "{}", mode.name);
        assert_eq!(decoder.last().len, bytes.len() as u64);
        decoder.feed(&next);
        assert_eq!(decoder.next_frame().unwrap(), Some(Frame::Ack(5)), "{}", mode.name);
    }
}

/// Every row is one of those that a test above asks for by its name.
#[test]
fn no_row_is_left_out() {
    let table = table();
    let known = |name: &str, kind: &str| match kind {
        "key" => name.starts_with("crc-") || name.starts_with("secure-") || name == "synthetic-secret",
        "banner" => name == "crc-banner",
        "stream-rev1-secure" => ["secure-client-stream", "secure-server-stream"].contains(&name),
        "rev1-crc" if name.starts_with("crc-") || name.starts_with("compressed-") => true,
        mode => name.starts_with("synthetic-") && name.ends_with(mode),
    };
    for (name, kind, _) in &table {
        assert!(known(name, kind), "{name}");
    }
    let secret: Vec<u8> = (0..64).collect();
    assert_eq!(row("synthetic-secret", "key"), secret);
}

fn message(seq: u64) -> MessageFrame {
    let header = Header {
        tid: 2,
        kind: MessageType(5),
        priority: 127,
        version: 1,
        compat_version: 1,
        ..Header::default()
    };
    let (front, data) = (Bytes::from_static(b"abc").into(), Bytes::from_static(b"12345").into());
    let message = Message { header, front, data, ..Message::default() };
    MessageFrame { seq, flags: Flags::COMPLETE.with(Flags::NOCRC), message, ..MessageFrame::default() }
}

fn row(name: &str, kind: &str) -> Vec<u8> {
    let (_, found, bytes) = table().into_iter().find(|(row, ..)| row == name).unwrap();
    assert_eq!(found, kind, "{name}");
    bytes
}

fn table() -> Vec<(String, String, Vec<u8>)> {
    let rows = rows("frames-v2.txt", 3);
    assert_eq!(rows.len(), 28);
    rows.into_iter().map(|row| (row[0].clone(), row[1].clone(), unhex(&row[2]))).collect()
}

/// The table has the modes by the same names.
#[test]
fn every_mode_is_in_the_table() {
    let names: Vec<&str> = MODES.iter().map(|mode: &Mode| mode.name).collect();
    let expected: &[&str] = match cfg!(feature = "secure") {
        true => &["rev0-crc", "rev1-crc", "rev0-secure", "rev1-secure"],
        false => &["rev0-crc", "rev1-crc"],
    };
    assert_eq!(names, expected);
}
