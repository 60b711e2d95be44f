//! May the announced message come in?
//!
//! Three throttles in a fixed order: the policy's for messages, the policy's for bytes, the messenger's for
//! dispatch (messenger spec §7.2). Where one is full the session queues for it and does not read on; what it has
//! by then, it keeps. So that two sessions cannot wait for each other, all take them in this order.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::Session;
use crate::event::{Permits, Stamps};
use crate::local::Local;
use crate::policy::Policy;
use crate::throttle::{Outcome, Permit, Throttle, Ticket};

/// The message that is being read: what it holds, and where it waits.
#[derive(Debug, Default)]
pub(super) struct Admission {
    permits: Permits,
    /// With Ceph's name for the state.
    ticket: Option<(Ticket, &'static str)>,
    began: Option<Instant>,
    throttled: Option<Instant>,
}

/// What is called when a session that pauses may go on.
#[derive(Clone, Default)]
pub(super) struct Waker(Option<Arc<dyn Fn() + Send + Sync>>);

impl Waker {
    pub(super) fn wake(&self) {
        if let Some(wake) = &self.0 {
            wake();
        }
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Waker" } else { "no waker" })
    }
}

impl Admission {
    /// Whether a message of `len` bytes is in; else it waits for a throttle.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        len: u64,
        policy: &Policy,
        local: &Local,
        waker: &Waker,
    ) -> bool {
        self.began.get_or_insert(now);
        // The size is a sum of 32 bits in Ceph; here it cannot wrap.
        let dispatch = Some(local.dispatch_throttle());
        let Self { permits, ticket, .. } = self;
        let (messages, bytes) = (policy.throttle_messages.as_ref(), policy.throttle_bytes.as_ref());
        let wanted = [
            (&mut permits.message, messages, 1, "THROTTLE_MESSAGE"),
            (&mut permits.bytes, bytes, len, "THROTTLE_BYTES"),
            (&mut permits.dispatch, dispatch, len, "THROTTLE_DISPATCH_QUEUE"),
        ];
        for (held, throttle, count, phase) in wanted {
            if held.is_some() || count == 0 {
                continue;
            }
            let Some(throttle) = throttle else { continue };
            match take(throttle, count, ticket.take().map(|(ticket, _)| ticket), waker) {
                Outcome::Granted(permit) => *held = Some(permit),
                Outcome::Waiting(waiting) => {
                    *ticket = Some((waiting, phase));
                    return false;
                }
            }
        }
        self.throttled = Some(now);
        true
    }

    /// Whether it waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.ticket.is_some()
    }

    /// Since when.
    #[cfg(feature = "serde")]
    pub(super) fn began(&self) -> Option<Instant> {
        self.began
    }

    /// Which throttle it waits for, in Ceph's words for its states.
    #[cfg(feature = "serde")]
    pub(super) fn phase(&self) -> &'static str {
        self.ticket.as_ref().map_or("READY", |(_, phase)| phase)
    }

    /// The message is complete, and has this many bytes of payload: everything goes with it.
    pub(super) fn complete(&mut self, now: Instant, len: u64) -> (Permits, Stamps) {
        let Self { mut permits, began, throttled, .. } = std::mem::take(self);
        // Compressed, it was announced shorter.
        let follow = |permit: &mut Option<Permit>| {
            if let Some(permit) = permit.as_mut().filter(|permit| permit.count() != len) {
                permit.resize(len);
            }
        };
        follow(&mut permits.bytes);
        follow(&mut permits.dispatch);
        let stamps =
            Stamps { began: began.unwrap_or(now), throttled: throttled.unwrap_or(now), complete: now };
        (permits, stamps)
    }
}

fn take(throttle: &Arc<Throttle>, count: u64, ticket: Option<Ticket>, waker: &Waker) -> Outcome {
    if let Some(ticket) = ticket {
        return ticket.claim();
    }
    let waker = waker.clone();
    throttle.get(count, move || waker.wake())
}

impl Session {
    /// Is called when a session that pauses may go on: then call [`handle_unpaused`](Self::handle_unpaused). It may
    /// be called on any thread, even within calls to this session, and must only notify.
    pub fn set_waker(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        self.waker = Waker(Some(Arc::new(wake)));
    }

    /// Whether reading pauses, as an announced message waits for a throttle.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.admission.is_waiting()
    }

    /// Whether it pauses, and may go on: for drivers that look rather than be woken.
    #[must_use]
    pub fn is_unpausable(&self) -> bool {
        self.admission.ticket.as_ref().is_some_and(|(ticket, _)| ticket.is_granted())
    }

    /// A throttle has room for the announced message (or not: then nothing happens). Reading goes on, and
    /// [`recv_buf`](Self::recv_buf) gives memory again, unless the next throttle is full.
    pub fn handle_unpaused(&mut self, now: Instant) {
        self.now = now;
        if self.is_paused() {
            self.pump();
        }
    }
}
