//! Does a server of v1 do what Ceph's does? The script connects: conformance C.1, row by row, and the tables of
//! versions, features and limits for accepted peers.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod script;
mod script_v1;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use cephwire_protocol::codec::v1::{Connect, ConnectReply, Frame, Tag};
use cephwire_protocol::codec::{Chunks, EntityAddr, EntityName, EntityType, Features, Flags, Timestamp};
use cephwire_protocol::{Error, Event, Policies, Policy, Violation};
use script::{Host, Setup, V1, addr};
use script_v1::{
    ANSWER, CHALLENGE, Key, LARGER, PROOF, Sum, TICKET, bytes_of, claim, claim_with, greeted, numbered,
    opened, parts, told,
};

fn reuse() -> Host {
    Host::new(Setup::policy(Policy::lossless_peer_reuse()))
}

fn with_key(key: Key) -> Host {
    let policies = Policies::all(Policy::lossless_peer_reuse());
    Host::new(Setup { policies, auth: Arc::new(key), ..Setup::default() })
}

fn hello(own: &EntityAddr) -> Vec<u8> {
    let mut hello = b"ceph v027".to_vec();
    own.encode_legacy(&mut hello);
    hello
}

#[test]
fn row_1_says_its_hello_at_once_and_does_not_wait_for_ever() {
    let host = reuse();
    let mut script = host.accept::<V1>();
    let mut expected = hello(&addr("v1:10.0.0.1:6801/1"));
    addr("v1:10.0.0.2:40000/0").encode_legacy(&mut expected);
    assert_eq!(expected.len(), 281);
    assert_eq!(script.take_bytes(), expected);
    host.advance(Duration::from_millis(9_999));
    script.expect_quiet();
    // Ceph waits for ever.
    host.advance(Duration::from_millis(1));
    script.expect_closed();
    assert_eq!(told(&host, 0), ["rejected"]);
}

#[test]
fn row_2_wrong_banner() {
    let host = reuse();
    let mut script = host.accept::<V1>();
    script.take_bytes();
    script.send_bytes(b"ceph v02");
    script.expect_quiet();
    script.send_bytes(b"8");
    script.expect_closed();
}

#[test]
fn row_3_hello_in_many_small_writes() {
    let host = reuse();
    let mut script = host.accept::<V1>();
    for byte in hello(&addr(LARGER)) {
        script.send_bytes(&[byte]);
    }
    assert_eq!(script.take_bytes().len(), 281);
    assert_eq!(script.tag(1, 0), Tag::Seq);
}

#[test]
fn row_4_blank_ip_is_filled_in() {
    // The last two as of kernel clients: without family, with a nonce.
    for (claimed, identity) in [
        ("v1:0.0.0.0:0/9", "v1:10.0.0.2:0/9"),
        ("v1:[::]:6800/9", "v1:10.0.0.2:6800/9"),
        ("v1:10.0.0.7:1/9", "v1:10.0.0.7:1/9"),
        ("-", "v1:10.0.0.2:0/0"),
    ] {
        let host = reuse();
        opened(&host, claimed, claim(1, 0));
        assert!(host.find(identity).is_some(), "{claimed}");
    }
}

#[test]
fn row_5_an_address_of_the_newer_encoding() {
    for (first, accepted) in [([1, 0, 0, 0], false), ([0, 1, 0, 0], true), ([0, 0, 0, 9], true)] {
        let host = reuse();
        let mut script = host.accept::<V1>();
        script.take_bytes();
        let mut hello = hello(&addr(LARGER));
        hello[9..13].copy_from_slice(&first);
        script.send_bytes(&hello);
        assert_eq!(script.is_closed(), !accepted, "{first:?}");
    }
}

#[test]
fn row_6_protocol_version() {
    let host = reuse();
    let mut script = greeted(&host, LARGER);
    let wrong = Connect { host_type: EntityType::CLIENT.0.into(), protocol_version: 23, ..claim(1, 0) };
    let expected = ConnectReply { protocol_version: 24, ..script_v1::reply(Tag::BadProtoVer) };
    assert_eq!(script.ask(wrong.clone()), expected);
    script.expect_quiet();
    script.connect_as(Connect { protocol_version: 24, ..wrong }, 0);
}

