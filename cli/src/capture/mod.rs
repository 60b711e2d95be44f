//! Which bytes did each side of each TCP connection in a capture send, in order, when, and which are missing?
//!
//! ```text
//!   pcap, pcapng, .gz        CaptureFile        PacketContent        Reassembly
//!  ┌──────────────────┐     ┌───────────┐      ┌─────────────┐     ┌────────────┐
//!  │ any `impl Read`  │────▶│  packets  │─────▶│  segments   │────▶│  streams   │───▶ Event
//!  └──────────────────┘     └───────────┘      └─────────────┘     └────────────┘
//!    source.rs               file.rs            packet.rs           reassembly.rs
//!    uncompressed bytes      time, link type,   addresses, flags,   Opened, Data, Missing,
//!                            captured bytes     sequence, payload   Ended
//! ```
//!
//! [`Streams`] does all of it. The steps can be used on their own: [`Reassembly`] does no input or output.
//!
//! Captures come from anywhere, so nothing here panics, whatever the input, and memory is bounded: one record of
//! the file, and what [`Limits`] allow to wait for packets that came out of order.

mod error;
mod event;
mod file;
mod packet;
mod reassembly;
mod source;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::Read;

pub use self::error::CaptureError;
pub use self::event::{End, Event, Side};
pub use self::file::{CaptureFile, Packet};
pub use self::packet::{LinkType, PacketContent, Segment};
pub use self::reassembly::{Limits, Reassembly};

/// What was in a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// All packets.
    pub packets: u64,
    /// The TCP segments among them.
    pub tcp_packets: u64,
    /// The packets that were left out because they are neither TCP nor fragments, or cannot be read.
    pub other_packets: u64,
    /// The fragments of IP packets, which were left out.
    pub fragments: u64,
    /// The packets of unsupported link types, which were left out.
    pub unsupported_packets: u64,
    /// The TCP segments that were captured only in part.
    pub cut_by_snaplen: u64,
    /// The bytes that were left out because they had been captured before.
    pub retransmitted_bytes: u64,
}

/// The TCP streams of a capture.
pub struct Streams<R: Read> {
    file: CaptureFile<R>,
    reassembly: Reassembly,
    counters: Counters,
    unsupported: Option<LinkType>,
    /// What is left to say after the last event; `None` before the end of the file.
    end: Option<Result<(), CaptureError>>,
}

impl<R: Read> fmt::Debug for Streams<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("counters", &self.counters()).finish_non_exhaustive()
    }
}

impl<R: Read> Streams<R> {
    /// Begins to read a capture.
    pub fn new(input: R) -> Result<Self, CaptureError> {
        Self::with_limits(input, Limits::default())
    }

    /// Begins to read a capture with other limits than the default ones.
    pub fn with_limits(input: R, limits: Limits) -> Result<Self, CaptureError> {
        Ok(Self {
            file: CaptureFile::new(input)?,
            reassembly: Reassembly::new(limits),
            counters: Counters::default(),
            unsupported: None,
            end: None,
        })
    }

    /// The next event, or `None` after the last one.
    ///
    /// An error comes after all events of the packets before it, the ends of the connections that were still open
    /// among them, and only once; then there is nothing more.
    pub fn next_event(&mut self) -> Result<Option<Event>, CaptureError> {
        loop {
            if let Some(event) = self.reassembly.next_event() {
                return Ok(Some(event));
            }
            if let Some(end) = &mut self.end {
                return std::mem::replace(end, Ok(())).map(|()| None);
            }
            match self.read_packet() {
                Ok(true) => {}
                Ok(false) => self.finish(self.supported()),
                Err(error) => self.finish(Err(error)),
            }
        }
    }

    /// What was in the capture so far.
    pub fn counters(&self) -> Counters {
        Counters { retransmitted_bytes: self.reassembly.retransmitted_bytes(), ..self.counters }
    }

    /// How many bytes of the file were read; compressed ones if it is compressed.
    pub fn bytes_read(&self) -> u64 {
        self.file.bytes_read()
    }

    fn read_packet(&mut self) -> Result<bool, CaptureError> {
        let Some(packet) = self.file.next_packet()? else { return Ok(false) };
        self.counters.packets += 1;
        match PacketContent::new(packet.link_type, packet.bytes, packet.original_len) {
            PacketContent::Tcp(segment) => {
                self.counters.tcp_packets += 1;
                self.counters.cut_by_snaplen += u64::from(segment.cut > 0);
                self.reassembly.segment(packet.time, &segment);
            }
            PacketContent::Fragment => self.counters.fragments += 1,
            PacketContent::Other => self.counters.other_packets += 1,
            PacketContent::UnsupportedLinkType => {
                self.counters.unsupported_packets += 1;
                self.unsupported = Some(packet.link_type);
            }
        }
        Ok(true)
    }

    /// A capture of several interfaces may well have some that cannot be read, but not only such.
    fn supported(&self) -> Result<(), CaptureError> {
        match self.unsupported {
            Some(link_type) if self.counters.unsupported_packets == self.counters.packets => {
                Err(CaptureError::UnsupportedLinkType(link_type.0))
            }
            _ => Ok(()),
        }
    }

    fn finish(&mut self, end: Result<(), CaptureError>) {
        self.reassembly.finish();
        self.end = Some(end);
    }
}
