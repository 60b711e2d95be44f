//! Ceph's arithmetic, waiting in order, and a model with random requests.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

const MAX: u64 = 10;

/// The permit of a request that does not wait.
fn granted(throttle: &Arc<Throttle>, count: u64) -> Permit {
    match throttle.get(count, || panic!("woken without waiting")) {
        Outcome::Granted(permit) => permit,
        Outcome::Waiting(ticket) => panic!("{ticket:?} waits"),
    }
}

/// The ticket of a request that waits, and how often it was woken.
fn waiting(throttle: &Arc<Throttle>, count: u64) -> (Ticket, Arc<AtomicUsize>) {
    let woken = Arc::new(AtomicUsize::new(0));
    let note = Arc::clone(&woken);
    match throttle.get(count, move || _ = note.fetch_add(1, Ordering::Relaxed)) {
        Outcome::Granted(permit) => panic!("{permit:?} does not wait"),
        Outcome::Waiting(ticket) => (ticket, woken),
    }
}

fn claimed(ticket: Ticket) -> Permit {
    match ticket.claim() {
        Outcome::Granted(permit) => permit,
        Outcome::Waiting(ticket) => panic!("{ticket:?} waits"),
    }
}

#[test]
fn construction() {
    let throttle = Throttle::new(MAX);
    assert_eq!((throttle.max(), throttle.current(), throttle.waiters()), (MAX, 0, 0));
    assert_eq!(throttle.counters(), Counters::default());
    assert_eq!(format!("{throttle:?}"), "Throttle(0 of 10, 0 waiting)");
}

#[test]
fn take_never_waits() {
    let throttle = Throttle::new(MAX);
    let _first = throttle.take(MAX);
    assert_eq!(throttle.current(), MAX);
    let _second = throttle.take(MAX);
    assert_eq!(throttle.current(), 2 * MAX);
}

#[test]
fn get_within_the_limit() {
    let throttle = Throttle::new(0);
    throttle.set_max(MAX);
    assert_eq!(throttle.max(), MAX);
    for count in [MAX, 5, MAX] {
        let permit = granted(&throttle, count);
        assert_eq!(throttle.current(), count);
        drop(permit);
        assert_eq!(throttle.current(), 0);
    }

    let all = granted(&throttle, MAX);
    assert!(throttle.try_get(1).is_none());
    throttle.set_max(MAX + 1);
    let one = granted(&throttle, 1);
    assert_eq!(throttle.current(), MAX + 1);
    drop((all, one));
    assert_eq!(throttle.current(), 0);

    throttle.set_max(MAX);
    let _none = granted(&throttle, 0);
    let _all = granted(&throttle, MAX);
    assert!(throttle.try_get(1).is_none());
}

#[test]
fn get_waits_and_put_wakes() {
    let throttle = Throttle::new(MAX);
    let all = granted(&throttle, MAX);
    assert!(throttle.try_get(MAX).is_none());
    let (ticket, woken) = waiting(&throttle, 7);
    assert_eq!((throttle.waiters(), ticket.is_granted()), (1, false));
    let Outcome::Waiting(ticket) = ticket.claim() else { panic!("granted") };

    drop(all);
    assert_eq!((throttle.waiters(), throttle.current(), woken.load(Ordering::Relaxed)), (0, 7, 1));
    drop(claimed(ticket));
    assert_eq!((throttle.current(), woken.load(Ordering::Relaxed)), (0, 1));
}

#[test]
fn waiters_are_served_in_order() {
    let throttle = Throttle::new(MAX);
    let half = granted(&throttle, MAX / 2);
    assert!(throttle.try_get(MAX).is_none());
    let (all, _) = waiting(&throttle, MAX);
    let (one, _) = waiting(&throttle, 1); // there is room, but not before its turn
    assert!(throttle.try_get(0).is_none());

    drop(half);
    assert!(all.is_granted() && !one.is_granted());
    drop(claimed(all));
    assert_eq!(claimed(one).count(), 1);
    assert_eq!(throttle.current(), 0);
}

#[test]
fn get_or_fail() {
    let throttle = Throttle::new(0);
    let permits = [throttle.try_get(5), throttle.try_get(5), throttle.try_get(1 << 40)];
    assert!(permits.iter().all(Option::is_some));
    assert_eq!(throttle.current(), (1 << 40) + 10);

    let throttle = Throttle::new(MAX);
    drop(throttle.try_get(MAX).unwrap());
    let twice = throttle.try_get(2 * MAX).unwrap();
    assert!(throttle.try_get(1).is_none());
    assert!(throttle.try_get(2 * MAX).is_none());
    drop(twice);
    let _all = throttle.try_get(MAX).unwrap();
    assert!(throttle.try_get(1).is_none());
}

