//! What do all sessions of a messenger share?
//!
//! Who this side is, its policies, how it authenticates, and the counters that must be one for all.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cephwire_codec::v2::Method;
use cephwire_codec::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Limits, Timestamp};

use crate::auth::{Auth, Modes};
use crate::cookies::{Cookies, Seed};
use crate::event::LinkId;
use crate::inject::{Injector, Settings};
#[cfg(feature = "cephx")]
use crate::key_log::KeyLog;
use crate::policy::{Policies, Policy};
use crate::stats::Stats;
use crate::throttle::Throttle;

/// Times and limits; the defaults are Ceph's, named as its options. A time too long to be told, as `Duration::MAX` is,
/// never comes.
///
/// ```
/// use std::time::Duration;
/// use cephwire_protocol::Options;
/// let hasty = Options::default().with(|options| options.ready_timeout = Duration::from_secs(1));
/// assert_eq!(hasty.max_backoff, Duration::from_secs(15));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// From dialing, or accepting, until open (`ms_connection_ready_timeout`; Ceph has none for accepting).
    pub ready_timeout: Duration,
    /// Without a byte from the peer (`ms_connection_idle_timeout`).
    pub idle_timeout: Duration,
    /// Before the first new attempt; doubles with each (`ms_initial_backoff`).
    pub initial_backoff: Duration,
    /// The longest pause, and the one after WAIT (`ms_max_backoff`).
    pub max_backoff: Duration,
    /// Connection modes, by who the peer is: what is offered, and what is allowed (`ms_*_mode`).
    pub modes: Modes,
    /// Limits of an open connection.
    pub limits: Limits,
    /// Limits of a peer that is not authenticated.
    pub limits_before: Limits,
    /// How often a peer may claim, or answer a claim, on one connection.
    pub claims: u32,
    /// How many connections in a row may open and break without anything that was sent or received on them, until a
    /// session pauses before it dials again. There may be a message that its peer does not survive. (Ceph never
    /// pauses there.)
    pub fruitless: u32,
    /// Whether 2.1 is spoken.
    pub revision_1: bool,
    /// Compression methods, the best first. If there is none, v2's banner does not even offer to talk about it.
    pub compression: Vec<Method>,
    /// The peers whose connections are compressed, if they want it too (`ms_osd_compress_mode`).
    pub compress_peers: Vec<EntityType>,
    /// Frames of fewer bytes, all segments together, go plain (`ms_osd_compress_min_size`).
    pub compress_min_size: u32,
    /// Compresses secure connections too (`ms_compress_secure`): lengths then tell of contents.
    pub compress_secure: bool,
    /// Whether v1's header crcs, and data crcs, are sent and checked.
    pub header_crc: bool,
    /// See above.
    pub data_crc: bool,
    /// Takes the own IP from what the peer sees (`ms_learn_addr_from_peer`).
    pub learn_addr: bool,
    /// How many bytes of received messages may wait for dispatch, all sessions together; 0 does not limit
    /// (`ms_dispatch_throttle_bytes`).
    pub dispatch_throttle_bytes: u64,
    /// Where the secrets of connections are written to, so that their packets can be read. Nowhere, unless somebody
    /// looks for what is wrong.
    #[cfg(feature = "cephx")]
    pub key_log: Option<Arc<dyn KeyLog>>,
}

impl Default for Options {
    fn default() -> Self {
        let small = 64 << 10;
        Self {
            ready_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(900),
            initial_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(15),
            modes: Modes::default(),
            limits: Limits::default(),
            limits_before: Limits {
                front: small,
                middle: small,
                data: small,
                ahead: 8 << 10,
                ..Limits::default()
            },
            claims: 16,
            fruitless: 3,
            revision_1: true,
            compression: Vec::new(),
            compress_peers: Vec::new(),
            compress_min_size: 1024,
            compress_secure: false,
            header_crc: true,
            data_crc: true,
            learn_addr: true,
            dispatch_throttle_bytes: 100 << 20,
            #[cfg(feature = "cephx")]
            key_log: None,
        }
    }
}

