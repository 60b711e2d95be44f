//! How much may be in hand at once, and who goes on when some of it is returned?
//!
//! ```text
//!   get(7) ──► Granted(Permit) ──► drop: put(7) ──┐
//!     │ full, or others wait                      ▼
//!     └──────► Waiting(Ticket) ◄── granted in order, then the waker is called
//!                │ claim                drop: leaves the queue, or returns what was granted
//!                └──► Granted(Permit)
//! ```
//!
//! Ceph's arithmetic, but nothing blocks: who must wait holds a [`Ticket`], and is told when it is granted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A counting limiter: what is taken by all holders of a [`Permit`] together stays within a maximum.
///
/// With `current` in hand and a maximum `max` (0 = unlimited, but counted), a request must wait if and
/// only if `max ≠ 0` and
///
/// | request | waits if |
/// |---|---|
/// | `count < max` | `current + count > max` |
/// | `count = max` | `current > 0` |
/// | `count > max` | `current > max` |
///
/// or if others wait already. A request larger than the maximum is thus served alone rather than never.
/// Sums beyond `u64` stick to its end.
///
/// Ceph: `src/common/Throttle.cc`, whose `wait(max)` is [`set_max`](Self::set_max) followed by a request
/// for 0, and whose `get(count, max)` is `set_max` followed by [`get`](Self::get). There an unlimited
/// throttle does not count reliably; here it does, so that a maximum set later finds the right number.
///
/// ```
/// use cephwire_protocol::throttle::{Outcome, Throttle};
/// let bytes = Throttle::new(100);
/// let first = bytes.try_get(80);
/// assert!(first.is_some() && bytes.try_get(21).is_none());
///
/// let Outcome::Waiting(ticket) = bytes.get(21, || println!("go on")) else { return };
/// drop(first); // prints "go on"
/// assert!(matches!(ticket.claim(), Outcome::Granted(permit) if permit.count() == 21));
/// assert_eq!(bytes.current(), 0);
/// ```
pub struct Throttle {
    state: Mutex<State>,
}

impl Throttle {
    /// A throttle of which nothing is taken; `max` = 0 does not limit.
    #[must_use]
    pub fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { max, ..State::default() }) })
    }

    /// Takes `count` at once, or queues behind those who wait already.
    ///
    /// `wake` is called once when a queued request has been granted, on the thread that made it possible
    /// and without the throttle's lock; never if it was granted at once. With several threads that may be
    /// before this call returns, or while the ticket is being dropped. It may use this throttle, but must
    /// not wait for a lock under which anybody drops permits, nor own what owns the ticket: let it notify.
    pub fn get(self: &Arc<Self>, count: u64, wake: impl FnOnce() + Send + 'static) -> Outcome {
        let mut state = self.lock();
        state.counters.get_started += 1;
        if state.is_free(count) {
            state.grant(count);
            return Outcome::Granted(self.permit(count));
        }
        let id = state.next_id;
        state.next_id += 1;
        state.waiters.push_back(Waiter { id, count, wake: Box::new(wake) });
        Outcome::Waiting(Ticket { throttle: Some(Arc::clone(self)), id, count })
    }

    /// Takes `count`, unless the request would have to wait. Ceph: `get_or_fail`.
    #[must_use]
    pub fn try_get(self: &Arc<Self>, count: u64) -> Option<Permit> {
        let mut state = self.lock();
        if !state.is_free(count) {
            state.counters.get_or_fail_fail += 1;
            return None;
        }
        state.counters.get_or_fail_success += 1;
        state.grant(count);
        Some(self.permit(count))
    }

    /// Takes `count` unconditionally, beyond the maximum and past those who wait if need be.
    pub fn take(self: &Arc<Self>, count: u64) -> Permit {
        self.lock().take(count);
        self.permit(count)
    }

    /// Changes the maximum, and grants what has become possible; 0 does not limit.
    pub fn set_max(&self, max: u64) {
        self.change(|state| state.max = max);
    }

    /// How much is taken.
    #[must_use]
    pub fn current(&self) -> u64 {
        self.lock().current
    }

    /// How much may be taken; 0 = unlimited.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.lock().max
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.lock().waiters.len()
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().counters
    }

    /// Changes the state, then grants from the front what has become possible, and tells those.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let result = change(&mut state);
        let mut granted = Vec::new();
        while let Some(waiter) = state.grant_first() {
            granted.push(waiter.wake);
        }
        drop(state);
        for wake in granted {
            wake();
        }
        result
    }

    fn permit(self: &Arc<Self>, count: u64) -> Permit {
        Permit { throttle: Arc::clone(self), count }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Throttle({} of {}, {} waiting)", self.current(), self.max(), self.waiters())
    }
}

/// The answer to a request.
#[derive(Debug)]
#[must_use = "dropping it returns what was granted, or leaves the queue"]
pub enum Outcome {
    /// It is taken.
    Granted(Permit),
    /// It is queued: there is not enough, or others were here before.
    Waiting(Ticket),
}

/// Something taken from a [`Throttle`]; dropping it returns it.
#[derive(Debug)]
#[must_use = "dropping it returns what was taken"]
pub struct Permit {
    throttle: Arc<Throttle>,
    count: u64,
}

