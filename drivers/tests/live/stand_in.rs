//! Do Ceph's own clients get on with a monitor that is ours?
//!
//! A messenger of ours plays the only monitor of a cluster: it authenticates, by the method "none" or with a key server
//! of ours, and knows a map of monitors, an empty configuration, two commands, and the map of OSDs that a lab's monitor
//! gave. `ceph` and `rados` are the installed ones.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use cephwire::auth::cephx::message::{Auth as MAuth, AuthReply};
use cephwire::auth::cephx::{
    CryptoKey, Entry, KeyServer, KeyServerOptions, KeyType, Keyring, MonitorAuth, MonitorTalk, Random,
};
use cephwire::auth::{self, AllowAll, Answer, Auth, Modes, Peer};
use cephwire::codec::v2::{method, mode};
use cephwire::codec::{AddrVec, EntityName, EntityType, Message, MessageType, priority};
use cephwire::{Dispatcher, Error, Handle, Policy, Received, Setup, Version};

use super::client::{Client, Dialect, now, seed};
use super::lab::{Lab, POOL};
use super::payload::{self, Fsid};
use super::rig::Driver;

/// What the commands look like that it knows.
const DESCRIPTIONS: &str = r#"{"cmd000": {"sig": ["fsid"], "help": "show cluster FSID/key", "module": "mon",
    "perm": "r", "flags": 0}}"#;

/// Who came and what they asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// A message, of who is authenticated by then: nobody, in v1's first ones.
    Asked { version: Version, mode: Option<u32>, who: Option<String>, kind: MessageType, what: String },
    /// Why not, to a client of either version.
    Refused(String),
}

/// A monitor that is none.
struct StandIn {
    /// Nothing if everybody is let in.
    keys: Option<Arc<KeyServer>>,
    /// If not, clients get these.
    numbers: Arc<AtomicU64>,
    fsid: Fsid,
    own: OnceLock<AddrVec>,
    osd_map: Message,
    /// By session: v1 authenticates in messages.
    talks: Mutex<HashMap<u64, MonitorTalk>>,
    seen: Mutex<Vec<Seen>>,
}

impl StandIn {
    /// Who it is, if that was proved.
    fn who(&self, session: &Handle) -> Option<String> {
        if self.keys.is_none() {
            return Some("anybody".to_owned());
        }
        let talks = self.talks.lock().unwrap();
        let proved =
            talks.get(&session.id()).and_then(|talk| talk.client().map(|(name, _)| name.to_string()));
        proved.or_else(|| session.facts()?.authenticated.map(|name| name.to_string()))
    }

    fn auth(&self, from: &Handle, asked: &MAuth) -> AuthReply {
        let Some(keys) = &self.keys else {
            let global_id = self.numbers.fetch_add(1, Ordering::Relaxed);
            let text = String::new();
            return AuthReply {
                protocol: method::NONE,
                result: 0,
                global_id,
                payload: Default::default(),
                text,
            };
        };
        let mut talks = self.talks.lock().unwrap();
        let talk = talks.entry(from.id()).or_insert_with(|| {
            let of_v2 = from.facts().and_then(|facts| keys.resume(facts.global_id?));
            of_v2.unwrap_or_else(|| keys.talk())
        });
        let (reply, outcome) = talk.handle_auth(now(), asked);
        if let Err(reason) = outcome {
            self.seen.lock().unwrap().push(Seen::Refused(reason.to_string()));
        }
        reply
    }

