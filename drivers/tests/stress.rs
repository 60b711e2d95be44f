//! Does everything arrive once and in order, while connections break all the time? Both drivers against each other.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![cfg(all(feature = "blocking", feature = "tokio"))]

#[expect(unused_macros, reason = "these tests have a macro of their own")]
mod rig;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use cephwire::codec::{EntityName, EntityType, Header, Message};
use cephwire::inject::Settings;
use cephwire::{Dispatcher, Handle, Policy, Received, Setup, Version};
use rig::{BOTH, Blocking, Driver, Tasks, any_port, request};

/// Checks that messages come once, in order and whole. One side answers each with itself.
#[derive(Default)]
struct Checker {
    last: Mutex<u64>,
    more: Condvar,
    answers: bool,
    /// Nobody may lose a session.
    resets: AtomicU64,
}

impl Checker {
    /// Waits until so many have come.
    fn wait(&self, count: u64, state: impl Fn() -> String) {
        let (end, mut last) = (Instant::now() + PATIENCE, self.last.lock().unwrap());
        while *last < count {
            let left = end.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("{last} of {count}: {}", state()));
            last = self.more.wait_timeout(last, left).unwrap().0;
        }
    }
}

/// Less than any timer of a handshake: a wake-up that is lost shall not be hidden by one.
const PATIENCE: Duration = Duration::from_secs(8);

impl Dispatcher for Checker {
    fn is_fast(&self) -> bool {
        true
    }

    fn can_fast_dispatch(&self, _message: &Message) -> bool {
        true
    }

    fn fast_dispatch(&self, from: &Handle, received: Received) {
        let (message, _permits) = received.into_parts();
        let tid = message.header.tid;
        assert!(message.data.clone().into_bytes().iter().all(|byte| *byte == tid as u8));
        if self.answers {
            let header = Header { ..message.header };
            from.send(Message { header, ..message }).unwrap();
        }
        let mut last = self.last.lock().unwrap();
        assert_eq!(tid, *last + 1, "once and in order");
        *last = tid;
        self.more.notify_all();
    }

    fn remote_reset(&self, _session: &Handle) {
        self.resets.fetch_add(1, Ordering::SeqCst);
    }

    fn reset(&self, _session: &Handle, error: Option<&cephwire::Error>) -> bool {
        self.resets.fetch_add(u64::from(error.is_some()), Ordering::SeqCst);
        true
    }
}

fn hasty(number: i64, kind: EntityType, policy: &Policy) -> Setup {
    let mut setup = Setup::new(EntityName::new(kind, number)).nonce(number as u32 + 1);
    setup.policies.default = policy.clone();
    setup.protocol.initial_backoff = Duration::from_millis(1);
    setup.protocol.max_backoff = Duration::from_millis(20);
    setup.protocol.ready_timeout = Duration::from_secs(600);
    setup.net.ports = 10000..=19999;
    setup
}

fn cuts<S: Driver, C: Driver>(version: Version, equals: bool) {
    const COUNT: u64 = 3000;
    let osd = EntityType::OSD;
    let (server, client) = if equals {
        let peer = Policy::lossless_peer();
        (S::start(hasty(0, osd, &peer)), C::start(hasty(1, osd, &peer)))
    } else {
        let (client, server) = (Policy::lossless_client(), Policy::stateful_server());
        (S::start(hasty(0, osd, &server)), C::start(hasty(1, EntityType::CLIENT, &client)))
    };
    let at_server = Arc::new(Checker { answers: true, ..Checker::default() });
    let at_client = Arc::new(Checker::default());
    server.add_tail(at_server.clone());
    client.add_tail(at_client.clone());
    let to = server.listen(&any_port(version));
    if equals {
        client.listen(&any_port(version));
    }
    let settings = Settings { socket_failures: 20, ..Settings::default() };
    let session = client.connect(osd, &to);
    let state = || {
        let server: Vec<_> = server
            .sessions()
            .iter()
            .map(|session| (session.stats(), session.facts(), session.last_failure()))
            .collect();
        format!("{:#?}", (session.stats(), session.facts(), session.last_failure(), server))
            .lines()
            .filter(|line| !line.contains("FEATURES"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    for tid in 1..=COUNT {
        let len = if tid % 50 == 0 { 200_000 } else { tid % 3000 };
        session.send(request(tid, vec![tid as u8; len as usize])).unwrap();
        at_client.wait(tid.saturating_sub(100), state);
        if tid == 1 {
            // A handshake that fails halfway the first time leaves sessions that know nothing of each other.
            at_client.wait(1, state);
            server.local().inject(settings.clone());
            client.local().inject(settings.clone());
        }
    }
    at_client.wait(COUNT, state);
    assert!(session.stats().reconnects > 10);
    for checker in [&at_client, &at_server] {
        assert_eq!((*checker.last.lock().unwrap(), checker.resets.load(Ordering::SeqCst)), (COUNT, 0));
    }
    client.end(Duration::ZERO);
    server.end(Duration::ZERO);
}

macro_rules! pairs {
    ($($name:ident: $server:ident $client:ident)*) => {
        $(
            #[test]
            fn $name() {
                for version in BOTH {
                    for equals in [false, true] {
                        cuts::<$server, $client>(version, equals);
                    }
                }
            }
        )*
    };
}

pairs! {
    threads_with_threads: Blocking Blocking
    threads_with_tasks: Blocking Tasks
    tasks_with_threads: Tasks Blocking
    tasks_with_tasks: Tasks Tasks
}
