//! What does a session of v2 do when its connection fails, and who wins when both dial?
//!
//! Session2 spec §7 (every policy in every place is in `handshake_v2_places.rs`), §9, the table "a real OSD as client"
//! of §12 in its order, and the races of §5.4 and §6.1 as §12 saw them.

#![expect(clippy::panic, reason = "tests")]

mod script;

use std::time::Duration;

use cephwire_protocol::codec::v2::{ClientIdent, Frame, SessionReconnect};
use cephwire_protocol::codec::{EntityType, Features, Timestamp};
use cephwire_protocol::{Options, Policy, Session};
use script::outcome::{After, PRESETS, after, dial};
use script::v2::{PEER, ident, message_frame, name, reconnect, server_ident};
use script::{Host, Script, Setup, V2, addr, addrs};

/// §7 rule 2: a session that was marked so ends with the next fault once it was open, whatever its policy; while it
/// still connects, it goes on trying.
#[test]
fn disposable_sessions_end_with_the_next_fault() {
    for (preset, policy) in PRESETS {
        for accepted in [false, true] {
            let host = Host::new(Setup::policy(policy()));
            let mut peer = if accepted {
                let mut peer = host.accept::<V2>();
                peer.enter();
                peer.open(ident(7, 1));
                peer
            } else {
                dial(&host, false);
                let mut peer = host.dialed::<V2>();
                let lossy = peer.admit_new().flags != 0;
                peer.send(&Frame::ServerIdent(server_ident(9, lossy)));
                peer
            };
            host.send(0, 1);
            host.with(0, Session::mark_disposable);
            // Until then it is as good as any.
            peer.send(&message_frame(1, 0, 2));
            assert!(host.told(0).contains(&"message 2".to_owned()));
            assert!(host.with(0, |session| session.is_open()));
            peer.close();
            assert_eq!(after(&host, 0), After::Reset, "{preset}, accepted: {accepted}");
        }
    }
    let host = Host::new(Setup::policy(Policy::lossless_client()));
    dial(&host, true);
    let mut peer = host.dialed::<V2>();
    peer.admit_new();
    host.with(0, Session::mark_disposable);
    peer.close();
    assert_eq!(after(&host, 0), After::Backoff(200));
}

/// §7 rule 9: 0.2 s, doubled up to 15 s; back to 0 once open.
#[test]
fn backoff() {
    let host = Host::new(Setup::policy(Policy::lossy_client()));
    dial(&host, true);
    host.refuse(std::io::ErrorKind::ConnectionRefused);
    for millis in [200, 400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000] {
        assert_eq!(host.until_dial().as_millis(), millis);
        host.refuse(std::io::ErrorKind::ConnectionRefused);
    }
    // Once open, non-lossy by the server's word, it begins anew; rule 8 dials at once.
    host.until_dial();
    let mut peer = host.dialed::<V2>();
    peer.admit_new();
    peer.send(&Frame::ServerIdent(server_ident(9, false)));
    peer.close();
    host.dialed::<V2>().close();
    assert_eq!(host.until_dial().as_millis(), 200);
}

