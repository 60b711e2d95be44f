//! Messengers, a network between them, and time: all made up, and decided by a seed.
//!
//! Bytes travel with latency, in pieces, in order within a connection; connections are cut anywhere, dials are
//! refused or cross, nodes restart and lose everything. What each application sent and received is written
//! down for the [`Ledger`].

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod ledger;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use cephwire_protocol::auth::AllowAll;
use cephwire_protocol::codec::{
    AddrType, AddrVec, Chunks, EntityAddr, EntityName, EntityType, Header, Message,
};
use cephwire_protocol::{
    Action, Event, LinkId, Local, Messenger, Options, Placement, Policies, Policy, Session, Version,
};

pub(crate) use ledger::Ledger;

/// A deterministic stream of random numbers (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// One end of a pipe: a node and its name for the link.
type End = (usize, LinkId);

#[derive(Debug)]
enum Happening {
    Dialed { node: usize, link: LinkId, to: EntityAddr, incarnation: u32 },
    Bytes { to: End, bytes: Vec<u8> },
    Eof { to: End },
}

/// A messenger with its sessions, in one incarnation.
pub(crate) struct Node {
    pub(crate) name: EntityName,
    pub(crate) addr: EntityAddr,
    pub(crate) policy: Policy,
    pub(crate) listens: bool,
    incarnation: u32,
    local: Arc<Local>,
    table: Messenger<usize>,
    sessions: Vec<Session>,
    owners: HashMap<LinkId, usize>,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) random: Random,
    pub(crate) nodes: Vec<Node>,
    pub(crate) ledger: Ledger,
    version: Version,
    queue: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    /// The other end of each end.
    pipes: HashMap<End, End>,
    /// When the last bytes to an end arrive: TCP keeps the order.
    last: HashMap<End, Instant>,
    /// One dial in so many is refused; 0 for none.
    pub(crate) refuse: u64,
    pub(crate) trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, version: Version, policies: &[Policy]) -> Self {
        let mut world = Self {
            now: Instant::now(),
            random: Random(seed),
            nodes: Vec::new(),
            ledger: Ledger::default(),
            version,
            queue: BTreeMap::new(),
            order: 0,
            pipes: HashMap::new(),
            last: HashMap::new(),
            refuse: 0,
            trace: std::env::var_os("CEPHWIRE_SIM_TRACE").is_some(),
        };
        for (n, policy) in policies.iter().enumerate() {
            let node = world.node(n, policy.clone(), 0);
            world.nodes.push(node);
        }
        world
    }

    fn node(&mut self, n: usize, policy: Policy, incarnation: u32) -> Node {
        let kind = if self.version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
        let nonce = 1 + self.random.below(1 << 20) as u32 + incarnation;
        let socket = ([127, 0, 0, 1], 6800 + n as u16).into();
        let addr = EntityAddr::new(kind, socket, nonce);
        let name = EntityName::new(EntityType::OSD, n as i64);
        let auth = Arc::new(AllowAll { name });
        let options = Options { idle_timeout: Duration::from_secs(30), ..Options::default() };
        let policies = Policies::all(policy.clone());
        let local = Local::new(name, addr.into(), nonce, self.random.next(), policies, auth, options);
        let (table, sessions, owners) = (Messenger::new(), Vec::new(), HashMap::new());
        Node { name, addr, policy, listens: true, incarnation, local, table, sessions, owners }
    }

    fn at(&mut self, time: Instant, happening: Happening) {
        self.order += 1;
        self.queue.insert((time, self.order), happening);
    }

    fn latency(&mut self) -> Duration {
        Duration::from_micros(50 + self.random.below(3000))
    }

    // What a test does.

    /// Sends a message from one node to another, over the session that is there or a new one.
    pub(crate) fn send(&mut self, from: usize, to: usize) {
        let key: AddrVec = self.nodes[to].addr.into();
        let session = match self.nodes[from].table.find(&key) {
            Some(session) => session,
            None if self.nodes[from].policy.server => return,
            None => self.connect(from, to),
        };
        let tid = self.ledger.sent(self.id(from), self.id(to), (from, self.nodes[from].incarnation, session));
        let data = vec![tid as u8; self.random.below(300) as usize];
        let header = Header { tid, priority: 127, ..Header::default() };
        let message = Message { header, front: data.into(), ..Message::default() };
        self.nodes[from].sessions[session].send(message).expect("registered sessions are not closed");
        self.drive(from, session);
    }

    fn id(&self, node: usize) -> (usize, u32) {
        (node, self.nodes[node].incarnation)
    }

    pub(crate) fn connect(&mut self, from: usize, to: usize) -> usize {
        let key: AddrVec = self.nodes[to].addr.into();
        let node = &mut self.nodes[from];
        let session = Session::outgoing(Arc::clone(&node.local), EntityType::OSD, key.clone(), self.now);
        node.sessions.push(session);
        let index = node.sessions.len() - 1;
        node.table.insert(key, index);
        self.drive(from, index);
        index
    }

    /// Breaks a random connection: what is on its way is lost from some byte on.
    pub(crate) fn cut(&mut self) {
        let mut ends: Vec<End> = self.pipes.keys().copied().collect();
        ends.sort_by_key(|(node, link)| (*node, *link));
        if ends.is_empty() {
            return;
        }
        let end = ends[self.random.below(ends.len() as u64) as usize];
        self.break_pipe(end);
    }

    fn break_pipe(&mut self, end: End) {
        let Some(other) = self.pipes.remove(&end) else { return };
        self.pipes.remove(&other);
        for end in [end, other] {
            // Bytes on their way arrive up to some point, and then the end.
            let mut keep = self.random.below(3) as usize;
            let mut last = self.now;
            let keys: Vec<_> = self
                .queue
                .iter()
                .filter(|(_, happening)| happening.is_for(end))
                .map(|(key, _)| *key)
                .collect();
            for key in keys {
                if keep > 0 {
                    keep -= 1;
                    last = key.0;
                    if keep == 0
                        && let Some(Happening::Bytes { bytes, .. }) = self.queue.get_mut(&key)
                    {
                        let len = bytes.len() as u64;
                        bytes.truncate(self.random.below(len + 1) as usize);
                    }
                } else {
                    self.queue.remove(&key);
                }
            }
            let latency = self.latency();
            self.at(last.max(self.now) + latency, Happening::Eof { to: end });
        }
    }

    /// The node loses everything and comes back with another nonce at the same port.
    pub(crate) fn restart(&mut self, node: usize) {
        let ends: Vec<End> = self.pipes.keys().copied().filter(|(n, _)| *n == node).collect();
        for end in ends {
            self.break_pipe(end);
        }
        let (policy, incarnation) = (self.nodes[node].policy.clone(), self.nodes[node].incarnation + 1);
        let fresh = self.node(node, policy, incarnation);
        // The same address: peers must find out by themselves that it is another one.
        let nonce = self.nodes[node].addr.nonce;
        let addr = EntityAddr { nonce, ..fresh.addr };
        let name = fresh.name;
        let policies = Policies::all(fresh.policy.clone());
        let options = fresh.local.options.clone();
        let local = Local::new(
            name,
            addr.into(),
            nonce,
            self.random.next(),
            policies,
            Arc::new(AllowAll { name }),
            options,
        );
        self.nodes[node] = Node { addr, local, ..fresh };
        self.ledger.restarted(node);
    }

    /// Lets time pass until nothing more happens within `limit`.
    pub(crate) fn run(&mut self, limit: Duration) {
        let end = self.now + limit;
        while self.step(end) {}
        self.now = self.now.max(end);
    }

    fn step(&mut self, end: Instant) -> bool {
        let happening = self.queue.first_key_value().map(|(key, _)| key.0);
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
                let (_, happening) = self.queue.pop_first().unwrap();
                self.happen(happening);
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
        if self.trace {
            println!("{:?} {happening:?}", self.now);
        }
        match happening {
            Happening::Dialed { node, link, to, incarnation } => {
                if self.nodes[node].incarnation == incarnation {
                    self.dialed(node, link, to);
                }
            }
            Happening::Bytes { to: (node, link), bytes } => {
                let Some(&session) = self.nodes[node].owners.get(&link) else { return };
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    // An adoption in between may give the link to another session.
                    let Some(&session) = self.nodes[node].owners.get(&link) else { return };
                    let Ok(Some(mut buf)) = self.nodes[node].sessions[session].recv_buf(link) else { return };
                    let len = buf.capacity().min(rest.len()).min(1 + self.random.below(500) as usize);
                    buf.extend_from_slice(&rest[..len]);
                    rest = &rest[len..];
                    let _ = self.nodes[node].sessions[session].handle_recv(self.now, link, buf);
                    self.drive(node, session);
                }
                self.drive(node, session);
            }
            Happening::Eof { to: (node, link) } => {
                self.pipes.remove(&(node, link));
                let Some(&session) = self.nodes[node].owners.get(&link) else { return };
                let _ = self.nodes[node].sessions[session].handle_eof(self.now, link);
                self.drive(node, session);
            }
        }
    }

    fn dialed(&mut self, node: usize, link: LinkId, to: EntityAddr) {
        let Some(&session) = self.nodes[node].owners.get(&link) else { return };
        let target = self.nodes.iter().position(|node| node.listens && node.addr.socket == to.socket);
        let refused = self.refuse > 0 && self.random.one_in(self.refuse);
        let Some(target) = target.filter(|_| !refused) else {
            let refused = Err(std::io::ErrorKind::ConnectionRefused);
            let _ = self.nodes[node].sessions[session].handle_dialed(self.now, link, refused);
            return self.drive(node, session);
        };
        if self.nodes[node].sessions[session].handle_dialed(self.now, link, Ok(())).is_err() {
            return;
        }
        let from = ([127, 0, 0, 1], 40000 + (self.order % 20000) as u16).into();
        let accepting = &mut self.nodes[target];
        let (incoming, accepted) =
            Session::incoming(Arc::clone(&accepting.local), from, self.version, self.now).expect("accepted");
        accepting.sessions.push(incoming);
        let index = accepting.sessions.len() - 1;
        accepting.owners.insert(accepted, index);
        self.pipes.insert((node, link), (target, accepted));
        self.pipes.insert((target, accepted), (node, link));
        self.drive(node, session);
        self.drive(target, index);
    }

    /// What a driver does after anything: transmit, actions, events, until quiet.
    fn drive(&mut self, node: usize, session: usize) {
        loop {
            self.transmit(node, session);
            let Some(action) = self.nodes[node].sessions[session].poll_action() else { break };
            if self.trace {
                println!("{:?} node {node} session {session}: {action:?}", self.now);
            }
            match action {
                Action::Dial { link, to, .. } => {
                    self.nodes[node].owners.insert(link, session);
                    let (latency, incarnation) = (self.latency(), self.nodes[node].incarnation);
                    self.at(self.now + latency, Happening::Dialed { node, link, to, incarnation });
                }
                Action::HangUp(link) => self.hang_up((node, link)),
                Action::Arriving(key) => self.place(node, session, &key),
            }
        }
        self.events(node, session);
        if self.nodes[node].sessions[session].is_closed() {
            let key = self.nodes[node].sessions[session].key().clone();
            self.nodes[node].table.remove(&key, &session);
        }
    }

    fn transmit(&mut self, node: usize, session: usize) {
        while let Some(link) = self.nodes[node].sessions[session].link() {
            let mut out = Chunks::new();
            if self.nodes[node].sessions[session].poll_transmit(self.now, link, &mut out).is_err()
                || out.is_empty()
            {
                return;
            }
            let bytes = out.copy_to_bytes(out.remaining()).to_vec();
            let Some(&to) = self.pipes.get(&(node, link)) else { continue };
            let latency = self.latency();
            let after = self.last.get(&to).copied().unwrap_or(self.now);
            let arrival = (self.now + latency).max(after);
            self.last.insert(to, arrival);
            // In one piece or in two.
            let middle = self.random.below(bytes.len() as u64 + 1) as usize;
            let (first, second) = bytes.split_at(middle);
            for piece in [first, second].into_iter().filter(|piece| !piece.is_empty()) {
                self.at(arrival, Happening::Bytes { to, bytes: piece.to_vec() });
            }
        }
    }

    fn hang_up(&mut self, end: End) {
        self.nodes[end.0].owners.remove(&end.1);
        let Some(other) = self.pipes.remove(&end) else { return };
        self.pipes.remove(&other);
        let latency = self.latency();
        let after = self.last.get(&other).copied().unwrap_or(self.now);
        self.at((self.now + latency).max(after), Happening::Eof { to: other });
    }

    fn place(&mut self, node: usize, newcomer: usize, key: &AddrVec) {
        let existing = self.nodes[node].table.find(key).filter(|existing| *existing != newcomer);
        let sessions = &mut self.nodes[node].sessions;
        let placement = match existing {
            None => Session::place(&mut sessions[newcomer], None, self.now),
            Some(existing) => {
                let [new, old] = sessions.get_disjoint_mut([newcomer, existing]).unwrap();
                Session::place(new, Some(old), self.now)
            }
        };
        if self.trace {
            println!("{:?} node {node}: {newcomer} placed against {existing:?}: {placement:?}", self.now);
        }
        match placement {
            Placement::Open | Placement::Displace => {
                self.nodes[node].table.insert(key.clone(), newcomer);
            }
            Placement::Adopted(link) => {
                self.nodes[node].owners.insert(link, existing.unwrap());
            }
            Placement::Answered | Placement::Dropped => {}
        }
        if let Some(existing) = existing {
            self.drive(node, existing);
        }
    }

    fn events(&mut self, node: usize, session: usize) {
        let me = self.id(node);
        while let Some(event) = self.nodes[node].sessions[session].poll_event() {
            if self.trace {
                println!("{:?} node {node} session {session}: {event:?}", self.now);
            }
            match event {
                Event::Message(received) => {
                    self.ledger.received(me, received.source.num as usize, received.message.header.tid);
                }
                Event::Reset(_) | Event::RemoteReset => self.ledger.reset((me.0, me.1, session)),
                _ => {}
            }
        }
    }

    /// Checks that nothing waits for ever and that the ledger's books balance.
    pub(crate) fn audit(&self) {
        for (n, node) in self.nodes.iter().enumerate() {
            for (s, session) in node.sessions.iter().enumerate() {
                let settled = session.is_open() || session.is_closed() || session.is_standby();
                assert!(settled, "node {n} session {s} waits: {session:#?}");
                assert!(
                    session.is_closed() || session.outbox().is_empty() || session.policy().server,
                    "node {n} session {s} has messages left: {session:#?}"
                );
            }
        }
        self.ledger.audit();
    }
}

impl Happening {
    fn is_for(&self, end: End) -> bool {
        matches!(self, Self::Bytes { to, .. } if *to == end)
    }
}
