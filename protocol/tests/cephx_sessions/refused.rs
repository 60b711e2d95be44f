//! The table of what must not work: each is refused with an error of its own by the side that is to be deceived, in
//! both roles and both versions, and no session opens.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use cephwire_protocol::auth::Reason;
use cephwire_protocol::auth::cephx::authorizer::{AuthorizeReply, Authorizer};
use cephwire_protocol::auth::cephx::monitor::{Authenticate, Request as MonRequest};
use cephwire_protocol::auth::cephx::ticket::{AuthTicket, Caps};
use cephwire_protocol::auth::cephx::{
    CryptoKey, KeyServerOptions, KeyType, KeyTypes, Random, ServiceOptions, Wallet, WalletOptions,
};
use cephwire_protocol::codec::v2::{method, mode};
use cephwire_protocol::codec::{EntityType, Features, Timestamp};
use cephwire_protocol::{Error, Incompatible, Version};

use super::cheat::{Lax, STEPS, Step, cheating, logged_in, refused_by_acceptor, refused_by_dialer};
use super::cluster::{Cluster, KINDS, OSD, authenticate, client, entity, key, reason};
use super::pair::{NOW, Node, Pair, VERSIONS};

#[test]
fn a_wrong_key_and_an_unknown_entity() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let wallet =
            |name: &str, key| Wallet::new(entity(name), key, WalletOptions::default(), [8; 32]).unwrap();
        let wrong = wallet("client.admin", key("somebody", kind));
        let other_type = wallet("client.admin", key("client.admin", KeyType::Aes));
        let unknown = wallet("client.nobody", key("client.nobody", kind));
        let wrong_key = Reason::WrongKey { entity: "client.admin".to_owned() };
        let nobody = Reason::UnknownEntity { entity: "client.nobody".to_owned() };
        let mut rows = vec![(wrong, wrong_key.clone()), (unknown, nobody)];
        if kind == KeyType::Aes256k {
            rows.push((other_type, wrong_key));
        }
        for (wallet, expected) in rows {
            let pair = Pair::new(Version::V2, &client(&wallet), &cluster.monitor());
            refused_by_acceptor(&pair, &expected);
            // No other attempt can help.
            assert!(pair.dialer.error.as_ref().unwrap().is_final());
            let mut pair = Pair::new(Version::V1, &client(&wallet), &cluster.monitor());
            let mut talk = cluster.server.talk();
            let told = Err(Reason::Refused { result: -13 });
            assert_eq!(authenticate(&mut pair, &wallet, &mut talk, NOW), (told, Err(expected)));
            assert_eq!((talk.client(), wallet.global_id()), (None, None));
            assert!(wallet.ticket(EntityType::AUTH).is_none());
        }
    }
}

/// A monitor that does not know the key cannot make a ticket that the client can read.
#[test]
fn a_wrong_monitor() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let wallet = cluster.wallet("client.admin");
        // It answers any proof, as if it were right.
        let impostor = Cluster::new(kind);
        impostor.server.edit(|keyring| {
            keyring.entries.get_mut(&entity("client.admin")).unwrap().key = key("guess", kind);
        });
        let guess =
            Wallet::new(entity("client.admin"), key("guess", kind), WalletOptions::default(), [8; 32])
                .unwrap();
        let replies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let heard = Arc::clone(&replies);
        let monitor = cheating(impostor.monitor(), move |step, payload| {
            if step == Step::Done {
                heard.lock().unwrap().push(payload.clone());
            }
            payload
        });
        Pair::new(Version::V2, &client(&guess), &monitor).expect_open();
        let reply = replies.lock().unwrap()[0].clone();
        let honest = cheating(
            cluster.monitor(),
            move |step, payload| if step == Step::Done { reply.clone() } else { payload },
        );
        let pair = Pair::new(Version::V2, &client(&wallet), &honest);
        refused_by_dialer(&pair, &Reason::Unreadable { what: "session key" });
        assert_eq!((wallet.global_id(), wallet.ticket(OSD)), (None, None));
    }
}

