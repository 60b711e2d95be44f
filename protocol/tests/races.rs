//! Is there any order of events in which two peers lose, repeat or wait?
//!
//! Every interleaving in a small scope: two peers that may both dial, a few messages, a few cuts with or without
//! loss, deliveries batch by batch, a backoff that ends early. States that were seen before are not
//! entered again. The same must hold in each as in the [simulation](../simulation.rs): each message once and
//! in order; no resets, as nobody loses state; where nothing is left to happen, nobody waits.
//!
//! By default two messages and one cut, and no more states than a short test has time for: that is everything
//! between a client or peer and a server. `CEPHWIRE_RACES_FULL=1` tries three messages and two cuts, with
//! more ways to lose bytes, without a limit but `CEPHWIRE_RACES_STATES=n` for each pair of policies.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_methods, reason = "tests")]

#[path = "races/pair.rs"]
mod pair;

use std::collections::HashSet;

use cephwire_protocol::{Policy, Version};
use pair::{Choice, Loss, Pair};

/// Longer than any way to rest: events go in circles.
const DEEPEST: usize = 400;

struct Scope {
    policies: [Policy; 2],
    version: Version,
    /// Messages, cuts, and backoffs that are shorter than something else takes.
    budget: [u32; 3],
    losses: Vec<Loss>,
    most: usize,
}

#[derive(Default)]
struct Found {
    states: usize,
    ends: usize,
    deepest: usize,
}

impl Scope {
    fn new(policies: [Policy; 2], version: Version) -> Self {
        let full = std::env::var_os("CEPHWIRE_RACES_FULL").is_some();
        let most = std::env::var("CEPHWIRE_RACES_STATES").ok().and_then(|text| text.parse().ok());
        let usual = if full {
            usize::MAX
        } else if cfg!(debug_assertions) {
            700
        } else {
            3000
        };
        let budget = if full { [3, 2, 1] } else { [2, 1, 1] };
        let losses = if full {
            vec![Loss::All, Loss::None, Loss::Tails, Loss::To(0), Loss::To(1)]
        } else {
            vec![Loss::All, Loss::None, Loss::Tails]
        };
        Self { policies, version, budget, losses, most: most.unwrap_or(usual) }
    }

    fn replay(&self, path: &[Choice]) -> Pair {
        let mut pair = Pair::new(&self.policies, self.version, self.budget);
        path.iter().for_each(|choice| pair.apply(*choice));
        pair
    }

    /// Depth first. Sessions cannot be copied: the first branch goes on with what is there, the others begin anew.
    fn explore(&self) -> Found {
        let mut found = Found::default();
        let mut seen = HashSet::new();
        let mut branches: Vec<Vec<Choice>> = vec![Vec::new()];
        while let Some(mut path) = branches.pop() {
            let mut pair = self.replay(&path);
            while seen.insert(pair.fingerprint()) {
                found.states += 1;
                found.deepest = found.deepest.max(path.len());
                if let Err(wrong) = pair.check() {
                    self.fail(&path, &wrong);
                }
                if path.len() > DEEPEST {
                    self.fail(&path, "this goes on for ever");
                }
                if found.states >= self.most {
                    return found;
                }
                let mut choices = pair.choices(&self.losses);
                let Some(next) = choices.pop() else {
                    found.ends += 1;
                    break;
                };
                branches.extend(choices.into_iter().map(|choice| [&path[..], &[choice]].concat()));
                pair.apply(next);
                path.push(next);
            }
        }
        found
    }

    fn fail(&self, path: &[Choice], wrong: &str) {
        for choice in path {
            println!("{choice:?}");
        }
        let [a, b] = &self.policies;
        assert!(path.is_empty() && wrong.is_empty(), "{:?}, {a:?} and {b:?}: {wrong}", self.version);
    }
}

fn explore(name: &str, a: Policy, b: Policy, least: usize) {
    for version in [Version::V1, Version::V2] {
        let scope = Scope::new([a.clone(), b.clone()], version);
        let found = scope.explore();
        println!(
            "{name}, {version:?}: {} states, {} ends, depth {}",
            found.states, found.ends, found.deepest
        );
        assert!(found.states >= least.min(scope.most), "{} states only", found.states);
        assert!(found.ends > 0 || found.states >= scope.most, "nothing comes to an end");
    }
}

#[test]
fn client_and_server() {
    explore("client and server", Policy::lossless_client(), Policy::stateful_server(), 100);
}

#[test]
fn peers() {
    explore("peers", Policy::lossless_peer(), Policy::lossless_peer(), 100);
}

#[test]
fn reusing_peers() {
    explore("reusing peers", Policy::lossless_peer_reuse(), Policy::lossless_peer_reuse(), 100);
}

#[test]
fn peer_and_server() {
    explore("peer and server", Policy::lossless_peer(), Policy::stateful_server(), 100);
}

#[test]
fn clients() {
    explore("clients", Policy::lossless_client(), Policy::lossless_client(), 100);
}

#[test]
fn two_kinds_of_peers() {
    explore("two kinds of peers", Policy::lossless_peer(), Policy::lossless_peer_reuse(), 100);
}