#[test]
fn row_7_features() {
    let supported = Features::RECONNECT_SEQ.union(Features::MSG_AUTH).union(Features::UID);
    let policy = Policy { features_supported: supported, ..Policy::lossless_peer_reuse() };
    let required = Features::UID.union(Features::PGID64);
    let host = Host::new(Setup::policy(policy.requiring(required)));
    let mut script = greeted(&host, LARGER);
    let lacking = Features::RECONNECT_SEQ.union(Features::OSDENC);
    let reply = script.ask(Connect { features: lacking, ..claim(1, 0) });
    // What both have, and what is wanted.
    assert_eq!(reply.features, Features::RECONNECT_SEQ.union(required));
    assert_eq!((reply.tag, reply.flags, reply.global_seq, reply.connect_seq), (Tag::Features, 0, 0, 0));
    script.expect_quiet();
    let corrected = lacking.union(required);
    let reply = script.ask(Connect { features: corrected, ..claim(1, 0) });
    // The whole own set, whatever the client has.
    assert_eq!((reply.tag, reply.features), (Tag::Seq, supported));
}

#[test]
fn row_8_authorizer_refused() {
    let host = with_key(Key::default());
    let mut script = greeted(&host, LARGER);
    let reply = script.ask(claim_with(1, 0, b"forged"));
    assert_eq!(reply, ConnectReply { features: reply.features, ..script_v1::reply(Tag::BadAuthorizer) });
    // An empty one is judged as it is: the bytes of the one before are not used again, as Ceph does.
    assert_eq!(script.ask(claim(1, 0)).tag, Tag::BadAuthorizer);
    script.expect_quiet();
    let reply = script.ask(claim_with(1, 0, TICKET));
    assert_eq!((reply.tag, reply.authorizer), (Tag::Seq, Bytes::from_static(PROOF)));
}

#[test]
fn row_9_a_new_session() {
    let host = reuse();
    let mut script = greeted(&host, LARGER);
    let expected = ConnectReply { global_seq: 1, connect_seq: 1, ..script_v1::reply(Tag::Seq) };
    assert_eq!(script.ask(claim(1, 0)), expected);
    assert_eq!(script.read_seq(), 0);
    let session = script.owner().unwrap();
    assert_eq!(told(&host, session), ["open Server"]);
    assert!(!host.with(session, |session| session.is_open()));
    script.send(&Frame::Seq(0));
    assert!(host.with(session, |session| session.is_open()));
    assert_eq!(host.with(session, |session| session.peer()), EntityName::new(EntityType::OSD, -1));
}

#[test]
fn row_9_everything_in_one_burst() {
    let host = reuse();
    let mut script = host.accept::<V1>();
    let mut burst = hello(&addr(LARGER));
    for frame in [Frame::Connect(claim(1, 0)), Frame::Seq(0), numbered(1, 7)] {
        burst.extend(script_v1_bytes(&frame));
    }
    script.send_bytes(&burst);
    assert_eq!(told(&host, 0), ["open Server", "message 7"]);
}

fn script_v1_bytes(frame: &Frame) -> Vec<u8> {
    let mut out = Chunks::new();
    cephwire_protocol::codec::v1::Encoder::new().encode(frame, &mut out).unwrap();
    out.copy_to_bytes(out.remaining()).to_vec()
}

#[test]
fn row_10_without_reconnect_seq() {
    let host = reuse();
    let mut script = greeted(&host, LARGER);
    let features = Features(Features::ALL_PACIFIC.0 & !Features::RECONNECT_SEQ.0);
    let reply = script.ask(Connect { features, ..claim(1, 0) });
    assert_eq!((reply.tag, reply.connect_seq), (Tag::Ready, 1));
    script.opened(features);
    let session = script.owner().unwrap();
    assert!(host.with(session, |session| session.is_open()));
    host.send(session, 5);
    assert_eq!(script.read_message(), (1, 5));
}

