//! Does `cephwire serve` let peers in and answer them? `ping` and `probe` are the peers here; real ones are in
//! `testdata/lab/live`.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

mod peers;
mod stand_in;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use cephwire::blocking::Messenger;
use cephwire::codec::{AddrVec, EntityName, EntityType, Header, Message, MessageType};
use cephwire::{Dispatcher, Handle, Policy, Received, Setup};
use serde_json::{Value, json};

use peers::{cephwire, objects, status};
use stand_in::Server;

#[test]
fn a_wrong_command_line_is_status_2() {
    for arguments in [
        &["serve"][..],
        &["serve", "0.0.0.0:7000"],
        &["serve", "[::]:7000"],
        &["serve", "127.0.0.1:x"],
        &["serve", "127.0.0.1", "--name", "nobody"],
        &["serve", "127.0.0.1", "--answer", "never"],
    ] {
        let output = cephwire(arguments);
        assert_eq!(status(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    // An address of nobody's on this machine (TEST-NET-1) cannot be bound.
    let output = Command::new(env!("CARGO_BIN_EXE_cephwire"))
        .args(["serve", "192.0.2.1:7000"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(status(&output), 1);
}

#[test]
fn one_port_speaks_both_versions() {
    let mut server = Server::start(&["127.0.0.1"]);
    let [v2, v1] = &server.addrs[..] else { panic!("{:?}", server.addrs) };
    assert_eq!((v2.replace("v2:", "v1:"), v2.ends_with("/0")), (v1.clone(), true));
    for (version, peer, addr) in [("v2", "mon.0", v2.clone()), ("v1", "mon.?", v1.clone())] {
        let output =
            cephwire(&["ping", "-f", "json", "-c", "2", "-i", "0.01", "--try", version, &server.vector()]);
        let objects = objects(&output);
        assert_eq!(status(&output), 0, "{objects:?}");
        assert_eq!((&objects[0]["address"], &objects[0]["open"]["peer"]), (&json!(addr), &json!(peer)));
        assert_eq!(objects[1]["text"]["health"]["status"], "HEALTH_OK");
        // What the server has seen of it.
        let accepted = server.wait("accepted");
        assert_eq!(accepted["version"], version);
        for event in ["received", "sent", "received", "sent"] {
            let message = server.wait(event);
            assert_eq!((&message["type_name"], &message["con"]), (&json!("ping"), &accepted["con"]));
        }
        assert_eq!(server.wait("reset")["con"], accepted["con"]);
    }
}

#[test]
fn a_probe_finds_what_was_asked_for() {
    let monitor = Server::start(&["127.0.0.1"]);
    let osd = Server::start(&["--name", "osd.7", "v2:127.0.0.1/4711"]);
    let old = Server::start(&["--name", "mds.x", "v1:127.0.0.1"]);
    assert_eq!((osd.addrs.len(), osd.addrs[0].ends_with("/4711")), (1, true));
    for (server, options, kind) in [
        (&monitor, "--require v1,v2,none,crc,revision-1,session --refuse secure,cephx", "mon"),
        (&osd, "--require v2,none,session --refuse secure,cephx,v1", "osd"),
        (&old, "--require v1,none,session --refuse secure,cephx,v2", "mds"),
    ] {
        let vector = server.vector();
        let options: Vec<&str> = options.split(' ').collect();
        let output = cephwire(&[&["probe", "-f", "json", &vector], &options[..]].concat());
        let objects = objects(&output);
        assert_eq!(status(&output), 0, "{objects:?}");
        for attempt in objects[0]["attempts"].as_array().unwrap() {
            assert_eq!((&attempt["type"], &attempt["error"]), (&json!(kind), &Value::Null), "{attempt}");
        }
    }
    // The number in its name is the OSD's.
    let output = cephwire(&["ping", "-f", "json", &osd.addrs[0]]);
    assert_eq!(objects(&output)[0]["open"]["peer"], "osd.7");
    assert_eq!(objects(&output)[1]["answer"], "keepalive2_ack");
}

/// Hands on what comes.
struct Forward(Sender<Message>);

impl Dispatcher for Forward {
    fn dispatch(&self, _from: &Handle, received: Received) -> Option<Received> {
        let _ = self.0.send(received.into_parts().0);
        None
    }
}

fn message(kind: MessageType, tid: u64, data: &[u8]) -> Message {
    let header = Header { kind, tid, version: 3, compat_version: 1, ..Header::default() };
    Message { header, front: vec![1, 2, 3].into(), data: data.to_vec().into(), ..Message::default() }
}

#[test]
fn echoes_if_it_shall() {
    for version in ["v1", "v2"] {
        let mut echo =
            Server::start(&["--name", "osd.1", "--answer", "echo", &format!("{version}:127.0.0.1/5")]);
        let mut quiet = Server::start(&["--name", "osd.2", &format!("{version}:127.0.0.1/6")]);
        let client = EntityName::new(EntityType::CLIENT, 9);
        let client = Messenger::new(Setup::new(client).default_policy(Policy::lossy_client())).unwrap();
        let (sender, answers) = channel();
        client.add_tail(Arc::new(Forward(sender)));
        let session =
            |server: &Server| client.connect(EntityType::OSD, &server.vector().parse::<AddrVec>().unwrap());
        let sent = message(MessageType(42), 77, &[7; 100_000]);
        session(&quiet).send(sent.clone()).unwrap();
        assert_eq!(quiet.wait("received")["data"], 100_000);
        session(&echo).send(sent.clone()).unwrap();
        let mut answer = answers.recv().unwrap();
        // The messenger chooses a priority where there is none.
        answer.header.priority = sent.header.priority;
        assert_eq!(answer, sent);
        let received = echo.wait("received");
        assert_eq!(
            (&received["type"], &received["tid"], &received["front"]),
            (&json!(42), &json!(77), &json!(3))
        );
        assert!(answers.try_recv().is_err(), "the quiet one answered");
        let _ = client.shutdown(std::time::Duration::ZERO);
    }
}

#[test]
fn hostile_bytes_do_no_harm() {
    let server = Server::start(&["127.0.0.1"]);
    let banner = *b"ceph v2\n\x10\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let garbage = [0xa5; 4096];
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &garbage, &[&banner[..], &garbage].concat(), b"ceph v027garbage"]
    {
        let mut stream = TcpStream::connect(server.socket()).unwrap();
        let _ = stream.write_all(bytes);
    }
    assert_eq!(status(&cephwire(&["ping", &server.vector()])), 0);
}

#[test]
fn for_people_it_is_as_in_cephs_log() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cephwire"))
        .args(["serve", "127.0.0.1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    let addrs = first.split_once(" -- ").unwrap().1.strip_suffix(" listening as mon.a").unwrap().to_owned();
    assert_eq!(status(&cephwire(&["ping", &addrs])), 0);
    let lines: Vec<String> = lines.by_ref().take(3).collect();
    let _ = child.kill();
    let _ = child.wait();
    let [accepted, received, sent] = &lines[..] else { panic!("{lines:?}") };
    assert!(accepted.contains(&format!(" -- {addrs} == client.? ")) && accepted.ends_with(" accepted con 1"));
    assert!(
        received.contains(&format!(" -- {addrs} <== client.? "))
            && received
                .ends_with(" 1 ==== ping v1 ==== 0+0+0 (crc 4294967295 4294967295 4294967295) tid 1 con 1"),
        "{received}"
    );
    assert!(sent.contains(" --> client.? ") && sent.ends_with(" tid 1 con 1"), "{sent}");
}

#[test]
fn ping_without_address_pings_a_stand_in() {
    for options in [&[][..], &["--try", "v1"], &["--no-revision-1"]] {
        let output = cephwire(&[&["ping", "-f", "json", "-c", "2", "-i", "0.01"], options].concat());
        let objects = objects(&output);
        assert_eq!(status(&output), 0, "{objects:?}");
        assert_eq!(objects.last().unwrap()["summary"]["received"], 2);
        // It is said everywhere that this is no cluster.
        assert!(objects.iter().all(|object| object["stand_in"] == true), "{objects:?}");
    }
    let text = String::from_utf8(cephwire(&["ping"]).stdout).unwrap();
    assert!(text.lines().next().unwrap().contains("no cluster"), "{text}");
    for line in text.lines().filter(|line| line.contains("HEALTH_OK")) {
        assert!(line.ends_with("(stand-in)"), "{text}");
    }
    assert!(text.contains("HEALTH_OK"), "{text}");
}
