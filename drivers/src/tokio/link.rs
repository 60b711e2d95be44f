//! What does the task of a connection do?

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll::{self, Pending, Ready};
use std::task::{Context, ready};

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use ::tokio::net::{TcpSocket, TcpStream, UnixStream};
use bytes::Buf;
use cephwire_protocol::Local;
use cephwire_protocol::codec::Chunks;
use socket2::{Domain, SockRef, Socket, Type};

use crate::conn::Conn;
use crate::core::{Dial, Target};
use crate::link::{Batch, Gone, Intake, Link, Pilot};
use crate::setup::Net;
use crate::shutdown::Life;
use crate::socket::{prepare, tune};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Stream {
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buf),
        }
    }
}

impl Stream {
    fn poll_write(&mut self, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }
}

/// Connects, then serves the connection.
pub(super) async fn dial(dial: Dial, life: Life) {
    match unless_hung_up(&dial.link, connect(&dial)).await {
        Some(Ok(stream)) if dial.succeeded() => run(dial.link, dial.conn, stream).await,
        Some(Err(error)) => dial.failed(&error),
        // Nobody wants it any more.
        Some(Ok(_)) | None => {}
    }
    drop(life);
}

/// What comes of it, if the link is not hung up before.
async fn unless_hung_up<T>(link: &Link, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let outcome = poll_fn(|context| {
        if link.bell.poll(context) && link.is_hung_up() {
            return Ready(None);
        }
        future.as_mut().poll(context).map(Some)
    });
    outcome.await
}

async fn connect(dial: &Dial) -> io::Result<Stream> {
    match &dial.to {
        Target::Tcp(to) => Ok(Stream::Tcp(connect_tcp(*to, dial.bind, &dial.conn.core.net).await?)),
        Target::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        Target::Nowhere => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

async fn connect_tcp(to: SocketAddr, bind: Option<IpAddr>, net: &Net) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    prepare(&socket, net)?;
    if let Some(from) = bind {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    tune(&socket, net, to.is_ipv6());
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// Serves a connection until it ends.
pub(super) async fn run(link: Arc<Link>, conn: Arc<Conn>, stream: Stream) {
    link.set_socket(stream.as_fd(), stream.peer());
    let local = Arc::clone(&conn.core.local);
    let mut task = Task {
        pilot: Pilot::new(link, conn),
        local,
        stream,
        out: Chunks::new(),
        transmits: true,
        paused: false,
    };
    poll_fn(|context| task.poll(context)).await;
}

/// A connection as its task sees it. It may be dropped at any time: half frames are the session's, half batches its own.
struct Task {
    pilot: Pilot,
    local: Arc<Local>,
    stream: Stream,
    /// What is on its way to the socket.
    out: Chunks,
    /// Nobody else transmits, and there may be something.
    transmits: bool,
    /// Nothing is to be read.
    paused: bool,
}

impl Task {
    /// Ready when the connection has ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.pilot.link.bell.poll(context) {
                if self.pilot.link.is_hung_up() {
                    return Ready(());
                }
                self.transmits = true;
            }
            if self.transmits {
                match self.write(context) {
                    Ready(Ok(())) => self.transmits = false,
                    Ready(Err(Over)) => return Ready(()),
                    Pending => {}
                }
            }
            if let Err(Over) = ready!(self.read(context)) {
                return Ready(());
            }
        }
    }

    /// Writes until there is nothing more.
    fn write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Over>> {
        loop {
            if self.out.is_empty() && self.pilot.transmit(&mut self.out)? == Batch::Empty {
                return Ready(Ok(()));
            }
            self.perhaps_fail();
            if self.local.injected(|injector| injector.is_congested()) == Some(true) {
                context.waker().wake_by_ref();
                return Pending;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.out.io_slices(&mut slices);
            let len = ready!(self.stream.poll_write(context, slices.get(..count).unwrap_or_default()))?;
            self.out.advance(len);
        }
    }

    /// Reads once, and hands over what came.
    fn read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Over>> {
        if self.paused {
            if !self.pilot.link.gate.poll(context) {
                return Pending;
            }
            self.paused = false;
            self.transmits |= self.pilot.unpaused()?;
            return Ready(Ok(()));
        }
        let mut buf = match self.pilot.intake()? {
            Intake::Buffer(buf) => buf,
            Intake::Paused => {
                self.paused = true;
                return self.read(context);
            }
        };
        self.perhaps_fail();
        // If nothing comes, the buffer goes: no memory waits for it. (To ask first whether something comes would be too
        // late to learn that the session pauses.)
        if ready!(pin!(self.stream.read_buf(&mut buf)).poll(context))? == 0 {
            return Ready(Err(Over));
        }
        self.transmits |= self.pilot.received(buf)?;
        Ready(Ok(()))
    }

    /// Tests may want it.
    fn perhaps_fail(&self) {
        if self.local.injected(|injector| injector.fails_now()) == Some(true) {
            let _ = SockRef::from(&self.stream).shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.pilot.closed();
    }
}

/// The socket has ended, or nobody wants it any more.
struct Over;

impl From<Gone> for Over {
    fn from(_: Gone) -> Self {
        Self
    }
}

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// The pieces of one write.
const SLICES: usize = 64;
