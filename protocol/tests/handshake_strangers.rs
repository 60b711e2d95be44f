//! Whose session is it? Who claims the addresses of another peer gets nothing of its session, and does it no harm.
//!
//! The host accepts (osd.1 or mon.1), scripts are the peer to whom a session belongs and a stranger who says the same
//! addresses. What a claim by the peer itself does stands in `handshake_v1_races` and `handshake_v2_claims`.

#![expect(clippy::panic, reason = "tests")]

mod script;
mod script_v1;

use std::sync::Arc;

use bytes::Bytes;
use cephwire_protocol::auth::{AllowAll, Answer, Auth, Client, Peer, Request, Secrets, Server};
use cephwire_protocol::codec::v1::{Connect, Tag};
use cephwire_protocol::codec::v2::{AuthRequest, Frame, method, mode};
use cephwire_protocol::codec::{EntityName, EntityType};
use cephwire_protocol::{Event, Facts, Placement, Policies, Policy};
use script::v2::{PEER, SIGNATURE, ident, message_frame, reconnect};
use script::{Host, Script, Setup, V2};
use script_v1::{LARGER, claim, claim_with, greeted, opened};

/// The counters and names of a session, which a claim may change.
fn numbers(host: &Host, session: usize) -> [u64; 5] {
    let Facts { connect_seq, global_seq, peer_global_seq, client_cookie, server_cookie, .. } =
        host.with(session, |session| session.facts());
    [connect_seq, global_seq, peer_global_seq, client_cookie, server_cookie]
}

fn entered(host: &Host, kind: EntityType) -> Script<V2> {
    let mut script = host.accept::<V2>();
    script.enter_as(kind);
    script
}

/// A monitor: clients are nobody there, other monitors have sessions.
fn monitor() -> Host {
    let name = EntityName::new(EntityType::MON, 1);
    let policies =
        Policies::all(Policy::stateless_server()).with(EntityType::MON, Policy::lossless_peer_reuse());
    Host::new(Setup { name, policies, auth: Arc::new(AllowAll { name }), ..Setup::default() })
}

/// A client has nothing to resume, whatever stands under the addresses that it says.
#[test]
fn a_client_cannot_claim_the_session_of_a_monitor() {
    let host = monitor();
    let mut mon = entered(&host, EntityType::MON);
    let cookie = mon.open(ident(7, 10)).cookie;
    let before = numbers(&host, 0);
    host.placements();
    for claim in [reconnect((1, 0), u64::MAX, 1, 0), reconnect((7, cookie), u64::MAX, u64::MAX, 0)] {
        let mut client = entered(&host, EntityType::CLIENT);
        client.send(&claim);
        assert_eq!(client.expect(), Frame::SessionReset { full: true });
        // It may begin one of its own.
        assert_eq!(client.open(ident(0, 1)).cookie, 0);
    }
    assert_eq!((numbers(&host, 0), host.placements()), (before, vec![]));
    mon.expect_quiet();
    // The session goes on, on this connection and on the next one.
    mon.send(&message_frame(1, 0, 1));
    assert_eq!(mon.expect(), Frame::Ack(1));
    mon.close();
    let mut mon = entered(&host, EntityType::MON);
    mon.send(&reconnect((7, cookie), 11, 1, 0));
    assert_eq!(mon.expect(), Frame::SessionReconnectOk(1));
}

/// The same for a session of v1, which a claim of v2 would end.
#[test]
fn a_client_cannot_end_the_session_of_a_monitor() {
    let host = monitor();
    let session = host.dial(EntityType::MON, PEER.replace("v2", "v1").as_str());
    let mut client = entered(&host, EntityType::CLIENT);
    let Frame::SessionReconnect(mut claim) = reconnect((1, 2), 3, 4, 5) else { panic!() };
    claim.addrs = script::addrs(&PEER.replace("v2", "v1"));
    client.send(&Frame::SessionReconnect(claim));
    assert_eq!(client.expect(), Frame::SessionReset { full: true });
    assert!(!host.with(session, |session| session.is_closed()));
    assert_eq!(host.told(session), [""; 0]);
}

