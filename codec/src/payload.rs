//! How are the bytes of a message's part held, without copying them together?

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::crc::crc32c;
use crate::error::Hex;

/// One or more [`Bytes`] that are one run on the wire: a message's front, middle or data.
///
/// Received payloads are slices of what was read; payloads to send are chained into the gather list.
/// Two payloads are equal if their bytes are, however they are cut into pieces.
///
/// ```
/// use bytes::Bytes;
/// use cephwire_codec::Payload;
/// let whole = Payload::from(Bytes::from_static(b"hello"));
/// let cut = Payload::from(vec![Bytes::from_static(b"he"), Bytes::from_static(b"llo")]);
/// assert_eq!(whole, cut);
/// assert_eq!(cut.into_bytes(), "hello");
/// ```
#[derive(Clone, Default)]
pub struct Payload(Pieces);

#[derive(Clone, Default)]
enum Pieces {
    #[default]
    None,
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Payload {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Pieces::None)
    }

    /// The number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Pieces::None => 0,
            Pieces::One(piece) => piece.len(),
            Pieces::Many(pieces) => pieces.iter().map(Bytes::len).sum(),
        }
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces in order; none of them is empty.
    #[must_use]
    pub fn pieces(&self) -> &[Bytes] {
        match &self.0 {
            Pieces::None => &[],
            Pieces::One(piece) => std::slice::from_ref(piece),
            Pieces::Many(pieces) => pieces,
        }
    }

    /// All bytes as one: free for a single piece, else one copy.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self.0 {
            Pieces::None => Bytes::new(),
            Pieces::One(piece) => piece,
            Pieces::Many(pieces) => gather(&pieces),
        }
    }

    /// The crc of the bytes ([`crc32c()`]), when the register held `seed` before.
    #[must_use]
    #[inline]
    pub fn crc32c(&self, seed: u32) -> u32 {
        self.pieces().iter().fold(seed, |crc, piece| crc32c(crc, piece))
    }

    /// Copies the bytes into memory of their own, of exactly their size.
    ///
    /// A received payload is a slice of the block that it was read with, and keeps that whole block
    /// alive. Whoever keeps small payloads for long detaches them.
    pub fn detach(&mut self) {
        if !self.is_empty() {
            self.0 = Pieces::One(gather(self.pieces()));
        }
    }
}

fn gather(pieces: &[Bytes]) -> Bytes {
    let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        whole.extend_from_slice(piece);
    }
    whole.freeze()
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::new() } else { Self(Pieces::One(bytes)) }
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        match pieces.len() {
            0 => Self::new(),
            1 => pieces.pop().map(Self::from).unwrap_or_default(),
            _ => Self(Pieces::Many(pieces)),
        }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from(Bytes::from_static(bytes))
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        let flat = |payload: &Self| {
            payload.pieces().iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<u8>>()
        };
        match (self.pieces(), other.pieces()) {
            ([one], [another]) => one == another,
            _ => flat(self) == flat(other),
        }
    }
}

impl Eq for Payload {}

impl fmt::Debug for Payload {
    /// The length and the first bytes: payloads can be megabytes, and may hold secrets further in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 16;
        let first = self.pieces().first().map_or(&[][..], |piece| piece.chunk());
        let shown = first.get(..SHOWN).unwrap_or(first);
        let more = if self.len() > shown.len() { "…" } else { "" };
        write!(f, "Payload({} bytes: {:?}{more})", self.len(), Hex(shown))
    }
}
