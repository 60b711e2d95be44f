//! Does a session tell what its connection negotiated, when, and how far a failed attempt got?
//!
//! A script plays the peer, and a second passes between any two of its steps.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod script;
mod script_v1;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cephwire_protocol::auth::{Answer, Auth, Client, Entity, Peer, Request, Server};
use cephwire_protocol::codec::v1::{self, Expect, Tag};
use cephwire_protocol::codec::v2::{
    AuthBadMethod, AuthDone, Banner, CompressionDone, Frame, Method, Revision, method, mode,
};
use cephwire_protocol::codec::{EntityName, EntityType, Features, MsgrFeatures, Side};
use cephwire_protocol::{Error, Facts, Options, Policy, Version};
use script::auth::{Stepwise, sign};
use script::v2::{PEER, SIGNATURE, auth_done, auth_request, banner, hello, ident, server_ident};
use script::{Host, Script, Setup, V1, V2, addr, addrs};
use script_v1::{claim_with, greeted, reply};

const CAPS: Bytes = Bytes::from_static(b"allow *");
const SECOND: Duration = Duration::from_secs(1);

/// A method whose server knows who it is.
#[derive(Debug)]
struct Known(Stepwise);

impl Auth for Known {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        self.0.client(peer)
    }

    fn server(&self, _peer: &Peer) -> Box<dyn Server> {
        Box::new(Self(self.0.clone()))
    }
}

impl Server for Known {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        match self.0.request(request) {
            Answer::Done { payload, secrets, .. } => {
                let name = Some(Entity::new(EntityType::OSD, "5"));
                Answer::Done { name, global_id: 4107, caps: CAPS, payload, secrets }
            }
            other => other,
        }
    }

    fn methods(&self) -> Vec<u32> {
        self.0.methods()
    }
}

fn setup() -> Setup {
    let options = Options::default().with(|options| {
        options.compression = vec![Method::SNAPPY];
        options.compress_peers = vec![EntityType::OSD];
    });
    let auth = Arc::new(Known(Stepwise { steps: 0, secret: 0, ..Stepwise::default() }));
    Setup { options, auth, ..Setup::policy(Policy::lossless_client()) }
}

fn facts(host: &Host, session: usize) -> Facts {
    host.with(session, |session| session.facts())
}

fn failure(host: &Host, session: usize) -> (Error, Facts) {
    let failure = host.with(session, |session| session.last_failure().cloned()).unwrap();
    (failure.error, failure.facts)
}

/// A second passes; what time it is.
fn tick(host: &Host) -> Option<Instant> {
    host.advance(SECOND);
    Some(host.now())
}

fn osd(number: i64) -> EntityName {
    EntityName::new(EntityType::OSD, number)
}

fn bits(supported: u64) -> Option<Banner> {
    Some(Banner { supported: MsgrFeatures(supported), required: MsgrFeatures(0) })
}

