//! Can an application work on several messages of a session at once, and not on more than it has room for?
//!
//! `test_concurrent_dispatch` of crimson's `src/test/crimson/test_messenger.cc`. Crimson's dispatchers return futures;
//! here they hand messages over to threads, and the messages hold their share of the throttle until they are dropped.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use cephwire::codec::{Message, MessageType};
use cephwire::throttle::Throttle;
use cephwire::{Dispatcher, Handle, Policy, Received, Version};

use crate::plain::{CLIENT, OSD, Pair, message, setup};
use crate::rig::{Driver, any_port, eventually};

matrix! {
    concurrent_dispatch
    concurrent_fast_dispatch;
    of any version:
}

/// What handlers are at.
#[derive(Default)]
struct Hands {
    came: u32,
    pending: u32,
    most: u32,
    may_end: bool,
}

/// Handles each message on a thread of its own, which is done when it may be, and two have come.
#[derive(Default)]
struct Handlers {
    hands: Mutex<Hands>,
    news: Condvar,
}

impl Handlers {
    fn wait(&self, what: &str, condition: impl Fn(&Hands) -> bool) {
        let hands = self.hands.lock().unwrap();
        let patience = Duration::from_secs(60);
        let waited = self.news.wait_timeout_while(hands, patience, |hands| !condition(hands)).unwrap();
        assert!(!waited.1.timed_out(), "{what}: in vain");
    }

    fn change(&self, change: impl FnOnce(&mut Hands)) {
        change(&mut self.hands.lock().unwrap());
        self.news.notify_all();
    }
}

struct Dispatching {
    handlers: Arc<Handlers>,
    fast: bool,
}

impl Dispatcher for Dispatching {
    fn is_fast(&self) -> bool {
        self.fast
    }

    fn can_fast_dispatch(&self, _message: &Message) -> bool {
        self.fast
    }

    fn fast_dispatch(&self, _from: &Handle, received: Received) {
        let handlers = Arc::clone(&self.handlers);
        handlers.change(|hands| {
            hands.came += 1;
            hands.pending += 1;
            hands.most = hands.most.max(hands.pending);
        });
        thread::spawn(move || {
            handlers.wait("another one", |hands| hands.came >= 2 && hands.may_end);
            handlers.change(|hands| hands.pending -= 1);
            drop(received);
        });
    }

    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        self.fast_dispatch(from, received);
        None
    }
}

/// `test_concurrent_dispatch`: the second message is dispatched while the first is still in hand, and no third is.
fn concurrent<D: Driver>(version: Version, fast: bool) {
    let in_hand = Throttle::new(2);
    let server = Policy::stateless_server().throttled(None, Some(Arc::clone(&in_hand)));
    let mut pair = Pair::<D>::start(setup(OSD, server), setup(CLIENT, Policy::lossy_client()), false);
    let handlers: Arc<Handlers> = Arc::default();
    pair.server.add_head(Arc::new(Dispatching { handlers: Arc::clone(&handlers), fast }));
    pair.to = pair.server.listen(&any_port(version));
    let c2s = pair.c2s();
    for _ in 0..3 {
        c2s.send(message(MessageType::COMMAND, 0, 0)).unwrap();
    }
    handlers.wait("two", |hands| hands.pending == 2);
    // Its reader waits for room.
    let accepted = pair.server.sessions()[0].clone();
    eventually("a pause", || accepted.stats().pauses == 1);
    assert_eq!((in_hand.current(), accepted.stats().recv_messages), (2, 2));
    handlers.change(|hands| hands.may_end = true);
    handlers.wait("the third", |hands| (hands.came, hands.pending) == (3, 0));
    assert_eq!(handlers.hands.lock().unwrap().most, 2);
    eventually("everything is given back", || in_hand.current() == 0);
    pair.teardown();
}

/// `test_concurrent_dispatch`, dispatched by the messenger, one after the other.
fn concurrent_dispatch<D: Driver>(version: Version) {
    concurrent::<D>(version, false);
}

/// `test_concurrent_dispatch`, dispatched by the connection.
fn concurrent_fast_dispatch<D: Driver>(version: Version) {
    concurrent::<D>(version, true);
}
