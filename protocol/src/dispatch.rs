//! In which order do received messages and events reach the application?
//!
//! ```text
//!   priority 255   events (class 0), loopback and messages that say so ┐
//!     …                                                                ├ strict: the highest first
//!   priority  64                                                       ┘
//!   priority  63   weighted: by tokens, in proportion to the priority  ┐ only when nothing
//!     …                                                                ├ strict is left
//!   priority   0                                                       ┘
//!   within a priority: connection 1 ─► 2 ─► 5 ─► 1 …  one message each, in order
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::{Duration, Instant};

/// Received messages and events that await dispatch, one queue for all connections of a messenger.
///
/// What follows from the order:
/// * Events (connect, accept, reset, remote reset, refused) overtake every message of a priority below 255.
/// * Events among themselves, and loopback messages of priority 255, stay in order.
/// * One connection's messages of equal priority stay in order; those of different priorities do not.
/// * Connections take turns within a priority; none can starve another there.
///
/// Ceph: `src/msg/DispatchQueue.cc`.
///
/// ```
/// use cephwire_protocol::dispatch::DispatchQueue;
/// let now = std::time::Instant::now();
/// let mut queue = DispatchQueue::default();
/// queue.enqueue(127, 1, 0, now, "first of connection 1")?;
/// queue.enqueue(127, 1, 0, now, "second of connection 1")?;
/// queue.enqueue(127, 2, 0, now, "connection 2")?;
/// queue.event("reset")?;
/// let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
/// assert_eq!(order, ["reset", "first of connection 1", "connection 2", "second of connection 1"]);
/// # Ok::<(), &str>(())
/// ```
#[derive(Debug)]
pub struct DispatchQueue<T> {
    queue: PrioritizedQueue<Entry<T>, u64>,
    stopped: bool,
}

impl<T> DispatchQueue<T> {
    /// An empty queue: [`PrioritizedQueue::new`] with `ms_pq_max_tokens_per_priority` and `ms_pq_min_cost`.
    #[must_use]
    pub fn new(max_tokens: u32, min_cost: u32) -> Self {
        Self { queue: PrioritizedQueue::new(max_tokens, min_cost), stopped: false }
    }

    /// Adds a message, received since `stamp`; gives it back when stopped.
    ///
    /// `connection` is the class whose turn it takes, 0 for loopback. `cost` matters below priority 64
    /// only; it is the length of the data, unless the kind of message says something else.
    pub fn enqueue(
        &mut self,
        priority: u16,
        connection: u64,
        cost: u64,
        stamp: Instant,
        item: T,
    ) -> Result<(), T> {
        if self.stopped {
            return Err(item);
        }
        let entry = Entry { received: Some(stamp), item };
        if priority >= PRIORITY_LOW {
            self.queue.push_strict(connection, priority, entry);
        } else {
            self.queue.push(connection, priority, cost, entry);
        }
        Ok(())
    }

    /// Adds an event; gives it back when stopped.
    pub fn event(&mut self, item: T) -> Result<(), T> {
        if self.stopped {
            return Err(item);
        }
        self.queue.push_strict(LOCAL, PRIORITY_HIGHEST, Entry { received: None, item });
        Ok(())
    }

    /// Takes out what is to be dispatched next. From then on, no [`discard`](Self::discard) reaches it.
    pub fn pop(&mut self) -> Option<T> {
        self.queue.pop().map(|entry| entry.item)
    }

    /// Removes the messages of a connection, of all priorities. Never events, nor loopback messages.
    #[must_use = "the items hold throttle permits"]
    pub fn discard(&mut self, connection: u64) -> Vec<T> {
        if connection == LOCAL {
            return Vec::new();
        }
        self.queue.remove_class(&connection).into_iter().map(|entry| entry.item).collect()
    }

    /// Closes the queue: removes all messages, keeps the events for [`pop`](Self::pop), accepts nothing more.
    #[must_use = "the items hold throttle permits"]
    pub fn stop(&mut self) -> Vec<T> {
        self.stopped = true;
        let all = std::iter::from_fn(|| self.queue.pop());
        let (messages, events): (Vec<_>, Vec<_>) = all.partition(|entry| entry.received.is_some());
        for event in events {
            self.queue.push_strict(LOCAL, PRIORITY_HIGHEST, event);
        }
        messages.into_iter().map(|entry| entry.item).collect()
    }

