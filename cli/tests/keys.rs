//! Do `ping` and `probe` find their key and authenticate with it? A monitor and an OSD with cephx are in this process;
//! real ones are in `testdata/lab/live`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod peers;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use cephwire::auth::cephx::message::Auth as MAuth;
use cephwire::auth::cephx::{
    CryptoKey, Entry, KeyServer, KeyServerOptions, KeyType, Keyring, MonitorAuth, MonitorTalk, Random,
    Service, ServiceAuth, ServiceOptions, Wallet, WalletOptions,
};
use cephwire::auth::{Auth, Entity};
use cephwire::blocking::Messenger;
use cephwire::codec::{AddrVec, EntityName, EntityType, Message, MessageType, Timestamp};
use cephwire::{Dispatcher, Handle, Policy, Received, Setup};
use serde_json::json;

use peers::{cephwire, objects, status};

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp { sec: since.as_secs() as u32, nsec: 0 }
}

/// A monitor: answers pings, and in v1 authenticates by messages.
struct Monitor {
    server: Arc<KeyServer>,
    talks: Mutex<HashMap<u64, MonitorTalk>>,
}

impl Dispatcher for Monitor {
    fn dispatch(&self, from: &Handle, received: Received) -> Option<Received> {
        let message = received.into_parts().0;
        let answer = match message.header.kind {
            MessageType::AUTH => {
                let asked = MAuth::decode(&message.front.into_bytes()).unwrap();
                let mut talks = self.talks.lock().unwrap();
                let talk = talks.entry(from.id()).or_insert_with(|| self.server.talk());
                talk.handle_auth(now(), &asked).0.message()
            }
            _ => Message { front: b"\x02\0\0\0{}".to_vec().into(), ..message },
        };
        let _ = from.send(answer);
        None
    }
}

struct Quiet;

impl Dispatcher for Quiet {}

/// Listens at one address for both versions.
fn daemon(name: EntityName, auth: Arc<dyn Auth>, dispatcher: Arc<dyn Dispatcher>) -> (Messenger, AddrVec) {
    let setup = Setup::new(name).nonce(0).auth(auth).default_policy(Policy::stateless_server());
    let messenger = Messenger::new(setup).unwrap();
    messenger.add_tail(dispatcher);
    let addrs = messenger.bind(&"any:127.0.0.1:0/0".parse().unwrap()).unwrap();
    (messenger, addrs)
}

/// A cluster of two, and the files of who may use it.
struct Cluster {
    monitor: (Messenger, AddrVec),
    osd: (Messenger, AddrVec),
    directory: PathBuf,
    key: String,
    wrong: String,
}

impl Cluster {
    fn start(test: &str) -> Self {
        let mut random = Random::new([1; 32]);
        let mut key = || CryptoKey::generate(KeyType::Aes, now(), &mut random);
        let (admin, own, wrong) = (key(), key(), key());
        let allow = |service: &str| (service.to_owned(), "allow *".to_owned());
        let caps: BTreeMap<_, _> = ["mon", "osd", "mgr"].map(allow).into();
        let entity = Entity::new(EntityType::CLIENT, "admin");
        let mut keyring = Keyring::default();
        keyring.entries.insert(entity.clone(), Entry { caps, ..Entry::of(admin.clone()) });
        let server = KeyServer::new(keyring, KeyServerOptions::default(), [2; 32]);
        let service = Service::new(EntityType::OSD, ServiceOptions::default(), [3; 32]);
        service.set_secrets(server.rotating_secrets(EntityType::OSD, now()));
        let of_osd = Entity::new(EntityType::OSD, "0");
        let wallet = Wallet::new(of_osd, own, WalletOptions::default(), [4; 32]).unwrap();

        let answers = Monitor { server: Arc::clone(&server), talks: Mutex::default() };
        let monitor =
            daemon(EntityName::new(EntityType::MON, 0), Arc::new(MonitorAuth(server)), Arc::new(answers));
        let auth = ServiceAuth { wallet, service };
        let osd = daemon(EntityName::new(EntityType::OSD, 0), Arc::new(auth), Arc::new(Quiet));

        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&directory).unwrap();
        let written = Keyring::default().with(entity, admin.clone());
        fs::write(directory.join("keyring"), written.to_text().as_bytes()).unwrap();
        fs::write(directory.join("keyfile"), admin.to_base64().as_bytes()).unwrap();
        fs::write(directory.join("no-keyring"), "[client.admin]\n\tkey = nonsense\n").unwrap();
        let conf = format!(
            "[global]\nmon host = {}\nkeyring = {}\n",
            bracketed(&monitor.1),
            directory.join("keyring").display()
        );
        fs::write(directory.join("ceph.conf"), conf).unwrap();
        Self {
            monitor,
            osd,
            directory,
            key: admin.to_base64().to_string(),
            wrong: wrong.to_base64().to_string(),
        }
    }

    fn file(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    /// Addresses of one version alone.
    fn only(addrs: &AddrVec, version: &str) -> String {
        addrs.0.iter().map(ToString::to_string).find(|addr| addr.starts_with(version)).unwrap()
    }

    fn end(&self) {
        let _ = self.monitor.0.shutdown(std::time::Duration::ZERO);
        let _ = self.osd.0.shutdown(std::time::Duration::ZERO);
    }
}