#[test]
fn raising_the_maximum_wakes() {
    let throttle = Throttle::new(0);
    throttle.set_max(MAX);
    drop(granted(&throttle, 0));
    let _half = granted(&throttle, MAX / 2);
    assert!(throttle.try_get(MAX).is_none());
    let (ticket, woken) = waiting(&throttle, MAX);
    throttle.set_max(100 * MAX);
    assert_eq!(woken.load(Ordering::Relaxed), 1);
    drop(claimed(ticket));
    assert_eq!(throttle.current(), MAX / 2);
}

#[test]
fn larger_than_the_maximum() {
    let throttle = Throttle::new(MAX);
    let all = granted(&throttle, MAX);
    let _beyond = granted(&throttle, MAX + 1); // passes while current ≤ max, unlike MAX itself
    let (zero, _) = waiting(&throttle, 0); // even nothing waits above the maximum
    assert_eq!(throttle.current(), 2 * MAX + 1);
    drop(all);
    assert!(!zero.is_granted());
    throttle.set_max(0);
    assert!(zero.is_granted());
}

#[test]
fn a_dropped_ticket_makes_room() {
    let throttle = Throttle::new(MAX);
    let _half = granted(&throttle, MAX / 2);
    let (all, woken) = waiting(&throttle, MAX);
    let (one, _) = waiting(&throttle, 1);
    drop(all);
    assert!(one.is_granted());
    assert_eq!((throttle.current(), woken.load(Ordering::Relaxed)), (MAX / 2 + 1, 0));
    drop(one); // granted, never claimed
    assert_eq!(throttle.current(), MAX / 2);
}

#[test]
fn wakers_may_use_the_throttle() {
    let throttle = Throttle::new(MAX);
    let all = granted(&throttle, MAX);
    let seen = Arc::new(Mutex::new(None));
    let (inner, note) = (Arc::downgrade(&throttle), Arc::clone(&seen));
    let outcome = throttle.get(1, move || {
        *note.lock().unwrap() = inner.upgrade().and_then(|throttle| throttle.try_get(2));
    });
    drop(all);
    assert_eq!(throttle.current(), 3);
    assert!(seen.lock().unwrap().is_some());
    drop((outcome, seen));
    assert_eq!(throttle.current(), 0);

    // A waker that owns a permit returns it when its ticket is dropped.
    let all = granted(&throttle, MAX);
    let outcome = throttle.get(1, move || drop(all));
    drop(outcome);
    assert_eq!(throttle.current(), 0);
}

#[test]
fn permits_are_divisible() {
    let throttle = Throttle::new(MAX);
    let mut permit = granted(&throttle, 8);
    assert!(permit.split(9).is_none());
    let part = permit.split(3).unwrap();
    assert_eq!((permit.count(), part.count(), throttle.current()), (5, 3, 8));
    permit.merge(part).unwrap();
    assert_eq!((permit.count(), throttle.current()), (8, 8));
    let stranger = permit.merge(Throttle::new(MAX).take(1)).unwrap_err();
    assert_eq!((permit.count(), stranger.count()), (8, 1));

    permit.resize(20);
    assert_eq!(throttle.current(), 20);
    let (ticket, _) = waiting(&throttle, 1);
    permit.resize(9);
    assert!(ticket.is_granted());
    permit.resize(0);
    drop(permit);
    assert_eq!(throttle.current(), 1);
}

#[test]
fn counters() {
    let throttle = Throttle::new(MAX);
    let all = granted(&throttle, MAX);
    assert!(throttle.try_get(1).is_none());
    let (ticket, _) = waiting(&throttle, 4);
    drop(all);
    let _two = throttle.try_get(2);
    drop(ticket);
    drop(throttle.take(30));
    drop(throttle.take(0));
    let expected = Counters {
        get_started: 2,
        get: 3,
        get_sum: 16,
        get_or_fail_fail: 1,
        get_or_fail_success: 1,
        take: 2,
        take_sum: 30,
        put: 3,
        put_sum: 44,
        wait: 1,
    };
    assert_eq!(throttle.counters(), expected);
}

