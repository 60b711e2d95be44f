//! Which monitors does `mon_host` (or an address on the command line) name?
//!
//! ```text
//! 1.2.3.4   1.2.3.4:6789/0   v2:1.2.3.4:3300   any:host:7000   ::1   v1:[::1]:6789   mon-a.example.com:3300
//! [v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]                    one monitor with two addresses
//! a,b c;d                                                   several monitors
//! ```
//!
//! Without protocol the port decides: 3300 is v2, 6789 is v1, any other is tried with both, v2 first; without
//! port it is both at their own ports. Ceph: `parse_ip_port_vec`, `MonMap::_add_ambiguous_addr`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use cephwire_codec::{AddrType, AddrVec, EntityAddr};

/// The port of monitors for messenger v2.
pub const PORT_V2: u16 = 3300;
/// The port of monitors for messenger v1.
pub const PORT_V1: u16 = 6789;

/// Why addresses cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is not written as an address is.
    #[error("{text:?} is no address: {reason}")]
    Form {
        /// What was written.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no such host.
    #[error("{host:?} cannot be resolved: {reason}")]
    Name {
        /// The host's name.
        host: String,
        /// The resolver's reason.
        reason: String,
    },
    /// There is none.
    #[error("no address is given")]
    Empty,
}

/// A part of a list whose host is not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// As it is written.
    pub item: String,
    /// Always [`AddressError::Name`].
    pub error: AddressError,
}

/// An address as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `v1:`, `v2:`, or any.
    pub kind: AddrType,
    /// An IP address or a name.
    pub host: String,
    /// The port, if it is written.
    pub port: Option<u16>,
    /// Behind the slash.
    pub nonce: u32,
}

/// The addresses of each entity in the list: names are resolved, ports and protocols completed. One host that is not
/// found does not hide the others.
///
/// # Errors
/// What is not written as an address, or no address at all.
pub fn entities(list: &str) -> Result<Vec<Result<AddrVec, Unresolved>>, AddressError> {
    let mut entities = Vec::new();
    for item in split(list) {
        match self::item(item) {
            Ok(found) => entities.extend(found.into_iter().map(Ok)),
            Err(error @ AddressError::Name { .. }) => {
                entities.push(Err(Unresolved { item: item.to_owned(), error }));
            }
            Err(error) => return Err(error),
        }
    }
    if entities.is_empty() { Err(AddressError::Empty) } else { Ok(entities) }
}

/// The entities of one item: several if its name has several addresses.
fn item(item: &str) -> Result<Vec<AddrVec>, AddressError> {
    let inner = item.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let Some(inner) = inner.filter(|inner| inner.parse::<IpAddr>().is_err()) else {
        let place = Place::parse(item, AddrType::ANY)?;
        return Ok(place.resolve()?.iter().map(complete).collect());
    };
    let mut addrs = Vec::new();
    for part in inner.split(',') {
        let place = Place::parse(part, AddrType::MSGR2)?;
        addrs.extend(place.resolve()?.iter().flat_map(|addr| complete(addr).0));
    }
    Ok(vec![AddrVec(addrs)])
}

