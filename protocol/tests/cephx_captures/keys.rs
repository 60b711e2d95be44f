//! What is known by now, and what do the talks with monitors add to it?

use std::collections::HashMap;

use bytes::Bytes;
use cephwire_protocol::auth::cephx::authorizer::Authorizer;
use cephwire_protocol::auth::cephx::message::{Auth, AuthReply};
use cephwire_protocol::auth::cephx::monitor::{Authenticate, Introduction, Reply, Request, ServerChallenge};
use cephwire_protocol::auth::cephx::{CryptoKey, Entity, RotatingSecrets, Ticket};
use cephwire_protocol::codec::Message;

use super::Tally;

/// All keys of a cluster that are known.
#[derive(Debug)]
pub(crate) struct Keys {
    entities: HashMap<Entity, CryptoKey>,
    /// Session keys by the sealed ticket that has them.
    sessions: HashMap<Bytes, CryptoKey>,
    rotating: HashMap<(u32, u64), CryptoKey>,
}

/// A client's talk with a monitor, as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    pub(crate) name: Option<Entity>,
    pub(crate) challenge: u64,
}

impl Keys {
    /// The section `[keys]`.
    pub(crate) fn of_sidecar(text: &str) -> Self {
        let section = text.split("[keys]\n").nth(1).unwrap().split("\n\n").next().unwrap();
        // (Some have keys of nobody too, which were used to be refused.)
        let entities = section.lines().filter_map(|line| {
            let mut quoted = line.split('"');
            let (name, key) = (quoted.nth(1)?, quoted.nth(1)?);
            Some((name.parse().ok()?, key.parse().unwrap()))
        });
        Self { entities: entities.collect(), sessions: HashMap::new(), rotating: HashMap::new() }
    }

    pub(crate) fn of_entity(&self, name: &Entity) -> Option<&CryptoKey> {
        self.entities.get(name)
    }

    fn keep(&mut self, ticket: Ticket) {
        self.sessions.insert(ticket.blob.blob, ticket.session_key);
    }

    /// The session key in an authorizer's ticket: by the service's secret, or as the client got it.
    pub(crate) fn session(&self, authorizer: &Authorizer, tally: &mut Tally) -> Option<CryptoKey> {
        let known = self.sessions.get(&authorizer.ticket.blob);
        let Some(secret) = self.rotating.get(&(authorizer.service, authorizer.ticket.secret_id)) else {
            return known.cloned();
        };
        // An altered one does not open, and nobody has a key for it.
        let info = authorizer.ticket.open(secret).ok()?;
        tally.tickets += 1;
        assert_eq!(info.ticket.global_id, authorizer.global_id);
        assert_eq!((info.ticket.auid, info.ticket.caps.allow_all, info.ticket.flags), (u64::MAX, false, 0));
        assert!(info.ticket.caps.text().is_some() && info.ticket.created < info.ticket.expires);
        assert!(known.is_none_or(|known| *known == info.session_key));
        Some(info.session_key)
    }

    /// A proof and its answer, with the mode `secure` if there is to be a secret. Nothing if it was refused.
    pub(crate) fn admitted(
        &mut self,
        talk: &Talk,
        asked: &Authenticate,
        reply: Option<&[u8]>,
        tally: &mut Tally,
    ) -> Option<(CryptoKey, Vec<u8>)> {
        let key = talk.name.as_ref().and_then(|name| self.of_entity(name)).cloned();
        let proves =
            key.as_ref().map(|key| key.proof(talk.challenge, asked.client_challenge)) == Some(asked.proof);
        let Some(reply) = reply else {
            tally.refusals += 1;
            assert!(!proves, "a right proof was refused");
            return None;
        };
        assert!(proves, "a wrong proof was taken");
        let decoded = Reply::decode(reply).unwrap();
        assert_eq!(decoded.encode(), reply);
        let Reply::Session(session) = decoded else { panic!("{decoded:?}") };
        let old = self.sessions.get(&asked.old_ticket.blob).cloned();
        let granted = session.open(&key.unwrap(), old.as_ref()).unwrap();
        let session_key = granted.auth.session_key.clone();
        granted.tickets.into_iter().for_each(|ticket| self.keep(ticket));
        self.keep(granted.auth);
        Some((session_key, granted.connection_secret.to_vec()))
    }

    /// The messages of a session with a monitor, requests and answers; true if the client was let in.
    pub(crate) fn messages(
        &mut self,
        mut talk: Talk,
        requests: &[Message],
        replies: &[Message],
        tally: &mut Tally,
    ) -> bool {
        let mut admitted = false;
        for (request, reply) in requests.iter().zip(replies) {
            let auth = Auth::decode(&request.front.clone().into_bytes()).unwrap();
            let front = reply.front.clone().into_bytes();
            let reply = AuthReply::decode(&front).unwrap();
            assert_eq!(reply.message().front.into_bytes(), front);
            if auth.protocol == 0 {
                let introduction = Introduction::decode(&auth.payload).unwrap();
                assert_eq!(introduction.encode(), auth.payload);
                if reply.result != 0 {
                    let methods = introduction.methods.unwrap();
                    assert_eq!((reply.result, reply.protocol, methods.contains(&2)), (-95, 0, false));
                    tally.refusals += 1;
                    continue;
                }
                let challenge = ServerChallenge::decode(&reply.payload).unwrap();
                assert_eq!(challenge.encode(), reply.payload);
                talk = Talk { name: Some(introduction.name), challenge: challenge.0 };
                continue;
            }
            let request = Request::decode(&auth.payload).unwrap();
            assert_eq!(request.encode(), auth.payload);
            match request {
                Request::Authenticate(asked) => {
                    let payload = (reply.result == 0).then_some(&reply.payload[..]);
                    admitted |= self.admitted(&talk, &asked, payload, tally).is_some();
                }
                Request::ServiceTickets(authorizer, keys) => {
                    let session_key = self.sessions.get(&authorizer.ticket.blob).unwrap().clone();
                    authorizer.open(&session_key).unwrap();
                    let decoded = Reply::decode(&reply.payload).unwrap();
                    assert_eq!(decoded.encode(), reply.payload);
                    let Reply::ServiceTickets(tickets) = decoded else { panic!("{decoded:?}") };
                    for ticket in tickets.open(&session_key).unwrap() {
                        assert_ne!(ticket.service & keys, 0);
                        self.keep(ticket);
                    }
                }
                Request::RotatingSecrets => {
                    let Ok(Reply::RotatingSecrets(sealed)) = Reply::decode(&reply.payload) else { panic!() };
                    let name = talk.name.clone().unwrap();
                    let secrets = RotatingSecrets::open(&sealed, &self.entities[&name]).unwrap();
                    assert_eq!(secrets.secrets.len(), 3);
                    for (id, secret) in secrets.secrets {
                        self.rotating.insert((name.kind.0.into(), id), secret.key);
                    }
                }
            }
        }
        admitted
    }
}
