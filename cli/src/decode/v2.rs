//! What do the sides of a v2 connection tell about how to read them?

use cephwire_codec::v2::{Banner, Decoder, Footprint, Frame, Method, Revision, mode};
use cephwire_codec::{EntityName, EntityType, Flaw, Malformed, MsgrFeatures, Side};

use super::conversation::{Both, Identity};

/// What is known of both sides.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    /// See [`new`](Self::new).
    in_turn: bool,
    banners: Both<Option<Banner>>,
    types: Both<Option<EntityType>>,
    revision: Option<Revision>,
    /// A side was taken up in the middle, so what was negotiated may be unknown.
    resumed: Both<bool>,
    /// Whether the client asked for compression, once it is known.
    wants_compression: Option<bool>,
    /// What frames are compressed with: as negotiated, or the method that is tried.
    compression: Option<Method>,
    /// Whether that is no trial any more.
    compression_known: bool,
    requests: u32,
    answers: u32,
    /// AUTH_DONE was said.
    done: bool,
    /// Who said that everything behind AUTH_DONE is sealed: the server.
    sealed_by: Option<Side>,
}

impl Dialogue {
    /// Nothing is known yet. `in_turn`: whether authentication is to be heard in the order in which it was said,
    /// however the capture has it. Which side is the server must be known then.
    pub(super) fn new(in_turn: bool) -> Self {
        Self { in_turn, ..Self::default() }
    }

    /// Whether what the other side says next decides how `side` is read.
    pub(super) fn is_waiting(&self, side: Side) -> bool {
        let (own, peer) = (self.banners.of(side), self.banners.of(side.peer()));
        own.is_some() && peer.is_none() && !self.resumed.of(side) || self.in_turn && self.awaits_turn(side)
    }

    /// Whether the other side speaks next in authentication.
    fn awaits_turn(&self, side: Side) -> bool {
        let asked = self.requests > self.answers;
        match side {
            _ if self.done || self.resumed.client || self.resumed.server => false,
            Side::Client => asked,
            Side::Server => !asked && self.types.server.is_some(),
        }
    }

    /// Whether the connection is sealed, for one side at least.
    pub(super) fn is_secure(&self) -> bool {
        self.sealed_by.is_some()
    }

    /// Which part a side has in the seal.
    pub(super) fn part(&self, side: Side) -> Side {
        if self.sealed_by == Some(side) { Side::Server } else { Side::Client }
    }

    /// Whether everything that `side` says from here on is sealed. Its peer may be ahead of it: a client that
    /// has not made all requests that were answered is not there yet.
    pub(super) fn is_sealed(&self, side: Side) -> bool {
        self.sealed_by.is_some_and(|server| side == server || self.requests >= self.answers)
    }

    /// Takes note of a frame of `side`.
    pub(super) fn heard(
        &mut self,
        side: Side,
        frame: &Frame,
        footprint: &Footprint,
        identities: &mut Both<Identity>,
    ) {
        self.compression_known |= footprint.preamble.is_compressed() && !footprint.bad_crc;
        let mut name = |kind: Option<EntityType>, gid| {
            if let Some(kind) = kind {
                identities.of_mut(side).name = Some(EntityName::new(kind, gid).to_string());
            }
        };
        match frame {
            Frame::Banner(banner) => {
                *self.banners.of_mut(side) = Some(*banner);
                if let Both { client: Some(client), server: Some(server) } = &self.banners {
                    let both = client.supported.intersection(server.supported);
                    let newer = both.contains(MsgrFeatures::REVISION_1);
                    self.revision = Some(if newer { Revision::V2_1 } else { Revision::V2_0 });
                }
            }
            Frame::Hello(hello) => *self.types.of_mut(side) = Some(hello.entity_type),
            Frame::AuthRequest(_) | Frame::AuthRequestMore(_) => self.requests += 1,
            Frame::AuthBadMethod(_) | Frame::AuthReplyMore(_) => self.answers += 1,
            Frame::AuthDone(done) => {
                self.answers += 1;
                self.done = true;
                self.sealed_by = (done.mode == mode::SECURE).then_some(side);
            }
            Frame::ClientIdent(ident) => {
                name(*self.types.of(side), ident.gid);
                identities.of_mut(side).addrs = Some(ident.addrs.to_string());
            }
            Frame::ServerIdent(ident) => {
                name(*self.types.of(side), ident.gid);
                identities.of_mut(side).addrs = Some(ident.addrs.to_string());
            }
            Frame::SessionReconnect(claim) => identities.of_mut(side).addrs = Some(claim.addrs.to_string()),
            Frame::CompressionRequest(request) => self.wants_compression = Some(request.compress),
            Frame::CompressionDone(done) => {
                let agreed = done.compress && self.wants_compression != Some(false);
                self.compression = agreed.then_some(done.method);
                self.compression_known = true;
            }
            _ => {}
        }
    }

    /// Tells a side's decoder what is new.
    pub(super) fn tell(&self, decoder: &mut Decoder) {
        if let Some(revision) = self.revision {
            decoder.set_revision(revision);
        }
        decoder.set_compression(self.compression);
    }

    /// A frame was found in the middle of the stream, by the looks of it in `revision`.
    pub(super) fn resumed(&mut self, side: Side, revision: Revision) {
        *self.resumed.of_mut(side) = true;
        if self.banners.client.is_none() || self.banners.server.is_none() {
            // Better than what an earlier frame looked like, whose crc may have been bad.
            self.revision = Some(revision);
        }
    }

    /// A decoder for frames from `offset` on.
    pub(super) fn decoder(&self, offset: u64) -> Decoder {
        let mut decoder = Decoder::mid_stream(self.revision.unwrap_or_default(), offset);
        decoder.set_compression(self.compression);
        decoder
    }

    /// Whether an error may come from not knowing what frames are compressed with, as its negotiation is not
    /// in the capture: then the next method is to be tried.
    pub(super) fn other_method(&mut self, error: &Malformed) -> bool {
        let unknown = !self.compression_known && (self.resumed.client || self.resumed.server);
        let tried = match (self.compression, error.flaw) {
            _ if !unknown => return false,
            (None, Flaw::NotCompressible) => 0,
            (None, _) => return false,
            (Some(tried), _) => {
                Method::SUPPORTED.iter().position(|method| *method == tried).map_or(0, |at| at + 1)
            }
        };
        self.compression = Method::SUPPORTED.get(tried).copied();
        self.compression.is_some()
    }
}
