//! Does everything arrive once and in order, whatever happens to the connections, and whichever driver is where?
//!
//! Two messengers send to each other through relays that cut their connections at random bytes, every few messages, also
//! in the handshake, and sometimes at one end only. A few thousand messages for each pair of drivers and each version;
//! `CEPHWIRE_RELAY_MESSAGES=n` sends n in all. `CEPHWIRE_RELAY_SEED=n` decides where the cuts are; what is being sent
//! then, the machine.

#![cfg(all(feature = "blocking", feature = "tokio"))]
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "relay/cuts.rs"]
mod cuts;
#[allow(dead_code, reason = "the simulator uses the rest")]
#[path = "../../protocol/tests/sim/random.rs"]
mod random;
#[allow(unused_macros, reason = "tests here have names of their own")]
mod rig;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cephwire::codec::{EntityType, Header, Message};
use cephwire::{Dispatcher, Error, Handle, Policy, Received, Version};

use cuts::Cutting;
use random::Random;
use rig::{Blocking, Driver, REQUEST, Tasks, any_port, client, osd, setup};
use wire::{Relay, ports};

/// A test for each pair of drivers with each version.
macro_rules! pairs {
    ($($module:ident: $client:ident to $server:ident, $version:ident;)*) => {
        $(mod $module {
            use super::*;
            #[test]
            fn a_client_and_its_server() {
                let policies = [Policy::stateful_server(), Policy::lossless_client()];
                cross::<$server, $client>(Version::$version, policies);
            }
            #[test]
            fn peers() {
                let policies = [Policy::lossless_peer_reuse(), Policy::lossless_peer_reuse()];
                cross::<$server, $client>(Version::$version, policies);
            }
        })*
    };
}

pairs! {
    blocking_to_blocking_v1: Blocking to Blocking, V1;
    blocking_to_blocking_v2: Blocking to Blocking, V2;
    blocking_to_tokio_v1: Blocking to Tasks, V1;
    blocking_to_tokio_v2: Blocking to Tasks, V2;
    tokio_to_blocking_v1: Tasks to Blocking, V1;
    tokio_to_blocking_v2: Tasks to Blocking, V2;
    tokio_to_tokio_v1: Tasks to Tasks, V1;
    tokio_to_tokio_v2: Tasks to Tasks, V2;
}

/// How many tests there are.
const TESTS: u64 = 16;
/// So many are on their way in each direction.
const WINDOW: u64 = 24;
/// Messages are below this.
const LONGEST: u64 = 1500;
/// How long one message may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// One end: what it received, and from whom.
#[derive(Default)]
struct Sink {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// The tid that was received last: all before it were, too.
    last: u64,
    peer: Option<Handle>,
    wrong: Vec<String>,
    /// When that was, and the longest that nothing came.
    at: Option<Instant>,
    longest: Duration,
}

/// The content of a message: its length and its bytes follow from its number.
fn content(tid: u64) -> Vec<u8> {
    let mut random = Random(tid);
    let len = random.below(LONGEST) as usize;
    (0..len).map(|at| (tid as usize + at) as u8).collect()
}

impl Sink {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wrong(&self, what: String) {
        self.lock().wrong.push(what);
        self.news.notify_all();
    }

    /// Waits until the message was received, or all was that can be waited for.
    fn wait(&self, tid: u64) {
        let (mut end, mut state) = (Instant::now() + PATIENCE, self.lock());
        let mut last = state.last;
        while state.last < tid {
            assert!(state.wrong.is_empty(), "{:?}", state.wrong);
            if state.last > last {
                (last, end) = (state.last, Instant::now() + PATIENCE);
            }
            let left = end.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("nothing came after {last} of {tid}"));
            state = self.news.wait_timeout(state, left).unwrap().0;
        }
        assert!(state.wrong.is_empty(), "{:?}", state.wrong);
    }
}

