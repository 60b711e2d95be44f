//! What do the sides of a v1 connection tell about how to read them?
//!
//! Nothing on the wire says what comes next in the handshake, so it is followed step by step: a client's
//! connect, the server's reply to it, and so on. A side that is ahead of the other waits.

use cephwire_codec::v1::{Connect, Decoder, Expect, Footprint, Frame, Framing, MessageFrame, Tag};
use cephwire_codec::{Features, Flags, Flaw, Malformed, Side};

use super::conversation::{Both, Identity};

/// What is known of both sides.
#[derive(Debug)]
pub(super) struct Dialogue {
    sides: Both<Progress>,
    /// Which side speaks as a server. If the capture does not show who opened the connection, that may be the
    /// one which is called the client.
    server: Side,
    /// The features of the last connect.
    connect_features: Option<Features>,
    connects: u32,
    replies: u32,
    /// Whether a reply has opened the session.
    accepted: bool,
    /// The server's replies are read without the connects that they answer.
    client_unheard: bool,
    /// Whether footers have a signature field, once that is known.
    signature: Option<bool>,
}

/// How far a side is.
#[derive(Debug)]
struct Progress {
    addresses: u8,
    /// What comes next, if it was not said to the decoder yet.
    expect: Option<Expect>,
    /// Whether items follow each other from here on.
    open: bool,
    /// What is tried as long as [`Dialogue::signature`] is not known.
    signature_tried: bool,
    /// Whether the crcs of headers are there.
    header_crc: bool,
    /// Whether one of them was seen.
    header_crc_seen: bool,
}

impl Default for Dialogue {
    fn default() -> Self {
        Self {
            sides: Both { client: Progress::default(), server: Progress::default() },
            server: Side::Server,
            connect_features: None,
            connects: 0,
            replies: 0,
            accepted: false,
            client_unheard: false,
            signature: None,
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            addresses: 0,
            expect: None,
            open: false,
            signature_tried: true,
            header_crc: true,
            header_crc_seen: false,
        }
    }
}

impl Dialogue {
    /// Takes note that `side` is the server.
    pub(super) fn serves(&mut self, side: Side) {
        self.server = side;
    }

    /// Takes note of a frame of `side`.
    pub(super) fn heard(
        &mut self,
        side: Side,
        frame: &Frame,
        footprint: &Footprint,
        identities: &mut Both<Identity>,
    ) {
        let serves = side == self.server;
        let progress = self.sides.of_mut(side);
        match frame {
            Frame::Banner => progress.expect = Some(Expect::Address),
            Frame::Address(addr) => {
                progress.addresses += 1;
                if progress.addresses == 1 {
                    identities.of_mut(side).addrs = Some(addr.to_string());
                    progress.expect = Some(if serves { Expect::Address } else { Expect::Connect });
                }
                self.expect_reply();
            }
            Frame::Connect(Connect { features, .. }) => {
                self.connects += 1;
                self.connect_features = Some(*features);
                self.expect_reply();
            }
            Frame::Reply(reply) => self.replied(reply.tag, reply.features),
            Frame::Seq(_) => {
                progress.expect = Some(Expect::Open);
                progress.open = true;
            }
            Frame::Message(message) => {
                progress.header_crc_seen |= footprint.signed.header_crc != 0;
                identities.of_mut(side).name = Some(message.src.to_string());
            }
            _ => {}
        }
    }

    /// The server's next reply is read when its connect was, as that has the features for it.
    fn expect_reply(&mut self) {
        let server = self.sides.of_mut(self.server);
        let answers = server.addresses == 2 && !server.open && !self.accepted;
        if answers && (self.connects > self.replies || self.client_unheard) {
            server.expect = Some(Expect::Reply);
        }
    }

    fn replied(&mut self, tag: Tag, features: Features) {
        self.replies += 1;
        let (client, server) = match tag {
            Tag::Ready => (Expect::Open, Some(Expect::Open)),
            Tag::Seq => (Expect::Seq, Some(Expect::Seq)),
            _ => (Expect::Connect, None),
        };
        self.sides.of_mut(self.server.peer()).expect = Some(client);
        self.sides.of_mut(self.server).expect = server;
        match server {
            None => self.expect_reply(),
            Some(expect) => {
                self.accepted = true;
                for progress in [&mut self.sides.client, &mut self.sides.server] {
                    progress.open = expect == Expect::Open;
                    progress.signature_tried = features.contains(Features::MSG_AUTH);
                }
                let both = self.connect_features.map(|connect| features.intersection(connect));
                self.signature = both.map(|both| both.contains(Features::MSG_AUTH));
            }
        }
    }

