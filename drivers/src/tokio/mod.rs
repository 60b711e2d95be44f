//! The tokio driver: one task per connection, and three per messenger.
//!
//! The shape of Ceph's AsyncMessenger. It runs on multi-thread and current-thread runtimes; the task of a connection
//! reads, handles, dispatches fast and writes, and holds no memory for reading while nothing comes.
//!
//! The application's [dispatchers](crate::Dispatcher) are called on these tasks, so they must not block; [`channel`]
//! turns what they are told into something to await.

mod link;
mod listener;

use std::collections::BTreeSet;
use std::io;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ::tokio::runtime::Handle;
use ::tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use ::tokio::time::{sleep, timeout_at};
use cephwire_protocol::codec::{AddrVec, EntityAddr};

use crate::bell::Bell;
use crate::core::{Core, Dial, Duty, Next, Runtime};
use crate::listen::{Attempt, Binding, Bound, Listening, Route, version_of};
use crate::notice::{Inlet, Notice};
use crate::setup::Setup;
use crate::shutdown::{GLANCE, Unsent};

/// A messenger on a tokio runtime. What it can do beyond this is in [`cephwire::Messenger`](crate::Messenger): none of
/// that blocks, and [`send`](crate::Handle::send) needs no `await`.
///
/// ```
/// use cephwire::codec::{AddrVec, EntityName, EntityType, Message};
/// use cephwire::tokio::{Messenger, channel};
/// use cephwire::{Notice, Policy, Setup};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let osd = EntityName::new(EntityType::OSD, 0);
/// let server = Messenger::new(Setup::new(osd).default_policy(Policy::stateless_server()))?;
/// let (inlet, mut arriving) = channel();
/// server.add_tail(inlet);
/// let addrs = server.bind(&"v2:127.0.0.1:0/0".parse::<AddrVec>()?).await?;
///
/// let client = Messenger::new(Setup::new(EntityName::new(EntityType::CLIENT, 7)))?;
/// let session = client.connect(EntityType::OSD, &addrs);
/// session.send(Message { front: vec![1, 2, 3].into(), ..Message::default() })?;
///
/// let message = loop {
///     if let Some(Notice::Message(_from, received)) = arriving.recv().await {
///         break received.into_parts().0;
///     }
/// };
/// assert_eq!(message.front.len(), 3);
/// client.shutdown(std::time::Duration::from_secs(1)).await;
/// server.shutdown(std::time::Duration::ZERO).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Messenger(crate::Messenger);

impl Deref for Messenger {
    type Target = crate::Messenger;

    fn deref(&self) -> &crate::Messenger {
        &self.0
    }
}

