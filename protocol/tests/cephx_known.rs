//! Do keys, structures and signatures of cephx come out as they do in Ceph?
//!
//! Known answers: RFC 8009, and the worked examples of the cephx and messenger specs, which were taken from clusters
//! of 16.2.15 where they do not say synthetic.
#![cfg(feature = "cephx")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

#[path = "cephx_known/exchanges.rs"]
mod exchanges;
#[path = "cephx_known/structures.rs"]
mod structures;

use cephwire_protocol::auth::Reason;
use cephwire_protocol::auth::cephx::cipher::Usage;
use cephwire_protocol::auth::cephx::cipher::aes::Aes;
use cephwire_protocol::auth::cephx::cipher::aes256k::Aes256k;
use cephwire_protocol::auth::cephx::{CryptoKey, KeyType, MessageSigner, Random};
use cephwire_protocol::codec::v1::{Signed, Signer};
use cephwire_protocol::codec::{Features, Timestamp};
use zeroize::Zeroizing;

fn unhex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap() as u8;
    digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key(kind: KeyType, secret: &[u8]) -> CryptoKey {
    CryptoKey::new(kind, Timestamp::default(), secret).unwrap()
}

/// The key 00 01 02 … of either type.
fn counting(kind: KeyType) -> CryptoKey {
    key(kind, &(0..32).collect::<Vec<u8>>()[..kind.secret_len()])
}

fn aes(digits: &str) -> CryptoKey {
    key(KeyType::Aes, &unhex(digits))
}

fn random() -> Random {
    Random::new([7; 32])
}

const KINDS: [KeyType; 2] = [KeyType::Aes, KeyType::Aes256k];

#[test]
fn a_key_and_its_text() {
    let key: CryptoKey = " AQBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==\n".parse().unwrap();
    assert_eq!(hex(key.secret()), "88c3b85fe54d7acbb6f0ccb6486d93d0");
    assert_eq!((key.kind(), key.created().sec, key.created().nsec), (KeyType::Aes, 0x6b01_7149, 0x2774_4013));
    assert_eq!(*key.to_base64(), "AQBJcQFrE0B0JxAAiMO4X+VNesu28My2SG2T0A==");
    assert_eq!(hex(&key.encode()), "01004971016b134074271000".to_owned() + &hex(key.secret()));
    assert_eq!(format!("{key:?}"), "CryptoKey(aes, ..)");
    assert!(counting(KeyType::Aes256k).to_base64().starts_with("Ag"));
    for kind in KINDS {
        assert_eq!(CryptoKey::decode(&counting(kind).encode()), Ok(counting(kind)));
        for cut in 0..counting(kind).encode().len() {
            let error = CryptoKey::decode(&counting(kind).encode()[..cut]).unwrap_err();
            assert!(matches!(error, Reason::Truncated { .. }), "{cut}: {error}");
        }
        let longer = [&counting(kind).encode()[..], &[0]].concat();
        assert_eq!(CryptoKey::decode(&longer), Err(Reason::Overlong { what: "key", extra: 1 }));
    }
}

/// AES keys may be longer than they are used; no other length is right.
#[test]
fn lengths_of_secrets() {
    let now = Timestamp::default();
    let long = CryptoKey::new(KeyType::Aes, now, &(0..40).collect::<Vec<u8>>()).unwrap();
    assert_eq!(long.secret().len(), 40);
    assert_eq!(
        long.seal(Usage::Authorize, b"x", &mut random()),
        counting(KeyType::Aes).seal(Usage::Authorize, b"x", &mut random())
    );
    for (kind, lens) in [(KeyType::Aes, &[0, 15, 65, 1000][..]), (KeyType::Aes256k, &[0, 16, 31, 33, 64])] {
        for len in lens {
            let found = *len as u64;
            assert_eq!(
                CryptoKey::new(kind, now, &vec![0; *len]),
                Err(Reason::KeyLength { kind: kind.name(), found })
            );
        }
    }
}

/// cephx spec §3.
#[test]
fn aes_in_an_envelope() {
    let key = counting(KeyType::Aes);
    let sealed = key.seal(Usage::TicketInfo, b"hello", &mut random());
    assert_eq!(hex(&sealed), "00ab8c021189162ef68f7735a6ad9e3c");
    assert_eq!(**key.open(Usage::TicketInfo, "x", &sealed).unwrap(), *b"hello");
}

