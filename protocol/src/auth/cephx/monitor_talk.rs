//! What does a monitor say to one client?
//!
//! It challenges whoever introduces itself, known or not; checks the proof; gives tickets; renews them. A client keeps
//! its global_id only by the AUTH ticket that says so (CVE-2021-20288):
//!
//! | global_id claimed | old ticket | |
//! |---|---|---|
//! | 0 | none | a new one |
//! | 0 | any | refused, −22 |
//! | n | for n, readable | n again |
//! | n | none, unreadable or for another | refused, −13; old clients may be let in by an option |

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use cephwire_codec::v2::{method, mode};
use cephwire_codec::{EntityType, Timestamp};
use subtle::ConstantTimeEq;

use super::authorizer::Authorizer;
use super::client::{between_monitors, secrets};
use super::key::CryptoKey;
use super::key_server::KeyServer;
use super::message::{Auth as MAuth, AuthReply};
use super::monitor::{
    Authenticate, Introduction, Reply, Request as MonRequest, ServerChallenge, SessionReply, request,
    seal_connection_secret,
};
use super::random::Random;
use super::service::{Check, Known, connection_secret, open_ticket, rightly_announced};
use super::ticket::{TicketBlob, TicketInfo, TicketReply};
use crate::auth::{Answer, Auth, Client, Entity, Peer, Reason, Request, Server};
use crate::connection::Version;
use cephwire_codec::Features;

const AUTH: u32 = EntityType::AUTH.0 as u32;

/// A monitor's talk with one client.
pub struct MonitorTalk {
    server: Arc<KeyServer>,
    random: Random,
    at: At,
}

#[derive(Clone, Debug)]
enum At {
    Start,
    /// `given` is the number that a new client will have, if it is decided already.
    Challenged {
        name: Entity,
        claimed: u64,
        given: Option<u64>,
        challenge: u64,
    },
    Open {
        name: Entity,
        global_id: u64,
        challenge: u64,
    },
}

/// What a proof brought.
struct Admitted {
    name: Entity,
    global_id: u64,
    session_key: CryptoKey,
    connection_secret: zeroize::Zeroizing<Vec<u8>>,
    reply: Vec<u8>,
}

impl MonitorTalk {
    pub(super) fn new(server: Arc<KeyServer>) -> Self {
        let random = server.random();
        Self { server, random, at: At::Start }
    }

    pub(super) fn resumed(server: Arc<KeyServer>, name: Entity, global_id: u64, challenge: u64) -> Self {
        let random = server.random();
        Self { server, random, at: At::Open { name, global_id, challenge } }
    }

    /// Who the client is and its number in the cluster, once it has proved that.
    #[must_use]
    pub fn client(&self) -> Option<(&Entity, u64)> {
        match &self.at {
            At::Open { name, global_id, .. } => Some((name, *global_id)),
            At::Start | At::Challenged { .. } => None,
        }
    }

    /// Takes an MAuth. The reply says yes or no; why not stands beside it, and is not told to the client.
    pub fn handle_auth(&mut self, now: Timestamp, auth: &MAuth) -> (AuthReply, Result<(), Reason>) {
        let answer = match auth.protocol {
            method::UNKNOWN => self.introduced_by_message(&auth.payload),
            method::CEPHX => self.asked(now, &auth.payload),
            found => Err(Reason::Method { found }),
        };
        let global_id = match &self.at {
            At::Start => 0,
            At::Challenged { claimed, given, .. } => given.unwrap_or(*claimed),
            At::Open { global_id, .. } => *global_id,
        };
        let no_method = matches!(answer, Err(Reason::Method { .. }));
        let protocol = if no_method { method::UNKNOWN } else { method::CEPHX };
        let (result, payload, outcome) = match answer {
            Ok(payload) => (0, payload.into(), Ok(())),
            Err(reason) => (reason.errno(), Bytes::new(), Err(reason)),
        };
        (AuthReply { protocol, result, global_id, payload, text: String::new() }, outcome)
    }

