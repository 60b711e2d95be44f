//! Do throttles, counters, injected faults and addresses do what Ceph's messenger does?
//!
//! Two sessions in memory; what the receiver does not read stays in the pipe, as in a socket.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Buf;
use cephwire_protocol::auth::AllowAll;
use cephwire_protocol::codec::{
    AddrVec, Chunks, EntityAddr, EntityName, EntityType, Header, Message, priority,
};
use cephwire_protocol::inject::Settings;
use cephwire_protocol::throttle::Throttle;
use cephwire_protocol::{
    Action, Connect, Event, LinkId, Local, Loopback, Manner, Messenger, Options, Placement, Policies, Policy,
    Received, Session, Timer, Version,
};

fn addr(text: &str) -> EntityAddr {
    text.parse().unwrap()
}

fn vector(texts: &[&str]) -> AddrVec {
    AddrVec(texts.iter().map(|text| addr(text)).collect())
}

fn local(name: EntityName, addrs: AddrVec, policy: Policy, options: Options) -> Arc<Local> {
    let nonce = addrs.0.first().map_or(7, |addr| addr.nonce);
    Local::new(
        name,
        addrs,
        nonce,
        name.num as u64 + 1,
        Policies::all(policy),
        Arc::new(AllowAll { name }),
        options,
    )
}

fn message(tid: u64, len: usize) -> Message {
    let header = Header { tid, priority: priority::DEFAULT, ..Header::default() };
    Message { header, front: vec![tid as u8; len].into(), ..Message::default() }
}

fn plain_local() -> Arc<Local> {
    let name = EntityName::new(EntityType::OSD, 3);
    let addrs = vector(&["v2:10.0.0.1:6800/9", "v1:10.0.0.1:6801/9"]);
    local(name, addrs, Policy::lossless_peer(), Options::default())
}

/// A client and a server, which sends nothing by itself.
struct Pair {
    now: Instant,
    client: Session,
    server: Session,
    links: (LinkId, LinkId),
    /// What is on its way to the server, and to the client.
    pipes: (VecDeque<u8>, VecDeque<u8>),
    received: Vec<Received>,
    others: Vec<Event>,
    server_local: Arc<Local>,
}

impl Pair {
    fn new(version: Version, client: Policy, server: Policy, options: Options) -> Self {
        Self::injecting(version, client, server, options, Settings::default())
    }

    fn injecting(
        version: Version,
        client: Policy,
        server: Policy,
        options: Options,
        settings: Settings,
    ) -> Self {
        let text = if version == Version::V1 { "v1:127.0.0.1:6800/2" } else { "v2:127.0.0.1:6800/2" };
        let server_local = local(EntityName::new(EntityType::OSD, 1), addr(text).into(), server, options);
        server_local.inject(settings);
        Self::with(version, client, server_local)
    }

    /// A new client of this server.
    fn with(version: Version, client: Policy, server_local: Arc<Local>) -> Self {
        let now = Instant::now();
        let to = server_local.addrs();
        let client_local =
            local(EntityName::new(EntityType::CLIENT, 4), AddrVec::default(), client, Options::default());
        let mut client = Session::outgoing(client_local, EntityType::OSD, to, now);
        assert_eq!(client.poll_timer().map(|(_, timer)| timer), Some(Timer::Connect));
        let Some(Action::Dial { link, .. }) = client.poll_action() else { panic!("it dials") };
        client.handle_dialed(now, link, Ok(())).unwrap();
        let from = ([127, 0, 0, 1], 5000).into();
        let (server, accepted) = Session::incoming(Arc::clone(&server_local), from, version, now).unwrap();
        assert_eq!(server.poll_timer().map(|(_, timer)| timer), Some(Timer::Accept));
        let mut pair = Self {
            now,
            client,
            server,
            links: (link, accepted),
            pipes: Default::default(),
            received: Vec::new(),
            others: Vec::new(),
            server_local,
        };
        pair.run();
        assert!(pair.client.is_open() && pair.server.is_open(), "{:#?}", pair.client);
        pair
    }

    fn send(&mut self, tid: u64, len: usize) {
        self.client.send(message(tid, len)).unwrap();
        self.run();
    }

