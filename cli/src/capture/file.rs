//! Which packets does a capture file hold, and when was each seen?
//!
//! Reads pcap (both byte orders, microseconds and nanoseconds) and pcapng (both byte orders, any time
//! resolution, several sections and interfaces), each also compressed with gzip, from anything that can be
//! read, and holds one record at a time in memory.
//!
//! The records are parsed by the functions of `pcap-parser`. Its streaming readers are not used: they want the
//! whole first block from the first read, which a pipe need not give, they drop the error of a failed read and
//! do not give the input back, so its position could not be shown.

mod pcapng;

use std::fmt;
use std::io::Read;
use std::ops::Range;

use pcap_parser::{
    PcapHeader, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header,
};

use self::pcapng::Section;
use super::error::CaptureError;
use super::packet::LinkType;
use super::source::Window;

/// The longest record that is accepted; Wireshark has the same limit.
const MAX_RECORD: usize = 16 * 1024 * 1024;

const PCAP_HEADER: usize = 24;
const MICROSECOND: u64 = 1_000;
const SECOND: u64 = 1_000_000_000;

/// A packet of a capture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// When it was seen, in nanoseconds since 1970. (pcapng's simple packets have no time: it is that of the
    /// packet before them.)
    pub time: u64,
    /// What `bytes` begin with.
    pub link_type: LinkType,
    /// The captured bytes.
    pub bytes: &'a [u8],
    /// How long the packet was. More than `bytes.len()` when the capture was limited (tcpdump's `snaplen`).
    pub original_len: u32,
}

/// Reads the packets of a capture file one by one.
pub struct CaptureFile<R: Read> {
    window: Window<R>,
    format: Format,
    /// The length of the record that was delivered last and is not consumed yet.
    delivered: usize,
}

impl<R: Read> fmt::Debug for CaptureFile<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureFile").field("bytes_read", &self.bytes_read()).finish_non_exhaustive()
    }
}

enum Format {
    Pcap(PcapHeader),
    Pcapng(Section),
}

/// Where a packet is in the visible bytes; without a borrow of them, so that records can be skipped in a loop.
struct Found {
    time: u64,
    link_type: LinkType,
    original_len: u32,
    bytes: Range<usize>,
}

impl<R: Read> CaptureFile<R> {
    /// Recognizes the format by the first bytes.
    pub fn new(input: R) -> Result<Self, CaptureError> {
        let mut window = Window::new(input)?;
        if window.fill(4)? < 4 && window.is_cut() {
            return Err(truncated(&window, 4));
        }
        let format = match window.visible().first_chunk::<4>() {
            Some(&pcapng::SECTION_HEADER) => Format::Pcapng(Section::new()),
            Some(magic) if parse_pcap_header(magic).is_err_and(|error| error.is_incomplete()) => {
                if window.fill(PCAP_HEADER)? < PCAP_HEADER {
                    return Err(truncated(&window, PCAP_HEADER));
                }
                let (_, header) = parse_pcap_header(window.visible())
                    .map_err(|_| malformed(&window, "invalid file header"))?;
                window.consume(PCAP_HEADER);
                Format::Pcap(header)
            }
            _ => return Err(CaptureError::NotACapture),
        };
        Ok(Self { window, format, delivered: 0 })
    }

    /// The next packet, or `None` at the end of the capture.
    pub fn next_packet(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        self.window.consume(std::mem::take(&mut self.delivered));
        let found = match &mut self.format {
            Format::Pcap(header) => next_of_pcap(&mut self.window, header, &mut self.delivered)?,
            Format::Pcapng(section) => section.next(&mut self.window, &mut self.delivered)?,
        };
        Ok(found.map(|found| Packet {
            time: found.time,
            link_type: found.link_type,
            bytes: self.window.visible().get(found.bytes).unwrap_or_default(),
            original_len: found.original_len,
        }))
    }

    /// How many bytes of the file were read; compressed ones if it is compressed.
    pub fn bytes_read(&self) -> u64 {
        self.window.bytes_read()
    }
}

fn next_of_pcap<R: Read>(
    window: &mut Window<R>,
    header: &PcapHeader,
    delivered: &mut usize,
) -> Result<Option<Found>, CaptureError> {
    let modified = header.is_modified_format();
    let head = if modified { 24 } else { 16 };
    if !fill_or_end(window, head)? {
        return Ok(None);
    }
    let length = match window.visible() {
        [_, _, _, _, _, _, _, _, l0, l1, l2, l3, ..] => read_u32([*l0, *l1, *l2, *l3], header.is_bigendian()),
        _ => return Err(truncated(window, head)),
    };
    let need = record_length(window, u64::from(length) + head as u64)?;
    if window.fill(need)? < need {
        return Err(truncated(window, need));
    }
    let parse = match (modified, header.is_bigendian()) {
        (true, _) => parse_pcap_frame_modified,
        (false, true) => parse_pcap_frame_be,
        (false, false) => parse_pcap_frame,
    };
    let (_, frame) = parse(window.visible()).map_err(|_| malformed(window, "invalid packet header"))?;
    let unit = if header.is_nanosecond_precision() { 1 } else { MICROSECOND };
    *delivered = need;
    Ok(Some(Found {
        time: u64::from(frame.ts_sec) * SECOND + u64::from(frame.ts_usec) * unit,
        link_type: LinkType::of_pcap_header(header.network.0),
        original_len: frame.origlen,
        bytes: head..head + frame.data.len(),
    }))
}

/// Makes the first `need` bytes of a record visible; false when the capture ends before the record.
fn fill_or_end<R: Read>(window: &mut Window<R>, need: usize) -> Result<bool, CaptureError> {
    match window.fill(need)? {
        0 if !window.is_cut() => Ok(false),
        have if have < need => Err(truncated(window, need)),
        _ => Ok(true),
    }
}

fn record_length<R: Read>(window: &Window<R>, length: u64) -> Result<usize, CaptureError> {
    match usize::try_from(length) {
        Ok(length) if length <= MAX_RECORD => Ok(length),
        _ => Err(CaptureError::BlockTooLarge { offset: window.position(), length, limit: MAX_RECORD as u64 }),
    }
}

fn read_u32(bytes: [u8; 4], big_endian: bool) -> u32 {
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

fn truncated<R: Read>(window: &Window<R>, need: usize) -> CaptureError {
    CaptureError::Truncated {
        offset: window.position(),
        have: window.visible().len() as u64,
        need: need as u64,
    }
}

fn malformed<R: Read>(window: &Window<R>, what: &'static str) -> CaptureError {
    CaptureError::Malformed { offset: window.position(), what }
}
