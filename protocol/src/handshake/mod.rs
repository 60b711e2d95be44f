//! How do two peers get from the first byte to an open stream?
//!
//! Four small machines: two versions, two sides. Each state owns its data and is consumed by the frame that
//! comes next; a frame that a state does not know is a [`Violation`]. The claim for a session and its
//! answer are the session's business: dialing, the machine says [`Step::WantClaim`] and is told by
//! [`Handshake::claim`]; accepting, it says [`Step::Claimed`] and is told by [`Handshake::answer`].

mod v1_accept;
mod v1_dial;
mod v2_accept;
mod v2_compress;
mod v2_dial;
mod v2_hello;
mod v2_sign;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, Bytes};
use cephwire_codec::{Chunks, Features, Side, v1, v2};

use crate::auth::{Entity, MakeSigner, Peer};
use crate::connection::{Frame, Version, Wire, name_of};
use crate::error::{Denied, Error, Incompatible, Violation};
use crate::facts::Facts;
use crate::local::Local;
use crate::policy::Policy;
use crate::resume::{Claim, Reply};

/// A handshake in one of its states.
#[derive(Debug)]
pub(crate) enum Handshake {
    V1Dial(v1_dial::State),
    V1Accept(v1_accept::State),
    V2Dial(v2_dial::State),
    V2Accept(v2_accept::State),
}

/// What a frame led to.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing that concerns the session.
    Quiet,
    /// Dialing: everything up to the claim is done.
    WantClaim,
    /// Dialing: the server wants another claim.
    Retry(Reply),
    /// Accepting: the client claims a session.
    Claimed(Claim),
    /// Accepting: the claim was refused without asking the session.
    Refused,
    /// The stream is open.
    Open(Opened),
}

/// What the last frame of a handshake said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// The last message that the peer received, where it said so.
    pub(crate) received: Option<u64>,
    /// The peer's global_seq; 0 if it said none.
    pub(crate) global_seq: u64,
    /// v1, dialing: the session's connect_seq.
    pub(crate) connect_seq: Option<u64>,
    /// v2, dialing: the server's name for a new session.
    pub(crate) cookie: Option<u64>,
    /// Dialing: the server's word on whether the session is lossy.
    pub(crate) lossy: Option<bool>,
}

/// What a server's session says to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Not (yet).
    Reply(Reply),
    /// v1 READY or SEQ, v2 SERVER_IDENT or SESSION_RECONNECT_OK.
    Open {
        /// The last message received.
        in_seq: u64,
        /// A fresh number of this side.
        global_seq: u64,
        /// v1: the session's connect_seq.
        connect_seq: u64,
        /// v2: the server's name for the session.
        cookie: u64,
        /// Whether the session is lossy.
        lossy: bool,
        /// v1: SEQ, not READY. v2: SESSION_RECONNECT_OK, not SERVER_IDENT.
        resumed: bool,
    },
}

/// What a machine works with.
pub(crate) struct Context<'a> {
    pub(crate) local: &'a Local,
    pub(crate) wire: &'a mut Wire,
    pub(crate) out: &'a mut Chunks,
    pub(crate) facts: &'a mut Facts,
    /// The rules for the peer.
    pub(crate) policy: &'a mut Policy,
    /// What is going on.
    pub(crate) phase: &'static str,
    /// The number of the frame being handled.
    pub(crate) number: u64,
    /// Accepting: why the peer was refused last, to be told if it goes away.
    pub(crate) refused: &'a mut Option<Error>,
    /// When the last bytes came.
    pub(crate) now: Instant,
}