impl Permit {
    /// How much it is.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Moves `count` of it into a permit of its own; none if it is less than that.
    #[must_use]
    pub fn split(&mut self, count: u64) -> Option<Self> {
        self.count = self.count.checked_sub(count)?;
        Some(self.throttle.permit(count))
    }

    /// Adds another permit of the same throttle; that of another throttle comes back as `Err`.
    pub fn merge(&mut self, mut other: Self) -> Result<(), Self> {
        if !Arc::ptr_eq(&self.throttle, &other.throttle) {
            return Err(other);
        }
        self.count = self.count.saturating_add(std::mem::take(&mut other.count));
        Ok(())
    }

    /// Makes it `count`: returns what is too much, takes unconditionally what is missing.
    ///
    /// So a message's share follows its payload. Ceph: `Message::set_data` and its kin, `src/msg/Message.h`.
    pub fn resize(&mut self, count: u64) {
        let before = std::mem::replace(&mut self.count, count);
        if count > before {
            self.throttle.lock().take(count - before);
        } else {
            self.throttle.change(|state| state.put(before - count));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.throttle.change(|state| state.put(self.count));
    }
}

/// A place in the queue of a [`Throttle`]; dropping it leaves the queue.
///
/// Once granted, its count is taken, claimed or not; dropping it returns that.
#[derive(Debug)]
#[must_use = "dropping it leaves the queue"]
pub struct Ticket {
    /// None once the grant is claimed.
    throttle: Option<Arc<Throttle>>,
    id: u64,
    count: u64,
}

impl Ticket {
    /// Whether it is granted, so that [`claim`](Self::claim) gives the permit.
    #[must_use]
    pub fn is_granted(&self) -> bool {
        self.throttle.as_ref().is_none_or(|throttle| throttle.lock().position(self.id).is_none())
    }

    /// Exchanges the ticket for the permit if it is granted, or else gives it back.
    pub fn claim(mut self) -> Outcome {
        match self.throttle.take_if(|throttle| throttle.lock().position(self.id).is_none()) {
            Some(throttle) => Outcome::Granted(Permit { throttle, count: self.count }),
            None => Outcome::Waiting(self),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(throttle) = self.throttle.take() else { return };
        // The waker comes out with its waiter, so that it is dropped without the lock.
        let _waiter = throttle.change(|state| match state.position(self.id) {
            Some(position) => state.waiters.remove(position),
            None => {
                state.put(self.count);
                None
            }
        });
    }
}

/// What has happened on a [`Throttle`] so far.
///
/// Ceph: the counters `throttle-<name>` of `src/common/Throttle.cc`, under the same names (there, `wait`
/// is also a time). A number and the sum of the amounts, where there are both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests by [`Throttle::get`], counted before they wait.
    pub get_started: u64,
    /// Requests granted, of either kind, waited for or not.
    pub get: u64,
    /// What they were granted.
    pub get_sum: u64,
    /// Requests by [`Throttle::try_get`] that were refused.
    pub get_or_fail_fail: u64,
    /// Requests by [`Throttle::try_get`] that were granted.
    pub get_or_fail_success: u64,
    /// Unconditional takings: [`Throttle::take`], and permits that grew.
    pub take: u64,
    /// What they took.
    pub take_sum: u64,
    /// Returns of more than nothing.
    pub put: u64,
    /// What they returned.
    pub put_sum: u64,
    /// Requests granted after waiting.
    pub wait: u64,
}

#[derive(Default)]
struct State {
    max: u64,
    current: u64,
    /// In order of arrival, so in ascending order of `id`. The first one has to wait, and so all do.
    waiters: VecDeque<Waiter>,
    next_id: u64,
    counters: Counters,
}

impl State {
    /// Whether a newcomer can have `count` at once.
    fn is_free(&self, count: u64) -> bool {
        self.waiters.is_empty() && !must_wait(self.current, self.max, count)
    }

    /// Where a waiter stands, if it still waits.
    fn position(&self, id: u64) -> Option<usize> {
        self.waiters.binary_search_by_key(&id, |waiter| waiter.id).ok()
    }

    /// Grants the first waiter's request if that is possible now.
    fn grant_first(&mut self) -> Option<Waiter> {
        let count = self.waiters.front()?.count;
        if must_wait(self.current, self.max, count) {
            return None;
        }
        self.grant(count);
        self.counters.wait += 1;
        self.waiters.pop_front()
    }

    fn grant(&mut self, count: u64) {
        self.current = self.current.saturating_add(count);
        self.counters.get += 1;
        self.counters.get_sum = self.counters.get_sum.saturating_add(count);
    }

    fn take(&mut self, count: u64) {
        self.current = self.current.saturating_add(count);
        self.counters.take += 1;
        self.counters.take_sum = self.counters.take_sum.saturating_add(count);
    }

    fn put(&mut self, count: u64) {
        if count > 0 {
            self.current = self.current.saturating_sub(count);
            self.counters.put += 1;
            self.counters.put_sum = self.counters.put_sum.saturating_add(count);
        }
    }
}

struct Waiter {
    id: u64,
    count: u64,
    wake: Box<dyn FnOnce() + Send>,
}

/// The table of [`Throttle`].
fn must_wait(current: u64, max: u64, count: u64) -> bool {
    if max == 0 {
        return false;
    }
    if count > max { current > max } else { current.saturating_add(count) > max }
}

#[cfg(test)]
mod tests;
