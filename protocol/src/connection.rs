//! Who is at the other end of one transport?
//!
//! A connection is one TCP stream from its first byte to its last: the handshake of its version and side, then
//! the open stream of items. What must survive it is the session's. The handshakes are in
//! [`handshake`](crate::handshake); both versions speak [`Item`] once open.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use cephwire_codec::{Chunks, EntityName, Flags, Malformed, Message, Room, Timestamp, v1, v2};
use subtle::ConstantTimeEq;

use crate::error::{Error, Violation};
use crate::event::LinkId;
use crate::facts::Facts;
use crate::handshake::{Answer, Context, Handshake, Step};
use crate::local::Local;
use crate::policy::Policy;
use crate::resume::Claim;

/// Which protocol a connection speaks. A session keeps its version for life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Messenger v1.
    V1,
    /// Messenger v2.
    V2,
}

impl Version {
    /// Which version a peer speaks, by the first bytes it sent; nothing while there are too few. A listener
    /// that looks can serve both on one port.
    ///
    /// # Errors
    /// It speaks neither.
    pub fn of_banner(first: &[u8]) -> Result<Option<Self>, Foreign> {
        let could = |banner: &[u8]| first.starts_with(banner) || banner.starts_with(first);
        match (could(&v1::BANNER), could(&v2::BANNER_PREFIX)) {
            (true, true) => Ok(None),
            (true, false) => Ok(Some(Self::V1)),
            (false, true) => Ok(Some(Self::V2)),
            (false, false) => Err(Foreign),
        }
    }
}

/// A peer that speaks neither version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer does not speak Ceph's protocol")]
pub struct Foreign;

/// What both versions can say on an open stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Message {
        seq: u64,
        ack: Option<u64>,
        source: Option<EntityName>,
        message: Message,
    },
    Ack(u64),
    Keepalive,
    Keepalive2(Timestamp),
    Keepalive2Ack(Timestamp),
    Close,
    /// A message that its sender gave up.
    Aborted,
}

/// One transport.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) link: LinkId,
    pub(crate) facts: Facts,
    /// The rules for the peer.
    pub(crate) policy: Policy,
    /// Accepting: why the peer was refused last, and did not do better since.
    pub(crate) refused: Option<Error>,
    wire: Wire,
    /// The handshake, or nothing once the stream is open.
    handshake: Option<Handshake>,
    /// Encoded bytes of the handshake that wait for the socket.
    out: Chunks,
    /// Something of it was handed out, and has reached the kernel.
    handed_out: bool,
    written: bool,
    /// What was going on when the handshake took its last step.
    phase: &'static str,
    /// Frames received, for the errors.
    frames: u64,
    pub(crate) claims: u32,
    /// From then on, the handshake fails; nothing = never.
    pub(crate) ready_by: Option<Instant>,
    pub(crate) last_active: Instant,
}

/// Bytes to frames and back, for either version.
pub(crate) enum Wire {
    V1 { decoder: Box<v1::Decoder>, encoder: Box<v1::Encoder>, signer: Option<Arc<dyn v1::Signer>> },
    V2 { decoder: Box<v2::Decoder>, encoder: Box<v2::Encoder> },
}

/// A frame of either version.
#[derive(Debug)]
pub(crate) enum Frame {
    V1(v1::Frame),
    V2(v2::Frame),
}

/// A message whose header has arrived, or in v2 at least its lengths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced {
    /// Nothing where the header is not verified yet: such a message goes into the decoder's own memory.
    pub(crate) tid: Option<u64>,
    /// Where in a page its data would like to begin; known where the tid is.
    pub(crate) data_off: u16,
    /// The bytes of its payload, as they stand on the wire.
    pub(crate) len: u64,
}

/// What [`Connection::next`] found.
#[derive(Debug)]
pub(crate) enum Incoming {
    More,
    /// A message is announced, and there is no room for it now.
    Full,
    Step(Step),
    Item(Item),
}

