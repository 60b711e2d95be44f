//! Does a session run over a TCP stack in user space?
//!
//! Two ends on one stack (smoltcp), whose packets go through a queue in memory, which may lose or garble some. No
//! sockets of the system, and no time either: where nothing can happen, the clock jumps to when something will.
//! Half-way the client resets its connection; the session goes on with the next one.

#![expect(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "the examples use the rest")]
#[path = "../examples/node/mod.rs"]
mod node;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Buf;
use cephwire::codec::{AddrType, AddrVec, Chunks, EntityAddr, EntityName, EntityType};
use cephwire::protocol::LinkId;
use cephwire::{Policy, Version};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, FaultInjector, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use node::exchange::Exchange;
use node::{Node, Order};

/// Messages each way; some are large.
const COUNT: u64 = 2_000;

/// Where the server listens.
const PORT: u16 = 6800;

/// Virtual time that nothing here needs, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(3600);

#[test]
fn v1() {
    exchange(Version::V1, 0);
}

#[test]
fn v2() {
    exchange(Version::V2, 0);
}

#[test]
fn v1_on_a_bad_wire() {
    exchange(Version::V1, 1);
}

#[test]
fn v2_on_a_bad_wire() {
    exchange(Version::V2, 1);
}

fn exchange(version: Version, bad_percent: u8) {
    let kind = if version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
    let addr = AddrVec::from(EntityAddr::new(kind, ([127, 0, 0, 1], PORT).into(), 1));
    let osd = EntityName::new(EntityType::OSD, 0);
    let server = Node::new(osd, addr.clone(), 1, Policy::stateful_server());
    let me = EntityName::new(EntityType::CLIENT, 7);
    let mut client = Node::new(me, AddrVec::default(), 2, Policy::lossless_client());

    let mut stack = Stack::new(bad_percent);
    client.connect(stack.now(), EntityType::OSD, addr);
    let mut server = End::new(version, server, Exchange::new(COUNT, false));
    let mut client = End::new(version, client, Exchange::new(COUNT, true));
    server.listener = Some(stack.listen());
    while !(server.app.is_over() && client.app.is_over()) && stack.elapsed < PATIENCE {
        stack.poll();
        // Both have their turn.
        let busy = server.turn(&mut stack) | client.turn(&mut stack);
        if !busy && stack.is_quiet() {
            stack.jump([server.node.timeout(), client.node.timeout()].into_iter().flatten().min());
        }
    }
    println!("{version:?}, {bad_percent} % lost, as many garbled: {:?} of the stack's time", stack.elapsed);
    for end in [&client, &server] {
        assert_eq!(end.app.verdict(), Ok(()));
        // Once, and once more after the cut; on a bad wire a handshake may fail besides.
        let opened = end.app.opened();
        assert!(opened == 2 || (bad_percent > 0 && opened > 2), "opened {opened} times");
    }
}

/// Packets that were sent and not received yet, the oldest first.
type Packets = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// A loopback with packets as short as Ethernet's, and checksums that are checked.
struct Wire(Packets);

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending;

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }

    fn receive(&mut self, _now: smoltcp::time::Instant) -> Option<(Received, Sending)> {
        let packet = self.0.borrow_mut().pop_front()?;
        Some((Received(packet), Sending(Rc::clone(&self.0))))
    }

    fn transmit(&mut self, _now: smoltcp::time::Instant) -> Option<Sending> {
        Some(Sending(Rc::clone(&self.0)))
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Sending(Packets);

impl TxToken for Sending {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let written = write(&mut packet);
        self.0.borrow_mut().push_back(packet);
        written
    }
}

/// The TCP stack, its wire and its clock.
struct Stack {
    wire: FaultInjector<Wire>,
    packets: Packets,
    interface: Interface,
    sockets: SocketSet<'static>,
    /// What session times count from; it has no meaning.
    begun: Instant,
    elapsed: Duration,
    next_port: u16,
}

impl Stack {
    fn new(bad_percent: u8) -> Self {
        let packets = Packets::default();
        let mut wire = FaultInjector::new(Wire(Rc::clone(&packets)), SEED);
        wire.set_corrupt_chance(bad_percent);
        wire.set_drop_chance(bad_percent);
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut wire, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addrs| addrs.push(IpCidr::new(IpAddress::v4(127, 0, 0, 1), 8)).unwrap());
        let (sockets, begun) = (SocketSet::new(Vec::new()), Instant::now());
        Self { wire, packets, interface, sockets, begun, elapsed: Duration::ZERO, next_port: 40_000 }
    }

    /// The time, as sessions know it.
    fn now(&self) -> Instant {
        self.begun + self.elapsed
    }

    /// The same, as the stack knows it.
    fn stack_time(&self) -> smoltcp::time::Instant {
        smoltcp::time::Instant::from_micros(self.elapsed.as_micros() as i64)
    }

    fn poll(&mut self) {
        self.interface.poll(self.stack_time(), &mut self.wire, &mut self.sockets);
    }

    /// Whether no packet is on its way.
    fn is_quiet(&self) -> bool {
        self.packets.borrow().is_empty()
    }

    /// Nothing happens before the stack's own timers, or `session`.
    fn jump(&mut self, session: Option<Instant>) {
        let stack = self.interface.poll_delay(self.stack_time(), &self.sockets);
        let session = session.map(|at| at.saturating_duration_since(self.now()));
        let step = stack.map(Duration::from).into_iter().chain(session).min();
        self.elapsed += step.unwrap_or(PATIENCE).max(Duration::from_micros(1));
    }

    fn socket(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 << 10]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        self.sockets.add(socket)
    }

    fn listen(&mut self) -> SocketHandle {
        let handle = self.socket();
        self.tcp(handle).listen(PORT).unwrap();
        handle
    }

    fn connect(&mut self, port: u16) -> SocketHandle {
        let handle = self.socket();
        self.next_port += 1;
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        let to = (IpAddress::v4(127, 0, 0, 1), port);
        socket.connect(self.interface.context(), to, self.next_port).unwrap();
        handle
    }

    fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

