//! v2, dialing: banner, HELLO, authentication, signatures, compression, then a claim. (Session2 spec §4.1.)

use std::fmt;

use cephwire_codec::v2::{AuthRequest, ClientIdent, Frame, SessionReconnect, mode};
use cephwire_codec::{Features, Side};
use subtle::ConstantTimeEq;

use super::v2_sign::Transcript;
use super::{Context, Handshake, Next, Opened, Step, v2_compress, v2_hello};
use crate::auth::Client;
use crate::error::{Denied, Error, Incompatible};
use crate::resume::{Claim, Reply};

pub(crate) enum State {
    Banner(Transcript),
    Hello(Transcript),
    Auth(Transcript, Box<dyn Client>, Offer),
    Sign([u8; 32]),
    Compression,
    Claim,
    /// CLIENT_IDENT is sent.
    Connecting,
    /// SESSION_RECONNECT is sent.
    Reconnecting,
}

/// What was asked for last.
pub(crate) struct Offer {
    method: u32,
    modes: Vec<u32>,
    /// All methods that were asked for, this one too.
    tried: Vec<u32>,
    /// The methods and modes that the server allows, if it said so in an earlier refusal.
    allowed: (Vec<u32>, Vec<u32>),
    /// The server wanted another step already.
    more: bool,
}

impl Offer {
    /// What was offered and allowed so far.
    fn known(&self) -> Denied {
        let (offered_methods, offered_modes) = (self.tried.clone(), self.modes.clone());
        let (allowed_methods, allowed_modes) = self.allowed.clone();
        Denied { offered_methods, offered_modes, allowed_methods, allowed_modes, ..Denied::default() }
    }
}

impl State {
    pub(super) fn begin(context: &mut Context<'_>) -> Result<Self, Error> {
        v2_hello::begin(context).map(Self::Banner)
    }

