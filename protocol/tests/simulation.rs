//! Does every session keep its promise, whatever happens to the connections?
//!
//! Random schedules over two to four messengers, all pairs of policies, v1, v2.1 and v2.0, with everything that
//! users and networks do ([`sim::Op`]). What must hold at the end of each:
//!
//! * a lossless session delivers each message once and in the order of sending (per priority), unless its
//!   user was told of a reset; where nobody lost state, no user is told;
//! * a lossy one delivers at most once, in order, and tells of every loss;
//! * no session waits for ever, queues are empty, everybody can talk again, keepalives are answered.
//!
//! | variable | meaning |
//! |---|---|
//! | `CEPHWIRE_SIM_RUNS=n` | how many schedules; by default few enough for every `cargo test` |
//! | `CEPHWIRE_SIM_FIRST=n` | the first seed; 0 by default |
//! | `CEPHWIRE_SIM_SEED=n` | this one schedule: what a failure prints |
//! | `CEPHWIRE_SIM_TRACE=1` | prints every step |
//!
//! For many, as CI does: `CEPHWIRE_SIM_RUNS=20000 cargo test --release -p cephwire-protocol --test simulation`.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod sim;

use std::time::Duration;

use cephwire_protocol::codec::priority;
use cephwire_protocol::{Policy, Version};
use sim::{Op, Random, Setup, World};

/// Policies that meet: dialing side, accepting side; both where neither is a server's.
fn pairs() -> Vec<(Policy, Policy)> {
    let clients = [
        Policy::lossy_client(),
        Policy::lossless_client(),
        Policy::lossless_peer(),
        Policy::lossless_peer_reuse(),
    ];
    let servers =
        [Policy::stateless_server(), Policy::stateless_registered_server(), Policy::stateful_server()];
    let mut pairs = Vec::new();
    for (n, client) in clients.iter().enumerate() {
        for other in servers.iter().chain(&clients[n..]) {
            pairs.push((client.clone(), other.clone()));
        }
    }
    pairs
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

#[test]
fn random_schedules() {
    let runs = number("CEPHWIRE_SIM_RUNS").unwrap_or(1000);
    let first = number("CEPHWIRE_SIM_FIRST").unwrap_or_default();
    let seeds = number("CEPHWIRE_SIM_SEED").map_or(first..first + runs, |seed| seed..seed + 1);
    let (mut delivered, mut failed) = (0, Vec::new());
    for seed in seeds {
        match std::panic::catch_unwind(|| schedule(seed)) {
            Ok(count) => delivered += count,
            Err(_) => {
                println!("seed {seed} fails: CEPHWIRE_SIM_SEED={seed} CEPHWIRE_SIM_TRACE=1");
                failed.push(seed);
            }
        }
        assert!(failed.len() < 10, "{failed:?} fail, and that is enough");
    }
    println!("{delivered} messages delivered");
    assert!(failed.is_empty(), "{failed:?} fail");
    assert!(delivered > 0);
}

/// What the seed decides about the nodes.
fn setup(seed: u64, random: &mut Random) -> Setup {
    let pairs = pairs();
    let version = if seed.is_multiple_of(3) { Version::V1 } else { Version::V2 };
    let nodes = random.pick(&[2, 2, 2, 3, 4]);
    let mut policies = vec![vec![Policy::default(); nodes]; nodes];
    // Sometimes one pair of policies for all, sometimes each pair of nodes has its own.
    let same = random.one_in(2);
    for a in 0..nodes {
        for b in a + 1..nodes {
            let which = if same { seed / 3 } else { random.next() };
            let (client, server) = pairs[(which % pairs.len() as u64) as usize].clone();
            let (a, b) = if same || random.one_in(2) { (a, b) } else { (b, a) };
            (policies[a][b], policies[b][a]) = (client, server);
        }
    }
    let old = random.pick(&[0, 0, 2, 1]);
    let revision_1 = (0..nodes).map(|_| old == 0 || old == 2 && random.one_in(2)).collect();
    let throttled = random.one_in(3);
    Setup { seed, version, revision_1, throttled, policies }
}

fn schedule(seed: u64) -> usize {
    let mut random = Random(seed ^ 0x5eed);
    let setup = setup(seed, &mut random);
    let nodes = setup.policies.len() as u64;
    let policies = setup.policies.clone();
    let version = setup.version;
    let mut world = World::new(setup);
    // Most schedules have only some kinds of trouble: together they hide each other.
    let restarts = random.one_in(4);
    let closes = random.one_in(4);
    let silence = random.one_in(3);
    world.apply(Op::Refuse(random.pick(&[0, 0, 3, 10])));
    let pace = random.pick(&[2_000, 10_000, 10_000, 100_000, 3_000_000]);
    for _ in 0..random.below(70) {
        let from = random.below(nodes) as usize;
        let to = (from + 1 + random.below(nodes - 1) as usize) % nodes as usize;
        let priority = random.pick(&[priority::DEFAULT, priority::DEFAULT, 64, 196, 255]);
        match random.below(30) {
            0..14 => world.apply(Op::Send { from, to, priority }),
            14 => world.apply(Op::Cross { a: from, b: to }),
            15..20 => world.apply(Op::Cut),
            20 if silence => world.apply(Op::HalfOpen),
            21 => world.apply(Op::Pause),
            22 => world.apply(Op::Stall { node: from }),
            23 if restarts => world.apply(Op::Restart { node: from, renamed: random.one_in(3) }),
            24 if closes => world.apply(Op::Close { node: from, to, announce: random.one_in(2) }),
            25 => world.apply(Op::Keepalive { node: from, to }),
            26 => world.apply(Op::Post { node: from, to }),
            _ => {}
        }
        world.apply(Op::Run(Duration::from_micros(random.below(pace))));
    }
    world.settle();
    world.audit();
    // Lossless on both sides, nobody lost state: nobody may be told that anything is lost.
    let lossless = policies.iter().flatten().all(|policy| !policy.lossy);
    if lossless && version == Version::V2 && !world.ledger.is_disturbed() {
        assert_eq!(world.ledger.resets(), 0, "a reset without a reason");
    }
    world.ledger.count()
}
