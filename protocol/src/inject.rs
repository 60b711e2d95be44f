//! Which faults does a test ask for, and which of them happens now?
//!
//! Everything is decided by a seed: the same seed and the same questions give the same answers. The
//! [`Injector`] only decides; whoever asks shuts the socket down, drops the message, or waits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use cephwire_codec::EntityType;

use crate::random::Random;

/// What may go wrong, and how often; by default nothing does.
///
/// Ceph: the options `ms_inject_*` and `ms_blackhole_*` in `src/common/options.cc`.
///
/// ```
/// use cephwire_codec::EntityType;
/// use cephwire_protocol::inject::{Injector, Settings};
/// let settings = Settings { black_holes: vec![EntityType::MON], ..Settings::default() };
/// let mut injector = Injector::new(42, settings);
/// assert!(injector.is_black_hole(EntityType::MON) && !injector.is_black_hole(EntityType::OSD));
/// assert!(!injector.fails_now());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// One read or write in so many shuts its socket down; 0 = none. Ceph: `ms_inject_socket_failures`.
    pub socket_failures: u64,
    /// Kinds of peers whose messages may be delayed. Ceph: `ms_inject_delay_type`.
    pub delayed_peers: Vec<EntityType>,
    /// The share of their messages that is delayed, 0 to 1. Ceph: `ms_inject_delay_probability`.
    pub delay_probability: f64,
    /// The delays are below this. Default 1 s. Ceph: `ms_inject_delay_max`.
    pub delay_max: Duration,
    /// A pause at the points where races are likely; zero = none. Ceph: `ms_inject_internal_delays`.
    pub internal_delay: Duration,
    /// Kinds of peers to and from which every message vanishes. Ceph: `ms_blackhole_mon` and its kin, where
    /// that for managers has no effect; here it has.
    pub black_holes: Vec<EntityType>,
    /// All write attempts but one in so many find the socket full; 0 = none do. Ceph:
    /// `ms_inject_network_congestion`.
    pub congestion: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket_failures: 0,
            delayed_peers: Vec::new(),
            delay_probability: 0.0,
            delay_max: Duration::from_secs(1),
            internal_delay: Duration::ZERO,
            black_holes: Vec::new(),
            congestion: 0,
        }
    }
}

/// Where an internal delay may happen.
///
/// Ceph: the callers of `inject_delay` in `src/msg/async/AsyncConnection.cc`; `src/msg/DispatchQueue.cc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// An acceptor has looked up the existing session, is about to replace it, or has registered; or a
    /// handshake failed to write. Always.
    Race,
    /// The own address has been learned from the peer. As rarely as socket failures.
    Address,
    /// An event is about to be dispatched. As often as delays.
    Event,
}

/// Decides by a seed which of the wanted faults happen.
#[derive(Clone, Debug)]
pub struct Injector {
    settings: Settings,
    random: Random,
}

impl Injector {
    /// Decides by `seed`.
    #[must_use]
    pub fn new(seed: u64, settings: Settings) -> Self {
        Self { settings, random: Random::new(seed) }
    }

    /// Whether this read or write attempt shuts its socket down, in both directions.
    pub fn fails_now(&mut self) -> bool {
        self.random.one_in(self.settings.socket_failures)
    }

    /// Whether this write attempt finds the socket full.
    pub fn is_congested(&mut self) -> bool {
        self.settings.congestion > 0 && !self.random.one_in(self.settings.congestion)
    }

    /// Whether messages vanish: outgoing ones with success, incoming ones counted and acknowledged.
    #[must_use]
    pub fn is_black_hole(&self, peer: EntityType) -> bool {
        self.settings.black_holes.contains(&peer)
    }

    /// Whether messages from `peer` pass through a [`DelayQueue`]; asked once a session is open.
    #[must_use]
    pub fn delays(&self, peer: EntityType) -> bool {
        self.settings.delayed_peers.contains(&peer)
    }

    /// How long the message just received from such a peer is delayed, if it is.
    pub fn delay(&mut self) -> Option<Duration> {
        self.random
            .happens(self.settings.delay_probability)
            .then(|| self.random.below(self.settings.delay_max))
    }