/// An authorizer that somebody has seen is good for nothing: the challenge is another one (CVE-2018-1128).
#[test]
fn a_replayed_authorizer() {
    for (kind, version) in KINDS.into_iter().flat_map(|kind| VERSIONS.map(|version| (kind, version))) {
        let cluster = Cluster::new(kind);
        let wallet = logged_in(&cluster);
        let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let recorder = Arc::clone(&seen);
        let recording = cheating(client(&wallet), move |_, payload| {
            recorder.lock().unwrap().push(payload.clone());
            payload
        });
        let osd = cluster.osd();
        Pair::new(version, &recording, &osd).expect_open();
        let [first, second] = seen.lock().unwrap().clone().try_into().unwrap();
        // Both steps again; or the second one at once.
        for opening in [first, second.clone()] {
            let second = second.clone();
            let replayed =
                cheating(
                    client(&wallet),
                    move |step, _| if step == Step::Open { opening.clone() } else { second.clone() },
                );
            refused_by_acceptor(&Pair::new(version, &replayed, &osd), &Reason::WrongChallenge);
        }
    }
}

/// The client never answers the challenge; the server never asks one.
#[test]
fn a_challenge_skipped() {
    for (kind, version) in KINDS.into_iter().flat_map(|kind| VERSIONS.map(|version| (kind, version))) {
        let cluster = Cluster::new(kind);
        let wallet = logged_in(&cluster);
        let first: Arc<Mutex<Vec<u8>>> = Arc::default();
        let stubborn = cheating(client(&wallet), move |step, payload| {
            let mut first = first.lock().unwrap();
            if step == Step::Open {
                *first = payload;
            }
            first.clone()
        });
        refused_by_acceptor(&Pair::new(version, &stubborn, &cluster.osd()), &Reason::ChallengeSkipped);
        let mut lax = cluster.osd();
        lax.auth = Arc::new(Lax(lax.auth));
        refused_by_dialer(&Pair::new(version, &client(&wallet), &lax), &Reason::ChallengeSkipped);
    }
    // A monitor that wants no proof at all.
    let cluster = Cluster::new(KeyType::Aes);
    let mut lax = cluster.monitor();
    lax.auth = Arc::new(Lax(lax.auth));
    let pair = Pair::new(Version::V2, &client(&cluster.wallet("client.admin")), &lax);
    refused_by_dialer(&pair, &Reason::ChallengeSkipped);
}

/// A service that proves nothing, or something else.
#[test]
fn a_reply_missing_or_wrong() {
    for (kind, version) in KINDS.into_iter().flat_map(|kind| VERSIONS.map(|version| (kind, version))) {
        let cluster = Cluster::new(kind);
        let wallet = logged_in(&cluster);
        let session_key = wallet.ticket(OSD).unwrap().session_key;
        let reply = move |key: &CryptoKey| {
            let reply = AuthorizeReply { nonce_plus_one: 7, connection_secret: vec![1; 64].into() };
            reply.seal(key, &mut Random::new([3; 32]))
        };
        let unreadable = Reason::Unreadable { what: "authorizer reply" };
        for (payload, expected) in [
            (Vec::new(), Reason::ReplyMissing),
            (reply(&session_key), Reason::WrongReply),
            (reply(&key("osd.0", kind)), unreadable),
        ] {
            let osd = cheating(
                cluster.osd(),
                move |step, honest| if step == Step::Done { payload.clone() } else { honest },
            );
            refused_by_dialer(&Pair::new(version, &client(&wallet), &osd), &expected);
        }
    }
    let cluster = Cluster::new(KeyType::Aes);
    let monitor =
        cheating(cluster.monitor(), |step, honest| if step == Step::Done { Vec::new() } else { honest });
    let pair = Pair::new(Version::V2, &client(&cluster.wallet("client.admin")), &monitor);
    refused_by_dialer(&pair, &Reason::ReplyMissing);
}

/// A ticket altered in any byte that is sealed: nobody gets in by it.
#[test]
fn a_tampered_ticket() {
    for (kind, version) in KINDS.into_iter().flat_map(|kind| VERSIONS.map(|version| (kind, version))) {
        let cluster = Cluster::new(kind);
        let wallet = logged_in(&cluster);
        let (osd, len) = (cluster.osd(), wallet.ticket(OSD).unwrap().blob.blob.len());
        for at in 0..len {
            let edit = move |_, payload: Vec<u8>| {
                let mut authorizer = Authorizer::decode(&payload).unwrap();
                let mut blob = authorizer.ticket.blob.to_vec();
                blob[at] ^= 0x40;
                authorizer.ticket.blob = blob.into();
                authorizer.encode()
            };
            let pair = Pair::new(version, &cheating(client(&wallet), edit), &osd);
            assert!(!pair.is_open(), "{kind} {at}");
            let found = reason(&pair.acceptor.error);
            // With aes, it depends on where: the magic, the padding, or a field. That is why there is another type.
            if kind == KeyType::Aes256k || at < 16 {
                assert_eq!(found, Reason::Unreadable { what: "ticket" }, "{at}");
            }
        }
    }
}

