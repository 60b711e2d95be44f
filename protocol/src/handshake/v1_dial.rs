//! v1, dialing: banner, addresses, connect, until READY or SEQ. (Session spec §4.)

use std::fmt;

use bytes::Bytes;
use cephwire_codec::v1::{Connect, ConnectReply, Expect, Frame, Tag};
use cephwire_codec::v2::{method, mode};
use cephwire_codec::{EntityAddr, EntityType};

use super::{Context, Handshake, Next, Opened, Step};
use crate::auth::{Client, Opening};
use crate::error::{Denied, Error, Incompatible};
use crate::local::port;
use crate::resume::{Claim, Reply};

pub(crate) struct State {
    at: At,
    auth: Option<Box<dyn Client>>,
    /// The authorizer, extended by the answer to a challenge; kept for later claims on this connection.
    authorizer: Option<Opening>,
    sent: Connect,
    in_seq: u64,
    /// How often the server replied.
    rounds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Banner,
    ServerAddress,
    OwnAddress,
    Claim,
    Reply,
    Seq(Opened),
}

impl State {
    pub(super) fn begin(context: &mut Context<'_>) -> Result<Self, Error> {
        context.put_v1(&Frame::Banner)?;
        context.expect(Expect::Banner);
        let sent = Connect::default();
        Ok(Self { at: At::Banner, auth: None, authorizer: None, sent, in_seq: 0, rounds: 0 })
    }

