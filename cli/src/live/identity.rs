//! As whom do we speak, and what do we offer?

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cephwire_codec::v2::{Method, method};
use cephwire_codec::{AddrVec, EntityName, EntityType, Timestamp};
use cephwire_protocol::auth::cephx::{ClientAuth, CryptoKey, Keyring, Random, Wallet, WalletOptions};
use cephwire_protocol::auth::{AllowAll, Auth, Choice, Entity, Methods, Modes, Reason, UnknownNames};
use cephwire_protocol::{Local, Options, Policies, Policy};
use zeroize::Zeroizing;

use super::key_log::KeyLogFile;
use super::show::ModeList;
use crate::config::{Config, Unresolved};

/// Options of every command that connects.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct Arguments {
    /// Gives up after so many seconds without an end to what was begun
    #[arg(short = 't', long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Speaks msgr 2.0, as Ceph before 14.2.11 did
    #[arg(long)]
    pub(crate) no_revision_1: bool,
    /// Connection modes to offer, the best first: crc, secure [default: ms_client_mode and its like]
    #[arg(long, value_name = "MODES")]
    pub(crate) mode: Option<ModeList>,
}

/// Who connects.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: EntityName,
    /// The same with the id that has the key.
    pub(crate) entity: Entity,
    pub(crate) auth: Arc<dyn Auth>,
    /// Our key and tickets, if we have a key.
    pub(crate) wallet: Option<Arc<Wallet>>,
    /// Who gives out tickets.
    pub(crate) monitors: Vec<Result<AddrVec, Unresolved>>,
    modes: Modes,
    /// For the nonce and the seed of each session.
    random: Arc<Mutex<Random>>,
    pub(crate) timeout: Duration,
    pub(crate) revision_1: bool,
}

