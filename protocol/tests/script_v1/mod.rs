//! How does a test speak v1? The steps of both sides' handshakes for a [`Script`], and an authentication whose
//! every step a test decides.

#![allow(dead_code, reason = "each test binary uses its part")]
#![expect(clippy::panic, clippy::expect_used, reason = "tests")]

use bytes::{Buf, Bytes};
use cephwire_protocol::auth::{
    Answer, Auth, Client, MakeSigner, Opening, Peer, Reason, Request, Secrets, Server,
};
use cephwire_protocol::codec::v1::{
    Connect, ConnectReply, Expect, Frame, Framing, MessageFrame, Signed, Signer, Tag,
};
use cephwire_protocol::codec::v2::method;
use cephwire_protocol::codec::{Chunks, EntityAddr, EntityName, EntityType, Features};
use cephwire_protocol::{Denied, Event};

use crate::script::{Host, Script, V1, addr, message};

/// The script's address: it sorts behind the host's, v1:10.0.0.1:6801/1.
pub(crate) const LARGER: &str = "v1:10.0.0.2:6800/2";
/// Another one, which sorts before the host's: nonces compare by their least significant byte first.
pub(crate) const SMALLER: &str = "v1:10.0.0.2:6800/256";

/// A message with three parts of odd length.
pub(crate) fn parts() -> MessageFrame {
    let mut message = message(9);
    (message.front, message.middle) = (vec![0; 3].into(), vec![7; 1].into());
    message.data = vec![1; 4097].into();
    message.header.data_off = 0x7ff;
    MessageFrame { seq: 1, message, ..MessageFrame::default() }
}

/// A connect of osd.2 with all features and without authorizer.
pub(crate) fn claim(global_seq: u32, connect_seq: u32) -> Connect {
    let (features, host_type) = (Features::ALL_PACIFIC, EntityType::OSD.0.into());
    Connect { features, host_type, global_seq, connect_seq, ..Connect::default() }
}

/// The same with an authorizer of [`Key`].
pub(crate) fn claim_with(global_seq: u32, connect_seq: u32, authorizer: &'static [u8]) -> Connect {
    let (authorizer_protocol, authorizer) = (method::CEPHX, Bytes::from_static(authorizer));
    Connect { authorizer_protocol, authorizer, ..claim(global_seq, connect_seq) }
}

/// A reply with everything else zero.
pub(crate) fn reply(tag: Tag) -> ConnectReply {
    let features = Features::ALL_PACIFIC;
    let (global_seq, connect_seq, protocol_version, flags) = (0, 0, 0, 0);
    ConnectReply { tag, features, global_seq, connect_seq, protocol_version, flags, authorizer: Bytes::new() }
}

/// A message of osd.2.
pub(crate) fn numbered(seq: u64, tid: u64) -> Frame {
    let src = EntityName::new(EntityType::OSD, 2);
    Frame::Message(MessageFrame { seq, src, message: message(tid), ..MessageFrame::default() })
}

/// What the application of a session was told since the last call, in short.
pub(crate) fn told(host: &Host, session: usize) -> Vec<String> {
    let short = |event: &Event| match event {
        Event::Message(received) => format!("message {}", received.message.header.tid),
        Event::Open { side, .. } => format!("open {side:?}"),
        Event::Discard => "discard".to_owned(),
        Event::Reset(_) => "reset".to_owned(),
        Event::RemoteReset => "remote reset".to_owned(),
        Event::Refused => "refused".to_owned(),
        Event::Trouble(_) => "trouble".to_owned(),
        Event::Rejected(_) => "rejected".to_owned(),
        other => format!("{other:?}"),
    };
    host.events(session).iter().map(short).collect()
}

impl Script<V1> {
    #[track_caller]
    pub(crate) fn read(&mut self, expect: Expect) -> Frame {
        self.wire.decoder.expect(expect);
        self.expect()
    }

