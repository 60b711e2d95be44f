//! What if the reply by which a v1 session is accepted does not get out?
//!
//! The transport takes nothing while the client sends and sends. No user knows of the session yet.

#![expect(clippy::disallowed_methods, clippy::expect_used, clippy::panic, reason = "tests")]

mod script;
mod script_v1;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use cephwire_protocol::codec::v1::{Connect, Frame, Framing};
use cephwire_protocol::codec::{AddrVec, Chunks, EntityName, EntityType, Features};
use cephwire_protocol::{
    Action, Event, LinkId, Local, Options, Placement, Policies, Policy, Session, Timer, Version,
};
use script::{Dialect, V1, addr, addrs};
use script_v1::{LARGER, claim, numbered};

fn local(policy: Policy) -> Arc<Local> {
    let name = EntityName::new(EntityType::OSD, 1);
    let auth = Arc::new(cephwire_protocol::auth::AllowAll { name });
    let addrs = addrs("v1:10.0.0.1:6801/1");
    Local::new(name, addrs, 1, 1, Policies::all(policy), auth, Options::default())
}

/// The session reads, as long as it wants to.
fn read(session: &mut Session, link: LinkId, now: Instant, bytes: &mut &[u8]) {
    while !bytes.is_empty() {
        let Some(mut buf) = session.recv_buf(link).expect("its link") else { return };
        let (head, tail) = bytes.split_at(buf.capacity().min(bytes.len()));
        buf.extend_from_slice(head);
        session.handle_recv(now, link, buf).expect("its link");
        *bytes = tail;
    }
}

/// A session whose client has claimed it, and no byte to the client has been asked for.
fn arriving(local: &Arc<Local>, now: Instant, connect: Connect) -> (Session, LinkId, V1, AddrVec) {
    let from = ([10, 0, 0, 2], 40000).into();
    let (mut session, link) =
        Session::incoming(Arc::clone(local), from, Version::V1, now).expect("an acceptor");
    let mut wire = V1::new();
    for frame in [Frame::Banner, Frame::Address(addr(LARGER)), Frame::Connect(connect)] {
        read(&mut session, link, now, &mut &wire.encode(&frame)[..]);
    }
    let Some(Action::Arriving(key)) = session.poll_action() else { panic!("no claim") };
    (session, link, wire, key)
}

fn old_client(global_seq: u32) -> Connect {
    // Without RECONNECT_SEQ, READY is the last word of the handshake.
    let features = Features(Features::ALL_PACIFIC.0 & !Features::RECONNECT_SEQ.0);
    Connect { features, ..claim(global_seq, 0) }
}

/// How much of a flood the session takes.
fn flood(session: &mut Session, link: LinkId, now: Instant) -> usize {
    let mut taken = 0;
    while let Some(mut buf) = session.recv_buf(link).expect("its link") {
        let len = buf.capacity();
        buf.resize(len, 7);
        session.handle_recv(now, link, buf).expect("its link");
        taken += len;
        assert!(taken < 16 << 20, "it takes it all");
    }
    taken
}

#[test]
fn a_flood_is_bounded_in_bytes_and_in_time() {
    let (local, start) = (local(Policy::lossless_peer()), Instant::now());
    let (mut session, link, ..) = arriving(&local, start, old_client(1));
    assert_eq!(Session::place(&mut session, None, start), Placement::Open);
    let mut out = Chunks::new();
    session.poll_transmit(start, link, &mut out).expect("its link");
    assert!(!out.is_empty() && session.is_open());
    let now = start + local.options.ready_timeout / 2;
    let limits = local.options.limits;
    let taken = flood(&mut session, link, now);
    assert!(taken <= 2 * limits.ahead as usize, "{taken} bytes");
    // However much came: the client must be told in time.
    let due = start + local.options.ready_timeout;
    assert_eq!(session.poll_timer(), Some((due, Timer::Accept)));
    session.handle_timeout(due);
    assert!(session.is_closed());
    let events: Vec<_> = std::iter::from_fn(|| session.poll_event()).collect();
    assert!(matches!(events[..], [Event::Rejected(_)]), "{events:?}");
}

#[test]
fn reading_goes_on_when_the_reply_is_out() {
    let (local, now) = (local(Policy::lossless_peer()), Instant::now());
    let (mut session, link, mut wire, _) = arriving(&local, now, old_client(1));
    let woken = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&woken);
    session.set_waker(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    assert_eq!(Session::place(&mut session, None, now), Placement::Open);
    wire.encoder.set_framing(Framing { signature: true, ..Framing::default() });
    // Too much to wait in memory.
    let mut bytes = Vec::new();
    for n in 1..=100 {
        let Frame::Message(mut frame) = numbered(n, n) else { panic!("a message") };
        frame.message.data = vec![1; 3000].into();
        bytes.extend(script_v1::encoded(&mut wire, &frame));
    }
    let mut rest = &bytes[..];
    read(&mut session, link, now, &mut rest);
    assert!(!rest.is_empty(), "it takes it all");
    assert!(session.poll_event().is_none());
    for woken_by_then in [0, 1, 1] {
        let mut out = Chunks::new();
        session.poll_transmit(now, link, &mut out).expect("its link");
        assert_eq!(woken.load(Ordering::Relaxed), woken_by_then);
    }
    read(&mut session, link, now, &mut rest);
    assert!(rest.is_empty());
    let mut events = std::iter::from_fn(|| session.poll_event());
    assert!(matches!(events.next(), Some(Event::Open { .. })));
    assert_eq!(events.filter(|event| matches!(event, Event::Message(_))).count(), 100);
    assert!(matches!(session.poll_timer(), Some((_, Timer::Idle))));
}

/// Session spec §6.2, row 10: a lossy session gives way. Nobody knew of it, so nobody is told.
#[test]
fn who_gives_way_unknown_says_nothing() {
    let (local, now) = (local(Policy::stateless_registered_server()), Instant::now());
    let (mut old, ..) = arriving(&local, now, old_client(1));
    assert_eq!(Session::place(&mut old, None, now), Placement::Open);
    let (mut new, _, _, key) = arriving(&local, now, old_client(2));
    assert_eq!(&key, old.key());
    assert_eq!(Session::place(&mut new, Some(&mut old), now), Placement::Displace);
    assert!(old.is_closed());
    let events: Vec<_> = std::iter::from_fn(|| old.poll_event()).collect();
    assert!(events.is_empty(), "{events:?}");
}

/// A session that has claimed nothing is not placed, and lives.
#[test]
fn who_does_not_arrive_is_not_dropped() {
    let (local, now) = (local(Policy::lossless_peer()), Instant::now());
    let (mut session, ..) = arriving(&local, now, old_client(1));
    assert_eq!(Session::place(&mut session, None, now), Placement::Open);
    assert_eq!(Session::place(&mut session, None, now), Placement::Answered);
    assert!(!session.is_closed());
    session.close(false);
    assert_eq!(Session::place(&mut session, None, now), Placement::Dropped);
}