impl Context<'_> {
    /// Sends a frame of v1.
    fn put_v1(&mut self, frame: &v1::Frame) -> Result<(), Error> {
        if let Wire::V1 { encoder, .. } = self.wire {
            encoder.encode(frame, self.out)?;
        }
        Ok(())
    }

    /// Sends a frame of v2; returns its bytes for the transcript.
    fn put_v2(&mut self, frame: &v2::Frame) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if let Wire::V2 { encoder, .. } = self.wire {
            let mut chunks = Chunks::new();
            encoder.encode(frame, &mut chunks)?;
            bytes = chunks.copy_to_bytes(chunks.remaining()).to_vec();
            self.out.put_slice(&bytes);
        }
        Ok(bytes)
    }

    fn v1_decoder(&mut self) -> Option<&mut v1::Decoder> {
        match self.wire {
            Wire::V1 { decoder, .. } => Some(decoder),
            Wire::V2 { .. } => None,
        }
    }

    fn expect(&mut self, expect: v1::Expect) {
        if let Some(decoder) = self.v1_decoder() {
            decoder.expect(expect);
        }
    }

    /// v1: the features of the final exchange decide about footers.
    fn set_v1_framing(&mut self) {
        let framing = v1::Framing {
            signature: self.facts.features.contains(Features::MSG_AUTH),
            header_crc: self.local.options.header_crc,
            data_crc: self.local.options.data_crc,
        };
        if let Wire::V1 { decoder, encoder, .. } = self.wire {
            decoder.set_framing(framing);
            encoder.set_framing(framing);
        }
    }

    /// v1: messages are signed from here on, both ways, if the footers have room for it.
    fn set_signer(&mut self, signer: Option<MakeSigner>) {
        if let Wire::V1 { encoder, signer: verifier, .. } = self.wire {
            let features = self.facts.features;
            let signer = signer.filter(|_| features.contains(Features::MSG_AUTH));
            *verifier = signer.map(|make| Arc::from(make(features)));
            let shared = verifier.clone().map(|signer| Box::new(SharedSigner(signer)) as Box<dyn v1::Signer>);
            encoder.set_signer(shared);
        }
    }

    fn set_revision(&mut self, revision: v2::Revision) {
        if let Wire::V2 { decoder, encoder } = self.wire {
            decoder.set_revision(revision);
            encoder.set_revision(revision);
        }
    }

    /// v2: the bytes of the peer's frames so far.
    fn take_record(&mut self) -> Vec<u8> {
        match self.wire {
            Wire::V2 { decoder, .. } => decoder.take_record(),
            Wire::V1 { .. } => Vec::new(),
        }
    }

    /// v2: everything from here on is sealed, both ways.
    fn set_keys(&mut self, keys: v2::Keys, side: Side) {
        if let Wire::V2 { decoder, encoder } = self.wire {
            // Each is called once in the life of a connection, so neither refuses.
            let _ = encoder.set_keys(keys.clone(), side);
            let _ = decoder.set_keys(keys, side.peer());
        }
    }

    /// v2: frames may be compressed from here on, both ways.
    fn set_compression(&mut self, method: v2::Method) {
        let min_size = self.local.options.compress_min_size;
        if let Wire::V2 { decoder, encoder } = self.wire {
            encoder.set_compression(Some(v2::Compression { method, min_size }));
            decoder.set_compression(Some(method));
        }
    }

    /// With whom, for authentication.
    fn peer(&self) -> Peer {
        let (name, kind) = (self.local.name(), self.facts.peer.kind);
        let number = if name.kind == cephwire_codec::EntityType::CLIENT { name.num } else { 0 };
        Peer {
            own: name.kind,
            kind,
            global_id: number.try_into().unwrap_or(0),
            version: self.facts.version,
            now: self.local.wall_clock(),
        }
    }

    /// v2: the modes that are offered to this peer, or allowed for it.
    fn modes(&self) -> &[u32] {
        self.local.options.modes.of(self.local.name().kind, self.facts.peer.kind)
    }

    /// Accepting: what authentication says of the client.
    fn authenticated(&mut self, name: Option<Entity>, global_id: u64, caps: Bytes) {
        let facts = &mut *self.facts;
        if let Some(num) = name.as_ref().and_then(|name| name.num(global_id)) {
            facts.peer.num = num;
        }
        (facts.authenticated, facts.global_id, facts.caps) = (name, Some(global_id), caps);
        facts.refused = None;
        *self.refused = None;
    }

    /// v1, accepting: the client begins anew, so nothing is known of it.
    fn unauthenticated(&mut self) {
        let facts = &mut *self.facts;
        (facts.authenticated, facts.global_id, facts.caps) = (None, None, Bytes::new());
        (facts.refused, facts.times.authenticated, facts.peer.num) = (None, None, -1);
        *self.refused = None;
    }

    fn stop_recording(&mut self) {
        if let Wire::V2 { decoder, .. } = self.wire {
            decoder.record(false);
        }
    }

    /// A frame of v2 that does not come next.
    fn unexpected(&self, frame: &v2::Frame, expected: &str) -> Error {
        self.wrong(frame.tag().map_or("banner", v2::Tag::name), expected)
    }

    /// The same for a value.
    fn wrong(&self, found: impl fmt::Display, expected: impl fmt::Display) -> Error {
        let (found, expected) = (found.to_string(), expected.to_string());
        Violation { phase: self.phase, number: self.number, found, expected }.into()
    }

    fn violation(&self, found: &dyn fmt::Debug, expected: &str) -> Error {
        self.wrong(name_of(found), expected)
    }

    /// Authentication fails here.
    fn denied(&self, error: Denied) -> Error {
        Error::Denied { phase: self.phase, number: self.number, source: Box::new(error) }
    }

    /// The peers do not fit, as turns out here.
    fn incompatible(&self, error: Incompatible) -> Error {
        Error::Incompatible { phase: self.phase, number: self.number, source: error }
    }
}

