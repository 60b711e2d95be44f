//! How does a session agree with its peer on where they stopped?
//!
//! The dialogue of claims and replies on both sides, until the stream is open: session spec §6 (v1), session2
//! spec §5 and §6 (v2). The tables that judge a claim are in [`resume`](crate::resume).

use std::time::Duration;

use cephwire_codec::{AddrType, AddrVec, EntityAddr, Features, Side};

use super::{Accepted, Seqs, Session, State};
use crate::connection::{Connection, Version};
use crate::error::{Error, Violation};
use crate::event::{Action, Event};
use crate::handshake::{Answer, Opened, Step};
use crate::inject::DelayQueue;
use crate::local::port;
use crate::resume::{Claim, Reply, number};

impl Session {
    pub(super) fn step(&mut self, step: Step) -> Result<(), Error> {
        match step {
            Step::Quiet => Ok(()),
            Step::WantClaim => self.make_claim(),
            Step::Retry(reply) => self.retry(reply),
            Step::Claimed(claim) => self.claimed(claim),
            Step::Refused => self.count_claim(),
            Step::Open(opened) if self.state == State::Connecting => self.dialed_open(opened),
            Step::Open(opened) => {
                if let Some(received) = opened.received {
                    self.discard(received);
                }
                self.set_open();
                Ok(())
            }
        }
    }

    /// Dialing: says which session this is.
    fn make_claim(&mut self) -> Result<(), Error> {
        if self.version == Version::V1 && self.seqs.connect_seq >= u32::MAX.into() {
            // The answer to it, plus 1, could not be written: both begin anew, as the server finds with 0.
            self.reset_session();
        }
        let Seqs { global_seq, connect_seq, client_cookie, server_cookie, .. } = self.seqs;
        let claim = match self.version {
            Version::V1 => Claim::V1 {
                global_seq: number(global_seq),
                connect_seq: number(connect_seq),
                reconnect_seq: true,
            },
            Version::V2 if server_cookie == 0 => {
                if client_cookie == 0 && !self.policy.lossy {
                    self.seqs.client_cookie = self.local.random();
                }
                Claim::New { cookie: self.seqs.client_cookie, global_seq }
            }
            Version::V2 => {
                Claim::Resume { client_cookie, server_cookie, global_seq, connect_seq, msg_seq: self.in_seq }
            }
        };
        let (in_seq, lossy) = (self.in_seq, self.policy.lossy);
        match &mut self.conn {
            Some(conn) => conn.claim(&self.local, claim, in_seq, lossy),
            None => Ok(()),
        }
    }

    /// Dialing: the server wants another claim.
    fn retry(&mut self, reply: Reply) -> Result<(), Error> {
        self.count_claim()?;
        match reply {
            Reply::Wait => return Err(Error::Waiting),
            Reply::RetryGlobal(seen) => self.seqs.global_seq = self.local.next_global_seq(seen),
            Reply::RetrySession(seq) => {
                let next = if self.version == Version::V1 { Some(seq) } else { seq.checked_add(1) };
                self.seqs.connect_seq = next.filter(|next| *next <= u32::MAX.into()).ok_or_else(|| {
                    self.violation(&format!("connect_seq {seq}"), "one that can be counted up")
                })?;
            }
            Reply::Reset { full: true } => self.reset_session(),
            Reply::Reset { full: false } => {
                self.seqs.server_cookie = 0;
                self.seqs.connect_seq = 0;
                self.in_seq = 0;
            }
        }
        self.make_claim()
    }

    fn count_claim(&mut self) -> Result<(), Error> {
        let most = self.local.options.claims;
        let Some(conn) = &mut self.conn else { return Ok(()) };
        conn.claims += 1;
        if conn.claims <= most {
            return Ok(());
        }
        Err(self.violation("one claim or answer more", &format!("at most {most} on a connection")))
    }

    fn violation(&self, found: &str, expected: &str) -> Error {
        let phase = self.conn.as_ref().map_or("", Connection::phase);
        let number = self.conn.as_ref().map_or(0, Connection::frames);
        Violation { phase, number, found: found.to_owned(), expected: expected.to_owned() }.into()
    }

    /// Dialing: the stream is open.
    fn dialed_open(&mut self, opened: Opened) -> Result<(), Error> {
        if let Some(connect_seq) = opened.connect_seq {
            // v1. Ceph's client aborts on another one.
            if connect_seq != self.seqs.connect_seq + 1 {
                return Err(self.violation(&format!("connect_seq {connect_seq}"), "the claim's plus 1"));
            }
            self.seqs.connect_seq = connect_seq;
        }
        if let Some(cookie) = opened.cookie {
            self.seqs.server_cookie = cookie;
        }
        if let Some(lossy) = opened.lossy {
            self.policy.lossy = lossy;
            self.seqs.peer_global_seq = opened.global_seq;
        }
        if let Some(received) = opened.received {
            self.discard(received);
        }
        self.take_facts();
        self.set_open();
        self.announce(Side::Client);
        Ok(())
    }

    /// The peer says that `seq` is the last it received.
    fn discard(&mut self, seq: u64) {
        let before = self.outbox.queued();
        self.outbox.discard(seq);
        if self.outbox.queued() < before {
            self.bears_fruit();
        }
    }

    /// Connections of this session are of use: when one breaks, there shall be another one at once.
    pub(super) fn bears_fruit(&mut self) {
        self.fruitless = 0;
        self.backoff = Duration::ZERO;
    }

