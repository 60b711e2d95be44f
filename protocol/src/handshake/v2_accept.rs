//! v2, accepting: banner, HELLO, authentication, signatures, compression, then claims until one opens. (Session2 spec §4.2.)

use std::fmt;

use cephwire_codec::v2::{AuthBadMethod, AuthDone, AuthRequest, ClientIdent, Frame, ServerIdent, mode};
use cephwire_codec::{AddrType, EntityAddr, Features, Side};
use subtle::ConstantTimeEq;

use super::v2_sign::Transcript;
use super::{Answer, Context, Handshake, Next, Step, v2_compress, v2_hello};
use crate::auth::{self, Server};
use crate::error::{Denied, Error, Incompatible};
use crate::resume::{Claim, Reply};

pub(crate) enum State {
    Banner(Transcript),
    Hello(Transcript),
    Auth(Transcript, Box<dyn Server>),
    /// The server asked for more.
    More(Transcript, Box<dyn Server>, Offer),
    Sign([u8; 32]),
    Compression,
    Session,
    /// A claim is being judged.
    Judged,
}

/// What the client asked for, and what follows from it.
pub(crate) struct Offer {
    method: u32,
    modes: Vec<u32>,
    /// The mode that the connection will have.
    chosen: u32,
}

impl Offer {
    /// Why it is not let in, with what it offered and what is allowed.
    fn denied(&self, server: &dyn Server, denied: Denied, context: &Context<'_>) -> Denied {
        denied.knowing(Denied {
            accepting: true,
            offered_methods: vec![self.method],
            offered_modes: self.modes.clone(),
            allowed_methods: server.methods(),
            allowed_modes: context.modes().to_vec(),
            ..Denied::default()
        })
    }
}

/// No method or mode in common: EOPNOTSUPP.
const NOT_SUPPORTED: i32 = -95;
/// EBUSY.
const BUSY: i32 = -16;

impl State {
    pub(super) fn begin(context: &mut Context<'_>) -> Result<Self, Error> {
        v2_hello::begin(context).map(Self::Banner)
    }

