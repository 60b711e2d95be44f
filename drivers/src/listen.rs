//! Where does a messenger listen?
//!
//! Rules of the messenger spec §3.2. An address of type `any` is served by a listener for both versions, which looks
//! at what a peer says first; that is not in Ceph.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cephwire_protocol::Version;
use cephwire_protocol::codec::{AddrType, AddrVec, EntityAddr};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::setup::Net;
use crate::socket::prepare;

/// A socket that listens, and what is spoken there: one version, or whichever the peer begins with.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) socket: Socket,
    pub(crate) version: Option<Version>,
    pub(crate) family: Family,
}

/// What kind of socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Tcp,
    Unix,
}

/// A listener that is served.
pub(crate) trait Listening: Send + Sync + fmt::Debug {
    /// Accepts no more.
    fn stop(&self);
    /// Its descriptor.
    #[cfg(feature = "serde")]
    #[cfg_attr(not(feature = "serde"), expect(dead_code, reason = "only state dumps ask"))]
    fn fd(&self) -> i32;
}

/// Binds one address after the other; between attempts it asks for a pause.
#[derive(Debug)]
pub(crate) struct Binding {
    wanted: VecDeque<EntityAddr>,
    avoid: BTreeSet<u16>,
    attempts: u32,
    bound: Vec<(EntityAddr, Bound)>,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// Wait for so long, then try again.
    Pause(Duration),
    /// All are bound, with these addresses.
    Done(Vec<(EntityAddr, Bound)>),
}

impl Binding {
    pub(crate) fn new(wanted: &AddrVec, avoid: &BTreeSet<u16>) -> Self {
        let wanted = wanted.0.iter().copied().collect();
        Self { wanted, avoid: avoid.clone(), attempts: 0, bound: Vec::new() }
    }

    /// Goes on as far as possible without waiting.
    ///
    /// # Errors
    /// An address could not be bound in the attempts it has. What was bound before is closed.
    pub(crate) fn attempt(&mut self, net: &Net) -> io::Result<Attempt> {
        while let Some(wanted) = self.wanted.front() {
            match bind(wanted, &self.avoid, net) {
                Ok(bound) => {
                    self.bound.push(bound);
                    self.attempts = 0;
                    self.wanted.pop_front();
                }
                Err(error) => {
                    self.attempts += 1;
                    if self.attempts >= net.bind_retry_count {
                        self.bound.clear();
                        let text = format!("cannot bind {wanted}: {error}");
                        return Err(io::Error::new(error.kind(), text));
                    }
                    return Ok(Attempt::Pause(net.bind_retry_delay));
                }
            }
        }
        Ok(Attempt::Done(std::mem::take(&mut self.bound)))
    }
}

/// One attempt: the port that is asked for, or each of the range.
fn bind(wanted: &EntityAddr, avoid: &BTreeSet<u16>, net: &Net) -> io::Result<(EntityAddr, Bound)> {
    let blank = if net.bind_ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
    let mut socket = wanted.socket.unwrap_or_else(|| (blank, 0).into());
    // A wholly blank address is of v1.
    let kind = if wanted.kind == AddrType::NONE { AddrType::LEGACY } else { wanted.kind };
    if ![AddrType::LEGACY, AddrType::MSGR2, AddrType::ANY].contains(&kind) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on"));
    }
    let version = version_of(kind);
    let listener = if socket.port() == 0 {
        let mut last = io::Error::from(io::ErrorKind::AddrInUse);
        let mut ports = net.ports.clone().filter(|port| !avoid.contains(port));
        loop {
            let Some(port) = ports.next() else { return Err(last) };
            socket.set_port(port);
            match listen(&socket.into(), Domain::for_address(socket), net) {
                Ok(listener) => break listener,
                Err(error) => last = error,
            }
        }
    } else {
        listen(&socket.into(), Domain::for_address(socket), net)?
    };
    let addr = EntityAddr { kind, socket: Some(socket), ..*wanted };
    Ok((addr, Bound { socket: listener, version, family: Family::Tcp }))
}

/// Listens on a Unix socket, in the place of what a process left there that is no more.
pub(crate) fn bind_unix(path: &Path, version: Option<Version>, net: &Net) -> io::Result<Bound> {
    let addr = SockAddr::unix(path)?;
    let socket = match listen(&addr, Domain::UNIX, net) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_dead(&addr) => {
            std::fs::remove_file(path)?;
            listen(&addr, Domain::UNIX, net)
        }
        other => other,
    }?;
    Ok(Bound { socket, version, family: Family::Unix })
}

fn is_dead(addr: &SockAddr) -> bool {
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| socket.connect(addr));
    probe.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn listen(addr: &SockAddr, domain: Domain, net: &Net) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM, None)?;
    if domain != Domain::UNIX {
        socket.set_reuse_address(true)?;
        if domain == Domain::IPV6 {
            socket.set_only_v6(true)?;
        }
        // Accepted sockets inherit the buffer, and the window that goes with it.
        prepare(&socket, net)?;
    }
    socket.bind(addr)?;
    socket.listen(net.listen_backlog)?;
    Ok(socket)
}

/// What is spoken at an address: nothing means both.
pub(crate) fn version_of(kind: AddrType) -> Option<Version> {
    match kind {
        AddrType::LEGACY => Some(Version::V1),
        AddrType::MSGR2 => Some(Version::V2),
        _ => None,
    }
}

/// What peers are told: one listener for both versions is two addresses.
pub(crate) fn advertised(bound: &[(EntityAddr, Bound)]) -> AddrVec {
    let both = [AddrType::MSGR2, AddrType::LEGACY];
    let each = bound.iter().flat_map(|(addr, _)| {
        let own = [addr.kind];
        let kinds: &[AddrType] = if addr.kind == AddrType::ANY { &both } else { &own };
        kinds.iter().map(|kind| EntityAddr { kind: *kind, ..*addr }).collect::<Vec<_>>()
    });
    AddrVec(each.collect())
}

/// Where a Unix socket is, and the address that stands for it.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) addr: EntityAddr,
    pub(crate) path: PathBuf,
}

/// A socket address that says nothing, of a peer that came by a Unix socket.
pub(crate) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
