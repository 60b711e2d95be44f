//! What does a client of a cluster do, in as little as possible?
//!
//! Authenticates to the monitor, asks it for maps and where objects are, and works on them at the OSD that has them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cephwire::auth::cephx::message::{Auth as MAuth, AuthReply};
use cephwire::auth::cephx::monitor::Introduction;
use cephwire::auth::cephx::{ClientAuth, Entity, Progress, Wallet, WalletOptions};
use cephwire::auth::{AllowAll, Auth, Modes, Reason};
use cephwire::codec::v2::method;
use cephwire::codec::{AddrVec, EntityName, EntityType, Message, MessageType, Timestamp};
use cephwire::{Dispatcher, Error, Handle, Policy, Received, Setup, Version};
use serde_json::{Value, json};

use super::lab::{Lab, POOL};
use super::payload::{self, CommandAck, Fsid, Op, OpReply, Place};
use super::rig::Driver;

/// How long an answer is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Who it is.
const ENTITY: &str = "client.admin";

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    V1,
    /// v2 without REVISION_1.
    V20,
    V21,
    /// All addresses are given; v2.1 is what comes of that.
    Both,
}

impl Dialect {
    pub(crate) fn version(self) -> Version {
        if self == Self::V1 { Version::V1 } else { Version::V2 }
    }
}

/// What a client was told.
#[derive(Debug)]
enum Heard {
    Message(Handle, Message),
    Reset(Handle, Option<Error>),
    Trouble(Handle, Error),
}

/// Puts everything into a channel.
struct Ear(Mutex<Sender<Heard>>);

impl Ear {
    fn put(&self, heard: Heard) {
        // Whoever does not listen any more has seen enough.
        let _ = self.0.lock().unwrap().send(heard);
    }
}

impl Dispatcher for Ear {
    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        let (message, _permits) = received.into_parts();
        self.put(Heard::Message(from.clone(), message));
        None
    }

    fn reset(&self, session: &Handle, error: Option<&Error>) -> bool {
        self.put(Heard::Reset(session.clone(), error.cloned()));
        true
    }

    fn trouble(&self, session: &Handle, error: &Error) {
        self.put(Heard::Trouble(session.clone(), error.clone()));
    }
}

/// A client with a session to the monitor.
pub(crate) struct Client<D> {
    pub(crate) messenger: D,
    /// Nothing if the cluster lets everybody in.
    pub(crate) wallet: Option<Arc<Wallet>>,
    pub(crate) monitor: Handle,
    pub(crate) fsid: Fsid,
    dialect: Dialect,
    setup: Setup,
    ear: Sender<Heard>,
    heard: Receiver<Heard>,
    /// What came while something else was waited for.
    unread: RefCell<VecDeque<Heard>>,
    tid: Cell<u64>,
    /// Failed attempts to connect do not count, as long as one succeeds.
    pub(crate) patient: Cell<bool>,
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp { sec: since.as_secs() as u32, nsec: since.subsec_nanos() }
}

/// 32 bytes that nobody has to guess: the clusters live for seconds.
pub(crate) fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    seed
}

/// A client's name before it has a number.
const UNNUMBERED: EntityName = EntityName::new(EntityType::CLIENT, -1);

fn auth_of(wallet: Option<&Arc<Wallet>>) -> Arc<dyn Auth> {
    match wallet {
        Some(wallet) => Arc::new(ClientAuth(Arc::clone(wallet))),
        None => Arc::new(AllowAll { name: UNNUMBERED }),
    }
}

/// A messenger, heard by whoever has the other end of the channel.
fn start<D: Driver>(setup: &Setup, ear: &Sender<Heard>) -> D {
    let messenger = D::start(setup.clone());
    messenger.add_tail(Arc::new(Ear(Mutex::new(ear.clone()))));
    messenger
}

impl<D: Driver> Client<D> {
    /// Opens a session with the monitor, authenticates, and gets the map.
    pub(crate) fn log_in(lab: &Lab, dialect: Dialect) -> Self {
        Self::log_in_with(lab, dialect, WalletOptions::default(), Policy::lossy_client())
    }

