//! Priorities, token buckets, turns and discarding, by known answers and by a model.

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