    /// Whether what the other side says next decides how `side` is read.
    pub(super) fn is_waiting(&self, side: Side) -> bool {
        let progress = self.sides.of(side);
        if progress.open {
            false
        } else if side == self.server {
            progress.addresses == 2 && !self.accepted && self.connects <= self.replies && !self.client_unheard
        } else {
            self.connects > self.replies
        }
    }

    /// Goes on without what the other side says, if that can be. A server's replies say themselves how long
    /// they are; what a client sends after a connect depends on the reply.
    pub(super) fn stop_waiting(&mut self, side: Side) -> bool {
        let serves = side == self.server;
        self.client_unheard |= serves;
        self.expect_reply();
        serves
    }

    /// Tells a side's decoder what is new.
    pub(super) fn tell(&mut self, side: Side, decoder: &mut Decoder) {
        let framing = self.framing(side);
        if let Some(expect) = self.sides.of_mut(side).expect.take() {
            decoder.set_framing(framing);
            decoder.expect(expect);
        }
    }

    /// A decoder for the open phase of `side`, from `offset` on.
    pub(super) fn decoder(&self, side: Side, offset: u64) -> Decoder {
        let mut decoder = Decoder::mid_stream(offset);
        decoder.set_framing(self.framing(side));
        decoder.expect(Expect::Open);
        decoder
    }

    fn framing(&self, side: Side) -> Framing {
        let Progress { signature_tried, header_crc, .. } = *self.sides.of(side);
        Framing { signature: self.signature.unwrap_or(signature_tried), header_crc, data_crc: true }
    }

    /// A message was found in the middle of the stream.
    pub(super) fn resumed(&mut self, side: Side) {
        let progress = self.sides.of_mut(side);
        progress.open = true;
        progress.expect = None;
        progress.header_crc_seen = true;
    }

    /// Whether a message shows that its footer is none of the kind that was tried: then the other is used.
    pub(super) fn other_footer(&mut self, side: Side, frame: &Frame) -> bool {
        if self.signature.is_some() {
            return false;
        }
        let progress = self.sides.of_mut(side);
        match frame {
            Frame::Message(message) if !progress.signature_tried || !is_short_footer(message) => {
                self.signature = Some(progress.signature_tried);
                false
            }
            Frame::Message(_) | Frame::Aborted { .. } if progress.signature_tried => {
                progress.signature_tried = false;
                true
            }
            // Zeros either way: it was aborted indeed.
            Frame::Aborted { .. } => {
                self.signature = Some(true);
                true
            }
            _ => false,
        }
    }

    /// Whether the side's last message, which lacks some bytes, may be whole with a footer without signature.
    pub(super) fn shorter_footer(&mut self, side: Side) -> bool {
        let progress = self.sides.of_mut(side);
        progress.open && self.signature.is_none() && std::mem::take(&mut progress.signature_tried)
    }

    /// Whether an error shows that this side computes no crcs of headers: then they are not checked any more.
    pub(super) fn without_header_crc(&mut self, side: Side, error: &Malformed) -> bool {
        let progress = self.sides.of_mut(side);
        let absent = error.field == "header crc" && matches!(error.flaw, Flaw::Crc { found: 0, .. });
        let first = absent && !progress.header_crc_seen;
        progress.header_crc &= !first;
        first
    }
}

/// Whether a footer that was read with a signature is more likely one without, followed by another item. Then
/// the signature begins with the true flags and the item's tag, and the flags are a byte of the item.
fn is_short_footer(message: &MessageFrame) -> bool {
    let [flags, tag, ..] = message.signature.to_le_bytes();
    let known = Flags::COMPLETE.with(Flags::NOCRC);
    let is_item = Tag::from_number(tag).is_some_and(|tag| !tag.is_reply());
    let as_short =
        is_item && Flags(flags).contains(Flags::COMPLETE) && Flags(flags).without(known) == Flags(0);
    let signed = message.flags.contains(Flags::COMPLETE.with(Flags::SIGNED));
    let as_long = signed && message.flags.without(known.with(Flags::SIGNED)) == Flags(0);
    as_short && !as_long
}

/// The sender of a message, as the message says.
pub(super) fn source(frame: &Frame) -> Option<String> {
    match frame {
        Frame::Message(message) => Some(message.src.to_string()),
        _ => None,
    }
}
