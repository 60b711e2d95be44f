//! Whole captures, made by hand.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::unreachable,
    clippy::panic,
    reason = "tests"
)]

mod build;

use proptest::prelude::*;

use self::build::{Captured, Ticks, gzip, linked, pcap, pcapng, simple_pcapng, tcp};
use super::*;

const CLIENT: &str = "10.0.0.1:40000";
const SERVER: &str = "10.0.0.2:6789";
const START: u64 = 1_700_000_000_123_456_000;
const NANOSECONDS: Ticks = Ticks { resolution: 9, per_second: 1_000_000_000, offset_seconds: 0 };

fn captured(packets: &[Vec<u8>]) -> Vec<Captured> {
    let captured = |(number, bytes): (u64, &Vec<u8>)| Captured {
        time: START + number * 1_000_000,
        bytes: bytes.clone(),
        original_len: u32::try_from(bytes.len()).unwrap(),
    };
    (0..).zip(packets).map(captured).collect()
}

/// A connection that says "hello" and "you", over Ethernet.
fn conversation() -> Vec<Vec<u8>> {
    [
        tcp(CLIENT, SERVER, 999, "S", b""),
        tcp(SERVER, CLIENT, 4999, "S", b""),
        tcp(CLIENT, SERVER, 1000, "", b"hello"),
        tcp(SERVER, CLIENT, 5000, "", b"you"),
        tcp(CLIENT, SERVER, 1005, "F", b""),
        tcp(SERVER, CLIENT, 5003, "F", b""),
    ]
    .iter()
    .map(|packet| linked(LinkType::ETHERNET, packet))
    .collect()
}

/// The packets of a file, and how it ended.
fn packets(file: &[u8]) -> (Vec<(LinkType, Captured)>, Result<(), CaptureError>) {
    let mut packets = Vec::new();
    let mut file = match CaptureFile::new(file) {
        Ok(file) => file,
        Err(error) => return (packets, Err(error)),
    };
    loop {
        match file.next_packet() {
            Ok(Some(Packet { time, link_type, bytes, original_len })) => {
                packets.push((link_type, Captured { time, bytes: bytes.to_vec(), original_len }));
            }
            Ok(None) => return (packets, Ok(())),
            Err(error) => return (packets, Err(error)),
        }
    }
}

