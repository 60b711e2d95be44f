//! A host with real sessions, virtual time, and a peer that a test plays frame by frame.
//!
//! [`Host`] does what a driver does: it owns the sessions and their table, carries out their actions, and moves
//! bytes. A [`Script`] is the far end of one of its connections, with a codec of its own. Nothing happens by itself:
//! time passes in [`Host::advance`], dials are answered by [`Host::dialed`] or [`Host::refuse`].
//!
//! ```text
//! let host = Host::new(Setup::default());
//! let session = host.dial(EntityType::OSD, "v2:10.0.0.2:6800/2");
//! let mut peer = host.dialed::<V2>();
//! assert!(matches!(peer.expect(), Frame::Banner(_)));
//! peer.send(&Frame::Banner(banner));
//! ```

#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

pub(crate) mod auth;
pub(crate) mod outcome;
pub(crate) mod v2;

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Buf;
use cephwire_protocol::auth::{AllowAll, Auth};
use cephwire_protocol::codec::{
    AddrVec, Chunks, EntityAddr, EntityName, EntityType, Header, Message, MessageType, v1 as codec1,
    v2 as codec2,
};
use cephwire_protocol::{
    Action, Event, LinkId, Local, Messenger, Options, Placement, Policies, Policy, Session, Version,
};

/// One version of the protocol, as a script speaks it.
pub(crate) trait Dialect {
    const VERSION: Version;
    type Frame: Debug + PartialEq;
    fn new() -> Self;
    fn encode(&mut self, frame: &Self::Frame) -> Vec<u8>;
    fn feed(&mut self, bytes: &[u8]);
    fn decode(&mut self) -> Option<Self::Frame>;
}

/// v1: the test says with `decoder.expect` what comes next, and sets the framing of both.
#[derive(Debug)]
pub(crate) struct V1 {
    pub(crate) decoder: codec1::Decoder,
    pub(crate) encoder: codec1::Encoder,
}

/// v2: the test sets revision, keys and compression of both.
#[derive(Debug)]
pub(crate) struct V2 {
    pub(crate) decoder: codec2::Decoder,
    pub(crate) encoder: codec2::Encoder,
}

impl Dialect for V1 {
    const VERSION: Version = Version::V1;
    type Frame = codec1::Frame;

    fn new() -> Self {
        Self { decoder: codec1::Decoder::new(), encoder: codec1::Encoder::new() }
    }

    fn encode(&mut self, frame: &codec1::Frame) -> Vec<u8> {
        let mut out = Chunks::new();
        self.encoder.encode(frame, &mut out).expect("encodable");
        out.copy_to_bytes(out.remaining()).to_vec()
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    fn decode(&mut self) -> Option<codec1::Frame> {
        self.decoder.next_frame().expect("well-formed")
    }
}

impl Dialect for V2 {
    const VERSION: Version = Version::V2;
    type Frame = codec2::Frame;

    fn new() -> Self {
        Self { decoder: codec2::Decoder::new(), encoder: codec2::Encoder::new() }
    }

