//! Does a dialed connection of v2 get from the first byte to an open session as the spec says?
//!
//! The host dials, the script is the server: session2 spec §4.1, §4.3, §5.2, §6.2 and §11, messenger 2 spec §2, §5 to
//! §7, and the probes of the conformance list §4.4. What faults lead to is in `handshake_v2_faults.rs`.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod script;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cephwire_protocol::auth::AllowAll;
use cephwire_protocol::codec::v2::{
    AuthBadMethod, AuthRequest, Banner, Frame, Hello, Method, Revision, ServerIdent, method, mode,
};
use cephwire_protocol::codec::{AddrType, AddrVec, EntityName, EntityType, Features, MsgrFeatures, Side};
use cephwire_protocol::{Error, Event, Incompatible, Options, Policy};
use script::auth::{Lines, Stepwise, sign};
use script::v2::{PEER, SIGNATURE, auth_done, banner, frames, hello, message_frame, name, server_ident};
use script::{Host, Script, Setup, V2, addr, addrs};

fn begin(setup: Setup) -> (Host, Script<V2>) {
    let host = Host::new(setup);
    host.send(host.dial(EntityType::OSD, PEER), 1);
    let peer = host.dialed::<V2>();
    (host, peer)
}

fn lossless() -> Setup {
    Setup::policy(Policy::lossless_client())
}

fn with_auth(auth: Stepwise) -> Setup {
    let options = Options::default().with(|options| options.modes = vec![mode::SECURE, mode::CRC].into());
    Setup { auth: Arc::new(auth), options, ..lossless() }
}

fn bad_method(method: u32, result: i32, methods: &[u32], modes: &[u32]) -> Frame {
    let (allowed_methods, allowed_modes) = (methods.to_vec(), modes.to_vec());
    Frame::AuthBadMethod(AuthBadMethod { method, result, allowed_methods, allowed_modes })
}

