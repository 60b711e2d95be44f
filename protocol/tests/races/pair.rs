//! Two messengers and what is on its way between them: every choice is the caller's.
//!
//! Bytes travel by batches, in order within a connection. Time passes only where a backoff ends.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use cephwire_protocol::auth::AllowAll;
use cephwire_protocol::codec::{
    AddrType, AddrVec, Chunks, EntityAddr, EntityName, EntityType, Header, Message,
};
use cephwire_protocol::{
    Action, Event, LinkId, Local, Messenger, Options, Placement, Policies, Policy, Session, Timer, Version,
};

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Send {
        node: usize,
    },
    /// The oldest dial of a node connects.
    Dialed {
        node: usize,
    },
    /// The oldest batch on this way arrives.
    Deliver {
        pipe: usize,
        to: usize,
    },
    /// A pipe breaks.
    Cut {
        pipe: usize,
        how: Loss,
    },
    /// A session has waited long enough to dial again.
    Backoff {
        node: usize,
        session: usize,
    },
}

/// What becomes of the bytes on a pipe that breaks. The ends always come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    All,
    None,
    /// The last byte each way.
    Tails,
    /// All on the way to this node.
    To(usize),
}

struct Node {
    local: Arc<Local>,
    table: Messenger<usize>,
    sessions: Vec<Session>,
    owners: BTreeMap<LinkId, usize>,
    dials: VecDeque<LinkId>,
    sent: Vec<u64>,
    received: Vec<u64>,
    resets: u32,
}

struct Pipe {
    links: [LinkId; 2],
    /// To node 0, to node 1; nothing stands for the end.
    ways: [VecDeque<Option<Vec<u8>>>; 2],
    open: bool,
}

pub(crate) struct Pair {
    nodes: [Node; 2],
    pipes: Vec<Pipe>,
    policies: [Policy; 2],
    version: Version,
    now: Instant,
    /// How much may still be sent and cut.
    sends: u32,
    cuts: u32,
    /// How often a backoff may still be shorter than something else takes.
    early: u32,
}

impl Pair {
    pub(crate) fn new(policies: &[Policy; 2], version: Version, [sends, cuts, early]: [u32; 3]) -> Self {
        let node = |n: usize| {
            let name = EntityName::new(EntityType::OSD, n as i64);
            let policies = Policies::all(policies[n].clone());
            let auth = Arc::new(AllowAll { name });
            let addr = addr(n, version);
            let local =
                Local::new(name, addr.into(), addr.nonce, n as u64, policies, auth, Options::default());
            let (owners, dials) = (BTreeMap::new(), VecDeque::new());
            let (table, sessions, sent, received) = (Messenger::new(), Vec::new(), Vec::new(), Vec::new());
            Node { local, table, sessions, owners, dials, sent, received, resets: 0 }
        };
        let nodes = [node(0), node(1)];
        let (pipes, now) = (Vec::new(), Instant::now());
        Self { nodes, pipes, policies: policies.clone(), version, now, sends, cuts, early }
    }

    /// Everything that may happen now, of itself or by choice of users and the network.
    pub(crate) fn choices(&self, losses: &[Loss]) -> Vec<Choice> {
        let mut choices = self.pending();
        let backs_off = |choice: &Choice| matches!(choice, Choice::Backoff { .. });
        if self.early == 0 {
            // Only the shortest, and only if nothing else is left to happen.
            let alone = choices.iter().all(backs_off);
            let first = choices.iter().filter_map(|choice| self.due(*choice)).min();
            choices.retain(|choice| !backs_off(choice) || (alone && self.due(*choice) == first));
        }
        for node in 0..2 {
            let known = self.nodes[node].table.find(&addr(1 - node, self.version).into()).is_some();
            if self.sends > 0 && (known || !self.policies[node].server) {
                choices.push(Choice::Send { node });
            }
        }
        if self.cuts > 0 {
            let open = self.pipes.iter().enumerate().filter(|(_, pipe)| pipe.open);
            choices
                .extend(open.flat_map(|(pipe, _)| losses.iter().map(move |&how| Choice::Cut { pipe, how })));
        }
        choices
    }

