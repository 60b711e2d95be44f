//! A lossy client and a stateless server: until when does a fault end the session?

use cephwire_protocol::Policy;
use cephwire_protocol::Version::{self, V1, V2};

use crate::rig::{
    CONNECTING, Cast, Rig, Tag, at, client_points, closed, each, established, fault, read, server_points,
    write,
};

fn client(version: Version) -> Cast {
    Cast::new(version, Policy::lossy_client(), Policy::stateless_server())
}

fn server(version: Version) -> Cast {
    Cast::new(version, Policy::stateless_server(), Policy::lossy_client())
}

/// `test_v2_lossy_early_connect_fault`: until the session is open, even a lossy client tries again.
#[test]
fn early_connect_fault_v2() {
    let points = client_points(V2).into_iter().chain([CONNECTING]);
    each(&at(points.map(fault)), |plan| {
        let mut rig = Rig::new(&client(V2), plan);
        rig.send_peer();
        rig.connect_peer();
        rig.wait_results(1);
        rig.expect(&[established().c(2, 1, 0, 1)]);
        assert_eq!(rig.lost(), 0);
    });
}

/// The same in v1, up to the own banner (session state CONNECTING, fault rule F2).
#[test]
fn early_connect_fault_v1() {
    each(&at([CONNECTING, write(Tag::Banner)].map(fault)), |plan| {
        let mut rig = Rig::new(&client(V1), plan);
        rig.send_peer();
        rig.connect_peer();
        rig.wait_results(1);
        rig.expect(&[established().c(2, 1, 0, 1)]);
        assert_eq!(rig.lost(), 0);
    });
}

/// The same in v1, from the server's banner on: the session ends, and its op with it (F2).
#[test]
fn connect_fault_after_the_banner_v1() {
    let points = client_points(V1).into_iter().filter(|point| *point != write(Tag::Banner));
    each(&at(points.map(fault)), |plan| {
        let mut rig = Rig::new(&client(V1), plan);
        rig.send_peer();
        rig.connect_peer();
        rig.wait_results(1);
        rig.expect(&[closed().c(1, 0, 0, 0).r(1, 0)]);
        assert_eq!(rig.lost(), 1);
    });
}

/// `test_v2_lossy_connect_fault`; in v1 the session ends (F2).
#[test]
fn connect_fault() {
    for (version, expected, lost) in
        [(V2, established().c(2, 2, 0, 1), 0), (V1, closed().c(1, 1, 0, 0).r(1, 0), 1)]
    {
        each(&at([write(Tag::ClientIdent), read(Tag::ServerIdent)].map(fault)), |plan| {
            let mut rig = Rig::new(&client(version), plan);
            rig.send_peer();
            rig.connect_peer();
            rig.wait_results(1);
            rig.expect(&[expected]);
            assert_eq!(rig.lost(), lost);
        });
    }
}

/// `test_v2_lossy_connected_fault`: an open session ends, with one reset.
#[test]
fn connected_fault() {
    for version in [V2, V1] {
        each(&at([write(Tag::Message), read(Tag::Message)].map(fault)), |plan| {
            let mut rig = Rig::new(&client(version), plan);
            rig.send_bidirectional();
            rig.connect_peer();
            rig.wait_results(1);
            rig.expect(&[closed().c(1, 1, 0, 1).r(1, 0)]);
        });
    }
}

/// A fault of a lossy server before the session is open. In v1 the client gives up, and a new one must come.
fn accept(version: Version, plan: &[crate::rig::Break]) -> Rig {
    let mut rig = Rig::new(&server(version), plan);
    rig.peer_send_me();
    rig.peer_connect_me();
    if version == V1 {
        rig.wait_apart();
        rig.give_up();
        rig.peer_send_me();
        rig.peer_connect_me();
    }
    rig.wait_results(2);
    assert_eq!(rig.lost(), 0);
    rig
}

/// `test_v2_lossy_early_accept_fault`. In v1, Ceph resets an accepted session that nobody was told of (D1); here it
/// just ends, as in crimson.
#[test]
fn early_accept_fault() {
    for version in [V2, V1] {
        each(&at(server_points(version).into_iter().map(fault)), |plan| {
            accept(version, plan).expect(&[closed().a(1, 0, 0, 0), established().a(1, 1, 0, 1)]);
        });
    }
}

/// `test_v2_lossy_accept_fault`.
#[test]
fn accept_fault() {
    for version in [V2, V1] {
        each(&at([fault(read(Tag::ClientIdent))]), |plan| {
            accept(version, plan).expect(&[closed().a(1, 1, 0, 0), established().a(1, 1, 0, 1)]);
        });
    }
}

/// `test_v2_lossy_establishing_fault`. In v1 the application is told only when the reply is written (D2): not at
/// all, so there is nothing to reset either.
#[test]
fn establishing_fault() {
    for (version, first) in [(V2, closed().a(1, 1, 0, 1).r(1, 0)), (V1, closed().a(1, 1, 0, 0))] {
        each(&at([fault(write(Tag::ServerIdent))]), |plan| {
            accept(version, plan).expect(&[first, established().a(1, 1, 0, 1)]);
        });
    }
}

/// `test_v2_lossy_accepted_fault`.
#[test]
fn accepted_fault() {
    for version in [V2, V1] {
        each(&at([write(Tag::Message), read(Tag::Message)].map(fault)), |plan| {
            let mut rig = Rig::new(&server(version), plan);
            rig.send_bidirectional();
            rig.peer_connect_me();
            rig.wait_results(1);
            rig.expect(&[closed().a(1, 1, 0, 1).r(1, 0)]);
        });
    }
}
