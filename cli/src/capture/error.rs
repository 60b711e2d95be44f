//! Why can a capture not be read, or not be read to its end?

use std::io;

/// Why a capture cannot be read (any further).
///
/// Offsets count the bytes of the capture itself; for a compressed file those are the uncompressed bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The first bytes are those of no known format.
    #[error("not a capture: neither pcap nor pcapng (nor gzip of one of them)")]
    NotACapture,

    /// The capture ends inside a record. All packets before it were delivered.
    #[error(
        "capture is truncated: it ends inside the record at byte {offset} ({have} of {need} bytes are there)"
    )]
    Truncated {
        /// Where the incomplete record begins.
        offset: u64,
        /// How many bytes of it there are.
        have: u64,
        /// How many bytes are needed, as far as that is known.
        need: u64,
    },

    /// A record claims a length beyond what is read into memory.
    #[error("record at byte {offset} is too large: {length} bytes, the limit is {limit}")]
    BlockTooLarge {
        /// Where the record begins.
        offset: u64,
        /// The length it claims.
        length: u64,
        /// The longest length that is accepted.
        limit: u64,
    },

    /// A record contradicts the format.
    #[error("malformed record at byte {offset}: {what}")]
    Malformed {
        /// Where the record begins.
        offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },

    /// There are packets, but all of link types that are not supported; this is one of them.
    #[error("unsupported link type {0} (supported: Ethernet, Linux cooked v1 and v2, raw IP, BSD loopback)")]
    UnsupportedLinkType(u16),

    /// The input could not be read, or its compression is corrupt.
    #[error("cannot read the capture: {0}")]
    Read(#[from] io::Error),
}
