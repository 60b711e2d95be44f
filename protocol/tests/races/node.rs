//! One messenger as an automaton: what goes in, and what comes out.
//!
//! It is the real thing, driven as a driver would: sessions, their table, their links. Time stands still but where a
//! timer fires.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use cephwire_protocol::auth::AllowAll;
use cephwire_protocol::codec::{
    AddrType, AddrVec, Chunks, EntityAddr, EntityName, EntityType, Features, Header, Message,
};
use cephwire_protocol::{
    Action, Event, LinkId, Local, Messenger, Options, Placement, Policies, Policy, Session, Timer, Version,
};

use crate::canonical::canonical;
use crate::frames::split;

/// What may happen to a node. Links are named by their place among those that it has, the oldest first; sessions by
/// their place among those that have not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// Its user sends the next message.
    Send,
    /// Its user closes the session with the peer.
    MarkDown,
    /// A dial connects, or is refused.
    Dialed {
        link: u8,
    },
    Refused {
        link: u8,
    },
    /// Somebody connects to it.
    Accept,
    /// A frame arrives.
    Recv {
        link: u8,
        frame: u32,
    },
    /// Half of a frame arrives, and then the end.
    Torn {
        link: u8,
        frame: u32,
    },
    /// The end of a link.
    Eof {
        link: u8,
    },
    /// The timer of a session fires.
    Timeout {
        session: u8,
    },
}

/// What the peers can do, as far as it makes a difference.
const FEATURES: Features = Features(
    Features::RECONNECT_SEQ.0 | Features::MSG_AUTH.0 | Features::MSGR_KEEPALIVE2.0 | Features::MSG_ADDR2.0,
);

/// How often a peer may claim on one connection: enough for every dialogue that leads anywhere. While the end of a
/// dead connection has not arrived, a live one is asked to try again up to this limit; all rounds are the same.
const CLAIMS: u32 = 4;

/// Who a node is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) number: usize,
    pub(crate) version: Version,
    pub(crate) policy: Policy,
    /// Of its cookies: which they are makes no difference.
    pub(crate) seed: u64,
}

/// What a node said in answer to an input: the link and the frames of one write.
pub(crate) type Write = (LinkId, Vec<Vec<u8>>);

pub(crate) struct Node {
    identity: Identity,
    life: u8,
    local: Arc<Local>,
    table: Messenger<usize>,
    sessions: Vec<Session>,
    /// What each session looks like, unless that has changed since anybody looked.
    forms: RefCell<Vec<Option<u64>>>,
    /// The links that it has, those of dials too, and whose they are.
    owners: BTreeMap<LinkId, usize>,
    dials: BTreeSet<LinkId>,
    /// The numbers of the messages sent and received.
    sent: Vec<u64>,
    received: Vec<u64>,
    /// A set of those received before the last reset: what its user was told voids the promise to it.
    before: u8,
    next: u64,
    resets: u32,
    now: Instant,
    writes: Vec<Write>,
}

/// What a session waits for by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    Nothing,
    /// The peer, but not for ever.
    Peer,
    /// The next attempt.
    Backoff,
    /// The next attempt after WAIT: that is much longer.
    LongBackoff,
}

/// What the world must know of a node.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// How many links it has, and which of them are dials.
    pub(crate) links: u8,
    pub(crate) dials: u8,
    /// What its sessions wait for.
    pub(crate) waits_for: Vec<WaitsFor>,
    pub(crate) can_send: bool,
    /// It has something with the peer that can be marked down.
    pub(crate) has_session: bool,
    /// Bit sets.
    pub(crate) sent: u8,
    pub(crate) received: u8,
    /// Something was received twice, or out of order.
    pub(crate) disordered: bool,
    pub(crate) resets: u32,
    /// The link on which its session is open.
    pub(crate) open: Option<u8>,
    /// A session waits: it is neither open nor in standby.
    pub(crate) waits: bool,
    /// Messages wait in a server, which never dials.
    pub(crate) stands_by: bool,
    /// Messages wait to be sent, or to be acknowledged.
    pub(crate) queued: bool,
}