fn bracketed(addrs: &AddrVec) -> String {
    format!("[{}]", addrs.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

#[test]
fn a_key_opens_all_doors() {
    let cluster = Cluster::start("a_key_opens_all_doors");
    let monitors = bracketed(&cluster.monitor.1);
    let (conf, keyring, keyfile) =
        (cluster.file("ceph.conf"), cluster.file("keyring"), cluster.file("keyfile"));
    for options in [
        vec!["--conf", &conf],
        vec!["-m", &monitors, "-k", &keyring],
        vec!["-m", &monitors, "-K", &keyfile],
        vec!["-m", &monitors, "--key", &cluster.key],
    ] {
        let output = cephwire(&[&["ping", "-f", "json"], &options[..]].concat());
        let found = objects(&output);
        assert_eq!(status(&output), 0, "{options:?}: {found:?}");
        let open = &found[0]["open"];
        // Ceph's default with monitors, without a word in the configuration.
        assert_eq!((&open["method"], &open["mode"]), (&json!("cephx"), &json!("secure")), "{options:?}");
    }
    // To the OSD: with a ticket, from a monitor of either version.
    for (monitor, osd, mode) in
        [("v2", "v2", json!("crc")), ("v1", "v1", json!(null)), ("v1", "v2", json!("crc"))]
    {
        let monitor = Cluster::only(&cluster.monitor.1, monitor);
        let osd = Cluster::only(&cluster.osd.1, osd);
        let output = cephwire(&["ping", "-f", "json", &osd, "-m", &monitor, "-k", &keyring]);
        let found = objects(&output);
        assert_eq!(status(&output), 0, "{monitor} {osd}: {found:?}");
        let open = &found[0]["open"];
        assert_eq!((&open["method"], &open["mode"]), (&json!("cephx"), &mode), "{monitor} {osd}");
    }
    // Modes are those of the configuration.
    let secure = ["--conf", &conf, "--require", "cephx,secure,session", "--refuse", "none"];
    let osd = Cluster::only(&cluster.osd.1, "v2");
    fs::write(&conf, fs::read_to_string(&conf).unwrap() + "ms_client_mode = secure\n").unwrap();
    let output = cephwire(&[&["probe", "-f", "json", &osd], &secure[..]].concat());
    assert_eq!(objects(&output)[0]["attempts"][0]["mode"], "secure");
    assert_eq!(status(&output), 0);
    cluster.end();
}

#[test]
fn without_the_right_key_the_cause_is_named() {
    let cluster = Cluster::start("without_the_right_key_the_cause_is_named");
    let (conf, keyring, broken) =
        (cluster.file("ceph.conf"), cluster.file("keyring"), cluster.file("no-keyring"));
    let monitor = Cluster::only(&cluster.monitor.1, "v2");
    let osd = Cluster::only(&cluster.osd.1, "v2");
    for (addr, options, cause) in [
        (&monitor, vec!["--key", &cluster.wrong], "denied"),
        (&monitor, vec!["--conf", &conf, "-n", "client.nobody"], "method"),
        (&monitor, vec!["-n", "client.nobody", "--key", &cluster.key], "denied"),
        (&monitor, vec![], "method"),
        (&osd, vec!["-m", &monitor, "--key", &cluster.wrong], "denied"),
        // Nobody says where a ticket could be had.
        (&osd, vec!["-k", &keyring], "denied"),
        (&osd, vec!["-m", &monitor], "method"),
    ] {
        let output = cephwire(&[&["ping", "-f", "json", addr], &options[..]].concat());
        let found = objects(&output);
        assert_eq!(
            (status(&output), &found[0]["error"]["cause"]),
            (1, &json!(cause)),
            "{options:?}: {found:?}"
        );
        if addr == &monitor && cause == "denied" {
            let text = found[0]["error"]["text"].as_str().unwrap_or_default();
            assert!(text.contains("a wrong key, no such entity"), "{options:?}: {text}");
        }
        let printed = format!("{found:?}{:?}", output.stderr);
        assert!(!printed.contains(&cluster.key) && !printed.contains(&cluster.wrong), "{printed}");
    }
    // What cannot be read, or is of no use, is no matter of the peer's.
    for options in [
        &["-k", broken.as_str()][..],
        &["-k", "/nowhere/keyring"],
        &["-k", &keyring, "-n", "client.nobody"],
        &["--key", "nonsense"],
    ] {
        let output = cephwire(&[&["ping", &monitor], options].concat());
        assert_eq!((status(&output), output.stdout.len()), (2, 0), "{options:?}");
        assert!(!output.stderr.is_empty());
    }
    cluster.end();
}