    fn introduced_by_message(&mut self, payload: &[u8]) -> Result<Vec<u8>, Reason> {
        let Introduction { methods, name, global_id } = Introduction::decode(payload)?;
        let methods = methods.ok_or(Reason::OutOfTurn { what: "an introduction of v2" })?;
        if !methods.contains(&method::CEPHX) {
            return Err(Reason::Method { found: methods.first().copied().unwrap_or(method::UNKNOWN) });
        }
        // The number is told with the challenge already: a client of Ceph begins anew whenever it changes.
        let given = (global_id == 0).then(|| self.server.next_global_id());
        Ok(self.challenge(name, global_id, given))
    }

    /// Challenges a client. Whether it is known is not looked at yet: nobody shall learn that so easily.
    fn challenge(&mut self, name: Entity, claimed: u64, given: Option<u64>) -> Vec<u8> {
        let challenge = self.random.number();
        self.at = At::Challenged { name, claimed, given, challenge };
        ServerChallenge(challenge).encode()
    }

    /// A request in a message.
    fn asked(&mut self, now: Timestamp, payload: &[u8]) -> Result<Vec<u8>, Reason> {
        match (MonRequest::decode(payload)?, &self.at) {
            (_, At::Start) => Err(Reason::OutOfTurn { what: "a request" }),
            (MonRequest::Authenticate(authenticate), _) => {
                Ok(self.admit(now, mode::UNKNOWN, &authenticate)?.reply)
            }
            (MonRequest::ServiceTickets(authorizer, keys), At::Open { name, global_id, .. }) => {
                let info = self.auth_ticket(&authorizer, now)?;
                if info.ticket.name != *name || info.ticket.global_id != *global_id {
                    let (claimed, proven) = (*global_id, Some(info.ticket.global_id));
                    return Err(Reason::GlobalId { claimed, proven });
                }
                // Who has copied a ticket does not have its key.
                authorizer.open(&info.session_key)?;
                let (name, global_id) = (name.clone(), *global_id);
                let tickets = self.tickets(keys & !AUTH, &name, global_id, &info.session_key, now);
                let none = tickets.tickets.is_empty() && keys & !AUTH != 0;
                let refused = Reply::Refused(request::PRINCIPAL_SESSION_KEY, NO_ENTRY);
                Ok(if none { refused } else { Reply::ServiceTickets(tickets) }.encode())
            }
            (MonRequest::RotatingSecrets, At::Open { name, .. }) => {
                let kind = name.kind;
                let daemon = matches!(kind, EntityType::OSD | EntityType::MDS | EntityType::MGR);
                let keys = self.server.keys(name);
                let (Some(key), true) = (keys.first(), daemon) else {
                    return Err(Reason::OutOfTurn { what: "a client's request for rotating secrets" });
                };
                let secrets = self.server.rotating_secrets(kind, now).seal(key, &mut self.random);
                Ok(Reply::RotatingSecrets(secrets).encode())
            }
            (_, At::Challenged { .. }) => Err(Reason::ChallengeSkipped),
        }
    }

    /// The ticket in an authorizer for the ticket service.
    fn auth_ticket(&self, authorizer: &Authorizer, now: Timestamp) -> Result<TicketInfo, Reason> {
        if authorizer.service != AUTH {
            return Err(Reason::WrongService { found: authorizer.service, expected: AUTH });
        }
        let server = &self.server;
        open_ticket(authorizer, &server.options.service, now, |secret_id| server.auth_secret(secret_id))
    }

