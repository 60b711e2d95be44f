//! What does a server tell whoever asks?
//!
//! A connection of its own, never authenticated, that asks for what a session would not be told:
//!
//! ```text
//! v2   banner ◄► banner    HELLO ◄► HELLO    AUTH_REQUEST with a method that nobody has ─►
//!                                            ◄─ AUTH_BAD_METHOD: methods, and modes of the server's list
//!      for each of these methods             AUTH_REQUEST with a mode that nobody has ─►
//!                                            ◄─ AUTH_BAD_METHOD: modes with this method
//! v1   banner ◄► banner    ◄─ the server's address (with its nonce), ours as it sees it
//! ```
//!
//! A server goes on waiting for AUTH_REQUEST after a refusal, so one connection does.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cephwire_codec::v2::{AuthRequest, Banner, Frame, Hello, Revision, mode};
use cephwire_codec::{Chunks, EntityAddr, EntityType, MsgrFeatures, v1, v2};
use cephwire_protocol::Version;

use super::Target;
use super::call::{is_transient, write};
use super::cause::{Cause, FIRST_BYTES};
use super::identity::Identity;

/// A method and a mode that nobody has.
const NOBODYS: u32 = 0x7fff_ffff;

/// What it told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// v2: its banner.
    pub(crate) banner: Option<Banner>,
    /// v2: what it is.
    pub(crate) kind: Option<EntityType>,
    /// v1: its address, as it calls itself.
    pub(crate) own: Option<EntityAddr>,
    /// Our address, as it sees it.
    pub(crate) seen_as: Option<EntityAddr>,
    /// v2: the methods it allows us.
    pub(crate) methods: Option<Vec<u32>>,
    /// v2: the modes it allows with each of them; those of a method that is not asked about are not known.
    pub(crate) modes: Vec<(u32, Vec<u32>)>,
}

impl Look {
    /// Looks, as far as it goes.
    pub(crate) fn at(target: &Target, identity: &Identity) -> (Self, Result<(), Cause>) {
        let mut this = Self::default();
        let until = Instant::now() + identity.timeout;
        let outcome = Line::dial(target, identity.timeout, until).and_then(|mut line| match target.version {
            Version::V1 => this.v1(&mut line),
            Version::V2 => this.v2(&mut line, target, identity),
        });
        (this, outcome)
    }

    fn v1(&mut self, line: &mut Line) -> Result<(), Cause> {
        let phase = "CONNECTING_WAIT_BANNER_AND_IDENTIFY";
        let mut decoder = v1::Decoder::new();
        let mut out = Chunks::new();
        out.put_slice(&v1::BANNER);
        line.send(&mut out, phase)?;
        for expect in [v1::Expect::Banner, v1::Expect::Address, v1::Expect::Address] {
            decoder.expect(expect);
            let frame = loop {
                match decoder.next_frame() {
                    Ok(Some(frame)) => break frame,
                    Ok(None) => decoder.feed(&line.receive(phase)?),
                    Err(error) => return Err(line.broken(phase, &error.to_string())),
                }
            };
            if let v1::Frame::Address(addr) = frame {
                let place = if self.own.is_none() { &mut self.own } else { &mut self.seen_as };
                *place = Some(addr);
            }
        }
        Ok(())
    }

    fn v2(&mut self, line: &mut Line, target: &Target, identity: &Identity) -> Result<(), Cause> {
        let mut wire = Wire { line, decoder: v2::Decoder::new(), encoder: v2::Encoder::new() };
        let supported = if identity.revision_1 { MsgrFeatures::REVISION_1 } else { MsgrFeatures(0) };
        let own = Banner { supported, required: MsgrFeatures(0) };
        let Frame::Banner(banner) = wire.ask(&[Frame::Banner(own)], "BANNER_CONNECTING")? else {
            return Ok(());
        };
        self.banner = Some(banner);
        if !supported.contains(banner.required) {
            let required = banner.required;
            let text = format!("the peer's banner requires {required:?}, we have {supported:?}");
            return Err(Cause::new("msgr-features", "BANNER_CONNECTING", text));
        }
        let newer = supported.intersection(banner.supported).contains(MsgrFeatures::REVISION_1);
        let revision = if newer { Revision::V2_1 } else { Revision::V2_0 };
        wire.decoder.set_revision(revision);
        wire.encoder.set_revision(revision);
        let hello = Hello { entity_type: identity.name.kind, peer_addr: target.addr };
        let phase = "HELLO_CONNECTING";
        match wire.ask(&[Frame::Hello(hello)], phase)? {
            Frame::Hello(hello) => {
                (self.kind, self.seen_as) = (Some(hello.entity_type), Some(hello.peer_addr))
            }
            other => return Err(wire.unexpected(&other, phase)),
        }
        let (methods, _) = wire.refusal(NOBODYS, vec![mode::SECURE, mode::CRC])?;
        for method in &methods {
            let (_, modes) = wire.refusal(*method, vec![NOBODYS])?;
            self.modes.push((*method, modes));
        }
        self.methods = Some(methods);
        Ok(())
    }
}

