//! Which connection wins? Claims of v1 against real sessions in every state: the rows of session spec §6.2, takeovers
//! (§7), both directions at once (conformance C.3), and the dialogues seen in recorded traffic (C.4).

#![expect(clippy::unwrap_used, reason = "tests")]

mod script;
mod script_v1;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use cephwire_protocol::codec::v1::{Connect, ConnectReply, Encoder, Frame, MessageFrame, Tag};
use cephwire_protocol::codec::{Chunks, EntityType, Features};
use cephwire_protocol::{Action, Event, Local, Placement, Policies, Policy, Session, Version};
use script::{Host, Script, Setup, V1, addr, addrs, message};
use script_v1::{
    ANSWER, CHALLENGE, Key, LARGER, PROOF, SMALLER, TICKET, bytes_of, claim, claim_with, greeted, numbered,
    opened, reply, told,
};

/// What the host has of the peer when it connects.
#[derive(Clone, Copy, Debug)]
enum Existing {
    Nothing,
    /// Open, with this connect_seq (not 2); the peer's global_seq was 10.
    Open(u32),
    /// In standby with this connect_seq.
    Standby(u32),
    /// The own connect, with this connect_seq, waits for a reply.
    Dialing(u32),
    /// SEQ was answered with connect_seq 1; the peer's number is not there yet.
    Handled,
    /// A takeover waits for the peer to connect again.
    Replacing,
}

/// Makes it so; the session and the script of its connection.
fn existing(host: &Host, what: Existing, peer: &str) -> Option<(usize, Script<V1>)> {
    match what {
        Existing::Nothing => None,
        Existing::Open(connect_seq) => {
            let (mut script, session) = opened(host, peer, claim(10, 0));
            if connect_seq > 1 {
                script = greeted(host, peer);
                assert_eq!(script.tag(10, connect_seq - 1), Tag::RetryGlobal);
                script.connect_as(claim(10, connect_seq - 1), 0);
            }
            Some((session, script))
        }
        Existing::Standby(0) => {
            let session = host.dial(EntityType::OSD, peer);
            host.dialed::<V1>().close();
            assert!(host.with(session, |session| session.is_standby()));
            Some((session, greeted(host, "v1:10.9.9.9:9/9")))
        }
        Existing::Standby(connect_seq) => {
            let (session, script) = existing(host, Existing::Open(connect_seq), peer)?;
            script.close();
            assert!(host.with(session, |session| session.is_standby()));
            Some((session, greeted(host, "v1:10.9.9.9:9/9")))
        }
        Existing::Dialing(connect_seq) => {
            let session = if connect_seq == 0 {
                host.dial(EntityType::OSD, peer)
            } else {
                let (session, script) = existing(host, Existing::Open(connect_seq - 1), peer)?;
                host.send(session, 1);
                script.close();
                session
            };
            let mut script = host.dialed::<V1>();
            script.serve(peer);
            assert_eq!(script.read_connect().connect_seq, connect_seq);
            Some((session, script))
        }
        Existing::Handled => {
            let mut script = greeted(host, peer);
            assert_eq!(script.tag(10, 0), Tag::Seq);
            Some((script.owner()?, script))
        }
        Existing::Replacing => {
            let (session, _) = existing(host, Existing::Open(1), peer)?;
            let mut script = greeted(host, peer);
            assert_eq!(script.tag(11, 2), Tag::RetryGlobal);
            Some((session, script))
        }
    }
}

