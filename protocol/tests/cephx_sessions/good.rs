//! What must work.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cephwire_protocol::auth::cephx::{
    KeyServerOptions, KeyType, KeyTypes, Progress, Service, ServiceAuth, ServiceOptions, WalletOptions,
};
use cephwire_protocol::auth::{AllowAll, Auth, Choice, Methods, Reason};
use cephwire_protocol::codec::v2::{method, mode};
use cephwire_protocol::codec::{EntityType, Features, Header, Message, MessageType, Timestamp};
use cephwire_protocol::{Policy, Version};

use super::cluster::{Cluster, KINDS, OSD, authenticate, client, entity, exchange, reason};
use super::pair::{NOW, Pair, VERSIONS};

const MODES: [u32; 2] = [mode::CRC, mode::SECURE];

fn message(tid: u64) -> Message {
    let header = Header { tid, kind: MessageType::PING, ..Header::default() };
    let data = vec![tid as u8; 10_000];
    Message { header, front: Bytes::from_static(b"front").into(), data: data.into(), ..Message::default() }
}

/// Messages go both ways, whole.
#[track_caller]
fn talk(pair: &mut Pair) {
    for (from_dialer, tid) in [(true, 1), (false, 2), (true, 3)] {
        let [received] = &pair.send(from_dialer, message(tid))[..] else { panic!("{pair:?}") };
        assert_eq!((received.message.header.tid, received.message.data.len()), (tid, 10_000));
    }
}

#[test]
fn a_client_with_a_monitor_and_an_osd() {
    for (kind, version) in KINDS.into_iter().flat_map(|kind| VERSIONS.map(|version| (kind, version))) {
        for mode in MODES {
            let cluster = Cluster::new(kind);
            let wallet = cluster.wallet("client.admin");
            assert_eq!(wallet.global_id(), None);
            let dialer = client(&wallet).modes(&[mode]);
            let mut pair = Pair::new(version, &dialer, &cluster.monitor());
            pair.expect_open();
            if version == Version::V1 {
                // Nothing is known yet of a client of v1.
                assert_eq!(pair.acceptor.session.facts().authenticated, None);
                let mut talk = cluster.server.talk();
                assert_eq!(talk.client(), None);
                assert_eq!(authenticate(&mut pair, &wallet, &mut talk, NOW), (Ok(()), Ok(())));
                assert_eq!(talk.client(), Some((&entity("client.admin"), 4100)));
            } else {
                let facts = pair.acceptor.session.facts();
                assert_eq!(facts.authenticated, Some(entity("client.admin")));
                assert_eq!((facts.global_id, facts.mode), (Some(4100), Some(mode)));
                assert_eq!(pair.dialer.session.global_id(), Some(4100));
            }
            talk(&mut pair);
            assert_eq!(wallet.global_id(), Some(4100));
            for (service, ttl) in [(EntityType::AUTH, 72 * 3600), (OSD, 3600), (EntityType::MON, 3600)] {
                assert_eq!(wallet.expires(service), Some(Timestamp { sec: NOW.sec + ttl, nsec: 0 }));
                assert_eq!(wallet.ticket(service).unwrap().session_key.kind(), kind);
            }
            assert!(wallet.ticket(EntityType::MDS).is_none());

            let mut pair = Pair::new(version, &dialer, &cluster.osd());
            pair.expect_open();
            let facts = pair.acceptor.session.facts();
            assert_eq!(facts.authenticated, Some(entity("client.admin")));
            assert_eq!(
                (facts.global_id, facts.peer.num),
                (Some(4100), if version == Version::V1 { 4100 } else { -1 })
            );
            // A string: its length, then the text.
            assert_eq!(&pair.acceptor.session.caps()[4..], b"allow client.admin");
            talk(&mut pair);
        }
    }
}

