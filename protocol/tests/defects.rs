//! Two defects of Ceph's messenger that must not be copied (session spec §16): a duplicate message and its throttles
//! (item 1), and a claim that comes while the session that it is compared with is inside a message (item 9).

mod script;
mod script_v1;

use std::sync::Arc;

use cephwire_protocol::codec::v1::{Frame as Frame1, Tag};
use cephwire_protocol::codec::v2::Frame;
use cephwire_protocol::throttle::Throttle;
use cephwire_protocol::{Event, Policy, Received};
use script::v2::{ident, message_frame, name, reconnect};
use script::{Dialect, Host, Script, Setup, V1, V2};
use script_v1::{LARGER, SMALLER, claim, greeted, numbered};

/// A host with throttles that count: messages, bytes, and bytes that wait for dispatch.
struct Counting {
    host: Host,
    throttles: [Arc<Throttle>; 3],
}

impl Counting {
    fn new(messages: u64) -> Self {
        let (messages, bytes) = (Throttle::new(messages), Throttle::new(0));
        let policy = Policy::lossless_peer().throttled(Some(Arc::clone(&bytes)), Some(Arc::clone(&messages)));
        let host = Host::new(Setup::policy(policy));
        let dispatch = Arc::clone(host.local().dispatch_throttle());
        Self { host, throttles: [messages, bytes, dispatch] }
    }

    /// What so many of [`script::message`] hold.
    #[track_caller]
    fn expect(&self, messages: u64) {
        let found = self.throttles.each_ref().map(|throttle| (throttle.current(), throttle.waiters()));
        assert_eq!(found, [(messages, 0), (20 * messages, 0), (20 * messages, 0)]);
    }

    fn received(&self) -> Vec<Received> {
        let message = |event| match event {
            Event::Message(received) => Some(received),
            _ => None,
        };
        self.host.events(0).into_iter().filter_map(message).collect()
    }
}

/// An open connection of each version, of which a message with this number is sent.
trait Peer: Dialect {
    fn open(host: &Host) -> Script<Self>
    where
        Self: Sized;
    fn numbered(seq: u64) -> Self::Frame;
}

impl Peer for V1 {
    fn open(host: &Host) -> Script<Self> {
        script_v1::opened(host, LARGER, claim(1, 0)).0
    }

    fn numbered(seq: u64) -> Frame1 {
        numbered(seq, seq)
    }
}

impl Peer for V2 {
    fn open(host: &Host) -> Script<Self> {
        let mut peer = host.accept::<Self>();
        peer.enter();
        peer.open(ident(7, 1));
        peer
    }

    fn numbered(seq: u64) -> Frame {
        message_frame(seq, 0, seq)
    }
}

/// Item 1: what a duplicate holds is returned when it is dropped, and not once more at the next fault.
fn a_duplicate_returns_what_it_held_once<D: Peer>() {
    for faults in [false, true] {
        let counting = Counting::new(0);
        let mut peer = D::open(&counting.host);
        peer.send(&D::numbered(1));
        let first = counting.received();
        counting.expect(1);
        for (times, old) in [1, 1, 0].into_iter().enumerate() {
            let bytes = peer.wire.encode(&D::numbered(old));
            let (begin, rest) = bytes.split_at(bytes.len() - 10);
            peer.send_bytes(begin);
            counting.expect(2);
            peer.send_bytes(rest);
            counting.expect(1);
            assert!(counting.received().is_empty(), "{times}");
        }
        if faults {
            peer.close();
            counting.expect(1);
        } else {
            peer.send(&D::numbered(2));
            counting.expect(2);
            assert_eq!(counting.received().len(), 1);
            counting.expect(1);
        }
        assert_eq!(first.len(), 1);
        drop(first);
        counting.expect(0);
    }
}

#[test]
fn a_duplicate_returns_what_it_held_once_v1() {
    a_duplicate_returns_what_it_held_once::<V1>();
}

#[test]
fn a_duplicate_returns_what_it_held_once_v2() {
    a_duplicate_returns_what_it_held_once::<V2>();
}

