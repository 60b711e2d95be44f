//! What is to be sent, and what was sent but may have to be sent again?
//!
//! A pure data structure: priority queues, the list of unacknowledged messages, and the counter between
//! them. Rules: session spec §5 (v1), §8 (v2), which are the same.

use std::collections::{BTreeMap, VecDeque};

use cephwire_codec::{Message, priority};

/// The outgoing half of a session.
#[derive(Debug, Default)]
pub struct Outbox {
    /// What was sent before, with the numbers under which it was. It goes first: a message that went ahead of it would
    /// take a number that one of these still bears.
    requeued: VecDeque<(u64, Message)>,
    /// Highest priority first, and in each the oldest first.
    queues: BTreeMap<u16, VecDeque<Message>>,
    /// Sent, not acknowledged; empty in lossy sessions.
    sent: VecDeque<(u64, Message)>,
    /// The number of the last message sent.
    out_seq: u64,
    queued_bytes: usize,
}

impl Outbox {
    /// Appends a message to the queue of its priority; 0 stands for the default.
    pub fn push(&mut self, mut message: Message) {
        if message.header.priority == 0 {
            message.header.priority = priority::DEFAULT;
        }
        self.queued_bytes += message.payload_len();
        self.queues.entry(message.header.priority).or_default().push_back(message);
    }

    /// Takes the next message and numbers it. If `keep`, it stays here until it is acknowledged.
    pub fn pop(&mut self, keep: bool) -> Option<(u64, Message)> {
        let again = self.requeued.pop_front().map(|(_, message)| message);
        let message = again.or_else(|| self.pop_new())?;
        self.queued_bytes = self.queued_bytes.saturating_sub(message.payload_len());
        self.out_seq = self.out_seq.wrapping_add(1);
        if keep {
            self.sent.push_back((self.out_seq, message.clone()));
        }
        Some((self.out_seq, message))
    }

    fn pop_new(&mut self) -> Option<Message> {
        let mut queue = self.queues.last_entry()?;
        let message = queue.get_mut().pop_front();
        if queue.get().is_empty() {
            queue.remove();
        }
        message
    }

    /// Everything up to `seq` was received. More than was sent is no error.
    pub fn acknowledge(&mut self, seq: u64) {
        while self.sent.front().is_some_and(|(sent, _)| *sent <= seq) {
            self.sent.pop_front();
        }
    }

    /// The connection is lost: what was not acknowledged is to be sent again, in order, ahead of anything else. (In Ceph
    /// it goes to the front of priority 255, the highest that it uses, and a still higher one would overtake it.)
    pub fn requeue(&mut self) {
        self.out_seq = self.out_seq.wrapping_sub(self.sent.len() as u64);
        while let Some((seq, message)) = self.sent.pop_back() {
            self.queued_bytes += message.payload_len();
            self.requeued.push_front((seq, message));
        }
    }

    /// The peer says that `seq` is the last it received: requeued messages up to it are not sent again, and
    /// numbering goes on accordingly.
    pub fn discard(&mut self, seq: u64) {
        while let Some((_, message)) = self.requeued.pop_front_if(|(sent, _)| *sent <= seq) {
            self.queued_bytes = self.queued_bytes.saturating_sub(message.payload_len());
            self.out_seq = self.out_seq.wrapping_add(1);
        }
        // New messages change nothing. (In Ceph those of priority 255 do: numbering goes on behind what was dropped, and
        // a peer that has received more takes them for old ones.)
        if self.requeued.is_empty() {
            self.out_seq = seq;
        }
    }

    /// Drops everything; numbering continues after `out_seq`.
    pub fn reset(&mut self, out_seq: u64) {
        *self = Self { out_seq, ..Self::default() };
    }