/// osd.1 dials osd.0; the secrets come from the monitor, in messages.
#[test]
fn daemons_among_themselves() {
    for (kind, version) in KINDS.into_iter().flat_map(|kind| VERSIONS.map(|version| (kind, version))) {
        let cluster = Cluster::new(kind);
        let ttl = Duration::from_secs(3600);
        let wallets = ["osd.0", "osd.1"].map(|name| {
            let wallet =
                cluster.wallet_with(name, WalletOptions { rotating: Some(ttl), ..WalletOptions::default() });
            let mut pair = cluster.log_in(version, &wallet);
            let mut talk = cluster.server.resume(wallet.global_id().unwrap()).unwrap();
            let request = wallet.renewal(NOW).unwrap();
            assert_eq!(request.payload, [0, 4][..]);
            // Not asked again while the answer is on its way.
            assert_eq!(wallet.renewal(NOW), None);
            assert_eq!(exchange(&mut pair, &wallet, &mut talk, NOW, request), (Ok(()), Ok(())));
            assert_eq!(wallet.renewal(NOW), None);
            wallet
        });
        let secrets = wallets[0].rotating_secrets().unwrap();
        assert_eq!(secrets, cluster.server.rotating_secrets(OSD, NOW));
        let nodes = [("osd.0", &wallets[0]), ("osd.1", &wallets[1])].map(|(name, wallet)| {
            let service = Service::new(OSD, ServiceOptions::default(), [9; 32]);
            service.set_secrets(wallet.rotating_secrets().unwrap());
            let auth: Arc<dyn Auth> = Arc::new(ServiceAuth { wallet: Arc::clone(wallet), service });
            super::pair::Node { policy: Policy::lossless_peer(), ..super::pair::Node::new(name, auth) }
        });
        let mut pair = Pair::new(version, &nodes[1], &nodes[0]);
        pair.expect_open();
        let facts = pair.acceptor.session.facts();
        assert_eq!((facts.authenticated, facts.peer.num), (Some(entity("osd.1")), 1));
        talk(&mut pair);
    }
}

/// Monitors make their tickets themselves, with the key that they share.
#[test]
fn monitors_among_themselves() {
    for (kind, version) in KINDS.into_iter().flat_map(|kind| VERSIONS.map(|version| (kind, version))) {
        for mode in MODES {
            let (one, other) = (Cluster::new(kind), Cluster::new(kind));
            let dialer =
                super::pair::Node { policy: Policy::lossless_peer_reuse(), ..one.monitor().modes(&[mode]) };
            let mut pair = Pair::new(version, &dialer, &other.monitor());
            pair.expect_open();
            let facts = pair.acceptor.session.facts();
            assert_eq!((facts.authenticated, facts.global_id), (Some(entity("mon.")), Some(0)));
            talk(&mut pair);
        }
    }
}

/// A client with an old key in a cluster that has new ones, and the reverse: session keys have the weaker type.
#[test]
fn key_types_mixed() {
    for (clients, services) in [(KeyType::Aes, KeyType::Aes256k), (KeyType::Aes256k, KeyType::Aes)] {
        for version in VERSIONS {
            let options = KeyServerOptions { service_key_type: services, ..KeyServerOptions::default() };
            let cluster = Cluster::mixed(clients, options);
            let wallet = cluster.wallet("client.admin");
            cluster.log_in(version, &wallet);
            assert_eq!(wallet.ticket(EntityType::AUTH).unwrap().session_key.kind(), clients);
            assert_eq!(wallet.ticket(OSD).unwrap().session_key.kind(), KeyType::Aes);
            let mut pair = Pair::new(version, &client(&wallet), &cluster.osd());
            pair.expect_open();
            talk(&mut pair);
        }
    }
}

