//! How is somebody woken who waits for work, be it a thread or a task?

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
#[cfg(feature = "tokio")]
use std::task::{Context, Waker};
#[cfg(feature = "blocking")]
use std::time::Instant;

/// Rings for one waiter. A ring that nobody waits for is kept for who comes next; several are one.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    condvar: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rung: bool,
    /// A thread sleeps: nobody else pays for the system call.
    sleeping: bool,
    #[cfg(feature = "tokio")]
    waker: Option<Waker>,
}

impl Bell {
    /// Wakes the waiter. Cheap, never blocks, may be called anywhere.
    pub(crate) fn ring(&self) {
        let mut state = self.lock();
        if std::mem::replace(&mut state.rung, true) {
            return;
        }
        #[cfg(feature = "tokio")]
        if let Some(waker) = state.waker.take() {
            drop(state);
            waker.wake();
            return;
        }
        let sleeping = std::mem::take(&mut state.sleeping);
        drop(state);
        if sleeping {
            self.condvar.notify_one();
        }
    }

    /// Sleeps until it rings, or until that time.
    #[cfg(feature = "blocking")]
    pub(crate) fn wait(&self, until: Option<Instant>) {
        let mut state = self.lock();
        while !state.rung {
            state.sleeping = true;
            state = match until {
                None => self.condvar.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let Some(left) =
                        until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
                    else {
                        break;
                    };
                    self.condvar.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        state.sleeping = false;
        state.rung = false;
    }

    /// Whether it has rung; the task is woken when it does again.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll(&self, context: &Context<'_>) -> bool {
        let mut state = self.lock();
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.waker = Some(context.waker().clone());
        }
        std::mem::take(&mut state.rung)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
