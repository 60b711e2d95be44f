//! Does the table find, keep and remove sessions as Ceph's messenger does? Does this side learn its addresses?

use std::sync::Arc;

use cephwire_protocol::codec::{EntityName, EntityType, priority};
use cephwire_protocol::throttle::Throttle;
use cephwire_protocol::{Connect, Event, Local, Loopback, Manner, Messenger, Options, Policies, Policy};

use crate::pair::{local, message, plain_local, vector};

#[test]
fn where_a_connect_leads() {
    let local = plain_local();
    let mut messenger: Messenger<u32> = Messenger::new();
    let plain = Manner::default();
    let connect = |messenger: &mut Messenger<u32>, to: &[&str], manner, closed: bool| {
        messenger.connect(&local, &vector(to), manner, |_| closed)
    };
    let own = ["v2:10.0.0.1:6800/9", "v1:10.0.0.1:6801/9"];
    assert_eq!(connect(&mut messenger, &own, plain, false), Connect::Loopback);
    assert_eq!(connect(&mut messenger, &own[1..], plain, false), Connect::Loopback);
    let abroad = Manner { not_local: true, ..plain };
    assert_eq!(connect(&mut messenger, &own, abroad, false), Connect::New(vector(&own)));

    let peer = ["v2:10.0.0.2:6800/5"];
    assert_eq!(connect(&mut messenger, &peer, plain, false), Connect::New(vector(&peer)));
    messenger.insert(vector(&peer), 17);
    assert_eq!(connect(&mut messenger, &peer, plain, false), Connect::Existing(17));
    // The key is the whole vector.
    let more = ["v2:10.0.0.2:6800/5", "v1:10.0.0.2:6801/5"];
    assert_eq!(connect(&mut messenger, &more, plain, false), Connect::New(vector(&more)));
    let anonymous = Manner { anonymous: true, ..plain };
    assert_eq!(connect(&mut messenger, &peer, anonymous, false), Connect::Anonymous(vector(&peer)));
    // One that has ended is as good as none.
    assert_eq!(connect(&mut messenger, &peer, plain, true), Connect::New(vector(&peer)));
    assert!(messenger.is_empty());

    // Who listens for v1 only uses v1 only.
    local.set_addrs(vector(&["v1:10.0.0.1:6801/9"]));
    assert_eq!(connect(&mut messenger, &more, plain, false), Connect::New(vector(&more[1..])));
}

#[test]
fn only_that_very_session_is_removed() {
    let mut messenger: Messenger<u32> = Messenger::with_capacities(2, 1);
    let key = vector(&["v2:10.0.0.2:6800/5"]);
    messenger.insert(key.clone(), 1);
    assert_eq!(messenger.insert(key.clone(), 2), Some(1));
    assert!(!messenger.remove(&key, &1) && messenger.remove(&key, &2));

    let (first, second) = (messenger.accepting.insert(3).unwrap(), messenger.accepting.insert(3).unwrap());
    assert_eq!((messenger.accepting.insert(4), messenger.accepting.is_full()), (Err(4), true));
    assert_eq!((messenger.accepting.remove(first), messenger.accepting.remove(first)), (Some(3), None));
    assert!(messenger.accepting.remove(second).is_some() && messenger.accepting.is_empty());

    messenger.insert(key.clone(), 5);
    messenger.accepting.insert(6).unwrap();
    messenger.anonymous.insert(7).unwrap();
    assert_eq!(messenger.all().count(), 3);
    let mut all = messenger.mark_down_all();
    all.sort_unstable();
    assert_eq!((all, messenger.all().count()), (vec![5, 6, 7], 0));
    messenger.insert(key.clone(), 8);
    assert_eq!((messenger.mark_down(&key), messenger.mark_down(&key)), (Some(8), None));
}