#[test]
fn row_11_without_msg_auth_footers_have_13_bytes() {
    for (features, footer) in
        [(Features::ALL_PACIFIC, 21), (Features(Features::ALL_PACIFIC.0 & !Features::MSG_AUTH.0), 13)]
    {
        let host = reuse();
        let (mut script, session) = opened(&host, LARGER, Connect { features, ..claim(1, 0) });
        host.send(session, 5);
        assert_eq!(script.take_bytes().len(), 1 + 53 + 20 + footer);
        script.send(&numbered(1, 6));
        script.send(&numbered(2, 7));
        assert_eq!(told(&host, session), ["open Server", "message 6", "message 7"]);
    }
}

#[test]
fn row_12_a_session_that_is_not_known() {
    let host = reuse();
    let mut script = greeted(&host, LARGER);
    assert_eq!(script.ask(claim(1, 7)), script_v1::reply(Tag::ResetSession));
    let reply = script.ask(claim(1, 0));
    assert_eq!((reply.tag, reply.connect_seq), (Tag::Seq, 1));
}

#[test]
fn row_13_a_second_socket_takes_over() {
    let host = reuse();
    let (mut first, session) = opened(&host, LARGER, claim(5, 0));
    first.send(&numbered(1, 50));
    assert_eq!(first.expect(), Frame::Ack(1));
    host.send(session, 60);
    assert_eq!(first.read_message(), (1, 60));

    let mut second = greeted(&host, LARGER);
    let reply = second.ask(claim(4, 1));
    assert_eq!((reply.tag, reply.global_seq, reply.connect_seq), (Tag::RetryGlobal, 5, 0));
    let reply = second.ask(claim(6, 1));
    assert_eq!((reply.tag, reply.global_seq, reply.connect_seq), (Tag::RetrySession, 0, 2));
    first.expect_quiet();
    let reply = second.ask(claim(7, 2));
    assert_eq!((reply.tag, reply.global_seq), (Tag::RetryGlobal, 5));
    first.expect_closed();
    let reply = second.ask(claim(8, 2));
    assert_eq!((reply.tag, reply.connect_seq), (Tag::Seq, 3));
    assert_eq!(second.read_seq(), 1);
    second.opened(Features::ALL_PACIFIC);
    second.send(&Frame::Seq(0));
    assert_eq!(second.read_message(), (1, 60));
    assert_eq!(second.owner(), Some(session));
    assert_eq!(told(&host, session), ["open Server", "message 50", "open Server"]);
    assert!(told(&host, 1).is_empty(), "the object of the second socket was never announced");
}

#[test]
fn row_14_a_second_socket_begins_anew() {
    let host = reuse();
    let (mut first, session) = opened(&host, LARGER, claim(5, 0));
    first.send(&numbered(1, 50));
    host.send(session, 60);
    told(&host, session);
    let mut second = greeted(&host, LARGER);
    assert_eq!(second.tag(6, 0), Tag::RetryGlobal);
    assert!(first.is_closed());
    let reply = second.ask(claim(7, 0));
    assert_eq!((reply.tag, reply.connect_seq), (Tag::Ready, 1));
    second.opened(Features::ALL_PACIFIC);
    // What was queued is gone, also in the application's queue, and both numberings begin with 1.
    assert_eq!(told(&host, session), ["discard", "remote reset", "open Server"]);
    host.send(session, 61);
    assert_eq!(second.read_message(), (1, 61));
    second.send(&numbered(1, 51));
    assert_eq!(told(&host, session), ["message 51"]);
}

#[test]
fn row_15_a_stateless_server_keeps_both() {
    let host = Host::new(Setup::policy(Policy::stateless_server()));
    let (mut first, one) = opened(&host, LARGER, claim(5, 0));
    let mut second = greeted(&host, LARGER);
    let reply = second.ask(claim(1, 9));
    assert_eq!((reply.tag, reply.connect_seq, reply.flags), (Tag::Seq, 10, 1));
    assert_eq!(second.read_seq(), 0);
    second.opened(Features::ALL_PACIFIC);
    second.send(&Frame::Seq(0));
    let two = second.owner().unwrap();
    assert!(one != two && host.placements().is_empty());
    assert_eq!(host.with(two, |session| session.key().clone()), script::addrs(LARGER));
    for (script, session) in [(&mut first, one), (&mut second, two)] {
        host.send(session, 1);
        assert_eq!(script.read_message(), (1, 1));
    }
}

