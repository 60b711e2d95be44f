//! Which keys are there, given or found on the way, and what do they open?
//!
//! ```text
//!  keyring ──► entity keys ──► sessions with monitors ──► tickets ─────────┐
//!                         └──► rotating secrets of daemons ──► tickets ────┼──► session keys, connection secrets
//!  secrets file ──► tickets, service secrets, connection secrets ──────────┘
//! ```
//! What a capture gives is kept for the captures after it, up to a number that no cluster reaches in a day.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;

use cephwire_codec::EntityType;
use cephwire_protocol::auth::Reason;
use cephwire_protocol::auth::cephx::ticket::OWN_SECRET;
use cephwire_protocol::auth::cephx::{CryptoKey, Entity, Keyring, TicketBlob, TicketInfo};
use cephwire_protocol::key_log::{Line, ticket_id};
use zeroize::Zeroizing;

/// So many session keys are remembered: the oldest are forgotten for new ones.
const TICKETS_MOST: usize = 1 << 16;
/// So many service secrets are.
const SERVICE_SECRETS_MOST: usize = 1 << 12;
/// Clusters number their secrets alike; so many of one number are told apart.
const ALIKE_MOST: usize = 16;

/// Keys, and what they opened. Never printed.
#[derive(Default)]
pub struct Keys {
    entities: BTreeMap<Entity, Vec<CryptoKey>>,
    /// Session keys, by [`ticket_id`].
    tickets: HashMap<[u8; 32], CryptoKey>,
    /// The ids of those that were found, the oldest first. (Those that were given are never forgotten.)
    found: VecDeque<[u8; 32]>,
    service_secrets: HashMap<(EntityType, u64), Vec<CryptoKey>>,
    connections: HashMap<[u8; 32], Zeroizing<Vec<u8>>>,
    show_secrets: bool,
}

/// What is wrong with a line of a secrets file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: Reason,
}

impl Keys {
    /// No keys yet. `show_secrets`: whether what is found may be printed.
    #[must_use]
    pub fn new(show_secrets: bool) -> Self {
        Self { show_secrets, ..Self::default() }
    }

