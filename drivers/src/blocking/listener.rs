//! Who takes connections in?

use std::io::{self, ErrorKind};
use std::net::Shutdown;
#[cfg(feature = "serde")]
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cephwire_protocol::Version;
use rustix::net::RecvFlags;
use socket2::Socket;

use super::link::{Stream, run};
use super::spawn;
use crate::core::Core;
use crate::listen::{Bound, Family, Listening, NOWHERE};
use crate::socket::tune;

/// Accepts on a thread of its own.
pub(super) fn listen(core: &Arc<Core>, bound: Bound) -> io::Result<Box<dyn Listening>> {
    let shared = Arc::new(Shared { socket: bound.socket, stopped: AtomicBool::new(false) });
    let (life, core, listener) = (core.alive.one(), Arc::clone(core), Arc::clone(&shared));
    spawn("accept", Some(life), move || accept(&core, &listener, bound.version, bound.family))?;
    Ok(Box::new(Listener(shared)))
}

#[derive(Debug)]
struct Listener(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    socket: Socket,
    stopped: AtomicBool,
}

impl Listening for Listener {
    fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        // A blocked accept returns.
        let _ = self.0.socket.shutdown(Shutdown::Both);
    }

    #[cfg(feature = "serde")]
    fn fd(&self) -> i32 {
        self.0.socket.as_raw_fd()
    }
}

fn accept(core: &Arc<Core>, listener: &Shared, version: Option<Version>, family: Family) {
    while !listener.stopped.load(Ordering::Acquire) {
        let socket = match listener.socket.accept() {
            Ok((socket, _)) => socket,
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {
                continue;
            }
            Err(_) => {
                // Out of descriptors, most likely: others may be closed meanwhile.
                if !listener.stopped.load(Ordering::Acquire) {
                    thread::sleep(PAUSE);
                }
                continue;
            }
        };
        let stream = match family {
            Family::Unix => Stream::Unix(socket.into()),
            Family::Tcp => {
                let is_ipv6 = socket.peer_addr().is_ok_and(|addr| addr.is_ipv6());
                tune(&socket, &core.net, is_ipv6);
                Stream::Tcp(socket.into())
            }
        };
        let (life, core) = (core.alive.one(), Arc::clone(core));
        // Without threads the socket is closed.
        drop(spawn("reader", Some(life), move || serve(&core, stream, version)));
    }
}

fn serve(core: &Arc<Core>, stream: Stream, version: Option<Version>) {
    let version = match version {
        Some(version) => Ok(version),
        None => sniff(&stream, core.net.silence),
    };
    let Ok(version) = version else { return };
    let from = stream.peer().unwrap_or(NOWHERE);
    if let Some((conn, link)) = core.accepted(from, version) {
        run(link, conn, stream);
    }
}

/// Which version the peer speaks. All speak first, but the oldest of v1: silence is v1.
fn sniff(stream: &Stream, silence: Duration) -> io::Result<Version> {
    // Without end, it is waited for ever.
    let end = Instant::now().checked_add(silence);
    let mut first = [0; 16];
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break;
        }
        stream.set_read_timeout(left)?;
        let len = match rustix::net::recv(stream, &mut first[..], RecvFlags::PEEK) {
            Ok((0, _)) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok((len, _)) => len,
            Err(rustix::io::Errno::INTR) => continue,
            Err(rustix::io::Errno::AGAIN) => break,
            Err(error) => return Err(error.into()),
        };
        match Version::of_banner(first.get(..len).unwrap_or_default()) {
            Ok(Some(version)) => {
                stream.set_read_timeout(None)?;
                return Ok(version);
            }
            // A part of it has come; the rest cannot be waited for without reading.
            Ok(None) => thread::sleep(Duration::from_millis(1)),
            Err(foreign) => return Err(io::Error::new(ErrorKind::InvalidData, foreign)),
        }
    }
    stream.set_read_timeout(None)?;
    Ok(Version::V1)
}

/// After accept failed.
const PAUSE: Duration = Duration::from_millis(50);
