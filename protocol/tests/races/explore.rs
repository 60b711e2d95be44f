//! Every path through the worlds, depth first; a world that was seen before is not entered again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use cephwire_protocol::{Policy, Version};

use crate::world::{Budget, Choice, Stage, World};

/// Longer than any way to rest.
const DEEPEST: usize = 400;

pub(crate) struct Found {
    pub(crate) states: usize,
    /// Those in which nothing can happen any more.
    pub(crate) ends: usize,
    /// There is nothing else: no limit was met.
    pub(crate) whole: bool,
}

/// When to stop.
#[derive(Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) states: Option<usize>,
    pub(crate) time: Option<Duration>,
}

/// A world on the path, and what was not tried in it yet.
struct Branch {
    world: World,
    fingerprint: u64,
    choices: Vec<Choice>,
    taken: Option<Choice>,
}

/// Visits all worlds, up to the limits. Panics where one is wrong, and prints what led there.
pub(crate) fn explore(
    name: &str,
    policies: &[Policy; 2],
    version: Version,
    budget: Budget,
    seed: u64,
    limits: Limits,
) -> Found {
    let began = Instant::now();
    let mut stage = Stage::new(policies, version, budget, seed);
    let (mut seen, mut above) = (HashSet::new(), HashSet::new());
    let (mut ends, mut deepest) = (0, 0);
    let mut path: Vec<Branch> = Vec::new();
    let mut entered = Some(stage.begin());
    let is_enough = |states| {
        limits.states.is_some_and(|most| states >= most)
            || (states % 1024 == 0 && limits.time.is_some_and(|time| began.elapsed() > time))
    };
    while !is_enough(seen.len()) {
        if let Some(world) = entered.take() {
            let fingerprint = world.fingerprint();
            if above.contains(&fingerprint) || path.len() > DEEPEST {
                fail(&stage, &path, "this goes on for ever");
            }
            if seen.insert(fingerprint) {
                if seen.len() % 1_000_000 == 0 {
                    eprintln!("{name}, {version:?}: {} states, {} deep", seen.len(), path.len());
                }
                if let Err(wrong) = stage.check(&world) {
                    fail(&stage, &path, &wrong);
                }
                let choices = stage.choices(&world);
                ends += usize::from(choices.is_empty());
                deepest = deepest.max(path.len());
                above.insert(fingerprint);
                path.push(Branch { world, fingerprint, choices, taken: None });
            }
        }
        let Some(branch) = path.last_mut() else { break };
        branch.taken = branch.choices.pop();
        match branch.taken {
            Some(choice) => entered = Some(stage.apply(&branch.world, choice)),
            None => {
                above.remove(&branch.fingerprint);
                path.pop();
            }
        }
    }
    let (nodes, inputs) = (stage.automata.each_ref().map(|node| node.states()), stage.inputs());
    println!(
        "{name}, {version:?}, {budget}: {} states{}, {ends} ends, depth {deepest}; {nodes:?} states of nodes, {inputs}, {:.1} s",
        seen.len(),
        if path.is_empty() { "" } else { " and more" },
        began.elapsed().as_secs_f32(),
    );
    Found { states: seen.len(), ends, whole: path.is_empty() }
}

fn fail(stage: &Stage, path: &[Branch], wrong: &str) {
    for branch in path {
        println!("{}", branch.taken.map(|choice| stage.describe(&branch.world, choice)).unwrap_or_default());
    }
    assert!(wrong.is_empty(), "{}: {wrong}", stage.title());
}

/// Takes the way that was printed when something went wrong, and prints what the nodes look like on it. Lines that are
/// no choice are left out.
pub(crate) fn replay(policies: &[Policy; 2], version: Version, budget: Budget, seed: u64, way: &str) {
    let mut stage = Stage::new(policies, version, budget, seed);
    let mut world = stage.begin();
    for line in way.lines() {
        let choices = stage.choices(&world);
        let Some(choice) = choices.into_iter().find(|choice| stage.describe(&world, *choice) == line) else {
            continue;
        };
        world = stage.apply(&world, choice);
        println!("{line}");
        stage.show(&world);
    }
    let wrong = stage.check(&world);
    println!("{}: {wrong:?}", stage.title());
}
