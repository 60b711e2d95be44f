//! What can go wrong between two sockets?
//!
//! Latency is a pipe's own, plus some more for each write; the order within a pipe is kept, as TCP keeps it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cephwire_protocol::LinkId;
use cephwire_protocol::codec::EntityAddr;

use super::Random;

/// One end of a pipe: a node and its name for the link.
pub(crate) type End = (usize, LinkId);

#[derive(Debug)]
pub(crate) enum Happening {
    Dialed {
        node: usize,
        link: LinkId,
        to: EntityAddr,
        incarnation: u32,
    },
    Bytes {
        to: End,
        bytes: Vec<u8>,
    },
    Eof {
        to: End,
    },
    /// The socket takes bytes again.
    Writable {
        node: usize,
        session: usize,
        incarnation: u32,
    },
    /// The application is done with the oldest message that it still has.
    Done {
        node: usize,
        incarnation: u32,
    },
}

impl Happening {
    fn is_for(&self, end: End) -> bool {
        matches!(self, Self::Bytes { to, .. } | Self::Eof { to } if *to == end)
    }
}

/// All pipes, and what is on its way.
#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) queue: BTreeMap<(Instant, u64), Happening>,
    pub(crate) order: u64,
    /// The other end of each end.
    pipes: BTreeMap<End, End>,
    /// The same, of pipes that are broken too.
    others: BTreeMap<End, End>,
    /// When the last bytes to an end arrive.
    last: BTreeMap<End, Instant>,
    /// What a pipe's way takes at least.
    latency: BTreeMap<End, Duration>,
    /// Whatever is sent to these ends vanishes.
    dead: BTreeSet<End>,
    /// These ends do not read before then.
    paused: BTreeMap<End, Instant>,
}

impl Net {
    pub(crate) fn at(&mut self, time: Instant, happening: Happening) {
        self.order += 1;
        self.queue.insert((time, self.order), happening);
    }

    pub(crate) fn join(&mut self, a: End, b: End, random: &mut Random) {
        let latency = Duration::from_micros(50 + random.below(random.clone().pick(&[1, 1000, 30_000])));
        for (end, other) in [(a, b), (b, a)] {
            // A node that restarts counts its links from 1 again.
            self.dead.remove(&end);
            self.paused.remove(&end);
            self.last.remove(&end);
            self.pipes.insert(end, other);
            self.others.insert(end, other);
            self.latency.insert(end, latency);
        }
    }

    /// The other end, even if the pipe is broken by now.
    pub(crate) fn other(&self, end: End) -> Option<End> {
        self.others.get(&end).copied()
    }

    pub(crate) fn ends(&self) -> Vec<End> {
        self.pipes.keys().copied().collect()
    }

    /// The sockets of `node` are gone, with all that is on its way to them.
    pub(crate) fn forget(&mut self, node: usize) {
        let to_node = |happening: &Happening| matches!(happening, Happening::Bytes { to, .. } | Happening::Eof { to } if to.0 == node);
        self.queue.retain(|_, happening| !to_node(happening));
        self.last.retain(|end, _| end.0 != node);
        self.others.retain(|end, other| end.0 != node && other.0 != node);
        self.dead.retain(|end| end.0 != node);
        self.paused.retain(|end, _| end.0 != node);
    }

    /// Bytes leave `from`, in one piece or in two.
    pub(crate) fn send(&mut self, now: Instant, from: End, bytes: &[u8], random: &mut Random) {
        let Some(&to) = self.pipes.get(&from) else { return };
        if self.dead.contains(&to) {
            return;
        }
        let middle = random.below(bytes.len() as u64 + 1) as usize;
        let (first, second) = bytes.split_at(middle);
        for piece in [first, second].into_iter().filter(|piece| !piece.is_empty()) {
            let arrival = self.arrival(now, to, random);
            self.at(arrival, Happening::Bytes { to, bytes: piece.to_vec() });
        }
    }

    fn arrival(&mut self, now: Instant, to: End, random: &mut Random) -> Instant {
        let base = self.latency.get(&to).copied().unwrap_or_default();
        let after = self.last.get(&to).copied().unwrap_or(now);
        let arrival = (now + base + Duration::from_micros(random.below(1000))).max(after);
        self.last.insert(to, arrival);
        arrival
    }

    /// An end closes its socket.
    pub(crate) fn close(&mut self, now: Instant, end: End, random: &mut Random) {
        let Some(other) = self.pipes.remove(&end) else { return };
        self.pipes.remove(&other);
        if !self.dead.contains(&other) {
            let arrival = self.arrival(now, other, random);
            self.at(arrival, Happening::Eof { to: other });
        }
    }

    /// One direction of a random pipe goes silent: nobody is told.
    pub(crate) fn half_open(&mut self, random: &mut Random) {
        let ends = self.ends();
        if !ends.is_empty() {
            let end = random.pick(&ends);
            self.dead.insert(end);
        }
    }

    /// A random end stops reading for a while.
    pub(crate) fn pause(&mut self, now: Instant, random: &mut Random) {
        let ends = self.ends();
        if !ends.is_empty() {
            let end = random.pick(&ends);
            let until = now + Duration::from_micros(random.below(2_000_000));
            let paused = self.paused.entry(end).or_insert(until);
            *paused = until.max(*paused);
        }
    }

    /// What is for an end that does not read comes later; otherwise it is given back.
    pub(crate) fn unless_paused(&mut self, key: (Instant, u64), happening: Happening) -> Option<Happening> {
        let (Happening::Bytes { to, .. } | Happening::Eof { to }) = &happening else {
            return Some(happening);
        };
        match self.paused.get(to) {
            Some(&until) if until > key.0 => {
                self.queue.insert((until, key.1), happening);
                None
            }
            _ => Some(happening),
        }
    }

    /// Breaks a random pipe.
    pub(crate) fn cut(&mut self, now: Instant, random: &mut Random) {
        let ends = self.ends();
        if !ends.is_empty() {
            let end = random.pick(&ends);
            self.break_pipe(now, end, random);
        }
    }

    /// What is on its way arrives up to some byte, and then the end.
    pub(crate) fn break_pipe(&mut self, now: Instant, end: End, random: &mut Random) {
        let Some(other) = self.pipes.remove(&end) else { return };
        self.pipes.remove(&other);
        for end in [end, other] {
            // What waits for a reader that pauses is not in the order of the stream here: then all is lost.
            let paused = self.paused.get(&end).is_some_and(|until| *until > now);
            let mut keep = if paused { 0 } else { random.below(3) as usize };
            let mut last = now;
            let keys: Vec<_> = self
                .queue
                .iter()
                .filter(|(_, happening)| happening.is_for(end))
                .map(|(key, _)| *key)
                .collect();
            for key in keys {
                if keep > 0 {
                    keep -= 1;
                    last = key.0;
                    if keep == 0
                        && let Some(Happening::Bytes { bytes, .. }) = self.queue.get_mut(&key)
                    {
                        let len = bytes.len() as u64;
                        bytes.truncate(random.below(len + 1) as usize);
                    }
                } else {
                    self.queue.remove(&key);
                }
            }
            if !self.dead.contains(&end) {
                let more = Duration::from_micros(random.below(1000));
                self.at(last.max(now) + more, Happening::Eof { to: end });
            }
        }
    }
}
