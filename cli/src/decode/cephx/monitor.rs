//! What do a client and a monitor say to each other, and which tickets come of it?

use cephwire_codec::v2::method;
use cephwire_protocol::auth::cephx::monitor::{
    Authenticate, Introduction, Reply, Request, ServerChallenge, SessionReply, open_connection_secret,
};
use cephwire_protocol::auth::cephx::ticket::{Ticket, TicketReply};
use cephwire_protocol::auth::cephx::{CryptoKey, Entity, RotatingSecrets, TicketBlob};
use cephwire_protocol::key_log::ticket_id;
use serde_json::{Map, Value, json};

use super::super::fields;
use super::super::keys::Keys;
use super::inside::{seconds, secret_id, service_name, services};
use super::{Exchange, Inside};

/// What is known of a client and its monitor.
#[derive(Default)]
pub(super) struct Monitor {
    /// Who the client is.
    entity: Option<Entity>,
    /// The monitor's challenge.
    challenge: Option<u64>,
    /// The AUTH ticket by which the client keeps its global_id.
    old_ticket: TicketBlob,
    /// The session key of the last AUTH ticket.
    auth_key: Option<CryptoKey>,
    /// That of the AUTH ticket shown in the last request for tickets.
    shown_key: Option<CryptoKey>,
}

impl Monitor {
    /// Whose connection it is, for people.
    fn name(&self) -> String {
        self.entity.as_ref().map_or_else(|| "a client that is not known".to_owned(), ToString::to_string)
    }

    fn keys<'a>(&self, keys: &'a Keys) -> &'a [CryptoKey] {
        self.entity.as_ref().map_or(&[], |entity| keys.of_entity(entity))
    }

    /// Why something sealed with the entity's key was not opened.
    fn blame(&self, inside: &mut Inside, what: &str, keys: &Keys) {
        let name = self.name();
        if self.keys(keys).is_empty() {
            inside.unread(format!("there is no key of {name} for {what}"));
        } else {
            inside.set_wrong(&format!("the key of {name} does not open {what}: another one was used"));
        }
    }
}

impl Exchange {
    /// A client says who it is.
    pub(super) fn introduction(&mut self, payload: &[u8]) -> Inside {
        let mut inside = Inside::of("introduction");
        match Introduction::decode(payload) {
            Ok(Introduction { methods, name, global_id }) => {
                inside.say("entity", name.to_string());
                inside.say("global_id", global_id);
                if let Some(methods) = methods {
                    inside.say("methods", fields::names(&methods, method::name));
                }
                self.monitor.entity = Some(name);
                inside
            }
            Err(reason) => inside.wrong(&reason),
        }
    }

    /// A monitor's challenge.
    pub(super) fn server_challenge(&mut self, payload: &[u8]) -> Inside {
        let mut inside = Inside::of("server_challenge");
        match ServerChallenge::decode(payload) {
            Ok(ServerChallenge(challenge)) => {
                inside.say("challenge", fields::hex(challenge));
                self.monitor.challenge = Some(challenge);
                inside
            }
            Err(reason) => inside.wrong(&reason),
        }
    }

    /// What a client wants of a monitor.
    pub(super) fn request(&mut self, payload: &[u8]) -> Inside {
        match Request::decode(payload) {
            Ok(Request::Authenticate(request)) => self.authenticate(request),
            Ok(Request::ServiceTickets(authorizer, keys)) => {
                let mut inside = Inside::of("service_ticket_request");
                inside.say("global_id", authorizer.global_id);
                inside.say("secret_id", secret_id(&authorizer.ticket));
                inside.say("wants", services(keys));
                self.monitor.shown_key = self.keys.borrow().of_ticket(&authorizer.ticket).cloned();
                let known = self.monitor.shown_key.as_ref().or(self.monitor.auth_key.as_ref());
                if let Some(key) = known {
                    inside.say("proof", if authorizer.open(key).is_ok() { "ok" } else { "wrong" });
                }
                inside
            }
            Ok(Request::RotatingSecrets) => Inside::of("rotating_secrets_request"),
            Err(reason) => Inside::malformed("request", &reason),
        }
    }

    fn authenticate(&mut self, request: Authenticate) -> Inside {
        let mut inside = Inside::of("authenticate");
        inside.say("version", request.version);
        inside.say("challenge", fields::hex(request.client_challenge));
        if !request.old_ticket.blob.is_empty() {
            inside.say("old_ticket", secret_id(&request.old_ticket));
        }
        inside.say("wants", services(request.other_keys));
        let keys = self.keys.borrow();
        if let (Some(challenge), [_, ..]) = (self.monitor.challenge, self.monitor.keys(&keys)) {
            let proves = |key: &CryptoKey| key.proof(challenge, request.client_challenge) == request.proof;
            let right = self.monitor.keys(&keys).iter().any(proves);
            inside.say("proof", if right { "ok" } else { "wrong" });
        }
        self.monitor.old_ticket = request.old_ticket;
        inside
    }

    /// A monitor's answer.
    pub(super) fn reply(&mut self, payload: &[u8]) -> Inside {
        match Reply::decode(payload) {
            Ok(Reply::Session(reply)) => self.session(&reply),
            Ok(Reply::ServiceTickets(reply)) => {
                let mut inside = Inside::of("service_tickets");
                // The request may be missing, and what was shown before it too old.
                let known = [self.monitor.shown_key.take(), self.monitor.auth_key.clone()];
                let known: Vec<_> = known.into_iter().flatten().collect();
                match known.iter().find(|key| reply.open(key).is_ok()).or(known.first()) {
                    Some(key) => self.tickets(&reply, key, &mut inside),
                    None => inside.unread("the session key of the AUTH ticket is not known"),
                }
                inside
            }
            Ok(Reply::RotatingSecrets(sealed)) => self.rotating(&sealed),
            Ok(Reply::Refused(kind, result)) => {
                let mut inside = Inside::of("refusal");
                inside.say("request_type", fields::hex(kind.into()));
                inside.say("result", result);
                inside
            }
            Err(reason) => Inside::malformed("reply", &reason),
        }
    }

