//! Where does a newcomer belong, and what becomes of the session that is there already?

use std::time::Instant;

use cephwire_codec::{AddrType, AddrVec, EntityAddr, EntityType};

use super::{Session, State};
use crate::connection::{Connection, Version};
use crate::error::Error;
use crate::event::LinkId;
use crate::handshake::Answer;
use crate::local::sorts_before;
use crate::resume::{Claim, Existing, Newcomer, Reply, Verdict, judge};

/// What became of a newcomer. As with [`Action`](crate::Action), a driver must know them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// It is open, or will be when its reply is out: put it into the table.
    Open,
    /// The same, in the place of the session that was there and has ended.
    Displace,
    /// The session that was there has taken its link over; the newcomer is no more.
    Adopted(LinkId),
    /// It was answered something else, or does not arrive (any more). It goes on, and may arrive again.
    Answered,
    /// It is no more.
    Dropped,
}

impl Session {
    /// Judges the claim of a newcomer that said [`Action::Arriving`](crate::Action::Arriving), against the session that
    /// is registered under its addresses.
    pub fn place(newcomer: &mut Self, existing: Option<&mut Self>, now: Instant) -> Placement {
        newcomer.now = now;
        let Some(claim) = newcomer.claim.take() else {
            return if newcomer.is_closed() { Placement::Dropped } else { Placement::Answered };
        };
        let placement = newcomer.placed(&claim, existing, now);
        placement.unwrap_or_else(|error| {
            newcomer.fault(error);
            Placement::Dropped
        })
    }

    fn placed(
        &mut self,
        claim: &Claim,
        mut existing: Option<&mut Self>,
        now: Instant,
    ) -> Result<Placement, Error> {
        let occupied = existing.is_some();
        if let Some(existing) = existing.as_deref().filter(|existing| !existing.is_closed()) {
            self.check_owner(existing)?;
        }
        if let Some(other) = existing.take_if(|existing| existing.version != self.version) {
            // A session of the other version is marked down.
            other.finish(None, false);
        }
        let (own, peer) = self.race_addrs();
        let newcomer = Newcomer {
            policy: &self.policy,
            peer_is_smaller: sorts_before(&peer, &own),
            peer_is_greater: sorts_before(&own, &peer),
        };
        match judge(claim, newcomer, existing.as_deref().map(Self::view)) {
            Verdict::Open => {
                self.open_claim(claim)?;
                // A client may speak before it is answered.
                self.pump();
                Ok(if occupied { Placement::Displace } else { Placement::Open })
            }
            Verdict::Displace => {
                if let Some(existing) = existing {
                    existing.now = now;
                    if self.version == Version::V1 && existing.announced {
                        // Row 10: its user, if it has one, is told of both.
                        existing.reset_session();
                    }
                    existing.end(None);
                }
                self.open_claim(claim)?;
                self.pump();
                Ok(Placement::Displace)
            }
            Verdict::Answer(reply) => {
                if let (Some(existing), Reply::Reset { .. }) = (existing, reply) {
                    existing.now = now;
                    existing.answers_reset(claim);
                }
                self.answer(reply)
            }
            Verdict::AnswerWait => {
                if let Some(existing) = existing {
                    existing.keepalive = true;
                }
                self.answer(Reply::Wait)
            }
            Verdict::Drop => {
                self.end(None);
                Ok(Placement::Dropped)
            }
            Verdict::Replace { hard, reset } => {
                let (Some(existing), Some(conn)) = (existing, self.conn.take()) else {
                    self.end(None);
                    return Ok(Placement::Dropped);
                };
                let link = conn.link;
                self.retire();
                existing.now = now;
                if reset {
                    existing.reset_session();
                }
                match existing.adopt(conn, claim, hard) {
                    Ok(()) => existing.pump(),
                    Err(error) => existing.fault(error),
                }
                Ok(Placement::Adopted(link))
            }
        }
    }

