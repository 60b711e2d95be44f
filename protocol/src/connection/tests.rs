//! Every frame in every state of v1's handshakes. A decoder reads what is expected and nothing else, so that on the
//! wire a wrong frame is malformed bytes (`tests/handshake_errors.rs`); the machines do not rely on it.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use cephwire_codec::v1::{Connect, ConnectReply, Frame as V1, Tag};
use cephwire_codec::{AddrVec, EntityAddr, EntityType, Features, Side};

use super::*;
use crate::auth::AllowAll;
use crate::local::Options;
use crate::policy::Policies;

const SERVER: &str = "v1:10.0.0.2:6800/2";

fn addr(text: &str) -> EntityAddr {
    text.parse().unwrap()
}

fn reply() -> V1 {
    let (features, connect_seq, authorizer) = (Features::ALL_PACIFIC, 1, bytes::Bytes::new());
    let (tag, global_seq, protocol_version, flags) = (Tag::Seq, 0, 0, 0);
    V1::Reply(ConnectReply { tag, features, global_seq, connect_seq, protocol_version, flags, authorizer })
}

fn connect() -> V1 {
    let (features, host_type) = (Features::ALL_PACIFIC, EntityType::OSD.0.into());
    V1::Connect(Connect { features, host_type, ..Connect::default() })
}

/// A connection of v1 between two OSDs, somewhere in its handshake.
struct At {
    local: Arc<Local>,
    conn: Connection,
}

impl At {
    fn new(side: Side) -> Self {
        let (name, now) = (EntityName::new(EntityType::OSD, 1), Instant::now());
        let auth = Arc::new(AllowAll { name });
        let policies = Policies::all(Policy::lossless_peer());
        let local = Local::new(name, AddrVec::default(), 1, 1, policies, auth, Options::default());
        let mut facts = Facts::new(Version::V1, side);
        facts.socket = Some(addr(SERVER));
        let conn = Connection::new(&local, LinkId(1), facts, Policy::lossless_peer(), now).unwrap();
        Self { local, conn }
    }

    /// What [`Connection::next`] does with a frame.
    fn hear(&mut self, frame: V1) -> Result<Step, Error> {
        self.conn.frames += 1;
        let handshake = self.conn.handshake.take().unwrap();
        self.conn.phase = handshake.phase();
        let (next, step) = handshake.on(Frame::V1(frame), &mut self.conn.context(&self.local))?;
        self.conn.handshake = next;
        Ok(step)
    }

    /// The session does its part after so many frames.
    fn say(&mut self) {
        let claim = Claim::V1 { global_seq: 1, connect_seq: 0, reconnect_seq: true };
        let (in_seq, global_seq, connect_seq, cookie, lossy, resumed) = (0, 1, 1, 0, false, true);
        let answer = Answer::Open { in_seq, global_seq, connect_seq, cookie, lossy, resumed };
        match self.conn.facts.side {
            Side::Client => self.conn.claim(&self.local, claim, 0, false).unwrap(),
            Side::Server => self.conn.answer(&self.local, &answer).unwrap(),
        }
    }
}

/// The phase and what is expected there; frames heard before; whether the session has done its part; the frame that
/// fits.
type Row = (&'static str, &'static str, usize, bool, Option<V1>);

fn every_frame(side: Side, way: &[V1], rows: &[Row]) {
    let frames = [
        ("Banner", V1::Banner),
        ("Address", V1::Address(addr(SERVER))),
        ("Connect", connect()),
        ("Reply", reply()),
        ("Seq", V1::Seq(0)),
        ("Ack", V1::Ack(1)),
        ("Keepalive", V1::Keepalive),
        ("Close", V1::Close),
    ];
    for (phase, expected, heard, said, fits) in rows {
        for (name, frame) in &frames {
            let mut at = At::new(side);
            for frame in way.iter().take(*heard) {
                at.hear(frame.clone()).unwrap();
            }
            if *said {
                at.say();
            }
            let found = at.hear(frame.clone());
            if fits.as_ref() == Some(frame) {
                assert!(found.is_ok(), "{expected}: {name}: {found:?}");
                continue;
            }
            let (number, expected) = (*heard as u64 + 1, (*expected).to_owned());
            let violation = Violation { phase, number, found: (*name).to_owned(), expected };
            assert_eq!(found.unwrap_err(), violation.into());
        }
    }
}

#[test]
fn every_frame_in_every_state_of_a_v1_client() {
    let (identify, connecting) = ("CONNECTING_WAIT_BANNER_AND_IDENTIFY", "CONNECTING_SEND_CONNECT_MSG");
    let server = V1::Address(addr(SERVER));
    every_frame(
        Side::Client,
        &[V1::Banner, server.clone(), server.clone()],
        &[
            (identify, "the server's banner", 0, false, Some(V1::Banner)),
            (identify, "the server's address", 1, false, Some(server.clone())),
            (identify, "this side's address, as the server sees it", 2, false, Some(server)),
            (connecting, "nothing: no session is claimed yet", 3, false, None),
            (connecting, "connect_reply", 3, true, Some(reply())),
        ],
    );
    // The last one comes behind the session's part.
    let mut at = At::new(Side::Client);
    for frame in [V1::Banner, V1::Address(addr(SERVER)), V1::Address(addr(SERVER))] {
        at.hear(frame).unwrap();
    }
    at.say();
    at.hear(reply()).unwrap();
    let error = at.hear(reply()).unwrap_err().to_string();
    assert_eq!(error, format!("{connecting}, frame 5: Reply, expected the server's in_seq"));
}

#[test]
fn every_frame_in_every_state_of_a_v1_server() {
    let (accepting, judged) = ("ACCEPTING", "ACCEPTING_WAIT_CONNECT_MSG_AUTH");
    let client = V1::Address(addr("v1:10.0.0.3:6800/3"));
    every_frame(
        Side::Server,
        &[V1::Banner, client, connect()],
        &[
            (accepting, "the client's banner", 0, false, Some(V1::Banner)),
            (accepting, "the client's address", 1, false, Some(V1::Address(addr(SERVER)))),
            (accepting, "connect", 2, false, Some(connect())),
            (judged, "nothing: the last claim is not answered yet", 3, false, None),
            ("ACCEPTING_HANDLED_CONNECT_MSG", "the client's in_seq", 3, true, Some(V1::Seq(0))),
        ],
    );
}
