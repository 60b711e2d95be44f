//! How does a service know its clients?
//!
//! It has the rotating secrets of its kind, fetched from a monitor, and reads with them the tickets that clients
//! show. Whoever shows a ticket is challenged to prove that it knows the session key now (CVE-2018-1128,
//! CVE-2020-25660), in both versions.
//!
//! Ceph: `cephx_verify_authorizer` in `src/auth/cephx/CephxProtocol.cc`, `CephxAuthorizeHandler.cc`.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cephwire_codec::v2::{method, mode};
use cephwire_codec::{EntityType, Features, Timestamp};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::authorizer::{AuthorizeChallenge, AuthorizeReply, Authorizer};
use super::client::{client, secrets};
use super::key::{CryptoKey, KeyTypes};
use super::random::Random;
use super::rotating::{RotatingSecrets, after};
use super::ticket::{AuthTicket, NO_AUID, OWN_SECRET, TicketInfo};
use super::wallet::Wallet;
use crate::auth::{Answer, Auth, Client, Entity, Peer, Reason, Request, Server};

/// The length of a connection secret that is made.
pub(super) const SECRET_LEN: usize = 64;

/// What a service demands of clients. The defaults are Ceph's, named as its options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceOptions {
    /// Which key types are taken.
    pub key_types: KeyTypes,
    /// v1: whether messages are signed, and signatures asked for (`cephx_sign_messages`).
    pub sign_messages: bool,
    /// v1: refuses clients that cannot sign (`cephx_require_signatures`).
    pub require_signatures: bool,
    /// The same for osd, mds and mgr as clients (`cephx_cluster_require_signatures`).
    pub cluster_require_signatures: bool,
    /// The same for all others (`cephx_service_require_signatures`).
    pub service_require_signatures: bool,
    /// v1: refuses clients that cannot be challenged if 2 (`cephx_require_version`).
    pub require_version: u8,
    /// A connection without an authorizer is refused. Ceph's OSDs take some for heartbeats.
    pub require_authorizer: bool,
    /// A ticket that ended longer ago is refused; nothing takes all whose key is still there, as Ceph does. Clocks
    /// differ: some time must be left.
    pub expiry_grace: Option<Duration>,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            key_types: KeyTypes::ALL,
            sign_messages: true,
            require_signatures: false,
            cluster_require_signatures: false,
            service_require_signatures: false,
            require_version: 2,
            require_authorizer: true,
            expiry_grace: Some(Duration::from_secs(60)),
        }
    }
}

impl ServiceOptions {
    /// v1: what a client must have that uses cephx (messenger spec §6.4).
    pub(super) fn required_features(&self, peer: EntityType, method: u32) -> Features {
        if method != method::CEPHX {
            return Features(0);
        }
        let cluster = matches!(peer, EntityType::OSD | EntityType::MDS | EntityType::MGR);
        let by_peer = if cluster { self.cluster_require_signatures } else { self.service_require_signatures };
        let bit = |on: bool, feature| if on { feature } else { Features(0) };
        bit(self.require_signatures || by_peer, Features::MSG_AUTH)
            .union(bit(self.require_version >= 2, Features::CEPHX_V2))
    }
}

/// A service's keys and demands; shared by all its connections. Its methods lock it for moments, and call nobody.
pub struct Service {
    kind: EntityType,
    pub(super) options: ServiceOptions,
    inner: Mutex<Inner>,
}

struct Inner {
    secrets: RotatingSecrets,
    random: Random,
}