/// The client keeps its number over sessions, by its ticket; without one it gets another number.
#[test]
fn global_ids_are_kept() {
    for version in VERSIONS {
        let cluster = Cluster::new(KeyType::Aes);
        let (wallet, other) = (cluster.wallet("client.admin"), cluster.wallet("client.b"));
        cluster.log_in(version, &wallet);
        cluster.log_in(version, &other);
        assert_eq!((wallet.global_id(), other.global_id()), (Some(4100), Some(4101)));
        let first = wallet.ticket(EntityType::AUTH).unwrap();
        cluster.log_in(version, &wallet);
        assert_eq!(wallet.global_id(), Some(4100));
        assert_ne!(wallet.ticket(EntityType::AUTH).unwrap().session_key, first.session_key);
        wallet.forget();
        cluster.log_in(version, &wallet);
        assert_eq!(wallet.global_id(), Some(4102));
    }
}

/// Ceph's clients begin anew whenever the number changes: they would take the tickets for another challenge.
#[test]
fn v1_tells_a_new_number_with_the_challenge() {
    let cluster = Cluster::new(KeyType::Aes);
    let wallet = cluster.wallet("client.admin");
    let mut talk = cluster.server.talk();
    let (challenge, outcome) = talk.handle_auth(NOW, &wallet.hello(&[method::CEPHX]));
    assert_eq!((outcome, challenge.global_id != 0), (Ok(()), true));
    let Ok(Progress::Send(proof)) = wallet.handle_auth_reply(NOW, &challenge) else { panic!("no proof") };
    // It counts when there is a ticket for it.
    assert_eq!((wallet.global_id(), talk.client()), (None, None));
    let (session, outcome) = talk.handle_auth(NOW, &proof);
    assert_eq!((outcome, session.global_id), (Ok(()), challenge.global_id));
    assert!(matches!(wallet.handle_auth_reply(NOW, &session), Ok(Progress::Ready | Progress::Send(_))));
    assert_eq!(wallet.global_id(), Some(challenge.global_id));
    assert_eq!(talk.client().map(|(_, number)| number), Some(challenge.global_id));
}

/// Tickets are renewed in their last quarter: those for services by the AUTH ticket, that one with the challenge with
/// which the session began. In both versions in messages.
#[test]
fn tickets_are_renewed() {
    for version in VERSIONS {
        let cluster = Cluster::new(KeyType::Aes);
        let wallet = cluster.wallet("client.admin");
        let mut pair = cluster.log_in(version, &wallet);
        let mut talk = cluster.server.resume(4100).unwrap();
        let at = |sec| Timestamp { sec: NOW.sec + sec, nsec: 0 };
        assert_eq!(wallet.renewal(at(2_699)), None);
        let old = wallet.ticket(OSD).unwrap();
        let request = wallet.renewal(at(2_700)).unwrap();
        assert_eq!(request.payload[..2], [0, 2]);
        assert_eq!(wallet.renewal(at(2_709)), None, "an answer is awaited");
        assert_eq!(exchange(&mut pair, &wallet, &mut talk, at(2_700), request), (Ok(()), Ok(())));
        assert_eq!(wallet.renewal(at(2_710)), None);
        let renewed = wallet.ticket(OSD).unwrap();
        assert_ne!(renewed.session_key, old.session_key);
        assert_eq!(wallet.expires(OSD), Some(at(2_700 + 3_600)));
        // The AUTH ticket, and the others along with it.
        let auth = wallet.ticket(EntityType::AUTH).unwrap();
        let late = at(72 * 3600 - 10);
        let request = wallet.renewal(late).unwrap();
        assert_eq!(request.payload[..3], [0, 1, 3]);
        assert_eq!(exchange(&mut pair, &wallet, &mut talk, late, request), (Ok(()), Ok(())));
        assert_ne!(wallet.ticket(EntityType::AUTH).unwrap().session_key, auth.session_key);
        assert_eq!((wallet.global_id(), wallet.renewal(late)), (Some(4100), None));
        // An answer that never comes is asked for again.
        let again = at(140 * 3600);
        assert!(wallet.renewal(again).is_some() && wallet.renewal(at(140 * 3600 + 10)).is_some());
        wallet.monitor_lost();
        assert_eq!(wallet.renewal(at(200 * 3600)), None);
        assert_eq!(cluster.server.resume(4099).map(|_| ()), None);
    }
}

