//! Peers that do not stick to the rules, and what must come of it.

use std::sync::Arc;

use bytes::Bytes;
use cephwire_protocol::auth::cephx::Wallet;
use cephwire_protocol::auth::{Answer, Auth, Client, Opening, Peer, Reason, Request, Secrets, Server};
use cephwire_protocol::codec::{EntityType, Features};
use cephwire_protocol::{Denied, Version};

use super::cluster::{Cluster, reason};
use super::pair::{Node, Pair};

/// A payload on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Open,
    Challenge,
    Answer,
    Done,
}

pub(crate) const STEPS: [Step; 4] = [Step::Open, Step::Challenge, Step::Answer, Step::Done];

/// Changes payloads before they are sent.
pub(crate) type Edit = Arc<dyn Fn(Step, Vec<u8>) -> Vec<u8> + Send + Sync>;

/// An authentication that does not stick to the rules.
pub(crate) struct Cheat {
    honest: Arc<dyn Auth>,
    edit: Edit,
}

impl std::fmt::Debug for Cheat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cheat")
    }
}

pub(crate) fn cheating(
    mut node: Node,
    edit: impl Fn(Step, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
) -> Node {
    node.auth = Arc::new(Cheat { honest: node.auth, edit: Arc::new(edit) });
    node
}

pub(crate) struct CheatingClient(Box<dyn Client>, Edit);
pub(crate) struct CheatingServer(Box<dyn Server>, Edit);

impl Auth for Cheat {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        Box::new(CheatingClient(self.honest.client(peer), Arc::clone(&self.edit)))
    }

    fn server(&self, peer: &Peer) -> Box<dyn Server> {
        Box::new(CheatingServer(self.honest.server(peer), Arc::clone(&self.edit)))
    }

    fn required_features(&self, peer: EntityType, method: u32) -> Features {
        self.honest.required_features(peer, method)
    }
}

impl Client for CheatingClient {
    fn open(&mut self, allowed: &[u32]) -> Result<Option<Opening>, Denied> {
        let opening = self.0.open(allowed)?;
        let edit = |payload: Bytes| (self.1)(Step::Open, payload.to_vec()).into();
        Ok(opening.map(|opening| Opening { payload: edit(opening.payload), ..opening }))
    }

    fn more(&mut self, payload: &[u8]) -> Result<Bytes, Denied> {
        Ok((self.1)(Step::Answer, self.0.more(payload)?.to_vec()).into())
    }

    fn done(&mut self, global_id: u64, mode: u32, payload: &[u8]) -> Result<Secrets, Denied> {
        self.0.done(global_id, mode, payload)
    }

    fn refused(&mut self, result: i32) -> bool {
        self.0.refused(result)
    }
}

impl Server for CheatingServer {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        match self.0.request(request) {
            Answer::More(payload) => Answer::More((self.1)(Step::Challenge, payload.to_vec()).into()),
            Answer::Done { payload, name, global_id, caps, secrets } => {
                let payload = (self.1)(Step::Done, payload.to_vec()).into();
                Answer::Done { payload, name, global_id, caps, secrets }
            }
            bad => bad,
        }
    }

    fn methods(&self) -> Vec<u32> {
        self.0.methods()
    }
}

/// A client that has logged in.
pub(crate) fn logged_in(cluster: &Cluster) -> Arc<Wallet> {
    let wallet = cluster.wallet("client.admin");
    cluster.log_in(Version::V2, &wallet);
    wallet
}

/// The acceptor refuses, for this reason; the dialer is told nothing but the errno.
#[track_caller]
pub(crate) fn refused_by_acceptor(pair: &Pair, expected: &Reason) {
    assert!(!pair.is_open() && pair.dialer.received.is_empty());
    assert_eq!(&reason(&pair.acceptor.error), expected);
    assert_eq!(pair.acceptor.session.last_failure().unwrap().facts.refused.as_ref(), Some(expected));
    assert_eq!(reason(&pair.dialer.error), Reason::Refused { result: errno(expected, pair) });
}

/// v1 has no errors: BADAUTHORIZER is −13 to the client.
pub(crate) fn errno(reason: &Reason, pair: &Pair) -> i32 {
    if pair.dialer.session.version() == Version::V1 { -13 } else { reason.errno() }
}

#[track_caller]
pub(crate) fn refused_by_dialer(pair: &Pair, expected: &Reason) {
    assert!(!pair.is_open());
    assert_eq!(&reason(&pair.dialer.error), expected);
}

/// A server that does not challenge: it behaves as if the client could not be.
#[derive(Debug)]
pub(crate) struct Lax(pub(crate) Arc<dyn Auth>);
pub(crate) struct LaxServer(Box<dyn Server>);

impl Auth for Lax {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        self.0.client(peer)
    }

    fn server(&self, peer: &Peer) -> Box<dyn Server> {
        Box::new(LaxServer(self.0.server(peer)))
    }
}

impl Server for LaxServer {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        match self.0.request(&Request { can_be_challenged: false, ..*request }) {
            Answer::More(payload) => {
                let (name, caps) = (None, Bytes::new());
                let secrets = Secrets {
                    connection_secret: vec![0; 64].into(),
                    sign_transcript: Box::new(|_| [0; 32]),
                    signer: None,
                };
                Answer::Done { name, global_id: 1, caps, payload, secrets }
            }
            other => other,
        }
    }

    fn methods(&self) -> Vec<u32> {
        self.0.methods()
    }
}
