//! What is it compared with? One pass of the same backend over as many bytes of memory in the same state.

use std::hint::black_box;

use cephwire_codec::crc::crc32c;

use crate::measure::{Round, Stopwatch};
use crate::wire::{Case, Reader};
use cipher::Cipher;

/// What a decoder with default limits lends for large data.
const PIECE: usize = 32 << 10;
/// Copying 4 MiB in such steps is faster than at once.
const COPY_STEP: usize = 256 << 10;

/// crc32c of each message, or sealing it in place.
pub(crate) fn encode(case: Case, batch: usize) -> Round {
    let covered = case.covered();
    let mut bytes = bytes(batch * covered);
    if case.link.is_secure() {
        let cipher = Cipher::new();
        return Box::new(move |watch: &mut Stopwatch| {
            watch.time(|| {
                for text in bytes.chunks_exact_mut(covered) {
                    let _ = black_box(cipher.seal(text));
                }
            });
        });
    }
    Box::new(move |watch: &mut Stopwatch| {
        watch.time(|| {
            for message in bytes.chunks_exact(covered) {
                black_box(crc32c(0, message));
            }
        });
    })
}

/// crc32c of each message, or opening it in place, after it was copied as the kernel would.
pub(crate) fn decode(case: Case, batch: usize, reader: Reader) -> Round {
    let covered = case.covered();
    let mut stream = bytes(batch * covered);
    let mut buffer = stream.clone();
    if case.link.is_secure() {
        let cipher = Cipher::new();
        let tags: Vec<_> = stream.chunks_exact_mut(covered).map(|text| cipher.seal(text)).collect();
        return Box::new(move |watch: &mut Stopwatch| {
            buffer.copy_from_slice(&stream);
            watch.time(|| {
                for (text, tag) in buffer.chunks_exact_mut(covered).zip(&tags) {
                    assert!(cipher.open(text, tag), "the tag must hold");
                }
            });
        });
    }
    let (unit, step) = match reader {
        // Small messages arrive many at a time, and large ones piece by piece.
        Reader::Default if covered < PIECE => (stream.len(), covered),
        Reader::Default => (PIECE, PIECE),
        Reader::OnePiece => (stream.len(), covered),
    };
    Box::new(move |watch: &mut Stopwatch| {
        for (buffer, stream) in buffer.chunks_mut(unit).zip(stream.chunks(unit)) {
            buffer.copy_from_slice(stream);
            watch.time(|| {
                for message in buffer.chunks(step) {
                    black_box(crc32c(0, message));
                }
            });
        }
    })
}

/// Copying each message and sealing the copy in place: the floor of an encoder that does so.
pub(crate) fn copy_and_seal(case: Case, batch: usize) -> Round {
    let covered = case.covered();
    let plain = bytes(batch * covered);
    let mut text = plain.clone();
    let cipher = Cipher::new();
    Box::new(move |watch: &mut Stopwatch| {
        watch.time(|| {
            for (text, plain) in text.chunks_exact_mut(covered).zip(plain.chunks_exact(covered)) {
                for (text, plain) in text.chunks_mut(COPY_STEP).zip(plain.chunks(COPY_STEP)) {
                    text.copy_from_slice(plain);
                }
                let _ = black_box(cipher.seal(text));
            }
        });
    })
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 253) as u8).collect()
}

/// aws-lc's assembler.
#[cfg(feature = "aws-lc-rs")]
mod cipher {
    use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};

    use crate::wire::must;

    pub(super) struct Cipher(LessSafeKey);

    impl Cipher {
        pub(super) fn new() -> Self {
            Self(LessSafeKey::new(must(UnboundKey::new(&AES_128_GCM, &[0x5a; 16]))))
        }

        pub(super) fn seal(&self, text: &mut [u8]) -> Tag {
            let nonce = Nonce::assume_unique_for_key([1; 12]);
            must(self.0.seal_in_place_separate_tag(nonce, Aad::empty(), text))
        }

        pub(super) fn open(&self, text: &mut [u8], tag: &Tag) -> bool {
            let nonce = Nonce::assume_unique_for_key([1; 12]);
            self.0.open_in_place_separate_tag(nonce, Aad::empty(), tag.as_ref(), text).is_ok()
        }
    }
}

/// RustCrypto, pure Rust.
#[cfg(not(feature = "aws-lc-rs"))]
mod cipher {
    use aes_gcm::aead::AeadInOut as _;
    use aes_gcm::{Aes128Gcm, KeyInit as _, Tag};

    use crate::wire::must;

    pub(super) struct Cipher(Aes128Gcm);

    impl Cipher {
        pub(super) fn new() -> Self {
            Self(Aes128Gcm::new(&[0x5a; 16].into()))
        }

        pub(super) fn seal(&self, text: &mut [u8]) -> Tag {
            must(self.0.encrypt_inout_detached(&[1; 12].into(), &[], text.into()))
        }

        pub(super) fn open(&self, text: &mut [u8], tag: &Tag) -> bool {
            self.0.decrypt_inout_detached(&[1; 12].into(), &[], text.into(), tag).is_ok()
        }
    }
}
