//! What do a client and a service say to each other, and which session key do they share?

use cephwire_protocol::auth::cephx::authorizer::{AuthorizeChallenge, AuthorizeReply};
use cephwire_protocol::auth::cephx::{Authorizer, CryptoKey, TicketBlob};
use cephwire_protocol::key_log::ticket_id;

use super::super::fields;
use super::super::keys::Opened;
use super::inside::{secret_id, service_name, ticket_info};
use super::{Exchange, Inside};

/// What is known of a client and its service.
#[derive(Default)]
pub(super) struct Service {
    /// The ticket that was shown, for people.
    ticket: String,
    /// Its session key.
    session_key: Option<CryptoKey>,
    /// Whose key should have opened the ticket, and did not.
    not_by: Option<String>,
    /// The client's random number.
    nonce: Option<u64>,
    /// The service's.
    challenge: Option<AuthorizeChallenge>,
}

impl Service {
    /// Why something sealed with the session key was not opened.
    fn blame(&self, inside: &mut Inside) {
        let ticket = &self.ticket;
        match &self.not_by {
            Some(entity) => {
                inside
                    .set_wrong(&format!("the key of {entity} does not open {ticket}: another one was used"));
            }
            None => inside.unread(format!("there is no key for {ticket}")),
        }
    }
}

impl Exchange {
    /// A client shows a ticket.
    pub(super) fn authorizer(&mut self, payload: &[u8]) -> Inside {
        let mut inside = Inside::of("authorizer");
        let authorizer = match Authorizer::decode(payload) {
            Ok(authorizer) => authorizer,
            Err(reason) => return inside.wrong(&reason),
        };
        inside.say("global_id", authorizer.global_id);
        inside.say("service", service_name(authorizer.service));
        inside.say("secret_id", secret_id(&authorizer.ticket));
        self.service.ticket = describe(authorizer.service, &authorizer.ticket);
        self.service.not_by = None;
        let mut keys = self.keys.borrow_mut();
        let mut session_key = keys.of_ticket(&authorizer.ticket).cloned();
        match keys.open_ticket(authorizer.service, &authorizer.ticket) {
            Opened::By(info) => {
                keys.learn_ticket(&authorizer.ticket, &info.session_key);
                inside.say("ticket", ticket_info(&info.ticket));
                session_key = Some(info.session_key);
            }
            Opened::NotBy(entity) => self.service.not_by = Some(entity),
            Opened::NoKey => {}
        }
        self.service.nonce = None;
        match &session_key {
            None => inside.unread(format!("there is no key for {}", self.service.ticket)),
            Some(key) => {
                inside.say("key_type", key.kind().name());
                if keys.show_secrets() {
                    inside.say("ticket_id", fields::bytes(&ticket_id(&authorizer.ticket)));
                }
                inside.say_key("session_key", key, &keys);
                match authorizer.open(key) {
                    Ok(proof) => {
                        self.service.nonce = Some(proof.nonce);
                        inside.say("nonce", fields::hex(proof.nonce));
                        let right = self.service.challenge.map(AuthorizeChallenge::answer);
                        match proof.challenge {
                            Some(answer) if right.is_none_or(|right| right == answer) => {
                                inside.say("challenge", "answered");
                            }
                            Some(_) => inside.say("challenge", "answered wrongly"),
                            None => {}
                        }
                    }
                    // The service will refuse it; that is between the two.
                    Err(_) => inside.say("proof", "wrong"),
                }
            }
        }
        self.service.session_key = session_key;
        inside
    }

    /// A service asks whether the client is there now.
    pub(super) fn authorizer_challenge(&mut self, payload: &[u8]) -> Inside {
        let mut inside = Inside::of("authorizer_challenge");
        match &self.service.session_key {
            None => self.service.blame(&mut inside),
            Some(key) => match AuthorizeChallenge::open(payload, key) {
                Ok(challenge) => {
                    self.service.challenge = Some(challenge);
                    inside.say("challenge", fields::hex(challenge.0));
                }
                Err(reason) => {
                    let ticket = &self.service.ticket;
                    inside.set_wrong(&format!("with the session key of {ticket}: {reason}"));
                }
            },
        }
        inside
    }

    /// A service lets the client in, and shows that it could read the ticket.
    pub(super) fn authorizer_reply(&mut self, payload: &[u8]) -> Inside {
        let mut inside = Inside::of("authorizer_reply");
        let Some(key) = &self.service.session_key else {
            self.service.blame(&mut inside);
            return inside;
        };
        match AuthorizeReply::open(payload, key) {
            Ok(reply) => {
                let fits =
                    self.service.nonce.is_none_or(|nonce| nonce.wrapping_add(1) == reply.nonce_plus_one);
                inside.say("nonce_plus_one", fields::hex(reply.nonce_plus_one));
                if !fits {
                    inside.set_wrong(&"the reply does not fit the authorizer");
                }
                inside.say("connection_secret_len", reply.connection_secret.len());
                self.session_key = Some(key.clone());
                if !reply.connection_secret.is_empty() {
                    self.connection_secret = Some(reply.connection_secret);
                }
            }
            Err(reason) => {
                let ticket = &self.service.ticket;
                inside.set_wrong(&format!("with the session key of {ticket}: {reason}"));
            }
        }
        inside
    }
}

fn describe(service: u32, ticket: &TicketBlob) -> String {
    let service = service_name(service);
    match secret_id(ticket).as_u64() {
        Some(id) => format!("the ticket for {service}, sealed with its secret {id}"),
        None => format!("the ticket for {service}, sealed with its own key"),
    }
}
