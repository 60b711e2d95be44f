//! How is a session shared by threads?
//!
//! One lock per session. Under it the session is told what happened; what it wants done, and what the application
//! shall know, is carried out without it, by one thread at a time ([`Conn::pump`]).

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cephwire_protocol::codec::Side;
use cephwire_protocol::{Action, Event, LinkId, Seat, Session};

use crate::core::Core;
use crate::handle::Handle;
use crate::inbox::{Item, What};
use crate::link::Link;

/// A session with all that a driver adds to it.
pub(crate) struct Conn {
    pub(crate) core: Arc<Core>,
    /// Its number in the dispatch queue; from 1.
    pub(crate) class: u64,
    /// Nothing of it is to be queued for dispatch any more.
    pub(crate) ended: AtomicBool,
    /// In no table, and meant to be.
    pub(crate) anonymous: AtomicBool,
    /// What the application keeps here.
    pub(crate) private: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    /// The link whose reading may pause. Apart, as whoever returns throttle permits may hold the session's lock.
    reading: Arc<Mutex<Option<Arc<Link>>>>,
    inner: Mutex<Inner>,
}

pub(crate) type Guard<'a> = MutexGuard<'a, Inner>;

/// What the lock of a session protects.
pub(crate) struct Inner {
    pub(crate) session: Session,
    /// The transport that it owns, or that is being dialed.
    pub(crate) link: Option<Arc<Link>>,
    /// The transport whose thread or task transmits, or was told to: no other need be woken.
    transmitter: Option<LinkId>,
    /// Somebody carries out what it wants.
    pumping: bool,
    /// The steward was told to look at it.
    pub(crate) kicked: bool,
    /// When the steward looks at it.
    pub(crate) scheduled: Option<Instant>,
    /// Where it sits as long as it is in no table.
    pub(crate) seat: Option<(Bench, Seat)>,
    /// It was taken out of all tables.
    gone: bool,
    /// Memory for events, kept from one time to the next.
    spare: Vec<Event>,
}

/// Where sessions sit that are in no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bench {
    Accepting,
    Anonymous,
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conn({})", self.class)
    }
}

impl Inner {
    /// Whether it owns a transport.
    fn is_linked(&self) -> bool {
        self.link.as_ref().is_some_and(|link| self.session.link() == Some(link.id))
    }

    /// The caller transmits from now on. Says whether nobody else did.
    pub(crate) fn claim(&mut self, link: LinkId) -> bool {
        self.transmitter.replace(link) != Some(link)
    }

    /// The caller transmits no more.
    pub(crate) fn release(&mut self, link: LinkId) {
        self.transmitter.take_if(|transmitter| *transmitter == link);
    }

    /// Whether that link's thread or task transmits, or was told to.
    pub(crate) fn is_claimed(&self, link: LinkId) -> bool {
        self.transmitter == Some(link)
    }

    /// Whether a batch may be on its way to the kernel.
    pub(crate) fn is_transmitting(&self) -> bool {
        self.transmitter.is_some() && self.transmitter == self.session.link()
    }
}

