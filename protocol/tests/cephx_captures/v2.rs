//! Connections of v2: payloads in frames, signatures over the transcript, encrypted streams.

use bytes::Bytes;
use cephwire_protocol::auth::cephx::authorizer::{AuthorizeChallenge, AuthorizeReply, Authorizer};
use cephwire_protocol::auth::cephx::monitor::{Introduction, Request, ServerChallenge};
use cephwire_protocol::auth::cephx::{CryptoKey, sign_transcript};
use cephwire_protocol::codec::v2::{Decoder, Frame, Keys as FrameKeys, Revision, mode};
use cephwire_protocol::codec::{Message, MessageType, Side};

use super::Tally;
use super::keys::{Keys, Talk};
use super::pcap::Connection;

/// What the server said last about authentication.
enum Last {
    Nothing,
    Refused,
    Done(u32),
}

/// Whether all keys were known that it needs.
pub(crate) fn connection(connection: &Connection, keys: &mut Keys, tally: &mut Tally) -> bool {
    let before = *tally;
    let mut decoders = [Decoder::new(), Decoder::new()];
    for (decoder, bytes) in decoders.iter_mut().zip([&connection.client, &connection.server]) {
        decoder.set_revision(Revision::V2_1);
        decoder.record(true);
        decoder.feed(bytes);
    }
    let [client, server] = &mut decoders;
    // The server's half is in the clear up to AUTH_DONE; then as many requests of the client as there were answers.
    let (mut replies, mut last) = (Vec::new(), Last::Nothing);
    while matches!(last, Last::Nothing | Last::Refused) {
        match server.next_frame().unwrap() {
            None => break,
            Some(Frame::AuthReplyMore(payload)) => replies.push(Some(payload)),
            Some(Frame::AuthBadMethod(_)) => {
                replies.push(None);
                last = Last::Refused;
            }
            Some(Frame::AuthDone(done)) => {
                replies.push(Some(done.payload));
                last = Last::Done(done.mode);
            }
            Some(_) => {}
        }
    }
    let mut requests = Vec::new();
    while requests.len() < replies.len() {
        match client.next_frame().unwrap().unwrap() {
            Frame::AuthRequest(request) => requests.push(request.payload),
            Frame::AuthRequestMore(payload) => requests.push(payload),
            _ => {}
        }
    }
    let Some(first) = requests.first() else { return true };
    let to_monitor = first.first() == Some(&10);
    let mut talk = Talk::default();
    let agreed = if to_monitor {
        monitor(&requests, &replies, &mut talk, keys, tally)
    } else {
        match service(&requests, &replies, keys, tally) {
            Some(agreed) => agreed,
            None => {
                *tally = before;
                return false;
            }
        }
    };
    let (Some((session_key, secret)), Last::Done(connection_mode)) = (agreed, last) else { return true };
    *(if to_monitor { &mut tally.monitors } else { &mut tally.services }) += 1;
    assert_eq!(secret.len(), if connection_mode == mode::SECURE { 64 } else { 0 });
    let messages = open(&mut decoders, &session_key, &secret, tally);
    if to_monitor {
        keys.messages(talk, &messages[0], &messages[1], tally);
    }
    true
}

type Agreed = Option<(CryptoKey, Vec<u8>)>;

fn monitor(
    requests: &[Bytes],
    replies: &[Option<Bytes>],
    talk: &mut Talk,
    keys: &mut Keys,
    tally: &mut Tally,
) -> Agreed {
    let introduction = Introduction::decode(&requests[0]).unwrap();
    assert_eq!(introduction.encode(), requests[0]);
    let challenge = ServerChallenge::decode(replies[0].as_ref()?).unwrap();
    assert_eq!(challenge.encode(), *replies[0].as_ref()?);
    *talk = Talk { name: Some(introduction.name), challenge: challenge.0 };
    let Ok(Request::Authenticate(asked)) = Request::decode(requests.get(1)?) else { panic!() };
    assert_eq!(Request::Authenticate(asked.clone()).encode(), requests[1]);
    keys.admitted(talk, &asked, replies[1].as_deref(), tally)
}

/// What was agreed with a service, if anything; nothing at all if a key is not known.
fn service(requests: &[Bytes], replies: &[Option<Bytes>], keys: &Keys, tally: &mut Tally) -> Option<Agreed> {
    let (mut challenge, mut agreed) = (None, None);
    for (n, (request, reply)) in requests.iter().zip(replies).enumerate() {
        let authorizer = Authorizer::decode(request).unwrap();
        assert_eq!(authorizer.encode(), *request);
        let key = keys.session(&authorizer, tally);
        let Some(reply) = reply else {
            // The ticket may be good: its service has missed a rotation.
            tally.refusals += 1;
            return Some(None);
        };
        let key = key?;
        let proof = authorizer.open(&key).unwrap();
        assert_eq!(proof.challenge, challenge.map(AuthorizeChallenge::answer));
        if n == 0 {
            challenge = Some(AuthorizeChallenge::open(reply, &key).unwrap());
            continue;
        }
        let done = AuthorizeReply::open(reply, &key).unwrap();
        assert_eq!(done.nonce_plus_one, proof.nonce.wrapping_add(1));
        agreed = Some((key, done.connection_secret.to_vec()));
    }
    Some(agreed)
}

/// Checks the signatures, and decodes both streams to their end; returns the messages of authentication.
fn open(
    decoders: &mut [Decoder; 2],
    session_key: &CryptoKey,
    secret: &[u8],
    tally: &mut Tally,
) -> [Vec<Message>; 2] {
    let said = decoders.each_mut().map(Decoder::take_record);
    for (n, (decoder, from)) in decoders.iter_mut().zip([Side::Client, Side::Server]).enumerate() {
        decoder.record(false);
        if !secret.is_empty() {
            decoder.set_keys(FrameKeys::from_secret(secret).unwrap(), from).unwrap();
        }
        match decoder.next_frame().unwrap() {
            Some(Frame::AuthSignature(signature)) => {
                assert_eq!(signature, sign_transcript(session_key, &said[1 - n]));
                tally.transcripts += 1;
            }
            None => {}
            other => panic!("{other:?}"),
        }
    }
    let [client, server] = decoders;
    let mut messages = [Vec::new(), Vec::new()];
    let mut frames = 0;
    let mut next = |decoder: &mut Decoder, messages: &mut Vec<Message>| {
        let frame = decoder.next_frame().unwrap()?;
        frames += usize::from(decoder.last().secure);
        if let Frame::Message(message) = &frame
            && matches!(message.message.header.kind, MessageType::AUTH | MessageType::AUTH_REPLY)
        {
            messages.push(message.message.clone());
        }
        Some(frame)
    };
    // The server says whether frames are compressed from here on.
    if let Some(Frame::CompressionDone(done)) = next(server, &mut messages[1]) {
        assert!(matches!(next(client, &mut messages[0]), Some(Frame::CompressionRequest(_))));
        if done.compress {
            client.set_compression(Some(done.method));
            server.set_compression(Some(done.method));
        }
    }
    while next(server, &mut messages[1]).is_some() {}
    while next(client, &mut messages[0]).is_some() {}
    tally.sealed += frames;
    messages
}
