//! As whom do we speak, and what do we offer?

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cephwire_codec::v2::{Method, mode};
use cephwire_codec::{AddrVec, EntityName, Timestamp};
use cephwire_protocol::auth::{AllowAll, Auth};
use cephwire_protocol::{Local, Options, Policies, Policy};

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
}

/// Who connects.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: EntityName,
    pub(crate) auth: Arc<dyn Auth>,
    pub(crate) timeout: Duration,
    pub(crate) revision_1: bool,
}

impl Identity {
    /// The entity of this name, which authenticates with the method "none".
    pub(crate) fn new(name: EntityName, arguments: &Arguments) -> Self {
        let Arguments { timeout, no_revision_1 } = *arguments;
        Self { name, auth: Arc::new(AllowAll { name }), timeout, revision_1: !no_revision_1 }
    }

    /// What a session needs to know of us: a client that does not listen, whose sessions end with their connection.
    pub(crate) fn local(&self) -> Arc<Local> {
        let options = Options {
            ready_timeout: self.timeout,
            modes: vec![mode::SECURE, mode::CRC].into(),
            revision_1: self.revision_1,
            // To have the feature in the banner, so that the peer tells whether it would; nobody is asked to do it.
            compression: vec![Method::SNAPPY, Method::ZLIB, Method::ZSTD, Method::LZ4],
            ..Options::default()
        };
        let (nonce, seed) = (random() as u32, random());
        let policies = Policies::all(Policy::lossy_client());
        let auth = Arc::clone(&self.auth);
        let local = Local::new(self.name, AddrVec::default(), nonce, seed, policies, auth, options);
        local.set_wall_clock(wall_clock());
        local
    }
}

/// A number that nobody can guess: the standard library seeds its hashers from the system's random device.
pub(crate) fn random() -> u64 {
    std::collections::hash_map::RandomState::new().build_hasher().finish()
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
