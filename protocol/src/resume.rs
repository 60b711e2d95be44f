//! What does an incoming claim mean for a session, and what is answered?
//!
//! Three tables, as pure functions: v1 (session spec §6.2), v2's CLIENT_IDENT (session2 spec §5.4) and v2's
//! SESSION_RECONNECT (§6.1). The first row that applies decides; every row names the one it implements.

use crate::Policy;

/// What a client claims, in the words of its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// v1's connect: a new session if `connect_seq` is 0, else an earlier one.
    V1 {
        /// Number of this attempt among all of the client process.
        global_seq: u32,
        /// How often the session was connected before.
        connect_seq: u32,
        /// Whether the client has feature RECONNECT_SEQ.
        reconnect_seq: bool,
    },
    /// v2's CLIENT_IDENT: a new session.
    New {
        /// The client's name for it.
        cookie: u64,
        /// Number of this attempt among all of the client process.
        global_seq: u64,
    },
    /// v2's SESSION_RECONNECT: an earlier session.
    Resume {
        /// The client's name for it.
        client_cookie: u64,
        /// The server's name for it.
        server_cookie: u64,
        /// Number of this attempt among all of the client process.
        global_seq: u64,
        /// Number of this attempt in the session.
        connect_seq: u64,
        /// The last message the client received.
        msg_seq: u64,
    },
}

/// A counter as v1 writes it, in 32 bits: one above stays at the highest. (Ceph's wrap around to 0, which says that
/// there is no session.)
pub(crate) fn number(counter: u64) -> u32 {
    counter.try_into().unwrap_or(u32::MAX)
}

/// What a server answers to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// RETRY_SESSION, SESSION_RETRY.
    RetrySession(u64),
    /// RETRY_GLOBAL, SESSION_RETRY_GLOBAL.
    RetryGlobal(u64),
    /// RESETSESSION, SESSION_RESET.
    Reset {
        /// Whether the client must forget its queues too (v1: always).
        full: bool,
    },
    /// WAIT.
    Wait,
}

/// What a table decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The newcomer opens; nobody else is concerned.
    Open,
    /// The newcomer opens, and the existing session ends.
    Displace,
    /// The existing session takes the newcomer's connection over.
    Replace {
        /// The peer has lost the session: start again at connect_seq 0 (v1).
        hard: bool,
        /// The existing session drops its queues first, and its user is told.
        reset: bool,
    },
    /// The newcomer answers this and waits for another claim.
    Answer(Reply),
    /// The same, and the existing session shall make sure that it does connect.
    AnswerWait,
    /// The newcomer is out of date: it is closed without an answer.
    Drop,
}

/// The existing session, as the tables see it.
#[derive(Clone, Copy, Debug)]
pub struct Existing<'a> {
    /// It has ended, and is only not yet out of the table.
    pub closed: bool,
    /// It is taking a connection over just now.
    pub replacing: bool,
    /// It is open or in standby: established once, and not connecting.
    pub established: bool,
    /// Its policy.
    pub policy: &'a Policy,
    /// The highest global_seq that the peer sent to it.
    pub peer_global_seq: u64,
    /// Its connect_seq.
    pub connect_seq: u64,
    /// v2: the client's name for the session, 0 if it has none.
    pub client_cookie: u64,
    /// v2: the server's name for the session, 0 if it has none.
    pub server_cookie: u64,
}

/// What the newcomer brings besides its claim.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// Its policy.
    pub policy: &'a Policy,
    /// Whether the peer's address sorts before the own one ([`sorts_before`](crate::sorts_before)): then the peer
    /// wins races.
    pub peer_is_smaller: bool,
    /// The same for "after".
    pub peer_is_greater: bool,
}

/// Judges any claim; `existing` is the session registered under the peer's addresses, if any.
#[must_use]
pub fn judge(claim: &Claim, new: Newcomer<'_>, existing: Option<Existing<'_>>) -> Verdict {
    match *claim {
        Claim::V1 { global_seq, connect_seq, .. } => v1(global_seq.into(), connect_seq.into(), new, existing),
        Claim::New { cookie, global_seq } => v2_ident(cookie, global_seq, new, existing),
        Claim::Resume { client_cookie, global_seq, connect_seq, .. } => {
            v2_reconnect(client_cookie, global_seq, connect_seq, new, existing)
        }
    }
}

