//! Segments made by hand, and streams cut, repeated and reordered at random.

#![expect(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::capture::event::Side::{self, Client, Server};

const SYN: u8 = 1;
const FIN: u8 = 2;
const RST: u8 = 4;

/// A reassembly of one connection, whose client begins at sequence number 1000 and whose server at 5000.
struct Wire {
    reassembly: Reassembly,
    time: u64,
    client_port: u16,
}

impl Wire {
    fn new(limits: Limits) -> Self {
        Self { reassembly: Reassembly::new(limits), time: 0, client_port: 40_000 }
    }

    fn open() -> Self {
        let mut wire = Self::new(Limits::default());
        wire.send(Client, SYN, 999, None, b"");
        wire.send(Server, SYN, 4999, Some(1000), b"");
        wire.send(Client, 0, 1000, Some(5000), b"");
        let events = wire.events();
        assert!(matches!(events[..], [Event::Opened { connection: 0, from_start: true, .. }]), "{events:?}");
        wire
    }

    fn send(&mut self, from: Side, flags: u8, sequence: u32, acknowledgment: Option<u32>, payload: &[u8]) {
        self.send_cut(from, flags, sequence, acknowledgment, payload, 0);
    }

    fn send_cut(
        &mut self,
        from: Side,
        flags: u8,
        sequence: u32,
        acknowledgment: Option<u32>,
        payload: &[u8],
        cut: u32,
    ) {
        let client = SocketAddr::from(([10, 0, 0, 1], self.client_port));
        let server = SocketAddr::from(([10, 0, 0, 2], 6789));
        let (source, destination) = if from == Client { (client, server) } else { (server, client) };
        self.time += 1;
        let (syn, fin, rst) = (flags & SYN != 0, flags & FIN != 0, flags & RST != 0);
        let segment = Segment { source, destination, sequence, acknowledgment, syn, fin, rst, payload, cut };
        self.reassembly.segment(self.time, &segment);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.reassembly.next_event()).collect()
    }

    /// The events since the last call, in short.
    fn seen(&mut self) -> Vec<String> {
        let side = |side: &Side| if *side == Client { '>' } else { '<' };
        self.events()
            .iter()
            .map(|event| match event {
                Event::Opened { connection, client, from_start, .. } => {
                    format!("open {connection} {} {from_start}", client.port())
                }
                Event::Data { from, offset, bytes, .. } => {
                    format!("{}{offset} {}", side(from), String::from_utf8_lossy(bytes))
                }
                Event::Missing { from, offset, len, .. } => format!("{}{offset} missing {len}", side(from)),
                Event::Ended { from, how, .. } => format!("{}{how:?}", side(from)),
            })
            .collect()
    }
}

#[test]
fn both_sides_in_order_to_the_end() {
    let mut wire = Wire::open();
    wire.send(Client, 0, 1000, Some(5000), b"hello");
    wire.send(Server, 0, 5000, Some(1005), b"you");
    wire.send(Client, FIN, 1005, Some(5003), b"bye");
    assert_eq!(wire.seen(), [">0 hello", "<0 you", ">5 bye", ">Fin"]);
    wire.send(Server, 0, 5003, Some(1009), b"more");
    wire.send(Server, FIN, 5007, Some(1009), b"");
    assert_eq!(wire.seen(), ["<3 more", "<Fin"]);
    assert!(wire.reassembly.connections.is_empty() && wire.reassembly.by_last_packet.is_empty());
    wire.reassembly.finish();
    assert_eq!(wire.events(), []);
}

#[test]
fn a_syn_may_carry_data() {
    let mut wire = Wire::new(Limits::default());
    wire.send(Client, SYN, 999, None, b"early");
    wire.send(Server, SYN, 4999, Some(1005), b"");
    wire.send(Client, 0, 1005, Some(5000), b"late");
    assert_eq!(wire.seen(), ["open 0 40000 true", ">0 early", ">5 late"]);
}

