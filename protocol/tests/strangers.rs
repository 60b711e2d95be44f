//! What may a peer cost before it is known? So much time and so much memory, and both can be set.
//!
//! The host accepts, the script is the stranger, in every state of the handshake: `Options::ready_timeout` is counted
//! from the moment of accepting, whatever the stranger says, and however slowly; an announcement longer than
//! `Options::limits_before` allows is not even awaited. Ceph has neither (session spec §16, item 7).

#![expect(clippy::indexing_slicing, reason = "tests")]

mod script;
mod script_v1;

use std::sync::Arc;
use std::time::Duration;

use cephwire_protocol::codec::v1::{Connect, Frame as Frame1, Tag};
use cephwire_protocol::codec::v2::{
    AuthRequest, CompressionRequest, Frame, MessageFrame, Method, method, mode,
};
use cephwire_protocol::codec::{EntityType, Features, Limits, Message};
use cephwire_protocol::{Options, Policies, Policy};
use script::auth::Stepwise;
use script::v2::{SIGNATURE, auth_request, banner, hello, ident, reconnect};
use script::{Dialect, Host, Script, Setup, V1, V2, message};
use script_v1::{Key, LARGER, bytes_of, claim, claim_with};

/// A stranger half way to a session: the state, the way there, and something long enough that may come next.
struct Stage<D: Dialect> {
    phase: &'static str,
    setup: fn() -> Setup,
    way: fn(&mut Script<D>),
    next: fn() -> Vec<D::Frame>,
}

fn plain() -> Setup {
    Setup::default()
}

fn with_steps() -> Setup {
    let options = Options::default().with(|options| options.modes = vec![mode::CRC].into());
    Setup { auth: Arc::new(Stepwise::default()), options, ..Setup::default() }
}

fn with_compression() -> Setup {
    let options = Options::default().with(|options| options.compression = vec![Method::SNAPPY]);
    Setup { options, ..Setup::default() }
}

/// AUTH_REQUEST with so much payload.
fn request(len: usize) -> Frame {
    let payload = vec![0; len].into();
    Frame::AuthRequest(AuthRequest { method: method::CEPHX, preferred_modes: vec![mode::CRC], payload })
}

const STAGES_V2: &[Stage<V2>] = &[
    Stage { phase: "BANNER_ACCEPTING", setup: plain, way: |_| (), next: || vec![banner(1)] },
    Stage {
        phase: "HELLO_ACCEPTING",
        setup: plain,
        way: |peer| peer.send(&banner(1)),
        next: || vec![hello(EntityType::OSD)],
    },
    Stage {
        phase: "AUTH_ACCEPTING",
        setup: with_steps,
        way: |peer| peer.greet(EntityType::OSD),
        next: || vec![request(100)],
    },
    // A method that is refused: the next attempt is awaited.
    Stage {
        phase: "AUTH_BAD_METHOD",
        setup: with_steps,
        way: |peer| {
            peer.greet(EntityType::OSD);
            peer.send(&auth_request(method::GSS, &[mode::CRC]));
            assert_eq!(peer.names(), ["AUTH_BAD_METHOD"]);
        },
        next: || vec![request(100)],
    },
    Stage {
        phase: "AUTH_ACCEPTING_MORE",
        setup: with_steps,
        way: |peer| {
            peer.greet(EntityType::OSD);
            peer.send(&request(0));
            assert_eq!(peer.names(), ["AUTH_REPLY_MORE"]);
        },
        next: || vec![Frame::AuthRequestMore(vec![0; 100].into())],
    },
    Stage {
        phase: "AUTH_ACCEPTING_SIGN",
        setup: plain,
        way: |peer| {
            peer.greet(EntityType::OSD);
            peer.send(&auth_request(method::NONE, &[mode::CRC]));
        },
        next: || vec![SIGNATURE],
    },
    Stage {
        phase: "COMPRESSION_ACCEPTING",
        setup: with_compression,
        way: |peer| {
            peer.send(&banner(3));
            peer.send(&hello(EntityType::OSD));
            peer.send(&auth_request(method::NONE, &[mode::CRC]));
            peer.send(&SIGNATURE);
        },
        next: || vec![Frame::CompressionRequest(CompressionRequest { compress: false, methods: vec![] })],
    },
    Stage {
        phase: "SESSION_ACCEPTING",
        setup: plain,
        way: |peer| peer.enter(),
        next: || vec![Frame::ClientIdent(ident(7, 1))],
    },
    // A claim that is refused: the next one is awaited.
    Stage {
        phase: "SESSION_ACCEPTING",
        setup: plain,
        way: |peer| {
            peer.enter();
            peer.send(&reconnect((1, 2), 3, 4, 5));
            assert_eq!(peer.names(), ["SESSION_RESET"]);
        },
        next: || vec![Frame::ClientIdent(ident(7, 1))],
    },
];

fn with_key() -> Setup {
    Setup { auth: Arc::new(Key { challenges: true, signs: false }), ..Setup::default() }
}

fn demanding() -> Setup {
    Setup::policy(Policy::lossless_peer().requiring(Features::MSG_AUTH))
}

