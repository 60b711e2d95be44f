//! What happens to a session when its connection fails?
//!
//! The fault rules of both versions: session spec §8 (F1 to F7), session2 spec §7 (rules 1 to 9). They differ in
//! how long a lossy client goes on trying, and in when connect_seq counts.

use std::time::Duration;

use super::admission::Admission;
use super::{Accepted, Session, State};
use crate::connection::{Connection, Version};
use crate::error::Error;
use crate::event::{Action, Event};
use crate::inject::DelayQueue;

impl Session {
    /// The connection, or the attempt to make one, failed.
    pub(super) fn fault(&mut self, error: Error) {
        // F1, rule 1.
        if self.state == State::Closed {
            return;
        }
        self.stats.faults += 1;
        let error = self.explained(error);
        self.keep_failure(&error);
        if error.is_final() {
            return self.end(Some(error));
        }
        let connecting = match self.version {
            // From reading the server's hello on, a lossy client of v1 gives up; one of v2 only once open.
            Version::V1 => match self.state {
                State::Dialing | State::Backoff => true,
                State::Connecting => self.conn.as_ref().is_some_and(Connection::is_silent),
                _ => false,
            },
            // WAIT is a state of its own, behind connecting.
            Version::V2 => {
                matches!(self.state, State::Dialing | State::Backoff | State::Connecting)
                    && error != Error::Waiting
            }
        };
        // F2, rule 2.
        if self.policy.lossy && !connecting {
            return self.end(Some(error));
        }
        self.outbox.requeue();
        // F3, rule 4. A reply that was not written wholly has not been given.
        let accepting = self.state == State::Accepting || self.accepted != Accepted::No;
        if accepting && self.outbox.is_empty() && !self.replacing && !self.once_ready {
            return self.end(Some(error));
        }
        let (was, waiting) = (self.state, error == Error::Waiting);
        self.hang_up();
        self.replacing = false;
        self.reset_by_peer = false;
        self.events.push_back(Event::Trouble(error));
        // F4, rule 6.
        if self.policy.standby && self.outbox.is_empty() && !self.keepalive && !waiting {
            self.state = State::Standby;
            return;
        }
        // F6, rule 7. (A server never dials, so F5 cannot come before it.) Nor does anybody dial who was told no place:
        // the peer comes, or nothing does. (Ceph dials port 0, again and again, for as long as the session lives.)
        if self.policy.server || self.unreachable {
            self.state = State::Standby;
            return;
        }
        self.seqs.global_seq = self.local.next_global_seq(0);
        let attempting = matches!(was, State::Dialing | State::Backoff | State::Connecting);
        let counts = match self.version {
            Version::V1 => !attempting && !waiting,
            Version::V2 => {
                self.seqs.server_cookie != 0 || (!attempting && !waiting && was != State::Accepting)
            }
        };
        if counts {
            self.seqs.connect_seq = self.seqs.connect_seq.saturating_add(1);
        }
        let at_once = !attempting && !waiting && (self.version == Version::V1 || was != State::Accepting);
        self.fruitless = self.fruitless.saturating_add(at_once.into());
        if at_once && self.fruitless <= self.local.options.fruitless {
            // F7, rule 8.
            self.backoff = Duration::ZERO;
            self.start_dial(Some(self.now));
        } else {
            // F5, rule 9; or what is sent first is what breaks them.
            self.back_off(waiting);
        }
    }

    fn back_off(&mut self, waiting: bool) {
        let options = &self.local.options;
        self.backoff = if waiting {
            options.max_backoff
        } else if self.backoff.is_zero() {
            options.initial_backoff
        } else {
            self.backoff.saturating_mul(2).min(options.max_backoff)
        };
        self.state = State::Backoff;
        self.wake = self.now.checked_add(self.backoff);
    }

