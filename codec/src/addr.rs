//! Where does an entity live, and how is that written on the wire?
//!
//! Three layouts exist (docs of Ceph: `entity_addr_t`, `entity_addrvec_t`). The first byte tells them
//! apart for a decoder that must take any:
//!
//! ```text
//! 0  legacy, 136 bytes          marker 0 + 3 bytes, nonce u32, sockaddr_storage(128): family BIG-endian
//! 1  versioned (MSG_ADDR2)      marker 1, struct header (v, compat, len), type u32, nonce u32,
//!                               sockaddr length u32, sockaddr: family LITTLE-endian
//! 2  vector of versioned ones   marker 2, count u32, then count × (marker 1 …)
//! ```
//!
//! In both, the port and the IP address are in network order. v1's handshake uses the legacy layout
//! alone; v2's frames use the others. For the text forms see [`EntityAddr`]'s `Display` and `FromStr`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use bytes::BufMut;
use nom::Parser;

use crate::error::{Flaw, Malformed};
use crate::parse::{self, Parsed, array, fail, take};

mod text;

/// Which protocol is spoken at an address: the `type` field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct AddrType(pub u32);

impl AddrType {
    /// No address at all.
    pub const NONE: Self = Self(0);
    /// Messenger v1; printed `v1:`.
    pub const LEGACY: Self = Self(1);
    /// Messenger v2; printed `v2:`.
    pub const MSGR2: Self = Self(2);
    /// Either; what a client that does not listen gives as its own. Printed without prefix.
    pub const ANY: Self = Self(3);
}

/// One address of an entity: protocol, IP and port, and a nonce.
///
/// The nonce tells apart processes that use the same port one after the other; monitors have 0.
/// `None` as socket is a sockaddr without family (a peer that does not know its address yet).
///
/// ```
/// use cephwire_codec::EntityAddr;
/// let addr: EntityAddr = "v1:1.2.3.4:6789/15".parse()?;
/// assert_eq!(addr.nonce, 15);
/// assert_eq!(addr.to_string(), "v1:1.2.3.4:6789/15");
/// # Ok::<(), cephwire_codec::Malformed>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct EntityAddr {
    /// The protocol.
    pub kind: AddrType,
    /// A number that a process draws when it starts.
    pub nonce: u32,
    /// IP address and port.
    pub socket: Option<SocketAddr>,
}

/// All addresses of an entity, most preferred first: `entity_addrvec_t`.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct AddrVec(pub Vec<EntityAddr>);

/// The size of the legacy layout.
pub const LEGACY_LEN: usize = 136;

const MARKER_LEGACY: u8 = 0;
const MARKER_VERSIONED: u8 = 1;
const MARKER_VECTOR: u8 = 2;
/// Families as on Linux, on every platform.
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCKADDR_IN: usize = 16;
const SOCKADDR_IN6: usize = 28;
const SOCKADDR_STORAGE: usize = 128;
/// The fewest bytes of a versioned address: marker, struct header, type, nonce, length 0.
const VERSIONED_LEAST: usize = 19;

impl EntityAddr {
    /// An address of protocol `kind`.
    #[must_use]
    pub const fn new(kind: AddrType, socket: SocketAddr, nonce: u32) -> Self {
        Self { kind, nonce, socket: Some(socket) }
    }

    /// Whether the IP is not known: no family, `0.0.0.0` or `::`.
    #[must_use]
    pub fn is_blank_ip(&self) -> bool {
        self.socket.is_none_or(|socket| socket.ip().is_unspecified())
    }

    /// The IP address, if there is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.socket.map(|socket| socket.ip())
    }

    /// Decodes an address in the legacy or the versioned layout; returns it with the bytes after it.
    ///
    /// # Errors
    /// Bytes that are neither, with the field and its offset in `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        parse::structure("entity_addr", 0, bytes, |input| {
            let (rest, addr) = any(input)?;
            Ok((rest, (addr, rest)))
        })
    }

    /// Appends the legacy layout ([`LEGACY_LEN`] bytes). Its type is not on the wire.
    pub fn encode_legacy(&self, out: &mut impl BufMut) {
        out.put_u32_le(0);
        out.put_u32_le(self.nonce);
        let used = match self.socket {
            None => 0,
            Some(SocketAddr::V4(v4)) => {
                out.put_u16(AF_INET);
                put_v4(&v4, out)
            }
            Some(SocketAddr::V6(v6)) => {
                out.put_u16(AF_INET6);
                put_v6(&v6, out)
            }
        };
        out.put_bytes(0, SOCKADDR_STORAGE - used);
    }

    /// Appends the versioned layout.
    pub fn encode(&self, out: &mut impl BufMut) {
        // An address without family takes the room of the larger one, as Ceph's union does.
        let len = if matches!(self.socket, Some(SocketAddr::V4(_))) { SOCKADDR_IN } else { SOCKADDR_IN6 };
        out.put_slice(&[MARKER_VERSIONED, 1, 1]);
        out.put_u32_le(12 + len as u32);
        out.put_u32_le(self.kind.0);
        out.put_u32_le(self.nonce);
        out.put_u32_le(len as u32);
        match self.socket {
            None => out.put_bytes(0, len),
            Some(SocketAddr::V4(v4)) => {
                out.put_u16_le(AF_INET);
                let used = put_v4(&v4, out);
                out.put_bytes(0, len - used);
            }
            Some(SocketAddr::V6(v6)) => {
                out.put_u16_le(AF_INET6);
                put_v6(&v6, out);
            }
        }
    }
}

impl AddrVec {
    /// The first address of protocol `kind`.
    #[must_use]
    pub fn first_of(&self, kind: AddrType) -> Option<&EntityAddr> {
        self.0.iter().find(|addr| addr.kind == kind)
    }