/// v1, session spec §6.2, rows 6 to 18. (Rows 1 to 5 are the connection's and the policy's.)
fn v1(global_seq: u64, connect_seq: u64, new: Newcomer<'_>, existing: Option<Existing<'_>>) -> Verdict {
    if connect_seq >= u32::MAX.into() {
        // No number follows that the answer could carry: both begin anew. (Ceph answers 0, and both count on from there.)
        return Verdict::Answer(Reply::Reset { full: true });
    }
    let Some(ex) = existing else {
        // Row 6.
        return if connect_seq > 0 { Verdict::Answer(Reply::Reset { full: true }) } else { Verdict::Open };
    };
    // Row 7.
    if ex.closed {
        return Verdict::Open;
    }
    // Rows 8 and 9.
    if ex.replacing || global_seq < ex.peer_global_seq {
        return Verdict::Answer(Reply::RetryGlobal(ex.peer_global_seq));
    }
    // Row 10.
    if ex.policy.lossy {
        return Verdict::Displace;
    }
    let resetcheck = new.policy.resetcheck;
    let keep = Verdict::Replace { hard: false, reset: false };
    // Row 11.
    if connect_seq == 0 && ex.connect_seq > 0 {
        return Verdict::Replace { hard: true, reset: resetcheck };
    }
    // Row 12.
    if connect_seq < ex.connect_seq {
        return Verdict::Answer(Reply::RetrySession(ex.connect_seq.saturating_add(1)));
    }
    if connect_seq == ex.connect_seq {
        // Row 13.
        if ex.established && resetcheck && connect_seq == 0 {
            return keep;
        }
        // Row 14.
        if ex.established {
            return Verdict::Answer(Reply::RetrySession(ex.connect_seq.saturating_add(1)));
        }
        // Rows 15 and 16: a race.
        return if new.peer_is_smaller || ex.policy.server { keep } else { Verdict::AnswerWait };
    }
    // Row 17.
    if resetcheck && ex.connect_seq == 0 {
        return Verdict::Answer(Reply::Reset { full: true });
    }
    // Row 18.
    keep
}

/// v2's CLIENT_IDENT, session2 spec §5.4.
fn v2_ident(cookie: u64, global_seq: u64, new: Newcomer<'_>, existing: Option<Existing<'_>>) -> Verdict {
    let Some(ex) = existing else { return Verdict::Open };
    // Rule 1.
    if ex.closed {
        return Verdict::Open;
    }
    // Rule 2.
    if ex.replacing {
        return Verdict::Answer(Reply::Wait);
    }
    // Rule 3.
    if ex.peer_global_seq > global_seq {
        return Verdict::Drop;
    }
    // Rule 4.
    if ex.policy.lossy {
        return Verdict::Displace;
    }
    // Rule 5.
    if ex.server_cookie != 0 && ex.client_cookie != 0 && ex.client_cookie != cookie {
        return Verdict::Replace { hard: true, reset: new.policy.resetcheck };
    }
    // Rules 6 to 8.
    if ex.client_cookie == cookie || ex.established || new.peer_is_smaller || ex.policy.server {
        return Verdict::Replace { hard: false, reset: false };
    }
    // Rule 9.
    Verdict::AnswerWait
}

/// v2's SESSION_RECONNECT, session2 spec §6.1. The server's cookie is never compared.
fn v2_reconnect(
    client_cookie: u64,
    global_seq: u64,
    connect_seq: u64,
    new: Newcomer<'_>,
    existing: Option<Existing<'_>>,
) -> Verdict {
    // Rules 1 and 2.
    let Some(ex) = existing.filter(|ex| !ex.closed) else {
        return Verdict::Answer(Reply::Reset { full: true });
    };
    // Rules 3 and 6, which stands behind 4 and 5.
    let retry_global = Verdict::Answer(Reply::RetryGlobal(ex.peer_global_seq));
    if ex.replacing {
        return retry_global;
    }
    // Rule 4.
    if ex.client_cookie != client_cookie {
        return Verdict::Answer(Reply::Reset { full: new.policy.resetcheck });
    }
    // Rule 5.
    if ex.server_cookie == 0 {
        return Verdict::Answer(Reply::Reset { full: false });
    }
    // Rule 6.
    if ex.peer_global_seq > global_seq {
        return retry_global;
    }
    // Rule 7.
    if ex.connect_seq > connect_seq {
        return Verdict::Answer(Reply::RetrySession(ex.connect_seq));
    }
    // Rule 8.
    if ex.connect_seq == connect_seq && new.peer_is_greater && !ex.policy.server {
        return Verdict::Answer(Reply::Wait);
    }
    // Rule 9.
    Verdict::Replace { hard: false, reset: false }
}

#[cfg(test)]
mod tests;