#[test]
fn repeated_bytes_are_dropped_and_the_first_ones_win() {
    let mut wire = Wire::open();
    wire.send(Client, 0, 1000, None, b"abcd");
    wire.send(Client, 0, 1000, None, b"abcd");
    wire.send(Client, 0, 1002, None, b"XXef");
    wire.send(Client, 0, 1010, None, b"kl");
    wire.send(Client, 0, 1008, None, b"ijXXmn");
    wire.send(Client, 0, 1006, None, b"gh");
    assert_eq!(wire.seen(), [">0 abcd", ">4 ef", ">6 gh", ">8 ij", ">10 kl", ">12 mn"]);
    assert_eq!(wire.reassembly.retransmitted_bytes(), 8);
    assert_eq!(wire.reassembly.held, 0);
}

#[test]
fn keepalives_and_window_probes_do_not_disturb() {
    let mut wire = Wire::open();
    wire.send(Client, 0, 999, Some(5000), b"");
    wire.send(Client, 0, 999, Some(5000), b"?");
    wire.send(Client, 0, 1000, Some(5000), b"abc");
    wire.send(Client, 0, 1002, Some(5000), b"?");
    wire.send(Client, 0, 1003, Some(5000), b"d");
    wire.send(Client, 0, 1003, Some(5000), b"def");
    assert_eq!(wire.seen(), [">0 abc", ">3 d", ">4 ef"]);
}

#[test]
fn a_fin_waits_for_what_is_before_it_and_nothing_comes_after_it() {
    let mut wire = Wire::open();
    wire.send(Client, 0, 1008, None, b"beyond");
    wire.send(Client, FIN, 1003, None, b"def");
    wire.send(Client, 0, 1004, None, b"efghi");
    assert_eq!(wire.events(), []);
    wire.send(Client, 0, 1000, None, b"abc");
    wire.send(Client, 0, 1006, None, b"ghi");
    assert_eq!(wire.seen(), [">0 abc", ">3 def", ">Fin"]);
    assert_eq!((wire.reassembly.held, wire.reassembly.retransmitted_bytes()), (0, 2));
}

#[test]
fn a_fin_shortens_what_waits() {
    let mut wire = Wire::open();
    wire.send(Client, 0, 1003, None, b"defghi");
    wire.send(Client, FIN, 1006, None, b"");
    wire.send(Client, 0, 1000, None, b"abc");
    assert_eq!(wire.seen(), [">0 abc", ">3 def", ">Fin"]);
}

#[test]
fn a_reset_ends_both_sides_and_shows_the_holes() {
    let mut wire = Wire::open();
    wire.send(Client, 0, 1000, None, b"ab");
    wire.send(Client, 0, 1004, None, b"ef");
    wire.send(Server, RST, 5000, None, b"");
    assert_eq!(wire.seen(), [">0 ab", ">2 missing 2", ">4 ef", ">Reset", "<Reset"]);
}

#[test]
fn an_acknowledged_hole_is_given_up_after_some_packets() {
    let mut wire = Wire::open();
    wire.send(Client, 0, 1000, None, b"ab");
    wire.send(Client, 0, 1005, None, b"fg");
    for _ in 0..100 {
        wire.send(Server, 0, 5000, Some(1002), b"");
    }
    assert_eq!(wire.seen(), [">0 ab"]);
    for _ in 0..64 {
        wire.send(Server, 0, 5000, Some(1007), b"");
    }
    assert_eq!(wire.events(), []);
    wire.send(Server, 0, 5000, Some(1007), b"");
    assert_eq!(wire.seen(), [">2 missing 3", ">5 fg"]);
}

#[test]
fn an_acknowledged_hole_may_still_be_filled() {
    let mut wire = Wire::open();
    wire.send(Client, 0, 1002, None, b"cd");
    wire.send(Server, 0, 5000, Some(1004), b"");
    wire.send(Client, 0, 1000, None, b"ab");
    assert_eq!(wire.seen(), [">0 ab", ">2 cd"]);
}

#[test]
fn each_hole_is_waited_for_anew() {
    let mut wire = Wire::open();
    wire.send(Server, 0, 5000, Some(1400), b"");
    wire.send(Client, 0, 1002, None, b"c");
    for hole in (1000..1200).step_by(2) {
        wire.send(Client, 0, hole + 4, None, b"c");
        wire.send(Client, 0, hole, None, b"ab");
    }
    assert!(wire.seen().iter().all(|event| !event.contains("missing")));
}

