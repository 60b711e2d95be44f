//! What a peer announces to be, and what its ticket or its key says that it is.

use std::sync::Arc;

use bytes::Bytes;
use cephwire_protocol::Version;
use cephwire_protocol::auth::cephx::authorizer::{Authorize, AuthorizeChallenge, Authorizer};
use cephwire_protocol::auth::cephx::{ClientAuth, Random, Ticket, Wallet};
use cephwire_protocol::auth::{Auth, Client, Opening, Peer, Reason, Secrets, Server};
use cephwire_protocol::codec::EntityType;
use cephwire_protocol::codec::v2::method;
use cephwire_protocol::{Denied, Policy};

use super::cheat::{logged_in, refused_by_acceptor};
use super::cluster::{Cluster, KINDS, client};
use super::pair::{Node, Pair, VERSIONS};

/// Shows this ticket to whomever it dials, also to a monitor, as its owner can.
#[derive(Debug)]
struct Shows(Arc<Wallet>, EntityType);

struct Shown(Ticket, Authorizer);

impl Shown {
    fn prove(&mut self, challenge: Option<u64>) -> Bytes {
        self.1.prove(Authorize { nonce: 5, challenge }, &self.0.session_key, &mut Random::new([9; 32]));
        self.1.encode().into()
    }
}

impl Auth for Shows {
    fn client(&self, _peer: &Peer) -> Box<dyn Client> {
        let Self(wallet, service) = self;
        let (ticket, global_id) = (wallet.ticket(*service).unwrap(), wallet.global_id().unwrap());
        let (service, blob) = (service.0.into(), ticket.blob.clone());
        Box::new(Shown(ticket, Authorizer { global_id, service, ticket: blob, proof: Bytes::new() }))
    }

    fn server(&self, _peer: &Peer) -> Box<dyn Server> {
        panic!("dialed")
    }
}

impl Client for Shown {
    fn open(&mut self, _allowed: &[u32]) -> Result<Option<Opening>, Denied> {
        Ok(Some(Opening { method: method::CEPHX, payload: self.prove(None) }))
    }

    fn more(&mut self, payload: &[u8]) -> Result<Bytes, Denied> {
        let challenge = AuthorizeChallenge::open(payload, &self.0.session_key)?;
        Ok(self.prove(Some(challenge.answer())))
    }

    fn done(&mut self, _global_id: u64, _mode: u32, _payload: &[u8]) -> Result<Secrets, Denied> {
        panic!("taken")
    }
}

/// Monitors give tickets for monitors to everybody, as Ceph's do; none takes one. Who shows one is no monitor.
#[test]
fn a_ticket_for_monitors_makes_nobody_a_monitor() {
    for (kind, version) in KINDS.into_iter().flat_map(|kind| VERSIONS.map(|version| (kind, version))) {
        let cluster = Cluster::new(kind);
        let wallet = logged_in(&cluster);
        let secret_id = wallet.ticket(EntityType::MON).unwrap().blob.secret_id;
        assert_ne!(secret_id, u64::MAX);
        // In v1, nobody else shows a monitor anything.
        let names = if version == Version::V1 { &["mon.9"][..] } else { &["mon.9", "osd.9", "client.?"] };
        for name in names {
            let auth = Arc::new(Shows(Arc::clone(&wallet), EntityType::MON));
            let dialer = Node { policy: Policy::lossless_peer_reuse(), ..Node::new(name, auth) };
            let pair = Pair::new(version, &dialer, &cluster.monitor());
            refused_by_acceptor(&pair, &Reason::UnknownSecret { service: 1, secret_id });
        }
    }
}

/// Who announces to be a daemon needs a name of that type: policies and requirements go by what is announced.
#[test]
fn a_client_that_announces_to_be_a_daemon() {
    for (kind, version) in KINDS.into_iter().flat_map(|kind| VERSIONS.map(|version| (kind, version))) {
        let cluster = Cluster::new(kind);
        for (owner, name) in [
            ("client.admin", "mon.7"),
            ("client.admin", "osd.7"),
            ("client.admin", "mds.7"),
            ("client.admin", "mgr.7"),
            ("osd.1", "mgr.7"),
            ("mgr.x", "osd.7"),
        ] {
            let wallet = cluster.wallet(owner);
            cluster.log_in(Version::V2, &wallet);
            let dialer = Node::new(name, Arc::new(ClientAuth(Arc::clone(&wallet))));
            let announced = dialer.name.kind;
            let expected = Reason::Kind { announced, entity: owner.to_owned() };
            refused_by_acceptor(&Pair::new(version, &dialer, &cluster.osd()), &expected);
            if version == Version::V2 && announced != EntityType::MON {
                refused_by_acceptor(&Pair::new(version, &dialer, &cluster.monitor()), &expected);
            }
        }
        // A daemon may announce less than it is: the librados within a manager does.
        for owner in ["mgr.x", "osd.1"] {
            let wallet = cluster.wallet(owner);
            let dialer = Node::new("client.?", client(&wallet).auth);
            Pair::new(Version::V2, &dialer, &cluster.monitor()).expect_open();
            Pair::new(version, &dialer, &cluster.osd()).expect_open();
        }
    }
}
