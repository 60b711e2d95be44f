//! Who is authenticated?

use std::fmt;
use std::str::FromStr;

use cephwire_codec::{EntityName, EntityType};

use super::Reason;

/// The longest id.
pub(crate) const ID_MOST: u32 = 256;

/// The name of who has a key: `client.admin`, `osd.3`, `mon.`. On the wire `u32` type, `string` id.
///
/// Not the name that messages bear ([`EntityName`]): that one is a number.
///
/// Ceph: `EntityName` in `src/common/entity_name.h`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entity {
    /// What kind of entity.
    pub kind: EntityType,
    /// Its name among them; empty for what all of a kind share, as the monitors their key.
    pub id: String,
}

impl Entity {
    /// The entity `kind.id`.
    #[must_use]
    pub fn new(kind: EntityType, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }

    /// All monitors together: `mon.`.
    #[must_use]
    pub fn monitors() -> Self {
        Self::new(EntityType::MON, "")
    }

    /// The number by which messages name it: a daemon's own, or for a client its global_id.
    #[must_use]
    pub fn num(&self, global_id: u64) -> Option<i64> {
        match self.kind {
            EntityType::CLIENT => i64::try_from(global_id).ok().filter(|num| *num != 0),
            _ => self.id.parse().ok().filter(|num| *num >= 0),
        }
    }
}

/// A daemon's name; a client whose number is not known is `client.admin`.
impl From<EntityName> for Entity {
    fn from(name: EntityName) -> Self {
        let id = if name.num < 0 { "admin".to_owned() } else { name.num.to_string() };
        Self { kind: name.kind, id }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.id)
    }
}

impl FromStr for Entity {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Self, Reason> {
        let wrong =
            Reason::Text { what: "entity name", field: "text", expected: "TYPE.ID, like client.admin" };
        let (kind, id) = text.split_once('.').ok_or_else(|| wrong.clone())?;
        let kind: EntityType = kind.parse().map_err(|_| wrong.clone())?;
        if id.len() > ID_MOST as usize { Err(wrong) } else { Ok(Self::new(kind, id)) }
    }
}
