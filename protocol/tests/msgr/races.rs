//! Do connections that cross, break in the handshake or come back late end as in Ceph's own messenger tests?
//!
//! The first six cases of `src/test/msgr/test_msgr.cc`, with its interceptor: connections are held at the steps
//! that [`step`] numbers, and go on or fail from there. The server's address is the smaller one: it wins races.

use crate::fixture::{CLIENT, Id, Net, Plain, SERVER, ms, ping, seeded_pair, step};
use cephwire_protocol::codec::Message;
use cephwire_protocol::{Error, Policy, Version};

const SEEDS: u64 = 100;

/// Each test with many latencies.
macro_rules! seeded {
    (both: $($test:ident)*; one: $($single:ident)*) => {
        mod v1 {
            $(#[test] fn $test() { (0..super::SEEDS).for_each(|seed| super::$test(super::Version::V1, seed)); })*
        }
        mod v2 {
            $(#[test] fn $test() { (0..super::SEEDS).for_each(|seed| super::$test(super::Version::V2, seed)); })*
        }
        mod one_version {
            $(#[test] fn $single() { (0..super::SEEDS).for_each(super::$single); })*
        }
    };
}

seeded! {
    both:
        connection_race
        connection_race_reuse_banner
        missing_server_ident_2
        reconnect
        reconnect_race;
    one:
        missing_server_ident_v1
        missing_server_ident_v1_lossless
        missing_server_ident_v2
        missing_server_ident_2_reuse_v1
}

/// A PING that its answer can be told by.
fn numbered(tid: u64) -> Message {
    let mut message = ping();
    message.header.tid = tid;
    message
}

fn tids(net: &Net<Plain>, node: usize) -> Vec<u64> {
    net.app.received[node].iter().map(|(_, tid, _)| *tid).collect()
}

fn nobody_was_reset(net: &Net<Plain>) {
    assert_eq!((net.app.got_remote_reset, net.app.resets), ([false; 2], [0; 2]));
}

/// `ConnectionRaceTest`.
fn connection_race(version: Version, seed: u64) {
    let mut net =
        seeded_pair(seed, version, Policy::lossless_peer_reuse(), Policy::lossless_peer_reuse(), true);
    for node in [SERVER, CLIENT] {
        net.breakpoint(node, step::CLIENT_IDENTITY);
    }
    let (c2s, s2c) = (net.c2s(), net.s2c());
    net.send(c2s, ping());
    net.send(s2c, ping());
    net.wait(c2s, step::CLIENT_IDENTITY);
    net.wait(s2c, step::CLIENT_IDENTITY);
    for (node, id) in [(SERVER, s2c), (CLIENT, c2s)] {
        net.remove_breakpoint(node, step::CLIENT_IDENTITY);
        net.release(id, step::CLIENT_IDENTITY);
    }
    net.wait_until("messages", |net| net.app.got_new == [true; 2]);
    net.run(ms(2000));
    for id in [c2s, s2c] {
        net.assert_fresh(id);
    }
    nobody_was_reset(&net);
    net.teardown();
}

/// `ConnectionRaceReuseBannerTest`.
fn connection_race_reuse_banner(version: Version, seed: u64) {
    let mut net =
        seeded_pair(seed, version, Policy::lossless_peer_reuse(), Policy::lossless_peer_reuse(), true);
    net.breakpoint(SERVER, step::CLIENT_IDENTITY);
    let s2c = net.s2c();
    net.send(s2c, ping());
    net.wait(s2c, step::CLIENT_IDENTITY);

    net.breakpoint(CLIENT, step::CLIENT_BANNER);
    net.breakpoint(SERVER, step::SERVER_BANNER);
    let c2s = net.c2s();
    net.send(c2s, ping());
    net.wait(c2s, step::CLIENT_BANNER);
    net.remove_breakpoint(CLIENT, step::CLIENT_BANNER);
    net.wait_until("the accepting side", |net| net.any_held(SERVER, step::SERVER_BANNER).is_some());
    let accepted = net.any_held(SERVER, step::SERVER_BANNER).unwrap();
    net.remove_breakpoint(SERVER, step::SERVER_BANNER);

    net.breakpoint(CLIENT, step::READY);
    net.remove_breakpoint(SERVER, step::CLIENT_IDENTITY);
    net.release(s2c, step::CLIENT_IDENTITY);
    net.wait(c2s, step::READY);
    net.remove_breakpoint(CLIENT, step::READY);
    net.release(c2s, step::READY);
    net.release(accepted, step::SERVER_BANNER);

    net.wait_until("messages", |net| net.app.got_new == [true; 2]);
    net.run(ms(2000));
    for id in [c2s, s2c] {
        net.assert_fresh(id);
    }
    assert!(!net.is_open(accepted));
    let passed = |step| net.passed(c2s, step, version);
    let steps = [step::CLIENT_STARTS, step::RECONNECT, step::READY];
    assert_eq!(steps.map(passed), [1, 0, 1]);
    net.teardown();
}

/// Lets the server fail when it is about to say who it is, with a message queued.
fn without_server_ident(net: &mut Net<Plain>, client_sends: bool) -> (Id, Id) {
    net.breakpoint(SERVER, step::SERVER_IDENTITY);
    let c2s = net.c2s();
    if client_sends {
        net.send(c2s, ping());
    }
    net.wait_until("the server's ident", |net| net.any_held(SERVER, step::SERVER_IDENTITY).is_some());
    let accepted = net.any_held(SERVER, step::SERVER_IDENTITY).unwrap();
    net.send(accepted, ping());
    net.remove_breakpoint(SERVER, step::SERVER_IDENTITY);
    net.fail(accepted);
    (c2s, accepted)
}

/// `MissingServerIdenTest` with v2: a lossy client that is not open yet tries again.
fn missing_server_ident_v2(seed: u64) {
    let mut net = seeded_pair(seed, Version::V2, Policy::stateful_server(), Policy::lossy_client(), true);
    let (c2s, accepted) = without_server_ident(&mut net, true);
    net.wait_until("messages", |net| net.app.got_new == [true; 2]);
    net.run(ms(1000));
    for id in [c2s, accepted] {
        net.assert_fresh(id);
    }
    net.teardown();
}

/// `MissingServerIdenTest` with v1: a lossy client that has read the banner gives up.
fn missing_server_ident_v1(seed: u64) {
    let mut net = seeded_pair(seed, Version::V1, Policy::stateful_server(), Policy::lossy_client(), true);
    let (c2s, accepted) = without_server_ident(&mut net, true);
    net.run(ms(5000));
    assert!(net.conn(c2s).session.is_closed());
    assert_eq!(net.app.resets, [0, 1]);
    assert!(net.conn(accepted).session.is_standby());
    assert_eq!(net.conn(accepted).session.outbox().queued(), 1);
    assert_eq!(net.app.got_new, [false; 2]);
    net.teardown();
}

/// `MissingServerIdenTest` with v1 and a lossless client: for the server it is a reset.
fn missing_server_ident_v1_lossless(seed: u64) {
    let mut net = seeded_pair(seed, Version::V1, Policy::stateful_server(), Policy::lossless_client(), true);
    let (c2s, accepted) = without_server_ident(&mut net, true);
    net.wait_until("the client's message", |net| net.app.got_new[SERVER]);
    net.run(ms(5000));
    assert_eq!(net.app.got_remote_reset, [true, false]);
    net.assert_peer(c2s);
    net.assert_fresh(accepted);
    assert!(net.is_open(c2s) && net.count(c2s) == 0);
    assert_eq!(net.app.last_accept_con, Some(accepted));
    net.teardown();
}

/// `MissingServerIdenTest2`: the client has nothing to say and waits; the server comes back by itself.
fn missing_server_ident_2(version: Version, seed: u64) {
    let mut net = seeded_pair(seed, version, Policy::lossless_peer(), Policy::lossless_peer(), true);
    let (c2s, accepted) = without_server_ident(&mut net, false);
    net.wait_until("the server's message", |net| net.app.got_new[CLIENT]);
    net.run(ms(1000));
    net.assert_fresh(c2s);
    assert!(net.is_open(accepted));
    net.assert_peer(accepted);
    assert_eq!(net.count(accepted), 0);
    assert_eq!(tids(&net, SERVER), []);
    net.teardown();
}

/// The same with lossless_peer_reuse and v1: the client does not believe in a session of connect_seq 2.
fn missing_server_ident_2_reuse_v1(seed: u64) {
    let mut net =
        seeded_pair(seed, Version::V1, Policy::lossless_peer_reuse(), Policy::lossless_peer_reuse(), true);
    let (c2s, accepted) = without_server_ident(&mut net, false);
    net.wait_until("the reset", |net| net.app.got_remote_reset[SERVER]);
    net.run(ms(1000));
    assert!(net.is_open(c2s) && net.is_open(accepted));
    assert_eq!(net.app.got_new, [false; 2]);
    net.teardown();
}

/// A first round trip, and a second one whose answer is held at the client.
fn interrupted(net: &mut Net<Plain>) -> (Id, Id) {
    net.app.replies[SERVER] = true;
    let c2s = net.c2s();
    net.send(c2s, numbered(1));
    net.wait_until("the first answer", |net| net.app.got_new[CLIENT]);
    net.assert_fresh(c2s);
    let accepted = net.app.last_accept_con.unwrap();
    net.breakpoint(CLIENT, step::MESSAGE);
    net.send(c2s, numbered(2));
    net.wait(c2s, step::MESSAGE);
    net.remove_breakpoint(CLIENT, step::MESSAGE);
    (c2s, accepted)
}

/// `ReconnectTest`.
fn reconnect(version: Version, seed: u64) {
    let mut net = seeded_pair(seed, version, Policy::stateful_server(), Policy::lossless_peer(), true);
    let (c2s, accepted) = interrupted(&mut net);
    net.breakpoint(SERVER, step::READY);
    net.fail(c2s);
    net.send(c2s, numbered(3));
    net.wait(accepted, step::READY);
    net.assert_peer(accepted);
    let steps = [step::RECONNECT, step::RECONNECT_OK];
    assert_eq!(steps.map(|step| net.passed(accepted, step, version)), [0, 1]);
    assert_eq!(steps.map(|step| net.passed(c2s, step, version)), [1, 0]);
    net.remove_breakpoint(SERVER, step::READY);
    net.release(accepted, step::READY);
    net.run(ms(1000));
    assert_eq!(tids(&net, CLIENT), [1, 2, 3]);
    assert_eq!(tids(&net, SERVER), [1, 2, 3]);
    nobody_was_reset(&net);
    net.teardown();
}

/// `ReconnectRaceTest`. With v2 the steps are as in Ceph. With v1 a client that had nothing under way comes with a lower
/// connect_seq than the server, and is told so; if it had, the two are equal, and the server wins.
fn reconnect_race(version: Version, seed: u64) {
    for (server_first, client_has_some) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut net = seeded_pair(seed, version, Policy::lossless_peer(), Policy::lossless_peer(), true);
        let (c2s, accepted) = interrupted(&mut net);
        net.breakpoint(CLIENT, step::RECONNECT);
        net.breakpoint(SERVER, step::RECONNECT);
        if client_has_some {
            net.send(c2s, numbered(3));
        }
        net.fail(c2s);
        if !client_has_some {
            net.send(c2s, numbered(3));
        }
        net.wait(c2s, step::RECONNECT);
        net.wait(accepted, step::RECONNECT);
        let connect_seqs = [accepted, c2s].map(|id| net.conn(id).session.facts().connect_seq);
        net.remove_breakpoint(CLIENT, step::RECONNECT);
        net.remove_breakpoint(SERVER, step::RECONNECT);
        net.breakpoint(SERVER, step::READY);
        let order = if server_first { [accepted, c2s] } else { [c2s, accepted] };
        net.release(order[0], step::RECONNECT);
        net.run(ms(1));
        net.release(order[1], step::RECONNECT);
        net.wait(accepted, step::READY);
        let server = [step::RECONNECT, step::RECONNECT_OK].map(|step| net.passed(accepted, step, version));
        let client = [step::RECONNECT, step::RECONNECT_OK].map(|step| net.passed(c2s, step, version));
        // The client's connections to come say so, not the one that is registered; and the server's.
        let retries = [CLIENT, SERVER]
            .map(|told| net.passed_by(|(node, _)| node == told, step::SESSION_RETRY, version));
        if version == Version::V2 {
            assert!(matches!(server, [1 | 2, 0]), "{server:?}");
            assert_eq!((client, retries), ([1, 1], [usize::from(server[0] == 2), 0]));
        } else {
            assert_eq!(connect_seqs, [2, if client_has_some { 2 } else { 1 }]);
            // The claim with the lower connect_seq comes first: its client comes back with a higher one, and wins.
            let overtakes = !client_has_some && !server_first;
            let ways = if overtakes { ([1, 1], [1, 0], [0, 1]) } else { ([1, 0], [1, 1], [0, 0]) };
            assert_eq!((server, client, retries), ways);
            let told_to_wait = net.errors.contains(&(c2s, Error::Waiting));
            assert_eq!(told_to_wait, client_has_some && !server_first);
        }
        net.remove_breakpoint(SERVER, step::READY);
        net.release(accepted, step::READY);
        net.run(ms(5000));
        assert_eq!(tids(&net, CLIENT), [1, 2, 3]);
        assert_eq!(tids(&net, SERVER), [1, 2, 3]);
        assert!(net.is_open(c2s) && net.is_open(accepted));
        assert_eq!(net.sockets(), 1);
        for id in [c2s, accepted] {
            net.assert_peer(id);
        }
        nobody_was_reset(&net);
        net.teardown();
    }
}
