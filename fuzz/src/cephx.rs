//! Whom does cephx believe? Payloads of any bytes, and valid envelopes around any plaintext.
//!
//! The envelopes are sealed with the right keys, so that what lies behind the cipher is reached too. An input is a
//! list of choices: which key types, how far the honest steps go, what each payload is made of. Where a plaintext is
//! wanted that has a form, it is that of an honest peer with some bytes changed, cut or added.

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use cephwire_codec::v2::{method, mode};
use cephwire_codec::{EntityType, Timestamp};
use cephwire_protocol::Version;
use cephwire_protocol::auth::cephx::authorizer::{Authorize, AuthorizeReply, Authorizer};
use cephwire_protocol::auth::cephx::cipher::Usage;
use cephwire_protocol::auth::cephx::message::{Auth as AuthMessage, AuthReply};
use cephwire_protocol::auth::cephx::monitor::{
    Introduction, Reply, Request as MonRequest, ServerChallenge, SessionReply,
};
use cephwire_protocol::auth::cephx::ticket::{OWN_SECRET, SealedTicket, TicketReply};
use cephwire_protocol::auth::cephx::{
    ClientAuth, CryptoKey, Entity, KeyServer, KeyServerOptions, KeyType, Keyring, MonitorAuth, Progress,
    Random, Service, ServiceAuth, ServiceOptions, TicketBlob, Wallet, WalletOptions,
};
use cephwire_protocol::auth::{Answer, Auth, Client, Peer, Request, Server};

pub(crate) const NOW: Timestamp = Timestamp { sec: 1_700_000_000, nsec: 0 };
const OSD: EntityType = EntityType::OSD;

/// A keyring's text: no panic; what was read comes out as text that reads the same.
pub fn keyring(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(keyring) = Keyring::parse(text) {
        assert_eq!(Keyring::parse(&keyring.to_text()).as_ref(), Ok(&keyring));
    }
    if let Ok(key) = text.parse::<CryptoKey>() {
        assert_eq!(key.to_base64().parse::<CryptoKey>().as_ref(), Ok(&key));
    }
}

/// An impostor's answers to a client that dials a monitor or a service, and in messages: no panic; a number without a
/// ticket is never kept; nobody convinces without the client's challenge or nonce.
pub fn cephx_client(data: &[u8]) {
    let _ = client(&mut Unstructured::new(data));
}

/// A stranger's payloads to a monitor and to a service: no panic; nobody is let in who was not challenged.
pub fn cephx_server(data: &[u8]) {
    let _ = server(&mut Unstructured::new(data));
}

/// A cluster of one client, one OSD and one monitor.
struct Cluster {
    kind: KeyType,
    server: Arc<KeyServer>,
    key: CryptoKey,
    random: Random,
}

pub(crate) fn key(n: u8, kind: KeyType) -> CryptoKey {
    CryptoKey::generate(kind, NOW, &mut Random::new([n; 32]))
}

fn admin() -> Entity {
    Entity::new(EntityType::CLIENT, "admin")
}

impl Cluster {
    fn new(u: &mut Unstructured<'_>) -> Result<Self> {
        let kind = if u.arbitrary()? { KeyType::Aes } else { KeyType::Aes256k };
        let keyring = Keyring::default()
            .with(admin(), key(1, kind))
            .with(Entity::new(OSD, "0"), key(2, kind))
            .with(Entity::monitors(), key(3, kind));
        let options = KeyServerOptions { service_key_type: kind, ..KeyServerOptions::default() };
        let server = KeyServer::new(keyring, options, [4; 32]);
        Ok(Self { kind, server, key: key(1, kind), random: Random::new([5; 32]) })
    }

    fn wallet(&self) -> Arc<Wallet> {
        match Wallet::new(admin(), self.key.clone(), WalletOptions::default(), [6; 32]) {
            Ok(wallet) => wallet,
            Err(error) => panic!("{error}"),
        }
    }

