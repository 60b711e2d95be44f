//! Two nodes and what is on its way between them: every choice is the explorer's.
//!
//! ```text
//!             place of the link          frames on their way           place of the link
//!   node 0 ──────── 0 ────────── ways[0] ◄── ▒ ▒      ▒ ──► ways[1] ────────── 1 ──────── node 1
//!   (a state of its automaton)            broken: what is behind, or all of it, is the end
//! ```
//!
//! A pipe that breaks, by a cut or as one side hangs up, takes no more bytes. Whoever still holds it may yet receive
//! everything, or any part, or nothing of what was on its way before the end comes: a TCP reset drops it all.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use cephwire_protocol::{Policy, Version};

use crate::automaton::{Automaton, Frames, GONE, Step};
use crate::frames::name;
use crate::node::{Identity, Input, View, WaitsFor};

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Send {
        node: usize,
    },
    /// The dial of a node connects.
    Dialed {
        node: usize,
        link: u8,
    },
    /// The oldest frame on this way arrives.
    Deliver {
        pipe: usize,
        to: usize,
    },
    /// Everything on this way arrives at once.
    DeliverAll {
        pipe: usize,
        to: usize,
    },
    /// What is left on this way of a broken pipe is lost, and the end arrives.
    End {
        pipe: usize,
        to: usize,
    },
    /// The same after half of the oldest frame.
    Torn {
        pipe: usize,
        to: usize,
    },
    /// A session has waited long enough to dial again.
    Backoff {
        node: usize,
        session: u8,
    },
    /// A pipe breaks; nobody knows of it yet.
    Cut {
        pipe: usize,
    },
    /// A dial fails.
    Refused {
        node: usize,
        link: u8,
    },
    /// A session waits for too long.
    Timeout {
        node: usize,
        session: u8,
    },
    /// The user ends the session.
    MarkDown {
        node: usize,
    },
    /// The node dies, and begins anew at the same address.
    Restart {
        node: usize,
    },
}

impl Choice {
    /// Where it happens.
    const fn node(self) -> usize {
        match self {
            Self::Deliver { to: node, .. }
            | Self::DeliverAll { to: node, .. }
            | Self::End { to: node, .. }
            | Self::Torn { to: node, .. }
            | Self::Send { node }
            | Self::Dialed { node, .. }
            | Self::Backoff { node, .. }
            | Self::Refused { node, .. }
            | Self::Timeout { node, .. }
            | Self::MarkDown { node }
            | Self::Restart { node } => node,
            Self::Cut { .. } => 0,
        }
    }
}

/// How much may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) sends: u8,
    /// Cuts, timeouts and refused dials.
    pub(crate) faults: u8,
    /// How often a backoff is shorter than something else takes that is under way.
    pub(crate) early: u8,
    /// Restarts and sessions marked down.
    pub(crate) forgets: u8,
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sends, faults, early, forgets } = self;
        write!(f, "{sends} messages, {faults} faults, {early} early backoffs, {forgets} losses of state")
    }
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Pipe {
    /// The place of the link at either node.
    ends: [u8; 2],
    /// What is written goes nowhere; behind what is on its way, or instead of it, stands the end.
    broken: bool,
    /// Frames to node 0 and to node 1.
    ways: [Vec<u32>; 2],
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    nodes: [u32; 2],
    pipes: Vec<Pipe>,
    /// What earlier lives of a node received.
    past: [u8; 2],
    lives: [u8; 2],
    next: [u8; 2],
    /// Whose long backoff began first, of those that last. All are of one length: it ends first too.
    longest: Option<usize>,
    pub(crate) left: Budget,
    told: Unseen<Told>,
}

/// What has become of promises on the way that led here. It is no part of the state: nothing depends on it but what
/// [`Stage::check`] says.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// What each node had sent when its user was told last that it may be lost.
    void: [u8; 2],
    /// Both were open on one connection, and nobody was told of a reset since.
    met: bool,
    /// Somebody was told of a reset although they had met and nobody had lost state.
    wrong: bool,
}

/// All are equal.
#[derive(Clone, Copy, Debug, Default)]
struct Unseen<T>(T);

impl<T> PartialEq for Unseen<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Unseen<T> {}

impl<T> Hash for Unseen<T> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What all worlds of an exploration share.
pub(crate) struct Stage {
    pub(crate) automata: [Automaton; 2],
    frames: Frames,
    version: Version,
    policies: [Policy; 2],
    most: Budget,
}

