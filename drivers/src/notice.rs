//! How does an application receive that would rather wait than be called?

use std::fmt;
use std::sync::Arc;

use cephwire_protocol::codec::Message;
use cephwire_protocol::{Error, Received};

use crate::dispatcher::Dispatcher;
use crate::handle::Handle;

/// What a [`Dispatcher`] is told, as a value.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// A message has arrived. It holds its share of the throttles until it is dropped.
    Message(Handle, Received),
    /// A session that this side dialed is open, for the first time or again.
    Connected(Handle),
    /// A session that the peer dialed is open, for the first time or again.
    Accepted(Handle),
    /// The session has ended.
    Reset(Handle, Option<Error>),
    /// The peer has lost the session; it goes on anew.
    RemoteReset(Handle),
    /// The peer refused the TCP connection; the session tries again.
    Refused(Handle),
    /// A connection of the session failed, and it tries again, or waits for the peer to.
    Trouble(Handle, Error),
    /// An accepted connection failed before anybody knew of it.
    Rejected(Handle, Error),
}

/// A dispatcher that passes on everything as [`Notice`]s: the sending end of a channel, made with it by
/// [`blocking::channel`](crate::blocking::channel) or [`tokio::channel`](crate::tokio::channel). The receiving
/// end may be dropped; then notices go nowhere.
pub struct Inlet {
    fast: bool,
    put: Box<dyn Fn(Notice) + Send + Sync>,
}

impl Inlet {
    pub(crate) fn new(fast: bool, put: impl Fn(Notice) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { fast, put: Box::new(put) })
    }
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.fast { "Inlet(fast)" } else { "Inlet" })
    }
}

impl Dispatcher for Inlet {
    fn dispatch(&self, from: &Handle, message: Received) -> Option<Received> {
        (self.put)(Notice::Message(from.clone(), message));
        None
    }

    fn connected(&self, session: &Handle) {
        (self.put)(Notice::Connected(session.clone()));
    }

    fn accepted(&self, session: &Handle) {
        (self.put)(Notice::Accepted(session.clone()));
    }

    fn reset(&self, session: &Handle, error: Option<&Error>) -> bool {
        (self.put)(Notice::Reset(session.clone(), error.cloned()));
        // Others may have something of theirs to forget.
        false
    }

    fn remote_reset(&self, session: &Handle) {
        (self.put)(Notice::RemoteReset(session.clone()));
    }

    fn refused(&self, session: &Handle) -> bool {
        (self.put)(Notice::Refused(session.clone()));
        false
    }

    fn trouble(&self, session: &Handle, error: &Error) {
        (self.put)(Notice::Trouble(session.clone(), error.clone()));
    }

    fn rejected(&self, session: &Handle, error: &Error) {
        (self.put)(Notice::Rejected(session.clone(), error.clone()));
    }

    fn is_fast(&self) -> bool {
        self.fast
    }

    fn can_fast_dispatch(&self, _message: &Message) -> bool {
        self.fast
    }

    fn fast_dispatch(&self, from: &Handle, message: Received) {
        (self.put)(Notice::Message(from.clone(), message));
    }
}
