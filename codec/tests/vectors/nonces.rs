//! Do nonces count and wrap as `nonces.txt` and `nonce-frames.txt` say?

use cephwire_codec::v2::{Decoder, Encoder, Frame, Keys, MessageFrame, Revision};
use cephwire_codec::{Flags, Header, Message, MessageType, Side, Timestamp};

use crate::mode::encoded;
use crate::table::{rows, unhex};

/// Seen from outside: after so many frames, a stream goes on like one that begins with the result.
#[test]
fn nonces_count_like_the_table() {
    let rows = rows("nonces.txt", 4);
    assert_eq!(rows.len(), 104);
    for row in rows {
        let revision = revision(&row[0]);
        let (mut long, mut fresh) = (sender(revision, &row[1]), sender(revision, &row[3]));
        for _ in 0..row[2].parse::<u32>().unwrap() {
            encoded(&mut long, &Frame::Ack(1)); // one GCM message in both revisions
        }
        assert_eq!(encoded(&mut long, &Frame::Ack(2)), encoded(&mut fresh, &Frame::Ack(2)), "{row:?}");
    }
}

/// The second GCM message of each row takes the nonce behind the wrap.
#[test]
fn frames_cross_the_wrap() {
    let rows = rows("nonce-frames.txt", 5);
    assert_eq!(rows.len(), 4);
    for row in rows {
        let secret = unhex(&row[2]);
        let revision = revision(row[1].strip_prefix("rev").unwrap().strip_suffix("-secure").unwrap());
        let mut encoder = Encoder::new();
        encoder.set_revision(revision);
        let mut decoder = Decoder::mid_stream(revision, 0);
        assert!(encoder.set_keys(Keys::from_secret(&secret).unwrap(), Side::Client).is_ok());
        assert!(decoder.set_keys(Keys::from_secret(&secret).unwrap(), Side::Client).is_ok());
        for (n, column) in [(0, 3), (1, 4)] {
            let frame = match row[0].split_once('-').unwrap().0 {
                "keepalive2" => Frame::Keepalive2(Timestamp { sec: 0x0102_0304, nsec: 0x0506_0708 + n }),
                "message" => message(u64::from(n) + 1),
                other => panic!("{other:?}"),
            };
            let bytes = unhex(&row[column]);
            assert_eq!(encoded(&mut encoder, &frame), bytes, "{row:?}");
            decoder.feed(&bytes);
            assert_eq!(decoder.next_frame().unwrap(), Some(frame), "{row:?}");
        }
    }
}

fn revision(number: &str) -> Revision {
    match number {
        "0" => Revision::V2_0,
        "1" => Revision::V2_1,
        other => panic!("{other:?}"),
    }
}

/// A client whose first nonce this is.
fn sender(revision: Revision, nonce: &str) -> Encoder {
    let mut secret = vec![7; 28];
    secret.extend_from_slice(&unhex(nonce));
    assert_eq!(secret.len(), 40);
    let mut encoder = Encoder::new();
    encoder.set_revision(revision);
    assert!(encoder.set_keys(Keys::from_secret(&secret).unwrap(), Side::Client).is_ok());
    encoder
}

fn message(seq: u64) -> Frame {
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
    Frame::Message(MessageFrame {
        seq,
        flags: Flags::COMPLETE.with(Flags::NOCRC),
        message,
        ..MessageFrame::default()
    })
}
