//! What does authentication on a connection say, and which keys come of it?
//!
//! One [`Exchange`] listens to both sides of a connection. What it can read of their payloads goes into a record's
//! [`Findings`]; what they give, tickets and rotating secrets, goes into the [`Keys`] that all connections share.
//!
//! ```text
//!  v2 frames, v1 connects and messages ──► monitor | service ──► Findings
//!                                             │ ▲
//!                                             ▼ │
//!                                            Keys
//! ```

mod authmsg;
mod inside;
mod monitor;
mod service;
mod v1;
mod v2;

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use cephwire_codec::Features;
use cephwire_protocol::auth::cephx::{CryptoKey, MessageSigner};
use zeroize::Zeroizing;

pub use self::inside::{Findings, Inside, Signature};
use super::conversation::Both;
use super::keys::Keys;

/// Authentication on one connection.
pub(super) struct Exchange {
    keys: Rc<RefCell<Keys>>,
    with: With,
    monitor: monitor::Monitor,
    service: service::Service,
    /// What client and server both know now.
    session_key: Option<CryptoKey>,
    connection_secret: Option<Zeroizing<Vec<u8>>>,
    /// What both said so far, as long as signatures cover it.
    said: Both<v2::Transcript>,
    /// v1: the features of the last connect.
    features: Features,
    /// v1: what signatures of messages are checked with.
    signer: Option<MessageSigner>,
    /// v1: whether a side signed a message.
    signs: Both<bool>,
}

/// With whom the client authenticates, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum With {
    /// Not known.
    #[default]
    Unknown,
    /// A monitor, by its key.
    Monitor,
    /// A service, by a ticket.
    Service,
    /// Nobody asks: the method "none".
    Nobody,
}

impl Exchange {
    /// A connection that just opened.
    pub(super) fn new(keys: Rc<RefCell<Keys>>) -> Self {
        Self {
            keys,
            with: With::default(),
            monitor: monitor::Monitor::default(),
            service: service::Service::default(),
            session_key: None,
            connection_secret: None,
            said: Both::default(),
            features: Features(0),
            signer: None,
            signs: Both::default(),
        }
    }

    /// Whether nothing that is said on this connection can give a key for another one.
    pub(super) fn gives_no_keys(&self) -> bool {
        matches!(self.with, With::Service | With::Nobody)
    }

    /// A client's first payload: it tells whom the client takes the server for. Without one, the client only asks
    /// whether it may come in without a ticket (OSDs let those in who send heartbeats).
    fn opening(&mut self, payload: &[u8]) -> Findings {
        match payload.first() {
            None => {
                self.with = With::Nobody;
                Findings::default()
            }
            Some(10..=19) => {
                self.with = With::Monitor;
                self.introduction(payload).into()
            }
            Some(_) => {
                self.with = With::Service;
                self.authorizer(payload).into()
            }
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("with", &self.with).finish_non_exhaustive()
    }
}