/// Frames over the line.
struct Wire<'a> {
    line: &'a mut Line,
    decoder: v2::Decoder,
    encoder: v2::Encoder,
}

impl Wire<'_> {
    /// Sends, and waits for the next frame.
    fn ask(&mut self, frames: &[Frame], phase: &'static str) -> Result<Frame, Cause> {
        let mut out = Chunks::new();
        for frame in frames {
            self.encoder
                .encode(frame, &mut out)
                .map_err(|error| self.line.broken(phase, &error.to_string()))?;
        }
        self.line.send(&mut out, phase)?;
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => self.decoder.feed(&self.line.receive(phase)?),
                Err(error) => return Err(self.line.broken(phase, &error.to_string())),
            }
        }
    }

    /// Asks for what cannot be had: the methods and modes that could.
    fn refusal(&mut self, method: u32, modes: Vec<u32>) -> Result<(Vec<u32>, Vec<u32>), Cause> {
        let request = AuthRequest { method, preferred_modes: modes, payload: Bytes::new() };
        let phase = "AUTH_CONNECTING";
        match self.ask(&[Frame::AuthRequest(request)], phase)? {
            Frame::AuthBadMethod(refusal) => Ok((refusal.allowed_methods, refusal.allowed_modes)),
            other => Err(self.unexpected(&other, phase)),
        }
    }

    fn unexpected(&self, frame: &Frame, phase: &'static str) -> Cause {
        let found = frame.tag().map_or("banner", v2::Tag::name);
        Cause::new("protocol", phase, format!("{found} came in {phase}"))
    }
}

/// A TCP stream with an end in time.
struct Line {
    stream: TcpStream,
    until: Instant,
    version: Version,
    first: Vec<u8>,
}

impl Line {
    fn dial(target: &Target, timeout: Duration, until: Instant) -> Result<Self, Cause> {
        let stream =
            TcpStream::connect_timeout(&target.socket, timeout).map_err(|error| Cause::dial(error.kind()))?;
        let _ = stream.set_nodelay(true);
        Ok(Self { stream, until, version: target.version, first: Vec::new() })
    }

    fn send(&mut self, out: &mut Chunks, phase: &'static str) -> Result<(), Cause> {
        // What the peer said before it closed may tell more.
        write(&mut self.stream, out).or_else(|_| self.receive(phase).map(|_| ()))
    }

    fn receive(&mut self, phase: &'static str) -> Result<Vec<u8>, Cause> {
        let mut buf = vec![0; 4096];
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let (name, text) = if self.first.is_empty() {
                    ("silent", "connected, but no byte came: not Ceph, or a daemon that hangs".to_owned())
                } else {
                    ("timeout", format!("no answer in {phase}"))
                };
                return Err(Cause::new(name, phase, text));
            }
            let _ = self.stream.set_read_timeout(Some(left));
            match self.stream.read(&mut buf) {
                Ok(len) if len > 0 => {
                    buf.truncate(len);
                    let room = FIRST_BYTES.saturating_sub(self.first.len());
                    self.first.extend(buf.iter().take(room));
                    return Ok(buf);
                }
                Err(error) if is_transient(&error) => {}
                _ => {
                    let cause = Cause::of_first_bytes(&self.first, self.version, phase);
                    let closed = || Cause::new("closed", phase, format!("closed by the peer in {phase}"));
                    return Err(cause.unwrap_or_else(closed));
                }
            }
        }
    }

    /// Bytes that are no frame: another protocol's, if they are the first.
    fn broken(&self, phase: &'static str, error: &str) -> Cause {
        Cause::of_first_bytes(&self.first, self.version, phase)
            .unwrap_or_else(|| Cause::new("protocol", phase, error.to_owned()))
    }
}
