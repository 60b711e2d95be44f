//! What does an entity hold that outlives its connections?
//!
//! Its key, its global_id, its tickets, and what it needs to renew them. A wallet is shared by all dials of a
//! process: who dials a monitor fills it, who dials a service takes a ticket out of it.
//!
//! In v2 the monitor is convinced within the handshake ([`ClientAuth`](super::ClientAuth)). In v1 the session opens
//! first; then messages go to and fro: [`hello`](Wallet::hello), and
//! [`handle_auth_reply`](Wallet::handle_auth_reply) for each MAuthReply. In both versions the application asks for the
//! [`renewal`](Wallet::renewal) now and then (Ceph: every 10 s), and sends it as MAuth on the session with its monitor.
//!
//! A global_id is taken only together with a ticket, and claimed again only with the ticket that proves it
//! (CVE-2021-20288).
//!
//! Ceph: `src/auth/cephx/CephxClientHandler.cc`, `CephXTicketManager` in `CephxProtocol.cc`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cephwire_codec::v2::method;
use cephwire_codec::{EntityType, Timestamp};
use zeroize::Zeroizing;

use super::authorizer::{Authorize, Authorizer};
use super::key::{CryptoKey, KeyTypes};
use super::message::{Auth, AuthReply};
use super::monitor::{Authenticate, Introduction, Reply, Request, ServerChallenge, SessionReply};
use super::random::Random;
use super::rotating::{RotatingSecrets, after};
use super::ticket::{Ticket, TicketBlob};
use crate::auth::{Entity, Reason};

const AUTH: u32 = EntityType::AUTH.0 as u32;
const MGR: u32 = EntityType::MGR.0 as u32;
/// How long an answer is waited for until the same is asked again.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client wants, and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalletOptions {
    /// The services (entity types as bits) for which tickets are wanted. librados: mon, osd, mgr.
    pub services: u32,
    /// Which key types are taken, in own keys and session keys.
    pub key_types: KeyTypes,
    /// v1: whether messages are signed, and signatures asked for (`cephx_sign_messages`).
    pub sign_messages: bool,
    /// Whether a service that does not challenge is refused. All since 2018 do; older ones do not know how.
    pub require_challenge: bool,
    /// Daemons: fetches the rotating secrets of the own type, which have this lifetime (`auth_service_ticket_ttl`).
    pub rotating: Option<Duration>,
}

impl Default for WalletOptions {
    fn default() -> Self {
        let services = EntityType::MON.0 | EntityType::OSD.0 | EntityType::MGR.0;
        Self {
            services: services.into(),
            key_types: KeyTypes::ALL,
            sign_messages: true,
            require_challenge: true,
            rotating: None,
        }
    }
}

/// An entity's key and tickets. Its methods lock it for moments, and call nobody.
pub struct Wallet {
    name: Entity,
    key: CryptoKey,
    pub(super) options: WalletOptions,
    inner: Mutex<Inner>,
}

struct Inner {
    random: Random,
    /// 0 while there is none.
    global_id: u64,
    tickets: BTreeMap<u32, Held>,
    talk: Talk,
    /// What was asked for last, and when.
    asked: Option<Asked>,
    asked_rotating: Option<Timestamp>,
    rotating: Option<RotatingSecrets>,
}

/// How far the talk with the monitor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Talk {
    None,
    /// v1: the introduction is sent.
    Introduced,
    /// v1: the proof for this challenge is sent.
    Proved(u64),
    /// There is a session, which began with this challenge.
    Open(u64),
}

#[derive(Debug)]
struct Held {
    ticket: Ticket,
    /// The number that it says: it stays so when the client gets another one.
    global_id: u64,
    /// Nothing if it is good for ever.
    expires: Option<Timestamp>,
    renew_after: Option<Timestamp>,
}

/// A request on its way: what its answer is opened with.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// The session key of the AUTH ticket that was shown.
    pub(super) old: Option<CryptoKey>,
    at: Timestamp,
}