/// One end and its connections.
struct End {
    version: Version,
    node: Node,
    app: Exchange,
    listener: Option<SocketHandle>,
    connections: HashMap<LinkId, Connection>,
}

struct Connection {
    socket: SocketHandle,
    /// The session was told that it is there.
    is_up: bool,
    /// What is on its way to the stack.
    out: Chunks,
}

impl Connection {
    fn new(socket: SocketHandle, is_up: bool) -> Self {
        Self { socket, is_up, out: Chunks::new() }
    }
}

impl End {
    fn new(version: Version, node: Node, app: Exchange) -> Self {
        Self { version, node, app, listener: None, connections: HashMap::new() }
    }

    /// Does what there is to do. Says whether there was anything.
    fn turn(&mut self, stack: &mut Stack) -> bool {
        self.node.handle_timeout(stack.now());
        let mut busy = self.carry_out(stack) | self.accept(stack);
        let links: Vec<LinkId> = self.connections.keys().copied().collect();
        for link in links {
            while self.serve(link, stack) {
                busy = true;
            }
        }
        busy | self.carry_out(stack)
    }

    fn carry_out(&mut self, stack: &mut Stack) -> bool {
        self.app.attend(&mut self.node, stack.now());
        let orders = std::mem::take(&mut self.node.orders);
        for order in &orders {
            match *order {
                Order::Dial(link, to) => {
                    let socket = stack.connect(to.port());
                    self.connections.insert(link, Connection::new(socket, false));
                }
                Order::HangUp(link) => self.abort(link, stack),
                // All are served in every turn.
                Order::Serve(_) => {}
            }
        }
        !orders.is_empty()
    }

    fn abort(&mut self, link: LinkId, stack: &mut Stack) {
        if let Some(connection) = self.connections.remove(&link) {
            stack.tcp(connection.socket).abort();
        }
    }

    fn accept(&mut self, stack: &mut Stack) -> bool {
        let Some(socket) = self.listener.filter(|listener| stack.tcp(*listener).may_send()) else {
            return false;
        };
        self.listener = Some(stack.listen());
        let from = stack.tcp(socket).remote_endpoint().unwrap();
        let IpAddress::Ipv4(ip) = from.addr;
        let link = self.node.accepted(stack.now(), (ip, from.port).into(), self.version).unwrap();
        self.connections.insert(link, Connection::new(socket, true));
        true
    }

    /// Moves what can be moved between a session and its socket. Says whether that was anything.
    fn serve(&mut self, link: LinkId, stack: &mut Stack) -> bool {
        let now = stack.now();
        let Some(connection) = self.connections.get_mut(&link) else { return false };
        let socket = stack.tcp(connection.socket);
        if !connection.is_up {
            if socket.is_open() && !socket.may_send() {
                return false;
            }
            connection.is_up = socket.may_send();
            let outcome = if connection.is_up { Ok(()) } else { Err(ErrorKind::ConnectionRefused) };
            if self.node.dialed(now, link, outcome).is_err() || outcome.is_err() {
                self.abort(link, stack);
            }
            return true;
        }
        let mut busy = false;
        if connection.out.is_empty() {
            // An error: the session has let go of it.
            let _ = self.node.transmit(now, link, &mut connection.out);
            self.app.attend(&mut self.node, now);
        }
        while !connection.out.is_empty() && socket.can_send() {
            let len = socket.send_slice(connection.out.chunk()).unwrap();
            connection.out.advance(len);
            busy = true;
        }
        if socket.can_recv() {
            if let Ok(Some(mut buf)) = self.node.recv_buf(link) {
                let room = buf.capacity();
                let copy = |bytes: &mut [u8]| {
                    let len = bytes.len().min(room);
                    buf.extend(bytes.iter().take(len));
                    (len, ())
                };
                socket.recv(copy).unwrap();
                let _ = self.node.received(now, link, buf);
                self.app.attend(&mut self.node, now);
                busy = true;
            }
            if self.app.wants_cut() {
                self.abort(link, stack);
                self.node.closed(now, link);
            }
        } else if !socket.may_recv() {
            self.abort(link, stack);
            self.node.closed(now, link);
            busy = true;
        }
        busy
    }
}

/// Which packets are lost.
const SEED: u32 = 0xce95;
