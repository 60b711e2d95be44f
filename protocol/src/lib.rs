//! Ceph's messenger protocols as sans-IO state machines.

pub mod auth;
mod connection;
pub mod dispatch;
#[cfg(feature = "serde")]
pub mod dump;
mod error;
mod event;
mod handshake;
pub mod inject;
mod local;
mod loopback;
mod messenger;
mod outbox;
mod policy;
pub mod resume;
mod session;
mod stats;
pub mod throttle;

pub use cephwire_codec as codec;
pub use connection::{Foreign, Version};
pub use error::{Denied, Error, Incompatible, Stale, Violation};
pub use event::{Action, Event, LinkId, Permits, Received, Stamps};
pub use local::{Local, Options, sorts_before};
pub use loopback::Loopback;
pub use messenger::{Bag, Connect, Manner, Messenger, Seat, Totals};
pub use outbox::Outbox;
pub use policy::{Policies, Policy};
pub use session::{Placement, Session, Timer};
pub use stats::Stats;