fn connects() -> Vec<Frame1> {
    vec![Frame1::Connect(claim(1, 0))]
}

/// After a connect that is refused with this tag.
fn refused(peer: &mut Script<V1>, connect: Connect, tag: Tag) {
    peer.greet(LARGER);
    assert_eq!(peer.tag_of(connect), tag);
}

const STAGES_V1: &[Stage<V1>] = &[
    Stage {
        phase: "the banner",
        setup: plain,
        way: |_| (),
        next: || vec![Frame1::Banner, Frame1::Address(script::addr(LARGER))],
    },
    Stage {
        phase: "the address",
        setup: plain,
        way: |peer| peer.send(&Frame1::Banner),
        next: || vec![Frame1::Address(script::addr(LARGER))],
    },
    Stage { phase: "the connect", setup: plain, way: |peer| peer.greet(LARGER), next: connects },
    Stage {
        phase: "BADPROTOVER",
        setup: plain,
        way: |peer| refused(peer, Connect { protocol_version: 5, ..claim(1, 0) }, Tag::BadProtoVer),
        next: connects,
    },
    Stage {
        phase: "FEATURES",
        setup: demanding,
        way: |peer| refused(peer, Connect { features: Features(1), ..claim(1, 0) }, Tag::Features),
        next: connects,
    },
    Stage {
        phase: "BADAUTHORIZER",
        setup: with_key,
        way: |peer| refused(peer, claim_with(1, 0, b"forged"), Tag::BadAuthorizer),
        next: connects,
    },
    Stage {
        phase: "CHALLENGE_AUTHORIZER",
        setup: with_key,
        way: |peer| refused(peer, claim_with(1, 0, script_v1::TICKET), Tag::ChallengeAuthorizer),
        next: connects,
    },
    Stage {
        phase: "RESETSESSION",
        setup: plain,
        way: |peer| refused(peer, claim(1, 5), Tag::ResetSession),
        next: connects,
    },
    Stage {
        phase: "SEQ, its number",
        setup: plain,
        way: |peer| {
            peer.greet(LARGER);
            assert_eq!(peer.tag(1, 0), Tag::Seq);
            peer.read_seq();
        },
        next: || vec![Frame1::Seq(0)],
    },
];

/// At most so many bytes drip in.
const DRIPS: usize = 20;

/// Half of the time passes before the stranger says anything, the rest in the state: silently, or while one byte
/// after the other comes of what is awaited.
fn time_is_bounded<D: Dialect>(stages: &[Stage<D>], says: fn(&str) -> String) {
    let default = Options::default().ready_timeout;
    assert_eq!(default, Duration::from_secs(10));
    for ready_timeout in [default, Duration::from_secs(4), Duration::from_secs(60)] {
        for drips in [false, true] {
            for stage in stages {
                let mut setup = (stage.setup)();
                setup.options.ready_timeout = ready_timeout;
                let host = Host::new(setup);
                let mut peer = host.accept::<D>();
                host.advance(ready_timeout / 2);
                (stage.way)(&mut peer);
                let what = format!("{}, {ready_timeout:?}, drips: {drips}", stage.phase);
                let mut bytes: Vec<u8> =
                    (stage.next)().iter().flat_map(|frame| peer.wire.encode(frame)).collect();
                // The last byte never comes.
                bytes.truncate(DRIPS.min(bytes.len() - 1));
                let pause = ready_timeout / 2 / (bytes.len() as u32 + 1);
                for byte in bytes {
                    host.advance(pause);
                    if drips {
                        peer.send_bytes(&[byte]);
                    }
                    assert!(!peer.is_closed(), "{what}: too early");
                }
                host.advance(pause - Duration::from_millis(1));
                assert!(!peer.is_closed(), "{what}: too early");
                host.advance(Duration::from_millis(2));
                assert!(peer.is_closed(), "{what}: still open");
                let error = host.errors(0).concat();
                assert!(error.contains(&says(stage.phase)), "{what}: {error}");
            }
        }
    }
}

#[test]
fn time_is_bounded_in_every_state_v2() {
    // Why it was refused says more than that it came to nothing.
    time_is_bounded(STAGES_V2, |phase| match phase {
        "AUTH_BAD_METHOD" => {
            "AUTH_ACCEPTING, frame 3: we allow methods [cephx], modes [crc]; peer offered [gss] with [crc]"
                .to_owned()
        }
        _ => format!("{phase}: timed out"),
    });
}

#[test]
fn time_is_bounded_in_every_state_v1() {
    time_is_bounded(STAGES_V1, |phase| match phase {
        "BADPROTOVER" => "ACCEPTING, frame 3: protocol version: the peer has 5, this side 0".to_owned(),
        "FEATURES" => "ACCEPTING, frame 3: the peer lacks features".to_owned(),
        "BADAUTHORIZER" => "not authenticated: refused with error -13".to_owned(),
        _ => "timed out".to_owned(),
    });
}

/// A limit of its own for each kind of announcement, all of them far from the default.
fn limits(len: u32) -> Limits {
    Limits { front: len, middle: len, data: len, authorizer: len, handshake: len, ..Limits::default() }
}

