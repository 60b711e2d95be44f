//! How do the bytes of one direction become frames?
//!
//! ```text
//!            Banner ──► Preamble ──► Announced ──► Body ──► Frame
//!                          ▲             │ proceed()          │
//!                          └─────────────┴────────────────────┘
//! ```
//!
//! Between preamble and body the decoder stops ([`Progress::Announced`]): its owner checks that this
//! frame may come now, takes throttles, and says with [`Decoder::proceed`] where the data shall go.

use bytes::BytesMut;

use super::frame::{Frame, MessageFrame, Tag};
use super::preamble::Preamble;
use super::{
    BANNER_PREFIX, MAX_SEGMENTS, MESSAGE_HEADER_LEN, Method, PREAMBLE_LEN, Revision, compress, fields,
};
use crate::error::{Flaw, Malformed};
use crate::intake::{Intake, Room};
use crate::limits::Limits;
use crate::message::Header;
use crate::parse;
use crate::payload::Payload;

#[cfg(feature = "secure")]
use super::aead::{Keys, Sealed};
#[cfg(feature = "secure")]
use super::preamble::INLINE;
#[cfg(feature = "secure")]
use crate::Side;

mod plain;
#[cfg(feature = "secure")]
mod sealed;

/// The banner's prefix and the length behind it.
const BANNER_HEAD: usize = 10;
/// The fields of a banner that are known.
const BANNER_LEAST: u64 = 16;

/// What [`Decoder::next`] has to say.
#[derive(Debug)]
pub enum Progress {
    /// Everything that arrived is decoded; more bytes are needed.
    More,
    /// A frame begins; [`Decoder::proceed`] lets its body in. Until then the answer stays the same.
    Announced(Announcement),
    /// A frame.
    Frame(Frame),
}

/// What is known of a frame before its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Which frame it is.
    pub tag: Tag,
    /// The lengths of its segments on the wire, without padding and crc.
    pub lengths: [u32; MAX_SEGMENTS],
    /// Whether those are compressed lengths.
    pub compressed: bool,
    /// A message's sequence number and header. Only in 2.1 (where it is verified by now), and not
    /// from a compressed frame.
    pub message: Option<(u64, Header)>,
}

/// How the frame returned last stood on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Stream offset of its first byte.
    pub offset: u64,
    /// Its length in bytes, everything included.
    pub len: u64,
    /// Its preamble (zero for the banner).
    pub preamble: Preamble,
    /// The crc of each segment as the sender computed it; 0 where there is none, and in secure mode.
    pub crcs: [u32; MAX_SEGMENTS],
    /// Whether it was sealed.
    pub secure: bool,
    /// Whether a segment's crc was wrong ([`Decoder::set_lenient`]).
    pub bad_crc: bool,
}

/// Decodes one direction of a v2 connection.
///
/// Four kinds of calls: [`recv_buf`](Self::recv_buf), [`received`](Self::received) and
/// [`feed`](Self::feed) bring bytes; [`next`](Self::next) asks for what they mean;
/// [`proceed`](Self::proceed) answers an announcement; `set_*` say what was negotiated meanwhile.
///
/// ```
/// use cephwire_codec::v2::{Decoder, Frame};
/// let mut decoder = Decoder::new();
/// decoder.feed(b"ceph v2\n\x10\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
/// let Some(Frame::Banner(banner)) = decoder.next_frame()? else { panic!() };
/// assert_eq!(banner.supported.bits(), 1);
/// assert!(decoder.next_frame()?.is_none()); // waits for more
/// # Ok::<(), cephwire_codec::Malformed>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    intake: Intake,
    limits: Limits,
    revision: Revision,
    compression: Option<Method>,
    lenient: bool,
    #[cfg(feature = "secure")]
    sealed: Option<Sealed>,
    state: State,
    body: Body,
    last: Footprint,
}

#[derive(Debug)]
enum State {
    Banner,
    Preamble,
    Announced(Announcement),
    Body,
    Failed(Malformed),
}

