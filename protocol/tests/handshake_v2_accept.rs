//! Does an accepted connection of v2 get from the first byte to the claim as the spec says?
//!
//! The host accepts, the script is the client: session2 spec §4.2 and §4.3, messenger 2 spec §2, §5 to §7, and the
//! probes of the conformance list §4.1 and §4.2. What becomes of claims is in `handshake_v2_claims.rs`.

#![expect(clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod script;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cephwire_protocol::Options;
use cephwire_protocol::codec::v2::{
    AuthBadMethod, AuthRequest, Banner, Frame, Method, Revision, method, mode,
};
use cephwire_protocol::codec::{EntityType, MessageType, MsgrFeatures, Side};
use script::auth::{Lines, Stepwise, sign};
use script::v2::{SIGNATURE, auth_done, auth_request, banner, frames, hello, ident, message_frame, name};
use script::{Host, Script, Setup, V2};

/// An accepting host in each of its states: its name, what comes next in it, and the way there.
type Stage = (&'static str, &'static [&'static str], fn() -> (Host, Script<V2>));

const STAGES: &[Stage] = &[
    ("HELLO_ACCEPTING", &["HELLO"], || {
        let (host, mut peer) = begin(Setup::default());
        peer.send(&banner(1));
        (host, peer)
    }),
    ("AUTH_ACCEPTING", &["AUTH_REQUEST"], || {
        let (host, mut peer) = begin(Setup::default());
        peer.greet(EntityType::OSD);
        (host, peer)
    }),
    ("AUTH_ACCEPTING_MORE", &["AUTH_REQUEST_MORE"], || {
        let (host, mut peer) = begin(with_auth(Stepwise::default()));
        peer.greet(EntityType::OSD);
        peer.send(&auth_request(method::CEPHX, &[mode::CRC]));
        (host, peer)
    }),
    ("AUTH_ACCEPTING_SIGN", &["AUTH_SIGNATURE"], || {
        let (host, mut peer) = begin(Setup::default());
        peer.greet(EntityType::OSD);
        peer.send(&auth_request(method::NONE, &[mode::CRC]));
        (host, peer)
    }),
    ("COMPRESSION_ACCEPTING", &["COMPRESSION_REQUEST"], || {
        let options = Options::default().with(|options| options.compression = vec![Method::SNAPPY]);
        let (host, mut peer) = begin(Setup { options, ..Setup::default() });
        peer.send(&banner(3));
        peer.send(&hello(EntityType::OSD));
        peer.send(&auth_request(method::NONE, &[mode::CRC]));
        peer.send(&SIGNATURE);
        (host, peer)
    }),
    ("SESSION_ACCEPTING", &["CLIENT_IDENT", "SESSION_RECONNECT"], || {
        let (host, mut peer) = begin(Setup::default());
        peer.enter();
        (host, peer)
    }),
    ("open", &["MESSAGE", "KEEPALIVE2", "KEEPALIVE2_ACK", "ACK"], || {
        let (host, mut peer) = begin(Setup::default());
        peer.enter();
        peer.open(ident(7, 10));
        (host, peer)
    }),
];

fn begin(setup: Setup) -> (Host, Script<V2>) {
    let host = Host::new(setup);
    let peer = host.accept::<V2>();
    (host, peer)
}

fn with_auth(auth: Stepwise) -> Setup {
    let options = Options::default().with(|options| options.modes = vec![mode::SECURE, mode::CRC].into());
    Setup { auth: Arc::new(auth), options, ..Setup::default() }
}

/// §4.2, §4.3, probes of §4.1 ("KEEPALIVE2 or MESSAGE before CLIENT_IDENT; CLIENT_IDENT, RECONNECT or SERVER_IDENT
/// when READY", "second HELLO; CLIENT_IDENT before AUTH_SIGNATURE", "COMPRESSION_REQUEST"): every frame in every
/// state, and a frame that does not come next is a violation that names all there is to know.
#[test]
fn frames_in_wrong_states() {
    for (phase, expected, way) in STAGES {
        for frame in frames() {
            let (host, mut peer) = way();
            peer.names();
            host.events(0);
            let name = name(&frame);
            peer.send(&frame);
            if expected.contains(&name) {
                assert!(!peer.is_closed() || phase.contains("SIGN"), "{phase}: {name}");
                continue;
            }
            peer.expect_closed();
            let errors = host.errors(0);
            assert_eq!(errors.len(), 1, "{phase}: {name}");
            let error = errors.concat();
            assert!(error.starts_with(phase), "{phase}: {error}");
            assert!(error.contains(&format!(": {name}, expected ")), "{phase}, {name}: {error}");
            let says = expected.iter().any(|expected| error.ends_with(expected)) || name == "MESSAGE";
            assert!(says || error.contains(&expected.join(" or ")) || *phase == "open", "{phase}: {error}");
        }
    }
}

/// The same for the state before the banner, where only bytes count: conformance §4.1, wrong magic, v1's banner.
#[test]
fn banners() {
    // The bytes behind "ceph v2\n", and whether they are fine.
    let payload = |supported: u64, required: u64, extra: &[u8]| {
        let mut bytes = (16 + extra.len() as u16).to_le_bytes().to_vec();
        bytes.extend_from_slice(&supported.to_le_bytes());
        bytes.extend_from_slice(&required.to_le_bytes());
        bytes.extend_from_slice(extra);
        [b"ceph v2\n".to_vec(), bytes].concat()
    };
    let rows: Vec<(&str, Vec<u8>, bool)> = vec![
        ("as usual", payload(1, 0, &[]), true),
        ("eight unknown extra bytes", payload(1, 0, &[7; 8]), true),
        ("no features", payload(0, 0, &[]), true),
        ("unknown features", payload(u64::MAX, 0, &[]), true),
        ("revision 1 required", payload(1, 1, &[]), true),
        ("payload of 8 bytes", b"ceph v2\n\x08\0\x01\0\0\0\0\0\0\0".to_vec(), false),
        ("an unknown required bit", payload(u64::MAX, 1 << 40, &[]), false),
        ("compression required", payload(3, 2, &[]), false),
        ("wrong magic", b"ceph v3\n".to_vec(), false),
        ("v1", b"ceph v027".to_vec(), false),
    ];
    for (what, bytes, fine) in rows {
        let (host, mut peer) = begin(Setup::default());
        assert_eq!(name(&peer.expect()), "banner", "the host does not wait");
        if bytes.get(10).is_some_and(|features| features & 1 == 0) {
            peer.wire.decoder.set_revision(Revision::V2_0);
        }
        peer.send_bytes(&bytes);
        assert_eq!(peer.is_closed(), !fine, "{what}");
        assert_eq!(peer.names(), if fine { vec!["HELLO"] } else { vec![] }, "{what}");
        assert_eq!(host.errors(0).len(), usize::from(!fine), "{what}");
    }
}

/// Messenger 2 spec §2: the revision follows from both banners; conformance §4.1 "supported features 0: crc and
/// secure work".
#[test]
fn revisions_and_modes() {
    for (own, theirs) in [(true, 1), (true, 0), (false, 1), (false, 0)] {
        for chosen in [mode::CRC, mode::SECURE] {
            let mut setup = with_auth(Stepwise { steps: 2, ..Stepwise::default() });
            setup.options.revision_1 = own;
            let lines = Arc::new(Lines::default());
            setup.options.key_log = Some(lines.clone());
            let (host, mut peer) = begin(setup);
            let revision = if own && theirs == 1 { Revision::V2_1 } else { Revision::V2_0 };
            match peer.expect() {
                Frame::Banner(Banner { supported, required }) => {
                    assert_eq!((supported, required), (MsgrFeatures(own.into()), MsgrFeatures(0)));
                }
                other => panic!("{other:?}"),
            }
            peer.send(&banner(theirs));
            peer.wire.decoder.set_revision(revision);
            peer.wire.encoder.set_revision(revision);
            peer.send(&hello(EntityType::OSD));
            peer.send(&auth_request(method::CEPHX, &[chosen]));
            peer.send(&Frame::AuthRequestMore(Bytes::new()));
            peer.send(&Frame::AuthRequestMore(Bytes::new()));
            for expected in ["HELLO", "AUTH_REPLY_MORE", "AUTH_REPLY_MORE"] {
                assert_eq!(name(&peer.expect()), expected);
            }
            assert_eq!(peer.expect(), auth_done(chosen));
            // §7: everything received before, of both directions; neither covers signatures.
            let end = peer.wire.decoder.last().offset + peer.wire.decoder.last().len;
            let (own_transcript, theirs) = (sign(&peer.heard[..end as usize]), sign(&peer.sent));
            let secure = chosen == mode::SECURE;
            let secrets = secure.then(|| Lines::of_connection(&peer.heard[..end as usize]));
            assert_eq!(lines.take(), Vec::from_iter(secrets));
            if secure {
                peer.seal(Side::Client);
            }
            assert_eq!(peer.expect(), Frame::AuthSignature(theirs));
            peer.send(&Frame::AuthSignature(own_transcript));
            peer.open(ident(7, 1));
            peer.send(&message_frame(1, 0, 1));
            assert_eq!(host.told(0), ["open Server", "message 1"]);
        }
    }
}

/// Conformance §4.2, modes: the client's order wins, unknown ones are skipped; none in common, an unknown method:
/// AUTH_BAD_METHOD −95 with the lists, and a further AUTH_REQUEST on the same connection works.
#[test]
fn methods_and_modes() {
    let refused = None;
    let rows: &[(u32, &[u32], Option<u32>)] = &[
        (method::CEPHX, &[mode::CRC, mode::SECURE], Some(mode::CRC)),
        (method::CEPHX, &[mode::SECURE, mode::CRC], Some(mode::SECURE)),
        (method::CEPHX, &[77, mode::SECURE], Some(mode::SECURE)),
        (method::CEPHX, &[], refused),
        (method::CEPHX, &[77, 0], refused),
        (method::GSS, &[mode::CRC], refused),
        (method::UNKNOWN, &[mode::CRC], refused),
        (method::NONE, &[mode::SECURE, mode::CRC], Some(mode::CRC)),
        (method::NONE, &[mode::SECURE], refused),
    ];
    for (method, modes, chosen) in rows {
        let methods = vec![method::CEPHX, method::NONE];
        let auth = Stepwise { methods: methods.clone(), steps: 0, ..Stepwise::default() };
        let (_host, mut peer) = begin(with_auth(auth));
        peer.greet(EntityType::OSD);
        if chosen.is_none() {
            for _ in 0..3 {
                peer.send(&auth_request(*method, modes));
                let refusal = AuthBadMethod {
                    method: *method,
                    result: -95,
                    allowed_methods: methods.clone(),
                    allowed_modes: vec![mode::SECURE, mode::CRC],
                };
                assert_eq!(peer.expect(), Frame::AuthBadMethod(refusal), "{method} {modes:?}");
            }
            peer.send(&auth_request(method::CEPHX, &[mode::CRC]));
        } else {
            peer.send(&auth_request(*method, modes));
        }
        assert_eq!(peer.expect(), auth_done(chosen.unwrap_or(mode::CRC)), "{method} {modes:?}");
        // Attempts that failed are in the transcript: the signature says so.
        assert_eq!(name(&peer.expect_any_signature(*chosen == Some(mode::SECURE))), "AUTH_SIGNATURE");
    }
}

/// Conformance §4.2, "wrong key": AUTH_BAD_METHOD −13 after a step; a following AUTH_REQUEST is a fault, as the state
/// is still AUTH_ACCEPTING_MORE. On the first request, another one may follow. EBUSY: closed without a word (§6).
#[test]
fn refusals_of_the_method() {
    for (steps, result) in [(0, -13), (1, -13), (0, -16), (1, -16)] {
        let (host, mut peer) = begin(with_auth(Stepwise { steps, result, ..Stepwise::default() }));
        peer.greet(EntityType::OSD);
        peer.send(&auth_request(method::CEPHX, &[mode::CRC]));
        if steps == 1 {
            assert_eq!(name(&peer.expect()), "AUTH_REPLY_MORE");
            peer.send(&Frame::AuthRequestMore(Bytes::new()));
        }
        if result == -16 {
            peer.expect_closed();
            continue;
        }
        let Frame::AuthBadMethod(refusal) = peer.expect() else { panic!("no refusal") };
        assert_eq!((refusal.method, refusal.result), (method::CEPHX, -13));
        peer.send(&auth_request(method::CEPHX, &[mode::CRC]));
        assert_eq!(peer.is_closed(), steps == 1);
        assert_eq!(host.errors(0).len(), steps);
    }
}

/// Secure mode without a secret is refused (Ceph's monitor aborts: conformance §4.2).
#[test]
fn secure_needs_a_secret() {
    let (host, mut peer) = begin(with_auth(Stepwise { steps: 0, secret: 0, ..Stepwise::default() }));
    peer.greet(EntityType::OSD);
    peer.send(&auth_request(method::CEPHX, &[mode::SECURE]));
    assert!(peer.is_closed());
    assert!(host.errors(0).concat().contains("secure"));
}

/// Conformance §4.1, "wrong AUTH_SIGNATURE: the server's own arrives, then closed".
#[test]
fn a_wrong_signature() {
    let (host, mut peer) = begin(Setup::default());
    peer.greet(EntityType::OSD);
    peer.send(&auth_request(method::NONE, &[mode::CRC]));
    let mut wrong = [0; 32];
    wrong[31] = 1;
    peer.send(&Frame::AuthSignature(wrong));
    assert_eq!(peer.names(), ["AUTH_DONE", "AUTH_SIGNATURE"]);
    peer.expect_closed();
    assert_eq!(host.errors(0), ["AUTH_ACCEPTING_SIGN, frame 4: a wrong signature, expected the right one"]);
}

/// Conformance §4.1, "HELLO with entity type 0, mon, osd, 255: accepted"; the policy follows from it.
#[test]
fn any_entity_type() {
    for kind in [0, 1, 4, 255] {
        let (_host, mut peer) = begin(Setup::default());
        peer.enter_as(EntityType(kind));
        peer.open(ident(1, 1));
    }
}

/// Messenger 2 spec §5.1: the server says how it sees the client: of type 2, with its port, and nonce 0.
#[test]
fn the_server_says_what_it_sees() {
    let (_host, mut peer) = begin(Setup::default());
    peer.send(&banner(1));
    peer.expect();
    let Frame::Hello(hello) = peer.expect() else { panic!("no HELLO") };
    assert_eq!((hello.entity_type, hello.peer_addr), (EntityType::OSD, script::addr("v2:10.0.0.2:40000/0")));
}

/// An unauthenticated peer has 10 s (§9) and 64 KiB: a longer announcement is not even awaited.
#[test]
fn strangers_are_bounded() {
    for bytes in 0..3 {
        let (host, mut peer) = begin(Setup::default());
        peer.send(&banner(1));
        host.advance(Duration::from_secs(9));
        // A byte now and then does not help.
        (0..bytes).for_each(|_| peer.send_bytes(&[1]));
        assert!(!peer.is_closed());
        host.advance(Duration::from_secs(1));
        assert!(peer.is_closed());
        assert_eq!(host.errors(0), ["HELLO_ACCEPTING: timed out"]);
    }
    for (len, fine) in [(60 << 10, true), (70 << 10, false)] {
        let (_host, mut peer) = begin(with_auth(Stepwise::default()));
        peer.greet(EntityType::OSD);
        let payload = vec![0; len].into();
        let request = AuthRequest { method: method::CEPHX, preferred_modes: vec![mode::CRC], payload };
        let bytes = script::Dialect::encode(&mut peer.wire, &Frame::AuthRequest(request));
        // The preamble is enough.
        peer.send_bytes(&bytes[..40]);
        assert_eq!(peer.is_closed(), !fine, "{len}");
    }
}

/// No more than 128 KiB each way before the signatures, whoever talks.
#[test]
fn transcripts_are_bounded() {
    let endless = Stepwise { steps: usize::MAX, ..Stepwise::default() };
    for (own, theirs) in [(40 << 10, 10), (10, 40 << 10)] {
        let (host, mut peer) = begin(with_auth(Stepwise { payload: own, ..endless.clone() }));
        peer.greet(EntityType::OSD);
        peer.send(&auth_request(method::CEPHX, &[mode::CRC]));
        let mut rounds = 0;
        while !peer.is_closed() {
            rounds += 1;
            assert!(rounds < 10);
            peer.send(&Frame::AuthRequestMore(vec![0; theirs].into()));
            peer.take_bytes();
        }
        assert!(host.errors(0).concat().contains("at most 131072"), "{own} {theirs}");
    }
}

/// Conformance §4.1, what no decoder takes, in whatever state: closed, and the error says where.
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
        }
    }
}

/// Conformance §4.1, "MESSAGE of unknown type, with header compat above the receiver's version": Ceph decodes in the
/// messenger, and hangs up. Here messages are opaque, and the application decides. (A header segment of wrong length no
/// decoder takes; see the codec.)
#[test]
fn types_and_versions_are_the_applications_business() {
    let (host, mut peer) = begin(Setup::default());
    peer.enter();
    peer.open(ident(7, 10));
    host.events(0);
    for (seq, kind, compat_version) in [(1, 9999, 0), (2, 70, u16::MAX)] {
        let Frame::Message(mut frame) = message_frame(seq, 0, seq) else { panic!() };
        frame.message.header.kind = MessageType(kind);
        frame.message.header.compat_version = compat_version;
        peer.send(&Frame::Message(frame));
        assert_eq!(peer.expect(), Frame::Ack(seq));
    }
    assert_eq!(host.told(0), ["message 1", "message 2"]);
}

/// An end of file tells in which state it came.
#[test]
fn ends_of_file() {
    for (phase, _, way) in STAGES {
        let (host, peer) = way();
        host.events(0);
        peer.close();
        assert_eq!(host.errors(0), [format!("{phase}: connection closed by the peer")]);
    }
}
