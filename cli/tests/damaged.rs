//! What is left of a capture that lacks its beginning, lacks packets or has wrong bytes?
//!
//! Captures of `testdata/` are damaged in memory; what they were before says what must come out.

#![expect(clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;

use cephwire_cli::decode::{Record, Summary, What};
use cephwire_codec::{Side, v1, v2};
use proptest::prelude::*;
use support::packets::{self, Packet};
use support::{Capture, decode_bytes, file};

const V1: &str = "pacific-v1-cephx-bad-ticket-alpha";
const V1_PEERS: &str = "nautilus-simple-v1-cephx-peers-alpha";
const V2: &str = "pacific-v2crc-cephx-keepalive-timeout-alpha";
const V2_PEERS: &str = "pacific-v2crc-cephx-osd-pause-alpha";
const COMPRESSED: [&str; 3] = [
    "reef-snappy-v2crc-cephx-peers-alpha",
    "reef-zlib-v2crc-cephx-peers-alpha",
    "reef-zstd-v2crc-none-peers-alpha",
];

/// One direction of a connection, however its number changes.
type Direction = (SocketAddr, SocketAddr);

/// A capture's packets, and what is in it when nothing is damaged.
struct Whole {
    packets: Vec<Packet>,
    capture: Capture,
}

impl Whole {
    fn new(name: &str) -> Self {
        let packets = packets::read(&file(name));
        let capture = decode(&packets);
        assert!(capture.records.iter().all(|record| !record.is_error()), "{name}");
        Self { packets, capture }
    }

    /// What the capture is without some of its packets.
    fn without(&self, dropped: impl Fn(usize) -> bool) -> Capture {
        let kept = self.packets.iter().enumerate().filter(|(n, _)| !dropped(*n));
        decode(&kept.map(|(_, packet)| packet.clone()).collect::<Vec<_>>())
    }
}

fn decode(packets: &[Packet]) -> Capture {
    let capture = decode_bytes("damaged".to_owned(), &packets::write(packets));
    assert_accounted(&capture);
    capture
}

/// Every byte of every side is in exactly one record.
fn assert_accounted(capture: &Capture) {
    let mut at: HashMap<(u64, Side), u64> = HashMap::new();
    for record in &capture.records {
        let next = at.entry((record.connection, record.from)).or_default();
        assert_eq!(record.offset, *next, "{record:?}");
        assert!(record.len > 0, "{record:?}");
        *next += record.len;
    }
    for (side, bytes) in &capture.bytes {
        assert_eq!(at.get(side).copied().unwrap_or_default(), bytes.len() as u64, "{side:?}");
    }
}

fn by_direction(capture: &Capture) -> HashMap<Direction, Vec<&Record>> {
    let mut directions: HashMap<Direction, Vec<&Record>> = HashMap::new();
    for record in &capture.records {
        directions.entry((record.src, record.dst)).or_default().push(record);
    }
    directions
}

/// A frame without where it stood: equal before and after what comes before it is lost.
fn frame(record: &Record) -> Option<String> {
    match &record.what {
        What::V1(frame, footprint) => {
            let footprint = v1::Footprint { offset: 0, ..*footprint };
            Some(format!("{} {frame:?} {footprint:?}", record.time))
        }
        What::V2(frame, footprint) => {
            let footprint = v2::Footprint { offset: 0, ..*footprint };
            Some(format!("{} {frame:?} {footprint:?}", record.time))
        }
        _ => None,
    }
}

fn len(records: &[&Record]) -> u64 {
    records.iter().map(|record| record.len).sum()
}

/// Whether a decoder that is lost can prove that a frame begins here.
fn is_provable(record: &Record) -> bool {
    match &record.what {
        What::V1(frame, _) => matches!(**frame, v1::Frame::Message(_)),
        What::V2(frame, _) => !matches!(**frame, v2::Frame::Banner(_)),
        _ => false,
    }
}

