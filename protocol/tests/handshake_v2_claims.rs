//! What does a server of v2 answer to claims: CLIENT_IDENT and SESSION_RECONNECT?
//!
//! The host accepts (osd.1, the spec's real OSD), the script is the client: session2 spec §5.1, §5.4, §6.1, §8, the
//! probes of its §12, and those of the conformance list §4.1 and §4.3.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod script;

use cephwire_protocol::codec::v2::{ClientIdent, Frame};
use cephwire_protocol::codec::{AddrVec, EntityName, EntityType, Features, Timestamp};
use cephwire_protocol::{Event, Placement, Policies, Policy};
use script::v2::{PEER, ident, message_frame, name, reconnect};
use script::{Host, Script, Setup, V2, addr, addrs};

fn peer(host: &Host) -> Script<V2> {
    let mut peer = host.accept::<V2>();
    peer.enter();
    peer
}

/// §5.1, checks 1 and 2, and conformance §4.3 (addresses, target, flags, required features).
#[test]
fn addresses_of_an_ident() {
    let of = |text: &str| ClientIdent { addrs: addrs(text), ..ident(7, 1) };
    let to = |text: &str| ClientIdent { target: addr(text), ..ident(7, 1) };
    let any = cephwire_protocol::codec::AddrType::ANY;
    let first = |kind, nonce| ClientIdent {
        addrs: cephwire_protocol::codec::EntityAddr { kind, nonce, socket: None }.into(),
        ..ident(7, 1)
    };
    let rows: Vec<(&str, ClientIdent, bool)> = vec![
        ("as it should be", ident(7, 1), true),
        ("its second address", to("v1:10.0.0.1:6801/1"), true),
        ("no address", ClientIdent { addrs: AddrVec::default(), ..ident(7, 1) }, false),
        ("a blank one", first(Default::default(), 0), false),
        ("blank but for the nonce", first(Default::default(), 9), true),
        ("type any, nonce 99, no sockaddr", first(any, 99), true),
        ("several addresses", of("v2:10.0.0.2:6800/2,v1:10.0.0.2:6801/2"), true),
        ("target: another nonce", to("v2:10.0.0.1:6800/2"), false),
        ("target: another port", to("v2:10.0.0.1:6802/1"), false),
        ("target: another IP", to("v2:10.0.0.2:6800/1"), false),
        ("target: another type", to("v1:10.0.0.1:6800/1"), false),
        ("target: type any", to("any:10.0.0.1:6800/1"), false),
        ("flags of any value", ClientIdent { flags: u64::MAX, ..ident(7, 1) }, true),
        ("requires everything", ClientIdent { features_required: Features(!0), ..ident(7, 1) }, true),
        ("cookie 0", ident(0, 1), true),
    ];
    for (what, ident, fine) in rows {
        let host = Host::new(Setup::default());
        let mut peer = peer(&host);
        peer.send(&Frame::ClientIdent(ident));
        assert_eq!(peer.is_closed(), !fine, "{what}");
        assert_eq!(peer.names(), if fine { vec!["SERVER_IDENT"] } else { vec![] }, "{what}");
        assert_eq!(host.errors(0).len(), usize::from(!fine), "{what}");
    }
    // A host that is known by a blank address only is no target.
    let own = cephwire_protocol::codec::EntityAddr { kind: any, nonce: 1, socket: None };
    let host = Host::new(Setup { addrs: own.into(), ..Setup::default() });
    let mut peer = peer(&host);
    peer.send(&Frame::ClientIdent(ClientIdent { target: own, ..ident(7, 1) }));
    peer.expect_closed();
}

/// §5.1, checks 4 and 5; conformance §4.3, "features: only bit 59".
#[test]
fn features_of_an_ident() {
    let required = Features(0x0401_0200_4204_0000 & Features::ALL_PACIFIC.0);
    let host = Host::new(Setup::policy(Policy::lossless_peer().requiring(required)));
    let mut peer = peer(&host);
    for (supported, missing) in [
        (Features::MSG_ADDR2, required),
        (Features(0), required.union(Features::MSG_ADDR2)),
        (Features(Features::ALL_PACIFIC.0 & !Features::MSG_ADDR2.0), Features::MSG_ADDR2),
    ] {
        let ident = ClientIdent { features_supported: supported, ..ident(7, 1) };
        peer.send(&Frame::ClientIdent(ident));
        assert_eq!(peer.expect(), Frame::IdentMissingFeatures(missing));
    }
    // The client may try again on the same connection.
    let supported = Features(required.0 | Features::MSG_ADDR2.0 | 1 << 62);
    let server = peer.open(ClientIdent { features_supported: supported, ..ident(7, 1) });
    assert_eq!(server.features_required, required.union(Features::MSG_ADDR2));
    assert_eq!(server.features_supported, Features::ALL_PACIFIC);
    let events = host.events(0);
    let Some(Event::Open { features, .. }) = events.first() else { panic!("{events:?}") };
    assert_eq!(*features, required.union(Features::MSG_ADDR2));
}