/// A ticket that says what no monitor writes, sealed with the right key.
#[test]
fn tickets_that_no_monitor_writes() {
    type Change<'a> = &'a dyn Fn(&mut AuthTicket);
    let cluster = Cluster::new(KeyType::Aes);
    let wallet = logged_in(&cluster);
    let (osd, ticket) = (cluster.osd(), wallet.ticket(OSD).unwrap());
    let secret = cluster.server.rotating_secrets(OSD, NOW).find(ticket.blob.secret_id).unwrap().clone();
    let info = ticket.blob.open(&secret).unwrap();
    let nanoseconds = Timestamp { sec: NOW.sec + 100, nsec: 1_000_000_000 };
    let of = |change: Change<'_>| {
        let mut info = info.clone();
        change(&mut info.ticket);
        info
    };
    let rows: [(Change<'_>, Reason); 7] = [
        (
            &|ticket| ticket.caps = Caps { allow_all: true, ..Caps::default() },
            Reason::Ticket { what: "all capabilities" },
        ),
        (
            &|ticket| ticket.caps.blob = Bytes::from_static(b"allow"),
            Reason::Ticket { what: "capabilities that are no text" },
        ),
        (&|ticket| ticket.auid = 0, Reason::Ticket { what: "an auid" }),
        (
            &|ticket| ticket.expires = nanoseconds,
            Reason::Ticket { what: "more than a second in nanoseconds" },
        ),
        (
            &|ticket| ticket.created = Timestamp { sec: NOW.sec + 7200, nsec: 0 },
            Reason::Ticket { what: "an end before its beginning" },
        ),
        (&|ticket| ticket.global_id = 5, Reason::GlobalId { claimed: 4100, proven: Some(5) }),
        (
            &|ticket| {
                (ticket.created, ticket.expires) =
                    (Timestamp::default(), Timestamp { sec: NOW.sec - 61, nsec: 0 })
            },
            Reason::Expired { service: 4, expired: NOW.sec - 61, now: NOW.sec },
        ),
    ];
    for (change, expected) in rows {
        let blob = of(change).seal(ticket.blob.secret_id, &secret, &mut Random::new([4; 32]));
        for version in VERSIONS {
            let blob = blob.clone();
            let edit = move |_, payload: Vec<u8>| {
                let mut authorizer = Authorizer::decode(&payload).unwrap();
                authorizer.ticket = blob.clone();
                authorizer.encode()
            };
            refused_by_acceptor(&Pair::new(version, &cheating(client(&wallet), edit), &osd), &expected);
        }
    }
}

/// Tickets end: a client does not show one, a service does not take one.
#[test]
fn an_expired_ticket() {
    for version in VERSIONS {
        let cluster = Cluster::new(KeyType::Aes);
        let wallet = logged_in(&cluster);
        let end = NOW.sec + 3600;
        let late = Node { now: Timestamp { sec: end, nsec: 0 }, ..client(&wallet) };
        let expired = |now| Reason::Expired { service: 4, expired: end, now };
        refused_by_dialer(&Pair::new(version, &late, &cluster.osd()), &expired(end));
        // Its clock is slow, or it does not care; the service's is a minute fast at most.
        let osd = Node { now: Timestamp { sec: end + 60, nsec: 0 }, ..cluster.osd() };
        Pair::new(version, &client(&wallet), &osd).expect_open();
        let osd = Node { now: Timestamp { sec: end + 61, nsec: 0 }, ..cluster.osd() };
        refused_by_acceptor(&Pair::new(version, &client(&wallet), &osd), &expired(end + 61));
        // As Ceph has it: while the key is there, the ticket is good.
        let options = ServiceOptions { expiry_grace: None, ..ServiceOptions::default() };
        let osd = Node { auth: cluster.osd_auth(options), ..osd };
        Pair::new(version, &client(&wallet), &osd).expect_open();
    }
}

