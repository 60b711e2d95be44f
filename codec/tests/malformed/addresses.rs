//! Addresses, as bytes and as text.

use cephwire_codec::{AddrVec, EntityAddr, EntityName, Flaw, Malformed};

/// v2:1.2.3.4:3300/5 in the versioned layout.
const ADDR: [u8; 35] = [
    1, 1, 1, 28, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 16, 0, 0, 0, 2, 0, 0x0c, 0xe4, 1, 2, 3, 4, 0, 0, 0, 0, 0,
    0, 0, 0,
];

#[test]
fn addresses_are_checked() {
    let short = |expected, found| Flaw::TooShort { expected, found };
    let len = |most, found| Flaw::Range { least: 2, most, found };
    // sockaddr_len, and the structure's with it.
    let sized = |elen: u8, sockaddr: &[u8]| {
        [&[1, 1, 1, 12 + sockaddr.len() as u8], &ADDR[4..15], &[elen, 0, 0, 0], sockaddr].concat()
    };
    let v4 = [2, 0, 0x0c, 0xe4, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut v6 = [0; 29];
    v6[0] = 10;
    let rows: Vec<(&str, Vec<u8>, &str, u64, Flaw)> = vec![
        ("nothing", vec![], "marker", 0, short(1, 0)),
        ("a vector's marker", with(0, 2), "marker", 0, Flaw::Unknown { found: 2 }),
        ("marker 255", with(0, 255), "marker", 0, Flaw::Unknown { found: 255 }),
        ("compat 2", with(2, 2), "struct_compat", 2, Flaw::Range { least: 0, most: 1, found: 2 }),
        ("struct_len past the end", with(3, 29), "struct_len", 7, short(29, 28)),
        ("struct_len of all bits", with(6, 0xff), "struct_len", 7, short(0xff00_001c, 28)),
        ("struct_len 0", with(3, 0), "type", 7, short(4, 0)),
        ("struct_len 4", with(3, 4), "nonce", 11, short(4, 0)),
        ("struct_len 8", with(3, 8), "sockaddr_len", 15, short(4, 0)),
        ("struct_len 12", with(3, 12), "sockaddr", 19, short(16, 0)),
        ("sockaddr past the structure", with(15, 17), "sockaddr", 19, short(17, 16)),
        ("sockaddr of 1", sized(1, &[2]), "sockaddr_len", 15, len(28, 1)),
        ("IPv4 of 17", sized(17, &v4), "sockaddr_len", 15, len(16, 17)),
        ("IPv6 of 29", sized(29, &v6), "sockaddr_len", 15, len(28, 29)),
        ("another family of 29", sized(29, &[7; 29]), "sockaddr_len", 15, len(28, 29)),
        ("legacy, cut in the type", vec![0, 0, 0], "type", 1, short(3, 2)),
        ("legacy, cut in the nonce", vec![0; 6], "nonce", 4, short(4, 2)),
        ("legacy, cut in the sockaddr", vec![0; 135], "sockaddr", 8, short(128, 127)),
    ];
    for (name, bytes, field, offset, flaw) in rows {
        let expected = Malformed { frame: "entity_addr", field, offset, flaw };
        assert_eq!(EntityAddr::decode(&bytes).unwrap_err(), expected, "{name}");
        // In a vector behind another one. Two addresses need 38 bytes, or the count is wrong.
        if bytes.len() < 3 {
            continue;
        }
        let vector = [&[2, 2, 0, 0, 0], &ADDR[..], &bytes].concat();
        let expected = Malformed { frame: "entity_addrvec", offset: 40 + offset, ..expected };
        assert_eq!(AddrVec::decode(&vector).unwrap_err(), expected, "{name}, in a vector");
    }
}

#[test]
fn vectors_are_checked() {
    let short = |expected, found| Flaw::TooShort { expected, found };
    let rows: Vec<(&str, Vec<u8>, &str, u64, Flaw)> = vec![
        ("nothing", vec![], "marker", 0, short(1, 0)),
        ("marker 3", with(0, 3), "marker", 0, Flaw::Unknown { found: 3 }),
        ("no count", vec![2, 1, 0], "count", 1, short(4, 2)),
        ("none of one", vec![2, 1, 0, 0, 0], "count", 1, short(19, 4)),
        ("count of all bits", vec![2, 0xff, 0xff, 0xff, 0xff, 0], "count", 1, short(19 * 0xffff_ffff, 5)),
    ];
    for (name, bytes, field, offset, flaw) in rows {
        let error = AddrVec::decode(&bytes).unwrap_err();
        assert_eq!((error.frame, error.field), ("entity_addrvec", field), "{name}");
        // The count's own error says what is left behind it.
        let flaw = match flaw {
            Flaw::TooShort { expected, found } if expected > 4 => short(expected, found - 4),
            other => other,
        };
        assert_eq!((error.flaw, error.offset), (flaw, offset), "{name}");
    }
}

#[test]
fn what_newer_or_sloppy_peers_send_is_accepted() {
    let plain: EntityAddr = "v2:1.2.3.4:3300/5".parse().unwrap();
    let longer = [&[1, 9, 1, 30], &ADDR[4..], &[0xaa; 2]].concat();
    let cut = [&[1, 1, 1, 20], &ADDR[4..15], &[8, 0, 0, 0], &ADDR[19..27]].concat();
    for (name, bytes) in [
        ("a newer structure", longer),
        ("compat 0", with(2, 0)),
        ("struct_v 0", with(1, 0)),
        ("bytes of the sockaddr behind the IP", with(34, 9)),
        ("a sockaddr without its zeros", cut),
    ] {
        assert_eq!(EntityAddr::decode(&bytes).unwrap(), (plain, &[][..]), "{name}");
    }
    // Families other than IP's are no address.
    let (addr, _) = EntityAddr::decode(&with(19, 1)).unwrap();
    assert_eq!((addr.socket, addr.nonce), (None, 5));
    // An unknown type stays what it is.
    let (addr, _) = EntityAddr::decode(&with(7, 9)).unwrap();
    assert_eq!(addr.kind.0, 9);
    let mut again = Vec::new();
    addr.encode(&mut again);
    assert_eq!(again, with(7, 9));
}

#[test]
fn text_is_checked() {
    for (text, field, offset) in [
        ("v1:1.2.3:6789/0", "ip", 3),
        ("v3:1.2.3.4:1/0", "ip", 0),
        ("1.2.3.4:/0", "port", 8),
        ("1.2.3.4:+1/0", "port", 8),
        ("1.2.3.4:1/", "nonce", 10),
        ("1.2.3.4:1/+1", "nonce", 10),
        ("[::1", "ip", 0),
    ] {
        let error = text.parse::<EntityAddr>().unwrap_err();
        assert_eq!((error.frame, error.field, error.offset), ("text", field, offset), "{text}");
        assert!(matches!(error.flaw, Flaw::Text { .. }), "{text}");
    }
    for text in ["", "osd", "osd.", "osd.x", "osd.-1", "osd.+1", ".1", "cow.1", "osd.9223372036854775808"] {
        let error = text.parse::<EntityName>().unwrap_err();
        assert_eq!(error.frame, "text", "{text}");
        assert!(matches!(error.flaw, Flaw::Text { .. }), "{text}");
    }
}

/// The address with one byte changed.
fn with(at: usize, byte: u8) -> Vec<u8> {
    crate::with(&ADDR, at, &[byte])
}
