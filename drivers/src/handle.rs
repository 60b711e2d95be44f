//! What does the application hold of a session?

use std::any::Any;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use bytes::BytesMut;
use cephwire_protocol::codec::{AddrVec, EntityName, Message, Timestamp, priority};
use cephwire_protocol::{Closed, Facts, Failure, Policy, Stats, Version};

use crate::conn::Conn;
use crate::core::Core;
use crate::setup::wall_clock;

/// A session with a peer, or the loopback. Copies are the same session; it lives on without any.
///
/// Nothing here blocks, and nothing calls the application back: what follows from a call is done by the
/// messenger's own threads or tasks. Ceph: `Connection`.
#[derive(Clone)]
pub struct Handle(Kind);

#[derive(Clone)]
enum Kind {
    Session(Arc<Conn>),
    Loopback(Arc<Core>),
}

impl Handle {
    pub(crate) fn of(conn: &Arc<Conn>) -> Self {
        Self(Kind::Session(Arc::clone(conn)))
    }

    pub(crate) fn loopback(core: &Arc<Core>) -> Self {
        Self(Kind::Loopback(Arc::clone(core)))
    }

    pub(crate) fn conn(&self) -> Option<&Arc<Conn>> {
        match &self.0 {
            Kind::Session(conn) => Some(conn),
            Kind::Loopback(_) => None,
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.conn().is_some_and(|conn| conn.ended.load(Ordering::Acquire))
    }

    // Commands.

    /// Queues a message: the highest [priority](Message) goes first, one of 0 becomes the default. Queues are not
    /// bounded: [`stats`](Self::stats) tells how long this one is.
    ///
    /// # Errors
    /// Gives it back if the session has ended.
    pub fn send(&self, mut message: Message) -> Result<(), Closed> {
        match &self.0 {
            Kind::Session(conn) => {
                let asked = message.header.priority;
                if asked == 0 {
                    message.header.priority = priority::DEFAULT;
                }
                let mut inner = conn.lock();
                inner.session.send(message).map_err(|Closed(mut message)| {
                    message.header.priority = asked;
                    Closed(message)
                })?;
                conn.kick(inner);
                Ok(())
            }
            Kind::Loopback(core) => core.courier.send(message),
        }
    }

    /// Asks the peer for a sign of life, now or when the session is open again. The answer shows in
    /// [`last_keepalive_ack`](Self::last_keepalive_ack).
    pub fn keepalive(&self) {
        if let Kind::Session(conn) = &self.0 {
            conn.core.local.set_wall_clock(wall_clock());
            let mut inner = conn.lock();
            inner.session.keepalive();
            conn.kick(inner);
        }
    }

    /// Ends the session now: queues are dropped, and what arrived and is not dispatched yet too. The peer sees its
    /// connection close. [`reset`](crate::Dispatcher::reset) is not called. The loopback stays.
    pub fn mark_down(&self) {
        self.close(false);
    }

    /// The same, and [`reset`](crate::Dispatcher::reset) is called.
    pub fn close(&self, announce: bool) {
        if let Kind::Session(conn) = &self.0 {
            let mut inner = conn.lock();
            inner.session.close(announce);
            conn.ended.store(true, Ordering::Release);
            conn.kick(inner);
            conn.core.inbox.discard(conn.class);
        }
    }

    /// The session ends with the next fault, whatever its policy.
    pub fn mark_disposable(&self) {
        if let Kind::Session(conn) = &self.0 {
            conn.lock().session.mark_disposable();
        }
    }

    /// Lends memory for the data of the message with this tid: an empty buffer with room for it. The data is
    /// received right into it, and comes back as that message's data, if it fits; `Bytes::try_into_mut` then makes
    /// a buffer of it again.
    pub fn post(&self, tid: u64, buf: BytesMut) {
        if let Kind::Session(conn) = &self.0 {
            conn.lock().session.post(tid, buf);
        }
    }

    /// Takes lent memory back, unless it is being filled or was used.
    #[must_use = "the memory comes back"]
    pub fn revoke(&self, tid: u64) -> Option<BytesMut> {
        self.conn()?.lock().session.revoke(tid)
    }

    // What it is.

    /// Whether messages flow. Ceph: `is_connected`.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.0 {
            Kind::Session(conn) => conn.lock().session.is_open(),
            Kind::Loopback(core) => core.courier.lock().is_open(),
        }
    }

    /// Whether it has ended for good.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match &self.0 {
            Kind::Session(conn) => conn.lock().session.is_closed(),
            Kind::Loopback(core) => !core.courier.lock().is_open(),
        }
    }

    /// Whether it is this messenger's session with itself.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        matches!(self.0, Kind::Loopback(_))
    }

    /// Whether it is in no table: never found by [`connect`](crate::Messenger::connect) or by its peer.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.conn().is_some_and(|conn| conn.anonymous.load(Ordering::Relaxed))
    }

    /// The peer's name; its number is −1 while it is not known.
    #[must_use]
    pub fn peer(&self) -> EntityName {
        match &self.0 {
            Kind::Session(conn) => conn.lock().session.peer(),
            Kind::Loopback(core) => core.local.name(),
        }
    }

    /// The peer's addresses: what it is registered under.
    #[must_use]
    pub fn peer_addrs(&self) -> AddrVec {
        match &self.0 {
            Kind::Session(conn) => conn.lock().session.key().clone(),
            Kind::Loopback(core) => core.local.addrs(),
        }
    }

    /// The other end of the current transport, if it is a TCP connection.
    #[must_use]
    pub fn peer_socket(&self) -> Option<SocketAddr> {
        self.conn()?.lock().link.as_ref()?.peer_socket()
    }

    /// Which version it speaks; the loopback speaks none.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        Some(self.conn()?.lock().session.version())
    }

    /// Its rules, as they are by now (the server decides whether it is lossy).
    #[must_use]
    pub fn policy(&self) -> Policy {
        match &self.0 {
            Kind::Session(conn) => conn.lock().session.policy().clone(),
            Kind::Loopback(core) => core.local.policy(core.local.name().kind),
        }
    }

    /// What the current connection, or the last attempt to make one, negotiated so far, and when. Nothing of the
    /// loopback.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        Some(self.conn()?.lock().session.facts())
    }

    /// How far the last attempt got that failed, and why it did.
    #[must_use]
    pub fn last_failure(&self) -> Option<Failure> {
        self.conn()?.lock().session.last_failure().cloned()
    }

    /// When the peer last asked for a sign of life.
    #[must_use]
    pub fn last_keepalive(&self) -> Option<Instant> {
        self.conn()?.lock().session.last_keepalive()
    }

    /// When this side sent the keepalive that the peer answered last, by the wall clock.
    #[must_use]
    pub fn last_keepalive_ack(&self) -> Option<Timestamp> {
        self.conn()?.lock().session.last_keepalive_ack()
    }

    /// Its counters, and what it has in hand.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.conn().map(|conn| conn.lock().session.stats()).unwrap_or_default()
    }

    /// A number that no other session of the messenger has; 0 is the loopback.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.conn().map_or(0, |conn| conn.class)
    }

    // What the application keeps with it.

    /// Keeps `value` with the session, in the place of what was there.
    ///
    /// Who keeps a handle in there must take it out again ([`clear_private`](Self::clear_private)) on reset, or both
    /// live for ever. The loopback keeps nothing.
    pub fn set_private(&self, value: Arc<dyn Any + Send + Sync>) {
        if let Kind::Session(conn) = &self.0 {
            let before = conn.private.lock().unwrap_or_else(PoisonError::into_inner).replace(value);
            drop(before);
        }
    }

    /// What is kept, if it is of that type.
    #[must_use]
    pub fn private<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let kept = self.conn()?.private.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept?.downcast().ok()
    }

    /// Keeps nothing any more.
    pub fn clear_private(&self) {
        if let Kind::Session(conn) = &self.0 {
            let before = conn.private.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(before);
        }
    }
}

/// The same session.
impl PartialEq for Handle {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::Session(a), Kind::Session(b)) => Arc::ptr_eq(a, b),
            (Kind::Loopback(a), Kind::Loopback(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for Handle {}

impl std::hash::Hash for Handle {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Session(conn) => write!(f, "Handle({})", conn.class),
            Kind::Loopback(_) => f.write_str("Handle(loopback)"),
        }
    }
}
