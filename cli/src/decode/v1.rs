//! What do the sides of a v1 connection tell about how to read them?

use cephwire_codec::v1::{Connect, Decoder, Expect, Frame, Framing, Tag};
use cephwire_codec::{Features, Flags, Malformed, Side};

use super::conversation::{Both, Identity, is_absent_crc};

/// What is known of both sides.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    sides: Both<Progress>,
    connect_features: Option<Features>,
}

/// How far a side is.
#[derive(Debug, Default)]
struct Progress {
    addresses: u8,
    connected: bool,
    /// What comes next, if it was not said to the decoder yet.
    expect: Option<Expect>,
    framing: Framing,
    /// Whether the framing was negotiated here, or is only likely (after a start in the middle).
    guessed: bool,
    open: bool,
}

impl Dialogue {
    /// Takes note of a frame of `side`.
    pub(super) fn heard(&mut self, side: Side, frame: &Frame, identities: &mut Both<Identity>) {
        let progress = self.sides.of_mut(side);
        match (side, frame) {
            (_, Frame::Banner) => progress.expect = Some(Expect::Address),
            (Side::Client, Frame::Address(addr)) => {
                identities.client.addrs = Some(addr.to_string());
                progress.expect = Some(Expect::Connect);
            }
            (Side::Server, Frame::Address(addr)) => {
                progress.addresses += 1;
                if progress.addresses == 1 {
                    identities.server.addrs = Some(addr.to_string());
                }
                let more = progress.addresses < 2;
                progress.expect = Some(if more { Expect::Address } else { Expect::Reply });
            }
            (_, Frame::Connect(Connect { features, .. })) => {
                progress.connected = true;
                self.connect_features = Some(*features);
            }
            (_, Frame::Reply(reply)) => self.replied(reply.tag, reply.features),
            (_, Frame::Seq(_)) => {
                progress.expect = Some(Expect::Open);
                progress.open = true;
            }
            (_, Frame::Message(message)) => {
                identities.of_mut(side).name = Some(message.src.to_string());
            }
            _ => {}
        }
    }

    fn replied(&mut self, tag: Tag, features: Features) {
        let effective = features.intersection(self.connect_features.unwrap_or(features));
        let (client, server) = match tag {
            Tag::Ready => (Expect::Open, Expect::Open),
            Tag::Seq => (Expect::Seq, Expect::Seq),
            _ => (Expect::Connect, Expect::Reply),
        };
        for (progress, expect) in [(&mut self.sides.client, client), (&mut self.sides.server, server)] {
            progress.expect = Some(expect);
            progress.framing.signature = effective.contains(Features::MSG_AUTH);
            progress.open = expect == Expect::Open;
        }
    }

    /// Whether `side` has to wait for what the other says.
    pub(crate) fn is_waiting(&self, side: Side) -> bool {
        let progress = self.sides.of(side);
        progress.connected && !progress.open
    }

    /// Tells a side's decoder what is new.
    pub(super) fn tell(&mut self, side: Side, decoder: &mut Decoder) {
        let progress = self.sides.of_mut(side);
        if let Some(expect) = progress.expect.take() {
            decoder.set_framing(progress.framing);
            decoder.expect(expect);
        }
    }

    /// A decoder for the open phase of `side`, from `offset` on.
    pub(super) fn decoder(&mut self, side: Side, offset: u64) -> Decoder {
        let progress = self.sides.of_mut(side);
        let mut decoder = Decoder::mid_stream(offset);
        decoder.set_framing(progress.framing);
        decoder.expect(Expect::Open);
        decoder
    }

    /// A message was found in the middle of the stream.
    pub(super) fn resumed(&mut self, side: Side) {
        let progress = self.sides.of_mut(side);
        progress.guessed |= !progress.open;
        progress.open = true;
        progress.expect = None;
    }

    /// Whether a message shows that the guessed kind of footer is the wrong one: then the other is used.
    pub(super) fn other_footer(&mut self, side: Side, frame: &Frame) -> bool {
        let progress = self.sides.of_mut(side);
        let plausible = match frame {
            Frame::Message(message) => message.flags.without(PLAUSIBLE) == Flags(0),
            Frame::Aborted { .. } => false,
            _ => return false,
        };
        let wrong = std::mem::take(&mut progress.guessed) && !plausible;
        progress.framing.signature ^= wrong;
        wrong
    }

    /// Whether an error shows that this side computes no crcs of headers: then they are not checked any more.
    pub(super) fn without_header_crc(&mut self, side: Side, error: &Malformed) -> bool {
        let progress = self.sides.of_mut(side);
        let absent = progress.framing.header_crc && error.field == "header crc" && is_absent_crc(error);
        if absent {
            progress.framing.header_crc = false;
        }
        absent
    }
}

const PLAUSIBLE: Flags = Flags::COMPLETE.with(Flags::NOCRC).with(Flags::SIGNED);

/// The sender of a message, as the message says.
pub(super) fn source(frame: &Frame) -> Option<String> {
    match frame {
        Frame::Message(message) => Some(message.src.to_string()),
        _ => None,
    }
}
