//! Who looks after sessions without a transport, and after all timers?
//!
//! One thread or task for a whole messenger: a session in backoff, or an open one that is idle, is an entry in a
//! list here and nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::bell::Bell;
use crate::conn::Conn;
use crate::core::Next;

/// Timers of sessions, and sessions that something was done to.
#[derive(Debug, Default)]
pub(crate) struct Steward {
    state: Mutex<State>,
    pub(crate) bell: Bell,
}

#[derive(Debug, Default)]
struct State {
    /// By time, then by the number of the session.
    timers: BTreeMap<(Instant, u64), Arc<Conn>>,
    kicked: VecDeque<Arc<Conn>>,
    stopped: bool,
    /// Nobody looks any more.
    over: bool,
}

impl Steward {
    /// Looks after this session soon.
    pub(crate) fn kick(&self, conn: &Arc<Conn>) {
        let mut state = self.lock();
        if !state.over {
            state.kicked.push_back(Arc::clone(conn));
            drop(state);
            self.bell.ring();
        }
    }

    /// Looks after this session at that time, no longer at the other.
    pub(crate) fn schedule(&self, conn: &Arc<Conn>, before: Option<Instant>, at: Instant) {
        let mut state = self.lock();
        if state.over {
            return;
        }
        if let Some(before) = before {
            state.timers.remove(&(before, conn.class));
        }
        let first = state.timers.first_key_value().is_none_or(|((first, _), _)| at < *first);
        state.timers.insert((at, conn.class), Arc::clone(conn));
        drop(state);
        if first {
            self.bell.ring();
        }
    }

    /// Forgets the timer of a session.
    pub(crate) fn cancel(&self, conn: &Arc<Conn>, at: Instant) {
        let cancelled = self.lock().timers.remove(&(at, conn.class));
        drop(cancelled);
    }

    /// Ends once all that was done is looked after.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.bell.ring();
    }

    /// Does what is due.
    pub(crate) fn turn(&self) -> Next {
        let kicked = std::mem::take(&mut self.lock().kicked);
        let any = !kicked.is_empty();
        for conn in kicked {
            let mut inner = conn.lock();
            inner.kicked = false;
            let (inner, _) = conn.pump(inner);
            // It may have got a transport meanwhile.
            conn.wake_transmitter(inner);
        }
        let now = Instant::now();
        loop {
            let mut state = self.lock();
            let due = state.timers.first_entry().filter(|entry| entry.key().0 <= now);
            let Some(conn) = due.map(|due| due.remove()) else {
                return match state.timers.first_key_value() {
                    _ if any => Next::Again,
                    _ if state.stopped && state.kicked.is_empty() => {
                        state.over = true;
                        let timers = std::mem::take(&mut state.timers);
                        drop(state);
                        drop(timers);
                        Next::End
                    }
                    first => Next::Wait(first.map(|((at, _), _)| *at)),
                };
            };
            drop(state);
            let mut inner = conn.lock();
            inner.scheduled = None;
            inner.session.handle_timeout(now);
            let (inner, _) = conn.pump(inner);
            conn.wake_transmitter(inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
