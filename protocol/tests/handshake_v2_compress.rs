//! Do two peers of v2 agree on compression, once per connection, and then compress?
//!
//! Messenger 2 spec §10 and what 18.2.7 daemons were seen to say (conformance list §4.5).

#![expect(clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod script;

use std::sync::Arc;

use cephwire_protocol::codec::v2::{
    Banner, Compression, CompressionDone, CompressionRequest, Frame, MessageFrame, Method, method, mode,
};
use cephwire_protocol::codec::{EntityType, Header, Message, MessageType, MsgrFeatures, Side};
use cephwire_protocol::{Options, Policy};
use script::auth::{Stepwise, sign};
use script::v2::{
    PEER, SIGNATURE, auth_done, auth_request, banner, hello, ident, name, reconnect, server_ident,
};
use script::{Dialect, Host, Script, Setup, V2};

/// Wants to compress what goes to and comes from OSDs.
fn setup(methods: &[Method]) -> Setup {
    let options = Options::default().with(|options| {
        options.compression = methods.to_vec();
        options.compress_peers = vec![EntityType::OSD];
    });
    Setup { options, ..Setup::policy(Policy::lossless_client()) }
}

fn request(compress: bool, methods: &[Method]) -> Frame {
    Frame::CompressionRequest(CompressionRequest { compress, methods: methods.to_vec() })
}

fn done(compress: bool, method: Method) -> Frame {
    Frame::CompressionDone(CompressionDone { compress, method })
}

/// A message of zeros, with this many.
fn zeros(len: usize) -> Message {
    let header = Header { kind: MessageType(70), priority: 127, ..Header::default() };
    Message { header, data: vec![0; len].into(), ..Message::default() }
}

/// How many bytes the host sends for a message of that size, and what they decode to.
#[track_caller]
fn wire_len(host: &Host, peer: &mut Script<V2>, len: usize) -> usize {
    let before = peer.heard.len();
    host.with(0, |session| session.send(zeros(len)).is_ok());
    match peer.expect() {
        Frame::Message(frame) => assert_eq!(frame.message.data.len(), len),
        other => panic!("{other:?}"),
    }
    peer.heard.len() - before
}

fn accepting(setup: Setup, kind: EntityType) -> (Host, Script<V2>) {
    let host = Host::new(setup);
    let mut peer = host.accept::<V2>();
    peer.send(&banner(3));
    peer.send(&hello(kind));
    peer.send(&auth_request(method::NONE, &[mode::CRC]));
    peer.send(&SIGNATURE);
    assert_eq!(peer.names(), ["banner", "HELLO", "AUTH_DONE", "AUTH_SIGNATURE"]);
    (host, peer)
}

fn dialing(setup: Setup, kind: EntityType) -> (Host, Script<V2>) {
    let host = Host::new(setup);
    host.dial(kind, PEER);
    let peer = dialed(&host, kind);
    (host, peer)
}

fn dialed(host: &Host, kind: EntityType) -> Script<V2> {
    let mut peer = host.dialed::<V2>();
    peer.send(&banner(3));
    peer.send(&hello(kind));
    peer.send(&auth_done(mode::CRC));
    peer.send(&SIGNATURE);
    (0..4).for_each(|_| drop(peer.expect()));
    peer
}

/// The bit is in the banner if there are methods; nothing is said of compression unless both have it (16.2 takes the
/// frame for an unknown one).
#[test]
fn both_banners() {
    for (own, theirs) in [(false, 3), (true, 1), (false, 1)] {
        let methods: &[Method] = if own { &[Method::SNAPPY] } else { &[] };
        let host = Host::new(setup(methods));
        let mut peer = host.accept::<V2>();
        let supported = MsgrFeatures(if own { 3 } else { 1 });
        assert_eq!(peer.expect(), Frame::Banner(Banner { supported, required: MsgrFeatures(0) }));
        peer.send(&banner(theirs));
        peer.send(&hello(EntityType::OSD));
        peer.send(&auth_request(method::NONE, &[mode::CRC]));
        peer.send(&SIGNATURE);
        peer.names();
        peer.open(ident(7, 1));
    }
}