    /// Checks a proof; gives what was asked for.
    fn admit(
        &mut self,
        now: Timestamp,
        connection_mode: u32,
        asked: &Authenticate,
    ) -> Result<Admitted, Reason> {
        let (name, claimed, given, challenge) = match &self.at {
            At::Challenged { name, claimed, given, challenge } => {
                (name.clone(), *claimed, *given, *challenge)
            }
            At::Open { name, global_id, challenge } => (name.clone(), *global_id, None, *challenge),
            At::Start => return Err(Reason::ChallengeSkipped),
        };
        let keys = self.server.keys(&name);
        let proves =
            |key: &&CryptoKey| bool::from(key.proof(challenge, asked.client_challenge).ct_eq(&asked.proof));
        let key = match keys.iter().find(proves) {
            Some(key) => key,
            None if keys.is_empty() => return Err(Reason::UnknownEntity { entity: name.to_string() }),
            None => return Err(Reason::WrongKey { entity: name.to_string() }),
        };
        self.server.options.service.key_types.check("the client's key", key)?;
        let old = self.reclaim(claimed, asked)?;
        let new = || given.unwrap_or_else(|| self.server.next_global_id());
        let global_id = if claimed == 0 { new() } else { claimed };
        let ticket = self.server.auth_ticket(&name, global_id, key, now)?;
        let session_key = ticket.session_key.clone();
        let auth = TicketReply { tickets: vec![ticket.seal(key, old.as_ref(), &mut self.random)] };
        let (mut secret, mut more) = (zeroize::Zeroizing::default(), None);
        if asked.other_keys != 0 {
            let mut sealed = Vec::new();
            // In messages, there is no connection to encrypt.
            if connection_mode != mode::UNKNOWN {
                secret = connection_secret(connection_mode, &mut self.random);
                sealed = seal_connection_secret(&secret, &session_key, &mut self.random);
            }
            let others = self.tickets(asked.other_keys & !AUTH, &name, global_id, &session_key, now);
            let extra = if others.tickets.is_empty() { Vec::new() } else { others.encode() };
            more = Some((sealed.into(), extra.into()));
        } else if connection_mode == mode::SECURE {
            // There is no place for the secret in the answer. (Ceph's monitors abort.)
            return Err(Reason::NoConnectionSecret);
        }
        self.server.remember(global_id, &name, challenge);
        self.at = At::Open { name: name.clone(), global_id, challenge };
        let reply = Reply::Session(SessionReply { auth, more }).encode();
        Ok(Admitted { name, global_id, session_key, connection_secret: secret, reply })
    }

    /// Whether a client may keep the number that it claims; the session key of the ticket that proves it.
    fn reclaim(&self, claimed: u64, asked: &Authenticate) -> Result<Option<CryptoKey>, Reason> {
        let shown = asked.old_ticket != TicketBlob::default();
        if claimed == 0 {
            return if shown { Err(Reason::SuperfluousTicket) } else { Ok(None) };
        }
        // An old one will do, as long as its key is there.
        let key = self.server.auth_secret(asked.old_ticket.secret_id).filter(|_| shown);
        let info = key.and_then(|key| asked.old_ticket.open(&key).ok());
        match info {
            Some(info) if info.ticket.global_id == claimed => Ok(Some(info.session_key)),
            _ if asked.version < 3 && self.server.options.allow_insecure_global_id_reclaim => Ok(None),
            info => Err(Reason::GlobalId { claimed, proven: info.map(|info| info.ticket.global_id) }),
        }
    }

    /// Tickets for those of these services that there are.
    fn tickets(
        &mut self,
        services: u32,
        name: &Entity,
        global_id: u64,
        key: &CryptoKey,
        now: Timestamp,
    ) -> TicketReply {
        let bits = (0..32).map(|bit| 1u32 << bit).filter(|bit| services & bit != 0);
        let made = bits.filter_map(|service| self.server.service_ticket(service, name, global_id, now).ok());
        TicketReply { tickets: made.map(|ticket| ticket.seal(key, None, &mut self.random)).collect() }
    }
}

/// ENOENT.
const NO_ENTRY: i32 = -2;

impl fmt::Debug for MonitorTalk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MonitorTalk").field("client", &self.client()).finish_non_exhaustive()
    }
}

/// Authenticates as a monitor does: clients by their keys, other monitors by the key that all of them share.
#[derive(Clone, Debug)]
pub struct MonitorAuth(pub Arc<KeyServer>);

