//! Does a session run over pipes in memory?
//!
//! Two ends in a thread each, and no socket anywhere: a connection is a number, under which pieces of bytes go through
//! a channel, by reference. Half-way the client cuts its connection within a frame; the session goes on with the next.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[allow(dead_code, reason = "the examples use the rest")]
#[path = "../examples/node/mod.rs"]
mod node;

use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use cephwire::codec::{AddrVec, Chunks, EntityName, EntityType};
use cephwire::protocol::LinkId;
use cephwire::{Policy, Version};

use node::exchange::Exchange;
use node::{Node, Order};

/// Messages each way; some are large.
const COUNT: u64 = 2_000;

/// Nothing takes that long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What one end tells the other through the channel.
enum Said {
    Connect(u64),
    Bytes(u64, Bytes),
    Close(u64),
    /// Everything has come: whoever has everything too may go.
    Over,
}

#[test]
fn v1() {
    exchange(Version::V1);
}

#[test]
fn v2() {
    exchange(Version::V2);
}

fn exchange(version: Version) {
    let addr: AddrVec = match version {
        Version::V1 => "v1:192.0.2.1:6800/1".parse().unwrap(),
        _ => "v2:192.0.2.1:6800/1".parse().unwrap(),
    };
    let osd = EntityName::new(EntityType::OSD, 0);
    let server = Node::new(osd, addr.clone(), 1, Policy::stateful_server());
    let me = EntityName::new(EntityType::CLIENT, 7);
    let mut client = Node::new(me, AddrVec::default(), 2, Policy::lossless_client());
    client.connect(Instant::now(), EntityType::OSD, addr);

    let (to_server, at_server) = mpsc::channel();
    let (to_client, at_client) = mpsc::channel();
    let server = End::new(version, server, Exchange::new(COUNT, false), to_client);
    let client = End::new(version, client, Exchange::new(COUNT, true), to_server);
    let server = thread::spawn(move || server.run(&at_server));
    let client = client.run(&at_client);
    let server = server.join().unwrap();
    for end in [&client, &server] {
        assert_eq!(end.verdict(), Ok(()));
        assert_eq!(end.opened(), 2, "once, and once more after the cut");
    }
}

/// One end and its connections.
struct End {
    version: Version,
    node: Node,
    app: Exchange,
    peer: Sender<Said>,
    links: HashMap<u64, LinkId>,
    /// The numbers of the connections; the client gives them.
    numbers: HashMap<LinkId, u64>,
    last: u64,
    announced: bool,
}

impl End {
    fn new(version: Version, node: Node, app: Exchange, peer: Sender<Said>) -> Self {
        let (links, numbers) = (HashMap::new(), HashMap::new());
        Self { version, node, app, peer, links, numbers, last: 0, announced: false }
    }

    /// Until both ends have everything.
    fn run(mut self, from_peer: &Receiver<Said>) -> Exchange {
        let deadline = Instant::now() + PATIENCE;
        let mut peer_is_over = false;
        while !(peer_is_over && self.announced) && Instant::now() < deadline {
            self.carry_out();
            let wake = self.node.timeout().map_or(deadline, |at| at.min(deadline));
            match from_peer.recv_timeout(wake.saturating_duration_since(Instant::now())) {
                Ok(Said::Over) => peer_is_over = true,
                Ok(said) => self.heard(said),
                Err(RecvTimeoutError::Timeout) => self.node.handle_timeout(Instant::now()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.app
    }

    fn heard(&mut self, said: Said) {
        let now = Instant::now();
        match said {
            Said::Connect(number) => {
                let from = "192.0.2.2:40000".parse().unwrap();
                let link = self.node.accepted(now, from, self.version).unwrap();
                self.bind(number, link);
                self.transmit(link);
            }
            Said::Bytes(number, mut bytes) => {
                while let Some(&link) = self.links.get(&number).filter(|_| bytes.has_remaining()) {
                    let Ok(buf) = self.node.recv_buf(link) else { return };
                    // The application takes every event at once, so nothing holds the throttles.
                    let mut buf = buf.expect("reading pauses");
                    let len = bytes.len().min(buf.capacity());
                    buf.extend_from_slice(&bytes.split_to(len));
                    let _ = self.node.received(now, link, buf);
                    self.app.attend(&mut self.node, now);
                }
                if let Some(&link) = self.links.get(&number).filter(|_| self.app.wants_cut()) {
                    self.cut(link, number);
                }
            }
            Said::Close(number) => {
                if let Some(link) = self.links.remove(&number) {
                    self.numbers.remove(&link);
                    self.node.closed(now, link);
                }
            }
            Said::Over => {}
        }
    }

    fn bind(&mut self, number: u64, link: LinkId) {
        self.links.insert(number, link);
        self.numbers.insert(link, number);
    }

    /// Does what the node wants, until it is quiet.
    fn carry_out(&mut self) {
        loop {
            self.app.attend(&mut self.node, Instant::now());
            let orders = std::mem::take(&mut self.node.orders);
            if orders.is_empty() {
                break;
            }
            for order in orders {
                match order {
                    Order::Dial(link, _) => {
                        self.last += 1;
                        self.bind(self.last, link);
                        self.say(Said::Connect(self.last));
                        let _ = self.node.dialed(Instant::now(), link, Ok(()));
                    }
                    Order::HangUp(link) => {
                        if let Some(number) = self.numbers.remove(&link) {
                            self.links.remove(&number);
                            self.say(Said::Close(number));
                        }
                    }
                    Order::Serve(link) => self.transmit(link),
                }
            }
        }
        if self.app.is_over() && !self.announced {
            self.announced = true;
            self.say(Said::Over);
        }
    }

    /// Pieces leave as they are.
    fn transmit(&mut self, link: LinkId) {
        let mut out = Chunks::new();
        while let Some(&number) = self.numbers.get(&link) {
            if self.node.transmit(Instant::now(), link, &mut out).is_err() || out.is_empty() {
                return;
            }
            for piece in out.take_pieces() {
                self.say(Said::Bytes(number, piece));
            }
        }
    }

    /// The connection breaks, and the last that comes through is half a frame: of the acknowledgement that is due.
    fn cut(&mut self, link: LinkId, number: u64) {
        let mut out = Chunks::new();
        self.node.transmit(Instant::now(), link, &mut out).unwrap();
        let half = out.copy_to_bytes(out.remaining() / 2);
        assert!(!half.is_empty());
        self.say(Said::Bytes(number, half));
        self.say(Said::Close(number));
        self.links.remove(&number);
        self.numbers.remove(&link);
        self.node.closed(Instant::now(), link);
    }

    fn say(&self, said: Said) {
        // Who has everything may be gone.
        let _ = self.peer.send(said);
    }
}