/// Step 2, as a table: the server's answer.
#[test]
fn answers() {
    let (snappy, lz4, brotli) = (Method::SNAPPY, Method::LZ4, Method::BROTLI);
    let (osd, mon) = (EntityType::OSD, EntityType::MON);
    let rows: [(&str, &[Method], EntityType, Frame, Frame); 8] = [
        ("both want", &[snappy], osd, request(true, &[snappy]), done(true, snappy)),
        ("the client's order wins", &[snappy, lz4], osd, request(true, &[lz4, snappy]), done(true, lz4)),
        (
            "unknown methods are skipped",
            &[snappy],
            osd,
            request(true, &[Method(9), snappy]),
            done(true, snappy),
        ),
        ("nothing in common", &[snappy], osd, request(true, &[lz4]), done(false, Method::NONE)),
        ("nothing that works here", &[brotli], osd, request(true, &[brotli]), done(false, Method::NONE)),
        ("the client does not want", &[snappy], osd, request(false, &[snappy]), done(false, Method::NONE)),
        ("not with such a peer", &[snappy], mon, request(true, &[snappy]), done(false, Method::NONE)),
        ("neither wants", &[snappy], mon, request(false, &[]), done(false, Method::NONE)),
    ];
    for (what, methods, kind, ask, answer) in rows {
        let (host, mut peer) = accepting(setup(methods), kind);
        peer.send(&ask);
        assert_eq!(peer.expect(), answer, "{what}");
        let Frame::CompressionDone(CompressionDone { compress, method }) = answer else { panic!() };
        peer.wire.decoder.set_compression(compress.then_some(method));
        peer.open(ident(7, 1));
        let (short, long) = (wire_len(&host, &mut peer, 500), wire_len(&host, &mut peer, 5000));
        assert!(short > 500, "{what}: below the minimum");
        assert_eq!(long < 500, compress, "{what}");
        if compress {
            peer.wire.encoder.set_compression(Some(Compression { method, min_size: 0 }));
        }
        host.told(0);
        let message = MessageFrame { seq: 1, message: zeros(5000), ..MessageFrame::default() };
        peer.send(&Frame::Message(message));
        assert_eq!(host.told(0).len(), 1, "{what}");
    }
}

/// Steps 1 and 3: the client's wish, and what it makes of the answer.
#[test]
fn wishes() {
    let (snappy, lz4, none) = (Method::SNAPPY, Method::LZ4, Method::NONE);
    let (osd, mon) = (EntityType::OSD, EntityType::MON);
    // Its type, the wish, the answer; whether frames are compressed, or nothing for a fault.
    let rows = [
        ("both want", osd, request(true, &[snappy, lz4]), done(true, lz4), Some(true)),
        ("the server does not", osd, request(true, &[snappy, lz4]), done(false, none), Some(false)),
        ("nothing in common", osd, request(true, &[snappy, lz4]), done(true, none), Some(false)),
        ("a method not offered", osd, request(true, &[snappy, lz4]), done(true, Method::ZLIB), None),
        ("neither wants", mon, request(false, &[]), done(false, none), Some(false)),
        ("only the server wants", mon, request(false, &[]), done(true, snappy), Some(false)),
    ];
    for (what, kind, wish, answer, compressed) in rows {
        let (host, mut peer) = dialing(setup(&[Method::BROTLI, snappy, lz4]), kind);
        assert_eq!(peer.expect(), wish, "{what}");
        peer.expect_quiet();
        peer.send(&answer);
        let Some(compressed) = compressed else {
            peer.expect_closed();
            let error = host.errors(0).concat();
            assert!(error.starts_with("COMPRESSION_CONNECTING, frame 5: method 2, expected"), "{error}");
            continue;
        };
        assert_eq!(name(&peer.expect()), "CLIENT_IDENT", "{what}");
        peer.send(&Frame::ServerIdent(server_ident(9, false)));
        let Frame::CompressionDone(CompressionDone { method, .. }) = answer else { panic!() };
        peer.wire.decoder.set_compression(compressed.then_some(method));
        assert_eq!(wire_len(&host, &mut peer, 5000) < 500, compressed, "{what}");
    }
}