    fn osd(&self) -> ServiceAuth {
        let service = Service::new(OSD, ServiceOptions::default(), [7; 32]);
        service.set_secrets(self.server.rotating_secrets(OSD, NOW));
        ServiceAuth { wallet: self.wallet(), service }
    }
}

/// Logs in, as a client of v1 does.
pub(crate) fn log_in(server: &Arc<KeyServer>, wallet: &Wallet) {
    let (mut talk, mut next) = (server.talk(), wallet.hello(&[method::CEPHX]));
    while let Ok(Progress::Send(message)) = wallet.handle_auth_reply(NOW, &talk.handle_auth(NOW, &next).0) {
        next = message;
    }
    assert!(wallet.ticket(OSD).is_some());
}

fn peer(own: EntityType, kind: EntityType, u: &mut Unstructured<'_>) -> Result<Peer> {
    let version = if u.arbitrary()? { Version::V1 } else { Version::V2 };
    Ok(Peer { own, kind, global_id: 0, version, now: NOW })
}

/// Any bytes, or `honest` with changes.
fn changed(u: &mut Unstructured<'_>, honest: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = honest.to_vec();
    match u.int_in_range(0..=7)? {
        0 => return Ok(u.arbitrary::<&[u8]>()?.to_vec()),
        1 => bytes.truncate(u.choose_index(bytes.len() + 1)?),
        2 => bytes.extend_from_slice(u.arbitrary::<&[u8]>()?),
        3..=5 => {
            for _ in 0..u.int_in_range(1..=4)? {
                if let Some(at) = (!bytes.is_empty()).then(|| u.choose_index(bytes.len())).transpose()? {
                    bytes[at] = u.arbitrary()?;
                }
            }
        }
        _ => {}
    }
    Ok(bytes)
}

/// The same, in a valid envelope.
fn sealed(
    u: &mut Unstructured<'_>,
    usage: Usage,
    honest: &[u8],
    key: &CryptoKey,
    random: &mut Random,
) -> Result<Vec<u8>> {
    Ok(key.seal(usage, &changed(u, honest)?, random))
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat()
}

fn client(u: &mut Unstructured<'_>) -> Result<()> {
    let mut cluster = Cluster::new(u)?;
    let wallet = cluster.wallet();
    if u.arbitrary()? {
        log_in(&cluster.server, &wallet);
    }
    if u.ratio(1u8, 3u8)? {
        messages(u, &mut cluster, &wallet)?;
    } else if wallet.ticket(OSD).is_some() && u.arbitrary()? {
        to_service(u, &mut cluster, &wallet)?;
    } else {
        to_monitor(u, &mut cluster, &wallet)?;
    }
    // A number is known if and only if a ticket proves it.
    assert_eq!(wallet.global_id().is_some(), wallet.ticket(EntityType::AUTH).is_some());
    let _ = wallet.renewal(NOW);
    Ok(())
}

/// An answer of a monitor: sealed with the client's key, as if the impostor had it.
fn session_reply(u: &mut Unstructured<'_>, cluster: &mut Cluster, wallet: &Wallet) -> Result<Vec<u8>> {
    let (kind, random) = (cluster.kind, &mut cluster.random);
    let session_key = key(9, kind);
    let old = wallet.ticket(EntityType::AUTH).map_or_else(|| key(8, kind), |ticket| ticket.session_key);
    let session = [&[1][..], &session_key.encode(), &3600u32.to_le_bytes(), &[0; 4]].concat();
    let blob = TicketBlob { secret_id: 1, blob: vec![7; 96].into() }.encode();
    let mut ticket = |u: &mut Unstructured<'_>, service: u32, key: &CryptoKey| -> Result<SealedTicket> {
        let encrypted = u.arbitrary()?;
        let blob = if encrypted {
            sealed(u, Usage::TicketBlob, &framed(&blob), &old, random)?
        } else {
            changed(u, &blob)?
        };
        let session = sealed(u, Usage::TicketSessionKey, &session, key, random)?;
        let service = if u.ratio(1u8, 8u8)? { u.arbitrary()? } else { service };
        Ok(SealedTicket { service, session: session.into(), encrypted, blob: blob.into() })
    };
    let auth = TicketReply { tickets: vec![ticket(u, 32, &cluster.key)?] };
    let mut more = None;
    if u.arbitrary()? {
        let extra = TicketReply { tickets: vec![ticket(u, 4, &session_key)?] }.encode();
        let secret = framed(&[1; 64]);
        let secret = framed(&sealed(u, Usage::ConnectionSecret, &secret, &session_key, random)?);
        more = Some((changed(u, &secret)?.into(), changed(u, &extra)?.into()));
    }
    let reply = Reply::Session(SessionReply { auth, more }).encode();
    changed(u, &reply)
}

