//! Does a schedule come to an end, with nobody waiting and all books balanced?

use std::fmt;
use std::time::Duration;

use cephwire_protocol::Session;
use cephwire_protocol::codec::{Timestamp, priority};

use super::World;

impl World {
    /// Lets the network recover and all sessions come to rest; then each pair that can talk does.
    pub(crate) fn settle(&mut self) {
        self.refuse = 0;
        self.run(Duration::from_secs(120));
        self.give_up();
        // A server that has something to say waits for its client, which may have nothing: it has now. And
        // who lost a session may learn of it only now.
        for _ in 0..2 {
            for (from, to) in self.pairs() {
                self.send(from, to, priority::DEFAULT);
            }
            self.run(Duration::from_secs(120));
        }
        self.rest();
        let resets = self.ledger.resets();
        for (from, to) in self.pairs() {
            // One after the other: where two lossy ones cross, one is lost.
            let Some(tid) = self.send(from, to, priority::DEFAULT) else { continue };
            self.run(Duration::from_secs(1));
            assert!(self.ledger.has(tid), "message {tid} does not arrive, though all is well");
            let session = self.find(from, to).map(|session| &self.nodes[from].sessions[session]);
            let kept =
                session.filter(|session| session.is_open()).map(|session| session.outbox().unacknowledged());
            assert_eq!(kept.unwrap_or_default(), 0, "message {tid} is not acknowledged, though all is well");
        }
        if self.setup.policies.iter().flatten().all(|policy| !policy.lossy) {
            assert_eq!(self.ledger.resets(), resets, "a reset, though all is well");
        }
        self.rest();
        self.alive();
    }

    /// Users give up peers that are no more. A claim of such a peer may have arrived after its restart under another
    /// name, when those who knew the old one had given it up already; what then has something to send dials for ever.
    /// Nothing on the wire tells a session that its peer will not come back: maps do (session spec §12).
    fn give_up(&mut self) {
        for node in 0..self.nodes.len() {
            for session in 0..self.nodes[node].sessions.len() {
                let there = &self.nodes[node].sessions[session];
                let known = self.nodes.iter().any(|node| *there.key() == node.addr.into());
                if !known && !there.key().0.is_empty() && !there.is_closed() {
                    assert!(!there.is_open(), "node {node} session {session} is open to nobody: {there:#?}");
                    self.close(node, session, false);
                }
            }
        }
    }

    fn pairs(&self) -> Vec<(usize, usize)> {
        let count = self.nodes.len();
        let pairs = (0..count).flat_map(|from| (0..count).map(move |to| (from, to)));
        let mut pairs: Vec<_> = pairs.filter(|(from, to)| from != to).collect();
        // Servers last: they wait for their clients.
        pairs.sort_by_key(|(from, to)| self.policy(*from, *to).server);
        pairs
    }

    /// Waits until no session is about to do anything.
    fn rest(&mut self) {
        for _ in 0..1000 {
            if self.settled().is_ok() && self.net.queue.is_empty() {
                return;
            }
            self.run(Duration::from_millis(50));
        }
        self.settled().unwrap_or_else(|waits| panic!("{waits}"));
        panic!("the network is never quiet");
    }

    /// Every open session answers a keepalive.
    fn alive(&mut self) {
        self.clock += 1;
        let stamp = Timestamp { sec: self.clock, nsec: 7 };
        let mut asked = Vec::new();
        for node in 0..self.nodes.len() {
            self.nodes[node].local.set_wall_clock(stamp);
            for session in 0..self.nodes[node].sessions.len() {
                if self.nodes[node].sessions[session].is_open() {
                    self.nodes[node].sessions[session].keepalive();
                    self.drive(node, session);
                    asked.push((node, session));
                }
            }
        }
        self.run(Duration::from_secs(5));
        for (node, session) in asked {
            let answer = self.nodes[node].sessions[session].last_keepalive_ack();
            let peer = &self.nodes[node].sessions[session];
            assert_eq!(answer, Some(stamp), "node {node} session {session} is not answered: {peer:#?}");
        }
    }

    fn settled(&self) -> Result<(), Waits<'_>> {
        for (node, there) in self.nodes.iter().enumerate() {
            for (index, session) in there.sessions.iter().enumerate() {
                let quiet = session.is_open() || session.is_closed() || session.is_standby();
                let outbox = session.outbox();
                let empty = outbox.is_empty() && outbox.unacknowledged() == 0 && outbox.queued_bytes() == 0;
                // A server's queue waits for its client.
                if !quiet || !(empty || (session.is_standby() && session.policy().server)) {
                    return Err(Waits { node, index, session });
                }
            }
        }
        Ok(())
    }

    /// Checks that nothing waits for ever and that the ledger's books balance.
    pub(crate) fn audit(&self) {
        self.settled().unwrap_or_else(|waits| panic!("{waits}"));
        for (n, node) in self.nodes.iter().enumerate() {
            assert!(node.held.is_empty(), "node {n} still has messages");
            for throttle in &node.throttles {
                let left = (throttle.current(), throttle.waiters());
                assert_eq!(left, (0, 0), "a throttle of node {n} is not empty: {throttle:?}");
            }
        }
        self.ledger.audit();
    }
}

/// A session that waits for something that does not come.
struct Waits<'a> {
    node: usize,
    index: usize,
    session: &'a Session,
}

impl fmt::Display for Waits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} session {} waits: {:#?}", self.node, self.index, self.session)
    }
}
