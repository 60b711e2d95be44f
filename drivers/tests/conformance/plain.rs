//! The dispatcher and the two messengers that most of Ceph's tests share (`FakeDispatcher`, `MessengerTest`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use cephwire::codec::{AddrVec, EntityName, EntityType, Header, Message, MessageType};
use cephwire::{Dispatcher, Error, Handle, Policy, Received, Setup, Version};

use crate::rig::{self, Driver, any_port};

/// What a dispatcher saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) got_new: bool,
    pub(crate) got_connect: bool,
    pub(crate) got_remote_reset: bool,
    pub(crate) resets: u32,
    pub(crate) refused: u32,
    pub(crate) opened: u32,
    /// Who sent which message, of how many bytes.
    pub(crate) received: Vec<(Handle, u64, usize)>,
    /// Messages from oneself, and whether they came the normal way.
    pub(crate) looped_back: Vec<(EntityName, bool)>,
    pub(crate) last_accept: AddrVec,
    pub(crate) last_accept_con: Option<Handle>,
    pub(crate) errors: Vec<Error>,
}

/// Keeps what it saw; counts messages in the private data of sessions.
#[derive(Default)]
pub(crate) struct Plain {
    seen: Mutex<Seen>,
    news: Condvar,
    /// Messages are answered with a PING.
    replies: bool,
}

#[derive(Default)]
struct Count(AtomicU32);

/// How many messages a session counts; 0 without private data.
pub(crate) fn count(session: &Handle) -> u32 {
    session.private::<Count>().map_or(0, |count| count.0.load(Ordering::SeqCst))
}

fn counter(session: &Handle) -> Arc<Count> {
    session.private().unwrap_or_else(|| {
        let fresh: Arc<Count> = Arc::default();
        session.set_private(fresh.clone());
        fresh
    })
}

pub(crate) fn message(kind: MessageType, priority: u16, tid: u64) -> Message {
    let header = Header { kind, priority, tid, ..Header::default() };
    Message { header, ..Message::default() }
}

pub(crate) fn ping() -> Message {
    message(MessageType::PING, 0, 0)
}

impl Plain {
    pub(crate) fn new(replies: bool) -> Arc<Self> {
        Arc::new(Self { replies, ..Self::default() })
    }

    pub(crate) fn look<R>(&self, at: impl FnOnce(&mut Seen) -> R) -> R {
        at(&mut self.seen.lock().unwrap())
    }

    fn note(&self, what: impl FnOnce(&mut Seen)) {
        self.look(what);
        self.news.notify_all();
    }

    /// Waits until something was seen.
    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&Seen) -> bool) {
        let (end, mut seen) = (Instant::now() + Duration::from_secs(60), self.seen.lock().unwrap());
        while !condition(&seen) {
            let left = end.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("{what}: in vain; {:?}", *seen));
            seen = self.news.wait_timeout(seen, left).unwrap().0;
        }
    }

    fn message(&self, from: &Handle, received: Received, fast: bool) {
        let message = &received.message;
        if from.is_loopback() {
            return self.note(|seen| seen.looped_back.push((received.source, !fast)));
        }
        counter(from).0.fetch_add(1, Ordering::SeqCst);
        let (tid, len) = (message.header.tid, message.payload_len());
        if self.replies {
            let _ = from.send(Message { header: Header { tid, ..ping().header }, ..ping() });
        }
        self.note(|seen| {
            seen.received.push((from.clone(), tid, len));
            seen.got_new = true;
        });
    }
}

impl Dispatcher for Plain {
    fn is_fast(&self) -> bool {
        true
    }

    fn can_fast_dispatch(&self, message: &Message) -> bool {
        message.header.kind == MessageType::PING
    }

    fn fast_connected(&self, session: &Handle) {
        counter(session);
        self.note(|seen| {
            seen.got_connect = true;
            seen.opened += 1;
        });
    }

    fn fast_accepted(&self, session: &Handle) {
        counter(session);
        self.note(|seen| {
            seen.last_accept = session.peer_addrs();
            seen.last_accept_con = Some(session.clone());
            seen.opened += 1;
        });
    }

