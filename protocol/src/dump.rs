//! What does a messenger look like at this moment?
//!
//! The fields of Ceph's admin command `messenger dump` (`AsyncMessenger::dump`, `AsyncConnection::dump`; releases
//! after 19), in the same shape, so that tools for those read these too. What only the driver knows is left open
//! for it to fill in. Not here: Ceph's `last_tick_id`, as no timer has a number.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cephwire_codec::v2::{Revision, mode};
use cephwire_codec::{AddrType, AddrVec, EntityAddr, EntityName};
use serde::Serialize;

use crate::connection::Version;
use crate::local::Local;
use crate::loopback::Loopback;
use crate::messenger::{Messenger, Totals};
use crate::stats::Stats;

/// A messenger.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MessengerDump {
    /// The own nonce.
    pub nonce: u32,
    /// The own name.
    pub my_name: NameDump,
    /// The own addresses.
    pub my_addrs: AddrsDump,
    /// The driver's.
    pub listen_sockets: Vec<SocketDump>,
    /// The driver's.
    pub dispatch_queue: QueueDump,
    /// How many sessions are registered.
    pub connections_count: usize,
    /// Those.
    pub connections: Vec<RegisteredDump>,
    /// Anonymous sessions.
    pub anon_conns: Vec<SessionDump>,
    /// Sessions in an accepted handshake.
    pub accepting_conns: Vec<SessionDump>,
    /// Always empty: sessions leave the table as soon as they end.
    pub deleted_conns: Vec<SessionDump>,
    /// The loopback, if the driver has one.
    pub local_connection: Vec<SessionDump>,
    /// Ours: all counters together.
    pub counters: Totals,
}

/// A registered session, by its key.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct RegisteredDump {
    /// What it is registered under.
    pub addrvec: Vec<AddrDump>,
    /// The session.
    pub async_connection: SessionDump,
}

/// A session.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SessionDump {
    /// Ceph's name for what the socket does.
    pub state: &'static str,
    /// The own nonce.
    pub messenger_nonce: u32,
    /// Whether it is open, and whether it is the loopback.
    pub status: StatusDump,
    /// The driver's.
    pub socket_fd: Option<i32>,
    /// The driver's: TCP_INFO, under the names of the system.
    pub tcp_info: Option<BTreeMap<String, u64>>,
    /// The driver's: the number of the session in the dispatch queue.
    pub conn_id: Option<u64>,
    /// Who the peer is.
    pub peer: PeerDump,
    /// When it was dialed last.
    pub last_connect_started_ago: Option<String>,
    /// When the peer was heard last.
    pub last_active_ago: Option<String>,
    /// Since when the message that is being read waits for a throttle or for its end.
    pub recv_start_time_ago: Option<String>,
    /// Where the accepted connection came from, or where this side dialed.
    pub socket_addr: Option<AddrDump>,
    /// What is dialed.
    pub target_addr: AddrDump,
    /// The port of that, or −1.
    pub port: i32,
    /// What the peers agreed on.
    pub protocol: ProtocolDump,
    /// The driver's: the thread it runs on.
    pub worker_id: Option<u32>,
    /// Ours: whether reading pauses for a throttle.
    pub paused: bool,
    /// Ours: its counters.
    pub counters: Stats,
}

/// Whether a session is open, and whether it is the loopback.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StatusDump {
    /// It is open.
    pub connected: bool,
    /// It is the loopback.
    pub loopback: bool,
}

/// The peer of a session.
#[derive(Clone, Debug, Serialize)]
pub struct PeerDump {
    /// What it was authenticated as; nothing where that is not known.
    pub entity_name: Option<EntityNameDump>,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its number.
    pub id: i64,
    /// The number that the monitors gave it, where that is known.
    pub global_id: Option<u64>,
    /// Its addresses.
    pub addr: AddrsDump,
}

/// A name as authentication has it.
#[derive(Clone, Debug, Serialize)]
pub struct EntityNameDump {
    /// The type's number.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The part behind the dot.
    pub id: String,
}