    /// What will happen of itself, sooner or later.
    pub(crate) fn pending(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for (pipe, there) in self.pipes.iter().enumerate() {
            let ways = (0..2).filter(|to| !there.ways[*to].is_empty());
            choices.extend(ways.map(|to| Choice::Deliver { pipe, to }));
        }
        for (node, there) in self.nodes.iter().enumerate() {
            if !there.dials.is_empty() {
                choices.push(Choice::Dialed { node });
            }
            for (session, state) in there.sessions.iter().enumerate() {
                if matches!(state.poll_timer(), Some((_, Timer::Backoff))) {
                    choices.push(Choice::Backoff { node, session });
                }
            }
        }
        choices
    }

    fn due(&self, choice: Choice) -> Option<Instant> {
        let Choice::Backoff { node, session } = choice else { return None };
        self.nodes[node].sessions[session].poll_timeout()
    }

    pub(crate) fn apply(&mut self, choice: Choice) {
        match choice {
            Choice::Send { node } => self.send(node),
            Choice::Dialed { node } => self.dialed(node),
            Choice::Deliver { pipe, to } => self.deliver(pipe, to),
            Choice::Cut { pipe, how } => self.cut(pipe, how),
            Choice::Backoff { node, session } => {
                let pending = self.pending();
                let due = self.due(choice).unwrap();
                let is_first = |other: &Choice| self.due(*other).is_some_and(|other| other >= due);
                self.early = self.early.saturating_sub(u32::from(!pending.iter().all(is_first)));
                self.now = self.now.max(due);
                self.nodes[node].sessions[session].handle_timeout(due);
                self.drive(node, session);
            }
        }
    }

    fn send(&mut self, node: usize) {
        self.sends -= 1;
        let key: AddrVec = addr(1 - node, self.version).into();
        let there = &mut self.nodes[node];
        let session = there.table.find(&key).unwrap_or_else(|| {
            let local = Arc::clone(&there.local);
            there.sessions.push(Session::outgoing(local, EntityType::OSD, key.clone(), self.now));
            there.table.insert(key, there.sessions.len() - 1);
            there.sessions.len() - 1
        });
        let tid = there.sent.len() as u64 + 1;
        there.sent.push(tid);
        let message = Message { header: Header { tid, ..Header::default() }, ..Message::default() };
        there.sessions[session].send(message).unwrap();
        self.drive(node, session);
    }

    fn dialed(&mut self, node: usize) {
        let link = self.nodes[node].dials.pop_front().unwrap();
        let Some(&session) = self.nodes[node].owners.get(&link) else { return };
        if self.nodes[node].sessions[session].handle_dialed(self.now, link, Ok(())).is_err() {
            return;
        }
        let other = &mut self.nodes[1 - node];
        let from = ([127, 0, 0, 1], 40000).into();
        let (incoming, accepted) =
            Session::incoming(Arc::clone(&other.local), from, self.version, self.now).unwrap();
        other.sessions.push(incoming);
        let index = other.sessions.len() - 1;
        other.owners.insert(accepted, index);
        let links = if node == 0 { [link, accepted] } else { [accepted, link] };
        self.pipes.push(Pipe { links, ways: Default::default(), open: true });
        self.drive(node, session);
        self.drive(1 - node, index);
    }