/// A service takes tickets of three keys: rotation does not shut anybody out at once.
#[test]
fn tickets_outlive_a_rotation() {
    let cluster = Cluster::new(KeyType::Aes);
    let wallet = cluster.wallet("client.admin");
    cluster.log_in(Version::V2, &wallet);
    let service = Service::new(OSD, ServiceOptions::default(), [2; 32]);
    let auth = Arc::new(ServiceAuth { wallet: cluster.wallet("osd.0"), service: Arc::clone(&service) });
    let osd = super::pair::Node::new("osd.0", auth);
    // The ticket is sealed with key 2. Each rotation, one an hour after the first two, throws the oldest away.
    for (hours, ids, taken) in [(1, [1, 2, 3], true), (2, [2, 3, 4], true), (3, [3, 4, 5], false)] {
        let later = Timestamp { sec: NOW.sec + hours * 3600, nsec: 0 };
        let secrets = cluster.server.rotating_secrets(OSD, later);
        assert_eq!(secrets.secrets.keys().copied().collect::<Vec<_>>(), ids);
        service.set_secrets(secrets);
        let pair = Pair::new(Version::V2, &client(&wallet), &osd);
        assert_eq!(pair.is_open(), taken);
        if !taken {
            let unknown = Reason::UnknownSecret { service: 4, secret_id: 2 };
            assert_eq!(reason(&pair.acceptor.error), unknown);
            // The next renewal asks for another one.
            assert_eq!(wallet.renewal(NOW).unwrap().payload[..2], [0, 2]);
        }
    }
}

/// Without MSG_AUTH nothing is signed, without CEPHX_V2 the old form is used; both only where the service lets such
/// clients in.
#[test]
fn old_clients_of_v1() {
    let cluster = Cluster::new(KeyType::Aes);
    let wallet = cluster
        .wallet_with("client.admin", WalletOptions { require_challenge: false, ..WalletOptions::default() });
    cluster.log_in(Version::V1, &wallet);
    let lenient = ServiceOptions { require_version: 1, ..ServiceOptions::default() };
    for missing in [Features::MSG_AUTH, Features::CEPHX_V2, Features::MSG_AUTH | Features::CEPHX_V2] {
        let mut dialer = client(&wallet);
        dialer.policy.features_supported = Features(dialer.policy.features_supported.0 & !missing.0);
        let osd = super::pair::Node::new("osd.0", cluster.osd_auth(lenient));
        let mut pair = Pair::new(Version::V1, &dialer, &osd);
        pair.expect_open();
        talk(&mut pair);
    }
}

/// Both sides may leave messages unsigned.
#[test]
fn unsigned_messages() {
    let cluster = Cluster::new(KeyType::Aes);
    let wallet = cluster
        .wallet_with("client.admin", WalletOptions { sign_messages: false, ..WalletOptions::default() });
    cluster.log_in(Version::V1, &wallet);
    let unsigned = ServiceOptions { sign_messages: false, ..ServiceOptions::default() };
    let osd = super::pair::Node::new("osd.0", cluster.osd_auth(unsigned));
    let mut pair = Pair::new(Version::V1, &client(&wallet), &osd);
    pair.expect_open();
    talk(&mut pair);
}

/// The client's order of modes wins; what the server does not know or allow is skipped.
#[test]
fn the_clients_order_of_modes() {
    let cluster = Cluster::new(KeyType::Aes);
    let wallet = cluster.wallet("client.admin");
    for (ours, theirs, agreed) in [
        (&[2, 1][..], &[1, 2][..], 2),
        (&[1, 2], &[2, 1], 1),
        (&[3, 2, 1], &[1, 2], 2),
        (&[3, 1], &[2, 1], 1),
        (&[1, 2], &[2], 2),
    ] {
        let pair = Pair::new(Version::V2, &client(&wallet).modes(ours), &cluster.monitor().modes(theirs));
        pair.expect_open();
        assert_eq!(pair.dialer.session.facts().mode, Some(agreed), "{ours:?} {theirs:?}");
    }
    // As Ceph has it by default: secure with the monitors, crc with the rest.
    let pair = Pair::new(Version::V2, &client(&wallet), &cluster.monitor());
    assert_eq!(pair.dialer.session.facts().mode, Some(mode::SECURE));
    let pair = Pair::new(Version::V2, &client(&wallet), &cluster.osd());
    assert_eq!(pair.dialer.session.facts().mode, Some(mode::CRC));
}

