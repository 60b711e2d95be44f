//! When must something happen by itself, and what?

use std::time::Instant;

use super::{Accepted, Session, State};
use crate::connection::Connection;
use crate::error::Error;
use crate::event::Event;

/// What a session waits for with a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// A dial, or the handshake of a dialed connection, takes too long: it fails.
    Connect,
    /// The handshake of an accepted connection takes too long: it fails.
    Accept,
    /// The peer has been silent for too long: the connection fails.
    Idle,
    /// The next attempt to connect.
    Backoff,
    /// A received message was held back long enough ([`inject`](crate::inject)).
    Delay,
}

impl Session {
    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.poll_timer().map(|(at, _)| at)
    }

    /// The same, and why.
    #[must_use]
    pub fn poll_timer(&self) -> Option<(Instant, Timer)> {
        let delay =
            self.delayed.as_ref().and_then(|delayed| delayed.poll_timeout()).map(|at| (at, Timer::Delay));
        [delay, self.own_timer()].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The timer of the state.
    fn own_timer(&self) -> Option<(Instant, Timer)> {
        let ready_by = self.conn.as_ref().and_then(|conn| conn.ready_by);
        match self.state {
            State::Dialing if self.is_dated() => self.wake.map(|at| (at, Timer::Connect)),
            State::Dialing => Some((self.now, Timer::Connect)),
            State::Backoff => self.wake.map(|at| (at, Timer::Backoff)),
            State::Connecting => ready_by.map(|at| (at, Timer::Connect)),
            State::Accepting | State::Handled => ready_by.map(|at| (at, Timer::Accept)),
            // The handshake is over when its last word is out.
            State::Open if self.accepted != Accepted::No => ready_by.map(|at| (at, Timer::Accept)),
            // A peer that is not read cannot be heard.
            State::Open if self.is_paused() => None,
            State::Open => {
                let conn = self.conn.as_ref()?;
                let at = conn.last_active.checked_add(self.local.options.idle_timeout)?;
                Some((at, Timer::Idle))
            }
            State::Standby | State::Closed => None,
        }
    }

    /// Whether it is known when the dial began.
    fn is_dated(&self) -> bool {
        self.last.as_ref().is_some_and(|facts| facts.times.dialed.is_some())
    }

    /// The time of [`poll_timeout`](Self::poll_timeout) has come (or not: then nothing happens).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        while let Some(received) = self.delayed.as_mut().and_then(|delayed| delayed.pop_due(now)) {
            self.events.push_back(Event::Message(received));
        }
        let Some((_, timer)) = self.own_timer().filter(|(at, _)| *at <= now) else { return };
        match timer {
            Timer::Backoff => self.start_dial(Some(now)),
            // A command began the dial, and commands know no time: it begins now.
            Timer::Connect if self.state == State::Dialing && !self.is_dated() => {
                self.start_facts(Some(now));
                self.wake = now.checked_add(self.local.options.ready_timeout);
            }
            Timer::Connect if self.state == State::Dialing => {
                self.fault(Error::Dial(std::io::ErrorKind::TimedOut));
            }
            _ => {
                let phase = self.conn.as_ref().map_or("connecting", Connection::phase);
                self.fault(Error::TimedOut { phase });
            }
        }
    }
}
