//! What does a session of v1 do when its connection fails? The faults F1 to F7 and the presets (session spec §8),
//! timers (§10), queues and numbers (§5), and the traces of real daemons (§13) that no other test has: 1 to 6 are
//! conformance C.1 and C.3, 7 is C.2 row 11.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod script;
mod script_v1;

use std::io::ErrorKind;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use cephwire_protocol::codec::v1::{Connect, ConnectReply, Encoder, Frame, Tag};
use cephwire_protocol::codec::{Chunks, EntityType, Features};
use cephwire_protocol::{Event, LinkId, Policy, Session, Version};
use script::{Host, Script, Setup, V1, addr, message};
use script_v1::{LARGER, claim, greeted, numbered, opened, reply, told};

const OSD: EntityType = EntityType::OSD;

fn host(policy: &Policy) -> Host {
    Host::new(Setup::policy(policy.clone()))
}

/// A session that is open because it dialed, and the connect it sent.
fn dialed(policy: &Policy) -> (Host, usize, Script<V1>, Connect) {
    let host = host(policy);
    let session = host.dial(OSD, LARGER);
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    let connect = script.read_connect();
    script.accept_seq(&connect, 0, policy.lossy.into());
    told(&host, session);
    (host, session, script, connect)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Closed, and the application is told.
    Reset,
    /// Closed; nobody knew of it.
    Rejected,
    Standby,
    /// Dials after 0.2 s, with the same connect_seq.
    Backoff,
    /// Dials at once, with the next connect_seq.
    AtOnce,
}

/// What became of the session; `before` is its connect_seq.
#[track_caller]
fn outcome(host: &Host, session: usize, before: u32) -> Outcome {
    let events = told(host, session);
    if host.with(session, |session| session.is_closed()) {
        assert!(host.dials().is_empty() && host.find(LARGER).is_none());
        return match events.last().map(String::as_str) {
            Some("reset") => Outcome::Reset,
            other => {
                assert_eq!(other, Some("rejected"));
                Outcome::Rejected
            }
        };
    }
    assert!(!events.contains(&"reset".to_owned()));
    if host.with(session, |session| session.is_standby()) {
        host.advance(Duration::from_secs(3600));
        assert!(host.dials().is_empty());
        return Outcome::Standby;
    }
    let pause = host.until_dial();
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    let connect_seq = script.read_connect().connect_seq;
    match (pause.as_millis(), connect_seq.wrapping_sub(before)) {
        (0, 1) => Outcome::AtOnce,
        (200, 0) => Outcome::Backoff,
        other => panic!("{other:?}"),
    }
}

/// How far a dialed connection gets before it breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// TCP is refused.
    Nothing,
    Tcp,
    Banner,
    Connect,
    /// SEQ, without the number.
    Reply,
    Open,
}

const ALL_REACHED: [Reached; 6] =
    [Reached::Nothing, Reached::Tcp, Reached::Banner, Reached::Connect, Reached::Reply, Reached::Open];

fn break_at(host: &Host, reached: Reached, flags: u8) {
    if reached == Reached::Nothing {
        return host.refuse(ErrorKind::ConnectionRefused);
    }
    let mut script = host.dialed::<V1>();
    match reached {
        Reached::Nothing | Reached::Tcp => {}
        Reached::Banner => script.send(&Frame::Banner),
        Reached::Connect | Reached::Reply | Reached::Open => {
            script.serve(LARGER);
            let connect = script.read_connect();
            let accepted = ConnectReply { connect_seq: connect.connect_seq + 1, flags, ..reply(Tag::Seq) };
            match reached {
                Reached::Reply => script.send(&Frame::Reply(accepted)),
                Reached::Open => drop(script.accept_with(&connect, 0, accepted)),
                _ => {}
            }
        }
    }
    script.close();
}

