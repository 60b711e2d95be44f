//! Do sockets do for sessions what Ceph's event loop and network stack promise to its connections?
//!
//! The tests of `src/test/msgr/test_async_driver.cc` and `src/test/msgr/test_async_networkstack.cc`, by what they mean
//! to those above: Ceph tests descriptors and events, here there are sessions on a driver. Each on TCP and on a Unix
//! socket, unless it says why not.
//!
//! Not here, as there is nothing that could be tested:
//! * `EventDriverTest.FileEventExpansion` in `test_async_driver.cc`: a table of descriptors that has to grow. Threads
//!   that block need none, and tokio keeps its own.
//! * Of `PipeTest` and `NetworkSocketTest` what concerns registering and deregistering a descriptor for writing: it
//!   shows above as partial sends that go on, which is [`complex`].
//! * The variants for DPDK, and connected state reported as a number.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cephwire::codec::{AddrType, AddrVec, EntityAddr, EntityType, Message, MessageType, Side};
use cephwire::{Dispatcher, Error, Handle, Manner, Policy, Received, Version};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::plain::{CLIENT, OSD, Pair, Plain, count, fresh_nonce, message, ping, setup};
use crate::random::Random;
use crate::rig::{Driver, any_port, eventually};
use crate::wire::{Course, Pipe, Relay, ports};

matrix! {
    pipe
    network_socket
    simple
    connect_failed
    unreachable
    listen
    accept_and_close
    complex
    stress;
    of any version:
    dispatch
}

/// What sessions are carried by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Tcp,
    Unix,
}

const WAYS: [Way; 2] = [Way::Tcp, Way::Unix];

/// A path for a socket, which is removed in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("cephwire-stack-{}-{number}", std::process::id())))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn anonymous() -> Manner {
    Manner { anonymous: true, ..Manner::default() }
}

fn lossy<D: Driver>(replies: bool) -> Pair<D> {
    let (server, client) = (Policy::stateless_server(), Policy::lossy_client());
    Pair::start(setup(OSD, server), setup(CLIENT, client), replies)
}

/// An address that stands for a Unix socket.
fn stands_for<D: Driver>(pair: &Pair<D>, version: Version) -> EntityAddr {
    let kind = if version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
    EntityAddr::new(kind, ([192, 0, 2, 1], 6800).into(), pair.server.local().nonce())
}

/// The server listens, and the client knows the way.
fn listening<D: Driver>(pair: &mut Pair<D>, way: Way, version: Version) -> Place {
    let place = Place::new();
    if way == Way::Tcp {
        pair.to = pair.server.listen(&any_port(version));
    } else {
        let addr = stands_for(pair, version);
        pair.to = pair.server.try_listen_unix(addr, &place.0).unwrap();
        pair.client.route(addr, &place.0);
    }
    place
}

/// A relay that keeps what the dialer sends.
#[derive(Default)]
struct Valve {
    shut: AtomicBool,
    kept: Mutex<Vec<u8>>,
    pipe: Mutex<Option<Arc<Pipe>>>,
}

impl Valve {
    fn pass(&self, bytes: &[u8]) {
        self.pipe.lock().unwrap().as_ref().unwrap().pass(Side::Client, bytes);
    }

    /// What a session writes when it is given a message.
    fn written_by(&self, session: &Handle, message: Message) -> Vec<u8> {
        let before = session.stats().send_bytes;
        self.shut.store(true, Ordering::SeqCst);
        session.send(message).unwrap();
        eventually("all is written", || {
            let written = session.stats().send_bytes - before;
            written > 0 && written == self.kept.lock().unwrap().len() as u64
        });
        std::mem::take(&mut *self.kept.lock().unwrap())
    }
}

impl Course for Valve {
    fn opened(&self, pipe: &Arc<Pipe>) {
        *self.pipe.lock().unwrap() = Some(Arc::clone(pipe));
    }