    /// The client is authenticated.
    fn session(&mut self, reply: &SessionReply) -> Inside {
        let mut inside = Inside::of("session");
        let [auth] = &reply.auth.tickets[..] else {
            let count = reply.auth.tickets.len();
            return inside.wrong(&format!("{count} AUTH tickets, not one"));
        };
        let old = self.keys.borrow().of_ticket(&self.monitor.old_ticket).cloned();
        let old = old.or_else(|| self.monitor.auth_key.clone());
        let blob = auth.open_blob(old.as_ref()).ok();
        let (session_key, validity) = {
            let keys = self.keys.borrow();
            let with_key = self.monitor.keys(&keys).iter().find_map(|key| auth.open_session(key).ok());
            let from_ticket = || blob.as_ref().and_then(|blob| keys.of_ticket(blob)).cloned();
            match with_key {
                Some((key, validity)) => (key, Some(validity)),
                None => match from_ticket() {
                    Some(key) => (key, None),
                    None => {
                        self.monitor.blame(&mut inside, "the session key", &keys);
                        return inside;
                    }
                },
            }
        };
        let mut told = Map::new();
        told.insert("service".to_owned(), service_name(auth.service).into());
        told.insert("key_type".to_owned(), session_key.kind().name().into());
        if let Some(validity) = validity {
            told.insert("validity".to_owned(), seconds(validity));
        }
        told.insert("encrypted".to_owned(), auth.encrypted.into());
        if let Some(blob) = &blob {
            told.insert("secret_id".to_owned(), secret_id(blob));
            self.keys.borrow_mut().learn_ticket(blob, &session_key);
        }
        tell_secrets(&mut told, blob.as_ref(), &session_key, &self.keys.borrow());
        inside.say("auth_ticket", Value::Object(told));
        if let Some((secret, extra)) = &reply.more {
            if !secret.is_empty() {
                match open_connection_secret(secret, &session_key) {
                    Ok(secret) => {
                        inside.say("connection_secret_len", secret.len());
                        self.connection_secret.get_or_insert(secret);
                    }
                    Err(reason) => inside.set_wrong(&reason),
                }
            }
            if !extra.is_empty() {
                match TicketReply::decode(extra) {
                    Ok(extra) => self.tickets(&extra, &session_key, &mut inside),
                    Err(reason) => inside.set_wrong(&reason),
                }
            }
        }
        self.session_key.get_or_insert_with(|| session_key.clone());
        self.monitor.auth_key = Some(session_key);
        inside
    }

    /// Tickets for services.
    fn tickets(&mut self, reply: &TicketReply, key: &CryptoKey, inside: &mut Inside) {
        let mut told = Vec::new();
        for sealed in &reply.tickets {
            match sealed.open(key, None) {
                Ok(Ticket { service, session_key, validity, blob }) => {
                    self.keys.borrow_mut().learn_ticket(&blob, &session_key);
                    let keys = self.keys.borrow();
                    let mut ticket = Map::new();
                    ticket.insert("service".to_owned(), service_name(service).into());
                    ticket.insert("key_type".to_owned(), session_key.kind().name().into());
                    ticket.insert("validity".to_owned(), seconds(validity));
                    ticket.insert("secret_id".to_owned(), secret_id(&blob));
                    tell_secrets(&mut ticket, Some(&blob), &session_key, &keys);
                    told.push(Value::Object(ticket));
                }
                Err(reason) => {
                    let service = service_name(sealed.service);
                    inside.set_wrong(&format!("ticket for {service}: {reason}"));
                }
            }
        }
        inside.say("tickets", told);
    }

    /// The keys with which tickets for the client's own service are sealed.
    fn rotating(&mut self, sealed: &[u8]) -> Inside {
        let mut inside = Inside::of("rotating_secrets");
        let opened = {
            let keys = self.keys.borrow();
            let opened =
                self.monitor.keys(&keys).iter().find_map(|key| RotatingSecrets::open(sealed, key).ok());
            if opened.is_none() {
                self.monitor.blame(&mut inside, "the rotating secrets", &keys);
            }
            opened
        };
        let (Some(opened), Some(entity)) = (opened, &self.monitor.entity) else { return inside };
        inside.say("service", entity.kind.to_string());
        let mut told = Vec::new();
        for (id, secret) in opened.secrets {
            let mut one = json!({
                "secret_id": id,
                "key_type": secret.key.kind().name(),
                "expires": secret.expiration.to_string(),
            });
            let mut keys = self.keys.borrow_mut();
            if let (true, Some(one)) = (keys.show_secrets(), one.as_object_mut()) {
                one.insert("key".to_owned(), secret.key.to_base64().as_str().into());
            }
            told.push(one);
            keys.learn_service_secret(entity.kind, id, secret.key);
        }
        inside.say("secrets", told);
        inside
    }
}

/// What a line of a secrets file says of a ticket, if it may be shown.
fn tell_secrets(told: &mut Map<String, Value>, blob: Option<&TicketBlob>, key: &CryptoKey, keys: &Keys) {
    if keys.show_secrets() {
        if let Some(blob) = blob {
            told.insert("ticket".to_owned(), fields::bytes(&ticket_id(blob)));
        }
        told.insert("session_key".to_owned(), key.to_base64().as_str().into());
    }
}