/// §8 by preset, for sessions that dialed: where it breaks, with and without something to send.
#[test]
fn presets_that_dial() {
    use Outcome::{AtOnce, Backoff, Reset, Standby};
    // Refused, TCP, banner, connect, reply, open; with an empty queue, and with a message.
    let peer = ([Standby; 6], [Backoff, Backoff, Backoff, Backoff, Backoff, AtOnce]);
    let lossless = [Backoff, Backoff, Backoff, Backoff, Backoff, AtOnce];
    let lossy = [Backoff, Reset, Reset, Reset, Reset, Reset];
    for (policy, (idle, busy)) in [
        (Policy::lossy_client(), (lossy, lossy)),
        (Policy::lossless_client(), (lossless, lossless)),
        (Policy::default(), (lossless, lossless)),
        (Policy::lossless_peer(), peer),
        (Policy::lossless_peer_reuse(), peer),
    ] {
        for (busy, expected) in [(false, idle), (true, busy)] {
            for (reached, expected) in ALL_REACHED.into_iter().zip(expected) {
                let host = host(&policy);
                let session = host.dial(OSD, LARGER);
                if busy {
                    host.send(session, 1);
                }
                break_at(&host, reached, policy.lossy.into());
                let before = u32::from(reached == Reached::Open);
                let found = outcome(&host, session, before);
                assert_eq!(found, expected, "{reached:?}, busy {busy}, {policy:?}");
            }
        }
    }
}

/// §8 by preset, for accepted sessions.
#[test]
fn presets_that_accept() {
    use Outcome::{AtOnce, Rejected, Reset, Standby};
    for (policy, handled, idle, busy) in [
        (Policy::stateless_server(), Reset, Reset, Reset),
        (Policy::stateless_registered_server(), Reset, Reset, Reset),
        (Policy::stateful_server(), Standby, Standby, Standby),
        (Policy::lossless_peer(), Standby, Standby, AtOnce),
        (Policy::lossless_peer_reuse(), Standby, Standby, AtOnce),
        (Policy::lossless_client(), AtOnce, AtOnce, AtOnce),
    ] {
        // Half accepted: F3.
        let half = |steps: usize| {
            let host = host(&policy);
            let mut script = host.accept::<V1>();
            if steps > 0 {
                script.greet(LARGER);
            }
            if steps > 1 {
                script.ask(Connect { protocol_version: 5, ..claim(1, 0) });
            }
            script.close();
            assert_eq!(outcome(&host, 0, 0), Rejected, "{steps}, {policy:?}");
        };
        (0..3).for_each(half);
        // SEQ is written: it is established for this side (state ACC_HANDLED).
        let host_ = host(&policy);
        let mut script = greeted(&host_, LARGER);
        script.tag(1, 0);
        script.close();
        assert_eq!(outcome(&host_, 0, 1), handled, "{policy:?}");
        for (messages, expected) in [(0, idle), (2, busy)] {
            let host = host(&policy);
            let (script, session) = opened(&host, LARGER, claim(1, 0));
            (0..messages).for_each(|tid| host.send(session, tid));
            script.close();
            assert_eq!(outcome(&host, session, 1), expected, "{messages}, {policy:?}");
        }
    }
}

#[test]
fn f1_nothing_happens_to_a_closed_session() {
    let (host, session, script, _) = dialed(&Policy::lossless_client());
    host.with(session, |session| session.close(true));
    assert_eq!(told(&host, session), ["discard", "reset"]);
    assert!(script.is_closed());
    let now = host.now();
    host.with(session, |session| {
        assert!(session.handle_eof(now, LinkId(1)).is_err());
        assert!(session.send(message(1)).is_err());
        assert_eq!(session.poll_timeout(), None);
    });
    assert!(told(&host, session).is_empty());
}

#[test]
fn f2_disposable_sessions_end_with_the_next_fault() {
    let (host, session, script, _) = dialed(&Policy::lossless_peer());
    host.send(session, 1);
    host.with(session, Session::mark_disposable);
    assert!(host.with(session, |session| session.is_open()));
    script.close();
    assert_eq!(outcome(&host, session, 1), Outcome::Reset);
}

#[test]
fn f2_a_lossy_client_retries_while_it_has_said_nothing() {
    let local = host(&Policy::lossy_client()).local();
    let now = host(&Policy::lossy_client()).now();
    // The second call confirms that the banner is out.
    for calls in 0..3 {
        let to = addr(LARGER).into();
        let mut session = Session::outgoing(local.clone(), OSD, to, now);
        let link = match session.poll_action() {
            Some(cephwire_protocol::Action::Dial { link, .. }) => link,
            other => panic!("{other:?}"),
        };
        session.handle_dialed(now, link, Ok(())).unwrap();
        for _ in 0..calls {
            session.poll_transmit(now, link, &mut Chunks::new()).unwrap();
        }
        session.handle_eof(now, link).unwrap();
        assert_eq!(session.is_closed(), calls == 2);
    }
}

