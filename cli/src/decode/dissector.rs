//! Which conversation does an event belong to?

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::conversation::Conversation;
use super::keys::Keys;
use super::record::Record;
use crate::capture::Event;

/// Turns the events of a capture into records, connection by connection. It does no input or output.
#[derive(Debug, Default)]
pub struct Dissector {
    open: HashMap<u64, Conversation>,
    connections: u64,
    /// What opens and verifies, if there is anything.
    keys: Option<Rc<RefCell<Keys>>>,
    /// Whether only connections that give keys are listened to.
    for_keys: bool,
}

impl Dissector {
    /// A dissector for one capture.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A dissector that opens and verifies what these keys can. What the capture gives is added to them.
    #[must_use]
    pub fn with_keys(keys: Rc<RefCell<Keys>>) -> Self {
        Self { keys: Some(keys), ..Self::default() }
    }

    /// A dissector that only looks for more keys: it lets connections go that cannot give any, and tells nothing
    /// about them. What it tells about the others is not complete.
    #[must_use]
    pub fn looking_for(keys: Rc<RefCell<Keys>>) -> Self {
        Self { keys: Some(keys), for_keys: true, ..Self::default() }
    }

    /// Takes the next event and appends the records that it completes.
    pub fn event(&mut self, event: Event, records: &mut Vec<Record>) {
        let connection = event.connection();
        if let Event::Opened { client, server, from_start, .. } = event {
            self.connections += 1;
            self.open.insert(
                connection,
                Conversation::new(connection, client, server, from_start, self.keys.clone()),
            );
            return;
        }
        let Some(conversation) = self.open.get_mut(&connection) else { return };
        let time = event.time();
        match event {
            Event::Opened { .. } => {}
            Event::Data { from, bytes, .. } => conversation.data(from, bytes, time, records),
            Event::Missing { from, len, .. } => conversation.missing(from, len, time, records),
            Event::Ended { from, how, .. } => conversation.ended(from, how, records),
        }
        if conversation.is_over() || self.for_keys && conversation.gives_no_keys() {
            self.open.remove(&connection);
        }
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections
    }
}
