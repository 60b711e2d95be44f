//! Do sessions live and die as in Ceph's own messenger tests?
//!
//! The plain cases of `src/test/msgr/test_msgr.cc`, in its order. Sockets, ports and threads are a driver's; what of a
//! case concerns those is said there.

use crate::fixture::{CLIENT, Id, Net, Plain, SERVER, addr, both_versions, message, ms, pair, ping};
use cephwire_protocol::codec::{AddrVec, EntityType, Features, Message, MessageType, Payload};
use cephwire_protocol::{Error, Incompatible, Policies, Policy, Version};

both_versions! {
    simple
    features
    timeout
    stateful
    stateless
    anonymous
    anonymous_meets_registered
    client_standby
    authentication
    large_messages
    batches
}

fn stateless_pair(version: Version) -> Net<Plain> {
    let mut net = pair(version, Policy::stateless_server(), Policy::lossy_client(), false);
    net.app.replies[SERVER] = true;
    net
}

/// `SimpleTest`. That a rebind avoids ports is the driver's; here it is another nonce at another port.
fn simple(version: Version) {
    let mut net = stateless_pair(version);
    let c2s = net.c2s();
    net.round_trip(c2s);
    net.assert_fresh(c2s);

    net.rebind(SERVER, addr(version, 3310, 0).into());
    net.eventually("the old connection ends", |net| net.conn(c2s).session.is_closed());
    let rebound = net.c2s();
    assert_ne!(rebound, c2s);
    net.round_trip(rebound);
    net.assert_fresh(rebound);

    net.mark_down(rebound);
    assert!(!net.is_open(rebound));
    net.shutdown(SERVER);
    net.send(rebound, ping());
    net.run(ms(100));
    assert!(!net.is_open(rebound));

    net.send_loopback(CLIENT, ping());
    assert_eq!(net.app.looped_back, [0, 1]);
    net.shutdown(SERVER);
    net.send_loopback(SERVER, ping());
    assert_eq!(net.app.looped_back, [0, 1]);
    net.teardown();
}

/// `SimpleTest`: who knows only the old address does not reach the server that was rebound to the same port.
#[test]
fn rebound_server_is_another_one() {
    for version in [Version::V1, Version::V2] {
        let mut net = stateless_pair(version);
        let before = net.nodes[SERVER].addrs.clone();
        net.rebind(SERVER, before.clone());
        let c2s = net.connect(CLIENT, EntityType::OSD, &before);
        net.send(c2s, ping());
        net.run(ms(5000));
        assert!(!net.is_open(c2s));
        assert_eq!(net.app.received[SERVER], []);
        net.teardown();
    }
}

/// `SimpleMsgr2Test`, and its variants: the other order, a client that is bound to v1, and a server that offers only
/// that. Ceph's server offers v1 first, and that is what `create_connect` takes, whatever the test's name says.
#[test]
fn simple_msgr2() {
    let (v1, v2) = (addr(Version::V1, 6789, 4711), addr(Version::V2, 3300, 4711));
    let (both, newer_first) = (AddrVec(vec![v1, v2]), AddrVec(vec![v2, v1]));
    for (server, client, chosen) in [
        (both, AddrVec::default(), Version::V1),
        (newer_first.clone(), AddrVec::default(), Version::V2),
        (newer_first, addr(Version::V1, 3301, 4711).into(), Version::V1),
        (v1.into(), AddrVec::default(), Version::V1),
    ] {
        let mut net = stateless_pair(Version::V2);
        net.bind(SERVER, server);
        net.bind(CLIENT, client);
        let c2s = net.c2s();
        net.round_trip(c2s);
        net.assert_fresh(c2s);
        assert_eq!(net.conn(c2s).session.version(), chosen);
        net.mark_down(c2s);
        assert!(!net.is_open(c2s));
        net.teardown();
    }
}