/// A dialing host in each of its states: its name, what comes next in it, and the way there.
type Stage = (&'static str, &'static [&'static str], fn() -> (Host, Script<V2>));

const STAGES: &[Stage] = &[
    ("HELLO_CONNECTING", &["HELLO"], || {
        let (host, mut peer) = begin(lossless());
        peer.send(&banner(1));
        (host, peer)
    }),
    ("AUTH_CONNECTING", &["AUTH_BAD_METHOD", "AUTH_REPLY_MORE", "AUTH_DONE"], || {
        let (host, mut peer) = begin(lossless());
        peer.greet(EntityType::OSD);
        (host, peer)
    }),
    ("AUTH_CONNECTING_SIGN", &["AUTH_SIGNATURE"], || {
        let (host, mut peer) = begin(lossless());
        peer.greet(EntityType::OSD);
        peer.send(&auth_done(mode::CRC));
        (host, peer)
    }),
    ("COMPRESSION_CONNECTING", &["COMPRESSION_DONE"], || {
        let options = Options::default().with(|options| options.compression = vec![Method::SNAPPY]);
        let (host, mut peer) = begin(Setup { options, ..lossless() });
        peer.send(&banner(3));
        peer.send(&hello(EntityType::OSD));
        peer.send(&auth_done(mode::CRC));
        peer.send(&SIGNATURE);
        (host, peer)
    }),
    ("SESSION_CONNECTING", &["SERVER_IDENT", "IDENT_MISSING_FEATURES", "WAIT"], || {
        let (host, mut peer) = begin(lossless());
        peer.admit_new();
        (host, peer)
    }),
    (
        "SESSION_RECONNECTING",
        &["SESSION_RECONNECT_OK", "SESSION_RESET", "SESSION_RETRY", "SESSION_RETRY_GLOBAL", "WAIT"],
        || {
            let (host, mut peer) = begin(lossless());
            peer.admit_new();
            peer.send(&Frame::ServerIdent(server_ident(9, false)));
            peer.close();
            let mut peer = host.dialed::<V2>();
            peer.admit_resumed();
            (host, peer)
        },
    ),
    ("open", &["MESSAGE", "KEEPALIVE2", "KEEPALIVE2_ACK", "ACK"], || {
        let (host, mut peer) = begin(lossless());
        peer.admit_new();
        peer.send(&Frame::ServerIdent(server_ident(9, false)));
        (host, peer)
    }),
];

/// §4.1, §4.3, and §12 "RESET, RETRY in SESSION_CONNECTING: closes. SERVER_IDENT in READY: closes": every frame in
/// every state; a frame that does not come next is a violation that names all there is to know, and a fault.
#[test]
fn frames_in_wrong_states() {
    for (phase, expected, way) in STAGES {
        for frame in frames() {
            let (host, mut peer) = way();
            peer.names();
            host.events(0);
            let name = name(&frame);
            if expected.contains(&name) {
                continue;
            }
            peer.send(&frame);
            peer.expect_closed();
            let error = host.errors(0).concat();
            assert!(error.starts_with(phase), "{phase}: {error}");
            assert!(error.contains(&format!(": {name}, expected ")), "{phase}, {name}: {error}");
            host.until_dial();
        }
    }
}

/// Messenger 2 spec §2: banners, and the revision that follows; both signatures over both transcripts (§7); several
/// steps of authentication (conformance §4.4: a second AUTH_REPLY_MORE aborts Ceph's client).
#[test]
fn revisions_and_modes() {
    for (own, theirs) in [(true, 1), (true, 0), (false, 3), (false, 0)] {
        for chosen in [mode::CRC, mode::SECURE] {
            let mut setup = with_auth(Stepwise::default());
            setup.options.revision_1 = own;
            let lines = Arc::new(Lines::default());
            setup.options.key_log = Some(lines.clone());
            let (host, mut peer) = begin(setup);
            let revision = if own && theirs == 1 { Revision::V2_1 } else { Revision::V2_0 };
            let supported = MsgrFeatures(own.into());
            let own_banner = Banner { supported, required: MsgrFeatures(0) };
            assert_eq!(peer.expect(), Frame::Banner(own_banner));
            peer.send(&banner(theirs));
            peer.wire.decoder.set_revision(revision);
            peer.wire.encoder.set_revision(revision);
            // It says what it dialed.
            let said = Hello { entity_type: EntityType::OSD, peer_addr: addr(PEER) };
            assert_eq!(peer.expect(), Frame::Hello(said));
            peer.send(&hello(EntityType::OSD));
            let request = AuthRequest {
                method: method::CEPHX,
                preferred_modes: vec![mode::SECURE, mode::CRC],
                payload: Bytes::from_static(b"open"),
            };
            assert_eq!(peer.expect(), Frame::AuthRequest(request));
            for _ in 0..3 {
                peer.send(&Frame::AuthReplyMore(Bytes::from_static(b"?")));
                assert_eq!(peer.expect(), Frame::AuthRequestMore(Bytes::from_static(b"more")));
            }
            let heard = sign(&peer.heard);
            peer.send(&auth_done(chosen));
            let sent = sign(&peer.sent);
            let mut secrets = Vec::new();
            if chosen == mode::SECURE {
                secrets.push(Lines::of_connection(&peer.sent));
                peer.seal(Side::Server);
            }
            assert_eq!(lines.take(), secrets);
            assert_eq!(peer.expect(), Frame::AuthSignature(sent));
            // It waits for the server's before it claims a session.
            peer.expect_quiet();
            peer.send(&Frame::AuthSignature(heard));
            assert_eq!(name(&peer.expect()), "CLIENT_IDENT");
            peer.send(&Frame::ServerIdent(server_ident(9, false)));
            assert_eq!(peer.expect_message(), (1, 0, 1));
            assert_eq!(host.told(0), ["open Client"]);
        }
    }
}

/// §4.1 and §10: what is never tried again, even by a lossless client: a banner with an unknown required bit, HELLO of
/// another type, a refused authentication.
#[test]
fn stops() {
    let strange = Banner { supported: MsgrFeatures(!0), required: MsgrFeatures(1 << 20) };
    let rows: [(&str, &[Frame]); 4] = [
        ("requires", &[Frame::Banner(strange)]),
        ("dialed a", &[banner(1), hello(EntityType::MON)]),
        ("error -13", &[banner(1), hello(EntityType::OSD), bad_method(1, -13, &[2], &[1])]),
        ("error -95", &[banner(1), hello(EntityType::OSD), bad_method(1, -95, &[], &[])]),
    ];
    for (why, frames) in rows {
        let (host, mut peer) = begin(lossless());
        frames.iter().for_each(|frame| peer.send(frame));
        assert!(peer.is_closed(), "{why}");
        let events = host.events(0);
        let [Event::Discard, Event::Reset(Some(error))] = &events[..] else { panic!("{events:?}") };
        assert!(error.to_string().contains(why), "{error}");
        host.advance(Duration::from_secs(60));
        assert!(host.dials().is_empty(), "{why}");
    }
}

/// A refusal tells what either side offers and allows.
#[test]
fn refusals_say_what_would_do() {
    let (host, mut peer) = begin(lossless());
    peer.greet(EntityType::OSD);
    peer.send(&bad_method(method::NONE, -95, &[method::CEPHX], &[mode::SECURE]));
    peer.expect();
    peer.expect_closed();
    let expected = "AUTH_CONNECTING, frame 3: peer allows methods [cephx], modes [secure]; \
                    we offered [none] with [crc] (error -95)";
    assert_eq!(host.errors(0), [expected]);
}

/// Conformance §4.4, AUTH_BAD_METHOD: −95 with another method that the client has: it tries that one on the same
/// connection, with the modes that fit; −13 and nothing else allowed: it gives up; after a step too, as the server
/// takes no other method then.
#[test]
fn other_methods() {
    let both = Stepwise { methods: vec![method::CEPHX, method::NONE], ..Stepwise::default() };
    let (_host, mut peer) = begin(with_auth(both.clone()));
    peer.greet(EntityType::OSD);
    peer.expect();
    peer.send(&bad_method(method::CEPHX, -95, &[method::NONE], &[mode::CRC]));
    let Frame::AuthRequest(request) = peer.expect() else { panic!() };
    assert_eq!((request.method, request.preferred_modes), (method::NONE, vec![mode::CRC]));
    // And not back again.
    peer.send(&bad_method(method::NONE, -95, &[method::CEPHX, method::NONE], &[mode::CRC]));
    peer.expect_closed();

    for (steps, refused, allowed) in [
        (0, method::CEPHX, method::CEPHX),
        (0, method::CEPHX, method::GSS),
        (0, method::GSS, method::NONE),
        (1, method::CEPHX, method::NONE),
    ] {
        let (host, mut peer) = begin(with_auth(both.clone()));
        peer.greet(EntityType::OSD);
        (0..steps).for_each(|_| peer.send(&Frame::AuthReplyMore(Bytes::new())));
        peer.names();
        peer.send(&bad_method(refused, -13, &[allowed], &[mode::CRC]));
        peer.expect_closed();
        assert_eq!(host.told(0), ["discard", "reset"]);
    }
}

/// cephx §6: the authorizer of "none" says who the client is, and its number once it has one: a metadata server has one
/// session for each.
#[test]
fn the_number_of_a_client_without_keys() {
    for (own, num, global_id) in [
        (EntityType::CLIENT, -1, 0_u64),
        (EntityType::CLIENT, 4711, 4711),
        // A daemon's name says another number.
        (EntityType::OSD, 3, 0),
    ] {
        let mut setup = with_auth(Stepwise::default());
        setup.auth = Arc::new(AllowAll { name: EntityName::new(EntityType::CLIENT, -1) });
        setup.name = EntityName::new(own, num);
        let (_host, mut peer) = begin(setup);
        peer.greet(EntityType::OSD);
        let Frame::AuthRequest(request) = peer.expect() else { panic!() };
        let mut authorizer = b"\x01\x08\0\0\0\x05\0\0\0admin".to_vec();
        authorizer.extend_from_slice(&global_id.to_le_bytes());
        assert_eq!((request.method, &request.payload[..]), (method::NONE, &authorizer[..]));
    }
}

/// Conformance §4.4, "AUTH_DONE with mode secure though only crc was offered: should be refused"; and secure mode
/// without a secret, or for method none, whatever the server says.
#[test]
fn downgrades() {
    let crc = |auth| {
        let mut setup = with_auth(auth);
        setup.options.modes = vec![mode::CRC].into();
        setup
    };
    let name = EntityName::new(EntityType::OSD, 1);
    let mut none = with_auth(Stepwise::default());
    none.auth = Arc::new(AllowAll { name });
    let mut strict = with_auth(Stepwise::default());
    strict.options.modes = vec![mode::SECURE].into();
    let secret = |secret| with_auth(Stepwise { secret, ..Stepwise::default() });
    let without = "not authenticated: secure mode without a connection secret; peer does not say what it allows; we \
                   offered [cephx] with [secure, crc]";
    for (setup, chosen, error) in [
        // Only crc offered; only secure; method none, where secure is none; a mode that does not exist.
        (crc(Stepwise::default()), 2, "peer allows modes [secure]; we offered [cephx] with [crc] (error 0)"),
        (strict, 1, "peer allows modes [crc]; we offered [cephx] with [secure] (error 0)"),
        (none, 2, "peer allows modes [secure]; we offered [none] with [crc] (error 0)"),
        (secret(64), 7, "peer allows modes [7]; we offered [cephx] with [secure, crc] (error 0)"),
        // No secret; one that is too short.
        (secret(0), mode::SECURE, without),
        (secret(39), mode::SECURE, without),
    ] {
        let (host, mut peer) = begin(setup);
        peer.greet(EntityType::OSD);
        peer.names();
        peer.send(&auth_done(chosen));
        peer.expect_closed();
        assert_eq!(host.errors(0), [format!("AUTH_CONNECTING, frame 3: {error}")]);
    }
    // Method none where only secure will do: it does not even ask.
    let mut setup = lossless();
    setup.options.modes = vec![mode::SECURE].into();
    let (host, mut peer) = begin(setup);
    peer.greet(EntityType::OSD);
    peer.expect_closed();
    let error =
        "HELLO_CONNECTING, frame 2: peer does not say what it allows; we offered [none] with [] (error 0)";
    assert_eq!(host.errors(0), [error]);
    assert!(host.with(0, |session| session.is_closed()));
}

/// Conformance §4.4, "wrong server signature: closes after its own signature": a fault.
#[test]
fn a_wrong_signature() {
    let (host, mut peer) = begin(lossless());
    peer.greet(EntityType::OSD);
    peer.send(&auth_done(mode::CRC));
    peer.send(&Frame::AuthSignature([1; 32]));
    assert_eq!(peer.names(), ["AUTH_REQUEST", "AUTH_SIGNATURE"]);
    peer.expect_closed();
    let error = "AUTH_CONNECTING_SIGN, frame 4: a wrong signature, expected the right one";
    assert_eq!(host.errors(0), [error]);
    assert_eq!(host.until_dial(), Duration::from_millis(200));
}

/// §5.2, and §12 "SERVER_IDENT with required_features all ones and supported only bit 59: accepted".
#[test]
fn idents_of_servers() {
    let of = |text: &str| ServerIdent { addrs: addrs(text), ..server_ident(9, false) };
    let with = |supported| ServerIdent {
        features_required: Features(!0),
        features_supported: supported,
        ..server_ident(9, false)
    };
    let rows = [
        ("as it should be", server_ident(9, false), true),
        ("among others", of("v1:10.0.0.2:6801/2,v2:10.0.0.2:6800/2"), true),
        ("another nonce", of("v2:10.0.0.2:6800/3"), false),
        ("no address", of(""), false),
        ("requires everything", with(Features::MSG_ADDR2), true),
        ("cannot do what is required", with(Features(1)), false),
    ];
    for (what, ident, fine) in rows {
        let (host, mut peer) = begin(lossless());
        peer.admit_new();
        let expected = ident.features_supported.intersection(Features::ALL_PACIFIC);
        peer.send(&Frame::ServerIdent(ident));
        assert_eq!(peer.is_closed(), !fine, "{what}");
        match &host.events(0)[..] {
            [Event::Open { side: Side::Client, features }] => assert_eq!(*features, expected, "{what}"),
            [Event::Trouble(Error::Incompatible { phase, number, source: error })] => {
                let (missing, theirs) = (Features::MSG_ADDR2, Features(1));
                assert_eq!((*phase, *number), ("SESSION_CONNECTING", 5));
                assert_eq!(*error, Incompatible::PeerLacks { missing, required: missing, theirs }, "{what}");
            }
            [Event::Trouble(Error::Violation(violation))] => {
                assert_eq!((violation.phase, violation.number), ("SESSION_CONNECTING", 5));
                assert_eq!(violation.expected, PEER);
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// §5.2, check 3: the server's word on lossy wins in both directions; the own flags and cookie follow the own policy.
#[test]
fn the_servers_word_on_lossy() {
    for policy in [Policy::lossless_client(), Policy::lossy_client(), Policy::lossless_peer()] {
        for lossy in [false, true] {
            let (host, mut peer) = begin(Setup::policy(policy.clone()));
            let ident = peer.admit_new();
            assert_eq!((ident.flags != 0, ident.cookie == 0), (policy.lossy, policy.lossy));
            assert_eq!((ident.target, ident.gid), (addr(PEER), 1));
            assert_eq!(ident.addrs, host.local().addrs());
            peer.send(&Frame::ServerIdent(server_ident(if lossy { 0 } else { 9 }, lossy)));
            assert_eq!(host.with(0, |session| session.policy().lossy), lossy);
            peer.close();
            assert_eq!(host.with(0, |session| session.is_closed()), lossy, "{policy:?}");
        }
    }
}

/// §6.2: "Nothing bounds the number of retries in Ceph. An implementation should." 16 do.
#[test]
fn retries_are_capped() {
    for answer in [Frame::SessionRetry(1), Frame::SessionRetryGlobal(1), Frame::SessionRetry(u64::MAX)] {
        let (host, mut peer) = begin(lossless());
        peer.admit_new();
        peer.send(&Frame::ServerIdent(server_ident(9, false)));
        peer.close();
        host.events(0);
        let mut peer = host.dialed::<V2>();
        peer.admit_resumed();
        let mut claims = 0;
        while !peer.is_closed() {
            peer.send(&answer);
            claims += usize::from(!peer.names().is_empty());
        }
        assert_eq!(claims, if answer == Frame::SessionRetry(u64::MAX) { 0 } else { 16 });
        assert_eq!(host.told(0), ["trouble"]);
    }
}

/// What no decoder takes, in whatever state of a dialed connection: it fails, and the error says where.
#[test]
fn malformed_frames() {
    // Which byte of a HELLO is flipped.
    type Damage = fn(&mut Vec<u8>);
    let rows: [(&str, Damage); 3] = [
        ("crc of the preamble", |bytes| bytes[28] ^= 1),
        ("crc of the segment", |bytes| *bytes.last_mut().unwrap_or(&mut 0) ^= 1),
        ("a segment's byte", |bytes| bytes[40] ^= 1),
    ];
    for (phase, _, way) in STAGES {
        for (what, damage) in &rows {
            let (host, mut peer) = way();
            peer.names();
            host.events(0);
            let mut bytes = script::Dialect::encode(&mut peer.wire, &hello(EntityType::OSD));
            damage(&mut bytes);
            peer.send_bytes(&bytes);
            peer.expect_closed();
            let error = host.errors(0).concat();
            assert!(error.starts_with(&format!("{phase}: ")), "{phase}, {what}: {error}");
            assert!(!error.contains("HELLO, expected"), "{phase}, {what}: {error}");
        }
    }
}

/// An end of file tells in which state it came.
#[test]
fn ends_of_file() {
    let silent = ("BANNER_CONNECTING", &[] as &[_], (|| begin(lossless())) as fn() -> (Host, Script<V2>));
    for (phase, _, way) in [silent].iter().chain(STAGES) {
        let (host, peer) = way();
        host.events(0);
        peer.close();
        assert_eq!(host.errors(0), [format!("{phase}: connection closed by the peer")]);
    }
}

/// A server may not talk for ever: 128 KiB before the signatures, and 10 s from the dial on (§9).
#[test]
fn servers_are_bounded() {
    let (host, mut peer) = begin(with_auth(Stepwise::default()));
    peer.greet(EntityType::OSD);
    let mut rounds = 0;
    while !peer.is_closed() {
        rounds += 1;
        assert!(rounds < 10);
        peer.send(&Frame::AuthReplyMore(vec![0; 40 << 10].into()));
    }
    assert!(host.errors(0).concat().contains("at most 131072"));

    let host = Host::new(lossless());
    host.dial(EntityType::OSD, PEER);
    host.advance(Duration::from_secs(6));
    let mut peer = host.dialed::<V2>();
    peer.greet(EntityType::OSD);
    host.advance(Duration::from_millis(3999));
    assert!(!peer.is_closed());
    host.advance(Duration::from_millis(1));
    assert!(peer.is_closed());
    assert_eq!(host.errors(0), ["AUTH_CONNECTING: timed out"]);
    // The same for a dial without an outcome.
    assert_eq!(host.until_dial(), Duration::from_millis(200));
    host.advance(Duration::from_secs(10));
    assert_eq!(host.told(0), ["trouble"]);
    assert!(host.dials().is_empty());
}

/// §11: an unbound process learns its IP once, from the first HELLO that has one; its ident has one address of type
/// any, without port, with its nonce.
#[test]
fn the_own_address() {
    for (learn, first, expected) in [
        (true, "v2:10.0.0.1:40000/0", "any:10.0.0.1:0/77"),
        (true, "v2:[fd00::1]:40000/0", "any:[fd00::1]:0/77"),
        (true, "v2:0.0.0.0:40000/0", "any:10.9.9.9:0/77"),
        (false, "v2:10.0.0.1:40000/0", ""),
    ] {
        let options = Options::default().with(|options| options.learn_addr = learn);
        let host = Host::new(Setup { addrs: AddrVec::default(), nonce: 77, options, ..lossless() });
        for (round, seen) in [first, "v2:10.9.9.9:40000/0"].into_iter().enumerate() {
            host.dial(EntityType::OSD, PEER);
            let mut peer = host.dialed::<V2>();
            peer.send(&banner(1));
            peer.send(&Frame::Hello(Hello { entity_type: EntityType::OSD, peer_addr: addr(seen) }));
            peer.send(&auth_done(mode::CRC));
            peer.send(&SIGNATURE);
            let ident = std::iter::from_fn(|| peer.next()).last();
            let Some(Frame::ClientIdent(ident)) = ident else { panic!("{ident:?}") };
            let own = ident.addrs.0[0];
            assert_eq!((ident.addrs.0.len(), own.kind, own.nonce), (1, AddrType::ANY, 77));
            if round == 1 && learn {
                assert_eq!(own, addr(expected));
            }
            assert_eq!(own.socket.is_some(), learn && (round == 1 || !first.contains("0.0.0.0")));
        }
    }
}

/// Messenger spec §4.1, step 5: the first address of v1 or v2, whichever it is; "any" is v2 if nothing else was asked
/// for. (§11 has it that v2 comes first wherever it stands: Ceph's `create_connect` does not look that far.)
#[test]
fn what_is_dialed() {
    for (to, target) in [
        ("v2:10.0.0.2:6800/2,v1:10.0.0.2:6801/2", "v2:10.0.0.2:6800/2"),
        ("v1:10.0.0.2:6801/2,v2:10.0.0.2:6800/2", "v1:10.0.0.2:6801/2"),
        ("any:10.0.0.2:6802/2,v2:10.0.0.2:6800/2", "v2:10.0.0.2:6800/2"),
        ("any:10.0.0.2:6800/2", "any:10.0.0.2:6800/2"),
        ("v1:10.0.0.2:6801/2", "v1:10.0.0.2:6801/2"),
    ] {
        let host = Host::new(lossless());
        host.dial(EntityType::OSD, to);
        assert_eq!(host.dials(), [addr(target)], "{to}");
    }
}

/// §10: connect at SERVER_IDENT and again at RECONNECT_OK; refused, then the fault; remote_reset at RESET(full), after
/// which the session lives on; number and features of the peer survive.
#[test]
fn events() {
    let host = Host::new(lossless());
    host.send(host.dial(EntityType::OSD, PEER), 1);
    host.refuse(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(host.told(0), ["refused", "trouble"]);
    assert_eq!(host.until_dial(), Duration::from_millis(200));
    let mut peer = host.dialed::<V2>();
    peer.admit_new();
    peer.send(&Frame::ServerIdent(server_ident(9, false)));
    assert_eq!(host.told(0), ["open Client"]);
    peer.close();
    assert_eq!(host.told(0), ["trouble"]);
    let mut peer = host.dialed::<V2>();
    peer.admit_resumed();
    peer.send(&Frame::SessionReconnectOk(0));
    peer.send(&message_frame(1, 0, 5));
    let events = host.events(0);
    let [Event::Open { side: Side::Client, features }, Event::Message(received)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*features, Features::ALL_PACIFIC);
    assert_eq!(received.source, EntityName::new(EntityType::OSD, 2));
    peer.close();
    host.events(0);
    let mut peer = host.dialed::<V2>();
    peer.admit_resumed();
    peer.send(&Frame::SessionReset { full: true });
    assert_eq!(host.told(0), ["discard", "remote reset"]);
    assert_eq!(name(&peer.expect()), "CLIENT_IDENT");
}