/// The same where it had to wait for a throttle; reading goes on behind it.
fn a_duplicate_waits_in_turn<D: Peer>() {
    let counting = Counting::new(1);
    let mut peer = D::open(&counting.host);
    for seq in [1, 1, 2] {
        peer.send(&D::numbered(seq));
    }
    let first = counting.received();
    assert_eq!(first.len(), 1);
    assert!(counting.host.with(0, |session| session.is_paused()));
    drop(first);
    let now = counting.host.now();
    counting.host.with(0, |session| session.handle_unpaused(now));
    counting.expect(1);
    let second: Vec<_> = counting.received().iter().map(|received| received.seq).collect();
    assert_eq!(second, [2]);
    counting.expect(0);
}

#[test]
fn a_duplicate_waits_in_turn_v1() {
    a_duplicate_waits_in_turn::<V1>();
}

#[test]
fn a_duplicate_waits_in_turn_v2() {
    a_duplicate_waits_in_turn::<V2>();
}

/// Item 9: in Ceph a session counts as established only between messages, and row 14 becomes a race (rows 15 and 16),
/// which the new connection wins or waits for. Here the claim is asked for a higher number wherever the session stands,
/// and the message is received to its end. The smaller address would win the race, the larger would wait.
#[test]
fn an_equal_claim_of_v1_inside_a_message() {
    for own in [SMALLER, LARGER] {
        for dialed in [false, true] {
            let len = V1::new().encode(&numbered(1, 9)).len();
            for read in 0..len {
                let host = Host::new(Setup::policy(Policy::lossless_peer()));
                let (mut first, session) = if dialed {
                    let session = host.dial(cephwire_protocol::codec::EntityType::OSD, own);
                    let mut first = host.dialed::<V1>();
                    first.serve_open(own, 0);
                    (first, session)
                } else {
                    script_v1::opened(&host, own, claim(1, 0))
                };
                let bytes = first.wire.encode(&numbered(1, 9));
                let (begin, rest) = bytes.split_at(read);
                first.send_bytes(begin);
                let mut second = greeted(&host, own);
                let reply = second.ask(claim(100, 1));
                let what = format!("{own}, dialed: {dialed}, after {read} bytes");
                assert_eq!((reply.tag, reply.connect_seq), (Tag::RetrySession, 2), "{what}");
                first.send_bytes(rest);
                assert_eq!(host.told(session).last().map(String::as_str), Some("message 9"), "{what}");
                assert!(!first.is_closed() && !second.is_closed(), "{what}");
            }
        }
    }
}

/// The same in v2 (§6.1 rule 8): whoever waits outside of a message waits inside, and the message is received; where
/// the new connection takes over, half a message is as if it had never been, throttles included.
#[test]
fn an_equal_claim_of_v2_inside_a_message() {
    let len = V2::new().encode(&message_frame(1, 0, 9)).len();
    for waits in [true, false] {
        for read in 0..len {
            let (bytes, messages) = (Throttle::new(0), Throttle::new(0));
            let policy = if waits { Policy::lossless_peer() } else { Policy::stateful_server() };
            let policy = policy.throttled(Some(Arc::clone(&bytes)), Some(Arc::clone(&messages)));
            let host = Host::new(Setup::policy(policy));
            let mut first = host.accept::<V2>();
            first.enter();
            let cookie = first.open(ident(7, 1)).cookie;
            let frame = first.wire.encode(&message_frame(1, 0, 9));
            let (begin, rest) = frame.split_at(read);
            first.send_bytes(begin);
            let mut second = host.accept::<V2>();
            second.enter();
            second.send(&reconnect((7, cookie), 2, 0, 0));
            host.events(0).clear();
            if waits {
                assert_eq!(name(&second.expect()), "WAIT", "after {read} bytes");
                first.send_bytes(rest);
                assert_eq!(host.told(0), ["message 9"], "after {read} bytes");
            } else {
                assert_eq!(name(&second.expect()), "SESSION_RECONNECT_OK", "after {read} bytes");
                assert!(first.is_closed());
                let dispatch = host.local().dispatch_throttle().current();
                assert_eq!((bytes.current(), messages.current(), dispatch), (0, 0, 0), "after {read} bytes");
                second.send(&message_frame(1, 0, 9));
                assert_eq!(host.told(0), ["message 9"], "after {read} bytes");
            }
        }
    }
}
