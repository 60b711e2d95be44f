//! Why is a payload, a key or a peer not believed?

use cephwire_codec::EntityType;

/// Why authentication failed, as exactly as this side knows it. What goes over the wire is only an
/// [errno](Self::errno): a peer shall not learn which of its guesses was better.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// A structure ends within a field.
    #[error("{what}: {field} needs {needed} bytes, {left} are left")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Its field.
        field: &'static str,
        /// The bytes that the field has.
        needed: u64,
        /// Those that are there.
        left: u64,
    },
    /// A length or a count that nobody needs.
    #[error("{what}: {field} of {found}, the limit is {limit}")]
    TooLong {
        /// The structure.
        what: &'static str,
        /// Its field.
        field: &'static str,
        /// What it says.
        found: u64,
        /// The most that is taken.
        limit: u64,
    },
    /// Bytes follow the last field, of a version that has no more fields.
    #[error("{what}: {extra} bytes too many")]
    Overlong {
        /// The structure.
        what: &'static str,
        /// How many bytes follow.
        extra: u64,
    },
    /// A field has a value that it cannot have.
    #[error("{what}: {field} is {found}, expected {expected}")]
    Value {
        /// The structure.
        what: &'static str,
        /// Its field.
        field: &'static str,
        /// What it says.
        found: u64,
        /// What it may say.
        expected: &'static str,
    },
    /// Text is not UTF-8, or not what it should be.
    #[error("{what}: {field} is not {expected}")]
    Text {
        /// The structure.
        what: &'static str,
        /// Its field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Something encrypted gives no sense: another key was used, or it was altered.
    #[error("{what} cannot be decrypted: another key, or altered on its way")]
    Unreadable {
        /// What was encrypted.
        what: &'static str,
    },
    /// A key of a type that is not known here.
    #[error("a key of unknown type {found}")]
    KeyType {
        /// The number of the type.
        found: u16,
    },
    /// A key's secret has not the length that its type has.
    #[error("a secret of {found} bytes in a key of type {kind}")]
    KeyLength {
        /// The name of the type.
        kind: &'static str,
        /// The length found.
        found: u64,
    },
    /// A key of a type that the configuration does not allow.
    #[error("{what} is a key of type {kind}, which is not allowed")]
    KeyNotAllowed {
        /// Whose key.
        what: &'static str,
        /// The name of the type.
        kind: &'static str,
    },
    /// A line of a keyring cannot be understood.
    #[error("keyring, line {line}: {expected} expected")]
    Keyring {
        /// The line, from 1.
        line: u64,
        /// What should be there.
        expected: &'static str,
    },
    /// A method of authentication that is not used here.
    #[error("authentication method {found} is not offered")]
    Method {
        /// The number of the method.
        found: u32,
    },
    /// Nobody of that name has a key.
    #[error("unknown entity {entity}")]
    UnknownEntity {
        /// The name that was given.
        entity: String,
    },
    /// The proof does not hold: the client has another key than the entity.
    #[error("{entity} does not know its key")]
    WrongKey {
        /// The name that was given.
        entity: String,
    },
    /// A global_id is claimed that the ticket does not prove.
    #[error("global_id {claimed} is claimed, the ticket says {proven:?}")]
    GlobalId {
        /// The number claimed.
        claimed: u64,
        /// The number that the ticket is for; nothing without a ticket that can be read.
        proven: Option<u64>,
    },
    /// A ticket is shown where none can be.
    #[error("a ticket is shown, but no global_id claimed")]
    SuperfluousTicket,
    /// There is no ticket for a service; a monitor has to be asked first.
    #[error("no ticket for service {service}")]
    NoTicket {
        /// The service's entity type.
        service: u32,
    },
    /// A ticket is too old.
    #[error("the ticket for service {service} expired at {expired}, it is {now}")]
    Expired {
        /// The service's entity type.
        service: u32,
        /// Seconds since 1970.
        expired: u32,
        /// Seconds since 1970.
        now: u32,
    },
    /// A ticket says what no honest monitor writes into one.
    #[error("a ticket with {what}")]
    Ticket {
        /// What it says.
        what: &'static str,
    },
    /// A ticket is sealed with a key that the service does not have (any more).
    #[error("service {service} has no secret {secret_id}")]
    UnknownSecret {
        /// The service's entity type.
        service: u32,
        /// The number of the key.
        secret_id: u64,
    },
    /// A peer announces to be of another type than its name, which its ticket or its key proves.
    #[error("it announces to be of type {announced}, but is {entity}")]
    Kind {
        /// What it announces.
        announced: EntityType,
        /// Its name.
        entity: String,
    },
    /// An authorizer for another service.
    #[error("an authorizer for service {found}, this is {expected}")]
    WrongService {
        /// The entity type that it is for.
        found: u32,
        /// The own one.
        expected: u32,
    },
    /// The authorizer challenge was left out (CVE-2018-1128): the server did not ask, or the client did not answer.
    #[error("the challenge was skipped")]
    ChallengeSkipped,
    /// The answer to a challenge is not the challenge plus one: replayed, or guessed.
    #[error("the challenge was answered wrongly")]
    WrongChallenge,
    /// A server proves nothing.
    #[error("the server's reply is missing")]
    ReplyMissing,
    /// A server's proof is not the nonce plus one.
    #[error("the server's reply does not fit the authorizer")]
    WrongReply,
    /// A step that does not come next.
    #[error("{what} does not come next")]
    OutOfTurn {
        /// What came.
        what: &'static str,
    },
    /// Secure mode was agreed, and there is nothing to encrypt with.
    #[error("secure mode without a connection secret")]
    NoConnectionSecret,
    /// A client shows no authorizer where one is due.
    #[error("no authorizer")]
    NoAuthorizer,
    /// The peer refused.
    #[error("refused with error {result}")]
    Refused {
        /// A negative errno.
        result: i32,
    },
}

impl Reason {
    /// What the peer is told: a negative errno, as Ceph's daemons answer.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Truncated { .. }
            | Self::TooLong { .. }
            | Self::Overlong { .. }
            | Self::Value { .. }
            | Self::Text { .. } => -1,
            Self::SuperfluousTicket => -22,
            Self::Method { .. } => -95,
            Self::Refused { result } => *result,
            _ => -13,
        }
    }
}
