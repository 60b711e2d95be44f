//! Does a session keep the promise "once, in order", seen as a model of two lists?
//!
//! The model knows what each of two lossless peers was asked to send, and nothing of connections. Whatever the network
//! does in between: what the other side has received is, in each priority, a beginning of the sender's list; and all of
//! it in the end. (Across priorities nothing is promised: urgent messages overtake others, and what a lost connection
//! leaves unacknowledged goes first of all.) Replies of the simulator's applications are in the lists too.
//!
//! # Where v1 may reset
//! Nobody loses state here, so v2 tells nobody of a reset, ever. In v1 (session spec §6.2) a session has no name: that a
//! peer begins anew is seen by its connect_seq alone, 0 until it has read the first answer that opens. If a connection is
//! lost before that, one side counts it and the other does not, and a side with resetcheck takes the other for one that
//! has lost its state: row 11 if it is the peer's claim that is too small, row 17 (RESETSESSION) if it is the own that is
//! too small to compare with. Then the side that counts is told of a reset. That is all that may happen:
//!
//! * only if a side has resetcheck;
//! * only until both ends of one connection have been open at a time: from then on both count;
//! * only what the side that is told had sent by then, and had not been received, is void: it may yet arrive (by an
//!   answer that is read late), or never.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod sim;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cephwire_protocol::codec::priority;
use cephwire_protocol::{Policy, Version};
use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use sim::ledger::Note;
use sim::{Op, Setup, World};

/// What was asked for: of each node the priorities of its messages, in order.
#[derive(Clone, Debug)]
struct Promise {
    seed: u64,
    v1: bool,
    pair: usize,
    sent: [Vec<u16>; 2],
}

fn pair(which: usize) -> [Policy; 2] {
    match which {
        0 => [Policy::lossless_client(), Policy::stateful_server()],
        1 => [Policy::lossless_peer(), Policy::lossless_peer()],
        _ => [Policy::lossless_peer_reuse(), Policy::lossless_peer()],
    }
}

impl ReferenceStateMachine for Promise {
    type State = Self;
    type Transition = Op;

    fn init_state() -> BoxedStrategy<Self> {
        (any::<u64>(), any::<bool>(), 0..3usize)
            .prop_map(|(seed, v1, pair)| Self { seed, v1, pair, sent: Default::default() })
            .boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Op> {
        // Servers answer what they are sent (the simulator's applications do); they do not begin.
        let servers = usize::from(state.pair == 0);
        let priorities = prop_oneof![3 => Just(priority::DEFAULT), 1 => Just(64), 1 => Just(255)];
        let send = (0..2 - servers, priorities).prop_map(|(from, priority)| Op::Send {
            from,
            to: 1 - from,
            priority,
        });
        prop_oneof![
            6 => send,
            4 => Just(Op::Cut),
            1 => Just(Op::HalfOpen),
            1 => Just(Op::Pause),
            1 => Just(Op::Post { node: 1, to: 0 }),
            1 => (0..2usize).prop_map(|node| Op::Stall { node }),
            1 => (0..2usize).prop_map(|node| Op::Keepalive { node, to: 1 - node }),
            1 => (0..4u64).prop_map(Op::Refuse),
            4 => (0..20_000u64).prop_map(|micros| Op::Run(Duration::from_micros(micros))),
            1 => (0..40u64).prop_map(|secs| Op::Run(Duration::from_secs(secs))),
        ]
        .boxed()
    }

    fn preconditions(state: &Self, transition: &Op) -> bool {
        !matches!(transition, Op::Send { from: 1, .. }) || state.pair != 0
    }

    fn apply(mut state: Self, transition: &Op) -> Self {
        if let Op::Send { from, priority, .. } = transition {
            state.sent[*from].push(*priority);
        }
        state
    }
}

/// What one side owes the other, in one priority.
#[derive(Debug, Default)]
struct Owed {
    /// The messages sent and not received, and whether a reset made them void.
    list: VecDeque<(u64, bool)>,
}

impl Owed {
    /// The next message has arrived: nothing that is not void may stand before it.
    fn received(&mut self, tid: u64) {
        while let Some((next, void)) = self.list.pop_front() {
            if next == tid {
                return;
            }
            assert!(void, "message {next} does not come before {tid}");
        }
        panic!("message {tid} comes twice, or behind a later one");
    }
}

/// Goes through all that the applications did and were told. Returns what is still owed by each node.
fn lists(history: &[Note], promise: &Promise) -> [BTreeMap<u16, Owed>; 2] {
    let mut owed: [BTreeMap<u16, Owed>; 2] = Default::default();
    let mut both_open = false;
    for note in history {
        match *note {
            Note::Sent { from, tid, priority, .. } => {
                owed[from].entry(priority).or_default().list.push_back((tid, false));
            }
            Note::Received { by, tid, priority } => {
                owed[1 - by].entry(priority).or_default().received(tid);
            }
            Note::Opened { met } => both_open |= met,
            Note::Reset { node } => {
                let resetcheck = pair(promise.pair).iter().any(|policy| policy.resetcheck);
                assert!(promise.v1 && resetcheck, "node {node} is told of a reset: nobody has lost anything");
                assert!(!both_open, "node {node} is told of a reset, though both had opened a connection");
                for (_, void) in owed[node].values_mut().flat_map(|owed| &mut owed.list) {
                    *void = true;
                }
            }
        }
    }
    owed
}

struct Sessions;

impl StateMachineTest for Sessions {
    type SystemUnderTest = World;
    type Reference = Promise;

    fn init_test(promise: &Promise) -> World {
        let version = if promise.v1 { Version::V1 } else { Version::V2 };
        let [a, b] = pair(promise.pair);
        let policies = vec![vec![Policy::default(), a], vec![b, Policy::default()]];
        let (seed, throttled) = (promise.seed, promise.seed.is_multiple_of(2));
        World::new(Setup { seed, version, revision_1: vec![true; 2], throttled, policies })
    }

    fn apply(mut world: World, _: &Promise, op: Op) -> World {
        world.apply(op);
        world
    }

    fn check_invariants(world: &World, promise: &Promise) {
        let history = world.ledger.history();
        // All that was asked for was taken, and nothing else was.
        for (node, wanted) in promise.sent.iter().enumerate() {
            let begun = |note: &Note| match *note {
                Note::Sent { from, priority, reply: false, .. } if from == node => Some(priority),
                _ => None,
            };
            let taken: Vec<_> = history.iter().filter_map(begun).collect();
            assert_eq!(taken, *wanted, "what node {node} has taken");
        }
        lists(history, promise);
    }

    fn teardown(mut world: World, promise: Promise) {
        world.settle();
        for (node, owed) in lists(world.ledger.history(), &promise).iter().enumerate() {
            let missing = owed.values().flat_map(|owed| &owed.list).filter(|(_, void)| !void);
            assert_eq!(missing.count(), 0, "node {node} sent what does not arrive: {owed:?}");
        }
        world.audit();
    }
}

prop_state_machine! {
    #![proptest_config(Config { cases: 384, failure_persistence: None, ..Config::default() })]

    #[test]
    fn once_and_in_order(sequential 1..60 => Sessions);
}
