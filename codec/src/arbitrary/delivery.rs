//! In which ways can the bytes of a stream arrive, and what must not depend on it?

use std::fmt::Debug;

use ::arbitrary::{Arbitrary, Result, Unstructured};
use bytes::BytesMut;

use super::Owner;
use crate::error::Malformed;
use crate::intake::Room;
use crate::{v1, v2};

/// The most room that is posted for a message's data.
const POSTED_MOST: usize = 256 << 10;

/// A way for bytes to arrive: the steps, again and again, until all bytes are there.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// At least one of them brings bytes.
    pub steps: Vec<Step>,
    /// Where the data of messages goes.
    pub place: Place,
}

/// One visit of the socket.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Step {
    /// This many bytes more one, copied.
    Feed(u16),
    /// A buffer is lent, filled with at most this many bytes more one, and given back.
    Fill(u16),
    /// A buffer is lent and comes back as it was.
    Untouched,
    /// A buffer is lent and never comes back.
    Dropped,
    /// Nothing comes; the decoder is asked all the same.
    Ask,
}

/// See [`Room`].
#[derive(Clone, Copy, Debug, Arbitrary)]
#[expect(missing_docs, reason = "the variants of Room")]
pub enum Place {
    Own,
    Aligned(u16),
    /// With room for this many bytes more than needed.
    Posted(i16),
}

impl<'a> Arbitrary<'a> for Delivery {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut steps: Vec<Step> = super::few(u)?;
        let scale = u.int_in_range(0..=15u32)?;
        for step in &mut steps {
            if let Step::Feed(len) | Step::Fill(len) = step {
                *len >>= scale;
            }
        }
        steps.push(Step::Fill(u.arbitrary()?));
        Ok(Self { steps, place: u.arbitrary()? })
    }
}

impl Delivery {
    /// Everything in one piece.
    #[must_use]
    pub fn whole() -> Self {
        Self::by(Step::Feed(u16::MAX))
    }

    /// The same step over and over.
    #[must_use]
    pub fn by(step: Step) -> Self {
        Self { steps: vec![step], place: Place::Own }
    }
}

impl Place {
    fn room(self, len: u32) -> Room {
        match self {
            Self::Own => Room::Own,
            Self::Aligned(at) => Room::Aligned(at % 4096),
            Self::Posted(more) => {
                let size = (len as usize).min(POSTED_MOST).saturating_add_signed(more.into());
                Room::Posted(BytesMut::with_capacity(size))
            }
        }
    }
}

/// What both decoders have.
pub trait Driven {
    /// The frames of the protocol.
    type Frame: Clone + PartialEq + Debug;
    /// How one stood on the wire.
    type Footprint: Copy + PartialEq + Debug;

    /// As in the decoders.
    fn feed(&mut self, bytes: &[u8]);
    /// As in the decoders.
    fn recv_buf(&mut self) -> BytesMut;
    /// As in the decoders.
    fn received(&mut self, buf: BytesMut);
    /// The next frame, the data of messages at `place`.
    ///
    /// # Errors
    /// As in the decoders.
    fn next_at(&mut self, place: Place) -> std::result::Result<Option<Self::Frame>, Malformed>;
    /// As in the decoders.
    fn last(&self) -> Self::Footprint;
    /// Offset and length of a footprint.
    fn span(footprint: &Self::Footprint) -> (u64, u64);
    /// As in the decoders.
    fn offset(&self) -> u64;
    /// As in the decoders.
    fn partial_len(&self) -> u64;
}

macro_rules! driven {
    ($version:ident, $data:literal) => {
        impl Driven for $version::Decoder {
            type Frame = $version::Frame;
            type Footprint = $version::Footprint;

            fn feed(&mut self, bytes: &[u8]) {
                self.feed(bytes);
            }

            fn recv_buf(&mut self) -> BytesMut {
                self.recv_buf()
            }

            fn received(&mut self, buf: BytesMut) {
                self.received(buf);
            }

            fn next_at(&mut self, place: Place) -> std::result::Result<Option<Self::Frame>, Malformed> {
                loop {
                    match self.next()? {
                        $version::Progress::More => return Ok(None),
                        $version::Progress::Announced(announced) => {
                            self.proceed(place.room(announced.lengths.get($data).copied().unwrap_or(0)));
                        }
                        $version::Progress::Frame(frame) => return Ok(Some(frame)),
                    }
                }
            }

            fn last(&self) -> Self::Footprint {
                *self.last()
            }

            fn span(footprint: &Self::Footprint) -> (u64, u64) {
                (footprint.offset, footprint.len)
            }

            fn offset(&self) -> u64 {
                self.offset()
            }

            fn partial_len(&self) -> u64 {
                self.partial_len()
            }
        }
    };
}
driven!(v1, 2);
driven!(v2, 3);

