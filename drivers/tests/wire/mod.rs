//! What lies between two messengers: a relay of TCP connections that a test has in its hands.
//!
//! ```text
//!   who dials ──TCP──► Relay ──TCP──► who listens
//!                        └── Course: what becomes of the bytes
//! ```
//!
//! A messenger behind a relay says that its address is the relay's.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod steps;
#[allow(dead_code, reason = "the simulated network uses the rest")]
#[path = "../../../protocol/tests/fixture/tap.rs"]
pub(crate) mod tap;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use cephwire::codec::{AddrVec, EntityAddr, Side};

/// What becomes of the bytes of connections.
pub(crate) trait Course: Send + Sync + 'static {
    /// There is a new connection.
    fn opened(&self, pipe: &Arc<Pipe>);

    /// One end wrote something. Says whether the connection goes on.
    fn carry(&self, pipe: &Pipe, from: Side, bytes: &[u8]) -> bool;
}

/// A connection through a relay: two sockets.
pub(crate) struct Pipe {
    /// Counted over all relays of the process.
    pub(crate) number: usize,
    /// Towards who dialed, and towards who listens.
    ends: [TcpStream; 2],
    /// So many bytes may pass from the dialer, and from who listens, if the course wants to know.
    left: [AtomicI64; 2],
    pub(crate) is_cut: AtomicBool,
}

impl Pipe {
    /// The socket towards that side.
    pub(crate) fn end(&self, side: Side) -> &TcpStream {
        &self.ends[usize::from(side == Side::Server)]
    }

    /// How many bytes may pass from that side.
    pub(crate) fn left(&self, from: Side) -> &AtomicI64 {
        &self.left[usize::from(from == Side::Server)]
    }

    /// Writes to the other side; what cannot be written is lost.
    pub(crate) fn pass(&self, from: Side, bytes: &[u8]) {
        let _ = self.end(from.peer()).write_all(bytes);
    }

    /// Both ends see the connection close, behind what they were sent.
    pub(crate) fn close(&self) {
        for end in &self.ends {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    /// Both ends see the connection reset: what they have not read is lost.
    pub(crate) fn reset(&self) {
        for end in &self.ends {
            let _ = socket2::SockRef::from(end).set_linger(Some(std::time::Duration::ZERO));
            // Wakes the reader; with the last of the two the socket is closed.
            let _ = end.shutdown(Shutdown::Read);
        }
    }
}

/// Listens, and dials in the place of who dialed it.
pub(crate) struct Relay {
    pub(crate) socket: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<thread::JoinHandle<()>>,
}

struct Shared {
    target: SocketAddr,
    course: Arc<dyn Course>,
    over: AtomicBool,
    pipes: Mutex<Vec<Weak<Pipe>>>,
}

/// So many ports, in ascending order.
pub(crate) fn ports<const N: usize>() -> [TcpListener; N] {
    let mut listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.sort_by_key(|listener| listener.local_addr().unwrap());
    listeners
}

impl Relay {
    /// Relays from here to the messenger that listens at `real`, on this course.
    pub(crate) fn new(listener: TcpListener, real: &AddrVec, course: Arc<dyn Course>) -> Self {
        let socket = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: real.0[0].socket.unwrap(),
            course,
            over: AtomicBool::new(false),
            pipes: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            for dialed in listener.incoming() {
                if accepting.over.load(Ordering::SeqCst) {
                    return;
                }
                accepting.relay(dialed.unwrap());
            }
        });
        Self { socket, shared, acceptor: Some(acceptor) }
    }

    /// The address by which the messenger behind it is to be known: its own, at another port.
    pub(crate) fn advertised(&self, real: &AddrVec) -> AddrVec {
        EntityAddr { socket: Some(self.socket), ..real.0[0] }.into()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.socket);
        let _ = self.acceptor.take().map(thread::JoinHandle::join);
        let pipes = std::mem::take(&mut *self.shared.pipes.lock().unwrap());
        pipes.iter().filter_map(Weak::upgrade).for_each(|pipe| pipe.close());
    }
}

impl Shared {
    fn relay(self: &Arc<Self>, dialed: TcpStream) {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        // Nobody listens there: the dialer sees a connection that closes.
        let Ok(listener) = TcpStream::connect(self.target) else { return };
        let ends = [dialed, listener];
        ends.iter().for_each(|end| end.set_nodelay(true).unwrap());
        let pipe = Arc::new(Pipe {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            ends,
            left: Default::default(),
            is_cut: AtomicBool::new(false),
        });
        let mut pipes = self.pipes.lock().unwrap();
        pipes.retain(|pipe| pipe.strong_count() > 0);
        pipes.push(Arc::downgrade(&pipe));
        drop(pipes);
        self.course.opened(&pipe);
        for from in [Side::Client, Side::Server] {
            let (course, pipe) = (Arc::clone(&self.course), Arc::clone(&pipe));
            thread::spawn(move || pump(&*course, &pipe, from));
        }
    }
}

/// Carries one direction of a connection.
fn pump(course: &dyn Course, pipe: &Pipe, from: Side) {
    let mut buf = vec![0; 64 << 10];
    loop {
        match pipe.end(from).read(&mut buf) {
            // One that was reset is closed by the last of its two pumps.
            Ok(0) | Err(_) if pipe.is_cut.load(Ordering::Relaxed) => return,
            Ok(0) | Err(_) => {
                let _ = pipe.end(from.peer()).shutdown(Shutdown::Write);
                return;
            }
            Ok(len) if course.carry(pipe, from, &buf[..len]) => {}
            Ok(_) => return,
        }
    }
}
