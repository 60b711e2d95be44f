//! Does a messenger on real sockets do what Ceph's does? Each test on each driver.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[macro_use]
mod rig;

use std::time::Duration;

use cephwire::inject::Settings;
use cephwire::{Manner, Policy, Version};
use rig::{BOTH, Driver, Told, Witness, any_port, client, eventually, osd, request, setup};

/// A server and a client that know of each other.
struct Pair<D> {
    server: D,
    client: D,
    saw: std::sync::Arc<Witness>,
    heard: std::sync::Arc<Witness>,
    to: cephwire::codec::AddrVec,
}

fn pair<D: Driver>(version: Version, server: Policy, client_policy: Policy) -> Pair<D> {
    pair_with(version, server, client_policy, Witness::echoing())
}

fn pair_with<D: Driver>(
    version: Version,
    server: Policy,
    client_policy: Policy,
    saw: std::sync::Arc<Witness>,
) -> Pair<D> {
    let (server, client) = (D::start(setup(osd(), server)), D::start(setup(client(), client_policy)));
    let heard = Witness::plain();
    server.add_tail(saw.clone());
    client.add_tail(heard.clone());
    let to = server.listen(&any_port(version));
    Pair { server, client, saw, heard, to }
}

impl<D: Driver> Pair<D> {
    fn connect(&self) -> cephwire::Handle {
        self.client.connect(osd().kind, &self.to)
    }

    fn end(&self) {
        assert_eq!(self.client.end(Duration::from_secs(20)), []);
        self.server.end(Duration::ZERO);
        for messenger in [&self.client, &self.server] {
            assert_eq!((messenger.dispatch_queue_len(), messenger.sessions().len()), (0, 0));
        }
    }
}

fn requests_are_answered<D: Driver>() {
    for version in BOTH {
        let pair = pair::<D>(version, Policy::stateless_server(), Policy::lossy_client());
        let session = pair.connect();
        for tid in 1..=100 {
            session.send(request(tid, vec![tid as u8; tid as usize * 50])).unwrap();
        }
        pair.heard.wait_messages(100);
        assert!(pair.heard.tids().into_iter().eq(1..=100) && pair.saw.tids().into_iter().eq(1..=100));
        assert!(session.is_open());
        assert_eq!(session.peer().kind, osd().kind);
        let expected = [Told::FastConnected, Told::Connected];
        assert_eq!(expected.map(|told| pair.heard.count(&told)), [1, 1]);
        let accepted = pair.saw.wait_for(&Told::Accepted);
        assert_eq!((accepted.peer().kind, pair.saw.count(&Told::FastAccepted)), (client().kind, 1));
        // v1 says the number only in messages.
        assert!(version == Version::V1 || accepted.peer() == client());
        assert!(accepted.is_anonymous() && !session.is_anonymous());
        // Connecting again leads to the same session.
        assert_eq!(pair.connect(), session);
        pair.end();
        assert!(session.is_closed() && session.send(request(0, vec![])).is_err());
    }
}

fn fast_dispatch_answers<D: Driver>() {
    for version in BOTH {
        let pair =
            pair_with::<D>(version, Policy::stateful_server(), Policy::lossless_client(), Witness::fast());
        let session = pair.connect();
        for tid in 1..=300 {
            session.send(request(tid, vec![tid as u8; 100])).unwrap();
            if tid % 100 == 0 {
                pair.heard.wait_messages(tid as usize);
            }
        }
        assert!(pair.heard.tids().into_iter().eq(1..=300));
        // Everything that a fast dispatcher is told of the session comes before its messages.
        let first = &pair.saw.told()[0].1;
        assert_eq!(first, &Told::FastAccepted);
        pair.end();
    }
}

fn large_messages_cross<D: Driver>() {
    const LEN: usize = 5 << 20;
    for version in BOTH {
        let pair = pair::<D>(version, Policy::stateful_server(), Policy::lossless_client());
        let session = pair.connect();
        // Both directions are full at once.
        for tid in 1..=12 {
            session.send(request(tid, vec![tid as u8; LEN])).unwrap();
        }
        pair.heard.wait_messages(12);
        assert!(pair.heard.tids().into_iter().eq(1..=12));
        assert!(session.stats().recv_bytes > 12 * LEN as u64);
        pair.end();
    }
}

fn cuts_lose_nothing<D: Driver>() {
    for version in BOTH {
        let pair = pair::<D>(version, Policy::stateful_server(), Policy::lossless_client());
        let settings = Settings { socket_failures: 50, ..Settings::default() };
        pair.client.local().inject(settings.clone());
        pair.server.local().inject(settings);
        let session = pair.connect();
        for tid in 1..=2000 {
            session.send(request(tid, vec![tid as u8; 1000])).unwrap();
            if tid % 10 == 0 {
                pair.heard.wait_messages(tid as usize);
            }
        }
        assert!(pair.heard.tids().into_iter().eq(1..=2000) && pair.saw.tids().into_iter().eq(1..=2000));
        assert!(session.stats().reconnects > 0, "{:?}", session.stats());
        pair.client.local().inject(Settings::default());
        pair.server.local().inject(Settings::default());
        pair.end();
    }
}