impl Options {
    /// These, but for what `change` changes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

/// What all sessions of a messenger share. Short locks inside; it calls nobody.
pub struct Local {
    /// Times and limits.
    pub options: Options,
    auth: Arc<dyn Auth>,
    dispatch_throttle: Arc<Throttle>,
    /// Whether the injector is asked at all: nobody pays for it otherwise.
    injecting: AtomicBool,
    injector: Mutex<Injector>,
    /// Sessions made so far.
    created: AtomicU64,
    shared: Mutex<Shared>,
}

struct Shared {
    name: EntityName,
    addrs: AddrVec,
    nonce: u32,
    policies: Policies,
    cluster_protocol: u32,
    global_seq: u64,
    links: u64,
    cookies: Cookies,
    wall: Timestamp,
    /// Whether the own IP is still to be learned.
    need_addr: bool,
    /// The counters of sessions that have ended.
    ended: Stats,
}

impl Local {
    /// This side: its name, its addresses (none if it does not listen) and its nonce. `seed` is where all
    /// randomness comes from; two messengers must not have the same, and nobody else may know it.
    #[must_use]
    pub fn new(
        name: EntityName,
        addrs: AddrVec,
        nonce: u32,
        seed: impl Into<Seed>,
        policies: Policies,
        auth: Arc<dyn Auth>,
        options: Options,
    ) -> Arc<Self> {
        let wall = Timestamp::default();
        let need_addr = addrs.0.is_empty() || addrs.0.iter().any(EntityAddr::is_blank_ip);
        let ended = Stats::default();
        let shared = Shared {
            name,
            addrs,
            nonce,
            policies,
            cluster_protocol: 0,
            global_seq: 0,
            links: 0,
            cookies: Cookies::new(&seed.into()),
            wall,
            need_addr,
            ended,
        };
        Arc::new(Self {
            dispatch_throttle: Throttle::new(options.dispatch_throttle_bytes),
            options,
            auth,
            injecting: AtomicBool::new(false),
            injector: Mutex::new(Injector::new(0, Settings::default())),
            created: AtomicU64::new(0),
            shared: Mutex::new(shared),
        })
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // Nothing in here panics while it holds the lock; if it did, the values would still be whole.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This side's name.
    #[must_use]
    pub fn name(&self) -> EntityName {
        self.shared().name
    }

    /// Changes the name: a client learns its number late.
    pub fn set_name(&self, name: EntityName) {
        self.shared().name = name;
    }

    /// This side's addresses.
    #[must_use]
    pub fn addrs(&self) -> AddrVec {
        self.shared().addrs.clone()
    }

    /// This side's nonce.
    #[must_use]
    pub fn nonce(&self) -> u32 {
        self.shared().nonce
    }

    /// Whether it listens: an own address has a port. A client's own address has none.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        is_bound(&self.shared().addrs)
    }

    /// Changes the own addresses, to advertise others than those bound to; their nonces become the own one.
    pub fn set_addrs(&self, mut addrs: AddrVec) {
        let mut shared = self.shared();
        addrs.0.iter_mut().for_each(|addr| addr.nonce = shared.nonce);
        shared.addrs = addrs;
    }

    /// Each own address without an IP takes that of the first of `known` with the same family. Says whether
    /// anything changed.
    pub fn set_addr_unknowns(&self, known: &AddrVec) -> bool {
        let mut shared = self.shared();
        let mut changed = false;
        for addr in shared.addrs.0.iter_mut().filter(|addr| addr.is_blank_ip()) {
            let same = |ip: &IpAddr| addr.socket.is_none_or(|socket| socket.is_ipv4() == ip.is_ipv4());
            if let Some(ip) = known.0.iter().filter_map(EntityAddr::ip).find(same) {
                addr.socket = Some((ip, port(addr)).into());
                changed = true;
            }
        }
        changed
    }

    /// Becomes another one to all peers: the nonce grows by 1,000,000, in the own addresses too. To be followed by
    /// closing all sessions, and by [`set_addrs`](Self::set_addrs) once it listens elsewhere. Ceph: `rebind`,
    /// `client_reset`.
    pub fn rebind(&self) -> u32 {
        let mut shared = self.shared();
        let nonce = shared.nonce.wrapping_add(1_000_000);
        shared.nonce = nonce;
        shared.addrs.0.iter_mut().for_each(|addr| addr.nonce = nonce);
        nonce
    }

    /// How many bytes wait for dispatch.
    #[must_use]
    pub fn dispatch_throttle(&self) -> &Arc<Throttle> {
        &self.dispatch_throttle
    }

    /// From now on, these faults happen.
    pub fn inject(&self, settings: Settings) {
        let seed = self.random();
        self.injecting.store(settings != Settings::default(), Ordering::Relaxed);
        *self.injector.lock().unwrap_or_else(PoisonError::into_inner) = Injector::new(seed, settings);
    }

