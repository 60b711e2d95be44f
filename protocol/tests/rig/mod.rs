//! Two messengers, as in the failover suites of crimson (`src/test/crimson/test_messenger.cc`): *Test* (osd.2) and
//! *Peer* (osd.4), on a virtual network, in virtual time.
//!
//! An interceptor on Test's side stops or breaks connections at given frames. What the suites assert is counted per
//! session of Test, in order of creation.

mod network;
mod outcome;
mod points;
mod tap;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cephwire_protocol::auth::AllowAll;
use cephwire_protocol::codec::{AddrType, AddrVec, EntityAddr, EntityName, EntityType, Header, Message};
use cephwire_protocol::{LinkId, Local, Messenger, Options, Policies, Policy, Session, Version};

use network::{End, Happening, Held, Pipe};
pub(crate) use outcome::{ANY, Final, Outcome, closed, established, replaced, standby};
pub(crate) use points::{
    Break, CONNECTING, Point, Tag, What, block, client_points, fault, read, server_points, stall, write,
};

/// The index of Test, which has the interceptor.
const TEST: usize = 0;
/// The index of the other.
const PEER: usize = 1;

/// How long a scenario waits for anything.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nothing new may happen before results count.
const SETTLE: Duration = Duration::from_millis(20);

/// A messenger.
struct Node {
    addr: EntityAddr,
    local: Arc<Local>,
    table: Messenger<usize>,
    sessions: Vec<Session>,
    owners: HashMap<LinkId, usize>,
    /// The session that the application uses.
    tracked: Option<usize>,
    /// Ops that wait for one.
    unsent: Vec<u64>,
}

/// A message of the application.
#[derive(Clone, Copy, Debug)]
struct Op {
    from: usize,
    /// What it was given to.
    session: Option<usize>,
    received: bool,
    /// Whether anybody waits for it.
    awaited: bool,
}

/// A scenario.
pub(crate) struct Rig {
    version: Version,
    slow: bool,
    now: Instant,
    start: Instant,
    nodes: [Node; 2],
    queue: BTreeMap<(Instant, u64), Happening>,
    order: u64,
    pipes: HashMap<End, Pipe>,
    plan: Vec<Break>,
    hits: HashMap<Point, u32>,
    held: HashMap<LinkId, Held>,
    /// v1: the claims counted, by the connection.
    claims: HashSet<(LinkId, Point)>,
    outcomes: Vec<Outcome>,
    replaced: HashSet<usize>,
    ops: Vec<Op>,
    /// Remote resets that Peer was told of.
    pub(crate) peer_remote_resets: u32,
    /// When Test dialed, since the beginning.
    pub(crate) dials: Vec<Duration>,
    trace: bool,
}

/// Who is who in a scenario.
pub(crate) struct Cast {
    pub(crate) version: Version,
    pub(crate) test: Policy,
    pub(crate) peer: Policy,
    /// Whether Peer's address is the smaller one, so that its connections win races.
    pub(crate) peer_wins: bool,
    /// Whether the applications are slower than the network when a connection stands still.
    pub(crate) slow: bool,
}

impl Cast {
    pub(crate) fn new(version: Version, test: Policy, peer: Policy) -> Self {
        Self { version, test, peer, peer_wins: false, slow: false }
    }
}

impl Rig {
    pub(crate) fn new(cast: &Cast, plan: &[Break]) -> Self {
        let now = Instant::now();
        let nonces = if cast.peer_wins { [4, 2] } else { [2, 4] };
        let nodes = [
            node(cast.version, 2, nonces[0], cast.test.clone()),
            node(cast.version, 4, nonces[1], cast.peer.clone()),
        ];
        Self {
            version: cast.version,
            slow: cast.slow,
            now,
            start: now,
            nodes,
            queue: BTreeMap::new(),
            order: 0,
            pipes: HashMap::new(),
            plan: plan.to_vec(),
            hits: HashMap::new(),
            held: HashMap::new(),
            claims: HashSet::new(),
            outcomes: Vec::new(),
            replaced: HashSet::new(),
            ops: Vec::new(),
            peer_remote_resets: 0,
            dials: Vec::new(),
            trace: std::env::var_os("CEPHWIRE_RIG_TRACE").is_some(),
        }
    }

    fn log(&self, text: impl FnOnce() -> String) {
        if self.trace {
            println!("{:9.3} ms  {}", (self.now - self.start).as_secs_f64() * 1e3, text());
        }
    }

    // Operations, by the suites' names.

    /// Test connects to Peer, or takes the session that is there.
    pub(crate) fn connect_peer(&mut self) {
        self.connect(TEST);
    }

    /// Peer connects to Test, or takes the session that is there.
    pub(crate) fn peer_connect_me(&mut self) {
        self.connect(PEER);
    }

    /// Test sends an op, when it has a session.
    pub(crate) fn send_peer(&mut self) {
        self.op(TEST, true);
    }

    /// The same; it may be lost.
    pub(crate) fn try_send_peer(&mut self) {
        self.op(TEST, false);
    }

