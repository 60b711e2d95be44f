//! When is everything sent, and when is everything over?

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
#[cfg(feature = "tokio")]
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use cephwire_protocol::codec::{AddrVec, EntityName};

use crate::conn::{Conn, Inner};
use crate::core::{Core, Peer};

/// How often a second shutdown looks what the first has come to: the bell rings for one.
pub(crate) const GLANCE: Duration = Duration::from_millis(10);

/// What a session could not send before its messenger was shut down.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsent {
    /// To whom.
    pub peer: EntityName,
    /// Where that is.
    pub addrs: AddrVec,
    /// How many messages were queued.
    pub queued: u64,
    /// Their payload in bytes.
    pub queued_bytes: u64,
    /// How many were sent, and never acknowledged: the peer may have them or not. A lossy session never knows, and
    /// counts none.
    pub unacknowledged: u64,
}

impl Core {
    /// What the sessions still have in hand.
    pub(crate) fn unsent(&self) -> Vec<Unsent> {
        let peers: Vec<Peer> = self.table().all().cloned().collect();
        peers.iter().filter_map(|Peer(conn)| unsent(&conn.lock())).collect()
    }

    /// Whether they have nothing, and the kernel has it all.
    pub(crate) fn is_flushed(&self) -> bool {
        let peers: Vec<Peer> = self.table().all().cloned().collect();
        peers.iter().all(|Peer(conn)| {
            let inner = conn.lock();
            unsent(&inner).is_none() && !inner.is_transmitting()
        })
    }

    /// Whether a shutdown waits on: somebody else's may have ended everything meanwhile. Without `end` it waits for ever.
    pub(crate) fn is_to_flush(&self, end: Option<Instant>) -> bool {
        !self.is_flushed() && !self.is_stopped() && end.is_none_or(|end| Instant::now() < end)
    }

    /// Ends everything: no session, no listener, no thread or task remains, once they have noticed. Sessions say reset.
    pub(crate) fn stop(&self) {
        if !self.set_stopped() {
            return;
        }
        self.stop_listening();
        self.mark_down_all(true);
        self.steward.stop();
        // Whoever waits until all is sent need not any more.
        self.flushed.ring();
    }

    /// Ends all sessions.
    pub(crate) fn mark_down_all(&self, announce: bool) {
        let all = self.table().mark_down_all();
        for Peer(conn) in all {
            let mut inner = conn.lock();
            inner.seat = None;
            inner.session.close(announce);
            close(&conn, inner);
        }
    }
}

fn close(conn: &Arc<Conn>, inner: MutexGuard<'_, Inner>) {
    conn.ended.store(true, Ordering::Release);
    conn.kick(inner);
    conn.core.inbox.discard(conn.class);
}

/// What of a session is not sent; nothing of one that has ended.
fn unsent(inner: &Inner) -> Option<Unsent> {
    let (session, stats) = (&inner.session, inner.session.stats());
    let unacknowledged = if session.policy().lossy { 0 } else { stats.unacknowledged };
    let any = !session.is_closed() && (stats.queued_messages > 0 || unacknowledged > 0);
    any.then(|| Unsent {
        peer: session.peer(),
        addrs: session.key().clone(),
        queued: stats.queued_messages,
        queued_bytes: stats.queued_bytes,
        unacknowledged,
    })
}

/// How many threads or tasks there are.
#[derive(Debug, Default)]
pub(crate) struct Alive {
    state: Mutex<Count>,
    none: Condvar,
}

#[derive(Debug, Default)]
struct Count {
    alive: usize,
    #[cfg(feature = "tokio")]
    wakers: Vec<Waker>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Life(Arc<Alive>);

impl Alive {
    pub(crate) fn one(self: &Arc<Self>) -> Life {
        self.lock().alive += 1;
        Life(Arc::clone(self))
    }

    /// Sleeps until there is none.
    #[cfg(feature = "blocking")]
    pub(crate) fn wait(&self) {
        let mut state = self.lock();
        while state.alive > 0 {
            state = self.none.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Ready when there is none.
    #[cfg(feature = "tokio")]
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.alive == 0 {
            return Poll::Ready(());
        }
        state.wakers.push(context.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.alive -= 1;
        if state.alive > 0 {
            return;
        }
        #[cfg(feature = "tokio")]
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        #[cfg(feature = "tokio")]
        wakers.into_iter().for_each(Waker::wake);
        self.0.none.notify_all();
    }
}
