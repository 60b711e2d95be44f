//! Which bytes did one side of one connection send?
//!
//! Positions are counted in 64 bits from the first byte. A sequence number is taken for the nearest position to the
//! next byte that has it, so that wrapping after 4 GiB does no harm.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::capture::event::{End, Outlet};
use crate::capture::packet::Segment;

/// What a piece that waits costs besides its bytes: without this, many tiny ones would take far more memory than
/// they are counted for.
const PIECE_OVERHEAD: usize = 128;

/// What one side sends.
#[derive(Debug, Default)]
pub(super) struct Direction {
    /// The sequence number of the first byte, as soon as it is known.
    first: Option<u32>,
    /// The position of the next byte to be delivered.
    next: u64,
    /// What came too early, by position. The pieces do not overlap, and lie after `next` and before `fin`.
    waiting: BTreeMap<u64, Piece>,
    held: usize,
    /// The position at which the side ends.
    fin: Option<u64>,
    /// The position up to which the peer has acknowledged.
    acknowledged: u64,
    /// For how many packets the hole at `next` was waited for since its bytes were acknowledged.
    waited: u32,
    ended: bool,
}

#[derive(Debug)]
enum Piece {
    Captured(Bytes),
    /// So many bytes were seen, but not captured.
    Cut(u64),
}

/// A part of a segment: its bytes, or those that were cut off.
#[derive(Clone, Copy)]
enum Part<'a> {
    Captured(&'a [u8]),
    Cut(u64),
}

impl Direction {
    /// The sequence number of the first byte.
    pub(super) fn first(&self) -> Option<u32> {
        self.first
    }

