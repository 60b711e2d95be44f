//! How fast are the same bytes without any protocol?
//!
//! Two baselines over loopback TCP, one thread at each end, in the same run as what they are compared with:
//!
//! * **exchange**: requests and replies of the same wire lengths, as many outstanding. Whoever has read some whole
//!   ones answers them with one write: nothing can be simpler, and nothing faster without another thread structure.
//! * **stream**: one direction only, large writes: what the kernel can move.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::meter::{Ends, Outcome};
use super::{Driver, Pins, cpu};

/// Lengths on the wire, and how many requests are outstanding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) request: usize,
    pub(super) reply: usize,
    pub(super) depth: usize,
}

/// Requests and replies for this long.
///
/// # Errors
/// What the sockets say.
pub(super) fn exchange(
    plan: Exchange,
    driver: Driver,
    pins: Pins,
    lasting: Duration,
) -> anyhow::Result<Outcome> {
    let (near, far) = pair()?;
    let server = thread::spawn(move || {
        cpu::pin(pins.server)?;
        // However the client leaves: that is the end.
        let _ = run(driver, far, Side { take: plan.request, give: plan.reply, first: 0, until: None });
        Ok(cpu::used_by_this_thread())
    });
    let client = thread::spawn(move || {
        cpu::pin(pins.client)?;
        let ask = Side { take: plan.reply, give: plan.request, first: plan.depth, until: Some(lasting) };
        let (operations, took) = run(driver, near, ask)?;
        Ok((operations, took, cpu::used_by_this_thread()))
    });
    let (operations, took, client) = joined(client)?;
    let cpu = Ends { client, server: joined(server)? };
    Ok(Outcome { operations, took, cpu, latency: None })
}

/// One direction in writes of this length, for this long; an operation is a write.
///
/// # Errors
/// What the sockets say.
pub(super) fn stream(block: usize, pins: Pins, lasting: Duration) -> anyhow::Result<Outcome> {
    let (mut near, mut far) = pair()?;
    let reader = thread::spawn(move || {
        cpu::pin(pins.server)?;
        let mut room = vec![0; block];
        while far.read(&mut room)? > 0 {}
        Ok(cpu::used_by_this_thread())
    });
    let writer = thread::spawn(move || {
        cpu::pin(pins.client)?;
        let data = vec![0x5a; block];
        let (begin, mut count) = (Instant::now(), 0);
        while count == 0 || begin.elapsed() < lasting {
            near.write_all(&data)?;
            count += 1;
        }
        Ok((count, begin.elapsed(), cpu::used_by_this_thread()))
    });
    let (operations, took, client) = joined(writer)?;
    let cpu = Ends { client, server: joined(reader)? };
    Ok(Outcome { operations, took, cpu, latency: None })
}

/// One end of an exchange.
#[derive(Clone, Copy, Debug)]
struct Side {
    /// The length of what comes in,
    take: usize,
    /// and of what goes out for each.
    give: usize,
    /// How many go out at first.
    first: usize,
    /// The client's time; the server goes on to the end of the stream.
    until: Option<Duration>,
}

/// What an end counts and writes, however it moves its bytes.
struct Count {
    side: Side,
    /// As much as is written at once at most.
    out: Vec<u8>,
    most: usize,
    /// Bytes of what has not come whole.
    have: usize,
    /// How many came whole.
    done: u64,
}

impl Count {
    fn new(side: Side) -> Self {
        let most = (ROOM / side.give).clamp(1, BATCH);
        Self { side, out: vec![0x5a; side.give * most], most, have: 0, done: 0 }
    }

    /// The time is over, and there is something to say of it.
    fn is_over(&self, begin: Instant) -> bool {
        self.done > 0 && self.side.until.is_some_and(|until| begin.elapsed() >= until)
    }

    /// One that goes out before anything came.
    fn one(&self) -> &[u8] {
        self.out.get(..self.side.give).unwrap_or_default()
    }

    /// What to write for those that are whole by now; call it until there is nothing.
    fn next(&mut self) -> Option<&[u8]> {
        let batch = (self.have / self.side.take).min(self.most);
        self.have -= batch * self.side.take;
        self.done += batch as u64;
        if batch == 0 { None } else { self.out.get(..batch * self.side.give) }
    }
}

fn run(driver: Driver, stream: TcpStream, side: Side) -> anyhow::Result<(u64, Duration)> {
    match driver {
        Driver::Blocking => blocking(stream, side),
        Driver::Tokio => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
            runtime.block_on(non_blocking(stream, side))
        }
    }
}

fn blocking(mut stream: TcpStream, side: Side) -> anyhow::Result<(u64, Duration)> {
    let mut room = vec![0; ROOM];
    let (begin, mut count) = (Instant::now(), Count::new(side));
    for _ in 0..side.first {
        stream.write_all(count.one())?;
    }
    while !count.is_over(begin) {
        let len = stream.read(&mut room)?;
        if len == 0 {
            break;
        }
        count.have += len;
        while let Some(batch) = count.next() {
            stream.write_all(batch)?;
        }
    }
    Ok((count.done, begin.elapsed()))
}

async fn non_blocking(stream: TcpStream, side: Side) -> anyhow::Result<(u64, Duration)> {
    stream.set_nonblocking(true)?;
    let mut stream = tokio::net::TcpStream::from_std(stream)?;
    let mut room = vec![0; ROOM];
    let (begin, mut count) = (Instant::now(), Count::new(side));
    for _ in 0..side.first {
        stream.write_all(count.one()).await?;
    }
    while !count.is_over(begin) {
        let len = stream.read(&mut room).await?;
        if len == 0 {
            break;
        }
        count.have += len;
        while let Some(batch) = count.next() {
            stream.write_all(batch).await?;
        }
    }
    Ok((count.done, begin.elapsed()))
}

/// A connection with itself.
fn pair() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// What a thread says in the end.
fn joined<T>(thread: thread::JoinHandle<anyhow::Result<T>>) -> anyhow::Result<T> {
    thread.join().unwrap_or_else(|_| anyhow::bail!("a thread of the baseline has panicked"))
}

/// How many are answered with one write at most.
const BATCH: usize = 64;
/// How much is read at once at most.
const ROOM: usize = 1 << 20;
