//! Every row of the three tables, by its number in the spec.

use super::*;
use crate::Policy;

const OPEN_RESET: Verdict = Verdict::Answer(Reply::Reset { full: true });
const KEEP: Verdict = Verdict::Replace { hard: false, reset: false };

fn peer() -> Policy {
    Policy::lossless_peer()
}

fn reuse() -> Policy {
    Policy::lossless_peer_reuse()
}

fn new(policy: &Policy, peer_is_smaller: bool) -> Newcomer<'_> {
    Newcomer { policy, peer_is_smaller, peer_is_greater: !peer_is_smaller }
}

fn existing(policy: &Policy, connect_seq: u64) -> Existing<'_> {
    Existing {
        closed: false,
        replacing: false,
        established: true,
        policy,
        peer_global_seq: 10,
        connect_seq,
        client_cookie: 7,
        server_cookie: 8,
    }
}

fn connect(global_seq: u32, connect_seq: u32) -> Claim {
    Claim::V1 { global_seq, connect_seq, reconnect_seq: true }
}

#[test]
fn v1_rows() {
    let (plain, check, lossy, server) =
        (peer(), reuse(), Policy::stateless_registered_server(), Policy::stateful_server());
    let of = |claim: &Claim, policy: &Policy, smaller, ex: Option<Existing<'_>>| {
        judge(claim, new(policy, smaller), ex)
    };
    let racing = |policy, connect_seq| Existing { established: false, ..existing(policy, connect_seq) };
    let retry = |n| Verdict::Answer(Reply::RetrySession(n));
    let global = Verdict::Answer(Reply::RetryGlobal(10));
    // Row, claim, policy of the newcomer, peer smaller, existing, verdict.
    let rows = [
        (6, connect(1, 0), &plain, false, None, Verdict::Open),
        (6, connect(1, 7), &plain, false, None, OPEN_RESET),
        (
            7,
            connect(1, 7),
            &plain,
            false,
            Some(Existing { closed: true, ..existing(&plain, 3) }),
            Verdict::Open,
        ),
        // No number follows: before all rows.
        (0, connect(1, u32::MAX), &plain, false, None, OPEN_RESET),
        (
            0,
            connect(1, u32::MAX),
            &plain,
            false,
            Some(Existing { closed: true, ..existing(&plain, 3) }),
            OPEN_RESET,
        ),
        (0, connect(11, u32::MAX), &plain, true, Some(existing(&plain, 3)), OPEN_RESET),
        (18, connect(11, u32::MAX - 1), &plain, true, Some(existing(&plain, 3)), KEEP),
        (8, connect(99, 3), &plain, false, Some(Existing { replacing: true, ..existing(&plain, 3) }), global),
        (9, connect(9, 3), &plain, false, Some(existing(&plain, 3)), global),
        (10, connect(10, 3), &plain, false, Some(existing(&lossy, 3)), Verdict::Displace),
        (
            11,
            connect(11, 0),
            &plain,
            false,
            Some(existing(&plain, 3)),
            Verdict::Replace { hard: true, reset: false },
        ),
        (
            11,
            connect(11, 0),
            &check,
            false,
            Some(existing(&check, 3)),
            Verdict::Replace { hard: true, reset: true },
        ),
        (12, connect(11, 2), &plain, false, Some(existing(&plain, 3)), retry(4)),
        (13, connect(11, 0), &check, false, Some(existing(&check, 0)), KEEP),
        (14, connect(11, 0), &plain, false, Some(existing(&plain, 0)), retry(1)),
        (14, connect(11, 3), &plain, true, Some(existing(&plain, 3)), retry(4)),
        (15, connect(11, 3), &plain, true, Some(racing(&plain, 3)), KEEP),
        (15, connect(11, 3), &plain, false, Some(racing(&server, 3)), KEEP),
        (16, connect(11, 3), &plain, false, Some(racing(&plain, 3)), Verdict::AnswerWait),
        (17, connect(11, 3), &check, false, Some(existing(&check, 0)), OPEN_RESET),
        (18, connect(11, 3), &plain, false, Some(existing(&plain, 0)), KEEP),
        (18, connect(11, 4), &check, false, Some(existing(&check, 3)), KEEP),
    ];
    for (row, claim, policy, smaller, ex, verdict) in rows {
        assert_eq!(of(&claim, policy, smaller, ex), verdict, "row {row}: {claim:?} {ex:?}");
    }
}