    /// Lets go of the connection, and of a dial.
    pub(super) fn hang_up(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.actions.push_back(Action::HangUp(conn.link));
            self.keep_facts(conn);
        }
        self.actions.extend(self.dial.take().map(Action::HangUp));
        self.wake = None;
        // A half-read message returns what it held.
        self.admission = Admission::default();
        // What was held back is delivered now: its number counts as received.
        let delayed = self.delayed.as_mut().map(DelayQueue::flush).unwrap_or_default();
        self.events.extend(delayed.into_iter().map(Event::Message));
        self.claim = None;
        (self.accepted, self.early) = (Accepted::No, 0);
        self.keepalive_answer = None;
    }

    /// It is over, and the application is told.
    pub(super) fn end(&mut self, error: Option<Error>) {
        self.finish(error, true);
    }

    /// It is over. What waits for dispatch goes in any case; the application is told if `announce` says so.
    pub(super) fn finish(&mut self, error: Option<Error>, announce: bool) {
        if self.state == State::Closed {
            return;
        }
        self.hang_up();
        self.outbox.reset(0);
        self.posted.clear();
        self.retire();
        if self.announced {
            self.events.push_back(Event::Discard);
            if announce {
                self.events.push_back(Event::Reset(error));
            }
        } else if let Some(error) = error {
            self.events.push_back(Event::Rejected(error));
        }
    }

    /// It is no more, and its counters go into the messenger's.
    pub(super) fn retire(&mut self) {
        self.state = State::Closed;
        self.local.count_ended(self.stats());
    }

    /// The peer has lost the session: both begin anew (session spec §5.5, session2 spec §6.3).
    pub(super) fn reset_session(&mut self) {
        // Ceph draws a random number in v1, so that nobody can guess it. A server begins with 1 here: kernel
        // clients take no gaps.
        let dialing = self.state == State::Connecting;
        let out_seq = if self.version == Version::V1 && dialing { self.local.random() >> 33 } else { 0 };
        self.outbox.reset(out_seq);
        self.in_seq = 0;
        if let Some(delayed) = &mut self.delayed {
            drop(delayed.discard());
        }
        self.ack_due = false;
        self.once_ready = false;
        self.seqs.connect_seq = 0;
        if self.version == Version::V2 {
            self.seqs.client_cookie = 0;
            self.seqs.server_cookie = 0;
            self.seqs.peer_global_seq = 0;
        }
        self.events.push_back(Event::Discard);
        self.events.push_back(Event::RemoteReset);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests")]
    use std::sync::Arc;
    use std::time::Instant;

    use cephwire_codec::{AddrVec, EntityName, EntityType, Message};

    use super::*;
    use crate::auth::AllowAll;
    use crate::event::{Permits, Received};
    use crate::local::{Local, Options};
    use crate::policy::Policies;

    #[test]
    fn a_reset_discards_what_is_held_back() {
        let (name, now) = (EntityName::new(EntityType::OSD, 1), Instant::now());
        let auth = Arc::new(AllowAll { name });
        let policies = Policies::default();
        let local = Local::new(name, AddrVec::default(), 1, 1, policies, auth, Options::default());
        let throttle = Arc::clone(local.dispatch_throttle());
        let mut session = Session::outgoing(local, EntityType::OSD, AddrVec::default(), now);
        let dispatch = Some(throttle.take(5));
        let permits = Permits { dispatch, ..Permits::default() };
        let received = Received { message: Message::default(), seq: 1, source: name, stamps: None, permits };
        let mut delayed = DelayQueue::new();
        delayed.push(now, Some(Duration::from_secs(1)), received);
        session.delayed = Some(delayed);
        session.reset_session();
        assert_eq!(throttle.current(), 0);
        let events: Vec<_> = std::iter::from_fn(|| session.poll_event()).collect();
        assert!(matches!(events[..], [Event::Discard, Event::RemoteReset]), "{events:?}");
        assert!(session.poll_timer().is_none_or(|(_, timer)| timer != crate::Timer::Delay));
    }
}
