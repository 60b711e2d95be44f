//! What a messenger offers beyond sessions: addresses, listeners, dispatchers, throttles, shutdown. Each test on each
//! driver.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[macro_use]
mod rig;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use cephwire::codec::{AddrType, AddrVec, EntityAddr, EntityType, Message};
use cephwire::throttle::Throttle;
use cephwire::{Dispatcher, Handle, Manner, Policy, Received, Version};
use rig::{BOTH, Driver, Told, Witness, any_port, client, eventually, osd, request, setup};

fn port(addr: &EntityAddr) -> u16 {
    addr.socket.unwrap().port()
}

fn ports(addrs: &AddrVec) -> Vec<u16> {
    addrs.0.iter().map(port).collect()
}

fn one_round_trip(witness: &Witness, session: &Handle) {
    let before = witness.tids().len();
    session.send(request(77, vec![])).unwrap();
    witness.wait_messages(before + 1);
}

// Addresses.

fn ports_come_from_the_range<D: Driver>() {
    let mut one = setup(osd(), Policy::stateless_server());
    // A range of its own for each driver: the tests run side by side.
    let first = 30000 + 100 * D::NUMBER;
    one.net.ports = first..=first + 4;
    one.net.bind_retry_count = 2;
    one.net.bind_retry_delay = Duration::from_millis(1);
    let taken = TcpListener::bind(("127.0.0.1", first)).unwrap();
    let (a, b) = (D::start(one.clone()), D::start(one));
    let both: AddrVec = "[v1:127.0.0.1:0/0,v2:127.0.0.1:0/0]".parse().unwrap();
    assert_eq!(ports(&a.listen(&both)), [first + 1, first + 2]);
    assert!(a.addrs().0.iter().all(|addr| addr.nonce == 4711) && a.local().is_bound());
    // Three are wanted, two are left: nothing stays bound.
    let three: AddrVec = "[v1:127.0.0.1:0/0,v2:127.0.0.1:0/0,v2:127.0.0.1:0/0]".parse().unwrap();
    assert!(b.try_listen(&three).is_err() && b.addrs().0.is_empty());
    assert_eq!(ports(&b.listen(&both)), [first + 3, first + 4]);
    drop(taken);
    a.end(Duration::ZERO);
    b.end(Duration::ZERO);
}