/// What the peers agreed on, under "v1" or "v2".
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolDump {
    /// Messenger v1.
    V1 {
        /// Ceph's name for the state.
        state: &'static str,
        /// How often the session was connected.
        connect_seq: u64,
        /// The highest number of an attempt that the peer sent.
        peer_global_seq: u64,
        /// The connection mode.
        con_mode: Option<&'static str>,
    },
    /// Messenger v2.
    V2 {
        /// Ceph's name for the state.
        state: &'static str,
        /// How often the session was connected.
        connect_seq: u64,
        /// The highest number of an attempt that the peer sent.
        peer_global_seq: u64,
        /// The connection mode.
        con_mode: Option<&'static str>,
        /// Whether 2.1 is spoken.
        rev1: bool,
        /// How frames are sealed.
        crypto: DirectionsDump,
        /// How frames are compressed.
        compression: DirectionsDump,
    },
}

/// Something that has a value for each direction.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DirectionsDump {
    /// Of what is received.
    pub rx: &'static str,
    /// Of what is sent.
    pub tx: &'static str,
}

/// A name.
#[derive(Clone, Debug, Serialize)]
pub struct NameDump {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The number.
    pub num: i64,
}

/// An address.
#[derive(Clone, Debug, Serialize)]
pub struct AddrDump {
    /// "none", "v1", "v2" or "any".
    #[serde(rename = "type")]
    pub kind: String,
    /// IP and port; "-" without a family.
    pub addr: String,
    /// The nonce.
    pub nonce: u32,
}

/// Several addresses.
#[derive(Clone, Debug, Serialize)]
pub struct AddrsDump {
    /// Those.
    pub addrvec: Vec<AddrDump>,
}

/// A listening socket.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct SocketDump {
    /// Its descriptor.
    pub socket_fd: Option<i32>,
    /// The thread that accepts.
    pub worker_id: Option<u32>,
}

/// The dispatch queue.
#[derive(Clone, Debug, Default, Serialize)]
pub struct QueueDump {
    /// Messages and events in it.
    pub length: usize,
    /// How old the oldest message is.
    pub max_age_ago: String,
}

impl From<EntityName> for NameDump {
    fn from(name: EntityName) -> Self {
        Self { kind: name.kind.to_string(), num: name.num }
    }
}

impl From<&EntityAddr> for AddrDump {
    fn from(addr: &EntityAddr) -> Self {
        let kind = match addr.kind {
            AddrType::NONE => "none".to_owned(),
            AddrType::LEGACY => "v1".to_owned(),
            AddrType::MSGR2 => "v2".to_owned(),
            AddrType::ANY => "any".to_owned(),
            AddrType(other) => other.to_string(),
        };
        let socket = addr.socket.map_or_else(|| "-".to_owned(), |socket| socket.to_string());
        Self { kind, addr: socket, nonce: addr.nonce }
    }
}

impl From<&AddrVec> for AddrsDump {
    fn from(addrs: &AddrVec) -> Self {
        Self { addrvec: addrs.0.iter().map(AddrDump::from).collect() }
    }
}

impl SessionDump {
    fn new(local: &Local, peer: EntityName, addrs: &AddrVec, target: &EntityAddr) -> Self {
        Self {
            state: "STATE_NONE",
            messenger_nonce: local.nonce(),
            status: StatusDump { connected: false, loopback: false },
            socket_fd: None,
            tcp_info: None,
            conn_id: None,
            peer: PeerDump {
                entity_name: None,
                kind: peer.kind.to_string(),
                id: peer.num,
                global_id: None,
                addr: addrs.into(),
            },
            last_connect_started_ago: None,
            last_active_ago: None,
            recv_start_time_ago: None,
            socket_addr: None,
            target_addr: target.into(),
            port: target.socket.map_or(-1, |socket| socket.port().into()),
            protocol: ProtocolDump::V2 {
                state: "NONE",
                connect_seq: 0,
                peer_global_seq: 0,
                con_mode: None,
                rev1: false,
                crypto: PLAIN,
                compression: UNCOMPRESSED,
            },
            worker_id: None,
            paused: false,
            counters: Stats::default(),
        }
    }
}

/// What [`Session::dump`](crate::Session::dump) knows beyond its getters.
pub(crate) struct Inside<'a> {
    pub(crate) state: &'static str,
    pub(crate) phase: &'static str,
    pub(crate) target: &'a EntityAddr,
    pub(crate) last_active: Option<Instant>,
    pub(crate) began: Option<Instant>,
}