/// The frame that is being read.
#[derive(Debug)]
struct Body {
    preamble: Preamble,
    /// Stream offset of the frame.
    offset: u64,
    /// The segment to come next.
    at: usize,
    segments: [Payload; MAX_SEGMENTS],
    crcs: [u32; MAX_SEGMENTS],
    bad_crc: bool,
    /// A message's header, where it is known before the body.
    header: Option<MessageFrame>,
    /// Segment 0's bytes that came with the preamble (secure 2.1).
    #[cfg(feature = "secure")]
    inline: [u8; INLINE as usize],
    room: Room,
}

impl Default for Body {
    fn default() -> Self {
        Self {
            preamble: Preamble::default(),
            offset: 0,
            at: 0,
            segments: Default::default(),
            crcs: [0; MAX_SEGMENTS],
            bad_crc: false,
            header: None,
            #[cfg(feature = "secure")]
            inline: [0; INLINE as usize],
            room: Room::Own,
        }
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of a stream: it expects the banner.
    #[must_use]
    pub fn new() -> Self {
        Self::starting(State::Banner, 0)
    }

    /// A decoder behind the banner, at a frame's first byte, `offset` bytes into the stream: for
    /// captures that begin in the middle.
    #[must_use]
    pub fn mid_stream(revision: Revision, offset: u64) -> Self {
        Self { revision, ..Self::starting(State::Preamble, offset) }
    }

    fn starting(state: State, offset: u64) -> Self {
        let limits = Limits::default();
        Self {
            intake: Intake::new(offset, limits.ahead as usize),
            limits,
            revision: Revision::default(),
            compression: None,
            lenient: false,
            #[cfg(feature = "secure")]
            sealed: None,
            state,
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

    /// Decodes as far as the bytes reach.
    ///
    /// # Errors
    /// The first malformed byte; the same again on every later call.
    #[expect(clippy::should_implement_trait, reason = "no iterator: More is not the end")]
    pub fn next(&mut self) -> Result<Progress, Malformed> {
        let progress = match &self.state {
            State::Banner => self.banner(),
            #[cfg(feature = "secure")]
            State::Preamble if self.sealed.is_some() => self.sealed_preamble(),
            State::Preamble => self.plain_preamble(),
            State::Announced(announcement) => Ok(Progress::Announced(*announcement)),
            #[cfg(feature = "secure")]
            State::Body if self.sealed.is_some() => self.sealed_body(),
            State::Body => self.plain_body(),
            State::Failed(error) => return Err(error.clone()),
        };
        if let Err(error) = &progress {
            self.state = State::Failed(error.clone());
            self.body = Body::default();
        }
        progress
    }

    /// Answers [`Progress::Announced`]: lets the body in, a message's data into `room`.
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

    /// Whether bytes have arrived that belong to no frame yet.
    #[must_use]
    pub fn has_partial(&self) -> bool {
        !self.intake.bytes().is_empty() || self.intake.is_direct() || self.intake.offset() != self.offset()
    }

    /// Bytes that have arrived and belong to no frame yet.
    #[must_use]
    pub fn partial_len(&self) -> u64 {
        let taken = self.intake.offset().saturating_sub(self.offset());
        taken.saturating_sub(self.intake.missing() as u64) + self.intake.bytes().len() as u64
    }

    /// Sets the framing, known from both banners, before the first frame.
    pub fn set_revision(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// Sets the limits from the next frame on: tight ones before authentication, for example.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.intake.set_ahead(limits.ahead as usize);
    }

    /// Sets the method that frames may be compressed with.
    pub fn set_compression(&mut self, method: Option<Method>) {
        self.compression = method;
    }

    /// Reports a wrong crc of a message's segment in its [`Footprint`] instead of failing, for tools that
    /// show broken frames. Preambles are always checked: without them there are no frames.
    pub fn set_lenient(&mut self, lenient: bool) {
        self.lenient = lenient;
    }

    /// Everything from here on is sealed: called right after AUTH_DONE. `from` is the side whose
    /// bytes are decoded here.
    ///
    /// # Errors
    /// Gives the keys back if there are some already: a second start would repeat nonces.
    #[cfg(feature = "secure")]
    pub fn set_keys(&mut self, keys: Keys, from: Side) -> Result<(), Keys> {
        if self.sealed.is_some() {
            return Err(keys);
        }
        self.sealed = Some(Sealed::new(&keys, from, self.revision));
        Ok(())
    }

    /// Starts or stops keeping the bytes of decoded frames: the transcript that AUTH_SIGNATURE covers.
    pub fn record(&mut self, on: bool) {
        self.intake.set_record(on);
    }

    /// The bytes of the frames returned since the last call.
    #[must_use]
    pub fn take_record(&mut self) -> Vec<u8> {
        self.intake.take_record()
    }

    fn banner(&mut self) -> Result<Progress, Malformed> {
        let offset = self.intake.offset();
        let wrong = |field, at: u64, flaw| Malformed::new("banner", field, offset + at, flaw);
        let here = self.intake.bytes();
        // As soon as one byte differs: the peer may be waiting for us to speak.
        let differs = here.iter().zip(&BANNER_PREFIX).position(|(found, expected)| found != expected);
        if let Some(at) = differs {
            let byte = |bytes: &[u8]| u64::from(bytes.get(at).copied().unwrap_or_default());
            let flaw = Flaw::Value { expected: byte(&BANNER_PREFIX), found: byte(here) };
            return Err(wrong("prefix", at as u64, flaw));
        }
        let Some([.., low, high]) = here.first_chunk::<BANNER_HEAD>() else { return Ok(Progress::More) };
        let len = u64::from(u16::from_le_bytes([*low, *high]));
        if len < BANNER_LEAST {
            return Err(wrong("length", 8, Flaw::TooShort { expected: BANNER_LEAST, found: len }));
        }
        if len > u64::from(self.limits.handshake) {
            return Err(wrong(
                "length",
                8,
                Flaw::TooLong { limit: self.limits.handshake.into(), found: len },
            ));
        }
        let total = BANNER_HEAD + len as usize;
        let Some(payload) = here.get(BANNER_HEAD..total) else { return Ok(Progress::More) };
        let banner = parse::structure("banner", offset + BANNER_HEAD as u64, payload, fields::banner)?;
        self.intake.skip(total);
        self.intake.end_frame();
        self.last = Footprint { offset, len: total as u64, ..Footprint::default() };
        self.state = State::Preamble;
        Ok(Progress::Frame(Frame::Banner(banner)))
    }

    /// Takes a checked preamble as the frame to be read, and announces it.
    fn announce(
        &mut self,
        tag: Tag,
        preamble: Preamble,
        offset: u64,
        header: Option<MessageFrame>,
    ) -> Result<Progress, Malformed> {
        let announcement = Announcement {
            tag,
            lengths: preamble.lengths,
            compressed: preamble.is_compressed(),
            message: header.as_ref().map(|header| (header.seq, header.message.header)),
        };
        self.body.preamble = preamble;
        self.body.offset = offset;
        self.body.at = 0;
        self.body.header = header;
        self.state = State::Announced(announcement);
        Ok(Progress::Announced(announcement))
    }

    /// Checks that such a frame exists and that its segments are within the limits.
    fn check(&self, preamble: &Preamble, offset: u64) -> Result<Tag, Malformed> {
        let Some(tag) = Tag::from_number(preamble.tag) else {
            let flaw = Flaw::Unknown { found: u64::from(preamble.tag) };
            return Err(Malformed::new("preamble", "tag", offset, flaw));
        };
        let wrong = |field, at: u64, flaw| Err(Malformed::new(tag.name(), field, offset + at, flaw));
        let compressed = preamble.is_compressed();
        if compressed && self.compression.is_none_or(|method| !method.is_supported()) {
            return wrong("flags", 26, Flaw::NotCompressible);
        }
        if tag != Tag::Message && preamble.num_segments > 1 {
            // Ceph takes the last one as the payload. No peer sends such a frame; and nobody would read what comes before,
            // of which a stranger could announce three times as much again.
            return wrong(
                "num_segments",
                1,
                Flaw::Value { expected: 1, found: preamble.num_segments.into() },
            );
        }
        if tag == Tag::Message {
            let found = preamble.lengths.first().map_or(0, |len| u64::from(*len));
            // A compressed one is compared again when it is inflated; but nothing inflates to a header.
            if if compressed { found == 0 } else { found != MESSAGE_HEADER_LEN as u64 } {
                let flaw = Flaw::Value { expected: MESSAGE_HEADER_LEN as u64, found };
                return wrong("header length", 2, flaw);
            }
        }
        for (n, (len, (field, limit))) in preamble.segments().zip(self.segment_limits(tag)).enumerate() {
            let limit = if compressed { compress::bound(limit) } else { limit.into() };
            if u64::from(len) > limit {
                return wrong(field, 2 + 6 * n as u64, Flaw::TooLong { limit, found: len.into() });
            }
        }
        Ok(tag)
    }

    fn segment_limits(&self, tag: Tag) -> [(&'static str, u32); MAX_SEGMENTS] {
        let Limits { front, middle, data, handshake, .. } = self.limits;
        let first = if tag == Tag::Message { MESSAGE_HEADER_LEN as u32 } else { handshake };
        [("segment length", first), ("front length", front), ("middle length", middle), ("data length", data)]
    }

    /// Makes the frame of the segments, which are all there and verified.
    fn finish(&mut self, aborted: bool) -> Result<Frame, Malformed> {
        let body = std::mem::take(&mut self.body);
        self.intake.end_frame();
        self.last = Footprint {
            offset: body.offset,
            len: self.intake.offset() - body.offset,
            preamble: body.preamble,
            crcs: body.crcs,
            #[cfg(feature = "secure")]
            secure: self.sealed.is_some(),
            #[cfg(not(feature = "secure"))]
            secure: false,
            bad_crc: body.bad_crc,
        };
        self.state = State::Preamble;
        let Some(tag) = Tag::from_number(body.preamble.tag) else {
            let flaw = Flaw::Unknown { found: body.preamble.tag.into() };
            return Err(Malformed::new("preamble", "tag", body.offset, flaw));
        };
        if aborted {
            return Ok(Frame::Aborted(tag));
        }
        let segments = if body.preamble.is_compressed() {
            self.inflate(tag, body.segments, &body.preamble, body.offset)?
        } else {
            body.segments
        };
        let [first, front, middle, data] = segments;
        let at = body.offset + PREAMBLE_LEN as u64;
        if tag != Tag::Message {
            return fields::read(tag, &first.into_bytes(), at);
        }
        let mut frame = match body.header {
            Some(header) => header,
            None => {
                let header = first.into_bytes();
                if header.len() != MESSAGE_HEADER_LEN {
                    let flaw =
                        Flaw::Value { expected: MESSAGE_HEADER_LEN as u64, found: header.len() as u64 };
                    return Err(Malformed::new(tag.name(), "header length", at, flaw));
                }
                parse::structure(tag.name(), at, &header, fields::message_header)?
            }
        };
        (frame.message.front, frame.message.middle, frame.message.data) = (front, middle, data);
        Ok(Frame::Message(frame))
    }

    fn inflate(
        &self,
        tag: Tag,
        segments: [Payload; MAX_SEGMENTS],
        preamble: &Preamble,
        offset: u64,
    ) -> Result<[Payload; MAX_SEGMENTS], Malformed> {
        let method = self.compression.unwrap_or_default();
        let mut inflated: [Payload; MAX_SEGMENTS] = Default::default();
        let limits = self.segment_limits(tag);
        let wire = preamble.wire_lengths(self.revision, self.last.secure);
        // Segment 0 begins behind the preamble's fields, also where it is sealed together with them.
        let (mut at, mut next) = (offset + PREAMBLE_LEN as u64, offset + wire.preamble);
        for (((plain, segment), (field, limit)), len) in
            inflated.iter_mut().zip(segments).zip(limits).zip(wire.segments)
        {
            let here = at;
            next += len;
            at = next;
            if segment.is_empty() {
                continue;
            }
            let result = compress::inflate(method, &segment.into_bytes(), limit as usize);
            *plain = result.map(Payload::from).map_err(|failure| {
                let name = method.name().unwrap_or("unknown");
                let flaw = match failure {
                    compress::Failure::Broken => Flaw::Inflate { method: name },
                    compress::Failure::TooLong { found } => Flaw::TooLong { limit: limit.into(), found },
                    compress::Failure::Unsupported => Flaw::NotCompressible,
                };
                Malformed::new(tag.name(), field, here, flaw)
            })?;
        }
        Ok(inflated)
    }
}
