//! How do two peers convince each other? The shape that every authentication method has.
//!
//! The state machines know only these traits; a method brings its own steps, keys and secrets. They are
//! step functions without I/O, as `AuthClient` and `AuthServer` are in Ceph (`src/auth/`). One
//! [`Client`] lives as long as one dialed connection, one [`Server`] as long as one accepted one.
//!
//! | here | what |
//! |---|---|
//! | [`AllowAll`] | method "none" |
//! | [`cephx`] | method "cephx": `ClientAuth`, `ServiceAuth`, `MonitorAuth` |
//! | [`Choice`] | several methods, by Ceph's options for who must use which |
//! | [`Modes`] | which connection modes are offered and allowed, by Ceph's options |

use std::fmt;

use bytes::Bytes;
use cephwire_codec::v2::method;
use cephwire_codec::{EntityType, Features, Timestamp, v1};
use zeroize::Zeroizing;

use crate::connection::Version;
use crate::error::Denied;

#[cfg(feature = "cephx")]
pub mod cephx;
mod choice;
mod entity;
mod modes;
mod none;
mod reason;

pub use choice::{Choice, Methods};
pub use entity::Entity;
pub use modes::{Modes, UnknownNames};
pub use none::AllowAll;
pub use reason::Reason;

/// Makes the two halves for each connection.
pub trait Auth: Send + Sync + fmt::Debug {
    /// For a dialed connection.
    fn client(&self, peer: &Peer) -> Box<dyn Client>;
    /// For an accepted connection.
    fn server(&self, peer: &Peer) -> Box<dyn Server>;

    /// v1, accepting: the features that a client must have which uses this method.
    fn required_features(&self, _peer: EntityType, method: u32) -> Features {
        // Ceph's default (`cephx_require_version` 2): who cannot be challenged may replay.
        if method == method::CEPHX { Features::CEPHX_V2 } else { Features(0) }
    }
}

/// With whom, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// This side's type.
    pub own: EntityType,
    /// The peer's type; accepting, as it says.
    pub kind: EntityType,
    /// This side's number in the cluster, as its name has it; 0 while it has none, and for daemons, whose names say
    /// another one.
    pub global_id: u64,
    /// What is spoken.
    pub version: Version,
    /// The wall clock: tickets end by it.
    pub now: Timestamp,
}

/// The dialing side.
pub trait Client: Send {
    /// The first payload. Called again after a refusal, with the methods that the server allows; nothing means
    /// that no authorizer is sent (v1, to a monitor).
    ///
    /// # Errors
    /// No method is left.
    fn open(&mut self, allowed: &[u32]) -> Result<Option<Opening>, Denied>;

    /// Answers AUTH_REPLY_MORE or CHALLENGE_AUTHORIZER.
    ///
    /// # Errors
    /// What came does not convince.
    fn more(&mut self, payload: &[u8]) -> Result<Bytes, Denied>;

    /// Takes the server's last payload and checks it. In v1 it is called for every reply with an authorizer; the mode
    /// is [`mode::UNKNOWN`](cephwire_codec::v2::mode::UNKNOWN) there.
    ///
    /// # Errors
    /// It does not prove that the server knows the secret.
    fn done(&mut self, global_id: u64, mode: u32, payload: &[u8]) -> Result<Secrets, Denied>;

    /// The server does not take what was sent: AUTH_BAD_METHOD with this error, or BADAUTHORIZER. Says whether dialing
    /// again is no use.
    fn refused(&mut self, _result: i32) -> bool {
        true
    }
}

/// The accepting side.
pub trait Server: Send {
    /// The next payload of the client: what now?
    fn request(&mut self, request: &Request<'_>) -> Answer;
    /// The methods it would take.
    fn methods(&self) -> Vec<u32>;
}

/// A client's first step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// See [`cephwire_codec::v2::method`].
    pub method: u32,
    /// Its payload.
    pub payload: Bytes,
}

/// What a client says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its method.
    pub method: u32,
    /// v2: the mode that the connection will have; `UNKNOWN` in v1.
    pub mode: u32,
    /// Whether it can be asked for more. In v1 only with CEPHX_V2.
    pub can_be_challenged: bool,
    /// What it says.
    pub payload: &'a [u8],
}

/// What a server says to a payload. Whoever passes it on must know all there is: there will be no other.
#[derive(Debug)]
pub enum Answer {
    /// One more step is needed.
    More(Bytes),
    /// Convinced.
    Done {
        /// Who the client is, where the method says so.
        name: Option<Entity>,
        /// The client's id in the cluster.
        global_id: u64,
        /// What the client may do, as the services of its type encode it; empty for none.
        caps: Bytes,
        /// The last payload for it.
        payload: Bytes,
        /// What both know now.
        secrets: Secrets,
    },
    /// Not convinced. The client is told the [errno](Reason::errno) alone.
    Bad(Reason),
}

/// What both sides know when authentication is over. Nothing of it is ever printed.
pub struct Secrets {
    /// The connection secret of secure mode, or nothing.
    pub connection_secret: Zeroizing<Vec<u8>>,
    /// v2: what AUTH_SIGNATURE is over a transcript.
    pub sign_transcript: SignTranscript,
    /// v1: who signs messages, if they are signed.
    pub signer: Option<MakeSigner>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// Signs the bytes of a handshake: HMAC-SHA256 with the session key.
pub type SignTranscript = Box<dyn Fn(&[u8]) -> [u8; 32] + Send>;

/// Makes the signer of a connection's messages once its features are known: they decide what is signed.
pub type MakeSigner = Box<dyn Fn(Features) -> Box<dyn v1::Signer> + Send>;