fn to_monitor(u: &mut Unstructured<'_>, cluster: &mut Cluster, wallet: &Arc<Wallet>) -> Result<()> {
    let peer = Peer { version: Version::V2, ..peer(EntityType::CLIENT, EntityType::MON, u)? };
    let mut client = ClientAuth(Arc::clone(wallet)).client(&peer);
    let _ = client.open(&[]);
    let mut challenged = false;
    for _ in 0..u.int_in_range(1..=4)? {
        match u.int_in_range(0..=3)? {
            0 | 1 => challenged |= client.more(&changed(u, &ServerChallenge(5).encode())?).is_ok(),
            2 => {
                let reply = session_reply(u, cluster, wallet)?;
                let (id, mode) = (u.arbitrary()?, u.int_in_range(0..=3)?);
                if let Ok(secrets) = client.done(id, mode, &reply) {
                    assert!(challenged && id != 0);
                    assert!(mode != mode::SECURE || secrets.connection_secret.len() >= 40);
                }
            }
            _ => {
                client.refused(u.arbitrary()?);
            }
        }
    }
    Ok(())
}

fn to_service(u: &mut Unstructured<'_>, cluster: &mut Cluster, wallet: &Arc<Wallet>) -> Result<()> {
    let peer = peer(EntityType::CLIENT, OSD, u)?;
    let Some(session_key) = wallet.ticket(OSD).map(|ticket| ticket.session_key) else { return Ok(()) };
    let mut client: Box<dyn Client> = ClientAuth(Arc::clone(wallet)).client(&peer);
    let Ok(Some(opening)) = client.open(&[]) else { return Ok(()) };
    let nonce = Authorizer::decode(&opening.payload)
        .and_then(|shown| shown.open(&session_key))
        .map(|proof| proof.nonce);
    let Ok(nonce) = nonce else { panic!("the client's own authorizer") };
    let mut challenged = false;
    for _ in 0..u.int_in_range(1..=4)? {
        let random = &mut cluster.random;
        if u.arbitrary()? {
            let challenge = [&[1][..], &u.arbitrary::<[u8; 8]>()?].concat();
            let payload = sealed(u, Usage::AuthorizeChallenge, &challenge, &session_key, random)?;
            challenged |= client.more(&changed(u, &payload)?).is_ok();
            continue;
        }
        let right = u.arbitrary()?;
        let answer = if right { nonce.wrapping_add(1) } else { u.arbitrary()? };
        let honest = [&[2][..], &answer.to_le_bytes(), &framed(&[1; 64])].concat();
        let payload = framed(&sealed(u, Usage::AuthorizeReply, &honest, &session_key, random)?);
        let payload = changed(u, &payload)?;
        let mode = u.int_in_range(0..=2)?;
        if client.done(0, mode, &payload).is_ok() {
            let reply = AuthorizeReply::open(&payload, &session_key);
            assert!(challenged && reply.is_ok_and(|reply| reply.nonce_plus_one == nonce.wrapping_add(1)));
        }
    }
    Ok(())
}