#[test]
fn the_loopback_gives_back_what_it_was_given() {
    let local = plain_local();
    let mut loopback = Loopback::new(Arc::clone(&local));
    for tid in 1..=3 {
        let mut message = message(tid, 5);
        message.header.priority = 0;
        loopback.send(message).unwrap();
    }
    for tid in 1..=3 {
        let Some(Event::Message(received)) = loopback.poll_event() else { panic!("a message") };
        assert_eq!((received.message.header.tid, received.seq, received.source), (tid, 0, local.name()));
        assert_eq!(received.message.header.priority, priority::DEFAULT);
    }
    assert_eq!((loopback.key(), local.dispatch_throttle().current()), (local.addrs(), 0));
    loopback.send(message(4, 0)).unwrap();
    loopback.close();
    assert!(loopback.poll_event().is_none() && loopback.send(message(5, 0)).is_err());
}

fn with_addrs(addrs: &[&str]) -> Arc<Local> {
    let name = EntityName::new(EntityType::OSD, 3);
    local(name, vector(addrs), Policy::default(), Options::default())
}

#[test]
fn own_addresses_are_learned_once() {
    let client = with_addrs(&[]);
    assert!(!client.is_bound());
    client.learn_addr([10, 0, 0, 9].into());
    assert_eq!(client.addrs(), vector(&["any:10.0.0.9:0/7"]));
    client.learn_addr([10, 0, 0, 8].into());
    assert_eq!(client.addrs(), vector(&["any:10.0.0.9:0/7"]));
    assert!(!client.is_bound());

    // Who listens keeps type and port; another family is not touched.
    let server = with_addrs(&["v2:0.0.0.0:6800/3", "v1:0.0.0.0:6801/3", "v2:[::]:6800/3"]);
    server.learn_addr([10, 0, 0, 9].into());
    assert_eq!(server.addrs(), vector(&["v2:10.0.0.9:6800/3", "v1:10.0.0.9:6801/3", "v2:[::]:6800/3"]));
    // Nothing is to be learned where all is known.
    let known = with_addrs(&["v2:10.0.0.1:6800/3"]);
    known.learn_addr([10, 0, 0, 9].into());
    assert_eq!(known.addrs(), vector(&["v2:10.0.0.1:6800/3"]));
}

#[test]
fn own_addresses_are_set() {
    let local = with_addrs(&["v2:0.0.0.0:6800/3", "v1:10.0.0.1:6801/3", "v2:[::]:6802/3"]);
    let known = vector(&["v1:10.0.0.7:1/1", "v1:[fe80::1]:2/2"]);
    assert!(local.set_addr_unknowns(&known));
    assert_eq!(local.addrs(), vector(&["v2:10.0.0.7:6800/3", "v1:10.0.0.1:6801/3", "v2:[fe80::1]:6802/3"]));
    assert!(!local.set_addr_unknowns(&known));

    local.set_addrs(vector(&["v2:192.168.0.1:1/0"]));
    assert_eq!(local.addrs(), vector(&["v2:192.168.0.1:1/3"]));
    assert_eq!((local.rebind(), local.nonce()), (1_000_003, 1_000_003));
    assert_eq!(local.addrs(), vector(&["v2:192.168.0.1:1/1000003"]));
}

#[test]
fn throttles_of_a_type_without_policy_go_to_the_default() {
    let (bytes, messages) = (Throttle::new(1), Throttle::new(2));
    let mut policies = Policies::all(Policy::lossless_peer()).with(EntityType::MDS, Policy::lossy_client());
    policies.set_throttles(EntityType::CLIENT, Some(Arc::clone(&bytes)), Some(messages));
    assert!(policies.default.throttle_bytes.is_some());
    assert!(policies.of(EntityType::MDS).throttle_bytes.is_none());
    // Policies are equal if they share their throttles.
    assert_eq!(policies.default, policies.default.clone());
    let other = policies.default.clone().throttled(Some(Throttle::new(1)), None);
    assert_ne!(policies.default, other);
}
