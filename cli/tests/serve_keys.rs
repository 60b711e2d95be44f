//! Does `cephwire serve --keyring` let in who has a key or a ticket, and nobody else? `ping` and `probe` are the peers
//! here; Ceph's own clients are in `testdata/lab/live`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod peers;
mod stand_in;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cephwire::auth::Entity;
use cephwire::auth::cephx::{CryptoKey, KeyType, Keyring, Random};
use cephwire::blocking::Messenger;
use cephwire::codec::{AddrVec, EntityName, EntityType, Header, Message, MessageType, Timestamp};
use cephwire::{Policy, Setup};
use serde_json::{Value, json};

use peers::{cephwire, objects, status};
use stand_in::Server;

/// A keyring, and one in which client.admin has another key.
struct Files {
    directory: PathBuf,
    keys: Vec<String>,
}

impl Files {
    fn write(test: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        fs::create_dir_all(&directory).unwrap();
        let mut random = Random::new([7; 32]);
        let mut key = || CryptoKey::generate(KeyType::Aes, Timestamp::default(), &mut random);
        let (admin, osd, wrong) = (key(), key(), key());
        let entity = |name: &str| name.parse::<Entity>().unwrap();
        let right = Keyring::default().with(entity("client.admin"), admin.clone());
        let right = right.with(entity("osd.0"), osd.clone());
        fs::write(directory.join("right"), right.to_text().as_bytes()).unwrap();
        let wrong_key = Keyring::default().with(entity("client.admin"), wrong.clone());
        let wrong_key = wrong_key.with(entity("client.nobody"), wrong.clone());
        fs::write(directory.join("wrong"), wrong_key.to_text().as_bytes()).unwrap();
        let keys = [admin, osd, wrong].iter().map(|key| key.to_base64().to_string()).collect();
        Self { directory, keys }
    }

    fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }
}

/// What `ping` with these arguments says first.
fn ping(arguments: &[&str]) -> Value {
    let output = cephwire(&[&["ping", "-f", "json"], arguments].concat());
    let objects = objects(&output);
    assert_eq!(status(&output) == 0, objects[0]["open"].is_object(), "{arguments:?}: {objects:?}");
    objects[0].clone()
}

#[test]
fn a_monitor_lets_in_who_has_a_key() {
    let files = Files::write("a_monitor_lets_in_who_has_a_key");
    let (right, wrong) = (files.path("right"), files.path("wrong"));
    let mut monitor = Server::start(&["127.0.0.1", "-k", &right]);
    let addr = monitor.of("v2").to_owned();
    for mode in ["crc", "secure"] {
        let open = &ping(&[&addr, "-k", &right, "--mode", mode])["open"];
        assert_eq!(
            (&open["method"], &open["mode"], &open["peer"]),
            (&json!("cephx"), &json!(mode), &json!("mon.0"))
        );
        let accepted = monitor.wait("accepted");
        assert_eq!((&accepted["entity"], &accepted["mode"]), (&json!("client.admin"), &json!(mode)));
    }
    // Each is told no more than no; why not stands in the log.
    for (name, keyring, why) in [
        ("client.admin", &wrong, "client.admin does not know its key"),
        ("client.nobody", &wrong, "unknown entity client.nobody"),
    ] {
        assert_eq!(ping(&[&addr, "-k", keyring, "-n", name])["error"]["cause"], "denied");
        let rejected = monitor.wait("rejected")["error"].to_string();
        assert!(rejected.contains(why), "{rejected}");
        assert!(files.keys.iter().all(|key| !rejected.contains(key.as_str())), "{rejected}");
    }
    assert_eq!(ping(&[&addr])["error"]["cause"], "method");
    let output =
        cephwire(&["probe", "-f", "json", &addr, "--require", "cephx,crc,secure", "--refuse", "none"]);
    assert_eq!(status(&output), 0, "{:?}", objects(&output));
}

#[test]
fn the_clients_order_decides_among_the_modes_that_are_allowed() {
    let files = Files::write("the_clients_order_decides_among_the_modes_that_are_allowed");
    let right = files.path("right");
    for (allowed, offered, expected) in [
        ("secure,crc", "crc,secure", Some("crc")),
        ("crc,secure", "secure,crc", Some("secure")),
        ("secure", "crc,secure", Some("secure")),
        ("crc", "secure,crc", Some("crc")),
        ("secure", "crc", None),
        ("crc", "secure", None),
    ] {
        let monitor = Server::start(&["v2:127.0.0.1", "-k", &right, "--mode", allowed]);
        let found = ping(&[&monitor.addrs[0], "-k", &right, "--mode", offered]);
        match expected {
            Some(mode) => assert_eq!(found["open"]["mode"], mode, "{allowed} {offered}"),
            None => assert_eq!(found["error"]["cause"], "mode", "{allowed} {offered}"),
        }
    }
}

