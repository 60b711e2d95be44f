//! Does a session without losses survive its connections, with a real metadata server at the other end?
//!
//! A client of a file system opens a session and asks for its capabilities again and again, each time with another
//! number, which the server repeats: a lost message would leave a gap in the answers, one that came twice another
//! answer. Between the two a relay cuts connections at random bytes.

use std::time::Duration;

use cephwire::codec::{AddrVec, EntityType, MessageType};
use cephwire::{Policy, auth::cephx::WalletOptions};
use serde_json::json;

use super::client::{Client, Dialect, addrs_of, now};
use super::lab::Lab;
use super::payload::session::{CLOSE, OPEN, RENEWCAPS, REQUEST_CLOSE, REQUEST_OPEN, REQUEST_RENEWCAPS};
use super::payload::{client_session, session_said};
use super::relay::Relay;
use super::rig::Driver;

/// Connections that are cut.
const CUTS: usize = 100;
/// Requests on their way at once.
const AHEAD: u64 = 4;

fn v1<D: Driver>() {
    survives::<D>(Dialect::V1);
}

fn v2<D: Driver>() {
    survives::<D>(Dialect::V21);
}

on_each_driver! {
    #[ignore = "needs a Ceph lab with a metadata server"] v1
    #[ignore = "needs a Ceph lab with a metadata server"] v2
}

fn survives<D: Driver>(dialect: Dialect) {
    let lab = Lab::given();
    let mut options = WalletOptions::default();
    options.services |= u32::from(EntityType::MDS.0);
    let client = Client::<D>::log_in_with(&lab, dialect, options, Policy::lossless_client());
    let to = server(&client, dialect);
    let path = lab.file(&format!("relay-{dialect:?}-{}", D::NUMBER));
    let relay = Relay::start(&path, to.0[0].socket.unwrap(), CUTS);
    client.messenger.route(to.0[0], &path);

    client.patient.set(true);
    let session = client.messenger.connect(EntityType::MDS, &to);
    session.send(client_session(REQUEST_OPEN, 0, now())).unwrap();
    // Whatever else it says: what a client may hold, and how the file system is laid out.
    let said = |wanted: u32| move |message: &cephwire::codec::Message| session_said(message).0 == wanted;
    client.wait_from(&session, MessageType::CLIENT_SESSION, said(OPEN));

    let (mut asked, mut answered) = (0, 0);
    // After the last cut, some more, to see that all is well.
    let mut after = 100;
    while after > 0 {
        while asked < answered + AHEAD {
            asked += 1;
            session.send(client_session(REQUEST_RENEWCAPS, asked, now())).unwrap();
        }
        let answer = client.wait_from(&session, MessageType::CLIENT_SESSION, said(RENEWCAPS));
        answered += 1;
        assert_eq!(session_said(&answer).1, answered, "after {} cuts", relay.cuts());
        after -= u64::from(relay.cuts() >= CUTS);
    }
    while answered < asked {
        let answer = client.wait_from(&session, MessageType::CLIENT_SESSION, said(RENEWCAPS));
        answered += 1;
        assert_eq!(session_said(&answer).1, answered);
    }
    let stats = session.stats();
    println!("{dialect:?}: {answered} requests answered over {} cuts; {stats:?}", relay.cuts());
    // The server knows this session, and only it.
    let seen = sessions_at_the_server(&lab, client.messenger.local().name().num);
    assert_eq!(seen, ["open"]);

    session.send(client_session(REQUEST_CLOSE, 0, now())).unwrap();
    client.wait_from(&session, MessageType::CLIENT_SESSION, said(CLOSE));
    client.messenger.end(Duration::ZERO);
}

/// Where the metadata server is.
fn server<D: Driver>(client: &Client<D>, dialect: Dialect) -> AddrVec {
    let dump = client.tell(&json!({"prefix": "fs dump", "format": "json"}));
    let servers = dump["filesystems"][0]["mdsmap"]["info"].as_object().unwrap();
    let active = servers.values().find(|server| server["state"] == "up:active").unwrap();
    addrs_of(&active["addrs"], dialect)
}

/// The states of the sessions that the metadata server has with the client of this number.
fn sessions_at_the_server(lab: &Lab, number: i64) -> Vec<String> {
    let socket = lab.file("run").join("mds.a.asok");
    let listed = lab.ceph(&["ceph", "daemon", socket.to_str().unwrap(), "session", "ls"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let ours = listed.as_array().unwrap().iter().filter(|session| session["id"] == number);
    ours.map(|session| session["state"].as_str().unwrap().to_owned()).collect()
}