#[test]
fn no_ticket_or_one_for_somebody_else() {
    for version in VERSIONS {
        let cluster = Cluster::new(KeyType::Aes);
        let wallet = cluster.wallet("client.admin");
        refused_by_dialer(
            &Pair::new(version, &client(&wallet), &cluster.osd()),
            &Reason::NoTicket { service: 4 },
        );
        cluster.log_in(version, &wallet);
        // A ticket for managers, shown to an OSD; and an AUTH ticket called one for OSDs.
        for (kind, claimed, expected) in [
            (EntityType::MGR, 16, Reason::WrongService { found: 16, expected: 4 }),
            (EntityType::AUTH, 4, Reason::Unreadable { what: "ticket" }),
        ] {
            let blob = wallet.ticket(kind).unwrap().blob;
            let edit = move |_, payload: Vec<u8>| {
                let authorizer = Authorizer::decode(&payload).unwrap();
                Authorizer { service: claimed, ticket: blob.clone(), ..authorizer }.encode()
            };
            refused_by_acceptor(
                &Pair::new(version, &cheating(client(&wallet), edit), &cluster.osd()),
                &expected,
            );
        }
        // The number of somebody else.
        let edit = |_, payload: Vec<u8>| {
            Authorizer { global_id: 4101, ..Authorizer::decode(&payload).unwrap() }.encode()
        };
        let expected = Reason::GlobalId { claimed: 4101, proven: Some(4100) };
        refused_by_acceptor(&Pair::new(version, &cheating(client(&wallet), edit), &cluster.osd()), &expected);
        // A stolen ticket: without its session key.
        let thief = cluster.wallet("client.b");
        cluster.log_in(version, &thief);
        let stolen = wallet.ticket(OSD).unwrap().blob;
        let edit = move |_, payload: Vec<u8>| {
            let authorizer = Authorizer::decode(&payload).unwrap();
            Authorizer { global_id: 4100, ticket: stolen.clone(), ..authorizer }.encode()
        };
        let expected = Reason::Unreadable { what: "authorizer" };
        refused_by_acceptor(&Pair::new(version, &cheating(client(&thief), edit), &cluster.osd()), &expected);
    }
}

/// Every payload of every step, cut at each byte and with a byte too many, both ways.
#[test]
fn payloads_cut_and_overlong() {
    for (kind, version) in KINDS.into_iter().flat_map(|kind| VERSIONS.map(|version| (kind, version))) {
        let cluster = Cluster::new(kind);
        let wallet = logged_in(&cluster);
        for step in STEPS {
            let to_monitor = version == Version::V2;
            for monitor in [false, true].into_iter().filter(|monitor| to_monitor || !*monitor) {
                let acceptor = if monitor { cluster.monitor() } else { cluster.osd() };
                let by_client = matches!(step, Step::Open | Step::Answer);
                let attempt = |edit: Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>| {
                    let edit = move |at, payload| if at == step { edit(payload) } else { payload };
                    if by_client {
                        let pair = Pair::new(version, &cheating(client(&wallet), edit), &acceptor);
                        (pair.is_open(), pair.acceptor.error)
                    } else {
                        let pair = Pair::new(version, &client(&wallet), &cheating(acceptor.clone(), edit));
                        (pair.is_open(), pair.dialer.error)
                    }
                };
                let (open, error) = attempt(Arc::new(|mut payload| {
                    payload.push(0);
                    payload
                }));
                assert!(!open, "{step:?} monitor {monitor}");
                let found = reason(&error);
                let challenge = step == Step::Challenge && !monitor;
                if challenge {
                    // It is all ciphertext.
                    assert_eq!(found, Reason::Unreadable { what: "authorizer challenge" });
                } else {
                    assert!(
                        matches!(found, Reason::Overlong { extra: 1, .. }),
                        "{step:?} monitor {monitor}: {found}"
                    );
                }
                for cut in (0..200).step_by(3) {
                    let whole = Arc::new(Mutex::new(false));
                    let was_whole = Arc::clone(&whole);
                    let (open, error) = attempt(Arc::new(move |mut payload| {
                        *was_whole.lock().unwrap() = payload.len() <= cut;
                        payload.truncate(cut);
                        payload
                    }));
                    if *whole.lock().unwrap() {
                        break;
                    }
                    assert!(!open, "{step:?} monitor {monitor} cut at {cut}");
                    let found = reason(&error);
                    let none = matches!(found, Reason::NoAuthorizer | Reason::ReplyMissing);
                    let expected = match cut {
                        0 => none || matches!(found, Reason::Unreadable { .. } | Reason::Truncated { .. }),
                        _ if challenge => matches!(found, Reason::Unreadable { .. }),
                        _ => matches!(found, Reason::Truncated { .. }),
                    };
                    assert!(expected, "{step:?} monitor {monitor} cut at {cut}: {found}");
                }
                // The wallet is as it was.
                if monitor {
                    cluster.log_in(version, &wallet);
                }
            }
        }
    }
}

