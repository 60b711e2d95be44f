//! Is memory reserved only for bytes that have arrived?
//!
//! The allocator counts. What is promised: [`Limits::ahead`] beyond the bytes that arrived, here its
//! default of 64 KiB; the bookkeeping of pieces comes on top.
//!
//! | stream | memory while a large message arrives |
//! |---|---|
//! | v1, v2 in crc mode | what arrived + `ahead` |
//! | v2 in secure mode | the same until the last byte; then its pieces are copied together once, as a GCM message is opened in one buffer, and for that moment there are two of them |
//!
//! zstd's own working memory is C's and not counted.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cephwire_codec::v2::{Compression, Frame, MessageFrame, Method, Preamble, Revision, Tag};
use cephwire_codec::{Chunks, Limits, Malformed, Message, Room, Timestamp, v1, v2};
use mode::{MODES, Mode, encoded};
use peak_alloc::PeakAlloc;

#[path = "vectors/mode.rs"]
mod mode;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const AHEAD: usize = 64 << 10;
const LARGE: usize = 4 << 20;
/// The decoder itself, its boxes, and for each piece of 32 KiB a header and two entries in a vector.
const BOOKKEEPING: usize = (4 << 10) + LARGE / (32 << 10) * 128;
const WIDE: Limits = Limits {
    front: u32::MAX,
    middle: u32::MAX,
    data: u32::MAX,
    authorizer: u32::MAX,
    handshake: u32::MAX,
    ahead: AHEAD as u32,
};

#[test]
fn announcing_gigabytes_reserves_nothing() {
    let _alone = alone();
    let all = u32::MAX.to_le_bytes();
    // v1: a tag, a header with three lengths, four bytes of front.
    let mut header = [&[0; 22][..], &all, &all, &all, &[0; 15]].concat();
    header.extend(cephwire_codec::crc::crc32c(0, &header).to_le_bytes());
    let one = [&[7], &header[..], b"fron"].concat();
    assert_eq!(one.len(), 58);
    for (limits, accepted) in [(Limits::default(), false), (WIDE, true)] {
        let base = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let mut decoder = Decoder::v1(limits);
        let result = decoder.feed(&one);
        assert_eq!(result.is_ok(), accepted, "{result:?}");
        drop(decoder.lend());
        assert!(HEAP.peak_usage() - base < AHEAD, "v1: {}", HEAP.peak_usage() - base);
        drop(decoder);
    }
    // v2: a preamble with three lengths and part of a header. In 2.1 the header comes first.
    for mode in MODES {
        for (tag, lengths) in [
            (Tag::Message, [41, u32::MAX, u32::MAX, u32::MAX]),
            (Tag::Message, [41, 0, 0, u32::MAX]),
            (Tag::AuthRequest, [u32::MAX, 0, 0, 0]),
        ] {
            let preamble = Preamble::new(tag as u8, lengths, [8; 4]).to_bytes();
            let bytes = announcing(*mode, &preamble);
            for (limits, accepted) in [(Limits::default(), false), (WIDE, true)] {
                let base = HEAP.current_usage();
                HEAP.reset_peak_usage();
                let mut decoder = Decoder::v2(*mode, limits);
                let result = decoder.feed(&bytes);
                assert_eq!(result.is_ok(), accepted, "{result:?}");
                drop(decoder.lend());
                let peak = HEAP.peak_usage() - base;
                assert!(peak < AHEAD, "{} {lengths:?}: {peak}", mode.name);
                drop(decoder);
            }
        }
    }
}

#[test]
fn a_large_message_takes_what_has_arrived_and_a_little() {
    let _alone = alone();
    // Less of what is sealed: opening it takes its time in debug builds.
    let len = |mode: &Mode| if mode.secure { LARGE / 4 } else { LARGE };
    let streams: Vec<Vec<u8>> =
        MODES.iter().map(|mode| mode.bytes(&Frame::Message(message(len(mode))))).collect();
    let v1 = one();
    for size in [17, 251, 1021, 4093, 16381, 32749, 65521] {
        for fed in [false, true] {
            arrive("v1", Decoder::v1(Limits::default()), &v1, size, fed, 0);
            for (mode, bytes) in MODES.iter().zip(&streams) {
                // The copy of a sealed message is made when all of it has arrived.
                let copied = if mode.secure { len(mode) } else { 0 };
                arrive(mode.name, Decoder::v2(*mode, Limits::default()), bytes, size, fed, copied);
            }
        }
    }
}

