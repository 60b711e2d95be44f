//! What somebody in between can try who knows no key: take a mode away, change what was said, take signatures away or
//! alter them. The bytes are decoded, changed, and encoded again with right crcs, so that only cephx can notice.

use bytes::Buf;
use cephwire_protocol::auth::Reason;
use cephwire_protocol::auth::cephx::{KeyType, ServiceOptions, WalletOptions};
use cephwire_protocol::codec::v2::{Frame, Revision, mode};
use cephwire_protocol::codec::{Chunks, Features, Flags, Header, Malformed, Message, MessageType, v1, v2};
use cephwire_protocol::{Error, Version};

use super::cluster::{Cluster, KINDS, client, reason};
use super::pair::{Node, Pair};

/// Changes frames of v2; from the dialer or not.
fn v2_between<'a>(
    mut change: impl FnMut(bool, &mut Frame) + 'a,
) -> impl FnMut(bool, Vec<u8>) -> Vec<u8> + 'a {
    let mut halves = [(v2::Decoder::new(), v2::Encoder::new()), (v2::Decoder::new(), v2::Encoder::new())];
    // Once all is encrypted, nothing can be read any more.
    let mut blind = false;
    move |from_dialer, bytes| {
        if blind {
            return bytes;
        }
        let (decoder, encoder) = &mut halves[usize::from(from_dialer)];
        decoder.feed(&bytes);
        let (mut out, mut read) = (Chunks::new(), 0);
        while !blind && let Some(mut frame) = decoder.next_frame().unwrap() {
            read += decoder.last().len as usize;
            blind = matches!(&frame, Frame::AuthDone(done) if done.mode == mode::SECURE);
            change(from_dialer, &mut frame);
            encoder.encode(&frame, &mut out).unwrap();
            if let Frame::Banner(_) = frame {
                decoder.set_revision(Revision::V2_1);
                encoder.set_revision(Revision::V2_1);
            }
        }
        // Each end sends whole frames at a time.
        out.put_slice(&bytes[read..]);
        out.copy_to_bytes(out.remaining()).to_vec()
    }
}

fn signature_is_wrong(error: &Option<Error>) -> bool {
    matches!(error, Some(Error::Violation(violation)) if violation.found == "a wrong signature")
}

/// The signatures cover all that both said: who changes anything is noticed, on both sides.
#[test]
fn v2_transcripts() {
    for kind in KINDS {
        for monitor in [true, false] {
            let cluster = Cluster::new(kind);
            let wallet = cluster.wallet("client.admin");
            cluster.log_in(Version::V2, &wallet);
            let acceptor =
                if monitor { cluster.monitor() } else { cluster.osd() }.modes(&[mode::CRC, mode::SECURE]);
            // Without a change, it works.
            let dialer = client(&wallet).modes(&[mode::CRC]);
            Pair::tapped(Version::V2, &dialer, &acceptor, &mut v2_between(|_, _| {})).expect_open();
            // Takes secure mode away: both believe that the other wants crc.
            let dialer = client(&wallet).modes(&[mode::SECURE, mode::CRC]);
            let mut changed = 0;
            let pair = Pair::tapped(
                Version::V2,
                &dialer,
                &acceptor,
                &mut v2_between(|_, frame| {
                    if let Frame::AuthRequest(request) = frame {
                        request.preferred_modes = vec![mode::CRC];
                        changed += 1;
                    }
                }),
            );
            assert!(!pair.is_open() && changed == 1);
            assert!(
                signature_is_wrong(&pair.acceptor.error) || signature_is_wrong(&pair.dialer.error),
                "{pair:?}"
            );
            // Changes an address in a HELLO, one way or the other.
            for which in [true, false] {
                let pair = Pair::tapped(
                    Version::V2,
                    &client(&wallet).modes(&[mode::CRC]),
                    &acceptor,
                    &mut v2_between(|from_dialer, frame| match frame {
                        Frame::Hello(hello) if from_dialer == which => hello.peer_addr.nonce ^= 1,
                        _ => {}
                    }),
                );
                assert!(!pair.is_open());
                assert!(signature_is_wrong(&pair.acceptor.error) || signature_is_wrong(&pair.dialer.error));
            }
            // Alters the one signature or the other; or takes it away, zeros in its place.
            for (which, zeros) in [(true, false), (true, true), (false, false), (false, true)] {
                let pair = Pair::tapped(
                    Version::V2,
                    &client(&wallet).modes(&[mode::CRC]),
                    &acceptor,
                    &mut v2_between(|from_dialer, frame| match frame {
                        Frame::AuthSignature(signature) if from_dialer == which => {
                            if zeros {
                                *signature = [0; 32];
                            } else {
                                signature[31] ^= 1;
                            }
                        }
                        _ => {}
                    }),
                );
                assert!(!pair.is_open());
                let victim = if which { &pair.acceptor } else { &pair.dialer };
                assert!(signature_is_wrong(&victim.error), "{:?}", victim.error);
            }
        }
    }
}

