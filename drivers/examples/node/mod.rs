//! What does every driver do, whatever moves its bytes?
//!
//! A [`Node`] is a messenger of one thread: its sessions, the table of them, and whose each link is. It knows neither
//! sockets nor clocks. The runtime tells it what happened, and then carries out its [orders](Node::orders).
//!
//! ```text
//!   connect accepted ─┐                                  ┌─► Dial, HangUp, Serve    orders, for the runtime
//!   dialed closed     ├──► Node: sessions, table, links ─┤
//!   received …        │                                  └─► events                 for the application
//!   recv_buf transmit ┘
//! ```

pub(crate) mod bell;
pub(crate) mod exchange;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use cephwire::auth::AllowAll;
use cephwire::codec::{AddrVec, Chunks, EntityName, EntityType, Message};
use cephwire::protocol::{Action, Event, LinkId, Messenger, Placement, Session, Stale};
use cephwire::{Error, Local, Options, Policies, Policy, Version};

/// What the runtime shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Connect; the outcome goes to [`Node::dialed`].
    Dial(LinkId, SocketAddr),
    /// Close the socket, or abandon the dial.
    HangUp(LinkId),
    /// There may be something to transmit, and who found reading paused may try again.
    Serve(LinkId),
}

/// A session, within a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(u64);

/// A messenger of one thread.
pub(crate) struct Node {
    local: Arc<Local>,
    table: Messenger<Id>,
    sessions: HashMap<Id, Session>,
    /// Whose the links are: dialed, open, and also those that one session took over from another.
    owners: HashMap<LinkId, Id>,
    last: u64,
    /// What the runtime shall do; to be emptied after every call.
    pub(crate) orders: Vec<Order>,
    /// What the application shall know.
    pub(crate) events: Vec<(Id, Event)>,
}

impl Node {
    /// A node with authentication "none". `addrs` is where it listens, if it does.
    pub(crate) fn new(name: EntityName, addrs: AddrVec, seed: u64, policy: Policy) -> Self {
        let auth = Arc::new(AllowAll { name });
        // So little that reading pauses again and again, until the application has dropped what it got.
        let options = Options::default().with(|options| options.dispatch_throttle_bytes = 16 << 10);
        // A real one takes its nonce and its seed from the system.
        let local = Local::new(name, addrs, 1, seed, Policies::all(policy), auth, options);
        Self {
            local,
            table: Messenger::new(),
            sessions: HashMap::new(),
            owners: HashMap::new(),
            last: 0,
            orders: Vec::new(),
            events: Vec::new(),
        }
    }

    // The application.

    /// A session with the peer at `to`. (Ask [`Messenger::connect`] where there may be one already.)
    pub(crate) fn connect(&mut self, now: Instant, kind: EntityType, to: AddrVec) -> Id {
        let id = self.add(Session::outgoing(Arc::clone(&self.local), kind, to.clone(), now));
        self.table.insert(to, id);
        self.settle(id, now);
        id
    }

    /// Sends; what is for a session that has ended is lost.
    pub(crate) fn send(&mut self, now: Instant, to: Id, message: Message) {
        if let Some(session) = self.sessions.get_mut(&to) {
            let _ = session.send(message);
            self.serve(to, now);
        }
    }

