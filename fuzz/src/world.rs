//! What moves two sides that talk to each other?
//!
//! A driver for both without any I/O: queues of bytes for pipes, a clock that stands still until it is told.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bytes::{Buf, Bytes};
use cephwire_protocol::codec::v2::Revision;
use cephwire_protocol::codec::{AddrVec, Chunks, EntityAddr, Header, Message, Payload};
use cephwire_protocol::{Action, Event, LinkId, Local, Messenger, Placement, Received, Session, Version};

use crate::parties::{Parties, addr};

/// More actions than this after one operation is a storm.
const STORM: usize = 10_000;
/// So many bytes of messages and lent memory may an input ask for.
const BUDGET: usize = 1 << 20;
/// So much of what was said on a pipe may be said again.
const SAID: usize = 4 << 10;

/// What payloads are made of: one that begins elsewhere differs soon.
static PATTERN: LazyLock<Vec<u8>> =
    LazyLock::new(|| (0..80_000u32).map(|n| (n ^ n >> 5 ^ n >> 9) as u8).collect());

pub(crate) struct Side {
    pub(crate) local: Arc<Local>,
    pub(crate) table: Messenger<usize>,
    pub(crate) sessions: Vec<Session>,
    /// What the application knows of each session.
    pub(crate) known: Vec<Known>,
    pub(crate) dials: VecDeque<(usize, LinkId, EntityAddr)>,
    /// Its application takes its messages at once.
    reads: bool,
    /// Those that it did not take yet.
    held: Vec<Received>,
}

/// What was heard of a session.
#[derive(Default)]
pub(crate) struct Known {
    /// The last message that it delivered.
    tid: u64,
    /// The application was told of it.
    opened: bool,
    ended: bool,
}

/// A transport: the two links' owners are found by asking the sessions.
pub(crate) struct Pipe {
    pub(crate) links: [LinkId; 2],
    pub(crate) ways: [VecDeque<u8>; 2],
    said: [Vec<u8>; 2],
    pub(crate) open: bool,
}

pub(crate) struct World {
    pub(crate) parties: Parties,
    pub(crate) sides: [Side; 2],
    pub(crate) pipes: Vec<Pipe>,
    pub(crate) now: Instant,
    /// The lengths of each message that was sent: front, middle, data.
    sent: Vec<[usize; 3]>,
    budget: usize,
    /// Nobody but the two has spoken.
    pub(crate) honest: bool,
}

impl World {
    pub(crate) fn new(parties: Parties) -> Self {
        let sides = parties.locals.clone().map(|local| Side {
            local,
            table: Messenger::new(),
            sessions: Vec::new(),
            known: Vec::new(),
            dials: VecDeque::new(),
            reads: true,
            held: Vec::new(),
        });
        let (now, budget) = (Instant::now(), BUDGET);
        Self { parties, sides, pipes: Vec::new(), now, sent: Vec::new(), budget, honest: true }
    }

    pub(crate) fn version(&self) -> Version {
        self.parties.version
    }

    pub(crate) fn revision(&self) -> Revision {
        self.parties.revision
    }

    pub(crate) fn last_pipe(&self) -> usize {
        self.pipes.len().saturating_sub(1)
    }

    pub(crate) fn last_tid(&self) -> u64 {
        self.sent.len() as u64
    }

    /// As much of `size` as is left for this input.
    pub(crate) fn afford(&mut self, size: usize) -> usize {
        let size = size.min(self.budget);
        self.budget -= size;
        size
    }

    /// Does something with a session.
    pub(crate) fn with(&mut self, side: usize, which: usize, what: impl FnOnce(&mut Session)) {
        let count = self.sides[side].sessions.len();
        if count > 0 {
            what(&mut self.sides[side].sessions[which % count]);
            self.drive(side, which % count);
            self.unpause();
        }
    }

    fn push(&mut self, side: usize, session: Session) -> usize {
        let there = &mut self.sides[side];
        there.sessions.push(session);
        there.known.push(Known::default());
        there.sessions.len() - 1
    }

    /// A message of these sizes to the other side.
    pub(crate) fn send(&mut self, side: usize, [small, large]: [u8; 2]) {
        let key: AddrVec = addr(1 - side, self.version()).into();
        let there = &self.sides[side];
        let known = if side == 1 && self.parties.one_way {
            // Nobody dials a client: it is answered where it came.
            let known = |n: &usize| there.known[*n].opened && !there.sessions[*n].is_closed();
            (0..there.sessions.len()).rev().find(known)
        } else {
            there.table.find(&key)
        };
        let session = match known {
            Some(session) => session,
            None if side == 1 && self.parties.one_way => return,
            None => {
                let (local, kind) = (Arc::clone(&there.local), self.sides[1 - side].local.name().kind);
                let session = self.push(side, Session::outgoing(local, kind, key.clone(), self.now));
                self.sides[side].table.insert(key, session);
                session
            }
        };
        let size = usize::from(large & 63);
        let data = [0, size, 200 + size * 50, size * 1100][usize::from(large >> 6)];
        let middle = if small % 8 == 7 { 40 } else { 0 };
        let lens = [usize::from(small), middle, data].map(|len| self.afford(len));
        self.sent.push(lens);
        let tid = self.last_tid();
        let [front, middle, data] = lens.map(|len| payload(tid, len));
        let header = Header { tid, data_off: u16::from(large) * 7, ..Header::default() };
        let _ = self.sides[side].sessions[session].send(Message { header, front, middle, data });
        self.drive(side, session);
    }

