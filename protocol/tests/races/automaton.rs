//! A node's states by number, and what leads from one to another: each step is taken once, and known from then on.
//!
//! Sessions cannot be copied. A state is reached by doing again what once led to it; nodes that stand where a step
//! ended are kept for a while, as mostly the next step begins there.

use std::collections::HashMap;
use std::rc::Rc;

use cephwire_protocol::LinkId;

use crate::node::{Identity, Input, Node, View};

/// A link that is no more, or that nobody holds.
pub(crate) const GONE: u8 = u8::MAX;

/// How many nodes are kept.
const KEPT: usize = 80_000;

/// What an input leads to.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) next: u32,
    /// The place that each link has afterwards: those of before, and then the new ones.
    pub(crate) places: Vec<u8>,
    /// What was written to which of those, in order.
    pub(crate) writes: Vec<(u8, Vec<u32>)>,
    /// The node's user was told of a reset.
    pub(crate) told: bool,
    /// It only brought the handshake of its link forward, and makes no difference if that fails.
    pub(crate) quiet: bool,
}

/// Frames by number, the same for both nodes.
#[derive(Default)]
pub(crate) struct Frames {
    numbers: HashMap<Vec<u8>, u32>,
    pub(crate) bytes: Vec<Vec<u8>>,
}

impl Frames {
    pub(crate) fn number(&mut self, bytes: Vec<u8>) -> u32 {
        *self.numbers.entry(bytes).or_insert_with_key(|bytes| {
            self.bytes.push(bytes.clone());
            self.bytes.len() as u32 - 1
        })
    }
}

/// How a state came about.
#[derive(Clone, Copy)]
enum Origin {
    Begin { life: u8, next: u8 },
    Step { from: u32, input: Input },
}

pub(crate) struct Automaton {
    identity: Identity,
    numbers: HashMap<u128, u32>,
    origins: Vec<Origin>,
    views: Vec<Rc<View>>,
    begins: HashMap<(u8, u8), u32>,
    steps: HashMap<(u32, Input), Rc<Step>>,
    kept: HashMap<u32, Node>,
    /// Inputs given to nodes: what it costs.
    pub(crate) inputs: u64,
    /// Whether known steps are taken again by nodes that came on another way, and how many were.
    verify: bool,
    pub(crate) verified: u64,
}

impl Automaton {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            numbers: HashMap::new(),
            origins: Vec::new(),
            views: Vec::new(),
            begins: HashMap::new(),
            steps: HashMap::new(),
            kept: HashMap::new(),
            inputs: 0,
            verify: cfg!(debug_assertions) || std::env::var_os("CEPHWIRE_RACES_VERIFY").is_some(),
            verified: 0,
        }
    }

    pub(crate) fn states(&self) -> usize {
        self.origins.len()
    }

    pub(crate) fn view(&self, state: u32) -> &Rc<View> {
        &self.views[state as usize]
    }

    /// The state in which a node begins, or begins again.
    pub(crate) fn begin(&mut self, life: u8, next: u8) -> u32 {
        if let Some(state) = self.begins.get(&(life, next)) {
            return *state;
        }
        let node = Node::new(&self.identity, life, next);
        let state = self.enter(&node, Origin::Begin { life, next });
        self.begins.insert((life, next), state);
        state
    }

    fn enter(&mut self, node: &Node, origin: Origin) -> u32 {
        let state = self.origins.len() as u32;
        let known = *self.numbers.entry(node.key()).or_insert(state);
        if known == state {
            self.origins.push(origin);
            self.views.push(Rc::new(node.view()));
        }
        known
    }

    pub(crate) fn step(&mut self, state: u32, input: Input, frames: &mut Frames) -> Rc<Step> {
        if let Some(step) = self.steps.get(&(state, input)).cloned() {
            if self.verify
                && let Some(node) = self.kept.remove(&state)
            {
                // It may have come here on another way than the one that took the step: it must not matter.
                let again = self.take(state, node, input, frames);
                assert_eq!(
                    (again.next, &again.places, &again.writes, again.told),
                    (step.next, &step.places, &step.writes, step.told)
                );
                self.verified += 1;
            }
            return step;
        }
        let node = self.node(state, frames);
        let mut step = self.take(state, node, input, frames);
        if step.quiet
            && let Input::Recv { link, .. } = input
        {
            let ends = [state, step.next].map(|state| self.step(state, Input::Eof { link }, frames));
            let [end, later] = ends.each_ref().map(|end| (end.next, &end.places, &end.writes));
            step.quiet = end == later;
        }
        let step = Rc::new(step);
        self.steps.insert((state, input), Rc::clone(&step));
        step
    }

    /// Takes a step with a node that is in this state.
    fn take(&mut self, state: u32, mut node: Node, input: Input, frames: &mut Frames) -> Step {
        let before = node.links();
        let handshake = match input {
            Input::Recv { link, .. } => Some(before[usize::from(link)]),
            _ => None,
        };
        let handshake = handshake.filter(|link| node.shakes_hands(*link));
        let rest = handshake.map(|link| node.key_without(Some(link)));
        let resets = node.resets();
        let written = node.apply(input, &frames.bytes);
        let told = node.resets() > resets;
        self.inputs += 1;
        let after = node.links();
        let quiet = rest.is_some() && before == after && rest == Some(node.key_without(handshake));
        let newer = |link: &LinkId| before.last().is_none_or(|last| link > last);
        let all: Vec<_> = before.iter().chain(after.iter().filter(|link| newer(link))).copied().collect();
        let places = all.iter().map(|link| place(&after, *link)).collect();
        let mut writes = Vec::new();
        for (link, batch) in written {
            writes.push((place(&all, link), batch.into_iter().map(|frame| frames.number(frame)).collect()));
        }
        let next = self.enter(&node, Origin::Step { from: state, input });
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        self.kept.insert(next, node);
        Step { next, places, writes, told, quiet }
    }

    /// What a node in this state is doing, for people.
    pub(crate) fn show(&mut self, state: u32, frames: &Frames) -> String {
        let node = self.node(state, frames);
        let shown = node.show();
        self.kept.insert(state, node);
        shown
    }

    /// A node in this state: taken from those kept, or made.
    fn node(&mut self, state: u32, frames: &Frames) -> Node {
        let (mut at, mut inputs) = (state, Vec::new());
        let mut node = loop {
            if let Some(node) = self.kept.remove(&at) {
                break node;
            }
            match self.origins[at as usize] {
                Origin::Begin { life, next } => break Node::new(&self.identity, life, next),
                Origin::Step { from, input } => {
                    inputs.push(input);
                    at = from;
                }
            }
        };
        for input in inputs.into_iter().rev() {
            let _ = node.apply(input, &frames.bytes);
            self.inputs += 1;
        }
        node
    }
}

fn place(links: &[LinkId], link: LinkId) -> u8 {
    links.iter().position(|other| *other == link).map_or(GONE, |n| n as u8)
}
