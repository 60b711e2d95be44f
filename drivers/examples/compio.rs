//! Can sessions run on compio, where the kernel reads and writes by itself (io_uring)?
//!
//! As the example for smol: two ends in one thread over TCP on the loopback, 10,000 messages each way, one cut, both
//! versions. (`cargo run --example compio`)
//!
//! This is the model of a driver for a runtime that *completes* instead of being ready: the kernel works on memory
//! that it is given, until it is done. Sessions are made for that: what is read into is lent as a `BytesMut` and
//! comes back, what is written leaves the gather list as owned pieces, and nothing is copied in between.
//!
//! ```text
//!   recv_buf ─► BytesMut ─► kernel ─► BytesMut ─► received
//!   transmit ─► Chunks ─► take_pieces: Vec<Bytes> ─► kernel
//! ```

mod node;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cephwire::codec::{AddrType, AddrVec, Chunks, EntityAddr, EntityName, EntityType};
use cephwire::protocol::LinkId;
use cephwire::{Policy, Version};
use compio::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, spawn};
use compio::time::{sleep, sleep_until};

use node::bell::{Bell, first};
use node::exchange::Exchange;
use node::{Node, Order};

/// Messages each way.
const COUNT: u64 = 10_000;

/// Nothing here takes that long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    for version in [Version::V1, Version::V2] {
        match run(version) {
            Ok(done) => println!("compio, {version:?}: {done}"),
            Err(error) => {
                eprintln!("compio, {version:?}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Two ends, until both have everything.
fn run(version: Version) -> Result<String, Box<dyn Error>> {
    let runtime = Runtime::new().map_err(|error| format!("this kernel offers no io_uring: {error}"))?;
    let begun = Instant::now();
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let kind = if version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
        let addr = AddrVec::from(EntityAddr::new(kind, listener.local_addr()?, 1));

        let osd = EntityName::new(EntityType::OSD, 0);
        let server = Node::new(osd, addr.clone(), 1, Policy::stateful_server());
        let server = Driver::new(server, Exchange::new(COUNT, false));
        spawn(Rc::clone(&server).accept(listener, version)).detach();

        let me = EntityName::new(EntityType::CLIENT, 7);
        let client = Node::new(me, AddrVec::default(), 2, Policy::lossless_client());
        let client = Driver::new(client, Exchange::new(COUNT, true));
        client.tell(|node, now| node.connect(now, EntityType::OSD, addr));

        let both = async {
            server.over.wait().await;
            client.over.wait().await;
        };
        first(both, sleep(PATIENCE)).await;
        for (name, end) in [("client", &client), ("server", &server)] {
            end.app.borrow().verdict().map_err(|wrong| format!("{name}: {wrong}"))?;
        }
        let opened = client.app.borrow().opened();
        if opened < 2 {
            return Err("the connection was not cut".into());
        }
        Ok(format!("{COUNT} messages each way, {opened} connections, {:?}", begun.elapsed()))
    })
}

/// One end: a node, and the tasks that work for it.
struct Driver {
    node: RefCell<Node>,
    app: RefCell<Exchange>,
    links: RefCell<HashMap<LinkId, Bells>>,
    /// When the alarm goes off, and how it is set to an earlier time.
    alarm_at: Cell<Option<Instant>>,
    alarm: Bell,
    /// The application is content.
    over: Bell,
}

/// How the tasks of a connection are reached.
#[derive(Clone, Default)]
struct Bells {
    /// For who writes: there may be something to transmit.
    write: Bell,
    /// For who reads: a pause may be over.
    read: Bell,
    hang_up: Bell,
}

impl Driver {
    fn new(node: Node, app: Exchange) -> Rc<Self> {
        let this = Rc::new(Self {
            node: RefCell::new(node),
            app: RefCell::new(app),
            links: RefCell::default(),
            alarm_at: Cell::new(None),
            alarm: Bell::default(),
            over: Bell::default(),
        });
        spawn(Rc::clone(&this).keep_time()).detach();
        this
    }

    /// Tells the node what happened, then does what follows from it.
    fn tell<T>(self: &Rc<Self>, what: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let (mut node, mut app) = (self.node.borrow_mut(), self.app.borrow_mut());
        let now = Instant::now();
        let answer = what(&mut node, now);
        app.attend(&mut node, now);
        if app.is_over() {
            self.over.ring();
        }
        for order in std::mem::take(&mut node.orders) {
            let mut links = self.links.borrow_mut();
            match order {
                Order::Dial(link, to) => {
                    let bells = links.entry(link).or_default().clone();
                    spawn(Rc::clone(self).dial(link, to, bells)).detach();
                }
                Order::HangUp(link) => links.remove(&link).into_iter().for_each(|bells| bells.hang_up.ring()),
                Order::Serve(link) => {
                    if let Some(bells) = links.get(&link) {
                        bells.write.ring();
                        bells.read.ring();
                    }
                }
            }
        }
        let earlier = |at: Instant| self.alarm_at.get().is_none_or(|alarm| at < alarm);
        if node.timeout().is_some_and(earlier) {
            self.alarm.ring();
        }
        answer
    }

    /// Accepts connections.
    async fn accept(self: Rc<Self>, listener: TcpListener, version: Version) {
        while let Ok((stream, from)) = listener.accept().await {
            if let Ok(link) = self.tell(|node, now| node.accepted(now, from, version)) {
                let bells = self.links.borrow_mut().entry(link).or_default().clone();
                spawn(Rc::clone(&self).serve(link, stream, bells)).detach();
            }
        }
    }

    /// Makes a connection, unless it is given up before.
    async fn dial(self: Rc<Self>, link: LinkId, to: SocketAddr, bells: Bells) {
        let given_up = async {
            bells.hang_up.wait().await;
            None
        };
        let Some(outcome) = first(async { Some(TcpStream::connect(to).await) }, given_up).await else {
            return;
        };
        let (stream, outcome) = match outcome {
            Ok(stream) => (Some(stream), Ok(())),
            Err(error) => (None, Err(error.kind())),
        };
        let wanted = self.tell(|node, now| node.dialed(now, link, outcome)).is_ok();
        match stream.filter(|_| wanted) {
            Some(stream) => self.serve(link, stream, bells).await,
            None => drop(self.links.borrow_mut().remove(&link)),
        }
    }

    /// Moves the bytes of a connection until it ends.
    async fn serve(self: Rc<Self>, link: LinkId, stream: TcpStream, bells: Bells) {
        let _ = stream.set_nodelay(true);
        let bytes = first(self.read(link, stream.clone(), &bells), self.write(link, stream, &bells));
        let hung_up = async {
            bells.hang_up.wait().await;
            Ok(())
        };
        // Whatever it was, the session hears that the connection is no more; if it is still its own.
        let _ = first(bytes, hung_up).await;
        self.links.borrow_mut().remove(&link);
        self.tell(|node, now| node.closed(now, link));
    }

    async fn read(self: &Rc<Self>, link: LinkId, mut stream: TcpStream, bells: &Bells) -> io::Result<()> {
        loop {
            let Some(buf) = self.node.borrow_mut().recv_buf(link).map_err(io::Error::other)? else {
                bells.read.wait().await;
                continue;
            };
            let BufResult(outcome, buf) = stream.read(buf).await;
            let len = outcome?;
            if len == 0 {
                return Ok(());
            }
            self.tell(|node, now| node.received(now, link, buf)).map_err(io::Error::other)?;
            if self.app.borrow_mut().wants_cut() {
                return Ok(());
            }
        }
    }

    async fn write(self: &Rc<Self>, link: LinkId, mut stream: TcpStream, bells: &Bells) -> io::Result<()> {
        let mut out = Chunks::new();
        loop {
            self.tell(|node, now| node.transmit(now, link, &mut out)).map_err(io::Error::other)?;
            if out.is_empty() {
                bells.write.wait().await;
                continue;
            }
            stream.write_vectored_all(out.take_pieces()).await.0?;
        }
    }

    /// Tells the node when the time has come that it waits for.
    async fn keep_time(self: Rc<Self>) {
        loop {
            let at = self.node.borrow().timeout();
            self.alarm_at.set(at);
            match at {
                Some(at) => first(self.alarm.wait(), sleep_until(at)).await,
                None => self.alarm.wait().await,
            }
            self.tell(|node, now| node.handle_timeout(now));
        }
    }
}