    /// The same, with these wishes, and this policy for metadata servers.
    pub(crate) fn log_in_with(lab: &Lab, dialect: Dialect, options: WalletOptions, mds: Policy) -> Self {
        let entity: Entity = ENTITY.parse().unwrap();
        let wallet = lab.has_keys().then(|| Wallet::new(entity, lab.key(ENTITY), options, seed()).unwrap());
        let mut setup = Setup::new(UNNUMBERED)
            .default_policy(Policy::lossy_client())
            .policy(EntityType::MDS, mds)
            .auth(auth_of(wallet.as_ref()));
        setup.protocol.modes = Modes::all(&[lab.mode()]);
        setup.protocol.revision_1 = dialect != Dialect::V20;
        // A daemon that has just started may refuse; labs are small.
        setup.protocol.max_backoff = Duration::from_secs(1);
        let (ear, heard) = channel();
        let messenger = start::<D>(&setup, &ear);
        let addrs = if dialect == Dialect::Both {
            lab.monitor_addrs()
        } else {
            AddrVec(vec![lab.monitor(dialect.version())])
        };
        let monitor = messenger.connect(EntityType::MON, &addrs);
        let (unread, tid) = (RefCell::default(), Cell::new(0));
        let (fsid, patient) = ([0; 16], Cell::new(false));
        let mut this =
            Self { messenger, setup, wallet, monitor, fsid, dialect, ear, heard, unread, tid, patient };
        this.authenticate().unwrap();
        this.fsid = this.mon_map().0;
        this
    }

    /// Hangs up on the monitor and dials it again. (Not authenticated yet in v1.)
    pub(crate) fn dial_again(&mut self) {
        let addrs = self.monitor.peer_addrs();
        self.monitor.mark_down();
        if let Some(wallet) = &self.wallet {
            wallet.monitor_lost();
        }
        self.monitor = self.messenger.connect(EntityType::MON, &addrs);
    }

    /// Waits until the monitor is convinced; in v1, convinces it. Returns the own number in the cluster.
    pub(crate) fn authenticate(&self) -> Result<u64, Reason> {
        let number = self.convince()?;
        assert!(number > 0);
        // OSDs tell the operations of different clients apart by it.
        self.messenger.local().set_name(EntityName::new(EntityType::CLIENT, number as i64));
        Ok(number)
    }

    fn convince(&self) -> Result<u64, Reason> {
        if self.dialect != Dialect::V1 {
            // The session opens when that is done, or this fails.
            self.monitor.send(payload::get_map()).unwrap();
            let map = self.wait_from(&self.monitor, MessageType::MON_MAP, |_| true);
            assert_eq!(payload::mon_map(&map).2, ["a"]);
            let number = self.monitor.facts().unwrap().global_id.unwrap();
            let held = self.wallet.as_ref().map(|wallet| wallet.global_id().unwrap());
            assert!(held.is_none_or(|held| held == number));
            return Ok(number);
        }
        let Some(wallet) = &self.wallet else {
            // v1 says in messages that it wants "none".
            let introduction = Introduction {
                methods: Some(vec![method::NONE]),
                name: ENTITY.parse().unwrap(),
                global_id: 0,
            };
            let payload = introduction.encode().into();
            let hello = MAuth { protocol: method::UNKNOWN, payload, monmap_epoch: 0 };
            let reply = self.auth(&hello);
            assert_eq!((reply.protocol, reply.result), (method::NONE, 0));
            return Ok(reply.global_id);
        };
        let mut next = wallet.hello(&[method::CEPHX]);
        loop {
            match wallet.handle_auth_reply(now(), &self.auth(&next))? {
                Progress::Send(auth) => next = auth,
                Progress::Ready => return Ok(wallet.global_id().unwrap()),
                Progress::Rotating(_) => panic!("nobody asked for rotating secrets"),
            }
        }
    }

    fn auth(&self, auth: &MAuth) -> AuthReply {
        self.monitor.send(auth.message()).unwrap();
        let reply = self.wait_from(&self.monitor, MessageType::AUTH_REPLY, |_| true);
        AuthReply::decode(&reply.front.clone().into_bytes()).unwrap()
    }

    /// Gets new tickets, if any of the old ones ends soon. Says whether any did.
    pub(crate) fn renew(&self) -> bool {
        let wallet = self.wallet.as_ref().unwrap();
        let Some(mut next) = wallet.renewal(now()) else { return false };
        while let Progress::Send(auth) = wallet.handle_auth_reply(now(), &self.auth(&next)).unwrap() {
            next = auth;
        }
        true
    }

    // Waiting.

