//! Why did it not work, in words that help?
//!
//! Ceph's own tools say little: a client of the wrong protocol waits for ever, one without a common mode logs an
//! errno. Here each failure has a short name, for scripts, and a sentence that says what to look at.

use std::io;

use cephwire_codec::v2::{BANNER_PREFIX, method, mode};
use cephwire_codec::{EntityType, v1};
use cephwire_protocol::auth::Reason;
use cephwire_protocol::{Denied, Error, Facts, Incompatible, Version};

use super::{Target, version_name};
use crate::config::{AddressError, Name, Unresolved};

/// "Permission denied", as answers carry it.
const EACCES: i32 = -13;
/// How many of the first bytes are kept.
pub(crate) const FIRST_BYTES: usize = 32;

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Its name: one of [`NAMES`].
    pub(crate) name: &'static str,
    /// What happened, and what it may mean.
    pub(crate) text: String,
    /// What was going on, in Ceph's words for its states.
    pub(crate) phase: String,
}

/// All names, with what they mean.
pub(crate) const NAMES: [(&str, &str); 18] = [
    ("name", "the host's name cannot be resolved"),
    ("refused", "nobody listens at the port"),
    ("unreachable", "there is no way to the host"),
    ("tcp-timeout", "the host does not answer"),
    ("silent", "somebody accepted the connection and says nothing"),
    ("not-ceph", "somebody speaks another protocol"),
    ("other-version", "the peer speaks the other version of the protocol"),
    ("closed", "the peer closed the connection without a reason"),
    ("timeout", "the peer stopped answering in the middle"),
    ("msgr-features", "the banners' features do not fit"),
    ("method", "no common method of authentication"),
    ("mode", "no common connection mode"),
    ("denied", "authentication failed"),
    ("features", "one side lacks features that the other requires"),
    ("protocol-version", "v1's protocol versions differ"),
    ("entity-type", "the peer is of another type than was meant"),
    ("address", "the peer is not at the address it was called by, or has another nonce"),
    ("protocol", "the peer breaks the protocol"),
];

impl Cause {
    pub(crate) fn new(name: &'static str, phase: &str, text: impl Into<String>) -> Self {
        Self { name, text: text.into(), phase: phase.to_owned() }
    }

