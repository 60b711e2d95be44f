//! How do the bytes of one direction become frames?
//!
//! In the handshake its owner says what comes next ([`Decoder::expect`]), one structure at a time. Once
//! open, items follow each other; a message stops behind its header ([`Progress::Announced`]) until
//! [`Decoder::proceed`].

use bytes::{Bytes, BytesMut};

use super::frame::{Frame, MessageFrame, Signed, Tag};
use super::{BANNER, CONNECT_LEN, Framing, MESSAGE_HEADER_LEN, REPLY_LEN, fields};
use crate::addr::{self, LEGACY_LEN};
use crate::crc::crc32c;
use crate::error::{Flaw, Malformed};
use crate::intake::{Intake, Room};
use crate::limits::Limits;
use crate::message::{Flags, Header};
use crate::parse;
use crate::payload::Payload;

/// The parts of a message.
const PARTS: usize = 3;

/// What comes next on the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Not known yet: bytes wait. Also what follows each structure of the handshake.
    #[default]
    Nothing,
    /// [`Frame::Banner`].
    Banner,
    /// [`Frame::Address`].
    Address,
    /// [`Frame::Connect`].
    Connect,
    /// [`Frame::Reply`].
    Reply,
    /// [`Frame::Seq`].
    Seq,
    /// Items from here on, for good.
    Open,
}

/// What [`Decoder::next`] has to say.
#[derive(Debug)]
pub enum Progress {
    /// Everything that arrived is decoded; more bytes, or the next [`Expect`], are needed.
    More,
    /// A message begins; [`Decoder::proceed`] lets its parts in. Until then the answer stays the same.
    Announced(Announcement),
    /// A frame.
    Frame(Frame),
}

/// What is known of a message before its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Its number in the session.
    pub seq: u64,
    /// Its header.
    pub header: Header,
    /// The lengths of front, middle and data.
    pub lengths: [u32; PARTS],
}

/// How the frame returned last stood on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Stream offset of its first byte.
    pub offset: u64,
    /// Its length in bytes, everything included.
    pub len: u64,
    /// A message's crcs and lengths as the sender gave them.
    pub signed: Signed,
    /// Whether a crc of the message was not checked: none was sent, or [`Framing`] says so.
    pub unchecked: bool,
    /// Whether a crc of the message's parts was wrong ([`Decoder::set_lenient`]).
    pub bad_crc: bool,
}

/// Decodes one direction of a v1 connection.
///
/// ```
/// use cephwire_codec::v1::{Decoder, Expect, Frame};
/// let mut decoder = Decoder::new();
/// decoder.feed(b"ceph v027\x08\x05\0\0\0\0\0\0\0");
/// decoder.expect(Expect::Banner);
/// assert_eq!(decoder.next_frame()?, Some(Frame::Banner));
/// assert_eq!(decoder.next_frame()?, None); // what comes next?
/// decoder.expect(Expect::Open);
/// assert_eq!(decoder.next_frame()?, Some(Frame::Ack(5)));
/// # Ok::<(), cephwire_codec::Malformed>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    intake: Intake,
    limits: Limits,
    framing: Framing,
    lenient: bool,
    state: State,
    body: Body,
    last: Footprint,
}

#[derive(Debug)]
enum State {
    Expecting(Expect),
    Announced(Announcement),
    Body,
    Failed(Malformed),
}

