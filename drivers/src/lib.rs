//! Ceph's messenger outside Ceph: sessions with any Ceph daemon or client, in both versions of the protocol.
//!
//! A [`Messenger`] has a name and a table of sessions. It dials, listens, authenticates, reconnects and resends; the
//! application sends on a [`Handle`] and receives in a [`Dispatcher`]. Two drivers move the bytes, with the
//! same code above them: [`blocking`] has two threads per connection, [`tokio`] one task.
//!
//! ```
//! use std::sync::{Arc, mpsc};
//! use cephwire::codec::{AddrVec, EntityName, EntityType, Message};
//! use cephwire::{Dispatcher, Handle, Policy, Received, Setup, blocking::Messenger};
//!
//! /// Answers every message with itself.
//! struct Echo;
//!
//! impl Dispatcher for Echo {
//!     fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
//!         let (message, _permits) = received.into_parts();
//!         let _ = from.send(message);
//!         None
//!     }
//! }
//!
//! /// Hands every message to whoever waits at the other end.
//! struct Forward(mpsc::Sender<Message>);
//!
//! impl Dispatcher for Forward {
//!     fn dispatch(&self, _from: &Handle, received: Received) -> Option<Received> {
//!         let (message, _permits) = received.into_parts();
//!         let _ = self.0.send(message);
//!         None
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let osd = EntityName::new(EntityType::OSD, 0);
//! let server = Messenger::new(Setup::new(osd).default_policy(Policy::stateless_server()))?;
//! server.add_tail(Arc::new(Echo));
//! let addrs = server.bind(&"v2:127.0.0.1:0/0".parse::<AddrVec>()?)?;
//!
//! let client = Messenger::new(Setup::new(EntityName::new(EntityType::CLIENT, 7)))?;
//! let (to_us, answers) = mpsc::channel();
//! client.add_tail(Arc::new(Forward(to_us)));
//! let session = client.connect(EntityType::OSD, &addrs);
//! let hello = Message { front: vec![1, 2, 3].into(), ..Message::default() };
//! session.send(hello.clone())?;
//! assert_eq!(answers.recv()?.front, hello.front);
//!
//! let _ = client.shutdown(std::time::Duration::from_secs(1));
//! let _ = server.shutdown(std::time::Duration::ZERO);
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! ```text
//!   application ── Handle::send ──► Conn: lock, Session ──► Link ──► socket        blocking/, tokio/
//!       ▲                             │  ▲                            │
//!       │ Dispatcher                  │  └── Pilot: received ◄────────┘
//!       └── fast, or by the inbox ◄───┘ pump: actions, events
//!
//!   Core: the table, who is asked, and three duties: steward (timers, sessions without transport), dispatch, loopback
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `blocking` (default) | [`blocking`] |
//! | `tokio` (default) | [`tokio`] |
//! | `aws-lc-rs`, `crc-fast` (default) | faster backends of the codec |
//! | `lz4`, `snappy`, `zlib`, `zstd` | msgr2 on-wire compression |
//! | `serde` | state dumps |
#![cfg_attr(
    not(any(feature = "blocking", feature = "tokio")),
    allow(dead_code, reason = "without a driver nobody uses what they share")
)]

mod bell;
#[cfg(feature = "blocking")]
pub mod blocking;
mod conn;
mod core;
mod courier;
mod dispatcher;
mod handle;
mod inbox;
mod link;
mod listen;
mod messenger;
mod notice;
mod setup;
mod shutdown;
mod socket;
mod steward;
#[cfg(feature = "tokio")]
pub mod tokio;

/// The examples of the front page compile.
#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../../README.md")]
struct FrontPage;

pub use cephwire_protocol as protocol;
pub use cephwire_protocol::codec;
pub use cephwire_protocol::{
    Closed, Error, Facts, Failure, Local, Manner, Options, Policies, Policy, Received, Stamps, Stats, Times,
    Totals, Version, auth, inject, throttle,
};
pub use dispatcher::Dispatcher;
pub use handle::Handle;
pub use messenger::Messenger;
pub use notice::{Inlet, Notice};
pub use setup::{Net, Setup};
pub use shutdown::Unsent;