    fn run(&mut self) {
        let (a, b) = self.links;
        loop {
            let moved = write(&mut self.client, a, self.now, &mut self.pipes.0)
                | write(&mut self.server, b, self.now, &mut self.pipes.1)
                | read(&mut self.server, b, self.now, &mut self.pipes.0)
                | read(&mut self.client, a, self.now, &mut self.pipes.1);
            while let Some(action) = self.server.poll_action() {
                if let Action::Arriving(_) = action {
                    assert_eq!(Session::place(&mut self.server, None, self.now), Placement::Open);
                }
            }
            while let Some(event) = self.server.poll_event() {
                match event {
                    Event::Message(received) => self.received.push(received),
                    other => self.others.push(other),
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn tids(&self) -> Vec<u64> {
        self.received.iter().map(|received| received.message.header.tid).collect()
    }
}

fn write(session: &mut Session, link: LinkId, now: Instant, pipe: &mut VecDeque<u8>) -> bool {
    let mut out = Chunks::new();
    let _ = session.poll_transmit(now, link, &mut out);
    let moved = out.has_remaining();
    pipe.extend(out.copy_to_bytes(out.remaining()).iter());
    moved
}

fn read(session: &mut Session, link: LinkId, now: Instant, pipe: &mut VecDeque<u8>) -> bool {
    if pipe.is_empty() {
        return false;
    }
    let Ok(Some(mut buf)) = session.recv_buf(link) else { return false };
    let len = buf.capacity().min(pipe.len());
    buf.extend(pipe.drain(..len));
    session.handle_recv(now, link, buf).is_ok()
}

const BOTH: [Version; 2] = [Version::V1, Version::V2];

#[test]
fn a_full_policy_throttle_pauses_reading_until_a_message_is_dropped() {
    for version in BOTH {
        let (messages, bytes) = (Throttle::new(2), Throttle::new(1000));
        let policy =
            Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), Some(Arc::clone(&messages)));
        let mut pair = Pair::new(version, Policy::lossless_client(), policy, Options::default());
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        pair.server.set_waker(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        for tid in 1..=4 {
            pair.send(tid, 100);
        }
        assert_eq!((pair.tids(), messages.current(), bytes.current()), (vec![1, 2], 2, 200));
        assert!(pair.server.is_paused() && !pair.server.is_unpausable());
        assert!(pair.server.recv_buf(pair.links.1).unwrap().is_none());
        // What came before the pause was acknowledged.
        assert_eq!(pair.client.outbox().unacknowledged(), 2);

        // No idle timer meanwhile, and the pause does not count afterwards.
        assert_eq!(pair.server.poll_timer(), None);
        pair.now += Duration::from_secs(5000);
        pair.server.handle_unpaused(pair.now);
        assert!(pair.server.is_paused() && pair.server.is_open());

        pair.received.remove(0);
        assert_eq!((woken.load(Ordering::Relaxed), pair.server.is_unpausable()), (1, true));
        pair.server.handle_unpaused(pair.now);
        pair.run();
        assert_eq!((pair.tids(), messages.current()), (vec![2, 3], 2));
        assert_eq!(pair.server.stats().pauses, 2);

        pair.received.clear();
        pair.server.handle_unpaused(pair.now);
        pair.run();
        assert_eq!((pair.tids(), bytes.current()), (vec![4], 100));
        assert_eq!(pair.server.poll_timer(), Some((pair.now + Options::default().idle_timeout, Timer::Idle)));
        assert_eq!(pair.client.outbox().unacknowledged(), 0);
    }
}

#[test]
fn the_dispatch_throttle_is_returned_at_dispatch_the_others_at_the_end() {
    for version in BOTH {
        let bytes = Throttle::new(0);
        let policy = Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), None);
        let options = Options { dispatch_throttle_bytes: 100, ..Options::default() };
        let mut pair = Pair::new(version, Policy::lossless_client(), policy, options);
        for tid in 1..=2 {
            pair.send(tid, 60);
        }
        assert_eq!((pair.tids(), pair.server_local.dispatch_throttle().current()), (vec![1], 60));
        // The second holds its bytes while it waits for the next throttle.
        assert_eq!(bytes.current(), 120);
        pair.received[0].dispatched();
        assert!(pair.server.is_unpausable());
        pair.server.handle_unpaused(pair.now);
        pair.run();
        assert_eq!((pair.tids(), bytes.current()), (vec![1, 2], 120));

        pair.received[0].message.front = vec![0; 10].into();
        pair.received[0].recharge();
        assert_eq!(bytes.current(), 70);
        let (_, permits) = pair.received.remove(0).into_parts();
        assert_eq!(bytes.current(), 70);
        drop(permits);
        pair.received.clear();
        assert_eq!((bytes.current(), pair.server_local.dispatch_throttle().current()), (0, 0));
    }
}

#[test]
fn a_message_without_payload_needs_no_bytes() {
    for version in BOTH {
        let bytes = Throttle::new(10);
        let _all = bytes.take(10);
        let policy = Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), None);
        let mut pair = Pair::new(version, Policy::lossless_client(), policy, Options::default());
        pair.send(1, 0);
        assert_eq!(pair.tids(), [1]);
        pair.send(2, 1);
        assert!(pair.server.is_paused());
    }
}