/// The server's word on the mode, changed on the way: never one that was not offered, and never another than it meant.
#[test]
fn v2_modes() {
    let cluster = Cluster::new(KeyType::Aes);
    let wallet = cluster.wallet("client.admin");
    for (offered, said) in
        [(&[mode::SECURE][..], mode::CRC), (&[mode::CRC], mode::SECURE), (&[mode::SECURE, mode::CRC], 3)]
    {
        let pair = Pair::tapped(
            Version::V2,
            &client(&wallet).modes(offered),
            &cluster.monitor(),
            &mut v2_between(|_, frame| {
                if let Frame::AuthDone(done) = frame {
                    done.mode = said;
                }
            }),
        );
        assert!(!pair.is_open());
        let Some(Error::Denied { source: denied, .. }) = &pair.dialer.error else {
            panic!("{:?}", pair.dialer.error)
        };
        assert_eq!((&denied.offered_modes[..], &denied.allowed_modes[..]), (offered, &[said][..]));
        // What came with it is not believed.
        assert_eq!(wallet.global_id(), None);
    }
    // From secure to crc where both are offered: the client reads on in the clear, and does not understand.
    let dialer = client(&wallet).modes(&[mode::SECURE, mode::CRC]);
    let pair = Pair::tapped(
        Version::V2,
        &dialer,
        &cluster.monitor(),
        &mut v2_between(|_, frame| {
            if let Frame::AuthDone(done) = frame {
                assert_eq!(std::mem::replace(&mut done.mode, mode::CRC), mode::SECURE);
            }
        }),
    );
    assert!(!pair.dialer.session.is_open() && !pair.acceptor.session.is_open());
    assert!(matches!(pair.dialer.error, Some(Error::Malformed { .. })), "{:?}", pair.dialer.error);
}

/// One bit of an encrypted frame.
#[test]
fn v2_secure_frames() {
    let cluster = Cluster::new(KeyType::Aes256k);
    let wallet = cluster.wallet("client.admin");
    cluster.log_in(Version::V2, &wallet);
    let mut pair = Pair::new(Version::V2, &client(&wallet).modes(&[mode::SECURE]), &cluster.osd());
    pair.expect_open();
    let _ = pair.dialer.session.send(ping());
    pair.run(&mut |_, mut bytes| {
        bytes[70] ^= 1;
        bytes
    });
    let error = pair.acceptor.error.as_ref().unwrap();
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    assert!(std::error::Error::source(error).is_some_and(|source| source.is::<Malformed>()), "{error:?}");
    assert!(pair.acceptor.received.is_empty());
}

fn ping() -> Message {
    let header = Header { kind: MessageType::PING, ..Header::default() };
    Message { header, front: vec![1; 100].into(), ..Message::default() }
}

/// Changes the messages of v1 on an open stream; both sides have these features.
fn v1_between<'a>(
    features: Features,
    mut change: impl FnMut(&mut v1::MessageFrame) + 'a,
) -> impl FnMut(bool, Vec<u8>) -> Vec<u8> + 'a {
    let signature = features.contains(Features::MSG_AUTH);
    let framing = v1::Framing { signature, header_crc: true, data_crc: true };
    move |_, bytes| {
        let (mut decoder, mut encoder) = (v1::Decoder::new(), v1::Encoder::new());
        decoder.set_framing(framing);
        encoder.set_framing(framing);
        decoder.expect(v1::Expect::Open);
        decoder.feed(&bytes);
        let mut out = Chunks::new();
        while let Some(mut frame) = decoder.next_frame().unwrap() {
            if let v1::Frame::Message(message) = &mut frame {
                change(message);
            }
            encoder.encode(&frame, &mut out).unwrap();
        }
        out.copy_to_bytes(out.remaining()).to_vec()
    }
}