/// Secure mode without anything to encrypt with: by a client that asks for no other keys (Ceph's monitors abort), by a
/// service that gives no secret.
#[test]
fn secure_mode_without_a_secret() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let wallet = logged_in(&cluster);
        let edit = |step, payload: Vec<u8>| match MonRequest::decode(&payload) {
            Ok(MonRequest::Authenticate(request)) if step == Step::Answer => {
                MonRequest::Authenticate(Authenticate { other_keys: 0, ..request }).encode()
            }
            _ => payload,
        };
        let secure = |node: Node| node.modes(&[mode::SECURE]);
        let pair = Pair::new(Version::V2, &secure(cheating(client(&wallet), edit)), &cluster.monitor());
        refused_by_acceptor(&pair, &Reason::NoConnectionSecret);
        let session_key = wallet.ticket(OSD).unwrap().session_key;
        let osd = cheating(cluster.osd(), move |step, payload| {
            if step != Step::Done {
                return payload;
            }
            let reply = AuthorizeReply::open(&payload, &session_key).unwrap();
            let connection_secret = reply.connection_secret[..39].to_vec().into();
            AuthorizeReply { connection_secret, ..reply }.seal(&session_key, &mut Random::new([3; 32]))
        });
        let pair = Pair::new(Version::V2, &secure(client(&wallet)), &secure(osd));
        refused_by_dialer(&pair, &Reason::NoConnectionSecret);
    }
}

/// Nobody gets a key of a type that is not allowed past either side.
#[test]
fn key_types_that_are_not_allowed() {
    let new = KeyTypes { aes: false, aes256k: true };
    let aes = |what| Reason::KeyNotAllowed { what, kind: "aes" };
    let strict = WalletOptions { key_types: new, ..WalletOptions::default() };
    let error =
        Wallet::new(entity("client.admin"), key("client.admin", KeyType::Aes), strict, [0; 32]).unwrap_err();
    assert_eq!(error, aes("the own key"));
    let service = ServiceOptions { key_types: new, ..ServiceOptions::default() };
    for version in VERSIONS {
        // A monitor and a client with an old key.
        let cluster =
            Cluster::mixed(KeyType::Aes, KeyServerOptions { service, ..KeyServerOptions::default() });
        let wallet = cluster.wallet("client.admin");
        let mut pair = Pair::new(version, &client(&wallet), &cluster.monitor());
        if version == Version::V2 {
            refused_by_acceptor(&pair, &aes("the client's key"));
        } else {
            let outcome = authenticate(&mut pair, &wallet, &mut cluster.server.talk(), NOW);
            assert_eq!(outcome.1, Err(aes("the client's key")));
        }
        // A service whose monitor still gives old keys.
        let cluster = Cluster::mixed(
            KeyType::Aes256k,
            KeyServerOptions { service_key_type: KeyType::Aes, ..KeyServerOptions::default() },
        );
        let wallet = cluster.wallet("client.admin");
        cluster.log_in(version, &wallet);
        let osd = Node::new("osd.0", cluster.osd_auth(service));
        refused_by_acceptor(&Pair::new(version, &client(&wallet), &osd), &aes("the key of a ticket"));
        // A client that is given an old session key.
        let wallet = cluster.wallet_with("client.admin", strict);
        let mut pair = Pair::new(version, &client(&wallet), &cluster.monitor());
        if version == Version::V2 {
            refused_by_dialer(&pair, &aes("a session key"));
        } else {
            let outcome = authenticate(&mut pair, &wallet, &mut cluster.server.talk(), NOW);
            assert_eq!(outcome.0, Err(aes("a session key")));
        }
        assert!(wallet.ticket(OSD).is_none());
    }
}