    fn fast_dispatch(&self, from: &Handle, received: Received) {
        self.message(from, received, true);
    }

    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        self.message(from, received, false);
        None
    }

    fn reset(&self, session: &Handle, error: Option<&Error>) -> bool {
        session.clear_private();
        self.note(|seen| {
            seen.resets += 1;
            seen.errors.extend(error.cloned());
        });
        true
    }

    fn remote_reset(&self, session: &Handle) {
        session.clear_private();
        self.note(|seen| seen.got_remote_reset = true);
    }

    fn refused(&self, _session: &Handle) -> bool {
        self.note(|seen| seen.refused += 1);
        false
    }

    fn trouble(&self, _session: &Handle, error: &Error) {
        self.note(|seen| seen.errors.push(error.clone()));
    }
}

/// Server osd.0 and client client.-1, with the same nonce.
pub(crate) struct Pair<D> {
    pub(crate) server: D,
    pub(crate) client: D,
    /// What the server saw, and the client.
    pub(crate) saw: Arc<Plain>,
    pub(crate) heard: Arc<Plain>,
    pub(crate) to: AddrVec,
}

pub(crate) const OSD: EntityName = EntityName::new(EntityType::OSD, 0);
pub(crate) const CLIENT: EntityName = EntityName::new(EntityType::CLIENT, -1);

/// A nonce that no other test has, so that none talks to another's messengers when a port passes from one to the other.
pub(crate) fn fresh_nonce() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(5000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A messenger of the fixture: a policy for the other's type.
pub(crate) fn setup(name: EntityName, policy: Policy) -> Setup {
    let mut setup = rig::setup(name, Policy::default());
    let other = if name == OSD { EntityType::CLIENT } else { EntityType::OSD };
    setup.policies = setup.policies.with(other, policy);
    setup.protocol.max_backoff = Duration::from_secs(1);
    setup.protocol.initial_backoff = Duration::from_millis(50);
    setup
}

impl<D: Driver> Pair<D> {
    /// Both started, with the same nonce, nobody bound.
    pub(crate) fn start(server: Setup, client: Setup, server_replies: bool) -> Self {
        let nonce = fresh_nonce();
        let (server, client) = (D::start(server.nonce(nonce)), D::start(client.nonce(nonce)));
        let (saw, heard) = (Plain::new(server_replies), Plain::new(false));
        server.add_head(saw.clone());
        client.add_head(heard.clone());
        Self { server, client, saw, heard, to: AddrVec::default() }
    }

    /// The server is bound, and answers.
    pub(crate) fn new(version: Version, server: Policy, client: Policy) -> Self {
        let mut pair = Self::start(setup(OSD, server), setup(CLIENT, client), true);
        pair.to = pair.server.listen(&any_port(version));
        pair
    }

    /// The client's connection to the server.
    pub(crate) fn c2s(&self) -> Handle {
        self.client.connect(EntityType::OSD, &self.to)
    }

    /// What the server finds under the address of the client that came last.
    pub(crate) fn accepted(&self) -> Handle {
        let last = self.saw.look(|seen| seen.last_accept.clone());
        self.server.connect(EntityType::CLIENT, &last)
    }

    /// The session that the server accepted last.
    pub(crate) fn last_accepted(&self) -> Handle {
        self.saw.look(|seen| seen.last_accept_con.clone()).unwrap()
    }

    /// Sends a PING and waits for the answer.
    pub(crate) fn round_trip(&self, session: &Handle) {
        self.heard.look(|seen| seen.got_new = false);
        session.send(ping()).unwrap();
        self.heard.wait("an answer", |seen| seen.got_new);
    }

    /// As Ceph's fixture ends: nothing waits for its dispatch.
    pub(crate) fn teardown(self) {
        for messenger in [&self.server, &self.client] {
            messenger.end(Duration::ZERO);
            assert_eq!((messenger.dispatch_queue_len(), messenger.sessions().len()), (0, 0));
        }
    }
}

/// Open, with one message counted.
pub(crate) fn assert_fresh(session: &Handle) {
    assert!(session.is_open() && count(session) == 1, "{} {:?}", count(session), session.stats());
}