impl Conn {
    pub(crate) fn new(core: &Arc<Core>, mut session: Session) -> Arc<Self> {
        let reading: Arc<Mutex<Option<Arc<Link>>>> = Arc::default();
        let reader = Arc::clone(&reading);
        session.set_waker(move || {
            if let Some(link) = &*reader.lock().unwrap_or_else(PoisonError::into_inner) {
                link.resume();
            }
        });
        Arc::new(Self {
            core: Arc::clone(core),
            class: core.next_class(),
            ended: AtomicBool::new(false),
            anonymous: AtomicBool::new(false),
            private: Mutex::new(None),
            reading,
            inner: Mutex::new(Inner {
                session,
                link: None,
                transmitter: None,
                pumping: false,
                kicked: false,
                scheduled: None,
                seat: None,
                gone: false,
                spare: Vec::new(),
            }),
        })
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        // A callback that panics holds no lock; whoever panicked here left whole values.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session has another transport, or none.
    pub(crate) fn set_link(&self, inner: &mut Inner, link: Option<Arc<Link>>) -> Option<Arc<Link>> {
        *self.reading.lock().unwrap_or_else(PoisonError::into_inner) = link.clone();
        std::mem::replace(&mut inner.link, link)
    }

    /// The application did something: wakes who has to act on it, if anybody. Never runs callbacks.
    pub(crate) fn kick(self: &Arc<Self>, mut inner: Guard<'_>) {
        if inner.is_linked() {
            self.wake_transmitter(inner);
        } else if !std::mem::replace(&mut inner.kicked, true) {
            drop(inner);
            self.core.steward.kick(self);
        }
    }

    /// There may be something to transmit.
    pub(crate) fn wake_transmitter(&self, mut inner: Guard<'_>) {
        if let Some(link) = inner.link.clone().filter(|_| inner.is_linked())
            && inner.claim(link.id)
        {
            drop(inner);
            link.bell.ring();
        }
    }

    /// Carries out what the session wants and passes on what it says, until it is quiet. If another thread is at it,
    /// that one does this too.
    ///
    /// Returns whether there was anything.
    pub(crate) fn pump<'a>(self: &'a Arc<Self>, mut inner: Guard<'a>) -> (Guard<'a>, bool) {
        let mut any = false;
        while !inner.pumping {
            let action = inner.session.poll_action();
            let mut events = std::mem::take(&mut inner.spare);
            while let Some(event) = inner.session.poll_event() {
                events.push(event);
            }
            let ends = inner.session.is_closed() && !std::mem::replace(&mut inner.gone, true);
            if action.is_none() && events.is_empty() && !ends {
                inner.spare = events;
                self.settled(&mut inner);
                break;
            }
            any = true;
            inner.pumping = true;
            drop(inner);
            let pumping = Pumping(self);
            if let Some(action) = action {
                self.act(action);
            }
            if !events.is_empty() {
                self.pass_on(&mut events);
            }
            if ends {
                self.core.unregister(self);
            }
            drop(pumping);
            inner = self.lock();
            if inner.spare.capacity() == 0 {
                inner.spare = events;
            }
        }
        (inner, any)
    }

    /// It is quiet for now: the steward shall look at it when its timer fires.
    fn settled(self: &Arc<Self>, inner: &mut Inner) {
        let wanted = inner.session.poll_timeout();
        if let Some(at) = wanted
            && inner.scheduled.is_none_or(|scheduled| at < scheduled)
        {
            let before = inner.scheduled.replace(at);
            self.core.steward.schedule(self, before, at);
        }
        self.core.flushed_some();
    }

    fn act(self: &Arc<Self>, action: Action) {
        match action {
            Action::Dial { link, to, bind } => self.core.dial(self, link, &to, bind),
            Action::HangUp(id) => {
                let mut inner = self.lock();
                let ours = inner.link.as_ref().is_some_and(|link| link.id == id);
                let link = if ours { self.set_link(&mut inner, None) } else { None };
                drop(inner);
                if let Some(link) = link {
                    link.set_owner(None);
                    link.hang_up();
                }
            }
            Action::Arriving(key) => self.core.place(self, &key),
        }
    }

    fn pass_on(self: &Arc<Self>, events: &mut Vec<Event>) {
        let core = &self.core;
        let (dispatchers, handle) = (core.dispatchers(), Handle::of(self));
        let queue = |what| core.inbox.event(Item { handle: handle.clone(), what });
        for event in events.drain(..) {
            match event {
                Event::Message(received) => core.deliver(&dispatchers, &handle, self.class, received),
                Event::Open { side, .. } => {
                    core.opened(self);
                    for dispatcher in &dispatchers.fast {
                        match side {
                            Side::Client => dispatcher.fast_connected(&handle),
                            Side::Server => dispatcher.fast_accepted(&handle),
                        }
                    }
                    queue(What::Open(side));
                }
                Event::Discard => core.inbox.discard(self.class),
                Event::Reset(error) => {
                    self.ended.store(true, Ordering::Release);
                    queue(What::Reset(error));
                }
                Event::RemoteReset => queue(What::RemoteReset),
                Event::Refused => queue(What::Refused),
                Event::Trouble(error) => queue(What::Trouble(error)),
                Event::Rejected(error) => queue(What::Rejected(error)),
                _ => {}
            }
        }
    }
}

/// Says that nobody pumps any more, also if a callback panics.
struct Pumping<'a>(&'a Conn);

impl Drop for Pumping<'_> {
    fn drop(&mut self) {
        self.0.lock().pumping = false;
    }
}