    fn deliver(&mut self, pipe: usize, to: usize) {
        let link = self.pipes[pipe].links[to];
        let packet = self.pipes[pipe].ways[to].pop_front().unwrap();
        let Some(&session) = self.nodes[to].owners.get(&link) else { return };
        let Some(bytes) = packet else {
            let _ = self.nodes[to].sessions[session].handle_eof(self.now, link);
            return self.drive(to, session);
        };
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Some(&session) = self.nodes[to].owners.get(&link) else { return };
            let Ok(Some(mut buf)) = self.nodes[to].sessions[session].recv_buf(link) else { return };
            let len = buf.capacity().min(rest.len());
            buf.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
            let _ = self.nodes[to].sessions[session].handle_recv(self.now, link, buf);
            self.drive(to, session);
        }
    }

    fn cut(&mut self, pipe: usize, how: Loss) {
        self.cuts -= 1;
        let pipe = &mut self.pipes[pipe];
        pipe.open = false;
        for (to, way) in pipe.ways.iter_mut().enumerate() {
            match how {
                Loss::All => way.clear(),
                Loss::None => {}
                Loss::Tails => {
                    if let Some(Some(last)) = way.back_mut() {
                        last.pop();
                    }
                }
                Loss::To(node) if node == to => way.clear(),
                Loss::To(_) => {}
            }
            way.push_back(None);
        }
    }

    fn hang_up(&mut self, node: usize, link: LinkId) {
        self.nodes[node].owners.remove(&link);
        self.nodes[node].dials.retain(|dial| *dial != link);
        let pipe = self.pipes.iter_mut().find(|pipe| pipe.links[node] == link);
        if let Some(pipe) = pipe {
            pipe.ways[node].clear();
            if std::mem::take(&mut pipe.open) {
                pipe.ways[1 - node].push_back(None);
            }
        }
    }

    fn drive(&mut self, node: usize, session: usize) {
        loop {
            self.transmit(node, session);
            let Some(action) = self.nodes[node].sessions[session].poll_action() else { break };
            match action {
                Action::Dial { link, .. } => {
                    self.nodes[node].owners.insert(link, session);
                    self.nodes[node].dials.push_back(link);
                }
                Action::HangUp(link) => self.hang_up(node, link),
                Action::Arriving(key) => self.place(node, session, &key),
            }
        }
        let there = &mut self.nodes[node];
        while let Some(event) = there.sessions[session].poll_event() {
            match event {
                Event::Message(received) => there.received.push(received.message.header.tid),
                Event::Reset(_) | Event::RemoteReset => there.resets += 1,
                _ => {}
            }
        }
        if there.sessions[session].is_closed() {
            let key = there.sessions[session].key().clone();
            there.table.remove(&key, &session);
        }
    }

    fn transmit(&mut self, node: usize, session: usize) {
        while let Some(link) = self.nodes[node].sessions[session].link() {
            let mut out = Chunks::new();
            let result = self.nodes[node].sessions[session].poll_transmit(self.now, link, &mut out);
            if result.is_err() || out.is_empty() {
                return;
            }
            let bytes = out.copy_to_bytes(out.remaining()).to_vec();
            if let Some(pipe) = self.pipes.iter_mut().find(|pipe| pipe.open && pipe.links[node] == link) {
                pipe.ways[1 - node].push_back(Some(bytes));
            }
        }
    }

    fn place(&mut self, node: usize, newcomer: usize, key: &AddrVec) {
        let there = &mut self.nodes[node];
        let existing = there.table.find(key).filter(|existing| *existing != newcomer);
        let placement = match existing {
            None => Session::place(&mut there.sessions[newcomer], None, self.now),
            Some(existing) => {
                let [new, old] = there.sessions.get_disjoint_mut([newcomer, existing]).unwrap();
                Session::place(new, Some(old), self.now)
            }
        };
        match placement {
            Placement::Open | Placement::Displace => {
                there.table.insert(key.clone(), newcomer);
            }
            Placement::Adopted(link) => {
                there.owners.insert(link, existing.unwrap());
            }
            Placement::Answered | Placement::Dropped => {}
        }
        if let Some(existing) = existing {
            self.drive(node, existing);
        }
    }

    /// What holds at any time; and, if nothing will happen of itself any more, what holds then.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (n, node) in self.nodes.iter().enumerate() {
            let sent = &self.nodes[1 - n].sent;
            if !sent.starts_with(&node.received) {
                return Err(format!("node {n} received {:?} of {sent:?}", node.received));
            }
            // In v1 a side with resetcheck cannot know whether a peer that begins anew has lost its state.
            let unsure = self.version == Version::V1 && self.policies.iter().any(|policy| policy.resetcheck);
            if node.resets > 0 && !unsure {
                return Err(format!("node {n} is told of a reset, and nobody lost anything"));
            }
        }
        if !self.pending().is_empty() {
            return Ok(());
        }
        for (n, node) in self.nodes.iter().enumerate() {
            for session in &node.sessions {
                if !(session.is_open() || session.is_standby() || session.is_closed()) {
                    return Err(format!("a session of node {n} waits for ever: {session:#?}"));
                }
            }
            let waits = |session: &Session| session.is_standby() && session.policy().server;
            let excused = node.resets > 0 || node.sessions.iter().any(waits);
            let received = &self.nodes[1 - n].received;
            if *received != node.sent && !excused {
                return Err(format!("{received:?} of node {n}'s {:?} arrived", node.sent));
            }
        }
        Ok(())
    }

    /// A number that is the same for states in which the same will happen: links and times are renamed, counters of
    /// statistics and sessions that have ended are left out.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut text = format!("{} {} {}", self.sends, self.cuts, self.early);
        for (n, node) in self.nodes.iter().enumerate() {
            let _ = write!(text, "|{:?} {:?} {}", node.sent, node.received, node.resets);
            let registered = node.table.find(&addr(1 - n, self.version).into());
            let mut global_seq = String::new();
            for (s, session) in node.sessions.iter().enumerate().filter(|(_, session)| !session.is_closed()) {
                let (canonical, local) = canonical(&format!("{session:?}"));
                global_seq = local;
                let pipe = self.pipes.iter().filter(|pipe| !is_over(pipe));
                let pipe = pipe.take_while(|pipe| session.link() != Some(pipe.links[n])).count();
                let _ = write!(text, "{} {pipe} {canonical}", registered == Some(s));
            }
            let _ = write!(text, "{global_seq} {}", node.dials.len());
        }
        for pipe in self.pipes.iter().filter(|pipe| !is_over(pipe)) {
            let owned = |n: usize| self.nodes[n].owners.contains_key(&pipe.links[n]);
            let _ = write!(text, "|{} {} {} {:?}", pipe.open, owned(0), owned(1), pipe.ways);
        }
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    }
}