    /// Peer sends an op, when it has a session.
    pub(crate) fn peer_send_me(&mut self) {
        self.op(PEER, true);
    }

    /// The same; it may be lost.
    pub(crate) fn try_peer_send_me(&mut self) {
        self.op(PEER, false);
    }

    /// Both send an op.
    pub(crate) fn send_bidirectional(&mut self) {
        self.peer_send_me();
        self.send_peer();
    }

    /// Test sends a keepalive.
    pub(crate) fn keepalive_peer(&mut self) {
        self.keepalive(TEST);
    }

    /// Peer sends a keepalive.
    pub(crate) fn peer_keepalive_me(&mut self) {
        self.keepalive(PEER);
    }

    /// Test marks its session down.
    pub(crate) fn markdown(&mut self) {
        self.mark_down(TEST);
    }

    /// Peer marks its session down, and time passes.
    pub(crate) fn markdown_peer(&mut self) {
        self.mark_down(PEER);
        self.sleep(Duration::from_millis(100));
    }

    /// Lets time pass.
    pub(crate) fn sleep(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Until a connection stands still; what is under way elsewhere arrives first if the cast is slow.
    pub(crate) fn wait_blocked(&mut self) {
        self.wait("blocked", |rig| !rig.held.is_empty());
        if self.slow {
            self.sleep(SETTLE);
        }
    }

    /// Until all ops have arrived and Test's application has an open session.
    pub(crate) fn wait_established(&mut self) {
        self.wait("established", |rig| {
            let test = &rig.nodes[TEST];
            rig.pending() == 0 && test.tracked.is_some_and(|tracked| test.sessions[tracked].is_open())
        });
    }

    /// Until so many sessions of Test have lost their connection to another.
    pub(crate) fn wait_replaced(&mut self, count: usize) {
        self.wait("replaced", |rig| rig.replaced.len() == count);
    }

    /// Until Test has had so many sessions, each is open or has ended, and all ops have arrived.
    pub(crate) fn wait_results(&mut self, count: usize) {
        self.wait("results", |rig| {
            let settled = |session: &Session| session.is_open() || session.is_closed();
            assert!(rig.outcomes.len() <= count, "a session more: {:?}", rig.results());
            rig.outcomes.len() == count && rig.nodes[TEST].sessions.iter().all(settled) && rig.pending() == 0
        });
    }

    /// Until there is nothing more to wait for at either side: no connection is left.
    pub(crate) fn wait_apart(&mut self) {
        self.wait("apart", |rig| rig.nodes.iter().all(|node| node.sessions.iter().all(Session::is_closed)));
    }

    /// Until the condition has held for a while.
    fn wait(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let end = self.now + PATIENCE;
        loop {
            let mut held = condition(self);
            if held && what != "blocked" {
                let until = self.now + SETTLE;
                while self.step(until) {}
                self.now = until;
                held = condition(self);
            }
            if held {
                return;
            }
            let more = self.step(end);
            let peer: Vec<_> = self.nodes[PEER].sessions.iter().map(state).collect();
            assert!(
                more,
                "waiting for {what}, {} ops pending: {:?}; Peer {peer:?}",
                self.pending(),
                self.results()
            );
        }
    }

    /// Checks what became of Test's sessions, that the plan was carried out, and that no op came twice.
    pub(crate) fn expect(&self, expected: &[Outcome]) {
        for planned in &self.plan {
            assert!(self.hits(planned.point) >= planned.round, "{:?} was not reached", planned);
        }
        self.expect_so_far(expected);
    }

    /// The same without the plan.
    pub(crate) fn expect_so_far(&self, expected: &[Outcome]) {
        let found = self.results();
        let fits = found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, expected)| found.fits(expected));
        assert!(fits, "\n   found {found:?}\nexpected {expected:?}");
    }

    /// The results so far.
    pub(crate) fn results(&self) -> Vec<Outcome> {
        let states =
            self.nodes[TEST].sessions.iter().enumerate().map(|(n, session)| {
                if self.replaced.contains(&n) { Final::Replaced } else { state(session) }
            });
        self.outcomes.iter().zip(states).map(|(outcome, state)| Outcome { state, ..*outcome }).collect()
    }

    /// How often Test has passed this point.
    pub(crate) fn hits(&self, point: Point) -> u32 {
        self.hits.get(&point).copied().unwrap_or_default()
    }

    /// How many ops were lost whose sender was never told that the other side has lost the session.
    pub(crate) fn lost_untold(&self) -> usize {
        let test_resets = self.outcomes.iter().map(|outcome| outcome.r[1]).sum::<u32>();
        let told = [test_resets > 0, self.peer_remote_resets > 0];
        self.ops.iter().filter(|op| op.awaited && !op.received && !told[op.from]).count()
    }

    /// How many awaited ops were lost by now.
    pub(crate) fn lost(&self) -> usize {
        self.ops.iter().filter(|op| op.awaited && !op.received).count()
    }

    /// Gives up waiting for ops: they are known to be lost.
    pub(crate) fn give_up(&mut self) {
        for op in self.ops.iter_mut().filter(|op| op.session.is_some()) {
            op.awaited = false;
        }
    }

    /// How many ops are on their way. What a session was given ends with it.
    fn pending(&self) -> usize {
        let alive = |op: &&Op| {
            let ended = |session: usize| self.nodes[op.from].sessions[session].is_closed();
            op.awaited && !op.received && !op.session.is_some_and(ended)
        };
        self.ops.iter().filter(alive).count()
    }

    // The applications.

    fn connect(&mut self, node: usize) {
        let key: AddrVec = self.nodes[1 - node].addr.into();
        let session = match self.nodes[node].table.find(&key) {
            Some(session) => session,
            None => {
                let local = Arc::clone(&self.nodes[node].local);
                let session = Session::outgoing(local, EntityType::OSD, key.clone(), self.now);
                let session = self.add(node, session);
                self.nodes[node].table.insert(key, session);
                session
            }
        };
        self.track(node, session);
        self.drive(node, session);
    }

    fn add(&mut self, node: usize, session: Session) -> usize {
        self.nodes[node].sessions.push(session);
        if node == TEST {
            self.outcomes.push(Outcome::new(Final::Pending));
        }
        self.nodes[node].sessions.len() - 1
    }

    /// The application uses this session from now on.
    fn track(&mut self, node: usize, session: usize) {
        let nodes = &mut self.nodes[node];
        if let Some(other) = nodes.tracked.filter(|other| *other != session) {
            assert!(nodes.sessions[other].is_closed(), "node {node} has two sessions");
        }
        nodes.tracked = Some(session);
        for op in std::mem::take(&mut nodes.unsent) {
            self.give(node, session, op);
        }
    }

    fn op(&mut self, node: usize, awaited: bool) {
        let op = self.ops.len() as u64;
        self.ops.push(Op { from: node, session: None, received: false, awaited });
        match self.usable(node) {
            Some(session) => {
                self.give(node, session, op);
                self.drive(node, session);
            }
            None => self.nodes[node].unsent.push(op),
        }
    }

    fn give(&mut self, node: usize, session: usize, op: u64) {
        let header = Header { tid: op, priority: 127, ..Header::default() };
        let message = Message { header, front: vec![op as u8; 100].into(), ..Message::default() };
        self.ops[op as usize].session = Some(session);
        self.nodes[node].sessions[session].send(message).expect("it is not closed");
    }

    fn usable(&self, node: usize) -> Option<usize> {
        let nodes = &self.nodes[node];
        nodes.tracked.filter(|tracked| !nodes.sessions[*tracked].is_closed())
    }

    fn keepalive(&mut self, node: usize) {
        let session = self.usable(node).expect("there is a session");
        self.nodes[node].sessions[session].keepalive();
        self.drive(node, session);
    }

    fn mark_down(&mut self, node: usize) {
        let session = self.usable(node).expect("there is a session");
        self.nodes[node].sessions[session].close(false);
        self.drive(node, session);
    }

    /// An op has arrived.
    fn arrived(&mut self, node: usize, tid: u64) {
        let op = &mut self.ops[tid as usize];
        assert_ne!(op.from, node, "op {tid} comes from the other side");
        assert!(!op.received, "op {tid} arrives twice");
        op.received = true;
        let later = self.ops.iter().skip(tid as usize + 1).any(|op| op.from != node && op.received);
        assert!(!later, "op {tid} arrives out of order");
    }
}

