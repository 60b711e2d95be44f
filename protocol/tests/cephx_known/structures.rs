//! Every structure: there and back, cut at each byte, and with a byte too many.

use std::time::Duration;

use bytes::Bytes;
use cephwire_protocol::auth::Reason;
use cephwire_protocol::auth::cephx::authorizer::{Authorize, AuthorizeChallenge, AuthorizeReply, Authorizer};
use cephwire_protocol::auth::cephx::monitor::{
    Authenticate, Introduction, Reply, Request, ServerChallenge, SessionReply, seal_connection_secret,
};
use cephwire_protocol::auth::cephx::rotating::ExpiringKey;
use cephwire_protocol::auth::cephx::ticket::{AuthTicket, Caps, NO_AUID, OWN_SECRET, TicketReply};
use cephwire_protocol::auth::cephx::{
    CryptoKey, Entity, KeyType, RotatingSecrets, Ticket, TicketBlob, TicketInfo,
};
use cephwire_protocol::codec::{EntityType, Timestamp};

use super::{KINDS, counting, random};

fn entity() -> Entity {
    "client.admin".parse().unwrap()
}

fn time(sec: u32) -> Timestamp {
    Timestamp { sec, nsec: 999_999_999 }
}

fn info(kind: KeyType) -> TicketInfo {
    let ticket = AuthTicket {
        name: entity(),
        global_id: 4120,
        auid: NO_AUID,
        created: time(1_000),
        expires: time(4_600),
        caps: Caps::of_text("allow *"),
        flags: 0,
    };
    TicketInfo { ticket, session_key: CryptoKey::generate(kind, time(1_000), &mut random()) }
}

fn ticket(kind: KeyType) -> Ticket {
    let info = info(kind);
    let blob = info.seal(7, &counting(kind), &mut random());
    Ticket { service: 4, session_key: info.session_key, validity: Duration::new(3600, 5), blob }
}

fn authorizer(kind: KeyType) -> Authorizer {
    let Ticket { session_key, blob, .. } = ticket(kind);
    let mut this = Authorizer { global_id: 4120, service: 4, ticket: blob, proof: Bytes::new() };
    this.prove(Authorize { nonce: 9, challenge: None }, &session_key, &mut random());
    this
}

/// Decodes what was encoded; refuses it cut at each byte, and with a byte more.
#[track_caller]
fn exact<T: PartialEq + std::fmt::Debug>(
    value: &T,
    encoded: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, Reason>,
) {
    assert_eq!(decode(encoded).as_ref(), Ok(value));
    for cut in 0..encoded.len() {
        let error = decode(&encoded[..cut]).unwrap_err();
        assert!(matches!(error, Reason::Truncated { .. }), "cut at {cut}: {error:?}");
    }
    let error = decode(&[encoded, &[0]].concat()).unwrap_err();
    assert!(matches!(error, Reason::Overlong { extra: 1, .. }), "{error:?}");
}

#[test]
fn plain_structures() {
    for methods in [None, Some(vec![]), Some(vec![1, 2])] {
        let introduction = Introduction { methods, name: entity(), global_id: 4120 };
        exact(&introduction, &introduction.encode(), Introduction::decode);
    }
    exact(&ServerChallenge(5), &ServerChallenge(5).encode(), ServerChallenge::decode);
    for kind in KINDS {
        exact(&ticket(kind).blob, &ticket(kind).blob.encode(), TicketBlob::decode);
        exact(&info(kind), &info(kind).encode(), TicketInfo::decode);
        exact(&authorizer(kind), &authorizer(kind).encode(), Authorizer::decode);
        let sealed = ticket(kind).seal(&counting(kind), Some(&counting(kind)), &mut random());
        let tickets = TicketReply { tickets: vec![sealed.clone(), sealed] };
        exact(&tickets, &tickets.encode(), TicketReply::decode);
        let old_ticket = ticket(kind).blob;
        let authenticate =
            Authenticate { version: 3, client_challenge: 1, proof: 2, old_ticket, other_keys: 0x35 };
        for request in [
            Request::Authenticate(Authenticate { version: 2, ..authenticate.clone() }),
            Request::Authenticate(authenticate),
            Request::ServiceTickets(authorizer(kind), 0x14),
            Request::RotatingSecrets,
        ] {
            exact(&request, &request.encode(), Request::decode);
        }
        for reply in [Reply::ServiceTickets(tickets), Reply::RotatingSecrets(Bytes::from_static(b"sealed"))] {
            exact(&reply, &reply.encode(), Reply::decode);
        }
        let mut secrets = RotatingSecrets::default();
        secrets.rotate(time(0), Duration::from_secs(60), kind, &mut random());
        exact(&secrets, &secrets.encode(), RotatingSecrets::decode);
    }
}

