//! How does one dial use the wallet?
//!
//! A cursor for each dialed connection: to a monitor it proves who the client is and fills the wallet; to a service
//! it shows an authorizer and checks the answer. Monitors among themselves have no tickets: each makes its own,
//! sealed with the key that all of them share.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cephwire_codec::v2::{SECRET_LEAST, method, mode};
use cephwire_codec::{EntityType, Timestamp};
use zeroize::Zeroizing;

use super::authorizer::{Authorize, AuthorizeChallenge, AuthorizeReply, Authorizer};
use super::key::CryptoKey;
use super::monitor::ServerChallenge;
use super::random::Random;
use super::rotating::after;
use super::sign::{MessageSigner, sign_transcript};
use super::ticket::{AuthTicket, Caps, NO_AUID, OWN_SECRET, TicketInfo};
use super::wallet::{Asked, Pass, Wallet};
use crate::auth::{
    Answer, Auth, Client, Entity, MakeSigner, Opening, Peer, Reason, Request, Secrets, Server,
};
use crate::connection::Version;
use crate::error::Denied;

/// Authenticates dialed connections with a wallet; accepts none.
#[derive(Clone, Debug)]
pub struct ClientAuth(pub Arc<Wallet>);

impl Auth for ClientAuth {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        client(&self.0, peer)
    }

    fn server(&self, _peer: &Peer) -> Box<dyn Server> {
        Box::new(Closed)
    }
}

/// The cursor for a dial to this peer.
pub(super) fn client(wallet: &Arc<Wallet>, peer: &Peer) -> Box<dyn Client> {
    let wallet = Arc::clone(wallet);
    if peer.kind != EntityType::MON {
        let source = Source::Wallet(Arc::clone(&wallet), peer.kind.0.into());
        let (sign, random) = (wallet.options.sign_messages, wallet.random());
        let require_challenge = wallet.options.require_challenge;
        return Box::new(ToService {
            source,
            sign,
            require_challenge,
            random,
            peer: *peer,
            pass: None,
            challenged: false,
        });
    }
    match peer.version {
        Version::V1 => Box::new(ByMessages),
        Version::V2 => Box::new(ToMonitor { wallet, now: peer.now, at: At::Start }),
    }
}

/// The cursor of a monitor's dial to another one.
pub(super) fn between_monitors(key: &CryptoKey, sign: bool, random: Random, peer: &Peer) -> Box<dyn Client> {
    let source = Source::Own(key.clone());
    Box::new(ToService {
        source,
        sign,
        require_challenge: true,
        random,
        peer: *peer,
        pass: None,
        challenged: false,
    })
}

/// v1, to a monitor: the session opens without authentication, which follows in messages.
struct ByMessages;

impl Client for ByMessages {
    fn open(&mut self, _allowed: &[u32]) -> Result<Option<Opening>, Denied> {
        Ok(None)
    }

    fn more(&mut self, _payload: &[u8]) -> Result<Bytes, Denied> {
        Err(Reason::OutOfTurn { what: "a challenge" }.into())
    }

    fn done(&mut self, _global_id: u64, _mode: u32, _payload: &[u8]) -> Result<Secrets, Denied> {
        Err(Reason::OutOfTurn { what: "a reply" }.into())
    }
}

/// v2, to a monitor.
struct ToMonitor {
    wallet: Arc<Wallet>,
    now: Timestamp,
    at: At,
}

enum At {
    Start,
    Introduced,
    Proved(ServerChallenge, Asked),
}

impl Client for ToMonitor {
    fn open(&mut self, allowed: &[u32]) -> Result<Option<Opening>, Denied> {
        offered(allowed)?;
        self.at = At::Introduced;
        Ok(Some(Opening { method: method::CEPHX, payload: self.wallet.introduction() }))
    }

    fn more(&mut self, payload: &[u8]) -> Result<Bytes, Denied> {
        let At::Introduced = self.at else {
            return Err(Reason::OutOfTurn { what: "a second challenge" }.into());
        };
        let challenge = ServerChallenge::decode(payload)?;
        let asked = self.wallet.answer_challenge(challenge, self.now);
        let encoded = asked.request.encode().into();
        self.at = At::Proved(challenge, asked);
        Ok(encoded)
    }

    fn done(&mut self, global_id: u64, mode: u32, payload: &[u8]) -> Result<Secrets, Denied> {
        let At::Proved(challenge, asked) = &self.at else {
            return Err(Reason::ChallengeSkipped.into());
        };
        if payload.is_empty() {
            return Err(Reason::ReplyMissing.into());
        }
        let admitted = self.wallet.admitted(*challenge, asked, global_id, payload, self.now)?;
        let secret = needed_secret(mode, admitted.connection_secret)?;
        // Messages to a monitor are never signed in v1, and v2 does not sign them.
        Ok(secrets(&admitted.session_key, secret, false))
    }

    fn refused(&mut self, _result: i32) -> bool {
        let asked = match std::mem::replace(&mut self.at, At::Start) {
            At::Proved(_, asked) => Some(asked),
            At::Start | At::Introduced => None,
        };
        // With another ticket than before it may do; with another key, one would have to be found first.
        !self.wallet.monitor_refused(asked)
    }
}

