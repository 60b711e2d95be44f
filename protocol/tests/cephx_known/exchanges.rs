//! Whole exchanges, from the tables of `testdata/vectors`: each payload, what it says, and what both sides know then.

use bytes::Bytes;
use cephwire_protocol::auth::Reason;
use cephwire_protocol::auth::cephx::authorizer::{Authorize, AuthorizeChallenge, AuthorizeReply, Authorizer};
use cephwire_protocol::auth::cephx::monitor::{Introduction, Reply, Request, ServerChallenge, SessionReply};
use cephwire_protocol::auth::cephx::{CryptoKey, Random, Ticket, sign_transcript};
use cephwire_protocol::codec::v2::{Decoder, Frame, Keys};
use cephwire_protocol::codec::{Side, v1};

use super::{aes, hex, unhex};

/// The bytes of a row.
fn row(file: &str, name: &str) -> Vec<u8> {
    let path = format!("{}/../testdata/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let row = text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    unhex(row.rsplit(' ').next().unwrap())
}

fn key(file: &str, name: &str) -> CryptoKey {
    aes(&hex(&row(file, name)))
}

const V2: &str = "frames-v2.txt";

/// The payloads of a monitor's handshake in order, checked with the entity's key.
fn monitor_handshake(
    entity_key: &CryptoKey,
    payloads: &[Bytes],
    numbers: [u64; 4],
) -> (CryptoKey, Vec<u8>, Vec<Ticket>) {
    let [first, challenge, request, reply] = payloads else { panic!("{}", payloads.len()) };
    let [server_challenge, client_challenge, proof, other_keys] = numbers;
    let first = Introduction::decode(first).unwrap();
    assert_eq!(
        (first.name.to_string(), first.global_id, first.methods.clone()),
        ("client.admin".into(), 0, None)
    );
    assert_eq!(first.encode(), payloads[0]);
    assert_eq!(ServerChallenge::decode(challenge), Ok(ServerChallenge(server_challenge)));
    assert_eq!(ServerChallenge(server_challenge).encode(), payloads[1]);
    let decoded = Request::decode(request).unwrap();
    assert_eq!(decoded.encode(), payloads[2]);
    let Request::Authenticate(authenticate) = decoded else { panic!() };
    assert_eq!((authenticate.version, authenticate.client_challenge), (3, client_challenge));
    assert_eq!((authenticate.proof, u64::from(authenticate.other_keys)), (proof, other_keys));
    assert_eq!(authenticate.old_ticket, Default::default());
    assert_eq!(entity_key.proof(server_challenge, client_challenge), proof);
    let decoded = Reply::decode(reply).unwrap();
    assert_eq!(decoded.encode(), payloads[3]);
    let Reply::Session(session) = decoded else { panic!() };
    let wrong = session.open(&aes("00000000000000000000000000000000"), None).unwrap_err();
    assert_eq!(wrong, Reason::Unreadable { what: "session key" });
    let granted = session.open(entity_key, None).unwrap();
    assert_eq!((granted.auth.service, granted.auth.validity.as_secs()), (32, 72 * 3600));
    // What a monitor would send anew is the same again: nothing is lost in between.
    let mut random = Random::new([0; 32]);
    let sealed = granted.auth.seal(entity_key, None, &mut random);
    assert_eq!(session.auth.tickets, [sealed]);
    (granted.auth.session_key, granted.connection_secret.to_vec(), granted.tickets)
}

#[test]
fn a_monitor_in_crc_mode() {
    let mut decoder = Decoder::new();
    let mut payloads = Vec::new();
    let mut said = [row(V2, "crc-banner"), row(V2, "crc-banner")];
    decoder.feed(&said[0]);
    decoder.next_frame().unwrap().unwrap();
    for (side, name) in [
        (0, "crc-client-hello"),
        (1, "crc-server-hello"),
        (0, "crc-client-auth-request"),
        (1, "crc-server-auth-reply-more"),
        (0, "crc-client-auth-request-more"),
        (1, "crc-server-auth-done"),
    ] {
        decoder.feed(&row(V2, name));
        said[side].extend_from_slice(&row(V2, name));
        payloads.extend(payload(decoder.next_frame().unwrap().unwrap()));
    }
    let entity_key = key(V2, "crc-entity-key");
    let numbers = [0xecec_6b09_f720_d40d, 0x8255_7126_659b_7836, 0x6ccc_aa8d_cba1_ce88, 0x20];
    let (session_key, secret, tickets) = monitor_handshake(&entity_key, &payloads, numbers);
    assert_eq!((&session_key, secret.len(), tickets.len()), (&key(V2, "crc-session-key"), 0, 0));
    for (name, said) in [("crc-client-auth-signature", &said[1]), ("crc-server-auth-signature", &said[0])] {
        decoder.feed(&row(V2, name));
        let signature = sign_transcript(&session_key, said);
        assert_eq!(decoder.next_frame().unwrap(), Some(Frame::AuthSignature(signature)));
    }
}

/// The complete streams of a session: from the entity's key alone to the last encrypted frame.
#[test]
fn a_monitor_in_secure_mode() {
    let mut decoders = [Decoder::new(), Decoder::new()];
    for (decoder, stream) in decoders.iter_mut().zip(["secure-client-stream", "secure-server-stream"]) {
        decoder.record(true);
        decoder.feed(&row(V2, stream));
        for expected in ["banner", "HELLO"] {
            assert_eq!(
                decoder.next_frame().unwrap().unwrap().tag().map_or("banner", |tag| tag.name()),
                expected
            );
        }
    }
    let mut payloads = Vec::new();
    for _ in 0..2 {
        payloads.extend(
            decoders.iter_mut().filter_map(|decoder| payload(decoder.next_frame().unwrap().unwrap())),
        );
    }
    let numbers = [0xe54b_c7b4_0f1c_935e, 0xe39c_0acc_a4a5_8037, 0x1431_4489_7d5e_664f, 0x20];
    let (session_key, secret, tickets) = monitor_handshake(&key(V2, "secure-entity-key"), &payloads, numbers);
    assert_eq!((&session_key, tickets.len()), (&key(V2, "secure-session-key"), 0));
    assert_eq!(secret, row(V2, "secure-connection-secret"));
    let said = decoders.each_mut().map(|decoder| decoder.take_record());
    let names = [
        &["AUTH_SIGNATURE", "CLIENT_IDENT", "MESSAGE", "MESSAGE"][..],
        &["AUTH_SIGNATURE", "SERVER_IDENT", "MESSAGE", "MESSAGE", "MESSAGE"],
    ];
    for (n, (decoder, from)) in decoders.iter_mut().zip([Side::Client, Side::Server]).enumerate() {
        decoder.set_keys(Keys::from_secret(&secret).unwrap(), from).unwrap();
        for expected in names[n] {
            let frame = decoder.next_frame().unwrap().unwrap();
            assert_eq!(frame.tag().unwrap().name(), *expected);
            if let Frame::AuthSignature(signature) = frame {
                assert_eq!(signature, sign_transcript(&session_key, &said[1 - n]));
            }
        }
        assert_eq!(decoder.next_frame().unwrap(), None);
    }
}

fn payload(frame: Frame) -> Option<Bytes> {
    match frame {
        Frame::AuthRequest(request) => Some(request.payload),
        Frame::AuthReplyMore(payload) | Frame::AuthRequestMore(payload) => Some(payload),
        Frame::AuthDone(done) => Some(done.payload),
        _ => None,
    }
}

/// msgr1 spec §16: client 4120 with an OSD.
#[test]
fn a_service_in_v1() {
    const V1: &str = "frames-v1.txt";
    let session_key = key(V1, "cephx-session-key");
    let authorizer = |name| {
        let mut decoder = v1::Decoder::new();
        decoder.expect(v1::Expect::Connect);
        decoder.feed(&row(V1, name));
        let Some(v1::Frame::Connect(connect)) = decoder.next_frame().unwrap() else { panic!() };
        (Authorizer::decode(&connect.authorizer).unwrap(), connect.authorizer)
    };
    let reply = |name| {
        let mut decoder = v1::Decoder::new();
        decoder.expect(v1::Expect::Reply);
        decoder.feed(&row(V1, name));
        let Some(v1::Frame::Reply(reply)) = decoder.next_frame().unwrap() else { panic!() };
        reply.authorizer
    };
    let mut random = Random::new([0; 32]);
    let (first, bytes) = authorizer("cephx-connect-1");
    assert_eq!(
        (first.global_id, first.service, first.ticket.secret_id, first.ticket.blob.len()),
        (4120, 4, 2, 112)
    );
    let nonce = 0xae7d_e5da_b30a_1e3a;
    assert_eq!(first.open(&session_key), Ok(Authorize { nonce, challenge: None }));
    assert_eq!(first.encode(), bytes);
    let challenge = AuthorizeChallenge::open(&reply("cephx-reply-challenge"), &session_key).unwrap();
    assert_eq!(challenge, AuthorizeChallenge(0x80fa_7aaa_651f_053e));
    assert_eq!(challenge.seal(&session_key, &mut random), reply("cephx-reply-challenge"));
    let (second, bytes) = authorizer("cephx-connect-2");
    let proof = Authorize { nonce, challenge: Some(challenge.answer()) };
    assert_eq!(second.open(&session_key), Ok(proof));
    let mut made = first.clone();
    made.prove(proof, &session_key, &mut random);
    assert_eq!((made.encode(), &made), (bytes.to_vec(), &second));
    let done = AuthorizeReply::open(&reply("cephx-reply-seq"), &session_key).unwrap();
    assert_eq!((done.nonce_plus_one, done.connection_secret.len()), (nonce + 1, 0));
    assert_eq!(done.seal(&session_key, &mut random), reply("cephx-reply-seq"));
    assert_eq!(AuthorizeChallenge(u64::MAX).answer(), 0);
}

/// A version of the request that ends before the other keys, as older clients send it, and its reply without more.
#[test]
fn the_oldest_request() {
    let request = unhex("0001 01 0100000000000000 0200000000000000 01 0000000000000000 00000000");
    let Ok(Request::Authenticate(authenticate)) = Request::decode(&request) else { panic!() };
    assert_eq!((authenticate.version, authenticate.other_keys), (1, 0));
    assert_eq!(Request::Authenticate(authenticate).encode(), request);
    let reply = unhex("0001 00000000 01 00000000");
    assert_eq!(Reply::decode(&reply), Ok(Reply::Session(SessionReply::default())));
}
