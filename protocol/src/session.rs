//! What must not be lost?
//!
//! A session is the relationship with a peer: its queues and counters outlive its connections. It owns at most
//! one [`Connection`] at a time; when another takes its place, that is a move.

mod admission;
mod claim;
mod fault;
#[cfg(feature = "serde")]
mod inside;
mod known;
mod place;
mod stream;
mod timer;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use cephwire_codec::{
    AddrType, AddrVec, Chunks, EntityAddr, EntityName, EntityType, Features, Message, Side, Timestamp,
};

use crate::auth::Entity;
use crate::connection::{Connection, Version};
use crate::error::{Error, Stale};
use crate::event::{Action, Closed, Event, LinkId, Received};
use crate::facts::{Facts, Failure};
use crate::inject::DelayQueue;
use crate::local::Local;
use crate::outbox::Outbox;
use crate::policy::Policy;
use crate::resume::Claim;
use crate::stats::Stats;

pub use place::Placement;
pub use timer::Timer;

use admission::{Admission, Waker};

/// A batch of this many bytes, or of [`BATCH_MESSAGES`], is enough for one write.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_MESSAGES: usize = 64;

/// The relationship with a peer. Four kinds of method:
///
/// * getters;
/// * commands of the application: [`send`](Self::send), [`keepalive`](Self::keepalive), [`close`](Self::close) …;
/// * `handle_*`: what happened, told by the driver, with the time;
/// * `poll_*`, [`recv_buf`](Self::recv_buf): what the driver shall do.
///
/// After anything, the driver transmits, does the actions, passes the events on and looks at the timer.
#[derive(Debug)]
pub struct Session {
    local: Arc<Local>,
    version: Version,
    /// The peer's addresses: what the session is registered under, and claims are matched by.
    key: AddrVec,
    /// What is dialed.
    target: EntityAddr,
    /// Accepted, from somebody who names no place where it could be dialed.
    unreachable: bool,
    kind: EntityType,
    gid: i64,
    /// The peer as authentication had it, the last time that it said so.
    entity: Option<Entity>,
    /// The peer's features and the effective ones, as the last introduction had them.
    peer_features: Features,
    peer_required: Features,
    features: Features,
    policy: Policy,
    state: State,
    conn: Option<Connection>,
    /// The dial that is under way.
    dial: Option<LinkId>,
    outbox: Outbox,
    in_seq: u64,
    ack_due: bool,
    keepalive: bool,
    keepalive_answer: Option<Timestamp>,
    last_keepalive: Option<Instant>,
    last_keepalive_ack: Option<Timestamp>,
    seqs: Seqs,
    backoff: Duration,
    /// How often in a row it dialed at once after a connection that brought nothing.
    fruitless: u32,
    /// When to dial again, or when the dial takes too long. Nothing if that is never, or not known yet: a command began
    /// the dial, and no time was told since.
    wake: Option<Instant>,
    now: Instant,
    /// v1: a taken-over connection has not opened yet.
    replacing: bool,
    /// v1: the takeover begins anew, as the peer has lost the session.
    reset_by_peer: bool,
    once_ready: bool,
    /// The application knows of it.
    announced: bool,
    registered: bool,
    claim: Option<Claim>,
    accepted: Accepted,
    /// v1: how much arrived since then, which waits undecoded.
    early: usize,
    posted: HashMap<u64, BytesMut>,
    admission: Admission,
    waker: Waker,
    /// Received messages that are held back, if the injector says so for this kind of peer.
    delayed: Option<DelayQueue<Received>>,
    stats: Stats,
    /// The dial that is under way, or the last connection.
    last: Option<Box<Facts>>,
    failure: Option<Box<Failure>>,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
}

/// The counters and names by which peers agree on where they stopped.
#[derive(Clone, Copy, Debug, Default)]
struct Seqs {
    /// The highest global_seq that the peer sent.
    peer_global_seq: u64,
    /// The own one, of the current attempt.
    global_seq: u64,
    connect_seq: u64,
    client_cookie: u64,
    server_cookie: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The driver is dialing.
    Dialing,
    /// Waiting to dial again.
    Backoff,
    /// In the handshake of a dialed connection.
    Connecting,
    /// In the handshake of an accepted connection.
    Accepting,
    /// v1: SEQ is answered, the client's number is awaited.
    Handled,
    Open,
    /// No connection, and no wish for one until there is something to send.
    Standby,
    Closed,
}

/// v1 is accepted only when the reply has reached the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    No,
    /// The reply is written.
    Written,
    /// It was handed to the driver; the next call confirms it.
    HandedOut,
}

impl Session {
    /// A session with the peer at `to`, of type `kind`: it dials at once, the first address of v1 or v2.
    #[must_use]
    pub fn outgoing(local: Arc<Local>, kind: EntityType, to: AddrVec, now: Instant) -> Self {
        // The first that names a version, whichever that is; what names none is taken for v2 (Ceph would not dial it).
        let named = to.0.iter().find(|addr| matches!(addr.kind, AddrType::MSGR2 | AddrType::LEGACY));
        let target = named.or_else(|| to.0.first()).copied().unwrap_or_default();
        let version = if target.kind == AddrType::LEGACY { Version::V1 } else { Version::V2 };
        let policy = local.policy(kind);
        let mut this = Self::new(local, version, policy, now);
        (this.key, this.target, this.kind) = (to, target, kind);
        (this.announced, this.registered) = (true, true);
        this.seqs.global_seq = this.local.next_global_seq(0);
        this.start_dial(Some(now));
        this
    }

