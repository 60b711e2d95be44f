//! v2, dialing: banner, HELLO, authentication, signatures, then a claim. (Session2 spec §4.1.)

use std::fmt;

use cephwire_codec::v2::{AuthRequest, Banner, ClientIdent, Frame, Hello, Revision, SessionReconnect, mode};
use cephwire_codec::{Features, MsgrFeatures, Side};

use super::v2_sign::{Transcript, matches};
use super::{Context, Handshake, Next, Opened, Step};
use crate::auth::Client;
use crate::error::{Denied, Error, Incompatible};
use crate::resume::{Claim, Reply};

pub(crate) enum State {
    Banner(Transcript),
    Hello(Transcript),
    Auth(Transcript, Box<dyn Client>, u32),
    Sign([u8; 32]),
    Claim,
    /// CLIENT_IDENT is sent.
    Connecting,
    /// SESSION_RECONNECT is sent.
    Reconnecting,
}

impl State {
    pub(super) fn begin(context: &mut Context<'_>) -> Result<Self, Error> {
        let mut transcript = Transcript::default();
        transcript.put(&Frame::Banner(banner(context)), context)?;
        Ok(Self::Banner(transcript))
    }

    pub(super) fn phase(&self) -> &'static str {
        match self {
            Self::Banner(_) => "BANNER_CONNECTING",
            Self::Hello(_) => "HELLO_CONNECTING",
            Self::Auth(..) => "AUTH_CONNECTING",
            Self::Sign(_) => "AUTH_CONNECTING_SIGN",
            Self::Claim | Self::Connecting => "SESSION_CONNECTING",
            Self::Reconnecting => "SESSION_RECONNECTING",
        }
    }

    pub(super) fn on(self, frame: Frame, context: &mut Context<'_>) -> Next {
        match (self, frame) {
            (Self::Banner(mut transcript), Frame::Banner(theirs)) => {
                context.set_revision(agree(&theirs, context)?);
                let entity_type = context.local.name().kind;
                let peer_addr = context.facts.socket.unwrap_or_default();
                transcript.put(&Frame::Hello(Hello { entity_type, peer_addr }), context)?;
                next(Self::Hello(transcript), Step::Quiet)
            }
            (Self::Hello(transcript), Frame::Hello(hello)) => {
                let expected = context.facts.kind;
                if hello.entity_type != expected {
                    return Err(Incompatible::EntityType { expected, found: hello.entity_type }.into());
                }
                if let Some(ip) = hello.peer_addr.ip() {
                    context.local.learn_addr(ip);
                }
                let client = context.local.auth().client(expected);
                request(transcript, client, &[], context)
            }
            (Self::Auth(transcript, client, method), Frame::AuthBadMethod(refusal)) => {
                let denied = || Denied {
                    result: refusal.result,
                    offered_methods: vec![method],
                    offered_modes: context.local.options.modes.clone(),
                    allowed_methods: refusal.allowed_methods.clone(),
                    allowed_modes: refusal.allowed_modes.clone(),
                    is_final: true,
                };
                let denied = denied();
                if refusal.method != method {
                    return Err(denied.into());
                }
                let others: Vec<u32> =
                    refusal.allowed_methods.iter().copied().filter(|m| *m != method).collect();
                if others.is_empty() {
                    return Err(denied.into());
                }
                request(transcript, client, &others, context)
            }
            (Self::Auth(mut transcript, mut client, method), Frame::AuthReplyMore(payload)) => {
                let answer = client.more(&payload)?;
                transcript.put(&Frame::AuthRequestMore(answer), context)?;
                next(Self::Auth(transcript, client, method), Step::Quiet)
            }
            (Self::Auth(mut transcript, mut client, method), Frame::AuthDone(done)) => {
                transcript.hear(context)?;
                if !context.local.options.modes.contains(&done.mode) {
                    // Ceph's client takes any; a mode that was not offered is a downgrade.
                    let offered_modes = context.local.options.modes.clone();
                    let (offered_methods, allowed_modes) = (vec![method], vec![done.mode]);
                    return Err(Denied {
                        offered_methods,
                        offered_modes,
                        allowed_modes,
                        ..Denied::default()
                    }
                    .into());
                }
                let secrets = client.done(done.global_id, done.mode, &done.payload)?;
                let expected = transcript.sign(&secrets, done.mode, Side::Client, context)?;
                next(Self::Sign(expected), Step::Quiet)
            }
            (Self::Sign(expected), Frame::AuthSignature(found)) => {
                if !matches(&expected, &found) {
                    return Err(context.violation(
                        "AUTH_CONNECTING_SIGN",
                        &"a wrong signature",
                        "the right one",
                    ));
                }
                next(Self::Claim, Step::WantClaim)
            }
            (Self::Connecting, Frame::ServerIdent(ident)) => {
                let target = context.facts.socket.unwrap_or_default();
                if !ident.addrs.0.contains(&target) {
                    return Err(context.violation("SESSION_CONNECTING", &ident.addrs, "the address dialed"));
                }
                let required = context.facts.policy.features_required.union(Features::MSG_ADDR2);
                let missing = Features(required.0 & !ident.features_supported.0);
                if !missing.is_empty() {
                    return Err(Incompatible::PeerLacks { missing }.into());
                }
                let facts = &mut context.facts;
                (facts.addrs, facts.gid) = (ident.addrs, ident.gid);
                facts.peer_features = ident.features_supported;
                facts.features = ident.features_supported.intersection(facts.policy.features_supported);
                let opened = Opened {
                    global_seq: ident.global_seq,
                    cookie: Some(ident.cookie),
                    lossy: Some(ident.flags & ClientIdent::LOSSY != 0),
                    ..Opened::default()
                };
                Ok((None, Step::Open(opened)))
            }
            (Self::Connecting, Frame::IdentMissingFeatures(missing)) => {
                Err(Incompatible::PeerRequires { missing }.into())
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
            (state, frame) => {
                Err(context.violation(state.phase(), &frame, "what comes next in the handshake"))
            }
        }
    }

    /// Writes CLIENT_IDENT or SESSION_RECONNECT.
    pub(super) fn claim(self, claim: Claim, lossy: bool, context: &mut Context<'_>) -> Result<Self, Error> {
        let addrs = context.local.v2_addrs();
        let policy = &context.facts.policy;
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
            Claim::V1 { .. } => Err(context.violation(self.phase(), &claim, "a claim of v2")),
        }
    }
}