/// §5.1, check 3: who the peer is: its type from HELLO, its number from the ident.
#[test]
fn who_the_peer_is() {
    let host = Host::new(Setup::default());
    let mut peer = host.accept::<V2>();
    peer.enter_as(EntityType::MDS);
    peer.open(ident(7, 1));
    assert_eq!(host.with(0, |session| session.peer()), EntityName::new(EntityType::MDS, 2));
    assert_eq!(host.with(0, |session| session.key().clone()), addrs(PEER));
    // Still known when the session goes on over another connection, and so are the features.
    let mut next = host.accept::<V2>();
    next.enter_as(EntityType::MDS);
    next.send(&reconnect((7, 0), 2, 1, 0));
    next.send(&message_frame(1, 0, 5));
    let events = host.events(0);
    let [.., Event::Open { features, .. }, Event::Message(received)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*features, Features::ALL_PACIFIC);
    assert_eq!(received.source, EntityName::new(EntityType::MDS, 2));
}

/// §5.3: cookie and flags follow from the own policy, whatever the client says.
#[test]
fn the_server_decides_what_is_lossy() {
    for (policy, lossy) in [
        (Policy::stateful_server(), false),
        (Policy::stateless_registered_server(), true),
        (Policy::stateless_server(), true),
        (Policy::lossless_peer(), false),
        (Policy::lossless_peer_reuse(), false),
        (Policy::lossy_client(), true),
        (Policy::lossless_client(), false),
    ] {
        for flags in [0, ClientIdent::LOSSY] {
            let host = Host::new(Setup::policy(policy.clone()));
            let server = peer(&host).open(ClientIdent { flags, ..ident(7, 1) });
            assert_eq!((server.flags != 0, server.cookie == 0), (lossy, lossy), "{policy:?}");
            assert_eq!(server.gid, 1);
            assert_eq!(server.addrs, host.local().addrs());
            assert_eq!(host.find(PEER).is_some(), !policy.is_anonymous(), "{policy:?}");
        }
    }
}

/// §4.2: the server goes on reading after negative answers; 16 claims are enough, though, of whatever kind.
#[test]
fn claims_are_capped() {
    let lacking = Frame::ClientIdent(ClientIdent { features_supported: Features(0), ..ident(7, 1) });
    for claim in [reconnect((1, 2), 3, 4, 5), lacking] {
        let host = Host::new(Setup::default());
        let mut peer = peer(&host);
        for _ in 0..16 {
            peer.send(&claim);
            assert!(["SESSION_RESET", "IDENT_MISSING_FEATURES"].contains(&name(&peer.expect())));
        }
        peer.send(&claim);
        assert!(peer.is_closed());
        assert!(host.errors(0).concat().contains("at most 16 on a connection"));
    }
}

