//! Is there any order of events in which two peers lose, repeat or wait?
//!
//! Every interleaving in a small scope: two nodes that may both dial, a few messages, a few faults. The sessions are the
//! real ones; what is explored is the product of two automata that learn their steps from them
//! ([`automaton`]) and of the network between ([`world`]), without a limit, until there is nothing new.
//!
//! What may happen: a user sends, a dial connects, one frame arrives or all that is there at once; a *fault*: a pipe
//! breaks, a dial is refused, a session waits for too long (for a handshake, or for any sign of life); what was on its
//! way when a pipe broke, or when one side hung up, arrives wholly, partly or not at all; a backoff ends: as soon as
//! nothing else is under way (the long one after WAIT behind shorter ones, and behind a long one that began before it),
//! and *early*, ahead of anything, as often as the scope says; a *loss of state*: a session is marked down, or a node
//! restarts at the same address and nonce.
//!
//! What must hold: messages arrive once and in order; no user is told of a reset where nobody lost state (but see
//! `check` for v1); no way goes on for ever (no state comes back, and none is deeper than
//! 400 steps); where nothing will happen of itself any more, all sessions are open, in standby or closed, queues are
//! empty and everything has arrived, but for what a node had sent by the time it was told of a reset.
//!
//! One reduction: a frame that only brings the handshake of its own connection forward arrives at once. It changes
//! nothing else and nothing else changes what it does; and if the connection fails the outcome is the same before it
//! and after it. Both are looked at for each such step, not assumed (`Step::quiet`). As no way is endless, all ends
//! are found without the other orders, and what went wrong once stays visible until the end.
//!
//! One thing is bounded besides: four claims on a connection instead of 16 (see `node`). Sequence numbers and cookies
//! are not renamed, so states that differ in nothing else are counted, and visited, more than once.
//!
//! # Scopes
//! | scope | messages, faults, early, losses of state | when |
//! |---|---|---|
//! | small | 1, 1, 0, 0 and 1, 0, 0, 1 | without optimization |
//! | usual, with a server | 3, 2, 0, 0 and 2, 1, 1, 0 and 2, 1, 0, 1 | CI: `--release` |
//! | usual, both may dial | 2, 1, 0, 0 and 1, 1, 1, 0 and 2, 0, 0, 1 | the same |
//! | full, with a server | 4, 3, 0, 0 | `CEPHWIRE_RACES_FULL=1`: one to twelve minutes for each pair (client and peer: 45), up to 8 GB of memory |
//! | full, both may dial | 3, 2, 0, 0 | the same |
//!
//! The numbers of states stand in the tests, for v1 and v2, and must not change unnoticed. All scopes came to an end, with
//! nothing wrong.
//!
//! `CEPHWIRE_RACES_SCOPE=2,2,0,0` explores that scope instead, `CEPHWIRE_RACES_STATES=n` stops at so many states,
//! `CEPHWIRE_RACES_SECONDS=n` after that time in each version. `CEPHWIRE_RACES_VERIFY=1` takes known steps again with
//! nodes that came into a state on another way; without optimization that is always done. What a failure printed, with
//! `CEPHWIRE_RACES_REPLAY=file` and the same scope, is gone through again, and the sessions are shown after each step.
//!
//! # What finds what
//! Rules were left out, one at a time, and the usual scope explored for client and server, and for peers; those marked
//! with a star for clients and reusing peers too.
//!
//! | left out | found by |
//! |---|---|
//! | v1 row 12 (a lower connect_seq is asked to try again) | a way that goes on for ever |
//! | v2 ident rule 3 (a stale claim is dropped) | something is received twice or out of order |
//! | v2 reconnect rule 8 (WAIT in a race) | a way that goes on for ever |
//! | `replacing` (v1) | a reset is told where nobody lost anything |
//! | who answers RESET gives up its own attempt | something is received twice or out of order |
//! | who answers RESET remembers the peer's global_seq | a way that goes on for ever |
//! | v1 row 6 (RESETSESSION where there is no session) | only the numbers of states |
//! | v1 rows 8 and 9 (RETRY_GLOBAL) | only the numbers of states |
//! | v2 ident rule 5 (another cookie)*, or its reset of the session* | only the numbers of states |
//! | v2 reconnect rules 6 and 7 (RETRY_GLOBAL, RETRY) | only the numbers of states |
//! | WAIT without the keepalive that makes the session connect* | only the numbers of states |
//! | a hard reset that is forgotten (v1)* | only the numbers of states |
//!
//! The latter make a difference, but another rule comes to an end that is as good: their own tests (`handshake_*`) say
//! what they must do. (The reset of ident rule 5 makes none for peers, which have no resetcheck.)

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "races/automaton.rs"]
mod automaton;
#[path = "races/canonical.rs"]
mod canonical;
#[path = "races/explore.rs"]
mod explore;
#[path = "races/frames.rs"]
mod frames;
#[path = "races/node.rs"]
mod node;
#[path = "races/world.rs"]
mod world;

