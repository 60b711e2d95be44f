//! What do two sides say on an open stream?
//!
//! Messages, acknowledgements and keepalives, received and sent: session spec §5 (v1), session2 spec §8 (v2).

use bytes::Buf;
use cephwire_codec::{Chunks, EntityName, Features, Room};

use super::{Accepted, BATCH_BYTES, BATCH_MESSAGES, Session, State};
use crate::connection::{Incoming, Item, Version};
use crate::error::Error;
use crate::event::{Event, Received};

impl Session {
    /// Decodes what has arrived, until something else must happen first.
    pub(super) fn pump(&mut self) {
        loop {
            // What a client of v1 says ahead of the answer waits until that is written and announced.
            if self.accepted != Accepted::No {
                return;
            }
            let Some(conn) = self.conn.as_mut().filter(|conn| !conn.awaits_answer()) else { return };
            let posted = &mut self.posted;
            let mut room = |tid: u64| posted.remove(&tid).map_or(Room::Own, Room::Posted);
            let result = match conn.next(&self.local, &mut room) {
                Ok(Incoming::More) => return,
                Ok(Incoming::Step(step)) => self.step(step),
                Ok(Incoming::Item(item)) => {
                    self.item(item);
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                return self.fault(error);
            }
        }
    }

    /// Something on the open stream.
    fn item(&mut self, item: Item) {
        match item {
            Item::Message { seq, ack, source, message } => {
                if let Some(ack) = ack.filter(|_| !self.policy.lossy) {
                    self.outbox.acknowledge(ack);
                }
                // A duplicate is dropped, and reading goes on (Ceph stalls); a gap is legal.
                if seq <= self.in_seq {
                    return;
                }
                self.in_seq = seq;
                self.ack_due |= !self.policy.lossy;
                let source = source.unwrap_or(EntityName::new(self.kind, self.gid));
                self.events.push_back(Event::Message(Received { message, seq, source }));
            }
            Item::Ack(seq) if !self.policy.lossy => self.outbox.acknowledge(seq),
            Item::Ack(_) | Item::Keepalive | Item::Aborted => {}
            // Only the newest is answered: floods cost nothing.
            Item::Keepalive2(stamp) => self.keepalive_answer = Some(stamp),
            Item::Keepalive2Ack(stamp) => self.last_keepalive_ack = Some(stamp),
            Item::Close => self.close(false),
        }
    }

    pub(super) fn transmit(&mut self, out: &mut Chunks) -> Result<(), Error> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        conn.transmit(out);
        if self.accepted == Accepted::Written {
            self.accepted = Accepted::HandedOut;
        }
        if self.state != State::Open || !conn.is_open() {
            return Ok(());
        }
        let (local, in_seq, lossy) = (&*self.local, self.in_seq, self.policy.lossy);
        if let Some(stamp) = self.keepalive_answer.take() {
            conn.put(local, Item::Keepalive2Ack(stamp), in_seq, out)?;
        }
        if std::mem::take(&mut self.keepalive) {
            let newer =
                self.version == Version::V2 || conn.facts.features.contains(Features::MSGR_KEEPALIVE2);
            let item = if newer { Item::Keepalive2(local.wall_clock()) } else { Item::Keepalive };
            conn.put(local, item, in_seq, out)?;
        }
        let mut messages = 0;
        while messages < BATCH_MESSAGES && out.remaining() < BATCH_BYTES {
            let Some((seq, message)) = self.outbox.pop(!lossy) else { break };
            conn.put(local, Item::Message { seq, ack: None, source: None, message }, in_seq, out)?;
            messages += 1;
        }
        if self.version == Version::V2 && messages > 0 {
            // Every message carries the ack.
            self.ack_due = false;
        } else if std::mem::take(&mut self.ack_due) {
            conn.put(local, Item::Ack(in_seq), in_seq, out)?;
        }
        Ok(())
    }
}
