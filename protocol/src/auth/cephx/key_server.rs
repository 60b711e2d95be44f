//! What does a monitor know, and what does it give to whom?
//!
//! It has everybody's key, the rotating secrets of all services, and the counter of global_ids. With each client it
//! has a talk ([`MonitorTalk`]): in v2 it begins within the handshake, in v1 in messages, and in both it goes on in
//! messages.
//!
//! Ceph: `src/auth/cephx/CephxServiceHandler.cc`, `CephxKeyServer.cc`, `src/mon/AuthMonitor.cc`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cephwire_codec::{EntityType, Timestamp};

use super::key::{CryptoKey, KeyType};
use super::keyring::Keyring;
use super::monitor_talk::MonitorTalk;
use super::random::Random;
use super::rotating::{RotatingSecrets, after};
use super::service::ServiceOptions;
use super::ticket::{AuthTicket, Caps, NO_AUID, OWN_SECRET, Ticket, TicketInfo};
use crate::auth::{Entity, Reason};

const AUTH: u32 = EntityType::AUTH.0 as u32;
/// The services that have rotating secrets.
const SERVICES: u32 = AUTH
    | EntityType::MON.0 as u32
    | EntityType::MDS.0 as u32
    | EntityType::OSD.0 as u32
    | EntityType::MGR.0 as u32;
/// So many clients can renew their AUTH ticket without authenticating anew.
const CHALLENGES_MOST: usize = 1 << 16;

/// What a monitor gives and demands. The defaults are Ceph's, named as its options, but for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyServerOptions {
    /// How long an AUTH ticket is good (`auth_mon_ticket_ttl`).
    pub mon_ticket_ttl: Duration,
    /// How long another ticket is good (`auth_service_ticket_ttl`).
    pub service_ticket_ttl: Duration,
    /// The type of rotating secrets (`auth_service_cipher`).
    pub service_key_type: KeyType,
    /// Gives a global_id back to old clients that do not prove that it was theirs
    /// (`auth_allow_insecure_global_id_reclaim`). Here not, as that is CVE-2021-20288.
    pub allow_insecure_global_id_reclaim: bool,
    /// The first global_id that is given.
    pub first_global_id: u64,
    /// What it demands of authorizers, and which key types it takes.
    pub service: ServiceOptions,
}

impl Default for KeyServerOptions {
    fn default() -> Self {
        Self {
            mon_ticket_ttl: Duration::from_secs(72 * 3600),
            service_ticket_ttl: Duration::from_secs(3600),
            service_key_type: KeyType::Aes,
            allow_insecure_global_id_reclaim: false,
            first_global_id: 4100,
            service: ServiceOptions::default(),
        }
    }
}

/// A monitor's keys; shared by all its connections. Its methods lock it for moments, and call nobody.
pub struct KeyServer {
    pub(super) options: KeyServerOptions,
    inner: Mutex<Inner>,
}

struct Inner {
    keyring: Keyring,
    rotating: BTreeMap<u32, RotatingSecrets>,
    next_global_id: u64,
    random: Random,
    /// The challenges with which sessions began, by global_id: a renewal of the AUTH ticket is proved with it.
    challenges: BTreeMap<u64, (Entity, u64)>,
    /// The same ids, the oldest first.
    order: VecDeque<u64>,
}

