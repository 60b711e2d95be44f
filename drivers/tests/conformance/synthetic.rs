//! Do lossless streams stay in order and whole under faults, and is every loss announced?
//!
//! The synthetic workloads of `src/test/msgr/test_msgr.cc`: a fifth of the operations and a 64th of the bytes, unless
//! `CEPHWIRE_SYNTHETIC_FULL=1` (with optimization: many gigabytes cross). `CEPHWIRE_SYNTHETIC_SEED=n` decides what is
//! done; when it happens, the machine.
//!
//! An answer that is expected is forgotten for three reasons only: its connection was reset, reset by the peer, or
//! marked down by the workload itself. (Ceph's test forgets also when it opens again.)

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use cephwire::codec::{AddrVec, EntityName, EntityType, Message, MessageType, Payload};
use cephwire::inject::Settings;
use cephwire::{Dispatcher, Error, Handle, Policy, Received, Version};

use crate::plain::{fresh_nonce, message};
use crate::random::Random;
use crate::rig::{self, Driver, any_port};

matrix! {
    stress
    stress_1
    inject
    inject_2
    inject_3
    inject_4
    inject_5;
    of any version:
}

const PING: u8 = 0;
const PONG: u8 = 1;
/// version, compat, length; who, seq, length of the blob.
const HEAD: usize = 1 + 1 + 4 + 1 + 8 + 4;
const BLOBS: usize = 100;
const CONNECTIONS: usize = 128;
const OUTSTANDING: usize = 64;
/// Failures, one in so many reads and writes, that are sure to happen.
const OFTEN: u64 = 30;
/// How long what must come may take.
const PATIENCE: Duration = Duration::from_secs(300);

struct Workload {
    servers: usize,
    clients: usize,
    server: Policy,
    client: Policy,
    connections: usize,
    ops: u64,
    /// Of a number below 100: greater, and a connection is made, dropped, sent to; else there is a pause.
    generate: u64,
    drop: u64,
    send: u64,
    /// In microseconds.
    pause: (u64, u64),
    settings: Settings,
    throttle: Option<u64>,
}

impl Workload {
    fn new(servers: usize, clients: usize, server: Policy, client: Policy) -> Self {
        Self {
            servers,
            clients,
            server,
            client,
            connections: 100,
            ops: 1000,
            generate: 90,
            drop: 80,
            send: 10,
            pause: (100, 599),
            settings: Settings::default(),
            throttle: None,
        }
    }

    fn failing(self, one_in: u64) -> Self {
        // Ceph's is 0.1 s; it holds up a whole thread, and with it all others on a machine of two.
        let internal_delay = Duration::from_millis(if is_full() { 100 } else { 5 });
        let settings = Settings { socket_failures: one_in, internal_delay, ..Settings::default() };
        Self { settings, ..self }
    }
}

/// `SyntheticStressTest`.
fn stress<D: Driver>(version: Version) {
    let workload = Workload::new(8, 32, Policy::stateful_server(), Policy::lossless_client());
    run::<D>(version, &Workload { ops: 5000, pause: (500, 1499), ..workload });
}

/// `SyntheticStressTest1`.
fn stress_1<D: Driver>(version: Version) {
    let workload = Workload::new(16, 32, Policy::lossless_peer_reuse(), Policy::lossless_peer_reuse());
    let ops = 10_000;
    let pause = (500, 1499);
    run::<D>(version, &Workload { ops, connections: 10, generate: 80, drop: 60, pause, ..workload });
}

/// `SyntheticInjectTest`.
fn inject<D: Driver>(version: Version) {
    let workload = Workload::new(8, 32, Policy::stateful_server(), Policy::lossless_client());
    run::<D>(version, &Workload { throttle: Some(16 << 20), ..workload.failing(30) });
}

/// `SyntheticInjectTest2`.
fn inject_2<D: Driver>(version: Version) {
    let workload = Workload::new(8, 16, Policy::lossless_peer_reuse(), Policy::lossless_peer_reuse());
    run::<D>(version, &workload.failing(30));
}

/// `SyntheticInjectTest3`.
fn inject_3<D: Driver>(version: Version) {
    let workload = Workload::new(8, 16, Policy::stateless_server(), Policy::lossy_client());
    run::<D>(version, &workload.failing(600));
}

