//! What is *any frame*, any stream of them, and any way for its bytes to arrive?
//!
//! The one definition that fuzzing and property tests share. Fields are derived next to the structs
//! wherever every value survives encoding and decoding. What is here does not, or is a choice:
//!
//! | type | generated |
//! |---|---|
//! | [`v1::Frame`], [`v2::Frame`](crate::v2::Frame) | never `Aborted`, which encodes to nothing; for v2 never `Banner`, which is no frame: see [`StreamV2`] |
//! | an address in v1 | of type v1, or none without a socket: the layout has no type |
//! | [`v1::ConnectReply`] | with a reply's tag |
//! | [`v1::MessageFrame`] | COMPLETE; its signature and NOCRC must fit the framing: see [`StreamV1`] |
//! | [`AddrVec`], other lists | of at most 8 entries, so that control frames keep within [`Limits`](crate::Limits) |
//! | [`Payload`] | mostly small, some of a size at which something else is done with it (±1), in up to 4 pieces |

use ::arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;

use crate::addr::{AddrType, AddrVec, EntityAddr};
use crate::chunks::COPY_BELOW;
use crate::intake::DIRECT;
use crate::message::Flags;
use crate::payload::Payload;
use crate::v1;

mod delivery;
mod stream;

pub use delivery::{Delivery, Driven, Outcome, OutcomeOf, Place, Step, decode};
pub use stream::{Owner, Secure, Stream, StreamV1, StreamV2};

/// The most entries of a list.
const FEW: usize = 8;
/// The most bytes of a control frame's payload; it shares the limit of 64 KiB with other fields.
const BLOB: usize = 40_000;
/// Up to this size the input gives every byte; longer runs are computed from a seed.
const LITERAL: usize = 64;
/// The connection secret of every sealed stream.
pub const SECRET: [u8; 40] = *b"key of 16 bytes.from server.from client.";

impl<'a> Arbitrary<'a> for Payload {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let size = match u.int_in_range(0..=31)? {
            0..=9 => 0,
            10..=26 => u.int_in_range(0..=256)?,
            27 | 28 => near(u, COPY_BELOW)?,
            29 => near(u, DIRECT)?,
            30 => near(u, 64 << 10)?,
            _ => u.int_in_range(0..=150_000)?,
        };
        let mut rest = run(u, size)?;
        let mut pieces = Vec::new();
        for _ in 0..u.int_in_range(0..=3)? {
            pieces.push(rest.split_to(u.int_in_range(0..=rest.len())?));
        }
        pieces.push(rest);
        Ok(pieces.into())
    }
}

impl<'a> Arbitrary<'a> for AddrVec {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        few(u).map(Self)
    }
}

impl<'a> Arbitrary<'a> for v1::ConnectReply {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let replies = v1::Tag::ALL.map(|(tag, _)| tag).into_iter().filter(|tag| tag.is_reply());
        Ok(Self {
            tag: u.choose_iter(replies.collect::<Vec<_>>())?,
            features: u.arbitrary()?,
            global_seq: u.arbitrary()?,
            connect_seq: u.arbitrary()?,
            protocol_version: u.arbitrary()?,
            flags: u.arbitrary()?,
            authorizer: bytes(u)?,
        })
    }
}

impl<'a> Arbitrary<'a> for v1::MessageFrame {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            seq: u.arbitrary()?,
            src: u.arbitrary()?,
            flags: u.arbitrary::<Flags>()?.with(Flags::COMPLETE),
            signature: u.arbitrary()?,
            reserved: u.arbitrary()?,
            message: u.arbitrary()?,
        })
    }
}

/// An address that the legacy layout can say.
pub(crate) fn legacy(u: &mut Unstructured<'_>) -> Result<EntityAddr> {
    let addr: EntityAddr = u.arbitrary()?;
    let kind = if addr.socket.is_some() { AddrType::LEGACY } else { AddrType::NONE };
    Ok(EntityAddr { kind, ..addr })
}

/// The opaque payload of a control frame.
pub(crate) fn bytes(u: &mut Unstructured<'_>) -> Result<Bytes> {
    let size = match u.int_in_range(0..=15)? {
        0..=13 => u.int_in_range(0..=256)?,
        14 => near(u, COPY_BELOW)?,
        _ => u.int_in_range(0..=BLOB)?,
    };
    run(u, size)
}

/// A short list.
pub(crate) fn few<'a, T: Arbitrary<'a>>(u: &mut Unstructured<'a>) -> Result<Vec<T>> {
    let count = u.int_in_range(0..=FEW)?;
    (0..count).map(|_| u.arbitrary()).collect()
}

/// A threshold, or a byte less or more.
fn near(u: &mut Unstructured<'_>, threshold: usize) -> Result<usize> {
    u.int_in_range(threshold - 1..=threshold + 1)
}

/// A run of `size` bytes; long ones compress well or badly.
fn run(u: &mut Unstructured<'_>, size: usize) -> Result<Bytes> {
    if size <= LITERAL.min(u.len()) {
        return u.bytes(size).map(Bytes::copy_from_slice);
    }
    let (mut state, period): (u64, u8) = (u.arbitrary()?, u.arbitrary()?);
    let noise = (0..size).map(|n| {
        if period > 0 && n % usize::from(period) == 0 {
            return period;
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if period > 127 { (n / 7) as u8 } else { (state >> 56) as u8 }
    });
    Ok(noise.collect::<Vec<u8>>().into())
}
