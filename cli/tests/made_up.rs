//! What does the decoder make of streams that no capture has: old framings, half of a connection, malice?

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use bytes::Bytes;
use cephwire_cli::decode::Record;
use cephwire_codec::v1::{self, Connect, ConnectReply};
use cephwire_codec::v2::{self, Revision};
use cephwire_codec::{
    Chunks, EntityAddr, EntityName, EntityType, Features, Header, Message, MessageType, MsgrFeatures,
    Payload, Side,
};
use support::decode_bytes;
use support::packets::{self, Talk};

fn decode(talk: &Talk) -> Vec<Record> {
    decode_bytes("made up".to_owned(), &packets::write(&talk.packets)).records
}

/// The names of what one side said, each with the number of equal ones in a row.
fn said(records: &[Record], side: Side) -> Vec<(&'static str, usize)> {
    let mut names: Vec<(&'static str, usize)> = Vec::new();
    let mut at = 0;
    for record in records.iter().filter(|record| record.from == side) {
        assert_eq!(record.offset, at);
        at += record.len;
        match names.last_mut() {
            Some((name, count)) if *name == record.name() => *count += 1,
            _ => names.push((record.name(), 1)),
        }
    }
    names
}

fn message(len: usize) -> Message {
    let header = Header { kind: MessageType::PING, version: 1, ..Header::default() };
    let front: Vec<u8> = (0..len).map(|n| (n * 7 + len) as u8).collect();
    Message { header, front: Payload::from(front), ..Message::default() }
}

fn bytes_v1(framing: v1::Framing, frames: &[v1::Frame]) -> Vec<u8> {
    let mut encoder = v1::Encoder::new();
    encoder.set_framing(framing);
    let mut out = Chunks::new();
    frames.iter().for_each(|frame| encoder.encode(frame, &mut out).unwrap());
    out.take_pieces().concat()
}

fn bytes_v2(revision: Revision, frames: &[v2::Frame]) -> Vec<u8> {
    let mut encoder = v2::Encoder::new();
    encoder.set_revision(revision);
    let mut out = Chunks::new();
    frames.iter().for_each(|frame| encoder.encode(frame, &mut out).unwrap());
    out.take_pieces().concat()
}

fn message_v1(seq: u64) -> v1::Frame {
    let src = EntityName::new(EntityType::CLIENT, 4100);
    v1::Frame::Message(v1::MessageFrame {
        seq,
        src,
        message: message(seq as usize * 10),
        ..Default::default()
    })
}

fn message_v2(seq: u64) -> v2::Frame {
    v2::Frame::Message(v2::MessageFrame { seq, message: message(seq as usize * 10), ..Default::default() })
}

/// Messages, with acks among them.
fn items_v1(count: u64) -> Vec<v1::Frame> {
    (1..=count).flat_map(|seq| [message_v1(seq), v1::Frame::Ack(seq)]).collect()
}

fn connect(features: Features) -> v1::Frame {
    v1::Frame::Connect(Connect { features, host_type: 8, protocol_version: 15, ..Connect::default() })
}

fn reply(tag: v1::Tag, features: Features) -> v1::Frame {
    v1::Frame::Reply(ConnectReply {
        tag,
        features,
        global_seq: 1,
        connect_seq: 1,
        protocol_version: 15,
        flags: 0,
        authorizer: Bytes::new(),
    })
}

const NO_SIGNATURE: v1::Framing = v1::Framing { signature: false, header_crc: true, data_crc: true };

/// A v1 connection: what the client and the server say, the handshake included.
fn v1_talk(features: Features, framing: v1::Framing, items: &[v1::Frame]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let address = v1::Frame::Address("v1:10.0.0.1:3300/1".parse::<EntityAddr>().unwrap());
    let client = bytes_v1(framing, &[v1::Frame::Banner, address.clone(), connect(features)]);
    let server = bytes_v1(
        framing,
        &[v1::Frame::Banner, address.clone(), address, reply(v1::Tag::Seq, features), v1::Frame::Seq(0)],
    );
    let rest = [bytes_v1(framing, &[v1::Frame::Seq(0)]), bytes_v1(framing, items)].concat();
    (client, server, rest)
}

const V1_CLIENT: [(&str, usize); 4] = [("banner", 1), ("address", 1), ("connect", 1), ("seq", 1)];

#[test]
fn v1_that_does_not_wait_for_the_reply() {
    let (client, server, rest) = v1_talk(Features::MSG_AUTH, v1::Framing::default(), &items_v1(3));
    let mut talk = Talk::new();
    talk.say(Side::Client, &client).say(Side::Client, &rest).say(Side::Server, &server).close();
    let records = decode(&talk);
    let items = [("message", 1), ("ack", 1), ("message", 1), ("ack", 1), ("message", 1), ("ack", 1)];
    assert_eq!(said(&records, Side::Client), [&V1_CLIENT[..], &items].concat());
    // They waited, but came when they came.
    let last = records.iter().rfind(|record| record.from == Side::Client).unwrap();
    assert!(records.iter().all(|record| record.from == Side::Client || record.time > last.time));
}

#[test]
fn v1_without_signatures() {
    let features = Features(0);
    let (client, server, rest) = v1_talk(features, NO_SIGNATURE, &items_v1(5));
    let mut talk = Talk::new();
    talk.say(Side::Client, &client).say(Side::Server, &server).say(Side::Client, &rest).close();
    assert!(decode(&talk).iter().all(|record| !record.is_error()));
    // From the middle, whatever follows the first message, even nothing.
    let stamp = cephwire_codec::Timestamp { sec: 1_795_261_248, nsec: 0x0101_0101 };
    for second in [
        vec![],
        vec![message_v1(2)],
        vec![v1::Frame::Ack(1)],
        vec![v1::Frame::Keepalive, message_v1(2)],
        vec![v1::Frame::Keepalive2(stamp), message_v1(2)],
        vec![v1::Frame::Close],
    ] {
        let items = [vec![v1::Frame::Ack(9), message_v1(1)], second].concat();
        let mut talk = Talk::in_the_middle();
        talk.say(Side::Client, &bytes_v1(NO_SIGNATURE, &items)).close();
        let records = decode(&talk);
        assert_eq!(records.len(), items.len(), "{records:#?}");
        assert_eq!(records.iter().filter(|record| record.is_error()).count(), 1, "{records:#?}");
    }
}

#[test]
fn v1_without_header_crc() {
    let framing = v1::Framing { header_crc: false, ..v1::Framing::default() };
    let (client, server, rest) = v1_talk(Features::MSG_AUTH, framing, &items_v1(5));
    let mut talk = Talk::new();
    talk.say(Side::Client, &client).say(Side::Server, &server).say(Side::Client, &rest).close();
    let records = decode(&talk);
    assert!(records.iter().all(|record| !record.is_error()), "{records:#?}");
    assert_eq!(records.iter().filter(|record| record.name() == "message").count(), 5);
    // Nothing proves a frame in the middle.
    let mut talk = Talk::in_the_middle();
    talk.say(Side::Client, &bytes_v1(framing, &items_v1(5))).close();
    assert_eq!(said(&decode(&talk), Side::Client), [("undecodable", 1)]);
}

#[test]
fn v1_message_given_up() {
    let encoder = v1::Encoder::new();
    let mut out = Chunks::new();
    let frame = v1::MessageFrame { seq: 1, message: message(100), ..Default::default() };
    encoder.encode_aborted(&frame, &mut out).unwrap();
    let bytes = [out.take_pieces().concat(), bytes_v1(v1::Framing::default(), &items_v1(2))].concat();
    let mut talk = Talk::in_the_middle();
    talk.say(Side::Client, &bytes).close();
    let expected = [("aborted", 1), ("message", 1), ("ack", 1), ("message", 1), ("ack", 1)];
    assert_eq!(said(&decode(&talk), Side::Client), expected);
}

#[test]
fn v1_one_side_only() {
    let (client, server, rest) = v1_talk(Features::MSG_AUTH, v1::Framing::default(), &items_v1(2));
    let items = [("message", 1), ("ack", 1), ("message", 1), ("ack", 1)];
    let mut talk = Talk::new();
    talk.say(Side::Client, &client).say(Side::Client, &rest).close();
    let lost = [("banner", 1), ("address", 1), ("connect", 1), ("undecodable", 1)];
    assert_eq!(said(&decode(&talk), Side::Client), [&lost[..], &items].concat());
    let mut talk = Talk::new();
    talk.say(Side::Server, &server).say(Side::Server, rest.get(8..).unwrap()).close();
    let handshake = [("banner", 1), ("address", 2), ("connect_reply", 1), ("seq", 1)];
    assert_eq!(said(&decode(&talk), Side::Server), [&handshake[..], &items].concat());
}

#[test]
fn v1_two_mebibytes_without_a_reply() {
    let (client, _, rest) = v1_talk(Features::MSG_AUTH, v1::Framing::default(), &items_v1(1));
    let mut talk = Talk::new();
    talk.segment = 60_000;
    talk.say(Side::Client, &client).say(Side::Client, &rest);
    talk.say(Side::Client, &vec![0; 2 << 20]).close();
    let records = decode(&talk);
    let names: Vec<_> = said(&records, Side::Client).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["banner", "address", "connect", "undecodable", "message", "ack", "undecodable"]);
}