#[test]
fn bytes_that_were_not_captured_are_missing_at_once() {
    let mut wire = Wire::open();
    wire.send_cut(Client, 0, 1000, None, b"ab", 10);
    wire.send_cut(Client, 0, 1022, None, b"wx", 3);
    wire.send_cut(Client, 0, 1012, None, b"mn", 8);
    wire.send(Client, 0, 1005, None, b"fghijklmn");
    wire.send_cut(Client, FIN, 1027, None, b"", 4);
    let expected = [
        ">0 ab",
        ">2 missing 10",
        ">12 mn",
        ">14 missing 8",
        ">22 wx",
        ">24 missing 3",
        ">27 missing 4",
        ">Fin",
    ];
    assert_eq!(wire.seen(), expected);
}

#[test]
fn too_much_held_data_gives_up_the_hole() {
    let mut wire = Wire::new(Limits { held_per_direction: 1000, ..Limits::default() });
    wire.send(Client, SYN, 999, None, b"");
    wire.send(Client, 0, 1010, None, &[b'x'; 600]);
    assert_eq!(wire.seen(), ["open 0 40000 true"]);
    wire.send(Client, 0, 1620, None, b"y");
    wire.send(Client, 0, 1630, None, b"z");
    assert_eq!(wire.reassembly.held, 600 + 1 + 1 + 3 * 128);
    wire.send(Client, 0, 1640, None, b"z");
    let seen = wire.seen();
    assert_eq!((seen[0].as_str(), seen.len()), (">0 missing 10", 2));
    assert_eq!(wire.reassembly.held, 3 * 129);
}

#[test]
fn what_all_connections_hold_is_limited_too() {
    let mut wire = Wire::new(Limits { held_total: 1000, ..Limits::default() });
    for port in 1..100 {
        wire.client_port = port;
        wire.send(Client, SYN, 999, None, b"");
        wire.send(Client, 0, 1010, None, &[b'x'; 300]);
        wire.send(Server, SYN, 4999, Some(1000), b"");
        wire.send(Server, 0, 5010, None, &[b'x'; 300]);
        assert!(wire.reassembly.held <= 1000);
    }
    assert_eq!(wire.seen().iter().filter(|event| event.contains("missing")).count(), 2 * 99 - 2);
}

#[test]
fn without_a_syn_the_first_to_send_data_is_the_client() {
    let mut wire = Wire::new(Limits::default());
    wire.send(Client, 0, 1000, Some(7000), b"");
    wire.send(Client, FIN, 1000, Some(7000), b"");
    wire.send(Client, RST, 1000, None, b"");
    assert_eq!(wire.events(), []);
    wire.send(Server, 0, 7000, Some(1000), b"abc");
    wire.send(Client, 0, 1000, Some(7003), b"def");
    wire.send(Client, FIN, 1003, Some(7003), b"");
    wire.reassembly.finish();
    assert_eq!(wire.seen(), ["open 0 6789 false", ">0 abc", "<0 def", "<Fin", ">EndOfCapture"]);
}

#[test]
fn the_answer_to_a_syn_is_a_start_as_well() {
    let mut wire = Wire::new(Limits::default());
    wire.send(Server, SYN, 4999, Some(1000), b"");
    wire.send(Client, SYN, 999, None, b"");
    wire.send(Client, 0, 1002, None, b"cd");
    wire.send(Client, 0, 1000, None, b"ab");
    assert_eq!(wire.seen(), ["open 0 40000 true", ">0 ab", ">2 cd"]);
}

#[test]
fn a_new_syn_replaces_the_connection() {
    let mut wire = Wire::open();
    wire.send(Client, SYN, 999, None, b"");
    wire.send(Client, 0, 1000, None, b"ab");
    wire.send(Client, SYN, 777, None, b"");
    wire.send(Server, SYN, 888, Some(778), b"");
    wire.send(Client, 0, 778, None, b"cd");
    assert_eq!(wire.seen(), [">0 ab", ">Replaced", "<Replaced", "open 1 40000 true", ">0 cd"]);
}