    /// Decodes any of the three layouts; returns the vector with the bytes after it.
    ///
    /// # Errors
    /// Bytes that are none of them, with the field and its offset in `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Malformed> {
        parse::structure("entity_addrvec", 0, bytes, |input| {
            let (rest, addrs) = vector(input)?;
            Ok((rest, (addrs, rest)))
        })
    }

    /// Appends the vector layout, for peers with feature MSG_ADDR2 (every v2 peer).
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_u8(MARKER_VECTOR);
        out.put_u32_le(self.0.len() as u32);
        self.0.iter().for_each(|addr| addr.encode(out));
    }

    /// Appends what older peers read: the first v1 address in the legacy layout, or a blank one.
    pub fn encode_legacy(&self, out: &mut impl BufMut) {
        self.first_of(AddrType::LEGACY).copied().unwrap_or_default().encode_legacy(out);
    }
}

impl From<EntityAddr> for AddrVec {
    fn from(addr: EntityAddr) -> Self {
        Self(vec![addr])
    }
}

/// Port and address after the family; returns the bytes of sockaddr so far, the family's two included.
fn put_v4(v4: &SocketAddrV4, out: &mut impl BufMut) -> usize {
    out.put_u16(v4.port());
    out.put_slice(&v4.ip().octets());
    8
}

fn put_v6(v6: &SocketAddrV6, out: &mut impl BufMut) -> usize {
    out.put_u16(v6.port());
    out.put_u32_le(v6.flowinfo());
    out.put_slice(&v6.ip().octets());
    out.put_u32_le(v6.scope_id());
    SOCKADDR_IN6
}

/// An address in the legacy or the versioned layout.
pub(crate) fn any(input: &[u8]) -> Parsed<'_, EntityAddr> {
    let (rest, marker) = parse::u8("marker")(input)?;
    match marker {
        MARKER_LEGACY => legacy_body(rest),
        MARKER_VERSIONED => versioned_body(rest),
        found => fail(input, "marker", Flaw::Unknown { found: u64::from(found) }),
    }
}

/// An address in the legacy layout alone, as v1's handshake has it.
pub(crate) fn legacy(input: &[u8]) -> Parsed<'_, EntityAddr> {
    let (rest, marker) = parse::u8("marker")(input)?;
    if marker != MARKER_LEGACY {
        return fail(input, "marker", Flaw::Value { expected: 0, found: marker.into() });
    }
    legacy_body(rest)
}

/// Any of the three layouts as a vector.
pub(crate) fn vector(input: &[u8]) -> Parsed<'_, AddrVec> {
    let (rest, marker) = parse::u8("marker")(input)?;
    match marker {
        MARKER_LEGACY => legacy_body.map(AddrVec::from).parse(rest),
        MARKER_VERSIONED => versioned_body.map(AddrVec::from).parse(rest),
        MARKER_VECTOR => parse::list("count", VERSIONED_LEAST, any).map(AddrVec).parse(rest),
        found => fail(input, "marker", Flaw::Unknown { found: u64::from(found) }),
    }
}

/// The legacy layout behind its marker byte.
fn legacy_body(input: &[u8]) -> Parsed<'_, EntityAddr> {
    // The marker and these three bytes were once the type; Ceph ignores them.
    let (rest, _) = array::<3>("type")(input)?;
    let (rest, nonce) = parse::u32("nonce")(rest)?;
    let (rest, storage) = take("sockaddr", SOCKADDR_STORAGE)(rest)?;
    let socket = socket(storage, u16::from_be_bytes);
    let kind = if socket.is_some() { AddrType::LEGACY } else { AddrType::NONE };
    Ok((rest, EntityAddr { kind, nonce, socket }))
}

/// The versioned layout behind its marker byte.
fn versioned_body(input: &[u8]) -> Parsed<'_, EntityAddr> {
    parse::versioned(1, |fields| {
        let (rest, kind) = parse::u32("type")(fields)?;
        let (rest, nonce) = parse::u32("nonce")(rest)?;
        let (after, len) = parse::u32("sockaddr_len")(rest)?;
        let (end, sockaddr) = take("sockaddr", len as usize)(after)?;
        let most = match sockaddr.first_chunk() {
            Some(family) if u16::from_le_bytes(*family) == AF_INET => SOCKADDR_IN,
            _ => SOCKADDR_IN6,
        };
        if len == 1 || sockaddr.len() > most {
            return fail(
                rest,
                "sockaddr_len",
                Flaw::Range { least: 2, most: most as u64, found: u64::from(len) },
            );
        }
        // A shorter sockaddr than its family's stands for one that ends in zeros.
        let mut padded = [0; SOCKADDR_IN6];
        padded.iter_mut().zip(sockaddr).for_each(|(to, from)| *to = *from);
        Ok((end, EntityAddr { kind: AddrType(kind), nonce, socket: socket(&padded, u16::from_le_bytes) }))
    })(input)
}

/// A sockaddr of at least [`SOCKADDR_IN6`] bytes; other families than IP's give none, as in Ceph.
fn socket(sockaddr: &[u8], family: impl Fn([u8; 2]) -> u16) -> Option<SocketAddr> {
    let (family_bytes, rest) = sockaddr.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let port = u16::from_be_bytes(*port);
    match family(*family_bytes) {
        AF_INET => Some((Ipv4Addr::from(*rest.first_chunk()?), port).into()),
        AF_INET6 => {
            let (flowinfo, rest) = rest.split_first_chunk()?;
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            let scope_id = u32::from_le_bytes(*rest.first_chunk()?);
            Some(SocketAddrV6::new((*ip).into(), port, u32::from_le_bytes(*flowinfo), scope_id).into())
        }
        _ => None,
    }
}
