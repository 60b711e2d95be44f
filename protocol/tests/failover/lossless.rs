//! A lossless client and a stateful server: does a session go on, whatever breaks, with no op lost or doubled?

use std::time::Duration;

use cephwire_protocol::Policy;
use cephwire_protocol::Version::{self, V1, V2};

use crate::rig::{
    ANY, Break, Cast, Outcome, Rig, Tag, at, closed, each, established, fault, read, replaced, write,
};

fn client(version: Version) -> Cast {
    Cast::new(version, Policy::lossless_client(), Policy::stateful_server())
}

fn server(version: Version) -> Cast {
    Cast::new(version, Policy::stateful_server(), Policy::lossless_client())
}

/// Both send an op while Test connects.
fn connect(version: Version, plan: &[Break], expected: Outcome) -> Rig {
    let mut rig = Rig::new(&client(version), plan);
    rig.send_bidirectional();
    rig.connect_peer();
    rig.wait_results(1);
    rig.expect(&[expected]);
    assert_eq!(rig.lost(), 0);
    assert_eq!(rig.peer_remote_resets, 0);
    rig
}

/// Both send an op while Peer connects.
fn accept(version: Version, plan: &[Break], expected: &[Outcome]) {
    let mut rig = Rig::new(&server(version), plan);
    rig.send_bidirectional();
    rig.peer_connect_me();
    rig.wait_results(expected.len());
    rig.expect(expected);
    assert_eq!(rig.lost(), 0);
}

/// `test_v2_lossless_connect_fault`.
#[test]
fn connect_fault() {
    for version in [V2, V1] {
        each(&at([fault(write(Tag::ClientIdent))]), |plan| {
            connect(version, plan, established().c(2, 2, 0, 1));
        });
    }
    each(&at([fault(read(Tag::ServerIdent))]), |plan| {
        connect(V2, plan, established().c(2, 2, 0, 1));
    });
}

/// The same in v1 where the reply is lost: v1 has no cookie, so the server takes the new claim for that of a client
/// which has lost the session (D4). What the server had queued is lost, and its application is told.
#[test]
fn connect_fault_with_the_reply_lost_v1() {
    each(&at([fault(read(Tag::ServerIdent))]), |plan| {
        let mut rig = Rig::new(&client(V1), plan);
        rig.send_peer();
        rig.try_peer_send_me();
        rig.connect_peer();
        rig.wait_results(1);
        rig.expect(&[established().c(2, 2, 0, 1)]);
        assert_eq!(rig.lost(), 0);
        assert_eq!(rig.peer_remote_resets, 1);
    });
}

/// `test_v2_lossless_connected_fault`.
#[test]
fn connected_fault() {
    for version in [V2, V1] {
        each(&at([write(Tag::Message), read(Tag::Message)].map(fault)), |plan| {
            connect(version, plan, established().c(2, 1, 1, 2));
        });
    }
}

/// `test_v2_lossless_connected_fault2`: at acknowledgements and keepalives.
#[test]
fn connected_fault_2() {
    let points = [
        read(Tag::Ack),
        write(Tag::Ack),
        read(Tag::Keepalive2),
        write(Tag::Keepalive2),
        read(Tag::Keepalive2Ack),
        write(Tag::Keepalive2Ack),
    ];
    for version in [V2, V1] {
        each(&at(points.map(fault)), |plan| {
            let mut rig = Rig::new(&client(version), plan);
            rig.connect_peer();
            rig.wait_established();
            rig.send_peer();
            rig.keepalive_peer();
            rig.wait_established();
            rig.peer_send_me();
            rig.peer_keepalive_me();
            rig.wait_established();
            rig.send_peer();
            rig.wait_established();
            rig.peer_send_me();
            rig.wait_established();
            rig.wait_results(1);
            rig.expect(&[established().c(2, 1, 1, 2)]);
            assert_eq!(rig.lost(), 0);
        });
    }
}

const INITIAL_BACKOFF: Duration = Duration::from_millis(200);

/// `test_v2_lossless_reconnect_fault`. The first reconnect comes at once, the second after a pause. In v1, if the SEQ was
/// lost, the server is one connect_seq ahead: RETRY_SESSION says so.
#[test]
fn reconnect_fault() {
    let first = fault(write(Tag::Message));
    for (second, v1_retries) in [(write(Tag::Reconnect), 0), (read(Tag::ReconnectOk), 1)] {
        for (version, retries) in [(V2, 0), (V1, v1_retries)] {
            each(&[vec![first, fault(second)]], |plan| {
                let rig = connect(version, plan, established().c(3, 1, 2, 2));
                let pauses: Vec<_> = rig.dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
                assert!(pauses[0] < INITIAL_BACKOFF && pauses[1] >= INITIAL_BACKOFF, "{pauses:?}");
                assert_eq!(rig.hits(read(Tag::RetrySession)), retries);
            });
        }
    }
}

/// `test_v2_lossless_accept_fault`.
#[test]
fn accept_fault() {
    for version in [V2, V1] {
        each(&at([fault(read(Tag::ClientIdent))]), |plan| {
            accept(version, plan, &[closed().a(1, 1, 0, 0), established().a(1, 1, 0, 1)]);
        });
    }
}

/// `test_v2_lossless_establishing_fault`. In v1 the application is told of a session, and can queue something, only
/// when the reply is written (D2). So the first session has nothing that would keep it (F3), and ends unannounced.
#[test]
fn establishing_fault() {
    let v2 = [established().a(1, 1, 0, 2), replaced().a(1, 1, 0, 0)];
    let v1 = [closed().a(1, 1, 0, 0), established().a(1, 1, 0, 1)];
    for (version, expected) in [(V2, v2), (V1, v1)] {
        each(&at([fault(write(Tag::ServerIdent))]), |plan| accept(version, plan, &expected));
    }
}

/// `test_v2_lossless_accepted_fault`.
#[test]
fn accepted_fault() {
    for version in [V2, V1] {
        each(&at([write(Tag::Message), read(Tag::Message)].map(fault)), |plan| {
            accept(version, plan, &[established().a(1, 1, 0, 2), replaced().a(1, ANY, ANY, 0)]);
        });
    }
}

/// `test_v2_lossless_reaccept_fault`, its first plan.
#[test]
fn reaccept_fault_at_the_claim() {
    for version in [V2, V1] {
        each(&[vec![fault(read(Tag::Message)), fault(read(Tag::Reconnect))]], |plan| {
            let expected = [established().a(1, 1, 0, 2), closed().a(1, 0, 1, 0), replaced().a(1, 0, 1, 0)];
            accept(version, plan, &expected);
        });
    }
}

/// `test_v2_lossless_reaccept_fault`, its second plan. In v1 the accept that was not written is not announced (D2).
#[test]
fn reaccept_fault_at_the_answer() {
    for (version, events) in [(V2, 3), (V1, 2)] {
        each(&[vec![fault(read(Tag::Message)), fault(write(Tag::ReconnectOk))]], |plan| {
            let first = established().a(1, 1, 0, events);
            accept(version, plan, &[first, replaced().a(1, 0, 1, 0), replaced().a(1, 0, 1, 0)]);
        });
    }
}
