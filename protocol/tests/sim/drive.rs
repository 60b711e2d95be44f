//! What does a driver owe its sessions? Everything it does after anything happened.

use bytes::Buf;
use cephwire_protocol::codec::{AddrVec, Chunks, MessageType, Payload};
use cephwire_protocol::{Action, Event, Placement, Session};

use super::net::{End, Happening};
use super::{Message, World};

/// Messages of this kind are not replied to.
pub(crate) const REPLY: MessageType = MessageType(1);

impl World {
    /// Transmits, does the actions, passes the events on, until quiet.
    pub(crate) fn drive(&mut self, node: usize, session: usize) {
        loop {
            self.transmit(node, session);
            let Some(action) = self.nodes[node].sessions[session].poll_action() else { break };
            self.trace(|| format!("node {node} session {session}: {action:?}"));
            match action {
                Action::Dial { link, to, .. } => {
                    self.nodes[node].owners.insert(link, session);
                    let latency = std::time::Duration::from_micros(50 + self.random.below(20_000));
                    let incarnation = self.nodes[node].incarnation;
                    self.net.at(self.now + latency, Happening::Dialed { node, link, to, incarnation });
                }
                Action::HangUp(link) => self.hang_up((node, link)),
                Action::Arriving(key) => self.place(node, session, &key),
            }
        }
        self.events(node, session);
        if self.nodes[node].sessions[session].is_closed() {
            let key = self.nodes[node].sessions[session].key().clone();
            self.nodes[node].table.remove(&key, &session);
        }
    }

    fn transmit(&mut self, node: usize, session: usize) {
        if self.nodes[node].stalled.contains(&session) {
            return;
        }
        while let Some(link) = self.nodes[node].sessions[session].link() {
            let mut out = Chunks::new();
            let result = self.nodes[node].sessions[session].poll_transmit(self.now, link, &mut out);
            if result.is_err() || out.is_empty() {
                return;
            }
            let bytes = out.copy_to_bytes(out.remaining());
            self.net.send(self.now, (node, link), &bytes, &mut self.random);
        }
    }

    fn hang_up(&mut self, end: End) {
        self.nodes[end.0].owners.remove(&end.1);
        self.net.close(self.now, end, &mut self.random);
    }

    fn place(&mut self, node: usize, newcomer: usize, key: &AddrVec) {
        let existing = self.nodes[node].table.find(key).filter(|existing| *existing != newcomer);
        let sessions = &mut self.nodes[node].sessions;
        let placement = match existing {
            None => Session::place(&mut sessions[newcomer], None, self.now),
            Some(existing) => {
                let [new, old] = sessions.get_disjoint_mut([newcomer, existing]).unwrap();
                Session::place(new, Some(old), self.now)
            }
        };
        self.trace(|| format!("node {node}: {newcomer} placed against {existing:?}: {placement:?}"));
        match placement {
            Placement::Open | Placement::Displace => {
                self.nodes[node].table.insert(key.clone(), newcomer);
            }
            Placement::Adopted(link) => {
                self.nodes[node].owners.insert(link, existing.unwrap());
            }
            Placement::Answered | Placement::Dropped => {}
        }
        if let Some(existing) = existing {
            self.drive(node, existing);
        }
    }

    /// Notes on which connection a session is open. Says whether it is at the other end too, and not lost there.
    fn meets(&mut self, node: usize, session: usize) -> bool {
        let Some(link) = self.nodes[node].sessions[session].link() else { return false };
        self.nodes[node].open.insert(link);
        let Some((peer, far)) = self.net.other((node, link)) else { return false };
        let nodes = &self.nodes;
        nodes[peer].open.contains(&far) && nodes[peer].owners.contains_key(&far)
    }

    fn events(&mut self, node: usize, session: usize) {
        let id = self.session_id(node, session);
        let mut replies = Vec::new();
        while let Some(event) = self.nodes[node].sessions[session].poll_event() {
            self.trace(|| format!("node {node} session {session}: {event:?}"));
            match event {
                Event::Message(mut received) => {
                    let Message { header, data, .. } = &received.message;
                    let header = *header;
                    let from = received.source.num as usize;
                    let bytes = Payload::clone(data).into_bytes();
                    self.ledger.received(id, from, header.tid, header.priority, &bytes);
                    if header.kind != REPLY && self.random.one_in(4) {
                        replies.push((from, header.priority));
                    }
                    if self.is_throttled() && self.random.one_in(2) {
                        let incarnation = self.nodes[node].incarnation;
                        let until = self.now + std::time::Duration::from_micros(self.random.below(30_000));
                        self.net.at(until, Happening::Done { node, incarnation });
                        if self.random.one_in(2) {
                            // It waits no longer to be dispatched, and is not done with.
                            received.dispatched();
                        }
                        self.nodes[node].held.push_back(received);
                    }
                }
                Event::Open { .. } => {
                    let met = self.meets(node, session);
                    self.ledger.opened(id, met);
                }
                Event::Reset(_) => self.ledger.reset(id, true),
                Event::RemoteReset => self.ledger.reset(id, false),
                _ => {}
            }
        }
        for (to, priority) in replies {
            self.send_on(node, session, to, priority, REPLY);
        }
        if self.is_throttled() {
            self.unpause(node);
        }
    }
}
