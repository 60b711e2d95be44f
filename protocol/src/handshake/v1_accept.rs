//! v1, accepting: banner, addresses, then claims until one opens. (Session spec §6.)

use std::fmt;

use bytes::Bytes;
use cephwire_codec::v1::{CONNECT_LOSSY, Connect, ConnectReply, Expect, Frame, Tag};
use cephwire_codec::v2::{method, mode};
use cephwire_codec::{AddrType, EntityAddr, EntityType, Features};

use super::{Answer, Context, Handshake, Next, Opened, Step};
use crate::auth::{self, MakeSigner, Server};
use crate::error::{Denied, Error, Incompatible};
use crate::local::port;
use crate::resume::{Claim, Reply, number};

pub(crate) struct State {
    at: At,
    /// Who verifies the client, and as what type of peer: which methods and keys count depends on that.
    auth: Option<(EntityType, Box<dyn Server>)>,
    /// The claim that waits for its answer, or the last one.
    connect: Connect,
    /// What the authorizer's verification had to say to the client.
    reply: Bytes,
    signer: Option<MakeSigner>,
    /// How often the client connected to this session.
    rounds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Banner,
    Address,
    Connect,
    /// A claim is being judged.
    Judged,
    /// SEQ was answered; the client's number comes.
    Seq,
}

impl State {
    pub(super) fn begin(context: &mut Context<'_>) -> Result<Self, Error> {
        context.put_v1(&Frame::Banner)?;
        context.put_v1(&Frame::Address(context.local.v1_addr()))?;
        context.put_v1(&Frame::Address(context.facts.socket.unwrap_or_default()))?;
        context.expect(Expect::Banner);
        Ok(Self {
            at: At::Banner,
            auth: None,
            connect: Connect::default(),
            reply: Bytes::new(),
            signer: None,
            rounds: 0,
        })
    }