/// A v2 connection in crc mode: what the client and the server say.
fn v2_talk(revision: Revision) -> (Vec<u8>, Vec<u8>) {
    let supported = if revision == Revision::V2_1 { MsgrFeatures::REVISION_1 } else { MsgrFeatures(0) };
    let banner = v2::Frame::Banner(v2::Banner { supported, required: MsgrFeatures(0) });
    let hello = |entity_type| {
        let peer_addr = "v2:10.0.0.1:3300/0".parse().unwrap();
        v2::Frame::Hello(v2::Hello { entity_type, peer_addr })
    };
    let request =
        v2::AuthRequest { method: 1, preferred_modes: vec![1], payload: Bytes::from_static(&[1; 20]) };
    let done = v2::AuthDone { global_id: 7, mode: v2::mode::CRC, payload: Bytes::new() };
    let client = [
        vec![banner.clone(), hello(EntityType::CLIENT), v2::Frame::AuthRequest(request)],
        vec![v2::Frame::AuthSignature([0; 32])],
        (1..=3).map(message_v2).collect(),
    ];
    let server = [
        vec![banner, hello(EntityType::MON), v2::Frame::AuthDone(done), v2::Frame::AuthSignature([0; 32])],
        vec![message_v2(1), v2::Frame::Ack(3), message_v2(2)],
    ];
    (bytes_v2(revision, &client.concat()), bytes_v2(revision, &server.concat()))
}