    pub(super) fn phase(&self) -> &'static str {
        match self {
            Self::Banner(_) => "BANNER_ACCEPTING",
            Self::Hello(_) => "HELLO_ACCEPTING",
            Self::Auth(..) => "AUTH_ACCEPTING",
            Self::More(..) => "AUTH_ACCEPTING_MORE",
            Self::Sign(_) => "AUTH_ACCEPTING_SIGN",
            Self::Compression => "COMPRESSION_ACCEPTING",
            Self::Session | Self::Judged => "SESSION_ACCEPTING",
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Self::Banner(_) => "banner",
            Self::Hello(_) => "HELLO",
            Self::Auth(..) => "AUTH_REQUEST",
            Self::More(..) => "AUTH_REQUEST_MORE",
            Self::Sign(_) => "AUTH_SIGNATURE",
            Self::Compression => "COMPRESSION_REQUEST",
            Self::Session | Self::Judged => "CLIENT_IDENT or SESSION_RECONNECT",
        }
    }

    pub(super) fn awaits_answer(&self) -> bool {
        matches!(self, Self::Judged)
    }

    pub(super) fn on(self, frame: Frame, context: &mut Context<'_>) -> Next {
        match (self, frame) {
            (Self::Banner(mut transcript), Frame::Banner(theirs)) => {
                v2_hello::greet(theirs, &mut transcript, context)?;
                next(Self::Hello(transcript), Step::Quiet)
            }
            (Self::Hello(transcript), Frame::Hello(hello)) => {
                context.facts.peer.kind = hello.entity_type;
                context.facts.seen_as = Some(hello.peer_addr);
                *context.policy = context.local.policy(hello.entity_type);
                let server = context.local.auth().server(&context.peer());
                next(Self::Auth(transcript, server), Step::Quiet)
            }
            (Self::Auth(transcript, server), Frame::AuthRequest(request)) => {
                requested(transcript, server, request, context)
            }
            (Self::More(transcript, server, offer), Frame::AuthRequestMore(payload)) => {
                answer_auth(transcript, server, offer, &payload, true, context)
            }
            (Self::Sign(expected), Frame::AuthSignature(found)) => {
                if !bool::from(expected.ct_eq(&found)) {
                    return Err(context.wrong("a wrong signature", "the right one"));
                }
                context.facts.times.authenticated = Some(context.now);
                let negotiated = v2_compress::is_negotiated(context);
                next(if negotiated { Self::Compression } else { Self::Session }, Step::Quiet)
            }
            (Self::Compression, Frame::CompressionRequest(request)) => {
                let done = v2_compress::answer(&request, context);
                context.put_v2(&Frame::CompressionDone(done))?;
                v2_compress::settle(done, context)?;
                next(Self::Session, Step::Quiet)
            }
            (Self::Session, Frame::ClientIdent(ident)) => identified(ident, context),
            (Self::Session, Frame::SessionReconnect(claim)) => {
                context.facts.addrs = claim.addrs;
                let claim = Claim::Resume {
                    client_cookie: claim.client_cookie,
                    server_cookie: claim.server_cookie,
                    global_seq: claim.global_seq,
                    connect_seq: claim.connect_seq,
                    msg_seq: claim.msg_seq,
                };
                next(Self::Judged, Step::Claimed(claim))
            }
            (state, frame) => Err(context.unexpected(&frame, state.expected())),
        }
    }

    /// Answers the claim; no state if the stream is open thereby.
    pub(super) fn answer(self, answer: &Answer, context: &mut Context<'_>) -> Result<Option<Self>, Error> {
        let frame = match *answer {
            Answer::Reply(Reply::RetrySession(seq)) => Frame::SessionRetry(seq),
            Answer::Reply(Reply::RetryGlobal(seq)) => Frame::SessionRetryGlobal(seq),
            Answer::Reply(Reply::Reset { full }) => Frame::SessionReset { full },
            Answer::Reply(Reply::Wait) => Frame::Wait,
            Answer::Open { in_seq, resumed: true, .. } => Frame::SessionReconnectOk(in_seq),
            Answer::Open { global_seq, cookie, lossy, .. } => {
                let policy = &*context.policy;
                Frame::ServerIdent(ServerIdent {
                    addrs: context.local.v2_addrs(),
                    gid: context.local.name().num,
                    global_seq,
                    features_supported: policy.features_supported,
                    features_required: policy.features_required.union(Features::MSG_ADDR2),
                    flags: if lossy { ClientIdent::LOSSY } else { 0 },
                    cookie,
                })
            }
        };
        context.put_v2(&frame)?;
        Ok(matches!(answer, Answer::Reply(_)).then_some(Self::Session))
    }
}

fn next(state: State, step: Step) -> Next {
    Ok((Some(Handshake::V2Accept(state)), step))
}

fn requested(
    mut transcript: Transcript,
    server: Box<dyn Server>,
    request: AuthRequest,
    context: &mut Context<'_>,
) -> Next {
    transcript.hear(context)?;
    context.facts.method = Some(request.method);
    let none = request.method == cephwire_codec::v2::method::NONE;
    let allowed = |candidate: &u32| context.modes().contains(candidate) && !(none && *candidate != mode::CRC);
    // The client's order wins; modes that nobody knows are skipped.
    let chosen = request.preferred_modes.iter().copied().find(allowed);
    let fits = chosen.filter(|_| server.methods().contains(&request.method));
    let AuthRequest { method, preferred_modes: modes, payload } = request;
    let offer = Offer { method, modes, chosen: fits.unwrap_or(mode::UNKNOWN) };
    if fits.is_some() {
        return answer_auth(transcript, server, offer, &payload, false, context);
    }
    transcript.put(&refusal(&*server, method, NOT_SUPPORTED, context), context)?;
    let denied = Denied { result: NOT_SUPPORTED, ..Denied::default() };
    *context.refused = Some(context.denied(offer.denied(&*server, denied, context)));
    next(State::Auth(transcript, server), Step::Quiet)
}