fn next(state: State, step: Step) -> Next {
    Ok((Some(Handshake::V2Dial(state)), step))
}

fn request(
    mut transcript: Transcript,
    mut client: Box<dyn Client>,
    allowed: &[u32],
    context: &mut Context<'_>,
) -> Next {
    let Some(opening) = client.open(allowed)? else {
        return Err(Denied { is_final: true, ..Denied::default() }.into());
    };
    let preferred_modes: Vec<u32> = match opening.method {
        // Without a secret there is nothing to encrypt with.
        cephwire_codec::v2::method::NONE => vec![mode::CRC],
        _ => context.local.options.modes.clone(),
    };
    let method = opening.method;
    let request = AuthRequest { method, preferred_modes, payload: opening.payload };
    transcript.put(&Frame::AuthRequest(request), context)?;
    next(State::Auth(transcript, client, method), Step::Quiet)
}

/// The own banner.
pub(super) fn banner(context: &Context<'_>) -> Banner {
    let supported = if context.local.options.revision_1 { MsgrFeatures::REVISION_1 } else { MsgrFeatures(0) };
    Banner { supported, required: MsgrFeatures(0) }
}

/// What both banners together mean.
pub(super) fn agree(theirs: &Banner, context: &Context<'_>) -> Result<Revision, Error> {
    let ours = banner(context);
    if !ours.supported.contains(theirs.required) || !theirs.supported.contains(ours.required) {
        return Err(Incompatible::Msgr { supported: theirs.supported, required: theirs.required }.into());
    }
    let both = theirs.supported.intersection(ours.supported);
    Ok(if both.contains(MsgrFeatures::REVISION_1) { Revision::V2_1 } else { Revision::V2_0 })
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v2 dialing, {}", self.phase())
    }
}
