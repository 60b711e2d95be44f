//! When all bytes have arrived and all dials have an outcome: are both sides at rest, and what holds then?

use std::time::Duration;

use cephwire_protocol::Session;

use crate::world::World;

/// Two sides that nobody disturbs are at rest after so many rounds, and so many more for each session.
const ROUNDS: usize = 300;
const ROUNDS_EACH: usize = 20;
/// Others may never be.
const ROUNDS_OF_STRANGERS: usize = 100;
/// A session dials so often without a pause; from then on, not more often than it should.
const AT_ONCE: u64 = 40;
const PAUSE: Duration = Duration::from_millis(200);

impl World {
    /// Everything arrives and every dial has its outcome, without time passing.
    pub(crate) fn quiet(&mut self) {
        for _ in 0..ROUNDS {
            if !self.round() {
                return;
            }
        }
    }

    fn round(&mut self) -> bool {
        let mut moved = false;
        for pipe in 0..self.pipes.len() {
            moved |= self.deliver(pipe, 0, usize::MAX);
            moved |= self.deliver(pipe, 1, usize::MAX);
        }
        for side in 0..2 {
            moved |= !self.sides[side].dials.is_empty();
            self.dialed(side);
        }
        moved
    }

    /// Everything arrives, dials have their outcome, and time passes where nothing else happens.
    ///
    /// Where only the two have spoken, and can agree, that ends: each session is open, closed or content to wait; each
    /// that is open has its peer, and nothing is left to be said or acknowledged. A stranger may leave sessions behind
    /// that try again for ever; but none does without pauses.
    pub(crate) fn rest(&mut self) {
        self.reads(0, true);
        self.reads(1, true);
        let (began, before) = (self.now, self.dials());
        let agree = self.honest && self.parties.agree;
        let sessions: usize = self.sides.iter().map(|side| side.sessions.len()).sum();
        let rounds = if agree { ROUNDS + ROUNDS_EACH * sessions } else { ROUNDS_OF_STRANGERS };
        let mut rests = false;
        for _ in 0..rounds {
            if self.round() {
                continue;
            }
            rests = self.sides.iter().all(|side| side.sessions.iter().all(is_at_rest));
            if rests {
                break;
            }
            self.time();
        }
        if agree {
            assert!(rests, "no rest after {rounds} rounds: {:#?}", self.restless());
            self.agrees();
        }
        let pauses = ((self.now - began).as_millis() / PAUSE.as_millis()) as u64;
        for (before, now) in before.into_iter().zip(self.dials()) {
            for (n, now) in now.into_iter().enumerate() {
                let dials = now - before.get(n).copied().unwrap_or_default();
                assert!(dials <= AT_ONCE + pauses, "{dials} dials in {pauses} pauses");
            }
        }
        for side in &self.sides {
            assert!(side.sessions.len() < 4000, "sessions without end");
        }
    }

    /// How often each session has dialed.
    fn dials(&self) -> [Vec<u64>; 2] {
        [0, 1].map(|side| self.sides[side].sessions.iter().map(|session| session.stats().dials).collect())
    }

    fn restless(&self) -> Vec<&Session> {
        self.sides.iter().flat_map(|side| &side.sessions).filter(|session| !is_at_rest(session)).collect()
    }

    /// Both sides think the same of each connection, and have nothing left to say on it.
    fn agrees(&self) {
        for (n, side) in self.sides.iter().enumerate() {
            for session in side.sessions.iter().filter(|session| session.is_open()) {
                let pipe = self.pipes.iter().find(|pipe| pipe.open && Some(pipe.links[n]) == session.link());
                let peer = pipe.and_then(|pipe| self.owner(1 - n, pipe.links[1 - n]));
                let peer = peer.map(|peer| &self.sides[1 - n].sessions[peer]);
                assert!(
                    peer.is_some_and(Session::is_open),
                    "open without a peer: {session:#?} and {peer:#?}"
                );
                let outbox = session.outbox();
                let left = (outbox.queued(), outbox.queued_bytes());
                assert_eq!(left, (0, 0), "left to say: {session:#?} and {peer:#?}");
                // Who was marked disposable acknowledges no more.
                let hears = peer.is_some_and(|peer| !peer.policy().lossy);
                assert!(
                    !hears || outbox.unacknowledged() == 0,
                    "not acknowledged: {session:#?} and {peer:#?}"
                );
            }
            for (key, session) in side.table.iter() {
                assert!(!side.sessions[*session].is_closed(), "registered and closed: {key}");
            }
        }
    }

    /// All sessions are closed: nothing remains of them.
    pub(crate) fn end(&mut self) {
        for side in 0..2 {
            for session in 0..self.sides[side].sessions.len() {
                self.with(side, session, |session| session.close(true));
            }
        }
        for (side, throttles) in self.sides.iter().zip(&self.parties.throttles) {
            for session in &side.sessions {
                assert!(session.is_closed() && session.link().is_none() && session.dialing().is_none());
                assert_eq!(session.poll_timeout(), None);
            }
            assert!(side.table.is_empty() && side.dials.is_empty());
            for throttle in throttles.iter().chain([side.local.dispatch_throttle()]) {
                assert_eq!((throttle.current(), throttle.waiters()), (0, 0), "taken and not returned");
            }
        }
        assert!(self.pipes.iter().all(|pipe| !pipe.open), "a transport that nobody owns");
    }
}

fn is_at_rest(session: &Session) -> bool {
    (session.is_open() && !session.is_paused()) || session.is_standby() || session.is_closed()
}