/// `FeatureTest`.
fn features(version: Version) {
    let base = Features(0x3ff).union(Features::MSG_ADDR2).union(Features::SERVER_NAUTILUS);
    let with = |bits: u64| Features(base.bits() | bits);
    let server = Policy::stateless_server().requiring(with(1 << 13));
    let client = |features| Policies::all(Policy { features_supported: features, ..Policy::lossy_client() });
    let mut net = pair(version, server, Policy::lossy_client(), false);
    net.app.replies[SERVER] = true;
    net.nodes[CLIENT].local.set_policies(client(base));
    let c2s = net.c2s();
    net.send(c2s, ping());
    net.run(ms(2000));
    // A lossy client of v1 gives up; one of v2 that has never been open goes on trying.
    assert!(!net.is_open(c2s));
    let gives_up = version == Version::V1;
    assert_eq!(net.conn(c2s).session.is_closed(), gives_up);
    assert_eq!(net.app.resets[CLIENT], u32::from(gives_up));
    let errors = net.errors.iter().filter(|(id, _)| *id == c2s).map(|(_, error)| error);
    for error in errors.clone() {
        let Error::Incompatible { source: Incompatible::PeerRequires { missing, .. }, .. } = error else {
            panic!("{error}")
        };
        assert!(missing.bits() & 1 << 13 != 0, "{missing:?}");
    }
    assert!(errors.count() > 0);
    net.mark_down(c2s);

    net.nodes[CLIENT].local.set_policies(client(with(1 << 13 | 1 << 14)));
    let c2s = net.c2s();
    net.round_trip(c2s);
    net.assert_fresh(c2s);
    net.teardown();
}

/// `TimeoutTest`.
fn timeout(version: Version) {
    let mut net = stateless_pair(version);
    net.set_options(CLIENT, |options| options.with(|options| options.idle_timeout = ms(1000)));
    let c2s = net.c2s();
    net.round_trip(c2s);
    net.assert_fresh(c2s);
    net.run(ms(900));
    assert!(net.is_open(c2s));
    net.run(ms(1600));
    assert!(net.conn(c2s).session.is_closed());
    assert_eq!(net.app.resets[CLIENT], 1);
    net.teardown();
}

/// `StatefulTest`.
fn stateful(version: Version) {
    let mut net = pair(version, Policy::stateful_server(), Policy::lossless_client(), false);
    net.app.replies[SERVER] = true;
    let c2s = net.c2s();
    net.round_trip(c2s);
    net.assert_fresh(c2s);
    net.mark_down(c2s);
    assert!(!net.is_open(c2s));
    net.run(ms(10));
    // The server keeps its state.
    let first = net.app.last_accept_con.unwrap();
    assert_eq!(net.accepted(), first);
    assert_eq!(net.count(first), 1);

    let c2s = net.c2s();
    net.round_trip(c2s);
    assert_eq!(net.count(c2s), 1);
    net.eventually("the server learns of the loss", |net| net.app.got_remote_reset[SERVER]);
    let server = net.accepted();
    assert!(!net.app.got_remote_reset[CLIENT]);

    (net.app.got_connect[CLIENT], net.app.got_remote_reset[CLIENT]) = (false, false);
    net.mark_down(server);
    net.wait_until("the client's reset", |net| net.app.got_remote_reset[CLIENT]);
    net.wait_until("the client connects", |net| net.app.got_connect[CLIENT]);
    net.eventually("the client is connected", |net| net.is_open(c2s));
    net.round_trip(c2s);
    assert_eq!(net.count(c2s), 1);
    let server = net.accepted();
    assert_eq!(net.count(server), 1);
    net.teardown();
}