    pub(super) fn phase(&self) -> &'static str {
        match self {
            Self::Banner(_) => "BANNER_CONNECTING",
            Self::Hello(_) => "HELLO_CONNECTING",
            Self::Auth(..) => "AUTH_CONNECTING",
            Self::Sign(_) => "AUTH_CONNECTING_SIGN",
            Self::Compression => "COMPRESSION_CONNECTING",
            Self::Claim | Self::Connecting => "SESSION_CONNECTING",
            Self::Reconnecting => "SESSION_RECONNECTING",
        }
    }

    fn expected(&self) -> &'static str {
        match self {
            Self::Banner(_) => "banner",
            Self::Hello(_) => "HELLO",
            Self::Auth(..) => "AUTH_BAD_METHOD, AUTH_REPLY_MORE or AUTH_DONE",
            Self::Sign(_) => "AUTH_SIGNATURE",
            Self::Compression => "COMPRESSION_DONE",
            Self::Claim => "nothing",
            Self::Connecting => "SERVER_IDENT, IDENT_MISSING_FEATURES or WAIT",
            Self::Reconnecting => "SESSION_RECONNECT_OK, _RESET, _RETRY, _RETRY_GLOBAL or WAIT",
        }
    }

    pub(super) fn on(self, frame: Frame, context: &mut Context<'_>) -> Next {
        match (self, frame) {
            (Self::Banner(mut transcript), Frame::Banner(theirs)) => {
                v2_hello::greet(theirs, &mut transcript, context)?;
                next(Self::Hello(transcript), Step::Quiet)
            }
            (Self::Hello(transcript), Frame::Hello(hello)) => {
                let expected = context.facts.peer.kind;
                if hello.entity_type != expected {
                    let found = hello.entity_type;
                    return Err(context.incompatible(Incompatible::EntityType { expected, found }));
                }
                if let Some(ip) = hello.peer_addr.ip() {
                    context.local.learn_addr(ip);
                }
                context.facts.seen_as = Some(hello.peer_addr);
                let client = context.local.auth().client(&context.peer());
                request(transcript, client, None, context)
            }
            (Self::Auth(transcript, mut client, offer), Frame::AuthBadMethod(refusal)) => {
                let is_final = client.refused(refusal.result);
                let denied = Denied {
                    result: refusal.result,
                    allowed_methods: refusal.allowed_methods,
                    allowed_modes: refusal.allowed_modes,
                    is_final,
                    ..offer.known()
                };
                // After a step the server goes on waiting for the next one, and takes no other method.
                if refusal.method != offer.method || offer.more {
                    return Err(context.denied(denied));
                }
                request(transcript, client, Some(denied), context)
            }
            (Self::Auth(mut transcript, mut client, offer), Frame::AuthReplyMore(payload)) => {
                transcript.hear(context)?;
                let answer =
                    client.more(&payload).map_err(|denied| context.denied(denied.knowing(offer.known())))?;
                transcript.put(&Frame::AuthRequestMore(answer), context)?;
                next(Self::Auth(transcript, client, Offer { more: true, ..offer }), Step::Quiet)
            }
            (Self::Auth(mut transcript, mut client, offer), Frame::AuthDone(done)) => {
                transcript.hear(context)?;
                if !offer.modes.contains(&done.mode) {
                    // Ceph's client takes any; a mode that was not offered is a downgrade.
                    return Err(context.denied(Denied { allowed_modes: vec![done.mode], ..offer.known() }));
                }
                let secrets = client
                    .done(done.global_id, done.mode, &done.payload)
                    .map_err(|denied| context.denied(denied.knowing(offer.known())))?;
                context.facts.global_id = Some(done.global_id);
                let expected = transcript.sign(&secrets, done.mode, Side::Client, offer.known(), context)?;
                next(Self::Sign(expected), Step::Quiet)
            }
            (Self::Sign(expected), Frame::AuthSignature(found)) => {
                if !bool::from(expected.ct_eq(&found)) {
                    return Err(context.wrong("a wrong signature", "the right one"));
                }
                context.facts.times.authenticated = Some(context.now);
                if !v2_compress::is_negotiated(context) {
                    return next(Self::Claim, Step::WantClaim);
                }
                let request = v2_compress::request(context);
                context.put_v2(&Frame::CompressionRequest(request))?;
                next(Self::Compression, Step::Quiet)
            }
            (Self::Compression, Frame::CompressionDone(done)) => {
                v2_compress::settle(done, context)?;
                next(Self::Claim, Step::WantClaim)
            }
            (Self::Connecting, Frame::ServerIdent(ident)) => {
                let target = context.facts.socket.unwrap_or_default();
                if !ident.addrs.0.contains(&target) {
                    let found = format_args!("SERVER_IDENT of {}", ident.addrs);
                    return Err(context.wrong(found, target));
                }
                let required = context.policy.features_required.union(Features::MSG_ADDR2);
                let missing = Features(required.0 & !ident.features_supported.0);
                if !missing.is_empty() {
                    let theirs = ident.features_supported;
                    return Err(context.incompatible(Incompatible::PeerLacks { missing, required, theirs }));
                }
                let facts = &mut context.facts;
                (facts.addrs, facts.peer.num) = (ident.addrs, ident.gid);
                (facts.peer_features, facts.peer_required) =
                    (ident.features_supported, ident.features_required);
                facts.features = ident.features_supported.intersection(context.policy.features_supported);
                let opened = Opened {
                    global_seq: ident.global_seq,
                    cookie: Some(ident.cookie),
                    lossy: Some(ident.flags & ClientIdent::LOSSY != 0),
                    ..Opened::default()
                };
                Ok((None, Step::Open(opened)))
            }
            (Self::Connecting, Frame::IdentMissingFeatures(missing)) => {
                let ours = context.policy.features_supported;
                Err(context.incompatible(Incompatible::PeerRequires { missing, ours, theirs: None }))
            }
            (Self::Connecting | Self::Reconnecting, Frame::Wait) => {
                next(Self::Claim, Step::Retry(Reply::Wait))
            }
            (Self::Reconnecting, Frame::SessionReconnectOk(received)) => {
                Ok((None, Step::Open(Opened { received: Some(received), ..Opened::default() })))
            }
            (Self::Reconnecting, Frame::SessionReset { full }) => {
                next(Self::Claim, Step::Retry(Reply::Reset { full }))
            }
            (Self::Reconnecting, Frame::SessionRetry(seq)) => {
                next(Self::Claim, Step::Retry(Reply::RetrySession(seq)))
            }
            (Self::Reconnecting, Frame::SessionRetryGlobal(seq)) => {
                next(Self::Claim, Step::Retry(Reply::RetryGlobal(seq)))
            }
            (state, frame) => Err(context.unexpected(&frame, state.expected())),
        }
    }

    /// Writes CLIENT_IDENT or SESSION_RECONNECT.
    pub(super) fn claim(self, claim: Claim, lossy: bool, context: &mut Context<'_>) -> Result<Self, Error> {
        let addrs = context.local.v2_addrs();
        let policy = &*context.policy;
        match claim {
            Claim::New { cookie, global_seq } => {
                let ident = ClientIdent {
                    addrs,
                    target: context.facts.socket.unwrap_or_default(),
                    gid: context.local.name().num,
                    global_seq,
                    features_supported: policy.features_supported,
                    features_required: policy.features_required.union(Features::MSG_ADDR2),
                    flags: if lossy { ClientIdent::LOSSY } else { 0 },
                    cookie,
                };
                context.put_v2(&Frame::ClientIdent(ident))?;
                Ok(Self::Connecting)
            }
            Claim::Resume { client_cookie, server_cookie, global_seq, connect_seq, msg_seq } => {
                let reconnect = SessionReconnect {
                    addrs,
                    client_cookie,
                    server_cookie,
                    global_seq,
                    connect_seq,
                    msg_seq,
                };
                context.put_v2(&Frame::SessionReconnect(reconnect))?;
                Ok(Self::Reconnecting)
            }
            Claim::V1 { .. } => Err(context.violation(&claim, "a claim of v2")),
        }
    }
}

