//! Do sessions live and die as in Ceph's own messenger tests?
//!
//! The plain cases of `src/test/msgr/test_msgr.cc`, in its order.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cephwire::codec::{AddrVec, EntityType, Features, Message, MessageType};
use cephwire::protocol::Incompatible;
use cephwire::{Error, Manner, Policies, Policy, Version};
use socket2::{Domain, Socket, Type};

use crate::plain::{CLIENT, OSD, Pair, assert_fresh, count, message, ping, setup};
use crate::rig::{Driver, any_port, eventually};

matrix! {
    simple
    another_one_at_the_same_port
    features
    timeout
    stateful
    stateless
    anonymous
    anonymous_meets_registered
    client_standby
    authentication
    large_messages
    refused;
    of any version:
    simple_msgr2
}

fn stateless_pair<D: Driver>(version: Version) -> Pair<D> {
    Pair::new(version, Policy::stateless_server(), Policy::lossy_client())
}

/// The end of `SimpleTest`: what is sent after the end goes nowhere, except to oneself.
fn end_simply<D: Driver>(pair: Pair<D>) {
    let c2s = pair.c2s();
    c2s.mark_down();
    assert!(!c2s.is_open());
    pair.server.end(Duration::ZERO);
    // Ceph takes it and drops it; here it comes back.
    assert_eq!(c2s.send(ping()), Err(ping().into()));
    assert!(!c2s.is_open());

    let own = pair.client.loopback();
    own.send(ping()).unwrap();
    pair.heard.wait("the loopback", |seen| !seen.looped_back.is_empty());
    assert_eq!(pair.heard.look(|seen| seen.looped_back.clone()), [(CLIENT, false)]);
    pair.teardown();
}

/// `SimpleTest`.
fn simple<D: Driver>(version: Version) {
    let mut pair = stateless_pair::<D>(version);
    let c2s = pair.c2s();
    pair.round_trip(&c2s);
    assert_fresh(&c2s);
    assert_eq!(c2s.peer().kind, EntityType::OSD);

    let port = |addrs: &AddrVec| addrs.0[0].socket.unwrap().port();
    let avoid: BTreeSet<u16> = (0..10).map(|n| port(&pair.to) + n).collect();
    pair.to = pair.server.relisten(&avoid);
    assert!(!avoid.contains(&port(&pair.to)));
    eventually("the old connection ends", || c2s.is_closed());
    let rebound = pair.c2s();
    assert_ne!(rebound, c2s);
    pair.round_trip(&rebound);
    assert_fresh(&rebound);
    end_simply(pair);
}

/// `SimpleTest`: who knows only the old nonce does not reach who listens at the same port now.
fn another_one_at_the_same_port<D: Driver>(version: Version) {
    let attempt = || {
        let pair = stateless_pair::<D>(version);
        pair.server.end(Duration::ZERO);
        let mut other = setup(OSD, Policy::stateless_server());
        other.net.bind_retry_count = 1;
        let other = Pair::<D>::start(other, setup(CLIENT, Policy::lossy_client()), true);
        // Another process may take the port in between.
        let at = other.server.try_listen(&pair.to).ok()?;
        Some((pair, other, at))
    };
    let (pair, other, at) = (0..50).find_map(|_| attempt()).unwrap();
    assert!(at.0[0].socket == pair.to.0[0].socket && at.0[0].nonce != pair.to.0[0].nonce);
    let c2s = pair.c2s();
    let _ = c2s.send(ping());
    pair.heard.wait("it is told", |seen| !seen.errors.is_empty());
    assert!(!c2s.is_open());
    c2s.mark_down();
    assert_eq!(other.saw.look(|seen| seen.received.len()), 0);
    other.teardown();
    pair.teardown();
}

/// `SimpleMsgr2Test`, and its variants: the other order, a client that is bound to v1, and a server that offers only
/// that. Ceph's server offers v1 first, and that is what `create_connect` takes, whatever the test's name says.
fn simple_msgr2<D: Driver>() {
    let (v1, v2) = ("v1:127.0.0.1:0/0", "v2:127.0.0.1:0/0");
    let (both, newer_first) = (format!("[{v1},{v2}]"), format!("[{v2},{v1}]"));
    for (server, client, chosen) in [
        (both.as_str(), None, Version::V1),
        (&newer_first, None, Version::V2),
        (&newer_first, Some(v1), Version::V1),
        (v1, None, Version::V1),
    ] {
        let policies = (Policy::stateless_server(), Policy::lossy_client());
        let mut pair = Pair::<D>::start(setup(OSD, policies.0), setup(CLIENT, policies.1), true);
        pair.to = pair.server.listen(&server.parse().unwrap());
        if let Some(own) = client {
            pair.client.listen(&own.parse().unwrap());
        }
        let c2s = pair.c2s();
        pair.round_trip(&c2s);
        assert_fresh(&c2s);
        assert_eq!(c2s.version(), Some(chosen));

        pair.to = pair.server.relisten(&BTreeSet::new());
        let rebound = pair.c2s();
        pair.round_trip(&rebound);
        assert_fresh(&rebound);
        end_simply(pair);
    }
}