/// An accepted session at the moment when its reply exists and is not written; its link.
fn unwritten(host: &Host, features: Features) -> (Session, LinkId) {
    let from = "10.0.0.2:40000".parse().unwrap();
    let (mut session, link) = Session::incoming(host.local(), from, Version::V1, host.now()).unwrap();
    let mut chunks = Chunks::new();
    let connect = Connect { features, ..claim(1, 0) };
    // All in one burst, a message included.
    let mut frames = vec![Frame::Banner, Frame::Address(addr(LARGER)), Frame::Connect(connect)];
    if features.contains(Features::RECONNECT_SEQ) {
        frames.push(Frame::Seq(0));
    }
    frames.push(numbered(1, 5));
    frames.iter().for_each(|frame| Encoder::new().encode(frame, &mut chunks).unwrap());
    let mut buf: BytesMut = session.recv_buf(link).unwrap().unwrap();
    buf.extend_from_slice(&chunks.copy_to_bytes(chunks.remaining()));
    session.handle_recv(host.now(), link, buf).unwrap();
    Session::place(&mut session, None, host.now());
    (session, link)
}

/// F3: a reply that is not out was not given. Conformance B.2, difference D2.
#[test]
fn f3_until_the_reply_is_written() {
    let without = Features(Features::ALL_PACIFIC.0 & !Features::RECONNECT_SEQ.0);
    for features in [Features::ALL_PACIFIC, without] {
        for calls in 0..3 {
            let host = host(&Policy::lossless_peer());
            let (mut session, link) = unwritten(&host, features);
            for _ in 0..calls {
                session.poll_transmit(host.now(), link, &mut Chunks::new()).unwrap();
            }
            session.handle_eof(host.now(), link).unwrap();
            // The second call confirms what the first handed out; only then does it accept, and read on.
            assert_eq!(session.is_closed(), calls < 2, "{calls}");
            let events: Vec<Event> = std::iter::from_fn(|| session.poll_event()).collect();
            match calls {
                0 | 1 => assert!(matches!(events.as_slice(), [Event::Rejected(_)]), "{events:?}"),
                _ => assert!(
                    matches!(events.as_slice(), [Event::Open { .. }, Event::Message(_), Event::Trouble(_)]),
                    "{events:?}"
                ),
            }
        }
    }
}

#[test]
fn f4_a_wanted_keepalive_prevents_standby() {
    for (wanted, expected) in [(false, Outcome::Standby), (true, Outcome::Backoff)] {
        let host = host(&Policy::lossless_peer());
        let session = host.dial(OSD, LARGER);
        if wanted {
            host.with(session, Session::keepalive);
        }
        host.dialed::<V1>().close();
        assert_eq!(outcome(&host, session, 0), expected);
    }
    // But it does not wake a session that stands by.
    let (host, session, script, _) = dialed(&Policy::lossless_peer());
    script.close();
    host.with(session, Session::keepalive);
    assert_eq!(outcome(&host, session, 1), Outcome::Standby);
}

#[test]
fn f5_every_attempt_has_a_new_global_seq() {
    let host = host(&Policy::lossless_client());
    host.dial(OSD, LARGER);
    let mut last = 0;
    for pause in [200, 400, 800] {
        let mut script = host.dialed::<V1>();
        script.serve(LARGER);
        let connect = script.read_connect();
        assert!(connect.global_seq > last && connect.connect_seq == 0);
        last = connect.global_seq;
        script.close();
        assert_eq!(host.until_dial(), Duration::from_millis(pause));
    }
}

#[test]
fn f6_a_server_waits_with_what_it_has() {
    let host = host(&Policy::stateful_server());
    let (script, session) = opened(&host, LARGER, claim(1, 0));
    script.close();
    host.send(session, 1);
    assert_eq!(outcome(&host, session, 1), Outcome::Standby);
    let mut script = greeted(&host, LARGER);
    assert_eq!(script.tag(2, 2), Tag::RetryGlobal);
    script.connect_as(claim(3, 2), 0);
    assert_eq!(script.read_message(), (1, 1));
}

