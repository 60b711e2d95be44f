//! How does one task tell another that there is something to do?
//!
//! Both run on the same thread, of whatever runtime: nothing here but wakers.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Rings once for any number of pulls. One task listens.
#[derive(Clone, Default)]
pub(crate) struct Bell(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    rung: bool,
    listener: Option<Waker>,
}

impl Bell {
    /// Wakes who listens, now or when it begins to.
    pub(crate) fn ring(&self) {
        let mut state = self.0.borrow_mut();
        state.rung = true;
        if let Some(listener) = state.listener.take() {
            listener.wake();
        }
    }

    /// Returns when it has rung since the last time.
    pub(crate) async fn wait(&self) {
        poll_fn(|context| {
            let mut state = self.0.borrow_mut();
            if std::mem::take(&mut state.rung) {
                return Poll::Ready(());
            }
            state.listener = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// What the first of two futures to end says; the other is dropped.
pub(crate) async fn first<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| match one.as_mut().poll(context) {
        Poll::Pending => other.as_mut().poll(context),
        ready => ready,
    })
    .await
}