/// `FeatureTest`. (Ceph's starts the messenger that was shut down again; here the connection is marked down.)
fn features<D: Driver>(version: Version) {
    let base = Features(0x3ff).union(Features::MSG_ADDR2).union(Features::SERVER_NAUTILUS);
    let with = |bits: u64| Features(base.bits() | bits);
    let client = |features| Policies::all(Policy { features_supported: features, ..Policy::lossy_client() });
    let server = Policy::stateless_server().requiring(with(1 << 13));
    let pair = Pair::<D>::new(version, server, Policy::lossy_client());
    pair.client.local().set_policies(client(base));
    let c2s = pair.c2s();
    let _ = c2s.send(ping());
    pair.heard.wait("it is told", |seen| !seen.errors.is_empty());
    assert!(!c2s.is_open());
    // A lossy client of v1 gives up; one of v2 that has never been open goes on trying.
    let gives_up = version == Version::V1;
    assert_eq!((c2s.is_closed(), pair.heard.look(|seen| seen.resets)), (gives_up, u32::from(gives_up)));
    c2s.mark_down();
    for error in pair.heard.look(|seen| seen.errors.clone()) {
        let Error::Incompatible { source: Incompatible::PeerRequires { missing, .. }, .. } = error else {
            panic!("{error}")
        };
        assert!(missing.bits() & 1 << 13 != 0, "{missing:?}");
    }
    assert_eq!(pair.saw.look(|seen| seen.received.len()), 0);

    pair.client.local().set_policies(client(with(1 << 13 | 1 << 14)));
    let c2s = pair.c2s();
    pair.round_trip(&c2s);
    assert_fresh(&c2s);
    pair.teardown();
}

/// `TimeoutTest`.
fn timeout<D: Driver>(version: Version) {
    const IDLE: Duration = Duration::from_secs(1);
    let mut other = setup(CLIENT, Policy::lossy_client());
    other.protocol.idle_timeout = IDLE;
    let mut pair = Pair::<D>::start(setup(OSD, Policy::stateless_server()), other, true);
    pair.to = pair.server.listen(&any_port(version));
    let c2s = pair.c2s();
    let before = Instant::now();
    pair.round_trip(&c2s);
    pair.heard.wait("its end", |seen| seen.resets == 1);
    assert!(c2s.is_closed() && before.elapsed() >= IDLE);
    let errors = pair.heard.look(|seen| seen.errors.clone());
    assert!(matches!(errors[..], [Error::TimedOut { .. }]), "{errors:?}");
    pair.teardown();
}

/// `StatefulTest`.
fn stateful<D: Driver>(version: Version) {
    let pair = Pair::<D>::new(version, Policy::stateful_server(), Policy::lossless_client());
    let c2s = pair.c2s();
    pair.round_trip(&c2s);
    assert_fresh(&c2s);
    c2s.mark_down();
    assert!(!c2s.is_open());
    // The server keeps its state.
    let first = pair.last_accepted();
    assert_eq!((pair.accepted(), count(&first)), (first, 1));

    let c2s = pair.c2s();
    pair.round_trip(&c2s);
    assert_eq!(count(&c2s), 1);
    pair.saw.wait("the server learns of the loss", |seen| seen.got_remote_reset);
    let server = pair.accepted();
    assert!(!pair.heard.look(|seen| seen.got_remote_reset));

    pair.heard.look(|seen| seen.got_connect = false);
    server.mark_down();
    pair.heard.wait("the reset, and a connect", |seen| seen.got_remote_reset && seen.got_connect);
    eventually("the client is connected", || c2s.is_open());
    pair.round_trip(&c2s);
    assert_eq!(count(&c2s), 1);
    assert_eq!(count(&pair.accepted()), 1);
    pair.teardown();
}

/// `StatelessTest`.
fn stateless<D: Driver>(version: Version) {
    let pair = stateless_pair::<D>(version);
    let c2s = pair.c2s();
    pair.round_trip(&c2s);
    assert_fresh(&c2s);
    let first = pair.last_accepted();
    c2s.mark_down();
    assert!(!c2s.is_open());

    let c2s = pair.c2s();
    pair.round_trip(&c2s);
    assert_fresh(&c2s);
    let server = pair.last_accepted();
    assert_ne!(server, first);
    assert_fresh(&server);
    pair.saw.wait("the old one is reset", |seen| seen.resets == 1);
    assert!(first.is_closed());

    server.mark_down();
    c2s.keepalive();
    eventually("the client sees the end", || !c2s.is_open());
    let again = pair.c2s();
    assert_ne!(again, c2s);
    pair.round_trip(&again);
    assert_fresh(&again);
    pair.teardown();
}