/// Methods: none in common; a connection without an authorizer.
#[test]
fn methods_that_do_not_fit() {
    let cluster = Cluster::new(KeyType::Aes);
    let wallet = logged_in(&cluster);
    let stranger = |name: &str| {
        Node::new(name, Arc::new(cephwire_protocol::auth::AllowAll { name: name.parse().unwrap() }))
    };
    let pair = Pair::new(Version::V2, &stranger("client.5"), &cluster.osd());
    let Some(Error::Denied { source: denied, .. }) = &pair.dialer.error else { panic!() };
    assert_eq!(
        (denied.result, &denied.allowed_methods[..], denied.is_final),
        (-95, &[method::CEPHX][..], true)
    );
    let pair = Pair::new(Version::V1, &stranger("client.5"), &cluster.osd());
    refused_by_acceptor(&pair, &Reason::Method { found: method::NONE });
    // A server that only does without: the client does not.
    let pair = Pair::new(Version::V2, &client(&wallet), &stranger("osd.0"));
    let Some(Error::Denied { source: denied, .. }) = &pair.dialer.error else { panic!() };
    assert_eq!((denied.result, &denied.allowed_methods[..]), (-95, &[method::NONE][..]));
    // Nothing at all.
    for version in VERSIONS {
        let mute = cheating(client(&wallet), |_, _| Vec::new());
        refused_by_acceptor(&Pair::new(version, &mute, &cluster.osd()), &Reason::NoAuthorizer);
    }
    let options = ServiceOptions { require_authorizer: false, ..ServiceOptions::default() };
    let osd = Node::new("osd.0", cluster.osd_auth(options));
    let pair = Pair::new(Version::V2, &cheating(client(&wallet), |_, _| Vec::new()), &osd);
    // (The client, who sent one, insists on an answer.)
    refused_by_dialer(&pair, &Reason::ReplyMissing);
}

/// v1: who cannot be challenged, or cannot sign, is kept out where that is demanded.
#[test]
fn features_that_cephx_needs() {
    let cluster = Cluster::new(KeyType::Aes);
    let wallet = logged_in(&cluster);
    let default = ServiceOptions { require_version: 1, ..ServiceOptions::default() };
    let signed = Features::MSG_AUTH;
    for (options, missing, refused) in [
        (ServiceOptions { require_version: 2, ..default }, Features::CEPHX_V2, true),
        (ServiceOptions { require_signatures: true, ..default }, signed, true),
        (ServiceOptions { service_require_signatures: true, ..default }, signed, true),
        (ServiceOptions { cluster_require_signatures: true, ..default }, signed, false),
        (default, signed, false),
    ] {
        let mut dialer = client(&wallet);
        dialer.policy.features_supported = Features(dialer.policy.features_supported.0 & !missing.0);
        let osd = Node::new("osd.0", cluster.osd_auth(options));
        let pair = Pair::new(Version::V1, &dialer, &osd);
        assert_eq!(pair.is_open(), !refused, "{options:?}");
        if refused {
            let Some(Error::Incompatible { source: error, .. }) = &pair.dialer.error else { panic!() };
            let Incompatible::PeerRequires { missing: told, .. } = error else { panic!("{error:?}") };
            assert_eq!(*told, missing);
        }
    }
}

/// Monitors among themselves: with another key than theirs; with their key, but another's name.
#[test]
fn false_monitors() {
    for version in VERSIONS {
        let (one, other) = (Cluster::new(KeyType::Aes), Cluster::new(KeyType::Aes));
        other.server.edit(|keyring| {
            keyring.entries.get_mut(&entity("mon.")).unwrap().key = key("another", KeyType::Aes);
        });
        let pair = Pair::new(version, &one.monitor(), &other.monitor());
        refused_by_acceptor(&pair, &Reason::Unreadable { what: "ticket" });
        other.server.edit(|keyring| {
            keyring.entries.remove(&entity("mon."));
        });
        let pair = Pair::new(version, &one.monitor(), &other.monitor());
        refused_by_acceptor(&pair, &Reason::UnknownSecret { service: 1, secret_id: u64::MAX });
        refused_by_dialer(
            &Pair::new(version, &other.monitor(), &one.monitor()),
            &Reason::NoTicket { service: 1 },
        );
    }
}
