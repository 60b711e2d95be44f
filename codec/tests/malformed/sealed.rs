//! v2's frames in secure mode: altered ciphertext, and wrong text under a right tag.

use std::ops::Range;

use aes_gcm::aead::AeadInOut as _;
use aes_gcm::{Aes128Gcm, KeyInit as _};
use bytes::Bytes;
use cephwire_codec::crc::crc32c;
use cephwire_codec::v2::{Frame, Keys, MessageFrame, Preamble, SECRET_LEAST, SecretTooShort, Tag};
use cephwire_codec::{Flaw, Message};

use crate::mode::{MODES, Mode};
use crate::{Expected, accept, refuse, with};

const V2_0: Mode = MODES[2];
const V2_1: Mode = MODES[3];

#[test]
fn every_tag_is_checked() {
    // preamble 0..96 | front 3, data 100 with epilogue: 16 + 112 + 16, its tag behind it
    let message = V2_1.bytes(&message());
    assert_eq!(message.len(), 96 + 16 + 112 + 32);
    let control = V2_1.bytes(&control());
    assert_eq!(control.len(), 96 + 64 + 16);
    let rev0 = V2_0.bytes(&self::message());
    assert_eq!(rev0.len(), 32 + 48 + 16 + 112 + 32);
    type Row<'a> = (&'a str, Mode, &'a [u8], Range<usize>, Expected);
    let rows: Vec<Row<'_>> = vec![
        ("preamble", V2_1, &message, 0..96, ("preamble", "tag of preamble", 80, Flaw::Seal)),
        ("rest", V2_1, &message, 96..256, ("MESSAGE", "segments", 240, Flaw::Seal)),
        (
            "preamble of a control frame",
            V2_1,
            &control,
            0..96,
            ("preamble", "tag of preamble", 80, Flaw::Seal),
        ),
        ("rest of segment 0", V2_1, &control, 96..176, ("AUTH_REPLY_MORE", "segment", 160, Flaw::Seal)),
        ("whole", V2_0, &rev0, 32..240, ("MESSAGE", "frame", 224, Flaw::Seal)),
    ];
    for (name, mode, bytes, altered, expected) in rows {
        for at in altered {
            let bytes = with(bytes, at, &[bytes[at] ^ 0x10]);
            refuse(name, || mode.decoder(), &bytes, expected);
        }
    }
    // In 2.0 the preamble is read before the tag is there; then its crc fails first.
    for at in 0..32 {
        let bytes = with(&rev0, at, &[rev0[at] ^ 0x10]);
        let mut decoder = V2_0.decoder();
        decoder.feed(&bytes);
        let error = decoder.next_frame().unwrap_err();
        assert_eq!((error.frame, error.field, error.offset), ("preamble", "crc", 28), "{at}");
        assert!(matches!(error.flaw, Flaw::Crc { .. }));
    }
}