#[test]
fn late_packets_of_a_closed_connection_are_no_new_one() {
    let mut wire = Wire::open();
    wire.send(Client, FIN, 1000, Some(5000), b"");
    wire.send(Server, FIN, 5000, Some(1001), b"");
    assert_eq!(wire.seen(), [">Fin", "<Fin"]);
    wire.send(Client, SYN, 999, None, b"");
    wire.send(Server, SYN, 4999, Some(1000), b"");
    wire.send(Client, 0, 1000, Some(5000), b"late");
    wire.send(Client, RST, 1001, None, b"");
    assert_eq!(wire.events(), []);
    wire.send(Client, SYN, 2000, None, b"");
    wire.send(Client, 0, 2001, None, b"new");
    assert_eq!(wire.seen(), ["open 1 40000 true", ">0 new"]);
}

#[test]
fn a_refused_attempt_may_be_repeated_with_the_same_number() {
    let mut wire = Wire::new(Limits::default());
    wire.send(Client, SYN, 999, None, b"");
    wire.send(Server, RST, 0, Some(1000), b"");
    wire.send(Client, SYN, 999, None, b"");
    wire.send(Server, SYN, 4999, Some(1000), b"");
    let expected = ["open 0 40000 true", ">Reset", "<Reset", "open 1 40000 true"];
    assert_eq!(wire.seen(), expected);
}

#[test]
fn only_so_many_closed_connections_are_remembered() {
    let mut wire = Wire::new(Limits { closed_connections: 2, ..Limits::default() });
    for port in [1, 2, 3] {
        wire.client_port = port;
        wire.send(Client, SYN, 999, None, b"");
        wire.send(Client, RST, 1000, None, b"");
    }
    wire.events();
    for port in [3, 2, 1] {
        wire.client_port = port;
        wire.send(Client, 0, 1000, None, b"late");
    }
    assert_eq!(wire.seen(), ["open 3 1 false", ">0 late"]);
}

#[test]
fn the_connection_that_was_idle_the_longest_makes_room() {
    let mut wire = Wire::new(Limits { connections: 2, ..Limits::default() });
    for port in [1, 2, 1, 3, 2] {
        wire.client_port = port;
        wire.send(Client, 0, 1000, None, b"x");
    }
    let expected = [
        "open 0 1 false",
        ">0 x",
        "open 1 2 false",
        ">0 x",
        ">Evicted",
        "<Evicted",
        "open 2 3 false",
        ">0 x",
        ">Evicted",
        "<Evicted",
        "open 3 2 false",
        ">0 x",
    ];
    assert_eq!(wire.seen(), expected);
}

#[test]
fn the_tail_that_was_acknowledged_but_never_seen_is_missing() {
    let mut wire = Wire::open();
    wire.send(Client, 0, 1000, None, b"ab");
    wire.send(Server, 0, 5000, Some(1010), b"");
    wire.reassembly.finish();
    assert_eq!(wire.seen(), [">0 ab", ">2 missing 8", ">EndOfCapture", "<EndOfCapture"]);
}

/// What is sent of a stream: cut in segments, some of them twice or overlapping, in another order.
#[derive(Debug, Clone)]
struct Sent {
    stream: Vec<u8>,
    first: u32,
    segments: Vec<(usize, usize)>,
}

fn sent() -> impl Strategy<Value = Sent> {
    let first = prop_oneof![any::<u32>(), u32::MAX - 3000..=u32::MAX];
    (proptest::collection::vec(any::<u8>(), 0..4000), first).prop_flat_map(|(stream, first)| {
        let cuts = proptest::collection::vec((1..200usize, 0..60usize, any::<bool>(), 0..12usize), 4000 / 2);
        cuts.prop_map(move |cuts| {
            let mut segments = Vec::new();
            let mut at = 0;
            for (position, (len, overlap, twice, delay)) in cuts.into_iter().enumerate() {
                if at >= stream.len() {
                    break;
                }
                let end = (at + len).min(stream.len());
                let segment = (at.saturating_sub(overlap), end);
                segments.push((position + delay, segment));
                if twice {
                    segments.push((position + 12 - delay, segment));
                }
                at = end;
            }
            segments.sort_by_key(|(when, _)| *when);
            let segments = segments.into_iter().map(|(_, segment)| segment).collect();
            Sent { stream: stream.clone(), first, segments }
        })
    })
}

