//! Drivers that treat the buffers they are lent in every way but the expected one, and transcripts.

use bytes::{Bytes, BytesMut};
use cephwire_codec::v2::{Banner, Decoder, Encoder, Frame, Progress, Revision};
use cephwire_codec::{MsgrFeatures, Room, v1};

use crate::mode::{MODES, encoded};
use crate::{message, v1_bytes, v1_message};

/// What a driver does with the buffer that it is lent.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// Fills it.
    Full,
    /// Puts a few bytes in.
    Little,
    /// Drops it, as when a read is cancelled.
    Drops,
    /// Gives it back untouched.
    Untouched,
    /// Puts more in than there was room for.
    Grows,
    /// Gives back another one.
    Swaps,
    /// Has something decoded between lending and giving back.
    Late,
    /// Feeds copies.
    Feeds,
}

const HABITS: [&[Habit]; 9] = [
    &[Habit::Full],
    &[Habit::Little],
    &[Habit::Drops, Habit::Full],
    &[Habit::Untouched, Habit::Little, Habit::Untouched, Habit::Full],
    &[Habit::Grows],
    &[Habit::Swaps],
    &[Habit::Late, Habit::Little],
    &[Habit::Feeds, Habit::Drops],
    &[
        Habit::Little,
        Habit::Drops,
        Habit::Drops,
        Habit::Full,
        Habit::Grows,
        Habit::Late,
        Habit::Untouched,
        Habit::Swaps,
        Habit::Feeds,
        Habit::Late,
        Habit::Full,
    ],
];

#[test]
fn no_driver_loses_a_byte() {
    for mode in MODES {
        let mut encoder = mode.encoder();
        let frames = frames();
        let bytes: Vec<u8> = frames.iter().flat_map(|frame| encoded(&mut encoder, frame)).collect();
        for habits in HABITS {
            for posted in [false, true] {
                let mut decoder = mode.decoder();
                let found = drive(
                    &mut decoder,
                    &bytes,
                    habits,
                    posted,
                    Decoder::recv_buf,
                    Decoder::received,
                    Decoder::feed,
                    |decoder, posted, found| {
                        loop {
                            match decoder.next().unwrap() {
                                Progress::More => return,
                                Progress::Announced(_) => decoder.proceed(room(posted)),
                                Progress::Frame(frame) => found.push(frame),
                            }
                        }
                    },
                );
                assert_eq!(found.len(), frames.len(), "{} {habits:?}", mode.name);
                assert!(found == frames, "{} {habits:?} {posted}", mode.name);
            }
        }
    }
}

#[test]
fn no_driver_of_v1_loses_a_byte() {
    let frames = [
        v1_message(0, 0, 100_000),
        v1::Frame::Ack(1),
        v1_message(40_000, 33_000, 70_000),
        v1_message(100, 0, 0),
        v1::Frame::Keepalive,
        v1_message(0, 0, 32_768),
    ];
    let bytes: Vec<u8> = frames.iter().flat_map(v1_bytes).collect();
    for habits in HABITS {
        for posted in [false, true] {
            let mut decoder = v1::Decoder::new();
            decoder.expect(v1::Expect::Open);
            let found = drive(
                &mut decoder,
                &bytes,
                habits,
                posted,
                v1::Decoder::recv_buf,
                v1::Decoder::received,
                v1::Decoder::feed,
                |decoder, posted, found| {
                    loop {
                        match decoder.next().unwrap() {
                            v1::Progress::More => return,
                            v1::Progress::Announced(_) => decoder.proceed(room(posted)),
                            v1::Progress::Frame(frame) => found.push(frame),
                        }
                    }
                },
            );
            assert!(found == frames, "{habits:?} {posted}");
        }
    }
}