    /// The next message from there of that type which `wanted` likes. Fails if the session ends or has trouble.
    pub(crate) fn wait_from(
        &self,
        from: &Handle,
        kind: MessageType,
        wanted: impl Fn(&Message) -> bool,
    ) -> Message {
        self.try_wait_from(from, kind, wanted)
            .unwrap_or_else(|error| panic!("{kind:?}: the session ended: {error:?}"))
    }

    /// The same, or why the session ended.
    fn try_wait_from(
        &self,
        from: &Handle,
        kind: MessageType,
        wanted: impl Fn(&Message) -> bool,
    ) -> Result<Message, Option<Error>> {
        let of_it = |heard: &Heard| match heard {
            Heard::Message(by, message) => by == from && message.header.kind == kind && wanted(message),
            Heard::Reset(of, _) => of == from,
            Heard::Trouble(of, error) => {
                assert!(of != from || self.patient.get(), "{kind:?}: trouble: {error:?}");
                false
            }
        };
        match self.wait(&format!("{kind:?}"), of_it) {
            Heard::Message(_, message) => Ok(message),
            Heard::Reset(_, error) => Err(error),
            Heard::Trouble(_, error) => Err(Some(error)),
        }
    }

    /// The next of what is heard that `wanted` likes.
    fn wait(&self, what: &str, wanted: impl Fn(&Heard) -> bool) -> Heard {
        let end = Instant::now() + PATIENCE;
        let mut unread = self.unread.borrow_mut();
        loop {
            if let Some(at) = unread.iter().position(&wanted) {
                return unread.remove(at).unwrap();
            }
            match self.heard.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(heard) => unread.push_back(heard),
                Err(RecvTimeoutError::Timeout) => panic!("{what}: in vain; unread: {unread:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the messenger is gone"),
            }
        }
    }

    /// Why an attempt to connect failed. In v1 a lossy session ends by that, in v2 it goes on trying.
    pub(crate) fn wait_failure(&self, of: &Handle) -> Error {
        let failed = |heard: &Heard| match heard {
            Heard::Reset(by, _) | Heard::Trouble(by, _) => by == of,
            Heard::Message(..) => false,
        };
        match self.wait("a failure", failed) {
            Heard::Reset(_, error) => error.unwrap(),
            Heard::Trouble(_, error) => error,
            Heard::Message(..) => panic!("not asked for"),
        }
    }

    /// Sends with a number of its own, which the answer repeats.
    fn send(&self, to: &Handle, mut message: Message) -> u64 {
        let tid = self.tid.get() + 1;
        self.tid.set(tid);
        message.header.tid = tid;
        to.send(message).unwrap();
        tid
    }

    fn ask(&self, to: &Handle, message: Message, answer: MessageType) -> Message {
        let tid = self.send(to, message);
        self.wait_from(to, answer, |message| message.header.tid == tid)
    }

    // The monitor.

    pub(crate) fn mon_map(&self) -> (Fsid, u32, Vec<String>) {
        self.monitor.send(payload::get_map()).unwrap();
        payload::mon_map(&self.wait_from(&self.monitor, MessageType::MON_MAP, |_| true))
    }

    /// Subscribes; what comes of it is for [`wait_from`](Self::wait_from).
    pub(crate) fn subscribe(&self, what: &[(&str, u64, bool)]) {
        self.monitor.send(payload::subscribe(what)).unwrap();
    }

    pub(crate) fn command(&self, json: &Value) -> CommandAck {
        let command = payload::mon_command(&self.fsid, &json.to_string());
        payload::command_ack(&self.ask(&self.monitor, command, MessageType::MON_COMMAND_ACK))
    }

    /// What a command prints, which must succeed.
    pub(crate) fn tell(&self, json: &Value) -> Value {
        let ack = self.command(json);
        assert_eq!(ack.result, 0, "{json}: {}", ack.status);
        serde_json::from_slice(&ack.output).unwrap()
    }

    fn place(&self, object: &str) -> Place {
        let found =
            self.tell(&json!({"prefix": "osd map", "pool": POOL, "object": object, "format": "json"}));
        let after_dot = |name: &str| {
            let text = found[name].as_str().unwrap().split_once('.').unwrap().1;
            u32::from_str_radix(text, 16).unwrap()
        };
        Place {
            pool: found["pool_id"].as_i64().unwrap(),
            hash: after_dot("raw_pgid"),
            group: after_dot("pgid"),
            epoch: found["epoch"].as_u64().unwrap() as u32,
            primary: found["acting_primary"].as_i64().unwrap(),
        }
    }

    // OSDs.

    /// The public addresses of an OSD, or the one that is spoken with.
    fn osd_addrs(&self, number: i64) -> AddrVec {
        let dump = self.tell(&json!({"prefix": "osd dump", "format": "json"}));
        let osds = dump["osds"].as_array().unwrap();
        let osd = osds.iter().find(|osd| osd["osd"] == number).unwrap();
        addrs_of(&osd["public_addrs"], self.dialect)
    }

    /// The session with an OSD.
    pub(crate) fn osd(&self, number: i64) -> Handle {
        self.messenger.connect(EntityType::OSD, &self.osd_addrs(number))
    }

    /// Works on an object where it is.
    pub(crate) fn operate(&self, object: &str, ops: &[Op]) -> OpReply {
        let place = self.place(object);
        self.operate_at(&self.osd(place.primary), &place, object, ops)
    }

    pub(crate) fn operate_at(&self, osd: &Handle, place: &Place, object: &str, ops: &[Op]) -> OpReply {
        let request = payload::osd_op(place, object, now(), ops);
        payload::osd_op_reply(&self.ask(osd, request, MessageType::OSD_OPREPLY), object)
    }

    /// Sends all of these before the first answer is read. The answers, in the same order.
    pub(crate) fn operate_many(
        &self,
        osd: &Handle,
        place: &Place,
        object: &str,
        all: &[Vec<Op>],
    ) -> Vec<OpReply> {
        let ask = |ops: &Vec<Op>| self.send(osd, payload::osd_op(place, object, now(), ops));
        let tids: Vec<u64> = all.iter().map(ask).collect();
        let answer = |tid| self.wait_from(osd, MessageType::OSD_OPREPLY, |message| message.header.tid == tid);
        tids.into_iter().map(|tid| payload::osd_op_reply(&answer(tid), object)).collect()
    }

    /// Where an object is, and a session with the OSD that has it.
    pub(crate) fn locate(&self, object: &str) -> (Place, Handle) {
        let place = self.place(object);
        let osd = self.osd(place.primary);
        (place, osd)
    }

    /// Works on an object over a connection of its own, for which a ticket is shown.
    ///
    /// It has a messenger of its own, as OSDs have one session with an address. The OSD may not have fetched yet what a
    /// new ticket is sealed with, so it is tried again.
    pub(crate) fn operate_anew(&self, addrs: &AddrVec, place: &Place, object: &str, ops: &[Op]) -> OpReply {
        let end = Instant::now() + PATIENCE;
        let messenger: D = start(&self.setup, &self.ear);
        messenger.local().set_name(self.messenger.local().name());
        let was_patient = self.patient.replace(true);
        let answer = loop {
            let osd = messenger.connect(EntityType::OSD, addrs);
            let tid = self.send(&osd, payload::osd_op(place, object, now(), ops));
            let is_answer = |message: &Message| message.header.tid == tid;
            match self.try_wait_from(&osd, MessageType::OSD_OPREPLY, is_answer) {
                Ok(answer) => break answer,
                Err(error) => assert!(Instant::now() < end, "{error:?}"),
            }
        };
        self.patient.set(was_patient);
        messenger.end(Duration::ZERO);
        payload::osd_op_reply(&answer, object)
    }

    pub(crate) fn put(&self, object: &str, data: Bytes) {
        let reply = self.operate(object, &[Op::WriteFull(data)]);
        assert_eq!(reply.result, 0, "{object}");
    }

    pub(crate) fn read(&self, object: &str) -> Bytes {
        let mut reply = self.operate(object, &[Op::Read(0, 0)]);
        assert!(reply.result >= 0, "{object}: {}", reply.result);
        reply.outputs.remove(0).1
    }
}

/// The addresses in a map's JSON, or the one of the version that is spoken.
pub(crate) fn addrs_of(addrs: &Value, dialect: Dialect) -> AddrVec {
    let wanted = if dialect.version() == Version::V1 { "v1" } else { "v2" };
    let addrs = addrs["addrvec"].as_array().unwrap().iter();
    let taken = addrs.filter(|addr| dialect == Dialect::Both || addr["type"] == wanted);
    let text = |addr: &Value| {
        let at = |name: &str| addr[name].as_str().unwrap().to_owned();
        format!("{}:{}/{}", at("type"), at("addr"), addr["nonce"])
    };
    AddrVec(taken.map(|addr| text(addr).parse().unwrap()).collect())
}
