//! What does a server of v1 make of messages? Conformance C.1, rows 24 to 29: crcs, messages given up, unknown types, odd
//! and empty parts.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod script;
mod script_v1;

use bytes::Buf;
use cephwire_protocol::Policy;
use cephwire_protocol::codec::v1::{Frame, MessageFrame};
use cephwire_protocol::codec::{Chunks, Flags, Message, MessageType, Payload};
use script::{Host, Setup, message};
use script_v1::{LARGER, bytes_of, claim, numbered, opened, parts, told};

fn reuse() -> Host {
    Host::new(Setup::policy(Policy::lossless_peer_reuse()))
}

#[test]
fn rows_24_and_25_crcs() {
    // Tag, then 53 bytes of header, front 3, middle 1, data 4097, footer 21.
    let places = [("header", 1 + 8), ("header crc", 1 + 52), ("front", 55), ("middle", 57), ("data", 60)];
    for (place, at) in places {
        for nocrc in [false, true] {
            let host = reuse();
            let (mut script, session) = opened(&host, LARGER, claim(1, 0));
            let flags = if nocrc { Flags::COMPLETE.with(Flags::NOCRC) } else { Flags::COMPLETE };
            let mut bytes = bytes_of(&mut script, &MessageFrame { flags, ..parts() });
            bytes[at] ^= 1;
            script.send_bytes(&bytes);
            if place == "data" && nocrc {
                assert_eq!(script.expect(), Frame::Ack(1));
            } else {
                script.expect_closed();
                assert_eq!(told(&host, session), ["open Server", "trouble"], "{place}");
            }
        }
    }
}

#[test]
fn row_26_a_message_given_up_is_skipped() {
    // Ceph's daemons hang up; kernel clients send such messages.
    let host = reuse();
    let (mut script, session) = opened(&host, LARGER, claim(1, 0));
    let mut out = Chunks::new();
    script.wire.encoder.encode_aborted(&parts(), &mut out).unwrap();
    script.send_bytes(&out.copy_to_bytes(out.remaining()));
    script.expect_quiet();
    script.send(&numbered(1, 3));
    assert_eq!(script.expect(), Frame::Ack(1));
    assert_eq!(told(&host, session), ["open Server", "message 3"]);
}

#[test]
fn row_27_types_and_versions_are_the_applications_business() {
    // Ceph decodes in the messenger, and hangs up. Here messages are opaque. Kernel clients send compat_version 0.
    let host = reuse();
    let (mut script, session) = opened(&host, LARGER, claim(1, 0));
    for (seq, kind, compat_version) in [(1, 9999, 0), (2, 70, u16::MAX)] {
        let mut frame = MessageFrame { seq, message: message(seq), ..MessageFrame::default() };
        frame.message.header.kind = MessageType(kind);
        frame.message.header.compat_version = compat_version;
        script.send(&Frame::Message(frame));
    }
    assert_eq!(told(&host, session), ["open Server", "message 1", "message 2"]);
}

#[test]
fn rows_28_and_29_odd_parts_and_offsets() {
    let host = reuse();
    let (mut script, session) = opened(&host, LARGER, claim(1, 0));
    script.send(&Frame::Message(parts()));
    assert_eq!(script.expect(), Frame::Ack(1));
    assert_eq!(told(&host, session), ["open Server", "message 9"]);
}

#[test]
fn row_29_all_zero() {
    // No part at all; then parts of zeros only, whose crcs are 0 too.
    for (lens, sums) in [([0; 3], 0), ([3, 1, 4097], 3 + 1 + 4097)] {
        let host = reuse();
        let (mut script, session) = opened(&host, LARGER, claim(1, 0));
        let [front, middle, data] = lens.map(|len| Payload::from(vec![0; len]));
        let mut message = Message { front, middle, data, ..message(9) };
        message.header.data_off = 0x7ff;
        let bytes = bytes_of(&mut script, &MessageFrame { seq: 1, message, ..MessageFrame::default() });
        assert_eq!(bytes.len(), 1 + 53 + sums + 21);
        // The parts, and their crcs.
        assert_eq!(bytes[54..54 + sums + 12], vec![0; sums + 12]);
        script.send_bytes(&bytes);
        assert_eq!(script.expect(), Frame::Ack(1));
        assert_eq!(told(&host, session), ["open Server", "message 9"]);
    }
}
