//! Which frames are in the bytes that a side writes?

use bytes::Bytes;
use cephwire_protocol::Version;
use cephwire_protocol::codec::v1::{self, Expect};
use cephwire_protocol::codec::{Side, v2};

use super::points::Tag;

/// A frame and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) tag: Tag,
    pub(crate) bytes: Bytes,
}

/// v2's banner without its payload.
const BANNER_HEAD: usize = 10;

/// Listens to both directions of one transport.
pub(crate) enum Tap {
    V1 {
        client: Box<v1::Decoder>,
        server: Box<v1::Decoder>,
        /// The server's addresses so far.
        addresses: u32,
        /// What the answer to the last claim is called.
        opening: Tag,
        /// A reply SEQ waits for the number that belongs to it.
        reply: Option<Piece>,
    },
    V2 {
        client: Box<v2::Decoder>,
        server: Box<v2::Decoder>,
    },
}

impl Tap {
    pub(crate) fn new(version: Version) -> Self {
        match version {
            Version::V1 => {
                let (mut client, mut server) = (v1::Decoder::new(), v1::Decoder::new());
                client.expect(Expect::Banner);
                server.expect(Expect::Banner);
                let (client, server) = (Box::new(client), Box::new(server));
                Self::V1 { client, server, addresses: 0, opening: Tag::ServerIdent, reply: None }
            }
            Version::V2 => {
                let (mut client, mut server) = (v2::Decoder::new(), v2::Decoder::new());
                client.set_revision(v2::Revision::V2_1);
                server.set_revision(v2::Revision::V2_1);
                Self::V2 { client: Box::new(client), server: Box::new(server) }
            }
        }
    }

    /// Cuts what `side` wrote, whole frames, into frames.
    pub(crate) fn cut(&mut self, side: Side, mut bytes: Bytes) -> Vec<Piece> {
        let mut pieces = Vec::new();
        match self {
            Self::V2 { client, server } => {
                let decoder = if side == Side::Client { client } else { server };
                decoder.feed(&bytes);
                while let Some(frame) = decoder.next_frame().expect("a session writes well-formed frames") {
                    let mut frame_bytes = bytes.split_to(decoder.last().len as usize);
                    if let v2::Frame::Banner(_) = frame {
                        let head = frame_bytes.split_to(BANNER_HEAD);
                        pieces.push(Piece { tag: Tag::Banner, bytes: head });
                    }
                    pieces.push(Piece { tag: tag_v2(&frame), bytes: frame_bytes });
                }
            }
            Self::V1 { client, server, addresses, opening, reply } => {
                let decoder = if side == Side::Client { &mut *client } else { &mut *server };
                decoder.feed(&bytes);
                loop {
                    let decoder = if side == Side::Client { &mut *client } else { &mut *server };
                    let frame = decoder.next_frame().expect("a session writes well-formed frames");
                    let Some(frame) = frame else { break };
                    let len = decoder.last().len as usize;
                    let piece = |bytes: &mut Bytes, tag| Piece { tag, bytes: bytes.split_to(len) };
                    match frame {
                        v1::Frame::Banner => {
                            decoder.expect(Expect::Address);
                            pieces.push(piece(&mut bytes, Tag::Banner));
                        }
                        v1::Frame::Address(_) if side == Side::Client => {
                            decoder.expect(Expect::Connect);
                            pieces.push(piece(&mut bytes, Tag::Payload));
                        }
                        v1::Frame::Address(_) => {
                            *addresses += 1;
                            decoder.expect(if *addresses == 2 { Expect::Reply } else { Expect::Address });
                            let tag = if *addresses == 2 { Tag::Other } else { Tag::Payload };
                            pieces.push(piece(&mut bytes, tag));
                        }
                        v1::Frame::Connect(connect) => {
                            let fresh = connect.connect_seq == 0;
                            *opening = if fresh { Tag::ServerIdent } else { Tag::ReconnectOk };
                            let tag = if fresh { Tag::ClientIdent } else { Tag::Reconnect };
                            pieces.push(piece(&mut bytes, tag));
                        }
                        v1::Frame::Reply(v1::ConnectReply { tag, .. }) => match tag {
                            v1::Tag::Ready => {
                                client.expect(Expect::Open);
                                server.expect(Expect::Open);
                                pieces.push(piece(&mut bytes, *opening));
                            }
                            v1::Tag::Seq => {
                                client.expect(Expect::Seq);
                                server.expect(Expect::Seq);
                                *reply = Some(piece(&mut bytes, *opening));
                            }
                            _ => {
                                client.expect(Expect::Connect);
                                server.expect(Expect::Reply);
                                let retry = tag == v1::Tag::RetrySession;
                                let tag = if retry { Tag::RetrySession } else { Tag::Refusal };
                                pieces.push(piece(&mut bytes, tag));
                            }
                        },
                        v1::Frame::Seq(_) => {
                            decoder.expect(Expect::Open);
                            let piece = piece(&mut bytes, Tag::Other);
                            // A server writes its number together with the reply.
                            pieces.push(match reply.take() {
                                Some(Piece { tag, bytes }) => {
                                    Piece { tag, bytes: [bytes, piece.bytes].concat().into() }
                                }
                                None => piece,
                            });
                        }
                        v1::Frame::Message(_) => pieces.push(piece(&mut bytes, Tag::Message)),
                        v1::Frame::Ack(_) => pieces.push(piece(&mut bytes, Tag::Ack)),
                        v1::Frame::Keepalive2(_) => pieces.push(piece(&mut bytes, Tag::Keepalive2)),
                        v1::Frame::Keepalive2Ack(_) => pieces.push(piece(&mut bytes, Tag::Keepalive2Ack)),
                        _ => pieces.push(piece(&mut bytes, Tag::Other)),
                    }
                }
            }
        }
        assert!(bytes.is_empty(), "a session writes whole frames");
        pieces
    }
}

fn tag_v2(frame: &v2::Frame) -> Tag {
    match frame {
        v2::Frame::Banner(_) => Tag::Payload,
        v2::Frame::Hello(_) => Tag::Hello,
        v2::Frame::AuthRequest(_) => Tag::AuthRequest,
        v2::Frame::AuthDone(_) => Tag::AuthDone,
        v2::Frame::AuthSignature(_) => Tag::AuthSignature,
        v2::Frame::ClientIdent(_) => Tag::ClientIdent,
        v2::Frame::ServerIdent(_) => Tag::ServerIdent,
        v2::Frame::SessionReconnect(_) => Tag::Reconnect,
        v2::Frame::SessionReconnectOk(_) => Tag::ReconnectOk,
        v2::Frame::SessionRetry(_) => Tag::RetrySession,
        v2::Frame::SessionReset { .. } | v2::Frame::SessionRetryGlobal(_) | v2::Frame::Wait => Tag::Refusal,
        v2::Frame::Message(_) => Tag::Message,
        v2::Frame::Ack(_) => Tag::Ack,
        v2::Frame::Keepalive2(_) => Tag::Keepalive2,
        v2::Frame::Keepalive2Ack(_) => Tag::Keepalive2Ack,
        _ => Tag::Other,
    }
}
