//! Does it matter in which portions a stream arrives?
#![cfg(feature = "arbitrary")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use cephwire_codec::arbitrary::{Delivery, Outcome, Place, Step, Stream, StreamV1, StreamV2, decode};
use proptest::collection::vec;
use proptest::prelude::*;

/// What [`Arbitrary`] makes of random bytes.
fn any_of<T: for<'a> Arbitrary<'a> + Debug>() -> impl Strategy<Value = T> {
    vec(any::<u8>(), 0..2048)
        .prop_filter_map("too few bytes", |bytes| Unstructured::new(&bytes).arbitrary().ok())
}

/// Decodes `bytes` in each of the ways and compares with all at once.
fn check<S: Stream>(stream: &S, bytes: &[u8], deliveries: &[Delivery]) {
    let Outcome { frames, error, offset, partial, broken } = decode(stream, bytes, &Delivery::whole());
    assert_eq!(broken, None);
    for delivery in deliveries {
        let split = decode(stream, bytes, delivery);
        assert_eq!(split.broken, None, "{delivery:?}");
        assert_eq!(split.error, error, "{delivery:?}");
        assert!(split.frames == frames, "{delivery:?}: {:?}, not {frames:?}", split.frames);
        assert_eq!((split.offset, split.partial), (offset, partial), "{delivery:?}");
    }
}

/// The worst ways: by single bytes, and with buffers that come back as they were or never.
fn awkward() -> Vec<Delivery> {
    let by = |steps: &[Step], place| Delivery { steps: steps.to_vec(), place };
    vec![
        Delivery::by(Step::Feed(0)),
        Delivery::by(Step::Fill(0)),
        by(&[Step::Untouched, Step::Fill(4000), Step::Dropped], Place::Posted(0)),
        by(&[Step::Dropped, Step::Fill(0), Step::Dropped, Step::Fill(9999)], Place::Aligned(4095)),
        by(&[Step::Dropped, Step::Feed(6), Step::Ask, Step::Untouched, Step::Feed(700)], Place::Posted(-1)),
        by(&[Step::Fill(u16::MAX)], Place::Posted(5)),
    ]
}

/// One byte of a copy changed, wherever `at` points to.
fn flipped(bytes: &[u8], at: prop::sample::Index, mask: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    if !bytes.is_empty() {
        let at = at.index(bytes.len());
        *bytes.get_mut(at).unwrap() ^= mask;
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn v1_awkward(stream in any_of::<StreamV1>()) {
        check(&stream, &stream.encode().unwrap(), &awkward());
    }

    #[test]
    fn v2_awkward(stream in any_of::<StreamV2>()) {
        check(&stream, &stream.encode().unwrap(), &awkward());
    }

    #[test]
    fn v1_anyhow(stream in any_of::<StreamV1>(), deliveries in vec(any_of::<Delivery>(), 4)) {
        check(&stream, &stream.encode().unwrap(), &deliveries);
    }

    #[test]
    fn v2_anyhow(stream in any_of::<StreamV2>(), deliveries in vec(any_of::<Delivery>(), 4)) {
        check(&stream, &stream.encode().unwrap(), &deliveries);
    }

    #[test]
    fn v1_corrupted(
        stream in any_of::<StreamV1>(), deliveries in vec(any_of::<Delivery>(), 2),
        places in vec((any::<prop::sample::Index>(), 1u8..), 8),
    ) {
        let bytes = stream.encode().unwrap();
        for (at, mask) in places {
            check(&stream, &flipped(&bytes, at, mask), &deliveries);
        }
    }

    #[test]
    fn v2_corrupted(
        stream in any_of::<StreamV2>(), deliveries in vec(any_of::<Delivery>(), 2),
        places in vec((any::<prop::sample::Index>(), 1u8..), 8),
    ) {
        let bytes = stream.encode().unwrap();
        for (at, mask) in places {
            check(&stream, &flipped(&bytes, at, mask), &deliveries);
        }
    }

    /// Every byte of the first ones: those of short frames are all structure.
    #[test]
    fn first_bytes_corrupted(v1 in any_of::<StreamV1>(), v2 in any_of::<StreamV2>(), mask in 1u8..) {
        let one = [Delivery::by(Step::Feed(0))];
        let (bytes_v1, bytes_v2) = (v1.encode().unwrap(), v2.encode().unwrap());
        for at in 0..200 {
            let change = |bytes: &[u8]| {
                let mut bytes = bytes.get(..400).unwrap_or(bytes).to_vec();
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= mask);
                bytes
            };
            check(&v1, &change(&bytes_v1), &one);
            check(&v2, &change(&bytes_v2), &one);
        }
    }
}