impl Service {
    /// A service of this type, without secrets yet. All randomness comes from `seed`, which nobody may guess.
    #[must_use]
    pub fn new(kind: EntityType, options: ServiceOptions, seed: [u8; 32]) -> Arc<Self> {
        let inner = Inner { secrets: RotatingSecrets::default(), random: Random::new(seed) };
        Arc::new(Self { kind, options, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics while it holds the lock; if it did, the values would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The secrets have rotated.
    pub fn set_secrets(&self, secrets: RotatingSecrets) {
        self.inner().secrets = secrets;
    }

    fn find(&self, secret_id: u64) -> Option<CryptoKey> {
        self.inner().secrets.find(secret_id).cloned()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u64> = self.inner().secrets.secrets.keys().copied().collect();
        f.debug_struct("Service").field("kind", &self.kind).field("secrets", &ids).finish_non_exhaustive()
    }
}

/// Authenticates as a daemon does: dials with its wallet, accepts as a service.
#[derive(Clone, Debug)]
pub struct ServiceAuth {
    /// What it dials with.
    pub wallet: Arc<Wallet>,
    /// What it accepts with.
    pub service: Arc<Service>,
}

impl Auth for ServiceAuth {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        client(&self.wallet, peer)
    }

    fn server(&self, peer: &Peer) -> Box<dyn Server> {
        let (service, random) = (Arc::clone(&self.service), self.service.inner().random.fork());
        Box::new(OfService { service, announced: peer.kind, check: Check::new(peer.now, random) })
    }

    fn required_features(&self, peer: EntityType, method: u32) -> Features {
        self.service.options.required_features(peer, method)
    }
}

/// A service's half of one accepted connection.
struct OfService {
    service: Arc<Service>,
    announced: EntityType,
    check: Check,
}

impl Server for OfService {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        let service = &self.service;
        if request.payload.is_empty() && !service.options.require_authorizer {
            return nobody();
        }
        if request.method != method::CEPHX {
            self.check.forget();
            let missing = request.payload.is_empty();
            return Answer::Bad(if missing {
                Reason::NoAuthorizer
            } else {
                Reason::Method { found: request.method }
            });
        }
        let (kind, announced, options) = (service.kind, self.announced, &service.options);
        let known = Known { kind, announced, options, challenge_all: false };
        self.check.request(&known, request, |secret_id| service.find(secret_id)).unwrap_or_else(Answer::Bad)
    }

    fn methods(&self) -> Vec<u32> {
        vec![method::CEPHX]
    }
}

/// Somebody who shows nothing, where that is allowed.
fn nobody() -> Answer {
    let secrets = crate::auth::Secrets {
        connection_secret: Zeroizing::default(),
        sign_transcript: Box::new(|_| [0; 32]),
        signer: None,
    };
    Answer::Done { name: None, global_id: 0, caps: Bytes::new(), payload: Bytes::new(), secrets }
}

/// Who is shown authorizers.
pub(super) struct Known<'a> {
    pub(super) kind: EntityType,
    /// What the peer says it is.
    pub(super) announced: EntityType,
    pub(super) options: &'a ServiceOptions,
    /// Challenges those too who say that they cannot answer. Monitors do.
    pub(super) challenge_all: bool,
}

/// Verifies the authorizers of one connection.
pub(super) struct Check {
    now: Timestamp,
    random: Random,
    /// The challenge that was given and not answered yet. Each is good for one answer.
    challenge: Option<AuthorizeChallenge>,
}

impl Check {
    pub(super) fn new(now: Timestamp, random: Random) -> Self {
        Self { now, random, challenge: None }
    }

    /// The challenge that was given is worth nothing any more.
    pub(super) fn forget(&mut self) {
        self.challenge = None;
    }

    /// Takes an authorizer. `find` knows the service's keys.
    pub(super) fn request(
        &mut self,
        known: &Known<'_>,
        request: &Request<'_>,
        find: impl Fn(u64) -> Option<CryptoKey>,
    ) -> Result<Answer, Reason> {
        // Whatever goes wrong, the challenge is used up.
        let given = self.challenge.take();
        if request.payload.is_empty() {
            return Err(Reason::NoAuthorizer);
        }
        let authorizer = Authorizer::decode(request.payload)?;
        let info = self.ticket(known, &authorizer, find)?;
        let proof = authorizer.open(&info.session_key)?;
        match (given, proof.challenge) {
            (None, _) if known.challenge_all || request.can_be_challenged => {
                // An answer to a challenge that this connection never gave is as good as none: it is asked anew.
                let challenge = AuthorizeChallenge(self.random.number());
                self.challenge = Some(challenge);
                return Ok(Answer::More(challenge.seal(&info.session_key, &mut self.random).into()));
            }
            // Only where clients are let in that cannot be challenged.
            (None, _) => {}
            (Some(_), None) => return Err(Reason::ChallengeSkipped),
            (Some(given), Some(answer)) => {
                if !bool::from(given.answer().ct_eq(&answer)) {
                    return Err(Reason::WrongChallenge);
                }
            }
        }
        let connection_secret = connection_secret(request.mode, &mut self.random);
        let reply = AuthorizeReply { nonce_plus_one: proof.nonce.wrapping_add(1), connection_secret };
        let payload = reply.seal(&info.session_key, &mut self.random).into();
        let secrets = secrets(&info.session_key, reply.connection_secret, known.options.sign_messages);
        let AuthTicket { name, global_id, caps, .. } = info.ticket;
        Ok(Answer::Done { name: Some(name), global_id, caps: caps.blob, payload, secrets })
    }