    /// How many messages and events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How long ago the oldest waiting message began to arrive; nothing if there is none. It looks at each.
    #[must_use]
    pub fn max_age(&self, now: Instant) -> Duration {
        let oldest = self.queue.iter().filter_map(|entry| entry.received).min();
        oldest.map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest))
    }
}

impl<T> Default for DispatchQueue<T> {
    /// With Ceph's default options.
    fn default() -> Self {
        Self::new(MAX_TOKENS, MIN_COST)
    }
}

#[derive(Debug)]
struct Entry<T> {
    /// When a message began to arrive; events have none.
    received: Option<Instant>,
    item: T,
}

/// A queue by priority, with turns for classes within one.
///
/// Strict entries go first, the highest priority first. Weighted ones share what remains: each priority
/// has a bucket of tokens, at first empty, and its entries have costs. [`pop`](Self::pop) serves
/// 1. the highest strict priority;
/// 2. else, in *ascending* priority, the first whose next entry costs **less than** its tokens, and takes
///    the cost out of the bucket;
/// 3. else the highest weighted priority, without taking tokens.
///
/// After 2 and 3, with that cost `c` and the sum `t` of the weighted priorities that are left, each of
/// them receives `priority × c / t + 1` tokens (rounded down; nothing if `t` = 0), up to the maximum. A
/// priority without entries has no bucket.
///
/// Within a priority the classes take turns in ascending order, one entry each. A class that joins waits
/// for its place to come round.
///
/// Ceph: `src/common/PrioritizedQueue.h`.
#[derive(Debug)]
pub struct PrioritizedQueue<T, Class> {
    strict: BTreeMap<u16, Turns<T, Class>>,
    weighted: BTreeMap<u16, Bucket<T, Class>>,
    len: usize,
    max_tokens: u64,
    min_cost: u64,
}

impl<T, Class: Ord + Clone> PrioritizedQueue<T, Class> {
    /// An empty queue whose buckets hold at most `max_tokens`; costs are raised to `min_cost`, then cut at
    /// `max_tokens`.
    #[must_use]
    pub fn new(max_tokens: u32, min_cost: u32) -> Self {
        Self {
            strict: BTreeMap::new(),
            weighted: BTreeMap::new(),
            len: 0,
            max_tokens: max_tokens.into(),
            min_cost: min_cost.into(),
        }
    }

    /// Adds an entry that is served before all weighted ones.
    pub fn push_strict(&mut self, class: Class, priority: u16, item: T) {
        self.strict.entry(priority).or_insert(Turns::NONE).push(class, item);
        self.len += 1;
    }

    /// Adds a weighted entry.
    pub fn push(&mut self, class: Class, priority: u16, cost: u64, item: T) {
        let cost = cost.max(self.min_cost).min(self.max_tokens);
        let bucket = self.weighted.entry(priority).or_insert(Bucket { tokens: 0, turns: Turns::NONE });
        bucket.turns.push(class, (cost, item));
        self.len += 1;
    }

    /// Takes out the next entry.
    pub fn pop(&mut self) -> Option<T> {
        let item = match self.strict.last_entry() {
            Some(mut highest) => {
                let item = highest.get_mut().pop()?;
                if highest.get().classes.is_empty() {
                    highest.remove();
                }
                item
            }
            None => self.pop_weighted()?,
        };
        self.len -= 1;
        Some(item)
    }

    /// Removes all entries of a class: the highest priority first, each in order.
    #[must_use]
    pub fn remove_class(&mut self, class: &Class) -> Vec<T> {
        let mut removed = Vec::new();
        for turns in self.strict.values_mut().rev() {
            removed.extend(turns.remove(class));
        }
        for bucket in self.weighted.values_mut().rev() {
            removed.extend(bucket.turns.remove(class).into_iter().map(|(_, item)| item));
        }
        self.strict.retain(|_, turns| !turns.classes.is_empty());
        self.weighted.retain(|_, bucket| !bucket.turns.classes.is_empty());
        self.len -= removed.len();
        removed
    }

