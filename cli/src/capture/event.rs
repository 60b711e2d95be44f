//! What happened on the connections of a capture?

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
pub use cephwire_codec::Side;

/// Something that happened on a connection.
///
/// For every connection there is one `Opened` first, then for each side any number of `Data` and `Missing`, whose
/// offsets follow each other without gap or overlap, and one `Ended`, after which nothing more comes of that side.
///
/// Times are nanoseconds since 1970, of the packet that let the event happen: bytes that were held back until a
/// hole before them was filled have the time of the packet that filled it. So times never go back unless the
/// capture's do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection was seen for the first time.
    Opened {
        /// Its number: from 0, in the order of the connections' first packets.
        connection: u64,
        /// The side that opened it; if that was not seen, the side whose data was seen first.
        client: SocketAddr,
        /// The other side.
        server: SocketAddr,
        /// See above.
        time: u64,
        /// Whether its beginning was seen. If not, offsets count from the first byte that was seen.
        from_start: bool,
    },
    /// The next bytes of one side.
    Data {
        /// The connection's number.
        connection: u64,
        /// The side that sent them.
        from: Side,
        /// How many bytes that side sent before these.
        offset: u64,
        /// See above.
        time: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// The next bytes of one side are not in the capture.
    Missing {
        /// The connection's number.
        connection: u64,
        /// The side that sent them.
        from: Side,
        /// How many bytes that side sent before these.
        offset: u64,
        /// How many are missing.
        len: u64,
        /// See above.
        time: u64,
    },
    /// One side will send no more.
    Ended {
        /// The connection's number.
        connection: u64,
        /// The side.
        from: Side,
        /// Why.
        how: End,
        /// See above.
        time: u64,
    },
}

impl Event {
    /// The number of the connection this happened on.
    pub fn connection(&self) -> u64 {
        match self {
            Self::Opened { connection, .. }
            | Self::Data { connection, .. }
            | Self::Missing { connection, .. }
            | Self::Ended { connection, .. } => *connection,
        }
    }

    /// When it happened.
    pub fn time(&self) -> u64 {
        match self {
            Self::Opened { time, .. }
            | Self::Data { time, .. }
            | Self::Missing { time, .. }
            | Self::Ended { time, .. } => *time,
        }
    }
}

/// Why a side sends no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// It said so.
    Fin,
    /// One of the two sides reset the connection.
    Reset,
    /// A new connection between the same addresses and ports began.
    Replaced,
    /// Too many connections were open, and this one was idle the longest. If it goes on, that is a new connection.
    Evicted,
    /// The capture ended before the side did.
    EndOfCapture,
}

/// Where the events of one side of a connection go.
pub(super) struct Outlet<'a> {
    pub(super) events: &'a mut VecDeque<Event>,
    pub(super) connection: u64,
    pub(super) from: Side,
    pub(super) time: u64,
}

impl Outlet<'_> {
    pub(super) fn data(&mut self, offset: u64, bytes: Bytes) {
        let Self { connection, from, time, .. } = *self;
        self.events.push_back(Event::Data { connection, from, offset, time, bytes });
    }

    pub(super) fn missing(&mut self, offset: u64, len: u64) {
        let Self { connection, from, time, .. } = *self;
        self.events.push_back(Event::Missing { connection, from, offset, len, time });
    }

    pub(super) fn ended(&mut self, how: End) {
        let Self { connection, from, time, .. } = *self;
        self.events.push_back(Event::Ended { connection, from, how, time });
    }
}