fn events(file: &[u8]) -> (Vec<Event>, Counters, Result<(), CaptureError>) {
    let mut streams = match Streams::new(file) {
        Ok(streams) => streams,
        Err(error) => return (Vec::new(), Counters::default(), Err(error)),
    };
    let mut events = Vec::new();
    let end = loop {
        match streams.next_event() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(matches!(streams.next_event(), Ok(None)));
    (events, streams.counters(), end)
}

fn segment(link_type: LinkType, packet: &[u8], original_len: usize) -> Segment<'_> {
    match PacketContent::new(link_type, packet, u32::try_from(original_len).unwrap()) {
        PacketContent::Tcp(segment) => segment,
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_formats_hold_the_same_packets() {
    let written = captured(&conversation());
    let expected = format!("{written:?}");
    let ethernet = LinkType::ETHERNET;
    let mut files = Vec::new();
    for big_endian in [false, true] {
        for nanoseconds in [false, true] {
            files.push(pcap(&written, ethernet, big_endian, nanoseconds));
        }
        for ticks in [
            NANOSECONDS,
            Ticks { resolution: 6, per_second: 1_000_000, offset_seconds: 0 },
            Ticks { resolution: 9, per_second: 1_000_000_000, offset_seconds: 1_000_000 },
            Ticks { resolution: 9, per_second: 1_000_000_000, offset_seconds: -3600 },
        ] {
            files.push(pcapng(&written, ethernet, big_endian, ticks));
        }
    }
    for file in files {
        let (first, second) = file.split_at(file.len() / 2);
        let members = [gzip(first), gzip(second)].concat();
        for file in [gzip(&file), members, file] {
            let (read, end) = packets(&file);
            end.unwrap();
            assert!(read.iter().all(|(link_type, _)| *link_type == ethernet));
            let read: Vec<_> = read.into_iter().map(|(_, packet)| packet).collect();
            assert_eq!(format!("{read:?}"), expected);
        }
    }
}

#[test]
fn sections_follow_each_other_with_interfaces_and_byte_orders_of_their_own() {
    let written = captured(&conversation());
    let file = [
        pcapng(&written[..2], LinkType::ETHERNET, false, NANOSECONDS),
        pcapng(&written[2..3], LinkType::RAW, true, NANOSECONDS),
        pcapng(&written[3..], LinkType::LINUX_SLL, false, NANOSECONDS),
    ]
    .concat();
    let (read, end) = packets(&file);
    end.unwrap();
    assert_eq!(read[1].0, LinkType::ETHERNET);
    assert_eq!(read[2].0, LinkType::RAW);
    assert_eq!(read[3].0, LinkType::LINUX_SLL);
    let read: Vec<_> = read.into_iter().map(|(_, packet)| packet).collect();
    assert_eq!(format!("{read:?}"), format!("{written:?}"));
}

#[test]
fn simple_packets_are_as_long_as_the_interface_allows() {
    let file = simple_pcapng(&[vec![7; 10], vec![8; 3]], LinkType::RAW, 5);
    let (read, end) = packets(&file);
    end.unwrap();
    assert_eq!((read[0].1.bytes.as_slice(), read[0].1.original_len), ([7; 5].as_slice(), 10));
    assert_eq!((read[1].1.bytes.as_slice(), read[1].1.original_len), ([8; 3].as_slice(), 3));
}

#[test]
fn streams_of_a_capture() {
    let (events, counters, end) = events(&pcap(&captured(&conversation()), LinkType::ETHERNET, false, false));
    end.unwrap();
    let opened = Event::Opened {
        connection: 0,
        client: CLIENT.parse().unwrap(),
        server: SERVER.parse().unwrap(),
        time: START,
        from_start: true,
    };
    assert_eq!(events[0], opened);
    let hello = Event::Data {
        connection: 0,
        from: Side::Client,
        offset: 0,
        time: START + 2_000_000,
        bytes: "hello".into(),
    };
    assert_eq!(events[1], hello);
    assert_eq!(events.len(), 5);
    assert_eq!(counters, Counters { packets: 6, tcp_packets: 6, ..Counters::default() });
}

#[test]
fn a_file_cut_anywhere_gives_the_packets_before_the_cut() {
    let written = captured(&conversation());
    let ends_of = |file: Vec<u8>, head: usize, per_packet: usize| {
        let ends: Vec<usize> = written
            .iter()
            .scan(head, |at, packet| {
                *at += per_packet + packet.bytes.len();
                Some(*at)
            })
            .collect();
        (file, head, ends)
    };
    let (file, head, ends) = ends_of(pcap(&written, LinkType::ETHERNET, true, true), 24, 16);
    for len in 0..file.len() {
        let (read, end) = packets(&file[..len]);
        assert_eq!(read.len(), ends.iter().filter(|end| **end <= len).count());
        match end {
            Ok(()) => assert!(len == head || ends.contains(&len), "{len}"),
            Err(CaptureError::NotACapture) => assert!(len < 4),
            Err(CaptureError::Truncated { offset, have, need }) => {
                assert_eq!(offset + have, len as u64);
                assert!(have < need);
            }
            Err(other) => panic!("{other}"),
        }
        let (events, ..) = events(&file[..len]);
        let ended = events.iter().filter(|event| matches!(event, Event::Ended { .. })).count();
        assert_eq!(ended, if read.is_empty() { 0 } else { 2 });
    }
}

#[test]
fn other_formats_cut_anywhere_do_not_end_well_by_accident() {
    let written = captured(&conversation());
    let block = pcapng(&written, LinkType::ETHERNET, false, NANOSECONDS);
    let mut clean_ends = 0;
    for len in 4..block.len() {
        match events(&block[..len]).2 {
            Ok(()) => clean_ends += 1,
            Err(CaptureError::Truncated { offset, have, .. }) => assert_eq!(offset + have, len as u64),
            Err(other) => panic!("{other}"),
        }
    }
    // After the section header, two interfaces, and each of the packets and of the blocks after them.
    assert_eq!(clean_ends, 3 + 2 * written.len() - 1);
    let compressed = gzip(&block);
    for len in 2..compressed.len() {
        let end = events(&compressed[..len]).2;
        assert!(matches!(end, Err(CaptureError::Truncated { .. })), "{len}: {end:?}");
    }
}

#[test]
fn what_is_no_capture_is_an_error() {
    for file in [b"".as_slice(), b"\n", b"hello, this is text", &[0; 100], &gzip(b"hello"), &gzip(b"")] {
        assert!(matches!(Streams::new(file), Err(CaptureError::NotACapture)));
    }
    let mut corrupt = gzip(&pcap(&captured(&conversation()), LinkType::ETHERNET, false, false));
    let checksum = corrupt.len() - 8;
    corrupt[checksum] ^= 1;
    let (events, _, end) = events(&corrupt);
    assert_eq!(events.len(), 5);
    assert!(matches!(end, Err(CaptureError::Read(_))), "{end:?}");
}

#[test]
fn a_record_that_claims_to_be_huge_is_an_error_after_those_before_it() {
    let mut file = pcap(&captured(&conversation()), LinkType::ETHERNET, false, false);
    let offset = file.len() as u64;
    file.extend([0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    let (read, end) = packets(&file);
    assert_eq!(read.len(), 6);
    assert!(matches!(end, Err(CaptureError::BlockTooLarge { offset: at, .. }) if at == offset));
}

#[test]
fn only_unsupported_link_types_are_an_error() {
    let packets = captured(&conversation());
    let unsupported = pcapng(&packets[..2], LinkType(249), false, NANOSECONDS);
    assert!(matches!(events(&unsupported).2, Err(CaptureError::UnsupportedLinkType(249))));
    let mixed = [unsupported, pcapng(&packets[2..], LinkType::ETHERNET, false, NANOSECONDS)].concat();
    let (_, counters, end) = events(&mixed);
    end.unwrap();
    assert_eq!((counters.unsupported_packets, counters.tcp_packets), (2, 4));
}

#[test]
fn every_link_type_carries_both_internet_protocols() {
    let versions = [(CLIENT, SERVER), ("[fd00::1]:40000", "[fd00::2]:6789")];
    let links = [
        LinkType::ETHERNET,
        LinkType::LINUX_SLL,
        LinkType::LINUX_SLL2,
        LinkType::RAW,
        LinkType::NULL,
        LinkType::LOOP,
    ];
    for (client, server) in versions {
        let packet = tcp(client, server, 5, "SFRA", b"abc");
        for link_type in links {
            let packet = linked(link_type, &packet);
            let expected = Segment {
                source: client.parse().unwrap(),
                destination: server.parse().unwrap(),
                sequence: 5,
                acknowledgment: Some(77),
                syn: true,
                fin: true,
                rst: true,
                payload: b"abc",
                cut: 0,
            };
            assert_eq!(segment(link_type, &packet, packet.len()), expected);
        }
    }
    assert_eq!(PacketContent::new(LinkType(147), &[0; 60], 60), PacketContent::UnsupportedLinkType);
}

#[test]
fn vlan_tags_and_padding_are_taken_off() {
    let mut packet = linked(LinkType::ETHERNET, &tcp(CLIENT, SERVER, 5, "", b"abc"));
    packet.splice(12..12, [0x88, 0xa8, 0, 5, 0x81, 0, 0, 6]);
    packet.extend([0; 9]);
    assert_eq!(segment(LinkType::ETHERNET, &packet, packet.len()).payload, b"abc");
}

#[test]
fn lengths_that_offload_left_empty_are_those_of_the_packet() {
    let payload = vec![9; 60_000];
    let mut packet = tcp(CLIENT, SERVER, 5, "", &payload);
    packet[2..4].fill(0);
    packet.extend([9; 40_000]);
    assert_eq!(segment(LinkType::RAW, &packet, packet.len()).payload.len(), 100_000);
    assert_eq!(segment(LinkType::RAW, &packet, packet.len() + 7).cut, 7);
    let mut packet = tcp("[fd00::1]:1", "[fd00::2]:2", 5, "", &payload);
    packet[4..6].fill(0);
    packet.extend([9; 40_000]);
    assert_eq!(segment(LinkType::RAW, &packet, packet.len()).payload.len(), 100_000);
}

#[test]
fn what_the_limit_cut_off_is_counted() {
    for (client, server) in [(CLIENT, SERVER), ("[fd00::1]:1", "[fd00::2]:2")] {
        let whole = linked(LinkType::ETHERNET, &tcp(client, server, 5, "", &[9; 500]));
        let headers = whole.len() - 500;
        let cut = segment(LinkType::ETHERNET, &whole[..headers + 100], whole.len());
        assert_eq!((cut.payload.len(), cut.cut), (100, 400));
        let short = PacketContent::new(LinkType::ETHERNET, &whole[..headers - 1], u32::MAX);
        assert_eq!(short, PacketContent::Other);
    }
    // A SYN whose options were cut off: the data offset says 40 bytes.
    let mut packet = tcp(CLIENT, SERVER, 5, "S", &[1; 20]);
    packet[32] = 0xa0;
    let cut = segment(LinkType::RAW, &packet[..47], packet.len());
    assert_eq!((cut.syn, cut.payload.len(), cut.cut), (true, 0, 0));
}

#[test]
fn fragments_and_other_protocols_are_told_apart() {
    let mut packet = tcp(CLIENT, SERVER, 5, "", b"abc");
    packet[6] = 0x20;
    assert_eq!(PacketContent::new(LinkType::RAW, &packet, 43), PacketContent::Fragment);
    let mut packet = tcp(CLIENT, SERVER, 5, "", b"abc");
    packet[9] = 17;
    assert_eq!(PacketContent::new(LinkType::RAW, &packet, 43), PacketContent::Other);
    assert_eq!(PacketContent::new(LinkType::ETHERNET, &[0; 14], 14), PacketContent::Other);
}

#[test]
fn the_position_in_a_compressed_file_is_that_of_the_compressed_bytes() {
    let file = gzip(&pcap(&captured(&conversation()), LinkType::ETHERNET, false, false));
    let mut streams = Streams::new(file.as_slice()).unwrap();
    while streams.next_event().unwrap().is_some() {}
    assert_eq!(streams.bytes_read(), file.len() as u64);
}

proptest! {
    #[test]
    fn damaged_files_do_no_harm(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..20),
        big_endian: bool,
        compressed: bool,
        ng: bool,
    ) {
        let written = captured(&conversation());
        let mut file = if ng {
            pcapng(&written, LinkType::ETHERNET, big_endian, NANOSECONDS)
        } else {
            pcap(&written, LinkType::ETHERNET, big_endian, false)
        };
        if compressed {
            file = gzip(&file);
        }
        for (at, byte) in damage {
            let at = at.index(file.len());
            file[at] = byte;
        }
        let (events, ..) = events(&file);
        let opened = events.iter().filter(|event| matches!(event, Event::Opened { .. })).count();
        let ended = events.iter().filter(|event| matches!(event, Event::Ended { .. })).count();
        prop_assert_eq!(2 * opened, ended);
    }

    #[test]
    fn any_bytes_can_be_a_packet(link_type in 0..300u16, bytes in proptest::collection::vec(any::<u8>(), 0..200), original_len: u32) {
        PacketContent::new(LinkType(link_type), &bytes, original_len);
    }
}
