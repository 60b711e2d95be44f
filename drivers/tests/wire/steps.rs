//! Who is about to write which frame? Connections can be held there, and go on or fail from there.
//!
//! The interceptor of Ceph's tests is a hook in its protocol; here it is the network: a messenger that is held at a step
//! has written the frame, and nobody reads it, nor does it read anything.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use cephwire::Version;
use cephwire::codec::Side;
use rustix::net::RecvFlags;

use super::tap::Tap;
pub(crate) use super::tap::step;
use super::{Course, Pipe};

/// The messengers of Ceph's fixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Server,
    Client,
}

impl Node {
    fn other(self) -> Self {
        if self == Self::Server { Self::Client } else { Self::Server }
    }
}

/// What happens on the connections between two messengers, in both directions of dialing.
pub(crate) struct Steps {
    version: Version,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    breaks: HashSet<(Node, u8)>,
    held: Vec<Held>,
    passed: Vec<Held>,
    opened: Vec<Node>,
    conns: HashMap<usize, (Tap, Weak<Pipe>)>,
}

/// A messenger at a step on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pipe: usize,
    node: Node,
    step: u8,
}

/// The course of one relay.
pub(crate) struct Holding {
    pub(crate) steps: Arc<Steps>,
    /// Who dials through it.
    pub(crate) dialer: Node,
}

impl Steps {
    pub(crate) fn new(version: Version) -> Arc<Self> {
        Arc::new(Self { version, state: Mutex::default(), news: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Holds every connection of this messenger at this step.
    pub(crate) fn breakpoint(&self, node: Node, step: u8) {
        self.lock().breaks.insert((node, step));
    }

    /// Holds no more there.
    pub(crate) fn remove_breakpoint(&self, node: Node, step: u8) {
        self.lock().breaks.remove(&(node, step));
    }

    /// Waits until a connection of the messenger is held at the step.
    pub(crate) fn wait(&self, node: Node, step: u8) -> Held {
        let (end, mut state) = (Instant::now() + Duration::from_secs(60), self.lock());
        loop {
            let held = state.held.iter().find(|held| (held.node, held.step) == (node, step));
            if let Some(held) = held {
                return *held;
            }
            let left = end.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("{node:?} is not at {step}: {:?}", state.passed));
            state = self.news.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Lets it go on.
    pub(crate) fn release(&self, held: Held) {
        self.lock().held.retain(|other| *other != held);
        self.news.notify_all();
    }

    /// Lets it fail there.
    pub(crate) fn fail(&self, held: Held) {
        let mut state = self.lock();
        let pipe = state.conns.remove(&held.pipe).and_then(|(_, pipe)| pipe.upgrade());
        state.held.retain(|other| other.pipe != held.pipe);
        if let Some(pipe) = pipe {
            pipe.close();
        }
        drop(state);
        self.news.notify_all();
    }

    /// How often the messenger passed a step; with v1, on how many connections.
    pub(crate) fn passed(&self, node: Node, step: u8) -> usize {
        let state = self.lock();
        let passed = state.passed.iter().filter(|held| (held.node, held.step) == (node, step));
        let passed: Vec<usize> = passed.map(|held| held.pipe).collect();
        if self.version == Version::V2 {
            return passed.len();
        }
        passed.into_iter().collect::<HashSet<_>>().len()
    }

    /// How many connections the messenger dialed.
    pub(crate) fn dialed(&self, node: Node) -> usize {
        self.lock().opened.iter().filter(|dialer| **dialer == node).count()
    }

    /// Notes a step; holds the messenger there if that is wanted.
    fn arrive(&self, state: &mut State, held: Held) {
        state.passed.push(held);
        if state.breaks.contains(&(held.node, held.step)) {
            state.held.push(held);
        }
        self.news.notify_all();
    }

    /// Waits until neither end is held. Whether the connection is still there.
    fn wait_free<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        pipe: &Pipe,
        of: impl Fn(Node) -> Side,
    ) -> Option<MutexGuard<'a, State>> {
        loop {
            if !state.conns.contains_key(&pipe.number) {
                return None;
            }
            let held = state.held.iter().find(|held| held.pipe == pipe.number).copied();
            let Some(held) = held else { return Some(state) };
            if has_hung_up(pipe, of(held.node)) {
                // What it was held with is never written.
                state.held.retain(|other| *other != held);
                state.conns.remove(&pipe.number);
                pipe.close();
                return None;
            }
            state = self.news.wait_timeout(state, Duration::from_millis(2)).unwrap().0;
        }
    }
}

fn has_hung_up(pipe: &Pipe, side: Side) -> bool {
    let peeked = rustix::net::recv(pipe.end(side), &mut [0; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
    match peeked {
        Ok((_, len)) => len == 0,
        Err(error) => error != rustix::io::Errno::AGAIN,
    }
}

impl Holding {
    fn node(&self, side: Side) -> Node {
        if side == Side::Client { self.dialer } else { self.dialer.other() }
    }

    fn side(&self, node: Node) -> Side {
        if node == self.dialer { Side::Client } else { Side::Server }
    }
}

impl Course for Holding {
    fn opened(&self, pipe: &Arc<Pipe>) {
        let mut state = self.steps.lock();
        state.opened.push(self.dialer);
        state.conns.insert(pipe.number, (Tap::new(self.steps.version), Arc::downgrade(pipe)));
    }

    fn carry(&self, pipe: &Pipe, from: Side, bytes: &[u8]) -> bool {
        let (mut state, node) = (self.steps.lock(), self.node(from));
        let Some((tap, _)) = state.conns.get_mut(&pipe.number) else { return false };
        let pieces = tap.split(from == Side::Client, bytes);
        for piece in pieces {
            if let Some(step) = piece.step {
                self.steps.arrive(&mut state, Held { pipe: pipe.number, node, step });
            }
            let free = self.steps.wait_free(state, pipe, |node| self.side(node));
            let Some(free) = free else { return false };
            state = free;
            if piece.message {
                let held = Held { pipe: pipe.number, node: node.other(), step: step::MESSAGE };
                self.steps.arrive(&mut state, held);
                let free = self.steps.wait_free(state, pipe, |node| self.side(node));
                let Some(free) = free else { return false };
                state = free;
            }
            drop(state);
            pipe.pass(from, &piece.bytes);
            state = self.steps.lock();
        }
        true
    }
}