/// A message that no connection survives is not sent at the speed of handshakes for ever; whatever else breaks
/// connections, there is another one at once.
#[test]
fn a_message_that_breaks_connections() {
    let host = Host::new(Setup::policy(Policy::lossless_client()));
    dial(&host, true);
    let mut peer = host.dialed::<V2>();
    peer.admit_new();
    peer.send(&Frame::ServerIdent(server_ident(9, false)));
    assert_eq!(peer.expect_message(), (1, 0, 1));
    // Breaks the connection once the message is there; when is the next one?
    let next = |peer: Script<V2>, said: &[Frame]| {
        let mut peer = peer;
        said.iter().for_each(|frame| peer.send(frame));
        peer.close();
        let pause = host.until_dial().as_millis();
        let mut peer = host.dialed::<V2>();
        peer.admit_resumed();
        peer.send(&Frame::SessionReconnectOk(0));
        assert_eq!(peer.expect_message().2, 1);
        (peer, pause)
    };
    for pause in [0, 0, 0, 200, 400, 800] {
        let paused;
        (peer, paused) = next(peer, &[]);
        assert_eq!(paused, pause);
    }
    // It is no sign of life that the peer can speak: it does not speak of the message.
    let mut paused;
    (peer, paused) = next(peer, &[message_frame(1, 0, 9), Frame::Keepalive2(Timestamp::default())]);
    assert_eq!(paused, 1600);
    // An attempt that fails is one more.
    peer.close();
    assert_eq!(host.until_dial().as_millis(), 3200);
    host.refuse(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(host.until_dial().as_millis(), 6400);
    peer = host.dialed::<V2>();
    peer.admit_resumed();
    // It arrived: on this connection, or on the last one.
    host.send(0, 2);
    peer.send(&Frame::SessionReconnectOk(1));
    assert_eq!(peer.expect_message().2, 2);
    for said in [&[][..], &[Frame::Ack(2)]] {
        said.iter().for_each(|frame| peer.send(frame));
        peer.close();
        assert_eq!(host.until_dial().as_millis(), 0);
        peer = host.dialed::<V2>();
        peer.admit_resumed();
        peer.send(&Frame::SessionReconnectOk(if said.is_empty() { 1 } else { 2 }));
    }
    // So it is where there is nothing to send, as long as something comes.
    for seq in 2..8 {
        peer.send(&message_frame(seq, 2, seq));
        peer.close();
        paused = host.until_dial().as_millis();
        assert_eq!(paused, 0);
        peer = host.dialed::<V2>();
        peer.admit_resumed();
        peer.send(&Frame::SessionReconnectOk(2));
    }
}

/// §9: an idle connection is a fault after 900 s; whatever is read keeps it alive.
#[test]
fn idle() {
    let options = Options::default().with(|options| options.idle_timeout = Duration::from_secs(900));
    for (policy, expected) in [
        (Policy::stateless_registered_server(), After::Reset),
        (Policy::lossless_peer(), After::Standby),
        (Policy::lossless_client(), After::Dials),
    ] {
        let host = Host::new(Setup { options: options.clone(), ..Setup::policy(policy) });
        let mut peer = host.accept::<V2>();
        peer.enter();
        peer.open(ident(7, 1));
        host.advance(Duration::from_secs(800));
        peer.send(&Frame::Keepalive2(Timestamp::default()));
        host.advance(Duration::from_secs(899));
        assert!(!peer.is_closed());
        // What this side sends does not count.
        host.with(0, |session| session.keepalive());
        host.advance(Duration::from_secs(1));
        assert!(peer.is_closed());
        assert_eq!(after(&host, 0), expected);
    }
}

/// §7, end: STANDBY is left by something to send, never by a server.
#[test]
fn standby() {
    type Wish = fn(&Host);
    let wishes: [Wish; 2] = [|host| host.send(0, 5), |host| host.with(0, |session| session.keepalive())];
    for (policy, leaves) in [(Policy::lossless_peer(), true), (Policy::stateful_server(), false)] {
        for wish in wishes {
            let host = Host::new(Setup::policy(policy.clone()));
            let mut peer = host.accept::<V2>();
            peer.enter();
            let cookie = peer.open(ident(7, 1)).cookie;
            peer.close();
            assert!(host.with(0, |session| session.is_standby()));
            wish(&host);
            assert_eq!(!host.dials().is_empty(), leaves);
            if leaves {
                let claim = host.dialed::<V2>().admit_resumed();
                assert_eq!((claim.client_cookie, claim.server_cookie, claim.connect_seq), (7, cookie, 1));
            }
        }
    }
}

/// A client that never bound says port 0. It is not dialed: it comes, and its session goes on. (Ceph dials such addresses
/// as long as it lives.)
#[test]
fn who_cannot_be_dialed_is_waited_for() {
    for policy in [Policy::lossless_client(), Policy::lossless_peer(), Policy::lossless_peer_reuse()] {
        for unbound in ["any:10.0.0.2:0/5", "v2:0.0.0.0:6800/5"] {
            let host = Host::new(Setup::policy(policy.clone()));
            let mut peer = host.accept::<V2>();
            peer.enter();
            let cookie = peer.open(ClientIdent { addrs: addrs(unbound), ..ident(7, 1) }).cookie;
            host.send(0, 1);
            peer.close();
            host.send(0, 2);
            host.with(0, |session| session.keepalive());
            assert_eq!(after(&host, 0), After::Standby, "{unbound} {policy:?}");
            host.advance(Duration::from_secs(3600));
            assert!(host.dials().is_empty());
            let mut peer = host.accept::<V2>();
            peer.enter();
            let Frame::SessionReconnect(claim) = reconnect((7, cookie), 2, 1, 0) else { panic!() };
            peer.send(&Frame::SessionReconnect(SessionReconnect { addrs: addrs(unbound), ..claim }));
            assert_eq!(peer.owner(), Some(0));
            let names = peer.names();
            assert_eq!(names.iter().filter(|name| **name == "MESSAGE").count(), 2, "{names:?}");
        }
    }
}

/// §12, "a real OSD (policy lossless_peer) as client", all 18 rows.
#[test]
fn a_real_osd_as_client() {
    const C: u64 = 0x12_3456_7890;
    let host = Host::new(Setup::default());
    let mut peer = host.accept::<V2>();
    peer.enter();
    let s = peer.open(ident(C, 1)).cookie;
    peer.send(&message_frame(1, 0, 1));
    assert_eq!(peer.expect(), Frame::Ack(1));
    host.send(0, 1);
    // 1
    peer.close();
    let mut peer = host.dialed::<V2>();
    let claim = peer.admit_resumed();
    assert_eq!((claim.client_cookie, claim.server_cookie), (C, s));
    assert_eq!((claim.connect_seq, claim.msg_seq, &claim.addrs), (1, 1, &host.local().addrs()));
    // 2, 3, 4: on the same TCP connection
    for (answer, gs, cs) in [
        (Frame::SessionRetry(7), claim.global_seq, 8),
        (Frame::SessionRetryGlobal(100), 101, 8),
        (Frame::SessionRetryGlobal(50), 102, 8),
    ] {
        peer.send(&answer);
        let claim = peer.expect_reconnect();
        assert_eq!((claim.global_seq, claim.connect_seq, claim.msg_seq), (gs, cs, 1), "{answer:?}");
    }
    // 5
    peer.send(&Frame::SessionReconnectOk(0));
    assert_eq!(peer.expect_message(), (1, 1, 1));
    // 6
    peer.close();
    let mut peer = host.dialed::<V2>();
    let claim = peer.admit_resumed();
    assert_eq!((claim.connect_seq, claim.global_seq), (9, 104));
    // 7
    peer.send(&Frame::SessionReset { full: false });
    let expect_ident = |frame: Frame| match frame {
        Frame::ClientIdent(ident) => ident,
        other => panic!("{other:?}"),
    };
    let own = expect_ident(peer.expect());
    assert_eq!((own.cookie, own.target, own.flags), (C, addr(PEER), 0));
    // 8
    let elsewhere = addrs("v2:10.0.0.2:6801/2");
    for millis in [200, 400] {
        let mut ident = server_ident(0x6666, false);
        ident.addrs = elsewhere.clone();
        peer.send(&Frame::ServerIdent(ident));
        peer.expect_closed();
        assert_eq!(host.until_dial().as_millis(), millis);
        peer = host.dialed::<V2>();
        assert_eq!(peer.admit_new().cookie, C);
    }
    // 9: in_seq had been forgotten
    peer.send(&Frame::ServerIdent(server_ident(0x6666, false)));
    assert_eq!(peer.expect_message(), (1, 0, 1));
    // 10
    peer.close();
    let mut peer = host.dialed::<V2>();
    let claim = peer.admit_resumed();
    assert_eq!((claim.client_cookie, claim.server_cookie), (C, 0x6666));
    assert_eq!((claim.connect_seq, claim.msg_seq), (1, 0));
    // 11
    peer.send(&Frame::SessionReconnectOk(1));
    peer.expect_quiet();
    host.send(0, 2);
    assert_eq!(peer.expect_message(), (2, 0, 2));
    // 12
    peer.close();
    let mut peer = host.dialed::<V2>();
    peer.admit_resumed();
    peer.send(&Frame::SessionReset { full: true });
    let own = expect_ident(peer.expect());
    assert!(own.cookie != C && own.cookie != 0);
    // 13
    peer.send(&Frame::ServerIdent(server_ident(0x7777, false)));
    peer.expect_quiet();
    host.send(0, 3);
    assert_eq!(peer.expect_message(), (1, 0, 3));
    // 14
    peer.close();
    let mut peer = host.dialed::<V2>();
    let mut claim = peer.admit_resumed();
    for millis in [200, 400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000] {
        peer.send(&Frame::IdentMissingFeatures(Features(1)));
        peer.expect_closed();
        assert_eq!(host.until_dial().as_millis(), millis);
        peer = host.dialed::<V2>();
        let next = peer.admit_resumed();
        let expected = (claim.connect_seq + 1, claim.global_seq + 2);
        assert_eq!((next.connect_seq, next.global_seq), expected);
        claim = next;
    }
    // 15: the message is dropped. The OSD goes on with 2, which a peer that has 99 takes for an old one; here it is 100.
    peer.send(&Frame::SessionReconnectOk(99));
    peer.expect_quiet();
    host.send(0, 4);
    assert_eq!(peer.expect_message(), (100, 0, 4));
    // 16
    peer.send(&Frame::Ack(1000));
    peer.close();
    assert!(host.with(0, |session| session.is_standby()));
    // 17
    host.send(0, 5);
    let mut peer = host.dialed::<V2>();
    peer.admit_resumed();
    peer.send(&Frame::Wait);
    peer.expect_closed();
    assert_eq!(host.until_dial(), Duration::from_secs(15));
    // 18
    let mut peer = host.dialed::<V2>();
    peer.admit_resumed();
    peer.send(&Frame::SessionReset { full: false });
    assert_eq!(name(&peer.expect()), "CLIENT_IDENT");
    peer.send(&Frame::Wait);
    peer.expect_closed();
    assert_eq!(host.until_dial(), Duration::from_secs(15));
}

/// Its image is lower than the host's `02000000 01000000 …`: nonces compare by their least significant byte first.
const LOWER: &str = "v2:10.0.0.2:6800/256";
/// Its image is higher, though port and address are lower.
const HIGHER: &str = "v2:10.0.0.0:6800/2";

fn arrive(host: &Host) -> Script<V2> {
    let mut peer = host.accept::<V2>();
    peer.enter();
    peer
}

/// §12, "races against that OSD", rows 1 and 2: §5.4 rules 8 and 9, while its own attempt waits 15 s or is unanswered.
#[test]
fn races_for_a_new_session() {
    for (from, wins) in [(LOWER, true), (HIGHER, false)] {
        for backing_off in [false, true] {
            let host = Host::new(Setup::default());
            host.send(host.dial(EntityType::OSD, from), 1);
            let mut own = host.dialed::<V2>();
            own.admit_new();
            if backing_off {
                own.send(&Frame::Wait);
                own.expect_closed();
            }
            host.advance(Duration::from_secs(5));
            let mut peer = arrive(&host);
            peer.send(&Frame::ClientIdent(ClientIdent { addrs: addrs(from), ..ident(99, 1) }));
            if wins {
                assert_eq!(name(&peer.expect()), "SERVER_IDENT");
                assert_eq!(peer.expect_message(), (1, 0, 1));
                assert!(own.is_closed());
                assert_eq!(host.find(from), Some(0));
                continue;
            }
            assert_eq!(peer.expect(), Frame::Wait);
            assert_eq!(own.is_closed(), backing_off);
            peer.send(&message_frame(1, 0, 2));
            peer.expect_closed();
            if backing_off {
                assert_eq!(host.until_dial(), Duration::from_secs(10));
            } else {
                // A keepalive is to come, whatever happens to the messages.
                own.send(&Frame::ServerIdent({
                    let mut ident = server_ident(9, false);
                    ident.addrs = addrs(from);
                    ident
                }));
                assert_eq!(own.names(), ["KEEPALIVE2", "MESSAGE"]);
            }
        }
    }
}

/// §12, races, rows 3 and 4: §6.1 rules 8 and 9, with the connect_seq of its own pending RECONNECT; and rule 7.
#[test]
fn races_for_an_earlier_session() {
    for (from, wins) in [(LOWER, true), (HIGHER, false)] {
        let host = Host::new(Setup::default());
        let mut peer = arrive(&host);
        let cookie = peer.open(ClientIdent { addrs: addrs(from), ..ident(7, 1) }).cookie;
        host.send(0, 1);
        peer.close();
        let mut own = host.dialed::<V2>();
        assert_eq!(own.admit_resumed().connect_seq, 1);
        let claim = |cs| {
            let Frame::SessionReconnect(mut claim) = reconnect((7, cookie), 2, cs, 0) else { panic!() };
            claim.addrs = addrs(from);
            Frame::SessionReconnect(claim)
        };
        let mut peer = arrive(&host);
        peer.send(&claim(0));
        assert_eq!(peer.expect(), Frame::SessionRetry(1));
        peer.send(&claim(1));
        if wins {
            assert_eq!(peer.expect(), Frame::SessionReconnectOk(0));
            own.expect_closed();
        } else {
            assert_eq!(peer.expect(), Frame::Wait);
            own.expect_quiet();
            // A higher connect_seq wins for whoever has it.
            peer.send(&claim(2));
            assert_eq!(peer.expect(), Frame::SessionReconnectOk(0));
            own.expect_closed();
        }
        assert_eq!(peer.expect_message(), (1, 0, 1));
    }
    // A server never insists on its own connection: rule 8's exception, and that of §5.4 rule 8.
    let host = Host::new(Setup::policy(Policy::stateful_server()));
    host.dial(EntityType::OSD, HIGHER);
    let mut peer = arrive(&host);
    peer.open(ClientIdent { addrs: addrs(HIGHER), ..ident(99, 1) });
    assert_eq!(host.find(HIGHER), Some(0));
}
