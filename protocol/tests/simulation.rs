//! Does every session keep its promise, whatever happens to the connections?
//!
//! Random schedules over all pairs of policies and both versions. A failing seed is printed; run it again with
//! `CEPHWIRE_SIM_SEED=n`, with `CEPHWIRE_SIM_TRACE=1` for every step. `CEPHWIRE_SIM_RUNS=n` sets how many.

mod sim;

use std::time::Duration;

use cephwire_protocol::{Policy, Version};
use sim::World;

/// Policies that meet in practice: client side, server side.
fn pairs() -> Vec<(Policy, Policy)> {
    vec![
        (Policy::lossy_client(), Policy::stateless_server()),
        (Policy::lossy_client(), Policy::stateless_registered_server()),
        (Policy::lossless_client(), Policy::stateful_server()),
        (Policy::lossless_peer(), Policy::lossless_peer()),
        (Policy::lossless_peer_reuse(), Policy::lossless_peer_reuse()),
        (Policy::lossless_peer(), Policy::stateful_server()),
        (Policy::lossless_client(), Policy::stateless_server()),
    ]
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn random_schedules() {
    let runs = number("CEPHWIRE_SIM_RUNS").unwrap_or(2000);
    let seeds = number("CEPHWIRE_SIM_SEED").map_or(0..runs, |seed| seed..seed + 1);
    let mut delivered = 0;
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| schedule(seed));
        match outcome {
            Ok(count) => delivered += count,
            Err(panic) => {
                println!("seed {seed} fails: CEPHWIRE_SIM_SEED={seed} CEPHWIRE_SIM_TRACE=1");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{delivered} messages delivered");
    assert!(delivered > 0);
}

fn schedule(seed: u64) -> usize {
    let pairs = pairs();
    let (client, server) = pairs[seed as usize % pairs.len()].clone();
    let version = if seed / pairs.len() as u64 % 2 == 0 { Version::V1 } else { Version::V2 };
    let mut world = World::new(seed, version, &[client, server]);
    let restarts = world.random.one_in(4);
    world.refuse = [0, 0, 3, 10][world.random.below(4) as usize];
    for _ in 0..world.random.below(60) {
        match world.random.below(20) {
            0..8 => world.send(0, 1),
            8..14 => world.send(1, 0),
            14..18 => world.cut(),
            18 if restarts => {
                let node = world.random.below(2) as usize;
                world.restart(node);
            }
            _ => {}
        }
        let pause = Duration::from_micros(world.random.below(8000));
        world.run(pause);
    }
    world.refuse = 0;
    world.run(Duration::from_secs(120));
    // A server that has something to say waits for its client, which may have nothing: it has now.
    world.send(0, 1);
    world.run(Duration::from_secs(120));
    world.audit();
    world.ledger.count()
}
