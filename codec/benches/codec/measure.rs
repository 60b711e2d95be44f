//! How long does it take on a noisy machine?
//!
//! Every contestant of a group runs one short round after the other, in turns, and the shortest round
//! counts: whatever else the machine does only ever adds time.

#![expect(clippy::disallowed_methods, reason = "the codec must not read a clock, its benchmark must")]

use std::time::{Duration, Instant};

/// One thing to be measured: runs once, and times the parts that count with the stopwatch.
pub(crate) type Round = Box<dyn FnMut(&mut Stopwatch)>;

/// Nanoseconds for one message.
pub(crate) type Best = f64;

/// How long a group is measured.
#[derive(Clone, Copy)]
pub(crate) enum Effort {
    /// One round of each.
    TryOnce,
    /// Until the times are stable.
    Measure,
}

impl Effort {
    const LEAST_ROUNDS: usize = 200;
    const LEAST_TIME: Duration = Duration::from_millis(600);

    fn is_enough(self, rounds: usize, since: Instant) -> bool {
        match self {
            Self::TryOnce => rounds >= 1,
            Self::Measure => rounds >= Self::LEAST_ROUNDS && since.elapsed() >= Self::LEAST_TIME,
        }
    }
}

/// Adds up the timed parts of a round.
pub(crate) struct Stopwatch {
    /// What reading the clock twice takes, in nanoseconds.
    overhead: f64,
    total: f64,
}

impl Stopwatch {
    fn new() -> Self {
        let pair = || {
            let start = Instant::now();
            start.elapsed().as_nanos() as f64
        };
        Self { overhead: (0..20_000).map(|_| pair()).fold(f64::INFINITY, f64::min), total: 0.0 }
    }

    /// Runs and times a part.
    #[inline(always)]
    pub(crate) fn time<T>(&mut self, part: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = part();
        self.total += start.elapsed().as_nanos() as f64 - self.overhead;
        result
    }
}

/// The best times of contestants that handle `batch` messages in each round.
pub(crate) fn best_of(rounds: &mut [Round], batch: usize, effort: Effort) -> Vec<Best> {
    let mut watch = Stopwatch::new();
    let mut best = vec![f64::INFINITY; rounds.len()];
    let since = Instant::now();
    let mut done = 0;
    while !effort.is_enough(done, since) {
        for (round, best) in rounds.iter_mut().zip(&mut best) {
            // Twice: the first time, caches still hold what the one before has touched.
            for _ in 0..2 {
                watch.total = 0.0;
                round(&mut watch);
                *best = best.min(watch.total / batch as f64);
            }
        }
        done += 1;
    }
    best
}