/// Rows 6 to 18 of §6.2: state, claim, address, and what is answered.
#[test]
fn rows_6_to_18_against_real_sessions() {
    use Existing::{Dialing, Handled, Nothing, Open, Replacing, Standby};
    use Tag::{ResetSession, RetryGlobal, RetrySession, Seq, Wait};
    let (peer, reuse) = (Policy::lossless_peer(), Policy::lossless_peer_reuse());
    let (server, lossy) = (Policy::stateful_server(), Policy::stateless_registered_server());
    // Row, policy, existing, address, global_seq, connect_seq; tag, its number, whether ex takes over.
    #[rustfmt::skip]
    let rows = [
        (6, &peer, Nothing, LARGER, 1, 0, Seq, 1, false),
        (6, &peer, Nothing, LARGER, 1, 5, ResetSession, 0, false),
        (8, &peer, Replacing, LARGER, 99, 0, RetryGlobal, 10, false),
        (8, &peer, Replacing, LARGER, 99, 9, RetryGlobal, 10, false),
        (9, &peer, Open(1), LARGER, 9, 0, RetryGlobal, 10, false),
        (9, &peer, Standby(1), SMALLER, 9, 9, RetryGlobal, 10, false),
        (10, &lossy, Open(1), LARGER, 11, 0, Seq, 1, false),
        (10, &lossy, Open(1), LARGER, 10, 7, Seq, 8, false),
        (11, &peer, Open(1), LARGER, 10, 0, RetryGlobal, 10, true),
        (11, &reuse, Standby(3), SMALLER, 11, 0, RetryGlobal, 10, true),
        (11, &reuse, Dialing(2), LARGER, 11, 0, RetryGlobal, 10, true),
        (11, &server, Handled, LARGER, 11, 0, RetryGlobal, 10, true),
        (12, &peer, Open(5), LARGER, 11, 3, RetrySession, 6, false),
        (12, &peer, Dialing(4), SMALLER, 11, 3, RetrySession, 5, false),
        (13, &reuse, Standby(0), LARGER, 11, 0, RetryGlobal, 0, true),
        (14, &peer, Standby(0), SMALLER, 11, 0, RetrySession, 1, false),
        (14, &reuse, Open(3), SMALLER, 11, 3, RetrySession, 4, false),
        (14, &peer, Standby(3), LARGER, 11, 3, RetrySession, 4, false),
        (14, &server, Standby(1), LARGER, 11, 1, RetrySession, 2, false),
        (15, &peer, Dialing(0), SMALLER, 11, 0, RetryGlobal, 0, true),
        (15, &reuse, Dialing(2), SMALLER, 11, 2, RetryGlobal, 10, true),
        (15, &server, Handled, LARGER, 11, 1, RetryGlobal, 10, true),
        (16, &peer, Dialing(0), LARGER, 11, 0, Wait, 0, false),
        (16, &reuse, Dialing(2), LARGER, 11, 2, Wait, 0, false),
        (16, &peer, Handled, LARGER, 11, 1, Wait, 0, false),
        (17, &reuse, Dialing(0), LARGER, 11, 5, ResetSession, 0, false),
        (17, &reuse, Standby(0), SMALLER, 11, 5, ResetSession, 0, false),
        (18, &peer, Dialing(0), LARGER, 11, 5, RetryGlobal, 0, true),
        (18, &peer, Standby(0), SMALLER, 11, 1, RetryGlobal, 0, true),
        (18, &reuse, Open(1), LARGER, 11, 2, RetryGlobal, 10, true),
        (18, &server, Handled, LARGER, 11, 4, RetryGlobal, 10, true),
    ];
    for (row, policy, what, address, global_seq, connect_seq, tag, number, replaces) in rows {
        let case = format!("row {row}: {what:?}, {connect_seq}");
        let host = Host::new(Setup::policy(policy.clone()));
        let before = existing(&host, what, address);
        let mut script = greeted(&host, address);
        let newcomer = script.owner();
        let reply = script.ask(claim(global_seq, connect_seq));
        let found = match reply.tag {
            RetryGlobal => reply.global_seq,
            _ => reply.connect_seq,
        };
        assert_eq!((reply.tag, found), (tag, number), "{case}");
        let owner = if replaces { before.as_ref().map(|(session, _)| *session) } else { newcomer };
        assert_eq!(script.owner(), owner, "{case}");
        if let Some((session, old)) = before {
            // A session that takes over lets its own socket go; so does one that is displaced.
            let gone = replaces || row == 10;
            let idle = matches!(what, Standby(_));
            assert_eq!(old.is_closed(), gone && !idle, "{case}");
            assert_eq!(host.with(session, |session| session.is_closed()), row == 10, "{case}");
        }
    }
}