fn a_port_in_use_is_tried_again<D: Driver>() {
    let mut patient = setup(osd(), Policy::stateless_server());
    patient.net.bind_retry_count = 10_000;
    patient.net.bind_retry_delay = Duration::from_millis(1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = EntityAddr::new(AddrType::MSGR2, taken.local_addr().unwrap(), 0);
    let mut hasty = setup(osd(), Policy::stateless_server());
    hasty.net.bind_retry_count = 1;
    assert!(D::start(hasty).try_listen(&wanted.into()).is_err());
    let messenger = D::start(patient);
    std::thread::scope(|scope| {
        let bound = scope.spawn(|| messenger.listen(&wanted.into()));
        drop(taken);
        assert_eq!(port(&bound.join().unwrap().0[0]), port(&wanted));
    });
    messenger.end(Duration::ZERO);
}

fn rebinding_makes_another_one<D: Driver>() {
    for version in BOTH {
        let (server, saw) = (D::start(setup(osd(), Policy::stateful_server())), Witness::echoing());
        server.add_tail(saw.clone());
        let before = server.listen(&any_port(version));
        let (other, heard) = (D::start(setup(client(), Policy::lossless_client())), Witness::plain());
        other.add_tail(heard.clone());
        let session = other.connect(osd().kind, &before);
        one_round_trip(&heard, &session);

        let avoid: BTreeSet<u16> = (0..10).map(|n| port(&before.0[0]) + n).collect();
        let after = server.relisten(&avoid);
        assert!(!avoid.contains(&port(&after.0[0])));
        assert_eq!((after.0[0].nonce, after.0[0].kind), (1_004_711, before.0[0].kind));
        saw.wait("a reset", |told| told.iter().any(|(_, told)| matches!(told, Told::Reset(_))));
        one_round_trip(&heard, &other.connect(osd().kind, &after));
        assert!(TcpStream::connect(before.0[0].socket.unwrap()).is_err());
        other.end(Duration::ZERO);
        server.end(Duration::ZERO);
    }
}

fn clients_bind_before_they_connect<D: Driver>() {
    let (server, saw) = (D::start(setup(osd(), Policy::stateless_server())), Witness::echoing());
    server.add_tail(saw.clone());
    let to = server.listen(&any_port(Version::V2));
    for binds in [false, true] {
        let mut setup = setup(client(), Policy::lossy_client());
        setup.net.bind_before_connect = binds;
        let (other, heard) = (D::start(setup), Witness::plain());
        other.add_tail(heard.clone());
        other.client_bind([127, 0, 0, 9].into());
        let session = other.connect(osd().kind, &to);
        one_round_trip(&heard, &session);
        let from = server.sessions()[0].peer_socket().unwrap().ip();
        assert_eq!(from == std::net::IpAddr::from([127, 0, 0, 9]), binds);
        // What the server saw is the own address from now on.
        assert_eq!(other.addrs().0[0].ip(), Some(from));
        other.end(Duration::ZERO);
        eventually("it is gone", || server.sessions().is_empty());
    }
    server.end(Duration::ZERO);
}

// Listeners.

fn one_port_speaks_both_versions<D: Driver>() {
    let (server, saw) = (D::start(setup(osd(), Policy::stateless_server())), Witness::echoing());
    server.add_tail(saw.clone());
    let own = server.listen(&"any:127.0.0.1:0/0".parse().unwrap());
    let kinds: Vec<AddrType> = own.0.iter().map(|addr| addr.kind).collect();
    assert_eq!((kinds, ports(&own)[0]), (vec![AddrType::MSGR2, AddrType::LEGACY], ports(&own)[1]));
    for addr in &own.0 {
        let (other, heard) = (D::start(setup(client(), Policy::lossy_client())), Witness::plain());
        other.add_tail(heard.clone());
        let session = other.connect(osd().kind, &(*addr).into());
        one_round_trip(&heard, &session);
        let version = if addr.kind == AddrType::LEGACY { Version::V1 } else { Version::V2 };
        assert_eq!(session.version(), Some(version));
        other.end(Duration::ZERO);
    }
    // Who says nothing is greeted by v1; who speaks something else is not.
    let mut banner = [0; 9];
    let mut silent = TcpStream::connect(own.0[0].socket.unwrap()).unwrap();
    silent.read_exact(&mut banner).unwrap();
    assert_eq!(&banner, b"ceph v027");
    let mut halting = TcpStream::connect(own.0[0].socket.unwrap()).unwrap();
    halting.write_all(b"ceph ").unwrap();
    halting.write_all(b"v2\n").unwrap();
    halting.read_exact(&mut banner[..8]).unwrap();
    assert_eq!(&banner[..8], b"ceph v2\n");
    let mut foreign = TcpStream::connect(own.0[0].socket.unwrap()).unwrap();
    foreign.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(foreign.read(&mut banner).unwrap_or(0), 0);
    server.end(Duration::ZERO);
}

fn unix_sockets_carry_sessions<D: Driver>() {
    for version in BOTH {
        let name = format!("cephwire-{}-{}-{version:?}", std::process::id(), D::NUMBER);
        let path = std::env::temp_dir().join(name);
        // A socket whose process is no more.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (server, saw) = (D::start(setup(osd(), Policy::stateful_server())), Witness::echoing());
        server.add_tail(saw.clone());
        let kind = if version == Version::V1 { "v1" } else { "v2" };
        let addr: EntityAddr = format!("{kind}:192.0.2.1:6800/4711").parse().unwrap();
        assert_eq!(server.listen_unix(addr, &path), AddrVec::from(addr));
        let (other, heard) = (D::start(setup(client(), Policy::lossless_client())), Witness::plain());
        other.add_tail(heard.clone());
        other.route(addr, &path);
        let session = other.connect(osd().kind, &addr.into());
        for tid in 1..=10 {
            session.send(request(tid, vec![tid as u8; 100_000])).unwrap();
        }
        heard.wait_messages(10);
        assert!(heard.tids().into_iter().eq(1..=10));
        assert_eq!((session.peer_socket(), session.peer_addrs()), (None, addr.into()));
        assert_eq!(other.end(Duration::from_secs(20)), []);
        server.end(Duration::ZERO);
        std::fs::remove_file(path).unwrap();
    }
}

fn sockets_in_the_handshake_are_counted<D: Driver>() {
    let mut small = setup(osd(), Policy::stateless_server());
    small.net.accepting = 2;
    let server = D::start(small);
    let to = server.listen(&any_port(Version::V2)).0[0].socket.unwrap();
    let _idle: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut idle = TcpStream::connect(to).unwrap();
            idle.read_exact(&mut [0; 8]).unwrap();
            idle
        })
        .collect();
    assert_eq!(server.sessions().len(), 2);
    let mut third = TcpStream::connect(to).unwrap();
    assert_eq!(third.read(&mut [0; 8]).unwrap_or(0), 0);
    server.end(Duration::ZERO);
}

