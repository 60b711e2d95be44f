//! What can be asked of a messenger, whichever driver it runs on?

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "serde")]
use std::time::Instant;

use cephwire_protocol::codec::{AddrVec, EntityAddr, EntityType, Message};
#[cfg(feature = "serde")]
use cephwire_protocol::dump::{MessengerDump, SocketDump, span};
use cephwire_protocol::{Closed, Local, Manner, Totals, Version};

use crate::core::Core;
#[cfg(feature = "serde")]
use crate::core::Peer;
use crate::dispatcher::{Dispatcher, End};
use crate::handle::Handle;
use crate::listen::{Bound, Route, advertised, bind_unix};

/// One entity's end of all its sessions; what the [blocking](crate::blocking::Messenger) and the
/// [tokio](crate::tokio::Messenger) messenger have in common, and made by making one of those.
///
/// The order of calls: make it, add dispatchers, bind (if it is to listen: peers may connect from then on),
/// connect and send, shut down. Nothing here blocks. Dropping it shuts it down at once. Ceph: `Messenger`.
#[derive(Debug)]
pub struct Messenger {
    pub(crate) core: Arc<Core>,
}

impl Messenger {
    /// Who this side is, and what can be changed of that: name, addresses, policies, injected faults.
    #[must_use]
    pub fn local(&self) -> &Arc<Local> {
        &self.core.local
    }

    /// The own addresses.
    #[must_use]
    pub fn addrs(&self) -> AddrVec {
        self.core.local.addrs()
    }

    // Dispatchers.

    /// Asks `dispatcher` first.
    pub fn add_head(&self, dispatcher: Arc<dyn Dispatcher>) {
        self.core.add_dispatcher(End::Head, dispatcher);
    }

    /// Asks `dispatcher` last.
    pub fn add_tail(&self, dispatcher: Arc<dyn Dispatcher>) {
        self.core.add_dispatcher(End::Tail, dispatcher);
    }

    // Sessions.

    /// The session with the peer of type `kind` at `to`: the one that is registered under exactly these
    /// addresses, or a new one, which dials. If they are the own ones, the loopback.
    ///
    /// Returns at once; what comes of it the dispatchers are told. After the shutdown, the session is closed.
    #[must_use = "sessions go on without their handles, but nobody can use them"]
    pub fn connect(&self, kind: EntityType, to: &AddrVec) -> Handle {
        self.core.connect(kind, to, Manner::default())
    }

    /// The same, perhaps anonymous, or not the loopback.
    #[must_use = "sessions go on without their handles, but nobody can use them"]
    pub fn connect_as(&self, kind: EntityType, to: &AddrVec, manner: Manner) -> Handle {
        self.core.connect(kind, to, manner)
    }

    /// Connects and sends.
    ///
    /// # Errors
    /// The addresses are empty, or the messenger was shut down; the message comes back.
    pub fn send_to(&self, kind: EntityType, to: &AddrVec, message: Message) -> Result<(), Closed> {
        if to.0.is_empty() {
            return Err(message.into());
        }
        self.connect(kind, to).send(message)
    }

    /// The session with itself: what is sent there is dispatched here.
    #[must_use]
    pub fn loopback(&self) -> Handle {
        Handle::loopback(&self.core)
    }

    /// The session that is registered under exactly these addresses.
    #[must_use]
    pub fn find(&self, addrs: &AddrVec) -> Option<Handle> {
        self.core.table().find(addrs).map(|peer| Handle::of(&peer.0))
    }

    /// All sessions: registered, anonymous, and those of accepted sockets in the handshake.
    #[must_use]
    pub fn sessions(&self) -> Vec<Handle> {
        self.core.table().all().map(|peer| Handle::of(&peer.0)).collect()
    }

    /// Ends the session that is registered under exactly these addresses, as [`Handle::mark_down`] does. Says
    /// whether there was one.
    pub fn mark_down(&self, addrs: &AddrVec) -> bool {
        let found = self.find(addrs);
        if let Some(handle) = &found {
            handle.mark_down();
        }
        found.is_some()
    }

    /// Ends all sessions. The loopback stays. [`reset`](Dispatcher::reset) is called for each.
    pub fn mark_down_all(&self) {
        self.core.mark_down_all(true);
    }