    /// All entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let strict = self.strict.values().flat_map(|turns| turns.classes.values()).flatten();
        let weighted = self.weighted.values().flat_map(|bucket| bucket.turns.classes.values()).flatten();
        strict.chain(weighted.map(|(_, item)| item))
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn pop_weighted(&mut self) -> Option<T> {
        let affordable = self.weighted.iter().find_map(|(priority, bucket)| {
            let (cost, _) = bucket.turns.first()?;
            (*cost < bucket.tokens).then_some(*priority)
        });
        let priority = affordable.or_else(|| self.weighted.keys().next_back().copied())?;
        let bucket = self.weighted.get_mut(&priority)?;
        let (cost, item) = bucket.turns.pop()?;
        if affordable.is_some() {
            bucket.tokens -= cost;
        }
        if bucket.turns.classes.is_empty() {
            self.weighted.remove(&priority);
        }
        self.distribute(cost);
        Some(item)
    }

    /// Shares out the cost of what was popped.
    fn distribute(&mut self, cost: u64) {
        let total = self.weighted.keys().copied().map(u64::from).sum();
        for (priority, bucket) in &mut self.weighted {
            if let Some(share) = (u64::from(*priority) * cost).checked_div(total) {
                bucket.tokens = (bucket.tokens + share + 1).min(self.max_tokens);
            }
        }
    }
}

/// A weighted priority: entries with costs, and what it may spend.
#[derive(Debug)]
struct Bucket<T, Class> {
    tokens: u64,
    turns: Turns<(u64, T), Class>,
}

/// One priority: classes that take turns.
#[derive(Debug)]
struct Turns<T, Class> {
    /// No queue in it is empty.
    classes: BTreeMap<Class, VecDeque<T>>,
    /// Whose turn it is: a key of `classes`, unless that is empty.
    next: Option<Class>,
}

impl<T, Class: Ord + Clone> Turns<T, Class> {
    const NONE: Self = Self { classes: BTreeMap::new(), next: None };

    fn push(&mut self, class: Class, item: T) {
        self.next.get_or_insert_with(|| class.clone());
        self.classes.entry(class).or_default().push_back(item);
    }

    fn first(&self) -> Option<&T> {
        self.classes.get(self.next.as_ref()?)?.front()
    }

    fn pop(&mut self) -> Option<T> {
        let class = self.next.clone()?;
        let queue = self.classes.get_mut(&class)?;
        let item = queue.pop_front()?;
        let emptied = queue.is_empty();
        self.pass_on(&class);
        if emptied {
            self.remove(&class);
        }
        Some(item)
    }

    fn remove(&mut self, class: &Class) -> VecDeque<T> {
        if self.next.as_ref() == Some(class) {
            self.pass_on(class);
        }
        let removed = self.classes.remove(class).unwrap_or_default();
        if self.classes.is_empty() {
            self.next = None;
        }
        removed
    }

    /// Gives the turn to the class after `class`, in a circle.
    fn pass_on(&mut self, class: &Class) {
        let mut after = self.classes.range((Bound::Excluded(class), Bound::Unbounded));
        self.next = after.next().or_else(|| self.classes.first_key_value()).map(|(class, _)| class.clone());
    }
}

/// The lowest priority that is served strictly before all lower ones. Ceph: `CEPH_MSG_PRIO_LOW`.
pub const PRIORITY_LOW: u16 = 64;
/// The priority of events. Ceph: `CEPH_MSG_PRIO_HIGHEST`.
pub const PRIORITY_HIGHEST: u16 = 255;

