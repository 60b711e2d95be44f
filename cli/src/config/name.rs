//! Who are we, in Ceph's words?

use std::fmt;

use cephwire_codec::{EntityName, EntityType};

/// The name of an entity as people write it: a type and an id, which need not be a number. Ceph: `EntityName`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The type.
    pub kind: EntityType,
    /// What follows the first dot.
    pub id: String,
}

/// A text that is no entity's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no name of an entity: TYPE.ID with a type of mon, mds, osd, client, mgr")]
pub struct NameError {
    /// The text.
    pub text: String,
}

impl Name {
    /// The name of `--name`, else the client of `--id`, else client.admin.
    ///
    /// # Errors
    /// The name is not one.
    pub fn choose(name: Option<&str>, id: Option<&str>) -> Result<Self, NameError> {
        match (name, id) {
            (Some(name), _) => name.parse(),
            (None, id) => Ok(Self { kind: EntityType::CLIENT, id: id.unwrap_or("admin").to_owned() }),
        }
    }

    /// The type's name.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        self.kind.name().unwrap_or("client")
    }

    /// The name on the wire: clients have no number before a monitor gives them one.
    #[must_use]
    pub fn on_the_wire(&self) -> EntityName {
        let num = if self.kind == EntityType::CLIENT { None } else { self.id.parse().ok() };
        EntityName::new(self.kind, num.filter(|num| *num >= 0).unwrap_or(-1))
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError { text: text.to_owned() };
        let (kind, id) = text.split_once('.').ok_or_else(wrong)?;
        let kind: EntityType = kind.parse().map_err(|_| wrong())?;
        if id.is_empty() || matches!(kind, EntityType::AUTH | EntityType::ANY) {
            return Err(wrong());
        }
        Ok(Self { kind, id: id.to_owned() })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind_name(), self.id)
    }
}
