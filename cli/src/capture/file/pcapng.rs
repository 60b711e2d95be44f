//! Which block of a pcapng file holds the next packet, and what do the blocks before say about it?
//!
//! Only section headers, interface descriptions, enhanced and simple packets are read; all other blocks
//! (among them the obsolete packet block, which nothing has written for a decade) are passed over.

use std::io::Read;

use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{
    InterfaceDescriptionBlock, OptionCode, parse_enhancedpacketblock_be, parse_enhancedpacketblock_le,
    parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le, parse_sectionheaderblock,
    parse_simplepacketblock_be, parse_simplepacketblock_le,
};

use super::{Found, SECOND, fill_or_end, malformed, read_u32, record_length, truncated};
use crate::capture::error::CaptureError;
use crate::capture::packet::LinkType;
use crate::capture::source::Window;

/// The type of a section header block, the same in both byte orders.
pub(super) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const SECTION_HEADER_TYPE: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// The type, the length and the section header's byte order mark, which says how to read the length.
const HEAD: usize = 12;
const BIG_ENDIAN_MARK: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];
const ENHANCED_PACKET_HEAD: usize = 28;
const SIMPLE_PACKET_HEAD: usize = 12;

const MAX_INTERFACES: usize = 65_536;

/// What the blocks so far say about the blocks to come.
pub(super) struct Section {
    big_endian: bool,
    interfaces: Vec<Interface>,
    last_time: u64,
}

impl Section {
    pub(super) fn new() -> Self {
        Self { big_endian: false, interfaces: Vec::new(), last_time: 0 }
    }

    /// Consumes blocks up to the next packet, whose block's length is then in `delivered`.
    pub(super) fn next<R: Read>(
        &mut self,
        window: &mut Window<R>,
        delivered: &mut usize,
    ) -> Result<Option<Found>, CaptureError> {
        while let Some((block_type, length)) = self.next_block(window)? {
            let found = match block_type {
                SECTION_HEADER_TYPE => self.section_header(window).map(|()| None),
                INTERFACE_DESCRIPTION => self.interface_description(window).map(|()| None),
                ENHANCED_PACKET => self.enhanced_packet(window).map(Some),
                SIMPLE_PACKET => self.simple_packet(window).map(Some),
                _ => Ok(None),
            };
            match found.map_err(|what| malformed(window, what))? {
                Some(found) => {
                    *delivered = length;
                    return Ok(Some(found));
                }
                None => window.consume(length),
            }
        }
        Ok(None)
    }

    /// Makes the next block visible as a whole.
    fn next_block<R: Read>(&mut self, window: &mut Window<R>) -> Result<Option<(u32, usize)>, CaptureError> {
        if !fill_or_end(window, HEAD)? {
            return Ok(None);
        }
        let Some(&[t0, t1, t2, t3, l0, l1, l2, l3, m0, m1, m2, m3]) = window.visible().first_chunk::<HEAD>()
        else {
            return Err(truncated(window, HEAD));
        };
        if [t0, t1, t2, t3] == SECTION_HEADER {
            self.big_endian = [m0, m1, m2, m3] == BIG_ENDIAN_MARK;
        }
        let length = record_length(window, u64::from(read_u32([l0, l1, l2, l3], self.big_endian)))?;
        if length < HEAD {
            return Err(malformed(window, "block is shorter than its own frame"));
        }
        if window.fill(length)? < length {
            return Err(truncated(window, length));
        }
        Ok(Some((read_u32([t0, t1, t2, t3], self.big_endian), length)))
    }

