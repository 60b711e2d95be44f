//! Do Linux's clients get what they want? What the kernel's recorded connections do on v1 (6.1 against 16.2), played
//! against servers of the policies that they meet.

#![expect(clippy::unwrap_used, reason = "tests")]

mod script;
mod script_v1;

use std::sync::Arc;

use bytes::Bytes;
use cephwire_protocol::codec::v1::{Connect, Frame, MessageFrame, Tag};
use cephwire_protocol::codec::v2::method;
use cephwire_protocol::codec::{EntityName, EntityType, Features, Flags, Timestamp};
use cephwire_protocol::{Policies, Policy};
use script::{Host, Script, Setup, V1, message};
use script_v1::{ANSWER, Key, TICKET, greeted, told};

const FEATURES: Features = Features(0x2f01_8fb8_7aa4_aafe);
/// Without port, with a nonce; the IP is known by now.
const KERNEL: &str = "v1:10.0.0.2:0/3141592653";

/// A server that asks for a challenge.
fn server(kind: EntityType, policy: Policy) -> Host {
    let auth = Arc::new(Key { challenges: true, signs: false });
    let policies = Policies::all(Policy::lossless_peer()).with(EntityType::CLIENT, policy);
    Host::new(Setup { name: EntityName::new(kind, 0), policies, auth, ..Setup::default() })
}

/// LOSSY is never set.
fn connect(version: u32, global_seq: u32, connect_seq: u32, authorizer: &'static [u8]) -> Connect {
    Connect {
        features: FEATURES,
        host_type: EntityType::CLIENT.0.into(),
        global_seq,
        connect_seq,
        protocol_version: version,
        authorizer_protocol: if authorizer.is_empty() { method::UNKNOWN } else { method::CEPHX },
        flags: 0,
        authorizer: Bytes::from_static(authorizer),
    }
}

/// Connects until it is in; global_seq, connect_seq and tag of every round. Every connect takes a new global_seq,
/// but the one that answers a challenge; RETRY_GLOBAL costs two.
fn rounds(script: &mut Script<V1>, mut global_seq: u32, mut connect_seq: u32) -> Vec<(u32, u32, Tag)> {
    let (mut authorizer, mut rounds) = (TICKET, Vec::new());
    while rounds.len() < 16 {
        let reply = script.ask(connect(32, global_seq, connect_seq, authorizer));
        rounds.push((global_seq, connect_seq, reply.tag));
        match reply.tag {
            Tag::ChallengeAuthorizer => authorizer = ANSWER,
            Tag::RetryGlobal => global_seq = global_seq.max(reply.global_seq) + 2,
            Tag::RetrySession => (global_seq, connect_seq) = (global_seq + 1, reply.connect_seq),
            _ => break,
        }
    }
    rounds
}

#[test]
fn the_first_connection_to_a_monitor() {
    let host = server(EntityType::MON, Policy::stateless_server());
    // Its own address has no family yet.
    let mut script = host.accept::<V1>();
    script.greet("-");
    let reply = script.ask(connect(15, 1, 0, b""));
    assert_eq!((reply.tag, reply.flags), (Tag::Seq, 1));
    assert_eq!(script.read_seq(), 0);
    script.opened(FEATURES);
    script.send(&Frame::Seq(0));
    let session = script.owner().unwrap();
    let stamp = Timestamp { sec: 9, nsec: 9 };
    script.send(&Frame::Keepalive2(stamp));
    assert_eq!(script.expect(), Frame::Keepalive2Ack(stamp));
    // MAuth: compat_version 0, source 0.0; and its acks, though the session is lossy.
    script.send(&Frame::Message(MessageFrame { seq: 1, message: message(1), ..MessageFrame::default() }));
    host.send(session, 2);
    assert_eq!(script.read_message(), (1, 2));
    script.send(&Frame::Ack(1));
    script.expect_quiet();
    assert_eq!(told(&host, session), ["open Server", "message 1"]);
}