// Dispatchers.

/// Notes who was asked, and keeps messages of one tid.
struct Nosy {
    name: u8,
    keeps: u64,
    asked: Arc<Mutex<Vec<(u8, u64)>>>,
}

impl Dispatcher for Nosy {
    fn dispatch(&self, _from: &Handle, received: Received) -> Option<Received> {
        let tid = received.message.header.tid;
        self.asked.lock().unwrap().push((self.name, tid));
        (tid != self.keeps).then_some(received)
    }

    fn is_fast(&self) -> bool {
        self.name >= 2
    }

    fn fast_preprocess(&self, _from: &Handle, received: &Received) {
        self.asked.lock().unwrap().push((10 + self.name, received.message.header.tid));
    }

    fn can_fast_dispatch(&self, message: &Message) -> bool {
        message.header.tid == 9
    }

    fn fast_dispatch(&self, _from: &Handle, received: Received) {
        self.asked.lock().unwrap().push((20 + self.name, received.message.header.tid));
    }
}

fn dispatchers_are_asked_in_order<D: Driver>() {
    let server = D::start(setup(osd(), Policy::stateless_server()));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let nosy = |name, keeps| Arc::new(Nosy { name, keeps, asked: Arc::clone(&asked) });
    server.add_tail(nosy(1, 1));
    server.add_tail(nosy(2, 2));
    server.add_head(nosy(3, 3));
    let to = server.listen(&any_port(Version::V2));
    let other = D::start(setup(client(), Policy::lossy_client()));
    let session = other.connect(osd().kind, &to);
    for tid in [1, 2, 3, 4, 9] {
        let before = asked.lock().unwrap().len();
        session.send(request(tid, vec![])).unwrap();
        let more = match tid {
            1 => 4,
            2 | 4 => 5,
            _ => 3,
        };
        eventually("all are asked", || asked.lock().unwrap().len() == before + more);
    }
    eventually("one is left", || server.unhandled() == 1);
    let expected = [
        // 3 stands first; both fast ones see each message first, and whoever keeps it is the last to be asked.
        vec![(13, 1), (12, 1), (3, 1), (1, 1)],
        vec![(13, 2), (12, 2), (3, 2), (1, 2), (2, 2)],
        vec![(13, 3), (12, 3), (3, 3)],
        vec![(13, 4), (12, 4), (3, 4), (1, 4), (2, 4)],
        vec![(13, 9), (12, 9), (23, 9)],
    ];
    assert_eq!(*asked.lock().unwrap(), expected.concat());
    other.end(Duration::ZERO);
    server.end(Duration::ZERO);
}

/// Ends its session from within, and shuts the messenger down from within if it says so.
struct Ender(AtomicUsize);

