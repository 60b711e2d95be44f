//! Ceph's messenger protocols as sans-IO state machines.
//!
//! Handshakes, sessions that outlive their connections, races between two peers that dial each other: everything
//! that a Ceph daemon or client does between its application and its sockets, in both versions of the protocol
//! and on both sides. Nothing here reads a socket, a clock or a random device. A *driver* does, and tells.
//!
//! # How to drive a session
//!
//! ```text
//!   application        send keepalive close …             Event: Message, Open, Reset …
//!                            │                                   ▲
//!                            ▼                                   │ poll_event
//!                    ┌─────────────────────────────────────────────────┐
//!                    │                    Session                      │
//!                    └─────────────────────────────────────────────────┘
//!      handle_dialed handle_recv  ▲          │ poll_action: Dial, HangUp, Arriving
//!      handle_eof handle_timeout  │          │ poll_transmit: bytes
//!      handle_unpaused, with now  │          ▼ recv_buf: memory to read into; poll_timer
//!   driver                    sockets and clock
//! ```
//!
//! A [`Session`] has four kinds of method:
//!
//! | kind | names | who calls |
//! |---|---|---|
//! | getters | [`is_open`](Session::is_open), [`peer`](Session::peer), [`facts`](Session::facts), [`stats`](Session::stats) … | anybody |
//! | commands | [`send`](Session::send), [`keepalive`](Session::keepalive), [`close`](Session::close) … | the application |
//! | what happened, with the time | `handle_*` | the driver |
//! | what to do | `poll_*`, [`recv_buf`](Session::recv_buf) | the driver |
//!
//! After anything, the driver transmits, does the actions, passes the events on, and looks at the timer, until there is
//! nothing more. The rules:
//!
//! * Calls in any order, repeated or in vain do no harm. Times may repeat, but not go back.
//! * Each call of [`poll_transmit`](Session::poll_transmit) gives one batch. The next call says that the kernel has
//!   that batch.
//! * A [`LinkId`] names a transport. Whoever comes late with bytes of another one gets [`Stale`], drops them, and
//!   looks up who owns the link now: nobody, or the session that adopted it.
//! * [`recv_buf`](Session::recv_buf) lends memory for one read. If it has none, reading pauses: a
//!   [`throttle`] is full. The [waker](Session::set_waker) tells when to call
//!   [`handle_unpaused`](Session::handle_unpaused).
//! * There is no retry loop: [`Action::Dial`] is the retry, and waiting for it is a [timer](Session::poll_timer).
//! * Only who accepts meets [`Action::Arriving`]: the newcomer knows whose session it claims. With the table locked,
//!   [find](Messenger::find) the session of that peer, call [`Session::place`] with both, and do what the
//!   [`Placement`] says.
//!
//! ```
//! use bytes::Buf;
//! use std::sync::Arc;
//! use std::time::Instant;
//! use cephwire_protocol::auth::AllowAll;
//! use cephwire_protocol::codec::{AddrVec, Chunks, EntityAddr, EntityName, EntityType, Message};
//! use cephwire_protocol::{Action, Event, LinkId, Local, Messenger, Options, Placement, Policies, Policy};
//! use cephwire_protocol::{Session, Version};
//!
//! fn local(name: EntityName, addrs: AddrVec, seed: u64, policy: Policy) -> Arc<Local> {
//!     let auth = Arc::new(AllowAll { name });
//!     Local::new(name, addrs, 1, seed, Policies::all(policy), auth, Options::default())
//! }
//!
//! /// Carries one batch over, as a socket would. Returns whether there was any.
//! fn carry(from: (&mut Session, LinkId), to: (&mut Session, LinkId), now: Instant) -> bool {
//!     let mut out = Chunks::new();
//!     let _ = from.0.poll_transmit(now, from.1, &mut out);
//!     let bytes = out.copy_to_bytes(out.remaining());
//!     let mut rest = &bytes[..];
//!     while !rest.is_empty() {
//!         let Ok(Some(mut buf)) = to.0.recv_buf(to.1) else { break };
//!         let len = buf.capacity().min(rest.len());
//!         buf.extend_from_slice(&rest[..len]); // a driver reads from its socket here
//!         let _ = to.0.handle_recv(now, to.1, buf);
//!         rest = &rest[len..];
//!     }
//!     !bytes.is_empty()
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Instant::now();
//! let addr: EntityAddr = "v2:127.0.0.1:6800/1".parse()?;
//! let ours = local(EntityName::new(EntityType::CLIENT, 5), AddrVec::default(), 11, Policy::lossy_client());
//! let theirs = local(EntityName::new(EntityType::OSD, 0), addr.into(), 22, Policy::stateless_registered_server());
//!
//! // The client dials; the server's driver accepts.
//! let mut client = Session::outgoing(ours, EntityType::OSD, addr.into(), now);
//! let Some(Action::Dial { link, .. }) = client.poll_action() else { unreachable!() };
//! client.handle_dialed(now, link, Ok(()))?;
//! let (mut server, accepted) = Session::incoming(theirs, "127.0.0.1:40000".parse()?, Version::V2, now)?;
//! let mut table = Messenger::new();
//!
//! client.send(Message { front: vec![42].into(), ..Message::default() })?;
//! loop {
//!     let moved = carry((&mut client, link), (&mut server, accepted), now)
//!         | carry((&mut server, accepted), (&mut client, link), now);
//!     while let Some(action) = server.poll_action() {
//!         if let Action::Arriving(key) = action {
//!             // Nobody is registered under this address yet.
//!             assert_eq!(Session::place(&mut server, None, now), Placement::Open);
//!             table.insert(key, accepted);
//!         }
//!     }
//!     if !moved {
//!         break;
//!     }
//! }
//!
//! let events: Vec<Event> = std::iter::from_fn(|| server.poll_event()).collect();
//! let [Event::Open { .. }, Event::Message(received)] = &events[..] else { unreachable!() };
//! assert_eq!((received.source, received.message.front.len()), (EntityName::new(EntityType::CLIENT, 5), 1));
//! # Ok(())
//! # }
//! ```
//!
//! # What may grow
//!
//! [`Options`], [`Facts`], [`Event`], [`Received`] and the errors are `non_exhaustive`. What is written as a literal is not:
//! [`Policy`], [`Manner`], [`inject::Settings`], [`codec::Limits`], the options of [`auth::cephx`]. Those may get new fields
//! all the same: end such literals with `..Default::default()`, or with the rest of a preset. [`auth::Peer`] and
//! [`auth::Request`] are read by methods and written by their tests only, and may grow like that. [`Action`], [`Placement`]
//! and [`auth::Answer`] will not: who matches them must know them all.
//!
//! # Words
//!
//! | in Ceph | here |
//! |---|---|
//! | Messenger | [`Local`], what all sessions share, and [`Messenger`], the table of them |
//! | Connection (it survives reconnects) | [`Session`] |
//! | Pipe; AsyncConnection's socket and protocol state | a connection: one transport, named by a [`LinkId`] |
//! | `local_connection` | [`Loopback`] |
//! | Messenger::Policy | [`Policy`] |
//! | Dispatcher, DispatchQueue | the driver's, with [`dispatch::DispatchQueue`] |
//! | `ms_handle_reset`, `_remote_reset`, `_refused`, `_connect`, `_accept` | [`Event::Reset`], [`Event::RemoteReset`], [`Event::Refused`], [`Event::Open`] with its side |
//! | mark_down | [`Session::close`] |
//!
//! * *dial*, *accept*: the two sides of one transport. *server* is only ever a word of policy: who never dials again.
//! * *lossy*: the session ends with its connection. *standby*: without a connection, and content with that. *resetcheck*:
//!   the user is told when the peer has lost the session. *anonymous*: in no table.
//! * *seq*: the number of a message in its session; what an acknowledgement names.
//! * *connect_seq*: how often a session was connected; tells a late attempt from the current one.
//! * *global_seq*: the number of an attempt among all of a process; tells a restarted peer from a slow one.
//! * *cookie* (v2): a random name for a session, one from each side; who knows both may resume it.
//! * *claim*: what a dialing side says about the session it wants; the answer is decided in [`resume`].
//! * *nonce*: tells apart processes that used the same address one after the other.
//! * *fault*: the end of a connection, or of an attempt to make one. What becomes of the session says the policy.

pub mod auth;
mod connection;
mod cookies;
pub mod dispatch;
#[cfg(feature = "serde")]
pub mod dump;
mod error;
mod event;
mod facts;
mod handshake;
pub mod inject;
#[cfg(feature = "cephx")]
pub mod key_log;
mod local;
mod loopback;
mod messenger;
mod outbox;
mod policy;
mod random;
pub mod resume;
mod session;
mod stats;
pub mod throttle;

pub use cephwire_codec as codec;
pub use connection::{Foreign, Version};
pub use cookies::Seed;
pub use error::{Denied, Error, Incompatible, Stale, Violation};
pub use event::{Action, Closed, Event, LinkId, Permits, Received, Stamps};
pub use facts::{Facts, Failure, Times};
pub use local::{Local, Options, sorts_before};
pub use loopback::Loopback;
pub use messenger::{Bag, Connect, Manner, Messenger, Seat, Totals};
pub use outbox::Outbox;
pub use policy::{Policies, Policy};
pub use session::{Placement, Session, Timer};
pub use stats::Stats;
