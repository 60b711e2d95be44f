//! Which bytes were said on each connection? Classic pcap, Ethernet, IPv4, TCP; nothing is lost on a loopback interface.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// A TCP connection: all that each side said.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Vec<u8>,
    pub(crate) server: Vec<u8>,
}

/// One direction while it is being read.
#[derive(Debug, Default)]
struct Half {
    /// The number of its first byte.
    first: Option<u32>,
    segments: BTreeMap<u32, Vec<u8>>,
}

impl Half {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (at, segment) in self.segments {
            let seen = bytes.len().saturating_sub(at as usize);
            assert!(at as usize <= bytes.len(), "a gap");
            bytes.extend_from_slice(segment.get(seen..).unwrap_or_default());
        }
        bytes
    }
}

type Endpoint = ([u8; 4], u16);

/// The connections that begin in the capture beside this sidecar, in order.
pub(crate) fn connections(sidecar: &Path) -> Vec<Connection> {
    let plain = sidecar.with_extension("pcap");
    let bytes = if plain.exists() {
        std::fs::read(plain).unwrap()
    } else {
        let mut bytes = Vec::new();
        let file = std::fs::File::open(sidecar.with_extension("pcap.gz")).unwrap();
        flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    let mut open: BTreeMap<(Endpoint, Endpoint), usize> = BTreeMap::new();
    let mut halves: Vec<(Half, Half)> = Vec::new();
    let mut rest = &bytes[24..];
    while rest.len() >= 16 {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        packet(&rest[16..16 + len], &mut open, &mut halves);
        rest = &rest[16 + len..];
    }
    let whole =
        |(client, server): (Half, Half)| Connection { client: client.bytes(), server: server.bytes() };
    halves.into_iter().map(whole).filter(|connection| !connection.server.is_empty()).collect()
}

fn packet(frame: &[u8], open: &mut BTreeMap<(Endpoint, Endpoint), usize>, halves: &mut Vec<(Half, Half)>) {
    let ip = &frame[14..];
    let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let header = usize::from(ip[0] & 15) * 4;
    // Segments of 64 KiB have no length that fits.
    let ip = if total == 0 { ip } else { &ip[..total.min(ip.len())] };
    let tcp = &ip[header..];
    let endpoint =
        |ip: &[u8], port: &[u8]| (ip.try_into().unwrap(), u16::from_be_bytes(port.try_into().unwrap()));
    let (from, to): (Endpoint, Endpoint) =
        (endpoint(&ip[12..16], &tcp[..2]), endpoint(&ip[16..20], &tcp[2..4]));
    let seq = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
    let (syn, ack) = (tcp[13] & 2 != 0, tcp[13] & 16 != 0);
    if syn && !ack {
        open.insert((from, to), halves.len());
        halves.push(Default::default());
    }
    let (n, by_client) = match (open.get(&(from, to)), open.get(&(to, from))) {
        (Some(n), _) => (*n, true),
        (None, Some(n)) => (*n, false),
        (None, None) => return,
    };
    let half = if by_client { &mut halves[n].0 } else { &mut halves[n].1 };
    if syn {
        half.first = Some(seq.wrapping_add(1));
    }
    let payload = &tcp[usize::from(tcp[12] >> 4) * 4..];
    if let Some(first) = half.first
        && !payload.is_empty()
        && !syn
    {
        let longer = |segment: &mut Vec<u8>| {
            if segment.len() < payload.len() {
                *segment = payload.to_vec();
            }
        };
        half.segments.entry(seq.wrapping_sub(first)).and_modify(longer).or_insert_with(|| payload.to_vec());
    }
}