impl Dispatcher for Ender {
    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        self.fast_dispatch(from, received);
        None
    }

    fn is_fast(&self) -> bool {
        true
    }

    fn can_fast_dispatch(&self, message: &Message) -> bool {
        message.header.tid.is_multiple_of(2)
    }

    fn fast_dispatch(&self, from: &Handle, _received: Received) {
        from.mark_down();
        assert!(!from.is_open() && from.send(request(1, vec![])).is_err());
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn sessions_are_ended_from_within_callbacks<D: Driver>() {
    for version in BOTH {
        let (server, ender) = (D::start(setup(osd(), Policy::stateless_server())), Arc::new(Ender(0.into())));
        server.add_tail(ender.clone());
        let to = server.listen(&any_port(version));
        let (other, heard) = (D::start(setup(client(), Policy::lossy_client())), Witness::plain());
        other.add_tail(heard.clone());
        for tid in 1..=40 {
            let session = other.connect(osd().kind, &to);
            session.send(request(tid, vec![])).unwrap();
            eventually("it ends", || session.is_closed());
        }
        assert_eq!(ender.0.load(Ordering::SeqCst), 40);
        eventually("none is left", || server.sessions().is_empty() && other.sessions().is_empty());
        other.end(Duration::ZERO);
        server.end(Duration::ZERO);
    }
}

/// Keeps the messages.
#[derive(Default)]
struct Hoarder(Mutex<Vec<Received>>);

impl Dispatcher for Hoarder {
    fn dispatch(&self, _from: &Handle, received: Received) -> Option<Received> {
        self.0.lock().unwrap().push(received);
        None
    }
}

fn a_full_throttle_stops_reading_until_messages_are_dropped<D: Driver>() {
    for version in BOTH {
        for dispatch in [false, true] {
            let bytes = Throttle::new(if dispatch { 0 } else { 250 });
            let policy = Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), None);
            let mut setup_server = setup(osd(), policy);
            setup_server.protocol.dispatch_throttle_bytes = if dispatch { 250 } else { 0 };
            let (server, hoarder) = (D::start(setup_server), Arc::new(Hoarder::default()));
            server.add_tail(hoarder.clone());
            let to = server.listen(&any_port(version));
            let other = D::start(setup(client(), Policy::lossless_client()));
            let session = other.connect(osd().kind, &to);
            for tid in 1..=9 {
                session.send(request(tid, vec![1; 100])).unwrap();
            }
            let held = || hoarder.0.lock().unwrap().len();
            for round in 0..4 {
                // The third waits for the first two to go.
                eventually("two are held", || held() == 2);
                eventually("it pauses", || server.totals().sums.pauses > round);
                assert_eq!(held(), 2);
                let mut hoard = hoarder.0.lock().unwrap();
                if dispatch && round == 0 {
                    // To have dispatched them is enough, where nothing else holds them.
                    hoard.iter_mut().for_each(Received::dispatched);
                }
                drop(std::mem::take(&mut *hoard));
            }
            eventually("the last", || held() == 1);
            assert_eq!(other.end(Duration::from_secs(20)), []);
            hoarder.0.lock().unwrap().clear();
            assert_eq!((bytes.current(), server.local().dispatch_throttle().current()), (0, 0));
            server.end(Duration::ZERO);
        }
    }
}

// Sessions.

fn keepalives_are_answered<D: Driver>() {
    for version in BOTH {
        let (server, other) = (
            D::start(setup(osd(), Policy::stateless_server())),
            D::start(setup(client(), Policy::lossy_client())),
        );
        let to = server.listen(&any_port(version));
        let session = other.connect(osd().kind, &to);
        session.keepalive();
        eventually("it is answered", || session.last_keepalive_ack().is_some());
        assert!(session.last_keepalive_ack().unwrap().sec > 1_700_000_000);
        assert!(server.sessions()[0].last_keepalive().is_some());
        other.end(Duration::ZERO);
        server.end(Duration::ZERO);
    }
}