    fn answers(&self, from: &Handle, message: &Message) -> (String, Vec<Message>) {
        let map = || payload::mon_map_of(&self.fsid, self.own.get().unwrap(), now());
        match message.header.kind {
            MessageType::AUTH => {
                let asked = MAuth::decode(&message.front.clone().into_bytes()).unwrap();
                (String::new(), vec![self.auth(from, &asked).message()])
            }
            // Nobody is told anything who is not known. (Ceph keeps the messages until then.)
            _ if self.who(from).is_none() => (String::new(), vec![]),
            MessageType::MON_GET_MAP => (String::new(), vec![map()]),
            MessageType::MON_SUBSCRIBE => {
                let wanted = payload::subscriptions(message);
                // The map of monitors first, asked for or not: before it, clients do not know whose map of OSDs it is.
                let answer = |what: &String| match &what[..] {
                    "config" => Some(payload::no_config()),
                    "osdmap" => Some(self.osd_map.clone()),
                    _ => None,
                };
                (wanted.join(" "), [map()].into_iter().chain(wanted.iter().filter_map(answer)).collect())
            }
            MessageType::MON_GET_VERSION => {
                let (_, _, epoch) = payload::osd_map(&self.osd_map);
                (String::new(), vec![payload::version(message, epoch.into())])
            }
            MessageType::MON_COMMAND => {
                let command = payload::commands(message).concat();
                let parsed: serde_json::Value = serde_json::from_str(&command).unwrap();
                let output = match parsed["prefix"].as_str() {
                    Some("get_command_descriptions") => DESCRIPTIONS,
                    Some("fsid") => "the stand-in's own\n",
                    _ => "",
                };
                (parsed["prefix"].to_string(), vec![payload::command_done(message, output)])
            }
            _ => (String::new(), vec![]),
        }
    }