    pub(super) fn phase(&self) -> &'static str {
        match self.at {
            At::Banner | At::ServerAddress | At::OwnAddress => "CONNECTING_WAIT_BANNER_AND_IDENTIFY",
            At::Claim | At::Reply | At::Seq(_) => "CONNECTING_SEND_CONNECT_MSG",
        }
    }

    /// What comes next.
    fn expected(&self) -> &'static str {
        match self.at {
            At::Banner => "the server's banner",
            At::ServerAddress => "the server's address",
            At::OwnAddress => "this side's address, as the server sees it",
            At::Claim => "nothing: no session is claimed yet",
            At::Reply => "connect_reply",
            At::Seq(_) => "the server's in_seq",
        }
    }

    pub(super) fn on(self, frame: Frame, context: &mut Context<'_>) -> Next {
        match (self.at, frame) {
            (At::Banner, Frame::Banner) => {
                context.facts.times.banner = Some(context.now);
                context.expect(Expect::Address);
                self.to(At::ServerAddress, Step::Quiet)
            }
            (At::ServerAddress, Frame::Address(addr)) => {
                check_server(&addr, context)?;
                context.expect(Expect::Address);
                self.to(At::OwnAddress, Step::Quiet)
            }
            (At::OwnAddress, Frame::Address(seen)) => {
                context.facts.seen_as = Some(seen);
                // Ceph aborts on an address without family; it only tells nothing here.
                if let Some(ip) = seen.ip() {
                    context.local.learn_addr(ip);
                }
                let own = context.local.v1_addr();
                context.put_v1(&Frame::Address(own))?;
                self.to(At::Claim, Step::WantClaim)
            }
            (At::Reply, Frame::Reply(reply)) => self.replied(reply, context),
            (At::Seq(opened), Frame::Seq(received)) => {
                context.put_v1(&Frame::Seq(self.in_seq))?;
                Ok((None, Step::Open(Opened { received: Some(received), ..opened })))
            }
            (_, frame) => Err(context.violation(&frame, self.expected())),
        }
    }

    /// What was offered. (v1 has no modes, and no server says what it allows.)
    fn known(&self) -> Denied {
        Denied { offered_methods: vec![self.sent.authorizer_protocol], ..Denied::default() }
    }

    fn to(mut self, at: At, step: Step) -> Next {
        self.at = at;
        Ok((Some(Handshake::V1Dial(self)), step))
    }

    /// Writes connect for this claim.
    pub(super) fn claim(
        mut self,
        claim: Claim,
        in_seq: u64,
        lossy: bool,
        context: &mut Context<'_>,
    ) -> Result<Self, Error> {
        let Claim::V1 { global_seq, connect_seq, .. } = claim else {
            return Err(context.violation(&claim, "a claim of v1"));
        };
        let own = context.local.name().kind;
        // Only monitors show an authorizer to monitors; all others authenticate by messages there.
        let shows = context.facts.peer.kind != EntityType::MON || own == EntityType::MON;
        if shows && self.authorizer.is_none() {
            let mut auth = context.local.auth().client(&context.peer());
            self.authorizer = auth.open(&[]).map_err(|denied| context.denied(denied))?;
            self.auth = self.authorizer.is_some().then_some(auth);
        }
        let (authorizer_protocol, authorizer) = match &self.authorizer {
            Some(opening) if shows => (opening.method, opening.payload.clone()),
            _ => (method::UNKNOWN, Bytes::new()),
        };
        context.facts.method = Some(authorizer_protocol);
        self.in_seq = in_seq;
        self.sent = Connect {
            features: context.policy.features_supported,
            host_type: own.0.into(),
            global_seq,
            connect_seq,
            protocol_version: context.local.protocol_version(context.facts.peer.kind, false),
            authorizer_protocol,
            flags: u8::from(lossy),
            authorizer,
        };
        self.send(context)
    }

    fn send(mut self, context: &mut Context<'_>) -> Result<Self, Error> {
        context.put_v1(&Frame::Connect(self.sent.clone()))?;
        context.expect(Expect::Reply);
        self.at = At::Reply;
        Ok(self)
    }

    fn replied(mut self, reply: ConnectReply, context: &mut Context<'_>) -> Next {
        self.rounds += 1;
        if self.rounds > context.local.options.claims {
            let most = format_args!("at most {} replies on a connection", context.local.options.claims);
            return Err(context.wrong(reply.tag.name(), most));
        }
        if reply.tag == Tag::ChallengeAuthorizer {
            let Some(auth) = &mut self.auth else {
                return Err(context.wrong(reply.tag.name(), "no challenge: no authorizer was sent"));
            };
            let more = auth.more(&reply.authorizer);
            let payload = more.map_err(|denied| context.denied(denied.knowing(self.known())))?;
            if let Some(opening) = &mut self.authorizer {
                opening.payload.clone_from(&payload);
            }
            self.sent.authorizer = payload;
            return Ok((Some(Handshake::V1Dial(self.send(context)?)), Step::Quiet));
        }
        let mut signer = None;
        if let Some(auth) = &mut self.auth
            && reply.tag != Tag::BadAuthorizer
        {
            // Every reply is verified, also one that carries nothing: Ceph's gap is not copied.
            let refused = matches!(reply.tag, Tag::Features | Tag::BadProtoVer);
            if !refused || !reply.authorizer.is_empty() {
                let done = auth.done(0, mode::UNKNOWN, &reply.authorizer);
                signer = done.map_err(|denied| context.denied(denied.knowing(self.known())))?.signer;
            }
        }
        match reply.tag {
            Tag::Ready | Tag::Seq => {
                let policy = &*context.policy;
                let (required, theirs) = (policy.features_required, reply.features);
                let missing = theirs.missing(required);
                if !missing.is_empty() {
                    return Err(context.incompatible(Incompatible::PeerLacks { missing, required, theirs }));
                }
                let (found, claimed) = (reply.connect_seq, self.sent.connect_seq);
                if Some(found) != claimed.checked_add(1) {
                    // Ceph's client aborts here.
                    let found = format_args!("{} with connect_seq {found}", reply.tag.name());
                    return Err(context.wrong(found, format_args!("the claim's {claimed} plus 1")));
                }
                context.facts.times.authenticated = Some(context.now);
                context.facts.peer_features = reply.features;
                context.facts.features = reply.features.intersection(self.sent.features);
                context.set_v1_framing();
                context.set_signer(signer);
                let opened = Opened {
                    received: None,
                    global_seq: reply.global_seq.into(),
                    connect_seq: Some(reply.connect_seq.into()),
                    cookie: None,
                    lossy: Some(reply.flags & cephwire_codec::v1::CONNECT_LOSSY != 0),
                };
                if reply.tag == Tag::Ready {
                    return Ok((None, Step::Open(opened)));
                }
                context.expect(Expect::Seq);
                self.to(At::Seq(opened), Step::Quiet)
            }
            Tag::ResetSession => self.to(At::Claim, Step::Retry(Reply::Reset { full: true })),
            Tag::Wait => self.to(At::Claim, Step::Retry(Reply::Wait)),
            Tag::RetrySession => {
                let (next, claimed) = (reply.connect_seq, self.sent.connect_seq);
                if next <= claimed {
                    // Ceph's client aborts here.
                    let found = format_args!("RETRY_SESSION with connect_seq {next}");
                    return Err(context.wrong(found, format_args!("one above the claim's {claimed}")));
                }
                self.to(At::Claim, Step::Retry(Reply::RetrySession(next.into())))
            }
            Tag::RetryGlobal => {
                let seen = reply.global_seq.into();
                self.to(At::Claim, Step::Retry(Reply::RetryGlobal(seen)))
            }
            Tag::Features => {
                let (ours, theirs) = (self.sent.features, reply.features);
                let (missing, theirs) = (ours.missing(theirs), Some(theirs));
                Err(context.incompatible(Incompatible::PeerRequires { missing, ours, theirs }))
            }
            Tag::BadProtoVer => {
                let (theirs, ours) = (reply.protocol_version, self.sent.protocol_version);
                Err(context.incompatible(Incompatible::ProtocolVersion { theirs, ours }))
            }
            Tag::BadAuthorizer => {
                let result = -13;
                // Only v2 says which methods it would take: v1 tries again, as Ceph does.
                if let Some(auth) = &mut self.auth {
                    auth.refused(result);
                }
                Err(context.denied(Denied { result, ..self.known() }))
            }
            other => Err(context.wrong(other.name(), "a tag of connect_reply")),
        }
    }
}

/// The server must be who was dialed; only its IP may be blank.
fn check_server(found: &EntityAddr, context: &Context<'_>) -> Result<(), Error> {
    let Some(meant) = context.facts.socket else { return Ok(()) };
    let same_port = port(found) == port(&meant);
    let same =
        found.nonce == meant.nonce && (found.socket == meant.socket || (found.is_blank_ip() && same_port));
    if same { Ok(()) } else { Err(context.wrong(found, format_args!("{meant}, the address dialed"))) }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1 dialing, {:?}", self.at)
    }
}