fn posted_memory_is_filled<D: Driver>() {
    const LEN: usize = 3 << 20;
    for version in BOTH {
        let (server, other) = (
            D::start(setup(osd(), Policy::stateful_server())),
            D::start(setup(client(), Policy::lossless_client())),
        );
        server.add_tail(Witness::echoing());
        let hoarder = Arc::new(Hoarder::default());
        other.add_tail(hoarder.clone());
        let to = server.listen(&any_port(version));
        let session = other.connect(osd().kind, &to);
        let posted = BytesMut::with_capacity(LEN);
        let at = posted.as_ptr() as usize;
        session.post(5, posted);
        session.post(6, BytesMut::with_capacity(10));
        for tid in 4..=6 {
            session.send(request(tid, vec![tid as u8; LEN])).unwrap();
        }
        eventually("three answers", || hoarder.0.lock().unwrap().len() == 3);
        for received in hoarder.0.lock().unwrap().drain(..) {
            let (message, _permits) = received.into_parts();
            let tid = message.header.tid;
            let data = message.data.into_bytes();
            assert!(data.len() == LEN && data.iter().all(|byte| *byte == tid as u8));
            assert_eq!(data.as_ptr() as usize == at, tid == 5);
            if tid == 5 {
                assert!(data.try_into_mut().is_ok());
            }
        }
        assert!(session.revoke(5).is_none());
        session.post(7, BytesMut::with_capacity(20));
        assert_eq!(session.revoke(7).unwrap().capacity(), 20);
        other.end(Duration::ZERO);
        server.end(Duration::ZERO);
    }
}

fn sessions_keep_what_they_are_given<D: Driver>() {
    let messenger = D::start(setup(client(), Policy::lossy_client()));
    let nowhere: AddrVec = "v2:127.0.0.1:1/0".parse().unwrap();
    let (one, manner) =
        (messenger.connect(EntityType::MON, &nowhere), Manner { anonymous: true, ..Manner::default() });
    let two = messenger.connect_as(EntityType::MON, &nowhere, manner);
    one.set_private(Arc::new(5u32));
    assert_eq!(
        (one.private::<u32>(), one.private::<u8>(), two.private::<u32>()),
        (Some(Arc::new(5)), None, None)
    );
    assert_eq!(messenger.find(&nowhere).unwrap().private::<u32>(), Some(Arc::new(5)));
    one.clear_private();
    assert_eq!(one.private::<u32>(), None);
    assert!(messenger.mark_down(&nowhere) && one.is_closed() && !two.is_closed());
    eventually("it is out of the table", || !messenger.mark_down(&nowhere));
    // A session of its own, though the address is the same.
    assert_ne!(messenger.connect(EntityType::MON, &nowhere), one);
    messenger.end(Duration::ZERO);
}