impl Stage {
    pub(crate) fn new(policies: &[Policy; 2], version: Version, most: Budget, seed: u64) -> Self {
        let automaton = |number: usize| {
            Automaton::new(Identity { number, version, policy: policies[number].clone(), seed })
        };
        let automata = [automaton(0), automaton(1)];
        Self { automata, frames: Frames::default(), version, policies: policies.clone(), most }
    }

    pub(crate) fn begin(&mut self) -> World {
        let nodes = [self.automata[0].begin(0, 1), self.automata[1].begin(0, 1)];
        let (pipes, told) = (Vec::new(), Unseen::default());
        World {
            nodes,
            pipes,
            past: [0; 2],
            lives: [0; 2],
            next: [1; 2],
            longest: None,
            left: self.most,
            told,
        }
    }

    fn view(&self, world: &World, node: usize) -> &Rc<View> {
        self.automata[node].view(world.nodes[node])
    }

    /// Everything that may happen now, of itself or by choice of users and the network.
    pub(crate) fn choices(&mut self, world: &World) -> Vec<Choice> {
        let mut choices = Vec::new();
        self.pending(world, &mut choices);
        if let Some(quiet) = choices.iter().find(|choice| self.is_quiet(world, **choice)) {
            return vec![*quiet];
        }
        for node in 0..2 {
            let view = self.view(world, node);
            for (session, waits_for) in view.waits_for.iter().enumerate() {
                let session = session as u8;
                match waits_for {
                    WaitsFor::Backoff | WaitsFor::LongBackoff => {
                        if world.left.early > 0 || !self.is_early(world, node, *waits_for) {
                            choices.push(Choice::Backoff { node, session });
                        }
                    }
                    WaitsFor::Peer if world.left.faults > 0 => {
                        choices.push(Choice::Timeout { node, session })
                    }
                    WaitsFor::Peer | WaitsFor::Nothing => {}
                }
            }
            if world.left.sends > 0 && view.can_send {
                choices.push(Choice::Send { node });
            }
            if world.left.faults > 0 {
                let dials = (0..view.links).filter(|link| view.dials & 1 << link != 0);
                choices.extend(dials.map(|link| Choice::Refused { node, link }));
            }
            if world.left.forgets > 0 {
                choices.push(Choice::Restart { node });
                if view.has_session {
                    choices.push(Choice::MarkDown { node });
                }
            }
        }
        if world.left.faults > 0 {
            let whole = (0..world.pipes.len()).filter(|pipe| !world.pipes[*pipe].broken);
            choices.extend(whole.map(|pipe| Choice::Cut { pipe }));
        }
        choices
    }

    fn is_quiet(&mut self, world: &World, choice: Choice) -> bool {
        let Choice::Deliver { pipe, to } = choice else { return false };
        let pipe = &world.pipes[pipe];
        let input = Input::Recv { link: pipe.ends[to], frame: pipe.ways[to][0] };
        self.automata[to].step(world.nodes[to], input, &mut self.frames).quiet
    }

    /// What will happen of itself, sooner or later, but for backoffs.
    fn pending(&self, world: &World, choices: &mut Vec<Choice>) {
        for (pipe, there) in world.pipes.iter().enumerate() {
            for to in (0..2).filter(|to| there.ends[*to] != GONE) {
                let way = &there.ways[to];
                if !way.is_empty() {
                    choices.push(Choice::Deliver { pipe, to });
                }
                if way.len() > 1 {
                    choices.push(Choice::DeliverAll { pipe, to });
                }
                if there.broken {
                    choices.push(Choice::End { pipe, to });
                }
                if there.broken && !way.is_empty() {
                    choices.push(Choice::Torn { pipe, to });
                }
            }
        }
        for node in 0..2 {
            let view = self.view(world, node);
            let dials = (0..view.links).filter(|link| view.dials & 1 << link != 0);
            choices.extend(dials.map(|link| Choice::Dialed { node, link }));
        }
    }

    /// Whether a backoff that ends now is shorter than something else takes that should be faster.
    fn is_early(&self, world: &World, node: usize, waits_for: WaitsFor) -> bool {
        let mut pending = Vec::new();
        self.pending(world, &mut pending);
        let shorter = |node| self.view(world, node).waits_for.contains(&WaitsFor::Backoff);
        let is_long = waits_for == WaitsFor::LongBackoff;
        !pending.is_empty() || (is_long && ((0..2).any(shorter) || world.longest == Some(1 - node)))
    }