    pub(super) fn set_open(&mut self) {
        self.state = State::Open;
        if self.fruitless <= self.local.options.fruitless {
            self.backoff = Duration::ZERO;
        }
        self.stats.reconnects += u64::from(self.stats.connects > 0);
        self.stats.connects += 1;
        if self.delayed.is_none() && self.local.injected(|injector| injector.delays(self.kind)) == Some(true)
        {
            self.delayed = Some(DelayQueue::new());
        }
        self.once_ready |= self.accepted == Accepted::No;
        self.replacing = false;
        if let Some(conn) = &mut self.conn {
            conn.last_active = self.now;
            conn.facts.times.open = Some(self.now);
        }
    }

    pub(super) fn announce(&mut self, side: Side) {
        self.announced = true;
        self.once_ready = true;
        let features = self.conn.as_ref().map_or(Features(0), |conn| conn.facts.features);
        self.events.push_back(Event::Open { side, features });
    }

    /// Takes over what the handshake told of the peer. Where an earlier session goes on in v2, it told nothing new.
    pub(super) fn take_facts(&mut self) {
        let Some(conn) = &mut self.conn else { return };
        let facts = &mut conn.facts;
        self.kind = facts.peer.kind;
        // An accepted connection of v1 tells it anew with each claim, or does not know it.
        if facts.peer.num != -1 || (self.version, facts.side) == (Version::V1, Side::Server) {
            self.gid = facts.peer.num;
        }
        if let Some(entity) = &facts.authenticated {
            self.entity = Some(entity.clone());
        }
        if self.version == Version::V2 && facts.peer_features.is_empty() {
            facts.peer_features = self.peer_features;
            facts.peer_required = self.peer_required;
            facts.features = self.features;
        } else {
            self.peer_features = facts.peer_features;
            self.peer_required = facts.peer_required;
            self.features = facts.features;
        }
    }

    /// Accepting: the client claims a session.
    fn claimed(&mut self, claim: Claim) -> Result<(), Error> {
        self.count_claim()?;
        self.take_facts();
        let Some(conn) = &self.conn else { return Ok(()) };
        self.policy = conn.policy.clone();
        if self.replacing {
            return self.open_claim(&claim);
        }
        self.key = conn.facts.addrs.clone();
        self.target = redial_target(&conn.facts.addrs, self.version, conn.facts.socket);
        // Who never bound says port 0.
        self.unreachable = port(&self.target) == 0 || self.target.is_blank_ip();
        if self.policy.is_anonymous() {
            return match claim {
                // There is none to resume, whatever the table has under the addresses. (Ceph looks, and may take a
                // session over that is another's.)
                Claim::Resume { .. } => self.reply(Reply::Reset { full: true }),
                _ => self.open_claim(&claim),
            };
        }
        self.claim = Some(claim);
        self.actions.push_back(Action::Arriving(self.key.clone()));
        Ok(())
    }

    /// Accepting: the claim is not granted.
    pub(super) fn reply(&mut self, reply: Reply) -> Result<(), Error> {
        match &mut self.conn {
            Some(conn) => conn.answer(&self.local, &Answer::Reply(reply)),
            None => Ok(()),
        }
    }

    /// Accepting: the claim is granted.
    pub(super) fn open_claim(&mut self, claim: &Claim) -> Result<(), Error> {
        let global_seq = self.local.next_global_seq(0);
        let lossy = self.policy.lossy;
        let resumed = match *claim {
            Claim::V1 { global_seq, connect_seq, reconnect_seq } => {
                // The tables grant no such claim. An anonymous one is not judged, nor one that follows a granted one.
                let next = connect_seq.checked_add(1).ok_or_else(|| {
                    self.violation(&format!("connect_seq {connect_seq}"), "one that can be counted up")
                })?;
                self.seqs.connect_seq = next.into();
                self.seqs.peer_global_seq = global_seq.into();
                let resumed = reconnect_seq && !self.reset_by_peer;
                if !resumed {
                    self.outbox.discard(0);
                    self.in_seq = 0;
                    self.reset_by_peer = false;
                }
                resumed
            }
            Claim::New { cookie, global_seq } => {
                self.outbox.discard(0);
                self.in_seq = 0;
                self.seqs.client_cookie = cookie;
                self.seqs.server_cookie = if lossy { 0 } else { self.local.random() };
                self.seqs.peer_global_seq = global_seq;
                false
            }
            Claim::Resume { global_seq, connect_seq, msg_seq, .. } => {
                self.discard(msg_seq);
                self.seqs.peer_global_seq = global_seq;
                self.seqs.connect_seq = connect_seq;
                true
            }
        };
        let Seqs { connect_seq, server_cookie: cookie, .. } = self.seqs;
        let answer = Answer::Open { in_seq: self.in_seq, global_seq, connect_seq, cookie, lossy, resumed };
        if let Some(conn) = &mut self.conn {
            conn.answer(&self.local, &answer)?;
        }
        self.registered = !self.policy.is_anonymous();
        self.ack_due = false;
        match self.version {
            Version::V1 => {
                self.accepted = Accepted::Written;
                if resumed {
                    self.state = State::Handled;
                    self.replacing = false;
                } else {
                    self.set_open();
                }
            }
            Version::V2 => {
                self.set_open();
                self.announce(Side::Server);
            }
        }
        Ok(())
    }
}

/// What to dial when an accepted session must reconnect.
///
/// An address of that version, if possible of the family in which the peer came.
fn redial_target(addrs: &AddrVec, version: Version, from: Option<EntityAddr>) -> EntityAddr {
    let speaks = |addr: &&EntityAddr| (addr.kind == AddrType::LEGACY) == (version == Version::V1);
    let v4 = |addr: &EntityAddr| addr.ip().map(|ip| ip.is_ipv4());
    let family = from.as_ref().and_then(v4);
    let mut speaking = addrs.0.iter().filter(speaks);
    let same = speaking.clone().find(|addr| v4(addr) == family);
    same.or_else(|| speaking.next()).or_else(|| addrs.0.first()).copied().unwrap_or_default()
}