#[test]
fn daemons_beside_it_let_in_who_has_a_ticket() {
    let files = Files::write("daemons_beside_it_let_in_who_has_a_ticket");
    let (right, wrong) = (files.path("right"), files.path("wrong"));
    let mut server = Server::start(&[
        "127.0.0.1",
        "-k",
        &right,
        "--also",
        "osd.0@127.0.0.1",
        "--also",
        "mds.x@127.0.0.1",
        "--also",
        "mgr.y@127.0.0.1",
    ]);
    let daemons = [("osd.0", server.beside()), ("mds.0", server.beside()), ("mgr.0", server.beside())];
    for (name, addrs) in &daemons {
        for (monitor, version, mode) in [
            ("v1", "v1", Value::Null),
            ("v1", "v2", json!("crc")),
            ("v2", "v1", Value::Null),
            ("v2", "v2", json!("secure")),
        ] {
            let addr = addrs.iter().find(|addr| addr.starts_with(version)).unwrap();
            let offered = mode.as_str().unwrap_or("crc");
            let found = ping(&[addr, "-m", server.of(monitor), "-k", &right, "--mode", offered]);
            let open = &found["open"];
            assert_eq!(
                (&open["method"], &open["mode"]),
                (&json!("cephx"), &mode),
                "{name}, tickets by {monitor}: {found}"
            );
            if version == "v2" {
                assert_eq!(open["peer"], *name);
            }
        }
        // In v1, it is by messages that the client shows who it is.
        assert_eq!(server.wait("authenticated")["entity"], "client.admin");
    }
    for (monitor, addr) in [("v1", &daemons[0].1[1]), ("v2", &daemons[0].1[0])] {
        let found = ping(&[addr, "-m", server.of(monitor), "-k", &wrong]);
        assert_eq!(found["error"]["cause"], "denied", "{monitor}: {found}");
    }
    let why = server.wait("refused")["error"].to_string();
    assert!(why.contains("client.admin does not know its key"), "{why}");
    assert_eq!(ping(&[&daemons[0].1[0]])["error"]["cause"], "method");
}

/// Tickets of another cluster with the same keys: the rotating secrets are others.
#[test]
fn a_ticket_is_good_for_one_cluster() {
    let files = Files::write("a_ticket_is_good_for_one_cluster");
    let right = files.path("right");
    let one = Server::start(&["v2:127.0.0.1", "-k", &right]);
    let mut other = Server::start(&["v2:127.0.0.1", "-k", &right, "--also", "osd.0@v2:127.0.0.1"]);
    let osd = &other.beside()[0];
    assert_eq!(ping(&[osd, "-m", &other.addrs[0], "-k", &right])["open"]["method"], "cephx");
    assert_eq!(ping(&[osd, "-m", &one.addrs[0], "-k", &right])["error"]["cause"], "denied");
}

#[test]
fn who_is_not_authenticated_gets_no_answers() {
    let files = Files::write("who_is_not_authenticated_gets_no_answers");
    let mut monitor = Server::start(&["v1:127.0.0.1", "-k", &files.path("right")]);
    let name = EntityName::new(EntityType::CLIENT, -1);
    let client = Messenger::new(Setup::new(name).default_policy(Policy::lossy_client())).unwrap();
    let session = client.connect(EntityType::MON, &monitor.vector().parse::<AddrVec>().unwrap());
    for kind in [MessageType::MON_COMMAND, MessageType::MON_SUBSCRIBE, MessageType::PING] {
        session.send(Message { header: Header { kind, ..Header::default() }, ..Message::default() }).unwrap();
    }
    for event in ["received", "dropped", "received", "dropped", "received", "sent"] {
        let line = monitor.next();
        let line = if line["event"] == "accepted" { monitor.next() } else { line };
        assert_eq!(line["event"], event, "{line}");
    }
    let _ = client.shutdown(std::time::Duration::ZERO);
}

#[test]
fn both_ends_write_the_same_secret_if_they_shall() {
    let files = Files::write("both_ends_write_the_same_secret_if_they_shall");
    let (right, theirs, ours) = (files.path("right"), files.path("theirs"), files.path("ours"));
    for file in [&theirs, &ours] {
        let _ = fs::remove_file(file);
    }
    let mut server = Server::start_with(
        &["v2:127.0.0.1", "-k", &right, "--also", "osd.0@v2:127.0.0.1"],
        &[("CEPHWIRE_KEY_LOG", &theirs)],
    );
    let osd = &server.beside()[0];
    let ping = Command::new(env!("CARGO_BIN_EXE_cephwire"))
        .args(["ping", osd, "-m", &server.addrs[0], "-k", &right, "--mode", "secure"])
        .env("CEPHWIRE_KEY_LOG", &ours)
        .env("CEPH_CONF", "/dev/null")
        .env_remove("CEPH_ARGS")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(status(&ping), 0);
    let lines = |file: &str, kind: &str| -> Vec<String> {
        let text = fs::read_to_string(file).unwrap();
        text.lines().filter(|line| line.starts_with(kind)).map(str::to_owned).collect()
    };
    // To the monitor, and to the OSD.
    let secrets = lines(&ours, "CEPHWIRE_CONNECTION_SECRET ");
    assert_eq!(secrets.len(), 2);
    assert_eq!(lines(&theirs, "CEPHWIRE_CONNECTION_SECRET "), secrets);
    // auth, mon, mds, osd, mgr
    assert_eq!(lines(&ours, "CEPHWIRE_TICKET ").len(), 5);
}

#[test]
fn mistakes_are_status_2() {
    let files = Files::write("mistakes_are_status_2");
    let right = files.path("right");
    let broken = files.path("broken");
    fs::write(&broken, format!("[client.admin]\n\tkey = {}nonsense\n", files.keys[0])).unwrap();
    for arguments in [
        &["127.0.0.1", "--mode", "secure"][..],
        &["127.0.0.1", "-k", &right, "--mode", "secret"],
        &["127.0.0.1", "-k", "/nowhere/keyring"],
        &["127.0.0.1", "-k", &broken],
        &["127.0.0.1", "--also", "osd.0"],
        &["127.0.0.1", "--also", "nobody@127.0.0.1"],
        &["127.0.0.1", "--also", "osd.0@0.0.0.0"],
        // Who would give out tickets?
        &["127.0.0.1", "-k", &right, "--name", "osd.0"],
    ] {
        let output = cephwire(&[&["serve"], arguments].concat());
        assert_eq!(status(&output), 2, "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.stdout.is_empty() && !said.is_empty(), "{arguments:?}");
        assert!(files.keys.iter().all(|key| !said.contains(key.as_str())), "{said}");
    }
}
