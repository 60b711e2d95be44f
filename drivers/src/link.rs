//! Who moves the bytes of which session?
//!
//! A [`Link`] is what the rest of the messenger knows of a transport, a [`Pilot`] what the transport's threads or
//! task know of the session. A link may pass from one session to another; the pilot finds out.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use bytes::BytesMut;
use cephwire_protocol::LinkId;
use cephwire_protocol::codec::Chunks;

use crate::bell::Bell;
use crate::conn::{Conn, Guard};

/// One transport.
pub(crate) struct Link {
    pub(crate) id: LinkId,
    /// Whose it is; nobody's once that one has ended.
    owner: Mutex<Option<Arc<Conn>>>,
    /// For who transmits: there is something, or the link was hung up.
    pub(crate) bell: Bell,
    /// For who reads: a pause is over.
    pub(crate) gate: Bell,
    hung_up: AtomicBool,
    /// The socket's descriptor, and its other end, if that has such an address.
    socket: OnceLock<(i32, Option<SocketAddr>)>,
    /// Shuts the socket down.
    closer: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.id.0)
    }
}

impl Link {
    pub(crate) fn new(id: LinkId, owner: &Arc<Conn>) -> Arc<Self> {
        Arc::new(Self {
            id,
            owner: Mutex::new(Some(Arc::clone(owner))),
            bell: Bell::default(),
            gate: Bell::default(),
            hung_up: AtomicBool::new(false),
            socket: OnceLock::new(),
            closer: OnceLock::new(),
        })
    }

    pub(crate) fn peer_socket(&self) -> Option<SocketAddr> {
        self.socket.get().and_then(|(_, peer)| *peer)
    }

    #[cfg(feature = "serde")]
    pub(crate) fn fd(&self) -> Option<i32> {
        self.socket.get().map(|(fd, _)| *fd)
    }

    pub(crate) fn set_socket(&self, socket: BorrowedFd<'_>, peer: Option<SocketAddr>) {
        let _ = self.socket.set((socket.as_raw_fd(), peer));
    }

    /// How a thread is made to return that blocks on the socket.
    #[cfg(feature = "blocking")]
    pub(crate) fn closes_by(&self, close: impl Fn() + Send + Sync + 'static) {
        let _ = self.closer.set(Box::new(close));
        if self.is_hung_up() {
            self.hang_up();
        }
    }

    /// Makes its threads or its task leave. Any number of times.
    pub(crate) fn hang_up(&self) {
        self.hung_up.store(true, Ordering::Release);
        if let Some(close) = self.closer.get() {
            close();
        }
        self.bell.ring();
        self.gate.ring();
    }

    pub(crate) fn is_hung_up(&self) -> bool {
        self.hung_up.load(Ordering::Acquire)
    }

    /// A pause of its session is over.
    pub(crate) fn resume(&self) {
        self.gate.ring();
    }

    pub(crate) fn set_owner(&self, owner: Option<Arc<Conn>>) {
        let before =
            std::mem::replace(&mut *self.owner.lock().unwrap_or_else(PoisonError::into_inner), owner);
        drop(before);
    }

    fn owner(&self) -> Option<Arc<Conn>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Nobody wants the link any more: close the socket and leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// What a thread or task of a link does for its session, whichever that is.
#[derive(Debug)]
pub(crate) struct Pilot {
    pub(crate) link: Arc<Link>,
    conn: Arc<Conn>,
}

/// What to read into.
#[derive(Debug)]
pub(crate) enum Intake {
    /// An empty buffer.
    Buffer(BytesMut),
    /// Nothing is to be read until the gate rings; then [`Pilot::unpaused`].
    Paused,
}

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// It is in the gather list.
    Ready,
    /// Nothing. The link's bell rings when there is something, and who hears it transmits.
    Empty,
}

impl Pilot {
    pub(crate) fn new(link: Arc<Link>, conn: Arc<Conn>) -> Self {
        Self { link, conn }
    }

    /// What the socket said. With `true`, the caller is to [transmit](Self::transmit): nobody else does.
    ///
    /// The application's fast callbacks run within.
    pub(crate) fn received(&mut self, buf: BytesMut) -> Result<bool, Gone> {
        let (link, now) = (self.link.id, Instant::now());
        self.with(|conn, mut inner| {
            let _ = inner.session.handle_recv(now, link, buf);
            // From here on, who sends leaves the writing to this thread.
            let mine = inner.claim(link);
            drop(conn.pump(inner));
            mine
        })
    }

    /// A pause may be over. As [`received`](Self::received).
    pub(crate) fn unpaused(&mut self) -> Result<bool, Gone> {
        let (link, now) = (self.link.id, Instant::now());
        self.with(|conn, mut inner| {
            inner.session.handle_unpaused(now);
            let mine = inner.claim(link);
            drop(conn.pump(inner));
            mine
        })
    }

    /// The socket has ended, or broke, or is about to be closed; a session that owns it no more is not told.
    pub(crate) fn closed(&mut self) {
        let (link, now) = (self.link.id, Instant::now());
        let _ = self.with(|conn, mut inner| {
            let _ = inner.session.handle_eof(now, link);
            drop(conn.pump(inner));
        });
    }

    /// The next batch; `out` must be empty, and what was in it before with the kernel.
    pub(crate) fn transmit(&mut self, out: &mut Chunks) -> Result<Batch, Gone> {
        let link = self.link.id;
        loop {
            let batch = self.with(|conn, mut inner| {
                inner.claim(link);
                loop {
                    inner.session.poll_transmit(Instant::now(), link, out).ok()?;
                    let (guard, any) = conn.pump(inner);
                    inner = guard;
                    if !out.is_empty() {
                        return Some(Batch::Ready);
                    }
                    if !any {
                        inner.release(link);
                        conn.core.flushed_some();
                        return Some(Batch::Empty);
                    }
                }
            })?;
            if let Some(batch) = batch {
                return Ok(batch);
            }
        }
    }

    /// What to read into.
    pub(crate) fn intake(&mut self) -> Result<Intake, Gone> {
        let link = self.link.id;
        self.with(|_, mut inner| match inner.session.recv_buf(link) {
            Ok(Some(buf)) => Intake::Buffer(buf),
            _ => Intake::Paused,
        })
    }

    /// Does something to the session that owns the link now.
    fn with<R>(&mut self, act: impl for<'a> FnOnce(&'a Arc<Conn>, Guard<'a>) -> R) -> Result<R, Gone> {
        loop {
            {
                let inner = self.conn.lock();
                if inner.session.link() == Some(self.link.id) {
                    return Ok(act(&self.conn, inner));
                }
            }
            let owner = self.link.owner().filter(|owner| !Arc::ptr_eq(owner, &self.conn));
            self.conn = owner.ok_or(Gone)?;
        }
    }
}