/// What an answer of the monitor leads to.
#[derive(Clone, Debug)]
pub enum Progress {
    /// This is to be sent to the monitor.
    Send(Auth),
    /// Nothing more is to be done: there are tickets.
    Ready,
    /// The rotating secrets of the own type came, for [`Service::set_secrets`](super::Service::set_secrets).
    Rotating(RotatingSecrets),
}

/// What is shown to a service.
pub(super) struct Pass {
    pub(super) authorizer: Authorizer,
    pub(super) session_key: CryptoKey,
    pub(super) nonce: u64,
}

impl Wallet {
    /// The wallet of `name`, with nothing in it but its key. All randomness comes from `seed`, which nobody may guess.
    ///
    /// # Errors
    /// The key is of a type that is not allowed.
    pub fn new(
        name: Entity,
        key: CryptoKey,
        options: WalletOptions,
        seed: [u8; 32],
    ) -> Result<Arc<Self>, Reason> {
        options.key_types.check("the own key", &key)?;
        let inner = Inner {
            random: Random::new(seed),
            global_id: 0,
            tickets: BTreeMap::new(),
            talk: Talk::None,
            asked: None,
            asked_rotating: None,
            rotating: None,
        };
        Ok(Arc::new(Self { name, key, options, inner: Mutex::new(inner) }))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics while it holds the lock; if it did, the values would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose it is.
    #[must_use]
    pub fn name(&self) -> &Entity {
        &self.name
    }

    /// The number in the cluster, once a monitor has given one with a ticket.
    #[must_use]
    pub fn global_id(&self) -> Option<u64> {
        Some(self.inner().global_id).filter(|id| *id != 0)
    }

    /// The ticket for a service of this type.
    #[must_use]
    pub fn ticket(&self, service: EntityType) -> Option<Ticket> {
        self.inner().tickets.get(&service.0.into()).map(|held| held.ticket.clone())
    }

    /// When the ticket for that service ends; nothing if there is none or it does not end.
    #[must_use]
    pub fn expires(&self, service: EntityType) -> Option<Timestamp> {
        self.inner().tickets.get(&service.0.into())?.expires
    }

    /// The rotating secrets that the monitor gave last.
    #[must_use]
    pub fn rotating_secrets(&self) -> Option<RotatingSecrets> {
        self.inner().rotating.clone()
    }

    /// Forgets all tickets and the global_id: the next talk with a monitor begins as the first did.
    pub fn forget(&self) {
        let mut inner = self.inner();
        inner.tickets.clear();
        (inner.global_id, inner.asked) = (0, None);
    }

    // v1, and renewals.

    /// v1: the first MAuth on a new session with a monitor. `methods` are those that the client has.
    pub fn hello(&self, methods: &[u32]) -> Auth {
        let mut inner = self.inner();
        (inner.talk, inner.asked) = (Talk::Introduced, None);
        let mut methods = methods.to_vec();
        methods.sort_unstable();
        let name = self.name.clone();
        let payload =
            Introduction { methods: Some(methods), name, global_id: inner.global_id }.encode().into();
        Auth { protocol: method::UNKNOWN, payload, monmap_epoch: 0 }
    }

    /// The session with the monitor has ended: nothing can be renewed until there is another one.
    pub fn monitor_lost(&self) {
        let mut inner = self.inner();
        (inner.talk, inner.asked) = (Talk::None, None);
    }

    /// Takes an MAuthReply, in both versions.
    ///
    /// # Errors
    /// The monitor refuses, or what it says does not convince: it does not know the key, or something was altered.
    pub fn handle_auth_reply(&self, now: Timestamp, reply: &AuthReply) -> Result<Progress, Reason> {
        let mut inner = self.inner();
        if reply.result < 0 {
            return Err(self.refused(&mut inner, reply.result));
        }
        if reply.protocol != method::CEPHX {
            return Err(Reason::Method { found: reply.protocol });
        }
        match inner.talk {
            Talk::None => Err(Reason::OutOfTurn { what: "a monitor's answer" }),
            Talk::Introduced => {
                // The reply has a global_id too. It counts when there is a ticket for it.
                let ServerChallenge(challenge) = ServerChallenge::decode(&reply.payload)?;
                let request = self.prove(&mut inner, challenge, self.options.services | AUTH, now);
                inner.talk = Talk::Proved(challenge);
                Ok(Progress::Send(request))
            }
            Talk::Proved(challenge) | Talk::Open(challenge) => {
                let asked = inner.asked.take();
                match Reply::decode(&reply.payload)? {
                    Reply::Refused(_, result) => {
                        inner.asked = asked;
                        return Err(self.refused(&mut inner, result));
                    }
                    Reply::Session(session) => {
                        let asked = asked.ok_or(Reason::OutOfTurn { what: "a session" })?;
                        self.admit(&mut inner, &session, &asked, reply.global_id, now)?;
                        inner.talk = Talk::Open(challenge);
                    }
                    Reply::ServiceTickets(sealed) => {
                        let Some(Asked {
                            request: Request::ServiceTickets(_, wanted), old: Some(key), ..
                        }) = asked
                        else {
                            return Err(Reason::OutOfTurn { what: "tickets for services" });
                        };
                        let global_id = inner.global_id;
                        for ticket in sealed.open(&key)? {
                            self.keep(&mut inner, ticket, wanted, global_id, now)?;
                        }
                        return Ok(Progress::Ready);
                    }
                    Reply::RotatingSecrets(sealed) => {
                        if inner.asked_rotating.take().is_none() {
                            return Err(Reason::OutOfTurn { what: "rotating secrets" });
                        }
                        inner.asked = asked;
                        let secrets = RotatingSecrets::open(&sealed, &self.key)?;
                        inner.rotating = Some(secrets.clone());
                        return Ok(Progress::Rotating(secrets));
                    }
                }
                // Monitors that do not send the other tickets along are asked for them.
                Ok(self.ask(&mut inner, now).map_or(Progress::Ready, Progress::Send))
            }
        }
    }

    /// What is to be asked of the monitor now, if anything: tickets that will end soon (in the last quarter of their
    /// time), or secrets that have rotated. To be sent on the session with the monitor.
    pub fn renewal(&self, now: Timestamp) -> Option<Auth> {
        let mut inner = self.inner();
        let Talk::Open(_) = inner.talk else { return None };
        self.ask(&mut inner, now).or_else(|| self.ask_rotating(&mut inner, now))
    }

    fn ask(&self, inner: &mut Inner, now: Timestamp) -> Option<Auth> {
        let Talk::Open(challenge) = inner.talk else { return None };
        if inner.asked.as_ref().is_some_and(|asked| now < after(asked.at, PATIENCE)) {
            return None;
        }
        let needed = inner.needed(self.options.services | AUTH, now);
        // Old clusters had no managers: for their sake nobody insists on one.
        if needed & !MGR == 0 {
            return None;
        }
        if needed & AUTH != 0 {
            return Some(self.prove(inner, challenge, needed, now));
        }
        let (mut authorizer, session_key) = inner.authorizer(AUTH)?;
        let proof = Authorize { nonce: inner.random.number(), challenge: None };
        authorizer.prove(proof, &session_key, &mut inner.random);
        let request = Request::ServiceTickets(authorizer, needed);
        let encoded = in_message(&request);
        inner.asked = Some(Asked { request, old: Some(session_key), at: now });
        Some(encoded)
    }

    fn ask_rotating(&self, inner: &mut Inner, now: Timestamp) -> Option<Auth> {
        let ttl = self.options.rotating?;
        let recently = inner.asked_rotating.is_some_and(|at| now < after(at, Duration::from_secs(1)));
        if recently || inner.rotating.as_ref().is_some_and(|secrets| !secrets.is_due(now, ttl)) {
            return None;
        }
        inner.asked_rotating = Some(now);
        Some(in_message(&Request::RotatingSecrets))
    }

    /// The proof for a challenge, and what it is to bring.
    fn prove(&self, inner: &mut Inner, challenge: u64, other_keys: u32, now: Timestamp) -> Auth {
        let asked = self.answer(inner, challenge, other_keys, now);
        let encoded = in_message(&asked.request);
        inner.asked = Some(asked);
        encoded
    }

    fn answer(&self, inner: &mut Inner, challenge: u64, other_keys: u32, now: Timestamp) -> Asked {
        let client_challenge = inner.random.number();
        let held = inner.tickets.get(&AUTH).filter(|_| inner.global_id != 0);
        let authenticate = Authenticate {
            version: 3,
            client_challenge,
            proof: self.key.proof(challenge, client_challenge),
            old_ticket: held.map_or_else(TicketBlob::default, |held| held.ticket.blob.clone()),
            other_keys,
        };
        let old = held.map(|held| held.ticket.session_key.clone());
        Asked { request: Request::Authenticate(authenticate), old, at: now }
    }

    fn refused(&self, inner: &mut Inner, result: i32) -> Reason {
        // The AUTH ticket that was shown may be the reason: its key has rotated away. Without it, the next talk begins
        // as the first did, with another global_id.
        if inner.asked.take().is_some_and(|asked| asked.old.is_some()) {
            inner.tickets.remove(&AUTH);
            inner.global_id = 0;
        }
        Reason::Refused { result }
    }

    /// Opens and takes what a monitor gives.
    fn admit(
        &self,
        inner: &mut Inner,
        session: &SessionReply,
        asked: &Asked,
        global_id: u64,
        now: Timestamp,
    ) -> Result<Admitted, Reason> {
        let Request::Authenticate(Authenticate { other_keys: wanted, .. }) = asked.request else {
            return Err(Reason::OutOfTurn { what: "a session" });
        };
        let granted = session.open(&self.key, asked.old.as_ref())?;
        if global_id == 0 {
            let expected = "the client's number";
            return Err(Reason::Value { what: "session reply", field: "global_id", found: 0, expected });
        }
        let session_key = granted.auth.session_key.clone();
        self.keep(inner, granted.auth, AUTH, global_id, now)?;
        inner.global_id = global_id;
        for ticket in granted.tickets {
            self.keep(inner, ticket, wanted, global_id, now)?;
        }
        Ok(Admitted { session_key, connection_secret: granted.connection_secret })
    }

    fn keep(
        &self,
        inner: &mut Inner,
        ticket: Ticket,
        wanted: u32,
        global_id: u64,
        now: Timestamp,
    ) -> Result<(), Reason> {
        self.options.key_types.check("a session key", &ticket.session_key)?;
        let Ticket { service, validity, .. } = ticket;
        if service & wanted == 0 || !service.is_power_of_two() {
            let (found, expected) = (service.into(), "one that was asked for");
            return Err(Reason::Value { what: "ticket reply", field: "service", found, expected });
        }
        let lasting = Some(validity).filter(|validity| !validity.is_zero());
        let expires = lasting.map(|validity| after(now, validity));
        let renew_after = lasting.map(|validity| after(now, validity - validity / 4));
        inner.tickets.insert(service, Held { ticket, global_id, expires, renew_after });
        Ok(())
    }

    // For the dials.

    /// v2, dialing a monitor: the first payload.
    pub(super) fn introduction(&self) -> Bytes {
        let global_id = self.inner().global_id;
        Introduction { methods: None, name: self.name.clone(), global_id }.encode().into()
    }

    /// v2: the answer to a monitor's challenge.
    pub(super) fn answer_challenge(&self, challenge: ServerChallenge, now: Timestamp) -> Asked {
        self.answer(&mut self.inner(), challenge.0, self.options.services | AUTH, now)
    }

    /// v2: what a monitor gave. From here on, renewals go to that one.
    pub(super) fn admitted(
        &self,
        challenge: ServerChallenge,
        asked: &Asked,
        global_id: u64,
        payload: &[u8],
        now: Timestamp,
    ) -> Result<Admitted, Reason> {
        let mut inner = self.inner();
        match Reply::decode(payload)? {
            Reply::Session(session) => {
                let admitted = self.admit(&mut inner, &session, asked, global_id, now)?;
                (inner.talk, inner.asked) = (Talk::Open(challenge.0), None);
                Ok(admitted)
            }
            Reply::Refused(_, result) => Err(Reason::Refused { result }),
            _ => Err(Reason::OutOfTurn { what: "another answer than a session" }),
        }
    }

    /// v2: a monitor refused. Whether it may have been for the ticket that was shown, which is forgotten.
    pub(super) fn monitor_refused(&self, asked: Option<Asked>) -> bool {
        let mut inner = self.inner();
        let shown =
            asked.is_some_and(|asked| asked.old.is_some()) || (inner.global_id != 0 && inner.asked.is_none());
        if shown {
            inner.tickets.remove(&AUTH);
            inner.global_id = 0;
        }
        shown
    }

    /// What is to be shown to a service.
    pub(super) fn pass(&self, service: u32, now: Timestamp) -> Result<Pass, Reason> {
        let mut inner = self.inner();
        if let Some(expired) =
            inner.tickets.get(&service).and_then(|held| held.expires).filter(|end| *end <= now)
        {
            return Err(Reason::Expired { service, expired: expired.sec, now: now.sec });
        }
        let (mut authorizer, session_key) = inner.authorizer(service).ok_or(Reason::NoTicket { service })?;
        let nonce = inner.random.number();
        authorizer.prove(Authorize { nonce, challenge: None }, &session_key, &mut inner.random);
        Ok(Pass { authorizer, session_key, nonce })
    }

    /// A service does not take the ticket: the next renewal asks for another one.
    pub(super) fn service_refused(&self, service: u32, now: Timestamp) {
        if let Some(held) = self.inner().tickets.get_mut(&service) {
            held.renew_after = Some(now);
        }
    }

    pub(super) fn random(&self) -> Random {
        self.inner().random.fork()
    }
}

impl Inner {
    /// Of these services, those whose tickets are missing or end soon.
    fn needed(&self, services: u32, now: Timestamp) -> u32 {
        let bits = (0..32).map(|bit| 1 << bit).filter(|bit| services & bit != 0);
        let due = |bit: &u32| match self.tickets.get(bit) {
            None => true,
            Some(held) => held.renew_after.is_some_and(|at| at <= now),
        };
        bits.filter(due).fold(0, |needed, bit| needed | bit)
    }

    /// An authorizer that lacks its proof, and the key for that.
    fn authorizer(&self, service: u32) -> Option<(Authorizer, CryptoKey)> {
        let Held { ticket, global_id, .. } = self.tickets.get(&service)?;
        let (global_id, proof) = (*global_id, Bytes::new());
        let authorizer = Authorizer { global_id, service, ticket: ticket.blob.clone(), proof };
        Some((authorizer, ticket.session_key.clone()))
    }
}

/// As MAuth carries it.
fn in_message(request: &Request) -> Auth {
    Auth { protocol: method::CEPHX, payload: request.encode().into(), monmap_epoch: 0 }
}

/// What a talk with a monitor gave for the connection.
pub(super) struct Admitted {
    pub(super) session_key: CryptoKey,
    pub(super) connection_secret: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        let services: Vec<u32> = inner.tickets.keys().copied().collect();
        f.debug_struct("Wallet")
            .field("name", &format_args!("{}", self.name))
            .field("global_id", &inner.global_id)
            .field("tickets", &services)
            .finish_non_exhaustive()
    }
}
