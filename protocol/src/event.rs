//! What does a session have to say, and what does it want done?

use std::net::IpAddr;
use std::time::Instant;

use cephwire_codec::{AddrVec, EntityAddr, EntityName, Features, Message, Side};

use crate::Error;
use crate::throttle::Permit;

/// One transport (a TCP connection), unique in the messenger. It keeps its name when another session adopts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What the driver shall do. A driver that did not know one of them would stand still: another one would be a breaking
/// change, and is not hidden behind a wildcard.
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
    /// What the session delivered and was not dispatched yet is void: throw it away. Comes before each `Reset` and
    /// `RemoteReset`, and is the last event of a session that is closed silently.
    Discard,
    /// The session has ended; this is its last event.
    Reset(Option<Error>),
    /// The peer has lost the session; what was queued for it is lost. The session goes on anew.
    RemoteReset,
    /// The peer refused the TCP connection.
    Refused,
    /// A connection failed, or an attempt to make one; the session goes on. It tries again, at once or later, or stands
    /// by until there is something to send or the peer connects.
    Trouble(Error),
    /// A connection failed that was accepted and not yet a session; this is its last event.
    Rejected(Error),
}

/// A message that was not sent: the session has ended, and it comes back as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended: the message was not sent")]
pub struct Closed(pub Box<Message>);

impl From<Message> for Closed {
    fn from(message: Message) -> Self {
        Self(Box::new(message))
    }
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
    /// When what happened to it; nothing for one that never left the process.
    pub stamps: Option<Stamps>,
    pub(crate) permits: Permits,
}

impl Received {
    /// It was dispatched: returns its share of the messenger's dispatch throttle, as dropping it does too. What
    /// it holds of its policy's throttles stays until it is dropped.
    pub fn dispatched(&mut self) {
        self.permits.dispatch = None;
    }

    /// Returns its share of the policy's message throttle early. Ceph: `release_message_throttle`.
    pub fn release_message_throttle(&mut self) {
        self.permits.message = None;
    }

    /// Makes its share of the policy's byte throttle follow the payload that it has now. Ceph does so with every
    /// change (`Message::set_data` and its kin).
    pub fn recharge(&mut self) {
        let len = self.message.payload_len() as u64;
        if let Some(bytes) = &mut self.permits.bytes {
            bytes.resize(len);
        }
    }

    /// The message, and what is to be dropped when it is no longer in hand.
    #[must_use]
    pub fn into_parts(self) -> (Message, Permits) {
        (self.message, self.permits)
    }
}

/// When a received message came. Ceph: `recv_stamp`, `throttle_stamp`, `recv_complete_stamp` of `Message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stamps {
    /// Its header was here.
    pub began: Instant,
    /// The throttles let it in.
    pub throttled: Instant,
    /// It was complete.
    pub complete: Instant,
}

/// What a received message holds of the throttles; dropping it returns that.
#[derive(Debug, Default)]
pub struct Permits {
    pub(crate) message: Option<Permit>,
    pub(crate) bytes: Option<Permit>,
    pub(crate) dispatch: Option<Permit>,
}

impl Permits {
    /// As [`Received::dispatched`].
    pub fn dispatched(&mut self) {
        self.dispatch = None;
    }
}