#[test]
fn a_fault_returns_what_a_half_read_message_held() {
    for version in BOTH {
        for paused in [false, true] {
            let (messages, bytes) = (Throttle::new(0), Throttle::new(1 << 20));
            let policy =
                Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), Some(Arc::clone(&messages)));
            let mut pair = Pair::new(version, Policy::lossless_client(), policy, Options::default());
            let other = if paused { Some(bytes.take(1 << 20)) } else { None };
            pair.client.send(message(1, 50_000)).unwrap();
            write(&mut pair.client, pair.links.0, pair.now, &mut pair.pipes.0);
            pair.pipes.0.truncate(20_000);
            pair.run();
            assert_eq!((messages.current(), pair.server.is_paused()), (1, paused));
            pair.server.handle_eof(pair.now, pair.links.1).unwrap();
            assert_eq!((messages.current(), bytes.waiters(), pair.server.is_paused()), (0, 0, false));
            drop(other);
            assert_eq!((bytes.current(), pair.server_local.dispatch_throttle().current()), (0, 0));
        }
    }
}

/// Small throttles shared by several sessions, messages of all sizes, dropped at random: whoever is woken goes on, and
/// nobody is forgotten.
#[test]
fn shared_throttles_wake_whoever_can_go_on() {
    for seed in 0..60u64 {
        let mut state = seed;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let version = BOTH[seed as usize % 2];
        let (messages, bytes) = (Throttle::new(1 + random(4)), Throttle::new(1 + random(3000)));
        let policy =
            Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), Some(Arc::clone(&messages)));
        let options = Options { dispatch_throttle_bytes: 1 + random(2000), ..Options::default() };
        let text = if version == Version::V1 { "v1:127.0.0.1:6800/2" } else { "v2:127.0.0.1:6800/2" };
        let server = local(EntityName::new(EntityType::OSD, 1), addr(text).into(), policy, options);
        let mut pairs: Vec<_> = (0..3)
            .map(|_| {
                let mut pair = Pair::with(version, Policy::lossless_client(), Arc::clone(&server));
                let woken = Arc::new(AtomicUsize::new(0));
                let wake = Arc::clone(&woken);
                pair.server.set_waker(move || {
                    wake.fetch_add(1, Ordering::Relaxed);
                });
                (pair, woken, 0, 0)
            })
            .collect();
        // Goes on where it was woken, and only there.
        let go_on = |pairs: &mut Vec<(Pair, Arc<AtomicUsize>, u64, u64)>| loop {
            let mut any = false;
            for (pair, woken, ..) in pairs.iter_mut() {
                if woken.swap(0, Ordering::Relaxed) > 0 {
                    pair.server.handle_unpaused(pair.now);
                    pair.run();
                    any = true;
                }
            }
            if !any {
                return;
            }
        };
        let finish = |pair: &mut Pair, done: &mut u64, at: usize| {
            *done += 1;
            assert_eq!(pair.received.remove(at).message.header.tid, *done);
        };
        for _ in 0..200 {
            let (pair, _, sent, done) = &mut pairs[random(3) as usize];
            if random(2) == 0 {
                *sent += 1;
                pair.send(*sent, random(1500) as usize);
            } else if !pair.received.is_empty() {
                match random(2) {
                    0 => pair.received[0].dispatched(),
                    _ => finish(pair, done, 0),
                }
            }
            go_on(&mut pairs);
        }
        while pairs.iter().any(|(pair, ..)| !pair.received.is_empty()) {
            for (pair, _, _, done) in &mut pairs {
                if !pair.received.is_empty() {
                    finish(pair, done, 0);
                }
            }
            go_on(&mut pairs);
        }
        for (pair, _, sent, done) in &pairs {
            assert_eq!((sent, pair.server.is_paused()), (done, false), "seed {seed}");
        }
        let left = [messages.current(), bytes.current(), server.dispatch_throttle().current()];
        assert_eq!(left, [0; 3], "seed {seed}");
    }
}

