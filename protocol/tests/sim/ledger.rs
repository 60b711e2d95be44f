//! Was every message delivered as its session promised?

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A node in one of its incarnations.
pub(crate) type Id = (usize, u32);

/// A session of a node's incarnation.
pub(crate) type SessionId = (usize, u32, usize);

#[derive(Clone, Copy, Debug)]
struct Sent {
    from: Id,
    to: Id,
    session: SessionId,
    /// How many resets the session had reported by then.
    resets: u32,
    priority: u16,
    len: usize,
}

/// What an application did or was told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    /// It sent a message: `reply` if that answers one.
    Sent { from: usize, tid: u64, priority: u16, reply: bool },
    /// It received one.
    Received { by: usize, tid: u64, priority: u16 },
    /// A session is open; `met` if the other end of the same connection is too, and is not lost yet.
    Opened { met: bool },
    /// What was sent may be lost.
    Reset { node: usize },
}

/// What was sent and received, by all applications.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// All of it, as it came.
    history: Vec<Note>,
    /// By tid, from 1.
    sent: Vec<Sent>,
    /// What each session received, in order.
    received: BTreeMap<SessionId, Vec<u64>>,
    resets: HashMap<SessionId, u32>,
    /// Sessions that are over: closed by their user or, so they said, by themselves.
    ended: BTreeSet<SessionId>,
    /// Sessions that their user closed.
    closed: BTreeSet<SessionId>,
    restarts: HashMap<usize, u32>,
    /// Nodes whose peers may be told of resets: somebody lost state.
    disturbed: BTreeSet<usize>,
}

impl Ledger {
    /// A message is sent; returns its number.
    pub(crate) fn sent(&mut self, to: Id, session: SessionId, priority: u16, len: usize, reply: bool) -> u64 {
        let from = (session.0, session.1);
        let resets = self.resets.get(&session).copied().unwrap_or_default();
        self.sent.push(Sent { from, to, session, resets, priority, len });
        let tid = self.sent.len() as u64;
        self.history.push(Note::Sent { from: from.0, tid, priority, reply });
        tid
    }

    /// What the applications did and were told, in that order.
    pub(crate) fn history(&self) -> &[Note] {
        &self.history
    }

    /// The number of the next message.
    pub(crate) fn next_tid(&self) -> u64 {
        self.sent.len() as u64 + 1
    }

    /// A message is received by a session whose peer is node `from`.
    pub(crate) fn received(&mut self, by: SessionId, from: usize, tid: u64, priority: u16, data: &[u8]) {
        let sent = self.sent.get((tid as usize).wrapping_sub(1)).copied();
        let sent = sent.unwrap_or_else(|| panic!("message {tid} was never sent"));
        assert_eq!((sent.from.0, sent.to.0), (from, by.0), "message {tid} is somebody else's");
        assert_eq!((sent.priority, sent.len), (priority, data.len()), "message {tid} has changed");
        assert!(data.iter().all(|byte| *byte == tid as u8), "message {tid} has other data");
        assert!(!self.ended.contains(&by), "session {by:?} had ended before message {tid}");
        self.received.entry(by).or_default().push(tid);
        self.history.push(Note::Received { by: by.0, tid, priority });
    }

    /// A session is open, and perhaps at both ends of its connection.
    pub(crate) fn opened(&mut self, session: SessionId, met: bool) {
        assert!(!self.ended.contains(&session), "session {session:?} had ended before it opened");
        self.history.push(Note::Opened { met });
    }

    /// A session's user was told that messages may be lost.
    pub(crate) fn reset(&mut self, session: SessionId, over: bool) {
        assert!(!self.ended.contains(&session) || self.closed.contains(&session), "{session:?} ends twice");
        *self.resets.entry(session).or_default() += 1;
        self.history.push(Note::Reset { node: session.0 });
        if over {
            self.ended.insert(session);
        }
    }

    /// A session's user closed it.
    pub(crate) fn closed(&mut self, session: SessionId) {
        self.closed.insert(session);
        self.ended.insert(session);
        self.disturbed.insert(session.0);
    }

    /// A node lost everything.
    pub(crate) fn restarted(&mut self, node: usize) {
        *self.restarts.entry(node).or_default() += 1;
        self.disturbed.insert(node);
    }

    /// How many messages were received.
    pub(crate) fn count(&self) -> usize {
        self.received.values().map(Vec::len).sum()
    }

    /// Whether any user was told of a loss.
    pub(crate) fn resets(&self) -> u32 {
        self.resets.values().sum()
    }

    /// Whether any node lost state.
    pub(crate) fn is_disturbed(&self) -> bool {
        !self.disturbed.is_empty()
    }

    /// Whether this message was received.
    pub(crate) fn has(&self, tid: u64) -> bool {
        self.received.values().any(|tids| tids.contains(&tid))
    }

    /// What each session received is in the order of sending. Returns where each message was received.
    pub(crate) fn in_order(&self) -> BTreeMap<u64, Vec<SessionId>> {
        let mut by: BTreeMap<u64, Vec<SessionId>> = BTreeMap::new();
        for (session, tids) in &self.received {
            let mut last: HashMap<(Id, u16), u64> = HashMap::new();
            for tid in tids {
                let Sent { from, priority, .. } = self.sent[*tid as usize - 1];
                let last = last.entry((from, priority)).or_default();
                assert!(
                    *last < *tid,
                    "{session:?} received twice or out of order: {last} before {tid}: {tids:?}"
                );
                *last = *tid;
                by.entry(*tid).or_default().push(*session);
            }
        }
        by
    }

    /// Once, in order, and nothing lost without a word.
    pub(crate) fn audit(&self) {
        let by = self.in_order();
        // A second time only if the first session is no more.
        for (tid, sessions) in &by {
            let gone = |session: &&SessionId| {
                let restarts = self.restarts.get(&session.0).copied().unwrap_or_default();
                self.ended.contains(*session) || restarts > session.1
            };
            let alive = sessions.iter().filter(|session| !gone(session)).count();
            assert!(alive <= 1, "message {tid} was received by {sessions:?}");
            // Somebody lost state, or a lossy session ended and its user was told; the sender's goes on.
            let told = sessions.iter().any(|session| self.resets.contains_key(session));
            assert!(
                sessions.len() == 1 || self.is_disturbed() || told,
                "message {tid} was received by {sessions:?}, without need"
            );
        }
        for (tid, sent) in (1..).zip(&self.sent) {
            let Sent { from, to, session, resets, .. } = sent;
            let told = self.resets.get(session).is_some_and(|now| now > resets);
            let closed = self.closed.contains(session);
            let restarted = |id: &Id| self.restarts.get(&id.0).is_some_and(|now| *now > id.1);
            let excused = told || closed || restarted(from) || restarted(to);
            assert!(
                by.contains_key(&tid) || excused,
                "message {tid} of {session:?} to {to:?} is lost, and nobody was told"
            );
        }
    }
}
