//! Two lossless peers dial each other: whose connection is it in the end?
//!
//! Crimson runs the halves that fit the addresses; here both are run, with the nonces swapped. Its applications are
//! slower than the network; here they are also tried faster.

use cephwire_protocol::Policy;
use cephwire_protocol::Version::{self, V1, V2};

use crate::rig::{
    self, ANY, Break, Cast, Rig, Tag, at, block, client_points, closed, established, fault, read, replaced,
    server_points, write,
};

fn rig(version: Version, peer_wins: bool, slow: bool, plan: &[Break]) -> Rig {
    let cast = Cast::new(version, Policy::lossless_peer(), Policy::lossless_peer());
    Rig::new(&Cast { peer_wins, slow, ..cast }, plan)
}

/// Each plan with fast applications and with slow ones.
fn each(plans: &[Vec<Break>], scenario: impl Fn(&[Break], bool)) {
    for slow in [false, true] {
        rig::each(plans, |plan| scenario(plan, slow));
    }
}

/// `test_v2_peer_wins`: a plain connection.
#[test]
fn plain() {
    for (version, peer_wins) in [(V2, false), (V2, true), (V1, false), (V1, true)] {
        let mut rig = rig(version, peer_wins, false, &[]);
        rig.connect_peer();
        rig.wait_results(1);
        rig.expect(&[established().c(1, 1, 0, 1)]);
    }
}

/// `test_v2_racing_connect_win`.
#[test]
fn connect_win() {
    for version in [V2, V1] {
        let points = server_points(version).into_iter().chain([read(Tag::ClientIdent)]);
        each(&at(points.map(|point| block(point, 1))), |plan, slow| {
            let mut rig = rig(version, false, slow, plan);
            rig.peer_send_me();
            rig.peer_connect_me();
            rig.wait_blocked();
            rig.send_peer();
            rig.connect_peer();
            rig.wait_established();
            rig.unblock();
            rig.wait_results(2);
            rig.expect(&[closed().a(1, ANY, ANY, 0), established().c(1, 1, 0, 1)]);
            assert_eq!(rig.lost(), 0);
        });
    }
}

/// `test_v2_racing_connect_lose`.
#[test]
fn connect_lose() {
    for version in [V2, V1] {
        let points = client_points(version).into_iter().chain([write(Tag::ClientIdent)]);
        each(&at(points.map(|point| block(point, 1))), |plan, slow| {
            let mut rig = rig(version, true, slow, plan);
            rig.send_peer();
            rig.connect_peer();
            rig.wait_blocked();
            rig.peer_send_me();
            rig.peer_connect_me();
            rig.wait_replaced(1);
            rig.unblock();
            rig.wait_results(2);
            rig.expect(&[established().c(1, ANY, ANY, 0).a(0, 0, 0, 1), replaced().a(1, 1, 0, 0)]);
            assert_eq!(rig.lost(), 0);
        });
    }
}

/// `test_v2_racing_reconnect_win`. In v1 it does not depend on the addresses: both are tried. Test comes from standby
/// with connect_seq 1, is told RETRY_SESSION, comes back with a higher one and wins.
#[test]
fn reconnect_win() {
    for (version, peer_wins) in [(V2, false), (V1, false), (V1, true)] {
        let points = server_points(version).into_iter().map(|point| block(point, 2));
        let points = points.chain([block(read(Tag::Reconnect), 1)]);
        let plans: Vec<_> = points.map(|point| vec![fault(read(Tag::Message)), point]).collect();
        each(&plans, |plan, slow| {
            let mut rig = rig(version, peer_wins, slow, plan);
            rig.peer_send_me();
            rig.peer_connect_me();
            rig.wait_blocked();
            rig.send_peer();
            rig.wait_established();
            rig.unblock();
            rig.wait_results(2);
            rig.expect(&[established().c(1, 0, 1, 1).a(1, 1, 0, 1), closed().a(1, ANY, ANY, 0)]);
            assert_eq!(rig.lost(), 0);
            if version == V1 {
                assert_eq!((rig.hits(read(Tag::RetrySession)), rig.hits(write(Tag::RetrySession))), (1, 0));
            }
        });
    }
}

/// `test_v2_racing_reconnect_lose`. In v1 it does not depend on the addresses: both are tried. Peer comes from standby
/// with connect_seq 1, is told RETRY_SESSION, and takes Test's place when it comes back.
#[test]
fn reconnect_lose() {
    for (version, peer_wins) in [(V2, true), (V1, true), (V1, false)] {
        let points = client_points(version).into_iter().map(|point| block(point, 2));
        let points = points.chain([block(write(Tag::Reconnect), 1)]);
        let plans: Vec<_> = points.map(|point| vec![fault(write(Tag::Message)), point]).collect();
        each(&plans, |plan, slow| {
            let mut rig = rig(version, peer_wins, slow, plan);
            rig.send_peer();
            rig.connect_peer();
            rig.wait_blocked();
            rig.peer_send_me();
            rig.wait_replaced(1);
            rig.unblock();
            rig.wait_results(2);
            rig.expect(&[established().c(2, ANY, ANY, 1).a(0, 0, 0, 1), replaced().a(1, 0, 1, 0)]);
            assert_eq!(rig.lost(), 0);
            if version == V1 {
                assert_eq!((rig.hits(read(Tag::RetrySession)), rig.hits(write(Tag::RetrySession))), (0, 1));
            }
        });
    }
}

/// `test_v2_racing_connect_reconnect_lose`: Peer answered, but Test never saw it; Peer reconnects while Test connects.
/// v2 has a reset round, as Test does not know Peer's cookie; v1 takes the connection over at once (row 18).
#[test]
fn connect_reconnect_lose() {
    for (version, idents) in [(V2, 1), (V1, 0)] {
        each(&[vec![fault(read(Tag::ServerIdent)), block(write(Tag::ClientIdent), 2)]], |plan, slow| {
            for peer_wins in [true, false] {
                let mut rig = rig(version, peer_wins, slow, plan);
                rig.send_peer();
                rig.connect_peer();
                rig.wait_blocked();
                rig.peer_send_me();
                rig.wait_replaced(1);
                rig.unblock();
                rig.wait_results(2);
                rig.expect(&[established().c(2, 2, 0, 0).a(0, 0, 0, 1), replaced().a(1, idents, 1, 0)]);
                assert_eq!(rig.lost(), 0);
            }
        });
    }
}

/// `test_v2_racing_connect_reconnect_win`.
#[test]
fn connect_reconnect_win() {
    for version in [V2, V1] {
        each(&[vec![fault(read(Tag::ServerIdent)), block(read(Tag::Reconnect), 1)]], |plan, slow| {
            for peer_wins in [false, true] {
                let mut rig = rig(version, peer_wins, slow, plan);
                rig.peer_send_me();
                rig.connect_peer();
                rig.wait_blocked();
                rig.send_peer();
                rig.wait_established();
                rig.unblock();
                rig.wait_results(2);
                rig.expect(&[established().c(2, 2, 0, 1), closed().a(1, 0, 1, 0)]);
                assert_eq!(rig.lost(), 0);
            }
        });
    }
}