/// The probes of §12 against an OSD's cluster address (lossless_peer), in their order. They cover §5.4 rules 3, 5, 6
/// and 7, and §6.1 rules 1, 4, 6, 7 and 9.
#[test]
fn probes_of_a_real_osd() {
    let host = Host::new(Setup::default());
    // 1
    let mut a = peer(&host);
    let s = a.open(ident(7, 10)).cookie;
    a.send(&message_frame(1, 0, 1));
    assert_eq!(a.expect(), Frame::Ack(1));
    a.send(&message_frame(2, 0, 2));
    assert_eq!(a.expect(), Frame::Ack(2));
    // 2
    let mut b = peer(&host);
    b.send(&reconnect((7, s), 11, 1, 0));
    assert_eq!(b.expect(), Frame::SessionReconnectOk(2));
    a.expect_closed();
    // 3
    let mut c = peer(&host);
    c.send(&reconnect((7, s ^ 5), 12, 2, 0));
    assert_eq!(c.expect(), Frame::SessionReconnectOk(2));
    // 4, 5, 6
    let mut d = peer(&host);
    d.send(&reconnect((7, s), 5, 3, 0));
    assert_eq!(d.expect(), Frame::SessionRetryGlobal(12));
    d.send(&reconnect((7, s), 12, 1, 0));
    assert_eq!(d.expect(), Frame::SessionRetry(2));
    c.expect_quiet();
    d.send(&reconnect((7, s), 13, 3, 0));
    assert_eq!(d.expect(), Frame::SessionReconnectOk(2));
    c.expect_closed();
    // 7, 8
    let mut e = peer(&host);
    e.send(&reconnect((8, s), 14, 4, 0));
    assert_eq!(e.expect(), Frame::SessionReset { full: false });
    let second = e.open(ident(8, 15)).cookie;
    assert!(second != s && second != 0);
    d.expect_closed();
    // 9
    let mut f = peer(&host);
    let third = f.open(ident(8, 16)).cookie;
    assert!(third != second && third != 0);
    e.expect_closed();
    // 10
    let mut g = peer(&host);
    g.send(&Frame::ClientIdent(ident(8, 3)));
    g.expect_closed();
    // 11
    let mut g = peer(&host);
    g.send(&reconnect((8, third), 16, 1, 0));
    assert_eq!(g.expect(), Frame::SessionRetry(3));
    f.expect_quiet();
    // 12, 13
    assert_ne!(peer(&host).open(ident(0, 17)).cookie, 0);
    let server = peer(&host).open(ClientIdent { flags: 1, ..ident(9, 18) });
    assert!(server.flags == 0 && server.cookie != 0);
    // 14
    let mut h = peer(&host);
    let Frame::SessionReconnect(mut claim) = reconnect((9, 9), 19, 1, 0) else { panic!() };
    claim.addrs = addrs("v2:10.0.0.9:1/1");
    h.send(&Frame::SessionReconnect(claim));
    assert_eq!(h.expect(), Frame::SessionReset { full: true });
    // One session all the time; lossless_peer has no resetcheck, so nothing was thrown away.
    assert!(!host.told(0).contains(&"remote reset".to_owned()));
}

/// Conformance §4.3, "RECONNECT to a lossy server (no session): RESET(full = 1), then CLIENT_IDENT on the same
/// connection works", for a registered server and an anonymous one.
#[test]
fn nothing_to_resume_at_a_lossy_server() {
    for policy in [Policy::stateless_registered_server(), Policy::stateless_server()] {
        let host = Host::new(Setup::policy(policy));
        let mut peer = peer(&host);
        peer.send(&reconnect((1, 2), 3, 4, 5));
        assert_eq!(peer.expect(), Frame::SessionReset { full: true });
        assert_eq!(peer.open(ident(0, 4)).cookie, 0);
        assert_eq!(host.told(0), ["open Server"]);
    }
}

