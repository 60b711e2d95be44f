//! Who is a peer, and when did it speak?

use std::fmt;
use std::str::FromStr;

use crate::error::{Flaw, Malformed};

/// What kind of thing an entity is: one byte, a bit per kind.
///
/// Ceph: `CEPH_ENTITY_TYPE_*` in `src/include/msgr.h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct EntityType(pub u8);

impl EntityType {
    /// A monitor.
    pub const MON: Self = Self(0x01);
    /// A metadata server of the file system.
    pub const MDS: Self = Self(0x02);
    /// An object storage daemon.
    pub const OSD: Self = Self(0x04);
    /// A client of any kind.
    pub const CLIENT: Self = Self(0x08);
    /// A manager.
    pub const MGR: Self = Self(0x10);
    /// The ticket service inside the monitors; never a host.
    pub const AUTH: Self = Self(0x20);
    /// Any of them; in filters, never a host.
    pub const ANY: Self = Self(0xff);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::MON, "mon"),
        (Self::MDS, "mds"),
        (Self::OSD, "osd"),
        (Self::CLIENT, "client"),
        (Self::MGR, "mgr"),
        (Self::AUTH, "auth"),
        (Self::ANY, "any"),
    ];

    /// The name that Ceph prints, or nothing for a value without one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES.iter().find(|(kind, _)| *kind == self).map(|(_, name)| *name)
    }
}

impl fmt::Display for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown({})", self.0),
        }
    }
}

impl fmt::Debug for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for EntityType {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let found = Self::NAMES.iter().find(|(_, name)| *name == text).map(|(kind, _)| *kind);
        found.ok_or_else(|| not_a_name(0))
    }
}

/// An entity: `osd.3`, `client.4120`. On the wire `u8` type and `i64` number (v1's `src`).
///
/// Ceph: `entity_name_t` in `src/msg/msg_types.h`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct EntityName {
    /// What kind of entity.
    pub kind: EntityType,
    /// OSD id, monitor rank, or for clients the global_id that the monitor gave; −1 while not known.
    pub num: i64,
}

impl EntityName {
    /// The entity `kind.num`.
    #[must_use]
    pub const fn new(kind: EntityType, num: i64) -> Self {
        Self { kind, num }
    }
}

impl fmt::Display for EntityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.num < 0 { write!(f, "{}.?", self.kind) } else { write!(f, "{}.{}", self.kind, self.num) }
    }
}

impl fmt::Debug for EntityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for EntityName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (kind, num) = text.split_once('.').ok_or_else(|| not_a_name(0))?;
        let num = match num {
            "?" => -1,
            // Not i64::from_str alone: that takes signs too.
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().map_err(|_| not_a_name(kind.len() as u64 + 1))?
            }
            _ => return Err(not_a_name(kind.len() as u64 + 1)),
        };
        Ok(Self { kind: kind.parse()?, num })
    }
}

fn not_a_name(offset: u64) -> Malformed {
    Malformed::new("text", "entity name", offset, Flaw::Text { expected: "TYPE.NUMBER, like osd.3" })
}

/// A point in time as keepalives carry it: `u32` seconds since 1970 (UTC), `u32` nanoseconds.
///
/// Ceph: `utime_t`, `ceph_timespec`. The nanoseconds are the sender's word and may exceed a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Timestamp {
    /// Seconds since the UNIX epoch.
    pub sec: u32,
    /// Nanoseconds.
    pub nsec: u32,
}

impl Timestamp {
    /// The 8 bytes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.sec) | u64::from(self.nsec) << 32).to_le_bytes()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.sec, self.nsec)
    }
}