use std::time::Duration;

use cephwire_protocol::{Policy, Version};
use explore::Limits;
use world::Budget;

const fn budget([sends, faults, early, forgets]: [u8; 4]) -> Budget {
    Budget { sends, faults, early, forgets }
}

/// A test that is not optimized has time for these: one that loses connections, one that loses states.
const SMALL: &[Budget] = &[budget([1, 1, 0, 0]), budget([1, 0, 0, 1])];
/// What CI does.
const USUAL: &[Budget] = &[budget([2, 1, 0, 0]), budget([1, 1, 1, 0]), budget([2, 0, 0, 1])];
const USUAL_WITH_SERVER: &[Budget] = &[budget([3, 2, 0, 0]), budget([2, 1, 1, 0]), budget([2, 1, 0, 1])];
/// What takes minutes and gigabytes.
const FULL: &[Budget] = &[budget([3, 2, 0, 0])];
const FULL_WITH_SERVER: &[Budget] = &[budget([4, 3, 0, 0])];

/// How much of it is explored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Small,
    Usual,
    Full,
}

/// The numbers of states, for v1 and v2, of each scope.
type Counts<'a> = &'a [[usize; 2]];

fn explore(name: &str, a: Policy, b: Policy, small: Counts<'_>, usual: Counts<'_>, full: Counts<'_>) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
    };
    let limits = Limits {
        states: number("CEPHWIRE_RACES_STATES").map(|n| n as usize),
        time: number("CEPHWIRE_RACES_SECONDS").map(Duration::from_secs),
    };
    let extent = match std::env::var_os("CEPHWIRE_RACES_FULL") {
        Some(_) => Extent::Full,
        None if cfg!(debug_assertions) => Extent::Small,
        None => Extent::Usual,
    };
    let (scopes, expected) = match (extent, b.server) {
        (Extent::Small, _) => (SMALL, small),
        (Extent::Usual, false) => (USUAL, usual),
        (Extent::Usual, true) => (USUAL_WITH_SERVER, usual),
        (Extent::Full, false) => (FULL, full),
        (Extent::Full, true) => (FULL_WITH_SERVER, full),
    };
    assert_eq!(scopes.len(), expected.len(), "a number for each scope");
    let scopes: Vec<_> = match std::env::var("CEPHWIRE_RACES_SCOPE") {
        Err(_) => scopes.iter().zip(expected).map(|(scope, counts)| (*scope, Some(*counts))).collect(),
        Ok(text) => {
            let numbers: Vec<u8> = text.split(',').map(|number| number.trim().parse().unwrap()).collect();
            vec![(budget(numbers.try_into().unwrap()), None)]
        }
    };
    let policies = [a, b];
    if let Ok(path) = std::env::var("CEPHWIRE_RACES_REPLAY") {
        let way = std::fs::read_to_string(path).unwrap();
        for version in [Version::V1, Version::V2] {
            explore::replay(&policies, version, scopes[0].0, 0, &way);
        }
        return;
    }
    let mut wrong = Vec::new();
    for (budget, expected) in scopes {
        let found = [Version::V1, Version::V2]
            .map(|version| explore::explore(name, &policies, version, budget, 0, limits));
        let states = found.each_ref().map(|found| found.states);
        let whole = found.iter().all(|found| found.whole);
        assert!(!whole || found.iter().all(|found| found.ends > 0), "nothing comes to an end");
        if whole && expected.is_some_and(|expected| expected != states) {
            wrong.push((budget, states));
        }
    }
    assert!(wrong.is_empty(), "{name}: the numbers of states have changed: {wrong:?}");
}

