//! Does a session keep the promise "once, in order", seen as a model of two lists?
//!
//! The model knows what each of two lossless peers sent, and nothing of connections. Whatever the network does
//! in between, what the other side has received is a beginning of that list; and all of it in the end.

#[expect(dead_code, reason = "nobody loses state here")]
mod sim;

use std::time::Duration;

use cephwire_protocol::{Policy, Version};
use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use sim::{Op, Setup, World};

/// What was sent, by node: how many messages of the one priority there is.
#[derive(Clone, Debug)]
struct Promise {
    seed: u64,
    v1: bool,
    pair: usize,
    sent: usize,
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
            .prop_map(|(seed, v1, pair)| Self { seed, v1, pair, sent: 0 })
            .boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Op> {
        // Servers answer what they are sent (the simulator's applications do); they do not begin.
        let servers = usize::from(state.pair == 0);
        let send = (0..2 - servers).prop_map(|from| Op::Send { from, to: 1 - from, priority: 127 });
        prop_oneof![
            4 => send,
            2 => Just(Op::Cut),
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

    fn apply(mut state: Self, transition: &Op) -> Self {
        state.sent += usize::from(matches!(transition, Op::Send { .. }));
        state
    }
}

struct Sessions;

impl StateMachineTest for Sessions {
    type SystemUnderTest = (World, bool);
    type Reference = Promise;

    fn init_test(promise: &Promise) -> (World, bool) {
        let version = if promise.v1 { Version::V1 } else { Version::V2 };
        let [a, b] = pair(promise.pair);
        let policies = vec![vec![Policy::default(), a], vec![b, Policy::default()]];
        let (seed, throttled) = (promise.seed, promise.seed.is_multiple_of(2));
        let world = World::new(Setup { seed, version, revision_1: vec![true; 2], throttled, policies });
        // A server of v1 cannot know whether a client that begins anew has lost its state.
        (world, promise.v1 && promise.pair != 1)
    }

    fn apply((mut world, v1): (World, bool), promise: &Promise, op: Op) -> (World, bool) {
        world.apply(op);
        assert!(world.ledger.next_tid() > promise.sent as u64, "a message was not taken");
        (world, v1)
    }

    fn check_invariants((world, _): &(World, bool), _: &Promise) {
        world.ledger.in_order();
    }

    fn teardown((mut world, v1): (World, bool), promise: Promise) {
        world.settle();
        world.audit();
        assert!(world.ledger.count() >= promise.sent || v1, "{} arrived", world.ledger.count());
        assert!(!world.ledger.is_disturbed() && (v1 || world.ledger.resets() == 0), "a reset");
    }
}

prop_state_machine! {
    #![proptest_config(Config { cases: 64, failure_persistence: None, ..Config::default() })]

    #[test]
    fn once_and_in_order(sequential 1..60 => Sessions);
}