#[test]
fn v2_dialing() {
    let host = Host::new(setup());
    let start = Some(host.now());
    let session = host.dial(EntityType::OSD, PEER);
    let known = facts(&host, session);
    assert_eq!((known.version, known.side, known.phase), (Version::V2, Side::Client, "START_CONNECT"));
    assert_eq!((known.peer, known.socket), (osd(-1), Some(addr(PEER))));
    assert_eq!((known.times.dialed, known.times.connected), (start, None));

    let connected = tick(&host);
    let mut peer = host.dialed::<V2>();
    let known = facts(&host, session);
    assert_eq!((known.times.dialed, known.times.connected, known.times.banner), (start, connected, None));
    assert_eq!((known.own_banner, known.peer_banner, known.revision()), (bits(3), None, None));
    assert_eq!(known.phase, "BANNER_CONNECTING");

    let greeted = tick(&host);
    peer.send(&banner(7));
    let known = facts(&host, session);
    assert_eq!((known.times.banner, known.times.authenticated), (greeted, None));
    assert_eq!((known.peer_banner, known.revision()), (bits(7), Some(Revision::V2_1)));
    assert_eq!((known.msgr_features(), known.seen_as, known.method), (MsgrFeatures(3), None, None));

    peer.send(&hello(EntityType::OSD));
    let known = facts(&host, session);
    assert_eq!((known.seen_as, known.method), (Some(addr("v2:10.0.0.1:40000/0")), Some(method::CEPHX)));
    assert_eq!((known.mode, known.global_id), (None, None));

    (0..3).for_each(|_| drop(peer.expect()));
    let heard = sign(&peer.heard);
    let payload = Bytes::new();
    peer.send(&Frame::AuthDone(AuthDone { global_id: 4107, mode: mode::CRC, payload }));
    let known = facts(&host, session);
    assert_eq!((known.mode, known.global_id, known.times.authenticated), (Some(mode::CRC), Some(4107), None));
    peer.expect();

    let signed = tick(&host);
    peer.send(&Frame::AuthSignature(heard));
    assert_eq!(facts(&host, session).times.authenticated, signed);
    peer.expect();
    peer.send(&Frame::CompressionDone(CompressionDone { compress: true, method: Method::SNAPPY }));
    let known = facts(&host, session);
    assert_eq!((known.compression, known.features, known.lossy), (Some(Method::SNAPPY), Features(0), false));
    assert_eq!((known.global_seq, known.server_cookie), (2, 0));
    assert_ne!(known.client_cookie, 0);

    let opened = tick(&host);
    let words = (Features::ALL_PACIFIC.union(Features(1 << 63)), Features::MSG_ADDR2);
    let mut said = server_ident(9, true);
    (said.features_supported, said.features_required, said.global_seq) = (words.0, words.1, 33);
    peer.send(&Frame::ServerIdent(said));
    let known = facts(&host, session);
    assert_eq!((known.times.open, known.phase, known.peer), (opened, "open", osd(2)));
    assert_eq!((known.peer_features, known.peer_required), words);
    assert_eq!((known.features, known.addrs), (Features::ALL_PACIFIC, addrs(PEER)));
    assert_eq!((known.lossy, known.peer_global_seq, known.server_cookie), (true, 33, 9));
    assert_eq!((known.times.dialed, known.times.connected, known.times.banner), (start, connected, greeted));
    assert_eq!((known.authenticated, known.caps), (None, Bytes::new()));
    assert_eq!(host.with(session, |session| session.global_id()), Some(4107));
}

#[test]
fn v2_accepting() {
    let host = Host::new(setup());
    let connected = Some(host.now());
    let mut peer = host.accept::<V2>();
    let known = facts(&host, 0);
    assert_eq!((known.version, known.side, known.phase), (Version::V2, Side::Server, "BANNER_ACCEPTING"));
    assert_eq!((known.times.dialed, known.times.connected), (None, connected));
    assert_eq!((known.peer.num, known.socket), (-1, Some(addr("v2:10.0.0.2:40000/0"))));

    let greeted = tick(&host);
    peer.send(&banner(0));
    let known = facts(&host, 0);
    assert_eq!((known.times.banner, known.own_banner, known.peer_banner), (greeted, bits(3), bits(0)));
    assert_eq!((known.revision(), known.msgr_features()), (Some(Revision::V2_0), MsgrFeatures(0)));
    peer.wire.decoder.set_revision(Revision::V2_0);
    peer.wire.encoder.set_revision(Revision::V2_0);
    peer.send(&hello(EntityType::OSD));
    assert_eq!(facts(&host, 0).seen_as, Some(addr("v2:10.0.0.1:40000/0")));

    peer.send(&auth_request(method::CEPHX, &[mode::CRC]));
    let known = facts(&host, 0);
    assert_eq!((known.method, known.mode), (Some(method::CEPHX), Some(mode::CRC)));
    assert_eq!((known.authenticated, known.global_id), (Some(osd(5).into()), Some(4107)));
    assert_eq!((known.caps, known.times.authenticated), (CAPS, None));

    let signed = tick(&host);
    (0..3).for_each(|_| drop(peer.expect()));
    let end = peer.wire.decoder.offset() as usize;
    let signature = sign(&peer.heard[..end]);
    peer.send(&Frame::AuthSignature(signature));
    assert_eq!(facts(&host, 0).times.authenticated, signed);
    peer.expect();
    let opened = tick(&host);
    peer.open(ident(7, 21));
    let known = facts(&host, 0);
    assert_eq!((known.times.open, known.compression), (opened, None));
    assert_eq!((known.peer, known.addrs, known.lossy), (osd(2), addrs(PEER), false));
    assert_eq!((known.client_cookie, known.peer_global_seq), (7, 21));
    assert_eq!((known.peer_required, known.features), (Features::MSG_ADDR2, Features::ALL_PACIFIC));
    assert_ne!(known.server_cookie, 0);
    assert_eq!(host.with(0, |session| (session.global_id(), session.caps())), (Some(4107), CAPS));
}