    /// Whether there was nobody to talk to.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self.name, "name" | "refused" | "unreachable" | "tcp-timeout")
    }

    /// There is no such host.
    pub(crate) fn unresolved(unresolved: &Unresolved) -> Self {
        let mut text = unresolved.error.to_string();
        if let AddressError::Name { host, .. } = &unresolved.error
            && host.parse::<Name>().is_ok()
        {
            // `ceph ping mon.a` asks the monitors where that is.
            text.push_str("; of a daemon, the address is wanted: `ceph mon dump`, `ceph osd dump` tell it");
        }
        Self::new("name", "DNS", text)
    }

    /// The TCP connection could not be made.
    pub(crate) fn dial(kind: io::ErrorKind) -> Self {
        let (name, text) = match kind {
            io::ErrorKind::ConnectionRefused => {
                ("refused", "connection refused: nobody listens at this port".to_owned())
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                ("tcp-timeout", "the host does not answer: a firewall, or no such host".to_owned())
            }
            other => ("unreachable", format!("cannot connect: {other}")),
        };
        Self::new(name, "TCP", text)
    }

    /// What the first bytes say of a peer that does not speak this version.
    pub(crate) fn of_first_bytes(first: &[u8], meant: Version, phase: &str) -> Option<Self> {
        let other = |version: Version| {
            let (meant, found) = (version_name(meant), version_name(version));
            let text = format!(
                "{meant} was spoken at a port of messenger {found}: write {found}: before the address"
            );
            Some(Self::new("other-version", phase, text))
        };
        // The first 7 bytes of both banners are the same.
        match meant {
            _ if first.is_empty() => None,
            Version::V1 if first.starts_with(&BANNER_PREFIX) => other(Version::V2),
            Version::V2 if first.starts_with(&v1::BANNER) => other(Version::V1),
            Version::V1 if v1::BANNER.starts_with(first) || first.starts_with(&v1::BANNER) => None,
            Version::V2 if BANNER_PREFIX.starts_with(first) || first.starts_with(&BANNER_PREFIX) => None,
            _ => Some(Self::new("not-ceph", phase, format!("not Ceph: {}", guess(first)))),
        }
    }

    /// What a session's failure means.
    pub(crate) fn of(error: &Error, facts: &Facts, first: &[u8], target: &Target) -> Self {
        let phase = facts.phase;
        if facts.times.banner.is_none()
            && !matches!(error, Error::Dial(_))
            && let Some(cause) = Self::of_first_bytes(first, target.version, phase)
        {
            return cause;
        }
        match error {
            Error::Dial(kind) => Self::dial(*kind),
            Error::TimedOut { .. } if facts.times.connected.is_none() => Self::dial(io::ErrorKind::TimedOut),
            Error::TimedOut { phase } if first.is_empty() => {
                Self::new("silent", phase, "connected, but no byte came: not Ceph, or a daemon that hangs")
            }
            Error::TimedOut { phase } => Self::new("timeout", phase, format!("no answer in {phase}")),
            Error::Closed { phase } => Self::closed(phase, facts, target),
            Error::Denied { source: denied, .. } => Self::denied(denied, facts, phase),
            Error::Incompatible { source: incompatible, .. } => Self::incompatible(incompatible, phase),
            Error::Violation(violation) if phase == "CONNECTING_WAIT_BANNER_AND_IDENTIFY" => {
                let text = format!("called {}, it calls itself {}", target.addr, violation.found);
                Self::new("address", phase, text)
            }
            other => Self::new("protocol", phase, other.to_string()),
        }
    }

    /// Ceph says nothing when it hangs up: what it most likely means, by the moment.
    fn closed(phase: &str, facts: &Facts, target: &Target) -> Self {
        if phase == "SESSION_CONNECTING" && target.addr.nonce == 0 && facts.peer.kind != EntityType::MON {
            let text = format!(
                "closed after CLIENT_IDENT: the address has no nonce, and {} daemons take only who knows it \
                 (IP:PORT/NONCE, as in `ceph osd dump`)",
                facts.peer.kind
            );
            return Self::new("address", phase, text);
        }
        let text = match phase {
            "SESSION_CONNECTING" => {
                "closed after CLIENT_IDENT: this is not the peer's address (IP, port and nonce)"
            }
            "AUTH_CONNECTING" => "closed while authenticating: a monitor without quorum does so",
            "AUTH_CONNECTING_SIGN" => "closed after the signatures: the keys differ",
            "open" => "closed by the peer",
            _ => "closed by the peer without a reason",
        };
        Self::new("closed", phase, text)
    }

    fn denied(denied: &Denied, facts: &Facts, phase: &str) -> Self {
        let list = |values: &[u32], name: fn(u32) -> Option<&'static str>| {
            let names: Vec<String> = values
                .iter()
                .map(|value| name(*value).map_or_else(|| value.to_string(), str::to_owned))
                .collect();
            names.join(", ")
        };
        let common = |a: &[u32], b: &[u32]| a.iter().any(|value| b.contains(value));
        let Denied { offered_methods, offered_modes, allowed_methods, allowed_modes, result, .. } = denied;
        if offered_methods.is_empty() && denied.reason.is_none() {
            let text =
                "we have nothing to authenticate with: no key was found, and auth_client_required wants one";
            return Self::new("method", phase, text);
        }
        if !allowed_methods.is_empty() && !common(allowed_methods, offered_methods) {
            let (theirs, ours) = (list(allowed_methods, method::name), list(offered_methods, method::name));
            let text = format!("no common method: the peer takes {theirs}, we have {ours}");
            return Self::new("method", phase, text);
        }
        if !allowed_modes.is_empty() && !common(allowed_modes, offered_modes) {
            let (theirs, ours) = (list(allowed_modes, mode::name), list(offered_modes, mode::name));
            return Self::new(
                "mode",
                phase,
                format!("no common mode: the peer takes {theirs}, we have {ours}"),
            );
        }
        let methods = list(offered_methods, method::name);
        // What this side found out; the peer says no more than an errno.
        let why =
            denied.reason.as_ref().map_or_else(|| format!("error {result}"), |reason| reason.to_string());
        let refused = Reason::Refused { result: *result };
        let meaning = Self::meaning(denied.reason.as_deref().unwrap_or(&refused), facts.peer.kind);
        let meaning = meaning.map_or_else(String::new, |meaning| format!(": {meaning}"));
        Self::new("denied", phase, format!("authentication with {methods} failed: {why}{meaning}"))
    }

    /// What a refusal most likely comes from: Ceph tells an errno, and the same one for many reasons.
    fn meaning(reason: &Reason, by: EntityType) -> Option<&'static str> {
        let by_monitor = by == EntityType::MON;
        match reason {
            Reason::Refused { result: EACCES } if by_monitor => Some(
                "a wrong key, no such entity, or one without mon capabilities (monitors do not say which)",
            ),
            Reason::Refused { result: EACCES } => Some(
                "the daemon does not take the ticket: it has expired there, the daemon has missed new rotating \
                 secrets, or its clock and the monitors' differ",
            ),
            Reason::Expired { .. } => Some("it was not renewed, or the clock here is ahead of the monitors'"),
            _ => None,
        }
    }

    fn incompatible(incompatible: &Incompatible, phase: &str) -> Self {
        let name = match incompatible {
            Incompatible::Msgr { .. } => "msgr-features",
            Incompatible::ProtocolVersion { .. } => "protocol-version",
            Incompatible::EntityType { .. } => "entity-type",
            _ => "features",
        };
        Self::new(name, phase, incompatible.to_string())
    }
}

/// Whose first words these are.
fn guess(first: &[u8]) -> String {
    let known: [(&[u8], &str); 6] = [
        (b"SSH-", "an SSH server"),
        (b"HTTP/", "an HTTP server"),
        (b"\x15\x03", "a TLS server"),
        (b"\x16\x03", "a TLS server"),
        (b"220 ", "a mail or FTP server"),
        (b"-ERR", "a Redis server"),
    ];
    match known.iter().find(|(start, _)| first.starts_with(start)) {
        Some((_, who)) => format!("{who} ({:?})", String::from_utf8_lossy(first).trim_end()),
        None => format!("it begins with {:?}", String::from_utf8_lossy(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_errno_means_other_things_by_another_peer() {
        let meaning = |kind, reason: &Reason| Cause::meaning(reason, kind).unwrap_or_default();
        let refused = Reason::Refused { result: EACCES };
        assert!(meaning(EntityType::MON, &refused).contains("no such entity"));
        assert!(meaning(EntityType::OSD, &refused).contains("its clock and the monitors' differ"));
        let expired = Reason::Expired { service: 4, expired: 1, now: 2 };
        assert!(meaning(EntityType::OSD, &expired).contains("the clock here is ahead"));
        assert_eq!(meaning(EntityType::MON, &Reason::Refused { result: -22 }), "");
    }
}