/// The message that is being read.
#[derive(Debug, Default)]
struct Body {
    frame: MessageFrame,
    offset: u64,
    /// The part to come next.
    at: usize,
    lengths: [u32; PARTS],
    parts: [Payload; PARTS],
    crcs: [u32; PARTS],
    header_crc: u32,
    /// How this message is framed, whatever is set meanwhile.
    framing: Framing,
    room: Room,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of a stream; it expects nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::mid_stream(0)
    }

    /// A decoder that begins `offset` bytes into the stream; it expects nothing yet.
    #[must_use]
    pub fn mid_stream(offset: u64) -> Self {
        let limits = Limits::default();
        Self {
            intake: Intake::new(offset, limits.ahead as usize),
            limits,
            framing: Framing::default(),
            lenient: false,
            state: State::Expecting(Expect::Nothing),
            body: Body::default(),
            last: Footprint::default(),
        }
    }

    /// An empty buffer with room, to be filled from the socket and given to [`received`](Self::received).
    /// One is lent at a time. Dropping it loses no data.
    pub fn recv_buf(&mut self) -> BytesMut {
        self.intake.lend()
    }

    /// Takes the lent buffer back with what the socket put into it; untouched, nothing happened.
    pub fn received(&mut self, buf: BytesMut) {
        self.intake.accept(buf);
    }

    /// Takes a copy of `bytes`.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.intake.feed(bytes);
    }

    /// Says what comes next. It changes nothing while a message is being read, or after an error.
    pub fn expect(&mut self, expect: Expect) {
        if let State::Expecting(now) = &mut self.state {
            *now = expect;
        }
    }

    /// Sets how messages are framed, known from connect and reply, from the next message on.
    pub fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Sets the limits from the next frame on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.intake.set_ahead(limits.ahead as usize);
    }

    /// Reports a wrong crc of a message's parts in its [`Footprint`] instead of failing, for tools that
    /// show broken messages. The header's crc always fails: without it the lengths are not known.
    pub fn set_lenient(&mut self, lenient: bool) {
        self.lenient = lenient;
    }

    /// Decodes as far as the bytes reach.
    ///
    /// # Errors
    /// The first malformed byte; the same again on every later call.
    #[expect(clippy::should_implement_trait, reason = "no iterator: More is not the end")]
    pub fn next(&mut self) -> Result<Progress, Malformed> {
        let progress = match &self.state {
            State::Expecting(Expect::Nothing) => return Ok(Progress::More),
            State::Expecting(Expect::Open) => self.item(),
            State::Expecting(expect) => self.handshake(*expect),
            State::Announced(announcement) => Ok(Progress::Announced(*announcement)),
            State::Body => self.message(),
            State::Failed(error) => return Err(error.clone()),
        };
        if let Err(error) = &progress {
            self.state = State::Failed(error.clone());
            self.body = Body::default();
        }
        progress
    }

    /// Answers [`Progress::Announced`]: lets the message in, its data into `room`.
    pub fn proceed(&mut self, room: Room) {
        if matches!(self.state, State::Announced(_)) {
            self.body.room = room;
            self.state = State::Body;
        }
    }

    /// The next frame, whatever it announces; nothing while bytes are missing. For tools and tests.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Malformed> {
        loop {
            match self.next()? {
                Progress::More => return Ok(None),
                Progress::Announced(_) => self.proceed(Room::Own),
                Progress::Frame(frame) => return Ok(Some(frame)),
            }
        }
    }

    /// How the frame returned last stood on the wire.
    #[must_use]
    pub fn last(&self) -> &Footprint {
        &self.last
    }

    /// Bytes of the stream that belong to frames returned.
    #[must_use]
    pub fn offset(&self) -> u64 {
        match self.state {
            State::Announced(_) | State::Body => self.body.offset,
            _ => self.intake.offset(),
        }
    }

    /// Bytes that have arrived and belong to no frame yet.
    #[must_use]
    pub fn partial_len(&self) -> u64 {
        let taken = self.intake.offset().saturating_sub(self.offset());
        taken.saturating_sub(self.intake.missing() as u64) + self.intake.bytes().len() as u64
    }

    fn handshake(&mut self, expect: Expect) -> Result<Progress, Malformed> {
        let offset = self.intake.offset();
        let here = self.intake.bytes();
        let (len, frame) = match expect {
            Expect::Nothing | Expect::Open => return Ok(Progress::More),
            Expect::Banner => {
                // As soon as one byte differs: the peer may be waiting for us to speak.
                if let Some(at) = here.iter().zip(&BANNER).position(|(found, expected)| found != expected) {
                    let byte = |bytes: &[u8]| u64::from(bytes.get(at).copied().unwrap_or_default());
                    let flaw = Flaw::Value { expected: byte(&BANNER), found: byte(here) };
                    return Err(Malformed::new("banner", "prefix", offset + at as u64, flaw));
                }
                (BANNER.len(), Frame::Banner)
            }
            Expect::Address => {
                let Some(bytes) = here.get(..LEGACY_LEN) else { return self.wrong_marker(offset) };
                (LEGACY_LEN, Frame::Address(parse::structure("address", offset, bytes, addr::legacy)?))
            }
            Expect::Connect => {
                let Some(bytes) = here.get(..CONNECT_LEN) else { return Ok(Progress::More) };
                let (mut connect, len) = parse::structure("connect", offset, bytes, fields::connect)?;
                let Some(authorizer) = self.authorizer("connect", CONNECT_LEN, 28, len)? else {
                    return Ok(Progress::More);
                };
                connect.authorizer = authorizer;
                (CONNECT_LEN + len as usize, Frame::Connect(connect))
            }
            Expect::Reply => {
                let Some(bytes) = here.get(..REPLY_LEN) else { return Ok(Progress::More) };
                let (mut reply, len) = parse::structure("connect_reply", offset, bytes, fields::reply)?;
                let Some(authorizer) = self.authorizer("connect_reply", REPLY_LEN, 21, len)? else {
                    return Ok(Progress::More);
                };
                reply.authorizer = authorizer;
                (REPLY_LEN + len as usize, Frame::Reply(reply))
            }
            Expect::Seq => {
                let Some(bytes) = here.first_chunk() else { return Ok(Progress::More) };
                (8, Frame::Seq(u64::from_le_bytes(*bytes)))
            }
        };
        if here.len() < len {
            return Ok(Progress::More);
        }
        self.state = State::Expecting(Expect::Nothing);
        Ok(self.whole(len, frame))
    }

    /// While an address is incomplete: whether its first byte already says that it is none.
    fn wrong_marker(&self, offset: u64) -> Result<Progress, Malformed> {
        match self.intake.bytes().first() {
            None | Some(0) => Ok(Progress::More),
            Some(found) => {
                let flaw = Flaw::Value { expected: 0, found: u64::from(*found) };
                Err(Malformed::new("address", "marker", offset, flaw))
            }
        }
    }

    /// The authorizer of `len` bytes behind a structure of `fixed` bytes, if it is there.
    fn authorizer(
        &self,
        frame: &'static str,
        fixed: usize,
        field: u64,
        len: u32,
    ) -> Result<Option<Bytes>, Malformed> {
        let limit = self.limits.authorizer;
        if len > limit {
            let flaw = Flaw::TooLong { limit: limit.into(), found: len.into() };
            return Err(Malformed::new(frame, "authorizer_len", self.intake.offset() + field, flaw));
        }
        let bytes = self.intake.bytes().get(fixed..fixed + len as usize);
        Ok(bytes.map(Bytes::copy_from_slice))
    }

    /// A frame that is whole at the front of the buffer.
    fn whole(&mut self, len: usize, frame: Frame) -> Progress {
        self.last = Footprint { offset: self.intake.offset(), len: len as u64, ..Footprint::default() };
        self.intake.skip(len);
        Progress::Frame(frame)
    }

    fn item(&mut self) -> Result<Progress, Malformed> {
        let offset = self.intake.offset();
        let Some((&number, rest)) = self.intake.bytes().split_first() else { return Ok(Progress::More) };
        let stamp = |rest| parse::structure("keepalive", offset + 1, rest, parse::timestamp("stamp"));
        let (len, frame) = match Tag::from_number(number) {
            Some(Tag::Msg) => return self.message_header(),
            Some(Tag::Close) => (1, Frame::Close),
            Some(Tag::Keepalive) => (1, Frame::Keepalive),
            Some(Tag::Ack) if rest.len() >= 8 => {
                (9, Frame::Ack(parse::structure("ACK", offset + 1, rest, parse::u64("seq"))?))
            }
            Some(Tag::Keepalive2) if rest.len() >= 8 => (9, Frame::Keepalive2(stamp(rest)?)),
            Some(Tag::Keepalive2Ack) if rest.len() >= 8 => (9, Frame::Keepalive2Ack(stamp(rest)?)),
            Some(Tag::Ack | Tag::Keepalive2 | Tag::Keepalive2Ack) => return Ok(Progress::More),
            _ => return Err(Malformed::new("item", "tag", offset, Flaw::Unknown { found: number.into() })),
        };
        Ok(self.whole(len, frame))
    }

    fn message_header(&mut self) -> Result<Progress, Malformed> {
        let offset = self.intake.offset();
        let wrong = |field, at: u64, flaw| Err(Malformed::new("MSG", field, offset + at, flaw));
        let bytes = self.intake.bytes().get(1..).and_then(<[u8]>::first_chunk::<MESSAGE_HEADER_LEN>);
        let Some(bytes) = bytes else { return Ok(Progress::More) };
        let (mut frame, lengths, crc) = parse::structure("MSG", offset + 1, bytes, fields::message_header)?;
        let [covered @ .., _, _, _, _] = bytes;
        let expected = crc32c(0, covered);
        if self.framing.header_crc && expected != crc {
            return wrong("header crc", 50, Flaw::Crc { expected, found: crc });
        }
        let Limits { front, middle, data, .. } = self.limits;
        let limits = [("front_len", 23, front), ("middle_len", 27, middle), ("data_len", 31, data)];
        for (len, (field, at, limit)) in lengths.iter().zip(limits) {
            if *len > limit {
                return wrong(field, at, Flaw::TooLong { limit: limit.into(), found: (*len).into() });
            }
        }
        let announcement = Announcement { seq: frame.seq, header: frame.message.header, lengths };
        frame.flags = Flags(0);
        self.intake.skip(1 + MESSAGE_HEADER_LEN);
        self.body =
            Body { frame, offset, lengths, header_crc: crc, framing: self.framing, ..Body::default() };
        self.state = State::Announced(announcement);
        Ok(Progress::Announced(announcement))
    }

    fn message(&mut self) -> Result<Progress, Malformed> {
        while let Some(&len) = self.body.lengths.get(self.body.at) {
            let data = self.body.at == PARTS - 1;
            let seed =
                if data { self.body.framing.data_crc } else { self.body.framing.header_crc }.then_some(0);
            let room = if data { &mut self.body.room } else { &mut Room::Own };
            let Some((part, crc)) = self.intake.segment(len as usize, seed, room) else {
                return Ok(Progress::More);
            };
            if let (Some(slot), Some(sum)) =
                (self.body.parts.get_mut(self.body.at), self.body.crcs.get_mut(self.body.at))
            {
                (*slot, *sum) = (part, crc);
            }
            self.body.at += 1;
        }
        let Some(footer) = self.intake.bytes().get(..self.body.framing.footer_len()) else {
            return Ok(Progress::More);
        };
        let at = self.intake.offset();
        let (crcs, signature, flags) =
            parse::structure("MSG", at, footer, fields::footer(self.body.framing))?;
        let checks = self.check(crcs, flags, at)?;
        self.intake.skip(self.body.framing.footer_len());
        let body = std::mem::take(&mut self.body);
        let ([front_len, middle_len, data_len], [front_crc, middle_crc, data_crc]) = (body.lengths, crcs);
        let (header_crc, seq) = (body.header_crc, body.frame.seq);
        self.last = Footprint {
            offset: body.offset,
            len: self.intake.offset() - body.offset,
            signed: Signed {
                header_crc,
                front_crc,
                front_len,
                middle_crc,
                middle_len,
                data_crc,
                data_len,
                seq,
            },
            unchecked: checks.unchecked,
            bad_crc: checks.bad,
        };
        self.state = State::Expecting(Expect::Open);
        if !flags.contains(Flags::COMPLETE) {
            return Ok(Progress::Frame(Frame::Aborted { seq: body.frame.seq }));
        }
        let mut frame = MessageFrame { flags, signature, ..body.frame };
        let [front, middle, data] = body.parts;
        (frame.message.front, frame.message.middle, frame.message.data) = (front, middle, data);
        Ok(Progress::Frame(Frame::Message(frame)))
    }

    /// Compares the footer's crcs with those of the parts. Those of an aborted message mean nothing.
    fn check(&self, footer: [u32; PARTS], flags: Flags, at: u64) -> Result<Checks, Malformed> {
        let data = self.body.framing.data_crc && !flags.contains(Flags::NOCRC);
        let checked = [self.body.framing.header_crc, self.body.framing.header_crc, data];
        let mut checks = Checks { unchecked: checked.contains(&false), bad: false };
        if !flags.contains(Flags::COMPLETE) {
            return Ok(checks);
        }
        let fields = [("front_crc", 0), ("middle_crc", 4), ("data_crc", 8)];
        for (((found, expected), checked), (field, shift)) in
            footer.into_iter().zip(self.body.crcs).zip(checked).zip(fields)
        {
            if checked && found != expected {
                if !self.lenient {
                    return Err(Malformed::new("MSG", field, at + shift, Flaw::Crc { expected, found }));
                }
                checks.bad = true;
            }
        }
        Ok(checks)
    }
}

struct Checks {
    unchecked: bool,
    bad: bool,
}