/// The first `count` packets are missing: all frames from the first provable one on must be there, and
/// everything before is reported.
fn check_beginning_lost(whole: &Whole, count: usize) {
    let damaged = whole.without(|n| n < count);
    let before = by_direction(&whole.capture);
    for (direction, left) in by_direction(&damaged) {
        let all = &before[&direction];
        let start = len(all) - len(&left);
        let from_banner = left[0].name() == "banner";
        let boundary = |record: &&&Record| record.offset >= start && (from_banner || is_provable(record));
        let expected: Vec<_> = match all.iter().find(boundary) {
            Some(first) => all.iter().filter(|record| record.offset >= first.offset).collect(),
            None => Vec::new(),
        };
        let frames: Vec<_> = left.iter().filter_map(|record| frame(record)).collect();
        let expected: Vec<_> = expected.into_iter().filter_map(|record| frame(record)).collect();
        assert!(frames == expected, "without {count}, {direction:?}: {left:#?}, not {expected:#?}");
        let lost = left.iter().position(|record| record.is_error());
        assert!(lost.is_none_or(|at| at == 0), "without {count}, {direction:?}: {left:#?}");
        assert_eq!(left.len(), frames.len() + usize::from(lost.is_some()));
    }
}

fn check_beginnings_lost(name: &str, tries: usize) {
    let whole = Whole::new(name);
    let step = (whole.packets.len() / tries).max(1);
    for count in (1..whole.packets.len()).step_by(step) {
        check_beginning_lost(&whole, count);
    }
}

#[test]
fn v1_is_resynchronised_at_the_first_message() {
    check_beginnings_lost(V1, 60);
    check_beginnings_lost(V1_PEERS, 15);
}

#[test]
fn v2_is_resynchronised_at_the_first_frame() {
    check_beginnings_lost(V2, 60);
    check_beginnings_lost(V2_PEERS, 20);
}

#[test]
fn compression_is_found_out_where_its_negotiation_is_missing() {
    for name in COMPRESSED {
        check_beginnings_lost(name, 10);
    }
}

/// One packet is missing: its bytes are reported, everything before it is as it was, and everything from the
/// first provable boundary behind it.
fn check_packet_lost(whole: &Whole, lost: usize) {
    let layout = whole.packets[lost].layout();
    let damaged = whole.without(|n| n == lost);
    let direction = (layout.src, layout.dst);
    let before = by_direction(&whole.capture);
    let after = by_direction(&damaged);
    let none = Vec::new();
    let (all, left) = (&before[&direction], after.get(&direction).unwrap_or(&none));
    let Some(hole) = left.iter().find(|record| record.name() == "missing") else {
        // The last one that its side sent, and nobody acknowledged it; or one that was sent twice.
        let whole = |record: &&&Record| record.name() != "cut";
        let frames: Vec<_> = left.iter().filter(whole).filter_map(|record| frame_late(record)).collect();
        let expected: Vec<_> =
            all.iter().take(frames.len()).filter_map(|record| frame_late(record)).collect();
        assert!(frames == expected, "without {lost}: {frames:#?}, not {expected:#?}");
        assert!(len(all) - len(left) <= layout.payload.len() as u64);
        return;
    };
    assert_eq!(hole.len, layout.payload.len() as u64);
    let (start, end) = (hole.offset, hole.offset + hole.len);
    let intact = |record: &&&Record| record.offset + record.len <= start;
    let expected: Vec<_> = all.iter().filter(intact).filter_map(|record| frame(record)).collect();
    let frames: Vec<_> = left.iter().filter(intact).filter_map(|record| frame(record)).collect();
    assert!(frames == expected, "without {lost}: {frames:#?}, not {expected:#?}");
    let first = all.iter().find(|record| record.offset >= end && is_provable(record));
    let first = first.map_or(u64::MAX, |record| record.offset);
    let behind = |record: &&&Record| record.offset >= end;
    let expected: Vec<_> =
        all.iter().filter(|record| record.offset >= first).filter_map(|record| frame_late(record)).collect();
    let frames: Vec<_> = left.iter().filter(behind).filter_map(|record| frame_late(record)).collect();
    assert!(frames == expected, "without {lost}, {direction:?}: {frames:#?}, not {expected:#?}");
}