#[test]
fn row_16_acks_only_where_nothing_may_be_lost() {
    for (policy, acks) in [(Policy::lossless_peer_reuse(), true), (Policy::stateless_server(), false)] {
        let host = Host::new(Setup::policy(policy));
        let (mut script, session) = opened(&host, LARGER, claim(1, 0));
        script.send(&numbered(1, 50));
        assert_eq!(script.next(), acks.then_some(Frame::Ack(1)));
        assert_eq!(told(&host, session), ["open Server", "message 50"]);
        // Kernel clients acknowledge in lossy sessions too.
        script.send(&Frame::Ack(3));
        script.expect_quiet();
    }
}

#[test]
fn rows_17_and_18_gaps_and_duplicates() {
    let host = reuse();
    let (mut script, session) = opened(&host, LARGER, claim(1, 0));
    script.send(&numbered(1, 1));
    assert_eq!(script.expect(), Frame::Ack(1));
    script.send(&numbered(5, 5));
    assert_eq!(script.expect(), Frame::Ack(5));
    script.send(&numbered(5, 99));
    script.send(&numbered(0, 98));
    script.expect_quiet();
    // Ceph stops reading here.
    script.send(&numbered(6, 6));
    assert_eq!(script.expect(), Frame::Ack(6));
    assert_eq!(told(&host, session), ["open Server", "message 1", "message 5", "message 6"]);
}

#[test]
fn row_19_acks_beyond_what_was_sent() {
    let host = reuse();
    let (mut script, session) = opened(&host, LARGER, claim(1, 0));
    (1..=3).for_each(|tid| host.send(session, tid));
    assert_eq!(host.with(session, |session| session.outbox().unacknowledged()), 3);
    script.send(&Frame::Ack(1_000_000));
    assert_eq!(host.with(session, |session| session.outbox().unacknowledged()), 0);
    assert!(!script.is_closed());
}

#[test]
fn rows_20_and_21_keepalives() {
    let host = reuse();
    let (mut script, session) = opened(&host, LARGER, claim(1, 0));
    let stamp = Timestamp { sec: 5, nsec: 4_000_000_000 };
    script.send(&Frame::Keepalive2(stamp));
    assert_eq!(script.expect(), Frame::Keepalive2Ack(stamp));
    script.send(&Frame::Keepalive);
    script.expect_quiet();
    // Ceph reads nothing of the same segment after it.
    script.send_bytes(&[9, 8, 1, 0, 0, 0, 0, 0, 0, 0, 9]);
    script.send(&numbered(1, 1));
    assert_eq!(script.expect(), Frame::Ack(1));
    assert_eq!(told(&host, session), ["open Server", "message 1"]);
}

#[test]
fn row_22_unknown_tags() {
    for tag in [0u8, 1, 2, 3, 4, 5, 10, 11, 12, 13, 16, 17, 255] {
        let host = reuse();
        let (mut script, session) = opened(&host, LARGER, claim(1, 0));
        script.send_bytes(&[tag]);
        script.expect_closed();
        assert!(host.with(session, |session| session.is_standby()), "{tag}");
    }
}

#[test]
fn row_23_close() {
    let host = reuse();
    let (mut script, session) = opened(&host, LARGER, claim(1, 0));
    script.send(&Frame::Close);
    script.expect_closed();
    assert!(host.with(session, |session| session.is_closed()));
    assert_eq!(told(&host, session), ["open Server", "discard"]);
    assert_eq!(greeted(&host, LARGER).tag(2, 1), Tag::ResetSession);
}

#[test]
fn row_30_one_byte_per_write() {
    let host = reuse();
    let mut script = host.accept::<V1>();
    let mut all = hello(&addr(LARGER));
    for frame in [Frame::Connect(claim(1, 0)), Frame::Seq(0), Frame::Message(parts()), Frame::Ack(0)] {
        all.extend(script_v1_bytes(&frame));
    }
    for byte in all {
        script.send_bytes(&[byte]);
    }
    assert_eq!(told(&host, 0), ["open Server", "message 9"]);
}

