//! Did everything arrive, once and in order?
//!
//! The application of both ends: it sends numbered messages and checks those that come. Small ones mostly, now and
//! then a large one.

use std::time::Instant;

use bytes::Bytes;
use cephwire::Error;
use cephwire::codec::{Header, Message, MessageType};
use cephwire::protocol::Event;

use super::Node;

/// What one end sends and awaits.
pub(crate) struct Exchange {
    count: u64,
    received: u64,
    opened: u64,
    cuts: bool,
    /// The first thing that went wrong.
    wrong: Option<String>,
    pattern: Bytes,
}

impl Exchange {
    /// So many messages each way; with `cuts`, this end breaks the connection half-way.
    pub(crate) fn new(count: u64, cuts: bool) -> Self {
        Self { count, received: 0, opened: 0, cuts, wrong: None, pattern: pattern() }
    }

    /// How often the session was opened: more than once, if it was cut.
    pub(crate) fn opened(&self) -> u64 {
        self.opened
    }

    /// Whether nothing more is to come: all is there, or something went wrong.
    pub(crate) fn is_over(&self) -> bool {
        self.received == self.count || self.wrong.is_some()
    }

    /// What went wrong, if anything.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        match &self.wrong {
            Some(wrong) => Err(wrong.clone()),
            None if self.received < self.count => {
                Err(format!("{} of {} messages came", self.received, self.count))
            }
            None => Ok(()),
        }
    }

    /// Whether the connection is to be cut now: once, when half has come.
    pub(crate) fn wants_cut(&mut self) -> bool {
        let now = self.cuts && self.received >= self.count / 2;
        self.cuts &= !now;
        now
    }

    /// Hears what the node's sessions say. As soon as one is open, all is sent.
    pub(crate) fn attend(&mut self, node: &mut Node, now: Instant) {
        while !node.events.is_empty() {
            for (from, event) in std::mem::take(&mut node.events) {
                let is_open = matches!(event, Event::Open { .. });
                self.event(event);
                if is_open && self.opened == 1 {
                    for number in 0..self.count {
                        node.send(now, from, message(&self.pattern, number));
                    }
                }
            }
            node.resume(now);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Open { .. } => self.opened += 1,
            Event::Message(received) => {
                let expected = message(&self.pattern, self.received);
                let (got, _permits) = received.into_parts();
                self.received += 1;
                if got.header.tid != expected.header.tid {
                    self.fail(format!("message {} came instead of {}", got.header.tid, expected.header.tid));
                } else if (&got.front, &got.data) != (&expected.front, &expected.data) {
                    self.fail(format!("message {} came with other contents", got.header.tid));
                }
            }
            // A connection broke, or could not be made: what the session is there for.
            Event::Trouble(_)
            | Event::Refused
            | Event::Rejected(Error::Closed { .. } | Error::TimedOut { .. }) => {}
            other => self.fail(format!("{other:?}")),
        }
    }

    fn fail(&mut self, wrong: String) {
        self.wrong.get_or_insert(wrong);
    }
}

/// The message of that number. Its data is a piece of the pattern, not a copy.
fn message(pattern: &Bytes, number: u64) -> Message {
    let from = (number % 251) as usize;
    let len = if number % LARGE_EACH == LARGE_EACH - 1 { LARGE } else { (number * 37 % 4000) as usize };
    Message {
        header: Header { tid: number + 1, kind: MessageType::OSD_OP, ..Header::default() },
        front: number.to_le_bytes().to_vec().into(),
        data: pattern.slice(from..from + len).into(),
        ..Message::default()
    }
}

fn pattern() -> Bytes {
    (0..LARGE + 251).map(|at| (at * 31 % 251) as u8).collect()
}

/// Bytes of data in a large message.
const LARGE: usize = 300_000;

/// One in so many is large.
const LARGE_EACH: u64 = 250;