/// A session reply may end after its ticket, or have both things that follow.
#[test]
fn session_replies() {
    let sealed = ticket(KeyType::Aes).seal(&counting(KeyType::Aes), None, &mut random());
    let auth = TicketReply { tickets: vec![sealed] };
    let short = Reply::Session(SessionReply { auth: auth.clone(), more: None });
    let long = Reply::Session(SessionReply { auth, more: Some((Bytes::new(), Bytes::from_static(b"x"))) });
    assert_eq!(Reply::decode(&short.encode()), Ok(short.clone()));
    assert_eq!(Reply::decode(&long.encode()), Ok(long.clone()));
    for cut in 0..long.encode().len() {
        let decoded = Reply::decode(&long.encode()[..cut]);
        if cut == short.encode().len() {
            assert_eq!(decoded, Ok(short.clone()));
        } else {
            assert!(matches!(decoded, Err(Reason::Truncated { .. })), "{cut}");
        }
    }
    let overlong = [long.encode(), vec![0]].concat();
    assert_eq!(Reply::decode(&overlong), Err(Reason::Overlong { what: "session reply", extra: 1 }));
    // A refusal has nothing behind its status that anybody would read.
    for kind in [0x100, 0x200, 0x400] {
        assert_eq!(Reply::decode(&Reply::Refused(kind, -13).encode()), Ok(Reply::Refused(kind, -13)));
    }
}

/// Newer versions may have more fields at their end; version 0 is none.
#[test]
fn newer_versions() {
    let newer = [&[2][..], &5u64.to_le_bytes(), b"new"].concat();
    assert_eq!(ServerChallenge::decode(&newer), Ok(ServerChallenge(5)));
    let authenticate = Authenticate {
        version: 4,
        client_challenge: 1,
        proof: 2,
        old_ticket: TicketBlob::default(),
        other_keys: 3,
    };
    let request = Request::Authenticate(authenticate);
    assert_eq!(Request::decode(&[&request.encode()[..], b"new"].concat()), Ok(request));
    let zero = Reason::Value { what: "server challenge", field: "version", found: 0, expected: "at least 1" };
    assert_eq!(ServerChallenge::decode(&[0; 9]), Err(zero));
}

#[test]
fn values_that_cannot_be() {
    let value = |what, field, found, expected| Err(Reason::Value { what, field, found, expected });
    assert_eq!(
        ServerChallenge::decode(&[1, 0, 0, 0, 0, 0, 0, 0, 0]).map(|_| ()),
        value("server challenge", "challenge", 0, "a random number")
    );
    for mode in [0, 2, 9, 20, 255] {
        let error = value("first payload", "mode", mode, "1 or 10");
        assert_eq!(Introduction::decode(&[mode as u8, 0]).map(|_| ()), error);
    }
    for mode in [0, 10, 255] {
        assert_eq!(Authorizer::decode(&[mode as u8; 40]).map(|_| ()), value("authorizer", "mode", mode, "1"));
    }
    let expected = "0x100, 0x200 or 0x400";
    assert_eq!(Request::decode(&[1, 3, 0]).map(|_| ()), value("request", "request type", 0x301, expected));
    assert_eq!(
        Reply::decode(&[1, 3, 0, 0, 0, 0]).map(|_| ()),
        value("reply", "request type", 0x301, expected)
    );
    let long = [&[10][..], &8u32.to_le_bytes(), &u32::MAX.to_le_bytes(), &[0; 300]].concat();
    let found = u32::MAX.into();
    assert_eq!(
        Introduction::decode(&long),
        Err(Reason::TooLong { what: "first payload", field: "entity id", found, limit: 256 })
    );
    let text = [&[10][..], &8u32.to_le_bytes(), &1u32.to_le_bytes(), &[0xff; 9]].concat();
    assert_eq!(
        Introduction::decode(&text),
        Err(Reason::Text { what: "first payload", field: "entity id", expected: "UTF-8" })
    );
    let kind = [&[10][..], &256u32.to_le_bytes(), &0u32.to_le_bytes(), &[0; 8]].concat();
    assert_eq!(
        Introduction::decode(&kind).map(|_| ()),
        value("first payload", "entity type", 256, "one byte")
    );
}

