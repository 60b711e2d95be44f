//! What does the owner of a decoder know of a stream that came out of the fuzzer? The first bytes of the input say so.

use cephwire_codec::arbitrary::{Owner, SECRET};
use cephwire_codec::v2::{Keys, Method, Revision};
use cephwire_codec::{Limits, Side, v1, v2};

use crate::forge;

/// The bytes of an input that are settings.
pub const HEAD: usize = 9;

/// Of a v1 stream.
///
/// ```text
/// 0        1 … 8                                        9
/// │ flags │ what to expect, until 0; then open │ stream │
/// ```
#[derive(Debug)]
pub struct SettingsV1 {
    framing: v1::Framing,
    lenient: bool,
    tight: bool,
    order: Vec<v1::Expect>,
}

impl SettingsV1 {
    /// Cuts the settings off.
    pub fn split(data: &[u8]) -> Option<(Self, &[u8])> {
        let ([flags, order @ ..], stream) = data.split_first_chunk::<HEAD>()?;
        let bit = |n: u8| flags >> n & 1 == 0;
        let expect = |number: &u8| match number % 6 {
            1 => v1::Expect::Banner,
            2 => v1::Expect::Address,
            3 => v1::Expect::Connect,
            4 => v1::Expect::Reply,
            5 => v1::Expect::Seq,
            _ => v1::Expect::Open,
        };
        let order = order.iter().take_while(|number| **number != 0).map(expect).collect();
        let framing = v1::Framing { signature: bit(0), header_crc: bit(1), data_crc: bit(2) };
        Some((Self { framing, lenient: !bit(3), tight: !bit(4), order }, stream))
    }
}

impl Owner for SettingsV1 {
    type Decoder = v1::Decoder;

    fn decoder(&self) -> v1::Decoder {
        let mut decoder = v1::Decoder::new();
        decoder.set_framing(self.framing);
        decoder.set_lenient(self.lenient);
        decoder.set_limits(limits(self.tight));
        decoder
    }

    fn tell(&self, n: usize, decoder: &mut v1::Decoder) {
        decoder.expect(self.order.get(n).copied().unwrap_or(v1::Expect::Open));
    }
}

/// Of a v2 stream.
///
/// ```text
/// 0        1             2 … 8     9
/// │ flags │ compression │ unused │ stream, or fields of frames
/// ```
#[derive(Debug)]
pub struct SettingsV2 {
    revision: Revision,
    lenient: bool,
    tight: bool,
    banner: bool,
    forged: bool,
    method: Option<Method>,
    sealed: Option<Side>,
}

impl SettingsV2 {
    /// Cuts the settings off.
    pub fn split(data: &[u8], sealed: bool) -> Option<(Self, &[u8])> {
        let ([flags, method, ..], stream) = data.split_first_chunk::<HEAD>()?;
        let bit = |n: u8| flags >> n & 1 == 1;
        let side = if bit(5) { Side::Server } else { Side::Client };
        let settings = Self {
            revision: if bit(0) { Revision::V2_0 } else { Revision::V2_1 },
            lenient: bit(1),
            tight: bit(2),
            banner: !bit(3) && !sealed,
            forged: bit(4) || sealed,
            method: (method % 8).checked_sub(1).map(|number| Method(number.into())),
            sealed: sealed.then_some(side),
        };
        Some((settings, stream))
    }

    /// What arrives: the input, or frames made of it.
    pub fn bytes(&self, input: &[u8]) -> Vec<u8> {
        if self.forged {
            forge::frames(input, self.revision, self.sealed, self.banner)
        } else {
            input.to_vec()
        }
    }
}

impl Owner for SettingsV2 {
    type Decoder = v2::Decoder;

    fn decoder(&self) -> v2::Decoder {
        let mut decoder = v2::Decoder::new();
        if !self.banner {
            decoder = v2::Decoder::mid_stream(self.revision, 0);
        }
        decoder.set_revision(self.revision);
        decoder.set_compression(self.method);
        decoder.set_lenient(self.lenient);
        decoder.set_limits(limits(self.tight));
        if let Some(side) = self.sealed {
            let keys = Keys::from_secret(&SECRET).expect("long enough");
            decoder.set_keys(keys, side).expect("the first keys");
        }
        decoder
    }

    fn tell(&self, _: usize, _: &mut v2::Decoder) {}
}

/// The default ones, or some so tight that inputs exceed them.
fn limits(tight: bool) -> Limits {
    if tight {
        Limits { front: 100, middle: 10, data: 35_000, authorizer: 64, handshake: 128, ahead: 0 }
    } else {
        Limits::default()
    }
}
