//! Makes packets and capture files.

use std::io::Write;
use std::net::SocketAddr;

use etherparse::PacketBuilder;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::capture::LinkType;

/// An IP packet with a TCP segment.
pub(super) fn tcp(source: &str, destination: &str, sequence: u32, flags: &str, payload: &[u8]) -> Vec<u8> {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    let builder = match (source, destination) {
        (SocketAddr::V4(source), SocketAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.ip().octets(), destination.ip().octets(), 64)
        }
        (SocketAddr::V6(source), SocketAddr::V6(destination)) => {
            PacketBuilder::ipv6(source.ip().octets(), destination.ip().octets(), 64)
        }
        _ => unreachable!(),
    };
    let mut builder = builder.tcp(source.port(), destination.port(), sequence, 1024);
    for flag in flags.chars() {
        builder = match flag {
            'S' => builder.syn(),
            'F' => builder.fin(),
            'R' => builder.rst(),
            'A' => builder.ack(77),
            _ => unreachable!(),
        };
    }
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

/// Puts a link layer before an IP packet.
pub(super) fn linked(link_type: LinkType, packet: &[u8]) -> Vec<u8> {
    let is_ipv6 = packet[0] >> 4 == 6;
    let ether_type: [u8; 2] = if is_ipv6 { [0x86, 0xdd] } else { [0x08, 0x00] };
    let mut linked = Vec::new();
    match link_type {
        LinkType::ETHERNET => {
            linked.extend([2; 12]);
            linked.extend(ether_type);
        }
        LinkType::LINUX_SLL => {
            linked.extend([0, 0, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0]);
            linked.extend(ether_type);
        }
        LinkType::LINUX_SLL2 => {
            linked.extend(ether_type);
            linked.extend([0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 0, 0]);
        }
        LinkType::NULL => linked.extend(if is_ipv6 { 30u32.to_le_bytes() } else { 2u32.to_le_bytes() }),
        LinkType::LOOP => linked.extend(if is_ipv6 { 24u32.to_be_bytes() } else { 2u32.to_be_bytes() }),
        _ => {}
    }
    linked.extend_from_slice(packet);
    linked
}

/// A packet that is to be written to a file.
#[derive(Clone, Debug)]
pub(super) struct Captured {
    pub(super) time: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) original_len: u32,
}

/// Writes numbers in one byte order or the other.
struct Writer {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Writer {
    fn u16(&mut self, number: u16) -> &mut Self {
        self.bytes.extend(if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
        self
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.bytes.extend(if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
        self
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.bytes.extend(if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() });
        self
    }

    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn padded(&mut self, bytes: &[u8]) -> &mut Self {
        self.raw(bytes).raw(&[0; 3][..bytes.len().wrapping_neg() % 4])
    }

    fn block(&mut self, block_type: u32, body: impl Fn(&mut Self)) {
        let mut content = Self { bytes: Vec::new(), big_endian: self.big_endian };
        body(&mut content);
        let length = u32::try_from(content.bytes.len() + 12).unwrap();
        self.u32(block_type).u32(length).raw(&content.bytes).u32(length);
    }
}

pub(super) fn pcap(
    packets: &[Captured],
    link_type: LinkType,
    big_endian: bool,
    nanoseconds: bool,
) -> Vec<u8> {
    let mut file = Writer { bytes: Vec::new(), big_endian };
    file.u32(if nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 });
    file.u16(2).u16(4).u32(0).u32(0).u32(65_535).u32(link_type.0.into());
    let unit = if nanoseconds { 1 } else { 1000 };
    for packet in packets {
        file.u32(u32::try_from(packet.time / 1_000_000_000).unwrap());
        file.u32(u32::try_from(packet.time % 1_000_000_000 / unit).unwrap());
        file.u32(u32::try_from(packet.bytes.len()).unwrap()).u32(packet.original_len).raw(&packet.bytes);
    }
    file.bytes
}

/// A section with two interfaces, the first without packets and of another link type, and blocks to be passed over.
pub(super) fn pcapng(packets: &[Captured], link_type: LinkType, big_endian: bool, ticks: Ticks) -> Vec<u8> {
    let mut file = Writer { bytes: Vec::new(), big_endian };
    file.block(0x0a0d_0d0a, |block| {
        block.u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX);
    });
    file.block(1, |block| {
        block.u16(250).u16(0).u32(0);
    });
    file.block(1, |block| {
        block.u16(link_type.0).u16(0).u32(0);
        block.u16(2).u16(3).padded(b"eth");
        block.u16(9).u16(1).padded(&[ticks.resolution]);
        block.u16(14).u16(8).u64(ticks.offset_seconds.cast_unsigned());
        block.u16(0).u16(0);
    });
    for packet in packets {
        let time = packet.time.wrapping_sub(ticks.offset_seconds.cast_unsigned().wrapping_mul(1_000_000_000));
        let time = u64::try_from(u128::from(time) * u128::from(ticks.per_second) / 1_000_000_000).unwrap();
        file.block(6, |block| {
            block.u32(1).u32(u32::try_from(time >> 32).unwrap()).u32((time & 0xffff_ffff) as u32);
            block.u32(u32::try_from(packet.bytes.len()).unwrap()).u32(packet.original_len);
            block.padded(&packet.bytes);
            block.u16(1).u16(5).padded(b"hello").u16(0).u16(0);
        });
        file.block(0x0bad, |block| {
            block.raw(&[1, 2, 3, 4]);
        });
    }
    file.bytes
}

/// A section of simple packets, each captured up to `limit`.
pub(super) fn simple_pcapng(packets: &[Vec<u8>], link_type: LinkType, limit: u32) -> Vec<u8> {
    let mut file = Writer { bytes: Vec::new(), big_endian: false };
    file.block(0x0a0d_0d0a, |block| {
        block.u32(0x1a2b_3c4d).u16(1).u16(0).u64(u64::MAX);
    });
    file.block(1, |block| {
        block.u16(link_type.0).u16(0).u32(limit);
    });
    for packet in packets {
        let captured = packet.len().min(usize::try_from(limit).unwrap());
        file.block(3, |block| {
            block.u32(u32::try_from(packet.len()).unwrap()).padded(&packet[..captured]);
        });
    }
    file.bytes
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ticks {
    pub(super) resolution: u8,
    pub(super) per_second: u64,
    pub(super) offset_seconds: i64,
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