const V2_CLIENT: [(&str, usize); 5] =
    [("banner", 1), ("hello", 1), ("auth_request", 1), ("auth_signature", 1), ("message", 3)];
const V2_SERVER: [(&str, usize); 7] = [
    ("banner", 1),
    ("hello", 1),
    ("auth_done", 1),
    ("auth_signature", 1),
    ("message", 1),
    ("ack", 1),
    ("message", 1),
];

#[test]
fn v2_of_both_revisions() {
    for revision in [Revision::V2_0, Revision::V2_1] {
        let (client, server) = v2_talk(revision);
        let mut talk = Talk::new();
        talk.say(Side::Client, &client).say(Side::Server, &server).close();
        let records = decode(&talk);
        assert!(records.iter().all(|record| !record.is_error()), "{revision:?}: {records:#?}");
        assert_eq!(said(&records, Side::Client), V2_CLIENT);
        assert_eq!(said(&records, Side::Server), V2_SERVER);
    }
}

#[test]
fn v2_one_side_only() {
    for revision in [Revision::V2_0, Revision::V2_1] {
        let (client, server) = v2_talk(revision);
        for (side, bytes, expected) in
            [(Side::Client, client, &V2_CLIENT[..]), (Side::Server, server, &V2_SERVER)]
        {
            let mut talk = Talk::new();
            talk.say(side, &bytes).close();
            let records = decode(&talk);
            assert_eq!(said(&records, side), expected, "{revision:?}");
            assert!(records.iter().all(|record| !record.is_error()), "{revision:?}: {records:#?}");
        }
    }
}

