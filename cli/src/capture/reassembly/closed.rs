//! Is a segment a late one of a connection that is closed already?
//!
//! Only the most recently closed connections are remembered.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

use super::Endpoints;
use crate::capture::packet::Segment;

/// What is left of a closed connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remains {
    pub(super) client: SocketAddr,
    /// The sequence numbers of the first data bytes, as far as they were seen.
    pub(super) client_first: Option<u32>,
    pub(super) server_first: Option<u32>,
    /// Whether it was reset, so that even a SYN with the same number is a new attempt: who resets a connection he
    /// knows nothing of gets just that.
    pub(super) reset: bool,
}

#[derive(Debug, Default)]
pub(super) struct ClosedConnections {
    remains: HashMap<Endpoints, (u64, Remains)>,
    /// The oldest first; the number tells an entry that was forgotten meanwhile from a newer one.
    order: VecDeque<(u64, Endpoints)>,
    next: u64,
}

impl ClosedConnections {
    pub(super) fn remember(&mut self, endpoints: Endpoints, remains: Remains, limit: usize) {
        self.next += 1;
        self.remains.insert(endpoints, (self.next, remains));
        self.order.push_back((self.next, endpoints));
        while self.order.len() > limit {
            let Some((number, oldest)) = self.order.pop_front() else { break };
            if self.remains.get(&oldest).is_some_and(|(current, _)| *current == number) {
                self.remains.remove(&oldest);
            }
        }
    }

    pub(super) fn forget(&mut self, endpoints: Endpoints) {
        self.remains.remove(&endpoints);
    }

    /// Whether the segment belongs to the connection that was closed. Anything but a SYN does.
    pub(super) fn explains(&self, endpoints: Endpoints, segment: &Segment<'_>) -> bool {
        let Some((_, closed)) = self.remains.get(&endpoints) else { return false };
        if !segment.syn {
            return true;
        }
        let (own_first, peer_first) = if segment.source == closed.client {
            (closed.client_first, closed.server_first)
        } else {
            (closed.server_first, closed.client_first)
        };
        match segment.acknowledgment {
            // The answer to a SYN belongs to the connection of that SYN.
            Some(acknowledgment) => peer_first == Some(acknowledgment),
            None => !closed.reset && own_first == Some(segment.sequence.wrapping_add(1)),
        }
    }
}