/// Brings the bytes in, one habit after the other.
#[expect(clippy::too_many_arguments, reason = "both decoders have these methods, and no trait")]
fn drive<D, F>(
    decoder: &mut D,
    mut bytes: &[u8],
    habits: &[Habit],
    posted: bool,
    lend: impl Fn(&mut D) -> BytesMut,
    give: impl Fn(&mut D, BytesMut),
    feed: impl Fn(&mut D, &[u8]),
    decode: impl Fn(&mut D, bool, &mut Vec<F>),
) -> Vec<F> {
    let mut found = Vec::new();
    for habit in habits.iter().cycle() {
        if bytes.is_empty() {
            decode(decoder, posted, &mut found);
            return found;
        }
        let mut buf = lend(decoder);
        assert!(buf.is_empty() && buf.capacity() > 0);
        let len = match habit {
            Habit::Full | Habit::Late => buf.capacity(),
            Habit::Little | Habit::Feeds => 1021,
            Habit::Grows => buf.capacity() + 50_021,
            Habit::Swaps => 777,
            Habit::Drops | Habit::Untouched => 0,
        };
        let (now, later) = bytes.split_at(len.min(bytes.len()));
        bytes = later;
        match habit {
            Habit::Drops => drop(buf),
            Habit::Feeds => {
                drop(buf);
                feed(decoder, now);
            }
            Habit::Swaps => {
                drop(buf);
                give(decoder, BytesMut::from(now));
            }
            Habit::Late => {
                decode(decoder, posted, &mut found);
                buf.extend_from_slice(now);
                give(decoder, buf);
                // Not decoded here: the next buffer is lent before that.
                continue;
            }
            _ => {
                buf.extend_from_slice(now);
                give(decoder, buf);
            }
        }
        decode(decoder, posted, &mut found);
    }
    found
}

fn room(posted: bool) -> Room {
    if posted { Room::Posted(BytesMut::with_capacity(100_000)) } else { Room::Own }
}

fn frames() -> Vec<Frame> {
    vec![
        Frame::Message(message(0, 0, 100_000)),
        Frame::Ack(1),
        Frame::Message(message(40_000, 33_000, 70_000)),
        Frame::AuthReplyMore(Bytes::from(vec![1; 50_000])),
        Frame::Message(message(100, 0, 0)),
        Frame::Wait,
        Frame::Message(message(0, 0, 32_768)),
    ]
}

/// The transcript is the bytes of the frames that were returned, and of no other.
#[test]
fn the_record_is_the_bytes_of_the_frames_returned() {
    for revision in [Revision::V2_0, Revision::V2_1] {
        for size in [1, 77, 5_003, 200_000] {
            let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
            encoder.set_revision(revision);
            decoder.set_revision(revision);
            let features = MsgrFeatures(1);
            let mut frames = vec![Frame::Banner(Banner { supported: features, required: features })];
            frames.extend(self::frames());
            let bytes: Vec<u8> = frames.iter().flat_map(|frame| encoded(&mut encoder, frame)).collect();
            decoder.record(true);
            let (mut record, mut seen) = (Vec::new(), 0);
            for piece in bytes.chunks(size) {
                let mut piece = piece;
                while !piece.is_empty() {
                    let mut buf = decoder.recv_buf();
                    let (now, later) = piece.split_at(buf.capacity().min(piece.len()));
                    buf.extend_from_slice(now);
                    decoder.received(buf);
                    piece = later;
                    while let Some(frame) = decoder.next_frame().unwrap() {
                        assert!(frame == frames[seen]);
                        seen += 1;
                        record.extend(decoder.take_record());
                        assert!(record == bytes[..decoder.offset() as usize], "{revision:?} {size} {seen}");
                    }
                    // Not of those that are on the way.
                    assert_eq!(decoder.take_record(), b"");
                }
            }
            assert_eq!((seen, record.len()), (frames.len(), bytes.len()));
        }
    }
}

#[test]
fn nothing_is_recorded_before_or_after() {
    let mode = MODES[1];
    let bytes = mode.bytes(&Frame::Ack(1));
    let mut decoder = mode.decoder();
    for (on, len) in [(None, 0), (Some(true), bytes.len()), (None, bytes.len()), (Some(false), 0), (None, 0)]
    {
        if let Some(on) = on {
            decoder.record(on);
        }
        decoder.feed(&bytes);
        assert_eq!(decoder.next_frame().unwrap(), Some(Frame::Ack(1)));
        assert_eq!(decoder.take_record().len(), len);
    }
}
