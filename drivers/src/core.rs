//! What is a messenger, whatever moves its bytes?
//!
//! The table of sessions, the dispatchers, the queues, and the duties that a runtime gives a thread or a task to.
//!
//! Locks are taken in this order: table, session, then any one of the small ones (queues, steward, links). Nobody
//! waits for the table who holds a session, and no callback runs under any of them.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use cephwire_protocol::codec::{AddrVec, EntityAddr, EntityType};
use cephwire_protocol::inject::Point;
use cephwire_protocol::{Connect, LinkId, Local, Manner, Messenger, Placement, Received, Session, Version};

use crate::bell::Bell;
use crate::conn::{Bench, Conn};
use crate::courier::Courier;
use crate::dispatcher::{Dispatcher, Dispatchers, End};
use crate::handle::Handle;
use crate::inbox::Inbox;
use crate::link::Link;
use crate::listen::{Bound, Listening};
use crate::setup::{Net, wall_clock};
use crate::shutdown::Alive;
use crate::steward::Steward;

/// A messenger.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) local: Arc<Local>,
    pub(crate) net: Net,
    runtime: Box<dyn Runtime>,
    table: Mutex<Messenger<Peer>>,
    dispatchers: RwLock<Arc<Dispatchers>>,
    pub(crate) inbox: Inbox,
    pub(crate) steward: Steward,
    pub(crate) courier: Courier,
    classes: AtomicU64,
    listeners: Mutex<Vec<Box<dyn Listening>>>,
    /// What dialed sockets are bound to.
    client_bind: Mutex<Option<IpAddr>>,
    /// Addresses that are reached through Unix sockets.
    routes: Mutex<HashMap<EntityAddr, PathBuf>>,
    stopped: AtomicBool,
    /// Somebody waits until all is sent.
    pub(crate) flushing: AtomicBool,
    pub(crate) flushed: Bell,
    pub(crate) alive: Arc<Alive>,
}

/// A session in the table.
#[derive(Clone, Debug)]
pub(crate) struct Peer(pub(crate) Arc<Conn>);

impl PartialEq for Peer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// What runs threads or tasks.
pub(crate) trait Runtime: Send + Sync + fmt::Debug {
    /// Does this duty from now on: [`Core::turn`] again and again, until it says that it is over.
    fn serve(&self, core: &Arc<Core>, duty: Duty) -> io::Result<()>;
    /// Connects, tells the session of it, and moves its bytes.
    fn dial(&self, dial: Dial);
    /// Accepts from now on.
    fn listen(&self, core: &Arc<Core>, bound: Bound) -> io::Result<Box<dyn Listening>>;
}

/// Something that goes on as long as the messenger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Sessions without a transport, and timers.
    Steward,
    /// The dispatch queue.
    Dispatch,
    /// The loopback.
    Courier,
}

/// When a duty calls again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// At once.
    Again,
    /// When its bell rings, or at that time.
    Wait(Option<Instant>),
    /// Never.
    End,
}

/// A transport to be made.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    pub(crate) conn: Arc<Conn>,
    pub(crate) link: Arc<Link>,
    pub(crate) to: Target,
    pub(crate) bind: Option<IpAddr>,
}

/// Where an address really leads.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// The address has neither IP nor route.
    Nowhere,
}

impl Dial {
    /// It worked: whether the session (still) wants it.
    pub(crate) fn succeeded(&self) -> bool {
        self.outcome(Ok(()))
    }

    /// It did not.
    pub(crate) fn failed(&self, error: &io::Error) {
        self.outcome(Err(error.kind()));
    }

    fn outcome(&self, outcome: Result<(), io::ErrorKind>) -> bool {
        self.conn.core.local.set_wall_clock(wall_clock());
        let mut inner = self.conn.lock();
        let wanted = inner.session.handle_dialed(Instant::now(), self.link.id, outcome).is_ok();
        let up = wanted && inner.session.link() == Some(self.link.id);
        if up {
            // The link's thread or task transmits at once.
            inner.claim(self.link.id);
        }
        drop(self.conn.pump(inner));
        if !up {
            self.link.set_owner(None);
        }
        up
    }
}

