//! Two lossless peers: who reconnects after a fault?

use cephwire_protocol::Policy;
use cephwire_protocol::Version::{self, V1, V2};

use crate::rig::{
    Break, Cast, Outcome, Rig, Tag, at, closed, each, established, fault, read, replaced, write,
};

fn cast(version: Version) -> Cast {
    Cast::new(version, Policy::lossless_peer(), Policy::lossless_peer())
}

/// Test has an op for Peer.
fn connect(version: Version, plan: &[Break], expected: &[Outcome]) {
    let mut rig = Rig::new(&cast(version), plan);
    rig.send_peer();
    rig.connect_peer();
    rig.wait_results(expected.len());
    rig.expect(expected);
    assert_eq!(rig.lost(), 0);
}

/// Peer has an op for Test.
fn accept(version: Version, plan: &[Break], expected: &[Outcome]) {
    let mut rig = Rig::new(&cast(version), plan);
    rig.peer_send_me();
    rig.peer_connect_me();
    rig.wait_results(expected.len());
    rig.expect(expected);
    assert_eq!(rig.lost(), 0);
}

/// `test_v2_peer_connect_fault`. (In v1, with the reply lost, Peer's session begins anew; it had nothing to lose.)
#[test]
fn connect_fault() {
    for version in [V2, V1] {
        each(&at([write(Tag::ClientIdent), read(Tag::ServerIdent)].map(fault)), |plan| {
            connect(version, plan, &[established().c(2, 2, 0, 1)]);
        });
    }
}

/// `test_v2_peer_accept_fault`.
#[test]
fn accept_fault() {
    for version in [V2, V1] {
        each(&at([fault(read(Tag::ClientIdent))]), |plan| {
            accept(version, plan, &[closed().a(1, 1, 0, 0), established().a(1, 1, 0, 1)]);
        });
    }
}

/// `test_v2_peer_establishing_fault`. In v1 a session that was never announced and has nothing to say ends (F3).
#[test]
fn establishing_fault() {
    let v2 = [established().a(1, 1, 0, 2), replaced().a(1, 1, 0, 0)];
    let v1 = [closed().a(1, 1, 0, 0), established().a(1, 1, 0, 1)];
    for (version, expected) in [(V2, v2), (V1, v1)] {
        each(&at([fault(write(Tag::ServerIdent))]), |plan| accept(version, plan, &expected));
    }
}

/// `test_v2_peer_connected_fault_reconnect`: Test has something to say, so it reconnects.
#[test]
fn connected_fault_reconnect() {
    for version in [V2, V1] {
        each(&at([fault(write(Tag::Message))]), |plan| {
            connect(version, plan, &[established().c(2, 1, 1, 2)]);
        });
    }
}

/// `test_v2_peer_connected_fault_reaccept`: Test has nothing to say and waits; Peer reconnects.
#[test]
fn connected_fault_reaccept() {
    for version in [V2, V1] {
        each(&at([fault(read(Tag::Message))]), |plan| {
            let mut rig = Rig::new(&cast(version), plan);
            rig.peer_send_me();
            rig.connect_peer();
            rig.wait_results(2);
            rig.expect(&[established().c(1, 1, 0, 1).a(0, 0, 0, 1), replaced().a(1, 0, 1, 0)]);
            assert_eq!(rig.lost(), 0);
        });
    }
}
