//! Captures as lists of packets: to be taken apart, damaged, made up and put together again.

use std::net::SocketAddr;
use std::ops::Range;

use cephwire_cli::capture::{CaptureFile, LinkType, PacketContent};
use cephwire_codec::Side;
use etherparse::PacketBuilder;

/// A TCP packet of a capture, with its Ethernet header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) time: u64,
    pub(crate) bytes: Vec<u8>,
}

/// What of a packet matters here.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) syn: bool,
    pub(crate) sequence: u32,
    /// Where the payload is among the packet's bytes.
    pub(crate) payload: Range<usize>,
}

impl Packet {
    pub(crate) fn layout(&self) -> Layout {
        let PacketContent::Tcp(segment) =
            PacketContent::new(LinkType::ETHERNET, &self.bytes, self.bytes.len() as u32)
        else {
            panic!("not a TCP packet: {self:?}");
        };
        let start = segment.payload.as_ptr() as usize - self.bytes.as_ptr() as usize;
        Layout {
            src: segment.source,
            dst: segment.destination,
            syn: segment.syn,
            sequence: segment.sequence,
            payload: start..start + segment.payload.len(),
        }
    }

    pub(crate) fn payload_len(&self) -> usize {
        self.layout().payload.len()
    }
}

/// The packets of a capture file.
pub(crate) fn read(file: &[u8]) -> Vec<Packet> {
    let mut file = CaptureFile::new(file).unwrap();
    let mut packets = Vec::new();
    while let Some(packet) = file.next_packet().unwrap() {
        assert_eq!(packet.link_type, LinkType::ETHERNET);
        packets.push(Packet { time: packet.time, bytes: packet.bytes.to_vec() });
    }
    packets
}

/// A capture file of these packets.
pub(crate) fn write(packets: &[Packet]) -> Vec<u8> {
    let mut file = Vec::new();
    let words = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    file.extend(words(&[0xa1b2_3c4d, 0x0004_0002, 0, 0, 0x0004_0000, 1]));
    for Packet { time, bytes } in packets {
        let (seconds, rest, len) =
            ((time / 1_000_000_000) as u32, (time % 1_000_000_000) as u32, bytes.len() as u32);
        file.extend(words(&[seconds, rest, len, len]));
        file.extend(bytes);
    }
    file
}

/// Flips bits of the byte at `offset` of what `src` sends to `dst`, in every packet that has it.
pub(crate) fn flip(packets: &mut [Packet], src: SocketAddr, dst: SocketAddr, offset: u64, bits: u8) {
    let mut first = None;
    let mut count = 0;
    for packet in packets {
        let layout = packet.layout();
        if (layout.src, layout.dst) != (src, dst) {
            continue;
        }
        if layout.syn {
            first = Some(layout.sequence.wrapping_add(1));
            continue;
        }
        let start = layout.sequence.wrapping_sub(first.unwrap_or(layout.sequence)) as u64;
        if offset >= start && offset < start + layout.payload.len() as u64 {
            let at = layout.payload.start + (offset - start) as usize;
            *packet.bytes.get_mut(at).unwrap() ^= bits;
            count += 1;
        }
    }
    assert!(count > 0, "offset {offset} of {src} to {dst} is in no packet");
}

/// A connection that is made up.
pub(crate) struct Talk {
    pub(crate) packets: Vec<Packet>,
    sequences: [u32; 2],
    /// How many bytes a packet has at most.
    pub(crate) segment: usize,
}

impl Talk {
    /// A connection that was just opened.
    pub(crate) fn new() -> Self {
        let mut talk = Self::in_the_middle();
        talk.packet(Side::Client, "S", &[]);
        talk.packet(Side::Server, "SA", &[]);
        talk
    }

    /// A connection of which the opening is not captured.
    pub(crate) fn in_the_middle() -> Self {
        Self { packets: Vec::new(), sequences: [1000, 9_000_000], segment: 1400 }
    }

    /// One side says something.
    pub(crate) fn say(&mut self, side: Side, bytes: &[u8]) -> &mut Self {
        for piece in bytes.chunks(self.segment) {
            self.packet(side, "A", piece);
        }
        self
    }

    /// Both sides say that they are done.
    pub(crate) fn close(&mut self) -> &mut Self {
        self.packet(Side::Client, "FA", &[]);
        self.packet(Side::Server, "FA", &[]);
        self
    }

    fn packet(&mut self, side: Side, flags: &str, payload: &[u8]) {
        let (ports, [own, peer]) = match side {
            Side::Client => ((40000, 3300), self.sequences),
            Side::Server => ((3300, 40000), [self.sequences[1], self.sequences[0]]),
        };
        let ends = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 1], 64);
        let mut builder = ends.tcp(ports.0, ports.1, own, 0xffff);
        for flag in flags.chars() {
            builder = match flag {
                'S' => builder.syn(),
                'F' => builder.fin(),
                _ => builder.ack(peer),
            };
        }
        let mut bytes = Vec::new();
        builder.write(&mut bytes, payload).unwrap();
        let time = 1_700_000_000_000_000_000 + 1000 * self.packets.len() as u64;
        self.packets.push(Packet { time, bytes });
        let used = payload.len() as u32 + flags.contains(['S', 'F']) as u32;
        self.sequences[usize::from(side == Side::Server)] = own.wrapping_add(used);
    }
}
