//! Do connections that cross, break in the handshake or come back late end as in Ceph's own messenger tests?
//!
//! The first six cases of `src/test/msgr/test_msgr.cc`, with its interceptor: connections are held at the steps
//! that [`step`] numbers, and go on or fail from there. The server's address is the smaller one: it wins races.

use std::sync::Arc;

use cephwire::codec::{EntityType, Message};
use cephwire::{Handle, Policy, Version};

use crate::plain::{CLIENT, OSD, Pair, assert_fresh, count, ping, setup};
use crate::rig::{Driver, any_port, eventually};
use crate::wire::steps::{Held, Holding, Node, Steps, step};
use crate::wire::{Relay, ports};

matrix! {
    connection_race
    connection_race_reuse_banner
    missing_server_ident
    missing_server_ident_lossless
    missing_server_ident_2
    missing_server_ident_2_reuse
    reconnect
    reconnect_race;
    of any version:
}

/// Two messengers that are both bound, and can be held.
struct Scene<D> {
    pair: Pair<D>,
    steps: Arc<Steps>,
    version: Version,
    /// Before the server, and before the client.
    relays: [Relay; 2],
}

impl<D: Driver> Scene<D> {
    fn new(version: Version, server: Policy, client: Policy, server_replies: bool) -> Self {
        let mut pair = Pair::<D>::start(setup(OSD, server), setup(CLIENT, client), server_replies);
        let steps = Steps::new(version);
        let [first, second] = ports();
        let relay = |messenger: &D, listener, dialer| {
            let real = messenger.listen(&any_port(version));
            let relay = Relay::new(listener, &real, Arc::new(Holding { steps: Arc::clone(&steps), dialer }));
            messenger.local().set_addrs(relay.advertised(&real));
            relay
        };
        let relays = [relay(&pair.server, first, Node::Client), relay(&pair.client, second, Node::Server)];
        pair.to = pair.server.addrs();
        Self { pair, steps, version, relays }
    }

    /// The server's connection to the client, by the address it is known by.
    fn s2c(&self) -> Handle {
        self.pair.server.connect(EntityType::CLIENT, &self.pair.client.addrs())
    }

    fn tids(&self, node: Node) -> Vec<u64> {
        let dispatcher = if node == Node::Server { &self.pair.saw } else { &self.pair.heard };
        dispatcher.look(|seen| seen.received.iter().map(|(_, tid, _)| *tid).collect())
    }

    fn wait_for_messages(&self) {
        self.pair.saw.wait("the client's message", |seen| seen.got_new);
        self.pair.heard.wait("the server's message", |seen| seen.got_new);
    }

    /// What was reset, at the server and at the client: by the peer, and for good.
    fn resets(&self) -> [(bool, u32); 2] {
        [&self.pair.saw, &self.pair.heard].map(|all| all.look(|seen| (seen.got_remote_reset, seen.resets)))
    }

    /// Both sessions are open, each is the only one, and so it stays while messages cross.
    fn settle(&self, c2s: &Handle, s2c: &Handle) {
        let Pair { server, client, saw, heard, .. } = &self.pair;
        eventually("one session each", || {
            let alone = client.sessions() == [c2s.clone()] && server.sessions() == [s2c.clone()];
            alone && c2s.is_open() && s2c.is_open()
        });
        for (session, to) in [(c2s, saw), (s2c, heard)] {
            let before = to.look(|seen| seen.received.len());
            session.send(numbered(99)).unwrap();
            to.wait("another message", |seen| seen.received[before..].iter().any(|(_, tid, _)| *tid == 99));
        }
    }

    fn teardown(self) {
        self.pair.teardown();
        drop(self.relays);
    }
}

const NOBODY: [(bool, u32); 2] = [(false, 0); 2];

/// A PING that its answer can be told by.
fn numbered(tid: u64) -> Message {
    let mut message = ping();
    message.header.tid = tid;
    message
}

fn peers<D: Driver>(version: Version) -> Scene<D> {
    Scene::new(version, Policy::lossless_peer_reuse(), Policy::lossless_peer_reuse(), false)
}

/// `ConnectionRaceTest`.
fn connection_race<D: Driver>(version: Version) {
    let scene = peers::<D>(version);
    let nodes = [Node::Server, Node::Client];
    for node in nodes {
        scene.steps.breakpoint(node, step::CLIENT_IDENTITY);
    }
    let (c2s, s2c) = (scene.pair.c2s(), scene.s2c());
    c2s.send(ping()).unwrap();
    s2c.send(ping()).unwrap();
    let held = nodes.map(|node| scene.steps.wait(node, step::CLIENT_IDENTITY));
    for node in nodes {
        scene.steps.remove_breakpoint(node, step::CLIENT_IDENTITY);
    }
    held.into_iter().for_each(|held| scene.steps.release(held));
    scene.wait_for_messages();
    eventually("both are open", || c2s.is_open() && s2c.is_open());
    assert_eq!((count(&c2s), count(&s2c)), (1, 1));
    assert_eq!((c2s.peer().kind, s2c.peer().kind), (EntityType::OSD, EntityType::CLIENT));
    scene.settle(&c2s, &s2c);
    assert_eq!(scene.resets(), NOBODY);
    scene.teardown();
}

