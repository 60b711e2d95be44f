//! What does a session know of its connection, of the peer, and of the last failure?

use std::time::Instant;

use bytes::Bytes;
use cephwire_codec::Side;

use super::Session;
use crate::connection::Connection;
use crate::error::Error;
use crate::facts::{Facts, Failure};

impl Session {
    /// What the current connection, or the attempt to make one, has negotiated so far; without any, what the last
    /// one had. Where a session goes on in v2 the peer does not introduce itself again: what it said then is kept.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let mut facts = match (&self.conn, &self.last) {
            (Some(conn), _) => Facts { phase: conn.phase(), ..conn.facts.clone() },
            (None, Some(last)) => Facts::clone(last),
            (None, None) => Facts::new(self.version, Side::Server),
        };
        if facts.peer.num == -1 {
            facts.peer.num = self.gid;
        }
        if facts.addrs.0.is_empty() {
            facts.addrs = self.key.clone();
        }
        let seqs = self.seqs;
        Facts {
            lossy: self.policy.lossy,
            connect_seq: seqs.connect_seq,
            global_seq: seqs.global_seq,
            peer_global_seq: seqs.peer_global_seq,
            client_cookie: seqs.client_cookie,
            server_cookie: seqs.server_cookie,
            ..facts
        }
    }

    /// The last failure of a connection, or of an attempt to make one: kept while later attempts go on, and after
    /// the end.
    #[must_use]
    pub fn last_failure(&self) -> Option<&Failure> {
        self.failure.as_deref()
    }

    /// The client's id in the cluster, where authentication told: this side's if it dialed, else the peer's.
    #[must_use]
    pub fn global_id(&self) -> Option<u64> {
        self.known()?.global_id
    }

    /// What the peer may do, where this side authenticated it and the method says so; else empty.
    #[must_use]
    pub fn caps(&self) -> Bytes {
        self.known().map(|facts| facts.caps.clone()).unwrap_or_default()
    }

    /// The facts of the current connection, or of the last one, as the connection has them.
    fn known(&self) -> Option<&Facts> {
        self.conn.as_ref().map(|conn| &conn.facts).or(self.last.as_deref())
    }

    /// A dial begins, or began: at that time, if it is known.
    pub(super) fn start_facts(&mut self, dialed: Option<Instant>) {
        let mut facts = Facts::new(self.version, Side::Client);
        facts.peer.kind = self.kind;
        facts.socket = Some(self.target);
        facts.times.dialed = dialed;
        self.last = Some(Box::new(facts));
    }

    /// The connection is no more.
    pub(super) fn keep_facts(&mut self, conn: Connection) {
        let phase = conn.phase();
        self.last = Some(Box::new(Facts { phase, ..conn.facts }));
    }

    /// A client that is refused goes away: that it was refused tells more than that it went.
    pub(super) fn explained(&self, error: Error) -> Error {
        let conn = self.conn.as_ref().filter(|conn| !conn.is_open());
        let refused = conn.and_then(|conn| conn.refused.clone());
        match (refused, error) {
            (Some(refused), Error::Closed { .. } | Error::TimedOut { .. }) => refused,
            (_, error) => error,
        }
    }

    pub(super) fn keep_failure(&mut self, error: &Error) {
        self.failure = Some(Box::new(Failure { error: error.clone(), facts: self.facts() }));
    }
}