#[test]
fn v1_dialing() {
    let to = "v1:10.0.0.2:6800/2";
    let host = Host::new(setup());
    let start = Some(host.now());
    let session = host.dial(EntityType::OSD, to);
    let connected = tick(&host);
    let mut peer = host.dialed::<V1>();
    let greeted = tick(&host);
    assert_eq!(peer.read(Expect::Banner), v1::Frame::Banner);
    peer.send(&v1::Frame::Banner);
    assert_eq!(facts(&host, session).times.banner, greeted);
    peer.send(&v1::Frame::Address(addr(to)));
    peer.send(&v1::Frame::Address(addr("v1:10.0.0.9:50000/0")));
    peer.read_address();
    let known = facts(&host, session);
    assert_eq!((known.version, known.side), (Version::V1, Side::Client));
    assert_eq!((known.seen_as, known.method), (Some(addr("v1:10.0.0.9:50000/0")), Some(method::CEPHX)));
    assert_eq!((known.own_banner, known.peer_banner, known.revision(), known.mode), (None, None, None, None));
    assert_eq!((known.global_seq, known.connect_seq), (1, 0));

    let connect = peer.read_connect();
    let opened = tick(&host);
    let mut said = reply(Tag::Seq);
    (said.features, said.flags) = (Features::ALL_PACIFIC.union(Features(1 << 63)), v1::CONNECT_LOSSY);
    peer.accept_with(&connect, 0, said.clone());
    let known = facts(&host, session);
    let times = known.times;
    assert_eq!((times.dialed, times.connected, times.banner), (start, connected, greeted));
    assert_eq!((times.authenticated, times.open, known.phase), (opened, opened, "open"));
    assert_eq!((known.peer_features, known.features), (said.features, Features::ALL_PACIFIC));
    assert_eq!((known.connect_seq, known.peer_global_seq, known.lossy), (1, 77, true));
    assert_eq!((known.peer, known.addrs), (osd(-1), addrs(to)));
}

#[test]
fn v1_accepting() {
    let host = Host::new(setup());
    let connected = Some(host.now());
    let mut peer = greeted(&host, "v1:10.0.0.2:6800/2");
    let known = facts(&host, 0);
    assert_eq!((known.times.connected, known.times.banner), (connected, connected));
    assert_eq!((known.addrs, known.method), (addrs("v1:10.0.0.2:6800/2"), None));
    let authenticated = tick(&host);
    peer.send(&v1::Frame::Connect(claim_with(5, 0, b"authorizer")));
    assert_eq!(peer.read_reply().tag, Tag::Seq);
    let known = facts(&host, 0);
    assert_eq!((known.times.authenticated, known.times.open), (authenticated, None));
    assert_eq!((known.method, known.authenticated), (Some(method::CEPHX), Some(osd(5).into())));
    assert_eq!((known.global_id, known.caps, known.peer), (Some(4107), CAPS, osd(5)));
    let opened = tick(&host);
    peer.read_seq();
    peer.send(&v1::Frame::Seq(0));
    let known = facts(&host, 0);
    assert_eq!((known.times.open, known.side, known.seen_as), (opened, Side::Server, None));
    assert_eq!((known.connect_seq, known.peer_global_seq), (1, 5));
    assert_eq!(known.features, Features::ALL_PACIFIC);
}