/// The class of events and of loopback messages; connections count from 1.
const LOCAL: u64 = 0;
/// The default of `ms_pq_max_tokens_per_priority`.
const MAX_TOKENS: u32 = 16 << 20;
/// The default of `ms_pq_min_cost`.
const MIN_COST: u32 = 64 << 10;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    type Queue = PrioritizedQueue<u32, u32>;

    fn drain(queue: &mut Queue) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    fn drain_all<T>(queue: &mut DispatchQueue<T>) -> Vec<T> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    fn tokens(queue: &Queue) -> Vec<(u16, u64)> {
        queue.weighted.iter().map(|(priority, bucket)| (*priority, bucket.tokens)).collect()
    }

    /// 0 to 99, shuffled: multiples of a generator of the group modulo 101.
    fn shuffled() -> impl Iterator<Item = u32> {
        (1..=100).scan(1, |at, _| {
            *at = *at * 2 % 101;
            Some(*at - 1)
        })
    }

    #[expect(clippy::disallowed_methods, reason = "there is no other way to some instant")]
    fn start() -> Instant {
        Instant::now()
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    // The cases of Ceph's src/test/common/test_prioritized_queue.cc.

    #[test]
    fn capacity() {
        let mut queue = Queue::new(50, 10);
        assert!(queue.is_empty());
        queue.push_strict(1, 0, 0);
        assert_eq!((queue.is_empty(), queue.len()), (false, 1));
        for _ in 0..3 {
            queue.push(1, 0, 10, 0);
        }
        for len in (1..=4).rev() {
            assert_eq!((queue.is_empty(), queue.len(), queue.iter().count()), (false, len, len));
            assert_eq!(queue.pop(), Some(0));
        }
        assert_eq!((queue.is_empty(), queue.len(), queue.pop()), (true, 0, None));
    }

    #[test]
    fn strict() {
        let mut queue = Queue::new(50, 1);
        for item in shuffled() {
            queue.push_strict(0, item as u16, item);
        }
        assert_eq!(drain(&mut queue), (0..100).rev().collect::<Vec<_>>());
    }

    #[test]
    fn lowest_among_eligible_otherwise_highest() {
        let mut queue = Queue::new(100, 0);
        for item in shuffled() {
            queue.push(0, item as u16, if item % 5 == 0 { 100 } else { 0 }, item);
        }
        assert_eq!(queue.pop(), Some(99)); // no bucket has tokens
        let cheap = (0..99).filter(|item| item % 5 != 0);
        let dear = (0..99).rev().filter(|item| item % 5 == 0);
        assert_eq!(drain(&mut queue), cheap.chain(dear).collect::<Vec<_>>());
    }

    #[test]
    fn fairness_by_class() {
        let mut queue = Queue::new(50, 1);
        for item in shuffled() {
            queue.push((item + 43) % 4, 0, 1, item);
        }
        let mut served = [0; 4];
        for _ in 0..50 {
            served[(queue.pop().unwrap() as usize + 43) % 4] += 1;
        }
        served.sort_unstable();
        assert_eq!(served, [12, 12, 13, 13]);
    }

    #[test]
    fn remove_by_class() {
        let mut queue = Queue::new(50, 1);
        for item in shuffled() {
            queue.push((item + 43) % 4, 0, 0, item);
        }
        let of_class = |item: &u32| (item + 43) % 4 == 2;
        assert_eq!(queue.remove_class(&2), shuffled().filter(of_class).collect::<Vec<_>>());
        assert_eq!(queue.len(), 75);
        assert!(queue.remove_class(&2).is_empty());
        let mut rest = drain(&mut queue);
        rest.sort_unstable();
        assert_eq!(rest, (0..100).filter(|item| !of_class(item)).collect::<Vec<_>>());
    }

    // Worked out by hand from the rules.

    #[test]
    fn tokens_by_hand() {
        let mut queue = Queue::new(100, 10);
        for (priority, cost, item) in [(10, 5, 100), (10, 20, 101), (30, 40, 300), (30, 400, 301)] {
            queue.push(1, priority, cost, item);
        }
        assert_eq!(tokens(&queue), [(10, 0), (30, 0)]);

        // Nobody can pay: the highest, cost 40, t = 40. Shares 10·40/40 + 1 and 30·40/40 + 1.
        assert_eq!(queue.pop(), Some(300));
        assert_eq!(tokens(&queue), [(10, 11), (30, 31)]);

        // 10 pays its 5, raised to 10: 1 left. Shares 10·10/40 + 1 = 3 and 30·10/40 + 1 = 8.
        assert_eq!(queue.pop(), Some(100));
        assert_eq!(tokens(&queue), [(10, 4), (30, 39)]);

        // Neither 20 < 4, nor 400 (cut at 100) < 39: the highest, which is empty then. Share 10·100/10 + 1,
        // cut at 100.
        assert_eq!(queue.pop(), Some(301));
        assert_eq!(tokens(&queue), [(10, 100)]);

        // A new bucket starts empty; 10 pays 20, and has nothing left to receive a share.
        queue.push(1, 20, 10, 200);
        assert_eq!(tokens(&queue), [(10, 100), (20, 0)]);
        assert_eq!(queue.pop(), Some(101));
        assert_eq!(tokens(&queue), [(20, 21)]);
        assert_eq!(queue.pop(), Some(200));
        assert_eq!(queue.pop(), None);
    }

    #[test]
    fn exactly_enough_tokens_do_not_pay() {
        let mut queue = Queue::new(100, 0);
        for (priority, cost, item) in [(1, 6, 10), (9, 50, 90), (9, 50, 91), (9, 0, 92)] {
            queue.push(1, priority, cost, item);
        }
        assert_eq!(queue.pop(), Some(90));
        assert_eq!(tokens(&queue), [(1, 6), (9, 46)]); // 1·50/10 + 1, 9·50/10 + 1
        assert_eq!(queue.pop(), Some(91)); // neither 6 < 6 nor 50 < 46
        assert_eq!(tokens(&queue), [(1, 12), (9, 92)]);
        assert_eq!(queue.pop(), Some(10)); // 6 < 12: the lowest that can pay
        assert_eq!(tokens(&queue), [(9, 99)]); // 9·6/9 + 1
        assert_eq!(queue.pop(), Some(92));
    }

    #[test]
    fn priority_zero_alone_receives_no_tokens() {
        let mut queue = Queue::new(100, 1);
        for item in 0..3 {
            queue.push(1, 0, 50, item);
        }
        queue.push(1, 5, 50, 5);
        assert_eq!((queue.pop(), tokens(&queue)), (Some(5), vec![(0, 0)]));
        assert_eq!((queue.pop(), tokens(&queue)), (Some(0), vec![(0, 0)]));
        queue.push(1, 5, 50, 5);
        queue.push(1, 5, 50, 6);
        assert_eq!((queue.pop(), tokens(&queue)), (Some(5), vec![(0, 1), (5, 51)]));
        assert_eq!(drain(&mut queue), [6, 1, 2]);
    }

    #[test]
    fn a_class_that_joins_waits_for_its_place() {
        let mut queue = Queue::new(50, 1);
        for (class, item) in [(20, 200), (10, 100), (20, 201), (30, 300), (10, 101)] {
            queue.push_strict(class, 1, item);
        }
        assert_eq!(queue.pop(), Some(200)); // the first to come keeps the turn
        queue.push_strict(25, 1, 250); // before 30, whose turn it is
        queue.push_strict(35, 1, 350);
        assert_eq!(drain(&mut queue), [300, 350, 100, 201, 250, 101]);
    }

    #[test]
    fn a_removed_class_passes_its_turn_on() {
        let mut queue = Queue::new(50, 1);
        for (class, priority, item) in [(2, 7, 20), (1, 7, 10), (3, 7, 30), (2, 9, 21), (2, 7, 22)] {
            queue.push_strict(class, priority, item);
        }
        queue.push(2, 5, 0, 23);
        assert_eq!(queue.remove_class(&2), [21, 20, 22, 23]);
        assert_eq!((queue.strict.len(), queue.weighted.len()), (1, 0));
        assert_eq!(drain(&mut queue), [30, 10]);
    }

    // The dispatch queue.

    #[test]
    fn events_overtake_messages() {
        let now = start();
        let mut queue = DispatchQueue::default();
        queue.enqueue(10, 1, 0, now, "low").unwrap();
        queue.enqueue(254, 1, 0, now, "high").unwrap();
        queue.enqueue(255, LOCAL, 0, now, "loopback").unwrap();
        queue.event("first event").unwrap();
        queue.enqueue(255, LOCAL, 0, now, "more loopback").unwrap();
        queue.event("second event").unwrap();
        queue.enqueue(300, 1, 0, now, "beyond").unwrap();
        assert_eq!(queue.len(), 7);
        let order = ["beyond", "loopback", "first event", "more loopback", "second event", "high", "low"];
        assert_eq!(drain_all(&mut queue), order);
        assert!(queue.is_empty());
    }

    #[test]
    fn connections_take_turns_and_keep_their_order() {
        let now = start();
        let mut queue = DispatchQueue::default();
        for (connection, item) in [(1, 10), (1, 11), (1, 12), (2, 20), (2, 21), (3, 30)] {
            queue.enqueue(127, connection, 0, now, item).unwrap();
        }
        queue.enqueue(196, 1, 0, now, 13).unwrap(); // another priority of the same connection
        assert_eq!(drain_all(&mut queue), [13, 10, 20, 30, 11, 21, 12]);
    }

    #[test]
    fn strict_begins_at_low() {
        let now = start();
        let mut queue = DispatchQueue::new(100, 10);
        queue.enqueue(63, 1, 50, now, 63).unwrap();
        queue.enqueue(64, 1, u64::MAX, now, 64).unwrap();
        assert_eq!((queue.queue.strict.len(), queue.queue.weighted.len()), (1, 1));
        assert_eq!(drain_all(&mut queue), [64, 63]);
    }

    #[test]
    fn discard() {
        let now = start();
        let mut queue = DispatchQueue::default();
        for (priority, connection, item) in
            [(10, 1, 100), (127, 1, 101), (127, 2, 200), (127, 1, 102), (255, 1, 103), (127, LOCAL, 0)]
        {
            queue.enqueue(priority, connection, 0, now, item).unwrap();
        }
        queue.event(1).unwrap();
        assert_eq!(queue.pop(), Some(103)); // taken out already, its turn at 255 was first
        assert_eq!(queue.discard(1), [101, 102, 100]);
        assert!(queue.discard(1).is_empty());
        assert!(queue.discard(LOCAL).is_empty());
        assert_eq!(queue.len(), 3);
        assert_eq!(drain_all(&mut queue), [1, 200, 0]);
    }

    #[test]
    fn stop() {
        let now = start();
        let mut queue = DispatchQueue::default();
        queue.enqueue(127, 1, 0, now, "message").unwrap();
        queue.event("connect").unwrap();
        queue.enqueue(255, LOCAL, 0, now, "loopback").unwrap();
        queue.event("reset").unwrap();
        assert_eq!(queue.stop(), ["loopback", "message"]);
        assert_eq!(queue.enqueue(127, 1, 0, now, "late"), Err("late"));
        assert_eq!(queue.event("late event"), Err("late event"));
        assert!(queue.stop().is_empty());
        assert_eq!((queue.len(), queue.max_age(now + seconds(9))), (2, Duration::ZERO));
        assert_eq!(drain_all(&mut queue), ["connect", "reset"]);
    }

    #[test]
    fn max_age() {
        let now = start();
        let mut queue = DispatchQueue::default();
        assert_eq!(queue.max_age(now), Duration::ZERO);
        queue.event(0).unwrap();
        queue.enqueue(10, 1, 0, now + seconds(2), 1).unwrap();
        queue.enqueue(127, 2, 0, now + seconds(1), 2).unwrap();
        queue.enqueue(127, 3, 0, now + seconds(3), 3).unwrap();
        let later = now + seconds(10);
        assert_eq!(queue.max_age(later), seconds(9));
        assert_eq!(queue.max_age(now), Duration::ZERO);
        assert_eq!((queue.pop(), queue.pop()), (Some(0), Some(2)));
        assert_eq!(queue.max_age(later), seconds(8));
        assert_eq!(queue.discard(1), [1]);
        assert_eq!(queue.max_age(later), seconds(7));
    }

    proptest! {
        /// Nothing is lost or invented, and each class of each priority stays in order.
        #[test]
        fn conserves(entries in vec((any::<bool>(), 0u16..4, 0u32..4, 0u64..200, any::<bool>()), 0..200)) {
            let mut queue = PrioritizedQueue::new(100, 10);
            let mut popped = Vec::new();
            for (number, (strict, priority, class, cost, pop)) in entries.iter().copied().enumerate() {
                let item = (strict, priority, class, number);
                if strict {
                    queue.push_strict(class, priority, item);
                } else {
                    queue.push(class, priority, cost, item);
                }
                if pop {
                    popped.extend(queue.pop());
                }
            }
            prop_assert_eq!(queue.len() + popped.len(), entries.len());
            popped.extend(queue.remove_class(&2));
            popped.extend(std::iter::from_fn(|| queue.pop()));
            prop_assert!(queue.is_empty() && queue.strict.is_empty() && queue.weighted.is_empty());
            popped.sort_by_key(|(strict, priority, class, _)| (*strict, *priority, *class)); // stable
            prop_assert!(popped.is_sorted());
            prop_assert_eq!(popped.len(), entries.len());
        }
    }
}
