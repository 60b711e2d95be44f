//! What if a client connects again on the same connection of v1, as somebody else? What it is then, and what it must
//! prove, goes by its last connect alone.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod script;
mod script_v1;

use std::sync::Arc;

use bytes::Bytes;
use cephwire_protocol::auth::{
    AllowAll, Answer, Auth, Choice, Client, Entity, Methods, Peer, Request, Server,
};
use cephwire_protocol::codec::v1::{Connect, Frame, Tag};
use cephwire_protocol::codec::v2::method;
use cephwire_protocol::codec::{EntityName, EntityType};
use cephwire_protocol::{Error, Policies, Policy};
use script::{Host, Setup};
use script_v1::{Key, LARGER, PROOF, TICKET, claim, claim_with, greeted, numbered, told};

const CLIENT: EntityType = EntityType::CLIENT;

/// Another type announces itself.
fn of(kind: EntityType, connect: Connect) -> Connect {
    Connect { host_type: kind.0.into(), ..connect }
}

/// A client announces itself to an OSD.
fn client(connect: Connect) -> Connect {
    of(CLIENT, Connect { protocol_version: 24, ..connect })
}

/// Without keys, but with an authorizer.
fn none(connect_seq: u32) -> Connect {
    let (authorizer_protocol, authorizer) = (method::NONE, Bytes::from_static(&[1]));
    Connect { authorizer_protocol, authorizer, ..claim(1, connect_seq) }
}

/// An OSD that lets clients in without keys, and daemons with them.
fn osd() -> Host {
    let name = EntityName::new(EntityType::OSD, 1);
    let methods = Methods { cluster: vec![method::CEPHX], service: vec![method::NONE], ..Methods::default() };
    let auths: Vec<(u32, Arc<dyn Auth>)> =
        vec![(method::NONE, Arc::new(AllowAll { name })), (method::CEPHX, Arc::new(Key::default()))];
    let policies = Policies::all(Policy::lossless_peer_reuse());
    Host::new(Setup { policies, auth: Arc::new(Choice { methods, auths }), ..Setup::default() })
}

#[test]
fn each_type_has_its_own_methods() {
    let host = osd();
    assert_eq!(greeted(&host, LARGER).tag_of(client(none(0))), Tag::Seq);
    for first in [
        // Refused, or told that there is no such session: it stays on the connection.
        (Connect { authorizer_protocol: 99, ..none(0) }, Tag::BadAuthorizer),
        (none(5), Tag::ResetSession),
    ] {
        let host = osd();
        let mut script = greeted(&host, LARGER);
        assert_eq!(script.tag_of(client(first.0)), first.1);
        assert_eq!(script.tag_of(none(0)), Tag::BadAuthorizer);
        script.connect_as(claim_with(1, 0, TICKET), 0);
    }
}

/// Knows one client, by its ticket.
#[derive(Debug)]
struct Knows(Key);

struct Knowing(Box<dyn Server>);

impl Auth for Knows {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        self.0.client(peer)
    }

    fn server(&self, peer: &Peer) -> Box<dyn Server> {
        Box::new(Knowing(self.0.server(peer)))
    }
}

impl Server for Knowing {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        match self.0.request(request) {
            Answer::Done { payload, secrets, .. } => {
                let (name, caps) = (Some(Entity::new(CLIENT, "admin")), Bytes::from_static(b"caps"));
                Answer::Done { name, global_id: 7, caps, payload, secrets }
            }
            other => other,
        }
    }

    fn methods(&self) -> Vec<u32> {
        self.0.methods()
    }
}

