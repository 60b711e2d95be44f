//! By which rules does a session live and die?
//!
//! A policy is chosen by the peer's entity type, on both sides. Ceph: `Messenger::Policy` in `src/msg/Policy.h`;
//! rules in the session spec §2 (v1) and §3 (v2).

use std::collections::HashMap;
use std::sync::Arc;

use cephwire_codec::{EntityType, Features};

use crate::throttle::Throttle;

/// The rules of a session.
///
/// | preset | lossy | server | standby | resetcheck | registers |
/// |---|---|---|---|---|---|
/// | [`lossless_client`](Self::lossless_client), the default | | | | ✓ | ✓ |
/// | [`lossy_client`](Self::lossy_client) | ✓ | | | | ✓ |
/// | [`stateful_server`](Self::stateful_server) | | ✓ | ✓ | ✓ | ✓ |
/// | [`stateless_server`](Self::stateless_server) | ✓ | ✓ | | | |
/// | [`stateless_registered_server`](Self::stateless_registered_server) | ✓ | ✓ | | | ✓ |
/// | [`lossless_peer`](Self::lossless_peer) | | | ✓ | | ✓ |
/// | [`lossless_peer_reuse`](Self::lossless_peer_reuse) | | | ✓ | ✓ | ✓ |
#[derive(Clone, Debug)]
pub struct Policy {
    /// The session ends with its connection: nothing is resent, nothing acknowledged.
    pub lossy: bool,
    /// Never dials: after a fault it waits for the peer.
    pub server: bool,
    /// With nothing to send after a fault, it waits instead of reconnecting.
    pub standby: bool,
    /// When the peer turns out to have lost the session, the own queues go too, and the user is told.
    pub resetcheck: bool,
    /// Lossy sessions of clients are registered, so that an address has only one.
    pub register_lossy_clients: bool,
    /// The features that this side has.
    pub features_supported: Features,
    /// The features that the peer must have.
    pub features_required: Features,
    /// How many messages of such peers may be in hand at once, all sessions together: from their header on until they
    /// are dropped. Ceph: `throttler_messages`.
    pub throttle_messages: Option<Arc<Throttle>>,
    /// The same for their payload in bytes. Ceph: `throttler_bytes`.
    pub throttle_bytes: Option<Arc<Throttle>>,
}

/// Throttles are the same if they are one and the same.
impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &Option<Arc<Throttle>>, b: &Option<Arc<Throttle>>| {
            a.as_ref().map(Arc::as_ptr) == b.as_ref().map(Arc::as_ptr)
        };
        let plain = |policy: &Self| {
            let Self { lossy, server, standby, resetcheck, register_lossy_clients, .. } = *policy;
            (lossy, server, standby, resetcheck, register_lossy_clients)
        };
        plain(self) == plain(other)
            && (self.features_supported, self.features_required)
                == (other.features_supported, other.features_required)
            && same(&self.throttle_messages, &other.throttle_messages)
            && same(&self.throttle_bytes, &other.throttle_bytes)
    }
}

impl Eq for Policy {}

impl Policy {
    const fn new(lossy: bool, server: bool, standby: bool, resetcheck: bool) -> Self {
        Self {
            lossy,
            server,
            standby,
            resetcheck,
            register_lossy_clients: true,
            features_supported: Features::ALL_PACIFIC,
            features_required: Features(0),
            throttle_messages: None,
            throttle_bytes: None,
        }
    }

    /// What a client of a stateful server is; also what is in force when nothing was set.
    #[must_use]
    pub const fn lossless_client() -> Self {
        Self::new(false, false, false, true)
    }

    /// A client that opens a new session after each fault, as of OSDs and monitors.
    #[must_use]
    pub const fn lossy_client() -> Self {
        Self::new(true, false, false, false)
    }

    /// A server that keeps its clients' sessions over faults, as an MDS.
    #[must_use]
    pub const fn stateful_server() -> Self {
        Self::new(false, true, true, true)
    }

    /// A server that forgets a client with its connection; one address may have several.
    #[must_use]
    pub const fn stateless_server() -> Self {
        let mut policy = Self::new(true, true, false, false);
        policy.register_lossy_clients = false;
        policy
    }

    /// The same, where an address has one session at most, as an OSD.
    #[must_use]
    pub const fn stateless_registered_server() -> Self {
        Self::new(true, true, false, false)
    }

    /// One of two equals, as OSDs are to each other.
    #[must_use]
    pub const fn lossless_peer() -> Self {
        Self::new(false, false, true, false)
    }

    /// The same with resetcheck, as monitors are to each other.
    #[must_use]
    pub const fn lossless_peer_reuse() -> Self {
        Self::new(false, false, true, true)
    }

    /// With these features required of the peer.
    #[must_use]
    pub const fn requiring(mut self, features: Features) -> Self {
        self.features_required = features;
        self
    }

    /// With these throttles for received messages.
    #[must_use]
    pub fn throttled(self, bytes: Option<Arc<Throttle>>, messages: Option<Arc<Throttle>>) -> Self {
        Self { throttle_bytes: bytes, throttle_messages: messages, ..self }
    }

    /// Whether sessions of this policy are in no table: each connection stands for itself.
    #[must_use]
    pub const fn is_anonymous(&self) -> bool {
        self.server && self.lossy && !self.register_lossy_clients
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::lossless_client()
    }
}

/// The policies of a messenger: one by default, and one for each entity type that has its own.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// For all other types.
    pub default: Policy,
    /// By the peer's type.
    pub by_type: HashMap<u8, Policy>,
}

impl Policies {
    /// One policy for everybody.
    #[must_use]
    pub fn all(default: Policy) -> Self {
        Self { default, by_type: HashMap::new() }
    }

    /// With another policy for peers of `kind`.
    #[must_use]
    pub fn with(mut self, kind: EntityType, policy: Policy) -> Self {
        self.by_type.insert(kind.0, policy);
        self
    }

    /// Sets the throttles of the policy for peers of `kind`; of the default policy if they have none of their own.
    /// Ceph: `set_policy_throttlers`.
    pub fn set_throttles(
        &mut self,
        kind: EntityType,
        bytes: Option<Arc<Throttle>>,
        messages: Option<Arc<Throttle>>,
    ) {
        let policy = self.by_type.get_mut(&kind.0).unwrap_or(&mut self.default);
        (policy.throttle_bytes, policy.throttle_messages) = (bytes, messages);
    }

    /// The policy for a peer of `kind`.
    #[must_use]
    pub fn of(&self, kind: EntityType) -> &Policy {
        self.by_type.get(&kind.0).unwrap_or(&self.default)
    }
}