#[test]
fn row_31_long_authorizers() {
    for (len, accepted) in [(65_536, true), (65_537, false), (70_000, false), (u32::MAX, false)] {
        let host = reuse();
        let mut script = greeted(&host, LARGER);
        let mut bytes = script_v1_bytes(&Frame::Connect(claim(1, 0)));
        bytes[28..32].copy_from_slice(&len.to_le_bytes());
        script.send_bytes(&bytes);
        // Refused as soon as it is announced: nothing is reserved for it.
        assert_eq!(script.is_closed(), !accepted, "{len}");
        if accepted {
            script.send_bytes(&vec![0; len as usize]);
            assert_eq!(script.read_reply().tag, Tag::Seq);
        }
    }
}

#[test]
fn row_32_challenge() {
    let host = with_key(Key { challenges: true, signs: false });
    let mut script = greeted(&host, LARGER);
    let reply = script.ask(claim_with(1, 0, TICKET));
    let authorizer = Bytes::from_static(CHALLENGE);
    assert_eq!(reply.tag, Tag::ChallengeAuthorizer);
    assert_eq!(reply.authorizer, authorizer);
    let reply = script.ask(claim_with(1, 0, ANSWER));
    assert_eq!((reply.tag, reply.authorizer), (Tag::Seq, Bytes::from_static(PROOF)));
}

#[test]
fn row_32_clients_of_cephx_must_be_challengeable() {
    let host = with_key(Key::default());
    let mut script = greeted(&host, LARGER);
    let features = Features(Features::ALL_PACIFIC.0 & !Features::CEPHX_V2.0);
    let reply = script.ask(Connect { features, ..claim_with(1, 0, TICKET) });
    assert_eq!((reply.tag, reply.features), (Tag::Features, Features::ALL_PACIFIC));
    script.connect_as(claim_with(1, 0, TICKET), 0);
}

#[test]
fn row_33_signatures() {
    for (flip, features) in [
        (None, Features::ALL_PACIFIC),
        (Some(1), Features::ALL_PACIFIC),
        // Without SIGNED.
        (Some(0), Features::ALL_PACIFIC),
        // No room for it in the footer.
        (None, Features(Features::ALL_PACIFIC.0 & !Features::MSG_AUTH.0)),
    ] {
        let host = with_key(Key { challenges: false, signs: true });
        let connect = Connect { features, ..claim_with(1, 0, TICKET) };
        let (mut script, session) = opened(&host, LARGER, connect);
        script.wire.encoder.set_signer(Some(Box::new(Sum)));
        let mut bytes = bytes_of(&mut script, &parts());
        let len = bytes.len();
        match flip {
            Some(0) => bytes[len - 1] = Flags::COMPLETE.0,
            Some(at) => bytes[len - 1 - at] ^= 1,
            None => {}
        }
        script.send_bytes(&bytes);
        assert_eq!(script.is_closed(), flip.is_some(), "{flip:?}");
        if flip.is_none() {
            assert_eq!(script.expect(), Frame::Ack(1));
            host.send(session, 2);
            let Frame::Message(frame) = script.expect() else { return };
            let signed = features.contains(Features::MSG_AUTH);
            assert_eq!(frame.flags.contains(Flags::SIGNED), signed);
            assert_eq!(frame.signature != 0, signed);
        }
    }
}

/// msgr1 §13: accepting, the own type decides, or the cluster's version among equals.
#[test]
fn protocol_versions_per_entity_type() {
    let kinds = [EntityType::MON, EntityType::MDS, EntityType::OSD, EntityType::CLIENT, EntityType::MGR];
    for (own, version) in kinds.into_iter().zip([15, 32, 24, 0, 0]) {
        let host = Host::new(Setup { name: EntityName::new(own, 0), ..Setup::default() });
        host.local().set_cluster_protocol(13);
        for peer in kinds {
            let mut script = greeted(&host, LARGER);
            let connect = Connect { host_type: peer.0.into(), protocol_version: 999, ..claim(1, 0) };
            let expected = if own == peer { 13 } else { version };
            assert_eq!(script.ask(connect).protocol_version, expected, "{peer} to {own}");
        }
    }
}

#[test]
fn unknown_entity_types_get_the_default_policy() {
    let policies = Policies::all(Policy::stateless_server()).with(EntityType::OSD, Policy::lossless_peer());
    let host = Host::new(Setup { policies, ..Setup::default() });
    for (host_type, version, flags) in [(4, 0, 0), (0x40, 24, 1), (0x104, 24, 1), (u32::MAX, 24, 1)] {
        let mut script = greeted(&host, &format!("v1:10.0.0.3:1/{host_type}"));
        let reply = script.ask(Connect { host_type, protocol_version: version, ..claim(1, 0) });
        assert_eq!((reply.tag, reply.flags), (Tag::Seq, flags), "{host_type}");
    }
}