/// `SyntheticInjectTest4`.
fn inject_4<D: Driver>(version: Version) {
    let workload = Workload::new(16, 32, Policy::lossless_peer(), Policy::lossless_peer());
    let mut workload = Workload { generate: 95, drop: u64::MAX, ..workload.failing(30) };
    workload.settings.delayed_peers = vec![EntityType::CLIENT, EntityType::OSD];
    workload.settings.delay_probability = 1.0;
    workload.settings.delay_max = Duration::from_secs(if is_full() { 5 } else { 1 });
    run::<D>(version, &workload);
}

/// `SyntheticInjectTest5`: large messages through a socket that is full nearly always.
fn inject_5<D: Driver>(version: Version) {
    let mut workload = Workload::new(1, 8, Policy::stateful_server(), Policy::lossless_client());
    workload.settings.congestion = 100;
    let mut scene = Scene::<D>::new(version, &workload);
    for _ in 0..2 {
        scene.generate(&workload);
    }
    let connections = scene.shared.lock().connections.clone();
    let (ops, calm) = if is_full() { (5000, 1600) } else { (1000, 320) };
    let data = Bytes::from(vec![0x5a; if is_full() { 6_800_000 } else { 106_250 }]);
    for op in 0..ops {
        if op == calm {
            scene.calm();
        }
        // All in one queue would be too much to hold.
        scene.shared.wait("commands", |state| op - state.commands <= 64);
        let (session, ..) = &connections[connections.len() * op / ops];
        let command = Message { data: data.clone().into(), ..message(MessageType::COMMAND, 200, 0) };
        session.send(command).unwrap();
    }
    scene.shared.wait("all commands", |state| state.commands == ops);
    scene.end(&workload);
}

/// What the dispatcher of all messengers knows.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Condvar,
    blobs: Vec<Bytes>,
}

#[derive(Default)]
struct State {
    /// With the numbers of their client and their server.
    connections: Vec<(Handle, usize, usize)>,
    seq: u64,
    /// The last PING that was sent on a connection.
    sent: HashMap<Handle, u64>,
    /// Answers that must come, by connection, the oldest first.
    expected: HashMap<Handle, VecDeque<(u64, usize)>>,
    /// What was expected and overtaken: it must have been lost, which must be told yet.
    untold: HashMap<Handle, Vec<u64>>,
    /// The last PING and PONG that a connection received.
    last: HashMap<(Handle, u8), u64>,
    commands: usize,
    answers: usize,
    losses: usize,
    wrong: Vec<String>,
}

impl State {
    fn forget(&mut self, session: &Handle) {
        self.losses += self.expected.remove(session).map_or(0, |expected| expected.len());
        self.untold.remove(session);
    }

    fn outstanding(&self) -> usize {
        self.expected.values().map(VecDeque::len).sum()
    }

    /// A PONG has come.
    fn answered(&mut self, session: &Handle, seq: u64, blob: &Bytes, blobs: &[Bytes]) {
        self.answers += 1;
        let Some(expected) = self.expected.get_mut(session) else { return };
        let Some(place) = expected.iter().position(|(awaited, _)| *awaited == seq) else { return };
        // The peer had lost the session; that is told by the dispatch queue, which takes its time.
        let overtaken = expected.drain(..place).map(|(seq, _)| seq);
        self.untold.entry(session.clone()).or_default().extend(overtaken);
        let index = expected.pop_front().map_or(usize::MAX, |(_, index)| index);
        if blobs.get(index) != Some(blob) {
            self.wrong.push(format!("{session:?}: the answer to {seq} is damaged"));
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change(&self, what: impl FnOnce(&mut State)) {
        what(&mut self.lock());
        self.news.notify_all();
    }

    fn wait(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let (end, mut state) = (Instant::now() + PATIENCE, self.lock());
        while !condition(&state) {
            assert_eq!(state.wrong, [""; 0]);
            let left = end.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| {
                let sessions = state.expected.iter().map(|(session, missing)| (session.stats(), missing));
                panic!("{what}: in vain; {} commands; {:#?}", state.commands, sessions.collect::<Vec<_>>())
            });
            state = self.news.wait_timeout(state, left).unwrap().0;
        }
    }

    fn pinged(&self, from: &Handle, data: &Bytes) {
        let mut head = data.slice(6..);
        let (who, seq, len) = (head.get_u8(), head.get_u64_le(), head.get_u32_le() as usize);
        let blob = data.slice(HEAD..);
        self.change(|state| {
            let last = state.last.insert((from.clone(), who), seq);
            if blob.len() != len || last.is_some_and(|last| last >= seq) {
                state.wrong.push(format!("{from:?} received {seq}, {} bytes, behind {last:?}", blob.len()));
            }
            if who == PONG {
                state.answered(from, seq, &blob, &self.blobs);
            }
        });
        if who == PING {
            let _ = from.send(content(PONG, seq, blob));
        }
    }
}

impl Dispatcher for Shared {
    fn is_fast(&self) -> bool {
        true
    }

