//! Peers on loopback that follow a script: each connection gets a thread, which ends with the test's process.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a script that does not fit must fail")]
#![allow(dead_code, reason = "each test file uses a part, or all of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};

use bytes::{Buf, Bytes};
use cephwire_codec::v2::{
    AuthBadMethod, AuthDone, Banner, ClientIdent, Frame, Hello, MessageFrame, ServerIdent, method, mode,
};
use cephwire_codec::{
    AddrType, Chunks, EntityAddr, EntityType, Features, Header, Message, MessageType, MsgrFeatures, v1, v2,
};
use serde_json::Value;

/// Runs the command with these arguments, without any of Ceph's variables and files of this machine.
pub(crate) fn cephwire(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// The same, to be changed and run.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cephwire"));
    for variable in ["CEPH_ARGS", "CEPH_KEYRING", "CLICOLOR_FORCE"] {
        command.env_remove(variable);
    }
    command.args(arguments).env("CEPH_CONF", "/dev/null").env("HOME", "/nowhere").stdin(Stdio::null());
    command
}

/// The exit status, with the output at hand if it is another.
pub(crate) fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The objects of JSON output.
pub(crate) fn objects(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Listens; each connection is given to the script.
pub(crate) fn peer(script: impl Fn(TcpStream, SocketAddr) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, from)) = listener.accept() {
            let script = script.clone();
            std::thread::spawn(move || script(stream, from));
        }
    });
    addr
}