/// Control payloads and authorizers are collected in the block, which moves while it grows: for that moment
/// there are two of it.
#[test]
fn the_longest_control_payloads_take_little_more_than_their_size() {
    let _alone = alone();
    let payload = Bytes::from(vec![1; (64 << 10) - 4]);
    let connect = v1::Connect { authorizer: vec![1; 64 << 10].into(), ..v1::Connect::default() };
    let mut out = Chunks::new();
    v1::Encoder::new().encode(&v1::Frame::Connect(connect), &mut out).unwrap();
    let connect = out.take_pieces().concat();
    for size in [251, 4093, 65521] {
        for mode in MODES {
            let bytes = mode.bytes(&Frame::AuthReplyMore(payload.clone()));
            arrive(mode.name, Decoder::v2(*mode, Limits::default()), &bytes, size, false, AHEAD);
        }
        let mut decoder = v1::Decoder::new();
        decoder.expect(v1::Expect::Connect);
        arrive("connect", Decoder::V1(Box::new(decoder)), &connect, size, false, AHEAD);
    }
}

/// With `ahead` raised to twice the data, a sealed message is one piece too, and nothing is copied.
#[cfg(feature = "secure")]
#[test]
fn a_sealed_message_is_not_copied_if_it_may_be_one_piece() {
    let _alone = alone();
    for mode in MODES.iter().filter(|mode| mode.secure) {
        let bytes = mode.bytes(&Frame::Message(message(LARGE)));
        let ahead = 2 * LARGE + (64 << 10);
        let decoder = Decoder::v2(*mode, Limits { ahead: ahead as u32, ..Limits::default() });
        let base = HEAP.current_usage();
        HEAP.reset_peak_usage();
        run(decoder, &bytes, 65521, false, |_| {});
        let peak = HEAP.peak_usage() - base;
        assert!(peak < LARGE + 2 * AHEAD, "{}: {peak}", mode.name);
    }
}

#[test]
fn idle_streams_keep_small_blocks() {
    let _alone = alone();
    for mode in MODES {
        let mut encoder = mode.encoder();
        let mut rush = encoded(&mut encoder, &Frame::Message(message(LARGE)));
        for n in 0..2000 {
            rush.extend(encoded(&mut encoder, &Frame::Ack(n)));
        }
        let base = HEAP.current_usage();
        let mut decoder = Decoder::v2(*mode, Limits::default());
        decoder.arrive(&rush, 65521);
        for n in 0..20 {
            let bytes = encoded(&mut encoder, &Frame::Keepalive2(Timestamp { sec: n, nsec: 0 }));
            decoder.arrive(&bytes, bytes.len());
        }
        let lent = decoder.lend();
        let kept = HEAP.current_usage() - base;
        assert!(kept <= 12 << 10, "{}: {kept}", mode.name);
        drop(lent);
    }
}

/// Whatever is compressed, it is inflated to no more than the limit, and what is refused is refused
/// with little memory.
#[test]
fn compressed_frames_inflate_to_no_more_than_the_limit() {
    let _alone = alone();
    for &method in Method::SUPPORTED {
        let mode = MODES[1];
        let mut encoder = mode.encoder();
        encoder.set_compression(Some(Compression { method, min_size: 0 }));
        let bomb = encoded(&mut encoder, &Frame::Message(message(LARGE)));
        assert!(bomb.len() < LARGE / 10, "{method}");
        for limit in [1 << 10, 64 << 10, 1 << 20, LARGE - 1] {
            let limits = Limits { data: limit as u32, ..Limits::default() };
            // The frame itself may be too long for the limit already.
            let base = HEAP.current_usage();
            HEAP.reset_peak_usage();
            let mut decoder = v2::Decoder::mid_stream(mode.revision, 0);
            decoder.set_compression(Some(method));
            decoder.set_limits(limits);
            let mut decoder = Decoder::V2(Box::new(decoder));
            assert!(decoder.feed(&bomb).is_err(), "{method}");
            let peak = HEAP.peak_usage() - base;
            // The frame is fed as a whole, and its pieces are copied together.
            let allowed = 4 * bomb.len() + 2 * limit + 2 * AHEAD;
            assert!(peak < allowed, "{method} {limit}: {peak} of {allowed}");
            drop(decoder);
        }
    }
}