/// Where a session of v2 goes on, the peer says nothing of itself: what it said before still holds. Who dials is
/// authenticated again.
#[test]
fn resumed_sessions() {
    let host = Host::new(Setup::policy(Policy::lossless_peer()));
    let session = host.dial(EntityType::OSD, PEER);
    let mut peer = host.dialed::<V2>();
    peer.admit_new();
    peer.send(&Frame::ServerIdent(server_ident(9, false)));
    let before = facts(&host, session);
    host.send(session, 1);
    tick(&host);
    peer.close();
    let mut peer = host.dialed::<V2>();
    let claim = peer.admit_resumed();
    peer.send(&Frame::SessionReconnectOk(0));
    let known = facts(&host, session);
    assert_eq!(known.times.open, Some(host.now()));
    assert_eq!((known.peer, known.addrs), (before.peer, before.addrs));
    assert_eq!(
        (known.peer_features, known.peer_required, known.features),
        (before.peer_features, before.peer_required, before.features)
    );
    assert_eq!((known.connect_seq, known.global_seq), (1, claim.global_seq));

    // The same from the other side, where another session was made for the new connection.
    let mut peer = host.accept_from::<V2>("10.0.0.2:40000");
    peer.enter();
    peer.send(&script::v2::reconnect((claim.client_cookie, 9), 50, 2, 0));
    assert_eq!(peer.expect(), Frame::SessionReconnectOk(0));
    let known = facts(&host, session);
    assert_eq!((known.side, known.times.dialed, known.times.open), (Side::Server, None, Some(host.now())));
    assert_eq!((known.peer, known.peer_required), (before.peer, before.peer_required));
    assert_eq!((known.connect_seq, known.peer_global_seq), (2, 50));
    assert_eq!(known.socket, Some(addr("v2:10.0.0.2:40000/0")));
}