#[test]
fn counters() {
    for version in BOTH {
        let mut pair =
            Pair::new(version, Policy::lossless_client(), Policy::stateful_server(), Options::default());
        let before = pair.client.stats().send_bytes;
        pair.send(1, 100);
        pair.send(2, 20);
        let (client, server) = (pair.client.stats(), pair.server.stats());
        assert_eq!((client.send_messages, client.dials, client.connects, client.faults), (2, 1, 1, 0));
        assert!(client.send_bytes - before > 120);
        assert_eq!((server.recv_messages, server.recv_bytes), (2, 120 + 2 * 74));
        assert_eq!((server.connects, server.reconnects, server.unacknowledged), (1, 0, 0));

        pair.client.handle_eof(pair.now, pair.links.0).unwrap();
        pair.client.send(message(3, 7)).unwrap();
        let client = pair.client.stats();
        assert_eq!((client.faults, client.dials), (1, 2));
        assert_eq!((client.queued_messages, client.queued_bytes), (1, 7));

        // What has ended is still counted, once.
        let mut messenger = Messenger::new();
        messenger.insert(pair.server.key().clone(), 0);
        let totals = |messenger: &Messenger<u32>, pair: &Pair| {
            messenger.totals(&pair.server_local, |_| (!pair.server.is_closed()).then(|| pair.server.stats()))
        };
        let open = totals(&messenger, &pair);
        assert_eq!((open.created_connections, open.active_connections), (1, 1));
        assert_eq!(open.sums, pair.server.stats());
        pair.server.close(false);
        assert_eq!(totals(&messenger, &pair).sums.recv_bytes, open.sums.recv_bytes);
        messenger.remove(&pair.server.key().clone(), &0);
        assert_eq!(totals(&messenger, &pair).sums.recv_bytes, open.sums.recv_bytes);
        assert_eq!(totals(&messenger, &pair).active_connections, 0);
    }
}

#[test]
fn keepalives_leave_their_stamps() {
    for version in BOTH {
        let mut pair =
            Pair::new(version, Policy::lossless_client(), Policy::stateful_server(), Options::default());
        assert_eq!((pair.server.last_keepalive(), pair.client.last_keepalive_ack()), (None, None));
        pair.now += Duration::from_secs(3);
        pair.client.keepalive();
        pair.run();
        assert_eq!(pair.server.last_keepalive(), Some(pair.now));
        assert!(pair.client.last_keepalive_ack().is_some());
    }
}

#[test]
fn a_black_hole_swallows_both_ways() {
    for version in BOTH {
        let settings = Settings { black_holes: vec![EntityType::CLIENT], ..Settings::default() };
        let (client, server) = (Policy::lossless_client(), Policy::stateful_server());
        let mut pair = Pair::injecting(version, client, server, Options::default(), settings);
        pair.send(1, 10);
        assert!(pair.received.is_empty() && pair.server.stats().recv_messages == 0);
        // Yet it was acknowledged.
        assert_eq!(pair.client.outbox().unacknowledged(), 0);
        pair.server.send(message(2, 10)).unwrap();
        assert!(pair.server.outbox().is_empty());
        assert_eq!(pair.server_local.dispatch_throttle().current(), 0);
        // It can be closed again.
        pair.server_local.inject(Settings::default());
        pair.send(3, 10);
        assert_eq!(pair.tids(), [3]);
    }
}

fn delaying() -> Settings {
    Settings {
        delayed_peers: vec![EntityType::CLIENT],
        delay_probability: 1.0,
        delay_max: Duration::from_secs(1),
        ..Settings::default()
    }
}

