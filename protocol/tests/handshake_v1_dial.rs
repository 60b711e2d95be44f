//! Does a client of v1 do what Ceph's does? The script listens: conformance C.2, row by row. What a client shows of
//! itself is in `handshake_v1_shows.rs`.

#![expect(clippy::panic, reason = "tests")]

mod script;
mod script_v1;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cephwire_protocol::codec::v1::{Connect, ConnectReply, Expect, Frame, MessageFrame, Tag};
use cephwire_protocol::codec::v2::method;
use cephwire_protocol::codec::{EntityType, Features, Flags, Timestamp};
use cephwire_protocol::codec::{Flaw, Malformed};
use cephwire_protocol::{Denied, Error, Event, Incompatible, Policies, Policy, Violation};
use script::{Host, Script, Setup, V1, addr, addrs};
use script_v1::{ANSWER, CHALLENGE, Key, LARGER, PROOF, Sum, TICKET, numbered, reply, told};

const OSD: EntityType = EntityType::OSD;

fn host(policy: Policy) -> Host {
    Host::new(Setup::policy(policy))
}

/// A session of this policy that has sent its first connect.
fn dialing(policy: Policy) -> (Host, usize, Script<V1>, Connect) {
    dialing_as(Setup::policy(policy))
}

fn dialing_as(setup: Setup) -> (Host, usize, Script<V1>, Connect) {
    let host = Host::new(setup);
    let session = host.dial(OSD, LARGER);
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    let connect = script.read_connect();
    (host, session, script, connect)
}

/// The error of the trouble or the end that the session was told of last.
#[track_caller]
fn error(host: &Host, session: usize) -> Error {
    match host.events(session).pop() {
        Some(Event::Trouble(error) | Event::Reset(Some(error))) => error,
        other => panic!("{other:?}"),
    }
}

/// Where replies are read.
const CONNECT: &str = "CONNECTING_SEND_CONNECT_MSG";

fn violation(number: u64, found: &str, expected: &str) -> Error {
    let (found, expected) = (found.to_owned(), expected.to_owned());
    Violation { phase: CONNECT, number, found, expected }.into()
}

/// Refused by the first reply, which follows the banner and two addresses.
fn incompatible(error: Incompatible) -> Error {
    Error::Incompatible { phase: CONNECT, number: 4, source: error }
}