#[test]
fn row_10_both_resets_are_told() {
    let host = Host::new(Setup::policy(Policy::stateless_registered_server()));
    let (_old, session) = opened(&host, LARGER, claim(10, 0));
    told(&host, session);
    let (_new, newer) = opened(&host, LARGER, claim(11, 0));
    assert_eq!(told(&host, session), ["discard", "remote reset", "discard", "reset"]);
    assert_eq!(told(&host, newer), ["open Server"]);
    assert_eq!(host.find(LARGER), Some(newer));
}

/// A newcomer that has claimed; no host owns it.
fn newcomer(local: &Arc<Local>, connect: Connect, host: &Host) -> Session {
    let from = "10.0.0.2:40000".parse().unwrap();
    let (mut session, link) = Session::incoming(Arc::clone(local), from, Version::V1, host.now()).unwrap();
    let mut chunks = Chunks::new();
    for frame in [Frame::Banner, Frame::Address(addr(LARGER)), Frame::Connect(connect)] {
        Encoder::new().encode(&frame, &mut chunks).unwrap();
    }
    let mut buf = session.recv_buf(link).unwrap().unwrap();
    buf.extend_from_slice(&chunks.copy_to_bytes(chunks.remaining()));
    session.handle_recv(host.now(), link, buf).unwrap();
    assert_eq!(session.poll_action(), Some(Action::Arriving(addrs(LARGER))));
    session
}

#[test]
fn rows_6_and_7_a_session_of_v2_and_one_that_has_ended() {
    let host = Host::new(Setup::policy(Policy::lossless_peer()));
    let local = host.local();
    for v2 in [false, true] {
        for (connect_seq, placement) in [
            (0, Placement::Displace),
            // A session that has ended is no reason to refuse; one of v2 counts as none.
            (5, if v2 { Placement::Answered } else { Placement::Displace }),
        ] {
            let to = if v2 { "v2:10.0.0.2:6800/2" } else { LARGER };
            let mut old = Session::outgoing(Arc::clone(&local), EntityType::OSD, addrs(to), host.now());
            if !v2 {
                old.close(false);
            }
            let mut new = newcomer(&local, claim(1, connect_seq), &host);
            assert_eq!(Session::place(&mut new, Some(&mut old), host.now()), placement);
            assert!(old.is_closed());
            // Silently, but for what waits for dispatch.
            let told: Vec<Event> = std::iter::from_fn(|| old.poll_event()).collect();
            assert!(matches!(told[..], [Event::Discard]), "{told:?}");
            // Without a claim there is nothing to place.
            assert_eq!(Session::place(&mut new, None, host.now()), Placement::Answered);
        }
    }
}

#[test]
fn takeover_7_2_keeps_queues_and_drops_half_a_message() {
    let host = Host::new(Setup::policy(Policy::lossless_peer()));
    let (mut first, session) = opened(&host, LARGER, claim(1, 0));
    for tid in 1..=3 {
        host.send(session, tid);
        first.read_message();
    }
    first.send(&numbered(1, 50));
    assert_eq!(first.expect(), Frame::Ack(1));
    let half =
        bytes_of(&mut first, &MessageFrame { seq: 2, message: message(51), ..MessageFrame::default() });
    first.send_bytes(half.get(..60).unwrap());
    let mut second = greeted(&host, LARGER);
    assert_eq!(second.tag(2, 2), Tag::RetryGlobal);
    assert_eq!(second.connect_as(claim(3, 2), 2), 1);
    assert_eq!(second.read_message(), (3, 3));
    second.send(&numbered(2, 51));
    assert_eq!(second.expect(), Frame::Ack(2));
    assert_eq!(told(&host, session), ["open Server", "message 50", "open Server", "message 51"]);
    // The old socket has no say any more.
    first.send(&numbered(3, 52));
    assert!(told(&host, session).is_empty());
}