#[test]
fn delayed_messages_stay_in_order() {
    for version in BOTH {
        let (client, server) = (Policy::lossless_client(), Policy::stateful_server());
        let mut pair = Pair::injecting(version, client, server, Options::default(), delaying());
        (1..=20).for_each(|tid| pair.send(tid, 10));
        let early = pair.tids().len();
        assert!(early < 20);
        // They are acknowledged, and wait with their permits.
        assert_eq!(pair.client.outbox().unacknowledged(), 0);
        while let Some((at, Timer::Delay)) = pair.server.poll_timer() {
            assert!(at <= pair.now + Duration::from_secs(1));
            pair.server.handle_timeout(at);
            pair.run();
        }
        assert!(pair.tids().into_iter().eq(1..=20));
    }
}

#[test]
fn a_fault_and_a_close_deliver_what_is_held_back() {
    for version in BOTH {
        for close in [false, true] {
            let (client, server) = (Policy::lossless_client(), Policy::stateful_server());
            let mut pair = Pair::injecting(version, client, server, Options::default(), delaying());
            (1..=9).for_each(|tid| pair.send(tid, 10));
            if close {
                pair.server.close(true);
            } else {
                pair.server.handle_eof(pair.now, pair.links.1).unwrap();
            }
            pair.run();
            assert!(pair.tids().into_iter().eq(1..=9));
            assert_eq!(close, matches!(pair.others.last(), Some(Event::Reset(_))));
        }
    }
}

#[test]
fn where_a_connect_leads() {
    let local = plain_local();
    let mut messenger: Messenger<u32> = Messenger::new();
    let plain = Manner::default();
    let connect = |messenger: &mut Messenger<u32>, to: &[&str], manner, closed: bool| {
        messenger.connect(&local, &vector(to), manner, |_| closed)
    };
    let own = ["v2:10.0.0.1:6800/9", "v1:10.0.0.1:6801/9"];
    assert_eq!(connect(&mut messenger, &own, plain, false), Connect::Loopback);
    assert_eq!(connect(&mut messenger, &own[1..], plain, false), Connect::Loopback);
    let abroad = Manner { not_local: true, ..plain };
    assert_eq!(connect(&mut messenger, &own, abroad, false), Connect::New(vector(&own)));

    let peer = ["v2:10.0.0.2:6800/5"];
    assert_eq!(connect(&mut messenger, &peer, plain, false), Connect::New(vector(&peer)));
    messenger.insert(vector(&peer), 17);
    assert_eq!(connect(&mut messenger, &peer, plain, false), Connect::Existing(17));
    // The key is the whole vector.
    let more = ["v2:10.0.0.2:6800/5", "v1:10.0.0.2:6801/5"];
    assert_eq!(connect(&mut messenger, &more, plain, false), Connect::New(vector(&more)));
    let anonymous = Manner { anonymous: true, ..plain };
    assert_eq!(connect(&mut messenger, &peer, anonymous, false), Connect::Anonymous(vector(&peer)));
    // One that has ended is as good as none.
    assert_eq!(connect(&mut messenger, &peer, plain, true), Connect::New(vector(&peer)));
    assert!(messenger.is_empty());

    // Who listens for v1 only uses v1 only.
    local.set_addrs(vector(&["v1:10.0.0.1:6801/9"]));
    assert_eq!(connect(&mut messenger, &more, plain, false), Connect::New(vector(&more[1..])));
}

#[test]
fn only_that_very_session_is_removed() {
    let mut messenger: Messenger<u32> = Messenger::with_capacities(2, 1);
    let key = vector(&["v2:10.0.0.2:6800/5"]);
    messenger.insert(key.clone(), 1);
    assert_eq!(messenger.insert(key.clone(), 2), Some(1));
    assert!(!messenger.remove(&key, &1) && messenger.remove(&key, &2));

    let (first, second) = (messenger.accepting.insert(3).unwrap(), messenger.accepting.insert(3).unwrap());
    assert_eq!((messenger.accepting.insert(4), messenger.accepting.is_full()), (Err(4), true));
    assert_eq!((messenger.accepting.remove(first), messenger.accepting.remove(first)), (Some(3), None));
    assert!(messenger.accepting.remove(second).is_some() && messenger.accepting.is_empty());

    messenger.insert(key.clone(), 5);
    messenger.accepting.insert(6).unwrap();
    messenger.anonymous.insert(7).unwrap();
    assert_eq!(messenger.all().count(), 3);
    let mut all = messenger.mark_down_all();
    all.sort_unstable();
    assert_eq!((all, messenger.all().count()), (vec![5, 6, 7], 0));
    messenger.insert(key.clone(), 8);
    assert_eq!((messenger.mark_down(&key), messenger.mark_down(&key)), (Some(8), None));
}

