//! Do v1's handshake, items and aborted messages have the bytes of the tables?

use cephwire_codec::v1::{ConnectReply, Decoder, Encoder, Expect, Frame, Framing, MessageFrame, Signed, Tag};
use cephwire_codec::{Chunks, EntityName, EntityType, Flags, Header, Message, MessageType, Timestamp};

use crate::table::{rows, unhex};

const OLD: Framing = Framing { signature: false, header_crc: true, data_crc: true };

#[test]
fn frames_decode_and_encode_to_the_same_bytes() {
    let mut seen = 0;
    for (name, kind, bytes) in table() {
        let (framing, expected): (Framing, &[Expect]) = match &kind[..] {
            "hello-server" => (Framing::default(), &[Expect::Banner, Expect::Address, Expect::Address]),
            "hello-client" => (Framing::default(), &[Expect::Banner, Expect::Address]),
            "connect" => (Framing::default(), &[Expect::Connect]),
            "reply" => (Framing::default(), &[Expect::Reply]),
            "seq" => (Framing::default(), &[Expect::Seq]),
            "item" => (Framing::default(), &[Expect::Open]),
            "item-footer13" => (OLD, &[Expect::Open]),
            // Halves of messages, and what signatures cover: tested below.
            "header" | "footer" | "sigblock" | "sigblock-old" | "signature-old" | "key" => continue,
            other => panic!("{other:?}"),
        };
        let mut decoder = Decoder::new();
        decoder.set_framing(framing);
        decoder.feed(&bytes);
        let mut encoder = Encoder::new();
        encoder.set_framing(framing);
        let mut out = Chunks::new();
        for expect in expected {
            decoder.expect(*expect);
            let frame = decoder.next_frame().unwrap().unwrap();
            look(&name, &frame);
            encoder.encode(&frame, &mut out).unwrap();
        }
        assert_eq!((decoder.offset(), decoder.partial_len()), (bytes.len() as u64, 0), "{name}");
        assert_eq!(out.take_pieces().concat(), bytes, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 19);
}

/// The fields that the documentation of those rows names.
fn look(name: &str, frame: &Frame) {
    match (name, frame) {
        ("hello-osd", Frame::Address(addr)) => {
            let text = addr.to_string();
            assert!(["v1:127.0.0.1:17100/20315", "v1:127.0.0.1:40136/0"].contains(&&text[..]), "{text}");
        }
        ("mon-connect", Frame::Connect(connect)) => {
            assert_eq!(connect.features.bits(), 0x3f01_cfbd_fffd_ffff);
            assert_eq!((connect.host_type, connect.global_seq, connect.connect_seq), (8, 1, 0));
            assert_eq!((connect.protocol_version, connect.authorizer_protocol, connect.flags), (15, 0, 0));
            assert!(connect.authorizer.is_empty());
        }
        ("cephx-connect-1" | "cephx-connect-2", Frame::Connect(connect)) => {
            assert_eq!((connect.protocol_version, connect.authorizer_protocol, connect.flags), (24, 2, 1));
            assert_eq!((connect.global_seq, connect.authorizer.len()), (2, 174));
        }
        ("mon-reply-seq", Frame::Reply(reply)) => {
            assert_eq!((reply.tag, reply.global_seq, reply.connect_seq), (Tag::Seq, 1, 1));
            assert_eq!((reply.protocol_version, reply.flags, reply.authorizer.len()), (15, 1, 0));
        }
        ("cephx-reply-challenge", Frame::Reply(ConnectReply { tag, authorizer, .. })) => {
            assert_eq!((*tag, authorizer.len()), (Tag::ChallengeAuthorizer, 32));
        }
        ("cephx-reply-seq", Frame::Reply(ConnectReply { tag, authorizer, .. })) => {
            assert_eq!((*tag, authorizer.len()), (Tag::Seq, 36));
        }
        ("mon-keepalive2", Frame::Keepalive2(stamp))
        | ("mon-keepalive2-ack", Frame::Keepalive2Ack(stamp)) => {
            assert_eq!(*stamp, Timestamp { sec: 0x6b01_71d0, nsec: 0x060a_9fbd });
        }
        ("mon-mauth" | "mon-mauth-footer13", Frame::Message(frame)) => {
            assert_eq!((frame.seq, frame.message.header.kind), (1, MessageType(17)));
            assert_eq!((frame.src, frame.message.front.len()), (EntityName::new(EntityType::CLIENT, -1), 60));
            assert_eq!((frame.flags, frame.signature), (Flags::COMPLETE, 0));
        }
        ("hello-osd" | "hello-client", Frame::Banner)
        | ("hello-client", Frame::Address(_))
        | ("mon-server-in-seq" | "mon-client-in-seq", Frame::Seq(0))
        | ("cephx-server-in-seq" | "cephx-client-in-seq", Frame::Seq(0))
        | ("ack", Frame::Ack(5))
        | ("keepalive", Frame::Keepalive)
        | ("close", Frame::Close) => {}
        other => panic!("{other:?}"),
    }
}

/// Of the signed messages only header and footer are known. With zeros between them the crcs do not hold,
/// which a lenient decoder reports; what it says of the rest must be what was signed.
#[test]
fn footprints_are_what_signatures_cover() {
    let table = table();
    let row = |name: &str| table.iter().find(|(row, ..)| row == name).unwrap().2.clone();
    for (side, signature, old) in
        [("client", 0xb71c_5298_8472_87a6, true), ("server", 0xf06b_3aaf_801a_bbf5, false)]
    {
        let header = row(&format!("signed-{side}-header"));
        let block = row(&format!("signed-{side}-sigblock"));
        let len = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().unwrap()) as usize;
        let zeros = vec![0; len(22) + len(26) + len(30)];
        let footer = row(&format!("signed-{side}-footer"));
        let bytes = [&[Tag::Msg as u8], &header[..], &zeros, &footer].concat();

        let mut decoder = Decoder::new();
        decoder.set_lenient(true);
        decoder.expect(Expect::Open);
        decoder.feed(&bytes);
        let Some(Frame::Message(frame)) = decoder.next_frame().unwrap() else { panic!("{side:?}") };
        assert_eq!((frame.signature, frame.flags), (signature, Flags::COMPLETE.with(Flags::SIGNED)));
        assert!(decoder.last().bad_crc);
        let Signed { header_crc, front_crc, front_len, middle_crc, middle_len, data_crc, data_len, seq } =
            decoder.last().signed;
        let fields =
            [header_crc, front_crc, front_len, middle_crc, middle_len, data_crc, data_len, seq as u32];
        assert_eq!(fields.map(u32::to_le_bytes).concat(), block);
        if old {
            let fields = [16, header_crc, front_crc, middle_crc, data_crc];
            let magic = 0xff00_9cad_8826_aa55u64;
            let block = [&[1], &magic.to_le_bytes()[..], &fields.map(u32::to_le_bytes).concat()].concat();
            assert_eq!(block, row("signed-old-sigblock"));
        }
        // The header needs no payload to be the same again.
        let mut out = Chunks::new();
        Encoder::new().encode_message(&frame, &mut out).unwrap();
        assert_eq!(out.take_pieces().concat()[..54], bytes[..54]);
    }
}