/// A port at which nobody listens.
pub(crate) fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One that says these bytes and then waits for the other side to close.
pub(crate) fn says(bytes: &'static [u8]) -> SocketAddr {
    peer(move |mut stream, _| {
        let _ = stream.write_all(bytes);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

/// A daemon of v2.
#[derive(Clone)]
pub(crate) struct Daemon {
    pub(crate) kind: EntityType,
    pub(crate) nonce: u32,
    pub(crate) banner: Banner,
    pub(crate) methods: Vec<u32>,
    /// The modes with "none", and with all other methods.
    pub(crate) modes: [Vec<u32>; 2],
    /// The client's features must have these.
    pub(crate) required: Features,
    /// What it answers to `MPing`, as a monitor does.
    pub(crate) text: Option<&'static str>,
    pub(crate) keepalives: bool,
}

impl Daemon {
    pub(crate) fn new(kind: EntityType) -> Self {
        Self {
            kind,
            nonce: 0,
            banner: Banner { supported: MsgrFeatures::REVISION_1, required: MsgrFeatures(0) },
            methods: vec![method::NONE],
            modes: [vec![mode::CRC], vec![mode::SECURE, mode::CRC]],
            required: Features::MSG_ADDR2,
            text: None,
            keepalives: true,
        }
    }

    /// Listens.
    pub(crate) fn listen(self) -> SocketAddr {
        peer(move |stream, from| {
            // A peer that hangs up ends the script.
            let _ = self.serve(stream, from);
        })
    }

    fn serve(&self, stream: TcpStream, from: SocketAddr) -> Option<()> {
        let own = EntityAddr::new(AddrType::MSGR2, stream.local_addr().ok()?, self.nonce);
        let mut wire = Wire { stream, decoder: v2::Decoder::new(), encoder: v2::Encoder::new() };
        wire.send(&Frame::Banner(self.banner))?;
        let Frame::Banner(theirs) = wire.receive()? else { panic!("no banner") };
        let both = theirs.supported.intersection(self.banner.supported);
        if !both.contains(MsgrFeatures::REVISION_1) {
            wire.decoder.set_revision(v2::Revision::V2_0);
            wire.encoder.set_revision(v2::Revision::V2_0);
        }
        let peer_addr = EntityAddr::new(AddrType::MSGR2, from, 0);
        wire.send(&Frame::Hello(Hello { entity_type: self.kind, peer_addr }))?;
        let Frame::Hello(_) = wire.receive()? else { panic!("no HELLO") };
        loop {
            let Frame::AuthRequest(request) = wire.receive()? else { panic!("no AUTH_REQUEST") };
            let modes = self.modes.get(usize::from(request.method != method::NONE)).unwrap();
            let chosen = request.preferred_modes.iter().find(|mode| modes.contains(*mode));
            if let (true, Some(mode)) = (self.methods.contains(&request.method), chosen) {
                let done = AuthDone { global_id: 4711, mode: *mode, payload: Bytes::new() };
                wire.send(&Frame::AuthDone(done))?;
                break;
            }
            wire.send(&Frame::AuthBadMethod(AuthBadMethod {
                method: request.method,
                result: -95,
                allowed_methods: self.methods.clone(),
                allowed_modes: modes.clone(),
            }))?;
        }
        wire.send(&Frame::AuthSignature([0; 32]))?;
        let Frame::AuthSignature(_) = wire.receive()? else { panic!("no AUTH_SIGNATURE") };
        let Frame::ClientIdent(ident) = wire.receive()? else { panic!("no CLIENT_IDENT") };
        let missing = Features(self.required.0 & !ident.features_supported.0);
        if !missing.is_empty() {
            return wire.send(&Frame::IdentMissingFeatures(missing));
        }
        if ident.target != own {
            return None;
        }
        wire.send(&Frame::ServerIdent(ServerIdent {
            addrs: own.into(),
            gid: 3,
            global_seq: 9,
            features_supported: Features::ALL_PACIFIC,
            features_required: self.required,
            flags: ClientIdent::LOSSY,
            cookie: 0,
        }))?;
        let mut seq = 0;
        loop {
            match wire.receive()? {
                Frame::Message(frame) if frame.message.header.kind == MessageType::PING => {
                    let Some(text) = self.text else { continue };
                    seq += 1;
                    let front = [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
                    let header = Header { kind: MessageType::PING, version: 1, ..Header::default() };
                    let message = Message { header, front: front.into(), ..Message::default() };
                    let ack_seq = frame.seq;
                    wire.send(&Frame::Message(MessageFrame {
                        seq,
                        ack_seq,
                        message,
                        ..MessageFrame::default()
                    }))?;
                }
                Frame::Keepalive2(stamp) if self.keepalives => wire.send(&Frame::Keepalive2Ack(stamp))?,
                _ => {}
            }
        }
    }
}

/// Frames of v2 over a stream.
struct Wire {
    stream: TcpStream,
    decoder: v2::Decoder,
    encoder: v2::Encoder,
}

impl Wire {
    fn send(&mut self, frame: &Frame) -> Option<()> {
        let mut out = Chunks::new();
        self.encoder.encode(frame, &mut out).unwrap();
        self.stream.write_all(&out.copy_to_bytes(out.remaining())).ok()
    }

    fn receive(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            self.decoder.feed(&read(&mut self.stream)?);
        }
    }
}

/// A daemon of v1 with this protocol version, which takes these methods (0 stands for no authorizer).
#[derive(Clone)]
pub(crate) struct OldDaemon {
    pub(crate) nonce: u32,
    pub(crate) version: u32,
    pub(crate) methods: Vec<u32>,
}

impl OldDaemon {
    /// Listens.
    pub(crate) fn listen(self) -> SocketAddr {
        peer(move |stream, from| {
            // A peer that hangs up ends the script.
            let _ = self.serve(stream, from);
        })
    }

    fn serve(&self, stream: TcpStream, from: SocketAddr) -> Option<()> {
        let mut line = OldWire { stream, decoder: v1::Decoder::new(), encoder: v1::Encoder::new() };
        let own = EntityAddr::new(AddrType::LEGACY, line.stream.local_addr().ok()?, self.nonce);
        line.send(&v1::Frame::Banner)?;
        line.send(&v1::Frame::Address(own))?;
        line.send(&v1::Frame::Address(EntityAddr::new(AddrType::LEGACY, from, 0)))?;
        line.receive(v1::Expect::Banner)?;
        line.receive(v1::Expect::Address)?;
        let connect_seq = loop {
            let v1::Frame::Connect(connect) = line.receive(v1::Expect::Connect)? else {
                panic!("no connect")
            };
            let tag = if connect.protocol_version != self.version {
                v1::Tag::BadProtoVer
            } else if !self.methods.contains(&connect.authorizer_protocol) {
                v1::Tag::BadAuthorizer
            } else {
                break connect.connect_seq + 1;
            };
            line.reply(tag, 0, self.version)?;
        };
        line.reply(v1::Tag::Ready, connect_seq, self.version)?;
        loop {
            if let v1::Frame::Keepalive2(stamp) = line.receive(v1::Expect::Open)? {
                line.send(&v1::Frame::Keepalive2Ack(stamp))?;
            }
        }
    }
}

struct OldWire {
    stream: TcpStream,
    decoder: v1::Decoder,
    encoder: v1::Encoder,
}

impl OldWire {
    fn send(&mut self, frame: &v1::Frame) -> Option<()> {
        let mut out = Chunks::new();
        self.encoder.encode(frame, &mut out).unwrap();
        self.stream.write_all(&out.copy_to_bytes(out.remaining())).ok()
    }

    fn reply(&mut self, tag: v1::Tag, connect_seq: u32, protocol_version: u32) -> Option<()> {
        self.send(&v1::Frame::Reply(v1::ConnectReply {
            tag,
            features: Features::ALL_PACIFIC,
            global_seq: 1,
            connect_seq,
            protocol_version,
            flags: v1::CONNECT_LOSSY,
            authorizer: Bytes::new(),
        }))
    }

    fn receive(&mut self, expect: v1::Expect) -> Option<v1::Frame> {
        self.decoder.expect(expect);
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            self.decoder.feed(&read(&mut self.stream)?);
        }
    }
}

fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut buf = vec![0; 4096];
    let len = stream.read(&mut buf).ok().filter(|len| *len > 0)?;
    buf.truncate(len);
    Some(buf)
}