/// One session key for both directions.
struct SharedSigner(Arc<dyn v1::Signer>);

impl v1::Signer for SharedSigner {
    fn sign(&self, covered: &v1::Signed) -> u64 {
        self.0.sign(covered)
    }
}

/// The next state and what it means; no state when the stream is open.
pub(crate) type Next = Result<(Option<Handshake>, Step), Error>;

impl Handshake {
    /// The first state: what this side sends without waiting goes out at once.
    pub(crate) fn begin(version: Version, side: Side, context: &mut Context<'_>) -> Result<Self, Error> {
        Ok(match (version, side) {
            (Version::V1, Side::Client) => Self::V1Dial(v1_dial::State::begin(context)?),
            (Version::V1, Side::Server) => Self::V1Accept(v1_accept::State::begin(context)?),
            (Version::V2, Side::Client) => Self::V2Dial(v2_dial::State::begin(context)?),
            (Version::V2, Side::Server) => Self::V2Accept(v2_accept::State::begin(context)?),
        })
    }

    /// Takes a frame.
    pub(crate) fn on(self, frame: Frame, context: &mut Context<'_>) -> Next {
        match (self, frame) {
            (Self::V1Dial(state), Frame::V1(frame)) => state.on(frame, context),
            (Self::V1Accept(state), Frame::V1(frame)) => state.on(frame, context),
            (Self::V2Dial(state), Frame::V2(frame)) => state.on(frame, context),
            (Self::V2Accept(state), Frame::V2(frame)) => state.on(frame, context),
            (_, frame) => Err(context.violation(&frame, "a frame of its own version")),
        }
    }

    /// Dialing: claims a session.
    pub(crate) fn claim(
        self,
        claim: Claim,
        in_seq: u64,
        lossy: bool,
        context: &mut Context<'_>,
    ) -> Result<Option<Self>, Error> {
        match self {
            Self::V1Dial(state) => state.claim(claim, in_seq, lossy, context).map(Self::V1Dial).map(Some),
            Self::V2Dial(state) => state.claim(claim, lossy, context).map(Self::V2Dial).map(Some),
            accepting => Ok(Some(accepting)),
        }
    }

    /// Accepting: answers a claim.
    pub(crate) fn answer(self, answer: &Answer, context: &mut Context<'_>) -> Result<Option<Self>, Error> {
        match self {
            Self::V1Accept(state) => Ok(state.answer(answer, context)?.map(Self::V1Accept)),
            Self::V2Accept(state) => Ok(state.answer(answer, context)?.map(Self::V2Accept)),
            dialing => Ok(Some(dialing)),
        }
    }

    /// v1, accepting: another session goes on with this handshake.
    pub(crate) fn rewind(&mut self) {
        if let Self::V1Accept(state) = self {
            state.rewind();
        }
    }

    /// Accepting: whether a claim waits for its answer.
    pub(crate) fn awaits_answer(&self) -> bool {
        match self {
            Self::V1Accept(state) => state.awaits_answer(),
            Self::V2Accept(state) => state.awaits_answer(),
            Self::V1Dial(_) | Self::V2Dial(_) => false,
        }
    }

    /// What is going on, in Ceph's words for its states.
    pub(crate) fn phase(&self) -> &'static str {
        match self {
            Self::V1Dial(state) => state.phase(),
            Self::V1Accept(state) => state.phase(),
            Self::V2Dial(state) => state.phase(),
            Self::V2Accept(state) => state.phase(),
        }
    }
}