    /// Asks the injector, if any faults are wanted. Black holes and delays are the sessions' business; a driver asks
    /// for the rest.
    pub fn injected<R>(&self, ask: impl FnOnce(&mut Injector) -> R) -> Option<R> {
        if !self.injecting.load(Ordering::Relaxed) {
            return None;
        }
        Some(ask(&mut self.injector.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(crate) fn is_black_hole(&self, peer: EntityType) -> bool {
        self.injected(|injector| injector.is_black_hole(peer)) == Some(true)
    }

    /// How many sessions have been made, loopback included.
    #[must_use]
    pub fn created_sessions(&self) -> u64 {
        self.created.load(Ordering::Relaxed)
    }

    pub(crate) fn count_created(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    /// The sums of the counters of all sessions that have ended.
    #[must_use]
    pub fn ended_stats(&self) -> Stats {
        self.shared().ended
    }

    pub(crate) fn count_ended(&self, stats: Stats) {
        self.shared().ended += stats;
    }

    /// The policy for peers of `kind`.
    #[must_use]
    pub fn policy(&self, kind: EntityType) -> Policy {
        self.shared().policies.of(kind).clone()
    }

    /// Changes the policies, for sessions made from now on.
    pub fn set_policies(&self, policies: Policies) {
        self.shared().policies = policies;
    }

    /// How connections are authenticated.
    #[must_use]
    pub fn auth(&self) -> &Arc<dyn Auth> {
        &self.auth
    }

    /// The version that peers of the same type as this side must have (v1; `set_cluster_protocol`).
    pub fn set_cluster_protocol(&self, version: u32) {
        self.shared().cluster_protocol = version;
    }

    /// The wall clock, which the driver sets now and then: keepalives carry it.
    pub fn set_wall_clock(&self, now: Timestamp) {
        self.shared().wall = now;
    }

    pub(crate) fn wall_clock(&self) -> Timestamp {
        self.shared().wall
    }

    /// The next number for a connection attempt, above `seen`. It stays within 32 bits, as v1 has no more, and is the
    /// greatest of them for ever then: peers take a number once more that they have seen. Whatever this side has ever
    /// said is believed when a peer has seen it, or who forgets its numbers at a restart were kept out for good. What
    /// it cannot have said is not.
    pub(crate) fn next_global_seq(&self, seen: u64) -> u64 {
        const MOST: u64 = u32::MAX as u64;
        let mut shared = self.shared();
        let last = if seen <= MOST { shared.global_seq.max(seen) } else { shared.global_seq };
        shared.global_seq = (last + 1).min(MOST);
        shared.global_seq
    }

    pub(crate) fn next_link(&self) -> LinkId {
        let mut shared = self.shared();
        shared.links += 1;
        LinkId(shared.links)
    }

    /// A random number that is not 0.
    pub(crate) fn random(&self) -> u64 {
        self.shared().cookies.draw()
    }

    /// The version in v1's connect, for a peer of `kind` (session spec: `msgr1.md` §13).
    pub(crate) fn protocol_version(&self, kind: EntityType, accepting: bool) -> u32 {
        let shared = self.shared();
        if kind == shared.name.kind {
            return shared.cluster_protocol;
        }
        match if accepting { shared.name.kind } else { kind } {
            EntityType::OSD => 24,
            EntityType::MDS => 32,
            EntityType::MON => 15,
            _ => 0,
        }
    }

    /// The own address in v1's handshake: the first of v1, else any as if it were.
    pub(crate) fn v1_addr(&self) -> EntityAddr {
        let shared = self.shared();
        let addr = shared.addrs.first_of(AddrType::LEGACY).or_else(|| shared.addrs.0.first());
        let blank = EntityAddr { nonce: shared.nonce, ..EntityAddr::default() };
        EntityAddr { kind: AddrType::LEGACY, ..addr.copied().unwrap_or(blank) }
    }

    /// The own addresses in v2's idents.
    pub(crate) fn v2_addrs(&self) -> AddrVec {
        let shared = self.shared();
        if shared.addrs.0.is_empty() {
            let addr = EntityAddr { kind: AddrType::ANY, nonce: shared.nonce, socket: None };
            return addr.into();
        }
        shared.addrs.clone()
    }

    /// Takes the own IP from what a peer saw, unless it is known: only the first time, and never once a real address
    /// was bound to. Dialing sessions call it; a driver does with the address it is bound to.
    ///
    /// Without own addresses it becomes one of type any, without port. Else each of that family without IP takes
    /// it; one that listens keeps its type and port.
    pub fn learn_addr(&self, seen: IpAddr) {
        let mut shared = self.shared();
        if !self.options.learn_addr || seen.is_unspecified() || !std::mem::take(&mut shared.need_addr) {
            return;
        }
        let nonce = shared.nonce;
        if shared.addrs.0.is_empty() {
            shared.addrs = EntityAddr::new(AddrType::ANY, (seen, 0).into(), nonce).into();
            return;
        }
        let bound = is_bound(&shared.addrs);
        for addr in shared.addrs.0.iter_mut().filter(|addr| addr.is_blank_ip()) {
            if addr.socket.is_some_and(|socket| socket.is_ipv4() != seen.is_ipv4()) {
                continue;
            }
            if !bound {
                addr.kind = AddrType::ANY;
            }
            addr.socket = Some((seen, port(addr)).into());
        }
    }
}

/// Who it is and its counters: every session shows it.
impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared();
        f.debug_struct("Local")
            .field("name", &shared.name)
            .field("addrs", &shared.addrs)
            .field("need_addr", &shared.need_addr)
            .field("global_seq", &shared.global_seq)
            .field("cookies", &shared.cookies)
            .finish_non_exhaustive()
    }
}

/// 0 where there is none.
pub(crate) fn port(addr: &EntityAddr) -> u16 {
    addr.socket.map_or(0, |socket| socket.port())
}

fn is_bound(addrs: &AddrVec) -> bool {
    addrs.0.iter().any(|addr| port(addr) != 0)
}

/// Whether address `a` sorts before `b` in a race: by the bytes of a 36-byte image, in which the nonce stands with its
/// least significant byte first (session spec §6.3, session2 spec §5.5).
#[must_use]
pub fn sorts_before(a: &EntityAddr, b: &EntityAddr) -> bool {
    image(a) < image(b)
}

fn image(addr: &EntityAddr) -> Vec<u8> {
    use std::net::SocketAddr;
    let mut image = Vec::with_capacity(36);
    image.extend_from_slice(&addr.kind.0.to_le_bytes());
    image.extend_from_slice(&addr.nonce.to_le_bytes());
    match addr.socket {
        None => {}
        Some(SocketAddr::V4(v4)) => {
            image.extend_from_slice(&2u16.to_le_bytes());
            image.extend_from_slice(&v4.port().to_be_bytes());
            image.extend_from_slice(&v4.ip().octets());
        }
        Some(SocketAddr::V6(v6)) => {
            image.extend_from_slice(&10u16.to_le_bytes());
            image.extend_from_slice(&v6.port().to_be_bytes());
            image.extend_from_slice(&v6.flowinfo().to_le_bytes());
            image.extend_from_slice(&v6.ip().octets());
            image.extend_from_slice(&v6.scope_id().to_le_bytes());
        }
    }
    image.resize(36, 0);
    image
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// Who was driven up, by anybody, and then forgot, learns from its peers where it stopped.
    #[test]
    fn every_number_said_is_believed_after_a_restart() {
        let local = || {
            let (name, policies) = (EntityName::default(), Policies::default());
            let auth = Arc::new(crate::auth::AllowAll { name });
            Local::new(name, AddrVec::default(), 1, 1, policies, auth, Options::default())
        };
        let most = u64::from(u32::MAX);
        for driven in [1, most / 2 - 1, most / 2, most - 2, most - 1, most] {
            let before = local();
            let first = before.next_global_seq(driven);
            let last = before.next_global_seq(0);
            assert_eq!((first, last), ((driven + 1).min(most), (driven + 2).min(most)));
            let after = local();
            assert_eq!(after.next_global_seq(0), 1);
            // A peer wants as much as it has seen, and says so.
            assert_eq!(after.next_global_seq(last), (last + 1).min(most));
        }
        let local = local();
        assert_eq!([most + 1, u64::MAX, 0].map(|seen| local.next_global_seq(seen)), [1, 2, 3]);
    }

    #[test]
    fn nonces_compare_by_their_least_significant_byte_first() {
        let addr = |text: &str| text.parse::<EntityAddr>().unwrap();
        assert!(sorts_before(&addr("v2:1.1.1.1:1/256"), &addr("v2:1.1.1.1:1/1")));
        assert!(sorts_before(&addr("v2:1.1.1.1:1/3114"), &addr("v2:1.1.1.1:1/3236")));
        assert!(sorts_before(&addr("v1:9.9.9.9:9/9"), &addr("v2:1.1.1.1:1/1")));
        assert!(sorts_before(&addr("v2:1.1.1.1:1/1"), &addr("v2:1.1.1.1:2/1")));
        assert!(!sorts_before(&addr("v2:1.1.1.1:1/1"), &addr("v2:1.1.1.1:1/1")));
    }
}
