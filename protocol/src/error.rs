//! Why does a connection or a session end?

use std::fmt;

use crate::auth::Reason;
use cephwire_codec::v2::{Banner, method, mode};
use cephwire_codec::{Exhausted, Features, Malformed, Unencodable};

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
    #[error("{phase}, frame {number}: {source}")]
    Incompatible {
        /// What was going on.
        phase: &'static str,
        /// The number of the frame on this connection, from 1, that told.
        number: u64,
        /// What does not fit.
        source: Incompatible,
    },
    /// Authentication failed.
    #[error("{phase}, frame {number}: {source}")]
    Denied {
        /// What was going on.
        phase: &'static str,
        /// The number of the frame on this connection, from 1, that failed, or after which this side had nothing to
        /// say.
        number: u64,
        /// What was offered and allowed, and the reason.
        source: Box<Denied>,
    },
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
            Self::Incompatible { source, .. } => source.is_final(),
            Self::Denied { source, .. } => source.is_final,
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
    /// The peer lacks features that this side requires.
    #[error("the peer lacks features {missing:?}: this side requires {required}, the peer has {theirs}")]
    PeerLacks {
        /// Those it lacks.
        missing: Features,
        /// All that this side requires.
        required: Features,
        /// All that the peer has.
        theirs: Features,
    },
    /// This side lacks features that the server requires.
    #[error("the peer requires features {missing:?}: this side has {ours}{}", answered(*theirs))]
    PeerRequires {
        /// Those it wants and this side lacks.
        missing: Features,
        /// All that this side has.
        ours: Features,
        /// v1: what the peer answered: the features that both have, and all that it requires. v2 names the missing
        /// ones alone.
        theirs: Option<Features>,
    },
    /// The features of the v2 banners do not fit.
    #[error(
        "msgr2 features: the peer has {:?} and requires {:?}; this side has {:?} and requires {:?}",
        theirs.supported, theirs.required, ours.supported, ours.required
    )]
    Msgr {
        /// The peer's banner.
        theirs: Banner,
        /// This side's.
        ours: Banner,
    },
    /// The protocol versions of v1's connect differ.
    #[error("protocol version: the peer has {theirs}, this side {ours}")]
    ProtocolVersion {
        /// The peer's.
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

fn answered(features: Option<Features>) -> String {
    features.map(|features| format!(", the peer answered {features}")).unwrap_or_default()
}

impl Incompatible {
    fn is_final(&self) -> bool {
        matches!(self, Self::Msgr { .. } | Self::EntityType { .. })
    }
}

/// Authentication failed: with what was offered and what would have been taken. Who dials offers, who accepts
/// allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// The peer's reason: a negative errno, or 0.
    pub result: i32,
    /// Whether this side accepted the connection: the peer offered, and this side allows.
    pub accepting: bool,
    /// Methods that were offered.
    pub offered_methods: Vec<u32>,
    /// v2: connection modes that were offered.
    pub offered_modes: Vec<u32>,
    /// Methods that are allowed; dialing, if the peer said.
    pub allowed_methods: Vec<u32>,
    /// v2: modes that are allowed; dialing, if the peer said.
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

impl Denied {
    /// The same, with those lists of `known` that it does not have itself.
    pub(crate) fn knowing(mut self, known: Self) -> Self {
        let lists = [
            (&mut self.offered_methods, known.offered_methods),
            (&mut self.offered_modes, known.offered_modes),
            (&mut self.allowed_methods, known.allowed_methods),
            (&mut self.allowed_modes, known.allowed_modes),
        ];
        for (list, known) in lists {
            if list.is_empty() {
                *list = known;
            }
        }
        self.accepting |= known.accepting;
        self
    }
}

impl std::error::Error for Denied {}

/// `"peer allows methods [cephx], modes [secure]; we offered [none] with [crc] (error -95)"`.
impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offered_methods, offered_modes, allowed_methods, allowed_modes, .. } = self;
        let lists = [offered_methods, offered_modes, allowed_methods, allowed_modes];
        if let Some(reason) = &self.reason {
            write!(f, "not authenticated: {reason}")?;
            if lists.iter().all(|list| list.is_empty()) {
                return Ok(());
            }
            f.write_str("; ")?;
        }
        let (here, there) = if self.accepting { ("we allow", "peer") } else { ("peer allows", "we") };
        let (methods, modes) = (names(allowed_methods, method::name), names(allowed_modes, mode::name));
        match (allowed_methods.is_empty(), allowed_modes.is_empty()) {
            (false, false) => write!(f, "{here} methods [{methods}], modes [{modes}]; ")?,
            (false, true) => write!(f, "{here} methods [{methods}]; ")?,
            (true, false) => write!(f, "{here} modes [{modes}]; ")?,
            (true, true) if self.accepting => f.write_str("we allow nothing; ")?,
            (true, true) => f.write_str("peer does not say what it allows; ")?,
        }
        let (methods, modes) = (names(offered_methods, method::name), names(offered_modes, mode::name));
        write!(f, "{there} offered [{methods}] with [{modes}]")?;
        if self.reason.is_some() { Ok(()) } else { write!(f, " (error {})", self.result) }
    }
}

fn names(values: &[u32], name: fn(u32) -> Option<&'static str>) -> String {
    let name = |value: &u32| name(*value).map_or_else(|| value.to_string(), str::to_owned);
    let names: Vec<String> = values.iter().map(name).collect();
    names.join(", ")
}

/// A link that the session does not own (any more): its socket is to be closed, its bytes dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this link is not the session's (any more)")]
pub struct Stale;
