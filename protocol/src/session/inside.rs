//! What of a session's inside does a dump show?

use super::{Session, State};
use crate::connection::{Connection, Version};
use crate::dump::Inside;
use crate::local::Local;

impl Session {
    pub(crate) fn local(&self) -> &Local {
        &self.local
    }

    pub(crate) fn inside(&self) -> Inside<'_> {
        let phase = match (self.state, self.version) {
            (State::Dialing | State::Backoff, _) => "START_CONNECT",
            (State::Standby, _) => "STANDBY",
            (State::Closed, _) => "CLOSED",
            (State::Open, _) if self.is_paused() => self.admission.phase(),
            (State::Open, Version::V1) => "OPENED",
            (State::Open, Version::V2) => "READY",
            (State::Connecting | State::Accepting | State::Handled, _) => {
                self.conn.as_ref().map_or("NONE", Connection::phase)
            }
        };
        let state = match self.state {
            State::Backoff => "STATE_CONNECTING",
            State::Dialing => "STATE_CONNECTING_RE",
            // Ceph leaves the socket's state as it was in standby.
            State::Connecting | State::Accepting | State::Handled | State::Open | State::Standby => {
                "STATE_CONNECTION_ESTABLISHED"
            }
            State::Closed => "STATE_CLOSED",
        };
        Inside {
            state,
            phase,
            target: &self.target,
            last_active: self.conn.as_ref().map(|conn| conn.last_active),
            paused: self.admission.began().filter(|_| self.is_paused()),
        }
    }
}