    /// Whether nothing waits to be sent. (What waits for an acknowledgement only is not looked at.)
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requeued.is_empty() && self.queues.is_empty()
    }

    /// How many messages wait to be sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.requeued.len() + self.queues.values().map(VecDeque::len).sum::<usize>()
    }

    /// Their payload in bytes.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// How many messages wait to be acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.sent.len()
    }

    /// The number of the last message sent.
    #[must_use]
    pub fn out_seq(&self) -> u64 {
        self.out_seq
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tid: u64, priority: u16) -> Message {
        let mut message = Message::default();
        (message.header.tid, message.header.priority) = (tid, priority);
        message
    }

    fn drain(outbox: &mut Outbox) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| outbox.pop(true)).map(|(seq, message)| (seq, message.header.tid)).collect()
    }

    #[test]
    fn highest_priority_first_then_oldest() {
        let mut outbox = Outbox::default();
        for (tid, priority) in [(1, 64), (2, 0), (3, 255), (4, 127), (5, 255)] {
            outbox.push(message(tid, priority));
        }
        assert_eq!(drain(&mut outbox), [(1, 3), (2, 5), (3, 2), (4, 4), (5, 1)]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn unacknowledged_messages_are_sent_again_with_their_numbers() {
        let mut outbox = Outbox::default();
        (1..=4).for_each(|tid| outbox.push(message(tid, 64)));
        drain(&mut outbox);
        outbox.acknowledge(1);
        outbox.push(message(5, 200));
        outbox.requeue();
        outbox.discard(2);
        assert_eq!(drain(&mut outbox), [(3, 3), (4, 4), (5, 5)]);
    }

    #[test]
    fn a_fresh_peer_restarts_the_numbering_if_everything_was_acknowledged() {
        let mut outbox = Outbox::default();
        outbox.push(message(1, 64));
        drain(&mut outbox);
        outbox.acknowledge(1000);
        outbox.requeue();
        outbox.discard(0);
        outbox.push(message(2, 64));
        assert_eq!(drain(&mut outbox), [(1, 2)]);
    }

    #[test]
    fn never_sent_messages_of_the_highest_priority_survive_a_discard() {
        let mut outbox = Outbox::default();
        outbox.push(message(1, 255));
        drain(&mut outbox);
        outbox.push(message(2, 255));
        outbox.requeue();
        outbox.discard(9);
        assert_eq!(drain(&mut outbox), [(10, 2)]);
    }

    #[test]
    fn a_peer_that_lost_state_sees_a_gap() {
        let mut outbox = Outbox::default();
        (1..=3).for_each(|tid| outbox.push(message(tid, 64)));
        drain(&mut outbox);
        outbox.acknowledge(2);
        outbox.requeue();
        outbox.discard(0);
        assert_eq!(drain(&mut outbox), [(3, 3)]);
    }

    /// A message of a priority above 255 may be sent before one that waits to be sent again, but for its number: that
    /// one must not be dropped when the other was received.
    #[test]
    fn what_waits_to_be_sent_again_goes_first() {
        let mut outbox = Outbox::default();
        (1..=2).for_each(|tid| outbox.push(message(tid, 64)));
        drain(&mut outbox);
        outbox.requeue();
        outbox.push(message(3, 300));
        assert_eq!((outbox.queued(), outbox.is_empty()), (3, false));
        assert_eq!(outbox.pop(true).map(|(seq, message)| (seq, message.header.tid)), Some((1, 1)));
        // The connection breaks once more, and the peer has received that one.
        outbox.requeue();
        outbox.discard(1);
        assert_eq!(drain(&mut outbox), [(2, 2), (3, 3)]);
    }

    #[test]
    fn queued_bytes_follow() {
        let mut outbox = Outbox::default();
        let long = Message { front: vec![0; 10].into(), ..message(1, 64) };
        for _ in 0..3 {
            outbox.push(long.clone());
        }
        outbox.pop(true);
        outbox.pop(true);
        assert_eq!((outbox.queued(), outbox.queued_bytes(), outbox.unacknowledged()), (1, 10, 2));
        outbox.requeue();
        assert_eq!((outbox.queued(), outbox.queued_bytes(), outbox.unacknowledged()), (3, 30, 0));
        outbox.discard(1);
        assert_eq!((outbox.queued(), outbox.queued_bytes()), (2, 20));
        outbox.reset(0);
        assert_eq!((outbox.queued(), outbox.queued_bytes(), outbox.is_empty()), (0, 0, true));
    }
}
