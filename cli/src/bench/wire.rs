//! What do Ceph's own benchmark programs put on the wire?
//!
//! ```text
//!   ceph_perf_msgr_client                       ceph_perf_msgr_server
//!     MOSDOp (42): front 220, data = the size ──►
//!                                             ◄── MOSDOpReply (43): front 102, the request's tid
//! ```
//!
//! A write of one object and its result. Ceph: `src/test/msgr/perf_msgr_client.cc`, `perf_msgr_server.cc`.

use bytes::{Buf as _, Bytes};
use cephwire::codec::{Chunks, Header, Message, MessageType, priority, v1, v2};

use super::Version;

/// Makes the messages; cloning a front costs a reference count.
#[derive(Clone, Debug)]
pub(super) struct Fronts {
    request: Bytes,
    reply: Bytes,
}

impl Fronts {
    /// The fronts of writes of `size` bytes.
    pub(super) fn new(size: usize) -> Self {
        let mut request = from_hex(REQUEST);
        if let Some(len) = request.get_mut(WRITE_LEN..WRITE_LEN + 8) {
            len.copy_from_slice(&(size as u64).to_le_bytes());
        }
        Self { request: request.into(), reply: from_hex(REPLY).into() }
    }

    /// A request that writes `data`.
    pub(super) fn request(&self, tid: u64, data: Bytes) -> Message {
        let header = Header {
            tid,
            kind: MessageType(42),
            priority: priority::DEFAULT,
            version: 8,
            compat_version: 3,
            data_off: 0,
        };
        Message { header, front: self.request.clone().into(), data: data.into(), ..Message::default() }
    }

    /// The reply to the request with this tid.
    pub(super) fn reply(&self, tid: u64) -> Message {
        let header = Header {
            tid,
            kind: MessageType(43),
            priority: priority::DEFAULT,
            version: 8,
            compat_version: 2,
            data_off: 0,
        };
        Message { header, front: self.reply.clone().into(), ..Message::default() }
    }
}

/// How many bytes the message is on the wire, in crc mode.
pub(super) fn wire_len(version: Version, message: Message) -> usize {
    let mut out = Chunks::new();
    let encoded = match version {
        Version::V1 => {
            let frame = v1::MessageFrame { seq: 1, message, ..Default::default() };
            v1::Encoder::new().encode_message(&frame, &mut out)
        }
        Version::V2 => {
            let frame = v2::MessageFrame { seq: 1, message, ..Default::default() };
            v2::Encoder::new().encode_message(&frame, &mut out)
        }
    };
    encoded.map_or(0, |()| out.remaining())
}

/// The bytes of a text of hexadecimal digits.
fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().filter_map(|char| char.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect()
}

/// Where in the request's front the length of the write is.
const WRITE_LEN: usize = 164;

const REQUEST: &str = "\
    01011200000001000000000000000000000000ffffffffff000000000000000000000000020215000000000000000000000000000000000000000000\
    00000000000000000000000000000000000000000000000000000000000000000000000000000006031c0000000000000000000000ffffffff000000\
    0000000000ffffffffffffffff0b0000006f626a6563742d6e616d650100012200000000000000000000000000100000000000000000000000000000\
    0000000000000000feffffffffffffff000000000000000000000000fffffffffffffdffb9cf013f";

const REPLY: &str = "\
    0000000001000000000000000000000000ffffffff0000000000000000000000000000000000000000000000000000000000000000ffffffff000000\
    000000000000000000000000000000000000000000000000000000000000000000000000000000000000";
