//! What do the two sides of a connection say to each other?
//!
//! Each side is decoded by itself, but what one says decides how the other is read: the features of v1's
//! reply, the revision of v2's banners, the mode of AUTH_DONE. So a side may have to wait for the other.

use std::net::SocketAddr;

use bytes::Bytes;
use cephwire_codec::{Flaw, Malformed, Side, v1, v2};

use super::record::{Protocol, Record, What, Why};
use super::resync::{self, Found};
use super::stream::{Banner, State, Stream};
use super::v1::Dialogue as DialogueV1;
use super::v2::{Dialogue as DialogueV2, Turn};
use crate::capture::End;

/// A side does not wait for the other any longer when it holds so many bytes.
const PATIENCE: u64 = 1 << 20;
/// So many bytes are searched for a frame boundary at a time.
const WINDOW: usize = 64 << 10;

/// A TCP connection.
#[derive(Debug)]
pub(super) struct Conversation {
    connection: u64,
    addresses: Both<SocketAddr>,
    /// How the sides call themselves.
    identities: Both<Identity>,
    streams: Both<Stream>,
    from_start: bool,
    protocol: Option<Protocol>,
    v1: DialogueV1,
    v2: DialogueV2,
}

/// One of each side.
#[derive(Debug, Default)]
pub(super) struct Both<T> {
    /// The client's.
    pub client: T,
    /// The server's.
    pub server: T,
}

impl<T> Both<T> {
    /// `side`'s.
    pub(super) fn of(&self, side: Side) -> &T {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    /// `side`'s, to be changed.
    pub(super) fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

/// How a side calls itself, as far as it did.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// `osd.0`.
    pub name: Option<String>,
    /// Its addresses.
    pub addrs: Option<String>,
}

impl Conversation {
    /// A connection that just opened, or was seen for the first time.
    pub(super) fn new(connection: u64, client: SocketAddr, server: SocketAddr, from_start: bool) -> Self {
        Self {
            connection,
            addresses: Both { client, server },
            identities: Both::default(),
            streams: Both { client: Stream::new(), server: Stream::new() },
            from_start,
            protocol: None,
            v1: DialogueV1::default(),
            v2: DialogueV2::default(),
        }
    }

    /// Takes bytes that `from` sent.
    pub(super) fn data(&mut self, from: Side, bytes: Bytes, time: u64, records: &mut Vec<Record>) {
        let stream = self.streams.of_mut(from);
        stream.time = time;
        stream.push(bytes);
        self.advance(records);
    }

    /// Takes note that the next bytes of `from` are not in the capture.
    pub(super) fn missing(&mut self, from: Side, len: u64, time: u64, records: &mut Vec<Record>) {
        self.streams.of_mut(from).time = time;
        self.settle(from, records);
        let at = self.streams.of(from).at;
        self.emit(from, at + len, What::Missing, records);
        let stream = self.streams.of_mut(from);
        if !matches!(stream.state, State::Encrypted | State::Foreign(_)) {
            stream.lose(Why::Unsynchronized("bytes before are missing, and no crc proves a frame yet"));
        }
    }

    /// Takes note that `from` sends no more.
    pub(super) fn ended(&mut self, from: Side, how: End, time: u64, records: &mut Vec<Record>) {
        let stream = self.streams.of_mut(from);
        stream.ended = Some(how);
        // A record's time is that of its bytes; without any, this.
        stream.time = if stream.time == 0 { time } else { stream.time };
        self.advance(records);
        if self.is_over() {
            for side in [Side::Client, Side::Server] {
                self.settle(side, records);
                self.streams.of_mut(side).state = State::Over;
            }
        }
    }

    /// Whether neither side sends any more.
    pub(super) fn is_over(&self) -> bool {
        self.streams.client.ended.is_some() && self.streams.server.ended.is_some()
    }

    /// Decodes both sides as far as they go.
    fn advance(&mut self, records: &mut Vec<Record>) {
        self.identify();
        while self.step(Side::Client, records) | self.step(Side::Server, records) {}
    }