    fn encode(&mut self, frame: &codec2::Frame) -> Vec<u8> {
        let mut out = Chunks::new();
        self.encoder.encode(frame, &mut out).expect("encodable");
        out.copy_to_bytes(out.remaining()).to_vec()
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    fn decode(&mut self) -> Option<codec2::Frame> {
        self.decoder.next_frame().expect("well-formed")
    }
}

/// Who the host is.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) name: EntityName,
    /// Its addresses; none if it does not listen.
    pub(crate) addrs: AddrVec,
    pub(crate) nonce: u32,
    pub(crate) policies: Policies,
    pub(crate) auth: Arc<dyn Auth>,
    pub(crate) options: Options,
}

impl Default for Setup {
    /// osd.1, with an address of each version.
    fn default() -> Self {
        let name = EntityName::new(EntityType::OSD, 1);
        Self {
            name,
            addrs: addrs("v2:10.0.0.1:6800/1,v1:10.0.0.1:6801/1"),
            nonce: 1,
            policies: Policies::all(Policy::lossless_peer()),
            auth: Arc::new(AllowAll { name }),
            options: Options::default(),
        }
    }
}

impl Setup {
    /// One policy for all peers.
    pub(crate) fn policy(policy: Policy) -> Self {
        Self { policies: Policies::all(policy), ..Self::default() }
    }
}

/// Addresses, separated by commas.
pub(crate) fn addrs(text: &str) -> AddrVec {
    AddrVec(text.split(',').filter(|part| !part.is_empty()).map(addr).collect())
}

/// One address.
pub(crate) fn addr(text: &str) -> EntityAddr {
    text.parse().expect("an address")
}

/// A message that is recognized by its tid.
pub(crate) fn message(tid: u64) -> Message {
    let header = Header { tid, kind: MessageType(70), priority: 127, ..Header::default() };
    Message { header, front: vec![tid as u8; 20].into(), ..Message::default() }
}

#[derive(Debug, Default)]
struct Pipe {
    session: Option<usize>,
    /// Bytes from the host that the script has not read yet.
    out: Vec<u8>,
    /// Bytes that the host does not read yet.
    inbound: VecDeque<u8>,
    closed: bool,
}

#[derive(Debug)]
struct State {
    now: Instant,
    local: Arc<Local>,
    table: Messenger<usize>,
    sessions: Vec<Session>,
    /// What happened to each session, not yet asked for.
    events: Vec<VecDeque<Event>>,
    pipes: BTreeMap<LinkId, Pipe>,
    dials: VecDeque<(LinkId, EntityAddr)>,
    placements: Vec<Placement>,
}

/// A messenger with its driver. Clones are the same host.
#[derive(Clone, Debug)]
pub(crate) struct Host(Rc<RefCell<State>>);

impl Host {
    pub(crate) fn new(setup: Setup) -> Self {
        let Setup { name, addrs, nonce, policies, auth, options } = setup;
        let local = Local::new(name, addrs, nonce, 7, policies, auth, options);
        Self(Rc::new(RefCell::new(State {
            now: Instant::now(),
            local,
            table: Messenger::new(),
            sessions: Vec::new(),
            events: Vec::new(),
            pipes: BTreeMap::new(),
            dials: VecDeque::new(),
            placements: Vec::new(),
        })))
    }

    fn state(&self) -> RefMut<'_, State> {
        self.0.borrow_mut()
    }

    pub(crate) fn local(&self) -> Arc<Local> {
        Arc::clone(&self.state().local)
    }

    pub(crate) fn now(&self) -> Instant {
        self.state().now
    }

    /// A new registered session with a peer of this type; it wants to dial.
    pub(crate) fn dial(&self, kind: EntityType, to: &str) -> usize {
        let mut state = self.state();
        let to = addrs(to);
        let session = Session::outgoing(Arc::clone(&state.local), kind, to.clone(), state.now);
        let index = state.add(session);
        state.table.insert(to, index);
        state.drive(index);
        index
    }

    /// The oldest dial succeeds; the script is the server.
    #[track_caller]
    pub(crate) fn dialed<D: Dialect>(&self) -> Script<D> {
        let link = {
            let mut state = self.state();
            let (link, _) = state.dials.pop_front().expect("a dial");
            let session = state.pipes[&link].session.expect("an owner");
            let now = state.now;
            state.sessions[session].handle_dialed(now, link, Ok(())).expect("wanted");
            state.drive(session);
            link
        };
        Script::new(self.clone(), link)
    }

    /// The oldest dial fails.
    #[track_caller]
    pub(crate) fn refuse(&self, kind: std::io::ErrorKind) {
        let mut state = self.state();
        let (link, _) = state.dials.pop_front().expect("a dial");
        let session = state.pipes[&link].session.expect("an owner");
        let now = state.now;
        state.sessions[session].handle_dialed(now, link, Err(kind)).expect("wanted");
        state.drive(session);
    }

    /// Where the host wants to connect to, the oldest wish first.
    pub(crate) fn dials(&self) -> Vec<EntityAddr> {
        self.state().dials.iter().map(|(_, to)| *to).collect()
    }

    /// Lets time pass until the host dials; how long that took. It must be within a minute.
    #[track_caller]
    pub(crate) fn until_dial(&self) -> Duration {
        let start = self.now();
        while self.dials().is_empty() {
            let due = self.state().next_timeout().expect("something will happen");
            assert!(due < start + Duration::from_secs(60), "no dial within a minute");
            self.advance(due - self.now());
        }
        self.now() - start
    }

    /// A connection from 10.0.0.2:40000; the script is the client.
    pub(crate) fn accept<D: Dialect>(&self) -> Script<D> {
        self.accept_from("10.0.0.2:40000")
    }