    /// Takes the keys of a keyring, beside those that are there: of an entity that has several, all are tried.
    ///
    /// # Errors
    /// It is none.
    pub fn add_keyring(&mut self, text: &str) -> Result<(), Reason> {
        for (entity, entry) in Keyring::parse(text)?.entries {
            let keys = self.entities.entry(entity).or_default();
            for key in [Some(entry.key), entry.pending_key].into_iter().flatten() {
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
        }
        Ok(())
    }

    /// Takes the lines of a secrets file ([`cephwire_protocol::key_log`]).
    ///
    /// # Errors
    /// One of them is none.
    pub fn add_secrets(&mut self, text: &str) -> Result<(), BadLine> {
        for (n, line) in text.lines().enumerate() {
            match Line::parse(line).map_err(|reason| BadLine { line: n + 1, reason })? {
                Some(Line::ConnectionSecret { transcript, secret }) => {
                    self.connections.insert(transcript, secret);
                }
                Some(Line::Ticket { ticket, session_key }) => {
                    self.tickets.insert(ticket, session_key);
                }
                Some(Line::ServiceSecret { service, secret_id, key }) => {
                    self.learn_service_secret(service, secret_id, key);
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// Whether secrets may be printed.
    pub(super) fn show_secrets(&self) -> bool {
        self.show_secrets
    }

    /// The keys of an entity.
    pub(super) fn of_entity(&self, entity: &Entity) -> &[CryptoKey] {
        self.entities.get(entity).map_or(&[], Vec::as_slice)
    }

    /// The connection secret that was given for a transcript.
    pub(super) fn of_connection(&self, transcript: &[u8; 32]) -> Option<&[u8]> {
        self.connections.get(transcript).map(|secret| &***secret)
    }

    /// Whether any was.
    pub(super) fn has_connections(&self) -> bool {
        !self.connections.is_empty()
    }

    /// The session key that belongs to a ticket.
    pub(super) fn of_ticket(&self, ticket: &TicketBlob) -> Option<&CryptoKey> {
        self.tickets.get(&ticket_id(ticket))
    }

    /// Remembers a ticket's session key.
    pub(super) fn learn_ticket(&mut self, ticket: &TicketBlob, session_key: &CryptoKey) {
        let id = ticket_id(ticket);
        if self.tickets.insert(id, session_key.clone()).is_some() {
            return;
        }
        self.found.push_back(id);
        if self.found.len() > TICKETS_MOST {
            self.found.pop_front().map(|oldest| self.tickets.remove(&oldest));
        }
    }

    /// Remembers a key with which tickets for a service are sealed.
    pub(super) fn learn_service_secret(&mut self, service: EntityType, secret_id: u64, key: CryptoKey) {
        let id = (service, secret_id);
        if self.service_secrets.len() >= SERVICE_SECRETS_MOST && !self.service_secrets.contains_key(&id) {
            return;
        }
        let alike = self.service_secrets.entry(id).or_default();
        if alike.len() < ALIKE_MOST && !alike.contains(&key) {
            alike.push(key);
        }
    }

    /// Opens a ticket as its service does.
    pub(super) fn open_ticket(&self, service: u32, ticket: &TicketBlob) -> Opened {
        let Ok(service) = u8::try_from(service).map(EntityType) else { return Opened::NoKey };
        if ticket.secret_id == OWN_SECRET {
            let own = self.entities.iter().filter(|(entity, _)| entity.kind == service);
            let mut tried = None;
            for (entity, keys) in own {
                if let Some(info) = keys.iter().find_map(|key| ticket.open(key).ok()) {
                    return Opened::By(Box::new(info));
                }
                tried = Some(entity.to_string());
            }
            return tried.map_or(Opened::NoKey, Opened::NotBy);
        }
        let keys = self.service_secrets.get(&(service, ticket.secret_id));
        let info = keys.and_then(|keys| keys.iter().find_map(|key| ticket.open(key).ok()));
        info.map_or(Opened::NoKey, |info| Opened::By(Box::new(info)))
    }
}

/// What came of [`Keys::open_ticket`].
#[derive(Debug)]
pub(super) enum Opened {
    /// This is in it.
    By(Box<TicketInfo>),
    /// The key of this entity should have opened it.
    NotBy(String),
    /// There is no key for it. (A secret of the same number may be another cluster's.)
    NoKey,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("entities", &self.entities.keys()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use cephwire_codec::Timestamp;
    use cephwire_protocol::auth::cephx::KeyType;

    use super::*;

    fn key(number: u32) -> CryptoKey {
        let mut secret = [0; 16];
        secret.first_chunk_mut::<4>().unwrap().copy_from_slice(&number.to_le_bytes());
        CryptoKey::new(KeyType::Aes, Timestamp::default(), &secret).unwrap()
    }

    fn ticket(number: u32) -> TicketBlob {
        TicketBlob { secret_id: 1, blob: number.to_le_bytes().to_vec().into() }
    }

    #[test]
    fn memory_is_bounded_and_what_was_given_stays() {
        let mut keys = Keys::new(false);
        let line = Line::Ticket { ticket: ticket_id(&ticket(7)), session_key: key(7) };
        keys.add_secrets(&line.to_text()).unwrap();
        let most = TICKETS_MOST as u32;
        for number in 0..most + 3 {
            keys.learn_ticket(&ticket(number), &key(number));
        }
        let of = |number| keys.of_ticket(&ticket(number));
        assert_eq!((of(0), of(1), of(7)), (None, None, Some(&key(7))));
        assert_eq!((of(2), of(most + 2)), (Some(&key(2)), Some(&key(most + 2))));
        assert_eq!(keys.tickets.len(), TICKETS_MOST + 1);
        for number in 0..2 * SERVICE_SECRETS_MOST as u32 {
            keys.learn_service_secret(EntityType::OSD, number.into(), key(number));
            keys.learn_service_secret(EntityType::MDS, 1, key(number));
        }
        assert_eq!(keys.service_secrets.len(), SERVICE_SECRETS_MOST);
        assert_eq!(keys.service_secrets.get(&(EntityType::MDS, 1)).unwrap().len(), ALIKE_MOST);
    }

    #[test]
    fn an_entity_may_have_several_keys() {
        let mut keys = Keys::new(false);
        for number in [1, 2, 1] {
            keys.add_keyring(&format!("[osd.1]\nkey = {}\n", *key(number).to_base64())).unwrap();
        }
        assert_eq!(keys.of_entity(&"osd.1".parse().unwrap()), [key(1), key(2)]);
        assert_eq!(keys.of_entity(&"osd.2".parse().unwrap()), []);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = Keys::new(false).add_secrets("# fine\n\nCLIENT_RANDOM 1 2\n").unwrap_err();
        assert_eq!(error.line, 3);
        assert!(error.to_string().starts_with("line 3: secrets line"), "{error}");
    }
}
