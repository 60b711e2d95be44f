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
mod tests;
