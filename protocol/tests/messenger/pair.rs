//! Two sessions in memory; what the receiver does not read stays in the pipe, as in a socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use cephwire_protocol::auth::AllowAll;
use cephwire_protocol::codec::{
    AddrVec, Chunks, EntityAddr, EntityName, EntityType, Header, Message, priority,
};
use cephwire_protocol::inject::Settings;
use cephwire_protocol::{
    Action, Event, LinkId, Local, Options, Placement, Policies, Policy, Received, Session, Timer, Version,
};

pub(crate) fn addr(text: &str) -> EntityAddr {
    text.parse().unwrap()
}

pub(crate) fn vector(texts: &[&str]) -> AddrVec {
    AddrVec(texts.iter().map(|text| addr(text)).collect())
}

pub(crate) fn local(name: EntityName, addrs: AddrVec, policy: Policy, options: Options) -> Arc<Local> {
    let nonce = addrs.0.first().map_or(7, |addr| addr.nonce);
    Local::new(
        name,
        addrs,
        nonce,
        name.num as u64 + 1,
        Policies::all(policy),
        Arc::new(AllowAll { name }),
        options,
    )
}

pub(crate) fn message(tid: u64, len: usize) -> Message {
    let header = Header { tid, priority: priority::DEFAULT, ..Header::default() };
    Message { header, front: vec![tid as u8; len].into(), ..Message::default() }
}

pub(crate) fn plain_local() -> Arc<Local> {
    let name = EntityName::new(EntityType::OSD, 3);
    let addrs = vector(&["v2:10.0.0.1:6800/9", "v1:10.0.0.1:6801/9"]);
    local(name, addrs, Policy::lossless_peer(), Options::default())
}

/// A client and a server, which sends nothing by itself.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: Session,
    pub(crate) server: Session,
    pub(crate) links: (LinkId, LinkId),
    /// What is on its way to the server, and to the client.
    pub(crate) pipes: (VecDeque<u8>, VecDeque<u8>),
    pub(crate) received: Vec<Received>,
    pub(crate) others: Vec<Event>,
    pub(crate) server_local: Arc<Local>,
    pub(crate) client_local: Arc<Local>,
}

impl Pair {
    pub(crate) fn new(version: Version, client: Policy, server: Policy, options: Options) -> Self {
        Self::injecting(version, client, server, options, Settings::default())
    }

    pub(crate) fn injecting(
        version: Version,
        client: Policy,
        server: Policy,
        options: Options,
        settings: Settings,
    ) -> Self {
        let text = if version == Version::V1 { "v1:127.0.0.1:6800/2" } else { "v2:127.0.0.1:6800/2" };
        let server_local = local(EntityName::new(EntityType::OSD, 1), addr(text).into(), server, options);
        server_local.inject(settings);
        Self::with(version, client, server_local)
    }

    /// A new client of this server.
    pub(crate) fn with(version: Version, client: Policy, server_local: Arc<Local>) -> Self {
        let now = Instant::now();
        let to = server_local.addrs();
        let client_local =
            local(EntityName::new(EntityType::CLIENT, 4), AddrVec::default(), client, Options::default());
        let mut client = Session::outgoing(Arc::clone(&client_local), EntityType::OSD, to, now);
        assert_eq!(client.poll_timer().map(|(_, timer)| timer), Some(Timer::Connect));
        let Some(Action::Dial { link, .. }) = client.poll_action() else { panic!("it dials") };
        client.handle_dialed(now, link, Ok(())).unwrap();
        let from = ([127, 0, 0, 1], 5000).into();
        let (server, accepted) = Session::incoming(Arc::clone(&server_local), from, version, now).unwrap();
        let ready_by = now.checked_add(server_local.options.ready_timeout);
        assert_eq!(server.poll_timer(), ready_by.map(|at| (at, Timer::Accept)));
        let mut pair = Self {
            now,
            client,
            server,
            links: (link, accepted),
            pipes: Default::default(),
            received: Vec::new(),
            others: Vec::new(),
            server_local,
            client_local,
        };
        pair.run();
        assert!(pair.client.is_open() && pair.server.is_open(), "{:#?}", pair.client);
        pair
    }

    pub(crate) fn send(&mut self, tid: u64, len: usize) {
        self.client.send(message(tid, len)).unwrap();
        self.run();
    }

    pub(crate) fn run(&mut self) {
        let (a, b) = self.links;
        loop {
            let moved = write(&mut self.client, a, self.now, &mut self.pipes.0)
                | write(&mut self.server, b, self.now, &mut self.pipes.1)
                | read(&mut self.server, b, self.now, &mut self.pipes.0)
                | read(&mut self.client, a, self.now, &mut self.pipes.1);
            while let Some(action) = self.server.poll_action() {
                if let Action::Arriving(_) = action {
                    assert_eq!(Session::place(&mut self.server, None, self.now), Placement::Open);
                }
            }
            while let Some(event) = self.server.poll_event() {
                match event {
                    Event::Message(received) => self.received.push(received),
                    other => self.others.push(other),
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// The link that the client dials.
    pub(crate) fn dialed_link(&mut self) -> LinkId {
        let dial = std::iter::from_fn(|| self.client.poll_action()).find_map(|action| match action {
            Action::Dial { link, .. } => Some(link),
            _ => None,
        });
        dial.unwrap()
    }

    pub(crate) fn tids(&self) -> Vec<u64> {
        self.received.iter().map(|received| received.message.header.tid).collect()
    }
}

pub(crate) fn write(session: &mut Session, link: LinkId, now: Instant, pipe: &mut VecDeque<u8>) -> bool {
    let mut out = Chunks::new();
    let _ = session.poll_transmit(now, link, &mut out);
    let moved = out.has_remaining();
    pipe.extend(out.copy_to_bytes(out.remaining()).iter());
    moved
}

pub(crate) fn read(session: &mut Session, link: LinkId, now: Instant, pipe: &mut VecDeque<u8>) -> bool {
    if pipe.is_empty() {
        return false;
    }
    let Ok(Some(mut buf)) = session.recv_buf(link) else { return false };
    let len = buf.capacity().min(pipe.len());
    buf.extend(pipe.drain(..len));
    session.handle_recv(now, link, buf).is_ok()
}

pub(crate) const BOTH: [Version; 2] = [Version::V1, Version::V2];
