//! Are frames as long as Ceph's own frame test says (`frame-lengths.txt`)?

use bytes::Bytes;
use cephwire_codec::v2::{Frame, MessageFrame, Preamble, Revision, Tag};
use cephwire_codec::{Message, Payload};

use crate::mode::{MODES, Mode, encoded};
use crate::table::rows;

/// The modes in the order of the columns.
const COLUMNS: [(&str, Revision, bool); 4] = [
    ("rev0-crc", Revision::V2_0, false),
    ("rev0-secure", Revision::V2_0, true),
    ("rev1-crc", Revision::V2_1, false),
    ("rev1-secure", Revision::V2_1, true),
];
const ALIGNMENTS: [u16; 4] = [8, 8, 8, 4096];
const HEADER: u32 = 41;

#[test]
fn preambles_say_how_long_frames_are() {
    for row in table() {
        let preamble = Preamble::new(Tag::Message as u8, row.lengths, ALIGNMENTS);
        assert_eq!(preamble.num_segments, row.segments, "{row:?}");
        assert_eq!(Preamble::parse(&preamble.to_bytes(), 0), Ok(preamble), "{row:?}");
        for ((name, revision, secure), (parts, total)) in COLUMNS.into_iter().zip(&row.modes) {
            let wire = preamble.wire_lengths(revision, secure);
            let mut found = vec![wire.preamble];
            found.extend_from_slice(&wire.segments[..row.segments.into()]);
            found.push(wire.epilogue);
            assert_eq!(&found, parts, "{name} {row:?}");
            assert_eq!(wire.total(), *total, "{name} {row:?}");
        }
    }
}

/// Ceph's test "Basic", with the frames that exist: a message where there are parts, and as many
/// header bytes as messages have.
#[test]
fn a_frame_has_the_length_of_its_row() {
    for (mode, row) in cases() {
        let (frame, total) = row.frame(mode);
        let bytes = mode.bytes(&frame);
        assert_eq!(bytes.len() as u64, total, "{} {row:?}", mode.name);
        let mut decoder = mode.decoder();
        decoder.feed(&bytes);
        assert_eq!(decoder.next_frame().unwrap(), Some(frame), "{} {row:?}", mode.name);
        let last = *decoder.last();
        assert_eq!((last.offset, last.len, last.secure), (0, total, mode.secure), "{} {row:?}", mode.name);
        assert_eq!(last.preamble.wire_lengths(mode.revision, mode.secure).total(), total, "{row:?}");
        assert!(!decoder.has_partial(), "{} {row:?}", mode.name);
    }
}

/// Ceph's test "Reuse": three frames through the same pair, so that nonces count on.
#[test]
fn three_frames_through_one_pair_have_their_lengths() {
    for (mode, row) in cases() {
        let (mut encoder, mut decoder) = (mode.encoder(), mode.decoder());
        let (frame, total) = row.frame(mode);
        for n in 0..3 {
            let bytes = encoded(&mut encoder, &frame);
            assert_eq!(bytes.len() as u64, total, "{} {row:?}", mode.name);
            decoder.feed(&bytes);
            assert_eq!(decoder.next_frame().unwrap().as_ref(), Some(&frame), "{} {row:?}", mode.name);
            assert_eq!(decoder.offset(), (n + 1) * total);
        }
    }
}

#[derive(Debug)]
struct Row {
    /// Header, front, middle, data.
    lengths: [u32; 4],
    segments: u8,
    /// For each of [`COLUMNS`], the parts and their sum.
    modes: Vec<(Vec<u64>, u64)>,
}

impl Row {
    /// A frame for this row and its length: of a row without parts a control frame, else a message.
    fn frame(&self, mode: Mode) -> (Frame, u64) {
        let column = COLUMNS.iter().position(|(name, ..)| *name == mode.name).unwrap();
        let (parts, total) = &self.modes[column];
        let [header, front, middle, data] = self.lengths;
        if [front, middle, data] == [0; 3] {
            return (control(header as usize), *total);
        }
        let message = Message {
            front: filled(b'F', front),
            middle: filled(b'M', middle),
            data: filled(b'D', data),
            ..Message::default()
        };
        let frame = Frame::Message(MessageFrame { seq: 1, message, ..MessageFrame::default() });
        // The row's own first segment is replaced by one of 41 bytes.
        let header = Preamble::new(Tag::Message as u8, [HEADER, 0, 0, 0], ALIGNMENTS);
        let header = header.wire_lengths(mode.revision, mode.secure);
        (frame, header.preamble + header.segments[0] + parts[2..].iter().sum::<u64>())
    }
}

/// A control frame whose payload has this length.
fn control(len: usize) -> Frame {
    match len {
        0 => Frame::Wait,
        1 => Frame::SessionReset { full: true },
        _ => Frame::AuthReplyMore(Bytes::from(vec![b'H'; len - 4])),
    }
}

fn filled(byte: u8, len: u32) -> Payload {
    vec![byte; len as usize].into()
}

fn cases() -> Vec<(Mode, Row)> {
    let cases: Vec<(Mode, Row)> =
        MODES.iter().flat_map(|mode| table().into_iter().map(|row| (*mode, row))).collect();
    assert_eq!(cases.len(), 36 * if cfg!(feature = "secure") { 4 } else { 2 });
    cases
}

fn table() -> Vec<Row> {
    let rows = rows("frame-lengths.txt", 13);
    assert_eq!(rows.len(), 36);
    rows.iter()
        .map(|row| Row {
            lengths: [0, 1, 2, 3].map(|column: usize| row[column].parse().unwrap()),
            segments: row[4].parse().unwrap(),
            modes: row[5..]
                .chunks_exact(2)
                .map(|pair| {
                    let parts = pair[0].split(',').map(|part| part.parse().unwrap()).collect();
                    (parts, pair[1].parse().unwrap())
                })
                .collect(),
        })
        .collect()
}
