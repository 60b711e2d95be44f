//! Messengers, a network between them, and time: all made up, and decided by a seed.
//!
//! Any number of nodes, each of its own entity type, so that every pair has policies of its own. What users
//! and the network do is an [`Op`]; [`World::settle`] lets the network recover, and [`World::audit`] says
//! whether the sessions kept their promises. What each application sent and received is in the [`Ledger`].

#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod drive;
pub(crate) mod ledger;
mod net;
mod random;
mod settle;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use cephwire_protocol::auth::AllowAll;
use cephwire_protocol::codec::{
    AddrType, AddrVec, EntityAddr, EntityName, EntityType, Header, Message, MessageType, priority,
};
use cephwire_protocol::throttle::Throttle;
use cephwire_protocol::{LinkId, Local, Messenger, Options, Policies, Policy, Received, Session, Version};

use drive::REPLY;
pub(crate) use ledger::Ledger;
use ledger::{Id, SessionId};
use net::{Happening, Net};
pub(crate) use random::Random;

/// Each node's type; with it come its policies.
const KINDS: [EntityType; 4] = [EntityType::OSD, EntityType::MDS, EntityType::CLIENT, EntityType::MGR];

/// More than this happening in a schedule is a storm.
const STORM: u64 = 300_000;

/// What a schedule begins with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) version: Version,
    /// Of each node, whether it speaks 2.1.
    pub(crate) revision_1: Vec<bool>,
    /// Whether applications take their time, and little may wait for them.
    pub(crate) throttled: bool,
    /// Of each node, its policies for each other one.
    pub(crate) policies: Vec<Vec<Policy>>,
}

/// What users and the network do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Send {
        from: usize,
        to: usize,
        priority: u16,
    },
    /// Both at the same moment.
    Cross {
        a: usize,
        b: usize,
    },
    Cut,
    HalfOpen,
    /// An end does not read for a while.
    Pause,
    /// A session's socket takes no bytes for a while.
    Stall {
        node: usize,
    },
    /// The node loses everything, and perhaps its nonce.
    Restart {
        node: usize,
        renamed: bool,
    },
    /// A user closes a session.
    Close {
        node: usize,
        to: usize,
        announce: bool,
    },
    Keepalive {
        node: usize,
        to: usize,
    },
    /// A user lends memory for messages to come.
    Post {
        node: usize,
        to: usize,
    },
    /// One dial in so many is refused; 0 for none.
    Refuse(u64),
    Run(Duration),
}

/// A messenger with its sessions, in one incarnation.
struct Node {
    addr: EntityAddr,
    incarnation: u32,
    local: Arc<Local>,
    table: Messenger<usize>,
    sessions: Vec<Session>,
    owners: HashMap<LinkId, usize>,
    /// The links on which a session was open.
    open: BTreeSet<LinkId>,
    /// Sessions whose sockets take no bytes for now.
    stalled: BTreeSet<usize>,
    /// What has arrived and is not read yet, and whether the end comes behind it.
    backlog: HashMap<LinkId, (Vec<u8>, bool)>,
    /// Messages that the application still has.
    held: VecDeque<Received>,
    /// Those of its policies, and the one of its dispatch queue.
    throttles: Vec<Arc<Throttle>>,
}