    /// Waits until something was seen.
    fn wait(&self, what: &str, wanted: impl Fn(&Seen) -> bool) {
        let end = Instant::now() + super::client::PATIENCE;
        while !self.seen.lock().unwrap().iter().any(&wanted) {
            assert!(Instant::now() < end, "{what}: in vain; {:?}", self.seen.lock().unwrap());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Dispatcher for StandIn {
    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        let (message, _permits) = received.into_parts();
        let (what, answers) = self.answers(from, &message);
        let facts = from.facts().unwrap();
        let (who, kind) = (self.who(from), message.header.kind);
        let seen = Seen::Asked { version: facts.version, mode: facts.mode, who, kind, what };
        self.seen.lock().unwrap().push(seen);
        for mut answer in answers {
            // As Ceph's monitors: all of them alike, or one would overtake another.
            answer.header.priority = priority::HIGH;
            // Who has hung up wants no answer.
            let _ = from.send(answer);
        }
        None
    }

    fn reset(&self, session: &Handle, _error: Option<&Error>) -> bool {
        self.talks.lock().unwrap().remove(&session.id());
        true
    }

    fn rejected(&self, _session: &Handle, error: &Error) {
        self.seen.lock().unwrap().push(Seen::Refused(error.to_string()));
    }
}

/// The method "none", with a number for every client that has none yet. An OSD that has seen a number before, in another
/// client's operations, would take those of this one for the same.
#[derive(Debug)]
struct Numbering {
    everybody: AllowAll,
    numbers: Arc<AtomicU64>,
}

impl Auth for Numbering {
    fn client(&self, peer: &Peer) -> Box<dyn auth::Client> {
        self.everybody.client(peer)
    }

    fn server(&self, peer: &Peer) -> Box<dyn auth::Server> {
        Box::new(Numberer(self.everybody.server(peer), Arc::clone(&self.numbers)))
    }
}

struct Numberer(Box<dyn auth::Server>, Arc<AtomicU64>);

impl auth::Server for Numberer {
    fn request(&mut self, request: &auth::Request<'_>) -> Answer {
        let mut answer = self.0.request(request);
        if let Answer::Done { global_id, .. } = &mut answer {
            // The payload ends with the number that the client has.
            let claimed = request.payload.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            *global_id = if claimed == 0 { self.1.fetch_add(1, Ordering::Relaxed) } else { claimed };
        }
        answer
    }

    fn methods(&self) -> Vec<u32> {
        self.0.methods()
    }
}

/// A stand-in, and what Ceph's clients need to come to it.
struct Stage<D> {
    messenger: D,
    stand_in: Arc<StandIn>,
    version: Version,
    addrs: AddrVec,
    mode: u32,
    keyring: std::path::PathBuf,
}

impl<D: Driver> Stage<D> {
    fn new(lab: &Lab, version: Version, mode: u32, what: &str) -> Self {
        // The lab's identity and map; its OSDs belong to another key server, if there are keys.
        let client = Client::<D>::log_in(lab, Dialect::V21);
        client.subscribe(&[("osdmap", 0, true)]);
        let osd_map = client.wait_from(&client.monitor, MessageType::OSD_MAP, |_| true);
        let fsid = client.fsid;
        client.messenger.end(Duration::ZERO);

        let mut keyring = Keyring::default();
        for (number, name) in ["mon.", "client.admin", "client.other"].into_iter().enumerate() {
            let mut entry = Entry::of(key(number as u8));
            entry.caps.insert("mon".to_owned(), "allow *".to_owned());
            keyring.entries.insert(name.parse().unwrap(), entry);
        }
        let file = lab.file(&format!("keyring-{what}-{version:?}-{mode}-{}", D::NUMBER));
        std::fs::write(&file, keyring.to_text().as_bytes()).unwrap();
        let name = EntityName::new(EntityType::MON, 0);
        let numbers = Arc::new(AtomicU64::new(u64::from(now().nsec) << 8));
        let keys = lab.has_keys().then(|| KeyServer::new(keyring, KeyServerOptions::default(), seed()));
        let auth: Arc<dyn Auth> = match &keys {
            Some(keys) => Arc::new(MonitorAuth(Arc::clone(keys))),
            None => Arc::new(Numbering { everybody: AllowAll { name }, numbers: Arc::clone(&numbers) }),
        };
        let mut setup = Setup::new(name).default_policy(Policy::stateless_server()).auth(auth).nonce(0);
        setup.protocol.modes = Modes::all(&[mode]);
        setup.net.ports = 33_000..=39_999;
        let messenger = D::start(setup);
        let stand_in = Arc::new(StandIn {
            keys,
            numbers,
            fsid,
            own: OnceLock::new(),
            osd_map,
            talks: Mutex::default(),
            seen: Mutex::default(),
        });
        messenger.add_tail(stand_in.clone());
        let any = if version == Version::V1 { "v1:127.0.0.1:0/0" } else { "v2:127.0.0.1:0/0" };
        let addrs = messenger.listen(&any.parse().unwrap());
        stand_in.own.set(addrs.clone()).unwrap();
        Self { messenger, stand_in, version, addrs, mode, keyring: file }
    }

    /// One of Ceph's clients, told where to go and how.
    fn command(&self, arguments: &[&str]) -> Command {
        let (tool, arguments) = arguments.split_first().unwrap();
        let method = if self.stand_in.keys.is_some() { "cephx" } else { "none" };
        let mode = mode::name(self.mode).unwrap();
        let mut command = Command::new(tool);
        for variable in ["CEPH_ARGS", "CEPH_CONF", "CEPH_KEYRING"] {
            command.env_remove(variable);
        }
        command.args(["-c", "/dev/null", "-m", &self.addrs.to_string(), "-k"]).arg(&self.keyring);
        for service in ["cluster", "service", "client"] {
            command.arg(format!("--auth-{service}-required={method}"));
            command.arg(format!("--ms-{service}-mode={mode}"));
            command.arg(format!("--ms-mon-{service}-mode={mode}"));
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// What it prints, and whether it succeeds.
    fn run(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    /// That a client asked this who was authenticated as it should, over a connection as it should be.
    fn wait(&self, kind: MessageType, part: &str) {
        let name = if self.stand_in.keys.is_some() { "client.admin" } else { "anybody" };
        let wanted_mode = (self.version == Version::V2).then_some(self.mode);
        self.stand_in.wait(part, |seen| {
            matches!(seen, Seen::Asked { version, mode, who, kind: asked, what }
                if *version == self.version && *mode == wanted_mode && who.as_deref() == Some(name)
                    && *asked == kind && what.contains(part))
        });
    }

    fn refused(&self) -> Vec<String> {
        let seen = self.stand_in.seen.lock().unwrap();
        seen.iter()
            .filter_map(|seen| if let Seen::Refused(why) = seen { Some(why.clone()) } else { None })
            .collect()
    }

    fn end(self) {
        self.messenger.end(Duration::ZERO);
        std::fs::remove_file(&self.keyring).unwrap();
    }
}

fn key(number: u8) -> CryptoKey {
    let mut from = seed();
    from[0] = number;
    CryptoKey::generate(KeyType::Aes, now(), &mut Random::new(from))
}

fn v1<D: Driver>() {
    lets_them_in::<D>(Version::V1);
}

fn v2<D: Driver>() {
    lets_them_in::<D>(Version::V2);
}

on_each_driver! {
    #[ignore = "needs a Ceph lab"] v1
    #[ignore = "needs a Ceph lab"] v2
}

/// `ceph` has a command answered; `rados` gets the map of OSDs; and works on them, if anybody may.
fn lets_them_in<D: Driver>(version: Version) {
    let lab = Lab::given();
    let stage = Stage::<D>::new(&lab, version, lab.mode(), "in");
    let (done, output, errors) = stage.run(&["ceph", "--connect-timeout", "60", "fsid"]);
    assert!(done && output == "the stand-in's own\n", "{output} {errors} {:?}", stage.stand_in.seen);
    stage.wait(MessageType::MON_COMMAND, "fsid");
    stage.wait(MessageType::MON_SUBSCRIBE, "monmap");

    let (done, output, errors) = stage.run(&["rados", "lspools"]);
    assert!(done && output.lines().any(|pool| pool == POOL), "{output} {errors}");
    stage.wait(MessageType::MON_SUBSCRIBE, "osdmap");
    assert_eq!(stage.refused(), [""; 0]);
    if stage.stand_in.keys.is_none() {
        let (name, file) = (format!("stand-in-{version:?}-{}", D::NUMBER), stage.keyring.to_str().unwrap());
        let (done, _, errors) = stage.run(&["rados", "-p", POOL, "put", &name, file]);
        assert!(done, "{errors}");
        let read = lab.ceph(&["rados", "-p", POOL, "get", &name, "-"]).stdout;
        assert!(read == std::fs::read(&stage.keyring).unwrap(), "what was written is there");
    }
    stage.end();
}

/// These need a lab with cephx.
mod keys {
    use super::{strangers_v1, strangers_v2};

    on_each_driver! {
        #[ignore = "needs a Ceph lab with keys"] strangers_v1
        #[ignore = "needs a Ceph lab with keys"] strangers_v2
    }
}

fn strangers_v1<D: Driver>() {
    strangers_stay_out::<D>(Version::V1);
}

fn strangers_v2<D: Driver>() {
    strangers_stay_out::<D>(Version::V2);
}

/// Who has another key than the monitor knows, or a name that it does not know, is told nothing.
fn strangers_stay_out<D: Driver>(version: Version) {
    let lab = Lab::given();
    let stage = Stage::<D>::new(&lab, version, lab.mode(), "out");
    let keys = stage.stand_in.keys.as_ref().unwrap();
    keys.edit(|keyring| {
        keyring.entries.insert("client.admin".parse().unwrap(), Entry::of(key(9)));
        keyring.entries.remove(&"client.other".parse().unwrap());
    });
    for name in ["client.admin", "client.other"] {
        let (done, output, errors) = stage.run(&["ceph", "--connect-timeout", "60", "--name", name, "fsid"]);
        assert!(!done && output.is_empty(), "{name}: {output} {errors}");
        assert!(errors.contains("ermission") || errors.contains("EACCES"), "{name}: {errors}");
        assert!(stage.refused().iter().any(|why| why.contains(name)), "{:?}", stage.refused());
    }
    let seen = stage.stand_in.seen.lock().unwrap().clone();
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::Asked { who: Some(_), .. })), "{seen:?}");
    stage.end();
}