/// What waited for a hole is seen late.
fn frame_late(record: &Record) -> Option<String> {
    frame(record).and_then(|text| Some(text.split_once(' ')?.1.to_owned()))
}

#[test]
fn a_lost_packet_costs_the_frames_it_was_part_of() {
    for (name, step) in [(V1, 1), (V2, 1), (V1_PEERS, 20), (V2_PEERS, 8), (COMPRESSED[0], 25)] {
        let whole = Whole::new(name);
        let with_data: Vec<_> =
            (0..whole.packets.len()).filter(|n| whole.packets[*n].payload_len() > 0).collect();
        for lost in with_data.into_iter().step_by(step) {
            check_packet_lost(&whole, lost);
        }
    }
}

/// How many bytes stand before and behind a message's parts.
fn around(record: &Record) -> Option<(u64, u64)> {
    match &record.what {
        What::V1(frame, _) if matches!(**frame, v1::Frame::Message(_)) => Some((54, 21)),
        What::V2(frame, _) if matches!(**frame, v2::Frame::Message(_)) => Some((32 + 41 + 4, 13)),
        _ => None,
    }
}

#[test]
fn a_wrong_byte_in_a_message_costs_only_that_message() {
    for (name, step) in [(V1, 1), (V2, 1), (V2_PEERS, 9), (V1_PEERS, 20)] {
        let whole = Whole::new(name);
        let records = &whole.capture.records;
        for (n, record) in records.iter().enumerate().step_by(step) {
            let Some((head, tail)) = around(record).filter(|(head, tail)| record.len > head + tail) else {
                continue;
            };
            let mut packets = whole.packets.clone();
            let offset = record.offset + head + (record.len - head - tail) / 2;
            packets::flip(&mut packets, record.src, record.dst, offset, 0x10);
            let damaged = decode(&packets);
            assert_eq!(damaged.records.len(), records.len());
            for (m, (was, is)) in records.iter().zip(&damaged.records).enumerate() {
                assert_eq!(is.is_error(), m == n, "{is:?}");
                assert!(m == n || frame(was) == frame(is), "{is:?}, not {was:?}");
            }
        }
    }
}

#[test]
fn a_wrong_byte_in_a_header_costs_that_frame() {
    for (name, step) in [(V1, 1), (V2, 1), (V2_PEERS, 9), (V1_PEERS, 20)] {
        let whole = Whole::new(name);
        for record in whole.capture.records.iter().filter(|record| around(record).is_some()).step_by(step) {
            let mut packets = whole.packets.clone();
            // A bit of a length.
            packets::flip(&mut packets, record.src, record.dst, record.offset + 10, 1);
            let damaged = decode(&packets);
            let (before, after) = (by_direction(&whole.capture), by_direction(&damaged));
            for (direction, all) in before {
                let hit = direction == (record.src, record.dst);
                let (start, mut end) = (record.offset, record.offset + record.len);
                if hit {
                    let next = all.iter().find(|other| other.offset >= end && is_provable(other));
                    end = next.map_or(u64::MAX, |next| next.offset);
                }
                let lost = |other: &Record| hit && (start..end).contains(&other.offset);
                let expected: Vec<_> =
                    all.iter().filter(|other| !lost(other)).filter_map(|other| frame(other)).collect();
                let frames: Vec<_> = after[&direction].iter().filter_map(|other| frame(other)).collect();
                assert!(frames == expected, "{record:?}: {frames:#?}, not {expected:#?}");
            }
            assert_eq!(damaged.records.iter().filter(|other| other.is_error()).count(), 1);
        }
    }
}

