//! Was every message delivered as its session promised?

use std::collections::{HashMap, HashSet};

/// A node in one of its incarnations.
type Id = (usize, u32);

/// A session of a node's incarnation.
type SessionId = (usize, u32, usize);

/// What was sent and received, by all applications.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    next_tid: u64,
    /// Who sent it, to whom, on which session, and how many resets that session had seen.
    sent: Vec<(u64, Id, Id, SessionId, u32)>,
    /// What each incarnation received from each node, in order.
    received: HashMap<(Id, usize), Vec<u64>>,
    resets: HashMap<SessionId, u32>,
    restarts: HashMap<usize, u32>,
}

impl Ledger {
    /// A message is sent; returns its number.
    pub(crate) fn sent(&mut self, from: Id, to: Id, session: SessionId) -> u64 {
        self.next_tid += 1;
        let resets = self.resets.get(&session).copied().unwrap_or_default();
        self.sent.push((self.next_tid, from, to, session, resets));
        self.next_tid
    }

    /// A message from node `from` is received.
    pub(crate) fn received(&mut self, by: Id, from: usize, tid: u64) {
        self.received.entry((by, from)).or_default().push(tid);
    }

    /// A session's user was told that messages may be lost.
    pub(crate) fn reset(&mut self, session: SessionId) {
        *self.resets.entry(session).or_default() += 1;
    }

    /// A node lost everything.
    pub(crate) fn restarted(&mut self, node: usize) {
        *self.restarts.entry(node).or_default() += 1;
    }

    /// How many messages were received.
    pub(crate) fn count(&self) -> usize {
        self.received.values().map(Vec::len).sum()
    }

    /// Once, in order, and nothing lost without a word.
    pub(crate) fn audit(&self) {
        for ((by, from), tids) in &self.received {
            assert!(
                tids.is_sorted_by(|a, b| a < b),
                "{by:?} received from {from} twice or out of order: {tids:?}"
            );
        }
        let all: HashSet<u64> = self.received.values().flatten().copied().collect();
        for (tid, from, to, session, resets) in &self.sent {
            let told = self.resets.get(session).is_some_and(|now| now > resets);
            let sender_gone = self.restarts.get(&from.0).is_some_and(|now| *now > from.1);
            let receiver_gone = self.restarts.get(&to.0).is_some_and(|now| *now > to.1);
            let lost = !all.contains(tid);
            assert!(
                !lost || told || sender_gone || receiver_gone,
                "message {tid} of {from:?} to {to:?} is lost, and nobody was told"
            );
        }
    }
}