/// A client that never bound says port 0, or has no address at all. It is not dialed: it comes, and its session goes on.
/// (Ceph dials such addresses as long as it lives.)
#[test]
fn f6_who_cannot_be_dialed_is_waited_for() {
    for policy in [Policy::lossless_client(), Policy::lossless_peer(), Policy::lossless_peer_reuse()] {
        for unbound in ["v1:10.0.0.2:0/5", "v1:0.0.0.0:0/5", "-"] {
            let host = host(&policy);
            let (script, session) = opened(&host, unbound, claim(1, 0));
            host.send(session, 1);
            script.close();
            host.send(session, 2);
            assert_eq!(outcome(&host, session, 1), Outcome::Standby, "{unbound} {policy:?}");
            host.send(session, 3);
            host.with(session, Session::keepalive);
            assert_eq!(outcome(&host, session, 1), Outcome::Standby, "{unbound} {policy:?}");
            let mut script = greeted(&host, unbound);
            assert_eq!(script.tag(2, 2), Tag::RetryGlobal);
            script.connect_as(claim(3, 2), 0);
            assert_eq!(script.owner(), Some(session));
            let messages = std::iter::from_fn(|| script.next())
                .filter(|frame| matches!(frame, Frame::Message(_)))
                .count();
            assert_eq!(messages, 3);
        }
    }
}

#[test]
fn f7_counts_once_per_fault_and_success_takes_the_pause_back() {
    let (host, _, script, _) = dialed(&Policy::lossless_client());
    script.close();
    for pause in [200, 400] {
        host.refuse(ErrorKind::ConnectionRefused);
        assert_eq!(host.until_dial(), Duration::from_millis(pause));
    }
    let mut script = host.dialed::<V1>();
    assert_eq!(script.serve_open(LARGER, 0).connect_seq, 2);
    script.close();
    host.refuse(ErrorKind::ConnectionRefused);
    assert_eq!(host.until_dial(), Duration::from_millis(200));
}

/// §10: 900 s without a byte from the peer; what this side sends does not count. (Ceph: 900 to 1800 s.)
#[test]
fn idle_timer() {
    let second = Duration::from_secs(1);
    for (policy, expected) in [
        (Policy::lossless_client(), Outcome::AtOnce),
        (Policy::lossless_peer(), Outcome::Standby),
        (Policy::lossy_client(), Outcome::Reset),
    ] {
        let (host, session, mut script, _) = dialed(&policy);
        host.advance(899 * second);
        script.send(&Frame::Keepalive);
        host.advance(899 * second);
        host.with(session, Session::keepalive);
        assert!(!script.is_closed());
        host.advance(second);
        assert!(script.is_closed());
        assert_eq!(outcome(&host, session, 1), expected, "{policy:?}");
    }
}

/// §5.1: the most urgent first, then the oldest; a keepalive before, an ack behind.
#[test]
fn queues_5_1_order() {
    let (host, session, mut script, _) = dialed(&Policy::lossless_client());
    let now = host.now();
    host.with(session, |session| {
        for (tid, priority) in [(1, 64), (2, 0), (3, 255), (4, 127), (5, 128)] {
            let mut message = message(tid);
            message.header.priority = priority;
            session.send(message).unwrap();
        }
        session.keepalive();
        // The peer's message comes meanwhile.
        let link = session.link().unwrap();
        let mut chunks = Chunks::new();
        Encoder::new().encode(&numbered(1, 9), &mut chunks).unwrap();
        let mut buf = session.recv_buf(link).unwrap().unwrap();
        buf.extend_from_slice(&chunks.copy_to_bytes(chunks.remaining()));
        session.handle_recv(now, link, buf).unwrap();
    });
    assert!(matches!(script.expect(), Frame::Keepalive2(_)));
    for message in [(1, 3), (2, 5), (3, 2), (4, 4), (5, 1)] {
        assert_eq!(script.read_message(), message);
    }
    assert_eq!(script.expect(), Frame::Ack(1));
}