/// cephx spec §12.
#[test]
fn aes256k_in_an_envelope() {
    let confounder: [u8; 16] = std::array::from_fn(|n| n as u8);
    let envelope = [&[1][..], &0xff00_9cad_8826_aa55u64.to_le_bytes(), b"hello"].concat();
    let secret: [u8; 32] = std::array::from_fn(|n| n as u8);
    let sealed = Aes256k::new(secret).encrypt(0x10, &envelope, Zeroizing::new(confounder));
    let expected = "628579befebd20c0daac4f1015095f534833d879515c0563e98ef8bbf74222c5e58725a561640716a5027580f01a604780014a1d3098";
    assert_eq!(hex(&sealed), expected);
    let key = counting(KeyType::Aes256k);
    assert_eq!(**key.open(Usage::Authorize, "x", &sealed).unwrap(), *b"hello");
    // Each usage has keys of its own.
    assert_eq!(key.open(Usage::AuthorizeReply, "x", &sealed), Err(Reason::Unreadable { what: "x" }));
}

/// RFC 8009, appendix A, "Sample encryptions", aes256-cts-hmac-sha384-192 (usage 2).
#[test]
fn aes256k_as_in_the_rfc() {
    let secret = "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52";
    let cipher = Aes256k::new(unhex(secret).try_into().unwrap());
    for (plain, confounder, sealed) in [
        (
            "",
            "f764e9fa15c276478b2c7d0c4e5f58e4",
            "41f53fa5bfe7026d91faf9be959195a058707273a96a40f0a01960621ac612748b9bbfbe7eb4ce3c",
        ),
        (
            "000102030405",
            "b80d3251c1f6471494256ffe712d0b9a",
            "4ed7b37c2bcac8f74f23c1cf07e62bc7b75fb3f637b9f559c7f664f69eab7b6092237526ea0d1f61cb20d69d10f2",
        ),
        (
            "000102030405060708090a0b0c0d0e0f",
            "53bf8a0d105265d4e276428624ce5e63",
            "bc47ffec7998eb91e8115cf8d19dac4bbbe2e163e87dd37f49beca92027764f68cf51f14d798c2273f35df574d1f932e40c4ff255b36a266",
        ),
        (
            "000102030405060708090a0b0c0d0e0f1011121314",
            "763e65367e864f02f55153c7e3b58af1",
            "40013e2df58e8751957d2878bcd2d6fe101ccfd556cb1eae79db3c3ee86429f2b2a602ac86fef6ecb647d6295fae077a1feb517508d2c16b4192e01f62",
        ),
    ] {
        let confounder = Zeroizing::new(unhex(confounder).try_into().unwrap());
        assert_eq!(hex(&cipher.encrypt(2, &unhex(plain), confounder)), sealed);
        assert_eq!(hex(&cipher.decrypt(2, &unhex(sealed)).unwrap()), plain);
    }
}

/// Every length decrypts to what it was, with the right key and usage alone, and unaltered.
#[test]
fn any_length_and_nothing_altered() {
    let (mut random, mut plain) = (random(), Vec::new());
    for len in 0..100u8 {
        plain.push(len);
        for kind in KINDS {
            let (key, other) = (CryptoKey::generate(kind, Timestamp::default(), &mut random), counting(kind));
            let cipher = key.cipher();
            let sealed = cipher.encrypt(Usage::Authorize, &plain, &mut random);
            let expected = if kind == KeyType::Aes { plain.len() / 16 * 16 + 16 } else { plain.len() + 40 };
            assert_eq!(sealed.len(), expected);
            assert_eq!(cipher.decrypt(Usage::Authorize, &sealed).as_deref(), Some(&plain));
            assert_ne!(other.cipher().decrypt(Usage::Authorize, &sealed).as_deref(), Some(&plain));
            let enveloped = key.seal(Usage::Authorize, &plain, &mut random);
            assert_eq!(other.open(Usage::Authorize, "x", &enveloped), Err(Reason::Unreadable { what: "x" }));
            for cut in 0..sealed.len() {
                assert_ne!(cipher.decrypt(Usage::Authorize, &sealed[..cut]).as_deref(), Some(&plain));
                if kind == KeyType::Aes256k {
                    assert_eq!(cipher.decrypt(Usage::Authorize, &sealed[..cut]), None);
                    let mut altered = sealed.clone();
                    altered[cut] ^= 1 << (cut % 8);
                    assert_eq!(cipher.decrypt(Usage::Authorize, &altered), None);
                }
            }
        }
    }
}

/// aes: the padding must be one.
#[test]
fn padding() {
    let (key, cipher) = (counting(KeyType::Aes), Aes::new(&std::array::from_fn(|n| n as u8)));
    // A whole block of text, and then a block of padding that is to be exchanged for the one of another text.
    for (text, valid) in [
        (*b"0123456789abcdef", false),
        ([16; 16], true),
        ([0; 16], false),
        ([17; 16], false),
        (*b"0123456789abcde\x01", true),
        (*b"0123456789abcd\x01\x02", false),
        (*b"0123456789abcd\x02\x02", true),
    ] {
        let sealed = &cipher.encrypt(&text)[..16];
        assert_eq!(cipher.decrypt(sealed).is_some(), valid, "{text:?}");
    }
    assert_eq!(cipher.decrypt(&[]), None);
    assert_eq!(
        key.open(Usage::Authorize, "x", &cipher.encrypt(b"123")),
        Err(Reason::Unreadable { what: "x" })
    );
}