    pub(crate) fn apply(&mut self, world: &World, choice: Choice) -> World {
        let mut world = world.clone();
        match choice {
            Choice::Send { node } => {
                world.left.sends -= 1;
                world.next[node] += 1;
                self.step(&mut world, node, Input::Send);
            }
            Choice::Dialed { node, link } => {
                let mut ends = [link; 2];
                ends[1 - node] = self.view(&world, 1 - node).links;
                world.pipes.push(Pipe { ends, broken: false, ways: Default::default() });
                self.step(&mut world, 1 - node, Input::Accept);
                self.step(&mut world, node, Input::Dialed { link });
            }
            Choice::Deliver { pipe, to } => {
                let frame = world.pipes[pipe].ways[to].remove(0);
                let link = world.pipes[pipe].ends[to];
                self.step(&mut world, to, Input::Recv { link, frame });
            }
            Choice::DeliverAll { pipe, to } => {
                let frames = std::mem::take(&mut world.pipes[pipe].ways[to]);
                let bytes: Vec<u8> =
                    frames.iter().flat_map(|f| &self.frames.bytes[*f as usize]).copied().collect();
                let frame = self.frames.number(bytes);
                let link = world.pipes[pipe].ends[to];
                self.step(&mut world, to, Input::Recv { link, frame });
            }
            Choice::End { pipe, to } => {
                world.pipes[pipe].ways[to].clear();
                let link = world.pipes[pipe].ends[to];
                self.step(&mut world, to, Input::Eof { link });
            }
            Choice::Torn { pipe, to } => {
                let frame = world.pipes[pipe].ways[to].remove(0);
                let link = world.pipes[pipe].ends[to];
                self.step(&mut world, to, Input::Torn { link, frame });
            }
            Choice::Backoff { node, session } => {
                let waits_for = self.view(&world, node).waits_for[usize::from(session)];
                world.left.early -= u8::from(self.is_early(&world, node, waits_for));
                world.longest = world.longest.filter(|longest| *longest != node);
                self.step(&mut world, node, Input::Timeout { session });
            }
            Choice::Cut { pipe } => {
                world.left.faults -= 1;
                world.pipes[pipe].broken = true;
            }
            Choice::Refused { node, link } => {
                world.left.faults -= 1;
                self.step(&mut world, node, Input::Refused { link });
            }
            Choice::Timeout { node, session } => {
                world.left.faults -= 1;
                self.step(&mut world, node, Input::Timeout { session });
            }
            Choice::MarkDown { node } => {
                world.left.forgets -= 1;
                self.step(&mut world, node, Input::MarkDown);
            }
            Choice::Restart { node } => {
                world.left.forgets -= 1;
                world.past[node] |= self.view(&world, node).received;
                world.lives[node] += 1;
                world.nodes[node] = self.automata[node].begin(world.lives[node], world.next[node]);
                for pipe in &mut world.pipes {
                    pipe.ends[node] = GONE;
                    pipe.ways[node].clear();
                    pipe.broken = true;
                }
            }
        }
        let is_long = |node: &usize| self.view(&world, *node).waits_for.contains(&WaitsFor::LongBackoff);
        let began = |node: usize| [1 - node, node].into_iter().find(is_long);
        world.longest = world.longest.filter(is_long).or_else(|| began(choice.node()));
        world.pipes.retain(|pipe| pipe.ends != [GONE; 2]);
        world.pipes.sort_unstable();
        world.told.0.met |= self.meet(&world);
        world
    }

    fn step(&mut self, world: &mut World, node: usize, input: Input) {
        let step: Rc<Step> = self.automata[node].step(world.nodes[node], input, &mut self.frames);
        for (link, frames) in &step.writes {
            let pipe = world.pipes.iter_mut().find(|pipe| pipe.ends[node] == *link && *link != GONE);
            if let Some(pipe) = pipe.filter(|pipe| !pipe.broken) {
                pipe.ways[1 - node].extend(frames);
            }
        }
        for pipe in world.pipes.iter_mut().filter(|pipe| pipe.ends[node] != GONE) {
            pipe.ends[node] = step.places[usize::from(pipe.ends[node])];
            if pipe.ends[node] == GONE {
                pipe.ways[node].clear();
                pipe.broken = true;
            }
        }
        if step.told {
            self.told(world, node);
        }
        world.nodes[node] = step.next;
    }

    /// The user of `node` is told of a reset: what it has sent by now is void.
    fn told(&self, world: &mut World, node: usize) {
        let (sent, forgets) = (self.view(world, node).sent, self.forgets(world));
        let told = &mut world.told.0;
        told.void[node] |= sent;
        told.wrong |= told.met && !forgets;
        told.met = false;
    }