#[test]
fn the_loopback_gives_back_what_it_was_given() {
    let local = plain_local();
    let mut loopback = Loopback::new(Arc::clone(&local));
    for tid in 1..=3 {
        let mut message = message(tid, 5);
        message.header.priority = 0;
        loopback.send(message).unwrap();
    }
    for tid in 1..=3 {
        let Some(Event::Message(received)) = loopback.poll_event() else { panic!("a message") };
        assert_eq!((received.message.header.tid, received.seq, received.source), (tid, 0, local.name()));
        assert_eq!(received.message.header.priority, priority::DEFAULT);
    }
    assert_eq!((loopback.key(), local.dispatch_throttle().current()), (local.addrs(), 0));
    loopback.send(message(4, 0)).unwrap();
    loopback.close();
    assert!(loopback.poll_event().is_none() && loopback.send(message(5, 0)).is_err());
}

fn with_addrs(addrs: &[&str]) -> Arc<Local> {
    let name = EntityName::new(EntityType::OSD, 3);
    local(name, vector(addrs), Policy::default(), Options::default())
}

#[test]
fn own_addresses_are_learned_once() {
    let client = with_addrs(&[]);
    assert!(!client.is_bound());
    client.learn_addr([10, 0, 0, 9].into());
    assert_eq!(client.addrs(), vector(&["any:10.0.0.9:0/7"]));
    client.learn_addr([10, 0, 0, 8].into());
    assert_eq!(client.addrs(), vector(&["any:10.0.0.9:0/7"]));
    assert!(!client.is_bound());

    // Who listens keeps type and port; another family is not touched.
    let server = with_addrs(&["v2:0.0.0.0:6800/3", "v1:0.0.0.0:6801/3", "v2:[::]:6800/3"]);
    server.learn_addr([10, 0, 0, 9].into());
    assert_eq!(server.addrs(), vector(&["v2:10.0.0.9:6800/3", "v1:10.0.0.9:6801/3", "v2:[::]:6800/3"]));
    // Nothing is to be learned where all is known.
    let known = with_addrs(&["v2:10.0.0.1:6800/3"]);
    known.learn_addr([10, 0, 0, 9].into());
    assert_eq!(known.addrs(), vector(&["v2:10.0.0.1:6800/3"]));
}

#[test]
fn own_addresses_are_set() {
    let local = with_addrs(&["v2:0.0.0.0:6800/3", "v1:10.0.0.1:6801/3", "v2:[::]:6802/3"]);
    let known = vector(&["v1:10.0.0.7:1/1", "v1:[fe80::1]:2/2"]);
    assert!(local.set_addr_unknowns(&known));
    assert_eq!(local.addrs(), vector(&["v2:10.0.0.7:6800/3", "v1:10.0.0.1:6801/3", "v2:[fe80::1]:6802/3"]));
    assert!(!local.set_addr_unknowns(&known));

    local.set_addrs(vector(&["v2:192.168.0.1:1/0"]));
    assert_eq!(local.addrs(), vector(&["v2:192.168.0.1:1/3"]));
    assert_eq!((local.rebind(), local.nonce()), (1_000_003, 1_000_003));
    assert_eq!(local.addrs(), vector(&["v2:192.168.0.1:1/1000003"]));
}

#[test]
fn throttles_of_a_type_without_policy_go_to_the_default() {
    let (bytes, messages) = (Throttle::new(1), Throttle::new(2));
    let mut policies = Policies::all(Policy::lossless_peer()).with(EntityType::MDS, Policy::lossy_client());
    policies.set_throttles(EntityType::CLIENT, Some(Arc::clone(&bytes)), Some(messages));
    assert!(policies.default.throttle_bytes.is_some());
    assert!(policies.of(EntityType::MDS).throttle_bytes.is_none());
    // Policies are equal if they share their throttles.
    assert_eq!(policies.default, policies.default.clone());
    let other = policies.default.clone().throttled(Some(Throttle::new(1)), None);
    assert_ne!(policies.default, other);
}

