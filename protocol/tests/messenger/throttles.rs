//! Do throttles hold back what Ceph's hold back, and are they returned when Ceph's are?

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cephwire_protocol::codec::{EntityName, EntityType};
use cephwire_protocol::throttle::Throttle;
use cephwire_protocol::{Options, Policy, Timer, Version};

use crate::pair::{BOTH, Pair, addr, local, message, write};

#[test]
fn a_full_policy_throttle_pauses_reading_until_a_message_is_dropped() {
    for version in BOTH {
        let (messages, bytes) = (Throttle::new(2), Throttle::new(1000));
        let policy =
            Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), Some(Arc::clone(&messages)));
        let mut pair = Pair::new(version, Policy::lossless_client(), policy, Options::default());
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        pair.server.set_waker(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        for tid in 1..=4 {
            pair.send(tid, 100);
        }
        assert_eq!((pair.tids(), messages.current(), bytes.current()), (vec![1, 2], 2, 200));
        assert!(pair.server.is_paused() && !pair.server.is_unpausable());
        assert!(pair.server.recv_buf(pair.links.1).unwrap().is_none());
        // What came before the pause was acknowledged.
        assert_eq!(pair.client.outbox().unacknowledged(), 2);

        // No idle timer meanwhile, and the pause does not count afterwards.
        assert_eq!(pair.server.poll_timer(), None);
        pair.now += Duration::from_secs(5000);
        pair.server.handle_unpaused(pair.now);
        assert!(pair.server.is_paused() && pair.server.is_open());

        pair.received.remove(0);
        assert_eq!((woken.load(Ordering::Relaxed), pair.server.is_unpausable()), (1, true));
        pair.server.handle_unpaused(pair.now);
        pair.run();
        assert_eq!((pair.tids(), messages.current()), (vec![2, 3], 2));
        assert_eq!(pair.server.stats().pauses, 2);

        pair.received.clear();
        pair.server.handle_unpaused(pair.now);
        pair.run();
        assert_eq!((pair.tids(), bytes.current()), (vec![4], 100));
        assert_eq!(pair.server.poll_timer(), Some((pair.now + Options::default().idle_timeout, Timer::Idle)));
        assert_eq!(pair.client.outbox().unacknowledged(), 0);
    }
}

#[test]
fn the_dispatch_throttle_is_returned_at_dispatch_the_others_at_the_end() {
    for version in BOTH {
        let bytes = Throttle::new(0);
        let policy = Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), None);
        let options = Options::default().with(|options| options.dispatch_throttle_bytes = 100);
        let mut pair = Pair::new(version, Policy::lossless_client(), policy, options);
        for tid in 1..=2 {
            pair.send(tid, 60);
        }
        assert_eq!((pair.tids(), pair.server_local.dispatch_throttle().current()), (vec![1], 60));
        // The second holds its bytes while it waits for the next throttle.
        assert_eq!(bytes.current(), 120);
        pair.received[0].dispatched();
        assert!(pair.server.is_unpausable());
        pair.server.handle_unpaused(pair.now);
        pair.run();
        assert_eq!((pair.tids(), bytes.current()), (vec![1, 2], 120));

        pair.received[0].message.front = vec![0; 10].into();
        pair.received[0].recharge();
        assert_eq!(bytes.current(), 70);
        let (_, permits) = pair.received.remove(0).into_parts();
        assert_eq!(bytes.current(), 70);
        drop(permits);
        pair.received.clear();
        assert_eq!((bytes.current(), pair.server_local.dispatch_throttle().current()), (0, 0));
    }
}

#[test]
fn a_message_without_payload_needs_no_bytes() {
    for version in BOTH {
        let bytes = Throttle::new(10);
        let _all = bytes.take(10);
        let policy = Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), None);
        let mut pair = Pair::new(version, Policy::lossless_client(), policy, Options::default());
        pair.send(1, 0);
        assert_eq!(pair.tids(), [1]);
        pair.send(2, 1);
        assert!(pair.server.is_paused());
    }
}