/// `StatelessTest`.
fn stateless(version: Version) {
    let mut net = stateless_pair(version);
    let c2s = net.c2s();
    net.round_trip(c2s);
    net.assert_fresh(c2s);
    let first = net.app.last_accept_con.unwrap();
    net.mark_down(c2s);
    assert!(!net.is_open(c2s));

    let c2s = net.c2s();
    net.round_trip(c2s);
    net.assert_fresh(c2s);
    let server = net.app.last_accept_con.unwrap();
    assert_ne!(server, first);
    net.assert_fresh(server);
    // The old one was reset.
    assert!(net.conn(first).session.is_closed());
    assert_eq!(net.app.resets, [1, 0]);

    net.mark_down(server);
    net.keepalive(c2s);
    net.eventually("the client sees the end", |net| !net.is_open(c2s));
    let again = net.c2s();
    assert_ne!(again, c2s);
    net.round_trip(again);
    net.assert_fresh(again);
    net.teardown();
}

/// `AnonTest`.
fn anonymous(version: Version) {
    let mut net = stateless_pair(version);
    let to = net.nodes[SERVER].addrs.clone();
    let mut seen: Vec<(Id, Id)> = Vec::new();
    for _ in 0..2 {
        let c2s = net.connect_anonymously(CLIENT, EntityType::OSD, &to);
        net.round_trip(c2s);
        net.assert_fresh(c2s);
        seen.push((c2s, net.app.last_accept_con.unwrap()));
    }
    assert!(seen[0].0 != seen[1].0 && seen[0].1 != seen[1].1);
    for (c2s, server) in seen.clone() {
        net.round_trip(c2s);
        assert_eq!((net.count(c2s), net.count(server)), (2, 2));
    }
    for (c2s, server) in seen {
        net.mark_down(c2s);
        assert!(!net.is_open(c2s));
        net.eventually("the server sees the end", |net| net.conn(server).session.is_closed());
    }
    net.teardown();
}

/// `AnonTest` with a server that registers: the second one displaces the first, which has the same address.
fn anonymous_meets_registered(version: Version) {
    let mut net = pair(version, Policy::stateless_registered_server(), Policy::lossy_client(), false);
    net.app.replies[SERVER] = true;
    let to = net.nodes[SERVER].addrs.clone();
    let first = net.connect_anonymously(CLIENT, EntityType::OSD, &to);
    net.round_trip(first);
    let second = net.connect_anonymously(CLIENT, EntityType::OSD, &to);
    net.round_trip(second);
    net.run(ms(100));
    assert!(net.conn(first).session.is_closed());
    net.assert_fresh(second);
    assert_eq!(net.app.resets, [1, 1]);
    net.teardown();
}

/// `ClientStandbyTest`.
fn client_standby(version: Version) {
    let mut net = pair(version, Policy::stateful_server(), Policy::lossless_peer(), false);
    net.app.replies[SERVER] = true;
    let c2s = net.c2s();
    net.round_trip(c2s);
    net.assert_fresh(c2s);
    assert!(!net.app.got_remote_reset[CLIENT]);
    net.run(ms(10));
    let server = net.app.last_accept_con.unwrap();
    net.app.got_connect[CLIENT] = false;
    net.mark_down(server);
    net.run(ms(300));
    assert!(net.conn(c2s).session.is_standby());
    assert!(!net.app.got_remote_reset[CLIENT] && !net.app.got_connect[CLIENT]);

    // This one is lost: the server has forgotten the session.
    net.send(c2s, ping());
    net.wait_until("the reset", |net| net.app.got_remote_reset[CLIENT]);
    net.wait_until("the client connects", |net| net.app.got_connect[CLIENT]);
    net.eventually("the client is connected", |net| net.is_open(c2s));
    net.run(ms(100));
    assert_eq!(net.app.received[SERVER].len(), 1);
    net.round_trip(c2s);
    assert_eq!(net.count(c2s), 1);
    let server = net.accepted();
    assert_eq!(net.count(server), 1);
    net.teardown();
}

/// `AuthTest`. Its methods are dummies, whatever the options say; real cephx is tested with its own.
fn authentication(version: Version) {
    let mut net = stateless_pair(version);
    for _ in 0..2 {
        let c2s = net.c2s();
        net.round_trip(c2s);
        net.assert_fresh(c2s);
        net.mark_down(c2s);
        assert!(!net.is_open(c2s));
    }
    net.teardown();
}

