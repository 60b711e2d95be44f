//! Do dispatchers that mark down, hold on to messages, or shut down early get what Ceph's tests promise them?
//!
//! `MarkdownTest` of `src/test/msgr/test_msgr.cc`, and the basic tests of crimson's
//! `src/test/crimson/test_messenger.cc` (16.2.x). That dispatchers on several threads do not deadlock is for drivers to
//! show: here everything is one thread, and calls back into sessions are made in the middle of a dispatch.

use std::collections::HashMap;
use std::sync::Arc;

use crate::fixture::{Delivery, Id, Net, Setup, addr, both_versions, ms, ping, us};
use cephwire_protocol::codec::{AddrVec, EntityName, EntityType, Side};
use cephwire_protocol::throttle::Throttle;
use cephwire_protocol::{Event, Policies, Policy, Received, Version};

both_versions! {
    markdown
    echo
    concurrent_dispatch
    preemptive_shutdown
    async_echo
    closed_sessions_take_nothing
}

const CLIENT: usize = 2;

#[derive(Default)]
struct Markdown {
    count: [u32; 3],
    /// What the servers' dispatcher remembers, in order.
    known: Vec<Id>,
    marked: u32,
}

fn marks_down(net: &mut Net<Markdown>, id: Id, delivery: Delivery) {
    match delivery {
        Delivery::Message(_) => {
            net.app.count[id.0] += 1;
            if id.0 == CLIENT {
                return;
            }
            if !net.app.known.contains(&id) {
                net.app.known.push(id);
            }
            if net.app.known.len() < 2 && net.app.marked == 0 {
                return;
            }
            if let Some(place) = net.app.known.iter().position(|known| *known != id) {
                let other = net.app.known.remove(place);
                net.mark_down(other);
                net.app.marked += 1;
            }
        }
        Delivery::Reset | Delivery::RemoteReset => net.app.known.retain(|known| *known != id),
        Delivery::Open(_) | Delivery::Refused => {}
    }
}

/// `MarkdownTest`: each message makes the dispatcher mark another connection down.
fn markdown(version: Version) {
    let mut net = Net::new(5, Markdown::default(), marks_down);
    let osd = EntityName::new(EntityType::OSD, 0);
    // The second server has the policy that nobody set.
    for (port, policy) in [(16800, Policy::stateless_server()), (16801, Policy::default())] {
        let bind = addr(version, port, 4711).into();
        net.add(Setup { fast: |_| false, ..Setup::new(osd, 4711, bind, policy) });
    }
    let name = EntityName::new(EntityType::CLIENT, -1);
    let client = Setup::new(name, 4711, AddrVec::default(), Policy::lossy_client());
    net.add(Setup { fast: |_| false, ..client });

    let (mut last, mut stuck) = (0, 0);
    for round in 0..1000 {
        for server in 0..2 {
            let to = net.nodes[server].addrs.clone();
            let id = net.connect(CLIENT, EntityType::OSD, &to);
            net.send(id, ping());
        }
        for _ in 0..1000 {
            let pause = us(500 + net.below(1000));
            net.run(pause);
            if net.app.count[0] + net.app.count[1] >= last + 2 {
                break;
            }
        }
        let count = net.app.count[0] + net.app.count[1];
        stuck = if count == last { stuck + 1 } else { 0 };
        if stuck > 0 {
            net.run(ms(500));
        }
        assert!(stuck <= 3, "round {round}: {count} messages, and no more");
        last = count;
    }
    assert!(net.app.marked > 100, "{}", net.app.marked);
    for node in 0..3 {
        net.shutdown(node);
        assert_eq!(net.nodes[node].queue_len(), 0);
    }
}

#[derive(Default)]
struct Echo {
    /// By connection: how often it opened, and how many messages came.
    opened: HashMap<Id, u32>,
    received: HashMap<Id, u32>,
    /// Messages of servers that are not let go of.
    kept: Option<Vec<Received>>,
}

fn echoes(net: &mut Net<Echo>, id: Id, delivery: Delivery) {
    match delivery {
        Delivery::Open(side) => {
            *net.app.opened.entry(id).or_default() += 1;
            assert_eq!(side == Side::Server, net.nodes[id.0].listening);
        }
        Delivery::Message(received) => {
            assert_eq!(
                net.app.opened.get(&id),
                Some(&1),
                "messages come after the connect, which comes once"
            );
            *net.app.received.entry(id).or_default() += 1;
            if net.nodes[id.0].listening {
                if let Some(kept) = &mut net.app.kept {
                    return kept.push(*received);
                }
                net.send(id, ping());
            }
        }
        // A server sees its clients go.
        Delivery::Reset if net.nodes[id.0].listening => {}
        other => panic!("{id:?}: {other:?}"),
    }
}