fn refusal(server: &dyn Server, method: u32, result: i32, context: &Context<'_>) -> Frame {
    let allowed_modes = context.modes().to_vec();
    Frame::AuthBadMethod(AuthBadMethod { method, result, allowed_methods: server.methods(), allowed_modes })
}

fn answer_auth(
    mut transcript: Transcript,
    mut server: Box<dyn Server>,
    offer: Offer,
    payload: &[u8],
    more: bool,
    context: &mut Context<'_>,
) -> Next {
    transcript.hear(context)?;
    let Offer { method, chosen, .. } = offer;
    match server.request(&auth::Request { method, mode: chosen, can_be_challenged: true, payload }) {
        auth::Answer::More(reply) => {
            transcript.put(&Frame::AuthReplyMore(reply), context)?;
            next(State::More(transcript, server, offer), Step::Quiet)
        }
        // A monitor without quorum: the client shall look for another one. Ceph hangs up without a word.
        auth::Answer::Bad(reason) if reason.errno() == BUSY => {
            Err(context.denied(offer.denied(&*server, reason.into(), context)))
        }
        auth::Answer::Bad(reason) => {
            transcript.put(&refusal(&*server, method, reason.errno(), context), context)?;
            context.facts.refused = Some(reason.clone());
            *context.refused = Some(context.denied(offer.denied(&*server, reason.into(), context)));
            // After a step it goes on waiting for the next one, as Ceph does: the client dials again.
            let state =
                if more { State::More(transcript, server, offer) } else { State::Auth(transcript, server) };
            next(state, Step::Quiet)
        }
        auth::Answer::Done { global_id, payload, secrets, name, caps } => {
            context.authenticated(name, global_id, caps);
            let done = AuthDone { global_id, mode: chosen, payload };
            transcript.put(&Frame::AuthDone(done), context)?;
            let known = offer.denied(&*server, Denied::default(), context);
            let expected = transcript.sign(&secrets, chosen, Side::Server, known, context)?;
            next(State::Sign(expected), Step::Quiet)
        }
    }
}

/// CLIENT_IDENT, rules 1 to 5 of the session2 spec §5.1.
fn identified(ident: ClientIdent, context: &mut Context<'_>) -> Next {
    if ident.addrs.0.first().is_none_or(|addr| *addr == EntityAddr::default()) {
        return Err(context.wrong("CLIENT_IDENT without an address", "the client's addresses"));
    }
    let own = context.local.v2_addrs();
    if ident.target.kind == AddrType::ANY || !own.0.contains(&ident.target) {
        return Err(context.wrong(format_args!("CLIENT_IDENT for {}", ident.target), own));
    }
    let policy = &*context.policy;
    let required = policy.features_required.union(Features::MSG_ADDR2);
    let missing = Features(required.0 & !ident.features_supported.0);
    if !missing.is_empty() {
        context.put_v2(&Frame::IdentMissingFeatures(missing))?;
        let theirs = ident.features_supported;
        *context.refused = Some(context.incompatible(Incompatible::PeerLacks { missing, required, theirs }));
        return next(State::Session, Step::Refused);
    }
    let features = ident.features_supported.intersection(policy.features_supported);
    let facts = &mut context.facts;
    (facts.addrs, facts.peer.num) = (ident.addrs, ident.gid);
    (facts.peer_features, facts.peer_required) = (ident.features_supported, ident.features_required);
    facts.features = features;
    let claim = Claim::New { cookie: ident.cookie, global_seq: ident.global_seq };
    next(State::Judged, Step::Claimed(claim))
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v2 accepting, {}", self.phase())
    }
}
