//! The network, the driver of the sessions, and the interceptor between them.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use bytes::Buf;
use cephwire_protocol::codec::{AddrVec, Chunks, EntityAddr, Side};
use cephwire_protocol::{Action, Event, LinkId, Placement, Session};

use super::points::{CONNECTING, Direction, Point, What};
use super::tap::{Piece, Tap};
use super::{PEER, Rig, TEST};

/// From one side to the other.
const LATENCY: Duration = Duration::from_micros(100);

/// One end of a pipe: a node and its name for the link.
pub(super) type End = (usize, LinkId);

/// A pipe as one of its ends sees it.
pub(super) struct Pipe {
    other: End,
    side: Side,
    tap: std::rc::Rc<std::cell::RefCell<Tap>>,
}

/// What will happen.
#[derive(Debug)]
pub(super) enum Happening {
    Dialed { node: usize, link: LinkId, to: EntityAddr, failed: bool },
    Piece { to: End, piece: Piece },
    Eof { to: End },
}

/// A connection of Test that stands still.
pub(super) struct Held {
    what: What,
    /// Bytes that go on to the network.
    outgoing: VecDeque<Piece>,
    /// What has arrived; nothing stands for the end. The first may have been intercepted already.
    incoming: VecDeque<Option<Piece>>,
    seen: bool,
}

impl Rig {
    fn at(&mut self, time: Instant, happening: Happening) {
        self.order += 1;
        self.queue.insert((time, self.order), happening);
    }

    /// The next thing that happens, if it does before `end`.
    pub(super) fn step(&mut self, end: Instant) -> bool {
        let happening = self.queue.first_key_value().map(|(key, _)| key.0);
        let timer = [TEST, PEER]
            .into_iter()
            .flat_map(|node| {
                let sessions = self.nodes[node].sessions.iter().enumerate();
                sessions.filter_map(move |(n, session)| Some((session.poll_timeout()?, node, n)))
            })
            .min();
        match (happening, timer) {
            (Some(at), timer) if at <= end && timer.is_none_or(|(due, ..)| at <= due) => {
                self.now = self.now.max(at);
                if let Some((_, happening)) = self.queue.pop_first() {
                    self.happen(happening);
                }
                true
            }
            (_, Some((due, node, session))) if due <= end => {
                self.now = self.now.max(due);
                self.nodes[node].sessions[session].handle_timeout(self.now);
                self.drive(node, session);
                true
            }
            _ => false,
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Dialed { node, link, to, failed } => self.dialed(node, link, to, failed),
            Happening::Piece { to, piece } => self.incoming(to, Some(piece)),
            Happening::Eof { to } => self.incoming(to, None),
        }
    }

    fn dialed(&mut self, node: usize, link: LinkId, to: EntityAddr, failed: bool) {
        let Some(&session) = self.nodes[node].owners.get(&link) else { return };
        let outcome = if failed { Err(ErrorKind::ConnectionReset) } else { Ok(()) };
        if self.nodes[node].sessions[session].handle_dialed(self.now, link, outcome).is_err() {
            return;
        }
        if !failed {
            let other = 1 - node;
            assert_eq!(self.nodes[other].addr, to, "everybody dials the other");
            let from = ([127, 0, 0, 1], 40000 + (self.order % 20000) as u16).into();
            let local = std::sync::Arc::clone(&self.nodes[other].local);
            let (incoming, accepted) =
                Session::incoming(local, from, self.version, self.now).expect("accepted");
            let index = self.add(other, incoming);
            self.nodes[other].owners.insert(accepted, index);
            if other == TEST {
                self.outcomes[index].a[0] += 1;
            }
            let tap = std::rc::Rc::new(std::cell::RefCell::new(Tap::new(self.version)));
            let (near, far) = ((node, link), (other, accepted));
            self.pipes.insert(near, Pipe { other: far, side: Side::Client, tap: tap.clone() });
            self.pipes.insert(far, Pipe { other: near, side: Side::Server, tap });
            self.drive(other, index);
        }
        self.drive(node, session);
    }

    /// Counts Test's passing a point; says what shall happen there.
    fn intercept(&mut self, link: LinkId, session: usize, point: Point) -> Option<What> {
        let counts = self.version == cephwire_protocol::Version::V2 || self.claims.insert((link, point));
        if counts {
            self.outcomes[session].claimed(point);
        }
        let hits = self.hits.entry(point).or_default();
        *hits += 1;
        let round = *hits;
        let planned = self.plan.iter().find(|planned| planned.point == point && planned.round == round)?;
        let what = planned.what;
        self.log(|| format!("{what:?} at {point:?}, session {session}, {link:?}"));
        Some(what)
    }

