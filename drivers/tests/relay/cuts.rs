//! Where are connections cut, and how?

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cephwire::codec::Side;

use crate::random::Random;
use crate::wire::{Course, Pipe};

/// Cuts each connection after so many bytes of one direction. (Not of both together: who speaks first after each
/// handshake would leave nothing to the other.)
pub(crate) struct Cutting {
    random: Mutex<Random>,
    /// One direction of a connection carries fewer bytes than this; the other may carry some times as many.
    most: u64,
    cuts: [AtomicUsize; 4],
    stopped: AtomicBool,
}

/// What the two ends see.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// Both that the other one closed.
    Close,
    /// Both that it reset: what they have not read yet is lost.
    Reset,
    /// The dialer; who listens thinks for a while that all is well.
    Dialer,
    /// The other way round.
    Listener,
}

/// One connection in so many does not get beyond the handshake.
const EARLY: u64 = 8;
/// The handshake of either version is longer than this.
const HANDSHAKE: u64 = 600;
/// How long one end does not know.
const HALF_OPEN: Duration = Duration::from_millis(3);

impl Cutting {
    pub(crate) fn new(seed: u64, most: u64) -> Arc<Self> {
        let stopped = AtomicBool::new(false);
        Arc::new(Self { random: Mutex::new(Random(seed)), most, cuts: Default::default(), stopped })
    }

    /// How often both ends saw a close, both a reset, only the dialer, only the listener.
    pub(crate) fn cuts(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|at| self.cuts[at].load(Ordering::Relaxed))
    }

    /// No more from now on.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn cut(&self, pipe: &Pipe) {
        let cut = self.random.lock().unwrap().pick(&[
            Cut::Close,
            Cut::Reset,
            Cut::Reset,
            Cut::Reset,
            Cut::Dialer,
            Cut::Listener,
        ]);
        self.cuts[cut as usize].fetch_add(1, Ordering::Relaxed);
        let half = |side| {
            let _ = pipe.end(side).shutdown(std::net::Shutdown::Both);
            std::thread::sleep(HALF_OPEN);
            pipe.close();
        };
        match cut {
            Cut::Close => pipe.close(),
            Cut::Reset => pipe.reset(),
            Cut::Dialer => half(Side::Client),
            Cut::Listener => half(Side::Server),
        }
    }
}

impl Course for Cutting {
    fn opened(&self, pipe: &Arc<Pipe>) {
        let mut random = self.random.lock().unwrap();
        let most = if random.one_in(EARLY) { HANDSHAKE } else { self.most };
        let from = random.pick(&[Side::Client, Side::Server]);
        pipe.left(from).store(random.below(most) as i64, Ordering::Relaxed);
        pipe.left(from.peer()).store(4 * self.most as i64, Ordering::Relaxed);
    }

    fn carry(&self, pipe: &Pipe, from: Side, bytes: &[u8]) -> bool {
        if self.stopped.load(Ordering::Relaxed) {
            pipe.pass(from, bytes);
            return true;
        }
        let len = bytes.len() as i64;
        let left = pipe.left(from).fetch_sub(len, Ordering::Relaxed);
        if left >= len {
            pipe.pass(from, bytes);
            return true;
        }
        if !pipe.is_cut.swap(true, Ordering::Relaxed) {
            pipe.pass(from, &bytes[..left.max(0) as usize]);
            self.cut(pipe);
        }
        false
    }
}
