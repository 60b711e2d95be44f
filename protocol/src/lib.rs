//! Ceph's messenger protocols as sans-IO state machines.

pub mod auth;
mod connection;
pub mod dispatch;
mod error;
mod event;
mod handshake;
pub mod inject;
mod local;
mod messenger;
mod outbox;
mod policy;
pub mod resume;
mod session;
pub mod throttle;

pub use cephwire_codec as codec;
pub use connection::{Foreign, Version};
pub use error::{Denied, Error, Incompatible, Stale, Violation};
pub use event::{Action, Event, LinkId, Received};
pub use local::{Local, Options, sorts_before};
pub use messenger::Messenger;
pub use outbox::Outbox;
pub use policy::{Policies, Policy};
pub use session::{Placement, Session};
