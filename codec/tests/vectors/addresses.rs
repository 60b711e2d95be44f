//! Do addresses have the bytes and the texts of `addresses.txt`?

use cephwire_codec::v1::{Decoder, Expect, Frame};
use cephwire_codec::{AddrType, AddrVec, EntityAddr};

use crate::table::{rows, unhex};

#[test]
fn addresses_have_these_bytes_and_texts() {
    let rows = rows("addresses.txt", 3);
    assert_eq!(rows.len(), 95);
    let mut again = 0;
    for row in rows {
        let (kind, bytes, text) = (&row[0], unhex(&row[1]), &row[2]);
        let (kind, both_ways) = kind.strip_suffix("-decode").map_or((&kind[..], true), |kind| (kind, false));
        let mut out = Vec::new();
        match kind {
            "legacy" => {
                let (addr, rest) = EntityAddr::decode(&bytes).unwrap();
                assert!(rest.is_empty(), "{row:?}");
                assert_eq!(addr.to_string(), *text, "{row:?}");
                assert_eq!(in_handshake(&bytes), Frame::Address(addr), "{row:?}");
                addr.encode_legacy(&mut out);
                read_back(&addr, text);
            }
            "new" => {
                let (addr, rest) = EntityAddr::decode(&bytes).unwrap();
                assert!(rest.is_empty(), "{row:?}");
                assert_eq!(addr.to_string(), *text, "{row:?}");
                // An address in place of a vector is a vector of one.
                assert_eq!(AddrVec::decode(&bytes).unwrap().0, AddrVec::from(addr), "{row:?}");
                addr.encode(&mut out);
                read_back(&addr, text);
            }
            "vec" => {
                let (addrs, rest) = AddrVec::decode(&bytes).unwrap();
                assert!(rest.is_empty(), "{row:?}");
                assert_eq!(addrs.to_string(), *text, "{row:?}");
                addrs.encode(&mut out);
                assert_eq!(as_read(&addrs).parse::<AddrVec>().unwrap().to_string(), *text, "{row:?}");
            }
            other => panic!("{other:?}"),
        }
        if both_ways {
            assert_eq!(out, bytes, "{row:?}");
            again += 1;
        }
    }
    assert_eq!(again, 86);
}

#[test]
fn what_follows_an_address_is_left_over() {
    for row in rows("addresses.txt", 3) {
        let bytes = [unhex(&row[1]), b"more".to_vec()].concat();
        let rest = match row[0].starts_with("vec") {
            true => AddrVec::decode(&bytes).unwrap().1,
            false => EntityAddr::decode(&bytes).unwrap().1,
        };
        assert_eq!(rest, b"more", "{row:?}");
    }
}

/// The address as the handshake of v1 has it.
fn in_handshake(bytes: &[u8]) -> Frame {
    let mut decoder = Decoder::new();
    decoder.expect(Expect::Address);
    decoder.feed(bytes);
    decoder.next_frame().unwrap().unwrap()
}

/// Text is read as what it was printed from. IPv6 scopes and flows are no part of it.
fn read_back(addr: &EntityAddr, text: &str) {
    let read: EntityAddr = as_read(&AddrVec::from(*addr)).parse().unwrap();
    assert_eq!(read.to_string(), text);
    if addr.kind != AddrType::NONE {
        assert_eq!((read.kind, read.nonce, read.ip()), (addr.kind, addr.nonce, addr.ip()));
    }
}

/// The text of a vector as people write it: type any is printed without prefix, but read with one.
fn as_read(addrs: &AddrVec) -> String {
    let any = |addr: &EntityAddr| if addr.kind == AddrType::ANY { "any:" } else { "" };
    let parts: Vec<String> = addrs.0.iter().map(|addr| format!("{}{addr}", any(addr))).collect();
    if parts.len() == 1 { parts.concat() } else { format!("[{}]", parts.join(",")) }
}