    pub(crate) fn accept_from<D: Dialect>(&self, from: &str) -> Script<D> {
        let link = {
            let mut state = self.state();
            let from = from.parse().expect("a socket address");
            let (session, link) =
                Session::incoming(Arc::clone(&state.local), from, D::VERSION, state.now).expect("accepted");
            let index = state.add(session);
            state.pipes.insert(link, Pipe { session: Some(index), ..Pipe::default() });
            state.drive(index);
            link
        };
        Script::new(self.clone(), link)
    }

    /// Lets time pass, firing timers on the way.
    pub(crate) fn advance(&self, by: Duration) {
        let mut state = self.state();
        let end = state.now + by;
        while let Some(due) = state.next_timeout().filter(|due| *due <= end) {
            state.now = state.now.max(due);
            for session in 0..state.sessions.len() {
                let now = state.now;
                state.sessions[session].handle_timeout(now);
                state.drive(session);
            }
        }
        state.now = end;
    }

    /// Does something with a session, as the application.
    pub(crate) fn with<T>(&self, session: usize, change: impl FnOnce(&mut Session) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state.sessions[session]);
        state.drive(session);
        result
    }

    /// Sends [`message`] number `tid`.
    pub(crate) fn send(&self, session: usize, tid: u64) {
        self.with(session, |session| session.send(message(tid)).expect("not closed"));
    }

    /// The session registered under these addresses.
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.state().table.find(&addrs(key))
    }

    /// Registers a session once more: a driver may not have taken it out of its table yet.
    pub(crate) fn register(&self, key: &str, session: usize) {
        self.state().table.insert(addrs(key), session);
    }

    /// How many sessions there are, ended ones included; the newest is the last.
    pub(crate) fn sessions(&self) -> usize {
        self.state().sessions.len()
    }

    /// What the application of this session was told since the last call.
    pub(crate) fn events(&self, session: usize) -> Vec<Event> {
        self.state().events[session].drain(..).collect()
    }

    /// The errors that this session's application was told of, as text, since the last call.
    pub(crate) fn errors(&self, session: usize) -> Vec<String> {
        let error = |event| match event {
            Event::Trouble(error) | Event::Rejected(error) | Event::Reset(Some(error)) => {
                Some(error.to_string())
            }
            _ => None,
        };
        self.events(session).into_iter().filter_map(error).collect()
    }

    /// The names of what this session's application was told since the last call; of messages, their tids.
    pub(crate) fn told(&self, session: usize) -> Vec<String> {
        let name = |event| match event {
            Event::Message(received) => format!("message {}", received.message.header.tid),
            Event::Open { side, .. } => format!("open {side:?}"),
            Event::Discard => "discard".to_owned(),
            Event::Reset(_) => "reset".to_owned(),
            Event::RemoteReset => "remote reset".to_owned(),
            Event::Refused => "refused".to_owned(),
            Event::Trouble(_) => "trouble".to_owned(),
            Event::Rejected(_) => "rejected".to_owned(),
            _ => "something else".to_owned(),
        };
        self.events(session).into_iter().map(name).collect()
    }

    /// What became of the newcomers so far.
    pub(crate) fn placements(&self) -> Vec<Placement> {
        std::mem::take(&mut self.state().placements)
    }
}

impl State {
    fn add(&mut self, session: Session) -> usize {
        self.sessions.push(session);
        self.events.push(VecDeque::new());
        self.sessions.len() - 1
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.sessions.iter().filter_map(Session::poll_timeout).min()
    }

    /// What a driver does after anything.
    fn drive(&mut self, session: usize) {
        loop {
            self.transmit(session);
            self.deliver(session);
            let Some(action) = self.sessions[session].poll_action() else { break };
            match action {
                Action::Dial { link, to, .. } => {
                    self.pipes.insert(link, Pipe { session: Some(session), ..Pipe::default() });
                    self.dials.push_back((link, to));
                }
                Action::HangUp(link) => {
                    self.dials.retain(|(dial, _)| *dial != link);
                    if let Some(pipe) = self.pipes.get_mut(&link) {
                        pipe.closed = true;
                        pipe.session = None;
                    }
                }
                Action::Arriving(key) => self.place(session, &key),
            }
        }
        while let Some(event) = self.sessions[session].poll_event() {
            self.events[session].push_back(event);
        }
        if self.sessions[session].is_closed() {
            let key = self.sessions[session].key().clone();
            self.table.remove(&key, &session);
        }
    }

