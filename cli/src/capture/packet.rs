//! What does a captured packet say about a TCP connection?
//!
//! Takes off the link layer (Ethernet with VLAN tags, Linux cooked, raw IP, BSD loopback) and IP, and reads the
//! TCP header. IP lengths are read laxly: with segmentation offload the kernel shows packets whose length it has
//! not filled in yet, or which are longer than an IP length can say; then the rest of the packet is the segment.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, LenSource, ip_number};

/// The number that says which headers a captured packet begins with (`LINKTYPE_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: the address family in the byte order of the capturing machine.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// IP without anything before it.
    pub const RAW: Self = Self(101);
    /// BSD loopback: the address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1 (`tcpdump -i any`).
    pub const LINUX_SLL: Self = Self(113);
    /// IPv4 without anything before it.
    pub const IPV4: Self = Self(228);
    /// IPv6 without anything before it.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture, version 2 (`tcpdump -i any` since 2020).
    pub const LINUX_SLL2: Self = Self(276);

    /// The field of a file also says things about the frame check sequence, in its upper half.
    pub(super) fn of_pcap_header(field: i32) -> Self {
        let [low, high, ..] = field.to_le_bytes();
        Self(u16::from_le_bytes([low, high]))
    }
}

impl fmt::Display for LinkType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What a packet is, as far as TCP is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketContent<'a> {
    /// A TCP segment.
    Tcp(Segment<'a>),
    /// A fragment of an IP packet. Fragments are not put together: TCP avoids them.
    Fragment,
    /// Something else, or too damaged or cut too short to be read.
    Other,
    /// A packet of a link type that is not supported.
    UnsupportedLinkType,
}

/// A TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// Who is to receive it.
    pub destination: SocketAddr,
    /// The sequence number of the first byte (or of the SYN before it).
    pub sequence: u32,
    /// The acknowledgment number, if the ACK flag is set.
    pub acknowledgment: Option<u32>,
    /// The SYN flag: the first segment of its direction.
    pub syn: bool,
    /// The FIN flag: the last segment of its direction.
    pub fin: bool,
    /// The RST flag: the end of the connection.
    pub rst: bool,
    /// The bytes it carries, as far as they were captured.
    pub payload: &'a [u8],
    /// How many more bytes it carries that were not captured.
    pub cut: u32,
}

impl Segment<'_> {
    /// Whether it carries bytes of the stream, captured or not.
    pub(super) fn has_data(&self) -> bool {
        !self.payload.is_empty() || self.cut > 0
    }
}

impl<'a> PacketContent<'a> {
    /// Reads a packet of `original_len` bytes, of which `bytes` were captured.
    pub fn new(link_type: LinkType, bytes: &'a [u8], original_len: u32) -> Self {
        match link_layer(link_type, bytes) {
            Ok(Some(packet)) => internet_layer(&packet, bytes.len(), original_len),
            Ok(None) => Self::Other,
            Err(Unsupported) => Self::UnsupportedLinkType,
        }
    }
}

struct Unsupported;

fn link_layer(link_type: LinkType, bytes: &[u8]) -> Result<Option<LaxSlicedPacket<'_>>, Unsupported> {
    Ok(match link_type {
        LinkType::ETHERNET => LaxSlicedPacket::from_ethernet(bytes).ok(),
        LinkType::LINUX_SLL => bytes
            .split_first_chunk::<16>()
            .map(|([.., p0, p1], rest)| of_ether_type(u16::from_be_bytes([*p0, *p1]), rest)),
        LinkType::LINUX_SLL2 => bytes
            .split_first_chunk::<20>()
            .map(|([p0, p1, ..], rest)| of_ether_type(u16::from_be_bytes([*p0, *p1]), rest)),
        LinkType::RAW | LinkType::IPV4 | LinkType::IPV6 => LaxSlicedPacket::from_ip(bytes).ok(),
        LinkType::NULL | LinkType::LOOP => bytes
            .split_first_chunk::<4>()
            .filter(|(family, _)| is_internet_family(**family))
            .and_then(|(_, rest)| LaxSlicedPacket::from_ip(rest).ok()),
        _ => return Err(Unsupported),
    })
}

fn of_ether_type(ether_type: u16, bytes: &[u8]) -> LaxSlicedPacket<'_> {
    LaxSlicedPacket::from_ether_type(EtherType(ether_type), bytes)
}

/// The families are those of the capturing machine: IPv4 is 2 everywhere, IPv6 differs from system to system.
fn is_internet_family(family: [u8; 4]) -> bool {
    let known = |family: u32| matches!(family, 2 | 10 | 23 | 24 | 28 | 30);
    known(u32::from_le_bytes(family)) || known(u32::from_be_bytes(family))
}

fn internet_layer<'a>(packet: &LaxSlicedPacket<'a>, captured: usize, original_len: u32) -> PacketContent<'a> {
    let not_captured = u64::from(original_len).saturating_sub(captured as u64);
    let (source, destination, ip_payload, headers, claimed): (IpAddr, IpAddr, _, usize, usize) = match &packet
        .net
    {
        Some(LaxNetSlice::Ipv4(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
            ip.payload(),
            ip.header().slice().len() + ip.extensions().auth.as_ref().map_or(0, |auth| auth.slice().len()),
            ip.header().total_len().into(),
        ),
        Some(LaxNetSlice::Ipv6(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
            ip.payload(),
            ip.header().slice().len() + ip.extensions().slice().len(),
            ip.header().slice().len() + usize::from(ip.header().payload_length()),
        ),
        _ => return PacketContent::Other,
    };
    if ip_payload.fragmented {
        return PacketContent::Fragment;
    }
    if ip_payload.ip_number != ip_number::TCP {
        return PacketContent::Other;
    }
    let cut = if ip_payload.incomplete {
        (claimed as u64).saturating_sub((headers + ip_payload.payload.len()) as u64)
    } else if ip_payload.len_source == LenSource::Slice {
        not_captured
    } else {
        0
    };
    match transport_layer(source, destination, ip_payload.payload, cut) {
        Some(segment) => PacketContent::Tcp(segment),
        None => PacketContent::Other,
    }
}

/// Reads the header itself, not by etherparse, which refuses one whose options were not captured as a whole: that
/// happens to SYN segments of captures with a small limit.
fn transport_layer(source: IpAddr, destination: IpAddr, bytes: &[u8], cut: u64) -> Option<Segment<'_>> {
    const FIN: u8 = 0x01;
    const SYN: u8 = 0x02;
    const RST: u8 = 0x04;
    const ACK: u8 = 0x10;

    let &[s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, header_len, flags, ..] =
        bytes.first_chunk::<20>()?;
    let header_len = usize::from(header_len >> 4) * 4;
    if header_len < 20 {
        return None;
    }
    let of_header_cut = header_len.saturating_sub(bytes.len());
    Some(Segment {
        source: SocketAddr::new(source, u16::from_be_bytes([s0, s1])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([d0, d1])),
        sequence: u32::from_be_bytes([q0, q1, q2, q3]),
        acknowledgment: (flags & ACK != 0).then_some(u32::from_be_bytes([a0, a1, a2, a3])),
        syn: flags & SYN != 0,
        fin: flags & FIN != 0,
        rst: flags & RST != 0,
        payload: bytes.get(header_len..).unwrap_or_default(),
        cut: u32::try_from(cut.saturating_sub(of_header_cut as u64)).unwrap_or(u32::MAX),
    })
}