    fn incoming(&mut self, end: End, piece: Option<Piece>) {
        let (node, link) = end;
        if let Some(held) = self.held.get_mut(&link).filter(|_| node == TEST) {
            return held.incoming.push_back(piece);
        }
        let Some(&session) = self.nodes[node].owners.get(&link) else { return };
        let Some(piece) = piece else {
            self.pipes.remove(&end);
            self.log(|| format!("node {node} session {session}: end of {link:?}"));
            let _ = self.nodes[node].sessions[session].handle_eof(self.now, link);
            return self.drive(node, session);
        };
        if node == TEST {
            let what = self.intercept(link, session, Point(piece.tag, Direction::Read));
            match what {
                None => {}
                Some(What::Fault) => return self.break_link(session, link),
                Some(what) => {
                    if what == What::Stall {
                        self.cut(end);
                    }
                    let incoming = VecDeque::from([Some(piece)]);
                    let held = Held { what, outgoing: VecDeque::new(), incoming, seen: true };
                    self.held.insert(link, held);
                    return;
                }
            }
        }
        self.feed(end, &piece);
    }

    fn feed(&mut self, (node, link): End, piece: &Piece) {
        self.log(|| format!("node {node} reads {:?} from {link:?}", piece.tag));
        let mut rest = piece.bytes.clone();
        while rest.has_remaining() {
            // An adoption may give the link to another session.
            let Some(&session) = self.nodes[node].owners.get(&link) else { return };
            let Ok(Some(mut buf)) = self.nodes[node].sessions[session].recv_buf(link) else { return };
            let len = buf.capacity().min(rest.len());
            buf.extend_from_slice(&rest.split_to(len));
            let _ = self.nodes[node].sessions[session].handle_recv(self.now, link, buf);
            self.drive(node, session);
        }
    }

    /// The transport fails at Test's end.
    fn break_link(&mut self, session: usize, link: LinkId) {
        self.cut((TEST, link));
        let _ = self.nodes[TEST].sessions[session].handle_eof(self.now, link);
        self.drive(TEST, session);
    }

    /// The transport ends; the other end learns it after what was written.
    fn cut(&mut self, end: End) {
        let Some(pipe) = self.pipes.remove(&end) else { return };
        self.pipes.remove(&pipe.other);
        self.at(self.now + LATENCY, Happening::Eof { to: pipe.other });
    }

    /// Lets all connections go on that stand still.
    pub(crate) fn unblock(&mut self) {
        let mut links: Vec<LinkId> = self.held.keys().copied().collect();
        links.sort();
        assert!(!links.is_empty(), "nothing is blocked");
        for link in links {
            let Some(held) = self.held.remove(&link) else { continue };
            let mut session = self.nodes[TEST].owners.get(&link).copied();
            self.log(|| format!("{link:?} of session {session:?} goes on"));
            let mut outgoing = held.outgoing;
            if let (Some(piece), Some(session)) = (outgoing.pop_front(), session) {
                self.put((TEST, link), piece);
                self.write(session, link, outgoing);
            }
            let mut incoming = held.incoming;
            if held.seen
                && let Some(Some(piece)) = incoming.pop_front()
            {
                self.feed((TEST, link), &piece);
            }
            if held.what == What::Stall {
                incoming.clear();
                incoming.push_back(None);
            }
            for piece in incoming {
                self.incoming((TEST, link), piece);
            }
            session = self.nodes[TEST].owners.get(&link).copied();
            if let Some(session) = session {
                self.drive(TEST, session);
            }
        }
    }

    /// What a driver does after anything: transmit, actions, events, until quiet.
    pub(super) fn drive(&mut self, node: usize, session: usize) {
        loop {
            self.transmit(node, session);
            let sessions = &mut self.nodes[node].sessions;
            if let Some(action) = sessions[session].poll_action() {
                self.act(node, session, action);
            } else if let Some(event) = sessions[session].poll_event() {
                self.tell(node, session, event);
            } else {
                break;
            }
        }
        if self.nodes[node].sessions[session].is_closed() {
            let key = self.nodes[node].sessions[session].key().clone();
            self.nodes[node].table.remove(&key, &session);
        }
    }