/// What is sealed: with the right key alone, unaltered, and whole.
#[test]
fn sealed_structures() {
    for kind in KINDS {
        let (key, other) = (counting(kind), CryptoKey::generate(kind, time(0), &mut random()));
        let (info, ticket) = (info(kind), ticket(kind));
        assert_eq!(ticket.blob.open(&key), Ok(info.clone()));
        assert_eq!(ticket.blob.open(&other), Err(Reason::Unreadable { what: "ticket" }));
        assert_eq!(ticket.blob.secret_id, 7);
        assert_eq!(info.seal(OWN_SECRET, &key, &mut random()).secret_id, u64::MAX);
        // Sealed for the client, with and without a ticket that is replaced.
        for old in [None, Some(&other)] {
            let sealed = ticket.seal(&key, old, &mut random());
            assert_eq!(sealed.open(&key, Some(&other)), Ok(ticket.clone()));
            assert_eq!(sealed.open(&other, Some(&other)), Err(Reason::Unreadable { what: "session key" }));
            if old.is_some() {
                let turn = Reason::OutOfTurn { what: "a ticket sealed with an older one's key" };
                assert_eq!(sealed.open(&key, None), Err(turn));
                assert_eq!(sealed.open(&key, Some(&key)), Err(Reason::Unreadable { what: "ticket blob" }));
            }
        }
        let proof = Authorize { nonce: 3, challenge: Some(0) };
        let mut authorizer = authorizer(kind);
        assert_eq!(authorizer.open(&info.session_key), Ok(Authorize { nonce: 9, challenge: None }));
        authorizer.prove(proof, &info.session_key, &mut random());
        assert_eq!(authorizer.open(&info.session_key), Ok(proof));
        assert_eq!(
            authorizer.open(&other).map(|_| ()),
            if other == info.session_key { Ok(()) } else { Err(Reason::Unreadable { what: "authorizer" }) }
        );
        let challenge = AuthorizeChallenge(77).seal(&key, &mut random());
        assert_eq!(AuthorizeChallenge::open(&challenge, &key), Ok(AuthorizeChallenge(77)));
        assert_eq!(
            AuthorizeChallenge::open(&challenge, &other),
            Err(Reason::Unreadable { what: "authorizer challenge" })
        );
        for secret in [vec![], vec![5; 64]] {
            let reply = AuthorizeReply { nonce_plus_one: 4, connection_secret: secret.into() };
            let sealed = reply.seal(&key, &mut random());
            assert_eq!(AuthorizeReply::open(&sealed, &key), Ok(reply.clone()));
            assert_eq!(
                AuthorizeReply::open(&sealed, &other),
                Err(Reason::Unreadable { what: "authorizer reply" })
            );
            let overlong = [&sealed[..], &[0]].concat();
            assert_eq!(
                AuthorizeReply::open(&overlong, &key),
                Err(Reason::Overlong { what: "authorizer reply", extra: 1 })
            );
            assert_eq!(format!("{reply:?}"), "AuthorizeReply { nonce_plus_one: 4, .. }");
        }
        let mut secrets = RotatingSecrets::default();
        secrets.rotate(time(0), Duration::from_secs(60), kind, &mut random());
        let sealed = secrets.seal(&key, &mut random());
        assert_eq!(RotatingSecrets::open(&sealed, &key), Ok(secrets));
        assert_eq!(
            RotatingSecrets::open(&sealed, &other),
            Err(Reason::Unreadable { what: "rotating secrets" })
        );
        let mut tampered = sealed.to_vec();
        *tampered.first_mut().unwrap() ^= 1;
        assert_eq!(
            RotatingSecrets::open(&tampered, &key),
            Err(Reason::Unreadable { what: "rotating secrets" })
        );
    }
}