/// What became of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<F, P> {
    /// The frames, and how they stood on the wire.
    pub frames: Vec<(F, P)>,
    /// Why there are no more.
    pub error: Option<Malformed>,
    /// Bytes that belong to frames.
    pub offset: u64,
    /// Bytes that do not (yet); 0 after an error, where it depends on how much came after it.
    pub partial: u64,
    /// The first rule of every decoder that was broken on the way.
    pub broken: Option<&'static str>,
}

/// The outcome of a stream of this protocol.
pub type OutcomeOf<D> = Outcome<<D as Driven>::Frame, <D as Driven>::Footprint>;

/// Decodes `bytes`, which may be any; `owner` says what the decoder is told, and when.
#[must_use]
pub fn decode<O: Owner>(owner: &O, bytes: &[u8], delivery: &Delivery) -> OutcomeOf<O::Decoder> {
    let mut decoder = owner.decoder();
    let mut outcome = Outcome { frames: Vec::new(), error: None, offset: 0, partial: 0, broken: None };
    let mut fed = 0;
    let mut steps = delivery.steps.iter().cycle();
    loop {
        drain(owner, &mut decoder, delivery.place, &mut outcome);
        let (offset, partial) = (decoder.offset(), decoder.partial_len());
        if outcome.error.is_none() && offset + partial != fed as u64 {
            outcome.broken = outcome.broken.or(Some("offset and partial_len are not what arrived"));
        }
        outcome.offset = offset;
        outcome.partial = if outcome.error.is_some() { 0 } else { partial };
        let left = bytes.get(fed..).unwrap_or_default();
        if outcome.error.is_some() || outcome.broken.is_some() || left.is_empty() {
            return outcome;
        }
        fed += match steps.next() {
            Some(step) => step.run(&mut decoder, left),
            None => return outcome,
        };
    }
}

/// Takes all frames that are there.
fn drain<O: Owner>(owner: &O, decoder: &mut O::Decoder, place: Place, outcome: &mut OutcomeOf<O::Decoder>) {
    loop {
        owner.tell(outcome.frames.len(), decoder);
        let end = decoder.offset();
        match decoder.next_at(place) {
            Ok(None) => return,
            Ok(Some(frame)) => {
                let last = decoder.last();
                let (offset, len) = O::Decoder::span(&last);
                if offset != end || offset + len != decoder.offset() || len == 0 {
                    outcome.broken = outcome.broken.or(Some("a footprint does not continue the one before"));
                }
                outcome.frames.push((frame, last));
            }
            Err(error) => {
                if error.offset < end {
                    outcome.broken = outcome.broken.or(Some("an error before the frame that has it"));
                }
                decoder.feed(&[0; 100]);
                if decoder.next_at(place) != Err(error.clone()) {
                    outcome.broken = outcome.broken.or(Some("an error did not stay"));
                }
                outcome.error = Some(error);
                return;
            }
        }
    }
}

impl Step {
    /// Brings some of the bytes that are left to the decoder; how many.
    fn run(self, decoder: &mut impl Driven, left: &[u8]) -> usize {
        let up_to = |most: usize| left.split_at_checked(most).map_or(left, |(some, _)| some);
        match self {
            Self::Feed(most) => {
                let some = up_to(usize::from(most) + 1);
                decoder.feed(some);
                some.len()
            }
            Self::Fill(most) => {
                let mut buf = decoder.recv_buf();
                let some = up_to((usize::from(most) + 1).min(buf.capacity()));
                buf.extend_from_slice(some);
                decoder.received(buf);
                some.len()
            }
            Self::Untouched => {
                let buf = decoder.recv_buf();
                decoder.received(buf);
                0
            }
            Self::Dropped => {
                drop(decoder.recv_buf());
                0
            }
            Self::Ask => 0,
        }
    }
}
