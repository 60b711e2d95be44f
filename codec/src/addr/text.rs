//! How are addresses written for people?
//!
//! As Ceph prints and reads them: `v1:1.2.3.4:6789/0`, `v2:[::1]:3300/5`, `-` for none, `any:` in front
//! only when read (an address of type *any* prints without prefix), `[a,b]` for several.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::str::FromStr;

use super::{AddrType, AddrVec, EntityAddr};
use crate::error::{Flaw, Malformed};

impl fmt::Display for AddrType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => f.write_str("none"),
            Self::LEGACY => f.write_str("v1"),
            Self::MSGR2 => f.write_str("v2"),
            Self::ANY => f.write_str("any"),
            Self(other) => write!(f, "unknown({other})"),
        }
    }
}

impl fmt::Debug for AddrType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for EntityAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == AddrType::NONE {
            return f.write_str("-");
        }
        if self.kind != AddrType::ANY {
            write!(f, "{}:", self.kind)?;
        }
        match self.socket {
            // Not by way of SocketAddrV6's own text: a scope id is no part of Ceph's form.
            Some(SocketAddr::V6(v6)) => write!(f, "[{}]:{}", v6.ip(), v6.port())?,
            Some(SocketAddr::V4(v4)) => write!(f, "{v4}")?,
            None => f.write_str("(unrecognized address family 0)")?,
        }
        write!(f, "/{}", self.nonce)
    }
}

impl fmt::Debug for EntityAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for AddrVec {
    /// A vector of one prints as that address, as in Ceph's logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [one] = &self.0[..] {
            return write!(f, "{one}");
        }
        f.write_str("[")?;
        for (n, addr) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{addr}")?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for AddrVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for EntityAddr {
    type Err = Malformed;

    /// Reads `[v1:|v2:|any:]IP[:PORT][/NONCE]` or `-`. Without prefix it is a v2 address, as Ceph reads it.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "-" {
            return Ok(Self::default());
        }
        let prefixes = [("v1:", AddrType::LEGACY), ("v2:", AddrType::MSGR2), ("any:", AddrType::ANY)];
        let (kind, body) = prefixes
            .iter()
            .find_map(|(prefix, kind)| Some((*kind, text.strip_prefix(prefix)?)))
            .unwrap_or((AddrType::MSGR2, text));
        let wrong = |part: &str, field, expected| {
            // `part` is a slice of `text`: its place is the distance between their ends' starts.
            let offset = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize) as u64;
            Malformed::new("text", field, offset, Flaw::Text { expected })
        };
        let (endpoint, nonce) = match body.split_once('/') {
            Some((endpoint, nonce)) => {
                (endpoint, number(nonce).ok_or_else(|| wrong(nonce, "nonce", "a number below 2^32"))?)
            }
            None => (body, 0),
        };
        let (host, port) = split_port(endpoint);
        let ip: IpAddr = host.parse().map_err(|_| wrong(host, "ip", "an IP address"))?;
        let port = match port {
            Some(digits) => number(digits).ok_or_else(|| wrong(digits, "port", "a number below 65536"))?,
            None => 0,
        };
        let socket = match ip {
            IpAddr::V4(_) => SocketAddr::new(ip, port),
            IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, 0).into(),
        };
        Ok(Self { kind, nonce, socket: Some(socket) })
    }
}

/// Host and port; an IPv6 address with a port, and only such a one, stands in brackets.
fn split_port(endpoint: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = endpoint.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        return match rest.strip_prefix(':') {
            // Anything else in or behind the brackets: let the address parser refuse the whole.
            _ if !host.contains(':') => (endpoint, None),
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => (endpoint, None),
        };
    }
    match endpoint.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        _ => (endpoint, None),
    }
}

/// Digits alone: `parse` would take a sign too.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl FromStr for AddrVec {
    type Err = Malformed;

    /// Reads `[a,b,…]`, `a,b` or a single address; `[]` is the empty vector.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text == "[]" {
            return Ok(Self::default());
        }
        // "[::1]:3300" starts with a bracket that belongs to the address.
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let (list, shift) = match inner {
            Some(list) => (list, 1),
            None => (text, 0),
        };
        let mut addrs = Vec::new();
        let mut at = shift;
        for part in list.split(',') {
            let addr =
                part.parse().map_err(|error: Malformed| Malformed { offset: error.offset + at, ..error })?;
            addrs.push(addr);
            at += part.len() as u64 + 1;
        }
        Ok(Self(addrs))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for (text, printed) in [
            ("1.2.3.4", "v2:1.2.3.4:0/0"),
            ("1.2.3.4:3300", "v2:1.2.3.4:3300/0"),
            ("v1:1.2.3.4:6789/0", "v1:1.2.3.4:6789/0"),
            ("any:1.2.3.4:0/77", "1.2.3.4:0/77"),
            ("[::1]:3300/5", "v2:[::1]:3300/5"),
            ("v2:::1", "v2:[::1]:0/0"),
            ("v1:[fe80::2]", "v1:[fe80::2]:0/0"),
            ("-", "-"),
        ] {
            let addr: EntityAddr = text.parse().unwrap();
            assert_eq!(addr.to_string(), printed, "{text}");
        }
        for (text, printed) in [
            ("[v2:[::1]:3300/5,v1:1.2.3.4:6789/5]", "[v2:[::1]:3300/5,v1:1.2.3.4:6789/5]"),
            ("v2:1.2.3.4:3300,v1:1.2.3.4:6789", "[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]"),
            ("[v2:1.2.3.4:3300]", "v2:1.2.3.4:3300/0"),
            ("[::1]:3300/5", "v2:[::1]:3300/5"),
            ("[]", "[]"),
        ] {
            let addrs: AddrVec = text.parse().unwrap();
            assert_eq!(addrs.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn names_the_place_of_a_mistake() {
        for (text, field, offset) in [
            ("v1:1.2.3:6789/0", "ip", 3),
            ("v1:1.2.3.4:x/0", "port", 11),
            ("v1:1.2.3.4:65536/0", "port", 11),
            ("v1:1.2.3.4:1/4294967296", "nonce", 13),
            ("v1:1.2.3.4:1/-1", "nonce", 13),
            ("v2:[::1]x", "ip", 3),
            ("v1:[1.2.3.4]:5/6", "ip", 3),
            ("", "ip", 0),
            ("[v2:1.1.1.1:1/1,v1:zz]", "ip", 19),
        ] {
            let error = text.parse::<AddrVec>().unwrap_err();
            assert_eq!((error.field, error.offset), (field, offset), "{text}: {error}");
        }
    }
}