    /// The dial that waits longest has an outcome: there is only one place where somebody listens.
    pub(crate) fn dialed(&mut self, side: usize) {
        let Some((session, link, to)) = self.sides[side].dials.pop_front() else { return };
        let accepts = self.sides[1 - side].local.addrs().0.contains(&to);
        let outcome = if accepts { Ok(()) } else { Err(std::io::ErrorKind::ConnectionRefused) };
        let dialed = self.sides[side].sessions[session].handle_dialed(self.now, link, outcome);
        if dialed.is_ok() && accepts {
            let local = Arc::clone(&self.sides[1 - side].local);
            let from = ([127, 0, 0, 1], 40000).into();
            let incoming = Session::incoming(local, from, self.version(), self.now);
            let (incoming, accepted) = incoming.expect("accepted");
            let index = self.push(1 - side, incoming);
            let links = if side == 0 { [link, accepted] } else { [accepted, link] };
            self.pipes.push(Pipe { links, ways: Default::default(), said: Default::default(), open: true });
            self.drive(1 - side, index);
        }
        self.drive(side, session);
    }

    /// Bytes arrive, as many as the other side reads.
    pub(crate) fn deliver(&mut self, pipe: usize, to: usize, most: usize) -> bool {
        let Some(there) = self.pipes.get_mut(pipe) else { return false };
        let count = most.min(there.ways[to].len());
        let bytes: Vec<u8> = there.ways[to].drain(..count).collect();
        let left = self.arrive(pipe, to, &bytes);
        let there = &mut self.pipes[pipe];
        if there.open {
            bytes[bytes.len() - left..].iter().rev().for_each(|byte| there.ways[to].push_front(*byte));
        }
        left < count
    }

    /// A stranger's bytes arrive first.
    pub(crate) fn inject(&mut self, pipe: usize, to: usize, bytes: &[u8]) {
        self.honest &= bytes.is_empty();
        self.arrive(pipe, to, bytes);
    }

    /// What was said at the beginning of a pipe arrives on another one.
    pub(crate) fn replay(&mut self, from: usize, pipe: usize, to: usize) {
        let Some(said) = self.pipes.get(from).map(|pipe| pipe.said[to].clone()) else { return };
        self.inject(pipe, to, &said);
    }

    /// A byte on its way changes.
    pub(crate) fn damage(&mut self, pipe: usize, to: usize, at: u8, mask: u8) {
        let Some(way) = self.pipes.get_mut(pipe).map(|pipe| &mut pipe.ways[to]) else { return };
        let len = way.len().max(1);
        if let Some(byte) = way.get_mut(usize::from(at) % len) {
            *byte ^= mask;
            self.honest = false;
        }
    }

    pub(crate) fn owner(&self, side: usize, link: LinkId) -> Option<usize> {
        self.sides[side].sessions.iter().position(|session| session.link() == Some(link))
    }

    /// How many bytes are left, as reading pauses.
    fn arrive(&mut self, pipe: usize, to: usize, mut bytes: &[u8]) -> usize {
        let Some(link) = self.pipes.get(pipe).map(|pipe| pipe.links[to]) else { return 0 };
        while !bytes.is_empty() {
            let Some(session) = self.owner(to, link) else { return 0 };
            let Ok(buf) = self.sides[to].sessions[session].recv_buf(link) else { return 0 };
            let Some(mut buf) = buf else { return bytes.len() };
            let len = buf.capacity().min(bytes.len());
            assert!(len > 0, "a buffer without room");
            buf.extend_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            let _ = self.sides[to].sessions[session].handle_recv(self.now, link, buf);
            self.drive(to, session);
            self.unpause();
        }
        0
    }

    pub(crate) fn cut(&mut self, pipe: usize) {
        let Some(pipe) = self.pipes.get_mut(pipe) else { return };
        pipe.open = false;
        pipe.ways = Default::default();
        let links = pipe.links;
        for (side, link) in links.into_iter().enumerate() {
            if let Some(session) = self.owner(side, link) {
                let _ = self.sides[side].sessions[session].handle_eof(self.now, link);
                self.drive(side, session);
            }
        }
        self.unpause();
    }