impl Node {
    /// All that it has is dropped. Nothing of that may stay taken, or refer to itself.
    fn die(self) {
        let (throttles, local) = (self.throttles.clone(), Arc::downgrade(&self.local));
        drop(self);
        for throttle in throttles {
            let left = (throttle.current(), throttle.waiters());
            assert_eq!(left, (0, 0), "a throttle of a node that is no more: {throttle:?}");
        }
        assert_eq!(local.strong_count(), 0, "something of a node that is no more");
    }
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) ledger: Ledger,
    nodes: Vec<Node>,
    setup: Setup,
    net: Net,
    refuse: u64,
    steps: u64,
    clock: u32,
    trace: bool,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let count = setup.policies.len();
        let mut world = Self {
            now: Instant::now(),
            random: Random(setup.seed),
            ledger: Ledger::default(),
            nodes: Vec::new(),
            setup,
            net: Net::default(),
            refuse: 0,
            steps: 0,
            clock: 0,
            trace: std::env::var_os("CEPHWIRE_SIM_TRACE").is_some(),
        };
        for n in 0..count {
            let nonce = 1 + world.random.below(1 << 20) as u32;
            let node = world.node(n, nonce, 0);
            world.nodes.push(node);
        }
        world
    }

    fn node(&mut self, n: usize, nonce: u32, incarnation: u32) -> Node {
        let kind = if self.setup.version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
        let addr = EntityAddr::new(kind, ([127, 0, 0, 1], 6800 + n as u16).into(), nonce);
        let name = EntityName::new(KINDS[n], n as i64);
        let options = Options::default().with(|options| {
            options.idle_timeout = Duration::from_secs(30);
            options.revision_1 = self.setup.revision_1[n];
            options.dispatch_throttle_bytes = if self.setup.throttled { 1000 } else { 0 };
        });
        let mut policies = Policies::default();
        let mut throttles = Vec::new();
        for (kind, policy) in KINDS.into_iter().zip(&self.setup.policies[n]) {
            let mut policy = policy.clone();
            if self.setup.throttled {
                let (bytes, messages) = (Throttle::new(500), Throttle::new(3));
                throttles.extend([Arc::clone(&bytes), Arc::clone(&messages)]);
                policy = policy.throttled(Some(bytes), Some(messages));
            }
            policies = policies.with(kind, policy);
        }
        let auth = Arc::new(AllowAll { name });
        let local = Local::new(name, addr.into(), nonce, self.random.next(), policies, auth, options);
        throttles.push(Arc::clone(local.dispatch_throttle()));
        let (table, sessions, owners) = (Messenger::new(), Vec::new(), HashMap::new());
        let (backlog, held) = (HashMap::new(), VecDeque::new());
        Node {
            addr,
            incarnation,
            local,
            table,
            sessions,
            owners,
            open: BTreeSet::new(),
            stalled: BTreeSet::new(),
            backlog,
            held,
            throttles,
        }
    }

    fn is_throttled(&self) -> bool {
        self.setup.throttled
    }

    fn id(&self, node: usize) -> Id {
        (node, self.nodes[node].incarnation)
    }

    fn session_id(&self, node: usize, session: usize) -> SessionId {
        (node, self.nodes[node].incarnation, session)
    }

    fn policy(&self, node: usize, to: usize) -> &Policy {
        &self.setup.policies[node][to]
    }

    fn find(&self, node: usize, to: usize) -> Option<usize> {
        self.nodes[node].table.find(&self.nodes[to].addr.into())
    }

    fn trace(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("{:?} {}", self.now, what());
        }
    }

    // What a test does.

    pub(crate) fn apply(&mut self, op: Op) {
        self.trace(|| format!("{op:?}"));
        match op {
            Op::Send { from, to, priority } => {
                self.send(from, to, priority);
            }
            Op::Cross { a, b } => {
                self.send(a, b, priority::DEFAULT);
                self.send(b, a, priority::DEFAULT);
            }
            Op::Cut => self.net.cut(self.now, &mut self.random),
            Op::HalfOpen => self.net.half_open(&mut self.random),
            Op::Pause => self.net.pause(self.now, &mut self.random),
            Op::Stall { node } => self.stall(node),
            Op::Restart { node, renamed } => self.restart(node, renamed),
            Op::Close { node, to, announce } => {
                if let Some(session) = self.find(node, to) {
                    self.close(node, session, announce);
                }
            }
            Op::Keepalive { node, to } => {
                if let Some(session) = self.find(node, to) {
                    self.nodes[node].sessions[session].keepalive();
                    self.drive(node, session);
                }
            }
            Op::Post { node, to } => {
                if let Some(session) = self.find(node, to) {
                    let tid = self.ledger.next_tid() + self.random.below(3);
                    let room = BytesMut::with_capacity(self.random.below(500) as usize);
                    self.nodes[node].sessions[session].post(tid, room);
                }
            }
            Op::Refuse(one_in) => self.refuse = one_in,
            Op::Run(time) => self.run(time),
        }
    }

    /// Sends a message over the session that is there or a new one; returns its number.
    fn send(&mut self, from: usize, to: usize, priority: u16) -> Option<u64> {
        let session = match self.find(from, to) {
            Some(session) => session,
            None if self.policy(from, to).server => return None,
            None => self.connect(from, to),
        };
        self.send_on(from, session, to, priority, MessageType(0))
    }

    fn send_on(
        &mut self,
        from: usize,
        session: usize,
        to: usize,
        priority: u16,
        kind: MessageType,
    ) -> Option<u64> {
        if self.nodes[from].sessions[session].is_closed() {
            return None;
        }
        let len = match self.random.below(40) {
            0 => self.random.below(70_000),
            1..10 => 0,
            _ => self.random.below(300),
        } as usize;
        let id = self.session_id(from, session);
        let tid = self.ledger.sent(self.id(to), id, priority, len, kind == REPLY);
        let header = Header { tid, priority, kind, ..Header::default() };
        let message = Message { header, data: vec![tid as u8; len].into(), ..Message::default() };
        self.nodes[from].sessions[session].send(message).expect("it is not closed");
        self.drive(from, session);
        Some(tid)
    }

    fn connect(&mut self, from: usize, to: usize) -> usize {
        let key: AddrVec = self.nodes[to].addr.into();
        let node = &mut self.nodes[from];
        let session = Session::outgoing(Arc::clone(&node.local), KINDS[to], key.clone(), self.now);
        node.sessions.push(session);
        let index = node.sessions.len() - 1;
        node.table.insert(key, index);
        self.drive(from, index);
        index
    }

    fn stall(&mut self, node: usize) {
        let count = self.nodes[node].sessions.len() as u64;
        if count > 0 {
            let session = self.random.below(count) as usize;
            self.nodes[node].stalled.insert(session);
            let until = self.now + Duration::from_micros(self.random.below(3_000_000));
            let incarnation = self.nodes[node].incarnation;
            self.net.at(until, Happening::Writable { node, session, incarnation });
        }
    }

    fn close(&mut self, node: usize, session: usize, announce: bool) {
        self.ledger.closed(self.session_id(node, session));
        self.nodes[node].sessions[session].close(announce);
        self.drive(node, session);
    }

    fn restart(&mut self, node: usize, renamed: bool) {
        for end in self.net.ends().into_iter().filter(|(n, _)| *n == node) {
            self.net.break_pipe(self.now, end, &mut self.random);
        }
        // Nor does anything arrive that was on its way to sockets of then: the new incarnation's have the same names.
        self.net.forget(node);
        let incarnation = self.nodes[node].incarnation + 1;
        let old = self.nodes[node].addr;
        let nonce = if renamed { old.nonce + 1 + self.random.below(300) as u32 } else { old.nonce };
        let fresh = self.node(node, nonce, incarnation);
        std::mem::replace(&mut self.nodes[node], fresh).die();
        self.ledger.restarted(node);
        if renamed {
            // Who knows the old name learns of it in other ways, and gives it up.
            for peer in 0..self.nodes.len() {
                if let Some(session) = self.nodes[peer].table.find(&old.into()) {
                    self.close(peer, session, false);
                }
            }
        }
    }

    // Time.

    fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        while self.step(end) {
            self.steps += 1;
            assert!(self.steps < STORM, "too much happens");
        }
        self.now = self.now.max(end);
    }

    fn step(&mut self, end: Instant) -> bool {
        let happening = self.net.queue.first_key_value().map(|(key, _)| key.0);
        let timer = self
            .nodes
            .iter()
            .enumerate()
            .flat_map(|(n, node)| node.sessions.iter().enumerate().map(move |(s, session)| (n, s, session)))
            .filter_map(|(n, s, session)| Some((session.poll_timeout()?, n, s)))
            .min();
        match (happening, timer) {
            (Some(at), timer) if at <= end && timer.is_none_or(|(due, ..)| at <= due) => {
                self.now = self.now.max(at);
                let (key, happening) = self.net.queue.pop_first().unwrap();
                if let Some(happening) = self.net.unless_paused(key, happening) {
                    self.happen(happening);
                }
                true
            }
            (_, Some((due, node, session))) if due <= end => {
                self.now = self.now.max(due);
                self.nodes[node].sessions[session].handle_timeout(self.now);
                self.drive(node, session);
                true
            }
            _ => false,
        }
    }

    fn happen(&mut self, happening: Happening) {
        self.trace(|| format!("{happening:?}"));
        match happening {
            Happening::Dialed { node, link, to, incarnation } => {
                if self.nodes[node].incarnation == incarnation {
                    self.dialed(node, link, to);
                }
            }
            Happening::Bytes { to: (node, link), bytes } => {
                self.nodes[node].backlog.entry(link).or_default().0.extend(bytes);
                self.feed(node, link);
            }
            Happening::Eof { to: (node, link) } => {
                self.nodes[node].backlog.entry(link).or_default().1 = true;
                self.feed(node, link);
            }
            Happening::Done { node, incarnation } => {
                if self.nodes[node].incarnation == incarnation {
                    self.nodes[node].held.pop_front();
                    self.unpause(node);
                }
            }
            Happening::Writable { node, session, incarnation } => {
                if self.nodes[node].incarnation == incarnation {
                    self.nodes[node].stalled.remove(&session);
                    self.drive(node, session);
                }
            }
        }
    }

    /// The driver reads what has arrived, as far as the session lets it.
    fn feed(&mut self, node: usize, link: LinkId) {
        let Some((mut bytes, eof)) = self.nodes[node].backlog.remove(&link) else { return };
        while !bytes.is_empty() {
            // An adoption in between may give the link to another session.
            let Some(&session) = self.nodes[node].owners.get(&link) else { return };
            let Ok(buf) = self.nodes[node].sessions[session].recv_buf(link) else { return };
            let Some(mut buf) = buf else {
                self.nodes[node].backlog.insert(link, (bytes, eof));
                return;
            };
            let portion = self.random.pick(&[1, 100, 500, 100_000, 100_000]);
            let len = buf.capacity().min(bytes.len()).min(1 + self.random.below(portion) as usize);
            buf.extend_from_slice(&bytes[..len]);
            bytes.drain(..len);
            let _ = self.nodes[node].sessions[session].handle_recv(self.now, link, buf);
            self.drive(node, session);
        }
        if eof {
            self.net.close(self.now, (node, link), &mut self.random);
            let Some(&session) = self.nodes[node].owners.get(&link) else { return };
            let _ = self.nodes[node].sessions[session].handle_eof(self.now, link);
            self.drive(node, session);
        }
    }

    /// A throttle has room: whoever waited for it goes on.
    fn unpause(&mut self, node: usize) {
        while let Some(session) = self.nodes[node].sessions.iter().position(Session::is_unpausable) {
            self.nodes[node].sessions[session].handle_unpaused(self.now);
            self.drive(node, session);
            if let Some(link) = self.nodes[node].sessions[session].link() {
                self.feed(node, link);
            }
        }
    }

    fn dialed(&mut self, node: usize, link: LinkId, to: EntityAddr) {
        let Some(&session) = self.nodes[node].owners.get(&link) else { return };
        let target = self.nodes.iter().position(|node| node.addr.socket == to.socket);
        let refused = self.refuse > 0 && self.random.one_in(self.refuse);
        let Some(target) = target.filter(|_| !refused) else {
            let refused = Err(std::io::ErrorKind::ConnectionRefused);
            let _ = self.nodes[node].sessions[session].handle_dialed(self.now, link, refused);
            return self.drive(node, session);
        };
        if self.nodes[node].sessions[session].handle_dialed(self.now, link, Ok(())).is_err() {
            return;
        }
        let from = ([127, 0, 0, 1], 40000 + (self.net.order % 20000) as u16).into();
        let accepting = &mut self.nodes[target];
        let local = Arc::clone(&accepting.local);
        let (incoming, accepted) =
            Session::incoming(local, from, self.setup.version, self.now).expect("accepted");
        accepting.sessions.push(incoming);
        let index = accepting.sessions.len() - 1;
        accepting.owners.insert(accepted, index);
        self.net.join((node, link), (target, accepted), &mut self.random);
        self.drive(node, session);
        self.drive(target, index);
    }
}
