//! What must hold for two sessions, whatever their users, their network and strangers do?
//!
//! Operations are bytes of the input: each says what happens next. Nothing may panic, hang or grow without
//! bound; once the input ends, both sides come to rest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use bytes::Buf;
use cephwire_protocol::auth::AllowAll;
use cephwire_protocol::codec::{
    AddrType, AddrVec, Chunks, EntityAddr, EntityName, EntityType, Header, Message, v1, v2,
};
use cephwire_protocol::{
    Action, LinkId, Local, Messenger, Options, Placement, Policies, Policy, Session, Version,
};

/// More actions than this after one operation is a storm.
const STORM: usize = 10_000;

struct Side {
    local: Arc<Local>,
    table: Messenger<usize>,
    sessions: Vec<Session>,
    dials: VecDeque<(usize, LinkId)>,
}

/// A transport: the two links' owners are found by asking the sessions.
struct Pipe {
    links: [LinkId; 2],
    ways: [VecDeque<u8>; 2],
    open: bool,
}

struct World {
    sides: [Side; 2],
    pipes: Vec<Pipe>,
    version: Version,
    now: Instant,
    tid: u64,
}

/// See the table of the crate.
pub fn session_ops(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok([version, a, b]) = u.arbitrary::<[u8; 3]>() else { return };
    let version = if version % 2 == 0 { Version::V1 } else { Version::V2 };
    let mut world = World::new(version, [policy(a), policy(b)]);
    while !u.is_empty() && world.run(&mut u).is_ok() {}
    world.rest();
}

/// A stranger's bytes, as they are or as frames of arbitrary fields, to either side of v1.
pub fn handshake_v1(data: &[u8]) {
    handshake(data, Version::V1);
}

/// The same for v2.
pub fn handshake_v2(data: &[u8]) {
    handshake(data, Version::V2);
}

fn handshake(data: &[u8], version: Version) {
    let mut u = Unstructured::new(data);
    let Ok([a, how, steps]) = u.arbitrary::<[u8; 3]>() else { return };
    let mut world = World::new(version, [policy(a), policy(a.rotate_left(4))]);
    world.send(0);
    world.dialed(0);
    // As far as both sides get by themselves in so many steps; then one of them is somebody else.
    for _ in 0..steps % 16 {
        world.deliver(0, 0, usize::MAX);
        world.deliver(0, 1, usize::MAX);
    }
    let to = usize::from(how & 1);
    let mut frames = 0;
    while !u.is_empty() && frames < 200 {
        let bytes = if how & 2 == 0 { u.bytes(u.len()).map(<[u8]>::to_vec) } else { frame(&mut u, version) };
        let Ok(bytes) = bytes else { break };
        world.inject(0, to, &bytes);
        if how & 4 > 0 {
            world.deliver(0, 1 - to, usize::MAX);
        }
        frames += 1;
    }
    world.rest();
}

/// A frame of arbitrary fields.
fn frame(u: &mut Unstructured<'_>, version: Version) -> Result<Vec<u8>> {
    let mut out = Chunks::new();
    match version {
        Version::V1 => {
            let _ = v1::Encoder::default().encode(&u.arbitrary::<v1::Frame>()?, &mut out);
        }
        Version::V2 => {
            let mut encoder = v2::Encoder::default();
            encoder.set_revision(v2::Revision::V2_1);
            let _ = encoder.encode(&u.arbitrary::<v2::Frame>()?, &mut out);
        }
    }
    Ok(out.copy_to_bytes(out.remaining()).to_vec())
}

fn policy(which: u8) -> Policy {
    match which % 7 {
        0 => Policy::lossless_peer(),
        1 => Policy::lossless_client(),
        2 => Policy::stateful_server(),
        3 => Policy::lossless_peer_reuse(),
        4 => Policy::lossy_client(),
        5 => Policy::stateless_server(),
        _ => Policy::stateless_registered_server(),
    }
}

impl World {
    fn new(version: Version, policies: [Policy; 2]) -> Self {
        let mut n = 0;
        let sides = policies.map(|policy| {
            let name = EntityName::new(EntityType::OSD, n);
            let addr = addr(n as usize, version);
            let auth = Arc::new(AllowAll { name });
            let (policies, options) = (Policies::all(policy), Options::default());
            let local = Local::new(name, addr.into(), addr.nonce, n as u64, policies, auth, options);
            n += 1;
            Side { local, table: Messenger::new(), sessions: Vec::new(), dials: VecDeque::new() }
        });
        Self { sides, pipes: Vec::new(), version, now: Instant::now(), tid: 0 }
    }

    fn run(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let [op, n]: [u8; 2] = u.arbitrary()?;
        let side = usize::from(n & 1);
        let which = usize::from(n >> 1);
        let pipe = which % self.pipes.len().max(1);
        match op % 12 {
            0 => self.send(side),
            1 => self.dialed(side),
            2 => self.deliver(pipe, side, usize::MAX),
            3 => self.deliver(pipe, side, usize::from(op / 12) + 1),
            4 => self.cut(pipe),
            5 => {
                let count = usize::from(u.arbitrary::<u8>()?).min(u.len());
                let bytes = u.bytes(count)?.to_vec();
                self.inject(pipe, side, &bytes);
            }
            6 => {
                let bytes = frame(u, self.version)?;
                self.inject(pipe, side, &bytes);
            }
            7 => self.time(),
            8 => self.with(side, which, Session::keepalive),
            9 => self.with(side, which, |session| session.close(op > 99)),
            10 => self.with(side, which, |session| session.post(which as u64, Default::default())),
            _ => self.with(side, which, Session::mark_disposable),
        }
        Ok(())
    }