const STRINGS: usize = 30_720;

/// `MessageTest`: a COMMAND of 921,620 bytes in front, dispatched the normal way; a PING of 798,720 bytes of data.
fn large_messages(version: Version) {
    let mut net = pair(version, Policy::stateful_server(), Policy::lossless_peer(), false);
    net.app.replies[SERVER] = true;
    let c2s = net.c2s();
    let mut front = vec![0; 16];
    front.extend((STRINGS as u32).to_le_bytes());
    for _ in 0..STRINGS {
        front.extend(26u32.to_le_bytes());
        front.extend(b"abcdefghijklmnopqrstuvwxyz");
    }
    assert_eq!(front.len(), 921_620);
    let command = message(MessageType::COMMAND, 0, Payload::new());
    net.send(c2s, Message { front: front.into(), ..command });
    net.wait_until("the answer", |net| net.app.got_new[CLIENT]);
    assert_eq!(net.app.received[SERVER].last().unwrap().2, 921_620);

    net.app.got_new[CLIENT] = false;
    let data = b"abcdefghijklmnopqrstuvwxyz".repeat(STRINGS);
    net.send(c2s, message(MessageType::PING, 0, data.into()));
    net.wait_until("the answer", |net| net.app.got_new[CLIENT]);
    assert_eq!(net.app.received[SERVER].last().unwrap().2, 798_720);
    assert_eq!((net.count(c2s), net.app.received[SERVER].len()), (2, 2));
    net.teardown();
}

/// `MessageTest` as the catalogue of v2 has it: empty parts in all combinations, and batches with data of different
/// sizes. All arrive, in order, with each part as long as it was.
fn batches(version: Version) {
    const SIZES: [usize; 10] = [0, 1, 3, 4095, 4096, 4097, 65_536, 65_537, 1 << 20, (1 << 20) + 1];
    let mut net = pair(version, Policy::stateful_server(), Policy::lossless_peer(), false);
    net.app.replies[SERVER] = true;
    let c2s = net.c2s();
    let mut expected: Vec<[usize; 3]> = Vec::new();
    let mut batch = |net: &mut Net<Plain>, parts: &[[usize; 3]]| {
        for part in parts {
            expected.push(*part);
            let [front, middle, data] = part.map(|len| Payload::from(vec![7; len]));
            let mut message = Message { front, middle, data, ..ping() };
            message.header.tid = expected.len() as u64;
            net.send(c2s, message);
        }
        let count = expected.len();
        net.wait_until("all answers", |net| net.app.received[CLIENT].len() == count);
        assert_eq!(net.app.parts[SERVER], expected);
        let tids = net.app.received[CLIENT].iter().map(|(_, tid, _)| *tid);
        assert!(tids.eq(1..=count as u64));
    };
    let len = |present: bool, len| if present { len } else { 0 };
    let empty: Vec<[usize; 3]> =
        (0..8).map(|mask| [len(mask & 1 != 0, 30), len(mask & 2 != 0, 5), len(mask & 4 != 0, 100)]).collect();
    batch(&mut net, &empty);
    for size in SIZES {
        batch(&mut net, &[[0, 0, size]; 10]);
    }
    batch(&mut net, &SIZES.map(|size| [size / 16, size / 64, size]));
    assert_eq!(net.errors, []);
    net.teardown();
}

/// Fixture: a client that is not listened to is refused, and goes on trying.
#[test]
fn refused() {
    for version in [Version::V1, Version::V2] {
        let mut net = stateless_pair(version);
        let c2s = net.connect(CLIENT, EntityType::OSD, &addr(version, 9, 4711).into());
        net.send(c2s, ping());
        net.run(ms(5000));
        assert!(net.app.refused[CLIENT] > 3, "{:?}", net.app.refused);
        assert!(!net.conn(c2s).session.is_closed());
        net.teardown();
    }
}
