//! Two lossless peers, and a connection that is dead before this side knows it: does the next one take its place?

use std::time::Duration;

use cephwire_protocol::Policy;
use cephwire_protocol::Version::{self, V1, V2};

use crate::rig::{
    ANY, Break, Cast, Final, Rig, Tag, closed, established, fault, read, replaced, stall, standby, write,
};

fn rig((version, peer_wins, slow): Case, plan: &[Break]) -> Rig {
    let cast = Cast::new(version, Policy::lossless_peer(), Policy::lossless_peer());
    Rig::new(&Cast { peer_wins, slow, ..cast }, plan)
}

/// The version, whether Peer wins races, and whether the applications are slow.
type Case = (Version, bool, bool);

/// Crimson runs each with whatever addresses it got, and its applications are slow; here all cases are run.
fn all() -> impl Iterator<Item = Case> {
    let choices = [(false, false), (false, true), (true, false), (true, true)];
    [V2, V1].into_iter().flat_map(move |version| choices.map(|(wins, slow)| (version, wins, slow)))
}

/// `test_v2_stale_connect`. v1 has no cookie that would be wrong, hence no reset round (row 18).
#[test]
fn connect() {
    for case in all() {
        let mut rig = rig(case, &[stall(read(Tag::ServerIdent))]);
        rig.connect_peer();
        rig.wait_blocked();
        rig.peer_send_me();
        rig.wait_replaced(1);
        rig.unblock();
        rig.wait_results(2);
        let idents = if case.0 == V2 { 1 } else { 0 };
        rig.expect(&[established().c(1, 1, 0, 0).a(0, 0, 0, 1), replaced().a(1, idents, 1, 0)]);
        assert_eq!(rig.lost(), 0);
    }
}

/// `test_v2_stale_reconnect`.
#[test]
fn reconnect() {
    for case in all() {
        let plan = [fault(write(Tag::Message)), stall(read(Tag::ReconnectOk))];
        let mut rig = rig(case, &plan);
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
    for case in all() {
        let mut rig = rig(case, &[stall(read(Tag::ClientIdent))]);
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
    // See the next two for v1, where Peer has read the reply.
    for case in all().filter(|case| *case != (V1, false, true)) {
        let mut rig = rig(case, &[stall(write(Tag::ServerIdent))]);
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

/// The same in v1 where Peer is open, and comes back before Test has read Peer's SEQ. For Test that is a race with a
/// handshake which is not over (rows 15 and 16): if it wins races it answers WAIT. When it sees that the connection is
/// dead it dials itself, as that answer obliges it to. Nothing is lost.
#[test]
fn establishing_with_a_race_v1() {
    let mut rig = rig((V1, false, true), &[stall(write(Tag::ServerIdent))]);
    rig.peer_connect_me();
    rig.wait_blocked();
    rig.peer_send_me();
    rig.sleep(Duration::from_millis(100));
    rig.unblock();
    rig.wait_results(2);
    rig.expect(&[established().c(1, 0, 1, 1).a(1, 1, 0, 1), closed().a(1, 0, 1, 0)]);
    assert_eq!(rig.lost(), 0);
}

/// The same in v1 where Test sees that the connection is dead before Peer comes back: it is in standby, and asks for a
/// higher connect_seq (row 14).
#[test]
fn establishing_in_standby_v1() {
    for peer_wins in [false, true] {
        let mut rig = rig((V1, peer_wins, true), &[stall(write(Tag::ServerIdent))]);
        rig.peer_connect_me();
        rig.wait_blocked();
        rig.unblock();
        rig.sleep(Duration::from_millis(1));
        rig.expect(&[standby().a(1, 1, 0, 1)]);
        rig.peer_send_me();
        rig.wait_results(2);
        rig.expect(&[established().a(1, 1, 0, 2), replaced().a(1, 0, 1, 0)]);
        assert_eq!(rig.lost(), 0);
    }
}

/// `test_v2_stale_reaccept`.
#[test]
fn reaccept() {
    for case in all() {
        let plan = [fault(read(Tag::Message)), stall(write(Tag::ReconnectOk))];
        let mut rig = rig(case, &plan);
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