    fn carry(&self, pipe: &Pipe, from: Side, bytes: &[u8]) -> bool {
        if from == Side::Client && self.shut.load(Ordering::SeqCst) {
            self.kept.lock().unwrap().extend(bytes);
        } else {
            pipe.pass(from, bytes);
        }
        true
    }
}

/// `PipeTest`: every byte that comes is noticed, one by one, and none makes a message but the last; who is marked down
/// notices none. (TCP alone: what is between them must be able to count bytes.)
fn pipe<D: Driver>(version: Version) {
    let mut pair = lossy::<D>(true);
    let real = pair.server.listen(&any_port(version));
    let ([listener], valve) = (ports(), Arc::<Valve>::default());
    let relay = Relay::new(listener, &real, valve.clone());
    pair.server.local().set_addrs(relay.advertised(&real));
    pair.to = pair.server.addrs();
    let (c2s, from) = {
        let c2s = pair.client.connect_as(EntityType::OSD, &pair.to, anonymous());
        pair.round_trip(&c2s);
        (c2s, pair.last_accepted())
    };
    // Another one of the same two shows that the server has had time to look.
    pair.server.local().set_addrs(real.clone());
    let other = pair.client.connect_as(EntityType::OSD, &real, anonymous());
    pair.round_trip(&other);

    let numbered =
        |tid| Message { data: Bytes::from_static(&[7; 30]).into(), ..message(MessageType::PING, 0, tid) };
    let bytes = valve.written_by(&c2s, numbered(2));
    for byte in &bytes[..bytes.len() - 1] {
        valve.pass(&[*byte]);
        pair.round_trip(&other);
        assert_eq!(count(&from), 1);
    }
    valve.pass(&bytes[bytes.len() - 1..]);
    eventually("the message", || count(&from) == 2);
    assert_eq!(pair.saw.look(|seen| seen.received.iter().filter(|(_, tid, _)| *tid == 2).count()), 1);

    let bytes = valve.written_by(&c2s, numbered(3));
    valve.pass(&bytes[..bytes.len() - 1]);
    from.mark_down();
    valve.pass(&bytes[bytes.len() - 1..]);
    pair.heard.wait("the end", |seen| seen.resets == 1);
    pair.round_trip(&other);
    assert!(pair.saw.look(|seen| seen.received.iter().all(|(_, tid, _)| *tid != 3)));
    pair.teardown();
    drop(relay);
}

/// `NetworkSocketTest`: a connect is noticed, each of 30 messages is and its echo, and the end.
fn network_socket<D: Driver>(version: Version) {
    for way in WAYS {
        let mut pair = lossy::<D>(true);
        let _place = listening(&mut pair, way, version);
        assert_eq!((pair.saw.look(|seen| seen.opened), pair.server.sessions().len()), (0, 0));
        let c2s = pair.c2s();
        pair.saw.wait("a connect", |seen| seen.opened == 1);
        for round in 1..=30 {
            pair.round_trip(&c2s);
            assert_eq!((count(&c2s), count(&pair.last_accepted())), (round, round));
        }
        c2s.mark_down();
        pair.saw.wait("the end", |seen| seen.resets == 1);
        let errors = pair.saw.look(|seen| seen.errors.clone());
        assert!(matches!(errors[..], [Error::Closed { .. }]), "{errors:?}");
        assert!(pair.last_accepted().is_closed());
        pair.teardown();
    }
}

/// `DispatchTest`: work from outside reaches two workers that have nothing to do, 10,000 times one piece each; no
/// wake-up is lost. (A worker is what serves a session.)
fn dispatch<D: Driver>() {
    let mut pair = lossy::<D>(false);
    let _place = listening(&mut pair, Way::Tcp, Version::V2);
    let workers = [(); 2].map(|()| pair.client.connect_as(EntityType::OSD, &pair.to, anonymous()));
    for round in 1..=10_000 {
        for worker in &workers {
            worker.send(ping()).unwrap();
        }
        pair.saw.wait("both", |seen| seen.received.len() == 2 * round);
    }
    let each = pair.server.sessions().iter().map(count).collect::<Vec<_>>();
    assert_eq!(each, [10_000; 2]);
    pair.teardown();
}

