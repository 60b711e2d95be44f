//! How much has happened?
//!
//! Names as Ceph's counters ("AsyncMessenger::Worker-N", messenger spec §12) where there are such. Those of times are
//! not here:
//! * `msgr_send_messages_queue_lat`, from queueing to sending: [`Session::send`](crate::Session::send) is not told the
//!   time. It would have to be, and to be kept with each message, on the hot path.
//! * `msgr_handle_ack_lat`, what an acknowledgement takes to process: within one call of a session time stands still.
//! * `msgr_running_total_time`, `_send_time`, `_recv_time`, `_fast_dispatch_time`, how long Ceph's workers were busy
//!   with what: threads and tasks are the driver's, and the system counts for them.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// The counters of a session since it was made, and what it has in hand; or the sums of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Messages received and accepted: neither duplicates nor what vanished in a black hole. Ceph:
    /// `msgr_recv_messages`.
    #[cfg_attr(feature = "serde", serde(rename = "msgr_recv_messages"))]
    pub recv_messages: u64,
    /// Messages that the application handed over for sending. Ceph: `msgr_send_messages`.
    #[cfg_attr(feature = "serde", serde(rename = "msgr_send_messages"))]
    pub send_messages: u64,
    /// Their payload, and 74 bytes for each: v1's header and footer, in v2 too. Ceph: `msgr_recv_bytes`.
    #[cfg_attr(feature = "serde", serde(rename = "msgr_recv_bytes"))]
    pub recv_bytes: u64,
    /// Bytes handed to the driver for open streams. Ceph: `msgr_send_bytes`.
    #[cfg_attr(feature = "serde", serde(rename = "msgr_send_bytes"))]
    pub send_bytes: u64,
    /// Dials begun.
    pub dials: u64,
    /// How often the stream opened.
    pub connects: u64,
    /// How often it opened again, the session being older.
    pub reconnects: u64,
    /// Connections, or attempts to make one, that failed.
    pub faults: u64,
    /// How often reading paused, as a throttle was full.
    pub pauses: u64,
    /// Messages that wait to be sent.
    pub queued_messages: u64,
    /// Their payload in bytes.
    pub queued_bytes: u64,
    /// Messages sent that wait to be acknowledged.
    pub unacknowledged: u64,
}

/// What a message counts besides its payload: v1's header and footer.
pub(crate) const OVERHEAD: u64 = 53 + 21;

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.recv_messages += other.recv_messages;
        self.send_messages += other.send_messages;
        self.recv_bytes += other.recv_bytes;
        self.send_bytes += other.send_bytes;
        self.dials += other.dials;
        self.connects += other.connects;
        self.reconnects += other.reconnects;
        self.faults += other.faults;
        self.pauses += other.pauses;
        self.queued_messages += other.queued_messages;
        self.queued_bytes += other.queued_bytes;
        self.unacknowledged += other.unacknowledged;
    }
}

impl Add for Stats {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Stats {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}