#[test]
fn retransmission_and_reordering_change_nothing() {
    for name in [V1, V2, V1_PEERS, V2_PEERS, COMPRESSED[1]] {
        let whole = Whole::new(name);
        let mut packets = Vec::new();
        for (n, packet) in whole.packets.iter().enumerate() {
            packets.push(packet.clone());
            if n % 3 == 0 {
                packets.push(packet.clone());
            }
            // Those of one direction, as the network may swap them.
            let len = packets.len();
            if n % 5 == 0 && len > 2 {
                let [one, other] = [&packets[len - 2], &packets[len - 1]].map(Packet::layout);
                let data = !one.payload.is_empty() && !other.payload.is_empty();
                if data && one.src == other.src && one.dst == other.dst {
                    packets.swap(len - 2, len - 1);
                }
            }
        }
        let damaged = decode(&packets);
        let (before, after) = (by_direction(&whole.capture), by_direction(&damaged));
        for (direction, all) in before {
            let expected: Vec<_> = all.iter().filter_map(|record| frame_late(record)).collect();
            let frames: Vec<_> = after[&direction].iter().filter_map(|record| frame_late(record)).collect();
            assert!(frames == expected, "{name} {direction:?}");
        }
    }
}

/// A way to damage a capture.
#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, prop::sample::Index, u8),
    Drop(prop::sample::Index),
    Shorten(prop::sample::Index, prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    DropBefore(prop::sample::Index),
    DropAfter(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (index(), index(), 1..=u8::MAX).prop_map(|(packet, byte, bits)| Damage::Flip(packet, byte, bits)),
        3 => index().prop_map(Damage::Drop),
        2 => (index(), index()).prop_map(|(packet, byte)| Damage::Shorten(packet, byte)),
        2 => (index(), index()).prop_map(|(one, other)| Damage::Swap(one, other)),
        1 => index().prop_map(Damage::DropBefore),
        1 => index().prop_map(Damage::DropAfter),
    ]
}

fn apply(damage: &Damage, packets: &mut Vec<Packet>) {
    if packets.is_empty() {
        return;
    }
    let count = packets.len();
    match damage {
        // Headers too: it may well be another connection's packet then, or none at all.
        Damage::Flip(packet, byte, bits) => {
            let bytes = &mut packets[packet.index(count)].bytes;
            let at = byte.index(bytes.len());
            bytes[at] ^= bits;
        }
        Damage::Drop(packet) => drop(packets.remove(packet.index(count))),
        Damage::Shorten(packet, byte) => {
            let bytes = &mut packets[packet.index(count)].bytes;
            bytes.truncate(byte.index(bytes.len()) + 1);
        }
        Damage::Swap(one, other) => packets.swap(one.index(count), other.index(count)),
        Damage::DropBefore(packet) => drop(packets.drain(..packet.index(count))),
        Damage::DropAfter(packet) => packets.truncate(packet.index(count)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens to a capture: no panic, every byte accounted for, and an error wherever one is due.
    #[test]
    fn any_damage_is_reported(
        which in prop::sample::select(vec![V1, V2, "pacific-v2secure-cephx-bad-auth-alpha",
            "pacific-v2crc-cephx-bad-banner-alpha", "pacific-v1-none-keepalive-timeout-alpha"]),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let mut packets = packets::read(&file(which));
        damages.iter().for_each(|damage| apply(damage, &mut packets));
        let capture = decode(&packets);
        let mut summary = Summary::default();
        capture.records.iter().for_each(|record| summary.record(record));
        let bytes = capture.bytes.values().map(|bytes| bytes.len() as u64).sum::<u64>();
        prop_assert_eq!(summary.bytes + summary.missing_bytes, bytes);
        prop_assert!(summary.errors > 0 || summary.undecodable_bytes + summary.missing_bytes == 0);
    }
}
