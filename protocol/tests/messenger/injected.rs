//! Do injected faults do what Ceph's do?

use std::time::Duration;

use cephwire_protocol::codec::EntityType;
use cephwire_protocol::inject::Settings;
use cephwire_protocol::{Event, Options, Policy, Timer};

use crate::pair::{BOTH, Pair, message};

#[test]
fn a_black_hole_swallows_both_ways() {
    for version in BOTH {
        let settings = Settings { black_holes: vec![EntityType::CLIENT], ..Settings::default() };
        let (client, server) = (Policy::lossless_client(), Policy::stateful_server());
        let mut pair = Pair::injecting(version, client, server, Options::default(), settings);
        pair.send(1, 10);
        assert!(pair.received.is_empty() && pair.server.stats().recv_messages == 0);
        // Yet it was acknowledged.
        assert_eq!(pair.client.outbox().unacknowledged(), 0);
        pair.server.send(message(2, 10)).unwrap();
        assert!(pair.server.outbox().is_empty());
        assert_eq!(pair.server_local.dispatch_throttle().current(), 0);
        // It can be closed again.
        pair.server_local.inject(Settings::default());
        pair.send(3, 10);
        assert_eq!(pair.tids(), [3]);
    }
}

fn delaying() -> Settings {
    Settings {
        delayed_peers: vec![EntityType::CLIENT],
        delay_probability: 1.0,
        delay_max: Duration::from_secs(1),
        ..Settings::default()
    }
}

#[test]
fn delayed_messages_stay_in_order() {
    for version in BOTH {
        let (client, server) = (Policy::lossless_client(), Policy::stateful_server());
        let mut pair = Pair::injecting(version, client, server, Options::default(), delaying());
        (1..=20).for_each(|tid| pair.send(tid, 10));
        let early = pair.tids().len();
        assert!(early < 20);
        // They are acknowledged, and wait with their permits.
        assert_eq!(pair.client.outbox().unacknowledged(), 0);
        while let Some((at, Timer::Delay)) = pair.server.poll_timer() {
            assert!(at <= pair.now + Duration::from_secs(1));
            pair.server.handle_timeout(at);
            pair.run();
        }
        assert!(pair.tids().into_iter().eq(1..=20));
    }
}

#[test]
fn a_fault_and_a_close_deliver_what_is_held_back() {
    for version in BOTH {
        for close in [false, true] {
            let (client, server) = (Policy::lossless_client(), Policy::stateful_server());
            let mut pair = Pair::injecting(version, client, server, Options::default(), delaying());
            (1..=9).for_each(|tid| pair.send(tid, 10));
            if close {
                pair.server.close(true);
            } else {
                pair.server.handle_eof(pair.now, pair.links.1).unwrap();
            }
            pair.run();
            assert!(pair.tids().into_iter().eq(1..=9));
            assert_eq!(close, matches!(pair.others.last(), Some(Event::Reset(_))));
        }
    }
}