    /// A session of whoever dialed this side: who that is becomes known in the handshake. It owns the link.
    ///
    /// # Errors
    /// Nothing can go wrong before the first byte but memory; kept for the driver's symmetry.
    pub fn incoming(
        local: Arc<Local>,
        from: SocketAddr,
        version: Version,
        now: Instant,
    ) -> Result<(Self, LinkId), Error> {
        let link = local.next_link();
        let kind = if version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
        let socket = Some(EntityAddr::new(kind, from, 0));
        let facts = Facts { socket, ..Facts::new(version, Side::Server) };
        let conn = Connection::new(&local, link, facts, Policy::default(), now)?;
        let mut this = Self::new(local, version, Policy::default(), now);
        this.state = State::Accepting;
        this.conn = Some(conn);
        Ok((this, link))
    }

    fn new(local: Arc<Local>, version: Version, policy: Policy, now: Instant) -> Self {
        local.count_created();
        Self {
            local,
            version,
            key: AddrVec::default(),
            target: EntityAddr::default(),
            unreachable: false,
            kind: EntityType::default(),
            gid: -1,
            entity: None,
            peer_features: Features(0),
            peer_required: Features(0),
            features: Features(0),
            policy,
            state: State::Dialing,
            conn: None,
            dial: None,
            outbox: Outbox::default(),
            in_seq: 0,
            ack_due: false,
            keepalive: false,
            keepalive_answer: None,
            last_keepalive: None,
            last_keepalive_ack: None,
            seqs: Seqs::default(),
            backoff: Duration::ZERO,
            fruitless: 0,
            wake: None,
            now,
            replacing: false,
            reset_by_peer: false,
            once_ready: false,
            announced: false,
            registered: false,
            claim: None,
            accepted: Accepted::No,
            early: 0,
            posted: HashMap::new(),
            admission: Admission::default(),
            waker: Waker::default(),
            delayed: None,
            stats: Stats::default(),
            last: None,
            failure: None,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    // Getters.

    /// Whether messages flow.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether it has ended for good.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether it waits, without a connection, for something to send or for the peer.
    #[must_use]
    pub fn is_standby(&self) -> bool {
        self.state == State::Standby
    }

    /// The peer's addresses.
    #[must_use]
    pub fn key(&self) -> &AddrVec {
        &self.key
    }

    /// The peer's name; its number is −1 while it is not known.
    #[must_use]
    pub fn peer(&self) -> EntityName {
        EntityName::new(self.kind, self.gid)
    }

    /// The rules, as they are by now (the server decides whether it is lossy).
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The transport that it owns.
    #[must_use]
    pub fn link(&self) -> Option<LinkId> {
        self.conn.as_ref().map(|conn| conn.link)
    }

    /// The transport that is being dialed for it. An [`Action::Dial`] for another one is out of date.
    #[must_use]
    pub fn dialing(&self) -> Option<LinkId> {
        self.dial
    }

    /// What waits to be sent, or to be acknowledged.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// When the peer last asked for a sign of life.
    #[must_use]
    pub fn last_keepalive(&self) -> Option<Instant> {
        self.last_keepalive
    }

    /// Which version it speaks, for life.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// What has happened so far, and what is in hand.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            queued_messages: self.outbox.queued() as u64,
            queued_bytes: self.outbox.queued_bytes() as u64,
            unacknowledged: self.outbox.unacknowledged() as u64,
            ..self.stats
        }
    }

    /// The stamp that the peer echoed last.
    #[must_use]
    pub fn last_keepalive_ack(&self) -> Option<Timestamp> {
        self.last_keepalive_ack
    }

    // Commands.

    /// Queues a message.
    ///
    /// # Errors
    /// Gives it back if the session has ended.
    pub fn send(&mut self, message: Message) -> Result<(), Closed> {
        if self.is_closed() {
            return Err(message.into());
        }
        if self.local.is_black_hole(self.kind) {
            return Ok(());
        }
        self.stats.send_messages += 1;
        self.outbox.push(message);
        // Who sends knows of the session, and shall be told when it ends.
        self.announced = true;
        self.leave_standby();
        Ok(())
    }

    /// Asks the peer for a sign of life, now or when the session is open again.
    pub fn keepalive(&mut self) {
        self.keepalive = true;
        if self.version == Version::V2 {
            self.leave_standby();
        }
    }

    /// Ends with the next fault.
    pub fn mark_disposable(&mut self) {
        self.policy.lossy = true;
    }

    /// Ends it now: queues are dropped, the peer sees the connection close. What was delivered and not dispatched is
    /// void ([`Event::Discard`]). With `announce`, the application's own event queue is told too.
    pub fn close(&mut self, announce: bool) {
        self.finish(None, announce);
    }

