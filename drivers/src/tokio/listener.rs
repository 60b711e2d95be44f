//! Who takes connections in?

use std::future::poll_fn;
use std::io::{self, ErrorKind};
#[cfg(feature = "serde")]
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::task::Poll::{self, Ready};
use std::time::Duration;

use ::tokio::io::Interest;
use ::tokio::net::{TcpListener, UnixListener};
use ::tokio::runtime::Handle;
use ::tokio::time::{sleep, timeout};
use cephwire_protocol::Version;
use rustix::net::RecvFlags;

use super::link::{Stream, run};
use crate::bell::Bell;
use crate::core::Core;
use crate::listen::{Bound, Family, Listening, NOWHERE};
use crate::socket::tune;

/// Accepts on a task of its own.
pub(super) fn listen(runtime: &Handle, core: &Arc<Core>, bound: Bound) -> io::Result<Box<dyn Listening>> {
    bound.socket.set_nonblocking(true)?;
    let stop = Arc::new(Stop {
        bell: Bell::default(),
        stopped: AtomicBool::new(false),
        #[cfg(feature = "serde")]
        fd: bound.socket.as_raw_fd(),
    });
    let sockets = match bound.family {
        Family::Tcp => Sockets::Tcp(TcpListener::from_std(bound.socket.into())?),
        Family::Unix => Sockets::Unix(UnixListener::from_std(bound.socket.into())?),
    };
    let (life, core, stopped) = (core.alive.one(), Arc::clone(core), Arc::clone(&stop));
    let version = bound.version;
    runtime.spawn(async move {
        accept(&core, &sockets, version, &stopped).await;
        drop(life);
    });
    Ok(Box::new(Listener(stop)))
}

#[derive(Debug)]
struct Listener(Arc<Stop>);

#[derive(Debug)]
struct Stop {
    bell: Bell,
    stopped: AtomicBool,
    #[cfg(feature = "serde")]
    #[cfg_attr(not(feature = "serde"), expect(dead_code, reason = "only state dumps ask"))]
    fd: i32,
}

impl Listening for Listener {
    fn stop(&self) {
        self.0.stopped.store(true, Ordering::Release);
        self.0.bell.ring();
    }

    #[cfg(feature = "serde")]
    fn fd(&self) -> i32 {
        self.0.fd
    }
}

enum Sockets {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Sockets {
    fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(context).map_ok(|(stream, _)| Stream::Tcp(stream)),
            Self::Unix(listener) => listener.poll_accept(context).map_ok(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

async fn accept(core: &Arc<Core>, sockets: &Sockets, version: Option<Version>, stop: &Stop) {
    loop {
        let accepted = poll_fn(|context| {
            if stop.bell.poll(context) || stop.stopped.load(Ordering::Acquire) {
                return Ready(None);
            }
            sockets.poll_accept(context).map(Some)
        });
        let stream = match accepted.await {
            None => return,
            Some(Ok(stream)) => stream,
            Some(Err(error))
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) =>
            {
                continue;
            }
            Some(Err(_)) => {
                // Out of descriptors, most likely: others may be closed meanwhile.
                sleep(PAUSE).await;
                continue;
            }
        };
        if let Stream::Tcp(tcp) = &stream {
            tune(tcp, &core.net, stream.peer().is_some_and(|peer| peer.is_ipv6()));
        }
        let (life, core) = (core.alive.one(), Arc::clone(core));
        ::tokio::spawn(async move {
            serve(&core, stream, version).await;
            drop(life);
        });
    }
}

async fn serve(core: &Arc<Core>, stream: Stream, version: Option<Version>) {
    let version = match version {
        Some(version) => Ok(version),
        // Silence is v1: all others speak first.
        None => timeout(core.net.silence, sniff(&stream)).await.unwrap_or(Ok(Version::V1)),
    };
    let Ok(version) = version else { return };
    let from = stream.peer().unwrap_or(NOWHERE);
    if let Some((conn, link)) = core.accepted(from, version) {
        run(link, conn, stream).await;
    }
}

/// Which version the peer speaks.
async fn sniff(stream: &Stream) -> io::Result<Version> {
    let mut first = [0; 16];
    loop {
        let mut peek = || {
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            Ok(rustix::net::recv(stream, &mut first[..], flags)?.0)
        };
        let peeked = match stream {
            Stream::Tcp(tcp) => tcp.async_io(Interest::READABLE, peek).await,
            Stream::Unix(unix) => unix.async_io(Interest::READABLE, &mut peek).await,
        };
        let len = peeked?;
        if len == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match Version::of_banner(first.get(..len).unwrap_or_default()) {
            Ok(Some(version)) => return Ok(version),
            // A part of it has come; the rest cannot be waited for without reading.
            Ok(None) => sleep(Duration::from_millis(1)).await,
            Err(foreign) => return Err(io::Error::new(ErrorKind::InvalidData, foreign)),
        }
    }
}

/// After accept failed.
const PAUSE: Duration = Duration::from_millis(50);