impl Auth for MonitorAuth {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        let key = self.0.keys(&Entity::monitors()).into_iter().next();
        match key.filter(|_| peer.kind == EntityType::MON) {
            Some(key) => between_monitors(&key, self.0.options.service.sign_messages, self.0.random(), peer),
            None => Box::new(NoTicket(peer.kind)),
        }
    }

    fn server(&self, peer: &Peer) -> Box<dyn Server> {
        let check = Check::new(peer.now, self.0.random());
        Box::new(OfMonitor { talk: self.0.talk(), check, peer: *peer, done: false })
    }

    fn required_features(&self, peer: EntityType, method: u32) -> Features {
        self.0.options.service.required_features(peer, method)
    }
}

/// A monitor that dials anybody but a monitor, or without the monitors' key.
struct NoTicket(EntityType);

impl Client for NoTicket {
    fn open(&mut self, _allowed: &[u32]) -> Result<Option<crate::auth::Opening>, crate::error::Denied> {
        Err(Reason::NoTicket { service: self.0.0.into() }.into())
    }

    fn more(&mut self, _payload: &[u8]) -> Result<Bytes, crate::error::Denied> {
        Err(Reason::OutOfTurn { what: "a challenge" }.into())
    }

    fn done(&mut self, _: u64, _: u32, _: &[u8]) -> Result<crate::auth::Secrets, crate::error::Denied> {
        Err(Reason::OutOfTurn { what: "a reply" }.into())
    }
}

/// A monitor's half of one accepted connection.
struct OfMonitor {
    talk: MonitorTalk,
    check: Check,
    peer: Peer,
    done: bool,
}

impl Server for OfMonitor {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        let answer = if request.method == method::CEPHX {
            self.answer(request)
        } else if request.payload.is_empty() {
            Err(Reason::NoAuthorizer)
        } else {
            Err(Reason::Method { found: request.method })
        };
        answer.unwrap_or_else(|reason| {
            // Whatever went wrong: who was challenged before is to be challenged anew.
            self.check.forget();
            Answer::Bad(reason)
        })
    }

    fn methods(&self) -> Vec<u32> {
        vec![method::CEPHX]
    }
}

impl OfMonitor {
    fn answer(&mut self, request: &Request<'_>) -> Result<Answer, Reason> {
        let server = Arc::clone(&self.talk.server);
        // The first byte tells what it is. Authorizers come from monitors; introductions, from clients, and in v2 alone:
        // in v1 they are messages.
        let introduces = self.peer.version == Version::V2
            && request.payload.first().is_some_and(|mode| *mode >= super::monitor::MODE_MON);
        if matches!(self.talk.at, At::Start) && (self.peer.kind == EntityType::MON || !introduces) {
            let kind = EntityType::MON;
            let (announced, options) = (self.peer.kind, &server.options.service);
            let known = Known { kind, announced, options, challenge_all: true };
            return self.check.request(&known, request, |secret_id| server.monitors_secret(secret_id));
        }
        match self.talk.at {
            At::Start => {
                let Introduction { methods, name, global_id } = Introduction::decode(request.payload)?;
                if methods.is_some() {
                    return Err(Reason::OutOfTurn { what: "an introduction of v1" });
                }
                rightly_announced(self.peer.kind, &name)?;
                Ok(Answer::More(self.talk.challenge(name, global_id, None).into()))
            }
            At::Challenged { .. } if !self.done => {
                let MonRequest::Authenticate(asked) = MonRequest::decode(request.payload)? else {
                    return Err(Reason::OutOfTurn { what: "another request than to be authenticated" });
                };
                let admitted = self.talk.admit(self.peer.now, request.mode, &asked)?;
                self.done = true;
                let Admitted { name, global_id, session_key, connection_secret, reply } = admitted;
                let secrets = secrets(&session_key, connection_secret, false);
                let (name, caps, payload) = (Some(name), Bytes::new(), reply.into());
                Ok(Answer::Done { name, global_id, caps, payload, secrets })
            }
            At::Challenged { .. } | At::Open { .. } => Err(Reason::OutOfTurn { what: "another request" }),
        }
    }
}