/// A few bytes that announce much: none of the methods can hold so much in them.
#[test]
fn small_blocks_cannot_reserve_much() {
    let _alone = alone();
    let much = 60u32 << 20;
    let mut varint = Vec::new();
    let mut left = much;
    while left > 0x7f {
        varint.push(left as u8 | 0x80);
        left >>= 7;
    }
    varint.push(left as u8);
    for &method in Method::SUPPORTED {
        let block = match method {
            Method::SNAPPY => [&varint[..], &[0xfe; 8]].concat(),
            // Its length is not announced; a stream of zeros does not end in a few bytes.
            Method::ZLIB => [0, 0xed, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe].to_vec(),
            Method::ZSTD => [&much.to_le_bytes()[..], b"\x28\xb5\x2f\xfd\xa4\0\0\xc0\x03\x03\0\0"].concat(),
            Method::LZ4 => [&[1, 0, 0, 0], &much.to_le_bytes()[..], &[4, 0, 0, 0, 0x1f, 0, 1, 0xff]].concat(),
            other => panic!("{other:?}"),
        };
        let mut preamble = Preamble::new(Tag::AuthReplyMore as u8, [block.len() as u32, 0, 0, 0], [8; 4]);
        preamble.flags = Preamble::COMPRESSED;
        let crc = cephwire_codec::crc::crc32c(u32::MAX, &block).to_le_bytes();
        let bytes = [&preamble.to_bytes()[..], &block, &crc].concat();
        let base = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let mut decoder = v2::Decoder::mid_stream(Revision::V2_1, 0);
        decoder.set_compression(Some(method));
        decoder.set_limits(Limits { handshake: 64 << 20, ..Limits::default() });
        let mut decoder = Decoder::V2(Box::new(decoder));
        assert!(decoder.feed(&bytes).is_err(), "{method}");
        let peak = HEAP.peak_usage() - base;
        assert!(peak < 2 * AHEAD, "{method}: {peak}");
    }
}

/// Memory at every step while `bytes` arrive in pieces of `size`.
fn arrive(name: &str, decoder: Decoder, bytes: &[u8], size: usize, fed: bool, copied: usize) {
    // What is fed at once is there as a whole before any of it is decoded.
    let ahead = AHEAD + BOOKKEEPING + if fed { size } else { 0 };
    let base = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let (mut worst, mut at) = (0, 0);
    run(decoder, bytes, size, fed, |arrived| {
        let beyond = (HEAP.current_usage() - base).saturating_sub(arrived);
        let peak = (HEAP.peak_usage() - base).saturating_sub(arrived);
        HEAP.reset_peak_usage();
        assert!(beyond <= ahead, "{name} in {size}, fed {fed}: {beyond} beyond {arrived}");
        if peak > worst {
            (worst, at) = (peak, arrived);
        }
    });
    assert!(worst <= ahead + copied, "{name} in {size}, fed {fed}: at most {worst} beyond {at}");
}

/// Lets `bytes` arrive in pieces; `look` sees after each how many there are. The frame is the last thing.
fn run(mut decoder: Decoder, bytes: &[u8], size: usize, fed: bool, mut look: impl FnMut(usize)) {
    let mut arrived = 0;
    let mut frames = 0;
    while arrived < bytes.len() {
        let piece = if fed {
            let piece = &bytes[arrived..bytes.len().min(arrived + size)];
            frames += decoder.feed(piece).unwrap();
            piece.len()
        } else {
            let (len, more) = decoder.read(&bytes[arrived..], size);
            frames += more;
            len
        };
        arrived += piece;
        look(arrived);
    }
    assert_eq!(frames, 1);
}

/// Either decoder, let loose: what is announced may come, what is decoded is dropped.
enum Decoder {
    V1(Box<v1::Decoder>),
    V2(Box<v2::Decoder>),
}