    pub(super) fn phase(&self) -> &'static str {
        match self.at {
            At::Banner | At::Address | At::Connect => "ACCEPTING",
            At::Judged => "ACCEPTING_WAIT_CONNECT_MSG_AUTH",
            At::Seq => "ACCEPTING_HANDLED_CONNECT_MSG",
        }
    }

    /// What comes next.
    fn expected(&self) -> &'static str {
        match self.at {
            At::Banner => "the client's banner",
            At::Address => "the client's address",
            At::Connect => "connect",
            At::Judged => "nothing: the last claim is not answered yet",
            At::Seq => "the client's in_seq",
        }
    }

    /// The client will connect once more, to another session: it is verified anew, with a challenge of its own.
    pub(super) fn rewind(&mut self) {
        self.auth = None;
        self.rounds = 0;
    }

    pub(super) fn awaits_answer(&self) -> bool {
        self.at == At::Judged
    }

    pub(super) fn on(mut self, frame: Frame, context: &mut Context<'_>) -> Next {
        match (self.at, frame) {
            (At::Banner, Frame::Banner) => {
                context.facts.times.banner = Some(context.now);
                context.expect(Expect::Address);
                self.to(At::Address, Step::Quiet)
            }
            (At::Address, Frame::Address(claimed)) => {
                context.facts.addrs = identity(claimed, context.facts.socket).into();
                context.expect(Expect::Connect);
                self.to(At::Connect, Step::Quiet)
            }
            (At::Connect, Frame::Connect(connect)) => {
                self.connect = connect;
                self.rounds += 1;
                if self.rounds > context.local.options.claims {
                    let most = format_args!("at most {} on a connection", context.local.options.claims);
                    return Err(context.wrong("one connect more", most));
                }
                self.judge(context)
            }
            (At::Seq, Frame::Seq(received)) => {
                Ok((None, Step::Open(Opened { received: Some(received), ..Opened::default() })))
            }
            (_, frame) => Err(context.violation(&frame, self.expected())),
        }
    }

    fn to(mut self, at: At, step: Step) -> Next {
        self.at = at;
        Ok((Some(Handshake::V1Accept(self)), step))
    }

    /// Rows 1 to 4 of the table, which need no session. Each connect is judged by itself: of what an earlier one on this
    /// connection announced, proved or failed to prove, nothing is left but the challenge that this one answers.
    fn judge(mut self, context: &mut Context<'_>) -> Next {
        let connect = self.connect.clone();
        (self.reply, self.signer) = (Bytes::new(), None);
        context.unauthenticated();
        let kind = EntityType(u8::try_from(connect.host_type).unwrap_or_default());
        context.facts.peer.kind = kind;
        *context.policy = context.local.policy(kind);
        let expected = context.local.protocol_version(kind, true);
        if connect.protocol_version != expected {
            let (theirs, ours) = (connect.protocol_version, expected);
            let error = context.incompatible(Incompatible::ProtocolVersion { theirs, ours });
            return self.refuse(Tag::BadProtoVer, Some(error), context);
        }
        let policy = &mut *context.policy;
        let by_method = context.local.auth().required_features(kind, connect.authorizer_protocol);
        policy.features_required = policy.features_required.union(by_method);
        let (required, theirs) = (policy.features_required, connect.features);
        let missing = theirs.missing(required);
        if !missing.is_empty() {
            let error = context.incompatible(Incompatible::PeerLacks { missing, required, theirs });
            return self.refuse(Tag::Features, Some(error), context);
        }
        let own = context.local.name().kind;
        // Monitors let everybody but monitors in; those authenticate by messages.
        let method =
            if connect.authorizer.is_empty() { method::UNKNOWN } else { connect.authorizer_protocol };
        context.facts.method = Some(method);
        if own != EntityType::MON || kind == EntityType::MON || method != method::UNKNOWN {
            let kept = self.auth.take().filter(|(as_kind, _)| *as_kind == kind);
            let (_, auth) = self
                .auth
                .insert(kept.unwrap_or_else(|| (kind, context.local.auth().server(&context.peer()))));
            let request = auth::Request {
                method,
                mode: mode::UNKNOWN,
                can_be_challenged: connect.features.contains(Features::CEPHX_V2),
                payload: &connect.authorizer,
            };
            match auth.request(&request) {
                auth::Answer::More(challenge) => {
                    self.reply = challenge;
                    return self.refuse(Tag::ChallengeAuthorizer, None, context);
                }
                auth::Answer::Bad(reason) => {
                    context.facts.refused = Some(reason.clone());
                    let error = context.denied(Denied {
                        accepting: true,
                        offered_methods: vec![method],
                        allowed_methods: auth.methods(),
                        ..reason.into()
                    });
                    return self.refuse(Tag::BadAuthorizer, Some(error), context);
                }
                auth::Answer::Done { payload, secrets, name, global_id, caps } => {
                    self.reply = payload;
                    self.signer = secrets.signer;
                    context.authenticated(name, global_id, caps);
                    context.facts.times.authenticated = Some(context.now);
                }
            }
        }
        context.facts.peer_features = connect.features;
        context.facts.features = context.policy.features_supported.intersection(connect.features);
        let reconnect_seq = connect.features.contains(Features::RECONNECT_SEQ);
        let claim =
            Claim::V1 { global_seq: connect.global_seq, connect_seq: connect.connect_seq, reconnect_seq };
        self.to(At::Judged, Step::Claimed(claim))
    }

    /// Answers without asking a session; another connect may follow. If it does not, `error` is why.
    fn refuse(mut self, tag: Tag, error: Option<Error>, context: &mut Context<'_>) -> Next {
        *context.refused = error;
        let reply = self.blank(tag, context);
        self.put(reply, context)?;
        context.expect(Expect::Connect);
        self.to(At::Connect, Step::Quiet)
    }

    fn blank(&self, tag: Tag, context: &Context<'_>) -> ConnectReply {
        let policy = &*context.policy;
        let features =
            self.connect.features.intersection(policy.features_supported).union(policy.features_required);
        ConnectReply {
            tag,
            features,
            global_seq: 0,
            connect_seq: 0,
            protocol_version: context.local.protocol_version(context.facts.peer.kind, true),
            flags: 0,
            authorizer: Bytes::new(),
        }
    }

    fn put(&mut self, mut reply: ConnectReply, context: &mut Context<'_>) -> Result<(), Error> {
        reply.authorizer = std::mem::take(&mut self.reply);
        context.put_v1(&Frame::Reply(reply))
    }

    /// Answers the claim; no state if the stream is open thereby.
    pub(super) fn answer(
        mut self,
        answer: &Answer,
        context: &mut Context<'_>,
    ) -> Result<Option<Self>, Error> {
        match *answer {
            Answer::Reply(reply) => {
                let tag = match reply {
                    Reply::RetrySession(_) => Tag::RetrySession,
                    Reply::RetryGlobal(_) => Tag::RetryGlobal,
                    Reply::Reset { .. } => Tag::ResetSession,
                    Reply::Wait => Tag::Wait,
                };
                let mut message = self.blank(tag, context);
                match reply {
                    Reply::RetrySession(next) => message.connect_seq = number(next),
                    Reply::RetryGlobal(seen) => message.global_seq = number(seen),
                    Reply::Reset { .. } | Reply::Wait => {}
                }
                self.put(message, context)?;
                context.expect(Expect::Connect);
                self.at = At::Connect;
                Ok(Some(self))
            }
            Answer::Open { in_seq, global_seq, connect_seq, lossy, resumed, .. } => {
                let message = ConnectReply {
                    features: context.policy.features_supported,
                    global_seq: number(global_seq),
                    connect_seq: number(connect_seq),
                    flags: if lossy { CONNECT_LOSSY } else { 0 },
                    ..self.blank(if resumed { Tag::Seq } else { Tag::Ready }, context)
                };
                self.put(message, context)?;
                context.set_v1_framing();
                context.set_signer(self.signer.take());
                if !resumed {
                    return Ok(None);
                }
                context.put_v1(&Frame::Seq(in_seq))?;
                context.expect(Expect::Seq);
                self.at = At::Seq;
                Ok(Some(self))
            }
        }
    }
}

/// Who the client says it is; what it does not know of its IP is what its socket shows.
fn identity(claimed: EntityAddr, seen: Option<EntityAddr>) -> EntityAddr {
    let socket = match seen.and_then(|seen| seen.ip()) {
        Some(ip) if claimed.is_blank_ip() => Some((ip, port(&claimed)).into()),
        _ => claimed.socket,
    };
    EntityAddr { kind: AddrType::LEGACY, nonce: claimed.nonce, socket }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1 accepting, {:?}", self.at)
    }
}
