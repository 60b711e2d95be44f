//! What is any stream: settings that both ends know, and frames that may follow each other?

use ::arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;

use super::delivery::Driven;
use super::few;
use crate::chunks::Chunks;
use crate::error::Unencodable;
use crate::message::Flags;
use crate::{v1, v2};

#[cfg(feature = "secure")]
use super::SECRET;
#[cfg(feature = "secure")]
use crate::Side;

/// The owner of a decoder: what it knows, and when it tells.
pub trait Owner {
    /// The decoder of its protocol.
    type Decoder: Driven;

    /// A decoder at the start of the stream.
    fn decoder(&self) -> Self::Decoder;

    /// Tells the decoder what is known once `n` frames were decoded; perhaps several times.
    fn tell(&self, n: usize, decoder: &mut Self::Decoder);
}

/// One direction of a connection, and the owner of the decoder at its end.
pub trait Stream: Owner {
    /// All bytes of the stream.
    ///
    /// # Errors
    /// As the encoder: no generated stream gives one.
    fn encode(&self) -> std::result::Result<Bytes, Unencodable>;

    /// The frames, in order.
    fn frames(&self) -> Vec<<Self::Decoder as Driven>::Frame>;
}

/// A v1 stream: the structures of a handshake in any order, then items.
///
/// Signature and NOCRC of its messages fit its framing: without a signature field the signature is 0, and
/// without a crc of the data the flag says so.
#[derive(Clone, Debug)]
pub struct StreamV1 {
    /// How messages are framed.
    pub framing: v1::Framing,
    /// The frames.
    pub frames: Vec<v1::Frame>,
}

impl<'a> Arbitrary<'a> for StreamV1 {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let framing: v1::Framing = u.arbitrary()?;
        let mut frames = frames(u, v1::Frame::Message)?;
        for frame in &mut frames {
            let v1::Frame::Message(message) = frame else { continue };
            if !framing.signature {
                message.signature = 0;
            }
            if !framing.data_crc {
                message.flags = message.flags.with(Flags::NOCRC);
            }
        }
        frames.sort_by_key(|frame| expected(frame) == v1::Expect::Open);
        Ok(Self { framing, frames })
    }
}

impl Stream for StreamV1 {
    fn encode(&self) -> std::result::Result<Bytes, Unencodable> {
        let mut encoder = v1::Encoder::new();
        encoder.set_framing(self.framing);
        let mut out = Chunks::new();
        self.frames.iter().try_for_each(|frame| encoder.encode(frame, &mut out))?;
        Ok(out.take_pieces().concat().into())
    }

    fn frames(&self) -> Vec<v1::Frame> {
        self.frames.clone()
    }
}

impl Owner for StreamV1 {
    type Decoder = v1::Decoder;

    fn decoder(&self) -> v1::Decoder {
        let mut decoder = v1::Decoder::new();
        decoder.set_framing(self.framing);
        decoder
    }

    fn tell(&self, n: usize, decoder: &mut v1::Decoder) {
        decoder.expect(self.frames.get(n).map_or(v1::Expect::Open, expected));
    }
}

/// A few frames, half of them messages: of all frames those have the most to get wrong.
fn frames<'a, F: Arbitrary<'a>, M: Arbitrary<'a>>(
    u: &mut Unstructured<'a>,
    message: impl Fn(M) -> F,
) -> Result<Vec<F>> {
    let frames: Vec<Either<F, M>> = few(u)?;
    let unified = frames.into_iter().map(|frame| match frame {
        Either::Any(frame) => frame,
        Either::Message(it) => message(it),
    });
    Ok(unified.collect())
}

#[derive(Arbitrary)]
enum Either<F, M> {
    Any(F),
    Message(M),
}

/// What the receiver expects when this frame comes.
fn expected(frame: &v1::Frame) -> v1::Expect {
    match frame {
        v1::Frame::Banner => v1::Expect::Banner,
        v1::Frame::Address(_) => v1::Expect::Address,
        v1::Frame::Connect(_) => v1::Expect::Connect,
        v1::Frame::Reply(_) => v1::Expect::Reply,
        v1::Frame::Seq(_) => v1::Expect::Seq,
        _ => v1::Expect::Open,
    }
}