/// Where a ticket comes from.
enum Source {
    Wallet(Arc<Wallet>, u32),
    /// The monitors' own key.
    Own(CryptoKey),
}

/// To a service, or from monitor to monitor.
struct ToService {
    source: Source,
    sign: bool,
    require_challenge: bool,
    random: Random,
    peer: Peer,
    pass: Option<Pass>,
    challenged: bool,
}

impl Client for ToService {
    fn open(&mut self, allowed: &[u32]) -> Result<Option<Opening>, Denied> {
        offered(allowed)?;
        let pass = match &self.source {
            Source::Wallet(wallet, service) => wallet.pass(*service, self.peer.now)?,
            Source::Own(key) => own_pass(key, self.peer.now, &mut self.random),
        };
        let payload = pass.authorizer.encode().into();
        (self.pass, self.challenged) = (Some(pass), false);
        Ok(Some(Opening { method: method::CEPHX, payload }))
    }

    fn more(&mut self, payload: &[u8]) -> Result<Bytes, Denied> {
        let pass = self.pass.as_mut().ok_or(Reason::OutOfTurn { what: "a challenge" })?;
        // In v1 another session may take the connection over, and challenge anew.
        if self.challenged && self.peer.version == Version::V2 {
            return Err(Reason::OutOfTurn { what: "a second challenge" }.into());
        }
        let challenge = AuthorizeChallenge::open(payload, &pass.session_key)?;
        let proof = Authorize { nonce: pass.nonce, challenge: Some(challenge.answer()) };
        pass.authorizer.prove(proof, &pass.session_key, &mut self.random);
        self.challenged = true;
        Ok(pass.authorizer.encode().into())
    }

    fn done(&mut self, _global_id: u64, mode: u32, payload: &[u8]) -> Result<Secrets, Denied> {
        let pass = self.pass.as_ref().ok_or(Reason::OutOfTurn { what: "a reply" })?;
        if payload.is_empty() {
            return Err(Reason::ReplyMissing.into());
        }
        let reply = AuthorizeReply::open(payload, &pass.session_key)?;
        if reply.nonce_plus_one != pass.nonce.wrapping_add(1) {
            return Err(Reason::WrongReply.into());
        }
        if self.require_challenge && !self.challenged {
            return Err(Reason::ChallengeSkipped.into());
        }
        let secret = needed_secret(mode, reply.connection_secret)?;
        Ok(secrets(&pass.session_key, secret, self.sign))
    }

    fn refused(&mut self, _result: i32) -> bool {
        if let Source::Wallet(wallet, service) = &self.source {
            wallet.service_refused(*service, self.peer.now);
        }
        // A service that has just started has no secrets yet; and there will be another ticket.
        false
    }
}

/// A ticket that a monitor makes for itself.
fn own_pass(key: &CryptoKey, now: Timestamp, random: &mut Random) -> Pass {
    let session_key = CryptoKey::generate(key.kind(), now, random);
    let ticket = AuthTicket {
        name: Entity::monitors(),
        global_id: 0,
        auid: NO_AUID,
        created: now,
        expires: after(now, Duration::from_secs(72 * 3600)),
        caps: Caps::default(),
        flags: 0,
    };
    let ticket = TicketInfo { ticket, session_key: session_key.clone() }.seal(OWN_SECRET, key, random);
    let nonce = random.number();
    let service = EntityType::MON.0.into();
    let mut authorizer = Authorizer { global_id: 0, service, ticket, proof: Bytes::new() };
    authorizer.prove(Authorize { nonce, challenge: None }, &session_key, random);
    Pass { authorizer, session_key, nonce }
}

/// After a refusal, whether cephx is among what the server allows.
fn offered(allowed: &[u32]) -> Result<(), Denied> {
    if allowed.is_empty() || allowed.contains(&method::CEPHX) {
        return Ok(());
    }
    let (offered_methods, allowed_methods) = (vec![method::CEPHX], allowed.to_vec());
    Err(Denied { offered_methods, allowed_methods, is_final: true, ..Denied::default() })
}

/// The secret, if the mode needs one.
fn needed_secret(mode: u32, secret: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, Reason> {
    if mode == mode::SECURE && secret.len() < SECRET_LEAST {
        Err(Reason::NoConnectionSecret)
    } else {
        Ok(secret)
    }
}

/// What both sides know now.
pub(super) fn secrets(session_key: &CryptoKey, connection_secret: Zeroizing<Vec<u8>>, sign: bool) -> Secrets {
    let (transcript_key, message_key) = (session_key.clone(), session_key.clone());
    let make: MakeSigner = Box::new(move |features| Box::new(MessageSigner::new(&message_key, features)));
    Secrets {
        connection_secret,
        sign_transcript: Box::new(move |said| sign_transcript(&transcript_key, said)),
        signer: Some(make).filter(|_| sign),
    }
}

/// The accepting side of who accepts nobody.
struct Closed;

impl Server for Closed {
    fn request(&mut self, request: &Request<'_>) -> Answer {
        Answer::Bad(Reason::Method { found: request.method })
    }

    fn methods(&self) -> Vec<u32> {
        Vec::new()
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").field("authorizer", &self.authorizer).finish_non_exhaustive()
    }
}