impl Decoder {
    fn v1(limits: Limits) -> Self {
        let mut decoder = v1::Decoder::new();
        decoder.set_limits(limits);
        decoder.expect(v1::Expect::Open);
        Self::V1(Box::new(decoder))
    }

    fn v2(mode: Mode, limits: Limits) -> Self {
        let mut decoder = mode.decoder();
        decoder.set_limits(limits);
        Self::V2(Box::new(decoder))
    }

    fn lend(&mut self) -> bytes::BytesMut {
        match self {
            Self::V1(decoder) => decoder.recv_buf(),
            Self::V2(decoder) => decoder.recv_buf(),
        }
    }

    /// Feeds bytes; the number of frames that they complete.
    fn feed(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        match self {
            Self::V1(decoder) => decoder.feed(bytes),
            Self::V2(decoder) => decoder.feed(bytes),
        }
        self.frames()
    }

    /// Reads up to `size` bytes as from a socket; how many, and the number of frames completed.
    fn read(&mut self, bytes: &[u8], size: usize) -> (usize, usize) {
        let mut buf = self.lend();
        assert!(buf.is_empty() && buf.capacity() > 0);
        let len = size.min(buf.capacity()).min(bytes.len());
        buf.extend_from_slice(&bytes[..len]);
        match self {
            Self::V1(decoder) => decoder.received(buf),
            Self::V2(decoder) => decoder.received(buf),
        }
        (len, self.frames().unwrap())
    }

    fn arrive(&mut self, bytes: &[u8], size: usize) {
        let mut at = 0;
        while at < bytes.len() {
            at += self.read(&bytes[at..], size).0;
        }
    }

    fn frames(&mut self) -> Result<usize, Malformed> {
        let mut frames = 0;
        loop {
            match self {
                Self::V1(decoder) => match decoder.next()? {
                    v1::Progress::More => return Ok(frames),
                    v1::Progress::Announced(_) => decoder.proceed(Room::Own),
                    v1::Progress::Frame(_) => frames += 1,
                },
                Self::V2(decoder) => match decoder.next()? {
                    v2::Progress::More => return Ok(frames),
                    v2::Progress::Announced(_) => decoder.proceed(Room::Own),
                    v2::Progress::Frame(_) => frames += 1,
                },
            }
        }
    }
}

/// A preamble with what must follow it to be read, and nothing of what it announces.
fn announcing(mode: Mode, preamble: &[u8; 32]) -> Vec<u8> {
    match (mode.revision, mode.secure) {
        (Revision::V2_0, false) => [&preamble[..], &[0; 26]].concat(),
        (Revision::V2_1, false) => {
            let crc = cephwire_codec::crc::crc32c(u32::MAX, &[0; 41]).to_le_bytes();
            [&preamble[..], &[0; 41], &crc].concat()
        }
        #[cfg(feature = "secure")]
        (revision, true) => {
            use aes_gcm::aead::AeadInOut as _;
            use aes_gcm::{Aes128Gcm, KeyInit as _};
            let key: [u8; 16] = std::array::from_fn(|i| i as u8);
            let nonce: [u8; 12] = std::array::from_fn(|i| 28 + i as u8);
            let mut text = [&preamble[..], &[0; 48]].concat();
            let cipher = Aes128Gcm::new(&key.into());
            let tag = cipher.encrypt_inout_detached(&nonce.into(), &[], text.as_mut_slice().into()).unwrap();
            // In 2.0 the tag is at the end of the frame.
            if revision == Revision::V2_1 { [&text[..], &tag].concat() } else { text }
        }
        #[cfg(not(feature = "secure"))]
        (_, true) => Vec::new(),
    }
}

fn message(data: usize) -> MessageFrame {
    let message = Message {
        front: b"front".to_vec().into(),
        data: Bytes::from(vec![0; data]).into(),
        ..Message::default()
    };
    MessageFrame { seq: 1, message, ..MessageFrame::default() }
}

/// The same message in v1.
fn one() -> Vec<u8> {
    let message = message(LARGE).message;
    let frame = v1::Frame::Message(v1::MessageFrame { seq: 1, message, ..v1::MessageFrame::default() });
    let mut out = Chunks::new();
    v1::Encoder::new().encode(&frame, &mut out).unwrap();
    out.take_pieces().concat()
}

/// The allocator counts for the whole process: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
