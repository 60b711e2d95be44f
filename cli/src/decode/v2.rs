//! What do the sides of a v2 connection tell about how to read them?

use cephwire_codec::v2::{Banner, Decoder, Frame, Method, Revision, mode};
use cephwire_codec::{EntityName, EntityType, MsgrFeatures, Side};

use super::conversation::{Both, Identity};

/// What is known of both sides.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    banners: Both<Option<Banner>>,
    types: Both<Option<EntityType>>,
    wants_compression: bool,
    compression: Option<Method>,
}

/// What a frame changes for the frames after it, of both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    None,
    /// The framing is known.
    Framing(Revision),
    /// Everything is sealed.
    Secure,
    /// Frames can be compressed.
    Compression(Method),
}

impl Dialogue {
    /// Whether it is known how to read what `side` says next.
    pub(super) fn may_go_on(&self, side: Side) -> bool {
        self.banners.of(side).is_none() || self.banners.of(side.peer()).is_some()
    }

    /// Takes note of a frame of `side`.
    pub(super) fn heard(&mut self, side: Side, frame: &Frame, identities: &mut Both<Identity>) -> Turn {
        let mut name = |kind: Option<EntityType>, gid| {
            if let Some(kind) = kind {
                identities.of_mut(side).name = Some(EntityName::new(kind, gid).to_string());
            }
        };
        match frame {
            Frame::Banner(banner) => {
                *self.banners.of_mut(side) = Some(*banner);
                let Both { client: Some(client), server: Some(server) } = &self.banners else { return Turn::None };
                let both = client.supported.intersection(server.supported);
                let newer = both.contains(MsgrFeatures::REVISION_1);
                return Turn::Framing(if newer { Revision::V2_1 } else { Revision::V2_0 });
            }
            Frame::Hello(hello) => *self.types.of_mut(side) = Some(hello.entity_type),
            Frame::ClientIdent(ident) => {
                name(*self.types.of(side), ident.gid);
                identities.of_mut(side).addrs = Some(ident.addrs.to_string());
            }
            Frame::ServerIdent(ident) => {
                name(*self.types.of(side), ident.gid);
                identities.of_mut(side).addrs = Some(ident.addrs.to_string());
            }
            Frame::SessionReconnect(claim) => identities.of_mut(side).addrs = Some(claim.addrs.to_string()),
            Frame::AuthDone(done) if done.mode == mode::SECURE => return Turn::Secure,
            Frame::CompressionRequest(request) => self.wants_compression = request.compress,
            Frame::CompressionDone(done) if done.compress && self.wants_compression => {
                self.compression = Some(done.method);
                return Turn::Compression(done.method);
            }
            _ => {}
        }
        Turn::None
    }

    /// A decoder for frames of `side`, from `offset` on.
    pub(super) fn decoder(&self, _side: Side, revision: Revision, offset: u64) -> Decoder {
        let mut decoder = Decoder::mid_stream(revision, offset);
        decoder.set_compression(self.compression);
        decoder
    }
}
