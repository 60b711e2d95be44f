//! Both drivers behind one face, and a dispatcher that keeps what it was told.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeSet;
use std::io;
use std::ops::Deref;
use std::path::Path;
#[cfg(feature = "tokio")]
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use cephwire::codec::{AddrVec, EntityAddr, EntityName, EntityType, Header, Message, MessageType};
use cephwire::{Dispatcher, Error, Handle, Policy, Received, Setup, Unsent, Version};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a test of each of these functions, on each driver.
macro_rules! on_each_driver {
    ($($(#[$attr:meta])* $test:ident)*) => {
        #[cfg(feature = "blocking")]
        mod blocking {
            $($(#[$attr])* #[test] fn $test() { super::$test::<crate::rig::Blocking>(); })*
        }
        #[cfg(feature = "tokio")]
        mod tokio {
            $($(#[$attr])* #[test] fn $test() { super::$test::<crate::rig::Tasks>(); })*
        }
        #[cfg(feature = "tokio")]
        mod tokio_on_one_thread {
            $($(#[$attr])* #[test] fn $test() { super::$test::<crate::rig::OneThread>(); })*
        }
    };
}

/// A messenger of either driver.
pub(crate) trait Driver: Deref<Target = cephwire::Messenger> + Sized + Send + Sync {
    /// For what must not be shared by tests that run side by side.
    const NUMBER: u16;

    fn start(setup: Setup) -> Self;
    fn try_listen(&self, addrs: &AddrVec) -> io::Result<AddrVec>;
    fn try_listen_unix(&self, addr: EntityAddr, path: &Path) -> io::Result<AddrVec>;
    fn relisten(&self, avoid: &BTreeSet<u16>) -> AddrVec;

    fn listen(&self, addrs: &AddrVec) -> AddrVec {
        self.try_listen(addrs).unwrap()
    }

    fn listen_unix(&self, addr: EntityAddr, path: &Path) -> AddrVec {
        self.try_listen_unix(addr, path).unwrap()
    }

    fn end(&self, patience: Duration) -> Vec<Unsent>;
}

#[cfg(feature = "blocking")]
pub(crate) struct Blocking(cephwire::blocking::Messenger);

#[cfg(feature = "blocking")]
impl Deref for Blocking {
    type Target = cephwire::Messenger;

    fn deref(&self) -> &cephwire::Messenger {
        &self.0
    }
}

#[cfg(feature = "blocking")]
impl Driver for Blocking {
    const NUMBER: u16 = 0;

    fn start(setup: Setup) -> Self {
        Self(cephwire::blocking::Messenger::new(setup).unwrap())
    }

    fn try_listen(&self, addrs: &AddrVec) -> io::Result<AddrVec> {
        self.0.bind(addrs)
    }

    fn try_listen_unix(&self, addr: EntityAddr, path: &Path) -> io::Result<AddrVec> {
        self.0.bind_unix(addr, path)
    }

    fn relisten(&self, avoid: &BTreeSet<u16>) -> AddrVec {
        self.0.rebind(avoid).unwrap()
    }

    fn end(&self, patience: Duration) -> Vec<Unsent> {
        self.0.shutdown(patience)
    }
}

/// A tokio messenger, and the runtime that it is on.
#[cfg(feature = "tokio")]
pub(crate) struct Tasks(cephwire::tokio::Messenger, &'static tokio::runtime::Handle);

/// The same on a runtime of one thread.
#[cfg(feature = "tokio")]
pub(crate) struct OneThread(Tasks);

#[cfg(feature = "tokio")]
impl Tasks {
    fn on(runtime: &'static tokio::runtime::Handle, setup: Setup) -> Self {
        let _entered = runtime.enter();
        Self(cephwire::tokio::Messenger::new(setup).unwrap(), runtime)
    }
}

#[cfg(feature = "tokio")]
impl Deref for Tasks {
    type Target = cephwire::Messenger;

    fn deref(&self) -> &cephwire::Messenger {
        &self.0
    }
}

#[cfg(feature = "tokio")]
impl Deref for OneThread {
    type Target = cephwire::Messenger;

    fn deref(&self) -> &cephwire::Messenger {
        &self.0.0
    }
}

#[cfg(feature = "tokio")]
impl Driver for Tasks {
    const NUMBER: u16 = 1;

    fn start(setup: Setup) -> Self {
        static RUNTIME: LazyLock<tokio::runtime::Handle> = LazyLock::new(|| {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let runtime = builder.worker_threads(2).enable_all().build().unwrap();
            runtime_of(runtime)
        });
        Self::on(&RUNTIME, setup)
    }

    fn try_listen(&self, addrs: &AddrVec) -> io::Result<AddrVec> {
        self.1.block_on(self.0.bind(addrs))
    }

    fn try_listen_unix(&self, addr: EntityAddr, path: &Path) -> io::Result<AddrVec> {
        self.0.bind_unix(addr, path)
    }

    fn relisten(&self, avoid: &BTreeSet<u16>) -> AddrVec {
        self.1.block_on(self.0.rebind(avoid)).unwrap()
    }

    fn end(&self, patience: Duration) -> Vec<Unsent> {
        self.1.block_on(self.0.shutdown(patience))
    }
}

#[cfg(feature = "tokio")]
impl Driver for OneThread {
    const NUMBER: u16 = 2;

    fn start(setup: Setup) -> Self {
        static RUNTIME: LazyLock<tokio::runtime::Handle> = LazyLock::new(|| {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            runtime_of(builder.enable_all().build().unwrap())
        });
        Self(Tasks::on(&RUNTIME, setup))
    }

    fn try_listen(&self, addrs: &AddrVec) -> io::Result<AddrVec> {
        self.0.try_listen(addrs)
    }

    fn try_listen_unix(&self, addr: EntityAddr, path: &Path) -> io::Result<AddrVec> {
        self.0.try_listen_unix(addr, path)
    }

    fn relisten(&self, avoid: &BTreeSet<u16>) -> AddrVec {
        self.0.relisten(avoid)
    }

    fn end(&self, patience: Duration) -> Vec<Unsent> {
        self.0.end(patience)
    }
}

/// A runtime for all tests, which goes on until the process ends.
#[cfg(feature = "tokio")]
fn runtime_of(runtime: tokio::runtime::Runtime) -> tokio::runtime::Handle {
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}

/// What a dispatcher was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Connected,
    Accepted,
    FastConnected,
    FastAccepted,
    Reset(Option<Error>),
    RemoteReset,
    Refused,
    Trouble,
    Rejected,
    Message(u64),
}

/// Keeps what it was told, and by whom.
#[derive(Default)]
pub(crate) struct Witness {
    told: Mutex<Vec<(Handle, Told)>>,
    news: Condvar,
    /// Messages of this kind are dispatched fast.
    pub(crate) fast: Option<MessageType>,
    /// Requests are answered with the same tid and data.
    pub(crate) echoes: bool,
}

pub(crate) const REPLY: MessageType = MessageType(4712);
pub(crate) const REQUEST: MessageType = MessageType(4711);

impl Witness {
    pub(crate) fn plain() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn echoing() -> Arc<Self> {
        Arc::new(Self { echoes: true, ..Self::default() })
    }

    pub(crate) fn fast() -> Arc<Self> {
        Arc::new(Self { echoes: true, fast: Some(REQUEST), ..Self::default() })
    }

    pub(crate) fn fast_sink() -> Arc<Self> {
        Arc::new(Self { fast: Some(REQUEST), ..Self::default() })
    }

    fn tell(&self, handle: &Handle, what: Told) {
        self.told.lock().unwrap().push((handle.clone(), what));
        self.news.notify_all();
    }

    /// Everything so far.
    pub(crate) fn told(&self) -> Vec<(Handle, Told)> {
        self.told.lock().unwrap().clone()
    }

    /// The messages so far.
    pub(crate) fn tids(&self) -> Vec<u64> {
        let told = self.told.lock().unwrap();
        told.iter()
            .filter_map(|(_, told)| if let Told::Message(tid) = told { Some(*tid) } else { None })
            .collect()
    }

    pub(crate) fn count(&self, what: &Told) -> usize {
        self.told.lock().unwrap().iter().filter(|(_, told)| told == what).count()
    }

    /// Waits until the condition holds.
    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&[(Handle, Told)]) -> bool) {
        let (end, mut told) = (Instant::now() + PATIENCE, self.told.lock().unwrap());
        while !condition(&told) {
            let left = end.checked_duration_since(Instant::now());
            let left =
                left.unwrap_or_else(|| panic!("{what}: in vain; {} told: {:?}", told.len(), tail(&told)));
            told = self.news.wait_timeout(told, left).unwrap().0;
        }
    }

    pub(crate) fn wait_for(&self, what: &Told) -> Handle {
        self.wait(&format!("{what:?}"), |told| told.iter().any(|(_, told)| told == what));
        self.told().into_iter().find(|(_, told)| told == what).unwrap().0
    }

    pub(crate) fn wait_messages(&self, count: usize) {
        let is_message = |told: &&(Handle, Told)| matches!(told.1, Told::Message(_));
        self.wait(&format!("{count} messages"), |told| told.iter().filter(is_message).count() >= count);
    }
}

fn tail(told: &[(Handle, Told)]) -> &[(Handle, Told)] {
    &told[told.len().saturating_sub(8)..]
}

impl Dispatcher for Witness {
    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        self.fast_dispatch(from, received);
        None
    }

    fn connected(&self, session: &Handle) {
        self.tell(session, Told::Connected);
    }

    fn accepted(&self, session: &Handle) {
        self.tell(session, Told::Accepted);
    }

    fn reset(&self, session: &Handle, error: Option<&Error>) -> bool {
        self.tell(session, Told::Reset(error.cloned()));
        true
    }

    fn remote_reset(&self, session: &Handle) {
        self.tell(session, Told::RemoteReset);
    }

    fn refused(&self, session: &Handle) -> bool {
        self.tell(session, Told::Refused);
        true
    }

    fn trouble(&self, session: &Handle, _error: &Error) {
        self.tell(session, Told::Trouble);
    }

    fn rejected(&self, session: &Handle, _error: &Error) {
        self.tell(session, Told::Rejected);
    }

    fn is_fast(&self) -> bool {
        true
    }

    fn can_fast_dispatch(&self, message: &Message) -> bool {
        self.fast == Some(message.header.kind)
    }

    fn fast_dispatch(&self, from: &Handle, received: Received) {
        let message = received.message.clone();
        drop(received);
        if self.echoes && message.header.kind == REQUEST {
            let header = Header { kind: REPLY, ..message.header };
            let _ = from.send(Message { header, ..message.clone() });
        }
        self.tell(from, Told::Message(message.header.tid));
    }

    fn fast_connected(&self, session: &Handle) {
        self.tell(session, Told::FastConnected);
    }

    fn fast_accepted(&self, session: &Handle) {
        self.tell(session, Told::FastAccepted);
    }
}

/// Looks again and again, as Ceph's tests do where nobody tells.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "{what}: in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) const BOTH: [Version; 2] = [Version::V1, Version::V2];

/// Any port of the local host, in this version.
pub(crate) fn any_port(version: Version) -> AddrVec {
    if version == Version::V1 { "v1:127.0.0.1:0/0" } else { "v2:127.0.0.1:0/0" }.parse().unwrap()
}

pub(crate) fn osd() -> EntityName {
    EntityName::new(EntityType::OSD, 0)
}

pub(crate) fn client() -> EntityName {
    EntityName::new(EntityType::CLIENT, 4)
}

/// A setup for tests: ports that other tests do not fight for, and short pauses.
pub(crate) fn setup(name: EntityName, policy: Policy) -> Setup {
    // Who takes another's place at an address must have its nonce, too.
    let mut setup = Setup::new(name).default_policy(policy).nonce(4711);
    setup.protocol.max_backoff = Duration::from_millis(500);
    setup.protocol.initial_backoff = Duration::from_millis(10);
    // All have the same name and nonce: whoever gets a port that another test just gave up meets its peers there. So
    // each begins to look elsewhere, in each process.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let place = std::process::id().wrapping_mul(97) + NEXT.fetch_add(1, Ordering::Relaxed) * 16;
    let first = 20000 + (place % 9800) as u16;
    setup.net.ports = first..=first + 199;
    setup
}

pub(crate) fn request(tid: u64, data: Vec<u8>) -> Message {
    let header = Header { tid, kind: REQUEST, ..Header::default() };
    Message { header, data: data.into(), ..Message::default() }
}
