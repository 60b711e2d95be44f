//! Does every frame that is encoded come back the same, with nothing left over?
#![cfg(feature = "arbitrary")]
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fmt::Debug;

use arbitrary::{Arbitrary, Unstructured};
use cephwire_codec::arbitrary::{Delivery, Secure, Stream, StreamV1, StreamV2, decode};
use cephwire_codec::v2::{Compression, Method, Revision};
use cephwire_codec::{AddrType, AddrVec, EntityAddr, EntityName, v1, v2};
use proptest::collection::vec;
use proptest::prelude::*;

/// What [`Arbitrary`] makes of random bytes.
fn any_of<T: for<'a> Arbitrary<'a> + Debug>() -> impl Strategy<Value = T> {
    vec(any::<u8>(), 0..4096)
        .prop_filter_map("too few bytes", |bytes| Unstructured::new(&bytes).arbitrary().ok())
}

/// Encodes and decodes a stream at once, and compares.
fn check(stream: &impl Stream) {
    let bytes = stream.encode().unwrap();
    let outcome = decode(stream, &bytes, &Delivery::whole());
    assert_eq!(outcome.broken, None);
    assert_eq!(outcome.error, None);
    assert!(outcome.frames.iter().map(|(frame, _)| frame).eq(&stream.frames()), "{outcome:?}");
    assert_eq!((outcome.offset, outcome.partial), (bytes.len() as u64, 0));
}

/// All framings of v1.
fn framings() -> impl Iterator<Item = v1::Framing> {
    (0..8).map(|bits| v1::Framing {
        signature: bits & 1 > 0,
        header_crc: bits & 2 > 0,
        data_crc: bits & 4 > 0,
    })
}

/// Every framing of v2, with and without each compression method.
fn variants(stream: &StreamV2) -> Vec<StreamV2> {
    let mut all = Vec::new();
    let methods = Method::SUPPORTED.iter().map(|method| Some(*method)).chain([None]);
    for method in methods {
        for revision in [Revision::V2_0, Revision::V2_1] {
            for secure in [false, cfg!(feature = "secure")] {
                let mut variant = stream.clone();
                let min_size = stream.compression.map_or(1024, |compression| compression.min_size);
                variant.compression = method.map(|method| Compression { method, min_size });
                variant.revision = revision;
                let frames = stream.secure.as_ref().map_or(&stream.clear, |secure| &secure.frames).clone();
                let from_client = stream.secure.as_ref().is_some_and(|secure| secure.from_client);
                variant.secure = secure.then_some(Secure { from_client, frames });
                all.push(variant);
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn v1_streams(stream in any_of::<StreamV1>()) {
        check(&stream);
    }

    /// Messages that fit any framing, in each.
    #[test]
    fn v1_framings(mut message in any_of::<v1::MessageFrame>()) {
        message.signature = 0;
        message.flags = message.flags.with(cephwire_codec::Flags::NOCRC);
        for framing in framings() {
            let frames = vec![v1::Frame::Message(message.clone()), v1::Frame::Ack(1), v1::Frame::Close];
            check(&StreamV1 { framing, frames });
        }
    }

    #[test]
    fn v2_streams(stream in any_of::<StreamV2>()) {
        check(&stream);
    }

    /// In both layouts, and as a vector.
    #[test]
    fn addresses(addrs in any_of::<AddrVec>()) {
        let mut bytes = Vec::new();
        addrs.encode(&mut bytes);
        prop_assert_eq!(AddrVec::decode(&bytes).unwrap(), (addrs.clone(), &[][..]));
        for addr in addrs.0 {
            let mut bytes = Vec::new();
            addr.encode(&mut bytes);
            prop_assert_eq!(EntityAddr::decode(&bytes).unwrap(), (addr, &[][..]));
            prop_assert_eq!(AddrVec::decode(&bytes).unwrap(), (addr.into(), &[][..]));
            bytes.clear();
            addr.encode_legacy(&mut bytes);
            let kind = if addr.socket.is_some() { AddrType::LEGACY } else { AddrType::NONE };
            prop_assert_eq!(EntityAddr::decode(&bytes).unwrap(), (EntityAddr { kind, ..addr }, &[][..]));
        }
    }

    /// Of addresses that have a text form: a known type, and no more of IPv6 than Ceph prints.
    #[test]
    fn text_of_addresses(addrs in any_of::<AddrVec>()) {
        let mut addrs = addrs;
        for addr in &mut addrs.0 {
            addr.kind = AddrType(1 + addr.kind.0 % 3);
            match &mut addr.socket {
                Some(std::net::SocketAddr::V6(v6)) => {
                    v6.set_flowinfo(0);
                    v6.set_scope_id(0);
                }
                Some(std::net::SocketAddr::V4(_)) => {}
                None => *addr = EntityAddr::default(),
            }
            // Printed without prefix, but read as v2.
            let text = if addr.kind == AddrType::ANY { format!("any:{addr}") } else { addr.to_string() };
            prop_assert_eq!(text.parse::<EntityAddr>().unwrap(), *addr, "{}", text);
        }
        addrs.0.retain(|addr| addr.kind != AddrType::ANY);
        prop_assert_eq!(addrs.to_string().parse::<AddrVec>().unwrap(), addrs);
    }

    /// Text that happens to be read prints as what it was read as.
    #[test]
    fn text_that_is_read(text in "(v1:|v2:|any:)?(\\[?[0-9a-f:]{2,12}\\]?|[0-9.]{7,9})(:[0-9]{1,5})?(/[0-9]{1,10})?") {
        if let Ok(addr) = text.parse::<EntityAddr>() {
            let printed = if addr.kind == AddrType::ANY { format!("any:{addr}") } else { addr.to_string() };
            prop_assert_eq!(printed.parse::<EntityAddr>().unwrap(), addr, "{}", text);
        }
    }

    #[test]
    fn names(name in any_of::<EntityName>()) {
        if name.kind.name().is_some() && name.num >= 0 {
            prop_assert_eq!(name.to_string().parse::<EntityName>().unwrap(), name);
        }
    }
}

// Each case is one of twenty framings here.
proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn v2_framings(stream in any_of::<StreamV2>()) {
        variants(&stream).iter().for_each(check);
    }

    /// In the clear and sealed on the same stream.
    #[test]
    fn v2_messages(message in any_of::<v2::MessageFrame>(), min_size in prop_oneof![Just(0u32), Just(1024)]) {
        let frames = vec![v2::Frame::Message(message), v2::Frame::Wait];
        let banner = v2::Banner { supported: Default::default(), required: Default::default() };
        let compression = Some(Compression { method: Method::NONE, min_size });
        let secure = Some(Secure { from_client: true, frames: frames.clone() });
        let stream = StreamV2 { revision: Revision::V2_0, compression, banner, clear: frames, secure };
        variants(&stream).iter().for_each(check);
    }
}