impl Messenger {
    /// Starts one on the current runtime, which must have io and time enabled
    /// ([`enable_all`](::tokio::runtime::Builder::enable_all)): without them, tokio panics at the first socket or timer.
    ///
    /// # Errors
    /// There is no runtime, or the system gives no randomness.
    pub fn new(setup: Setup) -> io::Result<Self> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let (local, net) = setup.into_local()?;
        Ok(Self(crate::Messenger { core: Core::new(local, net, Box::new(Tasks(runtime)))? }))
    }

    /// As [`blocking::Messenger::bind`](crate::blocking::Messenger::bind).
    ///
    /// # Errors
    /// One of the addresses cannot be bound; then none is.
    pub async fn bind(&self, addrs: &AddrVec) -> io::Result<AddrVec> {
        self.bind_avoiding(addrs, &BTreeSet::new()).await
    }

    /// As [`blocking::Messenger::bind_unix`](crate::blocking::Messenger::bind_unix).
    ///
    /// # Errors
    /// It cannot be bound.
    pub fn bind_unix(&self, addr: EntityAddr, path: impl Into<PathBuf>) -> io::Result<AddrVec> {
        self.0.commit_unix(Route { addr, path: path.into() }, version_of(addr.kind))
    }

    /// As [`blocking::Messenger::rebind`](crate::blocking::Messenger::rebind).
    ///
    /// # Errors
    /// It did not listen, or no port is free.
    pub async fn rebind(&self, avoid: &BTreeSet<u16>) -> io::Result<AddrVec> {
        let (addrs, avoid) = self.0.unbind(avoid)?;
        self.bind_avoiding(&addrs, &avoid).await
    }

    async fn bind_avoiding(&self, addrs: &AddrVec, avoid: &BTreeSet<u16>) -> io::Result<AddrVec> {
        let mut binding = Binding::new(addrs, avoid);
        loop {
            match binding.attempt(&self.0.core.net)? {
                Attempt::Pause(pause) => sleep(pause).await,
                Attempt::Done(bound) => return self.0.commit(bound),
            }
        }
    }

    /// As [`blocking::Messenger::shutdown`](crate::blocking::Messenger::shutdown).
    pub async fn shutdown(&self, patience: Duration) -> Vec<Unsent> {
        let core = &self.0.core;
        core.stop_listening();
        let first = !core.flushing.swap(true, Ordering::SeqCst);
        let end = Instant::now().checked_add(patience);
        while core.is_to_flush(end) {
            match end {
                _ if !first => sleep(GLANCE).await,
                Some(end) => drop(timeout_at(end.into(), rings(&core.flushed)).await),
                None => rings(&core.flushed).await,
            }
        }
        let unsent = core.unsent();
        core.stop();
        self.wait().await;
        unsent
    }

    /// Ready when it was shut down, and the last callback has returned.
    pub async fn wait(&self) {
        let alive = &self.0.core.alive;
        std::future::poll_fn(|context| alive.poll(context)).await;
    }
}

/// A dispatcher that puts all messages and events into a channel, in the order of the dispatch queue.
///
/// The channel has no bound of its own: messages in it hold their share of the messenger's dispatch throttle, which
/// is [`Options::dispatch_throttle_bytes`](crate::Options::dispatch_throttle_bytes) for all.
#[must_use]
pub fn channel() -> (Arc<Inlet>, UnboundedReceiver<Notice>) {
    channel_of(false)
}

/// The same, on the fast path: right from the tasks of the connections, each connection's messages in the order
/// in which they came.
#[must_use]
pub fn fast_channel() -> (Arc<Inlet>, UnboundedReceiver<Notice>) {
    channel_of(true)
}

fn channel_of(fast: bool) -> (Arc<Inlet>, UnboundedReceiver<Notice>) {
    let (sender, receiver) = unbounded_channel();
    (Inlet::new(fast, move |notice| drop(sender.send(notice))), receiver)
}

/// Ready when it rings.
async fn rings(bell: &Bell) {
    std::future::poll_fn(|context| if bell.poll(context) { Ready(()) } else { Pending }).await;
}

use std::task::Poll::{Pending, Ready};

/// Gives each a task.
#[derive(Debug)]
struct Tasks(Handle);

impl Runtime for Tasks {
    fn serve(&self, core: &Arc<Core>, duty: Duty) -> io::Result<()> {
        let (life, core) = (core.alive.one(), Arc::clone(core));
        self.0.spawn(async move {
            let _life = life;
            loop {
                match core.turn(duty) {
                    Next::Again => ::tokio::task::yield_now().await,
                    Next::Wait(None) => rings(core.bell(duty)).await,
                    Next::Wait(Some(until)) => {
                        let _ = timeout_at(until.into(), rings(core.bell(duty))).await;
                    }
                    Next::End => return,
                }
            }
        });
        Ok(())
    }

    fn dial(&self, dial: Dial) {
        let life = dial.conn.core.alive.one();
        self.0.spawn(link::dial(dial, life));
    }

    fn listen(&self, core: &Arc<Core>, bound: Bound) -> io::Result<Box<dyn Listening>> {
        let _entered = self.0.enter();
        listener::listen(&self.0, core, bound)
    }
}