    fn can_fast_dispatch(&self, message: &Message) -> bool {
        matches!(message.header.kind, MessageType::PING | MessageType::COMMAND)
    }

    fn fast_dispatch(&self, from: &Handle, received: Received) {
        let (message, permits) = received.into_parts();
        match message.header.kind {
            MessageType::COMMAND => self.change(|state| state.commands += 1),
            _ => self.pinged(from, &message.data.into_bytes()),
        }
        drop(permits);
    }

    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        self.change(|state| state.wrong.push(format!("{from:?}: {received:?} came the normal way")));
        None
    }

    fn reset(&self, session: &Handle, _error: Option<&Error>) -> bool {
        self.change(|state| {
            state.forget(session);
            state.connections.retain(|(listed, ..)| listed != session);
        });
        true
    }

    fn remote_reset(&self, session: &Handle) {
        self.change(|state| state.forget(session));
    }
}

fn content(who: u8, seq: u64, blob: Bytes) -> Message {
    let mut head = BytesMut::with_capacity(HEAD);
    head.put_u8(1);
    head.put_u8(1);
    head.put_u32_le((1 + 8 + 4 + blob.len()) as u32);
    head.put_u8(who);
    head.put_u64_le(seq);
    head.put_u32_le(blob.len() as u32);
    let data: Payload = vec![head.freeze(), blob].into();
    Message { data, ..message(MessageType::PING, 0, seq) }
}