    #[track_caller]
    pub(crate) fn read_address(&mut self) -> EntityAddr {
        match self.read(Expect::Address) {
            Frame::Address(addr) => addr,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn read_reply(&mut self) -> ConnectReply {
        match self.read(Expect::Reply) {
            Frame::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn read_connect(&mut self) -> Connect {
        match self.read(Expect::Connect) {
            Frame::Connect(connect) => connect,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn read_seq(&mut self) -> u64 {
        match self.read(Expect::Seq) {
            Frame::Seq(seq) => seq,
            other => panic!("{other:?}"),
        }
    }

    /// Number and tid of the next item, which must be a message.
    #[track_caller]
    pub(crate) fn read_message(&mut self) -> (u64, u64) {
        match self.expect() {
            Frame::Message(frame) => (frame.seq, frame.message.header.tid),
            other => panic!("{other:?}"),
        }
    }

    /// The stream is open, with this framing.
    pub(crate) fn opened(&mut self, features: Features) {
        let framing = Framing { signature: features.contains(Features::MSG_AUTH), ..Framing::default() };
        self.wire.decoder.set_framing(framing);
        self.wire.encoder.set_framing(framing);
        self.wire.decoder.expect(Expect::Open);
    }

    // As a client.

    /// Banners and addresses; who the script is.
    #[track_caller]
    pub(crate) fn greet(&mut self, own: &str) {
        assert_eq!(self.read(Expect::Banner), Frame::Banner);
        self.read_address();
        self.read_address();
        self.send(&Frame::Banner);
        self.send(&Frame::Address(addr(own)));
    }

    /// Connects, and what the host replies.
    #[track_caller]
    pub(crate) fn ask(&mut self, connect: Connect) -> ConnectReply {
        self.send(&Frame::Connect(connect));
        self.read_reply()
    }

    /// The tag of the reply.
    #[track_caller]
    pub(crate) fn tag(&mut self, global_seq: u32, connect_seq: u32) -> Tag {
        self.tag_of(claim(global_seq, connect_seq))
    }

    /// The same for any connect.
    #[track_caller]
    pub(crate) fn tag_of(&mut self, connect: Connect) -> Tag {
        self.ask(connect).tag
    }

    /// Connects and is accepted; the host's in_seq, and the script says its own.
    #[track_caller]
    pub(crate) fn connect_as(&mut self, connect: Connect, in_seq: u64) -> u64 {
        let features = connect.features;
        let reply = self.ask(connect);
        assert_eq!(reply.tag, Tag::Seq, "{reply:?}");
        let received = self.read_seq();
        self.opened(features);
        self.send(&Frame::Seq(in_seq));
        received
    }

    // As a server.

    /// Banners and addresses; who the host is. The script is at `own`.
    #[track_caller]
    pub(crate) fn serve(&mut self, own: &str) -> EntityAddr {
        assert_eq!(self.read(Expect::Banner), Frame::Banner);
        self.send(&Frame::Banner);
        self.send(&Frame::Address(addr(own)));
        self.send(&Frame::Address(addr("v1:10.0.0.9:50000/0")));
        self.read_address()
    }

    /// Accepts the connect with SEQ; the host's in_seq.
    #[track_caller]
    pub(crate) fn accept_seq(&mut self, connect: &Connect, in_seq: u64, flags: u8) -> u64 {
        self.accept_with(connect, in_seq, ConnectReply { flags, ..reply(Tag::Seq) })
    }

    /// The same, with this reply.
    #[track_caller]
    pub(crate) fn accept_with(&mut self, connect: &Connect, in_seq: u64, reply: ConnectReply) -> u64 {
        let (global_seq, connect_seq) = (77, connect.connect_seq + 1);
        self.send(&Frame::Reply(ConnectReply { global_seq, connect_seq, ..reply }));
        self.send(&Frame::Seq(in_seq));
        let received = self.read_seq();
        self.opened(connect.features);
        received
    }

    /// All of it: a new connection is answered and open; the connect.
    #[track_caller]
    pub(crate) fn serve_open(&mut self, own: &str, in_seq: u64) -> Connect {
        self.serve(own);
        let connect = self.read_connect();
        self.accept_seq(&connect, in_seq, 0);
        connect
    }
}

/// A new connection of the script as a client, greeted.
#[track_caller]
pub(crate) fn greeted(host: &Host, own: &str) -> Script<V1> {
    let mut script = host.accept::<V1>();
    script.greet(own);
    script
}

/// The same, open; with the session that has it.
#[track_caller]
pub(crate) fn opened(host: &Host, own: &str, connect: Connect) -> (Script<V1>, usize) {
    let mut script = greeted(host, own);
    script.connect_as(connect, 0);
    let owner = script.owner().expect("an owner");
    (script, owner)
}

/// A message in bytes.
pub(crate) fn bytes_of(script: &mut Script<V1>, frame: &MessageFrame) -> Vec<u8> {
    encoded(&mut script.wire, frame)
}

/// The same, of a peer without a script.
pub(crate) fn encoded(wire: &mut V1, frame: &MessageFrame) -> Vec<u8> {
    let mut out = Chunks::new();
    wire.encoder.encode_message(frame, &mut out).expect("encodable");
    out.copy_to_bytes(out.remaining()).to_vec()
}

/// An authentication of one step, or with a challenge; what proves is readable.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Key {
    pub(crate) challenges: bool,
    pub(crate) signs: bool,
}

pub(crate) const TICKET: &[u8] = b"ticket";
pub(crate) const ANSWER: &[u8] = b"ticket, challenge + 1";
pub(crate) const CHALLENGE: &[u8] = b"challenge";
pub(crate) const PROOF: &[u8] = b"nonce + 1";

impl Auth for Key {
    fn client(&self, _peer: &Peer) -> Box<dyn Client> {
        Box::new(Prover(*self))
    }

    fn server(&self, _peer: &Peer) -> Box<dyn Server> {
        Box::new(Checker { key: *self, challenged: false })
    }
}

struct Prover(Key);

impl Client for Prover {
    fn open(&mut self, _allowed: &[u32]) -> Result<Option<Opening>, Denied> {
        Ok(Some(Opening { method: method::CEPHX, payload: Bytes::from_static(TICKET) }))
    }

    fn more(&mut self, payload: &[u8]) -> Result<Bytes, Denied> {
        if payload == CHALLENGE { Ok(Bytes::from_static(ANSWER)) } else { Err(Denied::default()) }
    }

    fn done(&mut self, _global_id: u64, _mode: u32, payload: &[u8]) -> Result<Secrets, Denied> {
        if payload == PROOF { Ok(self.0.secrets()) } else { Err(Denied::default()) }
    }
}

struct Checker {
    key: Key,
    challenged: bool,
}

impl Server for Checker {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        let payload = request.payload;
        if request.method != method::CEPHX || (payload != TICKET && payload != ANSWER) {
            return Answer::Bad(Reason::Refused { result: -13 });
        }
        if self.key.challenges && (payload != ANSWER || !self.challenged) {
            self.challenged = true;
            return Answer::More(Bytes::from_static(CHALLENGE));
        }
        let (payload, secrets) = (Bytes::from_static(PROOF), self.key.secrets());
        Answer::Done { name: None, global_id: 2, payload, caps: Bytes::new(), secrets }
    }

    fn methods(&self) -> Vec<u32> {
        vec![method::CEPHX]
    }
}

impl Key {
    fn secrets(self) -> Secrets {
        let signer = self.signs.then(|| Box::new(|_| Box::new(Sum) as Box<dyn Signer>) as MakeSigner);
        Secrets { connection_secret: Default::default(), sign_transcript: Box::new(|_| [0; 32]), signer }
    }
}

/// Signs by adding.
pub(crate) struct Sum;

impl Signer for Sum {
    fn sign(&self, covered: &Signed) -> u64 {
        u64::from(covered.header_crc) + u64::from(covered.front_crc) + covered.seq + 1
    }
}
