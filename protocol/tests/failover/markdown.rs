//! One side gives the session up, then the other: what is left of it?
//!
//! Each test is one of crimson's suites by policy (`test_v2_lossy_client` and so on). The numbers accumulate.

use std::time::Duration;

use cephwire_protocol::Policy;
use cephwire_protocol::Version::{self, V1, V2};

use crate::rig::{Cast, Rig, closed, established, replaced, standby};

const PAUSE: Duration = Duration::from_millis(100);

fn rig(version: Version, test: Policy, peer: Policy) -> Rig {
    Rig::new(&Cast::new(version, test, peer), &[])
}

/// Test connects, and both send an op.
fn connected(version: Version, test: Policy, peer: Policy) -> Rig {
    let mut rig = rig(version, test, peer);
    rig.connect_peer();
    rig.send_bidirectional();
    rig.wait_results(1);
    rig.expect(&[established().c(1, 1, 0, 1)]);
    rig
}

/// Peer connects, and both send an op.
fn accepted(version: Version, test: Policy, peer: Policy) -> Rig {
    let mut rig = rig(version, test, peer);
    rig.peer_connect_me();
    rig.send_bidirectional();
    rig.wait_results(1);
    rig.expect(&[established().a(1, 1, 0, 1)]);
    rig
}

#[test]
fn lossy_client() {
    for version in [V2, V1] {
        let mut rig = connected(version, Policy::lossy_client(), Policy::stateless_server());
        rig.markdown();
        rig.connect_peer();
        rig.send_peer();
        rig.wait_results(2);
        let first = closed().c(1, 1, 0, 1);
        rig.expect(&[first, established().c(1, 1, 0, 1)]);

        rig.markdown_peer();
        rig.wait_results(2);
        let second = closed().c(1, 1, 0, 1).r(1, 0);
        rig.expect(&[first, second]);

        rig.connect_peer();
        rig.send_peer();
        rig.wait_results(3);
        rig.expect(&[first, second, established().c(1, 1, 0, 1)]);
        assert_eq!(rig.lost(), 0);
    }
}

#[test]
fn stateless_server() {
    for version in [V2, V1] {
        let mut rig = accepted(version, Policy::stateless_server(), Policy::lossy_client());
        rig.markdown_peer();
        rig.peer_connect_me();
        rig.peer_send_me();
        rig.wait_results(2);
        let first = closed().a(1, 1, 0, 1).r(1, 0);
        rig.expect(&[first, established().a(1, 1, 0, 1)]);

        rig.markdown();
        rig.wait_results(2);
        let second = closed().a(1, 1, 0, 1);
        rig.expect(&[first, second]);

        rig.peer_connect_me();
        rig.peer_send_me();
        rig.wait_results(3);
        rig.expect(&[first, second, established().a(1, 1, 0, 1)]);
        assert_eq!(rig.lost(), 0);
    }
}

#[test]
fn lossless_client() {
    for version in [V2, V1] {
        let mut rig = connected(version, Policy::lossless_client(), Policy::stateful_server());
        rig.markdown();
        rig.connect_peer();
        rig.send_peer();
        rig.wait_results(2);
        let first = closed().c(1, 1, 0, 1);
        rig.expect(&[first, established().c(1, 1, 0, 1)]);
        assert_eq!(rig.peer_remote_resets, 1);

        // Test reconnects at once, is told that the session is lost, and begins anew on the same connection.
        rig.markdown_peer();
        rig.wait_results(2);
        let second = established().c(2, 2, 1, 2).r(0, 1);
        rig.expect(&[first, second]);

        rig.connect_peer();
        rig.send_peer();
        rig.wait_results(2);
        rig.expect(&[first, second]);
        assert_eq!(rig.lost(), 0);
    }
}

#[test]
fn stateful_server() {
    for version in [V2, V1] {
        let mut rig = accepted(version, Policy::stateful_server(), Policy::lossless_client());
        rig.markdown_peer();
        rig.peer_connect_me();
        rig.peer_send_me();
        rig.wait_results(2);
        let second = replaced().a(1, 1, 0, 0);
        rig.expect(&[established().a(1, 1, 0, 2).r(0, 1), second]);

        // Peer reconnects at once, is told that the session is lost, and begins anew on the same connection.
        rig.markdown();
        rig.wait_results(3);
        let first = closed().a(1, 1, 0, 2).r(0, 1);
        let third = established().a(1, 1, 1, 1);
        rig.expect(&[first, second, third]);

        rig.peer_connect_me();
        rig.peer_send_me();
        rig.wait_results(3);
        rig.expect(&[first, second, third]);
        assert_eq!(rig.lost(), 0);
    }
}

/// `test_v2_peer_reuse_connector` and `test_v2_lossless_peer_connector`: a session that the peer has lost is reset
/// even without resetcheck.
#[test]
fn peer_connector() {
    for (version, policy) in peers() {
        let mut rig = connected(version, policy.clone(), policy);
        rig.markdown();
        rig.connect_peer();
        rig.send_peer();
        rig.wait_results(2);
        let first = closed().c(1, 1, 0, 1);
        rig.expect(&[first, established().c(1, 1, 0, 1)]);

        rig.markdown_peer();
        rig.sleep(PAUSE);
        rig.expect(&[first, standby().c(1, 1, 0, 1)]);

        // What woke the session is lost with it.
        rig.connect_peer();
        rig.try_send_peer();
        rig.wait_results(2);
        rig.expect(&[first, established().c(2, 2, 1, 2).r(0, 1)]);
        assert_eq!(rig.lost(), 0);
    }
}

/// `test_v2_peer_reuse_acceptor` and `test_v2_lossless_peer_acceptor`: only with resetcheck is the application told
/// that the peer has lost the session.
#[test]
fn peer_acceptor() {
    for (version, policy) in peers() {
        let resets = u32::from(policy.resetcheck);
        let mut rig = accepted(version, policy.clone(), policy);
        rig.markdown_peer();
        rig.peer_connect_me();
        rig.peer_send_me();
        rig.wait_results(2);
        let second = replaced().a(1, 1, 0, 0);
        rig.expect(&[established().a(1, 1, 0, 2).r(0, resets), second]);

        rig.sleep(PAUSE);
        rig.markdown();
        rig.wait_results(2);
        let first = closed().a(1, 1, 0, 2).r(0, resets);
        rig.expect(&[first, second]);

        rig.peer_connect_me();
        rig.try_peer_send_me();
        rig.wait_results(3);
        rig.expect(&[first, second, established().a(1, 1, 1, 1)]);
        assert_eq!(rig.lost(), 0);
    }
}

fn peers() -> impl Iterator<Item = (Version, Policy)> {
    [V2, V1].into_iter().flat_map(|version| {
        [Policy::lossless_peer_reuse(), Policy::lossless_peer()].map(|policy| (version, policy))
    })
}
