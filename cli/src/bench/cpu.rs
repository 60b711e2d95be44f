//! How much processor time did an end use, and on which core does it run?
//!
//! Each end is a process of its own, so that its time is all that its threads used.

use std::fs;
use std::io;

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::ClockId;

/// Seconds of processor time that all threads of a process have used so far; those that have ended count no more.
///
/// # Errors
/// The kernel does not tell: not Linux, or the process is gone.
pub(super) fn used(pid: u32) -> anyhow::Result<f64> {
    let tasks = format!("/proc/{pid}/task");
    let mut nanoseconds = 0;
    for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
        // A thread may end while we look.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let spent = text.split(' ').next().and_then(|field| field.parse::<u64>().ok());
        nanoseconds += spent.with_context(|| format!("{tasks}: schedstat reads {text:?}"))?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

/// The same for this thread alone.
pub(super) fn used_by_this_thread() -> f64 {
    let time = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Keeps this thread, and those that it starts from now on, on one core.
///
/// # Errors
/// There is no such core, or it is not ours.
pub(super) fn pin(core: Option<usize>) -> anyhow::Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut cores = CpuSet::new();
    if core >= CpuSet::MAX_CPU {
        return Err(io::Error::from(io::ErrorKind::InvalidInput)).with_context(|| format!("core {core}"));
    }
    cores.set(core);
    sched_setaffinity(None, &cores).with_context(|| format!("core {core}"))
}

/// Whether that would work; this thread itself stays free.
///
/// # Errors
/// As [`pin`].
pub(super) fn check(core: Option<usize>) -> anyhow::Result<()> {
    let tried = std::thread::scope(|scope| scope.spawn(|| pin(core)).join());
    tried.unwrap_or_else(|_| anyhow::bail!("core {core:?}: the thread has panicked"))
}
