//! cephx, Ceph's own authentication: how does a cluster know its members, and they it?
//!
//! Everybody has a [key](CryptoKey), and the monitors have them all ([`Keyring`]). Who proves to a monitor that it
//! knows its own key gets *tickets*: one for the ticket service itself (AUTH), with which more can be had, and one
//! for each kind of service. A ticket is readable for the service alone; the client shows it in an
//! [authorizer](Authorizer) and proves that it knows the session key which the monitor gave to it along with the ticket.
//!
//! ```text
//!   client                  monitor                          service (osd, mds, mgr)
//!     │ name, global_id        │                                 │
//!     ├───────────────────────►│                                 │ rotating secrets, fetched
//!     │◄───────── challenge ───┤                                 │ from the monitor
//!     ├─ proof, old ticket ───►│                                 │
//!     │◄── session key, ───────┤                                 │
//!     │    connection secret,  │                                 │
//!     │    tickets             │                                 │
//!     ├────────────── ticket, nonce ────────────────────────────►│
//!     │◄───────────────────────────────────────────── challenge ─┤
//!     ├────────────── ticket, nonce, challenge + 1 ─────────────►│
//!     │◄────────────────────────── nonce + 1, connection secret ─┤
//! ```
//!
//! | module | answers |
//! |---|---|
//! | [`cipher`], [`CryptoKey`] | what is a key, and how does it encrypt? |
//! | [`Keyring`] | which keys does this side have? |
//! | [`monitor`], [`message`] | what do a client and a monitor say to each other, and in which messages? |
//! | [`ticket`], [`rotating`] | what is in a ticket, and what is it sealed with? |
//! | [`authorizer`] | what do a client and a service say to each other? |
//! | [`MessageSigner`], [`sign_transcript`] | what is signed with a session key, in v1 and in v2? |
//! | [`Wallet`], [`ClientAuth`] | what does a client hold, and how does it dial with it? |
//! | [`KeyServer`], [`MonitorTalk`], [`MonitorAuth`] | what does a monitor know, and what does it give to whom? |
//! | [`Service`], [`ServiceAuth`] | how does a service know its clients? |
//!
//! The structures can be read and written by themselves, with the keys as arguments: a tool that has a capture and a
//! keyring goes from [`Reply::decode`](monitor::Reply::decode) to the session key by
//! [`SessionReply::open`](monitor::SessionReply::open), and with the tickets from there to every service.

pub mod authorizer;
pub mod cipher;
mod client;
mod key;
mod key_server;
mod keyring;
pub mod message;
pub mod monitor;
mod monitor_talk;
mod random;
pub mod rotating;
mod service;
mod sign;
pub mod ticket;
mod wallet;
mod wire;

pub use super::Entity;
pub use authorizer::Authorizer;
pub use client::ClientAuth;
pub use key::{CryptoKey, KeyType, KeyTypes};
pub use key_server::{KeyServer, KeyServerOptions};
pub use keyring::{Entry, Keyring};
pub use monitor_talk::{MonitorAuth, MonitorTalk};
pub use random::Random;
pub use rotating::RotatingSecrets;
pub use service::{Service, ServiceAuth, ServiceOptions};
pub use sign::{MessageSigner, sign_transcript};
pub use ticket::{Ticket, TicketBlob, TicketInfo};
pub use wallet::{Progress, Wallet, WalletOptions};
