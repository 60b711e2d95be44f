//! What is the application told, and in which order are its parts asked?
//!
//! ```text
//!   received ─► fast_preprocess ─► can_fast_dispatch? ─ yes ─► fast_dispatch     on the connection's thread or task
//!                                        │ no
//!                                        ▼
//!                                 dispatch queue ─► dispatch, events              on the messenger's, one at a time
//! ```
//!
//! Ceph: `src/msg/Dispatcher.h`; the rules are in the messenger spec §6.

use std::fmt;
use std::sync::Arc;

use cephwire_protocol::codec::Message;
use cephwire_protocol::{Error, Received};

use crate::handle::Handle;

/// A part of the application that receives messages and events. Every method has a default that does nothing.
///
/// A messenger has a list of them ([`add_head`](crate::Messenger::add_head), [`add_tail`](crate::Messenger::add_tail)).
/// No lock of the messenger is held during any call: everything may be called from within, and dispatchers
/// need locks of their own for what they change.
///
/// | method | asked | on |
/// |---|---|---|
/// | [`dispatch`](Self::dispatch) | in order, until one keeps the message | the messenger's dispatch thread or task |
/// | [`connected`](Self::connected), [`accepted`](Self::accepted), [`remote_reset`](Self::remote_reset), [`trouble`](Self::trouble), [`rejected`](Self::rejected) | all | the same |
/// | [`reset`](Self::reset), [`refused`](Self::refused) | in order, until one says that it is dealt with | the same |
/// | [`fast_preprocess`](Self::fast_preprocess) | all fast ones, for every message | the connection's thread or task |
/// | [`fast_dispatch`](Self::fast_dispatch) | the first fast one that can | the same |
/// | [`fast_connected`](Self::fast_connected), [`fast_accepted`](Self::fast_accepted) | all fast ones | the same |
///
/// A message is dispatched either fast or normally, never both. What runs on a connection's thread must be
/// quick: nothing is read from that connection meanwhile. On tokio nothing here may block at all.
pub trait Dispatcher: Send + Sync {
    /// A message has arrived. Who does not want it returns it, and the next one is asked.
    ///
    /// The message holds its share of the throttles as long as it exists: of the messenger's dispatch throttle
    /// until it is dropped or [`dispatched`](Received::dispatched) is called, of the policy's until it is
    /// dropped. Who keeps messages for long calls `dispatched`, or others wait.
    fn dispatch(&self, from: &Handle, message: Received) -> Option<Received> {
        let _ = from;
        Some(message)
    }

    /// A session that this side dialed is open, for the first time or again.
    fn connected(&self, session: &Handle) {
        let _ = session;
    }

    /// A session that the peer dialed is open, for the first time or again.
    fn accepted(&self, session: &Handle) {
        let _ = session;
    }

    /// The session has ended: what was queued is lost. `error` says why, unless it was closed on purpose. Returns
    /// whether that is dealt with; else the next one is told too.
    fn reset(&self, session: &Handle, error: Option<&Error>) -> bool {
        let _ = (session, error);
        false
    }

    /// The peer has lost the session: what was queued for it is lost, and the session goes on anew.
    fn remote_reset(&self, session: &Handle) {
        let _ = session;
    }

    /// The peer refused the TCP connection; the session tries again. Returns whether that is dealt with.
    fn refused(&self, session: &Handle) -> bool {
        let _ = session;
        false
    }

    /// A connection of the session failed, and it tries again, or waits for the peer to. (Not in Ceph, which is
    /// silent here.)
    fn trouble(&self, session: &Handle, error: &Error) {
        let _ = (session, error);
    }

    /// An accepted connection failed before anybody knew of it. (Not in Ceph.)
    fn rejected(&self, session: &Handle, error: &Error) {
        let _ = (session, error);
    }

    /// Whether it takes part in the fast path at all. Asked once, when it is added. Ceph: `ms_can_fast_dispatch_any`.
    fn is_fast(&self) -> bool {
        false
    }

    /// Whether it dispatches this message fast. The answer may depend on nothing but the message.
    fn can_fast_dispatch(&self, message: &Message) -> bool {
        let _ = message;
        false
    }

    /// As [`dispatch`](Self::dispatch), on the connection's own thread or task. It may be called before
    /// [`accepted`](Self::accepted), and still after a reset. What is sent back from here goes out without
    /// another thread being woken.
    fn fast_dispatch(&self, from: &Handle, message: Received) {
        let _ = (from, message);
    }

    /// Sees every message before it is known where it goes.
    fn fast_preprocess(&self, from: &Handle, message: &Received) {
        let _ = (from, message);
    }

    /// As [`connected`](Self::connected), before any message of the session is dispatched.
    fn fast_connected(&self, session: &Handle) {
        let _ = session;
    }

    /// As [`accepted`](Self::accepted), before any message of the session is dispatched.
    fn fast_accepted(&self, session: &Handle) {
        let _ = session;
    }
}

/// The lists of a messenger; replaced as a whole.
#[derive(Clone, Default)]
pub(crate) struct Dispatchers {
    pub(crate) all: Vec<Arc<dyn Dispatcher>>,
    pub(crate) fast: Vec<Arc<dyn Dispatcher>>,
}

impl Dispatchers {
    pub(crate) fn add(&mut self, at: End, dispatcher: Arc<dyn Dispatcher>) {
        let lists = [Some(&mut self.all), dispatcher.is_fast().then_some(&mut self.fast)];
        for list in lists.into_iter().flatten() {
            let place = if at == End::Head { 0 } else { list.len() };
            list.insert(place, Arc::clone(&dispatcher));
        }
    }
}

impl fmt::Debug for Dispatchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dispatchers, {} of them fast", self.all.len(), self.fast.len())
    }
}

/// An end of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Head,
    Tail,
}