#[test]
fn sessions_granted() {
    for kind in KINDS {
        let (key, old) = (counting(kind), CryptoKey::generate(kind, time(0), &mut random()));
        let auth = Ticket { service: EntityType::AUTH.0.into(), ..ticket(kind) };
        let sealed = TicketReply { tickets: vec![auth.seal(&key, Some(&old), &mut random())] };
        let secret = seal_connection_secret(&[6; 64], &auth.session_key, &mut random());
        let extra = TicketReply { tickets: vec![ticket(kind).seal(&auth.session_key, None, &mut random())] };
        let more = Some((secret.into(), extra.encode().into()));
        let reply = SessionReply { auth: sealed.clone(), more };
        let granted = reply.open(&key, Some(&old)).unwrap();
        assert_eq!((granted.auth, &granted.connection_secret[..]), (auth, &[6; 64][..]));
        assert_eq!(granted.tickets, [ticket(kind)]);
        let bare = SessionReply { auth: sealed, more: None }.open(&key, Some(&old)).unwrap();
        assert_eq!((bare.connection_secret.len(), bare.tickets.len()), (0, 0));
        // Exactly one ticket, and that for AUTH.
        let count = |found| Reason::Value { what: "session reply", field: "tickets", found, expected: "1" };
        assert_eq!(SessionReply::default().open(&key, None).unwrap_err(), count(0));
        let other = TicketReply { tickets: vec![ticket(kind).seal(&key, None, &mut random())] };
        let error = SessionReply { auth: other, more: None }.open(&key, None).unwrap_err();
        assert_eq!(
            error,
            Reason::Value { what: "session reply", field: "service", found: 4, expected: "32, AUTH" }
        );
    }
}

#[test]
fn caps_and_names() {
    let caps = Caps::of_text("allow rwx pool=x");
    assert_eq!((caps.text(), caps.allow_all), (Some("allow rwx pool=x"), false));
    assert_eq!(Caps::default().text(), None);
    assert_eq!((Caps { blob: Bytes::from_static(&[1, 0, 0, 0, 65, 66]), ..caps }).text(), None);
    for (text, kind, id) in [
        ("mon.", EntityType::MON, ""),
        ("client.a.b", EntityType::CLIENT, "a.b"),
        ("osd.3", EntityType::OSD, "3"),
    ] {
        let entity: Entity = text.parse().unwrap();
        assert_eq!((entity.kind, entity.id.as_str(), entity.to_string().as_str()), (kind, id, text));
    }
    for text in ["admin", "", "host.a", ".x"] {
        assert!(text.parse::<Entity>().is_err(), "{text}");
    }
}

/// cephx spec §4.8, "Rotation".
#[test]
fn rotation() {
    let (ttl, mut random) = (Duration::from_secs(100), random());
    let mut secrets = RotatingSecrets::default();
    assert!(secrets.is_due(time(0), ttl));
    assert_eq!((secrets.sealing(time(0)), secrets.end()), (None, None));
    let ends = |secrets: &RotatingSecrets| {
        secrets.secrets.iter().map(|(id, key)| (*id, key.expiration.sec)).collect::<Vec<_>>()
    };
    assert!(secrets.rotate(time(1_000), ttl, KeyType::Aes, &mut random));
    assert_eq!(ends(&secrets), [(1, 1_100), (2, 1_200), (3, 1_300)]);
    assert!(!secrets.rotate(time(1_199), ttl, KeyType::Aes, &mut random));
    assert_eq!(secrets.sealing(time(1_199)).unwrap().0, 2);
    // Nobody has rotated yet: the next one is used.
    assert_eq!(secrets.sealing(time(1_200)).unwrap().0, 3);
    assert!(!secrets.is_due(time(1_220), ttl));
    assert!(secrets.is_due(time(1_226), ttl));
    assert!(secrets.rotate(time(1_200), ttl, KeyType::Aes256k, &mut random));
    assert_eq!((ends(&secrets), secrets.max_version), (vec![(2, 1_200), (3, 1_300), (4, 1_400)], 4));
    assert_eq!(secrets.find(1), None);
    assert_eq!(secrets.find(4).unwrap().kind(), KeyType::Aes256k);
    assert_eq!(secrets.find(3).unwrap().kind(), KeyType::Aes);
    // After a long sleep the current one is new; in the last second of time too.
    assert!(secrets.rotate(time(100_000), ttl, KeyType::Aes, &mut random));
    assert_eq!(ends(&secrets), [(4, 1_400), (5, 100_200), (6, 100_300)]);
    secrets.rotate(time(u32::MAX), ttl, KeyType::Aes, &mut random);
    assert_eq!(secrets.secrets.len(), 3);
    let mut keys: Vec<_> =
        secrets.secrets.values().map(|ExpiringKey { key, .. }| key.secret().to_vec()).collect();
    keys.dedup();
    assert_eq!(keys.len(), 3);
}