impl KeyServer {
    /// A monitor that knows these keys; `mon.` is its own. All randomness comes from `seed`, which nobody may guess.
    #[must_use]
    pub fn new(keyring: Keyring, options: KeyServerOptions, seed: [u8; 32]) -> Arc<Self> {
        let inner = Inner {
            keyring,
            rotating: BTreeMap::new(),
            next_global_id: options.first_global_id.max(1),
            random: Random::new(seed),
            challenges: BTreeMap::new(),
            order: VecDeque::new(),
        };
        Arc::new(Self { options, inner: Mutex::new(inner) })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics while it holds the lock; if it did, the values would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes who has which key. Tickets given so far stay good.
    pub fn edit(&self, change: impl FnOnce(&mut Keyring)) {
        change(&mut self.inner().keyring);
    }

    /// A talk with a client of v1, or with one whose number is not known (any more). It begins with its introduction.
    #[must_use]
    pub fn talk(self: &Arc<Self>) -> MonitorTalk {
        MonitorTalk::new(Arc::clone(self))
    }

    /// The talk with the client of this number goes on: after a handshake of v2, in messages.
    #[must_use]
    pub fn resume(self: &Arc<Self>, global_id: u64) -> Option<MonitorTalk> {
        let (name, challenge) = self.inner().challenges.get(&global_id).cloned()?;
        Some(MonitorTalk::resumed(Arc::clone(self), name, global_id, challenge))
    }

    /// The rotating secrets of a service by now: what [`Service::set_secrets`](super::Service::set_secrets) takes where
    /// monitor and service are one process.
    #[must_use]
    pub fn rotating_secrets(&self, service: EntityType, now: Timestamp) -> RotatingSecrets {
        self.rotated(&mut self.inner(), service.0.into(), now).cloned().unwrap_or_default()
    }

    fn rotated<'a>(&self, inner: &'a mut Inner, service: u32, now: Timestamp) -> Option<&'a RotatingSecrets> {
        if service & SERVICES == 0 || !service.is_power_of_two() {
            return None;
        }
        let ttl = if service == AUTH { self.options.mon_ticket_ttl } else { self.options.service_ticket_ttl };
        let secrets = inner.rotating.entry(service).or_default();
        secrets.rotate(now, ttl, self.options.service_key_type, &mut inner.random);
        Some(secrets)
    }

    // For the talks.

    pub(super) fn random(&self) -> Random {
        self.inner().random.fork()
    }

    /// The keys of an entity: the one that it has, and the one that it will have.
    pub(super) fn keys(&self, entity: &Entity) -> Vec<CryptoKey> {
        let inner = self.inner();
        let entry = inner.keyring.entries.get(entity);
        entry
            .into_iter()
            .flat_map(|entry| [Some(entry.key.clone()), entry.pending_key.clone()])
            .flatten()
            .collect()
    }

    /// The key with which an AUTH ticket was sealed.
    pub(super) fn auth_secret(&self, secret_id: u64) -> Option<CryptoKey> {
        self.inner().rotating.get(&AUTH)?.find(secret_id).cloned()
    }

    /// The key with which a monitor sealed the ticket that it shows to another one: none but their own. (MON has
    /// rotating secrets too, but whoever asks is given tickets that are sealed with those. Ceph's monitors do the same:
    /// they verify with their keyring, which knows no rotating secrets.)
    pub(super) fn monitors_secret(&self, secret_id: u64) -> Option<CryptoKey> {
        let inner = self.inner();
        inner.keyring.key(&Entity::monitors()).filter(|_| secret_id == OWN_SECRET).cloned()
    }

    pub(super) fn next_global_id(&self) -> u64 {
        let mut inner = self.inner();
        let id = inner.next_global_id;
        inner.next_global_id += 1;
        id
    }

    /// Remembers with which challenge a client's session began.
    pub(super) fn remember(&self, global_id: u64, name: &Entity, challenge: u64) {
        let mut inner = self.inner();
        if inner.challenges.insert(global_id, (name.clone(), challenge)).is_none() {
            inner.order.push_back(global_id);
        }
        if inner.order.len() > CHALLENGES_MOST
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.challenges.remove(&oldest);
        }
    }

    /// Makes an AUTH ticket for who has this key.
    pub(super) fn auth_ticket(
        &self,
        name: &Entity,
        global_id: u64,
        key: &CryptoKey,
        now: Timestamp,
    ) -> Result<Ticket, Reason> {
        let mut inner = self.inner();
        self.ticket(&mut inner, AUTH, name, global_id, key.kind(), Caps::default(), now)
    }

    /// Makes a ticket for a service, for who has this AUTH ticket.
    pub(super) fn service_ticket(
        &self,
        service: u32,
        name: &Entity,
        global_id: u64,
        now: Timestamp,
    ) -> Result<Ticket, Reason> {
        let mut inner = self.inner();
        let entry =
            inner.keyring.entries.get(name).ok_or(Reason::UnknownEntity { entity: name.to_string() })?;
        // The weaker of both: the service and the client must know the type.
        let kind = entry.key.kind().min(self.options.service_key_type);
        let service_name = u8::try_from(service).ok().and_then(|service| EntityType(service).name());
        let cap = service_name.filter(|name| *name != "mon").and_then(|service| entry.caps.get(service));
        let caps = cap.map(|cap| Caps::of_text(cap)).unwrap_or_default();
        self.ticket(&mut inner, service, name, global_id, kind, caps, now)
    }

    #[expect(clippy::too_many_arguments, reason = "what a ticket says")]
    fn ticket(
        &self,
        inner: &mut Inner,
        service: u32,
        name: &Entity,
        global_id: u64,
        kind: KeyType,
        caps: Caps,
        now: Timestamp,
    ) -> Result<Ticket, Reason> {
        let unknown = Reason::UnknownSecret { service, secret_id: 0 };
        let secrets = self.rotated(inner, service, now).ok_or(unknown.clone())?;
        let (secret_id, secret) = secrets.sealing(now).ok_or(unknown)?;
        // No ticket is good for longer than the newest key.
        let ttl = if service == AUTH { self.options.mon_ticket_ttl } else { self.options.service_ticket_ttl };
        let left = secrets.end().map_or(ttl, |end| between(now, end));
        let (secret, validity) = (secret.key.clone(), ttl.min(left));
        let session_key = CryptoKey::generate(kind, now, &mut inner.random);
        let (created, expires) = (now, after(now, validity));
        let ticket =
            AuthTicket { name: name.clone(), global_id, auid: NO_AUID, created, expires, caps, flags: 0 };
        let info = TicketInfo { ticket, session_key };
        let blob = info.seal(secret_id, &secret, &mut inner.random);
        Ok(Ticket { service, session_key: info.session_key, validity, blob })
    }
}

/// The time from `from` to `to`.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    let since = |time: Timestamp| Duration::new(time.sec.into(), time.nsec);
    since(to).saturating_sub(since(from))
}

impl fmt::Debug for KeyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        f.debug_struct("KeyServer")
            .field("entities", &inner.keyring.entries.len())
            .field("next_global_id", &inner.next_global_id)
            .finish_non_exhaustive()
    }
}