fn sized(parts: [usize; 3]) -> Message {
    let [front, middle, data] = parts.map(|len| vec![7; len].into());
    Message { front, middle, data, ..message(1) }
}

/// The longest that may be announced, by what was set; nothing for the default.
const LONGEST: [(Option<u32>, usize); 3] = [(None, 64 << 10), (Some(1000), 1000), (Some(200_000), 200_000)];

fn limited(setup: Setup, limit: Option<u32>) -> Host {
    let mut options = setup.options.clone();
    if let Some(limit) = limit {
        options.limits_before = limits(limit);
    }
    Host::new(Setup { options, ..setup })
}

/// v2: a preamble is enough, in every state behind the banner. (It comes before the question whether such a frame may
/// come at all.)
#[test]
fn memory_is_bounded_in_every_state_v2() {
    for (limit, longest) in LONGEST {
        for stage in &STAGES_V2[1..] {
            // AUTH_REQUEST has 12 bytes besides, and AUTH_REQUEST_MORE 4.
            let long = |more: usize| {
                let parts = [[longest + more, 0, 0], [0, longest + more, 0], [0, 0, longest + more]];
                let messages = parts.map(|parts| {
                    Frame::Message(MessageFrame { seq: 1, message: sized(parts), ..MessageFrame::default() })
                });
                let others = [
                    request(longest - 16 + more),
                    Frame::AuthRequestMore(vec![0; longest - 4 + more].into()),
                ];
                messages.into_iter().chain(others)
            };
            for (frame, fine) in long(0).map(|frame| (frame, true)).chain(long(1).map(|frame| (frame, false)))
            {
                let host = limited((stage.setup)(), limit);
                let mut peer = host.accept::<V2>();
                (stage.way)(&mut peer);
                let bytes = peer.wire.encode(&frame);
                peer.send_bytes(&bytes[..32]);
                let what = format!("{}, {limit:?}, {}", stage.phase, script::v2::name(&frame));
                assert_eq!(peer.is_closed(), !fine, "{what}");
                if !fine {
                    let error = host.errors(0).concat();
                    assert!(error.contains(&longest.to_string()), "{what}: {error}");
                }
            }
        }
    }
}

/// v2: the length of a banner, which fits into two bytes.
#[test]
fn banners_are_bounded() {
    for (limit, len, fine) in [(None, u16::MAX, true), (Some(1000), 1000, true), (Some(1000), 1001, false)] {
        let host = limited(Setup::default(), limit);
        let mut peer = host.accept::<V2>();
        peer.send_bytes(b"ceph v2\n");
        peer.send_bytes(&len.to_le_bytes());
        assert_eq!(peer.is_closed(), !fine, "{limit:?}, {len}");
    }
}

/// v1: the length of an authorizer is all that a stranger may choose; at the first connect, and at the next ones.
#[test]
fn memory_is_bounded_v1() {
    for (limit, longest) in LONGEST {
        for stage in STAGES_V1.iter().filter(|stage| (stage.next)() == connects()) {
            for (more, fine) in [(0, true), (1, false)] {
                let host = limited((stage.setup)(), limit);
                let mut peer = host.accept::<V1>();
                (stage.way)(&mut peer);
                let mut bytes = peer.wire.encode(&connects()[0]);
                bytes[28..32].copy_from_slice(&(longest as u32 + more).to_le_bytes());
                peer.send_bytes(&bytes);
                assert_eq!(peer.is_closed(), !fine, "{}, {limit:?}", stage.phase);
                if !fine {
                    let error = host.errors(0).concat();
                    assert!(error.contains(&longest.to_string()), "{}: {error}", stage.phase);
                }
            }
        }
    }
}

/// Who is known may send more: then `Options::limits` count.
#[test]
fn known_peers_have_limits_of_their_own() {
    let options = Options::default().with(|options| {
        options.limits_before = limits(1000);
        options.limits = limits(300_000);
    });
    let setup = || Setup {
        options: options.clone(),
        policies: Policies::all(Policy::lossless_peer()),
        ..Setup::default()
    };
    for (len, fine) in [(300_000, true), (300_001, false)] {
        let frame = MessageFrame { seq: 1, message: sized([0, 0, len]), ..MessageFrame::default() };
        let host = Host::new(setup());
        let mut peer = host.accept::<V2>();
        peer.enter();
        peer.open(ident(7, 1));
        peer.send(&Frame::Message(frame));
        assert_eq!(peer.is_closed(), !fine);
        assert_eq!(host.told(0).contains(&"message 1".to_owned()), fine);

        let host = Host::new(setup());
        let (mut peer, session) = script_v1::opened(&host, LARGER, claim(1, 0));
        let frame = cephwire_protocol::codec::v1::MessageFrame {
            seq: 1,
            message: sized([0, 0, len]),
            ..cephwire_protocol::codec::v1::MessageFrame::default()
        };
        let bytes = bytes_of(&mut peer, &frame);
        peer.send_bytes(&bytes);
        assert_eq!(peer.is_closed(), !fine);
        assert_eq!(host.told(session).contains(&"message 1".to_owned()), fine);
    }
}