    fn with(&mut self, side: usize, which: usize, what: impl FnOnce(&mut Session)) {
        let count = self.sides[side].sessions.len();
        if count > 0 {
            what(&mut self.sides[side].sessions[which % count]);
            self.drive(side, which % count);
        }
    }

    fn send(&mut self, side: usize) {
        let key: AddrVec = addr(1 - side, self.version).into();
        let there = &mut self.sides[side];
        let session = there.table.find(&key).unwrap_or_else(|| {
            let local = Arc::clone(&there.local);
            there.sessions.push(Session::outgoing(local, EntityType::OSD, key.clone(), self.now));
            there.table.insert(key, there.sessions.len() - 1);
            there.sessions.len() - 1
        });
        self.tid += 1;
        let header = Header { tid: self.tid, ..Header::default() };
        let _ = there.sessions[session].send(Message { header, ..Message::default() });
        self.drive(side, session);
    }

    fn dialed(&mut self, side: usize) {
        let Some((session, link)) = self.sides[side].dials.pop_front() else { return };
        if self.sides[side].sessions[session].handle_dialed(self.now, link, Ok(())).is_err() {
            return;
        }
        let other = &mut self.sides[1 - side];
        let from = ([127, 0, 0, 1], 40000).into();
        let incoming = Session::incoming(Arc::clone(&other.local), from, self.version, self.now);
        let (incoming, accepted) = incoming.expect("accepted");
        other.sessions.push(incoming);
        let index = other.sessions.len() - 1;
        let links = if side == 0 { [link, accepted] } else { [accepted, link] };
        self.pipes.push(Pipe { links, ways: Default::default(), open: true });
        self.drive(side, session);
        self.drive(1 - side, index);
    }

    fn deliver(&mut self, pipe: usize, to: usize, most: usize) {
        let Some(pipe_there) = self.pipes.get_mut(pipe) else { return };
        let count = most.min(pipe_there.ways[to].len());
        let bytes: Vec<u8> = pipe_there.ways[to].drain(..count).collect();
        self.inject(pipe, to, &bytes);
    }

    fn owner(&self, side: usize, link: LinkId) -> Option<usize> {
        self.sides[side].sessions.iter().position(|session| session.link() == Some(link))
    }

    fn inject(&mut self, pipe: usize, to: usize, mut bytes: &[u8]) {
        let Some(link) = self.pipes.get(pipe).map(|pipe| pipe.links[to]) else { return };
        while !bytes.is_empty() {
            let Some(session) = self.owner(to, link) else { return };
            let Ok(Some(mut buf)) = self.sides[to].sessions[session].recv_buf(link) else { return };
            let len = buf.capacity().min(bytes.len());
            assert!(len > 0, "a buffer without room");
            buf.extend_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            let _ = self.sides[to].sessions[session].handle_recv(self.now, link, buf);
            self.drive(to, session);
        }
    }

    fn cut(&mut self, pipe: usize) {
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
    }

    /// The timer that is due first.
    fn time(&mut self) {
        let timers = self.sides.iter().enumerate().flat_map(|(side, there)| {
            let timers = there.sessions.iter().enumerate();
            timers.filter_map(move |(session, state)| Some((state.poll_timeout()?, side, session)))
        });
        if let Some((due, side, session)) = timers.min() {
            self.now = self.now.max(due);
            self.sides[side].sessions[session].handle_timeout(self.now);
            self.drive(side, session);
        }
    }

    fn drive(&mut self, side: usize, session: usize) {
        for _ in 0..STORM {
            self.transmit(side, session);
            match self.sides[side].sessions[session].poll_action() {
                Some(Action::Dial { link, .. }) => self.sides[side].dials.push_back((session, link)),
                Some(Action::HangUp(link)) => {
                    self.sides[side].dials.retain(|(_, dial)| *dial != link);
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
        let there = &mut self.sides[side].sessions[session];
        assert!(there.poll_action().is_none(), "actions without end");
        while there.poll_event().is_some() {}
        if there.is_closed() {
            let key = there.key().clone();
            self.sides[side].table.remove(&key, &session);
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

    /// Everything arrives, dials connect, and time passes where nothing else happens.
    fn rest(&mut self) {
        for _ in 0..300 {
            let busy = self.pipes.iter().any(|pipe| pipe.ways.iter().any(|way| !way.is_empty()));
            for pipe in 0..self.pipes.len() {
                self.deliver(pipe, 0, usize::MAX);
                self.deliver(pipe, 1, usize::MAX);
            }
            let dials = self.sides.iter().any(|side| !side.dials.is_empty());
            self.dialed(0);
            self.dialed(1);
            if !busy && !dials {
                let rests =
                    |session: &Session| session.is_open() || session.is_standby() || session.is_closed();
                if self.sides.iter().all(|side| side.sessions.iter().all(rests)) {
                    break;
                }
                self.time();
            }
        }
        self.now += Duration::from_secs(1);
        for side in &self.sides {
            assert!(side.sessions.len() < 4000, "sessions without end");
        }
    }
}

fn addr(n: usize, version: Version) -> EntityAddr {
    let kind = if version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
    EntityAddr::new(kind, ([127, 0, 0, 1], 6800 + n as u16).into(), 7 + n as u32)
}
