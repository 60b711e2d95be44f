//! Connections of v1: connect and reply until they agree, then messages, of which services' are signed.

use cephwire_protocol::auth::cephx::authorizer::{AuthorizeChallenge, AuthorizeReply, Authorizer};
use cephwire_protocol::auth::cephx::{CryptoKey, MessageSigner};
use cephwire_protocol::codec::v1::{Connect, Decoder, Expect, Frame, Framing, Signer, Tag};
use cephwire_protocol::codec::{Features, Flags, Message, MessageType};

use super::Tally;
use super::keys::{Keys, Talk};
use super::pcap::Connection;

fn next(decoder: &mut Decoder, expect: Expect) -> Option<Frame> {
    decoder.expect(expect);
    decoder.next_frame().unwrap()
}

/// Whether all keys were known that it needs.
pub(crate) fn connection(connection: &Connection, keys: &mut Keys, tally: &mut Tally) -> bool {
    let mut counted = Tally::default();
    let (mut client, mut server) = (Decoder::new(), Decoder::new());
    client.feed(&connection.client);
    server.feed(&connection.server);
    for (decoder, expects) in [
        (&mut client, &[Expect::Banner, Expect::Address][..]),
        (&mut server, &[Expect::Banner, Expect::Address, Expect::Address]),
    ] {
        for expect in expects {
            if next(decoder, *expect).is_none() {
                return true;
            }
        }
    }
    let (mut nonce, mut challenge, mut key) = (None, None, None::<CryptoKey>);
    let (connect, reply) = loop {
        let Some(Frame::Connect(connect)) = next(&mut client, Expect::Connect) else {
            return finish(tally, counted);
        };
        let Some(Frame::Reply(reply)) = next(&mut server, Expect::Reply) else {
            return finish(tally, counted);
        };
        if !connect.authorizer.is_empty() {
            let authorizer = Authorizer::decode(&connect.authorizer).unwrap();
            assert_eq!(authorizer.encode(), connect.authorizer);
            key = keys.session(&authorizer, &mut counted);
            if reply.tag == Tag::BadAuthorizer {
                // The ticket may be good: its service has missed a rotation.
                assert!(reply.authorizer.is_empty());
                counted.refusals += 1;
                continue;
            }
            let Some(key) = &key else { return false };
            let proof = authorizer.open(key).unwrap();
            assert_eq!(*nonce.get_or_insert(proof.nonce), proof.nonce, "the nonce of a connection changes");
            if reply.tag == Tag::ChallengeAuthorizer {
                challenge = Some(AuthorizeChallenge::open(&reply.authorizer, key).unwrap());
                continue;
            }
            if !reply.authorizer.is_empty() {
                assert_eq!(proof.challenge, challenge.map(AuthorizeChallenge::answer));
                let done = AuthorizeReply::open(&reply.authorizer, key).unwrap();
                assert_eq!(
                    (done.nonce_plus_one, done.connection_secret.len()),
                    (proof.nonce.wrapping_add(1), 0)
                );
            }
        }
        if matches!(reply.tag, Tag::Ready | Tag::Seq) {
            break (connect, reply);
        }
    };
    if reply.tag == Tag::Seq {
        let seqs = [next(&mut server, Expect::Seq), next(&mut client, Expect::Seq)];
        if seqs.iter().any(Option::is_none) {
            return finish(tally, counted);
        }
    }
    let features = connect.features.intersection(reply.features);
    let framing =
        Framing { signature: features.contains(Features::MSG_AUTH), header_crc: true, data_crc: true };
    let signer = key.as_ref().map(|key| MessageSigner::new(key, features));
    let sides = [&mut client, &mut server].map(|decoder| {
        decoder.set_framing(framing);
        messages(decoder, signer.as_ref(), &mut counted)
    });
    counted.services += usize::from(key.is_some());
    if is_to_monitor(&connect, &sides) && keys.messages(Talk::default(), &sides[0], &sides[1], &mut counted) {
        counted.monitors += 1;
    }
    finish(tally, counted)
}

fn finish(tally: &mut Tally, counted: Tally) -> bool {
    tally.monitors += counted.monitors;
    tally.services += counted.services;
    tally.refusals += counted.refusals;
    tally.tickets += counted.tickets;
    tally.messages += counted.messages;
    tally.unsigned += counted.unsigned;
    true
}

fn is_to_monitor(connect: &Connect, sides: &[Vec<Message>; 2]) -> bool {
    connect.authorizer.is_empty() && !sides[0].is_empty()
}

/// Checks all messages; returns those of authentication.
fn messages(decoder: &mut Decoder, signer: Option<&MessageSigner>, tally: &mut Tally) -> Vec<Message> {
    let mut auth = Vec::new();
    while let Some(frame) = next(decoder, Expect::Open) {
        let Frame::Message(message) = frame else { continue };
        if let Some(signer) = signer {
            if message.flags.contains(Flags::SIGNED) {
                assert_eq!(message.signature, signer.sign(&decoder.last().signed), "message {}", message.seq);
                tally.messages += 1;
            } else {
                tally.unsigned += 1;
            }
        }
        if matches!(message.message.header.kind, MessageType::AUTH | MessageType::AUTH_REPLY) {
            auth.push(message.message);
        }
    }
    auth
}