fn messages(u: &mut Unstructured<'_>, cluster: &mut Cluster, wallet: &Wallet) -> Result<()> {
    if u.arbitrary()? {
        wallet.hello(&[method::CEPHX]);
    }
    for _ in 0..u.int_in_range(1..=5)? {
        let payload = match u.int_in_range(0..=3)? {
            0 => changed(u, &ServerChallenge(5).encode())?,
            1 | 2 => session_reply(u, cluster, wallet)?,
            _ => {
                let secrets = cluster.server.rotating_secrets(OSD, NOW).encode();
                let secrets = sealed(u, Usage::RotatingSecret, &secrets, &cluster.key, &mut cluster.random)?;
                changed(u, &Reply::RotatingSecrets(secrets.into()).encode())?
            }
        };
        let protocol = if u.ratio(7u8, 8u8)? { method::CEPHX } else { u.arbitrary()? };
        let result = if u.ratio(7u8, 8u8)? { 0 } else { u.arbitrary()? };
        let (global_id, text) = (u.int_in_range(0..=5)?, String::new());
        let reply = AuthReply { protocol, result, global_id, payload: payload.into(), text };
        let front = changed(u, &reply.message().front.into_bytes())?;
        if let Ok(reply) = AuthReply::decode(&front) {
            let _ = wallet.handle_auth_reply(NOW, &reply);
        }
    }
    Ok(())
}

fn server(u: &mut Unstructured<'_>) -> Result<()> {
    let mut cluster = Cluster::new(u)?;
    match u.int_in_range(0..=2)? {
        0 => {
            let peer = peer(OSD, EntityType::CLIENT, u)?;
            let mut server = cluster.osd().server(&peer);
            authorizers(u, &mut cluster, OSD, &mut *server)
        }
        1 => {
            let kind = if u.arbitrary()? { EntityType::MON } else { EntityType::CLIENT };
            let peer = peer(EntityType::MON, kind, u)?;
            let mut server = MonitorAuth(Arc::clone(&cluster.server)).server(&peer);
            if u.arbitrary()? {
                authorizers(u, &mut cluster, EntityType::MON, &mut *server)
            } else {
                proofs(u, &cluster, &mut *server)
            }
        }
        _ => talk(u, &mut cluster),
    }
}

/// Authorizers whose tickets are sealed with the service's own secrets, or with the key of all monitors.
fn authorizers(
    u: &mut Unstructured<'_>,
    cluster: &mut Cluster,
    service: EntityType,
    server: &mut dyn Server,
) -> Result<()> {
    let wallet = cluster.wallet();
    log_in(&cluster.server, &wallet);
    let secrets = cluster.server.rotating_secrets(service, NOW);
    let Some(ticket) = wallet.ticket(service) else { return Ok(()) };
    let (mut id, Some(mut secret)) = (ticket.blob.secret_id, secrets.find(ticket.blob.secret_id)) else {
        return Ok(());
    };
    let Ok(mut info) = ticket.blob.open(secret) else { panic!("the monitor's own ticket") };
    // What monitors make for each other. Their tickets for others make nobody a monitor.
    let (own, monitors) = (key(3, cluster.kind), service == EntityType::MON && u.arbitrary()?);
    if monitors {
        (id, secret) = (OWN_SECRET, &own);
        (info.ticket.name, info.ticket.global_id) = (Entity::monitors(), 0);
    }
    let random = &mut cluster.random;
    // The answer to the challenge that is open, if there is one, and if it could be read.
    let (mut given, mut open) = (None, false);
    for _ in 0..u.int_in_range(1..=4)? {
        let blob = sealed(u, Usage::TicketInfo, &info.encode(), secret, random)?;
        let secret_id = if u.ratio(1u8, 8u8)? { u.arbitrary()? } else { id };
        let challenge = if u.arbitrary()? { given } else { Some(u.arbitrary()?) };
        let global_id = info.ticket.global_id;
        let ticket = TicketBlob { secret_id, blob: blob.into() };
        let mut authorizer =
            Authorizer { global_id, service: service.0.into(), ticket, proof: Vec::new().into() };
        authorizer.prove(Authorize { nonce: 7, challenge }, &info.session_key, random);
        let honest = [
            &[2][..],
            &7u64.to_le_bytes(),
            &[challenge.is_some().into()],
            &challenge.unwrap_or(0).to_le_bytes(),
        ];
        authorizer.proof = sealed(u, Usage::Authorize, &honest.concat(), &info.session_key, random)?.into();
        let payload = changed(u, &authorizer.encode())?;
        let can_be_challenged = u.ratio(7u8, 8u8)?;
        let request = Request {
            method: method::CEPHX,
            mode: u.int_in_range(0..=3)?,
            can_be_challenged,
            payload: &payload,
        };
        let was_open = std::mem::take(&mut open);
        match server.request(&request) {
            Answer::More(payload) => {
                open = true;
                use cephwire_protocol::auth::cephx::authorizer::AuthorizeChallenge;
                // Whatever session key the altered ticket had: if it is the honest one, the challenge is known.
                given = AuthorizeChallenge::open(&payload, &info.session_key)
                    .ok()
                    .map(AuthorizeChallenge::answer);
            }
            Answer::Done { name, .. } => {
                assert!(name.is_some());
                assert!(service != EntityType::MON || monitors);
                // Who is let in has answered, or cannot be asked.
                assert!(was_open || (!can_be_challenged && service != EntityType::MON));
            }
            Answer::Bad(reason) => assert!(reason.errno() < 0),
        }
    }
    Ok(())
}

