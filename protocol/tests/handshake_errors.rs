//! Does an error say enough? Phase, frame, what was found and what expected, what either side offers and allows: for
//! everything that can go wrong in a handshake of v1, on both sides, and for the refusals of both versions.
//!
//! v1 has no frames with tags in its handshake: each side reads the structure that comes next. So a wrong one is
//! malformed at the first byte that tells, or, where any bytes will do, is taken for what was expected.
//! (v2: `frames_in_wrong_states` in `handshake_v2_dial.rs` and `handshake_v2_accept.rs`.)

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod script;
mod script_v1;

use std::sync::Arc;

use bytes::Buf;
use cephwire_protocol::codec::v1::{Connect, ConnectReply, Encoder, Frame, Tag};
use cephwire_protocol::codec::v2::{self, AuthBadMethod, Banner, ClientIdent, method, mode};
use cephwire_protocol::codec::{Chunks, EntityType, Features, Flaw, Malformed, MsgrFeatures, Timestamp};
use cephwire_protocol::{Denied, Error, Event, Incompatible, Options, Policies, Policy, Violation};
use script::auth::Stepwise;
use script::v2::{PEER, auth_request, hello, ident};
use script::{Host, Script, Setup, V1, V2, addr};
use script_v1::{Key, LARGER, claim, claim_with, greeted, numbered, reply};

const OSD: EntityType = EntityType::OSD;
const IDENTIFY: &str = "CONNECTING_WAIT_BANNER_AND_IDENTIFY";
const CONNECTING: &str = "CONNECTING_SEND_CONNECT_MSG";

fn encoded(frame: &Frame) -> Vec<u8> {
    let mut chunks = Chunks::new();
    Encoder::new().encode(frame, &mut chunks).unwrap();
    chunks.copy_to_bytes(chunks.remaining()).to_vec()
}

/// One of each, as bytes. None begins as another one does, and only the reply with a tag of replies.
fn structures() -> Vec<(&'static str, Vec<u8>)> {
    let of = |frame: Frame| encoded(&frame);
    vec![
        ("banner", of(Frame::Banner)),
        ("address", of(Frame::Address(addr(LARGER)))),
        ("connect", of(Frame::Connect(claim(1, 0)))),
        ("connect_reply", of(Frame::Reply(reply(Tag::Ready)))),
        ("in_seq", of(Frame::Seq(0x2020))),
        ("MSG", of(numbered(1, 1))),
        ("ACK", of(Frame::Ack(1))),
        ("KEEPALIVE", of(Frame::Keepalive)),
        ("KEEPALIVE2", of(Frame::Keepalive2(Timestamp::default()))),
        ("CLOSE", of(Frame::Close)),
        ("garbage", vec![0xee; 300]),
    ]
}