impl Connection {
    /// A transport at its first byte. `facts` say which version it speaks, who dialed, and whom.
    pub(crate) fn new(
        local: &Local,
        link: LinkId,
        mut facts: Facts,
        policy: Policy,
        now: Instant,
    ) -> Result<Self, Error> {
        facts.times.connected = Some(now);
        let (version, side) = (facts.version, facts.side);
        let wire = match version {
            Version::V1 => {
                let mut decoder = v1::Decoder::new();
                decoder.set_limits(local.options.limits_before);
                Wire::V1 { decoder: Box::new(decoder), encoder: Box::default(), signer: None }
            }
            Version::V2 => {
                let mut decoder = v2::Decoder::new();
                decoder.set_limits(local.options.limits_before);
                decoder.record(true);
                Wire::V2 { decoder: Box::new(decoder), encoder: Box::default() }
            }
        };
        let ready_by = now.checked_add(local.options.ready_timeout);
        let (out, frames, claims, last_active) = (Chunks::new(), 0, 0, now);
        let mut this = Self {
            link,
            facts,
            policy,
            refused: None,
            wire,
            handshake: None,
            out,
            handed_out: false,
            written: false,
            phase: "START_CONNECT",
            frames,
            claims,
            ready_by,
            last_active,
        };
        let handshake = Handshake::begin(version, side, &mut this.context(local))?;
        this.handshake = Some(handshake);
        Ok(this)
    }