#[test]
fn takeover_7_2_the_new_socket_dies() {
    for (policy, queued, standby) in [
        (Policy::lossless_peer(), false, true),
        (Policy::lossless_peer(), true, false),
        (Policy::stateful_server(), true, true),
        (Policy::stateful_server(), false, true),
        (Policy::lossless_client(), false, false),
    ] {
        for hard in [false, true] {
            let host = Host::new(Setup::policy(policy.clone()));
            let (_first, session) = opened(&host, LARGER, claim(1, 0));
            let mut second = greeted(&host, LARGER);
            assert_eq!(second.tag(2, if hard { 0 } else { 2 }), Tag::RetryGlobal);
            if queued {
                host.send(session, 1);
            }
            second.close();
            assert_eq!(host.with(session, |session| session.is_standby()), standby, "{policy:?}");
            assert!(!host.with(session, |session| session.is_closed()));
            if !standby {
                let mut script = host.dialed::<V1>();
                script.serve(LARGER);
                let expected = if hard && policy.resetcheck { 1 } else { 2 };
                assert_eq!(script.read_connect().connect_seq, expected);
            }
        }
    }
}

#[test]
fn takeover_7_2_waits_ten_seconds_for_the_peer() {
    let host = Host::new(Setup::policy(Policy::lossless_peer()));
    let (_first, session) = opened(&host, LARGER, claim(1, 0));
    host.advance(Duration::from_secs(100));
    let mut second = greeted(&host, LARGER);
    host.advance(Duration::from_secs(9));
    assert_eq!(second.tag(2, 2), Tag::RetryGlobal);
    host.advance(Duration::from_secs(9));
    second.expect_quiet();
    host.advance(Duration::from_secs(1));
    second.expect_closed();
    assert!(host.with(session, |session| session.is_standby()));
}

fn challenging(policy: Policy) -> Host {
    let auth = Arc::new(Key { challenges: true, signs: false });
    Host::new(Setup { policies: Policies::all(policy), auth, ..Setup::default() })
}

