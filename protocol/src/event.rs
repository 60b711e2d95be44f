//! What does a session have to say, and what does it want done?

use std::net::IpAddr;

use cephwire_codec::{AddrVec, EntityAddr, EntityName, Features, Message, Side};

use crate::Error;

/// One transport (a TCP connection), unique in the messenger. It keeps its name when another session adopts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What the driver shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect to `to`; the outcome goes to [`Session::handle_dialed`](crate::Session::handle_dialed).
    Dial {
        /// The name of the transport to be.
        link: LinkId,
        /// Where to.
        to: EntityAddr,
        /// The local address to use, if not any.
        bind: Option<IpAddr>,
    },
    /// Close this transport, or abandon its dial.
    HangUp(LinkId),
    /// A newcomer knows who it is: place it ([`Session::place`](crate::Session::place)).
    Arriving(AddrVec),
}

/// What the application is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A message arrived.
    Message(Received),
    /// The session is open, for the first time or again.
    Open {
        /// Which side this one was: who dialed, who accepted.
        side: Side,
        /// The effective features.
        features: Features,
    },
    /// What the session delivered and was not dispatched yet is void: throw it away.
    Discard,
    /// The session has ended; this is its last event.
    Reset(Option<Error>),
    /// The peer has lost the session; what was queued for it is lost. The session goes on anew.
    RemoteReset,
    /// The peer refused the TCP connection.
    Refused,
    /// A connection failed; the session tries again.
    Trouble(Error),
}

/// A received message.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received {
    /// The message.
    pub message: Message,
    /// Its number in the session.
    pub seq: u64,
    /// Who sent it.
    pub source: EntityName,
}