fn next(state: State, step: Step) -> Next {
    Ok((Some(Handshake::V2Dial(state)), step))
}

/// Asks with the first method, or, after a refusal, with the next one that the server allows.
fn request(
    mut transcript: Transcript,
    mut client: Box<dyn Client>,
    refused: Option<Denied>,
    context: &mut Context<'_>,
) -> Next {
    transcript.hear(context)?;
    let opening = match &refused {
        None => client.open(&[]).map_err(|denied| {
            let offered_modes = context.modes().to_vec();
            context.denied(denied.knowing(Denied { offered_modes, ..Denied::default() }))
        })?,
        Some(refused) => {
            let others = |method: &&u32| !refused.offered_methods.contains(*method);
            let others: Vec<u32> = refused.allowed_methods.iter().filter(others).copied().collect();
            // Whatever the client says: the refusal tells more.
            if others.is_empty() { None } else { client.open(&others).ok().flatten() }
        }
    };
    let Some(opening) = opening else {
        let nothing = || Denied { is_final: true, ..Denied::default() };
        return Err(context.denied(refused.unwrap_or_else(nothing)));
    };
    // Without a secret there is nothing to encrypt with.
    let none = opening.method == cephwire_codec::v2::method::NONE;
    let modes: Vec<u32> =
        context.modes().iter().copied().filter(|mode| !none || *mode == mode::CRC).collect();
    let Denied { offered_methods: mut tried, allowed_methods, allowed_modes, .. } =
        refused.unwrap_or_default();
    tried.push(opening.method);
    let allowed = (allowed_methods, allowed_modes);
    let offer = Offer { method: opening.method, modes, tried, allowed, more: false };
    if offer.modes.is_empty() {
        return Err(context.denied(Denied { is_final: true, ..offer.known() }));
    }
    context.facts.method = Some(offer.method);
    let (method, preferred_modes) = (offer.method, offer.modes.clone());
    let request = AuthRequest { method, preferred_modes, payload: opening.payload };
    transcript.put(&Frame::AuthRequest(request), context)?;
    next(State::Auth(transcript, client, offer), Step::Quiet)
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v2 dialing, {}", self.phase())
    }
}
