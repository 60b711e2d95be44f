//! What becomes of a session of v2 when its connection fails?

use std::time::Duration;

use cephwire_protocol::Policy;
use cephwire_protocol::codec::EntityType;

use super::Host;
use super::v2::PEER;

pub(crate) type Preset = (&'static str, fn() -> Policy);

pub(crate) const PRESETS: [Preset; 7] = [
    ("stateful_server", Policy::stateful_server),
    ("stateless_registered_server", Policy::stateless_registered_server),
    ("stateless_server", Policy::stateless_server),
    ("lossless_peer", Policy::lossless_peer),
    ("lossless_peer_reuse", Policy::lossless_peer_reuse),
    ("lossy_client", Policy::lossy_client),
    ("lossless_client", Policy::lossless_client),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// Closed, and the user was told.
    Reset,
    /// Closed, and nobody knew of it.
    Gone,
    Standby,
    /// It dials at once.
    Dials,
    /// It dials after so many milliseconds.
    Backoff(u64),
}

/// What became of the session.
pub(crate) fn after(host: &Host, session: usize) -> After {
    let told = host.told(session);
    if host.with(session, |session| session.is_closed()) {
        return if told.contains(&"reset".to_owned()) { After::Reset } else { After::Gone };
    }
    assert!(!told.contains(&"reset".to_owned()));
    if host.with(session, |session| session.is_standby()) {
        host.advance(Duration::from_secs(60));
        assert!(host.dials().is_empty());
        return After::Standby;
    }
    if !host.dials().is_empty() {
        return After::Dials;
    }
    After::Backoff(host.until_dial().as_millis() as u64)
}

/// Begins a session of the host, perhaps with something to send.
pub(crate) fn dial(host: &Host, queued: bool) {
    let session = host.dial(EntityType::OSD, PEER);
    if queued {
        host.send(session, 1);
    }
}