/// A v2 stream: the banner, frames in the clear, and then perhaps sealed ones.
#[derive(Clone, Debug)]
pub struct StreamV2 {
    /// The framing; not taken from the banner.
    pub revision: v2::Revision,
    /// What frames are compressed with, from the first one on.
    pub compression: Option<v2::Compression>,
    /// The banner.
    pub banner: v2::Banner,
    /// Frames in the clear.
    pub clear: Vec<v2::Frame>,
    /// Sealed frames behind them.
    pub secure: Option<Secure>,
}

/// Sealed frames of [`StreamV2`], with the keys of [`SECRET`](super::SECRET).
#[derive(Clone, Debug)]
pub struct Secure {
    /// Whether the client sends them.
    pub from_client: bool,
    /// The frames.
    pub frames: Vec<v2::Frame>,
}

impl<'a> Arbitrary<'a> for StreamV2 {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        // NONE stands for methods that cannot be used: everything goes plain.
        let methods: Vec<_> = v2::Method::SUPPORTED.iter().chain(&[v2::Method::NONE]).copied().collect();
        let min_size = u.choose(&[1024, 0, 30])?;
        let compression = v2::Compression { method: *u.choose(&methods)?, min_size: *min_size };
        let compression = u.arbitrary::<bool>()?.then_some(compression);
        let (revision, banner) = (u.arbitrary()?, u.arbitrary()?);
        let secure = cfg!(feature = "secure") && u.arbitrary()?;
        let secure = if secure {
            Some(Secure { from_client: u.arbitrary()?, frames: frames(u, v2::Frame::Message)? })
        } else {
            None
        };
        Ok(Self { revision, compression, banner, clear: frames(u, v2::Frame::Message)?, secure })
    }
}

impl Stream for StreamV2 {
    fn encode(&self) -> std::result::Result<Bytes, Unencodable> {
        let mut encoder = v2::Encoder::new();
        encoder.set_revision(self.revision);
        encoder.set_compression(self.compression);
        let mut out = Chunks::new();
        encoder.encode(&v2::Frame::Banner(self.banner), &mut out)?;
        self.clear.iter().try_for_each(|frame| encoder.encode(frame, &mut out))?;
        #[cfg(feature = "secure")]
        if let Some(secure) = &self.secure {
            if let Ok(keys) = v2::Keys::from_secret(&SECRET) {
                // Keys come back only from a second call.
                let _ = encoder.set_keys(keys, secure.side());
            }
            secure.frames.iter().try_for_each(|frame| encoder.encode(frame, &mut out))?;
        }
        Ok(out.take_pieces().concat().into())
    }

    fn frames(&self) -> Vec<v2::Frame> {
        let sealed = self.secure.iter().flat_map(|secure| &secure.frames);
        std::iter::once(&v2::Frame::Banner(self.banner)).chain(&self.clear).chain(sealed).cloned().collect()
    }
}

impl Owner for StreamV2 {
    type Decoder = v2::Decoder;

    fn decoder(&self) -> v2::Decoder {
        let mut decoder = v2::Decoder::new();
        decoder.set_revision(self.revision);
        decoder.set_compression(self.compression.map(|compression| compression.method));
        decoder
    }

    fn tell(&self, n: usize, decoder: &mut v2::Decoder) {
        #[cfg(feature = "secure")]
        if let Some(secure) = self.secure.as_ref().filter(|_| n == 1 + self.clear.len())
            && let Ok(keys) = v2::Keys::from_secret(&SECRET)
        {
            // Told again while the first sealed frame is incomplete: the keys come back then.
            let _ = decoder.set_keys(keys, secure.side());
        }
        #[cfg(not(feature = "secure"))]
        let _ = (n, decoder);
    }
}

#[cfg(feature = "secure")]
impl Secure {
    fn side(&self) -> Side {
        if self.from_client { Side::Client } else { Side::Server }
    }
}
