//! Why does a connection or a session end?

use std::fmt;

use crate::auth::Reason;
use cephwire_codec::{Exhausted, Features, Malformed, MsgrFeatures, Unencodable};

/// What went wrong on a connection. Most errors are *faults*: the session's policy says whether it tries again.
/// [`is_final`](Self::is_final) tells the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Bytes that no peer following the protocol sends.
    #[error("{phase}: {source}")]
    Malformed {
        /// What was going on.
        phase: &'static str,
        /// The place, and what is wrong there.
        source: Malformed,
    },
    /// Well-formed, but not allowed at this moment.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The peers lack something that the other needs.
    #[error(transparent)]
    Incompatible(#[from] Incompatible),
    /// Authentication failed.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The other side closed the connection, or it broke.
    #[error("{phase}: connection closed by the peer")]
    Closed {
        /// What was going on.
        phase: &'static str,
    },
    /// Nothing happened for too long.
    #[error("{phase}: timed out")]
    TimedOut {
        /// What was going on.
        phase: &'static str,
    },
    /// The TCP connection could not be made.
    #[error("cannot connect: {0}")]
    Dial(std::io::ErrorKind),
    /// The peer took the session up on a connection of its own; this side's attempt was given up.
    #[error("given up: the peer reconnects by itself")]
    Overtaken,
    /// The server told this side to wait for its own connection.
    #[error("told to wait for the peer's own connection")]
    Waiting,
    /// The addresses that the peer claims are those of a session with somebody else.
    #[error("claims the session of {owner}, and is {found}")]
    Usurper {
        /// Whose session it is.
        owner: String,
        /// Who the peer is.
        found: String,
    },
    /// The cipher's nonces are used up.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// A frame could not be encoded.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
}

impl Error {
    /// Whether trying again is no use: the session ends, whatever its policy.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::Incompatible(incompatible) => incompatible.is_final(),
            Self::Denied(denied) => denied.is_final,
            _ => false,
        }
    }
}

/// A frame or value that is not allowed at this moment: where, what, and what would have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{phase}, frame {number}: {found}, expected {expected}")]
pub struct Violation {
    /// What was going on.
    pub phase: &'static str,
    /// The number of the frame on this connection, from 1.
    pub number: u64,
    /// What came.
    pub found: String,
    /// What would have been allowed.
    pub expected: String,
}

/// Both sides are well, but not for each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Incompatible {
    /// The server lacks features that this side requires.
    #[error("the peer lacks features {missing:?}")]
    PeerLacks {
        /// Those it lacks.
        missing: Features,
    },
    /// This side lacks features that the server requires.
    #[error("the peer requires features {missing:?}")]
    PeerRequires {
        /// Those it wants and this side lacks.
        missing: Features,
    },
    /// The features of the v2 banners do not fit.
    #[error("msgr2 features: the peer has {supported:?} and requires {required:?}")]
    Msgr {
        /// What the peer has.
        supported: MsgrFeatures,
        /// What it requires.
        required: MsgrFeatures,
    },
    /// The protocol versions of v1's connect differ.
    #[error("protocol version: the peer wants {theirs}, this side has {ours}")]
    ProtocolVersion {
        /// The server's.
        theirs: u32,
        /// This side's.
        ours: u32,
    },
    /// The peer is of another entity type than was dialed.
    #[error("dialed a {expected}, found a {found}")]
    EntityType {
        /// The type that was meant.
        expected: cephwire_codec::EntityType,
        /// The type that answered.
        found: cephwire_codec::EntityType,
    },
}

impl Incompatible {
    fn is_final(&self) -> bool {
        matches!(self, Self::Msgr { .. } | Self::EntityType { .. })
    }
}

/// Authentication failed: with what was offered and what would have been taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// The peer's reason: a negative errno, or 0.
    pub result: i32,
    /// Methods that were offered.
    pub offered_methods: Vec<u32>,
    /// Connection modes that were offered.
    pub offered_modes: Vec<u32>,
    /// Methods that the peer allows, if it said.
    pub allowed_methods: Vec<u32>,
    /// Modes that the peer allows, if it said.
    pub allowed_modes: Vec<u32>,
    /// Whether no other attempt can help.
    pub is_final: bool,
    /// What exactly did not convince, where that is known: on the side that was not convinced.
    pub reason: Option<Box<Reason>>,
}

/// This side is not convinced.
impl From<Reason> for Denied {
    fn from(reason: Reason) -> Self {
        Self { result: reason.errno(), reason: Some(Box::new(reason)), ..Self::default() }
    }
}

impl std::error::Error for Denied {}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use cephwire_codec::v2::{method, mode};
        let names = |values: &[u32], name: fn(u32) -> Option<&'static str>| {
            let names: Vec<String> = values
                .iter()
                .map(|value| name(*value).map_or_else(|| value.to_string(), str::to_owned))
                .collect();
            names.join(", ")
        };
        if let Some(reason) = &self.reason {
            return write!(f, "not authenticated: {reason}");
        }
        write!(
            f,
            "peer allows methods [{}], modes [{}]; we offered [{}] with [{}] (error {})",
            names(&self.allowed_methods, method::name),
            names(&self.allowed_modes, mode::name),
            names(&self.offered_methods, method::name),
            names(&self.offered_modes, mode::name),
            self.result
        )
    }
}

/// A link that the session does not own (any more): its socket is to be closed, its bytes dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this link is not the session's (any more)")]
pub struct Stale;