    /// Lends memory for the data of the message with this tid. It comes back as that message's data, if it fits.
    pub fn post(&mut self, tid: u64, buf: BytesMut) {
        self.posted.insert(tid, buf);
    }

    /// Takes posted memory back, unless it is being filled or was used.
    pub fn revoke(&mut self, tid: u64) -> Option<BytesMut> {
        self.posted.remove(&tid)
    }

    // What happened.

    /// The outcome of [`Action::Dial`].
    ///
    /// # Errors
    /// The session does not want that link any more.
    pub fn handle_dialed(
        &mut self,
        now: Instant,
        link: LinkId,
        outcome: Result<(), std::io::ErrorKind>,
    ) -> Result<(), Stale> {
        if self.dial != Some(link) {
            return Err(Stale);
        }
        self.now = now;
        self.dial = None;
        let ready_by = self.wake.take();
        if let Err(kind) = outcome {
            if kind == std::io::ErrorKind::ConnectionRefused {
                self.events.push_back(Event::Refused);
            }
            self.fault(Error::Dial(kind));
            return Ok(());
        }
        if self.version == Version::V2 {
            self.seqs.global_seq = self.local.next_global_seq(0);
        }
        let mut facts = self.last.take().map_or_else(|| Facts::new(self.version, Side::Client), |last| *last);
        facts.times.dialed.get_or_insert(now);
        match Connection::new(&self.local, link, facts, self.policy.clone(), now) {
            Ok(mut conn) => {
                // The time to be ready runs from the dial on.
                conn.ready_by = ready_by.or(conn.ready_by);
                self.state = State::Connecting;
                self.conn = Some(conn);
            }
            Err(error) => self.fault(error),
        }
        Ok(())
    }

    /// Takes the buffer of [`recv_buf`](Self::recv_buf) back with what the socket put into it.
    ///
    /// # Errors
    /// The session does not own that link any more; the bytes are dropped.
    pub fn handle_recv(&mut self, now: Instant, link: LinkId, buf: BytesMut) -> Result<(), Stale> {
        self.now = now;
        let conn = self.owned(link)?;
        if !buf.is_empty() {
            conn.last_active = now;
        }
        let len = buf.len();
        conn.received(buf);
        if self.accepted != Accepted::No {
            self.early = self.early.saturating_add(len);
        }
        self.pump();
        Ok(())
    }

    /// The peer closed the transport, or it broke.
    ///
    /// # Errors
    /// The session does not own that link any more.
    pub fn handle_eof(&mut self, now: Instant, link: LinkId) -> Result<(), Stale> {
        self.now = now;
        let phase = self.owned(link)?.phase();
        self.fault(Error::Closed { phase });
        Ok(())
    }

    // What to do.

    /// An empty buffer with room for bytes of this link; nothing while reading pauses (back-pressure).
    ///
    /// # Errors
    /// The session does not own that link any more.
    pub fn recv_buf(&mut self, link: LinkId) -> Result<Option<BytesMut>, Stale> {
        let paused = self.is_paused() || self.hears_enough();
        let conn = self.owned(link)?;
        Ok((!paused).then(|| conn.recv_buf()))
    }

    /// Appends the next batch for this link to `out`, which must be empty: the call confirms that everything
    /// handed out before has reached the kernel.
    ///
    /// # Errors
    /// The session does not own that link any more.
    pub fn poll_transmit(&mut self, now: Instant, link: LinkId, out: &mut Chunks) -> Result<(), Stale> {
        self.now = now;
        self.owned(link)?.confirm();
        if self.accepted == Accepted::HandedOut {
            let paused = self.hears_enough();
            (self.accepted, self.early) = (Accepted::No, 0);
            self.announce(Side::Server);
            self.pump();
            if paused {
                self.waker.wake();
            }
        }
        if let Err(error) = self.transmit(out) {
            self.fault(error);
        }
        Ok(())
    }

    /// What the driver shall do next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What the application shall know next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// v1: the peer speaks and speaks, and does not hear that it was accepted.
    fn hears_enough(&self) -> bool {
        self.accepted != Accepted::No && self.early >= self.local.options.limits.ahead as usize
    }

    fn owned(&mut self, link: LinkId) -> Result<&mut Connection, Stale> {
        self.conn.as_mut().filter(|conn| conn.link == link).ok_or(Stale)
    }

    /// Dials, now or as soon as the time is told.
    fn start_dial(&mut self, now: Option<Instant>) {
        let link = self.local.next_link();
        self.state = State::Dialing;
        self.stats.dials += 1;
        self.start_facts(now);
        self.dial = Some(link);
        self.wake = now.and_then(|now| now.checked_add(self.local.options.ready_timeout));
        self.actions.push_back(Action::Dial { link, to: self.target, bind: None });
    }

    fn leave_standby(&mut self) {
        if self.state != State::Standby || self.policy.server || self.unreachable {
            return;
        }
        if self.version == Version::V2 && self.seqs.server_cookie != 0 {
            self.seqs.connect_seq = self.seqs.connect_seq.saturating_add(1);
        }
        self.seqs.global_seq = self.local.next_global_seq(0);
        self.start_dial(None);
    }
}
