//! How do two peers convince each other? The shape that every authentication method has.
//!
//! The state machines know only these traits; a method brings its own steps, keys and secrets. They are
//! step functions without I/O, as `AuthClient` and `AuthServer` are in Ceph (`src/auth/`). One
//! [`Client`] lives as long as one dialed connection, one [`Server`] as long as one accepted one.

use std::fmt;

use bytes::Bytes;
use cephwire_codec::{EntityName, EntityType, v1};

use crate::error::Denied;

#[cfg(feature = "cephx")]
pub mod cephx;
mod none;
mod reason;

pub use none::AllowAll;
pub use reason::Reason;

/// Makes the two halves for each connection.
pub trait Auth: Send + Sync + fmt::Debug {
    /// For a connection dialed to a peer of this type.
    fn client(&self, peer: EntityType) -> Box<dyn Client>;
    /// For an accepted connection of a peer of this type.
    fn server(&self, peer: EntityType) -> Box<dyn Server>;
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

    /// Takes the server's last payload and checks it. In v1 it is called for every reply with an authorizer.
    ///
    /// # Errors
    /// It does not prove that the server knows the secret.
    fn done(&mut self, global_id: u64, mode: u32, payload: &[u8]) -> Result<Secrets, Denied>;
}

/// The accepting side.
pub trait Server: Send {
    /// The next payload of the client: what now?
    fn request(&mut self, method: u32, payload: &[u8]) -> Answer;
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

/// What a server says to a payload.
pub enum Answer {
    /// One more step is needed.
    More(Bytes),
    /// Convinced.
    Done {
        /// Who the client is, where the method says so.
        name: Option<EntityName>,
        /// The client's id in the cluster.
        global_id: u64,
        /// What the client may do, as the services of its type encode it; empty for none.
        caps: Bytes,
        /// The last payload for it.
        payload: Bytes,
        /// What both know now.
        secrets: Secrets,
    },
    /// Not convinced: a negative errno.
    Bad(i32),
}

/// What both sides know when authentication is over. Nothing of it is ever printed.
pub struct Secrets {
    /// The connection secret of secure mode, or nothing.
    pub connection_secret: Box<[u8]>,
    /// v2: what AUTH_SIGNATURE is over a transcript.
    pub sign_transcript: SignTranscript,
    /// v1: who signs messages, if they are signed.
    pub signer: Option<Box<dyn v1::Signer>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(..)")
    }
}

/// Signs the bytes of a handshake: HMAC-SHA256 with the session key.
pub type SignTranscript = Box<dyn Fn(&[u8]) -> [u8; 32] + Send>;
