//! What do the two threads of a connection do?

use std::io::{self, IoSlice};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use cephwire_protocol::Local;
use cephwire_protocol::codec::Chunks;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use socket2::{Domain, SockAddr, Socket, Type};

use super::spawn;
use crate::conn::Conn;
use crate::core::{Dial, Target};
use crate::link::{Batch, Gone, Intake, Link, Pilot};
use crate::setup::Net;
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

    pub(super) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(timeout),
            Self::Unix(stream) => stream.set_read_timeout(timeout),
        }
    }

    fn shut_down(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

/// Connects on a thread of its own, which then reads.
pub(super) fn dial(dial: Dial) {
    // Not counted as alive: a dial that nobody answers may take long, and touches nothing.
    let copy = dial.clone();
    let spawned = spawn("reader", None, move || match connect(&dial) {
        Ok(stream) => {
            let life = dial.conn.core.alive.one();
            if dial.succeeded() {
                run(dial.link, dial.conn, stream);
            }
            drop(life);
        }
        Err(error) => dial.failed(&error),
    });
    if let Err(error) = spawned {
        copy.failed(&error);
    }
}

fn connect(dial: &Dial) -> io::Result<Stream> {
    let core = &dial.conn.core;
    match &dial.to {
        Target::Tcp(to) => {
            let stream = connect_tcp(*to, dial.bind, &core.net, core.local.options.ready_timeout)?;
            Ok(Stream::Tcp(stream))
        }
        Target::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
        Target::Nowhere => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

fn connect_tcp(to: SocketAddr, bind: Option<IpAddr>, net: &Net, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    prepare(&socket, net)?;
    if let Some(from) = bind {
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    socket.connect_timeout(&SockAddr::from(to), limit)?;
    tune(&socket, net, to.is_ipv6());
    Ok(socket.into())
}

/// Serves a connection until it ends, as its reader; starts its writer.
pub(super) fn run(link: Arc<Link>, conn: Arc<Conn>, stream: Stream) {
    let stream = Arc::new(stream);
    let closer = Arc::clone(&stream);
    link.set_socket(stream.as_fd(), stream.peer());
    link.closes_by(move || closer.shut_down());
    let local = Arc::clone(&conn.core.local);
    let out = Arc::new(Outgoing { local, stream, chunks: Mutex::default() });
    let pilot = Pilot::new(Arc::clone(&link), Arc::clone(&conn));
    let reading = Reading(pilot);
    let (writer, life) = (Pilot::new(link, Arc::clone(&conn)), conn.core.alive.one());
    let shared = Arc::clone(&out);
    drop(conn);
    if spawn("writer", Some(life), move || write(writer, &shared)).is_ok() {
        read(reading, &out);
    }
}

/// Ends the connection when its reader does, however that comes.
struct Reading(Pilot);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.closed();
        // The writer leaves, too.
        self.0.link.hang_up();
    }
}

/// The socket, and what is on its way there. Whoever transmits holds the lock, and nobody else wants it.
struct Outgoing {
    local: Arc<Local>,
    stream: Arc<Stream>,
    chunks: Mutex<Chunks>,
}

impl Outgoing {
    /// Writes once.
    fn send(&self, chunks: &Chunks, flags: SendFlags) -> Result<usize, Errno> {
        self.perhaps_fail();
        if self.local.injected(|injector| injector.is_congested()) == Some(true) {
            return Err(Errno::AGAIN);
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = chunks.io_slices(&mut slices);
        let slices = slices.get(..count).unwrap_or_default();
        let mut nothing = SendAncillaryBuffer::default();
        rustix::net::sendmsg(&*self.stream, slices, &mut nothing, flags | SendFlags::NOSIGNAL)
    }

    /// Reads once.
    fn receive(&self, buf: &mut BytesMut) -> io::Result<usize> {
        self.perhaps_fail();
        // The memory must be written before the kernel may, as far as the language is concerned. So as not to pay
        // for more than is likely to come, it is not all of a large buffer at once.
        let len = buf.capacity().min(READ);
        buf.resize(len, 0);
        let read = loop {
            match rustix::net::recv(&*self.stream, &mut buf[..], RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                Ok((len, _)) => break Ok(len),
                Err(error) => break Err(error.into()),
            }
        };
        buf.truncate(*read.as_ref().unwrap_or(&0));
        read
    }

    /// Tests may want it.
    fn perhaps_fail(&self) {
        if self.local.injected(|injector| injector.fails_now()) == Some(true) {
            self.stream.shut_down();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Chunks> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(mut reading: Reading, out: &Outgoing) {
    let link = Arc::clone(&reading.0.link);
    // The banner goes out first.
    let mut step = Ok(true);
    loop {
        let next = match step {
            Ok(true) => transmit(&mut reading.0, out).and_then(|()| reading.0.intake()),
            Ok(false) => reading.0.intake(),
            Err(Gone) => Err(Gone),
        };
        step = match next {
            Ok(Intake::Buffer(mut buf)) => match out.receive(&mut buf) {
                Ok(0) | Err(_) => return,
                Ok(_) => reading.0.received(buf),
            },
            Ok(Intake::Paused) => {
                link.gate.wait(None);
                if link.is_hung_up() { Err(Gone) } else { reading.0.unpaused() }
            }
            Err(Gone) => return,
        };
    }
}

/// Writes as much as the socket takes; what it does not is left to the writer.
fn transmit(pilot: &mut Pilot, out: &Outgoing) -> Result<(), Gone> {
    let mut chunks = out.lock();
    while pilot.transmit(&mut chunks)? == Batch::Ready {
        while chunks.has_remaining() {
            match out.send(&chunks, SendFlags::DONTWAIT) {
                Ok(len) => chunks.advance(len),
                Err(Errno::INTR) => {}
                Err(_) => {
                    // Full, or broken: the writer finds out.
                    drop(chunks);
                    pilot.link.bell.ring();
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn write(mut pilot: Pilot, out: &Outgoing) {
    let link = Arc::clone(&pilot.link);
    while !link.is_hung_up() {
        link.bell.wait(None);
        let mut chunks = out.lock();
        loop {
            while chunks.has_remaining() {
                match out.send(&chunks, SendFlags::empty()) {
                    Ok(len) => chunks.advance(len),
                    Err(Errno::INTR) => {}
                    // Only an injected congestion says so here.
                    Err(Errno::AGAIN) => thread::sleep(CONGESTED),
                    Err(_) => {
                        drop(chunks);
                        // The reader reads what came before, then sees the end.
                        out.stream.shut_down();
                        return;
                    }
                }
            }
            match pilot.transmit(&mut chunks) {
                Ok(Batch::Ready) => {}
                Ok(Batch::Empty) => break,
                Err(Gone) => return,
            }
        }
    }
}

/// How long an injected congestion lasts.
const CONGESTED: Duration = Duration::from_micros(100);
/// The pieces of one write.
const SLICES: usize = 64;
/// The most that is read at once.
const READ: usize = 256 << 10;