/// `ConnectionRaceReuseBannerTest`.
fn connection_race_reuse_banner<D: Driver>(version: Version) {
    let scene = peers::<D>(version);
    let steps = &scene.steps;
    steps.breakpoint(Node::Server, step::CLIENT_IDENTITY);
    let s2c = scene.s2c();
    s2c.send(ping()).unwrap();
    let dialing = steps.wait(Node::Server, step::CLIENT_IDENTITY);

    steps.breakpoint(Node::Client, step::CLIENT_BANNER);
    steps.breakpoint(Node::Server, step::SERVER_BANNER);
    let c2s = scene.pair.c2s();
    c2s.send(ping()).unwrap();
    steps.wait(Node::Client, step::CLIENT_BANNER);
    let accepting = steps.wait(Node::Server, step::SERVER_BANNER);
    steps.remove_breakpoint(Node::Client, step::CLIENT_BANNER);
    steps.remove_breakpoint(Node::Server, step::SERVER_BANNER);
    let others = scene.pair.server.sessions();
    let accepted = others.into_iter().find(|session| *session != s2c).unwrap();

    // The client takes the server's connection over into its session, whose own is still at its banner.
    steps.remove_breakpoint(Node::Server, step::CLIENT_IDENTITY);
    steps.release(dialing);
    scene.pair.heard.wait("the client's session opens", |seen| seen.opened == 1);
    steps.release(accepting);

    scene.wait_for_messages();
    eventually("both are open", || c2s.is_open() && s2c.is_open());
    assert_fresh(&c2s);
    assert_fresh(&s2c);
    eventually("the other one ends", || accepted.is_closed());
    scene.settle(&c2s, &s2c);
    assert_eq!((steps.dialed(Node::Client), steps.passed(Node::Client, step::RECONNECT)), (1, 0));
    assert_eq!(scene.pair.heard.look(|seen| seen.opened), 1);
    scene.teardown();
}

/// Lets the server fail when it is about to say who it is, with a message queued.
fn without_server_ident<D: Driver>(scene: &Scene<D>, client_sends: bool) -> (Handle, Handle) {
    scene.steps.breakpoint(Node::Server, step::SERVER_IDENTITY);
    let c2s = scene.pair.c2s();
    if client_sends {
        c2s.send(numbered(1)).unwrap();
    }
    let held = scene.steps.wait(Node::Server, step::SERVER_IDENTITY);
    let accepted = scene.pair.server.sessions()[0].clone();
    accepted.send(numbered(2)).unwrap();
    scene.steps.remove_breakpoint(Node::Server, step::SERVER_IDENTITY);
    scene.steps.fail(held);
    (c2s, accepted)
}

/// `MissingServerIdenTest`: a lossy client of v2 that is not open yet tries again; one of v1 that has read the banner
/// gives up.
fn missing_server_ident<D: Driver>(version: Version) {
    let scene = Scene::<D>::new(version, Policy::stateful_server(), Policy::lossy_client(), false);
    let (c2s, accepted) = without_server_ident(&scene, true);
    if version == Version::V2 {
        scene.wait_for_messages();
        eventually("both are open", || c2s.is_open() && accepted.is_open());
        assert_fresh(&c2s);
        assert_fresh(&accepted);
    } else {
        scene.pair.heard.wait("the client gives up", |seen| seen.resets == 1);
        assert!(c2s.is_closed());
        eventually("the server's waits", || !accepted.is_open());
        assert!(!accepted.is_closed() && accepted.stats().queued_messages == 1);
        assert_eq!(scene.resets(), [(false, 0), (false, 1)]);
        assert_eq!((scene.tids(Node::Server), scene.tids(Node::Client)), (vec![], vec![]));
    }
    scene.teardown();
}

/// The same with a lossless client. For a server of v1 it is a reset.
fn missing_server_ident_lossless<D: Driver>(version: Version) {
    let scene = Scene::<D>::new(version, Policy::stateful_server(), Policy::lossless_client(), false);
    let (c2s, accepted) = without_server_ident(&scene, true);
    scene.pair.saw.wait("the client's message", |seen| seen.got_new);
    let v1 = version == Version::V1;
    if v1 {
        scene.pair.saw.wait("the reset", |seen| seen.got_remote_reset);
    } else {
        scene.pair.heard.wait("the server's message", |seen| seen.got_new);
    }
    scene.settle(&c2s, &accepted);
    assert_eq!(scene.resets(), [(v1, 0), (false, 0)]);
    assert_eq!(scene.tids(Node::Server), [1, 99]);
    assert_eq!(scene.tids(Node::Client), if v1 { vec![99] } else { vec![2, 99] });
    assert_eq!(scene.pair.last_accepted(), accepted);
    scene.teardown();
}