    /// Says what the sequence number of the first byte is, unless that is known.
    pub(super) fn start(&mut self, sequence: u32) {
        self.first.get_or_insert(sequence);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// How much memory the waiting pieces take.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes a segment of this side; returns how many of its bytes were known before.
    pub(super) fn segment(&mut self, segment: &Segment<'_>, room: usize, outlet: &mut Outlet<'_>) -> u64 {
        let sequence = segment.sequence.wrapping_add(segment.syn.into());
        if segment.syn {
            self.start(sequence);
        }
        if self.ended || !(segment.has_data() || segment.fin) {
            return 0;
        }
        self.start(sequence);
        let start = self.position(sequence);
        let cut_start = start + segment.payload.len() as i128;
        let end = cut_start + i128::from(segment.cut);
        if segment.fin {
            self.set_fin(end);
        }
        let known = self.place(start, Part::Captured(segment.payload), outlet);
        self.place(cut_start, Part::Cut(segment.cut.into()), outlet);
        self.deliver_waiting(outlet);
        while self.held > room && self.give_up_hole(u64::MAX, outlet) {}
        known
    }

    /// Takes an acknowledgment by the peer.
    pub(super) fn acknowledge(&mut self, sequence: u32) {
        if self.first.is_some() {
            let position = u64::try_from(self.position(sequence)).unwrap_or(0);
            self.acknowledged = self.acknowledged.max(position);
        }
    }

    /// Notes that one more packet of the connection came. After more than `patience` of them, a hole whose bytes are
    /// acknowledged is given up.
    pub(super) fn wait(&mut self, patience: u32, outlet: &mut Outlet<'_>) {
        if self.acknowledged <= self.next || self.end_of_hole().is_none() {
            return;
        }
        self.waited += 1;
        if self.waited > patience {
            self.give_up_hole(self.acknowledged, outlet);
        }
    }

    /// Ends this side, unless it has ended: everything that waits is delivered, with the holes in between missing.
    pub(super) fn end(&mut self, how: End, outlet: &mut Outlet<'_>) {
        while self.give_up_hole(u64::MAX, outlet) {}
        if self.ended {
            return;
        }
        // A single byte that was acknowledged and not seen may be a FIN.
        if self.acknowledged > self.next + 1 {
            outlet.missing(self.next, self.acknowledged - self.next);
            self.next = self.acknowledged;
        }
        self.ended = true;
        outlet.ended(how);
    }

    /// The position of a sequence number; before the first byte it is negative.
    fn position(&self, sequence: u32) -> i128 {
        let next_sequence = self.first.unwrap_or(sequence).wrapping_add(low_bits(self.next));
        let distance = sequence.wrapping_sub(next_sequence).cast_signed();
        i128::from(self.next) + i128::from(distance)
    }

    /// Only the first FIN counts, and none before bytes that were delivered already.
    fn set_fin(&mut self, position: i128) {
        let Ok(fin) = u64::try_from(position) else { return };
        if self.fin.is_some() || fin < self.next {
            return;
        }
        self.fin = Some(fin);
        for (_, piece) in self.waiting.split_off(&fin) {
            self.held = self.held.saturating_sub(piece.cost());
        }
        if let Some((start, piece)) = self.waiting.pop_last() {
            self.held = self.held.saturating_sub(piece.cost());
            let piece = piece.shortened(fin - start);
            self.held += piece.cost();
            self.waiting.insert(start, piece);
        }
    }

    /// Delivers a part, or lets it wait for what lies before it. What was there before stays: the first one wins.
    /// Returns how many of its bytes were known.
    fn place(&mut self, start: i128, part: Part<'_>, outlet: &mut Outlet<'_>) -> u64 {
        let end =
            u64::try_from(start + i128::from(part.len())).unwrap_or(0).min(self.fin.unwrap_or(u64::MAX));
        let first = u64::try_from(start).unwrap_or(0).max(self.next);
        // How far into the part a position is.
        let within = |position: u64| u64::try_from(i128::from(position) - start).unwrap_or(0);
        let mut known = within(first).min(part.len());
        if end <= first {
            return known;
        }
        if first == self.next && self.waiting.is_empty() {
            self.deliver(part.between(within(first), within(end)).to_piece(), outlet);
            return known;
        }
        let mut at = first;
        while at < end {
            let covered = self.waiting.range(..=at).next_back().map(|(start, piece)| start + piece.len());
            if let Some(covered) = covered.filter(|covered| *covered > at) {
                known += covered.min(end) - at;
                at = covered;
                continue;
            }
            let gap_end = self.waiting.range(at..end).next().map_or(end, |(start, _)| *start);
            let piece = part.between(within(at), within(gap_end)).to_piece();
            self.held += piece.cost();
            self.waiting.insert(at, piece);
            at = gap_end;
        }
        known
    }

    fn deliver_waiting(&mut self, outlet: &mut Outlet<'_>) {
        while let Some(entry) = self.waiting.first_entry()
            && *entry.key() <= self.next
        {
            let piece = entry.remove();
            self.held = self.held.saturating_sub(piece.cost());
            self.deliver(piece, outlet);
        }
        if self.fin == Some(self.next) && !self.ended {
            self.ended = true;
            outlet.ended(End::Fin);
        }
    }

    fn deliver(&mut self, piece: Piece, outlet: &mut Outlet<'_>) {
        let offset = self.next;
        self.next += piece.len();
        self.waited = 0;
        match piece {
            Piece::Captured(bytes) => outlet.data(offset, bytes),
            Piece::Cut(len) => outlet.missing(offset, len),
        }
    }

    /// Where the hole at `next` ends, if something is known to come after it.
    fn end_of_hole(&self) -> Option<u64> {
        let waiting = self.waiting.first_key_value().map(|(start, _)| *start);
        waiting.or(self.fin).filter(|end| *end > self.next)
    }

    /// Declares the hole at `next` missing, at most up to `limit`, and delivers what waited for it.
    fn give_up_hole(&mut self, limit: u64, outlet: &mut Outlet<'_>) -> bool {
        let Some(end) = self.end_of_hole().map(|end| end.min(limit)).filter(|end| *end > self.next) else {
            return false;
        };
        self.deliver(Piece::Cut(end - self.next), outlet);
        self.deliver_waiting(outlet);
        true
    }
}

/// Positions and sequence numbers agree in the bits that a sequence number has.
fn low_bits(position: u64) -> u32 {
    (position & u64::from(u32::MAX)) as u32
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Captured(bytes) => bytes.len() as u64,
            Self::Cut(len) => *len,
        }
    }

    fn cost(&self) -> usize {
        match self {
            Self::Captured(bytes) => PIECE_OVERHEAD + bytes.len(),
            Self::Cut(_) => PIECE_OVERHEAD,
        }
    }

    fn shortened(self, len: u64) -> Self {
        match self {
            Self::Captured(mut bytes) => {
                bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
                Self::Captured(bytes)
            }
            Self::Cut(all) => Self::Cut(all.min(len)),
        }
    }
}

impl<'a> Part<'a> {
    fn len(self) -> u64 {
        match self {
            Self::Captured(bytes) => bytes.len() as u64,
            Self::Cut(len) => len,
        }
    }

    fn between(self, start: u64, end: u64) -> Self {
        match (self, usize::try_from(start), usize::try_from(end)) {
            (Self::Captured(bytes), Ok(start), Ok(end)) => {
                Self::Captured(bytes.get(start..end).unwrap_or_default())
            }
            _ => Self::Cut(end.saturating_sub(start)),
        }
    }

    /// A copy of its own, so that a short piece does not keep a long packet in memory.
    fn to_piece(self) -> Piece {
        match self {
            Self::Captured(bytes) => Piece::Captured(Bytes::copy_from_slice(bytes)),
            Self::Cut(len) => Piece::Cut(len),
        }
    }
}