fn is_over(pipe: &Pipe) -> bool {
    !pipe.open && pipe.ways.iter().all(VecDeque::is_empty)
}

fn addr(n: usize, version: Version) -> EntityAddr {
    let kind = if version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
    EntityAddr::new(kind, ([127, 0, 0, 1], 6800 + n as u16).into(), 7 + n as u32)
}

/// A session's `Debug` form without what makes no difference; and its messenger's last global_seq.
fn canonical(debug: &str) -> (String, String) {
    let (mut out, mut global_seq) = (String::new(), String::new());
    let mut rest = debug;
    while let Some(at) = rest.find([' ', '(']) {
        let (head, tail) = rest.split_at(at + 1);
        out.push_str(head);
        rest = tail;
        for start in ["Instant {", "LinkId(", "Stats {", "Local {"] {
            let Some(tail) = rest.strip_prefix(start) else { continue };
            let (skipped, after) = skip(tail);
            if start == "Local {" {
                let from = skipped.find("global_seq: ").map(|at| &skipped[at..]).unwrap_or_default();
                global_seq = from.split(',').next().unwrap_or_default().to_owned();
            }
            rest = after;
        }
    }
    out.push_str(rest);
    (out, global_seq)
}

/// Up to the bracket that closes the one before, and what comes then.
fn skip(text: &str) -> (&str, &str) {
    let mut depth = 1;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return text.split_at(at + 1);
        }
    }
    (text, "")
}
