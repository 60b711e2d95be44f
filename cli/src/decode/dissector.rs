//! Which conversation does an event belong to?

use std::collections::HashMap;

use super::conversation::Conversation;
use super::record::Record;
use crate::capture::Event;

/// Turns the events of a capture into records, connection by connection. It does no input or output.
#[derive(Debug, Default)]
pub struct Dissector {
    open: HashMap<u64, Conversation>,
    connections: u64,
}

impl Dissector {
    /// A dissector for one capture.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next event and appends the records that it completes.
    pub fn event(&mut self, event: Event, records: &mut Vec<Record>) {
        let connection = event.connection();
        if let Event::Opened { client, server, from_start, .. } = event {
            self.connections += 1;
            self.open.insert(connection, Conversation::new(connection, client, server, from_start));
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
        if conversation.is_over() {
            self.open.remove(&connection);
        }
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections
    }
}