impl Node {
    /// A node at its beginning. It may have lived before: then it has forgotten everything but its address, and
    /// numbers its messages from `next` on.
    pub(crate) fn new(identity: &Identity, life: u8, next: u8) -> Self {
        let Identity { number, version, policy, seed } = identity.clone();
        let name = EntityName::new(EntityType::OSD, number as i64);
        // Few features: their names in `Debug` forms take longer than all the rest.
        let policies = Policies::all(Policy { features_supported: FEATURES, ..policy });
        let auth = Arc::new(AllowAll { name });
        let addr = addr(number, version);
        let seed = number as u64 + 1000 * u64::from(life) + 1_000_000 * seed;
        // A session that pauses shows nothing that the backoff of an attempt does not.
        let options = Options::default().with(|options| {
            (options.claims, options.fruitless) = (CLAIMS, u32::MAX);
        });
        let local = Local::new(name, addr.into(), addr.nonce, seed, policies, auth, options);
        Self {
            identity: identity.clone(),
            life,
            local,
            table: Messenger::new(),
            sessions: Vec::new(),
            forms: RefCell::default(),
            owners: BTreeMap::new(),
            dials: BTreeSet::new(),
            sent: Vec::new(),
            received: Vec::new(),
            before: 0,
            next: next.into(),
            resets: 0,
            now: Instant::now(),
            writes: Vec::new(),
        }
    }

    /// The links that it has, the oldest first.
    pub(crate) fn links(&self) -> Vec<LinkId> {
        self.owners.keys().copied().collect()
    }

    /// How often its user was told of a reset.
    pub(crate) fn resets(&self) -> u32 {
        self.resets
    }

    /// Lets it happen; what is written in answer is returned.
    pub(crate) fn apply(&mut self, input: Input, frames: &[Vec<u8>]) -> Vec<Write> {
        let links = self.links();
        let named = |link: u8| links[usize::from(link)];
        match input {
            Input::Send => self.send(),
            Input::MarkDown => {
                if let Some(session) = self.table.mark_down(&self.peer()) {
                    self.sessions[session].close(true);
                    self.drive(session);
                }
            }
            Input::Dialed { link } => self.dialed(named(link), Ok(())),
            Input::Refused { link } => self.dialed(named(link), Err(std::io::ErrorKind::ConnectionRefused)),
            Input::Accept => {
                let from = ([127, 0, 0, 1], 40000).into();
                let local = Arc::clone(&self.local);
                let (incoming, link) =
                    Session::incoming(local, from, self.identity.version, self.now).unwrap();
                self.sessions.push(incoming);
                self.owners.insert(link, self.sessions.len() - 1);
                self.drive(self.sessions.len() - 1);
            }
            Input::Recv { link, frame } => self.recv(named(link), &frames[frame as usize]),
            Input::Torn { link, frame } => {
                let bytes = &frames[frame as usize];
                self.recv(named(link), &bytes[..bytes.len() / 2]);
                self.eof(named(link));
            }
            Input::Eof { link } => self.eof(named(link)),
            Input::Timeout { session } => {
                let alive = (0..self.sessions.len()).filter(|n| !self.sessions[*n].is_closed());
                let session = alive.clone().nth(session.into()).unwrap();
                let due = self.sessions[session].poll_timeout().unwrap();
                self.sessions[session].handle_timeout(due);
                self.drive(session);
            }
        }
        std::mem::take(&mut self.writes)
    }

    /// Whether the stream of a link is not open yet.
    pub(crate) fn shakes_hands(&self, link: LinkId) -> bool {
        self.owners.get(&link).is_some_and(|session| !self.sessions[*session].is_open())
    }

    fn peer(&self) -> AddrVec {
        addr(1 - self.identity.number, self.identity.version).into()
    }

    fn send(&mut self) {
        let key = self.peer();
        let session = self.table.find(&key).unwrap_or_else(|| {
            let local = Arc::clone(&self.local);
            self.sessions.push(Session::outgoing(local, EntityType::OSD, key.clone(), self.now));
            self.table.insert(key, self.sessions.len() - 1);
            self.sessions.len() - 1
        });
        let tid = self.next;
        self.next += 1;
        self.sent.push(tid);
        let message = Message { header: Header { tid, ..Header::default() }, ..Message::default() };
        self.sessions[session].send(message).unwrap();
        self.drive(session);
    }

