//! What must hold for whatever bytes arrive?
//!
//! | target | input | rule |
//! |---|---|---|
//! | [`v1_decode`] | settings, then a v1 stream | no panic; offsets continue; errors stay |
//! | [`v2_decode`] | settings, then a v2 stream, as it is or with right crcs | the same |
//! | [`v2_secure_decode`] | settings, then fields of frames that are sealed with the right key | the same, behind the seal |
//! | [`round_trip`] | any frames (`cephwire_codec::arbitrary`) | decoding what was encoded gives them back |
//! | [`splits`] | a way for bytes to arrive, then one of the above | what is decoded does not depend on it |
//! | [`addr_text`] | text, and an address's bytes | what is read prints, or encodes, as what it was read as |
//! | [`capture`] | a capture file | no panic; what a stream's events say is without gap or overlap |
//! | [`session_ops`] | who two sides are, and what happens to them | no panic, no storm, no endless speech; rest in the end |
//! | [`handshake_v1`], [`handshake_v2`] | the same; then a stranger's bytes or frames, after some steps of a handshake | the same |
//! | [`cephx_client`], [`cephx_server`] | payloads, also valid envelopes around anything | no panic, nobody is believed without proof |
//! | [`keyring`] | text | what is read comes out as what it was read as |
#![forbid(unsafe_code)]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use arbitrary::Unstructured;
use cephwire_codec::arbitrary::{Delivery, Outcome, Owner, Stream, StreamV1, StreamV2, decode};
use cephwire_codec::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Malformed};

mod cephx;
mod events;
mod forge;
mod parties;
mod rest;
mod sessions;
mod settings;
mod world;

pub use cephx::{cephx_client, cephx_server, keyring};
pub use events::capture;
pub use parties::PARTIES;
pub use sessions::{handshake_v1, handshake_v2, session_ops};
pub use settings::{HEAD, SettingsV1, SettingsV2};

/// See the table above.
pub fn v1_decode(data: &[u8]) {
    if let Some((settings, stream)) = SettingsV1::split(data) {
        rules(&settings, stream);
    }
}

/// See the table above.
pub fn v2_decode(data: &[u8]) {
    if let Some((settings, stream)) = SettingsV2::split(data, false) {
        rules(&settings, &settings.bytes(stream));
    }
}

/// See the table above.
pub fn v2_secure_decode(data: &[u8]) {
    if let Some((settings, fields)) = SettingsV2::split(data, true) {
        rules(&settings, &settings.bytes(fields));
    }
}

/// See the table above.
pub fn round_trip(data: &[u8]) {
    let mut u = Unstructured::new(data);
    if u.arbitrary().unwrap_or(false) {
        u.arbitrary::<StreamV1>().iter().for_each(returns);
    } else {
        u.arbitrary::<StreamV2>().iter().for_each(returns);
    }
}

fn returns<S: Stream>(stream: &S) {
    let bytes = stream.encode().expect("nothing too long");
    let Outcome { frames, error, offset, partial, broken } = decode(stream, &bytes, &Delivery::whole());
    assert_eq!((error, broken), (None, None));
    assert!(frames.iter().map(|(frame, _)| frame).eq(&stream.frames()), "{frames:?}");
    assert_eq!((offset, partial), (bytes.len() as u64, 0));
}

/// See the table above.
pub fn splits(data: &[u8]) {
    let Some(([mode, delivery @ ..], rest)) = data.split_first_chunk::<32>() else { return };
    let Ok(delivery) = Unstructured::new(delivery).arbitrary() else { return };
    let mut u = Unstructured::new(rest);
    match mode % 5 {
        0 => {
            if let Some((settings, stream)) = SettingsV1::split(rest) {
                same(&settings, stream, &delivery);
            }
        }
        kind @ (1 | 2) => {
            if let Some((settings, stream)) = SettingsV2::split(rest, kind == 2) {
                same(&settings, &settings.bytes(stream), &delivery);
            }
        }
        3 => {
            let Ok(stream) = u.arbitrary::<StreamV1>() else { return };
            let bytes = damaged(&stream, &mut u);
            same(&stream, &bytes, &delivery);
        }
        _ => {
            let Ok(stream) = u.arbitrary::<StreamV2>() else { return };
            let bytes = damaged(&stream, &mut u);
            same(&stream, &bytes, &delivery);
        }
    }
}

/// The stream with up to four bytes changed.
fn damaged(stream: &impl Stream, u: &mut Unstructured<'_>) -> Vec<u8> {
    let mut bytes = stream.encode().expect("nothing too long").to_vec();
    for _ in 0..u.int_in_range(0..=4).unwrap_or(0) {
        if let (Ok(at), Ok(mask)) = (u.choose_index(bytes.len()), u.arbitrary::<u8>()) {
            bytes[at] ^= mask;
        }
    }
    bytes
}

fn rules<O: Owner>(owner: &O, bytes: &[u8]) {
    let outcome = decode(owner, bytes, &Delivery::whole());
    assert_eq!(outcome.broken, None, "{:?}", outcome.error);
    // Whoever prints them must get through as well.
    let _ = format!("{:?} {:?}", outcome.frames, outcome.error.map(|error| error.to_string()));
}

fn same<O: Owner>(owner: &O, bytes: &[u8], delivery: &Delivery) {
    let whole = decode(owner, bytes, &Delivery::whole());
    let split = decode(owner, bytes, delivery);
    assert_eq!(whole.broken, None);
    assert_eq!(split.broken, None, "{delivery:?}");
    assert_eq!(whole.error, split.error, "{delivery:?}");
    assert!(whole == split, "{delivery:?}: {split:?} is not {whole:?}");
}

/// See the table above.
pub fn addr_text(data: &[u8]) {
    if let Ok((addr, _)) = EntityAddr::decode(data) {
        let mut bytes = Vec::new();
        addr.encode(&mut bytes);
        assert_eq!(EntityAddr::decode(&bytes), Ok((addr, &[][..])));
        let _ = addr.to_string();
    }
    if let Ok((addrs, _)) = AddrVec::decode(data) {
        let mut bytes = Vec::new();
        addrs.encode(&mut bytes);
        assert_eq!(AddrVec::decode(&bytes), Ok((addrs.clone(), &[][..])));
        addrs.encode_legacy(&mut bytes);
        let _ = addrs.to_string();
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    reads_again(text, printed);
    reads_again(text, |addrs: &AddrVec| {
        let all: Vec<_> = addrs.0.iter().map(printed).collect();
        if let [one] = &all[..] { one.clone() } else { format!("[{}]", all.join(",")) }
    });
    reads_again(text, EntityName::to_string);
    reads_again(text, EntityType::to_string);
}

/// An address as it prints; one of type any needs its prefix to be read as such.
fn printed(addr: &EntityAddr) -> String {
    if addr.kind == AddrType::ANY { format!("any:{addr}") } else { addr.to_string() }
}

fn reads_again<T>(text: &str, print: impl Fn(&T) -> String)
where
    T: FromStr<Err = Malformed> + PartialEq + Debug + Display,
{
    match text.parse::<T>() {
        Ok(value) => assert_eq!(print(&value).parse(), Ok(value)),
        Err(error) => assert!(error.offset <= text.len() as u64, "{error}"),
    }
}