#[test]
fn v2_ident_rules() {
    let (plain, check, lossy, server) =
        (peer(), reuse(), Policy::stateless_registered_server(), Policy::stateful_server());
    let ident = |cookie, global_seq| Claim::New { cookie, global_seq };
    let fresh =
        |policy| Existing { established: false, server_cookie: 0, client_cookie: 7, ..existing(policy, 0) };
    let rules = [
        (0, ident(1, 1), &plain, false, None, Verdict::Open),
        (
            1,
            ident(1, 1),
            &plain,
            false,
            Some(Existing { closed: true, ..existing(&plain, 3) }),
            Verdict::Open,
        ),
        (
            2,
            ident(1, 99),
            &plain,
            false,
            Some(Existing { replacing: true, ..existing(&plain, 3) }),
            Verdict::Answer(Reply::Wait),
        ),
        (3, ident(7, 9), &plain, false, Some(existing(&plain, 3)), Verdict::Drop),
        (4, ident(7, 10), &plain, false, Some(existing(&lossy, 3)), Verdict::Displace),
        (
            5,
            ident(6, 10),
            &plain,
            false,
            Some(existing(&plain, 3)),
            Verdict::Replace { hard: true, reset: false },
        ),
        (
            5,
            ident(6, 10),
            &check,
            false,
            Some(existing(&check, 3)),
            Verdict::Replace { hard: true, reset: true },
        ),
        (6, ident(7, 10), &check, false, Some(Existing { established: false, ..existing(&check, 3) }), KEEP),
        (7, ident(6, 10), &plain, false, Some(Existing { established: true, ..fresh(&plain) }), KEEP),
        (8, ident(6, 10), &plain, true, Some(fresh(&plain)), KEEP),
        (8, ident(6, 10), &plain, false, Some(fresh(&server)), KEEP),
        (9, ident(6, 10), &plain, false, Some(fresh(&plain)), Verdict::AnswerWait),
    ];
    for (rule, claim, policy, smaller, ex, verdict) in rules {
        assert_eq!(judge(&claim, new(policy, smaller), ex), verdict, "rule {rule}: {claim:?} {ex:?}");
    }
}

#[test]
fn v2_reconnect_rules() {
    let (plain, check, server) = (peer(), reuse(), Policy::stateful_server());
    let resume = |client_cookie, server_cookie, global_seq, connect_seq| Claim::Resume {
        client_cookie,
        server_cookie,
        global_seq,
        connect_seq,
        msg_seq: 5,
    };
    let reset = |full| Verdict::Answer(Reply::Reset { full });
    let global = Verdict::Answer(Reply::RetryGlobal(10));
    let rules = [
        (1, resume(7, 8, 11, 4), &plain, true, None, reset(true)),
        (
            2,
            resume(7, 8, 11, 4),
            &plain,
            true,
            Some(Existing { closed: true, ..existing(&plain, 3) }),
            reset(true),
        ),
        (
            3,
            resume(6, 8, 11, 4),
            &plain,
            true,
            Some(Existing { replacing: true, ..existing(&plain, 3) }),
            global,
        ),
        (4, resume(6, 8, 11, 4), &plain, true, Some(existing(&plain, 3)), reset(false)),
        (4, resume(6, 8, 11, 4), &check, true, Some(existing(&check, 3)), reset(true)),
        (
            5,
            resume(7, 8, 11, 4),
            &check,
            true,
            Some(Existing { server_cookie: 0, ..existing(&check, 3) }),
            reset(false),
        ),
        (6, resume(7, 8, 9, 4), &plain, true, Some(existing(&plain, 3)), global),
        (
            7,
            resume(7, 8, 10, 2),
            &plain,
            true,
            Some(existing(&plain, 3)),
            Verdict::Answer(Reply::RetrySession(3)),
        ),
        (8, resume(7, 8, 10, 3), &plain, false, Some(existing(&plain, 3)), Verdict::Answer(Reply::Wait)),
        (9, resume(7, 8, 10, 3), &plain, false, Some(existing(&server, 3)), KEEP),
        (9, resume(7, 8, 10, 3), &plain, true, Some(existing(&plain, 3)), KEEP),
        (9, resume(7, 0, 10, 4), &plain, false, Some(existing(&plain, 3)), KEEP),
    ];
    for (rule, claim, policy, smaller, ex, verdict) in rules {
        assert_eq!(judge(&claim, new(policy, smaller), ex), verdict, "rule {rule}: {claim:?} {ex:?}");
    }
}
