//! Do dispatchers that mark sessions down get on with a messenger that is at work?
//!
//! `MarkdownTest` of `src/test/msgr/test_msgr.cc`.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use cephwire::codec::{EntityType, Message};
use cephwire::{Dispatcher, Error, Handle, Policy, Received, Version};

use crate::plain::{CLIENT, OSD, ping, setup};
use crate::rig::{Driver, any_port};

matrix! { markdown; of any version: }

/// Marks another session down with each message, from within the dispatch.
#[derive(Default)]
struct Markdown {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    count: u64,
    /// Sessions, in the order in which they were heard of.
    known: Vec<Handle>,
    marked: u64,
}

/// Ceph's dispatchers sleep a little here, to be in the way.
fn linger(count: u64) {
    std::thread::sleep(Duration::from_micros(count * 7919 % 500));
}

impl Dispatcher for Markdown {
    fn dispatch(&self, from: &Handle, _received: Received) -> Option<Received> {
        let mut state = self.state.lock().unwrap();
        state.count += 1;
        self.news.notify_all();
        if !state.known.contains(from) {
            state.known.push(from.clone());
        }
        if state.known.len() < 2 && state.marked == 0 {
            return None;
        }
        linger(state.count);
        if let Some(place) = state.known.iter().position(|known| known != from) {
            state.known.remove(place).mark_down();
            state.marked += 1;
        }
        None
    }

    fn reset(&self, session: &Handle, _error: Option<&Error>) -> bool {
        let mut state = self.state.lock().unwrap();
        linger(state.count);
        state.known.retain(|known| known != session);
        true
    }

    fn remote_reset(&self, session: &Handle) {
        self.state.lock().unwrap().known.retain(|known| known != session);
    }

    fn fast_dispatch(&self, _from: &Handle, _received: Received) {
        panic!("it is not fast");
    }

    fn fast_connected(&self, _session: &Handle) {
        panic!("it is not fast");
    }

    fn can_fast_dispatch(&self, _message: &Message) -> bool {
        panic!("it is not fast");
    }
}

/// Takes everything, and does nothing.
struct Nothing;

impl Dispatcher for Nothing {
    fn dispatch(&self, _from: &Handle, _received: Received) -> Option<Received> {
        None
    }
}

/// `MarkdownTest`.
fn markdown<D: Driver>(version: Version) {
    let dispatcher: Arc<Markdown> = Arc::default();
    // The second server has the policy that nobody set. Ports, not nonces, tell them apart.
    let servers = [Policy::stateless_server(), Policy::default()].map(|policy| {
        let server = D::start(setup(OSD, policy));
        server.add_head(dispatcher.clone());
        let at = server.listen(&any_port(version));
        (server, at)
    });
    let client = D::start(setup(CLIENT, Policy::lossy_client()));
    client.add_head(Arc::new(Nothing));

    let (mut last, mut stuck) = (0, 0);
    for round in 0..1000 {
        for (_, to) in &servers {
            let _ = client.connect(EntityType::OSD, to).send(ping());
        }
        // Messages may be lost with their sessions; then the next round has to do.
        let patience = if stuck == 0 { Duration::from_millis(20) } else { Duration::from_secs(10) };
        let end = Instant::now() + patience;
        let mut state = dispatcher.state.lock().unwrap();
        while state.count < last + 2
            && let Some(left) = end.checked_duration_since(Instant::now())
        {
            state = dispatcher.news.wait_timeout(state, left).unwrap().0;
            if stuck > 0 && state.count > last {
                break;
            }
        }
        stuck = if state.count == last { stuck + 1 } else { 0 };
        assert!(stuck <= 3, "round {round}: {} messages, and no more", state.count);
        last = state.count;
    }
    let (count, marked) = {
        let state = dispatcher.state.lock().unwrap();
        (state.count, state.marked)
    };
    println!("{count} of 2000 messages, {marked} marked down");
    assert!(marked > 100);
    client.end(Duration::ZERO);
    for (server, _) in &servers {
        server.end(Duration::ZERO);
        assert_eq!(server.dispatch_queue_len(), 0);
    }
}