/// `SimpleTest` of the stack: connected, sent, received; nothing can be sent behind the end, and the reader sees it.
fn simple<D: Driver>(version: Version) {
    for way in WAYS {
        let mut pair = lossy::<D>(true);
        let _place = listening(&mut pair, way, version);
        let c2s = pair.c2s();
        pair.round_trip(&c2s);
        let accepted = pair.last_accepted();
        assert!(c2s.is_open() && accepted.is_open());
        assert_eq!(
            (c2s.peer_socket().is_some(), accepted.peer_socket().is_some()),
            (way == Way::Tcp, way == Way::Tcp)
        );
        c2s.mark_down();
        assert_eq!(c2s.send(ping()), Err(ping().into()));
        pair.saw.wait("the reader's end", |seen| seen.resets == 1);
        assert_eq!((accepted.send(ping()), accepted.is_closed()), (Err(ping().into()), true));
        pair.teardown();
    }
}

/// `ConnectFailedTest`, a port that nobody listens to.
fn connect_failed<D: Driver>(version: Version) {
    for way in WAYS {
        let mut pair = lossy::<D>(true);
        let place = Place::new();
        // Bound, so that nobody else is; but not listened to.
        let domain = if way == Way::Tcp { Domain::IPV4 } else { Domain::UNIX };
        let nobody = Socket::new(domain, Type::STREAM, None).unwrap();
        let mut addr = stands_for(&pair, version);
        if way == Way::Tcp {
            nobody.bind(&SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
            addr.socket = nobody.local_addr().unwrap().as_socket();
        } else {
            nobody.bind(&SockAddr::unix(&place.0).unwrap()).unwrap();
            pair.client.route(addr, &place.0);
        }
        pair.to = addr.into();
        let c2s = pair.c2s();
        c2s.send(ping()).unwrap();
        pair.heard.wait("it is refused, again and again", |seen| seen.refused >= 2);
        let errors = pair.heard.look(|seen| seen.errors.clone());
        let refused = Error::Dial(std::io::ErrorKind::ConnectionRefused);
        assert!(errors.iter().all(|error| *error == refused), "{errors:?}");
        assert!(!c2s.is_open());
        pair.teardown();
    }
}

/// `ConnectFailedTest`, a host that does not answer: here a listener whose backlog is full.
fn unreachable<D: Driver>(version: Version) {
    let mut other = setup(CLIENT, Policy::lossy_client());
    other.protocol.ready_timeout = Duration::from_millis(50);
    let mut pair = Pair::<D>::start(setup(OSD, Policy::stateless_server()), other, true);
    let busy = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    busy.bind(&SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
    busy.listen(0).unwrap();
    let at = busy.local_addr().unwrap();
    let _full: Vec<Socket> = std::iter::from_fn(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.connect_timeout(&at, Duration::from_millis(100)).is_ok().then_some(socket)
    })
    .collect();
    let mut addr = stands_for(&pair, version);
    addr.socket = at.as_socket();
    pair.to = addr.into();
    let c2s = pair.c2s();
    c2s.send(ping()).unwrap();
    pair.heard.wait("it is given up, again and again", |seen| seen.errors.len() >= 2);
    let errors = pair.heard.look(|seen| seen.errors.clone());
    let is_late =
        |error: &Error| matches!(error, Error::TimedOut { .. } | Error::Dial(std::io::ErrorKind::TimedOut));
    assert!(errors.iter().all(is_late), "{errors:?}");
    assert!(!c2s.is_open() && pair.heard.look(|seen| (seen.opened, seen.refused)) == (0, 0));
    pair.teardown();
}

/// `ListenTest`: an address in use cannot be listened on a second time.
fn listen<D: Driver>(version: Version) {
    for way in WAYS {
        let mut pair = lossy::<D>(true);
        let place = listening(&mut pair, way, version);
        let mut hasty = setup(OSD, Policy::stateless_server());
        hasty.net.bind_retry_count = 1;
        let second = D::start(hasty);
        let twice = match way {
            Way::Tcp => second.try_listen(&pair.to),
            Way::Unix => second.try_listen_unix(pair.to.0[0], &place.0),
        };
        assert_eq!(twice.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        assert_eq!(second.addrs().0, []);
        // The first is none the worse.
        let c2s = pair.c2s();
        pair.round_trip(&c2s);
        second.end(Duration::ZERO);
        pair.teardown();
    }
}

/// `AcceptAndCloseTest`: nobody comes, somebody comes and goes, either side closes, nobody listens any more.
fn accept_and_close<D: Driver>(version: Version) {
    for way in WAYS {
        let mut pair = lossy::<D>(true);
        let place = listening(&mut pair, way, version);
        assert_eq!((pair.server.sessions().len(), pair.saw.look(|seen| seen.opened)), (0, 0));
        // A connection without a word.
        let before = pair.server.local().created_sessions();
        match way {
            Way::Tcp => drop(TcpStream::connect(pair.to.0[0].socket.unwrap()).unwrap()),
            Way::Unix => drop(UnixStream::connect(&place.0).unwrap()),
        }
        eventually("it came and went", || {
            pair.server.local().created_sessions() > before && pair.server.sessions().is_empty()
        });
        assert_eq!(pair.saw.look(|seen| seen.opened), 0);

        let c2s = pair.c2s();
        pair.round_trip(&c2s);
        pair.last_accepted().mark_down();
        pair.heard.wait("the dialer sees the end", |seen| seen.resets == 1);
        let again = pair.c2s();
        pair.round_trip(&again);
        again.mark_down();
        pair.saw.wait("who listens sees the end", |seen| seen.resets == 1);
        for all in [&pair.saw, &pair.heard] {
            let errors = all.look(|seen| seen.errors.clone());
            assert!(matches!(errors[..], [Error::Closed { .. }]), "{errors:?}");
        }

        pair.server.end(Duration::ZERO);
        let late = pair.c2s();
        late.send(ping()).unwrap();
        pair.heard.wait("nobody is there", |seen| seen.errors.len() > 1);
        assert!(!late.is_open() && pair.heard.look(|seen| seen.opened) == 2);
        pair.teardown();
    }
}

/// What a session expects to hear, the oldest first.
#[derive(Default)]
struct Window {
    expected: Mutex<VecDeque<Bytes>>,
    news: Condvar,
}

impl Window {
    fn send(&self, session: &Handle, data: &Bytes, answers: usize) {
        let mut expected = self.expected.lock().unwrap();
        expected.extend(std::iter::repeat_n(data.clone(), answers));
        drop(expected);
        session.send(Message { data: data.clone().into(), ..ping() }).unwrap();
    }

    /// Waits until no more than this is awaited.
    fn wait(&self, most: usize) {
        let (end, mut expected) = (Instant::now() + Duration::from_secs(60), self.expected.lock().unwrap());
        while expected.len() > most {
            let left = end.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("{} answers: in vain", expected.len()));
            expected = self.news.wait_timeout(expected, left).unwrap().0;
        }
    }
}

/// Checks what comes, if it expects something; else sends it back, so many times.
struct Mirror {
    times: usize,
    /// Nothing is sent back, or read, while a test holds this.
    stall: Mutex<()>,
}

impl Dispatcher for Mirror {
    fn is_fast(&self) -> bool {
        true
    }

    fn can_fast_dispatch(&self, _message: &Message) -> bool {
        true
    }

    fn fast_dispatch(&self, from: &Handle, received: Received) {
        let (message, _permits) = received.into_parts();
        let Some(window) = from.private::<Window>() else {
            drop(self.stall.lock().unwrap());
            for _ in 0..self.times {
                let _ = from.send(Message { data: message.data.clone(), ..ping() });
            }
            return;
        };
        let next = window.expected.lock().unwrap().pop_front();
        assert!(next == Some(message.data.into_bytes()), "an answer that is not the next one");
        window.news.notify_all();
    }
}

/// A server that sends back what comes, and a client; neither is bound.
fn mirrored<D: Driver>(times: usize, buffers: usize) -> (Pair<D>, Arc<Mirror>) {
    let nonce = fresh_nonce();
    let mirror = Arc::new(Mirror { times, stall: Mutex::new(()) });
    let start = |name, policy| {
        let mut setup = setup(name, policy).nonce(nonce);
        setup.net.tcp_rcvbuf = buffers;
        let messenger = D::start(setup);
        messenger.add_head(mirror.clone());
        messenger
    };
    let (server, client) = (start(OSD, Policy::stateless_server()), start(CLIENT, Policy::lossy_client()));
    let [saw, heard] = [(); 2].map(|()| Plain::new(false));
    (Pair { server, client, saw, heard, to: AddrVec::default() }, mirror)
}

fn awaiting<D: Driver>(pair: &Pair<D>) -> (Handle, Arc<Window>) {
    let (session, window) =
        (pair.client.connect_as(EntityType::OSD, &pair.to, anonymous()), Arc::<Window>::default());
    session.set_private(window.clone());
    (session, window)
}

fn random_bytes(random: &mut Random, len: u64) -> Bytes {
    (0..len.div_ceil(8)).flat_map(|_| random.next().to_le_bytes()).take(len as usize).collect()
}

/// `ComplexTest`: 100 times 10 KiB through a socket that is full, and twice as much back.
fn complex<D: Driver>(version: Version) {
    for way in WAYS {
        let (mut pair, mirror) = mirrored::<D>(2, 4096);
        let _place = listening(&mut pair, way, version);
        let (session, window) = awaiting(&pair);
        let stalled = mirror.stall.lock().unwrap();
        let mut random = Random(1);
        for _ in 0..100 {
            let data = random_bytes(&mut random, 10 << 10);
            window.send(&session, &data, 2);
        }
        // Until the socket takes no more.
        let (mut written, mut still) = (0, 0);
        while written == 0 || still < 20 {
            std::thread::sleep(Duration::from_millis(1));
            let now = session.stats().send_bytes;
            (written, still) = (now, if now == written { still + 1 } else { 0 });
        }
        drop(stalled);
        window.wait(0);
        assert!(session.is_open() && session.stats().recv_messages == 200);
        pair.teardown();
    }
}

/// `StressTest`: 16 clients at a time, each with at most 16 messages under way, send 100 to 1000 messages and go, until
/// there were 10,000; each has 128 to 1024 bytes and comes back as it was.
fn stress<D: Driver>(version: Version) {
    for way in WAYS {
        let (mut pair, _) = mirrored::<D>(1, 0);
        let _place = listening(&mut pair, way, version);
        let left = Mutex::new((10_000, Random(2)));
        std::thread::scope(|scope| {
            for n in 0..16 {
                let (pair, left) = (&pair, &left);
                scope.spawn(move || {
                    let mut random = Random(n);
                    loop {
                        let share = {
                            let (left, random) = &mut *left.lock().unwrap();
                            let share = (100 + random.below(901)).min(*left);
                            *left -= share;
                            share
                        };
                        if share == 0 {
                            return;
                        }
                        let (session, window) = awaiting(pair);
                        for _ in 0..share {
                            window.wait(15);
                            let len = random.below(1024).max(128);
                            window.send(&session, &random_bytes(&mut random, len), 1);
                        }
                        window.wait(0);
                        assert_eq!(session.stats().recv_messages, share);
                        session.mark_down();
                    }
                });
            }
        });
        assert_eq!(pair.server.totals().sums.recv_messages, 10_000);
        eventually("all have gone", || pair.server.sessions().is_empty());
        pair.teardown();
    }
}
