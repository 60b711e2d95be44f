//! What is one line of output about?

use std::collections::HashSet;
use std::net::SocketAddr;

use cephwire_codec::{Malformed, Side, v1, v2};

use super::cephx::Findings;
use crate::capture::End;

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Messenger v1.
    V1,
    /// Messenger v2.
    V2,
}

impl Protocol {
    /// `v1` or `v2`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// A stretch of one side's bytes, and what it is. The records of a side follow each other without gap or
/// overlap, so that every byte is accounted for.
#[derive(Clone, Debug)]
pub struct Record {
    /// The connection's number in its capture.
    pub connection: u64,
    /// When its last byte was captured: nanoseconds since 1970.
    pub time: u64,
    /// Which side sent it.
    pub from: Side,
    /// That side's IP address and port.
    pub src: SocketAddr,
    /// The other's.
    pub dst: SocketAddr,
    /// The sender as it calls itself, as far as it did.
    pub sender: String,
    /// The receiver's address as it calls itself, as far as it did.
    pub receiver: String,
    /// The protocol, where it is known.
    pub protocol: Option<Protocol>,
    /// How many bytes the side sent before.
    pub offset: u64,
    /// How many bytes it has.
    pub len: u64,
    /// What it is.
    pub what: What,
    /// What keys brought to light about it.
    pub findings: Findings,
}

/// What a stretch of bytes is.
#[derive(Clone, Debug)]
pub enum What {
    /// A frame of messenger v1.
    V1(Box<v1::Frame>, v1::Footprint),
    /// A frame of messenger v2.
    V2(Box<v2::Frame>, v2::Footprint),
    /// Sealed with keys that we do not have.
    Encrypted,
    /// The beginning of a frame whose rest was never sent, as the connection was closed.
    Cut(End),
    /// Another protocol than Ceph's, or another than the peer's: the banner it begins with, if it is Ceph's.
    Foreign(Option<Protocol>),
    /// Bytes that cannot be decoded.
    Undecodable(Why),
    /// Bytes that the capture lacks; they count as an error, but not as bytes.
    Missing,
}

/// Why bytes cannot be decoded.
#[derive(Clone, Debug)]
pub enum Why {
    /// The first of them breaks the protocol.
    Malformed(Box<Malformed>),
    /// Their beginning, or what they depend on, is not in the capture.
    Unsynchronized(&'static str),
}

impl Record {
    /// The name of the frame or of what stands in its place: `frame` in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match &self.what {
            What::V1(frame, _) => v1_name(frame),
            What::V2(frame, _) => v2_name(frame),
            What::Encrypted => "encrypted",
            What::Cut(_) => "cut",
            What::Foreign(_) => "foreign",
            What::Undecodable(_) => "undecodable",
            What::Missing => "missing",
        }
    }

    /// Whether something is wrong with it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.findings.problem().is_some() || self.what.is_error()
    }
}

impl What {
    fn is_error(&self) -> bool {
        match self {
            Self::Undecodable(_) | Self::Missing => true,
            Self::V1(_, footprint) => footprint.bad_crc,
            Self::V2(_, footprint) => footprint.bad_crc,
            Self::Encrypted | Self::Cut(_) | Self::Foreign(_) => false,
        }
    }
}

const OTHERS: [&str; 6] = ["aborted", "encrypted", "cut", "foreign", "undecodable", "missing"];

const V1: [&str; 11] = [
    "banner",
    "address",
    "connect",
    "connect_reply",
    "seq",
    "message",
    "ack",
    "keepalive",
    "keepalive2",
    "keepalive2_ack",
    "close",
];

/// By their tags' numbers.
const V2: [&str; 23] = [
    "banner",
    "hello",
    "auth_request",
    "auth_bad_method",
    "auth_reply_more",
    "auth_request_more",
    "auth_done",
    "auth_signature",
    "client_ident",
    "server_ident",
    "ident_missing_features",
    "session_reconnect",
    "session_reset",
    "session_retry",
    "session_retry_global",
    "session_reconnect_ok",
    "wait",
    "message",
    "keepalive2",
    "keepalive2_ack",
    "ack",
    "compression_request",
    "compression_done",
];

/// All names that a record can have, by where they come from.
pub(super) const NAMES: [(&str, &[&str]); 3] =
    [("messenger v1", &V1), ("messenger v2", &V2), ("what stands in their place", &OTHERS)];

/// All names that a record can have, each once.
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = NAMES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(*name));
    names
}

fn v1_name(frame: &v1::Frame) -> &'static str {
    use v1::Frame;
    match frame {
        Frame::Banner => "banner",
        Frame::Address(_) => "address",
        Frame::Connect(_) => "connect",
        Frame::Reply(_) => "connect_reply",
        Frame::Seq(_) => "seq",
        Frame::Message(_) => "message",
        Frame::Aborted { .. } => "aborted",
        Frame::Ack(_) => "ack",
        Frame::Keepalive => "keepalive",
        Frame::Keepalive2(_) => "keepalive2",
        Frame::Keepalive2Ack(_) => "keepalive2_ack",
        Frame::Close => "close",
        _ => "unknown",
    }
}

fn v2_name(frame: &v2::Frame) -> &'static str {
    match (frame, frame.tag()) {
        (v2::Frame::Aborted(_), _) => "aborted",
        (_, None) => "banner",
        (_, Some(tag)) => V2.get(tag as usize).copied().unwrap_or("unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_names_are_those_of_the_tags() {
        assert!(
            v2::Tag::ALL
                .iter()
                .all(|(tag, name)| V2.get(*tag as usize) == Some(&name.to_lowercase().as_str()))
        );
    }
}