fn a_lossy_session_ends_with_its_connection<D: Driver>() {
    for version in BOTH {
        let pair = pair::<D>(version, Policy::stateless_server(), Policy::lossy_client());
        let session = pair.connect();
        session.send(request(1, vec![])).unwrap();
        pair.heard.wait_messages(1);
        pair.saw.wait_for(&Told::Accepted).mark_down();
        pair.heard.wait("a reset", |told| told.iter().any(|(_, told)| matches!(told, Told::Reset(Some(_)))));
        assert!(session.is_closed());
        // Marking down is not told on that side.
        let is_reset = |told: &Told| matches!(told, Told::Reset(_));
        assert!(!pair.saw.told().iter().any(|(_, told)| is_reset(told)));
        let other = pair.connect();
        assert_ne!(other, session);
        other.send(request(2, vec![])).unwrap();
        pair.heard.wait_messages(2);
        pair.end();
    }
}

fn nobody_there_is_told_and_tried_again<D: Driver>() {
    for version in BOTH {
        let pair = pair::<D>(version, Policy::stateful_server(), Policy::lossless_client());
        pair.server.end(Duration::ZERO);
        let session = pair.connect();
        session.send(request(1, vec![])).unwrap();
        pair.heard.wait("two attempts", |told| {
            let count = |what| told.iter().filter(|(_, told)| *told == what).count();
            count(Told::Refused) >= 2 && count(Told::Trouble) >= 2
        });
        // Then somebody comes.
        let late = D::start(setup(osd(), Policy::stateful_server()));
        late.add_tail(Witness::echoing());
        late.listen(&pair.to);
        pair.heard.wait_messages(1);
        assert!(session.is_open());
        assert_eq!(pair.client.end(Duration::from_secs(20)), []);
        late.end(Duration::ZERO);
    }
}

fn both_dial_and_one_session_remains<D: Driver>() {
    for version in BOTH {
        let (a, b) = (
            D::start(setup(osd(), Policy::lossless_peer())),
            D::start(setup(osd(), Policy::lossless_peer())),
        );
        let (saw_a, saw_b) = (Witness::plain(), Witness::plain());
        a.add_tail(saw_a.clone());
        b.add_tail(saw_b.clone());
        let (at_a, at_b) = (a.listen(&any_port(version)), b.listen(&any_port(version)));
        let (to_b, to_a) = (a.connect(osd().kind, &at_b), b.connect(osd().kind, &at_a));
        for tid in 1..=50 {
            to_b.send(request(tid, vec![])).unwrap();
            to_a.send(request(tid, vec![])).unwrap();
        }
        saw_a.wait_messages(50);
        saw_b.wait_messages(50);
        assert!(saw_a.tids().into_iter().eq(1..=50) && saw_b.tids().into_iter().eq(1..=50));
        // The connection that lost the race may still take the other's place, or try to.
        eventually("one session each", || {
            to_a.is_open()
                && to_b.is_open()
                && a.sessions() == [to_b.clone()]
                && b.sessions() == [to_a.clone()]
        });
        a.end(Duration::ZERO);
        b.end(Duration::ZERO);
    }
}

fn anonymous_sessions_are_apart<D: Driver>() {
    for version in BOTH {
        let pair = pair::<D>(version, Policy::stateless_server(), Policy::lossy_client());
        let manner = Manner { anonymous: true, ..Manner::default() };
        let [one, two] = [1, 2].map(|tid| {
            let session = pair.client.connect_as(osd().kind, &pair.to, manner);
            session.send(request(tid, vec![])).unwrap();
            session
        });
        pair.heard.wait_messages(2);
        assert!(one != two && one.is_anonymous() && pair.client.find(&pair.to).is_none());
        pair.saw.wait("two sessions", |told| {
            told.iter().filter(|(_, told)| *told == Told::Accepted).count() == 2
        });
        assert_eq!(pair.server.sessions().len(), 2);
        one.mark_down();
        assert!(!one.is_open() && two.is_open());
        pair.end();
    }
}

fn the_loopback_dispatches_here<D: Driver>() {
    let pair =
        pair_with::<D>(Version::V2, Policy::stateless_server(), Policy::lossy_client(), Witness::plain());
    let own = pair.server.connect(osd().kind, &pair.to);
    assert!(own.is_loopback() && own == pair.server.loopback() && own.is_open());
    for tid in 1..=20 {
        own.send(request(tid, vec![1; 10])).unwrap();
    }
    pair.saw.wait_messages(20);
    assert!(pair.saw.tids().into_iter().eq(1..=20));
    assert!(pair.saw.told().iter().all(|(handle, _)| handle.is_loopback()));
    pair.end();
    assert!(!own.is_open() && own.send(request(1, vec![])).is_err());
}

on_each_driver! {
    requests_are_answered
    fast_dispatch_answers
    large_messages_cross
    cuts_lose_nothing
    a_lossy_session_ends_with_its_connection
    nobody_there_is_told_and_tried_again
    both_dial_and_one_session_remains
    anonymous_sessions_are_apart
    the_loopback_dispatches_here
}
