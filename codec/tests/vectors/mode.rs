//! Which framings of v2 does this build speak, and what are the two ends of a stream in each?

use cephwire_codec::Chunks;
use cephwire_codec::v2::{Decoder, Encoder, Frame, Revision};

/// A framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    /// As in the tables of `testdata/vectors`.
    pub(crate) name: &'static str,
    pub(crate) revision: Revision,
    pub(crate) secure: bool,
}

/// All that this build speaks: two, or four with secure mode.
pub(crate) const MODES: &[Mode] = &[
    Mode { name: "rev0-crc", revision: Revision::V2_0, secure: false },
    Mode { name: "rev1-crc", revision: Revision::V2_1, secure: false },
    #[cfg(feature = "secure")]
    Mode { name: "rev0-secure", revision: Revision::V2_0, secure: true },
    #[cfg(feature = "secure")]
    Mode { name: "rev1-secure", revision: Revision::V2_1, secure: true },
];

impl Mode {
    /// An encoder behind the banner; in secure mode the client's, with the secret 00 01 … 3f.
    pub(crate) fn encoder(self) -> Encoder {
        let mut encoder = Encoder::new();
        encoder.set_revision(self.revision);
        #[cfg(feature = "secure")]
        if self.secure {
            assert!(encoder.set_keys(keys(), cephwire_codec::Side::Client).is_ok());
        }
        encoder
    }

    /// The decoder of what [`encoder`](Self::encoder) writes.
    pub(crate) fn decoder(self) -> Decoder {
        #[cfg_attr(not(feature = "secure"), expect(unused_mut, reason = "only keys change it"))]
        let mut decoder = Decoder::mid_stream(self.revision, 0);
        #[cfg(feature = "secure")]
        if self.secure {
            assert!(decoder.set_keys(keys(), cephwire_codec::Side::Client).is_ok());
        }
        decoder
    }

    /// One frame as the first of a stream.
    pub(crate) fn bytes(self, frame: &Frame) -> Vec<u8> {
        encoded(&mut self.encoder(), frame)
    }
}

/// The bytes of the next frame.
pub(crate) fn encoded(encoder: &mut Encoder, frame: &Frame) -> Vec<u8> {
    let mut out = Chunks::new();
    assert_eq!(encoder.encode(frame, &mut out), Ok(()));
    out.take_pieces().concat()
}

/// Key and nonces of the secret 00 01 … 3f.
#[cfg(feature = "secure")]
fn keys() -> cephwire_codec::v2::Keys {
    let secret: Vec<u8> = (0..64).collect();
    cephwire_codec::v2::Keys::from_secret(&secret).unwrap()
}