/// Secure connections are not compressed unless that is wished for; the two frames are sealed as all others.
#[test]
fn secure() {
    for compress_secure in [false, true] {
        let mut setup = setup(&[Method::SNAPPY]);
        setup.options.modes = vec![mode::SECURE].into();
        setup.options.compress_secure = compress_secure;
        setup.auth = Arc::new(Stepwise { steps: 0, ..Stepwise::default() });
        let host = Host::new(setup);
        let mut peer = host.accept::<V2>();
        peer.send(&banner(3));
        peer.send(&hello(EntityType::OSD));
        peer.send(&auth_request(method::CEPHX, &[mode::SECURE]));
        (0..3).for_each(|_| drop(peer.expect()));
        let end = peer.wire.decoder.last().offset + peer.wire.decoder.last().len;
        let signature = sign(&peer.heard[..end as usize]);
        peer.seal(Side::Client);
        assert_eq!(name(&peer.expect()), "AUTH_SIGNATURE");
        peer.send(&Frame::AuthSignature(signature));
        peer.send(&request(true, &[Method::SNAPPY]));
        let method = if compress_secure { Method::SNAPPY } else { Method::NONE };
        assert_eq!(peer.expect(), done(compress_secure, method));
        peer.wire.decoder.set_compression(compress_secure.then_some(method));
        peer.open(ident(7, 1));
        assert_eq!(wire_len(&host, &mut peer, 5000) < 500, compress_secure);
    }
}

/// Conformance §4.5: once per TCP connection, also when several claims follow, and again on the next one.
#[test]
fn once_per_connection() {
    let (host, mut peer) = dialing(setup(&[Method::SNAPPY]), EntityType::OSD);
    peer.send(&done(true, Method::SNAPPY));
    peer.send(&Frame::ServerIdent(server_ident(9, false)));
    assert_eq!(peer.names(), ["COMPRESSION_REQUEST", "CLIENT_IDENT"]);
    peer.close();
    let mut peer = dialed(&host, EntityType::OSD);
    assert_eq!(peer.expect(), request(true, &[Method::SNAPPY]));
    peer.send(&done(false, Method::NONE));
    peer.send(&Frame::SessionRetry(7));
    peer.send(&Frame::SessionReset { full: true });
    assert_eq!(peer.names(), ["SESSION_RECONNECT", "SESSION_RECONNECT", "CLIENT_IDENT"]);

    let (_host, mut peer) = accepting(setup(&[Method::SNAPPY]), EntityType::OSD);
    peer.send(&request(true, &[Method::SNAPPY]));
    peer.send(&reconnect((1, 2), 3, 4, 5));
    assert_eq!(peer.names(), ["COMPRESSION_DONE", "SESSION_RESET"]);
    peer.send(&request(true, &[Method::SNAPPY]));
    peer.expect_closed();
}

/// A connection taken over by an earlier session is compressed as was agreed on that connection.
#[test]
fn takeovers_keep_what_was_agreed() {
    let (host, mut old) = accepting(setup(&[Method::SNAPPY]), EntityType::OSD);
    old.send(&request(false, &[]));
    old.expect();
    let cookie = old.open(ident(7, 1)).cookie;
    assert!(wire_len(&host, &mut old, 5000) > 5000);
    let mut new = host.accept::<V2>();
    new.send(&banner(3));
    new.send(&hello(EntityType::OSD));
    new.send(&auth_request(method::NONE, &[mode::CRC]));
    new.send(&SIGNATURE);
    new.send(&request(true, &[Method::SNAPPY]));
    (0..5).for_each(|_| drop(new.expect()));
    new.wire.decoder.set_compression(Some(Method::SNAPPY));
    new.send(&reconnect((7, cookie), 2, 1, 1));
    assert_eq!(new.expect(), Frame::SessionReconnectOk(0));
    assert!(wire_len(&host, &mut new, 5000) < 500);
}

/// A compressed frame on a connection that has not agreed on it is a fault.
#[test]
fn unasked() {
    let (host, mut peer) = accepting(setup(&[Method::SNAPPY]), EntityType::OSD);
    peer.send(&request(false, &[Method::SNAPPY]));
    peer.expect();
    peer.open(ident(7, 1));
    peer.wire.encoder.set_compression(Some(Compression { method: Method::SNAPPY, min_size: 0 }));
    let message = MessageFrame { seq: 1, message: zeros(5000), ..MessageFrame::default() };
    let bytes = peer.wire.encode(&Frame::Message(message));
    peer.send_bytes(&bytes);
    peer.expect_closed();
    assert_eq!(host.told(0), ["open Server", "trouble"]);
}