/// Every message is signed, in the new form and in the old one; both ways.
#[test]
fn v1_signatures() {
    type Change = fn(&mut v1::MessageFrame);
    let changes: [(&str, Change); 6] = [
        ("a wrong signature of message 2", |message| message.signature ^= 1),
        ("no signature of message 2", |message| (message.signature, message.flags) = (0, Flags::COMPLETE)),
        ("no signature of message 2", |message| message.flags = Flags::COMPLETE),
        ("a wrong signature of message 2", |message| message.message.front = vec![2; 100].into()),
        ("a wrong signature of message 2", |message| message.message.header.tid += 1),
        ("a wrong signature of message 3", |message| message.seq += 1),
    ];
    for kind in KINDS {
        for old_form in [false, true] {
            let cluster = Cluster::new(kind);
            let options = WalletOptions { require_challenge: !old_form, ..WalletOptions::default() };
            let wallet = cluster.wallet_with("client.admin", options);
            cluster.log_in(Version::V1, &wallet);
            let lenient = ServiceOptions { require_version: 1, ..ServiceOptions::default() };
            let osd = Node::new("osd.0", cluster.osd_auth(lenient));
            let mut dialer = client(&wallet);
            if old_form {
                let features = &mut dialer.policy.features_supported;
                *features = Features(features.0 & !Features::CEPHX_V2.0);
            }
            for (n, (found, change)) in changes.into_iter().enumerate() {
                for from_dialer in [true, false] {
                    let mut pair = Pair::new(Version::V1, &dialer, &osd);
                    pair.expect_open();
                    // The first message arrives as it is.
                    assert_eq!(pair.send(from_dialer, ping()).len(), 1);
                    let from = if from_dialer { &mut pair.dialer } else { &mut pair.acceptor };
                    from.session.send(ping()).unwrap();
                    pair.run(&mut v1_between(Features::MSG_AUTH, change));
                    let victim = if from_dialer { &pair.acceptor } else { &pair.dialer };
                    if n == 3 && old_form && kind == KeyType::Aes {
                        // The old form covers nothing of the contents, as one block of ciphertext is not enough: that
                        // is CVE-2018-1129, and why there is a new form.
                        assert_eq!(victim.received.len(), 1);
                        continue;
                    }
                    assert!(victim.received.is_empty());
                    let Some(Error::Violation(violation)) = &victim.error else {
                        panic!("{:?}", victim.error)
                    };
                    assert_eq!(
                        (violation.phase, violation.found.as_str()),
                        ("open", found),
                        "{kind} {old_form}"
                    );
                }
            }
        }
    }
}

/// One side signs and the other does not: that is noticed with the first message, not believed.
#[test]
fn v1_who_does_not_sign() {
    let cluster = Cluster::new(KeyType::Aes);
    let mute = cluster
        .wallet_with("client.admin", WalletOptions { sign_messages: false, ..WalletOptions::default() });
    cluster.log_in(Version::V1, &mute);
    let mut pair = Pair::new(Version::V1, &client(&mute), &cluster.osd());
    pair.expect_open();
    assert!(pair.send(true, ping()).is_empty());
    let Some(Error::Violation(violation)) = &pair.acceptor.error else { panic!() };
    assert_eq!(violation.found, "no signature of message 1");
}

/// v1: the reply that proves the service, taken out of READY or SEQ. (Ceph's client goes on without it.)
#[test]
fn v1_the_reply_is_taken_away() {
    for kind in KINDS {
        let cluster = Cluster::new(kind);
        let wallet = cluster.wallet("client.admin");
        cluster.log_in(Version::V1, &wallet);
        let mut done = false;
        let mut between = |from_dialer: bool, mut bytes: Vec<u8>| {
            // The reply of tag SEQ: 26 bytes, of which 21 to 25 are the authorizer's length.
            if !from_dialer && bytes.first() == Some(&13) && !done {
                let len = u32::from_le_bytes(bytes[21..25].try_into().unwrap()) as usize;
                bytes.drain(26..26 + len);
                bytes[21..25].fill(0);
                done = true;
            }
            bytes
        };
        let pair = Pair::tapped(Version::V1, &client(&wallet), &cluster.osd(), &mut between);
        assert!(done && !pair.dialer.session.is_open());
        assert_eq!(reason(&pair.dialer.error), Reason::ReplyMissing);
    }
}