/// Zeros, but for the index on every 4096 bytes.
fn blob(index: usize, len: usize) -> Bytes {
    let mut bytes = vec![0; len];
    for page in bytes.chunks_mut(4096).filter(|page| page.len() >= 4) {
        page[..4].copy_from_slice(&(index as u32).to_le_bytes());
    }
    bytes.into()
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

fn is_full() -> bool {
    number("CEPHWIRE_SYNTHETIC_FULL") == Some(1)
}

struct Scene<D> {
    /// Servers, then clients.
    messengers: Vec<D>,
    shared: Arc<Shared>,
    random: Random,
}

impl<D: Driver> Scene<D> {
    fn new(version: Version, workload: &Workload) -> Self {
        let seed = number("CEPHWIRE_SYNTHETIC_SEED").unwrap_or(1);
        println!("CEPHWIRE_SYNTHETIC_SEED={seed}");
        let mut random = Random(seed);
        let most = if is_full() { 4 << 20 } else { 64 << 10 };
        let blobs = (0..BLOBS).map(|index| blob(index, 32 + random.below(most - 31) as usize)).collect();
        let shared = Arc::new(Shared { blobs, ..Shared::default() });
        let messengers = (0..workload.servers + workload.clients).map(|n| {
            let is_server = n < workload.servers;
            let (kind, id) = if is_server { (EntityType::OSD, 0) } else { (EntityType::CLIENT, -1) };
            let policy = if is_server { &workload.server } else { &workload.client };
            let mut setup = rig::setup(EntityName::new(kind, id), policy.clone()).nonce(fresh_nonce());
            setup.protocol.initial_backoff = Duration::from_millis(if is_full() { 200 } else { 20 });
            setup.protocol.max_backoff = Duration::from_secs(1);
            if let Some(throttle) = workload.throttle {
                // Tighter than in proportion: fewer messages meet.
                let bytes = if is_full() { throttle } else { throttle / 256 };
                setup.protocol.dispatch_throttle_bytes = bytes;
            }
            let messenger = D::start(setup);
            messenger.add_head(shared.clone());
            if is_server || policy.standby {
                messenger.listen(&any_port(version));
            }
            messenger.local().inject(workload.settings.clone());
            messenger
        });
        Self { messengers: messengers.collect(), shared, random }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn generate(&mut self, workload: &Workload) {
        if self.shared.lock().connections.len() >= CONNECTIONS {
            return;
        }
        let server = self.below(workload.servers);
        let client = workload.servers + self.below(workload.clients);
        let to: AddrVec = self.messengers[server].addrs();
        let session = self.messengers[client].connect(EntityType::OSD, &to);
        self.shared.change(|state| {
            if !state.connections.iter().any(|(listed, ..)| *listed == session) {
                state.connections.push((session, client, server));
            }
        });
    }

    fn send(&mut self, workload: &Workload) {
        self.shared.wait("answers", |state| state.outstanding() <= OUTSTANDING);
        let (place, index) = (self.random.next() as usize, self.below(BLOBS));
        let is_command = self.below(100) < 5;
        let mut state = self.shared.lock();
        let count = state.connections.len();
        let Some((session, ..)) = state.connections.get(place % count.max(1)).cloned() else { return };
        if is_command {
            drop(state);
            let front = Bytes::from_static(b"command");
            let _ = session.send(Message { front: front.into(), ..message(MessageType::COMMAND, 200, 0) });
            return;
        }
        state.seq += 1;
        let (seq, blob) = (state.seq, self.shared.blobs[index].clone());
        state.sent.insert(session.clone(), seq);
        if !workload.client.lossy {
            state.expected.entry(session.clone()).or_default().push_back((seq, index));
        }
        drop(state);
        if session.send(content(PING, seq, blob)).is_err() {
            // It has ended; perhaps that was told before it was expected.
            self.shared.change(|state| state.forget(&session));
        }
    }

    fn drop_one(&mut self, workload: &Workload) {
        let place = self.random.next() as usize;
        let mut state = self.shared.lock();
        let count = state.connections.len();
        if count < 10 {
            return;
        }
        let (session, client, server) = state.connections.swap_remove(place % count);
        state.forget(&session);
        drop(state);
        session.mark_down();
        let peers = !workload.client.lossy && workload.client.standby;
        if peers && !workload.client.server && !workload.server.server {
            let back = self.messengers[client].addrs();
            let other = self.messengers[server].connect(EntityType::CLIENT, &back);
            self.shared.change(|state| state.forget(&other));
            other.mark_down();
        }
    }

    fn calm(&self) {
        self.messengers.iter().for_each(|messenger| messenger.local().inject(Settings::default()));
    }

    /// Everybody shuts down, and nothing is left.
    fn end(self, workload: &Workload) {
        let totals = self.messengers.iter().map(|messenger| messenger.totals().sums);
        let (faults, pauses) =
            totals.fold((0, 0), |(faults, pauses), stats| (faults + stats.faults, pauses + stats.pauses));
        {
            let state = self.shared.lock();
            let (seq, answers, losses) = (state.seq, state.answers, state.losses);
            println!("{answers} answers to {seq}, {losses} lost and told, {faults} faults, {pauses} pauses");
            assert_eq!(state.wrong, [""; 0]);
            assert!(answers + state.commands > 0);
        }
        // One in hundreds may happen to be none: reads and writes are few, as they carry many messages each.
        assert!(faults > 0 || !(1..=OFTEN).contains(&workload.settings.socket_failures));
        for messenger in &self.messengers {
            messenger.end(Duration::ZERO);
            assert_eq!((messenger.dispatch_queue_len(), messenger.sessions().len()), (0, 0));
            assert_eq!(messenger.local().dispatch_throttle().current(), 0);
        }
        // Messengers have their dispatcher, which has sessions, which have their messenger.
        *self.shared.lock() = State::default();
    }
}

fn run<D: Driver>(version: Version, workload: &Workload) {
    let mut scene = Scene::<D>::new(version, workload);
    for _ in 0..workload.connections {
        scene.generate(workload);
    }
    let ops = if is_full() { workload.ops } else { workload.ops / 5 };
    for _ in 0..ops {
        match scene.random.below(100) {
            v if v > workload.generate => scene.generate(workload),
            v if v > workload.drop => scene.drop_one(workload),
            v if v > workload.send && (workload.drop != u64::MAX || v <= 80) => scene.send(workload),
            v if v > workload.send => {}
            _ => {
                let pause = workload.pause.0 + scene.random.below(workload.pause.1 - workload.pause.0 + 1);
                std::thread::sleep(Duration::from_micros(pause));
            }
        }
    }
    scene
        .shared
        .wait("all answers", |state| state.outstanding() == 0 && state.untold.values().all(Vec::is_empty));
    scene.calm();
    // What is lossy owes nothing, but as long as its connection lives it loses nothing either.
    scene.shared.wait("the last answers", |state| {
        let last = |session: &Handle| state.last.get(&(session.clone(), PONG));
        let owes = |session: &Handle| workload.client.lossy && !session.is_closed();
        let mut live = state.connections.iter().filter(|(session, ..)| owes(session));
        live.all(|(session, ..)| state.sent.get(session).is_none_or(|sent| last(session) == Some(sent)))
    });
    scene.end(workload);
}
