//! The blocking driver: two threads per connection, and three per messenger.
//!
//! The shape of Ceph's SimpleMessenger. No runtime is needed; the application's callbacks may block, within reason.
//!
//! ```text
//!   reader ── read, handle, fast dispatch, and write what that led to, if the socket takes it
//!   writer ── writes everything else, and what the socket did not take
//! ```

mod link;
mod listener;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use cephwire_protocol::codec::{AddrVec, EntityAddr};

use crate::core::{Core, Dial, Duty, Next, Runtime};
use crate::listen::{Attempt, Binding, Bound, Listening, Route, version_of};
use crate::notice::{Inlet, Notice};
use crate::setup::Setup;
use crate::shutdown::{GLANCE, Life, Unsent};

/// A messenger on threads of its own. What it can do beyond this is in [`cephwire::Messenger`](crate::Messenger).
///
/// ```no_run
/// use cephwire::codec::{AddrVec, EntityName, EntityType, Message};
/// use cephwire::{Setup, blocking::Messenger};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let messenger = Messenger::new(Setup::new(EntityName::new(EntityType::CLIENT, 4)))?;
/// let monitor: AddrVec = "v2:127.0.0.1:3300/0".parse()?;
/// let session = messenger.connect(EntityType::MON, &monitor);
/// session.send(Message::default())?;
/// let unsent = messenger.shutdown(std::time::Duration::from_secs(5));
/// assert!(unsent.is_empty());
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
    /// Starts one.
    ///
    /// # Errors
    /// The system gives no randomness, or not the threads that it needs; nothing of it is left then.
    pub fn new(setup: Setup) -> io::Result<Self> {
        let (local, net) = setup.into_local()?;
        Ok(Self(crate::Messenger { core: Core::new(local, net, Box::new(Threads))? }))
    }

    /// Listens on all of these addresses, in order; a port 0 is any of [`Net::ports`](crate::Net::ports) that is free.
    /// An address of type `v1` or `v2` speaks that version, one of type `any` both. Returns the own addresses.
    ///
    /// An address that is in use is tried again for a while ([`Net::bind_retry_count`](crate::Net::bind_retry_count)).
    ///
    /// # Errors
    /// One of them cannot be bound; then none is.
    pub fn bind(&self, addrs: &AddrVec) -> io::Result<AddrVec> {
        self.bind_avoiding(addrs, &BTreeSet::new())
    }

    /// Listens on a Unix socket; peers know this side by `addr`, whose type says which version is spoken. What was
    /// left at `path` by a process that is no more is replaced. The peers need a [route](crate::Messenger::route).
    ///
    /// # Errors
    /// It cannot be bound.
    pub fn bind_unix(&self, addr: EntityAddr, path: impl Into<PathBuf>) -> io::Result<AddrVec> {
        self.0.commit_unix(Route { addr, path: path.into() }, version_of(addr.kind))
    }

    /// Becomes another one to all peers: all sessions end, the nonce is another, and it listens at the same IPs on
    /// other ports, none of which is in `avoid`. Ceph: `rebind`.
    ///
    /// # Errors
    /// It did not listen, or no port is free.
    pub fn rebind(&self, avoid: &BTreeSet<u16>) -> io::Result<AddrVec> {
        let (addrs, avoid) = self.0.unbind(avoid)?;
        self.bind_avoiding(&addrs, &avoid)
    }

    fn bind_avoiding(&self, addrs: &AddrVec, avoid: &BTreeSet<u16>) -> io::Result<AddrVec> {
        let mut binding = Binding::new(addrs, avoid);
        loop {
            match binding.attempt(&self.0.core.net)? {
                Attempt::Pause(pause) => thread::sleep(pause),
                Attempt::Done(bound) => return self.0.commit(bound),
            }
        }
    }

    /// Ends everything. New peers are refused at once; what is queued may still be sent, and acknowledged, for as long
    /// as `patience`. Then all sessions end, which [`reset`](crate::Dispatcher::reset) tells, queued messages are
    /// dropped, and when the last callback has returned, so does this. Returns what was not sent. A patience too long
    /// to be told, as `Duration::MAX` is, never ends.
    ///
    /// Called from a callback, it does not wait for callbacks.
    #[must_use = "what was not sent is lost"]
    pub fn shutdown(&self, patience: Duration) -> Vec<Unsent> {
        let core = &self.0.core;
        core.stop_listening();
        let first = !core.flushing.swap(true, Ordering::SeqCst);
        let end = Instant::now().checked_add(patience);
        while core.is_to_flush(end) {
            if first {
                core.flushed.wait(end);
            } else {
                thread::sleep(GLANCE);
            }
        }
        let unsent = core.unsent();
        core.stop();
        self.wait();
        unsent
    }

    /// Returns when it was shut down, and the last callback has returned.
    pub fn wait(&self) {
        if !OURS.get() {
            self.0.core.alive.wait();
        }
    }
}