/// Introductions and proofs in the frames of v2.
fn proofs(u: &mut Unstructured<'_>, cluster: &Cluster, server: &mut dyn Server) -> Result<()> {
    let introduction = Introduction { methods: None, name: admin(), global_id: u.int_in_range(0..=1)? };
    let mut challenged = false;
    for _ in 0..u.int_in_range(1..=3)? {
        let payload = if challenged && u.ratio(7u8, 8u8)? {
            let guess = request(u.arbitrary()?, cluster);
            changed(u, &guess.encode())?
        } else {
            changed(u, &introduction.encode())?
        };
        let request = Request {
            method: method::CEPHX,
            mode: u.int_in_range(0..=3)?,
            can_be_challenged: true,
            payload: &payload,
        };
        match server.request(&request) {
            Answer::More(_) => challenged = true,
            // The challenge cannot be guessed.
            Answer::Done { .. } => panic!("let in by a guess"),
            Answer::Bad(reason) => assert!(reason.errno() < 0),
        }
    }
    Ok(())
}

/// A proof for a challenge that is not the one that was given.
fn request(challenge: u64, cluster: &Cluster) -> MonRequest {
    MonRequest::Authenticate(cephwire_protocol::auth::cephx::monitor::Authenticate {
        version: 3,
        client_challenge: 1,
        proof: cluster.key.proof(challenge, 1),
        old_ticket: TicketBlob::default(),
        other_keys: 0x35,
    })
}

/// MAuth messages of an honest client, changed on their way.
fn talk(u: &mut Unstructured<'_>, cluster: &mut Cluster) -> Result<()> {
    let wallet = cluster.wallet();
    let mut talk = cluster.server.talk();
    let mut next = wallet.hello(&[method::CEPHX]);
    for _ in 0..u.int_in_range(1..=6)? {
        let message = if u.arbitrary()? {
            next.clone()
        } else {
            let payload = changed(u, &next.payload)?.into();
            let message = AuthMessage { payload, ..next.clone() };
            match AuthMessage::decode(&changed(u, &message.message().front.into_bytes())?) {
                Ok(message) => message,
                Err(_) => continue,
            }
        };
        let (reply, outcome) = talk.handle_auth(NOW, &message);
        assert_eq!(outcome.is_ok(), reply.result == 0);
        match wallet.handle_auth_reply(NOW, &reply) {
            Ok(Progress::Send(message)) => next = message,
            Ok(_) => {
                if let Some((name, id)) = talk.client() {
                    assert_eq!((name, Some(id)), (&admin(), wallet.global_id()));
                }
                let later = Timestamp { sec: NOW.sec + u.int_in_range(0..=300_000)?, nsec: 0 };
                next = wallet.renewal(later).unwrap_or(next);
            }
            Err(_) => {}
        }
    }
    Ok(())
}
