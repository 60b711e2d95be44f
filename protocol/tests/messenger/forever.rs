//! Are times that nobody can wait for taken for what they mean?

use std::time::{Duration, Instant};

use cephwire_protocol::codec::{AddrVec, EntityName, EntityType};
use cephwire_protocol::{Action, Options, Policy, Session, Timer, Version};

use crate::pair::{BOTH, Pair, addr, local, message};

#[test]
fn times_that_cannot_be_told_never_come() {
    let for_ever = Options::default().with(|options| {
        options.ready_timeout = Duration::MAX;
        options.idle_timeout = Duration::MAX;
        options.initial_backoff = Duration::MAX;
        options.max_backoff = Duration::MAX;
    });
    let name = EntityName::new(EntityType::CLIENT, 4);
    let start = Instant::now();
    for version in BOTH {
        let key = if version == Version::V1 { "v1:127.0.0.1:1/0" } else { "v2:127.0.0.1:1/0" };
        let local = local(name, AddrVec::default(), Policy::lossless_peer(), for_ever.clone());
        let mut session = Session::outgoing(local, EntityType::OSD, addr(key).into(), start);
        let link = |session: &mut Session| {
            std::iter::from_fn(|| session.poll_action())
                .find_map(|action| match action {
                    Action::Dial { link, .. } => Some(link),
                    _ => None,
                })
                .unwrap()
        };
        // Dialing, in the handshake, and in standby.
        assert_eq!(session.poll_timer(), None);
        let first = link(&mut session);
        session.handle_dialed(start, first, Ok(())).unwrap();
        assert_eq!(session.poll_timer(), None);
        session.handle_eof(start, first).unwrap();
        // A dial that a command began: the time is told, and then nothing is waited for any more.
        session.send(message(1, 1)).unwrap();
        assert_eq!(session.poll_timer(), Some((start, Timer::Connect)));
        session.handle_timeout(start);
        assert_eq!(session.poll_timer(), None);
        let second = link(&mut session);
        session.handle_dialed(start, second, Ok(())).unwrap();
        session.handle_eof(start, second).unwrap();
        // In backoff.
        for _ in 0..3 {
            session.handle_timeout(start + Duration::from_secs(1 << 40));
            assert_eq!(session.poll_timer(), None);
        }
        assert_eq!((session.poll_action(), session.is_closed()), (Some(Action::HangUp(second)), false));
        // Accepted, and open.
        let server =
            Pair::new(version, Policy::lossless_client(), Policy::stateful_server(), for_ever.clone());
        assert_eq!(server.server.poll_timer(), None);
    }
}

/// The pause doubles until it is the longest, however long that is.
#[test]
fn pauses_double_without_overflow() {
    let options = Options::default().with(|options| {
        options.initial_backoff = Duration::from_secs(1 << 40);
        options.max_backoff = Duration::MAX;
    });
    let (name, start) = (EntityName::new(EntityType::CLIENT, 4), Instant::now());
    let local = local(name, AddrVec::default(), Policy::lossless_client(), options);
    let mut session = Session::outgoing(local, EntityType::OSD, addr("v2:127.0.0.1:1/0").into(), start);
    session.send(message(1, 1)).unwrap();
    let (mut now, mut attempts) = (start, 0);
    loop {
        while let Some(action) = session.poll_action() {
            if let Action::Dial { link, .. } = action {
                session.handle_dialed(now, link, Err(std::io::ErrorKind::ConnectionRefused)).unwrap();
                attempts += 1;
            }
        }
        let Some((at, Timer::Backoff)) = session.poll_timer() else { break };
        assert_eq!(at.duration_since(now), Duration::from_secs(1 << (39 + attempts)));
        now = at;
        session.handle_timeout(now);
    }
    // 2^40, 2^41 … seconds: in all more than can be told.
    assert!((20..30).contains(&attempts), "{attempts}");
}
