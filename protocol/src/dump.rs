//! What does a messenger look like at this moment?
//!
//! What Ceph's admin command `dump_messenger` says of one of a daemon's messengers (`AsyncMessenger::dump`,
//! `AsyncConnection::dump`, `ProtocolV1::dump`, `ProtocolV2::dump`; releases after 19): the same names, nested in the same
//! way, so that tools for those read these too. A few fields are ours and say so. What only the driver knows is left
//! open for it to fill in.
//!
//! ```text
//! { nonce, my_name, my_addrs, listen_sockets: [{ socket_fd, worker_id }], dispatch_queue, connections_count,
//!   connections: [{ addrvec, async_connection: { state, .., peer, .., protocol: { v1 | v2: { state, .. } } } }],
//!   anon_conns: [{ state, .. }], accepting_conns, deleted_conns, local_connection }
//! ```

use std::time::{Duration, Instant};

use cephwire_codec::v2::{Revision, mode};
use cephwire_codec::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Side};
use serde::Serialize;

use crate::auth::Entity;
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
    /// The driver's: the descriptor, if there is a socket.
    pub socket_fd: Option<i32>,
    /// The driver's, if it was asked for.
    pub tcp_info: Option<TcpInfoDump>,
    /// The driver's: the number of the session in the dispatch queue.
    pub conn_id: u64,
    /// Who the peer is.
    pub peer: PeerDump,
    /// When this connection was dialed; when it was accepted, if it was (Ceph counts from the start of the system then).
    pub last_connect_started_ago: Option<String>,
    /// When the peer was heard last.
    pub last_active_ago: Option<String>,
    /// When bytes were read last: the same.
    pub recv_start_time_ago: Option<String>,
    /// The driver's: the number of its timer; 0 if there is none.
    pub last_tick_id: u64,
    /// The own address that the peer dialed: the first of this version. Blank if this side dialed.
    pub socket_addr: AddrDump,
    /// What is dialed, or would be; where the accepted connection came from while nothing better is known.
    pub target_addr: AddrDump,
    /// v1: the own port that the peer dialed. Else −1.
    pub port: i32,
    /// What the peers agreed on.
    pub protocol: ProtocolDump,
    /// The driver's: the thread it runs on; −1 for none.
    pub worker_id: i32,
    /// Ours: since when reading pauses for a throttle; nothing if it does not.
    pub paused_ago: Option<String>,
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
    /// What it was authenticated as; type 0 without an id where that is not known.
    pub entity_name: EntityNameDump,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its number.
    pub id: i64,
    /// Its number in the cluster; 0 where that is not known.
    pub global_id: u64,
    /// Its addresses.
    pub addr: AddrsDump,
}

/// A name as authentication has it.
#[derive(Clone, Debug, Default, Serialize)]
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
        con_mode: &'static str,
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
        con_mode: &'static str,
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
    pub kind: &'static str,
    /// The number.
    pub num: i64,
}

/// An address.
#[derive(Clone, Debug, Serialize)]
pub struct AddrDump {
    /// "none", "v1", "v2" or "any".
    #[serde(rename = "type")]
    pub kind: String,
    /// IP and port.
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
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SocketDump {
    /// Its descriptor.
    pub socket_fd: i32,
    /// The thread that accepts; −1 for none.
    pub worker_id: i32,
}

/// What the system says of a TCP connection (`TCP_INFO`). Ceph: `dump_tcp_info` in `src/common/tcp_info.cc`.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "the fields of struct tcp_info, tcp(7)")]
pub struct TcpInfoDump {
    /// "established", "syn sent", "close wait" and so on.
    pub tcpi_state: &'static str,
    pub tcpi_retransmits: u64,
    pub tcpi_probes: u64,
    pub tcpi_backoff: u64,
    pub tcpi_rto_us: u64,
    pub tcpi_ato_us: u64,
    pub tcpi_snd_mss: u64,
    pub tcpi_rcv_mss: u64,
    pub tcpi_unacked: u64,
    pub tcpi_lost: u64,
    pub tcpi_retrans: u64,
    pub tcpi_pmtu: u64,
    pub tcpi_rtt_us: u64,
    pub tcpi_rttvar_us: u64,
    pub tcpi_total_retrans: u64,
    pub tcpi_last_data_sent_ms: u64,
    pub tcpi_last_ack_sent_ms: u64,
    pub tcpi_last_data_recv_ms: u64,
    pub tcpi_last_ack_recv_ms: u64,
    /// "timestamps", "sack", "wscale", "ecn", "ecn seen", "syn data".
    pub tcpi_options: Vec<&'static str>,
}

/// The dispatch queue.
#[derive(Clone, Debug, Serialize)]
pub struct QueueDump {
    /// Messages and events in it.
    pub length: usize,
    /// How old the oldest message is ([`span`]).
    pub max_age_ago: String,
}

impl Default for QueueDump {
    fn default() -> Self {
        Self { length: 0, max_age_ago: span(Duration::ZERO) }
    }
}

/// A span of time as Ceph writes it: "1.5s", and from 2 seconds on whole "s", "m", "h", "d", "w", "M" or "y".
#[must_use]
pub fn span(duration: Duration) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = duration.as_secs();
    if seconds < 2 {
        return format!("{}s", duration.as_secs_f32());
    }
    // Up to which span, in which unit.
    let units = [
        (2 * MINUTE, 1, 's'),
        (2 * HOUR, MINUTE, 'm'),
        (2 * DAY, HOUR, 'h'),
        (14 * DAY, DAY, 'd'),
        (84 * DAY, 7 * DAY, 'w'),
        (720 * DAY, 30 * DAY, 'M'),
    ];
    let fitting = units.into_iter().find(|(most, ..)| seconds < *most);
    let (_, unit, name) = fitting.unwrap_or((0, 365 * DAY, 'y'));
    format!("{}{name}", seconds / unit)
}