/// At a monitor, who first shows something and then nothing is nobody: no name, no number, no capabilities; and nothing
/// is signed.
#[test]
fn nothing_is_left_of_an_earlier_proof() {
    let policies = Policies::all(Policy::lossless_peer_reuse());
    let auth = Arc::new(Knows(Key { challenges: false, signs: true }));
    let name = EntityName::new(EntityType::MON, 0);
    let host = Host::new(Setup { name, policies, auth, ..Setup::default() });
    let mut script = greeted(&host, LARGER);
    let protocol_version =
        script.ask(of(CLIENT, Connect { protocol_version: 999, ..claim(1, 0) })).protocol_version;
    let as_client = |connect| of(CLIENT, Connect { protocol_version, ..connect });
    let reply = script.ask(as_client(claim_with(1, 5, TICKET)));
    assert_eq!((reply.tag, reply.authorizer), (Tag::ResetSession, Bytes::from_static(PROOF)));
    script.connect_as(as_client(claim(1, 0)), 0);
    let session = script.owner().unwrap();
    host.with(session, |session| {
        let facts = session.facts();
        assert_eq!((facts.authenticated, facts.global_id, facts.caps), (None, None, Bytes::new()));
        assert_eq!((facts.times.authenticated, facts.peer.num, session.peer().num), (None, -1, -1));
    });
    script.send(&numbered(1, 5));
    assert_eq!(script.expect(), Frame::Ack(1));
    assert_eq!(told(&host, session), ["open Server", "message 5"]);
}

/// Nor of an earlier refusal, once another connect has convinced.
#[test]
fn nothing_is_left_of_an_earlier_refusal() {
    let host = osd();
    let mut script = greeted(&host, LARGER);
    assert_eq!(script.tag(1, 0), Tag::BadAuthorizer);
    assert_eq!(script.tag_of(claim_with(1, 0, TICKET)), Tag::Seq);
    let session = script.owner().unwrap();
    script.close();
    host.with(session, |session| {
        let failure = session.last_failure().unwrap();
        assert!(matches!(failure.error, Error::Closed { .. }), "{failure:?}");
        assert_eq!(failure.facts.refused, None);
    });
}

/// A monitor's handshake with clients belongs to v2. In v1 it could be begun as a client, and finished as a monitor.
#[cfg(feature = "cephx")]
#[test]
fn no_client_becomes_a_monitor() {
    use cephwire_protocol::Version;
    use cephwire_protocol::auth::cephx::{
        ClientAuth, CryptoKey, KeyServer, KeyServerOptions, KeyType, Keyring, MonitorAuth, Random, Wallet,
        WalletOptions,
    };
    use cephwire_protocol::codec::Timestamp;

    const NOW: Timestamp = Timestamp { sec: 1_700_000_000, nsec: 0 };
    let key = |seed| CryptoKey::generate(KeyType::Aes, NOW, &mut Random::new([seed; 32]));
    let admin = Entity::new(CLIENT, "admin");
    let keyring = Keyring::default().with(admin.clone(), key(1)).with(Entity::monitors(), key(2));
    let server = KeyServer::new(keyring, KeyServerOptions::default(), [3; 32]);
    let name = EntityName::new(EntityType::MON, 0);
    let host = Host::new(Setup { name, auth: Arc::new(MonitorAuth(server)), ..Setup::default() });
    host.local().set_wall_clock(NOW);

    // What it would say in v2.
    let wallet = Wallet::new(admin, key(1), WalletOptions::default(), [4; 32]).unwrap();
    let (own, kind, version) = (CLIENT, EntityType::MON, Version::V2);
    let mut client = ClientAuth(wallet).client(&Peer { own, kind, global_id: 0, version, now: NOW });
    let opening = client.open(&[]).unwrap().unwrap();
    assert_eq!(opening.payload[0], 10);

    let mut script = greeted(&host, LARGER);
    let mut ask = |kind, authorizer: Bytes| {
        let connect = Connect { authorizer_protocol: method::CEPHX, authorizer, ..claim(1, 0) };
        let wrong = Connect { protocol_version: 999, ..connect.clone() };
        let protocol_version = script.ask(of(kind, wrong)).protocol_version;
        script.ask(of(kind, Connect { protocol_version, ..connect }))
    };
    let reply = ask(CLIENT, opening.payload.clone());
    if reply.tag == Tag::ChallengeAuthorizer {
        let proof = client.more(&reply.authorizer).unwrap();
        assert_eq!(ask(EntityType::MON, proof).tag, Tag::BadAuthorizer);
    }
    assert_eq!(reply.tag, Tag::BadAuthorizer);
    assert_eq!(ask(EntityType::MON, opening.payload).tag, Tag::BadAuthorizer);
}
