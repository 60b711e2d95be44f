//! The steps of a server by themselves: what a connection's state machine would not let a peer do in every order.

use std::sync::Arc;

use bytes::Bytes;
use cephwire_protocol::Version;
use cephwire_protocol::auth::cephx::authorizer::{Authorize, AuthorizeChallenge, Authorizer};
use cephwire_protocol::auth::cephx::ticket::{AuthTicket, Caps};
use cephwire_protocol::auth::cephx::{
    CryptoKey, Entity, MonitorAuth, Random, ServiceOptions, TicketBlob, TicketInfo,
};
use cephwire_protocol::auth::{Answer, Auth, Peer, Request};
use cephwire_protocol::codec::v2::{method, mode};
use cephwire_protocol::codec::{EntityType, Timestamp};

use super::cluster::{Cluster, KINDS, OSD};
use super::pair::NOW;

fn request(method: u32, payload: &[u8]) -> Request<'_> {
    Request { method, mode: mode::CRC, can_be_challenged: true, payload }
}

/// The ticket that a monitor makes for another one, and its session key.
fn between_monitors(cluster: &Cluster) -> (TicketBlob, CryptoKey) {
    let key = cluster.keyring.key(&Entity::monitors()).unwrap();
    let random = &mut Random::new([7; 32]);
    let session_key = CryptoKey::generate(key.kind(), NOW, random);
    let ticket = AuthTicket {
        name: Entity::monitors(),
        global_id: 0,
        auid: u64::MAX,
        created: NOW,
        expires: Timestamp { sec: NOW.sec + 60, nsec: 0 },
        caps: Caps::default(),
        flags: 0,
    };
    let info = TicketInfo { ticket, session_key };
    (info.seal(u64::MAX, key, random), info.session_key)
}

/// A challenge is good for one answer, and only right after it was given. (Found by the fuzz target `cephx_server`: a
/// monitor kept it over an introduction that it could not read.)
#[test]
fn a_mistake_uses_up_the_challenge() {
    let wrong = [
        ("a broken introduction", method::CEPHX, &[10, 1][..]),
        ("a broken authorizer", method::CEPHX, &[1, 2, 3]),
        ("nothing", method::CEPHX, &[]),
        ("another method", method::NONE, &[1]),
        ("no method", method::UNKNOWN, &[]),
    ];
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let wallet = cluster.wallet("client.admin");
        cluster.log_in(Version::V2, &wallet);
        let monitor: Arc<dyn Auth> = Arc::new(MonitorAuth(Arc::clone(&cluster.server)));
        for (own, auth) in [(EntityType::MON, monitor), (OSD, cluster.osd_auth(ServiceOptions::default()))] {
            let (blob, session_key, global_id) = if own == OSD {
                let ticket = wallet.ticket(own).unwrap();
                (ticket.blob, ticket.session_key, wallet.global_id().unwrap())
            } else {
                let ticket = between_monitors(&cluster);
                (ticket.0, ticket.1, 0)
            };
            let random = &mut Random::new([9; 32]);
            let mut authorizer = |challenge| {
                let (service, proof) = (own.0.into(), Bytes::new());
                let mut authorizer = Authorizer { global_id, service, ticket: blob.clone(), proof };
                authorizer.prove(Authorize { nonce: 5, challenge }, &session_key, random);
                authorizer.encode()
            };
            for mistake in wrong.iter().map(Some).chain([None]) {
                let (kind, version) = (EntityType::CLIENT, Version::V2);
                let peer = Peer { own, kind, global_id: 0, version, now: NOW };
                let mut server = auth.server(&peer);
                let Answer::More(challenge) = server.request(&request(method::CEPHX, &authorizer(None)))
                else {
                    panic!("{own} {kind:?}: not challenged")
                };
                let challenge = AuthorizeChallenge::open(&challenge, &session_key).unwrap();
                if let Some((what, method, payload)) = mistake {
                    let answer = server.request(&request(*method, payload));
                    assert!(matches!(answer, Answer::Bad(_)), "{own} {kind:?}: {what}");
                }
                let answer = server.request(&request(method::CEPHX, &authorizer(Some(challenge.answer()))));
                match mistake {
                    None => assert!(matches!(answer, Answer::Done { .. }), "{own} {kind:?}"),
                    Some((what, ..)) => assert!(matches!(answer, Answer::More(_)), "{own} {kind:?}: {what}"),
                }
            }
        }
    }
}
