//! How do both ends know each other, when the mode of the connections is asked for?
//!
//! By cephx: the server is a monitor, as who has a key needs no ticket there. Afterwards a connection in crc mode is
//! the same as without keys.

use std::io::{self, BufRead, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use cephwire::Setup;
use cephwire::auth::cephx::{
    ClientAuth, CryptoKey, KeyServer, KeyServerOptions, KeyType, Keyring, MonitorAuth, Random, Wallet,
    WalletOptions,
};
use cephwire::auth::{Auth, Choice, Client, Entity, Methods, Modes, Peer, Server};
use cephwire::codec::EntityType;
use zeroize::Zeroizing;

use crate::live::identity::{seed, wall_clock};
use crate::live::show::ModeList;

/// What an end does about authentication; nothing by default.
#[derive(Clone, Debug, Default)]
pub(super) struct Door(Option<(Arc<dyn Auth>, Modes)>);

impl Door {
    /// The server's, for who is in this keyring.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn of_server(keyring: Keyring, modes: &ModeList) -> io::Result<Self> {
        let server = KeyServer::new(keyring, KeyServerOptions::default(), seed()?);
        Ok(Self(Some((Arc::new(MonitorAuth(server)), Modes::all(&modes.0)))))
    }

    /// The client's.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn of_client(entity: Entity, key: CryptoKey, modes: &ModeList) -> io::Result<Self> {
        let random = Mutex::new(Random::new(seed()?));
        Ok(Self(Some((Arc::new(Newcomers { entity, key, random }), Modes::all(&modes.0)))))
    }

    /// What the server is.
    pub(super) fn server_kind(&self) -> EntityType {
        if self.0.is_some() { EntityType::MON } else { EntityType::OSD }
    }

    /// An end with that.
    pub(super) fn at(&self, setup: Setup) -> Setup {
        let Some((auth, modes)) = &self.0 else { return setup };
        let mut setup = setup.auth(Arc::clone(auth));
        setup.protocol.modes = modes.clone();
        setup
    }
}

/// A client that is a new one with each connection.
#[derive(Debug)]
struct Newcomers {
    entity: Entity,
    key: CryptoKey,
    /// For the seed of each.
    random: Mutex<Random>,
}

impl Auth for Newcomers {
    fn client(&self, peer: &Peer) -> Box<dyn Client> {
        let seed = *self.random.lock().unwrap_or_else(PoisonError::into_inner).secret();
        let wallet = Wallet::new(self.entity.clone(), self.key.clone(), WalletOptions::default(), seed);
        wallet.map_or_else(|_| no_method().client(peer), |wallet| ClientAuth(wallet).client(peer))
    }

    fn server(&self, peer: &Peer) -> Box<dyn Server> {
        // Nobody dials it.
        no_method().server(peer)
    }
}

fn no_method() -> Choice {
    Choice { methods: Methods::all(&[]), auths: Vec::new() }
}

/// A key that lasts as long as a run.
#[derive(Clone, Debug)]
pub(super) struct ThrowAway(CryptoKey);

impl ThrowAway {
    /// Makes one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(CryptoKey::generate(KeyType::Aes, wall_clock(), &mut Random::new(seed()?))))
    }

    fn entity() -> Entity {
        Entity::new(EntityType::CLIENT, "bench")
    }

    /// Tells the other process: not on its command line, which everybody can see.
    pub(super) fn tell(&self, mut to: impl Write) -> io::Result<()> {
        to.write_all(self.0.to_base64().as_bytes())?;
        to.write_all(b"\n")
    }

    /// The other process learns it.
    pub(super) fn learn(mut from: impl BufRead) -> anyhow::Result<Self> {
        let mut line = Zeroizing::new(String::new());
        from.read_line(&mut line)?;
        Ok(Self(line.trim().parse().context("the key on standard input")?))
    }

    pub(super) fn server(&self, modes: &ModeList) -> io::Result<Door> {
        Door::of_server(Keyring::default().with(Self::entity(), self.0.clone()), modes)
    }

    pub(super) fn client(&self, modes: &ModeList) -> io::Result<Door> {
        Door::of_client(Self::entity(), self.0.clone(), modes)
    }
}
