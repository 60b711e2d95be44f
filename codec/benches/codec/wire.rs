//! What is encoded and decoded, in which framing?

use std::hint::black_box;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use cephwire_codec::{Chunks, Header, Limits, Message, MessageType, Payload, Room, Side, v1, v2};

use crate::measure::{Round, Stopwatch};

/// A protocol and its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    V1,
    V2Crc,
    V2Secure,
}

/// Which messages go over which link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) link: Link,
    pub(crate) front: usize,
    pub(crate) data: usize,
}

/// How a decoder is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reader {
    /// With the default limits: large data comes in pieces.
    Default,
    /// With `ahead` raised: all data is one piece.
    OnePiece,
}

impl Link {
    pub(crate) const ALL: [Self; 3] = [Self::V1, Self::V2Crc, Self::V2Secure];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2Crc => "v2.1 crc",
            Self::V2Secure => "v2.1 secure",
        }
    }

    pub(crate) fn is_secure(self) -> bool {
        self == Self::V2Secure
    }
}

impl Case {
    /// Messages in a round: enough that reading the clock does not count, few enough for the L2 cache
    /// (but for data of 4 MiB).
    pub(crate) fn batch(self) -> usize {
        match self.data {
            0..=4096 => 64,
            4097..=65536 => 4,
            _ => 1,
        }
    }

    /// What a filter on the command line is compared with, `v2.1 crc/200/4194304` for example.
    pub(crate) fn name(self) -> String {
        format!("{}/{}/{}", self.link.name(), self.front, self.data)
    }

    pub(crate) fn payload_len(self) -> usize {
        self.front + self.data
    }

    /// Bytes of a message that a crc covers, or that are sealed: what the bare pass goes over.
    pub(crate) fn covered(self) -> usize {
        let padded = |len: usize| len.next_multiple_of(16);
        match self.link {
            Link::V1 => v1::MESSAGE_HEADER_LEN - 4 + self.payload_len(),
            Link::V2Crc => v2::PREAMBLE_LEN - 4 + v2::MESSAGE_HEADER_LEN + self.payload_len(),
            Link::V2Secure => {
                let epilogue = if self.payload_len() > 0 { 16 } else { 0 };
                v2::PREAMBLE_LEN + 48 + padded(self.front) + padded(self.data) + epilogue
            }
        }
    }

    fn message(self, n: usize) -> Message {
        let bytes = |len: usize| -> Payload {
            Bytes::from((0..len).map(|i| (i * 7 + n * 13 + i / 251) as u8).collect::<Vec<u8>>()).into()
        };
        Message {
            header: Header {
                kind: MessageType::OSD_OP,
                priority: 127,
                version: 8,
                compat_version: 3,
                tid: n as u64,
                data_off: 0,
            },
            front: bytes(self.front),
            middle: Payload::new(),
            data: bytes(self.data),
        }
    }
}

/// What the encoders of both protocols have in common.
trait Encode: 'static {
    type Frame: 'static;
    fn frame(message: Message, seq: u64) -> Self::Frame;
    fn encode(&mut self, frame: &Self::Frame, out: &mut Chunks);
}

impl Encode for v1::Encoder {
    type Frame = v1::MessageFrame;

    fn frame(message: Message, seq: u64) -> Self::Frame {
        v1::MessageFrame { seq, message, ..Default::default() }
    }

    #[inline]
    fn encode(&mut self, frame: &Self::Frame, out: &mut Chunks) {
        must(self.encode_message(frame, out));
    }
}

impl Encode for v2::Encoder {
    type Frame = v2::MessageFrame;

    fn frame(message: Message, seq: u64) -> Self::Frame {
        v2::MessageFrame { seq, message, ..Default::default() }
    }

    #[inline]
    fn encode(&mut self, frame: &Self::Frame, out: &mut Chunks) {
        must(self.encode_message(frame, out));
    }
}

/// What the decoders of both protocols have in common.
trait Decode: 'static {
    fn lend(&mut self) -> BytesMut;
    /// Takes a filled buffer, decodes as far as it reaches and drops the messages; how many those were.
    fn take(&mut self, filled: BytesMut) -> usize;
}

