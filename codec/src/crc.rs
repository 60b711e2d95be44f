//! What is a crc in Ceph?
//!
//! CRC-32C (Castagnoli, reflected polynomial `0x82F63B78`) as a plain register: the seed is given, and
//! nothing is inverted at the start or at the end, unlike the textbook's CRC-32C.
//!
//! | where | seed |
//! |---|---|
//! | v1: header, front, middle, data | 0 |
//! | v2: preamble | 0 |
//! | v2: segments | [`SEGMENT_SEED`] |
//!
//! So the crc of nothing is the seed, and any run of zeros from seed 0 gives 0.

/// The seed of a v2 segment's crc (all bits set).
pub const SEGMENT_SEED: u32 = u32::MAX;

/// The register after `bytes`, when it held `seed` before.
///
/// ```
/// use cephwire_codec::crc::crc32c;
/// assert_eq!(crc32c(0, b"123456789"), 0x58e3_fa20);
/// assert_eq!(crc32c(u32::MAX, b"123456789"), 0x1cf9_6d7c);
/// assert_eq!(crc32c(crc32c(0, b"12345"), b"6789"), 0x58e3_fa20);
/// ```
#[must_use]
#[inline]
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    backend(seed, bytes)
}

/// The backend of the feature `crc-fast`; below the length where its wide loops begin, the other one is as fast.
#[cfg(feature = "crc-fast")]
fn backend(seed: u32, bytes: &[u8]) -> u32 {
    const WIDE: usize = 512;
    if bytes.len() < WIDE { standard(seed, bytes) } else { fast(seed, bytes) }
}

#[cfg(not(feature = "crc-fast"))]
#[inline]
fn backend(seed: u32, bytes: &[u8]) -> u32 {
    standard(seed, bytes)
}

#[inline]
fn standard(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

#[cfg(feature = "crc-fast")]
fn fast(seed: u32, bytes: &[u8]) -> u32 {
    use crc_fast::{CrcAlgorithm, Digest};
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(seed));
    digest.update(bytes);
    // finalize() inverts at the end (0 or 2^32-1 as the algorithm says); take that back.
    !(digest.finalize() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bitwise(seed: u32, bytes: &[u8]) -> u32 {
        bytes.iter().fold(seed, |crc, &byte| {
            (0..8)
                .fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1)))
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_bitwise_register(seed: u32, bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(crc32c(seed, &bytes), bitwise(seed, &bytes));
            prop_assert_eq!(standard(seed, &bytes), bitwise(seed, &bytes));
            #[cfg(feature = "crc-fast")]
            prop_assert_eq!(fast(seed, &bytes), bitwise(seed, &bytes));
        }

        #[test]
        fn continues(seed: u32, a in proptest::collection::vec(any::<u8>(), 0..900), b in proptest::collection::vec(any::<u8>(), 0..900)) {
            let whole = [a.clone(), b.clone()].concat();
            prop_assert_eq!(crc32c(crc32c(seed, &a), &b), crc32c(seed, &whole));
        }
    }
}