/// The stranger is refused, and the session at 0 does not notice.
#[track_caller]
fn refused(host: &Host, before: [u64; 5], is_closed: bool) {
    let (placements, after) = (host.placements(), numbers(host, 0));
    assert_eq!(placements, [Placement::Dropped]);
    assert_eq!(after, before);
    assert!(is_closed, "the stranger is still there");
    let events = host.events(host.sessions() - 1);
    let [Event::Rejected(error)] = &events[..] else { panic!("{events:?}") };
    assert!(error.to_string().contains("the session of"), "{error}");
    assert!(host.events(0).is_empty(), "the session was told of it");
}

/// A peer of another type at the same addresses is another peer.
#[test]
fn another_type_is_another_peer() {
    for policy in
        [Policy::lossless_peer(), Policy::lossless_peer_reuse(), Policy::stateless_registered_server()]
    {
        let host = Host::new(Setup::policy(policy));
        let mut osd = entered(&host, EntityType::OSD);
        let cookie = osd.open(ident(7, 10)).cookie;
        host.events(0);
        host.placements();
        let before = numbers(&host, 0);
        for claim in [
            reconnect((7, cookie), 11, 1, 0),
            reconnect((8, cookie), 11, 1, 0),
            Frame::ClientIdent(ident(7, 11)),
            Frame::ClientIdent(ident(8, u64::MAX)),
        ] {
            let mut mds = entered(&host, EntityType::MDS);
            mds.send(&claim);
            assert_eq!(mds.names(), [""; 0], "{claim:?}");
            refused(&host, before, mds.is_closed());
            osd.expect_quiet();
        }
        // Of a session that has ended nobody is kept out.
        host.with(0, |session| session.close(false));
        entered(&host, EntityType::MDS).open(ident(7, 11));
    }
}

#[test]
fn another_type_is_another_peer_in_v1() {
    for policy in [Policy::lossless_peer(), Policy::stateless_registered_server()] {
        let host = Host::new(Setup::policy(policy));
        let mut osd = greeted(&host, LARGER);
        assert!([Tag::Seq, Tag::Ready].contains(&osd.tag(10, 0)));
        host.events(0);
        host.placements();
        let before = numbers(&host, 0);
        for (global_seq, connect_seq) in [(11, 0), (11, 1), (u32::MAX, 7)] {
            let mut mds = greeted(&host, LARGER);
            let host_type = EntityType::MDS.0.into();
            let connect = Connect { host_type, protocol_version: 24, ..claim(global_seq, connect_seq) };
            mds.send(&cephwire_protocol::codec::v1::Frame::Connect(connect));
            refused(&host, before, mds.is_closed());
            assert!(!osd.is_closed());
        }
    }
}

/// Who asks for something else than the session that this side wants to open does not spoil its attempt.
#[test]
fn an_attempt_of_this_side_outlives_a_wrong_cookie() {
    for (policy, cookie) in [(Policy::lossless_peer(), 1), (Policy::lossy_client(), 0)] {
        let lossy = policy.lossy;
        let host = Host::new(Setup::policy(policy));
        let session = host.dial(EntityType::OSD, PEER);
        let mut dialed = host.dialed::<V2>();
        assert_eq!(dialed.admit_new().cookie == 0, lossy);
        let mut other = entered(&host, EntityType::OSD);
        other.send(&reconnect((cookie, 1), 11, 1, 0));
        assert_eq!(other.expect(), Frame::SessionReset { full: false });
        assert!(!dialed.is_closed());
        assert_eq!(host.told(session), [""; 0]);
    }
}

/// Lets everybody in, by the name that they say.
#[derive(Debug)]
struct Named;

