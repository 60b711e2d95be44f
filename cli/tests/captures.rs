//! Are real captures decoded whole and right?
//!
//! Ceph's own logs, written beside the captures, are the judge: what we decode, its receiver must have logged.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::{HashMap, HashSet};

use bytes::Buf as _;
use cephwire_cli::decode::{Protocol, Record, Signature, What};
use cephwire_codec::v2::{MAX_SEGMENTS, PREAMBLE_LEN, Revision};
use cephwire_codec::{Chunks, Flags, Message, MessageType, Side, v1, v2};
use sha2::{Digest, Sha256};
use support::Capture;

/// How many messages of a capture no receiver logged: they were on the wire of a connection that was being
/// closed. In all others every message is in the log.
const IN_FLIGHT: [(&str, usize); 8] = [
    ("nautilus-simple-v1-cephx-inject-alpha", 7),
    ("pacific-v1-cephx-inject-alpha", 2),
    ("pacific-v1-cephx-osd-pause-alpha", 3),
    ("pacific-v1-cephx-peer-pause-alpha", 10),
    ("pacific-v1-cephx-session-alpha", 1),
    ("pacific-v1-none-inject-alpha", 5),
    ("pacific-v1-none-large-alpha", 1),
    ("pacific-v2crc-cephx-inject-alpha", 6),
];

#[test]
fn every_byte_is_accounted_for_once() {
    for capture in support::captures() {
        let mut at: HashMap<(u64, Side), u64> = HashMap::new();
        for record in &capture.records {
            let next = at.entry((record.connection, record.from)).or_default();
            assert_eq!(record.offset, *next, "{}: {record:?}", capture.name);
            *next += record.len;
        }
        for (side, bytes) in &capture.bytes {
            assert_eq!(
                at.get(side).copied().unwrap_or_default(),
                bytes.len() as u64,
                "{}: {side:?}",
                capture.name
            );
        }
    }
}

#[test]
fn nothing_is_wrong_with_any_capture() {
    for capture in support::captures() {
        for record in &capture.records {
            assert!(!record.is_error(), "{}: {record:?}", capture.name);
        }
        let named = |part| capture.name.contains(part);
        let has = |name| capture.records.iter().any(|record| record.name() == name);
        let sealed = (named("secure") && !named("bad-auth")) || named("defaultmodes");
        assert_eq!(has("encrypted"), sealed, "{}", capture.name);
        assert_eq!(has("foreign"), named("bad-banner"), "{}", capture.name);
    }
}

/// With the keys of the cluster nothing stays sealed, and every signature holds.
#[test]
fn everything_opens_with_the_keys_of_the_cluster() {
    let (mut sealed, mut transcripts, mut signed) = (0, 0, 0);
    for capture in support::opened() {
        for record in &capture.records {
            assert!(!record.is_error(), "{}: {record:?}", capture.name);
            assert_ne!(record.name(), "encrypted", "{}: {record:?}", capture.name);
            let holds = record.findings.signature == Some(Signature::Holds);
            match &record.what {
                What::V1(frame, _) => {
                    let v1::Frame::Message(frame) = &**frame else { continue };
                    // Some are marked as signed without room for a signature.
                    let is_signed = frame.flags.contains(Flags::SIGNED) && frame.signature != 0;
                    assert_eq!(holds, is_signed, "{}: {record:?}", capture.name);
                    signed += usize::from(is_signed);
                }
                What::V2(frame, footprint) => {
                    sealed += usize::from(footprint.secure);
                    if let v2::Frame::AuthSignature(_) = &**frame {
                        assert!(holds, "{}: {record:?}", capture.name);
                        transcripts += 1;
                    }
                }
                _ => {}
            }
        }
    }
    assert!(sealed > 900, "only {sealed} sealed frames");
    assert!(transcripts > 250, "only {transcripts} signed transcripts");
    assert!(signed > 1000, "only {signed} signed messages");
}

/// What was written through these connections comes out of them.
#[test]
fn objects_are_what_was_written() {
    let (mut found, mut sealed) = (0, 0);
    for capture in support::opened() {
        // The kernel writes pieces, not objects.
        if capture.name.starts_with("kernel") {
            continue;
        }
        for (name, object) in support::section(&support::sidecar(&capture.name), "objects") {
            let number =
                |text: &str| text.split(|c: char| !c.is_ascii_digit()).find_map(|text| text.parse().ok());
            let size: usize = number(object.split_once("\"size\"").unwrap().1).unwrap();
            let hash = object.split_once("\"sha256\" = \"").unwrap().1.split('"').next().unwrap();
            let written =
                capture.records.iter().filter(|record| carries(record, size, hash)).collect::<Vec<_>>();
            assert!(!written.is_empty(), "{}: {name}", capture.name);
            found += 1;
            let secure =
                |record: &&&Record| matches!(&record.what, What::V2(_, footprint) if footprint.secure);
            sealed += usize::from(written.iter().find(secure).is_some());
        }
    }
    assert!(found > 10, "only {found} objects");
    assert!(sealed > 4, "only {sealed} of them through sealed connections");
}