fn node(version: Version, number: u16, nonce: u32, policy: Policy) -> Node {
    let kind = if version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
    let addr = EntityAddr::new(kind, ([127, 0, 0, 1], 9010 + number).into(), nonce);
    let name = EntityName::new(EntityType::OSD, number.into());
    let auth = Arc::new(AllowAll { name });
    let policies = Policies::all(policy);
    let local = Local::new(name, addr.into(), nonce, u64::from(number), policies, auth, Options::default());
    Node {
        addr,
        local,
        table: Messenger::new(),
        sessions: Vec::new(),
        owners: HashMap::new(),
        tracked: None,
        unsent: Vec::new(),
    }
}

fn state(session: &Session) -> Final {
    if session.is_closed() {
        Final::Closed
    } else if session.is_open() {
        Final::Established
    } else if session.is_standby() {
        Final::Standby
    } else {
        Final::Pending
    }
}

/// Runs a scenario once for each plan, and says which fail.
pub(crate) fn each(plans: &[Vec<Break>], scenario: impl Fn(&[Break])) {
    let mut failed = Vec::new();
    for plan in plans {
        let run = std::panic::AssertUnwindSafe(|| scenario(plan));
        if std::panic::catch_unwind(run).is_err() {
            failed.push(plan);
        }
    }
    assert!(failed.is_empty(), "{} of {} fail: {failed:?}", failed.len(), plans.len());
}

/// One plan for each of these points.
pub(crate) fn at(breaks: impl IntoIterator<Item = Break>) -> Vec<Vec<Break>> {
    breaks.into_iter().map(|one| vec![one]).collect()
}