fn denied(error: Denied) -> Error {
    Error::Denied { phase: CONNECT, number: 4, source: Box::new(error) }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn row_1_a_silent_server() {
    for (policy, ends) in [(Policy::lossless_client(), false), (Policy::lossy_client(), true)] {
        let host = host(policy);
        let session = host.dial(OSD, LARGER);
        // The time runs from the dial on.
        host.advance(millis(4_000));
        let mut script = host.dialed::<V1>();
        assert_eq!(script.take_bytes(), b"ceph v027");
        if ends {
            script.send(&Frame::Banner);
        }
        host.advance(millis(5_999));
        script.expect_quiet();
        host.advance(millis(1));
        script.expect_closed();
        assert_eq!(host.with(session, |session| session.is_closed()), ends);
        if !ends {
            assert_eq!(host.until_dial(), millis(200));
        }
    }
}

#[test]
fn row_2_tcp_is_refused() {
    for policy in [Policy::lossless_client(), Policy::lossy_client()] {
        let host = host(policy);
        let session = host.dial(OSD, LARGER);
        host.send(session, 1);
        for pause in [200, 400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000] {
            host.refuse(ErrorKind::ConnectionRefused);
            assert_eq!(told(&host, session), ["refused", "trouble"]);
            assert_eq!(host.until_dial(), millis(pause));
        }
        let mut script = host.dialed::<V1>();
        script.serve_open(LARGER, 0);
        // Success begins the count anew. (This server wants no lossy sessions.)
        script.close();
        host.refuse(ErrorKind::ConnectionRefused);
        assert_eq!(host.until_dial(), millis(200));
    }
}

#[test]
fn rows_3_and_4_ready_or_seq() {
    let (host, session, mut script, connect) = dialing(Policy::lossless_client());
    host.send(session, 5);
    script.send(&Frame::Reply(ConnectReply { connect_seq: 1, ..reply(Tag::Ready) }));
    script.opened(connect.features);
    assert_eq!(script.read_message(), (1, 5));
    host.send(session, 6);
    assert_eq!(script.read_message(), (2, 6));
    script.send(&numbered(1, 7));
    assert_eq!(script.expect(), Frame::Ack(1));
    script.close();
    // Reconnect: the first was received, the second was not.
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    let connect = script.read_connect();
    assert_eq!(script.accept_seq(&connect, 1, 0), 1);
    assert_eq!(script.read_message(), (2, 6));
    script.close();
    // READY drops nothing.
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    let Connect { connect_seq, features, .. } = script.read_connect();
    script.send(&Frame::Reply(ConnectReply { connect_seq: connect_seq + 1, ..reply(Tag::Ready) }));
    script.opened(features);
    assert_eq!(script.read_message(), (2, 6));
    let opens = ["open Client", "message 7", "trouble", "open Client", "trouble", "open Client"];
    assert_eq!(told(&host, session), opens);
}

#[test]
fn row_5_another_connect_seq() {
    // Ceph's client aborts.
    for (tag, connect_seq) in [(Tag::Ready, 0), (Tag::Ready, 2), (Tag::Seq, 7), (Tag::Seq, u32::MAX)] {
        let (host, session, mut script, _) = dialing(Policy::lossless_client());
        script.send(&Frame::Reply(ConnectReply { connect_seq, ..reply(tag) }));
        script.expect_closed();
        let found = format!("{} with connect_seq {connect_seq}", tag.name());
        assert_eq!(error(&host, session), violation(4, &found, "the claim's 0 plus 1"));
        assert_eq!(host.until_dial(), millis(200));
    }
}

#[test]
fn row_6_the_server_decides_about_lossy() {
    let (host, session, mut script, connect) = dialing(Policy::lossless_client());
    assert_eq!(connect.flags, 0);
    script.accept_seq(&connect, 0, 1);
    script.send(&numbered(1, 1));
    script.expect_quiet();
    host.send(session, 2);
    assert_eq!(host.with(session, |session| session.outbox().unacknowledged()), 0);
    script.close();
    assert_eq!(told(&host, session), ["open Client", "message 1", "discard", "reset"]);

    // And the other way.
    let (host, session, mut script, connect) = dialing(Policy::lossy_client());
    assert_eq!(connect.flags, 1);
    script.accept_seq(&connect, 0, 0);
    script.send(&numbered(1, 1));
    assert_eq!(script.expect(), Frame::Ack(1));
    assert!(!host.with(session, |session| session.policy().lossy));
}

#[test]
fn row_7_retry_global() {
    let (_host, _, mut script, first) = dialing(Policy::lossless_client());
    script.send(&Frame::Reply(ConnectReply { global_seq: 100, ..reply(Tag::RetryGlobal) }));
    let again = script.read_connect();
    assert_eq!(again, Connect { global_seq: 101, ..first });
    // None is above the greatest, and the server takes that once more. (Ceph's counter wraps.)
    script.send(&Frame::Reply(ConnectReply { global_seq: u32::MAX, ..reply(Tag::RetryGlobal) }));
    assert_eq!(script.read_connect().global_seq, u32::MAX);
}

#[test]
fn rows_8_and_9_retry_session() {
    for lower in [9, 8, 0] {
        let (host, session, mut script, first) = dialing(Policy::lossless_client());
        script.send(&Frame::Reply(ConnectReply { connect_seq: 9, ..reply(Tag::RetrySession) }));
        let again = script.read_connect();
        assert_eq!(again, Connect { connect_seq: 9, ..first });
        // Not higher: Ceph's client aborts.
        script.send(&Frame::Reply(ConnectReply { connect_seq: lower, ..reply(Tag::RetrySession) }));
        script.expect_closed();
        let found = format!("RETRY_SESSION with connect_seq {lower}");
        assert_eq!(error(&host, session), violation(5, &found, "one above the claim's 9"));
    }
}

/// A connect_seq is written in 32 bits, and so is the answer to it, plus 1. Ceph's wraps around to 0; here both begin
/// anew instead.
#[test]
fn the_last_connect_seq() {
    let (host, session, mut script, first) = dialing(Policy::lossless_client());
    host.send(session, 1);
    script.send(&Frame::Reply(ConnectReply { connect_seq: u32::MAX - 1, ..reply(Tag::RetrySession) }));
    let again = script.read_connect();
    assert_eq!(again.connect_seq, u32::MAX - 1);
    // That one can be granted, and the session goes on with it.
    script.accept_seq(&again, 0, 0);
    assert_eq!(script.read_message(), (1, 1));
    script.close();
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    assert_eq!(script.read_connect().connect_seq, 0);
    assert_eq!(told(&host, session), ["open Client", "trouble", "discard", "remote reset"]);
    // A server that wants the last one gets a new session.
    script.send(&Frame::Reply(ConnectReply { connect_seq: u32::MAX, ..reply(Tag::RetrySession) }));
    let again = script.read_connect();
    assert_eq!((again.connect_seq, again.features), (0, first.features));
    assert_eq!(told(&host, session), ["discard", "remote reset"]);
    script.accept_seq(&again, 0, 0);
    host.send(session, 2);
    let (_, tid) = script.read_message();
    assert_eq!(tid, 2);
}

#[test]
fn row_10_reset_session() {
    let (host, session, mut script, connect) = dialing(Policy::lossless_client());
    host.send(session, 1);
    script.accept_seq(&connect, 0, 0);
    assert_eq!(script.read_message(), (1, 1));
    script.send(&numbered(1, 50));
    assert_eq!(script.expect(), Frame::Ack(1));
    script.close();
    told(&host, session);
    host.send(session, 2);
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    let connect = script.read_connect();
    assert_eq!(connect.connect_seq, 2);
    script.send(&Frame::Reply(reply(Tag::ResetSession)));
    assert_eq!(told(&host, session), ["discard", "remote reset"]);
    let again = script.read_connect();
    assert_eq!(again, Connect { connect_seq: 0, ..connect });
    assert_eq!(script.accept_seq(&again, 0, 0), 0);
    script.expect_quiet();
    host.send(session, 3);
    assert_eq!(script.read_message(), (1, 3));
    script.send(&numbered(1, 51));
    assert_eq!(told(&host, session), ["open Client", "message 51"]);
}

#[test]
fn row_11_wait() {
    let (host, session, mut script, first) = dialing(Policy::lossless_peer());
    host.send(session, 1);
    script.send(&Frame::Reply(reply(Tag::Wait)));
    script.expect_closed();
    assert_eq!(host.until_dial(), Duration::from_secs(15));
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    let again = script.read_connect();
    assert_eq!(again.connect_seq, first.connect_seq);
    assert!(again.global_seq > first.global_seq);
    assert_eq!(told(&host, session), ["trouble"]);
    // A lossy client gives up.
    let (host, session, mut script, _) = dialing(Policy::lossy_client());
    script.send(&Frame::Reply(reply(Tag::Wait)));
    script.expect_closed();
    assert_eq!(told(&host, session), ["discard", "reset"]);
}

#[test]
fn row_11_the_peers_connection_is_adopted_while_waiting() {
    let (host, session, mut script, _) = dialing(Policy::lossless_peer());
    host.send(session, 1);
    script.send(&Frame::Reply(reply(Tag::Wait)));
    let mut theirs = script_v1::greeted(&host, script_v1::SMALLER);
    // Another address is another session.
    assert_eq!(theirs.tag(1, 0), Tag::Seq);
    // The peer wins races only with a smaller address, so row 16 answers; with connect_seq above, row 18.
    let mut theirs = script_v1::greeted(&host, LARGER);
    assert_eq!(theirs.tag(1, 1), Tag::RetryGlobal);
    assert_eq!(theirs.owner(), Some(session));
    theirs.connect_as(script_v1::claim(2, 1), 0);
    assert_eq!(theirs.read_message(), (1, 1));
    host.advance(Duration::from_secs(60));
    assert!(host.dials().is_empty());
}

#[test]
fn row_12_the_server_refuses() {
    let missing = Features::OSDENC;
    let (ours, theirs) = (Features(Features::ALL_PACIFIC.0 & !missing.0), Some(Features::ALL_PACIFIC));
    let refusals = [
        (
            reply(Tag::Features),
            incompatible(Incompatible::PeerRequires { missing, ours, theirs }),
            "the peer requires features Features(0x2000 OSDENC): this side has 0x3f01cfbdfffddfff, the peer \
             answered 0x3f01cfbdfffdffff",
        ),
        (
            ConnectReply { protocol_version: 25, ..reply(Tag::BadProtoVer) },
            incompatible(Incompatible::ProtocolVersion { theirs: 25, ours: 0 }),
            "protocol version: the peer has 25, this side 0",
        ),
        (
            reply(Tag::BadAuthorizer),
            denied(Denied { offered_methods: vec![method::NONE], result: -13, ..Denied::default() }),
            "peer does not say what it allows; we offered [none] with [] (error -13)",
        ),
    ];
    for (refusal, expected, text) in refusals {
        assert_eq!(expected.to_string(), format!("{CONNECT}, frame 4: {text}"));
        for lossy in [false, true] {
            let policy = if lossy { Policy::lossy_client() } else { Policy::lossless_client() };
            let features_supported = Features(Features::ALL_PACIFIC.0 & !missing.0);
            let (host, session, mut script, _) = dialing(Policy { features_supported, ..policy });
            script.send(&Frame::Reply(refusal.clone()));
            script.expect_closed();
            assert_eq!(error(&host, session), expected);
            assert_eq!(host.with(session, |session| session.is_closed()), lossy);
            if !lossy {
                assert_eq!(host.until_dial(), millis(200));
            }
        }
    }
}

#[test]
fn row_13_the_servers_address() {
    for (said, accepted) in [
        (LARGER, true),
        ("v1:0.0.0.0:6800/2", true),
        ("v1:[::]:6800/2", true),
        ("v1:10.0.0.2:6800/3", false),
        ("v1:10.0.0.2:6801/2", false),
        ("v1:10.0.0.3:6800/2", false),
        ("v1:0.0.0.0:6801/2", false),
        ("v1:0.0.0.0:6800/3", false),
        ("-", false),
    ] {
        let host = host(Policy::lossless_client());
        host.dial(OSD, LARGER);
        let mut script = host.dialed::<V1>();
        script.send(&Frame::Banner);
        script.send(&Frame::Address(addr(said)));
        assert_eq!(script.is_closed(), !accepted, "{said}");
    }
}

#[test]
fn row_14_the_own_address_is_learned() {
    let seen = "v1:10.0.0.9:50000/0";
    for (own, seen, told) in [
        ("", seen, "v1:10.0.0.9:0/7"),
        ("v1:0.0.0.0:6789/7", seen, "v1:10.0.0.9:6789/7"),
        ("v1:10.0.0.1:6789/7", seen, "v1:10.0.0.1:6789/7"),
        // Ceph's client aborts on an address without family. One without IP teaches nothing.
        ("v1:0.0.0.0:6789/7", "-", "v1:0.0.0.0:6789/7"),
        ("v1:0.0.0.0:6789/7", "v1:0.0.0.0:0/0", "v1:0.0.0.0:6789/7"),
    ] {
        let host = Host::new(Setup { addrs: addrs(own), nonce: 7, ..Setup::default() });
        host.dial(OSD, LARGER);
        let mut script = host.dialed::<V1>();
        assert_eq!(script.read(Expect::Banner), Frame::Banner);
        for frame in [Frame::Banner, Frame::Address(addr(LARGER)), Frame::Address(addr(seen))] {
            script.send(&frame);
        }
        assert_eq!(script.read_address(), addr(told), "{own:?} seen as {seen}");
    }
}

#[test]
fn row_15_unacknowledged_messages_are_sent_again() {
    let (host, session, mut script, connect) = dialing(Policy::lossless_peer());
    script.accept_seq(&connect, 0, 0);
    for tid in 1..=5 {
        host.send(session, tid);
        assert_eq!(script.read_message(), (tid, tid));
    }
    script.close();
    host.send(session, 6);
    let mut script = host.dialed::<V1>();
    assert_eq!(script.serve_open(LARGER, 3).connect_seq, 2);
    for seq in [4, 5, 6] {
        assert_eq!(script.read_message(), (seq, seq));
    }
}

#[test]
fn row_16_everything_acknowledged() {
    for (policy, waits) in [(Policy::lossless_peer(), true), (Policy::lossless_client(), false)] {
        let (host, session, mut script, connect) = dialing(policy);
        script.accept_seq(&connect, 0, 0);
        host.send(session, 1);
        script.send(&Frame::Ack(1));
        script.close();
        assert_eq!(host.with(session, |session| session.is_standby()), waits);
        assert_eq!(host.dials().is_empty(), waits);
        if waits {
            host.advance(Duration::from_secs(3600));
            assert!(host.dials().is_empty());
            host.send(session, 2);
        }
        let mut script = host.dialed::<V1>();
        let expected = if waits { 1 } else { 2 };
        assert_eq!(script.serve_open(LARGER, 1).connect_seq, expected);
    }
}

#[test]
fn rows_17_and_18_without_acks_and_with_one_for_all() {
    let (host, session, mut script, connect) = dialing(Policy::lossless_peer());
    script.accept_seq(&connect, 0, 0);
    (1..=300).for_each(|tid| host.send(session, tid));
    for seq in 1..=300 {
        assert_eq!(script.read_message(), (seq, seq));
    }
    let unacknowledged = || host.with(session, |session| session.outbox().unacknowledged());
    assert_eq!(unacknowledged(), 300);
    // Ceph drops 128 for each ACK.
    script.send(&Frame::Ack(299));
    assert_eq!(unacknowledged(), 1);
}

#[test]
fn row_19_unknown_tags_in_a_reply() {
    // Ceph's client takes them for READY.
    for tag in [0, 6, 7, 8, 9, 14, 15, 17, 255] {
        let (host, session, mut script, _) = dialing(Policy::lossless_client());
        let mut bytes = [0; 26];
        (bytes[0], bytes[13]) = (tag, 1);
        script.send_bytes(&bytes);
        script.expect_closed();
        // Behind the banner and two addresses.
        let (flaw, offset) = (Flaw::Unknown { found: tag.into() }, 9 + 2 * 136);
        let unknown = Malformed { frame: "connect_reply", field: "tag", offset, flaw };
        assert_eq!(error(&host, session), Error::Malformed { phase: CONNECT, source: unknown });
    }
}

#[test]
fn row_20_the_server_must_prove_itself() {
    for (tag, proof, accepted) in [
        (Tag::Seq, PROOF, true),
        (Tag::Ready, PROOF, true),
        // Ceph's client takes both.
        (Tag::Seq, b"", false),
        (Tag::Ready, b"", false),
        (Tag::Seq, b"guess", false),
        (Tag::RetryGlobal, b"", false),
        (Tag::ResetSession, b"guess", false),
        (Tag::Wait, b"", false),
    ] {
        let setup = Setup::policy(Policy::lossless_client());
        let (host, session, mut script, connect) =
            dialing_as(Setup { auth: Arc::new(Key::default()), ..setup });
        assert_eq!((connect.authorizer_protocol, &connect.authorizer[..]), (method::CEPHX, TICKET));
        let authorizer = Bytes::from_static(proof);
        script.send(&Frame::Reply(ConnectReply { connect_seq: 1, authorizer, ..reply(tag) }));
        assert_eq!(script.is_closed(), !accepted, "{tag:?} {proof:?}");
        if !accepted {
            let offered_methods = vec![method::CEPHX];
            assert_eq!(error(&host, session), denied(Denied { offered_methods, ..Denied::default() }));
        }
    }
}

#[test]
fn challenges_are_answered_and_the_answer_is_kept() {
    let setup = Setup::policy(Policy::lossless_client());
    let (host, session, mut script, connect) = dialing_as(Setup { auth: Arc::new(Key::default()), ..setup });
    let challenge =
        ConnectReply { authorizer: Bytes::from_static(CHALLENGE), ..reply(Tag::ChallengeAuthorizer) };
    script.send(&Frame::Reply(challenge.clone()));
    let answered = Connect { authorizer: Bytes::from_static(ANSWER), ..connect };
    assert_eq!(script.read_connect(), answered);
    let authorizer = Bytes::from_static(PROOF);
    script.send(&Frame::Reply(ConnectReply { global_seq: 9, authorizer, ..reply(Tag::RetryGlobal) }));
    assert_eq!(script.read_connect(), Connect { global_seq: 10, ..answered });
    // Challenges count as rounds: no server keeps a client busy for ever.
    for _ in 0..14 {
        script.send(&Frame::Reply(challenge.clone()));
        script.read_connect();
    }
    script.send(&Frame::Reply(challenge));
    script.expect_closed();
    let most = "at most 16 replies on a connection";
    assert_eq!(error(&host, session), violation(20, "CHALLENGE_AUTHORIZER", most));
}

#[test]
fn messages_are_signed_both_ways() {
    let setup = Setup::policy(Policy::lossless_client());
    let auth = Arc::new(Key { challenges: false, signs: true });
    for forged in [false, true] {
        let setup = Setup { auth: auth.clone(), policies: setup.policies.clone(), ..Setup::default() };
        let (host, session, mut script, connect) = dialing_as(setup);
        let proof = ConnectReply { authorizer: Bytes::from_static(PROOF), ..reply(Tag::Seq) };
        script.accept_with(&connect, 0, proof);
        host.send(session, 1);
        let Frame::Message(frame) = script.expect() else { panic!("no message") };
        assert!(frame.flags.contains(Flags::SIGNED) && frame.signature != 0);
        if !forged {
            script.wire.encoder.set_signer(Some(Box::new(Sum)));
        }
        script.send(&Frame::Message(MessageFrame { seq: 1, ..MessageFrame::default() }));
        assert_eq!(script.is_closed(), forged);
    }
}

#[test]
fn features_are_those_of_the_policy_for_the_peers_type() {
    let supported = Features::RECONNECT_SEQ.union(Features::UID);
    let policy =
        Policy { features_supported: supported, ..Policy::lossless_client() }.requiring(Features::UID);
    let policies = Policies::all(Policy::lossy_client()).with(OSD, policy);
    let (host, session, mut script, connect) = dialing_as(Setup { policies, ..Setup::default() });
    assert_eq!(connect.features, supported);
    // The server lacks what is required.
    let features = Features::RECONNECT_SEQ;
    script.send(&Frame::Reply(ConnectReply { connect_seq: 1, features, ..reply(Tag::Seq) }));
    let missing = Features::UID;
    let expected = incompatible(Incompatible::PeerLacks { missing, required: missing, theirs: features });
    let text = "the peer lacks features Features(0x1 UID): this side requires 0x1, the peer has 0x40";
    assert_eq!(expected.to_string(), format!("{CONNECT}, frame 4: {text}"));
    assert_eq!(error(&host, session), expected);
    // What both have is effective.
    host.until_dial();
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    let connect = script.read_connect();
    let features = Features::UID.union(Features::MSG_AUTH);
    script.accept_with(&connect, 0, ConnectReply { features, ..reply(Tag::Seq) });
    let events = host.events(session);
    assert!(matches!(events.as_slice(), [Event::Open { features: Features::UID, .. }]), "{events:?}");
    // So footers are short, and keepalives are those of old.
    host.send(session, 1);
    host.with(session, |session| session.keepalive());
    let bytes = script.take_bytes();
    assert_eq!(bytes.len(), 1 + 53 + 20 + 13 + 1);
    assert_eq!(bytes.last(), Some(&9));
}

#[test]
fn keepalives_carry_the_wall_clock() {
    let (host, session, mut script, connect) = dialing(Policy::lossless_client());
    let stamp = Timestamp { sec: 1_700_000_000, nsec: 5 };
    host.local().set_wall_clock(stamp);
    // One that was wanted before goes out as soon as the stream is open.
    host.with(session, |session| session.keepalive());
    script.accept_seq(&connect, 0, 0);
    assert_eq!(script.expect(), Frame::Keepalive2(stamp));
    script.send(&Frame::Keepalive2Ack(stamp));
    assert_eq!(host.with(session, |session| session.last_keepalive_ack()), Some(stamp));
}

#[test]
fn long_authorizers_in_replies() {
    let (_host, _, mut script, _) = dialing(Policy::lossless_client());
    let mut bytes = [0; 26];
    (bytes[0], bytes[23]) = (Tag::Seq as u8, 2);
    script.send_bytes(&bytes);
    script.expect_closed();
}