    /// Messages were dropped: sessions that waited for that read on. (With threads, or where messages are kept for
    /// longer, [`Session::set_waker`] tells when.)
    pub(crate) fn resume(&mut self, now: Instant) {
        let waiting = |(_, session): &(&Id, &Session)| session.is_unpausable();
        let ids: Vec<Id> = self.sessions.iter().filter(waiting).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.handle_unpaused(now);
            }
            self.serve(id, now);
        }
    }

    // The runtime: what happened.

    /// A socket was accepted: its link, to be served from now on.
    pub(crate) fn accepted(
        &mut self,
        now: Instant,
        from: SocketAddr,
        version: Version,
    ) -> Result<LinkId, Error> {
        let (session, link) = Session::incoming(Arc::clone(&self.local), from, version, now)?;
        let id = self.add(session);
        self.owners.insert(link, id);
        Ok(link)
    }

    /// The outcome of [`Order::Dial`]. An error says that nobody wants the socket any more.
    pub(crate) fn dialed(
        &mut self,
        now: Instant,
        link: LinkId,
        outcome: Result<(), io::ErrorKind>,
    ) -> Result<(), Stale> {
        let wanted = self.tell(now, link, |session| session.handle_dialed(now, link, outcome));
        if outcome.is_err() {
            self.owners.remove(&link);
        }
        wanted
    }

    /// The buffer of [`recv_buf`](Self::recv_buf) comes back with what was read.
    pub(crate) fn received(&mut self, now: Instant, link: LinkId, buf: BytesMut) -> Result<(), Stale> {
        self.tell(now, link, |session| session.handle_recv(now, link, buf))
    }

    /// The socket has ended, or broke.
    pub(crate) fn closed(&mut self, now: Instant, link: LinkId) {
        // Nobody may care any more.
        let _ = self.tell(now, link, |session| session.handle_eof(now, link));
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let due = |session: &Session| session.poll_timeout().is_some_and(|at| at <= now);
        // With many sessions, keep them in the order of their timers.
        let ids: Vec<Id> = self.sessions.iter().filter(|(_, s)| due(s)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.handle_timeout(now);
            }
            self.serve(id, now);
        }
    }

    // The runtime: what to do.

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.sessions.values().filter_map(Session::poll_timeout).min()
    }

    /// Memory to read into; nothing while reading pauses, until [`Order::Serve`].
    pub(crate) fn recv_buf(&mut self, link: LinkId) -> Result<Option<BytesMut>, Stale> {
        self.owner(link)?.1.recv_buf(link)
    }

    /// The next batch into `out`, which must be empty: what was in it is with the kernel.
    pub(crate) fn transmit(&mut self, now: Instant, link: LinkId, out: &mut Chunks) -> Result<(), Stale> {
        let (id, session) = self.owner(link)?;
        session.poll_transmit(now, link, out)?;
        self.settle(id, now);
        Ok(())
    }

    // Inside.

    fn add(&mut self, session: Session) -> Id {
        self.last += 1;
        self.sessions.insert(Id(self.last), session);
        Id(self.last)
    }

    fn owner(&mut self, link: LinkId) -> Result<(Id, &mut Session), Stale> {
        let id = self.owners.get(&link).copied().ok_or(Stale)?;
        Ok((id, self.sessions.get_mut(&id).ok_or(Stale)?))
    }

    fn tell(
        &mut self,
        now: Instant,
        link: LinkId,
        what: impl FnOnce(&mut Session) -> Result<(), Stale>,
    ) -> Result<(), Stale> {
        let (id, session) = self.owner(link)?;
        what(session)?;
        self.serve(id, now);
        Ok(())
    }

    /// Something happened to a session: it may have something to transmit, besides the rest.
    fn serve(&mut self, id: Id, now: Instant) {
        self.settle(id, now);
        if let Some(link) = self.sessions.get(&id).and_then(Session::link) {
            self.orders.push(Order::Serve(link));
        }
    }

    /// Takes what a session wants and says, until it is quiet.
    fn settle(&mut self, id: Id, now: Instant) {
        while let Some(session) = self.sessions.get_mut(&id) {
            self.events.extend(std::iter::from_fn(|| session.poll_event()).map(|event| (id, event)));
            match session.poll_action() {
                Some(Action::Dial { link, to, .. }) => {
                    // It may have taken over the connection of a newcomer meanwhile.
                    if session.dialing() == Some(link) {
                        self.owners.insert(link, id);
                        match to.socket {
                            Some(to) => self.orders.push(Order::Dial(link, to)),
                            None => {
                                let nowhere = Err(io::ErrorKind::AddrNotAvailable);
                                let _ = session.handle_dialed(now, link, nowhere);
                            }
                        }
                    }
                }
                Some(Action::HangUp(link)) => {
                    self.owners.remove(&link);
                    self.orders.push(Order::HangUp(link));
                }
                Some(Action::Arriving(key)) => self.place(id, &key, now),
                None => {
                    if session.is_closed() {
                        self.table.remove(session.key(), &id);
                        self.sessions.remove(&id);
                    }
                    return;
                }
            }
        }
    }

    /// A newcomer knows whose session it claims: that of the peer with these addresses, if there is one.
    fn place(&mut self, newcomer: Id, key: &AddrVec, now: Instant) {
        let existing = self.table.find(key).filter(|existing| *existing != newcomer);
        let pair = existing.map(|existing| self.sessions.get_disjoint_mut([&newcomer, &existing]));
        let placement = match pair {
            Some([Some(new), existing]) => Session::place(new, existing, now),
            _ => match self.sessions.get_mut(&newcomer) {
                Some(new) => Session::place(new, None, now),
                None => return,
            },
        };
        match (placement, existing) {
            (Placement::Open | Placement::Displace, _) => {
                self.table.insert(key.clone(), newcomer);
            }
            // The connection goes on as that of the session that was there.
            (Placement::Adopted(link), Some(existing)) => {
                self.owners.insert(link, existing);
            }
            _ => {}
        }
        if let Some(existing) = existing {
            self.serve(existing, now);
        }
    }
}