/// `AnonTest`.
fn anonymous<D: Driver>(version: Version) {
    let pair = stateless_pair::<D>(version);
    let manner = Manner { anonymous: true, ..Manner::default() };
    let seen = [(); 2].map(|()| {
        let c2s = pair.client.connect_as(EntityType::OSD, &pair.to, manner);
        pair.round_trip(&c2s);
        assert_fresh(&c2s);
        (c2s, pair.last_accepted())
    });
    assert!(seen[0].0 != seen[1].0 && seen[0].1 != seen[1].1);
    for (c2s, server) in &seen {
        pair.round_trip(c2s);
        assert_eq!((count(c2s), count(server)), (2, 2));
    }
    for (c2s, server) in &seen {
        c2s.mark_down();
        assert!(!c2s.is_open());
        eventually("the server sees the end", || server.is_closed());
    }
    pair.teardown();
}

/// `AnonTest` with a server that registers: the second one displaces the first, which has the same address.
fn anonymous_meets_registered<D: Driver>(version: Version) {
    let pair = Pair::<D>::new(version, Policy::stateless_registered_server(), Policy::lossy_client());
    let manner = Manner { anonymous: true, ..Manner::default() };
    let first = pair.client.connect_as(EntityType::OSD, &pair.to, manner);
    pair.round_trip(&first);
    let second = pair.client.connect_as(EntityType::OSD, &pair.to, manner);
    pair.round_trip(&second);
    eventually("the first one ends", || first.is_closed());
    assert_fresh(&second);
    pair.heard.wait("a reset", |seen| seen.resets == 1);
    pair.saw.wait("a reset", |seen| seen.resets == 1);
    pair.teardown();
}

/// `ClientStandbyTest`.
fn client_standby<D: Driver>(version: Version) {
    let pair = Pair::<D>::new(version, Policy::stateful_server(), Policy::lossless_peer());
    let c2s = pair.c2s();
    pair.round_trip(&c2s);
    assert_fresh(&c2s);
    assert!(!pair.heard.look(|seen| seen.got_remote_reset));
    pair.heard.look(|seen| seen.got_connect = false);
    // All is acknowledged: the client has nothing to come back for.
    eventually("the acknowledgement", || c2s.stats().unacknowledged == 0);
    pair.last_accepted().mark_down();
    pair.heard.wait("the client notices", |seen| !seen.errors.is_empty());
    assert!(!c2s.is_open() && !c2s.is_closed());
    assert!(!pair.heard.look(|seen| seen.got_remote_reset || seen.got_connect));
    assert_eq!(c2s.stats().dials, 1);

    // This one is lost: the server has forgotten the session.
    c2s.send(ping()).unwrap();
    pair.heard.wait("the reset, and a connect", |seen| seen.got_remote_reset && seen.got_connect);
    eventually("the client is connected", || c2s.is_open());
    pair.round_trip(&c2s);
    assert_eq!((count(&c2s), pair.saw.look(|seen| seen.received.len())), (1, 2));
    assert_eq!(count(&pair.accepted()), 1);
    pair.teardown();
}

/// `AuthTest`. Its methods are dummies, whatever the options say; real cephx is tested with its own.
fn authentication<D: Driver>(version: Version) {
    let pair = stateless_pair::<D>(version);
    for _ in 0..2 {
        let c2s = pair.c2s();
        pair.round_trip(&c2s);
        assert_fresh(&c2s);
        c2s.mark_down();
        assert!(!c2s.is_open());
    }
    pair.teardown();
}

const STRINGS: usize = 30_720;

/// `MessageTest`: a COMMAND of 921,620 bytes in front, dispatched the normal way; a PING of 798,720 bytes of data.
fn large_messages<D: Driver>(version: Version) {
    let pair = Pair::<D>::new(version, Policy::stateful_server(), Policy::lossless_peer());
    let c2s = pair.c2s();
    let mut front = vec![0; 16];
    front.extend((STRINGS as u32).to_le_bytes());
    for _ in 0..STRINGS {
        front.extend(26u32.to_le_bytes());
        front.extend(b"abcdefghijklmnopqrstuvwxyz");
    }
    assert_eq!(front.len(), 921_620);
    c2s.send(Message { front: front.into(), ..message(MessageType::COMMAND, 0, 1) }).unwrap();
    pair.heard.wait("the answer", |seen| seen.received.len() == 1);

    let data = Bytes::from(b"abcdefghijklmnopqrstuvwxyz".repeat(STRINGS));
    c2s.send(Message { data: data.into(), ..message(MessageType::PING, 0, 2) }).unwrap();
    pair.heard.wait("the answer", |seen| seen.received.len() == 2);
    let lens =
        pair.saw.look(|seen| seen.received.iter().map(|(_, tid, len)| (*tid, *len)).collect::<Vec<_>>());
    assert_eq!(lens, [(1, 921_620), (2, 798_720)]);
    assert_eq!(count(&c2s), 2);
    pair.teardown();
}

/// Fixture: a client that is not listened to is refused, and goes on trying.
fn refused<D: Driver>(version: Version) {
    let mut pair = stateless_pair::<D>(version);
    // Bound, so that nobody else is; but not listened to.
    let nobody = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    nobody.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    pair.to.0[0].socket = nobody.local_addr().unwrap().as_socket();
    let c2s = pair.c2s();
    c2s.send(ping()).unwrap();
    pair.heard.wait("four attempts", |seen| seen.refused > 3);
    assert!(!c2s.is_closed() && !c2s.is_open());
    pair.teardown();
}
