//! Who asks, and who answers?
//!
//! Both ends work on the connection's own thread or task: a reply goes out from where the request came in, and the
//! next request from where the reply came in. A request's tid says which connection it is of, and which of its
//! outstanding ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use cephwire::codec::{AddrVec, EntityAddr, EntityName, EntityType, Features, Message};
use cephwire::{Dispatcher, Error, Handle, Manner, Policy, Received, Setup, Unsent};
use hdrhistogram::Histogram;

use super::keys::Door;
use super::meter::{Ends, Outcome};
use super::wire::Fronts;
use super::{Common, Driver, Plan, cpu};

/// A messenger on either driver.
#[derive(Debug)]
enum Messenger {
    Blocking(cephwire::blocking::Messenger),
    Tokio(tokio::runtime::Runtime, cephwire::tokio::Messenger),
}

impl Messenger {
    fn start(driver: Driver, setup: Setup) -> anyhow::Result<Self> {
        Ok(match driver {
            Driver::Blocking => Self::Blocking(cephwire::blocking::Messenger::new(setup)?),
            Driver::Tokio => {
                // One thread for all connections of an end, as one worker of Ceph's.
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
                let messenger = {
                    let _inside = runtime.enter();
                    cephwire::tokio::Messenger::new(setup)?
                };
                Self::Tokio(runtime, messenger)
            }
        })
    }

    fn common(&self) -> &cephwire::Messenger {
        match self {
            Self::Blocking(messenger) => messenger,
            Self::Tokio(_, messenger) => messenger,
        }
    }

    fn bind(&self, addrs: &AddrVec) -> anyhow::Result<AddrVec> {
        Ok(match self {
            Self::Blocking(messenger) => messenger.bind(addrs)?,
            Self::Tokio(runtime, messenger) => runtime.block_on(messenger.bind(addrs))?,
        })
    }

    fn shutdown(&self, patience: Duration) -> Vec<Unsent> {
        match self {
            Self::Blocking(messenger) => messenger.shutdown(patience),
            Self::Tokio(runtime, messenger) => runtime.block_on(messenger.shutdown(patience)),
        }
    }
}

/// Answers each request at once.
#[derive(Debug)]
pub(super) struct Server {
    messenger: Messenger,
    addr: EntityAddr,
}

impl Server {
    /// Listens there.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub(super) fn start(common: Common, addr: EntityAddr, door: &Door) -> anyhow::Result<Self> {
        let policy = advertised(Policy::stateless_server());
        let name = EntityName::new(door.server_kind(), 0);
        let setup = door.at(Setup::new(name).default_policy(policy).nonce(0));
        let messenger = Messenger::start(common.driver, setup)?;
        let answer = Answer { fronts: Fronts::new(0), both_ways: common.both_ways };
        messenger.common().add_tail(Arc::new(answer));
        let bound = messenger.bind(&addr.into()).with_context(|| format!("cannot listen on {addr}"))?;
        let addr = bound.0.first().copied().context("bound to nothing")?;
        Ok(Self { messenger, addr })
    }

    pub(super) fn addr(&self) -> EntityAddr {
        self.addr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.messenger.shutdown(Duration::ZERO);
    }
}

#[derive(Debug)]
struct Answer {
    fronts: Fronts,
    /// The data goes back.
    both_ways: bool,
}

impl Dispatcher for Answer {
    fn is_fast(&self) -> bool {
        true
    }

    fn can_fast_dispatch(&self, _message: &Message) -> bool {
        true
    }

    fn fast_dispatch(&self, from: &Handle, received: Received) {
        let mut reply = self.fronts.reply(received.message.header.tid);
        if self.both_ways {
            let (message, _permits) = received.into_parts();
            reply.data = message.data;
        }
        // A client that has gone does not wait for its answer.
        let _ = from.send(reply);
    }
}

/// Asks for a while; `server_cpu` says what processor time the server has used so far.
///
/// # Errors
/// The server cannot be reached, or went away.
pub(super) fn client(
    common: Common,
    addr: EntityAddr,
    size: usize,
    depth: usize,
    plan: &Plan,
    door: &Door,
    server_cpu: impl Fn() -> anyhow::Result<f64>,
) -> anyhow::Result<Outcome> {
    let name = EntityName::new(EntityType::CLIENT, 0);
    let setup = Setup::new(name).default_policy(advertised(Policy::lossless_client()));
    let messenger = Messenger::start(common.driver, door.at(setup))?;
    let asker = Arc::new(Asker::new(size, depth, plan.connections)?);
    messenger.common().add_tail(Arc::clone(&asker) as Arc<dyn Dispatcher>);

    for connection in 0..u64::from(plan.connections) {
        let manner = Manner { anonymous: true, ..Manner::default() };
        let session = messenger.common().connect_as(door.server_kind(), &addr.into(), manner);
        asker.ask_first(connection, &session);
    }
    asker.wait(WARM_UP, |_| false);
    let cpu = || anyhow::Ok(Ends { client: cpu::used(std::process::id())?, server: server_cpu()? });
    let (before, begin) = (cpu()?, Instant::now());
    asker.begin();
    asker.wait(plan.lasting(), |_| false);
    // Where everything takes long, the first answer may come later than that.
    asker.wait(PATIENCE, |_| asker.has_answers());
    let (operations, latency) = asker.results()?;
    let (took, after) = (begin.elapsed(), cpu()?);
    asker.stop(plan.connections, depth)?;
    messenger.shutdown(PATIENCE);
    let cpu = Ends { client: after.client - before.client, server: after.server - before.server };
    Ok(Outcome { operations, took, cpu, latency: Some(latency) })
}

