//! Two lossless peers, and a connection that is dead before this side knows it: does the next one take its place?

use std::time::Duration;

use cephwire_protocol::Policy;
use cephwire_protocol::Version::{self, V1, V2};

use crate::rig::{ANY, Cast, Final, Rig, Tag, closed, established, fault, read, replaced, stall, write};

fn rig(version: Version, peer_wins: bool, plan: &[crate::rig::Break]) -> Rig {
    let cast = Cast::new(version, Policy::lossless_peer(), Policy::lossless_peer());
    Rig::new(&Cast { peer_wins, ..cast }, plan)
}

/// Crimson runs each with whatever addresses it got; here both orders are run.
const ALL: [(Version, bool); 4] = [(V2, false), (V2, true), (V1, false), (V1, true)];

/// `test_v2_stale_connect`. v1 has no cookie that would be wrong, hence no reset round (row 18).
#[test]
fn connect() {
    for (version, peer_wins) in ALL {
        let mut rig = rig(version, peer_wins, &[stall(read(Tag::ServerIdent))]);
        rig.connect_peer();
        rig.wait_blocked();
        rig.peer_send_me();
        rig.wait_replaced(1);
        rig.unblock();
        rig.wait_results(2);
        let idents = if version == V2 { 1 } else { 0 };
        rig.expect(&[established().c(1, 1, 0, 0).a(0, 0, 0, 1), replaced().a(1, idents, 1, 0)]);
        assert_eq!(rig.lost(), 0);
    }
}

/// `test_v2_stale_reconnect`.
#[test]
fn reconnect() {
    for (version, peer_wins) in ALL {
        let plan = [fault(write(Tag::Message)), stall(read(Tag::ReconnectOk))];
        let mut rig = rig(version, peer_wins, &plan);
        rig.send_peer();
        rig.connect_peer();
        rig.wait_blocked();
        rig.peer_send_me();
        rig.wait_replaced(1);
        rig.unblock();
        rig.wait_results(2);
        rig.expect(&[established().c(2, 1, 1, 1).a(0, 0, 0, 1), replaced().a(1, 0, 1, 0)]);
        assert_eq!(rig.lost(), 0);
    }
}

/// `test_v2_stale_accept`.
#[test]
fn accept() {
    for (version, peer_wins) in ALL {
        let mut rig = rig(version, peer_wins, &[stall(read(Tag::ClientIdent))]);
        rig.peer_connect_me();
        rig.wait_blocked();
        rig.peer_send_me();
        rig.wait_established();
        rig.unblock();
        rig.wait_results(2);
        rig.expect(&[closed().a(1, 1, 0, 0), established().a(1, 1, 0, 1)]);
        assert_eq!(rig.lost(), 0);
    }
}

/// `test_v2_stale_establishing`.
#[test]
fn establishing() {
    for (version, peer_wins) in ALL {
        let mut rig = rig(version, peer_wins, &[stall(write(Tag::ServerIdent))]);
        rig.peer_connect_me();
        rig.wait_blocked();
        rig.peer_send_me();
        rig.wait_replaced(1);
        rig.unblock();
        rig.wait_results(2);
        rig.expect(&[established().a(1, 1, 0, 2), replaced().a(1, ANY, ANY, 0)]);
        assert_eq!(rig.lost(), 0);
    }
}

/// `test_v2_stale_reaccept`.
#[test]
fn reaccept() {
    for (version, peer_wins) in ALL {
        let plan = [fault(read(Tag::Message)), stall(write(Tag::ReconnectOk))];
        let mut rig = rig(version, peer_wins, &plan);
        rig.peer_send_me();
        rig.peer_connect_me();
        rig.wait_blocked();
        rig.sleep(Duration::from_millis(210));
        rig.unblock();
        rig.wait_results(3);
        rig.expect(&[established().a(1, 1, 0, 3), replaced().a(1, 0, 1, 0), replaced().a(1, ANY, ANY, 0)]);
        let last = rig.results()[2];
        assert!(last.state == Final::Replaced && last.a[2] >= 1, "{last:?}");
        assert_eq!(rig.lost(), 0);
    }
}