impl Core {
    /// Starts all duties. If one cannot be, those that were end.
    pub(crate) fn new(local: Arc<Local>, net: Net, runtime: Box<dyn Runtime>) -> io::Result<Arc<Self>> {
        let table = Messenger::with_capacities(net.accepting, usize::MAX);
        let core = Arc::new(Self {
            courier: Courier::new(Arc::clone(&local)),
            local,
            net,
            runtime,
            table: Mutex::new(table),
            dispatchers: RwLock::default(),
            inbox: Inbox::default(),
            steward: Steward::default(),
            classes: AtomicU64::new(1),
            listeners: Mutex::default(),
            client_bind: Mutex::default(),
            routes: Mutex::default(),
            stopped: AtomicBool::new(false),
            flushing: AtomicBool::new(false),
            flushed: Bell::default(),
            alive: Arc::default(),
        });
        for duty in [Duty::Steward, Duty::Dispatch, Duty::Courier] {
            if let Err(error) = core.runtime.serve(&core, duty) {
                core.stop();
                return Err(error);
            }
        }
        Ok(core)
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Messenger<Peer>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn next_class(&self) -> u64 {
        self.classes.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    // Duties.

    pub(crate) fn turn(self: &Arc<Self>, duty: Duty) -> Next {
        match duty {
            Duty::Steward => {
                let next = self.steward.turn();
                if next == Next::End {
                    // All sessions have said their last.
                    self.courier.stop();
                    self.inbox.stop();
                }
                next
            }
            Duty::Dispatch => self.inbox.turn(&self.dispatchers()),
            Duty::Courier => self.courier.turn(self),
        }
    }

    pub(crate) fn bell(&self, duty: Duty) -> &Bell {
        match duty {
            Duty::Steward => &self.steward.bell,
            Duty::Dispatch => &self.inbox.bell,
            Duty::Courier => &self.courier.bell,
        }
    }

    // Dispatching.

    pub(crate) fn dispatchers(&self) -> Arc<Dispatchers> {
        Arc::clone(&self.dispatchers.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add_dispatcher(&self, at: End, dispatcher: Arc<dyn Dispatcher>) {
        let mut lists = self.dispatchers.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = Dispatchers::clone(&lists);
        changed.add(at, dispatcher);
        *lists = Arc::new(changed);
    }

    /// A received message goes the fast way or into the queue.
    pub(crate) fn deliver(&self, to: &Dispatchers, from: &Handle, class: u64, received: Received) {
        for dispatcher in &to.fast {
            dispatcher.fast_preprocess(from, &received);
        }
        match to.fast.iter().find(|dispatcher| dispatcher.can_fast_dispatch(&received.message)) {
            Some(dispatcher) => dispatcher.fast_dispatch(from, received),
            None => self.inbox.message(from, class, received),
        }
    }

    // Sessions.

    /// The session with this peer: that which is there, or a new one.
    pub(crate) fn connect(self: &Arc<Self>, kind: EntityType, to: &AddrVec, manner: Manner) -> Handle {
        let mut table = self.table();
        let is_closed = |peer: &Peer| peer.0.lock().session.is_closed();
        let (to, bench) = match table.connect(&self.local, to, manner, is_closed) {
            Connect::Loopback => return Handle::loopback(self),
            Connect::Existing(peer) => return Handle::of(&peer.0),
            Connect::New(to) => (to, None),
            Connect::Anonymous(to) => (to, Some(Bench::Anonymous)),
        };
        let session = Session::outgoing(Arc::clone(&self.local), kind, to.clone(), Instant::now());
        let conn = Conn::new(self, session);
        if self.is_stopped() {
            drop(table);
            conn.lock().session.close(false);
            return Handle::of(&conn);
        }
        match bench {
            None => drop(table.insert(to, Peer(Arc::clone(&conn)))),
            Some(_) => {
                conn.anonymous.store(true, Ordering::Relaxed);
                let seat = table.anonymous.insert(Peer(Arc::clone(&conn)));
                conn.lock().seat = seat.ok().map(|seat| (Bench::Anonymous, seat));
            }
        }
        drop(table);
        conn.kick(conn.lock());
        Handle::of(&conn)
    }

    /// A session for an accepted socket, whose link its thread or task is to serve. Nothing if there are too many.
    pub(crate) fn accepted(
        self: &Arc<Self>,
        from: SocketAddr,
        version: Version,
    ) -> Option<(Arc<Conn>, Arc<Link>)> {
        // Tickets end by it.
        self.local.set_wall_clock(wall_clock());
        let mut table = self.table();
        if table.accepting.is_full() || self.is_stopped() {
            return None;
        }
        let incoming = Session::incoming(Arc::clone(&self.local), from, version, Instant::now());
        let (session, id) = incoming.ok()?;
        let conn = Conn::new(self, session);
        let link = Link::new(id, &conn);
        let seat = table.accepting.insert(Peer(Arc::clone(&conn)));
        let mut inner = conn.lock();
        inner.seat = seat.ok().map(|seat| (Bench::Accepting, seat));
        conn.set_link(&mut inner, Some(Arc::clone(&link)));
        inner.claim(id);
        drop(inner);
        drop(table);
        Some((conn, link))
    }

    /// Dials for a session.
    pub(crate) fn dial(
        self: &Arc<Self>,
        conn: &Arc<Conn>,
        id: LinkId,
        to: &EntityAddr,
        bind: Option<IpAddr>,
    ) {
        let mut inner = conn.lock();
        if inner.session.dialing() != Some(id) {
            // Meanwhile it took over the connection of a newcomer, which must not be hung up.
            return;
        }
        let link = Link::new(id, conn);
        let before = conn.set_link(&mut inner, Some(Arc::clone(&link)));
        drop(inner);
        if let Some(before) = before {
            before.set_owner(None);
            before.hang_up();
        }
        let route = self.routes().get(to).cloned();
        let to = match (route, to.socket) {
            (Some(path), _) => Target::Unix(path),
            (None, Some(socket)) => Target::Tcp(socket),
            (None, None) => Target::Nowhere,
        };
        let client = || *self.client_bind.lock().unwrap_or_else(PoisonError::into_inner);
        let bind = bind.or_else(|| client().filter(|_| self.net.bind_before_connect));
        self.runtime.dial(Dial { conn: Arc::clone(conn), link, to, bind });
    }

    /// A newcomer knows whose session it claims.
    pub(crate) fn place(self: &Arc<Self>, newcomer: &Arc<Conn>, key: &AddrVec) {
        if let Some(Some(delay)) = self.local.injected(|injector| injector.internal_delay(Point::Race)) {
            // For tests only; on tokio it holds up a whole thread.
            std::thread::sleep(delay);
        }
        let now = Instant::now();
        let mut table = self.table();
        let existing = table.find(key).filter(|existing| !Arc::ptr_eq(&existing.0, newcomer));
        let mut new = newcomer.lock();
        let mut hung_up = None;
        let placement = match &existing {
            None => Session::place(&mut new.session, None, now),
            Some(Peer(existing)) => {
                let mut old = existing.lock();
                let placement = Session::place(&mut new.session, Some(&mut old.session), now);
                if let Placement::Adopted(id) = placement
                    && let Some(link) = newcomer.set_link(&mut new, None)
                {
                    // Who served the newcomer's link serves it still, now for the other.
                    if new.is_claimed(id) {
                        old.claim(id);
                    }
                    link.set_owner(Some(Arc::clone(existing)));
                    hung_up = existing.set_link(&mut old, Some(link));
                }
                placement
            }
        };
        match placement {
            Placement::Open | Placement::Displace => {
                stand_up(&mut table, &mut new.seat);
                table.insert(key.clone(), Peer(Arc::clone(newcomer)));
            }
            Placement::Adopted(_) | Placement::Dropped => stand_up(&mut table, &mut new.seat),
            Placement::Answered => {}
        }
        drop(new);
        drop(table);
        if let Some(link) = hung_up {
            link.set_owner(None);
            link.hang_up();
        }
        if let Some(Peer(existing)) = existing {
            let (inner, _) = existing.pump(existing.lock());
            existing.wake_transmitter(inner);
        }
        newcomer.wake_transmitter(newcomer.lock());
    }

    /// A session is open: an accepted one that nobody shall find takes another seat.
    pub(crate) fn opened(&self, conn: &Arc<Conn>) {
        let is_accepting =
            |seat: Option<(Bench, _)>| seat.is_some_and(|(bench, _)| bench == Bench::Accepting);
        if !is_accepting(conn.lock().seat) {
            return;
        }
        let mut table = self.table();
        let mut inner = conn.lock();
        if is_accepting(inner.seat) && inner.session.policy().is_anonymous() {
            stand_up(&mut table, &mut inner.seat);
            let seat = table.anonymous.insert(Peer(Arc::clone(conn)));
            inner.seat = seat.ok().map(|seat| (Bench::Anonymous, seat));
            conn.anonymous.store(true, Ordering::Relaxed);
        }
    }

    /// A session has ended.
    pub(crate) fn unregister(&self, conn: &Arc<Conn>) {
        conn.ended.store(true, Ordering::Release);
        let mut table = self.table();
        let mut inner = conn.lock();
        stand_up(&mut table, &mut inner.seat);
        table.remove(inner.session.key(), &Peer(Arc::clone(conn)));
        let scheduled = inner.scheduled.take();
        let link = conn.set_link(&mut inner, None);
        drop(inner);
        drop(table);
        if let Some(at) = scheduled {
            self.steward.cancel(conn, at);
        }
        if let Some(link) = link {
            link.set_owner(None);
            link.hang_up();
        }
        self.flushed_some();
    }

    /// Something may have been sent, or acknowledged.
    pub(crate) fn flushed_some(&self) {
        if self.flushing.load(Ordering::Relaxed) {
            self.flushed.ring();
        }
    }

    // Sockets.

    pub(crate) fn listen(self: &Arc<Self>, bound: Bound) -> io::Result<()> {
        let listening = self.runtime.listen(self, bound)?;
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listening);
        Ok(())
    }

    #[cfg(feature = "serde")]
    pub(crate) fn listening_fds(&self) -> Vec<i32> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().map(|listener| listener.fd()).collect()
    }

    pub(crate) fn stop_listening(&self) {
        let listeners = std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner));
        for listener in &listeners {
            listener.stop();
        }
    }

    pub(crate) fn routes(&self) -> MutexGuard<'_, HashMap<EntityAddr, PathBuf>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_client_bind(&self, ip: IpAddr) {
        *self.client_bind.lock().unwrap_or_else(PoisonError::into_inner) = Some(ip);
    }

    pub(crate) fn set_stopped(&self) -> bool {
        !self.stopped.swap(true, Ordering::AcqRel)
    }
}

/// Leaves the bench.
fn stand_up(table: &mut Messenger<Peer>, seat: &mut Option<(Bench, cephwire_protocol::Seat)>) {
    match seat.take() {
        Some((Bench::Accepting, seat)) => drop(table.accepting.remove(seat)),
        Some((Bench::Anonymous, seat)) => drop(table.anonymous.remove(seat)),
        None => {}
    }
}