macro_rules! decode {
    ($protocol:ident) => {
        impl Decode for $protocol::Decoder {
            #[inline]
            fn lend(&mut self) -> BytesMut {
                self.recv_buf()
            }

            #[inline]
            fn take(&mut self, filled: BytesMut) -> usize {
                self.received(filled);
                let mut messages = 0;
                loop {
                    match must(self.next()) {
                        $protocol::Progress::More => return messages,
                        $protocol::Progress::Announced(announcement) => {
                            black_box(&announcement);
                            self.proceed(Room::Own);
                        }
                        $protocol::Progress::Frame(frame) => {
                            black_box(&frame);
                            messages += 1;
                        }
                    }
                }
            }
        }
    };
}
decode!(v1);
decode!(v2);

pub(crate) fn encode(case: Case, batch: usize) -> Round {
    match case.link {
        Link::V1 => encode_with(v1::Encoder::new(), case, batch),
        Link::V2Crc | Link::V2Secure => encode_with(v2_encoder(case.link), case, batch),
    }
}

fn encode_with<E: Encode>(mut encoder: E, case: Case, batch: usize) -> Round {
    let frames = frames::<E>(case, batch);
    let mut out = Chunks::new();
    Box::new(move |watch: &mut Stopwatch| {
        watch.time(|| {
            for frame in &frames {
                encoder.encode(frame, &mut out);
            }
            while out.has_remaining() {
                // As a driver writes: a vectored write, and it took everything it was given.
                let mut slices = [IoSlice::new(&[]); 64];
                let count = out.io_slices(&mut slices);
                let written = black_box(&slices).iter().take(count).map(|slice| slice.len()).sum();
                out.advance(written);
            }
        });
    })
}

pub(crate) fn decode(case: Case, batch: usize, reader: Reader) -> Round {
    let mut limits = Limits::default();
    if matches!(reader, Reader::OnePiece) {
        limits.ahead = 2 * limits.data;
    }
    match case.link {
        Link::V1 => {
            let mut decoder = v1::Decoder::new();
            decoder.expect(v1::Expect::Open);
            decoder.set_limits(limits);
            decode_with(decoder, v1::Encoder::new(), case, batch)
        }
        Link::V2Crc | Link::V2Secure => {
            let mut decoder = v2::Decoder::mid_stream(v2::Revision::V2_1, 0);
            decoder.set_limits(limits);
            if case.link.is_secure() {
                must(decoder.set_keys(keys(), Side::Client));
            }
            decode_with(decoder, v2_encoder(case.link), case, batch)
        }
    }
}

fn decode_with<D: Decode, E: Encode>(mut decoder: D, mut encoder: E, case: Case, batch: usize) -> Round {
    let frames = frames::<E>(case, batch);
    let mut out = Chunks::new();
    let mut stream = Vec::new();
    Box::new(move |watch: &mut Stopwatch| {
        // Sealed frames are good for once only.
        if stream.is_empty() || case.link.is_secure() {
            frames.iter().for_each(|frame| encoder.encode(frame, &mut out));
            stream.clear();
            while out.has_remaining() {
                stream.extend_from_slice(out.chunk());
                out.advance(out.chunk().len());
            }
        }
        let (mut left, mut messages) = (&stream[..], 0);
        while !left.is_empty() {
            let mut lent = watch.time(|| decoder.lend());
            let (now, later) = left.split_at(lent.capacity().min(left.len()));
            lent.extend_from_slice(now);
            messages += watch.time(|| decoder.take(lent));
            left = later;
        }
        assert_eq!(messages, batch, "every message must be decoded");
    })
}

fn frames<E: Encode>(case: Case, batch: usize) -> Vec<E::Frame> {
    (0..batch).map(|n| E::frame(case.message(n), n as u64 + 1)).collect()
}

fn v2_encoder(link: Link) -> v2::Encoder {
    let mut encoder = v2::Encoder::new();
    if link.is_secure() {
        must(encoder.set_keys(keys(), Side::Client));
    }
    encoder
}

fn keys() -> v2::Keys {
    must(v2::Keys::from_secret(&[0x5a; 64]))
}

/// A benchmark of calls that fail measures nothing.
#[inline]
#[expect(clippy::panic, reason = "there is nobody to tell")]
pub(crate) fn must<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error:?}"),
    }
}
