//! What do two sides say on an open stream?
//!
//! Messages, acknowledgements and keepalives, received and sent: session spec §5 (v1), session2 spec §8 (v2).

use bytes::Buf;
use cephwire_codec::{Chunks, EntityName, Features, Room};

use super::admission::Admission;
use super::{Accepted, BATCH_BYTES, BATCH_MESSAGES, Session, State};
use crate::connection::{Announced, Incoming, Item, Version};
use crate::error::Error;
use crate::event::{Event, Received};
use crate::stats::OVERHEAD;

impl Session {
    /// Decodes what has arrived, until something else must happen first.
    pub(super) fn pump(&mut self) {
        loop {
            // What a client of v1 says ahead of the answer waits until that is written and announced.
            if self.accepted != Accepted::No {
                return;
            }
            let Self { conn, admission, posted, policy, local, waker, now, .. } = &mut *self;
            let Some(conn) = conn.as_mut().filter(|conn| !conn.awaits_answer()) else { return };
            let paused = admission.is_waiting();
            let mut room = |announced: Announced| {
                if !admission.admit(*now, announced.len, policy, local, waker) {
                    return None;
                }
                let posted = announced.tid.and_then(|tid| posted.remove(&tid));
                Some(posted.map_or(Room::Aligned(announced.data_off), Room::Posted))
            };
            let next = conn.next(local, &mut room);
            if paused && !admission.is_waiting() {
                // The pause was not the peer's.
                conn.last_active = *now;
            }
            let result = match next {
                Ok(Incoming::More) => return,
                Ok(Incoming::Full) => {
                    self.stats.pauses += u64::from(!paused);
                    return;
                }
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
                // A lossy session has nothing to be acknowledged, unless it has become one (`mark_disposable`).
                if let Some(ack) = ack {
                    self.acknowledge(ack);
                }
                // A duplicate is dropped, and reading goes on (Ceph stalls); a gap is legal.
                let len = message.payload_len() as u64;
                let (permits, stamps) = self.admission.complete(self.now, len);
                if seq <= self.in_seq {
                    return;
                }
                self.in_seq = seq;
                if self.outbox.is_empty() && self.outbox.unacknowledged() == 0 {
                    self.bears_fruit();
                }
                self.ack_due |= !self.policy.lossy;
                if self.local.is_black_hole(self.kind) {
                    return;
                }
                self.stats.recv_messages += 1;
                self.stats.recv_bytes += len + OVERHEAD;
                let source = source.unwrap_or(EntityName::new(self.kind, self.gid));
                self.deliver(Received { message, seq, source, stamps: Some(stamps), permits });
            }
            Item::Ack(seq) => self.acknowledge(seq),
            // It returns what it held.
            Item::Aborted => self.admission = Admission::default(),
            Item::Keepalive => self.last_keepalive = Some(self.now),
            // Only the newest is answered: floods cost nothing.
            Item::Keepalive2(stamp) => {
                self.last_keepalive = Some(self.now);
                self.keepalive_answer = Some(stamp);
            }
            Item::Keepalive2Ack(stamp) => self.last_keepalive_ack = Some(stamp),
            Item::Close => self.close(false),
        }
    }

    fn acknowledge(&mut self, seq: u64) {
        let before = self.outbox.unacknowledged();
        self.outbox.acknowledge(seq);
        if self.outbox.unacknowledged() < before {
            self.bears_fruit();
        }
    }

    /// To the application, at once or held back for a while.
    fn deliver(&mut self, received: Received) {
        let Some(delayed) = &mut self.delayed else { return self.events.push_back(Event::Message(received)) };
        let delay = self.local.injected(|injector| injector.delay()).flatten();
        delayed.push(self.now, delay, received);
        while let Some(due) = delayed.pop_due(self.now) {
            self.events.push_back(Event::Message(due));
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
        let before = out.remaining();
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
        self.stats.send_bytes += (out.remaining() - before) as u64;
        Ok(())
    }
}
