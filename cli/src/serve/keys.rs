//! Who is let in with a keyring? Who knows a key in it, or has a ticket from a monitor that does.
//!
//! ```text
//!             ┌ KeyServer: keys, rotating secrets, numbers ┐
//!   mon.a ────┤ v2: within the handshake                   ├──── osd.0, mds.x, mgr.y
//!             │ v1: Talks, in the open session             │     authorizers, by the secrets of their kind
//! ```

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cephwire::Handle;
use cephwire::auth::cephx::message::{Auth as MAuth, AuthReply};
use cephwire::auth::cephx::{
    CryptoKey, KeyServer, KeyServerOptions, KeyType, Keyring, MonitorAuth, MonitorTalk, Random, Service,
    ServiceAuth, ServiceOptions, Wallet, WalletOptions,
};
use cephwire::auth::{Auth, Client, Entity, Peer, Reason, Server};
use cephwire::codec::{EntityType, Features, Message};
use zeroize::Zeroizing;

use crate::config::Name;
use crate::live::identity::{seed, wall_clock};

/// The keys of a cluster, which all daemons of this process share.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    server: Arc<KeyServer>,
    keyring: Arc<Keyring>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    /// It makes no sense.
    #[error("{}: {reason}", path.display())]
    Keyring { path: PathBuf, reason: Reason },
    /// There is nothing to make secrets of.
    #[error("no random numbers from the system: {0}")]
    Random(#[from] io::Error),
}

impl Keys {
    /// Those of these files together. If two of them have a key for the same entity, that of the last counts.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, KeysError> {
        let keyring = read(paths)?;
        let server = KeyServer::new(keyring.clone(), KeyServerOptions::default(), seed()?);
        Ok(Self { server, keyring: Arc::new(keyring) })
    }

    /// How this daemon lets peers in.
    ///
    /// # Errors
    /// Its key cannot be used, or the system has no random numbers.
    pub(crate) fn auth(&self, name: &Name) -> io::Result<Arc<dyn Auth>> {
        if name.kind == EntityType::MON {
            return Ok(Arc::new(MonitorAuth(Arc::clone(&self.server))));
        }
        let own = Entity::new(name.kind, name.id.clone());
        // It never dials: any key will do where it has none of its own.
        let mut random = Random::new(seed()?);
        let any = || CryptoKey::generate(KeyType::Aes, wall_clock(), &mut random);
        let key = self.keyring.key(&own).cloned().unwrap_or_else(any);
        let wallet = Wallet::new(own, key, WalletOptions::default(), seed()?).map_err(io::Error::other)?;
        let service = Service::new(name.kind, ServiceOptions::default(), seed()?);
        let (auth, server) = (ServiceAuth { wallet, service }, Arc::clone(&self.server));
        Ok(Arc::new(OfService { auth, server, kind: name.kind }))
    }

    /// What a monitor needs besides.
    pub(super) fn talks(&self) -> Talks {
        Talks { server: Arc::clone(&self.server), open: Mutex::default() }
    }
}

/// The entries of these files together.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Keyring, KeysError> {
    let mut all = Keyring::default();
    for path in paths {
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| KeysError::File { path: path.clone(), error })?;
        let keyring = Keyring::parse(&text);
        let keyring = keyring.map_err(|reason| KeysError::Keyring { path: path.clone(), reason })?;
        all.entries.extend(keyring.entries);
    }
    Ok(all)
}

/// A service beside its monitor: it need not fetch its secrets.
#[derive(Clone, Debug)]
struct OfService {
    auth: ServiceAuth,
    server: Arc<KeyServer>,
    kind: EntityType,
}

impl Auth for OfService {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        self.auth.client(peer)
    }

    fn server(&self, peer: &Peer) -> Box<dyn Server> {
        // They rotate as time goes by, and nobody says so.
        self.auth.service.set_secrets(self.server.rotating_secrets(self.kind, peer.now));
        self.auth.server(peer)
    }

    fn required_features(&self, peer: EntityType, method: u32) -> Features {
        self.auth.required_features(peer, method)
    }
}

/// What a monitor and its clients say about tickets in messages: everything in v1, renewals in v2.
pub(super) struct Talks {
    server: Arc<KeyServer>,
    /// By the session's number.
    open: Mutex<HashMap<u64, MonitorTalk>>,
}

/// An answer to MAuth.
pub(super) struct Said {
    pub(super) message: Message,
    /// A client of v1 has proved just now who it is.
    pub(super) proved: Option<Entity>,
    /// Why not.
    pub(super) refused: Option<Reason>,
}

impl Talks {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, MonitorTalk>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers an MAuth; nothing if it is none.
    pub(super) fn answer(&self, from: &Handle, front: &[u8]) -> Result<Said, Reason> {
        let asked = MAuth::decode(front)?;
        let mut open = self.open();
        let talk = open.entry(from.id()).or_insert_with(|| self.begin(from));
        let before = talk.client().is_some();
        let (reply, outcome): (AuthReply, _) = talk.handle_auth(wall_clock(), &asked);
        let proved = talk.client().filter(|_| !before).map(|(name, _)| name.clone());
        Ok(Said { message: reply.message(), proved, refused: outcome.err() })
    }

    /// A client of v2 has proved in the handshake who it is.
    fn begin(&self, from: &Handle) -> MonitorTalk {
        let number = from.facts().filter(|facts| facts.authenticated.is_some());
        let number = number.and_then(|facts| facts.global_id);
        number.and_then(|number| self.server.resume(number)).unwrap_or_else(|| self.server.talk())
    }

    /// Whether it is known who that is.
    pub(super) fn knows(&self, from: &Handle) -> bool {
        let by_message = || self.open().get(&from.id()).is_some_and(|talk| talk.client().is_some());
        from.facts().is_some_and(|facts| facts.authenticated.is_some()) || by_message()
    }

    /// The session has ended.
    pub(super) fn end(&self, session: &Handle) {
        self.open().remove(&session.id());
    }
}