/// The items of a list with commas, semicolons or blanks in between; brackets hold together.
fn split(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    let separates = move |char: char| {
        match char {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && matches!(char, ',' | ';' | ' ' | '\t' | '\n' | '\r')
    };
    list.split(separates).filter(|item| !item.is_empty())
}

/// Protocols and ports that are not written.
fn complete(addr: &EntityAddr) -> AddrVec {
    let with = |kind: AddrType, port: u16| {
        let socket = addr.socket.map(|socket| SocketAddr::new(socket.ip(), port));
        EntityAddr { kind, socket, ..*addr }
    };
    let port = addr.socket.map_or(0, |socket| socket.port());
    AddrVec(match (addr.kind, port) {
        (AddrType::LEGACY, 0) => vec![with(AddrType::LEGACY, PORT_V1)],
        (AddrType::MSGR2, 0) => vec![with(AddrType::MSGR2, PORT_V2)],
        (AddrType::LEGACY | AddrType::MSGR2, _) => vec![*addr],
        (_, 0) => vec![with(AddrType::MSGR2, PORT_V2), with(AddrType::LEGACY, PORT_V1)],
        (_, PORT_V1) => vec![with(AddrType::LEGACY, port)],
        (_, PORT_V2) => vec![with(AddrType::MSGR2, port)],
        (_, port) => vec![with(AddrType::MSGR2, port), with(AddrType::LEGACY, port)],
    })
}

impl Place {
    /// Reads `[v1:|v2:|any:]HOST[:PORT][/NONCE]`; `kind` is that of an address without prefix.
    ///
    /// # Errors
    /// Another form.
    pub fn parse(text: &str, kind: AddrType) -> Result<Self, AddressError> {
        let wrong = |reason| AddressError::Form { text: text.to_owned(), reason };
        let prefixes = [("v1:", AddrType::LEGACY), ("v2:", AddrType::MSGR2), ("any:", AddrType::ANY)];
        let (kind, body) = prefixes
            .iter()
            .find_map(|(prefix, kind)| Some((*kind, text.strip_prefix(prefix)?)))
            .unwrap_or((kind, text));
        let (endpoint, nonce) = match body.split_once('/') {
            Some((endpoint, nonce)) => {
                (endpoint, number(nonce).ok_or_else(|| wrong("the nonce is a number below 2^32"))?)
            }
            None => (body, 0),
        };
        let (host, port) = if let Some(bracketed) = endpoint.strip_prefix('[') {
            let (host, rest) = bracketed.split_once(']').ok_or_else(|| wrong("a bracket is open"))?;
            host.parse::<IpAddr>().map_err(|_| wrong("only IP addresses stand in brackets"))?;
            match rest.strip_prefix(':') {
                None if !rest.is_empty() => return Err(wrong("only :PORT follows a bracket")),
                port => (host, port),
            }
        } else if endpoint.parse::<Ipv6Addr>().is_ok() {
            (endpoint, None)
        } else {
            endpoint.split_once(':').map_or((endpoint, None), |(host, port)| (host, Some(port)))
        };
        let port = match port {
            None | Some("") => None,
            Some(digits) => Some(number(digits).ok_or_else(|| wrong("the port is a number below 65536"))?),
        };
        let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if host.parse::<IpAddr>().is_err() && !(host.bytes().all(named) && host.starts_with(alphanumeric)) {
            return Err(wrong("a host is an IP address or a name"));
        }
        Ok(Self { kind, host: host.to_owned(), port, nonce })
    }

    /// Its addresses: several if the name has several. A port that is not written is 0.
    ///
    /// # Errors
    /// There is no such host.
    pub fn resolve(&self) -> Result<Vec<EntityAddr>, AddressError> {
        let port = self.port.unwrap_or(0);
        let address = |ip| EntityAddr::new(self.kind, SocketAddr::new(ip, port), self.nonce);
        if let Ok(ip) = self.host.parse() {
            return Ok(vec![address(ip)]);
        }
        let failed = |reason: String| AddressError::Name { host: self.host.clone(), reason };
        let mut ips: Vec<IpAddr> = Vec::new();
        for socket in
            (self.host.as_str(), port).to_socket_addrs().map_err(|error| failed(error.to_string()))?
        {
            if !ips.contains(&socket.ip()) {
                ips.push(socket.ip());
            }
        }
        if ips.is_empty() {
            Err(failed("it has no address".to_owned()))
        } else {
            Ok(ips.into_iter().map(address).collect())
        }
    }
}

fn alphanumeric(char: char) -> bool {
    char.is_ascii_alphanumeric()
}

/// Digits alone: `parse` would take a sign too.
fn number<T: std::str::FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Vec<String> {
        let one = |one: &Result<AddrVec, Unresolved>| match one {
            Ok(addrs) => addrs.to_string(),
            Err(unresolved) => format!("{} {}", unresolved.item, unresolved.error),
        };
        match entities(list) {
            Ok(entities) => entities.iter().map(one).collect(),
            Err(error) => vec![error.to_string()],
        }
    }

    /// What `ceph -m LIST` of 16.2.15 tries, but that it counts v1 and v2 of an address without protocol as two.
    #[test]
    fn as_ceph_reads_it() {
        let both = |ip: &str| format!("[v2:{ip}:3300/0,v1:{ip}:6789/0]");
        let pair = "[v2:1.2.3.4:3300/0,v1:1.2.3.4:6789/0]";
        for (list, expected) in [
            ("1.2.3.4", vec![both("1.2.3.4")]),
            ("any:1.2.3.4", vec![both("1.2.3.4")]),
            ("1.2.3.4:", vec![both("1.2.3.4")]),
            ("[1.2.3.4]", vec![both("1.2.3.4")]),
            ("1.2.3.4/7", vec!["[v2:1.2.3.4:3300/7,v1:1.2.3.4:6789/7]".to_owned()]),
            ("1.2.3.4:6789", vec!["v1:1.2.3.4:6789/0".to_owned()]),
            ("1.2.3.4:3300", vec!["v2:1.2.3.4:3300/0".to_owned()]),
            ("1.2.3.4:7000", vec!["[v2:1.2.3.4:7000/0,v1:1.2.3.4:7000/0]".to_owned()]),
            ("v1:1.2.3.4", vec!["v1:1.2.3.4:6789/0".to_owned()]),
            ("v2:1.2.3.4", vec!["v2:1.2.3.4:3300/0".to_owned()]),
            ("v1:1.2.3.4:3300", vec!["v1:1.2.3.4:3300/0".to_owned()]),
            (pair, vec![pair.to_owned()]),
            ("[v2:1.2.3.4]", vec!["v2:1.2.3.4:3300/0".to_owned()]),
            ("[any:1.2.3.4:3300]", vec!["v2:1.2.3.4:3300/0".to_owned()]),
            ("[1.2.3.4:6789]", vec!["v2:1.2.3.4:6789/0".to_owned()]),
            ("1.2.3.4,5.6.7.8", vec![both("1.2.3.4"), both("5.6.7.8")]),
            (",1.2.3.4,, 5.6.7.8", vec![both("1.2.3.4"), both("5.6.7.8")]),
            ("1.2.3.4 5.6.7.8;9.9.9.9", vec![both("1.2.3.4"), both("5.6.7.8"), both("9.9.9.9")]),
            (
                "[v2:1.2.3.4:3300,v1:1.2.3.4:6789],[v2:2.2.2.2:3300/0,v1:2.2.2.2:6789/0]",
                vec![pair.to_owned(), both("2.2.2.2")],
            ),
            (
                "[v2:1.1.1.1:1,v1:1.1.1.1:2]  v2:2.2.2.2",
                vec!["[v2:1.1.1.1:1/0,v1:1.1.1.1:2/0]".to_owned(), "v2:2.2.2.2:3300/0".to_owned()],
            ),
            ("v1:1.1.1.1,v2:2.2.2.2", vec!["v1:1.1.1.1:6789/0".to_owned(), "v2:2.2.2.2:3300/0".to_owned()]),
            ("::1", vec![both("[::1]")]),
            ("[::1]", vec![both("[::1]")]),
            ("[::1]:6789", vec!["v1:[::1]:6789/0".to_owned()]),
            ("v2:[::1]:3300/5", vec!["v2:[::1]:3300/5".to_owned()]),
            ("v2:::1", vec!["v2:[::1]:3300/0".to_owned()]),
        ] {
            assert_eq!(read(list), expected, "{list}");
        }
    }

    #[test]
    fn names_are_resolved() {
        let addrs =
            entities("localhost:6789").map(|entities| entities.into_iter().flatten().flat_map(|vec| vec.0));
        let addrs: Vec<EntityAddr> = addrs.into_iter().flatten().collect();
        assert!(!addrs.is_empty());
        for addr in addrs {
            assert!(addr.ip().is_some_and(|ip| ip.is_loopback()), "{addr}");
            assert!(addr.to_string().starts_with("v1:") && addr.to_string().ends_with(":6789/0"), "{addr}");
        }
        // Ceph takes a name only without prefix, and not inside a vector.
        assert!(entities("[v2:localhost:3300,v1:localhost:6789]").is_ok_and(|found| found.len() == 1));
    }

    #[test]
    #[expect(clippy::panic, reason = "tests")]
    fn a_host_that_is_not_found_does_not_hide_the_others() {
        let found =
            read("1.2.3.4:3300,no-such-host.invalid:7 [v2:1.1.1.1,v1:no-such-host.invalid] v1:1.2.3.4");
        let [first, second, third, last] = &found[..] else { panic!("{found:?}") };
        assert_eq!((first.as_str(), last.as_str()), ("v2:1.2.3.4:3300/0", "v1:1.2.3.4:6789/0"));
        assert!(second.starts_with("no-such-host.invalid:7 \"no-such-host.invalid\" cannot"), "{second}");
        assert!(third.starts_with("[v2:1.1.1.1,v1:no-such-host.invalid] "), "{third}");
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (list, reason) in [
            ("", "no address"),
            (" ,;", "no address"),
            ("1.2.3.4:x", "the port"),
            ("1.2.3.4:65536", "the port"),
            ("1.2.3.4/x", "the nonce"),
            ("1.2.3.4/-1", "the nonce"),
            ("[::1", "a bracket"),
            ("[::1]x", "only :PORT"),
            ("[host]:3300", "only IP"),
            ("v2:", "a host"),
            ("-", "a host"),
            ("b!", "a host"),
            ("::zz", "a number"),
            ("[v2:1.1.1.1,v1:x y]", "a host"),
            ("no-such-host.invalid", "cannot be resolved"),
        ] {
            let found = read(list);
            assert!(matches!(&found[..], [one] if one.contains(reason)), "{list}: {found:?}");
        }
    }
}
