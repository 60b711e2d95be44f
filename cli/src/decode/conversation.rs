//! What do the two sides of a connection say to each other?
//!
//! Each side is decoded by itself, but what one says decides how the other is read: the features of v1's
//! reply, the revision of v2's banners, the mode of AUTH_DONE. So a side may have to wait for the other; and
//! must not, if what it waits for is not in the capture.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use cephwire_codec::{Malformed, Side, v1, v2};

use super::cephx::{Exchange, Findings};
use super::keys::Keys;
use super::record::{Protocol, Record, What, Why};
use super::resync::{self, Found};
use super::stream::{Banner, State, Stream};
use super::v1::Dialogue as DialogueV1;
use super::v2::Dialogue as DialogueV2;
use crate::capture::End;

/// A side does not wait for the other any longer when it holds so many bytes.
const PATIENCE: u64 = 1 << 20;
/// So many bytes are searched for a frame boundary at a time.
const WINDOW: usize = 4 << 10;

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
    /// Authentication, if there are keys.
    exchange: Option<Exchange>,
    /// Whether a side's sealed frames are opened.
    opened: Both<bool>,
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
    pub(super) fn new(
        connection: u64,
        client: SocketAddr,
        server: SocketAddr,
        from_start: bool,
        keys: Option<Rc<RefCell<Keys>>>,
    ) -> Self {
        Self {
            connection,
            addresses: Both { client, server },
            identities: Both::default(),
            streams: Both { client: Stream::new(), server: Stream::new() },
            from_start,
            protocol: None,
            v1: DialogueV1::default(),
            v2: DialogueV2::new(from_start && keys.is_some()),
            exchange: keys.map(Exchange::new),
            opened: Both::default(),
        }
    }

    /// Takes bytes that `from` sent.
    pub(super) fn data(&mut self, from: Side, bytes: Bytes, time: u64, records: &mut Vec<Record>) {
        self.streams.of_mut(from).push(bytes, time);
        self.advance(records);
    }

    /// Takes note that the next bytes of `from` are not in the capture.
    pub(super) fn missing(&mut self, from: Side, len: u64, time: u64, records: &mut Vec<Record>) {
        self.settle(from, records);
        let stream = self.streams.of_mut(from);
        stream.skip(len, time);
        let end = stream.at + len;
        self.emit(from, end, What::Missing, Findings::default(), records);
        let stream = self.streams.of_mut(from);
        match stream.state {
            State::Encrypted | State::Foreign(_) => {}
            _ if self.v2.is_secure() => stream.pass_all(State::Encrypted),
            _ => stream.lose(Why::Unsynchronized("bytes before are missing, and no crc proves a frame yet")),
        }
        self.advance(records);
    }

    /// Takes note that `from` sends no more.
    pub(super) fn ended(&mut self, from: Side, how: End, records: &mut Vec<Record>) {
        self.streams.of_mut(from).ended = Some(how);
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

    /// Whether nothing more that is said can give a key for another connection.
    pub(super) fn gives_no_keys(&self) -> bool {
        self.exchange.as_ref().is_none_or(Exchange::gives_no_keys)
    }

    /// Decodes both sides as far as they go.
    fn advance(&mut self, records: &mut Vec<Record>) {
        loop {
            let identified = self.identify();
            let stepped = self.step(Side::Client, records) | self.step(Side::Server, records);
            if !identified && !stepped && !self.stop_waiting(Side::Client) && !self.stop_waiting(Side::Server)
            {
                return;
            }
        }
    }

    /// Finds out from the banners which protocol is spoken, once that can be said; whether it could.
    fn identify(&mut self) -> bool {
        let sides = [Side::Client, Side::Server];
        let unknown = sides.map(|side| matches!(self.streams.of(side).state, State::Unknown));
        if unknown == [false, false] {
            return false;
        }
        if !self.from_start || self.protocol.is_some() {
            return self.identify_alone(Side::Client) | self.identify_alone(Side::Server);
        }
        let impatient = sides.iter().any(|side| self.streams.of(*side).held_len() > PATIENCE);
        let [client, server] = sides.map(|side| match self.streams.of(side).banner() {
            Banner::Unknown if impatient => Banner::Silent,
            banner => banner,
        });
        match (client, server) {
            (Banner::Unknown, _) | (_, Banner::Unknown) | (Banner::Silent, Banner::Silent) => return false,
            (Banner::Of(a), Banner::Of(b)) if a == b => self.protocol = Some(a),
            (Banner::Of(protocol), Banner::Silent) | (Banner::Silent, Banner::Of(protocol)) => {
                self.protocol = Some(protocol);
            }
            (client, server) => {
                let of = |banner| if let Banner::Of(protocol) = banner { Some(protocol) } else { None };
                self.streams.client.pass_all(State::Foreign(of(client)));
                self.streams.server.pass_all(State::Foreign(of(server)));
                return true;
            }
        }
        sides.into_iter().for_each(|side| self.start(side));
        true
    }

    /// The same for a side of which the other says nothing: that has begun already, or speaks for itself.
    fn identify_alone(&mut self, side: Side) -> bool {
        let stream = self.streams.of_mut(side);
        match stream.banner() {
            Banner::Unknown | Banner::Silent => return false,
            Banner::Other if !self.from_start => {
                let why = "the connection was open already, and no crc proves a frame yet";
                stream.lose(Why::Unsynchronized(why));
            }
            Banner::Of(protocol) if self.protocol.is_some_and(|spoken| spoken != protocol) => {
                stream.pass_all(State::Foreign(Some(protocol)));
            }
            Banner::Of(protocol) => {
                if protocol == Protocol::V1 && !self.from_start {
                    match stream.serves_v1() {
                        Some(true) => self.v1.serves(side),
                        Some(false) => self.v1.serves(side.peer()),
                        None if stream.ended.is_none() => return false,
                        None => {}
                    }
                }
                self.protocol = Some(protocol);
                self.start(side);
            }
            Banner::Other => self.start(side),
        }
        true
    }

    /// Decodes a side from its banner on.
    fn start(&mut self, side: Side) {
        let stream = self.streams.of_mut(side);
        match self.protocol {
            Some(Protocol::V1) if matches!(stream.state, State::Unknown) => {
                let mut decoder = v1::Decoder::new();
                decoder.expect(v1::Expect::Banner);
                stream.start_v1(decoder);
            }
            Some(Protocol::V2) if matches!(stream.state, State::Unknown) => {
                stream.start_v2(v2::Decoder::new())
            }
            _ => {}
        }
    }

    /// Goes on with a side that waits for what the other will not say, or does not say in time; whether it
    /// did.
    fn stop_waiting(&mut self, side: Side) -> bool {
        let peer = self.streams.of(side.peer());
        let speechless = match peer.state {
            State::Lost(_) | State::Encrypted | State::Foreign(_) | State::Over => true,
            State::Unknown | State::V1(_) | State::V2(_) => peer.ended.is_some(),
        };
        let stream = self.streams.of_mut(side);
        if stream.held_len() == 0 || !(speechless || stream.held_len() > PATIENCE) {
            return false;
        }
        let waiting = match stream.state {
            State::V1(_) => self.v1.is_waiting(side),
            State::V2(_) => self.v2.is_waiting(side),
            _ => false,
        };
        match (&mut stream.state, waiting) {
            (_, false) => {}
            (State::V1(decoder), true) if self.v1.stop_waiting(side) => self.v1.tell(side, decoder),
            (_, true) => {
                let why = "what the other side said about how to read this is not in the capture";
                stream.lose(Why::Unsynchronized(why));
            }
        }
        waiting
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
        let State::V1(decoder) = &mut stream.state else { return false };
        let again = match decoder.next_frame() {
            Ok(None) => {
                if stream.give() {
                    return true;
                }
                let partial = stream.ended.is_some() && stream.held_len() > 0;
                if !partial || !self.v1.shorter_footer(side) {
                    return false;
                }
                true
            }
            Ok(Some(frame)) => {
                let footprint = *decoder.last();
                let again = self.v1.other_footer(side, &frame);
                if !again {
                    self.heard_v1(side, frame, footprint, records);
                }
                again
            }
            Err(error) => {
                let again = self.v1.without_header_crc(side, &error);
                if !again {
                    self.broken(side, error);
                }
                again
            }
        };
        if again {
            let stream = self.streams.of_mut(side);
            stream.start_v1(self.v1.decoder(side, stream.at));
        }
        true
    }

    fn heard_v1(
        &mut self,
        side: Side,
        frame: v1::Frame,
        footprint: v1::Footprint,
        records: &mut Vec<Record>,
    ) {
        self.v1.heard(side, &frame, &footprint, &mut self.identities);
        let exchange = self.exchange.as_mut();
        let findings =
            exchange.map(|exchange| exchange.heard_v1(side, &frame, &footprint)).unwrap_or_default();
        let end = footprint.offset + footprint.len;
        self.emit(side, end, What::V1(Box::new(frame), footprint), findings, records);
        for side in [Side::Client, Side::Server] {
            if let State::V1(decoder) = &mut self.streams.of_mut(side).state {
                self.v1.tell(side, decoder);
            }
        }
    }

    fn step_v2(&mut self, side: Side, records: &mut Vec<Record>) -> bool {
        if self.v2.is_waiting(side) {
            return false;
        }
        let stream = self.streams.of_mut(side);
        let State::V2(decoder) = &mut stream.state else { return false };
        match decoder.next_frame() {
            Ok(None) => return stream.give(),
            Ok(Some(frame)) => {
                let footprint = *decoder.last();
                self.heard_v2(side, frame, footprint, records);
            }
            Err(error) if !self.opened.of(side) && self.v2.other_method(&error) => {
                stream.start_v2(self.v2.decoder(stream.at))
            }
            Err(error) => self.broken(side, error),
        }
        true
    }

    fn heard_v2(
        &mut self,
        side: Side,
        frame: v2::Frame,
        footprint: v2::Footprint,
        records: &mut Vec<Record>,
    ) {
        self.v2.heard(side, &frame, &footprint, &mut self.identities);
        let mut findings = Findings::default();
        let mut keys = None;
        if let Some(exchange) = &mut self.exchange {
            let wanted = exchange.wants_bytes(&frame);
            let bytes = wanted.then(|| self.streams.of(side).peek(footprint.len as usize));
            findings = exchange.heard_v2(side, &frame, &footprint, bytes.as_deref());
            keys = exchange.connection_keys();
        }
        let end = footprint.offset + footprint.len;
        self.emit(side, end, What::V2(Box::new(frame), footprint), findings, records);
        for side in [Side::Client, Side::Server] {
            let stream = self.streams.of_mut(side);
            match &mut stream.state {
                State::V2(decoder) if self.v2.is_sealed(side) => match &keys {
                    Some(keys) => {
                        // Nothing happens the second time.
                        drop(decoder.set_keys(keys.clone(), self.v2.part(side)));
                        *self.opened.of_mut(side) = true;
                        self.v2.tell(decoder);
                    }
                    None => stream.pass_all(State::Encrypted),
                },
                State::V2(decoder) => self.v2.tell(decoder),
                // What it holds may be sealed or not.
                State::Lost(_) if self.v2.is_secure() && !self.opened.of(side) => {
                    self.settle(side, records);
                    self.streams.of_mut(side).state = State::Encrypted;
                }
                _ => {}
            }
        }
    }

    /// A decoder met with an error: from there on no frame is known.
    fn broken(&mut self, side: Side, error: Malformed) {
        let stream = self.streams.of_mut(side);
        // Up to the error nothing is the beginning of a frame, or else at least the first byte is not.
        let far = if stream.is_wasteful() { error.offset.saturating_sub(stream.at) } else { 1 };
        stream.lose(Why::Malformed(Box::new(error)));
        stream.pass(far.max(1));
    }

    /// Looks for the next frame boundary in what a side holds.
    fn search(&mut self, side: Side, records: &mut Vec<Record>) -> bool {
        let protocol = self.protocol;
        let stream = self.streams.of_mut(side);
        if *self.opened.of(side) {
            // Nothing proves where a sealed frame begins.
            let held = stream.held_len();
            stream.pass(held);
            return held > 0;
        }
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
                self.v2.resumed(side, revision);
                stream.start_v2(self.v2.decoder(at));
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
        self.emit(side, end, what, Findings::default(), records);
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
    fn emit(&mut self, side: Side, end: u64, what: What, findings: Findings, records: &mut Vec<Record>) {
        let (src, dst) = (*self.addresses.of(side), *self.addresses.of(side.peer()));
        let (sender, receiver) = (self.identities.of(side), self.identities.of(side.peer()));
        let addr =
            |identity: &Identity, socket| identity.addrs.clone().unwrap_or_else(|| format!("{socket}"));
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
        let offset = stream.at;
        let time = stream.account(end);
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
            findings,
        });
    }
}
