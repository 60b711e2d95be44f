//! Do counters, keepalives and timers tell what happened?

use std::time::Duration;

use cephwire_protocol::{Messenger, Options, Policy, Timer, Version};

use crate::pair::{BOTH, Pair, message, write};

#[test]
fn counters() {
    for version in BOTH {
        let mut pair =
            Pair::new(version, Policy::lossless_client(), Policy::stateful_server(), Options::default());
        let before = pair.client.stats().send_bytes;
        pair.send(1, 100);
        pair.send(2, 20);
        let (client, server) = (pair.client.stats(), pair.server.stats());
        assert_eq!((client.send_messages, client.dials, client.connects, client.faults), (2, 1, 1, 0));
        assert!(client.send_bytes - before > 120);
        assert_eq!((server.recv_messages, server.recv_bytes), (2, 120 + 2 * 74));
        assert_eq!((server.connects, server.reconnects, server.unacknowledged), (1, 0, 0));

        pair.client.handle_eof(pair.now, pair.links.0).unwrap();
        pair.client.send(message(3, 7)).unwrap();
        let client = pair.client.stats();
        assert_eq!((client.faults, client.dials), (1, 2));
        assert_eq!((client.queued_messages, client.queued_bytes), (1, 7));

        // What has ended is still counted, once.
        let mut messenger = Messenger::new();
        messenger.insert(pair.server.key().clone(), 0);
        let totals = |messenger: &Messenger<u32>, pair: &Pair| {
            messenger.totals(&pair.server_local, |_| (!pair.server.is_closed()).then(|| pair.server.stats()))
        };
        let open = totals(&messenger, &pair);
        assert_eq!((open.created_connections, open.active_connections), (1, 1));
        assert_eq!(pair.client_local.created_sessions(), 1);
        assert_eq!(open.sums, pair.server.stats());
        pair.server.close(false);
        assert_eq!(totals(&messenger, &pair).sums.recv_bytes, open.sums.recv_bytes);
        messenger.remove(&pair.server.key().clone(), &0);
        assert_eq!(totals(&messenger, &pair).sums.recv_bytes, open.sums.recv_bytes);
        assert_eq!(totals(&messenger, &pair).active_connections, 0);
    }
}

/// Nothing stays in memory as long as a session that has become lossy.
#[test]
fn what_was_sent_before_a_session_is_disposable_is_acknowledged() {
    for version in BOTH {
        for answered in [false, true] {
            let policies = (Policy::lossless_client(), Policy::stateful_server());
            let mut pair = Pair::new(version, policies.0, policies.1, Options::default());
            pair.client.send(message(1, 100)).unwrap();
            assert!(write(&mut pair.client, pair.links.0, pair.now, &mut pair.pipes.0));
            pair.client.mark_disposable();
            assert_eq!(pair.client.stats().unacknowledged, 1);
            if answered {
                // v2: the acknowledgement comes with a message.
                pair.server.send(message(2, 10)).unwrap();
            }
            pair.run();
            assert_eq!((pair.tids(), pair.client.stats().unacknowledged), (vec![1], 0));
        }
    }
}

#[test]
fn keepalives_leave_their_stamps() {
    for version in BOTH {
        let mut pair =
            Pair::new(version, Policy::lossless_client(), Policy::stateful_server(), Options::default());
        assert_eq!((pair.server.last_keepalive(), pair.client.last_keepalive_ack()), (None, None));
        pair.now += Duration::from_secs(3);
        pair.client.keepalive();
        pair.run();
        assert_eq!(pair.server.last_keepalive(), Some(pair.now));
        assert!(pair.client.last_keepalive_ack().is_some());
    }
}

#[test]
fn timers_have_names() {
    let mut pair =
        Pair::new(Version::V2, Policy::lossless_client(), Policy::stateful_server(), Options::default());
    assert_eq!(pair.client.poll_timer(), Some((pair.now + Duration::from_secs(900), Timer::Idle)));
    pair.client.handle_eof(pair.now, pair.links.0).unwrap();
    assert_eq!(pair.client.poll_timer().map(|(_, timer)| timer), Some(Timer::Connect));
    let link = pair.dialed_link();
    pair.client.handle_dialed(pair.now, link, Err(std::io::ErrorKind::ConnectionRefused)).unwrap();
    assert_eq!(pair.client.poll_timer(), Some((pair.now + Duration::from_millis(200), Timer::Backoff)));
    pair.client.close(false);
    assert_eq!(pair.client.poll_timer(), None);
}
