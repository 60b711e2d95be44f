//! What do the commands share that talk to a running Ceph?
//!
//! ```text
//!  config ─► identity: Local          look: banner, who, methods and modes     (frames, one by one)
//!                        │            call: a Session over a TCP stream        (everything else)
//!                        ▼                    │
//!                     ping, probe  ◄──────────┴─ cause: what went wrong, in words that help
//! ```

pub(crate) mod call;
pub(crate) mod cause;
pub(crate) mod identity;
pub(crate) mod key_log;
pub(crate) mod look;
pub(crate) mod output;
pub(crate) mod payload;
pub(crate) mod show;
pub(crate) mod tickets;

use std::net::SocketAddr;

use cephwire_codec::{AddrType, AddrVec, EntityAddr};
use cephwire_protocol::Version;

use crate::config::{self, Config, ConfigError, Unresolved};

/// Whom a command is about: those of these addresses, or else the monitors.
pub(crate) fn entities(
    addrs: &[String],
    config: &Config,
) -> Result<Vec<Result<AddrVec, Unresolved>>, ConfigError> {
    if addrs.is_empty() {
        return config.monitors();
    }
    let mut entities = Vec::new();
    for addr in addrs {
        entities.extend(config::entities(addr)?);
    }
    Ok(entities)
}

/// One thing to try: an address and the protocol to speak there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) addr: EntityAddr,
    pub(crate) socket: SocketAddr,
    pub(crate) version: Version,
}

impl Target {
    /// What an entity's addresses offer to try, in their order; `only` restricts it to one protocol, which is then
    /// tried at addresses of the other one as well if there are none of its own.
    pub(crate) fn of(addrs: &AddrVec, only: Option<Version>) -> Vec<Self> {
        let with = |addr: &EntityAddr, version: Version| {
            let kind = if version == Version::V1 { AddrType::LEGACY } else { AddrType::MSGR2 };
            let addr = EntityAddr { kind, ..*addr };
            Some(Self { addr, socket: addr.socket?, version })
        };
        let own = |addr: &EntityAddr| if addr.kind == AddrType::LEGACY { Version::V1 } else { Version::V2 };
        let matching: Vec<Self> = addrs
            .0
            .iter()
            .filter(|addr| only.is_none_or(|only| own(addr) == only))
            .filter_map(|addr| with(addr, own(addr)))
            .collect();
        match only {
            Some(only) if matching.is_empty() => addrs.0.iter().filter_map(|addr| with(addr, only)).collect(),
            _ => matching,
        }
    }

    /// The same place with the nonce that the server told.
    pub(crate) fn with_nonce(self, nonce: u32) -> Self {
        Self { addr: EntityAddr { nonce, ..self.addr }, ..self }
    }
}

/// `v1` or `v2`.
pub(crate) const fn version_name(version: Version) -> &'static str {
    match version {
        Version::V1 => "v1",
        Version::V2 => "v2",
    }
}
