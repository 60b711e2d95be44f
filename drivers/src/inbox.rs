//! What waits for normal dispatch, and who is called for it?

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cephwire_protocol::codec::Side;
use cephwire_protocol::dispatch::DispatchQueue;
use cephwire_protocol::{Error, Received};

use crate::bell::Bell;
use crate::core::Next;
use crate::dispatcher::Dispatchers;
use crate::handle::Handle;

/// The dispatch queue of a messenger.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    pub(crate) bell: Bell,
    /// Messages that no dispatcher wanted.
    unhandled: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queue: DispatchQueue<Item>,
    stopped: bool,
}

/// Something to dispatch.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) handle: Handle,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Message(Received),
    Open(Side),
    Reset(Option<Error>),
    RemoteReset,
    Refused,
    Trouble(Error),
    Rejected(Error),
}

/// So many dispatches, then the thread or task looks whether there is something else to do.
const TURN: usize = 32;

impl Inbox {
    /// Queues a message, unless its session has ended.
    pub(crate) fn message(&self, handle: &Handle, class: u64, received: Received) {
        let (priority, cost) = (received.message.header.priority, received.message.data.len() as u64);
        let stamp = received.stamps.map_or_else(Instant::now, |stamps| stamps.began);
        let mut state = self.lock();
        if handle.has_ended() {
            return;
        }
        let item = Item { handle: handle.clone(), what: What::Message(received) };
        let refused = state.queue.enqueue(priority, class, cost, stamp, item);
        drop(state);
        drop(refused);
        self.bell.ring();
    }

    /// Queues an event.
    pub(crate) fn event(&self, item: Item) {
        let refused = self.lock().queue.event(item);
        drop(refused);
        self.bell.ring();
    }

    /// Throws away the messages of a session.
    pub(crate) fn discard(&self, class: u64) {
        let discarded = self.lock().queue.discard(class);
        drop(discarded);
    }

    /// Throws all messages away; events are still dispatched, then it is over.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let dropped = state.queue.stop();
        drop(state);
        drop(dropped);
        self.bell.ring();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().queue.len()
    }

    pub(crate) fn max_age(&self) -> Duration {
        self.lock().queue.max_age(Instant::now())
    }

    pub(crate) fn unhandled(&self) -> u64 {
        self.unhandled.load(Ordering::Relaxed)
    }

    /// Dispatches a few.
    pub(crate) fn turn(&self, dispatchers: &Dispatchers) -> Next {
        for _ in 0..TURN {
            let mut state = self.lock();
            let Some(item) = state.queue.pop() else {
                return if state.stopped { Next::End } else { Next::Wait(None) };
            };
            drop(state);
            self.dispatch(dispatchers, item);
        }
        Next::Again
    }

    fn dispatch(&self, dispatchers: &Dispatchers, Item { handle, what }: Item) {
        let all = &dispatchers.all;
        match what {
            What::Message(received) => {
                let mut left = Some(received);
                for dispatcher in all {
                    left = left.and_then(|received| dispatcher.dispatch(&handle, received));
                }
                if left.is_some() {
                    self.unhandled.fetch_add(1, Ordering::Relaxed);
                }
            }
            What::Open(Side::Client) => all.iter().for_each(|dispatcher| dispatcher.connected(&handle)),
            What::Open(Side::Server) => all.iter().for_each(|dispatcher| dispatcher.accepted(&handle)),
            What::Reset(error) => {
                let _ = all.iter().any(|dispatcher| dispatcher.reset(&handle, error.as_ref()));
            }
            What::RemoteReset => all.iter().for_each(|dispatcher| dispatcher.remote_reset(&handle)),
            What::Refused => {
                let _ = all.iter().any(|dispatcher| dispatcher.refused(&handle));
            }
            What::Trouble(error) => all.iter().for_each(|dispatcher| dispatcher.trouble(&handle, &error)),
            What::Rejected(error) => all.iter().for_each(|dispatcher| dispatcher.rejected(&handle, &error)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
