//! How is a messenger set up?

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cephwire_protocol::auth::{AllowAll, Auth};
use cephwire_protocol::codec::{AddrVec, EntityName, EntityType, Limits, Timestamp};
use cephwire_protocol::{Local, Options, Policies, Policy, Seed};

/// Who this side is and how it behaves. What is not said has Ceph's defaults.
///
/// ```
/// use cephwire::codec::{EntityName, EntityType};
/// use cephwire::{Policy, Setup};
/// let osd = EntityName::new(EntityType::OSD, 3);
/// let setup = Setup::new(osd).policy(EntityType::OSD, Policy::lossless_peer()).nonce(4711);
/// assert_eq!(setup.name, osd);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Setup {
    /// The own name.
    pub name: EntityName,
    /// Tells apart processes that use the same address one after the other; random if nothing. Monitors have 0.
    pub nonce: Option<u32>,
    /// Where all randomness comes from; the system's if nothing. Two messengers must not have the same.
    pub seed: Option<u64>,
    /// The rules for sessions, by the peer's type.
    pub policies: Policies,
    /// How connections are authenticated; the method "none" if nothing.
    pub auth: Option<Arc<dyn Auth>>,
    /// Times, limits and modes of the protocol.
    pub protocol: Options,
    /// Sockets and ports.
    pub net: Net,
}

impl Setup {
    /// A messenger of this name.
    ///
    /// Segments of messages on open sessions are received in one piece each: `protocol.limits.ahead` allows for that.
    /// So a peer with an open session can have memory reserved for one whole segment, 64 MiB, before it sends it; all peers
    /// together have `protocol.dispatch_throttle_bytes`. With the method "none" a peer is anybody who connects. Who must
    /// not pay for that sets `protocol.limits.ahead` to 64 KiB, or lowers `protocol.limits.data`.
    #[must_use]
    pub fn new(name: EntityName) -> Self {
        let limits = Limits::default();
        let limits = Limits { ahead: 2 * (limits.data + PAGE), ..limits };
        Self {
            name,
            nonce: None,
            seed: None,
            policies: Policies::default(),
            auth: None,
            protocol: Options::default().with(|options| options.limits = limits),
            net: Net::default(),
        }
    }

    /// With this nonce.
    #[must_use]
    pub fn nonce(mut self, nonce: u32) -> Self {
        self.nonce = Some(nonce);
        self
    }

    /// With this policy for peers of `kind`.
    #[must_use]
    pub fn policy(mut self, kind: EntityType, policy: Policy) -> Self {
        self.policies = self.policies.with(kind, policy);
        self
    }

    /// With this policy for all peers that have none of their own.
    #[must_use]
    pub fn default_policy(mut self, policy: Policy) -> Self {
        self.policies.default = policy;
        self
    }

    /// With this authentication. For a cluster with keys, `examples/cephx.rs` shows the way from a keyring to an OSD:
    /// [`Wallet`](cephwire_protocol::auth::cephx::Wallet) and [`ClientAuth`](cephwire_protocol::auth::cephx::ClientAuth).
    #[must_use]
    pub fn auth(mut self, auth: Arc<dyn Auth>) -> Self {
        self.auth = Some(auth);
        self
    }

    pub(crate) fn into_local(self) -> io::Result<(Arc<Local>, Net)> {
        let random = || getrandom::u64().map_err(io::Error::other);
        let seed = match self.seed {
            Some(number) => Seed::from(number),
            None => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes).map_err(io::Error::other)?;
                Seed::from(bytes)
            }
        };
        let nonce = self.nonce.map_or_else(|| random().map(|random| (random >> 32) as u32), Ok)?;
        let auth = self.auth.unwrap_or_else(|| Arc::new(AllowAll { name: self.name }));
        let none = AddrVec::default();
        let local = Local::new(self.name, none, nonce, seed, self.policies, auth, self.protocol);
        local.set_wall_clock(wall_clock());
        Ok((local, self.net))
    }
}

/// Sockets and ports. Names and defaults are those of Ceph's options.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Net {
    /// Small writes go out at once (`ms_tcp_nodelay`).
    pub tcp_nodelay: bool,
    /// The size of the kernel's receive buffer in bytes; 0 leaves it to the system (`ms_tcp_rcvbuf`).
    pub tcp_rcvbuf: usize,
    /// After how long without traffic the kernel asks whether the peer is there; nothing = never. (Ceph: never.)
    pub tcp_keepalive: Option<Duration>,
    /// The socket's priority; the type of service becomes CS6 with it. Ceph uses 6 for heartbeats
    /// (`osd_heartbeat_use_min_delay_socket`).
    pub priority: Option<u32>,
    /// How many connections the kernel queues for a listener (`ms_tcp_listen_backlog`).
    pub listen_backlog: i32,
    /// A blank address is bound as one of IPv6 (`ms_bind_ipv6`).
    pub bind_ipv6: bool,
    /// The ports to try where none is asked for (`ms_bind_port_min`, `ms_bind_port_max`).
    pub ports: std::ops::RangeInclusive<u16>,
    /// How often to try to bind (`ms_bind_retry_count`).
    pub bind_retry_count: u32,
    /// The pause between (`ms_bind_retry_delay`).
    pub bind_retry_delay: Duration,
    /// Dialed sockets are bound to the address of `client_bind` (`ms_bind_before_connect`).
    pub bind_before_connect: bool,
    /// How many accepted sockets may be in the handshake at once; more are closed. (Ceph has no limit.)
    pub accepting: usize,
    /// How long a listener for both versions waits for a peer to speak first; one that says nothing is of v1.
    pub silence: Duration,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            tcp_nodelay: true,
            tcp_rcvbuf: 0,
            tcp_keepalive: None,
            priority: None,
            listen_backlog: 512,
            bind_ipv6: false,
            ports: 6800..=7300,
            bind_retry_count: 3,
            bind_retry_delay: Duration::from_secs(5),
            bind_before_connect: false,
            accepting: 1024,
            silence: Duration::from_millis(200),
        }
    }
}

/// What time it is, as keepalives say.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { sec: since.as_secs() as u32, nsec: since.subsec_nanos() }
}

/// Data begins at the offset in a page that its header asks for.
const PAGE: u32 = 4096;