/// The only error that the newest session's application was told of.
#[track_caller]
fn error(host: &Host) -> Error {
    let mut errors: Vec<Error> = host
        .events(host.sessions() - 1)
        .into_iter()
        .filter_map(|event| match event {
            Event::Trouble(error) | Event::Rejected(error) | Event::Reset(Some(error)) => Some(error),
            _ => None,
        })
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

/// A step of v1's handshake: the phase, what is expected, at which offset it begins, how the first wrong byte is
/// called and judged, and how one gets there.
struct Stage {
    phase: &'static str,
    expected: &'static str,
    offset: u64,
    field: &'static str,
    flaw: fn(u64) -> Flaw,
    way: fn() -> (Host, Script<V1>),
}

fn dialing(heard: usize) -> (Host, Script<V1>) {
    let host = Host::new(Setup::policy(Policy::lossless_client()));
    host.dial(OSD, LARGER);
    let mut script = host.dialed::<V1>();
    let own = Frame::Address(addr("v1:10.0.0.9:50000/0"));
    let said = [Frame::Banner, Frame::Address(addr(LARGER)), own];
    said.iter().take(heard).for_each(|frame| script.send(frame));
    (host, script)
}

fn accepting(heard: usize) -> (Host, Script<V1>) {
    let host = Host::new(Setup::policy(Policy::lossless_peer_reuse()));
    let mut script = host.accept::<V1>();
    let said = [Frame::Banner, Frame::Address(addr(LARGER))];
    said.iter().take(heard).for_each(|frame| script.send(frame));
    (host, script)
}

fn no_banner(found: u64) -> Flaw {
    Flaw::Value { expected: b'c'.into(), found }
}

fn no_address(found: u64) -> Flaw {
    Flaw::Value { expected: 0, found }
}

fn no_reply(found: u64) -> Flaw {
    Flaw::Unknown { found }
}

/// Those where the first byte tells.
const STAGES: &[Stage] = &[
    Stage {
        phase: IDENTIFY,
        expected: "banner",
        offset: 0,
        field: "prefix",
        flaw: no_banner,
        way: || dialing(0),
    },
    Stage {
        phase: IDENTIFY,
        expected: "address",
        offset: 9,
        field: "marker",
        flaw: no_address,
        way: || dialing(1),
    },
    Stage {
        phase: IDENTIFY,
        expected: "address",
        offset: 9 + 136,
        field: "marker",
        flaw: no_address,
        way: || dialing(2),
    },
    Stage {
        phase: CONNECTING,
        expected: "connect_reply",
        offset: 9 + 2 * 136,
        field: "tag",
        flaw: no_reply,
        way: || dialing(3),
    },
    Stage {
        phase: "ACCEPTING",
        expected: "banner",
        offset: 0,
        field: "prefix",
        flaw: no_banner,
        way: || accepting(0),
    },
    Stage {
        phase: "ACCEPTING",
        expected: "address",
        offset: 9,
        field: "marker",
        flaw: no_address,
        way: || accepting(1),
    },
];

#[test]
fn v1_wrong_structures() {
    for stage in STAGES {
        for (name, bytes) in structures() {
            if name == stage.expected {
                continue;
            }
            let (host, mut script) = (stage.way)();
            script.send_bytes(&bytes);
            // A reply is read as a whole.
            script.send_bytes(&[0; 26]);
            script.expect_closed();
            let Stage { phase, expected: frame, field, offset, .. } = *stage;
            let flaw = (stage.flaw)(bytes[0].into());
            let expected = Error::Malformed { phase, source: Malformed { frame, field, offset, flaw } };
            assert_eq!(error(&host), expected, "{name} for {frame}");
        }
    }
    // Further on: the other version's banner, and another version of this one.
    for (banner, offset, expected, found) in
        [(b"ceph v2\n\x10", 6, b'0', b'2'), (b"ceph v028", 8, b'7', b'8')]
    {
        for (phase, (host, mut script)) in [(IDENTIFY, dialing(0)), ("ACCEPTING", accepting(0))] {
            script.send_bytes(banner);
            let flaw = Flaw::Value { expected: expected.into(), found: found.into() };
            let malformed = Malformed { frame: "banner", field: "prefix", offset, flaw };
            assert_eq!(error(&host), Error::Malformed { phase, source: malformed });
        }
    }
}

/// Each structure without its last byte, and then the end of the stream.
#[test]
fn v1_short_structures() {
    let seq = |reply: ConnectReply| encoded(&Frame::Reply(ConnectReply { connect_seq: 1, ..reply }));
    let accepted = [seq(reply(Tag::Seq)), vec![0; 8]].concat();
    let claimed = [encoded(&Frame::Connect(claim(1, 0))), vec![0; 8]].concat();
    let of = |name: &str| structures().into_iter().find(|(other, _)| *other == name).unwrap().1;
    for (phase, (host, mut script), bytes) in [
        (IDENTIFY, dialing(0), of("banner")),
        (IDENTIFY, dialing(1), of("address")),
        (IDENTIFY, dialing(2), of("address")),
        (CONNECTING, dialing(3), of("connect_reply")),
        (CONNECTING, dialing(3), accepted),
        ("ACCEPTING", accepting(0), of("banner")),
        ("ACCEPTING", accepting(1), of("address")),
        ("ACCEPTING", accepting(2), of("connect")),
        ("ACCEPTING_HANDLED_CONNECT_MSG", accepting(2), claimed),
    ] {
        script.send_bytes(&bytes[..bytes.len() - 1]);
        assert!(!script.is_closed(), "{phase}");
        script.close();
        assert_eq!(error(&host), Error::Closed { phase });
        assert_eq!(Error::Closed { phase }.to_string(), format!("{phase}: connection closed by the peer"));
    }
}

/// Where connect is read, any 33 bytes are one: what they say is judged.
#[test]
fn v1_wrong_connects() {
    let connect = |change: fn(&mut Connect)| {
        let mut connect = claim(1, 0);
        change(&mut connect);
        encoded(&Frame::Connect(connect))
    };
    let phase = "ACCEPTING";
    // The third frame: behind the banner and the address.
    let incompatible = |error| Error::Incompatible { phase, number: 3, source: error };
    let features = Features(Features::ALL_PACIFIC.0 & !Features::UID.0);
    let lacks = Incompatible::PeerLacks { missing: Features::UID, required: Features::UID, theirs: features };
    let long = |offset, found| {
        let (frame, field, flaw) = ("connect", "authorizer_len", Flaw::TooLong { limit: 65_536, found });
        Error::Malformed { phase, source: Malformed { frame, field, offset, flaw } }
    };
    let offset = 9 + 136 + 28;
    for (bytes, expected, text) in [
        (
            connect(|connect| connect.protocol_version = 7),
            incompatible(Incompatible::ProtocolVersion { theirs: 7, ours: 0 }),
            "ACCEPTING, frame 3: protocol version: the peer has 7, this side 0",
        ),
        (
            connect(|connect| connect.features.0 &= !Features::UID.0),
            incompatible(lacks),
            "ACCEPTING, frame 3: the peer lacks features Features(0x1 UID): this side requires 0x1, the peer has \
             0x3f01cfbdfffdfffe",
        ),
        (
            vec![0xff; 33],
            long(offset, u32::MAX.into()),
            "ACCEPTING: connect: authorizer_len at stream offset 173: 4294967295 bytes announced, the limit is 65536",
        ),
    ] {
        let policy = Policy::lossless_peer_reuse().requiring(Features::UID);
        let host = Host::new(Setup::policy(policy));
        let mut script = greeted(&host, LARGER);
        script.send_bytes(&bytes);
        // Who is only refused may try again; if it goes away, that is why.
        if !script.is_closed() {
            script.close();
        }
        let found = error(&host);
        assert_eq!((&found, found.to_string().as_str()), (&expected, text));
    }
    // A client that did better in the end was not refused.
    let host = Host::new(Setup::policy(Policy::lossless_peer_reuse()));
    let mut script = greeted(&host, LARGER);
    script.send_bytes(&connect(|connect| connect.protocol_version = 7));
    script.send_bytes(&connect(|connect| connect.connect_seq = 7));
    script.close();
    assert_eq!(error(&host), Error::Closed { phase });
    // Too many of them.
    let host = Host::new(Setup::policy(Policy::lossless_peer_reuse()));
    let mut script = greeted(&host, LARGER);
    (0..17).for_each(|_| script.send_bytes(&connect(|connect| connect.protocol_version = 7)));
    let (found, expected) = ("one connect more".to_owned(), "at most 16 on a connection".to_owned());
    assert_eq!(error(&host), Violation { phase, number: 19, found, expected }.into());
}

/// What a server of v1 says that makes no sense, in well-formed bytes.
#[test]
fn v1_wrong_servers() {
    let violation = |phase, number, found: &str, expected: &str| -> Error {
        Violation { phase, number, found: found.to_owned(), expected: expected.to_owned() }.into()
    };
    let (host, mut script) = dialing(1);
    script.send(&Frame::Address(addr("v1:10.0.0.2:6800/3")));
    let expected = "v1:10.0.0.2:6800/2, the address dialed";
    assert_eq!(error(&host), violation(IDENTIFY, 2, "v1:10.0.0.2:6800/3", expected));
    // A monitor is shown no authorizer, and may not ask for more.
    let host = Host::new(Setup::policy(Policy::lossless_client()));
    host.dial(EntityType::MON, LARGER);
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    script.send(&Frame::Reply(reply(Tag::ChallengeAuthorizer)));
    let expected = "no challenge: no authorizer was sent";
    assert_eq!(error(&host), violation(CONNECTING, 4, "CHALLENGE_AUTHORIZER", expected));
    // An authorizer that nobody needs.
    let (host, mut script) = dialing(3);
    let mut bytes = encoded(&Frame::Reply(reply(Tag::Seq)));
    bytes[23] = 2;
    script.send_bytes(&bytes);
    let (offset, flaw) = (9 + 2 * 136 + 21, Flaw::TooLong { limit: 65_536, found: 0x2_0000 });
    let error_ = Malformed { frame: "connect_reply", field: "authorizer_len", offset, flaw };
    assert_eq!(error(&host), Error::Malformed { phase: CONNECTING, source: error_ });
}

/// Behind the handshake: what is no item.
#[test]
fn v1_wrong_items() {
    let (host, mut script) = dialing(3);
    script.send(&Frame::Reply(ConnectReply { connect_seq: 1, ..reply(Tag::Ready) }));
    script.send_bytes(b"ceph v027");
    let (offset, flaw) = (9 + 2 * 136 + 26, Flaw::Unknown { found: b'c'.into() });
    let malformed = Malformed { frame: "item", field: "tag", offset, flaw };
    assert_eq!(error(&host), Error::Malformed { phase: "open", source: malformed });
}

/// A server knows why it refused; who was refused is told an errno at most.
#[test]
fn v1_denied() {
    let policies = Policies::all(Policy::lossless_peer_reuse());
    let host = Host::new(Setup { policies, auth: Arc::new(Key::default()), ..Setup::default() });
    let mut script = greeted(&host, LARGER);
    assert_eq!(script.tag_of(claim_with(1, 0, b"forged")), Tag::BadAuthorizer);
    script.close();
    let error = error(&host);
    assert_eq!(
        error.to_string(),
        "ACCEPTING, frame 3: not authenticated: refused with error -13; we allow methods [cephx]; peer offered [cephx] \
         with []"
    );
    let Error::Denied { source: denied, .. } = error else { panic!("{error:?}") };
    assert_eq!((denied.accepting, denied.result, denied.is_final), (true, -13, false));
    // And who did better in the end was not.
    let mut script = greeted(&host, LARGER);
    script.tag_of(claim_with(1, 0, b"forged"));
    assert_eq!(script.tag_of(claim_with(1, 7, script_v1::TICKET)), Tag::ResetSession);
    script.close();
    assert_eq!(self::error(&host), Error::Closed { phase: "ACCEPTING" });
}

fn both_modes() -> Options {
    Options::default().with(|options| options.modes = vec![mode::SECURE, mode::CRC].into())
}

/// What the other side says, with the same words.
#[test]
fn v2_denied() {
    let options = both_modes();
    let with = |steps, result| {
        let auth = Arc::new(Stepwise { steps, result, ..Stepwise::default() });
        Host::new(Setup { auth, options: options.clone(), ..Setup::default() })
    };
    let says = |host: &Host, requests: &[(u32, u32)], more: usize| {
        let mut peer = host.accept::<V2>();
        peer.greet(OSD);
        requests.iter().for_each(|(method, mode)| peer.send(&auth_request(*method, &[*mode])));
        (0..more).for_each(|_| peer.send(&v2::Frame::AuthRequestMore(bytes::Bytes::new())));
        if !peer.is_closed() {
            peer.close();
        }
        error(host).to_string()
    };
    let allowed = "we allow methods [cephx], modes [secure, crc]";
    let (none, cephx) = ((method::NONE, mode::CRC), (method::CEPHX, mode::CRC));
    assert_eq!(
        says(&with(0, 0), &[none], 0),
        format!("AUTH_ACCEPTING, frame 3: {allowed}; peer offered [none] with [crc] (error -95)")
    );
    assert_eq!(
        says(&with(0, 0), &[(method::CEPHX, 9)], 0),
        format!("AUTH_ACCEPTING, frame 3: {allowed}; peer offered [cephx] with [9] (error -95)")
    );
    for (result, steps) in [(-13, 0), (-13, 1), (-16, 0), (-16, 1)] {
        let (phase, number) = if steps == 0 { ("AUTH_ACCEPTING", 3) } else { ("AUTH_ACCEPTING_MORE", 4) };
        let text = format!("not authenticated: refused with error {result}; {allowed}");
        assert_eq!(
            says(&with(steps, result), &[cephx], steps),
            format!("{phase}, frame {number}: {text}; peer offered [cephx] with [crc]")
        );
    }
    // Let in after all, it goes away before its signature.
    assert_eq!(says(&with(0, 0), &[none, cephx], 0), "AUTH_ACCEPTING_SIGN: connection closed by the peer");
}

/// A client that tries another method keeps what the server said of the first one.
#[test]
fn v2_denied_in_the_end() {
    let policies = Policies::all(Policy::lossless_client());
    let auth = Stepwise { methods: vec![method::CEPHX, method::NONE], ..Stepwise::default() };
    let options = both_modes();
    let host = Host::new(Setup { auth: Arc::new(auth), options, policies, ..Setup::default() });
    host.dial(OSD, PEER);
    let mut peer = host.dialed::<V2>();
    peer.greet(OSD);
    let (allowed_methods, allowed_modes) = (vec![method::NONE], vec![mode::CRC]);
    let refusal = AuthBadMethod { method: method::CEPHX, result: -95, allowed_methods, allowed_modes };
    peer.send(&v2::Frame::AuthBadMethod(refusal));
    peer.send(&script::v2::auth_done(mode::SECURE));
    let Error::Denied { phase: "AUTH_CONNECTING", number: 4, source: error } = error(&host) else { panic!() };
    let expected = Denied {
        offered_methods: vec![method::CEPHX, method::NONE],
        offered_modes: vec![mode::CRC],
        allowed_methods: vec![method::NONE],
        allowed_modes: vec![mode::SECURE],
        ..Denied::default()
    };
    assert_eq!(*error, expected);
}

#[test]
fn v2_incompatible() {
    // A banner that requires what nobody has.
    let (supported, required) = (MsgrFeatures::REVISION_1, MsgrFeatures(1 << 40));
    let theirs = Banner { supported, required };
    let ours = Banner { supported: MsgrFeatures::REVISION_1, required: MsgrFeatures(0) };
    let host = Host::new(Setup::default());
    let mut peer = host.accept::<V2>();
    peer.send(&v2::Frame::Banner(theirs));
    let found = error(&host);
    let text = "BANNER_ACCEPTING, frame 1: msgr2 features: the peer has MsgrFeatures(0x1 REVISION_1) and requires \
                MsgrFeatures(0x10000000000 +0x10000000000); this side has MsgrFeatures(0x1 REVISION_1) and requires \
                MsgrFeatures(0x0)";
    assert_eq!(found.to_string(), text);
    let msgr = Incompatible::Msgr { theirs, ours };
    assert_eq!(found, Error::Incompatible { phase: "BANNER_ACCEPTING", number: 1, source: msgr });

    // Features of the idents, either way; the type in HELLO.
    let host = Host::new(Setup::policy(Policy::lossless_client()));
    host.dial(OSD, PEER);
    let mut peer = host.dialed::<V2>();
    peer.admit_new();
    peer.send(&v2::Frame::IdentMissingFeatures(Features(1 << 62)));
    let (missing, ours) = (Features(1 << 62), Features::ALL_PACIFIC);
    let (number, requires) = (5, Incompatible::PeerRequires { missing, ours, theirs: None });
    let found = error(&host);
    assert_eq!(found, Error::Incompatible { phase: "SESSION_CONNECTING", number, source: requires });
    let text = "SESSION_CONNECTING, frame 5: the peer requires features Features(0x4000000000000000 RESERVED): this \
                side has 0x3f01cfbdfffdffff";
    assert_eq!(found.to_string(), text);

    let host = Host::new(Setup::policy(Policy::lossless_peer().requiring(Features::UID)));
    let mut peer = host.accept::<V2>();
    peer.enter();
    let theirs = Features::MSG_ADDR2;
    peer.send(&v2::Frame::ClientIdent(ClientIdent { features_supported: theirs, ..ident(7, 1) }));
    peer.close();
    let (missing, required) = (Features::UID, Features::UID.union(Features::MSG_ADDR2));
    let (phase, lacks) = ("SESSION_ACCEPTING", Incompatible::PeerLacks { missing, required, theirs });
    assert_eq!(error(&host), Error::Incompatible { phase, number: 5, source: lacks });

    let host = Host::new(Setup::default());
    host.dial(OSD, PEER);
    let mut peer = host.dialed::<V2>();
    peer.send(&script::v2::banner(1));
    peer.send(&hello(EntityType::MON));
    assert_eq!(error(&host).to_string(), "HELLO_CONNECTING, frame 2: dialed a osd, found a mon");
}