#[test]
fn without_crcs_of_data() {
    // `nocrc`: flags 7, data crc 0.
    let host = server(EntityType::OSD, Policy::stateless_registered_server());
    let mut script = greeted(&host, KERNEL);
    assert_eq!(script.tag_of(connect(24, 1, 0, TICKET)), Tag::ChallengeAuthorizer);
    script.connect_as(connect(24, 1, 0, ANSWER), 0);
    let mut written = message(1);
    written.data = vec![5; 4096].into();
    let flags = Flags::COMPLETE.with(Flags::NOCRC).with(Flags::SIGNED);
    script.send(&Frame::Message(MessageFrame { seq: 1, flags, message: written, ..MessageFrame::default() }));
    let session = script.owner().unwrap();
    assert_eq!(told(&host, session), ["open Server", "message 1"]);
}

#[test]
fn reconnects_to_a_metadata_server() {
    use Tag::{ChallengeAuthorizer as Challenge, RetryGlobal, RetrySession, Seq};
    for (busy, expected) in [
        // A fault while idle: connect_seq + 1 after it, and no RETRY_SESSION.
        (false, vec![(2, 2, Challenge), (2, 2, RetryGlobal), (4, 2, Challenge), (4, 2, Seq)]),
        // Busy: the same connect_seq.
        (
            true,
            vec![
                (2, 1, Challenge),
                (2, 1, RetrySession),
                (3, 2, RetryGlobal),
                (5, 2, Challenge),
                (5, 2, Seq),
            ],
        ),
    ] {
        let host = server(EntityType::MDS, Policy::stateful_server());
        let mut script = greeted(&host, KERNEL);
        assert_eq!(rounds(&mut script, 1, 0), [(1, 0, Challenge), (1, 0, Seq)]);
        script.read_seq();
        script.opened(FEATURES);
        script.send(&Frame::Seq(0));
        let session = script.owner().unwrap();
        (1..=3).for_each(|tid| host.send(session, tid));
        script.send(&Frame::Ack(1));
        script.close();
        let mut script = greeted(&host, KERNEL);
        let found = rounds(&mut script, 2, if busy { 1 } else { 2 });
        assert_eq!(found, expected);
        script.read_seq();
        script.opened(FEATURES);
        script.send(&Frame::Seq(1));
        // No gap, or it hangs up.
        assert_eq!((script.read_message(), script.read_message()), ((2, 2), (3, 3)));
    }
}

#[test]
fn one_retry_after_badauthorizer() {
    let host = server(EntityType::OSD, Policy::stateless_registered_server());
    let mut script = greeted(&host, KERNEL);
    assert_eq!(script.tag_of(connect(24, 1, 0, b"an old ticket")), Tag::BadAuthorizer);
    assert_eq!(script.tag_of(connect(24, 2, 0, TICKET)), Tag::ChallengeAuthorizer);
    assert_eq!(script.tag_of(connect(24, 2, 0, ANSWER)), Tag::Seq);
}

#[test]
fn after_a_reset_it_comes_with_a_new_connection() {
    let host = server(EntityType::MDS, Policy::stateful_server());
    let mut script = greeted(&host, KERNEL);
    assert_eq!(script.tag_of(connect(32, 1, 5, TICKET)), Tag::ChallengeAuthorizer);
    assert_eq!(script.tag_of(connect(32, 1, 5, ANSWER)), Tag::ResetSession);
    script.close();
    let mut script = greeted(&host, KERNEL);
    assert_eq!(script.tag_of(connect(32, 3, 0, TICKET)), Tag::ChallengeAuthorizer);
    assert_eq!(script.tag_of(connect(32, 3, 0, ANSWER)), Tag::Seq);
}

#[test]
fn a_second_connection_displaces_the_first_of_a_lossy_session() {
    let host = server(EntityType::OSD, Policy::stateless_registered_server());
    let mut first = greeted(&host, KERNEL);
    first.tag_of(connect(24, 1, 0, TICKET));
    first.connect_as(connect(24, 1, 0, ANSWER), 0);
    let mut second = greeted(&host, KERNEL);
    second.tag_of(connect(24, 2, 0, TICKET));
    second.connect_as(connect(24, 2, 0, ANSWER), 0);
    first.expect_closed();
    host.send(second.owner().unwrap(), 1);
    assert_eq!(second.read_message(), (1, 1));
}