impl Auth for Named {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        AllowAll { name: EntityName::new(EntityType::OSD, 1) }.client(peer)
    }

    fn server(&self, _peer: &Peer) -> Box<dyn Server> {
        Box::new(Self)
    }
}

impl Server for Named {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        let name = std::str::from_utf8(request.payload).ok().and_then(|name| name.parse().ok());
        let sign_transcript = Box::new(|_: &[u8]| [0; 32]);
        let secrets = Secrets { connection_secret: Vec::new().into(), sign_transcript, signer: None };
        Answer::Done { name, global_id: 0, caps: Bytes::new(), payload: Bytes::new(), secrets }
    }

    fn methods(&self) -> Vec<u32> {
        vec![method::CEPHX]
    }
}

fn entered_by_name(host: &Host, name: &'static str) -> Script<V2> {
    let mut script = host.accept::<V2>();
    script.greet(EntityType::OSD);
    let payload = Bytes::from_static(name.as_bytes());
    let request = AuthRequest { method: method::CEPHX, preferred_modes: vec![mode::CRC], payload };
    script.send(&Frame::AuthRequest(request));
    assert_eq!(script.names(), ["AUTH_DONE", "AUTH_SIGNATURE"]);
    script.send(&SIGNATURE);
    script
}

/// Where authentication says who it is, nobody else takes the session over: neither one of its kind, nor who only says
/// to be of its kind.
#[test]
fn another_entity_is_another_peer() {
    let host = Host::new(Setup { auth: Arc::new(Named), ..Setup::default() });
    let cookie = entered_by_name(&host, "osd.2").open(ident(7, 10)).cookie;
    host.events(0);
    host.placements();
    let before = numbers(&host, 0);
    for name in ["osd.3", "client.2"] {
        let mut other = entered_by_name(&host, name);
        other.send(&reconnect((7, cookie), 11, 1, 0));
        refused(&host, before, other.is_closed());
    }
    // Itself, and once more after a connection whose authentication said no name.
    for (global_seq, name) in [(11, "osd.2"), (12, ""), (13, "osd.2")] {
        let mut peer = entered_by_name(&host, name);
        peer.send(&reconnect((7, cookie), global_seq, global_seq, 0));
        assert_eq!(peer.expect(), Frame::SessionReconnectOk(0), "{name}");
    }
    host.placements();
    let mut other = entered_by_name(&host, "osd.3");
    other.send(&Frame::ClientIdent(ident(7, 14)));
    assert_eq!(host.placements(), [Placement::Dropped]);
}

/// A session that this side dialed has authenticated nobody yet, but it is of a known type.
#[test]
fn a_dialed_session_is_of_its_type() {
    let host = Host::new(Setup { auth: Arc::new(Named), ..Setup::default() });
    let session = host.dial(EntityType::OSD, PEER);
    let before = numbers(&host, session);
    let mut other = entered_by_name(&host, "client.2");
    other.send(&Frame::ClientIdent(ident(7, 1)));
    refused(&host, before, other.is_closed());
    let mut osd = entered_by_name(&host, "osd.2");
    osd.send(&Frame::ClientIdent(ident(7, 1)));
    assert_eq!(osd.expect(), Frame::Wait);
}

/// The same in v1, where each connect authenticates.
#[test]
fn another_entity_is_another_peer_in_v1() {
    let host = Host::new(Setup { auth: Arc::new(Named), ..Setup::default() });
    let (mut osd, _) = opened(&host, LARGER, claim_with(10, 0, b"osd.2"));
    host.events(0);
    host.placements();
    let before = numbers(&host, 0);
    let mut other = greeted(&host, LARGER);
    other.send(&cephwire_protocol::codec::v1::Frame::Connect(claim_with(11, 1, b"osd.3")));
    refused(&host, before, other.is_closed());
    osd.expect_quiet();
    let mut again = greeted(&host, LARGER);
    assert_eq!(again.ask(claim_with(11, 1, b"osd.2")).tag, Tag::RetrySession);
}