/// §5.4: what the peer's number means for the numbers that follow.
#[test]
fn queues_5_4_numbers_after_a_reconnect() {
    // Sent, acknowledged, the peer's number; what is sent then, a message more included.
    for (sent, acked, received, expected) in [
        (3, 0, 0, vec![1, 2, 3, 4]),
        (3, 0, 2, vec![3, 4]),
        (3, 3, 3, vec![4]),
        // A fresh peer.
        (3, 3, 0, vec![1]),
        // Everything acknowledged: whatever it claims.
        (3, 3, 50, vec![51]),
        // It lost what it had acknowledged: it sees a gap.
        (3, 2, 0, vec![3, 4]),
    ] {
        let (host, session, mut script, _) = dialed(&Policy::lossless_client());
        (1..=sent).for_each(|tid| host.send(session, tid));
        script.send(&Frame::Ack(acked));
        script.close();
        let mut script = host.dialed::<V1>();
        script.serve_open(LARGER, received);
        host.send(session, sent + 1);
        let seqs: Vec<u64> = expected.iter().map(|_| script.read_message().0).collect();
        assert_eq!(seqs, expected, "{sent} {acked} {received}");
        assert_eq!(script.next(), None);
    }
}

/// §5.5: the random number survives READY only.
#[test]
fn queues_5_5_numbers_after_a_reset() {
    let (host, session, script, _) = dialed(&Policy::lossless_client());
    script.close();
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    script.read_connect();
    script.send(&Frame::Reply(reply(Tag::ResetSession)));
    assert_eq!(script.read_connect().connect_seq, 0);
    script.send(&Frame::Reply(ConnectReply { connect_seq: 1, ..reply(Tag::Ready) }));
    script.opened(Features::ALL_PACIFIC);
    host.send(session, 1);
    let (first, _) = script.read_message();
    assert!((1..=1 << 31).contains(&first));
    host.send(session, 2);
    assert_eq!(script.read_message(), (first + 1, 2));
}

/// §5.5: a server begins with 1, which Ceph's may not: kernel clients take no gaps.
#[test]
fn queues_5_5_a_server_begins_with_1() {
    for dialing in [false, true] {
        let host = host(&Policy::lossless_peer_reuse());
        let (first, session) = opened(&host, LARGER, claim(1, 0));
        if dialing {
            // Its own attempt is under way when the peer turns out to be new.
            host.send(session, 7);
            first.close();
            host.dialed::<V1>().serve(LARGER);
        }
        let mut second = greeted(&host, LARGER);
        assert_eq!(second.tag(2, 0), Tag::RetryGlobal);
        // Queued in the middle, as urgent as what is requeued.
        let mut urgent = message(1);
        urgent.header.priority = 255;
        host.with(session, |session| session.send(urgent).unwrap());
        assert_eq!(second.tag(3, 0), Tag::Ready);
        second.opened(Features::ALL_PACIFIC);
        assert_eq!(second.read_message(), (1, 1));
    }
}

#[test]
fn trace_8_three_refusals_on_one_socket() {
    let host = host(&Policy::lossless_client());
    host.dial(OSD, LARGER);
    let mut script = host.dialed::<V1>();
    script.serve(LARGER);
    let mut seen = Vec::new();
    script.read_connect();
    for answer in [
        ConnectReply { global_seq: 100, ..reply(Tag::RetryGlobal) },
        ConnectReply { connect_seq: 9, ..reply(Tag::RetrySession) },
        reply(Tag::ResetSession),
    ] {
        script.send(&Frame::Reply(answer));
        let Connect { global_seq, connect_seq, .. } = script.read_connect();
        seen.push((global_seq, connect_seq));
    }
    assert_eq!(seen, [(101, 0), (101, 9), (101, 0)]);
}

#[test]
fn trace_9_nine_messages_unacknowledged() {
    let (host, session, script, connect) = dialed(&Policy::lossless_peer());
    (1..=9).for_each(|tid| host.send(session, tid));
    script.close();
    let mut script = host.dialed::<V1>();
    let again = script.serve_open(LARGER, 1);
    assert_eq!(again.connect_seq, connect.connect_seq + 2);
    for seq in 2..=9 {
        assert_eq!(script.read_message(), (seq, seq));
    }
    host.send(session, 10);
    assert_eq!(script.read_message(), (10, 10));
}

#[test]
fn trace_10_everything_acknowledged() {
    let (host, session, mut script, connect) = dialed(&Policy::lossless_peer());
    host.send(session, 1);
    script.send(&Frame::Ack(1));
    script.close();
    assert!(host.with(session, |session| session.is_standby()));
    host.send(session, 2);
    let mut script = host.dialed::<V1>();
    let again = script.serve_open(LARGER, 1);
    assert_eq!(again.connect_seq, connect.connect_seq + 1);
    assert!(again.global_seq > connect.global_seq);
    assert_eq!(script.read_message(), (2, 2));
}