    fn dialed(&mut self, link: LinkId, outcome: Result<(), std::io::ErrorKind>) {
        self.dials.remove(&link);
        let session = self.owners[&link];
        if outcome.is_err() {
            self.owners.remove(&link);
        }
        self.sessions[session].handle_dialed(self.now, link, outcome).unwrap();
        self.drive(session);
    }

    fn recv(&mut self, link: LinkId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some(&session) = self.owners.get(&link) else { return };
            let Ok(Some(mut buf)) = self.sessions[session].recv_buf(link) else { return };
            let len = buf.capacity().min(rest.len());
            buf.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
            let _ = self.sessions[session].handle_recv(self.now, link, buf);
            self.drive(session);
        }
    }

    fn eof(&mut self, link: LinkId) {
        let Some(&session) = self.owners.get(&link) else { return };
        let _ = self.sessions[session].handle_eof(self.now, link);
        self.drive(session);
    }

    fn hang_up(&mut self, link: LinkId) {
        self.owners.remove(&link);
        self.dials.remove(&link);
    }

    /// Everything that a driver does after a call.
    fn drive(&mut self, session: usize) {
        if let Some(form) = self.forms.get_mut().get_mut(session) {
            *form = None;
        }
        loop {
            self.transmit(session);
            let Some(action) = self.sessions[session].poll_action() else { break };
            match action {
                Action::Dial { link, .. } => {
                    self.owners.insert(link, session);
                    self.dials.insert(link);
                }
                Action::HangUp(link) => self.hang_up(link),
                Action::Arriving(key) => self.place(session, &key),
            }
        }
        while let Some(event) = self.sessions[session].poll_event() {
            match event {
                Event::Message(received) => self.received.push(received.message.header.tid),
                Event::Reset(_) | Event::RemoteReset => {
                    self.resets += 1;
                    self.before |= set(&self.received);
                    self.received.clear();
                }
                _ => {}
            }
        }
        if self.sessions[session].is_closed() {
            let key = self.sessions[session].key().clone();
            self.table.remove(&key, &session);
        }
    }

    fn transmit(&mut self, session: usize) {
        while let Some(link) = self.sessions[session].link() {
            let mut out = Chunks::new();
            let result = self.sessions[session].poll_transmit(self.now, link, &mut out);
            if result.is_err() || out.is_empty() {
                return;
            }
            let bytes = out.copy_to_bytes(out.remaining());
            self.writes.push((link, split(self.identity.version, &bytes)));
        }
    }

    fn place(&mut self, newcomer: usize, key: &AddrVec) {
        let existing = self.table.find(key).filter(|existing| *existing != newcomer);
        let placement = match existing {
            None => Session::place(&mut self.sessions[newcomer], None, self.now),
            Some(existing) => {
                let [new, old] = self.sessions.get_disjoint_mut([newcomer, existing]).unwrap();
                Session::place(new, Some(old), self.now)
            }
        };
        match placement {
            Placement::Open | Placement::Displace => {
                self.table.insert(key.clone(), newcomer);
            }
            Placement::Adopted(link) => {
                self.owners.insert(link, existing.unwrap());
            }
            Placement::Answered | Placement::Dropped => {}
        }
        if let Some(existing) = existing {
            self.drive(existing);
        }
    }

    fn waits_for(&self, session: &Session) -> WaitsFor {
        let longest = self.local.options.max_backoff;
        match session.poll_timer() {
            None => WaitsFor::Nothing,
            Some((at, Timer::Backoff)) if at.duration_since(self.now) == longest => WaitsFor::LongBackoff,
            Some((_, Timer::Backoff)) => WaitsFor::Backoff,
            Some(_) => WaitsFor::Peer,
        }
    }

    pub(crate) fn view(&self) -> View {
        let links = self.links();
        let alive = || self.sessions.iter().filter(|session| !session.is_closed());
        let registered = self.table.find(&self.peer());
        let place = |session: usize| {
            let link = self.sessions[session].link()?;
            links.iter().position(|other| *other == link).map(|place| place as u8)
        };
        let is_settled = |session: &&Session| session.is_open() || session.is_standby();
        View {
            links: links.len() as u8,
            dials: (0..links.len()).filter(|n| self.dials.contains(&links[*n])).map(|n| 1 << n).sum(),
            waits_for: alive().map(|session| self.waits_for(session)).collect(),
            can_send: registered.is_some() || !self.identity.policy.server,
            has_session: registered.is_some(),
            sent: set(&self.sent),
            received: self.before | set(&self.received),
            disordered: !self.received.is_sorted_by(|a, b| a < b),
            resets: self.resets,
            open: registered.filter(|session| self.sessions[*session].is_open()).and_then(place),
            waits: !alive().all(|session| is_settled(&session)),
            stands_by: alive().any(|session| session.is_standby() && session.policy().server),
            queued: alive().any(|session| {
                !session.outbox().is_empty() || (session.is_open() && session.outbox().unacknowledged() > 0)
            }),
        }
    }

    /// What its sessions are doing, for people.
    pub(crate) fn show(&self) -> String {
        let registered = self.table.find(&self.peer());
        let alive = self.sessions.iter().enumerate().filter(|(_, session)| !session.is_closed());
        let show = |(n, session): (usize, &Session)| {
            let debug = format!("{session:?}");
            let shown = |field: &str, end: char| {
                let from = debug.find(field).map_or("", |at| &debug[at..]);
                from.split(end).next().unwrap_or_default().to_owned()
            };
            let fields = [" state: ", " in_seq: ", " keepalive: ", " replacing: ", " reset_by_peer: "];
            let fields: String = fields.iter().map(|field| shown(field, ',')).collect();
            let star = if registered == Some(n) { "*" } else { "" };
            let (link, waits_for) = (session.link(), self.waits_for(session));
            format!("{star}{n} {link:?} {waits_for:?}{fields} {}}}", shown("Seqs {", '}'))
        };
        alive.map(show).collect::<Vec<_>>().join("; ")
    }

    /// Everything on which it depends what it will do, in names that do not depend on how it came about.
    pub(crate) fn key(&self) -> u128 {
        self.key_without(None)
    }

    /// What a session looks like.
    fn form(&self, session: usize) -> u64 {
        let mut forms = self.forms.borrow_mut();
        forms.resize(self.sessions.len(), None);
        *forms[session].get_or_insert_with(|| form(&self.sessions[session], true))
    }

    /// The same, but for what happens on this link.
    pub(crate) fn key_without(&self, out: Option<LinkId>) -> u128 {
        use std::fmt::Write as _;
        let links = self.links();
        let mut text = format!(
            "{:?} {:?} {} {} {}",
            self.sent,
            self.received,
            self.before,
            self.next,
            self.resets.min(1)
        );
        let registered = self.table.find(&self.peer());
        for (s, session) in self.sessions.iter().enumerate().filter(|(_, session)| !session.is_closed()) {
            let is_out = out.is_some() && session.link() == out;
            let form = if is_out { form(session, false) } else { self.form(s) };
            let place = |link: LinkId| links.iter().position(|other| *other == link);
            let link = session.link().and_then(place);
            let dial = links.iter().position(|l| self.dials.contains(l) && self.owners[l] == s);
            let _ = write!(
                text,
                "|{} {link:?} {dial:?} {:?} {form:x}",
                registered == Some(s),
                self.waits_for(session)
            );
        }
        // What is drawn of a seed, but not which: another life has another.
        let _ = write!(text, "|{:?}|{}", self.local, self.life);
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, &text).hash(&mut hasher);
            u128::from(hasher.finish())
        };
        half(0) << 64 | half(1)
    }
}

fn set(tids: &[u64]) -> u8 {
    tids.iter().fold(0, |set, tid| set | 1 << (tid - 1))
}

thread_local! {
    /// Most of the time goes into `Debug` forms: at least their memory is used again.
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

fn form(session: &Session, with_conn: bool) -> u64 {
    use std::fmt::Write as _;
    let mut hasher = DefaultHasher::new();
    TEXT.with_borrow_mut(|text| {
        text.clear();
        let _ = write!(text, "{session:?}");
        // After it, the next one is as long.
        text.contains(" backoff: 15s").hash(&mut hasher);
        canonical(text, with_conn, |piece| hasher.write(piece.as_bytes()));
    });
    hasher.finish()
}

fn addr(n: usize, version: Version) -> EntityAddr {
    let kind = if version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
    EntityAddr::new(kind, ([127, 0, 0, 1], 6800 + n as u16).into(), 7 + n as u32)
}
