//! Who delivers messages to oneself?
//!
//! Ceph: the local delivery thread of `src/msg/DispatchQueue.cc`. It is not the dispatch thread, so that one may wait
//! there for what comes back here the fast way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cephwire_protocol::codec::Message;
use cephwire_protocol::{Closed, Event, Local, Loopback};

use crate::bell::Bell;
use crate::core::{Core, Next};
use crate::handle::Handle;

/// The loopback of a messenger.
#[derive(Debug)]
pub(crate) struct Courier {
    loopback: Mutex<Loopback>,
    pub(crate) bell: Bell,
}

/// Loopback messages are of this number in the dispatch queue.
const CLASS: u64 = 0;

impl Courier {
    pub(crate) fn new(local: Arc<Local>) -> Self {
        Self { loopback: Mutex::new(Loopback::new(local)), bell: Bell::default() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Loopback> {
        self.loopback.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn send(&self, message: Message) -> Result<(), Closed> {
        self.lock().send(message)?;
        self.bell.ring();
        Ok(())
    }

    /// What is not delivered yet is dropped.
    pub(crate) fn stop(&self) {
        self.lock().close();
        self.bell.ring();
    }

    pub(crate) fn turn(&self, core: &Arc<Core>) -> Next {
        let mut loopback = self.lock();
        if !loopback.is_open() {
            return Next::End;
        }
        let Some(Event::Message(received)) = loopback.poll_event() else { return Next::Wait(None) };
        drop(loopback);
        core.deliver(&core.dispatchers(), &Handle::loopback(core), CLASS, received);
        Next::Again
    }
}