#[test]
fn a_fault_returns_what_a_half_read_message_held() {
    for version in BOTH {
        for paused in [false, true] {
            let (messages, bytes) = (Throttle::new(0), Throttle::new(1 << 20));
            let policy =
                Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), Some(Arc::clone(&messages)));
            let mut pair = Pair::new(version, Policy::lossless_client(), policy, Options::default());
            let other = if paused { Some(bytes.take(1 << 20)) } else { None };
            pair.client.send(message(1, 50_000)).unwrap();
            write(&mut pair.client, pair.links.0, pair.now, &mut pair.pipes.0);
            pair.pipes.0.truncate(20_000);
            pair.run();
            assert_eq!((messages.current(), pair.server.is_paused()), (1, paused));
            pair.server.handle_eof(pair.now, pair.links.1).unwrap();
            assert_eq!((messages.current(), bytes.waiters(), pair.server.is_paused()), (0, 0, false));
            drop(other);
            assert_eq!((bytes.current(), pair.server_local.dispatch_throttle().current()), (0, 0));
        }
    }
}

/// Small throttles shared by several sessions, messages of all sizes, dropped at random: whoever is woken goes on, and
/// nobody is forgotten.
#[test]
fn shared_throttles_wake_whoever_can_go_on() {
    for seed in 0..60u64 {
        let mut state = seed;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let version = BOTH[seed as usize % 2];
        let (messages, bytes) = (Throttle::new(1 + random(4)), Throttle::new(1 + random(3000)));
        let policy =
            Policy::stateful_server().throttled(Some(Arc::clone(&bytes)), Some(Arc::clone(&messages)));
        let options = Options::default().with(|options| options.dispatch_throttle_bytes = 1 + random(2000));
        let text = if version == Version::V1 { "v1:127.0.0.1:6800/2" } else { "v2:127.0.0.1:6800/2" };
        let server = local(EntityName::new(EntityType::OSD, 1), addr(text).into(), policy, options);
        let mut pairs: Vec<_> = (0..3)
            .map(|_| {
                let mut pair = Pair::with(version, Policy::lossless_client(), Arc::clone(&server));
                let woken = Arc::new(AtomicUsize::new(0));
                let wake = Arc::clone(&woken);
                pair.server.set_waker(move || {
                    wake.fetch_add(1, Ordering::Relaxed);
                });
                (pair, woken, 0, 0)
            })
            .collect();
        // Goes on where it was woken, and only there.
        let go_on = |pairs: &mut Vec<(Pair, Arc<AtomicUsize>, u64, u64)>| loop {
            let mut any = false;
            for (pair, woken, ..) in pairs.iter_mut() {
                if woken.swap(0, Ordering::Relaxed) > 0 {
                    pair.server.handle_unpaused(pair.now);
                    pair.run();
                    any = true;
                }
            }
            if !any {
                return;
            }
        };
        let finish = |pair: &mut Pair, done: &mut u64, at: usize| {
            *done += 1;
            assert_eq!(pair.received.remove(at).message.header.tid, *done);
        };
        for _ in 0..200 {
            let (pair, _, sent, done) = &mut pairs[random(3) as usize];
            if random(2) == 0 {
                *sent += 1;
                pair.send(*sent, random(1500) as usize);
            } else if !pair.received.is_empty() {
                match random(2) {
                    0 => pair.received[0].dispatched(),
                    _ => finish(pair, done, 0),
                }
            }
            go_on(&mut pairs);
        }
        while pairs.iter().any(|(pair, ..)| !pair.received.is_empty()) {
            for (pair, _, _, done) in &mut pairs {
                if !pair.received.is_empty() {
                    finish(pair, done, 0);
                }
            }
            go_on(&mut pairs);
        }
        for (pair, _, sent, done) in &pairs {
            assert_eq!((sent, pair.server.is_paused()), (done, false), "seed {seed}");
        }
        let left = [messages.current(), bytes.current(), server.dispatch_throttle().current()];
        assert_eq!(left, [0; 3], "seed {seed}");
    }
}