    fn section_header<R: Read>(&mut self, window: &Window<R>) -> Result<(), &'static str> {
        let (_, header) = parse_sectionheaderblock(window.visible()).map_err(|_| "invalid section header")?;
        if header.major_version != 1 {
            return Err("unknown version of pcapng");
        }
        self.interfaces.clear();
        Ok(())
    }

    fn interface_description<R: Read>(&mut self, window: &Window<R>) -> Result<(), &'static str> {
        let parse = if self.big_endian {
            parse_interfacedescriptionblock_be
        } else {
            parse_interfacedescriptionblock_le
        };
        let (_, block) = parse(window.visible()).map_err(|_| "invalid interface description")?;
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err("too many interfaces");
        }
        self.interfaces.push(Interface::new(&block, self.big_endian));
        Ok(())
    }

    fn enhanced_packet<R: Read>(&mut self, window: &Window<R>) -> Result<Found, &'static str> {
        let parse = if self.big_endian { parse_enhancedpacketblock_be } else { parse_enhancedpacketblock_le };
        let (_, block) = parse(window.visible()).map_err(|_| "invalid enhanced packet")?;
        let interface = usize::try_from(block.if_id)
            .ok()
            .and_then(|index| self.interfaces.get(index))
            .ok_or("packet of an interface that was not described")?;
        self.last_time = interface.nanoseconds(u64::from(block.ts_high) << 32 | u64::from(block.ts_low));
        Ok(Found {
            time: self.last_time,
            link_type: interface.link_type,
            original_len: block.origlen,
            bytes: ENHANCED_PACKET_HEAD..ENHANCED_PACKET_HEAD + block.packet_data().len(),
        })
    }

    fn simple_packet<R: Read>(&mut self, window: &Window<R>) -> Result<Found, &'static str> {
        let parse = if self.big_endian { parse_simplepacketblock_be } else { parse_simplepacketblock_le };
        let (_, block) = parse(window.visible()).map_err(|_| "invalid simple packet")?;
        let interface = self.interfaces.first().ok_or("packet of an interface that was not described")?;
        // The block does not say how much was captured: the rest up to four bytes may be padding.
        let captured = block.packet_data().len().min(interface.capture_limit);
        Ok(Found {
            time: self.last_time,
            link_type: interface.link_type,
            original_len: block.origlen,
            bytes: SIMPLE_PACKET_HEAD..SIMPLE_PACKET_HEAD + captured,
        })
    }
}

struct Interface {
    link_type: LinkType,
    capture_limit: usize,
    /// How many ticks a second has; `None` for more than fit, all of whose times are 0.
    ticks_per_second: Option<u128>,
    offset_seconds: i64,
}

impl Interface {
    fn new(block: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        // pcap-parser's own accessors know no powers of two and no big-endian offset.
        let option =
            |code| block.options.iter().find(|option| option.code == code).map(|option| option.value());
        let resolution = option(OptionCode::IfTsresol).and_then(|value| value.first().copied()).unwrap_or(6);
        let exponent = u32::from(resolution & 0x7f);
        let base: u128 = if resolution & 0x80 == 0 { 10 } else { 2 };
        let offset = option(OptionCode::IfTsoffset).and_then(|value| value.first_chunk::<8>().copied());
        let read_i64 = if big_endian { i64::from_be_bytes } else { i64::from_le_bytes };
        Self {
            link_type: LinkType::of_pcap_header(block.linktype.0),
            capture_limit: match block.snaplen {
                0 => usize::MAX,
                limit => usize::try_from(limit).unwrap_or(usize::MAX),
            },
            ticks_per_second: base.checked_pow(exponent),
            offset_seconds: offset.map_or(0, read_i64),
        }
    }

    fn nanoseconds(&self, ticks: u64) -> u64 {
        let since_offset =
            self.ticks_per_second.map_or(0, |per_second| u128::from(ticks) * u128::from(SECOND) / per_second);
        let offset = i128::from(self.offset_seconds) * i128::from(SECOND);
        let time = i128::try_from(since_offset).unwrap_or(i128::MAX).saturating_add(offset);
        u64::try_from(time.max(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_any_resolution() {
        let interface = |ticks_per_second, offset_seconds| Interface {
            link_type: LinkType::ETHERNET,
            capture_limit: usize::MAX,
            ticks_per_second,
            offset_seconds,
        };
        assert_eq!(interface(Some(1_000_000), 0).nanoseconds(1_500_000), 1_500_000_000);
        assert_eq!(interface(Some(SECOND.into()), 0).nanoseconds(7), 7);
        assert_eq!(interface(Some(1024), 0).nanoseconds(512), 500_000_000);
        assert_eq!(interface(Some(1), 5).nanoseconds(2), 7 * SECOND);
        assert_eq!(interface(Some(1), -5).nanoseconds(2), 0);
        assert_eq!(interface(Some(1), 0).nanoseconds(u64::MAX), u64::MAX);
        assert_eq!(interface(None, 3).nanoseconds(u64::MAX), 3 * SECOND);
    }
}
