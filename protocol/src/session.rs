//! What must not be lost?
//!
//! A session is the relationship with a peer: its queues and counters outlive its connections. It owns at most
//! one [`Connection`] at a time; when another takes its place, that is a move.

mod fault;
mod place;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use cephwire_codec::{
    AddrType, AddrVec, Chunks, EntityAddr, EntityName, EntityType, Features, Message, Room, Side, Timestamp,
};

use crate::connection::{Connection, Incoming, Item, Version};
use crate::error::{Error, Stale, Violation};
use crate::event::{Action, Event, LinkId, Received};
use crate::handshake::{Answer, Opened, Step};
use crate::local::Local;
use crate::outbox::Outbox;
use crate::policy::Policy;
use crate::resume::{Claim, Reply};

pub use place::Placement;

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
    kind: EntityType,
    gid: i64,
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
    last_keepalive_ack: Option<Timestamp>,
    seqs: Seqs,
    backoff: Duration,
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
    posted: HashMap<u64, BytesMut>,
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
    /// A session with the peer at `to`, of type `kind`: it dials at once.
    #[must_use]
    pub fn outgoing(local: Arc<Local>, kind: EntityType, to: AddrVec, now: Instant) -> Self {
        // Prefers v2, as Ceph does.
        let v2 = to.0.iter().find(|addr| matches!(addr.kind, AddrType::MSGR2 | AddrType::ANY));
        let target = v2.or_else(|| to.0.first()).copied().unwrap_or_default();
        let version = if target.kind == AddrType::LEGACY { Version::V1 } else { Version::V2 };
        let policy = local.policy(kind);
        let mut this = Self::new(local, version, policy, now);
        (this.key, this.target, this.kind) = (to, target, kind);
        (this.announced, this.registered) = (true, true);
        this.seqs.global_seq = this.local.next_global_seq(0);
        this.start_dial();
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
        let conn = Connection::accepted(&local, link, version, EntityAddr::new(kind, from, 0), now)?;
        let mut this = Self::new(local, version, Policy::default(), now);
        this.state = State::Accepting;
        this.conn = Some(conn);
        Ok((this, link))
    }

    fn new(local: Arc<Local>, version: Version, policy: Policy, now: Instant) -> Self {
        Self {
            local,
            version,
            key: AddrVec::default(),
            target: EntityAddr::default(),
            kind: EntityType::default(),
            gid: -1,
            policy,
            state: State::Dialing,
            conn: None,
            dial: None,
            outbox: Outbox::default(),
            in_seq: 0,
            ack_due: false,
            keepalive: false,
            keepalive_answer: None,
            last_keepalive_ack: None,
            seqs: Seqs::default(),
            backoff: Duration::ZERO,
            wake: None,
            now,
            replacing: false,
            reset_by_peer: false,
            once_ready: false,
            announced: false,
            registered: false,
            claim: None,
            accepted: Accepted::No,
            posted: HashMap::new(),
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

    /// What waits to be sent, or to be acknowledged.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
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
    pub fn send(&mut self, message: Message) -> Result<(), Message> {
        if self.is_closed() {
            return Err(message);
        }
        self.outbox.push(message);
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

    /// Ends it now: queues are dropped, the peer sees the connection close. With `announce`, the application's
    /// own event queue is told too.
    pub fn close(&mut self, announce: bool) {
        self.announced &= announce;
        self.end(None);
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
        self.wake = None;
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
        match Connection::dialed(&self.local, link, self.version, self.kind, self.target, now) {
            Ok(mut conn) => {
                conn.facts.policy = self.policy.clone();
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
        conn.received(buf);
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

    /// The time of [`poll_timeout`](Self::poll_timeout) has come (or not: then nothing happens).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        match self.state {
            State::Backoff => self.start_dial(),
            State::Dialing => self.fault(Error::Dial(std::io::ErrorKind::TimedOut)),
            _ => {
                let phase = self.conn.as_ref().map_or("connecting", Connection::phase);
                self.fault(Error::TimedOut { phase });
            }
        }
    }

    // What to do.

    /// An empty buffer with room for bytes of this link; nothing while reading pauses (back-pressure).
    ///
    /// # Errors
    /// The session does not own that link any more.
    pub fn recv_buf(&mut self, link: LinkId) -> Result<Option<BytesMut>, Stale> {
        Ok(Some(self.owned(link)?.recv_buf()))
    }

    /// Appends the next batch for this link to `out`, which must be empty: the call confirms that everything
    /// handed out before has reached the kernel.
    ///
    /// # Errors
    /// The session does not own that link any more.
    pub fn poll_transmit(&mut self, now: Instant, link: LinkId, out: &mut Chunks) -> Result<(), Stale> {
        self.now = now;
        self.owned(link)?;
        if self.accepted == Accepted::HandedOut {
            self.accepted = Accepted::No;
            self.announce(Side::Server);
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

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let conn = self.conn.as_ref().map(|conn| {
            if self.state == State::Open {
                conn.last_active + self.local.options.idle_timeout
            } else {
                conn.ready_by
            }
        });
        [self.wake, conn].into_iter().flatten().min()
    }

    fn owned(&mut self, link: LinkId) -> Result<&mut Connection, Stale> {
        self.conn.as_mut().filter(|conn| conn.link == link).ok_or(Stale)
    }

    fn start_dial(&mut self) {
        let link = self.local.next_link();
        self.state = State::Dialing;
        self.dial = Some(link);
        self.wake = Some(self.now + self.local.options.ready_timeout);
        self.actions.push_back(Action::Dial { link, to: self.target, bind: None });
    }

    fn leave_standby(&mut self) {
        if self.state != State::Standby || self.policy.server {
            return;
        }
        if self.version == Version::V2 && self.seqs.server_cookie != 0 {
            self.seqs.connect_seq = self.seqs.connect_seq.saturating_add(1);
        }
        self.seqs.global_seq = self.local.next_global_seq(0);
        self.start_dial();
    }

    /// Decodes what has arrived, until something else must happen first.
    fn pump(&mut self) {
        loop {
            let Some(conn) = self.conn.as_mut().filter(|conn| !conn.awaits_answer()) else { return };
            let posted = &mut self.posted;
            let mut room = |tid: u64| posted.remove(&tid).map_or(Room::Own, Room::Posted);
            let result = match conn.next(&self.local, &mut room) {
                Ok(Incoming::More) => return,
                Ok(Incoming::Step(step)) => self.step(step),
                Ok(Incoming::Item(item)) => {
                    self.item(item);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                return self.fault(error);
            }
        }
    }

    fn step(&mut self, step: Step) -> Result<(), Error> {
        match step {
            Step::Quiet => Ok(()),
            Step::WantClaim => self.make_claim(),
            Step::Retry(reply) => self.retry(reply),
            Step::Claimed(claim) => self.claimed(claim),
            Step::Open(opened) if self.state == State::Connecting => self.dialed_open(opened),
            Step::Open(opened) => {
                if let Some(received) = opened.received {
                    self.outbox.discard(received);
                }
                self.set_open();
                Ok(())
            }
        }
    }

    /// Dialing: says which session this is.
    fn make_claim(&mut self) -> Result<(), Error> {
        let Seqs { global_seq, connect_seq, client_cookie, server_cookie, .. } = self.seqs;
        let claim = match self.version {
            Version::V1 => Claim::V1 {
                global_seq: global_seq as u32,
                connect_seq: connect_seq as u32,
                reconnect_seq: true,
            },
            Version::V2 if server_cookie == 0 => {
                if client_cookie == 0 && !self.policy.lossy {
                    self.seqs.client_cookie = self.local.random();
                }
                Claim::New { cookie: self.seqs.client_cookie, global_seq }
            }
            Version::V2 => {
                Claim::Resume { client_cookie, server_cookie, global_seq, connect_seq, msg_seq: self.in_seq }
            }
        };
        let (in_seq, lossy) = (self.in_seq, self.policy.lossy);
        match &mut self.conn {
            Some(conn) => conn.claim(&self.local, claim, in_seq, lossy),
            None => Ok(()),
        }
    }

    /// Dialing: the server wants another claim.
    fn retry(&mut self, reply: Reply) -> Result<(), Error> {
        self.count_claim()?;
        match reply {
            Reply::Wait => return Err(Error::Waiting),
            Reply::RetryGlobal(seen) => self.seqs.global_seq = self.local.next_global_seq(seen),
            Reply::RetrySession(seq) => {
                let next = if self.version == Version::V1 { Some(seq) } else { seq.checked_add(1) };
                self.seqs.connect_seq = next.filter(|next| *next <= u32::MAX.into()).ok_or_else(|| {
                    self.violation(&format!("connect_seq {seq}"), "one that can be counted up")
                })?;
            }
            Reply::Reset { full: true } => self.reset_session(),
            Reply::Reset { full: false } => {
                self.seqs.server_cookie = 0;
                self.seqs.connect_seq = 0;
                self.in_seq = 0;
            }
        }
        self.make_claim()
    }

    fn count_claim(&mut self) -> Result<(), Error> {
        let most = self.local.options.claims;
        let Some(conn) = &mut self.conn else { return Ok(()) };
        conn.claims += 1;
        if conn.claims <= most {
            return Ok(());
        }
        Err(self.violation("one claim or answer more", &format!("at most {most} on a connection")))
    }

    fn violation(&self, found: &str, expected: &str) -> Error {
        let phase = self.conn.as_ref().map_or("", Connection::phase);
        Violation { phase, number: 0, found: found.to_owned(), expected: expected.to_owned() }.into()
    }

    /// Dialing: the stream is open.
    fn dialed_open(&mut self, opened: Opened) -> Result<(), Error> {
        if let Some(connect_seq) = opened.connect_seq {
            // v1. Ceph's client aborts on another one.
            if connect_seq != self.seqs.connect_seq + 1 {
                return Err(self.violation(&format!("connect_seq {connect_seq}"), "the claim's plus 1"));
            }
            self.seqs.connect_seq = connect_seq;
        }
        if let Some(cookie) = opened.cookie {
            self.seqs.server_cookie = cookie;
        }
        if let Some(lossy) = opened.lossy {
            self.policy.lossy = lossy;
            self.seqs.peer_global_seq = opened.global_seq;
        }
        if let Some(received) = opened.received {
            self.outbox.discard(received);
        }
        self.take_facts();
        self.set_open();
        self.announce(Side::Client);
        Ok(())
    }

    fn set_open(&mut self) {
        self.state = State::Open;
        self.backoff = Duration::ZERO;
        self.once_ready = true;
        self.replacing = false;
        if let Some(conn) = &mut self.conn {
            conn.last_active = self.now;
        }
    }

    fn announce(&mut self, side: Side) {
        self.announced = true;
        let features = self.conn.as_ref().map_or(Features(0), |conn| conn.facts.features);
        self.events.push_back(Event::Open { side, features });
    }

    /// Takes over what the handshake told of the peer.
    fn take_facts(&mut self) {
        if let Some(conn) = &self.conn {
            (self.kind, self.gid) = (conn.facts.kind, conn.facts.gid);
        }
    }

    /// Accepting: the client claims a session.
    fn claimed(&mut self, claim: Claim) -> Result<(), Error> {
        self.count_claim()?;
        self.take_facts();
        let Some(conn) = &self.conn else { return Ok(()) };
        self.policy = conn.facts.policy.clone();
        if self.replacing || self.policy.is_anonymous() {
            return self.open_claim(&claim);
        }
        self.key = conn.facts.addrs.clone();
        self.target = redial_target(&conn.facts.addrs, self.version);
        self.claim = Some(claim);
        self.actions.push_back(Action::Arriving(self.key.clone()));
        Ok(())
    }

    /// Accepting: the claim is granted.
    fn open_claim(&mut self, claim: &Claim) -> Result<(), Error> {
        let global_seq = self.local.next_global_seq(0);
        let lossy = self.policy.lossy;
        let resumed = match *claim {
            Claim::V1 { global_seq, connect_seq, reconnect_seq } => {
                self.seqs.connect_seq = u64::from(connect_seq) + 1;
                self.seqs.peer_global_seq = global_seq.into();
                let resumed = reconnect_seq && !self.reset_by_peer;
                if !resumed {
                    self.outbox.discard(0);
                    self.in_seq = 0;
                    self.reset_by_peer = false;
                }
                resumed
            }
            Claim::New { cookie, global_seq } => {
                self.outbox.discard(0);
                self.in_seq = 0;
                self.seqs.client_cookie = cookie;
                self.seqs.server_cookie = if lossy { 0 } else { self.local.random() };
                self.seqs.peer_global_seq = global_seq;
                false
            }
            Claim::Resume { global_seq, connect_seq, msg_seq, .. } => {
                self.outbox.discard(msg_seq);
                self.seqs.peer_global_seq = global_seq;
                self.seqs.connect_seq = connect_seq;
                true
            }
        };
        let Seqs { connect_seq, server_cookie: cookie, .. } = self.seqs;
        let answer = Answer::Open { in_seq: self.in_seq, global_seq, connect_seq, cookie, lossy, resumed };
        if let Some(conn) = &mut self.conn {
            conn.answer(&self.local, &answer)?;
        }
        self.registered = !self.policy.is_anonymous();
        self.ack_due = false;
        match self.version {
            Version::V1 => {
                self.accepted = Accepted::Written;
                if resumed {
                    self.state = State::Handled;
                    self.replacing = false;
                } else {
                    self.set_open();
                }
            }
            Version::V2 => {
                self.set_open();
                self.announce(Side::Server);
            }
        }
        Ok(())
    }

    /// Something on the open stream.
    fn item(&mut self, item: Item) {
        match item {
            Item::Message { seq, ack, source, message } => {
                if let Some(ack) = ack.filter(|_| !self.policy.lossy) {
                    self.outbox.acknowledge(ack);
                }
                // A duplicate is dropped, and reading goes on (Ceph stalls); a gap is legal.
                if seq <= self.in_seq {
                    return;
                }
                self.in_seq = seq;
                self.ack_due |= !self.policy.lossy;
                let source = source.unwrap_or(EntityName::new(self.kind, self.gid));
                self.events.push_back(Event::Message(Received { message, seq, source }));
            }
            Item::Ack(seq) if !self.policy.lossy => self.outbox.acknowledge(seq),
            Item::Ack(_) | Item::Keepalive | Item::Aborted => {}
            // Only the newest is answered: floods cost nothing.
            Item::Keepalive2(stamp) => self.keepalive_answer = Some(stamp),
            Item::Keepalive2Ack(stamp) => self.last_keepalive_ack = Some(stamp),
            Item::Close => self.close(false),
        }
    }

    fn transmit(&mut self, out: &mut Chunks) -> Result<(), Error> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        conn.transmit(out);
        if self.accepted == Accepted::Written {
            self.accepted = Accepted::HandedOut;
        }
        if self.state != State::Open || !conn.is_open() {
            return Ok(());
        }
        let (local, in_seq, lossy) = (&*self.local, self.in_seq, self.policy.lossy);
        if let Some(stamp) = self.keepalive_answer.take() {
            conn.put(local, Item::Keepalive2Ack(stamp), in_seq, out)?;
        }
        if std::mem::take(&mut self.keepalive) {
            let newer =
                self.version == Version::V2 || conn.facts.features.contains(Features::MSGR_KEEPALIVE2);
            let item = if newer { Item::Keepalive2(local.wall_clock()) } else { Item::Keepalive };
            conn.put(local, item, in_seq, out)?;
        }
        let mut messages = 0;
        while messages < BATCH_MESSAGES && out.remaining() < BATCH_BYTES {
            let Some((seq, message)) = self.outbox.pop(!lossy) else { break };
            conn.put(local, Item::Message { seq, ack: None, source: None, message }, in_seq, out)?;
            messages += 1;
        }
        if self.version == Version::V2 && messages > 0 {
            // Every message carries the ack.
            self.ack_due = false;
        } else if std::mem::take(&mut self.ack_due) {
            conn.put(local, Item::Ack(in_seq), in_seq, out)?;
        }
        Ok(())
    }
}

/// What to dial when an accepted session must reconnect.
fn redial_target(addrs: &AddrVec, version: Version) -> EntityAddr {
    let legacy = |addr: &&EntityAddr| (addr.kind == AddrType::LEGACY) == (version == Version::V1);
    addrs.0.iter().find(legacy).or_else(|| addrs.0.first()).copied().unwrap_or_default()
}