impl crate::Session {
    /// Its state, for people and tools.
    #[must_use]
    pub fn dump(&self, now: Instant) -> SessionDump {
        let inside = self.inside();
        let ago = |at: Option<Instant>| at.map(|at| span(now.saturating_duration_since(at)));
        let facts = self.facts();
        let (state, connect_seq, peer_global_seq) = (inside.phase, facts.connect_seq, facts.peer_global_seq);
        let con_mode = facts.mode.and_then(mode::name);
        let protocol = match self.version() {
            Version::V1 => ProtocolDump::V1 { state, connect_seq, peer_global_seq, con_mode },
            Version::V2 => ProtocolDump::V2 {
                state,
                connect_seq,
                peer_global_seq,
                con_mode,
                rev1: facts.revision() == Some(Revision::V2_1),
                crypto: if facts.mode == Some(mode::SECURE) { SEALED } else { PLAIN },
                compression: UNCOMPRESSED,
            },
        };
        SessionDump {
            state: inside.state,
            status: StatusDump { connected: self.is_open(), loopback: false },
            last_connect_started_ago: ago(facts.times.dialed),
            last_active_ago: ago(inside.last_active),
            recv_start_time_ago: ago(inside.began),
            socket_addr: facts.socket.as_ref().map(AddrDump::from),
            protocol,
            paused: self.is_paused(),
            counters: self.stats(),
            ..SessionDump::new(self.local(), self.peer(), self.key(), inside.target)
        }
    }
}

impl Loopback {
    /// Its state, for people and tools.
    #[must_use]
    pub fn dump(&self, local: &Local) -> SessionDump {
        let key = self.key();
        let target = key.0.first().copied().unwrap_or_default();
        let state = if self.is_open() { "STATE_CONNECTION_ESTABLISHED" } else { "STATE_CLOSED" };
        let status = StatusDump { connected: self.is_open(), loopback: true };
        SessionDump { state, status, ..SessionDump::new(local, self.peer(), &key, &target) }
    }
}

impl<H: Clone + PartialEq> Messenger<H> {
    /// The state of a messenger, for people and tools; `session` gives that of a session
    /// ([`Session::dump`](crate::Session::dump)), nothing if it has ended.
    #[must_use]
    pub fn dump(&self, local: &Local, mut session: impl FnMut(&H) -> Option<SessionDump>) -> MessengerDump {
        let mut connections: Vec<_> = self
            .iter()
            .filter_map(|(key, handle)| {
                let addrvec = AddrsDump::from(key).addrvec;
                Some(RegisteredDump { addrvec, async_connection: session(handle)? })
            })
            .collect();
        connections.sort_by_key(|registered| registered.addrvec.first().map(|addr| addr.addr.clone()));
        let anon_conns: Vec<_> = self.anonymous.iter().filter_map(&mut session).collect();
        let accepting_conns: Vec<_> = self.accepting.iter().filter_map(&mut session).collect();
        let registered = connections.iter().map(|registered| &registered.async_connection);
        let live = registered.chain(&anon_conns).chain(&accepting_conns).map(|dump| dump.counters);
        let counters = Totals {
            created_connections: local.created_sessions(),
            active_connections: self.all().count() as u64,
            sums: live.sum::<Stats>() + local.ended_stats(),
        };
        MessengerDump {
            nonce: local.nonce(),
            my_name: local.name().into(),
            my_addrs: (&local.addrs()).into(),
            listen_sockets: Vec::new(),
            dispatch_queue: QueueDump::default(),
            connections_count: self.len(),
            connections,
            anon_conns,
            accepting_conns,
            deleted_conns: Vec::new(),
            local_connection: Vec::new(),
            counters,
        }
    }
}

/// A span of time in seconds.
fn span(duration: Duration) -> String {
    format!("{:.3}s", duration.as_secs_f64())
}

const PLAIN: DirectionsDump = DirectionsDump { rx: "PLAIN", tx: "PLAIN" };
const SEALED: DirectionsDump = DirectionsDump { rx: "AES-128-GCM", tx: "AES-128-GCM" };
const UNCOMPRESSED: DirectionsDump = DirectionsDump { rx: "UNCOMPRESSED", tx: "UNCOMPRESSED" };