type Row<'a> = (&'a str, &'a Policy, [u64; 3], fn(Placement) -> bool, &'a [&'a str]);

/// §5.4, one row each: who the existing session is, the second ident, and what becomes of both.
#[test]
fn a_second_ident() {
    // Policy, cookie of the first ident (global_seq 10), both of the second; the placement, and what the user of the
    // first session is told.
    let adopted: fn(Placement) -> bool = |placement| matches!(placement, Placement::Adopted(_));
    let dropped: fn(Placement) -> bool = |placement| placement == Placement::Dropped;
    let displaced: fn(Placement) -> bool = |placement| placement == Placement::Displace;
    let (peer_policy, reuse) = (Policy::lossless_peer(), Policy::lossless_peer_reuse());
    let lossy = Policy::stateless_registered_server();
    let remote_reset: &[&str] = &["discard", "remote reset", "open Server"];
    let rows: &[Row<'_>] = &[
        ("rule 3", &peer_policy, [7, 7, 9], dropped, &[]),
        ("rule 3, lossy", &lossy, [7, 0, 9], dropped, &[]),
        ("rule 4", &lossy, [7, 0, 10], displaced, &["discard", "reset"]),
        ("rule 5", &peer_policy, [7, 8, 10], adopted, &["open Server"]),
        ("rule 5, resetcheck", &reuse, [7, 8, 11], adopted, remote_reset),
        ("rule 5, no cookie now", &reuse, [7, 0, 11], adopted, remote_reset),
        ("rule 6", &reuse, [7, 7, 11], adopted, &["open Server"]),
        ("rule 7", &reuse, [0, 8, 11], adopted, &["open Server"]),
    ];
    for (row, policy, [first, cookie, global_seq], placed, told) in rows.iter().copied() {
        let host = Host::new(Setup::policy(policy.clone()));
        let mut old = peer(&host);
        old.open(ident(first, 10));
        host.told(0);
        host.placements();
        let mut new = peer(&host);
        new.send(&Frame::ClientIdent(ident(cookie, global_seq)));
        let placements = host.placements();
        assert!(placements.len() == 1 && placed(placements[0]), "{row}: {placements:?}");
        assert_eq!(host.told(0), told, "{row}");
        let dropped = placements[0] == Placement::Dropped;
        assert_eq!((new.is_closed(), old.is_closed()), (dropped, !dropped), "{row}");
        assert_eq!(new.names(), if dropped { vec![] } else { vec!["SERVER_IDENT"] }, "{row}");
    }
}

/// §5.1, check 6: an anonymous server keeps as many sessions of one address as it likes.
#[test]
fn anonymous_sessions_live_side_by_side() {
    let host = Host::new(Setup::policy(Policy::stateless_server()));
    let mut all: Vec<_> = (0..3).map(|_| peer(&host)).collect();
    for peer in &mut all {
        peer.open(ident(0, 1));
    }
    all.iter_mut().for_each(Script::expect_quiet);
    assert_eq!(host.find(PEER), None);
}

/// §5.4: reuse carries the queue over; §6.1 rule 4 with resetcheck, and rule 5 (no SERVER_IDENT seen yet).
#[test]
fn resets() {
    let host = Host::new(Setup::policy(Policy::lossless_peer_reuse()));
    peer(&host).open(ident(7, 10));
    let mut other = peer(&host);
    other.send(&reconnect((8, 1), 11, 1, 0));
    assert_eq!(other.expect(), Frame::SessionReset { full: true });
    // Rule 5: the host dials, has said CLIENT_IDENT with its cookie, and the peer takes that session up.
    let host = Host::new(Setup::default());
    host.send(host.dial(EntityType::OSD, PEER), 1);
    let mut dialed = host.dialed::<V2>();
    let cookie = dialed.admit_new().cookie;
    let mut other = peer(&host);
    other.send(&reconnect((cookie, 1), 11, 1, 0));
    assert_eq!(other.expect(), Frame::SessionReset { full: false });
    // The own attempt is given up: a SERVER_IDENT still on its way there must not open it, or what comes
    // behind it is received twice.
    assert!(dialed.is_closed());
    other.send(&Frame::ClientIdent(ident(cookie, 12)));
    assert!(matches!(other.expect(), Frame::ServerIdent(_)));
    assert!(matches!(other.expect(), Frame::Message(_)));
}

/// §6.1 rules 4 and 5: who is told to begin anew has given up its earlier attempts. A CLIENT_IDENT that comes late on
/// one of them takes nothing over (§5.4 rule 3), and the one that follows the reset does. Ceph takes the late one up,
/// hangs up on the peer that way, and two Cephs may go on so for ever.
#[test]
fn a_reset_makes_earlier_attempts_stale() {
    let dialing = Host::new(Setup::default());
    dialing.send(dialing.dial(EntityType::OSD, PEER), 1);
    let cookie = dialing.dialed::<V2>().admit_new().cookie;
    let begun = [Policy::lossless_peer(), Policy::lossless_peer_reuse()].map(|policy| {
        let host = Host::new(Setup::policy(policy));
        peer(&host).open(ident(7, 1));
        (host, 8)
    });
    for (host, cookie) in [(dialing, cookie)].into_iter().chain(begun) {
        host.placements();
        let (mut old, mut new) = (peer(&host), peer(&host));
        new.send(&reconnect((cookie, 1), 12, 1, 0));
        assert!(matches!(new.expect(), Frame::SessionReset { .. }));
        old.send(&Frame::ClientIdent(ident(cookie, 11)));
        assert!(old.is_closed());
        assert_eq!(old.names(), [""; 0]);
        assert_eq!(host.placements(), [Placement::Answered, Placement::Dropped]);
        // The attempt that was answered is the last one, and no earlier than itself.
        assert!(!new.is_closed());
        new.open(ident(cookie, 12));
    }
}

/// §5.4 rule 1 and §6.1 rule 2: a session that has ended and is still registered counts as none, for either claim. It
/// hears nothing of it.
#[test]
fn sessions_that_have_ended_count_as_none() {
    for resumes in [false, true] {
        let host = Host::new(Setup::default());
        let mut old = peer(&host);
        let cookie = old.open(ident(7, 9)).cookie;
        host.with(0, |session| session.close(false));
        host.told(0);
        host.register(PEER, 0);
        host.placements();
        let mut new = peer(&host);
        if resumes {
            // Everything is right about the claim, but that there is nothing to resume.
            new.send(&reconnect((7, cookie), 10, 1, 0));
            assert_eq!(new.expect(), Frame::SessionReset { full: true });
            assert_eq!(host.placements(), [Placement::Answered]);
            host.register(PEER, 0);
        }
        // An attempt that would be stale, were there a session (§5.4 rule 3).
        new.open(ident(7, 8));
        assert_eq!(host.placements(), [Placement::Displace]);
        assert_eq!((host.find(PEER), new.owner()), (Some(1), Some(1)));
        assert_eq!(host.told(0), [""; 0]);
    }
}

/// An existing session of v1 (§5.1 check 7, §6.1 rule 1): it is marked down before anything is judged, and counts as
/// none.
#[test]
fn sessions_of_the_other_version_are_marked_down() {
    for resumes in [false, true] {
        let host = Host::new(Setup::default());
        let v1 = host.dial(EntityType::OSD, "v1:10.0.0.2:6800/2");
        let mut new = peer(&host);
        let addrs = addrs("v1:10.0.0.2:6800/2");
        if resumes {
            let Frame::SessionReconnect(claim) = reconnect((1, 2), 3, 4, 5) else { panic!() };
            new.send(&Frame::SessionReconnect(cephwire_protocol::codec::v2::SessionReconnect {
                addrs,
                ..claim
            }));
            assert_eq!(new.expect(), Frame::SessionReset { full: true });
        } else {
            new.open(ClientIdent { addrs, ..ident(7, 1) });
        }
        assert!(host.with(v1, |session| session.is_closed()));
        // No reset event: nobody but this side ended it.
        assert_eq!(host.told(v1), ["discard"]);
    }
}

/// §8 and conformance §4.1, §4.3: gaps are accepted, duplicates and seq 0 discarded (and reading goes on), an ACK
/// for what was never sent is ignored, an aborted message does not consume its number, KEEPALIVE2 is echoed.
#[test]
fn numbers_of_messages() {
    let host = Host::new(Setup::default());
    let mut peer = peer(&host);
    peer.open(ident(7, 10));
    host.events(0);
    for (seq, tid, delivered) in [(1, 1, true), (5, 2, true), (5, 3, false), (0, 4, false), (6, 5, true)] {
        peer.send(&message_frame(seq, 0, tid));
        let told = if delivered { vec![format!("message {tid}")] } else { vec![] };
        assert_eq!(host.told(0), told, "seq {seq}");
        assert_eq!(peer.next(), delivered.then_some(Frame::Ack(seq)), "seq {seq}");
    }
    let Frame::Message(frame) = message_frame(7, 0, 6) else { panic!() };
    let mut out = cephwire_protocol::codec::Chunks::new();
    peer.wire.encoder.encode_aborted(&frame, &mut out).expect("it has a payload");
    let bytes: Vec<u8> = out.take_pieces().concat();
    peer.send_bytes(&bytes);
    peer.expect_quiet();
    assert_eq!(host.told(0), [""; 0]);
    peer.send(&message_frame(7, 0, 7));
    assert_eq!(host.told(0), ["message 7"]);
    assert_eq!(peer.expect(), Frame::Ack(7));
    peer.send(&Frame::Ack(1000));
    let stamp = Timestamp { sec: 5, nsec: 6 };
    peer.send(&Frame::Keepalive2(stamp));
    assert_eq!(peer.expect(), Frame::Keepalive2Ack(stamp));
    // The ack rides on a message, and then needs no frame of its own.
    host.send(0, 9);
    assert_eq!(peer.expect_message(), (1, 7, 9));
    peer.expect_quiet();
}

/// Claims and messages may come in one piece, whoever gets the connection in the end.
#[test]
fn what_arrives_behind_a_claim() {
    let host = Host::new(Setup::default());
    for (n, claim) in
        [Frame::ClientIdent(ident(7, 1)), Frame::ClientIdent(ident(7, 2)), reconnect((7, 0), 3, 1, 0)]
            .iter()
            .enumerate()
    {
        let mut peer = peer(&host);
        let mut bytes = script::Dialect::encode(&mut peer.wire, claim);
        let seq = 1 + (n as u64) / 2;
        bytes.extend(script::Dialect::encode(&mut peer.wire, &message_frame(seq, 0, n as u64)));
        peer.send_bytes(&bytes);
        assert_eq!(host.told(0), ["open Server".to_owned(), format!("message {n}")]);
    }
}

/// §11: the address for dialing back is the first of v2 of the family in which the peer came.
#[test]
fn dialing_back() {
    let several = "v1:10.0.0.2:6801/2,v2:[fd00::2]:6800/2,v2:10.0.0.2:6800/2";
    for (from, to) in [("10.0.0.2:40000", "v2:10.0.0.2:6800/2"), ("[fd00::2]:40000", "v2:[fd00::2]:6800/2")] {
        let policies = Policies::all(Policy::lossless_peer());
        let host = Host::new(Setup { policies, ..Setup::default() });
        let mut peer = host.accept_from::<V2>(from);
        peer.enter();
        peer.open(ClientIdent { addrs: addrs(several), ..ident(7, 1) });
        host.send(0, 1);
        peer.close();
        assert_eq!(host.dials(), [addr(to)]);
    }
}

/// §2: each SERVER_IDENT draws a new global_seq, from the counter of all peers.
#[test]
fn numbers_of_idents() {
    let host = Host::new(Setup::policy(Policy::stateless_server()));
    let drawn: Vec<u64> = (0..3).map(|_| peer(&host).open(ident(0, 1)).global_seq).collect();
    assert_eq!(drawn, [1, 2, 3]);
}

/// §7, mark_down: the peer sees the connection close, the own user hears nothing, and what was queued is gone, as is
/// what waits for dispatch.
#[test]
fn marking_down() {
    let host = Host::new(Setup::default());
    let mut old = peer(&host);
    let cookie = old.open(ident(7, 1)).cookie;
    host.told(0);
    host.with(0, |session| session.close(false));
    old.expect_closed();
    assert_eq!(host.told(0), ["discard"]);
    assert_eq!(host.find(PEER), None);
    // §6.1 rule 1: nobody knows it any more.
    let mut new = peer(&host);
    new.send(&reconnect((7, cookie), 2, 1, 0));
    assert_eq!(new.expect(), Frame::SessionReset { full: true });
}

/// §6.1 rule 8: with the same connect_seq, the higher address waits for the other's connection, except where the other
/// is a server, which never dials.
#[test]
fn who_waits_for_whom() {
    for (policy, waits) in [(Policy::lossless_peer(), true), (Policy::stateful_server(), false)] {
        let host = Host::new(Setup::policy(policy));
        let mut old = peer(&host);
        let cookie = old.open(ident(7, 1)).cookie;
        let mut new = peer(&host);
        new.send(&reconnect((7, cookie), 2, 0, 0));
        let answer = new.expect();
        assert_eq!(name(&answer), if waits { "WAIT" } else { "SESSION_RECONNECT_OK" });
        assert_eq!(old.is_closed(), !waits);
    }
}

/// §5.4: what a session has to send goes out on the connection that it took over, whole and in order.
#[test]
fn queues_move_to_the_new_connection() {
    for (claim, first) in [(Frame::ClientIdent(ident(7, 2)), 1), (reconnect((7, 0), 2, 1, 2), 3)] {
        let host = Host::new(Setup::default());
        let mut old = peer(&host);
        old.open(ident(7, 1));
        (1..=4).for_each(|tid| host.send(0, tid));
        assert_eq!(old.names().len(), 4);
        let mut new = peer(&host);
        new.send(&claim);
        new.expect();
        for tid in first..=4 {
            assert_eq!(new.expect_message(), (tid, 0, tid));
        }
        new.expect_quiet();
    }
}
