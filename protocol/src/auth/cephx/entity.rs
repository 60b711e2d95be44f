//! Who is authenticated?

use std::fmt;
use std::str::FromStr;

use bytes::BufMut;
use cephwire_codec::EntityType;

use super::wire::{Reader, put_blob};
use crate::auth::Reason;

/// The longest id that is read.
const ID_MOST: u32 = 256;

/// The name of who has a key: `client.admin`, `osd.3`, `mon.`. On the wire `u32` type, `string` id.
///
/// Not the name that messages bear ([`cephwire_codec::EntityName`]): that one is a number.
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

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Reason> {
        let kind = reader.u32("entity type")?;
        let kind = u8::try_from(kind).map_err(|_| reader.value("entity type", kind.into(), "one byte"))?;
        let id = reader.string("entity id", ID_MOST)?.to_owned();
        Ok(Self { kind: EntityType(kind), id })
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u32_le(self.kind.0.into());
        put_blob(out, self.id.as_bytes());
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