    /// Reads the ticket in an authorizer, if it is one for this service, now.
    fn ticket(
        &self,
        known: &Known<'_>,
        authorizer: &Authorizer,
        find: impl Fn(u64) -> Option<CryptoKey>,
    ) -> Result<TicketInfo, Reason> {
        let service = u32::from(known.kind.0);
        if authorizer.service != service {
            return Err(Reason::WrongService { found: authorizer.service, expected: service });
        }
        let info = open_ticket(authorizer, known.options, self.now, find)?;
        rightly_announced(known.announced, &info.ticket.name)?;
        Ok(info)
    }
}

/// Whether a peer may announce this type, under the name that its ticket or its key is for.
///
/// The announced type decides about policies, methods and modes, so nobody may choose it who could not prove it. As a
/// client anybody may come: clients have the fewest rights, and the librados within a manager announces one under the
/// manager's name. (Ceph does not compare the two when it verifies: a client with a ticket can announce to be an OSD.)
pub(super) fn rightly_announced(announced: EntityType, name: &Entity) -> Result<(), Reason> {
    if announced == EntityType::CLIENT || announced == name.kind {
        return Ok(());
    }
    Err(Reason::Kind { announced, entity: name.to_string() })
}

/// Reads the ticket in an authorizer: what both services and monitors demand of one.
pub(super) fn open_ticket(
    authorizer: &Authorizer,
    options: &ServiceOptions,
    now: Timestamp,
    find: impl Fn(u64) -> Option<CryptoKey>,
) -> Result<TicketInfo, Reason> {
    let (service, secret_id) = (authorizer.service, authorizer.ticket.secret_id);
    let key = find(secret_id).ok_or(Reason::UnknownSecret { service, secret_id })?;
    options.key_types.check("the key of a ticket", &key)?;
    let info = authorizer.ticket.open(&key)?;
    options.key_types.check("a session key", &info.session_key)?;
    let ticket = &info.ticket;
    if ticket.global_id != authorizer.global_id {
        let (claimed, proven) = (authorizer.global_id, Some(ticket.global_id));
        return Err(Reason::GlobalId { claimed, proven });
    }
    plausible(ticket)?;
    if let Some(grace) = options.expiry_grace
        && after(ticket.expires, grace) < now
    {
        return Err(Reason::Expired { service, expired: ticket.expires.sec, now: now.sec });
    }
    // The monitors' own key seals nothing but their own tickets.
    if secret_id == OWN_SECRET && (ticket.name.kind != EntityType::MON || ticket.global_id != 0) {
        return Err(Reason::Ticket {
            what: "another name than a monitor's, sealed with the monitors' own key",
        });
    }
    Ok(info)
}

/// aes keys do not notice when a ticket is altered: what no monitor writes is a sign of it (CVE-2025-30156).
fn plausible(ticket: &AuthTicket) -> Result<(), Reason> {
    let wrong = |what| Err(Reason::Ticket { what });
    if ticket.caps.allow_all {
        return wrong("all capabilities");
    }
    if !ticket.caps.blob.is_empty() && ticket.caps.text().is_none() {
        return wrong("capabilities that are no text");
    }
    if ticket.auid != NO_AUID {
        return wrong("an auid");
    }
    if ticket.created.nsec >= 1_000_000_000 || ticket.expires.nsec >= 1_000_000_000 {
        return wrong("more than a second in nanoseconds");
    }
    if ticket.expires < ticket.created {
        return wrong("an end before its beginning");
    }
    Ok(())
}

/// What secure mode needs; nothing in the other ones.
pub(super) fn connection_secret(mode: u32, random: &mut Random) -> Zeroizing<Vec<u8>> {
    let mut secret = Zeroizing::new(vec![0; if mode == mode::SECURE { SECRET_LEN } else { 0 }]);
    random.fill(&mut secret);
    secret
}