    /// Finds out from the banners which protocol is spoken, once that can be said.
    fn identify(&mut self) {
        let waiting = |stream: &Stream| matches!(stream.state, State::Unknown);
        if !waiting(&self.streams.client) && !waiting(&self.streams.server) {
            return;
        }
        if let Some(protocol) = self.protocol {
            return self.start_waiting(protocol);
        }
        let impatient = [&self.streams.client, &self.streams.server].iter().any(|stream| stream.held_len() > PATIENCE);
        let banner = |stream: &Stream| match stream.banner() {
            Banner::Unknown if impatient => Banner::Silent,
            banner => banner,
        };
        match (banner(&self.streams.client), banner(&self.streams.server)) {
            (Banner::Unknown, _) | (_, Banner::Unknown) | (Banner::Silent, Banner::Silent) => {}
            (Banner::Of(a), Banner::Of(b)) if a == b => self.start(a),
            (Banner::Of(protocol), Banner::Silent) | (Banner::Silent, Banner::Of(protocol)) => self.start(protocol),
            (Banner::Other | Banner::Silent, Banner::Other | Banner::Silent) if !self.from_start => {
                self.lose("the connection was open already, and no crc proves a frame yet");
            }
            (client, server) => {
                let of = |banner| if let Banner::Of(protocol) = banner { Some(protocol) } else { None };
                self.streams.client.pass_all(State::Foreign(of(client)));
                self.streams.server.pass_all(State::Foreign(of(server)));
            }
        }
    }

    fn start(&mut self, protocol: Protocol) {
        self.protocol = Some(protocol);
        self.start_waiting(protocol);
    }

    fn start_waiting(&mut self, protocol: Protocol) {
        for stream in [&mut self.streams.client, &mut self.streams.server] {
            if !matches!(stream.state, State::Unknown) {
                continue;
            }
            match protocol {
                Protocol::V1 => {
                    let mut decoder = v1::Decoder::new();
                    decoder.expect(v1::Expect::Banner);
                    stream.start_v1(decoder);
                }
                Protocol::V2 => stream.start_v2(v2::Decoder::new()),
            }
        }
    }

    fn lose(&mut self, why: &'static str) {
        for stream in [&mut self.streams.client, &mut self.streams.server] {
            stream.lose(Why::Unsynchronized(why));
        }
    }

    /// Decodes one frame of `side`, or finds its next boundary; whether there was one.
    fn step(&mut self, side: Side, records: &mut Vec<Record>) -> bool {
        match &self.streams.of(side).state {
            State::V1(_) => self.step_v1(side, records),
            State::V2(_) => self.step_v2(side, records),
            State::Lost(_) => self.search(side, records),
            State::Unknown | State::Encrypted | State::Foreign(_) | State::Over => false,
        }
    }

    fn step_v1(&mut self, side: Side, records: &mut Vec<Record>) -> bool {
        let stream = self.streams.of_mut(side);
        let impatient = self.v1.is_waiting(side) && stream.held_len() > PATIENCE;
        let State::V1(decoder) = &mut stream.state else { return false };
        match decoder.next_frame() {
            Ok(None) if impatient => {
                stream.lose(Why::Unsynchronized("the reply that says how to read this is not in the capture"));
                true
            }
            Ok(None) => stream.give(),
            Ok(Some(frame)) => {
                let footprint = *decoder.last();
                if self.v1.other_footer(side, &frame) {
                    let decoder = self.v1.decoder(side, stream.at);
                    stream.start_v1(decoder);
                    return true;
                }
                self.v1.heard(side, &frame, &mut self.identities);
                let what = What::V1(Box::new(frame), footprint);
                self.emit(side, footprint.offset + footprint.len, what, records);
                for side in [Side::Client, Side::Server] {
                    if let State::V1(decoder) = &mut self.streams.of_mut(side).state {
                        self.v1.tell(side, decoder);
                    }
                }
                true
            }
            Err(error) if self.v1.without_header_crc(side, &error) => {
                let decoder = self.v1.decoder(side, stream.at);
                stream.start_v1(decoder);
                true
            }
            Err(error) => self.broken(side, error),
        }
    }

    fn step_v2(&mut self, side: Side, records: &mut Vec<Record>) -> bool {
        let peer = self.streams.of(side.peer());
        // Without the peer's banner the revision is not known, and what comes after AUTH_DONE neither.
        let alone = peer.ended.is_some() || !matches!(peer.state, State::V2(_) | State::Unknown);
        let stream = self.streams.of_mut(side);
        let impatient = stream.held_len() > PATIENCE;
        let State::V2(decoder) = &mut stream.state else { return false };
        if !self.v2.may_go_on(side) && !alone && !impatient {
            return false;
        }
        match decoder.next_frame() {
            Ok(None) => stream.give(),
            Ok(Some(frame)) => {
                let footprint = *decoder.last();
                let turn = self.v2.heard(side, &frame, &mut self.identities);
                let what = What::V2(Box::new(frame), footprint);
                self.emit(side, footprint.offset + footprint.len, what, records);
                for stream in [&mut self.streams.client, &mut self.streams.server] {
                    match (&turn, &mut stream.state) {
                        (Turn::Framing(revision), State::V2(decoder)) => decoder.set_revision(*revision),
                        (Turn::Compression(method), State::V2(decoder)) => decoder.set_compression(Some(*method)),
                        (Turn::Secure, State::V2(_) | State::Lost(_)) => stream.pass_all(State::Encrypted),
                        _ => {}
                    }
                }
                true
            }
            Err(error) => self.broken(side, error),
        }
    }