#[test]
fn aborted_messages_are_dropped_and_the_next_item_follows() {
    let mut seen = 0;
    for row in rows("aborted-frames.txt", 3) {
        let framing = match &row[1][..] {
            "v1-footer21" => Framing::default(),
            "v1-footer13" => OLD,
            _ => continue,
        };
        let bytes = unhex(&row[2]);
        let mut encoder = Encoder::new();
        encoder.set_framing(framing);
        let mut out = Chunks::new();
        encoder.encode_aborted(&given_up(), &mut out).unwrap();
        assert_eq!(out.take_pieces().concat(), bytes, "{row:?}");

        let mut decoder = Decoder::new();
        decoder.set_framing(framing);
        decoder.expect(Expect::Open);
        decoder.feed(&[&bytes[..], &[8, 5, 0, 0, 0, 0, 0, 0, 0]].concat());
        assert_eq!(decoder.next_frame().unwrap(), Some(Frame::Aborted { seq: 2 }), "{row:?}");
        assert_eq!(decoder.last().len, bytes.len() as u64);
        assert_eq!(decoder.next_frame().unwrap(), Some(Frame::Ack(5)), "{row:?}");
        seen += 1;
    }
    assert_eq!(seen, 2);
}

fn given_up() -> MessageFrame {
    let header = Header {
        tid: 2,
        kind: MessageType(5),
        priority: 127,
        version: 1,
        compat_version: 1,
        ..Header::default()
    };
    let (front, data) = (b"abc".to_vec().into(), b"12345".to_vec().into());
    let message = Message { header, front, data, ..Message::default() };
    MessageFrame {
        seq: 2,
        src: EntityName::new(EntityType::CLIENT, 4120),
        message,
        ..MessageFrame::default()
    }
}

fn table() -> Vec<(String, String, Vec<u8>)> {
    let rows = rows("frames-v1.txt", 3);
    assert_eq!(rows.len(), 28);
    rows.into_iter().map(|row| (row[0].clone(), row[1].clone(), unhex(&row[2]))).collect()
}