#[test]
fn a_lost_or_repeated_frame_breaks_the_seal() {
    for mode in [V2_0, V2_1] {
        let mut encoder = mode.encoder();
        let first = crate::mode::encoded(&mut encoder, &Frame::Ack(1));
        let second = crate::mode::encoded(&mut encoder, &Frame::Ack(2));
        for bytes in [second.clone(), [&first[..], &first].concat()] {
            let mut decoder = mode.decoder();
            decoder.feed(&bytes);
            let error = loop {
                match decoder.next_frame() {
                    Ok(frame) => assert_eq!(frame, Some(Frame::Ack(1))),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.frame, "preamble");
        }
        accept("in order", mode.decoder(), &[first, second].concat());
    }
}

#[test]
fn what_is_sealed_is_checked_like_plain_frames() {
    let plain = Preamble::new(Tag::Ack as u8, [8, 0, 0, 0], [8, 0, 0, 0]);
    let first = |preamble: &[u8]| seal(0, &[preamble, &[0; 48]].concat());
    let sum = crc32c(0, &plain.to_bytes()[..28]);
    let crc = Flaw::Crc { expected: sum, found: sum ^ 1 };
    let wrong_crc = with(&plain.to_bytes(), 28, &(sum ^ 1).to_le_bytes());
    refuse("crc", || V2_1.decoder(), &first(&wrong_crc), ("preamble", "crc", 28, crc));

    let unknown = Preamble { tag: 99, ..plain };
    let flaw = Flaw::Unknown { found: 99 };
    refuse("tag", || V2_1.decoder(), &first(&unknown.to_bytes()), ("preamble", "tag", 0, flaw));

    let compressed = Preamble { flags: Preamble::COMPRESSED, ..plain };
    let bytes = first(&compressed.to_bytes());
    refuse("flags", || V2_1.decoder(), &bytes, ("ACK", "flags", 26, Flaw::NotCompressible));

    let header = Preamble::new(Tag::Message as u8, [49, 3, 0, 0], [8, 8, 0, 0]);
    let flaw = Flaw::Value { expected: 41, found: 49 };
    let bytes = first(&header.to_bytes());
    refuse("header", || V2_1.decoder(), &bytes, ("MESSAGE", "header length", 2, flaw));

    let message = Preamble::new(Tag::Message as u8, [41, 3, 0, 0], [8, 8, 0, 0]);
    for status in 0..=u8::MAX {
        let epilogue = [&[status][..], &[0; 15]].concat();
        let rest = seal(1, &[b"abc0123456789abc", &epilogue[..]].concat());
        let bytes = [first(&message.to_bytes()), rest].concat();
        match status & 0x0f {
            0x0e | 0x01 => assert_eq!(accept("status", V2_1.decoder(), &bytes).len(), 1),
            _ => {
                let flaw = Flaw::Value { expected: 0x0e, found: status.into() };
                let expected = ("epilogue", "late_status", 96 + 16, flaw);
                refuse("late_status", || V2_1.decoder(), &bytes, expected);
            }
        }
    }
}

/// Ceph does not check that padding is zero, nor do we.
#[test]
fn padding_may_be_anything() {
    let preamble = Preamble::new(Tag::Ack as u8, [8, 0, 0, 0], [8, 0, 0, 0]);
    let text = [&preamble.to_bytes()[..], &7u64.to_le_bytes(), &[0xaa; 40]].concat();
    assert_eq!(accept("2.1", V2_1.decoder(), &seal(0, &text)), [Frame::Ack(7)]);
    let text = [&preamble.to_bytes()[..], &7u64.to_le_bytes(), &[0xaa; 8], &[0], &[0xaa; 15]].concat();
    assert_eq!(accept("2.0", V2_0.decoder(), &seal(0, &text)), [Frame::Ack(7)]);
}

#[test]
fn short_secrets_give_no_keys() {
    for found in 0..SECRET_LEAST {
        assert_eq!(Keys::from_secret(&vec![1; found]).err(), Some(SecretTooShort { found }));
    }
    let keys = Keys::from_secret(&[1; SECRET_LEAST]).unwrap();
    assert_eq!(format!("{keys:?}"), "Keys(..)");
}

/// The `n`-th GCM message (less than 200) of the client with the secret 00 01 … 3f, in 2.1; in 2.0 for n = 0.
fn seal(n: u8, text: &[u8]) -> Vec<u8> {
    let key: [u8; 16] = std::array::from_fn(|i| i as u8);
    let mut nonce: [u8; 12] = std::array::from_fn(|i| 28 + i as u8);
    nonce[4] += n;
    let mut text = text.to_vec();
    let tag = Aes128Gcm::new(&key.into())
        .encrypt_inout_detached(&nonce.into(), &[], text.as_mut_slice().into())
        .unwrap();
    text.extend_from_slice(&tag);
    text
}

fn message() -> Frame {
    let message =
        Message { front: b"abc".to_vec().into(), data: vec![b'D'; 100].into(), ..Message::default() };
    Frame::Message(MessageFrame { seq: 1, message, ..MessageFrame::default() })
}

/// A payload of 100 bytes.
fn control() -> Frame {
    Frame::AuthReplyMore(Bytes::from(vec![b'P'; 96]))
}