    fn act(&mut self, node: usize, session: usize, action: Action) {
        self.log(|| format!("node {node} session {session}: {action:?}"));
        match action {
            Action::Dial { link, to, .. } => {
                self.nodes[node].owners.insert(link, session);
                let mut failed = false;
                if node == TEST {
                    self.outcomes[session].c[0] += 1;
                    self.dials.push(self.now - self.start);
                    failed = self.intercept(link, session, CONNECTING) == Some(What::Fault);
                }
                self.at(self.now + LATENCY, Happening::Dialed { node, link, to, failed });
            }
            Action::HangUp(link) => {
                self.nodes[node].owners.remove(&link);
                self.cut((node, link));
            }
            Action::Arriving(key) => self.place(node, session, &key),
        }
    }

    fn transmit(&mut self, node: usize, session: usize) {
        while let Some(link) = self.nodes[node].sessions[session].link() {
            let held = self.held.get(&link).filter(|_| node == TEST).map(|held| held.what);
            if held == Some(What::Block) {
                return;
            }
            let mut out = Chunks::new();
            let polled = self.nodes[node].sessions[session].poll_transmit(self.now, link, &mut out);
            if polled.is_err() || out.is_empty() {
                return;
            }
            let Some(pipe) = self.pipes.get(&(node, link)) else { continue };
            let bytes = out.copy_to_bytes(out.remaining());
            let pieces = pipe.tap.borrow_mut().cut(pipe.side, bytes);
            if node == TEST {
                self.write(session, link, pieces.into());
            } else {
                for piece in pieces {
                    self.put((node, link), piece);
                }
            }
        }
    }

    /// Test writes.
    fn write(&mut self, session: usize, link: LinkId, mut pieces: VecDeque<Piece>) {
        while let Some(piece) = pieces.pop_front() {
            let what = self.intercept(link, session, Point(piece.tag, Direction::Write));
            match what {
                None => self.put((TEST, link), piece),
                Some(What::Fault) => return self.break_link(session, link),
                Some(What::Block) => pieces.push_front(piece),
                Some(What::Stall) => {
                    self.put((TEST, link), piece);
                    self.cut((TEST, link));
                    pieces.clear();
                }
            }
            if let Some(what) = what {
                let held = Held { what, outgoing: pieces, incoming: VecDeque::new(), seen: false };
                self.held.insert(link, held);
                return;
            }
        }
    }

    /// Bytes go on their way.
    fn put(&mut self, end: End, piece: Piece) {
        self.log(|| format!("node {} writes {:?} to {:?}", end.0, piece.tag, end.1));
        let Some(to) = self.pipes.get(&end).map(|pipe| pipe.other) else { return };
        self.at(self.now + LATENCY, Happening::Piece { to, piece });
    }

    fn place(&mut self, node: usize, newcomer: usize, key: &AddrVec) {
        let existing = self.nodes[node].table.find(key).filter(|existing| *existing != newcomer);
        let sessions = &mut self.nodes[node].sessions;
        let placement = match existing {
            None => Session::place(&mut sessions[newcomer], None, self.now),
            Some(existing) => {
                let [new, old] = sessions.get_disjoint_mut([newcomer, existing]).expect("two");
                Session::place(new, Some(old), self.now)
            }
        };
        self.log(|| format!("node {node}: {newcomer} placed against {existing:?}: {placement:?}"));
        match (placement, existing) {
            (Placement::Open | Placement::Displace, _) => {
                self.nodes[node].table.insert(key.clone(), newcomer);
            }
            (Placement::Adopted(link), Some(existing)) => {
                self.nodes[node].owners.insert(link, existing);
                if node == TEST {
                    self.replaced.insert(newcomer);
                }
            }
            _ => {}
        }
        if let Some(existing) = existing {
            self.drive(node, existing);
        }
    }

    fn tell(&mut self, node: usize, session: usize, event: Event) {
        self.log(|| format!("node {node} session {session}: {event:?}"));
        match event {
            Event::Message(received) => self.arrived(node, received.message.header.tid),
            Event::Open { side, .. } => {
                if node == TEST {
                    self.outcomes[session].opened(side);
                }
                self.track(node, session);
            }
            Event::Reset(_) if node == TEST => self.outcomes[session].r[0] += 1,
            Event::RemoteReset if node == TEST => self.outcomes[session].r[1] += 1,
            Event::RemoteReset => self.peer_remote_resets += 1,
            _ => {}
        }
    }
}