/// Connects with both authorizers in turn, as the host asks for them; the tags.
fn dialogue(script: &mut Script<V1>, claims: &[(u32, u32, &'static [u8])]) -> Vec<Tag> {
    let mut tags = Vec::new();
    for (global_seq, connect_seq, authorizer) in claims {
        let reply = script.ask(claim_with(*global_seq, *connect_seq, authorizer));
        let proof = if reply.tag == Tag::ChallengeAuthorizer { CHALLENGE } else { PROOF };
        assert_eq!(reply.authorizer, Bytes::from_static(proof), "{:?}", reply.tag);
        tags.push(reply.tag);
    }
    tags
}

/// §7.3, and C.4 with cephx: a takeover challenges again, RETRY_SESSION does not.
#[test]
fn takeover_7_3_challenges_again() {
    use Tag::{ChallengeAuthorizer, RetryGlobal, RetrySession, Seq, Wait};
    let host = challenging(Policy::lossless_peer());
    let mut first = greeted(&host, LARGER);
    assert_eq!(dialogue(&mut first, &[(1, 0, TICKET), (1, 0, ANSWER)]), [ChallengeAuthorizer, Seq]);
    assert_eq!(first.read_seq(), 0);
    first.send(&Frame::Seq(0));
    let mut second = greeted(&host, LARGER);
    let claims = [(2, 1, TICKET), (2, 1, ANSWER), (3, 2, ANSWER), (4, 2, ANSWER), (4, 2, ANSWER)];
    let tags = [ChallengeAuthorizer, RetrySession, RetryGlobal, ChallengeAuthorizer, Seq];
    assert_eq!(dialogue(&mut second, &claims), tags);

    // Two peers at once.
    for (peer, tags) in [
        (LARGER, vec![ChallengeAuthorizer, Wait]),
        (SMALLER, vec![ChallengeAuthorizer, RetryGlobal, ChallengeAuthorizer, Seq]),
    ] {
        let host = challenging(Policy::lossless_peer());
        host.dial(EntityType::OSD, peer);
        let mut theirs = greeted(&host, peer);
        let claims = [(1, 0, TICKET), (1, 0, ANSWER), (2, 0, ANSWER), (2, 0, ANSWER)];
        assert_eq!(dialogue(&mut theirs, claims.get(..tags.len()).unwrap()), tags);
    }
}

/// §7.4: without resetcheck the queue goes to the peer's new incarnation.
#[test]
fn takeover_7_4_hard_reset_without_resetcheck() {
    for acknowledged in [false, true] {
        let host = Host::new(Setup::policy(Policy::lossless_peer()));
        let (mut first, session) = opened(&host, LARGER, claim(1, 0));
        for tid in 1..=3 {
            host.send(session, tid);
        }
        first.send(&Frame::Ack(if acknowledged { 3 } else { 1 }));
        first.send(&numbered(1, 50));
        told(&host, session);
        let mut second = greeted(&host, LARGER);
        assert_eq!(second.tag(2, 0), Tag::RetryGlobal);
        let reply = second.ask(claim(3, 0));
        assert_eq!((reply.tag, reply.connect_seq), (Tag::Ready, 1));
        second.opened(Features::ALL_PACIFIC);
        host.send(session, 4);
        let expected: &[(u64, u64)] = if acknowledged { &[(1, 4)] } else { &[(2, 2), (3, 3), (4, 4)] };
        for message in expected {
            assert_eq!(second.read_message(), *message);
        }
        second.send(&numbered(1, 51));
        assert_eq!(told(&host, session), ["open Server", "message 51"], "no remote reset");
    }
}

#[test]
fn c_3_1_the_smaller_address_wins() {
    let host = Host::new(Setup::policy(Policy::lossless_peer()));
    let (session, own) = existing(&host, Existing::Dialing(0), SMALLER).unwrap();
    host.send(session, 1);
    let mut theirs = greeted(&host, SMALLER);
    let reply = theirs.ask(claim(1, 0));
    assert_eq!((reply.tag, reply.global_seq), (Tag::RetryGlobal, 0));
    assert!(own.is_closed());
    theirs.connect_as(claim(2, 0), 0);
    assert_eq!(theirs.read_message(), (1, 1));
    assert_eq!(told(&host, session), ["open Server"]);
    assert!(host.dials().is_empty());
}

#[test]
fn c_3_2_and_3_the_larger_address_waits() {
    let host = Host::new(Setup::policy(Policy::lossless_peer_reuse()));
    let (session, mut own) = existing(&host, Existing::Dialing(0), LARGER).unwrap();
    let mut theirs = greeted(&host, LARGER);
    assert_eq!(theirs.ask(claim(1, 0)), reply(Tag::Wait));
    own.accept_seq(&claim(0, 0), 0, 0);
    assert!(matches!(own.expect(), Frame::Keepalive2(_)));
    own.expect_quiet();
    theirs.expect_quiet();
    // The one that waits insists on a new session: a hard reset.
    assert_eq!(theirs.tag(78, 0), Tag::RetryGlobal);
    own.expect_closed();
    assert_eq!(theirs.tag(79, 0), Tag::Ready);
    let events = ["open Client", "discard", "remote reset", "open Server"];
    assert_eq!(told(&host, session), events);
}

#[test]
fn c_3_2_an_attempt_that_must_succeed_does_not_stand_by() {
    let host = Host::new(Setup::policy(Policy::lossless_peer()));
    let (session, own) = existing(&host, Existing::Dialing(0), LARGER).unwrap();
    assert_eq!(greeted(&host, LARGER).tag(1, 0), Tag::Wait);
    own.close();
    assert!(!host.with(session, |session| session.is_standby()));
    assert_eq!(host.until_dial(), Duration::from_millis(200));
}

#[test]
fn c_3_4_nonces_compare_by_their_least_significant_byte() {
    // The host's nonce is 1.
    for (nonce, tag) in [(0, Tag::RetryGlobal), (256, Tag::RetryGlobal), (2, Tag::Wait), (257, Tag::Wait)] {
        let host = Host::new(Setup::policy(Policy::lossless_peer()));
        let peer = format!("v1:10.0.0.1:6801/{nonce}");
        host.dial(EntityType::OSD, &peer);
        assert_eq!(greeted(&host, &peer).tag(1, 0), tag, "{nonce}");
    }
}

#[test]
fn c_3_5_and_c_4_both_reconnect_with_equal_connect_seq() {
    for (peer, tag) in [(SMALLER, Tag::RetryGlobal), (LARGER, Tag::Wait)] {
        let host = Host::new(Setup::policy(Policy::lossless_peer()));
        let (session, mut own) = existing(&host, Existing::Dialing(18), peer).unwrap();
        let mut theirs = greeted(&host, peer);
        assert_eq!(theirs.tag(11, 18), tag);
        if tag == Tag::Wait {
            own.accept_seq(&claim(0, 18), 0, 0);
            assert!(matches!(own.expect(), Frame::Keepalive2(_)));
            assert_eq!(own.read_message(), (1, 1));
        } else {
            theirs.connect_as(claim(12, 18), 0);
            assert_eq!(theirs.read_message(), (1, 1));
            assert!(own.is_closed());
        }
        assert!(!told(&host, session).contains(&"remote reset".to_owned()));
    }
}

#[test]
fn c_3_6_a_third_connection_during_a_takeover() {
    let host = Host::new(Setup::policy(Policy::lossless_peer()));
    let (session, mut second) = existing(&host, Existing::Replacing, LARGER).unwrap();
    let mut third = greeted(&host, LARGER);
    let reply = third.ask(claim(50, 5));
    assert_eq!((reply.tag, reply.global_seq), (Tag::RetryGlobal, 10));
    second.connect_as(claim(12, 2), 0);
    // Now it is judged as any other.
    assert_eq!(third.tag(51, 3), Tag::RetrySession);
    assert_eq!(third.tag(51, 4), Tag::RetryGlobal);
    assert_eq!((third.owner(), second.is_closed()), (Some(session), true));
}

/// C.4: reconnects, leaving standby, both at once with unequal numbers.
#[test]
fn c_4_dialogues() {
    use Tag::{RetryGlobal, RetrySession, Seq};
    for (what, dialogue) in [
        // With unacknowledged messages: each success adds one, each fault one.
        (Existing::Open(1), vec![(2, RetryGlobal), (2, Seq)]),
        (Existing::Open(3), vec![(4, RetryGlobal), (4, Seq)]),
        (Existing::Standby(1), vec![(1, RetrySession), (2, RetryGlobal), (2, Seq)]),
        // The other side had advanced to 2.
        (Existing::Dialing(2), vec![(1, RetrySession), (3, RetryGlobal), (3, Seq)]),
        (Existing::Dialing(25), vec![(24, RetrySession), (26, RetryGlobal), (26, Seq)]),
    ] {
        let host = Host::new(Setup::policy(Policy::lossless_peer()));
        let (session, _old) = existing(&host, what, LARGER).unwrap();
        let mut script = greeted(&host, LARGER);
        for (global_seq, (connect_seq, tag)) in (11..).zip(dialogue) {
            let reply = script.ask(claim(global_seq, connect_seq));
            assert_eq!(reply.tag, tag, "{what:?}");
        }
        assert_eq!(script.owner(), Some(session));
    }
}

#[test]
fn c_4_crossing_retries() {
    let host = Host::new(Setup::policy(Policy::lossless_peer()));
    let (session, mut own) = existing(&host, Existing::Dialing(24), SMALLER).unwrap();
    let mut theirs = greeted(&host, SMALLER);
    assert_eq!(theirs.tag(11, 23), Tag::RetrySession);
    // Meanwhile the own attempt is told the same.
    own.send(&Frame::Reply(ConnectReply { connect_seq: 26, ..reply(Tag::RetrySession) }));
    assert_eq!(own.read_connect().connect_seq, 26);
    assert_eq!(theirs.tag(11, 25), Tag::RetrySession);
    own.close();
    assert_eq!(theirs.tag(12, 27), Tag::RetryGlobal);
    assert_eq!(theirs.owner(), Some(session));
}

#[test]
fn a_newcomer_that_is_answered_may_go_away() {
    let host = Host::new(Setup::policy(Policy::lossless_peer()));
    let (session, mut old) = existing(&host, Existing::Open(1), LARGER).unwrap();
    let mut script = greeted(&host, LARGER);
    let newcomer = script.owner().unwrap();
    assert_eq!(script.tag(11, 1), Tag::RetrySession);
    script.close();
    assert_eq!(told(&host, newcomer), ["rejected"]);
    old.expect_quiet();
    assert_eq!(host.find(LARGER), Some(session));
}