    fn transmit(&mut self, session: usize) {
        while let Some(link) = self.sessions[session].link() {
            let mut out = Chunks::new();
            let now = self.now;
            if self.sessions[session].poll_transmit(now, link, &mut out).is_err() || out.is_empty() {
                return;
            }
            let pipe = self.pipes.get_mut(&link).expect("a pipe");
            pipe.out.extend_from_slice(&out.copy_to_bytes(out.remaining()));
        }
    }

    /// Brings the bytes that wait to their session.
    fn deliver(&mut self, session: usize) {
        while let Some(link) = self.sessions[session].link() {
            let Some(pipe) = self.pipes.get_mut(&link).filter(|pipe| !pipe.inbound.is_empty()) else {
                return;
            };
            let Ok(Some(mut buf)) = self.sessions[session].recv_buf(link) else { return };
            let len = buf.capacity().min(pipe.inbound.len());
            let bytes: Vec<u8> = pipe.inbound.drain(..len).collect();
            buf.extend_from_slice(&bytes);
            let now = self.now;
            let _ = self.sessions[session].handle_recv(now, link, buf);
            self.transmit(session);
        }
    }

    fn place(&mut self, newcomer: usize, key: &AddrVec) {
        let existing = self.table.find(key).filter(|existing| *existing != newcomer);
        let now = self.now;
        let placement = match existing {
            None => Session::place(&mut self.sessions[newcomer], None, now),
            Some(existing) => {
                let [new, old] = self.sessions.get_disjoint_mut([newcomer, existing]).unwrap();
                Session::place(new, Some(old), now)
            }
        };
        match placement {
            Placement::Open | Placement::Displace => {
                self.table.insert(key.clone(), newcomer);
            }
            Placement::Adopted(link) => self.pipes.get_mut(&link).expect("a pipe").session = existing,
            Placement::Answered | Placement::Dropped => {}
        }
        self.placements.push(placement);
        if let Some(existing) = existing {
            self.drive(existing);
        }
    }
}

/// The far end of one connection of a [`Host`].
#[derive(Debug)]
pub(crate) struct Script<D> {
    host: Host,
    link: LinkId,
    pub(crate) wire: D,
    /// All bytes so far, each way.
    pub(crate) sent: Vec<u8>,
    pub(crate) heard: Vec<u8>,
}

impl<D: Dialect> Script<D> {
    fn new(host: Host, link: LinkId) -> Self {
        Self { host, link, wire: D::new(), sent: Vec::new(), heard: Vec::new() }
    }

    /// The session that owns the connection now.
    pub(crate) fn owner(&self) -> Option<usize> {
        self.host.state().pipes[&self.link].session
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, frame: &D::Frame) {
        let bytes = self.wire.encode(frame);
        self.send_bytes(&bytes);
    }

    /// Sends whatever it is.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.sent.extend_from_slice(bytes);
        let mut state = self.host.state();
        let pipe = state.pipes.get_mut(&self.link).expect("a pipe");
        pipe.inbound.extend(bytes);
        if let Some(session) = pipe.session {
            state.drive(session);
        }
    }

    /// Closes the connection.
    pub(crate) fn close(self) {
        let mut state = self.host.state();
        let now = state.now;
        if let Some(session) = state.pipes[&self.link].session {
            let _ = state.sessions[session].handle_eof(now, self.link);
            state.drive(session);
        }
    }

    /// The bytes that the host sent and that were not read yet.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.host.state().pipes.get_mut(&self.link).expect("a pipe").out)
    }

    /// The next frame from the host, if there is one.
    pub(crate) fn next(&mut self) -> Option<D::Frame> {
        let bytes = self.take_bytes();
        self.heard.extend_from_slice(&bytes);
        self.wire.feed(&bytes);
        self.wire.decode()
    }

    /// The next frame from the host.
    #[track_caller]
    pub(crate) fn expect(&mut self) -> D::Frame {
        match self.next() {
            Some(frame) => frame,
            None => panic!("the host says nothing{}", if self.is_closed() { ", it hung up" } else { "" }),
        }
    }

    /// Whether the host has hung up.
    pub(crate) fn is_closed(&self) -> bool {
        self.host.state().pipes[&self.link].closed
    }

    /// The host says nothing and waits.
    #[track_caller]
    pub(crate) fn expect_quiet(&mut self) {
        assert_eq!(self.next(), None);
        assert!(!self.is_closed(), "the host hung up");
    }

    /// The host hung up without a further frame.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) {
        assert_eq!(self.next(), None);
        assert!(self.is_closed(), "the host still listens");
    }
}