/// Keeps requests outstanding on all connections.
#[derive(Debug)]
struct Asker {
    fronts: Fronts,
    data: Bytes,
    over: AtomicBool,
    connections: Vec<Mutex<Asked>>,
    state: Mutex<State>,
    changed: Condvar,
}

/// A connection.
#[derive(Debug)]
struct Asked {
    /// When each outstanding request was sent.
    since: Vec<Instant>,
    operations: u64,
    latency: Histogram<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests that were answered after the end.
    returned: usize,
    failure: Option<String>,
}

impl Asker {
    fn new(size: usize, depth: usize, connections: u16) -> anyhow::Result<Self> {
        let connection = |_| {
            let latency = Histogram::new_with_bounds(1, LONGEST, PRECISION)?;
            anyhow::Ok(Mutex::new(Asked { since: vec![Instant::now(); depth], operations: 0, latency }))
        };
        Ok(Self {
            fronts: Fronts::new(size),
            data: vec![0x5a; size].into(),
            over: AtomicBool::new(false),
            connections: (0..connections).map(connection).collect::<Result<_, _>>()?,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn ask_first(&self, connection: u64, session: &Handle) {
        let Some(asked) = self.connections.get(connection as usize) else { return };
        let depth = lock(asked).since.len() as u64;
        for slot in 0..depth {
            let _ = session.send(self.fronts.request(connection << 32 | slot, self.data.clone()));
        }
    }

    /// Everything counts from now on.
    fn begin(&self) {
        for asked in &self.connections {
            let mut asked = lock(asked);
            asked.operations = 0;
            asked.latency.reset();
        }
    }

    fn has_answers(&self) -> bool {
        self.connections.iter().any(|asked| lock(asked).operations > 0)
    }

    fn results(&self) -> anyhow::Result<(u64, Histogram<u64>)> {
        let (mut operations, mut latency) = (0, Histogram::new_with_bounds(1, LONGEST, PRECISION)?);
        for asked in &self.connections {
            let asked = lock(asked);
            operations += asked.operations;
            latency.add(&asked.latency)?;
        }
        anyhow::ensure!(
            operations > 0,
            self.failure().unwrap_or_else(|| String::from("nothing was answered"))
        );
        Ok((operations, latency))
    }

    /// No request is sent any more; waits for the answers to those that were.
    fn stop(&self, connections: u16, depth: usize) -> anyhow::Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let all = usize::from(connections) * depth;
        self.wait(PATIENCE, |state| state.returned >= all);
        self.failure().map_or(Ok(()), |failure| Err(anyhow::anyhow!(failure)))
    }

    fn failure(&self) -> Option<String> {
        lock(&self.state).failure.clone()
    }

    /// Waits so long, or until that is so, or something went wrong.
    fn wait(&self, lasting: Duration, enough: impl Fn(&State) -> bool) {
        let goes_on = |state: &mut State| state.failure.is_none() && !enough(state);
        let waited = self.changed.wait_timeout_while(lock(&self.state), lasting, goes_on);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn fail(&self, why: String) {
        lock(&self.state).failure.get_or_insert(why);
        self.changed.notify_all();
    }
}

impl Dispatcher for Asker {
    fn is_fast(&self) -> bool {
        true
    }

    fn can_fast_dispatch(&self, _message: &Message) -> bool {
        true
    }

    fn fast_dispatch(&self, from: &Handle, received: Received) {
        let tid = received.message.header.tid;
        drop(received);
        let Some(asked) = self.connections.get((tid >> 32) as usize) else { return };
        let now = Instant::now();
        let is_first = {
            let mut asked = lock(asked);
            let Some(since) = asked.since.get_mut((tid & u64::from(u32::MAX)) as usize) else { return };
            let took = now.duration_since(std::mem::replace(since, now));
            asked.operations += 1;
            asked.latency.saturating_record(took.as_nanos() as u64);
            asked.operations == 1
        };
        if is_first {
            // Not between a look at it and the wait.
            drop(lock(&self.state));
            self.changed.notify_all();
        }
        if self.over.load(Ordering::Relaxed) {
            lock(&self.state).returned += 1;
            self.changed.notify_all();
        } else {
            let _ = from.send(self.fronts.request(tid, self.data.clone()));
        }
    }

    fn reset(&self, _session: &Handle, error: Option<&Error>) -> bool {
        self.fail(error.map_or_else(|| String::from("the server closed the session"), ToString::to_string));
        true
    }

    fn refused(&self, session: &Handle) -> bool {
        self.fail(format!("{}: connection refused", session.peer_addrs()));
        true
    }

    fn trouble(&self, _session: &Handle, error: &Error) {
        self.fail(error.to_string());
    }
}

/// What Ceph's programs say they can: encodings depend on it.
fn advertised(policy: Policy) -> Policy {
    Policy { features_supported: Features::ALL_PACIFIC_16_2_7, ..policy }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// For the first answer that counts, and for the last ones.
const PATIENCE: Duration = Duration::from_secs(5);
/// Significant digits of latencies.
const PRECISION: u8 = 3;
/// The longest latency that is told apart, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;