const CLIENT: Policy = Policy::lossless_client();
const SERVER: Policy = Policy::stateful_server();
const PEER: Policy = Policy::lossless_peer();
const REUSE: Policy = Policy::lossless_peer_reuse();

#[test]
fn client_and_server() {
    explore(
        "client and server",
        CLIENT,
        SERVER,
        &[[95, 168], [121, 191]],
        &[[17274, 25719], [702, 1183], [12362, 15647]],
        &[[293532, 379545]],
    );
}

#[test]
fn peer_and_server() {
    explore(
        "peer and server",
        PEER,
        SERVER,
        &[[86, 149], [113, 171]],
        &[[15767, 22616], [656, 1071], [10120, 12764]],
        &[[275777, 342339]],
    );
}

#[test]
fn reusing_peer_and_server() {
    explore(
        "reusing peer and server",
        REUSE,
        SERVER,
        &[[86, 149], [113, 171]],
        &[[15767, 22616], [656, 1071], [10120, 12764]],
        &[[275777, 342339]],
    );
}

#[test]
fn clients() {
    explore(
        "clients",
        CLIENT,
        CLIENT,
        &[[1082, 1174], [303, 483]],
        &[[22252, 32019], [3207, 5381], [24127, 19606]],
        &[[2869493, 3764994]],
    );
}

#[test]
fn client_and_peer() {
    explore(
        "client and peer",
        CLIENT,
        PEER,
        &[[442, 636], [263, 411]],
        &[[21004, 26362], [6229, 2412], [58965, 16338]],
        &[[36790903, 3251785]],
    );
}

#[test]
fn peer_and_client() {
    explore(
        "peer and client",
        PEER,
        CLIENT,
        &[[433, 638], [263, 411]],
        &[[19053, 27052], [5957, 2417], [51124, 15114]],
        &[[10989503, 3408702]],
    );
}

#[test]
fn client_and_reusing_peer() {
    explore(
        "client and reusing peer",
        CLIENT,
        REUSE,
        &[[558, 636], [263, 411]],
        &[[19265, 26362], [1406, 2412], [14185, 14936]],
        &[[2914323, 3251785]],
    );
}

#[test]
fn reusing_peer_and_client() {
    explore(
        "reusing peer and client",
        REUSE,
        CLIENT,
        &[[562, 638], [263, 411]],
        &[[19957, 27052], [1656, 2417], [10617, 13708]],
        &[[3041308, 3408702]],
    );
}

#[test]
fn peers() {
    explore(
        "peers",
        PEER,
        PEER,
        &[[171, 297], [223, 339]],
        &[[31535, 23199], [245, 465], [72019, 12359]],
        &[[6853063, 2958810]],
    );
}

#[test]
fn peer_and_reusing_peer() {
    explore(
        "peer and reusing peer",
        PEER,
        REUSE,
        &[[171, 297], [223, 339]],
        &[[16591, 23199], [245, 465], [8849, 11612]],
        &[[3347890, 2958810]],
    );
}

#[test]
fn reusing_peer_and_peer() {
    explore(
        "reusing peer and peer",
        REUSE,
        PEER,
        &[[171, 297], [223, 339]],
        &[[17023, 23199], [245, 465], [8789, 11809]],
        &[[3114487, 2958810]],
    );
}

#[test]
fn reusing_peers() {
    explore(
        "reusing peers",
        REUSE,
        REUSE,
        &[[171, 297], [223, 339]],
        &[[16927, 23199], [245, 465], [7247, 11068]],
        &[[2416078, 2958810]],
    );
}

/// Cookies are random, and their bytes look like anything: that must not part what is the same, nor join what is not.
#[test]
fn seeds_make_no_difference() {
    for scope in SMALL {
        for policies in [[CLIENT, CLIENT], [PEER, PEER]] {
            let states = |seed| {
                explore::explore("seeds", &policies, Version::V2, *scope, seed, Limits::default()).states
            };
            let expected = states(0);
            assert!((1..8).all(|seed| states(seed) == expected), "{scope}");
        }
    }
}