/// Whether a write, of a client or to a replica, has an object in it: alone, or behind its length in a transaction.
fn carries(record: &Record, size: usize, hash: &str) -> bool {
    let Some((_, message)) = message(record) else { return false };
    if !matches!(message.header.kind, MessageType::OSD_OP | MessageType::OSD_REPOP) {
        return false;
    }
    let data = message.data.clone().into_bytes();
    let is_it = |bytes: &[u8]| {
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        digest == hash
    };
    let length = (size as u32).to_le_bytes();
    let behind_length = || {
        let starts = data.windows(4).enumerate().filter(|(_, window)| *window == length);
        starts.map(|(at, _)| at + 4).any(|at| data.get(at..at + size).is_some_and(is_it))
    };
    data.len() == size && is_it(&data) || behind_length()
}

/// The table of `testdata/README.md` was counted by another decoder. (It had the keys too.)
#[test]
fn frames_are_as_many_as_another_decoder_counted() {
    let readme = std::fs::read_to_string(support::testdata().join("README.md")).unwrap();
    let mut compared = 0;
    for capture in support::opened() {
        let row = readme.lines().find(|line| line.starts_with(&format!("| {}.pcap", capture.name))).unwrap();
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let (Some(connections), Some(frames)) = (columns.get(3), columns.get(4)) else { panic!("{row}") };
        let ours: HashSet<u64> = capture.records.iter().map(|record| record.connection).collect();
        assert_eq!(ours.len().to_string(), **connections, "{}", capture.name);
        for (expected, kind) in frames.split(", ").map(|item| item.split_once(' ').unwrap()) {
            // A stream that just ends early is no frame.
            if kind != "EOF" {
                assert_eq!(count(capture, kind).to_string(), expected, "{}: {kind}", capture.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 200, "only {compared} counts");
}

/// How many records there are of what the table calls `kind`.
fn count(capture: &Capture, kind: &str) -> usize {
    let reply = |record: &&Record| match &record.what {
        What::V1(frame, _) => matches!(&**frame, v1::Frame::Reply(reply) if reply.tag.name() == kind),
        _ => false,
    };
    let replies = capture.records.iter().filter(reply).count();
    let name = match kind {
        "connects" => "connect".to_owned(),
        "messages" => "message".to_owned(),
        "OTHER" => "foreign".to_owned(),
        _ => kind.to_lowercase(),
    };
    // v1's SEQ and WAIT are replies; "seq" is a frame of its own there.
    let v1 = capture.records.iter().any(|record| record.protocol == Some(Protocol::V1));
    if replies > 0 || v1 && matches!(kind, "SEQ" | "WAIT" | "READY") {
        return replies;
    }
    capture.records.iter().filter(|record| record.name() == name).count()
}

#[test]
fn every_message_was_logged_by_its_receiver() {
    let mut messages = 0;
    for capture in support::opened() {
        let mut logged = received(&support::log(&capture.name));
        let mut missing = Vec::new();
        // The kernel client writes no log: of its connections only the servers' half is known.
        let heard = |record: &&Record| !(capture.name.starts_with("kernel") && record.from == Side::Server);
        for (seq, message) in capture.records.iter().filter(heard).filter_map(message) {
            messages += 1;
            let lengths = (message.front.len(), message.middle.len(), message.data.len());
            let word = message.header.kind.log_name().unwrap_or("?").to_owned();
            match logged.get_mut(&(seq, word.clone(), lengths)) {
                Some(count) if *count > 0 => *count -= 1,
                _ => missing.push(format!("seq {seq} {word} {lengths:?}")),
            }
        }
        let expected =
            IN_FLIGHT.iter().find(|(name, _)| *name == capture.name).map_or(0, |(_, count)| *count);
        assert_eq!(missing.len(), expected, "{}: {missing:#?}", capture.name);
    }
    assert!(messages > 5000, "only {messages} messages");
}

#[test]
fn every_frame_encodes_to_the_bytes_it_came_from() {
    let mut compressed = 0;
    for capture in support::captures() {
        for record in &capture.records {
            let bytes = capture.bytes_of(record);
            match &record.what {
                What::V1(frame, footprint) => {
                    assert_eq!(encode_v1(frame, footprint), bytes, "{}: {record:?}", capture.name);
                }
                What::V2(frame, footprint) if footprint.preamble.is_compressed() => {
                    compressed += 1;
                    assert_inflates_to_the_same(frame, footprint, capture, record);
                }
                What::V2(frame, footprint) => {
                    assert_eq!(encode_v2(frame, footprint), bytes, "{}: {record:?}", capture.name);
                }
                _ => {}
            }
        }
    }
    assert!(compressed > 100, "only {compressed} compressed frames");
}

/// What a log says of a message: sequence number, first word, lengths.
type Logged = (u64, String, (usize, usize, usize));

/// The `<==` lines of a log: how often each was received.
fn received(log: &str) -> HashMap<Logged, usize> {
    let mut counts = HashMap::new();
    for line in log.lines().filter(|line| line.contains(" <== ")) {
        let Some(parts) = parse_received(line) else { continue };
        *counts.entry(parts).or_default() += 1;
    }
    counts
}

/// `… <== mon.0 v1:127.0.0.1:30301/0 5 ==== config(0 keys) v1 ==== 4+0+0 (…) …`
fn parse_received(line: &str) -> Option<Logged> {
    let (head, rest) = line.split_once(" ==== ")?;
    let seq = head.rsplit(' ').next()?.parse().ok()?;
    let (text, lengths) = rest.rsplit_once(" ==== ")?;
    let word = text.split([' ', '(', '{']).next()?.to_owned();
    let mut lengths = lengths.split(' ').next()?.split('+').map(|len| len.parse().ok());
    Some((seq, word, (lengths.next()??, lengths.next()??, lengths.next()??)))
}

fn message(record: &Record) -> Option<(u64, &Message)> {
    match &record.what {
        What::V1(frame, _) => match &**frame {
            v1::Frame::Message(frame) => Some((frame.seq, &frame.message)),
            _ => None,
        },
        What::V2(frame, _) => match &**frame {
            v2::Frame::Message(frame) => Some((frame.seq, &frame.message)),
            _ => None,
        },
        _ => None,
    }
}

fn encode_v1(frame: &v1::Frame, footprint: &v1::Footprint) -> Vec<u8> {
    let mut encoder = v1::Encoder::new();
    if let v1::Frame::Message(message) = frame {
        let fixed = 1 + v1::MESSAGE_HEADER_LEN + message.message.payload_len();
        let signature = footprint.len as usize == fixed + v1::FOOTER_LEN;
        encoder.set_framing(v1::Framing { signature, ..v1::Framing::default() });
    }
    let mut out = Chunks::new();
    encoder.encode(frame, &mut out).unwrap();
    out.copy_to_bytes(out.remaining()).to_vec()
}

fn encode_v2(frame: &v2::Frame, footprint: &v2::Footprint) -> Vec<u8> {
    assert!(!footprint.secure);
    let mut out = Chunks::new();
    v2::Encoder::new().encode(frame, &mut out).unwrap();
    out.copy_to_bytes(out.remaining()).to_vec()
}

/// Compressors may differ, so the bytes may; what they inflate to may not.
fn assert_inflates_to_the_same(
    frame: &v2::Frame,
    footprint: &v2::Footprint,
    capture: &Capture,
    record: &Record,
) {
    let [header, ..] = footprint.preamble.lengths;
    assert_ne!(header as usize, v2::MESSAGE_HEADER_LEN, "compressed headers differ in length");
    assert_eq!(footprint.preamble.lengths.len(), MAX_SEGMENTS);
    let method = method(&capture.name);
    let mut encoder = v2::Encoder::new();
    encoder.set_compression(Some(v2::Compression { method, min_size: 0 }));
    let mut out = Chunks::new();
    encoder.encode(frame, &mut out).unwrap();
    let ours = out.copy_to_bytes(out.remaining());
    for bytes in [&ours[..], capture.bytes_of(record)] {
        assert!(bytes.len() > PREAMBLE_LEN);
        let mut decoder = v2::Decoder::mid_stream(Revision::V2_1, 0);
        decoder.set_compression(Some(method));
        decoder.feed(bytes);
        assert_eq!(decoder.next_frame().unwrap().as_ref(), Some(frame), "{}: {record:?}", capture.name);
        assert!(decoder.last().preamble.is_compressed());
        assert_eq!(record.protocol, Some(Protocol::V2));
    }
}

fn method(capture: &str) -> v2::Method {
    let named =
        v2::Method::SUPPORTED.iter().find(|method| method.name().is_some_and(|name| capture.contains(name)));
    *named.unwrap_or_else(|| panic!("{capture}: no method in its name"))
}