/// msgr1 §6.1: monitors let others in without an authorizer; nobody else does where keys are in use.
#[test]
fn who_must_show_an_authorizer() {
    use EntityType as T;
    for (own, peer, needed) in [(T::MON, T::OSD, false), (T::MON, T::MON, true), (T::OSD, T::CLIENT, true)] {
        let name = EntityName::new(own, 0);
        let host = Host::new(Setup { name, auth: Arc::new(Key::default()), ..Setup::default() });
        let mut script = greeted(&host, LARGER);
        let host_type = peer.0.into();
        let wrong = Connect { host_type, protocol_version: 999, ..claim(1, 0) };
        let protocol_version = script.ask(wrong).protocol_version;
        let reply = script.ask(Connect { host_type, protocol_version, ..claim(1, 0) });
        assert_eq!(reply.tag, if needed { Tag::BadAuthorizer } else { Tag::Seq }, "{peer} to {own}");
    }
}

#[test]
fn rounds_are_bounded() {
    for connect in [Connect { protocol_version: 7, ..claim(1, 0) }, claim(1, 5)] {
        let host = reuse();
        let mut script = greeted(&host, LARGER);
        for _ in 0..16 {
            script.ask(connect.clone());
        }
        script.send(&Frame::Connect(connect));
        script.expect_closed();
    }
}

#[test]
fn nothing_but_the_handshake_is_understood_before_it_ends() {
    let host = reuse();
    let mut script = greeted(&host, LARGER);
    // A message is no connect: where its data's length stands, an authorizer's does, far beyond the limit.
    let bytes = bytes_of(&mut script, &parts());
    script.send_bytes(&bytes);
    script.expect_closed();
    assert_eq!(told(&host, 0), ["rejected"]);
}

/// A connect_seq is written in 32 bits, and so is the answer to it, plus 1: whoever claims the last one has to begin
/// anew. (Ceph's wraps around to 0.) Nobody else's session is touched, and neither is the own one that is there.
#[test]
fn the_last_connect_seq() {
    let host = reuse();
    let (mut other, others) = opened(&host, "v1:10.0.0.3:6800/3", claim(1, 0));
    let (mut first, session) = opened(&host, LARGER, claim(1, 0));
    let mut script = greeted(&host, LARGER);
    assert_eq!(script.tag(2, u32::MAX), Tag::ResetSession);
    script.close();
    for (script, session) in [(&mut first, session), (&mut other, others)] {
        host.send(session, 1);
        assert_eq!(script.read_message(), (1, 1));
    }
    told(&host, session);
    // It may not come behind a claim that is granted either.
    let mut script = greeted(&host, LARGER);
    assert_eq!(script.tag(3, 2), Tag::RetryGlobal);
    script.send(&Frame::Connect(claim(4, u32::MAX)));
    script.expect_closed();
    let violation = Violation {
        phase: "ACCEPTING_WAIT_CONNECT_MSG_AUTH",
        number: 4,
        found: "connect_seq 4294967295".to_owned(),
        expected: "one that can be counted up".to_owned(),
    };
    let events = host.events(session);
    assert!(
        matches!(&events[..], [Event::Trouble(Error::Violation(found))] if *found == violation),
        "{events:?}"
    );
    assert!(host.with(others, |session| session.is_open()));
    // The last but one is granted, and what follows says so.
    let mut script = greeted(&host, LARGER);
    assert_eq!(script.tag(5, u32::MAX - 1), Tag::RetryGlobal);
    let reply = script.ask(claim(6, u32::MAX - 1));
    assert_eq!((reply.tag, reply.connect_seq), (Tag::Seq, u32::MAX));
    let mut late = greeted(&host, LARGER);
    let reply = late.ask(claim(7, 5));
    assert_eq!((reply.tag, reply.connect_seq), (Tag::RetrySession, u32::MAX));
    host.send(others, 2);
    assert_eq!(other.read_message(), (2, 2));
}
