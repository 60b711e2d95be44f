//! What becomes of messages to oneself?

use std::collections::VecDeque;
use std::sync::Arc;

use cephwire_codec::{AddrVec, EntityName, Features, Message, priority};

use crate::event::{Closed, Event, Permits, Received};
use crate::local::Local;

/// The session of a messenger with itself: what is sent comes back as it is, in order, as if it had been received.
///
/// It is open from the start, has no link, no numbers and no throttles, and all features. In a
/// [`DispatchQueue`](crate::dispatch::DispatchQueue) its messages are of connection 0. Ceph: `local_connection`,
/// messenger spec §4.3.
#[derive(Debug)]
pub struct Loopback {
    local: Arc<Local>,
    queue: VecDeque<Message>,
    closed: bool,
}

impl Loopback {
    /// The loopback of this messenger.
    #[must_use]
    pub fn new(local: Arc<Local>) -> Self {
        local.count_created();
        Self { local, queue: VecDeque::new(), closed: false }
    }

    /// This side's own addresses.
    #[must_use]
    pub fn key(&self) -> AddrVec {
        self.local.addrs()
    }

    /// This side's own name.
    #[must_use]
    pub fn peer(&self) -> EntityName {
        self.local.name()
    }

    /// All features that this side has.
    #[must_use]
    pub fn features(&self) -> Features {
        self.local.policy(self.local.name().kind).features_supported
    }

    /// Whether it takes messages.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.closed
    }

    /// Queues a message.
    ///
    /// # Errors
    /// Gives it back if the messenger has shut down.
    pub fn send(&mut self, mut message: Message) -> Result<(), Closed> {
        if self.closed {
            return Err(message.into());
        }
        if message.header.priority == 0 {
            message.header.priority = priority::DEFAULT;
        }
        self.queue.push_back(message);
        Ok(())
    }

    /// Shuts it down: what is queued is dropped.
    pub fn close(&mut self) {
        self.closed = true;
        self.queue.clear();
    }

    /// The next message, of which this side is the source.
    pub fn poll_event(&mut self) -> Option<Event> {
        let message = self.queue.pop_front()?;
        let (source, permits) = (self.local.name(), Permits::default());
        Some(Event::Message(Received { message, seq: 0, source, stamps: None, permits }))
    }
}