impl Dispatcher for Sink {
    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        let mut state = self.lock();
        let (tid, last) = (received.message.header.tid, state.last);
        if tid != last + 1 {
            state.wrong.push(format!("{tid} came behind {last}"));
        }
        if received.message.data.clone().into_bytes() != content(tid) {
            state.wrong.push(format!("{tid} is damaged"));
        }
        state.last = tid;
        let now = Instant::now();
        let pause = state.at.replace(now).map_or(Duration::ZERO, |before| now - before);
        state.longest = state.longest.max(pause);
        state.peer.get_or_insert_with(|| from.clone());
        if state.peer.as_ref() != Some(from) {
            state.wrong.push(format!("{tid} came in another session"));
        }
        drop(state);
        self.news.notify_all();
        None
    }

    fn reset(&self, session: &Handle, error: Option<&Error>) -> bool {
        // At the end the application itself says so.
        if let Some(error) = error {
            self.wrong(format!("{session:?} was reset: {error}"));
        }
        true
    }

    fn remote_reset(&self, session: &Handle) {
        // A first handshake that is cut at its end may be a session for one side only; there is nothing in it.
        if self.lock().last > 0 {
            self.wrong(format!("{session:?} was reset by the peer"));
        }
    }
}

/// Sends all, so many ahead of what the other end has received.
fn send_all(session: &Handle, to: &Sink, count: u64) {
    for tid in 1..=count {
        to.wait(tid.saturating_sub(WINDOW));
        let header = Header { tid, kind: REQUEST, ..Header::default() };
        let data = Bytes::from(content(tid)).into();
        session.send(Message { header, data, ..Message::default() }).unwrap();
    }
    to.wait(count);
}

fn cross<S: Driver, C: Driver>(version: Version, [server, other]: [Policy; 2]) {
    let seed = number("CEPHWIRE_RELAY_SEED").unwrap_or(20_261_121);
    let each_way = number("CEPHWIRE_RELAY_MESSAGES").map_or(1500, |all| all / TESTS / 2);
    let began = Instant::now();
    println!("CEPHWIRE_RELAY_SEED={seed} CEPHWIRE_RELAY_MESSAGES={}", each_way * 2 * TESTS);
    let is_peer = !server.server;
    let quick = |mut setup: cephwire::Setup| {
        setup.protocol.initial_backoff = Duration::from_millis(1);
        setup.protocol.max_backoff = Duration::from_millis(20);
        // Whoever waits for this waits in vain, and the test with it.
        setup.protocol.ready_timeout = Duration::from_secs(3600);
        setup
    };
    let server = S::start(quick(setup(osd(), server)));
    let client = C::start(quick(setup(client(), other)));
    let (at_server, at_client) = (Arc::new(Sink::default()), Arc::new(Sink::default()));
    server.add_tail(at_server.clone());
    client.add_tail(at_client.clone());

    let cutting = Cutting::new(seed, 3 * LONGEST);
    let [first, second] = ports();
    let real = server.listen(&any_port(version));
    let mut relays = vec![Relay::new(first, &real, cutting.clone())];
    server.local().set_addrs(relays[0].advertised(&real));
    if is_peer {
        let real = client.listen(&any_port(version));
        relays.push(Relay::new(second, &real, cutting.clone()));
        client.local().set_addrs(relays[1].advertised(&real));
    }

    let session = client.connect(EntityType::OSD, &server.addrs());
    let both_ways = || {
        std::thread::scope(|scope| {
            scope.spawn(|| send_all(&session, &at_server, each_way));
            scope.spawn(|| {
                // Before, it is not certain that the client knows that there is a session; it would be another then.
                at_server.wait(1);
                let back = at_server.lock().peer.clone().unwrap();
                send_all(&back, &at_client, each_way);
            });
        });
    };
    if let Err(failure) = catch_unwind(AssertUnwindSafe(both_ways)) {
        for handle in client.sessions().iter().chain(&server.sessions()) {
            println!("{handle:?} {:#?} {:?} {:#?}", handle.stats(), handle.last_failure(), handle.facts());
        }
        resume_unwind(failure);
    }
    let longest = [&at_server, &at_client].map(|sink| sink.lock().longest);
    let received = [&at_server, &at_client].map(|sink| sink.lock().last);
    assert_eq!(received, [each_way; 2]);
    let stats = session.stats();
    println!(
        "{} messages, {:?} cuts, {} reconnects at the client, nothing for {longest:?}; {:.1} s",
        2 * each_way,
        cutting.cuts(),
        stats.reconnects,
        began.elapsed().as_secs_f64()
    );
    assert!(cutting.cuts().iter().sum::<usize>() as u64 >= each_way / 10, "{:?}", cutting.cuts());
    cutting.stop();
    client.end(Duration::ZERO);
    server.end(Duration::ZERO);
    drop(relays);
    for sink in [&at_server, &at_client] {
        assert_eq!(sink.lock().wrong, [""; 0]);
    }
}