/// `MissingServerIdenTest2`: the client has nothing to say and waits; the server comes back by itself.
fn missing_server_ident_2<D: Driver>(version: Version) {
    let scene = Scene::<D>::new(version, Policy::lossless_peer(), Policy::lossless_peer(), false);
    let (c2s, accepted) = without_server_ident(&scene, false);
    scene.pair.heard.wait("the server's message", |seen| seen.got_new);
    eventually("both are open", || c2s.is_open() && accepted.is_open());
    assert_eq!((count(&c2s), count(&accepted)), (1, 0));
    scene.settle(&c2s, &accepted);
    assert_eq!((scene.tids(Node::Server), scene.tids(Node::Client)), (vec![99], vec![2, 99]));
    scene.teardown();
}

/// The same with lossless_peer_reuse: a client of v1 does not believe in a session of connect_seq 2.
fn missing_server_ident_2_reuse<D: Driver>(version: Version) {
    let scene = peers::<D>(version);
    let (c2s, accepted) = without_server_ident(&scene, false);
    if version == Version::V1 {
        scene.pair.saw.wait("the reset", |seen| seen.got_remote_reset);
    } else {
        scene.pair.heard.wait("the server's message", |seen| seen.got_new);
    }
    scene.settle(&c2s, &accepted);
    let lost = version == Version::V1;
    assert_eq!(scene.tids(Node::Client), if lost { vec![99] } else { vec![2, 99] });
    scene.teardown();
}

/// A first round trip, and a second one whose answer is held at the client.
fn interrupted<D: Driver>(scene: &Scene<D>) -> (Handle, Handle, Held) {
    let c2s = scene.pair.c2s();
    c2s.send(numbered(1)).unwrap();
    scene.pair.heard.wait("the first answer", |seen| seen.got_new);
    assert_fresh(&c2s);
    assert_eq!(c2s.peer().kind, EntityType::OSD);
    let accepted = scene.pair.last_accepted();
    scene.steps.breakpoint(Node::Client, step::MESSAGE);
    c2s.send(numbered(2)).unwrap();
    let held = scene.steps.wait(Node::Client, step::MESSAGE);
    scene.steps.remove_breakpoint(Node::Client, step::MESSAGE);
    (c2s, accepted, held)
}

fn all_answers<D: Driver>(scene: &Scene<D>) {
    scene.pair.heard.wait("all answers", |seen| seen.received.len() == 3);
    assert_eq!((scene.tids(Node::Client), scene.tids(Node::Server)), (vec![1, 2, 3], vec![1, 2, 3]));
}

/// `ReconnectTest`.
fn reconnect<D: Driver>(version: Version) {
    let scene = Scene::<D>::new(version, Policy::stateful_server(), Policy::lossless_peer(), true);
    let (c2s, accepted, held) = interrupted(&scene);
    scene.steps.fail(held);
    c2s.send(numbered(3)).unwrap();
    scene.pair.saw.wait("the server's session opens again", |seen| seen.opened == 2);
    assert_eq!((scene.pair.last_accepted(), accepted.peer().kind), (accepted.clone(), EntityType::CLIENT));
    all_answers(&scene);
    let steps = [step::RECONNECT, step::RECONNECT_OK];
    assert_eq!(steps.map(|step| scene.steps.passed(Node::Server, step)), [0, 1]);
    assert_eq!(steps.map(|step| scene.steps.passed(Node::Client, step)), [1, 0]);
    assert_eq!(scene.resets(), NOBODY);
    scene.teardown();
}

/// `ReconnectRaceTest`, whoever is let go first.
fn reconnect_race<D: Driver>(version: Version) {
    for server_first in [false, true] {
        let scene = Scene::<D>::new(version, Policy::lossless_peer(), Policy::lossless_peer(), true);
        let (c2s, accepted, held) = interrupted(&scene);
        let nodes = [Node::Client, Node::Server];
        for node in nodes {
            scene.steps.breakpoint(node, step::RECONNECT);
        }
        scene.steps.fail(held);
        c2s.send(numbered(3)).unwrap();
        let mut held = nodes.map(|node| scene.steps.wait(node, step::RECONNECT));
        for node in nodes {
            scene.steps.remove_breakpoint(node, step::RECONNECT);
        }
        if server_first {
            held.reverse();
        }
        held.into_iter().for_each(|held| scene.steps.release(held));
        scene.pair.saw.wait("the server's session opens again", |seen| seen.opened >= 2);
        all_answers(&scene);
        let steps = [step::RECONNECT, step::RECONNECT_OK];
        let [server, client] =
            [Node::Server, Node::Client].map(|node| steps.map(|step| scene.steps.passed(node, step)));
        if scene.version == Version::V2 {
            let retries = scene.steps.passed(Node::Client, step::SESSION_RETRY);
            assert!(matches!(server, [1 | 2, 0]), "{server:?} {client:?}");
            assert_eq!((client, retries), ([1, 1], usize::from(server[0] == 2)));
        }
        scene.settle(&c2s, &accepted);
        assert_eq!(scene.resets(), NOBODY);
        scene.teardown();
    }
}