fn sessions_in_backoff_need_no_thread<D: Driver>() {
    let mut setup = setup(client(), Policy::lossless_client());
    setup.protocol.initial_backoff = Duration::from_secs(3600);
    setup.protocol.max_backoff = Duration::from_secs(3600);
    let (messenger, heard) = (D::start(setup), Witness::plain());
    messenger.add_tail(heard.clone());
    let before = threads();
    let all: Vec<Handle> = (0..500)
        .map(|nonce| messenger.connect(EntityType::OSD, &format!("v2:127.0.0.1:1/{nonce}").parse().unwrap()))
        .collect();
    heard.wait("all are refused", |told| {
        told.iter().filter(|(_, told)| *told == Told::Refused).count() == 500
    });
    eventually("the dials are over", || threads() < before + 100);
    assert!(all.iter().all(|session| !session.is_closed() && session.stats().dials == 1));
    messenger.end(Duration::ZERO);
    assert!(all.iter().all(Handle::is_closed));
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

// Shutdown.

fn shutdown_sends_what_is_queued<D: Driver>() {
    for version in BOTH {
        for policy in [Policy::lossy_client(), Policy::lossless_client()] {
            let server_policy =
                if policy.lossy { Policy::stateless_server() } else { Policy::stateful_server() };
            // Fast: what waits for normal dispatch goes when a lossy peer does.
            let (server, saw) = (D::start(setup(osd(), server_policy)), Witness::fast_sink());
            server.add_tail(saw.clone());
            let to = server.listen(&any_port(version));
            let other = D::start(setup(client(), policy));
            let session = other.connect(osd().kind, &to);
            for tid in 1..=50 {
                session.send(request(tid, vec![1; 100_000])).unwrap();
            }
            assert_eq!(other.end(Duration::from_secs(60)), []);
            saw.wait_messages(50);
            assert!(saw.tids().into_iter().eq(1..=50));
            // Again is nothing.
            assert_eq!(other.end(Duration::from_secs(60)), []);
            assert!(session.is_closed() && other.connect(osd().kind, &to).is_closed());
            server.end(Duration::ZERO);
        }
    }
}

fn shutdown_tells_what_was_not_sent<D: Driver>() {
    let (messenger, heard) = (D::start(setup(client(), Policy::lossless_client())), Witness::plain());
    messenger.add_tail(heard.clone());
    let nowhere: AddrVec = "v2:127.0.0.1:1/0".parse().unwrap();
    let session = messenger.connect(EntityType::MON, &nowhere);
    for tid in 1..=3 {
        session.send(request(tid, vec![1; 10])).unwrap();
    }
    let unsent = messenger.end(Duration::from_millis(5));
    assert_eq!(unsent.len(), 1);
    assert_eq!((unsent[0].peer.kind, &unsent[0].addrs), (EntityType::MON, &nowhere));
    assert_eq!((unsent[0].queued, unsent[0].queued_bytes, unsent[0].unacknowledged), (3, 30, 0));
    // Its end was told before the shutdown returned.
    assert_eq!(heard.count(&Told::Reset(None)), 1);
}

fn what_is_dropped_ends<D: Driver>() {
    let (server, saw) = (D::start(setup(osd(), Policy::stateless_server())), Witness::echoing());
    server.add_tail(saw.clone());
    let to = server.listen(&any_port(Version::V2));
    let (other, heard) = (D::start(setup(client(), Policy::lossy_client())), Witness::plain());
    other.add_tail(heard.clone());
    let session = other.connect(osd().kind, &to);
    one_round_trip(&heard, &session);
    drop(other);
    assert!(session.is_closed());
    saw.wait("a reset", |told| told.iter().any(|(_, told)| matches!(told, Told::Reset(_))));
    drop(server);
    eventually("it listens no more", || TcpStream::connect(to.0[0].socket.unwrap()).is_err());
}

#[cfg(feature = "serde")]
fn dumps_tell_what_goes_on<D: Driver>() {
    let (server, saw) = (D::start(setup(osd(), Policy::stateful_server())), Witness::echoing());
    server.add_tail(saw.clone());
    let to = server.listen(&any_port(Version::V2));
    let (other, heard) = (D::start(setup(client(), Policy::lossless_client())), Witness::plain());
    other.add_tail(heard.clone());
    let session = other.connect(osd().kind, &to);
    one_round_trip(&heard, &session);
    let json = serde_json::to_value(other.dump()).unwrap();
    let dumped = &json["connections"][0]["async_connection"];
    assert_eq!((&json["connections_count"], &dumped["conn_id"]), (&1.into(), &session.id().into()));
    assert!(dumped["socket_fd"].as_i64().unwrap() > 2, "{dumped}");
    assert_eq!(json["local_connection"].as_array().unwrap().len(), 1);
    let json = serde_json::to_value(server.dump()).unwrap();
    assert!(json["listen_sockets"][0]["socket_fd"].as_i64().unwrap() > 2);
    let totals = server.totals();
    assert_eq!((totals.sums.recv_messages, totals.sums.send_messages, totals.active_connections), (1, 1, 1));
    assert_eq!(json["counters"]["msgr_recv_messages"], 1);
    other.end(Duration::ZERO);
    server.end(Duration::ZERO);
}

on_each_driver! {
    ports_come_from_the_range
    a_port_in_use_is_tried_again
    rebinding_makes_another_one
    clients_bind_before_they_connect
    one_port_speaks_both_versions
    unix_sockets_carry_sessions
    sockets_in_the_handshake_are_counted
    dispatchers_are_asked_in_order
    sessions_are_ended_from_within_callbacks
    a_full_throttle_stops_reading_until_messages_are_dropped
    keepalives_are_answered
    posted_memory_is_filled
    sessions_keep_what_they_are_given
    sessions_in_backoff_need_no_thread
    shutdown_sends_what_is_queued
    shutdown_tells_what_was_not_sent
    what_is_dropped_ends
    #[cfg(feature = "serde")] dumps_tell_what_goes_on
}