/// Why we cannot authenticate as we should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// A keyring cannot be read.
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: io::Error },
    /// We are not in the keyring.
    #[error("{}: no key of {entity} is in it", path.display())]
    Absent { path: PathBuf, entity: Entity },
    /// A keyring makes no sense.
    #[error("{}: {reason}", path.display())]
    Keyring { path: PathBuf, reason: Reason },
    /// The key makes no sense.
    #[error("key of {entity}: {reason}")]
    Key { entity: Entity, reason: Reason },
    /// A list of methods or modes has nothing in it that we know.
    #[error("{option}: {error}")]
    Names { option: &'static str, error: UnknownNames },
    /// There is nothing to make secrets of.
    #[error("no random numbers from the system: {0}")]
    Random(#[from] io::Error),
}

impl Identity {
    /// The entity of the configuration, with its key if there is one, and Ceph's lists of methods and modes.
    pub(crate) fn new(config: &Config, arguments: &Arguments) -> Result<Self, IdentityError> {
        let Arguments { timeout, no_revision_1, ref mode } = *arguments;
        let name = config.name.on_the_wire();
        let entity = Entity::new(config.name.kind, config.name.id.clone());
        let failed = |reason| IdentityError::Key { entity: entity.clone(), reason };
        let wallet_seed = seed()?;
        let wallet = key(config, &entity)?
            .map(|key| Wallet::new(entity.clone(), key, tickets(), wallet_seed).map_err(failed))
            .transpose()?;
        let mut auths: Vec<(u32, Arc<dyn Auth>)> = vec![(method::NONE, Arc::new(AllowAll { name }))];
        if let Some(wallet) = &wallet {
            auths.push((method::CEPHX, Arc::new(ClientAuth(Arc::clone(wallet)))));
        }
        let auth = Arc::new(Choice { methods: methods(config)?, auths });
        // Where they are is asked for when tickets are needed.
        let monitors = config.monitors().unwrap_or_default();
        let modes = match mode {
            Some(ModeList(list)) => Modes::all(list),
            None => modes(config)?,
        };
        let revision_1 = !no_revision_1;
        let random = Arc::new(Mutex::new(Random::new(seed()?)));
        Ok(Self { name, entity, auth, wallet, monitors, modes, random, timeout, revision_1 })
    }

    /// What a session needs to know of us: a client that does not listen, whose sessions end with their connection.
    pub(crate) fn local(&self) -> Arc<Local> {
        let options = Options::default().with(|options| {
            options.ready_timeout = self.timeout;
            options.modes = self.modes.clone();
            options.revision_1 = self.revision_1;
            // To have the feature in the banner, so that the peer tells whether it would; nobody is asked to do it.
            options.compression = vec![Method::SNAPPY, Method::ZLIB, Method::ZSTD, Method::LZ4];
            options.key_log = KeyLogFile::of_environment();
        });
        // A client is known by the number that came with its ticket.
        let number = self.wallet.as_ref().and_then(|wallet| wallet.global_id());
        let num = number.and_then(|number| self.entity.num(number)).unwrap_or(self.name.num);
        let name = EntityName { num, ..self.name };
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let (nonce, seed) = (random.number() as u32, random.secret::<32>());
        drop(random);
        let policies = Policies::all(Policy::lossy_client());
        let auth = Arc::clone(&self.auth);
        let local = Local::new(name, AddrVec::default(), nonce, seed, policies, auth, options);
        local.set_wall_clock(wall_clock());
        local
    }
}

/// Tickets for all services: what is at an address is known only after the monitors were asked.
fn tickets() -> WalletOptions {
    let default = WalletOptions::default();
    WalletOptions { services: default.services | u32::from(EntityType::MDS.0), ..default }
}

/// Our key: the one that is given, else that of the first keyring which can be read, if we are in it. It is a mistake
/// if the command line names keyrings and it is in none; without that, a keyring that is there and cannot be read is
/// worth a line (mostly it is the administrator's).
pub(crate) fn key(config: &Config, entity: &Entity) -> Result<Option<CryptoKey>, IdentityError> {
    if let Some(key) = config.key() {
        let failed = |reason| IdentityError::Key { entity: entity.clone(), reason };
        return key.reveal().parse().map(Some).map_err(failed);
    }
    let asked = config.asks_for_a_keyring();
    let mut unreadable = None;
    for path in config.keyrings() {
        match std::fs::read_to_string(&path).map(Zeroizing::new) {
            Ok(text) => {
                let keyring = Keyring::parse(&text)
                    .map_err(|reason| IdentityError::Keyring { path: path.clone(), reason })?;
                let key = keyring.key(entity).cloned();
                let absent = || IdentityError::Absent { path, entity: entity.clone() };
                return if asked { key.ok_or_else(absent).map(Some) } else { Ok(key) };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !asked => {}
            Err(error) => _ = unreadable.get_or_insert((path, error)),
        }
    }
    match unreadable {
        Some((path, error)) if asked => Err(IdentityError::File { path, error }),
        Some((path, error)) => {
            let _ = writeln!(io::stderr(), "cephwire: {}: {error}; going on without a key", path.display());
            Ok(None)
        }
        None => Ok(None),
    }
}

fn methods(config: &Config) -> Result<Methods, IdentityError> {
    let mut methods = Methods::default();
    for (option, list) in [
        ("auth_cluster_required", &mut methods.cluster),
        ("auth_service_required", &mut methods.service),
        ("auth_client_required", &mut methods.client),
    ] {
        if let Some(text) = config.value(option) {
            *list = Methods::parse(&text).map_err(|error| IdentityError::Names { option, error })?;
        }
    }
    Ok(methods)
}

fn modes(config: &Config) -> Result<Modes, IdentityError> {
    let mut modes = Modes::default();
    for (option, list) in [
        ("ms_cluster_mode", &mut modes.cluster),
        ("ms_service_mode", &mut modes.service),
        ("ms_client_mode", &mut modes.client),
        ("ms_mon_cluster_mode", &mut modes.mon_cluster),
        ("ms_mon_service_mode", &mut modes.mon_service),
        ("ms_mon_client_mode", &mut modes.mon_client),
    ] {
        if let Some(text) = config.value(option) {
            *list = Modes::parse(&text).map_err(|error| IdentityError::Names { option, error })?;
        }
    }
    Ok(modes)
}

/// What nobody can guess, for keys and challenges: all of it from the system.
///
/// # Errors
/// The system has none to give.
pub(crate) fn seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

/// The time of day.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { sec: since.as_secs() as u32, nsec: since.subsec_nanos() }
}

/// A duration in seconds, with or without fraction.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| !duration.is_zero() && *duration <= Duration::from_secs(86_400))
        .ok_or_else(|| "must be more than 0 and at most a day".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_whole_and_never_the_same() -> io::Result<()> {
        let seeds = (0..32).map(|_| seed()).collect::<io::Result<Vec<_>>>()?;
        for (n, one) in seeds.iter().enumerate() {
            assert!(seeds.iter().skip(n + 1).all(|other| other != one));
        }
        // No byte is left as it was in all of them: by chance once in 2^251 runs.
        assert!((0..32).all(|n| seeds.iter().any(|seed| seed.get(n) != Some(&0))));
        Ok(())
    }
}