    fn broken(&mut self, side: Side, error: Malformed) -> bool {
        let stream = self.streams.of_mut(side);
        stream.lose(Why::Malformed(Box::new(error)));
        // At least one byte is not the beginning of a frame.
        stream.pass(1);
        true
    }

    /// Looks for the next frame boundary in what a side holds.
    fn search(&mut self, side: Side, records: &mut Vec<Record>) -> bool {
        let protocol = self.protocol;
        let stream = self.streams.of_mut(side);
        let bytes = stream.peek(WINDOW);
        // Near the end more bytes may be needed, unless none will come.
        let last = stream.ended.is_some() && bytes.len() as u64 == stream.held_len();
        let until = if last { bytes.len() } else { bytes.len().saturating_sub(resync::NEEDED) };
        let Some(boundary) = resync::find(&bytes, until, protocol) else {
            stream.pass(until as u64);
            return until > 0;
        };
        stream.pass(boundary.skipped as u64);
        let at = stream.at + stream.passed;
        if stream.passed > 0 {
            self.settle_stretch(side, at, records);
        }
        let stream = self.streams.of_mut(side);
        match boundary.found {
            Found::V1 => {
                self.protocol = Some(Protocol::V1);
                self.v1.resumed(side);
                stream.start_v1(self.v1.decoder(side, at));
            }
            Found::V2(revision) => {
                self.protocol = Some(Protocol::V2);
                stream.start_v2(self.v2.decoder(side, revision, at));
            }
        }
        true
    }

    /// Makes a record of the stretch that a side is in, up to `end`.
    fn settle_stretch(&mut self, side: Side, end: u64, records: &mut Vec<Record>) {
        let stream = self.streams.of(side);
        let what = match &stream.state {
            State::Encrypted => What::Encrypted,
            State::Foreign(banner) => What::Foreign(*banner),
            State::Lost(why) => What::Undecodable(why.clone()),
            State::Unknown | State::V1(_) | State::V2(_) | State::Over => {
                What::Cut(stream.ended.unwrap_or(End::EndOfCapture))
            }
        };
        self.emit(side, end, what, records);
    }

    /// Makes a record of everything that a side has left.
    fn settle(&mut self, side: Side, records: &mut Vec<Record>) {
        let stream = self.streams.of_mut(side);
        let left = stream.unaccounted();
        if left == 0 {
            return;
        }
        if stream.ended.is_none() && matches!(stream.state, State::V1(_) | State::V2(_) | State::Unknown) {
            // Not the connection's end, but a hole, cuts this frame off.
            stream.lose(Why::Unsynchronized("the rest of this frame is not in the capture"));
        }
        let end = stream.at + left;
        self.settle_stretch(side, end, records);
    }

    /// Makes a record of `side`'s bytes up to `end`.
    fn emit(&mut self, side: Side, end: u64, what: What, records: &mut Vec<Record>) {
        let (src, dst) = (*self.addresses.of(side), *self.addresses.of(side.peer()));
        let (sender, receiver) = (self.identities.of(side), self.identities.of(side.peer()));
        let addr = |identity: &Identity, socket| identity.addrs.clone().unwrap_or_else(|| format!("{socket}"));
        let name = match &what {
            What::V1(frame, _) => super::v1::source(frame),
            _ => None,
        };
        let name = name.or_else(|| sender.name.clone());
        let sender = name.map_or_else(|| addr(sender, src), |name| format!("{name} {}", addr(sender, src)));
        let receiver = addr(receiver, dst);
        let foreign = matches!(self.streams.of(side).state, State::Foreign(_));
        let protocol = self.protocol.filter(|_| !foreign);
        let stream = self.streams.of_mut(side);
        let (offset, time) = (stream.at, stream.time);
        stream.account(end);
        let len = end.saturating_sub(offset);
        records.push(Record {
            connection: self.connection,
            time,
            from: side,
            src,
            dst,
            sender,
            receiver,
            protocol,
            offset,
            len,
            what,
        });
    }
}

/// Whether a crc of zero was found where another was expected: the sender does not compute any.
pub(super) fn is_absent_crc(error: &Malformed) -> bool {
    matches!(error.flaw, Flaw::Crc { found: 0, .. })
}