proptest! {
    #[test]
    fn any_stream_comes_out_whole_and_in_order(sent in sent(), acknowledge: bool) {
        // Patience for as many packets as a segment can be late, with the acknowledgments between them.
        let limits = Limits { packets_after_acknowledgment: 150, ..Limits::default() };
        let mut wire = Wire::new(limits);
        wire.send(Client, SYN, sent.first.wrapping_sub(1), None, b"");
        for (start, end) in &sent.segments {
            let sequence = sent.first.wrapping_add(u32::try_from(*start).unwrap());
            wire.send(Client, 0, sequence, None, &sent.stream[*start..*end]);
            if acknowledge {
                let all = sent.first.wrapping_add(u32::try_from(sent.stream.len()).unwrap());
                wire.send(Server, 0, 5000, Some(all), b"");
            }
        }
        let fin = sent.first.wrapping_add(u32::try_from(sent.stream.len()).unwrap());
        wire.send(Client, FIN, fin, None, b"");
        let mut stream = Vec::new();
        let mut ends = Vec::new();
        for event in wire.events() {
            match event {
                Event::Data { offset, bytes, .. } => {
                    prop_assert_eq!(offset, stream.len() as u64);
                    stream.extend_from_slice(&bytes);
                }
                Event::Ended { from, how, .. } => ends.push((from, how)),
                Event::Opened { .. } => {}
                Event::Missing { .. } => panic!("{event:?}"),
            }
        }
        prop_assert_eq!(stream, sent.stream);
        prop_assert_eq!(ends, [(Client, End::Fin)]);
        prop_assert_eq!(wire.reassembly.held, 0);
    }

    /// Whatever comes: the offsets of each direction follow each other, and each ends exactly once.
    #[test]
    fn events_are_consistent_for_any_segments(
        segments in proptest::collection::vec(
            (0..3u16, any::<bool>(), 0..8u8, 0..40u32, proptest::option::of(0..40u32), 0..9usize, 0..3u32), 0..300),
        wild in any::<u32>(),
    ) {
        let limits = Limits {
            held_per_direction: 600,
            held_total: 1500,
            connections: 2,
            closed_connections: 1,
            packets_after_acknowledgment: 3,
        };
        let mut wire = Wire::new(limits);
        for (port, from_client, flags, sequence, acknowledgment, len, cut) in segments {
            wire.client_port = port;
            // Flags are rare, or no connection would live long.
            let flags = if sequence % 4 == 0 { flags } else { 0 };
            let from = if from_client { Client } else { Server };
            let acknowledgment = acknowledgment.map(|number| number.wrapping_add(wild));
            wire.send_cut(from, flags, sequence.wrapping_add(wild), acknowledgment, &b"12345678"[..len], cut);
            prop_assert!(wire.reassembly.held <= 1500);
            prop_assert!(wire.reassembly.connections.len() <= 2);
            prop_assert_eq!(wire.reassembly.connections.len(), wire.reassembly.by_last_packet.len());
        }
        wire.reassembly.finish();
        prop_assert_eq!(wire.reassembly.held, 0);
        prop_assert_eq!(wire.reassembly.connections.len(), 0);
        let mut next = HashMap::new();
        let mut ended = HashSet::new();
        let mut opened = 0;
        for event in wire.events() {
            match event {
                Event::Opened { connection, .. } => {
                    prop_assert_eq!(connection, opened);
                    opened += 1;
                }
                Event::Data { connection, from, offset, bytes, .. } => {
                    prop_assert!(!bytes.is_empty() && connection < opened && !ended.contains(&(connection, from)));
                    prop_assert_eq!(next.insert((connection, from), offset + bytes.len() as u64).unwrap_or(0), offset);
                }
                Event::Missing { connection, from, offset, len, .. } => {
                    prop_assert!(len > 0 && connection < opened && !ended.contains(&(connection, from)));
                    prop_assert_eq!(next.insert((connection, from), offset + len).unwrap_or(0), offset);
                }
                Event::Ended { connection, from, .. } => prop_assert!(ended.insert((connection, from))),
            }
        }
        prop_assert_eq!(ended.len() as u64, 2 * opened);
    }
}