/// Servers osd.0, osd.1 …, then as many clients.
fn echo_net(version: Version, pairs: usize) -> Net<Echo> {
    let mut net = Net::new(6, Echo::default(), echoes);
    for n in 0..2 * pairs {
        let name = EntityName::new(EntityType::OSD, n as i64);
        let nonce = n as u32 + 1;
        net.add(if n < pairs {
            let bind = addr(version, 9031 + n as u16, nonce).into();
            Setup::new(name, nonce, bind, Policy::stateless_server())
        } else {
            Setup::new(name, nonce, AddrVec::default(), Policy::lossy_client())
        });
    }
    net
}

fn dial(net: &mut Net<Echo>, client: usize, server: usize) -> Id {
    let to = net.nodes[server].addrs.clone();
    net.connect(client, EntityType::OSD, &to)
}

fn answers(net: &Net<Echo>, id: Id) -> u32 {
    net.app.received.get(&id).copied().unwrap_or_default()
}

/// `test_echo`: two pairs crosswise, 512 rounds each, keepalives in between.
fn echo(version: Version) {
    const ROUNDS: u32 = 512;
    let mut net = echo_net(version, 2);
    let conns = [dial(&mut net, 2, 1), dial(&mut net, 3, 0)];
    let mut sent = [0; 2];
    while sent.iter().any(|sent| *sent < ROUNDS) {
        for (id, sent) in conns.into_iter().zip(&mut sent).filter(|(_, sent)| **sent < ROUNDS) {
            if net.below(10) == 0 {
                net.keepalive(id);
                continue;
            }
            net.send(id, ping());
            *sent += 1;
        }
        let pause = us(net.below(200));
        net.run(pause);
    }
    net.wait_until("all answers", |net| conns.iter().all(|id| answers(net, *id) == ROUNDS));
    net.run(ms(1000));
    for id in conns {
        assert_eq!(answers(&net, id), ROUNDS);
        assert!(net.conn(id).session.last_keepalive_ack().is_some());
    }
}

/// `test_concurrent_dispatch`: the second message comes while the first is still in hand; there is no third. (Handlers
/// that run at once need threads: the drivers have the same test.)
fn concurrent_dispatch(version: Version) {
    let mut net = echo_net(version, 1);
    let in_hand = Throttle::new(2);
    let policy = Policy::stateless_server().throttled(None, Some(Arc::clone(&in_hand)));
    net.nodes[0].local.set_policies(Policies::all(policy));
    net.app.kept = Some(Vec::new());
    let c2s = dial(&mut net, 1, 0);
    for _ in 0..2 {
        net.send(c2s, ping());
    }
    net.run(ms(1000));
    // Neither of the two is done with: the throttle has both, and a third would not be read.
    assert_eq!((net.app.kept.as_ref().unwrap().len(), in_hand.current()), (2, 2));
    net.send(c2s, ping());
    net.run(ms(1000));
    let kept = net.app.kept.as_mut().unwrap();
    assert_eq!(kept.len(), 2);
    drop(kept.remove(0));
    net.run(ms(1000));
    assert_eq!((net.app.kept.as_ref().unwrap().len(), in_hand.current()), (2, 2));
    net.app.kept = None;
    assert_eq!(in_hand.current(), 0);
}

/// `test_preemptive_shutdown`: the client shuts down while it is sending, and sends on.
fn preemptive_shutdown(version: Version) {
    let mut net = echo_net(version, 1);
    let c2s = dial(&mut net, 1, 0);
    for round in 0..120 {
        if round == 100 {
            net.shutdown(1);
        }
        net.send(c2s, ping());
        net.run(ms(1));
    }
    assert!(net.conn(c2s).session.is_closed());
    assert!((90..=100).contains(&answers(&net, c2s)), "{}", answers(&net, c2s));
    net.shutdown(0);
    assert_eq!((net.nodes[0].queue_len(), net.nodes[1].queue_len()), (0, 0));
}

/// `test_async_echo`: cluster protocol 10, nonce 42, ten rounds of at most 500 ms.
fn async_echo(version: Version) {
    let mut net = echo_net(version, 1);
    net.nodes.iter().for_each(|node| node.local.set_cluster_protocol(10));
    let c2s = dial(&mut net, 1, 0);
    for round in 1..=10 {
        net.send(c2s, ping());
        net.run(ms(500));
        assert_eq!(answers(&net, c2s), round);
    }
}

/// `MarkdownTest` and `SimpleTest` rely on it: a message for a session that has ended is given back.
fn closed_sessions_take_nothing(version: Version) {
    let mut net = echo_net(version, 1);
    let c2s = dial(&mut net, 1, 0);
    net.run(ms(100));
    net.conn_mut(c2s).session.close(false);
    assert_eq!(net.conn_mut(c2s).session.send(ping()), Err(ping().into()));
    net.conn_mut(c2s).session.close(true);
    // The first close voided what waits for dispatch; the second does nothing.
    let session = &mut net.conn_mut(c2s).session;
    let told: Vec<Event> = std::iter::from_fn(|| session.poll_event()).collect();
    assert!(matches!(told[..], [Event::Discard]), "{told:?}");
}