/// cephx spec §4.3 and §12.
#[test]
fn proofs() {
    let (server, client) = (0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00);
    assert_eq!(counting(KeyType::Aes).proof(server, client), 0x4fad_d850_10bc_ad18);
    assert_eq!(counting(KeyType::Aes256k).proof(server, client), 0x5246_0fb0_91ff_144a);
    // msgr2 spec §12.2 and §12.3.
    let admin = aes("88c3b85fe54d7acbb6f0ccb6486d93d0");
    assert_eq!(admin.proof(0xecec_6b09_f720_d40d, 0x8255_7126_659b_7836), 0x6ccc_aa8d_cba1_ce88);
    assert_eq!(admin.proof(0xe54b_c7b4_0f1c_935e, 0xe39c_0acc_a4a5_8037), 0x1431_4489_7d5e_664f);
}

/// cephx spec §9, msgr1 spec §16.
#[test]
fn message_signatures() {
    let synthetic = Signed {
        header_crc: 0x0102_0304,
        front_crc: 0x0506_0708,
        front_len: 100,
        middle_crc: 0,
        middle_len: 0,
        data_crc: 0x0a0b_0c0d,
        data_len: 4096,
        seq: 7,
    };
    let block = |block: &str| {
        let words: Vec<u32> =
            unhex(block).chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        let [header_crc, front_crc, front_len, middle_crc, middle_len, data_crc, data_len, seq] = words[..]
        else {
            panic!()
        };
        Signed {
            header_crc,
            front_crc,
            front_len,
            middle_crc,
            middle_len,
            data_crc,
            data_len,
            seq: seq.into(),
        }
    };
    let old = |block: &str| {
        let words: Vec<u32> =
            unhex(block)[13..].chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        Signed {
            header_crc: words[0],
            front_crc: words[1],
            middle_crc: words[2],
            data_crc: words[3],
            ..Signed::default()
        }
    };
    let (counting, client) = ("000102030405060708090a0b0c0d0e0f", "1694983348bb4df46fd0165bf28f5e22");
    let osd = "63d9cca11480549db9358aaf3bf34eba";
    for (key, signed, new, signature) in [
        (counting, synthetic, true, 0x1da4_0512_009e_f097),
        (counting, synthetic, false, 0x6d76_5c19_ec11_f63a),
        (
            client,
            block("ce8831cff1ffa8dad50000000000000000000000d474f8764b00000001000000"),
            true,
            0x3216_320b_c7b6_6240,
        ),
        (
            client,
            block("436bf198820f3a10d50000000000000000000000000000000000000002000000"),
            true,
            0x2616_3a14_93e3_e8dd,
        ),
        (
            osd,
            block("48991118b0873f28d300000000000000000000006ec72f1e8813000001000000"),
            true,
            0xb71c_5298_8472_87a6,
        ),
        (
            osd,
            block("ad72a07e19523a7d920000000000000000000000000000000000000001000000"),
            true,
            0xf06b_3aaf_801a_bbf5,
        ),
        (
            "c8baf99703da2728e75867bf90eb9a49",
            old("0155aa2688ad9c00ff10000000ea56f09d000000000000000002ae3edc"),
            false,
            0xb4bd_a161_c05f_0e19,
        ),
        (
            osd,
            old("0155aa2688ad9c00ff1000000048991118b0873f28000000006ec72f1e"),
            false,
            0xed37_a2c0_9e1d_db84,
        ),
    ] {
        let features = if new { Features::CEPHX_V2 } else { Features(0) };
        assert_eq!(MessageSigner::new(&aes(key), features).sign(&signed), signature, "{key} {signed:?}");
        // One bit makes another signature, wherever it is. (The old form does not have all fields.)
        for altered in [
            Signed { header_crc: signed.header_crc ^ 1, ..signed },
            Signed { data_crc: signed.data_crc ^ 0x8000_0000, ..signed },
        ] {
            // The old form's signature is its first block alone: it does not depend on the last crcs.
            if new || altered.header_crc != signed.header_crc {
                assert_ne!(MessageSigner::new(&aes(key), features).sign(&altered), signature);
            }
        }
    }
    // Of a number above 32 bits, the low ones count.
    let signer = MessageSigner::new(&aes(client), Features::CEPHX_V2);
    assert_eq!(signer.sign(&Signed { seq: 7 | 5 << 32, ..synthetic }), signer.sign(&synthetic));
}