/// What failed how far, as a table: the peer's last words, and the phase in which they came.
#[test]
fn failed_attempts() {
    type Row = (&'static str, fn(&mut Script<V2>), fn(&Facts) -> bool);
    let rows: [Row; 5] = [
        ("BANNER_CONNECTING", |_| {}, |known| known.times.banner.is_none() && known.own_banner.is_some()),
        (
            "BANNER_CONNECTING",
            |peer| {
                let (supported, required) = (MsgrFeatures(1), MsgrFeatures(64));
                peer.send(&Frame::Banner(Banner { supported, required }));
            },
            |known| known.peer_banner.is_some_and(|banner| banner.required == MsgrFeatures(64)),
        ),
        (
            "HELLO_CONNECTING",
            |peer| {
                peer.send(&banner(1));
                peer.send(&hello(EntityType::MON));
            },
            |known| known.times.banner.is_some() && known.seen_as.is_none(),
        ),
        (
            "AUTH_CONNECTING",
            |peer| {
                peer.greet(EntityType::OSD);
                let (allowed_methods, allowed_modes) = (vec![method::GSS], vec![mode::SECURE]);
                let (method, result) = (method::NONE, -95);
                peer.send(&Frame::AuthBadMethod(AuthBadMethod {
                    method,
                    result,
                    allowed_methods,
                    allowed_modes,
                }));
            },
            |known| known.method == Some(method::NONE) && known.seen_as.is_some() && known.mode.is_none(),
        ),
        (
            "AUTH_CONNECTING_SIGN",
            |peer| {
                peer.greet(EntityType::OSD);
                peer.send(&auth_done(mode::CRC));
                peer.send(&Frame::AuthSignature([1; 32]));
            },
            |known| known.mode == Some(mode::CRC) && known.times.authenticated.is_none(),
        ),
    ];
    for (n, (phase, says, holds)) in rows.into_iter().enumerate() {
        let host = Host::new(Setup::policy(Policy::lossless_client()));
        let session = host.dial(EntityType::OSD, PEER);
        let mut peer = host.dialed::<V2>();
        says(&mut peer);
        peer.close();
        let (error, known) = failure(&host, session);
        assert_eq!(known.phase, phase, "row {n}: {error}");
        assert!(holds(&known), "row {n}: {known:?}");
        assert_eq!((known.times.connected, known.times.open), (Some(host.now()), None), "row {n}");
        let told = host.errors(session);
        assert_eq!(told, [error.to_string()], "row {n}");
    }
}

/// The failure is kept while the next attempts go on, and after the end.
#[test]
fn failures_are_kept() {
    let host = Host::new(Setup::policy(Policy::lossless_client()));
    let session = host.dial(EntityType::OSD, PEER);
    let dialed = Some(host.now());
    tick(&host);
    host.refuse(ErrorKind::ConnectionRefused);
    let (error, known) = failure(&host, session);
    assert_eq!(error, Error::Dial(ErrorKind::ConnectionRefused));
    assert_eq!((known.times.dialed, known.times.connected, known.phase), (dialed, None, "START_CONNECT"));
    // While it waits, the facts are those of the last attempt.
    assert_eq!(facts(&host, session).times.dialed, dialed);

    host.until_dial();
    let again = Some(host.now());
    let mut peer = host.dialed::<V2>();
    peer.admit_new();
    peer.send(&Frame::ServerIdent(server_ident(9, false)));
    assert_eq!(facts(&host, session).times.dialed, again);
    assert_eq!(failure(&host, session).0, error);

    tick(&host);
    host.with(session, |session| session.close(false));
    assert_eq!((facts(&host, session).phase, facts(&host, session).peer), ("open", osd(2)));
    assert_eq!(failure(&host, session).0, error);
}

/// A newcomer that fails has no session, but its facts.
#[test]
fn failed_newcomers() {
    let host = Host::new(Setup::policy(Policy::lossless_client()));
    let mut peer = host.accept::<V2>();
    peer.greet(EntityType::OSD);
    peer.send(&auth_request(method::NONE, &[mode::CRC]));
    peer.send(&SIGNATURE);
    peer.send(&Frame::ClientIdent(cephwire_protocol::codec::v2::ClientIdent {
        target: addr("v2:10.0.0.7:6800/1"),
        ..ident(7, 1)
    }));
    let (error, known) = failure(&host, 0);
    assert!(
        error.to_string().contains("CLIENT_IDENT for v2:10.0.0.7:6800/1, expected [v2:10.0.0.1:6800/1"),
        "{error}"
    );
    assert_eq!((known.phase, known.peer.kind), ("SESSION_ACCEPTING", EntityType::OSD));
    assert!(known.times.authenticated.is_some() && known.times.open.is_none());
    assert_eq!(facts(&host, 0).phase, "SESSION_ACCEPTING");
}

/// A dial that a command begins has no time until the driver tells it.
#[test]
fn dials_out_of_standby() {
    let host = Host::new(Setup::policy(Policy::lossless_peer()));
    let session = host.dial(EntityType::OSD, PEER);
    let mut peer = host.dialed::<V2>();
    peer.admit_new();
    peer.send(&Frame::ServerIdent(server_ident(9, false)));
    peer.close();
    let later = tick(&host);
    let before = host.with(session, |session| {
        session.keepalive();
        session.facts()
    });
    assert_eq!((before.times.dialed, before.times.connected), (None, None));
    host.advance(Duration::ZERO);
    assert_eq!(facts(&host, session).times.dialed, later);
    assert_eq!(host.dials(), [addr(PEER)]);
}

/// What a dump says of a connection that is sealed and compressed, and of who was authenticated.
#[cfg(feature = "serde")]
#[test]
fn dumps_of_sealed_connections() {
    use cephwire_protocol::codec::v2::CompressionRequest;
    use cephwire_protocol::dump::ProtocolDump;

    let mut setup = setup();
    (setup.options.modes, setup.options.compress_secure) = (vec![mode::SECURE].into(), true);
    setup.auth = Arc::new(Known(Stepwise { steps: 0, ..Stepwise::default() }));
    let host = Host::new(setup);
    let mut peer = host.accept::<V2>();
    peer.send(&banner(3));
    peer.send(&hello(EntityType::OSD));
    peer.send(&auth_request(method::CEPHX, &[mode::SECURE]));
    (0..3).for_each(|_| drop(peer.expect()));
    let end = peer.wire.decoder.offset() as usize;
    let signature = sign(&peer.heard[..end]);
    peer.seal(Side::Client);
    peer.expect();
    peer.send(&Frame::AuthSignature(signature));
    let request = CompressionRequest { compress: true, methods: vec![Method::SNAPPY] };
    peer.send(&Frame::CompressionRequest(request));

    let dump = host.with(0, |session| session.dump(session.facts().times.connected.unwrap()));
    let sealed = match dump.protocol {
        ProtocolDump::V2 { con_mode, crypto, compression, .. } => {
            Some([con_mode, crypto.rx, crypto.tx, compression.rx, compression.tx])
        }
        ProtocolDump::V1 { .. } => None,
    };
    assert_eq!(sealed, Some(["secure", "AES-128-GCM", "AES-128-GCM", "snappy", "snappy"]));
    let peer = dump.peer;
    assert_eq!((peer.entity_name.kind, &*peer.entity_name.id, peer.global_id), (4, "5", 4107));
}