/// A server that does not do the client's first method takes its next one.
#[test]
fn the_next_method_after_a_refusal() {
    let cluster = Cluster::new(KeyType::Aes);
    let wallet = cluster.wallet("client.admin");
    let choice = |methods: &[u32], cephx: Arc<dyn Auth>, name: &str| {
        let none: Arc<dyn Auth> = Arc::new(AllowAll { name: name.parse().unwrap() });
        let auths = vec![(method::NONE, none), (method::CEPHX, cephx)];
        Arc::new(Choice { methods: Methods::all(methods), auths })
    };
    let both = [method::CEPHX, method::NONE];
    for (ours, theirs, agreed) in [
        (&both[..], &[method::NONE][..], method::NONE),
        (&both, &[method::CEPHX], method::CEPHX),
        (&[method::NONE, method::CEPHX], &both, method::NONE),
        (&[method::GSS, method::CEPHX], &both, method::CEPHX),
    ] {
        let mut dialer = client(&wallet);
        dialer.auth = choice(ours, dialer.auth, "client.1");
        let mut monitor = cluster.monitor();
        monitor.auth = choice(theirs, monitor.auth, "mon.0");
        let pair = Pair::new(Version::V2, &dialer, &monitor);
        pair.expect_open();
        assert_eq!(pair.dialer.session.facts().method, Some(agreed), "{ours:?} {theirs:?}");
    }
    // v1, with an OSD.
    cluster.log_in(Version::V2, &wallet);
    for (ours, theirs) in [(&both[..], &both[..]), (&[method::NONE], &both)] {
        let mut dialer = client(&wallet);
        dialer.auth = choice(ours, dialer.auth, "client.1");
        let mut osd = cluster.osd();
        osd.auth = choice(theirs, osd.auth, "osd.0");
        let mut pair = Pair::new(Version::V1, &dialer, &osd);
        pair.expect_open();
        talk(&mut pair);
    }
}

/// A key that will replace the present one is taken already.
#[test]
fn a_pending_key() {
    let cluster = Cluster::new(KeyType::Aes);
    let mut later = Cluster::new(KeyType::Aes256k);
    later.keyring.entries.retain(|name, _| *name == entity("client.admin"));
    cluster.server.edit(|keyring| {
        let entry = keyring.entries.get_mut(&entity("client.admin")).unwrap();
        entry.pending_key = later.keyring.key(&entity("client.admin")).cloned();
    });
    for (version, wallet) in VERSIONS.into_iter().flat_map(|version| {
        [(version, cluster.wallet("client.admin")), (version, later.wallet("client.admin"))]
    }) {
        cluster.log_in(version, &wallet);
    }
}

/// Only these types of key.
#[test]
fn key_types_as_configured() {
    let new = KeyTypes { aes: false, aes256k: true };
    let options = KeyServerOptions { service_key_type: KeyType::Aes256k, ..KeyServerOptions::default() };
    let service = ServiceOptions { key_types: new, ..ServiceOptions::default() };
    let cluster = Cluster::mixed(KeyType::Aes256k, KeyServerOptions { service, ..options });
    let wallet =
        cluster.wallet_with("client.admin", WalletOptions { key_types: new, ..WalletOptions::default() });
    for version in VERSIONS {
        cluster.log_in(version, &wallet);
        let osd = super::pair::Node::new("osd.0", cluster.osd_auth(service));
        Pair::new(version, &client(&wallet), &osd).expect_open();
    }
}