    /// Becomes another one to all peers: all sessions end, and the nonce is another. Ceph: `client_reset`.
    pub fn client_reset(&self) {
        self.core.mark_down_all(true);
        self.core.local.rebind();
    }

    /// Sockets that are dialed from now on come from this address, if
    /// [`bind_before_connect`](crate::Net::bind_before_connect) is set.
    pub fn client_bind(&self, ip: IpAddr) {
        self.core.set_client_bind(ip);
    }

    /// The address is reached through a Unix socket from now on. (Ceph's protocol has no addresses for those: peers
    /// know each other by ordinary ones.)
    pub fn route(&self, addr: EntityAddr, path: impl Into<PathBuf>) {
        self.core.routes().insert(addr, path.into());
    }

    // What goes on.

    /// The counters of all sessions together, those that have ended included.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.core.table().totals(&self.core.local, |peer| {
            let inner = peer.0.lock();
            (!inner.session.is_closed()).then(|| inner.session.stats())
        })
    }

    /// How many messages and events wait for normal dispatch. Ceph: `get_dispatch_queue_len`.
    #[must_use]
    pub fn dispatch_queue_len(&self) -> usize {
        self.core.inbox.len()
    }

    /// How old the oldest message is that waits there. Ceph: `get_dispatch_queue_max_age`.
    #[must_use]
    pub fn dispatch_queue_max_age(&self) -> Duration {
        self.core.inbox.max_age()
    }

    /// How many messages no dispatcher wanted.
    #[must_use]
    pub fn unhandled(&self) -> u64 {
        self.core.inbox.unhandled()
    }

    /// The state of everything, with the fields of Ceph's `dump_messenger`.
    #[cfg(feature = "serde")]
    #[must_use]
    pub fn dump(&self) -> MessengerDump {
        let (core, now) = (&self.core, Instant::now());
        let mut dump = core.table().dump(&core.local, |Peer(conn)| {
            let inner = conn.lock();
            let mut dump = inner.session.dump(now);
            dump.conn_id = conn.class;
            let link = inner.link.as_ref().filter(|link| inner.session.link() == Some(link.id));
            dump.socket_fd = link.and_then(|link| link.fd());
            (!inner.session.is_closed()).then_some(dump)
        });
        dump.local_connection.push(core.courier.lock().dump(&core.local));
        dump.dispatch_queue.length = core.inbox.len();
        dump.dispatch_queue.max_age_ago = span(core.inbox.max_age());
        let socket = |fd| SocketDump { socket_fd: fd, worker_id: -1 };
        dump.listen_sockets = core.listening_fds().into_iter().map(socket).collect();
        dump
    }

    // For the drivers.

    /// Listens there, and says so.
    pub(crate) fn commit(&self, bound: Vec<(EntityAddr, Bound)>) -> io::Result<AddrVec> {
        let local = &self.core.local;
        let mut addrs = if local.is_bound() { local.addrs() } else { AddrVec::default() };
        addrs.0.extend(advertised(&bound).0);
        local.set_addrs(addrs);
        for (addr, bound) in bound {
            if let Some(ip) = addr.ip().filter(|ip| !ip.is_unspecified()) {
                local.learn_addr(ip);
            }
            self.core.listen(bound)?;
        }
        Ok(local.addrs())
    }

    /// As [`commit`](Self::commit), on a Unix socket; the address stands for it.
    pub(crate) fn commit_unix(&self, route: Route, version: Option<Version>) -> io::Result<AddrVec> {
        let bound = bind_unix(&route.path, version, &self.core.net)?;
        self.commit(vec![(route.addr, bound)])
    }

    /// Listens no more and becomes another one. Returns what to bind instead, and the ports to avoid.
    pub(crate) fn unbind(&self, avoid: &BTreeSet<u16>) -> io::Result<(AddrVec, BTreeSet<u16>)> {
        let local = &self.core.local;
        if !local.is_bound() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "not bound"));
        }
        self.core.stop_listening();
        self.core.mark_down_all(true);
        local.rebind();
        let mut addrs = local.addrs();
        let mut avoid = avoid.clone();
        for addr in &mut addrs.0 {
            if let Some(socket) = &mut addr.socket {
                avoid.insert(socket.port());
                socket.set_port(0);
            }
        }
        local.set_addrs(addrs.clone());
        Ok((addrs, avoid))
    }
}

impl Drop for Messenger {
    fn drop(&mut self) {
        self.core.stop();
    }
}