impl From<EntityName> for NameDump {
    fn from(name: EntityName) -> Self {
        Self { kind: type_name(name.kind), num: name.num }
    }
}

impl From<Entity> for EntityNameDump {
    fn from(Entity { kind, id }: Entity) -> Self {
        Self { kind: kind.0, id }
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
        let nothing = || "(unrecognized address family 0)".to_owned();
        let socket = addr.socket.map_or_else(nothing, |socket| socket.to_string());
        Self { kind, addr: socket, nonce: addr.nonce }
    }
}

impl From<&AddrVec> for AddrsDump {
    fn from(addrs: &AddrVec) -> Self {
        Self { addrvec: addrs.0.iter().map(AddrDump::from).collect() }
    }
}

fn type_name(kind: EntityType) -> &'static str {
    kind.name().unwrap_or("unknown")
}

impl SessionDump {
    fn new(local: &Local, peer: EntityName, addrs: &AddrVec, protocol: ProtocolDump) -> Self {
        Self {
            state: "STATE_NONE",
            messenger_nonce: local.nonce(),
            status: StatusDump { connected: false, loopback: false },
            socket_fd: None,
            tcp_info: None,
            conn_id: 0,
            peer: PeerDump {
                entity_name: EntityNameDump::default(),
                kind: type_name(peer.kind),
                id: peer.num,
                global_id: 0,
                addr: addrs.into(),
            },
            last_connect_started_ago: None,
            last_active_ago: None,
            recv_start_time_ago: None,
            last_tick_id: 0,
            socket_addr: AddrDump::from(&EntityAddr::default()),
            target_addr: AddrDump::from(&EntityAddr::default()),
            port: -1,
            protocol,
            worker_id: -1,
            paused_ago: None,
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
    pub(crate) paused: Option<Instant>,
}

impl crate::Session {
    /// Its state, for people and tools.
    #[must_use]
    pub fn dump(&self, now: Instant) -> SessionDump {
        let (inside, facts, local) = (self.inside(), self.facts(), self.local());
        let ago = |at: Option<Instant>| at.map(|at| span(now.saturating_duration_since(at)));
        let (state, connect_seq, peer_global_seq) = (inside.phase, facts.connect_seq, facts.peer_global_seq);
        let con_mode = facts.mode.and_then(mode::name).unwrap_or("unknown");
        let both_ways = |name| DirectionsDump { rx: name, tx: name };
        let is_secure = facts.mode == Some(mode::SECURE);
        let compressor = facts.compression.map(|method| method.name().unwrap_or("unknown"));
        let protocol = match facts.version {
            Version::V1 => ProtocolDump::V1 { state, connect_seq, peer_global_seq, con_mode },
            Version::V2 => ProtocolDump::V2 {
                state,
                connect_seq,
                peer_global_seq,
                con_mode,
                rev1: facts.revision() == Some(Revision::V2_1),
                crypto: both_ways(if is_secure { "AES-128-GCM" } else { "PLAIN" }),
                compression: both_ways(compressor.unwrap_or("UNCOMPRESSED")),
            },
        };
        let own = match (facts.side, facts.version) {
            (Side::Client, _) => EntityAddr::default(),
            (Side::Server, Version::V1) => local.v1_addr(),
            (Side::Server, Version::V2) => {
                local.addrs().first_of(AddrType::MSGR2).copied().unwrap_or_default()
            }
        };
        let port = own.socket.filter(|_| facts.version == Version::V1).map_or(-1, |own| own.port().into());
        let target =
            if *inside.target == EntityAddr::default() { facts.socket } else { Some(*inside.target) };
        let plain = SessionDump::new(local, self.peer(), self.key(), protocol);
        SessionDump {
            state: inside.state,
            status: StatusDump { connected: self.is_open(), loopback: false },
            peer: PeerDump {
                entity_name: facts.authenticated.map(EntityNameDump::from).unwrap_or_default(),
                // A client's own number is not its peer's.
                global_id: facts.global_id.filter(|_| facts.side == Side::Server).unwrap_or_default(),
                ..plain.peer
            },
            last_connect_started_ago: ago(facts.times.dialed.or(facts.times.connected)),
            last_active_ago: ago(inside.last_active),
            recv_start_time_ago: ago(inside.last_active),
            socket_addr: AddrDump::from(&own),
            target_addr: AddrDump::from(&target.unwrap_or_default()),
            port,
            paused_ago: ago(inside.paused),
            counters: self.stats(),
            ..plain
        }
    }
}

impl Loopback {
    /// Its state, for people and tools. Ceph's is one of v1 that never began.
    #[must_use]
    pub fn dump(&self, local: &Local) -> SessionDump {
        let (connect_seq, peer_global_seq) = (0, 0);
        let protocol = ProtocolDump::V1 { state: "NONE", connect_seq, peer_global_seq, con_mode: "unknown" };
        let state = if self.is_open() { "STATE_NONE" } else { "STATE_CLOSED" };
        let status = StatusDump { connected: self.is_open(), loopback: true };
        SessionDump { state, status, ..SessionDump::new(local, self.peer(), &self.key(), protocol) }
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
