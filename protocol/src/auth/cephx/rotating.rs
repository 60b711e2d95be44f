//! With which keys are tickets sealed, and until when?
//!
//! A service has three keys: the previous one, with which old tickets are sealed; the current one; the next one,
//! which the daemons fetch before anybody uses it. The monitors make a new one when the current one has ended.
//!
//! Ceph: `RotatingSecrets` in `src/auth/Auth.h`, `KeyServer` in `src/auth/cephx/CephxKeyServer.cc`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::BufMut;
use cephwire_codec::Timestamp;
use zeroize::Zeroizing;

use super::key::{CryptoKey, KeyType};
use super::random::Random;
use super::wire::{Reader, put_time};
use crate::auth::Reason;

/// How many keys a service has.
pub const SECRETS: usize = 3;

const SECRETS_MOST: u32 = 64;

/// The keys of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotatingSecrets {
    /// By their numbers, which count from 1: the oldest first.
    pub secrets: BTreeMap<u64, ExpiringKey>,
    /// The highest number.
    pub max_version: u64,
}

/// A key, and when it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiringKey {
    /// The key.
    pub key: CryptoKey,
    /// From then on, tickets sealed with it are good for nothing.
    pub expiration: Timestamp,
}

impl RotatingSecrets {
    /// Reads them.
    ///
    /// # Errors
    /// When it is cut or has more than it should.
    pub fn decode(bytes: &[u8]) -> Result<Self, Reason> {
        let mut reader = Reader::new("rotating secrets", bytes);
        let version = reader.version("version")?;
        let count = reader.count("keys", SECRETS_MOST)?;
        let mut secrets = BTreeMap::new();
        for _ in 0..count {
            let id = reader.u64("number")?;
            reader.version("key version")?;
            let key = CryptoKey::read(&mut reader)?;
            secrets.insert(id, ExpiringKey { key, expiration: reader.time("expiration")? });
        }
        let max_version = reader.u64("highest number")?;
        reader.end_of(version, 1)?;
        Ok(Self { secrets, max_version })
    }

    /// Writes them.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        // With room for all, so that no key is left behind in memory that was too small.
        let mut out = Zeroizing::new(Vec::with_capacity(16 + 128 * self.secrets.len()));
        out.put_u8(1);
        out.put_u32_le(self.secrets.len() as u32);
        for (id, secret) in &self.secrets {
            out.put_u64_le(*id);
            out.put_u8(1);
            secret.key.put(&mut out);
            put_time(&mut out, secret.expiration);
        }
        out.put_u64_le(self.max_version);
        out
    }

    /// The key of this number.
    #[must_use]
    pub fn find(&self, secret_id: u64) -> Option<&CryptoKey> {
        self.secrets.get(&secret_id).map(|secret| &secret.key)
    }

    /// The current one: the second, or all there is.
    #[must_use]
    pub fn current(&self) -> Option<(u64, &ExpiringKey)> {
        self.secrets
            .iter()
            .nth(1)
            .or_else(|| self.secrets.first_key_value())
            .map(|(id, secret)| (*id, secret))
    }

    /// The one with which new tickets are sealed: the current one, or the next if that has ended.
    #[must_use]
    pub fn sealing(&self, now: Timestamp) -> Option<(u64, &ExpiringKey)> {
        let current = self.current().filter(|(_, secret)| secret.expiration > now);
        current.or_else(|| self.secrets.last_key_value().map(|(id, secret)| (*id, secret)))
    }

    /// When the newest ends: no ticket is good for longer.
    #[must_use]
    pub fn end(&self) -> Option<Timestamp> {
        self.secrets.last_key_value().map(|(_, secret)| secret.expiration)
    }

    /// Makes new keys until there are three of which the current one is good; forgets older ones. Says whether
    /// anything changed.
    pub fn rotate(&mut self, now: Timestamp, ttl: Duration, kind: KeyType, random: &mut Random) -> bool {
        let mut changed = false;
        // However long nobody looked: with as many new keys as there may be, the current one is new.
        for _ in 0..SECRETS {
            if self.secrets.len() == SECRETS && self.current().is_some_and(|(_, key)| key.expiration > now) {
                break;
            }
            let base = match self.end() {
                None => now,
                Some(end) => end.max(after(now, ttl)),
            };
            self.max_version += 1;
            let key = CryptoKey::generate(kind, now, random);
            self.secrets.insert(self.max_version, ExpiringKey { key, expiration: after(base, ttl) });
            while self.secrets.len() > SECRETS {
                self.secrets.pop_first();
            }
            changed = true;
        }
        changed
    }

    /// Whether a daemon should fetch them anew: the current one has ended, or nearly. Ceph:
    /// `CephxClientHandler::need_tickets`, with a margin of 30 s or a quarter of `ttl`.
    #[must_use]
    pub fn is_due(&self, now: Timestamp, ttl: Duration) -> bool {
        let margin = Duration::from_secs(30).min(ttl / 4);
        self.secrets.len() < SECRETS
            || self.current().is_none_or(|(_, secret)| secret.expiration < before(now, margin))
    }
}

/// The time `duration` after `time`, at most the last that can be written.
#[must_use]
pub(super) fn after(time: Timestamp, duration: Duration) -> Timestamp {
    let whole = Duration::new(time.sec.into(), time.nsec).saturating_add(duration);
    u32::try_from(whole.as_secs())
        .map_or(Timestamp { sec: u32::MAX, nsec: 0 }, |sec| Timestamp { sec, nsec: whole.subsec_nanos() })
}

/// The time `duration` before `time`, not before 1970.
#[must_use]
pub(super) fn before(time: Timestamp, duration: Duration) -> Timestamp {
    let whole = Duration::new(time.sec.into(), time.nsec).saturating_sub(duration);
    Timestamp { sec: whole.as_secs() as u32, nsec: whole.subsec_nanos() }
}
