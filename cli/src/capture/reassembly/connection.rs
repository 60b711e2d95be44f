//! Which of a connection's two directions does a segment concern, and what does it mean for the other one?

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::Limits;
use super::closed::Remains;
use super::direction::Direction;
use crate::capture::event::{End, Event, Outlet, Side};
use crate::capture::packet::Segment;

#[derive(Debug)]
pub(super) struct Connection {
    number: u64,
    client: SocketAddr,
    server: SocketAddr,
    from_start: bool,
    client_sends: Direction,
    server_sends: Direction,
    reset: bool,
    /// The number of the last packet that belonged to it, among all packets.
    pub(super) last_packet: u64,
}

impl Connection {
    /// Whether a segment can be the first one that is seen of a connection. Those without data are not enough: who
    /// is the client is not known then, and a connection that stays idle is of no interest.
    pub(super) fn begins_with(segment: &Segment<'_>) -> bool {
        !segment.rst && (segment.syn || segment.has_data())
    }

    pub(super) fn new(number: u64, packet: u64, segment: &Segment<'_>) -> Self {
        let answers = segment.syn && segment.acknowledgment.is_some();
        let (client, server) = if answers {
            (segment.destination, segment.source)
        } else {
            (segment.source, segment.destination)
        };
        let mut connection = Self {
            number,
            client,
            server,
            from_start: segment.syn,
            client_sends: Direction::default(),
            server_sends: Direction::default(),
            reset: false,
            last_packet: packet,
        };
        if let Some(acknowledgment) = segment.acknowledgment.filter(|_| answers) {
            connection.client_sends.start(acknowledgment);
        }
        connection
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn opened(&self, time: u64) -> Event {
        Event::Opened {
            connection: self.number,
            client: self.client,
            server: self.server,
            time,
            from_start: self.from_start,
        }
    }

    /// How much memory the data that waits for holes to be filled takes.
    pub(super) fn held(&self) -> usize {
        self.client_sends.held() + self.server_sends.held()
    }

    /// Whether the segment is the SYN of another connection between the same ends.
    pub(super) fn is_replaced_by(&self, segment: &Segment<'_>) -> bool {
        let sends = match self.side_of(segment) {
            Side::Client => &self.client_sends,
            Side::Server => &self.server_sends,
        };
        segment.syn
            && !segment.rst
            && match sends.first() {
                Some(first) => first != segment.sequence.wrapping_add(1),
                None => !self.from_start,
            }
    }

    /// Takes a segment; returns how many of its bytes were known before. The limit of what is held in total is what
    /// the other connections leave of it.
    pub(super) fn segment(
        &mut self,
        segment: &Segment<'_>,
        limits: Limits,
        time: u64,
        events: &mut VecDeque<Event>,
    ) -> u64 {
        if segment.rst {
            self.reset = true;
            self.end(End::Reset, time, events);
            return 0;
        }
        let from = self.side_of(segment);
        let mut outlet = Outlet { events, connection: self.number, from, time };
        let (own, peer) = match from {
            Side::Client => (&mut self.client_sends, &mut self.server_sends),
            Side::Server => (&mut self.server_sends, &mut self.client_sends),
        };
        let room = limits.held_per_direction.min(limits.held_total.saturating_sub(peer.held()));
        let known = own.segment(segment, room, &mut outlet);
        own.wait(limits.packets_after_acknowledgment, &mut outlet);
        outlet.from = from.peer();
        if let Some(acknowledgment) = segment.acknowledgment {
            peer.acknowledge(acknowledgment);
        }
        peer.wait(limits.packets_after_acknowledgment, &mut outlet);
        known
    }

    /// Ends the directions that have not ended yet.
    pub(super) fn end(&mut self, how: End, time: u64, events: &mut VecDeque<Event>) {
        let connection = self.number;
        self.client_sends.end(how, &mut Outlet { events, connection, from: Side::Client, time });
        self.server_sends.end(how, &mut Outlet { events, connection, from: Side::Server, time });
    }

    /// What is to be remembered once both directions have ended.
    pub(super) fn remains(&self) -> Option<Remains> {
        (self.client_sends.has_ended() && self.server_sends.has_ended()).then_some(Remains {
            client: self.client,
            client_first: self.client_sends.first(),
            server_first: self.server_sends.first(),
            reset: self.reset,
        })
    }

    fn side_of(&self, segment: &Segment<'_>) -> Side {
        if segment.source == self.client { Side::Client } else { Side::Server }
    }
}