#[test]
fn v2_from_the_middle_in_both_revisions() {
    for revision in [Revision::V2_0, Revision::V2_1] {
        let (client, _) = v2_talk(revision);
        for skipped in 1..client.len() {
            let mut talk = Talk::in_the_middle();
            talk.segment = 100;
            talk.say(Side::Client, client.get(skipped..).unwrap()).close();
            let records = decode(&talk);
            for (n, record) in records.iter().enumerate() {
                assert!(!record.is_error() || n == 0, "{revision:?} from {skipped}: {records:#?}");
            }
        }
    }
}

#[test]
fn a_stream_that_is_closed_inside_of_a_frame_is_cut() {
    let (client, server) = v2_talk(Revision::V2_1);
    let mut talk = Talk::new();
    let part = client.get(..client.len() - 9).unwrap();
    talk.say(Side::Client, part).say(Side::Server, &server).close();
    let records = decode(&talk);
    assert!(records.iter().all(|record| !record.is_error()));
    assert_eq!(said(&records, Side::Client).last(), Some(&("cut", 1)));
}

#[test]
fn a_client_that_is_captured_late_is_sealed_no_earlier() {
    let banner =
        v2::Frame::Banner(v2::Banner { supported: MsgrFeatures::REVISION_1, required: MsgrFeatures(0) });
    let request =
        v2::AuthRequest { method: 2, preferred_modes: vec![2], payload: Bytes::from_static(&[1; 20]) };
    let done = v2::AuthDone { global_id: 7, mode: v2::mode::SECURE, payload: Bytes::new() };
    let bytes = |frames: &[v2::Frame]| bytes_v2(Revision::V2_1, frames);
    let mut talk = Talk::new();
    talk.say(Side::Client, &bytes(std::slice::from_ref(&banner)));
    talk.say(Side::Server, &bytes(&[banner, v2::Frame::AuthDone(done)])).say(Side::Server, &[0x55; 300]);
    talk.say(Side::Client, &bytes(&[v2::Frame::AuthRequest(request)]))
        .say(Side::Client, &[0xaa; 300])
        .close();
    let records = decode(&talk);
    assert_eq!(said(&records, Side::Client), [("banner", 1), ("auth_request", 1), ("encrypted", 1)]);
    assert_eq!(said(&records, Side::Server), [("banner", 1), ("auth_done", 1), ("encrypted", 1)]);
}

#[test]
fn frames_that_begin_well_and_end_badly_cost_little() {
    // Preamble and header are good and announce more than one would decode for each of them; then neither of the
    // two values of the epilogue's status.
    let front = 5000 * 80;
    let mut trap = bytes_v2(
        Revision::V2_1,
        &[v2::Frame::Message(v2::MessageFrame { seq: 1, message: message(front), ..Default::default() })],
    );
    trap.truncate(32 + 41 + 4);
    trap.extend([0x33; 3]);
    let mut talk = Talk::in_the_middle();
    talk.segment = 60_000;
    talk.say(Side::Client, &trap.repeat((1 << 20) / trap.len())).close();
    let records = decode(&talk);
    assert!(records.iter().any(Record::is_error));
    let _ = said(&records, Side::Client);
}