    /// Whether both nodes' sessions are open on one pipe.
    fn meet(&self, world: &World) -> bool {
        let open = [0, 1].map(|node| self.view(world, node).open);
        world.pipes.iter().any(|pipe| pipe.ends.map(Some) == open)
    }

    /// What holds at any time; and, if nothing will happen of itself any more, what holds then.
    pub(crate) fn check(&self, world: &World) -> Result<(), String> {
        let views = [0, 1].map(|node| &**self.view(world, node));
        let Told { void, wrong, .. } = world.told.0;
        if wrong {
            return Err("a node is told of a reset, though both had opened a connection".to_owned());
        }
        // In v1 a side with resetcheck cannot know whether a peer that begins anew has lost its state (session spec
        // §6.2, rows 11 and 17): one side has accepted a connection, the other has not read the answer, and counts from
        // 0. The reset may be told late, when the answer has been read after all; but where both were open on one
        // connection at a time, both count, and know each other.
        let unsure = self.version == Version::V1 && self.policies.iter().any(|policy| policy.resetcheck);
        let told = views.iter().any(|view| view.resets > 0);
        let (forgot, forgets) = (world.lives != [0; 2], self.forgets(world));
        // Who does not look for resets cannot tell a claim of the peer's last life, late on its way, from a new one: two
        // lives at one address and nonce are for monitors, who do look. What was sent may then come to both lives.
        let twice = forgot && !self.policies.iter().all(|policy| policy.resetcheck);
        for (n, view) in views.iter().enumerate() {
            if view.disordered && !twice {
                return Err(format!("node {n} received something twice or out of order"));
            }
            if !told && !forgot && view.received & (view.received + 1) != 0 {
                return Err(format!("node {n} received {:b}, with a gap", view.received));
            }
        }
        if told && !unsure && !forgets {
            return Err("a node is told of a reset, and nobody lost anything".to_owned());
        }
        let mut pending = Vec::new();
        self.pending(world, &mut pending);
        let backs_off = |waits_for: &WaitsFor| matches!(waits_for, WaitsFor::Backoff | WaitsFor::LongBackoff);
        if !pending.is_empty() || views.iter().any(|view| view.waits_for.iter().any(backs_off)) {
            return Ok(());
        }
        for (n, view) in views.iter().enumerate() {
            if view.waits {
                return Err(format!("a session of node {n} waits for ever"));
            }
            if view.stands_by {
                continue;
            }
            // Who was told knows that what it sent by then may be lost. Nothing else may.
            let (received, due) = (views[1 - n].received | world.past[1 - n], view.sent & !void[n]);
            if received & due != due {
                return Err(format!("{received:b} of node {n}'s {due:b} arrived"));
            }
            if view.queued {
                return Err(format!("a queue of node {n} is not empty"));
            }
        }
        Ok(())
    }

    /// Whether a user has ended a session, so that a reset is due.
    fn forgets(&self, world: &World) -> bool {
        world.left.forgets < self.most.forgets
    }
}

impl World {
    /// By which it is known whether it was seen before.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

impl Stage {
    /// Which exploration this is.
    pub(crate) fn title(&self) -> String {
        let [a, b] = &self.policies;
        format!("{:?}, {}, {a:?} and {b:?}", self.version, self.most)
    }

    /// What it cost.
    pub(crate) fn inputs(&self) -> String {
        let [inputs, verified] = [|node: &Automaton| node.inputs, |node: &Automaton| node.verified]
            .map(|count| self.automata.iter().map(count).sum::<u64>());
        format!("{inputs} inputs, {verified} steps taken on two ways")
    }

    /// What the nodes are doing, for people.
    pub(crate) fn show(&mut self, world: &World) {
        for node in 0..2 {
            let shown = self.automata[node].show(world.nodes[node], &self.frames);
            println!("    node {node}: {shown}");
        }
        println!("    {:?}, left {}", world.pipes, world.left);
    }

    /// A choice and what it is about, for people.
    pub(crate) fn describe(&self, world: &World, choice: Choice) -> String {
        let (Choice::Deliver { pipe, to } | Choice::DeliverAll { pipe, to } | Choice::Torn { pipe, to }) =
            choice
        else {
            return format!("{choice:?}");
        };
        let way = &world.pipes[pipe].ways[to];
        let names: Vec<_> =
            way.iter().map(|frame| name(self.version, &self.frames.bytes[*frame as usize])).collect();
        format!("{choice:?}: {}", names.join(", "))
    }
}
