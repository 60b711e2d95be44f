//! Two sessions and the bytes between them.

use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use cephwire_protocol::auth::{Auth, Modes};
use cephwire_protocol::codec::{AddrVec, Chunks, EntityAddr, EntityName, Message, Timestamp};
use cephwire_protocol::{
    Action, Error, Event, LinkId, Local, Options, Placement, Policies, Policy, Received, Session, Version,
};

/// When everything happens, unless it happens later.
pub(crate) const NOW: Timestamp = Timestamp { sec: 1_700_000_000, nsec: 0 };

pub(crate) const VERSIONS: [Version; 2] = [Version::V1, Version::V2];

/// A process.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: EntityName,
    pub(crate) auth: Arc<dyn Auth>,
    pub(crate) modes: Modes,
    pub(crate) now: Timestamp,
    pub(crate) policy: Policy,
}

impl Node {
    pub(crate) fn new(name: &str, auth: Arc<dyn Auth>) -> Self {
        let (modes, policy) = (Modes::default(), Policy::lossy_client());
        Self { name: name.parse().unwrap(), auth, modes, now: NOW, policy }
    }

    pub(crate) fn modes(mut self, modes: &[u32]) -> Self {
        self.modes = Modes::all(modes);
        self
    }

    fn local(&self, addrs: AddrVec, policy: Policy) -> Arc<Local> {
        let options = Options::default().with(|options| options.modes = self.modes.clone());
        let auth = Arc::clone(&self.auth);
        let local = Local::new(self.name, addrs, 1, 5, Policies::all(policy), auth, options);
        local.set_wall_clock(self.now);
        local
    }
}

/// One end.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) session: Session,
    link: LinkId,
    pub(crate) received: Vec<Received>,
    /// Why it failed, or ended.
    pub(crate) error: Option<Error>,
    hung_up: bool,
}

/// What somebody in between does to the bytes: of whom, and what.
pub(crate) type Tap<'a> = dyn FnMut(bool, Vec<u8>) -> Vec<u8> + 'a;

/// A dialed and an accepted session.
#[derive(Debug)]
pub(crate) struct Pair {
    now: Instant,
    pub(crate) dialer: End,
    pub(crate) acceptor: End,
}

impl Pair {
    /// One attempt to connect, until nothing moves.
    pub(crate) fn new(version: Version, dialer: &Node, acceptor: &Node) -> Self {
        Self::tapped(version, dialer, acceptor, &mut |_, bytes| bytes)
    }

    /// The same with somebody in between.
    pub(crate) fn tapped(version: Version, dialer: &Node, acceptor: &Node, tap: &mut Tap<'_>) -> Self {
        let now = Instant::now();
        let text = if version == Version::V1 { "v1:10.0.0.1:6800/1" } else { "v2:10.0.0.1:6800/1" };
        let addr: EntityAddr = text.parse().unwrap();
        let accepting = acceptor.local(addr.into(), Policy::stateless_server());
        let dialing = dialer.local(AddrVec::default(), dialer.policy.clone());
        let mut session = Session::outgoing(dialing, acceptor.name.kind, addr.into(), now);
        let Some(Action::Dial { link, .. }) = session.poll_action() else { panic!() };
        session.handle_dialed(now, link, Ok(())).unwrap();
        let end = |session, link| End { session, link, received: Vec::new(), error: None, hung_up: false };
        let dialer = end(session, link);
        let (session, link) =
            Session::incoming(accepting, "10.0.0.2:40000".parse().unwrap(), version, now).unwrap();
        let mut this = Self { now, dialer, acceptor: end(session, link) };
        this.run(tap);
        this
    }

    /// Carries bytes until nothing moves.
    pub(crate) fn run(&mut self, tap: &mut Tap<'_>) {
        loop {
            let mut moved =
                carry(&mut self.dialer, &mut self.acceptor, self.now, &mut |bytes| tap(true, bytes));
            moved |= carry(&mut self.acceptor, &mut self.dialer, self.now, &mut |bytes| tap(false, bytes));
            moved |= self.dialer.act(self.now) | self.acceptor.act(self.now);
            for (end, other) in [(0, 1), (1, 0)] {
                let ends = [&mut self.dialer, &mut self.acceptor];
                if ends[end].hung_up && !ends[other].hung_up {
                    let other = if other == 0 { &mut self.dialer } else { &mut self.acceptor };
                    let _ = other.session.handle_eof(self.now, other.link);
                    other.hung_up = true;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
    }

    /// Sends a message from one end; what the other one then has received.
    pub(crate) fn send(&mut self, from_dialer: bool, message: Message) -> Vec<Received> {
        let from = if from_dialer { &mut self.dialer } else { &mut self.acceptor };
        let _ = from.session.send(message);
        self.run(&mut |_, bytes| bytes);
        let to = if from_dialer { &mut self.acceptor } else { &mut self.dialer };
        std::mem::take(&mut to.received)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.dialer.session.is_open() && self.acceptor.session.is_open()
    }

    #[track_caller]
    pub(crate) fn expect_open(&self) {
        assert!(self.is_open(), "{:?}\n{:?}", self.dialer.error, self.acceptor.error);
    }
}

fn carry(from: &mut End, to: &mut End, now: Instant, tap: &mut dyn FnMut(Vec<u8>) -> Vec<u8>) -> bool {
    let mut out = Chunks::new();
    if from.hung_up || from.session.poll_transmit(now, from.link, &mut out).is_err() || !out.has_remaining() {
        return false;
    }
    let bytes = tap(out.copy_to_bytes(out.remaining()).to_vec());
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let Ok(Some(mut buf)) = to.session.recv_buf(to.link) else { break };
        let len = buf.capacity().min(rest.len());
        buf.extend_from_slice(&rest[..len]);
        let _ = to.session.handle_recv(now, to.link, buf);
        rest = &rest[len..];
    }
    true
}

impl End {
    fn act(&mut self, now: Instant) -> bool {
        let mut acted = false;
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::HangUp(link) if link == self.link => self.hung_up = true,
                Action::Arriving(_) => {
                    assert_eq!(Session::place(&mut self.session, None, now), Placement::Open);
                }
                // It would try again.
                _ => {}
            }
            acted = true;
        }
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Message(received) => self.received.push(received),
                Event::Trouble(error) | Event::Rejected(error) | Event::Reset(Some(error)) => {
                    self.error = Some(error);
                }
                _ => {}
            }
        }
        acted
    }
}
