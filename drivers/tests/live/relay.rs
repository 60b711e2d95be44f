//! What lies between a client and a server, and cuts their connections?
//!
//! It listens at a path, where the client's messenger is told that the server's address leads, and dials the server.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A relay; it stops when it is dropped.
pub(crate) struct Relay {
    path: PathBuf,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

struct Shared {
    to: SocketAddr,
    /// How many connections are to be cut, and were.
    cuts: usize,
    done: AtomicUsize,
    /// From where the next number of bytes comes.
    random: Mutex<u64>,
    over: AtomicBool,
}

impl Shared {
    /// After so many bytes in either direction, the connection is cut: in the handshake, in a message, between two.
    fn allowance(&self) -> usize {
        let mut state = self.random.lock().unwrap();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        // As often short as long: handshakes take some hundred bytes, messages as many.
        let most = [300, 1500, 6000][(*state >> 8) as usize % 3];
        1 + (*state >> 16) as usize % most
    }

    fn wants_cut(&self) -> bool {
        self.done.load(Ordering::SeqCst) < self.cuts
    }
}

impl Relay {
    /// Relays to `to`, and cuts so many connections.
    pub(crate) fn start(path: &Path, to: SocketAddr, cuts: usize) -> Self {
        let random = Mutex::new(0x9e37_79b9_7f4a_7c15);
        let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let shared = Arc::new(Shared { to, cuts, done, random, over });
        let listener = UnixListener::bind(path).unwrap();
        let ours = Arc::clone(&shared);
        let listening = thread::spawn(move || {
            for client in listener.incoming() {
                if ours.over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(server) = TcpStream::connect(ours.to) else { continue };
                serve(&ours, &client.unwrap(), &server);
            }
        });
        Self { path: path.to_owned(), shared, listening: Some(listening) }
    }

    /// How many connections were cut.
    pub(crate) fn cuts(&self) -> usize {
        self.shared.done.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.path);
        let ended = self.listening.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.path);
        assert!(thread::panicking() || ended.is_some_and(|ended| ended.is_ok()));
    }
}

/// Starts two threads for the connection. They end with it.
fn serve(shared: &Arc<Shared>, client: &UnixStream, server: &TcpStream) {
    server.set_nodelay(true).unwrap();
    let left = Arc::new(Mutex::new(shared.wants_cut().then(|| shared.allowance())));
    let hang_up = {
        let (client, server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        move || {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    };
    let both: [(Box<dyn Read + Send>, Box<dyn Write + Send>); 2] = [
        (Box::new(client.try_clone().unwrap()), Box::new(server.try_clone().unwrap())),
        (Box::new(server.try_clone().unwrap()), Box::new(client.try_clone().unwrap())),
    ];
    let (hang_up, cut) = (Arc::new(hang_up), Arc::new(AtomicBool::new(false)));
    for (mut from, mut to) in both {
        let (shared, left, hang_up) = (Arc::clone(shared), Arc::clone(&left), Arc::clone(&hang_up));
        let cut = Arc::clone(&cut);
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut buf) {
                let mut left = left.lock().unwrap();
                let allowed = left.map_or(len, |left| left.min(len));
                let written = to.write_all(&buf[..allowed]);
                if let Some(left) = &mut *left {
                    *left -= allowed;
                    if allowed < len {
                        // The other direction finds the connection gone.
                        shared
                            .done
                            .fetch_add(usize::from(!cut.swap(true, Ordering::SeqCst)), Ordering::SeqCst);
                        break;
                    }
                }
                if written.is_err() {
                    break;
                }
            }
            hang_up();
        });
    }
}