/// The rules as they are written, over plain lists.
#[derive(Default)]
struct Model {
    max: i64,
    permits: Vec<(usize, i64)>,
    waiters: Vec<(usize, i64)>,
    woken: Vec<usize>,
}

impl Model {
    fn current(&self) -> i64 {
        self.permits.iter().map(|(_, count)| count).sum()
    }

    fn free(&self, c: i64) -> bool {
        let (count, m) = (self.current(), self.max);
        !(m != 0 && ((c <= m && count + c > m) || (c >= m && count > m)))
    }

    fn settle(&mut self) {
        while !self.waiters.is_empty() && self.free(self.waiters[0].1) {
            let waiter = self.waiters.remove(0);
            self.permits.push(waiter);
            self.woken.push(waiter.0);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Get(u64),
    TryGet(u64),
    Take(u64),
    Drop(usize),
    Claim(usize),
    Resize(usize, u64),
    SetMax(u64),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0u64..16).prop_map(Operation::Get),
        2 => (0u64..16).prop_map(Operation::TryGet),
        1 => (0u64..16).prop_map(Operation::Take),
        4 => any::<usize>().prop_map(Operation::Drop),
        2 => any::<usize>().prop_map(Operation::Claim),
        1 => (any::<usize>(), 0u64..16).prop_map(|(which, count)| Operation::Resize(which, count)),
        1 => (0u64..13).prop_map(Operation::SetMax),
    ]
}

proptest! {
    /// Any sequence of operations has the model's sums, queue and order of waking.
    #[test]
    fn agrees_with_the_model(max in 0u64..13, operations in vec(operation(), 0..120)) {
        let throttle = Throttle::new(max);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut model = Model { max: max as i64, ..Model::default() };
        let mut held: Vec<(usize, Outcome)> = Vec::new();
        for (name, operation) in operations.into_iter().enumerate() {
            let chosen = |which: usize| (!held.is_empty()).then(|| which % held.len());
            match operation {
                Operation::Get(count) => {
                    let note = Arc::clone(&woken);
                    held.push((name, throttle.get(count, move || note.lock().unwrap().push(name))));
                    if model.waiters.is_empty() && model.free(count as i64) {
                        model.permits.push((name, count as i64));
                    } else {
                        model.waiters.push((name, count as i64));
                    }
                }
                Operation::TryGet(count) => {
                    let permit = throttle.try_get(count);
                    let free = model.waiters.is_empty() && model.free(count as i64);
                    prop_assert_eq!(permit.is_some(), free);
                    if let Some(permit) = permit {
                        held.push((name, Outcome::Granted(permit)));
                        model.permits.push((name, count as i64));
                    }
                }
                Operation::Take(count) => {
                    held.push((name, Outcome::Granted(throttle.take(count))));
                    model.permits.push((name, count as i64));
                }
                Operation::Drop(which) => if let Some(chosen) = chosen(which) {
                    let (name, _) = held.swap_remove(chosen);
                    model.permits.retain(|permit| permit.0 != name);
                    model.waiters.retain(|waiter| waiter.0 != name);
                    model.settle();
                },
                Operation::Claim(which) => if let Some(chosen) = chosen(which) {
                    let (name, outcome) = held.swap_remove(chosen);
                    held.push((name, match outcome {
                        Outcome::Waiting(ticket) => ticket.claim(),
                        granted => granted,
                    }));
                    let waits = model.waiters.iter().any(|waiter| waiter.0 == name);
                    prop_assert_eq!(matches!(held.last(), Some((_, Outcome::Waiting(_)))), waits);
                },
                Operation::Resize(which, count) => if let Some(chosen) = chosen(which)
                    && let (name, Outcome::Granted(permit)) = &mut held[chosen]
                {
                    permit.resize(count);
                    let changed = model.permits.iter_mut().find(|permit| permit.0 == *name).unwrap();
                    changed.1 = count as i64;
                    model.settle();
                },
                Operation::SetMax(max) => {
                    throttle.set_max(max);
                    model.max = max as i64;
                    model.settle();
                }
            }
            prop_assert_eq!(throttle.current() as i64, model.current());
            prop_assert_eq!(throttle.waiters(), model.waiters.len());
            prop_assert_eq!(&*woken.lock().unwrap(), &model.woken);
        }
        drop(held);
        prop_assert_eq!((throttle.current(), throttle.waiters()), (0, 0));
        let counters = throttle.counters();
        prop_assert_eq!(counters.get_sum + counters.take_sum, counters.put_sum);
    }
}
