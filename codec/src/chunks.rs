//! How do encoded frames wait for the socket, without copying payloads?
//!
//! ```text
//!   put_slice(head)  put(64 KiB)  put_slice(tail) put_slice(head)  put(200 B)
//!         │               │             └──────┬───────┘               │
//!   ┌─────▼────┐   ┌──────▼──────┐   ┌─────────▼───────────────────────▼──┐
//!   │ arena    │──►│ caller's    │──►│ arena                              │   one vectored write
//!   └──────────┘   └─────────────┘   └────────────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Payload pieces below this many bytes are copied into the arena, longer ones chained by reference:
/// about where an entry of its own in the gather list costs more than copying.
pub const COPY_BELOW: usize = 2048;

/// The arena's size at first: an idle connection keeps it.
const ARENA_LEAST: usize = 1 << 10;
/// The arena's size where much waits at once: heads and tails of some hundred frames.
const ARENA_MOST: usize = 16 << 10;

/// Bytes on their way out: a gather list. It is a [`Buf`], so that `write_buf` and vectored writes take it.
///
/// ```
/// use bytes::{Buf, Bytes};
/// use cephwire_codec::Chunks;
/// let mut out = Chunks::new();
/// out.put_slice(b"head");
/// out.put(&Bytes::from(vec![0; 4096])); // by reference
/// assert_eq!(out.remaining(), 4100);
/// let mut slices = [std::io::IoSlice::new(&[]); 8];
/// assert_eq!(out.io_slices(&mut slices), 2);
/// ```
#[derive(Debug, Default)]
pub struct Chunks {
    /// Finished pieces, in order; none is empty.
    pieces: VecDeque<Bytes>,
    /// What follows them: small pieces, copied together.
    arena: BytesMut,
    /// Bytes in `pieces`.
    chained: usize,
}

impl Chunks {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a copy of a few bytes.
    #[inline]
    pub fn put_slice(&mut self, small: &[u8]) {
        self.room(small.len());
        self.arena.extend_from_slice(small);
    }

    /// Appends `piece`: by reference, or copied if shorter than [`COPY_BELOW`].
    #[inline]
    pub fn put(&mut self, piece: &Bytes) {
        if piece.len() < COPY_BELOW {
            self.put_slice(piece);
        } else {
            self.close_arena();
            self.chained += piece.len();
            self.pieces.push_back(piece.clone());
        }
    }

    /// Fills `out` with what comes next, for `writev(2)`; returns how many were filled.
    pub fn io_slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let tail = (!self.arena.is_empty()).then_some(&self.arena[..]);
        let all = self.pieces.iter().map(|piece| &piece[..]).chain(tail);
        out.iter_mut().zip(all).map(|(slot, piece)| *slot = IoSlice::new(piece)).count()
    }

    /// Takes everything as owned pieces, for runtimes that must own what the kernel reads from.
    #[must_use]
    pub fn take_pieces(&mut self) -> Vec<Bytes> {
        self.close_arena();
        self.chained = 0;
        self.pieces.drain(..).collect()
    }

    /// Whether nothing is left to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.has_remaining()
    }

    /// Contiguous room at the end of the list, where the caller appends about `len` bytes at once.
    #[inline]
    pub(crate) fn room(&mut self, len: usize) -> &mut BytesMut {
        if self.arena.capacity() - self.arena.len() < len {
            self.grow(len);
        }
        &mut self.arena
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        let size = if self.is_empty() { ARENA_LEAST } else { ARENA_MOST };
        // What is there stays where it is; only an empty arena may be moved or used again.
        self.close_arena();
        self.arena.reserve(len.max(size));
    }

    fn close_arena(&mut self) {
        if !self.arena.is_empty() {
            self.chained += self.arena.len();
            self.pieces.push_back(self.arena.split().freeze());
        }
    }
}

impl Buf for Chunks {
    fn remaining(&self) -> usize {
        self.chained + self.arena.len()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.arena[..], |piece| &piece[..])
    }

    fn chunks_vectored<'a>(&'a self, dst: &mut [IoSlice<'a>]) -> usize {
        self.io_slices(dst)
    }

    /// # Panics
    /// If `count` is more than [`remaining`](Buf::remaining), as `Buf` demands.
    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.pieces.front_mut() {
            if count < front.len() {
                front.advance(count);
                self.chained -= count;
                return;
            }
            count -= front.len();
            self.chained -= front.len();
            self.pieces.pop_front();
        }
        self.arena.advance(count);
    }
}

/// Appends little-endian fields; every encoder of this crate writes with it.
pub(crate) trait Fields: BufMut {
    fn put_blob(&mut self, bytes: &[u8]) {
        self.put_u32_le(bytes.len() as u32);
        self.put_slice(bytes);
    }

    fn put_list(&mut self, values: &[u32]) {
        self.put_u32_le(values.len() as u32);
        values.iter().for_each(|value| self.put_u32_le(*value));
    }
}

impl<T: BufMut + ?Sized> Fields for T {}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever was put, in whatever sizes and however it is drained, comes out in order.
        #[test]
        fn order(sizes in proptest::collection::vec(0usize..6000, 1..20), steps in proptest::collection::vec(1usize..5000, 1..50)) {
            let mut out = Chunks::new();
            let mut expected = Vec::new();
            let mut got = Vec::new();
            let mut steps = steps.into_iter().cycle();
            for (n, size) in sizes.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..size).map(|i| (i * 7 + n) as u8).collect();
                expected.extend_from_slice(&bytes);
                if n % 3 == 0 { out.put_slice(&bytes) } else { out.put(&Bytes::from(bytes)) }
                if n % 4 == 3 {
                    let step = steps.next().unwrap_or(1).min(out.chunk().len());
                    got.extend_from_slice(&out.chunk()[..step]);
                    out.advance(step);
                }
            }
            prop_assert_eq!(out.remaining(), expected.len() - got.len());
            while out.has_remaining() {
                let step = steps.next().unwrap_or(1).min(out.chunk().len());
                got.extend_from_slice(&out.chunk()[..step]);
                out.advance(step);
            }
            prop_assert_eq!(got, expected);
            prop_assert!(out.take_pieces().is_empty());
        }
    }
}