    /// Whether the newcomer is the peer of that session, as far as both are known: addresses are only what it says.
    /// (Ceph compares nothing.)
    fn check_owner(&self, existing: &Self) -> Result<(), Error> {
        let same_kind = self.kind == existing.kind;
        let same_entity = match (&self.entity, &existing.entity) {
            (Some(entity), Some(owner)) => entity == owner,
            // Daemons have clients inside them, which have their names; no client has a daemon inside.
            (Some(entity), None) => entity.kind == existing.kind || existing.kind == EntityType::CLIENT,
            (None, _) => true,
        };
        if same_kind && same_entity {
            return Ok(());
        }
        Err(Error::Usurper { owner: existing.in_words(), found: self.in_words() })
    }

    /// Who the peer is: what it says, and what was proven.
    fn in_words(&self) -> String {
        let kind = self.kind;
        self.entity.as_ref().map_or_else(|| format!("a {kind}"), |entity| format!("a {kind}, {entity}"))
    }

    /// v2: the peer, which wants to resume this session, is told to begin anew. It says CLIENT_IDENT next, and until
    /// that is here two other connections must not open.
    fn answers_reset(&mut self, claim: &Claim) {
        let Claim::Resume { client_cookie, global_seq, .. } = *claim else { return };
        if self.policy.lossy {
            // It has no name, and so was not meant.
            return;
        }
        // Its earlier attempts are dead: a peer makes one at a time. A CLIENT_IDENT of one of them that comes late is
        // stale (rule 3 there). Were it taken up, that would give up the connection on which the peer is answered; both
        // would find theirs dead, dial at once, and could miss each other so again and again. (Ceph remembers only the
        // global_seq of claims that it grants.)
        self.seqs.peer_global_seq = self.seqs.peer_global_seq.max(global_seq);
        let meant = client_cookie != 0 && client_cookie == self.seqs.client_cookie;
        if meant && self.state == State::Connecting && self.seqs.server_cookie == 0 {
            // Rule 5 of SESSION_RECONNECT: the peer is told that nothing came of this side's attempt. So nothing may:
            // with the answer still on its way, both would open, and the peer would send again what it then received.
            // (Ceph leaves it to chance.)
            self.fault(Error::Overtaken);
        }
    }

    fn answer(&mut self, reply: Reply) -> Result<Placement, Error> {
        self.reply(reply)?;
        // More may have arrived behind the claim.
        self.pump();
        Ok(if self.is_closed() { Placement::Dropped } else { Placement::Answered })
    }

    /// The session goes on with another connection.
    fn adopt(&mut self, conn: Connection, claim: &Claim, hard: bool) -> Result<(), Error> {
        self.hang_up();
        self.outbox.requeue();
        self.conn = Some(conn);
        self.take_facts();
        match self.version {
            Version::V1 => {
                // The client must connect once more, to this session.
                self.replacing = true;
                self.reset_by_peer = hard;
                self.state = State::Accepting;
                let answer = Answer::Reply(Reply::RetryGlobal(self.seqs.peer_global_seq));
                let now = self.now;
                match &mut self.conn {
                    Some(conn) => conn.rewind(&self.local, &answer, now),
                    None => Ok(()),
                }
            }
            Version::V2 => self.open_claim(claim),
        }
    }

    /// This session as the tables see it.
    fn view(&self) -> Existing<'_> {
        Existing {
            closed: self.is_closed(),
            replacing: self.replacing,
            established: matches!(self.state, State::Open | State::Standby),
            policy: &self.policy,
            peer_global_seq: self.seqs.peer_global_seq,
            connect_seq: self.seqs.connect_seq,
            client_cookie: self.seqs.client_cookie,
            server_cookie: self.seqs.server_cookie,
        }
    }

    /// The own address and the peer's, as races compare them.
    fn race_addrs(&self) -> (EntityAddr, EntityAddr) {
        match self.version {
            Version::V1 => {
                let peer = self.key.0.first().copied().unwrap_or_default();
                (self.local.v1_addr(), EntityAddr { kind: AddrType::LEGACY, ..peer })
            }
            Version::V2 => {
                let first = |addrs: &AddrVec| addrs.first_of(AddrType::MSGR2).copied().unwrap_or_default();
                (first(&self.local.v2_addrs()), first(&self.key))
            }
        }
    }
}