    /// Whether a claim waits for its answer; nothing is read meanwhile.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.handshake.as_ref().is_some_and(Handshake::awaits_answer)
    }

    /// How many frames were received.
    pub(crate) fn frames(&self) -> u64 {
        self.frames
    }

    /// What is going on, for errors.
    pub(crate) fn phase(&self) -> &'static str {
        self.handshake.as_ref().map_or(self.phase, Handshake::phase)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.handshake.is_none()
    }

    /// Everything handed out has reached the kernel.
    pub(crate) fn confirm(&mut self) {
        self.written |= self.handed_out;
    }

    /// Whether nothing was said yet: not even the own banner has reached the kernel.
    pub(crate) fn is_silent(&self) -> bool {
        self.frames == 0 && !self.written
    }

    pub(crate) fn recv_buf(&mut self) -> BytesMut {
        match &mut self.wire {
            Wire::V1 { decoder, .. } => decoder.recv_buf(),
            Wire::V2 { decoder, .. } => decoder.recv_buf(),
        }
    }

    pub(crate) fn received(&mut self, buf: BytesMut) {
        match &mut self.wire {
            Wire::V1 { decoder, .. } => decoder.received(buf),
            Wire::V2 { decoder, .. } => decoder.received(buf),
        }
    }

    /// What the bytes so far mean. `room` is asked where the data of a message shall go; if it says nothing, reading
    /// stops there, and it is asked again by the next call.
    pub(crate) fn next(
        &mut self,
        local: &Local,
        room: &mut dyn FnMut(Announced) -> Option<Room>,
    ) -> Result<Incoming, Error> {
        let frame = match self.next_frame(room)? {
            Progress::More => return Ok(Incoming::More),
            Progress::Full => return Ok(Incoming::Full),
            Progress::Frame(frame) => frame,
        };
        self.frames += 1;
        let Some(handshake) = self.handshake.take() else { return self.item(frame).map(Incoming::Item) };
        self.phase = handshake.phase();
        let (next, step) = handshake.on(frame, &mut self.context(local))?;
        self.handshake = next;
        if matches!(step, Step::Claimed(_)) {
            self.refused = None;
        }
        if self.is_open() {
            self.opened(local);
        }
        Ok(Incoming::Step(step))
    }

    fn next_frame(&mut self, room: &mut dyn FnMut(Announced) -> Option<Room>) -> Result<Progress, Error> {
        let phase = self.phase();
        let open = self.is_open();
        let malformed = |source: Malformed| Error::Malformed { phase, source };
        loop {
            match &mut self.wire {
                Wire::V1 { decoder, signer, .. } => match decoder.next().map_err(malformed)? {
                    v1::Progress::More => return Ok(Progress::More),
                    v1::Progress::Announced(v1::Announcement { header, lengths, .. }) => {
                        let len = lengths.iter().copied().map(u64::from).sum();
                        let Some(room) =
                            room(Announced { tid: Some(header.tid), data_off: header.data_off, len })
                        else {
                            return Ok(Progress::Full);
                        };
                        decoder.proceed(room);
                    }
                    v1::Progress::Frame(frame) => {
                        if let Some(found) = forged(&frame, &decoder.last().signed, signer.as_deref()) {
                            let expected = "the right one".to_owned();
                            return Err(Violation { phase, number: self.frames + 1, found, expected }.into());
                        }
                        return Ok(Progress::Frame(Frame::V1(frame)));
                    }
                },
                Wire::V2 { decoder, .. } => match decoder.next().map_err(malformed)? {
                    v2::Progress::More => return Ok(Progress::More),
                    v2::Progress::Announced(announced) if announced.tag == v2::Tag::Message => {
                        if !open {
                            let (found, expected) = ("MESSAGE".to_owned(), "an open stream first".to_owned());
                            return Err(Violation { phase, number: self.frames + 1, found, expected }.into());
                        }
                        // The first segment is the header.
                        let len = announced.lengths.iter().skip(1).copied().map(u64::from).sum();
                        let header = announced.message.map(|(_, header)| header);
                        let tid = header.map(|header| header.tid);
                        let data_off = header.map_or(0, |header| header.data_off);
                        let Some(room) = room(Announced { tid, data_off, len }) else {
                            return Ok(Progress::Full);
                        };
                        decoder.proceed(room);
                    }
                    v2::Progress::Announced(_) => decoder.proceed(Room::Own),
                    v2::Progress::Frame(frame) => return Ok(Progress::Frame(Frame::V2(frame))),
                },
            }
        }
    }

    /// A frame of the open stream.
    fn item(&mut self, frame: Frame) -> Result<Item, Error> {
        Ok(match frame {
            Frame::V1(frame) => match frame {
                v1::Frame::Message(v1::MessageFrame { seq, src, message, .. }) => {
                    Item::Message { seq, ack: None, source: Some(src), message }
                }
                v1::Frame::Aborted { .. } => Item::Aborted,
                v1::Frame::Ack(seq) => Item::Ack(seq),
                v1::Frame::Keepalive => Item::Keepalive,
                v1::Frame::Keepalive2(stamp) => Item::Keepalive2(stamp),
                v1::Frame::Keepalive2Ack(stamp) => Item::Keepalive2Ack(stamp),
                v1::Frame::Close => Item::Close,
                other => return Err(self.violation(&other, "an item")),
            },
            Frame::V2(frame) => match frame {
                v2::Frame::Message(v2::MessageFrame { seq, ack_seq, message, .. }) => {
                    Item::Message { seq, ack: Some(ack_seq), source: None, message }
                }
                v2::Frame::Aborted(_) => Item::Aborted,
                v2::Frame::Ack(seq) => Item::Ack(seq),
                v2::Frame::Keepalive2(stamp) => Item::Keepalive2(stamp),
                v2::Frame::Keepalive2Ack(stamp) => Item::Keepalive2Ack(stamp),
                other => {
                    let found = other.tag().map_or("banner", v2::Tag::name);
                    let expected = "MESSAGE, ACK, KEEPALIVE2 or KEEPALIVE2_ACK";
                    return Err(self.violation(&format_args!("{found}"), expected));
                }
            },
        })
    }

    fn violation(&self, found: &dyn fmt::Debug, expected: &str) -> Error {
        let found = name_of(found);
        Violation { phase: self.phase(), number: self.frames, found, expected: expected.to_owned() }.into()
    }

    /// Dialing: makes a claim, the first or the next.
    pub(crate) fn claim(
        &mut self,
        local: &Local,
        claim: Claim,
        in_seq: u64,
        lossy: bool,
    ) -> Result<(), Error> {
        self.with_handshake(local, |handshake, context| handshake.claim(claim, in_seq, lossy, context))
    }

    /// Accepting: answers a claim.
    pub(crate) fn answer(&mut self, local: &Local, answer: &Answer) -> Result<(), Error> {
        self.with_handshake(local, |handshake, context| handshake.answer(answer, context))
    }

    /// v1: another session took this transport over; the client will connect once more.
    pub(crate) fn rewind(&mut self, local: &Local, answer: &Answer, now: Instant) -> Result<(), Error> {
        self.ready_by = now.checked_add(local.options.ready_timeout);
        self.claims = 0;
        self.answer(local, answer)?;
        if let Some(handshake) = &mut self.handshake {
            handshake.rewind();
        }
        Ok(())
    }

    fn with_handshake(
        &mut self,
        local: &Local,
        change: impl FnOnce(Handshake, &mut Context<'_>) -> Result<Option<Handshake>, Error>,
    ) -> Result<(), Error> {
        let Some(handshake) = self.handshake.take() else { return Ok(()) };
        self.phase = handshake.phase();
        self.handshake = change(handshake, &mut self.context(local))?;
        if self.is_open() {
            self.opened(local);
        }
        Ok(())
    }

    /// What a handshake works with.
    fn context<'a>(&'a mut self, local: &'a Local) -> Context<'a> {
        Context {
            local,
            wire: &mut self.wire,
            out: &mut self.out,
            facts: &mut self.facts,
            policy: &mut self.policy,
            phase: self.phase,
            number: self.frames,
            refused: &mut self.refused,
            now: self.last_active,
        }
    }

    fn opened(&mut self, local: &Local) {
        self.phase = "open";
        if self.out.is_empty() {
            // Its memory is not kept for as long as the stream is open.
            self.out = Chunks::new();
        }
        match &mut self.wire {
            Wire::V1 { decoder, .. } => {
                decoder.set_limits(local.options.limits);
                decoder.expect(v1::Expect::Open);
            }
            Wire::V2 { decoder, .. } => decoder.set_limits(local.options.limits),
        }
    }

    /// Moves the handshake's bytes to `out`.
    pub(crate) fn transmit(&mut self, out: &mut Chunks) {
        if self.out.is_empty() {
            return;
        }
        self.handed_out = true;
        while self.out.has_remaining() {
            let chunk = self.out.chunk();
            out.put_slice(chunk);
            let len = chunk.len();
            self.out.advance(len);
        }
        if self.is_open() {
            self.out = Chunks::new();
        }
    }

    /// Encodes an item.
    pub(crate) fn put(&mut self, local: &Local, item: Item, ack: u64, out: &mut Chunks) -> Result<(), Error> {
        match &mut self.wire {
            Wire::V1 { encoder, .. } => {
                let frame = match item {
                    Item::Message { seq, message, .. } => {
                        let frame =
                            v1::MessageFrame { seq, src: local.name(), message, ..Default::default() };
                        return Ok(encoder.encode_message(&frame, out)?);
                    }
                    Item::Ack(seq) => v1::Frame::Ack(seq),
                    Item::Keepalive => v1::Frame::Keepalive,
                    Item::Keepalive2(stamp) => v1::Frame::Keepalive2(stamp),
                    Item::Keepalive2Ack(stamp) => v1::Frame::Keepalive2Ack(stamp),
                    Item::Close => v1::Frame::Close,
                    Item::Aborted => return Ok(()),
                };
                encoder.encode(&frame, out)?;
            }
            Wire::V2 { encoder, .. } => {
                let frame = match item {
                    Item::Message { seq, message, .. } => {
                        let flags = Flags::COMPLETE.with(Flags::NOCRC);
                        let frame =
                            v2::MessageFrame { seq, ack_seq: ack, flags, message, ..Default::default() };
                        return Ok(encoder.encode_message(&frame, out)?);
                    }
                    Item::Ack(seq) => v2::Frame::Ack(seq),
                    Item::Keepalive2(stamp) => v2::Frame::Keepalive2(stamp),
                    Item::Keepalive2Ack(stamp) => v2::Frame::Keepalive2Ack(stamp),
                    Item::Keepalive | Item::Close | Item::Aborted => return Ok(()),
                };
                encoder.encode(&frame, out)?;
            }
        }
        Ok(())
    }
}

/// What [`Connection::next_frame`] found.
enum Progress {
    More,
    Full,
    Frame(Frame),
}

/// What is wrong with a message's signature, if `signer` asks for one.
fn forged(frame: &v1::Frame, signed: &v1::Signed, signer: Option<&dyn v1::Signer>) -> Option<String> {
    let (v1::Frame::Message(message), Some(signer)) = (frame, signer) else { return None };
    let found = if message.flags.contains(Flags::SIGNED) { "a wrong signature" } else { "no signature" };
    let same = bool::from(message.signature.ct_eq(&signer.sign(signed)));
    let right = message.flags.contains(Flags::SIGNED) & same;
    (!right).then(|| format!("{found} of message {}", message.seq))
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V1 { decoder, encoder, .. } => {
                f.debug_struct("V1").field("decoder", decoder).field("encoder", encoder).finish()
            }
            Self::V2 { decoder, encoder } => {
                f.debug_struct("V2").field("decoder", decoder).field("encoder", encoder).finish()
            }
        }
    }
}

/// The name of a frame, from its `Debug` form: without its contents.
pub(crate) fn name_of(frame: &dyn fmt::Debug) -> String {
    let text = format!("{frame:?}");
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