/// A dispatcher that puts all messages and events into a channel, in the order of the dispatch queue.
///
/// The channel has no bound of its own: messages in it hold their share of the messenger's dispatch throttle, which
/// is [`Options::dispatch_throttle_bytes`](crate::Options::dispatch_throttle_bytes) for all.
#[must_use]
pub fn channel() -> (Arc<Inlet>, mpsc::Receiver<Notice>) {
    channel_of(false)
}

/// The same, on the fast path: right from the threads of the connections, each connection's messages in the order
/// in which they came.
#[must_use]
pub fn fast_channel() -> (Arc<Inlet>, mpsc::Receiver<Notice>) {
    channel_of(true)
}

fn channel_of(fast: bool) -> (Arc<Inlet>, mpsc::Receiver<Notice>) {
    let (sender, receiver) = mpsc::channel();
    (Inlet::new(fast, move |notice| drop(sender.send(notice))), receiver)
}

thread_local! {
    /// Whether this thread is one of a messenger's.
    static OURS: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread of the messenger.
fn spawn(name: &str, life: Option<Life>, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let body = move || {
        let _life = life;
        OURS.set(true);
        body();
    };
    thread::Builder::new().name(format!("cephwire-{name}")).spawn(body).map(drop)
}

/// Gives each a thread.
#[derive(Debug)]
struct Threads;

impl Runtime for Threads {
    fn serve(&self, core: &Arc<Core>, duty: Duty) -> io::Result<()> {
        let name = match duty {
            Duty::Steward => "steward",
            Duty::Dispatch => "dispatch",
            Duty::Courier => "local",
        };
        let (life, core) = (core.alive.one(), Arc::clone(core));
        spawn(name, Some(life), move || {
            loop {
                match core.turn(duty) {
                    Next::Again => {}
                    Next::Wait(until) => core.bell(duty).wait(until),
                    Next::End => return,
                }
            }
        })
    }

    fn dial(&self, dial: Dial) {
        link::dial(dial);
    }

    fn listen(&self, core: &Arc<Core>, bound: Bound) -> io::Result<Box<dyn Listening>> {
        listener::listen(core, bound)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use cephwire_protocol::codec::{EntityName, EntityType};

    use super::*;
    use crate::shutdown::Alive;

    /// Has threads for so many duties only.
    #[derive(Debug)]
    struct Scarce {
        left: AtomicUsize,
        alive: Arc<Mutex<Option<Arc<Alive>>>>,
    }

    impl Runtime for Scarce {
        fn serve(&self, core: &Arc<Core>, duty: Duty) -> io::Result<()> {
            *self.alive.lock().unwrap() = Some(Arc::clone(&core.alive));
            if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Threads.serve(core, duty)
        }

        fn dial(&self, _dial: Dial) {}

        fn listen(&self, core: &Arc<Core>, bound: Bound) -> io::Result<Box<dyn Listening>> {
            Threads.listen(core, bound)
        }
    }

    #[test]
    fn what_had_started_ends() {
        for threads in 0..3 {
            let setup = Setup::new(EntityName::new(EntityType::CLIENT, 4));
            let (local, net) = setup.into_local().unwrap();
            let alive = Arc::default();
            let scarce = Scarce { left: AtomicUsize::new(threads), alive: Arc::clone(&alive) };
            let error = Core::new(local, net, Box::new(scarce)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            // Returns when no thread is left.
            let alive = alive.lock().unwrap().take().unwrap();
            alive.wait();
        }
    }
}