    /// The timer that is due first.
    pub(crate) fn time(&mut self) {
        let timers = self.sides.iter().enumerate().flat_map(|(side, there)| {
            let timers = there.sessions.iter().enumerate();
            timers.filter_map(move |(session, state)| Some((state.poll_timeout()?, side, session)))
        });
        if let Some((due, side, session)) = timers.min() {
            self.now = self.now.max(due);
            self.sides[side].sessions[session].handle_timeout(self.now);
            self.drive(side, session);
            self.unpause();
        }
    }

    /// An application begins, or stops, to take its messages.
    pub(crate) fn reads(&mut self, side: usize, reads: bool) {
        self.sides[side].reads = reads;
        if reads {
            self.sides[side].held.clear();
            self.unpause();
        }
    }

    /// Who waits for a throttle goes on, if it has room.
    fn unpause(&mut self) {
        for _ in 0..STORM {
            let found = (0..2).find_map(|side| {
                let mut sessions = self.sides[side].sessions.iter();
                Some((side, sessions.position(Session::is_unpausable)?))
            });
            let Some((side, session)) = found else { return };
            self.sides[side].sessions[session].handle_unpaused(self.now);
            self.drive(side, session);
        }
        panic!("a session goes on without end");
    }

    pub(crate) fn drive(&mut self, side: usize, session: usize) {
        for _ in 0..STORM {
            self.transmit(side, session);
            match self.sides[side].sessions[session].poll_action() {
                Some(Action::Dial { link, to, .. }) => self.sides[side].dials.push_back((session, link, to)),
                Some(Action::HangUp(link)) => {
                    self.sides[side].dials.retain(|(_, dial, _)| *dial != link);
                    if let Some(pipe) =
                        self.pipes.iter().position(|pipe| pipe.open && pipe.links[side] == link)
                    {
                        self.cut(pipe);
                    }
                }
                Some(Action::Arriving(key)) => self.place(side, session, &key),
                None => break,
            }
        }
        assert!(self.sides[side].sessions[session].poll_action().is_none(), "actions without end");
        while let Some(event) = self.sides[side].sessions[session].poll_event() {
            self.event(side, session, event);
        }
        let there = &mut self.sides[side];
        if there.sessions[session].is_closed() {
            let key = there.sessions[session].key().clone();
            there.table.remove(&key, &session);
        }
    }

    fn event(&mut self, side: usize, session: usize, event: Event) {
        let there = &mut self.sides[side];
        let known = &mut there.known[session];
        assert!(!known.ended, "{event:?} after the end");
        match event {
            Event::Message(received) => {
                let Message { header, front, middle, data } = &received.message;
                if self.honest {
                    assert!(header.tid > known.tid, "{} after {}", header.tid, known.tid);
                    known.tid = header.tid;
                    let lens = self.sent[header.tid as usize - 1];
                    for (part, len) in [front, middle, data].into_iter().zip(lens) {
                        let sent = payload(header.tid, len);
                        assert!(*part == sent, "message {} is not what was sent", header.tid);
                    }
                }
                if !there.reads && there.held.len() < 64 {
                    there.held.push(received);
                }
            }
            Event::Open { .. } => known.opened = true,
            Event::Reset(_) | Event::Rejected(_) => known.ended = true,
            _ => {}
        }
    }

    fn transmit(&mut self, side: usize, session: usize) {
        for _ in 0..STORM {
            let Some(link) = self.sides[side].sessions[session].link() else { return };
            let mut out = Chunks::new();
            let result = self.sides[side].sessions[session].poll_transmit(self.now, link, &mut out);
            if result.is_err() || out.is_empty() {
                return;
            }
            let bytes = out.copy_to_bytes(out.remaining());
            if let Some(pipe) = self.pipes.iter_mut().find(|pipe| pipe.open && pipe.links[side] == link) {
                let said = &mut pipe.said[1 - side];
                said.extend(&bytes[..bytes.len().min(SAID.saturating_sub(said.len()))]);
                pipe.ways[1 - side].extend(bytes);
                assert!(pipe.ways[1 - side].len() < 4 << 20, "too much is said");
            }
        }
        panic!("a session speaks without end");
    }

    fn place(&mut self, side: usize, newcomer: usize, key: &AddrVec) {
        let there = &mut self.sides[side];
        let existing = there.table.find(key).filter(|existing| *existing != newcomer);
        let placement = match existing.map(|existing| there.sessions.get_disjoint_mut([newcomer, existing])) {
            Some(Ok([new, old])) => Session::place(new, Some(old), self.now),
            _ => Session::place(&mut there.sessions[newcomer], None, self.now),
        };
        if matches!(placement, Placement::Open | Placement::Displace) {
            there.table.insert(key.clone(), newcomer);
        }
        if let Some(existing) = existing {
            self.drive(side, existing);
        }
    }
}

fn payload(tid: u64, len: usize) -> Payload {
    let from = tid as usize % 97;
    Bytes::copy_from_slice(&PATTERN[from..from + len]).into()
}