    /// How long to pause at this point, if at all.
    pub fn internal_delay(&mut self, point: Point) -> Option<Duration> {
        let now = !self.settings.internal_delay.is_zero()
            && match point {
                Point::Race => true,
                Point::Address => self.random.one_in(self.settings.socket_failures),
                Point::Event => self.random.happens(self.settings.delay_probability),
            };
        now.then_some(self.settings.internal_delay)
    }
}

/// Received messages that are held back, in order, each with a timer of its own.
///
/// A timer that fires delivers the *front*, whichever message it was started for: delays never reorder.
///
/// Ceph: `DelayedDelivery` in `src/msg/async/AsyncConnection.cc`.
#[derive(Debug)]
pub struct DelayQueue<T> {
    items: VecDeque<T>,
    /// As many as items.
    timers: BinaryHeap<Reverse<Instant>>,
}

impl<T> DelayQueue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self { items: VecDeque::new(), timers: BinaryHeap::new() }
    }

    /// Appends an item with the answer of [`Injector::delay`]; without a delay its timer fires at once.
    pub fn push(&mut self, now: Instant, delay: Option<Duration>, item: T) {
        self.timers.push(Reverse(now.checked_add(delay.unwrap_or_default()).unwrap_or(now)));
        self.items.push_back(item);
    }

    /// When [`pop_due`](Self::pop_due) has something next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.peek().map(|timer| timer.0)
    }

    /// Takes out the front if a timer has fired; to be repeated until there is nothing.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        if self.poll_timeout()? > now {
            return None;
        }
        self.timers.pop();
        self.items.pop_front()
    }

    /// Takes out everything, to be delivered now: on a fault, a close, or when another session takes over.
    #[must_use = "the items are to be delivered"]
    pub fn flush(&mut self) -> Vec<T> {
        self.timers.clear();
        std::mem::take(&mut self.items).into()
    }

    /// Takes out everything, not to be delivered: when the peer has reset the session.
    #[must_use = "the items hold throttle permits"]
    pub fn discard(&mut self) -> Vec<T> {
        self.flush()
    }

    /// How many items are held back.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<T> Default for DelayQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[expect(clippy::disallowed_methods, reason = "there is no other way to some instant")]
    fn start() -> Instant {
        Instant::now()
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn everything() -> Settings {
        Settings {
            socket_failures: 30,
            delayed_peers: vec![EntityType::CLIENT, EntityType::OSD],
            delay_probability: 0.25,
            delay_max: ms(400),
            internal_delay: ms(5),
            black_holes: vec![EntityType::MDS],
            congestion: 100,
        }
    }

    fn count(times: usize, mut question: impl FnMut() -> bool) -> usize {
        (0..times).filter(|_| question()).count()
    }

    #[test]
    fn nothing_happens_by_default() {
        let mut injector = Injector::new(1, Settings::default());
        assert_eq!(count(1000, || injector.fails_now() || injector.is_congested()), 0);
        assert_eq!(count(1000, || injector.delay().is_some()), 0);
        for point in [Point::Race, Point::Address, Point::Event] {
            assert_eq!(injector.internal_delay(point), None);
        }
        assert!(!injector.is_black_hole(EntityType::OSD) && !injector.delays(EntityType::OSD));
    }

    #[test]
    fn the_same_seed_decides_the_same() {
        let decisions = |seed| {
            let mut injector = Injector::new(seed, everything());
            let mut ask = move |_| (injector.fails_now(), injector.is_congested(), injector.delay());
            (0..500).map(&mut ask).collect::<Vec<_>>()
        };
        assert_eq!(decisions(7), decisions(7));
        assert_ne!(decisions(7), decisions(8));
    }

    #[test]
    fn rates() {
        for seed in 0..20 {
            let mut injector = Injector::new(seed, everything());
            // Expected values, and six times the standard deviation.
            let near = |happened: usize, expected: f64, times: f64| {
                let deviation = (expected * (1.0 - expected / times)).sqrt();
                assert!((happened as f64 - expected).abs() < 6.0 * deviation, "seed {seed}: {happened}");
            };
            near(count(30_000, || injector.fails_now()), 1000.0, 30_000.0);
            near(count(30_000, || !injector.is_congested()), 300.0, 30_000.0);
            near(count(30_000, || injector.internal_delay(Point::Address).is_some()), 1000.0, 30_000.0);
            near(count(30_000, || injector.internal_delay(Point::Event).is_some()), 7500.0, 30_000.0);
            assert_eq!(count(100, || injector.internal_delay(Point::Race) == Some(ms(5))), 100);

            let delays: Vec<_> = (0..30_000).filter_map(|_| injector.delay()).collect();
            near(delays.len(), 7500.0, 30_000.0);
            assert!(delays.iter().all(|delay| *delay < ms(400)));
            near(delays.iter().filter(|delay| **delay < ms(100)).count(), 1875.0, 7500.0);
        }
    }

    #[test]
    fn certainties() {
        let settings = Settings { socket_failures: 1, congestion: 1, delay_probability: 1.0, ..everything() };
        let mut injector = Injector::new(3, settings.clone());
        assert_eq!(count(1000, || injector.fails_now() && !injector.is_congested()), 1000);
        assert_eq!(count(1000, || injector.delay().is_some()), 1000);
        let mut injector = Injector::new(3, Settings { delay_max: Duration::ZERO, ..settings.clone() });
        assert_eq!(injector.delay(), Some(Duration::ZERO));
        for probability in [-1.0, 0.0, f64::NAN] {
            let mut injector =
                Injector::new(3, Settings { delay_probability: probability, ..settings.clone() });
            assert_eq!(count(1000, || injector.delay().is_some()), 0);
        }
    }

    #[test]
    fn peers() {
        let injector = Injector::new(0, everything());
        let kinds = [EntityType::MON, EntityType::MDS, EntityType::OSD, EntityType::CLIENT, EntityType::MGR];
        assert_eq!(kinds.map(|kind| injector.is_black_hole(kind)), [false, true, false, false, false]);
        assert_eq!(kinds.map(|kind| injector.delays(kind)), [false, false, true, true, false]);
    }

    #[test]
    fn any_timer_delivers_the_front() {
        let now = start();
        let mut queue = DelayQueue::new();
        assert_eq!((queue.poll_timeout(), queue.pop_due(now)), (None, None));
        queue.push(now, Some(ms(300)), 1);
        queue.push(now, Some(ms(100)), 2);
        queue.push(now + ms(10), None, 3);
        assert_eq!((queue.len(), queue.poll_timeout()), (3, Some(now + ms(10))));
        assert_eq!(queue.pop_due(now), None);
        assert_eq!((queue.pop_due(now + ms(10)), queue.pop_due(now + ms(99))), (Some(1), None));
        assert_eq!((queue.pop_due(now + ms(100)), queue.pop_due(now + ms(299))), (Some(2), None));
        assert_eq!((queue.poll_timeout(), queue.pop_due(now + ms(300))), (Some(now + ms(300)), Some(3)));
        assert!(queue.is_empty() && queue.poll_timeout().is_none());
    }

    #[test]
    fn flush_and_discard_stop_the_timers() {
        let now = start();
        let mut queue = DelayQueue::default();
        for (delay, item) in [(500, 1), (0, 2), (200, 3)] {
            queue.push(now, Some(ms(delay)), item);
        }
        assert_eq!(queue.flush(), [1, 2, 3]);
        assert_eq!((queue.poll_timeout(), queue.len()), (None, 0));
        queue.push(now, Some(Duration::MAX), 4); // beyond the end of time: at once
        assert_eq!(queue.poll_timeout(), Some(now));
        assert_eq!(queue.discard(), [4]);
        assert_eq!((queue.poll_timeout(), queue.pop_due(now + ms(9999))), (None, None));
    }

    proptest! {
        /// Whatever the delays, everything comes out in order, and as much of it as timers have fired.
        #[test]
        fn order(delays in vec(proptest::option::of(0u64..50), 0..60)) {
            let start = start();
            let mut queue = DelayQueue::new();
            let mut due: Vec<u64> = Vec::new();
            let mut out = Vec::new();
            for (at, delay) in delays.iter().enumerate() {
                queue.push(start + ms(at as u64), delay.map(ms), at);
                due.push(at as u64 + delay.unwrap_or(0));
                out.extend(std::iter::from_fn(|| queue.pop_due(start + ms(at as u64))));
                prop_assert_eq!(out.len(), due.iter().filter(|due| **due <= at as u64).count());
            }
            while let Some(at) = queue.poll_timeout() {
                out.extend(queue.pop_due(at));
            }
            prop_assert!(out.into_iter().eq(0..delays.len()));
        }
    }
}