#[test]
fn timers_have_names() {
    let mut pair =
        Pair::new(Version::V2, Policy::lossless_client(), Policy::stateful_server(), Options::default());
    assert_eq!(pair.client.poll_timer(), Some((pair.now + Duration::from_secs(900), Timer::Idle)));
    pair.client.handle_eof(pair.now, pair.links.0).unwrap();
    assert_eq!(pair.client.poll_timer().map(|(_, timer)| timer), Some(Timer::Connect));
    let Some(link) = std::iter::from_fn(|| pair.client.poll_action()).find_map(|action| match action {
        Action::Dial { link, .. } => Some(link),
        _ => None,
    }) else {
        panic!("it dials")
    };
    pair.client.handle_dialed(pair.now, link, Err(std::io::ErrorKind::ConnectionRefused)).unwrap();
    assert_eq!(pair.client.poll_timer(), Some((pair.now + Duration::from_millis(200), Timer::Backoff)));
    pair.client.close(false);
    assert_eq!(pair.client.poll_timer(), None);
}

#[cfg(feature = "serde")]
#[test]
fn dumps_have_the_fields_of_ceph() {
    for version in BOTH {
        let policy = Policy::stateful_server().throttled(Some(Throttle::new(15)), None);
        let mut pair = Pair::new(version, Policy::lossless_client(), policy, Options::default());
        pair.now += Duration::from_millis(1500);
        pair.send(1, 10);
        pair.send(2, 10);
        let mut messenger = Messenger::new();
        messenger.insert(pair.server.key().clone(), 0);
        messenger.accepting.insert(1).unwrap();
        let now = pair.now + Duration::from_secs(2);
        let mut dump =
            messenger.dump(&pair.server_local, |handle| (*handle == 0).then(|| pair.server.dump(now)));
        dump.local_connection.push(Loopback::new(Arc::clone(&pair.server_local)).dump(&pair.server_local));
        let json = serde_json::to_value(&dump).unwrap();

        let keys = |value: &serde_json::Value| -> Vec<String> {
            value.as_object().unwrap().keys().cloned().collect()
        };
        for key in [
            "nonce",
            "my_name",
            "my_addrs",
            "listen_sockets",
            "dispatch_queue",
            "connections_count",
            "connections",
            "anon_conns",
            "accepting_conns",
            "deleted_conns",
            "local_connection",
        ] {
            assert!(keys(&json).contains(&key.to_owned()), "{key}");
        }
        assert_eq!(json["my_name"], serde_json::json!({ "type": "osd", "num": 1 }));
        assert_eq!(json["my_addrs"]["addrvec"][0]["addr"], "127.0.0.1:6800");
        assert_eq!(json["counters"]["msgr_recv_messages"], 1);
        assert_eq!(json["counters"]["msgr_active_connections"], 2);
        assert_eq!(json["local_connection"][0]["status"]["loopback"], true);

        let session = &json["connections"][0]["async_connection"];
        for key in [
            "state",
            "messenger_nonce",
            "status",
            "socket_fd",
            "tcp_info",
            "conn_id",
            "peer",
            "last_connect_started_ago",
            "last_active_ago",
            "recv_start_time_ago",
            "socket_addr",
            "target_addr",
            "port",
            "protocol",
            "worker_id",
        ] {
            assert!(keys(session).contains(&key.to_owned()), "{key}");
        }
        assert_eq!(session["state"], "STATE_CONNECTION_ESTABLISHED");
        // v1 does not say the number, but in messages.
        let id = if version == Version::V1 { -1 } else { 4 };
        assert_eq!((&session["peer"]["type"], &session["peer"]["id"]), (&"client".into(), &id.into()));
        assert_eq!((&session["paused"], &session["recv_start_time_ago"]), (&true.into(), &"2.000s".into()));
        let name = if version == Version::V1 { "v1" } else { "v2" };
        let protocol = &session["protocol"][name];
        assert_eq!(protocol["state"], "THROTTLE_BYTES");
        if version == Version::V2 {
            assert_eq!((&protocol["rev1"], &protocol["con_mode"]), (&true.into(), &"crc".into()));
            assert_eq!(protocol["crypto"]["rx"], "PLAIN");
        }
    }
}
