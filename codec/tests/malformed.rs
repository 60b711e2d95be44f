//! Is every malformed byte refused, with the right place and reason, and what is merely odd accepted?
//!
//! Each test is a table: a valid frame, what is changed in it, and the error. A decoder that failed
//! stays so, and it makes no difference whether the bytes come at once or one by one.
//!
//! Some errors cannot be brought about from outside, as something before them has made sure already:
//! the fields of structures of fixed length (v1's connect, ACK and footer, message headers, the banner's
//! payload) cannot be too short, a tag is known when the frame is finished, decrypted text is as long as
//! its segments. Used-up nonces are tested where they are counted, in `src/v2`.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "malformed/addresses.rs"]
mod addresses;
#[path = "malformed/frames.rs"]
mod frames;
#[path = "malformed/inflate.rs"]
mod inflate;
#[path = "vectors/mode.rs"]
mod mode;
#[path = "malformed/payloads.rs"]
mod payloads;
#[cfg(feature = "secure")]
#[path = "malformed/sealed.rs"]
mod sealed;
#[path = "malformed/v1.rs"]
mod v1;

use cephwire_codec::{Flaw, Malformed, v2};

/// What a row expects.
pub(crate) type Expected = (&'static str, &'static str, u64, Flaw);

/// The error that a decoder of v2 ends with, fed at once and byte by byte.
fn refuse(name: &str, decoder: impl Fn() -> v2::Decoder, bytes: &[u8], expected: Expected) {
    let (frame, field, offset, flaw) = expected;
    let expected = Malformed { frame, field, offset, flaw };
    let mut whole = decoder();
    whole.feed(bytes);
    assert_eq!(error(&mut whole).as_ref(), Some(&expected), "{name}");
    // For good, whatever comes.
    whole.feed(bytes);
    whole.proceed(cephwire_codec::Room::Own);
    assert_eq!(whole.next_frame(), Err(expected.clone()), "{name}");
    assert_eq!(whole.next().err(), Some(expected.clone()), "{name}");
    let mut slow = decoder();
    let found = bytes.iter().find_map(|byte| {
        slow.feed(&[*byte]);
        error(&mut slow)
    });
    assert_eq!(found, Some(expected), "{name}, byte by byte");
}

/// The frames that a decoder of v2 makes of the bytes.
fn accept(name: &str, mut decoder: v2::Decoder, bytes: &[u8]) -> Vec<v2::Frame> {
    decoder.feed(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame().unwrap() {
        frames.push(frame);
    }
    assert!(!decoder.has_partial(), "{name}: {} bytes are left", decoder.partial_len());
    frames
}

fn error(decoder: &mut v2::Decoder) -> Option<Malformed> {
    loop {
        match decoder.next_frame() {
            Ok(Some(_)) => {}
            Ok(None) => return None,
            Err(error) => return Some(error),
        }
    }
}

/// The bytes with others from `at` on.
fn with(bytes: &[u8], at: usize, other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + other.len()].copy_from_slice(other);
    bytes
}

/// The same, and the preamble's crc computed anew.
fn in_preamble(bytes: &[u8], at: usize, other: &[u8]) -> Vec<u8> {
    let bytes = with(bytes, at, other);
    let crc = cephwire_codec::crc::crc32c(0, &bytes[..28]);
    with(&bytes, 28, &crc.to_le_bytes())
}
