//! Which bytes did each side of each connection send, in order, and which are missing?
//!
//! [`Reassembly`] takes the segments of a capture in the order they were captured in and turns them into
//! [`Event`]s. It does no input or output and never fails: segments that make no sense are left out.
//!
//! When is a hole given up?
//! * At once if its bytes were captured, but cut off by the capture's limit of packet length.
//! * When its receiver acknowledged its bytes, so that they will not be sent again, and
//!   [`Limits::packets_after_acknowledgment`] more packets of the connection came, so that it is not just a capture
//!   that shows packets in another order than they were sent in.
//! * When more out-of-order data waits behind it than [`Limits`] allow.
//! * When the connection or the capture ends.

mod closed;
mod connection;
mod direction;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

use self::closed::ClosedConnections;
use self::connection::Connection;
use super::event::{End, Event};
use super::packet::Segment;

/// How much a [`Reassembly`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many bytes of a direction wait for a hole before them to be filled. (Each piece counts for a little more
    /// than its bytes.)
    pub held_per_direction: usize,
    /// How many such bytes there are of all connections. A direction that would exceed this gives up its holes.
    pub held_total: usize,
    /// How many connections are open at a time. The one that was idle the longest makes room for a new one.
    pub connections: usize,
    /// How many closed connections are remembered, so that late packets of theirs do not look like new connections.
    pub closed_connections: usize,
    /// How many packets of a connection to wait for bytes that are acknowledged already.
    pub packets_after_acknowledgment: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            held_per_direction: 4 * 1024 * 1024,
            held_total: 256 * 1024 * 1024,
            connections: 65_536,
            closed_connections: 1024,
            packets_after_acknowledgment: 64,
        }
    }
}

/// Puts the segments of any number of connections in order.
///
/// A connection is known from its SYN, or else from its first data. It is forgotten when both sides ended; what
/// comes of it later is ignored, unless it is the SYN of a new connection. A SYN with another sequence number than
/// that of the connection between the same addresses and ports begins a new one.
#[derive(Debug, Default)]
pub struct Reassembly {
    limits: Limits,
    events: VecDeque<Event>,
    connections: HashMap<Endpoints, Connection>,
    /// The connections by the number of their last packet: the first one is idle the longest.
    by_last_packet: BTreeMap<u64, Endpoints>,
    closed: ClosedConnections,
    next_connection: u64,
    packets: u64,
    held: usize,
    retransmitted_bytes: u64,
    last_time: u64,
}

impl Reassembly {
    /// A reassembly without any connection yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the next segment of the capture, which was captured at `time`.
    pub fn segment(&mut self, time: u64, segment: &Segment<'_>) {
        self.last_time = time;
        self.packets += 1;
        let endpoints = Endpoints::of(segment);
        if self.connections.get(&endpoints).is_some_and(|connection| connection.is_replaced_by(segment)) {
            self.end(endpoints, End::Replaced);
        }
        if !self.connections.contains_key(&endpoints) && !self.open(endpoints, segment) {
            return;
        }
        self.feed(endpoints, segment);
    }

    /// Ends all connections: the capture has no more segments.
    pub fn finish(&mut self) {
        let mut open: Vec<(u64, Endpoints)> = self
            .connections
            .iter()
            .map(|(endpoints, connection)| (connection.number(), *endpoints))
            .collect();
        open.sort_unstable_by_key(|(number, _)| *number);
        for (_, endpoints) in open {
            self.end(endpoints, End::EndOfCapture);
        }
    }

    /// The next thing that happened, `None` until there are more segments.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How many captured bytes were left out because they had been captured before.
    pub fn retransmitted_bytes(&self) -> u64 {
        self.retransmitted_bytes
    }

    fn open(&mut self, endpoints: Endpoints, segment: &Segment<'_>) -> bool {
        if !Connection::begins_with(segment) || self.closed.explains(endpoints, segment) {
            return false;
        }
        while self.connections.len() >= self.limits.connections.max(1) {
            let Some((_, idle)) = self.by_last_packet.pop_first() else { break };
            self.end(idle, End::Evicted);
        }
        self.closed.forget(endpoints);
        let connection = Connection::new(self.next_connection, self.packets, segment);
        self.next_connection += 1;
        self.events.push_back(connection.opened(self.last_time));
        self.by_last_packet.insert(self.packets, endpoints);
        self.connections.insert(endpoints, connection);
        true
    }

    fn feed(&mut self, endpoints: Endpoints, segment: &Segment<'_>) {
        let Some(connection) = self.connections.get_mut(&endpoints) else { return };
        self.by_last_packet.remove(&connection.last_packet);
        connection.last_packet = self.packets;
        self.by_last_packet.insert(self.packets, endpoints);

        let others = self.held.saturating_sub(connection.held());
        let limits = Limits { held_total: self.limits.held_total.saturating_sub(others), ..self.limits };
        self.retransmitted_bytes += connection.segment(segment, limits, self.last_time, &mut self.events);
        self.held = others + connection.held();
        if let Some(remains) = connection.remains() {
            self.closed.remember(endpoints, remains, self.limits.closed_connections);
            self.forget(endpoints);
        }
    }

    fn end(&mut self, endpoints: Endpoints, how: End) {
        if let Some(connection) = self.connections.get_mut(&endpoints) {
            self.held = self.held.saturating_sub(connection.held());
            connection.end(how, self.last_time, &mut self.events);
            self.forget(endpoints);
        }
    }

    fn forget(&mut self, endpoints: Endpoints) {
        if let Some(connection) = self.connections.remove(&endpoints) {
            self.by_last_packet.remove(&connection.last_packet);
        }
    }
}

/// The two ends of a connection, the same whichever of them sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Endpoints(SocketAddr, SocketAddr);

impl Endpoints {
    fn of(segment: &Segment<'_>) -> Self {
        Self(segment.source.min(segment.destination), segment.source.max(segment.destination))
    }
}
