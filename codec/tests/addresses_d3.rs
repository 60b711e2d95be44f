//! Are addresses read, printed and encoded as in Ceph's `src/test/test_addrs.cc`?
//!
//! Ceph's parser says where it stopped; here the whole text must be an address. So what leaves a rest there is an error
//! here, and stands beside the same text without it. A list without brackets, of which Ceph reads the first entry, is
//! read whole.
#![expect(clippy::unwrap_used, reason = "tests")]

use cephwire_codec::{AddrType, AddrVec, EntityAddr};

#[test]
fn addresses() {
    for (text, printed) in [
        ("127.0.0.1", "v2:127.0.0.1:0/0"),
        ("127.0.0.1:1234", "v2:127.0.0.1:1234/0"),
        ("127.0.0.1:1234/5678", "v2:127.0.0.1:1234/5678"),
        ("2607:f298:4:2243::5522", "v2:[2607:f298:4:2243::5522]:0/0"),
        ("[2607:f298:4:2243::5522]", "v2:[2607:f298:4:2243::5522]:0/0"),
        ("[2607:f298:4:2243::5522]:1234", "v2:[2607:f298:4:2243::5522]:1234/0"),
        ("2001:0db8:85a3:0000:0000:8a2e:0370:7334", "v2:[2001:db8:85a3::8a2e:370:7334]:0/0"),
        ("2001:2db8:85a3:4334:4324:8a2e:1370:7334", "v2:[2001:2db8:85a3:4334:4324:8a2e:1370:7334]:0/0"),
        ("::", "v2:[::]:0/0"),
        ("-", "-"),
        ("v1:1.2.3.4:12/34", "v1:1.2.3.4:12/34"),
    ] {
        let addr: EntityAddr = text.parse().unwrap();
        assert_eq!(addr.to_string(), printed, "{text}");
        // What is printed reads the same.
        assert_eq!(printed.parse(), Ok(addr), "{text}");
        assert_eq!(text.parse(), Ok(AddrVec::from(addr)), "{text}");
    }
}

#[test]
fn no_addresses() {
    for text in [
        "127.0.0.1:1234/5678 foo",
        "1.2.3:4 a",
        "1.2.3:4",
        "2607:f298:4:2243::5522a",
        "[2607:f298:4:2243::5522]:1234a",
        "[2607:f298:4:2243::5522]a",
        "::zz",
        "-asdf",
        "[v2:1.2.3.4:111/0,v1:5.6.7.8:222/0]",
        "",
        "v1:",
        "127.0.0.1:65536",
        "127.0.0.1/4294967296",
    ] {
        assert!(text.parse::<EntityAddr>().is_err(), "{text}");
    }
}

#[test]
fn vectors() {
    for (text, printed) in [
        ("127.0.0.1", "v2:127.0.0.1:0/0"),
        ("[127.0.0.1]", "v2:127.0.0.1:0/0"),
        ("[127.0.0.1,::,-]", "[v2:127.0.0.1:0/0,v2:[::]:0/0,-]"),
        ("127.0.0.1,::,-", "[v2:127.0.0.1:0/0,v2:[::]:0/0,-]"),
        ("[v1:1.2.3.4:1/0,v2:5.6.7.8:2/0]", "[v1:1.2.3.4:1/0,v2:5.6.7.8:2/0]"),
        ("[v2:1.2.3.4:111/0,v1:5.6.7.8:222/0]", "[v2:1.2.3.4:111/0,v1:5.6.7.8:222/0]"),
    ] {
        let addrs: AddrVec = text.parse().unwrap();
        assert_eq!(addrs.to_string(), printed, "{text}");
        assert_eq!(printed.parse(), Ok(addrs), "{text}");
    }
    for text in [
        "[127.0.0.1,::,-] foo",
        "127.0.0.1,::,- foo",
        "[1.2.3.4,::,foo]",
        "[1.2.3.4,::,foo",
        "[1.2.3.4,::,- foo",
        "[1.2.3.4,::,-",
        "[1.2.3.4,]",
    ] {
        assert!(text.parse::<AddrVec>().is_err(), "{text}");
    }
}

fn addr(text: &str) -> EntityAddr {
    text.parse().unwrap()
}

fn vector(texts: &[&str]) -> AddrVec {
    AddrVec(texts.iter().map(|text| addr(text)).collect())
}

#[test]
fn an_address_decodes_as_a_vector_of_one() {
    for text in ["v1:1.2.3.4:1/5", "v1:[::1]:6789/0"] {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        addr(text).encode_legacy(&mut old);
        addr(text).encode(&mut new);
        for bytes in [old, new] {
            assert_eq!(AddrVec::decode(&bytes), Ok((addr(text).into(), &[][..])), "{text}");
        }
    }
}

#[test]
fn a_vector_without_features_decodes_as_its_first_v1_address() {
    let (v1, other) = ("v1:1.2.3.4:1/5", "v1:9.9.9.9:9/9");
    let v2 = "v2:1.2.3.4:3300/5";
    let blank = EntityAddr::default();
    for (texts, left) in [
        (&[v1][..], addr(v1)),
        (&[], blank),
        (&[v1, v2], addr(v1)),
        (&[v2, v1], addr(v1)),
        (&[v2, v1, other], addr(v1)),
        (&[v2, v2, v1], addr(v1)),
        (&[v2], blank),
        (&[v2, v2], blank),
    ] {
        let mut bytes = Vec::new();
        vector(texts).encode_legacy(&mut bytes);
        let (found, rest) = EntityAddr::decode(&bytes).unwrap();
        assert_eq!((found, rest), (left, &[][..]), "{texts:?}");
    }
}

/// What `legacy_equals` compares.
#[test]
fn vectors_of_one_host_have_the_same_v1_address() {
    let legacy = |texts: &[&str]| vector(texts).first_of(AddrType::LEGACY).copied();
    let (v1, v2, other) = ("v1:1.2.3.4:6789/1", "v2:1.2.3.4:3300/1", "v1:1.2.3.5:6789/1");
    assert_eq!(legacy(&[v1]), legacy(&[v2, v1]));
    assert_eq!(legacy(&[v1, v2]), legacy(&[v2, v1]));
    assert_ne!(legacy(&[other]), legacy(&[v2, v1]));
    assert_ne!(legacy(&[v2, v1]), legacy(&[v2, other]));
}
