//! Two lossless peers: what crimson's suites do not reach, as nothing crosses in them while one side stands still.

use std::time::Duration;

use cephwire_protocol::Policy;
use cephwire_protocol::Version::{self, V1, V2};

use crate::rig::{
    Break, Cast, Rig, Tag, at, block, closed, each, established, fault, read, replaced, stall, write,
};

fn rig(version: Version, peer_wins: bool, plan: &[Break]) -> Rig {
    let cast = Cast::new(version, Policy::lossless_peer(), Policy::lossless_peer());
    Rig::new(&Cast { peer_wins, ..cast }, plan)
}

/// Both connect at the same moment: who wins answers WAIT, and who loses takes the other's connection.
/// (v1 rows 15 and 16; v2's rules 8 and 9.)
#[test]
fn both_connect() {
    for version in [V2, V1] {
        for peer_wins in [false, true] {
            let mut rig = rig(version, peer_wins, &[]);
            rig.send_bidirectional();
            rig.connect_peer();
            rig.peer_connect_me();
            rig.wait_results(2);
            rig.expect(&if peer_wins {
                [established().c(1, 1, 0, 0).a(0, 0, 0, 1), replaced().a(1, 1, 0, 0)]
            } else {
                [established().c(1, 1, 0, 1), closed().a(1, 1, 0, 0)]
            });
            assert_eq!(rig.lost(), 0);
        }
    }
}

/// Both have ops under way when the connection breaks, and reconnect at the same moment.
/// (v1 rows 15 and 16; v2's rule 8.)
#[test]
fn both_reconnect() {
    for version in [V2, V1] {
        for peer_wins in [false, true] {
            each(&at([write(Tag::Message), read(Tag::Message)].map(fault)), |plan| {
                let mut rig = rig(version, peer_wins, plan);
                rig.connect_peer();
                rig.wait_established();
                rig.send_bidirectional();
                rig.wait_results(2);
                rig.expect(&if peer_wins {
                    [established().c(2, 1, 1, 1).a(0, 0, 0, 1), replaced().a(1, 0, 1, 0)]
                } else {
                    [established().c(2, 1, 1, 2), closed().a(1, 0, 1, 0)]
                });
                assert_eq!(rig.lost(), 0);
            });
        }
    }
}

/// Peer is behind in connect_seq, as Test has tried to reconnect before: it is told, and comes again on the same
/// connection. (v1 row 12, counted once per connection; v2's rule 7.)
#[test]
fn behind_in_connect_seq() {
    for (version, counted, claims) in [(V2, 2, 2), (V1, 1, 3)] {
        for peer_wins in [false, true] {
            let plan =
                [fault(write(Tag::Message)), fault(write(Tag::Reconnect)), block(write(Tag::Reconnect), 2)];
            let mut rig = rig(version, peer_wins, &plan);
            rig.send_peer();
            rig.connect_peer();
            rig.wait_blocked();
            rig.sleep(Duration::from_millis(1));
            rig.peer_send_me();
            rig.wait_replaced(1);
            rig.unblock();
            rig.wait_results(2);
            rig.expect(&[established().c(3, 1, 2, 1).a(0, 0, 0, 1), replaced().a(1, 0, counted, 0)]);
            // v1 has one more, after the takeover.
            assert_eq!(rig.hits(read(Tag::Reconnect)), claims);
            assert_eq!(rig.lost(), 0);
        }
    }
}

/// v1: the connection that a session is about to go on with dies, and the next one comes before that is known. It is
/// told to try again until then. (Row 8.)
#[test]
fn taken_over_twice_v1() {
    for peer_wins in [false, true] {
        let plan = [fault(read(Tag::Message)), stall(write(Tag::Refusal))];
        let mut rig = rig(V1, peer_wins, &plan);
        rig.peer_send_me();
        rig.peer_connect_me();
        rig.wait_blocked();
        rig.sleep(Duration::from_millis(250));
        rig.unblock();
        rig.wait_results(4);
        // The third has claimed as often as is allowed on one connection.
        rig.expect(&[
            established().a(1, 1, 0, 2),
            replaced().a(1, 0, 1, 0),
            closed().a(1, 0, 1, 0),
            replaced().a(1, 0, 1, 0),
        ]);
        assert_eq!(rig.lost(), 0);
    }
}

/// Peer comes back before Test, which is open, knows that the connection is dead and has lost an op with it: that op
/// goes out again on the new one.
#[test]
fn stale_and_open() {
    for version in [V2, V1] {
        for peer_wins in [false, true] {
            let mut rig = rig(version, peer_wins, &[stall(read(Tag::Message))]);
            rig.connect_peer();
            rig.wait_established();
            rig.peer_send_me();
            rig.wait_blocked();
            rig.send_peer();
            rig.wait_replaced(1);
            rig.unblock();
            rig.wait_results(2);
            rig.expect(&[established().c(1, 1, 0, 1).a(0, 0, 0, 1), replaced().a(1, 0, 1, 0)]);
            assert_eq!(rig.lost(), 0);
        }
    }
}
